//! What mails look like: embedded in English, overridable and translated file by file.
//!
//! For each kind there is `<kind>.txt`, whose first line is the subject, and `<kind>.html`, which extends `layout.html`.
//! They are Jinja templates (minijinja); in `.html` every value is escaped. Each language has an environment of its own, so
//! that `layout.html` is that of the language, and else the embedded one. Everything is checked when it is loaded: what
//! cannot be compiled, names a value that there is not, or cannot be rendered, is an error with its file and line.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use kavachos_core::time::clip;
use minijinja::value::Value;
use minijinja::{Environment, UndefinedBehavior};

use super::MailKind;
use super::value::{GIVEN, NAMES, one_line};

/// The language that is built in.
const ENGLISH: &str = "en";
/// What templates share.
const SHARED: [(&str, &str); 2] = [
    ("layout.html", include_str!("templates/en/layout.html")),
    ("parts.html", include_str!("templates/en/parts.html")),
];
/// How the first line of a text begins.
const SUBJECT: &str = "Subject:";
/// What a subject may not say: it is shown on locked screens, and mail servers log it.
const NOT_IN_SUBJECT: [&str; 2] = ["url", "code"];
/// How many files of templates there may be.
const MAX_FILES: usize = 2_000;
/// The longest file, in bytes.
const MAX_FILE_BYTES: usize = 256 * 1024;
/// The longest tag of a language, in bytes (RFC 5646, 4.4.1).
const MAX_TAG_BYTES: usize = 35;

/// A file that replaces or translates an embedded template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateFile {
    /// Its language as a BCP 47 tag: the name of the directory.
    pub language: String,
    /// Its name: `magic_link.txt`, `magic_link.html`, `layout.html`, `parts.html`.
    pub name: String,
    /// What it holds.
    pub text: String,
}

/// What is wrong with a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateError {
    file: String,
    line: Option<usize>,
    message: String,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the template `{}`", self.file)?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for TemplateError {}

impl TemplateError {
    fn of(file: impl Into<String>, line: Option<usize>, message: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            line,
            message: message.into(),
        }
    }

    /// What the engine of templates says.
    fn told(file: &str, error: &minijinja::Error) -> Self {
        let message = match error.detail() {
            Some(detail) => format!("{}: {detail}", error.kind()),
            None => error.kind().to_string(),
        };
        Self::of(file, error.line(), message)
    }
}

/// A mail, written.
#[derive(Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The subject, in one line.
    pub subject: String,
    /// As plain text.
    pub text: String,
    /// As HTML.
    pub html: String,
}

/// The templates of all languages. Cheap to clone.
#[derive(Clone)]
pub struct Templates {
    languages: Arc<BTreeMap<String, Language>>,
    default: String,
}

/// The templates of one language.
struct Language {
    environment: Environment<'static>,
    kinds: BTreeSet<MailKind>,
}

impl Templates {
    /// The embedded templates, in English.
    ///
    /// # Errors
    /// None that tests do not find.
    pub fn embedded() -> Result<Self, TemplateError> {
        Self::new(&[], ENGLISH)
    }

    /// The embedded templates with these in their place or beside them; where nobody says which language they read, this
    /// one.
    ///
    /// # Errors
    /// The first thing that is wrong, with file and line.
    pub fn new(files: &[TemplateFile], default: &str) -> Result<Self, TemplateError> {
        if files.len() > MAX_FILES {
            let message = format!("there are more than {MAX_FILES} files");
            return Err(TemplateError::of("*", None, message));
        }
        let mut by_language = BTreeMap::from([(ENGLISH.to_owned(), BTreeMap::new())]);
        for file in files {
            let language = tag(&file.language).ok_or_else(|| {
                TemplateError::of(
                    shown(file),
                    None,
                    "its directory must be called as a language is: `de`, `pt-BR`",
                )
            })?;
            check_name(file)?;
            by_language
                .entry(language)
                .or_default()
                .insert(file.name.as_str(), file);
        }
        let languages = (by_language.iter())
            .map(|(tag, files)| Ok((tag.clone(), Language::of(tag, files)?)))
            .collect::<Result<BTreeMap<_, _>, _>>()?;
        let default = tag(default)
            .filter(|tag| languages.contains_key(tag))
            .ok_or_else(|| {
                let message = "nothing is there in the language that is the default";
                TemplateError::of(clip(default), None, message)
            })?;
        Ok(Self {
            languages: Arc::new(languages),
            default,
        })
    }

