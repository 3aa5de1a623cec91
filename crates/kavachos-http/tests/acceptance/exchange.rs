//! `POST /oauth/token`: what somebody holds, exchanged for a token (RFC 8693), with the rules of `/api/v1/delegate`.

use http::Method;
use kavachos_core::token::{Code, SigningKey};
use kavachos_test::{Reply, TestAgent, TestApp, may, may_under};
use serde_json::{Value, json};

use crate::tokens::{TOOLS, issuer, judged, opened, proof_at, register, world};

pub(crate) const TOKEN: &str = "/oauth/token";
pub(crate) const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
pub(crate) const SESSION: &str = "urn:kavachos:params:oauth:token-type:session";
pub(crate) const AGENT_KEY: &str = "urn:kavachos:params:oauth:token-type:agent-key";
pub(crate) const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
const LEAF: &str = "urn:ietf:params:oauth:token-type:access_token";

/// What a request may say that it shows.
const TYPES: [&str; 6] = [
    SESSION,
    AGENT_KEY,
    LEAF,
    "urn:ietf:params:oauth:token-type:jwt",
    ID_TOKEN,
    "urn:ietf:params:oauth:token-type:refresh_token",
];

/// The parameters of a request, of which one may be said otherwise.
#[derive(Clone)]
pub(crate) struct Ask<'a>(pub(crate) Vec<(&'a str, &'a str)>);

impl<'a> Ask<'a> {
    /// For whoever this is, a token to search with.
    pub(crate) fn of(kind: &'a str, token: &'a str) -> Self {
        Self(vec![
            ("grant_type", GRANT),
            ("subject_token", token),
            ("subject_token_type", kind),
            ("audience", TOOLS),
            ("scope", "tools:call:search"),
            ("reason", "find sources"),
        ])
    }

    pub(crate) fn agent(agent: &'a TestAgent) -> Self {
        Self::of(AGENT_KEY, &agent.key)
    }

    pub(crate) fn with(mut self, name: &'a str, value: &'a str) -> Self {
        self.0.retain(|(known, _)| *known != name);
        self.0.push((name, value));
        self
    }

    fn acting(self, agent: &'a TestAgent) -> Self {
        self.with("actor_token", &agent.key)
            .with("actor_token_type", AGENT_KEY)
    }

    pub(crate) async fn send(&self, app: &TestApp) -> Reply {
        app.anonymous().post_form(TOKEN, &self.0).await
    }
}

#[track_caller]
pub(crate) fn refused(reply: &Reply, code: &str) {
    assert_eq!((reply.status, reply.code()), (400, code), "{reply}");
    let description = reply.text_at("/error_description");
    assert!(!description.is_empty(), "{reply}");
    assert_eq!(reply.header("cache-control"), "no-store");
}

/// A proof for the endpoint by the key of this seed.
pub(crate) fn proof(app: &TestApp, seed: u8, id: &str) -> (String, SigningKey) {
    proof_at(app, TOKEN, (seed, id))
}

#[tokio::test]
async fn an_agents_key_is_exchanged_for_a_token_of_that_agent() {
    let (app, orchestrator, researcher, user) = world(json!({})).await;
    let reply = Ask::agent(&researcher).send(&app).await.expect(200);
    assert_eq!(reply.text_at("/issued_token_type"), LEAF);
    assert_eq!(reply.text_at("/token_type"), "Bearer");
    assert_eq!(reply.at("/expires_in"), &json!(300));
    assert_eq!(reply.text_at("/scope"), "kavach:limited");
    assert_eq!(reply.header("cache-control"), "no-store");
    let token = reply.text_at("/access_token");
    judged(&app, token).await.unwrap();
    let leaf = opened(&app, token).await;
    assert_eq!(leaf.authority.subject.as_str(), user);
    let chain: Vec<String> = leaf
        .authority
        .chain
        .iter()
        .map(|hop| hop.id.to_string())
        .collect();
    assert_eq!(chain, [orchestrator.id, researcher.id.clone()]);
    // The record is that of any other token.
    let record = app.audit("kind=token.issued").await.remove(0);
    assert_eq!(record["agent"], researcher.id.as_str());
    assert_eq!(record["reason"], "find sources");
    assert_eq!(record["details"]["audience"], TOOLS);
}

