//! `kavach token`: what a token says, and whether it holds.
//!
//! Promises: a token is never repeated, in errors neither; what was not verified is not shown without saying so.

mod facts;
mod inspect;
mod jwt;
mod verify;

use std::io::Read;

use clap::{Args, Subcommand};
use http::Uri;
use kavachos_core::token::MAX_TOKEN_BYTES;

use self::inspect::Inspect;
use self::verify::Verify;
use super::Outcome;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::Output;

/// What may stand around a token on standard input: blanks and line ends.
const MAX_BLANKS: usize = 1_000;

/// What the help says at its end.
const EXAMPLES: &str = "\
A token that is typed stays in the shell's history and in the list of processes; one on standard input does not.

Examples:
  kavach token inspect < agent.token
  kavach token verify --audience https://tools.example.com < agent.token
  kavach token verify --jwks keys.json --issuer https://auth.example.com < agent.token";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Token {
    /// Say what a token or a key is and what it claims, without a server and without verifying anything
    #[command(after_help = EXAMPLES)]
    Inspect(Inspect),
    /// Verify a token that an agent shows to tool servers; exits with 1 if it does not hold
    #[command(after_help = EXAMPLES)]
    Verify(Verify),
}

/// The token, however it comes.
#[derive(Debug, Args)]
struct Given {
    /// The token, or `-` for standard input, which keeps it out of the shell's history
    #[arg(default_value = "-")]
    token: String,
}

impl Token {
    pub(crate) async fn run(
        self,
        client: &Client,
        output: &mut Output,
    ) -> Result<Outcome, Failure> {
        match self {
            Self::Inspect(inspect) => inspect.run(output),
            Self::Verify(verify) => verify.run(client, output).await,
        }
    }

    /// Says whose tokens are expected where that was not typed: those of the server that is asked.
    pub(crate) fn expect_issuer(&mut self, address: &Uri) {
        if let Self::Verify(verify) = self {
            verify.expect_issuer(address);
        }
    }
}

impl Given {
    /// The text without blanks around it.
    fn read(&self) -> Result<String, Failure> {
        let text = match self.token.as_str() {
            "-" => standard_input()?,
            typed => typed.to_owned(),
        };
        match text.trim() {
            "" => Err(Failure::Token("there is no token in the input".to_owned())),
            token => Ok(token.to_owned()),
        }
    }
}

fn standard_input() -> Result<String, Failure> {
    let most = MAX_TOKEN_BYTES.saturating_add(MAX_BLANKS);
    let mut text = String::new();
    // One byte more than there may be: a text that was cut would be another one.
    let mut limited =
        std::io::stdin().take(u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1));
    limited
        .read_to_string(&mut text)
        .map_err(|error| Failure::Token(format!("standard input cannot be read: {error}")))?;
    if text.len() > most {
        let message = format!("the input is too long: a token has at most {MAX_TOKEN_BYTES} bytes");
        return Err(Failure::Token(message));
    }
    Ok(text)
}
