//! Running the binary: commands to their end, servers until they are dropped. Nothing waits longer than a minute.

use std::fmt::Display;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use kavachos_test::blocking::Client;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take before the test fails.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);
/// How long to wait before looking again.
const POLL: Duration = Duration::from_millis(10);
/// How often to look: for a minute, as anything else.
const POLLS: u32 = 6_000;

/// The binary under test.
pub(crate) const KAVACH: &str = env!("CARGO_BIN_EXE_kavach");

/// What a command came to.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// One member of the answer's data, as text.
    pub(crate) fn member(&self, name: &str) -> String {
        let json = self.json();
        json["data"][name]
            .as_str()
            .unwrap_or_else(|| panic!("no `{name}`: {json}"))
            .to_owned()
    }
}

/// A directory of its own, with an environment of its own.
pub(crate) struct Place {
    pub(crate) directory: TempDir,
    pub(crate) variables: Vec<(String, String)>,
    /// What is put in front of the arguments of every command.
    pub(crate) flags: Vec<String>,
    /// A program with its arguments that prepares the process and then becomes `kavach`; empty without one.
    pub(crate) launcher: Vec<String>,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            variables: Vec::new(),
            flags: Vec::new(),
            launcher: Vec::new(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn set(&mut self, name: &str, value: impl Display) {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.to_string()));
    }

    pub(crate) fn unset(&mut self, name: &str) {
        self.variables.retain(|(known, _)| known != name);
    }

    /// The command of this line; `'` keeps words together as in a shell.
    pub(crate) fn command(&self, line: impl AsRef<str>) -> Command {
        let mut program = self.launcher.iter().map(String::as_str).chain([KAVACH]);
        let mut command = Command::new(program.next().unwrap());
        command
            .args(program)
            .args(&self.flags)
            .args(words(line.as_ref()))
            .current_dir(self.directory.path());
        command
            .env_clear()
            .envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, line: impl AsRef<str>) -> Ran {
        finish(self.command(line))
    }

    /// Runs a command that must succeed.
    pub(crate) fn done(&self, line: impl AsRef<str>) -> Ran {
        let line = line.as_ref();
        let ran = self.run(line);
        assert_eq!(ran.code, 0, "{line}: {ran:?}");
        ran
    }

    /// Makes `kavach.db`; the key.
    pub(crate) fn init(&self) -> String {
        self.done("init --json").member("token")
    }

    /// From now on commands may have so many files and sockets open.
    pub(crate) fn limit_files(&mut self, files: u32) {
        let limit = format!("ulimit -n {files}; exec \"$@\"");
        self.launcher = ["/bin/sh", "-c", &limit, "sh"].map(str::to_owned).into();
    }

    /// Starts a server on a free port.
    pub(crate) fn start(&self, line: &str) -> Server {
        Server::start(self.command(format!("{line} --listen 127.0.0.1:0")))
    }
}

/// The words of a line; what stands between two `'` is one.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in line.split('\'').enumerate() {
        if index % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_ascii_whitespace().map(str::to_owned));
        }
    }
    words
}

/// Runs a command to its end.
pub(crate) fn finish(mut command: Command) -> Ran {
    let child = command.spawn().unwrap();
    let pid = Pid::from_child(&child);
    let (send, ended) = channel();
    thread::spawn(move || send.send(child.wait_with_output()));
    let output = ended.recv_timeout(LIMIT).unwrap_or_else(|_| {
        kill_process(pid, Signal::KILL).unwrap();
        panic!("not finished in time: {command:?}")
    });
    let output = output.unwrap();
    Ran {
        code: code(output.status),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or(-1)
}

/// What a process prints; threads that share a server may all look.
pub(crate) type Lines = Mutex<Receiver<String>>;

/// A server that runs; dropping it kills this one process.
pub(crate) struct Server {
    child: Child,
    /// What it printed until it listened.
    pub(crate) printed: Vec<String>,
    out: Lines,
    err: Lines,
    pub(crate) url: String,
}

impl Server {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let out = lines(child.stdout.take().unwrap());
        let err = lines(child.stderr.take().unwrap());
        let mut server = Self {
            child,
            printed: Vec::new(),
            out,
            err,
            url: String::new(),
        };
        server.url = server
            .line("listening on ")
            .split_off("listening on ".len());
        server
    }

    /// The next printed line that begins like this.
    pub(crate) fn line(&mut self, start: &str) -> String {
        loop {
            match self.out.get_mut().unwrap().recv_timeout(LIMIT) {
                Ok(line) => {
                    self.printed.push(line.clone());
                    if line.starts_with(start) {
                        return line;
                    }
                }
                Err(_) => panic!("no line `{start}`: {:?} {:?}", self.printed, self.log()),
            }
        }
    }

    /// Waits for a line of the log.
    pub(crate) fn logged(&self, words: &str) -> String {
        loop {
            let line = self
                .err
                .lock()
                .unwrap()
                .recv_timeout(LIMIT)
                .unwrap_or_else(|_| panic!("`{words}` is not in the log"));
            if line.contains(words) {
                return line;
            }
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn address(&self) -> &str {
        self.url.strip_prefix("http://").unwrap()
    }

    /// A caller with this credential.
    pub(crate) fn client(&self, credential: &str) -> Client {
        Client::new(self.address().parse().unwrap(), Some(credential))
    }

    /// A caller without a credential.
    pub(crate) fn stranger(&self) -> Client {
        Client::new(self.address().parse().unwrap(), None)
    }

    /// Kills the server and waits until it is gone.
    pub(crate) fn killed(mut self) {
        self.child.kill().unwrap();
        assert!(!self.child.wait().unwrap().success());
    }

    /// The lines of the log that were not looked at yet.
    pub(crate) fn log(&self) -> Vec<String> {
        self.err.lock().unwrap().try_iter().collect()
    }

    /// Waits for the end; everything that was printed since.
    pub(crate) fn ended(mut self) -> Ran {
        // The streams end with the process; one that does not end in time panics here and is killed.
        let rest = |lines: &mut Lines| {
            let lines = lines.get_mut().unwrap();
            let mut all = String::new();
            loop {
                match lines.recv_timeout(LIMIT) {
                    Ok(line) => all = all + &line + "\n",
                    Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return all,
                    Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                        panic!("the server did not end")
                    }
                }
            }
        };
        let (out, err) = (rest(&mut self.out), rest(&mut self.err));
        Ran {
            code: code(self.child.wait().unwrap()),
            out,
            err,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines of a stream as they come.
pub(crate) fn lines(stream: impl Read + Send + 'static) -> Lines {
    let (send, received) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stream).lines() {
            let Ok(line) = line else { return };
            if send.send(line).is_err() {
                return;
            }
        }
    });
    Mutex::new(received)
}

/// Waits until this holds.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..POLLS {
        if holds() {
            return;
        }
        thread::sleep(POLL);
    }
    panic!("it never came to this: {what}");
}

/// Says, past the capture of the test harness, that a test could not be tried; `scripts/check.sh` counts these lines.
pub(crate) fn skipped(test_and_reason: &str) {
    let line = format!("\nskipped: {test_and_reason}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

/// Whether exactly one line was printed on standard error, and nothing on standard output.
pub(crate) fn is_one_line(ran: &Ran) -> bool {
    ran.out.is_empty() && ran.err.lines().count() == 1
}

/// The names of the files in a directory.
pub(crate) fn files(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
