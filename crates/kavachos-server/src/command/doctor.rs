//! `kavach doctor`: looks at everything that a server needs, and says what to do.

mod database;
mod network;

use std::path::Path;

use serde_json::{Value, json};

use super::Outcome;
use crate::config::{Config, Environment, Flag};
use crate::failure::Failure;
use crate::output::{Form, Output};
use crate::private_file::rights_of_others;
use crate::view;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    /// As it should be.
    Ok,
    /// Works, and should be looked at.
    Warn,
    /// Does not work, or is not safe.
    Bad,
}

impl Level {
    const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Bad => "bad",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug)]
struct Finding {
    level: Level,
    about: &'static str,
    says: String,
}

impl Finding {
    fn ok(about: &'static str, says: impl Into<String>) -> Self {
        Self {
            level: Level::Ok,
            about,
            says: says.into(),
        }
    }

    fn warn(about: &'static str, says: impl Into<String>) -> Self {
        Self {
            level: Level::Warn,
            about,
            says: says.into(),
        }
    }

    fn bad(about: &'static str, says: impl Into<String>) -> Self {
        Self {
            level: Level::Bad,
            about,
            says: says.into(),
        }
    }

    fn json(&self) -> Value {
        json!({ "level": self.level.name(), "about": self.about, "says": self.says })
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
        Form::Json => output.json(
            json!({ "data": findings.iter().map(Finding::json).collect::<Vec<_>>() })
                .to_string()
                .as_bytes(),
        ),
        Form::Text => {
            let row = |finding: &Finding| {
                vec![
                    finding.level.name().to_owned(),
                    finding.about.to_owned(),
                    finding.says.clone(),
                ]
            };
            output.lines(view::aligned(&findings.iter().map(row).collect::<Vec<_>>()));
        }
    }
    let is_bad = findings.iter().any(|finding| finding.level == Level::Bad);
    Ok(if is_bad {
        Outcome::Refused
    } else {
        Outcome::Done
    })
}

async fn look(environment: &Environment, flags: &[(Flag, String)]) -> Vec<Finding> {
    let config = match Config::load(environment, flags) {
        Ok(config) => config,
        Err(error) => return vec![Finding::bad("configuration", error.to_string())],
    };
    let mut findings: Vec<Finding> = config
        .warnings
        .iter()
        .map(|warning| Finding::warn("configuration", warning))
        .collect();
    if flags.iter().any(|(flag, _)| *flag == Flag::Url) {
        findings.push(network::server(&config).await);
        return findings;
    }
    match config.server() {
        Err(error) => findings.push(Finding::bad("configuration", error.to_string())),
        Ok(server) => {
            findings.push(Finding::ok(
                "configuration",
                "complete, and safe to run with",
            ));
            let (holder, found) = database::look(&server).await;
            findings.extend(found);
            findings.extend(network::addresses(&server.listen, holder).await);
        }
    }
    findings.extend(secrets(&config));
    findings
}

/// The files that hold secrets.
fn secrets(config: &Config) -> Vec<Finding> {
    let database = config.database();
    let beside = [database.dev_key(), database.master_key()];
    let files = config
        .secret_files()
        .into_iter()
        .chain(beside.into_iter().filter(|path| path.exists()));
    files.map(|path| private("key file", &path)).collect()
}

/// A file that only its owner should read.
fn private(about: &'static str, path: &Path) -> Finding {
    let shown = path.display();
    match rights_of_others(path) {
        None => Finding::ok(about, format!("`{shown}` is its owner's alone")),
        Some(mode) => Finding::warn(
            about,
            format!("`{shown}` has mode {mode:04o}: others may read it; `chmod 600 {shown}`"),
        ),
    }
}
