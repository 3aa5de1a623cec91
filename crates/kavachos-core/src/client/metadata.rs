//! What a client says of itself (RFC 7591, section 2), as far as anybody here looks at it.
//!
//! Promises: members that are not known are passed over; a redirect address that none may be goes, and the others stay, as do
//! grants: but of an operator, who is told. What a client says gives it nothing: which grants strangers may ask for is
//! [`Source`]'s to say, and what they may do a human's.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::id::ClientId;
use super::keys::ClientKeys;
use super::redirect::{RedirectKind, RedirectUri};
use crate::invalid::Invalid;
use crate::json;
use crate::time::clip;
use crate::unseen::{is_reordering, is_unseen};

/// The longest name, in bytes.
pub const MAX_CLIENT_NAME_BYTES: usize = 100;
/// The most redirect addresses.
pub const MAX_REDIRECTS: usize = 20;
/// The longest of the addresses that are shown alone, in bytes.
const MAX_SHOWN_BYTES: usize = 512;

/// How a client shows who it is at the token endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuthMethod {
    /// It does not: it has nothing that nobody else has.
    #[serde(rename = "none")]
    None,
    /// A secret in the header (RFC 6749, section 2.3.1).
    #[serde(rename = "client_secret_basic")]
    SecretBasic,
    /// A secret in the body.
    #[serde(rename = "client_secret_post")]
    SecretPost,
    /// An assertion that is signed with a key of its own (RFC 7523).
    #[serde(rename = "private_key_jwt")]
    PrivateKeyJwt,
}

impl AuthMethod {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::None,
        Self::SecretBasic,
        Self::SecretPost,
        Self::PrivateKeyJwt,
    ];

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::SecretBasic => "client_secret_basic",
            Self::SecretPost => "client_secret_post",
            Self::PrivateKeyJwt => "private_key_jwt",
        }
    }

    /// Whether the server and the client share a secret.
    pub const fn has_secret(self) -> bool {
        matches!(self, Self::SecretBasic | Self::SecretPost)
    }

    fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == name)
    }
}

/// What a client may ask for at the token endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum GrantType {
    /// A token for a code that a human's browser brought.
    #[serde(rename = "authorization_code")]
    AuthorizationCode,
    /// The next token for the one before.
    #[serde(rename = "refresh_token")]
    RefreshToken,
    /// A token for itself.
    #[serde(rename = "client_credentials")]
    ClientCredentials,
    /// A token for a code that a human typed elsewhere (RFC 8628).
    #[serde(rename = "urn:ietf:params:oauth:grant-type:device_code")]
    DeviceCode,
}

impl GrantType {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::AuthorizationCode,
        Self::RefreshToken,
        Self::ClientCredentials,
        Self::DeviceCode,
    ];

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AuthorizationCode => "authorization_code",
            Self::RefreshToken => "refresh_token",
            Self::ClientCredentials => "client_credentials",
            Self::DeviceCode => "urn:ietf:params:oauth:grant-type:device_code",
        }
    }

    /// The one with this name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == name)
    }
}

/// Who says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// An operator, who may let a client do everything that clients do.
    Operator,
    /// The client itself: anybody.
    Itself,
    /// The document at the address that is the client's id: whoever has the host.
    Document,
}

impl Source {
    /// The name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Itself => "itself",
            Self::Document => "document",
        }
    }

    fn lets(self, grant: GrantType) -> bool {
        self == Self::Operator
            || matches!(
                grant,
                GrantType::AuthorizationCode | GrantType::RefreshToken
            )
    }

    /// What is meant where no method is named.
    const fn usual_method(self) -> AuthMethod {
        match self {
            Self::Document => AuthMethod::None,
            Self::Operator | Self::Itself => AuthMethod::SecretBasic,
        }
    }
}

/// Why a client is not registered (RFC 7591, section 3.2.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadMetadata {
    /// No redirect address that may be one.
    RedirectUri(String),
    /// Anything else.
    Metadata(String),
}

