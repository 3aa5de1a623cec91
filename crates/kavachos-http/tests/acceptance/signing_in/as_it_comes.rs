//! What `docs/asvs.md` and `docs/sign-in-standards.md` say of a server as it comes: its limits, its pages, its passwords.

use serde_json::{Value, json};

use super::scene::{ADA, OTHER, PASSWORD, Scene, token_of};
use super::standards::{link_to, mail_with};
use crate::browser::Browser;

const DAY: u64 = 24 * 60 * 60;
const SESSION: &str = "/api/auth/session";

/// How often one network gets an answer at a route, before it has to wait.
async fn let_in(scene: &Scene, (path, body): (&str, &Value), from: &str) -> usize {
    const MANY: usize = 1_000;
    for times in 0..MANY {
        let call = scene.app.anonymous().from(from);
        if call.post(path, body.clone()).await.status == 429 {
            return times;
        }
    }
    MANY
}

/// ASVS 6.1.1, 6.3.1: the limits of networks are those that the page tells.
#[tokio::test]
async fn a_network_comes_as_often_as_the_documentation_says() {
    let scene = Scene::start().await;
    let none = json!({ "token": "none", "confirm": true });
    for (path, body, times) in [
        ("/api/auth/magic-link/verify", &none, 100),
        ("/api/auth/anonymous", &json!({}), 30),
    ] {
        for network in ["127.1.1", "127.1.2"] {
            // Two addresses of one network share what it has.
            let first = let_in(&scene, (path, body), &format!("{network}.1")).await;
            assert_eq!(first, times, "{path} from {network}");
            let second = let_in(&scene, (path, body), &format!("{network}.2")).await;
            assert_eq!(second, 0, "{path} from {network}");
        }
    }
}

/// ASVS 6.3.2: there are no accounts that nobody made.
#[tokio::test]
async fn there_is_no_human_before_somebody_makes_one() {
    let app = crate::start().await;
    let operator = app.operator();
    for humans in 0..2 {
        let users = operator.get("/api/v1/users").await.expect(200);
        assert_eq!(users.rows().len(), humans);
        app.user().await;
    }
}

/// ASVS 6.2.10: nothing ends a password but its human, or somebody who says that it leaked.
#[tokio::test]
async fn a_password_does_not_end_by_its_age() {
    let scene = Scene::start().await;
    let session = scene.ada().await;
    scene.app.advance(10 * 365 * DAY);
    scene.sign_in(ADA, PASSWORD).await.expect(200);
    // The twin: a session does.
    let old = scene.app.call(&session).get(SESSION).await;
    old.refused(401, "unauthenticated");
}

/// NIST SP 800-63B-4, 4.2.3: whoever gets an account back by mail is told so.
#[tokio::test]
async fn a_reset_is_told_by_mail() {
    let scene = Scene::start().await;
    scene.ada().await;
    let asked = json!({ "email": ADA });
    let asked = scene.post("/api/auth/forgot-password", asked).await;
    asked.expect(200);
    let token = link_to("reset-password", &scene).await;
    let body = json!({ "token": token, "newPassword": OTHER });
    let reset = scene.post("/api/auth/reset-password", body).await;
    reset.expect(200);
    mail_with("was changed", &scene).await;
}

/// ASVS 6.2.6, 6.2.7: what is typed is masked, and nothing keeps a password manager out.
#[tokio::test]
async fn password_fields_are_masked_and_left_to_managers() {
    let scene = Scene::start().await;
    let session = scene.ada().await;
    let (stranger, ada) = (
        Browser::stranger(&scene.app),
        Browser::of(&scene.app, &session),
    );
    for (browser, path, which) in [
        (&stranger, "/sign-in", "current-password"),
        (&stranger, "/sign-up", "new-password"),
        (&ada, "/account/security", "new-password"),
        (&ada, "/account/security", "current-password"),
        (&ada, "/re-authenticate", "current-password"),
    ] {
        let page = browser.open(path).await.expect(200);
        let field = format!("type=\"password\" value=\"\" autocomplete=\"{which}\"");
        assert!(page.text.contains(&field), "{path}: {page}");
        let fields = page.text.matches("assword\" type=").count();
        let masked = page.text.matches("type=\"password\"").count();
        assert_eq!(fields, masked, "{path}");
        assert!(!page.text.contains("onpaste"), "{path}");
    }
}

/// ASVS 7.4.4: whoever is signed in sees how to sign out, wherever they are.
#[tokio::test]
async fn signing_out_is_on_every_page_of_an_account() {
    let scene = Scene::start().await;
    let ada = Browser::of(&scene.app, &scene.ada().await);
    for path in [
        "/account",
        "/account/agents",
        "/account/agents/new",
        "/account/connections",
        "/account/approvals",
        "/account/activity",
        "/account/sessions",
        "/account/security",
    ] {
        let page = ada.open(path).await.expect(200);
        let form = "<form method=\"post\" action=\"/account/sign-out\">";
        assert_eq!(page.text.matches(form).count(), 1, "{path}");
    }
}

/// NIST SP 800-63B-4, 5.2: use begins the idle time anew, and so does a proof.
#[tokio::test]
async fn use_and_a_proof_begin_the_idle_time_anew() {
    let scene = Scene::start().await;
    let session = scene.ada().await;
    let status = async |session: &str| scene.app.call(session).get(SESSION).await.status;
    scene.app.advance(6 * DAY);
    assert_eq!(status(&session).await, 200);
    scene.app.advance(6 * DAY);
    let proof = json!({ "method": "password", "password": PASSWORD });
    let call = scene.app.call(&session);
    let again = call.post("/api/auth/re-authenticate", proof).await;
    let again = token_of(&again.expect(200));
    scene.app.advance(6 * DAY);
    assert_eq!(status(&again).await, 200);
    // The twin: without either it is over.
    scene.app.advance(7 * DAY);
    assert_eq!(status(&again).await, 401);
}
