//! Devices that have no browser: a human types elsewhere what one shows, and it polls meanwhile (RFC 8628).
//!
//! Promises: only clients that an operator lets do so begin, and never for what is critical. A code that is typed belongs to the
//! human who typed it first, in a session that is fresh, and nobody else is told that there is such a code; guesses are counted.
//! The yes makes the same of it as of any client: an agent, and a line that begins with a code, which here is the one that the
//! device polls with. That is good once, for the same client and the same key; where the answer was lost, the same is given again.

use std::collections::BTreeSet;
use std::time::Duration;

use kavachos_core::client::{GrantType, UserCode};
use kavachos_core::id::UserId;
use kavachos_core::invalid::Invalid;
use kavachos_core::ledger::{Entry, MAX_USER_AGENT_BYTES, Outcome};
use kavachos_core::secret::{Secret, SecretHash, SecretKind};
use kavachos_core::time::Timestamp;
use kavachos_core::token::{Proof, Thumbprint};
use kavachos_core::tool_server::Audience;
use kavachos_store::device_request::{self, DeviceRow};
use kavachos_store::{Batch, CommitError};
use serde_json::{Value, json};

use super::access::{Access, AccessScopes, Way, Wish};
use super::tokens::{CodeAsk, NO_CODE, Tokens};
use super::{Client, MAX_WAITING, source_of};
use crate::act::Act;
use crate::actor::Actor;
use crate::compile;
use crate::engine::{Engine, Plan};
use crate::error::{Error, Result};
use crate::flood::Stranger;
use crate::guesses::Guessing;
use crate::master::{derived, mac};
use crate::plugin::{Allowance, Flood};
use crate::users::to_text;

/// How long a human may take.
pub const DEVICE_LIFE: Duration = Duration::from_secs(10 * 60);
/// How long a device waits between two polls, at first.
pub const DEVICE_PAUSE: Duration = Duration::from_secs(5);
/// Why nothing critical is reached so.
pub(super) const CRITICAL: &str = "this tool server is critical: no device is let in to it by a code; let the client in in a browser";
/// The answer of a human who says yes.
pub(super) const ALLOWED: &str = "allowed";
/// The answer of one who says no.
pub(super) const DENIED: &str = "denied";
/// How often devices ask, in a minute: those that keep no secret are strangers.
const FLOOD: Flood = Flood {
    per_source: Allowance::new(30, Duration::from_secs(60)),
    overall: Allowance::new(3_000, Duration::from_secs(60)),
};
/// What a human is told of a code that is wrong, over, or another's.
const OVER: &str = "this code is unknown or over: look at what the device shows now";
/// How much sooner than it was told a device may come: clocks and networks are not exact.
const JITTER: Duration = Duration::from_millis(500);
const PURPOSE: &[u8] = b"kavachos user code 1\n";

/// What a device asks for.
#[derive(Clone)]
pub struct DeviceAsk {
    /// What of a human.
    pub wish: Wish,
    /// The proof of a key that came with the request.
    pub proof: Option<Proof>,
}

/// What a device gets. It has no `Debug`: both are credentials.
#[derive(Clone)]
pub struct DeviceCodes {
    /// What it polls with.
    pub device: Secret,
    /// What it shows.
    pub user: UserCode,
}

/// A device that polls.
#[derive(Clone)]
pub struct DevicePoll {
    /// Its code.
    pub code: Secret,
    /// For which tool server; the only one unless said.
    pub audience: Option<Audience>,
    /// The proof of a key that came with the request.
    pub proof: Option<Proof>,
}

/// What a device is told (RFC 8628, section 3.5).
#[derive(Clone)]
pub enum Polled {
    /// A human let it in.
    Tokens(Box<Tokens>),
    /// None said anything yet.
    Pending,
    /// It came too soon, and waits longer from now on.
    TooSoon,
    /// One said no.
    Denied,
    /// None said anything in time.
    Expired,
}

