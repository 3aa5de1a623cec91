//! A pinned root: no key of the feed is believed that it did not sign for, and each refusal stands beside the same
//! answers with the control switched off, or with what the root did sign.

use std::time::Duration;

use kavachos_core::revocation::{Fault, FeedHead, Lease, LogHead};
use kavachos_core::token::FeedKeysRequest;

use super::following::{code, of_epoch};
use super::issuer::{FakeIssuer, FixedClock, ISSUER, NOW, key, key_set, seconds};
use super::scene::{Scene, builder};
use crate::Clock;
use crate::builder::Builder;
use crate::error::BuildError;
use crate::tasks::ask;

const ROOT: u8 = 20;
const NEXT_ROOT: u8 = 21;

/// The public half of a key, as it is pinned.
fn jwk(byte: u8) -> String {
    key(byte).public().to_jwk().to_string()
}

fn document_of(root: u8, (keys, epoch): (&[u8], u64), issuer: &str) -> String {
    let request = FeedKeysRequest {
        issuer: issuer.parse().unwrap(),
        epoch,
        keys: key_set(keys),
    };
    request.sign(&key(root), seconds(NOW)).unwrap()
}

fn document(keys: &[u8], epoch: u64) -> String {
    document_of(ROOT, (keys, epoch), ISSUER)
}

fn pinned(builder: Builder) -> Builder {
    builder.feed_root(jwk(ROOT))
}

/// An issuer whose heads are by this key in this epoch, under this document, which names it or does not.
fn issuer(signs: u8, epoch: u64, document: Option<String>) -> FakeIssuer {
    let issuer = FakeIssuer::new();
    publish(&issuer, signs, epoch, document);
    issuer
}

/// The published set always has the key that signs.
fn publish(issuer: &FakeIssuer, signs: u8, epoch: u64, document: Option<String>) {
    let mut state = issuer.state();
    state.feed_keys = vec![signs];
    state.signs_heads = signs;
    state.epoch = epoch;
    state.document = document;
}

async fn built(issuer: &FakeIssuer, told: impl FnOnce(Builder) -> Builder) -> Result<(), String> {
    let clock = FixedClock::at(seconds(NOW));
    let prepared = told(builder(issuer, &clock)).prepare().await;
    prepared.map(drop).map_err(|error| error.to_string())
}

async fn scene(issuer: FakeIssuer, told: impl FnOnce(Builder) -> Builder) -> Scene {
    Scene::of(issuer, FixedClock::at(seconds(NOW)), told).await
}

impl Scene {
    fn accepts(&self, epoch: u64) -> &'static str {
        code(&self.verifier, &of_epoch(epoch))
    }

    /// Half a minute later keys may be fetched again; the lease of before is over.
    async fn half_a_minute_later(&self) {
        self.clock.advance(Duration::from_secs(30));
        self.issuer.state().time = self.clock.read().wall;
        for _ in 0..3 {
            ask(&self.core).await;
        }
    }
}

#[tokio::test]
async fn keys_that_are_only_published_are_not_believed() {
    // Somebody answers in the issuer's name, with a key and a set of their own.
    let forged = issuer(9, 1, Some(document(&[7], 1)));
    let error = built(&forged, pinned).await.unwrap_err();
    assert!(error.contains("unknown_key"), "{error}");
    // The twins: nobody pins a root, and the root signed for the key.
    assert_eq!(built(&forged, |builder| builder).await, Ok(()));
    let signed = issuer(9, 1, Some(document(&[7, 9], 1)));
    assert_eq!(built(&signed, pinned).await, Ok(()));
}

#[tokio::test]
async fn a_verifier_that_runs_believes_no_published_key_either() {
    for (is_pinned, expected) in [(true, "revocation_stale"), (false, "accepted")] {
        let told = |builder| if is_pinned { pinned(builder) } else { builder };
        let scene = scene(issuer(7, 1, Some(document(&[7], 1))), told).await;
        assert_eq!(scene.accepts(1), "accepted");
        publish(&scene.issuer, 9, 1, Some(document(&[7], 1)));
        scene.half_a_minute_later().await;
        assert_eq!(scene.accepts(1), expected);
    }
}

