//! Whose authority a request exchanges, and from what it shows to who calls. A further kind of subject is one more arm
//! of each of the two functions here.

use kavachos_core::secret::{Secret, SecretKind};
use kavachos_engine::actor::{Actor, Caller};
use kavachos_engine::{Engine, Error, Stranger};

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
            Some(TokenType::AccessToken | TokenType::Root) | None => Err(Refusal::new(
                Code::InvalidRequest,
                format!(
                    "`subject_token_type` is `{}` or `{}`; what a tool server is shown is exchanged for nothing",
                    TokenType::Session.uri(),
                    TokenType::AgentKey.uri(),
                ),
            )),
        }
    }
}

/// Who calls with this subject, if it is live.
pub(crate) async fn actor(
    engine: &Engine,
    call: &Call,
    subject: &Subject,
) -> Result<Actor, Refusal> {
    match subject {
        Subject::Session(secret) | Subject::AgentKey(secret) => {
            with_credential(engine, call, secret).await
        }
    }
}

/// Who calls with this credential, if it is live. Strangers are on record as at every other route.
pub(crate) async fn with_credential(
    engine: &Engine,
    call: &Call,
    secret: &Secret,
) -> Result<Actor, Refusal> {
    let caller = match engine.authenticate(secret.reveal()).await {
        Err(error @ Error::Unauthenticated(_)) => {
            let stranger = Stranger {
                ip: call.ip,
                user_agent: call.user_agent.as_deref(),
                request: call.request,
            };
            engine.note_stranger(stranger, error.code());
            return Err(error.into());
        }
        caller => caller?,
    };
    let actor = call.actor(caller);
    engine.admit(&actor).await?;
    Ok(actor)
}

impl Call {
    /// The call, as it is made by this caller.
    pub(crate) fn actor(&self, caller: Caller) -> Actor {
        Actor {
            caller,
            request: self.request,
            ip: self.ip,
            user_agent: self.user_agent.clone(),
            once: None,
        }
    }
}
