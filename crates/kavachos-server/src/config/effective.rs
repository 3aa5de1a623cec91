//! Every setting with the value that counts and where it came from.

use serde_json::{Value, json};

use super::database::Database;
use super::layer::Layers;
use super::providers;
use super::setting::{Form, SETTINGS, Setting};

/// What stands for a secret, which is never shown.
const REDACTED: &str = "[redacted]";

/// A setting as it counts.
pub(crate) struct Effective {
    /// The full key.
    pub(crate) key: &'static str,
    /// The value; `None` where there is none.
    pub(crate) value: Option<String>,
    /// Where it came from.
    pub(crate) from: String,
    form: Form,
}

impl Effective {
    /// The setting as JSON: numbers and lists are such.
    pub(crate) fn json(&self) -> Value {
        let text = self.value.as_deref();
        let value = text.map(|text| typed(self.form, text));
        json!({ "key": self.key, "value": value, "from": self.from })
    }
}

/// A value in the type that it has in the file.
pub(super) fn typed(form: Form, text: &str) -> Value {
    match form {
        Form::Count { .. } => text.parse::<u64>().map_or(Value::Null, Value::from),
        Form::List { .. } => {
            let items = text.split(',').map(str::trim);
            items.filter(|item| !item.is_empty()).collect()
        }
        Form::Text { .. } | Form::Choice(_) | Form::Secret => text.into(),
    }
}

pub(super) fn of(layers: &Layers) -> Vec<Effective> {
    let effective = |setting: &Setting| Effective {
        key: setting.key,
        value: value(setting, layers),
        from: layers.origin(setting.key).to_string(),
        form: setting.form,
    };
    let providers = providers::names(&layers.providers).map(|(names, from)| Effective {
        key: providers::KEY,
        value: Some(names),
        from: from.to_string(),
        form: Form::List {
            min: 0,
            max: kavachos_engine::MAX_PROVIDERS,
        },
    });
    SETTINGS.iter().map(effective).chain(providers).collect()
}

fn value(setting: &Setting, layers: &Layers) -> Option<String> {
    match (setting.key, layers.text(setting.key)) {
        (_, None) => setting.default(),
        (_, Some(_)) if setting.is_secret() => Some(REDACTED.to_owned()),
        // The URL of a server may hold a password.
        ("database", Some(name)) => Some(Database::new(name).to_string()),
        (_, Some(text)) => Some(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::environment;
    use super::super::{Config, Flag};
    use super::*;

    fn effective(variables: &[(&str, &str)], flags: &[(Flag, String)]) -> Vec<Effective> {
        Config::gather(&environment(variables), flags).effective()
    }

    fn of_key(all: &[Effective], key: &str) -> Value {
        all.iter().find(|one| one.key == key).unwrap().json()
    }

    #[test]
    fn every_value_is_shown_with_where_it_came_from() {
        let all = effective(
            &[
                ("KAVACH_AGENTS_MAX_GRANTS", "7"),
                ("KAVACH_TRUSTED_PROXIES", "10.0.0.1, 10.1.0.0/16"),
            ],
            &[(Flag::Listen, "[::1]:1".to_owned())],
        );
        assert_eq!(all.len(), SETTINGS.len());
        for (key, value, from) in [
            (
                "agents.max_grants",
                json!(7),
                "variable KAVACH_AGENTS_MAX_GRANTS",
            ),
            ("agents.max_per_owner", json!(100), "default"),
            ("listen", json!(["[::1]:1"]), "flag --listen"),
            (
                "trusted_proxies",
                json!(["10.0.0.1", "10.1.0.0/16"]),
                "variable KAVACH_TRUSTED_PROXIES",
            ),
            ("admin_key", Value::Null, "default"),
        ] {
            let expected = json!({ "key": key, "value": value, "from": from });
            assert_eq!(of_key(&all, key), expected);
        }
    }

    #[test]
    fn no_secret_is_ever_shown() {
        let all = effective(
            &[
                ("KAVACH_ADMIN_KEY", "hunter2"),
                ("KAVACH_MASTER_KEY_FILE", "/run/hunter2"),
                ("KAVACH_KEY", "hunter2"),
                (
                    "KAVACH_DATABASE",
                    "postgres://ada:hunter2@db/kavach?password=hunter2",
                ),
            ],
            &[],
        );
        let shown: String = all.iter().map(|one| one.json().to_string()).collect();
        assert!(!shown.contains("hunter2"), "{shown}");
        assert_eq!(of_key(&all, "key")["value"], REDACTED);
        assert_eq!(
            of_key(&all, "database")["value"],
            "postgres://ada@db/kavach"
        );
    }
}
