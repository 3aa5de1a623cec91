//! Grants that are made for one token each: an agent that asks for a token for every call wears out nothing, and what is
//! long over is forgotten, but for the ledger and for what was killed.

use std::collections::BTreeSet;

use kavachos_test::{TestAgent, TestApp, may};
use serde_json::{Value, json};

use crate::moving::{body, export, import, refused, sealed};
use crate::tokens::{DELEGATE, ask, decide, register, search};

/// How long a grant that was made for a token is kept after its end.
const KNOWN: u64 = 25 * 60 * 60;
/// How long a token lives here.
const LIFE: u64 = 300;

async fn forget(app: &TestApp) {
    app.kavach().engine().forget().await.unwrap();
}

/// The rows of a kind, by the member that names them.
async fn rows(app: &TestApp, kind: &str, member: &str) -> BTreeSet<String> {
    let file = export(&app.operator()).await;
    let beginning = format!("{{\"kind\":\"{kind}\"");
    let lines = file.lines().filter(|line| line.starts_with(&beginning));
    let name = |line: &str| {
        let row: Value = serde_json::from_str(line).unwrap();
        row[member].as_str().unwrap().to_owned()
    };
    lines.map(name).collect()
}

async fn grants(app: &TestApp) -> BTreeSet<String> {
    rows(app, "grant", "id").await
}

/// A token that a grant is made for, and the grant.
async fn made(app: &TestApp, key: &str) -> (String, String) {
    let token = ask(app, key, search()).await.expect(200);
    let token = token.text_at("/data/token").to_owned();
    let record = app.audit("kind=token.issued&limit=100").await.remove(0);
    let path = record["grantPath"].as_array().unwrap();
    (token, path.last().unwrap().as_str().unwrap().to_owned())
}

/// A human with an agent that makes tokens, what it makes and gives, and a server to which all of it is shown.
struct World {
    app: TestApp,
    user: String,
    giver: TestAgent,
    receiver: TestAgent,
    server: String,
    /// The delegate's own grant, and an ordinary delegation.
    kept: Vec<String>,
    token: String,
    /// Made for a token; the same, revoked; promised.
    grants: [String; 3],
}

async fn world() -> World {
    let app = crate::setup().seeded(7).start().await;
    let server = register(&app, json!({})).await;
    let user = app.user().await;
    let giver = app.agent(&user, may(&["*"], "tools:call:*")).await;
    let receiver = app.agent(&user, may(&["*"], "other:thing")).await;
    let given = app
        .delegate(&giver.id, &receiver.id, may(&["*"], "tools:call:search"))
        .await
        .expect(201);
    let (_, own) = made(&app, &giver.key).await;
    let (token, for_token) = made(&app, &giver.key).await;
    let (_, revoked) = made(&app, &giver.key).await;
    let path = format!("/api/v1/delegations/{revoked}");
    app.operator().delete(&path).await.expect(200);
    let mut promise = search();
    promise["agent"] = json!(receiver.id);
    let promise = ask(&app, &giver.key, promise).await.expect(200);
    World {
        kept: vec![own, given.id().to_owned()],
        grants: [
            for_token,
            revoked,
            promise.text_at("/data/delegationId").to_owned(),
        ],
        app,
        user,
        giver,
        receiver,
        server,
        token,
    }
}

#[tokio::test]
async fn a_grant_of_a_token_is_forgotten_a_day_after_its_end_and_others_are_not() {
    let world = world().await;
    let app = &world.app;
    let all = grants(app).await;
    // Its two agents have their own.
    assert_eq!(all.len(), 2 + world.kept.len() + world.grants.len());
    for wait in [0, LIFE, KNOWN] {
        app.advance(wait);
        forget(app).await;
        assert_eq!(grants(app).await, all, "{wait}");
    }
    let handles = rows(app, "handle", "handle").await;
    app.advance(1);
    forget(app).await;
    let left = grants(app).await;
    let gone: BTreeSet<String> = world.grants.iter().cloned().collect();
    assert_eq!(
        all.difference(&left).cloned().collect::<BTreeSet<_>>(),
        gone
    );
    // The handle of the one that was revoked is named by the revocation log, and stays.
    let left = rows(app, "handle", "handle").await;
    assert_eq!(handles.difference(&left).count(), 2);
    assert!(left.is_subset(&handles));
}

