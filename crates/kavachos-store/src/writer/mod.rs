//! What the writers of all databases have in common: the queues in front of them, the memory of the log, the takes, and
//! the way in which a group is answered. Knows no database; an executor brings the statements and the transaction.

pub(crate) mod errand;
pub(crate) mod front;
pub(crate) mod job;
pub(crate) mod log;
pub(crate) mod queue;
pub(crate) mod recent;
pub(crate) mod schema;
pub(crate) mod shared;
pub(crate) mod statement;
pub(crate) mod take;
