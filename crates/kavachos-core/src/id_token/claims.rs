//! What a token must say (OpenID Connect Core 1.0, sections 2 and 3.1.3.7).

use serde_json::Value;

use super::Rules;
use super::read::{Typ, VerifiedClaims};
use crate::invalid::Invalid;
use crate::time::Timestamp;
use crate::token::{CLOCK_SKEW, Code, Failure, Subject};

/// The most audiences of one token.
const MAX_AUDIENCES: usize = 16;
/// The largest number that is taken for seconds since 1970: the year 5138. Some versions of better-auth write
/// `auth_time` in milliseconds.
const MAX_SECONDS: u64 = 100_000_000_000;

/// Claims of tokens that give access.
pub(super) const ACCESS: [&str; 2] = ["scope", "scp"];
/// Claims that say by themselves that a token is of identity: what it was asked with and what came beside it (OpenID
/// Connect Core 1.0, sections 2 and 3.3.2.11), and a purpose that was looked at.
const IDENTITY: [&str; 5] = ["nonce", "at_hash", "c_hash", "typ", "token_use"];

/// A token that is believed: who somebody is, and until when the provider says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdToken {
    /// The provider's id for the human.
    pub subject: Subject,
    /// When it was made. Whole seconds.
    pub issued_at: Timestamp,
    /// When it ends. Whole seconds.
    pub expires_at: Timestamp,
    /// When the human signed in, where it says so. Whole seconds.
    pub signed_in_at: Option<Timestamp>,
    /// By what it is remembered once it was used: SHA-256 of what was signed.
    pub digest: [u8; 32],
}

impl VerifiedClaims {
    /// Holds the claims against what must be so.
    ///
    /// # Errors
    /// [`Code::WrongType`] for a token that is none of identity, [`Code::UnknownKey`] for another issuer,
    /// [`Code::AudienceMismatch`], [`Code::Expired`], [`Code::NotYetValid`], and [`Code::Malformed`] for a claim that is
    /// missing or wrong.
    pub fn check(&self, rules: &Rules<'_>, now: Timestamp) -> Result<IdToken, Failure> {
        self.check_purpose()?;
        self.check_issuer(rules.issuer)?;
        self.check_audience(rules.audiences)?;
        let token = self.token()?;
        self.check_times(&token, rules, now)?;
        Ok(token)
    }

    pub(super) fn check_issuer(&self, issuer: &str) -> Result<(), Failure> {
        if self.text("iss")? == issuer {
            return Ok(());
        }
        Err(Failure::new(
            Code::UnknownKey,
            "`iss` is not the issuer whose key signed the token",
        ))
    }

    /// What it says of the human and of its times, which are not held against anything yet.
    pub(super) fn token(&self) -> Result<IdToken, Failure> {
        Ok(IdToken {
            subject: (self.text("sub")?.parse())
                .map_err(|error: Invalid| Failure::malformed(error.message().to_owned()))?,
            issued_at: self.needed_time("iat")?,
            expires_at: self.needed_time("exp")?,
            signed_in_at: self.sign_in()?,
            digest: self.digest,
        })
    }

    /// Tokens that a provider makes for other purposes under the same `typ`, or under none: to end sessions (OpenID
    /// Connect Back-Channel Logout 1.0, section 2.4), those that Keycloak and Cognito tell apart by a claim of their own,
    /// and those that say what they give access to.
    pub(super) fn check_purpose(&self) -> Result<(), Failure> {
        let says = |claim: &str, other: &str| {
            (self.members.get(claim)).is_some_and(|purpose| purpose != other)
        };
        if self.typ == Typ::Access
            || self.members.contains_key("events")
            || says("typ", "ID")
            || says("token_use", "id")
            || self.gives_access()
        {
            return Err(Failure::new(
                Code::WrongType,
                "the token is none of identity: its claims say that it is for another purpose",
            ));
        }
        Ok(())
    }

    /// Whether it says what it gives access to (RFC 9068, section 2.2.3; `scp` at Entra ID and Okta) and nothing that
    /// only tokens of identity say. A few providers write the scopes of the sign-in into those, too.
    fn gives_access(&self) -> bool {
        self.has_any(&ACCESS) && !self.has_any(&IDENTITY)
    }

