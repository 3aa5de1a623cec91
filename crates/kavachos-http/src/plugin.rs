//! The routes of plugins: from HTTP to the plain request that a handler gets, and from its answer to HTTP.
//!
//! Who calls, how large a body may be, `Idempotency-Key`, the form of errors, panics and the headers of every answer are
//! the same here as for all other routes; a plugin cannot leave them out.

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts, RawPathParams, Request, State as FromState};
use axum::response::Response;
use axum::routing::{MethodFilter, on};
use http::header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, SET_COOKIE, USER_AGENT};
use http::request::Parts;
use http::{HeaderMap, HeaderName};
use kavachos_core::invalid::Invalid;
use kavachos_engine::Error;
use kavachos_engine::actor::Actor;
use kavachos_engine::plugin::{
    Answer, CallerType, Calling, Method, Mounted, Owing, Request as Plain, Route, Visitor,
    session_body, visible_cookies,
};

use crate::body::{Idempotency, idempotency_key, read};
use crate::call::{Call, LocalCaller, Owed, OwingCall, by_cookie, client_ip, request_id};
use crate::cookie::{self, Carrier};
use crate::error::Failure;
use crate::openapi::Told;
use crate::operation::Caller;
use crate::params::Params;
use crate::routes::forward_auth::PROXY_KEY;
use crate::state::State;

/// Credentials: whoever is asked for them is the server.
const NOT_SHOWN: [HeaderName; 4] = [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, PROXY_KEY];

/// What the plugins say about their routes. Who may call is what is enforced, not what is said.
pub(crate) fn told(state: &State) -> Vec<Told> {
    let routes = state.engine.plugin_routes().iter().map(Mounted::route);
    let told = |route: &Route| Told {
        method: name(route.method),
        path: route.path,
        callers: callers(route.caller),
        operation: route.operation.clone(),
    };
    routes.map(told).collect()
}

const fn name(method: Method) -> &'static str {
    match method {
        Method::Get => "get",
        Method::Post => "post",
        Method::Put => "put",
        Method::Patch => "patch",
        Method::Delete => "delete",
    }
}

fn callers(caller: CallerType) -> Vec<Caller> {
    match caller {
        CallerType::Session => vec![Caller::Session],
        CallerType::Operator(scope) => vec![Caller::Operator(scope)],
        CallerType::SessionOrOperator(scope) => vec![Caller::Session, Caller::Operator(scope)],
        CallerType::Agent => vec![Caller::Agent],
        CallerType::Known => vec![
            Caller::AnyOperator,
            Caller::Agent,
            Caller::Session,
            Caller::ToolServer,
        ],
        _ => Vec::new(),
    }
}

/// Adds the routes of the plugins, none of which is one of the server's own.
pub(crate) fn mount(router: Router<State>, state: &State) -> Router<State> {
    let routes = state.engine.plugin_routes().iter().cloned();
    routes.fold(router, |router, mounted| {
        let filter = match mounted.route().method {
            Method::Get => MethodFilter::GET,
            Method::Post => MethodFilter::POST,
            Method::Put => MethodFilter::PUT,
            Method::Patch => MethodFilter::PATCH,
            Method::Delete => MethodFilter::DELETE,
        };
        let path = mounted.route().path;
        let handle = move |FromState(state): FromState<State>, request: Request| {
            let mounted = mounted.clone();
            async move { answer(state, mounted, request).await }
        };
        router.route(path, on(filter, handle))
    })
}

async fn answer(state: State, mounted: Mounted, request: Request) -> Result<Response, Failure> {
    let (mut parts, body) = request.into_parts();
    let mut calling = calling(&mut parts, &state, mounted.route()).await?;
    let path = path(&mut parts, &state).await?;
    let query = Params::from_request_parts(&mut parts, &()).await?.all();
    let carrier = Carrier::wanted(&parts.headers);
    let browser = carrier.browser(&parts.headers);
    let key = idempotency_key(&parts.headers)?;
    let body = read(body).await?;
    if let Some(key) = key {
        let is_open = mounted.route().caller.is_open();
        let (false, Calling::Known(actor)) = (is_open, calling) else {
            let why = "an open route remembers nothing; leave the header out";
            return Err(Invalid::at("Idempotency-Key", why).into());
        };
        let idempotency = Idempotency::of(key, &parts, &body);
        calling = Calling::Known(idempotency.claimed_by(actor));
    }
    let request = Plain {
        path,
        query,
        headers: visible(&parts.headers),
        cookies: visible_cookies(texts(&parts.headers, &COOKIE)),
        body: body.to_vec(),
    };
    let calling = (calling, browser);
    render(
        state.engine.serve(&mounted, calling, request).await?,
        carrier,
        &state,
    )
}

