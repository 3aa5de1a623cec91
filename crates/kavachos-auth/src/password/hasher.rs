//! Argon2id, and nothing around it: what is stored of a password, and whether one is that.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use argon2::password_hash::phc::{Output, ParamsString, Salt};
use argon2::{ARGON2ID_IDENT, Algorithm, Argon2, Block, Params, PasswordHash, Version};
use zeroize::Zeroizing;

use super::cost::{Cost, HASH_BYTES};
use super::secret::Password;

/// How long a salt is, in bytes (RFC 9106, 3.1: 16 are recommended).
pub(super) const SALT_BYTES: usize = 16;
/// The longest text that is taken for a stored hash.
const MAX_STORED_BYTES: usize = 512;
/// What is hashed for someone who has no password here, with this salt. Nobody sees what comes out.
const NO_SALT: [u8; SALT_BYTES] = [0; SALT_BYTES];

/// What is stored of a password: a string as the Password Hashing Competition wrote them down, with algorithm, version,
/// parameters and salt. Whoever has it can guess at leisure, so its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct PhcText(String);

impl PhcText {
    /// The text to store.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PhcText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PhcText(..)")
    }
}

/// What comparing came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// The password is the one that is stored.
    pub matches: bool,
    /// It is, and should be stored anew: it was hashed in another way or at another cost than is configured now.
    pub needs_rehash: bool,
}

impl Verdict {
    const NO: Self = Self {
        matches: false,
        needs_rehash: false,
    };
}

/// Whether those who have no password here are worked for. Only tests leave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decoy {
    Worked,
    #[cfg(test)]
    Left,
}

/// Hashes at one cost, and compares with what was hashed at any.
pub(super) struct Hasher {
    cost: Cost,
    decoy: Decoy,
    /// The cost with the most blocks that was met: what everybody takes.
    highest: Mutex<Cost>,
    /// Memory of hashes that are done, for the next ones. Every hash overwrites all that it reads of it (RFC 9106, 3.2).
    ///
    /// INVARIANT: as many as hashes were ever done at once.
    memory: Mutex<Vec<Vec<Block>>>,
    filled: AtomicU64,
}

impl Hasher {
    pub(super) fn new(cost: Cost, decoy: Decoy) -> Self {
        Self {
            cost,
            decoy,
            highest: Mutex::new(cost),
            memory: Mutex::default(),
            filled: AtomicU64::new(0),
        }
    }

    /// How many blocks of 1 KiB were computed so far.
    pub(super) fn filled(&self) -> u64 {
        self.filled.load(Ordering::Relaxed)
    }

    /// What to store of this password; `None` if Argon2 refuses, which it does for no cost that can be chosen.
    pub(super) fn hash(&self, password: &Password, salt: [u8; SALT_BYTES]) -> Option<PhcText> {
        let params = self.cost.params()?;
        let stored = Stored::new(params, salt)?;
        let hash = self.compute(&stored, password)?;
        let whole = PasswordHash {
            algorithm: ARGON2ID_IDENT,
            version: Some(Version::V0x13.into()),
            params: ParamsString::try_from(&stored.params).ok()?,
            salt: Some(stored.salt),
            hash: Some(hash),
        };
        Some(PhcText(whole.to_string()))
    }

    /// Whether this password is the one that is stored. As much work is done where nothing is stored, or nothing that can be
    /// compared, or something cheaper: so much as for the costliest hash that was met.
    pub(super) fn verify(&self, stored: Option<&str>, password: &Password) -> Verdict {
        let Some(stored) = stored.and_then(Stored::read) else {
            self.work_for_nothing(self.highest(), password);
            return Verdict::NO;
        };
        let highest = self.meet(stored.cost);
        let Some(hash) = self.compute(&stored, password) else {
            self.work_for_nothing(highest, password);
            return Verdict::NO;
        };
        let missing = highest.blocks().saturating_sub(stored.cost.blocks());
        if let Some(filling) = highest.filling(missing) {
            self.work_for_nothing(filling, password);
        }
        // In constant time: that is what the comparison of this type promises.
        let matches = hash == stored.hash;
        Verdict {
            matches,
            needs_rehash: matches && !stored.is_at(self.cost),
        }
    }

