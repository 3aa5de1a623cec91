//! What fuzz targets see of passwords (`fuzz/`). Only with the feature `fuzzing`, and no part of the interface.

use super::Password;

/// The form in which a password is hashed.
pub fn one_form(text: &str) -> Option<String> {
    let password = Password::parse(text).ok()?;
    Some(password.as_str().to_owned())
}
