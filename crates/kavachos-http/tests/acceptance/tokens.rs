//! Tokens: made of what the caller holds, for one tool server, for minutes, on record, and checked by whoever has the
//! published keys.

use std::time::Duration;

use kavachos_core::revocation::LiveSet;
use kavachos_core::time::Timestamp;
use kavachos_core::token::{
    Algorithm, Code, Failure, KeySet, Leaf, Presented, Proof, ProofRequest, Scheme, SigningKey,
    Verification,
};
use kavachos_core::tool_server;
use kavachos_test::{Reply, TestAgent, TestApp, may, may_under};
use serde_json::{Value, json};

pub(crate) const DELEGATE: &str = "/api/v1/delegate";
pub(crate) const TOOLS: &str = "https://tools.example.com/mcp";

/// Registers a tool server; its key.
pub(crate) async fn register(app: &TestApp, policy: Value) -> String {
    let mut server = json!({
        "audience": TOOLS, "name": "tools", "party": "first", "kind": "kavach",
        "scopes": [{ "name": "tools:call:*", "description": "call tools" }],
    });
    for (name, value) in policy.as_object().unwrap() {
        server[name] = value.clone();
    }
    let made = app
        .operator()
        .post("/api/v1/resources", server)
        .await
        .expect(201);
    made.text_at("/data/token").to_owned()
}

/// A tool server, a human, an orchestrator that may call every tool, and a researcher that may search.
pub(crate) async fn world(policy: Value) -> (TestApp, TestAgent, TestAgent, String) {
    let app = crate::start().await;
    register(&app, policy).await;
    let user = app.user().await;
    let orchestrator = app.agent(&user, may(&["*"], "tools:call:*")).await;
    let researcher = app.agent(&user, may(&["*"], "other:thing")).await;
    app.delegate(
        &orchestrator.id,
        &researcher.id,
        may(&["*"], "tools:call:search"),
    )
    .await
    .expect(201);
    (app, orchestrator, researcher, user)
}

pub(crate) fn search() -> Value {
    json!({ "audience": TOOLS, "scopes": ["tools:call:search"], "reason": "find sources" })
}

/// For the agent itself.
pub(crate) fn own(agent: &TestAgent) -> Value {
    let mut body = search();
    body["agent"] = json!(agent.id);
    body
}

pub(crate) async fn ask(app: &TestApp, key: &str, body: Value) -> Reply {
    app.call(key).post(DELEGATE, body).await
}

pub(crate) async fn keys(app: &TestApp) -> KeySet {
    let reply = app
        .anonymous()
        .get("/.well-known/jwks.json")
        .await
        .expect(200);
    KeySet::from_jwks(reply.text.as_bytes()).unwrap()
}

pub(crate) fn issuer(app: &TestApp) -> kavachos_core::token::Issuer {
    app.kavach().engine().settings().issuer.clone()
}

pub(crate) async fn opened(app: &TestApp, token: &str) -> Leaf {
    Leaf::open(token, &issuer(app), &keys(app).await).unwrap()
}

/// What a tool server makes of a token now, with all that was killed in its set.
pub(crate) async fn judged(app: &TestApp, token: &str) -> Result<(), Failure> {
    judged_at(app, token, TOOLS).await
}

/// The same of another tool server.
pub(crate) async fn judged_at(app: &TestApp, token: &str, audience: &str) -> Result<(), Failure> {
    let mut live = LiveSet::new(app.head().epoch);
    let records = app
        .operator()
        .get("/api/v1/revocations?since=0")
        .await
        .expect(200);
    for record in records.at("/data/records").as_array().unwrap() {
        live.apply(
            serde_json::from_value::<kavachos_core::revocation::Record>(record.clone())
                .unwrap()
                .kill,
        );
    }
    let verification = Verification {
        issuer: &issuer(app),
        keys: &keys(app).await,
        audience: &audience.parse().unwrap(),
        proof: tool_server::Proof::Optional,
        revocations: Some(&live),
    };
    let shown = Presented {
        token,
        scheme: Scheme::Bearer,
        proof: None,
        request: ProofRequest::default(),
    };
    verification.verify(&shown, now(app)).map(drop)
}

pub(crate) fn now(app: &TestApp) -> Timestamp {
    app.kavach().engine().now()
}

