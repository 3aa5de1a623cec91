//! A key of the feed is stolen, and its thief answers in the issuer's name: what a root that is kept offline is for, from
//! its request to the verifier.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderValue, Request, Response, Uri, header::AUTHORIZATION};
use futures_util::future::BoxFuture;
use kavachos_core::time::Timestamp;
use kavachos_core::token::{Algorithm, FeedKeysRequest, FeedRoot, KeySet, SigningKey};
use kavachos_verifier::{Builder, Chunks, Client, Clock, Http, Reading, SystemClock, Verifier};
use serde_json::json;

use crate::process::until;
use crate::tool::bearer;
use crate::world::{Terms, World};

const SEED: u64 = 41;
const FEED_DOCUMENT: &str = "/.well-known/kavach-feed-keys.jwt";

fn root() -> SigningKey {
    SigningKey::from_seed(Algorithm::Ed25519, &[9; 32]).unwrap()
}

fn public() -> FeedRoot {
    root().public().clone().try_into().unwrap()
}

fn sign(asked: &FeedKeysRequest) -> String {
    asked.sign(&root(), Timestamp::from_micros(0)).unwrap()
}

/// The way to the issuer, on which somebody may stand.
struct Wire {
    client: Client,
    hijacked: Mutex<Hijack>,
}

#[derive(Default, Clone)]
struct Hijack {
    /// What is shown as the root's document.
    document: Option<String>,
    /// Who answers instead, and the key with which the tool server is known there.
    thief: Option<(SocketAddr, String)>,
}

impl Wire {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            client: Client::new().unwrap(),
            hijacked: Mutex::default(),
        })
    }

    fn lead(&self, hijack: Hijack) {
        *self.hijacked.lock().unwrap() = hijack;
    }
}

impl Http for Wire {
    fn send(&self, mut request: Request<Bytes>) -> BoxFuture<'_, io::Result<Response<Chunks>>> {
        let Hijack { document, thief } = self.hijacked.lock().unwrap().clone();
        if let (FEED_DOCUMENT, Some(document)) = (request.uri().path(), document) {
            let shown = futures_util::stream::iter([Ok(Bytes::from(document))]);
            return Box::pin(async move { Ok(Response::new(Box::pin(shown) as Chunks)) });
        }
        if let Some((address, key)) = thief {
            let path = request.uri().path_and_query().unwrap().as_str();
            let uri: Uri = format!("http://{address}{path}").parse().unwrap();
            *request.uri_mut() = uri;
            if let Some(shown) = request.headers_mut().get_mut(AUTHORIZATION) {
                *shown = HeaderValue::from_str(&format!("Bearer {key}")).unwrap();
            }
        }
        self.client.send(request)
    }
}

/// The machine's clock, put forward by the test.
#[derive(Default)]
struct Ahead(AtomicU64);

impl Clock for Ahead {
    fn read(&self) -> Reading {
        let ahead = Duration::from_secs(self.0.load(Ordering::Relaxed));
        let now = SystemClock.read();
        Reading {
            boot: now.boot + ahead,
            wall: now.wall.plus(ahead),
        }
    }
}

/// A server, and a thief who has its first keys.
struct Theft {
    world: World,
    thief: World,
    /// What the root signed for the key that was stolen.
    old: String,
}

impl Theft {
    async fn happens() -> Self {
        let terms = Terms {
            root: Some(public()),
            seed: Some(SEED),
            issuer: None,
        };
        let world = World::under(terms.clone()).await;
        let issuer = Some(world.issuer());
        let thief = World::under(Terms { issuer, ..terms }).await;
        let keys = published(&world).await;
        assert_eq!(keys, published(&thief).await, "the key is stolen");
        let old = FeedKeysRequest {
            issuer: world.issuer().parse().unwrap(),
            epoch: 1,
            keys,
        };
        Self {
            old: sign(&old),
            world,
            thief,
        }
    }

    /// The verifier of the tool server, over this wire.
    fn verifier(&self, wire: &Arc<Wire>) -> Builder {
        let builder = self
            .world
            .verifier()
            .http(Arc::clone(wire) as Arc<dyn Http>);
        builder.lease(Duration::from_secs(2))
    }

