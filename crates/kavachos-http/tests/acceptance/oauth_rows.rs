//! What is kept of OAuth clients, in what treats every table: a tenant that moves, what a human takes out, and a server that had
//! no clients before. Of backups: `oauth_restored`; of what is over: `oauth_ends`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kavachos_engine::{Registration, Settings};
use kavachos_test::kavachos;
use kavachos_test::{Setup, TestApp, may};
use serde_json::{Value, json};

use crate::moving::{at, body, edited, export, import, records, refused, rows, sealed};
use crate::oauth_clients::{AT_SITE, CLIENTS, SITE, World, client, error, world, world_of};
use crate::oauth_registration::REGISTER;
use crate::tokens::{ask, judged, own, register};

/// The rows of the authorization server.
pub(crate) const KINDS: [&str; 6] = [
    "client",
    "connection",
    "consent",
    "refreshLine",
    "refreshToken",
    "authorizationCode",
];

pub(crate) fn open_to_clients(setup: Setup) -> Setup {
    setup.settings(|settings| settings.registration = Registration::Open)
}

/// A client that registered itself, with its registration token.
pub(crate) async fn registered(app: &TestApp) -> (String, String) {
    let said = json!({ "client_name": "Self", "redirect_uris": ["http://127.0.0.1/cb"],
        "token_endpoint_auth_method": "none" });
    let made = app.anonymous().post(REGISTER, said).await.expect(201);
    let id = made.text_at("/client_id").to_owned();
    (id, made.text_at("/registration_access_token").to_owned())
}

/// Whether a client may still say something else of itself.
pub(crate) async fn is_registered(app: &TestApp, (id, manager): &(String, String)) -> bool {
    let call = app.call(manager);
    let told = call.get(&format!("{REGISTER}/{id}")).await;
    assert!([200, 401].contains(&told.status), "{told}");
    told.status == 200
}

/// A client of a site, with its secret.
async fn confidential(app: &TestApp) -> (String, String) {
    let made = client(app, json!({ "name": "Site", "redirectUris": [SITE] })).await;
    (made.id().to_owned(), made.text_at("/data/token").to_owned())
}

