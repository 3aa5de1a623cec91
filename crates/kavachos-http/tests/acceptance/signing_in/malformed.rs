//! Lessons C 17: ten thousand cookies, headers and bodies that are none, over every route and page of signing in. Each is
//! answered with what is wrong with it, and none is the server's fault.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;
use kavachos_engine::plugin::Mounted;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::time::timeout;

use super::scene::{ADA, PASSWORD, Scene};
use crate::browser::mark;

const SEED: u64 = 2_026;
const REQUESTS: usize = 10_000;
/// How many are under way at once.
const AT_ONCE: usize = 100;
/// An answer that takes longer hangs.
const LONGEST: Duration = Duration::from_secs(60);

/// What the server has besides the routes of plugins.
const OWN: [(&str, &str); 27] = [
    ("GET", "/api/auth/session"),
    ("GET", "/api/auth/sessions"),
    ("GET", "/api/auth/export"),
    ("POST", "/api/auth/sign-out"),
    ("POST", "/api/auth/delete-account"),
    ("DELETE", "/api/auth/sessions/{id}"),
    ("GET", "/sign-up"),
    ("POST", "/sign-up"),
    ("GET", "/sign-in"),
    ("POST", "/sign-in"),
    ("POST", "/sign-in/guest"),
    ("POST", "/sign-in/link"),
    ("POST", "/sign-in/email-code"),
    ("POST", "/sign-in/code"),
    ("POST", "/sign-in/second-factor"),
    ("GET", "/magic-link"),
    ("POST", "/magic-link"),
    ("POST", "/verify-email"),
    ("POST", "/forgot-password"),
    ("POST", "/reset-password"),
    ("GET", "/re-authenticate"),
    ("POST", "/re-authenticate"),
    ("GET", "/account"),
    ("POST", "/account/keep"),
    ("POST", "/account/security/password"),
    ("POST", "/account/security/totp/enable"),
    ("POST", "/account/agents/new"),
];

const MEMBERS: [&str; 19] = [
    "email",
    "password",
    "name",
    "username",
    "token",
    "challenge",
    "code",
    "signIn",
    "newPassword",
    "currentPassword",
    "method",
    "credential",
    "confirm",
    "provider",
    "nonce",
    "csrf",
    "return_to",
    "with",
    "guest",
];

/// Texts that stand where they may not, or look like what they are not.
const TEXTS: [&str; 26] = [
    "",
    " ",
    "\0",
    "a\0b",
    "\r\nSet-Cookie: a=b",
    "\u{202e}ada",
    "a\u{200b}da",
    "\u{feff}",
    "ada@example.com",
    "ADA@EXAMPLE.COM\n",
    "\u{430}da@example.com",
    "ada@\u{ff45}xample.com",
    "@",
    "a@b@c",
    "ada",
    "../../etc/passwd",
    "%00",
    "%ff%fe",
    "kv_sess_",
    "kv_signin_AAAA",
    "\"",
    "';--",
    "<script>",
    "\u{10ffff}",
    "Vogelbeeren im Herbst",
    "\u{1f4a9}\u{0301}\u{0301}\u{0301}",
];

/// Seeded chance (SplitMix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit).unwrap()).unwrap()
    }

    fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }

    fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        (0..self.below(most))
            .map(|_| self.next().to_le_bytes()[0])
            .collect()
    }
}

/// What is good at the moment, so that some of what is sent gets further than the first look.
struct Good {
    session: String,
    form_cookie: String,
    mark: String,
}

/// One request, piece by piece.
struct Broken<'a> {
    dice: &'a mut Dice,
    good: &'a Good,
}

