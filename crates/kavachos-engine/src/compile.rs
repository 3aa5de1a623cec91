//! Rows, as they are stored, made into what decisions are computed from.

use std::sync::Arc;

use kavachos_core::constraint::Constraints;
use kavachos_core::grant::{Grant, TokenUses};
use kavachos_core::invalid::Invalid;
use kavachos_core::permission::PermissionSet;
use kavachos_core::principal::{Agent, User};
use kavachos_core::tool_server::{Audience, RegisteredScopes, TokenPolicy};
use kavachos_store::agent::{AgentKeyRow, AgentRow};
use kavachos_store::grant::GrantRow;
use kavachos_store::operator_key::OperatorKeyRow;
use kavachos_store::session::SessionRow;
use kavachos_store::tool_server::ToolServerRow;
use kavachos_store::user::UserRow;
use serde::de::DeserializeOwned;

use crate::actor::{AgentKey, OperatorKey, Scopes, Session};
use crate::error::{Error, Result};
use crate::impersonation;
use crate::tool_servers::ToolServerKey;
use crate::users::stored_role;

/// A stored JSON text that does not read back is damage, never a reason to go on with less.
pub(crate) fn stored<T: DeserializeOwned>(what: &str, text: &str) -> Result<T> {
    serde_json::from_str(text)
        .map_err(|error| Error::Internal(format!("the stored {what} cannot be read: {error}")))
}

/// The permissions of a human; `None` stands for everything.
pub(crate) fn permissions(text: Option<&str>) -> Result<PermissionSet> {
    text.map_or_else(
        || Ok(PermissionSet::everything()),
        |text| stored("permissions", text),
    )
}

pub(crate) fn user(row: &UserRow) -> Result<User> {
    Ok(User {
        id: row.id,
        status: row.status,
        banned_until: row.banned_until,
        role: stored_role(row)?,
        permissions: permissions(row.permissions.as_deref())?,
        mark: row.mark,
        kills: row.kills,
        pseudonym: row.pseudonym,
    })
}

pub(crate) fn agent(row: &AgentRow) -> Agent {
    Agent {
        id: row.id,
        owner: row.owner,
        root: row.root,
        status: row.status,
        expires_at: row.expires_at,
        mark: row.mark,
        kills: row.kills,
    }
}

pub(crate) fn guards(text: Option<&str>) -> Result<Option<Arc<Constraints>>> {
    text.map(|text| stored("guards", text).map(Arc::new))
        .transpose()
}

/// What tokens of a grant may be used for; nothing is stored for nothing.
pub(crate) fn uses(text: Option<&str>) -> Result<TokenUses> {
    text.map_or_else(|| Ok(TokenUses::default()), |text| stored("uses", text))
}

pub(crate) fn grant(row: &GrantRow) -> Result<Grant> {
    Ok(Grant {
        id: row.id,
        parent: row.parent,
        giver: row.giver,
        to: row.receiver,
        root: row.root,
        permissions: stored("permissions", &row.permissions)?,
        guards: guards(row.guards.as_deref())?,
        uses: uses(row.uses.as_deref())?,
        reserved: row.reserved_for.is_some(),
        depth: row.depth,
        max_depth: row.max_depth,
        expires_at: row.expires_at,
        status: row.status,
        mark: row.mark,
        version: row.version,
    })
}

pub(crate) fn agent_key(row: &AgentKeyRow) -> AgentKey {
    AgentKey {
        agent: row.agent,
        hash: row.hash,
        status: row.status,
        expires_at: row.expires_at,
        ended_at: row.ended_at,
        agent_kills: row.agent_kills,
        user_kills: row.user_kills,
        mark: row.mark,
    }
}

pub(crate) fn session(row: &SessionRow) -> Result<Session> {
    Ok(Session {
        id: row.id,
        user: row.user,
        hash: row.hash,
        status: row.status,
        user_kills: row.user_kills,
        signed_in_at: row.signed_in_at,
        used_at: row.used_at,
        expires_at: row.expires_at,
        mark: row.mark,
        method: row.method.clone(),
        impersonation: impersonation::stored(row)?,
        two_factors: row.two_factors,
    })
}

pub(crate) fn operator_key(row: &OperatorKeyRow) -> Result<OperatorKey> {
    let names: Vec<String> = stored("scopes", &row.scopes)?;
    Ok(OperatorKey {
        id: row.id,
        hash: row.hash,
        scopes: Scopes::parse(&names).map_err(|error| {
            Error::Internal(format!("the stored scopes cannot be read: {error}"))
        })?,
        ceiling: row
            .ceiling
            .as_deref()
            .map(|text| stored("ceiling", text))
            .transpose()?,
        status: row.status,
        expires_at: row.expires_at,
        mark: row.mark,
    })
}

/// The audience of a tool server, as it is stored.
pub(crate) fn audience(text: &str) -> Result<Audience> {
    let audience = text.parse();
    audience.map_err(|error: Invalid| Error::Internal(error.to_string()))
}

pub(crate) fn tool_server_key(row: &ToolServerRow) -> Result<ToolServerKey> {
    let scopes: RegisteredScopes = stored("scopes", &row.scopes)?;
    let policy: TokenPolicy = stored("policy", &row.policy)?;
    Ok(ToolServerKey {
        id: row.id,
        hash: row.hash,
        audience: audience(&row.audience)?,
        covered: scopes.covered().clone(),
        lease_seconds: policy.lease(),
        token_algorithm: policy.token_algorithm,
        party: policy.party,
        status: row.status,
        mark: row.mark,
    })
}
