//! Sign-in with the token of an outside provider: a session of ours for it, and linking it to an account.
//!
//! Promises: a token opens one session, within the minutes for which it could be exchanged; the session ends no later than
//! the provider's configuration says, and is as fresh as the sign-in there; it takes a second factor of ours as any other
//! method does. An account is found by provider and `sub` alone. An e-mail address in a token links nothing: whoever wants
//! both to be one account shows the session of the one and the token of the other, and ends that in a session that shows
//! another way in.
//!
//! Which tokens count is a matter of `[[providers]]`; whoever may call the API with such a token itself needs no session.

use std::time::Duration;

use kavachos_engine::actor::Actor;
use kavachos_engine::plugin::{
    Allowance, Answer, CallerType, Change, Context, Flood, Method, Plugin, Request, Route,
};
use kavachos_engine::{Error, ShownProof, SignIn, Stranger};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::own;

/// Sign-ins of one network, and of everyone, in ten minutes.
const FLOOD: Flood = Flood {
    per_source: Allowance::new(100, Duration::from_secs(600)),
    overall: Allowance::new(10_000, Duration::from_secs(600)),
};
const SIGNED_IN: &str = "provider.signed_in";

/// The method.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProviderSignIn;

/// What is sent to sign in, and to link.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ask {
    /// The provider that the token is to be of.
    provider: Option<String>,
    token: String,
    /// What the token was asked for with.
    nonce: Option<String>,
}

impl Ask {
    fn shown(&self) -> ShownProof<'_> {
        ShownProof {
            provider: self.provider.as_deref(),
            token: &self.token,
            nonce: self.nonce.as_deref(),
        }
    }
}

impl Plugin for ProviderSignIn {
    fn id(&self) -> &'static str {
        "provider"
    }

    fn kinds(&self) -> Vec<&'static str> {
        vec![SIGNED_IN]
    }

    fn routes(&self) -> Vec<Route> {
        let open = CallerType::Open(FLOOD);
        vec![
            Route::new(Method::Post, "/api/auth/sign-in/provider", open, sign_in).described(
                described(
                    "signInWithProvider",
                    "Sign in with the token of your own provider",
                    "The token counts once.",
                ),
            ),
            Route::new(
                Method::Post,
                "/api/auth/link/provider",
                CallerType::Session,
                link,
            )
            .described(described(
                "linkProvider",
                "Give your account an identity at a provider",
                "The session must be fresh, the identity nobody's, and the account without one. A mail tells of it.",
            )),
            Route::new(
                Method::Delete,
                "/api/auth/link/provider",
                CallerType::Session,
                unlink,
            )
            .described(json!({
                "operationId": "unlinkProvider", "tags": ["Sign-in"],
                "summary": "Take the identity at a provider from your account",
                "description": "The session must be fresh and opened in another way, which shows that there is one. All \
                    sessions end, also this one, and the identity makes no other account. A mail tells of it.",
            })),
        ]
    }
}

async fn sign_in(context: Context, request: Request) -> Result<Answer, Error> {
    let ask: Ask = request.json()?;
    let call = context.program();
    let plan = || async {
        let proof = context
            .engine()
            .proved_by_provider(stranger(&call), ask.shown())
            .await?;
        let details = json!({ "method": proof.method() });
        let change = Change::of(proof.user().to_string()).details(details);
        Ok(change.signs_in(SignIn::by_provider(proof)))
    };
    let changed = context.change(SIGNED_IN, plan).await?;
    match changed.signed_in {
        Some(signed_in) => Answer::signed_in(signed_in),
        None => Err(Error::WrongState(
            "this sign-in was done before: a session is shown once".to_owned(),
        )),
    }
}

async fn link(context: Context, request: Request) -> Result<Answer, Error> {
    let ask: Ask = request.json()?;
    let actor = context.known()?;
    Answer::data(&context.engine().link_provider(actor, ask.shown()).await?)
}

async fn unlink(context: Context, request: Request) -> Result<Answer, Error> {
    own::nothing(&request)?;
    let actor = context.known()?;
    Answer::data(&context.engine().unlink_provider(actor).await?)
}

/// Where a call came from.
fn stranger(call: &Actor) -> Stranger<'_> {
    Stranger {
        ip: call.ip,
        user_agent: call.user_agent.as_deref(),
        request: call.request,
    }
}

fn described(id: &str, summary: &str, text: &str) -> Value {
    let member = json!({ "type": "string" });
    json!({
        "operationId": id, "tags": ["Sign-in"], "summary": summary, "description": text,
        "requestBody": { "required": true, "content": { "application/json": { "schema": {
            "type": "object", "required": ["token"], "additionalProperties": false,
            "properties": { "provider": member, "token": member, "nonce": member },
        } } } },
    })
}
