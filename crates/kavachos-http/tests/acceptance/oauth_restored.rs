//! OAuth clients in a backup that is restored: what ended since stays ended, and whoever was let in is asked about anew.

use kavachos_test::kavachos::engine::Rehearsal;
use kavachos_test::{ProviderSigner, TestApp};
use serde_json::json;

use crate::moving::{export, import};
use crate::oauth_client_auth::{TYPE, assertion, keys, shows, signing};
use crate::oauth_clients::{AT_SITE, CLIENTS, SITE, World, world_of};
use crate::oauth_documents::{Host, page};
use crate::oauth_registration::REGISTER;
use crate::oauth_rows::{
    Source, is_client, is_registered, is_remembered, open_to_clients, registered, source,
};
use crate::restore::{log_of, restore, restore_knowing};
use crate::tokens::judged;

/// A backup of the tenant, in which one client ended since.
async fn behind(source: &Source) -> TestApp {
    let app = &source.world.app;
    let backup = backup_of(app).await;
    let path = format!("{CLIENTS}/{}", source.own.0);
    app.operator().delete(&path).await.expect(200);
    backup
}

async fn backup_of(app: &TestApp) -> TestApp {
    let backup = open_to_clients(crate::setup().seeded(9)).start().await;
    let file = export(&app.operator()).await;
    import(&backup.operator(), &file).await.expect(200);
    backup
}

#[tokio::test]
async fn a_client_that_ended_since_the_backup_stays_ended_and_the_others_ask_anew() {
    let source = source().await;
    let backup = behind(&source).await;
    let log = log_of(&source.world.app).await;
    // The twin: before it is restored, everything lives in it.
    assert!(is_registered(&backup, &source.own).await);
    let world = source.at(backup);
    assert!(is_remembered(&world).await);

    let restored = restore(&world.app, Some(log), Rehearsal::No).await;
    assert!(!restored.unknown_kills);
    assert_eq!(restored.ended["clients"], 1, "{restored:?}");
    assert!(restored.ended["refreshLines"] >= 2, "{restored:?}");
    assert!(!is_registered(&world.app, &source.own).await);
    assert!(is_client(&world.app, &source.site).await);
    // A token that was replaced since would be good again.
    let dead = world.refresh(&source.refresh).await;
    assert!([400, 401].contains(&dead.status), "{dead}");
    let dead = world.redeem(&source.code, &[]).await;
    assert!([400, 401].contains(&dead.status), "{dead}");
    assert!(!is_remembered(&world).await);
    // Who is asked says yes, and it goes on as the same agent.
    world.let_in().await;
    let own = world.app.call(&world.session).get("/api/v1/agents").await;
    assert_eq!(own.expect(200).rows().len(), 1);
}

/// No kill tells that a client removed itself which nobody had let in.
#[tokio::test]
async fn a_client_that_removed_itself_since_the_backup_does_not_come_back() {
    let setup = open_to_clients(crate::setup().seeded(7));
    let world = world_of(setup.start().await).await;
    let (gone, used) = (registered(&world.app).await, registered(&world.app).await);
    let world = World {
        client: used.0.clone(),
        ..world
    };
    world.let_in().await;
    let backup = backup_of(&world.app).await;
    let path = format!("{REGISTER}/{}", gone.0);
    world.app.call(&gone.1).delete(&path).await.expect(204);
    let log = log_of(&world.app).await;
    assert!(is_registered(&backup, &gone).await);
    restore(&backup, Some(log), Rehearsal::No).await;
    assert!(!is_registered(&backup, &gone).await);
    // The twin: one that somebody let in.
    assert!(is_registered(&backup, &used).await);
}

