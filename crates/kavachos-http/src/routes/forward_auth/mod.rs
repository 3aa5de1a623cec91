//! `GET` and `POST /api/v1/forward-auth`: a proxy asks whether to let a call through, and reads the answer off the status.
//!
//! 200 lets it through; 401 says that the agent's credential is missing or dead; 403 that it may not; 429 that a limit is
//! reached. The proxy calls from a trusted address and shows its own key in [`PROXY_KEY`]; `Authorization` is what the
//! agent sent to it. The record of the decision says what the proxy was told.

mod forwarded;

use std::net::IpAddr;

use axum::extract::{Request, State as FromState};
use http::header::{RETRY_AFTER, USER_AGENT, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use kavachos_core::decide::Code;
use kavachos_engine::actor::{Actor, Caller};
use kavachos_engine::{Decision, Error, ForwardedCall, Stranger};

use crate::call::{FORWARDED_FOR, bearer, client_ip, request_id};
use crate::error::{Failure, Refusal};
use crate::operation::{self, About, Caller as OpenTo, Description, Form, JSON, Operation};
use crate::reply::{Data, Kind, Reply, json};
use crate::routes::authorize::{Answer, DECISION, answer, seconds};
use crate::state::State;

/// Where a proxy shows its own key, since `Authorization` is the agent's.
pub(crate) const PROXY_KEY: HeaderName = HeaderName::from_static("kavach-proxy-key");
/// The agent, for what stands behind the proxy; empty unless the call is let through.
const AGENT: HeaderName = HeaderName::from_static("kavach-agent");
/// The human for whom it acts, as the proxy's tool server knows them; likewise.
const USER: HeaderName = HeaderName::from_static("kavach-user");
/// The same, signed for the server behind the proxy and for this call alone; likewise.
const ASSERTION: HeaderName = HeaderName::from_static("kavach-assertion");
/// The record of the decision.
const AUDIT: HeaderName = HeaderName::from_static("kavach-audit");

/// The decision, by its status.
pub(crate) struct Verdict;

impl Kind for Verdict {
    fn tell(description: &mut Description) {
        for status in [200, 401, 403, 429] {
            description.answers.push(operation::Answer {
                status,
                media_type: JSON,
                form: Form::of::<Data<Answer<'static>>>(),
                headers: &[],
            });
        }
        for (name, text) in [
            ("X-Forwarded-Method", "The method of the call, in capitals."),
            ("X-Forwarded-Host", "Its host."),
            ("X-Forwarded-Uri", "Its path and query."),
            ("X-Forwarded-For", "Where it came from."),
        ] {
            description.header(name, text, Form::of::<String>());
        }
        let refusals = [
            Refusal::Unauthenticated,
            Refusal::Forbidden,
            Refusal::TooManyRequests,
            Refusal::Busy,
            Refusal::LedgerUnavailable,
            Refusal::OutcomeUnknown,
        ];
        description.refusals.extend(refusals);
    }
}

/// Both methods: proxies send either.
pub(crate) fn operations() -> [Operation; 2] {
    const ABOUT: About = About {
        id: "forwardAuth",
        tag: "Decisions",
        summary: "Ask, as a proxy, whether to let a call through",
        text: "The answer is the status: 200 lets it through, 401 says that the agent's key is missing or dead, 403 that it \
               may not, 429 that a limit is reached. `Authorization` is what the agent sent to the proxy.",
        callers: &[OpenTo::Proxy],
    };
    const POSTED: About = About {
        id: "forwardAuthByPost",
        ..ABOUT
    };
    const PATH: &str = "/api/v1/forward-auth";
    [
        Operation::get(PATH, ABOUT, handle),
        Operation::post(PATH, POSTED, handle),
    ]
}

pub(crate) async fn handle(FromState(state): FromState<State>, request: Request) -> Reply<Verdict> {
    // The query is not looked at: Caddy leaves that of the client's URL there.
    let (parts, _) = request.into_parts();
    let mut proxy = proxy(&parts, &state).await?;
    let ip = client(&parts, &state);
    proxy.ip = ip.clone().unwrap_or_default();
    let key = match credential(&parts.headers, &state).await {
        Ok(Caller::Agent(key)) => key,
        Ok(_) => return Err(stranger(&state, &proxy, "the credential is no agent's key")),
        Err(Error::Unauthenticated(why)) => return Err(stranger(&state, &proxy, why)),
        Err(error) => return Err(error.into()),
    };
    let call = ForwardedCall {
        request: ip.and_then(|ip| forwarded::request(&parts.headers, ip)),
        described: forwarded::described(&parts.headers),
        key: key.clone(),
    };
    let told = state.engine.authorize_forwarded(&proxy, call).await?;
    let decision = &told.decision;
    state.metrics.decided(decision);
    let mut response = json(status(decision.code), &Data::of(answer(decision)))?;
    let agent = decision.allowed.then(|| key.agent.to_string());
    let user = told.subject.map(|subject| subject.as_str().to_owned());
    let identity = [(AGENT, agent), (USER, user), (ASSERTION, told.assertion)];
    add_identity(response.headers_mut(), identity, decision);
    Ok(response)
}

/// The proxy: a tool server's key, from an address that is trusted.
async fn proxy(parts: &Parts, state: &State) -> Result<Actor, Failure> {
    let peer = state.peer(&parts.extensions);
    let mut proxy = Actor {
        caller: Caller::Stranger,
        request: request_id(parts, &state.engine),
        ip: peer,
        user_agent: parts
            .headers
            .get(USER_AGENT)
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()),
        once: None,
    };
    let shown = forwarded::single(&parts.headers, &PROXY_KEY).ok();
    let caller = match shown {
        Some(shown) => state.engine.authenticate(shown).await,
        None => Err(Error::Unauthenticated("no proxy's key is shown")),
    };
    proxy.caller = match caller {
        Ok(caller @ Caller::ToolServer(_)) => caller,
        Ok(_) | Err(Error::Unauthenticated(_)) => {
            let why = "send one header `Kavach-Proxy-Key` with the key of a tool server";
            return Err(stranger(state, &proxy, why));
        }
        Err(error) => return Err(error.into()),
    };
    if !peer.is_some_and(|peer| state.trusts(peer)) {
        return Err(state.engine.refuse_proxy(&proxy).await?.into());
    }
    Ok(proxy)
}

