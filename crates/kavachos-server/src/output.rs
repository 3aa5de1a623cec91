//! Everything that is printed: answers on standard output, notes and errors on standard error.
//!
//! Promises: nothing of it acts on a terminal. JSON is escaped wherever it goes, so that its bytes are the same everywhere;
//! what a server sends for a file is escaped for a terminal only, so that a file holds what was sent.
//! A reader that went away is no error: what follows is dropped, and the exit code stays what the command came to.

use std::io::{self, ErrorKind, IsTerminal, Write};

use serde_json::{Value, json};

use crate::answer::Answer;
use crate::escape::{self, Guard, shown};
use crate::failure::Failure;
use crate::only::Only;
use crate::view;

/// How answers are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// For people.
    Text,
    /// For programs: the answer's JSON, or one member of it.
    Json,
}

/// The two streams of the process, or of a test.
pub(crate) struct Output {
    out: Stream,
    err: Stream,
    form: Form,
    /// The one member that is printed, instead of all of the answer's JSON.
    only: Option<Only>,
    /// Whether an answer did not have it.
    is_missing: bool,
    /// Where standard output is a terminal.
    guard: Option<Guard>,
}

/// A stream that remembers that nobody can read it any more.
struct Stream {
    sink: Box<dyn Write>,
    failed: Option<ErrorKind>,
}

impl Stream {
    fn new(sink: impl Write + 'static) -> Self {
        Self {
            sink: Box::new(sink),
            failed: None,
        }
    }

    fn line(&mut self, bytes: &[u8]) {
        if self.failed.is_some() {
            return;
        }
        let written = [bytes, b"\n"]
            .into_iter()
            .try_for_each(|part| self.sink.write_all(part));
        if let Err(error) = written.and_then(|()| self.sink.flush()) {
            self.failed = Some(error.kind());
        }
    }
}

impl Output {
    /// The streams of this process.
    pub(crate) fn of_process(form: Form) -> Self {
        Self {
            out: Stream::new(io::stdout()),
            err: Stream::new(io::stderr()),
            form,
            only: None,
            is_missing: false,
            guard: io::stdout().is_terminal().then(Guard::default),
        }
    }

    /// Prints one member of each answer, and nothing else of it.
    pub(crate) fn only(mut self, only: Option<Only>) -> Self {
        if only.is_some() {
            self.form = Form::Json;
        }
        self.only = only;
        self
    }

    /// Refuses a member that is none of these, before anything is done.
    pub(crate) fn check_member(&self, members: &[&str]) -> Result<(), Failure> {
        let check = |only: &Only| only.check(members.iter().copied());
        self.only.as_ref().map_or(Ok(()), check)
    }

    /// Refuses to choose a member of what is no answer of one thing, before anything is done.
    pub(crate) fn refuse_only(&self) -> Result<(), Failure> {
        match self.only {
            None => Ok(()),
            Some(_) => Err(Failure::Usage(
                "`--only` is for commands that print one thing: leave it out".to_owned(),
            )),
        }
    }

    /// How answers are printed.
    pub(crate) fn form(&self) -> Form {
        self.form
    }

    /// Prints one line of the answer.
    pub(crate) fn line(&mut self, text: &str) {
        self.out.line(shown(text).as_bytes());
    }

    /// Prints a line that is no part of the answer.
    pub(crate) fn note(&mut self, text: &str) {
        self.err.line(shown(text).as_bytes());
    }

