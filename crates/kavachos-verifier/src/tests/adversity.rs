//! A verifier that is cut off, that lags, that slept or that is misled accepts nothing past its lease: each beside the
//! same one that is left alone. (The one that is cut off is among `following`.)

use std::time::Duration;

use kavachos_core::revocation::{HandleKind, Record};
use serde_json::json;
use tokio::time::sleep;

use super::following::{code, killed, running};
use super::scene::{Scene, leaf, mark, token};
use crate::tasks::ask;

/// Its lease, unless something else is said.
const LEASE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_verifier_that_slept_accepts_nothing_before_it_has_asked() {
    for (slept, wakes_up) in [(LEASE, "revocation_stale"), (LEASE / 2, "accepted")] {
        let scene = Scene::new().await;
        let token = token(&leaf());
        assert_eq!(code(&scene.verifier, &token), "accepted");
        // The human is stopped while it sleeps: by its clock since boot, which counts that, it is late or not.
        scene.issuer.kill(killed());
        scene.clock.advance_boot(slept);
        assert_eq!(code(&scene.verifier, &token), wakes_up);
        ask(&scene.core).await;
        ask(&scene.core).await;
        assert_eq!(code(&scene.verifier, &token), "revoked");
    }
}

/// Nothing is pushed to the one that lags: it learns of the kill from its own question, within its lease.
#[tokio::test(start_paused = true)]
async fn a_verifier_that_lags_knows_within_its_lease_and_the_other_at_once() {
    for (pushed, at_once) in [(false, "accepted"), (true, "revoked")] {
        let (issuer, clock, verifier) = running().await;
        let token = token(&leaf());
        let record = issuer.kill(killed());
        if pushed {
            issuer.push(&format!("data: {}\n\n", json!(record)));
        }
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert_eq!(code(&verifier, &token), at_once);
        clock.advance(LEASE);
        sleep(LEASE).await;
        assert_eq!(code(&verifier, &token), "revoked");
    }
}

/// A record that was forged on the way can only revoke more, and gets no lease: the log that the issuer signs for is
/// another one.
#[tokio::test(start_paused = true)]
async fn a_verifier_that_is_misled_is_closed_until_it_has_the_true_log() {
    for (forges, after) in [(true, "revocation_stale"), (false, "accepted")] {
        let (issuer, clock, verifier) = running().await;
        let token = token(&leaf());
        let stranger = mark(HandleKind::User, 200, 2);
        let truth = issuer.kill(stranger);
        let said = Record {
            kill: match forges {
                true => mark(HandleKind::User, 201, 2),
                false => truth.kill,
            },
            ..truth
        };
        // Whoever forges keeps the true log away too.
        issuer.state().down = Some("/api/v1/revocations/snapshot");
        issuer.push(&format!("data: {}\n\n", json!(said)));
        for _ in 0..3 {
            clock.advance(LEASE / 2);
            sleep(LEASE / 2).await;
        }
        assert_eq!(code(&verifier, &token), after);
        issuer.state().down = None;
        clock.advance(LEASE / 2);
        sleep(LEASE / 2).await;
        assert_eq!(code(&verifier, &token), "accepted");
    }
}
