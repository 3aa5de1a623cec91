//! Tools of an MCP server that the layer knows: what the token has no permission for is refused before the handler.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::post;
use http::Request;
use kavachos_core::tool_server::Proof;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::asking::reporting_with;
use super::issuer::{NOW, TOOLS, key, seconds};
use super::scene::{Answer, Scene, bound, call, leaf, permitting, token};
use crate::builder::Builder;
use crate::verifier::Verifier;

/// `search` is what the leaf permits, `send` what it does not, `forward` a bit of both.
fn tools(builder: Builder) -> Builder {
    builder
        .tool("search", ["mcp:search:web"])
        .tool("send", ["mcp:mail:outbox"])
        .tool("forward", ["mcp:search:web", "mcp:mail:outbox"])
}

fn message(tool: &str) -> String {
    let params = json!({ "name": tool, "arguments": { "query": "otters" } });
    json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params }).to_string()
}

/// Sends a request to a handler that counts, and echoes what it reads.
async fn send(verifier: &Verifier, request: Request<Body>) -> (Answer, usize) {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    let handle = move |body: String| async move {
        counter.fetch_add(1, Ordering::SeqCst);
        body
    };
    let app: Router = Router::new()
        .route("/mcp", post(handle))
        .layer(verifier.layer());
    let answer = Answer::of(app.oneshot(request).await.unwrap()).await;
    (answer, count.load(Ordering::SeqCst))
}

async fn say(verifier: &Verifier, token: &str, message: &str) -> (Answer, usize) {
    let authorization = format!("Bearer {token}");
    let headers = [
        ("authorization", authorization.as_str()),
        ("content-type", "application/json"),
    ];
    send(verifier, call(&headers, message)).await
}

#[tokio::test]
async fn a_tool_without_a_permission_is_refused_before_its_handler_hears_of_it() {
    let scene = Scene::with(tools).await;
    let token = token(&leaf());
    let (refused, heard) = say(&scene.verifier, &token, &message("send")).await;
    assert_eq!(
        (refused.status, refused.code()),
        (403, "insufficient_scope")
    );
    assert_eq!(heard, 0);
    let challenge = refused.header("www-authenticate");
    assert!(
        challenge.starts_with("Bearer error=\"insufficient_scope\", resource_metadata="),
        "{challenge}"
    );
    assert!(
        challenge.contains(", scope=\"mcp:mail:* mcp:search:*\", error_description="),
        "{challenge}"
    );
    assert_eq!(scene.verifier.stats().denied, 1);
    // The twins: the tool that is permitted, one that nobody named, and another message; all with their bodies.
    for message in [
        message("search"),
        message("unknown"),
        message("send").replace("tools/call", "tools/list"),
        "no JSON".to_owned(),
    ] {
        let (answer, heard) = say(&scene.verifier, &token, &message).await;
        assert_eq!((answer.status, heard), (200, 1), "{message}");
        let read = serde_json::from_str(&message).unwrap_or(Value::String(message));
        assert_eq!(answer.body, read);
    }
    assert_eq!(scene.verifier.stats().denied, 1);
    // And a verifier that was told of no tools leaves it to the handler.
    let scene = Scene::new().await;
    let (_, heard) = say(&scene.verifier, &token, &message("send")).await;
    assert_eq!(heard, 1);
}

#[tokio::test]
async fn a_tool_of_several_resources_is_told_all_scopes_in_one_challenge() {
    let scene = Scene::with(tools).await;
    let mail = permitting(&json!([{"resource": "mcp:mail:*", "actions": ["*"]}]));
    for token in [token(&leaf()), token(&mail)] {
        let (refused, heard) = say(&scene.verifier, &token, &message("forward")).await;
        assert_eq!((refused.status, heard), (403, 0));
        let scope = refused.body["error"]["scope"].as_str().unwrap();
        assert_eq!(scope, "mcp:search:* mcp:mail:*");
    }
    // The twin: a wider permission, of no scope that is registered, stands for both.
    let both = permitting(&json!([{"resource": "mcp:*", "actions": ["call"]}]));
    let (answer, heard) = say(&scene.verifier, &token(&both), &message("forward")).await;
    assert_eq!((answer.status, heard), (200, 1));
    // And one to do something else does not.
    let read = permitting(&json!([{"resource": "mcp:*", "actions": ["read"]}]));
    let (answer, _) = say(&scene.verifier, &token(&read), &message("forward")).await;
    assert_eq!(answer.status, 403);
}

