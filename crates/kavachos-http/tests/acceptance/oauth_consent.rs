//! What a human's yes is worth: nothing that they did not see, nothing that was taken away since, and nothing to strangers.

use std::time::Duration;

use futures_util::future::join_all;
use kavachos_engine::Registration;
use kavachos_test::{Reply, may, may_under};
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::exchange::TOKEN;
use crate::oauth_clients::{
    AT_SITE, AUTHORIZE, REDIRECT, SCOPE, SITE, World, brought, client, error, query, world,
    world_of,
};
use crate::oauth_dpop::proven;
use crate::tokens::{judged, opened, register};

impl World {
    /// Where a browser comes to when nobody is asked: the address with a code, or with why not.
    pub(crate) async fn silent(&self, other: &[(&str, &str)]) -> String {
        let all = [&[AT_SITE, ("prompt", "none")], other].concat();
        let asks = self.asked(&all).await.expect(303);
        let page = self.browser().open(asks.header("location")).await;
        page.expect(303).header("location").to_owned()
    }

    /// The agent that the client is.
    pub(crate) async fn agent(&self) -> Value {
        let agents = self.app.operator().get("/api/v1/agents").await.expect(200);
        agents.rows()[0].clone()
    }

    pub(crate) async fn agent_path(&self) -> String {
        let agent = self.agent().await;
        format!("/api/v1/agents/{}", agent["id"].as_str().unwrap())
    }

    pub(crate) async fn with_code_of(&self, location: &str) -> Reply {
        let code = brought(location, "code").expect(location);
        self.redeem(&code, &[AT_SITE]).await
    }

    async fn refresh_with(&self, token: &str, seed: u8) -> Reply {
        let all = [
            ("grant_type", "refresh_token"),
            ("client_id", self.client.as_str()),
            ("refresh_token", token),
        ];
        proven(&self.app, seed, &all).await
    }
}

fn outcome(location: &str) -> String {
    let text = brought(location, "error").or_else(|| brought(location, "code"));
    text.unwrap_or_default()
}

/// A remembered yes gives back nothing that was taken away, whoever took it.
#[tokio::test]
async fn what_was_taken_away_since_is_asked_about_anew() {
    let all = ("scope", "tools:call:*");
    for narrower in [may(&["*"], SCOPE), may(&["search"], "tools:call:*")] {
        let world = world().await;
        world.allowed(&[AT_SITE, all]).await;
        let code = world.silent(&[all]).await;
        assert!(outcome(&code).starts_with("kv_code_"), "{code}");
        let path = world.agent_path().await;
        let change = json!({ "permissions": narrower });
        world.app.operator().patch(&path, change).await.expect(200);
        let left = world.app.operator().get(&path).await.expect(200);
        let left = left.at("/data/permissions").clone();
        assert_eq!(outcome(&world.silent(&[all]).await), "consent_required");
        let asks = world.asked(&[AT_SITE, all]).await.expect(303);
        let page = world.browser().open(asks.header("location")).await;
        let shown = page.expect(200);
        let still = world.app.operator().get(&path).await.expect(200);
        assert_eq!(still.at("/data/permissions"), &left);
        // Said anew, it is given anew.
        let location = world.sent(&shown, "allow").await.expect(303);
        let location = location.header("location").to_owned();
        world.with_code_of(&location).await.expect(200);
    }
}

/// A condition on what the agent may do is lifted by no yes, spoken or remembered.
#[tokio::test]
async fn what_is_held_under_a_condition_stays_under_it() {
    let world = world().await;
    let all = ("scope", "tools:call:*");
    world.allowed(&[AT_SITE, all]).await;
    let path = world.agent_path().await;
    let under = may_under(&["*"], "tools:call:*", json!({ "requireApproval": true }));
    let change = json!({ "permissions": under });
    world.app.operator().patch(&path, change).await.expect(200);
    let before = world.app.operator().get(&path).await.expect(200);
    world.silent(&[all]).await;
    let location = world.allowed(&[AT_SITE, all, ("prompt", "consent")]).await;
    world.with_code_of(&location).await.expect(200);
    let after = world.app.operator().get(&path).await.expect(200);
    let permissions = |reply: &Reply| reply.at("/data/permissions").clone();
    assert_eq!(permissions(&after), permissions(&before));
}

