//! Where an answer of any length goes: standard output, or a file that stands under its name once it is whole.

use std::io::{IsTerminal, stderr};
use std::path::PathBuf;

use axum::body::Body;
use clap::Args;
use http_body_util::BodyExt;

use crate::failure::Failure;
use crate::output::Output;
use crate::private_file::Draft;

/// After how many bytes it is shown how far it has come.
const SHOWN_EVERY: u64 = 4 << 20;

#[derive(Debug, Args)]
pub(crate) struct Destination {
    /// Write to this file, which only its owner may read, instead of standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace the file if it is there
    #[arg(long, requires = "output")]
    force: bool,
    /// Show how far it has come, also where standard error is no terminal
    #[arg(long)]
    progress: bool,
}

/// Something that is being written.
pub(crate) struct Sink<'a> {
    output: &'a mut Output,
    file: Option<(PathBuf, Draft)>,
    shows: bool,
}

impl Destination {
    /// Begins to write. A file that is there is an error unless it may be replaced.
    pub(crate) fn begin(self, output: &mut Output) -> Result<Sink<'_>, Failure> {
        output.refuse_only()?;
        let file = match self.output {
            None => None,
            Some(path) if path.exists() && !self.force => {
                return Err(Failure::File {
                    action: "write",
                    path,
                    reason: "it is there already; choose another, or say `--force`".to_owned(),
                });
            }
            Some(path) => {
                let draft = Draft::begin(&path);
                let draft = draft.map_err(|error| Failure::file("write", &path, &error))?;
                Some((path, draft))
            }
        };
        Ok(Sink {
            output,
            file,
            shows: self.progress || stderr().is_terminal(),
        })
    }
}

impl Sink<'_> {
    /// Writes the answer as it comes, and ends the file once all of it came.
    pub(crate) async fn fill(mut self, mut body: Body, what: &str) -> Result<(), Failure> {
        let mut progress = Progress::default();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                Failure::Server(format!(
                    "the answer broke off, so what came of it is not whole: {error}"
                ))
            })?;
            let Ok(bytes) = frame.into_data() else {
                continue;
            };
            self.add(&bytes)?;
            if progress.add(&bytes) && self.shows {
                self.output.progress(&progress.text(what));
            }
        }
        if self.shows {
            self.output.progress("");
            self.output.note(&progress.text(what));
        }
        self.finish()
    }

    /// Ends the file, once all of it was added.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        match self.file {
            None => Ok(()),
            Some((path, draft)) => draft
                .finish()
                .map_err(|error| Failure::file("write", path, &error)),
        }
    }

    /// Adds what comes next.
    pub(crate) fn add(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        match &mut self.file {
            Some((path, draft)) => draft
                .add(bytes)
                .map_err(|error| Failure::file("write", path.clone(), &error)),
            None => self
                .output
                .bytes(bytes)
                .map_err(|error| Failure::Server(format!("standard output is gone: {error}"))),
        }
    }
}

/// How much has passed.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    lines: u64,
    bytes: u64,
    shown: u64,
}

impl Progress {
    /// Notes what passed; whether it is time to show it.
    pub(crate) fn add(&mut self, bytes: &[u8]) -> bool {
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
        self.lines = self.lines.saturating_add(count(lines));
        self.bytes = self.bytes.saturating_add(count(bytes.len()));
        let due = self.bytes.saturating_sub(self.shown) >= SHOWN_EVERY;
        if due {
            self.shown = self.bytes;
        }
        due
    }

    /// How far it has come.
    pub(crate) fn text(&self, what: &str) -> String {
        format!("{} {what}, {} MiB", self.lines, self.bytes >> 20)
    }
}
