//! A token for another agent: its giver gets none, and the agent that it is for makes it, once, with its own key.

use std::time::Duration;

use futures_util::future::join_all;
use kavachos_core::token::Code;
use kavachos_test::{Reply, TestAgent, TestApp, may, may_under};
use serde_json::{Value, json};

use crate::exchange::Ask;
use crate::moving::{body, export, import, sealed};
use crate::tokens::{
    DELEGATE, TOOLS, ask, decide, judged, now, opened, own, proof_at, register, search,
};

/// Another tool server with the same scopes.
const NEXT: &str = "https://next.example.com/mcp";

struct World {
    app: TestApp,
    server: String,
    user: String,
    giver: TestAgent,
    receiver: TestAgent,
}

async fn world() -> World {
    let app = crate::start().await;
    let server = register(&app, json!({})).await;
    let user = app.user().await;
    let giver = app.agent(&user, may(&["*"], "tools:call:*")).await;
    let receiver = app.agent(&user, may(&["*"], "other:thing")).await;
    World {
        app,
        server,
        user,
        giver,
        receiver,
    }
}

fn for_agent(agent: &TestAgent) -> Value {
    let mut body = search();
    body["agent"] = json!(agent.id);
    body
}

fn path(id: &str) -> String {
    format!("{DELEGATE}/{id}/token")
}

impl World {
    async fn promise(&self) -> Reply {
        let body = for_agent(&self.receiver);
        ask(&self.app, &self.giver.key, body).await.expect(200)
    }

    async fn promised(&self) -> String {
        let promise = self.promise().await;
        promise.text_at("/data/delegationId").to_owned()
    }

    async fn redeem(&self, key: &str, id: &str) -> Reply {
        self.app.call(key).post(&path(id), json!({})).await
    }
}

#[tokio::test]
async fn a_token_for_another_agent_is_made_by_that_agent_once_and_never_seen_by_its_giver() {
    let world = world().await;
    let World { app, receiver, .. } = &world;
    let promise = world.promise().await;
    assert_eq!(promise.text_at("/data/agent"), receiver.id);
    assert_eq!(promise.text_at("/data/audience"), TOOLS);
    let members: Vec<&String> = promise.at("/data").as_object().unwrap().keys().collect();
    assert_eq!(members, ["agent", "audience", "delegationId", "expiresAt"]);
    let id = promise.text_at("/data/delegationId").to_owned();
    let token = world.redeem(&receiver.key, &id).await.expect(200);
    let text = token.text_at("/data/token").to_owned();
    judged(app, &text).await.unwrap();
    let leaf = opened(app, &text).await;
    let chain: Vec<String> = leaf
        .authority
        .chain
        .iter()
        .map(|hop| hop.id.to_string())
        .collect();
    assert_eq!(chain, [world.giver.id.clone(), receiver.id.clone()]);
    assert_eq!(leaf.authority.reason, "find sources");
    assert_eq!(
        token.text_at("/data/expiresAt"),
        promise.text_at("/data/expiresAt")
    );
    decide(app, &world.server, &text, "search")
        .await
        .decided("allowed");
    decide(app, &world.server, &text, "fetch")
        .await
        .decided("permission_denied");
    // Once.
    let again = world.redeem(&receiver.key, &id).await;
    assert_eq!((again.status, again.code()), (409, "conflict"));
    // Both steps are on record.
    let given = app.audit("kind=delegation.created").await.remove(0);
    assert_eq!(
        (&given["details"]["grant"], &given["details"]["audience"]),
        (&json!(id), &json!(TOOLS))
    );
    assert_eq!(given["agent"], receiver.id.as_str());
    let made = app.audit("kind=token.issued&outcome=allowed").await;
    assert_eq!(made.len(), 1);
    assert_eq!(made[0]["details"]["delegation"], json!(id));
    assert_eq!(made[0]["agent"], receiver.id.as_str());
}

#[tokio::test]
async fn a_promise_is_redeemed_with_a_new_proof_and_nothing_else_in_the_request() {
    let world = world().await;
    let id = world.promised().await;
    let call = world.app.call(&world.receiver.key);
    let more = call.post(&path(&id), json!({ "audience": TOOLS })).await;
    assert_eq!((more.status, more.code()), (400, "malformed_request"));
    let (proof, key) = proof_at(&world.app, &path(&id), (7, "one"));
    let call = call.header("dpop", &proof);
    let token = call.post(&path(&id), json!({})).await.expect(200);
    let leaf = opened(&world.app, token.text_at("/data/token")).await;
    assert_eq!(leaf.bound_to, Some(key.thumbprint()));
    let again = call.post(&path(&id), json!({})).await;
    assert_eq!((again.status, again.code()), (403, "forbidden"));
}