#[tokio::test]
async fn a_session_is_exchanged_for_a_token_of_an_agent_of_its_human() {
    let (app, orchestrator, _, user) = world(json!({})).await;
    let session = app.session(&user).await;
    // Without an actor it is an agent that exists for such tokens alone.
    let alone = Ask::of(SESSION, &session.token)
        .send(&app)
        .await
        .expect(200);
    let alone = opened(&app, alone.text_at("/access_token")).await;
    assert_ne!(
        alone.authority.agent().unwrap().to_string(),
        orchestrator.id
    );
    // With one it is the actor, and both credentials kill it.
    for kill in ["session", "key"] {
        let session = app.session(&user).await;
        let ask = Ask::of(SESSION, &session.token).acting(&orchestrator);
        if kill == "key" {
            // The session before this one was revoked, the key is still the first.
            let reply = ask.send(&app).await.expect(200);
            let token = reply.text_at("/access_token").to_owned();
            judged(&app, &token).await.unwrap();
            let rotate = format!("/api/v1/agents/{}/rotate", orchestrator.id);
            app.operator().post(&rotate, json!({})).await.expect(201);
            assert_eq!(judged(&app, &token).await.unwrap_err().code, Code::Revoked);
            // And the old key acts no more.
            refused(&ask.send(&app).await, "invalid_grant");
        } else {
            let reply = ask.send(&app).await.expect(200);
            let token = reply.text_at("/access_token").to_owned();
            let leaf = opened(&app, &token).await;
            assert_eq!(leaf.authority.agent().unwrap().to_string(), orchestrator.id);
            judged(&app, &token).await.unwrap();
            let path = format!("/api/v1/sessions/{}", session.id);
            app.operator().delete(&path).await.expect(200);
            assert_eq!(judged(&app, &token).await.unwrap_err().code, Code::Revoked);
        }
    }
}

/// Lessons C 78: an actor that is not allowed. The actor alone never selects authority.
#[tokio::test]
async fn an_actor_that_is_not_the_humans_own_gets_nothing() {
    let (app, orchestrator, researcher, user) = world(json!({})).await;
    let (own, strange) = (
        app.session(&user).await,
        app.session(&app.user().await).await,
    );
    let ask = |session| Ask::of(SESSION, session).acting(&orchestrator);
    refused(&ask(&strange.token).send(&app).await, "invalid_request");
    // The twin: the session of its own human.
    ask(&own.token).send(&app).await.expect(200);
    // Beside an agent, or beside nobody, there is no actor.
    let both = Ask::agent(&researcher).acting(&orchestrator);
    refused(&both.send(&app).await, "invalid_request");
    let mut alone = ask(&own.token);
    alone.0.retain(|(name, _)| !name.starts_with("subject"));
    refused(&alone.send(&app).await, "invalid_request");
    // An actor does not widen what the human's session gets: the agent holds less than the human.
    let wider = Ask::of(SESSION, &own.token)
        .acting(&researcher)
        .with("scope", "tools:call:fetch");
    refused(&wider.send(&app).await, "invalid_scope");
    let without = Ask::of(SESSION, &own.token).with("scope", "tools:call:fetch");
    without.send(&app).await.expect(200);
}

/// Patterns are compiled as they are read, which may cost a lot: that is not done for whoever happens to send some.
#[tokio::test]
async fn what_a_stranger_asks_for_is_not_read() {
    let (app, orchestrator, ..) = world(json!({})).await;
    let mut ask = Ask::agent(&orchestrator);
    ask.0.retain(|(name, _)| *name != "scope");
    let ask = ask.with("authorization_details", "no details");
    // The twin: whoever is known is told what is wrong with them.
    refused(&ask.send(&app).await, "invalid_authorization_details");
    let agent = format!("/api/v1/agents/{}", orchestrator.id);
    app.operator().delete(&agent).await.expect(200);
    refused(&ask.send(&app).await, "invalid_grant");
}