#[tokio::test]
async fn a_document_replaces_the_keys_and_the_stolen_one_is_worth_nothing() {
    let scene = scene(issuer(7, 1, Some(document(&[7], 1))), pinned).await;
    publish(&scene.issuer, 10, 2, Some(document(&[10], 2)));
    scene.half_a_minute_later().await;
    assert_eq!(
        (scene.accepts(1), scene.accepts(2)),
        ("revoked", "accepted")
    );
    assert_eq!(scene.verifier.trouble(), None);
    // Whoever stole the key goes on with it, in the old epoch or the new one.
    for epoch in [1, 2, 3] {
        publish(&scene.issuer, 7, epoch, Some(document(&[10], 2)));
        scene.half_a_minute_later().await;
        assert_eq!(scene.accepts(2), "revocation_stale", "{epoch}");
        assert_eq!(scene.verifier.alarm(), None);
        // The twin: the key that the document names.
        publish(&scene.issuer, 10, 2, Some(document(&[10], 2)));
        scene.half_a_minute_later().await;
        assert_eq!(scene.accepts(2), "accepted");
    }
}

#[tokio::test]
async fn a_lease_that_a_replaced_key_gave_ends_with_the_document() {
    for (newer, expected) in [(true, "revocation_stale"), (false, "accepted")] {
        let scene = scene(issuer(7, 1, Some(document(&[7], 1))), pinned).await;
        scene.clock.advance(Duration::from_secs(25));
        ask(&scene.core).await;
        scene.clock.advance(Duration::from_secs(5));
        assert_eq!(scene.accepts(1), "accepted");
        let document = if newer {
            document(&[10], 2)
        } else {
            document(&[7], 1)
        };
        publish(&scene.issuer, 10, 2, Some(document));
        // The answer is by a key that is not known, so the document is fetched: five seconds of the lease are left.
        ask(&scene.core).await;
        assert_eq!(scene.accepts(1), expected);
    }
}

#[tokio::test]
async fn an_old_document_that_is_played_back_is_refused_and_said_so() {
    for (epoch, expected) in [(1, "revocation_stale"), (3, "accepted")] {
        let scene = scene(issuer(10, 2, Some(document(&[10], 2))), pinned).await;
        assert_eq!(scene.accepts(2), "accepted");
        // With the document of that time, which the right root signed, comes the key that was stolen then.
        publish(&scene.issuer, 7, epoch, Some(document(&[7], epoch)));
        scene.half_a_minute_later().await;
        assert_eq!(scene.accepts(epoch), expected);
        let trouble = scene.verifier.trouble().unwrap_or_default();
        assert_eq!(trouble.contains("played back"), epoch == 1, "{trouble}");
    }
}

#[tokio::test]
async fn of_two_documents_for_one_epoch_the_first_one_counts() {
    let scene = scene(issuer(10, 2, Some(document(&[10], 2))), pinned).await;
    publish(&scene.issuer, 7, 2, Some(document(&[7], 2)));
    scene.half_a_minute_later().await;
    assert_eq!(scene.accepts(2), "revocation_stale");
    let trouble = scene.verifier.trouble().unwrap();
    assert!(trouble.contains("two documents"), "{trouble}");
}

#[tokio::test]
async fn a_key_signs_in_no_other_epoch_than_its_document_says() {
    // A stolen key cannot carry a verifier into an epoch from which it could not come back.
    for (is_pinned, expected) in [(true, "revocation_stale"), (false, "accepted")] {
        let told = |builder| if is_pinned { pinned(builder) } else { builder };
        let scene = scene(issuer(7, 1, Some(document(&[7], 1))), told).await;
        publish(&scene.issuer, 7, 5, Some(document(&[7], 1)));
        scene.half_a_minute_later().await;
        assert_eq!(scene.accepts(5), expected);
        publish(&scene.issuer, 7, 1, Some(document(&[7], 1)));
        scene.half_a_minute_later().await;
        let (alarm, after) = match is_pinned {
            true => (None, "accepted"),
            false => (Some(Fault::EpochLowered), "revocation_stale"),
        };
        assert_eq!(scene.verifier.alarm(), alarm);
        assert_eq!(scene.accepts(1), after);
    }
}

/// What the root signed for another purpose.
fn head_by_the_root() -> String {
    let head = FeedHead {
        issuer: ISSUER.parse().unwrap(),
        epoch: 1,
        head: LogHead::EMPTY,
        time: seconds(NOW),
        lease_max: Lease::LONGEST,
        nonce: "n".parse().unwrap(),
        follower: "tools".parse().unwrap(),
        set: None,
    };
    head.sign(&key(ROOT))
}

