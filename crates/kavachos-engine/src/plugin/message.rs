//! What a plugin's handler gets and gives: plain values, whatever speaks HTTP around it.

use std::fmt;
use std::time::Duration;

use kavachos_core::invalid::Invalid;
use kavachos_core::json;
use kavachos_core::secret::Secret;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::sign_in::{Opened, SignedIn};
use crate::users::User;

/// How many fields a form may have.
const MAX_FIELDS: usize = 64;
/// The headers that an answer may carry. All others are the server's: nothing can be cached, named or framed otherwise.
const HEADERS: [&str; 8] = [
    "content-disposition",
    "content-language",
    "content-security-policy",
    "link",
    "referrer-policy",
    "retry-after",
    "vary",
    "www-authenticate",
];
/// What a page may do unless its plugin says otherwise: show itself, and send its forms here.
const STRICT_PAGE: &str = "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; \
                           frame-ancestors 'none'; base-uri 'none'";

/// A request to a route of a plugin. What it proved its caller with is not in it; passwords and codes are, so its `Debug`
/// shows names and no values.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// The parts of the path that the route names, decoded.
    pub path: Vec<(String, String)>,
    /// The parameters of the query, decoded; none stands there twice.
    pub query: Vec<(String, String)>,
    /// The headers whose values are text, their names in lower case, without credentials and cookies.
    pub headers: Vec<(String, String)>,
    /// The cookies, without those of the server itself.
    pub cookies: Vec<(String, String)>,
    /// The body, as it came.
    pub body: Vec<u8>,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("path", &names(&self.path))
            .field("query", &names(&self.query))
            .field("headers", &names(&self.headers))
            .field("cookies", &names(&self.cookies))
            .field("body", &format_args!("{} bytes", self.body.len()))
            .finish()
    }
}

fn names<N: AsRef<str>>(pairs: &[(N, String)]) -> Vec<&str> {
    pairs.iter().map(|(name, _)| name.as_ref()).collect()
}

fn named<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let mut pairs = pairs.iter();
    pairs
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.as_str())
}

impl Request {
    /// A part of the path; empty where the route names none like this.
    pub fn part(&self, name: &str) -> &str {
        named(&self.path, name).unwrap_or_default()
    }

    /// A parameter of the query.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        named(&self.query, name)
    }

    /// A header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        named(&self.headers, name)
    }

    /// A cookie that an answer of a plugin set, by the name that the plugin gave it.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        named(&self.cookies, &format!("{COOKIE_PREFIX}{name}"))
    }

    /// The body as strict JSON.
    ///
    /// # Errors
    /// It is sent as something else, is no such JSON, or not of this type; the member is named.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        self.require_type("application/json")?;
        let value = json::parse(&self.body)?;
        Ok(json::read(&value)?)
    }

    /// The body as the fields of a form, none of which stands there twice.
    ///
    /// # Errors
    /// It is sent as something else, is not UTF-8, or has too many fields.
    pub fn form(&self) -> Result<Vec<(String, String)>> {
        self.require_type("application/x-www-form-urlencoded")?;
        Ok(form_fields(&self.body, MAX_FIELDS)?)
    }

    fn require_type(&self, wanted: &str) -> Result<()> {
        let given = self.header("content-type").unwrap_or(wanted);
        let essence = given.split(';').next().unwrap_or_default().trim();
        if essence.eq_ignore_ascii_case(wanted) {
            return Ok(());
        }
        Err(Invalid::at("Content-Type", format!("send the body as `{wanted}`")).into())
    }
}

/// What a handler answers. Errors are no answers: it returns them, and they look like all others.
#[derive(Clone)]
pub struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    cookies: Vec<Cookie>,
    body: Vec<u8>,
    opened: Option<Box<Opened>>,
    beside: Map<String, Value>,
    device: Option<Secret>,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the answer {}", self.status)
    }
}

impl Answer {
    fn new(status: u16, content_type: &str, body: Vec<u8>) -> Self {
        Self {
            status,
            headers: vec![("content-type", content_type.to_owned())],
            cookies: Vec::new(),
            body,
            opened: None,
            beside: Map::new(),
            device: None,
        }
    }

