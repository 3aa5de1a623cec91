//! Why a token was refused: stable codes, each with one meaning in HTTP.

use std::borrow::Cow;
use std::fmt;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal / $status:literal;)*) => {
        /// Why a token, or a request with a token, was refused. The texts are stable.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[$doc])* $name,)*
        }

        impl Code {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The stable text.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The status of an HTTP answer with this code.
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }
        }
    };
}

codes! {
    /// The text is no token: too long, cut, not canonical, or with members that are missing, unknown or doubled.
    Malformed = "malformed" / 401;
    /// A token of another purpose.
    WrongType = "wrong_type" / 401;
    /// An algorithm that is not accepted here, or not the key's.
    AlgNotAllowed = "alg_not_allowed" / 401;
    /// Signed by a key that is not, or no longer, the issuer's.
    UnknownKey = "unknown_key" / 401;
    /// The signature does not fit.
    BadSignature = "bad_signature" / 401;
    /// A hop was cut from another chain.
    ParentMismatch = "parent_mismatch" / 401;
    /// It claims more than what it comes from.
    NotNarrower = "not_narrower" / 401;
    /// The chain is deeper than it may be.
    DepthExceeded = "depth_exceeded" / 401;
    /// Its time is over.
    Expired = "expired" / 401;
    /// Its time has not come.
    NotYetValid = "not_yet_valid" / 401;
    /// It lives longer than what it comes from.
    OutlivesParent = "outlives_parent" / 401;
    /// It is made out to somebody else.
    AudienceMismatch = "audience_mismatch" / 401;
    /// A proof of possession is needed and none was sent.
    ProofMissing = "proof_missing" / 401;
    /// The proof of possession does not fit the token or the request.
    ProofInvalid = "proof_invalid" / 401;
    /// The proof of possession was used before.
    ProofReplayed = "proof_replayed" / 401;
    /// It, or something that it comes from, was revoked.
    Revoked = "revoked" / 401;
    /// It is not known whether it was revoked. The caller is not at fault, and may try again.
    RevocationStale = "revocation_stale" / 503;
    /// It does not permit the request.
    InsufficientScope = "insufficient_scope" / 403;
    /// It permits the request, but not under these circumstances.
    ConstraintFailed = "constraint_failed" / 403;
    /// A human must approve the request first.
    ApprovalRequired = "approval_required" / 403;
    /// A rate or a budget is used up.
    RateLimited = "rate_limited" / 429;
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A refusal: its code, and a sentence for people that repeats nothing secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The stable code.
    pub code: Code,
    message: Cow<'static, str>,
}

impl Failure {
    /// A refusal with this code and sentence.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    /// What was wrong, and what to do.
    pub fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn malformed(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::Malformed, message)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for Failure {}
