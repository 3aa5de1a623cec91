//! What stands in a database, all of it: for tests that look for what must not stand there.

use std::fs;

use crate::app::{Home, TestApp};
use crate::postgres::{Cluster, name_of};

const TABLES: &str =
    "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1";

impl TestApp {
    /// The bytes of every file of the database, while the server runs, so with the write-ahead log; of PostgreSQL every row
    /// of every table as text. Each with the name of where it stands.
    pub fn at_rest(&self) -> Vec<(String, Vec<u8>)> {
        match &self.home {
            Home::Memory => panic!("a database in memory is nowhere at rest"),
            Home::File(directory) => {
                let files = fs::read_dir(directory.path()).expect("the directory can be read");
                let read = |file: std::io::Result<fs::DirEntry>| {
                    let path = file.expect("the directory can be read").path();
                    let bytes = fs::read(&path).expect("the file can be read");
                    (path.display().to_string(), bytes)
                };
                files.map(read).collect()
            }
            Home::Postgres(lent) => {
                let cluster = Cluster::shared().expect("the database is in it");
                let rows = |sql: &str| cluster.psql(name_of(lent.url()), sql);
                let tables = rows(TABLES);
                let read = |table: &str| {
                    let text = rows(&format!("SELECT t::text FROM \"{table}\" t"));
                    (table.to_owned(), text.into_bytes())
                };
                tables.lines().map(read).collect()
            }
        }
    }
}
