//! The address that an account leaves, whoever changed it: nothing is good any more that was mailed there, and whoever reads
//! mail there is told.

use kavachos_store::Write;
use kavachos_store::not_me;
use kavachos_store::user::UserRow;

use crate::engine::Engine;
use crate::error::Result;
use crate::mail::{EmailAddress, Mail, MailKind};

impl Engine {
    /// What belongs into the commit in which a human gets another address, or none.
    pub(crate) fn readdressed(&self, old: &UserRow, new: &UserRow) -> Result<Vec<Write>> {
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
        // Addresses of before these rules may be none by them.
        let left = old.email.as_deref();
        let left = left.and_then(|address| address.parse::<EmailAddress>().ok());
        if let Some(to) = left.filter(|_| self.can_mail()) {
            let mail = Mail::new(to, MailKind::EmailChanged);
            writes.extend(self.mail(&mail.with("name", old.name.clone().unwrap_or_default()))?);
        }
        Ok(writes)
    }
}
