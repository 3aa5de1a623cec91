//! What is wrong with a value that came from outside, and where in it.

use std::fmt;

/// A value from outside that cannot be accepted: the member at fault and what to do about it.
///
/// `field` is a path such as `permissions[0].constraints.timeWindow.start`, empty when the whole value is meant.
/// Messages are lower case without a full stop, quote input in backticks and never carry secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    field: String,
    message: String,
}

impl Invalid {
    /// Says what is wrong with the value as a whole.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            field: String::new(),
            message: message.into(),
        }
    }

    /// Says what is wrong with one member of the value.
    pub fn at(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            message: message.into(),
        }
    }

    /// Puts the value into a larger one: `Invalid::at("end", ..).within("timeWindow")` is about `timeWindow.end`.
    #[must_use]
    pub fn within(mut self, outer: &str) -> Self {
        self.field = match self.field.as_str() {
            "" => outer.to_owned(),
            _ if outer.is_empty() => self.field,
            inner if inner.starts_with('[') => format!("{outer}{inner}"),
            inner => format!("{outer}.{inner}"),
        };
        self
    }

    /// The path of the member at fault, empty for the whole value.
    pub fn field(&self) -> &str {
        &self.field
    }

    /// What is wrong and what to do.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Invalid {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_grow_outwards() {
        let error = Invalid::at("end", "no")
            .within("timeWindow")
            .within("[2]")
            .within("permissions");
        assert_eq!(error.field(), "permissions[2].timeWindow.end");
    }
}
