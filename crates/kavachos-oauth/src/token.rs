//! The token endpoint (RFC 6749, section 3.2): which grant a request is of. Token exchange (RFC 8693) is read here.

use std::net::IpAddr;
use std::sync::Arc;

use kavachos_core::client::GrantType;
use kavachos_core::id::{AgentId, RequestId};
use kavachos_core::token::Proof;
use kavachos_engine::actor::{Actor, AgentKey, Caller};
use kavachos_engine::{Engine, Error, ShownToken, Stranger, TokenAsk};

use crate::answer::Answer;
use crate::client::{Client, Credential};
use crate::client_credentials;
use crate::code;
use crate::device;
use crate::exchange::{Exchange, Made};
use crate::form::Form;
use crate::nonce::require_nonce;
use crate::refusal::{Code, Refusal};
use crate::subject::{self, Subject};

/// The grant of RFC 8693.
pub const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// All grants that are given here.
pub const GRANTS: [&str; 5] = [
    GrantType::AuthorizationCode.as_str(),
    GrantType::RefreshToken.as_str(),
    GrantType::ClientCredentials.as_str(),
    GrantType::DeviceCode.as_str(),
    TOKEN_EXCHANGE,
];

/// A request as it arrived, beside its body.
#[derive(Debug, Clone)]
pub struct Call {
    /// The id of the request, also in its answer.
    pub request: RequestId,
    /// The address that it came from.
    pub ip: Option<IpAddr>,
    /// What the client says it is.
    pub user_agent: Option<String>,
    /// The proof of a key that came with it, which holds for this request.
    pub proof: Option<Proof>,
    /// Whether the client authenticates in the header.
    pub client: Client,
}

impl Call {
    /// Whoever calls, while nobody knows who it is.
    pub(crate) fn stranger(&self) -> Stranger<'_> {
        Stranger {
            ip: self.ip,
            user_agent: self.user_agent.as_deref(),
            request: self.request,
        }
    }

    /// The call, before anybody is known by it.
    pub(crate) fn nobody(&self) -> Actor {
        self.actor(Caller::Stranger)
    }

    /// The call, as it is made by this caller.
    pub(crate) fn actor(&self, caller: Caller) -> Actor {
        Actor {
            caller,
            request: self.request,
            ip: self.ip,
            user_agent: self.user_agent.clone(),
            once: None,
        }
    }
}

/// Answers a request for a token with this body.
///
/// # Errors
/// Why there is none, as the client is told.
pub async fn token(engine: &Engine, call: &Call, body: &[u8]) -> Result<Answer, Refusal> {
    let mut form = Form::read(body)?;
    let name = form.need("grant_type")?;
    if name == TOKEN_EXCHANGE {
        return exchange(engine, call, form).await;
    }
    let Some(grant) = GrantType::of(&name) else {
        return Err(Refusal::new(
            Code::UnsupportedGrantType,
            format!("`grant_type` is one of `{}`", GRANTS.join("`, `")),
        ));
    };
    // Before anything is looked at that a second request could not show again.
    require_nonce(engine, call)?;
    match grant {
        GrantType::AuthorizationCode => code::redeem(engine, call, &mut form).await,
        GrantType::RefreshToken => code::refresh(engine, call, &mut form).await,
        GrantType::ClientCredentials => client_credentials::grant(engine, call, &mut form).await,
        GrantType::DeviceCode => device::grant(engine, call, &mut form).await,
    }
}

async fn exchange(engine: &Engine, call: &Call, mut form: Form) -> Result<Answer, Refusal> {
    let exchange = Exchange::read(&mut form)?;
    let client = Credential::read(&call.client, &mut form)?;
    let actor = subject::actor(engine, call, (&exchange.subject, client)).await?;
    let agent_key = match &exchange.actor {
        Some(secret) => Some(agent_key(
            subject::with_credential(engine, call, secret).await?,
        )?),
        None => None,
    };
    let (wanted, told) = exchange.asked.read()?;
    let (audience, further) = match exchange.made {
        Made::Leaf(audience) => (audience, None),
        Made::Root(audience, further) => (audience, Some(further)),
    };
    let ask = TokenAsk {
        audience,
        wanted,
        ttl: exchange.ttl,
        reason: exchange.reason,
        agent: shown_by(&actor, agent_key.as_deref()),
        agent_key,
        proof: call.proof.clone(),
    };
    let now = engine.now();
    Ok(match (&exchange.subject, further) {
        (Subject::Leaf(text, proven), None) => {
            let shown = ShownToken {
                text,
                proven: *proven,
            };
            Answer::of_leaf(engine.exchange(&actor, &shown, &ask).await?, told, now)
        }
        (Subject::Leaf(..), Some(_)) => {
            let message = "what a tool server was shown is exchanged for a token, never for a root";
            return Err(Refusal::new(Code::InvalidRequest, message));
        }
        (_, None) => Answer::of_leaf(engine.token(&actor, &ask).await?, told, now),
        (_, Some(further)) => {
            Answer::of_root(engine.root(&actor, &ask, &further).await?, told, now)
        }
    })
}

/// Which agent will show the token: the one that is itself the subject, or the actor; without either an agent of the
/// human's that exists for such tokens. A root says it itself.
fn shown_by(actor: &Actor, key: Option<&AgentKey>) -> Option<AgentId> {
    match &actor.caller {
        Caller::Agent(key) => Some(key.agent),
        _ => key.map(|key| key.agent),
    }
}

fn agent_key(actor: Actor) -> Result<Arc<AgentKey>, Refusal> {
    match actor.caller {
        Caller::Agent(key) => Ok(key),
        _ => Err(Error::Internal("an agent's key is another's".to_owned()).into()),
    }
}
