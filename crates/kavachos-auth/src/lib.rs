//! How people sign in: every method is a module here, and a plugin of the engine.
//!
//! Promises: a method proves something and says so; the session is made by the engine's one issue function, in the commit
//! that consumes the proof. What a method answers, and how long that takes, does not tell whether an account exists. It
//! knows no HTTP server and no database: it depends on `kavachos-core`, the contract of `kavachos-store` and
//! `kavachos-engine`, and is portable as they are.

mod mailbox;
mod one_time;
mod own;
mod switch;

pub mod anonymous;
pub mod change_email;
pub mod email_otp;
pub mod email_password;
pub mod magic_link;
pub mod passkey;
pub mod password;
pub mod password_reset;
pub mod provider;
pub mod session_freshness;
pub mod totp;
pub mod username_password;

pub use switch::SwitchedOff;

/// What fuzz targets see: no part of the interface, and there only with the feature `fuzzing`.
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing {
    pub use crate::passkey::fuzzing as passkey;
    pub use crate::password::fuzzing as password;
    pub use crate::totp::fuzzing as totp;
    pub use crate::username_password::fuzzing as username;
}
