//! The authorization endpoint (RFC 6749, section 4.1.1, with RFC 7636, 8707, 9207 and 9449): what a client asks a human for.
//!
//! Promises: a browser is sent to no address but one that the client registered, and only after both are known to be its. All
//! that is wrong before is told on a page of ours; all after goes back to the client, with its `state` and our `iss`.

use kavachos_core::client::{Challenge, ClientId, GrantType, RedirectUri, Source};
use kavachos_core::invalid::Invalid;
use kavachos_core::secret::SecretHash;
use kavachos_core::token::Thumbprint;
use kavachos_engine::actor::Actor;
use kavachos_engine::{Access, Client, Engine, Error, Way, Wish};

use crate::form::Form;
use crate::pushed::name_of;
use crate::refusal::{Code, Refusal};
use crate::resource::audiences;
use crate::scope::scopes;

/// The longest `state`, in bytes.
const MAX_STATE_BYTES: usize = 1_024;

/// A request that can be put before a human.
#[derive(Debug, Clone)]
pub struct Authorization {
    /// What the client gets if they say yes.
    pub access: Access,
    /// What a client asks besides.
    pub prompt: Prompt,
    back: Back,
}

/// What of the human is to be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Prompt {
    /// Whatever is needed.
    #[default]
    AsNeeded,
    /// Nothing: who would have to be asked is not let in (OpenID Connect Core 1.0, section 3.1.2.1).
    Nothing,
    /// Whether they say yes, also if they said so before.
    Consent,
    /// Who they are, also if they are signed in.
    SignIn,
}

/// Why a request cannot be put before a human.
#[derive(Debug)]
pub enum Fault {
    /// It is told on a page: nobody knows where to send the browser.
    Told(Refusal),
    /// The browser is sent back to the client with it.
    Sent(Box<SentBack>),
}

/// What sends a browser back to a client with nothing.
#[derive(Debug, Clone)]
pub struct SentBack {
    /// Where to, with what the client is told.
    pub location: String,
    /// The client.
    pub client: Client,
    /// What went wrong.
    pub refusal: Refusal,
}

/// Where a browser is sent back to, and what goes along.
#[derive(Debug, Clone)]
struct Back {
    client: Client,
    redirect_uri: RedirectUri,
    state: Option<String>,
    issuer: String,
}

impl Back {
    fn with(&self, parameters: &[(&str, &str)]) -> String {
        let state = self.state.as_deref().map(|state| ("state", state));
        let issuer = ("iss", self.issuer.as_str());
        let all = parameters.iter().copied().chain(state).chain([issuer]);
        self.redirect_uri.with(all)
    }

    fn refused(&self, refusal: &Refusal) -> SentBack {
        SentBack {
            location: self.with(&[
                ("error", refusal.code().as_str()),
                ("error_description", refusal.description()),
            ]),
            client: self.client.clone(),
            refusal: refusal.clone(),
        }
    }

    fn fault(&self, refusal: impl Into<Refusal>) -> Fault {
        Fault::Sent(Box::new(self.refused(&refusal.into())))
    }
}

impl Authorization {
    /// Where the browser is sent back to.
    pub const fn redirect_uri(&self) -> &RedirectUri {
        &self.back.redirect_uri
    }

    /// Where the browser goes with a code.
    pub fn granted(&self, code: &str) -> String {
        self.back.with(&[("code", code)])
    }

    /// Where it goes when the human says no.
    pub fn denied(&self) -> SentBack {
        self.refused(Code::AccessDenied, "the human said no")
    }

    /// Where it goes when nothing comes of it.
    pub fn refused(&self, code: Code, description: &str) -> SentBack {
        self.back.refused(&Refusal::new(code, description))
    }

    /// Where it goes with an error of the engine that is the client's to know; `None` of one that is a human's.
    pub fn failed(&self, error: &Error) -> Option<SentBack> {
        let refusal = Refusal::from(error.clone());
        let is_clients = matches!(refusal.code(), Code::InvalidScope | Code::InvalidTarget);
        is_clients.then(|| self.back.refused(&refusal))
    }
}

