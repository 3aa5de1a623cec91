//! Waiting for something to change, without asking again and again: the writer rings, whoever waits wakes.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// How many may wait at a time; more are told at once that nothing has changed.
const MAX_WAITING: usize = 1_000;

/// Wakes those who wait for a thing.
#[derive(Debug, Default)]
pub(crate) struct Bell(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    /// INVARIANT: at most [`MAX_WAITING`].
    waiters: HashMap<u64, Waiter>,
}

#[derive(Debug)]
struct Waiter {
    thing: u128,
    rung: bool,
    waker: Option<Waker>,
}

impl Bell {
    /// Begins to wait for this thing: what rings from now on is heard. `None` when too many wait already.
    pub(crate) fn listen(&self, thing: u128) -> Option<Listener<'_>> {
        let mut waiting = self.waiting();
        if waiting.waiters.len() >= MAX_WAITING {
            return None;
        }
        let number = waiting.next;
        waiting.next = number.wrapping_add(1);
        let waiter = Waiter {
            thing,
            rung: false,
            waker: None,
        };
        waiting.waiters.insert(number, waiter);
        Some(Listener { bell: self, number })
    }

    /// Wakes everyone who waits for this thing.
    pub(crate) fn ring(&self, thing: u128) {
        let mut waiting = self.waiting();
        let waiters = waiting.waiters.values_mut();
        let mut wakers = Vec::new();
        for waiter in waiters.filter(|waiter| waiter.thing == thing) {
            waiter.rung = true;
            wakers.extend(waiter.waker.take());
        }
        // Whoever wakes may look at once.
        drop(waiting);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Nothing under the lock can leave the waiters half written, so a poisoned lock is as good as any.
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Is ready once the bell rang for its thing.
#[derive(Debug)]
pub(crate) struct Listener<'a> {
    bell: &'a Bell,
    number: u64,
}

impl Future for Listener<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        match self.bell.waiting().waiters.get_mut(&self.number) {
            Some(waiter) if !waiter.rung => {
                waiter.waker = Some(context.waker().clone());
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    }
}

impl Drop for Listener<'_> {
    fn drop(&mut self) {
        self.bell.waiting().waiters.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn whoever_waits_for_a_thing_wakes_when_it_rings_and_nobody_else() {
        let bell = Bell::default();
        let woken = [Arc::new(Woken::default()), Arc::new(Woken::default())];
        let wakers = woken.clone().map(Waker::from);
        let mut one = pin!(bell.listen(1).unwrap());
        let mut two = pin!(bell.listen(2).unwrap());
        let [mut first, mut second] = [
            Context::from_waker(&wakers[0]),
            Context::from_waker(&wakers[1]),
        ];
        assert!(one.as_mut().poll(&mut first).is_pending());
        assert!(two.as_mut().poll(&mut second).is_pending());
        bell.ring(1);
        assert_eq!(woken.map(|woken| woken.0.load(Ordering::SeqCst)), [1, 0]);
        assert!(one.as_mut().poll(&mut first).is_ready());
        assert!(two.as_mut().poll(&mut second).is_pending());
    }

    #[test]
    fn what_rings_before_the_first_look_is_heard() {
        let bell = Bell::default();
        let mut listener = pin!(bell.listen(1).unwrap());
        bell.ring(1);
        let mut context = Context::from_waker(Waker::noop());
        assert!(listener.as_mut().poll(&mut context).is_ready());
    }

    #[test]
    fn only_so_many_wait_and_whoever_goes_makes_room() {
        let bell = Bell::default();
        let mut all: Vec<_> = (0..MAX_WAITING).map(|_| bell.listen(1).unwrap()).collect();
        assert!(bell.listen(2).is_none());
        all.pop();
        assert!(bell.listen(2).is_some());
    }
}
