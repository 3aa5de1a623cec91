//! Templates in a directory: one directory for each language, one file for each template.

use std::fs;
use std::io;
use std::path::Path;

use kavachos_engine::mail::{TemplateFile, Templates};

use super::MailError;

/// How many entries of one directory are looked at.
const MAX_ENTRIES: usize = 1_000;
/// The largest file that is read.
const MAX_FILE_BYTES: u64 = 256 * 1024;

/// The embedded templates, with those of this directory in their place or beside them: `de/magic_link.txt`,
/// `en/layout.html`. Hidden files are left alone. For readers of whom no language is known, this one is taken.
///
/// # Errors
/// The directory cannot be read; or the first template that is wrong, with its file and line.
pub fn templates_in(directory: &Path, default_language: &str) -> Result<Templates, MailError> {
    let mut files = Vec::new();
    for language in entries(directory)? {
        let path = directory.join(&language);
        for name in entries(&path)? {
            let path = path.join(&name);
            files.push(TemplateFile {
                text: text_of(&path)?,
                language: language.clone(),
                name,
            });
        }
    }
    Ok(Templates::new(&files, default_language)?)
}

/// The names of what is in a directory, in their order.
fn entries(directory: &Path) -> Result<Vec<String>, MailError> {
    let unreadable = |error: io::Error| wrong(directory, &error.to_string());
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        let name = name
            .into_string()
            .map_err(|_| wrong(directory, "a name is no UTF-8"))?;
        if !name.starts_with('.') {
            names.push(name);
        }
        if names.len() > MAX_ENTRIES {
            return Err(wrong(directory, "there are too many files"));
        }
    }
    names.sort();
    Ok(names)
}

fn text_of(path: &Path) -> Result<String, MailError> {
    let unreadable = |error: io::Error| wrong(path, &error.to_string());
    if fs::metadata(path).map_err(unreadable)?.len() > MAX_FILE_BYTES {
        return Err(wrong(path, "it is longer than 256 KiB"));
    }
    fs::read_to_string(path).map_err(unreadable)
}

fn wrong(path: &Path, reason: &str) -> MailError {
    MailError::Unreadable {
        path: path.to_owned(),
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use kavachos_engine::mail::MailKind;

    use super::*;

    #[test]
    fn a_second_language_comes_from_a_directory() {
        let directory = tempfile::tempdir().unwrap();
        let german = directory.path().join("de");
        fs::create_dir(&german).unwrap();
        fs::write(
            german.join("test.txt"),
            "Subject: {{ app }} kann Post senden\n\nEs geht.\n",
        )
        .unwrap();
        let missing = templates_in(directory.path(), "en").err().unwrap();
        assert!(
            missing.to_string().contains("`de/test.html`: is missing"),
            "{missing}"
        );
        let html = "{% extends \"layout.html\" %}{% block content %}Es geht.{% endblock %}";
        fs::write(german.join("test.html"), html).unwrap();
        fs::write(german.join(".swp"), "left alone").unwrap();
        let templates = templates_in(directory.path(), "en").unwrap();
        let values = BTreeMap::from([("app".to_owned(), "Example".to_owned())]);
        let mail = templates
            .render(MailKind::Test, Some("de-AT"), &values)
            .unwrap();
        assert_eq!(mail.subject, "Example kann Post senden");
        assert!(mail.html.contains("Es geht."));
        fs::write(german.join("tset.txt"), "").unwrap();
        let wrong = templates_in(directory.path(), "en").err().unwrap();
        assert!(
            wrong
                .to_string()
                .contains("`de/tset.txt`: no mail is called so"),
            "{wrong}"
        );
    }

    #[test]
    fn a_directory_that_is_not_there_is_said() {
        let wrong = templates_in(Path::new("no-such-directory"), "en")
            .err()
            .unwrap();
        assert!(matches!(wrong, MailError::Unreadable { .. }), "{wrong}");
    }
}
