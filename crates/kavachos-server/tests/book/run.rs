//! Runs a page: its blocks in order, in one fresh directory, and says what is not as the page says.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::expect::Names;
use crate::machine::{Surroundings, is_doctest};
use crate::page::{Block, Page, Role};
use crate::terminal::{Terminal, variable};

/// What became of the blocks.
#[derive(Debug, Default)]
pub(crate) struct Count {
    run: usize,
    files: usize,
    compared: usize,
    doctests: usize,
    /// Where, and why.
    pub(crate) not_run: Vec<String>,
}

impl Count {
    pub(crate) fn add(&mut self, other: Self) {
        self.run += other.run;
        self.files += other.files;
        self.compared += other.compared;
        self.doctests += other.doctests;
        self.not_run.extend(other.not_run);
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            run,
            files,
            compared,
            doctests,
            not_run,
        } = self;
        let not_run = not_run.len();
        write!(
            f,
            "{run} blocks run, {files} files written, {compared} outputs compared, {doctests} doctests, {not_run} not run"
        )
    }
}

impl Page {
    /// What is left out when the page is skipped: what it never runs counts all the same.
    pub(crate) fn left_out(&self) -> Count {
        let mut count = Count::default();
        for block in &self.blocks {
            if let Role::NotRun { reason } = &block.role {
                count.not_run.push(format!("{}: {reason}", self.at(block)));
            }
        }
        count
    }
}

/// Reads a page.
pub(crate) fn read(path: &Path) -> Result<Page, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Page::parse(path, &text)
}

/// What is going on while a page is run.
struct Reader<'a> {
    page: &'a Page,
    terminal: Terminal,
    names: Names,
    count: Count,
    /// What the block before printed.
    printed: String,
    /// The terminals: the number of the block, and how many of its lines the page has told.
    terminals: BTreeMap<String, (usize, usize)>,
    /// What to write into the page: the line, and the text.
    corrections: Vec<(usize, String)>,
}

/// Runs a page until the first block that is not as it says.
pub(crate) fn run(page: &Page, surroundings: &Surroundings) -> (Count, Vec<String>) {
    let opened = Terminal::open(&surroundings.launcher, &surroundings.before);
    let terminal = match opened {
        Ok(terminal) => terminal,
        Err(fault) => return (Count::default(), vec![format!("{}: {fault}", page.name())]),
    };
    let mut reader = Reader {
        page,
        terminal,
        names: Names::default(),
        count: Count::default(),
        printed: String::new(),
        terminals: BTreeMap::new(),
        corrections: Vec::new(),
    };
    let mut blocks = page.blocks.iter().enumerate();
    let outcome = blocks.try_for_each(|(number, block)| {
        let outcome = reader.block(number, block);
        outcome.map_err(|fault| format!("{}: {fault}", page.at(block)))
    });
    reader.correct();
    (reader.count, outcome.err().into_iter().collect())
}

impl Reader<'_> {
    fn block(&mut self, number: usize, block: &Block) -> Result<(), String> {
        match &block.role {
            Role::Typed { exit } => {
                self.count.run += 1;
                self.printed = self.terminal.typed(number, &block.text, *exit)?;
                Ok(())
            }
            Role::Started { terminal, until } => {
                self.count.run += 1;
                self.terminals.insert(terminal.clone(), (number, 0));
                self.terminal.started(number, &block.text, until)
            }
            Role::Printed => {
                self.count.compared += 1;
                let printed = self.printed.clone();
                let outcome = self.names.text(&block.text, &printed);
                self.judge(block, outcome, &printed)
            }
            Role::PrintedJson => {
                self.count.compared += 1;
                self.json(block)
            }
            Role::Shown { terminal } => {
                self.count.compared += 1;
                self.shown(block, terminal)
            }
            Role::File { name } => {
                self.count.files += 1;
                self.terminal.write(name, &block.text)
            }
            Role::Doctest => {
                self.count.doctests += 1;
                is_doctest(&self.page.path)
            }
            Role::NotRun { reason } => {
                let left_out = format!("{}: {reason}", self.page.at(block));
                self.count.not_run.push(left_out);
                Ok(())
            }
        }
    }

    fn json(&mut self, block: &Block) -> Result<(), String> {
        let expected: Value = serde_json::from_str(&block.text)
            .map_err(|error| format!("this is no JSON: {error}"))?;
        let last = self.printed.lines().last().unwrap_or_default();
        let printed = serde_json::from_str(&self.printed).or_else(|_| serde_json::from_str(last));
        let printed: Value =
            printed.map_err(|error| format!("{error} in what was printed:\n{}", self.printed))?;
        let outcome = self.names.json(&expected, &printed);
        self.judge(block, outcome, &format!("{printed:#}"))
    }

    fn shown(&mut self, block: &Block, terminal: &str) -> Result<(), String> {
        let (number, told) = self.terminals.get(terminal).copied().unwrap_or_default();
        let lines = block.text.lines().count();
        let printed = self.terminal.shown(number, told + lines);
        let next: Vec<&str> = printed.lines().skip(told).take(lines).collect();
        let next = next.join("\n");
        self.terminals
            .insert(terminal.to_owned(), (number, told + lines));
        let outcome = self.names.text(&block.text, &next);
        self.judge(block, outcome, &next)
    }

    /// A difference is a fault, or, with `BOOK=write`, a correction of the page.
    fn judge(
        &mut self,
        block: &Block,
        outcome: Result<(), String>,
        printed: &str,
    ) -> Result<(), String> {
        let Err(fault) = outcome else { return Ok(()) };
        let is_written = variable("BOOK").is_some_and(|word| word == "write");
        if !is_written || !self.page.path.exists() {
            return Err(format!("{fault}\nall that was printed:\n{printed}"));
        }
        let printed = self.names.in_page(printed.trim_end());
        self.corrections.push((block.line, printed));
        Ok(())
    }

    /// Writes into the page what was printed.
    fn correct(&self) {
        if self.corrections.is_empty() {
            return;
        }
        let text = fs::read_to_string(&self.page.path).unwrap();
        let mut lines: Vec<&str> = text.lines().collect();
        for (line, printed) in self.corrections.iter().rev() {
            let rest = lines.iter().skip(*line);
            let length = rest.take_while(|line| **line != "```").count();
            lines.splice(*line..*line + length, printed.lines());
        }
        fs::write(&self.page.path, lines.join("\n") + "\n").unwrap();
    }
}
