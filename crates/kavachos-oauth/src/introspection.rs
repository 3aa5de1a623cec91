//! What a token is, for the tool server that it is for, and for operators (RFC 7662).
//!
//! Promises: whoever is not the audience learns nothing of a token, not even whether there is one.

use kavachos_core::secret::{Secret, SecretKind};
use kavachos_core::token::Leaf;
use kavachos_engine::actor::{Actor, Caller};
use kavachos_engine::{Engine, Error};
use serde::Serialize;
use serde_json::{Value, json};

use crate::client::Credential;
use crate::form::Form;
use crate::refusal::{Code, Refusal};
use crate::subject;
use crate::token::Call;

/// What is told of a token; of one that is not good, nothing else.
#[derive(Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Introspection"))]
pub struct Introspection {
    /// Whether it is good now, here.
    active: bool,
    /// Whole registered scopes that it covers; `kavach:limited` where it says more in another way.
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    /// The agent that acts.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    /// How it is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    token_type: Option<&'static str>,
    /// When it ends, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
    /// When it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    iat: Option<i64>,
    /// For whom the agent acts, by the name that the tool server knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<String>,
    /// The tool server.
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<String>,
    /// Who made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<String>,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<String>,
    /// The key that is proved with it: `{"jkt": ...}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "schema",
        schemars(with = "Option<serde_json::Map<String, Value>>")
    )]
    cnf: Option<Value>,
}

impl Introspection {
    fn of(leaf: &Leaf) -> Self {
        const SECOND: i64 = 1_000_000;
        let names: Vec<&str> = leaf.scopes.iter().map(|scope| scope.as_str()).collect();
        let scope = match names.is_empty() {
            true => kavachos_core::token::LIMITED_SCOPE.to_owned(),
            false => names.join(" "),
        };
        Self {
            active: true,
            scope: Some(scope),
            client_id: leaf.authority.agent().map(|agent| agent.to_string()),
            token_type: Some(match leaf.bound_to {
                Some(_) => "DPoP",
                None => "Bearer",
            }),
            exp: Some(leaf.life.expires_at.as_micros().div_euclid(SECOND)),
            iat: Some(leaf.life.issued_at.as_micros().div_euclid(SECOND)),
            sub: Some(leaf.authority.subject.to_string()),
            aud: Some(leaf.audience.to_string()),
            iss: Some(leaf.issuer.to_string()),
            jti: Some(leaf.life.id.to_string()),
            cnf: leaf
                .bound_to
                .map(|print| json!({ "jkt": print.to_string() })),
        }
    }
}

/// Tells what a token is.
///
/// # Errors
/// The caller is no tool server and no operator who may ask, or names no token.
pub async fn introspect(
    engine: &Engine,
    call: &Call,
    body: &[u8],
) -> Result<Introspection, Refusal> {
    let mut form = Form::read(body)?;
    let actor = caller(engine, call, &mut form).await?;
    let token = form.need("token")?;
    let leaf = engine.introspect(&actor, &token).await;
    let leaf = leaf.map_err(|error| match error {
        Error::Forbidden(why) => Refusal::new(Code::InsufficientScope, why),
        error => error.into(),
    })?;
    Ok(leaf.as_ref().map(Introspection::of).unwrap_or_default())
}

/// A tool server by its key, as `Bearer` or as the secret of the client that its id is; or an operator by theirs.
async fn caller(engine: &Engine, call: &Call, form: &mut Form) -> Result<Actor, Refusal> {
    let unknown = || {
        Refusal::new(
            Code::InvalidClient,
            "a tool server asks with its own key, as `Bearer` or as the secret of its id; an operator with theirs as `Bearer`",
        )
    };
    let nobody = || {
        engine.note_stranger(call.stranger(), "unauthenticated");
        unknown()
    };
    let (key, id) = match Credential::read(&call.client, form)?.ok_or_else(nobody)? {
        Credential::Key(key) | Credential::ToolServer(key) => (key, None),
        Credential::Secret(id, secret) => {
            let key = Secret::parse(&secret).map_err(|_| nobody())?;
            let key = Some(key).filter(|key| key.kind() == SecretKind::Resource);
            (key.ok_or_else(nobody)?, Some(id))
        }
        // A token is told of to whom it is for, and a client is not that.
        Credential::Assertion(_) => return Err(nobody()),
    };
    let actor = match subject::with_credential(engine, call, &key).await {
        Err(refusal) if refusal.code() == Code::InvalidGrant => return Err(unknown()),
        actor => actor?,
    };
    match (&actor.caller, id) {
        (Caller::ToolServer(key), Some(id)) if key.id.to_string() != id => Err(nobody()),
        _ => Ok(actor),
    }
}
