//! `kavach keys root`: the key that is kept offline, and by whose signature alone another key of the feed is believed.
//!
//! Promises: `new` and `sign` need no server, no database and no network; a root key is written to a file that only its
//! owner may read, over nothing that is there, and never printed; what is signed is shown before.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::{Args, Subcommand};
use kavachos::SystemClock;
use kavachos::store::{Clock as _, Rng as _};
use kavachos_core::json;
use kavachos_core::time::Timestamp;
use kavachos_core::token::{
    Algorithm, FeedKeysRequest, MAX_FEED_KEYS_REQUEST_BYTES, MAX_TOKEN_BYTES, PublicKey, SigningKey,
};
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::args::Members;
use crate::client::Client;
use crate::command::Outcome;
use crate::failure::Failure;
use crate::output::{Form, Output};
use crate::private_file;
use crate::view;

/// The largest file of a root key that is looked at.
const MAX_KEY_BYTES: usize = 1_024;
/// What may stand around a text in a file: blanks and line ends.
const MAX_BLANKS: usize = 1_000;
const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);
const MICROS_OF_A_SECOND: i64 = 1_000_000;
/// The members of what is told of a new root key.
const NEW: [&str; 3] = ["root", "thumbprint", "file"];
/// The members of what is told of a signature.
const SIGNED: [&str; 3] = ["document", "epoch", "root"];
/// What is shown of an installation.
const INSTALLED: [&str; 3] = ["epoch", "effectiveBy", "state"];
/// What a server asks the root to sign.
const ASKED: [&str; 3] = ["epoch", "iss", "keys"];

/// What the help says at its end.
const EXAMPLES: &str = "\
Make the root on a machine that has no network, and keep its file there. Its public half, which `new` prints, goes into the \
server's configuration (`feed.root`, or KAVACH_FEED_ROOT) and into every verifier (`.feed_root(...)`). From then on keys of \
the feed rotate neither by age nor by command.

Examples:
  kavach keys root new --output feed-root.json
  kavach keys root request > request.json
  kavach keys root sign --key feed-root.json request.json > document.jwt
  kavach keys root install document.jwt";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Root {
    /// Make a root key, without a server: it goes into a file, and its public half is printed
    New(New),
    /// Have the server make another key for the feed, which signs nothing yet, and print what the root is to sign
    Request,
    /// Sign what a server asks for, without a server
    Sign(Sign),
    /// Give the server what the root signed: the new key signs from then on, and every token of before is refused
    Install(Install),
}

