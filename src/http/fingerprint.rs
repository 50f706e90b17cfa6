//! Fingerprints: texts go in, 128 bits come out that only this process can compare.
//!
//! Caches are keyed by credentials; a fingerprint lets them do that without keeping a credential as a map key.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::OnceLock;

/// Two keyed 64-bit hashes. The keys are random for each process, so nobody outside can make two inputs collide, and by
/// chance it takes some 2^64 different inputs.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Fingerprint(u64, u64);

impl Fingerprint {
    /// The fingerprint of these parts, in this order; an absent part differs from an empty one.
    pub(crate) fn of<'a>(parts: impl IntoIterator<Item = Option<&'a str>>) -> Self {
        static KEYS: OnceLock<(RandomState, RandomState)> = OnceLock::new();
        let (first, second) = KEYS.get_or_init(|| (RandomState::new(), RandomState::new()));
        let (mut first, mut second) = (first.build_hasher(), second.build_hasher());
        for part in parts {
            for hasher in [&mut first, &mut second] {
                match part {
                    None => hasher.write_u8(0),
                    Some(text) => {
                        hasher.write_u8(1);
                        hasher.write_usize(text.len());
                        hasher.write(text.as_bytes());
                    }
                }
            }
        }
        Self(first.finish(), second.finish())
    }

    /// The fingerprint of what has this one, and a text beside it.
    pub(crate) fn with(self, text: &str) -> Self {
        let (first, second) = (self.0.to_string(), self.1.to_string());
        Self::of([Some(first.as_str()), Some(second.as_str()), Some(text)])
    }
}

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}{:016x}", self.0, self.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_into_each_other() {
        let one = Fingerprint::of([Some("ab"), Some("c")]);
        assert!(one == Fingerprint::of([Some("ab"), Some("c")]));
        assert!(one != Fingerprint::of([Some("a"), Some("bc")]));
        assert!(one != Fingerprint::of([Some("c"), Some("ab")]));
        assert!(Fingerprint::of([Some("")]) != Fingerprint::of([None]));
    }
}
