//! Hooks: the program around the engine may deny what would be allowed, and is told what happened.
//!
//! Promises: a hook turns an allow into a denial and nothing else into anything; one that fails, panics or is late denies;
//! a denial by a hook takes from no counter, uses no approval up and is one record. Every decision goes through
//! `Engine::vetoed`, and so does the dry run. What only observes is told after the commit, from a queue of its own
//! (`observers`), and can neither delay nor change anything. Without hooks none of this is reached.

mod observers;

use std::error::Error as StdError;
use std::future::ready;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::{Either, select};
use kavachos_core::action::Action;
use kavachos_core::constraint::Cost;
use kavachos_core::decide::Facts;
use kavachos_core::id::{AgentId, GrantId, KeyId, RequestId, SessionId, ToolServerId, UserId};
use kavachos_core::resource::Resource;
use kavachos_store::BoxFuture;
use serde_json::Value;

use crate::asking::{Asking, Judged};
use crate::authorize::{Asked, Decision, ancestors};
use crate::engine::Engine;

use observers::Watcher;

/// The most of a hook's reason that is told, in bytes.
const MAX_WHY_BYTES: usize = 200;

/// Something that the program around the engine is asked or told. Every method has a default that does nothing.
///
/// ```
/// use kavachos_engine::hooks::{Hook, HookedCall, Verdict, Vetoing};
///
/// /// Nothing is deployed while the doors are shut.
/// struct Doors;
///
/// impl Hook for Doors {
///     fn name(&self) -> &'static str {
///         "doors"
///     }
///
///     fn before_authorize<'a>(&'a self, call: &'a HookedCall<'a>) -> Vetoing<'a> {
///         Box::pin(async move {
///             if call.action.as_str() == "deploy" {
///                 return Ok(Verdict::Deny("the doors are shut".to_owned()));
///             }
///             Ok(Verdict::Pass)
///         })
///     }
/// }
/// ```
pub trait Hook: Send + Sync {
    /// Its name, in reasons and records.
    fn name(&self) -> &'static str;

    /// May deny what everything else permits. It is asked about nothing but what would be allowed, and again when the
    /// decision has to be made again. All hooks together have [`crate::Settings::hook_time_limit`]; whoever is late, fails
    /// or panics denies.
    fn before_authorize<'a>(&'a self, call: &'a HookedCall<'a>) -> Vetoing<'a> {
        let _ = call;
        Box::pin(ready(Ok(Verdict::Pass)))
    }

    /// Is told of every decision that is on record.
    fn after_authorize<'a>(&'a self, decided: &'a Decided) -> BoxFuture<'a, ()> {
        let _ = decided;
        Box::pin(ready(()))
    }

    /// Is told of every denial that is on record, after [`Hook::after_authorize`].
    fn on_denied<'a>(&'a self, decided: &'a Decided) -> BoxFuture<'a, ()> {
        let _ = decided;
        Box::pin(ready(()))
    }

    /// Is told of every act that stopped something: what was issued before it is accepted no longer.
    fn on_revoked<'a>(&'a self, stopped: &'a Stopped) -> BoxFuture<'a, ()> {
        let _ = stopped;
        Box::pin(ready(()))
    }
}

/// What [`Hook::before_authorize`] answers. The words of an error are for the log alone.
pub type Vetoing<'a> = BoxFuture<'a, Result<Verdict, Box<dyn StdError + Send + Sync>>>;

/// What a hook says of a call that would be allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing against it.
    Pass,
    /// It is denied. The reason is told to the caller and stands in the record for ever: name nobody in it.
    Deny(String),
}

/// Why a hook is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The call is being decided.
    Decide,
    /// Somebody asks how it would be decided. Count nothing.
    Explain,
}

/// The call that a hook is asked about. No credential is in it.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct HookedCall<'a> {
    /// Whether it counts.
    pub purpose: Purpose,
    /// The id of the request.
    pub request: RequestId,
    /// The agent that wants to act.
    pub agent: AgentId,
    /// The human for whom.
    pub human: Option<UserId>,
    /// The agents between them.
    pub chain: &'a [AgentId],
    /// What it wants to do.
    pub action: &'a Action,
    /// To what.
    pub resource: &'a Resource,
    /// With which arguments, where the caller states them.
    pub arguments: Option<&'a Value>,
    /// What it costs, where that is stated.
    pub cost: Option<&'a Cost>,
    /// Where the call comes from.
    pub ip: Option<IpAddr>,
    /// What the caller says it is.
    pub user_agent: Option<&'a str>,
}

/// A decision that is on record.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Decided {
    /// The agent.
    pub agent: AgentId,
    /// The human for whom.
    pub human: Option<UserId>,
    /// What it wanted to do.
    pub action: String,
    /// To what.
    pub resource: String,
    /// The answer.
    pub decision: Decision,
}

/// Something that was stopped, with a record of this kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stopped {
    /// The kind of the record: `agent.revoked`, `user.banned`, `agent.updated` where less is allowed than before.
    pub kind: &'static str,
    /// The agent that it is about.
    pub agent: Option<AgentId>,
    /// The human that it is about.
    pub human: Option<UserId>,
    /// The grant that it is about.
    pub grant: Option<GrantId>,
    /// The operator key that it is about.
    pub key: Option<KeyId>,
    /// The session that it is about.
    pub session: Option<SessionId>,
    /// The tool server that it is about.
    pub tool_server: Option<ToolServerId>,
}

/// A hook's denial, as it is told and recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Veto {
    pub(crate) hook: &'static str,
    pub(crate) why: String,
}

/// The hooks of one engine, in the order in which they are asked.
#[derive(Default)]
pub(crate) struct Hooks(Vec<Arc<Watcher>>);

