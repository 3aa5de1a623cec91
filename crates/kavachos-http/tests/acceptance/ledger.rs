//! The record: one for each decision and each act, found again, bounded against strangers, and damage shows.

use kavachos_test::{Setup, TestApp, damage, may};
use serde_json::{Value, json};

/// The codes of the records that these filters leave, newest first.
async fn codes(app: &TestApp, filters: &str) -> Vec<String> {
    let records = app.audit(filters).await;
    records
        .iter()
        .map(|record| record["code"].as_str().unwrap().to_owned())
        .collect()
}

/// B4.
#[tokio::test]
async fn b04_the_record_says_who_did_what_for_whom_and_from_where() {
    let app = TestApp::start().await;
    let user = app.user().await;
    let agent = app.agent(&user, may(&["read"], "mcp:github:*")).await;
    let question = json!({ "action": "read", "resource": "mcp:github:repos", "arguments": { "q": "secret words" } });
    let caller = app.call(&agent.key).header("user-agent", "reader/1.0");
    let reply = caller
        .post("/api/v1/authorize", question)
        .await
        .decided("allowed");
    let path = format!("/api/v1/audit/{}", reply.text_at("/data/auditId"));
    let record = app.operator().get(&path).await.expect(200);
    for (member, value) in [
        ("id", reply.text_at("/data/auditId")),
        ("requestId", reply.header("x-request-id")),
        ("kind", "decision"),
        ("actor", &agent.id),
        ("agent", &agent.id),
        ("subject", &user),
        ("action", "read"),
        ("resource", "mcp:github:repos"),
        ("outcome", "allowed"),
        ("code", "allowed"),
        ("ip", "127.0.0.1"),
        ("userAgent", "reader/1.0"),
        ("time", "2026-11-21T10:00:00Z"),
    ] {
        assert_eq!(
            record.at(&format!("/data/{member}")),
            value,
            "{member}: {record}"
        );
    }
    assert_eq!(record.at("/data/grantPath"), &json!([agent.grant]));
    assert_eq!(record.at("/data/details/selfReported"), true);
    assert!(record.at("/data/argumentsDigest").is_string(), "{record}");
    assert!(
        !record.text.contains("secret words"),
        "arguments are kept as a digest"
    );
    let listed = app.audit("kind=decision").await;
    assert_eq!(
        listed,
        [record.at("/data").clone()],
        "one record, the same in the list"
    );
}

/// B25, F16: a delegated allow is one record, and a denial says which hop of which path stood against it.
#[tokio::test]
async fn b25_f16_one_record_for_each_decision() {
    let app = TestApp::start().await;
    let user = app.user().await;
    let giver = app.agent(&user, may(&["read"], "mcp:*")).await;
    let agent = app.agent(&user, may(&["read"], "mcp:own")).await;
    let grant = app
        .delegate(&giver.id, &agent.id, may(&["read"], "mcp:x"))
        .await
        .expect(201);
    let before = app.head().size;
    let mut ids = Vec::new();
    for (resource, code) in [
        ("mcp:x", "allowed"),
        ("mcp:own", "allowed"),
        ("mcp:no", "permission_denied"),
    ] {
        let reply = app.decide(&agent.id, "read", resource).await.decided(code);
        ids.push(reply.text_at("/data/auditId").to_owned());
    }
    app.decide("agent_01h455vb4pex5vsknk084sn02q", "read", "mcp:x")
        .await
        .decided("unknown_agent");
    assert_eq!(app.head().size, before + 4);
    let shown = async |id: &str| {
        app.operator()
            .get(&format!("/api/v1/audit/{id}"))
            .await
            .expect(200)
    };
    let delegated = shown(&ids[0]).await;
    assert_eq!(
        delegated.at("/data/grantPath"),
        &json!([giver.grant, grant.id()])
    );
    assert_eq!(delegated.at("/data/chain"), &json!([giver.id]));
    let denied = shown(&ids[2]).await;
    assert_eq!(
        denied.at("/data/details/paths").as_array().map(Vec::len),
        Some(2),
        "{denied}"
    );
}

/// An act of management, and the kind and code of the one record that it leaves.
struct Act {
    what: &'static str,
    status: u16,
    record: (&'static str, &'static str),
}