/// Of a stop and a client that comes silently at the same time, the stop stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_stopped_is_not_made_anew_by_what_was_said_before() {
    let world = world().await;
    world.allowed(&[AT_SITE]).await;
    let path = world.agent_path().await;
    let stop = async {
        let operator = world.app.operator();
        operator.delete(&path).await.expect(200);
    };
    let silent = join_all((0..16).map(|_| world.silent(&[])));
    let ((), silent) = tokio::join!(stop, silent);
    for location in silent {
        let came = outcome(&location);
        assert!(
            came == "consent_required" || came.starts_with("kv_code_"),
            "{location}"
        );
    }
    assert_eq!(outcome(&world.silent(&[]).await), "consent_required");
    let agents = world.app.operator().get("/api/v1/agents").await.expect(200);
    assert_eq!(agents.rows().len(), 1, "{agents}");
    assert_eq!(agents.rows()[0]["status"], "revoked");
}

/// Whoever says yes says it to what they saw, whatever became of that meanwhile.
#[tokio::test]
async fn what_changed_since_it_was_shown_is_shown_anew() {
    let world = world().await;
    let asks = world.asked(&[("scope", "")]).await.expect(303);
    let shown = world.browser().open(asks.header("location")).await;
    let shown = shown.expect(200);
    let servers = world.app.operator().get("/api/v1/resources").await;
    let server = servers.expect(200).rows()[0]["id"].clone();
    let path = format!("/api/v1/resources/{}", server.as_str().unwrap());
    let more = json!({
        "scopes": [{ "name": "tools:call:*", "description": "delete all that there is" }],
    });
    world.app.operator().patch(&path, more).await.expect(200);
    let again = world.sent(&shown, "allow").await.expect(200);
    for told in ["changed while you read", "delete all that there is"] {
        assert!(again.text.contains(told), "{told}: {again}");
    }
    let described = |name: &str| json!({ "name": name, "description": "delete all that there is" });
    let other = json!({
        "scopes": [described("tools:call:*"), described(SCOPE)], "defaultScope": SCOPE,
    });
    world.app.operator().patch(&path, other).await.expect(200);
    let again = world.sent(&again, "allow").await.expect(200);
    assert!(again.text.contains("changed while you read"), "{again}");
    let agents = world.app.operator().get("/api/v1/agents").await.expect(200);
    assert!(agents.rows().is_empty());
    world.sent(&again, "allow").await.expect(303);
}

#[tokio::test]
async fn nobody_is_sent_here_without_end() {
    let world = world().await;
    world.allowed(&[AT_SITE]).await;
    for _ in 0..60 {
        let location = world.silent(&[]).await;
        assert!(outcome(&location).starts_with("kv_code_"), "{location}");
    }
    let asks = world
        .asked(&[AT_SITE, ("prompt", "none")])
        .await
        .expect(303);
    let told = world.browser().open(asks.header("location")).await;
    assert_eq!(told.status, 429, "{told}");
    // That leaves them room for a word of their own.
    let spoken = world.allowed(&[AT_SITE, ("prompt", "consent")]).await;
    assert!(outcome(&spoken).starts_with("kv_code_"), "{spoken}");
    world.app.advance(3_660);
    assert!(outcome(&world.silent(&[]).await).starts_with("kv_code_"));
}

