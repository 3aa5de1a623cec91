//! Approvals: a human says yes to one very call, once, in time. Lessons F8, B 24.

use futures_util::future::join_all;
use kavachos_core::decide::Request;
use kavachos_engine::Question;
use kavachos_engine::actor::Actor;
use kavachos_test::{Call, Reply, TestAgent, TestApp, may_under};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// An agent of Ada's that may deploy with an approval, and what it asks for.
struct Deploy {
    app: TestApp,
    user: String,
    agent: TestAgent,
}

impl Deploy {
    async fn new() -> Self {
        Self::of(crate::start().await).await
    }

    async fn of(app: TestApp) -> Self {
        let user = app.user().await;
        let permissions = may_under(&["run"], "mcp:deploy:*", json!({ "requireApproval": true }));
        let agent = app.agent(&user, permissions).await;
        Self { app, user, agent }
    }

    /// The agent asks, with its own key, to deploy this branch.
    async fn ask(&self, branch: &str) -> Reply {
        let caller = self.app.call(&self.agent.key);
        caller.post("/api/v1/authorize", question(branch)).await
    }

    /// The id of a new request to deploy this branch.
    async fn asked(&self, branch: &str) -> String {
        let reply = self.ask(branch).await.decided("approval_required");
        reply.text_at("/data/approvalId").to_owned()
    }

    async fn show(&self, id: &str) -> Reply {
        self.app.operator().get(&path(id, "")).await.expect(200)
    }

    async fn approve(&self, id: &str) -> Reply {
        self.approve_as(&self.app.operator(), id).await
    }

    async fn approve_as(&self, caller: &Call, id: &str) -> Reply {
        let digest = self.show(id).await.text_at("/data/digest").to_owned();
        let body = json!({ "digest": digest });
        caller.post(&path(id, "/approve"), body).await
    }

    async fn deny(&self, id: &str) -> Reply {
        let operator = self.app.operator();
        operator.post(&path(id, "/deny"), json!({})).await
    }

    /// Asks to deploy `main`, and has it approved.
    async fn approved(&self) -> String {
        let id = self.asked("main").await;
        self.approve(&id).await.expect(200);
        id
    }

    async fn post(&self, path: &str) {
        let done = self.app.operator().post(path, json!({})).await;
        assert!(done.status < 300, "{path}: {done}");
    }
}

fn question(branch: &str) -> Value {
    json!({ "action": "run", "resource": "mcp:deploy:site", "arguments": { "branch": branch } })
}

fn path(id: &str, rest: &str) -> String {
    format!("/api/v1/approvals/{id}{rest}")
}

fn allowed(replies: &[Reply]) -> usize {
    let codes = replies.iter().map(|reply| reply.expect_ref(200).code());
    codes.filter(|code| *code == "allowed").count()
}

trait ExpectRef {
    fn expect_ref(&self, status: u16) -> &Self;
}

impl ExpectRef for Reply {
    fn expect_ref(&self, status: u16) -> &Self {
        assert_eq!(self.status, status, "{self}");
        self
    }
}

#[tokio::test]
async fn b24_an_approved_call_is_allowed_once_and_no_other_call_is() {
    let deploy = Deploy::new().await;
    let id = deploy.asked("main").await;
    // Who asks again is told to wait for the same answer.
    let again = deploy.ask("main").await.decided("approval_pending");
    assert_eq!(again.at("/data/approvalId"), &json!(id));
    deploy.approve(&id).await.expect(200);

    let other = deploy.ask("other").await.decided("approval_required");
    assert_ne!(other.at("/data/approvalId"), &json!(id));
    let operator = deploy.app.operator();
    for (member, value) in [
        ("resource", json!("mcp:deploy:shop")),
        ("arguments", json!({ "branch": "main", "force": true })),
        ("arguments", json!({ "branch": ["main"] })),
        ("arguments", Value::Null),
        ("cost", json!({ "amount": 1, "unit": "cents" })),
    ] {
        let mut differs = question("main");
        differs["agentId"] = json!(deploy.agent.id);
        differs[member] = value;
        let reply = operator.post("/api/v1/authorize", differs).await;
        reply.decided("approval_required");
    }

    let used = deploy.ask("main").await.decided("allowed");
    assert_eq!(used.at("/data/approvalId"), &json!(id));
    assert_eq!(deploy.show(&id).await.at("/data/status"), "used");
    let next = deploy.ask("main").await.decided("approval_required");
    assert_ne!(next.at("/data/approvalId"), &json!(id));
}

