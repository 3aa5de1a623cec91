//! Stopping an agent, letting it rest, taking back what was handed on: each asked about on a page of its own, since no
//! script asks.

use axum::routing::{MethodRouter, get};
use kavachos_core::id::{AgentId, GrantId, kind};
use kavachos_engine::Revoked;

use super::list;
use super::tree::{Tree, names, size};
use crate::error::Failure;
use crate::pages::Shown;
use crate::pages::at::{At, Sent};
use crate::pages::browser::Browser;
use crate::pages::html::{self, Runs};
use crate::pages::view::{ConfirmAct, Room};
use crate::routes::PathId;
use crate::state::State;

/// How an agent comes to rest.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    /// For good.
    Stop,
    /// Until whoever runs the server lets it go on.
    Suspend,
}

impl End {
    /// The page that asks, and what its button does.
    pub(super) fn routes(self) -> MethodRouter<State> {
        let ask = move |at: At<Browser>, PathId(id): PathId<kind::Agent>| async move {
            html::page(Runs::Nothing, &self.question(&at, id).await?)
        };
        let end = move |PathId(id): PathId<kind::Agent>, Sent { at, .. }: Sent<Browser>| async move {
            let name = at.engine().agent(&at.who.actor, id).await?.name;
            ended(&at, &name, &self.end(&at, id).await?).await
        };
        get(ask).post(end)
    }

    async fn end(self, at: &At<Browser>, id: AgentId) -> Result<Revoked, Failure> {
        Ok(match self {
            Self::Stop => at.engine().revoke_agent(&at.who.actor, id).await?,
            Self::Suspend => at.engine().suspend_agent(&at.who.actor, id).await?.thing,
        })
    }

    async fn question(self, at: &At<Browser>, id: AgentId) -> Result<ConfirmAct, Failure> {
        let agent = at.engine().agent(&at.who.actor, id).await?;
        let tree = Tree::read(at, None).await?.with(&agent);
        let others = below(size(&tree.agent(&agent, 0)), tree.is_whole);
        let page = format!("/account/agents/{id}");
        let (verb, path) = match self {
            Self::Stop => ("Stop", "stop"),
            Self::Suspend => ("Suspend", "suspend"),
        };
        let (text, consequences) = match self {
            Self::Stop => (
                "This is for good: a stopped agent is never started again.",
                vec![
                    "Its key stops working at once.".to_owned(),
                    others,
                    "What it did stays on record.".to_owned(),
                ],
            ),
            Self::Suspend => (
                "It may do nothing until whoever runs this server lets it go on.",
                vec![
                    "Its key stops working at once, for good.".to_owned(),
                    others,
                ],
            ),
        };
        Ok(ConfirmAct {
            shell: at
                .shell(Room::Agents, format!("{verb} {}?", agent.name))
                .await?,
            text: text.to_owned(),
            consequences,
            fields: Vec::new(),
            action: format!("{page}/{path}"),
            button: match self {
                Self::Stop => "Stop it",
                Self::Suspend => "Suspend it",
            },
            back: page,
        })
    }
}

/// How many agents and delegations stop with an agent, in words; where not all were looked at, how many at least.
fn below(count: u64, is_all: bool) -> String {
    match (count, is_all) {
        (0, true) => "Nothing else depends on it.".to_owned(),
        (0 | 1, _) => "What stands below it stops with it.".to_owned(),
        (count, true) => format!("{count} agents and delegations below it stop with it."),
        (count, false) => {
            format!("At least {count} agents and delegations below it stop with it.")
        }
    }
}

/// The agents as they are now, with what is ended.
async fn ended(at: &At<Browser>, what: &str, revoked: &Revoked) -> Shown {
    let tree = Tree::read(at, None).await?;
    list::show(at, &tree, Some(list::stopped(what, revoked))).await
}

pub(super) async fn ask_to_take_back(at: At<Browser>, PathId(id): PathId<kind::Grant>) -> Shown {
    let (from, to) = ends(&at, id).await?;
    let page = ConfirmAct {
        shell: at.shell(Room::Agents, "Take this authority back?").await?,
        text: "This is for good. It can be handed on anew.".to_owned(),
        consequences: vec![
            format!("{to} may no longer do what {from} handed on to it."),
            "What it handed on in turn is gone, too.".to_owned(),
        ],
        fields: Vec::new(),
        action: format!("/account/delegations/{id}/stop"),
        button: "Take it back",
        back: "/account/agents".to_owned(),
    };
    html::page(Runs::Nothing, &page)
}

/// The names of who gave a grant and who has it.
async fn ends(at: &At<Browser>, id: GrantId) -> Result<(String, String), Failure> {
    let grant = at.engine().delegation(&at.who.actor, id).await?;
    let names = names(at).await?;
    let name = |id: String| {
        let known = names.get(&id).cloned();
        known.unwrap_or_else(|| "another agent".to_owned())
    };
    Ok((name(grant.from.to_string()), name(grant.to.to_string())))
}

pub(super) async fn take_back(
    PathId(id): PathId<kind::Grant>,
    Sent { at, .. }: Sent<Browser>,
) -> Shown {
    let revoked = at.engine().revoke_delegation(&at.who.actor, id).await?;
    ended(&at, "What was handed on", &revoked).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_looked_at_is_not_said_to_be_nothing() {
        assert_eq!(below(0, true), "Nothing else depends on it.");
        assert_eq!(below(0, false), "What stands below it stops with it.");
        assert_eq!(
            below(7, true),
            "7 agents and delegations below it stop with it."
        );
        assert!(below(7, false).starts_with("At least 7 "));
    }
}