#[tokio::test]
async fn conditions_are_left_to_the_handler_and_nobody_is_asked_twice() {
    let scene = Scene::with(tools).await;
    for condition in [
        json!({"requireApproval": true}),
        json!({"rate": {"limit": 0, "per": 60}}),
        json!({"args": {"/query": {"eq": "cats"}}}),
    ] {
        let leaf = permitting(
            &json!([{"resource": "mcp:search:*", "actions": ["*"], "constraints": condition}]),
        );
        let (answer, heard) = say(&scene.verifier, &token(&leaf), &message("search")).await;
        assert_eq!((answer.status, heard), (200, 1), "{condition}");
    }
    assert_eq!(scene.issuer.count("/api/v1/authorize"), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_before_the_handler_is_reported_once_for_each_resource() {
    let (issuer, verifier) = reporting_with(tools).await;
    let none = permitting(&json!([{"resource": "other:thing", "actions": ["*"]}]));
    say(&verifier, &token(&none), &message("forward")).await;
    // The twin: what may pass is for the handler to decide and to report.
    say(&verifier, &token(&leaf()), &message("search")).await;
    drop(verifier);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let state = issuer.state();
    let (_, said) = state.asked.last().unwrap();
    let decisions = said["decisions"].as_array().unwrap();
    let told: Vec<_> = (decisions.iter())
        .map(|one| {
            (
                one["resource"].as_str().unwrap(),
                one["code"].as_str().unwrap(),
            )
        })
        .collect();
    let code = "insufficient_scope";
    assert_eq!(told, [("mcp:search:web", code), ("mcp:mail:outbox", code)]);
}

#[tokio::test]
async fn a_body_that_is_too_long_to_look_at_is_refused_where_tools_are_known() {
    let scene = Scene::with(|builder| tools(builder).body_limit(16)).await;
    let (answer, heard) = say(&scene.verifier, &token(&leaf()), &message("search")).await;
    assert_eq!((answer.status, answer.code(), heard), (413, "too_large", 0));
    // The twin.
    let scene = Scene::with(|builder| builder.body_limit(16)).await;
    let (answer, _) = say(&scene.verifier, &token(&leaf()), &message("search")).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_body_that_a_proof_names_is_looked_at_too() {
    let scene = Scene::with(|builder| tools(builder).proof(Proof::DpopBody)).await;
    let token = bound();
    for (id, tool, status) in [("one", "search", 200), ("two", "send", 403)] {
        let body = message(tool);
        let request = kavachos_core::token::ProofRequest {
            method: "POST",
            uri: TOOLS,
            token: Some(&token),
            body: Some(kavachos_core::token::body_digest(body.as_bytes())),
        };
        let proof = kavachos_core::token::Proof::sign(&request, id, None, seconds(NOW), &key(3));
        let authorization = format!("DPoP {token}");
        let headers = [
            ("authorization", authorization.as_str()),
            ("dpop", proof.as_str()),
            ("content-type", "application/json"),
        ];
        let (answer, _) = send(&scene.verifier, call(&headers, &body)).await;
        assert_eq!(answer.status, status, "{tool}: {}", answer.body);
    }
}

#[tokio::test]
async fn callers_begin_with_the_first_scopes_and_are_asked_for_more_when_they_need_it() {
    let scene = Scene::with(|builder| tools(builder).first_scopes(["mcp:search:*"])).await;
    let (answer, _) = send(&scene.verifier, call(&[], "")).await;
    let challenge = answer.header("www-authenticate");
    assert!(challenge.ends_with("scope=\"mcp:search:*\""), "{challenge}");
    let path = scene.verifier.metadata().paths()[1].clone();
    let request = Request::get(path).body(Body::empty()).unwrap();
    let (metadata, _) = send(&scene.verifier, request).await;
    assert_eq!(metadata.body["scopes_supported"], json!(["mcp:search:*"]));
    let (refused, _) = say(&scene.verifier, &token(&leaf()), &message("send")).await;
    let scope = refused.body["error"]["scope"].as_str().unwrap();
    assert_eq!(scope, "mcp:mail:* mcp:search:*");
    // The twin: where nothing is said of it, all are for a start.
    let scene = Scene::with(tools).await;
    let (answer, _) = send(&scene.verifier, call(&[], "")).await;
    let challenge = answer.header("www-authenticate");
    assert!(
        challenge.ends_with("scope=\"mcp:search:* mcp:mail:*\""),
        "{challenge}"
    );
}

#[tokio::test]
async fn a_handler_sees_before_it_begins_whether_all_of_it_is_permitted() {
    let scene = Scene::new().await;
    let token = token(&leaf());
    let principal = scene
        .verifier
        .verify(&super::scene::bearer(&token))
        .unwrap();
    let both = ["mcp:search:web", "mcp:mail:inbox"];
    let refused = principal.foresee("call", &both).unwrap_err();
    assert_eq!(refused.scope(), Some("mcp:search:* mcp:mail:*"));
    let unknown = principal.foresee("call", &["db:rows"]).unwrap_err();
    assert_eq!(
        (unknown.code(), unknown.challenge()),
        ("insufficient_scope", None)
    );
    assert_eq!(
        principal.foresee("", &both).unwrap_err().code(),
        "insufficient_scope"
    );
    // The twin; and a token that is over permits nothing of it.
    assert!(principal.foresee("call", &both[..1]).is_ok());
    scene.clock.advance(Duration::from_secs(3_600));
    assert!(principal.foresee("call", &both[..1]).is_err());
}
