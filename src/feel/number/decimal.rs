//! Decimals with the arithmetic of Java's `BigDecimal` under `DECIMAL128`: sign, digits, scale, and the number of
//! digits that results are rounded to.
//!
//! What enters and leaves are [`Decimal`]s; an operation that Java ends with an `ArithmeticException` gives an
//! [`ArithmeticError`]. Results keep the scale that Java prefers, so that `1.10 + 2.20` is `3.30` and not `3.3`.

use super::natural::{Natural, Tail};
use std::cmp::Ordering;

/// Digits of a result unless an operand was written with more (IEEE 754 decimal128).
pub(crate) const PRECISION: usize = 34;

/// The longest coefficient that is built; beyond it an operation is refused rather than slow.
pub(crate) const MAX_DIGITS: usize = 1_000;

/// Why there is no result. The real engine throws here, which fails the whole evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ArithmeticError {
    #[error("division by zero")]
    DivisionByZero,
    #[error("zero divided by zero is undefined")]
    DivisionUndefined,
    #[error("the whole part of the quotient has more than 34 digits")]
    DivisionImpossible,
    #[error("the exponent is out of range")]
    ExponentOutOfRange,
    #[error("the number has more than 1000 digits")]
    TooManyDigits,
    #[error("the result is not a number")]
    NotANumber,
}

/// How a number is cut to fewer digits; the names are Java's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rounding {
    Up,
    Down,
    Ceiling,
    Floor,
    HalfUp,
    HalfDown,
    HalfEven,
    Unnecessary,
}

/// `± coefficient · 10^-scale`; `precision` is how many digits results of its operations keep.
#[derive(Debug, Clone)]
pub(crate) struct Decimal {
    pub(super) negative: bool,
    pub(super) coefficient: Natural,
    pub(super) scale: i32,
    pub(super) precision: usize,
}

fn checked_scale(scale: i64) -> Result<i32, ArithmeticError> {
    i32::try_from(scale).map_err(|_| ArithmeticError::ExponentOutOfRange)
}