impl BadMetadata {
    /// The member `error` of the answer.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::RedirectUri(_) => "invalid_redirect_uri",
            Self::Metadata(_) => "invalid_client_metadata",
        }
    }

    /// What is wrong.
    pub fn message(&self) -> &str {
        let (Self::RedirectUri(text) | Self::Metadata(text)) = self;
        text
    }
}

/// What a client says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientMetadata {
    /// What it calls itself.
    pub client_name: String,
    /// Where browsers are sent back to.
    pub redirect_uris: Vec<RedirectUri>,
    /// How it shows who it is.
    pub token_endpoint_auth_method: AuthMethod,
    /// What it may ask for.
    pub grant_types: Vec<GrantType>,
    /// Its page for people, which is shown and never fetched.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub client_uri: Option<String>,
    /// Whether all its tokens are bound to a key (RFC 9449, section 5.2).
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub dpop_bound_access_tokens: bool,
    /// The keys with which it signs who it is, where that is how it shows it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub jwks: Option<ClientKeys>,
    /// Whether it asks for codes with requests that it pushed alone (RFC 9126, section 6).
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub require_pushed_authorization_requests: bool,
}

impl ClientMetadata {
    /// Reads what a client says of itself.
    ///
    /// # Errors
    /// It has no redirect address where it needs one, or says something that is not taken here.
    pub fn read(said: &Map<String, Value>, source: Source) -> Result<Self, BadMetadata> {
        let grant_types = read_grants(said, source)?;
        let needs_redirect = grant_types.contains(&GrantType::AuthorizationCode);
        let redirect_uris = match needs_redirect {
            true => read_redirects(said, source)?,
            false => Vec::new(),
        };
        let method = match text(said, "token_endpoint_auth_method")? {
            None => source.usual_method(),
            Some(name) => read_method(name, source)?,
        };
        if method == AuthMethod::None && grant_types.contains(&GrantType::ClientCredentials) {
            return Err(wrong(
                "token_endpoint_auth_method",
                "is `none`, and a client that asks for itself shows who it is",
            ));
        }
        let jwks = match method {
            AuthMethod::PrivateKeyJwt => Some(read_keys(said)?),
            _ => None,
        };
        Ok(Self {
            client_name: read_name(said)?,
            redirect_uris,
            token_endpoint_auth_method: method,
            grant_types,
            jwks,
            client_uri: text(said, "client_uri")?
                .filter(|uri| uri.len() <= MAX_SHOWN_BYTES && uri.starts_with("https://"))
                .and_then(|uri| uri.parse::<RedirectUri>().ok())
                .map(|uri| uri.to_string()),
            dpop_bound_access_tokens: flag(said, "dpop_bound_access_tokens")?,
            require_pushed_authorization_requests: flag(
                said,
                "require_pushed_authorization_requests",
            )?,
        })
    }

    /// Reads the document at the address that is a client's id: whoever has the host says there what the client is.
    ///
    /// # Errors
    /// It is no such document, is another client's, or says what none may say.
    pub fn of_document(id: &ClientId, text: &[u8]) -> Result<Self, BadMetadata> {
        let said =
            json::parse(text).map_err(|error| BadMetadata::Metadata(error.message().to_owned()))?;
        let said = said
            .as_object()
            .ok_or_else(|| BadMetadata::Metadata("the document is no JSON object".to_owned()))?;
        if self::text(said, "client_id")? != Some(id.as_str()) {
            return Err(wrong("client_id", "is not the address of the document"));
        }
        if self::text(said, "client_name")?.is_none() {
            return Err(wrong("client_name", "is missing"));
        }
        for secret in ["client_secret", "client_secret_expires_at"] {
            if said.contains_key(secret) {
                return Err(wrong(secret, "stands in a document that everybody reads"));
            }
        }
        let read = Self::read(said, Source::Document)?;
        if read.require_pushed_authorization_requests {
            let member = "require_pushed_authorization_requests";
            return Err(wrong(
                member,
                "is for clients that are registered: of a document nothing is known before a human came",
            ));
        }
        Ok(read)
    }

