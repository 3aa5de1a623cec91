//! Bringing a database to the schema of this binary: everything that is pending in one `batch()`.

use kavachos_core::ledger::Frontier;
use kavachos_core::revocation::LogHead;
use kavachos_core::time::Timestamp;
use kavachos_store::migration::{BOOTSTRAP, Dialect, Migration};
use kavachos_store::{Host, Row};

use crate::guard;
use crate::link::{Link, LinkError, Statement};
use crate::store::OpenError;
use crate::text;
use crate::writer::schema::{APPLICATION_NAME, Schema, Step};
use crate::writer::statement::{
    APPLICATION, APPLIED, CREATE, INSERT_APPLICATION, INSERT_MIGRATION,
};

/// How often to look again when another executor migrated meanwhile.
const ATTEMPTS: usize = 3;
const HAS_META: &str = "SELECT count(*) AS tables FROM sqlite_schema WHERE name = 'meta'";

/// Applies what is pending, and makes the log if there is none.
pub(crate) fn prepare(link: &dyn Link, known: &[Migration], host: &Host) -> Result<(), OpenError> {
    let mut last = LinkError::Lost("it was never asked".to_owned());
    for _ in 0..ATTEMPTS {
        let schema = read(link)?;
        let pending = schema.pending(known)?;
        if pending.is_empty() {
            return Ok(());
        }
        let now = host.clock.now();
        match link.batch(&statements(&schema, &pending, now, host)) {
            Ok(_) => return Ok(()),
            // Another executor may have been first; a statement that is wrong fails again.
            Err(error) => last = error,
        }
    }
    Err(last.into())
}

fn statements(
    schema: &Schema,
    pending: &[Migration],
    now: Timestamp,
    host: &Host,
) -> Vec<Statement> {
    let plain = |sql: String| Statement::new(sql, Vec::new());
    let rendered = |sql: &str| {
        let sql = Dialect::Sqlite.render(sql);
        let parts: Vec<Statement> = text::split(&sql)
            .into_iter()
            .map(|one| plain(one.to_owned()))
            .collect();
        parts
    };
    let mut all = Vec::new();
    if matches!(schema, Schema::Empty) {
        all.extend(rendered(BOOTSTRAP));
        all.extend(guard::SCHEMA.map(|sql| plain(sql.to_owned())));
        all.push(plain(INSERT_APPLICATION.to_owned()));
    }
    for step in pending {
        all.extend(rendered(step.sql));
        let params = vec![
            step.owner.into(),
            step.number.into(),
            step.name.into(),
            step.checksum().into(),
            step.min_binary.into(),
            now.into(),
        ];
        all.push(Statement::new(INSERT_MIGRATION, params));
    }
    let mut id = [0_u8; 16];
    host.rng.fill(&mut id);
    let empty = vec![
        id.into(),
        Frontier::default().encode().into(),
        LogHead::EMPTY.rhash.into(),
    ];
    all.push(Statement::new(CREATE, empty));
    all
}

fn read(link: &dyn Link) -> Result<Schema, OpenError> {
    let select = |sql: &'static str| -> Result<Vec<Row>, OpenError> {
        let rows = link.batch(&[Statement::new(sql, Vec::new())])?;
        Ok(rows.into_iter().flatten().collect())
    };
    let tables: Vec<(i64,)> = decoded(select(HAS_META)?)?;
    if tables == [(0,)] {
        return Ok(Schema::Empty);
    }
    if decoded::<(String,)>(select(APPLICATION)?)? != [(APPLICATION_NAME.to_owned(),)] {
        return Err(OpenError::Foreign);
    }
    let steps = decoded::<(String, u32, Vec<u8>, u32, String, Timestamp)>(select(APPLIED)?)?;
    let steps = steps
        .into_iter()
        .map(|(owner, number, checksum, min_binary, name, time)| {
            (
                (owner, number),
                Step {
                    checksum,
                    min_binary,
                    name,
                    time,
                },
            )
        });
    Ok(Schema::Ours(steps.collect()))
}

fn decoded<T: kavachos_store::FromRow>(rows: Vec<Row>) -> Result<Vec<T>, OpenError> {
    let decode = |row: Row| {
        row.decode()
            .map_err(|error| OpenError::Damaged(error.to_string()))
    };
    rows.into_iter().map(decode).collect()
}