#[tokio::test]
async fn b24_of_64_calls_at_once_exactly_one_uses_the_approval() {
    let deploy = Deploy::new().await;
    deploy.approved().await;
    let replies = join_all((0..64).map(|_| deploy.ask("main"))).await;
    assert_eq!(allowed(&replies), 1);
    // Without HTTP in between all of them find the approval before the first one uses it.
    deploy.app.advance(300);
    deploy.approved().await;
    let engine = deploy.app.kavach().engine();
    let actor = Actor::local(engine.id());
    let same = Question {
        agent: deploy.agent.id.parse().ok(),
        on_behalf_of: None,
        request: Request {
            action: "run".parse().expect("this is an action"),
            resource: "mcp:deploy:site".parse().expect("this is a resource"),
            arguments: Some(json!({ "branch": "main" })),
            ip: None,
            cost: None,
        },
        presented: None,
        shown: None,
    };
    let decided = join_all((0..64).map(|_| engine.authorize(&actor, &same))).await;
    let decided = decided
        .iter()
        .map(|decision| decision.as_ref().expect("it is decided"));
    assert_eq!(decided.filter(|decision| decision.allowed).count(), 1);
    // The twin: without a human in the way all of them are allowed.
    let free = kavachos_test::may(&["run"], "mcp:deploy:*");
    let free = deploy.app.agent(&deploy.user, free).await;
    let caller = deploy.app.call(&free.key);
    let ask = || caller.post("/api/v1/authorize", question("main"));
    assert_eq!(allowed(&join_all((0..64).map(|_| ask())).await), 64);
}

#[tokio::test]
async fn of_64_calls_at_once_all_wait_for_the_same_answer() {
    let deploy = Deploy::new().await;
    let replies = join_all((0..64).map(|_| deploy.ask("main"))).await;
    let mut ids: Vec<&str> = replies
        .iter()
        .map(|reply| reply.text_at("/data/approvalId"))
        .collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
    let listed = deploy.app.operator().get("/api/v1/approvals").await;
    assert_eq!(listed.rows().len(), 1, "{listed}");
}

#[tokio::test]
async fn b24_of_approve_and_deny_at_once_one_wins() {
    let deploy = Deploy::new().await;
    for round in 0..16 {
        let branch = format!("branch{round}");
        let id = deploy.asked(&branch).await;
        let digest = deploy.show(&id).await.text_at("/data/digest").to_owned();
        let operator = deploy.app.operator();
        let answers = join_all((0..8).map(|turn| {
            let (verb, body) = match turn % 2 {
                0 => ("/approve", json!({ "digest": digest })),
                _ => ("/deny", json!({})),
            };
            let (operator, path) = (operator.clone(), path(&id, verb));
            async move { (verb, operator.post(&path, body).await) }
        }))
        .await;
        let (won, lost): (Vec<_>, Vec<_>) = answers
            .into_iter()
            .partition(|(_, reply)| reply.status == 200);
        assert_eq!(won.len(), 1, "round {round}");
        for (_, reply) in lost {
            reply.refused(409, "conflict");
        }
        let (status, code) = match won[0].0 {
            "/approve" => ("approved", "allowed"),
            _ => ("denied", "approval_denied"),
        };
        assert_eq!(deploy.show(&id).await.at("/data/status"), status);
        deploy.ask(&branch).await.decided(code);
    }
}

