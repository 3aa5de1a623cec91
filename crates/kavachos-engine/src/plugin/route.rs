//! The routes of a plugin: where they are, who may call them, and what answers.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kavachos_core::counter::Rule;
use kavachos_store::BoxFuture;
use serde_json::Value;

use super::context::Context;
use super::message::{Answer, Request};
use crate::actor::{Actor, Caller, Scope};
use crate::doors::Door;
use crate::error::{Error, Result};

/// How many segments a path may have.
const MAX_SEGMENTS: usize = 8;
/// Where plugins share the paths: sign-in, its pages, and OAuth.
const SHARED: [&str; 3] = ["/api/auth/", "/auth/", "/oauth/"];

/// What lies there and is the server's own, with all below.
const OURS: [&str; 7] = [
    "/api/auth/delete-account",
    "/api/auth/export",
    "/api/auth/not-me",
    "/api/auth/session",
    "/api/auth/sessions",
    "/api/auth/sign-out",
    "/oauth/token",
];

/// The methods that a route may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are those of HTTP (RFC 9110, 9.3)")]
pub enum Method {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

/// What a route is to humans of whom a second factor is demanded and whose session did not show one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Owing {
    /// Closed, as it is unless it says otherwise.
    #[default]
    Refused,
    /// Open: by it they show what they have, see how they stand, or prove again who they are.
    Admitted,
    /// Open to those who have no second factor: by it they set one up. Whoever has one shows that first.
    WithoutFactor,
}

/// Who may call a route. Whoever may not is refused before the handler runs, on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallerType {
    /// Anyone, also without a credential, within limits that outlive a restart.
    Open(Flood),
    /// The same, within the limits that the settings have for what strangers come for; to sign up only where they may.
    Door(Door),
    /// A human with a session of ours; a provider's token is none.
    Session,
    /// An operator whose key has the scope.
    Operator(Scope),
    /// A human with a session, or an operator whose key has the scope.
    SessionOrOperator(Scope),
    /// An agent with its key.
    Agent,
    /// Anyone with a credential: what they may do is decided by the use cases.
    Known,
}

impl CallerType {
    /// Whether a credential may be left out.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Open(_) | Self::Door(_))
    }
}

/// How many calls without a credential a route answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flood {
    /// Of one network (/24 of IPv4, /64 of IPv6); of a /48 of IPv6 ten times as many.
    pub per_source: Allowance,
    /// Of everyone together.
    pub overall: Allowance,
}

/// So many in any period of this length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// How many.
    pub limit: u64,
    /// The length of the period; whole seconds, at least one.
    pub per: Duration,
}

impl Allowance {
    /// So many in any period of this length.
    pub const fn new(limit: u64, per: Duration) -> Self {
        Self { limit, per }
    }

    pub(super) fn rule(self) -> Rule {
        let seconds = u32::try_from(self.per.as_secs()).unwrap_or(u32::MAX);
        Rule::Rate {
            limit: self.limit,
            per_seconds: seconds.max(1),
        }
    }
}

/// What answers the calls of a route.
type Handler = Arc<dyn Fn(Context, Request) -> BoxFuture<'static, Result<Answer>> + Send + Sync>;

/// One route of a plugin.
#[derive(Clone)]
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path, with `{name}` for what is different in each call.
    pub path: &'static str,
    /// Who may call it.
    pub caller: CallerType,
    /// What it is to those who are yet to show a second factor. An open route is open to them as to everyone.
    pub owing: Owing,
    /// The Operation Object that describes it (OpenAPI 3.1, 4.8.10).
    pub operation: Value,
    handler: Handler,
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {} by {:?}", self.method, self.path, self.caller)
    }
}

impl Route {
    /// A route that this handler answers.
    pub fn new<H, F>(method: Method, path: &'static str, caller: CallerType, handler: H) -> Self
    where
        H: Fn(Context, Request) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Answer>> + Send + 'static,
    {
        Self {
            method,
            path,
            caller,
            owing: Owing::default(),
            operation: Value::Null,
            handler: Arc::new(move |context, request| Box::pin(handler(context, request))),
        }
    }

    /// With its description.
    #[must_use]
    pub fn described(mut self, operation: Value) -> Self {
        self.operation = operation;
        self
    }

    /// The same, which is this to those who are yet to show a second factor.
    #[must_use]
    pub fn owing(mut self, owing: Owing) -> Self {
        self.owing = owing;
        self
    }

    pub(super) fn handle(
        &self,
        context: Context,
        request: Request,
    ) -> BoxFuture<'static, Result<Answer>> {
        (self.handler)(context, request)
    }

