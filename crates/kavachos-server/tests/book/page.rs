//! A page of the book, and how it must look.
//!
//! A block begins and ends with three backticks at the beginning of a line. Its language says what becomes of it:
//!
//! - `sh` is run, in one shell for the whole page. `exit=1`: its last command exits so (what it sets is then forgotten).
//!   `terminal=NAME until="TEXT"`: it is typed in a terminal of its own, where it stays running, and the page goes on
//!   when it has printed the text.
//! - `text` and `json` after it are all that it printed. `text terminal=NAME` is what came next in that terminal.
//! - `python`, `ts`, `js`, `toml`, `nginx`, `caddy`, `yaml` are files: the first line is a comment with the name, and a
//!   later `sh`, or another file, names it too.
//! - `rust` (or `rust,no_run`) is a doctest of the crate `kavachos`, which includes the page.
//!
//! A block that nothing runs has `<!-- not run: REASON -->` on the line before it. `<!-- needs: NAME NAME -->` at the
//! top names the programs that a page calls besides `sh`, `curl` and `kavach`.

use std::path::{Path, PathBuf};

const FENCE: &str = "```";
const NOT_RUN: (&str, &str) = ("<!-- not run: ", " -->");
const NEEDS: (&str, &str) = ("<!-- needs: ", " -->");

/// A page, read.
pub(crate) struct Page {
    pub(crate) path: PathBuf,
    pub(crate) needs: Vec<String>,
    pub(crate) blocks: Vec<Block>,
}

/// A block, and what becomes of it.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    /// Of the fence that opens it, from 1.
    pub(crate) line: usize,
    pub(crate) text: String,
    pub(crate) role: Role,
}

/// What becomes of a block.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Role {
    /// Typed into the page's shell, where its last command exits like this.
    Typed { exit: i32 },
    /// Typed into a terminal of its own, which then shows this text.
    Started { terminal: String, until: String },
    /// All that the block before it printed, as text.
    Printed,
    /// What this terminal showed next.
    Shown { terminal: String },
    /// The JSON that the block before it printed.
    PrintedJson,
    /// A file with this name.
    File { name: String },
    /// Run by cargo as a doctest.
    Doctest,
    /// Left out, for this reason.
    NotRun { reason: String },
}

impl Page {
    /// Reads a page; what is wrong with it, with the line.
    pub(crate) fn parse(path: &Path, text: &str) -> Result<Self, String> {
        let mut page = Self {
            path: path.to_owned(),
            needs: Vec::new(),
            blocks: Vec::new(),
        };
        let mut lines = text.lines().enumerate();
        let mut before = "";
        while let Some((number, line)) = lines.next() {
            let at = |fault: String| format!("{}:{}: {fault}", path.display(), number + 1);
            if let Some(names) = between(line, NEEDS) {
                page.needs.extend(names.split(' ').map(str::to_owned));
            }
            if line.trim_start().starts_with(FENCE) {
                let info = line
                    .strip_prefix(FENCE)
                    .ok_or_else(|| at("a block must begin at the beginning of a line".into()))?;
                let mut inside = lines.by_ref().map(|(_, line)| line);
                let body: Vec<&str> = inside.by_ref().take_while(|line| *line != FENCE).collect();
                let text = body.join("\n");
                let reason = between(before, NOT_RUN);
                let role = role(info, &text, reason).map_err(at)?;
                page.blocks.push(Block {
                    line: number + 1,
                    text,
                    role,
                });
            }
            before = line;
        }
        page.check()?;
        Ok(page)
    }

