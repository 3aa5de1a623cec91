//! The record: one for each decision and each act, nobody named in the tree, and damage shows.

use http::Method;
use kavachos_test::{TestApp, damage, may};
use serde_json::{Value, json};

use crate::chains::Chain;
use crate::routes::World;

/// A member of each record.
fn each<'a>(records: &'a [Value], member: &str) -> Vec<&'a str> {
    let text = |record: &'a Value| record.get(member).and_then(Value::as_str);
    records
        .iter()
        .map(|record| text(record).unwrap_or_default())
        .collect()
}

/// B4.
#[tokio::test]
async fn b04_the_record_says_who_did_what_for_whom_and_from_where() {
    let app = crate::start().await;
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
    let app = crate::start().await;
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

/// Ledger.md: `chain` names all ancestors, also of an act of management, so whoever looks for one finds all below it.
#[tokio::test]
async fn the_records_of_a_chain_name_all_that_stand_above() {
    let app = crate::start().await;
    let chain = Chain::new(&app).await;
    let (a, b) = (&chain.a.id, &chain.b.id);
    let given = app
        .audit(&format!("agentId={}&kind=delegation.created", chain.c.id))
        .await;
    assert_eq!(given[0]["chain"], json!([a, b]));
    assert_eq!(
        given[0]["grantPath"],
        json!([chain.a.grant, chain.links[0], chain.links[1]])
    );
    let second = format!("/api/v1/delegations/{}", chain.links[1]);
    app.operator().delete(&second).await.expect(200);
    let ended = app.audit("kind=delegation.revoked").await;
    assert_eq!(
        (&ended[0]["chain"], &ended[0]["grantPath"]),
        (&given[0]["chain"], &given[0]["grantPath"])
    );

    let sub = app.agent(a, may(&["read"], "mcp:github:x")).await;
    let below = app.agent(&sub.id, may(&["read"], "mcp:github:x")).await;
    let rotate = format!("/api/v1/agents/{}/rotate", below.id);
    app.operator().post(&rotate, json!({})).await.expect(201);
    app.operator()
        .delete(&format!("/api/v1/agents/{}", below.id))
        .await
        .expect(200);
    let records = app.audit(&format!("agentId={}", below.id)).await;
    assert_eq!(
        each(&records, "kind"),
        ["agent.revoked", "agent.rotated", "agent.created"]
    );
    for record in records {
        assert_eq!(record["chain"], json!([a, sub.id]), "{record}");
    }
    // The twin: what nobody stands above names nobody.
    let top = app.audit(&format!("agentId={a}&kind=agent.created")).await;
    assert!(
        top[0].get("chain").is_none_or(|chain| *chain == json!([])),
        "{}",
        top[0]
    );
}

/// Acts, each with the kind and the code of the one record that it leaves. A path that begins with `!` is called with a
/// key that may only read the ledger.
type Acts = Vec<(&'static str, Value, &'static str, &'static str)>;

async fn each_leaves_one_record(app: &TestApp, world: &World, acts: Acts) {
    let reader = app
        .key(json!({ "name": "r", "scopes": ["audit:read"] }))
        .await;
    for (what, body, kind, code) in acts {
        let caller = match what.starts_with('!') {
            true => app.call(&reader),
            false => app.operator(),
        };
        let (method, path) = what
            .trim_start_matches('!')
            .split_once(' ')
            .unwrap_or_default();
        let path = format!("/api/v1/{}", world.fill(path));
        let body = world.fill(&body.to_string()).into_bytes();
        let method = method.parse().unwrap_or(Method::GET);
        let steps = async || app.audit("kind=user.grants_raised").await.len() as u64;
        let before = app.head().size - steps().await;
        let reply = caller.send(method, &path, Some(body)).await;
        // What the system does after it, in steps, is on record by itself.
        let after = app.head().size - steps().await;
        assert_eq!(after, before + 1, "{what}: {reply}");
        let kept = app
            .audit(&format!("requestId={}", reply.header("x-request-id")))
            .await;
        assert_eq!(each(&kept, "kind"), [kind], "{what}: {reply}");
        assert_eq!(each(&kept, "code"), [code], "{what}: {reply}");
        let outcome = if code == "done" { "allowed" } else { "denied" };
        assert_eq!(each(&kept, "outcome"), [outcome], "{what}: {reply}");
        assert_eq!(reply.status < 300, code == "done", "{what}: {reply}");
        assert!(code == "done" || reply.code() == code, "{what}: {reply}");
    }
}

/// B25, F16: one record for each act of management, also for one that was refused.
#[tokio::test]
async fn b25_f16_every_act_on_agents_is_one_record_also_failures() {
    let app = crate::start().await;
    let world = World::new(&app).await;
    let new = |resource: &str| {
        let permissions = may(&["read"], resource);
        json!({ "ownerId": "{agent}", "name": "n", "type": "service", "permissions": permissions })
    };
    let name = || json!({ "name": "m" });
    let acts = vec![
        ("POST agents", new("mcp:github:x"), "agent.created", "done"),
        ("POST agents", new("*"), "agent.created", "not_narrower"),
        (
            "!POST agents",
            new("mcp:github:x"),
            "agent.created",
            "forbidden",
        ),
        ("PATCH agents/{agent}", name(), "agent.updated", "done"),
        (
            "!PATCH agents/{agent}",
            name(),
            "agent.updated",
            "forbidden",
        ),
        (
            "PATCH agents/agent_01h455vb4pex5vsknk084sn02q",
            name(),
            "agent.updated",
            "not_found",
        ),
    ];
    each_leaves_one_record(&app, &world, acts).await;
}

/// B25, F16.
#[tokio::test]
async fn b25_f16_every_turn_of_an_agent_is_one_record_also_failures() {
    let app = crate::start().await;
    let world = World::new(&app).await;
    let none = || json!({});
    let acts = vec![
        (
            "POST agents/{agent}/rotate",
            none(),
            "agent.rotated",
            "done",
        ),
        (
            "!POST agents/{agent}/rotate",
            none(),
            "agent.rotated",
            "forbidden",
        ),
        (
            "POST agents/{agent}/resume",
            none(),
            "agent.resumed",
            "conflict",
        ),
        (
            "POST agents/{agent}/suspend",
            none(),
            "agent.suspended",
            "done",
        ),
        (
            "POST agents/{agent}/suspend",
            none(),
            "agent.suspended",
            "conflict",
        ),
        (
            "POST agents/{agent}/resume",
            none(),
            "agent.resumed",
            "done",
        ),
        (
            "!DELETE agents/{agent}",
            none(),
            "agent.revoked",
            "forbidden",
        ),
        ("DELETE agents/{agent}", none(), "agent.revoked", "done"),
        (
            "POST agents/{agent}/rotate",
            none(),
            "agent.rotated",
            "conflict",
        ),
    ];
    each_leaves_one_record(&app, &world, acts).await;
}

/// B25, F16.
#[tokio::test]
async fn b25_f16_every_act_on_delegations_and_keys_is_one_record_also_failures() {
    let app = crate::start().await;
    let world = World::new(&app).await;
    let give = |resource: &str| {
        let permissions = may(&["read"], resource);
        json!({ "from": "{agent}", "to": "{other}", "permissions": permissions, "reason": "r" })
    };
    let key = || json!({ "name": "k", "scopes": ["audit:read"] });
    let (name, none) = (|| json!({ "name": "m" }), || json!({}));
    let acts = vec![
        (
            "POST delegations",
            give("mcp:github:x"),
            "delegation.created",
            "done",
        ),
        (
            "POST delegations",
            give("*"),
            "delegation.created",
            "not_narrower",
        ),
        (
            "!POST delegations",
            give("mcp:github:x"),
            "delegation.created",
            "forbidden",
        ),
        (
            "!DELETE delegations/{delegation}",
            none(),
            "delegation.revoked",
            "forbidden",
        ),
        (
            "DELETE delegations/{delegation}",
            none(),
            "delegation.revoked",
            "done",
        ),
        ("POST keys", key(), "key.created", "done"),
        ("!POST keys", key(), "key.created", "forbidden"),
        ("PATCH keys/{key}", name(), "key.updated", "done"),
        ("!PATCH keys/{key}", name(), "key.updated", "forbidden"),
        ("DELETE keys/{key}", none(), "key.revoked", "done"),
        ("PATCH keys/{key}", name(), "key.updated", "conflict"),
    ];
    each_leaves_one_record(&app, &world, acts).await;
}

/// B25, F16.
#[tokio::test]
async fn b25_f16_every_act_on_users_is_one_record_also_failures() {
    let app = crate::start().await;
    let world = World::new(&app).await;
    let (name, none) = (|| json!({ "name": "m" }), || json!({}));
    let acts = vec![
        ("POST users", name(), "user.created", "done"),
        ("!POST users", name(), "user.created", "forbidden"),
        ("PATCH users/{user}", name(), "user.updated", "done"),
        ("POST users/{user}/ban", none(), "user.banned", "done"),
        ("POST users/{user}/ban", none(), "user.banned", "conflict"),
        ("POST users/{user}/unban", none(), "user.unbanned", "done"),
        ("POST users/admit", none(), "tenant.admitted", "done"),
        ("!POST users/admit", none(), "tenant.admitted", "forbidden"),
        ("!DELETE users/{user}", none(), "user.deleted", "forbidden"),
        ("DELETE users/{user}", none(), "user.deleted", "done"),
        ("PATCH users/{user}", name(), "user.updated", "conflict"),
    ];
    each_leaves_one_record(&app, &world, acts).await;
}

/// The texts of people stay out of the body: nothing that names them is part of the tree.
#[tokio::test]
async fn people_are_in_the_tree_by_a_random_name_alone() {
    let mut app = crate::setup().in_a_file().start().await;
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
        let mut app = crate::setup().in_a_file().start().await;
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
    let app = crate::start().await;
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
    let kept = app.audit("kind=decision").await;
    assert_eq!(
        each(&kept, "code"),
        ["key_revoked", "agent_revoked", "permission_denied"]
    );
}
