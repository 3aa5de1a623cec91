//! The log of revocations as a file: a head, a record a line, and an end with the hash over all of them.
//!
//! Promises: what was written reads back; a file that was cut, or in which a record was left out, moved or changed, is
//! refused with the number of the line. It is not signed: bring it over a way that you trust.

use kavachos_core::hex;
use kavachos_core::invalid::Invalid;
use kavachos_core::json::Object;
use kavachos_core::ledger::LogId;
use kavachos_core::revocation::{LogHead, Record};
use serde::{Deserialize, Serialize};

/// What the file is called in its first line.
const FORM: &str = "kavachos-revocations";
/// The version of the form.
const VERSION: u64 = 1;
/// What the last line is called.
const END: &str = "end";
/// The longest line that is looked at.
const MAX_LINE_BYTES: usize = 1_024;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Head {
    kind: String,
    version: u64,
    log: String,
    epoch: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct End {
    kind: String,
    rseq: u64,
    rhash: String,
}

/// Which log a file is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exported {
    /// Its name.
    pub log: LogId,
    /// The epoch that it was in.
    pub epoch: u64,
}

/// Writes the log down, line by line, from its first record on.
#[derive(Debug)]
pub struct RevocationWriter {
    of: Exported,
    head: LogHead,
}

impl RevocationWriter {
    /// Begins the file of a log; gives its first line too.
    pub fn begin(of: Exported) -> (Self, String) {
        let head = Head {
            kind: FORM.to_owned(),
            version: VERSION,
            log: hex::encode(&of.log.0),
            epoch: of.epoch,
        };
        let writer = Self {
            of,
            head: LogHead::EMPTY,
        };
        (writer, line(&head))
    }

    /// Which log it is of.
    pub fn of(&self) -> Exported {
        self.of
    }

    /// The last record that was written.
    pub fn head(&self) -> LogHead {
        self.head
    }

    /// The line of the next record.
    ///
    /// # Errors
    /// It is not the next one.
    pub fn add(&mut self, record: &Record) -> Result<String, Invalid> {
        let next = self.head.append(record.kill);
        if next.rseq != record.rseq {
            return Err(Invalid::new(format!(
                "the record {} came where {} was expected",
                record.rseq, next.rseq
            )));
        }
        self.head = next;
        Ok(line(record))
    }

    /// The last line.
    pub fn end(self) -> String {
        line(&End {
            kind: END.to_owned(),
            rseq: self.head.rseq,
            rhash: hex::encode(&self.head.rhash),
        })
    }
}

fn line(part: &impl Serialize) -> String {
    // Texts and numbers are always written.
    serde_json::to_string(part).unwrap_or_default() + "\n"
}

/// One line that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Read {
    /// Which log it is.
    Head(Exported),
    /// A record, and the head that the log comes to by it.
    Record(Record, LogHead),
    /// That was all.
    End,
}

/// Reads a file line by line.
#[derive(Debug, Default)]
pub(super) struct RevocationReader {
    lines: u64,
    begun: bool,
    ended: bool,
    head: LogHead,
}

impl RevocationReader {
    /// What the records so far come to.
    pub(super) fn head(&self) -> LogHead {
        self.head
    }

    /// What is wrong with the line that was read last.
    pub(super) fn wrong(&self, why: impl Into<String>) -> Invalid {
        Invalid::at(format!("line {}", self.lines), why)
    }

    /// Takes the next line, without its end.
    pub(super) fn take(&mut self, text: &str) -> Result<Read, Invalid> {
        self.lines = self.lines.saturating_add(1);
        if text.len() > MAX_LINE_BYTES {
            return Err(self.wrong(format!("it is longer than {MAX_LINE_BYTES} bytes")));
        }
        if self.ended {
            return Err(self.wrong("it stands after the end"));
        }
        if !self.begun {
            self.begun = true;
            return self.begin(text).map(Read::Head);
        }
        let read: Result<Record, _> = serde_json::from_str(text);
        match read {
            Ok(record) => self.record(record),
            Err(_) => self.end(text),
        }
    }

