//! `kavach config`: what is wrong, what counts, and what can be set. The schema and the example are committed files. After
//! a change, look at the difference and write them anew:
//! `cargo run -q -- config schema > docs/kavach.schema.json`
//! `cargo run -q -- config example > docs/kavach.example.toml`

use crate::support::{Place, files};

const KEY: &str = "kv_key_hunter2";

/// A place with a file that is wrong in several ways.
fn wrong() -> Place {
    let mut place = Place::new();
    let text =
        "colour = 1\nlisten = \"0.0.0.0:3000\"\n[agents]\nmax_per_ownr = 7\nmax_grants = \"8\"\n";
    std::fs::write(place.path("kavach.toml"), text).unwrap();
    place.set("KAVACH_LOG_FORMAT", "xml");
    place.set("KAVACH_LISTN", "x");
    place
}

#[test]
fn check_says_everything_that_is_wrong_at_once() {
    let place = wrong();
    let ran = place.run("config check");
    let told: Vec<&str> = ran.out.lines().collect();
    assert_eq!(
        told,
        [
            "`colour` (kavach.toml, line 1): this is no setting; `kavach config example` lists them",
            "`listen` (kavach.toml, line 2): others can reach 0.0.0.0:3000, but the public address is \
             `http://localhost:3000/`: set `issuer` to the https address of the proxy in front, or listen on 127.0.0.1",
            "`agents.max_per_ownr` (kavach.toml, line 4): this is no setting; did you mean `agents.max_per_owner`?",
            "`agents.max_grants` (kavach.toml, line 5): must be a whole number without quotes",
            "`log.format` (variable KAVACH_LOG_FORMAT): `xml` is not `plain` or `json`",
        ]
    );
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("KAVACH_LISTEN?"), "{ran:?}");
    let json = place.run("config check --json").json();
    let third = &json["data"]["problems"][2];
    assert_eq!(
        (&third["key"], &third["file"], &third["line"]),
        (
            &"agents.max_per_ownr".into(),
            &"kavach.toml".into(),
            &4.into()
        )
    );
    // A server says the same of the file and does not start.
    let served = place.run("serve");
    assert!(
        served.code == 1 && served.err.contains(told[0]) && served.err.contains(told[3]),
        "{served:?}"
    );
    assert_eq!(files(place.directory.path()), ["kavach.toml"]);
}

#[test]
fn check_is_content_with_what_serves_and_judges_flags_and_unsafe_settings() {
    let mut place = Place::new();
    place.done("config check");
    let open = "config check --listen 0.0.0.0:3000";
    let refused = place.run(open);
    assert!(
        refused.code == 1 && refused.out.contains("(flag --listen)"),
        "{refused:?}"
    );
    place.set("KAVACH_ISSUER", "https://kavach.example.com");
    place.done(open);
    place.set("KAVACH_CONFIG", "nowhere.toml");
    let missing = place.run("config check");
    assert!(
        missing.code == 1 && missing.out.contains("`nowhere.toml` (configuration file)"),
        "{missing:?}"
    );
}

#[test]
fn print_shows_what_counts_and_never_a_secret() {
    let mut place = Place::new();
    let key = place.init();
    std::fs::write(
        place.path("kavach.toml"),
        "[connections]\nmax = 0x10\nidle_seconds = 7\n",
    )
    .unwrap();
    std::fs::write(place.path("key"), &key).unwrap();
    place.set("KAVACH_ADMIN_KEY", &key);
    place.set("KAVACH_KEY_FILE", "key");
    place.set("KAVACH_CONNECTIONS_IDLE_SECONDS", "9");
    let url = "postgres://ada:hunter2@db.example.com/kavach?password=hunter2";
    for flags in ["", "--redacted", "--json", "--json --redacted"] {
        let ran = place.done(format!("config print {flags} --database {url}"));
        for secret in ["hunter2", key.as_str()] {
            assert!(!ran.out.contains(secret) && !ran.err.contains(secret));
        }
    }
    let json = place.done("config print --json").json();
    let setting = |key: &str| {
        let all = json["data"].as_array().unwrap();
        let found = all.iter().find(|one| one["key"] == key).unwrap();
        (
            found["value"].clone(),
            found["from"].as_str().unwrap().to_owned(),
        )
    };
    for (key, value, from) in [
        ("connections.max", 16.into(), "kavach.toml, line 2"),
        (
            "connections.idle_seconds",
            9.into(),
            "variable KAVACH_CONNECTIONS_IDLE_SECONDS",
        ),
        ("database", "kavach.db".into(), "default"),
        (
            "admin_key",
            "[redacted]".into(),
            "variable KAVACH_ADMIN_KEY",
        ),
        ("key", "[redacted]".into(), "variable KAVACH_KEY_FILE"),
    ] {
        assert_eq!(setting(key), (value, from.to_owned()));
    }
    // What is wrong is told instead, and without the secret.
    place.set("KAVACH_ADMIN_KEY", KEY);
    let wrong = place.run("config print");
    assert!(
        wrong.code == 1 && wrong.out.is_empty() && !wrong.err.contains("hunter2"),
        "{wrong:?}"
    );
}

#[test]
fn the_schema_and_the_example_are_the_committed_ones() {
    let place = Place::new();
    for (command, golden) in [
        (
            "config schema",
            include_str!("../../../../docs/kavach.schema.json"),
        ),
        (
            "config example",
            include_str!("../../../../docs/kavach.example.toml"),
        ),
    ] {
        assert_eq!(place.done(command).out, golden, "{command}");
    }
    place.done("config check --config /dev/null");
    let example = place.done("config example").out;
    std::fs::write(place.path("kavach.toml"), example).unwrap();
    place.done("config check");
}