#[tokio::test]
async fn b24_nothing_counts_after_its_time_is_over() {
    let deploy = Deploy::new().await;
    // Asked, and not answered in time.
    let id = deploy.asked("late").await;
    deploy.app.advance(300);
    deploy.approve(&id).await.refused(409, "conflict");
    deploy.deny(&id).await.refused(409, "conflict");
    assert_eq!(deploy.show(&id).await.at("/data/status"), "expired");
    deploy.ask("late").await.decided("approval_required");
    // Approved, and not used in time. Approving makes it no longer.
    let id = deploy.asked("main").await;
    deploy.app.advance(100);
    deploy.approve(&id).await.expect(200);
    deploy.app.advance(200);
    assert_eq!(deploy.show(&id).await.at("/data/status"), "expired");
    let next = deploy.ask("main").await.decided("approval_required");
    assert_ne!(next.at("/data/approvalId"), &json!(id));
    // The twin: a second earlier both count.
    let id = deploy.asked("twin").await;
    deploy.app.advance(299);
    deploy.approve(&id).await.expect(200);
    deploy.ask("twin").await.decided("allowed");
}

#[tokio::test]
async fn a_life_of_its_own_is_kept_and_the_shortest_on_the_path_counts() {
    let app = crate::start().await;
    let user = app.user().await;
    let life = |seconds: u32| json!({ "requireApproval": { "ttlSeconds": seconds } });
    let giver = app
        .agent(&user, may_under(&["run"], "mcp:*", life(60)))
        .await;
    let with = |seconds| json!({ "guards": life(seconds) });
    let child = may_under(&["run"], "mcp:deploy:*", json!({}));
    let child = app.agent_with(&giver.id, child, with(20)).await;
    for (agent, seconds) in [(giver, "10:01:00"), (child, "10:00:20")] {
        let asked = app.decide(&agent.id, "run", "mcp:deploy:site").await;
        let path = path(asked.text_at("/data/approvalId"), "");
        let shown = app.operator().get(&path).await.expect(200);
        let end = format!("2026-11-21T{seconds}Z");
        assert_eq!(shown.at("/data/expiresAt"), &json!(end));
    }
}

#[tokio::test]
async fn a_denial_stands_until_the_request_is_over() {
    let deploy = Deploy::new().await;
    let id = deploy.asked("main").await;
    deploy.deny(&id).await.expect(200);
    let denied = deploy.ask("main").await.decided("approval_denied");
    assert_eq!(denied.at("/data/approvalId"), &json!(id));
    deploy.approve(&id).await.refused(409, "conflict");
    deploy.app.advance(299);
    deploy.ask("main").await.decided("approval_denied");
    // The twin: another call, and the same one later, ask anew.
    deploy.ask("other").await.decided("approval_required");
    deploy.app.advance(1);
    deploy.ask("main").await.decided("approval_required");
}

#[tokio::test]
async fn what_the_approver_reads_is_byte_for_byte_what_is_bound() {
    let deploy = Deploy::new().await;
    let strange = "main\u{202e}\u{0}\u{7f}é𝄞\" ";
    let shown = deploy.show(&deploy.asked(strange).await).await;
    let document = shown.text_at("/data/document");
    assert!(document.bytes().all(|byte| matches!(byte, b' '..=b'~')));
    let digest: String = Sha256::digest(document)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(shown.at("/data/digest"), &json!(digest));
    let read: Value = serde_json::from_str(document).expect("the document is JSON");
    assert_eq!(read["arguments"], json!({ "branch": strange }));
    assert_eq!(read["action"], "run");
    assert_eq!(read["resource"], "mcp:deploy:site");
    assert_eq!(read["agent"], json!(deploy.agent.id));
    assert_eq!(read["for"], json!(deploy.user));
    let grant = format!("{}@1", deploy.agent.grant);
    let path = read["path"].as_array().expect("the path is a list");
    assert!(path.contains(&json!(grant)), "{path:?}");
}

#[tokio::test]
async fn an_approval_without_the_digest_that_was_shown_is_refused() {
    let deploy = Deploy::new().await;
    let (one, two) = (deploy.asked("one").await, deploy.asked("two").await);
    let other = deploy.show(&two).await.text_at("/data/digest").to_owned();
    let operator = deploy.app.operator();
    for digest in [other.as_str(), "", &"0".repeat(64), &other.to_uppercase()] {
        let body = json!({ "digest": digest });
        let reply = operator.post(&path(&one, "/approve"), body).await;
        reply.refused(409, "conflict");
    }
    let reply = operator.post(&path(&one, "/approve"), json!({})).await;
    assert_eq!(reply.refused(400, "malformed_request").field(), "digest");
    deploy.ask("one").await.decided("approval_pending");
    deploy.approve(&one).await.expect(200);
    deploy.ask("one").await.decided("allowed");
}

