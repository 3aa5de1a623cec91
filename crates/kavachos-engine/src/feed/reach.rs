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
use crate::revoked::{Edited, Reach, Revoked};

/// An answer that says how far a kill has reached, once that is known.
pub(crate) trait Telling {
    fn tell(&mut self, revoked: Revoked);
}

impl Telling for Revoked {
    fn tell(&mut self, revoked: Revoked) {
        *self = revoked;
    }
}

/// A repeated call is told the time that was foreseen when it was first made; while somebody may not know of it yet, no
/// earlier one than now follows from that.
impl Telling for Issued<Revoked> {
    fn tell(&mut self, revoked: Revoked) {
        let said = self.thing.effective_by;
        self.thing = Revoked {
            effective_by: match revoked.state {
                _ if !self.replayed => revoked.effective_by,
                Reach::Closed => said,
                Reach::Partial => said.max(revoked.effective_by),
            },
            ..revoked
        };
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
            Some(committed) if committed.stops => self.reached(&committed.receipt.head),
            Some(_) => Revoked::at(self.now()),
            None => self.reached_now(),
        });
        Ok(answer)
    }

    /// Plans and commits a change that may narrow something, as [`Engine::change`] does; if it does, the answer says how
    /// far that has reached.
    pub(crate) async fn edit<T, P, F>(&self, actor: &Actor, act: Act, plan: P) -> Result<Edited<T>>
    where
        P: Fn() -> F + Send,
        F: Future<Output = Result<Plan<T>>> + Send,
        T: Send,
    {
        let (thing, committed) = self.committed(actor, act, plan).await?;
        let narrows = committed.filter(|committed| committed.stops);
        Ok(Edited {
            thing,
            narrowed: narrows.map(|committed| self.reached(&committed.receipt.head)),
        })
    }

    /// How far everything that was killed so far has reached.
    pub(crate) fn reached_now(&self) -> Revoked {
        self.reached(&self.head())
    }

    /// How far everything up to this head has reached, which is durable by now. It counts from now on: whoever asked
    /// before, while the commit was under way, may have been told of the log without it.
    fn reached(&self, head: &Head) -> Revoked {
        let kill = (head.epoch, head.revocation.rseq);
        let tally = self.feed().followers.tally(kill, self.running());
        let now = self.now();
        let open_for = tally.open_for();
        Revoked {
            effective_by: now.plus(open_for.unwrap_or_default()),
            state: open_for.map_or(Reach::Closed, |_| Reach::Partial),
            acknowledged: tally.acknowledged,
            followers: tally.followers,
        }
    }

    /// By when a kill will count at the latest that is committed now: what a repeated call is told at least.
    pub(crate) fn foreseen(&self) -> Timestamp {
        let nobody_knows = (u64::MAX, u64::MAX);
        let tally = self.feed().followers.tally(nobody_knows, self.running());
        self.now().plus(tally.open_for().unwrap_or_default())
    }

    /// Takes for granted that leases are out which an earlier process gave, if one can have: without a key for heads
    /// there were none. To be called once, when the engine starts.
    pub async fn expect_followers_of_before(&self) {
        let signed = self.store().list(signing_key::latest()).await;
        let none = signed.is_ok_and(|keys| keys.is_empty());
        let until = self.running().saturating_add(Lease::LONGEST.duration());
        self.feed()
            .followers
            .expect_strangers((!none).then_some(until));
    }
}