impl Decimal {
    /// Bytes that it holds beside itself.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.coefficient.heap_bytes()
    }

    pub(crate) fn new(value: i128, scale: i32) -> Decimal {
        Decimal {
            negative: value < 0,
            coefficient: Natural::from_u128(value.unsigned_abs()),
            scale,
            precision: PRECISION,
        }
    }

    fn zero(scale: i64, precision: usize) -> Decimal {
        let scale = scale.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32;
        Decimal {
            negative: false,
            coefficient: Natural::default(),
            scale,
            precision,
        }
    }

    pub(crate) fn is_zero(&self) -> bool {
        self.coefficient.is_zero()
    }

    pub(crate) fn signum(&self) -> i32 {
        match (self.is_zero(), self.negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        }
    }

    pub(crate) fn negate(&self) -> Decimal {
        Decimal {
            negative: !self.negative && !self.is_zero(),
            ..self.clone()
        }
    }

    /// Rounds to at most `precision` digits, half to even.
    pub(super) fn rounded(self, precision: usize) -> Result<Decimal, ArithmeticError> {
        self.rounded_by(precision, Rounding::HalfEven)
    }

    fn rounded_by(mut self, precision: usize, rounding: Rounding) -> Result<Decimal, ArithmeticError> {
        // A carry out of the highest digit makes one digit too many, once.
        while self.coefficient.digits() > precision {
            let cut = self.coefficient.digits() - precision;
            let (kept, tail) = self.coefficient.scale_down(cut);
            self.coefficient = round_coefficient(kept, tail, self.negative, rounding)?;
            self.scale = checked_scale(i64::from(self.scale) - cut as i64)?;
        }
        Ok(self)
    }

    /// Drops trailing zeros as long as the scale stays at or above `preferred`.
    fn stripped_to(mut self, preferred: i64) -> Decimal {
        let surplus = (i64::from(self.scale) - preferred).max(0) as usize;
        let zeros = self.coefficient.trailing_zeros().min(surplus);
        if zeros > 0 {
            self.coefficient = self.coefficient.scale_down(zeros).0;
            self.scale = self.scale.saturating_sub(zeros as i32);
        }
        self
    }

    pub(crate) fn add(&self, other: &Decimal) -> Result<Decimal, ArithmeticError> {
        let precision = self.precision;
        let preferred = i64::from(self.scale.max(other.scale));
        if self.is_zero() && other.is_zero() {
            return Ok(Decimal::zero(preferred, precision));
        }
        if self.is_zero() || other.is_zero() {
            let present = if self.is_zero() { other } else { self };
            let sum = Decimal {
                precision,
                ..present.clone()
            }
            .rounded(precision)?;
            let missing = preferred - i64::from(sum.scale);
            return Ok(if missing <= 0 {
                sum.stripped_to(preferred)
            } else {
                let room = precision.saturating_sub(sum.coefficient.digits()) as i64;
                sum.padded(missing.min(room) as usize)
            });
        }
        let (left, right) = aligned(self, other, precision)?;
        let (negative, coefficient) = if left.negative == right.negative {
            (left.negative, left.coefficient.add(&right.coefficient))
        } else if left.coefficient.compare(&right.coefficient) == Ordering::Less {
            (right.negative, right.coefficient.subtract(&left.coefficient))
        } else {
            (left.negative, left.coefficient.subtract(&right.coefficient))
        };
        let negative = negative && !coefficient.is_zero();
        Decimal {
            negative,
            coefficient,
            scale: left.scale,
            precision,
        }
        .rounded(precision)
    }

    pub(crate) fn subtract(&self, other: &Decimal) -> Result<Decimal, ArithmeticError> {
        self.add(&other.negate())
    }

    pub(crate) fn multiply(&self, other: &Decimal) -> Result<Decimal, ArithmeticError> {
        self.multiply_to(other, self.precision)
    }

    fn multiply_to(&self, other: &Decimal, precision: usize) -> Result<Decimal, ArithmeticError> {
        let coefficient = self.coefficient.multiply(&other.coefficient);
        let negative = self.negative != other.negative && !coefficient.is_zero();
        let scale = checked_scale(i64::from(self.scale) + i64::from(other.scale))?;
        Decimal {
            negative,
            coefficient,
            scale,
            precision: self.precision,
        }
        .rounded(precision)
    }

    pub(crate) fn divide(&self, other: &Decimal) -> Result<Decimal, ArithmeticError> {
        self.divide_to(other, self.precision, Rounding::HalfEven)
    }

    fn divide_to(&self, other: &Decimal, precision: usize, rounding: Rounding) -> Result<Decimal, ArithmeticError> {
        let preferred = i64::from(self.scale) - i64::from(other.scale);
        match (self.is_zero(), other.is_zero()) {
            (true, true) => return Err(ArithmeticError::DivisionUndefined),
            (false, true) => return Err(ArithmeticError::DivisionByZero),
            (true, false) => return Ok(Decimal::zero(preferred, self.precision)),
            (false, false) => {}
        }
        // The shift that gives the quotient exactly as many digits as are wanted, or one more.
        let shift = precision as i64 + other.coefficient.digits() as i64 - self.coefficient.digits() as i64;
        let (dividend, divisor) = if shift >= 0 {
            (self.coefficient.scale_up(shift as usize), other.coefficient.clone())
        } else {
            (
                self.coefficient.clone(),
                other.coefficient.scale_up(shift.unsigned_abs() as usize),
            )
        };
        let (mut quotient, remainder) = dividend.divide(&divisor);
        let mut scale = preferred + shift;
        let negative = self.negative != other.negative;
        let exact = remainder.is_zero();
        if quotient.digits() > precision {
            // One digit too many: the remainder only matters for telling "exactly half" from "more".
            let (kept, tail) = quotient.scale_down(quotient.digits() - precision);
            let tail = match (tail, exact) {
                (Tail::Zero, false) => Tail::BelowHalf,
                (Tail::Half, false) => Tail::AboveHalf,
                (tail, _) => tail,
            };
            scale -= (quotient.digits() - precision) as i64;
            quotient = round_coefficient(kept, tail, negative, rounding)?;
            let result = Decimal {
                negative,
                coefficient: quotient,
                scale: checked_scale(scale)?,
                precision: self.precision,
            };
            let result = result.rounded_by(precision, rounding)?;
            return Ok(if tail == Tail::Zero {
                result.stripped_to(preferred)
            } else {
                result
            });
        }
        let tail = match (exact, remainder.add(&remainder).compare(&divisor)) {
            (true, _) => Tail::Zero,
            (_, Ordering::Less) => Tail::BelowHalf,
            (_, Ordering::Equal) => Tail::Half,
            (_, Ordering::Greater) => Tail::AboveHalf,
        };
        let coefficient = round_coefficient(quotient, tail, negative, rounding)?;
        let result = Decimal {
            negative,
            coefficient,
            scale: checked_scale(scale)?,
            precision: self.precision,
        };
        let result = result.rounded_by(precision, rounding)?;
        Ok(if exact { result.stripped_to(preferred) } else { result })
    }

    /// The remainder of a division that truncates: its sign is that of `self`.
    pub(crate) fn remainder(&self, other: &Decimal) -> Result<Decimal, ArithmeticError> {
        let preferred = i64::from(self.scale) - i64::from(other.scale);
        if other.is_zero() {
            return Err(if self.is_zero() {
                ArithmeticError::DivisionUndefined
            } else {
                ArithmeticError::DivisionByZero
            });
        }
        if self.compare_magnitude(other) == Ordering::Less {
            let scale = self.scale.max(checked_scale(preferred + i64::from(other.scale))?);
            return Ok(self.clone().padded((scale - self.scale) as usize));
        }
        let quotient = self.divide_to(other, self.precision, Rounding::Down)?;
        let whole = if quotient.scale > 0 {
            let cut = Decimal {
                coefficient: quotient.coefficient.scale_down(quotient.scale as usize).0,
                scale: 0,
                ..quotient
            };
            cut.padded(preferred.clamp(0, self.precision as i64) as usize)
                .stripped_to(preferred)
        } else {
            quotient
        };
        let difference = self.subtract_exactly(&whole.multiply_to(other, usize::MAX)?)?;
        if difference.compare_magnitude(other) != Ordering::Less {
            return Err(ArithmeticError::DivisionImpossible);
        }
        Ok(difference)
    }

    fn subtract_exactly(&self, other: &Decimal) -> Result<Decimal, ArithmeticError> {
        let wide = Decimal {
            precision: MAX_DIGITS * 4,
            ..self.clone()
        };
        Ok(Decimal {
            precision: self.precision,
            ..wide.subtract(other)?
        })
    }

    /// `self` to a whole power, by the algorithm of Java's `pow(int, MathContext)`: the same roundings on the way.
    pub(crate) fn power(&self, exponent: i32) -> Result<Decimal, ArithmeticError> {
        if exponent.unsigned_abs() > 999_999_999 {
            return Err(ArithmeticError::ExponentOutOfRange);
        }
        if exponent == 0 {
            return Ok(Decimal {
                precision: self.precision,
                ..Decimal::new(1, 0)
            });
        }
        let magnitude = exponent.unsigned_abs();
        let working = self.precision + magnitude.ilog10() as usize + 2;
        let mut power = Decimal {
            precision: self.precision,
            ..Decimal::new(1, 0)
        };
        for bit in (0..=magnitude.ilog2()).rev() {
            power = power.multiply_to(&power, working)?;
            if magnitude & (1 << bit) != 0 {
                power = power.multiply_to(self, working)?;
            }
        }
        if exponent < 0 {
            power = Decimal {
                precision: self.precision,
                ..Decimal::new(1, 0)
            }
            .divide_to(&power, working, Rounding::HalfEven)?;
        }
        power.rounded(self.precision)
    }

    /// The same value with `scale` digits after the point. More digits than [`MAX_DIGITS`] are not written out: the
    /// value is right, its text has fewer zeros than asked for.
    pub(crate) fn with_scale(&self, scale: i32, rounding: Rounding) -> Result<Decimal, ArithmeticError> {
        let more = i64::from(scale) - i64::from(self.scale);
        // Java refuses a power of ten that would need more than 2^31 bits.
        if more.abs() > 646_456_000 && !self.is_zero() {
            return Err(ArithmeticError::ExponentOutOfRange);
        }
        if more >= 0 {
            if self.is_zero() {
                return Ok(Decimal { scale, ..self.clone() });
            }
            let room = MAX_DIGITS.saturating_sub(self.coefficient.digits());
            return Ok(self.clone().padded((more as usize).min(room)));
        }
        let (kept, tail) = self.coefficient.scale_down(more.unsigned_abs() as usize);
        let coefficient = round_coefficient(kept, tail, self.negative, rounding)?;
        let negative = self.negative && !coefficient.is_zero();
        Ok(Decimal {
            negative,
            coefficient,
            scale,
            precision: self.precision,
        })
    }

    fn padded(mut self, zeros: usize) -> Decimal {
        if zeros > 0 {
            self.coefficient = self.coefficient.scale_up(zeros);
            self.scale += zeros as i32;
        }
        self
    }

    pub(crate) fn compare(&self, other: &Decimal) -> Ordering {
        match self.signum().cmp(&other.signum()) {
            Ordering::Equal if self.negative => other.compare_magnitude(self),
            Ordering::Equal => self.compare_magnitude(other),
            unequal => unequal,
        }
    }

    fn compare_magnitude(&self, other: &Decimal) -> Ordering {
        if self.is_zero() || other.is_zero() {
            return other.is_zero().cmp(&self.is_zero());
        }
        self.leading_exponent().cmp(&other.leading_exponent()).then_with(|| {
            let shift = i64::from(self.scale) - i64::from(other.scale);
            if shift >= 0 {
                self.coefficient.compare(&other.coefficient.scale_up(shift as usize))
            } else {
                self.coefficient
                    .scale_up(shift.unsigned_abs() as usize)
                    .compare(&other.coefficient)
            }
        })
    }

    /// The power of ten of the first digit.
    pub(super) fn leading_exponent(&self) -> i64 {
        self.coefficient.digits() as i64 - 1 - i64::from(self.scale)
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.scale <= 0 || self.is_zero() || self.coefficient.trailing_zeros() as i64 >= i64::from(self.scale)
    }

    /// The whole part modulo 2⁶⁴, as Java's `longValue`.
    pub(crate) fn low_i64(&self) -> i64 {
        let low = if self.scale > 0 {
            self.coefficient.scale_down(self.scale as usize).0.low_u64()
        } else if self.scale <= -64 {
            0 // 10^64 is a multiple of 2^64
        } else {
            self.coefficient.scale_up(self.scale.unsigned_abs() as usize).low_u64()
        };
        let signed = low as i64;
        if self.negative { signed.wrapping_neg() } else { signed }
    }
}

