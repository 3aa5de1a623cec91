//! Attacks on the fetcher. Each stands beside the same scenario with the control off, which must go the other way.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use kavachos_engine::fetch::FetchMethod;
use kavachos_test::inside;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Something that listens, answers every connection with the same bytes, and counts them.
struct Listener {
    address: SocketAddr,
    hits: Arc<AtomicUsize>,
    _task: JoinOnDrop,
}

struct JoinOnDrop(tokio::task::JoinHandle<()>);

impl Drop for JoinOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What a listener does after its bytes.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    Close,
    Hang,
    Repeat,
}

impl Listener {
    async fn at(address: &str, bytes: impl Into<Vec<u8>>, then: Then) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (hits, bytes) = (Arc::new(AtomicUsize::new(0)), bytes.into());
        let count = Arc::clone(&hits);
        let task = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                let bytes = bytes.clone();
                tokio::spawn(async move {
                    let mut head = [0; 4096];
                    let _ = stream.read(&mut head).await;
                    let mut sent = stream.write_all(&bytes).await;
                    while then == Then::Repeat && sent.is_ok() {
                        sent = stream.write_all(&bytes).await;
                    }
                    if then == Then::Hang {
                        std::future::pending::<()>().await;
                    }
                });
            }
        });
        Self {
            address,
            hits,
            _task: JoinOnDrop(task),
        }
    }

    async fn saying(bytes: impl Into<Vec<u8>>) -> Self {
        Self::at("127.0.0.1:0", bytes, Then::Close).await
    }

    fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    fn hits(&self) -> usize {
        self.hits.load(Ordering::SeqCst)
    }
}

/// Answers with each list once, and with the last for ever.
struct Lying {
    answers: Mutex<VecDeque<Vec<IpAddr>>>,
    asked: AtomicUsize,
}

impl Lying {
    fn with(answers: &[&[&str]]) -> Arc<Self> {
        let list = |list: &&[&str]| list.iter().map(|text| text.parse().unwrap()).collect();
        Arc::new(Self {
            answers: Mutex::new(answers.iter().map(list).collect()),
            asked: AtomicUsize::new(0),
        })
    }
}

impl Resolve for Lying {
    fn resolve(&self, _: &str) -> BoxFuture<'_, Result<Vec<IpAddr>, FetchError>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut answers = self.answers.lock().unwrap();
        let next = match answers.len() {
            1 => answers[0].clone(),
            _ => answers.pop_front().unwrap(),
        };
        Box::pin(std::future::ready(Ok(next)))
    }
}

fn guarded() -> GuardedFetcher {
    GuardedFetcher::new(Loopback::Refused).unwrap()
}

fn for_tests() -> GuardedFetcher {
    GuardedFetcher::new(Loopback::Allowed).unwrap()
}

/// The same fetcher with the judgement of addresses switched off.
fn unguarded() -> GuardedFetcher {
    GuardedFetcher {
        judge: |_, _| Ok(()),
        ..for_tests()
    }
}

fn ask(url: &str) -> Fetch {
    Fetch {
        url: url.parse().unwrap_or_else(|error| panic!("{url}: {error}")),
        method: FetchMethod::Post,
        headers: vec![("x-test", "1".to_owned())],
        body: b"{}".to_vec(),
        max_answer_bytes: 1_000,
    }
}

fn is_refused(answer: &Result<Fetched, FetchError>) -> bool {
    matches!(answer, Err(FetchError::Refused(_)))
}

#[tokio::test]
async fn a_literal_address_of_this_machine_is_reached_only_where_it_is_configured() {
    let canary = Listener::saying(OK).await;
    let port = canary.address.port();
    let urls = [
        canary.url(),
        format!("https://127.0.0.1:{port}/"),
        format!("https://[::1]:{port}/"),
        format!("https://localhost:{port}/"),
        "https://10.0.0.1/".to_owned(),
        "https://169.254.169.254/latest/meta-data".to_owned(),
        "https://[fd00::1]/".to_owned(),
        format!("https://[::ffff:127.0.0.1]:{port}/"),
        format!("https://[::127.0.0.1]:{port}/"),
        format!("https://[64:ff9b::7f00:1]:{port}/"),
        format!("https://[2002:7f00:1::]:{port}/"),
        format!("https://[2001:0:7f00:1::]:{port}/"),
    ];
    for url in &urls {
        assert!(is_refused(&guarded().fetch(ask(url)).await), "{url}");
    }
    assert_eq!(canary.hits(), 0);
    let answer = for_tests().fetch(ask(&canary.url())).await.unwrap();
    assert_eq!(
        (answer.status, answer.body.as_slice()),
        (200, b"ok".as_slice())
    );
    assert_eq!(canary.hits(), 1);
}

