//! Tokens that were read before. What is true of a text under a set of keys stays true, so it is worked out once; time,
//! lease, revocation and proof are looked at on each use.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use foldhash::fast::RandomState;
use kavachos_core::id::AgentId;
use kavachos_core::token::Leaf;
use quick_cache::UnitWeighter;
use quick_cache::sync::{Cache, DefaultLifecycle};

/// A token that was read.
#[derive(Debug)]
pub(crate) struct Held {
    /// All of it.
    pub(crate) text: Box<str>,
    /// What it says.
    pub(crate) leaf: Leaf,
    /// The agent that acts.
    pub(crate) agent: AgentId,
    /// The set of keys with which it was read.
    pub(crate) keys: u64,
}

/// Held tokens are found by all of their text.
#[derive(Debug, Clone)]
struct ByText(Arc<Held>);

impl Borrow<str> for ByText {
    fn borrow(&self) -> &str {
        &self.0.text
    }
}

impl Hash for ByText {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.text.hash(state);
    }
}

impl PartialEq for ByText {
    fn eq(&self, other: &Self) -> bool {
        self.0.text == other.0.text
    }
}

impl Eq for ByText {}

/// The most recent tokens that were found good, by their text.
pub(crate) struct Tokens(Cache<ByText, Arc<Held>, UnitWeighter, RandomState>);

impl Tokens {
    /// Keeps so many.
    pub(crate) fn new(most: usize) -> Self {
        let weight = u64::try_from(most).unwrap_or(u64::MAX);
        // The seed of the hash is of this process: nobody outside can make texts that collide.
        let hasher = RandomState::default();
        let lifecycle = DefaultLifecycle::default();
        Self(Cache::with(most, weight, UnitWeighter, hasher, lifecycle))
    }

    /// A token that was read with this set of keys.
    #[inline]
    pub(crate) fn get(&self, text: &str, keys: u64) -> Option<Arc<Held>> {
        self.0.get(text).filter(|held| held.keys == keys)
    }

    pub(crate) fn put(&self, held: &Arc<Held>) {
        self.0.insert(ByText(Arc::clone(held)), Arc::clone(held));
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}
