//! Acts, as their records name them: of what kind, and what about.
//!
//! An act that was refused has no outcome to tell of, so its record says what its caller named: also what does not
//! exist or is not the caller's to see. The caller learns nothing by it; whoever reads the ledger learns what was tried.

use kavachos_core::client::ClientId;
use kavachos_core::id::{
    AgentId, ApprovalId, GrantId, KeyId, RegisteredClientId, SessionId, ToolServerId, UserId,
    WebhookId,
};
use kavachos_core::ledger::{Outcome, Pseudonym};
use kavachos_core::principal::Owner;
use serde_json::{Map, Value};

use crate::actor::{Actor, Caller};
use crate::agents::{NewAgent, NewOwner};
use crate::directory::Lookup;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::flood::Stranger;
use crate::grants::NewDelegation;
use crate::hooks::Stopped;

/// An act, and what the request says of what it is about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Act {
    kind: &'static str,
    agent: Option<AgentId>,
    user: Option<UserId>,
    /// An agent that will stand above what is to be made.
    above: Option<AgentId>,
    grant: Option<GrantId>,
    /// The grant from which one is to be derived.
    parent: Option<GrantId>,
    key: Option<KeyId>,
    approval: Option<ApprovalId>,
    session: Option<SessionId>,
    webhook: Option<WebhookId>,
    server: Option<ToolServerId>,
    client: Option<RegisteredClientId>,
    route: Option<&'static str>,
}

impl Act {
    /// An act about nothing that is there yet.
    pub(crate) const fn new(kind: &'static str) -> Self {
        Self {
            kind,
            agent: None,
            user: None,
            above: None,
            grant: None,
            parent: None,
            key: None,
            approval: None,
            session: None,
            webhook: None,
            server: None,
            client: None,
            route: None,
        }
    }

    pub(crate) const fn on_agent(kind: &'static str, id: AgentId) -> Self {
        Self {
            agent: Some(id),
            ..Self::new(kind)
        }
    }

    pub(crate) const fn on_user(kind: &'static str, id: UserId) -> Self {
        Self {
            user: Some(id),
            ..Self::new(kind)
        }
    }

    pub(crate) const fn on_grant(kind: &'static str, id: GrantId) -> Self {
        Self {
            grant: Some(id),
            ..Self::new(kind)
        }
    }

    pub(crate) const fn on_key(kind: &'static str, id: KeyId) -> Self {
        Self {
            key: Some(id),
            ..Self::new(kind)
        }
    }

    pub(crate) const fn on_approval(kind: &'static str, id: ApprovalId) -> Self {
        Self {
            approval: Some(id),
            ..Self::new(kind)
        }
    }

    pub(crate) const fn on_session(kind: &'static str, id: SessionId) -> Self {
        Self {
            session: Some(id),
            ..Self::new(kind)
        }
    }

    pub(crate) const fn on_webhook(kind: &'static str, id: WebhookId) -> Self {
        Self {
            webhook: Some(id),
            ..Self::new(kind)
        }
    }

    pub(crate) const fn on_server(kind: &'static str, id: ToolServerId) -> Self {
        Self {
            server: Some(id),
            ..Self::new(kind)
        }
    }

    /// An act about a client; the address of one that is known by its document is not told, since anybody writes any.
    pub(crate) fn on_client(kind: &'static str, id: &ClientId) -> Self {
        Self {
            client: id.as_str().parse().ok(),
            ..Self::new(kind)
        }
    }

    pub(crate) const fn on_route(kind: &'static str, path: &'static str) -> Self {
        Self {
            route: Some(path),
            ..Self::new(kind)
        }
    }

    /// A decision about an agent, for a human if one is named.
    pub(crate) const fn decision(agent: Option<AgentId>, user: Option<UserId>) -> Self {
        Self {
            agent,
            user,
            ..Self::new("decision")
        }
    }

    /// A question why, about an agent, for a human if one is named.
    pub(crate) const fn explained(agent: Option<AgentId>, user: Option<UserId>) -> Self {
        Self {
            agent,
            user,
            ..Self::new("explanation")
        }
    }

