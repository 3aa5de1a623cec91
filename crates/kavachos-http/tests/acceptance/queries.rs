//! Reading the ledger back: filters, pages, and what cannot be read.

use kavachos_test::{TestAgent, TestApp, may};
use serde_json::Value;

/// A ledger to look through: three agents, two humans, decisions a minute apart.
async fn filled(app: &TestApp) -> ([String; 2], [TestAgent; 3]) {
    let (ada, bob) = (app.user().await, app.user().await);
    let reader = app
        .agent(&ada, may(&["read", "list"], "mcp:github:*"))
        .await;
    let sender = app.agent(&bob, may(&["read"], "mcp:slack:*")).await;
    let sub = app
        .agent(&reader.id, may(&["read"], "mcp:github:repos"))
        .await;
    for (agent, action, resource) in [
        (&reader, "read", "mcp:github:repos"),
        (&reader, "list", "mcp:github:repos:1"),
        (&sender, "read", "mcp:slack:send"),
        (&sender, "read", "mcp:github:repos"),
        (&sub, "read", "mcp:github:repos"),
        (&sub, "read", "mcp:github:issues"),
    ] {
        app.advance(60);
        app.decide(&agent.id, action, resource).await;
    }
    ([ada, bob], [reader, sender, sub])
}

/// B26.
#[tokio::test]
async fn b26_filters_leave_what_they_say() {
    let app = crate::start().await;
    let (users, agents) = filled(&app).await;
    let (first, sub) = (&agents[0].id, &agents[2].id);
    for (filters, count) in [
        (String::new(), 6),
        (format!("agentId={first}"), 2),
        (format!("agentId={sub}"), 2),
        (format!("member={first}"), 4),
        (format!("member={sub}"), 2),
        (format!("userId={}", users[0]), 4),
        (format!("userId={}", users[1]), 2),
        ("userId=user_01h455vb4pex5vsknk084sn02q".to_owned(), 0),
        ("action=list".to_owned(), 1),
        ("action=read".to_owned(), 5),
        ("resource=mcp:github:repos".to_owned(), 3),
        ("resource=mcp:github:*".to_owned(), 5),
        ("resource=mcp:*:send".to_owned(), 1),
        ("resource=*".to_owned(), 6),
        ("outcome=allowed".to_owned(), 4),
        ("outcome=denied".to_owned(), 2),
        ("code=permission_denied".to_owned(), 2),
        ("since=2026-11-21T10:03:00Z".to_owned(), 4),
        ("until=2026-11-21T10:03:00Z".to_owned(), 2),
        (
            "since=2026-11-21T10:02:00Z&until=2026-11-21T10:04:00Z".to_owned(),
            2,
        ),
        (
            "since=2026-11-21T11:02:00%2B01:00&until=2026-11-21T10:04:00Z".to_owned(),
            2,
        ),
        (format!("agentId={first}&outcome=denied"), 0),
        (
            format!("member={first}&outcome=denied&resource=mcp:github:*"),
            1,
        ),
    ] {
        let found = app.audit(&format!("kind=decision&{filters}")).await;
        assert_eq!(found.len(), count, "{filters}");
    }
    let kinds = app.audit("kind=agent.created").await;
    assert_eq!(kinds.len(), 3);
}

/// B26: the filter comes before the limit, and pages join without a gap.
#[tokio::test]
async fn b26_pages_are_filtered_before_they_are_cut() {
    let app = crate::start().await;
    let (_, agents) = filled(&app).await;
    for filter in [
        "resource=mcp:github:*&kind=decision",
        "kind=decision&outcome=allowed",
        "outcome=denied",
        "",
    ] {
        let whole: Vec<Value> = app.audit(filter).await;
        let mut seen: Vec<Value> = Vec::new();
        let mut cursor = String::new();
        loop {
            let path = format!("/api/v1/audit?{filter}&limit=1{cursor}");
            let page = app
                .operator()
                .get(path.trim_end_matches('&'))
                .await
                .expect(200);
            assert!(page.rows().len() <= 1, "{page}");
            seen.extend(page.rows().to_vec());
            let Some(next) = page.at("/nextCursor").as_str() else {
                break;
            };
            cursor = format!("&cursor={next}");
            // What comes in meanwhile does not move the pages.
            app.decide(&agents[0].id, "read", "mcp:github:repos").await;
        }
        assert_eq!(seen, whole, "{filter}");
    }
}

/// B26: what cannot be read is refused.
#[tokio::test]
async fn b26_bad_filters_are_400_naming_the_parameter() {
    let app = crate::start().await;
    for (query, field) in [
        ("since=yesterday", "since"),
        ("until=2026-13-01T00:00:00Z", "until"),
        ("agentId=user_01h455vb4pex5vsknk084sn02q", "agentId"),
        ("userId=1", "userId"),
        ("member=x", "member"),
        ("resource=git*", "resource"),
        ("outcome=maybe", "outcome"),
        ("requestId=x", "requestId"),
        ("format=xml", "format"),
        ("agentid=x", "agentid"),
        ("kind=a&kind=b", "kind"),
    ] {
        let reply = app.operator().get(&format!("/api/v1/audit?{query}")).await;
        assert_eq!(reply.refused(400, "malformed_request").field(), field);
    }
    app.operator()
        .get("/api/v1/audit/audit_01h455vb4pex5vsknk084sn02q")
        .await
        .refused(404, "not_found");
    app.operator()
        .get("/api/v1/audit/1")
        .await
        .refused(400, "malformed_request");
}

/// A page has 100 records unless told otherwise.
#[tokio::test]
async fn b26_the_default_page_has_a_limit() {
    let app = crate::start().await;
    for _ in 0..110 {
        app.user().await;
    }
    let page = app.operator().get("/api/v1/audit").await.expect(200);
    assert_eq!(page.rows().len(), 100);
    assert!(page.at("/nextCursor").is_string());
}
