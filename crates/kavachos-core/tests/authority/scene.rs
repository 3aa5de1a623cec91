//! One small world that the named tests change, and questions about it.

use kavachos_core::decide::{Code, Decision, Facts, Known, decide_with};
use serde_json::{Value, json};

use crate::random::{MINUTE, MONDAY};
use crate::world::{Agent, From, Grant, Party, Permission, Question, User, World, time};

pub const NOW: i64 = MONDAY + 10 * 60 * MINUTE;
pub const ADA: usize = 0;
pub const BOB: usize = 1;

pub fn permission(resource: &str, constraints: Value) -> Permission {
    Permission {
        resource: resource.to_owned(),
        actions: vec!["*"],
        constraints,
    }
}

pub fn anything() -> Vec<Permission> {
    vec![permission("*", json!({}))]
}

pub fn grant(from: From, to: usize) -> Grant {
    Grant {
        from,
        to,
        permissions: vec![permission("gh:*", json!({}))],
        guards: json!({}),
        status: "active",
        expires: None,
    }
}

/// Ada, and Bob who is nobody's concern; agents 0, 1, 2 of Ada. Grant 0 is Ada's to agent 0, grant 1 delegates it to
/// agent 1, grant 2 that to agent 2. Agents 1 and 2 own nothing of their own.
pub fn chain() -> World {
    let user = User {
        status: "active",
        permissions: anything(),
    };
    let agent = Agent {
        owner: Party::User(ADA),
        status: "active",
        expires: None,
    };
    World {
        users: vec![user.clone(), user],
        agents: vec![agent.clone(), agent.clone(), agent],
        grants: vec![
            grant(From::Human(ADA), 0),
            grant(From::Grant(0), 1),
            grant(From::Grant(1), 2),
        ],
    }
}

pub fn ask(agent: usize) -> Question {
    Question {
        agent: Some(agent),
        key: "live",
        subject: None,
        action: "r",
        resource: "gh:repo".to_owned(),
        arguments: None,
        ip: None,
        cost: None,
        now: NOW,
        full: Vec::new(),
        approvals: Vec::new(),
    }
}

pub fn decide(world: &World, question: &Question) -> Decision {
    decide_facts(&world.facts(question), question)
}

pub fn decide_facts(facts: &Facts, question: &Question) -> Decision {
    let known = Known {
        full: &question.full(),
        approvals: &question.approvals(facts),
    };
    decide_with(facts, &question.request(), known, time(question.now))
}

pub fn code(world: &World, agent: usize) -> Code {
    decide(world, &ask(agent)).code
}
