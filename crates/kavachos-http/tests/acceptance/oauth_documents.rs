//! OAuth clients that are known by the document at the address that is their id.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use http::{HeaderMap, Method, StatusCode};
use kavachos_test::{Reply, TestApp};
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::mail::Log;
use crate::oauth_clients::{AUTHORIZE, REDIRECT, SITE, World, error, query, world, world_of};
use crate::races::First;
use crate::tokens::judged;

/// All clients of the host at which the tests listen.
const ALL_OF_IT: &str = "/api/v1/clients/http%3A%2F%2F127.0.0.1%2F*";
/// All that is told of a document that cannot be read.
const UNREADABLE: &str = "the application says of itself cannot be read";

/// What a host answers.
#[derive(Clone)]
struct Answer {
    status: StatusCode,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    after: Duration,
}

/// A host on this machine that answers whatever it is asked.
pub(crate) struct Host {
    pub(crate) address: SocketAddr,
    asked: Arc<AtomicUsize>,
    answer: Arc<Mutex<Answer>>,
}

impl Host {
    pub(crate) async fn start() -> Self {
        let asked = Arc::new(AtomicUsize::new(0));
        let answer = Arc::new(Mutex::new(Answer {
            status: StatusCode::OK,
            headers: Vec::new(),
            body: Vec::new(),
            after: Duration::ZERO,
        }));
        let (count, said) = (Arc::clone(&asked), Arc::clone(&answer));
        let handle = move || {
            count.fetch_add(1, Ordering::SeqCst);
            let answer = said.lock().unwrap().clone();
            async move {
                tokio::time::sleep(answer.after).await;
                told(answer)
            }
        };
        let router = Router::new().fallback(any(handle));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let host = Self {
            address,
            asked,
            answer,
        };
        host.says(&host.document());
        host
    }

    pub(crate) fn id(&self) -> String {
        self.at("client.json")
    }

