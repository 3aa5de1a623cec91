//! What holds while the mail server or the list of stolen passwords cannot be reached, as the documentation says it.

use axum::Router;
use axum::routing::get;
use kavachos_auth::password::{Breached, Choosing, WhenUnreachable};
use kavachos_test::kavachos::mail::{Mailer, Security, Smtp};
use kavachos_test::{Server, TestApp, TestSmtp};
use serde_json::json;
use std::sync::Arc;

use super::scene::{ADA, OTHER, PASSWORD, Scene, every_method, link_in, token_of};
use crate::mail::{nobody, until_put_off};

/// Where strangers ask for a mail, and with what.
const MAILING: [(&str, bool); 4] = [
    ("/api/auth/sign-up/email", true),
    ("/api/auth/forgot-password", false),
    ("/api/auth/magic-link/send", false),
    ("/api/auth/email-otp/send", false),
];

async fn ask(app: &TestApp, (path, password): (&str, bool)) -> kavachos_test::Reply {
    let mut body = json!({ "email": ADA });
    if password {
        body["password"] = PASSWORD.into();
    }
    app.anonymous().post(path, body).await
}

#[tokio::test]
async fn without_its_mail_server_nobody_waits_and_mail_comes_once_it_is_back() {
    let address = nobody().await;
    let plugins = every_method(&Arc::new(Choosing {
        breached: None,
        ..Choosing::serving()
    }));
    let setup = crate::setup().with(move |builder| {
        let from = "Example <auth@example.com>".parse().unwrap();
        let smtp = Smtp::new("localhost")
            .port(address.port())
            .security(Security::Plain);
        builder
            .plugins(plugins.clone())
            .mail(Mailer::new(from, smtp))
    });
    let app = setup.start().await;
    for route in MAILING {
        ask(&app, route).await.expect(200);
    }
    until_put_off(&app, 3).await;
    let smtp = TestSmtp::again_at(address).await;
    app.advance(60);
    let mails = smtp.expect(3).await;
    let mut links = mails.iter().filter_map(|mail| {
        let text = mail.text();
        text.contains("/magic-link?")
            .then(|| link_in(&text))
            .flatten()
    });
    let body = json!({ "token": links.next_back().expect("a link"), "confirm": true });
    app.anonymous()
        .post("/api/auth/magic-link/verify", body)
        .await
        .expect(200);
}

#[tokio::test]
async fn where_no_mail_is_sent_at_all_what_needs_it_says_so() {
    let plugins = every_method(&Arc::new(Choosing {
        breached: None,
        ..Choosing::serving()
    }));
    let setup = crate::setup().with(move |builder| builder.plugins(plugins.clone()));
    let app = setup.start().await;
    for route in MAILING {
        ask(&app, route).await.refused(503, "mail_unavailable");
    }
    // The twin: what needs none works.
    let body = json!({ "username": "ada", "password": PASSWORD });
    app.anonymous()
        .post("/api/auth/sign-up/username", body.clone())
        .await
        .expect(200);
    app.anonymous()
        .post("/api/auth/sign-in/username", body)
        .await
        .expect(200);
}

/// A list of stolen passwords with one entry that nobody chose.
async fn list() -> Server {
    let entry = "0018A45C4D1DEF81644B54AB7F969B88D65:0\r\n";
    let routes = Router::new().route("/range/{digits}", get(move || async move { entry }));
    Server::serving(routes).await
}

/// Everywhere where a password is chosen, once the list is gone: the status, and of how many records it says that nothing
/// was looked up.
async fn choose_everywhere(scene: &Scene, session: &str) -> Vec<u16> {
    let app = &scene.app;
    let before = scene.smtp.mails().len();
    scene
        .post("/api/auth/forgot-password", json!({ "email": ADA }))
        .await
        .expect(200);
    let link = scene.mailed((ADA, before), link_in).await;
    let guest = scene
        .post("/api/auth/anonymous", json!({}))
        .await
        .expect(200);
    let guest = token_of(&guest);
    let bob = "bob@example.com";
    let mut statuses = Vec::new();
    for (call, path, body) in [
        (
            app.anonymous(),
            "sign-up/email",
            json!({ "email": bob, "password": OTHER }),
        ),
        (
            app.anonymous(),
            "sign-up/username",
            json!({ "username": "bob", "password": OTHER }),
        ),
        (
            app.call(&guest),
            "anonymous/upgrade",
            json!({ "email": "gil@example.com", "password": OTHER }),
        ),
        (
            app.call(session),
            "change-password",
            json!({ "currentPassword": PASSWORD, "newPassword": OTHER }),
        ),
        (
            app.anonymous(),
            "reset-password",
            json!({ "token": link, "newPassword": OTHER }),
        ),
    ] {
        let reply = call.post(&format!("/api/auth/{path}"), body).await;
        assert!(
            reply.status == 200 || reply.code() == "busy",
            "{path}: {reply}"
        );
        statuses.push(reply.status);
    }
    statuses
}

#[tokio::test]
async fn without_the_list_of_stolen_passwords_none_is_chosen_or_it_is_on_record_as_configured() {
    for (unreachable, status) in [
        (WhenUnreachable::Accept, 200),
        (WhenUnreachable::Refuse, 503),
    ] {
        let list = list().await;
        let stolen = Breached::at(&list.url(), unreachable).unwrap();
        let scene = Scene::of_all(crate::setup(), Some(stolen)).await;
        // The twin: while it can be asked, it is.
        let session = scene.account(ADA).await;
        let asked = "kind=email_password.signed_up";
        let record = scene.app.audit(asked).await.remove(0);
        assert_eq!(record["details"]["breached"], "not_listed");
        drop(list);
        let statuses = choose_everywhere(&scene, &session).await;
        assert_eq!(statuses, [status; 5], "{unreachable:?}");
        let not_checked = scene.app.audit("limit=100").await;
        let not_checked = not_checked
            .iter()
            .filter(|record| record["details"]["breached"] == "not_checked");
        assert_eq!(not_checked.count() > 0, status == 200);
        // Nobody is kept from signing in.
        let password = if status == 200 { OTHER } else { PASSWORD };
        scene.sign_in(ADA, password).await.expect(200);
    }
}
