//! Which creations were already done under a caller's `Idempotency-Key`.

use kavachos_core::time::Timestamp;

use crate::batch::Write;
use crate::row::{Query, Select};

/// Claims a slot for the thing that this batch creates. A slot that is taken makes the whole batch a conflict.
///
/// `slot` is a hash over caller, route and key; `request` one over the body.
pub fn claim(slot: [u8; 32], request: [u8; 32], thing: String, now: Timestamp) -> Write {
    Write::exactly(
        1,
        "INSERT INTO idempotency (slot, request, thing, created_at) SELECT ?1, ?2, ?3, ?4 \
         WHERE NOT EXISTS (SELECT 1 FROM idempotency i WHERE i.slot = ?1)",
    )
    .bind(slot)
    .bind(request)
    .bind(thing)
    .bind(now)
}

/// What a slot was claimed with: the hash of the request, and what it created.
pub fn lookup(slot: [u8; 32]) -> Select<([u8; 32], String)> {
    Query::new(
        1,
        "SELECT i.request, i.thing FROM idempotency i WHERE i.slot = ?1",
    )
    .bind(slot)
    .of()
}

/// Forgets slots older than `before`.
pub fn forget(before: Timestamp) -> Write {
    Write::any("DELETE FROM idempotency WHERE created_at < ?1").bind(before)
}
