//! Humans of outside providers after a restoration: nobody who was banned since the backup acts again by a provider's
//! word, and what is good once is not good twice.

use kavachos::engine::Rehearsal;
use kavachos_test::kavachos;
use kavachos_test::{Call, ProviderSigner, Reply, TestAgent, TestApp, TestProvider, may};
use serde_json::{Value, json};

use crate::id_tokens::{believing, exchange, header, refused, seconds, terms};
use crate::moving::{export, import};
use crate::restore::{log_of, restore, restore_knowing};
use crate::tokens::{DELEGATE, own, proof_at, register};

const WAITS: &str = "operator has to confirm";

/// A tenant in which a human of a provider acted, and a backup of that moment.
struct Scene {
    provider: TestProvider,
    app: TestApp,
    backup: TestApp,
    /// An agent of somebody else.
    agent: TestAgent,
    file: String,
}

/// A server that believes a provider.
async fn started(provider: &TestProvider, seed: u64) -> TestApp {
    let believing = believing(vec![terms("clerk", provider)]);
    believing.seeded(seed).start().await
}

impl Scene {
    async fn new() -> Self {
        let provider = TestProvider::start("").await;
        let app = started(&provider, 1).await;
        register(&app, json!({})).await;
        let agent = app
            .agent(&app.user().await, may(&["*"], "tools:call:search"))
            .await;
        let file = String::new();
        let backup = started(&provider, 7).await;
        let mut scene = Self {
            provider,
            app,
            backup,
            agent,
            file,
        };
        let token = scene.token(&scene.app, "old", "0");
        exchange(&scene.app, &token).await.expect(200);
        scene.file = export(&scene.app.operator()).await;
        let came = import(&scene.backup.operator(), &scene.file).await;
        came.expect(200);
        scene
    }

    /// Another server with a file in it.
    async fn filled(&self, seed: u64, file: &str) -> TestApp {
        let app = started(&self.provider, seed).await;
        import(&app.operator(), file).await.expect(200);
        app
    }

    /// What the provider says of a human at a server's time.
    fn token(&self, app: &TestApp, human: &str, id: &str) -> String {
        let now = seconds(app);
        let claims = json!({ "iss": self.provider.issuer(), "sub": human, "aud": "app", "iat": now,
            "exp": now + 120, "jti": id });
        ProviderSigner::Rsa.token(&header(ProviderSigner::Rsa), &claims)
    }

    /// What comes of a new token of the provider.
    async fn acts(&self, app: &TestApp, human: &str, id: &str) -> Reply {
        exchange(app, &self.token(app, human, id)).await
    }

    /// The operator, whose key came along.
    fn operator(&self, app: &TestApp) -> Call {
        app.call(self.app.operator_key())
    }

    async fn ban(&self, human: &str) {
        let operator = self.app.operator();
        let user = user(&operator, human).await;
        let path = format!("/api/v1/users/{}/ban", user["id"].as_str().unwrap());
        operator.post(&path, json!({})).await.expect(200);
    }
}

/// The human whom the provider calls so.
async fn user(operator: &Call, human: &str) -> Value {
    let users = operator.get("/api/v1/users").await.expect(200);
    let named = |user: &&Value| user["external"]["externalId"] == human;
    users.rows().iter().find(named).unwrap().clone()
}

async fn admit(operator: &Call) -> Reply {
    let reply = operator.post("/api/v1/users/admit", json!({})).await;
    reply.expect(200)
}

