//! What a token is, for whom it is for.

use kavachos_core::token::Leaf;
use kavachos_core::tool_server::Audience;

use crate::act::Act;
use crate::actor::{Actor, Caller, Scope};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::signing_keys::KeyPurpose;

const LOOK: Act = Act::new("token.introspected");

/// For whom a token has to be of which the caller is told; `None` for all.
fn audience_of(actor: &Actor) -> Result<Option<&Audience>> {
    match &actor.caller {
        Caller::ToolServer(key) => Ok(Some(&key.audience)),
        Caller::Operator(_) => actor.require(Scope::AuthorizeAny).map(|()| None),
        _ => Err(Error::Forbidden(
            "a token is told of to the tool server that it is for, and to operators".to_owned(),
        )),
    }
}

impl Engine {
    /// Reads a token that is good now; `None` of any other, and of one that is for another tool server than the one that asks.
    ///
    /// # Errors
    /// The caller is no tool server, and no operator who may ask about any agent.
    pub async fn introspect(&self, actor: &Actor, token: &str) -> Result<Option<Leaf>> {
        let audience = match audience_of(actor) {
            Ok(audience) => audience,
            Err(error) => return Err(self.refused(actor, LOOK, error).await?),
        };
        let keys = self.key_set(KeyPurpose::Token).await?;
        let Ok(leaf) = Leaf::open(token, &self.settings().issuer, &keys) else {
            return Ok(None);
        };
        let is_theirs = audience.is_none_or(|audience| *audience == leaf.audience);
        let lives = leaf.life.expires_at > self.now() && leaf.authority.epoch == self.head().epoch;
        if !is_theirs || !lives || self.any_dead(&leaf.authority).await? {
            return Ok(None);
        }
        Ok(Some(leaf))
    }
}