/// Whether a client is one with its secret: a code that is none is then its only fault.
pub(crate) async fn is_client(app: &TestApp, (id, secret): &(String, String)) -> bool {
    let fields = [
        ("grant_type", "authorization_code"),
        ("client_id", id),
        ("client_secret", secret),
        ("code", "x"),
        ("redirect_uri", SITE),
        (
            "code_verifier",
            "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        ),
    ];
    let told = app.anonymous().post_form("/oauth/token", &fields).await;
    match told.text_at("/error") {
        "invalid_client" => false,
        "invalid_grant" => true,
        _ => panic!("{told}"),
    }
}

/// Whether the human is sent back to the site at once, with a code.
pub(crate) async fn is_remembered(world: &World) -> bool {
    let asks = world.asked(&[AT_SITE]).await.expect(303);
    let page = world.browser().open(asks.header("location")).await;
    page.status == 303
        && page
            .header("location")
            .starts_with(&format!("{SITE}?code="))
}

/// How many lines of each kind a file has.
pub(crate) fn count(file: &str, kind: &str) -> usize {
    let line = format!("{{\"kind\":\"{kind}\",");
    file.lines().filter(|text| text.starts_with(&line)).count()
}

pub(crate) async fn agents(app: &TestApp, user: &str) -> Vec<Value> {
    let agents = app.operator().get("/api/v1/agents").await.expect(200);
    let own = |agent: &&Value| agent["userId"] == user;
    agents.rows().iter().filter(own).cloned().collect()
}

/// A tenant in which clients of each kind were let in, or stand there.
pub(crate) struct Source {
    pub(crate) world: World,
    /// Of a line that goes on.
    pub(crate) refresh: String,
    /// One that was redeemed, and what was made of it.
    used: String,
    made: String,
    /// One that was not.
    pub(crate) code: String,
    pub(crate) site: (String, String),
    pub(crate) own: (String, String),
}

/// The file with this in the line of a client, and the number of that line.
fn edited_of(file: &str, client: &str, (from, to): (&str, &str)) -> (String, usize) {
    let mut lines = body(file);
    let is_it = |line: &String| line.starts_with("{\"kind\":\"client\"") && line.contains(client);
    let index = lines.iter().position(is_it).expect("the client");
    assert!(lines[index].contains(from), "{}", lines[index]);
    lines[index] = lines[index].replacen(from, to, 1);
    (sealed(&lines), index + 1)
}

impl Source {
    /// Another human, who lets the same client in.
    async fn let_in_by_another(&mut self) -> String {
        let other = self.world.app.user().await;
        let session = self.world.app.session(&other).await.token;
        let own = std::mem::replace(&mut self.world.session, session);
        self.world.let_in().await;
        self.world.session = own;
        other
    }
}

pub(crate) async fn source() -> Source {
    let app = open_to_clients(crate::setup().seeded(7)).start().await;
    let world = world_of(app).await;
    let tokens = world.let_in().await;
    let first = tokens.text_at("/refresh_token").to_owned();
    let next = world.refresh(&first).await.expect(200);
    let used = world.code().await;
    let made = world.redeem(&used, &[]).await.expect(200);
    world.allowed(&[AT_SITE]).await;
    let code = world.code().await;
    Source {
        refresh: next.text_at("/refresh_token").to_owned(),
        made: made.text_at("/refresh_token").to_owned(),
        used,
        code,
        site: confidential(&world.app).await,
        own: registered(&world.app).await,
        world,
    }
}

impl Source {
    /// The same client and human at another server.
    pub(crate) fn at(&self, app: TestApp) -> World {
        World {
            app,
            client: self.world.client.clone(),
            user: self.world.user.clone(),
            session: self.world.session.clone(),
        }
    }
}

#[tokio::test]
async fn who_was_let_in_goes_on_at_the_new_place() {
    let source = source().await;
    let file = export(&source.world.app.operator()).await;
    for (home, seed) in [Setup::default().on_postgres(), crate::setup()]
        .into_iter()
        .zip(8..)
    {
        let next = open_to_clients(home.seeded(seed)).start().await;
        let done = import(&next.operator(), &file).await.expect(200);
        for kind in KINDS {
            let came = done.at(&format!("/data/rows/{kind}"));
            assert_eq!(came, &json!(count(&file, kind)), "{kind}: {done}");
        }
        let again = export(&next.call(source.world.app.operator_key())).await;
        let size = records(&file);
        assert_eq!(rows(&again, size), rows(&file, size));
        let world = source.at(next);
        world.refresh(&source.refresh).await.expect(200);
        world.redeem(&source.code, &[]).await.expect(200);
        // One that was redeemed where it comes from is a copy, and what was made of it ends.
        error(&world.redeem(&source.used, &[]).await, 400, "invalid_grant");
        let dead = world.refresh(&source.made).await;
        assert!([400, 401].contains(&dead.status), "{dead}");
        assert!(is_remembered(&world).await);
        assert!(is_client(&world.app, &source.site).await);
        assert!(is_registered(&world.app, &source.own).await);
    }
    // The twin: at the old place the line was there all the time.
    source.world.refresh(&source.made).await.expect(200);
}

/// What a client gave back is dead at the new place, too, and its line goes on there.
#[tokio::test]
async fn a_line_of_which_a_token_was_given_back_moves() {
    let source = source().await;
    let refreshed = source.world.refresh(&source.refresh).await.expect(200);
    let fields = [
        ("client_id", source.world.client.as_str()),
        ("token", refreshed.text_at("/access_token")),
    ];
    let names = async || {
        let human = source.world.app.call(&source.world.session);
        let told = human.get("/api/v1/connections").await.expect(200);
        let lines = told.rows()[0]["lines"].as_array().unwrap().clone();
        lines
            .iter()
            .map(|line| line["id"].clone())
            .collect::<Vec<_>>()
    };
    let before = names().await;
    let given = source.world.app.anonymous();
    given.post_form("/oauth/revoke", &fields).await.expect(200);
    assert_eq!(names().await, before, "a line is called as it was");
    let file = export(&source.world.app.operator()).await;
    let next = open_to_clients(crate::setup().seeded(8)).start().await;
    import(&next.operator(), &file).await.expect(200);
    let world = source.at(next);
    let access = refreshed.text_at("/access_token");
    let dead = json!({ "active": false });
    // The operators' keys moved, too.
    let operator = world.app.call(source.world.app.operator_key());
    let fields = [("token", access)];
    let told = operator.post_form("/oauth/introspect", &fields).await;
    assert_eq!(told.expect(200).body, dead);
    let goes_on = world.refresh(refreshed.text_at("/refresh_token")).await;
    goes_on.expect(200);
}

/// Refresh tokens are derived from the master key, and known by their hashes: with another key the next one is another.
#[tokio::test]
async fn a_refresh_token_goes_on_also_where_the_master_key_is_another() {
    let source = source().await;
    let file = export(&source.world.app.operator()).await;
    let other = |builder: kavachos::Builder| {
        use kavachos_core::secret::{Secret, SecretKind};
        builder.master_key(Some(Secret::new(SecretKind::Master, [8; 32])))
    };
    let next = crate::setup().seeded(8).with(other).start().await;
    import(&next.operator(), &file).await.expect(200);
    let world = source.at(next);
    let tokens = world.refresh(&source.refresh).await.expect(200);
    let tokens = world.refresh(tokens.text_at("/refresh_token")).await;
    tokens.expect(200);
}

#[tokio::test]
async fn what_contradicts_itself_of_a_client_does_not_come_in() {
    let mut source = source().await;
    let other = source.let_in_by_another().await;
    let app = &source.world.app;
    let file = export(&app.operator()).await;
    let next = crate::setup().seeded(8).start().await;
    let (client, user) = (source.world.client.as_str(), source.world.user.as_str());
    let [mine, theirs] = [agents(app, user).await, agents(app, &other).await]
        .map(|agents| agents[0]["id"].as_str().unwrap().to_owned());
    for (kind, from, to, why) in [
        ("client", client, "https://app.example.com/c", "an address"),
        (
            "client",
            r#"\"Editor\""#,
            "\\\"Edi\u{200b}tor\\\"",
            "that nobody sees",
        ),
        (
            "client",
            "\"operator\"",
            "\"others\"",
            "no source of clients",
        ),
        ("client", "\"itself\"", "\"operator\"", "registration token"),
        (
            "client",
            "[\\\"authorization_code\\\"]",
            "[\\\"client_credentials\\\"]",
            "`grant_types`",
        ),
        (
            "client",
            "\"handle\":\"03",
            "\"handle\":\"06",
            "another kind of thing",
        ),
        ("connection", user, &other, "another human's"),
        ("consent", "tools:call", "tools:**call", "`scopes`"),
        (
            "refreshLine",
            client,
            &source.site.0,
            "not that of its agent",
        ),
        ("refreshLine", &mine, &theirs, "not that of its agent"),
        (
            "refreshLine",
            "\\\"audience\\\"",
            "\\\"odience\\\"",
            "targets",
        ),
        (
            "authorizationCode",
            "http://127.0.0.1",
            "javascript://x",
            "`redirectUri`",
        ),
        ("agentKey", "\"kv_rt_\"", "\"kv_xx_\"", "`shown`"),
    ] {
        let (edited, line) = edited(&file, kind, from, to);
        refused(&next, &edited, line, why).await;
    }
    // The twin.
    import(&next.operator(), &file).await.expect(200);
}

#[tokio::test]
async fn a_client_that_nobody_could_register_does_not_come_in() {
    let source = source().await;
    let file = export(&source.world.app.operator()).await;
    let next = crate::setup().seeded(8).start().await;
    for (from, to, why) in [
        ("client_secret_basic", "none", "has a secret"),
        (
            r#"[\"authorization_code\",\"refresh_token\"]"#,
            r#"[\"authorization_code\",\"client_credentials\"]"#,
            "name the agent",
        ),
    ] {
        let (edited, line) = edited_of(&file, &source.site.0, (from, to));
        refused(&next, &edited, line, why).await;
    }
    // The twin.
    import(&next.operator(), &file).await.expect(200);
}

#[tokio::test]
async fn a_client_that_no_record_tells_of_does_not_come_in() {
    let source = source().await;
    let file = export(&source.world.app.operator()).await;
    let next = crate::setup().seeded(8).start().await;
    // It stands under another name, in the same place.
    let mut lines = body(&file);
    let mut renamed = source.site.0.clone();
    let last = if renamed.ends_with('0') { "1" } else { "0" };
    renamed.replace_range(renamed.len() - 1.., last);
    for line in &mut lines {
        if line.starts_with("{\"kind\":\"client\"") {
            *line = line.replacen(&source.site.0, &renamed, 1);
        }
    }
    let first = at(&lines, "{\"kind\":\"client\"") + 1;
    refused(&next, &sealed(&lines), first, "the records tell of").await;
    // The twin.
    import(&next.operator(), &file).await.expect(200);
}

#[tokio::test]
async fn neither_what_ended_nor_a_line_of_nobody_comes_in() {
    let source = source().await;
    let app = &source.world.app;
    let gone = registered(app).await;
    let path = format!("{CLIENTS}/{}", gone.0);
    app.operator().delete(&path).await.expect(200);
    let file = export(&app.operator()).await;
    let next = crate::setup().seeded(8).start().await;
    // A line is of what a human let in, or of a client that is its agent.
    let mut lines = body(&file);
    lines.retain(|line| !line.starts_with("{\"kind\":\"connection\""));
    let told = import(&next.operator(), &sealed(&lines)).await;
    assert_eq!(told.status, 400, "{told}");
    assert!(told.text.contains("not that of its agent"), "{told}");
    // A client that ended does not come back.
    let mut lines = body(&file);
    let row = lines
        .iter()
        .position(|line| line.starts_with("{\"kind\":\"client\"") && line.contains(&gone.0));
    let row = row.expect("there is such a line");
    lines[row] = lines[row].replace("\"status\":\"revoked\"", "\"status\":\"active\"");
    let why = "the records say that it was revoked";
    refused(&next, &sealed(&lines), row + 1, why).await;
    // The twin.
    import(&next.operator(), &file).await.expect(200);
}

/// A client that an operator denied does not come in as one that is let in.
#[tokio::test]
async fn a_denied_client_moves_as_one_that_is_denied() {
    let app = crate::setup().seeded(7).start().await;
    let clients = ["a", "b", "c"].map(|name| format!("https://app.example.com/{name}.json"));
    let deeds = [
        &["deny"][..],
        &["deny", "allow"],
        &["deny", "allow", "", "allow"],
    ];
    for (client, deeds) in clients.iter().zip(deeds) {
        let id: String = form_urlencoded::byte_serialize(client.as_bytes()).collect();
        for deed in deeds {
            let path = format!("{CLIENTS}/{id}");
            let operator = app.operator();
            let done = match *deed {
                "" => operator.delete(&path).await,
                deed => operator.post(&format!("{path}/{deed}"), json!({})).await,
            };
            done.expect(200);
        }
    }
    let file = export(&app.operator()).await;
    let next = crate::setup().seeded(8).start().await;
    let row = format!("\"id\":\"{}\"", clients[0]);
    let mut lines = body(&file);
    let index = lines
        .iter()
        .position(|line| line.starts_with("{\"kind\":\"client\"") && line.contains(&row));
    let index = index.expect("there is such a line");
    lines[index] = lines[index].replace("\"status\":\"revoked\"", "\"status\":\"active\"");
    refused(&next, &sealed(&lines), index + 1, "that it was denied").await;
    // The twins: as it is, and those that were let in again.
    import(&next.operator(), &file).await.expect(200);
}

#[tokio::test]
async fn a_human_is_told_what_they_let_in_and_since_when_it_was_used() {
    let world = world().await;
    let tokens = world.let_in().await;
    let used_at = world.app.kavach().engine().now();
    world.app.advance(60);
    world.code().await;
    let other = world.app.user().await;
    let other = world.app.session(&other).await;
    let told = async |session: &str| {
        let call = world.app.call(session);
        call.get("/api/auth/export").await.expect(200)
    };
    let whole = told(&world.session).await;
    let all = whole.at("/data/connections").as_array().unwrap();
    assert_eq!(all.len(), 1);
    let one = &all[0];
    assert_eq!(one["clientId"], world.client);
    assert_eq!(one["name"], "Editor");
    let scope = &one["resources"][0]["scopes"][0];
    assert_eq!(scope["name"], "tools:call:search");
    let lines = one["lines"].as_array().unwrap();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["usedAt"], Value::Null);
    assert_eq!(lines[1]["usedAt"], json!(used_at));
    for secret in [
        tokens.text_at("/refresh_token"),
        tokens.text_at("/access_token"),
    ] {
        assert!(!whole.text.contains(secret));
    }
    // The twin.
    assert_eq!(told(&other.token).await.at("/data/connections"), &json!([]));
}

