//! The address that an account leaves, whoever changed it: nothing is good any more that was mailed there, and whoever reads
//! mail there is told, and where the human changed it themselves gets a link that takes the change back
//! ([`taking_back`](crate::taking_back)).

use kavachos_core::id::UserId;
use kavachos_store::Write;
use kavachos_store::user::UserRow;
use kavachos_store::{former_address, not_me};

use crate::actor::Actor;
use crate::engine::Engine;
use crate::error::Result;
use crate::mail::{EmailAddress, Mail, MailKind};

/// Who says that a human has another address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// Whoever is signed in, who may be somebody else: the old address is taken back.
    Themselves,
    /// Whoever took the old one back.
    TakenBack,
    /// An operator, whose word counts.
    Operator,
}

impl Leaving {
    /// Who this caller is to this human: an owner who changes their own address may be somebody else, too.
    pub(crate) fn by(actor: &Actor, human: UserId) -> Self {
        let own = actor.person().is_some_and(|person| person.user.id == human);
        if own {
            Self::Themselves
        } else {
            Self::Operator
        }
    }
}

impl Engine {
    /// What belongs into the commit in which a human gets another address, or none.
    pub(crate) fn readdressed(
        &self,
        (old, new): (&UserRow, &UserRow),
        leaving: Leaving,
    ) -> Result<Vec<Write>> {
        let mut writes = Vec::new();
        if old.email == new.email {
            return Ok(writes);
        }
        // What waits at the new address was asked for by somebody else, or in another account's name.
        for address in old.email.iter().chain(&new.email) {
            writes.extend(self.plugins().forget_address(address)?);
        }
        // Nor is what was mailed there about sign-ins.
        writes.push(not_me::forget_of(old.id));
        if leaving == Leaving::Operator {
            writes.push(former_address::forget_of(old.id));
        }
        // Addresses of before these rules may be none by them.
        let left = old.email.as_deref();
        let left = left.and_then(|address| address.parse::<EmailAddress>().ok());
        if let Some(to) = left.filter(|_| self.can_mail()) {
            let mail = Mail::new(to, MailKind::EmailChanged);
            let mut mail = mail.with("name", old.name.clone().unwrap_or_default());
            if leaving == Leaving::Themselves
                && let Some((row, url)) = self.way_back(old)
            {
                writes.push(row);
                mail = mail.with("url", url);
            }
            writes.extend(self.mail(&mail)?);
        }
        Ok(writes)
    }
}