    /// Everything that is asked of the issuer is answered by the thief.
    fn answering(&self) -> Hijack {
        Hijack {
            document: Some(self.old.clone()),
            thief: Some((self.thief.address(), self.thief.resource_key.clone())),
        }
    }

    /// The server asks, the root signs, the server installs; gives the epoch.
    async fn is_answered(&self) -> u64 {
        let operator = self.world.operator();
        let path = "/api/v1/signing-keys/feed/request";
        let asked = operator.post(path, json!({})).await.expect(200);
        let asked = FeedKeysRequest::parse(asked.at("/data").to_string().as_bytes()).unwrap();
        let path = "/api/v1/signing-keys/feed/install";
        let document = json!({ "document": sign(&asked) });
        operator.post(path, document).await.expect(200);
        asked.epoch
    }
}

async fn published(world: &World) -> KeySet {
    let path = "/.well-known/kavach-feed-keys.json";
    let set = world.operator().get(path).await.expect(200);
    KeySet::from_jwks(set.text.as_bytes()).unwrap()
}

fn code(verifier: &Verifier, token: &str) -> &'static str {
    match verifier.verify(&bearer(token)) {
        Ok(_) => "accepted",
        Err(rejection) => rejection.code(),
    }
}

#[tokio::test]
async fn a_verifier_goes_on_with_the_new_key_and_a_head_by_the_stolen_one_is_refused() {
    let theft = Theft::happens().await;
    let (wire, clock) = (Wire::new(), Arc::new(Ahead::default()));
    wire.lead(Hijack {
        document: Some(theft.old.clone()),
        thief: None,
    });
    let builder = theft.verifier(&wire).feed_root(public().to_string());
    let verifier = builder.clock(Arc::clone(&clock) as Arc<dyn Clock>);
    let verifier = verifier.build().await.unwrap();
    let old = theft.world.token().await;
    assert_eq!(code(&verifier, &old), "accepted");

    theft.is_answered().await;
    wire.lead(Hijack::default());
    // Keys may be asked for again after half a minute.
    clock.0.fetch_add(30, Ordering::Relaxed);
    let new = theft.world.token().await;
    until("the new key", || code(&verifier, &new) == "accepted").await;
    assert_eq!(code(&verifier, &old), "revoked");

    // The thief answers now, with the document of that time.
    wire.lead(theft.answering());
    clock.0.fetch_add(30, Ordering::Relaxed);
    let heard = || {
        verifier
            .trouble()
            .is_some_and(|said| said.contains("played back"))
    };
    until("the thief is noticed", heard).await;
    assert_eq!(code(&verifier, &new), "revocation_stale");
    assert_eq!(verifier.alarm(), None);

    // The twin: the issuer is back.
    wire.lead(Hijack::default());
    clock.0.fetch_add(30, Ordering::Relaxed);
    until("the issuer", || code(&verifier, &new) == "accepted").await;
}

#[tokio::test]
async fn a_verifier_that_starts_at_the_thief_is_misled_unless_it_knows_the_root_and_the_epoch() {
    let theft = Theft::happens().await;
    let token = theft.world.token().await;
    theft.world.kill(&theft.world.orchestrator).await;
    let epoch = theft.is_answered().await;
    let wire = Wire::new();
    wire.lead(theft.answering());
    // The twins first: who pins nothing takes a token that was revoked, and so does who pins the root alone.
    let root = public().to_string();
    for misled in [
        theft.verifier(&wire),
        theft.verifier(&wire).feed_root(root.clone()),
    ] {
        let verifier = misled.build().await.unwrap();
        assert_eq!(code(&verifier, &token), "accepted");
    }
    let told = theft
        .verifier(&wire)
        .feed_root(root.clone())
        .feed_epoch(epoch);
    let error = told.build().await.err().unwrap().to_string();
    assert!(error.contains("played back"), "{error}");
    // And with the issuer itself it starts.
    wire.lead(Hijack::default());
    let told = theft.verifier(&wire).feed_root(root).feed_epoch(epoch);
    let verifier = told.build().await.unwrap();
    assert_eq!(code(&verifier, &token), "revoked");
}
