//! The feed of revocations, with the follower of `core` as its client: a kill reaches it in milliseconds, the answer to
//! a kill says who knows of it, and nothing of it can be forged.

use std::time::Duration;

use kavachos::FeedAccess;
use kavachos::core::json::Object;
use kavachos::core::revocation::{
    Fault, FeedHead, Follower, FollowerName, Lease, LiveSet, LogHead, Mark, PollAnswer,
    PollRequest, Progress, Pushed, Reading, Record, SnapshotAnswer, SnapshotRequest,
};
use kavachos::core::time::Timestamp;
use kavachos::core::token::{Issuer, KeySet};
use kavachos::engine::actor::Actor;
use kavachos::engine::{Error, FeedReader};
use kavachos_test::kavachos;
use kavachos_test::{Call, Reply, TestApp, all_rows, copy_agent, kill_strangers, may};
use serde_json::{Value, json};

const FEED: &str = "/api/v1/revocations";
const TOOLS: &str = "https://tools.example.com/mcp";

/// A tool server with its follower of the log.
struct Verifier {
    call: Call,
    keys: KeySet,
    follower: Follower,
    nonces: u64,
    /// Its clock, in milliseconds.
    now: u64,
}

fn issuer() -> Issuer {
    "http://localhost:3000".parse().unwrap()
}

async fn feed_keys(app: &TestApp) -> KeySet {
    let path = "/.well-known/kavach-feed-keys.json";
    let set = app.anonymous().get(path).await.expect(200);
    KeySet::from_jwks(set.text.as_bytes()).unwrap()
}

/// The key of a new tool server with this lease.
async fn register(app: &TestApp, audience: &str, lease: u64) -> String {
    let server = json!({
        "audience": audience, "name": "tools", "leaseSeconds": lease,
        "scopes": [{ "name": "mcp:github:*", "description": "read repositories" }],
    });
    let reply = app.operator().post("/api/v1/resources", server).await;
    reply.expect(201).text_at("/data/token").to_owned()
}

fn read<T: serde::de::DeserializeOwned>(reply: &Reply) -> T {
    let data = reply.at("/data").to_string();
    let Object(read) = serde_json::from_str::<Object<T>>(&data).unwrap();
    read
}

impl Verifier {
    /// Registers a tool server, and follows for it.
    async fn new(app: &TestApp, audience: &str, lease: u64) -> Self {
        let key = register(app, audience, lease).await;
        let mut verifier = Self::of(app, app.call(&key), audience).await;
        verifier.start().await;
        verifier
    }

    /// One more process of a follower of this name, which knows nothing yet.
    async fn of(app: &TestApp, call: Call, name: &str) -> Self {
        let name: FollowerName = name.parse().unwrap();
        let instance = format!("i{}", app.head().size).parse().unwrap();
        Self {
            call,
            keys: feed_keys(app).await,
            follower: Follower::new(issuer(), name, instance, Lease::LONGEST),
            nonces: 0,
            now: 0,
        }
    }

    fn reading(&self) -> Reading {
        let boot = Duration::from_millis(self.now);
        Reading {
            boot,
            wall: Timestamp::from_micros(1_795_255_200_000_000).plus(boot),
        }
    }

    fn nonce(&mut self) -> kavachos::core::revocation::Nonce {
        self.nonces += 1;
        format!("n{}", self.nonces).parse().unwrap()
    }

    /// Takes a snapshot, and acknowledges it.
    async fn start(&mut self) {
        let answer = self.ask_for_all().await;
        let fresh = self.follower.snapshot(&answer, &self.keys, &self.reading());
        assert_eq!(fresh, Ok(Progress::Fresh));
        assert_eq!(self.poll().await, Ok(Progress::Fresh));
    }

    async fn ask_for_all(&mut self) -> SnapshotAnswer {
        let nonce = self.nonce();
        let asked = self.follower.begin_snapshot(nonce, self.reading());
        let query = format!("nonce={}&instance={}", asked.nonce, asked.instance);
        let reply = self.call.get(&format!("{FEED}/snapshot?{query}")).await;
        read(&reply.expect(200))
    }

    fn question(&mut self) -> PollRequest {
        let nonce = self.nonce();
        self.follower.begin(nonce, self.reading())
    }

    async fn ask(&mut self) -> PollAnswer {
        let question = serde_json::to_value(self.question()).unwrap();
        let reply = self.call.post(&format!("{FEED}/head"), question).await;
        read(&reply.expect(200))
    }

    async fn poll(&mut self) -> Result<Progress, Fault> {
        let answer = self.ask().await;
        self.take(&answer)
    }

    fn take(&mut self, answer: &PollAnswer) -> Result<Progress, Fault> {
        let now = self.reading();
        self.follower.answer(answer, &self.keys, &now)
    }

    fn is_fresh(&self) -> bool {
        self.follower.is_fresh(&self.reading())
    }

    /// What it has, if it may rely on it.
    fn known(&self) -> &LiveSet {
        self.follower.revocations(&self.reading()).unwrap()
    }

    /// Whether it knows of the newest kill of the server.
    fn is_up_to_date(&self, app: &TestApp) -> bool {
        self.follower.head() == app.head().revocation
    }
}

