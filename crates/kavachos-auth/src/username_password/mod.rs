//! A name and a password, without any address.
//!
//! Promises: a name has one form, of few letters, and no two look alike (`name`); whether there is an account shows neither
//! in the answer nor in the work of a sign-in; guesses are paid for before they are looked at. That a name is taken shows at
//! sign-up, which is limited. Whoever forgets the password has no address to be helped at, so the human who runs the server
//! has to.

mod account;
mod change;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod name;
mod sign_in;
mod sign_up;

use std::sync::Arc;

use kavachos_core::id::UserId;
use kavachos_engine::plugin::{
    Answer, CallerType, Context, Method, MovedRow, Plugin, Request, Route, TellAs, Told,
};
use kavachos_engine::{Door, Engine, Result};
use kavachos_store::migration::Migration;
use kavachos_store::{Query, Write};
use serde_json::{Value, json};

use self::name::Username;
use crate::password::Choosing;

/// Its id, and the method that sessions name.
const ID: &str = "username_password";

/// Sign-up and sign-in with a name and a password.
#[derive(Clone, Default)]
pub struct UsernamePassword {
    choosing: Arc<Choosing>,
}

impl UsernamePassword {
    /// Passwords are chosen by these rules.
    pub fn new(choosing: Arc<Choosing>) -> Self {
        Self { choosing }
    }

    fn route<H, F>(&self, path: &'static str, caller: CallerType, handler: H) -> Route
    where
        H: Fn(Arc<Choosing>, Context, Request) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Answer>> + Send + 'static,
    {
        let choosing = Arc::clone(&self.choosing);
        let handle = move |context, request| handler(Arc::clone(&choosing), context, request);
        Route::new(Method::Post, path, caller, handle)
    }
}

impl Plugin for UsernamePassword {
    fn id(&self) -> &'static str {
        ID
    }

    fn migrations(&self) -> Vec<Migration> {
        vec![Migration {
            owner: ID,
            number: 1,
            name: "accounts",
            sql: include_str!("accounts.sql"),
            min_binary: 1,
        }]
    }

    fn tells(&self, human: UserId) -> Vec<Told> {
        vec![Told {
            kind: "name",
            members: &[("username", TellAs::Text), ("chosenAt", TellAs::Time)],
            query: Query::new(
                1,
                "SELECT username, chosen_at FROM username_password_account WHERE user_id = ?1",
            )
            .bind(human),
        }]
    }

    /// A name that is written in another form, or seems to look like another than it does, would be one beside itself.
    fn admit(&self, _: &Engine, row: &MovedRow<'_>) -> std::result::Result<(), String> {
        row.human("user_id")?;
        let text = row.text("username").unwrap_or_default();
        let name = Username::parse(text).map_err(|error| error.message().to_owned())?;
        if name.as_str() != text || Some(name.look().as_str()) != row.text("looks_like") {
            return Err("`username` is not in its one form, or does not look so".to_owned());
        }
        Ok(())
    }

    fn kinds(&self) -> Vec<&'static str> {
        vec![sign_up::KIND, sign_in::KIND, change::KIND]
    }

    fn routes(&self) -> Vec<Route> {
        let (sign_up, sign_in) = (
            CallerType::Door(Door::SignUp),
            CallerType::Door(Door::SignIn),
        );
        vec![
            self.route("/api/auth/sign-up/username", sign_up, sign_up::handle)
                .described(described("Sign up with a name and a password")),
            self.route("/api/auth/sign-in/username", sign_in, sign_in::handle)
                .described(described("Sign in with a name and a password")),
            self.route(
                "/api/auth/change-username",
                CallerType::Session,
                change::handle,
            )
            .described(described("Change the name that you sign in with")),
        ]
    }

    fn forgets(&self, human: UserId) -> Vec<Write> {
        vec![account::forget(human)]
    }
}

fn described(summary: &str) -> Value {
    json!({ "summary": summary })
}
