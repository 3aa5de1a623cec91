//! How a client says who it is (RFC 6749, section 2.3.1; RFC 6750 for an operator's key), and who that is.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kavachos_core::secret::{Secret, SecretKind};
use kavachos_engine::actor::Actor;
use kavachos_engine::{Engine, Presenter};

use crate::form::{Form, decoded};
use crate::refusal::{Code, Refusal};
use crate::subject;
use crate::token::Call;

/// What an assertion is (RFC 7523, section 2.2).
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Whether a client authenticates beside what it shows in the body.
#[derive(Clone, PartialEq, Eq)]
pub enum Client {
    /// It does not.
    Public,
    /// It sent a header `Authorization`; `None` for several, and for one that is not plain ASCII.
    Authenticating(Option<String>),
}

/// Shows nothing of a credential.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Public => "Public",
            Self::Authenticating(_) => "Authenticating(..)",
        })
    }
}

/// By what a client is known. It has no `Debug`: it is a credential.
pub(crate) enum Credential {
    /// The id and the secret of a client.
    Secret(String, String),
    /// What a client signed (RFC 7523).
    Assertion(String),
    /// An operator's key.
    Key(Secret),
    /// A tool server's own key.
    ToolServer(Secret),
}

impl Credential {
    /// Reads what a client shows: in the header, or in the body, and not in both.
    ///
    /// # Errors
    /// [`Code::InvalidRequest`] for more than one way, [`Code::InvalidClient`] for what cannot be read.
    pub(crate) fn read(client: &Client, form: &mut Form) -> Result<Option<Self>, Refusal> {
        let id = form.take("client_id");
        let (secret, assertion) = (form.take("client_secret"), read_assertion(form)?);
        if let Some(text) = assertion {
            return match (client, secret) {
                (Client::Public, None) => Ok(Some(Self::Assertion(text))),
                _ => Err(two_ways()),
            };
        }
        match (client, secret) {
            (Client::Authenticating(_), Some(_)) => Err(two_ways()),
            (Client::Authenticating(header), None) => {
                let read = header.as_deref().and_then(of_header);
                let read = read.ok_or_else(|| {
                    unknown("the header `Authorization` is neither `Basic` with id and secret nor `Bearer` with a key")
                })?;
                match (&read, id) {
                    (Self::Secret(known, _), Some(id)) if *known != id => Err(Refusal::new(
                        Code::InvalidRequest,
                        "`client_id` is another client's than the header `Authorization`",
                    )),
                    _ => Ok(Some(read)),
                }
            }
            (Client::Public, Some(secret)) => {
                let id = id.ok_or_else(|| unknown("`client_secret` goes with a `client_id`"))?;
                Ok(Some(Self::Secret(id, secret)))
            }
            (Client::Public, None) => Ok(None),
        }
    }

    /// Who it is, as one who presents what others signed. Guesses are on record as at every other route.
    ///
    /// # Errors
    /// [`Code::InvalidClient`] when nobody is known by it.
    pub(crate) async fn presenter(
        self,
        engine: &Engine,
        call: &Call,
    ) -> Result<Presenter, Refusal> {
        let presenter = match &self {
            Self::Secret(id, secret) => {
                let client = engine.provider_client(call.stranger(), (id, secret));
                client.ok().map(Presenter::Client)
            }
            // A tool server says nothing of humans, and neither does a client of ours.
            Self::ToolServer(_) | Self::Assertion(_) => None,
            Self::Key(key) => {
                let actor = subject::with_credential(engine, call, key).await;
                match actor {
                    Err(refusal) if refusal.code() != Code::InvalidGrant => return Err(refusal),
                    actor => actor.ok().and_then(|actor| Presenter::of(&actor.caller)),
                }
            }
        };
        presenter.ok_or_else(|| unknown("there is no client with these credentials"))
    }
}

/// The tool server that calls, by its own key.
///
/// # Errors
/// [`Code::InvalidClient`] when it shows none, or nobody knows it.
pub(crate) async fn tool_server(
    client: Option<Credential>,
    engine: &Engine,
    call: &Call,
) -> Result<Actor, Refusal> {
    let Some(Credential::ToolServer(key)) = client else {
        return Err(unknown(
            "what a tool server was shown is exchanged by that tool server, with its own key as `Bearer`",
        ));
    };
    match subject::with_credential(engine, call, &key).await {
        Err(refusal) if refusal.code() == Code::InvalidGrant => {
            Err(unknown("there is no tool server with this key"))
        }
        actor => actor,
    }
}

fn unknown(message: &str) -> Refusal {
    Refusal::new(Code::InvalidClient, message)
}

fn two_ways() -> Refusal {
    Refusal::new(
        Code::InvalidRequest,
        "a client authenticates in one way: in the header `Authorization`, with `client_secret`, or with `client_assertion`",
    )
}

