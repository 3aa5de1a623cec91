//! Plugins over HTTP: what one may do, and what it cannot. The plugin is that of `docs/plugins.md`, and an odd one.

use http::Method as HttpMethod;
use kavachos_engine::plugin::{
    Allowance, Answer, CallerType, Change, Context, Flood, Method, Plugin, Plugins, Request, Route,
};
use kavachos_engine::{Error, Result};
use kavachos_store::migration::Migration;
use kavachos_store::{Query, Write};
use kavachos_test::kavachos::Kavach;
use kavachos_test::notes::Notes;
use kavachos_test::{TestAgent, TestApp, may};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

use crate::routes::routes;

const SUSPEND: &str = "UPDATE agents SET status = 'suspended'";

async fn with_notes() -> (TestApp, String, TestAgent) {
    let setup = crate::setup().with(|builder| builder.plugin(Notes::default()));
    let app = setup.start().await;
    let user = app.user().await;
    let agent = app.agent(&user, may(&["read"], "mcp:*")).await;
    (app, user, agent)
}

fn path(agent: &TestAgent) -> String {
    format!("/api/v1/notes/{}", agent.id)
}

#[tokio::test]
async fn an_operator_writes_a_note_and_the_agents_human_reads_it_and_no_other() {
    let (app, user, agent) = with_notes().await;
    let note = json!({ "text": "slow on Mondays" });
    let written = app
        .operator()
        .post(&path(&agent), note.clone())
        .await
        .expect(201);
    assert_eq!(written.header("cache-control"), "no-store");
    assert!(
        written.header("x-request-id").starts_with("req_"),
        "{written}"
    );
    let session = app.session(&user).await;
    let read = app
        .call(&session.token)
        .get(&path(&agent))
        .await
        .expect(200);
    assert_eq!(read.at("/data/0/text"), "slow on Mondays");
    let records = app.audit("kind=notes.written").await;
    assert_eq!(records.len(), 1);
    assert_eq!(records[0]["agent"], agent.id);
    assert_eq!(
        records[0]["details"]["note"],
        written.at("/data/id").clone()
    );
    let stranger = app.session(&app.user().await).await;
    let other = app.call(&stranger.token).get(&path(&agent)).await;
    other.refused(404, "not_found");
    app.anonymous()
        .get(&path(&agent))
        .await
        .refused(401, "unauthenticated");
}

#[tokio::test]
async fn a_caller_of_the_wrong_type_is_refused_on_record() {
    let (app, user, agent) = with_notes().await;
    let session = app.session(&user).await;
    let weak = app
        .key(json!({ "name": "weak", "scopes": ["audit:read"] }))
        .await;
    for credential in [&agent.key, &session.token, &weak] {
        let note = json!({ "text": "me too" });
        let reply = app.call(credential).post(&path(&agent), note).await;
        reply.refused(403, "forbidden");
    }
    let records = app.audit("kind=plugin.called&outcome=denied").await;
    assert_eq!(records.len(), 3);
    assert_eq!(records[0]["details"]["route"], "/api/v1/notes/{agent}");
    assert!(app.audit("kind=notes.written").await.is_empty());
    // The twin: the right scope is enough.
    let right = app
        .key(json!({ "name": "right", "scopes": ["agents:write", "agents:read"] }))
        .await;
    let note = json!({ "text": "me" });
    app.call(&right).post(&path(&agent), note).await.expect(201);
}

#[tokio::test]
async fn the_hook_of_a_plugin_denies() {
    let (app, _, agent) = with_notes().await;
    app.decide(&agent.id, "read", "mcp:a")
        .await
        .decided("allowed");
    let stop = json!({ "text": "stop" });
    app.operator().post(&path(&agent), stop).await.expect(201);
    app.decide(&agent.id, "read", "mcp:a")
        .await
        .decided("denied_by_hook");
}

