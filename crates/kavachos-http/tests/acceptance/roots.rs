//! Roots: asked for at `/oauth/token`, and exchanged there with a proof of their key, for what is narrower than they are.

use std::sync::atomic::{AtomicU64, Ordering};

use kavachos_core::revocation::LiveSet;
use kavachos_core::token::{Code, Presented, ProofRequest, Root, Scheme, Verification};
use kavachos_core::tool_server;
use kavachos_test::{Reply, TestAgent, TestApp, may};
use serde_json::{Value, json};

use crate::exchange::{AGENT_KEY, Ask, SESSION, TOKEN, proof, refused};
use crate::tokens::{TOOLS, issuer, judged, keys, now, opened, register};

pub(crate) const ROOT: &str = "urn:kavachos:params:oauth:token-type:root";
const LEAF: &str = "urn:ietf:params:oauth:token-type:access_token";
const MAIL: &str = "https://mail.example.com/mcp";

/// Two tool servers, and an agent that may call all of both and hand its tokens on.
async fn world(uses: Value) -> (TestApp, TestAgent, String) {
    let app = crate::start().await;
    register(&app, json!({})).await;
    let mail = json!({
        "audience": MAIL, "scopes": [{ "name": "mail:*", "description": "mail" }], "maxTtlSeconds": 600,
    });
    register(&app, mail).await;
    let user = app.user().await;
    let mut both = may(&["*"], "tools:call:*");
    let more = may(&["*"], "mail:*");
    both.as_array_mut()
        .unwrap()
        .extend(more.as_array().unwrap().clone());
    let agent = app.agent_with(&user, both, uses).await;
    (app, agent, user)
}

fn offline() -> Value {
    json!({ "offline": true })
}

/// A request with a proof by the key of this seed, made anew for each.
pub(crate) async fn prove(app: &TestApp, seed: u8, ask: &Ask<'_>) -> Reply {
    static MADE: AtomicU64 = AtomicU64::new(0);
    let id = MADE.fetch_add(1, Ordering::Relaxed).to_string();
    let (text, _) = proof(app, seed, &id);
    let call = app.anonymous().header("dpop", &text);
    call.post_form(TOKEN, &ask.0).await
}

/// Asking for a root for both tool servers.
fn for_root<'a>(ask: Ask<'a>) -> Ask<'a> {
    let mut ask = ask
        .with("requested_token_type", ROOT)
        .with("scope", "tools:call:* mail:send");
    ask.0.push(("resource", MAIL));
    ask
}

async fn root_of(app: &TestApp, agent: &TestAgent) -> String {
    let reply = prove(app, 7, &for_root(Ask::agent(agent))).await;
    reply.expect(200).text_at("/access_token").to_owned()
}

/// Showing a root, for a token to search with.
fn shown(root: &str) -> Ask<'_> {
    Ask::of(ROOT, root)
}

async fn read(app: &TestApp, root: &str) -> Root {
    Root::open(root, &issuer(app), &keys(app).await).unwrap()
}

#[tokio::test]
async fn a_root_is_made_for_an_agent_and_exchanged_for_a_token_that_is_bound_to_its_key() {
    let (app, agent, user) = world(offline()).await;
    let ask = for_root(Ask::agent(&agent));
    let reply = prove(&app, 7, &ask).await.expect(200);
    assert_eq!(reply.text_at("/issued_token_type"), ROOT);
    assert_eq!(reply.text_at("/token_type"), "N_A");
    assert_eq!(reply.at("/expires_in"), &json!(900));
    assert!(reply.at("/scope").is_null());
    let text = reply.text_at("/access_token");
    let root = read(&app, text).await;
    let (_, key) = proof(&app, 7, "unused");
    assert_eq!(&root.key, key.public());
    let reach: Vec<&str> = root.reach.iter().map(|one| one.as_str()).collect();
    assert_eq!(reach, [MAIL, TOOLS]);
    assert_eq!(root.authority.subject.as_str(), user);
    let token = prove(&app, 7, &shown(text)).await.expect(200);
    assert_eq!(token.text_at("/issued_token_type"), LEAF);
    assert_eq!(token.text_at("/token_type"), "DPoP");
    let leaf = opened(&app, token.text_at("/access_token")).await;
    assert_eq!(leaf.bound_to, Some(key.thumbprint()));
    assert_eq!(leaf.authority.chain, root.authority.chain);
    assert_eq!(leaf.authority.agent(), root.authority.agent());
    // Both are on record, and the token names its root.
    let made = app.audit("kind=root.issued").await.remove(0);
    assert_eq!(made["details"]["token"], root.life.id.to_string());
    assert_eq!(made["details"]["reach"], json!([MAIL, TOOLS]));
    assert_eq!(made["reason"], "find sources");
    let used = app.audit("kind=token.issued").await.remove(0);
    assert_eq!(used["details"]["root"], root.life.id.to_string());
    assert_eq!(used["agent"], agent.id.as_str());
}