    /// Refuses callers that are not of the route's type.
    pub(super) fn admit(&self, actor: &Actor) -> Result<()> {
        let needs = |what: &str| Err(Error::Forbidden(format!("this needs {what}")));
        let is_impersonated = actor
            .person()
            .is_some_and(|person| person.impersonator.is_some());
        if is_impersonated && self.method != Method::Get {
            // How a human signs in is changed by nobody in their name.
            return needs("a session of the human's own");
        }
        match (self.caller, &actor.caller) {
            (CallerType::Operator(scope), _) => actor.require(scope),
            (CallerType::SessionOrOperator(_), Caller::Person(_)) => Ok(()),
            // Whoever has a provider's token for a minute is not to make a credential that stays.
            (CallerType::Session, Caller::Person(person)) if person.session().is_some() => Ok(()),
            (CallerType::SessionOrOperator(scope), _) => actor.require(scope),
            (CallerType::Session, _) => needs("a human's session"),
            (CallerType::Known, Caller::Stranger) => needs("a credential"),
            (CallerType::Agent, Caller::Agent(_)) | (CallerType::Known, _) => Ok(()),
            (CallerType::Agent, _) => needs("an agent's key"),
            (CallerType::Open(_) | CallerType::Door(_), _) => Ok(()),
        }
    }

    /// Whether the path lies where this plugin's paths may lie, and can be read.
    pub(super) fn check(&self, id: &str) -> std::result::Result<(), String> {
        let own = format!("/api/v1/{id}");
        let behind = self.path.strip_prefix(&own);
        let is_own = behind.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if !is_own && !SHARED.iter().any(|shared| self.path.starts_with(shared)) {
            let shared = SHARED.join("`, `");
            return Err(format!(
                "must begin with `{own}`, or with one of `{shared}`"
            ));
        }
        if OURS
            .iter()
            .any(|ours| self.path == *ours || self.path.starts_with(&format!("{ours}/")))
        {
            return Err("is a route of the server itself".to_owned());
        }
        let mut segments = self.path.split('/').skip(1);
        if self.path.split('/').count() > MAX_SEGMENTS + 1 || !segments.all(is_segment) {
            return Err(format!(
                "must be at most {MAX_SEGMENTS} segments of a-z, 0-9, `-`, `_`, `.`, or `{{name}}`"
            ));
        }
        if !self.operation.is_null() && !self.operation.is_object() {
            return Err("its description must be an object".to_owned());
        }
        match self.caller {
            CallerType::Open(flood) => check_flood(flood),
            _ => Ok(()),
        }
    }

    /// Whether two routes cannot stand beside each other.
    pub(super) fn clashes_with(&self, other: &Self) -> Option<&'static str> {
        let mut same = true;
        for pair in self.path.split('/').zip(other.path.split('/')) {
            match pair {
                (one, other) if one == other => {}
                (one, other) if is_named(one) && is_named(other) => {
                    return Some("names a part of its path otherwise than");
                }
                _ => {
                    same = false;
                    break;
                }
            }
        }
        let same = same && self.path.split('/').count() == other.path.split('/').count();
        (same && self.method == other.method).then_some("has the same method and path as")
    }
}

fn check_flood(flood: Flood) -> std::result::Result<(), String> {
    let whole = |allowance: Allowance| {
        let second = Duration::from_secs(1);
        let day = Duration::from_secs(86_400);
        (second..=day).contains(&allowance.per) && allowance.limit > 0
    };
    if whole(flood.per_source) && whole(flood.overall) {
        return Ok(());
    }
    Err("an open route has limits of at least 1 call, over 1 second to 1 day".to_owned())
}

fn is_named(segment: &str) -> bool {
    segment.starts_with('{')
}

fn is_segment(segment: &str) -> bool {
    let plain = |text: &str| {
        let known =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
        !text.is_empty() && text.bytes().all(known) && !text.bytes().all(|byte| byte == b'.')
    };
    let name = segment
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'));
    plain(name.unwrap_or(segment))
}
