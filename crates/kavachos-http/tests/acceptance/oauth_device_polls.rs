//! Devices that poll (RFC 8628, sections 3.4 and 3.5): what they are told, when, and what is theirs alone.
//! Lessons C 10 (another client, another key) and 95 (polling, copies).

use futures_util::future::join_all;
use kavachos_engine::ProofNonces;
use kavachos_test::Reply;
use serde_json::{Value, json};

use crate::browser::{Browser, hidden};
use crate::exchange::TOKEN;
use crate::oauth_clients::{SCOPE, World, client, error, world, world_of};
use crate::oauth_device::{
    BEGIN, Codes, GRANT, MINUTE, device, living_room, living_room_of, typed,
};
use crate::tokens::{TOOLS, judged, proof_at};

/// A device that was let in.
struct Device {
    code: String,
    tokens: Reply,
}

impl World {
    async fn device_in_with(&self) -> Device {
        let codes = self.codes().await;
        self.says(&codes.user, "allow").await;
        Device {
            tokens: self.poll(&codes.device).await.expect(200),
            code: codes.device,
        }
    }
}

/// Lesson C 10: another client, and another key, get nothing for it, and it stays good for whom it is.
#[tokio::test]
async fn a_device_code_is_its_clients_and_its_keys() {
    let setup = crate::setup().settings(|settings| settings.proof_nonces = ProofNonces::Off);
    let world = living_room_of(world_of(setup.start().await).await).await;
    let other = device(&world, json!({})).await;
    let codes = world.codes().await;
    let wrong = world.poll_as((&other, &codes.device), None).await;
    error(&wrong, 400, "invalid_grant");
    world.says(&codes.user, "allow").await;
    let wrong = world.poll_as((&other, &codes.device), None).await;
    error(&wrong, 400, "invalid_grant");
    world.poll(&codes.device).await.expect(200);
    // The key that is proved when it begins, or with the first poll that proves one.
    for at_once in [true, false] {
        let name = |what: &str| format!("{what} {at_once}");
        let at = |path, seed, id: &str| proof_at(&world.app, path, (seed, &name(id))).0;
        let begins = at_once.then(|| at(BEGIN, 7, "begins"));
        let begun = world
            .begin_proving(&[], begins.as_deref())
            .await
            .expect(200);
        let codes = Codes::of(&begun);
        let show = (world.client.as_str(), codes.device.as_str());
        if !at_once {
            let bare = world.poll_as(show, None).await;
            error(&bare, 400, "authorization_pending");
            world.app.advance(5);
        }
        let bound = at(TOKEN, 7, "bound");
        let bound = world.poll_as(show, Some(&bound)).await;
        error(&bound, 400, "authorization_pending");
        world.says(&codes.user, "allow").await;
        world.app.advance(5);
        error(&world.poll_as(show, None).await, 400, "invalid_dpop_proof");
        let foreign = at(TOKEN, 8, "foreign");
        let foreign = world.poll_as(show, Some(&foreign)).await;
        error(&foreign, 400, "invalid_grant");
        let own = at(TOKEN, 7, "own");
        let own = world.poll_as(show, Some(&own)).await.expect(200);
        assert_eq!(own.at("/token_type"), "DPoP");
        let bare = world.refresh(own.text_at("/refresh_token")).await;
        error(&bare, 400, "invalid_dpop_proof");
    }
    // A proof is good once, and repeats a nonce unless it is said that it need not.
    let nonces = living_room().await;
    let early = proof_at(&nonces.app, BEGIN, (7, "early")).0;
    let early = nonces.begin_proving(&[], Some(&early)).await;
    error(&early, 400, "use_dpop_nonce");
    assert!(!early.header("dpop-nonce").is_empty());
    let used = proof_at(&world.app, BEGIN, (7, "used")).0;
    world.begin_proving(&[], Some(&used)).await.expect(200);
    let again = world.begin_proving(&[], Some(&used)).await;
    error(&again, 400, "invalid_dpop_proof");
    // A client whose tokens are bound polls with a key.
    let bound = device(&world, json!({ "dpopBound": true })).await;
    let world = World {
        client: bound,
        ..world
    };
    let codes = world.codes().await;
    error(&world.poll(&codes.device).await, 400, "invalid_dpop_proof");
}