#[tokio::test]
async fn a_root_needs_grants_that_let_tokens_be_handed_on() {
    for (uses, allowed) in [(json!({}), false), (offline(), true)] {
        let (app, agent, _) = world(uses).await;
        let reply = prove(&app, 7, &for_root(Ask::agent(&agent))).await;
        match allowed {
            true => drop(reply.expect(200)),
            false => refused(&reply, "invalid_grant"),
        }
        // The twin: a token for a tool server needs nothing of the kind.
        Ask::agent(&agent).send(&app).await.expect(200);
    }
    // What is taken back takes the roots with it.
    let (app, agent, _) = world(offline()).await;
    let root = root_of(&app, &agent).await;
    prove(&app, 7, &shown(&root)).await.expect(200);
    let path = format!("/api/v1/agents/{}", agent.id);
    let less = json!({ "offline": false });
    app.operator().patch(&path, less).await.expect(200);
    refused(&prove(&app, 7, &shown(&root)).await, "invalid_grant");
}

#[tokio::test]
async fn a_root_reaches_neither_others_tool_servers_nor_critical_ones() {
    for policy in [json!({ "party": "third" }), json!({ "critical": true })] {
        let (app, agent, _) = world(offline()).await;
        let root = root_of(&app, &agent).await;
        let mut strange = json!({ "audience": "https://strange.example.com" });
        for (name, value) in policy.as_object().unwrap() {
            strange[name] = value.clone();
        }
        register(&app, strange).await;
        let mut ask = for_root(Ask::agent(&agent));
        ask.0.push(("resource", "https://strange.example.com"));
        refused(&prove(&app, 7, &ask).await, "invalid_target");
        // One that becomes so later is out of reach, too; the others are not.
        let servers = app.operator().get("/api/v1/resources").await.expect(200);
        let row = |row: &&Value| row["audience"] == TOOLS;
        let id = servers.rows().iter().find(row).unwrap()["id"].clone();
        let path = format!("/api/v1/resources/{}", id.as_str().unwrap());
        prove(&app, 7, &shown(&root)).await.expect(200);
        app.operator().patch(&path, policy).await.expect(200);
        refused(&prove(&app, 7, &shown(&root)).await, "invalid_target");
        let mail = shown(&root)
            .with("audience", MAIL)
            .with("scope", "mail:send");
        prove(&app, 7, &mail).await.expect(200);
    }
}

#[tokio::test]
async fn a_root_is_worth_nothing_without_a_proof_of_its_key() {
    let (app, agent, _) = world(offline()).await;
    refused(
        &for_root(Ask::agent(&agent)).send(&app).await,
        "invalid_dpop_proof",
    );
    let root = root_of(&app, &agent).await;
    refused(&shown(&root).send(&app).await, "invalid_dpop_proof");
    // By another key.
    refused(&prove(&app, 8, &shown(&root)).await, "invalid_dpop_proof");
    // By its own key, once.
    let (text, _) = proof(&app, 7, "once");
    let call = app.anonymous().header("dpop", &text);
    call.post_form(TOKEN, &shown(&root).0).await.expect(200);
    let again = call.post_form(TOKEN, &shown(&root).0).await;
    refused(&again, "invalid_dpop_proof");
}

