//! Who calls, and what they may ask for.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use kavachos_core::action::Action;
use kavachos_core::id::{AgentId, AuditId, KeyId, RequestId, SessionId, ToolServerId, UserId};
use kavachos_core::invalid::Invalid;
use kavachos_core::ledger::{self, Outcome, Record};
use kavachos_core::permission::PermissionSet;
use kavachos_core::principal::{Owner, Status, User};
use kavachos_core::resource::Resource;
use kavachos_core::revocation::Mark;
use kavachos_core::secret::SecretHash;
use kavachos_core::time::Timestamp;
use kavachos_core::token::Root;
use kavachos_store::{Write, given_identity};

use crate::error::{Error, Result};
use crate::flood::Stranger;
use crate::impersonation::Impersonation;
use crate::providers::{MAX_PROVIDERS, Provided, ProviderName, Vouched};
use crate::tool_servers::ToolServerKey;

/// What an operator key may be used for. [`Scope::ALL`] is the one list of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Read agents and delegations.
    AgentsRead,
    /// Create, change and stop agents and delegations.
    AgentsWrite,
    /// Ask for a decision about any agent.
    AuthorizeAny,
    /// See, approve and deny what agents ask humans for.
    ApprovalsDecide,
    /// Read the ledger.
    AuditRead,
    /// Take the whole ledger out.
    AuditExport,
    /// Read users.
    UsersRead,
    /// Create, change, ban and delete users.
    UsersWrite,
    /// Open, list and end sessions of humans.
    SessionsWrite,
    /// Open sessions in which somebody else acts in a human's name. Needs [`Scope::SessionsWrite`] besides.
    UsersImpersonate,
    /// Read, make and revoke operator keys, none stronger than the key that makes them.
    KeysWrite,
    /// Read, make, change, test and delete webhooks.
    WebhooksWrite,
    /// Read, register, change and revoke tool servers.
    ResourcesWrite,
    /// Take the whole tenant out, with the hashes of all credentials.
    TenantExport,
    /// See, rotate and retire the keys that sign.
    ConfigWrite,
}

impl Scope {
    /// Every scope with its name and what it allows.
    pub const ALL: [(Self, &'static str, &'static str); 15] = [
        (
            Self::AgentsRead,
            "agents:read",
            "read agents and delegations",
        ),
        (
            Self::AgentsWrite,
            "agents:write",
            "create, change and stop agents and delegations",
        ),
        (
            Self::AuthorizeAny,
            "authorize:any",
            "ask for a decision about any agent",
        ),
        (
            Self::ApprovalsDecide,
            "approvals:decide",
            "see, approve and deny requests for approval",
        ),
        (Self::AuditRead, "audit:read", "read the ledger"),
        (
            Self::AuditExport,
            "audit:export",
            "take the ledger out, without a cap",
        ),
        (Self::UsersRead, "users:read", "read users"),
        (
            Self::UsersWrite,
            "users:write",
            "create, change, ban and delete users",
        ),
        (
            Self::SessionsWrite,
            "sessions:write",
            "open, list and end sessions, each of which may do what its human may",
        ),
        (
            Self::UsersImpersonate,
            "users:impersonate",
            "act in a human's name for up to an hour, on record and shown to them; with `sessions:write`",
        ),
        (
            Self::KeysWrite,
            "keys:write",
            "read, make and revoke operator keys, none stronger than itself",
        ),
        (
            Self::WebhooksWrite,
            "webhooks:write",
            "read, make, change, test and delete webhooks",
        ),
        (
            Self::ResourcesWrite,
            "resources:write",
            "read, register, change and revoke tool servers",
        ),
        (
            Self::TenantExport,
            "tenant:export",
            "take the whole tenant out, with the hashes of all credentials",
        ),
        (
            Self::ConfigWrite,
            "config:write",
            "see, rotate and retire the keys that sign",
        ),
    ];

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(scope, ..)| *scope == self)
            .map_or("", |(_, name, _)| name)
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(_, name, _)| *name == text)
            .map(|(scope, ..)| *scope)
    }
}

/// What the scope begins with that lets a key present the tokens of one outside provider.
pub const EXCHANGE: &str = "exchange:";