    pub(super) fn has_any(&self, claims: &[&str]) -> bool {
        (claims.iter()).any(|claim| self.members.contains_key(*claim))
    }

    /// Every audience is one of ours, and of several the one that asked for the token is named.
    pub(super) fn check_audience(&self, known: &[String]) -> Result<(), Failure> {
        let missed = |message: &'static str| Failure::new(Code::AudienceMismatch, message);
        let is_known =
            |text: Option<&str>| text.is_some_and(|text| known.iter().any(|one| one == text));
        let (single, audience) = match self.members.get("aud") {
            Some(only @ Value::String(_)) => (true, std::slice::from_ref(only)),
            Some(Value::Array(all)) => (all.len() == 1, all.as_slice()),
            _ => {
                return Err(Failure::malformed(
                    "`aud` is missing, or neither a text nor a list",
                ));
            }
        };
        let fits = (1..=MAX_AUDIENCES).contains(&audience.len());
        if !fits || !audience.iter().all(|one| is_known(one.as_str())) {
            return Err(missed(
                "the token is made out to somebody else, or to somebody else too: `aud` holds what is not registered \
                 for this provider",
            ));
        }
        match self.members.get("azp") {
            None if single => Ok(()),
            Some(party) if is_known(party.as_str()) => Ok(()),
            _ => Err(missed(
                "`azp` must name one of the registered audiences, and must be there when `aud` has several",
            )),
        }
    }

    pub(super) fn check_times(
        &self,
        token: &IdToken,
        rules: &Rules<'_>,
        now: Timestamp,
    ) -> Result<(), Failure> {
        let latest = now.plus(CLOCK_SKEW);
        let begins = self.time("nbf")?;
        let early = [Some(token.issued_at), begins, token.signed_in_at];
        if token.expires_at <= now {
            return Err(Failure::new(Code::Expired, "the token's time is over"));
        }
        if early.into_iter().flatten().any(|time| time > latest) {
            return Err(Failure::new(
                Code::NotYetValid,
                "the token is from the future: `iat`, `nbf` or `auth_time` has not come",
            ));
        }
        if now.since(token.issued_at) > rules.max_age {
            let message = format!(
                "the token was made more than {} seconds ago: get a new one from the provider",
                rules.max_age.as_secs()
            );
            return Err(Failure::new(Code::Expired, message));
        }
        let since = token.signed_in_at.map(|time| now.since(time));
        if since.is_some_and(|since| since > rules.max_sign_in_age) {
            let message = format!(
                "the human signed in more than {} seconds ago: let the provider ask them again",
                rules.max_sign_in_age.as_secs()
            );
            return Err(Failure::new(Code::Expired, message));
        }
        Ok(())
    }

    pub(super) fn text(&self, name: &str) -> Result<&str, Failure> {
        (self.members.get(name).and_then(Value::as_str))
            .ok_or_else(|| Failure::malformed(format!("`{name}` is missing or no text")))
    }

    fn time(&self, name: &str) -> Result<Option<Timestamp>, Failure> {
        self.time_of(name, |seconds| seconds)
    }

    fn needed_time(&self, name: &str) -> Result<Timestamp, Failure> {
        let time = self.time(name)?;
        time.ok_or_else(|| Failure::malformed(format!("`{name}` is missing")))
    }

    fn sign_in(&self) -> Result<Option<Timestamp>, Failure> {
        self.time_of("auth_time", |number| match number {
            milliseconds if milliseconds > MAX_SECONDS => milliseconds / 1_000,
            seconds => seconds,
        })
    }

    /// A `NumericDate` (RFC 7519, section 2) without a fraction.
    fn time_of(&self, name: &str, seconds: fn(u64) -> u64) -> Result<Option<Timestamp>, Failure> {
        let Some(value) = self.members.get(name) else {
            return Ok(None);
        };
        let micros = (value.as_u64().map(seconds))
            .and_then(|seconds| i64::try_from(seconds).ok()?.checked_mul(1_000_000))
            .filter(|micros| *micros <= Timestamp::MAX.as_micros());
        micros
            .map(|micros| Some(Timestamp::from_micros(micros)))
            .ok_or_else(|| {
                Failure::malformed(format!("`{name}` is no number of whole seconds since 1970"))
            })
    }
}
