//! What fuzz targets see of requests (`fuzz/`). Only with the feature `fuzzing`, and no part of the interface.

use crate::client::{Client, Credential};
use crate::form::Form;

/// The parameters of a body, written down as one; `None` of what is refused.
pub fn parameters(body: &[u8]) -> Option<String> {
    let nothing = Form::read(b"").ok()?;
    Some(Form::read(body).ok()?.taken(&nothing))
}

/// The id and the secret that a client shows in a header `Authorization`.
pub fn basic(header: &str) -> Option<(String, String)> {
    let client = Client::Authenticating(Some(header.to_owned()));
    match Credential::read(&client, &mut Form::read(b"").ok()?) {
        Ok(Some(Credential::Secret(id, secret))) => Some((id, secret)),
        _ => None,
    }
}
