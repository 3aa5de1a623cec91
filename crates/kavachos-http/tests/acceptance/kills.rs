//! Kills that others try to hold up, outrun or outlive: each is told of as far as it has reached, and no further.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use kavachos::store::{Batch, BoxFuture, CommitError, Write};
use kavachos_core::revocation::HandleKind;
use kavachos_core::token::Code;
use kavachos_test::kavachos;
use kavachos_test::{Keeper, Reply, TestAgent, TestApp, TestSession, may};
use serde_json::{Value, json};

use crate::tokens::{DELEGATE, TOOLS, judged, judged_at, opened, register};

const GRANT: u64 = HandleKind::Grant as u64;
const OTHERS: &str = "https://others.example.com/mcp";

/// A tool server that others run, a human with an agent, and the human's session.
async fn world(app: &TestApp) -> (String, TestAgent, TestSession) {
    register(app, json!({ "party": "third" })).await;
    let user = app.user().await;
    let agent = app.agent(&user, may(&["*"], "tools:call:*")).await;
    let session = app.session(&user).await;
    (user, agent, session)
}

fn token_for(audience: &str) -> Value {
    json!({ "audience": audience, "scopes": ["tools:call:search"], "reason": "find sources" })
}

/// A token that the human asks for, by a root grant of its own.
async fn token(app: &TestApp, session: &TestSession) -> String {
    let human = app.call(&session.token);
    let reply = human.post(DELEGATE, token_for(TOOLS)).await.expect(200);
    reply.text_at("/data/token").to_owned()
}

async fn ban(app: &TestApp, user: &str) -> Reply {
    let path = format!("/api/v1/users/{user}/ban");
    app.operator().post(&path, json!({})).await
}

async fn code(app: &TestApp, token: &str) -> Option<Code> {
    judged(app, token).await.err().map(|failure| failure.code)
}

/// The kinds of what was killed after this record.
async fn killed(app: &TestApp, since: u64) -> Vec<u64> {
    let path = format!("/api/v1/revocations?since={since}");
    let page = app.operator().get(&path).await.expect(200);
    let records = page.at("/data/records").as_array().unwrap();
    let kinds = records.iter().map(|record| record["kind"].as_u64());
    kinds.map(Option::unwrap).collect()
}

fn kills_a(kind: HandleKind, batch: &Batch) -> bool {
    batch.kills.iter().any(|kill| kill.handle.kind == kind)
}

/// Gives one more root grant whenever the human is about to be killed, as somebody would who has their session.
#[derive(Default)]
struct Storm {
    app: OnceLock<(Weak<TestApp>, TestSession, String)>,
    given: Arc<AtomicU64>,
    tries: AtomicUsize,
    tokens: Arc<Mutex<Vec<String>>>,
    /// Whether the kill is to be of exactly the grants that there are, as it once was.
    counts: bool,
}

impl Keeper for Storm {
    fn before(&self, batch: &mut Batch) -> BoxFuture<'static, Result<(), CommitError>> {
        let Some((app, session, user)) = self.app.get().cloned() else {
            return Box::pin(async { Ok(()) });
        };
        if !kills_a(HandleKind::User, batch) {
            return Box::pin(async { Ok(()) });
        }
        self.tries.fetch_add(1, Ordering::SeqCst);
        let given = Arc::clone(&self.given);
        if self.counts {
            let same = "UPDATE users SET version = version WHERE id = ?1 \
                AND (SELECT COUNT(*) FROM grants g WHERE g.giver_user = ?1) = ?2";
            let write = Write::exactly(1, same).bind(user);
            batch.writes.push(write.bind(given.load(Ordering::SeqCst)));
        }
        let tokens = Arc::clone(&self.tokens);
        Box::pin(async move {
            let token = token(&app.upgrade().unwrap(), &session).await;
            tokens.lock().unwrap().push(token);
            given.fetch_add(1, Ordering::SeqCst);
            Ok(())
        })
    }
}

/// What is given at the very last moment dies too, and holds nothing up. The twin is a ban that names all grants that
/// there are, which whoever gives one can hold up for as long as they like.
#[tokio::test]
async fn a_storm_of_new_root_grants_does_not_hold_up_a_ban() {
    for counts in [false, true] {
        let storm = Arc::new(Storm {
            counts,
            ..Storm::default()
        });
        let setup = crate::setup().kept_by(Arc::clone(&storm) as Arc<dyn Keeper>);
        let app = Arc::new(setup.start().await);
        let (user, agent, session) = world(&app).await;
        storm.given.store(1, Ordering::SeqCst);
        let held = (Arc::downgrade(&app), session, user.clone());
        assert!(storm.app.set(held).is_ok());
        let reply = ban(&app, &user).await;
        let decision = app.decide(&agent.id, "call", "tools:call:search").await;
        if counts {
            reply.refused(409, "conflict");
            decision.decided("allowed");
            assert_eq!(storm.tries.load(Ordering::SeqCst), 8);
            continue;
        }
        assert_eq!(reply.expect(200).at("/data/state"), "closed");
        decision.decided("owner_not_active");
        assert_eq!(storm.tries.load(Ordering::SeqCst), 1);
        let tokens = storm.tokens.lock().unwrap().clone();
        assert_eq!(code(&app, &tokens[0]).await, Some(Code::Revoked));
    }
}