    /// What a proof came to: 200 with the session's token and its human, or with what is left to prove. Where the token
    /// goes, into the body or into a cookie, is the caller's choice and the server's doing.
    ///
    /// # Errors
    /// As [`Answer::data`].
    pub fn signed_in(signed_in: SignedIn) -> Result<Self> {
        match signed_in {
            SignedIn::Session(opened) => Ok(Self {
                opened: Some(opened),
                ..Self::new(200, "application/json", Vec::new())
            }),
            SignedIn::SecondFactor { token, methods } => Self::data(&json!({
                "token": null,
                "next": "second_factor",
                "signIn": token.reveal(),
                "methods": methods,
            })),
        }
    }

    /// With one more member beside the session of [`Answer::signed_in`].
    #[must_use]
    pub fn beside(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.beside.insert(name.to_owned(), value.into());
        self
    }

    /// With what the browser is remembered by from now on.
    #[must_use]
    pub fn remembering(mut self, device: Option<Secret>) -> Self {
        self.device = device;
        self
    }

    /// 200 with what is to be done next, before anybody is signed in: `verify_email`, for instance.
    ///
    /// # Errors
    /// As [`Answer::data`].
    pub fn next(step: &str) -> Result<Self> {
        Self::data(&json!({ "token": null, "next": step }))
    }

    /// 200 with `{"data": ...}`.
    ///
    /// # Errors
    /// The thing cannot be written as JSON: a defect of the plugin.
    pub fn data<T: Serialize>(thing: &T) -> Result<Self> {
        let body = serde_json::to_vec(&json!({ "data": thing }));
        let body = body.map_err(|error| Error::Internal(error.to_string()))?;
        Ok(Self::new(200, "application/json", body))
    }

    /// 201 with `{"data": ...}`.
    ///
    /// # Errors
    /// As [`Answer::data`].
    pub fn created<T: Serialize>(thing: &T) -> Result<Self> {
        Ok(Self {
            status: 201,
            ..Self::data(thing)?
        })
    }

    /// 204.
    pub fn empty() -> Self {
        Self {
            headers: Vec::new(),
            ..Self::new(204, "", Vec::new())
        }
    }

    /// 200 with a page, which may load nothing from elsewhere unless [`Answer::header`] says so.
    pub fn html(page: impl Into<String>) -> Self {
        let page: String = page.into();
        Self::new(200, "text/html; charset=utf-8", page.into_bytes())
            .header("content-security-policy", STRICT_PAGE)
            .header("referrer-policy", "no-referrer")
    }

    /// 303 to a path of this server.
    ///
    /// # Errors
    /// It is no plain path: a page elsewhere is never sent to by mistake.
    pub fn see_other(path: &str) -> Result<Self> {
        let inside = path.starts_with('/') && !path.starts_with("//");
        let plain = path
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'\\');
        if !inside || !plain {
            let why = "a plugin sends a browser to something that is no path of this server";
            return Err(Error::Internal(why.to_owned()));
        }
        let mut answer = Self::empty();
        answer.status = 303;
        answer.headers.push(("location", path.to_owned()));
        Ok(answer)
    }

    /// With another status, of an answer that is no error.
    #[must_use]
    pub fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// With a header, in the place of one of the same name.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        self.headers.push((name, value.into()));
        self
    }

    /// With a cookie.
    #[must_use]
    pub fn cookie(mut self, cookie: Cookie) -> Self {
        self.cookies.push(cookie);
        self
    }

    /// Its status, headers and body, for whoever writes it to the wire.
    ///
    /// # Errors
    /// A header is none that a plugin may set, or a status is none of an answer: a defect of the plugin.
    pub fn into_wire(self) -> Result<Wire> {
        let defect = |what: String| Error::Internal(format!("a plugin answers with {what}"));
        if !(200..400).contains(&self.status) {
            return Err(defect(format!("the status {}", self.status)));
        }
        let ours = ["content-type", "location"];
        let allowed = |name: &str| HEADERS.contains(&name) || ours.contains(&name);
        if let Some((name, _)) = self.headers.iter().find(|(name, _)| !allowed(name)) {
            return Err(defect(format!("the header `{name}`")));
        }
        let mut headers = self.headers;
        for cookie in self.cookies {
            headers.push(("set-cookie", cookie.render().map_err(defect)?));
        }
        Ok(Wire {
            status: self.status,
            headers,
            body: self.body,
            opened: self.opened,
            beside: self.beside,
            device: self.device,
        })
    }
}

