//! What a token says of the session with which a human asked for it.
//!
//! A tool server of our own is told the session's handle. One that others run is told a handle that no other tool server
//! is told, so that two of them cannot tell by it that they serve the same human; the end of the session raises each
//! ([`crate::raising`]).

use kavachos_core::revocation::{HandleKind, Mark};
use kavachos_core::tool_server::Party;
use kavachos_store::{handle, session_handle};

use super::holder::Held;
use super::target::Target;
use crate::actor::{Actor, Person, Session};
use crate::engine::Engine;
use crate::error::Result;

impl Engine {
    /// Has the end of the caller's session kill the token.
    pub(super) async fn add_session(
        &self,
        actor: &Actor,
        target: &Target,
        held: &mut Held,
    ) -> Result<()> {
        let Some(session) = actor.person().and_then(Person::session) else {
            return Ok(());
        };
        let mark = match target.server.policy.party {
            Party::First => session.mark,
            Party::Third => self.named_for(session, target, held).await?,
        };
        held.others.push(mark);
        Ok(())
    }

    /// The handle of a session for one tool server. The first token makes it; that the session is live is a condition of
    /// every batch of its human.
    async fn named_for(&self, session: &Session, target: &Target, held: &mut Held) -> Result<Mark> {
        let known = session_handle::of(session.id, target.server.id);
        if let Some(known) = self.store().find(known).await? {
            held.batch.reads.push(known.mark);
            return Ok(known.mark);
        }
        let mark = self.mark(HandleKind::Session);
        let insert = session_handle::insert(session.id, target.server.id, mark.handle);
        held.batch.writes.extend([insert, handle::born(mark)]);
        Ok(mark)
    }
}