/// What a client signed, and that it is of the one kind that there is.
fn read_assertion(form: &mut Form) -> Result<Option<String>, Refusal> {
    let (kind, text) = (
        form.take("client_assertion_type"),
        form.take("client_assertion"),
    );
    match (kind.as_deref(), text) {
        (None, None) => Ok(None),
        (Some(ASSERTION_TYPE), Some(text)) => Ok(Some(text)),
        _ => Err(unknown(&format!(
            "`client_assertion` goes with `client_assertion_type`, which is `{ASSERTION_TYPE}`"
        ))),
    }
}

fn of_header(header: &str) -> Option<Credential> {
    let (scheme, text) = header.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        let key = Secret::parse(text).ok()?;
        return match key.kind() {
            SecretKind::Operator => Some(Credential::Key(key)),
            SecretKind::Resource => Some(Credential::ToolServer(key)),
            _ => None,
        };
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(text).ok()?).ok()?;
    let (id, secret) = pair.split_once(':')?;
    // Both are encoded as a form encodes them, before they are joined.
    let (id, secret) = (decoded(id.as_bytes())?, decoded(secret.as_bytes())?);
    Some(Credential::Secret(id, secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(header: Option<&str>, body: &str) -> Result<Option<String>, Code> {
        let client = header.map_or(Client::Public, |header| {
            Client::Authenticating(Some(header.to_owned()))
        });
        let mut form = Form::read(body.as_bytes()).ok().unwrap();
        let read = Credential::read(&client, &mut form).map_err(|refusal| refusal.code())?;
        Ok(read.map(|credential| match credential {
            Credential::Secret(id, secret) => format!("{id} {secret}"),
            Credential::Assertion(text) => format!("assertion {text}"),
            Credential::Key(_) => "key".to_owned(),
            Credential::ToolServer(_) => "tool server".to_owned(),
        }))
    }

    fn basic(pair: &str) -> String {
        format!("Basic {}", STANDARD.encode(pair))
    }

    #[test]
    fn a_client_is_read_from_the_header_or_from_the_body() {
        let both = Ok(Some("web s:+%".to_owned()));
        assert_eq!(read(Some(&basic("web:s:%2B%25")), ""), both);
        assert_eq!(
            read(
                Some(&basic("web:s:%2B%25").replace("Basic", "bASIC")),
                "client_id=web"
            ),
            both
        );
        assert_eq!(read(None, "client_id=web&client_secret=s:%2B%25"), both);
        assert_eq!(read(None, ""), Ok(None));
        assert_eq!(read(None, "client_id=web"), Ok(None));
        let key = Secret::new(SecretKind::Operator, [7; 32]);
        assert_eq!(
            read(Some(&format!("Bearer {}", key.reveal())), ""),
            Ok(Some("key".to_owned()))
        );
        let server = Secret::new(SecretKind::Resource, [7; 32]);
        assert_eq!(
            read(Some(&format!("Bearer {}", server.reveal())), ""),
            Ok(Some("tool server".to_owned()))
        );
    }

    #[test]
    fn an_assertion_is_of_its_kind_and_alone() {
        let kind = format!("client_assertion_type={ASSERTION_TYPE}");
        let both = format!("{kind}&client_assertion=a.b.c");
        let expected = Ok(Some("assertion a.b.c".to_owned()));
        assert_eq!(read(None, &both), expected);
        assert_eq!(read(None, &format!("{both}&client_id=web")), expected);
        for wrong in [
            "client_assertion=a.b.c",
            &kind,
            "client_assertion_type=urn:ietf:params:oauth:client-assertion-type:saml2-bearer&client_assertion=a",
        ] {
            assert_eq!(read(None, wrong), Err(Code::InvalidClient), "{wrong}");
        }
        let two = format!("{both}&client_id=web&client_secret=s");
        assert_eq!(read(None, &two), Err(Code::InvalidRequest));
        let two = read(Some(&basic("web:s")), &both);
        assert_eq!(two, Err(Code::InvalidRequest));
    }

    #[test]
    fn two_ways_or_none_that_is_known_are_refused() {
        let two = read(Some(&basic("web:s")), "client_id=web&client_secret=s");
        assert_eq!(two, Err(Code::InvalidRequest));
        assert_eq!(
            read(Some(&basic("web:s")), "client_id=other"),
            Err(Code::InvalidRequest)
        );
        assert_eq!(read(None, "client_secret=s"), Err(Code::InvalidClient));
        let agent = Secret::new(SecretKind::Agent, [7; 32]);
        for wrong in [
            "Basic",
            "Basic ???",
            &basic("web"),
            &basic("web:%"),
            "Bearer kv_key_x",
            &format!("Bearer {}", agent.reveal()),
            "Digest a",
        ] {
            assert_eq!(read(Some(wrong), ""), Err(Code::InvalidClient), "{wrong}");
        }
        let mut form = Form::read(b"").ok().unwrap();
        let several = Credential::read(&Client::Authenticating(None), &mut form);
        assert_eq!(
            several.err().map(|refusal| refusal.code()),
            Some(Code::InvalidClient)
        );
    }
}
