//! What fuzz targets see of names to sign in with (`fuzz/`). Only with the feature `fuzzing`, and no part of the interface.

use super::name::Username;

/// A name in its one form, and what it looks like.
pub fn name(text: &str) -> Option<(String, String)> {
    let name = Username::parse(text).ok()?;
    Some((name.as_str().to_owned(), name.look()))
}

/// Whether somebody may choose a name.
pub fn may_be_chosen(text: &str) -> bool {
    Username::choose(text).is_ok()
}