#[tokio::test]
async fn what_names_a_forgotten_grant_answers_that_it_is_not_there_and_records_say_what_they_said()
{
    let world = world().await;
    let app = &world.app;
    let decision = decide(app, &world.server, &world.token, "search").await;
    let id = decision
        .decided("allowed")
        .text_at("/data/auditId")
        .to_owned();
    let operator = app.operator();
    let shown = async |path: String| operator.get(&path).await.expect(200).at("/data").clone();
    let record = shown(format!("/api/v1/audit/{id}")).await;
    let why = shown(format!("/api/v1/explain/{id}")).await;
    app.advance(LIFE + KNOWN + 1);
    let rotated = format!("/api/v1/agents/{}/rotate", world.receiver.id);
    let key = operator.post(&rotated, json!({})).await.expect(201);
    let key = key.text_at("/data/token").to_owned();
    let redeem = format!("{DELEGATE}/{}/token", world.grants[2]);
    // The twin: before it is forgotten, it is over.
    let path = format!("/api/v1/delegations/{}", world.grants[0]);
    let over = operator.get(&path).await.expect(200);
    assert_eq!(over.text_at("/data/status"), "expired");
    assert_eq!(app.call(&key).post(&redeem, json!({})).await.status, 409);
    forget(app).await;
    for grant in &world.grants {
        let path = format!("/api/v1/delegations/{grant}");
        for reply in [operator.get(&path).await, operator.delete(&path).await] {
            assert_eq!((reply.status, reply.code()), (404, "not_found"), "{reply}");
        }
        let below = json!({
            "from": world.giver.id, "to": world.receiver.id, "parent": grant,
            "permissions": may(&["*"], "tools:call:search"), "reason": "the test",
        });
        let below = operator.post("/api/v1/delegations", below).await;
        assert_eq!((below.status, below.code()), (404, "not_found"), "{below}");
    }
    let reply = app.call(&key).post(&redeem, json!({})).await;
    assert_eq!((reply.status, reply.code()), (404, "not_found"));
    assert_eq!(shown(format!("/api/v1/audit/{id}")).await, record);
    assert_eq!(shown(format!("/api/v1/explain/{id}")).await, why);
    assert!(
        !app.audit("kind=delegation.created&limit=100")
            .await
            .is_empty()
    );
    let agents = operator.get("/api/v1/agents").await.expect(200);
    assert_eq!(agents.rows().len(), 3, "with the delegate");
    // The token was dead before, and is.
    let late = decide(app, &world.server, &world.token, "search").await;
    assert_ne!(late.text_at("/data/code"), "allowed");
    // What is asked about the agents after that.
    app.decide(&world.receiver.id, "call", "tools:call:search")
        .await
        .expect(200);
}

#[tokio::test]
async fn followers_know_every_kill_of_before_and_after() {
    let world = world().await;
    let app = &world.app;
    let feed = async || {
        let reply = app.operator().get("/api/v1/revocations?since=0").await;
        reply.expect(200).at("/data/records").clone()
    };
    let before = feed().await;
    assert_eq!(before.as_array().unwrap().len(), 1, "of the grant");
    app.advance(LIFE + KNOWN + 1);
    forget(app).await;
    assert_eq!(feed().await, before);
    let ban = format!("/api/v1/users/{}/ban", world.user);
    app.operator().post(&ban, json!({})).await.expect(200);
    let after = feed().await;
    let after = after.as_array().unwrap();
    assert_eq!(after.first(), before.as_array().unwrap().first());
    // The human, and the live grants that they gave: of the two agents. What is forgotten is not among them.
    assert_eq!(after.len(), 1 + 1 + 2);
}

#[tokio::test]
async fn an_agent_that_makes_a_token_for_every_call_does_not_wear_out() {
    let app = crate::start().await;
    register(&app, json!({})).await;
    let user = app.user().await;
    let mut agent = app.agent(&user, may(&["*"], "tools:call:*")).await;
    let few = grants(&app).await.len();
    for number in 0..300 {
        if number % 100 == 99 {
            forget(&app).await;
            let path = format!("/api/v1/agents/{}/rotate", agent.id);
            let key = app.operator().post(&path, json!({})).await.expect(201);
            agent.key = key.text_at("/data/token").to_owned();
        }
        ask(&app, &agent.key, search()).await.expect(200);
        app.advance(2 * LIFE);
    }
    let kept = usize::try_from(KNOWN / (2 * LIFE)).unwrap();
    assert!(grants(&app).await.len() < few + kept + 100);
    app.advance(LIFE + KNOWN + 1);
    forget(&app).await;
    assert_eq!(
        grants(&app).await.len(),
        few + 1,
        "the delegate has its own"
    );
    // The twin: at once there are only so many, until they are over.
    let path = format!("/api/v1/agents/{}/rotate", agent.id);
    let key = app.operator().post(&path, json!({})).await.expect(201);
    let key = key.text_at("/data/token").to_owned();
    for _ in 0..256 {
        ask(&app, &key, search()).await.expect(200);
    }
    let more = ask(&app, &key, search()).await;
    assert_eq!((more.status, more.code()), (422, "grant_limit_exceeded"));
    app.advance(LIFE + 1);
    ask(&app, &key, search()).await.expect(200);
}

