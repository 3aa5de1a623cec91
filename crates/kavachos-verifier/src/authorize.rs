//! One call of a tool: decided by what the token says, and where that is not enough by the server.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Duration;

use kavachos_core::action::Action;
use kavachos_core::constraint::{Call, Cost};
use kavachos_core::decide::Code as Decided;
use kavachos_core::id::ApprovalId;
use kavachos_core::invalid::Invalid;
use kavachos_core::json;
use kavachos_core::resource::Resource;
use kavachos_core::token::{Code, Offline, Thumbprint};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::approvals::answered;
use crate::issuer::CallError;
use crate::principal::{Principal, ToolCall};
use crate::rejection::{Cause, Rejection};
use crate::reports::Report;
use crate::settings::Asking;
use crate::verifier::Verifier;

/// When to try again where the server did not say.
const RETRY: Duration = Duration::from_secs(1);

/// A call that may be made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Allowed {
    /// The server's record of the decision; `None` when the token alone decided.
    pub audit_id: Option<String>,
}

/// A call whose names could be read.
struct Question<'a> {
    action: Action,
    resource: Resource,
    call: &'a ToolCall<'a>,
}

impl Question<'_> {
    fn on(&self) -> (&Action, &Resource) {
        (&self.action, &self.resource)
    }
}

/// Whether the token has a permission for all of this, under whatever conditions. What it has none for is refused as one
/// and reported one by one; what it has one for is decided, and reported, when it is done.
pub(crate) fn foresee(
    verifier: &Verifier,
    principal: &Principal,
    action: &Action,
    resources: &[Resource],
) -> Result<(), Rejection> {
    verifier.stands(principal.held())?;
    let permissions = principal.permissions();
    let lacks = |resource: &&Resource| {
        !verifier.has(resource) || permissions.matching(action, resource).next().is_none()
    };
    let missing: Vec<&Resource> = resources.iter().filter(lacks).collect();
    if missing.is_empty() {
        return Ok(());
    }
    for resource in &missing {
        let code = Code::InsufficientScope.as_str();
        report(verifier, principal, (action, resource), code);
    }
    let names: Vec<&str> = missing.into_iter().map(Resource::as_str).collect();
    let message = format!(
        "the token does not permit `{}` on `{}`",
        action.as_str(),
        names.join("` and `")
    );
    let all: Vec<&Resource> = resources.iter().collect();
    let refused = Err(insufficient(verifier, principal, &all, message));
    verifier.count(&refused);
    refused.map(drop)
}

/// Decides a call. One whose human was asked before and has not answered waits for that, and is then decided anew: the token
/// may be dead by then.
pub(crate) async fn authorize(
    verifier: &Verifier,
    principal: &Principal,
    call: &ToolCall<'_>,
) -> Result<Allowed, Rejection> {
    let question = read(call)?;
    let mut decided = settle(verifier, principal, &question).await;
    if let Err(refused) = &decided
        && answered(verifier, principal, refused).await
    {
        decided = settle(verifier, principal, &question).await;
    }
    verifier.count(&decided);
    decided
}

/// Decides now, and reports what was decided here. What the server decided it has on record.
async fn settle(
    verifier: &Verifier,
    principal: &Principal,
    question: &Question<'_>,
) -> Result<Allowed, Rejection> {
    match decide(verifier, principal, question) {
        Err(Undecided::AskServer(code)) => ask(verifier, principal, question, code).await,
        Err(Undecided::Refused(rejection)) => {
            let code = rejection.cause().as_str();
            report(verifier, principal, question.on(), code);
            Err(rejection)
        }
        Ok(allowed) => {
            let code = Decided::Allowed.as_str();
            report(verifier, principal, question.on(), code);
            Ok(allowed)
        }
    }
}

/// Why a call is not allowed by the token alone.
enum Undecided {
    AskServer(Code),
    Refused(Rejection),
}

