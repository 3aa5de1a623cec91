//! Providers' tokens that are shown at an API as a bearer (RFC 6750): which kind one is of, and whom it is made out to.
//!
//! Promises: only kinds that are accepted count, and no token is of two kinds at once for the same audience: each kind
//! has signs that it must carry and signs that it must not. A token of a program, or of somebody who acts in a human's
//! name, is nobody's sign-in.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde_json::Value;

use super::Rules;
use super::claims::{ACCESS, IdToken};
use super::read::{Typ, VerifiedClaims};
use crate::invalid::Invalid;
use crate::time::{Timestamp, clip};
use crate::token::{Code, Failure};

/// The most audiences of a token that gives access: the API, and what the provider has itself.
const MAX_AUDIENCES: usize = 16;
/// The longest time since a first factor that is read, in minutes: a year.
const MAX_MINUTES: u64 = 366 * 24 * 60;
/// Claims that only tokens of identity carry (OpenID Connect Core 1.0, sections 2 and 3.3.2.11).
const SIGN_IN: [&str; 3] = ["nonce", "at_hash", "c_hash"];

/// What a token of a provider is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TokenKind {
    /// Who somebody is, said to an application (OpenID Connect Core 1.0, section 2).
    Identity,
    /// Access to an API (RFC 9068, or the older ways of Auth0, Entra ID, Okta and Keycloak).
    Access,
    /// A session at the provider, as Clerk tells it to a back end: with `sid`, and the origin as `azp`.
    Session,
}

impl TokenKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Identity, Self::Access, Self::Session];

    /// The name in a configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "id_token",
            Self::Access => "access_token",
            Self::Session => "session_token",
        }
    }
}

impl fmt::Display for TokenKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for TokenKind {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let kind = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        kind.ok_or_else(|| {
            Invalid::new(format!(
                "`{}` is no kind of token: known are `id_token`, `access_token` and `session_token`",
                clip(text)
            ))
        })
    }
}

/// A kind of token that is accepted, and whom it must be made out to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The kind.
    pub kind: TokenKind,
    /// What `aud` must name: of a token of identity every one of these and nothing else, of one that gives access one of
    /// these. A token of a session may have none; if it has, every one is of these.
    pub audiences: Vec<String>,
    /// Who may have asked for it (`azp`, or `client_id`): for a session one of these, for access one of these unless the
    /// list is empty.
    pub parties: Vec<String>,
    /// How long ago it may have been made.
    pub max_age: Duration,
}

/// What a bearer must say to be believed.
#[derive(Debug, Clone, Copy)]
pub struct BearerRules<'a> {
    /// The provider, byte for byte.
    pub issuer: &'a str,
    /// The kinds that are accepted.
    pub accepted: &'a [Accepted],
    /// How long ago the human may have signed in, where the token says it.
    pub max_sign_in_age: Duration,
    /// What the token must repeat, where it was asked for with something.
    pub nonce: Option<&'a str>,
}

/// A bearer that is believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BearerToken {
    /// What it is.
    pub kind: TokenKind,
    /// What it says. When the human signed in is also read from `fva`, which Clerk writes into tokens of a session.
    pub token: IdToken,
}

impl VerifiedClaims {
    /// Holds the claims against what must be so of a bearer.
    ///
    /// # Errors
    /// Those of [`Self::check`]; [`Code::WrongType`] also for a kind that is not accepted, for a program's token, and for
    /// one of somebody who acts in a human's name. Of several kinds that do not fit, the nearest says why.
    pub fn check_bearer(
        &self,
        rules: &BearerRules<'_>,
        now: Timestamp,
    ) -> Result<BearerToken, Failure> {
        let mut nearest = wrong("the token is of no kind that is accepted from this provider");
        for accepted in rules.accepted {
            match self.check_as(accepted, rules, now) {
                Ok(token) => {
                    let kind = accepted.kind;
                    return Ok(BearerToken { kind, token });
                }
                Err(failure) if nearest.code == Code::WrongType => nearest = failure,
                Err(_) => {}
            }
        }
        Err(nearest)
    }

    fn check_as(
        &self,
        accepted: &Accepted,
        rules: &BearerRules<'_>,
        now: Timestamp,
    ) -> Result<IdToken, Failure> {
        self.check_kind(accepted.kind)?;
        self.check_human()?;
        self.check_issuer(rules.issuer)?;
        match accepted.kind {
            TokenKind::Identity => self.check_audience(&accepted.audiences)?,
            TokenKind::Access => self.check_access(accepted)?,
            TokenKind::Session => self.check_session(accepted)?,
        }
        if rules
            .nonce
            .is_some_and(|nonce| self.named("nonce") != Some(nonce))
        {
            let message = "the token was asked for with another `nonce`, or with none";
            return Err(Failure::new(Code::AudienceMismatch, message));
        }
        let mut token = self.token()?;
        if accepted.kind == TokenKind::Session && token.signed_in_at.is_none() {
            token.signed_in_at = self.first_factor(token.issued_at);
        }
        let rules = Rules {
            issuer: rules.issuer,
            audiences: &accepted.audiences,
            max_age: accepted.max_age,
            max_sign_in_age: rules.max_sign_in_age,
        };
        self.check_times(&token, &rules, now)?;
        Ok(token)
    }