#[tokio::test]
async fn to_all_others_a_promise_is_as_if_it_did_not_exist() {
    let world = world().await;
    let app = &world.app;
    let id = world.promised().await;
    let session = app.session(&world.user).await;
    let elsewhere = app.user().await;
    let stranger = app.agent(&elsewhere, may(&["*"], "tools:call:*")).await;
    for key in [
        &world.giver.key,
        &stranger.key,
        &session.token,
        app.operator_key(),
        &world.server,
    ] {
        let reply = world.redeem(key, &id).await;
        assert_eq!((reply.status, reply.code()), (404, "not_found"), "{reply}");
    }
    let none = app.anonymous().post(&path(&id), json!({})).await;
    assert_eq!(none.status, 401);
    // A delegation that was given for no token is none either.
    let plain = app
        .delegate(
            &world.giver.id,
            &world.receiver.id,
            may(&["*"], "tools:call:search"),
        )
        .await
        .expect(201);
    let reply = world.redeem(&world.receiver.key, plain.id()).await;
    assert_eq!((reply.status, reply.code()), (404, "not_found"));
    // The twin: whom it was promised.
    world.redeem(&world.receiver.key, &id).await.expect(200);
}

#[tokio::test]
async fn nobody_promises_more_than_it_has_or_to_agents_of_other_humans() {
    let world = world().await;
    let app = &world.app;
    let elsewhere = app.user().await;
    let stranger = app.agent(&elsewhere, may(&["*"], "other:thing")).await;
    let nobody = TestAgent {
        id: "agent_01h455vb4pex5vsknk084sn02q".to_owned(),
        ..stranger.clone()
    };
    for agent in [&stranger, &nobody] {
        let reply = ask(app, &world.giver.key, for_agent(agent)).await;
        assert_eq!((reply.status, reply.code()), (404, "not_found"));
    }
    let wide = ask(app, &world.receiver.key, for_agent(&world.giver)).await;
    assert_eq!((wide.status, wide.code()), (403, "not_narrower"));
    let session = app.session(&elsewhere).await;
    let reply = ask(app, &session.token, for_agent(&world.receiver)).await;
    assert_eq!((reply.status, reply.code()), (404, "not_found"));
    world.promise().await;
}

#[tokio::test]
async fn of_many_who_redeem_a_promise_at_once_one_gets_a_token() {
    let world = world().await;
    let id = world.promised().await;
    let call = world.app.call(&world.receiver.key);
    let at = path(&id);
    let replies = join_all((0..64).map(|_| call.post(&at, json!({})))).await;
    let made = replies.iter().filter(|reply| reply.status == 200).count();
    assert_eq!(made, 1);
    assert_eq!(
        world
            .app
            .audit("kind=token.issued&outcome=allowed")
            .await
            .len(),
        1
    );
}

#[tokio::test]
async fn a_promise_dies_with_everything_that_it_comes_from() {
    for kill in [
        "nothing", "agent", "resumed", "key", "grant", "narrow", "server",
    ] {
        let world = world().await;
        let (app, operator) = (&world.app, world.app.operator());
        let id = world.promised().await;
        let agent = format!("/api/v1/agents/{}", world.giver.id);
        let turn = async |turn: &str, status| {
            let path = format!("{agent}/{turn}");
            operator.post(&path, json!({})).await.expect(status);
        };
        match kill {
            "agent" => drop(operator.delete(&agent).await.expect(200)),
            "resumed" => {
                turn("suspend", 200).await;
                turn("resume", 200).await;
            }
            "key" => turn("rotate", 201).await,
            "grant" => {
                let path = format!("/api/v1/delegations/{id}");
                operator.delete(&path).await.expect(200);
            }
            "narrow" => {
                let less = json!({ "permissions": may(&["*"], "tools:call:search") });
                operator.patch(&agent, less).await.expect(200);
            }
            "server" => {
                let servers = operator.get("/api/v1/resources").await.expect(200);
                let path = format!(
                    "/api/v1/resources/{}",
                    servers.rows()[0]["id"].as_str().unwrap()
                );
                operator
                    .patch(&path, json!({ "maxTtlSeconds": 60 }))
                    .await
                    .expect(200);
            }
            _ => {}
        }
        let reply = world.redeem(&world.receiver.key, &id).await;
        let expected = if kill == "nothing" { 200 } else { 409 };
        assert_eq!(reply.status, expected, "{kill}: {reply}");
        let issued = app.audit("kind=token.issued&outcome=allowed").await.len();
        assert_eq!(issued, usize::from(kill == "nothing"), "{kill}");
    }
}

