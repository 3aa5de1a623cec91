//! A name and a password, without any address.
//!
//! Promises: a name has one form, of few letters, and no two look alike ([`name`]); whether there is an account shows neither
//! in the answer nor in the work of a sign-in; guesses are paid for before they are looked at. That a name is taken shows at
//! sign-up, which is limited. Whoever forgets the password has no address to be helped at, so the human who runs the server
//! has to.

mod account;
mod change;
mod name;
mod sign_in;
mod sign_up;

use std::sync::Arc;
use std::time::Duration;

use kavachos_core::id::UserId;
use kavachos_engine::Result;
use kavachos_engine::plugin::{
    Allowance, Answer, CallerType, Context, Flood, Method, Plugin, Request, Route,
};
use kavachos_store::Write;
use kavachos_store::migration::Migration;
use serde_json::{Value, json};

use crate::password::{Breached, Passwords, Policy, Rules};

/// Its id, and the method that sessions name.
const ID: &str = "username_password";

/// Sign-ins of one source: 100 in ten minutes.
const SIGN_INS: CallerType = CallerType::Open(Flood {
    per_source: Allowance::new(100, Duration::from_secs(10 * 60)),
    overall: Allowance::new(100_000, Duration::from_secs(10 * 60)),
});
/// Sign-ups of one source: 30 in an hour.
const SIGN_UPS: CallerType = CallerType::Open(Flood {
    per_source: Allowance::new(30, Duration::from_secs(60 * 60)),
    overall: Allowance::new(10_000, Duration::from_secs(60 * 60)),
});

/// Sign-up and sign-in with a name and a password.
#[derive(Clone)]
pub struct UsernamePassword {
    rules: Rules,
}

impl UsernamePassword {
    /// Passwords have 15 characters at least and are looked up in the list of stolen ones.
    pub fn new(passwords: Passwords) -> Self {
        Self {
            rules: Rules::new(passwords),
        }
    }

    /// For development on one machine: passwords have 8 characters, and nothing is asked of others.
    pub fn development(passwords: Passwords) -> Self {
        Self {
            rules: Rules::development(passwords),
        }
    }

    /// Other rules for passwords.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.rules.policy = policy;
        self
    }

    /// Another list of stolen passwords, or none.
    #[must_use]
    pub fn breached(mut self, list: Option<Breached>) -> Self {
        self.rules.breached = list;
        self
    }

    fn route<H, F>(&self, path: &'static str, caller: CallerType, handler: H) -> Route
    where
        H: Fn(Arc<Rules>, Context, Request) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Answer>> + Send + 'static,
    {
        let rules = Arc::new(self.rules.clone());
        let handle = move |context, request| handler(Arc::clone(&rules), context, request);
        Route::new(Method::Post, path, caller, handle)
    }
}

impl Default for UsernamePassword {
    fn default() -> Self {
        Self::new(Passwords::default())
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
