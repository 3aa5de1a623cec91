//! A tenant that moves: from one server to another, whatever their databases, whole or not at all.

use http::Method;
use kavachos_test::{Call, Reply, Setup, TestAgent, TestApp, TestSession, may, may_under};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// A server with something of every kind.
pub(crate) struct Tenant {
    pub(crate) app: TestApp,
    pub(crate) user: String,
    pub(crate) agent: TestAgent,
    child: TestAgent,
    revoked: TestAgent,
    limited: TestAgent,
    approval: String,
    digest: String,
    session: TestSession,
}

pub(crate) async fn tenant(setup: Setup) -> Tenant {
    let app = setup.start().await;
    let operator = app.operator();
    let user = app.user().await;
    let agent = app
        .agent(&user, may(&["read", "write"], "mcp:github:*"))
        .await;
    let child = app
        .agent(&agent.id, may(&["read"], "mcp:github:repos"))
        .await;
    let revoked = app.agent(&user, may(&["read"], "mcp:*")).await;
    operator
        .delete(&format!("/api/v1/agents/{}", revoked.id))
        .await
        .expect(200);
    let twice = may_under(&["read"], "mcp:*", json!({ "maxCallsPerHour": 2 }));
    let limited = app.agent(&user, twice).await;
    app.call(&limited.key)
        .post("/api/v1/authorize", ask("read", "mcp:a"))
        .await
        .expect(200);
    let asks = may_under(&["run"], "mcp:deploy:*", json!({ "requireApproval": true }));
    let asking = app.agent(&user, asks).await;
    let asked = app.decide(&asking.id, "run", "mcp:deploy:site").await;
    let approval = asked.text_at("/data/approvalId").to_owned();
    let shown = operator
        .get(&format!("/api/v1/approvals/{approval}"))
        .await
        .expect(200);
    app.delegate(&agent.id, &asking.id, may(&["write"], "mcp:github:issues"))
        .await
        .expect(201);
    operator
        .post(
            "/api/v1/keys",
            json!({ "name": "k", "scopes": ["audit:read"] }),
        )
        .await
        .expect(201);
    let server = json!({
        "audience": "https://tools.example.com/mcp", "name": "tools, \"and\" more",
        "scopes": [{ "name": "mcp:github:*", "description": "read repositories" }],
    });
    operator.post("/api/v1/resources", server).await.expect(201);
    let webhook = json!({ "url": "http://127.0.0.1:65534/", "kinds": ["none"] });
    let webhook = operator.post("/api/v1/webhooks", webhook).await.expect(201);
    // One that goes on by itself would not stand where it stood a moment ago.
    let webhook = format!("/api/v1/webhooks/{}", webhook.id());
    let paused = json!({ "status": "paused" });
    operator.patch(&webhook, paused).await.expect(200);
    let session = app.session(&user).await;
    Tenant {
        digest: shown.text_at("/data/digest").to_owned(),
        app,
        user,
        agent,
        child,
        revoked,
        limited,
        approval,
        session,
    }
}

fn ask(action: &str, resource: &str) -> Value {
    json!({ "action": action, "resource": resource })
}

pub(crate) async fn export(caller: &Call) -> String {
    caller
        .post("/api/v1/export", json!({}))
        .await
        .expect(200)
        .text
}

pub(crate) async fn import(caller: &Call, file: &str) -> Reply {
    let lines = caller
        .clone()
        .header("content-type", "application/x-ndjson");
    let body = Some(file.as_bytes().to_vec());
    lines.send(Method::POST, "/api/v1/import", body).await
}

/// The lines between the first and the last, those of the ledger only up to so many records.
pub(crate) fn rows(file: &str, records: usize) -> Vec<&str> {
    let lines: Vec<&str> = file.lines().collect();
    let is_record = |line: &&&str| line.starts_with("{\"kind\":\"record\"");
    let inner = &lines[1..lines.len() - 1];
    let state = inner.iter().filter(|line| !is_record(line));
    let ledger = inner.iter().filter(is_record).take(records);
    state.chain(ledger).copied().collect()
}

