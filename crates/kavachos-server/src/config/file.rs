//! `kavach.toml`: its values with their full keys and their lines.

use std::fs;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::layer::{ConfigError, Kind, Layers, MAX_FILE_BYTES, SETTINGS, nearest};

/// How deep tables nest: `[agents]` is one.
const MAX_DEPTH: usize = 2;

/// Reads a file into the layers.
pub(super) fn read(path: &Path, layers: &mut Layers) -> Result<(), ConfigError> {
    let shown = path.display().to_string();
    let wrong = |reason: String| ConfigError::new(&shown, "configuration file", reason);
    let size = fs::metadata(path)
        .map_err(|error| wrong(error.to_string()))?
        .len();
    if size > MAX_FILE_BYTES {
        return Err(wrong(format!("is larger than {MAX_FILE_BYTES} bytes")));
    }
    let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let parsed = DeTable::parse(&text).map_err(|error| {
        let line = line_of(&text, error.span().map_or(0, |span| span.start));
        let message = error.message().lines().collect::<Vec<_>>().join(", ");
        ConfigError::new(&shown, &format!("line {line}"), message)
    })?;
    Reader {
        shown: &shown,
        text: &text,
        layers,
    }
    .table(parsed.get_ref(), "", MAX_DEPTH)
}

struct Reader<'a> {
    shown: &'a str,
    text: &'a str,
    layers: &'a mut Layers,
}

impl Reader<'_> {
    fn table(
        &mut self,
        table: &DeTable<'_>,
        prefix: &str,
        depth: usize,
    ) -> Result<(), ConfigError> {
        for (name, value) in table {
            let key = format!("{prefix}{}", name.get_ref());
            let from = format!(
                "{}, line {}",
                self.shown,
                line_of(self.text, name.span().start)
            );
            match value.get_ref() {
                DeValue::Table(inner) if depth > 1 => {
                    self.table(inner, &format!("{key}."), depth - 1)?;
                }
                other => self.value(&key, other, from)?,
            }
        }
        Ok(())
    }

    fn value(&mut self, key: &str, value: &DeValue<'_>, from: String) -> Result<(), ConfigError> {
        let Some(setting) = SETTINGS.iter().find(|setting| setting.key == key) else {
            let meant = nearest(key, |setting| setting.key);
            let hint = meant.map_or(String::new(), |meant| format!("; did you mean `{meant}`?"));
            return Err(ConfigError::new(
                key,
                &from,
                format!("this is no setting{hint}"),
            ));
        };
        if setting.kind == Kind::Secret {
            let message = format!(
                "secrets do not belong in this file: set {0} or {0}_FILE",
                setting.variable
            );
            return Err(ConfigError::new(key, &from, message));
        }
        let text = text(value).ok_or_else(|| {
            ConfigError::new(
                key,
                &from,
                "must be a text, a whole number, or a list of texts",
            )
        })?;
        self.layers.put(setting.key, text, from);
        Ok(())
    }
}

/// A value in the form that its variable would have.
fn text(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        DeValue::Array(items) => {
            let texts: Option<Vec<String>> = items
                .iter()
                .map(|item| item.get_ref().as_str().map(str::to_owned))
                .collect();
            texts.map(|texts| texts.join(","))
        }
        _ => None,
    }
}

fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}
