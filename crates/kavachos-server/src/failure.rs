//! Why a command did not do what it was asked to.

use std::fmt;
use std::path::PathBuf;

use axum::body::Bytes;

use crate::config::ConfigError;

/// Why a command failed. All but [`Failure::Usage`] end with exit code 1.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The command line contradicts itself in a way that only the command sees.
    #[error("{0}")]
    Usage(String),
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The server said no.
    #[error(transparent)]
    Refused(Box<Refusal>),
    /// Something answered that is no KavachOS server.
    #[error(
        "the answer ({status}) is not one of a KavachOS server: check the address given with `--url`"
    )]
    Stranger {
        /// The status of the answer.
        status: u16,
    },
    /// Nothing answered.
    #[error("cannot reach {url}: {reason}")]
    Unreachable {
        /// The address.
        url: String,
        /// Why not, and what to do.
        reason: String,
    },
    /// A name stands for no thing, or for several.
    #[error("{0}")]
    Name(String),
    /// A text is no token, or not one that this can be asked about. It is never repeated.
    #[error("{0}")]
    Token(String),
    /// The database cannot be used.
    #[error("{0}")]
    Database(String),
    /// A file cannot be used.
    #[error("cannot {action} `{}`: {reason}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The server cannot run, or stopped by itself.
    #[error("{0}")]
    Server(String),
}

/// An error answer of the API.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// The stable code.
    pub(crate) code: String,
    /// Why, and what to do.
    pub(crate) message: String,
    /// The id under which the server's log and the ledger know the request.
    pub(crate) request_id: Option<String>,
    /// The member at fault.
    pub(crate) field: Option<String>,
    /// The answer as it came.
    pub(crate) body: Bytes,
}

impl std::error::Error for Refusal {}

impl Refusal {
    /// Whether what is missing is a proof of a key. There is no code for it alone.
    fn asks_for_proof(&self) -> bool {
        let headers = ["header `DPoP`", "header `Kavach-Key-Proof`"];
        self.code == "conflict" && headers.iter().any(|header| self.message.contains(header))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if self.asks_for_proof() {
            f.write_str("; `kavach` makes no proofs: call the API, or use an operator's key")?;
        }
        write!(f, " ({}", self.code)?;
        if let Some(id) = &self.request_id {
            write!(f, ", request {id}")?;
        }
        if let Some(field) = &self.field {
            write!(f, ", field `{field}`")?;
        }
        f.write_str(")")
    }
}

impl Failure {
    /// The exit code: 2 where the command line is at fault, as clap does it, else 1.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            _ => 1,
        }
    }

    /// A file that cannot be used.
    pub(crate) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
        error: &std::io::Error,
    ) -> Self {
        Self::File {
            action,
            path: path.into(),
            reason: error.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_needs_a_proof_is_told_that_this_program_makes_none() {
        let shown = |code: &str, message: &str| {
            Refusal {
                code: code.to_owned(),
                message: message.to_owned(),
                request_id: None,
                field: None,
                body: Bytes::new(),
            }
            .to_string()
        };
        for header in ["DPoP", "Kavach-Key-Proof"] {
            let told = shown(
                "conflict",
                &format!("no: send a proof of it in the header `{header}`"),
            );
            assert!(told.contains("`kavach` makes no proofs"), "{told}");
        }
        // The twins: what is refused for another reason.
        for (code, message) in [("conflict", "no"), ("forbidden", "in the header `DPoP`")] {
            assert_eq!(shown(code, message), format!("{message} ({code})"));
        }
    }
}