/// What is taken away from a client is taken away as a secret is: what was made dies, and a backup does not bring it back.
#[tokio::test]
async fn what_was_taken_away_from_a_client_since_the_backup_does_not_come_back() {
    let (old, new) = (ProviderSigner::P256, ProviderSigner::Ed25519);
    for (change, is_over) in [
        (json!({ "jwks": keys(&[new]) }), true),
        (json!({ "redirectUris": [SITE] }), true),
        (json!({ "dpopBound": true }), true),
        // The twins: nothing is taken away.
        (json!({ "jwks": keys(&[new, old]) }), false),
        (json!({ "name": "Other" }), false),
    ] {
        let world = world_of(open_to_clients(crate::setup().seeded(7)).start().await).await;
        let client = signing(&world.app, &[old]).await;
        let world = World { client, ..world };
        let code = world.code().await;
        let shown = assertion(&world.app, old, (&world.client, "1"));
        let fields = [
            ("client_assertion_type", TYPE),
            ("client_assertion", shown.as_str()),
            ("client_id", ""),
        ];
        let tokens = world.redeem(&code, &fields).await.expect(200);
        let access = tokens.text_at("/access_token");
        let backup = backup_of(&world.app).await;
        let path = format!("{CLIENTS}/{}", world.client);
        let changed = world.app.operator().patch(&path, change.clone()).await;
        changed.expect(200);
        let lives = judged(&world.app, access).await.is_ok();
        assert_eq!(lives, !is_over, "{change}");
        let log = log_of(&world.app).await;
        let restored = restore(&backup, Some(log), Rehearsal::No).await;
        assert_eq!(restored.ended["clients"], u64::from(is_over), "{change}");
        backup.advance(31);
        let shown = assertion(&backup, old, (&world.client, "2"));
        let status = shows(&backup, &shown).await.status;
        assert_eq!(status, if is_over { 401 } else { 200 }, "{change}");
    }
}

/// No log tells that a client was denied which nobody had used: while that may have been, none that is known by a document is let
/// in.
#[tokio::test]
async fn a_client_that_was_denied_since_the_backup_waits_for_an_operator() {
    let host = Host::start().await;
    for is_lost in [true, false] {
        let world = World {
            client: host.id(),
            ..world_of(open_to_clients(crate::setup().seeded(7)).start().await).await
        };
        let backup = backup_of(&world.app).await;
        let id: String = form_urlencoded::byte_serialize(host.id().as_bytes()).collect();
        if is_lost {
            let deny = format!("{CLIENTS}/{id}/deny");
            let denied = world.app.operator().post(&deny, json!({})).await;
            denied.expect(200);
            // The backup has records of its own.
            for _ in 0..3 {
                world.app.user().await;
            }
        }
        let log = log_of(&world.app).await;
        let known = world.app.kavach().engine().checkpoint().await.unwrap();
        let key = world.app.operator_key().to_owned();
        let restored = restore_knowing(&backup, Some(log), Some(known)).await;
        assert_eq!(restored.humans_held, is_lost);
        let world = World {
            app: backup,
            ..world
        };
        let shown = page(&world, &[AT_SITE]).await;
        assert_eq!(shown.text.contains("Studio"), !is_lost, "{shown}");
        if is_lost {
            assert!(shown.text.contains("kavach user admit"), "{shown}");
            let operator = world.app.call(&key);
            let admitted = operator.post("/api/v1/users/admit", json!({})).await;
            admitted.expect(200);
            let shown = page(&world, &[AT_SITE]).await.expect(200);
            assert!(shown.text.contains("Studio"), "{shown}");
        }
        world.let_in().await;
    }
}

#[tokio::test]
async fn without_the_log_no_client_has_a_credential() {
    let source = source().await;
    let backup = behind(&source).await;
    assert!(is_client(&backup, &source.site).await);
    let restored = restore(&backup, None, Rehearsal::No).await;
    assert_eq!(restored.ended["clients"], 3, "{restored:?}");
    assert!(!is_client(&backup, &source.site).await);
    assert!(!is_registered(&backup, &source.own).await);
    let world = source.at(backup);
    let dead = world.refresh(&source.refresh).await;
    assert!([400, 401].contains(&dead.status), "{dead}");
}