/// B25, F16: one record for each act of management, also for one that was refused.
#[tokio::test]
async fn b25_f16_one_record_for_each_act_of_management_also_failures() {
    let app = TestApp::start().await;
    let operator = app.operator();
    let reader = app.call(
        &app.key(json!({ "name": "r", "scopes": ["audit:read"] }))
            .await,
    );
    let user = app.user().await;
    let agent = app.agent(&user, may(&["read"], "mcp:*")).await;
    let other = app.agent(&user, may(&["read"], "mcp:none")).await;
    let (agents, users, keys) = ("/api/v1/agents", "/api/v1/users", "/api/v1/keys");
    let (a, u) = (format!("{agents}/{}", agent.id), format!("{users}/{user}"));
    let new_agent = |resource: &str| json!({ "ownerId": agent.id, "name": "n", "type": "service", "permissions": may(&["read"], resource) });
    let give = |resource: &str| json!({ "from": agent.id, "to": other.id, "permissions": may(&["read"], resource), "reason": "r" });
    let nobody = format!("{agents}/agent_01h455vb4pex5vsknk084sn02q");
    let key = json!({ "name": "k", "scopes": ["audit:read"] });
    let grant = operator
        .post("/api/v1/delegations", give("mcp:y"))
        .await
        .expect(201);
    let made = operator.post(keys, key.clone()).await.expect(201);
    let (grant, made) = (
        format!("/api/v1/delegations/{}", grant.id()),
        format!("{keys}/{}", made.id()),
    );
    let empty = json!({});

    let mut size = app.head().size;
    let mut check = async |reply: kavachos_test::Reply, act: Act| {
        let Act {
            what,
            status,
            record,
        } = act;
        assert_eq!(reply.status, status, "{what}: {reply}");
        assert_eq!(app.head().size, size + 1, "{what}");
        size += 1;
        let kept = &app
            .audit(&format!("requestId={}", reply.header("x-request-id")))
            .await;
        assert_eq!(kept.len(), 1, "{what}");
        let found = (
            kept[0]["kind"].as_str().unwrap(),
            kept[0]["code"].as_str().unwrap(),
        );
        assert_eq!(found, record, "{what}");
        let outcome = if record.1 == "done" {
            "allowed"
        } else {
            "denied"
        };
        assert_eq!(kept[0]["outcome"], outcome, "{what}");
    };
    let act = |what, status, kind, code| Act {
        what,
        status,
        record: (kind, code),
    };
    check(
        operator.post(agents, new_agent("mcp:x")).await,
        act("create", 201, "agent.created", "done"),
    )
    .await;
    check(
        operator.post(agents, new_agent("*")).await,
        act("wider", 403, "agent.created", "not_narrower"),
    )
    .await;
    check(
        reader.post(agents, new_agent("mcp:x")).await,
        act("scope", 403, "agent.created", "forbidden"),
    )
    .await;
    check(
        operator.patch(&a, json!({ "name": "m" })).await,
        act("change", 200, "agent.updated", "done"),
    )
    .await;
    check(
        operator.patch(&nobody, json!({ "name": "m" })).await,
        act("change nobody", 404, "agent.updated", "not_found"),
    )
    .await;
    check(
        operator.post(&format!("{a}/rotate"), empty.clone()).await,
        act("rotate", 201, "agent.rotated", "done"),
    )
    .await;
    check(
        reader.post(&format!("{a}/rotate"), empty.clone()).await,
        act("rotate", 403, "agent.rotated", "forbidden"),
    )
    .await;
    check(
        operator.post(&format!("{a}/resume"), empty.clone()).await,
        act("resume", 409, "agent.resumed", "conflict"),
    )
    .await;
    check(
        operator.post("/api/v1/delegations", give("mcp:x")).await,
        act("give", 201, "delegation.created", "done"),
    )
    .await;
    check(
        operator.post("/api/v1/delegations", give("*")).await,
        act("give", 403, "delegation.created", "not_narrower"),
    )
    .await;
    check(
        reader.delete(&grant).await,
        act("revoke", 403, "delegation.revoked", "forbidden"),
    )
    .await;
    check(
        operator.delete(&grant).await,
        act("revoke", 200, "delegation.revoked", "done"),
    )
    .await;
    check(
        operator.post(&format!("{a}/suspend"), empty.clone()).await,
        act("suspend", 200, "agent.suspended", "done"),
    )
    .await;
    check(
        operator.post(&format!("{a}/resume"), empty.clone()).await,
        act("resume", 200, "agent.resumed", "done"),
    )
    .await;
    check(
        operator.delete(&a).await,
        act("revoke", 200, "agent.revoked", "done"),
    )
    .await;
    check(
        operator.post(&format!("{a}/rotate"), empty.clone()).await,
        act("rotate", 409, "agent.rotated", "conflict"),
    )
    .await;
    check(
        operator.post(keys, key.clone()).await,
        act("key", 201, "key.created", "done"),
    )
    .await;
    check(
        reader.post(keys, key).await,
        act("key", 403, "key.created", "forbidden"),
    )
    .await;
    check(
        operator.patch(&made, json!({ "name": "m" })).await,
        act("key", 200, "key.updated", "done"),
    )
    .await;
    check(
        operator.delete(&made).await,
        act("key", 200, "key.revoked", "done"),
    )
    .await;
    check(
        operator.post(users, json!({ "name": "n" })).await,
        act("user", 201, "user.created", "done"),
    )
    .await;
    check(
        operator.patch(&u, json!({ "name": "m" })).await,
        act("user", 200, "user.updated", "done"),
    )
    .await;
    check(
        operator.post(&format!("{u}/ban"), empty.clone()).await,
        act("ban", 200, "user.banned", "done"),
    )
    .await;
    check(
        operator.post(&format!("{u}/ban"), empty.clone()).await,
        act("ban", 409, "user.banned", "conflict"),
    )
    .await;
    check(
        operator.post(&format!("{u}/unban"), empty.clone()).await,
        act("unban", 200, "user.unbanned", "done"),
    )
    .await;
    check(
        operator.delete(&u).await,
        act("delete", 200, "user.deleted", "done"),
    )
    .await;
    check(
        operator.patch(&u, json!({ "name": "m" })).await,
        act("delete", 409, "user.updated", "conflict"),
    )
    .await;
}