/// The file without the lines that hold any of these texts, but for those of the ledger.
fn without(lines: &[String], texts: &[&str]) -> Vec<String> {
    let is_record = |line: &String| line.starts_with("{\"kind\":\"record\"");
    let named = |line: &String| texts.iter().any(|text| line.contains(text));
    let kept = lines.iter().filter(|line| is_record(line) || !named(line));
    kept.cloned().collect()
}

/// In which line a record of this kind tells of a grant.
fn told(lines: &[String], kind: &str, grant: &str) -> usize {
    let kind = format!("\\\"kind\\\":\\\"{kind}\\\"");
    let grant = format!("\\\"grant\\\":\\\"{grant}\\\"");
    let is_it = |line: &String| line.contains(&kind) && line.contains(&grant);
    1 + lines.iter().position(is_it).expect("it is on record")
}

#[tokio::test]
async fn a_tenant_moves_without_what_it_forgot_and_a_file_leaves_out_nothing_else() {
    const MISSING: &str = "which is not in the file";
    let world = world().await;
    let [for_token, revoked, promised] = &world.grants;
    let next = crate::start().await;
    let advance = |seconds| {
        world.app.advance(seconds);
        next.advance(seconds);
    };
    // While they live, and up to the last moment in which they are kept, all are due.
    for wait in [0, LIFE + KNOWN - 1] {
        advance(wait);
        let lines = body(&export(&world.app.operator()).await);
        for (grant, kind) in [
            (for_token, "delegation.created"),
            (promised, "delegation.created"),
            (revoked, "delegation.created"),
        ] {
            let edited = without(&lines, &[grant]);
            let line = told(&edited, kind, grant);
            refused(&next, &sealed(&edited), line, MISSING).await;
        }
    }
    advance(2);
    let lines = body(&export(&world.app.operator()).await);
    // A delegation that was made for no token is never to be left out, and an agent's own is none of a token.
    let edited = without(&lines, &[&world.kept[1]]);
    let line = told(&edited, "delegation.created", &world.kept[1]);
    refused(&next, &sealed(&edited), line, MISSING).await;
    let is_mark = |line: &&String| line.starts_with("{\"kind\":\"tokenGrant\"");
    let mark = lines.iter().position(|line| is_mark(&line)).unwrap();
    let mut edited = without(&lines, &["{\"kind\":\"tokenGrant\""]);
    let end = lines[mark].split_once(",\"endsAt\"").unwrap().1;
    let own = format!(
        "{{\"kind\":\"tokenGrant\",\"grant\":\"{}\",\"endsAt\"{end}",
        world.kept[0]
    );
    edited.insert(mark, own);
    let own = "an agent's own";
    refused(&next, &sealed(&edited), mark + 1, own).await;
    // The twins: left out now, by whoever edits the file, and forgotten by the server itself.
    let fresh = crate::setup().seeded(9).start().await;
    fresh.advance(LIFE + KNOWN + 1);
    let edited = without(&lines, &[for_token, revoked, promised]);
    import(&fresh.operator(), &sealed(&edited))
        .await
        .expect(200);
    forget(&world.app).await;
    let file = export(&world.app.operator()).await;
    assert!(!file.contains("{\"kind\":\"tokenGrant\""));
    import(&next.operator(), &file).await.expect(200);
    // What moved before it was forgotten is forgotten where it is.
    let later = crate::setup().seeded(10).start().await;
    later.advance(LIFE + KNOWN + 1);
    import(&later.operator(), &sealed(&lines)).await.expect(200);
    forget(&later).await;
    let key = world.app.operator_key();
    let gone = format!("/api/v1/delegations/{for_token}");
    assert_eq!(later.call(key).get(&gone).await.status, 404);
}
