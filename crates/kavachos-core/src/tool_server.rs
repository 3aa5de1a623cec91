//! Tool servers as they are registered (OAuth calls them resource servers): under which name tokens are made out to
//! them, which scopes they have, and how a token for them must be made.
//!
//! A scope is a resource pattern granted with every action; what its scopes cover is what a tool server may ask about.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::action::Actions;
use crate::constraint::Constraints;
use crate::invalid::Invalid;
use crate::json;
use crate::permission::{Permission, PermissionSet};
use crate::resource::ResourcePattern;
use crate::time::clip;

/// The longest audience in bytes.
pub const MAX_AUDIENCE_BYTES: usize = 512;
/// The most scopes of one tool server.
pub const MAX_REGISTERED_SCOPES: usize = 100;
/// The longest description of a scope in bytes.
pub const MAX_DESCRIPTION_BYTES: usize = 200;
/// How long a verifier may go on without news of revocations, in seconds.
pub const LEASE_SECONDS: std::ops::RangeInclusive<u32> = 2..=60;
/// How long a token may live, in seconds.
pub const TTL_SECONDS: std::ops::RangeInclusive<u32> = 1..=600;
/// Scopes of protocols, and our own for tokens that carry their authority elsewhere: none of them names resources.
pub const RESERVED_SCOPES: [&str; 5] = [
    "openid",
    "profile",
    "email",
    "offline_access",
    "kavach:limited",
];

/// Whom a token is for: an absolute `https` or `http` URL without user, query and fragment (RFC 8707, section 2), in one
/// spelling, compared byte for byte.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Audience(Box<str>);

impl Audience {
    pub(crate) fn localhost() -> Self {
        Self("http://localhost:3000".into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Audience {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text.len() > MAX_AUDIENCE_BYTES {
            let message = format!("an audience has at most {MAX_AUDIENCE_BYTES} bytes");
            return Err(Invalid::new(message));
        }
        if is_audience(text) {
            return Ok(Self(text.into()));
        }
        Err(Invalid::new(format!(
            "`{}` is no audience: write a URL like `https://tools.example.com/mcp`, scheme and host in lower case, \
             without user, query and fragment",
            clip(text)
        )))
    }
}

fn is_audience(text: &str) -> bool {
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    let Some(rest) = rest else { return false };
    let (authority, path) = match rest.split_once('/') {
        Some((authority, path)) => (authority, path),
        None => (rest, ""),
    };
    let in_host = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-._:[]".contains(c);
    let in_path = |c: char| c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:@/%".contains(c);
    let dots = |segment: &str| segment == "." || segment == "..";
    !authority.is_empty()
        && authority.chars().all(in_host)
        && path.chars().all(in_path)
        && !path.split('/').any(dots)
}

impl fmt::Display for Audience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Audience {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Audience {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        json::text(deserializer)
    }
}

/// A scope that a tool server has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RegisteredScope {
    /// The resources that it stands for, with every action.
    pub name: ResourcePattern,
    /// What a human is told of it.
    pub description: String,
}

/// The scopes of a tool server: 1 to [`MAX_REGISTERED_SCOPES`], each once.
#[derive(Debug, Clone, PartialEq)]
pub struct RegisteredScopes {
    scopes: Vec<RegisteredScope>,
    covered: PermissionSet,
}

impl RegisteredScopes {
    /// Checks a list of scopes.
    ///
    /// # Errors
    /// There are none or too many, one stands twice, is reserved, or has no proper description.
    pub fn new(scopes: Vec<RegisteredScope>) -> Result<Self, Invalid> {
        if scopes.len() > MAX_REGISTERED_SCOPES {
            let message = format!("a tool server has at most {MAX_REGISTERED_SCOPES} scopes");
            return Err(Invalid::new(message));
        }
        for (index, scope) in scopes.iter().enumerate() {
            let before = scopes.iter().take(index);
            check_scope(scope, before).map_err(|error| error.within(&format!("[{index}]")))?;
        }
        let every_action = |scope: &RegisteredScope| {
            Permission::new(scope.name.clone(), Actions::any(), Constraints::default())
        };
        let covered = PermissionSet::new(scopes.iter().map(every_action))
            .map_err(|_| Invalid::new("an empty list covers nothing; write at least one scope"))?;
        Ok(Self { scopes, covered })
    }

