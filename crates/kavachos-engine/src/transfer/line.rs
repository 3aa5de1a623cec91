//! One line: a row as a JSON object, in the one way in which it can be written.

use kavachos_core::hex;
use kavachos_core::ledger::{Frontier, LogId};
use kavachos_core::revocation::LogHead;
use kavachos_core::time::Timestamp;
use kavachos_store::Cell;
use kavachos_store::transfer::{Column, Form, Log, Table};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{FORM, VERSION};

/// What is wrong with a line, in words that follow its number.
pub(super) type Wrong = String;

/// The largest number in a file. Versions, kills and generations are counted up from what stands in it by every change
/// and every revocation, and a database holds 2^63 - 1 at most: at that, nothing could be revoked any more.
const MAX_NUMBER: i64 = 1 << 62;

/// The first line: what the file is, and where its logs stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Head {
    kind: String,
    version: u64,
    product: String,
    created_at: Timestamp,
    log: String,
    epoch: u64,
    records: u64,
    root: String,
    last_time: i64,
    revocations: u64,
    rhash: String,
    /// How many mails waited, which stay behind.
    mails_left: u64,
}

/// The last line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct End {
    kind: String,
    /// How many lines stand before it.
    pub(super) lines: u64,
    /// SHA-256 of all before it, line ends too.
    pub(super) sha256: String,
}

/// Where the logs of a file stand, as its head says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stand {
    pub(super) log: LogId,
    pub(super) epoch: u64,
    pub(super) records: u64,
    pub(super) root: [u8; 32],
    pub(super) last_time: Timestamp,
    pub(super) revocation: LogHead,
}

impl Head {
    pub(super) fn of(log: &Log, frontier: &Frontier, (now, mails): (Timestamp, u64)) -> Self {
        Self {
            kind: FORM.to_owned(),
            version: VERSION,
            product: env!("CARGO_PKG_VERSION").to_owned(),
            created_at: now,
            log: hex::encode(&log.log),
            epoch: log.epoch,
            records: frontier.size(),
            root: hex::encode(&frontier.root()),
            last_time: log.last_time.as_micros(),
            revocations: log.rseq,
            rhash: hex::encode(&log.rhash),
            mails_left: mails,
        }
    }

    /// Reads the first line.
    pub(super) fn read(line: &str) -> Result<Stand, Wrong> {
        let kind: Value = serde_json::from_str(line).unwrap_or_default();
        if kind.get("kind").and_then(Value::as_str) != Some(FORM) {
            return Err(format!(
                "this is no exported tenant: a file begins with a line of the kind `{FORM}`"
            ));
        }
        let version = kind.get("version").and_then(Value::as_u64);
        if version != Some(VERSION) {
            return Err(format!(
                "the file has another version of the form than {VERSION}, which is the one that this server reads"
            ));
        }
        let head: Self = exact(line)?;
        let last_time = Timestamp::from_micros(head.last_time);
        let number = |number: u64| i64::try_from(number).is_ok_and(|number| number <= MAX_NUMBER);
        if last_time.as_micros() != head.last_time
            || ![head.epoch, head.records, head.revocations]
                .map(number)
                .iter()
                .all(|fits| *fits)
            || head.epoch == 0
        {
            return Err("a number in it cannot be".to_owned());
        }
        Ok(Stand {
            log: LogId(sized(&head.log)?),
            epoch: head.epoch,
            records: head.records,
            root: sized(&head.root)?,
            last_time,
            revocation: LogHead {
                rseq: head.revocations,
                rhash: sized(&head.rhash)?,
            },
        })
    }
}

impl End {
    pub(super) fn new(lines: u64, sha256: &[u8]) -> Self {
        Self {
            kind: "end".to_owned(),
            lines,
            sha256: hex::encode(sha256),
        }
    }

    pub(super) fn read(line: &str) -> Result<Self, Wrong> {
        exact(line)
    }
}

/// A line of this type, as it is written.
pub(super) fn written<T: Serialize>(thing: &T) -> String {
    // Members with names of their own can always be written.
    let mut line = serde_json::to_string(thing).unwrap_or_default();
    line.push('\n');
    line
}

