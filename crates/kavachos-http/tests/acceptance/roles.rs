//! Roles: what admins and owners reach, what they do not, and that one owner stays. Lessons C 2, 21, 42.

use futures_util::future::join_all;
use http::Method;
use kavachos_test::{Reply, TestApp};
use serde_json::{Value, json};

use crate::routes::{self, Route, Session, World};

/// What an admin's session may do like an operator's key.
const ADMINS: [&str; 4] = ["users:read", "users:write", "sessions:write", "agents:read"];

/// A human with this role, and a session of theirs.
pub(crate) struct Human {
    pub(crate) id: String,
    pub(crate) token: String,
    pub(crate) session: String,
}

impl Human {
    pub(crate) async fn with_role(app: &TestApp, role: &str) -> Self {
        let body = json!({ "name": role, "role": role });
        let made = app.operator().post("/api/v1/users", body).await;
        let made = made.expect(201);
        assert_eq!(made.at("/data/role"), role);
        Self::signed_in(app, made.id()).await
    }

    pub(crate) async fn signed_in(app: &TestApp, id: &str) -> Self {
        let session = app.session(id).await;
        Self {
            id: id.to_owned(),
            token: session.token,
            session: session.id,
        }
    }
}

/// What a human with this role gets at a route about somebody else's things.
fn expected(route: &Route, role: &str) -> (u16, &'static str) {
    let is_list = !route.path.contains('{');
    let own = route.session == Session::ForItsHuman;
    let stops = [
        "DELETE /api/v1/agents/{agent}",
        "POST /api/v1/agents/{agent}/suspend",
    ]
    .contains(&route.name().as_str())
        || route.name() == "DELETE /api/v1/delegations/{delegation}"
        || route.name().starts_with("DELETE /api/v1/connections/");
    let reaches = match role {
        "owner" => true,
        "admin" => ADMINS.contains(&route.scope) || route.scope == "audit:read" || stops,
        _ => false,
    };
    let never = match route.name().as_str() {
        "POST /api/v1/users/{user}/sessions" => true,
        "POST /api/v1/users/admit" => role != "owner",
        _ => false,
    };
    if (reaches && !never) || (own && is_list) {
        return (200, "");
    }
    match own {
        true => (404, "not_found"),
        false => (403, "forbidden"),
    }
}

/// Whether the reply is what is expected; any success is one.
#[track_caller]
fn check(route: &Route, role: &str, reply: &Reply, (status, code): (u16, &str)) {
    let what = format!("{} as {role}: {reply}", route.name());
    if status == 200 {
        assert!(reply.status < 300, "{what}");
    } else {
        assert_eq!(reply.status, status, "{what}");
        route.refused(reply, status, code);
    }
}

#[tokio::test]
async fn each_role_reaches_what_is_its_own_to_reach_and_nothing_else() {
    for role in ["member", "admin", "owner"] {
        let app = crate::start().await;
        let world = World::new(&app).await;
        let caller = Human::with_role(&app, role).await;
        for route in routes::routes() {
            let expected = expected(&route, role);
            let changes = route.method != Method::GET;
            if expected.0 == 200 && changes {
                let app = crate::start().await;
                let world = World::new(&app).await;
                let caller = Human::with_role(&app, role).await;
                let reply = route.call(&app.call(&caller.token), &world).await;
                check(&route, role, &reply, expected);
            } else {
                let reply = route.call(&app.call(&caller.token), &world).await;
                check(&route, role, &reply, expected);
            }
        }
    }
}

#[tokio::test]
async fn a_role_changes_nothing_in_a_session_that_is_not_fresh() {
    for role in ["admin", "owner"] {
        for (seconds, status) in [(599, 200), (600, 403)] {
            let app = crate::start().await;
            let caller = Human::with_role(&app, role).await;
            let member = app.user().await;
            let agent = app
                .agent(&member, kavachos_test::may(&["read"], "mcp:x"))
                .await;
            app.advance(seconds);
            let caller = app.call(&caller.token);
            caller.get("/api/v1/users").await.expect(200);
            let path = format!("/api/v1/agents/{}", agent.id);
            caller.get(&path).await.expect(200);
            assert_eq!(caller.delete(&path).await.status, status);
            let path = format!("/api/v1/users/{member}/ban");
            assert_eq!(caller.post(&path, json!({})).await.status, status);
        }
    }
}

