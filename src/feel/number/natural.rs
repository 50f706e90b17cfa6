//! Unsigned whole numbers of any length, in base 10⁹: what decimals need to be exact beyond 18 digits.
//!
//! What enters are digits or other naturals; what leaves are naturals. Base 10⁹ makes rounding to a number of decimal
//! digits, which is what a decimal does all day, a matter of shifting limbs.

use std::cmp::Ordering;

const BASE: u64 = 1_000_000_000;
const LIMB_DIGITS: usize = 9;

/// A natural number; limbs are little-endian and the highest one is never zero, so zero has no limbs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Natural {
    limbs: Vec<u32>,
}

/// How what was cut off compares with half of the last digit that stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tail {
    Zero,
    BelowHalf,
    Half,
    AboveHalf,
}

fn pow10(exponent: usize) -> u32 {
    10u32.pow(exponent as u32)
}

impl Natural {
    pub(super) fn heap_bytes(&self) -> usize {
        self.limbs.capacity() * size_of::<u32>()
    }

    pub(crate) fn from_u128(mut value: u128) -> Natural {
        let mut limbs = Vec::with_capacity(5);
        while value > 0 {
            limbs.push((value % u128::from(BASE)) as u32);
            value /= u128::from(BASE);
        }
        Natural { limbs }
    }

    /// The number that these ASCII digits write; anything else in `digits` is the caller's mistake.
    pub(crate) fn from_digits(digits: &[u8]) -> Natural {
        let mut limbs = Vec::with_capacity(digits.len() / LIMB_DIGITS + 1);
        for chunk in digits.rchunks(LIMB_DIGITS) {
            limbs.push(
                chunk
                    .iter()
                    .fold(0u32, |limb, digit| limb * 10 + u32::from(digit - b'0')),
            );
        }
        Natural { limbs }.trimmed()
    }

    fn trimmed(mut self) -> Natural {
        while self.limbs.last() == Some(&0) {
            self.limbs.pop();
        }
        self
    }

    pub(crate) fn is_zero(&self) -> bool {
        self.limbs.is_empty()
    }

    pub(crate) fn is_even(&self) -> bool {
        self.limbs.first().is_none_or(|limb| limb % 2 == 0)
    }

    /// Number of decimal digits; 1 for zero, as Java's `precision`.
    pub(crate) fn digits(&self) -> usize {
        match self.limbs.last() {
            None => 1,
            Some(top) => (self.limbs.len() - 1) * LIMB_DIGITS + top.ilog10() as usize + 1,
        }
    }

    pub(crate) fn to_u128(&self) -> Option<u128> {
        if self.limbs.len() > 5 {
            return None;
        }
        self.limbs.iter().rev().try_fold(0u128, |value, limb| {
            value.checked_mul(u128::from(BASE))?.checked_add(u128::from(*limb))
        })
    }

    /// The value modulo 2⁶⁴: what Java keeps when a big number becomes a `long`.
    pub(crate) fn low_u64(&self) -> u64 {
        self.limbs.iter().rev().fold(0u64, |value, limb| {
            value.wrapping_mul(BASE).wrapping_add(u64::from(*limb))
        })
    }

    pub(crate) fn add(&self, other: &Natural) -> Natural {
        let (long, short) = if self.limbs.len() >= other.limbs.len() {
            (self, other)
        } else {
            (other, self)
        };
        let mut limbs = Vec::with_capacity(long.limbs.len() + 1);
        let mut carry = 0u64;
        for (index, limb) in long.limbs.iter().enumerate() {
            let sum = u64::from(*limb) + u64::from(short.limbs.get(index).copied().unwrap_or(0)) + carry;
            limbs.push((sum % BASE) as u32);
            carry = sum / BASE;
        }
        if carry > 0 {
            limbs.push(carry as u32);
        }
        Natural { limbs }
    }

    /// `self - other`; `other` must not be the larger one.
    pub(crate) fn subtract(&self, other: &Natural) -> Natural {
        let mut limbs = Vec::with_capacity(self.limbs.len());
        let mut borrow = 0i64;
        for (index, limb) in self.limbs.iter().enumerate() {
            let mut difference = i64::from(*limb) - i64::from(other.limbs.get(index).copied().unwrap_or(0)) - borrow;
            borrow = i64::from(difference < 0);
            if difference < 0 {
                difference += BASE as i64;
            }
            limbs.push(difference as u32);
        }
        Natural { limbs }.trimmed()
    }