/// Kills something: one agent, of a human of its own.
async fn kill(app: &TestApp) -> Reply {
    let agent = app.agent(&app.user().await, may(&["read"], "mcp:*")).await;
    let path = format!("/api/v1/agents/{}", agent.id);
    app.operator().delete(&path).await.expect(200)
}

/// The state, who knows and who follows, and by when it counts.
#[track_caller]
fn reached(reply: &Reply, expected: (&str, u64, u64, &str)) {
    let number = |at| reply.at(at).as_u64().unwrap();
    let told = (
        reply.text_at("/data/state"),
        number("/data/acknowledged"),
        number("/data/followers"),
        reply.text_at("/data/effectiveBy"),
    );
    assert_eq!(told, expected, "{reply}");
}

async fn pushed(events: &mut kavachos_test::Events) -> Record {
    let event = events.next().await.expect("the stream goes on");
    let record: Record = serde_json::from_str(&event.data.to_string()).unwrap();
    assert_eq!(event.id, record.rseq.to_string());
    record
}

#[tokio::test]
async fn a_kill_is_pushed_and_one_poll_later_everyone_knows_of_it() {
    let app = crate::start().await;
    let mut verifier = Verifier::new(&app, TOOLS, 10).await;
    let mut events = verifier.call.events(&format!("{FEED}/stream")).await;
    let killed = kill(&app).await;
    reached(&killed, ("partial", 0, 1, "2026-11-21T10:00:10Z"));
    let record = pushed(&mut events).await;
    assert_eq!(verifier.follower.pushed(&record), Pushed::Applied);
    assert!(verifier.known().is_dead(&Mark {
        generation: record.kill.generation - 1,
        ..record.kill
    }));
    assert_eq!(verifier.poll().await, Ok(Progress::Fresh));
    assert!(verifier.is_up_to_date(&app));
    // Who kills it again is told that it has reached everyone.
    let id = app.audit("kind=agent.revoked").await[0]["agent"].clone();
    let path = format!("/api/v1/agents/{}", id.as_str().unwrap());
    let again = app.operator().delete(&path).await.expect(200);
    reached(&again, ("closed", 1, 1, "2026-11-21T10:00:00Z"));
}

/// Long enough that nobody who asks every few seconds would pass.
#[tokio::test]
async fn what_is_pushed_does_not_wait_for_anyone_to_look() {
    let app = crate::start().await;
    let mut events = app.operator().events(&format!("{FEED}/stream")).await;
    for number in 1..=20 {
        kill(&app).await;
        let within = tokio::time::timeout(Duration::from_secs(5), pushed(&mut events));
        assert_eq!(within.await.unwrap().rseq, number);
    }
}

#[tokio::test]
async fn a_kill_is_partial_while_one_of_several_lags_and_closed_once_it_is_forgotten() {
    let app = crate::start().await;
    reached(&kill(&app).await, ("closed", 0, 0, "2026-11-21T10:00:00Z"));
    let mut quick = Verifier::new(&app, TOOLS, 10).await;
    let _slow = Verifier::new(&app, "https://slow.example.com", 30).await;
    let user = app.user().await;
    let ban = format!("/api/v1/users/{user}/ban");
    let banned = app.operator().post(&ban, json!({})).await.expect(200);
    reached(&banned, ("partial", 0, 2, "2026-11-21T10:00:30Z"));
    quick.poll().await.unwrap();
    quick.poll().await.unwrap();
    // Nothing new: what is asked about is known to one of two.
    let path = format!("/api/v1/users/{user}");
    app.operator().delete(&path).await.expect(200);
    quick.poll().await.unwrap();
    quick.poll().await.unwrap();
    let again = app.operator().delete(&path).await.expect(200);
    reached(&again, ("partial", 1, 2, "2026-11-21T10:00:30Z"));
    // Two leases later nobody waits for the slow one any more, and the quick one asks on.
    app.advance(59);
    quick.poll().await.unwrap();
    let again = app.operator().delete(&path).await.expect(200);
    reached(&again, ("partial", 1, 2, "2026-11-21T10:01:29Z"));
    app.advance(1);
    let again = app.operator().delete(&path).await.expect(200);
    reached(&again, ("closed", 1, 1, "2026-11-21T10:01:00Z"));
}

/// Every answer that stops something, with its twin, which is answered when nobody follows.
#[tokio::test]
async fn every_answer_that_stops_something_says_how_far_it_has_reached() {
    for follows in [true, false] {
        let app = crate::start().await;
        let user = app.user().await;
        let agent = app.agent(&user, may(&["read"], "mcp:*")).await;
        let other = app.agent(&user, may(&["read"], "mcp:x")).await;
        let given = app.delegate(&agent.id, &other.id, may(&["read"], "mcp:y"));
        let given = given.await.expect(201).id().to_owned();
        let session = app.session(&user).await.id;
        let new = json!({ "name": "k", "scopes": ["audit:read"] });
        let key = app.operator().post("/api/v1/keys", new).await.expect(201);
        let _verifier = match follows {
            true => Some(Verifier::new(&app, TOOLS, 20).await),
            false => None,
        };
        let server = app
            .operator()
            .get("/api/v1/resources")
            .await
            .rows()
            .first()
            .cloned();
        let mut paths = vec![
            ("DELETE", format!("/api/v1/delegations/{given}")),
            ("DELETE", format!("/api/v1/sessions/{session}")),
            ("DELETE", format!("/api/v1/keys/{}", key.id())),
            ("POST", format!("/api/v1/agents/{}/suspend", agent.id)),
            ("DELETE", format!("/api/v1/agents/{}", agent.id)),
            ("POST", format!("/api/v1/users/{user}/ban")),
            ("DELETE", format!("/api/v1/users/{user}")),
        ];
        if let Some(server) = server {
            let id = server["id"].as_str().unwrap();
            paths.push(("DELETE", format!("/api/v1/resources/{id}")));
        }
        for (method, path) in paths {
            let method = method.parse().unwrap();
            let reply = app.operator().send(method, &path, None).await;
            let expected = match follows {
                true => ("partial", 0, 1, "2026-11-21T10:00:20Z"),
                false => ("closed", 0, 0, "2026-11-21T10:00:00Z"),
            };
            reached(&reply.expect(200), expected);
        }
    }
}