pub(crate) fn records(file: &str) -> usize {
    file.lines()
        .filter(|line| line.starts_with("{\"kind\":\"record\""))
        .count()
}

/// The file with its last line computed again, as somebody does who edits it with care.
pub(crate) fn sealed(lines: &[String]) -> String {
    let mut file: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let digest: String = Sha256::digest(&file)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    file.push_str(&format!(
        "{{\"kind\":\"end\",\"lines\":{},\"sha256\":\"{digest}\"}}\n",
        lines.len()
    ));
    file
}

pub(crate) fn body(file: &str) -> Vec<String> {
    let lines: Vec<String> = file.lines().map(str::to_owned).collect();
    lines[..lines.len() - 1].to_vec()
}

pub(crate) fn at(lines: &[String], beginning: &str) -> usize {
    lines
        .iter()
        .position(|line| line.contains(beginning))
        .expect("there is such a line")
}

/// The first line that holds both.
fn at_both(lines: &[String], beginning: &str, from: &str) -> usize {
    let both = |line: &String| line.contains(beginning) && line.contains(from);
    let found = lines.iter().position(both);
    found.unwrap_or_else(|| panic!("no line has `{beginning}` and `{from}`"))
}

/// Fails unless the file was refused with this line named, and nothing of it stayed.
pub(crate) async fn refused(app: &TestApp, file: &str, line: usize, why: &str) {
    let before = app.head();
    let reply = import(&app.operator(), file).await;
    assert_eq!(
        (reply.status, reply.code()),
        (400, "malformed_request"),
        "{why}: {reply}"
    );
    assert_eq!(reply.field(), format!("line {line}"), "{why}: {reply}");
    assert!(reply.text.contains(why), "{why}: {reply}");
    assert_eq!(app.head(), before, "nothing of it stays: {why}");
    let users = app.operator().get("/api/v1/users").await.expect(200);
    assert!(users.rows().is_empty(), "{why}");
}

#[tokio::test]
async fn a_tenant_goes_from_one_database_to_another_and_back_the_same() {
    let source = tenant(crate::setup().seeded(7)).await;
    let first = export(&source.app.operator()).await;
    let size = records(&first);
    let key = source.app.operator_key().to_owned();
    let mut file = first.clone();
    // On PostgreSQL too the other one is SQLite, so both ways are gone.
    let homes = [
        Setup::default().on_postgres(),
        Setup::default().in_a_file(),
        crate::setup(),
    ];
    for (setup, seed) in homes.into_iter().zip(8..) {
        let next = setup.seeded(seed).start().await;
        let done = import(&next.operator(), &file).await.expect(200);
        assert_eq!(
            done.at("/data/rows/record"),
            &json!(records(&file)),
            "{done}"
        );
        file = export(&next.call(&key)).await;
        assert_eq!(rows(&file, size), rows(&first, size));
        let (first, file) = (head_of(&first), head_of(&file));
        for member in ["log", "epoch", "revocations", "rhash"] {
            assert_eq!(first[member], file[member], "{member}");
        }
    }
}

pub(crate) fn head_of(file: &str) -> Value {
    let line = file.lines().next().unwrap_or_default();
    serde_json::from_str(line).expect("the first line is JSON")
}

/// A tenant that has moved: what it was, the file, where it is now, and the key of the empty tenant.
async fn moved() -> (Tenant, String, TestApp, String) {
    let source = tenant(crate::setup().seeded(7)).await;
    let file = export(&source.app.operator()).await;
    let next = crate::setup().start().await;
    let old_key = next.operator_key().to_owned();
    // Known to the server before, as a key that does not exist.
    let caller = next.call(&source.agent.key);
    let unknown = caller.post("/api/v1/authorize", ask("read", "mcp:a")).await;
    assert_eq!(unknown.status, 401);
    import(&next.operator(), &file).await.expect(200);
    (source, file, next, old_key)
}

