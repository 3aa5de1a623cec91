//! Whoever reads mail sent to an address signs in: what a link and a code have in common.

use kavachos_engine::plugin::{Change, Context};
use kavachos_engine::{Result, SignIn, User};

/// Whether somebody without an account gets one by showing that they read mail sent to their address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignUps {
    /// They do.
    Open,
    /// They do not; what they are answered is the same.
    Closed,
}

impl SignUps {
    /// Whether a mail goes to this address.
    pub(crate) fn admits(self, human: Option<&User>) -> bool {
        self == Self::Open || human.is_some()
    }
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
            let human = context.new_human(Some(email), None)?;
            let id = human.id();
            (change.creates(human.verified()), id)
        }
    };
    Ok(change.signs_in(SignIn::of(id, method)))
}