#[tokio::test]
async fn a_repeated_call_is_told_the_same_and_how_far_it_has_reached_by_now() {
    let app = crate::start().await;
    let mut verifier = Verifier::new(&app, TOOLS, 10).await;
    let user = app.user().await;
    let ban = async || {
        let operator = app.operator().header("idempotency-key", "once");
        let path = format!("/api/v1/users/{user}/ban");
        operator.post(&path, json!({})).await.expect(200)
    };
    reached(&ban().await, ("partial", 0, 1, "2026-11-21T10:00:10Z"));
    let again = ban().await;
    assert_eq!(again.at("/data/replayed"), true);
    reached(&again, ("partial", 0, 1, "2026-11-21T10:00:10Z"));
    verifier.poll().await.unwrap();
    verifier.poll().await.unwrap();
    reached(&ban().await, ("closed", 1, 1, "2026-11-21T10:00:10Z"));
}

#[tokio::test]
async fn what_an_earlier_process_may_have_given_leases_for_is_partial_until_the_longest_is_over() {
    let mut app = crate::setup().lasting().start().await;
    // The twin: nobody was ever given a lease, so none can be out.
    app.restart().await;
    reached(&kill(&app).await, ("closed", 0, 0, "2026-11-21T10:00:00Z"));
    Verifier::new(&app, TOOLS, 2).await;
    app.restart().await;
    app.advance(10);
    reached(&kill(&app).await, ("partial", 0, 0, "2026-11-21T10:01:00Z"));
    app.advance(49);
    reached(&kill(&app).await, ("partial", 0, 0, "2026-11-21T10:01:00Z"));
    app.advance(1);
    reached(&kill(&app).await, ("closed", 0, 0, "2026-11-21T10:01:00Z"));
}

/// What of the feed's answers could be changed on the way, and what comes of it.
#[tokio::test]
async fn a_dropped_or_forged_record_ends_the_lease() {
    for (change, fresh) in [("nothing", true), ("dropped", false), ("forged", false)] {
        let app = crate::start().await;
        let mut verifier = Verifier::new(&app, TOOLS, 10).await;
        let mut events = verifier.call.events(&format!("{FEED}/stream")).await;
        kill(&app).await;
        kill(&app).await;
        let mut records = vec![pushed(&mut events).await, pushed(&mut events).await];
        match change {
            "dropped" => drop(records.remove(0)),
            "forged" => records[1].kill.handle.bytes[0] ^= 1,
            _ => {}
        }
        for record in &records {
            verifier.follower.pushed(record);
        }
        let mut answer = verifier.ask().await;
        if change == "dropped" {
            // Whoever drops it from the stream drops it from the answer.
            answer.records.truncate(0);
        }
        let progress = verifier.take(&answer);
        assert_eq!(
            progress == Ok(Progress::Fresh),
            fresh,
            "{change}: {progress:?}"
        );
        // What cannot be confirmed is over at the end of the last lease, if it has not ended at once.
        verifier.now += 10_000;
        let answered = verifier.ask().await;
        let mut late = answered.clone();
        if change == "dropped" {
            late.records.truncate(0);
        }
        let progress = verifier.take(&late);
        assert_eq!(
            progress == Ok(Progress::Fresh),
            fresh,
            "{change}: {progress:?}"
        );
        assert_eq!(verifier.is_fresh(), fresh, "{change}");
        // The true log makes it whole again.
        verifier.start().await;
        assert!(verifier.is_up_to_date(&app), "{change}");
    }
}

#[tokio::test]
async fn a_snapshot_is_what_the_records_make() {
    let app = crate::start().await;
    let user = app.user().await;
    for how in ["ban", "unban", "ban", "unban"] {
        let path = format!("/api/v1/users/{user}/{how}");
        app.operator().post(&path, json!({})).await.expect(200);
    }
    for _ in 0..3 {
        kill(&app).await;
    }
    let mut verifier = Verifier::new(&app, TOOLS, 10).await;
    let snapshot = verifier.ask_for_all().await;
    let page = app.operator().get(FEED).await.expect(200);
    assert_eq!(page.at("/data/more"), false);
    let mut applied = LiveSet::new(app.head().epoch);
    let records = page.at("/data/records").as_array().unwrap();
    for record in records {
        let record: Record = serde_json::from_str(&record.to_string()).unwrap();
        applied.apply(record.kill);
        assert_eq!(record.rseq, applied.head().rseq);
    }
    assert_eq!(applied.head(), app.head().revocation);
    // Each once, with its highest generation: the human was killed twice.
    assert!(snapshot.records.is_sorted() && snapshot.records.len() == records.len() - 1);
    let taken = LiveSet::from_snapshot(1, applied.head(), snapshot.records.iter().copied());
    assert_eq!(taken.digest(), applied.digest());
    assert_eq!(verifier.known().digest(), applied.digest());
    let head = FeedHead::open(&snapshot.head, &issuer(), &verifier.keys).unwrap();
    assert_eq!(head.set, Some(applied.digest()));
}