#[tokio::test]
async fn an_open_route_answers_so_many_calls_of_one_network_also_over_a_restart() {
    let setup = crate::setup().lasting();
    let mut app = setup
        .with(|builder| builder.plugin(Notes::default()))
        .start()
        .await;
    for _ in 0..5 {
        let page = app.anonymous().get("/api/v1/notes").await.expect(200);
        assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
        assert!(
            page.header("content-security-policy")
                .contains("default-src 'none'")
        );
    }
    for _ in 0..2 {
        let reply = app.anonymous().get("/api/v1/notes").await;
        let reply = reply.refused(429, "too_many_requests");
        assert!(!reply.header("retry-after").is_empty());
        app.restart().await;
    }
    // A credential opens no more of them.
    let operator = app.operator().get("/api/v1/notes").await;
    operator.refused(429, "too_many_requests");
    // The twins: another network, and a while later.
    app.anonymous()
        .from("127.0.9.1")
        .get("/api/v1/notes")
        .await
        .expect(200);
    app.advance(70);
    app.anonymous().get("/api/v1/notes").await.expect(200);
}

/// A site of IPv6 has so many networks that the limit of each would be none.
#[tokio::test]
async fn the_networks_of_a_site_share_ten_times_what_one_may() {
    let setup = crate::setup().trusting(&["127.0.0.1/32"]);
    let app = setup
        .with(|builder| builder.plugin(Notes::default()))
        .start()
        .await;
    let from = async |address: &str| {
        let call = app.anonymous().header("x-forwarded-for", address);
        call.get("/api/v1/notes").await
    };
    for network in 0..10 {
        for host in 0..5 {
            let address = format!("2001:db8:1:{network}::{host}");
            from(&address).await.expect(200);
        }
    }
    let network = from("2001:db8:1:0::9").await;
    network.refused(429, "too_many_requests");
    let site = from("2001:db8:1:99::1").await;
    site.refused(429, "too_many_requests");
    // The twins: the next site, and networks of IPv4, which are in none.
    from("2001:db8:2:99::1").await.expect(200);
    from("192.0.2.1").await.expect(200);
}

#[tokio::test]
async fn a_plugins_own_limit_is_taken_with_its_change() {
    let (app, user, agent) = with_notes().await;
    let other = app.agent(&user, may(&["read"], "mcp:*")).await;
    for number in 0..50 {
        let note = json!({ "text": format!("note {number}") });
        app.operator().post(&path(&agent), note).await.expect(201);
    }
    let more = json!({ "text": "one more" });
    let reply = app.operator().post(&path(&agent), more.clone()).await;
    reply.refused(429, "too_many_requests");
    assert_eq!(app.audit("kind=notes.written&limit=100").await.len(), 50);
    // The twin: another agent has a limit of its own.
    app.operator().post(&path(&other), more).await.expect(201);
}

#[tokio::test]
async fn a_repeated_request_with_its_key_writes_one_note() {
    let (app, _, agent) = with_notes().await;
    let note = json!({ "text": "once" });
    let call = app.operator().header("idempotency-key", "k1");
    let first = call.post(&path(&agent), note.clone()).await.expect(201);
    let second = call.post(&path(&agent), note.clone()).await.expect(201);
    assert_eq!(first.at("/data/id"), second.at("/data/id"));
    let other = call.post(&path(&agent), json!({ "text": "twice" })).await;
    other.refused(409, "idempotency_mismatch");
    assert_eq!(app.audit("kind=notes.written").await.len(), 1);
    // The twin: without the key it is another note.
    app.operator().post(&path(&agent), note).await.expect(201);
    assert_eq!(app.audit("kind=notes.written").await.len(), 2);
}