/// Lessons C 42: whoever is as high as the caller is out of reach, and so is the caller.
#[tokio::test]
async fn an_admin_touches_members_only() {
    let app = crate::start().await;
    let admin = Human::with_role(&app, "admin").await;
    let spare = Human::with_role(&app, "owner").await;
    for role in ["member", "admin", "owner", "self"] {
        let target = match role {
            "self" => Human::signed_in(&app, &admin.id).await,
            role => Human::with_role(&app, role).await,
        };
        let of = format!("/api/v1/users/{}", target.id);
        let acts = [
            (Method::PATCH, String::new(), json!({ "name": "n" })),
            (Method::POST, "/require-reset".to_owned(), json!({})),
            (Method::POST, "/remove-factors".to_owned(), json!({})),
            (
                Method::POST,
                "/impersonate".to_owned(),
                json!({ "reason": "r" }),
            ),
            (Method::DELETE, "/sessions".to_owned(), Value::Null),
            (Method::POST, "/ban".to_owned(), json!({})),
            (Method::POST, "/unban".to_owned(), json!({})),
            (Method::DELETE, String::new(), Value::Null),
        ];
        for (method, rest, body) in acts {
            // One's own sessions one ends whatever one is.
            let own = role == "self" && rest == "/sessions";
            if own {
                continue;
            }
            let path = format!("{of}{rest}");
            let body = (!body.is_null()).then(|| body.to_string().into_bytes());
            let reply = app.call(&admin.token).send(method, &path, body).await;
            match role {
                "member" => assert!(reply.status < 300, "{path}: {reply}"),
                _ => drop(reply.refused(403, "forbidden")),
            }
        }
        if matches!(role, "admin" | "owner") {
            let path = format!("/api/v1/sessions/{}", target.session);
            let caller = app.call(&admin.token);
            caller.delete(&path).await.refused(403, "forbidden");
        }
    }
    // The twin: an owner does all of it to an admin.
    let path = format!("/api/v1/users/{}", admin.id);
    let owner = app.call(&spare.token);
    owner.patch(&path, json!({ "name": "n" })).await.expect(200);
    owner.delete(&path).await.expect(200);
    app.call(&admin.token)
        .get("/api/v1/users")
        .await
        .refused(401, "unauthenticated");
}

#[tokio::test]
async fn an_admin_moves_nobody_to_an_address_of_their_own() {
    let app = crate::start().await;
    let member = app.user().await;
    let path = format!("/api/v1/users/{member}");
    for (role, status) in [("admin", 403), ("owner", 200)] {
        let caller = Human::with_role(&app, role).await;
        let body = json!({ "email": format!("{role}@example.com") });
        let reply = app.call(&caller.token).patch(&path, body).await;
        assert_eq!(reply.status, status, "{reply}");
    }
}

#[tokio::test]
async fn roles_are_given_by_whoever_may_all_that_they_may() {
    const ADMIN: [&str; 6] = [
        "agents:read",
        "audit:read",
        "sessions:write",
        "users:impersonate",
        "users:read",
        "users:write",
    ];
    let app = crate::start().await;
    let everything = kavachos_test::may(&["*"], "*");
    let key = async |scopes: &[&str], ceiling: Option<&Value>| {
        let mut body = json!({ "name": "k", "scopes": scopes });
        if let Some(ceiling) = ceiling {
            body["ceiling"] = ceiling.clone();
        }
        app.key(body).await
    };
    let callers = [
        (
            "member",
            Human::with_role(&app, "member").await.token,
            403,
            403,
        ),
        (
            "admin",
            Human::with_role(&app, "admin").await.token,
            403,
            403,
        ),
        (
            "owner",
            Human::with_role(&app, "owner").await.token,
            200,
            200,
        ),
        ("users:write", key(&["users:write"], None).await, 403, 403),
        ("as an admin", key(&ADMIN, None).await, 200, 403),
        ("bounded", key(&["*"], Some(&everything)).await, 403, 403),
        ("every scope", key(&["*"], None).await, 200, 200),
    ];
    for (who, token, to_admin, to_owner) in callers {
        for (role, status) in [("admin", to_admin), ("owner", to_owner)] {
            let caller = app.call(&token);
            let body = json!({ "name": "n", "role": role });
            let made = caller.post("/api/v1/users", body).await;
            assert_eq!(made.status == 201, status == 200, "{who} {role}: {made}");
            let path = format!("/api/v1/users/{}/role", app.user().await);
            let given = caller.post(&path, json!({ "role": role })).await;
            assert_eq!(given.status, status, "{who} {role}: {given}");
            // What one may not give, one may not take either.
            let path = format!(
                "/api/v1/users/{}/role",
                Human::with_role(&app, role).await.id
            );
            let taken = caller.post(&path, json!({ "role": "member" })).await;
            assert_eq!(taken.status, status, "{who} {role}: {taken}");
        }
    }
}