#[tokio::test]
async fn f8_no_agent_answers_and_each_sees_only_what_it_asked_for() {
    let deploy = Deploy::new().await;
    let everything = kavachos_test::may(&["*"], "*");
    let other = deploy.app.agent(&deploy.user, everything).await;
    let id = deploy.asked("main").await;
    let (own, other) = (
        deploy.app.call(&deploy.agent.key),
        deploy.app.call(&other.key),
    );
    for caller in [&own, &other] {
        let reply = deploy.approve_as(caller, &id).await;
        reply.refused(403, "forbidden");
        let reply = caller.post(&path(&id, "/deny"), json!({})).await;
        reply.refused(403, "forbidden");
    }
    let seen = own.get(&path(&id, "")).await.expect(200);
    assert_eq!(seen.at("/data/status"), "pending");
    other.get(&path(&id, "")).await.refused(404, "not_found");
    let list = "/api/v1/approvals";
    assert_eq!(own.get(list).await.rows().len(), 1);
    assert_eq!(other.get(list).await.rows().len(), 0);
    let filtered = format!("{list}?agentId={}", deploy.agent.id);
    assert_eq!(other.get(&filtered).await.rows().len(), 0);
    deploy.approve(&id).await.expect(200);
}

#[tokio::test]
async fn a_key_approves_nothing_above_its_ceiling_and_nothing_without_the_scope() {
    let deploy = Deploy::new().await;
    let id = deploy.asked("main").await;
    let key = |scope: &str, resource: &str| {
        let ceiling = kavachos_test::may(&["*"], resource);
        json!({ "name": "k", "scopes": [scope], "ceiling": ceiling })
    };
    for body in [
        key("approvals:decide", "mcp:other:*"),
        key("authorize:any", "mcp:*"),
    ] {
        let key = deploy.app.key(body).await;
        let reply = deploy.approve_as(&deploy.app.call(&key), &id).await;
        reply.refused(403, "forbidden");
    }
    let key = deploy.app.key(key("approvals:decide", "mcp:*")).await;
    let reply = deploy.approve_as(&deploy.app.call(&key), &id).await;
    reply.expect(200);
}

#[tokio::test]
async fn an_approval_dies_with_whatever_it_relied_on() {
    let kills = [
        "nothing",
        "agent",
        "human",
        "narrowed",
        "human's permissions",
    ];
    for kill in kills {
        let deploy = Deploy::new().await;
        let id = deploy.approved().await;
        let (agent, user) = (
            format!("/api/v1/agents/{}", deploy.agent.id),
            format!("/api/v1/users/{}", deploy.user),
        );
        let operator = deploy.app.operator();
        match kill {
            "agent" => {
                deploy.post(&format!("{agent}/suspend")).await;
                deploy.post(&format!("{agent}/resume")).await;
            }
            "human" => {
                deploy.post(&format!("{user}/ban")).await;
                deploy.post(&format!("{user}/unban")).await;
            }
            "narrowed" => {
                let under = json!({ "requireApproval": { "ttlSeconds": 200 } });
                let less = may_under(&["run"], "mcp:deploy:*", under);
                let body = json!({ "permissions": less });
                operator.patch(&agent, body).await.expect(200);
            }
            "human's permissions" => {
                let body = json!({ "permissions": kavachos_test::may(&["*"], "mcp:*") });
                operator.patch(&user, body).await.expect(200);
            }
            _ => {}
        }
        let mut ask = question("main");
        ask["agentId"] = json!(deploy.agent.id);
        let reply = deploy.app.ask(ask).await;
        if kill == "nothing" {
            reply.decided("allowed");
        } else {
            let reply = reply.decided("approval_required");
            assert_ne!(reply.at("/data/approvalId"), &json!(id), "{kill}");
        }
    }
}

#[tokio::test]
async fn a_request_whose_path_was_stopped_can_no_longer_be_approved() {
    for stopped in [true, false] {
        let deploy = Deploy::new().await;
        let id = deploy.asked("main").await;
        if stopped {
            let agent = format!("/api/v1/agents/{}", deploy.agent.id);
            deploy.post(&format!("{agent}/suspend")).await;
        }
        let reply = deploy.approve(&id).await;
        if stopped {
            reply.refused(409, "conflict");
        } else {
            reply.expect(200);
        }
    }
}