/// A set of scopes: every scope, also those of later versions (`*`), or a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scopes {
    /// `["*"]`.
    Every,
    /// These and no others.
    Only {
        /// Those of [`Scope::ALL`].
        scopes: BTreeSet<Scope>,
        /// The providers whose tokens may be presented: `exchange:<provider>`.
        exchange: BTreeSet<ProviderName>,
    },
}

impl Scopes {
    /// Reads a list of names, `["*"]` for every scope.
    ///
    /// # Errors
    /// The list is empty, or a name is unknown; the message lists the known ones.
    pub fn parse<T: AsRef<str>>(names: &[T]) -> std::result::Result<Self, Invalid> {
        if let [only] = names
            && only.as_ref() == "*"
        {
            return Ok(Self::Every);
        }
        if names.is_empty() {
            return Err(Invalid::new(format!(
                "no scope is given; known are {}",
                Self::known()
            )));
        }
        let (mut scopes, mut exchange) = (BTreeSet::new(), BTreeSet::new());
        for (index, name) in names.iter().enumerate() {
            let name = name.as_ref();
            let provider = name.strip_prefix(EXCHANGE).map(str::parse);
            match (Scope::parse(name), provider) {
                (Some(scope), _) => drop(scopes.insert(scope)),
                (None, Some(Ok(provider))) => drop(exchange.insert(provider)),
                (None, _) => {
                    return Err(Invalid::at(
                        format!("[{index}]"),
                        format!("this is no scope; known are {}", Self::known()),
                    ));
                }
            }
        }
        if exchange.len() > MAX_PROVIDERS {
            let message = format!("names more than {MAX_PROVIDERS} providers");
            return Err(Invalid::new(message));
        }
        Ok(Self::Only { scopes, exchange })
    }

    /// The names, as they are stored and shown.
    pub fn names(&self) -> Vec<String> {
        match self {
            Self::Every => vec!["*".to_owned()],
            Self::Only { scopes, exchange } => {
                let scopes = scopes.iter().map(|scope| scope.name().to_owned());
                let exchange = exchange.iter().map(|name| format!("{EXCHANGE}{name}"));
                scopes.chain(exchange).collect()
            }
        }
    }

    /// Whether the scope is in the set.
    pub fn has(&self, scope: Scope) -> bool {
        match self {
            Self::Every => true,
            Self::Only { scopes, .. } => scopes.contains(&scope),
        }
    }

    /// Whether the tokens of this provider may be presented.
    pub fn may_exchange(&self, provider: &ProviderName) -> bool {
        match self {
            Self::Every => true,
            Self::Only { exchange, .. } => exchange.contains(provider),
        }
    }

    /// Whether every scope of the other set is in this one.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Every, _) => true,
            (Self::Only { .. }, Self::Every) => false,
            (
                Self::Only { scopes, exchange },
                Self::Only {
                    scopes: theirs,
                    exchange: their_exchange,
                },
            ) => theirs.is_subset(scopes) && their_exchange.is_subset(exchange),
        }
    }

    fn known() -> String {
        let names: Vec<_> = Scope::ALL
            .iter()
            .map(|(_, name, _)| format!("`{name}`"))
            .collect();
        format!(
            "{}, `{EXCHANGE}` with the name of a provider, and `*` alone for all",
            names.join(", ")
        )
    }
}

/// An operator's key, compiled.
#[derive(Debug)]
pub struct OperatorKey {
    /// Its id.
    pub id: KeyId,
    /// What is stored of the key itself.
    pub hash: SecretHash,
    /// What it may be used for.
    pub scopes: Scopes,
    /// The bound on everything that is made or asked with it; `None` for no bound.
    pub ceiling: Option<PermissionSet>,
    /// As stored.
    pub status: Status,
    /// When it stops working.
    pub expires_at: Option<Timestamp>,
    /// Its handle and generation.
    pub mark: Mark,
}

/// An agent's key, compiled.
#[derive(Debug)]
pub struct AgentKey {
    /// Whose it is.
    pub agent: AgentId,
    /// What is stored of the key itself.
    pub hash: SecretHash,
    /// As stored.
    pub status: Status,
    /// When it stops working.
    pub expires_at: Timestamp,
    /// When it was revoked.
    pub ended_at: Option<Timestamp>,
    /// The agent's `kills` when it was issued.
    pub agent_kills: u64,
    /// The root human's `kills` when it was issued.
    pub user_kills: u64,
    /// Its handle and generation.
    pub mark: Mark,
}

