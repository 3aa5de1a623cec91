//! `kavach export` and `kavach import`: a whole tenant, out of one server or database and into another.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use axum::body::{Body, Bytes};
use clap::Args;
use futures_util::stream::{StreamExt, unfold};
use http::Method;
use kavachos::LedgerRoot;
use serde_json::Value;
use tokio::sync::mpsc::{Receiver, channel};

use super::Outcome;
use super::destination::Destination;
use crate::client::{Client, Query};
use crate::failure::Failure;
use crate::output::{Form, Output};

/// How much is read at once.
const PIECE: usize = 64 * 1024;
/// How many pieces are read ahead.
const AHEAD: usize = 8;
/// How much of a file is kept to read its first line.
const MAX_BEGINNING: usize = 4096;

#[derive(Debug, Args)]
pub(crate) struct Export {
    #[command(flatten)]
    destination: Destination,
}

#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The exported tenant; without it, standard input
    file: Option<PathBuf>,
    /// The root that the ledger of the file must come to, as `kavach export` printed it
    #[arg(long, value_name = "HEX")]
    expect_root: Option<LedgerRoot>,
}

impl Export {
    pub(crate) async fn run(
        self,
        client: &Client,
        output: &mut Output,
    ) -> Result<Outcome, Failure> {
        let sink = self.destination.begin(output)?;
        let none = Query::default();
        let body = client
            .download(Method::POST, "/api/v1/export", &none)
            .await?;
        let seen = Beginning::default();
        sink.fill(seen.watch(body), "lines").await?;
        for note in seen.notes() {
            output.note(&note);
        }
        Ok(Outcome::Done)
    }
}

impl Import {
    pub(crate) async fn run(
        self,
        client: &Client,
        output: &mut Output,
    ) -> Result<Outcome, Failure> {
        let source: Box<dyn Read + Send> = match self.file {
            None => Box::new(io::stdin()),
            Some(path) => {
                let file = File::open(&path);
                Box::new(file.map_err(|error| Failure::file("read", &path, &error))?)
            }
        };
        let query = Query::default().with("expectRoot", self.expect_root);
        let answer = client
            .upload("/api/v1/import", &query, lines(source))
            .await?;
        output.record(&answer, &["log", "records", "root"]);
        if output.form() == Form::Text
            && let Some(Value::Object(rows)) = answer.data().get("rows")
        {
            let rows = rows.iter().map(|(kind, count)| format!("{kind} {count}"));
            output.note(&rows.collect::<Vec<_>>().join(", "));
            output.note(
                "the operator keys are now those of the imported tenant; a server with a key in its configuration \
                 has it again after its next start",
            );
        }
        if let Some(warning) = answer.data().get("warning").and_then(Value::as_str) {
            output.note(&format!("warning: {warning}"));
        }
        Ok(Outcome::Done)
    }
}

/// The first line of a file that passes by.
#[derive(Clone, Default)]
struct Beginning(Arc<Mutex<Vec<u8>>>);

impl Beginning {
    /// The same file, whose first line is kept.
    fn watch(&self, body: Body) -> Body {
        let beginning = self.clone();
        let pieces = body.into_data_stream();
        Body::from_stream(pieces.inspect(move |piece| {
            if let Ok(piece) = piece {
                beginning.add(piece);
            }
        }))
    }

    fn add(&self, piece: &[u8]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !kept.contains(&b'\n') {
            let room = MAX_BEGINNING.saturating_sub(kept.len());
            kept.extend(piece.iter().take(room));
        }
    }

    /// What to keep apart from the file, and what is not in it.
    fn notes(&self) -> Vec<String> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let line = kept.split(|byte| *byte == b'\n').next();
        let head: Value = line
            .and_then(|line| serde_json::from_slice(line).ok())
            .unwrap_or_default();
        let number = |member: &str| head.get(member).and_then(Value::as_u64);
        let root = head.get("root").and_then(Value::as_str);
        let kept_apart = root.zip(number("records")).map(|(root, records)| {
            format!(
                "the ledger in it has {records} records and the root {root}; keep that apart from the file, and import it with \
                 `--expect-root {root}`"
            )
        });
        let left = number("mailsLeft").filter(|left| *left > 0).map(|left| {
            format!("mails that wait to be sent and are not in it: {left}; let the old server send them before it is stopped")
        });
        kept_apart.into_iter().chain(left).collect()
    }
}

/// What is read, piece by piece, on a thread that waits while too much is read ahead.
fn lines(mut source: Box<dyn Read + Send>) -> Body {
    let (sender, receiver) = channel(AHEAD);
    thread::spawn(move || {
        loop {
            let mut piece = vec![0; PIECE];
            let read = source.read(&mut piece).map(|length| {
                piece.truncate(length);
                Bytes::from(piece)
            });
            let is_last = read.as_ref().map_or(true, Bytes::is_empty);
            // Nobody may want the rest any more.
            if matches!(&read, Ok(bytes) if bytes.is_empty())
                || sender.blocking_send(read).is_err()
                || is_last
            {
                return;
            }
        }
    });
    let next = |mut receiver: Receiver<io::Result<Bytes>>| async move {
        let piece = receiver.recv().await?;
        Some((piece, receiver))
    };
    Body::from_stream(unfold(receiver, next))
}
