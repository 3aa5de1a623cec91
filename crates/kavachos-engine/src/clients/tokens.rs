//! Tokens for codes, and the next ones for those before.

use std::sync::Arc;

use kavachos_core::client::{
    self, AuthMethod, Challenge, ClientMetadata, GrantType, RedirectUri, Shown,
};
use kavachos_core::invalid::Invalid;
use kavachos_core::resource::ResourcePattern;
use kavachos_core::secret::Secret;
use kavachos_core::time::Timestamp;
use kavachos_core::token::{Proof, Thumbprint};
use kavachos_core::tool_server::Audience;
use kavachos_store::refresh_line::{self, CodeRow, LineRow};
use kavachos_store::{Batch, Write};

use super::Client;
use super::access::{LineTarget, twin};
use super::device::CRITICAL;
use super::line::{Cause, LINE_IDLE, rotation_of};
use crate::act::Act;
use crate::actor::{Actor, Caller};
use crate::compile;
use crate::engine::{Change, Engine, Plan};
use crate::error::{Error, Result};
use crate::flood::Stranger;
use crate::raising::LONGEST_TOKEN;
use crate::tokens::{Minted, TokenAsk, Wanted};

pub(super) const NO_CODE: &str = "the code is unknown, over, or was redeemed: begin again";
const NO_TOKEN: &str = "the refresh token is unknown, over, or was replaced: ask the human again";
/// How often tokens are made anew whose line got another handle meanwhile.
pub(super) const MAX_RENEWALS: usize = 8;

/// A client that redeems a code.
#[derive(Clone)]
pub struct CodeAsk {
    /// The code.
    pub code: Secret,
    /// What goes with a code that a browser brought. With one that a device polls with goes nothing.
    pub brought: Option<Brought>,
    /// For which tool server; the only one unless said.
    pub audience: Option<Audience>,
    /// The proof of a key that came with the request.
    pub proof: Option<Proof>,
}

/// What goes with a code that a browser brought.
#[derive(Clone)]
pub struct Brought {
    /// Where it was sent, if the client says so: clients of OAuth 2.1 alone do not.
    pub redirect_uri: Option<RedirectUri>,
    /// What the challenge was made of.
    pub verifier: String,
}

/// A client that shows a refresh token.
#[derive(Clone)]
pub struct RefreshAsk {
    /// The token.
    pub token: Secret,
    /// For which tool server; the only one unless said.
    pub audience: Option<Audience>,
    /// Some of the scopes; all unless said.
    pub scopes: Option<Vec<String>>,
    /// The proof of a key that came with the request.
    pub proof: Option<Proof>,
}

/// What a client gets. It has no `Debug`: the texts are credentials.
#[derive(Clone)]
pub struct Tokens {
    /// What the tool server is shown.
    pub access: Minted,
    /// What the human gave, of what was asked for again, with blanks between the names. The token itself names whole registered
    /// scopes alone.
    pub scope: String,
    /// What is shown here for the next one, where the client may.
    pub refresh: Option<Secret>,
}

/// What comes of a plan.
enum Given {
    Tokens(Box<Tokens>),
    /// Nothing: somebody shows a copy.
    Copy(Cause),
}

/// What a client shows of a line.
#[derive(Clone, Copy)]
enum Shows<'a> {
    Code(&'a CodeAsk),
    Refresh(&'a RefreshAsk),
}

impl Shows<'_> {
    /// What is said of one that is worth nothing.
    const fn unknown(self) -> &'static str {
        match self {
            Self::Code(_) => NO_CODE,
            Self::Refresh(_) => NO_TOKEN,
        }
    }
}

/// What one answer is made of.
struct Turn<'a> {
    client: &'a Client,
    line: &'a LineRow,
    audience: Option<&'a Audience>,
    scopes: Option<&'a [String]>,
    proof: Option<&'a Proof>,
    /// Why, for the record.
    reason: &'static str,
}

impl Engine {
    /// Redeems a code.
    ///
    /// # Errors
    /// [`Error::WrongState`] where it is none that is good for this client, and those of [`Engine::token`]. A code that is
    /// shown a second time ends what was made of it, unless it is a device's, whose answer may have been lost.
    pub async fn redeem_code(
        &self,
        call: &Actor,
        client: &Client,
        ask: &CodeAsk,
    ) -> Result<Tokens> {
        let unknown = || Error::WrongState(NO_CODE.to_owned());
        let code = self
            .store()
            .find(refresh_line::code(ask.code.hash()))
            .await?;
        let line = match &code {
            Some(code) => self.store().find(refresh_line::by_id(code.line)).await?,
            None => None,
        };
        let line = self.own_line(call, client, line).ok_or_else(unknown)?;
        self.given(call, client, (&line, Shows::Code(ask))).await
    }

