//! Whether a password is in the list of stolen ones of Have I Been Pwned, without telling it which password is meant.
//!
//! Only the first 20 of the 160 bits of its SHA-1 are sent (k-anonymity): about a thousand entries of the list begin like
//! that, and all of them come back, padded so that not even the length of the answer says which were asked for. It is asked
//! when a password is chosen, never at sign-in. SHA-1 is what the list is kept by; nothing here rests on it.

use std::time::Duration;

use kavachos_core::hex;
use kavachos_core::invalid::Invalid;
use kavachos_engine::fetch::{Fetch, FetchMethod, FetchUrl};
use kavachos_engine::{Engine, Error, Result};
use sha1::{Digest, Sha1};
use zeroize::Zeroizing;

use super::secret::Password;

/// Where the list is.
const LIST: &str = "https://api.pwnedpasswords.com";
/// How long it may take. Somebody waits.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest answer that is read: several times what a padded one has.
const MAX_ANSWER_BYTES: usize = 256 * 1024;
/// How many digits of the hash are sent.
const SENT_DIGITS: usize = 5;
/// How many digits of it come back.
const REST_DIGITS: usize = 35;

/// What holds when the list cannot be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenUnreachable {
    /// The password may be chosen, and the record says that it was not checked.
    Accept,
    /// No password may be chosen until the list answers again.
    Refuse,
}

/// What is known of a password that may be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sighting {
    /// The list was asked, and it is not in it.
    NotListed,
    /// The list could not be asked.
    NotChecked,
}

impl Sighting {
    /// As it stands in the details of a record.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotListed => "not_listed",
            Self::NotChecked => "not_checked",
        }
    }
}

/// Asks the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breached {
    list: String,
    unreachable: WhenUnreachable,
    patience: Duration,
}

impl Breached {
    /// The public list.
    pub fn new(unreachable: WhenUnreachable) -> Self {
        Self {
            list: LIST.to_owned(),
            unreachable,
            patience: PATIENCE,
        }
    }

    /// A list with the same interface elsewhere: a mirror of one's own.
    ///
    /// # Errors
    /// The address is none that can be fetched from.
    pub fn at(list: &str, unreachable: WhenUnreachable) -> std::result::Result<Self, Invalid> {
        let list = list.trim_end_matches('/').to_owned();
        let _: FetchUrl = format!("{list}/range/00000").parse()?;
        Ok(Self {
            list,
            ..Self::new(unreachable)
        })
    }

    /// Whether this password may be chosen.
    ///
    /// # Errors
    /// [`Error::Invalid`] of the member `password` when it is in the list; [`Error::Busy`] when the list cannot be asked and
    /// nothing may be chosen then.
    pub async fn check(&self, engine: &Engine, password: &Password) -> Result<Sighting> {
        let hash = digits(password);
        let Some((sent, rest)) = hash.split_at_checked(SENT_DIGITS) else {
            return Err(Error::Internal("a hash is too short".to_owned()));
        };
        let asked = engine.within(self.patience, self.ask(engine, sent)).await;
        let answer = asked.unwrap_or_else(|| Err("no answer came in time".to_owned()));
        match answer.and_then(|answer| is_listed(&answer, rest)) {
            Ok(false) => Ok(Sighting::NotListed),
            Ok(true) => {
                let message =
                    "is in a list of stolen passwords, so others will try it; choose another";
                Err(Invalid::at("password", message).into())
            }
            Err(reason) => {
                tracing::warn!(%reason, "the list of stolen passwords cannot be asked");
                match self.unreachable {
                    WhenUnreachable::Accept => Ok(Sighting::NotChecked),
                    WhenUnreachable::Refuse => Err(Error::Busy),
                }
            }
        }
    }

