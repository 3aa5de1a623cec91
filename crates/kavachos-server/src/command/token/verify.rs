//! `kavach token verify`: everything that a tool server checks of a token, but the proof of its key, which comes with a
//! request. Revocation is held against the log of the server, where the credential may read it.
//!
//! The pages of the log are not signed: what they say counts as much as the connection to the server does. Tool servers
//! follow signed heads.

use std::path::PathBuf;

use clap::Args;
use http::Uri;
use kavachos::SystemClock;
use kavachos::store::Clock as _;
use kavachos_core::json;
use kavachos_core::revocation::{LiveSet, Record};
use kavachos_core::token::{self, Issuer, KeySet, Leaf, Verification};
use kavachos_core::tool_server::{Audience, MAX_AUDIENCE_BYTES, Proof};
use serde_json::{Map, Value};

use super::jwt::Jwt;
use super::{Given, facts};
use crate::client::{Client, Query};
use crate::command::Outcome;
use crate::failure::Failure;
use crate::output::{Form, Output};

/// How many pages of the log are read, of a thousand records each.
const MAX_PAGES: usize = 1_000;
/// The largest file of keys.
const MAX_KEYS_BYTES: u64 = 1 << 20;
/// The members of the answer besides what the token says.
const MEMBERS: [&str; 5] = ["valid", "code", "message", "revocation", "revocationNote"];
/// The codes with which a server refuses to show its log of revocations.
const NOT_SHOWN: [&str; 2] = ["unauthenticated", "forbidden"];

#[derive(Debug, Args)]
pub(crate) struct Verify {
    #[command(flatten)]
    given: Given,
    /// The tool server that it must be for [default: whichever it names]
    #[arg(long, value_name = "URL")]
    audience: Option<Audience>,
    /// Who must have issued it [default: the address of the server]
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
    /// Verify with the keys in this file (a JSON Web Key Set) and ask no server; revocation is then not checked
    #[arg(long, value_name = "FILE")]
    jwks: Option<PathBuf>,
}

/// What is known of revocations.
enum Revocations {
    Known(Box<LiveSet>),
    /// Why they are not.
    Unknown(String),
}

/// What came of it: a token that holds, or why it does not.
struct Verdict {
    refused: Option<token::Failure>,
    revocations: Option<Revocations>,
}

impl Verify {
    pub(super) fn expect_issuer(&mut self, address: &Uri) {
        let address = address.to_string();
        self.issuer
            .get_or_insert_with(|| address.trim_end_matches('/').to_owned());
    }

    pub(crate) async fn run(
        self,
        client: &Client,
        output: &mut Output,
    ) -> Result<Outcome, Failure> {
        let members: Vec<&str> = MEMBERS.into_iter().chain(facts::MEMBERS).collect();
        output.check_member(&members)?;
        let issuer = self.issuer()?;
        let text = self.given.read()?;
        if text.starts_with("kv_") {
            let message = "this is a key, not a token: only its server knows whether it works; `kavach token inspect` says \
                           what it is";
            return Err(Failure::Token(message.to_owned()));
        }
        let verdict = self.judge(client, &text, &issuer).await?;
        if self.audience.is_none() && verdict.refused.is_none() {
            output.note("note: `--audience` was not given, so whichever tool server the token names was taken");
        }
        show(&verdict, &text, &issuer, output)
    }

    async fn judge(
        &self,
        client: &Client,
        text: &str,
        issuer: &Issuer,
    ) -> Result<Verdict, Failure> {
        let keys = self.keys(client).await?;
        let leaf = match Leaf::open(text, issuer, &keys) {
            Ok(leaf) => leaf,
            Err(failure) => return Ok(Verdict::refused(failure)),
        };
        let revocations = match self.jwks {
            Some(_) => Revocations::Unknown("no server was asked".to_owned()),
            None => Revocations::of(client).await?,
        };
        let audience = self.audience.as_ref().unwrap_or(&leaf.audience);
        Ok(Verdict::of(&leaf, (issuer, &keys, audience), revocations))
    }

    fn issuer(&self) -> Result<Issuer, Failure> {
        let given = self.issuer.as_deref().unwrap_or_default();
        given
            .parse()
            .map_err(|error| Failure::Token(format!("{error}; say which with `--issuer`")))
    }

