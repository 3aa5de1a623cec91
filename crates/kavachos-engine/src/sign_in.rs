//! The one function that makes sessions for people who proved who they are.
//!
//! Promises: whatever the method, the human is live when the session is made, and the commit says so; the session that
//! the caller showed ends with it; who has a second factor gets no session for one proof, but a pending sign-in, which is
//! no session and which nothing takes but a second proof. Methods decide what proves an account; none of them makes a
//! session itself.

use std::time::Duration;

use kavachos_core::id::{SessionId, UserId};
use kavachos_core::secret::{Secret, SecretHash, SecretKind};
use kavachos_core::time::Timestamp;
use kavachos_store::session::{self, SessionRow};
use kavachos_store::sign_in::SignInRow;
use kavachos_store::user::UserRow;
use kavachos_store::{
    Batch, CommitError, given_identity, guess_run, handle, known_device, second_factor, sign_in,
};

use crate::actor::{Actor, Person};
use crate::compile;
use crate::directory::Changed;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::guesses::Guess;
use crate::providers::{ProviderProof, SessionBound};
use crate::raising::Dying;
use crate::sessions::own_session;
use crate::users::{User, raised};

/// How long a second proof may take.
const PENDING_LIFE: Duration = Duration::from_secs(10 * 60);
/// How often a second proof may be tried.
const PENDING_ATTEMPTS: u64 = 5;
/// How many browsers of one human are remembered.
const DEVICES_PER_USER: u64 = 50;

/// What a method proved.
#[derive(Debug, Clone)]
#[must_use = "a proof that no change carries signs nobody in"]
pub struct SignIn {
    user: UserId,
    method: &'static str,
    strength: Strength,
    completes: Option<PendingSignIn>,
    basis: Basis,
    guess: Option<Guess>,
    provider: Option<ProviderProof>,
}

/// How much a proof is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strength {
    /// One factor.
    One,
    /// Nothing that a second factor could guard.
    Unguarded,
    /// Two factors.
    Two,
}

/// What a proof builds on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Basis {
    /// The human was not signed in.
    Nothing,
    /// The session that calls, in which they show again who they are.
    Confirmed,
    /// The same, but they show too little for the next session to be fresh.
    Continued,
}

impl SignIn {
    /// This human proved to be who they are, by this method, with one factor.
    pub fn of(user: UserId, method: &'static str) -> Self {
        Self {
            user,
            method,
            strength: Strength::One,
            completes: None,
            basis: Basis::Nothing,
            guess: None,
            provider: None,
        }
    }

    /// This human, whose session calls, showed again who they are. The next session goes on where that one ends: it lives
    /// no longer, and names what was proved before.
    pub fn confirming(user: UserId, method: &'static str) -> Self {
        Self {
            basis: Basis::Confirmed,
            ..Self::of(user, method)
        }
    }

    /// This human, whose session calls, did something by which it ends. The next session goes on where that one ends, and is
    /// no fresher.
    pub fn continuing(user: UserId, method: &'static str) -> Self {
        Self {
            basis: Basis::Continued,
            ..Self::of(user, method).unguarded()
        }
    }

    /// An outside provider's token proved it, which is used up by it. The session ends as that provider's configuration
    /// says, and is as fresh as the sign-in there.
    pub fn by_provider(proof: ProviderProof) -> Self {
        let mut sign_in = Self::of(proof.user(), "provider");
        sign_in.provider = Some(proof);
        sign_in
    }

    /// The proof is of two factors by itself: a key that asked for its holder, for instance.
    pub fn strong(mut self) -> Self {
        self.strength = Strength::Two;
        self
    }

    /// There is nothing that a second factor could guard: an account that is made with it, for instance. Where a second
    /// factor is demanded, it is still owed.
    pub fn unguarded(mut self) -> Self {
        self.strength = Strength::Unguarded;
        self
    }

    /// The second proof of a pending sign-in. The pending one is used up by it.
    pub fn completing(pending: &PendingSignIn, method: &'static str) -> Self {
        let mut sign_in = Self::of(pending.user, method).strong();
        sign_in.completes = Some(pending.clone());
        sign_in
    }

    /// It took this guess, which is given back with it.
    pub fn after(mut self, guess: Guess) -> Self {
        self.guess = Some(guess);
        self
    }
}

