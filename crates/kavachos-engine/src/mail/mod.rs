//! Mail: put into the queue in the batch that makes it necessary, sent from there beside the requests.
//!
//! Promises: a mail is queued if and only if its batch is committed, and no request waits for a mail server. What stands in
//! the queue is sealed: whoever has the database alone learns neither to whom nor what. Each mail is sent at least once, or
//! given up on record; after a crash between the two it may be sent twice, under the same `Message-ID`. No link leads
//! anywhere but to the public address, no value can write a header, and no subject holds a link or a code. See ADR 0030.
//!
//! It knows templates and the queue; how mail leaves is the business of a [`MailSender`].

mod address;
mod courier;
mod kind;
mod sender;
mod templates;
mod value;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use kavachos_core::id::MailId;
use kavachos_core::time::Timestamp;
use kavachos_store::Write;
use kavachos_store::mail::{self, MailRow};
use serde::{Deserialize, Serialize};

use crate::engine::Engine;
use crate::error::{Error, Result};

pub use address::{EmailAddress, Mailbox};
pub use courier::MailCounts;
pub(crate) use courier::Outbox;
pub use kind::MailKind;
pub use sender::{AUTO_SUBMITTED, Letter, MailSender, SendError};
pub use templates::{Rendered, TemplateError, TemplateFile, Templates};

/// For what rows of the queue are sealed.
const PURPOSE: &str = "mail";
/// How many mails wait at the most. Further ones are refused with what would have queued them.
pub(crate) const MAX_WAITING: u64 = 10_000;
/// How many may wait before none is queued that anyone may ask for: strangers leave room for what humans must be told.
pub(crate) const MAX_ASKED_FOR: u64 = 8_000;

/// To whole multiples of so many bytes mails are padded with blanks before they are sealed: nor does their length tell whom.
const PADDED_TO: usize = 512;

/// What a mail says is put into its template under these names.
pub type MailValues = BTreeMap<&'static str, String>;

/// A mail to be sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Mail {
    /// To whom.
    pub to: EmailAddress,
    /// What it is about.
    pub kind: MailKind,
    /// The reader's language as a BCP 47 tag; the default one where there is none or nobody translated it.
    pub language: Option<String>,
    /// What it says: `url`, `code`, `minutes`, `name`, `ip`, `device`, `method`, `reason`, `by`, `until`. A mail with
    /// `minutes` is not sent any more when they are over.
    pub values: MailValues,
}

/// Links, codes and addresses belong in no log.
impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mail({})", self.kind)
    }
}

impl Mail {
    /// A mail about this.
    pub fn new(to: EmailAddress, kind: MailKind) -> Self {
        Self {
            to,
            kind,
            language: None,
            values: MailValues::new(),
        }
    }

    /// In this language.
    #[must_use]
    pub fn in_language(mut self, tag: Option<String>) -> Self {
        self.language = tag;
        self
    }

    /// With this value.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.values.insert(name, value.into());
        self
    }
}

/// How this server sends mail.
#[derive(Clone)]
pub struct Mailing {
    /// Whom mail is from.
    pub from: Mailbox,
    /// Who sends it.
    pub sender: Arc<dyn MailSender>,
    /// What it looks like.
    pub templates: Templates,
}

/// What stands sealed in a row. It names its row, so that it opens in no other one.
#[derive(Serialize, Deserialize)]
struct Sealed {
    id: MailId,
    kind: MailKind,
    to: EmailAddress,
    language: Option<String>,
    values: BTreeMap<String, String>,
}

