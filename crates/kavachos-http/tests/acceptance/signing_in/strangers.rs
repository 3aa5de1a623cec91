//! Lessons C 62: neither what is answered nor the work that it takes tells whether there is an account. Work is counted in
//! what Argon2 fills and in what the store commits before the answer, not in time.

use std::future::ready;
use std::sync::{Arc, Mutex};

use kavachos_store::{Batch, BoxFuture, CommitError};
use kavachos_test::{Keeper, Reply};
use serde_json::{Value, json};
use tokio::task::Id;

use super::scene::{ADA, PASSWORD, Scene, link_in};

const WRONG: &str = "not the password at all";

/// Who committed, in the order in which they did. The connection of a caller is a task of its own, so what somebody waits for
/// is told apart from what happens beside it.
#[derive(Default)]
struct Commits(Mutex<Vec<Option<Id>>>);

impl Keeper for Commits {
    fn before(&self, _: &mut Batch) -> BoxFuture<'static, Result<(), CommitError>> {
        self.0.lock().unwrap().push(tokio::task::try_id());
        Box::pin(ready(Ok(())))
    }
}

impl Commits {
    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// How many were made by whoever came first after so many: the connection that was opened then.
    fn by_the_next(&self, count: usize) -> usize {
        let all = self.0.lock().unwrap();
        let (before, after) = all.split_at(count);
        let next = after.iter().find(|task| !before.contains(task));
        after.iter().filter(|task| Some(*task) == next).count()
    }
}

/// What a stranger sees of an answer: everything but what is random, and how much was done for it.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    status: u16,
    headers: Vec<(String, String)>,
    body: Value,
    hashes: u64,
    commits: usize,
}

/// A way to ask about an account, with the names of one that is there and of one that is not.
struct Way {
    path: &'static str,
    known: Value,
    unknown: Value,
}

fn ways(challenges: [String; 2]) -> Vec<Way> {
    let by = |path, member: &str, known: &str, unknown: &str, more: Value| {
        let body = |whose: &str| {
            let mut body = more.clone();
            body[member] = whose.into();
            body
        };
        Way {
            path,
            known: body(known),
            unknown: body(unknown),
        }
    };
    let none = || json!({});
    let [known, unknown] = challenges;
    let bob = "bob@example.com";
    vec![
        by(
            "/api/auth/email-otp/verify",
            "challenge",
            &known,
            &unknown,
            json!({ "code": "000000" }),
        ),
        by(
            "/api/auth/sign-in/email",
            "email",
            ADA,
            bob,
            json!({ "password": WRONG }),
        ),
        by(
            "/api/auth/sign-in/username",
            "username",
            "ada",
            "bob",
            json!({ "password": WRONG }),
        ),
        by(
            "/api/auth/sign-up/email",
            "email",
            ADA,
            bob,
            json!({ "password": PASSWORD }),
        ),
        by("/api/auth/forgot-password", "email", ADA, bob, none()),
        by("/api/auth/magic-link/send", "email", ADA, bob, none()),
        by("/api/auth/email-otp/send", "email", ADA, bob, none()),
    ]
}

/// What differs from one answer to the next whoever asks.
fn without_chance(reply: &Reply) -> (Vec<(String, String)>, Value) {
    let random = ["date", "x-request-id"];
    let headers = reply
        .headers
        .iter()
        .filter(|(name, _)| !random.contains(&name.as_str()));
    let header = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        let value = value.to_str().unwrap();
        // Of a cookie all but its value.
        let value = match (name.as_str(), value.split_once('=')) {
            ("set-cookie", Some((name, rest))) => {
                let (value, rest) = rest.split_once(';').unwrap();
                format!("{name}={} {rest}", value.len())
            }
            _ => value.to_owned(),
        };
        (name.to_string(), value)
    };
    let mut headers: Vec<_> = headers.map(header).collect();
    headers.sort();
    let mut body = reply.body.clone();
    for pointer in ["/error/requestId", "/data/challenge"] {
        if let Some(text) = body.pointer_mut(pointer) {
            *text = text.as_str().map_or(0, str::len).into();
        }
    }
    (headers, body)
}

struct World {
    scene: Scene,
    commits: Arc<Commits>,
}