#[tokio::test]
async fn a_token_that_was_promised_dies_with_the_key_of_its_giver() {
    let world = world().await;
    let (app, id) = (&world.app, world.promised().await);
    let token = world.redeem(&world.receiver.key, &id).await.expect(200);
    let token = token.text_at("/data/token").to_owned();
    judged(app, &token).await.unwrap();
    let path = format!("/api/v1/agents/{}/rotate", world.giver.id);
    app.operator().post(&path, json!({})).await.expect(201);
    assert_eq!(judged(app, &token).await.unwrap_err().code, Code::Revoked);
}

#[tokio::test]
async fn a_promise_ends_within_minutes_and_is_forgotten() {
    let world = world().await;
    let app = &world.app;
    let mut body = for_agent(&world.receiver);
    body["ttlSeconds"] = json!(60);
    let promise = ask(app, &world.giver.key, body).await.expect(200);
    let end = now(app).plus(Duration::from_secs(60)).to_string();
    assert_eq!(promise.text_at("/data/expiresAt"), end);
    let id = promise.text_at("/data/delegationId").to_owned();
    app.advance(60);
    let late = world.redeem(&world.receiver.key, &id).await;
    assert_eq!((late.status, late.code()), (409, "conflict"));
    app.kavach().engine().forget().await.unwrap();
    assert_eq!(world.redeem(&world.receiver.key, &id).await.status, 409);
    app.advance(3_601);
    app.kavach().engine().forget().await.unwrap();
    assert_eq!(world.redeem(&world.receiver.key, &id).await.status, 404);
}

#[tokio::test]
async fn an_agent_has_only_so_many_promises_that_nobody_redeemed() {
    let world = world().await;
    let mut last = String::new();
    for _ in 0..100 {
        last = world.promised().await;
    }
    let more = ask(&world.app, &world.giver.key, for_agent(&world.receiver)).await;
    assert_eq!((more.status, more.code()), (422, "grant_limit_exceeded"));
    world.redeem(&world.receiver.key, &last).await.expect(200);
    world.promise().await;
}

/// What the receiver may do beside redeeming, each with whether it could.
async fn tried(world: &World, third: &TestAgent, given: &str) -> Vec<(&'static str, bool)> {
    let mut all = made(world, third, given).await;
    all.extend(decided(world).await);
    all
}

fn with(mut body: Value, member: &str, value: Value) -> Value {
    body[member] = value;
    body
}

/// Tokens, promises, delegations and agents.
async fn made(world: &World, third: &TestAgent, given: &str) -> Vec<(&'static str, bool)> {
    let World { app, receiver, .. } = world;
    let call = app.call(&receiver.key);
    let made = |reply: Reply| reply.status == 200 || reply.status == 201;
    let gift = json!({
        "from": receiver.id, "to": third.id, "permissions": may(&["*"], "tools:call:search"), "reason": "on",
    });
    let sub_agent = json!({
        "ownerId": receiver.id, "name": "below", "type": "service", "permissions": may(&["*"], "tools:call:search"),
    });
    let asked = async |path: &str, body: Value| made(call.post(path, body).await);
    let elsewhere = with(own(receiver), "audience", json!(NEXT));
    let of_it = with(gift.clone(), "parent", json!(given));
    let given_on = "/api/v1/delegations";
    vec![
        ("a token", asked(DELEGATE, own(receiver)).await),
        ("a token for its own", asked(DELEGATE, search()).await),
        ("a token elsewhere", asked(DELEGATE, elsewhere).await),
        ("a promise", asked(DELEGATE, for_agent(third)).await),
        ("an exchange", made(Ask::agent(receiver).send(app).await)),
        ("a delegation", asked(given_on, gift).await),
        ("a delegation of this grant", asked(given_on, of_it).await),
        ("a sub-agent", asked("/api/v1/agents", sub_agent).await),
    ]
}

