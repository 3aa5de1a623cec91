//! What only the server can decide, and what is told to it.

use std::sync::Arc;
use std::time::Duration;

use kavachos_core::decide;
use kavachos_core::token::Leaf;
use serde_json::{Value, json};

use super::issuer::{FakeIssuer, FixedClock, NOW, key, seconds};
use super::scene::{Answer, Scene, bearer, builder, dpop, leaf, permitting, proof, token};
use crate::authorize::Allowed;
use crate::builder::Builder;
use crate::principal::{Principal, ToolCall};
use crate::rejection::Rejection;
use crate::reports::Reports;
use crate::tasks::Tasks;
use crate::verifier::Verifier;

pub(super) const ASKED: &str = "/api/v1/authorize";
const REPORTED: &str = "/api/v1/reports";

fn limited() -> Leaf {
    constrained(&json!({"rate": {"limit": 5, "per": 60}}))
}

pub(super) fn constrained(constraints: &Value) -> Leaf {
    permitting(&json!([{"resource": "mcp:search:*", "actions": ["*"], "constraints": constraints}]))
}

async fn principal(scene: &Scene, leaf: &Leaf) -> Principal {
    scene.verifier.verify(&bearer(&token(leaf))).unwrap()
}

pub(super) async fn search(scene: &Scene, leaf: &Leaf) -> Result<Allowed, Rejection> {
    let arguments = json!({"query": "otters"});
    let principal = principal(scene, leaf).await;
    principal
        .authorize("call", "mcp:search:web", Some(&arguments), None)
        .await
}

pub(super) fn decision(code: &str) -> (u16, Value) {
    let data =
        json!({"allowed": code == "allowed", "code": code, "reason": "why", "auditId": "audit_1"});
    (200, json!({ "data": data }))
}

#[tokio::test]
async fn a_rate_is_for_the_server_to_decide_and_all_else_is_not() {
    let scene = Scene::new().await;
    assert_eq!(search(&scene, &leaf()).await.unwrap().audit_id, None);
    assert_eq!(
        scene.issuer.count(ASKED),
        0,
        "the twin: no rate, no question"
    );
    scene
        .issuer
        .state()
        .decisions
        .push_back(decision("allowed"));
    let allowed = search(&scene, &limited()).await.unwrap();
    assert_eq!(allowed.audit_id.as_deref(), Some("audit_1"));
    assert_eq!(scene.issuer.count(ASKED), 1);
}

#[tokio::test]
async fn the_server_is_asked_with_the_token_and_all_that_is_known_of_the_call() {
    let scene = Scene::new().await;
    scene
        .issuer
        .state()
        .decisions
        .push_back(decision("allowed"));
    let arguments = json!({"query": "otters"});
    let cost = serde_json::from_value(json!({"amount": 3, "unit": "tokens"})).unwrap();
    let call = ToolCall {
        arguments: Some(&arguments),
        ip: Some("192.0.2.1".parse().unwrap()),
        user_agent: Some("otter/1"),
        cost: Some(&cost),
        ..ToolCall::new("call", "mcp:search:web")
    };
    principal(&scene, &limited())
        .await
        .authorize_call(&call)
        .await
        .unwrap();
    let state = scene.issuer.state();
    let (path, asked) = state.asked.last().unwrap();
    assert_eq!(path, ASKED);
    assert_eq!(
        *asked,
        json!({"token": token(&limited()), "action": "call", "resource": "mcp:search:web",
            "arguments": {"query": "otters"}, "context": {"ip": "192.0.2.1", "userAgent": "otter/1"},
            "cost": {"amount": 3, "unit": "tokens"}})
    );
}

#[tokio::test]
async fn the_server_is_told_which_key_was_proved_with_a_bound_token() {
    let scene = Scene::new().await;
    let token = token(&Leaf {
        bound_to: Some(key(3).thumbprint()),
        ..limited()
    });
    let shown = proof(&token, "one", None, None);
    let principal = scene.verifier.verify(&dpop(&token, &shown)).unwrap();
    scene
        .issuer
        .state()
        .decisions
        .push_back(decision("allowed"));
    let call = ToolCall::new("call", "mcp:search:web");
    principal.authorize_call(&call).await.unwrap();
    let state = scene.issuer.state();
    let (_, asked) = state.asked.last().unwrap();
    assert_eq!(asked["proven"], json!(key(3).thumbprint()));
}

