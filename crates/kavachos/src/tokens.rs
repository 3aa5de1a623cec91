//! Tokens, for whoever holds something here: a credential, or a root.
//!
//! A program that embeds Kavach may do everything, but no token is made of that: a token says what somebody holds. So
//! whoever asks for one shows a credential first, as at `POST /api/v1/delegate` and `POST /oauth/token`, and the rules,
//! the records and the refusals are those.

use std::fmt;
use std::time::Duration;

use kavachos_core::id::AgentId;
use kavachos_core::invalid::Invalid;
use kavachos_core::resource::ResourcePattern;
use kavachos_core::token::Proof;
use kavachos_core::tool_server::Audience;
use kavachos_engine::actor::{Actor, Caller};
use kavachos_engine::{
    Error, Handed, Minted, MintedRoot, Result, ShownToken, Stranger, TokenAsk, Wanted,
};

use crate::kavach::{Kavach, deferred};

/// A token to make.
#[derive(Debug, Clone)]
#[must_use]
pub struct NewToken {
    audience: String,
    reason: String,
    scopes: Vec<String>,
    agent: Option<AgentId>,
    ttl: Option<Duration>,
    proof: Option<Proof>,
}

impl NewToken {
    /// For this tool server and this reason; with its default scope unless others are named, and for as long as it lets
    /// tokens live.
    pub fn new(audience: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            audience: audience.into(),
            reason: reason.into(),
            scopes: Vec::new(),
            agent: None,
            ttl: None,
            proof: None,
        }
    }

    /// Permitting every action on the resources of this pattern.
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scopes.push(scope.into());
        self
    }

    /// For this agent to show: the holder itself, or one of the holder's own. Unless said it is an agent that exists for
    /// such tokens alone.
    pub fn shown_by(mut self, agent: &AgentId) -> Self {
        self.agent = Some(*agent);
        self
    }

    /// Living so long, or less where anything that it comes from ends sooner.
    pub fn lasting(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Bound to the key of this proof, which is used up.
    pub fn bound_by(mut self, proof: Proof) -> Self {
        self.proof = Some(proof);
        self
    }

    fn read(self, held: Option<&Proof>) -> Result<TokenAsk> {
        let scopes: std::result::Result<Vec<ResourcePattern>, Invalid> =
            self.scopes.iter().map(|scope| scope.parse()).collect();
        let scopes = deferred(scopes.map_err(|error| error.within("scopes")))?;
        Ok(TokenAsk {
            audience: audience(&self.audience)?,
            wanted: if scopes.is_empty() {
                Wanted::Default
            } else {
                Wanted::Scopes(scopes)
            },
            ttl: self.ttl,
            reason: self.reason,
            agent: self.agent,
            agent_key: None,
            proof: self.proof.or_else(|| held.cloned()),
        })
    }
}

fn audience(text: &str) -> Result<Audience> {
    deferred((text.parse()).map_err(|error: Invalid| error.within("audience")))
}

