//! A tenant that moves is held against its own records: what they say was ended is not brought back to life by an edit of
//! its row, whoever seals the file again.

use http::Method;
use kavachos_test::{Reply, TestApp, may, may_under};
use serde_json::{Value, json};

use crate::moving::{at, body, edited, export, head_of, import, refused, sealed, tenant};

/// A server on which something of every kind has ended.
struct Ended {
    app: TestApp,
    banned: String,
    unbanned: String,
    deleted: String,
    suspended: String,
    resumed: String,
    key: String,
    grant: String,
    session: String,
    server: String,
    approved: String,
    denied: String,
    used: String,
}

async fn posted(app: &TestApp, path: &str, body: Value) -> Reply {
    let reply = app.operator().post(path, body).await;
    assert!(reply.status < 300, "{path}: {reply}");
    reply
}

async fn deleted(app: &TestApp, path: &str) {
    app.operator().delete(path).await.expect(200);
}

async fn ended() -> Ended {
    let app = crate::setup().seeded(7).start().await;
    let (banned, unbanned) = (app.user().await, app.user().await);
    for user in [&banned, &unbanned] {
        posted(&app, &format!("/api/v1/users/{user}/ban"), json!({})).await;
    }
    posted(&app, &format!("/api/v1/users/{unbanned}/unban"), json!({})).await;
    let gone = app.user().await;
    deleted(&app, &format!("/api/v1/users/{gone}")).await;
    let user = app.user().await;
    let giver = app.agent(&user, may(&["read"], "mcp:*")).await.id;
    let (suspended, resumed) = stopped_agents(&app, &user).await;
    posted(&app, &format!("/api/v1/agents/{giver}/rotate"), json!({})).await;
    let grant = app
        .delegate(&giver, &resumed, may(&["read"], "mcp:a"))
        .await;
    let grant = grant.expect(201).id().to_owned();
    deleted(&app, &format!("/api/v1/delegations/{grant}")).await;
    let key = json!({ "name": "k", "scopes": ["audit:read"] });
    let key = posted(&app, "/api/v1/keys", key).await.id().to_owned();
    deleted(&app, &format!("/api/v1/keys/{key}")).await;
    let session = app.session(&user).await.id;
    deleted(&app, &format!("/api/v1/sessions/{session}")).await;
    let server = json!({
        "audience": "https://tools.example.com/mcp", "name": "tools",
        "scopes": [{ "name": "mcp:a", "description": "a" }],
    });
    let server = posted(&app, "/api/v1/resources", server).await;
    let server = server.id().to_owned();
    deleted(&app, &format!("/api/v1/resources/{server}")).await;
    let [approved, denied, used] = answered(&app, &user).await;
    Ended {
        app,
        banned,
        unbanned,
        deleted: gone,
        suspended,
        resumed,
        key,
        grant,
        session,
        server,
        approved,
        denied,
        used,
    }
}

/// An agent that is suspended, and one that was.
async fn stopped_agents(app: &TestApp, user: &str) -> (String, String) {
    let suspended = app.agent(user, may(&["read"], "mcp:*")).await.id;
    let resumed = app.agent(user, may(&["read"], "mcp:*")).await.id;
    for agent in [&suspended, &resumed] {
        posted(app, &format!("/api/v1/agents/{agent}/suspend"), json!({})).await;
    }
    posted(app, &format!("/api/v1/agents/{resumed}/resume"), json!({})).await;
    (suspended, resumed)
}