/// A sign-in that waits for its second proof, one attempt at which was counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingSignIn {
    /// Who signs in.
    pub user: UserId,
    hash: SecretHash,
    method: String,
    guess: Option<[u8; 32]>,
}

/// What a proof came to.
#[derive(Clone)]
pub enum SignedIn {
    /// A session.
    Session(Box<Opened>),
    /// A second factor is still to be proved.
    SecondFactor {
        /// Names the sign-in; shown once.
        token: Secret,
        /// The methods by one of which to prove it.
        methods: Vec<String>,
    },
}

/// A session that was opened.
#[derive(Clone)]
pub struct Opened {
    /// The token; shown once.
    pub token: Secret,
    /// Whose it is.
    pub user: User,
    /// What the browser is remembered by from now on, where it is one.
    pub device: Option<Secret>,
    /// When it ends however much it is used.
    pub expires_at: Timestamp,
}

/// A browser that keeps its session in a cookie.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Browser {
    /// What it is remembered by, if anything.
    pub device: Option<SecretHash>,
}

/// From where a proof comes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Whence {
    /// The browser that is to keep the session, if one is.
    pub(crate) browser: Option<Browser>,
    /// What its change does besides.
    pub(crate) account: Account,
}

/// Whether whoever signs in has shown in the same change that the account is theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Account {
    /// It was made, verified or changed: nobody need be told of it.
    JustShown,
    /// It is as it was.
    Settled,
}

/// What goes into the commit of a proof, beside what it does there.
pub(crate) struct Issuing {
    pub(crate) signed_in: SignedIn,
    /// The session that ends with it.
    pub(crate) ended: Option<Dying>,
}

impl Engine {
    /// Adds to the batch what a proof comes to. `human` is as they are after the writes that are in it already.
    pub(crate) async fn issue(
        &self,
        actor: &Actor,
        whence: Whence,
        (proof, human): (&SignIn, UserRow),
        batch: &mut Batch,
    ) -> Result<Issuing> {
        if !compile::user(&human)?.is_live(self.now()) {
            return Err(Error::Forbidden(
                "this account was stopped; ask whoever runs this server".to_owned(),
            ));
        }
        self.refuse_guests(proof.method)?;
        if proof.guess.as_ref().is_some_and(|guess| !guess.is_judged()) {
            // A method that forgot to look: what it took for right proves nothing.
            return Err(Error::Unauthenticated("what was shown is wrong"));
        }
        let earlier = self.earlier(actor, proof).await?;
        let used = proof.provider.as_ref().map(ProviderProof::write);
        batch.writes.extend(used);
        if let Some(pending) = &proof.completes {
            batch
                .writes
                .push(sign_in::complete(pending.hash, self.now()));
        } else if proof.strength == Strength::One {
            let factors = self.store().list(second_factor::of(human.id)).await?;
            if !factors.is_empty() {
                let methods = factors.into_iter().map(|(method,)| method).collect();
                return Ok(self.begin_sign_in(proof, &human, methods, batch));
            }
            batch.writes.push(second_factor::still_none(human.id));
        }
        let opened = (proof, human, earlier);
        self.open(actor, whence, opened, batch).await
    }

    /// The session in which the human shows again who they are.
    async fn earlier(&self, actor: &Actor, proof: &SignIn) -> Result<Option<SessionRow>> {
        if proof.basis == Basis::Nothing {
            return Ok(None);
        }
        let own = own_session(actor)?;
        if own.user != proof.user {
            let why = "a session is confirmed for somebody else";
            return Err(Error::Internal(why.to_owned()));
        }
        self.session_row(own.id).await.map(Some)
    }

    fn begin_sign_in(
        &self,
        proof: &SignIn,
        human: &UserRow,
        methods: Vec<String>,
        batch: &mut Batch,
    ) -> Issuing {
        let run = proof.guess.as_ref().and_then(Guess::end_run);
        batch.writes.extend(run);
        let token = self.secret(SecretKind::SignIn);
        batch.writes.push(sign_in::begin(SignInRow {
            hash: token.hash(),
            user: human.id,
            user_kills: human.kills,
            method: proof.names(),
            attempts: 0,
            guess: proof.guess.as_ref().map(Guess::bucket),
            expires_at: self.now().plus(PENDING_LIFE),
            created_at: self.now(),
        }));
        Issuing {
            signed_in: SignedIn::SecondFactor { token, methods },
            ended: None,
        }
    }

