//! What holds for every route: how bodies and parameters are read, how answers look.

use http::Method;
use kavachos_test::{Reply, TestApp, may};
use serde_json::{Value, json};

use crate::routes::{World, routes};

async fn raw(app: &TestApp, body: impl Into<Vec<u8>>) -> Reply {
    app.operator()
        .send(Method::POST, "/api/v1/users", Some(body.into()))
        .await
}

#[tokio::test]
async fn a_body_that_is_no_strict_json_is_400() {
    let app = crate::start().await;
    let deep =
        |levels: usize| format!("{{\"name\":{}1{}}}", "[".repeat(levels), "]".repeat(levels));
    for body in [
        "{",
        "{\"name\":\"n\",}",
        "{'name':1}",
        "{\"name\":\"n\"} {}",
        "nul",
        "\u{feff}{\"name\":\"n\"}",
        "{\"name\":\"n\",\"name\":\"m\"}",
        "{\"name\":\"\\ud800\"}",
        "{\"name\":1e999}",
        "{\"name\":9007199254740993}",
        "[]",
        "\"name\"",
        "7",
        "null",
        "[{\"name\":\"n\"}]",
        &deep(33),
        &deep(20_000),
    ] {
        let reply = raw(&app, body).await;
        assert_eq!(
            (reply.status, reply.code()),
            (400, "malformed_request"),
            "{}: {reply}",
            body.chars().take(40).collect::<String>()
        );
    }
    raw(&app, vec![b'{', b'"', 0xff, b'"', b':', b'1', b'}'])
        .await
        .refused(400, "malformed_request");
    raw(&app, "{\"name\":\"n\"}").await.expect(201);
}