    /// The keys that tokens are signed with: from the file, or from the server.
    async fn keys(&self, client: &Client) -> Result<KeySet, Failure> {
        let unusable = |error| Failure::Token(format!("the key set cannot be used: {error}"));
        let Some(path) = &self.jwks else {
            let answer = client
                .look_up("/.well-known/jwks.json", &Query::default())
                .await?;
            return KeySet::from_jwks(&answer.body).map_err(unusable);
        };
        let unreadable = |error| Failure::file("read", path, &error);
        let length = std::fs::metadata(path).map_err(unreadable)?.len();
        if length > MAX_KEYS_BYTES {
            let message = format!("the key set is longer than {MAX_KEYS_BYTES} bytes");
            return Err(Failure::Token(message));
        }
        let bytes = std::fs::read(path).map_err(unreadable)?;
        KeySet::from_jwks(&bytes).map_err(unusable)
    }
}

impl Revocations {
    /// Everything that the server has revoked, if the credential may see it.
    async fn of(client: &Client) -> Result<Self, Failure> {
        match whole_log(client).await {
            Ok(set) => Ok(Self::Known(Box::new(set))),
            Err(Failure::Refused(refusal)) if NOT_SHOWN.contains(&refusal.code.as_str()) => {
                Ok(Self::Unknown(format!(
                    "the server does not show what was revoked ({}); give the key of a tool server, or of an operator with \
                     the scope `audit:read`",
                    refusal.code
                )))
            }
            Err(failure) => Err(failure),
        }
    }
}

async fn whole_log(client: &Client) -> Result<LiveSet, Failure> {
    let mut log = None;
    for _ in 0..MAX_PAGES {
        let since = log.as_ref().map_or(0, |set: &LiveSet| set.head().rseq);
        let query = Query::default().with("since", Some(since));
        let answer = client.look_up("/api/v1/revocations", &query).await?;
        if let Step::Whole(set) = continued(&mut log, answer.data())? {
            return Ok(*set);
        }
    }
    let message = "the log of revocations is too long to read here: have a tool server follow it";
    Err(Failure::Token(message.to_owned()))
}

/// What a page of the log was.
enum Step {
    Further,
    /// The last one: the log is this.
    Whole(Box<LiveSet>),
}

/// Goes on with the log by a page. All of it is of one epoch, and has no gap.
fn continued(log: &mut Option<LiveSet>, page: &Value) -> Result<Step, Failure> {
    let records = page.get("records").unwrap_or(&Value::Null);
    let records: Vec<Record> = json::read(records).map_err(|error| {
        Failure::Token(format!("the log of revocations cannot be read: {error}"))
    })?;
    let epoch = page.get("epoch").and_then(Value::as_u64).ok_or_else(|| {
        let message =
            "the log of revocations names no epoch: this server is older than its `kavach`";
        Failure::Token(message.to_owned())
    })?;
    let mut set = log.take().unwrap_or_else(|| LiveSet::new(epoch));
    let before = set.head().rseq;
    for record in records {
        if record.rseq != set.head().rseq.saturating_add(1) {
            return Err(gap());
        }
        set.apply(record.kill);
    }
    if set.epoch() != epoch {
        return Err(gap());
    }
    match page.get("more").and_then(Value::as_bool) {
        Some(false) => Ok(Step::Whole(Box::new(set))),
        Some(true) if set.head().rseq > before => {
            *log = Some(set);
            Ok(Step::Further)
        }
        _ => Err(gap()),
    }
}

fn gap() -> Failure {
    Failure::Token(
        "the log of revocations has a gap, so it is not known what was revoked: try again"
            .to_owned(),
    )
}

impl Verdict {
    fn refused(failure: token::Failure) -> Self {
        Self {
            refused: Some(failure),
            revocations: None,
        }
    }

    fn of(
        leaf: &Leaf,
        (issuer, keys, audience): (&Issuer, &KeySet, &Audience),
        revocations: Revocations,
    ) -> Self {
        // Where nothing is known, nothing is held against the token, and that is told.
        let nothing = LiveSet::new(leaf.authority.epoch);
        let known = match &revocations {
            Revocations::Known(set) => set,
            Revocations::Unknown(_) => &nothing,
        };
        let verification = Verification {
            issuer,
            keys,
            audience,
            proof: Proof::Optional,
            revocations: Some(known),
        };
        Self {
            refused: verification.stands(leaf, SystemClock.now()).err(),
            revocations: Some(revocations),
        }
    }

    fn outcome(&self) -> Outcome {
        match self.refused {
            None => Outcome::Done,
            Some(_) => Outcome::Refused,
        }
    }

