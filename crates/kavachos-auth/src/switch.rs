//! A method that is switched off: what it keeps stays, and nobody calls it.

use std::sync::Arc;

use kavachos_core::id::UserId;
use kavachos_core::time::Timestamp;
use kavachos_engine::Engine;
use kavachos_engine::plugin::{FactorRows, MovedRow, Plugin, Sweep, Told};
use kavachos_store::migration::Migration;
use kavachos_store::{Query, Write};

/// A plugin without its routes and hooks. Its tables stay, so that it can be switched on again; they move with a tenant, and
/// people are forgotten in them.
pub struct SwitchedOff(pub Arc<dyn Plugin>);

impl Plugin for SwitchedOff {
    fn id(&self) -> &'static str {
        self.0.id()
    }

    fn migrations(&self) -> Vec<Migration> {
        self.0.migrations()
    }

    fn kinds(&self) -> Vec<&'static str> {
        self.0.kinds()
    }

    fn forgets_address(&self, email: &str) -> Vec<Write> {
        self.0.forgets_address(email)
    }

    fn tells(&self, human: UserId) -> Vec<Told> {
        self.0.tells(human)
    }

    fn passing(&self) -> Vec<&'static str> {
        self.0.passing()
    }

    fn good_once(&self) -> Vec<&'static str> {
        self.0.good_once()
    }

    fn sweeps(&self) -> Vec<Sweep> {
        self.0.sweeps()
    }

    fn factor(&self) -> Option<FactorRows> {
        self.0.factor()
    }

    fn factors(&self, human: UserId) -> Option<Query> {
        self.0.factors(human)
    }

    fn admit(&self, engine: &Engine, row: &MovedRow<'_>) -> Result<(), String> {
        self.0.admit(engine, row)
    }

    fn distrusts(&self, human: UserId, since: Timestamp) -> Vec<Write> {
        self.0.distrusts(human, since)
    }

    fn forgets(&self, human: UserId) -> Vec<Write> {
        self.0.forgets(human)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::passkey::Passkey;

    /// Switched on again, it must not bring back what a human forgot or doubted meanwhile.
    #[test]
    fn what_is_switched_off_forgets_and_doubts_like_what_is_on() {
        let on: Arc<dyn Plugin> = Arc::new(Passkey::default());
        let off = SwitchedOff(Arc::clone(&on));
        let human = UserId::from_bits(7);
        let since = Timestamp::from_micros(0);
        assert!(on.routes().len() > off.routes().len());
        let count = |plugin: &dyn Plugin| {
            [
                plugin.forgets(human).len(),
                plugin.distrusts(human, since).len(),
                plugin.forgets_address("ada@example.com").len(),
                plugin.passing().len(),
                plugin.sweeps().len(),
                plugin.good_once().len(),
                plugin.tells(human).len(),
                plugin.migrations().len(),
                plugin.kinds().len(),
                usize::from(plugin.factors(human).is_some()),
            ]
        };
        assert_eq!(count(on.as_ref()), count(&off));
        assert!(!on.distrusts(human, since).is_empty());
        assert!(!on.sweeps().is_empty());
    }
}