/// Lessons C 78: a subject that was revoked.
#[tokio::test]
async fn a_subject_that_was_killed_is_exchanged_for_nothing() {
    for kill in ["ban", "suspend", "rotate", "revoke", "session", "expiry"] {
        let (app, orchestrator, _, user) = world(json!({})).await;
        let session = app.session(&user).await;
        let ask = match kill {
            "session" => Ask::of(SESSION, &session.token),
            _ => Ask::agent(&orchestrator),
        };
        // The twin: alive it is.
        ask.send(&app).await.expect(200);
        let operator = app.operator();
        let agent = format!("/api/v1/agents/{}", orchestrator.id);
        match kill {
            "ban" => drop(
                operator
                    .post(&format!("/api/v1/users/{user}/ban"), json!({}))
                    .await,
            ),
            "suspend" => drop(operator.post(&format!("{agent}/suspend"), json!({})).await),
            "rotate" => drop(operator.post(&format!("{agent}/rotate"), json!({})).await),
            "revoke" => drop(operator.delete(&agent).await),
            "expiry" => app.advance(25 * 60 * 60),
            _ => drop(
                operator
                    .delete(&format!("/api/v1/sessions/{}", session.id))
                    .await,
            ),
        }
        refused(&ask.send(&app).await, "invalid_grant");
    }
}

#[tokio::test]
async fn a_session_makes_an_agent_for_tokens_only_while_it_is_fresh() {
    let (app, orchestrator, _, user) = world(json!({})).await;
    let session = app.session(&user).await;
    let ask = Ask::of(SESSION, &session.token);
    ask.send(&app).await.expect(200);
    app.advance(601);
    refused(&ask.send(&app).await, "invalid_grant");
    // The twin: what its agent holds already needs no fresh human.
    ask.acting(&orchestrator).send(&app).await.expect(200);
}

/// Lessons C 78: upscope.
#[tokio::test]
async fn more_than_the_subject_holds_or_the_tool_server_has_is_refused() {
    let (app, orchestrator, researcher, _) = world(json!({})).await;
    let wide = |agent| Ask::agent(agent).with("scope", "tools:call:*");
    refused(&wide(&researcher).send(&app).await, "invalid_scope");
    // The twin: whoever holds it gets it.
    wide(&orchestrator).send(&app).await.expect(200);
    let outside = Ask::agent(&orchestrator).with("scope", "mail:send");
    refused(&outside.send(&app).await, "invalid_scope");
    let details = |resource: &str| {
        json!([{ "type": "kavachos_delegation", "permissions": may(&["call"], resource) }])
            .to_string()
    };
    let (search, fetch) = (details("tools:call:search"), details("tools:call:fetch"));
    let mut ask = Ask::agent(&researcher);
    ask.0.retain(|(name, _)| *name != "scope");
    let more = ask.clone().with("authorization_details", &fetch);
    refused(&more.send(&app).await, "invalid_scope");
    let less = ask.with("authorization_details", &search);
    let reply = less.send(&app).await.expect(200);
    let told = reply.at("/authorization_details/0");
    assert_eq!(told["type"], "kavachos_delegation");
    assert_eq!(told["permissions"][0]["resource"], "tools:call:search");
    assert_eq!(told["permissions"][0]["actions"], json!(["call"]));
}

#[tokio::test]
async fn a_tool_server_that_is_not_registered_is_no_target() {
    let (app, orchestrator, _, _) = world(json!({})).await;
    for name in [
        "https://other.example.com",
        "tools",
        "HTTPS://tools.example.com/mcp",
    ] {
        let ask = Ask::agent(&orchestrator).with("audience", name);
        refused(&ask.send(&app).await, "invalid_target");
    }
    let mut two = Ask::agent(&orchestrator);
    two.0.push(("resource", "https://other.example.com"));
    refused(&two.send(&app).await, "invalid_target");
    // The twin: one, under either name, or under both.
    let mut named = Ask::agent(&orchestrator);
    named.0.push(("resource", TOOLS));
    named.send(&app).await.expect(200);
    named.0.retain(|(name, _)| *name != "audience");
    named.send(&app).await.expect(200);
}

