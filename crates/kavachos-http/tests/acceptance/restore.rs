//! A backup in the place of a tenant, made safe by the log of what was revoked since, or without it.
//!
//! The backup is a tenant that moved to a database of its own; what is revoked where it came from afterwards is what a
//! backup does not know.

use std::convert::Infallible;
use std::time::Duration;

use futures_util::stream;
use kavachos::core::json::Object;
use kavachos::core::revocation::{
    Fault, Follower, Lease, LiveSet, Progress, Reading, Record, SnapshotAnswer,
};
use kavachos::core::time::Timestamp;
use kavachos::core::token::{Code, KeySet, Leaf};
use kavachos::engine::actor::Actor;
use kavachos::engine::{
    Checkpoint, Exported, Kills, Rehearsal, Restoration, Restored, RevocationWriter,
};
use kavachos_test::kavachos;
use kavachos_test::{Call, Reply, TestAgent, TestApp, TestSession, may, may_under};
use serde_json::{Value, json};

use crate::moving::{export, import};

/// The clock of these tests in seconds: the epoch that a restoration begins.
const EPOCH: u64 = 1_795_255_200;
const TOOLS: &str = "https://tools.example.com/mcp";
const OTHER_TOOLS: &str = "https://other.example.com/mcp";

/// A tenant that goes on, and its backup.
struct Tenant {
    app: TestApp,
    backup: TestApp,
    /// To be revoked, with a child that is not.
    revoked: TestAgent,
    child: TestAgent,
    /// To be given another key.
    rotated: TestAgent,
    /// Nothing happens to it.
    spared: TestAgent,
    delegation: String,
    sessions: [TestSession; 2],
    /// The keys of two tool servers; the second is to be revoked.
    servers: [String; 2],
    second_server: String,
    approval: String,
    webhook: String,
}

async fn server(app: &TestApp, audience: &str) -> Reply {
    let server = json!({
        "audience": audience, "name": "tools", "party": "first", "kind": "kavach",
        "scopes": [{ "name": "tools:call:*", "description": "call tools" }],
    });
    let made = app.operator().post("/api/v1/resources", server).await;
    made.expect(201)
}

/// A tenant in which somebody approved what was not used yet, and a backup of that moment.
async fn tenant() -> Tenant {
    let app = crate::start().await;
    let user = app.user().await;
    let all = || may(&["*"], "tools:call:*");
    let revoked = app.agent(&user, all()).await;
    let child = app.agent(&revoked.id, all()).await;
    let rotated = app.agent(&user, all()).await;
    let spared = app.agent(&user, all()).await;
    let given = app
        .delegate(&spared.id, &rotated.id, may(&["*"], "tools:call:search"))
        .await;
    let servers = [server(&app, TOOLS).await, server(&app, OTHER_TOOLS).await];
    let sessions = [app.session(&user).await, app.session(&user).await];
    let asks = may_under(&["run"], "mcp:deploy:*", json!({ "requireApproval": true }));
    let asking = app.agent(&user, asks).await;
    let asked = app.decide(&asking.id, "run", "mcp:deploy:site").await;
    let approval = asked.text_at("/data/approvalId").to_owned();
    let path = format!("/api/v1/approvals/{approval}");
    let shown = app.operator().get(&path).await.expect(200);
    let yes = json!({ "digest": shown.text_at("/data/digest") });
    let path = format!("{path}/approve");
    app.operator().post(&path, yes).await.expect(200);
    // Nothing listens there.
    let webhook = json!({ "url": "http://127.0.0.1:65534/", "kinds": ["none"] });
    let webhook = app.operator().post("/api/v1/webhooks", webhook).await;
    let backup = crate::setup().seeded(7).start().await;
    let file = export(&app.operator()).await;
    import(&backup.operator(), &file).await.expect(200);
    let [one, two] = &servers;
    Tenant {
        delegation: given.expect(201).id().to_owned(),
        webhook: webhook.expect(201).id().to_owned(),
        second_server: two.id().to_owned(),
        servers: [one, two].map(|server| server.text_at("/data/token").to_owned()),
        app,
        backup,
        revoked,
        child,
        rotated,
        spared,
        sessions,
        approval,
    }
}

