//! Requests that go out together: sent in the order in which they are added, awaited in the same order.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Requests under way and their answers.
pub(super) struct Pipeline<'a, T>(Vec<Request<'a, T>>);

enum Request<'a, T> {
    Sent(Pending<'a, T>),
    Answered(T),
}

impl<'a, T> Pipeline<'a, T> {
    /// Nothing was sent yet.
    pub(super) fn new() -> Self {
        Self(Vec::new())
    }

    /// How many requests were sent.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Sends a request now. The driver sends when a request is first polled, and it is polled again when its answer is
    /// awaited, so nobody needs to be woken here.
    pub(super) fn send(&mut self, request: impl Future<Output = T> + 'a) {
        let mut request: Pending<'a, T> = Box::pin(request);
        let first = request
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        self.0.push(match first {
            Poll::Pending => Request::Sent(request),
            Poll::Ready(answer) => Request::Answered(answer),
        });
    }

    /// Waits for all answers, in the order of the requests.
    pub(super) async fn answers(self) -> Vec<T> {
        let mut answers = Vec::with_capacity(self.0.len());
        for request in self.0 {
            answers.push(match request {
                Request::Sent(request) => request.await,
                Request::Answered(answer) => answer,
            });
        }
        answers
    }

    /// The same, unless it takes longer than this.
    pub(super) async fn answers_within(self, patience: Duration) -> Option<Vec<T>> {
        tokio::time::timeout(patience, self.answers()).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn requests_are_polled_in_the_order_in_which_they_are_added() {
        let order = RefCell::new(Vec::new());
        let mut pipeline = Pipeline::new();
        for number in 0..100 {
            let order = &order;
            pipeline.send(async move {
                order.borrow_mut().push(number);
                number * 2
            });
        }
        assert_eq!(*order.borrow(), (0..100).collect::<Vec<_>>());
        assert_eq!(pipeline.len(), 100);
        let mut answers = std::pin::pin!(pipeline.answers());
        let polled = answers
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(polled, Poll::Ready((0..100).map(|n| n * 2).collect()));
    }
}