/// RFC 9700, section 4.11.2: what strangers registered sends nobody's browser anywhere before a human was here.
#[tokio::test]
async fn nobody_is_sent_on_by_what_a_stranger_registered() {
    let setup = crate::setup().settings(|settings| settings.registration = Registration::Open);
    let app = setup.start().await;
    register(&app, json!({})).await;
    let said = json!({ "redirect_uris": [SITE], "token_endpoint_auth_method": "none", "client_name": "Evil" });
    let made = app.anonymous().post("/oauth/register", said).await;
    let own = made.expect(201).text_at("/client_id").to_owned();
    let known = json!({ "name": "Known", "redirectUris": [SITE], "authMethod": "none" });
    let known = client(&app, known).await.id().to_owned();
    let user = app.user().await;
    let session = app.session(&user).await.token;
    for wrong in [("response_type", ""), ("prompt", "none")] {
        let path = |client: &str| format!("{AUTHORIZE}?{}", query(client, &[AT_SITE, wrong]));
        let stranger = Browser::stranger(&app);
        let sent = stranger.open(&path(&known)).await.expect(303);
        assert!(sent.header("location").starts_with(SITE), "{sent}");
        let sent = stranger.open(&path(&own)).await.expect(303);
        let page = sent.header("location").to_owned();
        assert!(page.starts_with("/consent?"), "{sent}");
        let sent = stranger.open(&page).await.expect(303);
        assert!(sent.header("location").starts_with("/sign-in?"), "{sent}");
        // Who is signed in, and never let it in, is told first.
        let told = Browser::of(&app, &session).open(&page).await;
        assert_eq!(told.status, 400, "{told}");
        assert!(told.header("location").is_empty(), "{told}");
        for text in ["Evil", "https://app.example.com/cb?error="] {
            assert!(told.text.contains(text), "{text}: {told}");
        }
    }
}

/// A human reads what the narrowest scope is called that covers what is asked.
#[tokio::test]
async fn a_scope_is_told_in_its_own_words() {
    let world = world().await;
    let servers = world.app.operator().get("/api/v1/resources").await;
    let server = servers.expect(200).rows()[0]["id"].clone();
    let path = format!("/api/v1/resources/{}", server.as_str().unwrap());
    let scopes = json!({ "scopes": [
        { "name": "tools:call:*", "description": "use your tools" },
        { "name": "tools:call:delete:*", "description": "delete what there is" },
        { "name": "tools:call:*:all", "description": "touch everything" },
    ] });
    world.app.operator().patch(&path, scopes).await.expect(200);
    let asks = world.asked(&[("scope", "tools:call:delete:all")]).await;
    let asks = asks.expect(303);
    let page = world.browser().open(asks.header("location")).await;
    let page = page.expect(200).text;
    // Of two of which neither is within the other, both say something.
    assert!(
        page.contains("delete what there is; touch everything"),
        "{page}"
    );
    for scope in ["tools:call:delete:*", "tools:call:delete:some"] {
        let asks = world.asked(&[("scope", scope)]).await.expect(303);
        let page = world.browser().open(asks.header("location")).await;
        let page = page.expect(200).text;
        assert!(page.contains("delete what there is"), "{scope}: {page}");
        assert!(!page.contains("use your tools"), "{scope}: {page}");
    }
}

