//! What stops a verifier from being built, and what it says then.

use kavachos_core::secret::{Secret, SecretKind};

use super::issuer::{FakeIssuer, FixedClock, ISSUER, NOW, TOOLS, seconds};
use super::scene::{Scene, bearer, builder, leaf, token};
use crate::builder::Builder;
use crate::error::BuildError;
use crate::verifier::Verifier;

async fn error(issuer: &FakeIssuer, told: impl FnOnce(Builder) -> Builder) -> BuildError {
    let clock = FixedClock::at(seconds(NOW));
    match told(builder(issuer, &clock)).prepare().await {
        Ok(_) => panic!("it was built"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn a_verifier_that_is_built_accepts_tokens_at_once() {
    let scene = Scene::new().await;
    assert_eq!(scene.code(&bearer(&token(&leaf()))), "accepted");
    assert!(scene.verifier.stats().lease.as_secs() == 10 && scene.verifier.trouble().is_none());
}

#[tokio::test]
async fn an_issuer_that_is_out_of_reach_is_named() {
    for (down, url) in [
        (
            "/",
            "https://auth.example.com/.well-known/oauth-authorization-server",
        ),
        (
            "/.well-known/jwks.json",
            "https://auth.example.com/.well-known/jwks.json",
        ),
        (
            "/.well-known/kavach-feed",
            "https://auth.example.com/.well-known/kavach-feed-keys.json",
        ),
    ] {
        let issuer = FakeIssuer::new();
        issuer.state().down = Some(down);
        let error = error(&issuer, |builder| builder).await;
        let BuildError::Unreachable { url: named, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!(named, url);
        assert!(
            error
                .to_string()
                .ends_with("is the issuer running, and reachable from here?")
        );
    }
    let issuer = FakeIssuer::new();
    issuer.state().down = Some("/api/v1/revocations/snapshot");
    let error = error(&issuer, |builder| builder).await;
    assert!(matches!(error, BuildError::Feed { .. }), "{error}");
}

#[tokio::test]
async fn what_an_issuer_refuses_at_the_start_is_named_with_what_to_do() {
    let jwks =
        "`https://auth.example.com/.well-known/jwks.json` does not give what an issuer gives";
    for (path, status, said) in [
        (
            "/.well-known/oauth-authorization-server",
            404,
            "does not give what an issuer gives",
        ),
        ("/.well-known/jwks.json", 404, jwks),
        (
            "/api/v1/revocations",
            401,
            "does not let this tool server follow revocations",
        ),
        (
            "/api/v1/revocations",
            403,
            "give its key with `.resource_key(...)`",
        ),
        (
            "/api/v1/revocations",
            503,
            "revocations cannot be followed: it answered 503",
        ),
    ] {
        let issuer = FakeIssuer::new();
        issuer.state().refuses = Some((path, status));
        let error = error(&issuer, |builder| builder).await.to_string();
        assert!(error.contains(said), "{path} {status}: {error}");
    }
    // A head that is signed by a key which is not published, as of somebody between here and the issuer.
    let issuer = FakeIssuer::new();
    issuer.state().signs_heads = 9;
    let error = error(&issuer, |builder| builder).await;
    assert!(matches!(&error, BuildError::Feed { .. }), "{error}");
    let error = error.to_string();
    assert!(error.contains("the head of the feed is not signed by the issuer"));
    assert!(error.contains("unknown_key"), "{error}");
}

#[tokio::test]
async fn an_issuer_with_another_name_is_refused() {
    let issuer = FakeIssuer::new();
    issuer.state().issuer = "https://auth.example.com/".to_owned();
    let error = error(&issuer, |builder| builder).await;
    assert_eq!(
        error.to_string(),
        "the issuer at `https://auth.example.com` calls itself `https://auth.example.com/`: write its name as it does, \
         byte for byte"
    );
}

#[tokio::test]
async fn an_issuer_without_tls_is_taken_on_this_machine_only() {
    let issuer = FakeIssuer::new();
    let http = std::sync::Arc::new(issuer.clone());
    let insecure = Verifier::builder("http://auth.example.com", TOOLS).http(http.clone());
    let error = insecure.prepare().await.err().unwrap();
    assert!(matches!(&error, BuildError::Insecure { .. }), "{error}");
    assert_eq!(issuer.count("/"), 0, "nothing is sent");
    // The twin, with the same answers.
    issuer.state().issuer = "http://localhost:3000".to_owned();
    issuer.state().follower = "anonymous".to_owned();
    let local = Verifier::builder("http://localhost:3000", TOOLS).http(http);
    let clock = FixedClock::at(seconds(NOW));
    assert!(local.clock(clock).prepare().await.is_ok());
}

/// One that is behind does no harm, since the issuer's time counts then.
#[tokio::test]
async fn a_clock_that_is_far_ahead_is_named_before_it_takes_every_token_for_over() {
    for (ahead, said) in [
        (3_600, Some("3600 seconds ahead")),
        (600, Some("600 seconds ahead")),
        (599, None),
        (-3_600, None),
    ] {
        let issuer = FakeIssuer::new();
        issuer.state().time = seconds(NOW);
        let clock = FixedClock::at(seconds(NOW + ahead));
        let built = builder(&issuer, &clock).prepare().await;
        match (built, said) {
            (Err(error), Some(said)) => {
                assert!(matches!(&error, BuildError::ClockAhead { .. }), "{error}");
                let error = error.to_string();
                assert!(error.contains(said) && error.contains("NTP"), "{error}");
            }
            (built, said) => assert_eq!(built.is_ok(), said.is_none(), "{ahead}"),
        }
    }
}

#[tokio::test]
async fn what_the_builder_is_told_is_checked() {
    let issuer = FakeIssuer::new();
    let agent = Secret::new(SecretKind::Agent, [5; 32]);
    let said = error(&issuer, |builder| builder.resource_key(agent.reveal()))
        .await
        .to_string();
    assert!(said.starts_with("`resource_key`: "), "{said}");
    assert!(!said.contains(agent.reveal()));
    let said = error(&issuer, |builder| builder.scopes(["a b"]))
        .await
        .to_string();
    assert!(said.starts_with("`scopes`: "), "{said}");
    for reserved in ["offline_access", "openid"] {
        let said = error(&issuer, |builder| builder.scopes(["mcp:*", reserved])).await;
        let said = said.to_string();
        let expected = format!("`scopes`: `{reserved}` is a scope of the issuer's");
        assert!(said.starts_with(&expected), "{said}");
    }
    let said = error(&issuer, |builder| builder.first_scopes(["mcp:other:*"])).await;
    let said = said.to_string();
    assert!(
        said.starts_with("`first_scopes`: `mcp:other:*` is none"),
        "{said}"
    );
    for (tools, start) in [
        (
            &["mcp:search:web", "db:rows"][..],
            "`tool`: `db:rows` is under none",
        ),
        (&["a b"], "`tool`: "),
    ] {
        let said = error(&issuer, |builder| builder.tool("find", tools.to_vec())).await;
        assert!(said.to_string().starts_with(start), "{said}");
    }
    let twice = |builder: Builder| {
        let once = builder.tool("find", ["mcp:search:web"]);
        once.tool("find", ["mcp:mail:inbox"])
    };
    let said = error(&issuer, twice).await.to_string();
    assert_eq!(said, "`tool`: `find` stands twice");
    let said = error(&issuer, |builder| builder.lease(std::time::Duration::ZERO))
        .await
        .to_string();
    assert!(said.starts_with("`lease`: "), "{said}");
    for (issuer, audience, start) in [
        ("auth", TOOLS, "the issuer: "),
        (ISSUER, "tools", "the audience: "),
    ] {
        let error = Verifier::builder(issuer, audience)
            .prepare()
            .await
            .err()
            .unwrap();
        assert!(error.to_string().starts_with(start), "{error}");
    }
}

#[tokio::test]
async fn the_key_is_shown_to_the_feed_and_to_nothing_that_is_public() {
    let scene = Scene::new().await;
    let state = scene.issuer.state();
    for ((path, _), key) in state.asked.iter().zip(&state.authorization) {
        let shown = key
            .as_ref()
            .is_some_and(|key| key.starts_with("Bearer kv_res_"));
        assert_eq!(shown, path.starts_with("/api/"), "{path}");
    }
}