#[tokio::test]
async fn what_the_server_denies_is_denied_with_its_code() {
    let scene = Scene::new().await;
    for (decided, status, code) in [
        ("permission_denied", 403, "insufficient_scope"),
        ("argument_not_allowed", 403, "constraint_failed"),
        ("ip_not_allowed", 403, "constraint_failed"),
        ("outside_time_window", 403, "constraint_failed"),
        ("grant_expired", 403, "constraint_failed"),
        ("approval_required", 403, "approval_required"),
        ("approval_pending", 403, "approval_required"),
        ("approval_denied", 403, "approval_required"),
        ("rate_limited", 429, "rate_limited"),
        ("budget_exhausted", 429, "rate_limited"),
        ("ancestor_not_active", 401, "revoked"),
        ("agent_suspended", 401, "revoked"),
        ("owner_not_active", 401, "revoked"),
        ("denied_by_hook", 403, "constraint_failed"),
    ] {
        scene.issuer.state().decisions.push_back(decision(decided));
        let rejection = search(&scene, &limited()).await.unwrap_err();
        assert_eq!(
            (rejection.status().as_u16(), rejection.code()),
            (status, code),
            "{decided}"
        );
        assert_eq!(
            rejection.decision().map(decide::Code::as_str),
            Some(decided)
        );
    }
}

#[tokio::test]
async fn an_answer_that_contradicts_itself_or_is_not_known_is_a_denial() {
    let scene = Scene::new().await;
    let mut odd = decision("permission_denied");
    odd.1["data"]["allowed"] = true.into();
    let mut new = decision("allowed");
    new.1["data"]["allowed"] = false.into();
    for answer in [odd, new, decision("not_known_yet")] {
        scene.issuer.state().decisions.push_back(answer);
        assert_eq!(search(&scene, &limited()).await.unwrap_err().status(), 403);
    }
}

