//! Which tokens of a provider sign its humans in at the API: the kinds, each with whom it must be made out to.
//!
//! Nothing is taken unless it is written down, and no audience is two kinds' at once, so that a token of one kind never
//! passes for one of another.

use std::time::Duration;

use kavachos_core::id_token::{Accepted, BearerToken, TokenKind};
use kavachos_core::invalid::Invalid;
use kavachos_core::time::Timestamp;

use super::{MAX_AUDIENCE_BYTES, MAX_AUDIENCES, check_span};

/// The longest that a bearer may be old.
const MAX_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// What says when a human last proved who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FreshBy {
    /// What the token says of the sign-in: `auth_time`, or `fva` of Clerk. Where it says nothing nobody is fresh.
    #[default]
    SignIn,
    /// That the token was made (`iat`): for a provider that makes one only for somebody who just signed in.
    Issue,
}

/// Whether a provider's word makes humans who are not known yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NewHumans {
    /// On first mention.
    #[default]
    Created,
    /// Never: an operator creates them before.
    Refused,
}

/// A kind of token that signs in, as it is written down.
#[derive(Debug, Clone, PartialEq)]
pub struct SignInTerms {
    /// The kind.
    pub kind: TokenKind,
    /// What may stand in `aud`. For tokens of identity those of the provider unless said; for access those of this API.
    pub audiences: Vec<String>,
    /// What may stand in `azp`: for sessions needed, for access narrowing, for tokens of identity nothing.
    pub parties: Vec<String>,
    /// How long ago a token may have been made.
    pub max_age: Duration,
    /// What says when the human last proved who they are.
    pub fresh_by: FreshBy,
}

impl SignInTerms {
    /// How long ago a bearer may have been made unless said.
    pub const MAX_AGE: Duration = Duration::from_secs(60 * 60);

    /// A kind with the usual bounds, and neither audiences nor parties yet.
    pub fn new(kind: TokenKind) -> Self {
        Self {
            kind,
            audiences: Vec::new(),
            parties: Vec::new(),
            max_age: Self::MAX_AGE,
            fresh_by: FreshBy::default(),
        }
    }
}

/// A kind of token that signs in.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SignIn {
    accepted: Accepted,
    fresh_by: FreshBy,
}

impl SignIn {
    pub(super) fn accepted(&self) -> &Accepted {
        &self.accepted
    }

    /// When the human proved who they are, as far as the provider's configuration lets that be read.
    pub(super) fn proved_at(&self, bearer: &BearerToken) -> Option<Timestamp> {
        match self.fresh_by {
            FreshBy::SignIn => bearer.token.signed_in_at,
            FreshBy::Issue => Some(bearer.token.issued_at),
        }
    }

    fn of(terms: &SignInTerms, own: &[String]) -> Result<Self, Invalid> {
        let audiences = match (terms.kind, terms.audiences.is_empty()) {
            (TokenKind::Identity, true) => own.to_vec(),
            _ => terms.audiences.clone(),
        };
        check_names("audiences", &audiences)?;
        check_names("parties", &terms.parties)?;
        check_who(terms.kind, &audiences, &terms.parties)?;
        check_span("max_age_seconds", terms.max_age, MAX_AGE)?;
        Ok(Self {
            accepted: Accepted {
                kind: terms.kind,
                audiences,
                parties: terms.parties.clone(),
                max_age: terms.max_age,
            },
            fresh_by: terms.fresh_by,
        })
    }
}

/// Checks what is written down. `own` are the ids that the applications have at the provider.
pub(super) fn checked(all: &[SignInTerms], own: &[String]) -> Result<Vec<SignIn>, Invalid> {
    let mut checked: Vec<SignIn> = Vec::with_capacity(all.len());
    for (at, terms) in all.iter().enumerate() {
        let within = |error: Invalid| error.within(&format!("sign_in[{at}]"));
        let sign_in = SignIn::of(terms, own).map_err(within)?;
        check_among(&sign_in.accepted, &checked, own).map_err(within)?;
        checked.push(sign_in);
    }
    Ok(checked)
}

fn check_names(member: &str, names: &[String]) -> Result<(), Invalid> {
    let plain = |text: &String| {
        (1..=MAX_AUDIENCE_BYTES).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic())
    };
    if names.len() <= MAX_AUDIENCES && names.iter().all(plain) {
        return Ok(());
    }
    Err(Invalid::at(
        member,
        format!(
            "must be at most {MAX_AUDIENCES}, each of 1 to {MAX_AUDIENCE_BYTES} visible ASCII characters"
        ),
    ))
}

