//! A client that asks for itself (RFC 6749, section 4.4): it is an agent that somebody made before.
//!
//! Promises: an operator names the agent, who could as well have a key made for it. The client acts by a key of the agent which
//! nobody ever sees, as clients do that a human let in: so the end of the agent, of its human, of that key or of the client ends
//! every token, and the agent's authority is all that there is. It gets no refresh token.

use std::time::Duration;

use kavachos_core::client::{ClientMetadata, GrantType};
use kavachos_core::id::AgentId;
use kavachos_core::invalid::Invalid;
use kavachos_core::revocation::Mark;
use kavachos_core::secret::Secret;
use kavachos_core::token::Proof;
use kavachos_core::tool_server::Audience;
use kavachos_store::agent::AgentKeyRow;
use kavachos_store::refresh_line::{self, LineRow};
use kavachos_store::{Batch, agent, connection, handle};

use super::Client;
use super::tokens::MAX_RENEWALS;
use crate::act::Act;
use crate::actor::{Actor, Scope};
use crate::agents::{MAX_KEY_TTL, live_agent};
use crate::directory::Changed;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::tokens::{Minted, TokenAsk, Wanted};

/// What is shown of the key of such a client among an agent's keys.
pub(crate) const SHOWN_OF_CLIENT: &str = "kv_client_";
/// The most keys that an agent has which clients act by: what ends them reads them all.
const MAX_KEYS: usize = 10;
/// How long the key lives: as long as the client does.
const LIFE: Duration = Duration::from_secs(100 * 366 * 24 * 60 * 60);
/// It is let in nowhere: what it may do is the agent's.
const NO_TARGETS: &str = "[]";

/// What a client asks for that asks for itself.
#[derive(Debug, Clone)]
pub struct OwnAsk {
    /// For which tool server.
    pub audience: Audience,
    /// What it is to permit.
    pub wanted: Wanted,
    /// The proof of a key that came with the request.
    pub proof: Option<Proof>,
}

/// Whoever asks for itself is somebody, and nobody else is.
///
/// # Errors
/// The agent is missing, or is of no use.
pub(crate) fn check_agent(metadata: &ClientMetadata, agent: Option<AgentId>) -> Result<()> {
    let message = match (metadata.may(GrantType::ClientCredentials), agent) {
        (true, None) => "is missing: name the agent that the client is when it asks for itself",
        (false, Some(_)) => "is for clients that may ask for `client_credentials`",
        _ => return Ok(()),
    };
    Err(Invalid::at("agent", message).into())
}

impl Engine {
    /// A token for a client itself.
    ///
    /// # Errors
    /// [`Error::Forbidden`] for a client that is no agent, or no longer; those of [`Engine::token`].
    pub async fn token_for_itself(
        &self,
        call: &Actor,
        client: &Client,
        ask: OwnAsk,
    ) -> Result<Minted> {
        let no_agent = || {
            Error::Forbidden(
                "the client is no agent that lives: an operator names one when they register it"
                    .to_owned(),
            )
        };
        let agent = client.agent.ok_or_else(no_agent)?;
        let act = Act::on_agent("token.issued", agent);
        if ask.proof.is_none() && client.metadata.dpop_bound_access_tokens {
            let error = Error::ProofMissing("the client's tokens are bound to a key");
            return Err(self.refused(call, act, error).await?);
        }
        let ask = TokenAsk {
            audience: ask.audience,
            wanted: ask.wanted,
            ttl: None,
            reason: format!("{}: for itself", client.metadata.client_name),
            agent: Some(agent),
            agent_key: None,
            proof: ask.proof,
        };
        for _ in 0..MAX_RENEWALS {
            let line = refresh_line::of_itself(client.id.to_string(), agent, self.now());
            let Some(line) = self.store().find(line).await? else {
                return Err(self.refused(call, act, no_agent()).await?);
            };
            let actor = self.as_line(call, &line).await?.ok_or_else(no_agent)?;
            let plan = || self.plan_token_with(&actor, &ask, Some(client.mark));
            match self.change(&actor, act, plan).await {
                // The key is dead by now, or goes on under another handle, since a token was given back.
                Err(Error::Unauthenticated(_)) => {}
                minted => return minted,
            }
        }
        Err(Error::Contended)
    }

    /// Has a client be an agent from now on, by a key that is drawn, hashed and forgotten. Belongs behind the client's own row.
    ///
    /// # Errors
    /// The caller may make no keys of agents, or may do less than this one; the agent is not live, is itself a client that a
    /// human let in, or is as many clients already as one agent may be.
    pub(super) async fn add_itself(
        &self,
        actor: &Actor,
        (client, id): (&str, AgentId),
        secret: &Secret,
        batch: &mut Batch,
    ) -> Result<()> {
        actor.require(Scope::AgentsWrite)?;
        let row = self.agent_row(id).await?;
        self.within_reach(actor, id).await?;
        let is_let_in = self.store().find(connection::by_agent(id)).await?.is_some();
        let facts = self.facts(id).await?;
        if is_let_in || live_agent(&facts, self.now()).is_none() {
            return Err(Error::WrongState(
                "the agent, or someone above it, is not active, or it is an application that a human let in; name an agent that \
                 you made for this"
                    .to_owned(),
            ));
        }
        let keys = self.store().list(agent::active_keys(id)).await?;
        let ends = |mark: Mark| batch.kills.iter().any(|kill| kill.handle == mark.handle);
        let of_clients = |key: &&AgentKeyRow| key.shown == SHOWN_OF_CLIENT && !ends(key.mark);
        if keys.iter().filter(of_clients).count() >= MAX_KEYS {
            let message = format!("is as many clients already as one agent may be: {MAX_KEYS}");
            return Err(Invalid::at("agent", message).into());
        }
        let user = self.user_row(row.root).await?;
        let mut key = self.new_key_row(&row, user.kills, Some(MAX_KEY_TTL), secret)?;
        // Not the agent's end, which may be put off: the agent is asked each time.
        key.expires_at = self.now().plus(LIFE);
        SHOWN_OF_CLIENT.clone_into(&mut key.shown);
        batch.reads.extend([row.mark, user.mark]);
        // The version makes this and a rotation at the same time one after the other.
        batch.writes.push(agent::update(row));
        batch.writes.push(agent::insert_key(key.clone()));
        batch.writes.push(handle::born(key.mark));
        batch.writes.push(refresh_line::insert(LineRow {
            id: key.hash,
            agent: id,
            client: client.to_owned(),
            targets: NO_TARGETS.to_owned(),
            proof_key: None,
            number: 0,
            since: self.now(),
            repeats: 0,
            idle_ends_at: key.expires_at,
            created_at: self.now(),
        }));
        batch.effects.push(Changed::Agent(id).into());
        batch.effects.push(Changed::Key(key.hash).into());
        Ok(())
    }

    /// Ends the key by which a client is an agent, if it has one.
    pub(super) async fn end_itself(
        &self,
        (client, agent): (&str, Option<AgentId>),
        batch: &mut Batch,
    ) -> Result<()> {
        let Some(agent) = agent else { return Ok(()) };
        let line = refresh_line::of_itself(client.to_owned(), agent, self.now());
        match self.store().find(line).await? {
            Some(line) => self.end_key(line.id, batch).await,
            None => Ok(()),
        }
    }
}