/// Reads and judges a request by the query of its address, for a human who is signed in.
///
/// # Errors
/// What is wrong with it, and whom that is told.
pub async fn authorization(
    engine: &Engine,
    human: &Actor,
    query: &[u8],
) -> Result<Authorization, Fault> {
    let (id, mut form, pushing) = read(engine, query).await.map_err(Fault::Told)?;
    let client = engine.client_for(human, &id).await;
    judged(engine, client, (&mut form, pushing)).await
}

/// The same while nobody is signed in; `None` of a client by whose word alone it is one: a human is there before a browser is
/// sent anywhere that a stranger may have registered (RFC 9700, section 4.11.2).
///
/// # Errors
/// What is wrong with it, and whom that is told.
pub async fn authorization_of_anybody(
    engine: &Engine,
    query: &[u8],
) -> Result<Option<Authorization>, Fault> {
    let (id, mut form, pushing) = read(engine, query).await.map_err(Fault::Told)?;
    if let Pushing::Before(request) = pushing {
        let begun = engine.begin_request(request).await;
        begun.map_err(|error| Fault::Told(error.into()))?;
    }
    if id.is_document() {
        return Ok(None);
    }
    let client = engine.client(&id).await;
    if matches!(&client, Ok(Some(client)) if client.source != Source::Operator) {
        return Ok(None);
    }
    let judged = judged(engine, client, (&mut form, pushing)).await;
    judged.map(Some)
}

/// Whether a request came by way of the client itself (RFC 9126).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pushing {
    /// It stands in the address.
    No,
    /// It is pushed with this call.
    Now,
    /// It was, under a name with this hash.
    Before(SecretHash),
}

/// The client that asks, and what: as it stands in the address, or as it was pushed.
async fn read(engine: &Engine, query: &[u8]) -> Result<(ClientId, Form, Pushing), Refusal> {
    let mut form = Form::read(query)?;
    let id = client_id(&mut form)?;
    let Some(name) = form.peek("request_uri").and_then(name_of) else {
        return Ok((id, form, Pushing::No));
    };
    let pushed = engine.pushed_request(&id, &name).await?;
    let (hash, text) = pushed.ok_or_else(|| {
        Refusal::new(
            Code::InvalidRequest,
            "what the application asked for is over, or was answered: go back to it and begin again",
        )
    })?;
    Ok((id, Form::read(text.as_bytes())?, Pushing::Before(hash)))
}

/// Judges what a client asks, and takes all of that from the form.
pub(crate) async fn judged(
    engine: &Engine,
    client: Result<Option<Client>, Error>,
    (form, pushing): (&mut Form, Pushing),
) -> Result<Authorization, Fault> {
    let client = client.map_err(|error| Fault::Told(error.into()))?;
    let client = client.ok_or_else(|| Fault::Told(no_client()))?;
    let redirect_uri = redirect_uri(&client, form).map_err(Fault::Told)?;
    let state = form.take("state");
    let is_long = |state: &String| state.len() > MAX_STATE_BYTES;
    let back = Back {
        client: client.clone(),
        redirect_uri,
        state: state.clone().filter(|state| !is_long(state)),
        issuer: engine.settings().issuer.to_string(),
    };
    if state.as_ref().is_some_and(is_long) {
        let message = format!("`state` is longer than {MAX_STATE_BYTES} bytes");
        return Err(back.fault(Refusal::new(Code::InvalidRequest, message)));
    }
    if pushing == Pushing::No && client.metadata.require_pushed_authorization_requests {
        let why = "the application registered to push what it asks for (RFC 9126)";
        return Err(back.fault(Refusal::new(Code::InvalidRequest, why)));
    }
    let request = Request::read(form).map_err(|refusal| back.fault(refusal))?;
    let targets = engine.access_scopes(&request.wish).await;
    let targets = targets.map_err(|error| back.fault(unmet(error)))?;
    Ok(Authorization {
        access: Access {
            client,
            way: Way::Browser {
                redirect_uri: back.redirect_uri.clone(),
                challenge: request.challenge,
            },
            targets,
            proof_key: request.proof_key,
            pushed: match pushing {
                Pushing::Before(request) => Some(request),
                Pushing::No | Pushing::Now => None,
            },
        },
        prompt: request.prompt,
        back,
    })
}