#[tokio::test]
async fn a_body_that_cannot_be_read_names_its_member() {
    let (app, _, agent) = with_notes().await;
    for (body, field) in [
        (json!({ "text": "" }), "text"),
        (json!({ "text": "a", "more": 1 }), "more"),
        (json!({ "text": 1 }), "text"),
    ] {
        let reply = app.operator().post(&path(&agent), body).await;
        let reply = reply.refused(400, "malformed_request");
        assert!(reply.text.contains(field), "{reply}");
    }
    let form = app.operator().header("content-type", "text/plain");
    let body = Some(b"text=a".to_vec());
    let reply = form.send(HttpMethod::POST, &path(&agent), body).await;
    assert_eq!(
        reply.refused(400, "malformed_request").field(),
        "Content-Type"
    );
    let large = json!({ "text": "x".repeat(300_000) });
    let reply = app.operator().post(&path(&agent), large).await;
    reply.refused(413, "too_large");
    let wrong = app.operator().get("/api/v1/notes/nobody").await;
    assert_eq!(wrong.refused(400, "malformed_request").field(), "agent");
    let unknown = app.operator().delete(&path(&agent)).await;
    unknown.refused(405, "method_not_allowed");
}

/// Tries what a plugin may not.
struct Odd;

impl Plugin for Odd {
    fn id(&self) -> &'static str {
        "odd"
    }

    fn migrations(&self) -> Vec<Migration> {
        vec![migration(
            "odd",
            "CREATE TABLE odd_row (id {text} NOT NULL PRIMARY KEY) {rows};",
        )]
    }

    fn kinds(&self) -> Vec<&'static str> {
        vec!["odd.done"]
    }

    fn routes(&self) -> Vec<Route> {
        let route = |path, handler| Route::new(Method::Post, path, CallerType::Known, handler);
        vec![
            route("/api/v1/odd/{what}", odd),
            Route::new(Method::Get, "/api/v1/odd/form", CallerType::Known, page),
            Route::new(Method::Post, "/api/auth/odd", begins(), form),
        ]
    }
}

fn begins() -> CallerType {
    CallerType::Open(Flood {
        per_source: Allowance::new(100, Duration::from_secs(60)),
        overall: Allowance::new(2, Duration::from_secs(60)),
    })
}

type Answering = std::pin::Pin<Box<dyn Future<Output = Result<Answer>> + Send>>;

fn odd(context: Context, request: Request) -> Answering {
    Box::pin(async move {
        let what = request.part("what").to_owned();
        if what == "panics" {
            panic!("the words of a panic");
        }
        if what == "reads" {
            let query = Query::new(1, "SELECT count(*) FROM agents");
            context.read::<(u64,)>(query).await?;
        }
        if what == "sets" {
            return Ok(Answer::empty().header("cache-control", "public"));
        }
        let kind = if what == "kind" {
            "agent.created"
        } else {
            "odd.done"
        };
        let sql = match what.as_str() {
            "writes" => SUSPEND,
            "twice" => "INSERT INTO odd_row (id) VALUES ('one')",
            _ => "UPDATE odd_row SET id = 'other' WHERE id = 'nothing'",
        };
        let done = context.change(kind, || async {
            if what == "refuses" {
                return Err(Error::WrongState("not now".to_owned()));
            }
            let rows = if what == "conflicts" || what == "twice" {
                1
            } else {
                0
            };
            Ok(Change::of("row").write(Write::exactly(rows, sql)))
        });
        Answer::data(&done.await?.thing)
    })
}

async fn page(context: Context, _: Request) -> Result<Answer> {
    let name = context.program().caller;
    Ok(Answer::html(format!("{name:?}")))
}

async fn form(context: Context, request: Request) -> Result<Answer> {
    let fields = request.form()?;
    let done = context.change("odd.done", || async { Ok(Change::of("row")) });
    done.await?;
    if request.cookie("odd").is_some() || request.header("cookie").is_some() {
        return Answer::data(&request.cookie("odd"));
    }
    let (_, value) = fields.into_iter().next().unwrap_or_default();
    let cookie = kavachos_engine::plugin::Cookie::new("odd", value);
    Ok(Answer::see_other("/auth/done")?.cookie(cookie))
}

fn migration(owner: &'static str, sql: &'static str) -> Migration {
    Migration {
        owner,
        number: 1,
        name: "first",
        sql,
        min_binary: 1,
    }
}

