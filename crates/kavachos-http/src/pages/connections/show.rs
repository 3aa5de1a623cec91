//! `GET /account/connections/{id}`: one application, what the human said yes to, and where it is used.

use kavachos_core::id::{AgentId, kind};
use kavachos_engine::{Connection, ConnectionLine, ConnectionResource};

use super::list::is_gone;
use crate::pages::at::At;
use crate::pages::browser::Browser;
use crate::pages::html::{self, Runs};
use crate::pages::view::{self, Notice, Room};
use crate::pages::{Shown, words};
use crate::routes::PathId;

pub(super) async fn handle(at: At<Browser>, PathId(id): PathId<kind::Agent>) -> Shown {
    show(&at, id, None).await
}

pub(super) async fn show(at: &At<Browser>, id: AgentId, notice: Option<Notice>) -> Shown {
    let one = at.engine().connection(&at.who.actor, id).await?;
    let mut shell = at.shell(Room::Connections, one.name.clone()).await?;
    shell.frame.notice = notice;
    let page = format!("/account/connections/{id}");
    let gone = is_gone(&one);
    let lines = one.lines.iter();
    let (over, live): (Vec<_>, Vec<_>) = lines.partition(|line| gone || line.status == "ended");
    // What was never used and is over was nothing.
    let over = over.into_iter().filter(|line| line.used_at.is_some());
    let page = view::Connection {
        shell,
        name: one.name.clone(),
        status: words::status(one.status),
        word: words::said_by(&one.source, one.host.as_deref()),
        places: one
            .resources
            .iter()
            .map(|to| place(at, to, (&page, gone)))
            .collect(),
        lines: live.into_iter().map(|of| line(at, &one, of)).collect(),
        over: over.map(|of| line(at, &one, of)).collect(),
        facts: facts(&one),
        end: (!gone).then(|| format!("{page}/end")),
        agent: format!("/account/agents/{id}"),
        activity: format!("/account/activity?agent={id}"),
    };
    html::page(Runs::Nothing, &page)
}

fn place(
    at: &At<Browser>,
    to: &ConnectionResource,
    (page, gone): (&str, bool),
) -> view::ConnectedPlace {
    let now = at.engine().now();
    let withdraw = || format!("{page}/consents/{}/withdraw", to.resource_id);
    let scopes = to.scopes.iter();
    view::ConnectedPlace {
        name: to.name.clone(),
        address: to.audience.clone(),
        scopes: scopes
            .map(|scope| {
                // Of what ended altogether nothing is had, which is said once.
                let held = scope.held || gone;
                (scope.description.clone(), scope.name.clone(), held)
            })
            .collect(),
        since: words::time(to.since, now),
        used: to.used_at.map(|used| words::time(used, now)),
        withdraw: to.remembered_since.filter(|_| !gone).map(|_| withdraw()),
    }
}

fn line(at: &At<Browser>, one: &Connection, line: &ConnectionLine) -> view::ConnectedLine {
    let now = at.engine().now();
    let name = |id: &_| one.resources.iter().find(|to| to.resource_id == *id);
    let names = line.resources.iter().filter_map(name);
    let names: Vec<&str> = names.map(|to| to.name.as_str()).collect();
    view::ConnectedLine {
        since: words::time(line.since, now),
        used: line.used_at.map(|used| words::time(used, now)),
        ends: line.ends_at.map(|ends| words::time(ends, now)),
        places: names.join(", "),
        bound: line.bound,
        waits: line.status == "waiting",
        end: format!(
            "/account/connections/{}/lines/{}/end",
            one.agent_id, line.id
        ),
    }
}

fn facts(one: &Connection) -> Vec<(&'static str, String)> {
    vec![
        ("Let in first", words::date(one.since)),
        ("It may send you to", one.redirect_hosts.join(", ")),
        ("Known as", one.client_id.clone()),
    ]
}