/// A human's session, compiled.
#[derive(Debug)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Whose it is.
    pub user: UserId,
    /// What is stored of its token.
    pub hash: SecretHash,
    /// As stored.
    pub status: Status,
    /// The human's `kills` when it was opened.
    pub user_kills: u64,
    /// When the human last proved who they are.
    pub signed_in_at: Timestamp,
    /// When it was last used, to the hour.
    pub used_at: Timestamp,
    /// When it ends however much it is used.
    pub expires_at: Timestamp,
    /// Its handle and generation.
    pub mark: Mark,
    /// By which method it was opened; `None` where an operator did.
    pub method: Option<String>,
    /// Set where somebody else acts in the human's name in it.
    pub impersonation: Option<Impersonation>,
    /// Whether whoever opened it proved two factors.
    pub two_factors: bool,
}

/// A human with a live credential. What is theirs: agents and grants below them, requests for their approval, records about
/// them, their sessions. All else is as if it did not exist, but for what their role reaches.
#[derive(Debug, Clone)]
pub struct Person {
    /// By what they are known.
    pub by: Credential,
    /// The human.
    pub user: Arc<User>,
    /// How lately the human proved who they are.
    pub proof: Proof,
    /// Who really calls, if that is somebody else in the human's name.
    pub impersonator: Option<ledger::Actor>,
    /// What is still to be shown before they may do anything else.
    pub owes: Owes,
}

/// What a human is still to show who is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owes {
    /// Nothing: they may do what is theirs.
    Nothing,
    /// A second factor: until then they may set one up, and leave ([`Engine::authenticate_owing`](crate::Engine::authenticate_owing)).
    SecondFactor,
}

/// How lately a human proved who they are, when they called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// Lately enough for what has consequences.
    Fresh,
    /// Too long ago for that, or somebody else calls in their name.
    Stale,
}

/// By what a human is known who calls.
#[derive(Debug, Clone)]
pub enum Credential {
    /// A session of ours.
    Session(Arc<Session>),
    /// The token of an outside provider, checked with this request.
    Provider(Arc<Vouched>),
}

impl Person {
    /// A human whom an outside provider vouches for. Their role does not count, so how lately they proved who they are
    /// matters to nothing that it would allow.
    pub(crate) fn of_provider(by: Credential, user: Arc<User>) -> Self {
        Self {
            by,
            user,
            proof: Proof::Stale,
            impersonator: None,
            owes: Owes::Nothing,
        }
    }

    /// The session, if they call with one.
    pub fn session(&self) -> Option<&Arc<Session>> {
        match &self.by {
            Credential::Session(session) => Some(session),
            Credential::Provider(_) => None,
        }
    }

    /// What the provider said of them, if they call with its token.
    pub fn vouched(&self) -> Option<&Arc<Vouched>> {
        match &self.by {
            Credential::Session(_) => None,
            Credential::Provider(vouched) => Some(vouched),
        }
    }

    /// When they last proved who they are; `None` where a provider does not say it.
    pub fn proved_at(&self) -> Option<Timestamp> {
        match &self.by {
            Credential::Session(session) => Some(session.signed_in_at),
            Credential::Provider(vouched) => vouched.proved_at(),
        }
    }

    /// When the credential ends however much it is used; nothing that comes of it lives longer.
    pub fn ends_at(&self) -> Timestamp {
        match &self.by {
            Credential::Session(session) => session.expires_at,
            Credential::Provider(vouched) => vouched.ends_at(),
        }
    }

    /// The handle and generation of the credential; a provider's token has none, and falls with the human alone.
    pub(crate) fn mark(&self) -> Option<Mark> {
        self.session().map(|session| session.mark)
    }
}

/// An agent that shows a root of its own, with a proof of the root's key. It gets tokens, narrower ones, and nothing else.
#[derive(Debug)]
pub struct RootHolder {
    /// The root.
    pub root: Root,
    /// The agent at the end of its chain.
    pub agent: AgentId,
}