/// Lessons C 78: what another tenant gave.
#[tokio::test]
async fn what_another_server_gave_is_nothing_here() {
    let (app, orchestrator, _, user) = world(json!({})).await;
    let other = crate::setup().seeded(7).start().await;
    register(&other, json!({})).await;
    let session = app.session(&user).await;
    for ask in [Ask::agent(&orchestrator), Ask::of(SESSION, &session.token)] {
        refused(&ask.send(&other).await, "invalid_grant");
        ask.send(&app).await.expect(200);
    }
    // Strangers are on record, by the time that something was done after them.
    other.user().await;
    let records = other.audit("kind=refusal").await;
    assert!(!records.is_empty());
}

/// Lessons C 58: every kind of token, shown as any other.
#[tokio::test]
async fn no_kind_of_token_is_taken_for_another() {
    let app = crate::start().await;
    let resource_key = register(&app, json!({})).await;
    let user = app.user().await;
    let agent = app.agent(&user, may(&["*"], "tools:call:*")).await;
    let session = app.session(&user).await;
    let leaf = Ask::agent(&agent).send(&app).await.expect(200);
    let leaf = leaf.text_at("/access_token").to_owned();
    let (dpop, _) = proof(&app, 7, "shown");
    let poll = json!({ "nonce": "n", "instance": "i", "epoch": app.head().epoch, "rseq": 0, "rhash": "A".repeat(43) });
    let head = app
        .call(&resource_key)
        .post("/api/v1/revocations/head", poll)
        .await
        .expect(200);
    let head = head.text_at("/data/head").to_owned();
    let kinds = [
        ("session", session.token.as_str()),
        ("agent", &agent.key),
        ("operator", app.operator_key()),
        ("resource", &resource_key),
        ("leaf", &leaf),
        ("proof", &dpop),
        ("head", &head),
        ("nothing", "x"),
    ];
    for (kind, token) in kinds {
        for uri in TYPES {
            let reply = Ask::of(uri, token).send(&app).await;
            match (kind, uri) {
                ("session", SESSION) | ("agent", AGENT_KEY) => drop(reply.expect(200)),
                // Nobody presents it; see `id_tokens`.
                (_, ID_TOKEN) => assert_eq!(reply.code(), "invalid_client"),
                _ => refused(&reply, "invalid_request"),
            }
            let acting = Ask::of(SESSION, &session.token)
                .with("actor_token", token)
                .with("actor_token_type", uri);
            let reply = acting.send(&app).await;
            match (kind, uri) {
                ("agent", AGENT_KEY) => drop(reply.expect(200)),
                _ => refused(&reply, "invalid_request"),
            }
        }
        // What is signed is no credential of the API.
        if !token.starts_with("kv_") {
            for path in [
                "/api/v1/agents",
                "/api/v1/audit",
                "/api/v1/revocations?since=0",
            ] {
                app.call(token)
                    .get(path)
                    .await
                    .refused(401, "unauthenticated");
            }
        }
        // Neither does any of them authenticate a client here.
        let header = format!("Bearer {token}");
        let call = app.anonymous().header("authorization", &header);
        let reply = call.post_form(TOKEN, &Ask::agent(&agent).0).await;
        assert_eq!(
            (reply.status, reply.code()),
            (401, "invalid_client"),
            "{kind}"
        );
    }
}