/// Who calls. At an open route a credential may be left out, but not be wrong.
async fn calling(parts: &mut Parts, state: &State, route: &Route) -> Result<Calling, Failure> {
    let shows_nothing = !parts.headers.contains_key(AUTHORIZATION)
        && parts.extensions.get::<LocalCaller>().is_none();
    if route.caller.is_open() && shows_nothing {
        return visitor(parts, state).await;
    }
    // An open route signs in, and the session of before ends with that.
    if route.caller.is_open() || route.owing != Owing::Refused {
        let OwingCall(actor) = OwingCall::from_request_parts(parts, state).await?;
        return Ok(Calling::Known(actor));
    }
    let Call(actor) = Call::from_request_parts(parts, state).await?;
    Ok(Calling::Known(actor))
}

/// Who calls an open route without a credential in `Authorization`. A live session in a cookie ends with the next one; a
/// dead one is nothing, since whoever has it is here to sign in. What comes from a page of another server is refused: it
/// would sign its visitors in, or out, without their doing.
async fn visitor(parts: &mut Parts, state: &State) -> Result<Calling, Failure> {
    let headers = &parts.headers;
    let reads = matches!(parts.method, http::Method::GET | http::Method::HEAD);
    if !reads && cookie::comes_from(headers, state.public_url()) == cookie::From::Elsewhere {
        let why = "a page of another server may not call this; open the page of this one";
        return Err(Error::Forbidden(why.to_owned()).into());
    }
    let visitor = Visitor {
        request: request_id(parts, &state.engine),
        ip: client_ip(parts, state)?,
        user_agent: texts(headers, &USER_AGENT).next().map(str::to_owned),
    };
    let session = cookie::session(&parts.method, headers, state.public_url());
    let caller = match session {
        Some(session) => by_cookie(session, (&state.engine, Owed::Admitted)).await,
        None => return Ok(Calling::Stranger(visitor)),
    };
    match caller {
        Ok(caller) => Ok(Calling::Known(Actor {
            caller,
            request: visitor.request,
            ip: visitor.ip,
            user_agent: visitor.user_agent,
            once: None,
        })),
        Err(Error::Unauthenticated(_)) => Ok(Calling::Stranger(visitor)),
        Err(error) => Err(error.into()),
    }
}

async fn path(parts: &mut Parts, state: &State) -> Result<Vec<(String, String)>, Failure> {
    let named = RawPathParams::from_request_parts(parts, state).await;
    let wrong = |_| Invalid::new("the path cannot be read: percent-encode it as UTF-8");
    let named = named.map_err(wrong)?;
    let pairs = named
        .iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    Ok(pairs.collect())
}

fn visible(headers: &HeaderMap) -> Vec<(String, String)> {
    let shown = headers.iter().filter(|(name, _)| !NOT_SHOWN.contains(name));
    let text = |(name, value): (&HeaderName, &http::HeaderValue)| {
        Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
    };
    shown.filter_map(text).collect()
}

fn texts<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter();
    values.filter_map(|value| value.to_str().ok())
}

fn render(answer: Answer, carrier: Carrier, state: &State) -> Result<Response, Failure> {
    let wire = answer.into_wire()?;
    let mut response = Response::builder().status(wire.status);
    for (name, value) in wire.headers {
        response = response.header(name, value);
    }
    let mut body = wire.body;
    if let Some(opened) = &wire.opened {
        let token = match carrier {
            Carrier::Body => Some(&opened.token),
            Carrier::Cookie => None,
        };
        body = session_body(opened, token, &wire.beside)?;
        if carrier == Carrier::Cookie {
            let life = opened.expires_at.since(state.engine.now());
            response = response.header(SET_COOKIE, cookie::set_session(&opened.token, life));
        }
    }
    let opened = wire.opened.as_ref();
    let device = opened
        .and_then(|opened| opened.device.as_ref())
        .or(wire.device.as_ref());
    if let Some(device) = device {
        response = response.header(SET_COOKIE, cookie::set_device(device));
    }
    let defect = |error: http::Error| Error::Internal(format!("a plugin's answer: {error}"));
    Ok(response.body(Body::from(body)).map_err(defect)?)
}
