//! Passwords: what they may be, how they are kept, and how one is compared.
//!
//! Promises: a password is brought into one form where it enters ([`Password`]) and shown by nothing after that; it is kept
//! as Argon2id with the cost that is configured, and hashed again with it at the next sign-in where it was not
//! ([`Passwords`]); whoever has no password here takes as much work as whoever has one at that cost, or at the highest that
//! this process met so far. It runs on threads of its own, of which so many are as are configured. What people may choose is
//! [`Policy`]'s and [`Breached`]'s to say, when they choose.

mod breached;
mod choosing;
mod confirm;
mod cost;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod hasher;
mod passwords;
mod policy;
mod secret;

pub use breached::{Breached, Sighting, WhenUnreachable};
pub use choosing::Choosing;
pub(crate) use choosing::Chosen;
pub use confirm::ConfirmByPassword;
pub(crate) use confirm::{MUST_RESET, account, account_of};
pub use cost::Cost;
pub use hasher::{PhcText, Verdict};
pub use passwords::Passwords;
pub(crate) use passwords::Stretched;
pub use policy::{Policy, Standing};
pub use secret::Password;
