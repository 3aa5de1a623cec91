//! `kavach doctor`: looks at everything that a server needs, and says what to do.

mod catalogue;
mod checkpoint;
mod database;
mod ledger;
mod network;
mod opening;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use self::catalogue::Kind;
use super::Outcome;
use crate::config::{Config, Environment, Flag, Server};
use crate::descriptors;
use crate::failure::Failure;
use crate::mail::mailer;
use crate::methods::NEED_MAIL;
use crate::output::{Form, Output};
use crate::private_file::rights_of_others;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    /// As it should be.
    Ok,
    /// Worth knowing; nothing has to be done.
    Note,
    /// Works, and should be looked at.
    Warning,
    /// Does not work, or is not safe.
    Bad,
}

impl Level {
    const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Bad => "bad",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug)]
struct Finding {
    level: Level,
    /// What was looked at, or the name of what was found.
    id: &'static str,
    says: String,
    /// Why it matters and what to do, unless it is as it should be.
    advice: Option<(&'static str, &'static str)>,
}

impl Finding {
    fn ok(id: &'static str, says: impl Into<String>) -> Self {
        Self {
            level: Level::Ok,
            id,
            says: says.into(),
            advice: None,
        }
    }

    fn of(kind: &Kind, says: impl Into<String>) -> Self {
        Self {
            level: kind.level,
            id: kind.id,
            says: says.into(),
            advice: Some((kind.why, kind.remedy)),
        }
    }

    fn json(&self) -> Value {
        let (why, remedy) = self.advice.unzip();
        let level = self.level.name();
        json!({ "id": self.id, "level": level, "says": self.says, "why": why, "do": remedy })
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!(
            "{:7}  {}: {}",
            self.level.name(),
            self.id,
            self.says
        )];
        if let Some((why, remedy)) = self.advice {
            lines.push(format!("{:9}why: {why}", ""));
            lines.push(format!("{:9}do:  {remedy}", ""));
        }
        lines
    }
}

/// Looks at everything; 1 if something is bad.
pub(crate) async fn run(
    environment: &Environment,
    flags: &[(Flag, String)],
    output: &mut Output,
) -> Result<Outcome, Failure> {
    let findings = look(environment, flags).await;
    match output.form() {
        Form::Json => output.data(&findings.iter().map(Finding::json).collect()),
        Form::Text => {
            output.lines(findings.iter().flat_map(Finding::lines));
            output.line(&summary(&findings));
        }
    }
    let is_bad = findings.iter().any(|finding| finding.level == Level::Bad);
    Ok(if is_bad {
        Outcome::Refused
    } else {
        Outcome::Done
    })
}

fn summary(findings: &[Finding]) -> String {
    let count = |level| {
        let alike = findings.iter().filter(|finding| finding.level == level);
        format!("{} {}", alike.count(), level.name())
    };
    [Level::Bad, Level::Warning, Level::Note, Level::Ok]
        .map(count)
        .join(", ")
}

async fn look(environment: &Environment, flags: &[(Flag, String)]) -> Vec<Finding> {
    let config = match Config::load(environment, flags) {
        Ok(config) => config,
        Err(error) => return vec![Finding::of(&catalogue::CONFIG_INVALID, error.to_string())],
    };
    let mut findings: Vec<Finding> = config
        .warnings
        .iter()
        .map(|warning| warning.trim_start_matches("warning: "))
        .map(|warning| Finding::of(&catalogue::CONFIG_VARIABLE, warning))
        .collect();
    if flags.iter().any(|(flag, _)| *flag == Flag::Url) {
        findings.push(network::server(&config).await);
        return findings;
    }
    match config.server() {
        Err(error) => {
            findings.push(Finding::of(&catalogue::CONFIG_INVALID, error.to_string()));
        }
        Ok(server) => findings.extend(of_server(&server)),
    }
    findings.extend(secrets(&config));
    findings
}

fn of_server(server: &Server) -> Vec<Finding> {
    let mut findings = vec![Finding::ok("config", "complete, and safe to run with")];
    if server.loopback == kavachos::Loopback::Allowed {
        let says = "webhooks, and documents of clients, may be on this machine";
        findings.push(Finding::of(&catalogue::CONFIG_LOOPBACK, says));
    }
    findings.push(mail(server));
    findings.push(connections(server.connections.max));
    let (holder, found) = database::look(server);
    findings.extend(found);
    findings.extend(network::addresses(&server.listen, holder));
    findings
}

/// Whether mail can be sent as it is configured, as far as that can be said without sending any.
fn mail(server: &Server) -> Finding {
    let mailer = match mailer(server) {
        Ok(mailer) => mailer,
        Err(failure) => return Finding::of(&catalogue::MAIL_UNUSABLE, failure.to_string()),
    };
    let Some(mailer) = mailer else {
        let needing = server
            .methods
            .on
            .iter()
            .filter(|method| NEED_MAIL.contains(method));
        let needing: Vec<&str> = needing.copied().collect();
        return match needing.as_slice() {
            [] => Finding::ok("mail", "none is sent"),
            needing => {
                let says = format!("none is sent, and these need it: {}", needing.join(", "));
                Finding::of(&catalogue::MAIL_OFF, says)
            }
        };
    };
    match mailer.mailing(server.loopback) {
        Ok(_) => Finding::ok("mail", "there is a sender; `kavach mail test` tries it out"),
        Err(error) => Finding::of(&catalogue::MAIL_UNUSABLE, error.to_string()),
    }
}

/// Whether the limit of open files is high enough. It is that of this process: a server's may be another.
fn connections(wanted: u32) -> Finding {
    match descriptors::shortfall(wanted) {
        None => Finding::ok("descriptors", format!("there may be {wanted} connections")),
        Some((room, limit)) => {
            let says = format!(
                "there may be {room} connections at the same time, not {wanted}: a process started like this one may \
                 have {limit} files open"
            );
            Finding::of(&catalogue::DESCRIPTORS_LOW, says)
        }
    }
}

/// The files that hold secrets.
fn secrets(config: &Config) -> Vec<Finding> {
    let database = config.database();
    let named = config.secret_files().into_iter();
    let named = named.map(|path| ("secret", &catalogue::SECRET_MODE, path));
    let beside: [(_, _, PathBuf); 2] = [
        ("dev_key", &catalogue::DEV_KEY_MODE, database.dev_key()),
        (
            "master_key",
            &catalogue::MASTER_KEY_MODE,
            database.master_key(),
        ),
    ];
    let there = beside.into_iter().filter(|(_, _, path)| path.exists());
    named
        .chain(there)
        .map(|(id, kind, path)| private(id, kind, &path))
        .collect()
}

/// A file that only its owner should read.
fn private(id: &'static str, kind: &Kind, path: &Path) -> Finding {
    let shown = path.display();
    match rights_of_others(path) {
        None => Finding::ok(id, format!("`{shown}` is its owner's alone")),
        Some(mode) => Finding::of(
            kind,
            format!("`{shown}` has mode {mode:04o}: others may use it"),
        ),
    }
}
