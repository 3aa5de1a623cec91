//! Canaries: texts that must stand nowhere but in the one answer that hands them out; and a search that finds them however
//! they are written down.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use kavachos_test::Reply;

/// How many bytes of a form are looked up first; no form is shorter.
const HEAD: usize = 6;
/// How much of a place is shown in which a canary was found.
const MOST_SHOWN: usize = 1_000;
/// How much of a credential with a known prefix may be kept and shown.
const SHOWN: usize = 12;

/// Where texts came from that are looked through, and what is looked for in them.
#[derive(Default)]
pub(super) struct Seen(Mutex<Notes>);

#[derive(Default)]
struct Notes {
    /// What each canary is, and how it reads.
    canaries: Vec<(String, String)>,
    places: Vec<(String, Vec<u8>)>,
}

/// A way to write a canary down.
struct Form {
    canary: usize,
    bytes: Vec<u8>,
    /// Whether it counts only where no letter or digit stands beside it: a code is soon part of a number.
    alone: bool,
}

impl Seen {
    /// This is a canary from now on. Whether it was none before.
    pub(super) fn hide(&self, what: &str, text: &str) -> bool {
        let canaries = &mut self.0.lock().unwrap().canaries;
        let is_new = !canaries.iter().any(|(_, known)| known == text);
        if is_new {
            assert!(text.len() >= HEAD, "{what} is too short to be told");
            canaries.push((what.to_owned(), text.to_owned()));
        }
        is_new
    }

    /// What stands here is looked through.
    pub(super) fn note(&self, place: impl Into<String>, text: impl Into<Vec<u8>>) {
        let places = &mut self.0.lock().unwrap().places;
        places.push((place.into(), text.into()));
    }

    /// An answer is looked through, but for what it hands out, which nobody had before. `carried` is what
    /// the caller sent and a form has to send again.
    pub(super) fn note_answer(&self, place: &str, reply: &Reply, carried: &[&str]) {
        let mut text = format!("{:?} {}", reply.headers, reply.text);
        for (what, secret) in handed_out(reply) {
            if self.hide(&what, &secret) {
                text = text.replace(&secret, "");
            }
        }
        for secret in carried {
            text = text.replace(secret, "");
        }
        self.note(place, text);
    }

    /// The places in which the same search finds each of these texts.
    pub(super) fn places_with(&self, texts: &[&str]) -> Vec<Vec<String>> {
        let forms = Forms::of(texts.iter().copied());
        let mut all = vec![Vec::new(); texts.len()];
        for (place, bytes) in &self.0.lock().unwrap().places {
            for form in forms.in_(bytes) {
                all[form.canary].push(place.clone());
            }
        }
        all
    }

    /// Every canary, with what it is.
    pub(super) fn canaries(&self) -> Vec<(String, String)> {
        self.0.lock().unwrap().canaries.clone()
    }

    /// Where canaries stand that are to stand nowhere.
    pub(super) fn found(&self) -> Vec<String> {
        let notes = self.0.lock().unwrap();
        let forms = Forms::of(notes.canaries.iter().map(|(_, text)| text.as_str()));
        let mut found = Vec::new();
        for (place, bytes) in &notes.places {
            for form in forms.in_(bytes) {
                let (what, text) = &notes.canaries[form.canary];
                let written = String::from_utf8_lossy(&form.bytes);
                let whole = String::from_utf8_lossy(bytes);
                let around: String = whole.chars().take(MOST_SHOWN).collect();
                found.push(format!(
                    "{place}: {what} `{text}` as `{written}` in {around}"
                ));
            }
        }
        found.sort();
        found.dedup();
        found
    }
}

/// The forms of some canaries, found by how they begin.
struct Forms {
    by_head: HashMap<[u8; HEAD], Vec<Form>>,
    /// The first two bytes of some form: most of what is looked through begins like none.
    begins: Vec<bool>,
}

impl Forms {
    fn of<'a>(texts: impl Iterator<Item = &'a str>) -> Self {
        let mut by_head: HashMap<[u8; HEAD], Vec<Form>> = HashMap::new();
        let mut begins = vec![false; 1 << 16];
        for form in texts
            .enumerate()
            .flat_map(|(canary, text)| forms_of(canary, text))
        {
            let head: [u8; HEAD] = *form.bytes.first_chunk().unwrap();
            begins[usize::from(u16::from_be_bytes([head[0], head[1]]))] = true;
            by_head.entry(head).or_default().push(form);
        }
        Self { by_head, begins }
    }

    /// Those that stand in these bytes.
    fn in_(&self, bytes: &[u8]) -> Vec<&Form> {
        let mut found = Vec::new();
        for (at, head) in bytes.windows(HEAD).enumerate() {
            if !self.begins[usize::from(u16::from_be_bytes([head[0], head[1]]))] {
                continue;
            }
            let like = self.by_head.get(head).into_iter().flatten();
            for form in like.filter(|form| bytes[at..].starts_with(&form.bytes)) {
                let beside = [at.checked_sub(1), Some(at + form.bytes.len())];
                let mut beside = beside.iter().flatten().filter_map(|at| bytes.get(*at));
                if !form.alone || !beside.any(u8::is_ascii_alphanumeric) {
                    found.push(form);
                }
            }
        }
        found
    }
}