/// Fails whatever raises grants, for as long as it is shut.
#[derive(Default)]
struct Shut(AtomicBool);

impl Keeper for Shut {
    fn before(&self, batch: &mut Batch) -> BoxFuture<'static, Result<(), CommitError>> {
        let fails = self.0.load(Ordering::SeqCst) && !kills_a(HandleKind::User, batch);
        let fails = fails && kills_a(HandleKind::Grant, batch);
        Box::pin(async move {
            match fails {
                true => Err(CommitError::Unavailable("the disk is full".into())),
                false => Ok(()),
            }
        })
    }
}

#[tokio::test]
async fn what_a_crash_leaves_of_a_kill_is_told_and_made_up_for_at_the_next_start() {
    for crashes in [true, false] {
        let keeper = Arc::new(Shut::default());
        let setup = crate::setup().kept_by(Arc::clone(&keeper) as Arc<dyn Keeper>);
        let mut app = setup.lasting().start().await;
        let (user, agent, session) = world(&app).await;
        let token = token(&app, &session).await;
        keeper.0.store(crashes, Ordering::SeqCst);
        let told = ban(&app, &user).await.expect(200);
        // Here nobody acts for them any more, whatever others know.
        app.decide(&agent.id, "call", "tools:call:search")
            .await
            .decided("owner_not_active");
        let path = format!("/api/v1/users/{user}");
        let again = app.operator().delete(&path).await.expect(200);
        if !crashes {
            for told in [told, again] {
                assert_eq!(told.at("/data/state"), "closed");
            }
            assert_eq!(code(&app, &token).await, Some(Code::Revoked));
            continue;
        }
        for told in [told, again] {
            let said = (
                told.text_at("/data/state"),
                told.text_at("/data/effectiveBy"),
            );
            assert_eq!(said, ("partial", "2026-11-21T10:10:00Z"));
        }
        assert_eq!(
            code(&app, &token).await,
            None,
            "the end of the token ends it"
        );
        let rseq = app.head().revocation.rseq;
        keeper.0.store(false, Ordering::SeqCst);
        app.restart().await;
        // Nobody asks for it: whoever starts goes on with it.
        let next = format!("/api/v1/revocations?since={rseq}&wait=30");
        let next = app.operator().get(&next).await.expect(200);
        assert_eq!(next.at("/data/records/0/kind"), GRANT);
        assert_eq!(code(&app, &token).await, Some(Code::Revoked));
        app.advance(60);
        let told = app.operator().delete(&path).await.expect(200);
        assert_eq!(told.at("/data/state"), "closed");
    }
}

#[tokio::test]
async fn every_root_grant_is_raised_however_many_there_are() {
    const MANY: usize = 260;
    let setup = crate::setup().settings(|settings| settings.grants_per_agent = 1_000);
    let app = setup.start().await;
    let (user, agent, session) = world(&app).await;
    let first = token(&app, &session).await;
    for _ in 0..MANY {
        app.delegate(&user, &agent.id, may(&["*"], "tools:call:a"))
            .await
            .expect(201);
    }
    let last = token(&app, &session).await;
    let rseq = app.head().revocation.rseq;
    let told = ban(&app, &user).await.expect(200);
    assert_eq!(told.at("/data/state"), "closed");
    let kinds = killed(&app, rseq).await;
    let grants = kinds.iter().filter(|kind| **kind == GRANT).count();
    // Those of the two tokens, and the agent's own. The human and the session besides.
    assert_eq!((kinds.len(), grants), (MANY + 5, MANY + 3));
    for token in [first, last] {
        assert_eq!(code(&app, &token).await, Some(Code::Revoked));
    }
    let steps = app.audit("kind=user.grants_raised").await;
    assert_eq!(steps.len(), 2, "in steps of bounded size");
}

/// Takes back one of the grants whenever they are about to be raised together.
#[derive(Default)]
struct Mover {
    app: OnceLock<Weak<TestApp>>,
    grants: Mutex<Vec<String>>,
    moved: AtomicUsize,
}