    /// What the token says that it is for.
    fn check_kind(&self, kind: TokenKind) -> Result<(), Failure> {
        let is_event = self.members.contains_key("events");
        let fits = match kind {
            TokenKind::Identity => return self.check_purpose(),
            TokenKind::Access => self.is_access(),
            TokenKind::Session => self.is_session(),
        };
        if fits && !is_event {
            return Ok(());
        }
        Err(wrong(match kind {
            TokenKind::Session => {
                "the token is none of a session: its claims say that it is for another purpose"
            }
            _ => {
                "the token does not say that it gives access: it has no `typ` `at+jwt`, `scope` or `scp`, or has what \
                 only tokens of identity have"
            }
        }))
    }

    /// Some say it outright: by the header, or as Keycloak and Cognito do. Others say what it gives access to.
    fn is_access(&self) -> bool {
        let (purpose, usage) = (self.named("typ"), self.named("token_use"));
        let another = |claim: &str, own: &str| {
            (self.members.get(claim)).is_some_and(|purpose| purpose != own)
        };
        if another("typ", "Bearer")
            || another("token_use", "access")
            || self.has_any(&["at_hash", "c_hash"])
        {
            return false;
        }
        let outright = self.typ == Typ::Access || purpose.is_some() || usage.is_some();
        let tells = self.has_any(&ACCESS) || self.members.contains_key("client_id");
        outright || (tells && !self.has_any(&SIGN_IN))
    }

    /// A session is named, is no longer to be completed, and nothing says that the token is of another kind.
    fn is_session(&self) -> bool {
        let is_active = (self.members.get("sts")).is_none_or(|status| status == "active");
        self.typ == Typ::Plain
            && self.named("sid").is_some_and(|sid| !sid.is_empty())
            && is_active
            && !self.has_any(&ACCESS)
            && !self.has_any(&SIGN_IN)
            && !self.has_any(&["typ", "token_use", "client_id"])
    }

    /// Of a human, and shown for themselves: an actor (RFC 8693, section 4.1) is somebody else, and a program's token names
    /// the program as its subject (RFC 9068, section 2.2), or says how it came about (Auth0, Entra ID).
    fn check_human(&self) -> Result<(), Failure> {
        if self.members.contains_key("act") {
            return Err(wrong(
                "somebody acts in the human's name: the token has an actor (`act`)",
            ));
        }
        let subject = self.named("sub");
        let programs = ["client_id", "azp", "appid"];
        let is_program =
            subject.is_some() && (programs.into_iter()).any(|claim| self.named(claim) == subject);
        if is_program
            || self.named("gty") == Some("client-credentials")
            || self.named("idtyp") == Some("app")
        {
            return Err(wrong("the token is a program's and no human's"));
        }
        Ok(())
    }

    /// One of the audiences is the API (RFC 9068, section 4); others may stand beside it.
    fn check_access(&self, accepted: &Accepted) -> Result<(), Failure> {
        let audience = self.audiences()?;
        let is_ours = |one: &&str| accepted.audiences.iter().any(|own| own == one);
        if !audience.iter().any(is_ours) {
            return Err(missed(
                "the token is made out to another API: `aud` holds no audience that is registered for this provider",
            ));
        }
        if accepted.parties.is_empty() {
            return Ok(());
        }
        self.check_party(accepted, &["azp", "client_id"])
    }

    fn check_session(&self, accepted: &Accepted) -> Result<(), Failure> {
        let audience = match self.members.get("aud") {
            None => Vec::new(),
            Some(_) => self.audiences()?,
        };
        let is_ours = |one: &&str| accepted.audiences.iter().any(|own| own == one);
        if !audience.iter().all(is_ours) {
            return Err(missed(
                "the token is made out to somebody else: `aud` holds what is not registered for this provider",
            ));
        }
        self.check_party(accepted, &["azp"])
    }

    /// The first of these claims that is there names a registered party.
    fn check_party(&self, accepted: &Accepted, claims: &[&str]) -> Result<(), Failure> {
        let mut named = claims.iter().filter_map(|claim| self.members.get(*claim));
        let party = named.next().and_then(Value::as_str);
        if party.is_some_and(|party| accepted.parties.iter().any(|own| own == party)) {
            return Ok(());
        }
        Err(missed(
            "the token was made for somebody else: `azp` is none of the registered parties",
        ))
    }

    fn audiences(&self) -> Result<Vec<&str>, Failure> {
        let all = match self.members.get("aud") {
            Some(only @ Value::String(_)) => std::slice::from_ref(only),
            Some(Value::Array(all)) => all.as_slice(),
            _ => &[],
        };
        let texts: Option<Vec<&str>> = all.iter().map(Value::as_str).collect();
        texts
            .filter(|texts| (1..=MAX_AUDIENCES).contains(&texts.len()))
            .ok_or_else(|| Failure::malformed("`aud` is missing, or no list of texts"))
    }

    /// When the human proved who they are, as Clerk says it: so many whole minutes before the token was made.
    fn first_factor(&self, issued_at: Timestamp) -> Option<Timestamp> {
        let ages = self.members.get("fva")?.as_array()?;
        let minutes = ages.first()?.as_u64().filter(|age| *age <= MAX_MINUTES)?;
        let age = Duration::from_secs(minutes.saturating_add(1).saturating_mul(60));
        let micros = i64::try_from(age.as_micros()).ok()?;
        issued_at
            .as_micros()
            .checked_sub(micros)
            .map(Timestamp::from_micros)
    }

    /// A claim that is a text.
    fn named(&self, claim: &str) -> Option<&str> {
        self.members.get(claim).and_then(Value::as_str)
    }
}

fn wrong(message: &'static str) -> Failure {
    Failure::new(Code::WrongType, message)
}

fn missed(message: &'static str) -> Failure {
    Failure::new(Code::AudienceMismatch, message)
}
