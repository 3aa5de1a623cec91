//! What was made with an address before anybody showed that they read mail there: nothing of it is left to whoever made it.

use std::time::Duration;

use kavachos_auth::email_password::Verification;
use kavachos_auth::totp::Totp;
use kavachos_engine::plugin::{
    Allowance, Answer, CallerType, Change, Context, Flood, Method, Plugin, Request, Route,
};
use kavachos_engine::{Result, SignIn};
use kavachos_store::migration::Migration;
use kavachos_store::{Query, Write};
use kavachos_test::may;
use serde_json::{Value, json};

use super::not_me::token_in;
use super::scene::{ADA, PASSWORD, Scene, token_of};

const DOOR: &str = "/api/auth/door";

/// Lets in whoever is named, and notes something of them that waits to be confirmed.
struct Door;

impl Plugin for Door {
    fn id(&self) -> &'static str {
        "door"
    }

    fn migrations(&self) -> Vec<Migration> {
        vec![Migration {
            owner: "door",
            number: 1,
            name: "pending",
            sql: "CREATE TABLE door_pending (user_id {text} NOT NULL PRIMARY KEY) {keyed};",
            min_binary: 1,
        }]
    }

    fn kinds(&self) -> Vec<&'static str> {
        vec!["door.opened"]
    }

    fn routes(&self) -> Vec<Route> {
        let many = Allowance::new(10_000, Duration::from_secs(60));
        let open = CallerType::Open(Flood {
            per_source: many,
            overall: many,
        });
        vec![
            Route::new(Method::Post, DOOR, open, let_in),
            Route::new(Method::Get, DOOR, CallerType::Session, pending),
        ]
    }

    fn forgets(&self, human: kavachos_core::id::UserId) -> Vec<Write> {
        vec![Write::any("DELETE FROM door_pending WHERE user_id = ?1").bind(human)]
    }
}

async fn let_in(context: Context, request: Request) -> Result<Answer> {
    let body: Value = request.json()?;
    let user: kavachos_core::id::UserId = body["user"].as_str().unwrap().parse().unwrap();
    let changed = context.change("door.opened", || async {
        let row = Write::exactly(1, "INSERT INTO door_pending (user_id) VALUES (?1)").bind(user);
        let change = Change::of("door").write(row);
        Ok(change.signs_in(SignIn::of(user, "door")))
    });
    Answer::signed_in(changed.await?.signed_in.unwrap())
}

async fn pending(context: Context, _: Request) -> Result<Answer> {
    let all = Query::new(10, "SELECT user_id FROM door_pending");
    let all: Vec<(String,)> = context.read(all).await?;
    Answer::data(&json!({ "waits": all.len() }))
}

/// A human with an address that nobody verified, an agent, and a grant to somebody else's agent.
struct World {
    scene: Scene,
    user: String,
    agent: String,
    key: String,
    given: String,
}

async fn world() -> World {
    let setup = crate::setup().with(|builder| builder.plugin(Totp::default()).plugin(Door));
    let scene = Scene::of(setup, Verification::Later).await;
    let made = json!({ "email": ADA });
    let operator = scene.app.operator();
    let made = operator.post("/api/v1/users", made).await.expect(201);
    let user = made.id().to_owned();
    let agent = scene.app.agent(&user, may(&["read"], "mcp:*")).await;
    let others = scene
        .app
        .agent(&scene.app.user().await, may(&["read"], "mcp:x"))
        .await;
    let given = scene
        .app
        .delegate(&user, &others.id, may(&["read"], "mcp:y"))
        .await
        .expect(201);
    World {
        given: given.id().to_owned(),
        agent: agent.id,
        key: agent.key,
        scene,
        user,
    }
}

impl World {
    /// Somebody signs in who never showed that they read mail there, and adds codes of an app.
    async fn stranger(&self) -> String {
        let body = json!({ "user": self.user });
        let opened = self.scene.post(DOOR, body).await.expect(200);
        let session = token_of(&opened);
        let call = self.scene.app.call(&session);
        let begun = call.post("/api/auth/totp/setup", json!({})).await;
        let code = code(&self.scene, begun.expect(201).text_at("/data/secret"));
        let shown = json!({ "code": code });
        call.post("/api/auth/totp/enable", shown).await.expect(200);
        session
    }

