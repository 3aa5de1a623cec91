//! The audit trail handed out: everything, in every form, and on record.

use kavachos_engine::actor::Actor;
use kavachos_engine::{AuditExport, AuditFilter, AuditFormat};
use kavachos_test::{TestApp, may};
use serde_json::{Value, json};

/// A server whose ledger has records of two agents, one with a resource that spoils careless files.
async fn world() -> (TestApp, String, String) {
    let app = crate::start().await;
    let user = app.user().await;
    let everything = may(&["read"], "*");
    let one = app.agent(&user, everything.clone()).await;
    let other = app.agent(&user, everything).await;
    for resource in ["mcp:github:repos", "mcp:jira:a", "mcp:slack:x"] {
        app.decide(&one.id, "read", resource).await;
    }
    app.decide(&other.id, "write", "mcp:github:repos").await;
    (app, one.id, other.id)
}

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).expect("every line is JSON"))
        .collect()
}

#[tokio::test]
async fn every_form_has_every_record_and_the_export_itself_is_the_last() {
    let (app, ..) = world().await;
    let mut seen = Vec::new();
    for format in ["jsonl", "json", "csv"] {
        let before = app.head().size;
        let path = format!("/api/v1/audit/export?format={format}");
        let reply = app.operator().get(&path).await.expect(200);
        let records = match format {
            "csv" => reply.text.matches("\r\n").count() - 1,
            "json" => serde_json::from_str::<Vec<Value>>(&reply.text)
                .unwrap()
                .len(),
            _ => lines(&reply.text).len(),
        };
        assert_eq!(records as u64, before + 1, "{format}");
        assert_eq!(app.head().size, before + 1);
        let last = app.audit("kind=audit.exported").await;
        assert_eq!(last[0]["details"]["format"], format);
        seen.push(reply.header("content-type").to_owned());
    }
    let expected = [
        "application/x-ndjson",
        "application/json",
        "text/csv; charset=utf-8; header=present",
    ];
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn an_export_has_the_filters_of_the_list_and_its_records_say_the_same() {
    let (app, one, other) = world().await;
    for filters in [
        format!("agentId={one}"),
        format!("agentId={one}&kind=decision&outcome=allowed"),
        format!("member={other}"),
        "outcome=denied".to_owned(),
        "kind=agent.created".to_owned(),
        "resource=mcp:github:*".to_owned(),
        "action=write".to_owned(),
        "code=allowed".to_owned(),
    ] {
        let mut listed = app.audit(&filters).await;
        listed.reverse();
        let path = format!("/api/v1/audit/export?format=jsonl&{filters}");
        let reply = app.operator().get(&path).await.expect(200);
        assert_eq!(lines(&reply.text), listed, "{filters}");
        assert!(!listed.is_empty(), "{filters}");
    }
    let nobody = "/api/v1/audit/export?format=json&userId=user_01h455vb4pex5vsknk084sn02q";
    let reply = app.operator().get(nobody).await.expect(200);
    assert_eq!(reply.text, "[]\n");
}

#[tokio::test]
async fn unknown_forms_and_filters_are_refused_by_name() {
    let app = crate::start().await;
    let size = app.head().size;
    for (query, field) in [
        ("format=xml", "format"),
        ("format=ocsf", "format"),
        ("format=", "format"),
        ("format=JSON", "format"),
        ("format=json&format=csv", "format"),
        ("format=json&limit=5", "limit"),
        ("format=json&cursor=x", "cursor"),
        ("format=json&agentId=x", "agentId"),
        ("format=json&since=yesterday", "since"),
        ("format=json&outcome=maybe", "outcome"),
        ("format=json&kind=a%20b", "kind"),
        ("format=json&colour=red", "colour"),
    ] {
        let path = format!("/api/v1/audit/export?{query}");
        let reply = app.operator().get(&path).await;
        assert_eq!(
            (reply.status, reply.field()),
            (400, field),
            "{query}: {reply}"
        );
    }
    let later = "/api/v1/audit/export?format=otlp";
    let reply = app.operator().get(later).await;
    assert!(reply.text.contains("`json`, `jsonl` or `csv`"), "{reply}");
    assert_eq!(
        app.head().size,
        size,
        "nothing was exported, so nothing is on record"
    );
}

#[tokio::test]
async fn only_a_key_with_the_scope_may_and_a_refusal_is_on_record() {
    let app = crate::start().await;
    let path = "/api/v1/audit/export?format=csv";
    let reader = app
        .key(json!({ "name": "r", "scopes": ["audit:read"] }))
        .await;
    let reply = app.call(&reader).get(path).await;
    assert_eq!((reply.status, reply.code()), (403, "forbidden"));
    let refused = app.audit("kind=audit.exported&outcome=denied").await;
    assert_eq!(refused.len(), 1);
    // The twin: the scope is what was missing.
    let exporter = app
        .key(json!({ "name": "e", "scopes": ["audit:export"] }))
        .await;
    app.call(&exporter).get(path).await.expect(200);
}

#[tokio::test]
async fn a_cell_of_a_csv_file_is_no_formula_and_rows_cannot_be_forged() {
    let app = crate::start().await;
    for name in ["=cmd|' /C calc'!A0", "a,b\"c", "+1", "plain"] {
        let body = json!({ "name": name });
        app.operator().post("/api/v1/users", body).await.expect(201);
    }
    let path = "/api/v1/audit/export?format=csv&kind=user.created";
    let csv = app.operator().get(path).await.expect(200).text;
    assert!(csv.contains(",'=cmd|' /C calc'!A0,"), "{csv}");
    assert!(csv.contains(",\"a,b\"\"c\","), "{csv}");
    assert!(csv.contains(",'+1,") && csv.contains(",plain,"), "{csv}");
    // The twin: the other forms have the name as it is.
    let json = app.operator().get(&path.replace("csv", "jsonl")).await;
    assert!(
        json.text.contains("\"name\":\"=cmd|' /C calc'!A0\""),
        "{json}"
    );
}

#[tokio::test]
async fn an_export_of_many_records_has_each_once_in_order() {
    let app = crate::start().await;
    let user = app.user().await;
    let agent = app.agent(&user, may(&["read"], "mcp:*")).await;
    for number in 0..600 {
        app.decide(&agent.id, "read", &format!("mcp:n{number}"))
            .await;
    }
    let path = "/api/v1/audit/export?format=jsonl&kind=decision";
    let reply = app.operator().get(path).await.expect(200);
    let seen: Vec<String> = lines(&reply.text)
        .iter()
        .map(|record| record["resource"].as_str().unwrap_or_default().to_owned())
        .collect();
    let expected: Vec<String> = (0..600).map(|number| format!("mcp:n{number}")).collect();
    assert_eq!(seen, expected);
}

/// An export that has given its first step, of a ledger that has more; and the key that it was begun with.
async fn begun(app: &TestApp) -> (AuditExport, String) {
    let user = app.user().await;
    let agent = app.agent(&user, may(&["read"], "mcp:*")).await;
    for _ in 0..300 {
        app.decide(&agent.id, "read", "mcp:x").await;
    }
    let body = json!({ "name": "e", "scopes": ["audit:export"] });
    let key = app.operator().post("/api/v1/keys", body).await.expect(201);
    let engine = app.kavach().engine();
    let caller = engine
        .authenticate(key.text_at("/data/token"))
        .await
        .unwrap();
    let actor = Actor {
        caller,
        ..Actor::local(engine.id())
    };
    let filter = AuditFilter::default();
    let export = engine.export_audit(&actor, &filter, AuditFormat::Csv).await;
    let mut export = export.unwrap();
    assert!(export.step().await.unwrap().is_some());
    (export, key.id().to_owned())
}

#[tokio::test]
async fn an_export_breaks_off_when_its_key_is_revoked_or_its_reader_is_too_slow() {
    let app = crate::start().await;
    let (mut export, key) = begun(&app).await;
    app.operator()
        .delete(&format!("/api/v1/keys/{key}"))
        .await
        .expect(200);
    assert!(export.step().await.is_err());
    let app = crate::start().await;
    let (mut export, _) = begun(&app).await;
    app.advance(61);
    assert!(export.step().await.is_err());
    // The twin: within a minute, with a live key, it comes to its end.
    let app = crate::start().await;
    let (mut export, _) = begun(&app).await;
    let mut steps = 0;
    loop {
        app.advance(59);
        if export.step().await.unwrap().is_none() {
            break;
        }
        steps += 1;
    }
    assert!(steps > 0);
}

#[tokio::test]
async fn more_exports_than_there_are_places_for_are_told_to_come_back() {
    let app = crate::start().await;
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(begun(&app).await);
    }
    let path = "/api/v1/audit/export?format=csv";
    let reply = app.operator().get(path).await;
    assert_eq!((reply.status, reply.code()), (503, "busy"));
    held.pop();
    app.operator().get(path).await.expect(200);
}
