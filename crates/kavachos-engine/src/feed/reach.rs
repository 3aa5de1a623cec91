//! How far a kill has reached, for the answers to everything that stops something.

use kavachos_core::revocation::Lease;
use kavachos_core::time::Timestamp;
use kavachos_store::Head;
use kavachos_store::signing_key;

use crate::act::Act;
use crate::actor::Actor;
use crate::engine::{Engine, Plan};
use crate::error::Result;
use crate::issued::Issued;
use crate::revoked::{Reach, Revoked};

/// An answer that says how far a kill has reached, once that is known.
pub(crate) trait Telling {
    fn tell(&mut self, revoked: Revoked);
}

impl Telling for Revoked {
    fn tell(&mut self, revoked: Revoked) {
        *self = revoked;
    }
}

/// What a repeated call gets was said before.
impl Telling for Issued<Revoked> {
    fn tell(&mut self, revoked: Revoked) {
        if !self.replayed {
            self.thing = revoked;
        }
    }
}

impl Engine {
    /// Plans and commits a change that may stop something, as [`Engine::change`] does; its answer says how far that has
    /// reached. Of what was stopped before, it says how far everything has by now.
    pub(crate) async fn stop<T, P, F>(&self, actor: &Actor, act: Act, plan: P) -> Result<T>
    where
        P: Fn() -> F + Send,
        F: Future<Output = Result<Plan<T>>> + Send,
        T: Telling + Send,
    {
        let (mut answer, committed) = self.committed(actor, act, plan).await?;
        answer.tell(match committed {
            Some(committed) if committed.stops => {
                self.reached(&committed.receipt.head, committed.receipt.time)
            }
            Some(committed) => Revoked::at(committed.receipt.time),
            None => self.reached(&self.head(), self.now()),
        });
        Ok(answer)
    }

    /// How far everything up to this head has reached, which was committed at this time.
    fn reached(&self, head: &Head, at: Timestamp) -> Revoked {
        let kill = (head.epoch, head.revocation.rseq);
        let tally = self.feed().followers.tally(kill, self.now());
        let by_lease = tally.longest.map(|lease| at.plus(lease.duration()));
        // Whoever was given a lease before the start knows of nothing since.
        let open_until = by_lease.max(tally.of_before);
        Revoked {
            effective_by: open_until.map_or(at, |until| until.max(at)),
            state: open_until.map_or(Reach::Closed, |_| Reach::Partial),
            acknowledged: tally.acknowledged,
            followers: tally.followers,
        }
    }

    /// By when a kill will count at the latest that is committed now: what a repeated call is told.
    pub(crate) fn foreseen(&self) -> Timestamp {
        let now = self.now();
        let nobody_knows = (u64::MAX, u64::MAX);
        let tally = self.feed().followers.tally(nobody_knows, now);
        let by_lease = tally.longest.map(|lease| now.plus(lease.duration()));
        by_lease.max(tally.of_before).map_or(now, |by| by.max(now))
    }

    /// The answer to a call that was answered before with a kill that counts by this time.
    pub(crate) fn reached_before(&self, effective_by: Timestamp) -> Revoked {
        let now = self.reached(&self.head(), self.now());
        let is_over = effective_by <= self.now();
        Revoked {
            effective_by,
            state: if is_over { Reach::Closed } else { now.state },
            ..now
        }
    }

    /// Takes for granted that leases are out which an earlier process gave, if one can have: without a key for heads
    /// there were none. To be called once, when the engine starts.
    pub async fn expect_followers_of_before(&self) {
        let signed = self.store().list(signing_key::latest()).await;
        let none = signed.is_ok_and(|keys| keys.is_empty());
        let until = self.now().plus(Lease::LONGEST.duration());
        self.feed()
            .followers
            .expect_strangers((!none).then_some(until));
    }
}