#[tokio::test]
async fn a_token_carries_the_whole_chain_and_anyone_can_check_it() {
    let (app, orchestrator, researcher, user) = world(json!({})).await;
    let reply = ask(&app, &researcher.key, own(&researcher))
        .await
        .expect(200);
    let token = reply.text_at("/data/token").to_owned();
    judged(&app, &token).await.unwrap();
    let leaf = opened(&app, &token).await;
    assert_eq!(leaf.audience.as_str(), TOOLS);
    assert_eq!(leaf.authority.subject.as_str(), user);
    let chain: Vec<String> = leaf
        .authority
        .chain
        .iter()
        .map(|hop| hop.id.to_string())
        .collect();
    assert_eq!(chain, [orchestrator.id.clone(), researcher.id.clone()]);
    assert_eq!(leaf.authority.reason, "find sources");
    assert_eq!(
        leaf.life.expires_at.since(leaf.life.issued_at),
        Duration::from_secs(300)
    );
    assert_eq!(reply.text_at("/data/agent"), researcher.id);
    assert_eq!(reply.text_at("/data/tokenType"), "Bearer");
    // The registered scope is wider, so a server that looks at scopes alone is told nothing.
    assert_eq!(reply.text_at("/data/scope"), "kavach:limited");
}

/// A tool server's own question about a call that came with a token.
pub(crate) async fn decide(app: &TestApp, key: &str, token: &str, tool: &str) -> Reply {
    let resource = format!("tools:call:{tool}");
    let question = json!({ "token": token, "action": "call", "resource": resource });
    app.call(key).post("/api/v1/authorize", question).await
}

#[tokio::test]
async fn a_tool_server_asks_about_a_token_and_only_what_the_token_carries_counts() {
    let app = crate::start().await;
    let server = register(&app, json!({})).await;
    let user = app.user().await;
    let limited = may_under(&["*"], "tools:call:*", json!({ "maxCallsPerHour": 2 }));
    let agent = app.agent(&user, limited).await;
    let token = ask(&app, &agent.key, own(&agent)).await.expect(200);
    let token = token.text_at("/data/token");
    decide(&app, &server, token, "search")
        .await
        .decided("allowed");
    // What the agent may do, and this token not.
    decide(&app, &server, token, "fetch")
        .await
        .decided("permission_denied");
    app.decide(&agent.id, "call", "tools:call:fetch")
        .await
        .decided("allowed");
    // The rate of the grant counts over all its tokens and calls.
    decide(&app, &server, token, "search")
        .await
        .decided("rate_limited");
    let records = app.audit("kind=decision").await;
    assert_eq!(records.len(), 4);
    app.operator()
        .post(&format!("/api/v1/agents/{}/rotate", agent.id), json!({}))
        .await
        .expect(201);
    decide(&app, &server, token, "search")
        .await
        .decided("key_revoked");
}

#[tokio::test]
async fn nobody_but_its_tool_server_asks_about_a_token_and_none_about_another_agent() {
    let app = crate::start().await;
    let server = register(&app, json!({})).await;
    let agent = app
        .agent(&app.user().await, may(&["*"], "tools:call:*"))
        .await;
    let token = ask(&app, &agent.key, own(&agent)).await.expect(200);
    let token = token.text_at("/data/token").to_owned();
    let other = register(&app, json!({ "audience": "https://other.example.com" })).await;
    assert_eq!(
        decide(&app, &other, &token, "search").await.field(),
        "token"
    );
    assert_eq!(
        decide(&app, &agent.key, &token, "search").await.code(),
        "forbidden"
    );
    assert_eq!(
        decide(&app, app.operator_key(), &token, "search")
            .await
            .code(),
        "forbidden"
    );
    let mut forged = token.clone();
    let other_digit = if token.as_bytes()[60] == b'A' {
        "B"
    } else {
        "A"
    };
    forged.replace_range(60..61, other_digit);
    assert_eq!(
        decide(&app, &server, &forged, "search").await.field(),
        "token"
    );
    let both = json!({ "token": token, "agentId": agent.id, "action": "call", "resource": "tools:call:search" });
    assert_eq!(
        app.call(&server)
            .post("/api/v1/authorize", both.clone())
            .await
            .field(),
        "token"
    );
    let batch = json!({ "requests": [{ "token": token, "action": "call", "resource": "tools:call:search" }] });
    let batch = app
        .call(&server)
        .post("/api/v1/authorize/batch", batch)
        .await;
    assert_eq!(batch.field(), "requests[0].token");
    // The twin, and the end of its time.
    decide(&app, &server, &token, "search")
        .await
        .decided("allowed");
    app.clock().advance(Duration::from_secs(300));
    decide(&app, &server, &token, "search")
        .await
        .decided("key_expired");
}

