//! The methods by which people sign in here: which there are, which are on, and how strict they are.

use std::sync::Arc;

use kavachos_auth::SwitchedOff;
use kavachos_auth::anonymous::Anonymous;
use kavachos_auth::change_email::ChangeEmail;
use kavachos_auth::email_otp::EmailOtp;
use kavachos_auth::email_password::{EmailPassword, Verification};
use kavachos_auth::magic_link::MagicLink;
use kavachos_auth::passkey::Passkey;
use kavachos_auth::password::{Breached, Choosing, ConfirmByPassword, WhenUnreachable};
use kavachos_auth::password_reset::PasswordReset;
use kavachos_auth::session_freshness::{Confirm, SessionFreshness};
use kavachos_auth::totp::Totp;
use kavachos_auth::username_password::UsernamePassword;
use kavachos_engine::plugin::Plugin;
use kavachos_store::migration::{MIGRATIONS, Migration};

/// Every method, in the order in which their tables are made; new ones come last.
pub(crate) const ALL: [&str; 10] = [
    "email_password",
    "username_password",
    "magic_link",
    "email_otp",
    "password_reset",
    "session_freshness",
    "anonymous",
    "totp",
    "passkey",
    "change_email",
];
/// Those that are on unless told otherwise.
pub(crate) const USUAL: [&str; 8] = [
    "email_password",
    "magic_link",
    "email_otp",
    "password_reset",
    "session_freshness",
    "totp",
    "passkey",
    "change_email",
];

/// Those that are of no use where no mail is sent.
pub(crate) const NEED_MAIL: [&str; 5] = [
    "email_password",
    "magic_link",
    "email_otp",
    "password_reset",
    "change_email",
];

/// How strict they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strictness {
    /// For one machine: accounts without mail, and short passwords.
    Development,
    /// For everybody.
    Serving,
}

/// The methods of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Methods {
    /// Those that are on.
    pub(crate) on: Vec<&'static str>,
    /// How strict they are.
    pub(crate) strictness: Strictness,
    /// What holds when the list of stolen passwords cannot be asked; nothing where it is not asked at all.
    pub(crate) breached: Option<WhenUnreachable>,
    /// What everybody would try in a password here: the names of the product and of the host.
    pub(crate) words: Vec<String>,
}

impl Methods {
    /// The plugins. Those that are off are among them without their routes: a database that has their tables is used by
    /// no binary that does not know them.
    pub(crate) fn plugins(&self) -> Vec<Arc<dyn Plugin>> {
        let (choosing, verification) = match self.strictness {
            Strictness::Development => (Choosing::development(), Verification::Later),
            Strictness::Serving => {
                let breached = self.breached.map(Breached::new);
                let choosing = Choosing::serving();
                (
                    Choosing {
                        breached,
                        ..choosing
                    },
                    Verification::First,
                )
            }
        };
        let words = self.words.iter();
        let policy = words.fold(choosing.policy, |policy, word| policy.knowing(word));
        let choosing = Arc::new(Choosing { policy, ..choosing });
        let passwords = choosing.passwords.clone();
        let ways: [Arc<dyn Confirm>; 1] = [Arc::new(ConfirmByPassword(Arc::clone(&choosing)))];
        let all: [Arc<dyn Plugin>; ALL.len()] = [
            Arc::new(EmailPassword::new(Arc::clone(&choosing), verification)),
            Arc::new(UsernamePassword::new(Arc::clone(&choosing))),
            Arc::new(MagicLink),
            Arc::new(EmailOtp),
            Arc::new(PasswordReset::new(Arc::clone(&choosing))),
            Arc::new(SessionFreshness::new(ways)),
            Arc::new(Anonymous::new(choosing, verification)),
            Arc::new(Totp::new(passwords)),
            Arc::new(Passkey::default()),
            Arc::new(ChangeEmail::default()),
        ];
        let switched = all.into_iter().map(|plugin| {
            if self.on.contains(&plugin.id()) {
                plugin
            } else {
                Arc::new(SwitchedOff(plugin)) as Arc<dyn Plugin>
            }
        });
        switched.collect()
    }
}

impl Default for Methods {
    fn default() -> Self {
        Self {
            on: USUAL.to_vec(),
            strictness: Strictness::Serving,
            breached: Some(WhenUnreachable::Accept),
            words: Vec::new(),
        }
    }
}

/// All migrations of this binary: those of the server, then those of the methods.
pub(crate) fn migrations() -> Vec<Migration> {
    let plugins = Methods::default().plugins();
    let own = plugins.iter().flat_map(|plugin| plugin.migrations());
    MIGRATIONS.iter().copied().chain(own).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What strangers typed stays in no table until somebody else asks.
    #[test]
    fn whatever_passes_is_swept_also_where_its_method_is_off() {
        let all_off = Methods {
            on: Vec::new(),
            ..Methods::default()
        };
        for methods in [Methods::default(), all_off] {
            let plugins = methods.plugins();
            let mut passing = 0;
            for plugin in &plugins {
                let swept: Vec<_> = plugin.sweeps().iter().map(|sweep| sweep.table).collect();
                for table in plugin.passing() {
                    assert!(swept.contains(&table), "{table}");
                    passing += 1;
                }
            }
            assert_eq!(passing, 7);
        }
    }
}
