//! What the token endpoint answers (RFC 6749, section 5.1; RFC 8693, section 2.2.1).

use kavachos_core::constraint::Constraints;
use kavachos_core::permission::PermissionSet;
use kavachos_core::time::Timestamp;
use kavachos_core::token::DETAILS_TYPE;
use kavachos_engine::{Minted, MintedRoot, Tokens};
use serde::Serialize;
use serde_json::{Value, json};

use crate::token_type::TokenType;

/// A token that was made. It has no `Debug`: the text is a credential.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "TokenAnswer"))]
pub struct Answer {
    /// The token, for this one time.
    access_token: String,
    /// What kind of token it is (RFC 8693, section 3).
    #[cfg_attr(
        feature = "schema",
        schemars(extend("enum" = [TokenType::AccessToken.uri(), TokenType::Root.uri()]))
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    issued_token_type: Option<&'static str>,
    /// How it is shown: `DPoP` for one that is bound to a key; `N_A` for a root, which is shown here alone.
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["Bearer", "DPoP", "N_A"])))]
    token_type: &'static str,
    /// For how many seconds it is good.
    expires_in: u64,
    /// Its scopes; a root has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    /// What it permits, where that was asked for with `authorization_details` (RFC 9396, section 7).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "schema",
        schemars(with = "Option<Vec<serde_json::Map<String, Value>>>")
    )]
    authorization_details: Option<Value>,
    /// What is shown here for the next token (RFC 6749, section 6): good once.
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
}

/// Whether the client is told the details of what it got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    Details,
    ScopeAlone,
}

impl Answer {
    /// The answer for a leaf.
    pub(crate) fn of_leaf(minted: Minted, told: Told, now: Timestamp) -> Self {
        Self {
            authorization_details: told.details(&minted.permissions, minted.guards.as_deref()),
            access_token: minted.token,
            issued_token_type: Some(TokenType::AccessToken.uri()),
            token_type: match minted.bound_to {
                Some(_) => "DPoP",
                None => "Bearer",
            },
            expires_in: minted.expires_at.since(now).as_secs(),
            scope: Some(minted.scope),
            refresh_token: None,
        }
    }

    /// The answer for a root: it is no access token, so it is shown under no scheme.
    pub(crate) fn of_root(minted: MintedRoot, told: Told, now: Timestamp) -> Self {
        Self {
            authorization_details: told.details(&minted.permissions, minted.guards.as_deref()),
            access_token: minted.token,
            issued_token_type: Some(TokenType::Root.uri()),
            token_type: "N_A",
            expires_in: minted.expires_at.since(now).as_secs(),
            scope: None,
            refresh_token: None,
        }
    }

    /// The answer for a client that asks for itself: the scopes that it asked for, where it did.
    pub(crate) fn of_client(minted: Minted, asked: Option<String>, now: Timestamp) -> Self {
        let answer = Self::of_leaf(minted, Told::ScopeAlone, now);
        Self {
            issued_token_type: None,
            scope: asked.or(answer.scope),
            ..answer
        }
    }

    /// The answer for a client that a human let in.
    pub(crate) fn of_tokens(tokens: Tokens, now: Timestamp) -> Self {
        let Tokens {
            access,
            scope,
            refresh,
        } = tokens;
        Self {
            issued_token_type: None,
            scope: Some(scope),
            refresh_token: refresh.map(|token| token.reveal().to_owned()),
            ..Self::of_leaf(access, Told::ScopeAlone, now)
        }
    }
}

impl Told {
    fn details(self, permissions: &PermissionSet, guards: Option<&Constraints>) -> Option<Value> {
        if self == Self::ScopeAlone {
            return None;
        }
        let mut details = json!({ "type": DETAILS_TYPE, "permissions": permissions });
        if let (Some(members), Some(guards)) = (details.as_object_mut(), guards) {
            members.insert("guards".to_owned(), json!(guards));
        }
        Some(json!([details]))
    }
}
