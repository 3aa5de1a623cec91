//! Whether what was printed is what the page says.
//!
//! Ids, keys, digests and times are new in every run. One of a kind matches any other of its kind, but an id that
//! stands twice in a page must come twice. `...` matches anything within a line, a line of nothing but `...` any lines.
//! How many blanks stand between words does not matter.

use std::collections::BTreeMap;

use serde_json::Value;

const ANYTHING: &str = "...";
/// What stands for a time.
const TIME: &str = "time*";
/// Crockford's base 32, in which the last part of an id is written.
const ID_DIGITS: usize = 26;
const DIGEST_DIGITS: usize = 64;
/// What lists show of a key, at the least.
const KEY_DIGITS: usize = 5;

/// Which id of the page is which of this run.
#[derive(Default, Clone)]
pub(crate) struct Names {
    to_run: BTreeMap<String, String>,
    to_page: BTreeMap<String, String>,
}

/// A text with a star for what is new in every run.
#[derive(Debug, PartialEq)]
struct Shape {
    text: String,
    names: Vec<String>,
}

impl Names {
    /// Whether these lines are those of the page.
    pub(crate) fn text(&mut self, page: &str, run: &str) -> Result<(), String> {
        let page: Vec<&str> = page.lines().collect();
        let run: Vec<&str> = run.trim_end().lines().map(str::trim_end).collect();
        self.lines(&page, &run)
    }

    fn lines(&mut self, page: &[&str], run: &[&str]) -> Result<(), String> {
        match (page.split_first(), run.split_first()) {
            (None, None) => Ok(()),
            (None, Some((more, _))) => Err(format!("more was printed: `{more}`")),
            (Some((&ANYTHING, rest)), _) => {
                // The shortest run of lines after which the rest fits.
                for run in (0..=run.len()).filter_map(|skip| run.get(skip..)) {
                    let mut names = self.clone();
                    if names.lines(rest, run).is_ok() {
                        *self = names;
                        return Ok(());
                    }
                }
                Err(format!("what stands after `...` was not printed: {rest:?}"))
            }
            (Some((line, _)), None) => Err(format!("this was not printed: `{line}`")),
            (Some((line, page)), Some((printed, run))) => {
                self.line(line, printed)?;
                self.lines(page, run)
            }
        }
    }

    /// What was printed, with the ids of the page for those that it has told.
    pub(crate) fn in_page(&self, printed: &str) -> String {
        let mut text = printed.to_owned();
        for (run, page) in &self.to_page {
            text = text.replace(run, page);
        }
        text
    }

    /// Whether a line is that of the page.
    pub(crate) fn line(&mut self, page: &str, run: &str) -> Result<(), String> {
        let (expected, printed) = (shape(page), shape(run));
        let wrong = || format!("the page says `{page}`, and this was printed: `{run}`");
        if expected.text.contains(ANYTHING) {
            return globbed(&expected.text, &printed.text)
                .then_some(())
                .ok_or_else(wrong);
        }
        if expected.text != printed.text {
            return Err(wrong());
        }
        let pairs = expected.names.into_iter().zip(printed.names);
        pairs.into_iter().try_for_each(|(page, run)| {
            let run_before = self.to_run.entry(page.clone()).or_insert(run.clone());
            let page_before = self.to_page.entry(run.clone()).or_insert(page.clone());
            if *run_before == run && *page_before == page {
                return Ok(());
            }
            Err(format!(
                "`{page}` of the page is `{run_before}` elsewhere, and here `{run}` was printed"
            ))
        })
    }

    /// Whether this JSON is that of the page. A member `"..."` stands for others.
    pub(crate) fn json(&mut self, page: &Value, run: &Value) -> Result<(), String> {
        match (page, run) {
            (Value::String(text), _) if text == ANYTHING => Ok(()),
            (Value::String(page), Value::String(run)) => self.line(page, run),
            (Value::Array(page), Value::Array(run)) if page.len() == run.len() => page
                .iter()
                .zip(run)
                .try_for_each(|(page, run)| self.json(page, run)),
            (Value::Object(page), Value::Object(run)) => {
                let extra = run.keys().find(|name| !page.contains_key(*name));
                if let Some(name) = extra.filter(|_| !page.contains_key(ANYTHING)) {
                    return Err(format!("a member more was printed: `{name}`"));
                }
                let named = page.iter().filter(|(name, _)| *name != ANYTHING);
                named.into_iter().try_for_each(|(name, value)| {
                    let printed = run.get(name);
                    let printed = printed.ok_or_else(|| format!("`{name}` was not printed"))?;
                    self.json(value, printed)
                })
            }
            _ if page == run => Ok(()),
            _ => Err(format!("the page says {page}, and this was printed: {run}")),
        }
    }
}

