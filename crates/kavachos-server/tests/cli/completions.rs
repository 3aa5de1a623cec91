//! `kavach completions`: scripts that the shells understand.

use std::process::{Command, Stdio};

use crate::support::{Place, Ran, finish, skipped};

fn bash(place: &Place, script: &str) -> Ran {
    let mut bash = Command::new("bash");
    bash.args(["--noprofile", "--norc", "-c", script])
        .current_dir(place.directory.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    finish(bash)
}

#[test]
fn every_shell_has_a_script_and_no_other_word_does() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = place.done(format!("completions {shell}")).out;
        let known = ["migrate", "config", "approval", "webhook"];
        assert!(known.iter().all(|word| script.contains(word)), "{shell}");
    }
    assert_eq!(place.run("completions tcsh").code, 2);
}

#[test]
fn bash_parses_its_script_and_completes_commands() {
    let place = Place::new();
    if Command::new("bash")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_err()
    {
        return skipped("completions of bash (there is none)");
    }
    let script = place.done("completions bash").out;
    std::fs::write(place.path("kavach.bash"), script).unwrap();
    let parsed = bash(&place, "bash -n kavach.bash");
    assert_eq!((parsed.code, parsed.err.as_str()), (0, ""));
    let completed = |words: &str| {
        let last = words.split(' ').next_back().unwrap();
        let before = words.split(' ').rev().nth(1).unwrap();
        let typed = format!(
            "source ./kavach.bash; COMP_WORDS=({words}); COMP_CWORD=$(({} - 1)); \
             _kavach kavach '{last}' '{before}'; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            words.split(' ').count()
        );
        let ran = bash(&place, &typed);
        assert_eq!(ran.code, 0, "{ran:?}");
        let found: Vec<String> = ran.out.lines().map(str::to_owned).collect();
        found
    };
    assert_eq!(completed("kavach mig"), ["migrate"]);
    assert_eq!(completed("kavach migrate pl"), ["plan"]);
    assert_eq!(completed("kavach config ch"), ["check"]);
    assert!(completed("kavach approval list --st").contains(&"--status".to_owned()));
}
