//! Who hands mail to the world, and what came of it.

use std::time::Duration;

use kavachos_core::id::MailId;
use kavachos_core::time::Timestamp;
use kavachos_store::BoxFuture;

use super::MailKind;
use super::address::{EmailAddress, Mailbox};

/// The header that says that nobody is to answer this by a machine (RFC 3834, 5).
pub const AUTO_SUBMITTED: (&str, &str) = ("Auto-Submitted", "auto-generated");

/// A mail as it is sent. Without `Debug`: it holds links and codes.
#[derive(Clone)]
#[non_exhaustive]
pub struct Letter {
    /// Its id; the same at every attempt, so that a service can tell one that it has seen.
    pub id: MailId,
    /// What it is about.
    pub kind: MailKind,
    /// Whom it is from.
    pub from: Mailbox,
    /// To whom it goes.
    pub to: EmailAddress,
    /// The subject, in one line. Holds no link and no code.
    pub subject: String,
    /// What it says, as plain text.
    pub text: String,
    /// The same as HTML.
    pub html: String,
    /// The header `Message-ID`, with its angle brackets; the same at every attempt.
    pub message_id: String,
    /// When this attempt is made.
    pub date: Timestamp,
}

/// Sends mail. One that may have been sent although it failed is sent again: a reader may get it twice.
pub trait MailSender: Send + Sync {
    /// Sends one mail, and is ready once somebody else has taken charge of it.
    fn send(&self, letter: Letter) -> BoxFuture<'_, Result<(), SendError>>;
}

/// Why a mail was not sent. It has no words of the other side: those may quote the recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{reason}{}", Status(.status))]
pub struct SendError {
    reason: &'static str,
    status: Option<u16>,
    again: Again,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Again {
    Never,
    After(Option<Duration>),
}

/// A status in brackets, where there is one.
struct Status<'a>(&'a Option<u16>);

impl std::fmt::Display for Status<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(status) => write!(f, " ({status})"),
            None => Ok(()),
        }
    }
}

impl SendError {
    /// It may go well another time.
    pub const fn transient(reason: &'static str) -> Self {
        Self {
            reason,
            status: None,
            again: Again::After(None),
        }
    }

    /// It never will: this mail is given up.
    pub const fn permanent(reason: &'static str) -> Self {
        Self {
            reason,
            status: None,
            again: Again::Never,
        }
    }

    /// With the status that the other side answered.
    #[must_use]
    pub const fn with_status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    /// Not before so long, if it is tried again.
    #[must_use]
    pub const fn not_before(mut self, wait: Option<Duration>) -> Self {
        if let Again::After(_) = self.again {
            self.again = Again::After(wait);
        }
        self
    }

    /// Why, in our words.
    pub const fn reason(&self) -> &'static str {
        self.reason
    }

    /// What the other side answered: a reply code of SMTP, or a status of HTTP.
    pub const fn status(&self) -> Option<u16> {
        self.status
    }

    /// Whether this mail is given up.
    pub const fn is_permanent(&self) -> bool {
        matches!(self.again, Again::Never)
    }

    /// How long the other side asks to wait.
    pub const fn wait(&self) -> Option<Duration> {
        match self.again {
            Again::After(wait) => wait,
            Again::Never => None,
        }
    }
}
