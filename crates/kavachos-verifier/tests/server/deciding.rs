//! What only the server decides, asked for over the network: rates are in `chain`; here budgets and approvals.

use std::time::Duration;

use kavachos_test::Reply;
use serde_json::json;

use crate::tool::Tool;
use crate::world::World;

async fn tool(world: &World) -> Tool {
    let verifier = world.verifier().wait_for_approval(Duration::ZERO);
    Tool::of(verifier.build().await.unwrap()).await
}

/// The request for approval that a refused call names.
fn approval(refused: &Reply) -> String {
    let id = refused.text_at("/error/approvalId");
    assert!(id.starts_with("approval_"), "{refused}");
    id.to_owned()
}

#[tokio::test]
async fn a_call_that_a_human_must_approve_passes_once_after_they_have() {
    let world = World::start().await;
    let tool = tool(&world).await;
    let token = world.token_under(json!({ "requireApproval": true })).await;
    let first = tool.call(&token, "fetch").await;
    let first = first.refused(403, "approval_required");
    assert_eq!(first.text_at("/error/detail"), "approval_required");
    let id = approval(&first);
    // Asked again, the same human is asked the same.
    let again = tool.call(&token, "fetch").await;
    assert_eq!(approval(&again.refused(403, "approval_required")), id);

    world.approve(&id).await;
    tool.call(&token, "fetch").await.expect(200);
    let used = tool.call(&token, "fetch").await;
    let used = used.refused(403, "approval_required");
    assert_ne!(approval(&used), id, "an approval is used once");
    assert_eq!(tool.verifier.stats().asked, 4);
    // The twin: without the constraint nobody is asked.
    let free = world.token_under(json!({})).await;
    tool.call(&free, "fetch").await.expect(200);
    assert_eq!(tool.verifier.stats().asked, 4);
}

#[tokio::test]
async fn a_budget_is_kept_by_the_server_over_all_tokens_of_a_grant() {
    let world = World::start().await;
    let tool = tool(&world).await;
    let budget = json!({ "budget": { "amount": 2, "unit": "calls" } });
    let token = world.token_under(budget).await;
    for _ in 0..2 {
        tool.call(&token, "fetch").await.expect(200);
    }
    let third = tool.call(&token, "fetch").await;
    let third = third.refused(429, "rate_limited");
    assert_eq!(third.text_at("/error/detail"), "budget_exhausted");
    // The twin.
    let wider = json!({ "budget": { "amount": 3, "unit": "calls" } });
    let token = world.token_under(wider).await;
    for _ in 0..3 {
        tool.call(&token, "fetch").await.expect(200);
    }
}

#[tokio::test]
async fn without_its_server_what_only_that_decides_is_refused_and_all_else_goes_on() {
    let world = World::start().await;
    let tool = tool(&world).await;
    let limited = world.token_for_one_call().await;
    let asking = world.token_under(json!({ "requireApproval": true })).await;
    let free = world.token().await;
    world.end().await;
    let rate = tool.call(&limited, "fetch").await;
    rate.refused(429, "rate_limited");
    let approval = tool.call(&asking, "fetch").await;
    approval.refused(403, "approval_required");
    // The twin.
    tool.search(&free).await.expect(200);
}
