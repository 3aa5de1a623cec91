//! What a request for an exchange says (RFC 8693, section 2.1), read parameter by parameter. Beside the standard's there
//! are `reason`, which every token has on record, and `ttl_seconds`.

use std::num::NonZeroU64;
use std::time::Duration;

use kavachos_core::invalid::Invalid;
use kavachos_core::json;
use kavachos_core::permission::PermissionSet;
use kavachos_core::resource::ResourcePattern;
use kavachos_core::secret::{Secret, SecretKind};
use kavachos_core::token::{DETAILS_TYPE, MAX_REACH};
use kavachos_core::tool_server::Audience;
use kavachos_engine::Wanted;
use serde::Deserialize;
use serde_json::Value;

use crate::answer::Told;
use crate::form::Form;
use crate::refusal::{Code, Refusal};
use crate::scope::MAX_SCOPES;
use crate::subject::Subject;
use crate::token_type::TokenType;

/// The longest `authorization_details`, in bytes.
pub const MAX_DETAILS_BYTES: usize = 64 * 1024;

/// What kind of token is asked for.
pub(crate) enum Made {
    /// For one tool server.
    Leaf(Audience),
    /// For the issuer alone, to get tokens for these tool servers; the first one, and the others.
    Root(Audience, Vec<Audience>),
}

/// A request for an exchange. It has no `Debug`: it holds credentials.
pub(crate) struct Exchange {
    /// Whose authority is exchanged.
    pub(crate) subject: Subject,
    /// The key of the agent that will show the token, where a human is the subject.
    pub(crate) actor: Option<Secret>,
    /// What is asked for, and the tool server that it is for.
    pub(crate) made: Made,
    /// What it is to permit, as it was sent.
    pub(crate) asked: Asked,
    /// How long it is to live.
    pub(crate) ttl: Option<Duration>,
    /// Why it is wanted.
    pub(crate) reason: String,
}

/// What a token is to permit, as it was sent. To read it may cost a lot, since permissions have patterns that are
/// compiled: that is done for whoever is known to call, and for nobody else.
pub(crate) enum Asked {
    Scope(String),
    Details(String),
    Default,
}

impl Exchange {
    /// Reads a request.
    ///
    /// # Errors
    /// Says which parameter is missing, or cannot be accepted.
    pub(crate) fn read(form: &mut Form) -> Result<Self, Refusal> {
        let subject = Subject::read(form)?;
        let actor = read_actor(form, &subject)?;
        let made = read_made(form)?;
        Ok(Self {
            subject,
            actor,
            made,
            asked: read_asked(form)?,
            ttl: read_ttl(form)?,
            reason: form.need("reason")?,
        })
    }
}

fn invalid(message: impl AsRef<str>) -> Refusal {
    Refusal::new(Code::InvalidRequest, message)
}

/// The actor says which agent will show the token; it holds no authority that the subject does not have.
fn read_actor(form: &mut Form, subject: &Subject) -> Result<Option<Secret>, Refusal> {
    let (token, kind) = (form.take("actor_token"), form.take("actor_token_type"));
    let (token, kind) = match (token, kind) {
        (None, None) => return Ok(None),
        (Some(token), Some(kind)) => (token, kind),
        _ => return Err(invalid("`actor_token` and `actor_token_type` go together")),
    };
    if TokenType::of(&kind) != Some(TokenType::AgentKey) {
        let message = format!("`actor_token_type` is `{}`", TokenType::AgentKey.uri());
        return Err(invalid(message));
    }
    if !matches!(subject, Subject::Session(_) | Subject::IdToken(_)) {
        return Err(invalid(
            "`actor_token` goes with a human's session or id_token as `subject_token`; an agent that acts by itself is \
             the subject",
        ));
    }
    credential("actor_token", &token, SecretKind::Agent).map(Some)
}

