//! Roots: what an agent shows to the issuer, with a proof of its key, to get leaves and to start an offline chain.

use std::time::Duration;

use super::claims::{Authority, Claims, Confirmation, Life, Made};
use super::failure::{Code, Failure};
use super::jws::{self, Purpose};
use super::key::{PublicKey, SigningKey};
use super::key_set::KeySet;
use super::name::Issuer;
use crate::json::Object;
use crate::tool_server::Audience;

/// The most tool servers that one root reaches.
pub const MAX_REACH: usize = 16;
/// The longest life of a root.
pub const MAX_ROOT_LIFE: Duration = Duration::from_secs(15 * 60);

/// What an agent may pass on, bound to its key. Worth nothing at a tool server.
#[derive(Debug, Clone, PartialEq)]
pub struct Root {
    /// Who made it, and the only one whom it is for.
    pub issuer: Issuer,
    /// The tool servers that tokens made of it may be for.
    pub reach: Vec<Audience>,
    /// The key whose holder may use it.
    pub key: PublicKey,
    /// Authority, chain and human.
    pub authority: Authority,
    /// Its time.
    pub life: Life,
}

impl Root {
    /// The token.
    ///
    /// # Errors
    /// What [`Root::open`] would refuse.
    pub fn sign(&self, key: &SigningKey) -> Result<String, Failure> {
        let claims = || {
            let made = Made {
                issuer: &self.issuer,
                audience: self.issuer.as_str(),
                scope: None,
                res: Some(self.reach.iter().map(ToString::to_string).collect()),
                cnf: Some(Confirmation {
                    jkt: None,
                    jwk: Some(self.key.to_jwk()),
                }),
            };
            Claims::new(made, &self.authority, &self.life)
        };
        Self::read(claims()?, &self.issuer)?;
        let token = jws::sign(Purpose::Root, &claims()?, key);
        if token.len() > jws::MAX_TOKEN_BYTES {
            let message = "the token would be too long: ask for fewer permissions";
            return Err(Failure::malformed(message));
        }
        Ok(token)
    }

    /// Reads a root of an issuer: signature, form, parts against each other.
    ///
    /// # Errors
    /// As [`super::Leaf::open`], and [`Code::AudienceMismatch`] when it is not made out to the issuer.
    pub fn open(token: &str, issuer: &Issuer, keys: &KeySet) -> Result<Self, Failure> {
        Self::read(jws::split(token, Purpose::Root)?.open(keys)?, issuer)
    }

    fn read(mut claims: Claims, issuer: &Issuer) -> Result<Self, Failure> {
        if claims.iss != *issuer {
            return Err(Failure::malformed("the token names another issuer"));
        }
        if claims.aud != issuer.as_str() {
            return Err(Failure::new(
                Code::AudienceMismatch,
                "a root is made out to its issuer alone",
            ));
        }
        let key = match claims.cnf.take() {
            Some(Object(Confirmation {
                jkt: None,
                jwk: Some(jwk),
            })) => PublicKey::from_jwk(&jwk)
                .map_err(|error| Failure::malformed(error.message().to_owned()))?,
            _ => {
                return Err(Failure::malformed(
                    "`cnf` of a root has `jwk` and nothing else",
                ));
            }
        };
        if claims.scope.is_some() {
            return Err(Failure::malformed("a root has no `scope`"));
        }
        let reach = read_reach(&claims.res.take().unwrap_or_default())?;
        let (issuer, authority, life) = claims.take(MAX_ROOT_LIFE)?;
        if usize::from(authority.max_depth) <= authority.depth() {
            return Err(Failure::new(
                Code::DepthExceeded,
                "nothing may stand below this root",
            ));
        }
        Ok(Self {
            issuer,
            reach,
            key,
            authority,
            life,
        })
    }
}

fn read_reach(names: &[String]) -> Result<Vec<Audience>, Failure> {
    let wrong = || Failure::malformed(format!("`res` names 1 to {MAX_REACH} tool servers"));
    if names.is_empty() || names.len() > MAX_REACH {
        return Err(wrong());
    }
    names
        .iter()
        .map(|name| name.parse().map_err(|_| wrong()))
        .collect()
}