/// A socket takes `::ffff:127.0.0.1` for 127.0.0.1: without the judgement the canary is reached.
#[tokio::test]
async fn a_mapped_address_does_not_slip_through_even_where_loopback_is_allowed() {
    let canary = Listener::saying(OK).await;
    let url = format!("https://[::ffff:127.0.0.1]:{}/", canary.address.port());
    assert!(is_refused(&for_tests().fetch(ask(&url)).await));
    assert_eq!(canary.hits(), 0);
    // It speaks no TLS, so the fetch fails; but it was connected to.
    assert!(!is_refused(&unguarded().fetch(ask(&url)).await));
    assert_eq!(canary.hits(), 1);
}

#[tokio::test]
async fn one_bad_address_among_the_addresses_of_a_name_spoils_them_all() {
    let canary = Listener::saying(OK).await;
    let url = format!("https://hooks.example.com:{}/", canary.address.port());
    let lists: [&[&str]; 4] = [
        &["127.0.0.1"],
        &["127.0.0.1", "10.0.0.1"],
        &["127.0.0.1", "8.8.8.8"],
        &["127.0.0.1", "::ffff:127.0.0.1"],
    ];
    for list in lists {
        let mut fetcher = guarded();
        fetcher.resolver = Lying::with(&[list]);
        assert!(is_refused(&fetcher.fetch(ask(&url)).await), "{list:?}");
    }
    assert_eq!(canary.hits(), 0);
    for list in lists {
        let mut fetcher = unguarded();
        fetcher.resolver = Lying::with(&[list]);
        assert!(!is_refused(&fetcher.fetch(ask(&url)).await), "{list:?}");
    }
    assert_eq!(canary.hits(), lists.len());
}

/// The whole corpus, of names that resolve to it; alone, and behind an address that is anybody's.
#[tokio::test]
async fn a_name_that_resolves_inside_is_not_fetched_from() {
    let canary = Listener::saying(OK).await;
    let url = format!("https://app.example.com:{}/c", canary.address.port());
    for address in inside::ADDRESSES {
        for list in [&[*address][..], &["8.8.8.8", *address]] {
            let mut fetcher = guarded();
            fetcher.resolver = Lying::with(&[list]);
            assert!(is_refused(&fetcher.fetch(ask(&url)).await), "{list:?}");
        }
    }
    assert_eq!(canary.hits(), 0);
    // The twin: without the judgement, this machine is reached.
    let mut fetcher = unguarded();
    fetcher.resolver = Lying::with(&[&["127.0.0.1"]]);
    assert!(!is_refused(&fetcher.fetch(ask(&url)).await));
    assert_eq!(canary.hits(), 1);
}

/// The whole corpus, as it is written into addresses.
#[test]
fn no_notation_of_what_is_inside_is_an_address_to_fetch_from() {
    let is_permitted = |text: &str| {
        let url: Result<FetchUrl, _> = text.parse();
        url.is_ok_and(|url| guarded().permits(&url).is_ok())
    };
    for host in inside::HOSTS {
        assert!(!is_permitted(&format!("https://{host}/c")), "{host}");
    }
    for port in inside::PORTS {
        assert!(
            !is_permitted(&format!("https://app.example.com{port}/c")),
            "{port}"
        );
    }
    for open in ["app.example.com", "app.example.com:8443", "8.8.8.8"] {
        assert!(is_permitted(&format!("https://{open}/c")), "{open}");
    }
}

#[tokio::test]
async fn an_answer_that_lay_on_its_way_is_as_old_as_it_says() {
    for (said, seconds) in [
        ("Cache-Control: max-age=3600", Some(3_600)),
        ("Cache-Control: max-age=3600\r\nAge: 3000", Some(600)),
        ("Cache-Control: max-age=60\r\nAge: 3000", Some(0)),
        ("Cache-Control: no-store, max-age=3600", Some(0)),
        ("Age: 3000", None),
    ] {
        let head = format!("HTTP/1.1 200 OK\r\n{said}\r\nContent-Length: 2\r\n\r\nok");
        let server = Listener::saying(head).await;
        let answer = for_tests().fetch(ask(&server.url())).await.unwrap();
        assert_eq!(answer.max_age, seconds.map(Duration::from_secs), "{said}");
    }
}