/// A credential of the kind that its type names.
///
/// # Errors
/// It is none, or of another kind.
pub(crate) fn credential(name: &str, text: &str, kind: SecretKind) -> Result<Secret, Refusal> {
    match Secret::parse(text) {
        Ok(secret) if secret.kind() == kind => Ok(secret),
        Ok(_) => Err(invalid(format!(
            "`{name}` is a credential of another kind than its type says"
        ))),
        Err(_) => Err(invalid(format!(
            "`{name}` is not well-formed: copy all of it, without quotes"
        ))),
    }
}

/// What is asked for, for the tool servers under one of their two names (RFC 8693, section 2.1; RFC 8707).
fn read_made(form: &mut Form) -> Result<Made, Refusal> {
    let requested = form.take("requested_token_type");
    let kind = requested
        .as_deref()
        .map_or(Some(TokenType::AccessToken), TokenType::of);
    let mut names = form.take_all("audience");
    names.extend(form.take_all("resource"));
    names.sort();
    names.dedup();
    match kind {
        Some(TokenType::AccessToken) if names.len() > 1 => Err(Refusal::new(
            Code::InvalidTarget,
            "a token is for one tool server: ask for one token after the other",
        )),
        Some(TokenType::AccessToken) => Ok(Made::Leaf(read_audiences(&names)?.0)),
        Some(TokenType::Root) if names.len() > MAX_REACH => Err(Refusal::new(
            Code::InvalidTarget,
            format!("a root reaches at most {MAX_REACH} tool servers"),
        )),
        Some(TokenType::Root) => {
            let (first, further) = read_audiences(&names)?;
            Ok(Made::Root(first, further))
        }
        _ => Err(invalid(format!(
            "`requested_token_type` is `{}` or `{}`",
            TokenType::AccessToken.uri(),
            TokenType::Root.uri()
        ))),
    }
}

/// The first tool server, and the others.
fn read_audiences(names: &[String]) -> Result<(Audience, Vec<Audience>), Refusal> {
    let read = |name: &String| {
        name.parse()
            .map_err(|error: Invalid| Refusal::new(Code::InvalidTarget, error.message()))
    };
    let Some((first, further)) = names.split_first() else {
        return Err(invalid(
            "the parameter `audience` is missing: a token is for a tool server",
        ));
    };
    let further: Result<Vec<Audience>, Refusal> = further.iter().map(read).collect();
    Ok((read(first)?, further?))
}

fn read_asked(form: &mut Form) -> Result<Asked, Refusal> {
    match (form.take("scope"), form.take("authorization_details")) {
        (Some(_), Some(_)) => Err(invalid("give `scope` or `authorization_details`, not both")),
        (Some(scope), None) => Ok(Asked::Scope(scope)),
        (None, Some(details)) => Ok(Asked::Details(details)),
        (None, None) => Ok(Asked::Default),
    }
}

impl Asked {
    /// What it is to permit, and whether the client is told the details of what it got.
    ///
    /// # Errors
    /// It is none of what a token can carry.
    pub(crate) fn read(&self) -> Result<(Wanted, Told), Refusal> {
        Ok(match self {
            Self::Scope(scope) => (Wanted::Scopes(read_scope(scope)?), Told::ScopeAlone),
            Self::Details(details) => (Wanted::Permissions(read_details(details)?), Told::Details),
            Self::Default => (Wanted::Default, Told::ScopeAlone),
        })
    }
}