    /// Whether it may ask for this.
    pub fn may(&self, grant: GrantType) -> bool {
        self.grant_types.contains(&grant)
    }

    /// Whether something is taken away of what it said before (a key, an address, a grant), or more is demanded of it: what was
    /// made by the word of before would not be made now.
    pub fn narrows(&self, before: &Self) -> bool {
        let keeps_keys = match (&before.jwks, &self.jwks) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(before), Some(now)) => now.holds(before),
        };
        !keeps_keys
            || self.leaves_address(before)
            || !before.grant_types.iter().all(|grant| self.may(*grant))
            || (self.dpop_bound_access_tokens && !before.dpop_bound_access_tokens)
            || (self.require_pushed_authorization_requests
                && !before.require_pushed_authorization_requests)
    }

    /// Whether a redirect address is taken away of those from before.
    pub fn leaves_address(&self, before: &Self) -> bool {
        let is_kept = |uri| self.redirect_uris.contains(uri);
        !before.redirect_uris.iter().all(is_kept)
    }

    /// The registered redirect address that an address which is asked for is.
    pub fn redirect(&self, asked: &RedirectUri) -> Option<&RedirectUri> {
        self.redirect_uris.iter().find(|uri| uri.matches(asked))
    }
}

fn wrong(member: &str, why: &str) -> BadMetadata {
    BadMetadata::Metadata(format!("`{member}` {why}"))
}

fn text<'a>(said: &'a Map<String, Value>, member: &str) -> Result<Option<&'a str>, BadMetadata> {
    match said.get(member) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(wrong(member, "is not a text")),
    }
}

fn flag(said: &Map<String, Value>, member: &str) -> Result<bool, BadMetadata> {
    match said.get(member) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(_) => Err(wrong(member, "is neither true nor false")),
    }
}

fn list<'a>(
    said: &'a Map<String, Value>,
    member: &str,
) -> Result<Option<Vec<&'a str>>, BadMetadata> {
    let items = match said.get(member) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Array(items)) => items,
        Some(_) => return Err(wrong(member, "is not a list")),
    };
    let texts: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
    texts
        .map(Some)
        .ok_or_else(|| wrong(member, "holds something else than texts"))
}

/// What a human reads of it on the page where they let it in: nothing that shows otherwise than it is.
fn read_name(said: &Map<String, Value>) -> Result<String, BadMetadata> {
    const NAMELESS: &str = "An application without a name";
    let Some(name) = text(said, "client_name")?.map(str::trim) else {
        return Ok(NAMELESS.to_owned());
    };
    let odd = |c: char| c.is_control() || is_unseen(c) || is_reordering(c);
    match name {
        "" => Ok(NAMELESS.to_owned()),
        name if name.len() > MAX_CLIENT_NAME_BYTES => {
            Err(wrong("client_name", "is longer than 100 bytes"))
        }
        name if name.contains(odd) => Err(wrong(
            "client_name",
            "holds characters that nobody sees, or that reorder text",
        )),
        name => Ok(name.to_owned()),
    }
}

fn read_method(name: &str, source: Source) -> Result<AuthMethod, BadMetadata> {
    let may = |method: &AuthMethod| source != Source::Document || !method.has_secret();
    AuthMethod::of(name).filter(may).ok_or_else(|| {
        let names = AuthMethod::ALL.into_iter().filter(may);
        let names: Vec<&str> = names.map(AuthMethod::as_str).collect();
        let why = format!("is none of `{}`", names.join("`, `"));
        wrong("token_endpoint_auth_method", &why)
    })
}