/// A request that was approved, one that was denied, and one that was approved and used.
async fn answered(app: &TestApp, user: &str) -> [String; 3] {
    let asks = may_under(&["run"], "mcp:*", json!({ "requireApproval": true }));
    let asking = app.agent(user, asks).await.id;
    let mut ids = Vec::new();
    for (resource, answer) in [
        ("mcp:1", "approve"),
        ("mcp:2", "deny"),
        ("mcp:3", "approve"),
    ] {
        let asked = app.decide(&asking, "run", resource).await;
        let id = asked.text_at("/data/approvalId").to_owned();
        let path = format!("/api/v1/approvals/{id}");
        let shown = app.operator().get(&path).await.expect(200);
        let reply = match answer {
            "approve" => json!({ "digest": shown.text_at("/data/digest") }),
            _ => json!({}),
        };
        posted(app, &format!("{path}/{answer}"), reply).await;
        ids.push(id);
    }
    app.decide(&asking, "run", "mcp:3").await.decided("allowed");
    ids.try_into().expect("there are three")
}

/// The edits: of the row of a kind with this id, a status becomes another, and this is what is then said of it.
fn edits(source: &Ended) -> [(&'static str, &str, [&'static str; 2], &'static str); 13] {
    [
        ("user", &source.banned, ["banned", "active"], "was banned"),
        (
            "user",
            &source.unbanned,
            ["active", "banned"],
            "was unbanned",
        ),
        (
            "user",
            &source.deleted,
            ["revoked", "active"],
            "was deleted",
        ),
        (
            "agent",
            &source.suspended,
            ["suspended", "active"],
            "was suspended",
        ),
        (
            "agent",
            &source.resumed,
            ["active", "suspended"],
            "was resumed",
        ),
        (
            "operatorKey",
            &source.key,
            ["revoked", "active"],
            "was revoked",
        ),
        (
            "operatorKey",
            &source.key,
            ["revoked", "suspended"],
            "was revoked",
        ),
        ("grant", &source.grant, ["revoked", "active"], "was revoked"),
        (
            "session",
            &source.session,
            ["revoked", "active"],
            "was revoked",
        ),
        (
            "toolServer",
            &source.server,
            ["revoked", "active"],
            "was revoked",
        ),
        (
            "approval",
            &source.approved,
            ["approved", "pending"],
            "was approved",
        ),
        (
            "approval",
            &source.denied,
            ["denied", "approved"],
            "was denied",
        ),
        ("approval", &source.used, ["used", "approved"], "was used"),
    ]
}

/// The file with another status in the row of a kind that holds this text, and the number of its line.
fn turned(lines: &[String], kind: &str, text: &str, status: [&str; 2]) -> (String, usize) {
    let [from, to] = status.map(|status| format!("\"status\":\"{status}\""));
    let beginning = format!("{{\"kind\":\"{kind}\"");
    let is_it =
        |line: &String| line.starts_with(&beginning) && line.contains(text) && line.contains(&from);
    let index = lines.iter().position(is_it);
    let index = index.unwrap_or_else(|| panic!("there is a {kind} with {text}"));
    let mut edited = lines.to_vec();
    edited[index] = lines[index].replacen(&from, &to, 1);
    (sealed(&edited), index + 1)
}

#[tokio::test]
async fn what_the_records_say_was_ended_is_not_brought_back_by_an_edit_of_its_row() {
    let source = ended().await;
    let file = export(&source.app.operator()).await;
    let next = crate::start().await;
    let lines = body(&file);
    for (kind, id, status, why) in edits(&source) {
        let id = format!("\"id\":\"{id}\"");
        let (wrong, line) = turned(&lines, kind, &id, status);
        refused(&next, &wrong, line, why).await;
    }
    // A key that was replaced is named by no record, but its own handle was revoked.
    let (wrong, line) = turned(&lines, "agentKey", "", ["revoked", "active"]);
    refused(&next, &wrong, line, "its handle was revoked").await;
    // The twin: as they are, all of them come in.
    import(&next.operator(), &sealed(&lines)).await.expect(200);
}