    pub(crate) fn at(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    pub(crate) fn document(&self) -> Value {
        json!({
            "client_id": self.id(), "client_name": "Studio", "redirect_uris": ["http://127.0.0.1/cb", SITE],
            "grant_types": ["authorization_code", "refresh_token"], "token_endpoint_auth_method": "none",
        })
    }

    pub(crate) fn says(&self, document: &Value) {
        self.answers(StatusCode::OK, document.to_string().into_bytes());
    }

    pub(crate) fn answers(&self, status: StatusCode, body: Vec<u8>) {
        let mut answer = self.answer.lock().unwrap();
        answer.status = status;
        answer.body = body;
    }

    /// Has it answer so much later.
    pub(crate) fn answers_after(&self, time: Duration) {
        self.answer.lock().unwrap().after = time;
    }

    fn with_headers(&self, headers: &[(&'static str, &str)]) {
        let headers = headers
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()));
        self.answer.lock().unwrap().headers = headers.collect();
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn told(answer: Answer) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", "application/json".parse().unwrap());
    for (name, value) in answer.headers {
        headers.insert(name, value.parse().unwrap());
    }
    (answer.status, headers, answer.body).into_response()
}

/// The page where the human is asked, or what is told instead.
pub(crate) async fn page(world: &World, other: &[(&str, &str)]) -> Reply {
    let asks = world.asked(other).await.expect(303);
    world.browser().open(asks.header("location")).await
}

/// The same of this client, for whoever has this session. A client that is none is told of at once.
pub(crate) async fn page_for(app: &TestApp, session: &str, client: &str) -> Reply {
    let browser = Browser::of(app, session);
    let asks = browser
        .open(&format!("{AUTHORIZE}?{}", query(client, &[])))
        .await;
    match asks.header("location") {
        "" => asks,
        location => browser.open(location).await,
    }
}

/// The session of one more human.
pub(crate) async fn another(app: &TestApp) -> String {
    app.session(&app.user().await).await.token
}

/// A human with a fresh session, and a client that is known by this host's document.
pub(crate) async fn studio(host: &Host) -> World {
    let world = world().await;
    World {
        client: host.id(),
        ..world
    }
}

#[tokio::test]
async fn a_client_is_let_in_by_the_word_of_its_host() {
    let host = Host::start().await;
    let world = studio(&host).await;
    // Nothing is fetched for a stranger.
    let path = format!("{AUTHORIZE}?{}", query(&world.client, &[]));
    let stranger = Browser::stranger(&world.app);
    let asks = stranger.open(&path).await.expect(303);
    stranger.open(asks.header("location")).await.expect(303);
    assert_eq!(host.asked(), 0);
    let shown = page(&world, &[]).await.expect(200);
    for told in ["Studio", &format!("by the word of {}", host.address)] {
        assert!(shown.text.contains(told), "{told}: {shown}");
    }
    let code = world.code().await;
    let tokens = world.redeem(&code, &[]).await.expect(200);
    judged(&world.app, tokens.text_at("/access_token"))
        .await
        .unwrap();
    world
        .refresh(tokens.text_at("/refresh_token"))
        .await
        .expect(200);
    // One look serves five minutes.
    assert_eq!(host.asked(), 1);
    world.app.advance(299);
    page(&world, &[]).await.expect(200);
    assert_eq!(host.asked(), 1);
    world.app.advance(1);
    page(&world, &[]).await.expect(200);
    assert_eq!(host.asked(), 2);
    // As long as its host says, and a day at the most.
    for (said, age, kept) in [
        ("max-age=3600", "0", 3_600),
        ("max-age=3600", "3000", 600),
        ("max-age=31536000", "0", 86_400),
        ("no-store", "0", 300),
    ] {
        host.with_headers(&[("cache-control", said), ("age", age)]);
        let world = studio(&host).await;
        page(&world, &[]).await.expect(200);
        let before = host.asked();
        world.app.advance(kept - 1);
        let session = world.app.session(&world.user).await.token;
        let world = World { session, ..world };
        page(&world, &[]).await.expect(200);
        assert_eq!(host.asked(), before, "{said}");
        world.app.advance(1);
        page(&world, &[]).await.expect(200);
        assert_eq!(host.asked(), before + 1, "{said}");
    }
}

/// What cannot be believed is told, sends nobody anywhere, and is not kept.
#[tokio::test]
async fn a_document_that_cannot_be_believed_lets_nobody_in() {
    let (host, elsewhere) = (Host::start().await, Host::start().await);
    elsewhere.says(&host.document());
    let with = |member: &str, value: Value| {
        let mut document = host.document();
        document[member] = value;
        (StatusCode::OK, document.to_string().into_bytes())
    };
    let good = host.document().to_string().into_bytes();
    let mut bad: Vec<(StatusCode, Vec<u8>)> = [
        201, 204, 206, 301, 302, 303, 304, 307, 308, 401, 404, 410, 500, 503,
    ]
    .map(|status| (StatusCode::from_u16(status).unwrap(), good.clone()))
    .into();
    bad.extend(
        [&b""[..], b"<html>", b"[]", b"null", b"\xff"].map(|body| (StatusCode::OK, body.to_vec())),
    );
    bad.extend([
        with("software_id", json!("x".repeat(5 * 1024))),
        with("client_id", json!(elsewhere.id())),
        with("client_id", json!(format!("{}/", host.id()))),
        with("client_id", Value::Null),
        with("client_name", Value::Null),
        with("redirect_uris", json!([])),
        with("client_secret", json!("x")),
        with("client_secret_expires_at", json!(0)),
        with("token_endpoint_auth_method", json!("client_secret_basic")),
        with("token_endpoint_auth_method", json!("client_secret_post")),
        with("token_endpoint_auth_method", json!("client_secret_jwt")),
        // Nobody can push before a human let the client in.
        with("require_pushed_authorization_requests", json!(true)),
        // With no keys beside it.
        with("token_endpoint_auth_method", json!("private_key_jwt")),
    ]);
    let world = studio(&host).await;
    for (status, body) in bad {
        let session = another(&world.app).await;
        host.with_headers(&[("location", &elsewhere.id())]);
        let told = String::from_utf8_lossy(&body).into_owned();
        host.answers(status, body);
        let before = host.asked();
        let page = page_for(&world.app, &session, &host.id()).await;
        assert_eq!(page.status, 400, "{status} {told}: {page}");
        assert!(page.text.contains(UNREADABLE), "{status} {told}: {page}");
        assert!(page.header("location").is_empty(), "{page}");
        assert_eq!(host.asked(), before + 1);
        // It is not kept: a moment later it is right.
        host.with_headers(&[("cache-control", "no-store")]);
        host.says(&host.document());
        page_for(&world.app, &session, &host.id()).await.expect(200);
        assert_eq!(host.asked(), before + 2);
        world.app.advance(300);
    }
    assert_eq!(elsewhere.asked(), 0, "no redirect is followed");
}

/// Whoever asks learns nothing of what lies behind names and ports.
#[tokio::test]
async fn why_a_document_cannot_be_read_is_told_to_operators_alone() {
    let log = Log::of_all();
    let host = Host::start().await;
    let closed = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}/closed", listener.local_addr().unwrap())
    };
    let world = studio(&host).await;
    host.answers(StatusCode::IM_A_TEAPOT, Vec::new());
    let teapot = host.at("teapot");
    let mut pages = Vec::new();
    for client in [
        &closed,
        &teapot,
        "https://10.99.88.77/inner",
        "https://app.example.com:22/port",
    ] {
        let session = another(&world.app).await;
        let page = page_for(&world.app, &session, client).await.expect(400);
        assert!(page.text.contains(UNREADABLE), "{page}");
        for hidden in [
            "refused",
            "private network",
            "418",
            "port of another",
            "10.99.88.77",
        ] {
            assert!(!page.text.contains(hidden), "{client}: {hidden}");
        }
        pages.push(page.text.len());
    }
    pages.dedup();
    assert_eq!(pages.len(), 1, "one text for all");
    let logged = log.text();
    for reason in [
        "its host answers 418",
        "10.99.88.77",
        "port of another protocol",
    ] {
        assert!(logged.contains(reason), "{reason}");
    }
    // Each of them is on record, without the reason and without what a stranger wrote.
    let records = world.app.audit("kind=client.read").await;
    assert_eq!(records.len(), 4);
    assert!(records.iter().all(|record| record["outcome"] == "denied"));
    let told = serde_json::to_string(&records).unwrap();
    assert!(
        !told.contains("10.99.88.77") && !told.contains("418"),
        "{told}"
    );
}

