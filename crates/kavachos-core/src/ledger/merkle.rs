//! The RFC 6962 Merkle tree, kept as its right edge: what an append needs and nothing more.

use sha2::{Digest, Sha256};

use crate::invalid::Invalid;

/// A SHA-256 hash: a leaf, an inner node or a root.
pub type Hash = [u8; 32];

/// RFC 6962, 2.1: what an inner node hashes first.
const NODE_PREFIX: u8 = 0x01;
/// The root of the tree without leaves: SHA-256 of nothing.
pub const EMPTY_ROOT: Hash = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24,
    0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];

/// The right edge of a tree: the roots of its complete subtrees, largest first, one per set bit of its size.
///
/// An append costs one hash on average, and the state is at most 64 hashes whatever the size.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Hash>,
}

impl Frontier {
    /// How many leaves the tree has, which is also the `seq` of the next record.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends one leaf hash.
    pub fn append(&mut self, leaf: Hash) {
        let mut carried = leaf;
        let mut full = self.size;
        // INVARIANT: there is one peak per set bit of `size`, so a set bit always finds a peak to join.
        while full & 1 == 1
            && let Some(left) = self.peaks.pop()
        {
            carried = node(&left, &carried);
            full >>= 1;
        }
        self.peaks.push(carried);
        self.size = self.size.saturating_add(1);
    }

    /// The root over all leaves (RFC 6962, 2.1: MTH).
    pub fn root(&self) -> Hash {
        self.peaks
            .iter()
            .rev()
            .copied()
            .reduce(|right, left| node(&left, &right))
            .unwrap_or(EMPTY_ROOT)
    }

    /// Holds the last leaves of the tree against its edge: how many of them stand in complete subtrees that they are all
    /// of, and so were confirmed.
    ///
    /// # Errors
    /// The number of the first leaf of a subtree that has another root.
    pub fn confirm(&self, last: &[Hash]) -> Result<u64, u64> {
        let mut left = last;
        let mut confirmed: u64 = 0;
        for peak in self.peaks.iter().rev() {
            // The subtrees at the end are as large as the set bits of the size, smallest first.
            let rest = self.size.saturating_sub(confirmed);
            let span = 1_u64.checked_shl(rest.trailing_zeros()).unwrap_or(u64::MAX);
            let before = usize::try_from(span)
                .ok()
                .and_then(|span| left.len().checked_sub(span));
            let Some((earlier, leaves)) = before.and_then(|before| left.split_at_checked(before))
            else {
                break;
            };
            let mut subtree = Self::default();
            leaves.iter().for_each(|leaf| subtree.append(*leaf));
            if subtree.root() != *peak {
                return Err(rest.saturating_sub(span));
            }
            left = earlier;
            confirmed = confirmed.saturating_add(span);
        }
        Ok(confirmed)
    }

    /// The bytes to store: the size, big-endian, then the peaks.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(8 + 32 * self.peaks.len());
        bytes.extend(self.size.to_be_bytes());
        self.peaks.iter().for_each(|peak| bytes.extend(peak));
        bytes
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// The bytes are no frontier: their length does not fit the size they state.
    pub fn decode(bytes: &[u8]) -> Result<Self, Invalid> {
        let wrong = || Invalid::new("the stored edge of the ledger's tree is damaged");
        let (size, peaks) = bytes.split_first_chunk::<8>().ok_or_else(wrong)?;
        let size = u64::from_be_bytes(*size);
        let (peaks, rest) = peaks.as_chunks::<32>();
        let expected = usize::try_from(size.count_ones()).map_err(|_| wrong())?;
        if peaks.len() != expected || !rest.is_empty() {
            return Err(wrong());
        }
        Ok(Self {
            size,
            peaks: peaks.to_vec(),
        })
    }
}

fn node(left: &Hash, right: &Hash) -> Hash {
    let mut hash = Sha256::new();
    hash.update([NODE_PREFIX]);
    hash.update(left);
    hash.update(right);
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 6962, 2.1, word for word: split at the largest power of two below the size.
    fn naive(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => Sha256::digest([]).into(),
            [leaf] => *leaf,
            _ => {
                let split = leaves.len().next_power_of_two() / 2;
                let (left, right) = leaves.split_at(split);
                node(&naive(left), &naive(right))
            }
        }
    }

    fn leaves(count: usize) -> Vec<Hash> {
        (0..count)
            .map(|index| Sha256::digest(index.to_be_bytes()).into())
            .collect()
    }

    #[test]
    fn the_root_is_that_of_rfc_6962_at_every_size() {
        let all = leaves(300);
        let mut frontier = Frontier::default();
        for size in 0..=all.len() {
            assert_eq!(frontier.size(), size as u64);
            assert_eq!(frontier.root(), naive(&all[..size]), "{size}");
            if let Some(leaf) = all.get(size) {
                frontier.append(*leaf);
            }
        }
    }

    #[test]
    fn the_known_roots_of_certificate_transparency_come_out() {
        // The test tree of the Certificate Transparency reference implementation: raw leaves, hashed with 0x00.
        let raw: [&[u8]; 3] = [b"", b"\x00", b"\x10"];
        let mut frontier = Frontier::default();
        for leaf in raw {
            let mut hash = Sha256::new();
            hash.update([0]);
            hash.update(leaf);
            frontier.append(hash.finalize().into());
        }
        let hex: String = frontier
            .root()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(
            hex,
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"
        );
    }

    #[test]
    fn a_damaged_frontier_is_refused() {
        let mut frontier = Frontier::default();
        leaves(5).into_iter().for_each(|leaf| frontier.append(leaf));
        let good = frontier.encode();
        assert!(Frontier::decode(&good).is_ok());
        for bad in [
            &[][..],
            &good[..7],
            &good[..good.len() - 1],
            &[good.as_slice(), &[0]].concat(),
        ] {
            assert!(Frontier::decode(bad).is_err());
        }
        let mut other_size = good;
        other_size[7] = 7;
        assert!(Frontier::decode(&other_size).is_err());
    }

    #[test]
    fn the_last_leaves_are_confirmed_and_a_changed_one_is_found() {
        let all = leaves(13);
        let mut frontier = Frontier::default();
        all.iter().for_each(|leaf| frontier.append(*leaf));
        // 13 is a subtree of 8, one of 4 and one of 1.
        for (known, confirmed) in [(0, 0), (1, 1), (4, 1), (5, 5), (12, 5), (13, 13)] {
            assert_eq!(
                frontier.confirm(&all[13 - known..]),
                Ok(confirmed),
                "{known}"
            );
        }
        for (changed, found) in [(12, 12), (11, 8), (8, 8), (7, 0), (0, 0)] {
            let mut leaves = all.clone();
            leaves[changed][0] ^= 1;
            assert_eq!(frontier.confirm(&leaves), Err(found), "{changed}");
        }
        assert_eq!(Frontier::default().confirm(&[]), Ok(0));
    }

    proptest! {
        #[test]
        fn a_stored_frontier_goes_on_where_it_stopped(before in 0_usize..200, after in 0_usize..200) {
            let all = leaves(before + after);
            let mut frontier = Frontier::default();
            all[..before].iter().for_each(|leaf| frontier.append(*leaf));
            let mut read = Frontier::decode(&frontier.encode()).unwrap();
            prop_assert_eq!(&read, &frontier);
            all[before..].iter().for_each(|leaf| read.append(*leaf));
            prop_assert_eq!(read.root(), naive(&all));
        }
    }
}
