//! A queue that is bounded in items and bytes: full means refused at once, never waiting.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// How much a queue holds, or how much is taken out of it at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    pub(crate) items: usize,
    pub(crate) bytes: usize,
}

/// Why an item was not taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoRoom {
    Full,
    Closed,
}

pub(crate) struct Queue<T> {
    line: Mutex<Line<T>>,
    filled: Condvar,
    limit: Limit,
}

struct Line<T> {
    items: VecDeque<(T, usize)>,
    bytes: usize,
    open: bool,
    /// How many threads wait for items. Waking nobody costs a system call, so it is known here.
    waiting: usize,
}

impl<T> Line<T> {
    fn take(&mut self, into: &mut Vec<T>, at_most: Limit) {
        let mut taken = 0_usize;
        for _ in 0..at_most.items {
            let next = self.items.pop_front_if(|(_, bytes)| {
                taken == 0 || taken.saturating_add(*bytes) <= at_most.bytes
            });
            let Some((item, bytes)) = next else { break };
            taken = taken.saturating_add(bytes.max(1));
            self.bytes = self.bytes.saturating_sub(bytes);
            into.push(item);
        }
    }
}

impl<T> Queue<T> {
    pub(crate) fn new(limit: Limit) -> Self {
        let line = Line {
            items: VecDeque::new(),
            bytes: 0,
            open: true,
            waiting: 0,
        };
        Self {
            line: Mutex::new(line),
            filled: Condvar::new(),
            limit,
        }
    }

    /// Puts an item at the end, or hands nothing over and says why. A single item may be larger than the limit.
    pub(crate) fn push(&self, item: T, bytes: usize) -> Result<(), NoRoom> {
        let mut line = self.line();
        if !line.open {
            return Err(NoRoom::Closed);
        }
        let total = line.bytes.saturating_add(bytes);
        let full = line.items.len() >= self.limit.items || total > self.limit.bytes;
        if full && !line.items.is_empty() {
            return Err(NoRoom::Full);
        }
        line.items.push_back((item, bytes));
        line.bytes = total;
        if line.waiting > 0 {
            self.filled.notify_one();
        }
        Ok(())
    }

    /// Waits for items and takes the first ones, at least one and otherwise within the limit; `false` once the queue
    /// is closed and empty.
    pub(crate) fn drain(&self, into: &mut Vec<T>, at_most: Limit) -> bool {
        let mut line = self.line();
        while line.items.is_empty() {
            if !line.open {
                return false;
            }
            line.waiting = line.waiting.saturating_add(1);
            line = self
                .filled
                .wait(line)
                .unwrap_or_else(PoisonError::into_inner);
            line.waiting = line.waiting.saturating_sub(1);
        }
        line.take(into, at_most);
        true
    }

    /// Takes the first items that are there now, which may be none.
    pub(crate) fn drain_now(&self, into: &mut Vec<T>, at_most: Limit) {
        self.line().take(into, at_most);
    }

    /// Whether anything is taken in.
    pub(crate) fn is_open(&self) -> bool {
        self.line().open
    }

    /// Takes nothing in any more. What is in it can still be drained.
    pub(crate) fn close(&self) {
        self.line().open = false;
        self.filled.notify_all();
    }

    /// Closes the queue and drops what is in it.
    pub(crate) fn abandon(&self) {
        self.close();
        let dropped = std::mem::take(&mut self.line().items);
        drop(dropped);
    }

    fn line(&self) -> MutexGuard<'_, Line<T>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue() -> Queue<u32> {
        Queue::new(Limit {
            items: 3,
            bytes: 100,
        })
    }

    #[test]
    fn a_full_queue_refuses_by_count_and_by_bytes() {
        let by_count = queue();
        (0..3).for_each(|item| by_count.push(item, 1).unwrap());
        assert_eq!(by_count.push(3, 1), Err(NoRoom::Full));
        let by_bytes = queue();
        by_bytes.push(0, 60).unwrap();
        assert_eq!(by_bytes.push(1, 41), Err(NoRoom::Full));
        assert_eq!(by_bytes.push(1, 40), Ok(()));
    }

    #[test]
    fn draining_keeps_the_order_and_makes_room() {
        let queue = queue();
        (0..3).for_each(|item| queue.push(item, 30).unwrap());
        let mut out = Vec::new();
        let two = Limit {
            items: 10,
            bytes: 60,
        };
        assert!(queue.drain(&mut out, two));
        assert_eq!(out, [0, 1]);
        assert_eq!(queue.push(3, 70), Ok(()));
    }

    #[test]
    fn an_item_larger_than_the_limit_goes_through_alone() {
        let queue = queue();
        queue.push(0, 1_000).unwrap();
        assert_eq!(queue.push(1, 1), Err(NoRoom::Full));
        let mut out = Vec::new();
        assert!(queue.drain(&mut out, queue.limit));
        assert_eq!(out, [0]);
    }

    #[test]
    fn a_closed_queue_gives_what_it_has_and_then_ends() {
        let queue = queue();
        queue.push(0, 1).unwrap();
        queue.close();
        assert_eq!(queue.push(1, 1), Err(NoRoom::Closed));
        let mut out = Vec::new();
        assert!(queue.drain(&mut out, queue.limit));
        assert!(!queue.drain(&mut out, queue.limit));
        assert_eq!(out, [0]);
    }
}