#[tokio::test]
async fn after_a_move_keys_work_the_dead_stay_dead_and_counters_go_on() {
    let (source, _, next, old_key) = moved().await;
    let decide = |key: &str, question: Value| {
        let call = next.call(key);
        async move { call.post("/api/v1/authorize", question).await.expect(200) }
    };
    let repos = || ask("read", "mcp:github:repos");
    for (agent, allowed) in [
        (&source.agent, true),
        (&source.child, true),
        (&source.revoked, false),
    ] {
        let decision = decide(&agent.key, repos()).await;
        assert_eq!(decision.at("/data/allowed"), &json!(allowed), "{decision}");
    }
    let second = decide(&source.limited.key, ask("read", "mcp:a")).await;
    assert_eq!(second.at("/data/allowed"), &json!(true));
    let third = decide(&source.limited.key, ask("read", "mcp:a")).await;
    let code = third.text_at("/data/code");
    assert_eq!(code, "rate_limited", "one of two was used before the move");
    let operator = next.call(source.app.operator_key());
    let approve = format!("/api/v1/approvals/{}/approve", source.approval);
    let digest = json!({ "digest": source.digest });
    operator.post(&approve, digest).await.expect(200);
    let human = next.call(&source.session.token);
    assert!(human.get("/api/v1/agents").await.expect(200).rows().len() > 3);
    // The key of the empty tenant is gone.
    assert_eq!(next.call(&old_key).get("/api/v1/users").await.status, 401);
}

#[tokio::test]
async fn after_a_move_the_same_log_goes_on_and_says_what_it_replaced() {
    let (source, file, next, _) = moved().await;
    let operator = next.call(source.app.operator_key());
    let before = operator.get("/api/v1/audit?kind=agent.revoked").await;
    assert_eq!(before.expect(200).rows().len(), 1);
    let moved = operator
        .get("/api/v1/audit?kind=tenant.imported")
        .await
        .expect(200);
    assert_eq!(moved.at("/data/0/seq"), &json!(records(&file)));
    let replaced = moved.at("/data/0/details/replacedRecords");
    assert!(replaced.as_u64().is_some_and(|count| count > 0), "{moved}");
    assert_eq!(next.head().log, source.app.head().log);
    assert_eq!(next.head().epoch, source.app.head().epoch);
    assert_eq!(next.head().size, source.app.head().size + 1);
    let user = operator
        .get(&format!("/api/v1/users/{}", source.user))
        .await;
    assert_eq!(user.expect(200).id(), source.user);
}

#[tokio::test]
async fn a_tenant_that_is_not_empty_is_left_alone() {
    let source = tenant(crate::setup().seeded(7)).await;
    let file = export(&source.app.operator()).await;
    let next = crate::setup().start().await;
    let user = next.user().await;
    let reply = import(&next.operator(), &file).await;
    assert_eq!((reply.status, reply.code()), (409, "conflict"), "{reply}");
    assert!(reply.text.contains("kavach init"), "{reply}");
    next.operator()
        .get(&format!("/api/v1/users/{user}"))
        .await
        .expect(200);
    assert_eq!(
        next.audit("kind=tenant.imported&outcome=denied")
            .await
            .len(),
        1
    );
    // The twin: an empty one takes the same file. And only once.
    let empty = crate::setup().start().await;
    import(&empty.operator(), &file).await.expect(200);
    let again = import(&empty.call(source.app.operator_key()), &file).await;
    assert_eq!(again.status, 409);
}