/// A document that changes is asked about anew, and what it no longer says is no more.
#[tokio::test]
async fn a_document_that_changes_is_asked_about_anew() {
    let host = Host::start().await;
    let world = studio(&host).await;
    let site = [("redirect_uri", SITE)];
    world.allowed(&site).await;
    let again = page(&world, &site).await.expect(303);
    assert!(again.header("location").starts_with(SITE), "{again}");
    let mut renamed = host.document();
    renamed["client_name"] = json!("Your bank");
    host.says(&renamed);
    world.app.advance(300);
    let asked = page(&world, &site).await.expect(200);
    assert!(asked.text.contains("Your bank"), "{asked}");
    renamed["redirect_uris"] = json!(["http://127.0.0.1/cb"]);
    host.says(&renamed);
    world.app.advance(299);
    let session = world.app.session(&world.user).await.token;
    let world = World { session, ..world };
    page(&world, &site).await.expect(200);
    world.app.advance(1);
    let gone = page(&world, &site).await.expect(400);
    assert!(gone.header("location").is_empty(), "{gone}");
}

/// What is stored of a client is stored with a yes, and so is what changes of it.
#[tokio::test]
async fn looking_at_a_client_stores_nothing_of_it() {
    let host = Host::start().await;
    let world = studio(&host).await;
    let count = async |kind: &str| world.app.audit(&format!("kind={kind}")).await.len();
    let listed = async || {
        let path = "/api/v1/clients?source=document";
        let all = world.app.operator().get(path).await.expect(200);
        all.rows().len()
    };
    let asks = world.asked(&[]).await.expect(303);
    world.decided(asks.header("location"), "deny").await;
    page(&world, &[]).await.expect(200);
    assert_eq!(
        (count("client.created").await, listed().await),
        (1, 0),
        "that of the harness"
    );
    let tokens = world.let_in().await;
    assert_eq!((count("client.created").await, listed().await), (2, 1));
    world.code().await;
    assert_eq!(
        (count("client.created").await, count("client.updated").await),
        (2, 0)
    );
    // It vanishes: nobody new is let in, and nobody is thrown out.
    host.answers(StatusCode::NOT_FOUND, Vec::new());
    world.app.advance(300);
    page(&world, &[]).await.expect(400);
    let tokens = world.refresh(tokens.text_at("/refresh_token")).await;
    let tokens = tokens.expect(200);
    // It changes: nobody says yes to that, and then somebody does.
    let mut changed = host.document();
    changed["client_name"] = json!("Atelier");
    changed["grant_types"] = json!(["authorization_code"]);
    host.says(&changed);
    page(&world, &[]).await.expect(200);
    assert_eq!(count("client.updated").await, 0);
    let tokens = world.refresh(tokens.text_at("/refresh_token")).await;
    tokens.expect(200);
    let code = world.code().await;
    assert_eq!(count("client.updated").await, 1);
    let without = world.redeem(&code, &[]).await.expect(200);
    assert!(without.at("/refresh_token").is_null(), "{without}");
}

