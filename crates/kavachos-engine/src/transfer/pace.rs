//! How slowly a file may come: others wait while it does, so it keeps to a rate, and whoever sends a byte now and then is
//! given up.

use std::pin::Pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use futures_util::stream::{Stream, StreamExt};
use kavachos_store::BoxFuture;

use crate::runtime::Runtime;

/// How long a window is. Nobody is given up before the first one is over.
pub(super) const WINDOW: Duration = Duration::from_secs(30);
/// How much must come in each window: what comes over 70 kbit/s.
pub(super) const WINDOW_BYTES: usize = 256 << 10;

/// Less came than must.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooSlow;

/// Watches a source. It is judged only while nothing of it is there: our own work is not its delay.
pub(super) struct Pace<'a> {
    runtime: &'a dyn Runtime,
    window: Option<BoxFuture<'static, ()>>,
    came: usize,
}

impl<'a> Pace<'a> {
    pub(super) fn new(runtime: &'a dyn Runtime) -> Self {
        Self {
            runtime,
            window: None,
            came: 0,
        }
    }

    /// The next piece, however many windows it takes to come, as long as enough came in each.
    pub(super) async fn next<S: Stream>(
        &mut self,
        mut source: Pin<&mut S>,
    ) -> Result<Option<S::Item>, TooSlow> {
        loop {
            let window = self.window.take();
            let window = window.unwrap_or_else(|| self.runtime.sleep(WINDOW));
            match select(source.next(), window).await {
                Either::Left((piece, window)) => {
                    self.window = Some(window);
                    return Ok(piece);
                }
                Either::Right(_) if self.came < WINDOW_BYTES => return Err(TooSlow),
                Either::Right(_) => self.came = 0,
            }
        }
    }

    /// Notes that so many bytes came.
    pub(super) fn came(&mut self, bytes: usize) {
        self.came = self.came.saturating_add(bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn};
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::task::Poll;

    use futures_util::FutureExt;
    use futures_util::stream::{iter, unfold};

    use super::*;
    use crate::runtime::{Busy, Work};

    /// Time as a number of seconds, which goes on only as a source says.
    #[derive(Clone, Default)]
    struct Seconds(Arc<AtomicU64>);

    impl Seconds {
        fn now(&self) -> u64 {
            self.0.load(Ordering::Relaxed)
        }
    }

    impl Runtime for Seconds {
        fn spawn(&self, _: BoxFuture<'static, ()>) {}

        fn blocking(&self, work: Box<dyn Work>) -> Result<(), Busy> {
            work.run();
            Ok(())
        }

        fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
            let time = self.clone();
            let end = time.now() + duration.as_secs();
            Box::pin(poll_fn(move |_| {
                if time.now() >= end {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            }))
        }
    }

    /// Takes pieces of so many bytes, each a second after the one before it; after how many seconds the source was given
    /// up, if it was.
    fn given_up(bytes: usize, pieces: u64) -> Option<u64> {
        let time = Seconds::default();
        let seconds = time.clone();
        let source = unfold(0, |piece| {
            let seconds = seconds.clone();
            async move {
                let mut is_asked_again = false;
                poll_fn(|context| {
                    if is_asked_again {
                        return Poll::Ready(());
                    }
                    is_asked_again = true;
                    seconds.0.fetch_add(1, Ordering::Relaxed);
                    context.waker().wake_by_ref();
                    Poll::Pending
                })
                .await;
                (piece < pieces).then_some(((), piece + 1))
            }
        });
        let mut source = pin!(source);
        let mut pace = Pace::new(&time);
        let run = async {
            while let Some(()) = pace.next(source.as_mut()).await? {
                pace.came(bytes);
            }
            Ok::<(), TooSlow>(())
        };
        let mut run = pin!(run);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        loop {
            if let Poll::Ready(ended) = run.as_mut().poll(&mut context) {
                return ended.err().map(|TooSlow| time.now());
            }
        }
    }

    #[test]
    fn a_source_that_sends_a_byte_now_and_then_is_given_up_and_a_steady_one_is_not() {
        assert_eq!(given_up(1, 10_000), Some(30));
        // The twin: the same pieces, each as large as it must be.
        assert_eq!(given_up(WINDOW_BYTES / 20, 10_000), None);
    }

    #[test]
    fn a_small_file_is_over_before_it_could_be_slow() {
        assert_eq!(given_up(1, 20), None);
    }

    #[test]
    fn a_source_that_is_there_is_never_too_slow_however_long_the_work_takes() {
        let time = Seconds::default();
        let mut pace = Pace::new(&time);
        let mut source = pin!(iter([(); 100]));
        for _ in 0..100 {
            let piece = pace.next(source.as_mut()).now_or_never().unwrap();
            assert_eq!(piece, Ok(Some(())));
            time.0.fetch_add(60, Ordering::Relaxed);
        }
        // The twin: one that is not there is.
        let mut silent = pin!(futures_util::stream::once(pending::<()>()));
        let piece = pace.next(silent.as_mut()).now_or_never().unwrap();
        assert_eq!(piece, Err(TooSlow));
    }
}