#[tokio::test]
async fn who_may_take_a_tenant_out_and_who_may_fill_one() {
    let app = crate::start().await;
    let key = |scopes: Value, ceiling: Value| {
        let body = json!({ "name": "k", "scopes": scopes, "ceiling": ceiling });
        app.key(body)
    };
    let narrow = may(&["read"], "mcp:*");
    let exports = app
        .key(json!({ "name": "e", "scopes": ["tenant:export"] }))
        .await;
    let reads = app
        .key(json!({ "name": "r", "scopes": ["audit:export", "audit:read"] }))
        .await;
    let bounded = key(json!(["*"]), narrow).await;
    app.call(&exports)
        .post("/api/v1/export", json!({}))
        .await
        .expect(200);
    for weaker in [&reads, &bounded] {
        let reply = app.call(weaker).post("/api/v1/export", json!({})).await;
        assert_eq!(reply.status, 403, "{reply}");
    }
    let source = tenant(crate::setup().seeded(7)).await;
    let file = export(&source.app.operator()).await;
    for weaker in [&exports, &reads, &bounded] {
        let reply = import(&app.call(weaker), &file).await;
        assert_eq!(reply.status, 403, "{reply}");
    }
    for (credential, status) in [(&source.agent.key, 403), (&source.session.token, 403)] {
        let reply = import(&source.app.call(credential), &file).await;
        assert_eq!(reply.status, status, "{reply}");
        let reply = source
            .app
            .call(credential)
            .post("/api/v1/export", json!({}))
            .await;
        assert_eq!(reply.status, status, "{reply}");
    }
    assert_eq!(import(&app.anonymous(), &file).await.status, 401);
    assert_eq!(
        app.audit("kind=tenant.imported&outcome=denied").await.len(),
        3
    );
}

#[tokio::test]
async fn a_cut_file_is_refused_at_the_line_where_it_ends() {
    let source = tenant(crate::setup().seeded(7)).await;
    let file = export(&source.app.operator()).await;
    let app = crate::start().await;
    let count = file.lines().count();
    refused(&app, "", 1, "cut off").await;
    let without_end = body(&file).join("\n") + "\n";
    refused(&app, &without_end, count, "cut off").await;
    let half = file.get(..file.len() / 2).unwrap_or_default();
    let line = half.lines().count();
    refused(&app, half, line, "cut off").await;
    let open = file.trim_end();
    refused(&app, open, count, "cut off").await;
    let more = format!("{file}{{}}\n");
    refused(&app, &more, count + 1, "after the end").await;
    // The twin: the whole file is taken.
    import(&app.operator(), &file).await.expect(200);
}

