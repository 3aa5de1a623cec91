//! Why a use case did not do what was asked. A denied decision is no error: it is a value.

use std::time::Duration;

use kavachos_core::invalid::Invalid;
use kavachos_store::{CommitError, ReadError};

/// Why a use case did not do what was asked. The first variants are the caller's to mend, the last ones ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A value cannot be accepted; names the member.
    #[error("{0}")]
    Invalid(Invalid),
    /// The credential is missing, unknown or dead.
    #[error("{0}")]
    Unauthenticated(&'static str),
    /// The caller is known and may not do this.
    #[error("{0}")]
    Forbidden(String),
    /// The caller is known, and a second factor is demanded of them that they have yet to show.
    #[error("{0}")]
    SecondFactorRequired(&'static str),
    /// What is asked for is not inside what the giver has.
    #[error("{}", .0.message())]
    NotNarrower(Invalid),
    /// There is no such thing, or it is not the caller's to know.
    #[error("there is no such {0}, or it is not yours to see")]
    NotFound(&'static str),
    /// A key must be proved, and no proof of one came.
    #[error("{0}: send a proof of it in the header `DPoP` (RFC 9449)")]
    ProofMissing(&'static str),
    /// The proof of a key was used before, or may have been: it was made before the database was restored.
    #[error(
        "the proof of a key was used before, or made before this server was restored: make one for each request"
    )]
    ProofUsed,
    /// The proof is by another key than it must be.
    #[error(
        "the proof in the header `DPoP` is by another key than the one that is registered for the agent"
    )]
    ProofOfOther,
    /// The thing is not in a state in which this can be done.
    #[error("{0}")]
    WrongState(String),
    /// There is no master key, and this takes one.
    #[error(
        "this is signed with a secret derived from a master key, and there is none: set KAVACH_MASTER_KEY_FILE, or make one \
         with `kavach init`"
    )]
    NoMasterKey,
    /// Others changed the same again and again. Nothing was done.
    #[error("others change this at the same time; nothing was done, try again")]
    Contended,
    /// A quota is used up.
    #[error("{message}")]
    LimitExceeded {
        /// The stable code: `agent_limit_exceeded` or `grant_limit_exceeded`.
        code: &'static str,
        /// Which limit, and what to do.
        message: String,
    },
    /// The chain of delegations would become too deep.
    #[error("{0}")]
    DepthExceeded(String),
    /// An outside provider cannot be asked for its keys, so nothing that it says is believed now.
    #[error("the provider's keys cannot be fetched, so its tokens are not believed now; try again")]
    ProviderUnavailable {
        /// How long to wait.
        retry_after: Duration,
    },
    /// No mail can be sent here, and this needs one.
    #[error(
        "no mail can be sent here, and this needs one: set `mail.sender`, and a master key; `kavach doctor` says more"
    )]
    MailUnavailable,
    /// The caller was refused so often that its requests are only counted for a while.
    #[error("too many denied requests; they are counted, not decided, until the time given")]
    TooManyRequests {
        /// How long to wait.
        retry_after: Duration,
    },
    /// The caller, or everyone like it, has called so often that it has to wait.
    #[error("too many calls; wait until the time given")]
    TooManyCalls {
        /// How long to wait.
        retry_after: Duration,
    },
    /// The caller has as many streams, waiting calls or exports open as one may have.
    #[error(
        "you have as many of these open as one caller may; close one, or wait until the time given"
    )]
    TooManyOpen {
        /// How long to wait.
        retry_after: Duration,
    },
    /// The `Idempotency-Key` was used before with another request.
    #[error(
        "this `Idempotency-Key` was used with another request; use a new key for a new request"
    )]
    IdempotencyMismatch,
    /// So many changes or requests are under way that this one gave up. Nothing was done.
    #[error("the server is busy; nothing was done, try again")]
    Busy,
    /// Nothing can be recorded now, so nothing is decided or done.
    #[error("the record cannot be written, so nothing was decided or done: {0}")]
    LedgerUnavailable(String),
    /// It is not known whether it was done.
    #[error("it is not known whether this was done; look before you repeat it")]
    OutcomeUnknown,
    /// A defect of ours.
    #[error("internal error: {0}")]
    Internal(String),
}

/// The result of a use case.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The stable code, as it stands in answers and records.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "malformed_request",
            Self::Unauthenticated(_) => "unauthenticated",
            Self::Forbidden(_) | Self::ProofUsed | Self::ProofOfOther => "forbidden",
            Self::SecondFactorRequired(_) => "second_factor_required",
            Self::NotNarrower(_) => "not_narrower",
            Self::NotFound(_) => "not_found",
            Self::WrongState(_) | Self::NoMasterKey | Self::Contended | Self::ProofMissing(_) => {
                "conflict"
            }
            Self::LimitExceeded { code, .. } => code,
            Self::DepthExceeded(_) => "depth_exceeded",
            Self::ProviderUnavailable { .. } => "provider_unavailable",
            Self::MailUnavailable => "mail_unavailable",
            Self::TooManyRequests { .. } | Self::TooManyCalls { .. } | Self::TooManyOpen { .. } => {
                "too_many_requests"
            }
            Self::IdempotencyMismatch => "idempotency_mismatch",
            Self::Busy => "busy",
            Self::LedgerUnavailable(_) => "ledger_unavailable",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::Internal(_) => "internal",
        }
    }

    /// Whether the refusal of a change is itself a record: the caller is known, the request makes sense, and we said no.
    pub(crate) const fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Forbidden(_)
                | Self::SecondFactorRequired(_)
                | Self::NotNarrower(_)
                | Self::NotFound(_)
                | Self::WrongState(_)
                | Self::NoMasterKey
                | Self::ProofMissing(_)
                | Self::ProofUsed
                | Self::ProofOfOther
                | Self::LimitExceeded { .. }
                | Self::DepthExceeded(_)
        )
    }
}

impl From<Invalid> for Error {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid)
    }
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Busy => Self::Busy,
            ReadError::Unavailable(reason) => Self::LedgerUnavailable(reason.into_owned()),
            other => Self::Internal(other.to_string()),
        }
    }
}

/// What is left of a failed commit once conflicts and refused takes have been dealt with.
impl From<CommitError> for Error {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Conflict { .. } | CommitError::Busy => Self::Busy,
            CommitError::Unavailable(reason) => Self::LedgerUnavailable(reason.into_owned()),
            CommitError::Unknown => Self::OutcomeUnknown,
            other => Self::Internal(other.to_string()),
        }
    }
}