#[tokio::test]
async fn a_snapshot_is_written_whole_in_pieces() {
    let mut app = crate::setup().in_a_file().start().await;
    let user = app.user().await;
    // Written past the API: five thousand kills by it take minutes.
    app.restart_after(|database| kill_strangers(database, 5_001))
        .await;
    let path = format!("/api/v1/users/{user}");
    app.operator().delete(&path).await.expect(200);
    let verifier = Verifier::new(&app, TOOLS, 10).await;
    assert_eq!(verifier.known().len(), 5_002);
    assert!(verifier.is_up_to_date(&app));
}

#[tokio::test]
async fn who_is_far_behind_is_given_the_records_in_pages() {
    let mut app = crate::setup().in_a_file().start().await;
    let key = register(&app, TOOLS, 10).await;
    let mut verifier = Verifier::of(&app, app.call(&key), TOOLS).await;
    verifier.start().await;
    app.restart_after(|database| kill_strangers(database, 2_500))
        .await;
    verifier.call = app.call(&key);
    assert_eq!(verifier.poll().await, Ok(Progress::Behind));
    assert_eq!(verifier.poll().await, Ok(Progress::Behind));
    assert_eq!(verifier.poll().await, Ok(Progress::Fresh));
    assert!(verifier.is_up_to_date(&app));
    let page = app
        .operator()
        .get(&format!("{FEED}?since=1"))
        .await
        .expect(200);
    let records = page.at("/data/records").as_array().unwrap().len();
    assert_eq!((page.at("/data/more"), records), (&json!(true), 1_000));
}

#[tokio::test]
async fn a_head_is_made_out_to_who_asked_for_as_long_as_it_is_registered() {
    let app = crate::start().await;
    let keys = feed_keys(&app).await;
    let tools = register(&app, TOOLS, 2).await;
    let reader = json!({ "name": "reader", "scopes": ["audit:read"] });
    let reader = app
        .operator()
        .post("/api/v1/keys", reader)
        .await
        .expect(201);
    for (key, name, lease) in [
        (tools.as_str(), TOOLS, 2),
        (reader.text_at("/data/token"), reader.id(), 10),
    ] {
        let reply = app
            .call(key)
            .post(&format!("{FEED}/head"), nothing_yet())
            .await;
        let answer: PollAnswer = read(&reply.expect(200));
        assert!(answer.snapshot_needed && answer.records.is_empty());
        let head = FeedHead::open(&answer.head, &issuer(), &keys).unwrap();
        let told = (head.follower.as_str(), head.lease_max, head.nonce.as_str());
        assert_eq!(told, (name, Lease::from_seconds(lease).unwrap(), "n"));
        assert_eq!((head.epoch, head.head), (1, app.head().revocation));
        assert_eq!(
            (head.time.to_string().as_str(), head.set),
            ("2026-11-21T10:00:00Z", None)
        );
    }
}

/// The twin of each: the same registration, and not critical.
#[tokio::test]
async fn a_critical_tool_server_goes_on_for_two_seconds_at_the_most() {
    let app = crate::start().await;
    let keys = feed_keys(&app).await;
    let key = register(&app, TOOLS, 60).await;
    let servers = app.operator().get("/api/v1/resources").await;
    let path = format!("/api/v1/resources/{}", servers.text_at("/data/0/id"));
    for (critical, lease) in [(false, 60), (true, 2), (false, 60)] {
        let change = json!({ "critical": critical });
        app.operator().patch(&path, change).await.expect(200);
        let head = format!("{FEED}/head");
        let reply = app.call(&key).post(&head, nothing_yet()).await;
        let answer: PollAnswer = read(&reply.expect(200));
        let head = FeedHead::open(&answer.head, &issuer(), &keys).unwrap();
        assert_eq!(head.lease_max, Lease::from_seconds(lease).unwrap());
    }
}

/// Whoever reads the ledger later sees which kills a decision could know of.
#[tokio::test]
async fn a_decision_is_on_record_with_the_revocations_that_the_server_knew() {
    let app = crate::start().await;
    let agent = app.agent(&app.user().await, may(&["read"], "mcp:*")).await;
    let known = async || {
        let decided = app.decide(&agent.id, "read", "mcp:a").await;
        let path = format!("/api/v1/audit/{}", decided.text_at("/data/auditId"));
        let record = app.operator().get(&path).await.expect(200);
        let head = record.at("/data/revocationHead").clone();
        let now = app.head();
        let point = json!({ "epoch": now.epoch, "rseq": now.revocation.rseq });
        assert_eq!(head, point);
        head
    };
    let before = known().await;
    // The twin: without a kill it is the same.
    assert_eq!(known().await, before);
    kill(&app).await;
    assert_ne!(known().await, before);
}

