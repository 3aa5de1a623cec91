//! A server with every method that needs mail, and the SMTP server that takes it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kavachos_auth::anonymous::Anonymous;
use kavachos_auth::email_otp::EmailOtp;
use kavachos_auth::email_password::{EmailPassword, Verification};
use kavachos_auth::magic_link::MagicLink;
use kavachos_auth::password::{Choosing, ConfirmByPassword, Passwords, Policy};
use kavachos_auth::password_reset::PasswordReset;
use kavachos_auth::session_freshness::{Confirm, SessionFreshness};
use kavachos_engine::plugin::Plugin;
use kavachos_test::{Call, Reply, Setup, TestApp, TestSmtp};
use serde_json::{Value, json};

pub(super) const ADA: &str = "ada@example.com";
pub(super) const PASSWORD: &str = "Vogelbeeren im Herbst";
pub(super) const OTHER: &str = "Schlehen nach dem Frost";

/// A server, its mail, and how its passwords are hashed.
pub(super) struct Scene {
    pub(super) app: TestApp,
    pub(super) smtp: Arc<TestSmtp>,
    pub(super) passwords: Passwords,
    /// How many mails were read.
    read: AtomicUsize,
}

impl Scene {
    /// Addresses are verified first.
    pub(super) async fn start() -> Self {
        Self::of(crate::setup(), Verification::First).await
    }

    pub(super) async fn of(setup: Setup, verification: Verification) -> Self {
        let smtp = Arc::new(TestSmtp::start().await);
        let passwords = Passwords::default();
        let choosing = Arc::new(Choosing {
            passwords: passwords.clone(),
            policy: Policy::new(),
            breached: None,
        });
        let plugins = plugins(&choosing, verification);
        let relay = Arc::clone(&smtp);
        let setup = setup.with(move |builder| {
            let mailer = relay.mailer();
            builder.plugins(plugins.clone()).mail(mailer)
        });
        let app = setup.start().await;
        Self {
            app,
            smtp,
            passwords,
            read: AtomicUsize::new(0),
        }
    }

    pub(super) async fn post(&self, path: &str, body: Value) -> Reply {
        self.app.anonymous().post(path, body).await
    }

    /// A browser that keeps what it is given.
    pub(super) fn browser(&self) -> Browser<'_> {
        Browser {
            app: &self.app,
            cookies: Vec::new(),
        }
    }

    /// Ada, who signed up, verified her address and is signed in: her token.
    pub(super) async fn ada(&self) -> String {
        let mut browser = self.browser();
        let asked = json!({ "email": ADA, "password": PASSWORD, "name": "Ada" });
        let asked = browser.post("/api/auth/sign-up/email", asked).await;
        asked.expect(200);
        let token = self.mailed_token().await;
        let verified = browser.post("/api/auth/verify-email", json!({ "token": token }));
        token_of(&verified.await.expect(200))
    }

    /// The token of the link in the next mail.
    pub(super) async fn mailed_token(&self) -> String {
        let text = self.next_mail().await;
        let (_, link) = text.split_once("token=").expect("a mail with a link");
        let end = |c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_';
        link.split(end).next().unwrap_or_default().to_owned()
    }

    /// What the next mail says, once it was delivered.
    pub(super) async fn next_mail(&self) -> String {
        let read = self.read.fetch_add(1, Ordering::Relaxed);
        self.smtp.expect(read + 1).await[read].text()
    }

    pub(super) async fn sign_in(&self, email: &str, password: &str) -> Reply {
        let body = json!({ "email": email, "password": password });
        self.post("/api/auth/sign-in/email", body).await
    }
}

fn plugins(choosing: &Arc<Choosing>, verification: Verification) -> Vec<Arc<dyn Plugin>> {
    let ways: [Arc<dyn Confirm>; 1] = [Arc::new(ConfirmByPassword(Arc::clone(choosing)))];
    vec![
        Arc::new(EmailPassword::new(Arc::clone(choosing), verification)),
        Arc::new(MagicLink::default()),
        Arc::new(EmailOtp::default()),
        Arc::new(PasswordReset::new(Arc::clone(choosing))),
        Arc::new(SessionFreshness::new(ways)),
        Arc::new(Anonymous::new(Arc::clone(choosing), verification)),
    ]
}

/// A browser on a page of the server: it keeps cookies, and says where it calls from.
pub(super) struct Browser<'a> {
    app: &'a TestApp,
    cookies: Vec<(String, String)>,
}

impl Browser<'_> {
    pub(super) fn call(&self) -> Call {
        let jar: Vec<String> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let call = self.app.anonymous().header("sec-fetch-site", "same-origin");
        match jar.is_empty() {
            true => call,
            false => call.header("cookie", &jar.join("; ")),
        }
    }

    pub(super) async fn post(&mut self, path: &str, body: Value) -> Reply {
        let reply = self.call().post(path, body).await;
        self.keep(&reply);
        reply
    }

    /// The same, with the session in a cookie.
    pub(super) async fn post_for_cookie(&mut self, path: &str, body: Value) -> Reply {
        let reply = self
            .call()
            .header("kavach-session", "cookie")
            .post(path, body)
            .await;
        self.keep(&reply);
        reply
    }

    pub(super) async fn get(&self, path: &str) -> Reply {
        self.call().get(path).await
    }

    pub(super) fn cookie(&self, name: &str) -> Option<&str> {
        let mut cookies = self.cookies.iter();
        cookies
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    fn keep(&mut self, reply: &Reply) {
        for value in reply.headers.get_all("set-cookie") {
            let text = value.to_str().expect("a cookie is text");
            let (pair, rest) = text.split_once(';').expect("a cookie has attributes");
            let (name, value) = pair.split_once('=').expect("a cookie has a name");
            self.cookies.retain(|(known, _)| known != name);
            if !rest.contains("Max-Age=0") {
                self.cookies.push((name.to_owned(), value.to_owned()));
            }
        }
    }
}

pub(super) fn token_of(reply: &Reply) -> String {
    reply.text_at("/data/token").to_owned()
}
