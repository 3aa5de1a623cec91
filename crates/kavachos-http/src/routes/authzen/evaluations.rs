//! `POST /access/v1/evaluations`: up to 100 decisions, with defaults and an order to stop in.

use axum::extract::State as FromState;
use http::StatusCode;
use kavachos_core::invalid::Invalid;
use kavachos_core::json as strict;
use kavachos_engine::actor::Actor;
use kavachos_engine::{Decision, Error, MAX_QUESTIONS, Question};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::body::Body;
use crate::call::Call;
use crate::error::Failure;
use crate::reply::{Reply, json};
use crate::routes::authzen::evaluation::evaluate;
use crate::routes::authzen::{MEMBERS, Verdict, read};
use crate::state::State;

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    evaluations: Vec<Map<String, Value>>,
    #[serde(default)]
    options: Options,
}

#[derive(Deserialize, Default)]
struct Options {
    #[serde(default)]
    evaluations_semantic: Semantic,
}

/// When to stop.
#[derive(Deserialize, Default, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
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

#[derive(Serialize)]
struct Answers<'a> {
    evaluations: Vec<One<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum One<'a> {
    Decided(Verdict<'a>),
    Failed { decision: bool, context: Why },
}

#[derive(Serialize)]
struct Why {
    error: ErrorForm,
}

#[derive(Serialize)]
struct ErrorForm {
    status: u16,
    message: String,
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    body: Body<Value>,
) -> Reply {
    state.engine.admit_enforcer(&actor).await?;
    let body = body.question()?;
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
    let outcomes = run(&state, asked.collect(), list.options.evaluations_semantic).await?;
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
