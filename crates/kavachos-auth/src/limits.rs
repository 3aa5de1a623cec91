//! How often strangers may call: of one network (/24, /64), and of everyone together.

use std::time::Duration;

use kavachos_engine::plugin::{Allowance, CallerType, Flood};

const TEN_MINUTES: Duration = Duration::from_secs(10 * 60);
const HOUR: Duration = Duration::from_secs(60 * 60);

/// Sign-ins, and what leads to one: 100 of one source in ten minutes.
pub(crate) const SIGN_INS: CallerType = CallerType::Open(Flood {
    per_source: Allowance::new(100, TEN_MINUTES),
    overall: Allowance::new(100_000, TEN_MINUTES),
});

/// Sign-ups: 30 of one source in an hour.
pub(crate) const SIGN_UPS: CallerType = CallerType::Open(Flood {
    per_source: Allowance::new(30, HOUR),
    overall: Allowance::new(10_000, HOUR),
});

/// Codes of six digits: everyone together tries so few that one in a million is not found by trying many accounts.
pub(crate) const CODES: CallerType = CallerType::Open(Flood {
    per_source: Allowance::new(100, TEN_MINUTES),
    overall: Allowance::new(5_000, TEN_MINUTES),
});
