//! Places for requests that stay for a while: whose body is read before a handler sees it, or that wait for a human.
//!
//! Promise: there are so many, and one human takes a quarter of them at the most, with all agents of theirs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use foldhash::fast::RandomState;
use kavachos_core::token::Subject;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::timeout;

/// Which part of all places one human's agents may have.
const HUMAN_SHARE: usize = 4;
/// From so many humans on, those are forgotten who have none.
const MANY: usize = 1_024;

#[derive(Debug)]
pub(crate) struct Places {
    all: Semaphore,
    of_human: usize,
    of_humans: Mutex<HashMap<Subject, Arc<Semaphore>, RandomState>>,
}

/// One place, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    _own: OwnedSemaphorePermit,
    _all: SemaphorePermit<'a>,
}

impl Places {
    /// So many at the same time.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            all: Semaphore::new(most),
            of_human: most / HUMAN_SHARE,
            of_humans: Mutex::default(),
        }
    }

    /// A place for a request of an agent of this human; `None` if there is none within this time.
    pub(crate) async fn within(&self, time: Duration, human: &Subject) -> Option<Place<'_>> {
        let own = self.of(human);
        let place = async {
            Some(Place {
                _own: own.acquire_owned().await.ok()?,
                _all: self.all.acquire().await.ok()?,
            })
        };
        timeout(time, place).await.ok().flatten()
    }

    /// The same; `None` if there is none now.
    pub(crate) fn now(&self, human: &Subject) -> Option<Place<'_>> {
        Some(Place {
            _own: self.of(human).try_acquire_owned().ok()?,
            _all: self.all.try_acquire().ok()?,
        })
    }

    fn of(&self, human: &Subject) -> Arc<Semaphore> {
        let mut of_humans = self
            .of_humans
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if of_humans.len() >= MANY {
            // Whoever has a place, or waits for one, holds theirs.
            of_humans.retain(|_, own| Arc::strong_count(own) > 1);
        }
        let own = of_humans.entry(human.clone());
        Arc::clone(own.or_insert_with(|| Arc::new(Semaphore::new(self.of_human))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn human(number: usize) -> Subject {
        format!("user_{number}").parse().unwrap()
    }

    const WITHIN: Duration = Duration::from_secs(5);

    #[tokio::test(start_paused = true)]
    async fn one_human_takes_a_quarter_of_the_places_and_gives_them_back() {
        let places = Places::new(16);
        let humans: Vec<Subject> = (0..5).map(human).collect();
        let mut held = Vec::new();
        for _ in 0..4 {
            held.push(places.within(WITHIN, &humans[0]).await.unwrap());
        }
        assert!(places.within(WITHIN, &humans[0]).await.is_none());
        assert!(places.now(&humans[0]).is_none());
        for human in &humans[1..4] {
            held.extend([(); 4].map(|()| places.now(human).unwrap()));
        }
        assert!(places.now(&humans[4]).is_none(), "there is no more");
        assert!(places.within(WITHIN, &humans[4]).await.is_none());
        held.pop();
        assert!(places.now(&humans[4]).is_some());
        held.clear();
        assert!(places.within(WITHIN, &humans[0]).await.is_some());
    }

    #[test]
    fn humans_who_have_no_place_are_forgotten() {
        let places = Places::new(16);
        let first = places.now(&human(0)).unwrap();
        for number in 1..3_000 {
            drop(places.now(&human(number)).unwrap());
        }
        let known = places.of_humans.lock().unwrap();
        assert!(known.len() <= MANY);
        assert!(known.contains_key(&human(0)));
        drop(first);
    }
}
