//! `kavach events`: records as they come.
//!
//! Promises: no record is left out and none comes twice, also across a connection that was lost, since every return
//! names the record that was seen last. It ends well with ctrl-c, or when nobody reads it any more.

use std::time::Duration;

use axum::body::Body;
use clap::Args;
use http_body_util::BodyExt;
use kavachos_core::json;
use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::Outcome;
use super::audit::{COLUMNS, Filter};
use crate::client::{Client, Query};
use crate::event_stream::{EventStream, Message};
use crate::failure::Failure;
use crate::output::{Form, Output};
use crate::server::Signals;
use crate::view;

const PATH: &str = "/api/v1/events";
/// How long nothing may come before the connection is taken for lost: a server says something every 15 seconds.
const SILENCE: Duration = Duration::from_secs(45);
/// How often it is tried to come back without hearing anything.
const MAX_TRIES: u32 = 100;
/// The longest wait before the next try; the first is a second, as the server asks for, and each is twice the one before.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// What the help says at its end.
const EXAMPLES: &str = "\
Examples:
  kavach events --outcome denied
  kavach events --kind agent.revoked --json | jq -r .agent

A lost connection is made again, and what was recorded meanwhile comes then. Ctrl-c ends with 0.";

/// All filters that are given must hold.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Events {
    #[command(flatten)]
    filter: Filter,
    /// Begin after the record with this number, instead of with what comes next
    #[arg(long, value_name = "NUMBER")]
    after: Option<u64>,
}

impl Events {
    pub(crate) async fn run(
        self,
        client: &Client,
        output: &mut Output,
    ) -> Result<Outcome, Failure> {
        output.refuse_only()?;
        let signals = Signals::new()?;
        tokio::select! {
            () = signals.received(1) => Ok(Outcome::Done),
            ended = self.follow(client, output) => ended.map(|()| Outcome::Done),
        }
    }

    async fn follow(self, client: &Client, output: &mut Output) -> Result<(), Failure> {
        let seen = match self.after {
            Some(after) => Some(after),
            None => newest(client).await?,
        };
        let mut follower = Follower {
            client,
            query: self.filter.query(client).await?,
            seen,
            tries: 0,
        };
        // The first connection must be made: an address that is wrong stays so.
        let mut body = follower.connect().await?;
        while let Some(lost) = follower.read(body, output).await? {
            body = match follower.come_back(lost, output).await? {
                Some(body) => body,
                None => return Ok(()),
            };
        }
        Ok(())
    }
}

/// The number of the newest record: what comes is what comes after it, also if the connection is lost before it comes.
async fn newest(client: &Client) -> Result<Option<u64>, Failure> {
    let query = Query::default().with("limit", Some(1));
    let answer = client.get("/api/v1/audit", &query).await?;
    let record = answer.items().first();
    Ok(record.and_then(|record| record.get("seq")?.as_u64()))
}

/// Stands at a record of a server's ledger.
struct Follower<'a> {
    client: &'a Client,
    query: Query,
    seen: Option<u64>,
    /// How often it was tried to connect since something was heard.
    tries: u32,
}

impl Follower<'_> {
    async fn connect(&self) -> Result<Body, Failure> {
        let answer = self.client.follow(PATH, &self.query, self.seen);
        let silent = |_| Failure::Server("the server did not answer within 45 seconds".to_owned());
        timeout(SILENCE, answer).await.map_err(silent)?
    }

    /// Prints what comes. Why the connection is lost, or nothing when nobody reads any more.
    async fn read(
        &mut self,
        mut body: Body,
        output: &mut Output,
    ) -> Result<Option<String>, Failure> {
        let mut stream = EventStream::default();
        loop {
            let bytes = match timeout(SILENCE, body.frame()).await {
                Err(_) => return Ok(Some("nothing was heard for 45 seconds".to_owned())),
                Ok(None) => return Ok(Some("the connection was closed".to_owned())),
                Ok(Some(Err(error))) => return Ok(Some(format!("the connection broke: {error}"))),
                Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
            };
            self.tries = 0;
            let messages = stream
                .take(&bytes)
                .ok_or(Failure::Stranger { status: 200 })?;
            for message in messages {
                if message.event == "end" {
                    return end(&message).map(Some);
                }
                print(&message, output)?;
                self.seen = message.id.or(self.seen);
                if output.is_over() {
                    return Ok(None);
                }
            }
        }
    }

    /// Connects again, as often as makes sense; nothing when nobody reads any more.
    async fn come_back(
        &mut self,
        lost: String,
        output: &mut Output,
    ) -> Result<Option<Body>, Failure> {
        let mut reason = lost;
        while self.tries < MAX_TRIES && !output.is_over() {
            let pause = pause(self.tries);
            self.tries += 1;
            output.note(&format!("{reason}; back in {} s", pause.as_secs()));
            sleep(pause).await;
            match self.connect().await {
                Ok(body) => return Ok(Some(body)),
                Err(failure) if is_passing(&failure) => reason = failure.to_string(),
                Err(failure) => return Err(failure),
            }
        }
        if output.is_over() {
            return Ok(None);
        }
        Err(Failure::Server(format!(
            "given up after {MAX_TRIES} tries to come back: {reason}"
        )))
    }
}

fn pause(tries: u32) -> Duration {
    Duration::from_secs(1_u64 << tries.min(10)).min(MAX_PAUSE)
}

/// Whether it may be otherwise the next time.
fn is_passing(failure: &Failure) -> bool {
    match failure {
        Failure::Unreachable { .. } | Failure::Server(_) => true,
        Failure::Stranger { status } => *status >= 500,
        Failure::Refused(refusal) => matches!(
            refusal.code.as_str(),
            "busy" | "ledger_unavailable" | "too_many_requests"
        ),
        _ => false,
    }
}

/// Why the server ended the stream, if it is worth coming back.
fn end(message: &Message) -> Result<String, Failure> {
    let said = json::parse(message.data.as_bytes()).ok();
    let code = said.as_ref().and_then(|said| said.get("code")?.as_str());
    match code {
        Some("unauthenticated") => Err(Failure::Server(
            "the credential is dead or changed: set KAVACH_KEY to one that is not".to_owned(),
        )),
        code => Ok(format!("the server ended this ({})", code.unwrap_or("-"))),
    }
}

fn print(message: &Message, output: &mut Output) -> Result<(), Failure> {
    let record = json::parse(message.data.as_bytes()).ok();
    let record = record.filter(Value::is_object);
    let record = record.ok_or(Failure::Stranger { status: 200 })?;
    match output.form() {
        Form::Json => output.json(message.data.as_bytes()),
        Form::Text => output.line(&view::row(&record, &COLUMNS)),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_before_a_try_grows_to_its_limit() {
        let pauses: Vec<u64> = (0..7).map(|tries| pause(tries).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(pause(u32::MAX), MAX_PAUSE);
    }

    #[test]
    fn only_a_dead_credential_is_a_reason_not_to_come_back() {
        let ended = |code: &str| {
            end(&Message {
                data: format!("{{\"code\":\"{code}\"}}"),
                ..Message::default()
            })
        };
        assert!(ended("unauthenticated").is_err());
        assert!(
            ["closing", "too_slow", "ledger_unavailable"]
                .iter()
                .all(|code| ended(code).is_ok())
        );
    }
}
