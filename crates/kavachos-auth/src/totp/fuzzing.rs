//! What fuzz targets see of codes (`fuzz/`). Only with the feature `fuzzing`, and no part of the interface.

use kavachos_core::time::Timestamp;

use super::backup::BackupCode;
use super::code::{SEED_BYTES, Seed};

/// The step that a code of an app is of.
pub fn step(seed: [u8; SEED_BYTES], code: &str, now: Timestamp) -> Option<u64> {
    Seed::new(seed).step_of(code, now).map(|step| step.0)
}

/// A backup code that somebody typed, as it is shown.
pub fn backup(typed: &str) -> Option<String> {
    BackupCode::read(typed).map(|code| code.shown())
}