fn nothing_yet() -> Value {
    json!({ "nonce": "n", "instance": "i", "epoch": 0, "rseq": 0, "rhash": "A".repeat(43) })
}

/// What was applied counts only if it is the log of this server.
#[tokio::test]
async fn another_epoch_number_or_hash_acknowledges_nothing() {
    let app = crate::start().await;
    let key = register(&app, TOOLS, 10).await;
    kill(&app).await;
    let LogHead { rseq, rhash } = app.head().revocation;
    let right = serde_json::to_value(PollRequest {
        nonce: "n".parse().unwrap(),
        instance: "i".parse().unwrap(),
        epoch: 1,
        rseq,
        rhash,
    });
    let right = right.unwrap();
    let mut wrong = Vec::new();
    for (member, value) in [
        ("epoch", json!(2)),
        ("rseq", json!(0)),
        ("rseq", json!(rseq + 1)),
        ("rseq", json!((1_u64 << 53) - 1)),
        ("rhash", json!("A".repeat(43))),
    ] {
        let mut question = right.clone();
        question[member] = value;
        wrong.push((question, false));
    }
    for (question, acknowledges) in wrong.into_iter().chain([(right, true)]) {
        let path = format!("{FEED}/head");
        let reply = app.call(&key).post(&path, question.clone()).await;
        let answer: PollAnswer = read(&reply.expect(200));
        assert_eq!(answer.snapshot_needed, !acknowledges, "{question}");
        let id = app.audit("kind=agent.revoked").await[0]["agent"].clone();
        let path = format!("/api/v1/agents/{}", id.as_str().unwrap());
        let told = app.operator().delete(&path).await.expect(200);
        let count = told.at("/data/acknowledged").as_u64();
        assert_eq!(count, Some(u64::from(acknowledges)), "{question}");
    }
}

#[tokio::test]
async fn records_are_waited_for_and_come_with_the_kill() {
    let app = crate::start().await;
    kill(&app).await;
    let operator = app.operator();
    let at_once = operator
        .get(&format!("{FEED}?since=0&wait=30"))
        .await
        .expect(200);
    assert_eq!(at_once.at("/data/records/0/rseq"), 1);
    let agent = app.agent(&app.user().await, may(&["read"], "mcp:*")).await;
    let waiting =
        tokio::spawn(async move { operator.get(&format!("{FEED}?since=1&wait=30")).await });
    let path = format!("/api/v1/agents/{}", agent.id);
    app.operator().delete(&path).await.expect(200);
    let waited = waiting.await.unwrap().expect(200);
    assert_eq!(waited.at("/data/records/0/rseq"), 2);
    let none = app.operator().get(&format!("{FEED}?since=2&wait=1")).await;
    assert_eq!(none.expect(200).at("/data/records"), &json!([]));
}

#[tokio::test]
async fn what_is_no_place_in_the_log_is_refused() {
    let app = crate::start().await;
    kill(&app).await;
    let operator = app.operator();
    for (query, field) in [
        ("?since=x", "since"),
        ("?since=-1", "since"),
        ("?since=1&since=1", "since"),
        ("?wait=31", "wait"),
        ("?wait=x", "wait"),
        ("/stream?since=x", "since"),
        ("/stream?wait=1", "wait"),
        ("/snapshot?instance=i", "nonce"),
        ("/snapshot?nonce=n", "instance"),
        ("/snapshot?nonce=n&instance=a.b", "instance"),
        ("/snapshot?nonce=%20&instance=i", "nonce"),
    ] {
        let reply = operator.get(&format!("{FEED}{query}")).await;
        let refused = reply.refused(400, "malformed_request");
        assert_eq!(refused.field(), field, "{query}");
    }
    for path in ["?since=2", "/stream?since=2", "?since=9223372036854775807"] {
        let reply = operator.get(&format!("{FEED}{path}")).await;
        assert!(
            reply
                .refused(409, "conflict")
                .message()
                .contains("snapshot")
        );
    }
    let header = app.operator().header("last-event-id", "2");
    header
        .get(&format!("{FEED}/stream"))
        .await
        .refused(409, "conflict");
    let header = app.operator().header("last-event-id", "x");
    let reply = header.get(&format!("{FEED}/stream")).await;
    assert_eq!(
        reply.refused(400, "malformed_request").field(),
        "Last-Event-ID"
    );
    for (member, value) in [
        ("nonce", json!("")),
        ("instance", json!("a.b")),
        ("rhash", json!("AAAA")),
        ("rseq", json!(-1)),
        ("epoch", json!("1")),
    ] {
        let mut question = nothing_yet();
        question[member] = value;
        let reply = operator.post(&format!("{FEED}/head"), question).await;
        assert_eq!(reply.refused(400, "malformed_request").field(), member);
    }
}

