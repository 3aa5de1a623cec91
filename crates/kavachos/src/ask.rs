//! What is asked for, written in plain texts. A text that cannot be read is an error of the call that uses it.

use std::net::IpAddr;
use std::time::Duration;

use kavachos_core::action::{Action, Actions};
use kavachos_core::constraint::{Constraints, Cost};
use kavachos_core::decide;
use kavachos_core::grant::TokenUses;
use kavachos_core::id::{AgentId, GrantId, UserId};
use kavachos_core::invalid::Invalid;
use kavachos_core::json;
use kavachos_core::permission::{Permission, PermissionSet};
use kavachos_core::principal::{Owner, Role};
use kavachos_core::resource::{Resource, ResourcePattern};
use kavachos_core::time::Timestamp;
use kavachos_core::token::PublicKey;
use kavachos_engine::actor::Scopes;
use kavachos_engine::{self as engine, Agent, AgentKind, External, Life, NewOwner, Result, User};
use serde_json::{Value, json};

use crate::kavach::deferred;

type Read<T> = std::result::Result<T, Invalid>;

/// Permissions that are being written.
#[derive(Debug, Clone, Default)]
struct Permissions(Vec<Read<Permission>>);

impl Permissions {
    fn add<A: AsRef<str>>(
        &mut self,
        actions: impl IntoIterator<Item = A>,
        resource: &str,
        constraints: &Value,
    ) {
        let place = format!("permissions[{}]", self.0.len());
        let permission = permission(actions, resource, constraints);
        self.0
            .push(permission.map_err(|error| error.within(&place)));
    }

    fn read(self) -> Read<PermissionSet> {
        let permissions = self.0.into_iter().collect::<Read<Vec<_>>>()?;
        PermissionSet::new(permissions).map_err(|error| error.within("permissions"))
    }
}

fn permission<A: AsRef<str>>(
    actions: impl IntoIterator<Item = A>,
    resource: &str,
    constraints: &Value,
) -> Read<Permission> {
    let names: Vec<Value> = actions
        .into_iter()
        .map(|name| name.as_ref().into())
        .collect();
    let actions: Actions =
        json::read(&Value::Array(names)).map_err(|error| error.within("actions"))?;
    let resource: ResourcePattern = resource
        .parse()
        .map_err(|error: Invalid| error.within("resource"))?;
    let constraints: Constraints =
        json::read(constraints).map_err(|error| error.within("constraints"))?;
    Ok(Permission::new(resource, actions, constraints))
}

/// What an agent wants to do.
#[derive(Debug, Clone)]
#[must_use]
pub struct Request {
    request: Read<decide::Request>,
    on_behalf_of: Option<UserId>,
}

impl Request {
    /// This action on this resource.
    pub fn new(action: &str, resource: &str) -> Self {
        let parse = || {
            let action: Action = action
                .parse()
                .map_err(|error: Invalid| error.within("action"))?;
            let resource: Resource = resource
                .parse()
                .map_err(|error: Invalid| error.within("resource"))?;
            Ok(decide::Request {
                action,
                resource,
                arguments: None,
                ip: None,
                cost: None,
            })
        };
        Self {
            request: parse(),
            on_behalf_of: None,
        }
    }

    /// With these arguments of the tool call.
    pub fn with_arguments(mut self, arguments: &Value) -> Self {
        // The strict form is the one that rules are judged on, wherever the value came from.
        let strict = json::parse(arguments.to_string().as_bytes())
            .map_err(|error| error.within("arguments"));
        self.request = self.request.and_then(|request| {
            Ok(decide::Request {
                arguments: Some(strict?),
                ..request
            })
        });
        self
    }

    /// Made from this address.
    pub fn from_ip(mut self, ip: IpAddr) -> Self {
        self.request = self.request.map(|request| decide::Request {
            ip: Some(ip),
            ..request
        });
        self
    }

