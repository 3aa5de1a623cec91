//! Parameters and cells as SQLite takes and gives them.

use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};

use crate::batch::Param;
use crate::row::Cell;

/// A parameter on its way into a statement, without a copy.
pub(super) struct Bound<'a>(pub(super) &'a Param);

impl ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self.0 {
            Param::Null => ValueRef::Null,
            Param::Integer(number) => ValueRef::Integer(*number),
            Param::Unsigned(number) => ValueRef::Integer(to_i64(*number)?),
            Param::Text(text) => ValueRef::Text(text.as_bytes()),
            Param::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

/// A number as the database holds it.
pub(super) fn to_i64(number: u64) -> rusqlite::Result<i64> {
    i64::try_from(number).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

/// A value of a row; `None` for a floating-point number, which no column of ours holds, or a text that is not UTF-8.
pub(super) fn cell(value: ValueRef<'_>) -> Option<Cell> {
    Some(match value {
        ValueRef::Null => Cell::Null,
        ValueRef::Integer(number) => Cell::Integer(number),
        ValueRef::Text(text) => Cell::Text(str::from_utf8(text).ok()?.to_owned()),
        ValueRef::Blob(bytes) => Cell::Blob(bytes.to_vec()),
        ValueRef::Real(_) => return None,
    })
}
