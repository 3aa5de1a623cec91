//! Leaves: what an agent shows to one tool server (RFC 9068).

use std::time::Duration;

use super::claims::{Authority, Claims, Confirmation, Life, Made};
use super::failure::{Code, Failure};
use super::jws::{self, Purpose};
use super::key::{SigningKey, Thumbprint};
use super::key_set::KeySet;
use super::name::Issuer;
use crate::json::Object;
use crate::permission::PermissionSet;
use crate::resource::ResourcePattern;
use crate::tool_server::{Audience, TTL_SECONDS};

/// The scope of a leaf whose authority scopes cannot express. It grants nothing.
pub const LIMITED_SCOPE: &str = "kavach:limited";

/// What an agent may do at one tool server, for one human, for a few minutes.
#[derive(Debug, Clone, PartialEq)]
pub struct Leaf {
    /// Who made it.
    pub issuer: Issuer,
    /// The one tool server that it is for.
    pub audience: Audience,
    /// The registered scopes that it covers with every action, for tool servers that check scopes alone; empty where
    /// it covers none, and then the text is [`LIMITED_SCOPE`].
    pub scopes: Vec<ResourcePattern>,
    /// The key that whoever shows it must prove to hold.
    pub bound_to: Option<Thumbprint>,
    /// Authority, chain and human.
    pub authority: Authority,
    /// Its time.
    pub life: Life,
}

impl Leaf {
    /// The token.
    ///
    /// # Errors
    /// What [`Leaf::open`] would refuse: nothing is signed that this crate would not accept.
    pub fn sign(&self, key: &SigningKey) -> Result<String, Failure> {
        let names: Vec<&str> = self.scopes.iter().map(ResourcePattern::as_str).collect();
        let scope = if names.is_empty() {
            LIMITED_SCOPE.to_owned()
        } else {
            names.join(" ")
        };
        let claims = |scope: &str| {
            let made = Made {
                issuer: &self.issuer,
                audience: self.audience.as_str(),
                scope: Some(scope.to_owned()),
                res: None,
                cnf: self.bound_to.map(|print| Confirmation {
                    jkt: Some(print),
                    jwk: None,
                }),
            };
            Claims::new(made, &self.authority, &self.life)
        };
        Self::read(claims(&scope)?, &self.issuer)?;
        let token = jws::sign(Purpose::Leaf, &claims(&scope)?, key);
        if token.len() > jws::MAX_TOKEN_BYTES {
            let message = "the token would be too long: ask for fewer permissions";
            return Err(Failure::malformed(message));
        }
        Ok(token)
    }

    /// Reads a token of an issuer: the signature, then the form, then the parts against each other. Time, audience and
    /// revocation are [`super::Verification`]'s.
    ///
    /// # Errors
    /// In this order: [`Code::Malformed`], [`Code::WrongType`], [`Code::AlgNotAllowed`], [`Code::UnknownKey`],
    /// [`Code::BadSignature`], then of the claims [`Code::Malformed`], [`Code::DepthExceeded`],
    /// [`Code::OutlivesParent`], [`Code::NotNarrower`].
    pub fn open(token: &str, issuer: &Issuer, keys: &KeySet) -> Result<Self, Failure> {
        Self::read(jws::split(token, Purpose::Leaf)?.open(keys)?, issuer)
    }

    fn read(mut claims: Claims, issuer: &Issuer) -> Result<Self, Failure> {
        if claims.iss != *issuer {
            return Err(Failure::malformed("the token names another issuer"));
        }
        let audience = claims
            .aud
            .parse()
            .map_err(|_| Failure::malformed("`aud` names no tool server"))?;
        let scope =
            (claims.scope.take()).ok_or_else(|| Failure::malformed("`scope` is missing"))?;
        let bound_to = match claims.cnf.take() {
            None => None,
            Some(Object(Confirmation {
                jkt: Some(print),
                jwk: None,
            })) => Some(print),
            Some(_) => {
                return Err(Failure::malformed(
                    "`cnf` of a leaf has `jkt` and nothing else",
                ));
            }
        };
        if claims.res.is_some() {
            return Err(Failure::malformed("a leaf has no `res`"));
        }
        let longest = Duration::from_secs(u64::from(*TTL_SECONDS.end()));
        let (issuer, authority, life) = claims.take(longest)?;
        Ok(Self {
            issuer,
            audience,
            scopes: read_scopes(&scope, &authority)?,
            bound_to,
            authority,
            life,
        })
    }
}

/// The scopes, each of which the authority must cover with every action and without a constraint: a tool server that
/// looks at scopes alone must not be told more than there is.
fn read_scopes(text: &str, authority: &Authority) -> Result<Vec<ResourcePattern>, Failure> {
    if text == LIMITED_SCOPE {
        return Ok(Vec::new());
    }
    let scopes: Result<Vec<ResourcePattern>, _> = text.split(' ').map(str::parse).collect();
    let scopes = scopes.map_err(|_| {
        Failure::malformed("`scope` is a list of scopes with one blank between them")
    })?;
    if authority.guards.is_none()
        && (scopes.iter()).all(|scope| grants_all_of(&authority.permissions, scope))
    {
        Ok(scopes)
    } else {
        Err(Failure::new(
            Code::NotNarrower,
            "`scope` says more than `authorization_details` permit",
        ))
    }
}

/// Whether every action on the resources of a scope is permitted, without a condition.
pub fn grants_all_of(permissions: &PermissionSet, scope: &ResourcePattern) -> bool {
    permissions.grants_all_of(scope)
}