/// Somebody who showed a credential, or a root, and may have tokens of what it is worth.
///
/// ```
/// use kavachos::core::secret::{Secret, SecretKind};
/// use kavachos::core::tool_server::{Party, RegisteredScope, RegisteredScopes, Verification};
/// use kavachos::{Handed, Kavach, NewAgent, NewToken, NewToolServer, NewUser, PolicyChange};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // Yours is read from where it is safe: `kavach init` makes one.
/// let master = Secret::new(SecretKind::Master, [7; 32]);
/// let kavach = Kavach::builder().sqlite_in_memory().master_key(Some(master)).build().await?;
/// let scope = RegisteredScope { name: "tools:call:*".parse()?, description: "call tools".into() };
/// let tools = NewToolServer {
///     audience: "https://tools.example.com".parse()?,
///     name: "tools".into(),
///     scopes: RegisteredScopes::new(vec![scope])?,
///     policy: PolicyChange {
///         party: Some(Party::First),
///         kind: Some(Verification::Kavach),
///         ..PolicyChange::default()
///     },
/// };
/// kavach.tool_servers().register(&tools).await?;
/// let ada = kavach.users().create(NewUser::named("Ada")).await?;
/// let agent = NewAgent::owned_by(&ada).may(["*"], "tools:call:search");
/// let agent = kavach.agents().create(agent).await?;
/// let key = agent.token.as_ref().ok_or("a new key is shown")?;
///
/// let holder = kavach.holder_of(key.reveal()).await?;
/// let search = NewToken::new("https://tools.example.com", "draft the weekly summary").scope("tools:call:search");
/// let Handed::Token(token) = holder.delegate(search.clone().shown_by(&agent.id)).await? else {
///     return Err("of its own an agent gets the token, not a promise".into());
/// };
/// println!("Authorization: Bearer {}", token.token);
///
/// // It holds no more than this, and a key that is over is worth nothing.
/// assert!(holder.delegate(search.clone().scope("tools:call:delete")).await.is_err());
/// kavach.agents().revoke(&agent.id).await?;
/// assert!(holder.delegate(search).await.is_err());
/// assert!(kavach.holder_of(key.reveal()).await.is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Holder<'a> {
    kavach: &'a Kavach,
    caller: Caller,
    proof: Option<Proof>,
}

/// Without what was shown.
impl fmt::Debug for Holder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Holder").finish_non_exhaustive()
    }
}

impl Kavach {
    /// Whoever shows this credential: the key of an agent or of a tool server, or a human's session.
    ///
    /// # Errors
    /// See [`Engine::authenticate`](kavachos_engine::Engine::authenticate); the refusal is on record. What is known and
    /// dead is refused here too.
    pub async fn holder_of(&self, credential: &str) -> Result<Holder<'_>> {
        let caller = self.engine().authenticate(credential).await;
        if let Err(error @ (Error::Unauthenticated(_) | Error::SecondFactorRequired(_))) = &caller {
            let code = error.code();
            self.engine().note_stranger(self.stranger(), code);
        }
        let holder = Holder {
            kavach: self,
            caller: caller?,
            proof: None,
        };
        self.engine().admit(&holder.actor()).await?;
        Ok(holder)
    }

    /// Whoever shows this root with a proof of its key. The proof is good for one token, which is bound to that key.
    ///
    /// ```
    /// # use kavachos::core::secret::{Secret, SecretKind};
    /// # use kavachos::core::tool_server::{Party, RegisteredScope, RegisteredScopes, Verification};
    /// # use kavachos::{Kavach, NewAgent, NewToken, NewToolServer, NewUser, PolicyChange, SystemClock, TokenUses};
    /// use kavachos::core::token::{Algorithm, Proof, ProofRequest, SigningKey};
    /// use kavachos::{Handed, Timestamp};
    ///
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let master = Secret::new(SecretKind::Master, [7; 32]);
    /// # let kavach = Kavach::builder().sqlite_in_memory().master_key(Some(master)).build().await?;
    /// # let scope = RegisteredScope { name: "tools:call:*".parse()?, description: "call tools".into() };
    /// # let tools = NewToolServer {
    /// #     audience: "https://tools.example.com".parse()?,
    /// #     name: "tools".into(),
    /// #     scopes: RegisteredScopes::new(vec![scope])?,
    /// #     policy: PolicyChange {
    /// #         party: Some(Party::First),
    /// #         kind: Some(Verification::Kavach),
    /// #         ..PolicyChange::default()
    /// #     },
    /// # };
    /// # kavach.tool_servers().register(&tools).await?;
    /// # let ada = kavach.users().create(NewUser::named("Ada")).await?;
    /// # let offline = TokenUses { offline: true, ..TokenUses::default() };
    /// # let agent = NewAgent::owned_by(&ada).may(["*"], "tools:call:*").token_uses(offline);
    /// # let agent = kavach.agents().create(agent).await?;
    /// # let credential = agent.token.as_ref().ok_or("a new key is shown")?.reveal();
    /// // The agent's own key, made in its process of 32 random bytes; a proof comes with each request.
    /// let key = SigningKey::from_seed(Algorithm::Ed25519, &[9; 32])?;
    /// let request = ProofRequest { method: "POST", uri: "https://app.example.com/token", ..ProofRequest::default() };
    /// let prove = |id: &str, now: Timestamp| {
    ///     let sent = Proof::sign(&request, id, None, now, &key);
    ///     Proof::open(&sent, &request, now)
    /// };
    /// let now = kavach.engine().now();
    ///
    /// let new = NewToken::new("https://tools.example.com", "a night of research").scope("tools:call:*");
    /// let new = new.shown_by(&agent.id).bound_by(prove("1", now)?);
    /// let root = kavach.holder_of(credential).await?.root(new, &[]).await?;
    ///
    /// let search = NewToken::new("https://tools.example.com", "find sources").scope("tools:call:search");
    /// let proof = prove("2", now)?;
    /// let Handed::Token(token) = kavach.holder_of_root(&root.token, proof).await?.delegate(search).await? else {
    ///     return Err("of a root there is a token, not a promise".into());
    /// };
    /// assert_eq!(token.bound_to, Some(key.thumbprint()));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// See [`Engine::root_holder`](kavachos_engine::Engine::root_holder); the refusal is on record.
    pub async fn holder_of_root(&self, root: &str, proof: Proof) -> Result<Holder<'_>> {
        let engine = self.engine();
        let caller = engine.root_holder(root, Some(&proof), self.stranger());
        Ok(Holder {
            caller: caller.await?,
            kavach: self,
            proof: Some(proof),
        })
    }

    fn stranger(&self) -> Stranger<'static> {
        Stranger {
            ip: None,
            user_agent: None,
            request: self.engine().id(),
        }
    }
}

