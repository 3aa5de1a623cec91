//! Guests: a session without a name, which becomes an account and keeps what it has.
//!
//! Promises: a guest is a human like any other, with agents and grants of their own; an account is made of one by whoever
//! holds the guest's session, and of nobody else's address; nothing that the guest made is lost, and what is kept is told.

use std::sync::Arc;
use std::time::Duration;

use kavachos_core::id::UserId;
use kavachos_engine::mail::{EmailAddress, Mail, MailKind};
use kavachos_engine::plugin::{
    Address, Allowance, Answer, CallerType, Change, Context, Counted, Method, MovedRow, Plugin,
    Request, Route, Sweep, TellAs, Told,
};
use kavachos_engine::{Door, Engine, Error, Result, SignIn, email_address};
use kavachos_store::migration::Migration;
use kavachos_store::{Query, Write};
use serde::Deserialize;
use serde_json::json;

use crate::email_password::Verification;
use crate::mailbox;
use crate::one_time::{OneTime, hash_of};
use crate::own::signed_in;
use crate::password::{Choosing, Chosen, Password, Standing};

/// Its id, and the method that sessions name.
const ID: &str = "anonymous";
/// How long a link that makes an account of a guest is good.
const LIFE: Duration = Duration::from_secs(24 * 60 * 60);
/// How often a guest may ask for an account, whatever becomes of it; of one network it is as often as people sign up.
const UPGRADES: Allowance = Allowance::new(10, Duration::from_secs(60 * 60));
/// The record of a guest who came.
const CAME: &str = "anonymous.came";
/// The record of a guest who asked for an account.
const ASKED: &str = "anonymous.upgrade_asked";
/// The record of a guest who has one.
const UPGRADED: &str = "anonymous.upgraded";

const GONE: Error = Error::Unauthenticated(
    "this link is over or was used, or is of another guest; ask for another one where you are one",
);

/// Guests.
#[derive(Clone)]
pub struct Anonymous {
    choosing: Arc<Choosing>,
    verification: Verification,
}

impl Anonymous {
    /// Guests get accounts under the same rules as all others.
    pub fn new(choosing: Arc<Choosing>, verification: Verification) -> Self {
        Self {
            choosing,
            verification,
        }
    }
}

impl Plugin for Anonymous {
    fn id(&self) -> &'static str {
        ID
    }

    fn migrations(&self) -> Vec<Migration> {
        vec![Migration {
            owner: ID,
            number: 1,
            name: "guests",
            sql: "CREATE TABLE anonymous_guest (
                      user_id {text} NOT NULL PRIMARY KEY
                  ) {keyed};
                  CREATE TABLE anonymous_upgrade (
                      hash {bytes} NOT NULL PRIMARY KEY CHECK (length(hash) = 32),
                      user_id {text} NOT NULL,
                      email {text} NOT NULL,
                      name {text},
                      phc {text} NOT NULL,
                      expires_at {int} NOT NULL
                  ) {keyed};
                  CREATE INDEX anonymous_upgrade_by_user ON anonymous_upgrade (user_id);
                  CREATE INDEX anonymous_upgrade_by_end ON anonymous_upgrade (expires_at);",
            min_binary: 1,
        }]
    }

    fn admit(&self, _: &Engine, row: &MovedRow<'_>) -> std::result::Result<(), String> {
        row.human("user_id").map(drop)
    }

    fn forgets_address(&self, email: &str) -> Vec<Write> {
        vec![Write::any("DELETE FROM anonymous_upgrade WHERE email = ?1").bind(email.to_owned())]
    }

    fn tells(&self, human: UserId) -> Vec<Told> {
        vec![Told {
            kind: "link",
            members: &[("email", TellAs::Text), ("name", TellAs::Text), ("expiresAt", TellAs::Time)],
            query: Query::new(100, "SELECT email, name, expires_at FROM anonymous_upgrade WHERE user_id = ?1 LIMIT 100").bind(human),
        }]
    }

    fn passing(&self) -> Vec<&'static str> {
        vec!["anonymous_upgrade"]
    }

    fn sweeps(&self) -> Vec<Sweep> {
        vec![Sweep::ended("anonymous_upgrade", "hash", "expires_at")]
    }

    fn kinds(&self) -> Vec<&'static str> {
        vec![CAME, ASKED, UPGRADED]
    }

    fn routes(&self) -> Vec<Route> {
        let guests = self.clone();
        let upgrade = move |context, request| upgrade(context, request, guests.clone());
        vec![
            Route::new(
                Method::Post,
                "/api/auth/anonymous",
                CallerType::Door(Door::SignUp),
                come,
            )
            .described(json!({ "summary": "Come as a guest" })),
            Route::new(
                Method::Post,
                "/api/auth/anonymous/upgrade",
                CallerType::Session,
                upgrade,
            )
            .described(json!({ "summary": "Make an account of a guest" })),
            Route::new(
                Method::Post,
                "/api/auth/anonymous/upgrade/verify",
                CallerType::Session,
                verify,
            )
            .described(json!({ "summary": "Make an account of a guest, by a link" })),
        ]
    }

    fn forgets(&self, human: UserId) -> Vec<Write> {
        vec![no_guest(human), no_upgrade(human)]
    }
}

fn no_guest(human: UserId) -> Write {
    Write::any("DELETE FROM anonymous_guest WHERE user_id = ?1").bind(human)
}

fn no_upgrade(human: UserId) -> Write {
    Write::any("DELETE FROM anonymous_upgrade WHERE user_id = ?1").bind(human)
}

