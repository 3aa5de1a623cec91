//! Places of those who take much at once or stay for long: exports, streams, calls that wait.
//!
//! Promises: there are so many in all, and one caller has no more than its own part of them, however many connections it
//! makes: whoever takes all that it gets leaves room for others. So does one human, however many agents they have, also of
//! the part of a caller that calls for many humans. A place is free again when its holder is dropped.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kavachos_core::id::UserId;

use crate::actor::{Actor, Caller};
use crate::error::{Error, Result};
use crate::flood::network;

/// When whoever has all of its places may try again.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// Which part of all places those below one human may have, and of those of one caller.
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

    /// How many of these there may be.
    fn of(self, part: &Part) -> usize {
        match part {
            Part::Of(Holder::Local) => usize::MAX,
            Part::Of(_) => self.each,
            Part::Below(_) => self.of_human(),
            Part::Through(..) => (self.each / HUMAN_SHARE).max(1),
        }
    }
}

/// What a place counts for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Part {
    /// Whoever has it.
    Of(Holder),
    /// The human above them.
    Below(UserId),
    /// One human, of those for whom somebody has places.
    Through(Holder, UserId),
}

#[derive(Debug, Default)]
struct Taken {
    /// INVARIANT: the sum of those [of holders](Part::Of), and at most [`Bounds::all`].
    all: usize,
    /// INVARIANT: none is 0, nor more than [`Bounds::of`] it.
    by: HashMap<Part, usize>,
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
    parts: Vec<Part>,
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
        self.take_parts(vec![Part::Of(holder)])
    }

    /// The same for whoever acts for this human.
    ///
    /// # Errors
    /// Those of [`Seats::take`]; [`Error::TooManyOpen`] also when those who act for the human have all that they may have.
    pub(crate) fn take_below(&self, holder: Holder, human: Option<UserId>) -> Result<Seat> {
        let human = human.map(Part::Below);
        self.take_parts([Part::Of(holder)].into_iter().chain(human).collect())
    }

    /// The same for whoever calls for many humans, this time for this one.
    ///
    /// # Errors
    /// Those of [`Seats::take_below`]; [`Error::TooManyOpen`] also when the human has their part of the caller's places.
    pub(crate) fn take_through(&self, holder: Holder, human: UserId) -> Result<Seat> {
        let through = Part::Through(holder.clone(), human);
        self.take_parts(vec![Part::Of(holder), Part::Below(human), through])
    }

    fn take_parts(&self, parts: Vec<Part>) -> Result<Seat> {
        let mut taken = locked(&self.taken);
        let count = |part: &Part| taken.by.get(part).copied().unwrap_or_default();
        let is_full = |part: &Part| count(part) >= self.bounds.of(part);
        if parts.iter().any(is_full) {
            return Err(Error::TooManyOpen {
                retry_after: RETRY_AFTER,
            });
        }
        if taken.all >= self.bounds.all {
            return Err(Error::Busy);
        }
        taken.all = taken.all.saturating_add(1);
        for part in &parts {
            let count = taken.by.entry(part.clone()).or_default();
            *count = count.saturating_add(1);
        }
        Ok(Seat {
            taken: Arc::clone(&self.taken),
            parts,
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = locked(&self.taken);
        taken.all = taken.all.saturating_sub(1);
        for part in &self.parts {
            let Some(count) = taken.by.get_mut(part) else {
                continue;
            };
            *count = count.saturating_sub(1);
            // Nobody is remembered who has none.
            if *count == 0 {
                taken.by.remove(part);
            }
        }
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
        assert_eq!(locked(&seats.taken).by.len(), 3, "nobody is remembered");
        // One caller has its own part, however few there are.
        let few = Seats::new(Bounds { all: 4, each: 2 });
        let _two = [(); 2].map(|()| few.take_below(known("a"), Some(human)).unwrap());
        assert!(few.take_below(known("b"), Some(human)).is_err());
    }

    #[test]
    fn one_human_has_a_part_of_what_a_caller_for_many_humans_has() {
        let seats = Seats::new(Bounds { all: 32, each: 8 });
        let take =
            |holder: &str, human| seats.take_through(known(holder), UserId::from_bits(human));
        let held = [(); 2].map(|()| take("a", 1).unwrap());
        let more = take("a", 1).map(drop);
        assert!(matches!(more, Err(Error::TooManyOpen { .. })), "{more:?}");
        // The twins: another human of the same caller, the same one of another caller, until their own part is full.
        let mut others: Vec<Seat> = (2..5).map(|human| take("a", human).unwrap()).collect();
        others.extend(["b", "c", "d"].map(|holder| take(holder, 1).unwrap()));
        others.extend(["b", "c", "d"].map(|holder| take(holder, 1).unwrap()));
        let more = take("e", 1).map(drop);
        assert!(matches!(more, Err(Error::TooManyOpen { .. })), "{more:?}");
        others.extend((2..5).map(|human| take("a", human).unwrap()));
        assert!(take("a", 6).is_err(), "a caller has its own part");
        drop(held);
        assert!(take("a", 1).is_ok());
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
