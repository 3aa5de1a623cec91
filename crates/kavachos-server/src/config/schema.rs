//! `kavach.toml` described: a JSON Schema for editors and checks, and a file with every setting in it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::effective::typed;
use super::providers;
use super::setting::{Form, Preset, SETTINGS, Setting};

/// The dialect of the schema.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";
/// How the example begins.
const HEAD: &str = "\
# Every setting of kavach, with the value that it has when it is not set. To change one, take its `#` away, and that of
# the table that it is in. A variable wins over this file, a flag over both. `kavach config check` checks all of it.
";

/// The JSON Schema (2020-12) of `kavach.toml`. What it refuses, the parser refuses too.
pub(crate) fn schema() -> Value {
    let mut root = Map::new();
    let mut tables: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for setting in in_file() {
        let (table, name) = setting.place();
        let properties = match table {
            None => &mut root,
            Some(table) => tables.entry(table).or_default(),
        };
        properties.insert(name.to_owned(), described(setting));
    }
    root.extend(
        tables
            .into_iter()
            .map(|(name, of)| (name.to_owned(), closed(&of))),
    );
    root.insert(providers::KEY.to_owned(), providers::schema());
    let mut schema = closed(&root);
    if let Value::Object(members) = &mut schema {
        let about = "The configuration of kavach. Secrets do not belong in this file.";
        members.insert("$schema".to_owned(), DIALECT.into());
        members.insert("title".to_owned(), "kavach.toml".into());
        members.insert("description".to_owned(), about.into());
    }
    schema
}

fn in_file() -> impl Iterator<Item = &'static Setting> {
    SETTINGS.iter().filter(|setting| !setting.is_secret())
}