/// Each kind says by something of its own for whom it is.
fn check_who(kind: TokenKind, audiences: &[String], parties: &[String]) -> Result<(), Invalid> {
    match kind {
        TokenKind::Identity if !parties.is_empty() => Err(Invalid::at(
            "parties",
            "an `id_token` names applications in `aud` alone: leave it out",
        )),
        TokenKind::Access if audiences.is_empty() => Err(Invalid::at(
            "audiences",
            "name what your API is called at the provider: a token for another API is not taken",
        )),
        TokenKind::Session if parties.is_empty() => Err(Invalid::at(
            "parties",
            "name the origins of your applications, as `azp` has them: a session elsewhere is not taken",
        )),
        _ => Ok(()),
    }
}

/// One rule of each kind, and no audience of two: an application's id is not what an API is called.
fn check_among(new: &Accepted, before: &[SignIn], own: &[String]) -> Result<(), Invalid> {
    if before.iter().any(|other| other.accepted.kind == new.kind) {
        return Err(Invalid::at(
            "token",
            "is named twice: give it once, with all its audiences",
        ));
    }
    let others = before.iter().flat_map(|other| &other.accepted.audiences);
    let applications = own.iter().filter(|_| new.kind == TokenKind::Access);
    let mut taken = others.chain(applications);
    if taken.any(|audience| new.audiences.contains(audience)) {
        return Err(Invalid::at(
            "audiences",
            "holds an audience of another kind of token: one could pass for the other",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    fn kind(kind: TokenKind, audiences: &[&str], parties: &[&str]) -> SignInTerms {
        SignInTerms {
            audiences: texts(audiences),
            parties: texts(parties),
            ..SignInTerms::new(kind)
        }
    }

    /// The member that is wrong; nothing where all is well.
    fn wrong(all: &[SignInTerms]) -> String {
        let checked = checked(all, &texts(&["app"]));
        checked.map_or_else(|error| error.field().to_owned(), |_| String::new())
    }

    #[test]
    fn each_kind_says_for_whom_it_is() {
        use TokenKind::{Access, Identity, Session};
        for (terms, member) in [
            (kind(Identity, &[], &[]), ""),
            (kind(Identity, &[], &["x"]), "sign_in[0].parties"),
            (kind(Access, &["api"], &[]), ""),
            (kind(Access, &[], &["x"]), "sign_in[0].audiences"),
            (kind(Session, &[], &["https://app"]), ""),
            (kind(Session, &["x"], &[]), "sign_in[0].parties"),
            (kind(Access, &["a b"], &[]), "sign_in[0].audiences"),
            (kind(Access, &["a"], &[""]), "sign_in[0].parties"),
        ] {
            assert_eq!(wrong(std::slice::from_ref(&terms)), member, "{terms:?}");
        }
        for (seconds, member) in [
            (0, "sign_in[0].max_age_seconds"),
            (1, ""),
            (86_400, ""),
            (86_401, "sign_in[0].max_age_seconds"),
        ] {
            let mut terms = kind(Identity, &[], &[]);
            terms.max_age = Duration::from_secs(seconds);
            assert_eq!(wrong(&[terms]), member);
        }
    }

    #[test]
    fn no_audience_is_two_kinds_and_no_kind_is_named_twice() {
        use TokenKind::{Access, Identity, Session};
        let identity = || kind(Identity, &[], &[]);
        let session = |audience| kind(Session, &[audience], &["https://app"]);
        for (all, member) in [
            (vec![identity(), kind(Access, &["api"], &[])], ""),
            (
                vec![identity(), kind(Access, &["app"], &[])],
                "sign_in[1].audiences",
            ),
            // An application's id is none of an API, also where tokens of identity sign nobody in.
            (vec![kind(Access, &["app"], &[])], "sign_in[0].audiences"),
            (
                vec![kind(Access, &["api"], &[]), session("api")],
                "sign_in[1].audiences",
            ),
            (vec![kind(Access, &["api"], &[]), session("own")], ""),
            (vec![identity(), identity()], "sign_in[1].token"),
        ] {
            assert_eq!(wrong(&all), member, "{all:?}");
        }
    }
}