#[tokio::test]
async fn a_refusal_says_code_message_request_and_field() {
    let app = crate::start().await;
    let reply = raw(&app, "{\"name\":\"n\",\"admin\":true}").await;
    insta::assert_snapshot!(reply.redacted(), @r#"
    400
    {
      "error": {
        "code": "malformed_request",
        "field": "admin",
        "message": "unknown field `admin`, expected one of `email`, `name`, `external`, `permissions`, `role`",
        "requestId": "[req]"
      }
    }
    "#);
    assert_eq!(reply.at("/error/requestId"), reply.header("x-request-id"));
    let reply = app.anonymous().get("/api/v1/users").await;
    insta::assert_snapshot!(reply.redacted(), @r#"
    401
    {
      "error": {
        "code": "unauthenticated",
        "message": "send one header `Authorization: Bearer <key>`",
        "requestId": "[req]"
      }
    }
    "#);
    let reply = app
        .operator()
        .get("/api/v1/users/user_01h455vb4pex5vsknk084sn02q")
        .await;
    insta::assert_snapshot!(reply.redacted(), @r#"
    404
    {
      "error": {
        "code": "not_found",
        "message": "there is no such user, or it is not yours to see",
        "requestId": "[req]"
      }
    }
    "#);
}

#[tokio::test]
async fn every_body_refuses_members_that_it_does_not_know() {
    let app = crate::start().await;
    let world = World::new(&app).await;
    for mut route in routes().into_iter().filter(|route| route.body.is_some()) {
        if let Some(Value::Object(body)) = &mut route.body {
            body.insert("extra".to_owned(), json!(1));
        }
        let reply = route.call(&app.operator(), &world).await;
        // The standard has them ignored.
        if !route.is_authzen() {
            route.malformed(&reply, "extra");
        }
    }
}

#[tokio::test]
async fn every_route_refuses_parameters_that_it_does_not_know() {
    let app = crate::start().await;
    let world = World::new(&app).await;
    for mut route in routes() {
        let joint = if route.path.contains('?') { '&' } else { '?' };
        let path = format!("{}{joint}extra=1", route.path);
        route.path = path.leak();
        let reply = route.call(&app.operator(), &world).await;
        route.malformed(&reply, "extra");
    }
}

#[tokio::test]
async fn a_body_of_256_kib_is_read_and_a_longer_one_is_413() {
    const MOST: usize = 256 * 1024;
    let app = crate::start().await;
    let padded = |length: usize| {
        let start = "{\"name\":\"n\"";
        format!("{start}{}}}", " ".repeat(length - start.len() - 1))
    };
    raw(&app, padded(MOST)).await.expect(201);
    raw(&app, padded(MOST + 1)).await.refused(413, "too_large");
    raw(&app, padded(4 * MOST)).await.refused(413, "too_large");
    // Who is nobody is told so before anything is read.
    let body = Some(padded(MOST + 1).into_bytes());
    let nobody = app
        .anonymous()
        .send(Method::POST, "/api/v1/users", body)
        .await;
    nobody.refused(401, "unauthenticated");
}

#[tokio::test]
async fn a_body_of_another_type_is_400() {
    let app = crate::start().await;
    let send = async |content_type: &str| {
        let caller = app.operator().header("content-type", content_type);
        caller
            .send(
                Method::POST,
                "/api/v1/users",
                Some(b"{\"name\":\"n\"}".to_vec()),
            )
            .await
    };
    for wrong in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "application/jsonx",
        "",
    ] {
        let reply = send(wrong).await.refused(400, "malformed_request");
        assert_eq!(reply.field(), "Content-Type");
    }
    send("application/json").await.expect(201);
    send("Application/JSON; charset=utf-8").await.expect(201);
}

#[tokio::test]
async fn limits_and_cursors_that_make_no_sense_are_400() {
    let app = crate::start().await;
    for _ in 0..3 {
        app.user().await;
    }
    for list in ["agents", "delegations", "audit", "users", "keys"] {
        let get = async |query: &str| app.operator().get(&format!("/api/v1/{list}?{query}")).await;
        for limit in [
            "0",
            "-1",
            "1001",
            "NaN",
            "1e2",
            "1.5",
            "",
            "99999999999999999999",
            "%31%20",
        ] {
            let reply = get(&format!("limit={limit}"))
                .await
                .refused(400, "malformed_request");
            assert_eq!(reply.field(), "limit", "{limit}");
        }
        for limit in ["1", "1000"] {
            get(&format!("limit={limit}")).await.expect(200);
        }
        for cursor in [
            "",
            "1",
            "1.5.x",
            "%00",
            "2.5.e3b0c44298fc1c14",
            "1.x.e3b0c44298fc1c14",
            &"9".repeat(300),
        ] {
            let reply = get(&format!("cursor={cursor}"))
                .await
                .refused(400, "malformed_request");
            assert_eq!(reply.field(), "cursor", "{cursor}");
        }
        for (query, field) in [
            ("x=1", "x"),
            ("limit=1&limit=1", "limit"),
            ("cursor=1&cursor=2", "cursor"),
        ] {
            assert_eq!(
                get(query).await.refused(400, "malformed_request").field(),
                field
            );
        }
        get("x=%ff").await.refused(400, "malformed_request");
        get(&format!("x={}", "a".repeat(5_000)))
            .await
            .refused(400, "malformed_request");
    }
}

#[tokio::test]
async fn a_cursor_belongs_to_its_filters_and_its_list() {
    let app = crate::start().await;
    let (ada, bob) = (app.user().await, app.user().await);
    for _ in 0..3 {
        app.agent(&ada, may(&["read"], "mcp:x")).await;
        app.agent(&bob, may(&["read"], "mcp:x")).await;
    }
    let get = async |path: String| app.operator().get(&path).await;
    let page = get(format!("/api/v1/agents?ownerId={ada}&limit=1"))
        .await
        .expect(200);
    let cursor = page.text_at("/nextCursor");
    get(format!(
        "/api/v1/agents?ownerId={ada}&limit=2&cursor={cursor}"
    ))
    .await
    .expect(200);
    for path in [
        format!("/api/v1/agents?ownerId={bob}&cursor={cursor}"),
        format!("/api/v1/agents?cursor={cursor}"),
        format!("/api/v1/agents?ownerId={ada}&status=active&cursor={cursor}"),
        format!("/api/v1/users?cursor={cursor}"),
        format!("/api/v1/audit?cursor={cursor}"),
    ] {
        let reply = get(path).await.refused(400, "malformed_request");
        assert_eq!(reply.field(), "cursor", "{reply}");
    }
}

#[tokio::test]
async fn ids_of_another_kind_or_form_are_400_and_unknown_ones_404() {
    let app = crate::start().await;
    let world = World::new(&app).await;
    for route in routes()
        .into_iter()
        .filter(|route| route.path.contains('{'))
    {
        let kind = match route.path.split('/').nth(3).unwrap() {
            "agents" | "connections" => "agent",
            "approvals" => "approval",
            "delegations" => "grant",
            "audit" | "explain" => "audit",
            "users" => "user",
            "sessions" => "session",
            "webhooks" => "webhook",
            "resources" => "resource",
            "clients" => "client",
            _ => "key",
        };
        let (before, rest) = route.path.split_once('{').unwrap();
        let (_, after) = rest.split_once('}').unwrap();
        let with = |id: &str| world.fill(&format!("{before}{id}{after}"));
        let body = route
            .body
            .as_ref()
            .map(|body| body.to_string().into_bytes());
        for wrong in [
            "1",
            "agent_",
            "%00",
            "%ff",
            "..%2f",
            "AGENT_01H455VB4PEX5VSKNK084SN02Q",
            "req_01h455vb4pex5vsknk084sn02q",
        ] {
            let reply = app
                .operator()
                .send(route.method.clone(), &with(wrong), body.clone())
                .await;
            assert_eq!(reply.status, 400, "{} {wrong}: {reply}", route.name());
            assert_eq!(reply.field(), "id", "{} {wrong}: {reply}", route.name());
        }
        let unknown = with(&format!("{kind}_01h455vb4pex5vsknk084sn02q"));
        let reply = app
            .operator()
            .send(route.method.clone(), &unknown, body)
            .await;
        assert_eq!(
            (reply.status, reply.code()),
            (404, "not_found"),
            "{}: {reply}",
            route.name()
        );
    }
    assert_eq!(world.audit.len(), "audit_".len() + 26);
}

#[tokio::test]
async fn a_missing_route_and_a_missing_thing_are_told_apart() {
    let app = crate::start().await;
    for path in [
        "/",
        "/api",
        "/api/v1",
        "/api/v2/agents",
        "/api/v1/agents/",
        "/api/v1//agents",
        "/API/v1/agents",
    ] {
        app.operator().get(path).await.refused(404, "no_such_route");
    }
    let missing = "/api/v1/agents/agent_01h455vb4pex5vsknk084sn02q";
    app.operator().get(missing).await.refused(404, "not_found");
    let reply = app
        .operator()
        .send(Method::PUT, missing, None)
        .await
        .refused(405, "method_not_allowed");
    assert_eq!(reply.header("allow"), "GET,HEAD,PATCH,DELETE");
}

#[tokio::test]
async fn every_answer_is_not_stored_and_has_a_request_id_of_ours() {
    let app = crate::start().await;
    let theirs = "req_01h455vb4pex5vsknk084sn02q";
    let caller = app.operator().header("x-request-id", theirs);
    let replies = [
        caller.get("/api/v1/agents").await,
        caller.post("/api/v1/users", json!({ "name": "n" })).await,
        caller.post("/api/v1/users", json!({})).await,
        caller
            .get("/api/v1/agents/agent_01h455vb4pex5vsknk084sn02q")
            .await,
        caller.get("/nowhere").await,
        caller.send(Method::PUT, "/api/v1/agents", None).await,
        caller.get("/healthz").await,
        caller.get("/readyz").await,
        caller.get("/metrics").await,
        caller.get("/version").await,
        app.anonymous()
            .header("x-request-id", theirs)
            .get("/api/v1/agents")
            .await,
    ];
    let mut seen = std::collections::BTreeSet::new();
    for reply in &replies {
        assert_eq!(reply.header("cache-control"), "no-store", "{reply}");
        assert_eq!(reply.header("x-content-type-options"), "nosniff", "{reply}");
        let id = reply.header("x-request-id");
        assert!(id.starts_with("req_") && id != theirs, "{id}");
        assert!(seen.insert(id.to_owned()), "{id} was given twice");
    }
}

#[tokio::test]
async fn the_open_routes_say_how_the_server_is() {
    let app = crate::start().await;
    let get = async |path: &str| app.anonymous().get(path).await.expect(200);
    assert_eq!(get("/healthz").await.at("/data/status"), "ok");
    assert_eq!(get("/readyz").await.at("/data/status"), "ready");
    assert_eq!(
        get("/version").await.at("/data/version"),
        env!("CARGO_PKG_VERSION")
    );
    let user = app.user().await;
    let agent = app.agent(&user, may(&["read"], "mcp:x")).await;
    app.decide(&agent.id, "read", "mcp:x")
        .await
        .decided("allowed");
    app.decide(&agent.id, "read", "mcp:y")
        .await
        .decided("permission_denied");
    let metrics = get("/metrics").await;
    for line in [
        "kavach_decisions_total{code=\"allowed\"} 1",
        "kavach_decisions_total{code=\"permission_denied\"} 1",
        "kavach_http_responses_total{method=\"POST\",route=\"/api/v1/authorize\",status=\"200\"} 2",
        "kavach_ready 1",
    ] {
        assert!(metrics.text.contains(line), "{line} in {}", metrics.text);
    }
    // Names and ids are nobody's business here.
    assert!(!metrics.text.contains(&agent.id) && !metrics.text.contains(&user));
}

/// Lessons C 17: no header makes it stumble.
#[tokio::test]
async fn malformed_credentials_are_401_and_nothing_worse() {
    let app = crate::start().await;
    for n in 0..2_000_u32 {
        let mut value: Vec<u8> = b"Bearer kv_key_".to_vec();
        let noise = n.wrapping_mul(2_654_435_761).to_be_bytes();
        // Bytes that HTTP allows in a value.
        value.extend(noise.iter().map(|byte| {
            if *byte < 0x20 || *byte == 0x7f {
                b'~'
            } else {
                *byte
            }
        }));
        value.truncate(usize::try_from(n % 19).unwrap());
        let value = value.trim_ascii().to_vec();
        let caller = app.anonymous().header_bytes("authorization", &value);
        caller
            .get("/api/v1/agents")
            .await
            .refused(401, "unauthenticated");
    }
}

/// Schemathesis found that a derived reader also takes the members of an object from a list, in order.
#[tokio::test]
async fn a_list_is_no_object_wherever_it_stands() {
    let app = crate::start().await;
    let user = app.user().await;
    let agent = app.agent(&user, may(&["read"], "mcp:x")).await;
    let question = |context: Value| json!({ "agentId": agent.id, "action": "read", "resource": "mcp:x", "context": context });
    let refused = app.ask(question(json!(["192.0.2.1", "curl"]))).await;
    assert_eq!(refused.refused(400, "malformed_request").field(), "context");
    let listed = json!({ "requests": [[agent.id, null, "read", "mcp:x", null, null, null]] });
    let refused = app.operator().post("/api/v1/authorize/batch", listed).await;
    assert_eq!(
        refused.refused(400, "malformed_request").field(),
        "requests[0]"
    );
    let external = json!({ "external": ["demo", "ada"] });
    let refused = app.operator().post("/api/v1/users", external).await;
    assert_eq!(
        refused.refused(400, "malformed_request").field(),
        "external"
    );
    // The twin: the same members by their names.
    let named = question(json!({ "ip": "192.0.2.1", "userAgent": "curl" }));
    app.ask(named).await.decided("allowed");
}

/// Schemathesis found that a list was counted only after what stands twice was taken out.
#[tokio::test]
async fn a_list_of_permissions_is_counted_as_it_was_written() {
    let app = crate::start().await;
    let human = |count: usize| {
        let permission = json!({ "resource": "mcp:x", "actions": ["read"] });
        json!({ "name": "Ada", "permissions": vec![permission; count] })
    };
    let refused = app.operator().post("/api/v1/users", human(1_001)).await;
    refused.refused(400, "malformed_request");
    app.operator()
        .post("/api/v1/users", human(1_000))
        .await
        .expect(201);
}
