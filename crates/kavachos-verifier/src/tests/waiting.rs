//! Calls that are made again while their human still reads: they wait here.

use std::time::Duration;

use futures_util::future::{join, join_all};
use futures_util::stream::{FuturesUnordered, StreamExt};
use kavachos_core::decide::Code;
use kavachos_core::token::Leaf;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::asking::{ASKED, constrained, decision, search};
use super::following::killed;
use super::issuer::APPROVALS;
use super::scene::Scene;
use crate::builder::Builder;
use crate::rejection::Rejection;
use crate::tasks::ask;

const ID: &str = "approval_01m7yw4nvqf69a541nr13qmn5z";

/// May search once a human agrees.
fn approved() -> Leaf {
    constrained(&json!({"requireApproval": true}))
}

/// A decision that names the request for approval.
fn named(code: &str) -> (u16, Value) {
    let (status, mut answer) = decision(code);
    answer["data"]["approvalId"] = ID.into();
    (status, answer)
}

/// What whoever waits is told.
fn told(status: &str) -> (u16, Value) {
    (200, json!({"data": {"id": ID, "status": status}}))
}

/// An issuer that decides so, one after the other, and says so to whoever waits.
async fn scene(decisions: &[&str], answers: &[(u16, Value)]) -> Scene {
    scene_with(decisions, answers, |builder| builder).await
}

async fn scene_with(
    decisions: &[&str],
    answers: &[(u16, Value)],
    with: impl FnOnce(Builder) -> Builder,
) -> Scene {
    let scene = Scene::with(with).await;
    let mut state = scene.issuer.state();
    state.decisions = decisions.iter().map(|code| named(code)).collect();
    state.approvals = answers.iter().cloned().collect();
    drop(state);
    scene
}

/// How often the issuer was asked to decide, and to wait.
fn asked(scene: &Scene) -> (usize, usize) {
    (scene.issuer.count(ASKED), scene.issuer.count(APPROVALS))
}

#[track_caller]
fn is_pending(refused: &Rejection) {
    assert_eq!(refused.decision(), Some(Code::ApprovalPending));
    assert!(refused.approval_page().unwrap().ends_with(ID));
}

#[tokio::test]
async fn a_repeated_call_waits_and_is_decided_anew_when_its_human_answered() {
    let yes = scene(&["approval_pending", "allowed"], &[told("approved")]).await;
    assert!(search(&yes, &approved()).await.is_ok());
    assert_eq!((asked(&yes), yes.verifier.stats().waited), ((2, 1), 1));
    let no = scene(&["approval_pending", "approval_denied"], &[told("denied")]).await;
    let refused = search(&no, &approved()).await.unwrap_err();
    assert_eq!(refused.decision(), Some(Code::ApprovalDenied));
    // What it is told allows nothing, and it waits once.
    let again = scene(&["approval_pending"; 2], &[told("approved")]).await;
    is_pending(&search(&again, &approved()).await.unwrap_err());
    assert_eq!(asked(&again), (2, 1));
    // The twins: the first call has the page at once, and a denied one nothing to wait for.
    for code in ["approval_required", "approval_denied"] {
        let first = scene(&[code], &[told("approved")]).await;
        search(&first, &approved()).await.unwrap_err();
        assert_eq!(asked(&first), (1, 0), "{code}");
    }
}

#[tokio::test]
async fn whatever_is_told_that_is_no_answer_leaves_the_refusal() {
    for answer in [
        told("pending"),
        (200, json!({"data": {"id": ID}})),
        (
            404,
            json!({"error": {"code": "not_found", "message": "no"}}),
        ),
        (429, json!({})),
    ] {
        let scene = scene(&["approval_pending"], &[answer]).await;
        is_pending(&search(&scene, &approved()).await.unwrap_err());
        assert_eq!(asked(&scene), (1, 1));
    }
    let down = scene(&["approval_pending"], &[]).await;
    down.issuer.state().down = Some(APPROVALS);
    is_pending(&search(&down, &approved()).await.unwrap_err());
    // Where it is not wanted nobody waits, nor for what is no request.
    let off = |builder: Builder| builder.wait_for_approval(Duration::ZERO);
    let off = scene_with(&["approval_pending"], &[told("approved")], off).await;
    is_pending(&search(&off, &approved()).await.unwrap_err());
    assert_eq!(asked(&off), (1, 0));
    let mut other = decision("approval_pending");
    other.1["data"]["approvalId"] = "../reports".into();
    let scene = scene(&[], &[]).await;
    scene.issuer.state().decisions.push_back(other);
    search(&scene, &approved()).await.unwrap_err();
    assert_eq!(scene.issuer.state().asked.last().unwrap().0, ASKED);
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_so_long_and_is_then_refused_as_before() {
    let scene = scene(&["approval_pending"], &[]).await;
    let begun = Instant::now();
    is_pending(&search(&scene, &approved()).await.unwrap_err());
    assert_eq!(begun.elapsed().as_secs(), 22);
    assert_eq!(asked(&scene), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn calls_that_wait_for_one_human_leave_places_to_others() {
    let of_human = |number: u8| {
        let mut leaf = approved();
        leaf.authority.subject = format!("pair_{number}").parse().unwrap();
        leaf
    };
    let scene = scene(&["approval_pending"; 66], &[]).await;
    let begun = Instant::now();
    let waits = async |leaf: Leaf| {
        is_pending(&search(&scene, &leaf).await.unwrap_err());
        begun.elapsed()
    };
    // All of one human, one more of theirs, all of three others, and one of a fifth.
    let humans = [[1; 17].as_slice(), &[2; 16], &[3; 16], &[4; 16], &[5]].concat();
    let calls = humans.into_iter().map(|number| waits(of_human(number)));
    let calls: FuturesUnordered<_> = calls.collect();
    let times: Vec<Duration> = calls.collect().await;
    let at_once = times.iter().filter(|time| time.is_zero());
    assert_eq!((at_once.count(), asked(&scene)), (2, (66, 64)));
    // The twin: what was taken is given back.
    let more = ["approval_pending"; 16].map(named);
    scene.issuer.state().decisions.extend(more);
    let leaf = approved();
    join_all((0..16).map(|_| search(&scene, &leaf))).await;
    assert_eq!(asked(&scene), (82, 80));
}

#[tokio::test(start_paused = true)]
async fn a_token_that_died_while_its_call_waited_is_refused() {
    for (dies, code) in [(true, "revoked"), (false, "allowed")] {
        let scene = scene(&["approval_pending", "allowed"], &[]).await;
        let answer = async {
            while asked(&scene).1 == 0 {
                tokio::task::yield_now().await;
            }
            if dies {
                scene.issuer.kill(killed());
                ask(&scene.core).await.unwrap();
            }
            scene.issuer.state().approvals.push_back(told("approved"));
        };
        let leaf = approved();
        let (decided, ()) = join(search(&scene, &leaf), answer).await;
        let told = decided.as_ref().map_or_else(Rejection::code, |_| "allowed");
        assert_eq!(told, code);
        assert_eq!(asked(&scene).0, 2 - usize::from(dies));
    }
}
