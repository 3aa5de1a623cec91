//! The terminals of a page: one shell that everything is typed into, and those that keep a program running.
//!
//! All of it is one process group in a network of its own, where the machine allows that, and ends with the value.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

/// How long a block may take.
const LIMIT: Duration = Duration::from_secs(60);
/// How long to wait before looking again at what a terminal shows, and how often.
const POLL: Duration = Duration::from_millis(20);
const POLLS: u32 = 1_500;
/// The variables that pages inherit, beside those that are set for them.
const KEPT: [&str; 3] = ["HOME", "LANG", "TMPDIR"];
/// What a new terminal is told: which variables there are, and what to type.
const NEW: &str = r#"set -eu; . "$1"; . "$2""#;

/// The shell of a page and its directory.
pub(crate) struct Terminal {
    shell: Child,
    typing: Option<ChildStdin>,
    said: Receiver<String>,
    home: TempDir,
}

impl Terminal {
    /// Opens one with a fresh directory. The launcher is a program with arguments that becomes the shell.
    pub(crate) fn open(launcher: &[String], before: &[String]) -> Result<Self, String> {
        let home = TempDir::new().map_err(|error| error.to_string())?;
        fs::create_dir(home.path().join("work")).map_err(|error| error.to_string())?;
        let mut words = launcher.iter().map(String::as_str).chain(["sh"]);
        let mut command = Command::new(words.next().unwrap_or("sh"));
        command.args(words).current_dir(home.path().join("work"));
        command.process_group(0);
        surround(&mut command);
        let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut shell = pipes
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| error.to_string())?;
        let said = lines(&mut shell);
        let mut terminal = Self {
            typing: shell.stdin.take(),
            shell,
            said,
            home,
        };
        let environment = terminal.file("environment");
        terminal.say("set -eu")?;
        for line in before {
            terminal.say(line)?;
        }
        terminal.say(&format!("export -p >{environment}; echo 0"))?;
        terminal.exit().map(|_| terminal)
    }

    /// Types this and waits until it is done: all that it printed.
    pub(crate) fn typed(&mut self, number: usize, text: &str, exit: i32) -> Result<String, String> {
        let (script, out) = self.script(number, text)?;
        let line = if exit == 0 {
            format!(". {script} >{out} 2>&1 </dev/null; echo 0")
        } else {
            format!("set +e; (set -e; . {script}) >{out} 2>&1 </dev/null; echo $?; set -e")
        };
        self.say(&line)?;
        let status = self.exit();
        let printed = self.printed(number);
        match status {
            Ok(status) if status == exit.to_string() => Ok(printed),
            Ok(status) => Err(format!("it exits with {status}, not {exit}:\n{printed}")),
            Err(fault) => Err(format!("{fault}:\n{printed}")),
        }
    }

    /// Types this in a terminal of its own and waits until it shows this text.
    pub(crate) fn started(&mut self, number: usize, text: &str, until: &str) -> Result<(), String> {
        let (script, out) = self.script(number, text)?;
        let environment = self.file("environment");
        self.say(&format!(
            "env -i sh -c '{NEW}' sh {environment} {script} >{out} 2>&1 </dev/null & echo 0"
        ))?;
        self.exit()?;
        self.shows(number, |printed| printed.contains(until))
            .map(|_| ())
            .map_err(|printed| format!("it never printed `{until}`:\n{printed}"))
    }

    /// Waits until a terminal shows so many lines; these, or fewer where no more came.
    pub(crate) fn shown(&self, number: usize, lines: usize) -> String {
        let enough = |printed: &str| printed.matches('\n').count() >= lines;
        self.shows(number, enough).unwrap_or_else(|printed| printed)
    }

    /// Writes a file of the page.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<(), String> {
        let path = self.home.path().join("work").join(name);
        fs::write(path, format!("{text}\n")).map_err(|error| error.to_string())
    }

    fn shows(&self, number: usize, holds: impl Fn(&str) -> bool) -> Result<String, String> {
        for _ in 0..POLLS {
            let printed = self.printed(number);
            if holds(&printed) {
                return Ok(printed);
            }
            thread::sleep(POLL);
        }
        Err(self.printed(number))
    }

    fn script(&self, number: usize, text: &str) -> Result<(String, String), String> {
        let script = self.file(&format!("{number}.sh"));
        fs::write(&script, format!("{text}\n")).map_err(|error| error.to_string())?;
        Ok((script, self.file(&format!("{number}.out"))))
    }

    fn file(&self, name: &str) -> String {
        self.home.path().join(name).to_string_lossy().into_owned()
    }

    fn printed(&self, number: usize) -> String {
        let bytes = fs::read(self.file(&format!("{number}.out"))).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn say(&mut self, line: &str) -> Result<(), String> {
        let typing = self.typing.as_mut().ok_or("the shell ended")?;
        writeln!(typing, "{line}").map_err(|error| format!("the shell ended: {error}"))
    }

    fn exit(&self) -> Result<String, String> {
        self.said
            .recv_timeout(LIMIT)
            .map_err(|_| "a command failed, or did not end in time".to_owned())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // They may have ended by themselves.
        let _ = kill_process_group(Pid::from_child(&self.shell), Signal::KILL);
        let _ = self.shell.wait();
    }
}

/// The variables that a reader's terminal has, none of KavachOS and none of cargo.
fn surround(command: &mut Command) {
    command.env_clear();
    for name in KEPT {
        if let Some(value) = variable(name) {
            command.env(name, value);
        }
    }
    let binary = Path::new(env!("CARGO_BIN_EXE_kavach"));
    let programs: PathBuf = binary.parent().unwrap_or(binary).into();
    let path = variable("PATH").unwrap_or_default();
    let path = std::iter::once(programs).chain(std::env::split_paths(&path));
    if let Ok(path) = std::env::join_paths(path) {
        command.env("PATH", path);
    }
    // What is printed appears at once, as it does in a terminal.
    command
        .env("PYTHONUNBUFFERED", "1")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("NODE_NO_WARNINGS", "1");
}

/// A variable of the tests' own environment.
#[expect(
    clippy::disallowed_methods,
    reason = "programs are looked for where the tests look, and who writes the book says so"
)]
pub(crate) fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

fn lines(shell: &mut Child) -> Receiver<String> {
    let (send, said) = channel();
    if let Some(stdout) = shell.stdout.take() {
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
    }
    said
}