#[derive(Debug, Args)]
pub(crate) struct New {
    /// Where the root key goes; a file that is there is not replaced
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Sign {
    /// The file of the root key
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// What the server asks for, as `kavach keys root request` printed it, or `-` for standard input
    #[arg(default_value = "-", value_name = "REQUEST")]
    request: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Install {
    /// What the root signed, as `kavach keys root sign` printed it, or `-` for standard input
    #[arg(default_value = "-", value_name = "DOCUMENT")]
    document: PathBuf,
}

impl Root {
    pub(crate) async fn run(
        self,
        client: &Client,
        output: &mut Output,
    ) -> Result<Outcome, Failure> {
        match self {
            Self::New(new) => new.run(output),
            Self::Sign(sign) => sign.run(output),
            Self::Request => {
                let path = "/api/v1/signing-keys/feed/request";
                let body = Members::default().object();
                show_request(&client.post(path, Some(&body)).await?, output);
                Ok(Outcome::Done)
            }
            Self::Install(install) => install.run(client, output).await,
        }
    }
}

impl New {
    pub(crate) fn run(self, output: &mut Output) -> Result<Outcome, Failure> {
        output.check_member(&NEW)?;
        let mut seed = [0; 32];
        kavachos::SystemRng.fill(&mut seed);
        let key = SigningKey::from_seed(Algorithm::Ed25519, &seed);
        let key = key.map_err(|error| Failure::Server(error.to_string()))?;
        private_file::write_new_only(&self.output, format!("{}\n", private(&key)).as_bytes())
            .map_err(|error| Failure::file("write", &self.output, &error))?;
        let root = key.public().to_jwk();
        // For people the key is one line, to be copied.
        let root = match output.form() {
            Form::Json => root,
            Form::Text => root.to_string().into(),
        };
        let told = json!({
            "root": root,
            "thumbprint": key.thumbprint(),
            "file": self.output.display().to_string(),
        });
        match output.form() {
            Form::Json => output.data(&told),
            Form::Text => output.lines(view::record(&told, &NEW)),
        }
        output.note(
            "keep the file offline, and a copy of it: without it no key of the feed is replaced; pin `root` at the server \
             and at every verifier",
        );
        Ok(Outcome::Done)
    }
}

impl Sign {
    pub(crate) fn run(self, output: &mut Output) -> Result<Outcome, Failure> {
        output.check_member(&SIGNED)?;
        let key = root_key(&self.key)?;
        let wrong = |reason: &str| Failure::File {
            action: "sign",
            path: self.request.clone(),
            reason: reason.to_owned(),
        };
        let text = read(&self.request, MAX_FEED_KEYS_REQUEST_BYTES)?;
        let asked = FeedKeysRequest::parse(text.trim().as_bytes());
        let asked = asked.map_err(|error| wrong(error.message()))?;
        let names: Vec<String> = asked.keys.names().map(|name| name.to_string()).collect();
        output.note(&format!(
            "signing for {}: from epoch {} on, heads of the feed are by {} alone",
            asked.issuer,
            asked.epoch,
            names.join(", ")
        ));
        let now = SystemClock.now();
        if is_far_ahead(asked.epoch, now) {
            output.note(
                "warning: the epoch is more than a day ahead of the clock of this machine; one that is far too high leaves \
                 none to come, so find out why before you install what is printed",
            );
        }
        let document = asked.sign(&key, now);
        let document = document.map_err(|error| wrong(error.message()))?;
        match output.form() {
            Form::Json => output.data(&json!({
                "document": document, "epoch": asked.epoch, "root": key.thumbprint(),
            })),
            Form::Text => output.line(&document),
        }
        Ok(Outcome::Done)
    }
}

impl Install {
    async fn run(self, client: &Client, output: &mut Output) -> Result<Outcome, Failure> {
        let document = read(&self.document, MAX_TOKEN_BYTES)?;
        let body = Members::default().with("document", Some(document.trim()));
        let path = "/api/v1/signing-keys/feed/install";
        let answer = client.post(path, Some(&body.object())).await?;
        output.record(&answer, &INSTALLED);
        if let Some(epoch) = answer.data().get("epoch") {
            output.note(&format!(
                "if the key before it was stolen, have verifiers believe nothing older when they start: \
                 `.feed_epoch({epoch})`"
            ));
        }
        Ok(Outcome::Done)
    }
}

/// Whether an epoch lies where only a wrong clock, or a server that is not to be trusted, puts one.
fn is_far_ahead(epoch: u64, now: Timestamp) -> bool {
    let tomorrow = now.plus(A_DAY).as_micros() / MICROS_OF_A_SECOND;
    epoch > u64::try_from(tomorrow).unwrap_or(0)
}

/// Prints a request as `sign` reads it.
fn show_request(answer: &Answer, output: &mut Output) {
    if output.form() == Form::Json {
        return output.answer(answer);
    }
    let members = ASKED.into_iter().filter_map(|name| {
        let value = answer.data().get(name)?;
        Some((name.to_owned(), value.clone()))
    });
    output.json(Value::Object(members.collect()).to_string().as_bytes());
}

/// The private key as a JSON Web Key (RFC 8037, section 2).
fn private(key: &SigningKey) -> Value {
    let mut jwk = key.public().to_jwk();
    if let Some(members) = jwk.as_object_mut() {
        let seed = URL_SAFE_NO_PAD.encode(key.seed().as_slice());
        members.insert("d".to_owned(), seed.into());
    }
    jwk
}

/// Reads the file of a root key. Nothing of what it holds is ever repeated.
fn root_key(path: &Path) -> Result<SigningKey, Failure> {
    let text = read(path, MAX_KEY_BYTES)?;
    let wrong = || Failure::File {
        action: "use the root key in",
        path: path.to_owned(),
        reason: "it is not one that `kavach keys root new` wrote".to_owned(),
    };
    let mut jwk = json::parse(text.trim().as_bytes()).map_err(|_| wrong())?;
    let seed = (jwk.as_object_mut()).and_then(|members| members.remove("d"));
    let seed = seed.as_ref().and_then(Value::as_str);
    let seed = seed.and_then(|seed| URL_SAFE_NO_PAD.decode(seed).ok());
    let seed: [u8; 32] = seed
        .and_then(|seed| seed.try_into().ok())
        .ok_or_else(wrong)?;
    let key = SigningKey::from_seed(Algorithm::Ed25519, &seed).map_err(|_| wrong())?;
    // A file whose halves do not fit was edited, and would sign as a root that nobody pins.
    if PublicKey::from_jwk(&jwk).as_ref() == Ok(key.public()) {
        Ok(key)
    } else {
        Err(wrong())
    }
}

/// A text of a bounded length, from a file or from standard input.
fn read(path: &Path, most: usize) -> Result<String, Failure> {
    let failed = |error: &std::io::Error| Failure::file("read", path, error);
    let most = most.saturating_add(MAX_BLANKS);
    // One byte more than there may be: a text that was cut would be another one.
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    let mut text = String::new();
    let taken = if path == Path::new("-") {
        std::io::stdin().take(limit).read_to_string(&mut text)
    } else {
        let file = File::open(path).map_err(|error| failed(&error))?;
        file.take(limit).read_to_string(&mut text)
    };
    taken.map_err(|error| failed(&error))?;
    if text.len() > most {
        return Err(Failure::File {
            action: "read",
            path: path.to_owned(),
            reason: format!("it is longer than {most} bytes"),
        });
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SigningKey {
        SigningKey::from_seed(Algorithm::Ed25519, &[7; 32]).unwrap()
    }

    #[test]
    fn an_epoch_of_tomorrow_is_noticed() {
        let now = Timestamp::from_micros(100 * MICROS_OF_A_SECOND);
        for (epoch, is_far) in [(1, false), (100 + 86_400, false), (101 + 86_400, true)] {
            assert_eq!(is_far_ahead(epoch, now), is_far, "{epoch}");
        }
    }

    #[test]
    fn a_root_key_is_read_as_it_was_written_and_nothing_else_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("root");
        let reads = |text: &str| {
            std::fs::write(&path, text).unwrap();
            root_key(&path)
        };
        let good = private(&key()).to_string();
        let read = reads(&format!(" {good}\n")).ok().unwrap();
        assert_eq!(read.thumbprint(), key().thumbprint());
        let other = SigningKey::from_seed(Algorithm::Ed25519, &[8; 32]).unwrap();
        let mut edited = private(&key());
        edited["x"] = other.public().to_jwk()["x"].clone();
        for bad in [
            String::new(),
            key().public().to_jwk().to_string(),
            edited.to_string(),
            good.replace("Ed25519", "X25519"),
            format!("{good}{good}"),
            " ".repeat(MAX_KEY_BYTES + MAX_BLANKS + 1),
        ] {
            let failure = reads(&bad).err().unwrap().to_string();
            let secret = private(&key())["d"].as_str().unwrap().to_owned();
            assert!(!failure.contains(&secret), "{failure}");
        }
    }
}