impl Mailing {
    /// What this mail says, and how it looks.
    ///
    /// # Errors
    /// A value is missing, unknown or unfit; a defect of whoever made the mail.
    fn letter(&self, sealed: Sealed, context: &Moment<'_>) -> Result<Letter> {
        let Sealed { id, kind, to, .. } = sealed;
        let mut values = sealed.values;
        let app = self.from.name().unwrap_or(self.from.address().domain());
        let at = value::minute(context.created_at);
        for (name, value) in [("app", app), ("site", context.site), ("at", &at)] {
            values.insert(name.to_owned(), value.to_owned());
        }
        let rendered = (self.templates)
            .render(kind, sealed.language.as_deref(), &values)
            .map_err(|error| Error::Internal(error.to_string()))?;
        Ok(Letter {
            message_id: format!("<{id}@{}>", self.from.address().domain()),
            from: self.from.clone(),
            subject: rendered.subject,
            text: rendered.text,
            html: rendered.html,
            date: context.now,
            id,
            kind,
            to,
        })
    }
}

/// When and where a mail is written.
struct Moment<'a> {
    site: &'a str,
    created_at: Timestamp,
    now: Timestamp,
}

impl Engine {
    /// Whether mail can be sent: there is a sender, and a master key to seal what waits. A method that needs mail asks
    /// this before it looks whom it is about, so that the answer says nothing of accounts.
    pub fn can_mail(&self) -> bool {
        self.mailing().is_some() && self.master_key().is_some()
    }

    /// The writes that queue a mail, for any batch: it is sent if and only if that is committed. It is sealed here.
    ///
    /// # Errors
    /// [`Error::MailUnavailable`] where no mail can be sent; where too many wait, the commit is [`Error::Busy`]. A value that is missing, unknown or unfit, and a link to
    /// anywhere but this server, are defects of whoever calls.
    pub fn mail(&self, mail: &Mail) -> Result<[Write; 2]> {
        if !self.can_mail() {
            return Err(Error::MailUnavailable);
        }
        let room = match mail.kind.is_asked_for() {
            true => MAX_ASKED_FOR,
            false => MAX_WAITING,
        };
        let defect = |why: String| Error::Internal(format!("the mail `{}` {why}", mail.kind));
        let values = value::checked(mail, self.settings().issuer.as_str()).map_err(defect)?;
        let id: MailId = self.id();
        let now = self.now();
        let life = value::minutes(&mail.values).map_err(defect)?;
        let sealed = Sealed {
            id,
            kind: mail.kind,
            to: mail.to.clone(),
            language: mail.language.clone(),
            values,
        };
        let mut plain = serde_json::to_vec(&sealed).map_err(|error| defect(error.to_string()))?;
        plain.resize(plain.len().next_multiple_of(PADDED_TO), b' ');
        let row = MailRow {
            id,
            kind: mail.kind.as_str().to_owned(),
            sealed: self.seal_at_rest(PURPOSE, &zeroize::Zeroizing::new(plain))?,
            attempts: 0,
            next_at: now,
            expires_at: now.plus(life.unwrap_or(mail.kind.life())),
            created_at: now,
        };
        self.look_for_mails();
        Ok(mail::insert(row, room))
    }

    /// Refuses where so many mails wait, as a commit does that queues one more.
    ///
    /// # Errors
    /// [`Error::Busy`] where they do; those of the store.
    pub(crate) async fn require_mail_room(&self, room: u64) -> Result<()> {
        let waiting = self.store().find(mail::waiting()).await?;
        if waiting.is_some_and(|(waiting,)| waiting < room) {
            return Ok(());
        }
        tracing::warn!(room, "so many mails wait that no more are queued");
        Err(Error::Busy)
    }
}

impl Mailing {
    /// A mail as it would be sent at this time by the server of this public address: for whoever tries the sender out.
    ///
    /// # Errors
    /// A value is missing, unknown or unfit.
    pub fn letter_of(
        &self,
        id: MailId,
        mail: &Mail,
        (site, now): (&str, Timestamp),
    ) -> Result<Letter> {
        let defect = |why: String| Error::Internal(format!("the mail `{}` {why}", mail.kind));
        let sealed = Sealed {
            id,
            kind: mail.kind,
            to: mail.to.clone(),
            language: mail.language.clone(),
            values: value::checked(mail, site).map_err(defect)?,
        };
        let moment = Moment {
            site,
            created_at: now,
            now,
        };
        self.letter(sealed, &moment)
    }
}