#[tokio::test]
async fn a_name_without_addresses_or_with_too_many_is_refused() {
    let mut fetcher = unguarded();
    fetcher.resolver = Lying::with(&[&[]]);
    let nothing = fetcher.fetch(ask("https://hooks.example.com/")).await;
    assert_eq!(nothing, Err(FetchError::Unresolved));
    fetcher.resolver = Lying::with(&[&["127.0.0.1"; MAX_ADDRESSES + 1]]);
    assert!(is_refused(
        &fetcher.fetch(ask("https://hooks.example.com/")).await
    ));
}

/// The first answer of the resolver is harmless, the second is the inner network (played by 127.0.0.2).
#[tokio::test]
async fn a_name_that_changes_its_address_after_the_check_gains_nothing() {
    let good = Listener::saying(OK).await;
    let inner = Listener::at(
        &format!("127.0.0.2:{}", good.address.port()),
        OK,
        Then::Close,
    )
    .await;
    let judge: Judge = |address, _| match address.to_string().as_str() {
        "127.0.0.1" => Ok(()),
        _ => Err(FetchError::Refused("inner".to_owned())),
    };
    let url = format!("http://localhost:{}/", good.address.port());
    let resolver = Lying::with(&[&["127.0.0.1"], &["127.0.0.2"]]);
    let mut fetcher = GuardedFetcher {
        judge,
        ..for_tests()
    };
    fetcher.resolver = Arc::clone(&resolver) as Arc<_>;
    assert_eq!(
        fetcher.fetch(ask(&url)).await.map(|answer| answer.status),
        Ok(200)
    );
    assert_eq!(resolver.asked.load(Ordering::SeqCst), 1);
    assert_eq!((good.hits(), inner.hits()), (1, 0));
    assert!(
        is_refused(&fetcher.fetch(ask(&url)).await),
        "the next fetch looks again"
    );

    // The twin: who judges one answer and connects by another reaches the inner network.
    let resolver = Lying::with(&[&["127.0.0.1"], &["127.0.0.2"]]);
    let judged = resolver.resolve("localhost").await.unwrap();
    judge(judged[0], Loopback::Allowed).unwrap();
    let again = resolver.resolve("localhost").await.unwrap();
    TcpStream::connect((again[0], good.address.port()))
        .await
        .unwrap();
    assert_eq!(again[0].to_string(), "127.0.0.2");
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let inner = Listener::saying(OK).await;
    for status in [301, 302, 303, 307, 308] {
        let head = format!(
            "HTTP/1.1 {status} Elsewhere\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n",
            inner.url()
        );
        let outer = Listener::saying(head).await;
        let answer = for_tests().fetch(ask(&outer.url())).await;
        assert_eq!(answer.map(|answer| answer.status), Ok(status));
        assert_eq!((outer.hits(), inner.hits()), (1, 0));
    }
    // The twin: the address that it names answers whoever goes there.
    for_tests().fetch(ask(&inner.url())).await.unwrap();
    assert_eq!(inner.hits(), 1);
}

#[tokio::test]
async fn a_slow_answer_ends_the_fetch_wherever_it_is_slow() {
    let impatient = || {
        let mut fetcher = for_tests();
        fetcher.limits.whole = Duration::from_millis(100);
        fetcher
    };
    for (said, then) in [
        ("", Then::Hang),
        ("HTTP/1.1 200 OK\r\nX: ", Then::Hang),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc",
            Then::Hang,
        ),
        ("HTTP/1.1 100 Continue\r\n\r\n", Then::Repeat),
    ] {
        let slow = Listener::at("127.0.0.1:0", said, then).await;
        let answer = impatient().fetch(ask(&slow.url())).await;
        assert!(answer.is_err(), "{said}: {answer:?}");
    }
    // The twin: with time enough a complete answer is read, also when the other side holds on to the connection.
    let holding = Listener::at("127.0.0.1:0", OK, Then::Hang).await;
    assert!(for_tests().fetch(ask(&holding.url())).await.is_ok());
}

#[tokio::test]
async fn a_huge_answer_is_cut_off_whether_or_not_it_says_its_length() {
    let long = "x".repeat(5_000);
    let honest = Listener::saying(format!(
        "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n{long}"
    ))
    .await;
    let chunks =
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1388\r\n{long}\r\n0\r\n\r\n");
    let chunked = Listener::saying(chunks).await;
    let endless = Listener::at(
        "127.0.0.1:0",
        format!("HTTP/1.1 200 OK\r\n\r\n{long}"),
        Then::Repeat,
    )
    .await;
    for server in [&honest, &chunked, &endless] {
        let answer = for_tests().fetch(ask(&server.url())).await;
        assert_eq!(answer, Err(FetchError::TooLarge(1_000)));
    }
    for server in [&honest, &chunked] {
        let larger = Fetch {
            max_answer_bytes: 5_000,
            ..ask(&server.url())
        };
        let answer = for_tests().fetch(larger).await.unwrap();
        assert_eq!(answer.body.len(), 5_000);
    }
}

