//! A server with methods of signing in, and the SMTP server that takes its mail.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kavachos_auth::anonymous::Anonymous;
use kavachos_auth::change_email::ChangeEmail;
use kavachos_auth::email_otp::EmailOtp;
use kavachos_auth::email_password::{EmailPassword, Verification};
use kavachos_auth::magic_link::MagicLink;
use kavachos_auth::passkey::Passkey;
use kavachos_auth::password::{Breached, Choosing, ConfirmByPassword, Passwords, Policy};
use kavachos_auth::password_reset::PasswordReset;
use kavachos_auth::provider::ProviderSignIn;
use kavachos_auth::session_freshness::{Confirm, SessionFreshness};
use kavachos_auth::totp::Totp;
use kavachos_auth::username_password::UsernamePassword;
use kavachos_engine::plugin::Plugin;
use kavachos_test::{Call, Delivered, Reply, Setup, TestApp, TestSmtp};
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
    /// How many of those about sign-ins elsewhere.
    noticed: AtomicUsize,
}

fn is_notice(subject: &str) -> bool {
    subject.starts_with("New sign-in")
}

impl Scene {
    /// Addresses are verified first.
    pub(super) async fn start() -> Self {
        Self::of(crate::setup(), Verification::First).await
    }

    /// With the methods that need mail.
    pub(super) async fn of(setup: Setup, verification: Verification) -> Self {
        Self::with(setup, None, |choosing| plugins(choosing, verification)).await
    }

    /// With every method. Passwords that are chosen are looked up in this list of stolen ones.
    pub(super) async fn of_all(setup: Setup, stolen: Option<Breached>) -> Self {
        Self::with(setup, stolen, every_method).await
    }

    /// With these methods.
    pub(super) async fn with(
        setup: Setup,
        stolen: Option<Breached>,
        plugins: impl Fn(&Arc<Choosing>) -> Vec<Arc<dyn Plugin>>,
    ) -> Self {
        let smtp = Arc::new(TestSmtp::start().await);
        let passwords = Passwords::default();
        let choosing = Arc::new(Choosing {
            passwords: passwords.clone(),
            policy: Policy::new(),
            breached: stolen,
        });
        let plugins = plugins(&choosing);
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
            noticed: AtomicUsize::new(0),
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

    /// What the next mail says, once it was delivered; mails about sign-ins elsewhere are apart.
    pub(super) async fn next_mail(&self) -> String {
        let read = self.read.fetch_add(1, Ordering::Relaxed);
        self.mail(read, |subject| !is_notice(subject)).await
    }

    /// What the next mail about a sign-in elsewhere says.
    pub(super) async fn next_notice(&self) -> String {
        let read = self.noticed.fetch_add(1, Ordering::Relaxed);
        self.mail(read, is_notice).await
    }

    /// How many mails about sign-ins elsewhere were delivered.
    pub(super) fn notices(&self) -> usize {
        let mails = self.smtp.mails();
        let subjects = mails.iter().filter_map(|mail| mail.header("subject"));
        subjects.filter(|subject| is_notice(subject)).count()
    }

    async fn mail(&self, place: usize, of: impl Fn(&str) -> bool) -> String {
        let mut mails = self.smtp.mails();
        loop {
            let is_one = |mail: &&Delivered| of(&mail.header("subject").unwrap_or_default());
            if let Some(mail) = mails.iter().filter(is_one).nth(place) {
                return mail.text();
            }
            mails = self.smtp.expect(mails.len() + 1).await;
        }
    }

    /// What is found in a mail to this address, once there is one that has it; of several in the newest. So many mails of
    /// before are not looked at.
    pub(super) async fn mailed(
        &self,
        (email, before): (&str, usize),
        find: fn(&str) -> Option<String>,
    ) -> String {
        let mut count = before + 1;
        loop {
            let mails = self.smtp.expect(count).await;
            let to_them = mails.iter().skip(before).rev();
            let to_them = to_them.filter(|mail| {
                mail.to == [email] && !is_notice(&mail.header("subject").unwrap_or_default())
            });
            if let Some(found) = to_them.map(|mail| mail.text()).find_map(|text| find(&text)) {
                return found;
            }
            count = mails.len() + 1;
        }
    }

    /// Somebody with an account of this address, signed in: their token.
    pub(super) async fn account(&self, email: &str) -> String {
        let mut browser = self.browser();
        let body = json!({ "email": email, "password": PASSWORD });
        let asked = browser.post("/api/auth/sign-up/email", body).await;
        asked.expect(200);
        let link = self.mailed((email, 0), link_in).await;
        let verified = browser.post("/api/auth/verify-email", json!({ "token": link }));
        token_of(&verified.await.expect(200))
    }

    pub(super) async fn sign_in(&self, email: &str, password: &str) -> Reply {
        let body = json!({ "email": email, "password": password });
        self.post("/api/auth/sign-in/email", body).await
    }
}

/// The token of the link in a mail.
pub(super) fn link_in(text: &str) -> Option<String> {
    let (_, link) = text.split_once("token=")?;
    let end = |c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_';
    link.split(end).next().map(str::to_owned)
}

/// The code in a mail.
pub(super) fn code_in(text: &str) -> Option<String> {
    let mut words = text.split(|c: char| !c.is_ascii_alphanumeric());
    let is_code = |word: &&str| word.len() == 6 && word.bytes().all(|byte| byte.is_ascii_digit());
    words.find(is_code).map(str::to_owned)
}

/// Every method, as a server has them on which all are switched on.
pub(super) fn every_method(choosing: &Arc<Choosing>) -> Vec<Arc<dyn Plugin>> {
    let mut all = plugins(choosing, Verification::First);
    all.push(Arc::new(UsernamePassword::new(Arc::clone(choosing))));
    all.push(Arc::new(Totp::default()));
    all.push(Arc::new(Passkey::default()));
    all.push(Arc::new(ProviderSignIn));
    all
}

fn plugins(choosing: &Arc<Choosing>, verification: Verification) -> Vec<Arc<dyn Plugin>> {
    let ways: [Arc<dyn Confirm>; 1] = [Arc::new(ConfirmByPassword(Arc::clone(choosing)))];
    vec![
        Arc::new(EmailPassword::new(Arc::clone(choosing), verification)),
        Arc::new(MagicLink),
        Arc::new(EmailOtp),
        Arc::new(PasswordReset::new(Arc::clone(choosing))),
        Arc::new(SessionFreshness::new(ways)),
        Arc::new(Anonymous::new(Arc::clone(choosing), verification)),
        Arc::new(ChangeEmail::default()),
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