    /// Writes a mail, in the language that comes nearest (RFC 4647, lookup).
    ///
    /// # Errors
    /// A value that every template may name is none that can be rendered: a defect.
    pub fn render(
        &self,
        kind: MailKind,
        language: Option<&str>,
        values: &BTreeMap<String, String>,
    ) -> Result<Rendered, TemplateError> {
        let (tag, found) = self.choose(kind, language).ok_or_else(|| {
            TemplateError::of(format!("{ENGLISH}/{kind}.txt"), None, "is not there")
        })?;
        found.render(kind, tag, values)
    }

    /// The first of the language, its wider ones, the default and English that has this kind. English has all.
    fn choose(&self, kind: MailKind, language: Option<&str>) -> Option<(&str, &Language)> {
        let asked = language.and_then(tag).unwrap_or_default();
        let wider = std::iter::successors(Some(asked.as_str()), |tag| {
            tag.rsplit_once('-').map(|(wider, _)| wider)
        });
        let candidates = wider.chain([self.default.as_str(), ENGLISH]);
        let mut found = candidates.filter_map(|tag| self.languages.get_key_value(tag));
        let (tag, language) = found.find(|(_, language)| language.kinds.contains(&kind))?;
        Some((tag, language))
    }
}

impl Language {
    /// The language of these files; English has the embedded ones beneath them.
    fn of(tag: &str, files: &BTreeMap<&str, &TemplateFile>) -> Result<Self, TemplateError> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        let mut language = Self {
            environment,
            kinds: BTreeSet::new(),
        };
        for (name, embedded) in SHARED {
            let text = files.get(name).map_or(embedded, |file| &file.text);
            language.add(tag, name, text)?;
        }
        for kind in MailKind::ALL {
            language.add_kind(tag, *kind, files)?;
        }
        for kind in &language.kinds {
            language.try_out(tag, *kind)?;
        }
        Ok(language)
    }

    fn add_kind(
        &mut self,
        tag: &str,
        kind: MailKind,
        files: &BTreeMap<&str, &TemplateFile>,
    ) -> Result<(), TemplateError> {
        let names = (format!("{kind}.txt"), format!("{kind}.html"));
        let given = |name: &str| files.get(name).map(|file| file.text.as_str());
        let embedded = (tag == ENGLISH).then(|| kind.embedded());
        let text = given(&names.0).or(embedded.map(|(text, _)| text));
        let html = given(&names.1).or(embedded.map(|(_, html)| html));
        let (text, html) = match (text, html) {
            (Some(text), Some(html)) => (text, html),
            (None, None) => return Ok(()),
            (text, _) => {
                let missing = if text.is_none() { names.0 } else { names.1 };
                let message = "is missing: a mail is written as text and as HTML, in one language";
                return Err(TemplateError::of(format!("{tag}/{missing}"), None, message));
            }
        };
        let (subject, body) = split_subject(text).ok_or_else(|| {
            let message = format!("must begin with a line `{SUBJECT} ...`");
            TemplateError::of(format!("{tag}/{}", names.0), Some(1), message)
        })?;
        self.add(tag, &subject_of(kind), subject)?;
        self.add(tag, &names.0, &body)?;
        self.add(tag, &names.1, html)?;
        self.kinds.insert(kind);
        Ok(())
    }

    fn add(&mut self, tag: &str, name: &str, text: &str) -> Result<(), TemplateError> {
        let is_subject = name.ends_with(".subject");
        let file = format!("{tag}/{}", name.replace(".subject", ".txt"));
        if text.len() > MAX_FILE_BYTES {
            let message = format!("is longer than {MAX_FILE_BYTES} bytes");
            return Err(TemplateError::of(file, None, message));
        }
        let told = |error| TemplateError::told(&file, &error);
        (self.environment)
            .add_template_owned(name.to_owned(), text.to_owned())
            .map_err(told)?;
        let template = self.environment.get_template(name).map_err(told)?;
        let mut used: Vec<String> = template.undeclared_variables(false).into_iter().collect();
        used.sort();
        for value in &used {
            let line = Some(line_of(text, value));
            let value = value.as_str();
            if is_subject && NOT_IN_SUBJECT.contains(&value) {
                let message = format!(
                    "the subject may not hold `{value}`: it is shown on locked screens, and logged"
                );
                return Err(TemplateError::of(file, line, message));
            }
            if !NAMES.contains(&value) && !GIVEN.contains(&value) {
                let known = [NAMES.as_slice(), &GIVEN].concat().join("`, `");
                let message = format!("there is no value `{}`; there are `{known}`", clip(value));
                return Err(TemplateError::of(file, line, message));
            }
        }
        Ok(())
    }

    /// Renders with every value and with the needed ones alone, so that nothing fails that was found fit.
    fn try_out(&self, tag: &str, kind: MailKind) -> Result<(), TemplateError> {
        let sample = |name: &&str| ((*name).to_owned(), "1".to_owned());
        let all = NAMES.iter().chain(&GIVEN).map(sample).collect();
        let needed = kind.needs().iter().chain(&GIVEN).map(sample).collect();
        self.render(kind, tag, &all)?;
        self.render(kind, tag, &needed)?;
        Ok(())
    }

    fn render(
        &self,
        kind: MailKind,
        tag: &str,
        values: &BTreeMap<String, String>,
    ) -> Result<Rendered, TemplateError> {
        let mut context: BTreeMap<String, Value> = NAMES
            .iter()
            .chain(&GIVEN)
            .map(|name| ((*name).to_owned(), Value::from("")))
            .collect();
        context.extend(
            values
                .iter()
                .map(|(name, value)| (name.clone(), Value::from(value))),
        );
        context.insert("language".to_owned(), Value::from(tag));
        let context = Value::from(context);
        let written = |name: &str| {
            let template = self.environment.get_template(name);
            let told = |error: minijinja::Error| {
                let file = error.name().unwrap_or(name).replace(".subject", ".txt");
                TemplateError::told(&format!("{tag}/{file}"), &error)
            };
            template
                .and_then(|template| template.render(context.clone()))
                .map_err(told)
        };
        Ok(Rendered {
            subject: one_line(&written(&subject_of(kind))?),
            text: paragraphs(&written(&format!("{kind}.txt"))?),
            html: written(&format!("{kind}.html"))?,
        })
    }
}