#[tokio::test]
async fn a_bomb_of_headers_is_refused_in_number_and_in_bytes() {
    let many: String = (0..200).map(|n| format!("X-{n}: y\r\n")).collect();
    let long = format!("X: {}\r\n", "y".repeat(100_000));
    for bomb in [many, long] {
        let head = format!("HTTP/1.1 200 OK\r\n{bomb}Content-Length: 2\r\n\r\nok");
        let server = Listener::saying(head).await;
        let answer = for_tests().fetch(ask(&server.url())).await;
        assert!(
            matches!(answer, Err(FetchError::Unreadable(_))),
            "{answer:?}"
        );
        let mut patient = for_tests();
        (patient.limits.headers, patient.limits.head_bytes) = (1_000, 1_000_000);
        let answer = patient.fetch(ask(&server.url())).await;
        assert_eq!(answer.map(|answer| answer.status), Ok(200));
    }
}

#[tokio::test]
async fn only_so_many_are_fetched_at_once() {
    let slow = Listener::at("127.0.0.1:0", "", Then::Hang).await;
    let quick = Listener::saying(OK).await;
    for turns in [1, 2] {
        let mut fetcher = for_tests();
        fetcher.turns = Semaphore::new(turns);
        let before = quick.hits();
        let mut first = fetcher.fetch(ask(&slow.url()));
        // It takes its turn when it is first looked at, and keeps it.
        let soon = Duration::from_millis(50);
        assert!(timeout(soon, &mut first).await.is_err());
        let second = fetcher.fetch(ask(&quick.url()));
        if turns == 1 {
            assert!(timeout(soon, second).await.is_err(), "it waits");
        } else {
            assert!(second.await.is_ok());
        }
        assert_eq!(quick.hits() - before, turns - 1);
    }
}

/// A server with the certificate in `testdata`, which is for `hooks.example.com`.
async fn with_tls() -> (SocketAddr, JoinOnDrop) {
    let certificate =
        CertificateDer::from_pem_slice(include_bytes!("testdata/server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("testdata/server.key")).unwrap();
    let config =
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    return;
                };
                let mut head = [0; 4096];
                let _ = stream.read(&mut head).await;
                let _ = stream.write_all(OK.as_bytes()).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    (address, JoinOnDrop(task))
}

/// One that trusts who signed that certificate.
fn of_authority(loopback: Loopback) -> GuardedFetcher {
    let root = CertificateDer::from_pem_slice(include_bytes!("testdata/root.pem")).unwrap();
    GuardedFetcher::trusting(loopback, vec![root]).unwrap()
}

#[tokio::test]
async fn tls_checks_the_name_although_the_connection_goes_to_an_address() {
    let (address, _server) = with_tls().await;
    let trusting = || {
        let mut fetcher = of_authority(Loopback::Allowed);
        fetcher.resolver = Lying::with(&[&["127.0.0.1"]]);
        fetcher
    };
    let url = |host: &str| format!("https://{host}:{}/", address.port());
    let right = trusting().fetch(ask(&url("hooks.example.com"))).await;
    assert_eq!(right.map(|answer| answer.status), Ok(200));
    let other = trusting().fetch(ask(&url("other.example.com"))).await;
    assert!(
        matches!(other, Err(FetchError::Unreachable(_))),
        "{other:?}"
    );
    let mut distrusting = for_tests();
    distrusting.resolver = Lying::with(&[&["127.0.0.1"]]);
    let unknown = distrusting.fetch(ask(&url("hooks.example.com"))).await;
    assert!(
        matches!(unknown, Err(FetchError::Unreachable(_))),
        "{unknown:?}"
    );
}

#[tokio::test]
async fn an_authority_that_is_trusted_opens_no_address() {
    let (address, _server) = with_tls().await;
    let mut fetcher = of_authority(Loopback::Refused);
    fetcher.resolver = Lying::with(&[&["127.0.0.1"]]);
    let url = format!("https://hooks.example.com:{}/", address.port());
    let inside = fetcher.fetch(ask(&url)).await;
    assert!(is_refused(&inside), "{inside:?}");
    // The twin: what refuses it is the judgement of its address.
    fetcher.judge = |_, _| Ok(());
    let reached = fetcher.fetch(ask(&url)).await;
    assert_eq!(reached.map(|answer| answer.status), Ok(200));
    let none = vec![CertificateDer::from(b"none".to_vec())];
    assert!(GuardedFetcher::trusting(Loopback::Refused, none).is_err());
}
