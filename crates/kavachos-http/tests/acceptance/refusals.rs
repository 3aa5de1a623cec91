//! What a refusal leaves: an act of management one record that says what it was about, a read none.

use http::Method;
use kavachos_test::{Reply, TestApp, may};
use serde_json::{Value, json};

use crate::routes::{Route, World, routes};
use By::{Operator, Other, Reader};

const NO_AGENT: &str = "agent_01h455vb4pex5vsknk084sn02q";
const NO_USER: &str = "user_01h455vb4pex5vsknk084sn02q";
const NO_GRANT: &str = "grant_01h455vb4pex5vsknk084sn02q";
const NO_KEY: &str = "key_01h455vb4pex5vsknk084sn02q";

/// Who makes a call.
#[derive(Debug, Clone, Copy)]
enum By {
    /// The tests' own key, which may do everything.
    Operator,
    /// A key that may only read the ledger.
    Reader,
    /// The agent `{other}` with its own key.
    Other,
}

/// An act with the code of its refusal.
type Act = (By, &'static str, &'static str);

/// Refused acts with one body, and the members of their records that say what they were about.
struct Refused {
    body: Value,
    about: Value,
    acts: Vec<Act>,
}

impl Refused {
    async fn shown(self) {
        let app = crate::start().await;
        let world = World::new(&app).await;
        let about = world.fill(&self.about.to_string());
        let about: Value = about.parse().unwrap_or_default();
        let body = world.fill(&self.body.to_string());
        for (by, what, code) in self.acts {
            let reply = call(&app, &world, (by, what, &body)).await;
            assert_eq!(reply.code(), code, "{by:?} {what}: {reply}");
            let record = record_of(&app, &reply).await;
            for member in ["agent", "subject", "chain", "details"] {
                let (kept, named) = (record.get(member), about.get(member));
                assert_eq!(kept, named, "{by:?} {what}: {member} of {record}");
            }
        }
    }
}

/// Acts without a body.
async fn each_names(about: Value, acts: Vec<Act>) {
    each_with(json!({}), about, acts).await;
}

async fn each_with(body: Value, about: Value, acts: Vec<Act>) {
    Refused { body, about, acts }.shown().await;
}

async fn call(app: &TestApp, world: &World, (by, what, body): (By, &str, &str)) -> Reply {
    let caller = match by {
        Operator => app.operator(),
        Reader => {
            let key = json!({ "name": "r", "scopes": ["audit:read"] });
            app.call(&app.key(key).await)
        }
        Other => app.call(&world.other.key),
    };
    let (method, path) = what.split_once(' ').unwrap_or_default();
    let path = format!("/api/v1/{}", world.fill(path));
    let method = method.parse().unwrap_or(Method::GET);
    caller.send(method, &path, Some(body.into())).await
}

/// The one record of a request.
async fn record_of(app: &TestApp, reply: &Reply) -> Value {
    let request = reply.header("x-request-id");
    let mut records = app.audit(&format!("requestId={request}")).await;
    assert_eq!(records.len(), 1, "{reply}");
    records.remove(0)
}

#[tokio::test]
async fn the_record_of_a_refused_act_on_an_agent_names_the_agent() {
    let acts = vec![
        (Reader, "PATCH agents/{agent}", "forbidden"),
        (Reader, "DELETE agents/{agent}", "forbidden"),
        (Reader, "POST agents/{agent}/rotate", "forbidden"),
        (Reader, "POST agents/{agent}/suspend", "forbidden"),
        (Operator, "POST agents/{agent}/resume", "conflict"),
        // What an agent may not see is named too: for those who read the ledger.
        (Other, "DELETE agents/{agent}", "not_found"),
    ];
    each_names(json!({ "agent": "{agent}" }), acts).await;
    let missing = "DELETE agents/agent_01h455vb4pex5vsknk084sn02q";
    let acts = vec![
        (Operator, missing, "not_found"),
        (Other, missing, "not_found"),
    ];
    each_names(json!({ "agent": NO_AGENT }), acts).await;
}

#[tokio::test]
async fn the_record_of_a_refused_act_on_a_human_names_them_by_subject() {
    let acts = vec![
        (Reader, "PATCH users/{user}", "forbidden"),
        (Reader, "DELETE users/{user}", "forbidden"),
        (Reader, "POST users/{user}/ban", "forbidden"),
        (Operator, "POST users/{user}/unban", "conflict"),
    ];
    each_names(json!({ "subject": "{user}" }), acts).await;
    let missing = "DELETE users/user_01h455vb4pex5vsknk084sn02q";
    each_names(json!({}), vec![(Operator, missing, "not_found")]).await;
}

#[tokio::test]
async fn the_record_of_a_refused_act_on_a_grant_or_key_names_it_in_its_details() {
    let delegation = "DELETE delegations/{delegation}";
    let details = json!({ "grant": "{delegation}" });
    let acts = vec![(Reader, delegation, "forbidden")];
    each_names(json!({ "details": details }), acts).await;
    // An agent that names no other is itself named, as the one that acts.
    let about = json!({ "agent": "{other}", "details": details });
    each_names(about, vec![(Other, delegation, "not_found")]).await;
    let missing = "DELETE delegations/grant_01h455vb4pex5vsknk084sn02q";
    let about = json!({ "details": { "grant": NO_GRANT } });
    each_names(about, vec![(Operator, missing, "not_found")]).await;

    let acts = vec![
        (Reader, "PATCH keys/{key}", "forbidden"),
        (Reader, "DELETE keys/{key}", "forbidden"),
    ];
    each_names(json!({ "details": { "key": "{key}" } }), acts).await;
    let missing = "DELETE keys/key_01h455vb4pex5vsknk084sn02q";
    let about = json!({ "details": { "key": NO_KEY } });
    each_names(about, vec![(Operator, missing, "not_found")]).await;
}

