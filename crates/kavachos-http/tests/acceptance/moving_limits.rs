//! A tenant that moves keeps to the limits of what is made over the API: nothing longer, no other text and no
//! number comes in by a file that could not have come about here.

use serde_json::json;

use crate::moving::{edited, export, head_of, import, refused, tenant};

/// Edits of the first line of a kind: a member (`@name`) or a text becomes another, and this is what is then said of it.
/// `{201}` stands for so many letters.
const WRONG: [[&str; 4]; 25] = [
    ["user", "@name", r#""name":"{201}""#, "`name`: is longer"],
    [
        "user",
        "@name",
        r#""name":"  ""#,
        "`name`: may not be empty",
    ],
    [
        "user",
        "@name",
        "\"name\":\"a\u{202e}b\"",
        "`name`: holds control",
    ],
    [
        "user",
        ",\"name\"",
        r#","email":"Ada@example.com","name""#,
        "`email`: is not in lower case",
    ],
    [
        "user",
        ",\"name\"",
        r#","email":"ada","name""#,
        "`email`: this is no",
    ],
    ["agent", "@name", r#""name":"{201}""#, "`name`: is longer"],
    [
        "agent",
        "@name",
        r#""name":"a\u001b[31m""#,
        "`name`: holds control",
    ],
    [
        "agent",
        ",\"rootGrant\"",
        r#","metadata":"{\"a\":\"{2048}\"}","rootGrant""#,
        "`metadata`: is longer",
    ],
    [
        "agent",
        ",\"rootGrant\"",
        r#","metadata":"[]","rootGrant""#,
        "`metadata`: must be",
    ],
    ["agentKey", "kv_agent_", "kv_key_", "`shown`"],
    [
        "grant",
        ",\"status\"",
        r#","reason":"{201}","status""#,
        "`reason`: is longer",
    ],
    [
        "toolServer",
        "@name",
        r#""name":"{201}""#,
        "`name`: is longer",
    ],
    ["toolServer", "https://tools", "HTTPS://tools", "`audience`"],
    [
        "toolServer",
        r#"\"leaseSeconds\":10"#,
        r#"\"leaseSeconds\":99999"#,
        "`policy.leaseSeconds`",
    ],
    [
        "operatorKey",
        "@name",
        r#""name":"{201}""#,
        "`name`: is longer",
    ],
    [
        "operatorKey",
        "@origin",
        r#""origin":"env""#,
        "moves asleep",
    ],
    [
        "session",
        "@openedBy",
        r#""openedBy":"somebody""#,
        "`openedBy`",
    ],
    [
        "approval",
        ",\"document\":\"",
        ",\"document\":\"{16384}",
        "`document`: is no plain",
    ],
    [
        "approval",
        r#""action":"run""#,
        r#""action":"r n""#,
        "`action`",
    ],
    [
        "webhook",
        "http://127.0.0.1:65534/",
        "http://192.0.2.1/",
        "`url`",
    ],
    [
        "webhook",
        "http://127.0.0.1:65534/",
        "file:///etc/passwd",
        "`url`",
    ],
    ["webhook", r#"[\"none\"]"#, "[]", "`kinds`"],
    ["webhook", r#"[\"none\"]"#, r#"[\"a b\"]"#, "`kinds[0]`"],
    ["webhook", "@status", r#""status":"happy""#, "`status`"],
    [
        "webhook",
        ",\"kinds\"",
        r#","name":"{201}","kinds""#,
        "`name`: is longer",
    ],
];

#[tokio::test]
async fn texts_that_the_api_would_refuse_do_not_come_in_by_a_file() {
    let source = tenant(crate::setup().seeded(7)).await;
    let file = export(&source.app.operator()).await;
    let app = crate::start().await;
    for [kind, from, to, why] in WRONG {
        let from = named(&file, kind, from);
        let (wrong, line) = edited(&file, kind, &from, &filled(to));
        refused(&app, &wrong, line, why).await;
    }
    // The twin: what is just short enough, in the place where one letter more was refused.
    let from = named(&file, "user", "@name");
    let (right, _) = edited(&file, "user", &from, &filled(r#""name":"{200}""#));
    import(&app.operator(), &right).await.expect(200);
}

/// A member of the first line of a kind as it is written there, if one is meant.
fn named(file: &str, kind: &str, what: &str) -> String {
    let Some(name) = what.strip_prefix('@') else {
        return what.to_owned();
    };
    let beginning = format!("{{\"kind\":\"{kind}\"");
    let line = file.lines().find(|line| line.starts_with(&beginning));
    let line = line.expect("there is such a line");
    let value: serde_json::Value = serde_json::from_str(line).expect("a line is JSON");
    format!("\"{name}\":{}", value[name])
}

fn filled(text: &str) -> String {
    let lengths = [200, 201, 2_048, 16_384];
    lengths.into_iter().fold(text.to_owned(), |text, length| {
        text.replace(&format!("{{{length}}}"), &"x".repeat(length))
    })
}

#[tokio::test]
async fn nothing_comes_in_that_could_not_be_stopped_afterwards() {
    let source = tenant(crate::setup().seeded(7)).await;
    let file = export(&source.app.operator()).await;
    let app = crate::start().await;
    // One more is more than a database holds, and every revocation counts one more.
    for (kind, from) in [
        ("user", r#""kills":0"#),
        ("user", r#""version":0"#),
        ("agent", r#""version":0"#),
        ("operatorKey", r#""version":0"#),
    ] {
        let to = from.replace('0', "9223372036854775807");
        let (wrong, line) = edited(&file, kind, from, &to);
        refused(&app, &wrong, line, "is no number from 0 to 2^62").await;
    }
    // The twin: what leaves room comes in, and is stopped.
    let (right, _) = edited(
        &file,
        "user",
        r#""kills":0"#,
        r#""kills":4611686018427387904"#,
    );
    import(&app.operator(), &right).await.expect(200);
    let operator = app.call(source.app.operator_key());
    let ban = format!("/api/v1/users/{}/ban", source.user);
    operator.post(&ban, json!({})).await.expect(200);
}

#[tokio::test]
async fn a_file_does_not_date_what_is_still_to_come() {
    let source = tenant(crate::setup().seeded(7)).await;
    let file = export(&source.app.operator()).await;
    let app = crate::start().await;
    let last = head_of(&file)["lastTime"].as_i64().expect("a number");
    let from = format!("\"lastTime\":{last}");
    let ahead = |hours: i64| format!("\"lastTime\":{}", last + hours * 3_600_000_000);
    let (wrong, _) = edited(&file, "kavachos-tenant", &from, &ahead(30 * 24));
    refused(&app, &wrong, 1, "more than a day from now").await;
    // The twin: clocks differ a little.
    let (right, _) = edited(&file, "kavachos-tenant", &from, &ahead(1));
    import(&app.operator(), &right).await.expect(200);
}
