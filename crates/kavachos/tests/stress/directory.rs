//! Whoever changes a grant names it and its receiver to the directory: the next decision sees the change, although
//! everything was in memory. The twins leave one of the two names out, and the old picture answers.

use serde_json::{Value, json};

use crate::support::store::Off;
use crate::support::world::{Agent, Setup, World, reading};
use Effect::{Begins, Ends};

const RESOURCE: &str = "mcp:github:repos";

/// The giver gave to the middle, which gave to the end.
struct Cast {
    giver: Agent,
    middle: Agent,
    end: Agent,
    given: String,
}

/// A request of the operator: method, path and body.
type Request = (&'static str, String, Value);
type Act = fn(&Cast) -> Request;
type Who = fn(&Cast) -> &Agent;

/// A change of a grant.
struct Change {
    name: &'static str,
    /// Who holds the grant that changes.
    receiver: Who,
    asker: Who,
    /// What is done before anything is in memory.
    before: Option<Act>,
    request: Act,
    effect: Effect,
    /// What the directory must be told for the asker to see it.
    told: Off,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// The agent may no longer.
    Ends,
    /// The agent may from now on.
    Begins,
}

fn narrow(cast: &Cast) -> Request {
    patch(
        &cast.giver,
        json!({ "permissions": reading("mcp:slack:*") }),
    )
}

fn widen(cast: &Cast) -> Request {
    patch(
        &cast.giver,
        json!({ "permissions": reading("mcp:github:*") }),
    )
}

fn guard(cast: &Cast) -> Request {
    let guards = json!({ "ipAllowlist": ["192.0.2.0/24"] });
    patch(&cast.giver, json!({ "guards": guards }))
}

fn lift_the_guard(cast: &Cast) -> Request {
    patch(&cast.giver, json!({ "guards": null }))
}

fn revoke(cast: &Cast) -> Request {
    let path = format!("/api/v1/delegations/{}", cast.given);
    ("DELETE", path, Value::Null)
}

fn give(cast: &Cast) -> Request {
    let body = delegation(&cast.giver, &cast.middle);
    ("POST", "/api/v1/delegations".to_owned(), body)
}

fn patch(agent: &Agent, body: Value) -> Request {
    ("PATCH", format!("/api/v1/agents/{}", agent.id), body)
}

fn delegation(from: &Agent, to: &Agent) -> Value {
    json!({ "from": from.id, "to": to.id, "permissions": reading(RESOURCE), "reason": "the test" })
}

type Steps = (Option<Act>, Act);

/// A change of a grant that the asker holds itself.
const fn held(name: &'static str, asker: Who, (before, request): Steps, effect: Effect) -> Change {
    Change {
        name,
        receiver: asker,
        asker,
        before,
        request,
        effect,
        told: Off::AgentEffects,
    }
}

/// A change of a grant of the receiver, above one that the asker holds.
const fn above(
    name: &'static str,
    (receiver, asker): (Who, Who),
    steps: Steps,
    effect: Effect,
) -> Change {
    Change {
        receiver,
        told: Off::GrantEffects,
        ..held(name, asker, steps, effect)
    }
}

fn giver(cast: &Cast) -> &Agent {
    &cast.giver
}

fn middle(cast: &Cast) -> &Agent {
    &cast.middle
}

fn end(cast: &Cast) -> &Agent {
    &cast.end
}

const CHANGES: &[Change] = &[
    held("narrow", giver, (None, narrow), Ends),
    held("widen", giver, (Some(narrow), widen), Begins),
    held("guard", giver, (None, guard), Ends),
    held(
        "lift the guard",
        giver,
        (Some(guard), lift_the_guard),
        Begins,
    ),
    held("revoke", middle, (None, revoke), Ends),
    held("give", middle, (Some(revoke), give), Begins),
    above("narrow one above", (giver, middle), (None, narrow), Ends),
    above("narrow two above", (giver, end), (None, narrow), Ends),
    above(
        "widen two above",
        (giver, end),
        (Some(narrow), widen),
        Begins,
    ),
    above("guard two above", (giver, end), (None, guard), Ends),
    above("revoke one above", (middle, end), (None, revoke), Ends),
];

impl Cast {
    fn of(world: &World) -> Self {
        let ada = world.user();
        let giver = world.agent(&ada, reading("mcp:github:*"));
        let middle = world.agent(&ada, reading("mcp:nothing"));
        let end = world.agent(&ada, reading("mcp:nothing"));
        let path = "/api/v1/delegations";
        let given = world.operator().post(path, &delegation(&giver, &middle));
        let passed_on = world.operator().post(path, &delegation(&middle, &end));
        passed_on.expect(201);
        Self {
            giver,
            middle,
            end,
            given: given.expect(201).id(),
        }
    }
}

impl Change {
    /// Whether the agent may do it before and after, with everything in memory.
    fn run(&self, off: &'static [Off]) -> [bool; 2] {
        let setup = Setup {
            off,
            ..Setup::default()
        };
        let world = setup.start();
        let cast = Cast::of(&world);
        if let Some(before) = self.before {
            send(&world, before(&cast));
        }
        let ask = || world.ask(&(self.asker)(&cast).id, RESOURCE).allowed();
        let ask_the_receiver = || world.ask(&(self.receiver)(&cast).id, RESOURCE);
        ask_the_receiver();
        let before = ask();
        let reads = world.store.reads();
        assert_eq!(ask(), before, "{}", self.name);
        assert_eq!(world.store.reads(), reads, "{}: all is warm", self.name);
        world.store.deafen();
        send(&world, (self.request)(&cast));
        // The receiver is in memory again, as it is now, before the asker's picture is looked at.
        ask_the_receiver();
        [before, ask()]
    }

    fn seen(&self) -> [bool; 2] {
        match self.effect {
            Ends => [true, false],
            Begins => [false, true],
        }
    }
}

fn send(world: &World, (method, path, body): Request) {
    let body = match body {
        Value::Null => String::new(),
        body => body.to_string(),
    };
    let answer = world.operator().call(method, &path, body.as_bytes());
    assert!(answer.status < 300, "{path}: {answer}");
}

#[test]
fn the_next_decision_sees_every_change_of_a_grant() {
    for change in CHANGES {
        assert_eq!(change.run(&[]), change.seen(), "{}", change.name);
    }
}

/// Without what the writer checks, so that the directory alone is what is shown, here and in the twin.
#[test]
fn the_directory_alone_sees_every_change_of_a_grant() {
    for change in CHANGES {
        assert_eq!(change.run(&[Off::Reads]), change.seen(), "{}", change.name);
    }
}

#[test]
fn a_directory_that_is_not_told_of_the_receiver_or_the_grant_answers_with_the_old_picture() {
    for change in CHANGES {
        let off: &[Off] = match change.told {
            Off::AgentEffects => &[Off::Reads, Off::AgentEffects],
            _ => &[Off::Reads, Off::GrantEffects],
        };
        let [before, _] = change.seen();
        assert_eq!(change.run(off), [before, before], "{}", change.name);
    }
}