/// Why a client cannot have what it asks for.
pub(crate) fn unmet(error: Error) -> Refusal {
    match error {
        Error::Invalid(invalid) if invalid.field() == "scope" => {
            Refusal::new(Code::InvalidScope, invalid.message())
        }
        Error::Invalid(invalid) if invalid.field() == "resource" => {
            Refusal::new(Code::InvalidTarget, invalid.message())
        }
        error => error.into(),
    }
}

fn client_id(form: &mut Form) -> Result<ClientId, Refusal> {
    form.need("client_id")?.parse().map_err(|_| no_client())
}

/// It is told on a page, where a 401 would have the browser ask for a password.
fn no_client() -> Refusal {
    Refusal::new(
        Code::InvalidRequest,
        "no client with this `client_id` is let in here: the application has to register anew",
    )
}

fn redirect_uri(client: &Client, form: &mut Form) -> Result<RedirectUri, Refusal> {
    let wrong = || {
        Refusal::new(
            Code::InvalidRequest,
            "`redirect_uri` is none of those that the application registered",
        )
    };
    // It has no redirect addresses, either.
    if !client.metadata.may(GrantType::AuthorizationCode) {
        return Err(Refusal::new(
            Code::UnauthorizedClient,
            "the application did not register for `authorization_code`",
        ));
    }
    let asked: RedirectUri = form.need("redirect_uri")?.parse().map_err(|_| wrong())?;
    client.metadata.redirect(&asked).ok_or_else(wrong)?;
    Ok(asked)
}

/// What a request says besides.
struct Request {
    wish: Wish,
    challenge: Challenge,
    proof_key: Option<Thumbprint>,
    prompt: Prompt,
}

impl Request {
    fn read(form: &mut Form) -> Result<Self, Refusal> {
        let invalid = |message: &str| Refusal::new(Code::InvalidRequest, message);
        if form.take("request").is_some() {
            return Err(Refusal::new(
                Code::RequestNotSupported,
                "`request` is not taken here: send what is in it as parameters",
            ));
        }
        if form.take("request_uri").is_some() {
            return Err(Refusal::new(
                Code::RequestUriNotSupported,
                "`request_uri` is none that was given here: push the request first (RFC 9126)",
            ));
        }
        if form.need("response_type")? != "code" {
            return Err(Refusal::new(
                Code::UnsupportedResponseType,
                "the only `response_type` is `code`",
            ));
        }
        if form
            .take("response_mode")
            .is_some_and(|mode| mode != "query")
        {
            return Err(invalid("the only `response_mode` is `query`"));
        }
        // Read before the challenge: without a method, `plain` is meant (RFC 7636, section 4.3).
        if form.take("code_challenge_method").as_deref() != Some("S256") {
            return Err(invalid("`code_challenge_method` is `S256` (RFC 7636)"));
        }
        let challenge = form.need("code_challenge")?;
        let challenge = challenge
            .parse()
            .map_err(|error: Invalid| invalid(&format!("`code_challenge` {}", error.message())))?;
        let proof_key = form.take("dpop_jkt").map(|text| text.parse::<Thumbprint>());
        let proof_key = proof_key
            .transpose()
            .map_err(|error| invalid(&format!("`dpop_jkt`: {}", error.message())))?;
        Ok(Self {
            wish: Wish {
                audiences: audiences(form)?,
                scopes: scopes(form)?,
            },
            challenge,
            proof_key,
            prompt: prompt(form)?,
        })
    }
}

fn prompt(form: &mut Form) -> Result<Prompt, Refusal> {
    let Some(text) = form.take("prompt") else {
        return Ok(Prompt::AsNeeded);
    };
    let names: Vec<&str> = text.split(' ').filter(|name| !name.is_empty()).collect();
    Ok(match names.as_slice() {
        ["none"] => Prompt::Nothing,
        names if names.contains(&"none") => {
            return Err(Refusal::new(
                Code::InvalidRequest,
                "`none` stands alone in `prompt`: leave it or the others out",
            ));
        }
        names if names.contains(&"login") => Prompt::SignIn,
        names if names.contains(&"consent") => Prompt::Consent,
        // `select_account`, and what is not known.
        _ => Prompt::AsNeeded,
    })
}
