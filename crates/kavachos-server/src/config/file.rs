//! `kavach.toml`: its values with their full keys and their lines.

use std::fs;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::layer::{Layers, MAX_FILE_BYTES};
use super::problem::{Origin, Problem};
use super::providers;
use super::setting::{self, Form, Setting};

/// How deep tables nest: `[agents]` is one.
const MAX_DEPTH: usize = 2;
/// How many problems of one file are told.
const MAX_PROBLEMS: usize = 100;

/// Reads a file into the layers; everything that is wrong with it. One that cannot be parsed gives no values.
pub(super) fn read(path: &Path, layers: &mut Layers) -> Vec<Problem> {
    let shown = path.display().to_string();
    match text_of(path) {
        Ok(text) => parse(shown, &text, layers),
        Err(reason) => {
            let origin = Origin::File("configuration file".to_owned());
            vec![Problem::new(shown, &origin, reason)]
        }
    }
}

fn text_of(path: &Path) -> Result<String, String> {
    let size = fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > MAX_FILE_BYTES {
        return Err(format!("is larger than {MAX_FILE_BYTES} bytes"));
    }
    fs::read_to_string(path).map_err(|error| error.to_string())
}

fn parse(file: String, text: &str, layers: &mut Layers) -> Vec<Problem> {
    let (parsed, errors) = DeTable::parse_recoverable(text);
    let mut reader = Reader {
        file,
        text,
        layers,
        problems: Vec::new(),
    };
    for error in errors.iter().take(MAX_PROBLEMS) {
        let at = error.span().map_or(0, |span| span.start);
        let message = error.message().lines().collect::<Vec<_>>().join(", ");
        let file = reader.file.clone();
        reader.problem(file, at, message);
    }
    if reader.problems.is_empty() {
        reader.table(parsed.get_ref(), "", MAX_DEPTH);
    }
    reader.problems
}

/// Reads one file into the layers.
pub(super) struct Reader<'a> {
    file: String,
    text: &'a str,
    pub(super) layers: &'a mut Layers,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn table(&mut self, table: &DeTable<'_>, prefix: &str, depth: usize) {
        for (name, value) in table {
            let (at, name) = (name.span().start, name.get_ref());
            let key = format!("{prefix}{name}");
            match value.get_ref() {
                // A quoted name may hold a dot, which no name of ours does.
                _ if name.contains('.') => self.unknown(key, at),
                list if key == providers::KEY => self.providers(list, at),
                DeValue::Table(inner) if depth > 1 && !inner.is_empty() => {
                    self.table(inner, &format!("{key}."), depth - 1);
                }
                DeValue::Table(_) if setting::is_table(&key) => {}
                other => self.value(key, other, at),
            }
        }
    }

    fn value(&mut self, key: String, value: &DeValue<'_>, at: usize) {
        let Some(setting) = setting::find(&key) else {
            return self.unknown(key, at);
        };
        match text(setting, value) {
            Ok(text) => {
                let origin = self.origin(at);
                self.layers.put(setting.key, text, origin);
            }
            Err(message) => self.problem(key, at, message),
        }
    }

    fn unknown(&mut self, key: String, at: usize) {
        let hint = match setting::meant_by(&key) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => "`kavach config example` lists them".to_owned(),
        };
        self.problem(key, at, format!("this is no setting; {hint}"));
    }

    pub(super) fn problem(&mut self, key: String, at: usize, message: impl Into<String>) {
        if self.problems.len() < MAX_PROBLEMS {
            let origin = self.origin(at);
            self.problems.push(Problem::new(key, &origin, message));
        }
    }

    pub(super) fn origin(&self, at: usize) -> Origin {
        Origin::Line {
            file: self.file.clone(),
            line: line_of(self.text, at),
        }
    }
}

/// A value in the form that its variable would have.
fn text(setting: &Setting, value: &DeValue<'_>) -> Result<String, String> {
    let expected = match setting.form {
        Form::Secret => {
            return Err(format!(
                "secrets do not belong in this file: set {0} or {0}_FILE",
                setting.variable
            ));
        }
        Form::Text { .. } | Form::Choice(_) => "a text in quotes",
        Form::List { .. } => "a text in quotes, or a list of such texts",
        Form::Count { .. } => "a whole number without quotes",
    };
    let text = match (setting.form, value) {
        (Form::Count { .. }, DeValue::Integer(number)) => {
            let decimal = i128::from_str_radix(number.as_str(), number.radix());
            Some(decimal.map_or_else(|_| number.to_string(), |number| number.to_string()))
        }
        (Form::Count { .. }, _) => None,
        (_, DeValue::String(text)) => Some(text.to_string()),
        (Form::List { .. }, DeValue::Array(items)) => list(items),
        _ => None,
    };
    text.ok_or_else(|| format!("must be {expected}"))
}

/// Texts, none of them empty, with commas between them.
fn list(items: &toml::de::DeArray<'_>) -> Option<String> {
    let texts: Option<Vec<&str>> = items
        .iter()
        .map(|item| item.get_ref().as_str().filter(|text| !text.is_empty()))
        .collect();
    texts.map(|texts| texts.join(","))
}

fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}
