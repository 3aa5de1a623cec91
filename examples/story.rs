//! The story of the seeds, played over HTTP against a running server: Ada, her github-reader and its repo-scanner; then
//! a human, an orchestrator, a researcher and the tool that is called in the end.
//!
//! Every step prints its decision, its code and the id of its record. The exit code is not 0 if any step differs from
//! what the story says.
//!
//! ```sh
//! cargo run --example story                                       # starts a server of its own
//! KAVACH_URL=http://localhost:3000 KAVACH_KEY=kv_key_... cargo run --example story
//! ```
#![expect(clippy::print_stdout, reason = "the story is told on the terminal")]

use std::error::Error;
use std::net::SocketAddr;

use kavachos::{Kavach, NewKey};
use kavachos_test::{Call, Client, Reply, Server, may};
use serde_json::{Value, json};

type Told<T = ()> = Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Told {
    match named_server()? {
        Some((url, key)) => Story::at(&url, &key).await?.tell().await,
        None => tell_alone().await,
    }
}

/// The server that `--url` or `KAVACH_URL` names, and the operator's key in `KAVACH_KEY`.
#[expect(
    clippy::disallowed_methods,
    reason = "the story is a program of its own, with its own settings"
)]
fn named_server() -> Told<Option<(String, String)>> {
    let mut arguments = std::env::args().skip(1);
    let url = match arguments.next().as_deref() {
        None => std::env::var("KAVACH_URL").ok(),
        Some("--url") => Some(arguments.next().ok_or("`--url` needs a URL after it")?),
        Some(_) => {
            return Err(
                "usage: story [--url http://HOST:PORT], with the key in `KAVACH_KEY`".into(),
            );
        }
    };
    let Some(url) = url else { return Ok(None) };
    let key = std::env::var("KAVACH_KEY").map_err(|_| "put an operator's key into `KAVACH_KEY`")?;
    Ok(Some((url, key)))
}

/// Tells the story to a server that lives as long as it is told.
async fn tell_alone() -> Told {
    let kavach = Kavach::builder().sqlite_in_memory().build().await?;
    let key = kavach.keys().create(NewKey::new("story", &["*"])).await?;
    let key = key.token.as_ref().ok_or("a new key is shown")?;
    let server = Server::of(&kavach).await;
    println!(
        "No server is named, so the story starts one: {}",
        server.url()
    );
    Story::at(&server.url(), key.reveal()).await?.tell().await?;
    kavach.close().await;
    Ok(())
}

/// An agent that acts with its own key.
struct Agent {
    name: &'static str,
    id: String,
    key: String,
}

struct Story {
    client: Client,
    operator: Call,
}

impl Story {
    async fn at(url: &str, key: &str) -> Told<Self> {
        let host = url
            .strip_prefix("http://")
            .ok_or("the URL begins with `http://`")?;
        let unreachable = |error| format!("no server answers at {url}: {error}");
        let mut found = tokio::net::lookup_host(host.trim_end_matches('/'))
            .await
            .map_err(unreachable)?;
        let address: SocketAddr = found.next().ok_or("the host of the URL has no address")?;
        tokio::net::TcpStream::connect(address)
            .await
            .map_err(unreachable)?;
        let client = Client::new(address);
        let operator = client.call(key);
        Ok(Self { client, operator })
    }

    async fn tell(&self) -> Told {
        let (ada, reader, scanner) = self.ada_and_her_agents().await?;
        let (human, orchestrator, below) = self.a_real_chain().await?;

        println!("\nKill the parent");
        self.revoke(&reader).await?;
        self.asks(&reader, "read mcp:github:repos", "key_revoked")
            .await?;
        self.asks(&scanner, "read mcp:github:repos", "owner_not_active")
            .await?;
        self.revoke(&orchestrator).await?;
        for agent in &below {
            self.asks(agent, "call tools:call:search", "ancestor_not_active")
                .await?;
            self.asks(agent, "read notes:own", "allowed").await?;
        }

        println!("\nThe human leaves, and every agent downstream stops");
        let ban = format!("/api/v1/users/{human}/ban");
        let banned = self.operator.post(&ban, json!({})).await;
        happened("the operator bans the human", &banned, 200)?;
        for agent in &below {
            self.asks(agent, "read notes:own", "key_revoked").await?;
        }

        self.reads_the_trail(&reader, &ada, &[&scanner]).await?;
        self.reads_the_trail(&orchestrator, &human, &below.each_ref())
            .await?;
        println!("\nEvery step went as the story says.");
        Ok(())
    }

