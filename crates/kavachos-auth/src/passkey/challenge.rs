//! Challenges: 256 random bits that a browser answers, once, within five minutes. Their SHA-256 is stored.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kavachos_core::id::{SessionId, UserId};
use kavachos_core::time::Timestamp;
use kavachos_engine::actor::Person;
use kavachos_engine::plugin::{Allowance, Change, Context};
use kavachos_engine::{Error, Result};
use sha2::{Digest, Sha256};

use super::store;
use super::webauthn::Ceremony;

/// The kind of the records of challenges that are given out.
pub(super) const ASKED: &str = "passkey.asked";
/// The kind of the records of challenges that are answered, rightly or not.
pub(super) const ANSWERED: &str = "passkey.answered";
/// How long a challenge may be answered. Browsers are told to wait as long.
pub(super) const LIFE: Duration = Duration::from_secs(300);
/// How many challenges one human is given.
const ASKS: Allowance = Allowance::new(100, Duration::from_secs(600));

/// A challenge that is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Open {
    pub(super) ceremony: String,
    /// Who alone may answer it.
    pub(super) user: Option<UserId>,
    /// In which session alone.
    pub(super) session: Option<SessionId>,
    pub(super) expires_at: Timestamp,
}

const fn name(ceremony: Ceremony) -> &'static str {
    match ceremony {
        Ceremony::Registration => "register",
        Ceremony::Authentication => "authenticate",
    }
}

fn hash(challenge: &str) -> [u8; 32] {
    Sha256::digest(challenge).into()
}

/// The session of a human, who may call with a token of their provider as well.
fn session_of(person: &Person) -> Option<SessionId> {
    person.session().map(|session| session.id)
}

/// A new challenge, in base64url. The human and the session that ask for it are the only ones that may answer it.
pub(super) async fn ask(context: &Context, ceremony: Ceremony) -> Result<String> {
    let person = context.actor().and_then(|actor| actor.person());
    let challenge = URL_SAFE_NO_PAD.encode(context.random::<32>());
    let changed = context.change(ASKED, || async {
        let now = context.now();
        let open = Open {
            ceremony: name(ceremony).to_owned(),
            user: person.map(|person| person.user.id),
            session: person.and_then(session_of),
            expires_at: now.plus(LIFE),
        };
        let change = Change::of(name(ceremony)).write(store::ask(hash(&challenge), &open));
        Ok(match open.user {
            // Strangers are counted by their networks.
            Some(user) => change.about_human(user).taking(format!("ask {user}"), ASKS),
            None => change,
        })
    });
    crate::own::done_now(&changed.await?)?;
    Ok(challenge)
}

/// Consumes a challenge: whoever comes second, or too late, or with one of another ceremony, finds none. Where only one
/// human in one session may answer it, it is worth nothing to others, and is gone all the same.
pub(super) async fn consume(
    context: &Context,
    ceremony: Ceremony,
    (challenge, gone): (&str, Error),
) -> Result<Open> {
    let hash = hash(challenge);
    let open = store::challenge(context, hash)
        .await?
        .ok_or_else(|| gone.clone())?;
    let changed = context.change(ANSWERED, || async {
        store::challenge(context, hash)
            .await?
            .ok_or_else(|| gone.clone())?;
        let change = Change::of(name(ceremony)).write(store::consume(hash));
        Ok(match open.user {
            Some(user) => change.about_human(user),
            None => change,
        })
    });
    changed.await?;
    let person = context.actor().and_then(|actor| actor.person());
    let (user, session) = (
        person.map(|person| person.user.id),
        person.and_then(session_of),
    );
    let theirs = open.user.is_none() || (open.user == user && open.session == session);
    let fits = open.ceremony == name(ceremony) && context.now() < open.expires_at && theirs;
    fits.then_some(open).ok_or(gone)
}