fn globbed(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split(ANYTHING);
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    let mut parts = parts.peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some((_, after)) = rest.split_once(part) else {
            return false;
        };
        rest = after;
    }
    rest.is_empty()
}

fn shape(line: &str) -> Shape {
    let mut shape = Shape {
        text: String::new(),
        names: Vec::new(),
    };
    let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut rest = line.as_str();
    let mut inside_word = false;
    while let Some(next) = rest.chars().next() {
        let taken = if inside_word { None } else { secret(rest) };
        let length = taken
            .as_ref()
            .map_or(next.len_utf8(), |(length, _)| *length);
        let (word, after) = rest.split_at(length);
        if let Some((_, kind)) = taken {
            // Times are new each time that they are printed.
            if kind != TIME {
                shape.names.push(word.to_owned());
            }
            shape.text.push_str(&kind);
        } else {
            inside_word = next.is_ascii_alphanumeric() || next == '_';
            shape.text.push(next);
        }
        rest = after;
    }
    shape
}

/// What is new in every run at the beginning of a text: its length, and what stands for it.
fn secret(text: &str) -> Option<(usize, String)> {
    if let Some(length) = time(text) {
        return Some((length, TIME.to_owned()));
    }
    let word = |more: &str| {
        let within = |c: char| c.is_ascii_alphanumeric() || c == '_' || more.contains(c);
        text.split(|c| !within(c)).next().unwrap_or_default()
    };
    if text.starts_with("whsec_") {
        return Some((word("+/=").len(), "whsec_*".to_owned()));
    }
    let word = word("");
    let (kind, last) = word.rsplit_once('_').unwrap_or(("", word));
    let lower = |c: char| c.is_ascii_digit() || c.is_ascii_lowercase();
    let is_id = last.len() == ID_DIGITS && last.chars().all(lower) && last.starts_with("01");
    let is_key = word.starts_with("kv_") && kind.len() > 3 && last.len() >= KEY_DIGITS;
    let is_digest = word.len() == DIGEST_DIGITS && word.chars().all(|c| c.is_ascii_hexdigit());
    if (is_id && !kind.is_empty()) || is_key {
        return Some((word.len(), format!("{kind}_*")));
    }
    is_digest.then(|| (word.len(), "digest*".to_owned()))
}

/// The length of a time of RFC 3339 in UTC.
fn time(text: &str) -> Option<usize> {
    let pattern = "dddd-dd-ddTdd:dd:dd";
    let (head, rest) = text.split_at_checked(pattern.len())?;
    let fits = |(c, p): (char, char)| if p == 'd' { c.is_ascii_digit() } else { c == p };
    if !head.chars().zip(pattern.chars()).all(fits) {
        return None;
    }
    let end = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let after = end.strip_prefix('Z')?;
    Some(text.len() - after.len())
}

#[test]
fn what_is_new_in_every_run_matches_others_of_its_kind_and_nothing_else() {
    let fits = |page: &str, run: &str| Names::default().text(page, run).is_ok();
    let (ada, bob) = (
        "user_01m7ytthj0eddbj6p05y7tdms8",
        "user_01m7ytthj0eddbj6p05y7tdms9",
    );
    let agent = "agent_01m7ytthj0eddbj6p05y7tdms8";
    assert!(fits(ada, bob));
    assert!(!fits(ada, agent));
    assert!(fits(&format!("{ada} {ada}"), &format!("{bob}   {bob}")));
    assert!(!fits(&format!("{ada} {ada}"), &format!("{ada} {bob}")));
    assert!(!fits(&format!("{ada} {bob}"), &format!("{bob} {bob}")));
    assert!(fits(
        "at 2026-11-21T10:00:00Z.",
        "at 2026-01-02T11:22:33.456Z."
    ));
    assert!(!fits("at 2026-11-21", "at 2026-11-22"));
    assert!(fits(
        "key kv_agent_abcdefg",
        "key kv_agent_56fNG9Q2L7LirGyHRWbr0X"
    ));
    assert!(!fits(
        "key kv_agent_abcdefg",
        "key kv_key_56fNG9Q2L7LirGyHRWbr0X"
    ));
    assert!(fits("a\n...\nd", "a\nb\nc\nd") && fits("a\n...", "a"));
    assert!(!fits("a\n...\nd", "a\nb\nc"));
    assert!(fits("took ... ms", "took 12 ms") && !fits("took ... ms", "took 12 s"));
    assert!(!fits("a", "a\nb") && !fits("a\nb", "a") && !fits("allowed", "denied"));
}
