//! Which database, by its name: a file, or the URL of a PostgreSQL server.

use std::fmt;
use std::path::{Path, PathBuf};

/// Where a server keeps everything.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Database {
    /// An SQLite file.
    File(PathBuf),
    /// A database of a PostgreSQL server. The URL may hold a password.
    Postgres(String),
}

impl Database {
    /// Tells a URL from a path.
    pub(crate) fn new(name: &str) -> Self {
        // A scheme in capitals is one too (RFC 3986, 3.1): taken for a path, it would be shown with its password.
        let url = name.split_once("://").and_then(|(scheme, rest)| {
            let scheme = scheme.to_ascii_lowercase();
            matches!(scheme.as_str(), "postgres" | "postgresql")
                .then(|| format!("{scheme}://{rest}"))
        });
        url.map_or_else(|| Self::File(name.into()), Self::Postgres)
    }

    /// Whether it is the settings of a connection (`host=... password=...`), which libpq takes and we do not.
    pub(super) fn is_settings(name: &str) -> bool {
        let settings = ["host=", "user=", "password=", "dbname="];
        !name.contains("://") && settings.iter().any(|setting| name.contains(setting))
    }

    /// Where `kavach dev` keeps its key: beside the file, or where it was started.
    pub(crate) fn dev_key(&self) -> PathBuf {
        self.beside("dev-key")
    }

    /// Where the master key is kept, unless one is configured: beside the file, or where the server was started.
    pub(crate) fn master_key(&self) -> PathBuf {
        self.beside("master-key")
    }

    /// Where checkpoints are kept, unless it is said: beside the file, or where the server was started.
    pub(crate) fn checkpoint(&self) -> PathBuf {
        self.beside("checkpoint")
    }

    fn beside(&self, extension: &str) -> PathBuf {
        match self {
            Self::File(path) => path.with_extension(extension),
            Self::Postgres(_) => Path::new("kavach").with_extension(extension),
        }
    }
}

/// Without a password.
impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) if Self::is_settings(&path.to_string_lossy()) => {
                f.write_str("[no name of a database]")
            }
            Self::File(path) => path.display().fmt(f),
            Self::Postgres(url) => f.write_str(&without_password(url)),
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{self}`")
    }
}

/// Options may hold one too, so they are left out. So is the server where a question mark stands before an `@`: then
/// nobody can tell a password from options.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return String::new();
    };
    let (before_options, options) = rest.split_once('?').unwrap_or((rest, ""));
    if options.contains('@') {
        let user = before_options.split([':', '/', '@']).next();
        return format!("{scheme}://{}@...", user.unwrap_or_default());
    }
    match before_options.rsplit_once('@') {
        None => format!("{scheme}://{before_options}"),
        Some((user, server)) => {
            let user = user.split([':', '@']).next().unwrap_or_default();
            format!("{scheme}://{user}@{server}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_of_a_connection_are_no_name_and_are_not_shown() {
        let settings = "host=db user=ada password=hunter2 dbname=kavach";
        assert!(super::super::value::database(settings).is_err());
        assert!(!Database::new(settings).to_string().contains("hunter2"));
        // The twin: a file.
        assert_eq!(
            Database::new("host/kavach.db").to_string(),
            "host/kavach.db"
        );
    }

    #[test]
    fn a_url_is_told_from_a_path() {
        for name in ["kavach.db", "/var/lib/kavach.db", "postgres", ""] {
            assert_eq!(Database::new(name), Database::File(name.into()));
        }
        for name in [
            "postgres://localhost/kavach",
            "postgresql://localhost/kavach",
        ] {
            assert_eq!(Database::new(name), Database::Postgres(name.into()));
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        let url = "postgres://ada:se:cr@et@localhost:5432/kavach?password=secret";
        let database = Database::new(url);
        for shown in [database.to_string(), format!("{database:?}")] {
            assert!(
                shown.contains("postgres://ada@localhost:5432/kavach"),
                "{shown}"
            );
            assert!(
                !shown.contains("secret") && !shown.contains("cr@et"),
                "{shown}"
            );
        }
        for (url, expected) in [
            ("POSTGRES://ada:secret@host/a", "postgres://ada@host/a"),
            ("postgres://ada:sec?ret@host/a", "postgres://ada@..."),
            ("postgres://ada:sec?r@et@host/a", "postgres://ada@..."),
            (
                "postgres://localhost/a?password=sec@ret",
                "postgres://localhost@...",
            ),
            ("postgres://a@d:secret@host/a", "postgres://a@host/a"),
        ] {
            assert_eq!(Database::new(url).to_string(), expected);
        }
        assert_eq!(
            Database::new("postgres://localhost/a").to_string(),
            "postgres://localhost/a"
        );
    }
}