/// An answer that was checked, as it goes to the wire.
#[derive(Clone)]
pub struct Wire {
    /// The status.
    pub status: u16,
    /// The headers, `Set-Cookie` once for each cookie.
    pub headers: Vec<(&'static str, String)>,
    /// The body; empty where a session was opened.
    pub body: Vec<u8>,
    /// The session that was opened.
    pub opened: Option<Box<Opened>>,
    /// What is told beside it.
    pub beside: Map<String, Value>,
    /// What the browser is remembered by from now on, unless the session says it.
    pub device: Option<Secret>,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers = names(&self.headers);
        write!(f, "the answer {} with {headers:?}", self.status)
    }
}

/// The body that tells of a session, and what stands beside it: with its token, unless that goes elsewhere.
///
/// # Errors
/// The human cannot be written as JSON: a defect.
pub fn session_body(
    opened: &Opened,
    token: Option<&Secret>,
    beside: &Map<String, Value>,
) -> Result<Vec<u8>> {
    /// In the order in which people read it.
    #[derive(Serialize)]
    struct Body<'a> {
        data: Data<'a>,
    }

    #[derive(Serialize)]
    struct Data<'a> {
        token: Option<&'a str>,
        user: &'a User,
        #[serde(flatten)]
        beside: &'a Map<String, Value>,
    }

    let token = token.map(Secret::reveal);
    let user = &opened.user;
    let body = Body {
        data: Data {
            token,
            user,
            beside,
        },
    };
    serde_json::to_vec(&body).map_err(|error| Error::Internal(error.to_string()))
}

/// What every cookie's name begins with: browsers take it only over TLS, from this very host, for all paths.
const COOKIE_PREFIX: &str = "__Host-";

/// A cookie that scripts do not see and that goes to this host alone. Its `Debug` does not show the value.
#[derive(Clone, PartialEq, Eq)]
pub struct Cookie {
    name: &'static str,
    value: String,
    max_age: Option<Duration>,
}

impl fmt::Debug for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cookie({})", self.name)
    }
}

impl Cookie {
    /// A cookie until the browser is closed. Its name on the wire begins with `__Host-`.
    pub fn new(name: &'static str, value: impl Into<String>) -> Self {
        Self {
            name,
            value: value.into(),
            max_age: None,
        }
    }

    /// The same for so long; zero removes it.
    #[must_use]
    pub fn lasting(mut self, life: Duration) -> Self {
        self.max_age = Some(life);
        self
    }

    fn render(&self) -> std::result::Result<String, String> {
        let named = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        // RFC 6265, 4.1.1: cookie-octet.
        let octet = |byte: u8| byte.is_ascii_graphic() && !b"\",;\\".contains(&byte);
        let fits = !self.name.is_empty() && self.name.bytes().all(named);
        if !fits || !self.value.bytes().all(octet) || is_of_the_server(self.name) {
            return Err(format!("the cookie `{}`", self.name));
        }
        let (name, value) = (self.name, &self.value);
        let life = self
            .max_age
            .map(|life| format!("; Max-Age={}", life.as_secs()));
        let life = life.unwrap_or_default();
        Ok(format!(
            "{COOKIE_PREFIX}{name}={value}; Path=/; Secure; HttpOnly; SameSite=Lax{life}"
        ))
    }
}

/// Cookies that no plugin sets or sees.
fn is_of_the_server(name: &str) -> bool {
    name.starts_with("kavach")
}

/// The fields of a form as a browser sends it (`application/x-www-form-urlencoded`), none of which stands there twice: at
/// most so many.
///
/// # Errors
/// It is not UTF-8, or has too many fields.
pub fn form_fields(
    body: &[u8],
    most: usize,
) -> std::result::Result<Vec<(String, String)>, Invalid> {
    let text = str::from_utf8(body).map_err(|_| Invalid::new("the form is not UTF-8"))?;
    let mut fields: Vec<(String, String)> = Vec::new();
    for (name, value) in form_urlencoded::parse(text.as_bytes()) {
        if fields.len() == most {
            let message = format!("a form has at most {most} fields");
            return Err(Invalid::new(message));
        }
        if fields.iter().any(|(known, _)| *known == name) {
            return Err(Invalid::at(name, "is given twice"));
        }
        fields.push((name.into_owned(), value.into_owned()));
    }
    Ok(fields)
}