/// What an answer may hand out: to a program in these members, to a browser in its cookies.
fn handed_out(reply: &Reply) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for member in ["token", "signIn", "challenge", "secret"] {
        if let Some(text) = reply.at(&format!("/data/{member}")).as_str() {
            all.push((member.to_owned(), text.to_owned()));
        }
    }
    // A link to the app holds the secret, too.
    if let Some((_, rest)) = reply
        .at("/data/uri")
        .as_str()
        .and_then(|uri| uri.split_once("secret="))
    {
        all.push((
            "secret in a link".to_owned(),
            rest.split('&').next().unwrap().to_owned(),
        ));
    }
    for code in reply
        .at("/data/backupCodes")
        .as_array()
        .into_iter()
        .flatten()
    {
        all.push(("backup code".to_owned(), code.as_str().unwrap().to_owned()));
    }
    for cookie in reply.headers.get_all("set-cookie") {
        let (name, rest) = cookie.to_str().unwrap().split_once('=').unwrap();
        let value = rest.split(';').next().unwrap_or_default();
        if !value.is_empty() {
            all.push((format!("cookie {name}"), value.to_owned()));
        }
    }
    all
}

/// All ways to write a canary down.
fn forms_of(canary: usize, text: &str) -> Vec<Form> {
    let alone = text.bytes().all(|byte| byte.is_ascii_digit());
    let telling = telling(text);
    let mut all = vec![telling.as_bytes().to_vec()];
    all.extend(written(telling.as_bytes()));
    if let Some(raw) = raw(text) {
        all.extend(written(&raw));
        all.push(raw);
    }
    let long = all.into_iter().filter(|form| form.len() >= HEAD);
    let form = |bytes| Form {
        canary,
        bytes,
        alone,
    };
    long.map(form).collect()
}

/// What of a text nobody may see: all of it but the kind and the first characters of a credential.
fn telling(text: &str) -> &str {
    match text.starts_with("kv_") {
        true => text.get(SHOWN + 1..).unwrap(),
        false => text,
    }
}

/// The bytes that a text stands for, where it stands for any.
fn raw(text: &str) -> Option<Vec<u8>> {
    let is_base32 = text
        .bytes()
        .all(|byte| byte.is_ascii_uppercase() || (b'2'..=b'7').contains(&byte));
    if is_base32 && text.len() >= 26 {
        return Some(
            totp_rs::Secret::try_from_base32(text)
                .ok()?
                .as_bytes()
                .to_vec(),
        );
    }
    URL_SAFE_NO_PAD
        .decode(text)
        .ok()
        .filter(|bytes| bytes.len() >= 16)
}

fn written(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut texts = [
        String::new(),
        String::new(),
        String::new(),
        String::new(),
        String::new(),
    ];
    for byte in bytes {
        let _ = write!(texts[0], "{byte:02x}");
        let _ = write!(texts[1], "{byte:02X}");
        let _ = write!(texts[2], "%{byte:02x}");
        let _ = write!(texts[3], "%{byte:02X}");
        let _ = write!(texts[4], "{byte}, ");
    }
    let mut all: Vec<String> = texts.into();
    // With nothing, one and two bytes before it, since three bytes are four characters.
    for before in 0..3 {
        let padded = [&[0; 3][..before], bytes].concat();
        for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            let text = engine.encode(&padded);
            let (first, last) = ((before * 8).div_ceil(6), padded.len() * 8 / 6);
            all.push(text.get(first..last).unwrap().to_owned());
        }
    }
    all.sort();
    all.dedup();
    all.into_iter().map(String::into_bytes).collect()
}

/// The twin of every test that finds nothing: each form is found where it stands, and a code within a number is none.
#[test]
fn the_search_finds_a_canary_however_it_is_written_down() {
    let canary = "Kanarienvogel";
    let digits: Vec<String> = canary.bytes().map(|byte| byte.to_string()).collect();
    let hex: String = canary.bytes().map(|byte| format!("{byte:02x}")).collect();
    let percent: String = canary.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let written = [
        format!("<{canary}>"),
        hex.clone(),
        hex.to_uppercase(),
        percent.to_lowercase(),
        percent,
        format!("[{}, 0]", digits.join(", ")),
        STANDARD.encode(canary),
        STANDARD.encode(format!("a{canary}b")),
        URL_SAFE_NO_PAD.encode(format!("ab{canary}?")),
    ];
    for text in written {
        let seen = Seen::default();
        seen.hide("canary", canary);
        seen.note("here", text.clone());
        assert!(!seen.found().is_empty(), "{text}");
    }
    let seen = Seen::default();
    seen.hide("code", "739142");
    seen.note("a number", "1739142");
    assert_eq!(seen.found(), Vec::<String>::new());
    seen.note("a code", "\"739142\"");
    assert_eq!(seen.found().len(), 1);
}