#[tokio::test]
async fn a_stream_goes_on_where_it_broke_off() {
    let app = crate::start().await;
    for _ in 0..3 {
        kill(&app).await;
    }
    let mut all = app
        .operator()
        .events(&format!("{FEED}/stream?since=1"))
        .await;
    assert_eq!(pushed(&mut all).await.rseq, 2);
    assert_eq!(pushed(&mut all).await.rseq, 3);
    let again = app.operator().header("last-event-id", "2");
    let mut again = again.events(&format!("{FEED}/stream?since=0")).await;
    assert_eq!(pushed(&mut again).await.rseq, 3);
    kill(&app).await;
    for events in [&mut all, &mut again] {
        assert_eq!(pushed(events).await.rseq, 4);
    }
}

#[tokio::test]
async fn the_end_of_the_server_or_of_the_key_ends_a_stream() {
    let app = crate::start().await;
    let key = register(&app, TOOLS, 10).await;
    let mut revoked = app.call(&key).events(&format!("{FEED}/stream")).await;
    let mut other = app.operator().events(&format!("{FEED}/stream")).await;
    let server = app.operator().get("/api/v1/resources").await.rows()[0]["id"].clone();
    let path = format!("/api/v1/resources/{}", server.as_str().unwrap());
    app.operator().delete(&path).await.expect(200);
    // It is not even told of its own end, and the other is.
    assert_eq!(revoked.next().await, None);
    assert_eq!(pushed(&mut other).await.rseq, 1);
    app.kavach().engine().wind_down();
    assert_eq!(other.next().await, None);
}

/// Whoever is no follower learns nothing, and those who are, only with a key.
#[tokio::test]
async fn only_tool_servers_and_readers_of_the_ledger_follow() {
    let app = crate::start().await;
    let key = register(&app, TOOLS, 10).await;
    let user = app.user().await;
    let agent = app.agent(&user, may(&["read"], "mcp:*")).await;
    let session = app.session(&user).await;
    let other = json!({ "name": "k", "scopes": ["resources:write", "agents:write"] });
    let other = app.key(other).await;
    for (call, status) in [
        (app.anonymous(), 401),
        (app.call(&agent.key), 403),
        (app.call(&session.token), 403),
        (app.call(&other), 403),
        (app.call(&key), 200),
    ] {
        for reply in everything(&call).await {
            assert_eq!(reply.status, status, "{reply}");
        }
    }
}

async fn everything(call: &Call) -> [Reply; 4] {
    [
        call.post(&format!("{FEED}/head"), nothing_yet()).await,
        call.get(FEED).await,
        call.get(&format!("{FEED}/stream")).await,
        call.get(&format!("{FEED}/snapshot?nonce=n&instance=i"))
            .await,
    ]
}

#[tokio::test]
async fn an_open_feed_is_followed_without_a_key_and_not_with_a_wrong_one() {
    let open = crate::setup().with(|builder| builder.feed(FeedAccess::Everyone));
    let app = open.start().await;
    let user = app.user().await;
    let agent = app.agent(&user, may(&["read"], "mcp:*")).await;
    for (call, status) in [
        (app.anonymous(), 200),
        (app.call("kv_res_nothing"), 401),
        (app.call(&agent.key), 403),
    ] {
        for reply in everything(&call).await {
            assert_eq!(reply.status, status, "{reply}");
        }
    }
    let mut verifier = Verifier::of(&app, app.anonymous(), "anonymous").await;
    verifier.start().await;
    // Nothing else is open.
    let reply = app.anonymous().get("/api/v1/events").await;
    reply.refused(401, "unauthenticated");
}

#[tokio::test]
async fn without_a_master_key_nobody_is_given_a_head() {
    let app = crate::setup().without_master_key().start().await;
    let operator = app.operator();
    for reply in [
        operator.post(&format!("{FEED}/head"), nothing_yet()).await,
        operator
            .get(&format!("{FEED}/snapshot?nonce=n&instance=i"))
            .await,
    ] {
        let refused = reply.refused(409, "conflict");
        assert!(refused.message().contains("kavach init"), "{refused}");
    }
    // And so nobody has a lease.
    reached(&kill(&app).await, ("closed", 0, 0, "2026-11-21T10:00:00Z"));
}

#[tokio::test]
async fn of_one_key_only_so_many_processes_follow() {
    let app = crate::start().await;
    let key = register(&app, TOOLS, 10).await;
    let ask = async |instance: u32| {
        let mut question = nothing_yet();
        question["instance"] = json!(format!("i{instance}"));
        app.call(&key).post(&format!("{FEED}/head"), question).await
    };
    for instance in 0..64 {
        ask(instance).await.expect(200);
    }
    ask(64).await.refused(422, "follower_limit_exceeded");
    let snapshot = format!("{FEED}/snapshot?nonce=n&instance=j");
    let reply = app.call(&key).get(&snapshot).await;
    reply.refused(422, "follower_limit_exceeded");
    // The twins: one that is known, another key, and later.
    ask(0).await.expect(200);
    app.operator()
        .post(&format!("{FEED}/head"), nothing_yet())
        .await
        .expect(200);
    app.advance(20);
    ask(64).await.expect(200);
}

/// Which kinds of handles were killed, oldest first.
async fn kinds(app: &TestApp, since: u64) -> Vec<u64> {
    let page = app
        .operator()
        .get(&format!("{FEED}?since={since}"))
        .await
        .expect(200);
    let records = page.at("/data/records").as_array().unwrap();
    records
        .iter()
        .map(|record| record["kind"].as_u64().unwrap())
        .collect()
}

