//! How often strangers may come to where people sign in, and whether new ones may.

use std::time::Duration;

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::plugin::{Allowance, Flood};

const TEN_MINUTES: Duration = Duration::from_secs(10 * 60);
const HOUR: Duration = Duration::from_secs(60 * 60);

/// What a stranger comes for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// A session, or what leads to one.
    SignIn,
    /// An account.
    SignUp,
    /// A sign-in by a code of six digits.
    Code,
}

/// Whether strangers get accounts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SignUps {
    /// They do.
    #[default]
    Open,
    /// They do not: operators make the accounts. What is mailed to those who have one is answered the same to all others.
    Closed,
}

/// How often strangers may come, for each thing that they come for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Doors {
    /// Sign-ins, and what leads to one.
    pub sign_ins: Flood,
    /// Sign-ups.
    pub sign_ups: Flood,
    /// Codes of six digits.
    pub codes: Flood,
}

impl Doors {
    pub(crate) const fn flood(&self, door: Door) -> Flood {
        match door {
            Door::SignIn => self.sign_ins,
            Door::SignUp => self.sign_ups,
            Door::Code => self.codes,
        }
    }
}

impl Default for Doors {
    fn default() -> Self {
        let flood = |per_source, overall, per| Flood {
            per_source: Allowance::new(per_source, per),
            overall: Allowance::new(overall, per),
        };
        Self {
            sign_ins: flood(100, 100_000, TEN_MINUTES),
            sign_ups: flood(30, 10_000, HOUR),
            // Wrong ones have a budget besides (`Settings::wrong_codes`).
            codes: flood(100, 100_000, TEN_MINUTES),
        }
    }
}

impl Engine {
    /// Refuses where strangers get no accounts.
    pub(crate) fn require_sign_ups(&self) -> Result<()> {
        match self.settings().sign_ups {
            SignUps::Open => Ok(()),
            SignUps::Closed => Err(Error::Forbidden(
                "nobody signs up here; ask whoever runs this server for an account".to_owned(),
            )),
        }
    }
}