/// Reads a line of a type; one that is written in another way than an export writes it is refused.
pub(super) fn exact<T: Serialize + for<'de> Deserialize<'de>>(line: &str) -> Result<T, Wrong> {
    let thing: T = serde_json::from_str(line).map_err(|error| error.to_string())?;
    same(line, &written(&thing))?;
    Ok(thing)
}

fn same(line: &str, written: &str) -> Result<(), Wrong> {
    if written.strip_suffix('\n') == Some(line) {
        return Ok(());
    }
    Err("it is not written as an export writes it".to_owned())
}

/// One row, as a line. What a column of a plugin is called is the plugin's matter, so they stand by themselves.
pub(super) fn encode(table: &Table<'_>, cells: &[Cell]) -> String {
    let members = table
        .columns
        .iter()
        .zip(cells)
        .filter_map(|(column, cell)| {
            let value = match cell {
                Cell::Null => return None,
                Cell::Integer(number) => Value::from(*number),
                Cell::Text(text) => Value::from(text.as_str()),
                Cell::Blob(bytes) => Value::from(hex::encode(bytes)),
            };
            Some(format!("\"{}\":{value}", column.member))
        });
    let members = members.collect::<Vec<_>>().join(",");
    let kind = table.kind;
    match table.plugin {
        None => format!("{{\"kind\":\"{kind}\",{members}}}\n"),
        Some(_) => format!("{{\"kind\":\"{kind}\",\"row\":{{{members}}}}}\n"),
    }
}

/// The kind of a line, and its members.
pub(super) fn members(line: &str) -> Result<(String, Map<String, Value>), Wrong> {
    let value: Value =
        serde_json::from_str(line).map_err(|error| format!("it is no JSON: {error}"))?;
    match value {
        Value::Object(mut members) => match members.remove("kind") {
            Some(Value::String(kind)) => Ok((kind, members)),
            _ => Err("it has no `kind`".to_owned()),
        },
        _ => Err("it is no JSON object".to_owned()),
    }
}

/// The row that a line is.
pub(super) fn decode(
    table: &Table,
    members: Map<String, Value>,
    line: &str,
) -> Result<Vec<Cell>, Wrong> {
    let mut members = match (table.plugin, members) {
        (None, members) => members,
        (Some(_), mut members) => match members.remove("row") {
            Some(Value::Object(row)) => row,
            _ => return Err("`row` is missing".to_owned()),
        },
    };
    let mut cells = Vec::with_capacity(table.columns.len());
    for column in table.columns {
        cells.push(cell(column, members.remove(column.member))?);
    }
    if let Some(name) = members.keys().next() {
        let name = kavachos_core::invalid::Invalid::at(name.clone(), "is no member of this kind");
        return Err(name.to_string());
    }
    same(line, &encode(table, &cells))?;
    Ok(cells)
}

fn cell(column: &Column, value: Option<Value>) -> Result<Cell, Wrong> {
    let member = column.member;
    match (column.form, value) {
        (_, None) if column.optional => Ok(Cell::Null),
        (_, None) => Err(format!("`{member}` is missing")),
        (Form::Text, Some(Value::String(text))) => Ok(Cell::Text(text)),
        (Form::Bytes, Some(Value::String(text))) => hex::decode(&text)
            .map(Cell::Blob)
            .ok_or_else(|| format!("`{member}` is not in lower-case hex")),
        (Form::Number, Some(Value::Number(number))) => number
            .as_i64()
            .filter(|number| (0..=MAX_NUMBER).contains(number))
            .map(Cell::Integer)
            .ok_or_else(|| format!("`{member}` is no number from 0 to 2^62")),
        (Form::Signed, Some(Value::Number(number))) => number
            .as_i64()
            .map(Cell::Integer)
            .ok_or_else(|| format!("`{member}` is no number that a database holds")),
        (Form::Text | Form::Bytes, Some(_)) => Err(format!("`{member}` is no text")),
        (Form::Number | Form::Signed, Some(_)) => Err(format!("`{member}` is no number")),
    }
}

