//! Roles: what a human's session may do beyond what is the human's own.
//!
//! Promises: one table says which scopes of operators a role has, and one function how a human comes to a thing that may
//! be another's ([`Person::claim`]): as their own, or by their role; to all others it is as if it did not exist. A role
//! counts in a session of ours that the human opened, never in one that somebody else or nobody in particular did, and it
//! changes nothing unless that session is fresh. An account that is trusted with more than its members are is touched
//! only by whoever may do all of that too ([`Actor::require_trust`]), and one live owner stays.

use kavachos_core::id::UserId;
use kavachos_core::principal::{Role, Status};
use kavachos_store::user::UserRow;
use kavachos_store::{Batch, user_search};
use serde_json::json;

use crate::act::Act;
use crate::actor::{Actor, Caller, Person, Proof, Scope, Scopes};
use crate::directory::Changed;
use crate::engine::{Engine, Plan};
use crate::error::{Error, Result};
use crate::issued::Issued;
use crate::revoked::Revoked;
use crate::session_ends::Ended;
use crate::users::{kill_human, stored_role};

/// What an admin may do: look after members, read, and stop.
///
/// Not `agents:write`: whoever makes an agent for another human, or rotates its key, acts in that human's name without
/// anybody being shown it. What an admin may stop of others, they may by `users:write`. Not `approvals:decide`: an answer is
/// the human's, or of an operator who was given just that. And nothing that would make them more than they are.
const ADMIN: [Scope; 6] = [
    Scope::AgentsRead,
    Scope::AuditRead,
    Scope::SessionsWrite,
    Scope::UsersImpersonate,
    Scope::UsersRead,
    Scope::UsersWrite,
];
/// By which method a session is opened of somebody of whom nothing is known.
pub(crate) const ANONYMOUS: &str = "anonymous";

/// Whether the role has the scope.
pub(crate) fn has(role: Role, scope: Scope) -> bool {
    match role {
        Role::Member => false,
        Role::Admin => ADMIN.contains(&scope),
        Role::Owner => true,
    }
}

/// All that the role has.
fn scopes(role: Role) -> Scopes {
    let only = |scopes: &[Scope]| Scopes::Only {
        scopes: scopes.iter().copied().collect(),
        exchange: std::collections::BTreeSet::new(),
    };
    match role {
        Role::Member => only(&[]),
        Role::Admin => only(&ADMIN),
        Role::Owner => Scopes::Every,
    }
}

/// Whether nothing is changed or given out by what the scope allows.
const fn only_reads(scope: Scope) -> bool {
    matches!(
        scope,
        Scope::AgentsRead | Scope::AuditRead | Scope::UsersRead
    )
}

/// How a human comes to a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It is theirs.
    Own,
    /// It is another's, and their role reaches it.
    ByRole,
}

impl Person {
    /// The role that counts in this session.
    pub fn role(&self) -> Role {
        let Some(session) = self.session() else {
            // Whoever runs the provider says who calls; that is no reason to be trusted here.
            return Role::Member;
        };
        let mut methods = session.method.iter().flat_map(|all| all.split('+'));
        let anonymous = methods.any(|method| method == ANONYMOUS);
        match self.impersonator {
            None if !anonymous => self.user.role,
            _ => Role::Member,
        }
    }

    /// Refuses what the human's role does not allow, and a change in a session that is not fresh.
    pub(crate) fn require(&self, scope: Scope) -> Result<()> {
        if !has(self.role(), scope) {
            return Err(Error::Forbidden(format!(
                "a session cannot do this; it needs an operator key with the scope `{}`",
                scope.name()
            )));
        }
        if self.proof == Proof::Stale && !only_reads(scope) {
            return Err(Error::Forbidden(
                "this session is no longer fresh; sign in again for what your role allows"
                    .to_owned(),
            ));
        }
        Ok(())
    }

    /// How the human comes to something of this human's.
    ///
    /// # Errors
    /// It is another's, and to this one as if it did not exist; or the session is not fresh.
    pub(crate) fn claim(&self, scope: Scope, of: UserId, what: &'static str) -> Result<Claim> {
        if of == self.user.id {
            return Ok(Claim::Own);
        }
        if !has(self.role(), scope) {
            return Err(Error::NotFound(what));
        }
        self.require(scope)?;
        Ok(Claim::ByRole)
    }

    /// Whose things a list shows: the human's own, or those of another whom they name and whom their role reaches.
    pub(crate) fn listing(&self, scope: Scope, of: Option<UserId>) -> Result<UserId> {
        let of = of.unwrap_or(self.user.id);
        self.claim(scope, of, "user")?;
        Ok(of)
    }
}

impl Actor {
    /// Refuses to touch an account with this role, or to give it, unless the caller may do all that it may.
    pub(crate) fn require_trust(&self, role: Role) -> Result<()> {
        if role == Role::Member {
            return Ok(());
        }
        let trusted = match &self.caller {
            Caller::Local => true,
            Caller::Operator(key) => key.scopes.covers(&scopes(role)) && !self.is_bounded(),
            Caller::Person(person) => person.role() == Role::Owner,
            Caller::Agent(_)
            | Caller::ToolServer(_)
            | Caller::Provided(_)
            | Caller::Root(_)
            | Caller::Stranger => false,
        };
        if trusted {
            return Ok(());
        }
        Err(Error::Forbidden(format!(
            "this is for owners, and for operator keys without a ceiling that have every scope of the role `{role}`"
        )))
    }

