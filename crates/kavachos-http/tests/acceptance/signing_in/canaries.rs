//! Passwords, tokens, links and codes stand nowhere but in the one answer, or the one mail, that hands them out: not in the
//! log at any level, in another answer or its headers, in the metrics, in a header of a mail, in a webhook, in a record, or
//! in the database, however they are written down.

use std::time::Duration;

use http::Method;
use kavachos_core::id_token::TokenKind;
use kavachos_test::{Delivered, ProviderSigner, Receiver, TestProvider};
use serde_json::{Map, Value, json};

use super::canary_flows::{ADA, CANARY, FIRST, Flows, NAME};
use super::scene::Scene;
use super::search::Seen;
use super::tab::Watched;
use crate::id_tokens::{believing, header, seconds, terms};
use crate::mail::Log;
use crate::provider_sign_in::kind;

/// What is sent to a route: its path, and its members.
type Sent = (&'static str, &'static [&'static str]);

/// Every route that takes something, with what it takes. Names that people choose for themselves are left out: they are
/// kept and shown on purpose.
const ROUTES: [Sent; 22] = [
    ("sign-up/email", &["email", "password"]),
    ("sign-in/email", &["email", "password"]),
    ("verify-email", &["token", "password"]),
    ("verify-email/send", &[]),
    ("change-password", &["currentPassword", "newPassword"]),
    ("magic-link/send", &["email"]),
    ("magic-link/verify", &["token"]),
    ("email-otp/send", &["email"]),
    ("email-otp/verify", &["challenge", "code"]),
    ("forgot-password", &["email"]),
    ("reset-password", &["token", "newPassword"]),
    ("anonymous", &[]),
    ("anonymous/upgrade", &["email", "password"]),
    ("anonymous/upgrade/verify", &["token"]),
    ("re-authenticate", &["method", "password"]),
    ("sign-in/username", &["username", "password"]),
    ("passkey/authenticate/verify", &["credential"]),
    ("totp/verify", &["signIn", "code"]),
    ("totp/enable", &["code"]),
    ("totp/disable", &["code"]),
    ("sign-in/provider", &["token", "provider", "nonce"]),
    ("link/provider", &["token", "provider", "nonce"]),
];

/// Canaries where something else belongs.
impl Flows<'_> {
    async fn misplaced(&self, secret: &str, token: &str) {
        for (number, (route, members)) in ROUTES.into_iter().enumerate() {
            let path = format!("/api/auth/{route}");
            let mut stranger = self.watched.tab();
            let mut human = self.watched.program(token);
            for member in members {
                let mut body: Map<String, Value> = Map::new();
                for other in members {
                    body.insert((*other).to_owned(), usual(other).into());
                }
                body.insert((*member).to_owned(), secret.into());
                stranger.post(&path, body.clone().into()).await;
                if human_may(route) {
                    human.post(&path, body.clone().into()).await;
                }
                for wrong in [json!([secret]), json!({ "value": secret })] {
                    body.insert((*member).to_owned(), wrong);
                    stranger.post(&path, body.clone().into()).await;
                }
            }
            // All routes read bodies in one place: each gets another one of those that are none.
            let mut bodies = bodies(secret);
            let body = bodies.swap_remove((number + secret.len()) % bodies.len());
            let json = ("content-type", "application/json");
            let form = ("content-type", "application/x-www-form-urlencoded");
            for kind in [json, form] {
                let post = (Method::POST, path.as_str());
                stranger.send(post.clone(), kind, Some(body.clone())).await;
                human.send(post, kind, Some(body.clone())).await;
            }
            let asked = format!("{path}?token={}", escaped(secret));
            stranger.post(&asked, json!({})).await;
        }
        self.in_headers(secret).await;
        self.in_addresses(secret, token).await;
        self.as_names(secret, token).await;
    }

    async fn in_headers(&self, secret: &str) {
        for (name, value) in [
            ("authorization", format!("Bearer {secret}")),
            ("authorization", format!("Bearer {secret}x")),
            ("authorization", format!("Basic {secret}")),
            ("authorization", secret.to_owned()),
            ("cookie", format!("__Host-kavach_session={secret}x")),
            ("cookie", format!("__Host-kavach_device={secret}")),
            ("cookie", format!("{secret}={secret}")),
            ("idempotency-key", secret.to_owned()),
            ("origin", format!("https://{secret}")),
            ("kavach-session", secret.to_owned()),
            ("x-forwarded-for", secret.to_owned()),
            ("referer", format!("https://localhost/{secret}")),
        ] {
            for (method, path) in [
                (Method::GET, "/api/auth/session"),
                (Method::GET, "/account"),
                (Method::POST, "/api/auth/sign-in/email"),
            ] {
                let body = (method == Method::POST).then(|| b"{}".to_vec());
                let mut tab = self.watched.tab();
                tab.send((method, path), (name, &value), body).await;
            }
        }
    }

    async fn in_addresses(&self, secret: &str, token: &str) {
        let mut human = self.watched.program(token);
        let mut operator = self.watched.program(self.watched.app.operator_key());
        let escaped = escaped(secret);
        for path in [
            "/{}",
            "/api/auth/{}",
            "/api/auth/session?token={}",
            "/api/auth/sessions?cursor={}",
            "/api/v1/audit?kind={}",
            "/api/v1/users?q={}",
            "/api/v1/users?email={}",
            "/sign-in?token={}&done={}",
            "/sign-in/second-factor?code={}",
        ] {
            let path = path.replace("{}", &escaped);
            human.get(&path).await;
            operator.get(&path).await;
            self.watched.tab().open(&path).await;
        }
        let mut human = human.told(secret);
        let mut operator = operator.told(secret);
        for path in [
            "/api/auth/session?{}=1",
            "/api/auth/passkey/credentials/{}",
            "/api/v1/agents/{}",
            "/api/v1/users/{}",
        ] {
            let path = path.replace("{}", &escaped);
            human.get(&path).await;
            operator.get(&path).await;
        }
        let session = format!("/api/auth/sessions/{escaped}");
        human.bare(Method::DELETE, &session).await;
    }

    async fn as_names(&self, secret: &str, token: &str) {
        for path in [
            "/api/auth/sign-in/email",
            "/api/auth/re-authenticate",
            "/api/auth/totp/enable",
        ] {
            for body in [
                json!({ secret: 1 }),
                json!({ "email": ADA, secret: secret }),
            ] {
                self.watched
                    .tab()
                    .told(secret)
                    .post(path, body.clone())
                    .await;
                let mut human = self.watched.program(token).told(secret);
                human.post(path, body).await;
            }
        }
        for page in ["/sign-in", "/sign-in/link", "/forgot-password", "/sign-up"] {
            let mut tab = self.watched.tab();
            let fields = [("email", secret), ("password", secret)];
            tab.form(page, page, &fields).await;
            let mut tab = self.watched.tab().told(secret);
            tab.form(page, page, &[(secret, secret), (secret, secret)])
                .await;
        }
    }
}

/// A member as it might be, so that it is the other one that is refused.
fn usual(member: &str) -> &'static str {
    match member {
        "email" => ADA,
        "username" => "eva.kay",
        "method" => "password",
        "code" => "000000",
        "provider" => "clerk",
        _ => "nothing that there is at all",
    }
}