/// Lesson C 95 and RFC 8628, section 3.5: who polls too soon waits longer from then on, also after a restart, and no longer than that.
#[tokio::test]
async fn a_device_that_polls_too_soon_is_slowed_down() {
    let world = living_room().await;
    let codes = world.codes().await;
    let told = async |code: &str| error(&world.poll(&codes.device).await, 400, code);
    told("authorization_pending").await;
    world.app.advance(5);
    told("authorization_pending").await;
    for wait in [4, 5, 5, 5] {
        world.app.advance(wait);
        told("slow_down").await;
    }
    // It waited for as long as it was told last: what came too soon did not begin the wait anew.
    world.app.advance(6);
    told("authorization_pending").await;
    // Not even what is given is given sooner, and then it is, also to whoever does not listen.
    world.says(&codes.user, "allow").await;
    for _ in 0..29 {
        told("slow_down").await;
        world.app.advance(1);
    }
    told("slow_down").await;
    world.app.advance(1);
    world.poll(&codes.device).await.expect(200);
}

/// RFC 8628, section 3.5: a device polls on whose answer was lost. It gets the same, while nobody used that.
#[tokio::test]
async fn a_device_that_lost_its_answer_gets_it_again() {
    let world = living_room().await;
    let first = world.device_in_with().await;
    world.app.advance(5);
    let again = world.poll(&first.code).await.expect(200);
    let token = again.text_at("/refresh_token");
    assert_eq!(token, first.tokens.text_at("/refresh_token"));
    assert_eq!(again.at("/scope"), SCOPE);
    for reply in [&again, &first.tokens] {
        let access = reply.text_at("/access_token");
        judged(&world.app, access).await.unwrap();
    }
    // Without harm for a while, and then it is a copy.
    world.app.advance(5);
    error(&world.poll(&first.code).await, 400, "invalid_grant");
    judged(&world.app, again.text_at("/access_token"))
        .await
        .unwrap();
    world.app.advance(20);
    error(&world.poll(&first.code).await, 400, "invalid_grant");
    error(&world.refresh(token).await, 400, "invalid_grant");
    // Who used it had it.
    let used = world.device_in_with().await;
    let token = used.tokens.text_at("/refresh_token");
    let next = world.refresh(token).await.expect(200);
    world.app.advance(5);
    error(&world.poll(&used.code).await, 400, "invalid_grant");
    let access = next.text_at("/access_token");
    assert!(judged(&world.app, access).await.is_err());
    let ended = world.app.audit("kind=connection.line_ended").await;
    let why: Vec<&Value> = ended
        .iter()
        .map(|record| &record["details"]["why"])
        .collect();
    assert_eq!(why, ["code_replayed", "code_replayed"]);
}

/// The same of a device that gets no refresh token.
#[tokio::test]
async fn a_lost_answer_without_a_refresh_token_is_given_again() {
    let world = living_room().await;
    let brief = device(&world, json!({ "grantTypes": [GRANT] })).await;
    let world = World {
        client: brief,
        ..world
    };
    let first = world.device_in_with().await;
    assert!(first.tokens.at("/refresh_token").is_null());
    world.app.advance(5);
    let again = world.poll(&first.code).await.expect(200);
    assert!(again.at("/refresh_token").is_null());
    let access = again.text_at("/access_token");
    judged(&world.app, access).await.unwrap();
    world.app.advance(30);
    error(&world.poll(&first.code).await, 400, "invalid_grant");
    assert!(judged(&world.app, access).await.is_err());
}

