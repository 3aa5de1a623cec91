//! The pages and their order, as the index of the book lists them, and the line at the end of each that leads on.

use std::fs;
use std::path::{Path, PathBuf};

/// Where the book is.
pub(crate) fn book() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/book")
}

/// The title and the file of each page: the lines `1. [Title](file.md)...` of the index.
fn listed() -> Vec<(String, String)> {
    let index = fs::read_to_string(book().join("README.md")).unwrap();
    let items = index.lines().filter_map(|line| {
        let (number, rest) = line.split_once(". [")?;
        number.parse::<u32>().ok()?;
        let (title, rest) = rest.split_once("](")?;
        let (file, _) = rest.split_once(')')?;
        Some((title.to_owned(), file.to_owned()))
    });
    items.collect()
}

/// The files of the pages, in their order.
pub(crate) fn pages() -> Vec<PathBuf> {
    let files = listed().into_iter().map(|(_, file)| book().join(file));
    files.map(|file| fs::canonicalize(file).unwrap()).collect()
}

#[test]
fn the_index_lists_every_page_once() {
    let mut listed: Vec<String> = listed().into_iter().map(|(_, file)| file).collect();
    listed.push("README.md".to_owned());
    listed.sort();
    let entries = fs::read_dir(book()).unwrap();
    let mut files: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".md"))
        .collect();
    files.sort();
    assert_eq!(listed, files);
}

#[test]
fn every_page_begins_with_its_title_and_ends_with_the_way_on() {
    let pages = listed();
    assert!(pages.len() > 1);
    for (index, (title, file)) in pages.iter().enumerate() {
        let link = |word: &str, page: Option<&(String, String)>| {
            page.map(|(title, file)| format!(" · {word}: [{title}]({file})"))
                .unwrap_or_default()
        };
        let before = index.checked_sub(1).and_then(|before| pages.get(before));
        let (before, after) = (link("before", before), link("next", pages.get(index + 1)));
        let text = fs::read_to_string(book().join(file)).unwrap();
        let lines = || text.lines().filter(|line| !line.is_empty());
        assert_eq!(lines().next(), Some(&*format!("# {title}")), "{file}");
        let last = format!("[The book](README.md){before}{after}");
        assert_eq!(lines().next_back(), Some(&*last), "{file}");
    }
}

/// The README begins with commands of the book; so they are run.
#[test]
fn every_command_of_the_readme_is_in_the_book() {
    let readme = fs::read_to_string(book().join("../../README.md")).unwrap();
    let texts = pages()
        .into_iter()
        .map(|page| fs::read_to_string(page).unwrap());
    let all: String = texts.collect();
    let commands = || readme.lines().filter(|line| line.starts_with("kavach "));
    assert!(commands().count() >= 3);
    for command in commands() {
        let mut lines = all.lines();
        assert!(lines.any(|line| line == command), "no page has `{command}`");
    }
}
