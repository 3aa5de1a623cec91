//! `POST /api/auth/sign-up/username`: an account with a name and a password.

use std::sync::Arc;

use kavachos_engine::plugin::{Answer, Change, Context, Request};
use kavachos_engine::{Error, Result, SignIn};
use serde::Deserialize;
use serde_json::json;

use super::ID;
use super::account::{give, is_taken};
use super::name::Username;
use crate::own::signed_in;
use crate::password::{Choosing, Chosen, Password, Standing};

/// The record of a new account.
pub(super) const KIND: &str = "username_password.signed_up";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    username: String,
    password: Password,
}

pub(super) async fn handle(
    choosing: Arc<Choosing>,
    context: Context,
    request: Request,
) -> Result<Answer> {
    let asked: Asked = request.json()?;
    let name = Username::choose(&asked.username)?;
    if is_taken(&context, &name, None).await? {
        return Err(taken());
    }
    let chosen = (&asked.password, Standing::Alone);
    let known = [name.as_str()];
    let Chosen { phc, sighting } = choosing.keep(&context, chosen, &known).await?;
    let made = context.change(KIND, || async {
        if is_taken(&context, &name, None).await? {
            return Err(taken());
        }
        let human = context.new_human(None, Some(name.as_str()))?;
        let id = human.id();
        Ok(Change::of(id.to_string())
            .creates(human)
            .write(give(&name, id, context.now()))
            .sets_password(id, phc.clone())
            .details(json!({ "breached": sighting }))
            .signs_in(SignIn::of(id, ID)))
    });
    signed_in(made.await?)
}

/// That a name is taken cannot be kept from whoever wants it; how many may be tried is limited.
pub(super) fn taken() -> Error {
    let why = "somebody has this name, or one that looks like it; choose another";
    Error::WrongState(why.to_owned())
}
