//! What a client asks a human for, as the tool servers have it.

use std::sync::Arc;

use kavachos_core::client::{Challenge, RedirectUri};
use kavachos_core::id::ToolServerId;
use kavachos_core::invalid::Invalid;
use kavachos_core::resource::ResourcePattern;
use kavachos_core::revocation::Mark;
use kavachos_core::secret::SecretHash;
use kavachos_core::time::Timestamp;
use kavachos_core::token::Thumbprint;
use kavachos_core::tool_server::{Audience, RegisteredScope, Verification};
use kavachos_store::tool_server;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Client;
use crate::compile;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::tokens::{MAX_ASKED, Registered};

/// The most tool servers that one request names.
const MAX_TARGETS: usize = 10;

/// What a client asks a human for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Wish {
    /// The tool servers, each once.
    pub audiences: Vec<Audience>,
    /// The scopes, of whatever tool server; `None` for what each gives by default.
    pub scopes: Option<Vec<String>>,
}

/// What a client gets of one tool server if the human says yes.
#[derive(Debug, Clone, PartialEq)]
pub struct AccessScopes {
    /// The tool server.
    pub server: ToolServerId,
    /// Whom its tokens are for.
    pub audience: Audience,
    /// What it is called.
    pub name: String,
    /// Its scopes, as people read them.
    pub scopes: Vec<RegisteredScope>,
    pub(super) is_critical: bool,
    mark: Mark,
}

/// What a client gets if the human says yes.
#[derive(Debug, Clone)]
pub struct Access {
    /// The client.
    pub client: Client,
    /// How the client comes by what is made for it.
    pub way: Way,
    /// Of each tool server.
    pub targets: Vec<AccessScopes>,
    /// The key that its redeemer proves to hold (RFC 9449, section 10).
    pub proof_key: Option<Thumbprint>,
    /// The request that was pushed for it, which is good for one code.
    pub pushed: Option<SecretHash>,
}

/// How a client comes by what is made for it.
#[derive(Debug, Clone)]
pub enum Way {
    /// A browser brings it a code.
    Browser {
        /// Where the browser is sent back to.
        redirect_uri: RedirectUri,
        /// What the code's redeemer proves to know.
        challenge: Challenge,
    },
    /// It polls with a code, while a human types another one elsewhere (RFC 8628).
    Device {
        /// What is stored of the code that it polls with.
        code: SecretHash,
        /// Until when the human may answer.
        expires_at: Timestamp,
    },
}

impl Way {
    /// Where a browser is sent back to, if there is one.
    pub const fn redirect_uri(&self) -> Option<&RedirectUri> {
        match self {
            Self::Browser { redirect_uri, .. } => Some(redirect_uri),
            Self::Device { .. } => None,
        }
    }
}

impl AccessScopes {
    /// The names of the scopes, with blanks between them.
    pub(super) fn scope(&self) -> String {
        let names: Vec<&str> = self
            .scopes
            .iter()
            .map(|scope| scope.name.as_str())
            .collect();
        names.join(" ")
    }
}

impl Access {
    /// Tells one from another by all that a human is shown of it.
    pub fn digest(&self) -> [u8; 32] {
        let fingerprint = self.client.fingerprint();
        let mut digest = Sha256::new_with_prefix(b"kavachos access 1\n");
        let mut add = |bytes: &[u8]| {
            digest.update(u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
            digest.update(bytes);
        };
        add(self.client.id.as_str().as_bytes());
        add(&fingerprint);
        match &self.way {
            Way::Browser { redirect_uri, .. } => add(redirect_uri.as_str().as_bytes()),
            Way::Device { code, .. } => add(code.as_bytes()),
        }
        for target in &self.targets {
            add(target.server.to_string().as_bytes());
            add(target.audience.as_str().as_bytes());
            add(target.name.as_bytes());
            for scope in &target.scopes {
                add(scope.name.as_str().as_bytes());
                add(scope.description.as_bytes());
            }
        }
        digest.finalize().into()
    }

    /// What kills it: the tool servers.
    pub(super) fn marks(&self) -> impl Iterator<Item = Mark> {
        self.targets.iter().map(|target| target.mark)
    }

    /// What a line is for.
    pub(super) fn line_targets(&self) -> Vec<LineTarget> {
        let of = |target: &AccessScopes| LineTarget {
            server: target.server,
            audience: target.audience.clone(),
            scopes: target
                .scopes
                .iter()
                .map(|scope| scope.name.clone())
                .collect(),
            by_device: matches!(self.way, Way::Device { .. }),
        };
        self.targets.iter().map(of).collect()
    }
}

/// A tool server of a line, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LineTarget {
    /// Another one may come to have the same audience: the human did not say yes to that.
    pub(super) server: ToolServerId,
    pub(super) audience: Audience,
    pub(super) scopes: Vec<ResourcePattern>,
    /// Whether the human typed a code for it: such a line never reaches what is critical.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) by_device: bool,
}

