//! The methods by which people sign in here: which there are, which are on, and how strict they are.

use std::sync::Arc;

use kavachos_auth::SwitchedOff;
use kavachos_auth::email_password::EmailPassword;
use kavachos_auth::passkey::Passkey;
use kavachos_auth::password::Passwords;
use kavachos_auth::totp::Totp;
use kavachos_engine::plugin::Plugin;
use kavachos_store::migration::{MIGRATIONS, Migration};

/// Every method, in the order in which their tables are made; new ones come last.
pub(crate) const ALL: [&str; 3] = ["email_password", "totp", "passkey"];
/// Those that are on unless told otherwise.
pub(crate) const USUAL: [&str; 3] = ["email_password", "totp", "passkey"];

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
}

impl Methods {
    /// The plugins. Those that are off are among them without their routes: a database that has their tables is used by
    /// no binary that does not know them.
    pub(crate) fn plugins(&self) -> Vec<Arc<dyn Plugin>> {
        let passwords = Passwords::default();
        let all: [Arc<dyn Plugin>; ALL.len()] = [
            Arc::new(match self.strictness {
                Strictness::Development => EmailPassword::development(passwords),
                Strictness::Serving => EmailPassword::new(passwords),
            }),
            Arc::new(Totp::default()),
            Arc::new(Passkey::default()),
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
        }
    }
}

/// All migrations of this binary: those of the server, then those of the methods.
pub(crate) fn migrations() -> Vec<Migration> {
    let plugins = Methods::default().plugins();
    let own = plugins.iter().flat_map(|plugin| plugin.migrations());
    MIGRATIONS.iter().copied().chain(own).collect()
}