#[tokio::test]
async fn an_approval_and_a_limit_come_with_what_helps() {
    let scene = Scene::new().await;
    let mut asked = decision("approval_required");
    asked.1["data"]["approvalId"] = "appr_1".into();
    let mut limit = decision("rate_limited");
    limit.1["data"]["retryAfter"] = 17.into();
    scene.issuer.state().decisions.extend([asked, limit]);
    let rejection = search(&scene, &limited()).await.unwrap_err();
    let response = rejection.to_response::<axum::body::Body>();
    let answer = Answer::of(response).await;
    assert_eq!(answer.body["error"]["approvalId"], "appr_1");
    assert_eq!(answer.body["error"]["detail"], "approval_required");
    let rejection = search(&scene, &limited()).await.unwrap_err();
    assert_eq!(rejection.retry_after(), Some(Duration::from_secs(17)));
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_human_is_told_the_page_where_they_answer() {
    const ID: &str = "approval_01m7yw4nvqf69a541nr13qmn5z";
    let page = format!("https://auth.example.com/account/approvals/{ID}");
    for (code, id, told) in [
        ("approval_required", ID, Some(page.as_str())),
        ("approval_pending", ID, Some(page.as_str())),
        // The twins: there is nothing left to answer, or nothing that is a request.
        ("approval_denied", ID, None),
        ("approval_required", "../../sign-out", None),
    ] {
        let scene = Scene::new().await;
        let mut asked = decision(code);
        asked.1["data"]["approvalId"] = id.into();
        scene.issuer.state().decisions.push_back(asked);
        let rejection = search(&scene, &limited()).await.unwrap_err();
        assert_eq!(rejection.approval_page(), told, "{code} {id}");
        let answer = Answer::of(rejection.to_response::<axum::body::Body>()).await;
        assert_eq!(answer.body["error"]["approvalPage"].as_str(), told);
    }
}

#[tokio::test]
async fn where_the_server_cannot_be_asked_the_call_is_refused() {
    let approved = constrained(&json!({"requireApproval": true}));
    let budget = constrained(&json!({"budget": {"amount": 5, "unit": "calls"}}));
    for (leaf, status, code) in [
        (limited(), 429, "rate_limited"),
        (budget, 429, "rate_limited"),
        (approved, 403, "approval_required"),
    ] {
        let refused = |rejection: Rejection| {
            assert_eq!(
                (rejection.status().as_u16(), rejection.code()),
                (status, code)
            );
        };
        let scene = Scene::new().await;
        scene.issuer.state().down = Some(ASKED);
        refused(search(&scene, &leaf).await.unwrap_err());
        for answer in [
            (401, json!({})),
            (500, json!({})),
            (200, json!({})),
            (200, json!({"data": {}})),
        ] {
            scene.issuer.state().down = None;
            scene.issuer.state().decisions.push_back(answer);
            refused(search(&scene, &leaf).await.unwrap_err());
        }
        assert_eq!(scene.verifier.stats().ask_failures, 5);
        let scene = Scene::with(Builder::never_ask).await;
        refused(search(&scene, &leaf).await.unwrap_err());
        assert_eq!(scene.issuer.count(ASKED), 0);
    }
}

#[tokio::test]
async fn what_is_denied_here_is_not_asked() {
    let scene = Scene::new().await;
    let arguments = json!({"args": {"/query": {"eq": "cats"}}, "rate": {"limit": 5, "per": 60}});
    let rejection = search(&scene, &constrained(&arguments)).await.unwrap_err();
    assert_eq!(rejection.code(), "constraint_failed");
    let none = constrained(&json!({"rate": {"limit": 0, "per": 60}}));
    assert_eq!(
        search(&scene, &none).await.unwrap_err().code(),
        "rate_limited"
    );
    let principal = principal(&scene, &limited()).await;
    let other = principal
        .authorize("call", "mcp:mail:inbox", None, None)
        .await;
    assert_eq!(other.unwrap_err().code(), "insufficient_scope");
    let unnamed = principal.authorize("call", "mcp::inbox", None, None).await;
    assert_eq!(unnamed.unwrap_err().code(), "insufficient_scope");
    let huge = json!({"n": 9_007_199_254_740_993_u64});
    let unread = principal
        .authorize("call", "mcp:search:web", Some(&huge), None)
        .await;
    assert_eq!(unread.unwrap_err().code(), "malformed_request");
    assert_eq!(scene.issuer.count(ASKED), 0);
}

/// A verifier that reports, without other tasks.
async fn reporting() -> (FakeIssuer, Verifier) {
    reporting_with(|builder| builder).await
}

pub(super) async fn reporting_with(
    told: impl FnOnce(Builder) -> Builder,
) -> (FakeIssuer, Verifier) {
    let (issuer, clock) = (FakeIssuer::new(), FixedClock::at(seconds(NOW)));
    let core = Arc::new(told(builder(&issuer, &clock)).prepare().await.unwrap());
    let reports = Reports::start(core.client.clone(), Arc::clone(&core.counters));
    (issuer, Verifier::new(core, Some(reports), Tasks::none()))
}

#[tokio::test(start_paused = true)]
async fn decisions_that_are_made_here_are_reported_together() {
    let (issuer, verifier) = reporting().await;
    let principal = verifier.verify(&bearer(&token(&leaf()))).unwrap();
    principal
        .authorize("call", "mcp:search:web", None, None)
        .await
        .unwrap();
    drop(
        principal
            .authorize("call", "mcp:mail:inbox", None, None)
            .await,
    );
    assert_eq!(issuer.count(REPORTED), 0, "nobody waits for it");
    // The last handle goes; what was taken is sent all the same.
    drop((verifier, principal));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(issuer.count(REPORTED), 1);
    let state = issuer.state();
    let (_, said) = state.asked.last().unwrap();
    let decision = |resource: &str, allowed: bool, code: &str| {
        json!({"tokenId": leaf().life.id, "action": "call", "resource": resource, "allowed": allowed,
            "code": code, "time": "2026-11-21T10:00:00Z", "proven": false})
    };
    assert_eq!(
        said["decisions"],
        json!([
            decision("mcp:search:web", true, "allowed"),
            decision("mcp:mail:inbox", false, "insufficient_scope")
        ])
    );
}

#[tokio::test(start_paused = true)]
async fn a_batch_whose_answer_is_lost_is_sent_again_under_the_same_name() {
    let (issuer, verifier) = reporting().await;
    let busy = json!({"error": {"code": "busy", "message": "later"}});
    issuer.state().reports.push_back((503, busy));
    let principal = verifier.verify(&bearer(&token(&leaf()))).unwrap();
    let searched = |principal: Principal| async move {
        let search = principal.authorize("call", "mcp:search:web", None, None);
        search.await.unwrap();
    };
    searched(principal.clone()).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    // The twin: another batch has another name.
    searched(principal).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let names = issuer.state().names.clone();
    assert_eq!((names.len(), &names[0]), (3, &names[1]));
    assert_ne!(names[1], names[2]);
    let stats = verifier.stats();
    // Of each batch the server recorded one, and refused one, as this one says.
    assert_eq!(
        (stats.reported, stats.reports_refused, stats.reports_dropped),
        (2, 2, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn what_the_server_decided_is_not_reported_again() {
    let (issuer, verifier) = reporting().await;
    issuer.state().decisions.push_back(decision("allowed"));
    let principal = verifier.verify(&bearer(&token(&limited()))).unwrap();
    principal
        .authorize("call", "mcp:search:web", None, None)
        .await
        .unwrap();
    drop((verifier, principal));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!((issuer.count(ASKED), issuer.count(REPORTED)), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn reports_that_nobody_takes_are_counted_and_never_waited_for() {
    let (issuer, verifier) = reporting().await;
    issuer.state().down = Some(REPORTED);
    let principal = verifier.verify(&bearer(&token(&leaf()))).unwrap();
    for _ in 0..10_050 {
        principal
            .authorize("call", "mcp:search:web", None, None)
            .await
            .unwrap();
    }
    let full = verifier.stats().reports_dropped;
    assert!((1..=50).contains(&full), "{full} found no room");
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert_eq!(verifier.stats().reports_dropped, 10_050);
    assert_eq!(verifier.stats().reported, 0);
}
