//! What a path permits, merged into one set, permits nothing that a hop of the path does not.

use kavachos_core::constraint::Call;
use kavachos_core::decide::{Code, Facts, decide};
use kavachos_core::permission::PermissionSet;
use kavachos_core::token::{Authority, Offline};

use crate::random::Random;
use crate::scene;
use crate::world::{Question, time};

/// A token's authority of these permissions; chain and handles play no part.
fn authority(path: &kavachos_core::grant::Path, asked: &PermissionSet) -> Option<Authority> {
    let merged = path.merged(asked).ok()?;
    Some(Authority {
        subject: "user".parse().unwrap(),
        chain: Vec::new(),
        max_depth: 7,
        permissions: merged.permissions,
        guards: merged.guards,
        epoch: 1,
        marks: Vec::new(),
        reason: String::new(),
    })
}

fn says(authority: &Authority, question: &Question) -> Offline {
    let request = question.request();
    let call = Call {
        arguments: request.arguments.as_ref(),
        ip: request.ip,
        cost: request.cost.as_ref(),
    };
    authority.permits(
        &request.action,
        &request.resource,
        &call,
        time(question.now),
    )
}

#[test]
fn what_a_merged_path_permits_every_hop_permits() {
    // What a merged set cannot know: it stands beside liveness, counters and approvals.
    let others = [
        Code::Allowed,
        Code::ApprovalRequired,
        Code::ApprovalPending,
        Code::ApprovalDenied,
        Code::RateLimited,
        Code::BudgetExhausted,
        Code::CostRequired,
        Code::GrantExpired,
        Code::AncestorNotActive,
    ];
    let (mut merged, mut permitted, mut refused) = (0, 0, 0);
    for seed in 0..6_000 {
        let mut random = Random::new(seed);
        let mut world = random.world();
        world
            .users
            .iter_mut()
            .for_each(|user| user.status = "active");
        let question = Question {
            key: "none",
            full: Vec::new(),
            approvals: Vec::new(),
            subject: None,
            ..random.question(&world)
        };
        for path in world.facts(&question).paths {
            let Some(asked) = path.leaf().map(|leaf| leaf.permissions.clone()) else {
                continue;
            };
            let Some(authority) = authority(&path, &asked) else {
                continue;
            };
            merged += 1;
            match says(&authority, &question) {
                Offline::Denied(_) => refused += 1,
                Offline::Allowed | Offline::AskServer(_) => {
                    permitted += 1;
                    let facts = Facts {
                        subject: Some(path.user.id),
                        paths: vec![path.clone()],
                        ..world.facts(&question)
                    };
                    let code = decide(&facts, &question.request(), &[], time(question.now)).code;
                    let known = others.contains(&code) || !facts_are_live(code);
                    assert!(known, "seed {seed}: {code}");
                }
            }
        }
    }
    assert!(
        merged > 1_000 && permitted > 100 && refused > 100,
        "{merged} {permitted} {refused}"
    );
}

/// Whether a code is about the request and not about who stands above the agent.
fn facts_are_live(code: Code) -> bool {
    !matches!(
        code,
        Code::AgentRevoked | Code::AgentSuspended | Code::AgentExpired | Code::OwnerNotActive
    )
}

#[test]
fn a_parent_that_was_narrowed_later_narrows_what_is_merged() {
    let mut world = scene::chain();
    let path = world.path(2);
    let asked: PermissionSet =
        serde_json::from_str(r#"[{"resource": "gh:repos", "actions": ["read"]}]"#).unwrap();
    assert!(path.merged(&asked).unwrap().guards.is_none());
    let never = serde_json::json!({"args": {"/path": {"prefix": "/srv"}}});
    world.grants[0].permissions[0].constraints = never.clone();
    let merged = world.path(2).merged(&asked).unwrap().permissions;
    let constraints = merged.iter().next().unwrap().constraints().unwrap();
    assert_eq!(serde_json::to_value(constraints).unwrap(), never);
    world.grants[0].permissions[0].resource = "gh:issues".to_owned();
    assert!(world.path(2).merged(&asked).is_err());
}

#[test]
fn guards_of_all_hops_hold_and_those_that_cannot_be_one_are_refused() {
    let mut world = scene::chain();
    let asked: PermissionSet =
        serde_json::from_str(r#"[{"resource": "gh:repos", "actions": ["read"]}]"#).unwrap();
    let at = |from: &str| serde_json::json!({"ipAllowlist": [from]});
    world.grants[0].guards = at("10.0.0.0/8");
    world.grants[2].guards = at("10.1.0.0/16");
    let guards = world.path(2).merged(&asked).unwrap().guards.unwrap();
    assert_eq!(serde_json::to_value(&*guards).unwrap(), at("10.1.0.0/16"));
    world.grants[2].guards = at("192.168.0.0/16");
    assert!(world.path(2).merged(&asked).is_err());
}