#[tokio::test]
async fn an_approval_dies_with_the_key_that_gave_it() {
    for killed in [true, false] {
        let deploy = Deploy::new().await;
        let body = json!({ "name": "k", "scopes": ["approvals:decide"] });
        let operator = deploy.app.operator();
        let key = operator.post("/api/v1/keys", body).await.expect(201);
        let approver = deploy.app.call(key.text_at("/data/token"));
        let id = deploy.asked("main").await;
        let approved = deploy.approve_as(&approver, &id).await.expect(200);
        assert_eq!(approved.at("/data/decidedBy"), &json!(key.id()));
        if killed {
            let path = format!("/api/v1/keys/{}", key.id());
            operator.delete(&path).await.expect(200);
            assert_eq!(deploy.show(&id).await.at("/data/status"), "revoked");
            let next = deploy.ask("main").await.decided("approval_required");
            assert_ne!(next.at("/data/approvalId"), &json!(id));
        } else {
            deploy.ask("main").await.decided("allowed");
        }
    }
}

#[tokio::test]
async fn a_call_that_is_too_long_to_be_read_is_never_asked_about() {
    let deploy = Deploy::new().await;
    let long = deploy.ask(&"x".repeat(16 * 1024)).await;
    let long = long.decided("approval_required");
    assert!(long.at("/data/approvalId").is_null(), "{long}");
    assert!(long.text_at("/data/reason").contains("too long"), "{long}");
    deploy.asked(&"x".repeat(15 * 1024)).await;
}

#[tokio::test]
async fn an_agent_has_only_so_many_requests_waiting() {
    let setup = crate::setup().settings(|settings| settings.approvals_per_agent = 3);
    let deploy = Deploy::of(setup.start().await).await;
    let branches: Vec<String> = (0..16).map(|branch| format!("b{branch}")).collect();
    let replies = join_all(branches.iter().map(|branch| deploy.ask(branch))).await;
    let asked: Vec<&Reply> = replies
        .iter()
        .filter(|reply| reply.at("/data/approvalId").is_string())
        .collect();
    assert_eq!(asked.len(), 3);
    let full = deploy.ask("more").await.decided("approval_required");
    assert!(full.text_at("/data/reason").contains("too many"), "{full}");
    // An answer makes room.
    let id = asked[0].text_at("/data/approvalId").to_owned();
    deploy.deny(&id).await.expect(200);
    deploy.asked("more").await;
}

#[tokio::test]
async fn each_decision_each_request_and_each_answer_is_one_record() {
    let deploy = Deploy::new().await;
    let size = || deploy.app.head().size;
    let before = size();
    let id = deploy.asked("main").await;
    assert_eq!(size(), before + 2);
    deploy.ask("main").await.decided("approval_pending");
    assert_eq!(size(), before + 3);
    let reply = deploy.approve(&id).await.expect(200);
    assert_eq!(reply.at("/data/status"), "approved");
    assert_eq!(size(), before + 4);
    deploy.ask("main").await.decided("allowed");
    assert_eq!(size(), before + 5);
    let rows = deploy
        .app
        .audit(&format!("agentId={}", deploy.agent.id))
        .await;
    let [used, approved, _, requested, asked, ..] = rows.as_slice() else {
        panic!("five records: {rows:?}");
    };
    assert_eq!(
        (&used["kind"], &used["code"]),
        (&json!("decision"), &json!("allowed"))
    );
    assert_eq!(
        used["details"],
        json!({ "selfReported": true, "approval": id })
    );
    assert_eq!(approved["kind"], "approval.approved");
    assert_eq!(approved["details"], json!({ "approval": id }));
    assert_eq!(approved["subject"], json!(deploy.user));
    assert_eq!(approved["argumentsDigest"], used["argumentsDigest"]);
    assert_eq!(approved["grantPath"], used["grantPath"]);
    assert_eq!(requested["kind"], "approval.requested");
    assert_eq!(requested["details"], approved["details"]);
    assert_eq!(asked["code"], "approval_required");
    assert_eq!(asked["details"]["approval"], json!(id));
    // Who is refused is recorded too.
    deploy.approve(&id).await.refused(409, "conflict");
    assert_eq!(size(), before + 6);
    let refused = deploy
        .app
        .audit("kind=approval.approved&outcome=denied")
        .await;
    assert_eq!(refused[0]["details"], json!({ "approval": id }));
}

