//! Templates, theirs and ours.

use super::*;

fn values(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

fn file(language: &str, name: &str, text: &str) -> TemplateFile {
    TemplateFile {
        language: language.to_owned(),
        name: name.to_owned(),
        text: text.to_owned(),
    }
}

fn german() -> [TemplateFile; 2] {
    [
        file(
            "de",
            "email_otp.txt",
            "Subject: Ihr Code für {{ app }}\n\nIhr Code: {{ code }}\n",
        ),
        file(
            "de",
            "email_otp.html",
            "{% extends \"layout.html\" %}{% block content %}<p>Ihr Code: {{ code }}</p>{% endblock %}",
        ),
    ]
}

fn refused(files: &[TemplateFile]) -> String {
    Templates::new(files, "en").err().unwrap().to_string()
}

const CODE: [(&str, &str); 2] = [("code", "123456"), ("app", "Example")];

#[test]
fn every_kind_says_what_it_is_about_in_text_and_in_html() {
    let templates = Templates::embedded().unwrap();
    let all: Vec<(&str, &str)> = NAMES
        .iter()
        .chain(&GIVEN)
        .map(|name| (*name, "x-value"))
        .collect();
    for kind in MailKind::ALL {
        let mail = templates.render(*kind, None, &values(&all)).unwrap();
        assert!(mail.subject.contains("x-value"), "{kind}: {}", mail.subject);
        assert!(
            mail.text.starts_with("Hello x-value,"),
            "{kind}: {}",
            mail.text
        );
        assert!(mail.html.contains("lang=\"en\""), "{kind}");
        assert!(
            mail.html.ends_with("</html>") || mail.html.ends_with("</html>\n"),
            "{kind}"
        );
        for needed in kind.needs() {
            let given = values(&[(needed, "needed-value")]);
            let mail = templates.render(*kind, None, &given).unwrap();
            assert!(
                mail.text.contains("needed-value") && mail.html.contains("needed-value"),
                "{kind}"
            );
        }
    }
}

#[test]
fn nothing_is_loaded_from_elsewhere() {
    let templates = Templates::embedded().unwrap();
    for kind in MailKind::ALL {
        let mail = templates.render(*kind, None, &values(&[])).unwrap();
        for remote in [
            "src=", "url(", "<link", "@import", "http://", "https://", "<script",
        ] {
            assert!(!mail.html.contains(remote), "{kind}: {remote}");
        }
        assert!(mail.html.contains("prefers-color-scheme: dark"), "{kind}");
    }
}

#[test]
fn a_value_is_text_in_html_and_itself_in_text() {
    let templates = Templates::embedded().unwrap();
    let hostile = "<img src=x onerror=alert(1)>\"'";
    let given = values(&[("url", hostile), ("name", hostile), ("device", hostile)]);
    let mail = templates.render(MailKind::MagicLink, None, &given).unwrap();
    assert!(!mail.html.contains("<img"), "{}", mail.html);
    assert!(mail.html.contains("&lt;img"), "{}", mail.html);
    // The twin: the text is not escaped, since nothing in it is markup.
    assert!(mail.text.contains(hostile), "{}", mail.text);
}

#[test]
fn a_subject_is_one_line_whatever_stands_in_its_values() {
    let templates = Templates::embedded().unwrap();
    let given = values(&[("app", "Example\r\nBcc: eve@example.com\u{202e}")]);
    let mail = templates.render(MailKind::Test, None, &given).unwrap();
    assert_eq!(mail.subject, "Example Bcc: eve@example.com can send mail");
}

#[test]
fn the_language_that_comes_nearest_is_chosen() {
    let templates = Templates::new(&german(), "en").unwrap();
    let subject = |kind, language| {
        let mail = templates.render(kind, language, &values(&CODE)).unwrap();
        mail.subject
    };
    let german = "Ihr Code für Example";
    for language in ["de", "DE", "de-CH", "de-CH-1996"] {
        assert_eq!(subject(MailKind::EmailOtp, Some(language)), german);
    }
    let english = "Your code for Example";
    for language in [
        None,
        Some("fr"),
        Some("den"),
        Some(""),
        Some("../de"),
        Some("d e"),
    ] {
        assert_eq!(
            subject(MailKind::EmailOtp, language),
            english,
            "{language:?}"
        );
    }
    // What nobody translated is in English, all of it.
    assert_eq!(subject(MailKind::Test, Some("de")), "Example can send mail");
    let mail = templates
        .render(MailKind::EmailOtp, Some("de"), &values(&CODE))
        .unwrap();
    assert!(mail.html.contains("lang=\"de\"") && mail.html.contains("Ihr Code: 123456"));
    let default = Templates::new(&self::german(), "de").unwrap();
    let mail = default
        .render(MailKind::EmailOtp, None, &values(&CODE))
        .unwrap();
    assert_eq!(mail.subject, german);
    assert!(Templates::new(&self::german(), "fr").is_err());
}

#[test]
fn a_file_replaces_the_embedded_one() {
    let text = file(
        "en",
        "email_otp.txt",
        "Subject: {{ app }}\n\nOurs: {{ code }}\n",
    );
    let templates = Templates::new(&[text], "en").unwrap();
    let mail = templates
        .render(MailKind::EmailOtp, None, &values(&CODE))
        .unwrap();
    assert_eq!(
        (mail.subject.as_str(), mail.text.as_str()),
        ("Example", "Ours: 123456")
    );
    assert!(mail.html.contains("Your code"));
    let layout = file(
        "en",
        "layout.html",
        "<b>{{ app }}</b>{% block content %}{% endblock %}",
    );
    let templates = Templates::new(&[layout], "en").unwrap();
    let mail = templates
        .render(MailKind::EmailOtp, None, &values(&CODE))
        .unwrap();
    assert!(mail.html.starts_with("<b>Example</b>"), "{}", mail.html);
}

#[test]
fn what_is_wrong_is_named_with_its_file_and_line() {
    let text = |text: &str| refused(&[file("en", "test.txt", text)]);
    let unknown = text("Subject: x\n\nHello\n{{ nmae }}\n");
    assert!(
        unknown.starts_with(
            "the template `en/test.txt`, line 4: there is no value `nmae`; there are `url`"
        ),
        "{unknown}"
    );
    let syntax = text("Subject: x\n\n{% if name %}\n");
    assert!(
        syntax.starts_with("the template `en/test.txt`, line "),
        "{syntax}"
    );
    let filter = text("Subject: x\n\n{{ name | shout }}\n");
    assert!(filter.contains("`en/test.txt`, line 3"), "{filter}");
    assert!(text("Hello").contains("must begin with a line `Subject: ...`"));
    let subject = refused(&[file(
        "en",
        "email_otp.txt",
        "Subject: {{ code }}\n\n{{ code }}\n",
    )]);
    assert!(
        subject.contains("line 1: the subject may not hold `code`"),
        "{subject}"
    );
    let [german, _] = german();
    assert!(refused(&[german]).contains("`de/email_otp.html`: is missing"));
    assert!(refused(&[file("en", "tset.txt", "")]).contains("no mail is called so"));
    assert!(refused(&[file("../en", "test.txt", "")]).contains("its directory must be called"));
    let html = refused(&[file("en", "test.html", "{% extends \"other.html\" %}")]);
    assert!(html.contains("en/test.html"), "{html}");
}
