use super::super::tests::environment;
use super::super::{Config, Flag, Server};

const GOOD: &str = "
[[providers]]
name = \"clerk\"
issuer = \"https://clerk.example.com\"
audiences = [\"app\"]
ceiling = [{ resource = \"mcp:notion:*\", actions = [\"read\"] }]
max_age_seconds = 60
algorithms = [\"RS256\"]
[[providers.clients]]
id = \"web-backend\"
";
const SECRET: (&str, &str) = (
    "KAVACH_CLIENT_WEB_BACKEND_SECRET",
    "0123456789abcdef0123456789abcdef",
);

/// What is changed in a file that is right, and what is said then.
const WRONG: [(&str, &str, &str); 10] = [
    (
        "name = \"clerk\"",
        "name = \"Clerk\"",
        "`providers[0].name` (kavach.toml, line 3): `Clerk` is no name",
    ),
    (
        "name = \"clerk\"\n",
        "",
        "`providers[0].name` (kavach.toml, line 2): is missing",
    ),
    (
        "https://clerk",
        "http://clerk",
        "`providers[0].issuer` (kavach.toml, line 4): ",
    ),
    (
        "[\"app\"]",
        "[]",
        "`providers[0].audiences` (kavach.toml, line 5): must be a list",
    ),
    (
        "[\"read\"]",
        "[\"re ad\"]",
        "`providers[0].ceiling` (kavach.toml, line 6): [0].actions",
    ),
    (
        "max_age_seconds = 60",
        "max_age_seconds = 0",
        "`providers[0].max_age_seconds` (kavach.toml, line 7): must be from 1 to 3600",
    ),
    (
        "RS256",
        "HS256",
        "`providers[0].algorithms` (kavach.toml, line 8): the algorithms are",
    ),
    (
        "id = ",
        "ip = ",
        "`providers[0].clients[0].ip` (kavach.toml, line 10): this is no setting",
    ),
    (
        "id = ",
        "secret = \"x\"\nid = ",
        "`providers[0].clients[0].secret` (kavach.toml, line 10): secrets do not belong",
    ),
    (
        "[[providers.clients]]",
        "[providers.clients]",
        "must be tables",
    ),
];

fn loaded(text: &str, variables: &[(&str, &str)]) -> Result<Server, String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("kavach.toml");
    std::fs::write(&path, text).unwrap();
    let flags = [(Flag::Config, path.display().to_string())];
    let server = Config::gather(&environment(variables), &flags).server();
    let place = format!("{}", path.display());
    server.map_err(|error| error.to_string().replace(&place, "kavach.toml"))
}

fn refused(text: &str, variables: &[(&str, &str)]) -> String {
    loaded(text, variables).err().unwrap()
}

#[test]
fn a_provider_is_read_with_the_secret_of_its_client_from_a_variable_a_file_or_a_hash() {
    let server = loaded(GOOD, &[SECRET]).unwrap();
    let names: Vec<_> = server
        .settings
        .providers
        .iter()
        .map(|one| one.name().to_string())
        .collect();
    assert_eq!(names, ["clerk"]);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("secret");
    std::fs::write(&file, format!("{}\n", SECRET.1)).unwrap();
    let file = file.display().to_string();
    let by_file = loaded(GOOD, &[("KAVACH_CLIENT_WEB_BACKEND_SECRET_FILE", &file)]).unwrap();
    assert_eq!(by_file.settings, server.settings);
    // As `printf %s 0123456789abcdef0123456789abcdef | sha256sum` prints it.
    let hash =
        "secret_sha256 = \"3eb1bd439947eb762998e566ccc2e099c791118b2f40579cc4f7da2b5061b7f9\"\n";
    let by_hash = loaded(&format!("{GOOD}{hash}"), &[]).unwrap();
    assert_eq!(by_hash.settings, server.settings);
}

#[test]
fn what_is_wrong_is_told_with_its_key_and_its_line() {
    for (from, to, expected) in WRONG {
        let error = refused(&GOOD.replace(from, to), &[SECRET]);
        assert!(error.contains(expected), "{expected}: {error}");
    }
    let missing = refused(GOOD, &[]);
    assert!(
        missing.contains("set KAVACH_CLIENT_WEB_BACKEND_SECRET or"),
        "{missing}"
    );
    let short = refused(GOOD, &[(SECRET.0, "hunter2")]);
    assert!(
        short.contains("must be 32 to 256") && !short.contains("hunter2"),
        "{short}"
    );
    let both = refused(
        GOOD,
        &[SECRET, ("KAVACH_CLIENT_WEB_BACKEND_SECRET_FILE", "x")],
    );
    assert!(both.contains("is set as well"), "{both}");
    let twice = refused(
        &format!("{GOOD}{}", GOOD.replace("web-backend", "other")),
        &[SECRET, ("KAVACH_CLIENT_OTHER_SECRET", SECRET.1)],
    );
    assert!(
        twice.contains("`providers[1].name` (kavach.toml, line 13): is another provider's too"),
        "{twice}"
    );
    assert!(refused("providers = 1\n", &[]).contains("write `[[providers]]`"));
}

/// What is added to a file that is right, and what is said then; nothing where it is right still.
const SIGN_IN: [(&str, &str); 9] = [
    ("token = \"id_token\"", ""),
    (
        "token = \"session_token\"\nparties = [\"https://app.example.com\"]\nfresh_by = \"issue\"",
        "",
    ),
    (
        "token = \"session_token\"",
        "`providers[0].sign_in[0].parties` (kavach.toml, line 11): name the origins",
    ),
    (
        "token = \"access_token\"\naudiences = [\"app\"]",
        "`providers[0].sign_in[0].audiences` (kavach.toml, line 13): holds an audience of another",
    ),
    (
        "token = \"jwt\"",
        "`providers[0].sign_in[0].token` (kavach.toml, line 12): `jwt` is no kind of token",
    ),
    (
        "parties = [\"a\"]",
        "`providers[0].sign_in[0].token` (kavach.toml, line 11): is missing",
    ),
    (
        "token = \"id_token\"\nfresh_by = \"iat\"",
        "`providers[0].sign_in[0].fresh_by` (kavach.toml, line 13): must be `sign_in` or `issue`",
    ),
    (
        "token = \"id_token\"\nmax_age_seconds = 86401",
        "`providers[0].sign_in[0].max_age_seconds` (kavach.toml, line 13): must be from 1 to 86400",
    ),
    (
        "token = \"id_token\"\naudience = \"a\"",
        "`providers[0].sign_in[0].audience` (kavach.toml, line 13): this is no setting",
    ),
];

#[test]
fn which_tokens_sign_in_is_read_and_what_is_wrong_there_is_told() {
    let off = loaded(GOOD, &[SECRET]).unwrap();
    assert!(!off.settings.providers.sign_in());
    for (added, expected) in SIGN_IN {
        let text = format!("{GOOD}[[providers.sign_in]]\n{added}\n");
        match loaded(&text, &[SECRET]) {
            Ok(server) => {
                assert!(expected.is_empty(), "{added}: {expected}");
                assert!(server.settings.providers.sign_in());
                assert!(!server.settings.providers.open_sessions());
            }
            Err(error) => assert!(
                !expected.is_empty() && error.contains(expected),
                "{added}: {error}"
            ),
        }
    }
    for (from, to, expected) in [
        ("max_age_seconds = 60", "session_seconds = 3600", ""),
        (
            "max_age_seconds = 60",
            "session_seconds = 2592001",
            "`providers[0].session_seconds` (kavach.toml, line 7): must be from 1 to 2592000",
        ),
        ("max_age_seconds = 60", "new_humans = \"refused\"", ""),
        (
            "max_age_seconds = 60",
            "new_humans = true",
            "`providers[0].new_humans` (kavach.toml, line 7): must be `created` or `refused`",
        ),
    ] {
        let read = loaded(&GOOD.replace(from, to), &[SECRET]);
        let told = read.err().unwrap_or_default();
        assert_eq!(told.is_empty(), expected.is_empty(), "{to}: {told}");
        assert!(told.contains(expected), "{to}: {told}");
    }
}

#[test]
fn a_provider_on_this_machine_goes_with_a_server_on_this_machine_that_may_fetch_from_it() {
    let local = GOOD.replace("https://clerk.example.com", "http://localhost:4000");
    let far = [SECRET, ("KAVACH_ISSUER", "https://kavach.example.com")];
    assert!(refused(&local, &far).contains("is for development"));
    assert!(refused(&local, &[SECRET]).contains("fetch.loopback"));
    assert!(loaded(&local, &[SECRET, ("KAVACH_FETCH_LOOPBACK", "allow")]).is_ok());
    assert!(loaded(GOOD, &far).is_ok());
}
