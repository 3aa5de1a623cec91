//! A method that is switched off: what it keeps stays, and nobody calls it.

use std::sync::Arc;

use kavachos_core::id::UserId;
use kavachos_engine::plugin::Plugin;
use kavachos_store::Write;
use kavachos_store::migration::Migration;

/// A plugin without its routes and hooks. Its tables stay, so that it can be switched on again, and so does what forgets
/// people in them.
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

    fn forgets(&self, human: UserId) -> Vec<Write> {
        self.0.forgets(human)
    }
}