    pub(crate) fn multiply(&self, other: &Natural) -> Natural {
        if self.is_zero() || other.is_zero() {
            return Natural::default();
        }
        let mut limbs = vec![0u32; self.limbs.len() + other.limbs.len()];
        for (index, left) in self.limbs.iter().enumerate() {
            let mut carry = 0u64;
            for (offset, right) in other.limbs.iter().enumerate() {
                let value = u64::from(*left) * u64::from(*right) + u64::from(limbs[index + offset]) + carry;
                limbs[index + offset] = (value % BASE) as u32;
                carry = value / BASE;
            }
            limbs[index + other.limbs.len()] = carry as u32;
        }
        Natural { limbs }.trimmed()
    }

    fn multiply_small(&self, factor: u32) -> Natural {
        let mut limbs = Vec::with_capacity(self.limbs.len() + 1);
        let mut carry = 0u64;
        for limb in &self.limbs {
            let value = u64::from(*limb) * u64::from(factor) + carry;
            limbs.push((value % BASE) as u32);
            carry = value / BASE;
        }
        limbs.push(carry as u32);
        Natural { limbs }.trimmed()
    }

    fn divide_small(&self, divisor: u32) -> (Natural, u32) {
        let mut limbs = vec![0u32; self.limbs.len()];
        let mut remainder = 0u64;
        for (index, limb) in self.limbs.iter().enumerate().rev() {
            let value = remainder * BASE + u64::from(*limb);
            limbs[index] = (value / u64::from(divisor)) as u32;
            remainder = value % u64::from(divisor);
        }
        (Natural { limbs }.trimmed(), remainder as u32)
    }

    /// `self · 10^exponent`.
    pub(crate) fn scale_up(&self, exponent: usize) -> Natural {
        if self.is_zero() {
            return Natural::default();
        }
        let mut scaled = self.multiply_small(pow10(exponent % LIMB_DIGITS));
        scaled
            .limbs
            .splice(0..0, std::iter::repeat_n(0, exponent / LIMB_DIGITS));
        scaled
    }

    /// `self / 10^exponent` without the fraction, and how the fraction compares with one half.
    pub(crate) fn scale_down(&self, exponent: usize) -> (Natural, Tail) {
        if exponent == 0 {
            return (self.clone(), Tail::Zero);
        }
        if exponent > self.digits() {
            return (
                Natural::default(),
                if self.is_zero() { Tail::Zero } else { Tail::BelowHalf },
            );
        }
        let (whole, rest) = (exponent / LIMB_DIGITS, exponent % LIMB_DIGITS);
        let lower_is_zero = |limbs: &[u32]| limbs.iter().all(|limb| *limb == 0);
        let kept = Natural {
            limbs: self.limbs.get(whole..).unwrap_or_default().to_vec(),
        };
        let (quotient, remainder) = if rest == 0 {
            (kept, 0)
        } else {
            kept.divide_small(pow10(rest))
        };
        let (first_cut, others_zero) = if rest > 0 {
            let unit = pow10(rest - 1);
            (
                remainder / unit,
                remainder % unit == 0 && lower_is_zero(&self.limbs[..whole.min(self.limbs.len())]),
            )
        } else {
            let unit = pow10(LIMB_DIGITS - 1);
            let top = self.limbs.get(whole - 1).copied().unwrap_or(0);
            (top / unit, top % unit == 0 && lower_is_zero(&self.limbs[..whole - 1]))
        };
        let tail = match first_cut {
            0 if others_zero => Tail::Zero,
            0..5 => Tail::BelowHalf,
            5 if others_zero => Tail::Half,
            _ => Tail::AboveHalf,
        };
        (quotient, tail)
    }

