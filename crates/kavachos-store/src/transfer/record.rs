//! A record of the ledger that comes in, as rows.

use kavachos_core::ledger::Hash;
use kavachos_core::time::Timestamp;

use crate::batch::Write;

/// One record of the ledger, with the columns that follow from its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its number.
    pub seq: u64,
    /// When it was committed.
    pub time: Timestamp,
    /// The body, canonical JSON.
    pub body: String,
    /// The salt of the personal fields; `None` once they are erased.
    pub salt: Option<Vec<u8>>,
    /// The personal fields; `None` once they are erased.
    pub personal: Option<String>,
    /// Its leaf of the tree.
    pub leaf: Hash,
    /// `id`, `kind`, `outcome`, `code` and `actor`, as the body has them.
    pub named: [String; 5],
    /// `subject`, `agent`, `action`, `resource` and `requestId`, as the body has them.
    pub about: [Option<String>; 5],
    /// The ancestors that the body names.
    pub chain: Vec<String>,
}

impl Record {
    /// Stores it, and by whom it can be found.
    pub fn store(self) -> Vec<Write> {
        let mut write = Write::exactly(
            1,
            "INSERT INTO ledger (seq, time, id, kind, outcome, code, actor, subject, agent, action, resource, \
             request_id, body, salt, personal, leaf) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
        )
        .bind(self.seq)
        .bind(self.time);
        write = self.named.into_iter().fold(write, Write::bind);
        write = self.about.into_iter().fold(write, Write::bind);
        let write = write
            .bind(self.body)
            .bind(self.salt)
            .bind(self.personal)
            .bind(self.leaf);
        let seq = self.seq;
        let member = |member: String| {
            Write::any(
                "INSERT INTO ledger_member (member, seq) VALUES (?1, ?2) \
                 ON CONFLICT (member, seq) DO NOTHING",
            )
            .bind(member)
            .bind(seq)
        };
        std::iter::once(write)
            .chain(self.chain.into_iter().map(member))
            .collect()
    }
}