/// How long somebody may hold a lease is counted by the clock that nobody sets.
#[tokio::test]
async fn a_wall_clock_that_is_set_forgets_no_follower_and_keeps_none() {
    let app = crate::start().await;
    let _verifier = Verifier::new(&app, TOOLS, 10).await;
    app.clock().set("2026-11-21T11:00:00Z");
    reached(&kill(&app).await, ("partial", 0, 1, "2026-11-21T11:00:10Z"));
    app.clock().set("2026-11-21T09:00:00Z");
    reached(&kill(&app).await, ("partial", 0, 1, "2026-11-21T09:00:10Z"));
    // The twin: time really passes.
    app.advance(20);
    reached(&kill(&app).await, ("closed", 0, 0, "2026-11-21T09:00:20Z"));
}

#[tokio::test]
async fn a_wall_clock_that_jumps_does_not_end_the_minute_after_a_start() {
    let mut app = crate::setup().lasting().start().await;
    Verifier::new(&app, TOOLS, 2).await;
    app.restart().await;
    app.clock().set("2026-11-21T11:00:00Z");
    reached(&kill(&app).await, ("partial", 0, 0, "2026-11-21T11:01:00Z"));
    app.advance(60);
    reached(&kill(&app).await, ("closed", 0, 0, "2026-11-21T11:01:00Z"));
}

/// Whoever has one key has one reader's part, and all others find a place.
#[tokio::test]
async fn one_key_takes_no_more_than_its_part_of_the_streams() {
    for (path, each) in [
        (format!("{FEED}/stream"), 64),
        ("/api/v1/events".to_owned(), 8),
    ] {
        let app = crate::start().await;
        let greedy = app
            .key(json!({ "name": "greedy", "scopes": ["audit:read"] }))
            .await;
        let greedy = app.call(&greedy);
        let mut streams = Vec::new();
        for _ in 0..each {
            streams.push(greedy.events(&path).await);
        }
        let refused = greedy.get(&path).await.refused(429, "too_many_requests");
        assert!(refused.header("retry-after").parse::<u64>().unwrap() > 0);
        // Calls that wait sit on the same places.
        if path.starts_with(FEED) {
            let waits = greedy.get(&format!("{FEED}?wait=30")).await;
            waits.refused(429, "too_many_requests");
        }
        // The twins: another key, and whoever hung up.
        let other = app.operator().events(&path).await;
        drop((other, streams.pop()));
        until_taken(&greedy, &path).await;
    }
}