/// Whoever tries with a root that was found in a log, without its key, or with one that is over, is on record under the
/// agent whose root it is.
#[tokio::test]
async fn whoever_shows_a_root_that_is_not_theirs_is_on_record_under_its_agent() {
    let (app, agent, _) = world(offline()).await;
    let root = root_of(&app, &agent).await;
    let noted = async || {
        // A refusal does not wait for its record; what is done after it does.
        app.user().await;
        let records = app.audit("kind=refusal").await;
        let noted = records.iter().map(|record| {
            assert_eq!(record["outcome"], "denied");
            let code = record["code"].as_str().unwrap();
            (code.to_owned(), record["agent"] == agent.id.as_str())
        });
        noted.collect::<Vec<_>>()
    };
    // The twin: with its key nothing is noted.
    prove(&app, 7, &shown(&root)).await.expect(200);
    assert_eq!(noted().await, []);
    let told = |code: &str, agents: bool| (code.to_owned(), agents);
    refused(&shown(&root).send(&app).await, "invalid_dpop_proof");
    assert_eq!(noted().await, [told("proof_missing", true)]);
    refused(&prove(&app, 8, &shown(&root)).await, "invalid_dpop_proof");
    assert_eq!(noted().await[0], told("proof_invalid", true));
    // What we did not sign names nobody: anyone could have written the name there.
    let (cut, _) = root.split_at(root.len() - 4);
    let forged = format!("{cut}AAAA");
    refused(&prove(&app, 7, &shown(&forged)).await, "invalid_grant");
    assert_eq!(noted().await[0], told("unauthenticated", false));
    app.advance(900);
    refused(&prove(&app, 7, &shown(&root)).await, "invalid_grant");
    assert_eq!(noted().await[0], told("expired", true));
    // Beyond ten a minute they are counted, and nothing waits for it.
    for _ in 0..12 {
        refused(&shown(&root).send(&app).await, "invalid_grant");
    }
    assert_eq!(noted().await.len(), 4 + 9);
    app.kavach().engine().flush_refusals().await;
    let counted = app.audit("kind=refusals").await;
    assert_eq!(counted.len(), 1);
    assert_eq!(counted[0]["code"], "expired");
    assert_eq!(counted[0]["details"]["count"], 3);
}

/// Sixty-four at once show a root with one proof: one token.
#[tokio::test]
async fn a_proof_of_a_root_that_is_used_by_many_at_once_makes_one_token() {
    let (app, agent, _) = world(offline()).await;
    let root = root_of(&app, &agent).await;
    let (text, _) = proof(&app, 7, "one");
    let call = app.anonymous().header("dpop", &text);
    let ask = shown(&root).0;
    let replies = futures_util::future::join_all((0..64).map(|_| call.post_form(TOKEN, &ask)));
    let replies = replies.await;
    let made = replies.iter().filter(|reply| reply.status == 200).count();
    assert_eq!(made, 1);
}

/// Lessons C 78: upscope, with a root.
#[tokio::test]
async fn what_a_root_is_exchanged_for_is_narrower_than_the_root() {
    let (app, agent, _) = world(offline()).await;
    let narrow = Ask::agent(&agent).with("requested_token_type", ROOT);
    let narrow = prove(&app, 7, &narrow.with("ttl_seconds", "120")).await;
    let narrow = narrow.expect(200).text_at("/access_token").to_owned();
    let wide = root_of(&app, &agent).await;
    // Authority: the agent holds it, this root does not.
    let fetch = |root| shown(root).with("scope", "tools:call:fetch");
    refused(&prove(&app, 7, &fetch(&narrow)).await, "invalid_scope");
    prove(&app, 7, &fetch(&wide)).await.expect(200);
    // Reach.
    let mail = |root| {
        shown(root)
            .with("audience", MAIL)
            .with("scope", "mail:send")
    };
    refused(&prove(&app, 7, &mail(&narrow)).await, "invalid_target");
    prove(&app, 7, &mail(&wide)).await.expect(200);
    // Life: the tool server lets tokens live longer than this root.
    let short = prove(&app, 7, &shown(&narrow)).await.expect(200);
    assert_eq!(short.at("/expires_in"), &json!(120));
    let long = prove(&app, 7, &shown(&wide)).await.expect(200);
    assert_eq!(long.at("/expires_in"), &json!(300));
}

