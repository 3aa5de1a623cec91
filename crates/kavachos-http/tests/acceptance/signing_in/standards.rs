//! What `docs/asvs.md` and `docs/sign-in-standards.md` ask for, and what is the same for every method.

use kavachos_auth::email_password::Verification;
use kavachos_auth::totp::Totp;
use kavachos_test::Reply;
use serde_json::{Value, json};

use super::scene::{ADA, OTHER, PASSWORD, Scene, token_of};
use crate::totp::code;

const BOB: &str = "bob@example.com";
const CODE_SENT: &str = "/api/auth/email-otp/send";
const CODE_TYPED: &str = "/api/auth/email-otp/verify";
const FORGOT: &str = "/api/auth/forgot-password";

/// Ways to prove one factor.
#[derive(Debug, Clone, Copy)]
enum Way {
    Password,
    Link,
    Code,
    /// Forgetting the password, and signing in with the new one.
    Reset,
}

impl Way {
    const ALL: [Self; 4] = [Self::Password, Self::Link, Self::Code, Self::Reset];

    /// What a session says that was opened by it.
    const fn method(self) -> &'static str {
        match self {
            Self::Password | Self::Reset => "email_password",
            Self::Link => "magic_link",
            Self::Code => "email_otp",
        }
    }

    /// What is answered to this human's proof.
    async fn prove(self, scene: &Scene, email: &str) -> Reply {
        let asked = json!({ "email": email });
        match self {
            Self::Password => scene.sign_in(email, PASSWORD).await,
            Self::Link => {
                let sent = scene.post("/api/auth/magic-link/send", asked).await;
                sent.expect(200);
                let token = link_to("magic-link", scene).await;
                let body = json!({ "token": token, "confirm": true });
                scene.post("/api/auth/magic-link/verify", body).await
            }
            Self::Code => {
                let (challenge, code) = code_for(scene, email).await;
                let body = json!({ "challenge": challenge, "code": code });
                scene.post(CODE_TYPED, body).await
            }
            Self::Reset => {
                scene.post(FORGOT, asked).await.expect(200);
                let token = link_to("reset-password", scene).await;
                let body = json!({ "token": token, "newPassword": OTHER });
                let reset = scene.post("/api/auth/reset-password", body).await;
                assert_eq!(reset.expect(200).at("/data/token"), &Value::Null);
                scene.sign_in(email, OTHER).await
            }
        }
    }
}

/// The next mail that has these words. Others tell people what happened.
pub(super) async fn mail_with(words: &str, scene: &Scene) -> String {
    loop {
        let text = scene.next_mail().await;
        if text.contains(words) {
            return text;
        }
    }
}

/// The token of the next link to this page that is mailed.
pub(super) async fn link_to(page: &str, scene: &Scene) -> String {
    let path = format!("/{page}?token=");
    let text = mail_with(&path, scene).await;
    let (_, rest) = text.split_once(&path).unwrap_or_default();
    rest.lines().next().unwrap_or_default().trim().to_owned()
}

/// The challenge, and the code that was mailed.
async fn code_for(scene: &Scene, email: &str) -> (String, String) {
    let asked = scene.post(CODE_SENT, json!({ "email": email })).await;
    let challenge = asked.expect(200).text_at("/data/challenge").to_owned();
    let text = mail_with("Type this code", scene).await;
    let mut words = text.split(|c: char| !c.is_ascii_digit());
    let code = words.find(|word| word.len() == 6).expect("six digits");
    (challenge, code.to_owned())
}

/// Somebody who signed up and verified their address: their session.
async fn account(scene: &Scene, email: &str) -> String {
    let mut browser = scene.browser();
    let body = json!({ "email": email, "password": PASSWORD });
    let asked = browser.post("/api/auth/sign-up/email", body).await;
    asked.expect(200);
    let body = json!({ "token": link_to("verify-email", scene).await });
    token_of(
        &browser
            .post("/api/auth/verify-email", body)
            .await
            .expect(200),
    )
}

