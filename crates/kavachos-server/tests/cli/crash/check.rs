//! Compares a server that came back, and its database, with what callers were told.

use std::collections::HashSet;
use std::path::PathBuf;

use kavachos_test::blocking::{Answer, Client};
use kavachos_test::postgres::Cluster;
use kavachos_test::{copied, damage, stored_head};
use rusqlite::{Connection, params};
use serde_json::json;

use super::told::{BUDGET, Told};
use crate::support::Server;

/// What every agent of a caller may read.
const ALLOWED: &str = "mcp:github:x";

/// Everything that is otherwise than callers were told.
pub(super) fn faults(
    server: &Server,
    operator: &str,
    database: &Database<'_>,
    told: &Told,
) -> Vec<String> {
    let mut faults = faults_of_server(server, operator, told);
    let database = database.snapshot();
    faults.extend(faults_of_records(&database, told));
    faults.extend(faults_between_tables(&database));
    faults.extend(damage(&database, &stored_head(&database)));
    faults
}

/// Where the server keeps everything.
pub(super) enum Database<'a> {
    File(PathBuf),
    Postgres(&'a Cluster, String),
}

impl Database<'_> {
    /// One snapshot: the server goes on, and counts refusals.
    fn snapshot(&self) -> Connection {
        match self {
            Self::File(path) => {
                let database = Connection::open(path).unwrap();
                database.execute_batch("BEGIN").unwrap();
                database
            }
            Self::Postgres(cluster, name) => copied(cluster, name),
        }
    }
}

fn ask(client: &mut Client, agent: &str, resource: &str) -> Answer {
    let question = json!({ "agentId": agent, "action": "read", "resource": resource });
    client.post("/api/v1/authorize", &question).expect(200)
}

fn ask_own(server: &Server, key: &str) -> Answer {
    let question = json!({ "action": "read", "resource": ALLOWED });
    server.client(key).post("/api/v1/authorize", &question)
}

/// What was stopped must not be allowed, what was not must be.
fn faults_of_server(server: &Server, operator: &str, told: &Told) -> Vec<String> {
    let mut operator = server.client(operator);
    let mut faults = Vec::new();
    for agent in &told.revoked_agents {
        if ask(&mut operator, agent, ALLOWED).allowed() {
            faults.push(format!("{agent} lives again"));
        }
    }
    for (resource, agent) in &told.revoked_grants {
        if ask(&mut operator, agent, resource).allowed() {
            faults.push(format!("the grant of {resource} lives again"));
        }
    }
    for key in &told.dead_keys {
        if ask_own(server, key).allowed() {
            faults.push("a key that was rotated away lives again".to_owned());
        }
    }
    for (agent, key) in &told.living {
        let answer = ask_own(server, key);
        if !answer.allowed() {
            faults.push(format!("{agent} does not live: {answer}"));
        }
    }
    faults
}

/// Every answer has its record and its row.
fn faults_of_records(database: &Connection, told: &Told) -> Vec<String> {
    let allows = column(
        database,
        "SELECT id FROM ledger WHERE kind = 'decision' AND outcome = 'allowed'",
    );
    let denials = column(
        database,
        "SELECT id FROM ledger WHERE kind = 'decision' AND outcome = 'denied'",
    );
    let agents = column(database, "SELECT id FROM agents");
    let grants = column(database, "SELECT id FROM grants");
    let decisions = told.decisions.iter().map(|(audit, allowed)| {
        let records = if *allowed { &allows } else { &denials };
        (records, audit)
    });
    let rows = [
        (&agents, &told.agents),
        (&agents, &told.budgets),
        (&grants, &told.grants),
    ];
    let rows = rows
        .iter()
        .flat_map(|(rows, told)| told.iter().map(|id| (*rows, id)));
    let lost = decisions
        .chain(rows)
        .filter(|(found, id)| !found.contains(*id));
    lost.map(|(_, id)| format!("{id} is lost")).collect()
}

/// No row without its record, no record without its row, and counts that are right.
fn faults_between_tables(database: &Connection) -> Vec<String> {
    let agents = column(database, "SELECT id FROM agents");
    let made = column(
        database,
        "SELECT agent FROM ledger WHERE kind = 'agent.created' AND outcome = 'allowed'",
    );
    let unpaired = agents.symmetric_difference(&made);
    let mut faults: Vec<_> = unpaired
        .map(|agent| format!("{agent} has a row or a record, not both"))
        .collect();
    let miscounted = column(
        database,
        "SELECT id FROM users u WHERE u.agents <> \
         (SELECT count(*) FROM agents a WHERE a.root = u.id AND a.status <> 'revoked')",
    );
    faults.extend(
        miscounted
            .iter()
            .map(|user| format!("the agents of {user} are miscounted")),
    );
    faults
}

fn column(database: &Connection, sql: &str) -> HashSet<String> {
    let mut statement = database.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

/// Spends what is left of every budget: with what is on record it comes to exactly the budget.
pub(super) fn budget_faults(
    server: &Server,
    operator: &str,
    database: &Database<'_>,
    told: &Told,
) -> Vec<String> {
    let mut operator = server.client(operator);
    let mut faults = Vec::new();
    let mut left = |agent: &String| {
        let allowed = (0..=BUDGET).take_while(|_| ask(&mut operator, agent, ALLOWED).allowed());
        allowed.count()
    };
    let left: Vec<usize> = told.budgets.iter().map(&mut left).collect();
    let database = database.snapshot();
    for (agent, left) in told.budgets.iter().zip(left) {
        let spent: i64 = database
            .query_row(
                "SELECT count(*) FROM ledger WHERE kind = 'decision' AND outcome = 'allowed' AND agent = ?1",
                params![agent],
                |row| row.get(0),
            )
            .unwrap();
        if usize::try_from(spent) != Ok(BUDGET) {
            faults.push(format!(
                "{agent} spent {spent} of {BUDGET}, {left} after the last kill"
            ));
        }
    }
    faults
}