impl Holder<'_> {
    /// Makes a token for a tool server; for another agent of the same human, what that agent makes it of.
    ///
    /// # Errors
    /// See [`Engine::hand_token`](kavachos_engine::Engine::hand_token).
    pub async fn delegate(&self, new: NewToken) -> Result<Handed> {
        let ask = new.read(self.proof.as_ref())?;
        let engine = self.kavach.engine();
        engine.hand_token(&self.actor(), &ask).await
    }

    /// Makes a root, which is exchanged for tokens for this tool server and these further ones: always bound to the key
    /// of a proof, and only where every grant says `offline`.
    ///
    /// # Errors
    /// See [`Engine::root`](kavachos_engine::Engine::root).
    pub async fn root(&self, new: NewToken, further: &[&str]) -> Result<MintedRoot> {
        let ask = new.read(self.proof.as_ref())?;
        let further: Result<Vec<Audience>> = further.iter().map(|text| audience(text)).collect();
        let engine = self.kavach.engine();
        engine.root(&self.actor(), &ask, &further?).await
    }

    /// As a tool server that is named in `exchangeBy`: makes a token for the next tool server of one that was shown to
    /// this one.
    ///
    /// # Errors
    /// See [`Engine::exchange`](kavachos_engine::Engine::exchange).
    pub async fn exchange(&self, shown: &ShownToken<'_>, new: NewToken) -> Result<Minted> {
        let ask = new.read(self.proof.as_ref())?;
        let engine = self.kavach.engine();
        engine.exchange(&self.actor(), shown, &ask).await
    }

    fn actor(&self) -> Actor {
        Actor {
            caller: self.caller.clone(),
            ..Actor::local(self.kavach.engine().id())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as StdError;

    use kavachos_core::grant::{Exchangers, TokenUses};
    use kavachos_core::secret::{Secret, SecretKind};
    use kavachos_core::tool_server::{Party, RegisteredScope, RegisteredScopes, Verification};
    use kavachos_engine::page::PageOf;
    use kavachos_engine::{AuditFilter, NewToolServer, PolicyChange};

    use super::*;
    use crate::{NewAgent, NewUser};

    type Outcome = std::result::Result<(), Box<dyn StdError>>;

    const FIRST: &str = "https://first.example.com";
    const NEXT: &str = "https://next.example.com";

    async fn kavach() -> Kavach {
        let master = Secret::new(SecretKind::Master, [7; 32]);
        let builder = Kavach::builder().sqlite_in_memory();
        builder.master_key(Some(master)).build().await.unwrap()
    }

    /// The key of a new tool server.
    async fn register(kavach: &Kavach, audience: &str) -> Secret {
        let scope = RegisteredScope {
            name: "tools:call:*".parse().unwrap(),
            description: "call tools".to_owned(),
        };
        let new = NewToolServer {
            audience: audience.parse().unwrap(),
            name: "tools".to_owned(),
            scopes: RegisteredScopes::new(vec![scope]).unwrap(),
            policy: PolicyChange {
                party: Some(Party::First),
                kind: Some(Verification::Kavach),
                ..PolicyChange::default()
            },
        };
        let made = kavach.tool_servers().register(&new).await.unwrap();
        made.token.unwrap()
    }

    #[tokio::test]
    async fn a_tool_server_that_is_named_exchanges_what_it_was_shown() -> Outcome {
        for named in [true, false] {
            let kavach = kavach().await;
            let server = register(&kavach, FIRST).await;
            register(&kavach, NEXT).await;
            let ada = kavach.users().create(NewUser::named("Ada")).await?;
            let exchangers = if named { vec![FIRST.parse()?] } else { vec![] };
            let uses = TokenUses {
                exchange_by: Exchangers::new(exchangers)?,
                ..TokenUses::default()
            };
            let agent = NewAgent::owned_by(&ada).may(["*"], "tools:call:*");
            let agent = kavach.agents().create(agent.token_uses(uses)).await?;
            let holder = kavach.holder_of(agent.token.as_ref().unwrap().reveal());
            let new = NewToken::new(FIRST, "find sources").scope("tools:call:search");
            let handed = holder.await?.delegate(new.shown_by(&agent.id)).await?;
            let Handed::Token(leaf) = handed else {
                panic!("of its own an agent gets the token");
            };
            let shown = ShownToken {
                text: &leaf.token,
                proven: None,
            };
            let new = NewToken::new(NEXT, "ask the library").scope("tools:call:search");
            let server = kavach.holder_of(server.reveal()).await?;
            let got = server.exchange(&shown, new).await;
            assert_eq!(got.is_ok(), named);
            if let Ok(got) = got {
                assert_eq!((got.agent, got.audience.as_str()), (agent.id, NEXT));
                assert!(got.expires_at <= leaf.expires_at);
            }
        }
        Ok(())
    }

    #[tokio::test]
    async fn whoever_shows_what_nobody_knows_is_refused_and_on_record() -> Outcome {
        let kavach = kavach().await;
        let unknown = Secret::new(SecretKind::Agent, [1; 32]);
        for credential in [unknown.reveal(), "kv_agent_x", ""] {
            let error = kavach.holder_of(credential).await.unwrap_err();
            assert_eq!(error.code(), "unauthenticated");
        }
        // A refusal does not wait for its record; what is done after it does.
        kavach.users().create(NewUser::named("Ada")).await?;
        let filter = AuditFilter {
            kind: Some("refusal".to_owned()),
            ..AuditFilter::default()
        };
        let records = kavach.audit().query(&filter, PageOf::default()).await?;
        assert_eq!(records.items.len(), 3);
        Ok(())
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let field = |new: NewToken| match new.read(None).unwrap_err() {
            Error::Invalid(invalid) => invalid.field().to_owned(),
            other => panic!("{other}"),
        };
        assert_eq!(field(NewToken::new("tools", "r")), "audience");
        assert_eq!(field(NewToken::new(FIRST, "r").scope("**")), "scopes");
        // The twin.
        assert!(NewToken::new(FIRST, "r").scope("a:*").read(None).is_ok());
    }
}
