//! A browser, or a program, of somebody whose every answer is looked through for canaries.

use std::sync::atomic::{AtomicUsize, Ordering};

use http::Method;
use kavachos_test::{Call, Reply, TestApp};
use serde_json::Value;

use super::search::Seen;
use crate::browser::mark;

/// Pages whose form carries on what stands in their address.
const LINK_PAGES: [&str; 3] = ["/magic-link?", "/verify-email?", "/reset-password?"];
/// Fields of forms that are shown again with what was typed, and hidden ones that a page carries on.
const SHOWN_AGAIN: [&str; 6] = ["email", "username", "name", "token", "secret", "uri"];

/// A server whose answers are looked through.
pub(super) struct Watched<'a> {
    pub(super) app: &'a TestApp,
    pub(super) seen: &'a Seen,
    calls: AtomicUsize,
}

impl<'a> Watched<'a> {
    pub(super) fn new(app: &'a TestApp, seen: &'a Seen) -> Self {
        let calls = AtomicUsize::new(0);
        Self { app, seen, calls }
    }

    /// Somebody whom the server does not know yet.
    pub(super) fn tab(&self) -> Tab<'_> {
        Tab {
            watched: self,
            bearer: None,
            jar: Vec::new(),
            quoted: Vec::new(),
        }
    }

    /// A program with this credential.
    pub(super) fn program(&self, token: &str) -> Tab<'_> {
        let bearer = Some(token.to_owned());
        Tab {
            bearer,
            ..self.tab()
        }
    }

    /// Another network for each call: limits of networks are not what is tried here.
    fn network(&self) -> String {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        format!("127.{}.{}.1", 1 + call / 250, 1 + call % 250)
    }
}

/// A browser with its cookies, or a program with its credential.
pub(super) struct Tab<'a> {
    watched: &'a Watched<'a>,
    bearer: Option<String>,
    jar: Vec<(String, String)>,
    quoted: Vec<String>,
}

impl Tab<'_> {
    fn call(&self) -> Call {
        let call = self.watched.app.anonymous();
        let mut call = call.from(&self.watched.network());
        if let Some(token) = &self.bearer {
            return call.header("authorization", &format!("Bearer {token}"));
        }
        call = call.header("sec-fetch-site", "same-origin");
        let pairs = self
            .jar
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        let pairs: Vec<String> = pairs.collect();
        match pairs.is_empty() {
            true => call,
            false => call.header("cookie", &pairs.join("; ")),
        }
    }

    /// The same tab, which gets back a name or an id that it makes up: whoever does so could not mend it otherwise. A
    /// credential of ours it does not get back even then.
    pub(super) fn told(mut self, name: &str) -> Self {
        if !name.starts_with("kv_") {
            self.quoted.push(name.to_owned());
        }
        self
    }

    /// `POST` of JSON.
    pub(super) async fn post(&mut self, path: &str, body: Value) -> Reply {
        let reply = self.call().post(path, body).await;
        self.keep(path, reply, &[])
    }

    /// `POST` of JSON, with the session in a cookie.
    pub(super) async fn post_for_cookie(&mut self, path: &str, body: Value) -> Reply {
        let call = self.call().header("kavach-session", "cookie");
        let reply = call.post(path, body).await;
        self.keep(path, reply, &[])
    }

    /// `GET` of what is no page.
    pub(super) async fn get(&mut self, path: &str) -> Reply {
        let reply = self.call().get(path).await;
        self.keep(path, reply, &[])
    }

    /// Any method without a body.
    pub(super) async fn bare(&mut self, method: Method, path: &str) -> Reply {
        let reply = self.call().send(method, path, None).await;
        self.keep(path, reply, &[])
    }

    /// Any bytes with one more header.
    pub(super) async fn send(
        &mut self,
        (method, path): (Method, &str),
        (name, value): (&str, &str),
        body: Option<Vec<u8>>,
    ) -> Reply {
        let call = self.call().header(name, value);
        let reply = call.send(method, path, body).await;
        self.keep(path, reply, &[])
    }

    /// Opens a page.
    pub(super) async fn open(&mut self, path: &str) -> Reply {
        let reply = self.call().header("accept", "text/html").get(path).await;
        let is_link = LINK_PAGES.iter().any(|page| path.starts_with(page));
        let carried = path.split_once("token=").filter(|_| is_link);
        let carried = carried.map(|(_, rest)| rest.split('&').next().unwrap());
        self.keep(path, reply, carried.as_slice())
    }

    /// Opens a page and sends its form.
    pub(super) async fn form(&mut self, page: &str, path: &str, fields: &[(&str, &str)]) -> Reply {
        let shown = self.open(page).await.expect(200);
        self.form_on(&shown, path, fields).await
    }

    /// Sends the form of a page that is open.
    pub(super) async fn form_on(
        &mut self,
        page: &Reply,
        path: &str,
        fields: &[(&str, &str)],
    ) -> Reply {
        let mark = mark(page);
        let fields = [&[("csrf", mark.as_str())], fields].concat();
        let call = self.call().header("accept", "text/html");
        let reply = call.post_form(path, &fields).await;
        let again = fields.iter().filter(|(name, _)| SHOWN_AGAIN.contains(name));
        let again: Vec<&str> = again.map(|(_, value)| *value).collect();
        self.keep(path, reply, &again)
    }

    /// Sends the form of a page that is open; the answer hands out what is found on it, for the first time.
    pub(super) async fn once(
        &mut self,
        page: &Reply,
        path: &str,
        fields: &[(&str, &str)],
        find: fn(&str) -> Vec<String>,
    ) -> Reply {
        let mark = mark(page);
        let fields = [&[("csrf", mark.as_str())], fields].concat();
        let call = self.call().header("accept", "text/html");
        let reply = call.post_form(path, &fields).await.expect(200);
        let found = find(&reply.text);
        for secret in &found {
            let is_new = self.watched.seen.hide("on a page", secret);
            assert!(is_new, "it is handed out for the first time");
        }
        let found: Vec<&str> = found.iter().map(String::as_str).collect();
        self.keep(path, reply, &found)
    }

    /// What a cookie holds.
    pub(super) fn cookie(&self, name: &str) -> String {
        let mut jar = self.jar.iter();
        let kept = jar.find(|(known, _)| known == name);
        kept.unwrap_or_else(|| panic!("there is no `{name}`"))
            .1
            .clone()
    }

    fn keep(&mut self, place: &str, reply: Reply, carried: &[&str]) -> Reply {
        for cookie in reply.headers.get_all("set-cookie") {
            let (pair, rest) = cookie.to_str().unwrap().split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            self.jar.retain(|(known, _)| known != name);
            if !rest.contains("Max-Age=0") {
                self.jar.push((name.to_owned(), value.to_owned()));
            }
        }
        let place = format!("answer {} of {place}", reply.status);
        let quoted = self.quoted.iter().map(String::as_str);
        let carried: Vec<&str> = carried.iter().copied().chain(quoted).collect();
        self.watched.seen.note_answer(&place, &reply, &carried);
        reply
    }
}