/// F16: a refusal of someone without a live credential is a record too.
#[tokio::test]
async fn f16_a_bad_token_leaves_a_record_with_its_source() {
    let app = TestApp::start().await;
    let user = app.user().await;
    let agent = app.agent(&user, may(&["read"], "mcp:x")).await;
    let rotate = format!("/api/v1/agents/{}/rotate", agent.id);
    app.operator().post(&rotate, json!({})).await.expect(201);
    for caller in [
        app.anonymous(),
        app.call("kv_agent_wrong"),
        // Known, but dead: where no decision is asked for it is a stranger.
        app.call(&agent.key),
    ] {
        let caller = caller.from("127.0.0.2").header("user-agent", "curl/9");
        let reply = caller
            .get("/api/v1/agents")
            .await
            .refused(401, "unauthenticated");
        // The answer does not wait for the record.
        app.operator()
            .post("/api/v1/users", json!({ "name": "next" }))
            .await
            .expect(201);
        let found = app
            .audit(&format!("requestId={}", reply.header("x-request-id")))
            .await;
        assert_eq!(found.len(), 1, "{reply}");
        for (member, value) in [
            ("kind", "refusal"),
            ("code", "unauthenticated"),
            ("outcome", "denied"),
            ("actor", "stranger"),
            ("ip", "127.0.0.2"),
            ("userAgent", "curl/9"),
        ] {
            assert_eq!(found[0][member], value, "{member}");
        }
    }
    app.audit("kind=refusal&outcome=allowed")
        .await
        .is_empty()
        .then_some(())
        .unwrap();
}

/// How many requests of strangers the ledger knows of: single ones and counted ones.
async fn strangers(app: &TestApp) -> (u64, u64) {
    let single = app.audit("kind=refusal&limit=1000").await.len();
    let counted = app.audit("kind=refusals&limit=1000").await;
    let counts = counted
        .iter()
        .map(|record| record["details"]["count"].as_u64().unwrap());
    (single.try_into().unwrap(), counts.sum())
}