#[tokio::test]
async fn a_human_who_came_after_the_backup_and_was_banned_is_not_made_anew() {
    let scene = Scene::new().await;
    let backup = &scene.backup;
    scene.acts(&scene.app, "late", "1").await.expect(200);
    scene.ban("late").await;
    // The twin: in the backup as it is nobody knows, and the provider's word makes them anew.
    let served = scene.filled(8, &scene.file).await;
    scene.acts(&served, "late", "2").await.expect(200);

    let log = log_of(&scene.app).await;
    let restored = restore(backup, Some(log), Rehearsal::No).await;
    assert_eq!(
        (restored.missing_humans, restored.unknown_kills),
        (1, false)
    );
    assert!(restored.humans_held);
    // Which of those who are not here it is, nobody can tell.
    for human in ["late", "new"] {
        let reply = scene.acts(backup, human, "3").await;
        refused(&reply, 400, "invalid_grant", WAITS);
    }
    let operator = scene.operator(backup);
    let external = json!({ "provider": "clerk", "externalId": "new" });
    let agent = json!({ "owner": external, "name": "n", "type": "service",
        "permissions": may(&["*"], "tools:call:search") });
    let owned = operator.post("/api/v1/agents", agent.clone()).await;
    owned.refused(403, "forbidden");
    let denied = "/api/v1/audit?kind=token.issued&outcome=denied";
    let denied = operator.get(denied).await.expect(200);
    let reason = denied.rows()[0]["reason"].as_str().unwrap();
    assert!(reason.contains(WAITS), "{reason}");
    // Who was here before goes on, and whom an operator creates comes in alone.
    scene.acts(backup, "old", "4").await.expect(200);
    let created = operator.post("/api/v1/users", json!({ "external": external }));
    created.await.expect(201);
    scene.acts(backup, "new", "5").await.expect(200);
    operator.post("/api/v1/agents", agent).await.expect(201);
    refused(
        &scene.acts(backup, "late", "6").await,
        400,
        "invalid_grant",
        WAITS,
    );

    assert_eq!(admit(&operator).await.at("/data/wereHeld"), true);
    scene.acts(backup, "late", "7").await.expect(200);
    assert_eq!(admit(&operator).await.at("/data/wereHeld"), false);
}

#[tokio::test]
async fn a_human_of_the_backup_who_was_banned_since_is_banned() {
    let scene = Scene::new().await;
    scene.ban("old").await;
    let log = log_of(&scene.app).await;
    let restored = restore(&scene.backup, Some(log), Rehearsal::No).await;
    assert_eq!(
        (restored.missing_humans, restored.unknown_kills),
        (0, false)
    );
    let banned = scene.acts(&scene.backup, "old", "1").await;
    refused(&banned, 400, "invalid_grant", "banned or deleted");
}

/// Of whoever came since, no row says how little they were allowed: the provider's word would give them all that it may.
#[tokio::test]
async fn new_humans_come_as_before_only_where_nothing_was_lost() {
    for is_lost in [false, true] {
        let scene = Scene::new().await;
        let operator = scene.app.operator();
        let came = if is_lost { 3 } else { 0 };
        for number in 0..came {
            let external = json!({ "provider": "clerk", "externalId": format!("late-{number}") });
            let user = json!({ "external": external, "permissions": may(&["read"], "notes:*") });
            operator.post("/api/v1/users", user).await.expect(201);
        }
        let log = log_of(&scene.app).await;
        let known = scene.app.kavach().engine().checkpoint().await.unwrap();
        let restored = restore_knowing(&scene.backup, Some(log), Some(known)).await;
        assert_eq!(
            (restored.missing_humans, restored.humans_held),
            (0, is_lost)
        );
        let reply = scene.acts(&scene.backup, "late-1", "1").await;
        if is_lost {
            refused(&reply, 400, "invalid_grant", WAITS);
        } else {
            reply.expect(200);
        }
    }
}

#[tokio::test]
async fn without_the_log_humans_of_providers_are_banned_and_new_ones_wait() {
    let scene = Scene::new().await;
    let backup = &scene.backup;
    scene.ban("old").await;
    // The twin: the backup knows nothing of it.
    scene.acts(backup, "old", "1").await.expect(200);
    let restored = restore(backup, None, Rehearsal::No).await;
    // The other human of the tenant is of no provider.
    assert_eq!(restored.ended["users"], 1);
    let key = kavachos::NewKey::new("next", &["*"]);
    let key = backup.kavach().keys().create(key).await.unwrap();
    let operator = backup.call(key.token.unwrap().reveal());
    let server = json!({ "audience": crate::tokens::TOOLS, "name": "tools", "party": "first", "kind": "kavach",
        "scopes": [{ "name": "tools:call:*", "description": "call tools" }] });
    let server = operator.post("/api/v1/resources", server).await;
    server.expect(201);
    let reply = scene.acts(backup, "old", "2").await;
    refused(&reply, 400, "invalid_grant", "banned or deleted");
    refused(
        &scene.acts(backup, "new", "3").await,
        400,
        "invalid_grant",
        WAITS,
    );
    let users = operator.get("/api/v1/users").await.expect(200);
    let statuses = users.rows().iter().map(|user| user["status"].as_str());
    assert_eq!(
        statuses.filter(|status| *status == Some("active")).count(),
        1
    );
    // Each of them is one call away.
    let old = user(&operator, "old").await;
    let unban = format!("/api/v1/users/{}/unban", old["id"].as_str().unwrap());
    operator.post(&unban, json!({})).await.expect(200);
    scene.acts(backup, "old", "4").await.expect(200);
    admit(&operator).await;
    scene.acts(backup, "new", "5").await.expect(200);
    // A ban has its kill, so the tenant agrees with itself, and what is exported of its log tells of it.
    let file = export(&operator).await;
    scene.filled(9, &file).await;
}

