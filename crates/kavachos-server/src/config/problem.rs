//! What is wrong with a configuration, and where each value came from.

use std::fmt;

/// Where a value stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nobody gave one.
    Default,
    /// In a file, at this line.
    Line {
        /// The file, as it was named.
        file: String,
        /// The line, from 1.
        line: usize,
    },
    /// A file as a whole, and what it is for.
    File(String),
    /// In a variable of the environment.
    Variable(String),
    /// On the command line.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Line { file, line } => write!(f, "{file}, line {line}"),
            Self::File(what) => f.write_str(what),
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::Flag(name) => write!(f, "flag --{name}"),
        }
    }
}

/// A value that cannot be used: which, from where, why, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// The full key, or the file where none can be told.
    pub(crate) key: String,
    /// Where the value stands.
    pub(crate) origin: Origin,
    /// Why it cannot be used.
    pub(crate) message: String,
}

impl Problem {
    /// The line of the file that it is about; what is elsewhere comes after the file.
    const fn line(&self) -> usize {
        match self.origin {
            Origin::Line { line, .. } => line,
            _ => usize::MAX,
        }
    }

    pub(super) fn new(key: impl Into<String>, origin: &Origin, message: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            origin: origin.clone(),
            message: message.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            key,
            origin,
            message,
        } = self;
        match origin {
            Origin::Line { file, line } if file == key => {
                write!(f, "`{key}` (line {line}): {message}")
            }
            origin => write!(f, "`{key}` ({origin}): {message}"),
        }
    }
}

/// Problems in the order of the file's lines, then the others.
pub(super) fn in_order(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort_by_key(Problem::line);
    problems
}

/// Everything that is wrong with a configuration; at least one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConfigError(Vec<Problem>);

impl ConfigError {
    /// An error if anything is wrong.
    pub(crate) fn unless_none(problems: Vec<Problem>) -> Result<(), Self> {
        if problems.is_empty() {
            Ok(())
        } else {
            Err(Self(in_order(problems)))
        }
    }

    /// What is wrong.
    pub(crate) fn problems(&self) -> &[Problem] {
        &self.0
    }
}

impl From<Problem> for ConfigError {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl std::error::Error for ConfigError {}

/// One line for each thing.
impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(Problem::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}
