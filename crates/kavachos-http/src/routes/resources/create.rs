//! `POST /api/v1/resources`: registers a tool server; only this answer shows its key.

use std::borrow::Cow;

use axum::extract::State as FromState;
use kavachos_core::tool_server::{Audience, RegisteredScope};
use kavachos_engine::actor::Scope;
use kavachos_engine::{NewToolServer, ToolServer};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::body::Body;
use crate::call::Call;
use crate::error::Refusal;
use crate::operation::{About, Caller, Operation};
use crate::reply::{Reply, WithToken, issued};
use crate::routes::resources::{Members, missing, read};
use crate::state::State;

/// A new tool server must say what a change may leave out.
#[derive(Deserialize)]
#[serde(transparent)]
pub(crate) struct Ask(Members);

impl JsonSchema for Ask {
    fn schema_name() -> Cow<'static, str> {
        "NewToolServer".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let audience = generator.subschema_for::<Audience>();
        let mut schema = Members::json_schema(generator);
        if let Some(members) = schema.get_mut("properties").and_then(Value::as_object_mut) {
            members.insert("audience".to_owned(), audience.to_value());
            members.insert(
                "name".to_owned(),
                json!({ "type": "string", "maxLength": 200 }),
            );
            let scopes = generator.subschema_for::<Vec<RegisteredScope>>();
            members.insert("scopes".to_owned(), scopes.to_value());
        }
        schema.insert("required".to_owned(), json!(["audience", "name", "scopes"]));
        schema
    }
}

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "createResource",
        tag: "Tool servers",
        summary: "Register a tool server",
        text: "It gets a key, which only this answer shows, and may ask about what its scopes cover.",
        callers: &[Caller::Operator(Scope::ResourcesWrite)],
    };
    Operation::post("/api/v1/resources", ABOUT, handle).refusing(&[Refusal::Conflict])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    body: Body<Ask>,
) -> Reply<WithToken<ToolServer>> {
    let (Ask(mut ask), actor) = body.with(actor);
    let audience = ask.audience.take().ok_or_else(|| missing("audience"))?;
    let new = NewToolServer {
        audience: read("audience", &audience)?,
        name: ask.name.take().ok_or_else(|| missing("name"))?,
        scopes: ask.scopes()?.ok_or_else(|| missing("scopes"))?,
        policy: ask.policy(),
    };
    issued(&state.engine.register_tool_server(&actor, &new).await?)
}
