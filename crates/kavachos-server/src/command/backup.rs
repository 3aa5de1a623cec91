//! `kavach backup`: a copy of a database in a file, beside the server that runs on it.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Args;
use kavachos_core::hex;
use kavachos_store::sqlite::{self, Copied, Copying, Existing};
use serde_json::json;

use super::Outcome;
use crate::config::Database;
use crate::failure::Failure;
use crate::output::{Form, Output};
use crate::tenant;

/// What PostgreSQL has of its own.
const OF_POSTGRES: &str = "`kavach backup` copies databases in files; this one is a PostgreSQL server's: back it up with \
    `pg_dump` or with a base backup (`pg_basebackup`), or move what is in it with `kavach export`";

#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// The file that the copy goes to
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// Replace a file that is there
    #[arg(long)]
    force: bool,
}

impl Backup {
    pub(crate) fn run(self, database: &Database, output: &mut Output) -> Result<Outcome, Failure> {
        let Database::File(from) = database else {
            return Err(Failure::Database(OF_POSTGRES.to_owned()));
        };
        output.check_member(&["file", "bytes", "records", "root"])?;
        if !from.exists() {
            return Err(Failure::Database(tenant::not_there(database)));
        }
        let existing = if self.force {
            Existing::Replace
        } else {
            Existing::Keep
        };
        let is_watched = std::io::stderr().is_terminal();
        let mut show = |copying: Copying| {
            if is_watched {
                output.progress(&so_far(copying));
            }
        };
        let copied = sqlite::backup(from, &self.output, existing, &mut show);
        if is_watched {
            output.progress("");
        }
        let copied = copied.map_err(|error| Failure::Database(error.to_string()))?;
        self.show(&copied, output);
        Ok(Outcome::Done)
    }

    fn show(&self, copied: &Copied, output: &mut Output) {
        let root = hex::encode(&copied.head.root);
        let file = self.output.display().to_string();
        let (bytes, records) = (copied.bytes, copied.head.size);
        if output.form() == Form::Json {
            let data = json!({ "file": file, "bytes": bytes, "records": records, "root": root });
            return output.data(&data);
        }
        output.line(&format!("file     {file}"));
        output.line(&format!("bytes    {bytes}"));
        output.line(&format!("records  {records}"));
        output.line(&format!("root     {root}"));
        output.note("the master key is not in it: keep a copy of that elsewhere");
    }
}

fn so_far(copying: Copying) -> String {
    let percent = copying.copied.saturating_mul(100) / copying.total.max(1);
    if percent >= 100 {
        return "copied; checking the copy".to_owned();
    }
    format!(
        "{percent} % of {} MiB copied",
        copying.total.div_ceil(1 << 20)
    )
}