    /// Costing so much of a budget's unit.
    pub fn costing(mut self, amount: u64, unit: &str) -> Self {
        let cost: Read<Cost> = json::read(&json!({ "amount": amount, "unit": unit }))
            .map_err(|error| error.within("cost"));
        self.request = self.request.and_then(|request| {
            Ok(decide::Request {
                cost: Some(cost?),
                ..request
            })
        });
        self
    }

    /// For this human, when the agent has grants of several.
    pub fn on_behalf_of(mut self, user: &UserId) -> Self {
        self.on_behalf_of = Some(*user);
        self
    }

    pub(crate) fn read(self) -> Result<(decide::Request, Option<UserId>)> {
        Ok((deferred(self.request)?, self.on_behalf_of))
    }
}

/// A human to create.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct NewUser(engine::NewUser, Option<Permissions>);

impl NewUser {
    /// Someone with this name.
    pub fn named(name: impl Into<String>) -> Self {
        Self(
            engine::NewUser {
                name: Some(name.into()),
                ..engine::NewUser::default()
            },
            None,
        )
    }

    /// Someone whom another identity provider knows.
    pub fn external(provider: impl Into<String>, external_id: impl Into<String>) -> Self {
        let external = External {
            provider: provider.into(),
            external_id: external_id.into(),
        };
        Self(
            engine::NewUser {
                external: Some(external),
                ..engine::NewUser::default()
            },
            None,
        )
    }

    /// With this e-mail address.
    pub fn email(mut self, email: impl Into<String>) -> Self {
        self.0.email = Some(email.into());
        self
    }

    /// Who is trusted with this beyond what is their own.
    pub fn role(mut self, role: Role) -> Self {
        self.0.role = role;
        self
    }

    /// Whose agents may do no more than this and what else is named so; without any they may do everything.
    pub fn may<A: AsRef<str>>(
        mut self,
        actions: impl IntoIterator<Item = A>,
        resource: &str,
    ) -> Self {
        self.1
            .get_or_insert_default()
            .add(actions, resource, &json!({}));
        self
    }

    pub(crate) fn read(self) -> Result<engine::NewUser> {
        let permissions = deferred(self.1.map(Permissions::read).transpose())?;
        Ok(engine::NewUser {
            permissions,
            ..self.0
        })
    }
}

/// An agent to create.
#[derive(Debug, Clone)]
#[must_use]
pub struct NewAgent {
    owner: NewOwner,
    name: String,
    kind: AgentKind,
    permissions: Permissions,
    guards: Option<Read<Constraints>>,
    uses: TokenUses,
    max_depth: Option<u8>,
    parent: Option<GrantId>,
    expires_at: Option<Timestamp>,
    key_ttl: Option<Duration>,
    metadata: Option<Value>,
    proof_key: Option<PublicKey>,
}

/// Who can own an agent: a human, another agent, or a human of another identity provider.
pub trait IntoOwner {
    /// The owner.
    fn into_owner(self) -> NewOwner;
}

impl IntoOwner for &User {
    fn into_owner(self) -> NewOwner {
        NewOwner::User(self.id)
    }
}
impl IntoOwner for &Agent {
    fn into_owner(self) -> NewOwner {
        NewOwner::Agent(self.id)
    }
}
impl<T> IntoOwner for &engine::Issued<T>
where
    for<'a> &'a T: IntoOwner,
{
    fn into_owner(self) -> NewOwner {
        self.thing.into_owner()
    }
}
impl IntoOwner for UserId {
    fn into_owner(self) -> NewOwner {
        NewOwner::User(self)
    }
}
impl IntoOwner for AgentId {
    fn into_owner(self) -> NewOwner {
        NewOwner::Agent(self)
    }
}
impl IntoOwner for External {
    fn into_owner(self) -> NewOwner {
        NewOwner::External(self)
    }
}