/// Turns codes of an app on: the app's secret.
async fn armed(scene: &Scene, session: &str) -> String {
    let call = scene.app.call(session);
    let begun = call.post("/api/auth/totp/setup", json!({})).await;
    let secret = begun.expect(201).text_at("/data/secret").to_owned();
    let shown = json!({ "code": code(&scene.app, &secret, 0) });
    call.post("/api/auth/totp/enable", shown).await.expect(200);
    secret
}

/// ASVS 6.3.4, 6.4.3: no way in asks for less than another, and forgetting a password skips nothing.
#[tokio::test]
async fn whichever_way_one_factor_is_proved_the_second_one_is_asked_for() {
    let setup = crate::setup().with(|builder| builder.plugin(Totp::default()));
    let scene = Scene::of(setup, Verification::First).await;
    let secret = armed(&scene, &account(&scene, ADA).await).await;
    account(&scene, BOB).await;
    for way in Way::ALL {
        let first = way.prove(&scene, ADA).await.expect(200);
        assert_eq!(first.at("/data/token"), &Value::Null, "{way:?}");
        assert_eq!(first.at("/data/next"), "second_factor", "{way:?}");
        // Its step is used once, so each way has one of its own.
        scene.app.advance(30);
        let body = json!({
            "signIn": first.text_at("/data/signIn"), "code": code(&scene.app, &secret, 0),
        });
        let both = scene.post("/api/auth/totp/verify", body).await.expect(200);
        let own = scene
            .app
            .call(&token_of(&both))
            .get("/api/auth/session")
            .await;
        let method = format!("{}+totp", way.method());
        assert_eq!(own.expect(200).text_at("/data/session/method"), method);
        // The twin: somebody who has one factor.
        let open = way.prove(&scene, BOB).await.expect(200);
        assert!(open.at("/data/token").is_string(), "{way:?}: {open}");
    }
}

/// ASVS 6.4.1: what leads to an account is over after a day.
#[tokio::test]
async fn a_link_to_an_account_is_over_after_a_day() {
    const DAY: u64 = 24 * 60 * 60;
    for (seconds, status) in [(DAY - 1, 200), (DAY, 401)] {
        let scene = Scene::start().await;
        let mut browser = scene.browser();
        let body = json!({ "email": ADA, "password": PASSWORD });
        let asked = browser.post("/api/auth/sign-up/email", body).await;
        asked.expect(200);
        let body = json!({ "token": link_to("verify-email", &scene).await });
        scene.app.advance(seconds);
        let verified = browser.post("/api/auth/verify-email", body).await;
        verified.expect(status);
    }
}

/// RFC 9700, 4.11: a link leads to the configured address, whatever a request says of the host.
#[tokio::test]
async fn a_link_leads_to_the_public_address_whatever_the_request_says() {
    let scene = Scene::start().await;
    scene.ada().await;
    for (path, page) in [
        (FORGOT, "reset-password"),
        ("/api/auth/magic-link/send", "magic-link"),
    ] {
        let named = ["host", "x-forwarded-host", "forwarded"];
        let call = named.iter().fold(scene.app.anonymous(), |call, name| {
            call.header(name, "evil.example.com")
        });
        call.post(path, json!({ "email": ADA })).await.expect(200);
        let path = format!("/{page}?token=");
        let text = mail_with(&path, &scene).await;
        let link = format!("http://localhost:3000{path}");
        assert!(text.contains(&link), "{text}");
        assert!(!text.contains("evil"), "{text}");
    }
}

/// NIST SP 800-63B-4, 3.1.3.2: a new code does not begin the count of wrong ones anew.
#[tokio::test]
async fn wrong_codes_by_mail_are_counted_over_several_codes() {
    for (budget, last) in [(3, 429), (4, 401)] {
        let setup = crate::setup().settings(move |settings| settings.guesses_per_account = budget);
        let scene = Scene::of(setup, Verification::First).await;
        let mut statuses = Vec::new();
        for _ in 0..2 {
            let (challenge, code) = code_for(&scene, ADA).await;
            let wrong = if code == "000000" { "000001" } else { "000000" };
            let body = json!({ "challenge": challenge, "code": wrong });
            for _ in 0..2 {
                statuses.push(scene.post(CODE_TYPED, body.clone()).await.status);
            }
        }
        assert_eq!(statuses, [401, 401, 401, last], "{budget}");
    }
}
