//! Proofs of possession that were used, by the hash of their key and name.

use kavachos_core::time::Timestamp;

use crate::batch::Write;
use crate::restoration;
use crate::row::{Query, Select};

/// Uses a proof, if nobody has.
pub fn use_once(proof: [u8; 32], now: Timestamp) -> Write {
    Write::exactly(
        1,
        "INSERT INTO used_proofs (proof, used_at) SELECT ?1, ?2 \
         WHERE NOT EXISTS (SELECT 1 FROM used_proofs p WHERE p.proof = ?1)",
    )
    .bind(proof)
    .bind(now)
}

/// When a proof was used; or when the database was restored, for one that was made before: it may have been used then.
pub fn used(proof: [u8; 32], made_at: Timestamp, now: Timestamp) -> Select<(Timestamp,)> {
    Query::new(
        1,
        "SELECT p.used_at FROM used_proofs p WHERE p.proof = ?1 \
         UNION ALL SELECT r.restored_at FROM restoration r WHERE r.restored_at > ?2 AND r.restored_at < ?3 LIMIT 1",
    )
    .bind(proof)
    .bind(made_at)
    .bind(now.plus(restoration::LONGEST_AHEAD))
    .of()
}

/// Forgets proofs that were used before this time, which nobody takes any more.
pub fn forget(before: Timestamp) -> Write {
    Write::any("DELETE FROM used_proofs WHERE used_at < ?1").bind(before)
}
