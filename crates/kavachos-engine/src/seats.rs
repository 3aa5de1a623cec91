//! Places of those who take much at once or stay for long: exports, streams, calls that wait.
//!
//! Promises: there are so many in all, and one caller has no more than its own part of them, however many connections it
//! makes: whoever takes all that it gets leaves room for others. So does one human, however many agents they have. A place
//! is free again when its holder is dropped.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kavachos_core::id::UserId;

use crate::actor::{Actor, Caller};
use crate::error::{Error, Result};
use crate::flood::network;

/// When whoever has all of its places may try again.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// Which part of all places those below one human may have.
const HUMAN_SHARE: usize = 4;

/// Places of one kind.
#[derive(Debug, Clone)]
pub(crate) struct Seats {
    taken: Arc<Mutex<Taken>>,
    bounds: Bounds,
}

/// How many places there are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// In all.
    pub(crate) all: usize,
    /// For one caller.
    pub(crate) each: usize,
}

impl Bounds {
    /// For all who act for one human: no less than for one caller.
    fn of_human(self) -> usize {
        self.each.max(self.all / HUMAN_SHARE)
    }
}

#[derive(Debug, Default)]
struct Taken {
    /// INVARIANT: the sum of `by`, and at most [`Bounds::all`].
    all: usize,
    /// INVARIANT: none is 0.
    by: HashMap<Holder, usize>,
    /// Of those with a human above them. INVARIANT: none is 0.
    below: HashMap<UserId, usize>,
}

/// Who takes places.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Holder {
    /// The program around us, which bounds itself.
    Local,
    /// Who is behind a credential: a human with several sessions is one.
    Known(String),
    /// Whoever calls from this network without a credential.
    Network(Option<IpAddr>),
}

impl Holder {
    /// Whoever calls from this address: what one stranger easily has of addresses is one holder.
    pub(crate) fn from(address: Option<IpAddr>) -> Self {
        Self::Network(address.map(network))
    }

    pub(crate) fn of(actor: &Actor) -> Self {
        match actor.caller {
            Caller::Local => Self::Local,
            Caller::Stranger => Self::from(actor.ip),
            _ => Self::Known(actor.public_name()),
        }
    }
}

/// One of the places, until it is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    taken: Arc<Mutex<Taken>>,
    holder: Holder,
    human: Option<UserId>,
}

impl Seats {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            taken: Arc::default(),
            bounds,
        }
    }

    /// Takes a place.
    ///
    /// # Errors
    /// [`Error::TooManyOpen`] when this caller has all that one may have, [`Error::Busy`] when there is none at all.
    pub(crate) fn take(&self, holder: Holder) -> Result<Seat> {
        self.take_below(holder, None)
    }

    /// The same for whoever acts for this human.
    ///
    /// # Errors
    /// Those of [`Seats::take`]; [`Error::TooManyOpen`] also when those who act for the human have all that they may have.
    pub(crate) fn take_below(&self, holder: Holder, human: Option<UserId>) -> Result<Seat> {
        let mut taken = locked(&self.taken);
        let own = taken.by.get(&holder).copied().unwrap_or_default();
        let together = human.and_then(|human| taken.below.get(&human).copied());
        let full = (own >= self.bounds.each && holder != Holder::Local)
            || together.is_some_and(|together| together >= self.bounds.of_human());
        if full {
            return Err(Error::TooManyOpen {
                retry_after: RETRY_AFTER,
            });
        }
        if taken.all >= self.bounds.all {
            return Err(Error::Busy);
        }
        taken.all = taken.all.saturating_add(1);
        taken.by.insert(holder.clone(), own.saturating_add(1));
        if let Some(human) = human {
            let together = taken.below.entry(human).or_default();
            *together = together.saturating_add(1);
        }
        Ok(Seat {
            taken: Arc::clone(&self.taken),
            holder,
            human,
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = locked(&self.taken);
        taken.all = taken.all.saturating_sub(1);
        give_back(&mut taken.by, &self.holder);
        if let Some(human) = &self.human {
            give_back(&mut taken.below, human);
        }
    }
}

/// One less of these; nobody is remembered who has none.
fn give_back<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: &K) {
    let Some(count) = counts.get_mut(key) else {
        return;
    };
    *count = count.saturating_sub(1);
    if *count == 0 {
        counts.remove(key);
    }
}

/// Nothing under the lock can leave it half written.
fn locked(taken: &Mutex<Taken>) -> MutexGuard<'_, Taken> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(name: &str) -> Holder {
        Holder::Known(name.to_owned())
    }

    #[test]
    fn one_caller_has_its_part_and_others_have_theirs() {
        let seats = Seats::new(Bounds { all: 4, each: 2 });
        let first = [
            seats.take(known("a")).unwrap(),
            seats.take(known("a")).unwrap(),
        ];
        let refused = |holder| seats.take(holder).map(drop);
        assert!(matches!(
            refused(known("a")),
            Err(Error::TooManyOpen { .. })
        ));
        let _second = [
            seats.take(known("b")).unwrap(),
            seats.take(known("b")).unwrap(),
        ];
        assert_eq!(refused(known("c")), Err(Error::Busy));
        // The twin: what is given back is there for anyone.
        drop(first);
        assert_eq!(refused(known("c")), Ok(()));
        assert_eq!(refused(known("a")), Ok(()));
        assert_eq!(locked(&seats.taken).by.len(), 1, "nobody is remembered");
    }

    #[test]
    fn all_agents_of_one_human_have_their_part_and_leave_the_rest_to_others() {
        let seats = Seats::new(Bounds { all: 16, each: 2 });
        let (human, other) = (UserId::from_bits(1), UserId::from_bits(2));
        let take = |agent: usize, human| seats.take_below(known(&agent.to_string()), human);
        let held: Vec<Seat> = (0..4)
            .map(|agent| take(agent, Some(human)).unwrap())
            .collect();
        let more = take(4, Some(human)).map(drop);
        assert!(matches!(more, Err(Error::TooManyOpen { .. })), "{more:?}");
        // The twins: the agent of another human, whoever has no human above, and the same once places are given back.
        let _others = [take(5, Some(other)).unwrap(), take(6, None).unwrap()];
        drop(held);
        assert_eq!(take(4, Some(human)).map(drop), Ok(()));
        assert_eq!(locked(&seats.taken).below.len(), 1, "nobody is remembered");
        // One caller has its own part, however few there are.
        let few = Seats::new(Bounds { all: 4, each: 2 });
        let _two = [(); 2].map(|()| few.take_below(known("a"), Some(human)).unwrap());
        assert!(few.take_below(known("b"), Some(human)).is_err());
    }

    #[test]
    fn strangers_are_told_apart_by_their_network_and_the_program_around_is_not_bounded() {
        let seats = Seats::new(Bounds { all: 6, each: 1 });
        let from = |text: &str| Holder::from(Some(text.parse().unwrap()));
        let _one = seats.take(from("192.0.2.1")).unwrap();
        let _six = seats.take(from("2001:db8:0:1::1")).unwrap();
        for neighbour in ["192.0.2.200", "::ffff:192.0.2.9", "2001:db8:0:1:ffff::2"] {
            assert!(seats.take(from(neighbour)).is_err(), "{neighbour}");
        }
        let _others =
            ["192.0.3.1", "2001:db8:0:2::1"].map(|other| seats.take(from(other)).unwrap());
        let _own = [
            seats.take(Holder::Local).unwrap(),
            seats.take(Holder::Local).unwrap(),
        ];
        assert!(
            seats.take(Holder::Local).is_err(),
            "in all they are bounded"
        );
    }
}