#[tokio::test]
async fn what_is_not_a_plugins_own_is_refused_and_the_server_goes_on() {
    let app = crate::setup()
        .with(|builder| builder.plugin(Odd))
        .start()
        .await;
    let agent = app.agent(&app.user().await, may(&["read"], "mcp:*")).await;
    let before = app.head().size;
    for what in ["panics", "reads", "writes", "kind", "sets"] {
        let path = format!("/api/v1/odd/{what}");
        let reply = app.operator().post(&path, json!({})).await;
        let reply = reply.refused(500, "internal");
        assert!(!reply.text.contains("the words"), "{reply}");
        assert_eq!(reply.header("cache-control"), "no-store");
    }
    assert_eq!(app.head().size, before, "nothing is on record");
    app.decide(&agent.id, "read", "mcp:a")
        .await
        .decided("allowed");
    // The twin: what is its own goes through.
    app.operator()
        .post("/api/v1/odd/own", json!({}))
        .await
        .expect(200);
    assert_eq!(app.audit("kind=odd.done").await.len(), 1);
}

#[tokio::test]
async fn the_same_statement_past_the_check_goes_through() {
    let setup = crate::setup().in_a_file();
    let mut app = setup.with(|builder| builder.plugin(Odd)).start().await;
    let agent = app.agent(&app.user().await, may(&["read"], "mcp:*")).await;
    let refused = app.operator().post("/api/v1/odd/writes", json!({})).await;
    refused.refused(500, "internal");
    app.decide(&agent.id, "read", "mcp:a")
        .await
        .decided("allowed");
    let changed = app.restart_after(|connection| connection.execute(SUSPEND, []).unwrap());
    assert_eq!(changed.await, 1);
    app.decide(&agent.id, "read", "mcp:a")
        .await
        .decided("agent_suspended");
}

#[tokio::test]
async fn a_conflict_is_planned_again_then_told_and_a_refusal_is_on_record() {
    let app = crate::setup()
        .with(|builder| builder.plugin(Odd))
        .start()
        .await;
    let conflicts = app
        .operator()
        .post("/api/v1/odd/conflicts", json!({}))
        .await;
    conflicts.refused(409, "conflict");
    assert!(app.audit("kind=odd.done").await.is_empty());
    let refuses = app.operator().post("/api/v1/odd/refuses", json!({})).await;
    refuses.refused(409, "conflict");
    assert_eq!(app.audit("kind=odd.done&outcome=denied").await.len(), 1);
    let first = app.operator().post("/api/v1/odd/twice", json!({})).await;
    first.expect(200);
    assert_eq!(app.audit("kind=odd.done&outcome=allowed").await.len(), 1);
}

#[tokio::test]
async fn a_strangers_form_is_read_answered_with_a_cookie_and_on_record_within_limits() {
    let app = crate::setup()
        .with(|builder| builder.plugin(Odd))
        .start()
        .await;
    let form = app
        .anonymous()
        .header("content-type", "application/x-www-form-urlencoded");
    let post = |call: kavachos_test::Call| async move {
        let body = Some(b"name=ada".to_vec());
        call.send(HttpMethod::POST, "/api/auth/odd", body).await
    };
    let begun = post(form.clone()).await.expect(303);
    assert_eq!(begun.header("location"), "/auth/done");
    let cookie = "__Host-odd=ada; Path=/; Secure; HttpOnly; SameSite=Lax";
    assert_eq!(begun.header("set-cookie"), cookie);
    assert_eq!(app.audit("kind=odd.done").await[0]["actor"], "stranger");
    let back = form
        .clone()
        .header("cookie", "__Host-odd=ada; __Host-kavach_session=x");
    assert_eq!(post(back).await.expect(200).at("/data"), "ada");
    // The limit of all sources together is two.
    post(form.from("127.0.9.1"))
        .await
        .refused(429, "too_many_requests");
    assert_eq!(app.audit("kind=odd.done").await.len(), 2);
}

/// A plugin that is what a test says.
#[derive(Default)]
struct Made {
    id: &'static str,
    sql: &'static str,
    kinds: Vec<&'static str>,
    path: Option<&'static str>,
}

