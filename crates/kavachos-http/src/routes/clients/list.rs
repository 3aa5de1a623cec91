//! `GET /api/v1/clients`: OAuth clients, newest first.

use axum::extract::State as FromState;
use kavachos_core::client::Source;
use kavachos_core::invalid::Invalid;
use kavachos_core::principal::Status;
use kavachos_engine::actor::Scope;
use kavachos_engine::{ClientsOf, RegisteredClient};
use schemars::json_schema;

use crate::call::Call;
use crate::operation::{About, Caller, Form, Operation};
use crate::params::Params;
use crate::reply::{List, Reply, page};
use crate::state::State;

const SOURCES: [(&str, Source); 3] = [
    (Source::Operator.as_str(), Source::Operator),
    (Source::Itself.as_str(), Source::Itself),
    (Source::Document.as_str(), Source::Document),
];
const STATES: [(&str, Status); 2] = [("active", Status::Active), ("revoked", Status::Revoked)];

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "listClients",
        tag: "OAuth clients",
        summary: "List OAuth clients, newest first",
        text: "Those that registered themselves, and those that are known by their documents, stand there while somebody lets them in; nobody did for a day, they are forgotten.",
        callers: &[Caller::Operator(Scope::ResourcesWrite)],
    };
    let of = |names: Vec<&str>| Form::known(json_schema!({ "type": "string", "enum": names }));
    let sources = SOURCES.iter().map(|(name, _)| *name).collect();
    let states = STATES.iter().map(|(name, _)| *name).collect();
    Operation::get("/api/v1/clients", ABOUT, handle)
        .query_of("source", "Who says what they are.", of(sources))
        .query_of("status", "Whether they may ask for anything.", of(states))
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    mut params: Params,
) -> Reply<List<RegisteredClient>> {
    let of = ClientsOf {
        source: one_of("source", params.take("source")?, &SOURCES)?,
        status: one_of("status", params.take("status")?, &STATES)?,
    };
    let (at, written) = params.page()?;
    page(state.engine.clients(&actor, of, at).await?, &written)
}

fn one_of<T: Copy>(
    name: &str,
    text: Option<String>,
    known: &[(&str, T)],
) -> Result<Option<T>, Invalid> {
    let Some(text) = text else { return Ok(None) };
    match known.iter().find(|(known, _)| *known == text) {
        Some((_, meant)) => Ok(Some(*meant)),
        None => {
            let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
            Err(Invalid::at(
                name,
                format!("must be one of `{}`", names.join("`, `")),
            ))
        }
    }
}
