//! What a provider's token is worth to an account that has more than one way in: it proves one factor, and an identity that
//! was taken from an account is no way into it, nor to a new one. Each refusal stands beside the same call with the control
//! off.

use futures_util::future::join_all;
use kavachos_auth::provider::ProviderSignIn;
use kavachos_core::id_token::TokenKind;
use kavachos_engine::{FreshBy, SecondFactor};
use kavachos_test::{Reply, TestApp, TestProvider, may, may_under};
use serde_json::{Value, json};

use crate::id_tokens::{World, believing, permissions, refused, seconds, terms, with};
use crate::moving::{export, import};
use crate::provider_sessions::Pin;
use crate::provider_sign_in::kind;
use crate::roles::Human;
use crate::tokens::register;

const USERS: &str = "/api/v1/users";
const AGENTS: &str = "/api/v1/agents";
const SIGN_IN: &str = "/api/auth/sign-in/provider";
const ARM: &str = "/api/auth/pin/arm";
const FORMER: &str = "taken from an account";

/// A server on which tokens of one provider call, open sessions and are exchanged, each as fresh as it is made.
async fn world() -> World {
    world_that_demands(SecondFactor::Offered).await
}

async fn world_that_demands(second_factor: SecondFactor) -> World {
    let provider = TestProvider::start("").await;
    let setup = believing(vec![at(&provider)]);
    let setup = setup.settings(|settings| settings.second_factor = second_factor);
    let setup = setup.with(|builder| builder.plugin(ProviderSignIn).plugin(Pin));
    let app = setup.start().await;
    register(&app, json!({})).await;
    World { app, provider }
}

fn at(provider: &TestProvider) -> kavachos_engine::ProviderTerms {
    let mut terms = terms("clerk", provider);
    terms.sign_in = vec![kind(TokenKind::Identity, &[], &[])];
    terms.sign_in[0].fresh_by = FreshBy::Issue;
    terms.session_life = Some(std::time::Duration::from_secs(3_600));
    terms
}

impl World {
    /// A token of this human of the provider, which was not used yet.
    fn of(&self, human: &str, number: usize) -> String {
        self.signed_at(human, number, seconds(&self.app))
    }

    fn signed_at(&self, human: &str, number: usize, now: i64) -> String {
        let claims = with(self.claims(), "sub", json!(human));
        let claims = with(claims, "jti", json!(number.to_string()));
        let claims = with(claims, "iat", json!(now));
        self.signed(&with(claims, "exp", json!(now + 120)))
    }
}

async fn sign_in(app: &TestApp, token: &str) -> Reply {
    let body = json!({ "token": token });
    app.anonymous().post(SIGN_IN, body).await
}

fn new_agent(name: &str) -> Value {
    json!({ "name": name, "type": "service", "permissions": may(&["*"], "tools:call:search") })
}

fn clerk(human: &str) -> Value {
    json!({ "provider": "clerk", "externalId": human })
}

/// Lessons C 68, and review B 1: what proves one factor calls for nobody who has two, by whatever door.
#[tokio::test]
async fn a_providers_token_passes_no_second_factor_by() {
    for armed in [false, true] {
        let world = world().await;
        let app = &world.app;
        let first = sign_in(app, &world.of("user_1", 0)).await.expect(200);
        let session = first.text_at("/data/token").to_owned();
        let user = first.text_at("/data/user/id").to_owned();
        let asks = may_under(
            &["*"],
            "tools:call:search",
            json!({ "requireApproval": true }),
        );
        let agent = app.agent(&user, asks).await;
        let asked = app.decide(&agent.id, "run", "tools:call:search").await;
        let approval = asked.text_at("/data/approvalId").to_owned();
        let shown = format!("/api/v1/approvals/{approval}");
        let shown = app.operator().get(&shown).await.expect(200);
        if armed {
            app.call(&session).post(ARM, json!({})).await.expect(204);
            // What the provider said before is over with the sessions of before.
            app.advance(60);
        }
        let bearer = world.of("user_1", 1);
        let caller = app.call(&bearer);
        let approve = format!("/api/v1/approvals/{approval}/approve");
        let digest = json!({ "digest": shown.at("/data/digest") });
        for (what, reply) in [
            ("read", caller.get(AGENTS).await),
            ("create", caller.post(AGENTS, new_agent("own")).await),
            ("approve", caller.post(&approve, digest).await),
            ("export", caller.get("/api/auth/export").await),
        ] {
            assert_eq!(reply.status < 300, !armed, "{what}: {reply}");
            if armed {
                let reply = reply.refused(403, "forbidden");
                assert!(reply.message().contains("second factor"), "{what}: {reply}");
            }
        }
        let exchanged = world.exchange(&world.of("user_1", 2)).await;
        if armed {
            refused(&exchanged, 400, "invalid_grant", "second factor");
        } else {
            exchanged.expect(200);
        }
        let gone = caller.post("/api/auth/delete-account", json!({})).await;
        assert_eq!(gone.status < 300, !armed, "{gone}");
        let known = app.operator().get(&format!("{USERS}/{user}")).await;
        let expected = if armed { "active" } else { "revoked" };
        assert_eq!(known.text_at("/data/status"), expected);
    }
}