#[tokio::test]
async fn the_metadata_names_the_issuer_of_the_tokens_and_its_keys() {
    let (app, _, researcher, _) = world(json!({})).await;
    let path = "/.well-known/oauth-authorization-server";
    let metadata = app.anonymous().get(path).await.expect(200);
    let token = ask(&app, &researcher.key, own(&researcher))
        .await
        .expect(200);
    let leaf = opened(&app, token.text_at("/data/token")).await;
    assert_eq!(metadata.text_at("/issuer"), leaf.issuer.as_str());
    let keys = format!("{}/.well-known/jwks.json", leaf.issuer);
    assert_eq!(metadata.text_at("/jwks_uri"), keys);
}

/// The six signals of a healthy token, each on record.
#[tokio::test]
async fn the_six_signals_of_a_token_are_on_record() {
    let (app, orchestrator, researcher, _) = world(json!({})).await;
    let reply = ask(&app, &researcher.key, own(&researcher))
        .await
        .expect(200);
    let record = app.audit("kind=token.issued").await.remove(0);
    assert_eq!(record["details"]["token"], reply.text_at("/data/id"));
    // Parent subject, and chain.
    assert!(record["subject"].as_str().is_some());
    assert_eq!(record["agent"], researcher.id.as_str());
    assert_eq!(record["chain"], json!([orchestrator.id]));
    assert_eq!(record["grantPath"].as_array().unwrap().len(), 2);
    // Scope subset.
    assert_eq!(
        record["scopeDelta"],
        json!({ "held": ["tools:call:search"], "given": ["tools:call:search"] })
    );
    // Audience bound, short life.
    assert_eq!(record["details"]["audience"], TOOLS);
    assert_eq!(
        record["details"]["expiresAt"],
        reply.text_at("/data/expiresAt")
    );
    // Every hop with a reason.
    assert_eq!(record["reason"], "find sources");
    let hop = app.audit("kind=delegation.created").await.remove(0);
    assert!(hop["reason"].as_str().is_some());
    // Kill the parent.
    let token = reply.text_at("/data/token").to_owned();
    judged(&app, &token).await.unwrap();
    app.operator()
        .delete(&format!("/api/v1/agents/{}", orchestrator.id))
        .await
        .expect(200);
    assert_eq!(judged(&app, &token).await.unwrap_err().code, Code::Revoked);
}

#[tokio::test]
async fn whatever_a_token_comes_from_kills_it() {
    for kill in ["user", "grant", "agent", "key", "session", "narrow"] {
        let (app, orchestrator, _, user) = world(json!({})).await;
        let session = app.session(&user).await;
        let body = json!({ "audience": TOOLS, "scopes": ["tools:call:search"], "reason": "r", "agent": orchestrator.id });
        let caller = if kill == "session" {
            &session.token
        } else {
            &orchestrator.key
        };
        let reply = ask(&app, caller, body).await.expect(200);
        let token = reply.text_at("/data/token").to_owned();
        judged(&app, &token).await.unwrap();
        let agent = format!("/api/v1/agents/{}", orchestrator.id);
        let operator = app.operator();
        match kill {
            "user" => operator
                .post(&format!("/api/v1/users/{user}/ban"), json!({}))
                .await
                .expect(200),
            "grant" | "narrow" => {
                let less = json!({ "permissions": may(&["*"], "tools:call:fetch") });
                operator.patch(&agent, less).await.expect(200)
            }
            "agent" => operator
                .post(&format!("{agent}/suspend"), json!({}))
                .await
                .expect(200),
            "key" => operator
                .post(&format!("{agent}/rotate"), json!({}))
                .await
                .expect(201),
            _ => operator
                .delete(&format!("/api/v1/sessions/{}", session.id))
                .await
                .expect(200),
        };
        let failure = judged(&app, &token).await.unwrap_err();
        assert_eq!(failure.code, Code::Revoked, "{kill}");
    }
}