#[tokio::test]
async fn what_was_issued_before_a_stop_is_not_brought_back_by_counting_fewer_stops() {
    let source = ended().await;
    let file = export(&source.app.operator()).await;
    let next = crate::start().await;
    for (kind, id) in [("user", &source.unbanned), ("agent", &source.resumed)] {
        let mut lines = body(&file);
        let index = at(&lines, &format!("{{\"kind\":\"{kind}\",\"id\":\"{id}\""));
        let line = lines[index].replacen("\"kills\":1", "\"kills\":0", 1);
        assert_ne!(line, lines[index]);
        lines[index] = line;
        refused(&next, &sealed(&lines), index + 1, "stopped more often").await;
    }
    // The twin: more stops than records are no life for anybody.
    let more = body(&file);
    let more: Vec<String> = more
        .iter()
        .map(|line| match line.contains(&source.unbanned) {
            true => line.replacen("\"kills\":1", "\"kills\":2", 1),
            false => line.clone(),
        })
        .collect();
    import(&next.operator(), &sealed(&more)).await.expect(200);
}

#[tokio::test]
async fn what_the_records_say_was_made_is_in_the_file_under_its_own_name() {
    let source = ended().await;
    let file = export(&source.app.operator()).await;
    let next = crate::start().await;
    // A revoked thing that takes another name would otherwise be one that no record speaks of.
    for (kind, id, record) in [
        ("operatorKey", &source.key, "key.created"),
        ("grant", &source.grant, "delegation.created"),
        ("toolServer", &source.server, "resource.created"),
    ] {
        let mut lines = body(&file);
        let is_row = |line: &String| {
            line.starts_with(&format!("{{\"kind\":\"{kind}\"")) && line.contains(id)
        };
        let row = lines.iter().position(is_row).unwrap();
        let record = format!("\\\"kind\\\":\\\"{record}\\\"");
        let tells = |line: &String| line.contains(&record) && line.contains(id);
        let record = lines.iter().position(tells).unwrap();
        lines[row] = lines[row].replacen(id, &renamed(id), 1);
        refused(
            &next,
            &sealed(&lines),
            record + 1,
            "which is not in the file",
        )
        .await;
    }
    let mut lines = body(&file);
    let row = at(
        &lines,
        &format!("{{\"kind\":\"user\",\"id\":\"{}\"", source.banned),
    );
    let head: Value = serde_json::from_str(&lines[row]).unwrap();
    let pseudonym = head["pseudonym"].as_str().unwrap();
    lines[row] = lines[row].replacen(pseudonym, &renamed(pseudonym), 1);
    let reply = import(&next.operator(), &sealed(&lines)).await;
    assert_eq!(reply.status, 400, "{reply}");
    assert!(
        reply.text.contains("a human who is not in the file"),
        "{reply}"
    );
    import(&next.operator(), &file).await.expect(200);
}

#[tokio::test]
async fn a_credential_or_a_request_that_no_record_made_does_not_come_in() {
    let source = ended().await;
    source.app.session(&source.unbanned).await;
    let file = export(&source.app.operator()).await;
    let next = crate::start().await;
    // The records of what ended may be of rows that were forgotten since, so a new name would hide what became of it.
    for (kind, id, status) in [
        ("session", &source.session, ["revoked", "revoked"]),
        ("approval", &source.used, ["used", "approved"]),
    ] {
        let lines = body(&file);
        let named = format!("\"id\":\"{id}\"");
        let (edited, line) = turned(&lines, kind, &named, status);
        let edited: Vec<String> = body(&edited)
            .into_iter()
            .enumerate()
            .map(|(index, text)| match index + 1 == line {
                true => text.replacen(id.as_str(), &renamed(id), 1),
                false => text,
            })
            .collect();
        let first = at(&lines, &format!("{{\"kind\":\"{kind}\"")) + 1;
        refused(&next, &sealed(&edited), first, "the records tell of").await;
    }
    // A key of one's own beside the others.
    let mut lines = body(&file);
    let keys = at(&lines, "{\"kind\":\"operatorKey\"");
    let handle = at(&lines, "{\"kind\":\"handle\"");
    let key: Value = serde_json::from_str(&lines[keys]).unwrap();
    let new = |name: &str| renamed(key[name].as_str().unwrap());
    let mine = ["id", "hash", "handle"]
        .iter()
        .fold(lines[keys].clone(), |line, name| {
            line.replacen(key[name].as_str().unwrap(), &new(name), 1)
        });
    let own = format!(
        "{{\"kind\":\"handle\",\"handle\":\"{}\",\"generation\":1}}",
        new("handle")
    );
    lines.extend([mine, own]);
    lines[handle..].sort_by_key(|line| order(line));
    let keys = at(&lines, "{\"kind\":\"operatorKey\"");
    refused(&next, &sealed(&lines), keys + 1, "the records tell of").await;
    // The twin.
    import(&next.operator(), &file).await.expect(200);
}