/// Ledger.md: strangers cannot fill the disk, and the sum is exact.
#[tokio::test]
async fn a_flood_of_bad_tokens_is_counted_exactly() {
    let app = TestApp::start().await;
    let flood = async |address: &str, requests: usize| {
        for _ in 0..requests {
            let stranger = app.call("kv_key_wrong").from(address);
            stranger
                .get("/api/v1/agents")
                .await
                .refused(401, "unauthenticated");
        }
    };
    flood("127.0.0.1", 120).await;
    app.kavach().engine().flush_refusals().await;
    assert_eq!(strangers(&app).await, (10, 110));
    // One network is one source; what is written once is not written again.
    flood("127.0.0.2", 5).await;
    app.kavach().engine().flush_refusals().await;
    assert_eq!(strangers(&app).await, (10, 115));
    flood("127.1.0.1", 3).await;
    app.kavach().engine().flush_refusals().await;
    assert_eq!(strangers(&app).await, (13, 115));
    app.advance(60);
    flood("127.0.0.1", 11).await;
    app.kavach().engine().flush_refusals().await;
    assert_eq!(strangers(&app).await, (23, 116));
    // The twin: a known caller's refusals are single, all of them.
    let reader = app.call(
        &app.key(json!({ "name": "r", "scopes": ["audit:read"] }))
            .await,
    );
    for _ in 0..30 {
        reader
            .post("/api/v1/users", json!({ "name": "n" }))
            .await
            .refused(403, "forbidden");
    }
    assert_eq!(
        app.audit("kind=user.created&code=forbidden").await.len(),
        30
    );
}

/// Ledger.md: an agent that is denied too often is counted, with a 429, until the minute is over.
#[tokio::test]
async fn an_agent_that_is_denied_too_often_gets_429_and_a_counted_record() {
    for (limit, single) in [(5, 5_usize), (600, 12)] {
        let app = Setup::default()
            .settings(|s| s.denials_per_minute = limit)
            .start()
            .await;
        let agent = app.agent(&app.user().await, may(&["read"], "mcp:x")).await;
        let ask = |resource: &str| json!({ "action": "read", "resource": resource });
        let caller = app.call(&agent.key);
        for n in 0..12 {
            let reply = caller.post("/api/v1/authorize", ask("mcp:no")).await;
            if n < single {
                reply.decided("permission_denied");
            } else {
                let reply = reply.refused(429, "too_many_requests");
                assert_eq!(reply.header("retry-after"), "60");
            }
        }
        // What it may do, it still may do.
        caller
            .post("/api/v1/authorize", ask("mcp:x"))
            .await
            .decided("allowed");
        app.kavach().engine().flush_refusals().await;
        let denials = app.audit("kind=decision&outcome=denied").await.len();
        let counted = app
            .audit(&format!("kind=refusals&agentId={}", agent.id))
            .await
            .len()
            + app.audit("kind=refusals").await.len();
        assert_eq!(denials, single);
        assert_eq!(counted > 0, single < 12);
        let counts: u64 = app
            .audit("kind=refusals")
            .await
            .iter()
            .map(|r| r["details"]["count"].as_u64().unwrap())
            .sum();
        assert_eq!(u64::try_from(single).unwrap() + counts, 12);
        app.advance(60);
        caller
            .post("/api/v1/authorize", ask("mcp:no"))
            .await
            .decided("permission_denied");
    }
}

/// A ledger to look through: three agents, two humans, decisions a minute apart.
async fn filled(app: &TestApp) -> (Vec<String>, Vec<kavachos_test::TestAgent>) {
    let users = vec![app.user().await, app.user().await];
    let agents = vec![
        app.agent(&users[0], may(&["read", "list"], "mcp:github:*"))
            .await,
        app.agent(&users[1], may(&["read"], "mcp:slack:*")).await,
    ];
    let sub = app
        .agent(&agents[0].id, may(&["read"], "mcp:github:repos"))
        .await;
    for (agent, action, resource) in [
        (&agents[0], "read", "mcp:github:repos"),
        (&agents[0], "list", "mcp:github:repos:1"),
        (&agents[1], "read", "mcp:slack:send"),
        (&agents[1], "read", "mcp:github:repos"),
        (&sub, "read", "mcp:github:repos"),
        (&sub, "read", "mcp:github:issues"),
    ] {
        app.advance(60);
        app.decide(&agent.id, action, resource).await;
    }
    (users, [agents, vec![sub]].concat())
}

/// B26.
#[tokio::test]
async fn b26_filters_leave_what_they_say() {
    let app = TestApp::start().await;
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
    let app = TestApp::start().await;
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
    let app = TestApp::start().await;
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
    let app = TestApp::start().await;
    for _ in 0..110 {
        app.user().await;
    }
    let page = app.operator().get("/api/v1/audit").await.expect(200);
    assert_eq!(page.rows().len(), 100);
    assert!(page.at("/nextCursor").is_string());
}

