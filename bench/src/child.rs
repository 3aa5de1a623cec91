//! Parts of a measurement that run in a process of their own: this program again, with a word that says which.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Runs a part to its end and gives what it printed.
pub(crate) fn output(part: &str, path: &Path, sizes: &[String]) -> String {
    finish(part, command(part, path, sizes))
}

/// As [`output`], of a part that says how much memory it holds: what it frees it gives back at once.
pub(crate) fn output_held(part: &str, path: &Path, sizes: &[String]) -> String {
    let mut command = command(part, path, sizes);
    command.env("MIMALLOC_PURGE_DELAY", "0");
    finish(part, command)
}

fn finish(part: &str, mut command: Command) -> String {
    let output = command.output().expect("a process");
    assert!(output.status.success(), "{part} failed: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// A server in a process of its own; it ends with this value.
pub(crate) struct Server {
    process: Running,
    /// Where it listens.
    pub(crate) address: String,
}

impl Server {
    /// Starts a part that prints its address as its first line.
    pub(crate) fn start(part: &str, path: &Path) -> Self {
        let mut process = command(part, path, &[])
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let mut line = String::new();
        let output = process.stdout.take().expect("its output");
        BufReader::new(output).read_line(&mut line).expect("a line");
        let address = line.trim().to_owned();
        Self {
            process: Running(process),
            address,
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.0.id()
    }
}

/// A process that ends with this value.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn command(part: &str, path: &Path, sizes: &[String]) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command
        .arg(part)
        .arg(path)
        .args(sizes)
        .stderr(Stdio::inherit());
    command
}
