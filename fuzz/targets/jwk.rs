//! `PublicKey::from_jwk`.
#![no_main]

use kavachos_core::token::PublicKey;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Ok(jwk) = kavachos_core::json::parse(input) else {
        return;
    };
    if let Ok(key) = PublicKey::from_jwk(&jwk) {
        assert_eq!(PublicKey::from_jwk(&key.to_jwk()), Ok(key));
    }
});