impl Engine {
    /// What the wish comes to: registered tool servers, and those of the scopes asked for that they have.
    ///
    /// # Errors
    /// A tool server is unknown (`resource`), or none of the scopes is one of theirs (`scope`).
    pub async fn access_scopes(&self, wish: &Wish) -> Result<Vec<AccessScopes>> {
        // No token would come of it.
        self.needed_master_key()?;
        if wish.audiences.len() > MAX_TARGETS {
            let message = format!("names more than {MAX_TARGETS} tool servers");
            return Err(Invalid::at("resource", message).into());
        }
        let only;
        let audiences = match wish.audiences.as_slice() {
            [] => {
                only = [self.only_audience().await?];
                &only
            }
            named => named,
        };
        let mut targets = Vec::new();
        for audience in audiences {
            targets.push(self.access_to(audience, wish.scopes.as_deref()).await?);
        }
        targets.retain(|target: &AccessScopes| !target.scopes.is_empty());
        match targets.is_empty() {
            true => Err(Invalid::at(
                "scope",
                "none of these scopes is one of the tool server's; its metadata names them",
            )
            .into()),
            false => Ok(targets),
        }
    }

    /// The tool server that is meant where there is one alone: clients of older revisions of MCP name none.
    async fn only_audience(&self) -> Result<Audience> {
        let all = self.store().list(tool_server::first_two()).await?;
        match <[(String,); 1]>::try_from(all) {
            Ok([(only,)]) => compile::audience(&only),
            Err(_) => Err(Invalid::at("resource", "name the tool server that it is for").into()),
        }
    }

    async fn registered_or_twin(&self, audience: &Audience) -> Result<(Audience, Arc<Registered>)> {
        match (self.registered(audience).await, twin(audience)) {
            (Err(Error::NotFound(_)), Some(twin)) => {
                let registered = self.registered(&twin).await?;
                Ok((twin, registered))
            }
            (registered, _) => Ok((audience.clone(), registered?)),
        }
    }

    async fn access_to(
        &self,
        audience: &Audience,
        asked: Option<&[String]>,
    ) -> Result<AccessScopes> {
        let (audience, registered) = self.registered_or_twin(audience).await?;
        let row = self.store().find(tool_server::by_id(registered.id)).await?;
        let row = row.ok_or(Error::NotFound("tool server"))?;
        let default = registered
            .policy
            .default_scope
            .as_deref()
            .unwrap_or_default();
        let names: Vec<&str> = match asked {
            Some(asked) => asked.iter().map(String::as_str).collect(),
            None => default.split(' ').collect(),
        };
        let mut scopes: Vec<RegisteredScope> = Vec::new();
        for name in names {
            let meant = meant_by(name, registered.scopes.as_slice());
            // What looks at scopes alone knows whole ones.
            let meant = meant.filter(|meant| {
                registered.policy.kind == Verification::Kavach
                    || registered.scopes.has(meant.name.as_str())
            });
            scopes
                .extend(meant.filter(|meant| scopes.iter().all(|known| known.name != meant.name)));
        }
        if scopes.len() > MAX_ASKED {
            let message = format!("a token carries at most {MAX_ASKED} scopes of a tool server");
            return Err(Invalid::at("scope", message).into());
        }
        Ok(AccessScopes {
            server: registered.id,
            audience,
            name: row.name,
            scopes,
            is_critical: registered.policy.critical,
            mark: registered.mark,
        })
    }
}

/// A registered scope, or a part of one: what a tool server asks for may be narrower than what it registered.
pub(super) fn meant_by(name: &str, registered: &[RegisteredScope]) -> Option<RegisteredScope> {
    let pattern: ResourcePattern = name.parse().ok()?;
    let covering = || (registered.iter()).filter(|scope| scope.name.covers(&pattern));
    // The narrowest say best what a human gives away: those within which none of the others is.
    let is_narrowest = |scope: &&RegisteredScope| {
        !covering().any(|other| other.name != scope.name && scope.name.covers(&other.name))
    };
    let narrowest = covering().filter(is_narrowest);
    let words: Vec<&str> = narrowest.map(|scope| scope.description.as_str()).collect();
    if words.is_empty() {
        return None;
    }
    let description = words.join("; ");
    Some(RegisteredScope {
        name: pattern,
        description,
    })
}

/// The same root of a host with the slash or without it, which some clients add (RFC 3986, section 6.2.3).
pub(super) fn twin(audience: &Audience) -> Option<Audience> {
    let text = audience.as_str();
    let (_, place) = text.split_once("://")?;
    let twin = match place.split_once('/') {
        None => format!("{text}/"),
        Some((_, "")) => text.strip_suffix('/')?.to_owned(),
        Some(_) => return None,
    };
    twin.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_of_a_host_has_a_twin_and_nothing_else_has() {
        let of = |text: &str| {
            let twin = twin(&text.parse().unwrap());
            twin.map(|twin| twin.to_string())
        };
        let (bare, slash) = ("https://a.example", "https://a.example/");
        assert_eq!(of(bare).as_deref(), Some(slash));
        assert_eq!(of(slash).as_deref(), Some(bare));
        for path in ["https://a.example/mcp", "https://a.example/mcp/"] {
            assert_eq!(of(path), None, "{path}");
        }
    }
}
