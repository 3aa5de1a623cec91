//! Of whom a second factor is demanded, and what those may do who have yet to show one.
//!
//! Promises: whether it is demanded is judged at every use of a session, by the settings and the role of now, so it holds
//! for sessions that were opened before. Nobody is let in who owes one ([`Engine::authenticate`]) but by those few calls
//! that ask for them by name ([`Engine::authenticate_owing`]). Whoever has a factor shows that one, and sets up no other
//! first: one factor never adds a second.

use kavachos_core::id::UserId;
use kavachos_core::principal::{Role, User};

use crate::actor::{Actor, Caller, Owes, Person, Session};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::impersonation::Impersonator;
use crate::plugin::Owing;
use crate::roles::ANONYMOUS;

/// Of whom a second factor is demanded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SecondFactor {
    /// Of nobody: it is asked of whoever has set one up.
    #[default]
    Offered,
    /// Of humans with the role admin or owner.
    Admins,
    /// Of everyone.
    Everyone,
}

impl SecondFactor {
    const fn is_demanded_of(self, role: Role) -> bool {
        match (self, role) {
            (Self::Offered, _) | (Self::Admins, Role::Member) => false,
            (Self::Admins, Role::Admin | Role::Owner) | (Self::Everyone, _) => true,
        }
    }
}

/// What whoever owes one is told.
const OWED: &str = "a second factor is demanded of you here: set up an app with `/api/auth/totp/setup` or a passkey with \
     `/api/auth/passkey/register/options`, or show the one that you have with `/api/auth/totp/confirm` or by signing in with \
     the passkey";
/// What is said of whoever has one and would set up another before it is shown.
const SHOW_IT: &str = "you have a second factor, and this session has not shown it: do that with `/api/auth/totp/confirm`, or \
     by signing in with your passkey, before you set up another";
const OF_PROVIDERS: &str = "a second factor is demanded of this human, which a provider's token does not prove: sign in for a \
     session, and set one up in it";
const OF_GUESTS: &str = "a second factor is demanded of everyone here, and a guest has none";

/// Says that a second factor is owed.
pub(crate) const fn owed() -> Error {
    Error::SecondFactorRequired(OWED)
}

impl Person {
    /// Refuses whoever owes something.
    pub(crate) fn settled(self) -> Result<Self> {
        match self.owes {
            Owes::Nothing => Ok(self),
            Owes::SecondFactor => Err(owed()),
        }
    }
}

impl Caller {
    /// Whether a second factor is still to be shown.
    pub fn owes_second_factor(&self) -> bool {
        matches!(self, Self::Person(person) if person.owes == Owes::SecondFactor)
    }
}

impl Engine {
    fn is_demanded_of(&self, role: Role) -> bool {
        self.settings().second_factor.is_demanded_of(role)
    }

    /// What is still to be shown by whoever calls with this session.
    pub(crate) async fn owed(&self, session: &Session, user: &User) -> Result<Owes> {
        let role = match session.impersonation.map(|one| one.by) {
            None => user.role,
            // What is demanded of a human is demanded of them in whosever name they act.
            Some(Impersonator::Human(id)) => self.known_user(id).await?.role,
            // Neither is a human who could show a factor.
            Some(Impersonator::Program | Impersonator::Key(_)) => return Ok(Owes::Nothing),
        };
        let shown = session.two_factors && !is_guests(session);
        Ok(match shown || !self.is_demanded_of(role) {
            true => Owes::Nothing,
            false => Owes::SecondFactor,
        })
    }

    /// Refuses a token of a provider for a human of whom more is demanded.
    pub(crate) fn refuse_demanded(&self, user: &User) -> Result<()> {
        match self.is_demanded_of(user.role) {
            true => Err(Error::SecondFactorRequired(OF_PROVIDERS)),
            false => Ok(()),
        }
    }

    /// Refuses guests where everyone is to have two factors: they have none, and nothing that they come back with.
    pub(crate) fn refuse_guests(&self, method: &str) -> Result<()> {
        match method == ANONYMOUS && self.is_demanded_of(Role::Member) {
            true => Err(Error::SecondFactorRequired(OF_GUESTS)),
            false => Ok(()),
        }
    }

    /// Refuses, of those who owe a second factor, all but what leads to one.
    pub(crate) async fn admit_owing(&self, actor: &Actor, owing: Owing) -> Result<()> {
        let Some(person) = actor.person() else {
            return Ok(());
        };
        match (person.owes, owing) {
            (Owes::Nothing, _) | (Owes::SecondFactor, Owing::Admitted) => Ok(()),
            (Owes::SecondFactor, Owing::Refused) => Err(owed()),
            // Whoever found out a password would have two factors by this.
            (Owes::SecondFactor, Owing::WithoutFactor) => match self.factors(person.user.id).await?
            {
                0 => Ok(()),
                _ => Err(Error::SecondFactorRequired(SHOW_IT)),
            },
        }
    }

    /// How many things a human has of each of which a method says that it shows two factors, or the second one.
    pub(crate) async fn factors(&self, human: UserId) -> Result<u64> {
        let mut all = 0_u64;
        for query in self.plugins().count_factors(human)? {
            let found = self.store().find(query.of::<(u64,)>()).await?;
            all = all.saturating_add(found.map_or(0, |(count,)| count));
        }
        Ok(all)
    }

    /// Refuses to take the last factor from a human of whom one is demanded.
    pub(crate) async fn keep_a_factor(&self, human: UserId) -> Result<()> {
        let user = self.known_user(human).await?;
        if !self.is_demanded_of(user.role) || self.factors(human).await? > 1 {
            return Ok(());
        }
        Err(Error::WrongState(
            "a second factor is demanded of you here, and this is your last one: set up another first".to_owned(),
        ))
    }
}

/// Whether a guest's sign-in is among what the session was opened by: whatever they set up, nobody knows who they are.
fn is_guests(session: &Session) -> bool {
    let mut methods = session.method.iter().flat_map(|all| all.split('+'));
    methods.any(|method| method == ANONYMOUS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_an_admin_is_one_of_everyone() {
        use SecondFactor::{Admins, Everyone, Offered};
        let demanded = |setting: SecondFactor| {
            [Role::Member, Role::Admin, Role::Owner].map(|role| setting.is_demanded_of(role))
        };
        assert_eq!(demanded(Offered), [false; 3]);
        assert_eq!(demanded(Admins), [false, true, true]);
        assert_eq!(demanded(Everyone), [true; 3]);
        assert_eq!(SecondFactor::default(), Offered);
    }
}
