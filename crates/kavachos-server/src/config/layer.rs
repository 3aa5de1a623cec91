//! The layers that give settings their values; each replaces what the ones below it said.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::Environment;
use super::problem::{Origin, Problem};
use super::providers::{self, GivenProvider};
use super::setting::SETTINGS;

/// The largest file that is read for a secret or as configuration.
pub(super) const MAX_FILE_BYTES: u64 = 1 << 20;

/// A flag that gives a setting its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flag {
    /// `--config`
    Config,
    /// `--database`
    Database,
    /// `--listen`
    Listen,
    /// `--url`
    Url,
}

impl Flag {
    const fn key(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Database => "database",
            Self::Listen => "listen",
            Self::Url => "url",
        }
    }
}

/// A value as text, and where it came from.
struct Given {
    text: String,
    origin: Origin,
    place: Place,
}

/// Where the value of a setting stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In the text.
    Here,
    /// In the file that the text names; only who needs the secret reads it.
    InFile,
}

/// What was given so far.
#[derive(Default)]
pub(super) struct Layers {
    given: BTreeMap<&'static str, Given>,
    /// What the file says of outside providers.
    pub(super) providers: Vec<GivenProvider>,
}

impl Layers {
    pub(super) fn put(&mut self, key: &'static str, text: String, origin: Origin) {
        let place = Place::Here;
        self.given.insert(
            key,
            Given {
                text,
                origin,
                place,
            },
        );
    }

    /// Adds the variables; what contradicts itself there is left out and told.
    pub(super) fn add_environment(&mut self, environment: &Environment) -> Vec<Problem> {
        let mut problems = Vec::new();
        for setting in SETTINGS {
            let origin = Origin::Variable(setting.variable.to_owned());
            let named = format!("{}_FILE", setting.variable);
            let direct = environment.get(setting.variable);
            let file = environment.get(&named);
            match (direct, file) {
                (Some(_), Some(_)) => {
                    let message = format!("{named} is set as well: set one of the two");
                    problems.push(Problem::new(setting.key, &origin, message));
                }
                (None, None) => {}
                (Some(text), None) => self.put(setting.key, text.to_owned(), origin),
                (None, Some(path)) if !setting.is_secret() => {
                    let origin = Origin::Variable(named);
                    match read_value_file(setting.key, Path::new(path), &origin) {
                        Ok(text) => self.put(setting.key, text, origin),
                        Err(problem) => problems.push(problem),
                    }
                }
                (None, Some(path)) => {
                    let given = Given {
                        text: path.to_owned(),
                        origin: Origin::Variable(named),
                        place: Place::InFile,
                    };
                    self.given.insert(setting.key, given);
                }
            }
        }
        problems.extend(providers::add_secrets(&mut self.providers, environment));
        problems
    }

    /// The files that hold secrets.
    pub(super) fn secret_files(&self) -> Vec<PathBuf> {
        let in_files = self
            .given
            .values()
            .filter(|given| given.place == Place::InFile);
        let of_clients = providers::secret_files(&self.providers).map(Path::to_owned);
        let in_files = in_files.map(|given| given.text.as_str().into());
        in_files.chain(of_clients).collect()
    }

    pub(super) fn add_flags(&mut self, flags: &[(Flag, String)]) {
        for (flag, text) in flags {
            self.put(flag.key(), text.clone(), Origin::Flag(flag.key()));
        }
    }

    /// The text of a setting as it was given.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.given.get(key).map(|given| given.text.as_str())
    }

    /// Where the value of a setting came from.
    pub(super) fn origin(&self, key: &str) -> Origin {
        self.given
            .get(key)
            .map_or(Origin::Default, |given| given.origin.clone())
    }

    /// Reads a setting.
    pub(super) fn read<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Problem> {
        let Some(given) = self.given.get(key) else {
            return Ok(None);
        };
        read(&given.text)
            .map(Some)
            .map_err(|message| Problem::new(key, &given.origin, message))
    }

    /// Reads a secret, with where it came from.
    pub(super) fn read_secret<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<(T, String)>, Problem> {
        let Some(given) = self.given.get(key) else {
            return Ok(None);
        };
        let secret = match given.place {
            Place::Here => read(&given.text),
            Place::InFile => read(&read_value_file(
                key,
                Path::new(&given.text),
                &given.origin,
            )?),
        };
        let wrong = |message| Problem::new(key, &given.origin, message);
        Ok(Some((secret.map_err(wrong)?, given.origin.to_string())))
    }

    /// That the value of a setting does not go with the others.
    pub(super) fn conflict(&self, key: &'static str, message: String) -> Problem {
        Problem::new(key, &self.origin(key), message)
    }
}

/// Reads a file that holds one value; line ends around it do not count.
pub(super) fn read_value_file(key: &str, path: &Path, origin: &Origin) -> Result<String, Problem> {
    let wrong = |reason: String| {
        Problem::new(
            key,
            origin,
            format!("cannot read `{}`: {reason}", path.display()),
        )
    };
    let size = fs::metadata(path)
        .map_err(|error| wrong(error.to_string()))?
        .len();
    if size > MAX_FILE_BYTES {
        return Err(wrong("it is too large to hold a value".to_owned()));
    }
    let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    Ok(text.trim().to_owned())
}