#[tokio::test]
async fn a_token_permits_no_more_than_its_chain_and_its_tool_server() {
    let (app, orchestrator, researcher, _) = world(json!({})).await;
    let with = |member: &str, value: Value| {
        let mut body = own(&orchestrator);
        body[member] = value;
        body
    };
    let mut wide = own(&researcher);
    wide["scopes"] = json!(["tools:call:*"]);
    let wide = ask(&app, &researcher.key, wide).await;
    assert_eq!((wide.status, wide.code()), (403, "not_narrower"));
    // The twin: whoever holds it gets it.
    ask(
        &app,
        &orchestrator.key,
        with("scopes", json!(["tools:call:*"])),
    )
    .await
    .expect(200);
    let outside = ask(
        &app,
        &orchestrator.key,
        with("scopes", json!(["mail:send"])),
    )
    .await;
    assert_eq!((outside.status, outside.code()), (403, "not_narrower"));
    let unknown = ask(
        &app,
        &orchestrator.key,
        with("audience", json!("https://other.example.com")),
    )
    .await;
    assert_eq!((unknown.status, unknown.code()), (404, "not_found"));
    for (member, value) in [
        ("reason", json!("")),
        ("audience", json!("tools")),
        ("scopes", json!([])),
        ("scopes", json!(["**"])),
        ("ttlSeconds", json!(0)),
        (
            "permissions",
            json!([{ "resource": "a", "actions": ["b"] }]),
        ),
        ("parent", json!(researcher.id)),
        ("admin", json!(true)),
    ] {
        let reply = ask(&app, &orchestrator.key, with(member, value)).await;
        assert_eq!(reply.status, 400, "{member}: {reply}");
    }
    let refused = app.audit("kind=token.issued&outcome=denied").await;
    assert_eq!(refused.len(), 3);
}

#[tokio::test]
async fn a_token_lives_no_longer_than_anything_that_it_comes_from() {
    let (app, orchestrator, _, user) = world(json!({ "maxTtlSeconds": 600 })).await;
    let lives = async |agent: &TestAgent, ttl: u64| {
        let mut body = own(agent);
        body["ttlSeconds"] = json!(ttl);
        let reply = ask(&app, &agent.key, body).await.expect(200);
        let leaf = opened(&app, reply.text_at("/data/token")).await;
        leaf.life.expires_at.since(leaf.life.issued_at).as_secs()
    };
    assert_eq!(lives(&orchestrator, 60).await, 60);
    assert_eq!(lives(&orchestrator, 86_400).await, 600);
    let short = app.agent(&user, may(&["*"], "tools:call:*")).await;
    let end = now(&app).plus(Duration::from_secs(120));
    let path = format!("/api/v1/agents/{}", short.id);
    app.operator()
        .patch(&path, json!({ "expiresAt": end }))
        .await
        .expect(200);
    assert_eq!(lives(&short, 600).await, 120);
}

#[tokio::test]
async fn a_human_gets_a_token_for_an_agent_that_exists_for_such_tokens_alone() {
    let (app, orchestrator, _, user) = world(json!({})).await;
    let session = app.session(&user).await;
    let first = ask(&app, &session.token, search()).await.expect(200);
    let second = ask(&app, &session.token, search()).await.expect(200);
    assert_eq!(first.text_at("/data/agent"), second.text_at("/data/agent"));
    let leaf = opened(&app, second.text_at("/data/token")).await;
    assert_eq!(
        (leaf.authority.depth(), leaf.authority.subject.as_str()),
        (0, user.as_str())
    );
    // Each token has a grant of its own, with its reason.
    assert_eq!(
        app.audit("kind=delegation.created").await[0]["reason"],
        "find sources"
    );
    judged(&app, second.text_at("/data/token")).await.unwrap();
    // A human who was here long ago may be somebody else by now.
    app.clock().advance(Duration::from_secs(601));
    let late = ask(&app, &session.token, search()).await;
    assert_eq!((late.status, late.code()), (403, "forbidden"));
    // The twin: freshness is asked of those who give anew, which is a root grant; what an agent holds already it has
    // from them when they were.
    ask(&app, &session.token, own(&orchestrator))
        .await
        .expect(200);
}