/// The address of the proxy's client. Without a word of the proxy nobody knows it, and rules about addresses fail.
fn client(parts: &Parts, state: &State) -> Result<Option<IpAddr>, String> {
    if !parts.headers.contains_key(FORWARDED_FOR) {
        return Ok(None);
    }
    client_ip(parts, state).map_err(|failure| failure.shown())
}

async fn credential(headers: &HeaderMap, state: &State) -> Result<Caller, Error> {
    state.engine.authenticate(bearer(headers)?).await
}

/// Someone without a good credential; noted as one.
fn stranger(state: &State, proxy: &Actor, why: &'static str) -> Failure {
    let stranger = Stranger {
        ip: proxy.ip,
        user_agent: proxy.user_agent.as_deref(),
        request: proxy.request,
    };
    state.engine.note_stranger(stranger, "unauthenticated");
    Error::Unauthenticated(why).into()
}

fn status(code: Code) -> StatusCode {
    match code {
        Code::Allowed => StatusCode::OK,
        Code::KeyExpired | Code::KeyRevoked => StatusCode::UNAUTHORIZED,
        Code::RateLimited | Code::BudgetExhausted => StatusCode::TOO_MANY_REQUESTS,
        _ => StatusCode::FORBIDDEN,
    }
}

/// Every header is always set, also empty: a proxy that copies them replaces what its client sent.
fn add_identity(
    headers: &mut HeaderMap,
    identity: [(HeaderName, Option<String>); 3],
    decision: &Decision,
) {
    let audit = (AUDIT, Some(decision.audit_id.to_string()));
    for (name, value) in identity.into_iter().chain([audit]) {
        let value = HeaderValue::from_str(&value.unwrap_or_default());
        headers.insert(name, value.unwrap_or(HeaderValue::from_static("")));
    }
    let verdict = if decision.allowed { "allow" } else { "deny" };
    headers.insert(DECISION, HeaderValue::from_static(verdict));
    if let Some(wait) = decision.retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds(wait)));
    }
    if status(decision.code) == StatusCode::UNAUTHORIZED {
        let challenge = HeaderValue::from_static("Bearer realm=\"kavach\"");
        headers.insert(WWW_AUTHENTICATE, challenge);
    }
}