/// Whether a human's session is to call this route: not where it would set the canary as their password.
fn human_may(route: &str) -> bool {
    !["sign-up/email", "sign-in/email"].contains(&route)
}

/// Bodies that are none.
fn bodies(secret: &str) -> Vec<Vec<u8>> {
    let quoted = Value::from(secret).to_string();
    vec![
        format!("{{\"email\": {quoted}").into_bytes(),
        format!("{{\"password\": {quoted}, }}").into_bytes(),
        format!("{{\"email\": \"a\", \"password\": {quoted}, \"password\": {quoted}}}")
            .into_bytes(),
        format!("[{quoted}]").into_bytes(),
        quoted.into_bytes(),
        secret.as_bytes().to_vec(),
        [secret.as_bytes(), b"\xff"].concat(),
    ]
}

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn header_of(mail: &Delivered) -> String {
    let head = mail.headers().join("\n");
    format!("{head}\n{} {:?}", mail.from, mail.to)
}

/// Everything besides answers in which something could stand.
async fn note_places(scene: &Scene, (receiver, log): (&Receiver, &Log), seen: &Seen) {
    for mail in scene.smtp.mails() {
        seen.note("a header of a mail", header_of(&mail));
    }
    for message in receiver.messages() {
        seen.note("a webhook", message.raw);
    }
    for (place, bytes) in scene.app.at_rest() {
        seen.note(format!("the database: {place}"), bytes);
    }
    let metrics = scene.app.operator().get("/metrics").await.expect(200);
    seen.note("the metrics", metrics.text);
    seen.note("the log", log.text());
}