    /// The first line for people.
    fn line(&self) -> String {
        match (&self.refused, &self.revocations) {
            (Some(failure), _) => format!("invalid: {} ({})", failure.message(), failure.code.as_str()),
            (None, Some(Revocations::Known(_))) => {
                "valid: signature, issuer, time and audience hold, and nothing that it comes from was revoked".to_owned()
            }
            (None, Some(Revocations::Unknown(reason))) => {
                format!("valid, BUT REVOCATION WAS NOT CHECKED: {reason}")
            }
            (None, None) => "valid, BUT REVOCATION WAS NOT CHECKED".to_owned(),
        }
    }

    fn members(&self) -> Map<String, Value> {
        let refused = self.refused.as_ref();
        let (revocation, note) = match &self.revocations {
            Some(Revocations::Known(_)) => ("checked", Value::Null),
            Some(Revocations::Unknown(reason)) => ("not_checked", reason.as_str().into()),
            None => ("not_checked", Value::Null),
        };
        let members: [(&str, Value); 5] = [
            ("valid", refused.is_none().into()),
            ("code", refused.map(|failure| failure.code.as_str()).into()),
            ("message", refused.map(token::Failure::message).into()),
            ("revocation", revocation.into()),
            ("revocationNote", note),
        ];
        let named = members
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value));
        named.collect()
    }
}

/// Shows what came of it, and of a token that holds what it says. What one says that does not hold is not repeated.
fn show(
    verdict: &Verdict,
    text: &str,
    issuer: &Issuer,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    let jwt = Jwt::read(text);
    let told = match &jwt {
        Ok(jwt) if verdict.refused.is_none() => Some((jwt, facts::of(jwt)?)),
        _ => None,
    };
    if output.form() == Form::Json {
        let mut members = verdict.members();
        members.extend(told.into_iter().flat_map(|(_, facts)| facts));
        output.data(&Value::Object(members));
    } else {
        output.line(&verdict.line());
        if let Some((jwt, facts)) = told {
            output.lines(facts::lines(jwt, &facts, SystemClock.now()));
        }
    }
    if let (Some(_), Ok(jwt)) = (&verdict.refused, &jwt) {
        note_issuer(jwt, issuer, output);
    }
    Ok(verdict.outcome())
}

/// Another issuer than the expected one is most often a matter of the address that was typed.
fn note_issuer(jwt: &Jwt, issuer: &Issuer, output: &mut Output) {
    let says = jwt.claims.get("iss").and_then(Value::as_str);
    if let Some(says) = says.filter(|says| *says != issuer.as_str()) {
        let says: String = says.chars().take(MAX_AUDIENCE_BYTES).collect();
        output.note(&format!(
            "note: the token says that `{says}` issued it, and `{issuer}` is expected here: `--issuer` says otherwise"
        ));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record(rseq: u64) -> Value {
        json!({ "rseq": rseq, "kind": 1, "handle": "AAAAAAAAAAAAAAAAAAAAAA", "generation": rseq })
    }

    fn page(epoch: u64, rseqs: &[u64], more: bool) -> Value {
        let records: Vec<Value> = rseqs.iter().map(|rseq| record(*rseq)).collect();
        json!({ "epoch": epoch, "records": records, "more": more })
    }

    /// The epoch and the number of records of a log in these pages.
    fn read(pages: &[Value]) -> Option<(u64, u64)> {
        let mut log = None;
        pages
            .iter()
            .find_map(|page| match continued(&mut log, page) {
                Ok(Step::Whole(set)) => Some(Some((set.epoch(), set.head().rseq))),
                Ok(Step::Further) => None,
                Err(_) => Some(None),
            })?
    }

    #[test]
    fn the_log_is_of_the_epoch_that_its_pages_name() {
        assert_eq!(read(&[page(2, &[], false)]), Some((2, 0)));
        assert_eq!(
            read(&[page(2, &[1, 2], true), page(2, &[3], false)]),
            Some((2, 3))
        );
    }

    #[test]
    fn a_log_with_a_gap_or_of_two_epochs_or_of_none_is_no_log() {
        assert_eq!(read(&[page(2, &[2], false)]), None);
        assert_eq!(read(&[page(1, &[1], true), page(2, &[2], false)]), None);
        assert_eq!(read(&[page(1, &[], true)]), None);
        assert_eq!(read(&[json!({ "records": [], "more": false })]), None);
    }
}
