//! Named ways to trip a server that signs people in: characters that end, turn or hide a text, addresses that look like
//! somebody else's, and more of everything than anybody needs.

use http::Method;
use serde_json::{Value, json};

use super::scene::{ADA, PASSWORD, Scene};

/// Where strangers send an address, and what goes along.
const WITH_ADDRESS: [(&str, bool); 5] = [
    ("/api/auth/sign-up/email", true),
    ("/api/auth/sign-in/email", true),
    ("/api/auth/forgot-password", false),
    ("/api/auth/magic-link/send", false),
    ("/api/auth/email-otp/send", false),
];

/// Where passwords are sent, by which name, and what goes along.
const WITH_PASSWORD: [(&str, &str, &str); 6] = [
    ("/api/auth/sign-up/email", "password", "email"),
    ("/api/auth/sign-in/email", "password", "email"),
    ("/api/auth/sign-up/username", "password", "username"),
    ("/api/auth/sign-in/username", "password", "username"),
    ("/api/auth/reset-password", "newPassword", "token"),
    ("/api/auth/verify-email", "password", "token"),
];

fn with(email: &str, password: bool) -> Value {
    match password {
        true => json!({ "email": email, "password": PASSWORD }),
        false => json!({ "email": email }),
    }
}

#[tokio::test]
async fn an_address_that_ends_turns_or_hides_is_none_and_gets_no_mail() {
    let scene = Scene::of_all(crate::setup(), None).await;
    for email in [
        "ada\0@example.com",
        "ada@example.com\0.evil.example",
        "ada@example.com\r\nBcc: eve@evil.example",
        "ada@example.com\nSubject: hello",
        "\u{202e}ada@example.com",
        "ada\u{200f}@example.com",
        "ada@example.com, eve@evil.example",
        "<ada@example.com>",
        "ada@example.com ",
    ] {
        for (path, password) in WITH_ADDRESS {
            let reply = scene.post(path, with(email, password)).await;
            let reply = reply.refused(400, "malformed_request");
            assert_eq!(reply.field(), "email", "{path} {email:?}");
        }
    }
    // The twin: the plain address is taken. Nobody else was written to.
    scene.account(ADA).await;
    assert!(scene.smtp.mails().iter().all(|mail| mail.to == [ADA]));
}

/// Two accounts that look alike are two, and neither is reached by the other's address.
#[tokio::test]
async fn an_address_that_looks_like_another_is_never_the_other() {
    let scene = Scene::of_all(crate::setup(), None).await;
    scene.account(ADA).await;
    let mails = scene.smtp.mails().len();
    for email in [
        "\u{430}da@example.com",
        "ada@ex\u{430}mple.com",
        "\u{ff41}da@example.com",
        "ad\u{430}\u{301}@example.com",
        "ada@example\u{3002}com",
        "a\u{200b}da@example.com",
        "ada\u{ad}@example.com",
    ] {
        for (path, password) in WITH_ADDRESS {
            let reply = scene.post(path, with(email, password)).await;
            let expected: &[u16] = if path.ends_with("sign-in/email") {
                &[400, 401]
            } else {
                &[400]
            };
            assert!(
                expected.contains(&reply.status),
                "{path} {email:?}: {reply}"
            );
        }
        let body = json!({ "name": "Not Ada", "email": email });
        let made = scene.app.operator().post("/api/v1/users", body).await;
        if made.status == 201 {
            let found = scene
                .app
                .operator()
                .get("/api/v1/users?email=ada@example.com")
                .await;
            assert!(!found.text.contains(made.id()), "{email:?}: {found}");
        }
    }
    assert_eq!(scene.smtp.mails().len(), mails, "nobody was written to");
    // The twin: what is the same address in capitals is the same account.
    scene.sign_in("Ada@Example.COM", PASSWORD).await.expect(200);
}

#[tokio::test]
async fn a_password_of_a_mebibyte_costs_nothing_and_is_refused() {
    let scene = Scene::of_all(crate::setup(), None).await;
    let before = scene.passwords.blocks_filled();
    for (path, member, other) in WITH_PASSWORD {
        let body = |length: usize| json!({ other: ADA, member: "x".repeat(length) });
        let reply = scene.post(path, body(1 << 20)).await;
        reply.refused(413, "too_large");
        let reply = scene.post(path, body(100_000)).await;
        assert!([400, 401].contains(&reply.status), "{path}: {reply}");
    }
    assert_eq!(scene.passwords.blocks_filled(), before);
    // The twin: one of the longest that there may be costs what any costs.
    let body = json!({ "email": ADA, "password": "xy ".repeat(80) });
    scene
        .post("/api/auth/sign-up/email", body)
        .await
        .expect(200);
    assert!(scene.passwords.blocks_filled() > before);
}

