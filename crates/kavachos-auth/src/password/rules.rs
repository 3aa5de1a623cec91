//! What holds wherever a password is chosen or shown, whatever name its human signs in with.

use kavachos_core::id::UserId;
use kavachos_engine::Result;
use kavachos_engine::plugin::Context;
use kavachos_store::password::PasswordRow;

use super::breached::{Breached, Sighting, WhenUnreachable};
use super::hasher::{PhcText, Verdict};
use super::passwords::Passwords;
use super::policy::{Policy, Standing};
use super::secret::Password;

/// How passwords are kept, and which may be chosen.
#[derive(Clone)]
pub(crate) struct Rules {
    pub(crate) passwords: Passwords,
    pub(crate) policy: Policy,
    /// The list of stolen ones; none where nobody outside is asked.
    pub(crate) breached: Option<Breached>,
}

impl Rules {
    /// 15 characters at least, and none that is in the list of stolen ones, if that can be asked.
    pub(crate) fn new(passwords: Passwords) -> Self {
        Self {
            passwords,
            policy: Policy::new(),
            breached: Some(Breached::new(WhenUnreachable::Accept)),
        }
    }

    /// For development: 8 characters, and nobody outside is asked.
    pub(crate) fn development(passwords: Passwords) -> Self {
        Self {
            passwords,
            policy: Policy::development(),
            breached: None,
        }
    }

    /// What to store of a password that somebody chose, and what the list says. `known` are the words that others know of
    /// them.
    pub(crate) async fn choose(
        &self,
        context: &Context,
        (password, standing): (&Password, Standing),
        known: &[&str],
    ) -> Result<(PhcText, Sighting)> {
        self.policy.check(password, standing, known)?;
        let engine = context.engine();
        let sighting = match &self.breached {
            Some(list) => list.check(engine, password).await?,
            None => Sighting::NotChecked,
        };
        Ok((self.passwords.hash(engine, password).await?, sighting))
    }

    /// What is stored of the human's password, if this is it. For somebody unknown it is as much work.
    pub(crate) async fn compare(
        &self,
        context: &Context,
        human: Option<UserId>,
        password: &Password,
    ) -> Result<Option<(PasswordRow, Verdict)>> {
        let stored = match human {
            Some(human) => context.password_of(human).await?,
            None => None,
        };
        let phc = stored.as_ref().map(|stored| stored.phc.as_str());
        let verdict = self.passwords.verify(context.engine(), phc, password);
        let verdict = verdict.await?;
        let known = stored.filter(|_| verdict.matches);
        Ok(known.map(|stored| (stored, verdict)))
    }

    /// The same password as it would be stored now, where it is not stored like that.
    pub(crate) async fn renewed(
        &self,
        context: &Context,
        verdict: Verdict,
        password: &Password,
    ) -> Result<Option<PhcText>> {
        if !verdict.needs_rehash {
            return Ok(None);
        }
        let hash = self.passwords.hash(context.engine(), password);
        Ok(Some(hash.await?))
    }
}
