//! What tool servers that others run are told of sessions: each a handle of its own for a session, so that two of them
//! cannot tell that they serve the same human.

use kavachos_core::id::{SessionId, ToolServerId};
use kavachos_core::revocation::{Handle, Mark};

use crate::batch::Write;
use crate::row::{FromRow, Malformed, Query, Row, Select};

/// A handle of a session for one tool server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionHandle {
    /// The tool server.
    pub server: ToolServerId,
    /// The handle, at its current generation.
    pub mark: Mark,
}

impl FromRow for SessionHandle {
    fn from_row(row: Row) -> Result<Self, Malformed> {
        let (server, handle, generation) = row.decode()?;
        Ok(Self {
            server,
            mark: Mark { handle, generation },
        })
    }
}

const COLUMNS: &str = "SELECT s.server_id, s.handle, h.generation FROM session_handles s \
    JOIN handles h ON h.handle = s.handle";

/// Stores a handle, if the session has none for this tool server.
/// Its generation is stored apart, with [`crate::handle::born`].
pub fn insert(session: SessionId, server: ToolServerId, handle: Handle) -> Write {
    Write::exactly(
        1,
        "INSERT INTO session_handles (session_id, server_id, handle) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
    )
    .bind(session)
    .bind(server)
    .bind(handle)
}

/// The handle of a session for a tool server.
pub fn of(session: SessionId, server: ToolServerId) -> Select<SessionHandle> {
    Query::new(
        1,
        format!("{COLUMNS} WHERE s.session_id = ?1 AND s.server_id = ?2"),
    )
    .bind(session)
    .bind(server)
    .of()
}

/// At most `limit` handles of a session, in the order of the tool servers, after the one of this text.
pub fn after(session: SessionId, reached: String, limit: usize) -> Select<SessionHandle> {
    Query::new(
        limit,
        format!(
            "{COLUMNS} WHERE s.session_id = ?1 AND s.server_id > ?2 ORDER BY s.server_id LIMIT ?3"
        ),
    )
    .bind(session)
    .bind(reached)
    .bind(u32::try_from(limit).unwrap_or(u32::MAX))
    .of()
}

/// Removes the handles of sessions that are forgotten.
pub fn forget() -> Write {
    Write::any(
        "DELETE FROM session_handles WHERE NOT EXISTS (SELECT 1 FROM sessions t WHERE t.id = session_id)",
    )
}