#[tokio::test]
async fn a_cookie_of_a_mebibyte_and_headers_without_end_are_refused() {
    let scene = Scene::of_all(crate::setup(), None).await;
    let long = "x".repeat(1 << 20);
    for path in ["/api/auth/session", "/sign-in", "/account"] {
        for length in [20_000, 300_000, 1 << 20] {
            let cookie = format!("__Host-kavach_session={}", long.get(..length).unwrap());
            let call = scene.app.anonymous().header("cookie", &cookie);
            let reply = call.get(path).await;
            let fine = (400..500).contains(&reply.status) || [200, 303].contains(&reply.status);
            assert!(fine, "{path} {length}: {}", reply.status);
            assert!(
                length < 1 << 20 || reply.status == 431,
                "{path}: {}",
                reply.status
            );
        }
    }
    scene.app.anonymous().get("/healthz").await.expect(200);
}

/// Lessons C 1 and 2: nobody says for whom a route of signing in works, or what only the server says.
#[tokio::test]
async fn what_only_the_server_says_is_refused_by_every_route() {
    let scene = Scene::of_all(crate::setup(), None).await;
    let session = scene.account(ADA).await;
    let victim = scene.app.user().await;
    let routes = scene.app.kavach().engine().plugin_routes().to_vec();
    let posts = routes.iter().map(|mounted| mounted.route());
    let posts = posts.filter(|route| format!("{:?}", route.method) == "Post");
    let mut tried = 0;
    for route in posts {
        for more in [
            json!({ "userId": victim }),
            json!({ "role": "owner", "userId": victim }),
            json!({ "emailVerified": true, "tenantId": "other" }),
        ] {
            tried += 1;
            let from = format!("127.1.{tried}.1");
            let call = scene.app.anonymous().from(&from);
            let known = call
                .clone()
                .header("authorization", &format!("Bearer {session}"));
            let stranger = call.post(route.path, more.clone()).await;
            assert!(
                [400, 401].contains(&stranger.status),
                "{}: {stranger}",
                route.path
            );
            let known = known.post(route.path, more).await;
            assert_eq!(known.status, 400, "{}: {known}", route.path);
        }
    }
    assert!(tried > 60, "{tried}");
    // The twins: the victim has no session, and the right body is taken.
    let sessions = format!("/api/v1/users/{victim}/sessions");
    let sessions = scene.app.operator().get(&sessions).await.expect(200);
    assert!(sessions.rows().is_empty());
    scene.sign_in(ADA, PASSWORD).await.expect(200);
}

#[tokio::test]
async fn bodies_that_are_deep_foreign_or_no_text_are_refused_by_every_route() {
    let scene = Scene::of_all(crate::setup(), None).await;
    let session = scene.account(ADA).await;
    let routes = scene.app.kavach().engine().plugin_routes().to_vec();
    let posts = routes.iter().map(|mounted| mounted.route());
    let posts = posts.filter(|route| format!("{:?}", route.method) == "Post");
    let mut tried = 0;
    for route in posts {
        for (kind, body) in [
            ("application/json", "[".repeat(10_000).into_bytes()),
            ("application/json", "{\"a\":".repeat(10_000).into_bytes()),
            ("application/json", b"{\"email\": \"\xff\xfe\"}".to_vec()),
            ("application/json", b"{\"email\": \"\\ud800\"}".to_vec()),
            ("application/json", b"\xef\xbb\xbf{}".to_vec()),
            ("text/plain", b"{\"email\": \"ada@example.com\"}".to_vec()),
            ("multipart/form-data; boundary=x", b"--x--".to_vec()),
            (
                "application/x-www-form-urlencoded",
                b"email=ada%40example.com".to_vec(),
            ),
        ] {
            tried += 1;
            let bearer = format!("Bearer {session}");
            let from = format!("127.{}.{}.1", 1 + tried / 250, 1 + tried % 250);
            let call = scene
                .app
                .anonymous()
                .from(&from)
                .header("content-type", kind);
            let known = call.clone().header("authorization", &bearer);
            for call in [call, known] {
                let reply = call
                    .send(Method::POST, route.path, Some(body.clone()))
                    .await;
                let refused = [400, 401, 403, 409, 415].contains(&reply.status);
                assert!(
                    refused,
                    "{} {kind} {}: {reply}",
                    route.path,
                    String::from_utf8_lossy(&body[..5])
                );
            }
        }
    }
    assert!(tried > 150, "{tried}");
    // The twin: she is who she was all the time.
    scene
        .app
        .call(&session)
        .get("/api/auth/session")
        .await
        .expect(200);
}