    /// How codes of a new set are stretched: what stands in a stored hash before the hash.
    pub(super) fn stretching(&self, salt: [u8; SALT_BYTES]) -> Option<PhcText> {
        let stored = Stored::new(self.cost.params()?, salt)?;
        let way = PasswordHash {
            algorithm: ARGON2ID_IDENT,
            version: Some(Version::V0x13.into()),
            params: ParamsString::try_from(&stored.params).ok()?,
            salt: Some(stored.salt),
            hash: None,
        };
        Some(PhcText(way.to_string()))
    }

    /// A code, stretched in this way. As much work is done where there is none, or none that can be read; then nothing
    /// comes of it.
    pub(super) fn stretch(
        &self,
        way: Option<&str>,
        code: &Password,
    ) -> Option<Zeroizing<[u8; HASH_BYTES]>> {
        let Some(way) = way.and_then(Stored::read_way) else {
            self.work_for_nothing(self.cost, code);
            return None;
        };
        let stretched = self.compute(&way, code)?;
        let stretched: &[u8; HASH_BYTES] = stretched.as_bytes().try_into().ok()?;
        Some(Zeroizing::new(*stretched))
    }

    fn highest(&self) -> Cost {
        *self.highest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn meet(&self, cost: Cost) -> Cost {
        let mut highest = self.highest.lock().unwrap_or_else(PoisonError::into_inner);
        if cost.blocks() > highest.blocks() {
            *highest = cost;
        }
        *highest
    }

    fn work_for_nothing(&self, cost: Cost, password: &Password) {
        if self.decoy != Decoy::Worked {
            return;
        }
        let decoy = cost
            .params()
            .and_then(|params| Stored::new(params, NO_SALT));
        if let Some(decoy) = decoy {
            // What comes out is compared with nothing.
            std::hint::black_box(self.compute(&decoy, password));
        }
    }

    fn compute(&self, stored: &Stored, password: &Password) -> Option<Output> {
        let argon2 = Argon2::new(stored.algorithm, stored.version, stored.params.clone());
        let blocks = stored.params.block_count();
        let mut memory = self.take_memory();
        if memory.len() < blocks {
            memory.resize(blocks, Block::default());
        }
        let mut hash = [0; Output::MAX_LENGTH];
        let hash = hash.get_mut(..stored.hash.len())?;
        let password = password.as_str().as_bytes();
        let done = argon2.hash_password_into_with_memory(
            password,
            &stored.salt,
            hash,
            memory.as_mut_slice(),
        );
        self.give_back(memory);
        self.filled
            .fetch_add(stored.cost.blocks(), Ordering::Relaxed);
        done.ok().and_then(|()| Output::new(hash).ok())
    }

    fn take_memory(&self) -> Vec<Block> {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.pop().unwrap_or_default()
    }

    fn give_back(&self, used: Vec<Block>) {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.push(used);
    }
}

/// A stored hash that can be compared with.
struct Stored {
    algorithm: Algorithm,
    version: Version,
    params: Params,
    cost: Cost,
    salt: Salt,
    hash: Output,
}

impl Stored {
    /// One that is about to be made; what stands for the hash has its length and nothing else.
    fn new(params: Params, salt: [u8; SALT_BYTES]) -> Option<Self> {
        Some(Self {
            algorithm: Algorithm::Argon2id,
            version: Version::V0x13,
            cost: Cost::of(&params)?,
            salt: Salt::new(&salt).ok()?,
            hash: Output::new(&[0; HASH_BYTES]).ok()?,
            params,
        })
    }

    /// Reads a stored hash; `None` when it is of another family, is damaged, or costs more than a sign-in may.
    fn read(text: &str) -> Option<Self> {
        Self::parse(text, |hash| hash)
    }

    /// Reads how codes are stretched: the same, without a hash.
    fn read_way(text: &str) -> Option<Self> {
        Self::parse(text, |hash| match hash {
            None => Output::new(&[0; HASH_BYTES]).ok(),
            Some(_) => None,
        })
    }

    fn parse(text: &str, hash: impl Fn(Option<Output>) -> Option<Output>) -> Option<Self> {
        if text.len() > MAX_STORED_BYTES {
            return None;
        }
        let whole = PasswordHash::new(text).ok()?;
        let params = Params::try_from(&whole).ok()?;
        let version = whole.version.map(Version::try_from).transpose().ok()?;
        Some(Self {
            algorithm: Algorithm::new(whole.algorithm).ok()?,
            version: version.unwrap_or(Version::V0x10),
            cost: Cost::of(&params)?,
            params,
            salt: whole.salt?,
            hash: hash(whole.hash)?,
        })
    }

