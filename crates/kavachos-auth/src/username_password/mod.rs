//! A name and a password, without any address.
//!
//! Promises: a name has one form, of few letters, and no two look alike (`name`); whether there is an account shows neither
//! in the answer nor in the work of a sign-in; guesses are paid for before they are looked at. That a name is taken shows at
//! sign-up, which is limited. Whoever forgets the password has no address to be helped at, so the human who runs the server
//! has to.

mod account;
mod change;
mod name;
mod sign_in;
mod sign_up;

use std::sync::Arc;

use kavachos_core::id::UserId;
use kavachos_engine::Result;
use kavachos_engine::plugin::{Answer, CallerType, Context, Method, Plugin, Request, Route};
use kavachos_store::Write;
use kavachos_store::migration::Migration;
use serde_json::{Value, json};

use crate::limits::{SIGN_INS, SIGN_UPS};
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

    fn kinds(&self) -> Vec<&'static str> {
        vec![sign_up::KIND, sign_in::KIND, change::KIND]
    }

    fn routes(&self) -> Vec<Route> {
        vec![
            self.route("/api/auth/sign-up/username", SIGN_UPS, sign_up::handle)
                .described(described("Sign up with a name and a password")),
            self.route("/api/auth/sign-in/username", SIGN_INS, sign_in::handle)
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
