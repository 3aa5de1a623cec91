//! One caller: it does whatever callers do, and writes down what it was told.

use std::sync::{Mutex, MutexGuard};

use kavachos_test::blocking::{Answer, Client};
use kavachos_test::{may, may_under};
use serde_json::{Value, json};

use super::told::{BUDGET, Dice, Told};
use crate::support::Server;

/// What a server says that cannot reach its database, or lost sight of what became of a request.
const UNAVAILABLE: [&str; 3] = ["ledger_unavailable", "outcome_unknown", "busy"];

/// An agent of a caller.
#[derive(Clone)]
struct Own {
    id: String,
    key: String,
}

/// Every step returns `None` when the server does not answer, or answers that it cannot do it now.
pub(super) struct Caller<'a> {
    server: &'a Server,
    client: Client,
    told: &'a Mutex<Told>,
    ada: String,
    /// The first owns the others; it stays.
    agents: Vec<Own>,
    budget: String,
}

impl<'a> Caller<'a> {
    /// A caller with a human of its own, an agent, and one with a budget.
    pub(super) fn begin(server: &'a Server, operator: &str, told: &'a Mutex<Told>) -> Option<Self> {
        let mut caller = Self {
            server,
            client: server.client(operator),
            told,
            ada: String::new(),
            agents: Vec::new(),
            budget: String::new(),
        };
        caller.ada = caller.made("/api/v1/users", &json!({ "name": "Ada" }))?.id;
        let budget = json!({ "budget": { "amount": BUDGET, "unit": "calls" } });
        let body = json!({
            "ownerId": caller.ada, "name": "spender", "type": "service",
            "permissions": may_under(&["read"], "mcp:*", budget),
        });
        caller.budget = caller.made("/api/v1/agents", &body)?.id;
        caller.told().budgets.push(caller.budget.clone());
        caller.create()?;
        Some(caller)
    }

    /// One thing that a caller may do.
    pub(super) fn step(&mut self, dice: &mut Dice) -> Option<()> {
        let some = self.agents[dice.roll(self.agents.len())].clone();
        match dice.roll(10) {
            0 | 1 => self.create(),
            2 if self.agents.len() > 2 => self.revoke_agent(),
            3 => self.delegate_and_revoke(&some.id),
            4 => self.rotate(&some),
            5 => self.ban(),
            6 | 7 => self.decide(&self.budget.clone()),
            _ => self.decide(&some.id),
        }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap()
    }

    fn call(&mut self, method: &str, path: &str, body: &[u8], expected: u16) -> Option<Answer> {
        let answer = self.client.try_call(method, path, body)?;
        if answer.status == 503 {
            let code = answer.text_at("/error/code");
            assert!(UNAVAILABLE.contains(&code), "{answer}");
            self.told().unavailable += 1;
            return None;
        }
        assert_eq!(answer.status, expected, "{answer}");
        Some(answer)
    }

    /// The id and the credential of what was made.
    fn made(&mut self, path: &str, body: &Value) -> Option<Own> {
        let answer = self.call("POST", path, body.to_string().as_bytes(), 201)?;
        Some(Own {
            id: answer.id(),
            key: answer.text_at("/data/token").to_owned(),
        })
    }

    fn stop(&mut self, method: &str, path: &str) -> Option<()> {
        self.call(method, path, b"", 200).map(drop)
    }

    fn agent_of(&mut self, owner: &str) -> Option<Own> {
        let body = json!({
            "ownerId": owner, "name": "one", "type": "service",
            "permissions": may(&["read"], "mcp:github:*"),
        });
        let agent = self.made("/api/v1/agents", &body)?;
        self.told().agents.push(agent.id.clone());
        Some(agent)
    }

    fn create(&mut self) -> Option<()> {
        let first = self.agents.first().map(|agent| agent.id.clone());
        let agent = self.agent_of(&first.unwrap_or_else(|| self.ada.clone()))?;
        let alive = agent.clone();
        self.told().living.insert(alive.id, alive.key);
        self.agents.push(agent);
        Some(())
    }

    fn decide(&mut self, agent: &str) -> Option<()> {
        let question = json!({ "agentId": agent, "action": "read", "resource": "mcp:github:x" });
        let bytes = question.to_string();
        let answer = self.call("POST", "/api/v1/authorize", bytes.as_bytes(), 200)?;
        let audit = answer.text_at("/data/auditId").to_owned();
        self.told().decisions.push((audit, answer.allowed()));
        Some(())
    }

    fn revoke_agent(&mut self) -> Option<()> {
        let agent = self.agents.remove(1);
        self.told().living.remove(&agent.id);
        self.stop("DELETE", &format!("/api/v1/agents/{}", agent.id))?;
        self.told().revoked_agents.push(agent.id);
        Some(())
    }

    fn delegate_and_revoke(&mut self, to: &str) -> Option<()> {
        let resource = self.told().next_loan();
        let body = json!({
            "from": self.ada, "to": to, "permissions": may(&["read"], &resource),
            "reason": "for a moment",
        });
        let grant = self.made("/api/v1/delegations", &body)?.id;
        self.told().grants.push(grant.clone());
        self.stop("DELETE", &format!("/api/v1/delegations/{grant}"))?;
        let revoked = (resource, to.to_owned());
        self.told().revoked_grants.push(revoked);
        Some(())
    }

    fn rotate(&mut self, agent: &Own) -> Option<()> {
        self.told().living.remove(&agent.id);
        let path = format!("/api/v1/agents/{}/rotate", agent.id);
        let new = self.made(&path, &json!({}))?.key;
        let own = self.agents.iter_mut().find(|own| own.id == agent.id)?;
        own.key.clone_from(&new);
        let mut told = self.told();
        told.living.insert(agent.id.clone(), new);
        told.dead_keys.push(agent.key.clone());
        drop(told);
        // The answer to a dead key must never be an allow, also while the load goes on.
        let question = json!({ "action": "read", "resource": "mcp:github:x" }).to_string();
        let mut dead = self.server.client(&agent.key);
        let answer = dead.try_call("POST", "/api/v1/authorize", question.as_bytes())?;
        assert!(!answer.allowed(), "{answer}");
        Some(())
    }

    /// A human who is banned with everything below.
    fn ban(&mut self) -> Option<()> {
        let grace = self.made("/api/v1/users", &json!({ "name": "Grace" }))?.id;
        let agent = self.agent_of(&grace)?.id;
        self.stop("POST", &format!("/api/v1/users/{grace}/ban"))?;
        self.told().revoked_agents.push(agent);
        Some(())
    }
}