/// A device that waits for the human who typed its code.
#[derive(Debug, Clone)]
pub struct DeviceRequest {
    /// What it gets if they say yes.
    pub access: Access,
    /// The address that it asked from.
    pub ip: Option<String>,
    /// What it says it is.
    pub user_agent: Option<String>,
    /// Since when.
    pub asked_at: Timestamp,
}

impl Engine {
    /// Has a device wait for a human.
    ///
    /// # Errors
    /// [`Error::Invalid`] at `resource` or `scope` where it asks for what it cannot have; too many come; the proof was used.
    pub async fn ask_by_device(
        &self,
        call: &Actor,
        client: &Client,
        ask: &DeviceAsk,
    ) -> Result<DeviceCodes> {
        self.admit_client(call, client, ("device", FLOOD)).await?;
        let targets = self.device_targets(&ask.wish).await?;
        // Another tool server may come to be the only one, which was not meant.
        let wish = to_text(&as_meant(&ask.wish, targets))?;
        self.change(call, Act::new("device.asked"), || async {
            self.refuse_used(ask.proof.as_ref()).await?;
            let codes = DeviceCodes {
                device: self.secret(SecretKind::DeviceCode),
                user: UserCode::new(self.random()),
            };
            let key = ask.proof.as_ref().map(|proof| proof.key);
            let row = self.new_device_row(call, (client, wish.clone(), key), &codes)?;
            let mut batch = Batch::default();
            let id = client.id.to_string();
            let waiting = device_request::waiting_of(id.clone(), self.now());
            if !client.is_nobody_else()
                && (self.store().find(waiting).await?)
                    .is_some_and(|(waiting,)| waiting >= MAX_WAITING)
            {
                batch.writes.push(device_request::make_room(id, self.now()));
            }
            batch.writes.push(device_request::insert(row));
            self.use_proof(ask.proof.as_ref(), &mut batch);
            Ok(Plan::commit(batch, codes))
        })
        .await
    }

    fn new_device_row(
        &self,
        call: &Actor,
        (client, wish, key): (&Client, String, Option<Thumbprint>),
        codes: &DeviceCodes,
    ) -> Result<DeviceRow> {
        let agent = call.user_agent.as_deref().map(|agent| {
            let end = agent.floor_char_boundary(MAX_USER_AGENT_BYTES);
            agent.get(..end).unwrap_or_default().to_owned()
        });
        Ok(DeviceRow {
            hash: codes.device.hash(),
            user_code: self.kept_of(&codes.user)?,
            client: client.id.to_string(),
            source: source_of(call),
            wish,
            proof_key: key.map(|key| key.0),
            ip: call.ip.map(|ip| ip.to_canonical().to_string()),
            user_agent: agent,
            created_at: self.now(),
            expires_at: self.now().plus(DEVICE_LIFE),
            pause: u32::try_from(DEVICE_PAUSE.as_secs()).unwrap_or(u32::MAX),
            polled_at: None,
            viewer: None,
            answer: None,
        })
    }

    /// What a device asks for, as it is now.
    async fn device_targets(&self, wish: &Wish) -> Result<Vec<AccessScopes>> {
        let targets = self.access_scopes(wish).await?;
        match targets.iter().any(|target| target.is_critical) {
            true => Err(Invalid::at("resource", CRITICAL).into()),
            false => Ok(targets),
        }
    }

    /// What is stored of a code that is too short for a plain hash.
    fn kept_of(&self, code: &UserCode) -> Result<SecretHash> {
        let key = derived(self.needed_master_key()?, &[PURPOSE]);
        let kept = mac(&key, &[PURPOSE, code.as_bytes()]);
        Ok(SecretHash::from_bytes(kept))
    }