impl Tenant {
    /// Revokes one thing of each kind, where the backup does not know of it.
    async fn revoke(&self) {
        let operator = self.app.operator();
        let rotate = format!("/api/v1/agents/{}/rotate", self.rotated.id);
        operator.post(&rotate, json!({})).await.expect(201);
        for path in [
            format!("/api/v1/agents/{}", self.revoked.id),
            format!("/api/v1/delegations/{}", self.delegation),
            format!("/api/v1/sessions/{}", self.sessions[0].id),
            format!("/api/v1/resources/{}", self.second_server),
        ] {
            operator.delete(&path).await.expect(200);
        }
    }

    async fn log(&self) -> Vec<String> {
        log_of(&self.app).await
    }

    async fn restore(&self, log: Option<Vec<String>>) -> Restored {
        restore(&self.backup, log, Rehearsal::No).await
    }
}

/// The log of a tenant that goes on, as `kavach revocations export` writes it.
pub(crate) async fn log_of(app: &TestApp) -> Vec<String> {
    let page = app.operator().get("/api/v1/revocations?since=0").await;
    let page = page.expect(200);
    let head = app.head();
    assert_eq!(page.at("/data/epoch"), head.epoch);
    let of = Exported {
        log: head.log,
        epoch: head.epoch,
    };
    let (mut writer, first) = RevocationWriter::begin(of);
    let mut lines = vec![first];
    let records: Vec<Record> = serde_json::from_value(page.at("/data/records").clone()).unwrap();
    lines.extend(records.iter().map(|record| writer.add(record).unwrap()));
    lines.push(writer.end());
    lines
}

pub(crate) async fn restore(
    app: &TestApp,
    log: Option<Vec<String>>,
    rehearsal: Rehearsal,
) -> Restored {
    let how = Restoration {
        known: None,
        after_epoch: 0,
        rehearsal,
    };
    restored_as(app, log, &how).await
}

/// Restores where it is known how far the tenant was.
pub(crate) async fn restore_knowing(
    app: &TestApp,
    log: Option<Vec<String>>,
    known: Option<Checkpoint>,
) -> Restored {
    let how = Restoration {
        known,
        after_epoch: 0,
        rehearsal: Rehearsal::No,
    };
    restored_as(app, log, &how).await
}

async fn restored_as(app: &TestApp, log: Option<Vec<String>>, how: &Restoration) -> Restored {
    let lines = |lines: Vec<String>| {
        let line = |line: String| Ok::<_, Infallible>(line.trim_end().to_owned());
        stream::iter(lines.into_iter().map(line))
    };
    let kills = log.map_or(Kills::Unknown, |log| Kills::Logged(lines(log)));
    let engine = app.kavach().engine();
    let actor = Actor::local(engine.id());
    engine.restore_tenant(&actor, kills, how).await.unwrap()
}

/// The operator of the tenant, whose key came along into the backup.
fn operator(tenant: &Tenant) -> Call {
    tenant.backup.call(tenant.app.operator_key())
}

async fn calls(app: &TestApp, agent: &TestAgent) -> bool {
    let question = json!({ "action": "call", "resource": "tools:call:search" });
    let answer = app
        .call(&agent.key)
        .post("/api/v1/authorize", question)
        .await;
    answer.status == 200 && answer.at("/data/allowed") == true
}

async fn is_known(app: &TestApp, session: &TestSession) -> bool {
    let reply = app.call(&session.token).get("/api/v1/agents").await;
    reply.status == 200
}

async fn follows(app: &TestApp, key: &str) -> bool {
    let reply = app.call(key).get("/api/v1/revocations").await;
    reply.status == 200
}

async fn status(tenant: &Tenant, path: &str) -> String {
    let shown = operator(tenant).get(path).await.expect(200);
    shown.text_at("/data/status").to_owned()
}