    /// The scopes as they were written.
    pub fn as_slice(&self) -> &[RegisteredScope] {
        &self.scopes
    }

    /// What they cover, with every action: what the tool server may ask about.
    pub fn covered(&self) -> &PermissionSet {
        &self.covered
    }

    /// Whether one of them is called so.
    pub fn has(&self, name: &str) -> bool {
        self.scopes.iter().any(|scope| scope.name.as_str() == name)
    }
}

fn check_scope<'a>(
    scope: &RegisteredScope,
    mut before: impl Iterator<Item = &'a RegisteredScope>,
) -> Result<(), Invalid> {
    let name = scope.name.as_str();
    if RESERVED_SCOPES.contains(&name) {
        return Err(Invalid::at(
            "name",
            "this scope is reserved; choose another name",
        ));
    }
    if before.any(|other| other.name == scope.name) {
        return Err(Invalid::at("name", "this scope stands twice"));
    }
    let text = &scope.description;
    let fits = !text.trim().is_empty() && text.len() <= MAX_DESCRIPTION_BYTES;
    if !fits || text.chars().any(char::is_control) {
        let message = format!(
            "tell in 1 to {MAX_DESCRIPTION_BYTES} bytes without control characters what the scope allows"
        );
        return Err(Invalid::at("description", message));
    }
    Ok(())
}

impl Serialize for RegisteredScopes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.scopes.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RegisteredScopes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(Vec::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// Who runs a tool server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Party {
    /// The same people as this server.
    First,
    /// Others: their tokens name humans by a pseudonym of their own.
    Third,
}

/// What a tool server checks by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verification {
    /// Signature, audience and scope, as every JWT library does.
    Plain,
    /// Everything: it runs the verifier.
    Kavach,
}

/// Whether a caller of a tool server proves that a token is its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// Bearer tokens.
    None,
    /// Proof where the token is bound.
    Optional,
    /// Always, with DPoP (RFC 9449).
    Dpop,
    /// Always, and the proof names the body too.
    DpopBody,
}

/// How tokens for a tool server are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TokenAlgorithm {
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
    /// P-256, where a library knows no other.
    #[serde(rename = "ES256")]
    Es256,
}

/// How tokens for a tool server are made and checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TokenPolicy {
    /// What a request gets that names no scope: registered scopes, separated by blanks.
    pub default_scope: Option<String>,
    /// Who runs the tool server.
    pub party: Party,
    /// What it checks by itself.
    pub kind: Verification,
    /// Whether callers prove that a token is theirs.
    pub proof: Proof,
    /// How tokens are signed.
    pub token_algorithm: TokenAlgorithm,
    /// Whether no picture of revocations may be older than 2 seconds: its [lease](Self::lease) is the shortest, and no root
    /// reaches it.
    pub critical: bool,
    /// How long it may go on without news of revocations, unless it is critical.
    pub lease_seconds: u32,
    /// The longest life of a token.
    pub max_ttl_seconds: u32,
}

/// The strict end of what is not said: others run it, it checks like any JWT library, and its tokens live five minutes.
impl Default for TokenPolicy {
    fn default() -> Self {
        Self {
            default_scope: None,
            party: Party::Third,
            kind: Verification::Plain,
            proof: Proof::Optional,
            token_algorithm: TokenAlgorithm::EdDsa,
            critical: false,
            lease_seconds: 10,
            max_ttl_seconds: 300,
        }
    }
}

impl TokenPolicy {
    /// For how many seconds it may go on without news of revocations.
    pub fn lease(&self) -> u32 {
        if self.critical {
            self.lease_seconds.min(*LEASE_SECONDS.start())
        } else {
            self.lease_seconds
        }
    }

    /// Checks the policy against the scopes that it is for.
    ///
    /// # Errors
    /// A number is out of its range, or the default scope is none of the registered ones.
    pub fn check(&self, scopes: &RegisteredScopes) -> Result<(), Invalid> {
        check_range("leaseSeconds", self.lease_seconds, &LEASE_SECONDS)?;
        check_range("maxTtlSeconds", self.max_ttl_seconds, &TTL_SECONDS)?;
        let Some(default) = &self.default_scope else {
            return Ok(());
        };
        match default.split(' ').find(|name| !scopes.has(name)) {
            None => Ok(()),
            Some(unknown) => Err(Invalid::at(
                "defaultScope",
                format!(
                    "`{}` is none of `scopes`; separate names by one blank",
                    clip(unknown)
                ),
            )),
        }
    }
}