fn read<'a>(call: &'a ToolCall<'a>) -> Result<Question<'a>, Rejection> {
    // A name that is none is permitted by no token, whoever made it up.
    let unknown =
        |error: Invalid| Rejection::new(Cause::Token(Code::InsufficientScope), error.to_string());
    let arguments = call.arguments.map_or(Ok(()), json::check_member);
    arguments.map_err(|error| {
        let message = format!("the arguments are not plain JSON: {error}");
        Rejection::new(Cause::MalformedRequest, message)
    })?;
    Ok(Question {
        action: call.action.parse().map_err(unknown)?,
        resource: call.resource.parse().map_err(unknown)?,
        call,
    })
}

fn decide(
    verifier: &Verifier,
    principal: &Principal,
    question: &Question<'_>,
) -> Result<Allowed, Undecided> {
    let now = (verifier.stands(principal.held())).map_err(Undecided::Refused)?;
    if !verifier.has(&question.resource) {
        let message = format!(
            "`{}` is not of this tool server",
            question.resource.as_str()
        );
        let rejection = insufficient(verifier, principal, &[&question.resource], message);
        return Err(Undecided::Refused(rejection));
    }
    let call = Call {
        arguments: question.call.arguments,
        ip: question.call.ip,
        cost: question.call.cost,
    };
    let authority = principal.authority();
    match authority.permits(&question.action, &question.resource, &call, now) {
        Offline::Allowed => Ok(Allowed { audit_id: None }),
        Offline::AskServer(code) => Err(Undecided::AskServer(code)),
        Offline::Denied(code) => Err(Undecided::Refused(denied(
            verifier, principal, question, code,
        ))),
    }
}

fn denied(
    verifier: &Verifier,
    principal: &Principal,
    question: &Question<'_>,
    code: Code,
) -> Rejection {
    let (action, resource) = (question.action.as_str(), question.resource.as_str());
    match code {
        Code::InsufficientScope => {
            let message = format!("the token does not permit `{action}` on `{resource}`");
            insufficient(verifier, principal, &[&question.resource], message)
        }
        Code::RateLimited => {
            let message = format!("`{action}` on `{resource}` is limited to no calls at all");
            Rejection::new(Cause::Token(code), message).retried_after(RETRY)
        }
        _ => {
            let message = format!(
                "the token permits `{action}` on `{resource}`, but not with these arguments, from this address, or now"
            );
            Rejection::new(Cause::Token(code), message)
        }
    }
}

fn insufficient(
    verifier: &Verifier,
    principal: &Principal,
    wanted: &[&Resource],
    message: String,
) -> Rejection {
    let scopes = principal.scopes();
    let needed = (verifier.challenger()).insufficient(wanted, scopes, &message);
    Rejection::new(Cause::Token(Code::InsufficientScope), message).needing(needed)
}

fn report(
    verifier: &Verifier,
    principal: &Principal,
    (action, resource): (&Action, &Resource),
    code: &'static str,
) {
    verifier.report(|time| Report {
        token_id: principal.token_id(),
        action: action.clone(),
        resource: resource.clone(),
        allowed: code == Decided::Allowed.as_str(),
        code,
        time,
        proven: principal.proven_key().is_some(),
        count: 1,
    });
}

/// The question as the server reads it.
#[derive(Serialize)]
struct Asked<'a> {
    token: &'a str,
    /// The key that was proved with a token that is bound to one.
    #[serde(skip_serializing_if = "Option::is_none")]
    proven: Option<Thumbprint>,
    action: &'a str,
    resource: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments: Option<&'a Value>,
    #[serde(skip_serializing_if = "Context::is_empty")]
    context: Context<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cost: Option<&'a Cost>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Context<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<&'a str>,
}

impl Context<'_> {
    fn is_empty(&self) -> bool {
        self.ip.is_none() && self.user_agent.is_none()
    }
}

/// The decision as the server writes it. It may say more one day.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    allowed: bool,
    code: String,
    reason: String,
    audit_id: String,
    approval_id: Option<String>,
    retry_after: Option<u64>,
}