/// Where a handle or an operator key stands among lines; all others stay where they are.
fn order(line: &str) -> (usize, String) {
    const KINDS: [&str; 15] = [
        "handle",
        "revocation",
        "user",
        "agent",
        "agentOwner",
        "agentKey",
        "grant",
        "toolServer",
        "operatorKey",
        "session",
        "approval",
        "webhook",
        "delivery",
        "counter",
        "record",
    ];
    let kind = line.split('"').nth(3).unwrap_or_default();
    let at = KINDS
        .iter()
        .position(|known| *known == kind)
        .unwrap_or_default();
    let sorts = ["handle", "operatorKey"].contains(&kind);
    (
        at,
        if sorts {
            line.to_owned()
        } else {
            String::new()
        },
    )
}

/// The same id with its last letter but one changed.
fn renamed(id: &str) -> String {
    let mut letters: Vec<char> = id.chars().collect();
    let at = letters.len() - 2;
    letters[at] = if letters[at] == '0' { '1' } else { '0' };
    letters.into_iter().collect()
}

/// The file without its last revocation, as somebody writes it who takes it out of everything that names it.
fn cut(file: &str) -> Vec<String> {
    let mut lines = body(file);
    let value = |line: &str| -> Value { serde_json::from_str(line).expect("a line is JSON") };
    let is = |kind: &str| format!("{{\"kind\":\"{kind}\"");
    let last = lines
        .iter()
        .rposition(|line| line.starts_with(&is("revocation")))
        .expect("there are revocations");
    let cut = value(&lines.remove(last));
    let before = value(&lines[last - 1]);
    let (number, generation) = (
        cut["rseq"].as_u64().unwrap(),
        cut["generation"].as_u64().unwrap(),
    );
    let head = head_of(file);
    lines[0] = lines[0]
        .replacen(
            &format!("\"revocations\":{number}"),
            &format!("\"revocations\":{}", number - 1),
            1,
        )
        .replacen(
            head["rhash"].as_str().unwrap(),
            before["rhash"].as_str().unwrap(),
            1,
        );
    let handle = cut["handle"].as_str().unwrap();
    for line in &mut lines {
        if line.starts_with(&is("handle")) && line.contains(handle) {
            let from = format!("\"generation\":{generation}");
            *line = line.replacen(&from, &format!("\"generation\":{}", generation - 1), 1);
        } else if line.starts_with(&is("agentKey")) && line.contains(handle) {
            *line = line.replacen("\"status\":\"revoked\"", "\"status\":\"active\"", 1);
        }
    }
    lines
}

#[tokio::test]
async fn a_revocation_log_that_was_cut_is_refused_at_the_record_that_knew_of_more() {
    let source = tenant(crate::setup().seeded(7)).await;
    let app = &source.app;
    // A new key revokes the old one, and its record does not say how many keys that were.
    posted(
        app,
        &format!("/api/v1/agents/{}/rotate", source.agent.id),
        json!({}),
    )
    .await;
    let unknown = export(&app.operator()).await;
    app.decide(&source.agent.id, "read", "mcp:github:repos")
        .await;
    let known = export(&app.operator()).await;
    let next = crate::start().await;
    let lines = cut(&known);
    let is_decision = |line: &String| line.contains("\\\"kind\\\":\\\"decision\\\"");
    let decision = lines.iter().rposition(is_decision).unwrap();
    refused(&next, &sealed(&lines), decision + 1, "were cut off").await;
    // The twin: without the decision nothing shows that it was. (A root that is known from elsewhere would not, either.)
    import(&next.operator(), &sealed(&cut(&unknown)))
        .await
        .expect(200);
}

