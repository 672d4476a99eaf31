//! Random numbers that nobody can foretell, without a crate for them.
//!
//! The standard library keys a [`RandomState`] with 128 bits that the system draws, once for each thread, and
//! gives each further one of the thread other keys. Its hash of anything is then a number that nobody can work
//! out who does not know the keys, and that does not give them away: this is what the hash maps rely on against
//! those who choose their keys. Two things rest on it here. A handler's token must be unknown to whoever writes
//! records, or an echo could say that a record is done; and the names that stand for partition keys in a
//! recording must not be turned back, not even by trying all keys.

use std::hash::{BuildHasher, RandomState};

/// 64 random bits.
pub(crate) fn number() -> u64 {
    RandomState::new().hash_one(0u8)
}

/// 128 random bits, as text.
pub(crate) fn token() -> String {
    format!("{:016x}{:016x}", number(), number())
}

/// Gives texts names, the same one to the same text.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names(RandomState);

impl Names {
    /// The name of a text, in these names alone.
    pub(crate) fn name(&self, text: &str) -> u64 {
        self.0.hash_one(text)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_token_comes_twice_and_each_is_long() {
        let tokens: HashSet<String> = (0..1000).map(|_| token()).collect();
        assert_eq!(tokens.len(), 1000);
        assert!(tokens.iter().all(|token| token.len() == 32));
    }

    #[test]
    fn a_name_holds_within_its_names_alone() {
        let (ours, theirs) = (Names::default(), Names::default());
        assert_eq!(ours.name("key"), ours.name("key"));
        assert_ne!(ours.name("key"), ours.name("another"));
        assert_ne!(ours.name("key"), theirs.name("key"));
    }
}
