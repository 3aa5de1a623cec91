//! Why a verifier cannot be built.

use std::time::Duration;

use kavachos_core::invalid::Invalid;

use crate::feed::FeedError;
use crate::issuer::CallError;

/// Why a verifier cannot be built: what is wrong with what it was told, or what its issuer did.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The issuer or the address of its keys is not protected by TLS, and is not on this machine.
    #[error("`{url}` is not https: only an issuer on this machine may do without")]
    Insecure {
        /// The address.
        url: String,
    },
    /// Something that was told to the builder cannot be read.
    #[error("{what}: {reason}")]
    Invalid {
        /// Which of its methods it was told to.
        what: &'static str,
        /// What is wrong.
        reason: Invalid,
    },
    /// The network cannot be used at all.
    #[error("no HTTP client: {0}")]
    Client(#[source] std::io::Error),
    /// The issuer does not answer.
    #[error(
        "nothing comes from `{url}`: {reason}; is the issuer running, and reachable from here?"
    )]
    Unreachable {
        /// What was asked for.
        url: String,
        /// What happened.
        reason: String,
    },
    /// The issuer answers, but not with what it must.
    #[error("`{url}` does not give what an issuer gives: {reason}")]
    Unusable {
        /// What was asked for.
        url: String,
        /// What came.
        reason: String,
    },
    /// The issuer calls itself otherwise.
    #[error(
        "the issuer at `{asked}` calls itself `{told}`: write its name as it does, byte for byte"
    )]
    OtherIssuer {
        /// The name that was told to the builder.
        asked: String,
        /// The name in its metadata.
        told: String,
    },
    /// The revocation feed does not take this tool server's key.
    #[error(
        "the issuer does not let this tool server follow revocations ({reason}): give its key with `.resource_key(...)`"
    )]
    KeyRefused {
        /// What the issuer said.
        reason: String,
    },
    /// The revocation feed gives nothing that can be relied on, so no token could be accepted.
    #[error("revocations cannot be followed: {reason}")]
    Feed {
        /// What happened.
        reason: String,
    },
    /// The clock of this machine is so far ahead of the issuer's that no token could be accepted.
    #[error(
        "the clock of this machine is {} seconds ahead of the issuer's, so every token would be taken for over: set it right, \
         and keep it so (NTP)", ahead.as_secs()
    )]
    ClockAhead {
        /// How far.
        ahead: Duration,
    },
    /// The machine gives no random bytes.
    #[error("this machine gives no random bytes")]
    NoRandomness,
}

impl BuildError {
    pub(crate) fn invalid(what: &'static str) -> impl FnOnce(Invalid) -> Self {
        move |reason| Self::Invalid { what, reason }
    }

    pub(crate) fn document(url: &str) -> impl FnOnce(CallError) -> Self + use<> {
        let url = url.to_owned();
        move |error| match error {
            CallError::Unreachable(reason) => Self::Unreachable { url, reason },
            other => Self::Unusable {
                url,
                reason: other.to_string(),
            },
        }
    }

    pub(crate) fn feed(error: &FeedError) -> Self {
        match error {
            FeedError::Call(CallError::Status {
                status: 401 | 403,
                message,
                ..
            }) => Self::KeyRefused {
                reason: message.clone(),
            },
            FeedError::NoRandomness => Self::NoRandomness,
            other => Self::Feed {
                reason: other.to_string(),
            },
        }
    }
}