#[tokio::test]
async fn a_root_is_exchanged_for_a_narrower_root_and_for_no_wider_one() {
    let (app, agent, _) = world(offline()).await;
    let wide = root_of(&app, &agent).await;
    app.advance(600);
    let narrower = shown(&wide).with("requested_token_type", ROOT);
    let reply = prove(&app, 7, &narrower).await.expect(200);
    assert_eq!(reply.at("/expires_in"), &json!(300));
    let narrow = reply.text_at("/access_token").to_owned();
    let made = app.audit("kind=root.issued").await;
    assert_eq!(made[0]["details"]["root"], made[1]["details"]["token"]);
    prove(&app, 7, &shown(&narrow)).await.expect(200);
    let fetch = shown(&narrow).with("scope", "tools:call:fetch");
    refused(&prove(&app, 7, &fetch).await, "invalid_scope");
    let wider = for_root(shown(&narrow)).with("scope", "tools:call:search");
    refused(&prove(&app, 7, &wider).await, "invalid_target");
    // The twin: from the wide one.
    let same = for_root(shown(&wide)).with("scope", "tools:call:search");
    prove(&app, 7, &same).await.expect(200);
    // And its end is the end of what was made of it.
    app.advance(300);
    for root in [&wide, &narrow] {
        refused(&prove(&app, 7, &shown(root)).await, "invalid_grant");
    }
}

/// Lessons C 78: a subject that was revoked.
#[tokio::test]
async fn whatever_a_root_comes_from_kills_it_at_once() {
    for kill in [
        "user",
        "suspend",
        "key",
        "narrow",
        "session",
        "revoke",
        "permissions",
    ] {
        let (app, agent, user) = world(offline()).await;
        let session = app.session(&user).await;
        let root = match kill {
            "session" => {
                let ask = Ask::of(SESSION, &session.token)
                    .with("actor_token", &agent.key)
                    .with("actor_token_type", AGENT_KEY);
                let reply = prove(&app, 7, &for_root(ask)).await.expect(200);
                reply.text_at("/access_token").to_owned()
            }
            _ => root_of(&app, &agent).await,
        };
        let token = prove(&app, 7, &shown(&root)).await.expect(200);
        let token = token.text_at("/access_token").to_owned();
        let path = format!("/api/v1/agents/{}", agent.id);
        let (operator, human) = (app.operator(), format!("/api/v1/users/{user}"));
        let none = json!({});
        match kill {
            "user" => operator.post(&format!("{human}/ban"), none).await,
            "permissions" => {
                let less = json!({ "permissions": may(&["*"], "other:*") });
                operator.patch(&human, less).await
            }
            "suspend" => operator.post(&format!("{path}/suspend"), none).await,
            "key" => operator.post(&format!("{path}/rotate"), none).await,
            "narrow" => {
                let less = json!({ "permissions": may(&["*"], "tools:call:search") });
                operator.patch(&path, less).await
            }
            "session" => {
                operator
                    .delete(&format!("/api/v1/sessions/{}", session.id))
                    .await
            }
            _ => operator.delete(&path).await,
        };
        refused(&prove(&app, 7, &shown(&root)).await, "invalid_grant");
        // A refusal does not wait for its record; what is done after it does.
        app.user().await;
        assert_eq!(app.audit("kind=refusal").await.len(), 1, "{kill}");
        // What was made of it before died with it.
        assert_eq!(
            judged(&app, &token).await.unwrap_err().code,
            Code::Revoked,
            "{kill}"
        );
        if kill == "suspend" {
            // Resuming revives nothing.
            operator
                .post(&format!("{path}/resume"), json!({}))
                .await
                .expect(200);
            refused(&prove(&app, 7, &shown(&root)).await, "invalid_grant");
        }
    }
}

