//! Mail over the HTTP interface of a service, through the guarded fetcher.
//!
//! Links are never rewritten and openings never counted: a link that signs somebody in goes past nobody else, and who reads
//! when is nobody's business.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kavachos_engine::fetch::{Fetch, FetchError, FetchMethod, FetchUrl, Fetched, Fetcher};
use kavachos_engine::mail::{AUTO_SUBMITTED, Letter, MailSender, Mailbox, SendError};
use kavachos_store::BoxFuture;
use serde_json::{Value, json};

use super::MailError;
use super::ses::Ses;

/// The longest answer that is read.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// How many bytes of a name one encoded word holds, so that it is at most 75 characters (RFC 2047, 2).
const MAX_WORD_BYTES: usize = 45;

/// What a service is shown. Without `Debug` and `Display`.
#[derive(Clone)]
pub struct ApiKey(String);

impl ApiKey {
    /// This key.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

/// A service that sends mail.
#[derive(Clone)]
#[non_exhaustive]
pub enum Service {
    /// Resend.
    Resend(ApiKey),
    /// Twilio SendGrid.
    SendGrid(ApiKey),
    /// Postmark, in its stream of transactional mail.
    Postmark(ApiKey),
    /// Amazon SES, version 2 of its interface.
    Ses {
        /// `eu-central-1`
        region: String,
        /// Names the key.
        access_key_id: String,
        /// The secret access key.
        secret: ApiKey,
    },
}

/// The HTTP interface of a service.
#[must_use]
pub struct HttpApi {
    service: Service,
    base: Option<String>,
}

impl HttpApi {
    /// Of this service, where it usually is.
    pub fn new(service: Service) -> Self {
        Self {
            service,
            base: None,
        }
    }

    /// At another address, without a path: a region of the service, or a stand-in.
    pub fn at(mut self, base: impl Into<String>) -> Self {
        self.base = Some(base.into());
        self
    }

    pub(super) fn sender(self, fetcher: Arc<dyn Fetcher>) -> Result<HttpSender, MailError> {
        let base = self.base.unwrap_or_else(|| self.service.base());
        let url = format!("{}{}", base.trim_end_matches('/'), self.service.path());
        Ok(HttpSender {
            url: url.parse().map_err(MailError::Url)?,
            service: self.service,
            fetcher,
        })
    }
}

impl Service {
    fn base(&self) -> String {
        match self {
            Self::Resend(_) => "https://api.resend.com".to_owned(),
            Self::SendGrid(_) => "https://api.sendgrid.com".to_owned(),
            Self::Postmark(_) => "https://api.postmarkapp.com".to_owned(),
            Self::Ses { region, .. } => format!("https://email.{region}.amazonaws.com"),
        }
    }

    const fn path(&self) -> &'static str {
        match self {
            Self::Resend(_) => "/emails",
            Self::SendGrid(_) => "/v3/mail/send",
            Self::Postmark(_) => "/email",
            Self::Ses { .. } => "/v2/email/outbound-emails",
        }
    }

    /// The body, and the headers beside its type.
    fn request(&self, url: &FetchUrl, letter: &Letter) -> (Vec<u8>, Vec<(&'static str, String)>) {
        let bearer = |key: &ApiKey| ("authorization", format!("Bearer {}", key.reveal()));
        match self {
            Self::Resend(key) => {
                let once = ("idempotency-key", letter.id.to_string());
                (bytes(&resend(letter)), vec![bearer(key), once])
            }
            Self::SendGrid(key) => (bytes(&sendgrid(letter)), vec![bearer(key)]),
            Self::Postmark(key) => {
                let token = ("x-postmark-server-token", key.reveal().to_owned());
                let accept = ("accept", "application/json".to_owned());
                (bytes(&postmark(letter)), vec![token, accept])
            }
            Self::Ses {
                region,
                access_key_id,
                secret,
            } => {
                let ses = Ses {
                    region,
                    access_key_id,
                    secret,
                };
                ses.request(url, letter)
            }
        }
    }
}

/// Sends through one service.
pub(super) struct HttpSender {
    service: Service,
    url: FetchUrl,
    fetcher: Arc<dyn Fetcher>,
}

impl MailSender for HttpSender {
    fn send(&self, letter: Letter) -> BoxFuture<'_, Result<(), SendError>> {
        let (body, mut headers) = self.service.request(&self.url, &letter);
        headers.push(("content-type", JSON.to_owned()));
        let fetch = Fetch {
            url: self.url.clone(),
            method: FetchMethod::Post,
            headers,
            body,
            max_answer_bytes: MAX_ANSWER_BYTES,
        };
        Box::pin(async move { judged(self.fetcher.fetch(fetch).await) })
    }
}

/// The type of every body.
pub(super) const JSON: &str = "application/json";

