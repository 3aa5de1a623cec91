//! A PostgreSQL of its own for tests in other languages: prints the address of an empty database, and ends with its input.

use std::io::{self, Read as _, Write as _};

use kavachos_test::postgres::Cluster;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Some(cluster) = Cluster::start() else {
        return Err("there are no binaries of PostgreSQL here".into());
    };
    writeln!(io::stdout(), "{}", cluster.database())?;
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
