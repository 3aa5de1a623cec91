//! `kavach export` and `kavach import`: a whole tenant, out of one server or database and into another.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::thread;

use axum::body::{Body, Bytes};
use clap::Args;
use futures_util::stream::unfold;
use http::Method;
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

#[derive(Debug, Args)]
pub(crate) struct Export {
    #[command(flatten)]
    destination: Destination,
}

#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The exported tenant; without it, standard input
    file: Option<PathBuf>,
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
        sink.fill(body, "lines").await?;
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
        let answer = client.upload("/api/v1/import", lines(source)).await?;
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
        Ok(Outcome::Done)
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
