//! What a form sends to show that it is ours: a mark that only a page of ours could put there.
//!
//! It is an HMAC under a secret that the browser keeps for this host alone: the session's token, or before there is a
//! session a random cookie. Nobody else knows either, nothing has to be stored, and a mark ends with its session.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// What the marks are for; another use of the same secret would have another text.
const PURPOSE: &[u8] = b"kavach form 1";

/// The mark of the forms of whoever has this secret.
pub(super) fn mark(secret: &str) -> String {
    mac(secret).map_or_else(String::new, |mac| {
        BASE64_URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
    })
}

/// Whether a form is ours; in a time that tells nothing.
pub(super) fn is_ours(secret: &str, given: &str) -> bool {
    let Ok(given) = BASE64_URL_SAFE_NO_PAD.decode(given) else {
        return false;
    };
    mac(secret).is_some_and(|mac| mac.verify_slice(&given).is_ok())
}

fn mac(secret: &str) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).ok()?;
    mac.update(PURPOSE);
    Some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_good_for_its_own_secret_alone() {
        let own = mark("kv_sess_a");
        assert_eq!(own.len(), 43);
        assert!(is_ours("kv_sess_a", &own));
        assert!(!is_ours("kv_sess_b", &own));
        let short = own.get(..42).unwrap();
        let long = format!("{own}A");
        for wrong in ["", "x", short, &long, &own.to_lowercase()] {
            assert!(!is_ours("kv_sess_a", wrong), "{wrong}");
        }
    }
}