impl World {
    async fn start() -> Self {
        let commits = Arc::new(Commits::default());
        let setup = crate::setup().kept_by(Arc::clone(&commits) as Arc<dyn Keeper>);
        let scene = Scene::of_all(setup, None).await;
        scene.account(ADA).await;
        let up = json!({ "username": "ada", "password": PASSWORD });
        scene
            .post("/api/auth/sign-up/username", up)
            .await
            .expect(200);
        Self { scene, commits }
    }

    /// A challenge for this address.
    async fn challenge(&self, email: &str) -> String {
        let body = json!({ "email": email });
        let asked = self.scene.post("/api/auth/email-otp/send", body).await;
        asked.expect(200).text_at("/data/challenge").to_owned()
    }

    /// What an answer tells, to a caller from this network.
    async fn told(&self, (path, body): (&str, &Value), from: &str) -> Told {
        let before = self.commits.count();
        let hashes = self.scene.passwords.blocks_filled();
        let reply = self
            .scene
            .app
            .anonymous()
            .from(from)
            .post(path, body.clone())
            .await;
        let commits = self.commits.by_the_next(before);
        let (headers, body) = without_chance(&reply);
        Told {
            status: reply.status,
            headers,
            body,
            hashes: self.scene.passwords.blocks_filled() - hashes,
            commits,
        }
    }
}

#[tokio::test]
async fn neither_the_answer_nor_the_work_tells_whether_there_is_an_account() {
    let world = World::start().await;
    let challenges = [
        world.challenge(ADA).await,
        world.challenge("bob@example.com").await,
    ];
    // What runs beside requests has committed something by now, and is no new task any more.
    world
        .scene
        .mailed(("bob@example.com", 0), super::scene::code_in)
        .await;
    let mut differing = Vec::new();
    for (number, way) in ways(challenges).into_iter().enumerate() {
        // So many mails an hour go to one address. What is looked at first is over by then.
        world.scene.app.advance(if number == 0 { 0 } else { 3_700 });
        let known = world
            .told((way.path, &way.known), &format!("127.1.{number}.1"))
            .await;
        let unknown = world
            .told((way.path, &way.unknown), &format!("127.2.{number}.1"))
            .await;
        assert!(
            known.status < 500 && known.status != 400,
            "{}: {known:?}",
            way.path
        );
        if known != unknown {
            differing.push(format!("{}:\n{known:#?}\n{unknown:#?}", way.path));
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
    // The twin: where an answer does differ, it is seen.
    let right = json!({ "email": ADA, "password": PASSWORD });
    let wrong = json!({ "email": ADA, "password": WRONG });
    let path = "/api/auth/sign-in/email";
    let (right, wrong) = (
        world.told((path, &right), "127.3.1.1").await,
        world.told((path, &wrong), "127.3.2.1").await,
    );
    assert_ne!(right, wrong);
    assert_eq!(
        right.hashes, wrong.hashes,
        "the right password costs what a wrong one does"
    );
}

/// Links and codes that there are not are answered as those that are over, and cost no hash.
#[tokio::test]
async fn a_link_that_is_over_and_one_that_never_was_are_the_same() {
    let world = World::start().await;
    let scene = &world.scene;
    let used = async |send: &str, verify: &str, more: Value| {
        let before = scene.smtp.mails().len();
        scene.post(send, json!({ "email": ADA })).await.expect(200);
        let mut body = more;
        body["token"] = scene.mailed((ADA, before), link_in).await.into();
        scene.post(verify, body.clone()).await.expect(200);
        body
    };
    let (link, reset) = ("/api/auth/magic-link/verify", "/api/auth/reset-password");
    let used_link = used(
        "/api/auth/magic-link/send",
        link,
        json!({ "confirm": true }),
    )
    .await;
    let new = json!({ "newPassword": "Schlehen nach dem Frost" });
    let used_reset = used("/api/auth/forgot-password", reset, new).await;
    for (path, used) in [(link, used_link), (reset, used_reset)] {
        let mut never = used.clone();
        never["token"] = "A".repeat(used["token"].as_str().unwrap().len()).into();
        let over = world.told((path, &used), "127.4.1.1").await;
        let never = world.told((path, &never), "127.4.2.1").await;
        assert_eq!((over.status, over.hashes), (401, 0));
        assert_eq!(over, never, "{path}");
    }
}
