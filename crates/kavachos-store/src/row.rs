//! Queries as data, and rows decoded by type instead of by index.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use kavachos_core::id::{Id, Named};
use kavachos_core::revocation::Handle;
use kavachos_core::time::Timestamp;

use crate::batch::{Param, check_params};
use crate::handle;

/// The most queries of one [`crate::Store::read`].
pub const MAX_QUERIES: usize = 100;

/// A SELECT as data.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// In the subset that every database reads; placeholders are `?1`, `?2`, ...; results are BIGINT, TEXT or BYTEA.
    pub sql: Cow<'static, str>,
    /// The values of the placeholders, in order.
    pub params: Vec<Param>,
    /// More rows than these are an error, never cut off: put a LIMIT into the statement where a page is meant.
    pub max_rows: usize,
}

impl Query {
    /// A query of at most so many rows.
    pub fn new(max_rows: usize, sql: impl Into<Cow<'static, str>>) -> Self {
        Self {
            sql: sql.into(),
            params: Vec::new(),
            max_rows,
        }
    }

    /// Gives the next placeholder its value.
    #[must_use]
    pub fn bind(mut self, value: impl Into<Param>) -> Self {
        self.params.push(value.into());
        self
    }

    /// States what its rows decode to.
    pub fn of<T: FromRow>(self) -> Select<T> {
        Select {
            query: self,
            rows: PhantomData,
        }
    }

    pub(crate) fn at_most(mut self, max_rows: usize) -> Self {
        self.max_rows = self.max_rows.min(max_rows);
        self
    }

    /// Checks what no database would take.
    ///
    /// # Errors
    /// Says which parameter is wrong and how.
    pub fn check(&self) -> Result<(), String> {
        check_params(&self.params)
    }
}

/// A query whose rows decode to `T`.
#[derive(Debug)]
pub struct Select<T> {
    query: Query,
    rows: PhantomData<fn() -> T>,
}

impl<T> Select<T> {
    /// The query without its type, to run together with others in [`crate::Store::read`].
    pub fn into_query(self) -> Query {
        self.query
    }
}

/// One value of a row. Its `Debug` says of what type it is, and no more: it may open something.
#[derive(Clone, PartialEq, Eq)]
pub enum Cell {
    /// NULL.
    Null,
    /// BIGINT.
    Integer(i64),
    /// TEXT.
    Text(String),
    /// BYTEA.
    Blob(Vec<u8>),
}

impl fmt::Debug for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "Null",
            Self::Integer(_) => "Integer(..)",
            Self::Text(_) => "Text(..)",
            Self::Blob(_) => "Blob(..)",
        })
    }
}

/// One row of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row(Vec<Cell>);

impl Row {
    /// A row of these cells; for executors.
    pub fn new(cells: Vec<Cell>) -> Self {
        Self(cells)
    }

    /// Its cells.
    pub fn cells(self) -> Vec<Cell> {
        self.0
    }

    /// The first cell, and a row of the others.
    pub(crate) fn split_first(self) -> (Option<Cell>, Self) {
        let mut cells = self.0.into_iter();
        (cells.next(), Self(cells.collect()))
    }

    /// Reads all cells in order, into a tuple or a type that implements [`FromRow`].
    ///
    /// # Errors
    /// The row has another number of cells, or a cell is of another type.
    pub fn decode<T: FromRow>(self) -> Result<T, Malformed> {
        T::from_row(self)
    }
}

/// A row is not what its reader expects: the query or the schema is wrong, or the database is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("column {column} does not hold {expected}")]
pub struct Malformed {
    /// Counted from 1.
    pub column: usize,
    /// What should have been there.
    pub expected: &'static str,
}

/// What a row decodes to. Implemented for tuples; a type of your own decodes a tuple and names its parts.
pub trait FromRow: Sized {
    /// Reads the row.
    ///
    /// # Errors
    /// The row is not of this type.
    fn from_row(row: Row) -> Result<Self, Malformed>;
}

/// What a cell decodes to.
pub trait FromCell: Sized {
    /// What the cell should hold, for the message.
    const EXPECTED: &'static str;

    /// Reads the cell; `None` when it is something else.
    fn from_cell(cell: Cell) -> Option<Self>;
}

impl FromRow for Row {
    fn from_row(row: Row) -> Result<Self, Malformed> {
        Ok(row)
    }
}

/// Hands out the cells of a row one by one.
struct Cells {
    cells: std::vec::IntoIter<Cell>,
    column: usize,
}

impl Cells {
    fn take<T: FromCell>(&mut self) -> Result<T, Malformed> {
        self.column = self.column.saturating_add(1);
        self.cells.next().and_then(T::from_cell).ok_or(Malformed {
            column: self.column,
            expected: T::EXPECTED,
        })
    }

    fn end(self) -> Result<(), Malformed> {
        match self.cells.as_slice() {
            [] => Ok(()),
            _ => Err(Malformed {
                column: self.column.saturating_add(1),
                expected: "anything: the row is longer than its reader",
            }),
        }
    }
}