/// The twins: what does stand in each of these places is found there, and what stands nowhere is not.
fn assert_found(seen: &Seen) {
    let twins = [
        (NAME, "the database"),
        (NAME, "answer 200 of /api/auth/export"),
        (ADA, "a header of a mail"),
        ("email_password.signed_in", "a webhook"),
        ("email_password.signed_in", "the database"),
        ("kavach_http_responses", "the metrics"),
        ("the log is heard", "the log"),
        ("Zaunkoenig", "nowhere"),
    ];
    let texts = twins.map(|(text, _)| text);
    for ((text, place), places) in twins.into_iter().zip(seen.places_with(&texts)) {
        let stands = places.iter().any(|found| found.starts_with(place));
        assert!(
            stands || (places.is_empty() && place == "nowhere"),
            "{text} in {place}"
        );
    }
}

#[tokio::test]
async fn no_canary_stands_anywhere_but_where_it_is_handed_out() {
    let log = Log::of_all();
    let provider = TestProvider::start("").await;
    let mut believed = terms("clerk", &provider);
    believed.sign_in = vec![kind(TokenKind::Identity, &[], &[])];
    believed.session_life = Some(Duration::from_secs(3_600));
    let scene = Scene::of_all(believing(vec![believed]).lasting(), None).await;
    let (receiver, seen) = (Receiver::start().await, Seen::default());
    let hook = json!({ "url": receiver.url(), "kinds": ["*"], "denials": true });
    let hook = scene
        .app
        .operator()
        .post("/api/v1/webhooks", hook)
        .await
        .expect(201);
    let watched = Watched::new(&scene.app, &seen);
    let flows = Flows {
        scene: &scene,
        watched: &watched,
    };
    seen.hide("password", CANARY);
    tracing::trace!(said = "the log is heard");
    let token = flows.all().await;
    flows.on_pages().await;
    let now = seconds(&scene.app);
    let claims = json!({ "iss": provider.issuer(), "sub": "user_1", "aud": "app", "iat": now - 1, "exp": now + 120 });
    let signer = ProviderSigner::Rsa;
    let foreign = signer.token(&header(signer), &claims);
    flows.provider(&foreign).await;

    for secret in one_of_each(&seen) {
        flows.misplaced(&secret, &token).await;
    }
    for secret in [FIRST, CANARY] {
        flows.misplaced(secret, &token).await;
    }
    let webhook = format!("/api/v1/webhooks/{}", hook.id());
    watched
        .program(scene.app.operator_key())
        .get(&webhook)
        .await;
    note_places(&scene, (&receiver, &log), &seen).await;

    assert_found(&seen);
    let kinds = seen.canaries();
    assert!(kinds.len() > 60, "{}", kinds.len());
    let found = seen.found();
    assert!(
        found.is_empty(),
        "{} times:\n{}",
        found.len(),
        found.join("\n")
    );
}

/// The last canary of each kind: the newest is the likeliest to be good still.
fn one_of_each(seen: &Seen) -> Vec<String> {
    let mut kinds: Vec<(String, String)> = Vec::new();
    for (what, text) in seen.canaries() {
        kinds.retain(|(known, _)| *known != what);
        kinds.push((what, text));
    }
    kinds.into_iter().map(|(_, text)| text).collect()
}