async fn ask(
    verifier: &Verifier,
    principal: &Principal,
    question: &Question<'_>,
    code: Code,
) -> Result<Allowed, Rejection> {
    let Asking::Within(time) = verifier.settings().asking else {
        let message = "only the server can decide this, and it is not asked here";
        return Err(unasked(code, message.into(), None));
    };
    let asked = Asked {
        token: &principal.held().text,
        proven: principal.proven_key(),
        action: question.action.as_str(),
        resource: question.resource.as_str(),
        arguments: question.call.arguments,
        context: Context {
            ip: question.call.ip,
            user_agent: question.call.user_agent,
        },
        cost: question.call.cost,
    };
    verifier.counters().asked.count();
    let client = verifier.client();
    match client.post("/api/v1/authorize", &asked, time).await {
        Ok(answer) => judge(verifier, principal, question, answer),
        Err(error) => {
            verifier.counters().ask_failures.count();
            let retry_after = match &error {
                CallError::Status { retry_after, .. } => *retry_after,
                _ => None,
            };
            let message =
                format!("only the server can decide this, and it cannot be asked: {error}");
            Err(unasked(code, message.into(), retry_after))
        }
    }
}

fn unasked(code: Code, message: Cow<'static, str>, retry_after: Option<Duration>) -> Rejection {
    let rejection = Rejection::new(Cause::Token(code), message);
    match code {
        Code::RateLimited => rejection.retried_after(retry_after.unwrap_or(RETRY)),
        _ => rejection,
    }
}

fn judge(
    verifier: &Verifier,
    principal: &Principal,
    question: &Question<'_>,
    answer: Answer,
) -> Result<Allowed, Rejection> {
    let decided: Option<Decided> = answer.code.parse().ok();
    if answer.allowed && decided == Some(Decided::Allowed) {
        return Ok(Allowed {
            audit_id: Some(answer.audit_id),
        });
    }
    let code = decided.map_or(Code::ConstraintFailed, meaning);
    let mut rejection = match code {
        Code::InsufficientScope => {
            insufficient(verifier, principal, &[&question.resource], answer.reason)
        }
        Code::Revoked => verifier.refuse(Cause::Token(code), answer.reason),
        _ => Rejection::new(Cause::Token(code), answer.reason),
    };
    if code == Code::RateLimited {
        let after = answer.retry_after.map_or(RETRY, Duration::from_secs);
        rejection = rejection.retried_after(after);
    }
    let Some(decided) = decided else {
        return Err(rejection);
    };
    let waits = matches!(
        decided,
        Decided::ApprovalRequired | Decided::ApprovalPending
    );
    let asked = answer.approval_id.as_deref().filter(|_| waits);
    let page = asked.and_then(|id| approval_page(verifier, id));
    Err(rejection
        .decided(decided, answer.approval_id)
        .answered_at(page))
}

/// Where the issuer's people answer a request for approval.
fn approval_page(verifier: &Verifier, id: &str) -> Option<String> {
    let id: ApprovalId = id.parse().ok()?;
    let issuer = verifier.settings().issuer.as_str().trim_end_matches('/');
    Some(format!("{issuer}/account/approvals/{id}"))
}

/// What a denial by the server means for the caller of a tool.
fn meaning(decided: Decided) -> Code {
    match decided {
        Decided::PermissionDenied => Code::InsufficientScope,
        Decided::ApprovalRequired | Decided::ApprovalPending | Decided::ApprovalDenied => {
            Code::ApprovalRequired
        }
        Decided::RateLimited | Decided::BudgetExhausted => Code::RateLimited,
        Decided::Allowed
        | Decided::ArgumentNotAllowed
        | Decided::IpNotAllowed
        | Decided::OutsideTimeWindow
        | Decided::GrantExpired
        | Decided::CostRequired
        | Decided::SubjectRequired
        | Decided::DeniedByHook => Code::ConstraintFailed,
        Decided::AncestorNotActive
        | Decided::UnknownAgent
        | Decided::KeyExpired
        | Decided::KeyRevoked
        | Decided::AgentRevoked
        | Decided::AgentSuspended
        | Decided::AgentExpired
        | Decided::OwnerNotActive => Code::Revoked,
    }
}
