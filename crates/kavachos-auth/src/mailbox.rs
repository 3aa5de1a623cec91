//! Whoever reads mail sent to an address: what the links and codes that are mailed have in common.

use std::time::Duration;

use kavachos_engine::mail::{EmailAddress, Mail, MailKind};
use kavachos_engine::plugin::{Change, Context, Request};
use kavachos_engine::{Result, SignIn, email_address};
use serde::Deserialize;

/// The address for which somebody asks for mail, who may read it or not.
pub(crate) struct Asked {
    pub(crate) email: String,
    pub(crate) to: EmailAddress,
}

impl Asked {
    /// Reads `{"email"}`.
    ///
    /// # Errors
    /// It is no address; or no mail can be sent, whosever it is.
    pub(crate) fn of(context: &Context, request: &Request) -> Result<Self> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Body {
            email: String,
        }

        let body: Body = request.json()?;
        let email = email_address(&body.email)?;
        context.require_mail()?;
        let to = email.parse()?;
        Ok(Self { email, to })
    }

    /// Whether a mail that signs in goes there: to those who have an account, and where strangers get one to all.
    pub(crate) async fn is_admitted(&self, context: &Context) -> Result<bool> {
        let human = context.human_by_email(&self.email).await?;
        Ok(human.is_some() || context.require_sign_ups().is_ok())
    }
}

/// A mail with this value, which is good for so long.
pub(crate) fn mail(
    to: &EmailAddress,
    kind: MailKind,
    (name, value): (&'static str, String),
    life: Duration,
) -> Mail {
    let minutes = life.as_secs() / 60;
    Mail::new(to.clone(), kind)
        .with(name, value)
        .with("minutes", minutes.to_string())
}

/// Signs the reader of this address in by this method: into their account, into one that nobody verified and whose
/// credentials are worth nothing from now on, or into a new one.
pub(crate) async fn sign_in(
    context: &Context,
    (email, method): (&str, &'static str),
    change: Change,
) -> Result<Change> {
    let (change, id) = match context.human_by_email(email).await? {
        Some(human) if human.email_verified => (change, human.id),
        Some(human) => (change.claims(human.id), human.id),
        None => {
            context.require_sign_ups()?;
            let human = context.new_human(Some(email), None)?;
            let id = human.id();
            (change.creates(human.verified()), id)
        }
    };
    Ok(change.signs_in(SignIn::of(id, method)))
}
