//! Room for bodies that are read before a handler sees them: for the digest in a proof, or to see which tool is called.
//!
//! Promise: whoever lets their bodies come slowly takes a quarter of the room at the most, with all agents of theirs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use foldhash::fast::RandomState;
use kavachos_core::token::Subject;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::timeout;

/// The most bodies that are read at the same time.
const AT_ONCE: usize = 256;
/// Those of them that come of one human's agents.
const OF_HUMAN: usize = AT_ONCE / 4;
/// How long a request waits until its body may be read.
pub(crate) const WITHIN: Duration = Duration::from_secs(5);
/// From so many humans on, those are forgotten of whom nothing is read.
const MANY: usize = 1_024;

#[derive(Debug)]
pub(crate) struct Bodies {
    all: Semaphore,
    of_humans: Mutex<HashMap<Subject, Arc<Semaphore>, RandomState>>,
}

/// Room for one body, until it is dropped.
#[derive(Debug)]
pub(crate) struct Room<'a> {
    _own: OwnedSemaphorePermit,
    _all: SemaphorePermit<'a>,
}

impl Bodies {
    pub(crate) fn new() -> Self {
        Self {
            all: Semaphore::new(AT_ONCE),
            of_humans: Mutex::default(),
        }
    }

    /// Room for a body of an agent of this human; `None` if there is none in time.
    pub(crate) async fn room(&self, human: &Subject) -> Option<Room<'_>> {
        let own = self.of(human);
        let room = async {
            Some(Room {
                _own: own.acquire_owned().await.ok()?,
                _all: self.all.acquire().await.ok()?,
            })
        };
        timeout(WITHIN, room).await.ok().flatten()
    }

    fn of(&self, human: &Subject) -> Arc<Semaphore> {
        let mut of_humans = self
            .of_humans
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if of_humans.len() >= MANY {
            // Whoever waits, or reads, holds theirs.
            of_humans.retain(|_, room| Arc::strong_count(room) > 1);
        }
        let room = of_humans.entry(human.clone());
        Arc::clone(room.or_insert_with(|| Arc::new(Semaphore::new(OF_HUMAN))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn human(number: usize) -> Subject {
        format!("user_{number}").parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn one_human_takes_a_quarter_of_the_room_and_gives_it_back() {
        let bodies = Bodies::new();
        let humans: Vec<Subject> = (0..5).map(human).collect();
        let mut rooms = Vec::new();
        for _ in 0..OF_HUMAN {
            rooms.push(bodies.room(&humans[0]).await.unwrap());
        }
        assert!(bodies.room(&humans[0]).await.is_none());
        for human in &humans[1..4] {
            for _ in 0..OF_HUMAN {
                rooms.push(bodies.room(human).await.unwrap());
            }
        }
        assert!(bodies.room(&humans[4]).await.is_none(), "there is no more");
        rooms.pop();
        assert!(bodies.room(&humans[4]).await.is_some());
        rooms.clear();
        assert!(bodies.room(&humans[0]).await.is_some());
    }

    #[tokio::test]
    async fn humans_of_whom_nothing_is_read_are_forgotten() {
        let bodies = Bodies::new();
        let first = bodies.room(&human(0)).await.unwrap();
        for number in 1..3_000 {
            drop(bodies.room(&human(number)).await.unwrap());
        }
        let known = bodies.of_humans.lock().unwrap();
        assert!(known.len() <= MANY);
        assert!(known.contains_key(&human(0)));
        drop(first);
    }
}