/// Decisions in every form, and what the agent is said to hold.
async fn decided(world: &World) -> Vec<(&'static str, bool)> {
    let World { app, receiver, .. } = world;
    let question = json!({ "action": "call", "resource": "tools:call:search" });
    let about = with(question.clone(), "agentId", json!(receiver.id));
    let many = json!({ "requests": [about] });
    let evaluation = json!({
        "subject": { "type": "agent", "id": receiver.id }, "action": { "name": "call" },
        "resource": { "type": "tools:call", "id": "search" },
    });
    let asked = async |key: &str, path: &str, body: Value| {
        let reply = app.call(key).post(path, body).await.expect(200);
        reply.code() == "allowed"
            || reply.at("/decision") == true
            || reply.at("/data/0/code") == "allowed"
    };
    let (one, batch) = ("/api/v1/authorize", "/api/v1/authorize/batch");
    let (authzen, why) = ("/access/v1/evaluation", "/api/v1/explain");
    let key = app.operator_key();
    let held = format!("/api/v1/agents/{}/permissions", receiver.id);
    let held = app.operator().get(&held).await.expect(200);
    vec![
        ("its question", asked(&receiver.key, one, question).await),
        (
            "the tool server's",
            asked(&world.server, one, about.clone()).await,
        ),
        ("an operator's", asked(key, one, about.clone()).await),
        ("several at once", asked(key, batch, many).await),
        ("AuthZEN", asked(key, authzen, evaluation).await),
        ("why", asked(key, why, about).await),
        ("what it holds", held.rows().len() > 1),
    ]
}

#[tokio::test]
async fn by_what_it_was_promised_an_agent_gets_that_token_and_nothing_else() {
    let world = world().await;
    let (app, receiver) = (&world.app, &world.receiver);
    register(app, json!({ "audience": NEXT })).await;
    let third = app.agent(&world.user, may(&["*"], "other:thing")).await;
    let nothing = async |id: &str, when: &str| {
        for (what, could) in tried(&world, &third, id).await {
            assert!(!could, "{what}, {when}");
        }
    };
    let id = world.promised().await;
    nothing(&id, "before it is redeemed").await;
    let token = world.redeem(&receiver.key, &id).await.expect(200);
    let token = token.text_at("/data/token").to_owned();
    let asked = decide(app, &world.server, &token, "search").await;
    asked.decided("allowed");
    nothing(&id, "afterwards").await;
    let open = world.promised().await;
    let rotate = format!("/api/v1/agents/{}/rotate", world.giver.id);
    app.operator().post(&rotate, json!({})).await.expect(201);
    assert_eq!(world.redeem(&receiver.key, &open).await.status, 409);
    nothing(&open, "after its giver's key was rotated").await;
    // The twin: a delegation of the same.
    let plain = may(&["*"], "tools:call:search");
    let given = app.delegate(&world.giver.id, &receiver.id, plain).await;
    let given = given.expect(201).id().to_owned();
    for (what, could) in tried(&world, &third, &given).await {
        assert!(could, "{what}");
    }
}

#[tokio::test]
async fn a_delegation_says_for_which_token_it_is() {
    let world = world().await;
    let (app, operator) = (&world.app, world.app.operator());
    let shown = async |id: &str| {
        let path = format!("/api/v1/delegations/{id}");
        operator.get(&path).await.expect(200).at("/data").clone()
    };
    let promised = shown(&world.promised().await).await;
    assert_eq!(promised["reservedFor"], TOOLS);
    // Nothing can stand below it.
    assert_eq!(promised["maxDepth"], promised["depth"]);
    let given = app.audit("kind=delegation.created").await.remove(0);
    assert_eq!(given["details"]["reserved"], json!(true));
    // The twin.
    let plain = may(&["*"], "tools:call:search");
    let plain = app
        .delegate(&world.giver.id, &world.receiver.id, plain)
        .await
        .expect(201);
    let plain = shown(plain.id()).await;
    assert!(plain.get("reservedFor").is_none(), "{plain}");
    assert_ne!(plain["maxDepth"], plain["depth"]);
    let given = app.audit("kind=delegation.created").await.remove(0);
    assert!(given["details"].get("reserved").is_none());
}