    /// Tells a device whether it is let in, and gives it tokens, once.
    ///
    /// # Errors
    /// [`Error::WrongState`] where the code is none that is good for this client and this key, and those of [`Engine::token`].
    pub async fn poll_by_device(
        &self,
        call: &Actor,
        client: &Client,
        ask: DevicePoll,
    ) -> Result<Polled> {
        let row = device_request::by_hash(ask.code.hash());
        if let Some(row) = self.store().find(row).await? {
            if row.client != client.id.as_str() {
                self.note_stranger(Stranger::of(call), "invalid_grant");
                return Err(Error::WrongState(NO_CODE.to_owned()));
            }
            check_key(&row, client, ask.proof.as_ref())?;
            match row.answer.as_deref() {
                Some(DENIED) => return Ok(Polled::Denied),
                None if row.expires_at <= self.now() => return Ok(Polled::Expired),
                _ => {}
            }
            if !self.is_in_time(&row, ask.proof.as_ref()).await? {
                return Ok(Polled::TooSoon);
            }
            if row.answer.is_none() {
                return Ok(Polled::Pending);
            }
        }
        let ask = CodeAsk {
            code: ask.code,
            brought: None,
            audience: ask.audience,
            proof: ask.proof,
        };
        let tokens = self.redeem_code(call, client, &ask).await?;
        Ok(Polled::Tokens(Box::new(tokens)))
    }