    async fn open(
        &self,
        actor: &Actor,
        whence: Whence,
        (proof, human, earlier): (&SignIn, UserRow, Option<SessionRow>),
        batch: &mut Batch,
    ) -> Result<Issuing> {
        let token = self.secret(SecretKind::Session);
        let ended = self.rotate(actor, batch);
        // Whoever is signed in already gets the next session in the place of theirs.
        let goes_on = ended.is_some() && actor.is_human(human.id);
        let own = actor.person().and_then(Person::session);
        let own = own.filter(|_| goes_on).map(|own| own.id);
        self.make_room_for_session(&human, own, batch).await?;
        let mut row = SessionRow {
            method: Some(proof.names_after(earlier.as_ref())),
            ip: actor.ip.map(|ip| ip.to_canonical().to_string()),
            user_agent: actor.user_agent.clone(),
            two_factors: proof.strength == Strength::Two,
            ..self.new_session_row(actor, &human, &token)
        };
        if let Some(earlier) = &earlier {
            row.two_factors |= earlier.two_factors;
            row.expires_at = row.expires_at.min(earlier.expires_at);
            if proof.basis == Basis::Continued {
                row.signed_in_at = earlier.signed_in_at;
            }
        }
        self.bound_by_provider(proof, &mut row)?;
        // What an operator gave them is somebody's from now on.
        batch.writes.push(given_identity::used(human.id));
        let limit = self.settings().sessions_per_user;
        let given_back = [proof.guess.clone(), proof.held()];
        // Whoever is in by all that is asked of them has ended the guessing.
        if proof.basis != Basis::Continued {
            batch.writes.push(guess_run::end_of(human.id));
        }
        for guess in given_back.iter().flatten() {
            batch.writes.extend(guess.give_back());
        }
        batch
            .writes
            .extend([session::open(row.clone(), limit), handle::born(row.mark)]);
        batch.effects.push(Changed::Key(row.hash).into());
        if whence.account == Account::Settled && !goes_on {
            self.tell_of_sign_in((&human, &row), whence.browser, batch)
                .await?;
        }
        let device = match whence.browser {
            Some(browser) => self.remember(browser, human.id, batch).await?,
            None => None,
        };
        let record = self.opened_record(actor, &row, human.pseudonym)?;
        batch.entries.push(record);
        let opened = Opened {
            token,
            device,
            expires_at: row.expires_at,
            user: User::of(human, self.now())?,
        };
        Ok(Issuing {
            signed_in: SignedIn::Session(Box::new(opened)),
            ended,
        })
    }

    /// A session that a provider's token opened, also one that a second factor completed, ends as that provider's
    /// configuration says; and nobody is fresh by a token that does not say when its human signed in.
    fn bound_by_provider(&self, proof: &SignIn, row: &mut SessionRow) -> Result<()> {
        let settings = self.settings();
        let methods = row.method.as_deref().unwrap_or_default();
        match settings.providers.session_bound(methods) {
            SessionBound::None => return Ok(()),
            SessionBound::Life(life) => {
                row.expires_at = row.expires_at.min(row.created_at.plus(life));
            }
            SessionBound::Refused => {
                return Err(Error::Forbidden(
                    "no session is opened for tokens of this provider".to_owned(),
                ));
            }
        }
        if let Some(provider) = &proof.provider {
            let fresh = i64::try_from(settings.session_fresh.as_micros()).unwrap_or(i64::MAX);
            let long_ago = row.created_at.as_micros().saturating_sub(fresh);
            let long_ago = Timestamp::from_micros(long_ago);
            row.signed_in_at = provider.proved_at().unwrap_or(long_ago).min(row.created_at);
        }
        Ok(())
    }

    /// Ends the session that the caller showed: a new proof is a new token (ASVS 5.0, 7.2.4).
    fn rotate(&self, actor: &Actor, batch: &mut Batch) -> Option<Dying> {
        let session = actor.person()?.session()?;
        let (dying, killed) = (Dying::Session(session.id), raised(session.mark));
        batch.kills.push(killed);
        batch
            .writes
            .extend([session::end(session.id), dying.begin(killed)]);
        batch.effects.push(Changed::Key(session.hash).into());
        Some(dying)
    }

