//! `kavach explain`: why a decision went as it did, or would go as it would now.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Outcome;
use super::authorize::Authorize;
use crate::answer::Answer;
use crate::client::{Client, Query, path};
use crate::failure::Failure;
use crate::output::{Form, Output};
use crate::view;

const MEMBERS: [&str; 12] = [
    "auditId",
    "time",
    "allowed",
    "code",
    "reason",
    "remedy",
    "agentId",
    "for",
    "action",
    "resource",
    "grantPath",
    "paths",
];
const ASKED: [&str; 5] = ["allowed", "code", "reason", "remedy", "auditId"];

/// What the help says at its end.
const EXAMPLES: &str = "\
Examples:
  kavach explain record audit_01h455vb4pex5vsknk084sn02q
  kavach explain call --agent reader read mcp:github:repos

Exit codes: 0 it was explained, allowed or not, 1 it cannot be explained, 2 usage.";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Explain {
    /// Why a decision on record went as it did
    Record(One),
    /// Why a call would be allowed or denied now; nothing is decided, taken or asked of a human
    Call(Box<Authorize>),
}

#[derive(Debug, Args)]
pub(crate) struct One {
    /// The id of the decision's record
    audit: String,
}

impl Explain {
    pub(crate) async fn run(
        self,
        client: &Client,
        output: &mut Output,
    ) -> Result<Outcome, Failure> {
        match self {
            Self::Record(one) => {
                let explained = path("explain", &one.audit);
                let answer = client.get(&explained, &Query::default()).await?;
                output.record(&answer, &MEMBERS);
            }
            Self::Call(question) => {
                let question = question.question(client).await?;
                show(
                    &client.post("/api/v1/explain", Some(&question)).await?,
                    output,
                );
            }
        }
        Ok(Outcome::Done)
    }
}

fn show(answer: &Answer, output: &mut Output) {
    output.record(answer, &ASKED);
    if output.form() == Form::Text {
        for (index, path) in list(answer.data(), "paths").iter().enumerate() {
            output.line("");
            output.lines(path_lines(index + 1, path));
        }
    }
}

/// A path: what it comes to, then each hop with the permissions that are about the call.
fn path_lines(number: usize, path: &Value) -> Vec<String> {
    let mut lines = vec![format!(
        "path {number}: {}; {}",
        text(path, "code"),
        text(path, "remedy")
    )];
    for (number, hop) in list(path, "hops").iter().enumerate() {
        let who = match number {
            0 => format!("human {}", text(path, "userId")),
            _ => format!("grant {}", text(hop, "grantId")),
        };
        let (standing, guards) = (text(hop, "standing"), text(hop, "guards"));
        lines.push(format!(
            "  hop {number}, {who}: standing {standing}, guards {guards}"
        ));
        lines.extend(list(hop, "permissions").iter().map(permission_line));
        if let Some(more @ 1..) = hop.get("morePermissions").and_then(Value::as_u64) {
            lines.push(format!("    and {more} more"));
        }
    }
    lines
}

fn permission_line(permission: &Value) -> String {
    let verdict = match permission.get("other").and_then(Value::as_str) {
        Some(other) => format!("other {other}"),
        None => text(permission, "code"),
    };
    let what = match permission.get("resource") {
        Some(_) => view::lines(&json!([permission])).join(" "),
        None => text(permission, "id"),
    };
    format!("    {verdict}: {what}")
}

fn text(of: &Value, member: &str) -> String {
    view::lines(of.get(member).unwrap_or(&Value::Null)).join(" ")
}

fn list<'a>(of: &'a Value, member: &str) -> &'a [Value] {
    let items = of.get(member).and_then(Value::as_array);
    items.map_or(&[], Vec::as_slice)
}
