//! Through the layer, before an axum router: statuses, codes, challenges, metadata, hosts.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::body::Body;
use axum::routing::post;
use axum::{Extension, Router};
use http::{Request, Response};
use kavachos_core::token::{Code, Leaf};
use kavachos_core::tool_server::Proof;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::issuer::{TOOLS, key, seconds};
use super::scene::{Answer, Scene, bound, call, human, leaf, permitting, token};
use super::vectors::{Vector, document};
use crate::principal::{Principal, ToolCall};
use crate::verifier::Verifier;

const METADATA: &str = "https://tools.example.com/.well-known/oauth-protected-resource/mcp";

/// A tool: it tells who called, and what it read.
async fn tool(
    Extension(caller): Extension<Principal>,
    body: String,
) -> Result<String, Response<Body>> {
    let ask: Option<Value> = serde_json::from_str(&body).ok();
    if let Some(ask) = ask.as_ref().filter(|ask| ask.get("resource").is_some()) {
        let text = |member: &str| ask[member].as_str().unwrap();
        let call = ToolCall {
            arguments: ask.get("arguments"),
            ip: ask
                .get("ip")
                .map(|ip| ip.as_str().unwrap().parse().unwrap()),
            ..ToolCall::new(text("action"), text("resource"))
        };
        caller.authorize_call(&call).await?;
    }
    Ok(json!({"caller": caller.user(), "read": body}).to_string())
}

pub(super) async fn send(verifier: &Verifier, request: Request<Body>) -> Answer {
    let app: Router = Router::new()
        .route("/mcp", post(tool))
        .layer(verifier.layer());
    Answer::of(app.oneshot(request).await.unwrap()).await
}

async fn with_token(verifier: &Verifier, token: &str, ask: &Value) -> Answer {
    let authorization = format!("Bearer {token}");
    send(
        verifier,
        call(&[("authorization", &authorization)], &ask.to_string()),
    )
    .await
}

/// RFC 9110, section 11.2.
fn fits_a_header(token: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    !token.is_empty() && token.bytes().all(fits)
}

#[tokio::test]
async fn every_code_has_its_status_and_every_vector_its_code() {
    let document = document();
    let mut seen: BTreeSet<Code> = BTreeSet::new();
    for vector in document["vectors"].as_array().unwrap() {
        let vector = Vector::of(&document, vector);
        // A URL that no HTTP server sees cannot be sent, and blanks around a token are not the token's.
        let blanks = vector.token().trim_matches(' ') != vector.token();
        if vector.text("kind") != "leaf" || vector.has("uri") || vector.has("seen") || blanks {
            continue;
        }
        let scene = vector.scene().await;
        let token = vector.token();
        let authorization = format!("{} {token}", vector.text("scheme"));
        if http::HeaderValue::from_str(&authorization).is_err() {
            continue;
        }
        let mut headers = vec![("authorization", authorization.as_str())];
        headers.extend(vector.proof().map(|proof| ("dpop", proof)));
        let ask = vector.get("ask").to_string();
        let body = vector.get("body").as_str().unwrap_or(&ask);
        let answer = send(&scene.verifier, call(&headers, body)).await;
        let expected = vector.get("expect")["code"].as_str().unwrap_or("none");
        if !fits_a_header(token) || vector.proof().is_some_and(|proof| !proof.is_ascii()) {
            assert_eq!(answer.status, 400, "{}", vector.name());
            continue;
        }
        assert_eq!(
            answer.code(),
            expected,
            "{}: {}",
            vector.name(),
            answer.body
        );
        let code = Code::ALL.iter().find(|code| code.as_str() == expected);
        assert_eq!(
            answer.status,
            code.map_or(200, |code| code.status()),
            "{}",
            vector.name()
        );
        let challenged = !answer.header("www-authenticate").is_empty();
        assert!(challenged == (answer.status == 401), "{}", vector.name());
        seen.extend(code);
    }
    // One proof more than a request can carry, and a hop that only a chain has.
    let missing: Vec<_> = Code::ALL
        .iter()
        .filter(|code| !seen.contains(code))
        .collect();
    assert_eq!(missing, [&Code::ParentMismatch, &Code::ProofReplayed]);
}