/// What a bearer does beside the arming is done before it, or not at all.
#[tokio::test]
async fn what_a_bearer_does_beside_the_arming_of_a_factor_is_done_before_it() {
    let world = world().await;
    let app = &world.app;
    for round in 0..8 {
        let human = format!("user_{round}");
        let first = sign_in(app, &world.of(&human, 0)).await.expect(200);
        let session = first.text_at("/data/token").to_owned();
        let user = first.text_at("/data/user/id").to_owned();
        let bearer = world.of(&human, 1);
        let makes = (0..12).map(|number| {
            let name = format!("agent-{number}");
            let caller = app.call(&bearer);
            async move { caller.post(AGENTS, new_agent(&name)).await }
        });
        let arms = app.call(&session);
        let (made, armed) = tokio::join!(join_all(makes), arms.post(ARM, json!({})));
        armed.expect(204);
        for reply in &made {
            assert!([201, 401, 403, 409].contains(&reply.status), "{reply}");
        }
        let seq = |record: &Value| record["seq"].as_u64().unwrap();
        let armed = seq(&app.audit("kind=pin.armed").await[0]);
        let records = app
            .audit("kind=agent.created&outcome=allowed&limit=1000")
            .await;
        for record in records.iter().filter(|record| record["subject"] == user) {
            assert!(seq(record) < armed, "made after the factor: {record}");
        }
    }
}

/// What a bearer does beside the end of their identity is done before it, or not at all: whoever takes an identity away, be
/// it an operator or its human, leaves nobody behind who came by it.
#[tokio::test]
async fn what_a_bearer_does_beside_the_end_of_their_identity_is_done_before_it() {
    let world = world().await;
    let app = &world.app;
    let operator = app.operator();
    for round in 0..8 {
        let human = format!("user_{round}");
        let bearer = world.of(&human, 0);
        app.call(&bearer).get(AGENTS).await.expect(200);
        let body = clerk(&human);
        let path = format!("{USERS}?provider=clerk&externalId={human}");
        let found = operator.get(&path).await.expect(200);
        assert_eq!(found.rows()[0]["external"], body);
        let user = found.text_at("/data/0/id").to_owned();
        let makes = (0..12).map(|number| {
            let name = format!("agent-{number}");
            let caller = app.call(&bearer);
            async move { caller.post(AGENTS, new_agent(&name)).await }
        });
        let path = format!("{USERS}/{user}");
        let takes = operator.patch(&path, json!({ "external": null }));
        let (made, taken) = tokio::join!(join_all(makes), takes);
        taken.expect(200);
        for reply in &made {
            assert!([201, 401, 403, 409].contains(&reply.status), "{reply}");
        }
        let seq = |record: &Value| record["seq"].as_u64().unwrap();
        let unlinked = app.audit("kind=user.unlinked&limit=1000").await;
        let mut own = unlinked.iter().filter(|record| record["subject"] == user);
        let taken = own.next().map(seq).unwrap();
        let records = app
            .audit("kind=agent.created&outcome=allowed&limit=1000")
            .await;
        for record in records.iter().filter(|record| record["subject"] == user) {
            assert!(seq(record) < taken, "made without the identity: {record}");
        }
        // Whoever came too late made nobody new either.
        assert_eq!(app.call(&bearer).get(AGENTS).await.status, 403);
    }
}