#[tokio::test]
async fn a_revocation_log_is_as_long_as_the_acts_on_record() {
    let source = tenant(crate::setup().seeded(7)).await;
    let app = &source.app;
    posted(
        app,
        &format!("/api/v1/users/{}/ban", source.user),
        json!({}),
    )
    .await;
    let file = export(&app.operator()).await;
    let next = crate::start().await;
    let lines = cut(&file);
    // The last to go are the human's grants, after the human.
    let record = at(&lines, "\\\"kind\\\":\\\"user.grants_raised\\\"");
    refused(&next, &sealed(&lines), record + 1, "were cut off").await;
    import(&next.operator(), &file).await.expect(200);
}

async fn import_expecting(app: &TestApp, root: &str, file: &str) -> Reply {
    let caller = app
        .operator()
        .header("content-type", "application/x-ndjson");
    let path = format!("/api/v1/import?expectRoot={root}");
    let body = Some(file.as_bytes().to_vec());
    caller.send(Method::POST, &path, body).await
}

#[tokio::test]
async fn a_file_whose_ledger_comes_to_another_root_than_expected_is_refused() {
    let source = tenant(crate::setup().seeded(7)).await;
    let older = export(&source.app.operator()).await;
    let file = export(&source.app.operator()).await;
    let root = |file: &str| head_of(file)["root"].as_str().unwrap().to_owned();
    let next = crate::start().await;
    let before = next.head();
    // Everything in the older file is as it was exported. Only from elsewhere can be known that there is a newer one.
    let reply = import_expecting(&next, &root(&file), &older).await;
    assert_eq!((reply.status, reply.field()), (400, "line 1"), "{reply}");
    assert!(
        reply.text.contains(&root(&file)) && reply.text.contains(&root(&older)),
        "{reply}"
    );
    // Neither does a head help that says what is expected.
    let mut lines = body(&older);
    lines[0] = lines[0].replacen(&root(&older), &root(&file), 1);
    let reply = import_expecting(&next, &root(&file), &sealed(&lines)).await;
    assert_eq!((reply.status, reply.field()), (400, "line 1"), "{reply}");
    let reply = import_expecting(&next, "abc", &file).await;
    assert_eq!(
        (reply.status, reply.field()),
        (400, "expectRoot"),
        "{reply}"
    );
    assert_eq!(next.head(), before, "nothing of it stays");
    // The twins: the same older file without an expectation, and the right one with it.
    import_expecting(&next, &root(&file), &file)
        .await
        .expect(200);
    let other = crate::start().await;
    import(&other.operator(), &older).await.expect(200);
}

#[tokio::test]
async fn whoever_imports_is_told_when_no_key_that_came_can_administer() {
    let source = tenant(crate::setup().seeded(7)).await;
    let file = export(&source.app.operator()).await;
    let (weak, _) = edited(&file, "operatorKey", r#"[\"*\"]"#, r#"[\"audit:read\"]"#);
    let next = crate::start().await;
    let done = import(&next.operator(), &weak).await.expect(200);
    assert_eq!(done.at("/data/adminKeys"), &json!(0), "{done}");
    assert!(done.text_at("/data/warning").contains("KAVACH_ADMIN_KEY"));
    // The twin.
    let other = crate::start().await;
    let done = import(&other.operator(), &file).await.expect(200);
    assert_eq!(done.at("/data/adminKeys"), &json!(1), "{done}");
    assert_eq!(done.at("/data/warning"), &Value::Null);
}