impl Broken<'_> {
    fn request(&mut self, (method, path): &(String, String)) -> Vec<u8> {
        let is_page = !path.starts_with("/api/");
        let target = self.target(path);
        let body = match method.as_str() {
            "POST" | "PUT" | "PATCH" => self.body(is_page),
            _ => Vec::new(),
        };
        let mut all = [
            method.as_bytes(),
            b" ",
            &target,
            b" HTTP/1.1\r\nHost: localhost\r\n",
        ]
        .concat();
        if !self.dice.one_in(8) {
            all.extend(b"Sec-Fetch-Site: same-origin\r\n");
        }
        if is_page {
            all.extend(b"Accept: text/html\r\n");
        }
        let kind = if is_page {
            "application/x-www-form-urlencoded"
        } else {
            "application/json"
        };
        let kind = match self.dice.one_in(10) {
            true => self.text_for_a_header(),
            false => kind.into(),
        };
        all.extend([b"Content-Type: ", &kind[..], b"\r\n"].concat());
        let credentials = self.credentials();
        all.extend(credentials);
        if self.dice.one_in(3) {
            let names = [
                "Idempotency-Key",
                "Origin",
                "Kavach-Session",
                "X-Forwarded-For",
                "User-Agent",
                "Cookie",
                "DPoP",
            ];
            let name = *self.dice.pick(&names);
            let value = self.text_for_a_header();
            all.extend([name.as_bytes(), b": ", &value, b"\r\n"].concat());
        }
        all.extend(
            format!(
                "Content-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            )
            .bytes(),
        );
        all.extend(body);
        all
    }

    fn target(&mut self, path: &str) -> Vec<u8> {
        let id: String = self
            .dice
            .bytes(40)
            .iter()
            .map(|byte| format!("%{byte:02x}"))
            .collect();
        let path = path.replace("{id}", if id.is_empty() { "x" } else { &id });
        let query = self.dice.bytes(40);
        match self.dice.below(6) {
            0 => {
                let query: String = query.iter().map(|byte| format!("%{byte:02X}")).collect();
                format!("{path}?{}={query}", self.dice.pick(&MEMBERS)).into_bytes()
            }
            // What is no part of an address at all is the protocol's to refuse.
            1 => {
                let plain = query
                    .into_iter()
                    .filter(|byte| (0x21..0x7f).contains(byte) && *byte != b'#');
                path.bytes().chain(*b"?").chain(plain).collect()
            }
            _ => path.into_bytes(),
        }
    }

    /// A cookie, or an `Authorization`: good, nearly good, or nothing of the kind.
    fn credentials(&mut self) -> Vec<u8> {
        let Good {
            session,
            form_cookie,
            ..
        } = self.good;
        let odd = self.text_for_a_header();
        let mut value = match self.dice.below(8) {
            0 => format!("__Host-kavach_session={session}").into_bytes(),
            1 => format!("__Host-kavach_form={form_cookie}").into_bytes(),
            2 => format!("__Host-kavach_session={session}; __Host-kavach_session={session}")
                .into_bytes(),
            3 => [b"__Host-kavach_session=", &odd[..]].concat(),
            4 => [
                b"__Host-kavach_device=kv_device_",
                &odd[..],
                b"; __Host-kavach_step=",
                &odd,
            ]
            .concat(),
            5 => [
                format!("__Host-kavach_form={form_cookie}; __Host-kavach_step=").as_bytes(),
                &odd,
            ]
            .concat(),
            6 => [&odd[..], b"=", &odd, b";", &odd].concat(),
            _ => vec![b"=;,\" "[self.dice.below(5)]; self.dice.below(3_000)],
        };
        if self.dice.one_in(5) && !value.is_empty() {
            let at = self.dice.below(value.len());
            value[at] = 0x80 | self.dice.next().to_le_bytes()[0];
        }
        let mut all = [b"Cookie: ", &value[..], b"\r\n"].concat();
        if self.dice.one_in(4) {
            let bearer = match self.dice.below(4) {
                0 => session.clone().into_bytes(),
                1 => session.bytes().rev().collect(),
                _ => self.text_for_a_header(),
            };
            let scheme = *self
                .dice
                .pick(&["Bearer ", "bearer", "Basic ", "DPoP ", ""]);
            all.extend([b"Authorization: ", scheme.as_bytes(), &bearer, b"\r\n"].concat());
        }
        all
    }

    /// Bytes that a header may have, and sometimes some that it may not.
    fn text_for_a_header(&mut self) -> Vec<u8> {
        let bytes = match self.dice.below(4) {
            0 => self.dice.bytes(200),
            1 => self.dice.pick(&TEXTS).bytes().collect(),
            2 => vec![b'a' + self.dice.next().to_le_bytes()[0] % 26; self.dice.below(4_000)],
            _ => format!("kv_sess_{:049}", self.dice.next()).into_bytes(),
        };
        let ends = |byte: &u8| [b'\r', b'\n'].contains(byte);
        let bytes = bytes.into_iter().filter(|byte| !ends(byte));
        let keeps = self.dice.one_in(6);
        bytes
            .filter(|byte| keeps || (*byte >= 0x20 && *byte != 0x7f))
            .collect()
    }

    fn body(&mut self, is_page: bool) -> Vec<u8> {
        let mut body = match self.dice.below(12) {
            0 => self.dice.bytes(2_000),
            1 => vec![*self.dice.pick(b"[{\"(0"); self.dice.below(20_000)],
            2 => Vec::new(),
            _ if is_page => self.fields(),
            _ => self.members(),
        };
        match self.dice.below(8) {
            0 => body.truncate(self.dice.below(body.len() + 1)),
            1 if !body.is_empty() => {
                let at = self.dice.below(body.len());
                body[at] = self.dice.next().to_le_bytes()[0];
            }
            _ => {}
        }
        body
    }

    fn fields(&mut self) -> Vec<u8> {
        let mut pairs = vec![format!("csrf={}", self.good.mark)];
        for _ in 0..self.dice.below(6) {
            let value: String = match self.dice.one_in(3) {
                true => self
                    .dice
                    .bytes(30)
                    .iter()
                    .map(|byte| format!("%{byte:02X}"))
                    .collect(),
                false => self
                    .dice
                    .pick(&TEXTS)
                    .bytes()
                    .map(|byte| format!("%{byte:02X}"))
                    .collect(),
            };
            pairs.push(format!("{}={value}", self.dice.pick(&MEMBERS)));
        }
        pairs.join("&").into_bytes()
    }

    fn members(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        for _ in 0..self.dice.below(5) {
            let name = *self.dice.pick(&MEMBERS);
            all.push(format!("\"{name}\":{}", self.value()));
        }
        format!("{{{}}}", all.join(",")).into_bytes()
    }

    fn value(&mut self) -> String {
        let number = self.dice.next();
        match self.dice.below(10) {
            0 => "null".to_owned(),
            1 => number.to_string(),
            2 => "1e400".to_owned(),
            3 => "-0.0".to_owned(),
            4 => "true".to_owned(),
            5 => format!("{}{}", "[".repeat(self.dice.below(200)), "]".repeat(self.dice.below(200))),
            6 => "{\"rawId\":\"AA\",\"type\":\"public-key\",\"response\":{\"clientDataJSON\":\"//\"}}".to_owned(),
            7 => "\"\\ud800\"".to_owned(),
            8 => format!("\"{}\"", "x".repeat(self.dice.below(5_000))),
            _ => serde_json::Value::from(*self.dice.pick(&TEXTS)).to_string(),
        }
    }
}