impl Keeper for Mover {
    fn before(&self, batch: &mut Batch) -> BoxFuture<'static, Result<(), CommitError>> {
        let raises = batch.kills.len() > 1 && kills_a(HandleKind::Grant, batch);
        let grant = raises.then(|| self.grants.lock().unwrap().pop()).flatten();
        let (Some(grant), Some(app)) = (grant, self.app.get().cloned()) else {
            return Box::pin(async { Ok(()) });
        };
        self.moved.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            let app = app.upgrade().unwrap();
            let path = format!("/api/v1/delegations/{grant}");
            app.operator().delete(&path).await.expect(200);
            Ok(())
        })
    }
}

#[tokio::test]
async fn grants_that_move_while_they_are_raised_are_raised_all_the_same() {
    for moves in [3, 0] {
        let mover = Arc::new(Mover::default());
        let setup = crate::setup().kept_by(Arc::clone(&mover) as Arc<dyn Keeper>);
        let app = Arc::new(setup.start().await);
        let (user, agent, session) = world(&app).await;
        let token = token(&app, &session).await;
        let mut given = Vec::new();
        for _ in 0..4 {
            let reply = app.delegate(&user, &agent.id, may(&["*"], "tools:call:a"));
            given.push(reply.await.expect(201).id().to_owned());
        }
        given.truncate(moves);
        *mover.grants.lock().unwrap() = given;
        mover.app.set(Arc::downgrade(&app)).unwrap();
        let rseq = app.head().revocation.rseq;
        let less = json!({ "permissions": may(&["*"], "tools:call:b") });
        let path = format!("/api/v1/users/{user}");
        let told = app.operator().patch(&path, less).await.expect(200);
        assert_eq!(told.at("/data/narrowed/state"), "closed");
        assert_eq!(mover.moved.load(Ordering::SeqCst), moves);
        // The human, and each of the six once, by whomever.
        assert_eq!(killed(&app, rseq).await.len(), 7);
        assert_eq!(code(&app, &token).await, Some(Code::Revoked));
    }
}

/// Lets time pass between the commit of a kill and its acknowledgement.
#[derive(Default)]
struct Slow {
    app: OnceLock<Weak<TestApp>>,
    seconds: u64,
}

impl Keeper for Slow {
    fn after(&self, kills: usize) {
        let app = self.app.get().and_then(Weak::upgrade);
        if let Some(app) = app.filter(|_| kills > 0) {
            app.clock().advance(Duration::from_secs(self.seconds));
        }
    }
}

/// Whoever asks while the commit is under way is given a lease that is counted from then.
#[tokio::test]
async fn a_kill_counts_from_its_acknowledgement_and_not_from_before_it_was_durable() {
    for (seconds, by) in [(5, "2026-11-21T10:00:15Z"), (0, "2026-11-21T10:00:10Z")] {
        let slow = Arc::new(Slow {
            seconds,
            ..Slow::default()
        });
        let setup = crate::setup().kept_by(Arc::clone(&slow) as Arc<dyn Keeper>);
        let app = Arc::new(setup.start().await);
        let agent = app.agent(&app.user().await, may(&["read"], "mcp:*")).await;
        let head = "/api/v1/revocations/head";
        let question = json!({ "nonce": "n", "instance": "i", "epoch": 0, "rseq": 0, "rhash": "A".repeat(43) });
        app.operator().post(head, question).await.expect(200);
        slow.app.set(Arc::downgrade(&app)).unwrap();
        let path = format!("/api/v1/agents/{}", agent.id);
        let told = app.operator().delete(&path).await.expect(200);
        assert_eq!(told.text_at("/data/effectiveBy"), by);
        assert_eq!(told.at("/data/state"), "partial");
    }
}

/// Two tool servers of others cannot tell by what a token carries that they serve the same human. The twin: two of ours
/// can.
#[tokio::test]
async fn tokens_for_two_third_parties_share_no_handle() {
    for (party, shares) in [("third", false), ("first", true)] {
        let app = crate::start().await;
        let user = app.user().await;
        let session = app.session(&user).await;
        let mut seen = Vec::new();
        for audience in [TOOLS, OTHERS] {
            register(&app, json!({ "party": party, "audience": audience })).await;
            let agent = app.agent(&user, may(&["*"], "tools:call:*")).await;
            let mut ask = token_for(audience);
            ask["agent"] = json!(agent.id);
            let reply = app.call(&session.token).post(DELEGATE, ask.clone()).await;
            let leaf = opened(&app, reply.expect(200).text_at("/data/token")).await;
            let handles = |leaf: &kavachos_core::token::Leaf| {
                let marks = leaf.authority.all_marks();
                let mut handles: Vec<_> = marks.map(|mark| mark.handle).collect();
                handles.sort();
                handles
            };
            // One tool server is told the same each time, so that it can tell sessions apart.
            let again = app.call(&session.token).post(DELEGATE, ask).await;
            let again = opened(&app, again.expect(200).text_at("/data/token")).await;
            assert_eq!(handles(&leaf), handles(&again));
            let sessions = handles(&leaf);
            let sessions = sessions
                .iter()
                .filter(|handle| handle.kind == HandleKind::Session);
            assert_eq!(sessions.count(), 1, "the end of the session ends it");
            seen.push((handles(&leaf), leaf.authority.subject));
        }
        let shared = seen[0].0.iter().any(|handle| seen[1].0.contains(handle));
        assert_eq!(shared, shares, "{party}");
        assert_eq!(seen[0].1 == seen[1].1, shares, "{party}");
    }
}

