//! The live set: every handle that exists, with its generation. It is what the writer checks `reads` against.

use kavachos_core::revocation::{Handle, HandleKind, Mark};

#[cfg(feature = "postgres")]
use crate::batch::Param;
use crate::batch::{MAX_PARAMS, Write};
use crate::row::{Query, Select};

/// How long a stored handle is: its kind and 16 random bytes.
pub(crate) const HANDLE_BYTES: usize = 17;

const BIRTH: &str = "INSERT INTO handles (handle, generation) VALUES (?1, ?2)";

/// Stores a new handle; belongs into the batch that creates what it names.
pub fn born(mark: Mark) -> Write {
    Write::exactly(1, BIRTH)
        .bind(mark.handle)
        .bind(mark.generation)
}

/// What [`born`] stores, for a writer that has to know before the database does.
#[cfg(feature = "postgres")]
pub(crate) fn birth(write: &Write) -> Option<Mark> {
    match (write.sql.as_ref(), write.params.as_slice()) {
        (BIRTH, [Param::Blob(handle), Param::Unsigned(generation)]) => Some(Mark {
            handle: decode(handle)?,
            generation: *generation,
        }),
        _ => None,
    }
}

/// The generations at which these handles are; at most [`MAX_PARAMS`] of them.
pub fn current(handles: &[Handle]) -> Select<(Handle, u64)> {
    let names: Vec<String> = (1..=handles.len())
        .map(|number| format!("?{number}"))
        .collect();
    let sql = format!(
        "SELECT h.handle, h.generation FROM handles h WHERE h.handle IN ({})",
        names.join(", ")
    );
    let query = Query::new(MAX_PARAMS, sql);
    handles
        .iter()
        .fold(query, |query, handle| query.bind(*handle))
        .of()
}

/// The bytes of a handle as they are stored: the kind, then the random part.
pub fn encode(handle: Handle) -> [u8; HANDLE_BYTES] {
    let mut bytes = [0; HANDLE_BYTES];
    let (kind, random) = bytes.split_at_mut(1);
    kind.fill(handle.kind as u8);
    random.copy_from_slice(&handle.bytes);
    bytes
}

/// Reads what [`encode`] wrote; `None` when it is something else.
pub fn decode(bytes: &[u8]) -> Option<Handle> {
    let (kind, random) = bytes.split_first()?;
    Some(Handle {
        kind: HandleKind::try_from(i64::from(*kind)).ok()?,
        bytes: random.try_into().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_handle_reads_back() {
        let handle = Handle {
            kind: HandleKind::Grant,
            bytes: [9; 16],
        };
        assert_eq!(decode(&encode(handle)), Some(handle));
        assert_eq!(decode(&[0; HANDLE_BYTES]), None);
        assert_eq!(decode(&encode(handle)[..16]), None);
    }
}
