//! The page of sign-in and security: another address, an account elsewhere that is unlinked, and signing out elsewhere where
//! a way in came or went.

use kavachos_auth::email_password::Verification;
use kavachos_test::Reply;
use serde_json::json;

use super::providers::{Provided, provided};
use super::scene::{ADA, PASSWORD, Scene, link_in, token_of};
use crate::authenticator::{Authenticator, How};
use crate::browser::{Browser, mark};
use crate::passkey::KEEP;
use crate::totp;

const PAGE: &str = "/account/security";
const EMAIL: &str = "/account/security/email";
const CHANGE: &str = "/account/security/password";
const UNLINK: &str = "/account/security/provider/unlink";
const OTHERS: &str = "action=\"/account/sessions/others\"";
const NEW: &str = "countess@example.com";

#[tokio::test]
async fn another_address_is_asked_for_on_the_page_and_taken_by_its_link() {
    let scene = Scene::start().await;
    let session = scene.ada().await;
    let browser = Browser::of(&scene.app, &session);
    let page = browser.open(PAGE).await.expect(200);
    assert!(
        page.text.contains("Email address") && page.text.contains(ADA),
        "{page}"
    );
    // What is wrong stands beside the field, with what was typed.
    let wrong = [("newEmail", "countess")];
    let wrong = browser.send(PAGE, EMAIL, &wrong).await.expect(400);
    assert!(wrong.text.contains("id=\"newEmail-error\""), "{wrong}");
    assert!(wrong.text.contains("value=\"countess\""), "{wrong}");
    let before = scene.smtp.mails().len();
    let sent = [("newEmail", NEW)];
    let sent = browser.send(PAGE, EMAIL, &sent).await.expect(303);
    assert_eq!(sent.header("location"), "/account/security?done=mail_sent");
    let told = browser.open(sent.header("location")).await.expect(200);
    assert!(told.text.contains("A mail is on its way"), "{told}");
    let link = scene.mailed((NEW, before), link_in).await;
    let page = format!("/change-email?token={link}");
    let fields = [("token", link.as_str())];
    let taken = browser.send(&page, "/change-email", &fields).await;
    taken.expect(303);
    scene.sign_in(NEW, PASSWORD).await.expect(200);
}

#[tokio::test]
async fn a_form_for_an_address_asks_first_who_it_is_after_a_while() {
    let scene = Scene::start().await;
    let session = scene.ada().await;
    let browser = Browser::of(&scene.app, &session);
    let mark = mark(&browser.open(PAGE).await.expect(200));
    scene.app.advance(600);
    let fields = [("newEmail", NEW)];
    let first = browser.send_with(&mark, EMAIL, &fields).await.expect(303);
    assert!(
        first.header("location").starts_with("/re-authenticate"),
        "{first}"
    );
    assert_eq!(scene.app.audit("kind=change_email.asked").await.len(), 0);
    let unmarked = browser.send_with("none", EMAIL, &fields).await;
    assert_eq!(unmarked.status, 403, "{unmarked}");
}

#[tokio::test]
async fn who_has_no_address_is_offered_no_other_one() {
    let scene = Scene::start().await;
    let guest = scene.post("/api/auth/anonymous", json!({})).await;
    let guest = token_of(&guest.expect(200));
    let page = Browser::of(&scene.app, &guest).open(PAGE).await.expect(200);
    assert!(!page.text.contains("newEmail"), "{page}");
    // Nor a password: it would let nobody in.
    assert!(!page.text.contains("newPassword"), "{page}");
}

#[tokio::test]
async fn a_first_password_is_set_on_the_page() {
    let scene = Scene::of_all(crate::setup(), None).await;
    let session = by_link(&scene).await;
    let browser = Browser::of(&scene.app, &session);
    let page = browser.open(PAGE).await.expect(200);
    assert!(page.text.contains("Set password"), "{page}");
    assert!(!page.text.contains("currentPassword"), "{page}");
    let short = [("newPassword", "short")];
    let short = browser.send(PAGE, CHANGE, &short).await.expect(400);
    assert!(short.text.contains("id=\"newPassword-error\""), "{short}");
    // Whoever finds the browser open sets none: a form of a while ago asks first who it is.
    let fields = [("newPassword", PASSWORD)];
    let mark = mark(&page);
    scene.app.advance(600);
    let first = browser.send_with(&mark, CHANGE, &fields).await.expect(303);
    assert!(
        first.header("location").starts_with("/re-authenticate"),
        "{first}"
    );
    scene.sign_in(NEW, PASSWORD).await.expect(401);
    let session = by_link(&scene).await;
    let browser = Browser::of(&scene.app, &session);
    let set = browser.send(PAGE, CHANGE, &fields).await.expect(303);
    assert_eq!(
        set.header("location"),
        "/account/security?done=password_set"
    );
    let signed_in = scene.sign_in(NEW, PASSWORD).await.expect(200);
    let browser = Browser::of(&scene.app, &token_of(&signed_in));
    let told = browser.open(set.header("location")).await.expect(200);
    assert!(told.text.contains("from now on"), "{told}");
    assert!(told.text.contains("currentPassword"), "{told}");
    // Left empty where there is one, it is asked for.
    let wrong = browser.send(PAGE, CHANGE, &fields).await.expect(400);
    assert!(
        wrong.text.contains("id=\"currentPassword-error\""),
        "{wrong}"
    );
}

/// Somebody who signed in by a link alone.
async fn by_link(scene: &Scene) -> String {
    let mut browser = scene.browser();
    let before = scene.smtp.mails().len();
    let asked = browser.post("/api/auth/magic-link/send", json!({ "email": NEW }));
    asked.await.expect(200);
    let link = scene.mailed((NEW, before), link_in).await;
    let used = browser.post("/api/auth/magic-link/verify", json!({ "token": link }));
    token_of(&used.await.expect(200))
}

