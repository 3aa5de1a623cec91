//! What a guess at a password costs: the parameters of Argon2id.

use argon2::Params;
use kavachos_core::invalid::Invalid;

/// The least memory, in KiB, that OWASP's Password Storage Cheat Sheet names for Argon2id.
const MIN_MEMORY_KIB: u32 = 7_168;
/// The least of memory times passes: that sheet's 7 MiB in 5 passes, the cheapest of what it calls equal.
const MIN_BLOCKS: u64 = 7_168 * 5;
/// The most memory of one hash, in KiB: a quarter of a GiB. A sign-in takes that much, of whoever asks.
const MAX_MEMORY_KIB: u32 = 1 << 18;
/// The most of memory times passes: a few seconds of a core.
const MAX_BLOCKS: u64 = 1 << 22;
/// The most lanes. They are done one after the other here.
const MAX_LANES: u32 = 8;
/// The length of what is stored, in bytes.
pub(super) const HASH_BYTES: usize = 32;

/// The cost of one hash: so much memory, gone over so often, in so many lanes (RFC 9106, 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl Cost {
    /// 19 MiB, twice, in one lane: what OWASP recommends.
    pub const OWASP: Self = Self {
        memory_kib: 19_456,
        passes: 2,
        lanes: 1,
    };

    /// Another cost.
    ///
    /// # Errors
    /// It is lower than what OWASP calls enough, or so high that signing in would stop the server.
    pub fn new(memory_kib: u32, passes: u32, lanes: u32) -> Result<Self, Invalid> {
        let cost = Self {
            memory_kib,
            passes,
            lanes,
        };
        if memory_kib < MIN_MEMORY_KIB || cost.blocks() < MIN_BLOCKS {
            return Err(Invalid::new(format!(
                "costs too little: at least {MIN_MEMORY_KIB} KiB, and memory times passes at least {MIN_BLOCKS} KiB"
            )));
        }
        cost.bounded().ok_or_else(|| {
            Invalid::new(format!(
                "costs too much: at most {MAX_MEMORY_KIB} KiB, memory times passes at most {MAX_BLOCKS} KiB, 1 to \
                 {MAX_LANES} lanes"
            ))
        })
    }

    /// The cost of what is stored, which may be lower than one that can be chosen; `None` when it is too high.
    pub(super) fn of(params: &Params) -> Option<Self> {
        let cost = Self {
            memory_kib: params.m_cost(),
            passes: params.t_cost(),
            lanes: params.p_cost(),
        };
        cost.bounded()
    }

    /// About so many blocks, in no more memory than this cost has; `None` when they are too few to matter.
    pub(super) fn filling(self, blocks: u64) -> Option<Self> {
        let memory = u64::from(self.memory_kib);
        let passes = blocks.div_ceil(memory).max(1);
        let memory_kib = u32::try_from(blocks / passes).ok()?;
        let passes = u32::try_from(passes).ok()?;
        let enough = memory_kib >= Params::MIN_M_COST;
        enough.then_some(Self {
            memory_kib,
            passes,
            lanes: 1,
        })
    }

    fn bounded(self) -> Option<Self> {
        let lanes = (1..=MAX_LANES).contains(&self.lanes);
        let fits = self.memory_kib <= MAX_MEMORY_KIB && self.blocks() <= MAX_BLOCKS;
        (lanes && fits).then_some(self)
    }

    /// How many blocks of 1 KiB are computed: what the time of a hash goes by.
    pub(super) fn blocks(self) -> u64 {
        u64::from(self.memory_kib) * u64::from(self.passes)
    }

    /// For a hash of the length that is stored; `None` where Argon2 knows no such cost.
    pub(super) fn params(self) -> Option<Params> {
        let length = Some(HASH_BYTES);
        Params::new(self.memory_kib, self.passes, self.lanes, length).ok()
    }
}

impl Default for Cost {
    fn default() -> Self {
        Self::OWASP
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_owasp_calls_equal_can_be_chosen_and_less_cannot() {
        for (memory, passes) in [
            (47_104, 1),
            (19_456, 2),
            (12_288, 3),
            (9_216, 4),
            (7_168, 5),
        ] {
            assert!(Cost::new(memory, passes, 1).is_ok(), "{memory} {passes}");
        }
        assert_eq!(Cost::new(19_456, 2, 1), Ok(Cost::OWASP));
        for (memory, passes, lanes) in [
            (7_167, 100, 1),
            (19_456, 1, 1),
            (7_168, 4, 1),
            (19_456, 0, 1),
            (19_456, 2, 0),
            (19_456, 2, 9),
            (MAX_MEMORY_KIB + 1, 1, 1),
            (MAX_MEMORY_KIB, u32::MAX, 1),
        ] {
            let cost = Cost::new(memory, passes, lanes);
            assert!(cost.is_err(), "{memory} {passes} {lanes}");
        }
    }

    #[test]
    fn a_filling_has_as_many_blocks_as_are_missing_in_no_more_memory() {
        for blocks in [8_u64, 100, 19_456, 19_457, 38_911, 100_000] {
            let filling = Cost::OWASP.filling(blocks).unwrap();
            assert!(filling.memory_kib <= Cost::OWASP.memory_kib, "{blocks}");
            let short = blocks - filling.blocks();
            assert!(short < u64::from(filling.passes), "{blocks} lacks {short}");
        }
        assert_eq!(Cost::OWASP.filling(7), None);
        assert_eq!(Cost::OWASP.filling(0), None);
    }
}
