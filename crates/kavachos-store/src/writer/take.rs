//! Takes: evaluated on the newest state of each counter, kept only when the whole batch holds.

use kavachos_core::counter::{self, TakeError};
use kavachos_core::time::Timestamp;

use crate::answer::CommitError;
use crate::batch::Take;

/// Counters with the states that a batch would leave them in.
pub(crate) type Taken<'a> = Vec<(&'a [u8], Vec<u8>)>;

/// What the counters have come to before the batch at hand.
pub(crate) trait Counters {
    /// A batch that is refused, and whatever goes wrong with looking up.
    type Error: From<CommitError>;

    /// The state of a counter; `None` when nothing was ever taken from it.
    fn state(&mut self, counter: &[u8]) -> Result<Option<&[u8]>, Self::Error>;
}

/// Evaluates the takes of one batch in their order, without keeping anything yet.
pub(crate) fn evaluate<'b, C: Counters>(
    counters: &mut C,
    takes: &'b [Take],
    now: Timestamp,
) -> Result<Taken<'b>, C::Error> {
    let mut taken: Taken<'_> = Vec::with_capacity(takes.len());
    for take in takes {
        let own = taken.iter_mut().find(|(key, _)| **key == *take.counter);
        let state = match &own {
            Some((_, state)) => Some(state.as_slice()),
            None => counters.state(&take.counter)?,
        };
        let next =
            counter::take(state, &take.rule, take.n, now).map_err(|error| refused(take, error))?;
        match own {
            Some((_, state)) => *state = next,
            None => taken.push((&take.counter, next)),
        }
    }
    Ok(taken)
}

fn refused(take: &Take, error: TakeError) -> CommitError {
    match error {
        TakeError::Refused(refusal) => CommitError::Refused {
            counter: take.counter.clone(),
            refusal,
        },
        TakeError::Corrupt => CommitError::Rejected {
            write: None,
            reason: error.to_string(),
        },
    }
}