impl NewAgent {
    /// An autonomous agent of this owner: a user, an agent, or either's id.
    pub fn owned_by(owner: impl IntoOwner) -> Self {
        Self {
            owner: owner.into_owner(),
            name: "agent".to_owned(),
            kind: AgentKind::Autonomous,
            permissions: Permissions::default(),
            guards: None,
            uses: TokenUses::default(),
            max_depth: None,
            parent: None,
            expires_at: None,
            key_ttl: None,
            metadata: None,
            proof_key: None,
        }
    }

    /// With this name.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Of another kind.
    pub fn of_kind(mut self, kind: AgentKind) -> Self {
        self.kind = kind;
        self
    }

    /// May do these actions on the resources of this pattern.
    pub fn may<A: AsRef<str>>(self, actions: impl IntoIterator<Item = A>, resource: &str) -> Self {
        self.may_under(actions, resource, &json!({}))
    }

    /// May do these actions on the resources of this pattern once a human has approved the very call.
    pub fn may_with_approval<A: AsRef<str>>(
        self,
        actions: impl IntoIterator<Item = A>,
        resource: &str,
    ) -> Self {
        self.may_under(actions, resource, &json!({ "requireApproval": true }))
    }

    /// May do these actions on the resources of this pattern under these constraints (the JSON form of the API).
    pub fn may_under<A: AsRef<str>>(
        mut self,
        actions: impl IntoIterator<Item = A>,
        resource: &str,
        constraints: &Value,
    ) -> Self {
        self.permissions.add(actions, resource, constraints);
        self
    }

    /// Under these constraints on everything (the JSON form of the API).
    pub fn guarded_by(mut self, guards: &Value) -> Self {
        self.guards = Some(json::read(guards).map_err(|error| error.within("guards")));
        self
    }

    /// With delegations below it going no deeper than this.
    pub fn max_depth(mut self, max_depth: u8) -> Self {
        self.max_depth = Some(max_depth);
        self
    }

    /// Taking its authority from this grant of its owner.
    pub fn from_grant(mut self, parent: &GrantId) -> Self {
        self.parent = Some(*parent);
        self
    }

    /// Ending then.
    pub fn expiring_at(mut self, end: Timestamp) -> Self {
        self.expires_at = Some(end);
        self
    }

    /// With a first key that works so long.
    pub fn key_ttl(mut self, ttl: Duration) -> Self {
        self.key_ttl = Some(ttl);
        self
    }

    /// Whose tokens may be used for this beside being shown.
    pub fn token_uses(mut self, uses: TokenUses) -> Self {
        self.uses = uses;
        self
    }

    /// Proving this key with every token: none is made without.
    pub fn proof_key(mut self, key: PublicKey) -> Self {
        self.proof_key = Some(key);
        self
    }

    /// With a JSON object of your own.
    pub fn metadata(mut self, metadata: Value) -> Self {
        self.metadata = Some(metadata);
        self
    }

    pub(crate) fn read(self) -> Result<engine::NewAgent> {
        Ok(engine::NewAgent {
            owner: self.owner,
            name: self.name,
            kind: self.kind,
            permissions: deferred(self.permissions.read())?,
            guards: deferred(self.guards.transpose())?.filter(|guards| !guards.is_empty()),
            uses: self.uses,
            max_depth: self.max_depth,
            parent: self.parent,
            expires_at: self.expires_at,
            key_ttl: self.key_ttl,
            metadata: self.metadata,
            proof_key: self.proof_key,
        })
    }
}

/// A delegation to write.
#[derive(Debug, Clone)]
#[must_use]
pub struct NewDelegation {
    from: Owner,
    to: AgentId,
    reason: String,
    permissions: Permissions,
    guards: Option<Read<Constraints>>,
    uses: TokenUses,
    life: Option<Life>,
    max_depth: Option<u8>,
    parent: Option<GrantId>,
}

