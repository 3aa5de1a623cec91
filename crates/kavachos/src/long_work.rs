//! Threads for work that keeps a core: the hashes of passwords.
//!
//! Promises: such work never runs on tokio's workers nor among its blocking threads, where the database's commits would wait
//! behind it; so many threads do it as are configured, and on Linux all others go first; so much waits as [`MAX_WAITING`],
//! and what comes then is refused at once. A panic ends the work that it is in, and no thread.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use kavachos_engine::{Busy, Work};

/// How much may wait: with one thread and 30 ms each, half a minute. Whoever comes then is better told to come back.
const MAX_WAITING: usize = 1_000;
/// By how much the threads are nicer than the rest (setpriority(2)): beside one that is not, such a thread gets a tenth of
/// the core; alone it gets all of it. At 19 a busy server would hardly let anybody sign in.
#[cfg(any(target_os = "linux", target_os = "android"))]
const NICER: i32 = 10;

/// The threads, and what waits for them. A thread starts when there is work for it, and ends with this value.
pub(crate) struct LongWork {
    shared: Arc<Shared>,
}

struct Shared {
    threads: usize,
    queue: Mutex<Queue>,
    more: Condvar,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Box<dyn Work>>,
    started: usize,
    idle: usize,
    is_over: bool,
}

impl LongWork {
    /// So many threads, none of which is started yet.
    pub(crate) fn new(threads: NonZeroUsize) -> Self {
        Self {
            shared: Arc::new(Shared {
                threads: threads.get(),
                queue: Mutex::default(),
                more: Condvar::new(),
            }),
        }
    }

    /// How many threads there are unless said: half of the cores, so that the other half is never shared.
    pub(crate) fn half_of_the_cores() -> NonZeroUsize {
        let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        NonZeroUsize::new(cores / 2).unwrap_or(NonZeroUsize::MIN)
    }

    /// Takes this for the first thread that is free.
    pub(crate) fn take(&self, work: Box<dyn Work>) -> Result<(), Busy> {
        let mut queue = self.shared.queue();
        if queue.waiting.len() >= MAX_WAITING {
            // Whoever asks and goes away, again and again, does not keep others out.
            queue.waiting.retain(|work| work.is_wanted());
        }
        if queue.waiting.len() >= MAX_WAITING {
            return Err(Busy);
        }
        if queue.idle <= queue.waiting.len() && queue.started < self.shared.threads {
            match start(&self.shared) {
                Ok(()) => queue.started += 1,
                // The others do it.
                Err(_) if queue.started > 0 => {}
                Err(_) => return Err(Busy),
            }
        }
        queue.waiting.push_back(work);
        drop(queue);
        self.shared.more.notify_one();
        Ok(())
    }
}

impl Drop for LongWork {
    /// What has not begun is dropped, so that whoever waits for it is told; what has begun comes to its end.
    fn drop(&mut self) {
        let mut queue = self.shared.queue();
        queue.is_over = true;
        let waiting = std::mem::take(&mut queue.waiting);
        drop(queue);
        drop(waiting);
        self.shared.more.notify_all();
    }
}

impl fmt::Debug for LongWork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LongWork")
            .field("threads", &self.shared.threads)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next work, as soon as there is some; `None` when there will be none.
    fn next(&self) -> Option<Box<dyn Work>> {
        let mut queue = self.queue();
        loop {
            if queue.is_over {
                return None;
            }
            while let Some(work) = queue.waiting.pop_front() {
                if work.is_wanted() {
                    return Some(work);
                }
            }
            queue.idle += 1;
            queue = (self.more.wait(queue)).unwrap_or_else(PoisonError::into_inner);
            queue.idle -= 1;
        }
    }
}

fn start(shared: &Arc<Shared>) -> io::Result<()> {
    let shared = Arc::clone(shared);
    let thread = thread::Builder::new().name("kavach-long-work".to_owned());
    let started = thread.spawn(move || {
        let_others_go_first();
        while let Some(work) = shared.next() {
            // Whoever waits for it learns it, because what would have answered is dropped.
            let _ = catch_unwind(AssertUnwindSafe(|| work.run()));
        }
    });
    started.map(drop)
}

