//! Telling hooks what happened: each has a bounded queue of its own, emptied in order beside everything else.
//!
//! Whoever is too far behind is not told, and it is counted; whoever hangs or panics loses that one observation.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{Either, select};

use super::{Event, Hook};
use crate::engine::Engine;

/// How many observations wait for one hook.
const MAX_WAITING: usize = 1_024;
/// How long a hook may take over one observation.
const PATIENCE: Duration = Duration::from_secs(10);

/// A hook, with what it is still to be told.
pub(super) struct Watcher {
    hook: Arc<dyn Hook>,
    queue: Mutex<Queue>,
    dropped: AtomicU64,
}

#[derive(Default)]
struct Queue {
    /// INVARIANT: at most [`MAX_WAITING`].
    events: VecDeque<Arc<Event>>,
    /// Whether a task empties the queue now.
    emptied: bool,
}

impl Watcher {
    pub(super) fn of(hook: Arc<dyn Hook>) -> Arc<Self> {
        Arc::new(Self {
            hook,
            queue: Mutex::default(),
            dropped: AtomicU64::new(0),
        })
    }

    pub(super) fn hook(&self) -> &dyn Hook {
        &*self.hook
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Notes an observation, and sees to it that somebody empties the queue.
    pub(super) fn tell(self: &Arc<Self>, engine: &Engine, event: Arc<Event>) {
        let mut queue = self.queue();
        if queue.events.len() >= MAX_WAITING {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        queue.events.push_back(event);
        if !std::mem::replace(&mut queue.emptied, true) {
            drop(queue);
            let (watcher, engine_too) = (Arc::clone(self), engine.clone());
            engine.spawn(async move { watcher.empty(&engine_too).await });
        }
    }

    async fn empty(&self, engine: &Engine) {
        while let Some(event) = self.next() {
            let told = AssertUnwindSafe(self.observe(&event)).catch_unwind();
            let patience = engine.sleep(PATIENCE);
            let hook = self.hook.name();
            match select(pin!(told), pin!(patience)).await {
                Either::Left((Ok(()), _)) => {}
                Either::Left((Err(_), _)) => tracing::error!(hook, "an observing hook panicked"),
                Either::Right(_) => tracing::warn!(hook, "an observing hook hangs; it is left"),
            }
        }
    }

    /// The next observation; without one nobody empties the queue any more.
    fn next(&self) -> Option<Arc<Event>> {
        let mut queue = self.queue();
        let next = queue.events.pop_front();
        queue.emptied = next.is_some();
        next
    }

    async fn observe(&self, event: &Event) {
        match event {
            Event::Decided(decided) => {
                self.hook.after_authorize(decided).await;
                if !decided.decision.allowed {
                    self.hook.on_denied(decided).await;
                }
            }
            Event::Stopped(stopped) => self.hook.on_revoked(stopped).await,
        }
    }

    /// Nothing under the lock can leave the queue half written.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
