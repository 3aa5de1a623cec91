//! The settings by name, and the layers that give them values.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use super::Environment;

/// What the names of our variables begin with.
pub(super) const PREFIX: &str = "KAVACH_";
/// The largest file that is read for a secret or as configuration.
pub(super) const MAX_FILE_BYTES: u64 = 1 << 20;
/// How many characters may differ for a name to be taken for a misspelt one.
const MAX_DISTANCE: usize = 2;

/// Whether a value may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    /// May also come from a file that a variable with `_FILE` at its end names, and never from `kavach.toml`.
    Secret,
}

/// A setting: its key in the file, its variable, and what it is.
#[derive(Debug)]
pub(super) struct Setting {
    pub(super) key: &'static str,
    pub(super) variable: &'static str,
    pub(super) about: &'static str,
    pub(super) kind: Kind,
}

const fn plain(key: &'static str, variable: &'static str, about: &'static str) -> Setting {
    Setting {
        key,
        variable,
        about,
        kind: Kind::Plain,
    }
}

const fn secret(key: &'static str, variable: &'static str, about: &'static str) -> Setting {
    Setting {
        key,
        variable,
        about,
        kind: Kind::Secret,
    }
}

/// Every setting there is: first those of a server, then those of the command line.
pub(super) const SETTINGS: [Setting; 22] = [
    plain(
        "database",
        "KAVACH_DATABASE",
        "the database: a file, or `postgres://...`",
    ),
    plain("listen", "KAVACH_LISTEN", "addresses to listen on"),
    plain(
        "issuer",
        "KAVACH_ISSUER",
        "the public address, https unless it is this machine",
    ),
    secret(
        "admin_key",
        "KAVACH_ADMIN_KEY",
        "an operator key that lives as long as it is set",
    ),
    secret(
        "master_key",
        "KAVACH_MASTER_KEY",
        "what the secrets of webhooks are derived from, instead of the file beside the database",
    ),
    plain(
        "fetch.loopback",
        "KAVACH_FETCH_LOOPBACK",
        "`allow` lets webhooks go to this machine, without TLS too: for development; else `refuse`",
    ),
    plain(
        "trusted_proxies",
        "KAVACH_TRUSTED_PROXIES",
        "networks whose X-Forwarded-For counts",
    ),
    plain(
        "connections.max",
        "KAVACH_CONNECTIONS_MAX",
        "connections at the same time; further ones wait",
    ),
    plain(
        "connections.idle_seconds",
        "KAVACH_CONNECTIONS_IDLE_SECONDS",
        "how long a client may send no request, or take nothing of its answer",
    ),
    plain(
        "log.filter",
        "KAVACH_LOG",
        "what is logged, as in `warn,kavachos=debug`",
    ),
    plain("log.format", "KAVACH_LOG_FORMAT", "`plain` or `json`"),
    plain(
        "agents.max_per_owner",
        "KAVACH_AGENTS_MAX_PER_OWNER",
        "agents of one human",
    ),
    plain(
        "agents.max_grants",
        "KAVACH_AGENTS_MAX_GRANTS",
        "live grants of one agent",
    ),
    plain(
        "agents.key_ttl_seconds",
        "KAVACH_AGENTS_KEY_TTL_SECONDS",
        "life of an agent's key",
    ),
    plain(
        "agents.max_denials_per_minute",
        "KAVACH_AGENTS_MAX_DENIALS_PER_MINUTE",
        "denials of one agent on record one by one",
    ),
    plain(
        "delegations.max_children",
        "KAVACH_DELEGATIONS_MAX_CHILDREN",
        "live delegations below one grant",
    ),
    plain(
        "delegations.ttl_seconds",
        "KAVACH_DELEGATIONS_TTL_SECONDS",
        "life of a delegation",
    ),
    plain(
        "import.max_bytes",
        "KAVACH_IMPORT_MAX_BYTES",
        "the largest file that `POST /api/v1/import` takes",
    ),
    plain(
        "directory.max_entries",
        "KAVACH_DIRECTORY_MAX_ENTRIES",
        "users, agents, grants, keys kept in memory",
    ),
    plain(
        "url",
        "KAVACH_URL",
        "the server that the command line talks to",
    ),
    secret("key", "KAVACH_KEY", "the command line's credential"),
    plain(
        "ca_file",
        "KAVACH_CA_FILE",
        "authorities that the command line trusts for TLS, besides the public ones",
    ),
];