#[tokio::test]
async fn what_is_refused_and_remembered_is_on_record() {
    let world = world().await;
    let asks = world.asked(&[]).await.expect(303);
    world.decided(asks.header("location"), "deny").await;
    let denied = world.app.audit("kind=connection.denied").await;
    assert_eq!(denied.len(), 1, "{denied:?}");
    assert_eq!(denied[0]["details"]["client"], world.client.as_str());
    world.allowed(&[AT_SITE]).await;
    world.silent(&[]).await;
    let reasons: Vec<Value> = world
        .app
        .audit("kind=connection.consented")
        .await
        .iter()
        .map(|record| record["code"].clone())
        .collect();
    assert!(reasons.contains(&json!("remembered")), "{reasons:?}");
    // Another client's token is its agent's to hear of, and so is one that is dead.
    let tokens = world.let_in().await;
    let agent = world.agent().await["id"].as_str().unwrap().to_owned();
    let token = tokens.text_at("/refresh_token");
    let other = json!({ "name": "Other", "redirectUris": [SITE], "authMethod": "none" });
    let other = client(&world.app, other).await.id().to_owned();
    let foreign = [
        ("grant_type", "refresh_token"),
        ("client_id", &other),
        ("refresh_token", token),
    ];
    let foreign = world.app.anonymous().post_form(TOKEN, &foreign).await;
    error(&foreign, 400, "invalid_grant");
    let path = format!("/api/v1/agents/{agent}");
    world.app.operator().delete(&path).await.expect(200);
    error(&world.refresh(token).await, 400, "invalid_grant");
    // The answer does not wait for the record of a refusal.
    let of_agent = |record: &&Value| record["agent"] == agent.as_str();
    for _ in 0..250 {
        let noted = world.app.audit("outcome=denied").await;
        if noted.iter().filter(of_agent).count() == 2 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the two refusals are not on record");
}

/// RFC 9449, section 5: what was refreshed with a proof once goes on with that key alone.
#[tokio::test]
async fn a_refresh_with_a_proof_binds_the_line() {
    let world = world().await;
    let tokens = world.let_in().await;
    let token = tokens.text_at("/refresh_token");
    let bound = world.refresh_with(token, 7).await.expect(200);
    assert_eq!(bound.at("/token_type"), "DPoP");
    let token = bound.text_at("/refresh_token");
    for wrong in [
        world.refresh(token).await,
        world.refresh_with(token, 8).await,
    ] {
        assert_eq!(wrong.status, 400, "{wrong}");
    }
    world.refresh_with(token, 7).await.expect(200);
}

/// What any program on the machine could be is no site, and a yes to it none to the site.
#[tokio::test]
async fn a_yes_to_this_machine_is_none_to_a_site() {
    let world = world().await;
    world.allowed(&[("redirect_uri", REDIRECT)]).await;
    assert_eq!(outcome(&world.silent(&[]).await), "consent_required");
    world.allowed(&[AT_SITE]).await;
    assert!(outcome(&world.silent(&[]).await).starts_with("kv_code_"));
}

/// `prompt=login` asks who they are also where they said so a minute ago.
#[tokio::test]
async fn who_is_to_sign_in_anew_does_so_after_they_are_asked() {
    let world = world().await;
    world.app.advance(60);
    let asks = world.asked(&[("prompt", "login")]).await.expect(303);
    let page = asks.header("location");
    let again = world.browser().open(page).await.expect(303);
    assert!(
        again.header("location").starts_with("/re-authenticate"),
        "{again}"
    );
    let session = world.app.session(&world.user).await.token;
    Browser::of(&world.app, &session)
        .open(page)
        .await
        .expect(200);
    // Without it, a session that is fresh is enough.
    let asks = world.asked(&[]).await.expect(303);
    let page = world.browser().open(asks.header("location")).await;
    page.expect(200);
}

/// A `state` that cannot be given back is told as such.
#[tokio::test]
async fn a_state_that_is_too_long_is_refused() {
    let world = world().await;
    let state = "x".repeat(1_025);
    let sent = world.asked(&[("state", &state)]).await.expect(303);
    let location = sent.header("location");
    assert_eq!(outcome(location), "invalid_request");
    assert!(brought(location, "state").is_none());
    let fits = "x".repeat(1_024);
    let location = world.allowed(&[("state", &fits)]).await;
    assert_eq!(brought(&location, "state").unwrap(), fits);
}

/// Of many who redeem one code at once, one gets tokens, and those are over, since somebody has a copy.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_who_redeem_a_code_one_does() {
    let world = world().await;
    let code = world.code().await;
    let all = join_all((0..16).map(|_| world.redeem(&code, &[]))).await;
    let good: Vec<&Reply> = all.iter().filter(|reply| reply.status == 200).collect();
    assert_eq!(good.len(), 1, "{all:?}");
    assert!(
        judged(&world.app, good[0].text_at("/access_token"))
            .await
            .is_err()
    );
    // Of many yeses at once, one makes an agent.
    let other = self::world().await;
    join_all((0..8).map(|_| other.code())).await;
    let agents = other.app.operator().get("/api/v1/agents").await.expect(200);
    assert_eq!(agents.rows().len(), 1, "{agents}");
}

