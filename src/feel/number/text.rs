//! Decimals as text and as doubles: Java's `BigDecimal` grammar in, its `toString` and `doubleValue` out.

use super::decimal::{Decimal, MAX_DIGITS, PRECISION};
use super::natural::Natural;
use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::OnceLock;

/// Why a text is not a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotANumber {
    Malformed,
    TooManyDigits,
}

/// Reads `[+-] digits [. digits] [e [+-] digits]`; the scale is as written (`1.10` has two digits after the point), and
/// a number with more than 34 digits keeps them all, and so do the results of operations that start with it.
pub(crate) fn parse(text: &str) -> Result<Decimal, NotANumber> {
    let bytes = text.as_bytes();
    let (negative, rest) = match bytes.first() {
        Some(b'-') => (true, &bytes[1..]),
        Some(b'+') => (false, &bytes[1..]),
        _ => (false, bytes),
    };
    let (mantissa, exponent) = match rest.iter().position(|byte| matches!(byte, b'e' | b'E')) {
        Some(at) => (&rest[..at], parse_exponent(&rest[at + 1..])?),
        None => (rest, 0),
    };
    let point = mantissa.iter().position(|byte| *byte == b'.');
    let (whole, fraction) = match point {
        Some(at) => (&mantissa[..at], &mantissa[at + 1..]),
        None => (mantissa, &[][..]),
    };
    if whole.len() + fraction.len() == 0 || !whole.iter().chain(fraction).all(u8::is_ascii_digit) {
        return Err(NotANumber::Malformed);
    }
    let digits: Vec<u8> = whole
        .iter()
        .chain(fraction)
        .copied()
        .skip_while(|digit| *digit == b'0')
        .collect();
    if digits.len() > MAX_DIGITS || fraction.len() > MAX_DIGITS {
        return Err(NotANumber::TooManyDigits);
    }
    let scale = i32::try_from(fraction.len() as i64 - exponent).map_err(|_| NotANumber::Malformed)?;
    let coefficient = Natural::from_digits(&digits);
    let negative = negative && !coefficient.is_zero();
    Ok(Decimal {
        negative,
        precision: coefficient.digits().max(PRECISION),
        coefficient,
        scale,
    })
}

/// The same text with ASCII digits: Java reads the decimal digits of every script.
pub(crate) fn with_ascii_digits(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    static DIGIT: OnceLock<Option<regex::Regex>> = OnceLock::new();
    let digit = DIGIT.get_or_init(|| regex::Regex::new(r"^\p{Nd}$").ok());
    let is_digit = |character: char| {
        let mut buffer = [0; 4];
        digit
            .as_ref()
            .is_some_and(|digit| digit.is_match(character.encode_utf8(&mut buffer)))
    };
    let ascii = |character: char| {
        if character.is_ascii() || character > '\u{ffff}' || !is_digit(character) {
            return character;
        }
        // The digits of a script stand in order, the zero first.
        let before =
            (1..10).take_while(|distance| char::from_u32(u32::from(character) - distance).is_some_and(is_digit));
        char::from_digit(before.count() as u32, 10).unwrap_or(character)
    };
    Cow::Owned(text.chars().map(ascii).collect())
}

fn parse_exponent(bytes: &[u8]) -> Result<i64, NotANumber> {
    let (negative, digits) = match bytes.first() {
        Some(b'-') => (true, &bytes[1..]),
        Some(b'+') => (false, &bytes[1..]),
        _ => (false, bytes),
    };
    if digits.is_empty() || digits.len() > 10 || !digits.iter().all(u8::is_ascii_digit) {
        return Err(NotANumber::Malformed);
    }
    let value = digits
        .iter()
        .fold(0i64, |value, digit| value * 10 + i64::from(digit - b'0'));
    Ok(if negative { -value } else { value })
}

/// The decimal that Java makes of a double: the shortest digits that read back as the same double, with at least one
/// digit after the point (`10.0`, `1.0E+20`). `None` for NaN and the infinities.
pub(crate) fn from_f64(value: f64) -> Option<Decimal> {
    if !value.is_finite() {
        return None;
    }
    let shortest = format!("{value:e}");
    let (mantissa, exponent) = shortest.split_once('e')?;
    let exponent: i32 = exponent.parse().ok()?;
    let digits: Vec<u8> = mantissa.bytes().filter(u8::is_ascii_digit).collect();
    let coefficient = Natural::from_digits(&digits);
    let negative = value < 0.0;
    // Java writes plain notation from 10^-3 up to 10^7 and then at least one fraction digit in either notation.
    let mut scale = digits.len() as i32 - 1 - exponent;
    let plain = value == 0.0 || (-3..7).contains(&exponent);
    let least = if plain { 1 } else { 1 - exponent };
    let mut decimal = Decimal {
        negative,
        coefficient,
        scale,
        precision: PRECISION,
    };
    if scale < least {
        decimal.coefficient = decimal.coefficient.scale_up((least - scale) as usize);
        scale = least;
    }
    decimal.scale = scale;
    Some(decimal)
}

impl Decimal {
    /// The nearest double; infinite beyond the range of doubles.
    pub(crate) fn to_f64(&self) -> f64 {
        let mut text = String::with_capacity(48);
        // Formatting and parsing rounds correctly, which arithmetic on doubles would not. Writing to a String is infallible.
        let _ = write!(
            text,
            "{}{}e{}",
            if self.negative { "-" } else { "" },
            self.coefficient,
            -i64::from(self.scale)
        );
        text.parse().unwrap_or(f64::NAN)
    }
}

impl std::fmt::Display for Decimal {
    /// Java's canonical text: plain when no positive exponent is needed and the first digit is not below 10^-6,
    /// scientific (`1E+20`, `1.5E-9`) otherwise.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digits = self.coefficient.to_string();
        let sign = if self.negative { "-" } else { "" };
        let exponent = self.leading_exponent();
        if self.scale == 0 {
            return write!(out, "{sign}{digits}");
        }
        if self.scale > 0 && exponent >= -6 {
            let scale = self.scale as usize;
            return if digits.len() > scale {
                let (whole, fraction) = digits.split_at(digits.len() - scale);
                write!(out, "{sign}{whole}.{fraction}")
            } else {
                write!(out, "{sign}0.{digits:0>scale$}")
            };
        }
        let (first, rest) = digits.split_at(1);
        let point = if rest.is_empty() { "" } else { "." };
        write!(out, "{sign}{first}{point}{rest}E{exponent:+}")
    }
}