/// A revoke that races exchanges: what was made before it is dead, and nothing is made after it.
#[tokio::test]
async fn a_revoke_that_races_exchanges_wins() {
    let (app, agent, user) = world(offline()).await;
    let root = root_of(&app, &agent).await;
    let ask = shown(&root);
    let exchanges = (0..32).map(|_| prove(&app, 7, &ask));
    let operator = app.operator();
    let ban = format!("/api/v1/users/{user}/ban");
    let (replies, banned) = futures_util::future::join(
        futures_util::future::join_all(exchanges),
        operator.post(&ban, json!({})),
    )
    .await;
    banned.expect(200);
    for reply in replies {
        if reply.status == 200 {
            let token = reply.text_at("/access_token").to_owned();
            assert_eq!(judged(&app, &token).await.unwrap_err().code, Code::Revoked);
        } else {
            refused(&reply, "invalid_grant");
        }
    }
    refused(&prove(&app, 7, &ask).await, "invalid_grant");
}

/// Lessons C 78: a chain that was forged; and a root of another server.
#[tokio::test]
async fn a_root_that_is_not_as_the_issuer_made_it_is_refused() {
    let (app, agent, _) = world(offline()).await;
    let root = root_of(&app, &agent).await;
    let mut parts: Vec<&str> = root.split('.').collect();
    let claims = decoded(parts[1]);
    let other = app
        .agent(&app.user().await, may(&["*"], "tools:call:*"))
        .await;
    // Another agent in the chain, with the claims otherwise as they were.
    let forged = encoded(&claims.replace(&agent.id, &other.id));
    parts[1] = &forged;
    let forged = parts.join(".");
    refused(&prove(&app, 7, &shown(&forged)).await, "invalid_grant");
    // Signed by somebody else, over the same claims.
    let mut stranger = read(&app, &root).await;
    stranger.life.expires_at = now(&app).plus(std::time::Duration::from_secs(600));
    let (_, key) = proof(&app, 7, "unused");
    let stranger = stranger.sign(&key).unwrap();
    refused(&prove(&app, 7, &shown(&stranger)).await, "invalid_grant");
    let far = crate::setup().seeded(7).start().await;
    register(&far, json!({})).await;
    refused(&prove(&far, 7, &shown(&root)).await, "invalid_grant");
    // The twin: as it is, where it was made.
    prove(&app, 7, &shown(&root)).await.expect(200);
}

