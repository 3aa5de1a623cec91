//! Keys that agents prove: what is made for an agent that has one is bound to it, and dies when it changes.

use kavachos_core::token::{Algorithm, Code, SigningKey};
use kavachos_test::{Reply, TestAgent, TestApp, may};
use serde_json::{Value, json};

use crate::moving::{body, export, import, sealed};
use crate::tokens::{DELEGATE, ask, judged, opened, own, proof_at, register, search};

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(Algorithm::Ed25519, &[seed; 32]).unwrap()
}

fn jwk(seed: u8) -> Value {
    key(seed).public().to_jwk()
}

/// A call with a proof of a key at this path.
async fn prove(app: &TestApp, credential: &str, seed: u8, path: &str, ask: Value) -> Reply {
    app.call(credential)
        .header("dpop", &proof(app, seed, path))
        .post(path, ask)
        .await
}

/// A proof of a key at this path that nobody used.
fn proof(app: &TestApp, seed: u8, path: &str) -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let name = format!("proof {}", COUNT.fetch_add(1, Ordering::Relaxed));
    proof_at(app, path, (seed, &name)).0
}

async fn world(policy: Value) -> (TestApp, String, TestAgent) {
    let app = crate::start().await;
    register(&app, policy).await;
    let user = app.user().await;
    let more = json!({ "proofKey": jwk(1), "bearer": true });
    let agent = app
        .agent_with(&user, may(&["*"], "tools:call:*"), more)
        .await;
    (app, user, agent)
}

fn path_of(agent: &TestAgent) -> String {
    format!("/api/v1/agents/{}", agent.id)
}

fn text(reply: &Reply) -> String {
    reply.text_at("/data/token").to_owned()
}

#[tokio::test]
async fn what_is_made_for_an_agent_with_a_proof_key_is_bound_to_that_key() {
    let (app, user, agent) = world(json!({ "proof": "none" })).await;
    let shown = app.operator().get(&path_of(&agent)).await.expect(200);
    let mut expected = jwk(1);
    expected["kid"] = json!(key(1).thumbprint());
    assert_eq!(shown.at("/data/proofKey"), &expected);
    let bare = ask(&app, &agent.key, own(&agent)).await;
    assert_eq!((bare.status, bare.code()), (409, "conflict"), "{bare}");
    let other = prove(&app, &agent.key, 2, DELEGATE, own(&agent)).await;
    assert_eq!((other.status, other.code()), (403, "forbidden"));
    // Its human cannot show it either.
    let session = app.session(&user).await;
    assert_eq!(ask(&app, &session.token, own(&agent)).await.status, 409);
    let bound = prove(&app, &agent.key, 1, DELEGATE, own(&agent))
        .await
        .expect(200);
    let leaf = opened(&app, &text(&bound)).await;
    assert_eq!(leaf.bound_to, Some(key(1).thumbprint()));
    let hop = leaf.authority.chain.last().unwrap();
    let print = key(1).thumbprint();
    assert_eq!(hop.key.unwrap().handle.bytes, print.0[..16]);
    let record = app
        .audit("kind=token.issued&outcome=allowed")
        .await
        .remove(0);
    assert_eq!(record["details"]["boundTo"], json!(print));
    // The twin: an agent without one.
    let free = app.agent(&user, may(&["*"], "tools:call:*")).await;
    let free = ask(&app, &free.key, own(&free)).await.expect(200);
    assert_eq!(opened(&app, &text(&free)).await.bound_to, None);
    // Its opaque key goes on to kill what was made with it.
    judged_revoked_after(&app, &text(&bound), async || {
        let path = format!("{}/rotate", path_of(&agent));
        app.operator().post(&path, json!({})).await.expect(201);
    })
    .await;
}

async fn judged_revoked_after(app: &TestApp, token: &str, kill: impl AsyncFnOnce()) {
    let before = judged(app, token).await.map_err(|failure| failure.code);
    assert_ne!(before, Err(Code::Revoked));
    kill().await;
    assert_eq!(judged(app, token).await.unwrap_err().code, Code::Revoked);
}