    /// Whether it was made as one would be made now.
    fn is_at(&self, cost: Cost) -> bool {
        let is_id = self.algorithm == Algorithm::Argon2id && self.version == Version::V0x13;
        let is_long = self.hash.len() >= HASH_BYTES && self.salt.len() >= SALT_BYTES;
        is_id && is_long && self.cost == cost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Cost = Cost::OWASP;

    fn hasher() -> Hasher {
        Hasher::new(NOW, Decoy::Worked)
    }

    fn password(text: &str) -> Password {
        Password::parse(text).unwrap()
    }

    /// What a sign-in makes the machine do.
    fn work(hasher: &Hasher, stored: Option<&str>, text: &str) -> (bool, u64) {
        let before = hasher.filled();
        let verdict = hasher.verify(stored, &password(text));
        (verdict.matches, hasher.filled() - before)
    }

    /// By the reference implementation, of `password` with the salt `somesalt`, 64 MiB in 2 passes.
    const REFERENCE: &str = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ\
                             $CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
    const REFERENCE_I: &str = "$argon2i$v=19$m=65536,t=2,p=1$c29tZXNhbHQ\
                               $wWKIMhR9lyDFvRz9YTZweHKfbftvj+qf+YFY4NeBbtA";
    const BCRYPT: &str = "$2b$12$EXRkfkdmXn2gzds2SSitu.MW9.gAVqa9eLS1//RYtYCmB1eLHg.9q";

    #[test]
    fn what_the_reference_implementation_stored_is_recognised_and_stored_anew() {
        for stored in [REFERENCE, REFERENCE_I] {
            let hasher = hasher();
            let right = hasher.verify(Some(stored), &password("password"));
            assert!(right.matches && right.needs_rehash, "{stored}");
            let wrong = hasher.verify(Some(stored), &password("passwore"));
            assert_eq!(wrong, Verdict::NO, "{stored}");
        }
    }

    #[test]
    fn what_is_stored_says_how_it_was_made() {
        let hasher = hasher();
        let stored = hasher.hash(&password("a b c"), [7; 16]).unwrap();
        let start = "$argon2id$v=19$m=19456,t=2,p=1$BwcHBwcHBwcHBwcHBwcHBw$";
        assert!(stored.as_str().starts_with(start), "{}", stored.as_str());
        assert_eq!(format!("{stored:?}"), "PhcText(..)");
        let yes = hasher.verify(Some(stored.as_str()), &password("a b c"));
        assert!(yes.matches && !yes.needs_rehash);
        let other = hasher.hash(&password("a b c"), [8; 16]).unwrap();
        assert_ne!(stored, other);
    }

    #[test]
    fn another_cost_asks_for_another_hash() {
        let old = Hasher::new(Cost::new(12_288, 3, 1).unwrap(), Decoy::Worked);
        let stored = old.hash(&password("x"), [7; 16]).unwrap();
        let right = hasher().verify(Some(stored.as_str()), &password("x"));
        assert!(right.matches && right.needs_rehash);
        assert!(
            !old.verify(Some(stored.as_str()), &password("x"))
                .needs_rehash
        );
    }

    #[test]
    fn all_of_a_password_counts() {
        let hasher = hasher();
        let long = "x".repeat(72);
        for (is, other) in [
            (format!("{long}a"), format!("{long}b")),
            (format!("{long}a"), "x".repeat(72)),
            ("a\0b".to_owned(), "a\0c".to_owned()),
            ("a\0b".to_owned(), "a".to_owned()),
            ("é".repeat(256), "é".repeat(255)),
        ] {
            let stored = hasher.hash(&password(&is), [7; 16]).unwrap();
            assert!(work(&hasher, Some(stored.as_str()), &is).0);
            assert!(!work(&hasher, Some(stored.as_str()), &other).0, "{other:?}");
        }
        let composed = hasher.hash(&password("Zürich"), [7; 16]).unwrap();
        assert!(work(&hasher, Some(composed.as_str()), "Zu\u{308}rich").0);
    }

    #[test]
    fn whoever_has_no_password_here_takes_as_much_work() {
        let hasher = hasher();
        let stored = hasher.hash(&password("right"), [7; 16]).unwrap();
        let blocks = NOW.blocks();
        assert_eq!(
            work(&hasher, Some(stored.as_str()), "right"),
            (true, blocks)
        );
        assert_eq!(
            work(&hasher, Some(stored.as_str()), "wrong"),
            (false, blocks)
        );
        for nothing in [None, Some(""), Some(BCRYPT), Some("$argon2id$v=19$damaged")] {
            assert_eq!(work(&hasher, nothing, "right"), (false, blocks));
        }
        // Without that they would take none at all, which a clock shows.
        let twin = Hasher::new(NOW, Decoy::Left);
        assert_eq!(work(&twin, None, "right"), (false, 0));
        assert_eq!(work(&twin, Some(stored.as_str()), "right"), (true, blocks));
    }

    #[test]
    fn everybody_takes_as_much_work_as_the_costliest_that_was_met() {
        let hasher = hasher();
        let now = hasher.hash(&password("right"), [7; 16]).unwrap();
        assert_eq!(work(&hasher, None, "right").1, NOW.blocks());
        let most = 2 * 65_536;
        assert_eq!(work(&hasher, Some(REFERENCE), "wrong"), (false, most));
        assert_eq!(work(&hasher, None, "right"), (false, most));
        assert_eq!(work(&hasher, Some(now.as_str()), "right"), (true, most));
        assert_eq!(work(&hasher, Some(now.as_str()), "wrong"), (false, most));
        assert_eq!(work(&hasher, Some(REFERENCE), "wrong"), (false, most));
        let twin = Hasher::new(NOW, Decoy::Left);
        work(&twin, Some(REFERENCE), "wrong");
        assert_eq!(work(&twin, Some(now.as_str()), "right").1, NOW.blocks());
    }

    #[test]
    fn a_stored_hash_cannot_ask_for_more_than_a_sign_in_may_take() {
        let hasher = hasher();
        for cost in [
            "m=4194304,t=1,p=1",
            "m=65536,t=1000,p=1",
            "m=65536,t=2,p=99",
        ] {
            let stored = REFERENCE.replace("m=65536,t=2,p=1", cost);
            assert_eq!(
                work(&hasher, Some(&stored), "password"),
                (false, NOW.blocks())
            );
        }
    }

    #[test]
    fn a_code_is_stretched_by_one_block_whatever_it_is_compared_with() {
        let hasher = hasher();
        let stretch = |way: Option<&str>, code: &str| {
            let before = hasher.filled();
            let stretched = hasher.stretch(way, &password(code));
            (stretched.map(|bytes| *bytes), hasher.filled() - before)
        };
        let way = hasher.stretching([7; 16]).unwrap();
        let way = way.as_str();
        assert_eq!(way, "$argon2id$v=19$m=19456,t=2,p=1$BwcHBwcHBwcHBwcHBwcHBw");
        let (one, work) = stretch(Some(way), "0123456789abc");
        assert_eq!(work, NOW.blocks());
        // It is the hash of a password, so that what the reference implementation says of those holds.
        let hash = hasher.hash(&password("0123456789abc"), [7; 16]).unwrap();
        let hash = PasswordHash::new(hash.as_str()).unwrap().hash.unwrap();
        assert_eq!(one.unwrap(), hash.as_bytes());
        assert_eq!(stretch(Some(way), "0123456789abc").0, one);
        assert_ne!(stretch(Some(way), "0123456789abd").0, one);
        let salted = way.replace("Bwc", "Cwc");
        assert_ne!(stretch(Some(&salted), "0123456789abc").0, one);
        // Where nothing can come of it, it is as much work.
        let dear = way.replace("m=19456", "m=4194304");
        let whole = format!("{way}$wWKIMhR9lyDFvRz9YTZweHKfbftvj+qf+YFY4NeBbtA");
        for none in [
            None,
            Some(""),
            Some("$argon2id$v=19"),
            Some(&dear),
            Some(&whole),
        ] {
            assert_eq!(stretch(none, "0123456789abc"), (None, NOW.blocks()));
        }
    }

    #[test]
    fn memory_is_used_again() {
        let hasher = hasher();
        for _ in 0..3 {
            hasher.verify(None, &password("x"));
        }
        let memory = hasher.memory.lock().unwrap();
        assert_eq!(memory.len(), 1);
        assert_eq!(memory[0].len(), 19_456);
    }
}