/// A key for sessions and users is no way to become an owner.
#[tokio::test]
async fn a_key_reaches_no_account_that_may_more_than_itself() {
    let app = crate::start().await;
    let scopes = json!(["sessions:write", "users:write", "users:impersonate"]);
    let key = app.key(json!({ "name": "k", "scopes": scopes })).await;
    for (role, refused) in [("member", false), ("admin", true), ("owner", true)] {
        let human = Human::with_role(&app, role).await;
        let of = |rest: &str| format!("/api/v1/users/{}{rest}", human.id);
        let caller = app.call(&key);
        let email = json!({ "email": format!("{role}@example.com") });
        for reply in [
            caller.post(&of("/sessions"), json!({})).await,
            caller
                .post(&of("/impersonate"), json!({ "reason": "r" }))
                .await,
            caller.patch(&of(""), email).await,
            caller.post(&of("/require-reset"), json!({})).await,
            caller.post(&of("/remove-factors"), json!({})).await,
            caller.post(&of("/ban"), json!({})).await,
        ] {
            assert_eq!(reply.status == 403, refused, "{role}: {reply}");
            assert!(refused || reply.status < 300, "{role}: {reply}");
        }
    }
}

#[tokio::test]
async fn a_role_that_changes_ends_the_sessions_of_before() {
    for (before, after) in [("admin", "member"), ("member", "admin"), ("admin", "admin")] {
        let app = crate::start().await;
        let human = Human::with_role(&app, before).await;
        let agent = app
            .agent(&human.id, kavachos_test::may(&["read"], "mcp:x"))
            .await;
        let path = format!("/api/v1/users/{}/role", human.id);
        let body = json!({ "role": after });
        let changed = app.operator().post(&path, body).await.expect(200);
        assert_eq!(changed.at("/data/state"), "closed");
        let old = app.call(&human.token).get("/api/v1/agents").await;
        let rows = app.audit("kind=user.role_changed").await;
        if before == after {
            old.expect(200);
            assert!(rows.is_empty());
            continue;
        }
        old.refused(401, "unauthenticated");
        assert_eq!(rows[0]["details"]["from"], before);
        assert_eq!(rows[0]["details"]["to"], after);
        let again = Human::signed_in(&app, &human.id).await;
        let listed = app.call(&again.token).get("/api/v1/users").await;
        assert_eq!(listed.status == 200, after == "admin", "{listed}");
        // Agents go on: it is not them who changed.
        let question = json!({ "action": "read", "resource": "mcp:x" });
        let own = app.call(&agent.key);
        let own = own.post("/api/v1/authorize", question).await;
        own.decided("allowed");
    }
}