#[tokio::test]
async fn a_call_without_a_token_is_told_where_to_get_one() {
    let scene = Scene::new().await;
    let answer = send(&scene.verifier, call(&[], "")).await;
    assert_eq!((answer.status, answer.code()), (401, "unauthenticated"));
    assert_eq!(
        answer.header("www-authenticate"),
        format!("Bearer resource_metadata=\"{METADATA}\", scope=\"mcp:search:* mcp:mail:*\"")
    );
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("content-type"), "application/json");
    let scene = Scene::with(|builder| builder.proof(Proof::Dpop)).await;
    let answer = send(&scene.verifier, call(&[], "")).await;
    assert!(
        answer
            .header("www-authenticate")
            .starts_with("DPoP algs=\"EdDSA ES256\", ")
    );
}

#[tokio::test]
async fn a_token_that_is_over_is_named_in_the_challenge() {
    let scene = Scene::new().await;
    let over = Leaf {
        life: kavachos_core::token::Life {
            expires_at: seconds(super::issuer::NOW),
            ..leaf().life
        },
        ..leaf()
    };
    let answer = with_token(&scene.verifier, &token(&over), &Value::Null).await;
    assert_eq!((answer.status, answer.code()), (401, "expired"));
    let challenge = answer.header("www-authenticate");
    assert!(challenge.starts_with("Bearer error=\"invalid_token\", resource_metadata="));
    assert!(challenge.contains(", error_description=\"the token is over"));
    assert!(challenge.contains(METADATA));
}