/// An object with these members and no others.
fn closed(properties: &Map<String, Value>) -> Value {
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

fn described(setting: &Setting) -> Value {
    let mut schema = form(setting.form);
    if let Value::Object(members) = &mut schema {
        let about = format!("{} ({})", setting.about, setting.variable);
        members.insert("description".to_owned(), about.into());
        if let Some(value) = setting.default() {
            members.insert("default".to_owned(), typed(setting.form, &value));
        }
    }
    schema
}

fn form(form: Form) -> Value {
    match form {
        Form::Text { pattern: None } => json!({ "type": "string", "minLength": 1 }),
        Form::Text {
            pattern: Some(pattern),
        } => json!({ "type": "string", "pattern": pattern }),
        Form::List { min, max } => json!({ "anyOf": [
            { "type": "string", "minLength": min },
            {
                "type": "array", "minItems": min, "maxItems": max,
                "items": { "type": "string", "minLength": 1 },
            },
        ] }),
        Form::Count { max } => json!({ "type": "integer", "minimum": 1, "maximum": max }),
        Form::Choice(names) => json!({ "enum": names() }),
        Form::Secret => Value::Bool(false),
    }
}

/// A `kavach.toml` with every setting in it, commented out.
pub(crate) fn example() -> String {
    let mut out = HEAD.to_owned();
    for setting in SETTINGS.iter().filter(|setting| setting.is_secret()) {
        let Setting {
            variable, about, ..
        } = setting;
        out.push_str(&format!("#\n# {about}:\n# not here, but in {variable} or in the file that {variable}_FILE names\n"));
    }
    let mut tables: Vec<Option<&str>> = vec![None];
    for setting in in_file() {
        let (table, _) = setting.place();
        if !tables.contains(&table) {
            tables.push(table);
        }
    }
    for table in tables {
        out.push_str(&section(table));
    }
    out.push_str(providers::example());
    out
}

fn section(table: Option<&str>) -> String {
    let mut out = table.map_or(String::new(), |table| format!("\n# [{table}]\n"));
    for setting in in_file().filter(|setting| setting.place().0 == table) {
        let name = setting.place().1;
        let value = match setting.preset {
            Preset::Value(value) => typed(setting.form, &value()),
            Preset::Unset { example } => typed(setting.form, example),
        };
        // What JSON says of texts, numbers and lists of texts, TOML reads alike.
        out.push_str(&format!(
            "\n# {} ({})\n# {name} = {value}\n",
            setting.about, setting.variable
        ));
    }
    out
}

#[cfg(test)]
mod tests {
    use std::fs;

    use jsonschema::Validator;
    use toml::de::{DeTable, DeValue};

    use super::super::tests::environment;
    use super::super::{Config, Flag, Server};
    use super::*;

    /// What a file says, as JSON.
    fn as_json(value: &DeValue<'_>) -> Value {
        match value {
            DeValue::String(text) => text.to_string().into(),
            DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix())
                .map_or(json!(1e300), |number| {
                    serde_json::from_str(&number.to_string()).unwrap()
                }),
            DeValue::Float(number) => number.as_str().parse::<f64>().unwrap().into(),
            DeValue::Boolean(value) => (*value).into(),
            DeValue::Array(items) => items.iter().map(|item| as_json(item.get_ref())).collect(),
            DeValue::Table(table) => of_table(table),
            // JSON has none.
            DeValue::Datetime(_) => Value::Null,
        }
    }

    fn of_table(table: &DeTable<'_>) -> Value {
        let members = table
            .iter()
            .map(|(name, value)| (name.get_ref().to_string(), as_json(value.get_ref())));
        Value::Object(members.collect())
    }

    /// What the parser and what the schema say about a file.
    fn verdicts(validator: &Validator, text: &str) -> (bool, bool) {
        let table = DeTable::parse(text).unwrap();
        let by_schema = validator.is_valid(&of_table(table.get_ref()));
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("kavach.toml");
        fs::write(&path, text).unwrap();
        let flags = [(Flag::Config, path.display().to_string())];
        let config = Config::gather(&environment(&[]), &flags);
        (config.problems().is_empty(), by_schema)
    }

    fn validator() -> Validator {
        jsonschema::draft202012::new(&schema()).unwrap()
    }

    /// A value under its key, as a file would have it.
    fn file(setting: &Setting, value: &str) -> String {
        match setting.place() {
            (Some(table), name) => format!("[{table}]\n{name} = {value}\n"),
            (None, name) => format!("{name} = {value}\n"),
        }
    }

    #[test]
    fn the_schema_is_one() {
        assert!(jsonschema::draft202012::meta::is_valid(&schema()));
    }

    #[test]
    fn parser_and_schema_agree_about_every_setting_and_type() {
        let validator = validator();
        let mut seen = [0, 0];
        for setting in SETTINGS {
            let mut values: Vec<String> = [
                "\"\"",
                "\"nonsense \\u0000\"",
                "0",
                "-1",
                "1",
                "7",
                "+7",
                "0x10",
                "1_000",
                "9223372036854775807",
                "1.5",
                "true",
                "1979-05-27",
                "[]",
                "[\"\"]",
                "[1]",
                "{}",
                "{ a = 1 }",
                "\"allow\"",
                "\"refuse\"",
                "\"Allow\"",
                "\"plain\"",
                "\"json\"",
                "\"info\"",
                "\"127.0.0.1:1\"",
                "[\"127.0.0.1:1\", \"[::1]:1\"]",
                "\"https://kavach.example.com\"",
                "\"ftp://kavach.example.com\"",
            ]
            .map(str::to_owned)
            .into();
            if let Form::Count { max } = setting.form {
                values.extend([max.to_string(), (max + 1).to_string()]);
            }
            if let Form::List { max, .. } = setting.form {
                let many = |count| format!("{:?}", vec!["127.0.0.1:1"; count]);
                values.extend([many(max), many(max + 1)]);
            }
            for value in &values {
                let text = file(setting, value);
                let (by_parser, by_schema) = verdicts(&validator, &text);
                // What a text means, only the parser knows; it never takes what the schema refuses.
                let is_text = value.contains('"');
                if is_text {
                    assert!(by_schema || !by_parser, "{text}");
                } else {
                    assert_eq!(by_parser, by_schema, "{text}");
                }
                seen[usize::from(by_parser)] += 1;
            }
        }
        assert!(seen[0] > 200 && seen[1] > 50, "{seen:?}");
    }

    #[test]
    fn parser_and_schema_agree_about_whole_files() {
        let validator = validator();
        for good in [
            "",
            "[agents]\n",
            "agents.max_grants = 3\nagents.max_per_owner = 3\n",
            "database = \"postgres://kavach@db/kavach\"\nissuer = \"https://kavach.example.com\"\n\
             listen = [\"0.0.0.0:3000\"]\ntrusted_proxies = [\"10.0.0.0/8\"]\n[log]\nformat = \"json\"\n",
            &uncommented(),
            &example_of_a_provider(),
        ] {
            assert_eq!(verdicts(&validator, good), (true, true), "{good}");
        }
        for bad in [
            "colour = 1\n",
            "[colours]\n",
            "[colours]\nred = 1\n",
            "[agents]\nmax_per_ownr = 1\n",
            "[agents.more]\n",
            "agents = 1\n",
            "[[agents]]\nmax_grants = 1\n",
            "[listen]\n",
            "\"agents.max_grants\" = 3\n",
            "admin_key = \"kv_key_x\"\n",
            "[fetch]\nloopback = \"yes\"\n",
            "[connections]\nmax = 1000001\n",
            "providers = 1\n",
            "[providers]\n",
            "[[providers]]\n",
            &example_of_a_provider().replace("ceiling", "floor"),
            &example_of_a_provider().replace("RS256", "none"),
            &example_of_a_provider().replace("max_age_seconds = 300", "max_age_seconds = 3601"),
            &example_of_a_provider().replace("secret_sha256", "secret"),
        ] {
            assert_eq!(verdicts(&validator, bad), (false, false), "{bad}");
        }
    }

    #[test]
    fn only_the_parser_knows_what_is_unsafe() {
        for text in [
            "issuer = \"http://kavach.example.com\"\n",
            "trusted_proxies = [\"0.0.0.0/0\"]\n",
            "listen = \"0.0.0.0:3000\"\n",
        ] {
            assert_eq!(verdicts(&validator(), text), (false, true), "{text}");
        }
    }

    /// What the example says of a provider, in force.
    fn example_of_a_provider() -> String {
        let text = example();
        let lines = text.lines().filter_map(|line| line.strip_prefix("## "));
        let start = lines.skip_while(|line| !line.starts_with("[["));
        let text = start.collect::<Vec<_>>().join("\n");
        text.replace(
            "64 digits, as `printf %s SECRET | sha256sum` prints them",
            &"0".repeat(64),
        )
        .replace("the id of your application at the provider", "app")
    }

    /// The example with every setting in force.
    fn uncommented() -> String {
        // A file that must be there is one of somebody's own.
        let is_setting = |line: &&str| {
            line.starts_with('[') || (line.contains(" = ") && !line.starts_with("css_file"))
        };
        let lines = example();
        let lines = lines.lines().filter_map(|line| line.strip_prefix("# "));
        let lines: Vec<&str> = lines.filter(is_setting).collect();
        lines.join("\n")
    }

    #[test]
    fn the_example_says_what_holds_without_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("kavach.toml");
        let server = |text: &str| -> Server {
            fs::write(&path, text).unwrap();
            let flags = [(Flag::Config, path.display().to_string())];
            Config::load(&environment(&[]), &flags)
                .and_then(|config| config.server())
                .unwrap()
        };
        let (set, unset) = (server(&uncommented()), server(&example()));
        assert_eq!(uncommented().matches(" = ").count(), in_file().count() - 1);
        assert_eq!(set.settings, unset.settings);
        assert_eq!(set.connections, unset.connections);
        assert_eq!(set.listen.to_string(), unset.listen.to_string());
        assert_eq!(
            (set.database, set.issuer, set.loopback, set.trusted_proxies),
            (
                unset.database,
                unset.issuer,
                unset.loopback,
                unset.trusted_proxies
            )
        );
        assert_eq!(
            (set.log.filter.to_string(), set.log.form),
            (unset.log.filter.to_string(), unset.log.form)
        );
    }

    #[test]
    fn no_setting_of_the_table_is_left_unread() {
        for setting in SETTINGS {
            // Wrong for every form, and given by a variable, which every setting has.
            let takes_all = [
                "database",
                "ca_file",
                "checkpoint.path",
                "fetch.ca_file",
                "mail.templates",
                "mail.smtp_user",
                "mail.smtp_password",
                "mail.smtp_ca_file",
                "mail.api_key",
                "pages.name",
            ];
            let wrong = if takes_all.contains(&setting.key) {
                continue;
            } else {
                "a=b=c"
            };
            let config = Config::gather(&environment(&[(setting.variable, wrong)]), &[]);
            let keys: Vec<String> = config.problems().into_iter().map(|one| one.key).collect();
            assert_eq!(keys, [setting.key]);
        }
    }
}