/// Lessons C 42: the last one stays, whichever way it is to go.
#[tokio::test]
async fn the_last_live_owner_stays() {
    let app = crate::start().await;
    let last = Human::with_role(&app, "owner").await;
    let of = |rest: &str| format!("/api/v1/users/{}{rest}", last.id);
    let attempt = async || {
        let (operator, own) = (app.operator(), app.call(&last.token));
        vec![
            operator.post(&of("/ban"), json!({})).await,
            operator
                .post(&of("/role"), json!({ "role": "admin" }))
                .await,
            operator.delete(&of("")).await,
            own.post(&of("/role"), json!({ "role": "member" })).await,
            own.delete(&of("")).await,
            own.post("/api/auth/delete-account", json!({})).await,
        ]
    };
    for reply in attempt().await {
        reply.refused(409, "conflict");
    }
    // One that is banned is none; one whose ban is over is one.
    let other = Human::with_role(&app, "owner").await;
    let until = app
        .kavach()
        .engine()
        .now()
        .plus(std::time::Duration::from_secs(60));
    let ban = format!("/api/v1/users/{}/ban", other.id);
    let body = json!({ "until": until });
    app.operator().post(&ban, body).await.expect(200);
    for reply in attempt().await {
        reply.refused(409, "conflict");
    }
    app.advance(60);
    let reply = app.operator().post(&of("/ban"), json!({})).await;
    reply.expect(200);
    let path = format!("/api/v1/users/{}/ban", other.id);
    let reply = app.operator().post(&path, json!({})).await;
    reply.refused(409, "conflict");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_twenty_owners_who_go_at_once_exactly_one_stays() {
    for (role, stay) in [("owner", 1), ("member", 0)] {
        let app = crate::start().await;
        let mut humans = Vec::new();
        for _ in 0..20 {
            humans.push(Human::with_role(&app, role).await);
        }
        let go = async |(index, human): (usize, &Human)| {
            let operator = app.operator();
            let of = |rest: &str| format!("/api/v1/users/{}{rest}", human.id);
            for _ in 0..20 {
                let reply = match (index % 3, role) {
                    (0, _) => operator.post(&of("/ban"), json!({})).await,
                    (1, "owner") => {
                        operator
                            .post(&of("/role"), json!({ "role": "member" }))
                            .await
                    }
                    _ => operator.delete(&of("")).await,
                };
                if reply.status == 200 {
                    return true;
                }
                assert_eq!(reply.status, 409, "{reply}");
                if reply.text.contains("last owner") {
                    return false;
                }
            }
            panic!("conflicts without an end");
        };
        let gone = join_all(humans.iter().enumerate().map(go)).await;
        let gone = gone.into_iter().filter(|gone| *gone).count();
        assert_eq!(gone, 20 - stay, "{role}");
        let path = format!("/api/v1/users?role={role}&status=active");
        let left = app.operator().get(&path).await.expect(200);
        assert_eq!(left.rows().len(), stay, "{left}");
    }
}

/// Lessons C 2 and 21: what is not the caller's to set is refused by name.
#[tokio::test]
async fn what_a_route_does_not_set_is_refused_by_name() {
    let app = crate::start().await;
    let human = Human::with_role(&app, "member").await;
    let of = |rest: &str| format!("/api/v1/users/{}{rest}", human.id);
    let members = [
        ("role", json!("owner")),
        ("emailVerified", json!(true)),
        ("emailVerifiedAt", json!("2026-01-01T00:00:00Z")),
        ("bannedUntil", Value::Null),
        ("status", json!("active")),
        ("kills", json!(0)),
    ];
    for (member, value) in members {
        let with = |mut body: Value| {
            body[member] = value.clone();
            body
        };
        let operator = app.operator();
        let mut replies = vec![
            operator.patch(&of(""), with(json!({ "name": "n" }))).await,
            operator.post(&of("/ban"), with(json!({}))).await,
            operator.post(&of("/unban"), with(json!({}))).await,
            operator.post(&of("/sessions"), with(json!({}))).await,
            operator.post(&of("/require-reset"), with(json!({}))).await,
            operator.post(&of("/remove-factors"), with(json!({}))).await,
            operator
                .post(&of("/impersonate"), with(json!({ "reason": "r" })))
                .await,
        ];
        if member != "role" {
            let body = with(json!({ "name": "n" }));
            replies.push(operator.post("/api/v1/users", body).await);
            let body = with(json!({ "role": "admin" }));
            replies.push(operator.post(&of("/role"), body).await);
        }
        for reply in replies {
            let reply = reply.refused(400, "malformed_request");
            assert_eq!(reply.field(), member, "{reply}");
        }
    }
    let shown = app.operator().get(&of("")).await.expect(200);
    assert_eq!(shown.at("/data/role"), "member");
    let stranger = app
        .anonymous()
        .post(&of("/role"), json!({ "role": "admin" }))
        .await;
    stranger.refused(401, "unauthenticated");
    let nobody = "/api/v1/users/user_01h455vb4pex5vsknk084sn02q/role";
    let nobody = app
        .operator()
        .post(nobody, json!({ "role": "admin" }))
        .await;
    nobody.refused(404, "not_found");
    // The twin: a route that sets a role, with a role that there is, and with one that there is not.
    let wrong = app
        .operator()
        .post(&of("/role"), json!({ "role": "root" }))
        .await;
    wrong.refused(400, "malformed_request");
    let right = app
        .operator()
        .post(&of("/role"), json!({ "role": "admin" }))
        .await;
    right.expect(200);
}

/// An admin finds what is another's by naming whose it is; a member never does.
#[tokio::test]
async fn lists_are_of_ones_own_things_unless_another_human_is_named() {
    let app = crate::start().await;
    let world = World::new(&app).await;
    for (role, status) in [("member", 404), ("admin", 200), ("owner", 200)] {
        let caller = app.call(&Human::with_role(&app, role).await.token);
        for list in ["agents", "delegations", "audit"] {
            let own = caller.get(&format!("/api/v1/{list}")).await.expect(200);
            let others = |row: &Value| row["userId"] == json!(world.user);
            assert!(!own.rows().iter().any(others), "{role} {list}: {own}");
            let path = format!("/api/v1/{list}?userId={}", world.user);
            let named = caller.get(&path).await.expect(status);
            if status == 200 {
                assert!(!named.rows().is_empty(), "{role} {list}: {named}");
            }
        }
        // What a human is asked is for them, and for owners.
        let path = format!("/api/v1/approvals?userId={}", world.user);
        let asked = caller.get(&path).await;
        assert_eq!(asked.status == 200, role == "owner", "{asked}");
    }
}

/// Whoever sees another's agent does not therefore act as it.
#[tokio::test]
async fn no_role_gets_a_token_for_anothers_agent() {
    let app = crate::start().await;
    let member = Human::with_role(&app, "member").await;
    let agent = app
        .agent(&member.id, kavachos_test::may(&["read"], "mcp:x"))
        .await;
    let server = json!({
        "audience": "https://tools.example.com/mcp", "name": "tools", "kind": "kavach",
        "scopes": [{ "name": "mcp:*", "description": "everything" }],
    });
    app.operator()
        .post("/api/v1/resources", server)
        .await
        .expect(201);
    let ask = json!({
        "audience": "https://tools.example.com/mcp", "reason": "look", "agent": agent.id,
        "permissions": [{ "actions": ["read"], "resource": "mcp:x" }],
    });
    for role in ["admin", "owner"] {
        let caller = app.call(&Human::with_role(&app, role).await.token);
        let path = format!("/api/v1/agents/{}", agent.id);
        caller.get(&path).await.expect(200);
        let token = caller.post("/api/v1/delegate", ask.clone()).await;
        token.refused(404, "not_found");
    }
    // The twin: the agent's own human.
    let own = app.call(&member.token);
    own.post("/api/v1/delegate", ask).await.expect(200);
}

/// What an admin does stands in the ledger under the admin's name.
#[tokio::test]
async fn an_admins_act_is_on_record_as_theirs() {
    let app = crate::start().await;
    let admin = Human::with_role(&app, "admin").await;
    let member = Human::with_role(&app, "member").await;
    let path = format!("/api/v1/users/{}/ban", member.id);
    let body = json!({ "reason": "spam" });
    app.call(&admin.token).post(&path, body).await.expect(200);
    let banned = app.audit("kind=user.banned").await;
    // So does who made somebody more than a member, and what.
    let made = app.audit("kind=user.created").await;
    assert_eq!(made[1]["details"]["role"], "admin", "{made:?}");
    assert!(made[0]["details"].is_null(), "{made:?}");
    let refused = app.call(&admin.token).get("/api/v1/keys").await;
    refused.refused(403, "forbidden");
    let own = app.audit("kind=session.opened").await;
    assert_eq!(banned.len(), 1);
    assert_eq!(banned[0]["subject"], json!(member.id));
    assert_eq!(banned[0]["reason"], "spam");
    let actor = banned[0]["actor"].as_str().unwrap();
    assert!(!actor.starts_with("key_") && actor != admin.id, "{actor}");
    assert!(own.iter().all(|row| row["actor"] != json!(actor)));
    // From where the admin called is not the member's to read.
    let unban = format!("/api/v1/users/{}/unban", member.id);
    app.operator().post(&unban, json!({})).await.expect(200);
    let again = Human::signed_in(&app, &member.id).await;
    let rows = app
        .call(&again.token)
        .get("/api/v1/audit?kind=user.banned")
        .await;
    let rows = rows.expect(200);
    assert!(rows.rows()[0]["ip"].is_null() && banned[0]["ip"].is_string());
}
