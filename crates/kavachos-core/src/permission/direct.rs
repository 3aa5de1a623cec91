//! Sets read straight from JSON text, as tokens are: a value in between would cost more than the reading.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};

use super::{Permission, PermissionSet, Tally};
use crate::action::Actions;
use crate::json::{self, Exact, Object};
use crate::resource::ResourcePattern;

/// A set that is read as [`PermissionSet::from_json`] reads what [`json::parse`] read, except that an error does not
/// name its place.
pub(crate) struct Direct(pub(crate) PermissionSet);

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    resource: ResourcePattern,
    actions: Actions,
    #[serde(default, deserialize_with = "json::stated")]
    constraints: Option<Exact>,
}

impl<'de> Deserialize<'de> for Direct {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Direct;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of permissions")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Direct, A::Error> {
        let mut permissions = Vec::new();
        // Counted while they are read, so that what comes after too many is not even compiled.
        let mut tally = Tally::default();
        while let Some(Object(wire)) = items.next_element::<Object<Wire>>()? {
            let permission = wire.take().map_err(de::Error::custom)?;
            tally.add(&permission).map_err(de::Error::custom)?;
            permissions.push(permission);
        }
        (PermissionSet::new(permissions).map(Direct)).map_err(de::Error::custom)
    }
}

impl Wire {
    fn take(self) -> Result<Permission, crate::invalid::Invalid> {
        let constraints = match self.constraints {
            Some(Exact(value)) => json::read(&value)?,
            None => crate::constraint::Constraints::default(),
        };
        Ok(Permission::new(self.resource, self.actions, constraints))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_reading_accept_the_same_and_read_the_same() {
        let texts = [
            r#"[{"resource": "a:*", "actions": ["r", "w"]}, {"actions": ["*"], "resource": "b"}]"#,
            r#"[{"resource": "a", "actions": ["r"], "constraints": {"maxCallsPerHour": 5.0}}]"#,
            r#"[{"resource": "a", "actions": ["r"], "constraints": {}}]"#,
            r#"[{"resource": "a", "actions": ["r"], "constraints": null}]"#,
            r#"[{"resource": "a", "actions": ["r"], "constraints": {"x": 1}}]"#,
            r#"[{"resource": "a", "actions": ["r"], "constraints": {"ipAllowlist": ["::1"], "ipAllowlist": ["::2"]}}]"#,
            r#"[{"resource": "a", "actions": ["r"], "actions": ["w"]}]"#,
            r#"[{"resource": "a", "actions": ["r"], "rate": 1}]"#,
            r#"[{"resource": "a"}]"#,
            r#"[{"actions": ["r"]}]"#,
            r#"[{"resource": "a b", "actions": ["r"]}]"#,
            r#"[{"resource": 1, "actions": ["r"]}]"#,
            r#"[{"resource": "a", "actions": "r"}]"#,
            r#"[["a", ["r"]]]"#,
            r#"["a"]"#,
            r#"[null]"#,
            r#"[]"#,
            r#"{}"#,
            r#"null"#,
        ];
        let (mut read, mut refused) = (0, 0);
        for text in texts {
            let direct = serde_json::from_str::<Direct>(text).ok();
            let strict = json::parse(text.as_bytes()).ok();
            let strict = strict.and_then(|value| PermissionSet::from_json(&value).ok());
            assert_eq!(direct.map(|Direct(set)| set), strict, "{text}");
            *(if strict.is_some() {
                &mut read
            } else {
                &mut refused
            }) += 1;
        }
        assert_eq!((read, refused), (3, 16));
    }

    #[test]
    fn a_list_ends_where_the_other_reader_ends_it() {
        let many = |count: usize| {
            let one = |n| format!(r#"{{"resource": "a{n}", "actions": ["r"]}}"#);
            format!("[{}]", (0..count).map(one).collect::<Vec<_>>().join(","))
        };
        let read = |count| serde_json::from_str::<Direct>(&many(count)).is_ok();
        assert!(read(super::super::MAX_PERMISSIONS));
        assert!(!read(super::super::MAX_PERMISSIONS + 1));
    }
}