#[tokio::test]
async fn an_agent_gets_tokens_for_what_it_owns_and_none_of_anothers() {
    let (app, orchestrator, researcher, user) = world(json!({})).await;
    // Without `agent` it is one that exists for such tokens alone, below the caller.
    let anew = ask(&app, &orchestrator.key, search()).await.expect(200);
    assert_ne!(anew.text_at("/data/agent"), orchestrator.id);
    let leaf = opened(&app, anew.text_at("/data/token")).await;
    assert_eq!(leaf.authority.depth(), 1);
    let elsewhere = app.user().await;
    let strange = app.agent(&elsewhere, may(&["*"], "tools:call:*")).await;
    for (key, agent, status) in [
        (&researcher.key, &orchestrator.id, 403),
        (&researcher.key, &strange.id, 404),
        (&researcher.key, &researcher.id, 200),
    ] {
        let mut body = search();
        body["agent"] = json!(agent);
        assert_eq!(ask(&app, key, body).await.status, status);
    }
    let stranger = app.session(&app.user().await).await;
    let mut body = search();
    body["agent"] = json!(orchestrator.id);
    assert_eq!(ask(&app, &stranger.token, body.clone()).await.status, 404);
    let own = app.session(&user).await;
    ask(&app, &own.token, body.clone()).await.expect(200);
    let operator = app.operator();
    assert_eq!(operator.post(DELEGATE, body).await.code(), "forbidden");
}

#[tokio::test]
async fn a_third_party_learns_a_name_of_its_own_for_the_human_and_no_handle() {
    let (app, orchestrator, _, user) = world(json!({ "party": "third" })).await;
    let token = ask(&app, &orchestrator.key, own(&orchestrator))
        .await
        .expect(200);
    let leaf = opened(&app, token.text_at("/data/token")).await;
    assert!(leaf.authority.subject.as_str().starts_with("pair_"));
    assert!(leaf.authority.reason.starts_with("audit_"));
    let human = |mark: &kavachos_core::revocation::Mark| {
        mark.handle.kind == kavachos_core::revocation::HandleKind::User
    };
    assert!(!leaf.authority.all_marks().any(|mark| human(&mark)));
    // A ban reaches it all the same.
    let token = token.text_at("/data/token").to_owned();
    judged(&app, &token).await.unwrap();
    app.operator()
        .post(&format!("/api/v1/users/{user}/ban"), json!({}))
        .await
        .expect(200);
    assert_eq!(judged(&app, &token).await.unwrap_err().code, Code::Revoked);
}

/// An operator who gives it an end or a key to prove takes it out of this use.
#[tokio::test]
async fn an_agent_that_exists_for_tokens_is_used_again_only_as_it_was_made() {
    let (app, orchestrator, ..) = world(json!({})).await;
    let made = async || {
        let reply = ask(&app, &orchestrator.key, search()).await.expect(200);
        reply.text_at("/data/agent").to_owned()
    };
    let first = made().await;
    // The twin: untouched it is used again.
    assert_eq!(made().await, first);
    let end = Timestamp::from_micros(now(&app).as_micros() + 1_000_000);
    let change = json!({ "expiresAt": end });
    let path = format!("/api/v1/agents/{first}");
    app.operator().patch(&path, change).await.expect(200);
    assert_ne!(made().await, first);
}

#[tokio::test]
async fn a_server_that_looks_at_scopes_alone_gets_only_what_scopes_say_exactly() {
    let (app, orchestrator, researcher, user) = world(json!({ "kind": "plain" })).await;
    let narrow = ask(&app, &researcher.key, own(&researcher)).await;
    assert_eq!((narrow.status, narrow.code()), (403, "not_narrower"));
    let whole = |agent: &TestAgent| json!({ "audience": TOOLS, "scopes": ["tools:call:*"], "reason": "r", "agent": agent.id });
    let reply = ask(&app, &orchestrator.key, whole(&orchestrator))
        .await
        .expect(200);
    assert_eq!(reply.text_at("/data/scope"), "tools:call:*");
    let local = json!({ "ipAllowlist": ["10.0.0.0/8"] });
    let bound = app
        .agent(&user, may_under(&["*"], "tools:call:*", local))
        .await;
    assert_eq!(
        ask(&app, &bound.key, whole(&bound)).await.code(),
        "not_narrower"
    );
}