/// The text with one empty line between paragraphs: a value that is not there leaves more of them.
fn paragraphs(text: &str) -> String {
    let mut lines: Vec<&str> = text.trim().lines().collect();
    lines.dedup_by(|line, before| line.is_empty() && before.is_empty());
    lines.join("\n")
}

fn subject_of(kind: MailKind) -> String {
    format!("{kind}.subject")
}

/// The subject and the text; the text keeps its lines, so that errors name the right ones.
fn split_subject(text: &str) -> Option<(&str, String)> {
    let (first, rest) = text.split_once('\n')?;
    let subject = first.strip_prefix(SUBJECT)?.trim();
    (!subject.is_empty()).then(|| (subject, format!("\n{rest}")))
}

/// The line in which a name stands first, counted from 1.
fn line_of(text: &str, name: &str) -> usize {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let holds = |line: &str| line.split(|c| !is_part(c)).any(|word| word == name);
    let before = text.lines().take_while(|line| !holds(line)).count();
    before.saturating_add(1)
}

/// A tag in the form in which tags are compared; `None` for what is none.
fn tag(text: &str) -> Option<String> {
    let part = |part: &str| {
        (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    let is_tag = text.len() <= MAX_TAG_BYTES && text.split('-').all(part);
    is_tag.then(|| text.to_ascii_lowercase())
}

fn shown(file: &TemplateFile) -> String {
    format!("{}/{}", clip(&file.language), clip(&file.name))
}

fn check_name(file: &TemplateFile) -> Result<(), TemplateError> {
    let shared = SHARED.iter().any(|(name, _)| *name == file.name);
    let of_kind = file.name.rsplit_once('.').is_some_and(|(kind, form)| {
        kind.parse::<MailKind>().is_ok() && ["txt", "html"].contains(&form)
    });
    if shared || of_kind {
        return Ok(());
    }
    let kinds: Vec<&str> = MailKind::ALL.iter().map(|kind| kind.as_str()).collect();
    let message = format!(
        "no mail is called so: there are `layout.html`, `parts.html`, and `.txt` and `.html` of `{}`",
        kinds.join("`, `")
    );
    Err(TemplateError::of(shown(file), None, message))
}

#[cfg(test)]
mod tests;
