//! The body of a request to an endpoint: `application/x-www-form-urlencoded` (RFC 6749, appendix B) with one reading.

use crate::refusal::{Code, Refusal};

/// The most parameters of one request.
pub const MAX_PARAMETERS: usize = 64;
/// What may stand more than once (RFC 8693, section 2.1; RFC 8707, section 2). Nothing else may (RFC 6749, section 3.2).
const REPEATABLE: [&str; 2] = ["audience", "resource"];

/// The parameters of a request, taken out one by one. It has no `Debug`: some of them are credentials.
#[derive(Clone)]
pub(crate) struct Form {
    left: Vec<(String, String)>,
}

impl Form {
    /// Reads a body. A parameter without a value is none (RFC 6749, section 3.1).
    ///
    /// # Errors
    /// [`Code::InvalidRequest`] when it cannot be read without doubt, or says something twice.
    pub(crate) fn read(body: &[u8]) -> Result<Self, Refusal> {
        let pairs = body.split(|byte| *byte == b'&');
        let mut left: Vec<(String, String)> = Vec::new();
        for (count, pair) in pairs.filter(|pair| !pair.is_empty()).enumerate() {
            if count == MAX_PARAMETERS {
                let message = format!("a request has at most {MAX_PARAMETERS} parameters");
                return Err(Refusal::new(Code::InvalidRequest, message));
            }
            let (name, value) = read_pair(pair).ok_or_else(|| {
                Refusal::new(
                    Code::InvalidRequest,
                    "the body cannot be read: send `application/x-www-form-urlencoded` in UTF-8",
                )
            })?;
            if value.is_empty() {
                continue;
            }
            let twice = left.iter().any(|(known, _)| *known == name);
            if twice && !REPEATABLE.contains(&name.as_str()) {
                let message = format!("the parameter `{name}` is given twice");
                return Err(Refusal::new(Code::InvalidRequest, message));
            }
            left.push((name, value));
        }
        Ok(Self { left })
    }

    /// Takes a parameter that stands at most once.
    pub(crate) fn take(&mut self, name: &str) -> Option<String> {
        let at = self.left.iter().position(|(known, _)| known == name)?;
        Some(self.left.remove(at).1)
    }

    /// Looks at a parameter that stands at most once.
    pub(crate) fn peek(&self, name: &str) -> Option<&str> {
        let found = self.left.iter().find(|(known, _)| known == name)?;
        Some(&found.1)
    }

    /// Takes a parameter that must be there.
    ///
    /// # Errors
    /// [`Code::InvalidRequest`] names it.
    pub(crate) fn need(&mut self, name: &str) -> Result<String, Refusal> {
        self.take(name).ok_or_else(|| {
            Refusal::new(
                Code::InvalidRequest,
                format!("the parameter `{name}` is missing"),
            )
        })
    }

    /// Adds a parameter.
    pub(crate) fn put(&mut self, name: &str, value: String) {
        self.left.push((name.to_owned(), value));
    }

    /// What was taken since it was this, as a body.
    pub(crate) fn taken(&self, left: &Self) -> String {
        let taken = self.left.iter().filter(|pair| !left.left.contains(pair));
        form_urlencoded::Serializer::new(String::new())
            .extend_pairs(taken)
            .finish()
    }

    /// Takes every value of a parameter that may be repeated, in their order.
    pub(crate) fn take_all(&mut self, name: &str) -> Vec<String> {
        let (taken, left) = std::mem::take(&mut self.left)
            .into_iter()
            .partition(|(known, _)| known == name);
        self.left = left;
        let taken: Vec<(String, String)> = taken;
        taken.into_iter().map(|(_, value)| value).collect()
    }
}

fn read_pair(pair: &[u8]) -> Option<(String, String)> {
    let mut parts = pair.splitn(2, |byte| *byte == b'=');
    let name = decoded(parts.next()?)?;
    let value = decoded(parts.next().unwrap_or_default())?;
    Some((name, value))
}

/// The text of one name or value; `None` of a broken escape or of what is no UTF-8.
pub(crate) fn decoded(text: &[u8]) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter().copied();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => digit(rest.next()?)? << 4 | digit(rest.next()?)?,
            plain => plain,
        });
    }
    String::from_utf8(bytes).ok()
}

fn digit(byte: u8) -> Option<u8> {
    let digit = char::from(byte).to_digit(16)?;
    u8::try_from(digit).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(body: &str, name: &str) -> Option<String> {
        Form::read(body.as_bytes()).ok()?.take(name)
    }

    #[test]
    fn values_are_decoded_and_empty_ones_are_none() {
        assert_eq!(taken("a=b+c%2Bd", "a").as_deref(), Some("b c+d"));
        assert_eq!(taken("a=%C3%A9", "a").as_deref(), Some("é"));
        assert_eq!(taken("a=b=c", "a").as_deref(), Some("b=c"));
        assert_eq!(taken("%61=1", "a").as_deref(), Some("1"));
        for none in ["", "a", "a=", "b=1", "&&"] {
            assert_eq!(taken(none, "a"), None, "{none}");
        }
        // One of two is empty, so there is one.
        assert_eq!(taken("a=&a=1", "a").as_deref(), Some("1"));
    }

    #[test]
    fn what_has_no_one_reading_is_refused() {
        for wrong in [
            "a=%", "a=%4", "a=%zz", "a=%C3", "%FF=1", "a=1&a=1", "x=1&x=2",
        ] {
            let refusal = Form::read(wrong.as_bytes()).err();
            let code = refusal.map(|refusal| refusal.code());
            assert_eq!(code, Some(Code::InvalidRequest), "{wrong}");
        }
        // The twin: what may be repeated.
        let mut form = Form::read(b"resource=a&x=1&resource=b").ok().unwrap();
        assert_eq!(form.take_all("resource"), ["a", "b"]);
        assert_eq!(form.take("x").as_deref(), Some("1"));
        let mut form = Form::read(b"x=1&resource=a&resource=b").ok().unwrap();
        form.take("x");
        assert_eq!(form.take_all("resource"), ["a", "b"], "in their order");
    }

    #[test]
    fn what_was_taken_is_told_from_what_nobody_asked_for() {
        let whole = Form::read(b"resource=a&x=1&resource=b&y=2").ok().unwrap();
        let mut left = whole.clone();
        assert_eq!(whole.taken(&left), "");
        left.take("y");
        left.take_all("resource");
        assert_eq!(whole.taken(&left), "resource=a&resource=b&y=2");
    }

    #[test]
    fn there_is_a_bound_on_parameters() {
        let of = |count: usize| {
            let pairs: Vec<String> = (0..count).map(|n| format!("p{n}=1")).collect();
            Form::read(pairs.join("&").as_bytes()).is_ok()
        };
        assert!(of(MAX_PARAMETERS));
        assert!(!of(MAX_PARAMETERS + 1));
    }
}