#[tokio::test]
async fn what_was_revoked_since_the_backup_is_dead_in_it_and_the_rest_lives() {
    let tenant = tenant().await;
    tenant.revoke().await;
    let backup = &tenant.backup;
    let approval = format!("/api/v1/approvals/{}", tenant.approval);
    // The twin: before it is restored, everything lives in the backup.
    for agent in [&tenant.revoked, &tenant.child, &tenant.rotated] {
        assert!(calls(backup, agent).await);
    }
    assert!(is_known(backup, &tenant.sessions[0]).await);
    assert!(follows(backup, &tenant.servers[1]).await);
    assert_eq!(status(&tenant, &approval).await, "approved");
    // Whether it was deleted meanwhile, no log tells.
    let webhook = format!("/api/v1/webhooks/{}", tenant.webhook);
    assert_eq!(status(&tenant, &webhook).await, "active");

    let restored = tenant.restore(Some(tenant.log().await)).await;
    assert_eq!((restored.from_epoch, restored.epoch), (1, EPOCH));
    assert!(!restored.unknown_kills);
    let ended = |what| restored.ended.get(what).copied().unwrap_or(0);
    for (what, count) in [
        ("agents", 1),
        ("agentKeys", 1),
        ("grants", 1),
        ("sessions", 1),
        ("toolServers", 1),
        ("users", 0),
        ("approvals", 1),
        ("webhooks", 1),
    ] {
        assert_eq!(ended(what), count, "{what}: {restored:?}");
    }
    for agent in [&tenant.revoked, &tenant.child, &tenant.rotated] {
        assert!(!calls(backup, agent).await);
    }
    assert!(calls(backup, &tenant.spared).await);
    assert!(!is_known(backup, &tenant.sessions[0]).await);
    assert!(is_known(backup, &tenant.sessions[1]).await);
    assert!(!follows(backup, &tenant.servers[1]).await);
    assert!(follows(backup, &tenant.servers[0]).await);
    assert_eq!(status(&tenant, &approval).await, "expired");
    assert_eq!(status(&tenant, &webhook).await, "paused");
    let delegation = format!("/api/v1/delegations/{}", tenant.delegation);
    assert_eq!(status(&tenant, &delegation).await, "revoked");
    // The log goes on from where the lost one was.
    assert_eq!(backup.head().revocation, tenant.app.head().revocation);
    let record = operator(&tenant)
        .get("/api/v1/audit?kind=tenant.restored")
        .await;
    assert_eq!(
        record.rows()[0]["details"]["kills"],
        restored.kills.unwrap()
    );
    let records = operator(&tenant)
        .get("/api/v1/audit?kind=agent.revoked")
        .await;
    assert_eq!(records.rows().len(), 1);
}

#[tokio::test]
async fn a_restored_tenant_agrees_with_itself_and_can_move() {
    for with_log in [true, false] {
        let tenant = tenant().await;
        tenant.revoke().await;
        let log = if with_log {
            Some(tenant.log().await)
        } else {
            None
        };
        tenant.restore(log).await;
        let key = tenant.backup.kavach().keys();
        let new = kavachos::NewKey::new("next", &["*"]);
        let key = key.create(new).await.unwrap().token.unwrap();
        let file = export(&tenant.backup.call(key.reveal())).await;
        let next = crate::setup().seeded(9).start().await;
        import(&next.operator(), &file).await.expect(200);
        assert_eq!(next.head().epoch, EPOCH);
    }
}

#[tokio::test]
async fn without_the_log_nobody_has_a_credential_and_a_rehearsal_changes_nothing() {
    let tenant = tenant().await;
    tenant.revoke().await;
    let backup = &tenant.backup;
    assert!(calls(backup, &tenant.spared).await);
    let before = backup.head();
    let rehearsed = restore(backup, None, Rehearsal::Only).await;
    assert_eq!(backup.head(), before);
    let restored = tenant.restore(None).await;
    assert_eq!(restored, rehearsed);
    assert_eq!((restored.kills, restored.admin_keys), (None, 0));
    assert!(restored.unknown_kills && restored.humans_held);
    assert_eq!(restored.ended["webhooks"], 1);
    for agent in [&tenant.revoked, &tenant.spared] {
        assert!(!calls(backup, agent).await);
    }
    for session in &tenant.sessions {
        assert!(!is_known(backup, session).await);
    }
    for server in &tenant.servers {
        assert!(!follows(backup, server).await);
    }
    let operator = operator(&tenant).get("/api/v1/users").await;
    assert_eq!(operator.status, 401);
}

/// A restore without a log ends credentials and writes no record of each: a log of the epoch that it began knows
/// nothing of them.
#[tokio::test]
async fn a_log_of_a_later_epoch_brings_no_credential_back_that_ended_with_the_earlier_one() {
    for (epoch, lives) in [(1, true), (2, false)] {
        let tenant = tenant().await;
        let (writer, first) = RevocationWriter::begin(Exported {
            log: tenant.backup.head().log,
            epoch,
        });
        let restored = tenant.restore(Some(vec![first, writer.end()])).await;
        assert!(restored.epoch > epoch);
        assert_eq!(restored.unknown_kills, !lives);
        let backup = &tenant.backup;
        assert_eq!(calls(backup, &tenant.spared).await, lives);
        assert_eq!(is_known(backup, &tenant.sessions[1]).await, lives);
        assert_eq!(follows(backup, &tenant.servers[0]).await, lives);
    }
}