fn resend(letter: &Letter) -> Value {
    let (name, value) = AUTO_SUBMITTED;
    json!({
        "from": mailbox(&letter.from),
        "to": [letter.to.as_str()],
        "subject": letter.subject,
        "text": letter.text,
        "html": letter.html,
        "headers": { name: value },
    })
}

fn sendgrid(letter: &Letter) -> Value {
    let (name, value) = AUTO_SUBMITTED;
    let mut from = json!({ "email": letter.from.address().as_str() });
    if let (Some(from), Some(name)) = (from.as_object_mut(), letter.from.name()) {
        from.insert("name".to_owned(), name.into());
    }
    json!({
        "personalizations": [{ "to": [{ "email": letter.to.as_str() }] }],
        "from": from,
        "subject": letter.subject,
        "content": [
            { "type": "text/plain", "value": letter.text },
            { "type": "text/html", "value": letter.html },
        ],
        "headers": { name: value },
        "tracking_settings": {
            "click_tracking": { "enable": false, "enable_text": false },
            "open_tracking": { "enable": false },
        },
    })
}

fn postmark(letter: &Letter) -> Value {
    let (name, value) = AUTO_SUBMITTED;
    json!({
        "From": mailbox(&letter.from),
        "To": letter.to.as_str(),
        "Subject": letter.subject,
        "TextBody": letter.text,
        "HtmlBody": letter.html,
        "MessageStream": "outbound",
        "TrackOpens": false,
        "TrackLinks": "None",
        "Headers": [{ "Name": name, "Value": value }],
    })
}

pub(super) fn bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

/// `"Example" <auth@example.com>`, in ASCII: another name stands there as encoded words (RFC 2047).
pub(super) fn mailbox(from: &Mailbox) -> String {
    let address = from.address().as_str();
    match from.name() {
        None => address.to_owned(),
        // A name holds neither quotes nor backslashes.
        Some(name) if name.is_ascii() => format!("\"{name}\" <{address}>"),
        Some(name) => format!("{} <{address}>", encoded_words(name)),
    }
}

fn encoded_words(name: &str) -> String {
    let mut words: Vec<String> = vec![String::new()];
    for c in name.chars() {
        match words.last_mut() {
            Some(word) if word.len() + c.len_utf8() <= MAX_WORD_BYTES => word.push(c),
            _ => words.push(c.to_string()),
        }
    }
    let encoded = words
        .iter()
        .map(|word| format!("=?utf-8?B?{}?=", STANDARD.encode(word)));
    encoded.collect::<Vec<_>>().join(" ")
}

/// What an answer means for the mail. Its body is left out: it quotes the recipient.
fn judged(answer: Result<Fetched, FetchError>) -> Result<(), SendError> {
    let Fetched {
        status,
        retry_after,
        ..
    } = answer.map_err(|error| match error {
        FetchError::Refused(_) => {
            SendError::transient("the address of the mail service may not be fetched")
        }
        FetchError::TimedOut => SendError::transient("the mail service did not answer in time"),
        _ => SendError::transient("the mail service cannot be reached"),
    })?;
    let failed = match status {
        200..=299 => return Ok(()),
        401 | 403 => SendError::transient("the mail service refuses our credentials"),
        408 | 409 | 425 | 429 | 500..=599 => SendError::transient("the mail service puts it off"),
        _ => SendError::permanent("the mail service refuses it"),
    };
    Err(failed.with_status(status).not_before(retry_after))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn answer(status: u16) -> Result<(), SendError> {
        judged(Ok(Fetched {
            status,
            retry_after: Some(Duration::from_secs(7)),
            max_age: None,
            body: b"no such user ada@example.com".to_vec(),
        }))
    }

    #[test]
    fn only_what_blames_the_mail_gives_it_up() {
        for status in [200, 202] {
            assert_eq!(answer(status), Ok(()));
        }
        for status in [401, 403, 409, 429, 500, 503] {
            let error = answer(status).unwrap_err();
            assert!(!error.is_permanent(), "{status}");
            assert_eq!(error.wait(), Some(Duration::from_secs(7)));
        }
        for status in [301, 400, 404, 413, 422] {
            let error = answer(status).unwrap_err();
            assert!(error.is_permanent(), "{status}");
            assert!(!error.to_string().contains("ada"), "{error}");
        }
    }

    #[test]
    fn a_name_is_ascii_on_the_wire() {
        let written = |text: &str| mailbox(&text.parse().unwrap());
        assert_eq!(written("auth@example.com"), "auth@example.com");
        assert_eq!(
            written("Example <auth@example.com>"),
            "\"Example\" <auth@example.com>"
        );
        assert_eq!(
            written("Zoë <auth@example.com>"),
            "=?utf-8?B?Wm/Dqw==?= <auth@example.com>"
        );
        let long = written(&format!("{} <auth@example.com>", "ë".repeat(50)));
        assert!(
            long.is_ascii() && long.split(' ').all(|word| word.len() <= 75),
            "{long}"
        );
    }
}
