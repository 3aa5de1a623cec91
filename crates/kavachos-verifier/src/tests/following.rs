//! Keys and revocations as they change, with the tasks running; the time of the tasks is tokio's, which stands still
//! while anything can be done.

use std::time::Duration;

use kavachos_core::revocation::{Fault, Mark};
use kavachos_core::token::Leaf;
use serde_json::json;
use tokio::time::sleep;

use super::issuer::{FakeIssuer, FixedClock, NOW, key, seconds};
use super::scene::{Scene, bearer, builder, call, human, leaf, token};
use crate::tasks::ask;
use crate::verifier::Verifier;

const KEYS: &str = "/.well-known/jwks.json";

pub(super) fn killed() -> Mark {
    Mark {
        generation: 2,
        ..human()
    }
}

/// A verifier with all its tasks.
pub(super) async fn running() -> (FakeIssuer, std::sync::Arc<FixedClock>, Verifier) {
    let (issuer, clock) = (FakeIssuer::new(), FixedClock::at(seconds(NOW)));
    let verifier = builder(&issuer, &clock).build().await.unwrap();
    sleep(Duration::from_millis(10)).await;
    (issuer, clock, verifier)
}

pub(super) fn code(verifier: &Verifier, token: &str) -> &'static str {
    match verifier.verify(&bearer(token)) {
        Ok(_) => "accepted",
        Err(rejection) => rejection.code(),
    }
}