    /// All entries that begin like this; why not, otherwise.
    async fn ask(&self, engine: &Engine, sent: &str) -> std::result::Result<Vec<u8>, String> {
        let url = format!("{}/range/{sent}", self.list);
        let fetch = Fetch {
            url: url.parse().map_err(|wrong: Invalid| wrong.to_string())?,
            method: FetchMethod::Get,
            headers: vec![("Add-Padding", "true".to_owned())],
            body: Vec::new(),
            max_answer_bytes: MAX_ANSWER_BYTES,
        };
        let fetched = engine.fetcher().fetch(fetch).await;
        let fetched = fetched.map_err(|error| error.to_string())?;
        match fetched.status {
            200 => Ok(fetched.body),
            status => Err(format!("it answers with the status {status}")),
        }
    }
}

/// The SHA-1 of a password in hex.
fn digits(password: &Password) -> Zeroizing<String> {
    let hash: [u8; 20] = Sha1::digest(password.as_str().as_bytes()).into();
    let mut text = Zeroizing::new(hex::encode(&hash));
    text.make_ascii_uppercase();
    text
}

/// Whether the rest of a hash is among the entries. Padding has the count 0. An answer that is not all entries is none.
///
/// Not in constant time: the entries are public, and the only one who can time it is whoever chose the password.
fn is_listed(answer: &[u8], rest: &str) -> std::result::Result<bool, String> {
    let text = str::from_utf8(answer).map_err(|_| "the answer is no text".to_owned())?;
    let (mut any, mut found) = (false, false);
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let Some((entry, count)) = entry(line.trim()) else {
            return Err("the answer is no list".to_owned());
        };
        any = true;
        found |= count > 0 && entry.eq_ignore_ascii_case(rest);
    }
    if any {
        return Ok(found);
    }
    Err("the answer is empty".to_owned())
}