macro_rules! tuples {
    ($($($name:ident)+;)+) => {$(
        impl<$($name: FromCell),+> FromRow for ($($name,)+) {
            fn from_row(row: Row) -> Result<Self, Malformed> {
                let mut cells = Cells { cells: row.0.into_iter(), column: 0 };
                let tuple = ($(cells.take::<$name>()?,)+);
                cells.end()?;
                Ok(tuple)
            }
        }
    )+};
}

tuples! {
    A;
    A B;
    A B C;
    A B C D;
    A B C D E;
    A B C D E F;
    A B C D E F G;
    A B C D E F G H;
    A B C D E F G H I;
    A B C D E F G H I J;
    A B C D E F G H I J K;
    A B C D E F G H I J K L;
    A B C D E F G H I J K L M;
    A B C D E F G H I J K L M N;
    A B C D E F G H I J K L M N O;
    A B C D E F G H I J K L M N O P;
    A B C D E F G H I J K L M N O P Q;
    A B C D E F G H I J K L M N O P Q R;
    A B C D E F G H I J K L M N O P Q R S;
    A B C D E F G H I J K L M N O P Q R S T;
    A B C D E F G H I J K L M N O P Q R S T U;
}

impl FromCell for i64 {
    const EXPECTED: &'static str = "a number";
    fn from_cell(cell: Cell) -> Option<Self> {
        match cell {
            Cell::Integer(number) => Some(number),
            _ => None,
        }
    }
}

impl FromCell for u64 {
    const EXPECTED: &'static str = "a number that is not negative";
    fn from_cell(cell: Cell) -> Option<Self> {
        i64::from_cell(cell)?.try_into().ok()
    }
}

impl FromCell for u32 {
    const EXPECTED: &'static str = "a number from 0 to 2^32 - 1";
    fn from_cell(cell: Cell) -> Option<Self> {
        i64::from_cell(cell)?.try_into().ok()
    }
}

impl FromCell for u8 {
    const EXPECTED: &'static str = "a number from 0 to 255";
    fn from_cell(cell: Cell) -> Option<Self> {
        i64::from_cell(cell)?.try_into().ok()
    }
}

impl FromCell for bool {
    const EXPECTED: &'static str = "0 or 1";
    fn from_cell(cell: Cell) -> Option<Self> {
        match cell {
            Cell::Integer(0) => Some(false),
            Cell::Integer(1) => Some(true),
            _ => None,
        }
    }
}

impl FromCell for Timestamp {
    const EXPECTED: &'static str = "a time in microseconds";
    fn from_cell(cell: Cell) -> Option<Self> {
        let micros = i64::from_cell(cell)?;
        let time = Self::from_micros(micros);
        (time.as_micros() == micros).then_some(time)
    }
}

impl FromCell for String {
    const EXPECTED: &'static str = "a text";
    fn from_cell(cell: Cell) -> Option<Self> {
        match cell {
            Cell::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl FromCell for Vec<u8> {
    const EXPECTED: &'static str = "bytes";
    fn from_cell(cell: Cell) -> Option<Self> {
        match cell {
            Cell::Blob(bytes) => Some(bytes),
            _ => None,
        }
    }
}

impl<const N: usize> FromCell for [u8; N] {
    const EXPECTED: &'static str = "the right number of bytes";
    fn from_cell(cell: Cell) -> Option<Self> {
        Vec::from_cell(cell)?.try_into().ok()
    }
}

impl<K: Named> FromCell for Id<K> {
    const EXPECTED: &'static str = K::PREFIX;
    fn from_cell(cell: Cell) -> Option<Self> {
        String::from_cell(cell)?.parse().ok()
    }
}

impl FromCell for Handle {
    const EXPECTED: &'static str = "a handle";
    fn from_cell(cell: Cell) -> Option<Self> {
        handle::decode(&Vec::from_cell(cell)?)
    }
}

impl<T: FromCell> FromCell for Option<T> {
    const EXPECTED: &'static str = T::EXPECTED;
    fn from_cell(cell: Cell) -> Option<Self> {
        match cell {
            Cell::Null => Some(None),
            cell => T::from_cell(cell).map(Some),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        Row::new(vec![
            Cell::Integer(7),
            Cell::Null,
            Cell::Text("a".to_owned()),
        ])
    }

    #[test]
    fn a_row_decodes_into_a_tuple_of_its_types() {
        assert_eq!(
            row().decode(),
            Ok((7_u64, None::<Timestamp>, "a".to_owned()))
        );
    }

    #[test]
    fn a_row_of_another_shape_is_refused_with_its_column() {
        type Wrong = Result<(u64, String, String), Malformed>;
        let wrong: Wrong = row().decode();
        assert_eq!(wrong.map_err(|error| error.column), Err(2));
        let short: Result<(u64, Option<i64>), Malformed> = row().decode();
        assert_eq!(short.map_err(|error| error.column), Err(3));
        let long: Result<(u64, Option<i64>, String, i64), Malformed> = row().decode();
        assert_eq!(long.map_err(|error| error.column), Err(4));
    }
}