    /// Ends the sessions that were not used for the longest time where there are as many as there may be: whoever proved
    /// who they are is not kept out by their old ones.
    async fn make_room_for_session(
        &self,
        human: &UserRow,
        own: Option<SessionId>,
        batch: &mut Batch,
    ) -> Result<()> {
        let now = self.now();
        let usable = session::usable(human.id, human.kills, now);
        let usable = self
            .store()
            .find(usable)
            .await?
            .map_or(0, |(usable,)| usable);
        // More than one where the limit was lowered.
        let next = usable + u64::from(own.is_none());
        let too_many = next.saturating_sub(self.settings().sessions_per_user);
        let too_many = usize::try_from(too_many).unwrap_or(usize::MAX);
        // One more, which may be the one that ends anyway.
        let oldest = session::least_used((human.id, human.kills), now, too_many.saturating_add(1));
        let oldest = self.store().list(oldest).await?.into_iter();
        for oldest in oldest.filter(|row| Some(row.id) != own).take(too_many) {
            let killed = raised(oldest.mark);
            batch.kills.push(killed);
            batch.writes.extend([
                session::end(oldest.id),
                Dying::Session(oldest.id).begin(killed),
            ]);
            batch.effects.push(Changed::Key(oldest.hash).into());
        }
        Ok(())
    }

    /// Remembers a browser, so that guesses in it are counted apart from those of strangers.
    /// One that is known already keeps what it is known by.
    async fn remember(
        &self,
        browser: Browser,
        user: UserId,
        batch: &mut Batch,
    ) -> Result<Option<Secret>> {
        let now = self.now();
        if let Some(device) = self.known_device(Some(user), browser.device).await? {
            batch.writes.push(known_device::seen(device, user, now));
            return Ok(None);
        }
        Ok(Some(self.learn(user, batch)))
    }

    /// Remembers a browser by a new secret.
    pub(crate) fn learn(&self, user: UserId, batch: &mut Batch) -> Secret {
        let device = self.secret(SecretKind::Device);
        batch.writes.extend([
            known_device::make_room(user, DEVICES_PER_USER),
            known_device::learn(device.hash(), user, self.now()),
        ]);
        device
    }

    /// Counts one attempt at the second proof of a pending sign-in, before the proof is looked at.
    ///
    /// # Errors
    /// It is unknown, over, used, or was tried too often: one and the same answer.
    pub async fn attempt_second_factor(&self, token: &str) -> Result<PendingSignIn> {
        const GONE: Error = Error::Unauthenticated(
            "this sign-in is over, or was tried too often; begin again with the first step",
        );
        let secret = Secret::parse(token).map_err(|_| GONE)?;
        if secret.kind() != SecretKind::SignIn {
            return Err(GONE);
        }
        let hash = secret.hash();
        let batch = Batch {
            writes: vec![sign_in::attempt(hash, PENDING_ATTEMPTS, self.now())],
            ..Batch::default()
        };
        match self.store().commit(batch).await {
            Ok(_) => {}
            Err(CommitError::Conflict { .. }) => return Err(GONE),
            Err(error) => return Err(error.into()),
        }
        let row = self
            .store()
            .find(sign_in::by_hash(hash))
            .await?
            .ok_or(GONE)?;
        // What was begun before its human was stopped is over.
        let human = self.user_row(row.user).await?;
        if human.kills != row.user_kills {
            return Err(GONE);
        }
        Ok(PendingSignIn {
            user: row.user,
            hash,
            method: row.method,
            guess: row.guess,
        })
    }
}

impl SignIn {
    pub(crate) fn user(&self) -> UserId {
        self.user
    }

    /// The methods, as the session and its record name them.
    fn names(&self) -> String {
        match &self.completes {
            Some(pending) => format!("{}+{}", pending.method, self.method),
            None => match &self.provider {
                Some(provider) => provider.method().to_owned(),
                None => self.method.to_owned(),
            },
        }
    }

    /// The methods, after those by which an earlier session was opened.
    fn names_after(&self, earlier: Option<&SessionRow>) -> String {
        let names = self.names();
        match earlier.and_then(|row| row.method.as_deref()) {
            Some(before) if before.split('+').any(|known| known == names) => before.to_owned(),
            Some(before) => format!("{before}+{names}"),
            None => names,
        }
    }

    /// The guess that the first proof took.
    fn held(&self) -> Option<Guess> {
        let pending = self.completes.as_ref()?;
        pending.guess.map(Guess::stored)
    }
}