/// Where nothing remembers the first restoration, its epoch is not given to the second one: tokens of the first would be
/// good in it, and what they come from is in no database.
#[tokio::test]
async fn the_same_backup_that_is_restored_later_begins_another_epoch() {
    let tenant = tenant().await;
    let file = export(&tenant.app.operator()).await;
    let again = async |seconds| {
        let app = crate::setup().seeded(9 + seconds).start().await;
        import(&app.operator(), &file).await.expect(200);
        app.advance(seconds);
        restore(&app, None, Rehearsal::No).await.epoch
    };
    assert_eq!(tenant.restore(None).await.epoch, EPOCH);
    assert_eq!(again(1).await, EPOCH + 1);
    // The twin: nothing but the clock tells the two apart.
    assert_eq!(again(0).await, EPOCH);
}

#[tokio::test]
async fn every_key_that_signed_for_the_old_epoch_is_gone_but_those_of_checkpoints() {
    let tenant = tenant().await;
    for (file, stay) in [
        ("jwks", false),
        ("kavach-feed-keys", false),
        ("kavach-assertion-keys", false),
        ("kavach-checkpoint-keys", true),
    ] {
        let names = async || {
            let path = format!("/.well-known/{file}.json");
            let set = tenant.backup.anonymous().get(&path).await.expect(200);
            let keys = set.at("/keys").as_array().unwrap().clone();
            keys.iter()
                .map(|key| key["kid"].as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        let before = names().await;
        restore(&tenant.backup, None, Rehearsal::No).await;
        let after = names().await;
        assert!(!before.is_empty() && !after.is_empty(), "{file}");
        assert_eq!(before.iter().any(|kid| after.contains(kid)), stay, "{file}");
    }
}

/// Who followed the log of the tenant and accepts its tokens.
struct Tool {
    follower: Follower,
    asked: u64,
}

impl Tool {
    fn new() -> Self {
        let issuer = "http://localhost:3000".parse().unwrap();
        let name = TOOLS.parse().unwrap();
        let follower = Follower::new(issuer, name, "one".parse().unwrap(), Lease::LONGEST);
        Self { follower, asked: 0 }
    }

    fn now(&self) -> Reading {
        let boot = Duration::from_millis(self.asked);
        Reading {
            boot,
            wall: Timestamp::from_micros(1_795_255_200_000_000).plus(boot),
        }
    }

    fn nonce(&mut self) -> kavachos::core::revocation::Nonce {
        self.asked += 1;
        format!("n{}", self.asked).parse().unwrap()
    }

    async fn poll(&mut self, app: &TestApp, key: &str, keys: &KeySet) -> Result<Progress, Fault> {
        let nonce = self.nonce();
        let question = self.follower.begin(nonce, self.now());
        let question = serde_json::to_value(question).unwrap();
        let path = "/api/v1/revocations/head";
        let reply = app.call(key).post(path, question).await.expect(200);
        let answer = reply.at("/data").to_string();
        let Object(answer) = serde_json::from_str(&answer).unwrap();
        let now = self.now();
        self.follower.answer(&answer, keys, &now)
    }

    async fn snapshot(&mut self, app: &TestApp, key: &str, keys: &KeySet) {
        let nonce = self.nonce();
        let asked = self.follower.begin_snapshot(nonce, self.now());
        let path = format!(
            "/api/v1/revocations/snapshot?nonce={}&instance=one",
            asked.nonce
        );
        let reply = app.call(key).get(&path).await.expect(200);
        let answer = reply.at("/data").to_string();
        let Object(answer): Object<SnapshotAnswer> = serde_json::from_str(&answer).unwrap();
        let now = self.now();
        let fresh = self.follower.snapshot(&answer, keys, &now);
        assert_eq!(fresh, Ok(Progress::Fresh));
    }

    fn known(&self) -> Option<&LiveSet> {
        self.follower.revocations(&self.now())
    }

    /// What it says to a token that was read with these keys.
    fn judges(&self, leaf: &Leaf) -> Result<(), Code> {
        let known = self.known().ok_or(Code::RevocationStale)?;
        known.check(&leaf.authority).map_err(|failure| failure.code)
    }
}

async fn keys(app: &TestApp, file: &str) -> KeySet {
    let path = format!("/.well-known/{file}.json");
    let set = app.anonymous().get(&path).await.expect(200);
    KeySet::from_jwks(set.text.as_bytes()).unwrap()
}

async fn token(app: &TestApp, agent: &TestAgent) -> String {
    let wanted: Value = json!({
        "audience": TOOLS, "agent": agent.id, "reason": "find sources", "scopes": ["tools:call:search"],
    });
    let made = app.call(&agent.key).post("/api/v1/delegate", wanted).await;
    made.expect(200).text_at("/data/token").to_owned()
}

fn read(app: &TestApp, token: &str, keys: &KeySet) -> Result<Leaf, Code> {
    let issuer = &app.kavach().engine().settings().issuer;
    Leaf::open(token, issuer, keys).map_err(|failure| failure.code)
}

#[tokio::test]
async fn who_followed_the_old_epoch_closes_until_it_has_the_new_one_and_takes_no_old_token_again() {
    let tenant = tenant().await;
    let (app, backup) = (&tenant.app, &tenant.backup);
    let key = &tenant.servers[0];
    let (old_feed, old_keys) = (keys(app, "kavach-feed-keys").await, keys(app, "jwks").await);
    let mut tool = Tool::new();
    tool.snapshot(app, key, &old_feed).await;
    let text = token(app, &tenant.spared).await;
    let leaf = read(app, &text, &old_keys).unwrap();
    assert_eq!(tool.judges(&leaf), Ok(()));
    tenant.revoke().await;
    assert_eq!(tool.poll(app, key, &old_feed).await, Ok(Progress::Fresh));

    tenant.restore(Some(tenant.log().await)).await;
    // Heads by a key that was never published are nobody's, and renew nothing.
    let stranger = tool.poll(backup, key, &old_feed).await;
    assert!(matches!(stranger, Err(Fault::BadHead(_))), "{stranger:?}");
    let (new_feed, new_keys) = (
        keys(backup, "kavach-feed-keys").await,
        keys(backup, "jwks").await,
    );
    let later = tool.poll(backup, key, &new_feed).await;
    assert_eq!(later, Ok(Progress::SnapshotNeeded));
    assert_eq!(tool.judges(&leaf), Err(Code::RevocationStale));
    tool.snapshot(backup, key, &new_feed).await;
    assert_eq!(tool.judges(&leaf), Err(Code::Revoked));
    // By key too: the old ones are not published any more.
    assert_eq!(read(backup, &text, &new_keys).err(), Some(Code::UnknownKey));
    // And at the server itself, which is asked by the tool server.
    let shown = json!({ "token": text, "action": "call", "resource": "tools:call:search" });
    let asked = backup.call(key).post("/api/v1/authorize", shown).await;
    assert_ne!(asked.at("/data/allowed"), &json!(true), "{asked}");
    // The twin: a token of the new epoch is taken by all of them.
    let text = token(backup, &tenant.spared).await;
    let leaf = read(backup, &text, &new_keys).unwrap();
    assert_eq!(tool.judges(&leaf), Ok(()));
    let shown = json!({ "token": text, "action": "call", "resource": "tools:call:search" });
    let asked = backup.call(key).post("/api/v1/authorize", shown).await;
    assert_eq!(asked.at("/data/allowed"), &json!(true), "{asked}");
}

/// The twin: a backup that is served as it is. Its keys are others here, as they are after a move; the epoch is the old one.
#[tokio::test]
async fn who_followed_the_tenant_is_closed_for_good_by_a_backup_that_was_not_restored() {
    let tenant = tenant().await;
    let (app, backup) = (&tenant.app, &tenant.backup);
    let key = &tenant.servers[0];
    let mut tool = Tool::new();
    let feed = keys(app, "kavach-feed-keys").await;
    tool.snapshot(app, key, &feed).await;
    tenant.revoke().await;
    assert_eq!(tool.poll(app, key, &feed).await, Ok(Progress::Fresh));
    let feed = keys(backup, "kavach-feed-keys").await;
    let shorter = tool.poll(backup, key, &feed).await;
    assert_eq!(shorter, Err(Fault::LogShortened));
    assert!(tool.known().is_none());
}