/// Someone whose credential was checked.
#[derive(Debug, Clone)]
pub enum Caller {
    /// The program that embeds the engine, or a command on a database that no server holds: may do everything.
    Local,
    /// An operator, with a live key.
    Operator(Arc<OperatorKey>),
    /// An agent, with a key that is known but may be dead: only a decision may be asked for with a dead one.
    Agent(Arc<AgentKey>),
    /// A human, with a live session or the token of their own provider.
    Person(Person),
    /// A tool server, with a live key: it asks about its own audience.
    ToolServer(Arc<ToolServerKey>),
    /// A human for whom an outside provider vouched just now: good for one token, and for nothing else.
    Provided(Arc<Provided>),
    /// An agent, with a root and a proof of its key.
    Root(Arc<RootHolder>),
    /// Whoever calls while nobody knows who it is: may do nothing. What anybody may do asks for no caller.
    Stranger,
}

impl Caller {
    /// The handle and generation of the credential.
    pub(crate) fn mark(&self) -> Option<Mark> {
        match self {
            Self::Local | Self::Provided(_) | Self::Root(_) | Self::Stranger => None,
            Self::Operator(key) => Some(key.mark),
            Self::Agent(key) => Some(key.mark),
            Self::Person(person) => person.mark(),
            Self::ToolServer(key) => Some(key.mark),
        }
    }

    /// What must still be so when the writer comes to the caller's batch: the credential is not revoked, and neither is
    /// the human who calls.
    pub(crate) fn reads(&self) -> Vec<Mark> {
        match self {
            Self::Root(holder) => holder.root.authority.all_marks().collect(),
            Self::Person(person) => person.reads().collect(),
            Self::Provided(provided) => provided.reads().collect(),
            Self::Local
            | Self::Operator(_)
            | Self::Agent(_)
            | Self::ToolServer(_)
            | Self::Stranger => self.mark().into_iter().collect(),
        }
    }
}

impl Caller {
    /// What must still be so besides of a human for whom a provider vouches, which no handle tells, and what is noted of
    /// them. Belongs before all that the batch writes.
    pub(crate) fn still_vouched(&self) -> Vec<Write> {
        match self {
            Self::Person(person) => {
                let id = person.user.id;
                let still =
                    |vouched: &Arc<Vouched>| vec![vouched.still(id), given_identity::used(id)];
                person.vouched().map(still).unwrap_or_default()
            }
            Self::Provided(provided) => provided.still().into(),
            Self::Local
            | Self::Operator(_)
            | Self::Agent(_)
            | Self::ToolServer(_)
            | Self::Root(_)
            | Self::Stranger => Vec::new(),
        }
    }
}

/// One call: who makes it, and what its record says of where it came from.
#[derive(Debug, Clone)]
pub struct Actor {
    /// Who.
    pub caller: Caller,
    /// The id of the request, also in its answer.
    pub request: RequestId,
    /// The address that the call came from.
    pub ip: Option<IpAddr>,
    /// What the caller says it is.
    pub user_agent: Option<String>,
    /// Set when the caller wants a repeated creation to have no effect.
    pub once: Option<Once>,
}

/// An `Idempotency-Key`, hashed together with what it is for.
#[derive(Debug, Clone, Copy)]
pub struct Once {
    /// SHA-256 over caller, route and key.
    pub slot: [u8; 32],
    /// SHA-256 over the request.
    pub request: [u8; 32],
}

impl Actor {
    /// A call from the embedding program.
    pub fn local(request: RequestId) -> Self {
        Self {
            caller: Caller::Local,
            request,
            ip: None,
            user_agent: None,
            once: None,
        }
    }

    /// The program, for what is done before it is known who calls. Its records keep where the call came from.
    pub(crate) fn of_stranger(stranger: Stranger<'_>) -> Self {
        Self {
            ip: stranger.ip,
            user_agent: stranger.user_agent.map(str::to_owned),
            ..Self::local(stranger.request)
        }
    }