#[tokio::test]
async fn a_request_that_is_not_as_the_standard_says_is_refused() {
    let (app, orchestrator, _, _) = world(json!({})).await;
    for (name, value, code) in [
        ("grant_type", "password", "unsupported_grant_type"),
        ("grant_type", "", "invalid_request"),
        ("subject_token", "", "invalid_request"),
        ("subject_token_type", "", "invalid_request"),
        ("audience", "", "invalid_request"),
        ("reason", "", "invalid_request"),
        ("reason", "a\u{0}b", "invalid_request"),
        (
            "requested_token_type",
            "urn:ietf:params:oauth:token-type:id_token",
            "invalid_request",
        ),
        ("requested_token_type", AGENT_KEY, "invalid_request"),
        ("ttl_seconds", "0", "invalid_request"),
        ("scope", "**", "invalid_scope"),
        ("scope", "a  b", "invalid_scope"),
        ("authorization_details", "[]", "invalid_request"),
    ] {
        let reply = Ask::agent(&orchestrator).with(name, value).send(&app).await;
        refused(&reply, code);
    }
    let mut details = Ask::agent(&orchestrator);
    details.0.retain(|(name, _)| *name != "scope");
    let details = details.with("authorization_details", "[{\"type\":\"payment\"}]");
    refused(&details.send(&app).await, "invalid_authorization_details");
    let mut twice = Ask::agent(&orchestrator);
    twice.0.push(("reason", "again"));
    refused(&twice.send(&app).await, "invalid_request");
    // The twin: what is not known, and what is empty, does not matter.
    let more = Ask::agent(&orchestrator)
        .with("client_id", "anyone")
        .with("requested_token_type", LEAF)
        .with("resource", "")
        .with("ttl_seconds", "60");
    let reply = more.send(&app).await.expect(200);
    assert_eq!(reply.at("/expires_in"), &json!(60));
}

#[tokio::test]
async fn a_body_that_is_no_form_is_refused_in_the_form_of_the_standard() {
    let (app, orchestrator, _, _) = world(json!({})).await;
    let form = "application/x-www-form-urlencoded";
    let send = async |kind: &str, body: &[u8]| {
        let call = app.anonymous().header("content-type", kind);
        call.send(Method::POST, TOKEN, Some(body.to_vec())).await
    };
    refused(&send("application/json", b"{}").await, "invalid_request");
    for body in [
        &b""[..],
        b"%",
        b"a=%zz",
        b"\xff",
        b"grant_type=%ff",
        b"&&&",
        b"\0",
    ] {
        refused(&send(form, body).await, "invalid_request");
    }
    let large = vec![b'a'; 256 * 1024 + 1];
    let reply = send(form, &large).await;
    assert_eq!((reply.status, reply.code()), (413, "invalid_request"));
    let ask = Ask::agent(&orchestrator).0;
    let in_url = app
        .anonymous()
        .post_form("/oauth/token?scope=a", &ask)
        .await;
    refused(&in_url, "invalid_request");
    let with_charset = app.anonymous().header(
        "content-type",
        "application/x-www-form-urlencoded; charset=UTF-8",
    );
    let body = ask
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect::<Vec<_>>()
        .join("&");
    with_charset
        .send(Method::POST, TOKEN, Some(body.into()))
        .await
        .expect(200);
    app.anonymous()
        .get(TOKEN)
        .await
        .refused(405, "method_not_allowed");
}

#[tokio::test]
async fn a_proof_binds_the_token_to_its_key_and_a_wrong_or_used_one_is_told_as_such() {
    let (app, orchestrator, _, _) = world(json!({ "proof": "dpop" })).await;
    let ask = Ask::agent(&orchestrator);
    refused(&ask.send(&app).await, "invalid_dpop_proof");
    let (text, key) = proof(&app, 7, "one");
    let call = app.anonymous().header("dpop", &text);
    let reply = call.post_form(TOKEN, &ask.0).await.expect(200);
    assert_eq!(reply.text_at("/token_type"), "DPoP");
    let leaf = opened(&app, reply.text_at("/access_token")).await;
    assert_eq!(leaf.bound_to, Some(key.thumbprint()));
    refused(&call.post_form(TOKEN, &ask.0).await, "invalid_dpop_proof");
    for wrong in ["a.b.c", "", reply.text_at("/access_token")] {
        let call = app.anonymous().header("dpop", wrong);
        refused(&call.post_form(TOKEN, &ask.0).await, "invalid_dpop_proof");
    }
    let two = app.anonymous().header("dpop", &text).header("dpop", &text);
    refused(&two.post_form(TOKEN, &ask.0).await, "invalid_dpop_proof");
}

