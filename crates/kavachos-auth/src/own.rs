//! What people do with what is theirs, in a session: who they are, that they proved it lately, and how they are told.

use kavachos_core::id::UserId;
use kavachos_core::invalid::Invalid;
use kavachos_engine::mail::{EmailAddress, Mail, MailKind};
use kavachos_engine::plugin::{Answer, Change, Changed, Context, Request};
use kavachos_engine::{Error, Result};

/// The human whose session calls.
///
/// # Errors
/// The route is open to others: a defect of its plugin.
pub(crate) fn human(context: &Context) -> Result<UserId> {
    let person = context.known()?.person();
    let person = person.ok_or_else(|| Error::Forbidden("this needs a human's session".to_owned()));
    Ok(person?.user.id)
}

/// The same of a human who proved lately who they are.
///
/// # Errors
/// They did so too long ago.
pub(crate) fn fresh(context: &Context) -> Result<UserId> {
    let human = human(context)?;
    context.require_fresh()?;
    Ok(human)
}

/// What an account is called where guesses at it are counted.
pub(crate) fn account(method: &str, user: UserId) -> String {
    format!("{method} {user}")
}

/// Refuses a body where there is nothing to say: an empty one, and `{}`, are none.
///
/// # Errors
/// There is something in it.
pub(crate) fn nothing(request: &Request) -> Result<()> {
    if request.body.is_empty() || request.json::<serde_json::Value>()? == serde_json::json!({}) {
        return Ok(());
    }
    Err(Invalid::new("this takes no members; leave the body out").into())
}

/// Refuses to answer again what was shown once.
///
/// # Errors
/// The change was done before, under the same `Idempotency-Key`.
pub(crate) fn done_now(changed: &Changed) -> Result<()> {
    if changed.replayed {
        let why = "this was done before under the same `Idempotency-Key`, and its secrets were shown then";
        return Err(Error::WrongState(why.to_owned()));
    }
    Ok(())
}

/// Refuses an `Idempotency-Key` where what is sent is good for one try anyway.
///
/// # Errors
/// There is one.
pub(crate) fn unrepeated(request: &Request) -> Result<()> {
    match request.header("idempotency-key") {
        None => Ok(()),
        Some(_) => {
            let why = "a challenge is answered once anyway; leave the header out";
            Err(Invalid::at("Idempotency-Key", why).into())
        }
    }
}

/// Answers with what a proof came to.
///
/// # Errors
/// It was done before, under the same `Idempotency-Key`; or the change carried no proof, which is a defect of its plugin.
pub(crate) fn signed_in(changed: Changed) -> Result<Answer> {
    done_now(&changed)?;
    let signed_in = changed.signed_in;
    let signed_in = signed_in.ok_or_else(|| Error::Internal("a proof came to nothing".to_owned()));
    Answer::signed_in(signed_in?)
}

/// A mail about what was added to or removed from an account, for whoever has an address.
pub(crate) struct Notice(Option<Mail>);

impl Notice {
    /// The mail to this human that their account has a new way in, or one less; no mail where none can be sent.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn of(
        context: &Context,
        user: UserId,
        (kind, method): (MailKind, &str),
    ) -> Result<Self> {
        if !context.engine().can_mail() {
            return Ok(Self(None));
        }
        let human = context.engine().user(&context.program(), user).await?;
        // Addresses of before these rules may be none by them.
        let to = human
            .email
            .and_then(|email| email.parse::<EmailAddress>().ok());
        Ok(Self(
            to.map(|to| Mail::new(to, kind).with("method", method)),
        ))
    }

    /// The change, which queues the mail too.
    pub(crate) fn told(&self, change: Change) -> Change {
        match &self.0 {
            Some(mail) => change.mailing(mail.clone()),
            None => change,
        }
    }
}