    /// Refuses humans who are no owners what is the matter of the whole tenant; of others it asks nothing.
    pub(crate) fn require_owner_of_persons(&self) -> Result<()> {
        self.person()
            .map_or(Ok(()), |_| self.require_trust(Role::Owner))
    }
}

impl Engine {
    /// As [`Person::claim`], for stopping: whoever may ban a human may stop what acts for them.
    pub(crate) async fn claim_to_stop(
        &self,
        (actor, person): (&Actor, &Person),
        of: UserId,
        what: &'static str,
    ) -> Result<()> {
        match person.claim(Scope::UsersWrite, of, what)? {
            Claim::Own => Ok(()),
            Claim::ByRole => actor.require_trust(stored_role(&self.user_row(of).await?)?),
        }
    }

    /// Gives a human a role, or takes it away. Their sessions end: what a session may do does not change while it lasts.
    ///
    /// # Errors
    /// There is no such human, they are deleted or stopped, the caller may not do all that both roles may, or the last
    /// owner would go.
    pub async fn set_role(&self, actor: &Actor, id: UserId, role: Role) -> Result<Issued<Revoked>> {
        let act = Act::on_user("user.role_changed", id);
        let plan = || self.plan_role(actor, id, role);
        self.stop_sessions(actor, (act, id), plan).await
    }

    async fn plan_role(&self, actor: &Actor, id: UserId, role: Role) -> Result<Plan<Ended>> {
        actor.require(Scope::UsersWrite)?;
        actor.require_trust(role)?;
        let row = self.user_row(id).await?;
        let old = stored_role(&row)?;
        actor.require_trust(old)?;
        if let Some(done) = self.turned_before(actor).await? {
            return Ok(Plan::Done(Ended::of(done)));
        }
        let done = Issued::without_token(Revoked::at(self.now()));
        if old == role {
            return Ok(Plan::Done(Ended::of(done)));
        }
        match row.status_at(self.now()) {
            Status::Revoked => {
                return Err(Error::WrongState("the user is deleted".to_owned()));
            }
            Status::Active => {}
            _ if role < old => {}
            _ => return Err(Error::WrongState("the user is not active".to_owned())),
        }
        let mut batch = Batch {
            reads: actor.reads(),
            effects: vec![Changed::User(id).into()],
            ..Batch::default()
        };
        self.keep_an_owner(&mut batch, &row).await?;
        let next = UserRow {
            role: role_to_store(role),
            ..row.clone()
        };
        batch.writes.push(kavachos_store::user::update(next));
        // A session that is opened at the same time relies on this handle, and so meets the new role.
        kill_human(&mut batch, &row);
        let sessions = self.end_sessions(&mut batch, &row, None).await?;
        let details = json!({ "from": old, "to": role, "revocations": batch.kills.len() });
        let entry = self.user_act(actor, "user.role_changed", (&row, &details, None))?;
        batch.entries.push(entry);
        self.claim_once(actor, &mut batch, self.foreseen().to_string());
        let ended = Ended {
            answer: done,
            sessions,
        };
        Ok(Plan::commit(batch, ended))
    }

    /// Makes the batch depend on another live owner, where it takes a live one away.
    pub(crate) async fn keep_an_owner(&self, batch: &mut Batch, row: &UserRow) -> Result<()> {
        let now = self.now();
        if stored_role(row)? != Role::Owner || row.status_at(now) != Status::Active {
            return Ok(());
        }
        let other = user_search::other_owner(row.id, now);
        if self.store().find(other).await?.is_none() {
            return Err(Error::WrongState(
                "this is the last owner; make another human one first".to_owned(),
            ));
        }
        batch
            .writes
            .push(user_search::keep_other_owner(row.id, now));
        Ok(())
    }
}

/// A role as it is stored: nothing stands for a member.
pub(crate) fn role_to_store(role: Role) -> Option<String> {
    (role != Role::Member).then(|| role.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_role_but_the_owners_can_make_anyone_more_than_they_are() {
        for scope in [
            Scope::KeysWrite,
            Scope::ConfigWrite,
            Scope::TenantExport,
            Scope::AuditExport,
            Scope::AgentsWrite,
            Scope::ApprovalsDecide,
            Scope::AuthorizeAny,
            Scope::WebhooksWrite,
            Scope::ResourcesWrite,
        ] {
            assert!(!has(Role::Admin, scope), "{scope:?}");
        }
        for (scope, ..) in Scope::ALL {
            assert!(has(Role::Owner, scope) && !has(Role::Member, scope));
            assert_eq!(scopes(Role::Admin).has(scope), has(Role::Admin, scope));
        }
        assert!(scopes(Role::Owner).covers(&scopes(Role::Admin)));
        assert!(!scopes(Role::Admin).covers(&scopes(Role::Owner)));
    }
}
