//! Signatures of requests to Amazon's services (AWS Signature Version 4), as far as mail needs them: a POST without a query.

use hmac::{Hmac, KeyInit, Mac};
use kavachos_core::hex;
use kavachos_core::time::Timestamp;
use sha2::{Digest, Sha256};

/// What signs.
pub(super) struct Signer<'a> {
    pub(super) region: &'a str,
    pub(super) service: &'a str,
    pub(super) access_key_id: &'a str,
    pub(super) secret: &'a str,
}

/// The headers of a signature.
pub(super) struct Signed {
    /// `x-amz-date`
    pub(super) date: String,
    /// `authorization`
    pub(super) authorization: String,
}

impl Signer<'_> {
    /// Signs a POST to this path with these headers, which stand in the order of their names, all of them before
    /// `x-amz-date`.
    pub(super) fn sign(
        &self,
        now: Timestamp,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Signed {
        let date = basic(now);
        let day = date.get(..8).unwrap_or_default();
        let with_date = || {
            headers
                .iter()
                .copied()
                .chain([("x-amz-date", date.as_str())])
        };
        let lines: String = with_date()
            .map(|(name, value)| format!("{name}:{value}\n"))
            .collect();
        let names: Vec<&str> = with_date().map(|(name, _)| name).collect();
        let names = names.join(";");
        let payload = hex::encode(&Sha256::digest(body));
        let request = format!("POST\n{path}\n\n{lines}\n{names}\n{payload}");
        let scope = format!("{day}/{}/{}/aws4_request", self.region, self.service);
        let request = hex::encode(&Sha256::digest(request));
        let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{request}");
        let signature = hex::encode(&hmac(&self.key(day), text.as_bytes()));
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
            self.access_key_id
        );
        Signed {
            date,
            authorization,
        }
    }

    /// The key of this day, region and service.
    fn key(&self, day: &str) -> [u8; 32] {
        let first = hmac(format!("AWS4{}", self.secret).as_bytes(), day.as_bytes());
        let parts = [self.region, self.service, "aws4_request"];
        parts
            .iter()
            .fold(first, |key, part| hmac(&key, part.as_bytes()))
    }
}

fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    // HMAC takes keys of any length, so there is no error to come of it.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        return [0; 32];
    };
    mac.update(text);
    mac.finalize().into_bytes().into()
}

/// `20150830T123600Z`
fn basic(now: Timestamp) -> String {
    let text = now.to_string();
    let seconds = text.get(..19).unwrap_or(&text);
    format!("{}Z", seconds.replace(['-', ':'], ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNER: Signer<'_> = Signer {
        region: "us-east-1",
        service: "service",
        access_key_id: "AKIDEXAMPLE",
        secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
    };
    /// 2015-08-30T12:36:00Z
    const THEN: Timestamp = Timestamp::from_micros(1_440_938_160_000_000);
    const HOST: (&str, &str) = ("host", "example.amazonaws.com");

    fn signature(headers: &[(&str, &str)], body: &[u8]) -> String {
        let signed = SIGNER.sign(THEN, "/", headers, body);
        assert_eq!(signed.date, "20150830T123600Z");
        let scope = "AKIDEXAMPLE/20150830/us-east-1/service/aws4_request";
        assert!(
            signed.authorization.contains(scope),
            "{}",
            signed.authorization
        );
        let (_, signature) = signed.authorization.rsplit_once('=').unwrap();
        signature.to_owned()
    }

    #[test]
    fn the_signature_is_that_of_the_published_test_suite() {
        // aws-sig-v4-test-suite: post-vanilla
        assert_eq!(
            signature(&[HOST], b""),
            "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"
        );
        // aws-sig-v4-test-suite: post-x-www-form-urlencoded
        let form = ("content-type", "application/x-www-form-urlencoded");
        assert_eq!(
            signature(&[form, HOST], b"Param1=value1"),
            "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"
        );
    }

    #[test]
    fn another_body_has_another_signature() {
        assert_ne!(signature(&[HOST], b""), signature(&[HOST], b"x"));
    }
}