#[tokio::test]
async fn whoever_waits_is_told_when_the_answer_comes() {
    let deploy = Deploy::new().await;
    let id = deploy.asked("main").await;
    let own = deploy.app.call(&deploy.agent.key);
    let waiting = {
        let (own, path) = (own.clone(), path(&id, "?wait=30"));
        tokio::spawn(async move { own.get(&path).await })
    };
    deploy.approve(&id).await.expect(200);
    let told = waiting.await.expect("the call ends").expect(200);
    assert_eq!(told.at("/data/status"), "approved");
    // What is answered is told at once, and what is over too.
    let told = own.get(&path(&id, "?wait=30")).await.expect(200);
    assert_eq!(told.at("/data/status"), "approved");
    let over = deploy.asked("over").await;
    deploy.app.advance(300);
    let told = own.get(&path(&over, "?wait=30")).await.expect(200);
    assert_eq!(told.at("/data/status"), "expired");
    for wait in ["31", "-1", "x", "1.5", ""] {
        let reply = own.get(&path(&id, &format!("?wait={wait}"))).await;
        assert_eq!(reply.refused(400, "malformed_request").field(), "wait");
    }
}

#[tokio::test]
async fn requests_are_found_by_agent_human_and_status() {
    let deploy = Deploy::new().await;
    let one = deploy.asked("one").await;
    deploy.app.advance(1);
    let two = deploy.asked("two").await;
    deploy.app.advance(1);
    let three = deploy.asked("three").await;
    deploy.approve(&one).await.expect(200);
    deploy.deny(&two).await.expect(200);
    let operator = deploy.app.operator();
    let found = async |query: &str| -> Vec<String> {
        let reply = operator.get(&format!("/api/v1/approvals?{query}")).await;
        let rows = reply.expect(200).rows().to_vec();
        let id = |row: &Value| row["id"].as_str().unwrap_or_default().to_owned();
        rows.iter().map(id).collect()
    };
    assert_eq!(found("").await.len(), 3);
    assert_eq!(found("status=approved").await, [one.as_str()]);
    assert_eq!(found("status=denied").await, [two.as_str()]);
    assert_eq!(found("status=pending").await, [three.as_str()]);
    assert_eq!(found(&format!("userId={}", deploy.user)).await.len(), 3);
    let stranger = deploy.app.user().await;
    assert!(found(&format!("userId={stranger}")).await.is_empty());
    let first = operator.get("/api/v1/approvals?limit=2").await.expect(200);
    let rest = format!("limit=2&cursor={}", first.text_at("/nextCursor"));
    assert_eq!(found(&rest).await, [one.as_str()]);
    deploy.app.advance(300);
    assert!(found("status=pending").await.is_empty());
    let reply = operator.get("/api/v1/approvals?status=maybe").await;
    assert_eq!(reply.refused(400, "malformed_request").field(), "status");
}

#[tokio::test]
async fn an_approved_call_still_keeps_every_limit() {
    let app = crate::start().await;
    let user = app.user().await;
    let under = json!({ "requireApproval": true, "rate": { "limit": 1, "per": 60 } });
    let permissions = may_under(&["run"], "mcp:deploy:*", under);
    let agent = app.agent(&user, permissions).await;
    let deploy = Deploy { app, user, agent };
    let (one, two) = (deploy.asked("one").await, deploy.asked("two").await);
    deploy.approve(&one).await.expect(200);
    deploy.approve(&two).await.expect(200);
    deploy.ask("one").await.decided("allowed");
    deploy.ask("two").await.decided("rate_limited");
    // What was not allowed is not used up.
    assert_eq!(deploy.show(&two).await.at("/data/status"), "approved");
    deploy.app.advance(62);
    deploy.ask("two").await.decided("allowed");
}
