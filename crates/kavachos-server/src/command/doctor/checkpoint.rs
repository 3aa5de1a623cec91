//! Whether the database is as far as it was when a server last noted that outside of it.

use kavachos::CheckpointFile;
use kavachos_engine::Checkpoint;
use kavachos_store::{ReadError, postgres, sqlite};

use super::{Finding, catalogue};
use crate::config::{Database, Server};

/// The one finding about it, where checkpoints are kept.
pub(super) fn look(config: &Server) -> Option<Finding> {
    let file = CheckpointFile::new(config.checkpoint.as_ref()?);
    let shown = file.path().display();
    Some(match file.read() {
        Ok(None) => Finding::ok(
            "checkpoint",
            format!("there is none in `{shown}` yet; `kavach serve` keeps one"),
        ),
        Ok(Some(known)) => compare(config, &known, &shown.to_string()),
        Err(error) => {
            let says = format!("`{shown}`: {error}");
            Finding::of(&catalogue::CHECKPOINT_UNREADABLE, says)
        }
    })
}

fn compare(config: &Server, known: &Checkpoint, shown: &str) -> Finding {
    let questions = known.questions();
    let rows = match &config.database {
        Database::File(path) => sqlite::read(path, &questions),
        Database::Postgres(url) => postgres::read(url, &questions),
    };
    let judged = rows.and_then(|rows| known.judge(rows).map_err(ReadError::from));
    match judged {
        Ok(Ok(())) => Finding::ok(
            "checkpoint",
            format!(
                "the database has the {} records and {} revocations that `{shown}` knows of",
                known.records(),
                known.revocation.rseq
            ),
        ),
        Ok(Err(setback)) => {
            let says = format!("`{shown}` was written with another state: {setback}");
            Finding::of(&catalogue::CHECKPOINT_SETBACK, says)
        }
        Err(error) => {
            let says = format!("it cannot be compared with `{shown}`: {error}");
            Finding::of(&catalogue::DATABASE_DAMAGED, says)
        }
    }
}
