//! Quotas: exact, also when everyone comes at once.

use futures_util::future::join_all;
use kavachos_test::{TestApp, may};
use serde_json::json;

async fn create(app: &TestApp, owner: &str) -> (u16, String) {
    let body = json!({ "ownerId": owner, "name": "a", "type": "service", "permissions": may(&["read"], "mcp:x") });
    let reply = app.operator().post("/api/v1/agents", body).await;
    (reply.status, reply.code().to_owned())
}

/// B3, F24.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn b03_f24_twenty_parallel_creates_with_limit_five_leave_five() {
    for (limit, expected) in [(5, 5), (100, 20)] {
        let app = crate::setup()
            .settings(|s| s.agents_per_owner = limit)
            .start()
            .await;
        let owner = app.user().await;
        let replies = join_all((0..20).map(|_| create(&app, &owner))).await;
        let made = replies.iter().filter(|(status, _)| *status == 201).count();
        assert_eq!(made, expected, "{replies:?}");
        let refused = replies.iter().filter(|(status, _)| *status != 201);
        for (status, code) in refused {
            // Who met others eight times in a row is told to come again.
            let fine = [(422, "agent_limit_exceeded"), (409, "conflict")];
            assert!(fine.contains(&(*status, code.as_str())), "{status} {code}");
        }
        let listed = app
            .operator()
            .get(&format!("/api/v1/agents?ownerId={owner}"))
            .await
            .expect(200);
        assert_eq!(listed.rows().len(), expected);
    }
}

/// B3: one more than the limit is refused, and a revoked agent makes room.
#[tokio::test]
async fn b03_the_eleventh_agent_of_an_owner_is_refused_until_one_is_revoked() {
    let app = crate::setup()
        .settings(|s| s.agents_per_owner = 10)
        .start()
        .await;
    let owner = app.user().await;
    let first = app.agent(&owner, may(&["read"], "mcp:*")).await;
    // Sub-agents count for the human above.
    let sub = app.agent(&first.id, may(&["read"], "mcp:x")).await;
    for _ in 2..10 {
        assert_eq!(create(&app, &owner).await.0, 201);
    }
    for owner in [&owner, &first.id] {
        assert_eq!(
            create(&app, owner).await,
            (422, "agent_limit_exceeded".to_owned())
        );
    }
    let other = app.user().await;
    assert_eq!(create(&app, &other).await.0, 201);
    app.operator()
        .delete(&format!("/api/v1/agents/{}", sub.id))
        .await
        .expect(200);
    app.operator()
        .delete(&format!("/api/v1/agents/{}", sub.id))
        .await
        .expect(200);
    assert_eq!(create(&app, &owner).await.0, 201);
    assert_eq!(create(&app, &owner).await.0, 422);
}

/// Authority.md: children per grant.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twenty_parallel_delegations_with_limit_five_leave_five() {
    for (limit, expected) in [(5, 5), (1_000, 20)] {
        let app = crate::setup()
            .settings(|s| s.children_per_grant = limit)
            .start()
            .await;
        let owner = app.user().await;
        let giver = app.agent(&owner, may(&["read"], "mcp:*")).await;
        let mut receivers = Vec::new();
        for _ in 0..20 {
            receivers.push(app.agent(&owner, may(&["read"], "mcp:none")).await);
        }
        let give = receivers
            .iter()
            .map(|to| app.delegate(&giver.id, &to.id, may(&["read"], "mcp:x")));
        let replies = join_all(give).await;
        let made = replies.iter().filter(|reply| reply.status == 201).count();
        assert_eq!(made, expected);
        for reply in replies.into_iter().filter(|reply| reply.status != 201) {
            let fine = [(422, "grant_limit_exceeded"), (409, "conflict")];
            assert!(fine.contains(&(reply.status, reply.code())), "{reply}");
        }
    }
}

/// A grant that ended makes room for another one.
#[tokio::test]
async fn a_quota_of_grants_counts_the_live_ones() {
    let app = crate::setup()
        .settings(|s| s.grants_per_agent = 3)
        .start()
        .await;
    let owner = app.user().await;
    let giver = app.agent(&owner, may(&["read"], "mcp:*")).await;
    let to = app.agent(&owner, may(&["read"], "mcp:none")).await;
    let give = async || {
        app.delegate(&giver.id, &to.id, may(&["read"], "mcp:x"))
            .await
    };
    let first = give().await.expect(201);
    give().await.expect(201);
    give().await.refused(422, "grant_limit_exceeded");
    app.operator()
        .delete(&format!("/api/v1/delegations/{}", first.id()))
        .await
        .expect(200);
    give().await.expect(201);
    give().await.refused(422, "grant_limit_exceeded");
    app.advance(900);
    give().await.expect(201);
}
