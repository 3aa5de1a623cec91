//! A human at the terminal reads the very call that an agent asks for, and says yes or no.
//!
//! Promises: what is approved is what was shown, since the digest that goes back is computed here, of the bytes that were
//! shown; only a plain yes is one.

use std::io::{BufRead, IsTerminal, Read, stderr, stdin};

use kavachos_core::json;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::answer::Answer;
use crate::failure::Failure;
use crate::output::Output;
use crate::view;

/// The longest line that is read for an answer.
const MAX_SAID_BYTES: u64 = 1 << 10;

/// A call that waits for a yes.
#[derive(Debug)]
pub(super) struct Call {
    /// What is bound, byte for byte.
    document: String,
    /// SHA-256 of these bytes.
    pub(super) digest: String,
}

/// Whether somebody can read what is asked, and answer.
pub(super) fn can_be_asked() -> bool {
    stdin().is_terminal() && stderr().is_terminal()
}

impl Call {
    /// The call of a request that waits.
    pub(super) fn of(request: &Answer) -> Result<Self, Failure> {
        let text = |member: &str| request.data().get(member).and_then(Value::as_str);
        let parts = (text("status"), text("document"), text("digest"));
        let (Some(status), Some(document), Some(told)) = parts else {
            return Err(Failure::Stranger { status: 200 });
        };
        if status != "pending" {
            return Err(Failure::Name(format!(
                "the request is `{status}`: there is nothing to approve"
            )));
        }
        let digest: String = Sha256::digest(document)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        if digest != told {
            let message = "the digest that the server gives is not that of the document that it gives: approve nothing \
                           of this server";
            return Err(Failure::Server(message.to_owned()));
        }
        let document = document.to_owned();
        Ok(Self { document, digest })
    }

    /// Shows the call and asks; whether the answer is yes.
    pub(super) fn is_approved(&self, said: &mut dyn BufRead, output: &mut Output) -> bool {
        for line in self.lines() {
            output.note(&line);
        }
        output.question("approve this call? [y/N] ");
        let approved = is_yes(said);
        if !approved {
            output.note("not approved; the request still waits for an answer");
        }
        approved
    }

    /// The members of the document, for reading; then the document itself with its digest.
    fn lines(&self) -> Vec<String> {
        let mut lines = match json::parse(self.document.as_bytes()) {
            Ok(Value::Object(members)) => view::whole(&members),
            _ => Vec::new(),
        };
        lines.push(String::new());
        lines.push(format!("document  {}", self.document));
        lines.push(format!("digest    {}", self.digest));
        lines
    }
}

/// Whether a line says yes. Nothing, something else and no line at all are no.
fn is_yes(said: &mut dyn BufRead) -> bool {
    let mut line = String::new();
    // What cannot be read is no yes.
    let read = said.take(MAX_SAID_BYTES).read_line(&mut line);
    let line = line.trim();
    read.is_ok() && (line.eq_ignore_ascii_case("y") || line.eq_ignore_ascii_case("yes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Bytes;
    use http::Response;
    use serde_json::json;

    const DOCUMENT: &str = r#"{"action":"run","agent":"agent_1","arguments":{"branch":"main"},"resource":"mcp:deploy:site"}"#;
    const DIGEST: &str = "9c8c631a293b002025fa9a24175266c900863580a60f64e54adef09106c004ba";

    fn call(status: &str, digest: &str) -> Result<Call, Failure> {
        let data = json!({ "status": status, "document": DOCUMENT, "digest": digest });
        let body = json!({ "data": data }).to_string();
        Call::of(&Answer::read(Response::new(Bytes::from(body))).unwrap())
    }

    #[test]
    fn only_a_plain_yes_is_one() {
        for said in ["y\n", "Y\n", "yes\n", " YES \r\n", "y"] {
            assert!(is_yes(&mut said.as_bytes()), "{said:?}");
        }
        for said in [
            "",
            "\n",
            "n\n",
            "no\n",
            "yy\n",
            "yes please\n",
            "\u{ff59}\n",
            "\n y",
        ] {
            assert!(!is_yes(&mut said.as_bytes()), "{said:?}");
        }
        assert!(!is_yes(&mut b"\xffy\n".as_slice()));
        let endless = [b' '; 1 << 11];
        assert!(!is_yes(&mut [&endless[..], b"y\n"].concat().as_slice()));
    }

    #[test]
    fn what_is_shown_is_what_is_bound_and_the_digest_is_of_that() {
        let call = call("pending", DIGEST).unwrap();
        assert_eq!(call.digest, DIGEST);
        let lines = call.lines().join("\n");
        for shown in [
            "run",
            "agent_1",
            r#"{"branch":"main"}"#,
            "mcp:deploy:site",
            DIGEST,
        ] {
            assert!(lines.contains(shown), "{lines}");
        }
        assert!(
            lines.contains(&format!("document  {DOCUMENT}\n")),
            "{lines}"
        );
    }

    #[test]
    fn another_digest_than_the_documents_and_a_request_that_is_over_are_not_asked_about() {
        let other = DIGEST.replace('1', "2");
        assert!(matches!(call("pending", &other), Err(Failure::Server(_))));
        assert!(matches!(call("approved", DIGEST), Err(Failure::Name(_))));
        // The twin: nothing else is wrong with it.
        assert!(call("pending", DIGEST).is_ok());
    }
}