/// An entry and how often it was seen.
fn entry(line: &str) -> Option<(&str, u64)> {
    let (entry, count) = line.split_once(':')?;
    let is_hash = entry.len() == REST_DIGITS && entry.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hash.then_some(())?;
    Some((entry, count.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::{Arc, Mutex};

    use axum::Router;
    use axum::extract::{Path, State};
    use axum::http::HeaderMap;
    use axum::routing::get;
    use kavachos_engine::fetch::Loopback;
    use kavachos_test::kavachos::Kavach;

    use super::*;

    /// Its SHA-1 is 5BAA6 1E4C9B93F3F0682250B6CF8331B7EE68FD8.
    const STOLEN: &str = "password";
    const REST: &str = "1E4C9B93F3F0682250B6CF8331B7EE68FD8";

    /// What a list of the test's own answers.
    #[derive(Clone)]
    enum Answer {
        Text(String),
        Status(u16),
        Never,
    }

    /// What it was asked: the first digits, and the header for padding.
    type Asked = (String, Option<String>);

    #[derive(Clone)]
    struct List {
        answer: Answer,
        asked: Arc<Mutex<Vec<Asked>>>,
    }

    impl List {
        fn answering(answer: Answer) -> Self {
            Self {
                answer,
                asked: Arc::default(),
            }
        }

        async fn start(&self) -> String {
            let router = Router::new()
                .route("/range/{prefix}", get(answer))
                .with_state(self.clone());
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            tokio::spawn(async move { axum::serve(listener, router).await });
            format!("http://{address}")
        }
    }

    async fn answer(
        State(list): State<List>,
        Path(prefix): Path<String>,
        headers: HeaderMap,
    ) -> (axum::http::StatusCode, String) {
        let padding = headers.get("add-padding");
        let padding = padding.map(|value| value.to_str().unwrap().to_owned());
        list.asked.lock().unwrap().push((prefix, padding));
        match list.answer {
            Answer::Text(text) => (axum::http::StatusCode::OK, text),
            Answer::Status(status) => (status.try_into().unwrap(), entries(REST, 9)),
            Answer::Never => pending().await,
        }
    }

    fn entries(rest: &str, count: u32) -> String {
        let other = "0".repeat(REST_DIGITS);
        let padding = "F".repeat(REST_DIGITS);
        format!("{other}:3\r\n{rest}:{count}\r\n{padding}:0\r\n")
    }

    async fn asked(list: &str, unreachable: WhenUnreachable) -> Result<Sighting> {
        asked_for(list, unreachable, Duration::from_secs(60)).await
    }

    async fn asked_for(
        list: &str,
        unreachable: WhenUnreachable,
        patience: Duration,
    ) -> Result<Sighting> {
        let builder = Kavach::builder().fetching_from_loopback(Loopback::Allowed);
        let kavach = builder.build().await.unwrap();
        let password = Password::parse(STOLEN).unwrap();
        let mut list = Breached::at(list, unreachable).unwrap();
        list.patience = patience;
        let told = list.check(kavach.engine(), &password).await;
        kavach.close().await;
        told
    }

    async fn answered(answer: Answer, unreachable: WhenUnreachable) -> Result<Sighting> {
        let patience = match answer {
            Answer::Never => Duration::from_millis(50),
            _ => Duration::from_secs(60),
        };
        let list = List::answering(answer).start().await;
        asked_for(&list, unreachable, patience).await
    }

    #[tokio::test]
    async fn a_stolen_password_is_refused_and_only_five_digits_are_sent() {
        let list = List::answering(Answer::Text(entries(REST, 9)));
        let address = list.start().await;
        for unreachable in [WhenUnreachable::Accept, WhenUnreachable::Refuse] {
            let told = asked(&address, unreachable).await;
            let Err(Error::Invalid(why)) = told else {
                panic!("{told:?}");
            };
            assert_eq!(why.field(), "password");
            assert!(!why.message().contains(STOLEN) || why.message().contains("passwords"));
        }
        let asked = list.asked.lock().unwrap().clone();
        let padded = Some("true".to_owned());
        assert_eq!(asked, vec![("5BAA6".to_owned(), padded); 2]);
    }

    #[tokio::test]
    async fn what_is_not_in_the_list_may_be_chosen_and_padding_is_not_in_it() {
        let other = "A".repeat(REST_DIGITS);
        for text in [entries(&other, 9), entries(REST, 0)] {
            let told = answered(Answer::Text(text), WhenUnreachable::Refuse).await;
            assert_eq!(told, Ok(Sighting::NotListed));
        }
        let small = entries(&REST.to_lowercase(), 1);
        let told = answered(Answer::Text(small), WhenUnreachable::Accept).await;
        assert!(told.is_err());
    }

    #[tokio::test]
    async fn a_list_that_cannot_be_asked_does_as_it_is_configured() {
        let garbage = |text: &str| Answer::Text(text.to_owned());
        let cut = format!("{}:9\r\n{}", "0".repeat(REST_DIGITS), "1E4C9B93F3F06822");
        let long = format!("{}\r\n", "0".repeat(64)).repeat(10_000);
        let cases = [
            Answer::Never,
            Answer::Status(503),
            Answer::Status(302),
            garbage(""),
            garbage("<html>sign in to this network</html>"),
            garbage(&cut),
            garbage(&long),
            garbage(&format!("{REST}:-1")),
        ];
        for answer in cases {
            let told = answered(answer.clone(), WhenUnreachable::Accept).await;
            assert_eq!(told, Ok(Sighting::NotChecked));
            let told = answered(answer, WhenUnreachable::Refuse).await;
            assert_eq!(told, Err(Error::Busy));
        }
        // Nobody listens there.
        let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", gone.local_addr().unwrap());
        drop(gone);
        let told = asked(&address, WhenUnreachable::Accept).await;
        assert_eq!(told, Ok(Sighting::NotChecked));
        let told = asked(&address, WhenUnreachable::Refuse).await;
        assert_eq!(told, Err(Error::Busy));
    }

    #[test]
    fn only_addresses_that_can_be_fetched_from_are_taken() {
        let at = |list| Breached::at(list, WhenUnreachable::Accept).is_ok();
        assert!(at("https://pwned.example.com/v1/"));
        assert!(!at("http://pwned.example.com"));
        assert!(!at("pwned.example.com"));
    }
}
