//! `kavach config`: what a server would run with, what is wrong with it, and what can be set.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Outcome;
use crate::config::{self, Config, ConfigError, Effective, Environment, Flag, Origin, Problem};
use crate::failure::Failure;
use crate::output::{Form, Output};
use crate::view;

/// What stands for no value.
const NOTHING: &str = "-";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Say everything that is wrong, unsafe settings too, and what to do; exits with 1 if something is
    Check(Listening),
    /// Show every setting with its value and where it came from; secrets are never shown
    Print(Print),
    /// Print the JSON Schema (2020-12) of kavach.toml
    Schema,
    /// Print a kavach.toml with every setting at its default, commented out
    Example,
}

#[derive(Debug, Args)]
pub(crate) struct Listening {
    /// Addresses to listen on, as `kavach serve` would be given them
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Print {
    #[command(flatten)]
    listening: Listening,
    /// Leave secrets out, as is always done
    #[arg(long)]
    redacted: bool,
}

impl Command {
    /// Runs the command under these flags and its own.
    pub(crate) fn run(
        self,
        environment: &Environment,
        mut flags: Vec<(Flag, String)>,
        output: &mut Output,
    ) -> Result<Outcome, Failure> {
        let mut with = |listening: Listening| {
            flags.extend(listening.listen.map(|listen| (Flag::Listen, listen)));
            Config::gather(environment, &flags)
        };
        match self {
            Self::Check(listening) => Ok(check(&with(listening), output)),
            Self::Print(print) => show(&with(print.listening), output),
            Self::Schema => {
                output.refuse_only()?;
                output.json(format!("{:#}", config::schema()).as_bytes());
                Ok(Outcome::Done)
            }
            Self::Example => {
                output.refuse_only()?;
                output.lines(config::example().lines().map(str::to_owned));
                Ok(Outcome::Done)
            }
        }
    }
}

fn check(config: &Config, output: &mut Output) -> Outcome {
    let problems = config.problems();
    match output.form() {
        Form::Json => {
            let told: Vec<Value> = problems.iter().map(problem).collect();
            output.data(&json!({ "problems": told, "warnings": config.warnings }));
        }
        Form::Text => {
            for warning in &config.warnings {
                output.note(warning);
            }
            output.lines(problems.iter().map(Problem::to_string));
            if problems.is_empty() {
                output.line("complete, and safe to run with");
            }
        }
    }
    if problems.is_empty() {
        Outcome::Done
    } else {
        Outcome::Refused
    }
}

/// A problem as JSON, with the file and the line where there are such.
fn problem(problem: &Problem) -> Value {
    let (file, line) = match &problem.origin {
        Origin::Line { file, line } => (Some(file), Some(line)),
        _ => (None, None),
    };
    let (key, message) = (&problem.key, &problem.message);
    let from = problem.origin.to_string();
    json!({ "key": key, "from": from, "file": file, "line": line, "message": message })
}

fn show(config: &Config, output: &mut Output) -> Result<Outcome, Failure> {
    // Half of a configuration would not be what a server runs with.
    ConfigError::unless_none(config.problems())?;
    let effective = config.effective();
    match output.form() {
        Form::Json => {
            output.data(&effective.iter().map(Effective::json).collect());
        }
        Form::Text => {
            let row = |one: &Effective| {
                let value = one.value.as_deref().filter(|value| !value.is_empty());
                let value = value.unwrap_or(NOTHING).to_owned();
                vec![one.key.to_owned(), value, one.from.clone()]
            };
            let head = ["SETTING", "VALUE", "FROM"].map(str::to_owned).to_vec();
            let rows: Vec<Vec<String>> = std::iter::once(head)
                .chain(effective.iter().map(row))
                .collect();
            output.lines(view::aligned(&rows));
        }
    }
    Ok(Outcome::Done)
}
