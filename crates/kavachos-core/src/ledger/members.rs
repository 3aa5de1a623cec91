//! Writes the members of a JSON object in RFC 8785 form without building a tree of values first.
//!
//! A record is written once per request, so this is on the hot path. The caller gives the members sorted by name;
//! the tests of `record` hold the result against [`crate::json::canonical`].

use std::fmt::{Display, Write};

use serde_json::Value;

use crate::hex;
use crate::json;

/// A JSON object that is being written.
pub(super) struct Members {
    out: String,
    names: Vec<&'static str>,
}

impl Members {
    /// Starts an object.
    pub(super) fn with_capacity(bytes: usize) -> Self {
        let mut out = String::with_capacity(bytes);
        out.push('{');
        Self {
            out,
            names: Vec::new(),
        }
    }

    /// Ends the object: its text, and the names of its members in order.
    pub(super) fn end(mut self) -> (String, Vec<&'static str>) {
        self.out.push('}');
        (self.out, self.names)
    }

    /// A text.
    pub(super) fn text(&mut self, name: &'static str, value: &str) {
        self.name(name);
        self.quote(value);
    }

    /// A text, if there is one.
    pub(super) fn text_if(&mut self, name: &'static str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    /// A number, or an object that is already in canonical form.
    pub(super) fn verbatim(&mut self, name: &'static str, value: impl Display) {
        self.name(name);
        self.raw(value);
    }

    /// A list of values whose texts need no escaping, if there is any.
    pub(super) fn list<T: Display>(&mut self, name: &'static str, items: &[T]) {
        self.name(name);
        self.out.push('[');
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                self.out.push(',');
            }
            self.out.push('"');
            self.raw(item);
            self.out.push('"');
        }
        self.out.push(']');
    }

    /// Any JSON value, if there is one.
    pub(super) fn value_if(&mut self, name: &'static str, value: Option<&Value>) {
        if let Some(value) = value {
            self.verbatim(name, json::canonical(value));
        }
    }

    /// Bytes in lower-case hex.
    pub(super) fn hex(&mut self, name: &'static str, bytes: &[u8]) {
        self.name(name);
        self.out.push('"');
        self.out.extend(hex::digits(bytes));
        self.out.push('"');
    }

    fn name(&mut self, name: &'static str) {
        if !self.names.is_empty() {
            self.out.push(',');
        }
        self.names.push(name);
        self.out.push('"');
        self.out.push_str(name);
        self.out.push_str("\":");
    }

    fn quote(&mut self, text: &str) {
        let plain = text
            .bytes()
            .all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\');
        if plain {
            self.out.push('"');
            self.out.push_str(text);
            self.out.push('"');
        } else {
            self.out.push_str(&json::canonical(&Value::from(text)));
        }
    }

    fn raw(&mut self, value: impl Display) {
        // Writing into a String cannot fail.
        let _ = write!(self.out, "{value}");
    }
}