/// A yes to all does not lift what somebody put on a part.
#[tokio::test]
async fn a_wider_yes_lifts_no_condition_on_a_part() {
    let world = world().await;
    let part = ("scope", "tools:call:delete:*");
    world.allowed(&[AT_SITE, part]).await;
    let path = world.agent_path().await;
    let under = may_under(&["*"], part.1, json!({ "requireApproval": true }));
    let change = json!({ "permissions": under });
    world.app.operator().patch(&path, change).await.expect(200);
    let before = world.app.operator().get(&path).await.expect(200);
    let asks = world.asked(&[AT_SITE, ("scope", "tools:call:*")]).await;
    let asks = asks.expect(303);
    let shown = world.browser().open(asks.header("location")).await;
    let told = world.sent(&shown.expect(200), "allow").await;
    assert_eq!(told.status, 409, "{told}");
    let after = world.app.operator().get(&path).await.expect(200);
    let permissions = |reply: &Reply| reply.at("/data/permissions").clone();
    assert_eq!(permissions(&after), permissions(&before));
    // What lies beside it is theirs to give.
    let beside = ("scope", "tools:call:search");
    world.allowed(&[AT_SITE, beside]).await;
}

/// Nor does one to what overlaps with it, or to other actions than it has.
#[tokio::test]
async fn an_overlapping_yes_lifts_no_condition() {
    let approval = json!({ "requireApproval": true });
    for (actions, held, wanted, other) in [
        (
            "*",
            "tools:call:delete:*",
            "tools:call:*:all",
            "tools:call:read:all",
        ),
        (
            "*",
            "tools:call:*:all",
            "tools:call:delete:*",
            "tools:call:delete:it:all",
        ),
        ("search", "tools:call:*", "tools:call:delete:*", ""),
    ] {
        let world = world().await;
        world.allowed(&[AT_SITE, ("scope", held)]).await;
        let path = world.agent_path().await;
        let under = may_under(&[actions], held, approval.clone());
        let change = json!({ "permissions": under });
        world.app.operator().patch(&path, change).await.expect(200);
        let asks = world.asked(&[AT_SITE, ("scope", wanted)]).await;
        let asks = asks.expect(303);
        let shown = world.browser().open(asks.header("location")).await;
        let told = world.sent(&shown.expect(200), "allow").await;
        assert_eq!(told.status, 409, "{wanted}: {told}");
        let after = world.app.operator().get(&path).await.expect(200);
        let permissions = after.at("/data/permissions").as_array().unwrap();
        assert_eq!(permissions.len(), 1, "{after}");
        // What has no part in it is theirs to give.
        if !other.is_empty() {
            world.allowed(&[AT_SITE, ("scope", other)]).await;
        }
    }
}

