//! What a token is for: a registered tool server, and what is asked of it.

use std::sync::Arc;

use kavachos_core::action::Actions;
use kavachos_core::constraint::Constraints;
use kavachos_core::id::ToolServerId;
use kavachos_core::invalid::Invalid;
use kavachos_core::permission::{Permission, PermissionSet};
use kavachos_core::resource::ResourcePattern;
use kavachos_core::revocation::Mark;
use kavachos_core::token::{LIMITED_SCOPE, grants_all_of};
use kavachos_core::tool_server::{Audience, Party, RegisteredScopes, TokenPolicy, Verification};
use kavachos_store::tool_server as stored;

use super::{TokenAsk, Wanted};
use crate::compile;
use crate::engine::Engine;
use crate::error::{Error, Result};

/// The most permissions of one token: more would not fit one, and each is merged along the whole chain.
pub(crate) const MAX_ASKED: usize = 64;

/// A tool server as it is registered.
#[derive(Debug)]
pub(crate) struct Registered {
    pub(crate) id: ToolServerId,
    pub(crate) mark: Mark,
    pub(crate) scopes: RegisteredScopes,
    pub(crate) policy: TokenPolicy,
}

impl Registered {
    /// Refuses what roots never reach: others' tool servers, and critical ones.
    pub(super) fn require_reachable(&self) -> Result<()> {
        if self.policy.party == Party::First && !self.policy.critical {
            return Ok(());
        }
        Err(Error::NotNarrower(Invalid::at(
            "audience",
            "no root reaches a tool server of others, or one that is critical",
        )))
    }
}

/// A tool server, and the permissions that a token for it is to carry.
pub(super) struct Target {
    pub(super) server: Arc<Registered>,
    pub(super) asked: PermissionSet,
}

impl Engine {
    pub(super) async fn target(&self, ask: &TokenAsk) -> Result<Target> {
        let server = self.registered(&ask.audience).await?;
        let asked = asked(&ask.wanted, server.policy.default_scope.as_deref())?;
        server
            .scopes
            .covered()
            .covers_all(&asked)
            .map_err(|error| {
                let message = format!("this tool server has no scope for it: {}", error.message());
                Error::NotNarrower(Invalid::at("scopes", message))
            })?;
        Ok(Target { server, asked })
    }

    /// A tool server as it is registered now.
    pub(crate) async fn registered(&self, audience: &Audience) -> Result<Arc<Registered>> {
        if let Some(known) = self.directory().tool_server(audience) {
            return Ok(known);
        }
        let load = self.directory().begin();
        let row = stored::by_audience(audience.as_str().to_owned());
        let row = self.store().find(row).await?;
        let row = row.ok_or(Error::NotFound("tool server"))?;
        let server = Arc::new(Registered {
            id: row.id,
            mark: row.mark,
            scopes: compile::stored("scopes", &row.scopes)?,
            policy: compile::stored("policy", &row.policy)?,
        });
        self.directory().keep_tool_server(load, (audience, &server));
        Ok(server)
    }
}

/// What is asked for, of which there may not be too much.
pub(super) fn asked(wanted: &Wanted, default_scope: Option<&str>) -> Result<PermissionSet> {
    let asked = read_asked(wanted, default_scope)?;
    if asked.iter().count() <= MAX_ASKED {
        return Ok(asked);
    }
    let message =
        format!("a token carries at most {MAX_ASKED} permissions; ask for several tokens");
    Err(Invalid::at("permissions", message).into())
}

fn read_asked(wanted: &Wanted, default_scope: Option<&str>) -> Result<PermissionSet> {
    let every_action = |scope: &ResourcePattern| {
        Permission::new(scope.clone(), Actions::any(), Constraints::default())
    };
    let set = match wanted {
        Wanted::Permissions(permissions) => return Ok(permissions.clone()),
        Wanted::Scopes(scopes) => PermissionSet::new(scopes.iter().map(every_action)),
        Wanted::Default => {
            let names = default_scope.unwrap_or_default();
            let scopes: std::result::Result<Vec<ResourcePattern>, Invalid> = names
                .split(' ')
                .filter(|name| !name.is_empty())
                .map(str::parse)
                .collect();
            PermissionSet::new(scopes?.iter().map(every_action))
        }
    };
    set.map_err(|_| {
        Invalid::at(
            "scopes",
            "say what the token is to permit, with `scopes` or `permissions`",
        )
        .into()
    })
}

impl Target {
    /// The registered scopes that a set covers, for tool servers that look at scopes alone.
    ///
    /// # Errors
    /// The tool server looks at nothing else, and scopes cannot say what the set permits.
    pub(super) fn scopes_of(
        &self,
        merged: &kavachos_core::grant::Merged,
    ) -> Result<Vec<ResourcePattern>> {
        let names = self
            .server
            .scopes
            .as_slice()
            .iter()
            .map(|scope| &scope.name);
        let free = merged.guards.is_none();
        let covered: Vec<ResourcePattern> = names
            .filter(|name| free && grants_all_of(&merged.permissions, name))
            .cloned()
            .collect();
        let all = || {
            let scopes = covered
                .iter()
                .map(|name| Permission::new(name.clone(), Actions::any(), Constraints::default()));
            free && PermissionSet::new(scopes)
                .is_ok_and(|scopes| scopes.includes(&merged.permissions))
        };
        if self.server.policy.kind == Verification::Plain && !all() {
            return Err(Error::NotNarrower(Invalid::at(
                "scopes",
                "this tool server is registered as `plain`: it looks at scopes alone, which cannot say exactly what this \
                 chain permits; ask for whole registered scopes that every grant gives without a condition, or \
                 register it as `kavach` where it runs the verifier",
            )));
        }
        Ok(covered)
    }
}

/// The text of a `scope` claim.
pub(super) fn scope_text(scopes: &[ResourcePattern]) -> String {
    if scopes.is_empty() {
        return LIMITED_SCOPE.to_owned();
    }
    let names: Vec<&str> = scopes.iter().map(ResourcePattern::as_str).collect();
    names.join(" ")
}
