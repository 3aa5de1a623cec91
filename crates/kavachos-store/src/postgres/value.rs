//! Parameters and cells as PostgreSQL takes and gives them, in its binary form.

use std::error::Error;
use std::fmt;

use bytes::BytesMut;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use crate::batch::Param;
use crate::row::Cell;

type Failure = Box<dyn Error + Sync + Send>;

/// What a placeholder of a type takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    Text,
    Bytes,
}

fn kind(ty: &Type) -> Option<Kind> {
    match *ty {
        Type::INT8 | Type::INT4 | Type::INT2 => Some(Kind::Number),
        Type::TEXT | Type::VARCHAR | Type::BPCHAR => Some(Kind::Text),
        Type::BYTEA => Some(Kind::Bytes),
        _ => None,
    }
}

/// Why the parameters are not those that the placeholders take; `None` when they are.
pub(super) fn misfit(params: &[Param], types: &[Type]) -> Option<String> {
    if params.len() != types.len() {
        let (given, taken) = (params.len(), types.len());
        return Some(format!(
            "the statement takes {taken} parameters and was given {given}"
        ));
    }
    let wrong = params.iter().zip(types).position(|(param, ty)| {
        let given = match param {
            Param::Null => return kind(ty).is_none(),
            Param::Integer(_) | Param::Unsigned(_) => Kind::Number,
            Param::Text(_) => Kind::Text,
            Param::Blob(_) => Kind::Bytes,
        };
        kind(ty) != Some(given)
    });
    wrong.map(|index| {
        let number = index.saturating_add(1);
        let ty = types.get(index).map_or("another type", Type::name);
        format!("parameter {number} is of another type than its placeholder, which is `{ty}`")
    })
}

/// A parameter on its way into a statement, without a copy.
pub(super) struct Bound<'a>(pub(super) &'a Param);

/// What is bound may be a secret, and the driver would write it into a log.
impl fmt::Debug for Bound<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("..")
    }
}

impl ToSql for Bound<'_> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Failure> {
        match self.0 {
            Param::Null => Ok(IsNull::Yes),
            Param::Integer(number) => number_to_sql(*number, ty, out),
            Param::Unsigned(number) => number_to_sql(i64::try_from(*number)?, ty, out),
            Param::Text(text) => text.as_ref().to_sql(ty, out),
            Param::Blob(bytes) => bytes.as_slice().to_sql(ty, out),
        }
    }

    fn accepts(ty: &Type) -> bool {
        kind(ty).is_some()
    }

    to_sql_checked!();
}

fn number_to_sql(number: i64, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Failure> {
    match *ty {
        Type::INT8 => number.to_sql(ty, out),
        Type::INT4 => i32::try_from(number)?.to_sql(ty, out),
        _ => i16::try_from(number)?.to_sql(ty, out),
    }
}

/// A value of our own statements, which the driver must not write into a log either.
pub(super) struct Hidden<T>(pub(super) T);

impl<T> fmt::Debug for Hidden<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("..")
    }
}

impl<T: ToSql> ToSql for Hidden<T> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Failure> {
        self.0.to_sql(ty, out)
    }

    fn accepts(ty: &Type) -> bool {
        T::accepts(ty)
    }

    to_sql_checked!();
}

/// A value of a row.
pub(super) struct Read(pub(super) Cell);

impl<'a> FromSql<'a> for Read {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Failure> {
        Ok(Self(match *ty {
            Type::INT8 => Cell::Integer(i64::from_sql(ty, raw)?),
            Type::INT4 => Cell::Integer(i32::from_sql(ty, raw)?.into()),
            Type::INT2 => Cell::Integer(i16::from_sql(ty, raw)?.into()),
            Type::BYTEA => Cell::Blob(raw.to_vec()),
            _ => Cell::Text(String::from_sql(ty, raw)?),
        }))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Failure> {
        Ok(Self(Cell::Null))
    }

    fn accepts(ty: &Type) -> bool {
        kind(ty).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_fits_a_placeholder_of_its_own_kind_alone() {
        let given = [
            Param::Integer(1),
            Param::Unsigned(1),
            Param::Text("a".into()),
            Param::Blob(vec![1]),
        ];
        let taken = [Type::INT8, Type::INT4, Type::TEXT, Type::BYTEA];
        assert_eq!(misfit(&given, &taken), None);
        let nulls = [Param::Null, Param::Null, Param::Null, Param::Null];
        assert_eq!(misfit(&nulls, &taken), None);
        let turned = [Type::TEXT, Type::INT4, Type::TEXT, Type::BYTEA];
        assert!(misfit(&given, &turned).unwrap().contains("parameter 1"));
        let short = taken.get(..3).unwrap();
        assert!(misfit(&given, short).unwrap().contains("takes 3"));
        assert!(misfit(&[Param::Null], &[Type::BOOL]).is_some());
    }
}