/// The settings as they are documented in the help.
pub(crate) fn reference() -> String {
    let row = |setting: &Setting| {
        let variable = match setting.kind {
            Kind::Plain => setting.variable.to_owned(),
            Kind::Secret => format!("{0}, {0}_FILE", setting.variable),
        };
        let key = match setting.kind {
            Kind::Plain => format!("{}, {variable}", setting.key),
            Kind::Secret => variable,
        };
        format!("  {key}\n      {}\n", setting.about)
    };
    let rows: String = SETTINGS.iter().map(row).collect();
    format!(
        "Settings, by key in kavach.toml and by variable (secrets by variable or file only):\n{rows}"
    )
}

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

/// A value that cannot be used: which, from where, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConfigError {
    key: String,
    from: String,
    message: String,
}

impl ConfigError {
    pub(super) fn new(key: impl Into<String>, from: &str, message: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            from: from.to_owned(),
            message: message.into(),
        }
    }
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, from, message } = self;
        write!(f, "`{key}` ({from}): {message}")
    }
}

/// A value as text, and where it came from.
struct Given {
    text: String,
    from: String,
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

/// What was given so far; each layer replaces what the ones before it said.
#[derive(Default)]
pub(super) struct Layers {
    given: BTreeMap<&'static str, Given>,
}

impl Layers {
    pub(super) fn put(&mut self, key: &'static str, text: String, from: String) {
        let place = Place::Here;
        self.given.insert(key, Given { text, from, place });
    }

    pub(super) fn add_environment(&mut self, environment: &Environment) -> Result<(), ConfigError> {
        for setting in &SETTINGS {
            let from = format!("variable {}", setting.variable);
            let direct = environment.get(setting.variable);
            let file = match setting.kind {
                Kind::Secret => environment.get(&format!("{}_FILE", setting.variable)),
                Kind::Plain => None,
            };
            match (direct, file) {
                (Some(_), Some(_)) => {
                    let message = format!(
                        "{}_FILE is set as well: set one of the two",
                        setting.variable
                    );
                    return Err(ConfigError::new(setting.key, &from, message));
                }
                (None, None) => {}
                (Some(text), None) => self.put(setting.key, text.to_owned(), from),
                (None, Some(path)) => {
                    let given = Given {
                        text: path.to_owned(),
                        from: format!("{from}_FILE"),
                        place: Place::InFile,
                    };
                    self.given.insert(setting.key, given);
                }
            }
        }
        Ok(())
    }

    /// The files that hold secrets.
    pub(super) fn secret_files(&self) -> Vec<PathBuf> {
        let in_files = self
            .given
            .values()
            .filter(|given| given.place == Place::InFile);
        in_files.map(|given| given.text.as_str().into()).collect()
    }

    pub(super) fn add_flags(&mut self, flags: &[(Flag, String)]) {
        for (flag, text) in flags {
            self.put(flag.key(), text.clone(), format!("flag --{}", flag.key()));
        }
    }

    /// The text of a setting that needs no reading.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.given.get(key).map(|given| given.text.as_str())
    }

    /// Reads a setting.
    pub(super) fn read<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(given) = self.given.get(key) else {
            return Ok(None);
        };
        read(&given.text)
            .map(Some)
            .map_err(|message| ConfigError::new(key, &given.from, message))
    }

    /// Reads a secret, with where it came from.
    pub(super) fn read_secret<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<(T, String)>, ConfigError> {
        let Some(given) = self.given.get(key) else {
            return Ok(None);
        };
        let secret = match given.place {
            Place::Here => read(&given.text),
            Place::InFile => read(&read_secret_file(key, Path::new(&given.text), &given.from)?),
        };
        let wrong = |message| ConfigError::new(key, &given.from, message);
        Ok(Some((secret.map_err(wrong)?, given.from.clone())))
    }

    /// Replaces a default if the setting is given.
    pub(super) fn set<T>(
        &self,
        key: &'static str,
        place: &mut T,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<(), ConfigError> {
        if let Some(value) = self.read(key, read)? {
            *place = value;
        }
        Ok(())
    }

    /// That the value of a setting does not go with the others.
    pub(super) fn conflict(&self, key: &'static str, message: impl Into<String>) -> ConfigError {
        let from = self
            .given
            .get(key)
            .map_or("default", |given| given.from.as_str());
        ConfigError::new(key, from, message)
    }
}

