//! What the writer remembers of the database: bounded, and forgetting what was not asked for longest.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

use foldhash::fast::RandomState;

/// A map of at most `2 * half` entries.
///
/// When the young half is full, it becomes the old one and the old one is forgotten; what is asked for moves to the
/// young half. So nothing that was used within the last `half` insertions is lost, at constant cost.
pub(crate) struct Recent<K, V> {
    young: HashMap<K, V, RandomState>,
    old: HashMap<K, V, RandomState>,
    half: usize,
}

impl<K: Hash + Eq, V> Recent<K, V> {
    pub(crate) fn new(half: usize) -> Self {
        Self {
            young: HashMap::default(),
            old: HashMap::default(),
            half,
        }
    }

    /// Looks up an entry and keeps it young.
    pub(crate) fn touch<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        if !self.young.contains_key(key)
            && let Some((key, value)) = self.old.remove_entry(key)
        {
            self.put(key, value);
        }
        self.young.get(key)
    }

    pub(crate) fn put(&mut self, key: K, value: V) {
        if self.young.len() >= self.half {
            self.old = std::mem::take(&mut self.young);
        }
        self.old.remove(&key);
        self.young.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_stays_and_the_rest_is_forgotten() {
        let mut recent = Recent::new(4);
        for key in 0..100 {
            recent.put(key, key * 2);
            assert_eq!(recent.touch(&0), Some(&0), "after {key}");
            assert!(recent.young.len() + recent.old.len() <= 8);
        }
        assert_eq!(recent.touch(&50), None);
        assert_eq!(recent.touch(&99), Some(&198));
    }

    #[test]
    fn a_newer_value_hides_an_older_one_in_either_half() {
        let mut recent = Recent::new(2);
        recent.put(1, 'a');
        recent.put(2, 'b');
        recent.put(3, 'c');
        recent.put(1, 'z');
        assert_eq!(recent.touch(&1), Some(&'z'));
    }
}
