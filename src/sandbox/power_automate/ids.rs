//! Identifiers: text or a seed goes in, GUIDs come out.
//!
//! Every id that the simulator hands out comes from one seeded sequence, so two simulators with the same seed and the
//! same requests answer with the same ids.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A GUID as Dataverse prints it: 32 hexadecimal digits in groups of 8-4-4-4-12, lower case.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Guid(u128);

impl Guid {
    /// The GUID with these 128 bits, first group first.
    pub const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }
}

/// The text is not a GUID.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a GUID: write 32 hexadecimal digits in groups of 8-4-4-4-12")]
pub struct NotAGuid(String);

const GROUPS: [usize; 5] = [8, 4, 4, 4, 12];

impl FromStr for Guid {
    type Err = NotAGuid;

    fn from_str(text: &str) -> Result<Self, NotAGuid> {
        let mut bits: u128 = 0;
        let mut groups = text.split('-');
        for length in GROUPS {
            let group = groups.next().filter(|group| group.len() == length);
            let digits = group.filter(|group| group.bytes().all(|byte| byte.is_ascii_hexdigit()));
            let value = digits.and_then(|digits| u128::from_str_radix(digits, 16).ok());
            let value = value.ok_or_else(|| NotAGuid(text.chars().take(64).collect()))?;
            bits = bits << (4 * length) | value;
        }
        if groups.next().is_some() {
            return Err(NotAGuid(text.chars().take(64).collect()));
        }
        Ok(Guid(bits))
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = self.0;
        write!(
            formatter,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            bits >> 96,
            (bits >> 80) & 0xffff,
            (bits >> 64) & 0xffff,
            (bits >> 48) & 0xffff,
            bits & 0xffff_ffff_ffff
        )
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl Serialize for Guid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Guid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// A deterministic sequence of identifiers (SplitMix64). Not for secrets.
#[derive(Debug, Clone)]
pub struct Ids(u64);

impl Ids {
    /// The sequence that belongs to `seed`.
    pub fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits of the sequence.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// The next GUID, marked as version 4, variant 1.
    pub fn guid(&mut self) -> Guid {
        let bits = (u128::from(self.bits()) << 64) | u128::from(self.bits());
        let versioned = (bits & !(0xf << 76)) | (0x4 << 76);
        Guid((versioned & !(0x3 << 62)) | (0x2 << 62))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guid_reads_what_it_prints_in_any_case() {
        let text = "d9687093-d0c0-ec11-983e-0022480b428a";
        assert_eq!(text.parse::<Guid>().unwrap().to_string(), text);
        assert_eq!(text.to_uppercase().parse::<Guid>().unwrap().to_string(), text);
    }

    #[test]
    fn a_text_of_another_shape_is_not_a_guid() {
        for text in [
            "",
            "d9687093",
            "d9687093d0c0ec11983e0022480b428a",
            "g9687093-d0c0-ec11-983e-0022480b428a",
        ] {
            assert!(text.parse::<Guid>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_ids() {
        let (mut left, mut right) = (Ids::seeded(7), Ids::seeded(7));
        let first = left.guid();
        assert_eq!(first, right.guid());
        assert_ne!(first, left.guid());
        assert_eq!(first.to_string().as_bytes()[14], b'4');
    }
}