async fn come(context: Context, request: Request) -> Result<Answer> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Nothing {}

    let Nothing {} = request.json()?;
    let came = context.change(CAME, || async {
        let human = context.new_human(None, None)?;
        let id = human.id();
        let row = "INSERT INTO anonymous_guest (user_id) VALUES (?1)";
        Ok(Change::of(id.to_string())
            .creates(human)
            .write(Write::exactly(1, row).bind(id))
            .signs_in(SignIn::of(id, ID).unguarded()))
    });
    signed_in(came.await?)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    email: String,
    password: Password,
    name: Option<String>,
}

/// An account that a guest asked for.
struct Wanted {
    user: UserId,
    email: String,
    name: Option<String>,
    phc: String,
}

async fn upgrade(context: Context, request: Request, guests: Anonymous) -> Result<Answer> {
    let asked: Asked = request.json()?;
    let email = email_address(&asked.email)?;
    let guest = guest(&context).await?;
    // Before the password is hashed, and looked up elsewhere.
    admit(&context, guest).await?;
    context.new_human(Some(&email), asked.name.as_deref())?;
    let known = [email.as_str(), asked.name.as_deref().unwrap_or_default()];
    let chosen = (&asked.password, Standing::Alone);
    let Chosen { phc, .. } = guests.choosing.keep(&context, chosen, &known).await?;
    let wanted = Wanted {
        user: guest,
        email,
        name: asked.name,
        phc,
    };
    match guests.verification {
        Verification::First => invite(&context, &wanted).await,
        Verification::Later => {
            let upgraded = context.change(UPGRADED, || account(&context, &wanted, false));
            signed_in(upgraded.await?)
        }
    }
}

async fn admit(context: &Context, guest: UserId) -> Result<()> {
    let of_source = context.engine().settings().doors.sign_ups.per_source;
    let own = format!("upgrade:{guest}");
    let limits = [
        (Counted::Name(&own), UPGRADES),
        (Counted::Source("upgrade"), of_source),
    ];
    context.admit(&limits).await
}

/// Mails a link, or says that the address has an account: the answer is the same.
async fn invite(context: &Context, wanted: &Wanted) -> Result<Answer> {
    context.require_mail()?;
    let to: EmailAddress = wanted.email.parse()?;
    let link = OneTime::new(context);
    let asked = context.change(ASKED, || async {
        let change = Change::of("asked").about_human(wanted.user);
        if context.human_by_email(&wanted.email).await?.is_some() {
            let exists = Mail::new(to.clone(), MailKind::AccountExists);
            return Ok(change.mailing(exists.with("url", context.url("/sign-in"))));
        }
        let row = "INSERT INTO anonymous_upgrade (hash, user_id, email, name, phc, expires_at) \
            VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let row = Write::exactly(1, row)
            .bind(link.hash())
            .bind(wanted.user)
            .bind(wanted.email.clone())
            .bind(wanted.name.clone())
            .bind(wanted.phc.clone())
            .bind(context.now().plus(LIFE));
        let url = context.url(&format!("/verify-email?token={}&guest=1", link.reveal()));
        let mail = mailbox::mail(&to, MailKind::VerifyEmail, ("url", url), LIFE);
        Ok(change.write(row).mailing(mail))
    });
    asked.await?;
    Answer::next("verify_email")
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Shown {
    token: String,
}

/// The link, opened by whoever holds the guest's session: the browser that asked.
async fn verify(context: Context, request: Request) -> Result<Answer> {
    let shown: Shown = request.json()?;
    let guest = guest(&context).await?;
    let hash = hash_of(&shown.token);
    let upgraded = context.change(UPGRADED, || async {
        let query = "SELECT email, name, phc FROM anonymous_upgrade \
            WHERE hash = ?1 AND user_id = ?2 AND expires_at > ?3";
        let query = Query::new(1, query)
            .bind(hash)
            .bind(guest)
            .bind(context.now());
        let found: Vec<(String, Option<String>, String)> = context.read(query).await?;
        let (email, name, phc) = found.into_iter().next().ok_or(GONE)?;
        let wanted = Wanted {
            user: guest,
            email,
            name,
            phc,
        };
        account(&context, &wanted, true).await
    });
    signed_in(upgraded.await?)
}

/// Makes an account of the guest: once, and of an address that nobody has.
async fn account(context: &Context, wanted: &Wanted, verified: bool) -> Result<Change> {
    if context.human_by_email(&wanted.email).await?.is_some() {
        let why = "there is an account with this address; sign in to it, or take another address";
        return Err(Error::WrongState(why.to_owned()));
    }
    let row = "DELETE FROM anonymous_guest WHERE user_id = ?1";
    let address = Address {
        email: wanted.email.clone(),
        name: wanted.name.clone(),
        verified,
    };
    Ok(Change::of(wanted.user.to_string())
        .write(Write::exactly(1, row).bind(wanted.user))
        .write(no_upgrade(wanted.user))
        .addresses(wanted.user, address)
        .sets_password(wanted.user, wanted.phc.clone())
        .signs_in(SignIn::of(wanted.user, ID)))
}

/// The guest who calls.
async fn guest(context: &Context) -> Result<UserId> {
    let human = context.own_account().await?;
    let query = Query::new(1, "SELECT user_id FROM anonymous_guest WHERE user_id = ?1");
    let found: Vec<(UserId,)> = context.read(query.bind(human.id)).await?;
    if found.is_empty() || human.email.is_some() || human.external.is_some() {
        let why = "you are no guest: your account has a way to sign in already";
        return Err(Error::WrongState(why.to_owned()));
    }
    // A guest can show nothing but their session; whoever can show more does.
    if context.is_known_elsewhere(human.id).await? {
        context.require_fresh()?;
    }
    Ok(human.id)
}