/// Edits of the line that holds the first text: the second becomes the third, and this is what is then said of it.
const EDITS: [[&str; 4]; 17] = [
    [
        r#"{"kind":"kavachos-tenant""#,
        r#""revocations":"#,
        r#""revocations":9"#,
        HEAD,
    ],
    [
        "{revoked}",
        r#""status":"revoked""#,
        r#""status":"active""#,
        "the records say that it was revoked",
    ],
    [RECORD, r#""time":1"#, r#""time":2"#, "its time"],
    [
        RECORD,
        r#"\"outcome\":\"allowed\""#,
        r#"\"outcome\":\"denied\""#,
        HEAD,
    ],
    [
        REVOCATION,
        r#""generation":2"#,
        r#""generation":3"#,
        "does not follow",
    ],
    [
        r#"{"kind":"handle""#,
        r#""generation":1"#,
        r#""generation":4"#,
        "no revocation gave it",
    ],
    [
        "{child}",
        r#"\"read\""#,
        r#"\"execute\""#,
        "more than the grant",
    ],
    ["{child}", r#""depth":1"#, r#""depth":2"#, "does not follow"],
    [
        APPROVAL,
        "mcp:deploy:site",
        "mcp:deploy:sitf",
        "that of its document",
    ],
    [
        APPROVAL,
        r#""digest":""#,
        r#""digest":"00"#,
        "not the right number of bytes",
    ],
    [
        r#"{"kind":"user""#,
        r#""agents":4"#,
        r#""agents":3"#,
        "fewer agents",
    ],
    [
        r#"{"kind":"operatorKey""#,
        r#"[\"*\"]"#,
        r#"[\"root\"]"#,
        "scopes",
    ],
    [
        r#"{"kind":"agentKey""#,
        r#""status":"active""#,
        r#""status":"happy""#,
        "status",
    ],
    [
        r#"{"kind":"kavachos-tenant""#,
        r#""version":2"#,
        r#""version":1"#,
        "version",
    ],
    [
        r#"{"kind":"counter""#,
        r#""kind":"counter""#,
        r#""kind":"coin""#,
        "not known",
    ],
    [
        r#"{"kind":"toolServer""#,
        r#","name""#,
        r#", "name""#,
        "as an export writes it",
    ],
    [
        r#"{"kind":"session""#,
        r#""handle":"02"#,
        r#""handle":"06"#,
        "another kind of thing",
    ],
];
const RECORD: &str = r#"{"kind":"record","seq":3,"#;
const REVOCATION: &str = r#"{"kind":"revocation""#;
const APPROVAL: &str = r#"{"kind":"approval""#;
/// What is said of the first line, when what follows does not come to what it says.
const HEAD: &str = "the head that it names";

#[tokio::test]
async fn an_edited_file_is_refused_by_its_digest_or_by_what_it_says() {
    let source = tenant(crate::setup().seeded(7)).await;
    let file = export(&source.app.operator()).await;
    let app = crate::start().await;
    let lines = body(&file);
    // Without a new digest anything is noticed.
    let named = file.replacen("\"name\":\"Ada\"", "\"name\":\"Eve\"", 1);
    assert_ne!(named, file);
    refused(&app, &named, lines.len() + 1, "digest").await;
    // With one, what contradicts itself still is.
    for [beginning, from, to, why] in EDITS {
        let beginning = beginning
            .replace("{revoked}", &format!("\"id\":\"{}\"", source.revoked.id))
            .replace("{child}", &format!("\"receiver\":\"{}\"", source.child.id));
        let mut edited = lines.clone();
        let index = at_both(&edited, &beginning, from);
        let line = &mut edited[index];
        *line = line.replacen(from, to, 1);
        assert_ne!(edited[index], lines[index], "{beginning}");
        let line = if why == HEAD { 1 } else { index + 1 };
        refused(&app, &sealed(&edited), line, why).await;
    }
    import(&app.operator(), &sealed(&lines)).await.expect(200);
}

/// The file with this in the line of a kind, as somebody seals it who edits it with care; and the number of that line.
pub(crate) fn edited(file: &str, kind: &str, from: &str, to: &str) -> (String, usize) {
    let mut lines = body(file);
    let index = at_both(&lines, &format!("{{\"kind\":\"{kind}\""), from);
    lines[index] = lines[index].replacen(from, to, 1);
    (sealed(&lines), index + 1)
}

#[tokio::test]
async fn a_file_without_one_of_its_lines_is_refused() {
    let source = tenant(crate::setup().seeded(7)).await;
    let file = export(&source.app.operator()).await;
    let app = crate::start().await;
    let lines = body(&file);
    for (beginning, at_fault, why) in [
        (RECORD, RECORD, "is missing"),
        (
            REVOCATION,
            "\\\"kind\\\":\\\"agent.revoked\\\"",
            "were cut off",
        ),
        // The row that refers to the missing one is at fault.
        (
            "{\"kind\":\"user\"",
            "{\"kind\":\"agent\"",
            "names one that is not there",
        ),
    ] {
        let mut cut = lines.clone();
        cut.remove(at(&lines, beginning));
        let line = match at_fault {
            RECORD => at(&lines, RECORD),
            other => at(&cut, other),
        };
        let reply = import(&app.operator(), &sealed(&cut)).await;
        assert_eq!(reply.field(), format!("line {}", line + 1), "{reply}");
        assert!(reply.text.contains(why), "{why}: {reply}");
    }
}

#[tokio::test]
async fn lines_in_another_order_or_twice_are_refused() {
    let source = tenant(crate::setup().seeded(7)).await;
    let file = export(&source.app.operator()).await;
    let app = crate::start().await;
    let lines = body(&file);
    let mut swapped = lines.clone();
    let first = at(&lines, "{\"kind\":\"handle\"");
    swapped.swap(first, first + 1);
    refused(&app, &sealed(&swapped), first + 2, "order of its key").await;
    let mut twice = lines.clone();
    twice.insert(first, lines[first].clone());
    refused(&app, &sealed(&twice), first + 2, "order of its key").await;
    let mut moved = lines.clone();
    let user = moved.remove(at(&lines, "{\"kind\":\"user\""));
    moved.push(user);
    let reply = import(&app.operator(), &sealed(&moved)).await;
    assert_eq!(reply.status, 400, "{reply}");
}

#[tokio::test]
async fn what_is_no_file_of_ours_is_refused() {
    let app = crate::start().await;
    for (file, line) in [
        ("\n", 1),
        ("{}\n", 1),
        ("[1]\n", 1),
        ("null\n", 1),
        ("{\"kind\":\"kavachos-tenant\",\"version\":2}\n", 1),
        ("{\"kind\":\"kavachos-tenant\"}\n", 1),
        ("PK\u{3}\u{4}", 1),
    ] {
        let reply = import(&app.operator(), file).await;
        assert_eq!(
            (reply.status, reply.field()),
            (400, &*format!("line {line}")),
            "{reply}"
        );
    }
    let bytes = Some(b"\xff\xfe\n".to_vec());
    let caller = app
        .operator()
        .header("content-type", "application/x-ndjson");
    let reply = caller.send(Method::POST, "/api/v1/import", bytes).await;
    assert_eq!((reply.status, reply.field()), (400, "line 1"));
    let json = app.operator().post("/api/v1/import", json!({})).await;
    assert_eq!((json.status, json.field()), (400, "Content-Type"));
    let once = caller.clone().header("idempotency-key", "a");
    let reply = once
        .send(Method::POST, "/api/v1/import", Some(b"{}\n".to_vec()))
        .await;
    assert_eq!((reply.status, reply.field()), (400, "Idempotency-Key"));
    let reply = caller
        .send(Method::POST, "/api/v1/import?x=1", Some(b"{}\n".to_vec()))
        .await;
    assert_eq!((reply.status, reply.field()), (400, "x"));
    let long = vec![b'a'; (8 << 20) + 1];
    let reply = caller
        .send(Method::POST, "/api/v1/import", Some(long))
        .await;
    assert_eq!((reply.status, reply.field()), (400, "line 1"), "{reply}");
}

#[tokio::test]
async fn whatever_byte_is_changed_the_file_is_refused() {
    let source = tenant(crate::setup().seeded(7)).await;
    let file = export(&source.app.operator()).await.into_bytes();
    let app = crate::start().await;
    let before = app.head();
    let caller = app
        .operator()
        .header("content-type", "application/x-ndjson");
    for step in 0..100 {
        let at = step * file.len() / 100;
        let mut edited = file.clone();
        edited[at] ^= 1 << (step % 8);
        let reply = caller
            .send(Method::POST, "/api/v1/import", Some(edited))
            .await;
        let named = reply.field().starts_with("line ");
        assert!(reply.status == 400 && named, "byte {at}: {reply}");
        assert_eq!(app.head(), before, "byte {at}");
    }
    import(&app.operator(), &String::from_utf8(file).unwrap())
        .await
        .expect(200);
}

#[tokio::test]
async fn an_edit_that_was_sealed_again_is_no_defect_of_the_server() {
    let source = tenant(crate::setup().seeded(7)).await;
    let file = export(&source.app.operator()).await;
    let lines = body(&file);
    let mut app = crate::start().await;
    for step in 0..60 {
        let mut edited = lines.clone();
        let line = &mut edited[step * lines.len() / 60];
        let digits: Vec<usize> = line
            .match_indices(|c: char| c.is_ascii_digit())
            .map(|(at, _)| at)
            .collect();
        let at = digits[step * 7 % digits.len()];
        line.replace_range(
            at..=at,
            if line.get(at..).is_some_and(|rest| rest.starts_with('4')) {
                "5"
            } else {
                "4"
            },
        );
        let reply = import(&app.operator(), &sealed(&edited)).await;
        assert!([200, 400].contains(&reply.status), "{reply}");
        if reply.status == 200 {
            app = crate::start().await;
        }
    }
}
