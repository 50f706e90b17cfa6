//! Numbers: whole numbers and short decimals without allocation, everything else as a [`Decimal`].
//!
//! What enters are literals, JSON numbers and operands; what leaves are [`Number`]s with the value, the scale and the
//! rounding that Java's `BigDecimal` under `DECIMAL128` would have.

mod decimal;
mod natural;
mod text;

pub(crate) use decimal::{ArithmeticError, MAX_DIGITS, Rounding};
pub(crate) use text::{NotANumber, with_ascii_digits};

use decimal::Decimal;
use std::cmp::Ordering;
use std::rc::Rc;

/// A number. The first two forms are what almost every number is; they never exceed 34 digits, so no rounding applies.
#[derive(Debug, Clone)]
pub(crate) enum Number {
    Int(i64),
    /// `coefficient · 10^-scale` with a small scale above zero.
    Fixed {
        coefficient: i64,
        scale: u8,
    },
    Wide(Rc<Decimal>),
}

/// The same, to be kept in a program that threads share.
#[derive(Debug, Clone)]
pub(crate) enum Constant {
    Int(i64),
    Fixed { coefficient: i64, scale: u8 },
    Wide(Box<Decimal>),
}

impl Constant {
    pub(crate) fn number(&self) -> Number {
        match self {
            Constant::Int(value) => Number::Int(*value),
            Constant::Fixed { coefficient, scale } => Number::Fixed {
                coefficient: *coefficient,
                scale: *scale,
            },
            Constant::Wide(decimal) => Number::Wide(Rc::new((**decimal).clone())),
        }
    }
}

const SMALL_POWERS: [i64; 19] = {
    let mut powers = [1i64; 19];
    let mut index = 1;
    while index < 19 {
        powers[index] = powers[index - 1] * 10;
        index += 1;
    }
    powers
};

/// The largest scale of [`Number::Fixed`].
const FIXED_SCALE: u8 = 18;

impl Number {
    pub(crate) const ZERO: Number = Number::Int(0);