/// Scopes with one blank between them (RFC 6749, section 3.3).
fn read_scope(text: &str) -> Result<Vec<ResourcePattern>, Refusal> {
    let names: Vec<&str> = text.split(' ').collect();
    if names.len() > MAX_SCOPES {
        let message = format!("a request names at most {MAX_SCOPES} scopes");
        return Err(Refusal::new(Code::InvalidScope, message));
    }
    let scopes: Result<_, Invalid> = names.into_iter().map(str::parse).collect();
    scopes.map_err(|error| Refusal::new(Code::InvalidScope, error.message()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Details {
    r#type: String,
    permissions: Value,
}

/// The one entry of our type, as a token carries it.
fn read_details(text: &str) -> Result<PermissionSet, Refusal> {
    let wrong = |message: &str| Refusal::new(Code::InvalidAuthorizationDetails, message);
    if text.len() > MAX_DETAILS_BYTES {
        let message = format!("`authorization_details` has at most {MAX_DETAILS_BYTES} bytes");
        return Err(wrong(&message));
    }
    let value = json::parse(text.as_bytes()).map_err(|error| wrong(error.message()))?;
    let [one] = value.as_array().map(Vec::as_slice).unwrap_or_default() else {
        return Err(wrong("`authorization_details` is a list of one object"));
    };
    let details: Details = json::read(one).map_err(|error| wrong(&error.to_string()))?;
    if details.r#type != DETAILS_TYPE {
        return Err(wrong(&format!("the only `type` is `{DETAILS_TYPE}`")));
    }
    PermissionSet::from_json(&details.permissions)
        .map_err(|error| wrong(&error.within("permissions").to_string()))
}

fn read_ttl(form: &mut Form) -> Result<Option<Duration>, Refusal> {
    let Some(text) = form.take("ttl_seconds") else {
        return Ok(None);
    };
    let seconds: NonZeroU64 = text
        .parse()
        .map_err(|_| invalid("`ttl_seconds` is a whole number from 1 on"))?;
    Ok(Some(Duration::from_secs(seconds.get())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: &str = "subject_token_type=urn:kavachos:params:oauth:token-type:session";

    fn secret(kind: SecretKind) -> String {
        Secret::new(kind, [7; 32]).reveal().to_owned()
    }

    fn base() -> String {
        let session = secret(SecretKind::Session);
        format!("subject_token={session}&{SESSION}&audience=https://tools.example.com&reason=r")
    }

    fn read(body: &str) -> Result<Exchange, Code> {
        let mut form = Form::read(body.as_bytes()).map_err(|refusal| refusal.code())?;
        Exchange::read(&mut form).map_err(|refusal| refusal.code())
    }

    #[test]
    fn a_request_has_one_subject_one_tool_server_and_a_reason() {
        let exchange = read(&base()).ok().unwrap();
        let Made::Leaf(audience) = exchange.made else {
            panic!("a leaf was asked for");
        };
        assert_eq!(audience.as_str(), "https://tools.example.com");
        assert!(matches!(exchange.asked, Asked::Default));
        assert!(exchange.actor.is_none());
        for name in ["subject_token", "subject_token_type", "audience", "reason"] {
            let without: Vec<String> = base()
                .split('&')
                .filter(|pair| !pair.starts_with(&format!("{name}=")))
                .map(str::to_owned)
                .collect();
            let code = read(&without.join("&")).err();
            assert_eq!(code, Some(Code::InvalidRequest), "{name}");
        }
    }

    #[test]
    fn a_tool_server_may_be_named_twice_and_two_may_not() {
        let same = format!("{}&resource=https://tools.example.com", base());
        assert!(read(&same).is_ok());
        for other in [
            "resource=https://b.example.com",
            "audience=https://b.example.com",
        ] {
            let code = read(&format!("{}&{other}", base())).err();
            assert_eq!(code, Some(Code::InvalidTarget), "{other}");
        }
    }

    #[test]
    fn a_root_reaches_several_tool_servers() {
        let root = format!("requested_token_type={}", TokenType::Root.uri());
        let with = |more: &str| read(&format!("{}&{root}{more}", base()));
        let made = with("&resource=https://b.example.com").ok().unwrap().made;
        assert!(matches!(made, Made::Root(_, further) if further.len() == 1));
        let many = |count: usize| -> String {
            let name = |n| format!("&audience=https://s{n}.example.com");
            (0..count).map(name).collect()
        };
        assert!(with(&many(MAX_REACH - 1)).is_ok());
        assert_eq!(with(&many(MAX_REACH)).err(), Some(Code::InvalidTarget));
    }

    #[test]
    fn a_credential_is_of_the_kind_that_its_type_says() {
        let kinds = [
            SecretKind::Session,
            SecretKind::Agent,
            SecretKind::Operator,
            SecretKind::Resource,
            SecretKind::Master,
            SecretKind::SignIn,
            SecretKind::Device,
            SecretKind::Code,
            SecretKind::DeviceCode,
            SecretKind::Refresh,
            SecretKind::Client,
            SecretKind::Registration,
            SecretKind::Request,
        ];
        for kind in kinds {
            let body = base().replace(&secret(SecretKind::Session), &secret(kind));
            assert_eq!(read(&body).is_ok(), kind == SecretKind::Session, "{kind:?}");
        }
        for uri in ["urn:ietf:params:oauth:token-type:jwt", "session", "x"] {
            let body = base().replace("urn:kavachos:params:oauth:token-type:session", uri);
            assert_eq!(read(&body).err(), Some(Code::InvalidRequest), "{uri}");
        }
    }

    #[test]
    fn an_actor_is_an_agent_beside_a_session() {
        let agent = secret(SecretKind::Agent);
        let uri = TokenType::AgentKey.uri();
        let actor = format!("actor_token={agent}&actor_token_type={uri}");
        assert!(read(&format!("{}&{actor}", base())).is_ok());
        let as_subject = base()
            .replace(&secret(SecretKind::Session), &agent)
            .replace(TokenType::Session.uri(), uri);
        assert!(read(&as_subject).is_ok());
        for wrong in [
            format!("{as_subject}&{actor}"),
            format!("{}&actor_token={agent}", base()),
            format!("{}&actor_token_type={uri}", base()),
            format!(
                "{}&{}",
                base(),
                actor.replace(uri, TokenType::Session.uri())
            ),
            format!("{}&{}", base(), actor.replace("kv_agent_", "kv_sess_")),
        ] {
            assert_eq!(read(&wrong).err(), Some(Code::InvalidRequest), "{wrong}");
        }
    }

    #[test]
    fn what_is_wanted_is_scopes_or_details() {
        let with = |more: &str| {
            let asked = read(&format!("{}&{more}", base()))?.asked.read();
            asked
                .map(|(wanted, _)| wanted)
                .map_err(|refusal| refusal.code())
        };
        let scopes = with("scope=a:b+c:d").unwrap();
        assert!(matches!(scopes, Wanted::Scopes(scopes) if scopes.len() == 2));
        let details = r#"[{"type":"kavachos_delegation","permissions":[{"resource":"a:b","actions":["x"]}]}]"#;
        let wanted = with(&format!("authorization_details={details}")).unwrap();
        assert!(matches!(wanted, Wanted::Permissions(_)));
        assert_eq!(with("scope=a++b").err(), Some(Code::InvalidScope));
        assert_eq!(with("scope=**").err(), Some(Code::InvalidScope));
        let both = format!("scope=a&authorization_details={details}");
        assert_eq!(with(&both).err(), Some(Code::InvalidRequest));
        for wrong in [
            "{}",
            "[]",
            "[{}]",
            "x",
            &details.replace("kavachos_delegation", "payment"),
            &details.replace("\"type\"", "\"guards\":null,\"type\""),
            &details.replace("a:b", "**"),
            &format!(
                "{},{}",
                details.trim_end_matches(']'),
                details.trim_start_matches('[')
            ),
        ] {
            let code = with(&format!("authorization_details={wrong}")).err();
            assert_eq!(code, Some(Code::InvalidAuthorizationDetails), "{wrong}");
        }
    }

    #[test]
    fn a_life_is_a_number_of_seconds() {
        let with = |text: &str| read(&format!("{}&ttl_seconds={text}", base()));
        let ttl = with("60").ok().unwrap().ttl;
        assert_eq!(ttl, Some(Duration::from_secs(60)));
        for wrong in ["0", "-1", "1.5", "x", "99999999999999999999999"] {
            assert_eq!(with(wrong).err(), Some(Code::InvalidRequest), "{wrong}");
        }
    }
}