/// What was read before something else of the client was stored replaces nothing: another process may have read it long ago.
#[tokio::test]
async fn what_was_read_before_the_client_changed_here_is_read_anew() {
    let host = Host::start().await;
    let world = studio(&host).await;
    world.let_in().await;
    let mut renamed = host.document();
    renamed["client_name"] = json!("Atelier");
    host.says(&renamed);
    world.app.advance(300);
    page(&world, &[]).await.expect(200);
    let before = host.asked();
    page(&world, &[]).await.expect(200);
    assert_eq!(host.asked(), before, "it is kept");
    let id: String = form_urlencoded::byte_serialize(host.id().as_bytes()).collect();
    for what in ["deny", "allow"] {
        let path = format!("/api/v1/clients/{id}/{what}");
        let said = world.app.operator().post(&path, json!({})).await;
        said.expect(200);
    }
    renamed["client_name"] = json!("Workshop");
    host.says(&renamed);
    let shown = page(&world, &[]).await.expect(200);
    assert!(shown.text.contains("Workshop"), "{shown}");
    assert_eq!(host.asked(), before + 1);
    page(&world, &[]).await.expect(200);
    assert_eq!(host.asked(), before + 1, "once");
}

/// An operator's no stands above a document: before anybody used it, after, and whatever it says then.
#[tokio::test]
async fn a_client_that_was_denied_stays_denied() {
    let host = Host::start().await;
    let world = studio(&host).await;
    let id: String = form_urlencoded::byte_serialize(host.id().as_bytes()).collect();
    let says = async |what: &str| {
        let path = format!("/api/v1/clients/{id}/{what}");
        world.app.operator().post(&path, json!({})).await
    };
    let denied = async || {
        let before = host.asked();
        let told = page(&world, &[]).await;
        assert!((400..500).contains(&told.status), "{told}");
        assert!(told.header("location").is_empty(), "{told}");
        assert_eq!(host.asked(), before, "it is not even asked");
    };
    says("deny").await.expect(200);
    denied().await;
    says("allow").await.expect(200);
    let asks = world.asked(&[]).await.expect(303);
    let shown = world.browser().open(asks.header("location")).await;
    let shown = shown.expect(200);
    let tokens = world.let_in().await;
    says("deny").await.expect(200);
    denied().await;
    // Also for whoever has the page still.
    let late = world.sent(&shown, "allow").await;
    assert!(late.status >= 400, "{late}");
    let dead = world.refresh(tokens.text_at("/refresh_token")).await;
    error(&dead, 401, "invalid_client");
    assert!(
        judged(&world.app, tokens.text_at("/access_token"))
            .await
            .is_err()
    );
    let mut renamed = host.document();
    renamed["client_name"] = json!("Atelier");
    host.says(&renamed);
    world.app.advance(300);
    denied().await;
    says("allow").await.expect(200);
    let session = world.app.session(&world.user).await.token;
    let shown = page_for(&world.app, &session, &host.id()).await.expect(200);
    assert!(shown.text.contains("Atelier"), "{shown}");
}