#[tokio::test]
async fn who_waits_waits_after_a_move_and_another_restoration_too() {
    let scene = Scene::new().await;
    let backup = &scene.backup;
    scene.acts(&scene.app, "late", "1").await.expect(200);
    scene.ban("late").await;
    let log = log_of(&scene.app).await;
    restore(backup, Some(log), Rehearsal::No).await;
    let operator = scene.operator(backup);
    let next = scene.filled(8, &export(&operator).await).await;
    refused(
        &scene.acts(&next, "late", "2").await,
        400,
        "invalid_grant",
        WAITS,
    );
    // A restoration that knows of nobody who is missing lifts no hold.
    let page = scene
        .operator(&next)
        .get("/api/v1/revocations?since=0")
        .await;
    let records = page.expect(200).at("/data/records").clone();
    let restored = restore(&next, Some(log_in(&next, records)), Rehearsal::No).await;
    assert_eq!((restored.missing_humans, restored.humans_held), (0, true));
    refused(
        &scene.acts(&next, "late", "3").await,
        400,
        "invalid_grant",
        WAITS,
    );
    // The twin: the operator's word moves, too.
    admit(&operator).await;
    let next = scene.filled(9, &export(&operator).await).await;
    scene.acts(&next, "late", "4").await.expect(200);
}

/// The log of a server in its own epoch.
fn log_in(app: &TestApp, records: Value) -> Vec<String> {
    let head = app.head();
    let of = kavachos::engine::Exported {
        log: head.log,
        epoch: head.epoch,
    };
    let (mut writer, first) = kavachos::engine::RevocationWriter::begin(of);
    let records: Vec<kavachos::core::revocation::Record> = serde_json::from_value(records).unwrap();
    let mut lines = vec![first];
    lines.extend(records.iter().map(|record| writer.add(record).unwrap()));
    lines.push(writer.end());
    lines
}

#[tokio::test]
async fn what_is_good_once_and_was_made_before_a_restoration_is_good_no_more() {
    let scene = Scene::new().await;
    let (app, backup) = (&scene.app, &scene.backup);
    // Used after the backup, which does not know of it.
    let id_token = scene.token(app, "old", "once");
    exchange(app, &id_token).await.expect(200);
    let (proof, _) = proof_at(app, DELEGATE, (5, "once"));
    let proves = async |app: &TestApp, proof: &str| {
        let call = app.call(&scene.agent.key).header("dpop", proof);
        call.post(DELEGATE, own(&scene.agent)).await
    };
    proves(app, &proof).await.expect(200);
    // The twin: the backup as it is takes it again. A proof of the moment in which a file came in may have been used before.
    let served = scene.filled(8, &scene.file).await;
    exchange(&served, &id_token).await.expect(200);
    proves(&served, &proof).await.refused(403, "forbidden");

    backup.advance(1);
    restore(backup, Some(log_of(app).await), Rehearsal::No).await;
    let again = exchange(backup, &id_token).await;
    refused(
        &again,
        400,
        "invalid_grant",
        "before this server was restored",
    );
    let again = proves(backup, &proof).await.refused(403, "forbidden");
    assert!(
        again.message().contains("before this server was restored"),
        "{again}"
    );
    // A client's clock may be ahead.
    let (early, _) = proof_at(backup, DELEGATE, (5, "early"));
    proves(backup, &early).await.refused(403, "forbidden");
    backup.advance(31);
    // What is made now is taken, once.
    let id_token = scene.token(backup, "old", "now");
    exchange(backup, &id_token).await.expect(200);
    refused(
        &exchange(backup, &id_token).await,
        400,
        "invalid_grant",
        "used before",
    );
    let (proof, _) = proof_at(backup, DELEGATE, (5, "now"));
    proves(backup, &proof).await.expect(200);
    proves(backup, &proof).await.refused(403, "forbidden");
}
