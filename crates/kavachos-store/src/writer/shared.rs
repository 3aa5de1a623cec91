//! What the writer's thread and its callers both see.

use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_channel::oneshot;

use crate::answer::{Head, Health};

/// The last committed head, the writer's health, and who waits for its end.
pub(crate) struct Shared {
    head: Mutex<Head>,
    health: Mutex<Health>,
    end: Mutex<End>,
}

enum End {
    /// Not yet; these want to know.
    Awaited(Vec<oneshot::Sender<()>>),
    Reached,
}

impl Shared {
    pub(crate) fn new(head: Head) -> Self {
        Self {
            head: Mutex::new(head),
            health: Mutex::new(Health::Ready),
            end: Mutex::new(End::Awaited(Vec::new())),
        }
    }

    pub(crate) fn head(&self) -> Head {
        *lock(&self.head)
    }

    pub(crate) fn set_head(&self, head: Head) {
        *lock(&self.head) = head;
    }

    pub(crate) fn health(&self) -> Health {
        lock(&self.health).clone()
    }

    /// Changes the health. Who has stopped stays so.
    pub(crate) fn set_health(&self, health: Health) {
        let mut current = lock(&self.health);
        if !matches!(*current, Health::Stopped(_)) {
            *current = health;
        }
    }

    /// Resolves when the writer has ended.
    pub(crate) fn ended(&self) -> oneshot::Receiver<()> {
        let (tell, told) = oneshot::channel();
        match &mut *lock(&self.end) {
            End::Awaited(waiting) => waiting.push(tell),
            // Dropping the sender resolves it at once.
            End::Reached => drop(tell),
        }
        told
    }

    /// Tells all who wait for the writer's end.
    pub(crate) fn end(&self) {
        *lock(&self.end) = End::Reached;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