fn round_coefficient(
    kept: Natural,
    tail: Tail,
    negative: bool,
    rounding: Rounding,
) -> Result<Natural, ArithmeticError> {
    let away = match (rounding, tail) {
        (_, Tail::Zero) => false,
        (Rounding::Up, _) => true,
        (Rounding::Down, _) => false,
        (Rounding::Ceiling, _) => !negative,
        (Rounding::Floor, _) => negative,
        (Rounding::Unnecessary, _) => return Err(ArithmeticError::NotANumber),
        (_, Tail::AboveHalf) => true,
        (_, Tail::BelowHalf) => false,
        (Rounding::HalfUp, Tail::Half) => true,
        (Rounding::HalfDown, Tail::Half) => false,
        (Rounding::HalfEven, Tail::Half) => !kept.is_even(),
    };
    Ok(if away { kept.increment() } else { kept })
}

/// Both operands with the same scale. One that is too small to reach the last digit of the sum is replaced by a tiny
/// number of the same sign: `1E+9000 + 1` must not build 9,000 digits.
fn aligned(left: &Decimal, right: &Decimal, precision: usize) -> Result<(Decimal, Decimal), ArithmeticError> {
    let (big, small) = if left.scale <= right.scale {
        (left, right)
    } else {
        (right, left)
    };
    let last_digit = i64::from(big.scale) - big.coefficient.digits() as i64 + precision as i64;
    let small_first = i64::from(small.scale) - small.coefficient.digits() as i64 + 1;
    let tiny;
    let small = if small_first > i64::from(big.scale) + 2 && small_first > last_digit + 2 {
        let scale = checked_scale(i64::from(big.scale).max(last_digit) + 3)?;
        tiny = Decimal {
            scale,
            coefficient: Natural::from_u128(1),
            ..small.clone()
        };
        &tiny
    } else {
        small
    };
    let widen = |value: &Decimal, to: i32| -> Result<Decimal, ArithmeticError> {
        let missing = i64::from(to) - i64::from(value.scale);
        if missing.unsigned_abs() as usize > MAX_DIGITS * 8 {
            return Err(ArithmeticError::TooManyDigits);
        }
        Ok(value.clone().padded(missing as usize))
    };
    let scale = big.scale.max(small.scale);
    let (big, small) = (widen(big, scale)?, widen(small, scale)?);
    Ok(if left.scale <= right.scale {
        (big, small)
    } else {
        (small, big)
    })
}
