//! Why no token was given, in the words of the standards (RFC 6749, section 5.2).

use std::time::Duration;

use kavachos_core::invalid::Invalid;
use kavachos_core::secret::redacted;
use kavachos_engine::Error;

/// The most characters of a description: it may quote what the client sent.
const MAX_DESCRIPTION_CHARS: usize = 400;
/// How long a client waits before it tries again when nobody knows better.
const RETRY: Duration = Duration::from_secs(1);

macro_rules! codes {
    ($($name:ident = $status:literal $code:literal, $text:literal;)*) => {
        /// Every error that an endpoint answers, with its status.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Code {
            $(#[doc = $text] $name,)*
        }

        impl Code {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The status of the answer.
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// The member `error` of the answer; some stand for several statuses.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// When it is given.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

codes! {
    InvalidRequest = 400 "invalid_request", "A parameter is missing, stands twice, or cannot be accepted.";
    InvalidGrant = 400 "invalid_grant", "What was shown is unknown, dead, or too old for this.";
    InvalidScope = 400 "invalid_scope", "More is asked for than the subject holds or the tool server has.";
    InvalidTarget = 400 "invalid_target", "There is no such tool server, or no token can be made for it.";
    InvalidAuthorizationDetails = 400 "invalid_authorization_details", "`authorization_details` cannot be accepted (RFC 9396, section 5).";
    UseDpopNonce = 400 "use_dpop_nonce", "The proof must repeat the nonce of the header `DPoP-Nonce` (RFC 9449, section 8).";
    InvalidDpopProof = 400 "invalid_dpop_proof", "The proof in the header `DPoP` is missing, wrong, or was used (RFC 9449).";
    UnsupportedGrantType = 400 "unsupported_grant_type", "`grant_type` is none of those that the metadata lists.";
    UnauthorizedClient = 400 "unauthorized_client", "The client did not register for this.";
    UnsupportedResponseType = 400 "unsupported_response_type", "The only `response_type` is `code`.";
    AuthorizationPending = 400 "authorization_pending", "No human has answered yet: ask again (RFC 8628, section 3.5).";
    SlowDown = 400 "slow_down", "The device asked too soon: it waits five seconds longer from now on.";
    ExpiredToken = 400 "expired_token", "No human answered in time: begin again.";
    AccessDenied = 400 "access_denied", "The human said no, or this server lets nobody do it.";
    LoginRequired = 400 "login_required", "The human would have to sign in, and `prompt` is `none`.";
    ConsentRequired = 400 "consent_required", "The human would have to say yes, and `prompt` is `none`.";
    RequestNotSupported = 400 "request_not_supported", "`request` is not taken here.";
    RequestUriNotSupported = 400 "request_uri_not_supported", "`request_uri` is not taken here.";
    InvalidRedirectUri = 400 "invalid_redirect_uri", "None of the redirect addresses may be one (RFC 7591).";
    InvalidClientMetadata = 400 "invalid_client_metadata", "What the client says of itself cannot be accepted (RFC 7591).";
    InvalidToken = 401 "invalid_token", "The token is missing, unknown or dead (RFC 6750).";
    InvalidClient = 401 "invalid_client", "The client is unknown, or does not show who it is as it registered to.";
    InsufficientScope = 403 "insufficient_scope", "The operator's key does not have the scope for this (RFC 6750).";
    TooSlow = 408 "invalid_request", "The request did not come to its end in time; nothing was done.";
    TooLarge = 413 "invalid_request", "The body is longer than 256 KiB.";
    TooOften = 429 "temporarily_unavailable", "The caller was refused too often; see `Retry-After`.";
    ServerError = 500 "server_error", "A defect of ours.";
    Unavailable = 503 "temporarily_unavailable", "Nothing can be done or recorded now; see `Retry-After`.";
}

impl Code {
    /// What every endpoint answers.
    pub const EVERYWHERE: [Self; 6] = [
        Self::InvalidRequest,
        Self::TooSlow,
        Self::TooLarge,
        Self::TooOften,
        Self::ServerError,
        Self::Unavailable,
    ];
}

/// Why no token was given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {description}", .code.as_str())]
pub struct Refusal {
    code: Code,
    description: String,
    retry_after: Option<Duration>,
    nonce: Option<String>,
}

impl Refusal {
    /// A refusal with a description for people.
    pub fn new(code: Code, description: impl AsRef<str>) -> Self {
        let retry_after = matches!(code, Code::TooOften | Code::Unavailable).then_some(RETRY);
        Self {
            code,
            description: plain(description.as_ref()),
            retry_after,
            nonce: None,
        }
    }

    /// The same with the nonce that the next proof must repeat.
    pub(crate) fn with_nonce(self, nonce: String) -> Self {
        Self {
            nonce: Some(nonce),
            ..self
        }
    }

    /// Which error it is.
    pub const fn code(&self) -> Code {
        self.code
    }

    /// What people are told: short, and of the characters that the standard lets stand there.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// The nonce that the next proof must repeat, where this one did not.
    pub fn nonce(&self) -> Option<&str> {
        self.nonce.as_deref()
    }

    /// How long to wait, where waiting helps.
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let description = match &error {
            Error::Internal(words) => {
                tracing::error!(words, "internal error");
                "internal error; the server's log says more under this request id".to_owned()
            }
            Error::Invalid(invalid) | Error::NotNarrower(invalid) => in_parameters(invalid),
            error => error.to_string(),
        };
        let refusal = Self::new(code_of(&error), description);
        match error {
            Error::TooManyRequests { retry_after }
            | Error::TooManyCalls { retry_after }
            | Error::TooManyOpen { retry_after }
            | Error::ProviderUnavailable { retry_after } => Self {
                retry_after: Some(retry_after),
                ..refusal
            },
            _ => refusal,
        }
    }
}

fn code_of(error: &Error) -> Code {
    match error {
        Error::NotNarrower(invalid) if invalid.field() == "audience" => Code::InvalidTarget,
        Error::NotNarrower(_) => Code::InvalidScope,
        Error::Invalid(invalid) if invalid.field() == "scopes" => Code::InvalidScope,
        Error::Invalid(invalid) if invalid.field() == "DPoP" => Code::InvalidDpopProof,
        Error::NotFound("tool server") => Code::InvalidTarget,
        Error::ProofMissing(_) | Error::ProofUsed | Error::ProofOfOther => Code::InvalidDpopProof,
        Error::Unauthenticated(_)
        | Error::Forbidden(_)
        | Error::SecondFactorRequired(_)
        | Error::WrongState(_) => Code::InvalidGrant,
        Error::Invalid(_)
        | Error::NotFound(_)
        | Error::LimitExceeded { .. }
        | Error::DepthExceeded(_)
        | Error::IdempotencyMismatch => Code::InvalidRequest,
        Error::TooManyRequests { .. } | Error::TooManyCalls { .. } | Error::TooManyOpen { .. } => {
            Code::TooOften
        }
        Error::Busy
        | Error::Contended
        | Error::LedgerUnavailable(_)
        | Error::ProviderUnavailable { .. }
        | Error::OutcomeUnknown => Code::Unavailable,
        _ => Code::ServerError,
    }
}

/// What is wrong, with the parameter as it is named here.
fn in_parameters(invalid: &Invalid) -> String {
    let name = match invalid.field() {
        "" => return invalid.message().to_owned(),
        "scopes" => "scope",
        "token" => "subject_token",
        "permissions" => "authorization_details",
        other => other,
    };
    format!("{name}: {}", invalid.message())
}

/// What may stand in `error_description` (RFC 6749, section 5.2), without credentials.
fn plain(text: &str) -> String {
    let text = redacted(text);
    text.chars()
        .take(MAX_DESCRIPTION_CHARS)
        .map(|c| match c {
            '"' => '\'',
            '\\' => '/',
            ' '..='~' => c,
            _ => '?',
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_engine_have_codes_of_the_standards() {
        let at = |field: &str| Invalid::at(field, "no");
        for (error, code) in [
            (Error::Invalid(at("reason")), Code::InvalidRequest),
            (Error::Invalid(at("scopes")), Code::InvalidScope),
            (Error::Invalid(at("DPoP")), Code::InvalidDpopProof),
            (Error::Unauthenticated("no"), Code::InvalidGrant),
            (Error::Forbidden("no".to_owned()), Code::InvalidGrant),
            (Error::WrongState("no".to_owned()), Code::InvalidGrant),
            (Error::NotNarrower(at("permissions[0]")), Code::InvalidScope),
            (Error::NotNarrower(at("audience")), Code::InvalidTarget),
            (Error::NotFound("tool server"), Code::InvalidTarget),
            (Error::NotFound("agent"), Code::InvalidRequest),
            (Error::ProofUsed, Code::InvalidDpopProof),
            (Error::ProofOfOther, Code::InvalidDpopProof),
            (Error::ProofMissing("no"), Code::InvalidDpopProof),
            (Error::Busy, Code::Unavailable),
            (Error::Contended, Code::Unavailable),
            (Error::NoMasterKey, Code::ServerError),
            (Error::Internal("secret".to_owned()), Code::ServerError),
        ] {
            assert_eq!(Refusal::from(error.clone()).code(), code, "{error:?}");
        }
        let wait = Duration::from_secs(60);
        let slow = Refusal::from(Error::TooManyRequests { retry_after: wait });
        assert_eq!(
            (slow.code(), slow.retry_after()),
            (Code::TooOften, Some(wait))
        );
        assert_eq!(Refusal::from(Error::Contended).retry_after(), Some(RETRY));
    }

    #[test]
    fn a_description_is_plain_and_tells_no_secret() {
        let secret = Refusal::from(Error::Internal("secret".to_owned()));
        assert!(!secret.description().contains("secret"));
        let quoting = Refusal::new(Code::InvalidRequest, "a\"b\\c\u{202e}é\n");
        assert_eq!(quoting.description(), "a'b/c???");
        let long = Refusal::new(Code::InvalidRequest, "x".repeat(10_000));
        assert_eq!(long.description().len(), MAX_DESCRIPTION_CHARS);
        let key = format!("`kv_agent_{}` is none", "a".repeat(49));
        let shown = Refusal::new(Code::InvalidRequest, key);
        assert!(
            !shown.description().contains("aaaa"),
            "{}",
            shown.description()
        );
    }
}