    /// The making of an agent.
    pub(crate) fn agent_created(new: &NewAgent) -> Self {
        let act = Self {
            parent: new.parent,
            ..Self::new("agent.created")
        };
        match new.owner {
            NewOwner::User(id) => act.below(Owner::User(id)),
            NewOwner::Agent(id) => act.below(Owner::Agent(id)),
            NewOwner::External(_) => act,
        }
    }

    /// The making of a delegation.
    pub(crate) fn delegation_created(new: &NewDelegation) -> Self {
        let act = Self {
            parent: new.parent,
            ..Self::on_agent("delegation.created", new.to)
        };
        act.below(new.from)
    }

    fn below(self, owner: Owner) -> Self {
        match owner {
            Owner::User(id) => Self {
                user: Some(id),
                ..self
            },
            Owner::Agent(id) => Self {
                above: Some(id),
                ..self
            },
        }
    }

    /// The act, as hooks are told of one that stopped something.
    pub(crate) const fn stopped(&self) -> Stopped {
        Stopped {
            kind: self.kind,
            agent: self.agent,
            human: self.user,
            grant: self.grant,
            key: self.key,
            session: self.session,
            tool_server: self.server,
        }
    }

    /// What no other member of a record says.
    fn details(&self) -> Option<Value> {
        let members = [
            ("grant", self.grant.map(|id| id.to_string())),
            ("parent", self.parent.map(|id| id.to_string())),
            ("key", self.key.map(|id| id.to_string())),
            ("approval", self.approval.map(|id| id.to_string())),
            ("session", self.session.map(|id| id.to_string())),
            ("webhook", self.webhook.map(|id| id.to_string())),
            ("server", self.server.map(|id| id.to_string())),
            ("client", self.client.map(|id| id.to_string())),
            ("route", self.route.map(str::to_owned)),
        ];
        let given = members
            .into_iter()
            .filter_map(|(name, id)| Some((name.to_owned(), id?.into())));
        let given: Map<String, Value> = given.collect();
        (!given.is_empty()).then_some(Value::Object(given))
    }
}

impl Engine {
    /// Records that a caller was refused; the caller gets the refusal back, or why it could not be recorded. What strangers are
    /// refused is bounded for all of them together.
    pub(crate) async fn refused(&self, actor: &Actor, act: Act, error: Error) -> Result<Error> {
        if matches!(actor.caller, Caller::Stranger) {
            self.note(Stranger::of(actor), act.agent, error.code());
            return Ok(error);
        }
        if let Some(agent) = actor.acting() {
            self.admit_denial(agent)?;
        }
        if let Some(human) = human_of(&actor.caller) {
            self.admit_refusal(human)?;
        }
        if let Caller::ToolServer(key) = &actor.caller {
            // What a stolen key of one may write is bounded as one thing.
            self.admit_reports(key.id, 1)?;
            self.charge_reports(1);
        }
        let subject = match act.user {
            Some(user) => self.pseudonym(user).await?,
            None => None,
        };
        let message = error.to_string();
        let details = act.details();
        let origin = actor.origin();
        let mut record = origin.record(self.id(), act.kind, Outcome::Denied, error.code());
        record.agent = act.agent.or(actor.acting());
        record.subject = subject;
        record.chain = act.above.as_slice();
        record.reason = Some(&message);
        record.details = details.as_ref();
        self.record(self.seal(&record)?).await?;
        Ok(error)
    }

    /// How the ledger calls a human; `None` for one that there never was.
    pub(crate) async fn pseudonym(&self, id: UserId) -> Result<Option<Pseudonym>> {
        if let Some(user) = self.directory().user(id) {
            return Ok(Some(user.pseudonym));
        }
        let row = self.store().find(kavachos_store::user::by_id(id)).await?;
        Ok(row.map(|row| row.pseudonym))
    }
}

/// The human who calls, or for whom a provider vouches.
fn human_of(caller: &Caller) -> Option<UserId> {
    match caller {
        Caller::Person(person) => Some(person.user.id),
        Caller::Provided(provided) => Some(provided.user().id),
        _ => None,
    }
}
