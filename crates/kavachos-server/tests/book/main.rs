//! The book in `docs/book`: every block of every page is run, in order, page by page, with the real `kavach`.
//!
//! How a page looks is told in `page.rs`; what its blocks come to, in `run.rs`. With `BOOK=write` in the environment, what
//! was printed is written into the page where it differs; read the difference before you commit it.

#[cfg(test)]
mod expect;
#[cfg(test)]
mod index;
#[cfg(test)]
mod machine;
#[cfg(test)]
mod page;
#[cfg(test)]
mod run;
#[cfg(test)]
mod terminal;
#[cfg(test)]
mod twins;

#[cfg(test)]
mod book {
    use std::io::Write;
    use std::sync::Mutex;
    use std::thread;

    use crate::machine::{Machine, Ready};
    use crate::run::{Count, read};

    /// How many pages are run at the same time.
    const WORKERS: usize = 2;
    /// Blocks of the book that nothing runs, each with its reason before it. Change this when you add one.
    const NOT_RUN: usize = 3;

    #[test]
    fn every_block_of_the_book_does_what_the_book_says() {
        let machine = Machine::look();
        let workers = if machine.isolates() { WORKERS } else { 1 };
        let pages = Mutex::new(crate::index::pages());
        let told = Mutex::new((Count::default(), Vec::new()));
        let next = || pages.lock().unwrap().pop();
        thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| {
                    while let Some(path) = next() {
                        let (count, faults) = one(&machine, &path);
                        let mut told = told.lock().unwrap();
                        told.0.add(count);
                        told.1.extend(faults);
                    }
                });
            }
        });
        let (count, faults) = told.into_inner().unwrap();
        say(&format!("the book: {count}"));
        assert!(faults.is_empty(), "\n{}", faults.join("\n\n"));
        assert_eq!(count.not_run.len(), NOT_RUN, "{:#?}", count.not_run);
    }

    fn one(machine: &Machine, path: &std::path::Path) -> (Count, Vec<String>) {
        let page = match read(path) {
            Ok(page) => page,
            Err(fault) => return (Count::default(), vec![fault]),
        };
        match machine.ready(&page) {
            Ready::Missing(what) => {
                say(&format!("skipped: {}: {what}", page.name()));
                (page.left_out(), Vec::new())
            }
            Ready::With(surroundings) => crate::run::run(&page, &surroundings),
        }
    }

    /// Past the capture of the test harness; `scripts/check.sh` counts the lines that begin with `skipped: `.
    fn say(line: &str) {
        std::io::stderr()
            .write_all(format!("\n{line}\n").as_bytes())
            .unwrap();
    }
}
