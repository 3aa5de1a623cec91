//! What this server fetches for clients that are known by a document: how often, for how long, and from where.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::{join, join_all};
use http::StatusCode;
use kavachos_engine::{Registration, Settings};
use kavachos_test::TestApp;
use kavachos_test::inside::{HOSTS, PORTS};
use serde_json::json;

use crate::oauth_clients::{REDIRECT, World, world_of};
use crate::oauth_documents::{Host, another, page, page_for, studio};

/// What becomes of so many requests in turn by one human, for addresses that are not there.
async fn wrong(app: &TestApp, session: &str, (host, count): (&Host, usize)) -> Vec<u16> {
    let mut statuses = Vec::new();
    for n in 0..count {
        let client = host.at(&format!("wrong-{n}"));
        statuses.push(page_for(app, session, &client).await.status);
    }
    statuses
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_look_serves_all_who_wait() {
    let host = Host::start().await;
    let world = studio(&host).await;
    host.answers_after(Duration::from_millis(500));
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

/// A host is asked ten times a minute, whatever the port, and no human uses that up for others; what
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
    slow.answers_after(Duration::from_secs(2));
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
    slow.answers_after(Duration::from_secs(2));
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
        host.answers_after(Duration::from_secs(2));
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
    host.answers_after(Duration::from_secs(10));
    let told = tokio::time::timeout(Duration::from_secs(8), page(&world, &[])).await;
    told.unwrap().expect(400);
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
    let open = |settings: &mut Settings| settings.registration = Registration::Open;
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