    /// Refuses callers that are no operators with this scope.
    pub(crate) fn require(&self, scope: Scope) -> Result<()> {
        match &self.caller {
            Caller::Local => Ok(()),
            Caller::Operator(key) if key.scopes.has(scope) => Ok(()),
            Caller::Operator(_) => Err(Error::Forbidden(format!(
                "this needs an operator key with the scope `{}`",
                scope.name()
            ))),
            Caller::Agent(_) => Err(Error::Forbidden(format!(
                "an agent key cannot do this; it needs an operator key with the scope `{}`",
                scope.name()
            ))),
            Caller::Person(person) => person.require(scope),
            Caller::ToolServer(_) => Err(Error::Forbidden(format!(
                "a tool server's key cannot do this; it needs an operator key with the scope `{}`",
                scope.name()
            ))),
            Caller::Provided(_) => Err(Error::Forbidden(format!(
                "a provider's token is good for a token alone; this needs an operator key with the scope `{}`",
                scope.name()
            ))),
            Caller::Root(_) => Err(Error::Forbidden(format!(
                "a root is exchanged for tokens only; this needs an operator key with the scope `{}`",
                scope.name()
            ))),
            Caller::Stranger => Err(Error::Forbidden(format!(
                "whoever shows no credential cannot do this; it needs an operator key with the scope `{}`",
                scope.name()
            ))),
        }
    }

    /// Refuses callers that are neither operators with this scope nor the agent itself.
    pub(crate) fn require_or_agent(&self, scope: Scope, agent: Owner) -> Result<()> {
        match &self.caller {
            Caller::Agent(key) if Owner::Agent(key.agent) == agent => Ok(()),
            _ => self.require(scope),
        }
    }

    /// The agent that calls, if an agent does.
    pub(crate) fn agent(&self) -> Option<AgentId> {
        match &self.caller {
            Caller::Agent(key) => Some(key.agent),
            _ => None,
        }
    }

    /// The tool server that calls, if one does.
    pub(crate) fn tool_server(&self) -> Option<ToolServerId> {
        match &self.caller {
            Caller::ToolServer(key) => Some(key.id),
            _ => None,
        }
    }

    /// The agent whose doing the call is, by its key or by a root: what is refused counts as its.
    pub(crate) fn acting(&self) -> Option<AgentId> {
        match &self.caller {
            Caller::Root(holder) => Some(holder.agent),
            _ => self.agent(),
        }
    }

    /// Whether this human calls.
    pub(crate) fn is_human(&self, human: UserId) -> bool {
        self.person().is_some_and(|person| person.user.id == human)
    }

    /// The human who calls, if one does.
    pub fn person(&self) -> Option<&Person> {
        match &self.caller {
            Caller::Person(person) => Some(person),
            _ => None,
        }
    }

    /// The bounds that the caller's key puts on what is made or asked: of a tool server, its own audience; of a human
    /// for whom a provider vouches, those of the provider, and of the presenter where there is one.
    fn ceilings(&self) -> impl Iterator<Item = &PermissionSet> {
        let (own, provided) = match &self.caller {
            Caller::Operator(key) => (key.ceiling.as_ref(), None),
            Caller::ToolServer(key) => (Some(&key.covered), None),
            Caller::Provided(provided) => (None, Some(provided)),
            Caller::Person(person) => (person.vouched().map(|vouched| vouched.ceiling()), None),
            Caller::Local | Caller::Agent(_) | Caller::Root(_) | Caller::Stranger => (None, None),
        };
        let provided = provided
            .into_iter()
            .flat_map(|provided| provided.ceilings());
        own.into_iter().chain(provided)
    }

    /// Refuses a decision that lies above the caller's ceiling.
    pub(crate) fn within_ceiling(&self, action: &Action, resource: &Resource) -> Result<()> {
        let mut ceilings = self.ceilings();
        if ceilings.all(|ceiling| ceiling.matching(action, resource).next().is_some()) {
            return Ok(());
        }
        let why = match self.caller {
            Caller::ToolServer(_) => "none of this tool server's scopes covers the resource",
            Caller::Person(_) => "the action and resource lie above the provider's ceiling",
            _ => "the action and resource lie above this key's ceiling",
        };
        Err(Error::Forbidden(why.to_owned()))
    }

    /// Whether anything bounds what the caller makes or asks.
    pub(crate) fn is_bounded(&self) -> bool {
        self.ceilings().next().is_some()
    }

