//! Hashing and comparing passwords, each on the threads that are kept for that.

use std::sync::Arc;

use kavachos_engine::{Engine, Error, Result};

use zeroize::Zeroizing;

use super::cost::{Cost, HASH_BYTES};
use super::hasher::{Decoy, Hasher, PhcText, Verdict};
use super::secret::Password;

/// What comes of a code that was stretched.
pub(crate) type Stretched = Zeroizing<[u8; HASH_BYTES]>;

/// How passwords, and codes on paper, are kept here. One is shared by all methods that have passwords; cheap to clone.
///
/// The memory of a hash, 19 MiB unless configured, is kept for the next one: as often as there are threads.
#[derive(Clone)]
pub struct Passwords {
    hasher: Arc<Hasher>,
}

impl Passwords {
    /// Hashes at this cost from now on. What was hashed at another is still recognised.
    pub fn new(cost: Cost) -> Self {
        Self {
            hasher: Arc::new(Hasher::new(cost, Decoy::Worked)),
        }
    }

    /// What to store of a password.
    ///
    /// # Errors
    /// [`Error::Busy`] when too many wait for theirs.
    pub async fn hash(&self, engine: &Engine, password: &Password) -> Result<PhcText> {
        let (hasher, password, salt) = (self.hasher(), password.clone(), engine.random());
        let hash = engine
            .blocking(move || hasher.hash(&password, salt))
            .await?;
        hash.ok_or_else(|| Error::Internal("a password cannot be hashed".to_owned()))
    }

    /// Whether this is the password that is stored. Nothing is stored for an unknown account, and for one without a password:
    /// that takes as long, as does one that is stored in a form that is not known here. As long as what is hashed at the cost
    /// of now, and, once one that costs more was compared in this process, as long as that one: which accounts have a costlier
    /// one is not looked up at the start, so the first of them to sign in takes longer than whoever came before. Ask it of
    /// whoever is banned, too, and look at that afterwards.
    ///
    /// # Errors
    /// [`Error::Busy`] when too many wait for theirs.
    pub async fn verify(
        &self,
        engine: &Engine,
        stored: Option<&str>,
        password: &Password,
    ) -> Result<Verdict> {
        let (hasher, password) = (self.hasher(), password.clone());
        let stored = stored.map(str::to_owned);
        engine
            .blocking(move || hasher.verify(stored.as_deref(), &password))
            .await
    }

    /// How the codes of a new set are stretched: at the cost of now, with a salt of their own.
    pub(crate) fn stretching(&self, engine: &Engine) -> Result<PhcText> {
        let way = self.hasher.stretching(engine.random());
        way.ok_or_else(|| Error::Internal("codes cannot be hashed".to_owned()))
    }

    /// A code, stretched in this way; as much work where there is no way.
    ///
    /// # Errors
    /// [`Error::Busy`] when too many wait for theirs.
    pub(crate) async fn stretch(
        &self,
        engine: &Engine,
        way: Option<&str>,
        code: &Password,
    ) -> Result<Option<Stretched>> {
        let (hasher, code) = (self.hasher(), code.clone());
        let way = way.map(str::to_owned);
        engine
            .blocking(move || hasher.stretch(way.as_deref(), &code))
            .await
    }

    /// How many blocks of 1 KiB were computed so far: the work that passwords and backup codes made, whoever's clock is looked at.
    pub fn blocks_filled(&self) -> u64 {
        self.hasher.filled()
    }

    fn hasher(&self) -> Arc<Hasher> {
        Arc::clone(&self.hasher)
    }
}

impl Default for Passwords {
    fn default() -> Self {
        Self::new(Cost::default())
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;
    use std::pin::pin;
    use std::sync::mpsc;
    use std::task::{Context, Poll, Waker};

    use kavachos_test::kavachos::Kavach;

    use super::*;

    async fn kavach() -> Kavach {
        let builder = Kavach::builder().password_threads(NonZeroUsize::MIN);
        builder.build().await.unwrap()
    }

    fn password() -> Password {
        Password::parse("correct horse battery staple").unwrap()
    }

    #[tokio::test]
    async fn a_password_is_stored_with_a_salt_of_its_own_and_recognised() {
        let (kavach, passwords) = (kavach().await, Passwords::default());
        let (engine, password) = (kavach.engine(), password());
        let one = passwords.hash(engine, &password).await.unwrap();
        let other = passwords.hash(engine, &password).await.unwrap();
        assert_ne!(one, other);
        let verdict = passwords.verify(engine, Some(one.as_str()), &password);
        assert!(verdict.await.unwrap().matches);
        let verdict = passwords.verify(engine, None, &password);
        assert!(!verdict.await.unwrap().matches);
        kavach.close().await;
    }

    /// Keeps the only thread until the returned value is dropped.
    fn hold(kavach: &Kavach) -> mpsc::Sender<()> {
        let (held, end) = mpsc::channel::<()>();
        let engine = kavach.engine().clone();
        tokio::spawn(async move { engine.blocking(move || end.recv()).await });
        held
    }

    #[tokio::test]
    async fn nothing_is_hashed_for_whoever_went_away() {
        let (kavach, passwords) = (kavach().await, Passwords::default());
        let held = hold(&kavach);
        tokio::task::yield_now().await;
        let password = password();
        {
            let mut waiting = pin!(passwords.verify(kavach.engine(), None, &password));
            let mut context = Context::from_waker(Waker::noop());
            assert!(matches!(waiting.as_mut().poll(&mut context), Poll::Pending));
        }
        drop(held);
        // Those who stayed are done after it, by the same thread.
        let stayed = passwords.verify(kavach.engine(), None, &password).await;
        assert!(stayed.is_ok());
        assert_eq!(passwords.blocks_filled(), Cost::OWASP.blocks());
        kavach.close().await;
    }

    #[tokio::test]
    async fn when_a_thousand_wait_the_next_one_is_told_so() {
        let (kavach, passwords) = (kavach().await, Passwords::default());
        let held = hold(&kavach);
        tokio::task::yield_now().await;
        let password = password();
        let mut context = Context::from_waker(Waker::noop());
        let mut waiting = Vec::new();
        // One more than may wait: the thread may have begun with its own by now, or not yet.
        let refused = loop {
            let mut next = Box::pin(passwords.verify(kavach.engine(), None, &password));
            match next.as_mut().poll(&mut context) {
                Poll::Pending => waiting.push(next),
                Poll::Ready(refused) => break refused,
            }
            assert!(waiting.len() <= 1_000, "nobody is refused");
        };
        assert_eq!(refused, Err(Error::Busy));
        assert!(waiting.len() >= 999);
        drop(waiting);
        drop(held);
        assert!(
            passwords
                .verify(kavach.engine(), None, &password)
                .await
                .is_ok()
        );
        kavach.close().await;
    }
}