/// The cookies that a plugin may see, of the values of the header `Cookie`.
pub fn visible_cookies<'a>(headers: impl Iterator<Item = &'a str>) -> Vec<(String, String)> {
    let pairs = headers.flat_map(|value| value.split(';')).take(MAX_FIELDS);
    let pairs = pairs.filter_map(|pair| pair.trim().split_once('='));
    let visible = pairs.filter(|(name, _)| {
        let own = name.strip_prefix(COOKIE_PREFIX);
        own.is_some_and(|name| !is_of_the_server(name))
    });
    visible
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(content_type: &str, body: &str) -> Request {
        Request {
            headers: vec![("content-type".to_owned(), content_type.to_owned())],
            body: body.as_bytes().to_vec(),
            ..Request::default()
        }
    }

    #[test]
    fn a_form_is_read_once_per_field() {
        let form = "application/x-www-form-urlencoded";
        let fields = body(form, "a=1+2&b=%C3%A4").form().unwrap();
        assert_eq!(
            fields,
            [("a".into(), "1 2".into()), ("b".into(), "ä".into())]
        );
        assert!(body(form, "a=1&a=2").form().is_err());
        assert!(body(form, &"a&".repeat(2)).form().is_err());
        let many: Vec<String> = (0..=MAX_FIELDS).map(|n| format!("f{n}=1")).collect();
        assert!(body(form, &many.join("&")).form().is_err());
        assert!(body("application/json", "a=1").form().is_err());
    }

    #[test]
    fn a_browser_is_sent_nowhere_else() {
        for path in [
            "//example.com",
            "https://example.com",
            "/\\example.com",
            "/a\r\nb",
            "a",
            "",
        ] {
            assert!(Answer::see_other(path).is_err(), "{path}");
        }
        assert!(Answer::see_other("/auth/done?a=b").is_ok());
    }

    #[test]
    fn what_is_the_servers_cannot_be_set() {
        assert!(
            Answer::html("")
                .header("cache-control", "public")
                .into_wire()
                .is_err()
        );
        assert!(Answer::html("").status(500).into_wire().is_err());
        assert!(
            Answer::html("")
                .cookie(Cookie::new("kavach_session", "x"))
                .into_wire()
                .is_err()
        );
        assert!(
            Answer::html("")
                .cookie(Cookie::new("a", "x; Domain=b"))
                .into_wire()
                .is_err()
        );
        let headers = Answer::html("")
            .cookie(Cookie::new("a", "x"))
            .into_wire()
            .unwrap()
            .headers;
        let cookie = "__Host-a=x; Path=/; Secure; HttpOnly; SameSite=Lax".to_owned();
        assert!(headers.contains(&("set-cookie", cookie)), "{headers:?}");
    }

    #[test]
    fn the_servers_own_cookies_are_not_seen() {
        let seen = visible_cookies(["a=1; __Host-kavach_session=s", "__Host-b=2"].into_iter());
        assert_eq!(seen, [("__Host-b".to_owned(), "2".to_owned())]);
    }

    #[test]
    fn what_is_sent_shows_in_no_log_and_its_names_do() {
        const CANARY: &str = "canary";
        let pair = |name: &str| vec![(name.to_owned(), CANARY.to_owned())];
        let request = Request {
            path: pair("part"),
            query: pair("token"),
            headers: pair("x-secret"),
            cookies: pair("__Host-device"),
            body: CANARY.as_bytes().to_vec(),
        };
        let cookie = Cookie::new("device", CANARY);
        let wire = Answer::html("").cookie(cookie.clone()).into_wire().unwrap();
        let shown = format!("{request:?} {cookie:?} {wire:?}");
        // Bytes are shown as numbers.
        let bytes = format!("{:?}", &CANARY.as_bytes()[..3]);
        assert!(
            !shown.contains(CANARY) && !shown.contains(bytes.trim_matches(['[', ']'])),
            "{shown}"
        );
        for name in [
            "part",
            "token",
            "x-secret",
            "__Host-device",
            "6 bytes",
            "Cookie(device)",
            "set-cookie",
        ] {
            assert!(shown.contains(name), "{name}: {shown}");
        }
    }
}
