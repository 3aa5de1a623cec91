//! Places of those who take much at once or stay for long: exports, streams, calls that wait.
//!
//! Promises: there are so many in all, and one caller has no more than its own part of them, however many connections it
//! makes: whoever takes all that it gets leaves room for others. A place is free again when its holder is dropped.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::actor::{Actor, Caller};
use crate::error::{Error, Result};

/// When whoever has all of its places may try again.
const RETRY_AFTER: Duration = Duration::from_secs(5);

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

#[derive(Debug, Default)]
struct Taken {
    /// INVARIANT: the sum of `by`, and at most [`Bounds::all`].
    all: usize,
    /// INVARIANT: none is 0.
    by: HashMap<Holder, usize>,
}

/// Who takes places.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Holder {
    /// The program around us, which bounds itself.
    Local,
    /// Who is behind a credential: a human with several sessions is one.
    Known(String),
    /// Whoever calls from this address without a credential.
    Network(Option<IpAddr>),
}

impl Holder {
    pub(crate) fn of(actor: &Actor) -> Self {
        match actor.caller {
            Caller::Local => Self::Local,
            _ => Self::Known(actor.public_name()),
        }
    }
}

/// One of the places, until it is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    taken: Arc<Mutex<Taken>>,
    holder: Holder,
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
        let mut taken = locked(&self.taken);
        let own = taken.by.get(&holder).copied().unwrap_or_default();
        if own >= self.bounds.each && holder != Holder::Local {
            return Err(Error::TooManyOpen {
                retry_after: RETRY_AFTER,
            });
        }
        if taken.all >= self.bounds.all {
            return Err(Error::Busy);
        }
        taken.all = taken.all.saturating_add(1);
        taken.by.insert(holder.clone(), own.saturating_add(1));
        Ok(Seat {
            taken: Arc::clone(&self.taken),
            holder,
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = locked(&self.taken);
        taken.all = taken.all.saturating_sub(1);
        let left = taken.by.get(&self.holder).map(|own| own.saturating_sub(1));
        match left {
            Some(left) if left > 0 => drop(taken.by.insert(self.holder.clone(), left)),
            _ => drop(taken.by.remove(&self.holder)),
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
    fn strangers_are_told_apart_by_their_address_and_the_program_around_is_not_bounded() {
        let seats = Seats::new(Bounds { all: 4, each: 1 });
        let from = |byte| Holder::Network(Some(IpAddr::from([192, 0, 2, byte])));
        let _one = seats.take(from(1)).unwrap();
        assert!(seats.take(from(1)).is_err());
        let _other = seats.take(from(2)).unwrap();
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