/// The texts of people stay out of the body: nothing that names them is part of the tree.
#[tokio::test]
async fn people_are_in_the_tree_by_a_random_name_alone() {
    let mut app = Setup::default().in_a_file().start().await;
    let body = json!({ "name": "Ada Lovelace", "email": "ada@example.com" });
    let user = app
        .operator()
        .header("user-agent", "secret-agent")
        .post("/api/v1/users", body)
        .await
        .expect(201);
    let agent = app.agent(user.id(), may(&["read"], "mcp:x")).await;
    app.decide(&agent.id, "read", "mcp:x")
        .await
        .decided("allowed");
    let bodies: String = app
        .restart_after(|database| {
            let mut statement = database.prepare("SELECT body FROM ledger").unwrap();
            let rows = statement
                .query_map([], |row| row.get::<_, String>(0))
                .unwrap();
            rows.map(Result::unwrap).collect()
        })
        .await;
    for personal in [
        "Ada Lovelace",
        "ada@example.com",
        "secret-agent",
        "127.0.0.1",
        user.id(),
    ] {
        assert!(!bodies.contains(personal), "{personal}");
    }
    assert!(
        bodies.contains(&agent.id),
        "what is no person's stays in the open"
    );
}

/// B25, F17: every change of a stored row shows. The server's own `verify` comes later; this is its arithmetic.
#[tokio::test]
async fn b25_f17_damage_to_any_stored_row_is_seen() {
    for (damaged, statements) in [
        (None, vec![]),
        (
            Some("record 5:"),
            vec!["UPDATE ledger SET body = replace(body, 'allowed', 'denied') WHERE seq = 5"],
        ),
        (
            Some("record 5:"),
            vec!["UPDATE ledger SET time = time - 1 WHERE seq = 5"],
        ),
        (
            Some("record 5:"),
            vec!["UPDATE ledger SET outcome = 'denied' WHERE seq = 5"],
        ),
        (
            Some("record 5:"),
            vec!["UPDATE ledger SET personal = replace(personal, '127', '126') WHERE seq = 5"],
        ),
        (
            Some("record 5:"),
            vec!["UPDATE ledger SET agent = NULL, leaf = zeroblob(32) WHERE seq = 5"],
        ),
        (Some("record 5:"), vec!["DELETE FROM ledger WHERE seq = 5"]),
        (Some("record 0:"), vec!["DELETE FROM ledger WHERE seq = 0"]),
        (
            Some("8 of 9 records"),
            vec!["DELETE FROM ledger WHERE seq = 8"],
        ),
        (
            Some("record 4:"),
            vec![
                "UPDATE ledger SET seq = 2000 WHERE seq = 4",
                "UPDATE ledger SET seq = 4 WHERE seq = 5",
                "UPDATE ledger SET seq = 5 WHERE seq = 2000",
            ],
        ),
        (
            Some("record 9:"),
            vec![
                "INSERT INTO ledger SELECT 20, time, id || 'x', kind, outcome, code, actor, subject, agent, action, \
             resource, request_id, body, salt, personal, leaf FROM ledger WHERE seq = 5",
            ],
        ),
    ] {
        let mut app = Setup::default().in_a_file().start().await;
        let agent = app.agent(&app.user().await, may(&["read"], "mcp:x")).await;
        for _ in 0..6 {
            app.decide(&agent.id, "read", "mcp:x")
                .await
                .decided("allowed");
        }
        let head = app.head();
        assert_eq!(head.size, 9);
        let found = app
            .restart_after(|database| {
                for statement in statements {
                    assert_eq!(database.execute(statement, []).unwrap(), 1, "{statement}");
                }
                damage(database, &head)
            })
            .await;
        match damaged {
            None => assert_eq!(found, None),
            Some(place) => assert!(
                found.as_deref().is_some_and(|text| text.starts_with(place)),
                "{found:?}"
            ),
        }
    }
}

/// The codes of refused questions are told apart in the record.
#[tokio::test]
async fn denials_are_recorded_under_their_codes() {
    let app = TestApp::start().await;
    let agent = app.agent(&app.user().await, may(&["read"], "mcp:x")).await;
    app.decide(&agent.id, "read", "mcp:y")
        .await
        .decided("permission_denied");
    app.operator()
        .delete(&format!("/api/v1/agents/{}", agent.id))
        .await
        .expect(200);
    app.decide(&agent.id, "read", "mcp:x")
        .await
        .decided("agent_revoked");
    let question = json!({ "action": "read", "resource": "mcp:x" });
    app.call(&agent.key)
        .post("/api/v1/authorize", question)
        .await
        .decided("key_revoked");
    assert_eq!(
        codes(&app, "kind=decision").await,
        ["key_revoked", "agent_revoked", "permission_denied"]
    );
}
