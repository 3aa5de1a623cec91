//! `POST /access/v1/evaluations`: up to 100 decisions, with defaults and an order to stop in.

use axum::extract::State as FromState;
use http::StatusCode;
use kavachos_core::invalid::Invalid;
use kavachos_core::json as strict;
use kavachos_core::json::Object;
use kavachos_engine::actor::{Actor, Scope};
use kavachos_engine::{Decision, Error, MAX_QUESTIONS, Question};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::body;
use crate::call::Call;
use crate::error::Failure;
use crate::operation::{About, Caller, Operation};
use crate::reply::{Bare, Reply, json};
use crate::routes::authzen::evaluation::evaluate;
use crate::routes::authzen::{MEMBERS, Verdict, read};
use crate::state::State;

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    evaluations: Vec<Map<String, Value>>,
    #[serde(default)]
    options: Object<Options>,
}

#[derive(Deserialize, JsonSchema, Default)]
#[schemars(rename = "EvaluationOptions")]
struct Options {
    #[serde(default)]
    evaluations_semantic: Semantic,
}

/// When to stop.
#[derive(Deserialize, JsonSchema, Default, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "EvaluationsSemantic")]
enum Semantic {
    #[default]
    ExecuteAll,
    DenyOnFirstDeny,
    PermitOnFirstPermit,
}

impl Semantic {
    fn ends_with(self, allowed: bool) -> bool {
        match self {
            Self::ExecuteAll => false,
            Self::DenyOnFirstDeny => !allowed,
            Self::PermitOnFirstPermit => allowed,
        }
    }
}

/// What one evaluation came to: a decision, or why there is none, which denies.
type Outcome = Result<Decision, Failure>;

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Evaluated")]
pub(crate) struct Answers<'a> {
    evaluations: Vec<One<'a>>,
}

#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "EvaluatedOne")]
enum One<'a> {
    Decided(Verdict<'a>),
    Failed { decision: bool, context: Why },
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "EvaluationContext")]
struct Why {
    error: ErrorForm,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "EvaluationError")]
struct ErrorForm {
    /// The status that it would have had alone.
    status: u16,
    message: String,
}

/// Several, or, where none are listed, the one that stands beside the list.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(
    dead_code,
    reason = "it is written as one or the other; this is its form"
)]
pub(crate) enum OneOrAll<'a> {
    All(Answers<'a>),
    One(Verdict<'a>),
}

/// What is sent: it is read one by one, since each may leave out what stands beside the list.
#[derive(JsonSchema)]
#[schemars(rename = "Evaluations")]
#[expect(
    dead_code,
    reason = "the members are read from the JSON; this is its form"
)]
struct Form {
    /// Each is an `Evaluation` that may leave out what stands beside the list; one that cannot be read denies itself.
    #[schemars(length(max = MAX_QUESTIONS))]
    evaluations: Option<Vec<Map<String, Value>>>,
    options: Option<Options>,
    /// For all that name none, as in `Evaluation`.
    subject: Option<Value>,
    /// For all that name none, as in `Evaluation`.
    action: Option<Value>,
    /// For all that name none, as in `Evaluation`.
    resource: Option<Value>,
    /// For all that have none, as in `Evaluation`.
    context: Option<Value>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub(crate) struct Ask(#[schemars(with = "Form")] Value);

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "evaluateAll",
        tag: "AuthZEN",
        summary: "Ask for up to 100 decisions in the form of AuthZEN 1.0",
        text: "One that cannot be read or may not be asked denies itself alone, with `context.error`.",
        callers: &[Caller::Operator(Scope::AuthorizeAny), Caller::ToolServer],
    };
    Operation::post("/access/v1/evaluations", ABOUT, handle).in_plain_words()
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    body::Question(Ask(body)): body::Question<Ask>,
) -> Reply<Bare<OneOrAll<'static>>> {
    state.engine.admit_enforcer(&actor).await?;
    let list: List = strict::read(&body)?;
    if list.evaluations.is_empty() {
        return evaluate(&state, actor, &body).await;
    }
    if list.evaluations.len() > MAX_QUESTIONS {
        let message = format!("ask for at most {MAX_QUESTIONS} evaluations at once");
        return Err(Invalid::at("evaluations", message).into());
    }
    let asked = list.evaluations.into_iter().map(|mut one| {
        for name in MEMBERS {
            if let (None, Some(default)) = (one.get(name), body.get(name)) {
                one.insert(name.to_owned(), default.clone());
            }
        }
        read(&Value::Object(one), actor.clone())
    });
    let outcomes = run(&state, asked.collect(), list.options.0.evaluations_semantic).await?;
    let decisions = outcomes.iter().flatten();
    decisions.for_each(|decision| state.metrics.decided(decision));
    let evaluations = outcomes.iter().map(One::of).collect();
    json(StatusCode::OK, &Answers { evaluations })
}

/// Asks together what is asked in any case, and one after the other where an answer may end it.
async fn run(
    state: &State,
    asked: Vec<Result<(Actor, Question), Invalid>>,
    semantic: Semantic,
) -> Result<Vec<Outcome>, Failure> {
    if semantic == Semantic::ExecuteAll {
        let questions: Vec<_> = asked.iter().flatten().cloned().collect();
        let mut decisions = state.engine.authorize_each(&questions).await.into_iter();
        let outcome = |asked: Result<_, Invalid>| match asked {
            Ok(_) => settled(decisions.next().unwrap_or(Err(Error::Busy))),
            Err(invalid) => Ok(Err(invalid.into())),
        };
        return asked.into_iter().map(outcome).collect();
    }
    let mut outcomes: Vec<Outcome> = Vec::with_capacity(asked.len());
    for asked in asked {
        let outcome = match asked {
            Ok((actor, question)) => settled(state.engine.authorize(&actor, &question).await)?,
            Err(invalid) => Err(invalid.into()),
        };
        let allowed = outcome.as_ref().is_ok_and(|decision| decision.allowed);
        outcomes.push(outcome);
        if semantic.ends_with(allowed) {
            break;
        }
    }
    Ok(outcomes)
}

/// What the caller may not ask is an error of this evaluation alone; what fails on our side is one of the whole request.
fn settled(decision: kavachos_engine::Result<Decision>) -> Result<Outcome, Failure> {
    match decision {
        Ok(decision) => Ok(Ok(decision)),
        Err(error @ (Error::Invalid(_) | Error::Forbidden(_))) => Ok(Err(error.into())),
        Err(error) => Err(error.into()),
    }
}

impl<'a> One<'a> {
    fn of(outcome: &'a Outcome) -> Self {
        match outcome {
            Ok(decision) => Self::Decided(Verdict::of(decision)),
            Err(failure) => Self::Failed {
                decision: false,
                context: Why {
                    error: ErrorForm {
                        status: failure.status().as_u16(),
                        message: failure.shown(),
                    },
                },
            },
        }
    }
}