/// What is not there yet is named by who would stand above it.
#[tokio::test]
async fn the_record_of_a_refused_creation_names_owner_giver_and_receiver() {
    let agent = |owner: &str, parent: Option<&str>| {
        let permissions = may(&["read"], "*");
        json!({
            "ownerId": owner, "name": "n", "type": "service", "parent": parent, "permissions": permissions,
        })
    };
    let new = "POST agents";
    let about = json!({ "chain": ["{agent}"] });
    let acts = vec![(Operator, new, "not_narrower"), (Reader, new, "forbidden")];
    each_with(agent("{agent}", None), about, acts).await;
    let about = json!({ "subject": "{user}" });
    each_with(
        agent("{user}", None),
        about,
        vec![(Reader, new, "forbidden")],
    )
    .await;
    let about = json!({ "agent": "{other}", "subject": "{user}" });
    each_with(
        agent("{user}", None),
        about,
        vec![(Other, new, "forbidden")],
    )
    .await;
    let about = json!({ "chain": ["{agent}"], "details": { "parent": NO_GRANT } });
    let body = agent("{agent}", Some(NO_GRANT));
    each_with(body, about, vec![(Operator, new, "not_found")]).await;

    let delegation = |from: &str| {
        let permissions = may(&["read"], "*");
        json!({ "from": from, "to": "{other}", "permissions": permissions, "reason": "r" })
    };
    let new = "POST delegations";
    let about = json!({ "agent": "{other}", "chain": ["{agent}"] });
    let acts = vec![(Operator, new, "not_narrower"), (Reader, new, "forbidden")];
    each_with(delegation("{agent}"), about, acts).await;
    let about = json!({ "agent": "{other}", "subject": "{user}" });
    each_with(
        delegation("{user}"),
        about,
        vec![(Reader, new, "forbidden")],
    )
    .await;
}

#[tokio::test]
async fn the_record_of_a_refused_question_names_the_agent() {
    let asked = json!({ "agentId": "{agent}", "action": "read", "resource": "mcp:x" });
    let acts = vec![
        (Reader, "POST authorize", "forbidden"),
        (Other, "POST authorize", "forbidden"),
    ];
    each_with(asked, json!({ "agent": "{agent}" }), acts).await;
}

/// The ids of people stay out of the tree, also where an act was refused, and also one that is nobody's.
#[tokio::test]
async fn a_refused_act_puts_nobody_by_their_own_id_into_the_tree() {
    let mut app = crate::setup().in_a_file().start().await;
    let user = app.user().await;
    for id in [&user, NO_USER] {
        let unban = format!("/api/v1/users/{id}/unban");
        let reply = app.operator().post(&unban, json!({})).await;
        assert!([404, 409].contains(&reply.status), "{reply}");
    }
    let bodies: Vec<String> = app
        .restart_after(|database| {
            let mut statement = database
                .prepare("SELECT body FROM ledger WHERE outcome = 'denied'")
                .unwrap();
            let rows = statement.query_map([], |row| row.get(0)).unwrap();
            rows.map(Result::unwrap).collect()
        })
        .await;
    assert_eq!(bodies.len(), 2);
    for id in [&user, NO_USER] {
        assert!(!bodies.concat().contains(id), "{bodies:?}");
    }
    assert!(bodies.concat().contains("\"subject\":"), "{bodies:?}");
}

/// A read is no act: refused or not, it leaves no record. The twin: an act of the same caller does.
#[tokio::test]
async fn a_read_leaves_no_record_and_a_refused_one_none_either() {
    let app = crate::start().await;
    let world = World::new(&app).await;
    let nothing = json!({ "name": "n", "scopes": ["authorize:any"] });
    let nobody = app.call(&app.key(nothing).await);
    let mut refusals = 0;
    // To take the whole ledger out is an act.
    let reads =
        |route: &&Route| route.method == Method::GET && route.path != "/api/v1/audit/export";
    for route in routes().iter().filter(reads) {
        let before = app.head().size;
        let reply = route.call(&nobody, &world).await;
        reply.refused(403, "forbidden");
        route.call(&app.operator(), &world).await.expect(200);
        assert_eq!(app.head().size, before, "{}", route.name());
        refusals += 1;
    }
    assert!(refusals >= 10, "{refusals}");
    for path in [
        format!("agents/{NO_AGENT}"),
        format!("users/{NO_USER}"),
        format!("delegations/{NO_GRANT}"),
        format!("keys/{NO_KEY}"),
    ] {
        let before = app.head().size;
        let path = format!("/api/v1/{path}");
        app.operator().get(&path).await.refused(404, "not_found");
        assert_eq!(app.head().size, before, "{path}");
        nobody.delete(&path).await.refused(403, "forbidden");
        assert_eq!(app.head().size, before + 1, "{path}");
    }
}
