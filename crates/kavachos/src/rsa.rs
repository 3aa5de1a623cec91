//! RSA signatures of outside providers, checked with *ring*, which TLS brings along. Nothing is ever signed with RSA here.

use kavachos_core::id_token::RsaKey;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};

/// Whether an RSASSA-PKCS1-v1_5 signature with SHA-256 over this message is this key's.
pub(crate) fn verifies(key: &RsaKey, message: &[u8], signature: &[u8]) -> bool {
    let key = RsaPublicKeyComponents {
        n: key.modulus(),
        e: key.exponent(),
    };
    key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
        .is_ok()
}

#[cfg(test)]
mod tests {
    use kavachos_core::hex;
    use kavachos_core::id_token::{ProviderKey, ProviderKeySet};

    use super::*;

    /// A key and its signature over `what openssl signed`, both made with OpenSSL.
    const JWKS: &str = r#"{"keys": [{"kty": "RSA", "kid": "a", "e": "AQAB", "n": "3OP89bJmBtzyPD1Eubg3ajSFMeeKyHGax0gWWPV2iSCMClFR3zEOgpS3LwBR9DE3UHiyaKu_sC-SRqDpd0-lNUn1YHBruQa6wQq80PBNjw7G-rkEGiW4bMdRvz-SfGoMOJoH_3-pYKosevs8gfqbGfIYgeE6h4ignsaHKB11SZthghRwtnPdTqwZUj5beXaGCMxfN1Q2h2LAEgUQR1NP9uuSDD8I8gQFjRZfQxOWkSxSq9HdYWVPTf7fuPezy-mfecycuD0pk2IBj7nzK2JXzoud_ILXDvs7Tc5Ps5m0etpTebslxCAh3BlaQTJ3OeCYu0m9zOL21P1-z1oRj3xdUQ"}]}"#;
    const SIGNATURE: &str = "a249ea2f4b1e1fd457550b3ac378374cb72baa1f6f82ad2f110e842e463e3da2257a68c857d0ccf1173ff8cc19c9812bad97af9f27ac32c087e46a4a3bcf06cbbe97d35473ebd1694b41dbf614063e56e23a5fe8025a73a7f257031d25b247d530019a7a280f999b4a8d0424bc414ae0e9f57e0338d6e6ff83489e2f673e715a34b11b17f10e0187fcde2d860db551e12a92057051fb7309809c0e5b62d7f1a9eb4daec37b4c079d842a1ea4febffc8ad83576066563a575afb9ef107b312922b7eb010c1e40840ed7ec8df8ac834c1a8269a15e9bd3c975f5eeecd1e4917fc16d25845fa792518cef06c0f92a8533decd5e58eadd42bad9523f031283469a4d";

    #[test]
    fn what_another_program_signed_is_verified_and_nothing_else_is() {
        let set = ProviderKeySet::from_jwks(JWKS.as_bytes()).unwrap();
        let Some(ProviderKey::Rsa(key)) = set.get("a") else {
            panic!("the set has an RSA key");
        };
        let signature = hex::decode(SIGNATURE).unwrap();
        assert!(verifies(key, b"what openssl signed", &signature));
        assert!(!verifies(key, b"what openssl signe", &signature));
        for at in [0, 128, 255] {
            let mut changed = signature.clone();
            changed[at] ^= 1;
            assert!(!verifies(key, b"what openssl signed", &changed), "{at}");
        }
        assert!(!verifies(key, b"what openssl signed", &[0; 256]));
        assert!(!verifies(key, b"what openssl signed", &[]));
    }
}