/// On Linux the nice value belongs to a thread, and the calling one is meant (setpriority(2), "C library/kernel
/// differences"). Elsewhere it would be that of the whole process.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn let_others_go_first() {
    use rustix::process::{getpriority_process, setpriority_process};
    // Where it may not be asked or changed the work is done all the same.
    if let Ok(now) = getpriority_process(None) {
        let _ = setpriority_process(None, now.saturating_add(NICER));
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn let_others_go_first() {}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    fn threads(number: usize) -> LongWork {
        LongWork::new(NonZeroUsize::new(number).unwrap())
    }

    /// Keeps a thread until the returned value is dropped; it has begun.
    fn hold(work: &LongWork) -> mpsc::Sender<()> {
        let (begun, is_begun) = mpsc::channel();
        let (held, end) = mpsc::channel::<()>();
        let taken = work.take(Box::new(move || {
            begun.send(()).unwrap();
            let _ = end.recv();
        }));
        taken.unwrap();
        is_begun.recv().unwrap();
        held
    }

    #[test]
    fn what_comes_when_a_thousand_wait_is_refused_and_the_thousand_are_done() {
        let work = threads(1);
        let held = hold(&work);
        let done = Arc::new(AtomicUsize::new(0));
        let (finished, is_finished) = mpsc::channel();
        for number in 0..MAX_WAITING {
            let (done, finished) = (Arc::clone(&done), finished.clone());
            let one = move || {
                if done.fetch_add(1, Ordering::Relaxed) + 1 == MAX_WAITING {
                    finished.send(()).unwrap();
                }
            };
            assert_eq!(work.take(Box::new(one)), Ok(()), "number {number}");
        }
        let refused = Arc::clone(&done);
        let one_more = move || {
            refused.fetch_add(1_000_000, Ordering::Relaxed);
        };
        assert_eq!(work.take(Box::new(one_more)), Err(Busy));
        drop(held);
        is_finished.recv().unwrap();
        assert_eq!(done.load(Ordering::Relaxed), MAX_WAITING);
        // There is room again.
        let _held = hold(&work);
    }

    #[test]
    fn as_many_run_at_once_as_there_are_threads() {
        let work = threads(3);
        let held: Vec<_> = (0..3).map(|_| hold(&work)).collect();
        let (begun, is_begun) = mpsc::channel();
        let more = move || begun.send(()).unwrap();
        work.take(Box::new(more)).unwrap();
        assert!(is_begun.try_recv().is_err(), "a fourth runs");
        drop(held);
        is_begun.recv().unwrap();
        assert_eq!(work.shared.queue().started, 3);
    }

    #[test]
    fn a_panic_ends_neither_the_thread_nor_what_waits() {
        let work = threads(1);
        let (answer, answered) = mpsc::channel::<()>();
        work.take(Box::new(move || {
            let _kept = answer;
            panic!("on purpose");
        }))
        .unwrap();
        assert!(answered.recv().is_err(), "nobody is told");
        drop(hold(&work));
        assert_eq!(work.shared.queue().started, 1);
    }

    #[test]
    fn what_has_not_begun_is_dropped_at_the_end() {
        let work = threads(1);
        let held = hold(&work);
        let (answer, answered) = mpsc::channel();
        work.take(Box::new(move || answer.send(()).unwrap()))
            .unwrap();
        drop(work);
        assert!(answered.recv().is_err());
        drop(held);
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[test]
    fn the_threads_are_nicer_and_no_other_thread_is() {
        use rustix::process::getpriority_process;
        let before = getpriority_process(None).unwrap();
        let work = threads(1);
        let (tell, told) = mpsc::channel();
        let look = move || tell.send(getpriority_process(None).unwrap()).unwrap();
        work.take(Box::new(look)).unwrap();
        assert_eq!(told.recv().unwrap(), (before + NICER).min(19));
        assert_eq!(getpriority_process(None).unwrap(), before);
        let other = thread::spawn(|| getpriority_process(None).unwrap());
        assert_eq!(other.join().unwrap(), before);
    }
}
