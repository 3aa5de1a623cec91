//! Amazon SES, version 2 of its interface (`SendEmail`).

use kavachos_engine::fetch::FetchUrl;
use kavachos_engine::mail::{AUTO_SUBMITTED, Letter};
use serde_json::{Value, json};

use super::api::{ApiKey, JSON, bytes, mailbox};
use super::sigv4::{Signed, Signer};

/// What a request to SES is signed with.
pub(super) struct Ses<'a> {
    pub(super) region: &'a str,
    pub(super) access_key_id: &'a str,
    pub(super) secret: &'a ApiKey,
}

impl Ses<'_> {
    /// The body, and the headers beside its type.
    pub(super) fn request(
        &self,
        url: &FetchUrl,
        letter: &Letter,
    ) -> (Vec<u8>, Vec<(&'static str, String)>) {
        let body = bytes(&body(letter));
        let signer = Signer {
            region: self.region,
            service: "ses",
            access_key_id: self.access_key_id,
            secret: self.secret.reveal(),
        };
        let host = url.authority();
        let Signed {
            date,
            authorization,
        } = signer.sign(
            letter.date,
            url.target(),
            &[("content-type", JSON), ("host", &host)],
            &body,
        );
        let headers = vec![("x-amz-date", date), ("authorization", authorization)];
        (body, headers)
    }
}

fn body(letter: &Letter) -> Value {
    let (name, value) = AUTO_SUBMITTED;
    let part = |text: &str| json!({ "Data": text, "Charset": "UTF-8" });
    json!({
        "FromEmailAddress": mailbox(&letter.from),
        "Destination": { "ToAddresses": [letter.to.as_str()] },
        "Content": { "Simple": {
            "Subject": part(&letter.subject),
            "Body": { "Text": part(&letter.text), "Html": part(&letter.html) },
            "Headers": [{ "Name": name, "Value": value }],
        } },
    })
}
