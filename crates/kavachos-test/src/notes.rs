//! A plugin: notes that operators write on agents, and that the agents' humans read. `docs/plugins.md` walks through it.
//!
//! It has a table, a kind of record, three routes, and a hook: an agent with a note that says `stop` does nothing.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kavachos::engine::actor::Scope;
use kavachos::hooks::{Hook, HookedCall, Verdict, Vetoing};
use kavachos::plugin::{
    Allowance, Answer, CallerType, Change, Context, Flood, Method, Plugin, Request, Route,
};
use kavachos::store::migration::Migration;
use kavachos::store::{Query, Write};
use kavachos::{AgentId, Error, Invalid, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// The longest note, in bytes.
const MAX_NOTE_BYTES: usize = 1_000;
/// How many notes are read at once.
const MAX_NOTES: usize = 100;
/// How many notes one agent may be given in a day.
const NOTES_PER_AGENT: Allowance = Allowance::new(50, Duration::from_secs(86_400));

/// Notes on agents.
#[derive(Debug, Default)]
pub struct Notes {
    stopped: Arc<Stopped>,
}

/// The agents with a note that says `stop`, of this process.
#[derive(Debug, Default)]
struct Stopped(Mutex<Vec<AgentId>>);

impl Stopped {
    fn has(&self, agent: AgentId) -> bool {
        let stopped = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        stopped.contains(&agent)
    }

    fn add(&self, agent: AgentId) {
        let mut stopped = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        stopped.push(agent);
    }
}

impl Plugin for Notes {
    fn id(&self) -> &'static str {
        "notes"
    }

    fn migrations(&self) -> Vec<Migration> {
        vec![Migration {
            owner: "notes",
            number: 1,
            name: "notes",
            sql: "CREATE TABLE notes_note (
                      id {text} NOT NULL PRIMARY KEY,
                      agent {text} NOT NULL,
                      text {text} NOT NULL,
                      created_at {int} NOT NULL
                  ) {rows};
                  CREATE INDEX notes_by_agent ON notes_note (agent, created_at);",
            min_binary: 1,
        }]
    }

    fn kinds(&self) -> Vec<&'static str> {
        vec!["notes.written"]
    }

    fn routes(&self) -> Vec<Route> {
        let stopped = Arc::clone(&self.stopped);
        let write = move |context, request| write(context, request, Arc::clone(&stopped));
        let open = CallerType::Open(Flood {
            per_source: Allowance::new(5, Duration::from_secs(60)),
            overall: Allowance::new(1_000, Duration::from_secs(60)),
        });
        let operator = CallerType::Operator(Scope::AgentsWrite);
        let reader = CallerType::SessionOrOperator(Scope::AgentsRead);
        vec![
            Route::new(Method::Post, "/api/v1/notes/{agent}", operator, write)
                .described(json!({ "summary": "Writes a note on an agent" })),
            Route::new(Method::Get, "/api/v1/notes/{agent}", reader, read)
                .described(json!({ "summary": "The notes on an agent, newest first" })),
            Route::new(Method::Get, "/api/v1/notes", open, count)
                .described(json!({ "summary": "A page that says how many notes there are" })),
        ]
    }

    fn hooks(&self) -> Vec<Arc<dyn Hook>> {
        vec![Arc::clone(&self.stopped) as Arc<dyn Hook>]
    }
}

impl Hook for Stopped {
    fn name(&self) -> &'static str {
        "notes"
    }

    fn before_authorize<'a>(&'a self, call: &'a HookedCall<'a>) -> Vetoing<'a> {
        Box::pin(async move {
            if self.has(call.agent) {
                return Ok(Verdict::Deny("a note says stop".to_owned()));
            }
            Ok(Verdict::Pass)
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewNote {
    text: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Note {
    id: String,
    text: String,
}

/// `POST /api/v1/notes/{agent}`: the note, its limit and its record are one commit.
async fn write(context: Context, request: Request, stopped: Arc<Stopped>) -> Result<Answer> {
    let agent = agent(&request)?;
    let new: NewNote = request.json()?;
    if new.text.is_empty() || new.text.len() > MAX_NOTE_BYTES {
        let why = format!("must have 1 to {MAX_NOTE_BYTES} bytes");
        return Err(Invalid::at("text", why).into());
    }
    // The use case says whether there is such an agent, and whether it is the caller's to see.
    context.engine().agent(context.known()?, agent).await?;
    let id = format!("note_{:032x}", u128::from_be_bytes(context.random()));
    let written = context.change("notes.written", || async {
        let row = "INSERT INTO notes_note (id, agent, text, created_at) VALUES (?1, ?2, ?3, ?4)";
        let row = Write::exactly(1, row)
            .bind(id.clone())
            .bind(agent.to_string())
            .bind(new.text.clone())
            .bind(context.now());
        Ok(Change::of(id.clone())
            .write(row)
            .taking(format!("agent:{agent}"), NOTES_PER_AGENT)
            .about_agent(agent)
            .details(json!({ "note": id })))
    });
    let written = written.await?;
    if new.text == "stop" {
        stopped.add(agent);
    }
    Answer::created(&Note {
        id: written.thing,
        text: new.text,
    })
}

/// `GET /api/v1/notes/{agent}`: a human asks about an agent of their own, and finds no others.
async fn read(context: Context, request: Request) -> Result<Answer> {
    let agent = agent(&request)?;
    context.engine().agent(context.known()?, agent).await?;
    let query = Query::new(
        MAX_NOTES,
        "SELECT id, text FROM notes_note WHERE agent = ?1 ORDER BY created_at DESC, id LIMIT 100",
    );
    let rows: Vec<(String, String)> = context.read(query.bind(agent.to_string())).await?;
    let notes = rows.into_iter().map(|(id, text)| Note { id, text });
    Answer::data(&notes.collect::<Vec<_>>())
}

/// `GET /api/v1/notes`: for everyone, within limits.
async fn count(context: Context, _: Request) -> Result<Answer> {
    let query = Query::new(1, "SELECT count(*) FROM notes_note");
    let counted: Vec<(u64,)> = context.read(query).await?;
    let count = counted.first().map_or(0, |(count,)| *count);
    Ok(Answer::html(format!(
        "<!doctype html><title>Notes</title><p>{count} notes"
    )))
}

fn agent(request: &Request) -> Result<AgentId> {
    let agent = request.part("agent").parse();
    agent.map_err(|why: Invalid| Error::Invalid(why.within("agent")))
}