    /// Notes that a device polls, and whether it waited for as long as it was told to. Whoever does not wait has it told without end,
    /// and writes nothing for it.
    async fn is_in_time(&self, row: &DeviceRow, proof: Option<&Proof>) -> Result<bool> {
        let now = self.now();
        let one = |write| Batch {
            writes: vec![write],
            ..Batch::default()
        };
        let pause = Duration::from_secs(row.pause.into()).saturating_sub(JITTER);
        if row.polled_at.is_none_or(|last| now.since(last) >= pause) {
            let poll = device_request::poll(row, proof.map(|proof| proof.key.0), now);
            match self.store().commit(one(poll)).await {
                Ok(_) => return Ok(true),
                // Another poll came at the same time.
                Err(CommitError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if row.pause < device_request::SLOWEST {
            let slower = device_request::slow_down(row.hash);
            self.store().commit(one(slower)).await?;
        }
        Ok(false)
    }

    /// Gives a device to the human who typed its code, if they are the first; what they are shown it under. This is on record with
    /// what the device said: what nobody types gives nobody anything, and strangers may begin as often as they like.
    ///
    /// # Errors
    /// [`Error::WrongState`] for a code that is none, over, or another's; [`Error::TooManyCalls`] for too many of these; the
    /// caller is no human in a fresh session.
    pub async fn type_code(&self, actor: &Actor, typed: &UserCode) -> Result<SecretHash> {
        let human = actor.own_account()?;
        self.require_fresh(actor)?;
        let account = format!("device:{human}");
        let guess = self
            .pay_for_guess(
                Guessing::DeviceCode,
                (&account, Some(human)),
                (None, actor.ip),
            )
            .await?;
        let name = self.kept_of(typed)?;
        self.change(actor, Act::new("device.code_typed"), || async {
            let row = self.waiting_device(human, name).await?;
            let mut batch = Batch {
                reads: actor.reads(),
                writes: vec![device_request::view(row.hash, human, self.now())],
                ..Batch::default()
            };
            if row.viewer.is_none() {
                batch.entries.push(self.typed_record(actor, &row).await?);
            }
            batch.writes.extend(guess.give_one_back());
            Ok(Plan::commit(batch, ()))
        })
        .await?;
        Ok(name)
    }

    async fn typed_record(&self, actor: &Actor, row: &DeviceRow) -> Result<Entry> {
        let user = self.user_row(actor.own_account()?).await?;
        let details = json!({ "client": row.client });
        let said = said_by(row);
        let origin = actor.origin();
        let mut record = origin.record(self.id(), "device.code_typed", Outcome::Allowed, "done");
        record.subject = Some(user.pseudonym);
        record.details = Some(&details);
        record.personal.metadata = Some(&said);
        self.seal(&record)
    }

    async fn waiting_device(&self, human: UserId, name: SecretHash) -> Result<DeviceRow> {
        let row = device_request::waiting(name, human, self.now());
        let row = self.store().find(row).await?;
        row.ok_or_else(|| Error::WrongState(OVER.to_owned()))
    }

    /// The device that waits for the human who calls, and who typed its code.
    ///
    /// # Errors
    /// [`Error::WrongState`] where none does, or it may not be let in any more; those of the store.
    pub async fn device_request(&self, actor: &Actor, name: SecretHash) -> Result<DeviceRequest> {
        let over = || Error::WrongState(OVER.to_owned());
        let human = actor.own_account()?;
        let row = self.waiting_device(human, name).await?;
        if row.viewer != Some(human) {
            return Err(over());
        }
        let id = row
            .client
            .parse()
            .map_err(|error| Error::Internal(format!("a client's id: {error}")))?;
        let client = self.client(&id).await?;
        let client = client.filter(|client| client.metadata.may(GrantType::DeviceCode));
        let targets = self
            .device_targets(&compile::stored("wish", &row.wish)?)
            .await;
        let targets = targets.map_err(|error| match error {
            Error::Invalid(invalid) => Error::WrongState(invalid.message().to_owned()),
            error => error,
        })?;
        Ok(DeviceRequest {
            access: Access {
                client: client.ok_or_else(over)?,
                way: Way::Device {
                    code: row.hash,
                    expires_at: row.expires_at,
                },
                targets,
                proof_key: row.proof_key.map(Thumbprint),
                pushed: None,
            },
            ip: row.ip,
            user_agent: row.user_agent,
            asked_at: row.created_at,
        })
    }

    /// Notes what the human says of a device, if it is one that asks: once. What it said of itself, for the record.
    pub(super) async fn answer_device(
        &self,
        human: UserId,
        (access, answer): (&Access, &'static str),
        batch: &mut Batch,
    ) -> Result<Option<Value>> {
        let Way::Device { code, .. } = access.way else {
            return Ok(None);
        };
        let row = self.store().find(device_request::by_hash(code)).await?;
        let waits = |row: &DeviceRow| {
            row.viewer == Some(human) && row.answer.is_none() && row.expires_at > self.now()
        };
        let row = row.filter(waits);
        let row = row.ok_or_else(|| Error::WrongState(OVER.to_owned()))?;
        let answer = device_request::answer(code, (human, answer), self.now());
        batch.writes.push(answer);
        Ok(Some(said_by(&row)))
    }
}

/// What is kept of what a device asks for: what there is, and no text that it made up.
fn as_meant(wish: &Wish, targets: Vec<AccessScopes>) -> Wish {
    let names = targets.iter().flat_map(|target| &target.scopes);
    let names: BTreeSet<String> = names.map(|scope| scope.name.to_string()).collect();
    Wish {
        // What a tool server gives by default is that of when the human answers.
        scopes: wish.scopes.as_ref().map(|_| names.into_iter().collect()),
        audiences: targets.into_iter().map(|target| target.audience).collect(),
    }
}

/// Where a device asked from, as its human is told.
fn said_by(row: &DeviceRow) -> Value {
    json!({ "device": { "ip": row.ip, "userAgent": row.user_agent, "askedAt": row.created_at } })
}

/// A device that proved a key proves it each time.
fn check_key(row: &DeviceRow, client: &Client, proof: Option<&Proof>) -> Result<()> {
    let shown = proof.map(|proof| proof.key);
    match row.proof_key.map(Thumbprint) {
        Some(_) if shown.is_none() => {
            Err(Error::ProofMissing("what was asked for is bound to a key"))
        }
        Some(bound) if shown != Some(bound) => Err(Error::WrongState(NO_CODE.to_owned())),
        None if shown.is_none() && client.metadata.dpop_bound_access_tokens => Err(
            Error::ProofMissing("the client's tokens are bound to a key"),
        ),
        _ => Ok(()),
    }
}
