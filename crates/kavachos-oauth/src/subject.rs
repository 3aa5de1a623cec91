//! Whose authority a request exchanges, and from what it shows to who calls. A further kind of subject is one more arm
//! of each of the two functions here.

use kavachos_core::invalid::Invalid;
use kavachos_core::secret::{Secret, SecretKind};
use kavachos_core::token::Thumbprint;
use kavachos_engine::actor::{Actor, Caller};
use kavachos_engine::{Engine, Error, Presentation};

use crate::client::{self, Client, Credential};
use crate::exchange::credential;
use crate::form::Form;
use crate::refusal::{Code, Refusal};
use crate::token::Call;
use crate::token_type::TokenType;

/// What a request shows of whoever has the authority. It has no `Debug`: it is a credential.
pub(crate) enum Subject {
    /// A human's session.
    Session(Secret),
    /// An agent's key.
    AgentKey(Secret),
    /// What an outside provider says of a human.
    IdToken(String),
    /// A root, shown with a proof of its key.
    Root(String),
    /// A leaf, by the tool server that was shown it, and the key of which that saw a proof.
    Leaf(String, Option<Thumbprint>),
}

impl Subject {
    /// Reads `subject_token` as what `subject_token_type` says that it is.
    ///
    /// # Errors
    /// [`Code::InvalidRequest`]: one is missing, the type is none that is exchanged, or the token is of another.
    pub(crate) fn read(form: &mut Form) -> Result<Self, Refusal> {
        let uri = form.need("subject_token_type")?;
        let token = form.need("subject_token")?;
        let secret = |kind| credential("subject_token", &token, kind);
        match TokenType::of(&uri) {
            Some(TokenType::Session) => secret(SecretKind::Session).map(Self::Session),
            Some(TokenType::AgentKey) => secret(SecretKind::Agent).map(Self::AgentKey),
            Some(TokenType::IdToken) => Ok(Self::IdToken(token)),
            Some(TokenType::Root) => Ok(Self::Root(token)),
            Some(TokenType::AccessToken) => Ok(Self::Leaf(token, read_proven(form)?)),
            None => Err(Refusal::new(
                Code::InvalidRequest,
                format!(
                    "`subject_token_type` is `{}`",
                    TokenType::ALL.map(TokenType::uri).join("` or `"),
                ),
            )),
        }
    }
}

/// What a tool server says of the proof that came with a token.
fn read_proven(form: &mut Form) -> Result<Option<Thumbprint>, Refusal> {
    let print = form.take("proven").map(|text| text.parse()).transpose();
    print.map_err(|error: Invalid| {
        Refusal::new(Code::InvalidRequest, format!("proven: {}", error.message()))
    })
}

/// Who calls with this subject, if it is live.
pub(crate) async fn actor(
    engine: &Engine,
    call: &Call,
    (subject, client): (&Subject, Option<Credential>),
) -> Result<Actor, Refusal> {
    match subject {
        Subject::IdToken(token) => presented(engine, call, (token, client)).await,
        Subject::Leaf(..) if call.client == Client::Public => Err(Refusal::new(
            Code::InvalidRequest,
            "what a tool server was shown is exchanged by that tool server alone, with its own key as `Bearer`",
        )),
        Subject::Leaf(..) => client::tool_server(client, engine, call).await,
        _ if matches!(call.client, Client::Authenticating(_)) => Err(Refusal::new(
            Code::InvalidClient,
            "no client authenticates here: whoever calls is known by `subject_token`; leave the header `Authorization` out",
        )),
        Subject::Session(secret) | Subject::AgentKey(secret) => {
            with_credential(engine, call, secret).await
        }
        Subject::Root(text) => {
            let proof = call.proof.as_ref();
            let caller = engine.root_holder(text, proof, call.stranger()).await?;
            Ok(call.actor(caller))
        }
    }
}

/// The human whom a provider's token names, if whoever presents it may.
async fn presented(
    engine: &Engine,
    call: &Call,
    (token, client): (&str, Option<Credential>),
) -> Result<Actor, Refusal> {
    let client = client.ok_or_else(|| {
        Refusal::new(
            Code::InvalidClient,
            "a provider's token is presented by a client of the provider, with its id and secret, or with an operator's \
             key as `Bearer`",
        )
    })?;
    let shown = Presentation {
        presenter: client.presenter(engine, call).await?,
        request: call.request,
        ip: call.ip,
        user_agent: call.user_agent.clone(),
        token,
    };
    Ok(engine.identified(shown).await?)
}

/// Who calls with this credential, if it is live. Strangers are on record as at every other route.
pub(crate) async fn with_credential(
    engine: &Engine,
    call: &Call,
    secret: &Secret,
) -> Result<Actor, Refusal> {
    let caller = engine.authenticate(secret.reveal()).await;
    let actor = call.actor(known(engine, call, caller)?);
    engine.admit(&actor).await?;
    Ok(actor)
}

/// The caller; one whom nobody knows is put on record.
fn known(engine: &Engine, call: &Call, caller: Result<Caller, Error>) -> Result<Caller, Refusal> {
    if let Err(error @ (Error::Unauthenticated(_) | Error::SecondFactorRequired(_))) = &caller {
        engine.note_stranger(call.stranger(), error.code());
    }
    Ok(caller?)
}
