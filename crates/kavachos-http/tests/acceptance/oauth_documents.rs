//! OAuth clients that are known by the document at the address that is their id.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use futures_util::future::join_all;
use http::{HeaderMap, StatusCode};
use kavachos_test::Reply;
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::oauth_clients::{AUTHORIZE, SITE, World, query, world};
use crate::tokens::judged;

/// What a host answers.
#[derive(Clone)]
struct Answer {
    status: StatusCode,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    after: Duration,
}

/// A host of one document, on this machine.
struct Host {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    answer: Arc<Mutex<Answer>>,
}

impl Host {
    async fn start() -> Self {
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

    fn id(&self) -> String {
        format!("http://{}/client.json", self.address)
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
    for (said, kept) in [
        ("max-age=3600", 3_600),
        ("max-age=31536000", 86_400),
        ("no-store", 300),
    ] {
        host.with_headers(&[("cache-control", said)]);
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
    let host = Host::start().await;
    let with = |member: &str, value: Value| {
        let mut document = host.document();
        document[member] = value;
        document.to_string().into_bytes()
    };
    let good = host.document().to_string().into_bytes();
    let mut long = host.document();
    long["software_id"] = json!("x".repeat(5 * 1024));
    for (status, body) in [
        (StatusCode::NOT_FOUND, good.clone()),
        (StatusCode::INTERNAL_SERVER_ERROR, good.clone()),
        (StatusCode::CREATED, good.clone()),
        (StatusCode::FOUND, good.clone()),
        (StatusCode::OK, Vec::new()),
        (StatusCode::OK, b"<html>".to_vec()),
        (StatusCode::OK, b"[]".to_vec()),
        (StatusCode::OK, long.to_string().into_bytes()),
        (
            StatusCode::OK,
            with("client_id", json!("http://127.0.0.1/other.json")),
        ),
        (StatusCode::OK, with("client_secret", json!("x"))),
        (StatusCode::OK, with("client_name", Value::Null)),
        (
            StatusCode::OK,
            with("token_endpoint_auth_method", json!("client_secret_basic")),
        ),
    ] {
        let world = studio(&host).await;
        host.with_headers(&[("location", &host.id())]);
        host.answers(status, body);
        let before = host.asked();
        let told = page(&world, &[]).await;
        assert!((400..500).contains(&told.status), "{status}: {told}");
        assert!(told.header("location").is_empty(), "{told}");
        assert_eq!(host.asked(), before + 1);
        host.with_headers(&[]);
        host.says(&host.document());
        page(&world, &[]).await.expect(200);
    }
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

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_look_serves_all_who_wait_and_a_host_is_asked_ten_times_a_minute() {
    let host = Host::start().await;
    let world = studio(&host).await;
    host.answer.lock().unwrap().after = Duration::from_millis(200);
    let all = join_all((0..16).map(|_| page(&world, &[]))).await;
    for shown in all {
        shown.expect(200);
    }
    assert_eq!(host.asked(), 1);
    host.answer.lock().unwrap().after = Duration::ZERO;
    host.answers(StatusCode::NOT_FOUND, Vec::new());
    world.app.advance(300);
    let mut statuses = Vec::new();
    for _ in 0..12 {
        statuses.push(page(&world, &[]).await.status);
    }
    assert_eq!(
        statuses.iter().filter(|status| **status == 429).count(),
        2,
        "{statuses:?}"
    );
    assert_eq!(host.asked(), 11);
}

/// Lesson C 85: nobody has the server ask what is not open to the internet.
#[tokio::test]
async fn what_is_no_address_of_the_internet_is_not_asked() {
    let world = world().await;
    for id in [
        "http://127.0.0.1:1/c",
        "https://10.0.0.1/c",
        "https://169.254.169.254/latest/meta-data",
        "https://[::ffff:7f00:1]/c",
        "https://[fe80::1]/c",
        "https://localhost:22/c",
        "https://a.internal/c",
    ] {
        let asks = world.asked(&[("client_id", id)]).await;
        let told = match asks.header("location") {
            "" => asks,
            location => world.browser().open(location).await,
        };
        assert!((400..500).contains(&told.status), "{id}: {told}");
        assert!(told.header("location").is_empty(), "{id}");
    }
}