    /// Reads Java's `BigDecimal` grammar.
    pub(crate) fn parse(text: &str) -> Result<Number, NotANumber> {
        // At most 18 digits always fit; this is the way of nearly every literal.
        if text.len() <= 18 && !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return text.parse().map(Number::Int).map_err(|_| NotANumber::Malformed);
        }
        text::parse(text).map(Number::from_decimal)
    }

    /// Reads a literal of a program.
    pub(crate) fn parse_constant(text: &str) -> Result<Constant, NotANumber> {
        Ok(match Number::parse(text)? {
            Number::Int(value) => Constant::Int(value),
            Number::Fixed { coefficient, scale } => Constant::Fixed { coefficient, scale },
            Number::Wide(decimal) => Constant::Wide(Box::new((*decimal).clone())),
        })
    }

    /// The decimal of a double as Java makes it; `None` for NaN and the infinities.
    pub(crate) fn from_f64(value: f64) -> Option<Number> {
        // Most fractions in documents have few digits: try the exact product with a small power of ten first.
        if value.abs() < 1e7 && value.abs() >= 1e-3 {
            for scale in 1..=6u8 {
                let scaled = value * SMALL_POWERS[scale as usize] as f64;
                if scaled.fract() == 0.0 && scaled / SMALL_POWERS[scale as usize] as f64 == value {
                    return Some(Number::Fixed {
                        coefficient: scaled as i64,
                        scale,
                    });
                }
            }
        }
        text::from_f64(value).map(Number::from_decimal)
    }

    pub(crate) fn from_json(number: &serde_json::Number) -> Number {
        if let Some(value) = number.as_i64() {
            return Number::Int(value);
        }
        if let Some(value) = number.as_u64() {
            return Number::from_i128(i128::from(value), 0);
        }
        number.as_f64().and_then(Number::from_f64).unwrap_or(Number::ZERO)
    }

    fn from_i128(value: i128, scale: i32) -> Number {
        match i64::try_from(value) {
            Ok(value) if scale == 0 => Number::Int(value),
            Ok(coefficient) if scale > 0 && scale <= i32::from(FIXED_SCALE) => Number::Fixed {
                coefficient,
                scale: scale as u8,
            },
            _ => Number::Wide(Rc::new(Decimal::new(value, scale))),
        }
    }

    fn from_decimal(decimal: Decimal) -> Number {
        let small = decimal.precision == decimal::PRECISION && (0..=i32::from(FIXED_SCALE)).contains(&decimal.scale);
        if small
            && let Some(magnitude) = decimal
                .coefficient
                .to_u128()
                .and_then(|value| i64::try_from(value).ok())
        {
            return Number::from_i128(
                i128::from(if decimal.negative { -magnitude } else { magnitude }),
                decimal.scale,
            );
        }
        Number::Wide(Rc::new(decimal))
    }

    fn decimal(&self) -> Decimal {
        match self {
            Number::Int(value) => Decimal::new(i128::from(*value), 0),
            Number::Fixed { coefficient, scale } => Decimal::new(i128::from(*coefficient), i32::from(*scale)),
            Number::Wide(decimal) => (**decimal).clone(),
        }
    }

    /// Coefficient and scale of the two small forms.
    fn small(&self) -> Option<(i64, u8)> {
        match self {
            Number::Int(value) => Some((*value, 0)),
            Number::Fixed { coefficient, scale } => Some((*coefficient, *scale)),
            Number::Wide(_) => None,
        }
    }

    /// Both coefficients at the larger of the two scales: at most 19 + 18 digits, so 128 bits hold them.
    fn small_aligned(&self, other: &Number) -> Option<(i128, i128, u8)> {
        let ((left, left_scale), (right, right_scale)) = (self.small()?, other.small()?);
        let scale = left_scale.max(right_scale);
        let widen = |value: i64, from: u8| i128::from(value) * i128::from(SMALL_POWERS[(scale - from) as usize]);
        Some((widen(left, left_scale), widen(right, right_scale), scale))
    }

    pub(crate) fn add(&self, other: &Number) -> Result<Number, ArithmeticError> {
        if let (Number::Int(left), Number::Int(right)) = (self, other)
            && let Some(sum) = left.checked_add(*right)
        {
            return Ok(Number::Int(sum));
        }
        match self.small_aligned(other) {
            Some((left, right, scale))
                if within_precision(left + right) && self.signum() != 0 && other.signum() != 0 =>
            {
                Ok(Number::from_i128(left + right, i32::from(scale)))
            }
            _ => self.decimal().add(&other.decimal()).map(Number::from_decimal),
        }
    }

    pub(crate) fn subtract(&self, other: &Number) -> Result<Number, ArithmeticError> {
        if let (Number::Int(left), Number::Int(right)) = (self, other)
            && let Some(difference) = left.checked_sub(*right)
        {
            return Ok(Number::Int(difference));
        }
        self.add(&other.opposite())
    }

    pub(crate) fn multiply(&self, other: &Number) -> Result<Number, ArithmeticError> {
        if let (Some((left, left_scale)), Some((right, right_scale))) = (self.small(), other.small()) {
            let product = i128::from(left) * i128::from(right);
            if within_precision(product) {
                return Ok(Number::from_i128(
                    product,
                    i32::from(left_scale) + i32::from(right_scale),
                ));
            }
        }
        self.decimal().multiply(&other.decimal()).map(Number::from_decimal)
    }

    pub(crate) fn divide(&self, other: &Number) -> Result<Number, ArithmeticError> {
        if let (Number::Int(left), Number::Int(right)) = (self, other)
            && *right > 0
            && left % right == 0
        {
            return Ok(Number::Int(left / right));
        }
        self.decimal().divide(&other.decimal()).map(Number::from_decimal)
    }

    /// The remainder with the sign of `self`.
    pub(crate) fn remainder(&self, other: &Number) -> Result<Number, ArithmeticError> {
        if let (Number::Int(left), Number::Int(right)) = (self, other)
            && let Some(remainder) = left.checked_rem(*right)
        {
            return Ok(Number::Int(remainder));
        }
        self.decimal().remainder(&other.decimal()).map(Number::from_decimal)
    }

    /// A whole exponent is taken modulo 2³² and computed exactly; any other goes through doubles, as in the real engine.
    pub(crate) fn power(&self, exponent: &Number) -> Result<Number, ArithmeticError> {
        if exponent.is_whole() {
            return self.decimal().power(exponent.low_i32()).map(Number::from_decimal);
        }
        Number::from_f64(self.to_f64().powf(exponent.to_f64())).ok_or(ArithmeticError::NotANumber)
    }

    /// The negation, rounded like any other result.
    pub(crate) fn negate(&self) -> Number {
        match self {
            Number::Wide(decimal) => {
                let negated = decimal.negate();
                let rounded = negated.clone().rounded(negated.precision);
                Number::from_decimal(rounded.unwrap_or(negated))
            }
            small => small.opposite(),
        }
    }

    /// The negation with every digit.
    fn opposite(&self) -> Number {
        match self {
            Number::Int(value) => Number::from_i128(-i128::from(*value), 0),
            Number::Fixed { coefficient, scale } => Number::from_i128(-i128::from(*coefficient), i32::from(*scale)),
            Number::Wide(decimal) => Number::from_decimal(decimal.negate()),
        }
    }

    pub(crate) fn abs(&self) -> Number {
        match self {
            _ if self.signum() < 0 => self.negate(),
            _ => self.clone(),
        }
    }

    pub(crate) fn with_scale(&self, scale: i32, rounding: Rounding) -> Result<Number, ArithmeticError> {
        if let (Number::Int(_), 0) = (self, scale) {
            return Ok(self.clone());
        }
        self.decimal().with_scale(scale, rounding).map(Number::from_decimal)
    }

    pub(crate) fn signum(&self) -> i32 {
        match self {
            Number::Int(value) | Number::Fixed { coefficient: value, .. } => value.signum() as i32,
            Number::Wide(decimal) => decimal.signum(),
        }
    }

    pub(crate) fn is_zero(&self) -> bool {
        self.signum() == 0
    }

    pub(crate) fn is_whole(&self) -> bool {
        match self {
            Number::Int(_) => true,
            Number::Fixed { coefficient, scale } => coefficient % SMALL_POWERS[*scale as usize] == 0,
            Number::Wide(decimal) => decimal.is_whole(),
        }
    }

    /// The whole number, when this is one and 64 bits hold it.
    pub(crate) fn to_i64(&self) -> Option<i64> {
        match self {
            Number::Int(value) => Some(*value),
            Number::Fixed { coefficient, scale } => {
                let unit = SMALL_POWERS[*scale as usize];
                (coefficient % unit == 0).then(|| coefficient / unit)
            }
            Number::Wide(decimal) => {
                let low = decimal.low_i64();
                let same = decimal.compare(&Decimal::new(i128::from(low), 0)) == Ordering::Equal;
                same.then_some(low)
            }
        }
    }

    /// The whole part modulo 2⁶⁴, as Java's `longValue`.
    pub(crate) fn low_i64(&self) -> i64 {
        match self {
            Number::Int(value) => *value,
            Number::Fixed { coefficient, scale } => coefficient / SMALL_POWERS[*scale as usize],
            Number::Wide(decimal) => decimal.low_i64(),
        }
    }

    /// The whole part modulo 2³², as Java's `intValue`: what positions, counts and date parts are read with.
    pub(crate) fn low_i32(&self) -> i32 {
        self.low_i64() as i32
    }

    pub(crate) fn to_f64(&self) -> f64 {
        match self {
            Number::Int(value) => *value as f64,
            // Both parts are exact below 2^53, so one division rounds correctly.
            Number::Fixed { coefficient, scale } if coefficient.unsigned_abs() < 1 << 53 && *scale <= 15 => {
                *coefficient as f64 / SMALL_POWERS[*scale as usize] as f64
            }
            _ => self.decimal().to_f64(),
        }
    }

    pub(crate) fn compare(&self, other: &Number) -> Ordering {
        match self.small_aligned(other) {
            Some((left, right, _)) => left.cmp(&right),
            None => self.decimal().compare(&other.decimal()),
        }
    }
}