#[tokio::test]
async fn an_account_elsewhere_is_unlinked_on_the_page_after_it_was_asked() {
    let world = provided(Verification::First).await;
    let scene = &world.scene;
    let ada = scene.ada().await;
    let browser = Browser::of(&scene.app, &ada);
    let none = browser.open(PAGE).await.expect(200);
    assert!(!none.text.contains("Linked accounts"), "{none}");
    let linked = world.link(&ada, &world.token("user_1", 0)).await;
    let user = linked.expect(200).id().to_owned();
    let page = browser.open(PAGE).await.expect(200);
    assert!(
        page.text.contains("Linked accounts") && page.text.contains("clerk"),
        "{page}"
    );
    // Asking changes nothing, nor does a form without the page's mark.
    let asks = browser.open(UNLINK).await.expect(200);
    assert!(
        asks.text.contains("Unlink clerk?") && asks.text.contains("Unlink it"),
        "{asks}"
    );
    let unmarked = browser.send_with("none", UNLINK, &[]).await;
    assert_eq!(unmarked.status, 403, "{unmarked}");
    assert!(is_linked(&world, &user).await);
    let done = browser.send(UNLINK, UNLINK, &[]).await.expect(303);
    assert_eq!(done.header("location"), "/sign-in?done=unlinked");
    assert!(done.header("set-cookie").contains("Max-Age=0"), "{done}");
    assert!(!is_linked(&world, &user).await);
    browser.open(PAGE).await.expect(303);
    let told = Browser::stranger(&scene.app);
    let told = told.open("/sign-in?done=unlinked").await.expect(200);
    assert!(told.text.contains("It is unlinked"), "{told}");
    scene.sign_in(ADA, PASSWORD).await.expect(200);
}

#[tokio::test]
async fn the_last_way_in_is_not_unlinked_and_the_page_says_so() {
    let world = provided(Verification::First).await;
    let app = &world.scene.app;
    let opened = world.session_by_provider("user_1", 0).await.expect(200);
    let user = opened.text_at("/data/user/id").to_owned();
    let browser = Browser::of(app, &token_of(&opened));
    let refused = browser.send(UNLINK, UNLINK, &[]).await.expect(409);
    assert!(refused.text.contains("another way in"), "{refused}");
    assert!(is_linked(&world, &user).await);
    // Whoever signed in a while ago is asked first.
    let mark = mark(&browser.open(PAGE).await.expect(200));
    app.advance(600);
    let ask = browser.open(UNLINK).await.expect(303);
    let send = browser.send_with(&mark, UNLINK, &[]).await.expect(303);
    for first in [ask, send] {
        assert!(
            first.header("location").starts_with("/re-authenticate"),
            "{first}"
        );
    }
}

async fn is_linked(world: &Provided, user: &str) -> bool {
    let path = format!("/api/v1/users/{user}");
    let user = world.scene.app.operator().get(&path).await.expect(200);
    !user.at("/data/external").is_null()
}

/// ASVS 7.4.3: after a factor came or went, one button ends all other sessions; where there are none it is not there.
#[tokio::test]
async fn signing_out_elsewhere_is_offered_where_a_way_in_came_or_went() {
    for elsewhere in [true, false] {
        let scene = Scene::of_all(crate::setup(), None).await;
        let session = scene.ada().await;
        let call = scene.app.call(&session);
        let begun = call.post(totp::SETUP, json!({})).await.expect(201);
        let secret = begun.text_at("/data/secret").to_owned();
        let body = json!({ "code": totp::code(&scene.app, &secret, 0) });
        let on = call.post(totp::ENABLE, body).await.expect(200);
        let session = token_of(&on);
        let browser = Browser::of(&scene.app, &session);
        let passkey = register(&scene, &session).await;
        let other = match elsewhere {
            true => Some(another(&scene, &session).await),
            false => None,
        };
        // Opened without a change it offers nothing.
        let plain = browser.open(PAGE).await.expect(200);
        assert!(!plain.text.contains(OTHERS), "{plain}");
        let added = browser.open("/account/security?done=passkey_added").await;
        assert_eq!(added.text.contains(OTHERS), elsewhere, "{added}");
        let remove = format!("/account/security/passkeys/{passkey}/remove");
        let removed = browser.send(&remove, &remove, &[]).await.expect(200);
        assert_eq!(removed.text.contains(OTHERS), elsewhere, "{removed}");
        let off = "/account/security/totp/disable";
        let code = totp::code(&scene.app, &secret, 1);
        let fields = [("code", code.as_str())];
        let off = browser.send(off, off, &fields).await.expect(200);
        assert_eq!(off.text.contains(OTHERS), elsewhere, "{off}");
        let Some(other) = other else { continue };
        let end = "/account/sessions/others";
        browser.send_with(&mark(&off), end, &[]).await.expect(200);
        let dead = scene.app.call(&other).get("/api/auth/session").await;
        dead.refused(401, "unauthenticated");
    }
}

/// A session of the same human elsewhere.
async fn another(scene: &Scene, session: &str) -> String {
    let own = scene.app.call(session).get("/api/auth/session").await;
    let user = own.expect(200).text_at("/data/user/id").to_owned();
    scene.app.session(&user).await.token
}

async fn register(scene: &Scene, session: &str) -> String {
    let call = scene.app.call(session);
    let options = call
        .post("/api/auth/passkey/register/options", json!({}))
        .await;
    let options: Reply = options.expect(200);
    let mut key = Authenticator::new(1);
    let made = key.make(options.at("/data"), &How::default());
    let kept = call.post(KEEP, made).await;
    kept.expect(201).id().to_owned()
}