/// Review B 3: an admin makes no account into which two people come.
#[tokio::test]
async fn only_an_owner_makes_an_account_of_somebodys_identity() {
    let world = world().await;
    let app = &world.app;
    let admin = Human::with_role(app, "admin").await.token;
    let owner = Human::with_role(app, "owner").await.token;
    let key = app
        .key(json!({ "name": "k", "scopes": ["users:write"] }))
        .await;
    for (who, token, status) in [
        ("admin", &admin, 403),
        ("owner", &owner, 201),
        ("key", &key, 201),
    ] {
        let mail = format!("{who}@example.com");
        let body = json!({ "email": mail, "external": clerk(who) });
        let made = app.call(token).post(USERS, body).await;
        assert_eq!(made.status, status, "{who}: {made}");
        // The twin: without an identity elsewhere an admin may.
        let body = json!({ "email": format!("other-{mail}") });
        app.call(token).post(USERS, body).await.expect(201);
    }
}

#[tokio::test]
async fn whoever_has_an_identity_of_a_provider_may_no_more_than_its_ceiling_unless_that_is_said() {
    let world = world().await;
    let app = &world.app;
    let ceiling = may(&["*"], "tools:call:search");
    let everything = may(&["*"], "*");
    for (body, expected) in [
        (json!({ "external": clerk("a") }), &ceiling),
        (
            json!({ "external": clerk("b"), "permissions": everything }),
            &everything,
        ),
        (
            json!({ "external": { "provider": "other", "externalId": "a" } }),
            &Value::Null,
        ),
        (json!({ "name": "none" }), &Value::Null),
    ] {
        let made = app.operator().post(USERS, body).await.expect(201);
        assert_eq!(made.at("/data/permissions"), expected, "{made}");
    }
    let body = with(new_agent("first"), "owner", clerk("c"));
    let made = app.operator().post(AGENTS, body).await.expect(201);
    let owner = format!("{USERS}/{}", made.text_at("/data/userId"));
    let owner = app.operator().get(&owner).await.expect(200);
    assert_eq!(owner.at("/data/permissions"), &ceiling);
    assert_eq!(
        permissions(&ceiling),
        permissions(owner.at("/data/permissions"))
    );
}

/// Review B 4: an operator takes an identity away, with all that was opened by it.
#[tokio::test]
async fn an_operator_takes_an_identity_away_and_it_makes_nobody_new() {
    let world = world().await;
    let app = &world.app;
    let operator = app.operator();
    let first = sign_in(app, &world.of("user_1", 0)).await.expect(200);
    let session = first.text_at("/data/token").to_owned();
    let user = format!("{USERS}/{}", first.text_at("/data/user/id"));
    let bearer = world.of("user_1", 1);
    app.call(&bearer).get(AGENTS).await.expect(200);
    // It is given by nobody but whoever has it.
    let given = json!({ "external": clerk("user_2") });
    let given = operator.patch(&user, given).await;
    assert_eq!(given.status, 400, "{given}");
    // A stopped human stays known to their provider's name.
    let none = json!({ "external": null });
    operator
        .post(&format!("{user}/ban"), json!({}))
        .await
        .expect(200);
    operator
        .patch(&user, none.clone())
        .await
        .refused(409, "conflict");
    operator
        .post(&format!("{user}/unban"), json!({}))
        .await
        .expect(200);
    app.advance(60);
    let session_2 = sign_in(app, &world.of("user_1", 2)).await.expect(200);
    let session_2 = session_2.text_at("/data/token").to_owned();
    for token in [&session_2, &world.of("user_1", 3)] {
        app.call(token).get(AGENTS).await.expect(200);
    }
    app.call(&session)
        .get(AGENTS)
        .await
        .refused(401, "unauthenticated");
    let admin = Human::with_role(app, "admin").await.token;
    let by_admin = app.call(&admin).patch(&user, none.clone()).await;
    by_admin.refused(403, "forbidden");
    let taken = operator.patch(&user, none.clone()).await.expect(200);
    assert!(taken.at("/data/external").is_null());
    assert_eq!(taken.at("/data/narrowed/state"), "closed");
    let again = operator.patch(&user, none).await.expect(200);
    assert!(again.at("/data/narrowed").is_null(), "{again}");
    app.call(&session_2)
        .get(AGENTS)
        .await
        .refused(401, "unauthenticated");
    let record = app.audit("kind=user.unlinked").await.remove(0);
    assert_eq!(
        record["details"],
        json!({ "provider": "clerk", "why": "asked" })
    );
    makes_nobody_new(&world, &user).await;
}

