//! Senders of mail: SMTP, and the HTTP interfaces of Resend, SendGrid, Postmark and Amazon SES.
//!
//! Promises: nothing leaves without TLS, but to this machine or where it is said in so many words; services are called
//! through the guarded fetcher alone; what the other side says is never repeated, since it may quote whom a mail was for.
//! What a mail says and when it is sent is the business of [`kavachos_engine::mail`].

mod api;
mod ses;
mod sigv4;
mod smtp;
mod template_directory;

use std::path::PathBuf;
use std::sync::Arc;

use kavachos_core::invalid::Invalid;
use kavachos_engine::fetch::{Fetcher, Loopback};

use crate::fetch::GuardedFetcher;

pub use api::{ApiKey, HttpApi, Service};
pub use kavachos_engine::mail::{
    EmailAddress, Letter, Mail, MailCounts, MailKind, MailSender, MailValues, Mailbox, Mailing,
    SendError, TemplateError, TemplateFile, Templates,
};
pub use smtp::{Security, Smtp};

/// Why mail cannot be sent as it is configured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MailError {
    /// A template is wrong; says which, where and how.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The templates cannot be read.
    #[error("the templates in `{path}` cannot be read: {reason}")]
    Unreadable {
        /// Which file or directory.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The SMTP server cannot be used so.
    #[error("{0}")]
    Smtp(String),
    /// The address of a service is none.
    #[error("the address of the mail service {0}")]
    Url(Invalid),
    /// TLS cannot be used, so nothing could be sent.
    #[error("TLS cannot be used: {0}")]
    Tls(String),
}

/// How mail is sent: whom it is from, by whom, and what it looks like.
#[must_use]
pub struct Mailer {
    from: Mailbox,
    sender: Sender,
    templates: Option<Templates>,
}

/// Who sends mail.
#[non_exhaustive]
pub enum Sender {
    /// An SMTP server.
    Smtp(Smtp),
    /// A service's HTTP interface.
    Http(HttpApi),
    /// One of your own.
    Own(Arc<dyn MailSender>),
}

impl From<Smtp> for Sender {
    fn from(smtp: Smtp) -> Self {
        Self::Smtp(smtp)
    }
}

impl From<HttpApi> for Sender {
    fn from(api: HttpApi) -> Self {
        Self::Http(api)
    }
}

impl From<Arc<dyn MailSender>> for Sender {
    fn from(sender: Arc<dyn MailSender>) -> Self {
        Self::Own(sender)
    }
}

impl Mailer {
    /// Mail from this address by this sender, with the embedded templates.
    pub fn new(from: Mailbox, sender: impl Into<Sender>) -> Self {
        Self {
            from,
            sender: sender.into(),
            templates: None,
        }
    }

    /// With other templates.
    pub fn templates(mut self, templates: Templates) -> Self {
        self.templates = Some(templates);
        self
    }

    /// What the engine needs, without an engine: for whoever tries a sender out.
    ///
    /// # Errors
    /// The sender or the templates cannot be used so.
    pub fn mailing(self, loopback: Loopback) -> Result<Mailing, MailError> {
        let fetcher =
            GuardedFetcher::new(loopback).map_err(|error| MailError::Tls(error.to_string()))?;
        self.through(Arc::new(fetcher))
    }

    /// The same, calling services through this fetcher.
    pub(crate) fn through(self, fetcher: Arc<dyn Fetcher>) -> Result<Mailing, MailError> {
        let sender: Arc<dyn MailSender> = match self.sender {
            Sender::Smtp(smtp) => Arc::new(smtp.sender(self.from.address().domain())?),
            Sender::Http(api) => Arc::new(api.sender(fetcher)?),
            Sender::Own(sender) => sender,
        };
        let templates = match self.templates {
            Some(templates) => templates,
            None => Templates::embedded()?,
        };
        Ok(Mailing {
            from: self.from,
            sender,
            templates,
        })
    }
}

pub use template_directory::templates_in;
