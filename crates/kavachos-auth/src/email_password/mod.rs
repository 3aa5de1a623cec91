//! E-mail address and password.
//!
//! Promises: what is answered, and how much work that takes, does not tell whether there is an account; guesses are paid
//! for before they are looked at; a password that leaks elsewhere is found out when it is chosen. Where addresses must be
//! verified there is no account before: what is signed up is kept apart, each with its own password, until somebody opens
//! the link and shows that they chose that password.

mod change;
mod sign_in;
mod sign_up;
mod verify;

use std::sync::Arc;
use std::time::Duration;

use kavachos_core::id::UserId;
use kavachos_engine::Door;
use kavachos_engine::plugin::{
    CallerType, Context, Method, Plugin, Request, Route, Sweep, TellAs, Told,
};
use kavachos_store::migration::Migration;
use kavachos_store::{Query, Write};
use serde_json::json;

use crate::password::Choosing;

/// Its id, and the method that sessions name.
pub(crate) const ID: &str = "email_password";
/// The cookie of the browser that asked for a link.
const BROWSER: &str = "email_password";
/// How long a link to verify an address is good.
const LINK_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// Whether an address must be verified before there is an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verification {
    /// It must.
    First,
    /// It may be, later: for development.
    Later,
}

/// Sign-up and sign-in with e-mail address and password.
#[derive(Clone)]
pub struct EmailPassword {
    inner: Arc<Inner>,
}

struct Inner {
    choosing: Arc<Choosing>,
    verification: Verification,
}

impl EmailPassword {
    /// Passwords are chosen by these rules; addresses are verified first, or later.
    pub fn new(choosing: Arc<Choosing>, verification: Verification) -> Self {
        Self {
            inner: Arc::new(Inner {
                choosing,
                verification,
            }),
        }
    }

    fn route<H, F>(&self, path: &'static str, caller: CallerType, handler: H) -> Route
    where
        H: Fn(Arc<Inner>, Context, Request) -> F + Send + Sync + 'static,
        F: Future<Output = kavachos_engine::Result<kavachos_engine::plugin::Answer>>
            + Send
            + 'static,
    {
        let inner = Arc::clone(&self.inner);
        let handle = move |context, request| handler(Arc::clone(&inner), context, request);
        Route::new(Method::Post, path, caller, handle)
    }
}

impl Plugin for EmailPassword {
    fn id(&self) -> &'static str {
        ID
    }

    fn migrations(&self) -> Vec<Migration> {
        vec![Migration {
            owner: ID,
            number: 1,
            name: "links",
            sql: include_str!("links.sql"),
            min_binary: 1,
        }]
    }

    fn forgets_address(&self, email: &str) -> Vec<Write> {
        vec![Write::any("DELETE FROM email_password_link WHERE email = ?1").bind(email.to_owned())]
    }

    fn tells(&self, human: UserId) -> Vec<Told> {
        vec![Told {
            kind: "link",
            members: &[("email", TellAs::Text), ("name", TellAs::Text), ("expiresAt", TellAs::Time)],
            query: Query::new(100, "SELECT email, name, expires_at FROM email_password_link WHERE user_id = ?1 LIMIT 100").bind(human),
        }]
    }

    fn passing(&self) -> Vec<&'static str> {
        vec!["email_password_link"]
    }

    fn sweeps(&self) -> Vec<Sweep> {
        vec![Sweep::ended("email_password_link", "hash", "expires_at")]
    }

    fn kinds(&self) -> Vec<&'static str> {
        vec![
            sign_up::KIND,
            sign_in::KIND,
            verify::SENT,
            verify::KIND,
            change::KIND,
        ]
    }

    fn routes(&self) -> Vec<Route> {
        let (sign_up, sign_in) = (
            CallerType::Door(Door::SignUp),
            CallerType::Door(Door::SignIn),
        );
        vec![
            self.route("/api/auth/sign-up/email", sign_up, sign_up::handle)
                .described(json!({ "summary": "Sign up with an e-mail address and a password" })),
            self.route("/api/auth/sign-in/email", sign_in, sign_in::handle)
                .described(json!({ "summary": "Sign in with an e-mail address and a password" })),
            self.route("/api/auth/verify-email", sign_in, verify::handle)
                .described(json!({ "summary": "Show that you read mail sent to an address" })),
            self.route(
                "/api/auth/verify-email/send",
                CallerType::Session,
                verify::send,
            )
            .described(json!({ "summary": "Get a link that verifies your address" })),
            self.route(
                "/api/auth/change-password",
                CallerType::Session,
                change::handle,
            )
            .described(json!({ "summary": "Change your password" })),
        ]
    }

    fn forgets(&self, human: UserId) -> Vec<Write> {
        let own = "DELETE FROM email_password_link WHERE user_id = ?1";
        vec![Write::any(own).bind(human)]
    }
}