/// An identity that was taken from this human is nobody's, until it is given by hand.
async fn makes_nobody_new(world: &World, user: &str) {
    let (app, operator) = (&world.app, world.app.operator());
    app.advance(60);
    let humans = operator.get(USERS).await.rows().len();
    is_former(world, "user_1").await;
    assert_eq!(operator.get(USERS).await.rows().len(), humans);
    let mention = with(new_agent("mention"), "owner", clerk("user_1"));
    let mention = operator
        .post(AGENTS, mention)
        .await
        .refused(403, "forbidden");
    assert!(mention.message().contains(FORMER), "{mention}");
    // The twins: another human comes in as ever, and by hand the identity gets a place again.
    app.call(&world.of("user_9", 9))
        .get(AGENTS)
        .await
        .expect(200);
    let created = json!({ "external": clerk("user_1") });
    let created = operator.post(USERS, created).await.expect(201);
    assert!(!user.ends_with(created.id()));
    let bearer = world.of("user_1", 8);
    app.call(&bearer).get(AGENTS).await.expect(200);
}

/// The identity is a way to nobody: not as a bearer, not to a session, not at the exchange.
async fn is_former(world: &World, human: &str) {
    let bearer = world.app.call(&world.of(human, 101)).get(AGENTS).await;
    let bearer = bearer.refused(403, "forbidden");
    assert!(bearer.message().contains(FORMER), "{bearer}");
    let session = sign_in(&world.app, &world.of(human, 102)).await;
    session.refused(403, "forbidden");
    let exchanged = world.exchange(&world.of(human, 103)).await;
    refused(&exchanged, 400, "invalid_grant", FORMER);
}

#[tokio::test]
async fn an_identity_that_was_taken_away_stays_so_where_its_tenant_moves() {
    let world = world().await;
    let app = &world.app;
    for human in ["gone", "here"] {
        let first = app.call(&world.of(human, 0)).get(AGENTS).await;
        first.expect(200);
    }
    let users = app.operator().get(USERS).await.expect(200);
    let of = |user: &&Value| user["external"] == clerk("gone");
    let gone = users.rows().iter().find(of).unwrap()["id"].clone();
    let path = format!("{USERS}/{}", gone.as_str().unwrap());
    let none = json!({ "external": null });
    app.operator().patch(&path, none).await.expect(200);
    let file = export(&app.operator()).await;
    let other = believing(vec![at(&world.provider)]).seeded(7).start().await;
    import(&other.operator(), &file).await.expect(200);
    other.advance(60);
    let bearer = |human: &str| world.signed_at(human, 1, seconds(&other));
    let refused = other.call(&bearer("gone")).get(AGENTS).await;
    let refused = refused.refused(403, "forbidden");
    assert!(refused.message().contains(FORMER), "{refused}");
    other.call(&bearer("here")).get(AGENTS).await.expect(200);
}

/// What a provider's token proves is one factor, also of a human of whom two are demanded and who has none here.
#[tokio::test]
async fn a_providers_token_calls_for_nobody_of_whom_two_factors_are_demanded() {
    const CODE: &str = "second_factor_required";
    for (demanded, refused) in [
        (SecondFactor::Everyone, true),
        (SecondFactor::Offered, false),
    ] {
        let world = world_that_demands(demanded).await;
        let app = &world.app;
        let called = app.call(&world.of("user_1", 0)).get(AGENTS).await;
        let exchanged = world.exchange(&world.of("user_1", 1)).await;
        // A session by it owes the second factor, like any other.
        let session = sign_in(app, &world.of("user_2", 2)).await.expect(200);
        let session = app.call(session.text_at("/data/token"));
        let own = session.get("/api/auth/session").await.expect(200);
        assert_eq!(own.at("/data/owesSecondFactor"), refused, "{own}");
        let listed = session.get(AGENTS).await;
        if refused {
            called.refused(403, CODE);
            listed.refused(403, CODE);
            assert!(
                exchanged.text.contains("a second factor is demanded"),
                "{exchanged}"
            );
        } else {
            called.expect(200);
            listed.expect(200);
            exchanged.expect(200);
        }
    }
}
