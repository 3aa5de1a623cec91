//! A tenant that moves keeps to the limits of what is made over the API: no longer, no other text comes in by a file.

use crate::moving::{edited, export, import, refused, tenant};

#[tokio::test]
async fn texts_that_the_api_would_refuse_do_not_come_in_by_a_file() {
    let source = tenant(crate::setup().seeded(7)).await;
    let file = export(&source.app.operator()).await;
    let app = crate::start().await;
    let long = format!("\"name\":\"{}\"", "x".repeat(201));
    let email = |text: &str| format!(",\"email\":\"{text}\"");
    let metadata = format!(
        ",\"metadata\":\"{{\\\"a\\\":\\\"{}\\\"}}\"",
        "x".repeat(2_048)
    );
    let reason = format!(",\"reason\":\"{}\",\"status\"", "x".repeat(201));
    let document = format!(",\"document\":\"{} ", "x".repeat(16 * 1024));
    for (kind, from, to, why) in [
        (
            "user",
            member(&file, "user", "name"),
            long.clone(),
            "`name`: is longer",
        ),
        (
            "user",
            member(&file, "user", "name"),
            "\"name\":\"  \"".into(),
            "`name`: may not",
        ),
        (
            "user",
            member(&file, "user", "name"),
            "\"name\":\"a\u{202e}b\"".into(),
            "`name`: holds",
        ),
        (
            "user",
            ",\"name\"".into(),
            email("Ada@example.com") + ",\"name\"",
            "`email`: is not in lower",
        ),
        (
            "user",
            ",\"name\"".into(),
            email("ada") + ",\"name\"",
            "`email`: this is no",
        ),
        (
            "agent",
            member(&file, "agent", "name"),
            long.clone(),
            "`name`: is longer",
        ),
        (
            "agent",
            member(&file, "agent", "name"),
            "\"name\":\"a\\u001b[31m\"".into(),
            "`name`: holds",
        ),
        (
            "agent",
            ",\"rootGrant\"".into(),
            metadata + ",\"rootGrant\"",
            "`metadata`: is longer",
        ),
        (
            "agent",
            ",\"rootGrant\"".into(),
            ",\"metadata\":\"[]\",\"rootGrant\"".into(),
            "`metadata`: must be",
        ),
        ("agentKey", "kv_agent_".into(), "kv_key_".into(), "`shown`"),
        ("grant", ",\"status\"".into(), reason, "`reason`: is longer"),
        (
            "toolServer",
            member(&file, "toolServer", "name"),
            long.clone(),
            "`name`: is longer",
        ),
        (
            "toolServer",
            "https://tools".into(),
            "HTTPS://tools".into(),
            "`audience`",
        ),
        (
            "toolServer",
            r#"\"leaseSeconds\":10"#.into(),
            r#"\"leaseSeconds\":99999"#.into(),
            "leaseSeconds",
        ),
        (
            "operatorKey",
            member(&file, "operatorKey", "name"),
            long.clone(),
            "`name`: is longer",
        ),
        (
            "operatorKey",
            member(&file, "operatorKey", "origin"),
            "\"origin\":\"env\"".into(),
            "moves asleep",
        ),
        (
            "session",
            member(&file, "session", "openedBy"),
            "\"openedBy\":\"somebody\"".into(),
            "`openedBy`",
        ),
        (
            "approval",
            ",\"document\":\"".into(),
            document,
            "`document`: is no plain",
        ),
        (
            "approval",
            "\"action\":\"run\"".into(),
            "\"action\":\"r n\"".into(),
            "`action`",
        ),
        (
            "webhook",
            "http://127.0.0.1:65534/".into(),
            "http://192.0.2.1/".into(),
            "`url`",
        ),
        (
            "webhook",
            "http://127.0.0.1:65534/".into(),
            "file:///etc/passwd".into(),
            "`url`",
        ),
        ("webhook", r#"[\"none\"]"#.into(), r"[]".into(), "`kinds`"),
        (
            "webhook",
            r#"[\"none\"]"#.into(),
            r#"[\"a b\"]"#.into(),
            "`kinds[0]`",
        ),
        (
            "webhook",
            "\"status\":\"paused\"".into(),
            "\"status\":\"happy\"".into(),
            "`status`",
        ),
        (
            "webhook",
            ",\"kinds\"".into(),
            format!(",{long},\"kinds\""),
            "`name`: is longer",
        ),
    ] {
        let (wrong, line) = edited(&file, kind, &from, &to);
        refused(&app, &wrong, line, why).await;
    }
    // The twins: what is just short enough, and a webhook as this server would make it.
    let (right, _) = edited(
        &file,
        "user",
        &member(&file, "user", "name"),
        &format!("\"name\":\"{}\"", "x".repeat(200)),
    );
    import(&app.operator(), &right).await.expect(200);
}

/// A member of the first line of a kind, as it is written there.
fn member(file: &str, kind: &str, name: &str) -> String {
    let line = file
        .lines()
        .find(|line| line.starts_with(&format!("{{\"kind\":\"{kind}\"")))
        .expect("there is such a line");
    let value: serde_json::Value = serde_json::from_str(line).expect("a line is JSON");
    format!("\"{name}\":{}", value[name])
}