    async fn plan_redeemed(
        &self,
        actor: &Actor,
        client: &Client,
        ask: &CodeAsk,
    ) -> Result<Plan<Given>> {
        let unknown = || Error::WrongState(NO_CODE.to_owned());
        let code = refresh_line::code(ask.code.hash());
        let code = self.store().find(code).await?.ok_or_else(unknown)?;
        let line = refresh_line::by_id(code.line);
        let line = self.store().find(line).await?.ok_or_else(unknown)?;
        // Whoever lacks what belongs to the code cannot have it killed.
        let turn = Turn {
            client,
            line: &line,
            audience: ask.audience.as_ref(),
            scopes: None,
            proof: ask.proof.as_ref(),
            reason: "let in by the human",
        };
        check_code(&code, ask, &client.metadata)?;
        turn.check_proof()?;
        if let Some(redeemed_at) = code.redeemed_at {
            return match code.challenge {
                Some(_) => Ok(Plan::Done(Given::Copy(Cause::CodeReplayed))),
                None => self.plan_polled_again(actor, &turn, redeemed_at).await,
            };
        }
        if code.expires_at <= self.now() {
            return Err(unknown());
        }
        let mut batch = Batch::default();
        self.end_oldest(actor, &line, &mut batch).await?;
        let mut writes = vec![refresh_line::redeem(code.hash, self.now())];
        writes.extend(turn.bind());
        let refresh = match client.metadata.may(GrantType::RefreshToken) {
            true => Some(self.advance(&line, &mut writes)?),
            // Nothing comes after the token.
            false => {
                let over = self.now().plus(LONGEST_TOKEN);
                writes.push(refresh_line::end_by(line.id, over));
                None
            }
        };
        batch.writes.append(&mut writes);
        self.plan_given(actor, &turn, (batch, refresh)).await
    }

    /// Tokens for a device that polls on with what it redeemed: its answer may have been lost (RFC 8628, section 3.5). Its code is as
    /// the token before the first one.
    async fn plan_polled_again(
        &self,
        actor: &Actor,
        turn: &Turn<'_>,
        redeemed_at: Timestamp,
    ) -> Result<Plan<Given>> {
        let line = turn.line;
        let rotation = client::Line {
            number: line.number.max(1),
            since: redeemed_at,
            ..rotation_of(line)
        };
        let refresh = match (rotation.show(0, self.now()), line.number) {
            (Shown::Again, 0) => None,
            (Shown::Again, number) => Some(self.refresh_token(line.id, number)?),
            (Shown::Late, _) => return Err(Error::WrongState(NO_CODE.to_owned())),
            (Shown::Good | Shown::Reused, _) => {
                return Ok(Plan::Done(Given::Copy(Cause::CodeReplayed)));
            }
        };
        let batch = Batch {
            writes: vec![refresh_line::repeat(line.id, line.number, line.repeats)],
            ..Batch::default()
        };
        self.plan_given(actor, turn, (batch, refresh)).await
    }

    /// The next tokens for a refresh token.
    ///
    /// # Errors
    /// [`Error::WrongState`] where it is none that is good for this client, [`Error::TooManyCalls`], and those of [`Engine::token`].
    /// One that was replaced and is shown again ends its line, unless the answer with the next one may have been lost.
    pub async fn refresh(&self, call: &Actor, client: &Client, ask: &RefreshAsk) -> Result<Tokens> {
        let unknown = || Error::WrongState(NO_TOKEN.to_owned());
        let shown = refresh_line::of_token(ask.token.hash());
        let shown = self.store().find(shown).await?;
        let line = shown.map(|shown| shown.line);
        let line = self.own_line(call, client, line).ok_or_else(unknown)?;
        self.given(call, client, (&line, Shows::Refresh(ask))).await
    }