fn signed_by(byte: u8) -> String {
    leaf().sign(&key(byte)).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_kill_that_is_pushed_counts_at_once() {
    let (issuer, _, verifier) = running().await;
    let token = token(&leaf());
    assert_eq!(code(&verifier, &token), "accepted");
    let record = issuer.kill(killed());
    issuer.push(&format!("data: {}\n\n", json!(record)));
    // No time passes: the push is all that there is.
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert_eq!(code(&verifier, &token), "revoked");
    assert_eq!(verifier.stats().pushes, 1);
}

#[tokio::test(start_paused = true)]
async fn a_kill_that_is_not_pushed_is_found_by_the_next_poll() {
    let (issuer, _, verifier) = running().await;
    let token = token(&leaf());
    assert_eq!(code(&verifier, &token), "accepted");
    issuer.kill(killed());
    sleep(Duration::from_secs(4)).await;
    assert_eq!(code(&verifier, &token), "revoked");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_ends_or_talks_nonsense_is_opened_again() {
    let (issuer, _, verifier) = running().await;
    assert_eq!(issuer.listeners(), 1);
    issuer.hang_up();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(issuer.listeners(), 1);
    issuer.push("data: {\"rseq\": -1}\n\n");
    sleep(Duration::from_secs(1)).await;
    assert_eq!((issuer.listeners(), verifier.stats().stream_ends), (1, 2));
    let record = issuer.kill(killed());
    issuer.push(&format!(": still here\n\ndata: {}\n\n", json!(record)));
    sleep(Duration::from_millis(1)).await;
    assert_eq!(code(&verifier, &token(&leaf())), "revoked");
}

#[tokio::test]
async fn a_clock_that_runs_ahead_is_told_with_the_next_poll() {
    for (ahead, told) in [(61, true), (60, false)] {
        let scene = Scene::new().await;
        scene.issuer.state().time = seconds(NOW);
        scene.clock.set_ahead(Duration::from_secs(ahead));
        ask(&scene.core).await;
        let trouble = scene.verifier.trouble();
        let says = |trouble: &String| trouble.contains("seconds ahead of the issuer's");
        assert_eq!(trouble.is_some_and(|trouble| says(&trouble)), told);
    }
}

#[tokio::test(start_paused = true)]
async fn a_verifier_that_is_cut_off_accepts_nothing_after_its_lease_and_recovers() {
    let (issuer, clock, verifier) = running().await;
    let token = token(&leaf());
    issuer.state().down = Some("/");
    for (passed, expected) in [(9, "accepted"), (1, "revocation_stale")] {
        clock.advance(Duration::from_secs(passed));
        sleep(Duration::from_secs(passed)).await;
        assert_eq!(code(&verifier, &token), expected);
    }
    let trouble = verifier.trouble().unwrap();
    assert!(trouble.contains("connection refused"), "{trouble}");
    issuer.state().down = None;
    sleep(Duration::from_secs(4)).await;
    assert_eq!(code(&verifier, &token), "accepted");
    // The twin: the same time passes, with the issuer in reach.
    for _ in 0..5 {
        clock.advance(Duration::from_secs(4));
        sleep(Duration::from_secs(4)).await;
        assert_eq!(code(&verifier, &token), "accepted");
    }
}

#[tokio::test]
async fn the_issuer_may_shorten_the_lease_and_a_clock_that_is_set_back_does_not_lengthen_it() {
    let (issuer, clock) = (FakeIssuer::new(), FixedClock::at(seconds(NOW)));
    issuer.state().lease_max = 2;
    issuer.state().time = seconds(NOW);
    let scene = Scene::of(issuer, clock, |builder| builder).await;
    assert_eq!(scene.verifier.stats().lease, Duration::from_secs(2));
    let third = Duration::from_secs(2) / 3;
    assert_eq!(
        ask(&scene.core).await,
        Some(third),
        "so it is asked for sooner"
    );
    scene.clock.set_back(Duration::from_secs(3_600));
    scene.clock.advance(Duration::from_secs(2));
    assert_eq!(code(&scene.verifier, &token(&leaf())), "revocation_stale");
}

#[tokio::test]
async fn a_clock_that_is_set_back_brings_back_no_token() {
    let scene = Scene::new().await;
    let short = token(&Leaf {
        life: kavachos_core::token::Life {
            expires_at: seconds(NOW - 5),
            ..leaf().life
        },
        ..leaf()
    });
    scene.issuer.state().time = seconds(NOW);
    ask(&scene.core).await;
    ask(&scene.core).await;
    scene.clock.set_back(Duration::from_secs(6));
    assert_eq!(code(&scene.verifier, &short), "expired");
}

#[tokio::test]
async fn an_issuer_that_contradicts_itself_closes_the_verifier_for_good() {
    let scene = Scene::new().await;
    scene.issuer.kill(killed());
    ask(&scene.core).await;
    ask(&scene.core).await;
    assert_eq!(scene.verifier.alarm(), None);
    scene.issuer.state().kills.clear();
    ask(&scene.core).await;
    assert_eq!(scene.verifier.alarm(), Some(Fault::LogShortened));
    assert_eq!(code(&scene.verifier, &token(&leaf())), "revocation_stale");
    scene.issuer.kill(killed());
    ask(&scene.core).await;
    assert_eq!(code(&scene.verifier, &token(&leaf())), "revocation_stale");
}

/// A leaf of this epoch, by the second key.
pub(super) fn of_epoch(epoch: u64) -> String {
    let leaf = leaf();
    let leaf = Leaf {
        authority: kavachos_core::token::Authority {
            epoch,
            ..leaf.authority
        },
        ..leaf
    };
    leaf.sign(&key(2)).unwrap()
}

#[tokio::test]
async fn a_new_epoch_closes_the_verifier_until_it_has_that_and_ends_every_token_of_the_old_one() {
    let scene = Scene::new().await;
    let says = |epoch| code(&scene.verifier, &of_epoch(epoch));
    assert_eq!((says(1), says(2)), ("accepted", "revocation_stale"));
    {
        // A backup was restored: the epoch rose, and the key of the feed is a new one.
        let mut state = scene.issuer.state();
        state.epoch = 2;
        state.feed_keys = vec![9];
        state.signs_heads = 9;
    }
    ask(&scene.core).await;
    // It was told nothing that it could believe, so it goes on, but not for longer than its lease.
    assert_eq!(says(1), "accepted");
    scene.clock.advance(Duration::from_secs(30));
    assert_eq!(says(1), "revocation_stale");
    // The key is fetched, then the epoch is seen, then everything that was revoked in it.
    for (old, new) in [
        ("revocation_stale", "revocation_stale"),
        ("revocation_stale", "revocation_stale"),
        ("revoked", "accepted"),
    ] {
        ask(&scene.core).await;
        assert_eq!((says(1), says(2)), (old, new));
    }
    // And never goes back: who answers in the old epoch again is not believed any more.
    scene.issuer.state().epoch = 1;
    ask(&scene.core).await;
    assert_eq!(scene.verifier.alarm(), Some(Fault::EpochLowered));
    assert_eq!(says(1), "revocation_stale");
}

#[tokio::test]
async fn a_new_key_of_the_feed_is_fetched() {
    let scene = Scene::new().await;
    {
        let mut state = scene.issuer.state();
        state.feed_keys = vec![9];
        state.signs_heads = 9;
    }
    scene.clock.advance(Duration::from_secs(30));
    assert_eq!(code(&scene.verifier, &token(&leaf())), "revocation_stale");
    ask(&scene.core).await;
    ask(&scene.core).await;
    assert_eq!(code(&scene.verifier, &token(&leaf())), "accepted");
}

#[tokio::test]
async fn a_key_that_is_not_known_is_asked_for_at_most_every_thirty_seconds() {
    let scene = Scene::new().await;
    let stranger = signed_by(9);
    let through = async |token: &str| {
        let authorization = format!("Bearer {token}");
        let request = call(&[("authorization", &authorization)], "");
        super::layer::send(&scene.verifier, request)
            .await
            .code()
            .to_owned()
    };
    assert_eq!(scene.issuer.count(KEYS), 1);
    // They were fetched a moment ago.
    assert_eq!(through(&stranger).await, "unknown_key");
    assert_eq!(scene.issuer.count(KEYS), 1);
    let later = async |seconds| {
        scene.clock.advance(Duration::from_secs(seconds));
        ask(&scene.core).await;
    };
    later(29).await;
    assert_eq!(through(&stranger).await, "unknown_key");
    assert_eq!(scene.issuer.count(KEYS), 1);
    later(1).await;
    for _ in 0..5 {
        assert_eq!(through(&stranger).await, "unknown_key");
        assert_eq!(scene.issuer.count(KEYS), 2);
    }
    // A key that is new is found by the first token that it signed.
    scene.issuer.state().published = vec![1, 9];
    later(30).await;
    assert_eq!(through(&stranger).await, "none");
    assert_eq!(scene.issuer.count(KEYS), 3);
}

#[tokio::test]
async fn a_key_that_is_gone_takes_its_tokens_with_it_cached_or_not() {
    let scene = Scene::new().await;
    let (old, other) = (signed_by(1), signed_by(2));
    let principal = scene.verifier.verify(&bearer(&old)).unwrap();
    assert_eq!(code(&scene.verifier, &other), "accepted");
    scene.issuer.state().published = vec![2];
    scene.clock.advance(Duration::from_secs(30));
    ask(&scene.core).await;
    // The twin: until the keys are fetched again it is not known.
    assert_eq!(code(&scene.verifier, &old), "accepted");
    assert!(scene.verifier.learn_keys().await);
    assert_eq!(code(&scene.verifier, &old), "unknown_key");
    assert_eq!(principal.recheck().unwrap_err().code(), "unknown_key");
    assert_eq!(code(&scene.verifier, &other), "accepted");
}

#[tokio::test]
async fn keys_that_were_not_seen_for_an_hour_are_not_believed() {
    let scene = Scene::new().await;
    let young = |at: i64| {
        token(&Leaf {
            life: kavachos_core::token::Life {
                issued_at: seconds(NOW + at),
                expires_at: seconds(NOW + at + 60),
                ..leaf().life
            },
            ..leaf()
        })
    };
    scene.issuer.state().down = Some(KEYS);
    for (passed, at, expected) in [(3_600, 3_600, "accepted"), (1, 3_601, "revocation_stale")] {
        scene.clock.advance(Duration::from_secs(passed));
        ask(&scene.core).await;
        assert!(!scene.verifier.learn_keys().await);
        assert_eq!(code(&scene.verifier, &young(at)), expected);
    }
    scene.issuer.state().down = None;
    scene.clock.advance(Duration::from_secs(30));
    ask(&scene.core).await;
    assert!(!scene.verifier.learn_keys().await, "they are the same");
    assert_eq!(code(&scene.verifier, &young(3_631)), "accepted");
}

#[tokio::test(start_paused = true)]
async fn keys_are_fetched_every_ten_minutes_and_sooner_after_a_failure() {
    let (issuer, clock, verifier) = running().await;
    let later = async |seconds| {
        clock.advance(Duration::from_secs(seconds));
        sleep(Duration::from_secs(seconds)).await;
    };
    later(601).await;
    assert_eq!((issuer.count(KEYS), verifier.stats().key_refreshes), (2, 1));
    issuer.state().down = Some(KEYS);
    later(601).await;
    assert_eq!(
        (issuer.count(KEYS), verifier.stats().key_refresh_failures),
        (3, 1)
    );
    issuer.state().down = None;
    later(31).await;
    assert_eq!((issuer.count(KEYS), verifier.stats().key_refreshes), (4, 2));
}

#[tokio::test(start_paused = true)]
async fn with_the_last_handle_the_tasks_end() {
    let (issuer, _, verifier) = running().await;
    let token = token(&leaf());
    let principal = verifier.verify(&bearer(&token)).unwrap();
    let other = verifier.clone();
    drop(verifier);
    drop(other);
    sleep(Duration::from_secs(5)).await;
    assert_eq!(
        issuer.listeners(),
        1,
        "a principal is a handle too: it may ask again"
    );
    drop(principal);
    sleep(Duration::from_millis(1)).await;
    let asked = issuer.count("/");
    sleep(Duration::from_secs(3_600)).await;
    assert_eq!((issuer.listeners(), issuer.count("/")), (0, asked));
}