#[tokio::test]
async fn a_change_of_the_proof_key_kills_what_was_made_before() {
    let (app, user, agent) = world(json!({})).await;
    let change = async |agent: &TestAgent, key: Value| {
        let body = json!({ "proofKey": key });
        app.operator()
            .patch(&path_of(agent), body)
            .await
            .expect(200);
    };
    let bound = async |seed| {
        let reply = prove(&app, &agent.key, seed, DELEGATE, own(&agent)).await;
        text(&reply.expect(200))
    };
    let token = bound(1).await;
    // The twin: the same key again is no change.
    change(&agent, jwk(1)).await;
    assert_eq!(
        judged(&app, &token).await.unwrap_err().code,
        Code::ProofMissing
    );
    judged_revoked_after(&app, &token, async || change(&agent, jwk(2)).await).await;
    let token = bound(2).await;
    judged_revoked_after(&app, &token, async || change(&agent, Value::Null).await).await;
    let free = ask(&app, &agent.key, own(&agent)).await.expect(200);
    // A bearer token, made before there was a key to prove.
    judged_revoked_after(&app, &text(&free), async || change(&agent, jwk(1)).await).await;
    bound(1).await;
    // What was given up is free for another one, at a generation of which nothing is alive.
    change(&agent, jwk(3)).await;
    let next = app.agent(&user, may(&["*"], "tools:call:*")).await;
    change(&next, jwk(1)).await;
    let reply = prove(&app, &next.key, 1, DELEGATE, own(&next))
        .await
        .expect(200);
    let leaf = opened(&app, &text(&reply)).await;
    assert!(leaf.authority.chain[0].key.unwrap().generation > 1);
}