    /// The tutorial: Ada's github-reader, what it may and may not do, and its sub-agent.
    async fn ada_and_her_agents(&self) -> Told<(String, Agent, Agent)> {
        println!("\nAda and her agents");
        let ada = self.human("Ada").await?;
        let permissions = json!([
            { "resource": "mcp:github:*", "actions": ["read"] },
            {
                "resource": "mcp:deploy:production", "actions": ["execute"],
                "constraints": { "requireApproval": true },
            },
        ]);
        let reader = self
            .agent(&self.operator, &ada, "github-reader", permissions)
            .await?;
        for (request, code) in [
            ("read mcp:github:repos", "allowed"),
            ("read mcp:github:issues", "allowed"),
            ("read mcp:github:pulls", "allowed"),
            ("read mcp:deploy:staging", "permission_denied"),
            ("read mcp:slack:send", "permission_denied"),
            ("write mcp:github:repos", "permission_denied"),
            ("execute mcp:deploy:production", "approval_required"),
        ] {
            self.asks(&reader, request, code).await?;
        }
        let itself = self.client.call(&reader.key);
        let wider = new_agent(&reader.id, "too-wide", &may(&["read"], "mcp:slack:*"));
        let refused = itself.post("/api/v1/agents", wider).await;
        happened(
            "github-reader may not make an agent that may more than itself",
            &refused,
            403,
        )?;
        let repos = may(&["read"], "mcp:github:repos");
        let scanner = self
            .agent(&itself, &reader.id, "repo-scanner", repos)
            .await?;
        self.asks(&scanner, "read mcp:github:repos", "allowed")
            .await?;
        self.asks(&scanner, "read mcp:github:issues", "permission_denied")
            .await?;
        Ok((ada, reader, scanner))
    }

    /// The real chain: a human, an orchestrator for an hour, a researcher for 15 minutes, a tool call for 5. None of
    /// them owns the right that it passes on.
    async fn a_real_chain(&self) -> Told<(String, Agent, [Agent; 2])> {
        println!("\nA real chain, start to finish");
        let human = self.human("Grace").await?;
        let own = || may(&["read"], "notes:own");
        let orchestrator = self
            .agent(&self.operator, &human, "orchestrator", own())
            .await?;
        let researcher = self
            .agent(&self.operator, &human, "researcher", own())
            .await?;
        let caller = self
            .agent(&self.operator, &human, "mcp.tool.call", own())
            .await?;
        self.asks(&researcher, "call tools:call:search", "permission_denied")
            .await?;

        let search = || may(&["*"], "tools:call:search");
        let all = give(&human, &orchestrator, &may(&["*"], "tools:call:*"), 3_600);
        let given = self.operator.post("/api/v1/delegations", all).await;
        happened(
            "the human gives orchestrator tools:call:* for 1 h",
            &given,
            201,
        )?;
        self.passes_on(&orchestrator, &researcher, search(), 900)
            .await?;
        self.passes_on(&researcher, &caller, search(), 300).await?;
        for agent in [&researcher, &caller] {
            self.asks(agent, "call tools:call:search", "allowed")
                .await?;
            self.asks(agent, "call tools:call:delete", "permission_denied")
                .await?;
        }
        let wider = give(&researcher.id, &caller, &may(&["*"], "tools:call:*"), 300);
        let refused = self
            .client
            .call(&researcher.key)
            .post("/api/v1/delegations", wider)
            .await;
        happened(
            "researcher may not give more than it was given",
            &refused,
            403,
        )?;
        Ok((human, orchestrator, [researcher, caller]))
    }

    async fn human(&self, name: &str) -> Told<String> {
        let reply = self
            .operator
            .post("/api/v1/users", json!({ "name": name }))
            .await;
        happened(&format!("{name} is there"), &reply, 201)?;
        Ok(reply.id().to_owned())
    }

    async fn agent(
        &self,
        maker: &Call,
        owner: &str,
        name: &'static str,
        permissions: Value,
    ) -> Told<Agent> {
        let reply = maker
            .post("/api/v1/agents", new_agent(owner, name, &permissions))
            .await;
        happened(&format!("{name} is made"), &reply, 201)?;
        Ok(Agent {
            name,
            id: reply.id().to_owned(),
            key: reply.text_at("/data/token").to_owned(),
        })
    }