    fn begin(&self, text: &str) -> Result<Exported, Invalid> {
        let none = || {
            self.wrong(
                "this is no exported log of revocations, as `kavach revocations export` writes it",
            )
        };
        let read: Result<Object<Head>, _> = serde_json::from_str(text);
        let Object(head) = read.map_err(|_| none())?;
        if head.kind != FORM {
            return Err(none());
        }
        if head.version != VERSION {
            return Err(self.wrong("it was written by a newer `kavach`: use that one"));
        }
        let log = hex::decode_exact(&head.log).ok_or_else(none)?;
        Ok(Exported {
            log: LogId(log),
            epoch: head.epoch,
        })
    }

    fn record(&mut self, record: Record) -> Result<Read, Invalid> {
        let next = self.head.append(record.kill);
        if next.rseq != record.rseq {
            return Err(self.wrong(format!(
                "it is record {}, and {} follows here",
                record.rseq, next.rseq
            )));
        }
        self.head = next;
        Ok(Read::Record(record, next))
    }

    fn end(&mut self, text: &str) -> Result<Read, Invalid> {
        let read: Result<Object<End>, _> = serde_json::from_str(text);
        let end = read.ok().map(|Object(end)| end);
        let end = end.filter(|end| end.kind == END);
        let end = end.ok_or_else(|| self.wrong("it is neither a record nor the end"))?;
        if end.rseq != self.head.rseq || end.rhash != hex::encode(&self.head.rhash) {
            return Err(self.wrong(
                "the records do not come to the end that it names: one was left out or changed",
            ));
        }
        self.ended = true;
        Ok(Read::End)
    }

    /// The file has come to its end.
    pub(super) fn finish(&self) -> Result<(), Invalid> {
        if self.ended {
            return Ok(());
        }
        Err(self.wrong("the file has no end: it is cut off"))
    }
}

#[cfg(test)]
mod tests {
    use kavachos_core::revocation::{Handle, HandleKind, Mark};

    use super::*;

    const OF: Exported = Exported {
        log: LogId([3; 16]),
        epoch: 4,
    };

    fn record(rseq: u64) -> Record {
        let handle = Handle {
            kind: HandleKind::Agent,
            bytes: [u8::try_from(rseq).unwrap(); 16],
        };
        let kill = Mark {
            handle,
            generation: 2,
        };
        Record { rseq, kill }
    }

    fn file() -> Vec<String> {
        let (mut writer, head) = RevocationWriter::begin(OF);
        let mut lines = vec![head];
        lines.extend((1..=3).map(|rseq| writer.add(&record(rseq)).unwrap()));
        assert!(writer.add(&record(5)).is_err());
        lines.push(writer.end());
        lines
            .iter()
            .map(|line| line.trim_end().to_owned())
            .collect()
    }

    fn read<T: AsRef<str>>(lines: &[T]) -> Result<LogHead, Invalid> {
        let mut reader = RevocationReader::default();
        for line in lines {
            reader.take(line.as_ref())?;
        }
        reader.finish()?;
        Ok(reader.head())
    }

    #[test]
    fn what_was_written_reads_back() {
        let lines = file();
        assert_eq!(read(&lines).map(|head| head.rseq), Ok(3));
        let first = RevocationReader::default().take(&lines[0]);
        assert_eq!(first, Ok(Read::Head(OF)));
    }

    #[test]
    fn what_was_cut_left_out_moved_or_changed_is_refused() {
        let lines = file();
        let edited = |edit: fn(&mut Vec<String>)| {
            let mut lines = lines.clone();
            edit(&mut lines);
            read(&lines).is_err()
        };
        assert!(edited(|lines| drop(lines.pop())));
        assert!(edited(|lines| drop(lines.remove(0))));
        assert!(edited(|lines| drop(lines.remove(2))));
        assert!(edited(|lines| drop(lines.remove(3))));
        assert!(edited(|lines| lines.swap(1, 2)));
        assert!(edited(
            |lines| lines[2] = lines[2].replace("\"generation\":2", "\"generation\":3")
        ));
        assert!(edited(|lines| lines.push(lines[1].clone())));
        assert!(edited(
            |lines| lines[0] = lines[0].replace("\"version\":1", "\"version\":2")
        ));
        // The twin: nothing was edited.
        assert!(!edited(|_| ()));
    }
}