/// A client whose agent is over is let in anew also by whoever has room for no further agent.
#[tokio::test]
async fn an_agent_that_is_over_gives_way_to_the_next() {
    let setup = crate::setup().settings(|settings| settings.agents_per_owner = 1);
    let mut world = world_of(setup.start().await).await;
    world.let_in().await;
    let path = world.agent_path().await;
    let ends = json!({ "expiresAt": "2026-11-21T10:05:00Z" });
    world.app.operator().patch(&path, ends).await.expect(200);
    world.app.advance(301);
    world.session = world.app.session(&world.user).await.token;
    let tokens = world.let_in().await;
    judged(&world.app, tokens.text_at("/access_token"))
        .await
        .unwrap();
    let before = world.app.operator().get(&path).await.expect(200);
    assert_eq!(before.at("/data/status"), "revoked");
    // The twin: another client is a further agent.
    let new = json!({ "name": "Other", "redirectUris": [SITE], "authMethod": "none" });
    let other = client(&world.app, new).await.id().to_owned();
    let world = World {
        client: other,
        ..world
    };
    let asks = world.asked(&[AT_SITE]).await.expect(303);
    let shown = world.browser().open(asks.header("location")).await;
    let told = world.sent(&shown.expect(200), "allow").await;
    assert!(told.status >= 400, "{told}");
}

/// Each no is on record, so that there is an end to them.
#[tokio::test]
async fn nobody_says_no_without_end() {
    let world = world().await;
    let asks = world.asked(&[]).await.expect(303);
    let shown = world.browser().open(asks.header("location")).await;
    let shown = shown.expect(200);
    for _ in 0..60 {
        world.sent(&shown, "deny").await.expect(303);
    }
    let more = world.sent(&shown, "deny").await;
    assert_eq!(more.status, 429, "{more}");
    // A yes is another matter.
    world.sent(&shown, "allow").await.expect(303);
}

/// Some clients add a slash to the root of a host.
#[tokio::test]
async fn the_root_of_a_host_is_meant_with_a_slash_or_without() {
    let world = world().await;
    for (registered, asked) in [
        ("https://one.example.com", "https://one.example.com/"),
        ("https://two.example.com/", "https://two.example.com"),
    ] {
        let server = json!({
            "audience": registered, "name": "root", "party": "first", "kind": "kavach",
            "scopes": [{ "name": "root:*", "description": "root" }],
        });
        let operator = world.app.operator();
        operator.post("/api/v1/resources", server).await.expect(201);
        let wish = [("resource", asked), ("scope", "root:*")];
        let location = world.allowed(&wish).await;
        let code = brought(&location, "code").expect(&location);
        let tokens = world.redeem(&code, &[("resource", asked)]).await;
        let tokens = tokens.expect(200);
        let leaf = opened(&world.app, tokens.text_at("/access_token")).await;
        assert_eq!(leaf.audience.as_str(), registered);
    }
    let path = [("resource", "https://one.example.com/x")];
    let sent = world.asked(&path).await.expect(303);
    assert_eq!(outcome(sent.header("location")), "invalid_target");
}

#[tokio::test]
async fn a_yes_is_not_to_whoever_has_the_address_of_a_tool_server_next() {
    let world = world().await;
    world.allowed(&[AT_SITE]).await;
    let asked = async || {
        let asks = world.asked(&[AT_SITE]).await;
        world.browser().open(asks.header("location")).await.status
    };
    assert_ne!(asked().await, 200);
    let operator = world.app.operator();
    let servers = operator.get("/api/v1/resources").await.expect(200);
    let server = servers.rows()[0]["id"].as_str().unwrap();
    let path = format!("/api/v1/resources/{server}");
    operator.delete(&path).await.expect(200);
    register(&world.app, json!({ "defaultScope": "tools:call:*" })).await;
    assert_eq!(asked().await, 200);
}

#[tokio::test]
async fn a_yes_lets_nobody_go_on_who_was_stopped_for_a_while() {
    let world = world().await;
    world.let_in().await;
    let suspend = format!("{}/suspend", world.agent_path().await);
    let suspended = world.app.operator().post(&suspend, json!({})).await;
    suspended.expect(200);
    let asks = world.asked(&[]).await.expect(303);
    let shown = world.browser().open(asks.header("location")).await;
    let told = world.sent(&shown.expect(200), "allow").await;
    assert!(told.text.contains("let it go on first"), "{told}");
    assert_eq!(world.agent().await["status"], "suspended");
}