    /// The reader of the address takes the account over: their session.
    async fn claimed(&self) -> String {
        let mut reader = self.scene.browser();
        let asked = json!({ "email": ADA });
        let asked = reader.post("/api/auth/magic-link/send", asked).await;
        asked.expect(200);
        let text = loop {
            let text = self.scene.next_mail().await;
            // That codes were added is told, too.
            if text.contains("/magic-link?") {
                break text;
            }
        };
        let link = json!({ "token": token_in(&text) });
        let used = reader.post("/api/auth/magic-link/verify", link).await;
        token_of(&used.expect(200))
    }

    async fn status(&self, path: String) -> String {
        let shown = self.scene.app.operator().get(&path).await.expect(200);
        shown.text_at("/data/status").to_owned()
    }
}

pub(super) fn code(scene: &Scene, secret: &str) -> String {
    let now = scene.app.kavach().engine().now().as_micros() / 1_000_000;
    let secret = totp_rs::Secret::try_from_base32(secret).unwrap();
    totp_rs::Builder::new()
        .with_secret(secret)
        .build()
        .unwrap()
        .generate(u64::try_from(now).unwrap())
        .to_string()
}

/// Credentials and agents are also shown by `links::the_reader_of_an_address_takes_over_what_somebody_else_made_with_it`.
#[tokio::test]
async fn whoever_reads_mail_at_an_address_finds_nothing_of_who_signed_in_before() {
    for somebody_signed_in in [true, false] {
        let world = world().await;
        let stranger = match somebody_signed_in {
            true => Some(world.stranger().await),
            false => None,
        };
        let own = world.claimed().await;
        let app = &world.scene.app;
        // Factors: none is asked for.
        let codes = app.call(&own).get("/api/auth/totp").await.expect(200);
        assert_eq!(codes.at("/data/enabled"), false, "{codes}");
        // Pending changes.
        let waits = app.call(&own).get(DOOR).await.expect(200);
        assert_eq!(waits.at("/data/waits"), 0);
        // Keys.
        let dead = app.call(&world.key).get("/api/v1/agents").await;
        dead.refused(401, "unauthenticated");
        // Sessions.
        if let Some(stranger) = stranger {
            let dead = app.call(&stranger).get("/api/auth/session").await;
            dead.refused(401, "unauthenticated");
        }
        // Agents, grants: the twin is an account in which nobody ever signed in; operators made all of it.
        let fate = if somebody_signed_in {
            "revoked"
        } else {
            "active"
        };
        let agent = format!("/api/v1/agents/{}", world.agent);
        assert_eq!(world.status(agent).await, fate);
        let given = format!("/api/v1/delegations/{}", world.given);
        assert_eq!(world.status(given).await, fate);
        let path = format!("/api/v1/users/{}", world.user);
        let shown = app.operator().get(&path).await.expect(200);
        assert_eq!(shown.at("/data/emailVerified"), true);
        // Nor is a factor asked for at the next sign-in.
        let again = world.claimed().await;
        let open = app.call(&again).get("/api/auth/session").await;
        open.expect(200);
    }
}

/// Sessions are forgotten; who made what is not.
#[tokio::test]
async fn what_a_stranger_made_long_ago_ends_too() {
    let scene = Scene::of(crate::setup(), Verification::Later).await;
    let body = json!({ "email": ADA, "password": PASSWORD });
    let made = scene
        .post("/api/auth/sign-up/email", body)
        .await
        .expect(200);
    let user = made.text_at("/data/user/id").to_owned();
    let mine = json!({
        "ownerId": user, "name": "mine", "type": "autonomous", "permissions": may(&["read"], "mcp:*"),
    });
    let own = scene
        .app
        .call(&token_of(&made))
        .post("/api/v1/agents", mine)
        .await;
    let own = own.expect(201).id().to_owned();
    let operators = scene.app.agent(&user, may(&["read"], "mcp:*")).await.id;
    scene.app.advance(90 * 24 * 60 * 60);
    let engine = scene.app.kavach().engine();
    engine.forget().await.unwrap();
    let path = format!("/api/v1/users/{user}/sessions");
    let left = scene.app.operator().get(&path).await.expect(200);
    assert!(left.rows().is_empty(), "{left}");
    let world = World {
        given: String::new(),
        agent: own.clone(),
        key: String::new(),
        scene,
        user,
    };
    world.claimed().await;
    for agent in [own, operators] {
        assert_eq!(
            world.status(format!("/api/v1/agents/{agent}")).await,
            "revoked"
        );
    }
}
