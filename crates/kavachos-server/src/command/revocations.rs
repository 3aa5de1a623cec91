//! `kavach revocations`: the log of everything that was revoked, as a file beside the backups.

use clap::Subcommand;
use kavachos_core::hex;
use kavachos_core::ledger::LogId;
use kavachos_core::revocation::Record;
use kavachos_engine::{Exported, RevocationWriter};
use serde_json::Value;

use super::Outcome;
use super::destination::Destination;
use crate::client::{Client, Query};
use crate::failure::Failure;
use crate::output::Output;

const EXAMPLES: &str = "\
The file is what `kavach restore` needs to keep dead what was revoked after a backup. It names nobody: records have a kind, \
a random handle and a number. Whatever may follow the log may export it: an operator key with the scope `audit:read`, or a \
tool server's own key.

Examples:
  kavach revocations export --output /backup/revocations.jsonl --force
  kavach revocations export --database kavach.db --output revocations.jsonl";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Revocations {
    /// Write the whole log down, to keep it beside backups
    Export(Destination),
}

impl Revocations {
    pub(crate) async fn run(
        self,
        client: &Client,
        output: &mut Output,
    ) -> Result<Outcome, Failure> {
        let Self::Export(destination) = self;
        let mut sink = destination.begin(output)?;
        let mut export = Export {
            client,
            progress: Progress::Nothing,
        };
        while let Some(page) = export.page().await? {
            sink.add(page.as_bytes())?;
        }
        sink.finish()?;
        Ok(Outcome::Done)
    }
}

/// Reads the log page by page.
struct Export<'a> {
    client: &'a Client,
    progress: Progress,
}

/// How far it was read.
enum Progress {
    Nothing,
    Some(RevocationWriter),
    All,
}

impl Export<'_> {
    /// The lines of the next page; `None` after the last.
    async fn page(&mut self) -> Result<Option<String>, Failure> {
        let since = match &self.progress {
            Progress::Nothing => 0,
            Progress::Some(writer) => writer.head().rseq,
            Progress::All => return Ok(None),
        };
        let query = Query::default().with("since", Some(since));
        let answer = self.client.get("/api/v1/revocations", &query).await?;
        let (of, records, more) = read(answer.data()).ok_or(Failure::Stranger { status: 200 })?;
        let mut text = String::new();
        let mut writer = match std::mem::replace(&mut self.progress, Progress::All) {
            Progress::Some(writer) if writer.of() == of => writer,
            Progress::Nothing => {
                let (writer, head) = RevocationWriter::begin(of);
                text.push_str(&head);
                writer
            }
            Progress::Some(_) | Progress::All => {
                return Err(Failure::Server(
                    "the database was exchanged while its log was read: begin again".to_owned(),
                ));
            }
        };
        for record in &records {
            let line = writer.add(record);
            text.push_str(&line.map_err(|error| Failure::Server(error.to_string()))?);
        }
        if more {
            self.progress = Progress::Some(writer);
        } else {
            text.push_str(&writer.end());
        }
        Ok(Some(text))
    }
}

fn read(data: &Value) -> Option<(Exported, Vec<Record>, bool)> {
    let of = Exported {
        log: LogId(hex::decode_exact(data.get("log")?.as_str()?)?),
        epoch: data.get("epoch")?.as_u64()?,
    };
    let records = serde_json::from_value(data.get("records")?.clone()).ok()?;
    Some((of, records, data.get("more")?.as_bool()?))
}