#[tokio::test]
async fn without_a_document_that_can_be_believed_no_verifier_starts() {
    for (document, told) in [
        (None, "404"),
        (Some(String::new()), "malformed"),
        (Some("a.b.c".to_owned()), "malformed"),
        (Some(head_by_the_root()), "wrong_type"),
        (
            Some(document_of(NEXT_ROOT, (&[7], 1), ISSUER)),
            "unknown_key",
        ),
        (
            Some(document_of(ROOT, (&[7], 1), "https://other.example.com")),
            "another issuer",
        ),
    ] {
        let error = built(&issuer(7, 1, document.clone()), pinned).await;
        let error = error.unwrap_err();
        assert!(error.contains(told), "{document:?}: {error}");
        assert!(error.contains("kavach-feed-keys.jwt"), "{error}");
        // The twin: the same answers for whoever pins nothing.
        let free = built(&issuer(7, 1, document), |builder| builder).await;
        assert_eq!(free, Ok(()));
    }
    let signed = issuer(7, 1, Some(document(&[7], 1)));
    assert_eq!(built(&signed, pinned).await, Ok(()));
}

#[tokio::test]
async fn a_document_that_goes_away_closes_no_sooner_than_its_keys_do() {
    let scene = scene(issuer(7, 1, Some(document(&[7], 1))), pinned).await;
    publish(&scene.issuer, 7, 1, None);
    scene.half_a_minute_later().await;
    assert_eq!(scene.accepts(1), "accepted");
    // The issuer was restored: another epoch, another key, and the root has not signed yet.
    publish(&scene.issuer, 10, 2, None);
    scene.half_a_minute_later().await;
    assert_eq!(scene.accepts(2), "revocation_stale");
    let trouble = scene.verifier.trouble().unwrap();
    assert!(trouble.contains("404"), "{trouble}");
    publish(&scene.issuer, 10, 2, Some(document(&[10], 2)));
    scene.half_a_minute_later().await;
    assert_eq!(scene.accepts(2), "accepted");
}

#[tokio::test]
async fn a_verifier_that_starts_believes_no_document_before_the_least_epoch() {
    let old = issuer(7, 1, Some(document(&[7], 1)));
    let error = built(&old, |builder| pinned(builder).feed_epoch(2)).await;
    let error = error.unwrap_err();
    assert!(error.contains("played back"), "{error}");
    for least in [0, 1] {
        let started = built(&old, |builder| pinned(builder).feed_epoch(least)).await;
        assert_eq!(started, Ok(()));
    }
}

#[tokio::test]
async fn either_of_two_roots_signs_while_one_follows_the_other() {
    let both = |builder: Builder| pinned(builder).feed_root(jwk(NEXT_ROOT));
    let scene = scene(issuer(7, 1, Some(document(&[7], 1))), both).await;
    let next = document_of(NEXT_ROOT, (&[10], 2), ISSUER);
    publish(&scene.issuer, 10, 2, Some(next));
    scene.half_a_minute_later().await;
    assert_eq!(scene.accepts(2), "accepted");
    // The twin: a third one does not.
    let third = document_of(22, (&[11], 3), ISSUER);
    publish(&scene.issuer, 11, 3, Some(third));
    scene.half_a_minute_later().await;
    assert_eq!(scene.accepts(3), "revocation_stale");
}

#[tokio::test]
async fn what_the_builder_is_told_of_roots_is_checked() {
    let issuer = issuer(7, 1, Some(document(&[7], 1)));
    let said = async |told: &dyn Fn(Builder) -> Builder| {
        let clock = FixedClock::at(seconds(NOW));
        match told(builder(&issuer, &clock)).prepare().await {
            Err(BuildError::Invalid { what, .. }) => what,
            Err(error) => panic!("{error}"),
            Ok(_) => "built",
        }
    };
    // The second key is of P-256.
    for wrong in ["", "{}", &jwk(2)] {
        let what = said(&|builder| builder.feed_root(wrong)).await;
        assert_eq!(what, "`feed_root`", "{wrong}");
    }
    let three = |builder: Builder| {
        let roots = [ROOT, NEXT_ROOT, 22].map(jwk);
        roots.into_iter().fold(builder, Builder::feed_root)
    };
    assert_eq!(said(&three).await, "`feed_root`");
    assert_eq!(said(&|builder| builder.feed_epoch(1)).await, "`feed_epoch`");
    assert_eq!(said(&pinned).await, "built");
    assert_eq!(issuer.count("/.well-known/kavach-feed-keys.json"), 0);
}