    /// The name of its file.
    pub(crate) fn name(&self) -> String {
        let name = self.path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// Where a block is.
    pub(crate) fn at(&self, block: &Block) -> String {
        format!("{}:{}", self.path.display(), block.line)
    }

    /// Whether nothing is left over: output that nothing printed, and files that nothing uses.
    fn check(&self) -> Result<(), String> {
        for (index, block) in self.blocks.iter().enumerate() {
            let before = index
                .checked_sub(1)
                .and_then(|before| self.blocks.get(before));
            let is_typed = matches!(before.map(|block| &block.role), Some(Role::Typed { .. }));
            let later = self.blocks.iter().skip(index + 1);
            let fault = match &block.role {
                Role::Printed | Role::PrintedJson if !is_typed => {
                    "no `sh` block before it printed this"
                }
                Role::Shown { terminal } if !self.starts(terminal, index) => {
                    "no block before it has this terminal"
                }
                Role::File { name } if !later.clone().any(|later| uses(later, name)) => {
                    "no later block uses this file"
                }
                _ => continue,
            };
            return Err(format!("{}: {fault}", self.at(block)));
        }
        Ok(())
    }

    fn starts(&self, name: &str, before: usize) -> bool {
        let mut blocks = self.blocks.iter().take(before);
        blocks
            .any(|block| matches!(&block.role, Role::Started { terminal, .. } if terminal == name))
    }
}

/// Whether a block names a file, in a command or in another file.
fn uses(block: &Block, name: &str) -> bool {
    let module = name.strip_suffix(".py").unwrap_or(name);
    let imported = block.text.contains(&format!("from {module} import"));
    match block.role {
        Role::Typed { .. } | Role::Started { .. } => block.text.contains(name),
        Role::File { .. } => block.text.contains(name) || imported,
        _ => false,
    }
}

fn role(info: &str, text: &str, reason: Option<&str>) -> Result<Role, String> {
    let (language, rest) = info.split_once(' ').unwrap_or((info, ""));
    let attributes = attributes(rest)?;
    let attribute = |name: &str| {
        let mut all = attributes.iter();
        all.find(|(known, _)| known == name)
            .map(|(_, value)| value.clone())
    };
    let allowed: &[&str] = match language {
        "sh" => &["exit", "terminal", "until"],
        "text" => &["terminal"],
        _ => &[],
    };
    if let Some((name, _)) = attributes
        .iter()
        .find(|(name, _)| !allowed.contains(&name.as_str()))
    {
        return Err(format!("a block of `{language}` has no `{name}`"));
    }
    if let Some(reason) = reason {
        let reason = reason.to_owned();
        return Ok(Role::NotRun { reason });
    }
    match language {
        "sh" => sh(attribute("exit"), attribute("terminal"), attribute("until")),
        "text" => {
            Ok(attribute("terminal").map_or(Role::Printed, |terminal| Role::Shown { terminal }))
        }
        "json" => Ok(Role::PrintedJson),
        "rust" | "rust,no_run" => Ok(Role::Doctest),
        "python" | "ts" | "js" | "toml" | "nginx" | "caddy" | "yaml" => file_name(text)
            .map(|name| Role::File { name })
            .ok_or_else(|| "the first line must be a comment with the name of the file".to_owned()),
        other => Err(format!(
            "nothing runs a block of `{other}`: mark it with `<!-- not run: REASON -->` or give it another language"
        )),
    }
}

fn sh(
    exit: Option<String>,
    terminal: Option<String>,
    until: Option<String>,
) -> Result<Role, String> {
    match (exit, terminal, until) {
        (None, Some(terminal), Some(until)) => Ok(Role::Started { terminal, until }),
        (exit, None, None) => {
            let exit = exit.map_or(Ok(0), |exit| exit.parse());
            let exit = exit.map_err(|_| "`exit` is a number".to_owned())?;
            Ok(Role::Typed { exit })
        }
        _ => Err("`terminal` and `until` come together, and without `exit`".to_owned()),
    }
}

/// `name=value name="a value"`.
fn attributes(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut found = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let wrong = || format!("`{rest}` is not `name=value` or `name=\"value\"`");
        let (name, after) = rest.split_once('=').ok_or_else(wrong)?;
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').ok_or_else(wrong)?,
            None => after.split_once(' ').unwrap_or((after, "")),
        };
        found.push((name.to_owned(), value.to_owned()));
        rest = after.trim_start();
    }
    Ok(found)
}

/// The name in `# agent.py`, `// agent.ts`: a comment that is one word with a dot.
fn file_name(text: &str) -> Option<String> {
    let line = text.lines().next()?;
    let comment = line
        .strip_prefix("# ")
        .or_else(|| line.strip_prefix("// "))?;
    let name = comment.trim();
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    (name == "Caddyfile" || name.contains('.')).then_some(())?;
    name.chars().all(plain).then(|| name.to_owned())
}

fn between<'a>(line: &'a str, (start, end): (&str, &str)) -> Option<&'a str> {
    line.strip_prefix(start)?.strip_suffix(end)
}