/// A server hears that a client hung up when it writes to it next: that takes a moment.
async fn until_taken(call: &Call, path: &str) {
    const TRIES: usize = 2_000;
    for _ in 0..TRIES {
        if call.get(path).await.status == 200 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the place is free again");
}

#[tokio::test]
async fn one_key_takes_no_more_than_its_part_of_the_snapshots() {
    let app = crate::start().await;
    let engine = app.kavach().engine().clone();
    let reader = async |key: &str| {
        let caller = engine.authenticate(key).await.unwrap();
        FeedReader::Known(Actor {
            caller,
            ..Actor::local(engine.id())
        })
    };
    let slow = reader(&register(&app, TOOLS, 10).await).await;
    let question = SnapshotRequest {
        nonce: "n".parse().unwrap(),
        instance: "i".parse().unwrap(),
    };
    let held = [
        engine.revocation_snapshot(&slow, &question).await.unwrap(),
        engine.revocation_snapshot(&slow, &question).await.unwrap(),
    ];
    let again = engine.revocation_snapshot(&slow, &question).await;
    assert!(matches!(again.map(drop), Err(Error::TooManyOpen { .. })));
    // The twins: another key has its own, and the same one once it has taken what it was given.
    for audience in ["https://a.example.com", "https://b.example.com"] {
        let other = reader(&register(&app, audience, 10).await).await;
        engine.revocation_snapshot(&other, &question).await.unwrap();
    }
    drop(held);
    engine.revocation_snapshot(&slow, &question).await.unwrap();
}

#[tokio::test]
async fn a_snapshot_that_is_taken_too_slowly_ends_and_leaves_its_place() {
    let app = crate::start().await;
    let engine = app.kavach().engine().clone();
    let caller = engine
        .authenticate(&register(&app, TOOLS, 10).await)
        .await
        .unwrap();
    let reader = FeedReader::Known(Actor {
        caller,
        ..Actor::local(engine.id())
    });
    let question = SnapshotRequest {
        nonce: "n".parse().unwrap(),
        instance: "i".parse().unwrap(),
    };
    let begin = async || {
        engine
            .revocation_snapshot(&reader, &question)
            .await
            .unwrap()
    };
    // Too slowly for one step, and in all; the twins are just in time.
    for (steps, seconds, taken) in [
        (1, 30, true),
        (1, 31, false),
        (11, 30, false),
        (10, 30, true),
    ] {
        let mut snapshot = begin().await;
        let mut last = Ok(());
        for _ in 0..steps {
            app.advance(seconds);
            last = snapshot.step();
        }
        assert_eq!(
            last.is_ok(),
            taken,
            "{steps} steps of {seconds} seconds: {last:?}"
        );
    }
}

/// A token for a tool server that others run carries the root grant's handle and none of the human.
#[tokio::test]
async fn a_kill_of_a_human_kills_their_root_grants_and_unbanned_all_of_them_decide_again() {
    const USER: u64 = 1;
    const GRANT: u64 = 4;
    let app = crate::start().await;
    let user = app.user().await;
    let mut wide = may(&["read"], "mcp:*");
    wide[0]["actions"] = json!(["read", "write"]);
    let agent = app.agent(&user, wide).await;
    let other = app.agent(&user, may(&["read"], "mcp:none")).await;
    let over = json!({ "expiresAt": "2026-11-21T10:00:05Z" });
    app.agent_with(&user, may(&["read"], "mcp:*"), over).await;
    let sub = app.agent(&agent.id, may(&["read"], "mcp:x")).await;
    app.delegate(&agent.id, &other.id, may(&["read"], "mcp:y"))
        .await
        .expect(201);
    // Another human's are not touched.
    let stranger = app.agent(&app.user().await, may(&["read"], "mcp:*")).await;
    app.advance(5);
    let decisions = async |code: &str| {
        for (agent, resource) in [(&agent, "mcp:a"), (&other, "mcp:y"), (&sub, "mcp:x")] {
            let reply = app.decide(&agent.id, "read", resource).await;
            reply.decided(code);
        }
        let reply = app.decide(&stranger.id, "read", "mcp:a").await;
        reply.decided("allowed");
    };
    decisions("allowed").await;
    let turn = async |how: &str| {
        let path = format!("/api/v1/users/{user}/{how}");
        app.operator().post(&path, json!({})).await.expect(200)
    };
    let mut before = 0;
    for _ in 0..2 {
        turn("ban").await;
        let killed = kinds(&app, before).await;
        // The grant of the agent that is over is not killed, whether it has an end of its own or not.
        assert_eq!(killed[0], USER);
        assert!(
            killed.len() >= 3 && killed[1..].iter().all(|kind| *kind == GRANT),
            "{killed:?}"
        );
        before += u64::try_from(killed.len()).unwrap();
        decisions("owner_not_active").await;
        turn("unban").await;
        decisions("allowed").await;
        assert_eq!(
            kinds(&app, before).await,
            [0; 0],
            "to let go on kills nothing"
        );
    }
    // Narrowed, what was derived from the wider authority is dead too, and the rest goes on.
    let narrower = json!({ "permissions": may(&["read"], "mcp:*") });
    let path = format!("/api/v1/users/{user}");
    app.operator().patch(&path, narrower).await.expect(200);
    let killed = kinds(&app, before).await;
    assert!(killed[0] == USER && killed[1] == GRANT, "{killed:?}");
    before += u64::try_from(killed.len()).unwrap();
    decisions("allowed").await;
    app.decide(&agent.id, "write", "mcp:a")
        .await
        .decided("permission_denied");
    // The twin: what is not narrower kills nothing.
    let wider = json!({ "permissions": null, "name": "n" });
    app.operator().patch(&path, wider).await.expect(200);
    assert_eq!(kinds(&app, before).await, [0; 0]);
    app.operator().delete(&path).await.expect(200);
    assert!(kinds(&app, before).await.len() >= 3);
}

/// A kill is one record whatever lies below: the same rows are written for a small tree as for a large one, and none below is
/// looked at. (That those count no more is found out when their human has no room left: `Engine::room_for_agent`.)
#[tokio::test]
async fn a_kill_costs_the_same_whatever_lies_below() {
    let small = rows_of_a_kill(10).await;
    assert_eq!(rows_of_a_kill(1_000).await, small);
}

#[tokio::test]
#[ignore = "takes a while: run it by name"]
async fn a_kill_costs_the_same_above_ten_and_above_a_hundred_thousand() {
    assert_eq!(rows_of_a_kill(100_000).await, rows_of_a_kill(10).await);
}

/// How many rows of each table change when an agent with so many below it is killed, all of whom it stops.
async fn rows_of_a_kill(below: u32) -> Vec<(String, usize)> {
    let mut app = crate::setup().in_a_file().start().await;
    let top = app.agent(&app.user().await, may(&["read"], "mcp:*")).await;
    let first = app.agent(&top.id, may(&["read"], "mcp:x")).await;
    let fill = |database: &_| copy_agent(database, &first.id, below - 1);
    let last = app.restart_after(fill).await;
    app.decide(&last, "read", "mcp:x").await.decided("allowed");
    let before = app.restart_after(all_rows).await;
    assert_eq!(before["agents"].len(), below as usize + 1);
    let rseq = app.head().revocation.rseq;
    let path = format!("/api/v1/agents/{}", top.id);
    app.operator().delete(&path).await.expect(200);
    assert_eq!(app.head().revocation.rseq, rseq + 1);
    let after = app.restart_after(all_rows).await;
    let stopped = app.decide(&last, "read", "mcp:x").await;
    stopped.decided("owner_not_active");
    let changed = before
        .iter()
        .zip(&after)
        .map(|((table, before), (same, after))| {
            assert_eq!(table, same);
            (table.clone(), after.difference(before).count())
        });
    let changed: Vec<_> = changed.filter(|(_, rows)| *rows > 0).collect();
    assert!(
        changed
            .iter()
            .any(|(table, rows)| table == "revocation_log" && *rows == 1)
    );
    changed
}