fn proof(app: &TestApp, id: &str) -> (String, SigningKey) {
    proof_at(app, DELEGATE, (7, id))
}

/// A proof for one route, by the key of this seed.
pub(crate) fn proof_at(app: &TestApp, path: &str, (seed, id): (u8, &str)) -> (String, SigningKey) {
    let key = SigningKey::from_seed(Algorithm::Ed25519, &[seed; 32]).unwrap();
    let uri = format!("{}{path}", issuer(app));
    let request = ProofRequest {
        method: "POST",
        uri: &uri,
        ..ProofRequest::default()
    };
    (Proof::sign(&request, id, None, now(app), &key), key)
}

#[tokio::test]
async fn a_proof_binds_the_token_to_its_key_and_is_good_once() {
    let (app, orchestrator, _, _) = world(json!({ "proof": "dpop" })).await;
    let bare = ask(&app, &orchestrator.key, own(&orchestrator)).await;
    assert_eq!((bare.status, bare.code()), (409, "conflict"));
    let (text, key) = proof(&app, "one");
    let call = app.call(&orchestrator.key).header("dpop", &text);
    let reply = call.post(DELEGATE, own(&orchestrator)).await.expect(200);
    assert_eq!(reply.text_at("/data/tokenType"), "DPoP");
    let leaf = opened(&app, reply.text_at("/data/token")).await;
    assert_eq!(leaf.bound_to, Some(key.thumbprint()));
    let again = call.post(DELEGATE, own(&orchestrator)).await;
    assert_eq!((again.status, again.code()), (403, "forbidden"));
    // The twin: another proof is another one.
    let (other, _) = proof(&app, "two");
    app.call(&orchestrator.key)
        .header("dpop", &other)
        .post(DELEGATE, own(&orchestrator))
        .await
        .expect(200);
    let wrong = app
        .call(&orchestrator.key)
        .header("dpop", "a.b.c")
        .post(DELEGATE, own(&orchestrator))
        .await;
    assert_eq!((wrong.status, wrong.field()), (400, "DPoP"));
}

/// Sixty-four at once use one proof: one token.
#[tokio::test]
async fn a_proof_that_is_used_by_many_at_once_makes_one_token() {
    let (app, orchestrator, _, _) = world(json!({})).await;
    let (text, _) = proof(&app, "one");
    let call = app.call(&orchestrator.key).header("dpop", &text);
    let replies =
        futures_util::future::join_all((0..64).map(|_| call.post(DELEGATE, own(&orchestrator))))
            .await;
    let made = replies.iter().filter(|reply| reply.status == 200).count();
    assert_eq!(made, 1);
}

#[tokio::test]
async fn without_a_master_key_no_token_is_made_and_the_answer_says_why() {
    let app = crate::setup().without_master_key().start().await;
    register(&app, json!({})).await;
    let agent = app
        .agent(&app.user().await, may(&["*"], "tools:call:*"))
        .await;
    let reply = ask(&app, &agent.key, own(&agent)).await;
    assert_eq!((reply.status, reply.code()), (409, "conflict"));
    assert!(reply.text.contains("kavach init"), "{reply}");
}

#[tokio::test]
async fn agents_and_grants_for_tokens_count_like_all_others() {
    let few_agents = crate::setup()
        .settings(|settings| settings.agents_per_owner = 0)
        .start()
        .await;
    let few_grants = crate::setup()
        .settings(|settings| settings.grants_per_agent = 1)
        .start()
        .await;
    for (app, earlier, code) in [
        (few_agents, 0, "agent_limit_exceeded"),
        (few_grants, 1, "grant_limit_exceeded"),
    ] {
        register(&app, json!({})).await;
        let session = app.session(&app.user().await).await;
        for _ in 0..earlier {
            ask(&app, &session.token, search()).await.expect(200);
        }
        let reply = ask(&app, &session.token, search()).await;
        assert_eq!((reply.status, reply.code()), (422, code));
    }
}

#[tokio::test]
async fn below_the_deepest_grant_there_is_no_agent_for_tokens_but_a_token_for_the_agent_itself() {
    let app = crate::start().await;
    register(&app, json!({})).await;
    let user = app.user().await;
    let flat = json!({ "maxDepth": 0 });
    let agent = app
        .agent_with(&user, may(&["*"], "tools:call:*"), flat)
        .await;
    let reply = ask(&app, &agent.key, search()).await;
    assert_eq!((reply.status, reply.code()), (422, "depth_exceeded"));
    ask(&app, &agent.key, own(&agent)).await.expect(200);
    let stranger = app.anonymous().post(DELEGATE, search()).await;
    assert_eq!((stranger.status, stranger.code()), (401, "unauthenticated"));
}

