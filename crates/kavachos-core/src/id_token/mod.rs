//! Identity tokens of other people's providers (OpenID Connect Core 1.0): who somebody is, in the words of a provider
//! that is believed.
//!
//! Promises: a token is read in one way or not at all (three parts, canonical base64url, no member twice, bounded); the
//! provider's key decides the algorithm, never the header; nothing of a token is used before its signature holds, but
//! for the issuer that it names, which only says whose keys to hold it against; every refusal has a stable
//! [code](crate::token::Code). Pure: the keys, the time and the one operation that needs more than this crate
//! ([RSA](RsaCheck)) are passed in. It remembers nothing: whether a token was used before is for the caller to know, by
//! [`IdToken::digest`].
//!
//! What is exchanged is a token of identity ([`VerifiedClaims::check`]). What is shown at an API as a bearer may be of
//! several kinds ([`VerifiedClaims::check_bearer`]), each of them named by whoever configures it, and told from the others
//! by what it says and by what it must not say.

mod bearer;
#[cfg(test)]
mod bearer_tests;
mod claims;
mod key;
mod read;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use bearer::{Accepted, BearerRules, BearerToken, TokenKind};
pub use claims::IdToken;
pub(crate) use key::is_private;
pub use key::{MAX_PROVIDER_KEYS, ProviderKey, ProviderKeySet, RsaCheck, RsaKey, SignatureKind};
pub(crate) use read::{REFUSED, decode, object};
pub use read::{UnverifiedIdToken, VerifiedClaims};

/// What a provider's token must say to be believed.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// The provider, byte for byte.
    pub issuer: &'a str,
    /// For whom the provider may make tokens out: the ids that our side has there.
    pub audiences: &'a [String],
    /// How long ago it may have been made.
    pub max_age: Duration,
    /// How long ago the human may have signed in, where the token says it.
    pub max_sign_in_age: Duration,
}
