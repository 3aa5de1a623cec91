//! What a human made themselves, and its end where somebody else may have been in their account.
//!
//! Promises: an agent or a grant that a human makes says who made it, and in which session; when the account is recovered
//! all of these end, however many there are, in steps behind the commit that ends the sessions (see
//! [`raising`](crate::raising)). That commit names none of them: whoever is in the account could hold it up by changing
//! them. What operators made stays, and waits for new keys. See ADR 0035.

use kavachos_core::id::{AgentId, GrantId};
use kavachos_core::ledger::{Actor as Name, Entry, Outcome, Pseudonym, Record};
use kavachos_store::agent::{self, StandingAgent};
use kavachos_store::grant::{self, StandingGrant};
use kavachos_store::maker::{Ending, Extent, Maker};
use kavachos_store::{Batch, begun_kill};
use serde_json::json;

use crate::actor::{Actor, Caller};
use crate::directory::Changed;
use crate::engine::Engine;
use crate::error::Result;
use crate::raising::Dying;
use crate::users::raised;

/// Whether something is left to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    Nothing,
    Something,
}

impl Actor {
    /// Who makes what this call makes, where a human does it themselves.
    pub(crate) fn maker(&self) -> Option<Maker> {
        match &self.caller {
            Caller::Person(person) => Some(Maker {
                human: person.user.id,
                session: person.session().map(|session| session.id),
            }),
            Caller::Provided(provided) => Some(Maker {
                human: provided.user().id,
                session: None,
            }),
            Caller::Local
            | Caller::Operator(_)
            | Caller::Agent(_)
            | Caller::ToolServer(_)
            | Caller::Root(_)
            | Caller::Stranger => None,
        }
    }
}

/// Begins the end of all these things, in the batch that ends the sessions.
pub(crate) fn begin_ending(ending: Ending, (batch, dying): (&mut Batch, &mut Vec<Dying>)) {
    let made = Dying::Made(ending.human, ending.extent);
    let until = u64::try_from(ending.until.as_micros()).unwrap_or_default();
    batch.writes.push(begun_kill::begin(made.id(), until));
    dying.push(made);
}

impl Engine {
    /// Adds the end of at most so many agents, and as many grants, to the batch.
    pub(crate) async fn end_made(
        &self,
        ending: Ending,
        limit: usize,
        batch: &mut Batch,
    ) -> Result<Left> {
        let agents = self.store().list(agent::ending(ending, limit)).await?;
        let grants = grant::ending(ending, self.now(), limit);
        let grants = self.store().list(grants).await?;
        for one in &agents {
            batch.kills.push(raised(one.mark));
            // Off the count first, as long as it is in it.
            let end = [agent::uncount(one.id, one.root), agent::revoke(one.id)];
            batch.writes.extend(end);
            batch.effects.push(Changed::Agent(one.id).into());
            batch.effects.push(Changed::User(one.root).into());
            batch.entries.push(self.ended(ending, one.into())?);
        }
        for one in &grants {
            batch.kills.push(raised(one.mark));
            batch.writes.push(grant::revoke(one.id));
            batch.effects.extend(Changed::grant(one.id, one.receiver));
            batch.entries.push(self.ended(ending, one.into())?);
        }
        let full = agents.len() == limit || grants.len() == limit;
        Ok(if full { Left::Something } else { Left::Nothing })
    }

    fn ended(&self, ending: Ending, thing: Ended) -> Result<Entry> {
        let kind = match thing.grant {
            None => "agent.revoked",
            Some(_) => "delegation.revoked",
        };
        let details = thing.grant.map(|grant| json!({ "grant": grant }));
        let path: Vec<GrantId> = thing.grant.into_iter().collect();
        // Who took the account back stands in the record of that.
        let mut record = Record::new(self.id(), kind, Outcome::Allowed, "done", Name::System);
        record.agent = Some(thing.agent);
        record.subject = Some(thing.subject);
        record.grant_path = &path;
        record.details = details.as_ref();
        record.reason = Some(match ending.extent {
            Extent::Made => "it was made in an account that its human took back",
            Extent::Given => "it was made before the e-mail address was verified",
        });
        self.seal(&record)
    }
}

/// What a record of an end names.
#[derive(Clone, Copy)]
struct Ended {
    agent: AgentId,
    /// Set where a grant ended, and not the agent.
    grant: Option<GrantId>,
    subject: Pseudonym,
}

impl From<&StandingAgent> for Ended {
    fn from(one: &StandingAgent) -> Self {
        Self {
            agent: one.id,
            grant: None,
            subject: one.subject,
        }
    }
}

impl From<&StandingGrant> for Ended {
    fn from(one: &StandingGrant) -> Self {
        Self {
            agent: one.receiver,
            grant: Some(one.id),
            subject: one.subject,
        }
    }
}