#[tokio::test]
async fn what_was_promised_moves_with_its_tenant_and_is_good_for_nothing_there() {
    for promised in [true, false] {
        let world = world().await;
        let (app, receiver) = (&world.app, &world.receiver);
        if promised {
            world.promise().await;
        } else {
            let plain = may(&["*"], "tools:call:search");
            let given = app.delegate(&world.giver.id, &receiver.id, plain).await;
            given.expect(201);
        }
        let file = export(&app.operator()).await;
        let said = body(&file)
            .iter()
            .any(|line| line.contains(&format!("\"reservedFor\":\"{TOOLS}\"")));
        assert_eq!(said, promised);
        let new = crate::setup().seeded(7).start().await;
        import(&new.operator(), &file).await.expect(200);
        let question = json!({ "action": "call", "resource": "tools:call:search" });
        let asked = new
            .call(&receiver.key)
            .post("/api/v1/authorize", question)
            .await;
        asked.decided(if promised {
            "permission_denied"
        } else {
            "allowed"
        });
    }
}

#[tokio::test]
async fn a_file_says_of_a_delegation_for_a_token_alone_for_which_tool_server_it_is() {
    let world = world().await;
    world.promise().await;
    let file = export(&world.app.operator()).await;
    let new = crate::setup().seeded(7).start().await;
    let grants = |line: &str| line.starts_with("{\"kind\":\"grant\"");
    let ours = format!(",\"reservedFor\":\"{TOOLS}\"}}");
    for (is_promise, said, why) in [
        (false, ours.as_str(), "comes from an agent"),
        (true, ",\"reservedFor\":\"tools\"}", "tools"),
    ] {
        let mut lines = body(&file);
        let index = lines
            .iter()
            .position(|line| grants(line) && line.ends_with(&ours) == is_promise);
        let index = index.unwrap();
        let line = lines[index].trim_end_matches(&ours).trim_end_matches('}');
        lines[index] = format!("{line}{said}");
        let refused = import(&new.operator(), &sealed(&lines)).await;
        let told = (refused.status, refused.field().to_owned());
        assert_eq!(told, (400, format!("line {}", index + 1)), "{refused}");
        assert!(refused.message().contains(why), "{refused}");
    }
    // The twin: the file as it is.
    import(&new.operator(), &file).await.expect(200);
}

/// Who gives an agent a key gives what the agent can redeem with it.
#[tokio::test]
async fn what_an_agent_can_redeem_counts_against_a_ceiling() {
    let world = world().await;
    let app = &world.app;
    let bounded =
        json!({ "name": "k", "scopes": ["agents:write"], "ceiling": may(&["*"], "other:*") });
    let bounded = app.key(bounded).await;
    let rotate = format!("/api/v1/agents/{}/rotate", world.receiver.id);
    world.promise().await;
    let reply = app.call(&bounded).post(&rotate, json!({})).await;
    assert_eq!((reply.status, reply.code()), (403, "forbidden"), "{reply}");
    // The twin: the promise is over.
    app.advance(301);
    let reply = app.call(&bounded).post(&rotate, json!({})).await;
    reply.expect(201);
}

/// The path of a token that was promised is one that a human can approve a call on, while it stands.
#[tokio::test]
async fn a_call_with_a_token_that_was_promised_is_approved_until_the_promise_is_taken_back() {
    for taken_back in [false, true] {
        let mut world = world().await;
        let asks = may_under(&["*"], "tools:call:*", json!({ "requireApproval": true }));
        world.giver = world.app.agent(&world.user, asks).await;
        let (app, operator) = (&world.app, world.app.operator());
        let id = world.promised().await;
        let token = world.redeem(&world.receiver.key, &id).await.expect(200);
        let token = token.text_at("/data/token").to_owned();
        let asked = decide(app, &world.server, &token, "search").await;
        let asked = asked.decided("approval_required");
        let approval = format!("/api/v1/approvals/{}", asked.text_at("/data/approvalId"));
        let shown = operator.get(&approval).await.expect(200);
        if taken_back {
            let path = format!("/api/v1/delegations/{id}");
            operator.delete(&path).await.expect(200);
        }
        let digest = json!({ "digest": shown.text_at("/data/digest") });
        let yes = operator.post(&format!("{approval}/approve"), digest).await;
        assert_eq!(yes.status, if taken_back { 409 } else { 200 }, "{yes}");
        let again = decide(app, &world.server, &token, "search").await;
        again.decided(if taken_back { "key_revoked" } else { "allowed" });
    }
}