fn read_grants(said: &Map<String, Value>, source: Source) -> Result<Vec<GrantType>, BadMetadata> {
    let named = list(said, "grant_types")?;
    let named = named.unwrap_or_else(|| vec![GrantType::AuthorizationCode.as_str()]);
    let is_none = |name: &&&str| GrantType::of(name).is_none();
    // An operator wrote something else than they meant. Strangers' programs ask for whatever they know.
    if source == Source::Operator
        && let Some(unknown) = named.iter().find(is_none)
    {
        let names = GrantType::ALL.map(GrantType::as_str).join("`, `");
        let why = format!("holds `{}`, which is none of `{names}`", clip(unknown));
        return Err(wrong("grant_types", &why));
    }
    let known = named.iter().filter_map(|name| GrantType::of(name));
    let mut grants: Vec<GrantType> = known.filter(|grant| source.lets(*grant)).collect();
    grants.sort();
    grants.dedup();
    if grants.iter().all(|grant| *grant == GrantType::RefreshToken) {
        return Err(wrong(
            "grant_types",
            "holds nothing that is given here; name `authorization_code`",
        ));
    }
    let answers = list(said, "response_types")?;
    let lacks_code = answers.is_some_and(|types| !types.contains(&"code"));
    if lacks_code && grants.contains(&GrantType::AuthorizationCode) {
        return Err(wrong(
            "response_types",
            "does not hold `code`, the only one",
        ));
    }
    Ok(grants)
}

/// The keys of a client that signs who it is. Nobody fetches any.
fn read_keys(said: &Map<String, Value>) -> Result<ClientKeys, BadMetadata> {
    if said.get("jwks_uri").is_some_and(|uri| !uri.is_null()) {
        return Err(wrong(
            "jwks_uri",
            "is not fetched here: write the keys down themselves, as `jwks`",
        ));
    }
    let keys = said.get("jwks").filter(|set| !set.is_null());
    let keys = keys.ok_or_else(|| {
        wrong(
            "jwks",
            "is missing: a client with `private_key_jwt` writes its public keys down there",
        )
    })?;
    let bad = |invalid: Invalid| wrong("jwks", invalid.message());
    let keys = ClientKeys::from_jwks(keys).map_err(bad)?;
    match text(said, "token_endpoint_auth_signing_alg")? {
        None => Ok(keys),
        Some(name) => keys.of_kind(name).map_err(bad),
    }
}

fn read_redirects(
    said: &Map<String, Value>,
    source: Source,
) -> Result<Vec<RedirectUri>, BadMetadata> {
    let named = list(said, "redirect_uris")
        .map_err(|bad| BadMetadata::RedirectUri(bad.message().to_owned()))?;
    let named = named.unwrap_or_default();
    if named.len() > MAX_REDIRECTS {
        let message = format!("`redirect_uris` holds more than {MAX_REDIRECTS}");
        return Err(BadMetadata::RedirectUri(message));
    }
    // OpenID Connect Registration 1.0, section 2: of a site, that is.
    let of_site = text(said, "application_type")? == Some("web");
    let mut why = "`redirect_uris` is missing or empty".to_owned();
    let mut taken: Vec<RedirectUri> = Vec::new();
    for name in named {
        match name.parse::<RedirectUri>() {
            Ok(uri) if of_site && uri.kind() != RedirectKind::Site => {
                let name = clip(name);
                why = format!(
                    "`{name}` is not of a site, which `application_type` says; name `native`"
                );
            }
            Ok(uri) if taken.contains(&uri) => {}
            Ok(uri) => taken.push(uri),
            // An operator wrote something else than they meant. Of strangers' lists the others stay.
            Err(invalid) if source == Source::Operator => {
                return Err(BadMetadata::RedirectUri(invalid.message().to_owned()));
            }
            Err(invalid) => invalid.message().clone_into(&mut why),
        }
    }
    match taken.is_empty() {
        true => Err(BadMetadata::RedirectUri(why)),
        false => Ok(taken),
    }
}

#[cfg(test)]
mod tests;