    async fn passes_on(&self, from: &Agent, to: &Agent, permissions: Value, seconds: u64) -> Told {
        let body = give(&from.id, to, &permissions, seconds);
        let reply = self
            .client
            .call(&from.key)
            .post("/api/v1/delegations", body)
            .await;
        let what = format!(
            "{} gives {} a part of it for {seconds} s",
            from.name, to.name
        );
        happened(&what, &reply, 201)
    }

    /// An agent asks with its own key for an action and a resource, such as `read mcp:github:repos`.
    async fn asks(&self, agent: &Agent, request: &str, expected: &str) -> Told {
        let (action, resource) = request.split_once(' ').ok_or("a request is two words")?;
        let question = json!({ "action": action, "resource": resource });
        let reply = self
            .client
            .call(&agent.key)
            .post("/api/v1/authorize", question)
            .await;
        let verdict = reply.header("kavach-decision");
        let id = reply.at("/data/auditId").as_str().unwrap_or("no record");
        let (name, code) = (agent.name, reply.code());
        println!("  {verdict:5} {code:19} {id}  {name}: {request}");
        if reply.status == 200
            && code == expected
            && (verdict == "allow") == (expected == "allowed")
        {
            return Ok(());
        }
        Err(format!("the story says `{expected}`, the server said: {reply}").into())
    }

    async fn revoke(&self, agent: &Agent) -> Told {
        let reply = self
            .operator
            .delete(&format!("/api/v1/agents/{}", agent.id))
            .await;
        happened(&format!("the operator revokes {}", agent.name), &reply, 200)
    }

    /// Reads back what happened at and below an agent: every decision of its descendants names it in its chain, and
    /// the human for whom.
    async fn reads_the_trail(&self, top: &Agent, human: &str, below: &[&Agent]) -> Told {
        println!(
            "\nThe audit trail of {} and all below, oldest first",
            top.name
        );
        let path = format!("/api/v1/audit?member={}&limit=1000", top.id);
        let trail = self.operator.get(&path).await;
        let text = |record: &Value, member: &str| {
            record
                .get(member)
                .and_then(Value::as_str)
                .unwrap_or("-")
                .to_owned()
        };
        for record in trail.rows().iter().rev() {
            let [time, kind, code, id] =
                ["time", "kind", "code", "id"].map(|member| text(record, member));
            println!(
                "  {time:27} {kind:18} {code:19} {id}  {} {}",
                text(record, "action"),
                text(record, "resource")
            );
        }
        for agent in below {
            let of = |record: &&Value| {
                text(record, "agent") == agent.id && text(record, "kind") == "decision"
            };
            let chained = trail.rows().iter().filter(of).any(|record| {
                text(record, "outcome") == "allowed"
                    && text(record, "subject") == human
                    && record
                        .get("chain")
                        .and_then(Value::as_array)
                        .is_some_and(|chain| chain.contains(&json!(top.id)))
            });
            if !chained {
                return Err(format!(
                    "no allowed call of {} names {} above it",
                    agent.name, top.name
                )
                .into());
            }
        }
        Ok(())
    }
}

fn new_agent(owner: &str, name: &str, permissions: &Value) -> Value {
    json!({ "ownerId": owner, "name": name, "type": "autonomous", "permissions": permissions })
}

fn give(from: &str, to: &Agent, permissions: &Value, seconds: u64) -> Value {
    json!({
        "from": from, "to": to.id, "permissions": permissions, "ttlSeconds": seconds, "reason": "the story",
    })
}

/// Prints an act of management; it differs from the story when its status does.
fn happened(what: &str, reply: &Reply, status: u16) -> Told {
    println!(
        "  {what} ({} {})",
        reply.status,
        if reply.status < 300 {
            "done"
        } else {
            reply.code()
        }
    );
    if reply.status == status {
        return Ok(());
    }
    Err(format!("the story says {status}, the server said: {reply}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_story_goes_as_it_is_told() {
        tell_alone().await.unwrap();
    }

    #[tokio::test]
    async fn a_server_on_which_it_goes_differently_is_told() {
        let kavach = Kavach::builder().sqlite_in_memory().build().await.unwrap();
        let weak = kavach
            .keys()
            .create(NewKey::new("weak", &["users:write"]))
            .await
            .unwrap();
        let server = Server::of(&kavach).await;
        let story = Story::at(&server.url(), weak.token.as_ref().unwrap().reveal())
            .await
            .unwrap();
        assert!(
            story
                .tell()
                .await
                .unwrap_err()
                .to_string()
                .contains("the story says 201")
        );
        drop(server);
        assert!(Story::at("https://localhost", "").await.is_err());
    }
}