#[tokio::test]
async fn a_no_and_no_answer_are_told_to_the_device() {
    let world = living_room().await;
    let codes = world.codes().await;
    let page = world.page(&codes.user).await.expect(200);
    world.answered(&page, "deny").await.expect(303);
    error(&world.poll(&codes.device).await, 400, "access_denied");
    let late = world.answered(&page, "allow").await;
    assert_eq!(late.status, 409, "{late}");
    error(&world.poll(&codes.device).await, 400, "access_denied");
    let denied = world
        .app
        .audit("kind=connection.denied&outcome=denied")
        .await;
    assert_eq!(denied.len(), 1, "{denied:?}");
    assert_eq!(denied[0]["details"]["client"], world.client.as_str());
    let agents = world.app.operator().get("/api/v1/agents").await.expect(200);
    assert!(agents.rows().is_empty(), "{agents}");
    // Nobody says anything; a session that is fresh by then finds nothing either.
    let codes = world.codes().await;
    let page = world.page(&codes.user).await.expect(200);
    world.app.advance(10 * MINUTE);
    error(&world.poll(&codes.device).await, 400, "expired_token");
    let session = world.app.session(&world.user).await.token;
    let anew = Browser::of(&world.app, &session);
    assert_eq!(typed(&anew, &codes.user).await.status, 409);
    let request = hidden(&page, "request");
    let path = format!("/device/consent?request={request}");
    assert_eq!(anew.open(&path).await.status, 409);
    // It is forgotten soon after.
    world.app.advance(11 * MINUTE);
    world.app.kavach().engine().forget().await.unwrap();
    error(&world.poll(&codes.device).await, 400, "invalid_grant");
    // A yes in the last second is not too late for the next poll.
    let world = World { session, ..world };
    world.app.advance(1);
    let session = world.app.session(&world.user).await.token;
    let world = World { session, ..world };
    let codes = world.codes().await;
    world.app.advance(10 * MINUTE - 1);
    world.says(&codes.user, "allow").await;
    world.app.advance(30);
    world.poll(&codes.device).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_polls_at_once_one_gets_tokens() {
    let world = living_room().await;
    let codes = world.codes().await;
    world.says(&codes.user, "allow").await;
    let all = join_all((0..16).map(|_| world.poll(&codes.device))).await;
    let good: Vec<&Reply> = all.iter().filter(|reply| reply.status == 200).collect();
    assert_eq!(good.len(), 1, "{all:?}");
    for reply in all.iter().filter(|reply| reply.status != 200) {
        error(reply, 400, "slow_down");
    }
    // They were one device's, so that nobody was harmed.
    judged(&world.app, good[0].text_at("/access_token"))
        .await
        .unwrap();
    // Of many answers at once, one counts.
    let codes = world.codes().await;
    let page = world.page(&codes.user).await.expect(200);
    let decisions = ["allow", "deny"].into_iter().cycle().take(8);
    let all = join_all(decisions.map(|decision| world.answered(&page, decision))).await;
    let counted = all.iter().filter(|reply| reply.status == 303).count();
    assert_eq!(counted, 1, "{all:?}");
}

#[tokio::test]
async fn strangers_begin_on_so_many_devices() {
    let world = living_room().await;
    for _ in 0..30 {
        world.begin(&[]).await.expect(200);
    }
    error(&world.begin(&[]).await, 429, "temporarily_unavailable");
    world.app.advance(2 * MINUTE);
    world.begin(&[]).await.expect(200);
}

/// A code that a browser brings and one that a device polls with are not taken for each other.
#[tokio::test]
async fn no_code_is_good_in_anothers_place() {
    let world = world().await;
    let both = json!({ "name": "Both", "grantTypes": [GRANT, "authorization_code"], "authMethod": "none",
        "redirectUris": ["http://127.0.0.1/cb"] });
    let both = client(&world.app, both).await.id().to_owned();
    let world = World {
        client: both,
        ..world
    };
    let codes = world.codes().await;
    world.says(&codes.user, "allow").await;
    error(
        &world.redeem(&codes.device, &[]).await,
        400,
        "invalid_grant",
    );
    let code = world.code().await;
    error(&world.poll(&code).await, 400, "invalid_grant");
    world.redeem(&code, &[]).await.expect(200);
    world.poll(&codes.device).await.expect(200);
}

/// Anybody may ask in the name of a client that keeps no secret: where there is no room, they give way of whom there are most.
#[tokio::test]
async fn a_flood_in_a_clients_name_ends_no_others_request() {
    let world = living_room().await;
    let honest = world.codes().await;
    world.app.advance(1);
    let fields = [("client_id", world.client.as_str()), ("resource", TOOLS)];
    let mut flood = Vec::new();
    for network in 1..=34 {
        let address = format!("127.1.{network}.1");
        for _ in 0..30 {
            let call = world.app.anonymous().from(&address);
            let begun = call.post_form(BEGIN, &fields).await;
            flood.push(Codes::of(&begun.expect(200)).device);
        }
    }
    let mut gone = 0;
    for code in &flood {
        let told = world.poll(code).await;
        gone += usize::from(told.at("/error") == "invalid_grant");
    }
    assert_eq!(gone, 1 + flood.len() - 1_000);
    error(
        &world.poll(&honest.device).await,
        400,
        "authorization_pending",
    );
}

/// What a device asked for is kept as it was meant: what a tool server has later is none of it.
#[tokio::test]
async fn a_device_is_given_what_there_was_when_it_asked() {
    let world = living_room().await;
    let asked = format!("{SCOPE} files:read");
    let begun = world.begin(&[("scope", &asked)]).await.expect(200);
    let scopes = json!([
        { "name": "tools:call:*", "description": "call tools" },
        { "name": "files:*", "description": "read files" },
    ]);
    world.tools_are(json!({ "scopes": scopes })).await;
    let page = world.page(&Codes::of(&begun).user).await.expect(200);
    assert!(page.text.contains("call tools"), "{page}");
    assert!(!page.text.contains("read files"), "{page}");
    // The twin, which asks now.
    let begun = world.begin(&[("scope", &asked)]).await.expect(200);
    let page = world.page(&Codes::of(&begun).user).await.expect(200);
    assert!(page.text.contains("read files"), "{page}");
    let long = format!("{SCOPE} {}", "x".repeat(8 * 1_024));
    let refused = world.begin(&[("scope", &long)]).await;
    error(&refused, 400, "invalid_scope");
    assert!(refused.text.contains("8192 bytes"), "{refused}");
}