impl NewDelegation {
    /// From one agent to another, for this reason; 15 minutes unless told otherwise.
    pub fn new(from: &AgentId, to: &AgentId, reason: impl Into<String>) -> Self {
        Self {
            from: Owner::Agent(*from),
            to: *to,
            reason: reason.into(),
            permissions: Permissions::default(),
            guards: None,
            uses: TokenUses::default(),
            life: None,
            max_depth: None,
            parent: None,
        }
    }

    /// From a human to an agent, for this reason; 15 minutes unless told otherwise.
    pub fn from_user(from: &UserId, to: &AgentId, reason: impl Into<String>) -> Self {
        Self {
            from: Owner::User(*from),
            ..Self::new(to, to, reason)
        }
    }

    /// Allows these actions on the resources of this pattern.
    pub fn may<A: AsRef<str>>(self, actions: impl IntoIterator<Item = A>, resource: &str) -> Self {
        self.may_under(actions, resource, &json!({}))
    }

    /// Allows these actions on the resources of this pattern under these constraints (the JSON form of the API).
    pub fn may_under<A: AsRef<str>>(
        mut self,
        actions: impl IntoIterator<Item = A>,
        resource: &str,
        constraints: &Value,
    ) -> Self {
        self.permissions.add(actions, resource, constraints);
        self
    }

    /// Whose tokens may be used for this beside being shown.
    pub fn token_uses(mut self, uses: TokenUses) -> Self {
        self.uses = uses;
        self
    }

    /// Under these constraints on everything (the JSON form of the API).
    pub fn guarded_by(mut self, guards: &Value) -> Self {
        self.guards = Some(json::read(guards).map_err(|error| error.within("guards")));
        self
    }

    /// Lasting so long.
    pub fn lasting(mut self, ttl: Duration) -> Self {
        self.life = Some(Life::For(ttl));
        self
    }

    /// With delegations below it going no deeper than this.
    pub fn max_depth(mut self, max_depth: u8) -> Self {
        self.max_depth = Some(max_depth);
        self
    }

    /// Taken from this grant of the giver.
    pub fn from_grant(mut self, parent: &GrantId) -> Self {
        self.parent = Some(*parent);
        self
    }

    pub(crate) fn read(self) -> Result<engine::NewDelegation> {
        Ok(engine::NewDelegation {
            from: self.from,
            to: self.to,
            permissions: deferred(self.permissions.read())?,
            guards: deferred(self.guards.transpose())?.filter(|guards| !guards.is_empty()),
            uses: self.uses,
            life: self.life,
            max_depth: self.max_depth,
            parent: self.parent,
            reason: self.reason,
        })
    }
}

/// An operator key to make.
#[derive(Debug, Clone)]
#[must_use]
pub struct NewKey {
    name: String,
    scopes: Read<Scopes>,
    ceiling: Option<Permissions>,
    expires_at: Option<Timestamp>,
}

impl NewKey {
    /// A key for these scopes, `["*"]` for all.
    pub fn new<S: AsRef<str>>(name: impl Into<String>, scopes: &[S]) -> Self {
        let scopes = Scopes::parse(scopes).map_err(|error| error.within("scopes"));
        Self {
            name: name.into(),
            scopes,
            ceiling: None,
            expires_at: None,
        }
    }

    /// With which nothing may be made or asked beyond this and what else is named so.
    pub fn up_to<A: AsRef<str>>(
        mut self,
        actions: impl IntoIterator<Item = A>,
        resource: &str,
    ) -> Self {
        self.ceiling
            .get_or_insert_default()
            .add(actions, resource, &json!({}));
        self
    }

    /// Ending then.
    pub fn expiring_at(mut self, end: Timestamp) -> Self {
        self.expires_at = Some(end);
        self
    }

    pub(crate) fn read(self) -> Result<engine::NewKey> {
        Ok(engine::NewKey {
            name: self.name,
            scopes: deferred(self.scopes)?,
            ceiling: deferred(self.ceiling.map(Permissions::read).transpose())?,
            expires_at: self.expires_at,
        })
    }
}