/// Whether a value has at most 34 digits.
fn within_precision(value: i128) -> bool {
    value.unsigned_abs() < 10u128.pow(34)
}

impl From<i64> for Number {
    fn from(value: i64) -> Number {
        Number::Int(value)
    }
}

impl std::fmt::Display for Number {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Number::Int(value) => write!(out, "{value}"),
            _ => self.decimal().fmt(out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Number {
        Number::parse(text).unwrap()
    }

    #[test]
    fn results_keep_the_scale_that_java_prefers() {
        assert_eq!(number("1.10").add(&number("2.20")).unwrap().to_string(), "3.30");
        assert_eq!(number("1.10").multiply(&number("2.20")).unwrap().to_string(), "2.4200");
        assert_eq!(number("6.00").divide(&number("2")).unwrap().to_string(), "3.00");
        assert_eq!(number("1").divide(&number("8")).unwrap().to_string(), "0.125");
        assert_eq!(number("0").add(&number("1.50")).unwrap().to_string(), "1.50");
    }

    #[test]
    fn a_quotient_without_end_has_34_digits() {
        assert_eq!(
            number("1").divide(&number("3")).unwrap().to_string(),
            "0.3333333333333333333333333333333333"
        );
        assert_eq!(
            number("2").divide(&number("3")).unwrap().to_string(),
            "0.6666666666666666666666666666666667"
        );
    }

    #[test]
    fn a_longer_left_operand_keeps_its_digits_and_a_longer_right_one_does_not() {
        let long = number("12345678901234567890123456789012345678901234567890");
        assert_eq!(
            long.add(&number("1")).unwrap().to_string(),
            "12345678901234567890123456789012345678901234567891"
        );
        assert_eq!(
            number("1").add(&long).unwrap().to_string(),
            "1.234567890123456789012345678901235E+49"
        );
    }

    #[test]
    fn doubles_come_in_with_the_text_that_java_gives_them() {
        for (value, text) in [
            (10.0, "10.0"),
            (1e20, "1.0E+20"),
            (0.00001, "0.000010"),
            (0.1, "0.1"),
            (-2.5, "-2.5"),
            (1e-7, "1.0E-7"),
            (0.0, "0.0"),
        ] {
            assert_eq!(Number::from_f64(value).unwrap().to_string(), text);
        }
    }

    #[test]
    fn powers_follow_javas_rounding() {
        assert_eq!(
            number("10").power(&number("400")).unwrap().to_string(),
            "1.000000000000000000000000000000000E+400"
        );
        assert_eq!(number("2").power(&number("-3")).unwrap().to_string(), "0.125");
    }

    #[test]
    fn a_remainder_whose_quotient_is_too_long_is_refused() {
        assert_eq!(number("5.5").remainder(&number("2")).unwrap().to_string(), "1.5");
        assert!(number("1E+30").remainder(&number("0.000001")).unwrap().is_zero());
        assert_eq!(
            number("1E+40").remainder(&number("3")).unwrap_err(),
            ArithmeticError::DivisionImpossible
        );
    }
}