/// Whoever has a host writes as many documents as they like, and listens at other ports.
#[tokio::test]
async fn a_host_that_was_denied_lets_no_client_in() {
    let (host, port) = (Host::start().await, Host::start().await);
    let elsewhere = format!("http://localhost:{}/client.json", port.address.port());
    let mut said = port.document();
    said["client_id"] = json!(elsewhere);
    port.says(&said);
    let world = studio(&port).await;
    let world = World {
        client: elsewhere.clone(),
        ..world
    };
    let others = world.let_in().await;
    port.says(&port.document());
    let mut tokens = Vec::new();
    let mut world = world;
    for client in [port.id(), host.id()] {
        world.client = client;
        tokens.push(world.let_in().await);
    }
    let says = async |what: &str| {
        let path = format!("{ALL_OF_IT}/{what}");
        world.app.operator().post(&path, json!({})).await
    };
    let again = world.refresh(tokens[1].text_at("/refresh_token")).await;
    tokens.push(again.expect(200));
    let told = says("deny").await.expect(200);
    assert_eq!(told.at("/data/state"), "closed");
    for tokens in &tokens {
        let access = tokens.text_at("/access_token");
        assert!(judged(&world.app, access).await.is_err());
    }
    let raised = world.app.audit("kind=client.handles_raised").await;
    assert_eq!(
        raised[0]["details"],
        json!({ "client": "http://127.0.0.1/*", "revocations": 2 })
    );
    // The twin: another host.
    let access = others.text_at("/access_token");
    judged(&world.app, access).await.unwrap();
    let tokens = &tokens[2];
    let before = (host.asked(), port.asked());
    for client in [host.id(), host.at("other.json"), port.id()] {
        let told = page_for(&world.app, &world.session, &client).await;
        assert!((400..500).contains(&told.status), "{client}: {told}");
    }
    assert_eq!((host.asked(), port.asked()), before, "nothing is asked");
    let refused = world.refresh(tokens.text_at("/refresh_token")).await;
    error(&refused, 401, "invalid_client");
    // The twins: another host, and the same once it is let in again.
    port.says(&said);
    let shown = page_for(&world.app, &world.session, &elsewhere).await;
    shown.expect(200);
    says("allow").await.expect(200);
    page(&world, &[]).await.expect(200);
    let dead = world.refresh(tokens.text_at("/refresh_token")).await;
    error(&dead, 400, "invalid_grant");
    // Nothing but a denial is carried through for all of them.
    let ended = world.app.operator().delete(ALL_OF_IT).await;
    ended.refused(409, "conflict");
    let with_port = "/api/v1/clients/http%3A%2F%2F127.0.0.1%3A1%2F*/deny";
    let refused = world.app.operator().post(with_port, json!({})).await;
    let refused = refused.refused(400, "malformed_request");
    assert!(refused.text.contains("http://127.0.0.1/*"), "{refused}");
}

#[tokio::test]
async fn nobody_comes_in_by_a_yes_beside_the_denial_of_their_host() {
    for (all, is_denied) in [
        (ALL_OF_IT, true),
        // The twin: another one.
        ("/api/v1/clients/http%3A%2F%2Flocalhost%2F*", false),
    ] {
        let host = Host::start().await;
        let first = First::at("INSERT INTO oauth_clients ");
        let world = world_of(first.setup().start().await).await;
        let world = World {
            client: host.id(),
            ..world
        };
        let shown = page(&world, &[]).await.expect(200);
        let denies = (Method::POST, format!("{all}/deny"), json!({}));
        first.comes_with(world.app.operator(), denies);
        let sent = world.sent(&shown, "allow").await;
        assert!(first.came());
        let is_in = sent.status == 303 && sent.header("location").starts_with(REDIRECT);
        assert_eq!(is_in, !is_denied, "{sent}");
        let path = "/api/v1/clients?source=document&status=active";
        let stored = world.app.operator().get(path).await.expect(200);
        assert_eq!(stored.rows().len(), usize::from(!is_denied), "{stored}");
    }
}