#[tokio::test]
async fn a_proof_key_is_one_agents_and_a_public_one() {
    let (app, user, agent) = world(json!({})).await;
    let new = |key: Value| {
        json!({
            "ownerId": user, "name": "n", "type": "service", "permissions": may(&["*"], "tools:*"), "proofKey": key,
        })
    };
    let operator = app.operator();
    let create = async |key: Value| operator.post("/api/v1/agents", new(key)).await;
    let taken = create(jwk(1)).await;
    assert_eq!((taken.status, taken.code()), (409, "conflict"));
    let mut private = jwk(5);
    private["d"] = json!("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    let weak = json!({ "kty": "OKP", "crv": "Ed25519", "x": "A".repeat(43) });
    for wrong in [private, weak, json!({ "kty": "RSA" }), json!("key")] {
        let reply = create(wrong).await;
        assert_eq!(reply.status, 400, "{reply}");
        assert!(reply.field().starts_with("proofKey"), "{reply}");
    }
    let es256 = SigningKey::from_seed(Algorithm::Es256, &[7; 32]).unwrap();
    create(es256.public().to_jwk()).await.expect(201);
    // An agent that was revoked leaves its key to the next.
    operator.delete(&path_of(&agent)).await.expect(200);
    create(jwk(1)).await.expect(201);
}

#[tokio::test]
async fn a_child_of_what_is_bound_is_bound_unless_its_grants_and_tool_server_let_it_be() {
    for (proof, uses, status) in [
        ("none", json!({ "bearer": true }), 200),
        // The twins.
        ("none", json!({}), 409),
        ("optional", json!({ "bearer": true }), 409),
    ] {
        let (app, _, agent) = world(json!({ "proof": proof })).await;
        let below = app
            .agent_with(&agent.id, may(&["*"], "tools:call:*"), uses)
            .await;
        let reply = ask(&app, &agent.key, own(&below)).await;
        assert_eq!(reply.status, status, "{proof}: {reply}");
        if status == 200 {
            assert_eq!(opened(&app, &text(&reply)).await.bound_to, None);
            let record = app
                .audit("kind=token.issued&outcome=allowed")
                .await
                .remove(0);
            assert_eq!(record["details"]["bearerAllowed"], json!(true));
        }
        let bound = prove(&app, &agent.key, 1, DELEGATE, own(&below))
            .await
            .expect(200);
        let leaf = opened(&app, &text(&bound)).await;
        assert_eq!(leaf.bound_to, Some(key(1).thumbprint()));
        assert!(
            leaf.authority
                .all_marks()
                .any(|mark| mark.handle == key(1).thumbprint().handle())
        );
        // A thief of its opaque key binds nothing to a key of the thief's own.
        let other = prove(&app, &agent.key, 2, DELEGATE, search()).await;
        assert_eq!(other.status, 403, "{other}");
        // With a key of its own the agent below is asked for no other.
        ask(&app, &below.key, own(&below)).await.expect(200);
    }
}

#[tokio::test]
async fn what_a_bound_agent_has_another_make_is_bound_to_that_ones_key() {
    let (app, user, agent) = world(json!({})).await;
    let receiver = app.agent(&user, may(&["*"], "other:thing")).await;
    let mut body = search();
    body["agent"] = json!(receiver.id);
    assert_eq!(ask(&app, &agent.key, body.clone()).await.status, 409);
    let promise = prove(&app, &agent.key, 1, DELEGATE, body.clone())
        .await
        .expect(200);
    let path = format!("{DELEGATE}/{}/token", promise.text_at("/data/delegationId"));
    let bare = app.call(&receiver.key).post(&path, json!({})).await;
    assert_eq!((bare.status, bare.code()), (409, "conflict"), "{bare}");
    let token = prove(&app, &receiver.key, 2, &path, json!({}))
        .await
        .expect(200);
    let leaf = opened(&app, &text(&token)).await;
    assert_eq!(leaf.bound_to, Some(key(2).thumbprint()));
    // The key of its giver kills it.
    judged_revoked_after(&app, &text(&token), async || {
        let change = json!({ "proofKey": jwk(3) });
        app.operator()
            .patch(&path_of(&agent), change)
            .await
            .expect(200);
    })
    .await;
    // The twin: what comes from an agent without one.
    let free = app.agent(&user, may(&["*"], "tools:call:*")).await;
    let promise = ask(&app, &free.key, body).await.expect(200);
    let path = format!("{DELEGATE}/{}/token", promise.text_at("/data/delegationId"));
    app.call(&receiver.key)
        .post(&path, json!({}))
        .await
        .expect(200);
}

/// A tool server's own question about a call that came with a token, and what it says of the proof.
async fn question(app: &TestApp, server: &str, token: &str, proven: Option<SigningKey>) -> Reply {
    let mut body = json!({ "token": token, "action": "call", "resource": "tools:call:search" });
    if let Some(key) = proven {
        body["proven"] = json!(key.thumbprint());
    }
    app.call(server).post("/api/v1/authorize", body).await
}

#[tokio::test]
async fn a_tool_server_that_asks_about_a_bound_token_says_which_key_was_proved() {
    let app = crate::start().await;
    let server = register(&app, json!({})).await;
    let agent = app
        .agent(&app.user().await, may(&["*"], "tools:call:*"))
        .await;
    let bound = text(
        &prove(&app, &agent.key, 1, DELEGATE, own(&agent))
            .await
            .expect(200),
    );
    for (proven, code) in [(None, "proof_missing"), (Some(key(2)), "proof_invalid")] {
        let refused = question(&app, &server, &bound, proven).await;
        assert_eq!(
            (refused.status, refused.field()),
            (400, "proven"),
            "{refused}"
        );
        assert!(refused.message().contains(code), "{refused}");
    }
    let allowed = question(&app, &server, &bound, Some(key(1))).await;
    allowed.decided("allowed");
    // The twin: a bearer token, of which no key can have been proved.
    let bearer = text(&ask(&app, &agent.key, own(&agent)).await.expect(200));
    question(&app, &server, &bearer, None)
        .await
        .decided("allowed");
    let refused = question(&app, &server, &bearer, Some(key(1))).await;
    assert!(refused.message().contains("proof_invalid"), "{refused}");
    let none = json!({ "agentId": agent.id, "action": "call", "resource": "tools:call:search", "proven": key(1).thumbprint() });
    let none = app.call(&server).post("/api/v1/authorize", none).await;
    assert_eq!((none.status, none.field()), (400, "proven"));
}

#[tokio::test]
async fn a_proof_key_moves_with_its_agent_and_only_with_its_own_handle() {
    let (old, _, agent) = world(json!({})).await;
    let file = export(&old.operator()).await;
    let new = crate::setup().seeded(7).start().await;
    let mut lines = body(&file);
    let wrong = lines
        .iter_mut()
        .find(|line| line.contains("\"proofHandle\":\"06"));
    let wrong = wrong.unwrap();
    let at = wrong.find("\"proofHandle\":\"06").unwrap() + "\"proofHandle\":\"06".len();
    let other = if wrong.get(at..).unwrap().starts_with("0") {
        "1"
    } else {
        "0"
    };
    wrong.replace_range(at..=at, other);
    let refused = import(&new.operator(), &sealed(&lines)).await;
    assert!(refused.message().contains("proofHandle"), "{refused}");
    // The twin: the file as it is.
    import(&new.operator(), &file).await.expect(200);
    let moved = new
        .call(old.operator_key())
        .get(&path_of(&agent))
        .await
        .expect(200);
    assert_eq!(moved.at("/data/proofKey/kid"), &json!(key(1).thumbprint()));
}

/// Without its proof key an agent's own credential does alone: that is as giving one.
#[tokio::test]
async fn nobody_takes_the_proof_key_of_an_agent_above_their_ceiling() {
    let (app, _, agent) = world(json!({})).await;
    for (resource, status) in [("tools:call:search", 403), ("tools:call:*", 200)] {
        let bounded =
            json!({ "name": "k", "scopes": ["agents:write"], "ceiling": may(&["*"], resource) });
        let bounded = app.key(bounded).await;
        let change = json!({ "proofKey": null });
        let reply = app.call(&bounded).patch(&path_of(&agent), change).await;
        assert_eq!(reply.status, status, "{reply}");
    }
}

const AGENTS: &str = "/api/v1/agents";
const DELEGATIONS: &str = "/api/v1/delegations";
const KEY_PROOF: &str = "kavach-key-proof";

fn below(owner: &TestAgent) -> Value {
    json!({
        "ownerId": owner.id, "name": "below", "type": "service", "permissions": may(&["*"], "tools:call:search"),
    })
}

fn gift(from: &TestAgent, to: &TestAgent) -> Value {
    json!({
        "from": from.id, "to": to.id, "permissions": may(&["*"], "tools:call:search"), "reason": "to search",
    })
}

/// Or whoever has stolen the agent's own key would make an agent of it that proves nothing.
#[tokio::test]
async fn an_agent_with_a_proof_key_hands_nothing_on_without_a_proof() {
    let (app, user, agent) = world(json!({})).await;
    let other = app.agent(&user, may(&["*"], "other:thing")).await;
    let free = app.agent(&user, may(&["*"], "tools:call:*")).await;
    for (path, of_bound, of_free) in [
        (AGENTS, below(&agent), below(&free)),
        (DELEGATIONS, gift(&agent, &other), gift(&free, &other)),
    ] {
        let made = async || {
            let kind = if path == AGENTS {
                "agent"
            } else {
                "delegation"
            };
            let made = format!("kind={kind}.created&outcome=allowed");
            app.audit(&made).await.len()
        };
        let before = made().await;
        let call = app.call(&agent.key);
        let bare = call.post(path, of_bound.clone()).await;
        assert_eq!((bare.status, bare.code()), (409, "conflict"), "{bare}");
        assert!(bare.message().contains("`DPoP`"), "{bare}");
        let thief = prove(&app, &agent.key, 2, path, of_bound.clone()).await;
        assert_eq!((thief.status, thief.code()), (403, "forbidden"), "{thief}");
        let broken = call.clone().header("dpop", "a.b.c");
        let broken = broken.post(path, of_bound.clone()).await;
        assert_eq!((broken.status, broken.field()), (400, "DPoP"));
        // A proof of the same key for another route.
        let elsewhere = call.clone().header("dpop", &proof(&app, 1, DELEGATE));
        let elsewhere = elsewhere.post(path, of_bound.clone()).await;
        assert_eq!((elsewhere.status, elsewhere.field()), (400, "DPoP"));
        assert_eq!(made().await, before);
        let refused = app.audit("outcome=denied").await;
        assert_eq!(refused[0]["code"], "forbidden");
        assert_eq!(refused[1]["code"], "conflict");
        // Whoever holds the key does, once for each proof.
        let held = call.clone().header("dpop", &proof(&app, 1, path));
        held.post(path, of_bound.clone()).await.expect(201);
        let again = held.post(path, of_bound.clone()).await;
        assert_eq!((again.status, again.code()), (403, "forbidden"));
        assert_eq!(made().await, before + 1);
        // The twins: an agent without a proof key, and an operator.
        let reply = app.call(&free.key).post(path, of_free).await;
        reply.expect(201);
        app.operator().post(path, of_bound).await.expect(201);
    }
}

#[tokio::test]
async fn what_was_done_once_is_told_again_without_another_proof() {
    let (app, _, agent) = world(json!({})).await;
    let call = app.call(&agent.key).header("idempotency-key", "one");
    let proven = call.clone().header("dpop", &proof(&app, 1, AGENTS));
    let made = proven.post(AGENTS, below(&agent)).await.expect(201);
    for call in [&proven, &call] {
        let again = call.post(AGENTS, below(&agent)).await;
        assert_eq!((again.status, again.id()), (201, made.id()), "{again}");
        assert_eq!(again.at("/data/replayed"), true);
        assert!(again.at("/data/token").is_null());
    }
    // The twin: another request.
    let other = app.call(&agent.key).header("idempotency-key", "two");
    assert_eq!(other.post(AGENTS, below(&agent)).await.status, 409);
}

#[tokio::test]
async fn an_agent_registers_a_key_that_it_proves_to_hold() {
    let (app, user, bound) = world(json!({})).await;
    let free = app.agent(&user, may(&["*"], "tools:call:*")).await;
    let with = |owner: &TestAgent, seed: u8| {
        let mut body = below(owner);
        body["proofKey"] = jwk(seed);
        body
    };
    let call = app.call(&free.key);
    // Of one that is registered it learns no more than of any other.
    let bare = async |seed| call.post(AGENTS, with(&free, seed)).await;
    let (unknown, known) = (bare(5).await, bare(1).await);
    for reply in [&unknown, &known] {
        assert_eq!((reply.status, reply.code()), (409, "conflict"), "{reply}");
        assert!(reply.message().contains("`Kavach-Key-Proof`"), "{reply}");
    }
    assert_eq!(unknown.message(), known.message());
    let proven = |seed| call.clone().header(KEY_PROOF, &proof(&app, seed, AGENTS));
    for seed in [5, 1] {
        // Somebody's key, and a proof of the sender's own.
        let other = proven(6).post(AGENTS, with(&free, seed)).await;
        assert_eq!((other.status, other.code()), (403, "forbidden"), "{other}");
    }
    // The proof of the caller's own key is no proof of this one.
    let misplaced = prove(&app, &free.key, 5, AGENTS, with(&free, 5)).await;
    assert_eq!(misplaced.status, 409, "{misplaced}");
    let held = proven(5);
    held.post(AGENTS, with(&free, 5)).await.expect(201);
    let again = held.post(AGENTS, with(&free, 5)).await;
    assert_eq!((again.status, again.code()), (403, "forbidden"));
    // An agent that proves a key of its own proves both.
    let call = app
        .call(&bound.key)
        .header(KEY_PROOF, &proof(&app, 7, AGENTS));
    assert_eq!(call.post(AGENTS, with(&bound, 7)).await.status, 409);
    let both = call.clone().header("dpop", &proof(&app, 1, AGENTS));
    let made = both.post(AGENTS, with(&bound, 7)).await.expect(201);
    assert_eq!(made.at("/data/proofKey/kid"), &json!(key(7).thumbprint()));
    // The twin: an operator is believed.
    let operator = app.operator().post(AGENTS, with(&free, 8)).await;
    operator.expect(201);
}

#[tokio::test]
async fn a_proof_of_a_key_that_is_not_registered_is_refused_and_so_is_one_for_two() {
    let (app, user, _) = world(json!({})).await;
    let free = app.agent(&user, may(&["*"], "tools:call:*")).await;
    let text = proof(&app, 5, AGENTS);
    let call = app.call(&free.key);
    let one = call.clone().header(KEY_PROOF, &text);
    let mut body = below(&free);
    let of_nothing = one.post(AGENTS, body.clone()).await;
    body["proofKey"] = jwk(5);
    let twice = one.clone().header("dpop", &text);
    let twice = twice.post(AGENTS, body.clone()).await;
    let two = one.clone().header(KEY_PROOF, &text);
    let two = two.post(AGENTS, body.clone()).await;
    let broken = call.clone().header(KEY_PROOF, "a.b.c");
    let broken = broken.post(AGENTS, body.clone()).await;
    for reply in [of_nothing, twice, two, broken] {
        let told = (reply.status, reply.field());
        assert_eq!(told, (400, "Kavach-Key-Proof"), "{reply}");
    }
    // The twin: none of these used it up.
    one.post(AGENTS, body).await.expect(201);
}