    /// What comes of what a client shows of a line.
    async fn given(
        &self,
        call: &Actor,
        client: &Client,
        (line, shows): (&LineRow, Shows<'_>),
    ) -> Result<Tokens> {
        let unknown = || Error::WrongState(shows.unknown().to_owned());
        for _ in 0..MAX_RENEWALS {
            let actor = self.as_line(call, line).await?.ok_or_else(unknown)?;
            let act = Act::on_agent("token.issued", line.agent);
            let plan = || self.plan_shown(&actor, client, shows);
            match self.change(&actor, act, plan).await {
                Ok(Given::Tokens(tokens)) => return Ok(*tokens),
                Ok(Given::Copy(cause)) => {
                    self.end_line(call, line, cause).await?;
                    return Err(unknown());
                }
                // The key of the line is dead by now, or goes on under another handle, since a token was given back.
                Err(Error::Unauthenticated(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::Contended)
    }

    async fn plan_shown(
        &self,
        actor: &Actor,
        client: &Client,
        shows: Shows<'_>,
    ) -> Result<Plan<Given>> {
        match shows {
            Shows::Code(ask) => self.plan_redeemed(actor, client, ask).await,
            Shows::Refresh(ask) => self.plan_refreshed(actor, client, ask).await,
        }
    }

    async fn plan_refreshed(
        &self,
        actor: &Actor,
        client: &Client,
        ask: &RefreshAsk,
    ) -> Result<Plan<Given>> {
        let unknown = || Error::WrongState(NO_TOKEN.to_owned());
        let shown = refresh_line::of_token(ask.token.hash());
        let shown = self.store().find(shown).await?.ok_or_else(unknown)?;
        let line = &shown.line;
        let now = self.now();
        if line.idle_ends_at <= now {
            return Err(unknown());
        }
        let turn = Turn {
            client,
            line,
            audience: ask.audience.as_ref(),
            scopes: ask.scopes.as_deref(),
            proof: ask.proof.as_ref(),
            reason: "refreshed",
        };
        // A copy of what is bound to a key kills nothing without that key.
        turn.check_proof()?;
        let mut writes = Vec::new();
        let refresh = match rotation_of(line).show(shown.number, now) {
            Shown::Good => {
                writes.extend(turn.bind());
                self.advance(line, &mut writes)?
            }
            Shown::Again => {
                writes.push(refresh_line::repeat(line.id, line.number, line.repeats));
                self.refresh_token(line.id, line.number)?
            }
            Shown::Late => return Err(unknown()),
            Shown::Reused => return Ok(Plan::Done(Given::Copy(Cause::TokenReused))),
        };
        // Each of them is on record. What is refused here uses up no token.
        self.admit_refresh(line.agent)?;
        let batch = Batch {
            writes,
            ..Batch::default()
        };
        self.plan_given(actor, &turn, (batch, Some(refresh))).await
    }

    /// Has the next token take the place of the one that is good.
    fn advance(&self, line: &LineRow, writes: &mut Vec<Write>) -> Result<Secret> {
        let now = self.now();
        let next = line.number.saturating_add(1);
        let token = self.refresh_token(line.id, next)?;
        let times = (now, now.plus(LINE_IDLE));
        writes.push(refresh_line::advance(line.id, line.number, times));
        writes.push(refresh_line::token(token.hash(), line.id, next));
        Ok(token)
    }

    /// A token for one of the tool servers of a line.
    async fn plan_given(
        &self,
        actor: &Actor,
        turn: &Turn<'_>,
        (mut first, refresh): (Batch, Option<Secret>),
    ) -> Result<Plan<Given>> {
        let target = turn.target()?;
        let registered = match self.registered(&target.audience).await {
            Ok(registered) => Some(registered),
            Err(Error::NotFound(_)) => None,
            Err(error) => return Err(error),
        };
        let Some(registered) = registered.filter(|known| known.id == target.server) else {
            return Err(Error::NotNarrower(Invalid::at(
                "audience",
                "the tool server that the human let you in to is gone; ask them anew",
            )));
        };
        if target.by_device && registered.policy.critical {
            return Err(Error::NotNarrower(Invalid::at("audience", CRITICAL)));
        }
        let scopes = turn.scopes_of(&target)?;
        let names: Vec<&str> = scopes.iter().map(ResourcePattern::as_str).collect();
        let scope = names.join(" ");
        let ask = TokenAsk {
            audience: target.audience.clone(),
            wanted: Wanted::Scopes(scopes),
            ttl: None,
            reason: format!("{}: {}", turn.client.metadata.client_name, turn.reason),
            agent: Some(turn.line.agent),
            agent_key: None,
            proof: turn.proof.cloned(),
        };
        match self
            .plan_token_with(actor, &ask, Some(turn.client.mark))
            .await?
        {
            Plan::Commit(change) => {
                let Change { mut batch, value } = *change;
                // It was judged by this reading of the tool server, and is made by another one.
                batch.reads.push(registered.mark);
                // Belong before all else: of many at once, one redeems.
                first.writes.append(&mut batch.writes);
                first.kills.append(&mut batch.kills);
                first.entries.append(&mut batch.entries);
                first.effects.append(&mut batch.effects);
                let batch = Batch {
                    writes: first.writes,
                    kills: first.kills,
                    entries: first.entries,
                    effects: first.effects,
                    ..batch
                };
                let tokens = Tokens {
                    access: value,
                    scope,
                    refresh,
                };
                Ok(Plan::commit(batch, Given::Tokens(Box::new(tokens))))
            }
            Plan::Done(_) => Err(Error::Internal(
                "a token was made without a commit".to_owned(),
            )),
        }
    }

    /// A line, if it is the client's. Whoever shows what is another's, or nobody's, is noted.
    fn own_line(&self, call: &Actor, client: &Client, line: Option<LineRow>) -> Option<LineRow> {
        let own = |line: &LineRow| line.client == client.id.as_str();
        if line.as_ref().is_some_and(own) {
            return line;
        }
        self.note(
            Stranger::of(call),
            line.map(|line| line.agent),
            "invalid_grant",
        );
        None
    }

    /// The call, as the agent makes it by the key that a line is; `None` where that is dead, which is noted.
    pub(super) async fn as_line(&self, call: &Actor, line: &LineRow) -> Result<Option<Actor>> {
        let actor = match self.agent_key(line.id).await {
            Ok(key) => Actor {
                caller: Caller::Agent(Arc::clone(&key)),
                ..call.clone()
            },
            Err(error @ Error::Unauthenticated(_)) => {
                self.note(Stranger::of(call), Some(line.agent), error.code());
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        match self.admit(&actor).await {
            Ok(()) => Ok(Some(actor)),
            Err(Error::Unauthenticated(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Whether whoever redeems a code asked for it.
fn check_code(code: &CodeRow, ask: &CodeAsk, client: &ClientMetadata) -> Result<()> {
    let is_met = match (&ask.brought, &code.redirect_uri, code.challenge) {
        (Some(brought), Some(redirect_uri), Some(challenge)) => {
            // Without it, the verifier alone says who asked (OAuth 2.1, section 10.2).
            let said = brought.redirect_uri.as_ref();
            // Where it was sent may be the client's no longer.
            let is_registered = |sent: RedirectUri| client.redirect(&sent).is_some();
            said.is_none_or(|said| redirect_uri == said.as_str())
                && redirect_uri.parse().is_ok_and(is_registered)
                && Challenge::from_bytes(challenge).is_met_by(&brought.verifier)
        }
        (None, None, None) => true,
        _ => false,
    };
    if is_met {
        return Ok(());
    }
    Err(Error::WrongState(
        "`redirect_uri` or `code_verifier` is not the one that the code was asked for with"
            .to_owned(),
    ))
}

impl Turn<'_> {
    /// A line that is bound to a key is used with a proof of that.
    fn check_proof(&self) -> Result<()> {
        let shown = self.proof.map(|proof| proof.key);
        match self.line.proof_key.map(Thumbprint) {
            Some(_) if shown.is_none() => {
                Err(Error::ProofMissing("what was asked for is bound to a key"))
            }
            Some(bound) if shown != Some(bound) => Err(Error::ProofOfOther),
            None if shown.is_none() && self.client.metadata.dpop_bound_access_tokens => Err(
                Error::ProofMissing("the client's tokens are bound to a key"),
            ),
            _ => Ok(()),
        }
    }

    /// Has each further use prove the key that was proven now, where none was before. A client that shows who it is may come with
    /// another key (RFC 9449, section 5).
    fn bind(&self) -> Option<Write> {
        let is_public = self.client.metadata.token_endpoint_auth_method == AuthMethod::None;
        let proof = self
            .proof
            .filter(|_| is_public && self.line.proof_key.is_none())?;
        Some(refresh_line::bind(self.line.id, proof.key.0))
    }

    fn target(&self) -> Result<LineTarget> {
        let targets: Vec<LineTarget> = compile::stored("targets", &self.line.targets)?;
        let none = |why: &str| Error::NotNarrower(Invalid::at("audience", why));
        match self.audience {
            Some(audience) => targets
                .into_iter()
                .find(|target| {
                    target.audience == *audience
                        || twin(&target.audience).as_ref() == Some(audience)
                })
                .ok_or_else(|| none("the human did not let you in there")),
            None => match <[LineTarget; 1]>::try_from(targets) {
                Ok([only]) => Ok(only),
                Err(_) => Err(none(
                    "say which of the tool servers it is for, with `resource`",
                )),
            },
        }
    }

    /// Those scopes that are asked for again, which must be some of those that were given (RFC 6749, section 6).
    fn scopes_of(&self, target: &LineTarget) -> Result<Vec<ResourcePattern>> {
        let Some(asked) = self.scopes else {
            return Ok(target.scopes.clone());
        };
        let is_asked = |scope: &&ResourcePattern| asked.iter().any(|name| name == scope.as_str());
        let some: Vec<ResourcePattern> = target.scopes.iter().filter(is_asked).cloned().collect();
        let all_known = asked
            .iter()
            .all(|name| target.scopes.iter().any(|scope| scope.as_str() == name));
        if some.is_empty() || !all_known {
            return Err(Error::NotNarrower(Invalid::at(
                "scopes",
                "more is asked for than the human gave; ask them for more with a new authorization request",
            )));
        }
        Ok(some)
    }
}