fn check_range(
    field: &str,
    seconds: u32,
    range: &std::ops::RangeInclusive<u32>,
) -> Result<(), Invalid> {
    if range.contains(&seconds) {
        return Ok(());
    }
    let message = format!("must be from {} to {}", range.start(), range.end());
    Err(Invalid::at(field, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_audience_has_one_spelling() {
        for text in [
            "https://tools.example.com",
            "https://tools.example.com/mcp",
            "http://localhost:8080/",
            "https://[2001:db8::1]:8443/a/b%20c",
        ] {
            assert_eq!(text.parse::<Audience>().unwrap().as_str(), text);
        }
        for text in [
            "",
            "tools.example.com",
            "HTTPS://tools.example.com",
            "https://Tools.example.com",
            "https://",
            "https:///mcp",
            "https://me@tools.example.com",
            "https://tools.example.com/?a=b",
            "https://tools.example.com/#a",
            "https://tools.example.com/../admin",
            "https://tools.example.com/a b",
            "https://tools.example.com/\u{e9}",
            "javascript:alert(1)",
            &format!("https://a/{}", "a".repeat(512)),
        ] {
            assert!(text.parse::<Audience>().is_err(), "{text}");
        }
    }

    fn scope(name: &str) -> RegisteredScope {
        RegisteredScope {
            name: name.parse().unwrap(),
            description: "look".to_owned(),
        }
    }

    #[test]
    fn scopes_are_each_once_described_and_never_a_protocols() {
        assert!(RegisteredScopes::new(vec![scope("inbox:read"), scope("inbox:*")]).is_ok());
        let field = |scopes: Vec<RegisteredScope>| {
            let error = RegisteredScopes::new(scopes).unwrap_err();
            error.field().to_owned()
        };
        assert_eq!(field(Vec::new()), "");
        assert_eq!(field(vec![scope("a"), scope("a")]), "[1].name");
        for reserved in RESERVED_SCOPES {
            assert_eq!(field(vec![scope(reserved)]), "[0].name");
        }
        for description in ["", " ", "a\nb", &"x".repeat(201)] {
            let mut scope = scope("a");
            scope.description = description.to_owned();
            assert_eq!(field(vec![scope]), "[0].description");
        }
        let many = (0..=MAX_REGISTERED_SCOPES).map(|n| scope(&format!("a:{n}")));
        assert_eq!(field(many.collect()), "");
    }

    #[test]
    fn the_lease_of_what_is_critical_is_the_shortest() {
        let lease = |critical, lease_seconds| {
            let policy = TokenPolicy {
                critical,
                lease_seconds,
                ..TokenPolicy::default()
            };
            policy.lease()
        };
        assert_eq!([lease(true, 60), lease(true, 2)], [2, 2]);
        // The twin.
        assert_eq!([lease(false, 60), lease(false, 2)], [60, 2]);
    }

    #[test]
    fn a_policy_fits_its_scopes_and_its_ranges() {
        let scopes = RegisteredScopes::new(vec![scope("a"), scope("b")]).unwrap();
        let policy = |default_scope: &str, lease_seconds, max_ttl_seconds| TokenPolicy {
            default_scope: Some(default_scope.to_owned()),
            lease_seconds,
            max_ttl_seconds,
            ..TokenPolicy::default()
        };
        assert_eq!(policy("a b", 2, 600).check(&scopes), Ok(()));
        for (wrong, field) in [
            (policy("c", 10, 300), "defaultScope"),
            (policy("a  b", 10, 300), "defaultScope"),
            (policy("", 10, 300), "defaultScope"),
            (policy("a", 1, 300), "leaseSeconds"),
            (policy("a", 61, 300), "leaseSeconds"),
            (policy("a", 10, 0), "maxTtlSeconds"),
            (policy("a", 10, 601), "maxTtlSeconds"),
        ] {
            assert_eq!(wrong.check(&scopes).unwrap_err().field(), field);
        }
    }
}