impl Hooks {
    pub(crate) fn new(hooks: Vec<Arc<dyn Hook>>) -> Self {
        Self(hooks.into_iter().map(Watcher::of).collect())
    }

    /// Whether there is any: where there is none, nothing is gathered for them.
    pub(crate) fn any(&self) -> bool {
        !self.0.is_empty()
    }
}

impl Engine {
    /// An allow, as the hooks leave it. The caller asks only where there are hooks, and only about an allow.
    pub(crate) async fn vetoed(
        &self,
        judged: Judged,
        (facts, asked): (&Facts, &Asked<'_>),
        purpose: Purpose,
    ) -> Judged {
        let winner = judged.decision.winner;
        match self.veto((facts, winner), asked, purpose).await {
            None => judged,
            Some(veto) => Judged {
                decision: judged.decision.denied_by_hook(),
                asking: Asking::Nothing,
                veto: Some(veto),
            },
        }
    }

    /// What the hooks have against a call that would be allowed along the path that won.
    pub(crate) async fn veto(
        &self,
        (facts, winner): (&Facts, Option<usize>),
        asked: &Asked<'_>,
        purpose: Purpose,
    ) -> Option<Veto> {
        let path = winner.and_then(|winner| facts.paths.get(winner));
        let chain = ancestors(facts, path);
        let request = &asked.question.request;
        let human = path.map(|path| &path.user).or(facts.user.as_ref());
        let call = HookedCall {
            purpose,
            request: asked.actor.request,
            agent: asked.agent,
            human: human.map(|user| user.id),
            chain: &chain,
            action: &request.action,
            resource: &request.resource,
            arguments: request.arguments.as_ref(),
            cost: request.cost.as_ref(),
            ip: request.ip,
            user_agent: asked.actor.user_agent.as_deref(),
        };
        self.ask_hooks(&call).await
    }

    async fn ask_hooks(&self, call: &HookedCall<'_>) -> Option<Veto> {
        let limit = self.settings().hook_time_limit;
        let began = self.now();
        let mut late = pin!(self.sleep(limit));
        for watcher in &self.hooks().0 {
            let hook = watcher.hook();
            let asked = AssertUnwindSafe(async { hook.before_authorize(call).await });
            let said = match select(pin!(asked.catch_unwind()), late.as_mut()).await {
                Either::Left((said, _)) => Some(said),
                Either::Right(_) => None,
            };
            // A hook that held the thread is late too, though no timer could say so.
            let in_time = said.filter(|_| self.now().since(began) <= limit);
            let veto = match in_time {
                Some(Ok(Ok(Verdict::Pass))) => continue,
                Some(Ok(Ok(Verdict::Deny(why)))) => Veto::said(hook.name(), &why),
                Some(Ok(Err(error))) => {
                    tracing::warn!(hook = hook.name(), %error, "a hook failed, so it denies");
                    Veto::fault(hook.name(), "it failed")
                }
                Some(Err(_)) => {
                    tracing::error!(hook = hook.name(), "a hook panicked, so it denies");
                    Veto::fault(hook.name(), "it failed")
                }
                None => {
                    tracing::warn!(hook = hook.name(), "a hook was late, so it denies");
                    Veto::fault(hook.name(), "it did not answer in time")
                }
            };
            return Some(veto);
        }
        None
    }

    /// Tells the observers of a decision that is on record.
    pub(crate) fn tell_decided(&self, (facts, asked): (&Facts, &Asked<'_>), decision: &Decision) {
        let request = &asked.question.request;
        let human = (asked.question.on_behalf_of).or(facts.user.as_ref().map(|user| user.id));
        self.tell_hooks(&Arc::new(Event::Decided(Decided {
            agent: asked.agent,
            human,
            action: request.action.as_str().to_owned(),
            resource: request.resource.as_str().to_owned(),
            decision: decision.clone(),
        })));
    }

    /// Tells the observers of something that was stopped.
    pub(crate) fn tell_stopped(&self, stopped: Stopped) {
        self.tell_hooks(&Arc::new(Event::Stopped(stopped)));
    }

    fn tell_hooks(&self, event: &Arc<Event>) {
        for watcher in &self.hooks().0 {
            watcher.tell(self, Arc::clone(event));
        }
    }

    /// How many times an observing hook was not told of something because it was too far behind.
    pub fn observations_dropped(&self) -> u64 {
        let dropped = self.hooks().0.iter().map(|watcher| watcher.dropped());
        dropped.fold(0, u64::saturating_add)
    }
}

/// What observers are told.
enum Event {
    Decided(Decided),
    Stopped(Stopped),
}

impl Veto {
    /// A denial in the hook's own words, as far as they are fit to be shown.
    fn said(hook: &'static str, why: &str) -> Self {
        let end = why.floor_char_boundary(MAX_WHY_BYTES);
        let told = why.get(..end).unwrap_or_default();
        let told: String = told.chars().filter(|c| !c.is_control()).collect();
        match told.trim() {
            "" => Self::fault(hook, "it denies this call"),
            told => Self {
                hook,
                why: told.to_owned(),
            },
        }
    }

    fn fault(hook: &'static str, why: &str) -> Self {
        Self {
            hook,
            why: why.to_owned(),
        }
    }

    /// The code in words, with the hook's.
    pub(crate) fn reason(&self) -> String {
        format!("the hook `{}` denies it: {}", self.hook, self.why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hooks_words_are_shown_plain_and_short() {
        let veto = Veto::said("doors", "shut\u{0}\nfor good");
        assert_eq!(veto.reason(), "the hook `doors` denies it: shutfor good");
        let long = Veto::said("doors", &"ä".repeat(1_000));
        assert_eq!(long.why.len(), MAX_WHY_BYTES);
        assert_eq!(Veto::said("doors", " ").why, "it denies this call");
    }
}