fn sized<const N: usize>(text: &str) -> Result<[u8; N], Wrong> {
    hex::decode_exact(text)
        .ok_or_else(|| format!("a hash or name in it is not {N} bytes in lower-case hex"))
}

#[cfg(test)]
mod tests {
    use kavachos_store::transfer::{COUNTERS, USERS};

    use super::*;

    fn read(table: &Table<'_>, line: &str) -> Result<Vec<Cell>, Wrong> {
        let (_, members) = members(line)?;
        decode(table, members, line)
    }

    const COUNTER: &str = r#"{"kind":"counter","counter":"00ff","state":"","time":7}"#;

    #[test]
    fn a_row_reads_back_as_it_was_written() {
        let cells = read(&COUNTERS, COUNTER).unwrap();
        assert_eq!(
            cells,
            [
                Cell::Blob(vec![0, 255]),
                Cell::Blob(Vec::new()),
                Cell::Integer(7)
            ]
        );
        assert_eq!(encode(&COUNTERS, &cells), format!("{COUNTER}\n"));
    }

    #[test]
    fn a_number_leaves_room_to_be_counted_up() {
        let line = |time: i64| COUNTER.replace(":7}", &format!(":{time}}}"));
        assert!(read(&COUNTERS, &line(MAX_NUMBER)).is_ok());
        for time in [MAX_NUMBER + 1, i64::MAX] {
            assert!(read(&COUNTERS, &line(time)).is_err(), "{time}");
        }
    }

    #[test]
    fn a_row_of_a_plugin_may_have_any_columns_and_numbers() {
        let columns = [
            Column::of_plugin("kind", Form::Text),
            Column::of_plugin("less", Form::Signed),
            Column::of_plugin("used", Form::Bytes).or_null(),
        ];
        let table = Table::of_plugin("notes", "notes_note", (&columns, 1));
        let text = r#"{"kind":"notes_note","row":{"kind":"a\"b","less":-9223372036854775808}}"#;
        let cells = read(&table, text).unwrap();
        assert_eq!(
            cells,
            [
                Cell::Text("a\"b".to_owned()),
                Cell::Integer(i64::MIN),
                Cell::Null
            ]
        );
        assert_eq!(encode(&table, &cells), format!("{text}\n"));
        for wrong in [
            r#"{"kind":"notes_note","less":1}"#,
            r#"{"kind":"notes_note","row":{"kind":"a","less":1},"more":1}"#,
            r#"{"kind":"notes_note","row":{"kind":"a","less":1,"more":1}}"#,
            r#"{"kind":"notes_note","row":{"less":1,"kind":"a"}}"#,
            r#"{"kind":"notes_note","row":{"kind":"a","less":9223372036854775808}}"#,
        ] {
            assert!(read(&table, wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn there_is_one_way_to_write_a_row() {
        for line in [
            r#"{"kind":"counter","counter":"00FF","state":"","time":7}"#,
            r#"{"kind":"counter","counter":"0ff","state":"","time":7}"#,
            r#"{"kind":"counter", "counter":"00ff","state":"","time":7}"#,
            r#"{"kind":"counter","state":"","counter":"00ff","time":7}"#,
            r#"{"kind":"counter","counter":"00ff","counter":"00ff","state":"","time":7}"#,
            r#"{"kind":"counter","counter":"00ff","state":"","time":7.0}"#,
            r#"{"kind":"counter","counter":"00ff","state":"","time":-7}"#,
            r#"{"kind":"counter","counter":"00ff","state":"","time":7,"more":1}"#,
            r#"{"kind":"counter","counter":"00ff","time":7}"#,
            r#"{"kind":"counter","counter":"00ff","state":null,"time":7}"#,
        ] {
            assert!(read(&COUNTERS, line).is_err(), "{line}");
        }
        assert!(read(&USERS, COUNTER).is_err());
        assert!(members("[]").is_err() && members("{}").is_err() && members("{").is_err());
    }
}
