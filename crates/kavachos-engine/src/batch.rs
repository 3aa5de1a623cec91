//! Several questions at once: each is its own decision with its own record.
//!
//! They go to the writer together and in their order, so that they are committed as one group and a limit gives to the
//! first of them. A batch is answered whole or not at all; what was decided before something failed is on record.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use kavachos_core::id::AgentId;
use kavachos_core::invalid::Invalid;

use crate::act::Act;
use crate::actor::{Actor, Caller, Scope};
use crate::authorize::{Asked, Decision, Question};
use crate::engine::Engine;
use crate::error::{Error, Result};

/// The most questions of one batch.
pub const MAX_QUESTIONS: usize = 100;

impl Engine {
    /// Decides every question; the answers stand in the order of the questions.
    ///
    /// Each question comes with its actor, since an operator says of each where the call came from.
    ///
    /// # Errors
    /// Those of [`Engine::authorize`], for the first question that has one. Where the caller may not ask one of them,
    /// none is decided.
    pub async fn authorize_all(&self, questions: &[(Actor, Question)]) -> Result<Vec<Decision>> {
        check_count(questions.len())?;
        for (index, (actor, question)) in questions.iter().enumerate() {
            let asked = self.admit_question(actor, question).await;
            asked.map_err(|error| at(index, error))?;
        }
        self.authorize_each(questions).await.into_iter().collect()
    }

    /// Decides every question, at most [`MAX_QUESTIONS`]; each has its own answer or error, in their order.
    pub async fn authorize_each(&self, questions: &[(Actor, Question)]) -> Vec<Result<Decision>> {
        let questions = || questions.iter().take(MAX_QUESTIONS);
        self.warm(questions()).await;
        let decisions = questions().map(|(actor, question)| self.authorize(actor, question));
        join_all(decisions).await
    }

    /// Refuses all but those who stand before a tool: tool servers, and operators who may ask about any agent.
    ///
    /// # Errors
    /// [`Error::Forbidden`], on record.
    pub async fn admit_enforcer(&self, actor: &Actor) -> Result<()> {
        let admitted = match &actor.caller {
            Caller::ToolServer(_) => return Ok(()),
            _ => actor.require(Scope::AuthorizeAny),
        };
        match admitted {
            Ok(()) => Ok(()),
            Err(error) => {
                let act = Act::decision(actor.agent(), None);
                Err(self.refused(actor, act, error).await?)
            }
        }
    }

    /// The agent that a question is about, if its caller may ask it; a refusal is on record.
    async fn admit_question(&self, actor: &Actor, question: &Question) -> Result<()> {
        match Asked::new(actor, question) {
            Ok(_) => Ok(()),
            Err(error) if error.is_refusal() => {
                let act = Act::decision(question.agent, question.on_behalf_of);
                Err(self.refused(actor, act, error).await?)
            }
            Err(error) => Err(error),
        }
    }

    /// Reads what is missing of their agents. A question that had to wait for it would go to the writer after others.
    async fn warm(&self, questions: impl Iterator<Item = &(Actor, Question)>) {
        let asked = questions.filter_map(|(actor, question)| Asked::new(actor, question).ok());
        let agents: BTreeSet<AgentId> = asked.map(|asked| asked.agent).collect();
        for agent in agents {
            // What cannot be read is an error of the question that needs it.
            let _ = self.facts(agent).await;
        }
    }
}

fn check_count(count: usize) -> Result<()> {
    if (1..=MAX_QUESTIONS).contains(&count) {
        return Ok(());
    }
    let message = format!("ask 1 to {MAX_QUESTIONS} questions; these are {count}");
    Err(Invalid::at("requests", message).into())
}

fn at(index: usize, error: Error) -> Error {
    match error {
        Error::Invalid(invalid) => Error::Invalid(invalid.within(&format!("requests[{index}]"))),
        other => other,
    }
}
