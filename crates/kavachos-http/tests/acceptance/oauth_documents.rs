//! OAuth clients that are known by the document at the address that is their id.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use futures_util::future::{join, join_all};
use http::{HeaderMap, Method, StatusCode};
use kavachos_engine::Registration;
use kavachos_test::inside::{HOSTS, PORTS};
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
    address: SocketAddr,
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

    fn at(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    fn document(&self) -> Value {
        json!({
            "client_id": self.id(), "client_name": "Studio", "redirect_uris": ["http://127.0.0.1/cb", SITE],
            "grant_types": ["authorization_code", "refresh_token"], "token_endpoint_auth_method": "none",
        })
    }

    fn says(&self, document: &Value) {
        self.answers(StatusCode::OK, document.to_string().into_bytes());
    }

    fn answers(&self, status: StatusCode, body: Vec<u8>) {
        let mut answer = self.answer.lock().unwrap();
        answer.status = status;
        answer.body = body;
    }

    fn with_headers(&self, headers: &[(&'static str, &str)]) {
        let headers = headers
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()));
        self.answer.lock().unwrap().headers = headers.collect();
    }

    fn asked(&self) -> usize {
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
async fn page(world: &World, other: &[(&str, &str)]) -> Reply {
    let asks = world.asked(other).await.expect(303);
    world.browser().open(asks.header("location")).await
}

/// The same of this client, for whoever has this session. A client that is none is told of at once.
async fn page_for(app: &TestApp, session: &str, client: &str) -> Reply {
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
async fn another(app: &TestApp) -> String {
    app.session(&app.user().await).await.token
}

/// What becomes of so many requests in turn by one human, for addresses that are not there.
async fn wrong(app: &TestApp, session: &str, (host, count): (&Host, usize)) -> Vec<u16> {
    let mut statuses = Vec::new();
    for n in 0..count {
        let client = host.at(&format!("wrong-{n}"));
        statuses.push(page_for(app, session, &client).await.status);
    }
    statuses
}

/// A human with a fresh session, and a client that is known by this host's document.
async fn studio(host: &Host) -> World {
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

/// Review of issue 6, L5: whoever asks learns nothing of what lies behind names and ports.
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

/// Review of issue 6, M6: what is stored of a client is stored with a yes, and so is what changes of it.
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

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_look_serves_all_who_wait() {
    let host = Host::start().await;
    let world = studio(&host).await;
    host.answer.lock().unwrap().after = Duration::from_millis(500);
    // Also the look that fails: it is kept for nobody who comes later.
    host.answers(StatusCode::NOT_FOUND, Vec::new());
    let all = join_all((0..16).map(|_| page(&world, &[]))).await;
    assert!(all.iter().all(|told| told.status == 400), "{}", all[0]);
    assert_eq!(host.asked(), 1);
    host.says(&host.document());
    let all = join_all((0..16).map(|_| page(&world, &[]))).await;
    assert!(all.iter().all(|shown| shown.status == 200), "{}", all[0]);
    assert_eq!(host.asked(), 2);
}

/// Review of issue 6, M5: a host is asked ten times a minute, whatever the port, and no human uses that up for others; what
/// nobody let in leaves room for what somebody did.
#[tokio::test]
async fn a_host_is_asked_ten_times_a_minute_and_nobody_shuts_it_to_others() {
    let (host, port) = (Host::start().await, Host::start().await);
    let world = studio(&host).await;
    world.let_in().await;
    world.app.advance(300);
    let before = host.asked();
    host.answers(StatusCode::NOT_FOUND, Vec::new());
    port.answers(StatusCode::NOT_FOUND, Vec::new());
    let (app, mut humans) = (&world.app, Vec::new());
    for _ in 0..4 {
        humans.push(another(app).await);
    }
    // One human has five, and takes nothing more of the host's.
    assert_eq!(
        wrong(app, &humans[0], (&host, 7)).await,
        [400, 400, 400, 400, 400, 429, 429]
    );
    // Another one has what is left for strangers' addresses, of all ports.
    assert_eq!(wrong(app, &humans[1], (&port, 3)).await, [400, 400, 429]);
    assert_eq!((host.asked() - before, port.asked()), (5, 2));
    let other_host = format!("http://localhost:{}/c", port.address.port());
    page_for(app, &humans[1], &other_host).await.expect(400);
    assert_eq!(port.asked(), 3);
    // The client that somebody let in is asked for still, until the host was asked ten times.
    let known = host.id();
    for human in &humans[1..] {
        page_for(app, human, &known).await.expect(400);
    }
    page_for(app, &humans[3], &known).await.expect(429);
    assert_eq!(host.asked() - before, 8);
    host.says(&host.document());
    app.advance(70);
    page_for(app, &humans[0], &known).await.expect(200);
}

#[tokio::test]
async fn one_human_has_sixty_documents_fetched_an_hour() {
    let host = Host::start().await;
    let world = studio(&host).await;
    host.answers(StatusCode::NOT_FOUND, Vec::new());
    let session = another(&world.app).await;
    for _ in 0..12 {
        assert_eq!(wrong(&world.app, &session, (&host, 5)).await, [400; 5]);
        world.app.advance(70);
    }
    assert_eq!(wrong(&world.app, &session, (&host, 1)).await, [429]);
    let session = another(&world.app).await;
    assert_eq!(wrong(&world.app, &session, (&host, 1)).await, [400]);
}

/// What hangs takes few of the places, and no human more than two: the fetcher has others to serve.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn slow_hosts_hold_up_nobody_else() {
    let (slow, quick) = (Host::start().await, Host::start().await);
    let world = studio(&quick).await;
    slow.answer.lock().unwrap().after = Duration::from_secs(2);
    slow.answers(StatusCode::NOT_FOUND, Vec::new());
    let app = &world.app;
    let session = another(app).await;
    let clients: Vec<String> = (0..3).map(|n| slow.at(&format!("slow-{n}"))).collect();
    let hung = join_all(clients.iter().map(|client| page_for(app, &session, client)));
    let (hung, shown) = join(hung, page(&world, &[])).await;
    let mut statuses: Vec<u16> = hung.iter().map(|told| told.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [400, 400, 429]);
    assert_eq!(slow.asked(), 2);
    shown.expect(200);
}

/// A host that hangs, whose clients are in use, keeps nobody from those of others.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_hangs_at_one_host_holds_up_no_client_of_another() {
    let (slow, quick) = (Host::start().await, Host::start().await);
    let in_use = format!("http://localhost:{}/client.json", quick.address.port());
    let mut clients = vec![(&quick, in_use.clone())];
    clients.extend((0..5).map(|n| (&slow, slow.at(&format!("slow-{n}")))));
    let mut world = studio(&quick).await;
    for (host, client) in &clients {
        let mut said = host.document();
        said["client_id"] = json!(client);
        host.says(&said);
        world.client.clone_from(client);
        world.let_in().await;
        world.app.advance(70);
    }
    world.app.advance(300);
    slow.answer.lock().unwrap().after = Duration::from_secs(2);
    slow.answers(StatusCode::NOT_FOUND, Vec::new());
    let (app, before) = (&world.app, slow.asked());
    let hanging = join_all(clients[1..].iter().map(async |(_, client)| {
        let session = another(app).await;
        page_for(app, &session, client).await.status
    }));
    let other = async {
        while slow.asked() < before + 4 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let session = another(app).await;
        page_for(app, &session, &in_use).await
    };
    let (mut hanging, shown) = join(hanging, other).await;
    hanging.sort_unstable();
    assert_eq!(hanging, [400, 400, 400, 400, 503]);
    shown.expect(200);
}

/// Many strangers who have what hangs fetched keep nobody from a client that is in use.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_hangs_at_strangers_addresses_holds_up_no_client_in_use() {
    let quick = Host::start().await;
    let world = studio(&quick).await;
    world.let_in().await;
    world.app.advance(300);
    let (app, mut slow, mut hung) = (&world.app, Vec::new(), Vec::new());
    for _ in 0..2 {
        let host = Host::start().await;
        host.answer.lock().unwrap().after = Duration::from_secs(2);
        host.answers(StatusCode::NOT_FOUND, Vec::new());
        slow.push(host);
    }
    for (name, host) in ["127.0.0.1", "localhost"].into_iter().zip(&slow) {
        for _ in 0..2 {
            let session = another(app).await;
            for _ in 0..2 {
                let n = hung.len();
                let client = format!("http://{name}:{}/slow-{n}", host.address.port());
                hung.push((session.clone(), client));
            }
        }
    }
    let hanging = join_all(
        hung.iter()
            .map(|(session, client)| page_for(app, session, client)),
    );
    let asked = || slow.iter().map(Host::asked).sum::<usize>();
    let others = async {
        while asked() < 8 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let session = another(app).await;
        // What nobody let in finds no place now; what somebody did has its own.
        let stranger = page_for(app, &session, &quick.at("stranger")).await;
        (stranger.status, page(&world, &[]).await)
    };
    let (hanging, (stranger, shown)) = join(hanging, others).await;
    assert!(hanging.iter().all(|told| told.status == 400));
    assert_eq!(stranger, 503);
    shown.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_host_has_five_seconds() {
    let host = Host::start().await;
    let world = studio(&host).await;
    host.answer.lock().unwrap().after = Duration::from_secs(10);
    let told = tokio::time::timeout(Duration::from_secs(8), page(&world, &[])).await;
    told.unwrap().expect(400);
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

/// Lesson C 85: nobody has the server ask what is not open to the internet, by whatever name. The ports are those of something
/// that listens here, so that what is asked is seen.
#[tokio::test]
async fn what_is_no_address_of_the_internet_is_not_asked() {
    let canary = Canary::start().await;
    let world = world_of(crate::setup().in_the_open().start().await).await;
    let mut clients: Vec<String> = vec![
        canary.url("http://127.0.0.1"),
        canary.url("http://localhost"),
    ];
    for host in HOSTS {
        clients.push(format!("https://{host}/c"));
        clients.push(canary.url(&format!("https://{host}")));
        clients.push(format!("https://{host}/latest/meta-data"));
    }
    let open = "https://app.example.com";
    clients.extend(PORTS.iter().map(|port| format!("{open}{port}/c")));
    for path in [
        "",
        "/",
        "/a/../c",
        "/./c",
        "/%2e%2e/c",
        "/c?x=y",
        "/c#x",
        "/c\\",
        "/c d",
        "/\r\nx",
    ] {
        clients.push(format!("{open}{path}"));
    }
    for scheme in [
        "http",
        "ftp",
        "file",
        "gopher",
        "javascript",
        "data",
        "HTTPS",
    ] {
        clients.push(format!("{scheme}://app.example.com/c"));
    }
    for client in clients {
        let told = page_for(&world.app, &world.session, &client).await;
        assert!((400..500).contains(&told.status), "{client}: {told}");
        assert_ne!(told.status, 429, "{client}: it was not to be fetched");
        assert!(told.header("location").is_empty(), "{client}");
    }
    // Where this machine may be asked, what only looks otherwise may not.
    let world = world_of(crate::start().await).await;
    for host in [
        "[::ffff:127.0.0.1]",
        "[::127.0.0.1]",
        "127.1",
        "0.0.0.0",
        "2130706433",
    ] {
        let client = canary.url(&format!("https://{host}"));
        let told = page_for(&world.app, &world.session, &client).await;
        assert!((400..500).contains(&told.status), "{client}: {told}");
    }
    assert_eq!(canary.hits(), 0);
    // The twin: by its own name it is asked.
    page_for(&world.app, &world.session, &canary.url("http://127.0.0.1")).await;
    assert_eq!(canary.hits(), 1);
}

/// Nothing else that a client says of itself, or asks with, is fetched: pictures, pages, keys, requests.
#[tokio::test]
async fn no_other_address_that_a_client_names_is_fetched() {
    let (host, canary) = (Host::start().await, Canary::start().await);
    let there = canary.url("http://127.0.0.1");
    let mut said = host.document();
    for member in [
        "client_uri",
        "logo_uri",
        "tos_uri",
        "policy_uri",
        "jwks_uri",
        "sector_identifier_uri",
        "software_statement",
        "initiate_login_uri",
        "backchannel_logout_uri",
        "request_uris",
        "post_logout_redirect_uris",
    ] {
        said[member] = match member.ends_with('s') {
            true => json!([there]),
            false => json!(there),
        };
    }
    host.says(&said);
    let open =
        |settings: &mut kavachos_engine::Settings| settings.registration = Registration::Open;
    let world = world_of(crate::setup().settings(open).start().await).await;
    let world = World {
        client: host.id(),
        ..world
    };
    world.let_in().await;
    let metadata = said.as_object_mut().unwrap();
    metadata.remove("client_id");
    let own = world
        .app
        .anonymous()
        .post("/oauth/register", said)
        .await
        .expect(201);
    let world = World {
        client: own.text_at("/client_id").to_owned(),
        ..world
    };
    world.let_in().await;
    for member in [
        "request_uri",
        "resource",
        "redirect_uri",
        "id_token_hint",
        "registration",
    ] {
        let told = world.asked(&[(member, &there)]).await;
        let location = told.header("location");
        if location.starts_with("/consent") {
            world.browser().open(location).await;
        } else {
            assert!(
                location.is_empty() || location.starts_with(REDIRECT),
                "{member}: {location}"
            );
        }
    }
    assert_eq!(canary.hits(), 0);
}

/// Something that listens on this machine and counts whoever connects.
struct Canary {
    address: SocketAddr,
    hits: Arc<AtomicUsize>,
}

impl Canary {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let hits = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&hits);
        tokio::spawn(async move {
            while listener.accept().await.is_ok() {
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { address, hits }
    }

    fn url(&self, host: &str) -> String {
        format!("{host}:{}/c", self.address.port())
    }

    fn hits(&self) -> usize {
        self.hits.load(Ordering::SeqCst)
    }
}