/// A server as it was before there were clients: the tables are not there, and nobody registers.
const BEFORE: &str = "PRAGMA foreign_keys = OFF; DROP TABLE device_requests; DROP TABLE pushed_requests; \
    DROP TABLE authorization_codes; DROP TABLE refresh_tokens; DROP TABLE refresh_lines; DROP TABLE consents; \
    DROP TABLE connections; DROP TABLE oauth_clients; ALTER TABLE approvals DROP COLUMN server; \
    DELETE FROM migration WHERE owner = 'core' AND name = 'clients'";

#[tokio::test]
async fn switching_clients_on_later_migrates_nobody() {
    let is_on = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&is_on);
    let setup = crate::setup().in_a_file().with(move |builder| {
        let mut settings = Settings::default();
        if switch.load(Ordering::Relaxed) {
            settings.registration = Registration::Open;
        }
        builder.settings(settings)
    });
    let mut app = setup.start().await;
    register(&app, json!({ "defaultScope": "tools:call:*" })).await;
    let user = app.user().await;
    let session = app.session(&user).await.token;
    let agent = app.agent(&user, may(&["*"], "tools:call:*")).await;
    let said = json!({ "client_name": "MCP Client", "redirect_uris": ["http://127.0.0.1/cb"],
        "token_endpoint_auth_method": "none" });
    let off = app.anonymous().post(REGISTER, said.clone()).await;
    assert_eq!(off.status, 400, "{off}");
    let issued = ask(&app, &agent.key, own(&agent)).await;
    let token = issued.expect(200).text_at("/data/token").to_owned();
    judged(&app, &token).await.unwrap();
    let whole = export(&app.operator()).await;
    let before: Vec<&str> = rows(&whole, 0);

    app.restart_after(|database| database.execute_batch(BEFORE).unwrap())
        .await;
    is_on.store(true, Ordering::Relaxed);
    app.restart().await;

    // No row of anybody changed.
    let after = export(&app.operator()).await;
    assert_eq!(rows(&after, 0), before);
    // Keys, sessions and tokens go on.
    judged(&app, &token).await.unwrap();
    app.decide(&agent.id, "call", "tools:call:search")
        .await
        .decided("allowed");
    let own = app.call(&session).get("/api/v1/agents").await.expect(200);
    assert_eq!(own.rows().len(), 1);
    // And a client registers itself, and is let in by the session of before.
    let made = app.anonymous().post(REGISTER, said).await.expect(201);
    let client = made.text_at("/client_id").to_owned();
    let world = World {
        app,
        client,
        user,
        session,
    };
    let tokens = world.let_in().await;
    judged(&world.app, tokens.text_at("/access_token"))
        .await
        .unwrap();
    judged(&world.app, &token).await.unwrap();
}