impl Plugin for Made {
    fn id(&self) -> &'static str {
        self.id
    }

    fn migrations(&self) -> Vec<Migration> {
        vec![migration(self.id, self.sql)]
    }

    fn kinds(&self) -> Vec<&'static str> {
        self.kinds.clone()
    }

    fn routes(&self) -> Vec<Route> {
        let made = |path| Route::new(Method::Get, path, CallerType::Known, page);
        self.path.into_iter().map(made).collect()
    }
}

#[test]
fn a_plugin_that_claims_what_is_not_its_own_is_refused_with_the_reason() {
    let made = |id| Made {
        id,
        ..Made::default()
    };
    let at = |path| Made {
        path: Some(path),
        ..made("own")
    };
    let sql = |sql| Made { sql, ..made("own") };
    let kinds = |kind| Made {
        kinds: vec![kind],
        ..made("own")
    };
    let refusal = |plugins: Vec<Made>| {
        let plugins = plugins
            .into_iter()
            .map(|made| Arc::new(made) as Arc<dyn Plugin>);
        let plugins: Vec<_> = plugins.collect();
        Plugins::new(&plugins, Vec::new())
            .err()
            .map(|error| error.to_string())
    };
    for (plugins, why) in [
        (vec![made("Own")], "its id must be"),
        (vec![made("agents")], "belongs to the server"),
        (vec![made("operator")], "belongs to the server"),
        (vec![made("own"), made("own")], "the same id"),
        (
            vec![made("own"), made("own_too")],
            "named like those of `own`",
        ),
        (vec![sql("CREATE TABLE agents (id {text})")], "`own_...`"),
        (
            vec![kinds("agent.created")],
            "must read `own.what_happened`",
        ),
        (vec![kinds("own.")], "must read `own.what_happened`"),
        (vec![at("/api/v1/agents")], "must begin with `/api/v1/own`"),
        (vec![at("/api/v1/ownx")], "must begin with `/api/v1/own`"),
        (vec![at("/healthz")], "must begin with"),
        (vec![at("/api/v1/own/{*rest}")], "segments of a-z"),
        (vec![at("/api/v1/own/../agents")], "segments of a-z"),
        (
            vec![
                at("/auth/x"),
                Made {
                    path: Some("/auth/x"),
                    ..made("too")
                },
            ],
            "the same method",
        ),
        (
            vec![
                at("/auth/{a}"),
                Made {
                    path: Some("/auth/{b}/c"),
                    ..made("too")
                },
            ],
            "names a part of its path otherwise",
        ),
    ] {
        let refusal = refusal(plugins).unwrap_or_default();
        assert!(refusal.contains(why), "{refusal:?} does not say {why:?}");
    }
    assert_eq!(refusal(vec![at("/auth/{a}/b"), made("too")]), None);
}

#[tokio::test]
async fn no_route_of_the_server_can_be_a_plugins() {
    for route in routes() {
        let word = route.path.strip_prefix("/api/v1/").unwrap_or_default();
        let word = word.split('/').next().unwrap_or_default();
        let plugin: Arc<dyn Plugin> = Arc::new(Made {
            id: word,
            path: Some(route.path),
            ..Made::default()
        });
        assert!(
            Plugins::new(&[plugin], Vec::new()).is_err(),
            "{}",
            route.path
        );
    }
}

#[tokio::test]
async fn a_migration_that_was_edited_afterwards_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let open = |sql: &'static str| {
        let file = home.path().join("kavach.db");
        let made = Made {
            sql,
            id: "edited",
            ..Made::default()
        };
        Kavach::builder().sqlite(file).plugin(made).build()
    };
    let first = "CREATE TABLE edited_row (id {text} NOT NULL PRIMARY KEY) {rows};";
    open(first).await.unwrap().close().await;
    let edited =
        open("CREATE TABLE edited_row (id {text} NOT NULL PRIMARY KEY, n {int}) {rows};").await;
    let error = edited.err().unwrap().to_string();
    assert!(error.contains("migration 1 of `edited`"), "{error}");
    open(first).await.unwrap().close().await;
}
