//! How often routes answer that are open to everyone.

use std::time::Duration;

use kavachos_engine::plugin::{Allowance, Flood};

/// Attempts to sign in: a hundred in ten minutes of one network.
pub(crate) const SIGN_IN: Flood = Flood {
    per_source: Allowance::new(100, Duration::from_secs(600)),
    overall: Allowance::new(20_000, Duration::from_secs(600)),
};
