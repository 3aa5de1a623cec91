//! `POST /api/auth/totp/setup`: a new secret for an app. Nothing is asked for with it before a code of it was shown.

use kavachos_engine::plugin::{Answer, Change, Context, Request};
use kavachos_engine::{Error, Result, User};
use serde::Serialize;

use super::enrolment::{link, picture};
use super::factor::{Material, enabled};
use super::store;
use crate::own;

/// The kind of its records.
pub(super) const KIND: &str = "totp.set_up";

/// What an app is given. Shown once.
#[derive(Serialize)]
struct Enrolment<'a> {
    secret: &'a str,
    uri: String,
    svg: Option<String>,
}

pub(super) async fn setup(context: Context, request: Request) -> Result<Answer> {
    own::nothing(&request)?;
    let user = own::fresh(&context)?;
    let material = Material::new(&context);
    let sealed = material.seal(&context, user)?;
    let changed = context.change(KIND, || async {
        if enabled(&context, user).await?.is_some() {
            let why = "codes of an app are asked for already; turn them off before you begin with another app";
            return Err(Error::WrongState(why.to_owned()));
        }
        Ok(Change::of("setup")
            .write(store::forget_setup(user))
            .write(store::begin(user, sealed.clone(), context.now()))
            .about_human(user))
    });
    own::done_now(&changed.await?)?;
    let human = context.engine().user(&context.program(), user).await?;
    let uri = link(&material.seed, site(&context), &named(&human));
    Answer::created(&Enrolment {
        secret: &material.seed.base32(),
        svg: picture(&uri),
        uri,
    })
}

/// The site as people know it: the host of its public address, without its port.
fn site(context: &Context) -> &str {
    let address = context.engine().settings().issuer.as_str();
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    rest.split(['/', ':']).next().unwrap_or(rest)
}

/// The human as they know themselves.
fn named(human: &User) -> String {
    let name = human.email.clone().or_else(|| human.name.clone());
    name.unwrap_or_else(|| human.id.to_string())
}
