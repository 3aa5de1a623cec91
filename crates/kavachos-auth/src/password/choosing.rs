//! A password that somebody chooses: the rules, the list of stolen ones, and what is stored.

use kavachos_core::id::UserId;
use kavachos_engine::plugin::Context;
use kavachos_engine::{Result, User};
use kavachos_store::password::PasswordRow;

use super::{
    Breached, Password, Passwords, PhcText, Policy, Sighting, Standing, Verdict, WhenUnreachable,
};

/// How passwords are chosen and compared here; one for all methods that have any.
#[derive(Clone)]
pub struct Choosing {
    /// How they are hashed.
    pub passwords: Passwords,
    /// Which may be chosen.
    pub policy: Policy,
    /// The list of stolen ones, if it is asked.
    pub breached: Option<Breached>,
}

impl Choosing {
    /// For everybody: 15 characters, or 8 beside a second factor, and none of the stolen ones. Where their list does not
    /// answer, a password may be chosen, and the record says that it was not looked up.
    pub fn serving() -> Self {
        Self {
            passwords: Passwords::default(),
            policy: Policy::new(),
            breached: Some(Breached::new(WhenUnreachable::Accept)),
        }
    }

    /// For development on one machine: 8 characters, and nothing is asked of others.
    pub fn development() -> Self {
        Self {
            policy: Policy::development(),
            breached: None,
            ..Self::serving()
        }
    }
}

impl Default for Choosing {
    fn default() -> Self {
        Self::serving()
    }
}

/// What to store of a password that was chosen.
pub(crate) struct Chosen {
    pub(crate) phc: String,
    /// Whether the list of stolen ones was asked, as records say it.
    pub(crate) sighting: &'static str,
}

impl Choosing {
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

    /// What to store of a new password of this human.
    pub(crate) async fn choose(
        &self,
        context: &Context,
        human: &User,
        password: &Password,
    ) -> Result<Chosen> {
        let standing = match context.has_second_factor(human.id).await? {
            true => Standing::WithSecondFactor,
            false => Standing::Alone,
        };
        let known = [&human.email, &human.name].map(|word| word.as_deref().unwrap_or_default());
        self.keep(context, (password, standing), &known).await
    }

    /// What to store of a password; others know these words of whoever chose it.
    pub(crate) async fn keep(
        &self,
        context: &Context,
        (password, standing): (&Password, Standing),
        known: &[&str],
    ) -> Result<Chosen> {
        let locals = known.iter().filter_map(|word| word.split('@').next());
        let words: Vec<&str> = known.iter().copied().chain(locals).collect();
        self.policy.check(password, standing, &words)?;
        let sighting = match &self.breached {
            Some(list) => list.check(context.engine(), password).await?,
            None => Sighting::NotChecked,
        };
        let phc = self.passwords.hash(context.engine(), password).await?;
        Ok(Chosen {
            phc: phc.as_str().to_owned(),
            sighting: sighting.as_str(),
        })
    }
}