/// Reads a file that holds one secret; line ends around it do not count.
pub(super) fn read_secret_file(key: &str, path: &Path, from: &str) -> Result<String, ConfigError> {
    let wrong = |reason: String| {
        ConfigError::new(
            key,
            from,
            format!("cannot read `{}`: {reason}", path.display()),
        )
    };
    let size = fs::metadata(path)
        .map_err(|error| wrong(error.to_string()))?
        .len();
    if size > MAX_FILE_BYTES {
        return Err(wrong("it is too large to hold a key".to_owned()));
    }
    let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    Ok(text.trim().to_owned())
}

/// The setting whose key or variable is nearly this.
pub(super) fn nearest(name: &str, of: impl Fn(&Setting) -> &'static str) -> Option<&'static str> {
    let near = SETTINGS
        .iter()
        .map(|setting| (distance(name, of(setting)), of(setting)));
    near.filter(|(distance, _)| *distance <= MAX_DISTANCE)
        .min()
        .map(|(_, known)| known)
}

/// A word about each variable that looks like a misspelt one of ours. Others are left alone: an orchestrator that runs
/// a service named `kavach` sets `KAVACH_PORT` and more.
pub(super) fn misspelt(environment: &Environment) -> Vec<String> {
    let known = |name: &str| {
        let is = |setting: &Setting| {
            let file = name
                .strip_suffix("_FILE")
                .filter(|_| setting.kind == Kind::Secret);
            name == setting.variable || file == Some(setting.variable)
        };
        name == "KAVACH_CONFIG" || SETTINGS.iter().any(is)
    };
    let unknown = environment
        .variables
        .keys()
        .filter(|name| name.starts_with(PREFIX) && !known(name));
    unknown
        .filter_map(|name| {
            let meant = nearest(name, |setting| setting.variable)?;
            Some(format!(
                "warning: the variable {name} has no effect; did you mean {meant}?"
            ))
        })
        .collect()
}

/// How many characters must be inserted, deleted or replaced to make one text the other (Levenshtein).
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (above, from) in left.chars().enumerate() {
        let mut diagonal = above;
        let mut before = above + 1;
        let mut next = vec![before];
        for (to, upper) in right.iter().zip(row.iter().skip(1)) {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = *upper;
            before = replaced.min(upper + 1).min(before + 1);
            next.push(before);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::tests::environment;
    use super::*;

    #[test]
    fn the_distance_of_words_counts_their_differences() {
        for (left, right, expected) in [
            ("", "", 0),
            ("a", "", 1),
            ("kitten", "sitting", 3),
            ("KAVACH_LISTN", "KAVACH_LISTEN", 1),
        ] {
            assert_eq!(
                (distance(left, right), distance(right, left)),
                (expected, expected),
                "{left} {right}"
            );
        }
    }

    #[test]
    fn a_misspelt_variable_is_reported_and_one_of_an_orchestrator_is_not() {
        let warnings = misspelt(&environment(&[
            ("KAVACH_LISTN", "x"),
            ("KAVACH_ADMINKEY", "x"),
            ("KAVACH_LISTEN", "x"),
            ("KAVACH_KEY_FILE", "x"),
            ("KAVACH_CONFIG", "x"),
            ("KAVACH_SERVICE_PORT", "x"),
            ("KAVACH_PORT_3000_TCP_ADDR", "x"),
        ]));
        let named: Vec<bool> = ["ADMINKEY", "LISTN"]
            .iter()
            .map(|name| warnings.iter().any(|w| w.contains(name)))
            .collect();
        assert_eq!(
            (warnings.len(), named),
            (2, vec![true, true]),
            "{warnings:?}"
        );
    }

    #[test]
    fn no_two_settings_share_a_name() {
        for (index, setting) in SETTINGS.iter().enumerate() {
            let others = SETTINGS.iter().skip(index + 1);
            assert!(setting.variable.starts_with(PREFIX));
            for other in others {
                assert!(
                    setting.key != other.key && setting.variable != other.variable,
                    "{setting:?} {other:?}"
                );
            }
        }
    }
}