    /// Whole quotient and remainder; `divisor` must not be zero.
    pub(crate) fn divide(&self, divisor: &Natural) -> (Natural, Natural) {
        if self.compare(divisor) == Ordering::Less {
            return (Natural::default(), self.clone());
        }
        if let [single] = divisor.limbs[..] {
            let (quotient, remainder) = self.divide_small(single);
            return (quotient, Natural::from_u128(u128::from(remainder)));
        }
        // Long division; scaling both makes the first limb of the divisor large, so that an estimate is at most 2 off.
        let scale = (BASE / (u64::from(divisor.limbs[divisor.limbs.len() - 1]) + 1)) as u32;
        let (dividend, divisor_scaled) = (self.multiply_small(scale), divisor.multiply_small(scale));
        let top = u64::from(divisor_scaled.limbs[divisor_scaled.limbs.len() - 1]);
        let length = divisor_scaled.limbs.len();
        let mut quotient = vec![0u32; dividend.limbs.len()];
        let mut rest = Natural::default();
        for index in (0..dividend.limbs.len()).rev() {
            rest.limbs.insert(0, dividend.limbs[index]);
            rest = rest.trimmed();
            let limb = |position: usize| u64::from(rest.limbs.get(position).copied().unwrap_or(0));
            let mut guess = ((limb(length) * BASE + limb(length - 1)) / top).min(BASE - 1) as u32;
            let mut product = divisor_scaled.multiply_small(guess);
            while product.compare(&rest) == Ordering::Greater {
                guess -= 1;
                product = product.subtract(&divisor_scaled);
            }
            rest = rest.subtract(&product);
            quotient[index] = guess;
        }
        let (remainder, _) = rest.divide_small(scale);
        (Natural { limbs: quotient }.trimmed(), remainder)
    }

    pub(crate) fn compare(&self, other: &Natural) -> Ordering {
        self.limbs
            .len()
            .cmp(&other.limbs.len())
            .then_with(|| self.limbs.iter().rev().cmp(other.limbs.iter().rev()))
    }

    pub(crate) fn increment(&self) -> Natural {
        self.add(&Natural::from_u128(1))
    }

    /// How many zeros the decimal text ends with; 0 for zero.
    pub(crate) fn trailing_zeros(&self) -> usize {
        let Some(position) = self.limbs.iter().position(|limb| *limb != 0) else {
            return 0;
        };
        let mut limb = self.limbs[position];
        let mut zeros = position * LIMB_DIGITS;
        while limb.is_multiple_of(10) {
            limb /= 10;
            zeros += 1;
        }
        zeros
    }
}

impl std::fmt::Display for Natural {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Some((top, rest)) = self.limbs.split_last() else {
            return out.write_str("0");
        };
        write!(out, "{top}")?;
        rest.iter().rev().try_for_each(|limb| write!(out, "{limb:09}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn natural(text: &str) -> Natural {
        Natural::from_digits(text.as_bytes())
    }

    #[test]
    fn a_quotient_times_its_divisor_plus_the_remainder_is_the_dividend() {
        for (left, right) in [
            ("123456789012345678901234567890123456789", "987654321098765432109"),
            ("999999999999999999999999999999999999", "1000000000000000000"),
            ("340282366920938463463374607431768211456", "18446744073709551617"),
            ("1000000000000000000000000000", "999999999999999999"),
        ] {
            let (quotient, remainder) = natural(left).divide(&natural(right));
            assert_eq!(remainder.compare(&natural(right)), Ordering::Less);
            assert_eq!(quotient.multiply(&natural(right)).add(&remainder).to_string(), left);
        }
    }

    #[test]
    fn cutting_digits_tells_on_which_side_of_one_half_they_were() {
        let cut = |text: &str, digits| {
            let (kept, tail) = natural(text).scale_down(digits);
            (kept.to_string(), tail)
        };
        assert_eq!(cut("1250", 2), ("12".into(), Tail::Half));
        assert_eq!(cut("1251", 2), ("12".into(), Tail::AboveHalf));
        assert_eq!(cut("1249", 2), ("12".into(), Tail::BelowHalf));
        assert_eq!(cut("7000000000000", 12), ("7".into(), Tail::Zero));
        assert_eq!(cut("7500000000", 9), ("7".into(), Tail::Half));
        assert_eq!(cut("5", 1), ("0".into(), Tail::Half));
        assert_eq!(cut("5", 2), ("0".into(), Tail::BelowHalf));
    }
}