#[tokio::test]
async fn headers_that_cannot_be_read_and_tokens_in_the_url_are_the_callers_fault() {
    let scene = Scene::new().await;
    let good = format!("Bearer {}", token(&leaf()));
    let twice = call(&[("authorization", &good), ("authorization", &good)], "");
    let mut in_url = call(&[("authorization", &good)], "");
    *in_url.uri_mut() = format!("/mcp?access_token={}", token(&leaf()))
        .parse()
        .unwrap();
    for request in [twice, in_url, call(&[("authorization", "Bearer")], "")] {
        let answer = send(&scene.verifier, request).await;
        assert_eq!((answer.status, answer.code()), (400, "malformed_request"));
        assert!(
            answer
                .header("www-authenticate")
                .contains("error=\"invalid_request\"")
        );
    }
    // The twin.
    assert_eq!(
        send(&scene.verifier, call(&[("authorization", &good)], ""))
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn what_the_token_does_not_permit_is_told_with_all_scopes_that_are_needed() {
    let scene = Scene::new().await;
    let ask = |resource: &str| json!({"action": "call", "resource": resource});
    let token = token(&leaf());
    assert_eq!(
        with_token(&scene.verifier, &token, &ask("mcp:search:web"))
            .await
            .status,
        200
    );
    let answer = with_token(&scene.verifier, &token, &ask("mcp:mail:inbox")).await;
    assert_eq!((answer.status, answer.code()), (403, "insufficient_scope"));
    let challenge = answer.header("www-authenticate");
    assert!(
        challenge.starts_with("Bearer error=\"insufficient_scope\""),
        "{challenge}"
    );
    let scope = "mcp:mail:* mcp:search:*";
    assert!(
        challenge.contains(&format!(", scope=\"{scope}\", error_description=")),
        "{challenge}"
    );
    assert_eq!(answer.body["error"]["scope"], scope);
}

#[tokio::test]
async fn a_resource_of_another_tool_server_is_refused_though_the_token_permits_it() {
    let all = token(&permitting(&json!([{"resource": "*", "actions": ["*"]}])));
    let ask = json!({"action": "call", "resource": "db:rows"});
    let scene = Scene::new().await;
    let answer = with_token(&scene.verifier, &all, &ask).await;
    assert_eq!((answer.status, answer.code()), (403, "insufficient_scope"));
    assert_eq!(
        answer.header("www-authenticate"),
        "",
        "no scope of ours would help"
    );
    // The twin: a tool server that says nothing of its scopes.
    let scene = Scene::with(|builder| builder.scopes([""; 0])).await;
    assert_eq!(with_token(&scene.verifier, &all, &ask).await.status, 200);
}

#[tokio::test]
async fn a_lost_feed_is_not_the_callers_fault() {
    let scene = Scene::new().await;
    let token = token(&leaf());
    assert_eq!(
        with_token(&scene.verifier, &token, &Value::Null)
            .await
            .status,
        200
    );
    scene.clock.advance(Duration::from_secs(10));
    let answer = with_token(&scene.verifier, &token, &Value::Null).await;
    assert_eq!((answer.status, answer.code()), (503, "revocation_stale"));
    assert_eq!(answer.header("retry-after"), "4");
    assert_eq!(answer.header("www-authenticate"), "");
}

#[tokio::test]
async fn metadata_is_open_at_both_of_its_paths() {
    let scene = Scene::new().await;
    for path in [
        "/.well-known/oauth-protected-resource",
        "/.well-known/oauth-protected-resource/mcp",
    ] {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let answer = send(&scene.verifier, request).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.body["resource"], TOOLS);
        assert_eq!(
            answer.body["authorization_servers"],
            json!(["https://auth.example.com"])
        );
    }
    let request = Request::get("/.well-known/oauth-protected-resource/other");
    let answer = send(&scene.verifier, request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, 401, "the twin: all else is behind the layer");
    let [root, _] = scene.verifier.metadata().paths();
    let service = scene.verifier.metadata().clone().into_service::<Body>();
    let app: Router = Router::new().route_service(root, service);
    let request = Request::get(root.as_str()).body(Body::empty()).unwrap();
    assert_eq!(app.oneshot(request).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_name_that_was_made_to_point_here_is_refused() {
    let good = format!("Bearer {}", token(&leaf()));
    let headers = [
        ("authorization", good.as_str()),
        ("origin", "http://evil.example"),
    ];
    let scene = Scene::with(|builder| builder.hosts(["tools.example.com"])).await;
    let answer = send(&scene.verifier, call(&headers, "")).await;
    assert_eq!((answer.status, answer.code()), (403, "forbidden"));
    assert_eq!(
        send(&scene.verifier, call(&headers[..1], "")).await.status,
        200
    );
    let other = Scene::with(|builder| builder.hosts(["localhost:3000"])).await;
    assert_eq!(
        send(&other.verifier, call(&headers[..1], "")).await.status,
        403
    );
    // The twin: nobody said which hosts.
    let scene = Scene::new().await;
    assert_eq!(send(&scene.verifier, call(&headers, "")).await.status, 200);
}

#[tokio::test]
async fn a_proof_names_the_url_that_the_caller_used() {
    let token = bound();
    let request = kavachos_core::token::ProofRequest {
        method: "POST",
        uri: "https://proxy.example.com/tools/mcp",
        token: Some(&token),
        body: None,
    };
    let now = seconds(super::issuer::NOW);
    let proof = kavachos_core::token::Proof::sign(&request, "one", None, now, &key(3));
    let authorization = format!("DPoP {token}");
    let headers = [
        ("authorization", authorization.as_str()),
        ("dpop", proof.as_str()),
    ];
    for (base, status) in [(Some("https://proxy.example.com/tools/"), 200), (None, 401)] {
        let scene = Scene::with(|builder| match base {
            Some(base) => builder.base(base),
            None => builder,
        });
        let answer = send(&scene.await.verifier, call(&headers, "")).await;
        assert_eq!(answer.status, status, "{base:?}");
    }
}

/// RFC 9700, section 4.9.3: whoever logs a caller, a refusal or the verifier logs no token.
#[tokio::test]
async fn what_is_logged_of_a_caller_has_no_token_in_it() {
    let scene = Scene::new().await;
    let token = token(&leaf());
    let verify = |text: &str| scene.verifier.verify(&super::scene::bearer(text));
    let principal = verify(&token).unwrap();
    let refused = verify(&format!("{token}A")).unwrap_err();
    let logged = format!("{principal:?} {refused:?} {:?}", scene.verifier);
    for part in token.split('.') {
        assert!(!logged.contains(part), "{logged}");
    }
    assert!(logged.contains("token_id"), "the twin: by what it is known");
}

#[tokio::test]
async fn a_handler_that_runs_for_long_notices_the_kill() {
    let scene = Scene::new().await;
    let token = token(&leaf());
    let principal = scene
        .verifier
        .verify(&super::scene::bearer(&token))
        .unwrap();
    assert!(principal.recheck().is_ok());
    let mut kill = human();
    kill.generation += 1;
    scene.issuer.kill(kill);
    crate::tasks::ask(&scene.core).await;
    assert_eq!(principal.recheck().unwrap_err().code(), "revoked");
    let refused = principal
        .authorize("call", "mcp:search:web", None, None)
        .await;
    assert_eq!(refused.unwrap_err().status(), 401);
}