    /// Prints a part of an answer of any length: as it is, but on a terminal nothing of it acts.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.guard {
            None => self.out.sink.write_all(bytes)?,
            Some(guard) => self.out.sink.write_all(guard.take(bytes).as_bytes())?,
        }
        self.out.sink.flush()
    }

    /// Shows how far something has come, over what it showed before.
    pub(crate) fn progress(&mut self, text: &str) {
        let line = format!("\r{}\u{1b}[K", shown(text));
        // Nobody may be looking.
        let _ = self.err.sink.write_all(line.as_bytes());
        let _ = self.err.sink.flush();
    }

    /// Asks something of whoever sits at the terminal.
    pub(crate) fn question(&mut self, text: &str) {
        // Whoever does not see it does not say yes.
        let _ = self.err.sink.write_all(shown(text).as_bytes());
        let _ = self.err.sink.flush();
    }

    /// Prints a text of this program's own as it is.
    pub(crate) fn own(&mut self, bytes: &[u8]) {
        self.out.line(bytes);
    }

    /// Prints JSON: the same value, with what would act on a terminal written as escapes.
    pub(crate) fn json(&mut self, bytes: &[u8]) {
        let json = escape::json(&String::from_utf8_lossy(bytes));
        self.out.line(json.as_bytes());
    }

    /// Prints an answer for programs: its JSON, or the one member that is asked for.
    pub(crate) fn answer(&mut self, answer: &Answer) {
        match self.only.clone() {
            None => self.json(&answer.body),
            Some(only) => self.member(&only, answer.data()),
        }
    }

    /// Prints what a command found out by itself, as the API would answer it.
    pub(crate) fn data(&mut self, data: &Value) {
        match self.only.clone() {
            None => self.json(json!({ "data": data }).to_string().as_bytes()),
            Some(only) => self.member(&only, data),
        }
    }

    /// Prints a member; where there is none, all of the thing goes where errors go, since what was asked for was done.
    fn member(&mut self, only: &Only, thing: &Value) {
        match only.of(thing) {
            Some(Value::String(text)) if self.guard.is_some() => self.line(text),
            Some(Value::String(text)) => self.out.line(text.as_bytes()),
            Some(other) => self.json(other.to_string().as_bytes()),
            None => {
                self.is_missing = true;
                self.note(&format!("error: {}", only.missing(thing)));
                if thing.is_object() {
                    self.err.line(escape::json(&thing.to_string()).as_bytes());
                }
            }
        }
    }

    /// Prints one thing: a line for each of these members, or the answer's JSON.
    pub(crate) fn record(&mut self, answer: &Answer, members: &[&str]) {
        match self.form {
            Form::Json => self.answer(answer),
            Form::Text => self.lines(view::record(answer.data(), members)),
        }
    }

    /// Prints a list as a table of these members, or the answer's JSON.
    pub(crate) fn table(&mut self, answer: &Answer, members: &[&str]) {
        if self.form == Form::Json {
            return self.answer(answer);
        }
        self.lines(view::table(answer.items(), members));
        self.note_more(answer);
    }

    /// Says how to get the next page of a list, if there is one.
    pub(crate) fn note_more(&mut self, answer: &Answer) {
        if let Some(cursor) = answer.next_cursor() {
            self.note(&format!(
                "there is more: repeat this with `--cursor {cursor}`"
            ));
        }
    }

    /// Prints lines.
    pub(crate) fn lines(&mut self, lines: impl IntoIterator<Item = String>) {
        for line in lines {
            self.line(&line);
        }
    }

    /// Prints why the command failed. An answer of the server is printed as JSON where that was asked for.
    pub(crate) fn failure(&mut self, failure: &Failure) {
        match failure {
            Failure::Refused(refusal) if self.form == Form::Json && self.only.is_none() => {
                self.json(&refusal.body);
            }
            Failure::Config(error) => {
                for problem in error.problems() {
                    self.note(&format!("error: {problem}"));
                }
            }
            other => self.note(&format!("error: {other}")),
        }
    }

    /// Whether nothing can be printed any more.
    pub(crate) fn is_over(&self) -> bool {
        self.out.failed.is_some()
    }

    /// The exit code of a command that came to this one, once everything is printed.
    pub(crate) fn exit_code(&self, code: u8) -> u8 {
        match code {
            _ if self.is_missing => 2,
            0 if self.has_failed() => 1,
            code => code,
        }
    }

    /// Whether something could not be printed although somebody could still read it (a full disk, say).
    fn has_failed(&self) -> bool {
        self.out
            .failed
            .is_some_and(|kind| kind != ErrorKind::BrokenPipe)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::rc::Rc;

    struct Failing(ErrorKind);

    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn output(kind: ErrorKind) -> Output {
        Output {
            out: Stream::new(Failing(kind)),
            err: Stream::new(io::sink()),
            form: Form::Text,
            only: None,
            is_missing: false,
            guard: None,
        }
    }

    /// A stream that can be looked at afterwards.
    #[derive(Clone, Default)]
    struct Page(Rc<RefCell<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Page {
        fn text(&self) -> String {
            String::from_utf8(self.0.borrow().clone()).unwrap()
        }
    }

    /// What choosing this member of a thing prints, on both streams, and the exit code.
    fn chosen(name: &str, guard: Option<Guard>) -> (String, String, u8) {
        let (out, err) = (Page::default(), Page::default());
        let mut output = Output {
            out: Stream::new(out.clone()),
            err: Stream::new(err.clone()),
            guard,
            ..output(ErrorKind::Other)
        };
        output = output.only(Some(Only::new(name.to_owned())));
        output.data(
            &json!({ "token": "kv_1", "note": "a\u{202e}b", "list": ["\u{202e}"], "no": null }),
        );
        (out.text(), err.text(), output.exit_code(0))
    }

    #[test]
    fn one_member_is_a_text_as_it_is_or_json() {
        let printed = |name| chosen(name, None);
        assert_eq!(printed("token"), ("kv_1\n".into(), String::new(), 0));
        assert_eq!(printed("no"), ("null\n".into(), String::new(), 0));
        assert_eq!(printed("list").0, "[\"\\u202e\"]\n");
        assert_eq!(printed("note").0, "a\u{202e}b\n");
        // The twin: on a terminal it does not act.
        assert_eq!(chosen("note", Some(Guard::default())).0, "a\\u{202e}b\n");
    }

    #[test]
    fn an_answer_without_the_member_is_not_lost() {
        let (out, err, code) = chosen("tokn", None);
        assert_eq!((out.as_str(), code), ("", 2));
        assert!(err.contains("`token`") && err.contains(r#""token":"kv_1""#));
        assert!(!err.contains('\u{202e}'), "{err}");
    }

    #[test]
    fn an_answer_of_any_length_is_guarded_on_a_terminal_and_nowhere_else() {
        let printed = |guard| {
            let page = Page::default();
            let mut output = Output {
                out: Stream::new(page.clone()),
                guard,
                ..output(ErrorKind::Other)
            };
            output.bytes("{\"a\":\"\u{9b}\"}\n".as_bytes()).unwrap();
            page.text()
        };
        assert_eq!(printed(Some(Guard::default())), "{\"a\":\"\\u009b\"}\n");
        assert_eq!(printed(None), "{\"a\":\"\u{9b}\"}\n");
    }

    #[test]
    fn a_reader_that_went_away_is_no_failure_and_a_full_disk_is() {
        let mut gone = output(ErrorKind::BrokenPipe);
        gone.line("x");
        assert!(!gone.has_failed());
        let mut full = output(ErrorKind::StorageFull);
        full.line("x");
        assert!(full.has_failed());
    }
}