#[tokio::test]
async fn the_end_of_a_session_ends_what_it_was_given_for_every_third_party_and_no_more() {
    let app = crate::start().await;
    let user = app.user().await;
    let agent = app.agent(&user, may(&["*"], "tools:call:*")).await;
    let (ended, other) = (app.session(&user).await, app.session(&user).await);
    let mut tokens = Vec::new();
    for audience in [TOOLS, OTHERS] {
        let server = register(&app, json!({ "party": "third", "audience": audience })).await;
        let mut ask = token_for(audience);
        ask["agent"] = json!(agent.id);
        for session in [&ended, &other] {
            let reply = app.call(&session.token).post(DELEGATE, ask.clone()).await;
            let token = reply.expect(200).text_at("/data/token").to_owned();
            judged_at(&app, &token, audience).await.unwrap();
            tokens.push((server.clone(), audience, session.id == ended.id, token));
        }
    }
    let path = format!("/api/v1/sessions/{}", ended.id);
    let told = app.operator().delete(&path).await.expect(200);
    assert_eq!(told.at("/data/state"), "closed");
    for (server, audience, is_over, token) in tokens {
        let judged = judged_at(&app, &token, audience).await;
        assert_eq!(judged.is_err(), is_over, "{judged:?}");
        let question = json!({ "token": token, "action": "call", "resource": "tools:call:search" });
        let decision = app.call(&server).post("/api/v1/authorize", question).await;
        decision.decided(if is_over { "key_revoked" } else { "allowed" });
    }
}

/// What a PATCH says of how far it has reached, if it narrowed something, and that it says nothing if it did not.
#[tokio::test]
async fn a_change_that_narrows_says_how_far_it_has_reached() {
    let app = crate::start().await;
    let user = app.user().await;
    let agent = app.agent(&user, may(&["read"], "mcp:*")).await;
    let key = json!({ "name": "k", "scopes": ["audit:read"] });
    let key = app.operator().post("/api/v1/keys", key).await.expect(201);
    register(&app, json!({})).await;
    let server = app.operator().get("/api/v1/resources").await.rows()[0]["id"].clone();
    let head =
        json!({ "nonce": "n", "instance": "i", "epoch": 0, "rseq": 0, "rhash": "A".repeat(43) });
    app.operator()
        .post("/api/v1/revocations/head", head)
        .await
        .expect(200);
    let agent = format!("/api/v1/agents/{}", agent.id);
    let user = format!("/api/v1/users/{user}");
    let key = format!("/api/v1/keys/{}", key.id());
    let server = format!("/api/v1/resources/{}", server.as_str().unwrap());
    for (path, change, narrows) in [
        (&agent, json!({ "name": "other" }), false),
        (
            &agent,
            json!({ "permissions": may(&["read"], "mcp:a") }),
            true,
        ),
        (
            &agent,
            json!({ "permissions": may(&["read"], "mcp:*") }),
            false,
        ),
        (
            &agent,
            json!({ "guards": { "ipAllowlist": ["10.0.0.0/8"] } }),
            true,
        ),
        (&agent, json!({ "expiresAt": "2026-11-22T10:00:00Z" }), true),
        (&agent, json!({ "expiresAt": null }), false),
        (&user, json!({ "name": "Grace" }), false),
        (
            &user,
            json!({ "permissions": may(&["read"], "mcp:*") }),
            true,
        ),
        (&user, json!({ "permissions": null }), false),
        // Whatever is changed of these counts as another thing.
        (&key, json!({ "ceiling": may(&["read"], "mcp:*") }), true),
        (&key, json!({ "name": "other" }), true),
        (&server, json!({ "maxTtlSeconds": 60 }), true),
    ] {
        let rseq = app.head().revocation.rseq;
        let reply = app.operator().patch(path, change.clone()).await.expect(200);
        assert_eq!(
            app.head().revocation.rseq > rseq,
            narrows,
            "{path} {change}"
        );
        let narrowed = reply.at("/data").get("narrowed").cloned();
        let told = json!({
            "effectiveBy": "2026-11-21T10:00:10Z", "state": "partial", "acknowledged": 0, "followers": 1,
        });
        assert_eq!(narrowed, narrows.then_some(told), "{path} {change}");
    }
}