/// Sends these bytes from a network of its own; the status that comes back, and the beginning of the answer.
async fn sent(server: SocketAddr, from: String, bytes: Vec<u8>) -> (u16, String) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(from.parse().unwrap()).unwrap();
    let mut stream = socket.connect(server).await.unwrap();
    // A server may answer, and close, before it has read everything.
    let _ = stream.write_all(&bytes).await;
    let mut answer = Vec::new();
    let reading = timeout(LONGEST, stream.read_to_end(&mut answer)).await;
    let _ = reading.expect("it is answered");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    (status.unwrap_or_default(), answer)
}

fn routes(scene: &Scene) -> Vec<(String, String)> {
    let own = OWN.map(|(method, path)| (method.to_owned(), path.to_owned()));
    let mounted = scene.app.kavach().engine().plugin_routes();
    let of_plugins = mounted.iter().map(Mounted::route).map(|route| {
        let method = format!("{:?}", route.method).to_uppercase();
        (method, route.path.to_owned())
    });
    own.into_iter().chain(of_plugins).collect()
}

async fn good(scene: &Scene, form_cookie: &str, mark: &str) -> Good {
    let app = &scene.app;
    Good {
        session: app.session(&app.user().await).await.token,
        form_cookie: form_cookie.to_owned(),
        mark: mark.to_owned(),
    }
}

#[tokio::test]
async fn ten_thousand_malformed_requests_are_refused_and_none_is_the_servers_fault() {
    let scene = Scene::of_all(crate::setup(), None).await;
    scene.account(ADA).await;
    let page = scene.browser().get("/sign-in").await.expect(200);
    let cookie = page.header("set-cookie").split(['=', ';']).nth(1).unwrap();
    let (routes, mark) = (routes(&scene), mark(&page));
    assert!(routes.len() > OWN.len() + 25, "{}", routes.len());
    let (mut dice, mut counts) = (Dice(SEED), std::collections::BTreeMap::new());
    for hundred in 0..REQUESTS / AT_ONCE {
        // One that was good by chance may have ended the session.
        let good = good(&scene, cookie, &mark).await;
        let some: Vec<_> = (0..AT_ONCE)
            .map(|number| {
                let route = &routes[(hundred * AT_ONCE + number) % routes.len()];
                let mut broken = Broken {
                    dice: &mut dice,
                    good: &good,
                };
                (
                    format!("127.{}.{}.1:0", 1 + hundred, 1 + number),
                    broken.request(route),
                )
            })
            .collect();
        let server = scene.app.client().address();
        let all = some
            .into_iter()
            .map(|(from, bytes)| async move { (sent(server, from, bytes.clone()).await, bytes) });
        for ((status, answer), bytes) in join_all(all).await {
            let fine = [200, 201, 204, 303].contains(&status) || (400..500).contains(&status);
            assert!(fine, "{}\n\n{answer}", String::from_utf8_lossy(&bytes));
            *counts.entry(status).or_insert(0) += 1;
        }
    }
    // Most are wrong in themselves, and not only for want of a credential; some are right by chance.
    for (status, least) in [(400, 2_000), (401, 300), (403, 100), (200, 50)] {
        assert!(
            counts.get(&status).is_some_and(|count| *count > least),
            "{status}: {counts:?}"
        );
    }
    // The server lives.
    scene.app.anonymous().get("/healthz").await.expect(200);
    scene.app.advance(3_600);
    scene.sign_in(ADA, PASSWORD).await.expect(200);
}
