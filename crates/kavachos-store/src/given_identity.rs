//! Humans to whom an operator gave an outside identity by which nobody has come in yet.

use kavachos_core::id::UserId;

use crate::batch::Write;
use crate::row::{Query, Select};

/// Notes that an operator gave this human their identity. Belongs into the batch that creates the human.
pub fn give(human: UserId) -> Write {
    Write::exactly(1, "INSERT INTO given_identities (user_id) VALUES (?1)").bind(human)
}

/// Notes that somebody came in as this human.
pub fn used(human: UserId) -> Write {
    Write::any("DELETE FROM given_identities WHERE user_id = ?1").bind(human)
}

/// The human, if nobody came in by the identity that an operator gave them.
pub fn unused(human: UserId) -> Select<(UserId,)> {
    Query::new(
        1,
        "SELECT g.user_id FROM given_identities g WHERE g.user_id = ?1",
    )
    .bind(human)
    .of()
}