/// Sixty-four at once use one proof: one token.
#[tokio::test]
async fn a_proof_that_is_used_by_many_at_once_makes_one_token() {
    let (app, orchestrator, _, _) = world(json!({})).await;
    let (text, _) = proof(&app, 7, "one");
    let call = app.anonymous().header("dpop", &text);
    let ask = Ask::agent(&orchestrator).0;
    let replies =
        futures_util::future::join_all((0..64).map(|_| call.post_form(TOKEN, &ask))).await;
    let made = replies.iter().filter(|reply| reply.status == 200).count();
    assert_eq!(made, 1);
    for reply in replies.iter().filter(|reply| reply.status != 200) {
        refused(reply, "invalid_dpop_proof");
    }
}

/// What only a grant can keep is refused here as at `/api/v1/delegate`.
#[tokio::test]
async fn a_counter_of_its_own_is_no_part_of_a_token() {
    let (app, orchestrator, _, _) = world(json!({})).await;
    let counted = may_under(
        &["call"],
        "tools:call:search",
        json!({ "maxCallsPerHour": 1 }),
    );
    let details: Value = json!([{ "type": "kavachos_delegation", "permissions": counted }]);
    let details = details.to_string();
    let mut ask = Ask::agent(&orchestrator);
    ask.0.retain(|(name, _)| *name != "scope");
    let ask = ask.with("authorization_details", &details);
    refused(&ask.send(&app).await, "invalid_request");
}

#[tokio::test]
async fn the_metadata_tells_where_tokens_are_exchanged_and_how() {
    let app = crate::start().await;
    let path = "/.well-known/oauth-authorization-server";
    let metadata = app.anonymous().get(path).await.expect(200);
    let issuer = issuer(&app);
    let endpoint = format!("{issuer}{TOKEN}");
    assert_eq!(metadata.text_at("/token_endpoint"), endpoint);
    assert_eq!(
        metadata.at("/grant_types_supported"),
        &json!([
            "authorization_code",
            "refresh_token",
            "client_credentials",
            "urn:ietf:params:oauth:grant-type:device_code",
            GRANT
        ])
    );
    assert_eq!(
        metadata.at("/token_endpoint_auth_methods_supported"),
        &json!([
            "none",
            "client_secret_basic",
            "client_secret_post",
            "private_key_jwt"
        ])
    );
    assert_eq!(metadata.at("/response_types_supported"), &json!(["code"]));
    assert_eq!(
        metadata.at("/code_challenge_methods_supported"),
        &json!(["S256"])
    );
    // Nobody registers themselves here, and no member has no value.
    assert!(metadata.at("/registration_endpoint").is_null());
    assert!(!metadata.text.contains("null"));
    app.anonymous()
        .get(&format!("{path}/tenant"))
        .await
        .refused(404, "no_such_route");
}

/// RFC 8414, section 3.1: where clients look for an issuer with a path.
#[tokio::test]
async fn the_metadata_of_an_issuer_with_a_path_is_behind_the_well_known_one() {
    let issuer = "http://localhost:3000/tenants/one";
    let setup = crate::setup().with(move |builder| builder.public_url(issuer));
    let app = setup.start().await;
    let place = "/.well-known/oauth-authorization-server";
    // What is served there is told in this server's own document, not in that of all.
    let client = kavachos_test::Client::new(app.client().address()).anonymous();
    let openid = "/.well-known/openid-configuration";
    for path in [
        format!("{place}/tenants/one"),
        place.to_owned(),
        format!("{openid}/tenants/one"),
        format!("/tenants/one{openid}"),
        openid.to_owned(),
    ] {
        let metadata = client.get(&path).await.expect(200);
        assert_eq!(metadata.text_at("/issuer"), issuer);
        let endpoint = format!("{issuer}{TOKEN}");
        assert_eq!(metadata.text_at("/token_endpoint"), endpoint);
    }
    let document = client.get("/openapi.json").await.expect(200);
    let told = &document.body["paths"][format!("{place}/tenants/one")];
    assert!(told["get"].is_object());
    let other = client.get(&format!("{place}/tenants/two")).await;
    other.refused(404, "no_such_route");
}