fn decoded(part: &str) -> String {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    String::from_utf8(URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

fn encoded(claims: &str) -> String {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    URL_SAFE_NO_PAD.encode(claims)
}

/// Lessons C 78: too deep.
#[tokio::test]
async fn where_nothing_may_stand_below_there_is_no_root() {
    let app = crate::start().await;
    register(&app, json!({})).await;
    let user = app.user().await;
    for (depth, allowed) in [(0, false), (1, true)] {
        let uses = json!({ "offline": true, "maxDepth": depth });
        let agent = app
            .agent_with(&user, may(&["*"], "tools:call:*"), uses)
            .await;
        let ask = Ask::agent(&agent).with("requested_token_type", ROOT);
        let reply = prove(&app, 7, &ask).await;
        match allowed {
            true => drop(reply.expect(200)),
            false => refused(&reply, "invalid_request"),
        }
    }
}

#[tokio::test]
async fn a_human_gets_a_root_for_an_agent_that_is_there_and_for_no_other() {
    let (app, agent, user) = world(offline()).await;
    let session = app.session(&user).await;
    let alone = for_root(Ask::of(SESSION, &session.token));
    refused(&prove(&app, 7, &alone).await, "invalid_request");
    let with = |session| {
        let ask = Ask::of(SESSION, session).with("actor_token", &agent.key);
        for_root(ask.with("actor_token_type", AGENT_KEY))
    };
    let stranger = app.session(&app.user().await).await;
    refused(
        &prove(&app, 7, &with(&stranger.token)).await,
        "invalid_request",
    );
    prove(&app, 7, &with(&session.token)).await.expect(200);
}

/// Lessons C 58: a root is a root, here, and nothing anywhere else; and nothing else is one.
#[tokio::test]
async fn a_root_is_taken_for_nothing_else_and_nothing_else_for_a_root() {
    let (app, agent, user) = world(offline()).await;
    let root = root_of(&app, &agent).await;
    let leaf = prove(&app, 7, &shown(&root)).await.expect(200);
    let leaf = leaf.text_at("/access_token").to_owned();
    let server = register(&app, json!({ "audience": "https://c.example.com" })).await;
    let session = app.session(&user).await;
    let (dpop, _) = proof(&app, 7, "shown");
    let poll = json!({ "nonce": "n", "instance": "i", "epoch": app.head().epoch, "rseq": 0, "rhash": "A".repeat(43) });
    let head = app
        .call(&server)
        .post("/api/v1/revocations/head", poll)
        .await
        .expect(200);
    let head = head.text_at("/data/head").to_owned();
    for other in [
        &leaf,
        &dpop,
        &head,
        &session.token,
        &agent.key,
        app.operator_key(),
        &server,
    ] {
        refused(&prove(&app, 7, &shown(other)).await, "invalid_request");
    }
    for kind in [SESSION, AGENT_KEY, LEAF] {
        let ask = Ask::of(kind, &root);
        refused(&prove(&app, 7, &ask).await, "invalid_request");
    }
    let acting = Ask::of(SESSION, &session.token)
        .with("actor_token", &root)
        .with("actor_token_type", ROOT);
    refused(&prove(&app, 7, &acting).await, "invalid_request");
    for scheme in ["Bearer", "DPoP"] {
        let header = format!("{scheme} {root}");
        let call = app.anonymous().header("authorization", &header);
        for path in [
            "/api/v1/agents",
            "/api/v1/audit",
            "/api/v1/revocations?since=0",
        ] {
            call.get(path).await.refused(401, "unauthenticated");
        }
        let reply = call.post_form(TOKEN, &Ask::agent(&agent).0).await;
        assert_eq!((reply.status, reply.code()), (401, "invalid_client"));
    }
    // A tool server takes it for no token, whatever it asks of proofs.
    let question = json!({ "token": root, "action": "call", "resource": "tools:call:search" });
    let asked = app.call(&server).post("/api/v1/authorize", question).await;
    assert_eq!((asked.status, asked.field()), (400, "token"));
    let verification = Verification {
        issuer: &issuer(&app),
        keys: &keys(&app).await,
        audience: &TOOLS.parse().unwrap(),
        proof: tool_server::Proof::Optional,
        revocations: Some(&LiveSet::new(app.head().epoch)),
    };
    let presented = Presented {
        token: &root,
        scheme: Scheme::Bearer,
        proof: None,
        request: ProofRequest::default(),
    };
    let failure = verification.verify(&presented, now(&app)).unwrap_err();
    assert_eq!(failure.code, Code::WrongType);
    // The twin: where it belongs.
    prove(&app, 7, &shown(&root)).await.expect(200);
}

/// Whatever an agent shows, what it is refused is counted as its own.
#[tokio::test]
async fn an_agent_that_is_refused_too_often_has_to_wait() {
    for with_root in [false, true] {
        let setup = crate::setup().settings(|settings| settings.denials_per_minute = 2);
        let app = setup.start().await;
        register(&app, json!({})).await;
        let search = may(&["*"], "tools:call:search");
        let agent = app.agent_with(&app.user().await, search, offline()).await;
        let for_root = Ask::agent(&agent).with("requested_token_type", ROOT);
        let root = prove(&app, 7, &for_root).await.expect(200);
        let root = root.text_at("/access_token").to_owned();
        let ask = match with_root {
            true => shown(&root),
            false => Ask::agent(&agent),
        };
        let wider = ask.clone().with("scope", "tools:call:fetch");
        for _ in 0..2 {
            refused(&prove(&app, 7, &wider).await, "invalid_scope");
        }
        let third = prove(&app, 7, &wider).await;
        let told = (third.status, third.code(), third.header("retry-after"));
        assert_eq!(told, (429, "temporarily_unavailable", "60"));
        // The twin: what it may have is not counted.
        prove(&app, 7, &ask).await.expect(200);
    }
}