/// Counters and approvals hang on grants: a token with its own would be one that nobody counts.
#[tokio::test]
async fn what_only_a_grant_can_keep_is_asked_of_a_grant() {
    let app = crate::start().await;
    let server = register(&app, json!({})).await;
    let user = app.user().await;
    let agent = app.agent(&user, may(&["*"], "tools:call:*")).await;
    for constraint in [
        json!({ "requireApproval": true }),
        json!({ "maxCallsPerHour": 1 }),
        json!({ "budget": { "amount": 1, "unit": "calls" } }),
    ] {
        let permissions = may_under(&["call"], "tools:call:search", constraint);
        let mut body = json!({ "audience": TOOLS, "permissions": permissions, "reason": "r", "agent": agent.id });
        assert_eq!(
            ask(&app, &agent.key, body.clone()).await.field(),
            "permissions"
        );
        // The twin: a grant of its own keeps it.
        body.as_object_mut().unwrap().remove("agent");
        let token = ask(&app, &agent.key, body).await.expect(200);
        let token = token.text_at("/data/token").to_owned();
        let first = decide(&app, &server, &token, "search").await;
        let second = decide(&app, &server, &token, "search").await;
        assert_ne!(second.code(), "allowed", "{first} {second}");
    }
    let many: Vec<String> = (0..65).map(|n| format!("tools:call:t{n}")).collect();
    let body = json!({ "audience": TOOLS, "scopes": many, "reason": "r", "agent": agent.id });
    assert_eq!(ask(&app, &agent.key, body).await.field(), "permissions");
}

#[tokio::test]
async fn a_token_dies_with_the_registration_of_its_tool_server() {
    let (app, orchestrator, _, _) = world(json!({})).await;
    let token = ask(&app, &orchestrator.key, own(&orchestrator))
        .await
        .expect(200);
    let token = token.text_at("/data/token").to_owned();
    judged(&app, &token).await.unwrap();
    let servers = app.operator().get("/api/v1/resources").await.expect(200);
    let path = format!(
        "/api/v1/resources/{}",
        servers.rows()[0]["id"].as_str().unwrap()
    );
    app.operator()
        .patch(&path, json!({ "maxTtlSeconds": 60 }))
        .await
        .expect(200);
    assert_eq!(judged(&app, &token).await.unwrap_err().code, Code::Revoked);
}

#[tokio::test]
async fn a_token_ends_with_the_owner_of_its_agent() {
    let app = crate::start().await;
    register(&app, json!({})).await;
    let user = app.user().await;
    let owner = app.agent(&user, may(&["*"], "tools:call:*")).await;
    let below = app.agent(&owner.id, may(&["*"], "tools:call:*")).await;
    let end = now(&app).plus(Duration::from_secs(90));
    let path = format!("/api/v1/agents/{}", owner.id);
    app.operator()
        .patch(&path, json!({ "expiresAt": end }))
        .await
        .expect(200);
    for body in [own(&below), search()] {
        let token = ask(&app, &below.key, body).await.expect(200);
        let leaf = opened(&app, token.text_at("/data/token")).await;
        assert_eq!(leaf.life.expires_at, end);
    }
}

#[tokio::test]
async fn an_agent_that_is_denied_too_often_by_its_tokens_is_only_counted() {
    let app = crate::setup()
        .settings(|settings| settings.denials_per_minute = 2)
        .start()
        .await;
    let server = register(&app, json!({})).await;
    let agent = app
        .agent(&app.user().await, may(&["*"], "tools:call:*"))
        .await;
    let token = ask(&app, &agent.key, own(&agent)).await.expect(200);
    let token = token.text_at("/data/token").to_owned();
    for _ in 0..2 {
        decide(&app, &server, &token, "fetch")
            .await
            .decided("permission_denied");
    }
    let third = decide(&app, &server, &token, "fetch").await;
    assert_eq!((third.status, third.code()), (429, "too_many_requests"));
}