    /// Refuses permissions that lie above the caller's ceiling.
    ///
    /// A ceiling is no hop of a chain, so nothing is inherited from it: its constraints must be repeated.
    pub(crate) fn covers(&self, permissions: &PermissionSet) -> Result<()> {
        let mut ceilings = self.ceilings();
        let Some(ceiling) = ceilings.find(|ceiling| !ceiling.includes(permissions)) else {
            return Ok(());
        };
        let reason = ceiling.covers_all(permissions).err().map_or_else(
            || "repeat the ceiling's constraints".to_owned(),
            |reason| reason.message().to_owned(),
        );
        let whose = match self.caller {
            Caller::Provided(_) => "the ceiling of the provider or of its presenter",
            Caller::Person(_) => "the provider's ceiling",
            _ => "this key's ceiling",
        };
        Err(Error::Forbidden(format!("above {whose}: {reason}")))
    }

    /// What must still be so when the writer comes to the caller's batch.
    pub(crate) fn reads(&self) -> Vec<Mark> {
        self.caller.reads()
    }

    /// The caller's name where people read it: an id, `system` or `stranger`.
    pub(crate) fn public_name(&self) -> String {
        match &self.caller {
            Caller::Local => "system".to_owned(),
            Caller::Operator(key) => key.id.to_string(),
            Caller::Agent(key) => key.agent.to_string(),
            Caller::Person(person) => match person.impersonation() {
                Some(one) => one.by.to_string(),
                None => person.user.id.to_string(),
            },
            Caller::ToolServer(key) => key.id.to_string(),
            Caller::Provided(provided) => provided.user().id.to_string(),
            Caller::Root(holder) => holder.agent.to_string(),
            Caller::Stranger => "stranger".to_owned(),
        }
    }

    /// What must still be so when something that the caller approved is used. A human need not be named: they stand on
    /// the path that is approved.
    pub(crate) fn approves_as(&self) -> Option<Mark> {
        self.caller.mark()
    }

    /// The caller's name in records.
    pub(crate) fn name(&self) -> ledger::Actor {
        match &self.caller {
            Caller::Local => ledger::Actor::System,
            Caller::Operator(key) => ledger::Actor::Key(key.id),
            Caller::Agent(key) => ledger::Actor::Agent(key.agent),
            Caller::Person(person) => ledger::Actor::Person(person.user.pseudonym),
            Caller::ToolServer(key) => ledger::Actor::ToolServer(key.id),
            Caller::Provided(provided) => ledger::Actor::Person(provided.user().pseudonym),
            Caller::Root(holder) => ledger::Actor::Agent(holder.agent),
            Caller::Stranger => ledger::Actor::Stranger,
        }
    }
}

/// Where a call came from and who made it, as its record says it.
pub(crate) struct Origin<'a> {
    name: ledger::Actor,
    impersonator: Option<ledger::Actor>,
    request: RequestId,
    ip: Option<String>,
    user_agent: Option<&'a str>,
}

impl Actor {
    pub(crate) fn origin(&self) -> Origin<'_> {
        Origin {
            name: self.name(),
            impersonator: self.person().and_then(|person| person.impersonator),
            request: self.request,
            ip: self.ip.map(|ip| ip.to_canonical().to_string()),
            user_agent: self.user_agent.as_deref(),
        }
    }
}

impl Origin<'_> {
    /// Begins the record of what this call came to.
    pub(crate) fn record(
        &self,
        id: AuditId,
        kind: &'static str,
        outcome: Outcome,
        code: &'static str,
    ) -> Record<'_> {
        let mut record = Record::new(id, kind, outcome, code, self.name);
        record.impersonator = self.impersonator;
        record.request_id = Some(self.request);
        record.personal.ip = self.ip.as_deref();
        record.personal.user_agent = self.user_agent;
        record
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stranger_may_do_nothing_that_a_scope_is_for() {
        let local = Actor::local(RequestId::from_bits(1));
        let stranger = Actor {
            caller: Caller::Stranger,
            ..local.clone()
        };
        for (scope, name, _) in Scope::ALL {
            assert!(stranger.require(scope).is_err(), "{name}");
            assert!(local.require(scope).is_ok(), "{name}");
        }
        assert_eq!(stranger.name(), ledger::Actor::Stranger);
    }
}
