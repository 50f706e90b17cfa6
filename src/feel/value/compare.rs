//! Equality and order of values.

use super::Val;
use crate::feel::error::Stop;
use crate::feel::limits::{LimitKind, Meter};
use std::cmp::Ordering;

/// What `=` says; `None` when the kinds cannot be compared, which makes it null.
pub(crate) fn equal(meter: &Meter, left: &Val<'_>, right: &Val<'_>) -> Result<Option<bool>, Stop> {
    equal_at(meter, left, right, 0)
}

fn equal_at(meter: &Meter, left: &Val<'_>, right: &Val<'_>, depth: usize) -> Result<Option<bool>, Stop> {
    meter.tick()?;
    if depth > super::MAX_DEPTH {
        return Err(LimitKind::ValueNesting.into());
    }
    Ok(Some(match (left, right) {
        (Val::Null | Val::Error(_), Val::Null | Val::Error(_)) => true,
        (Val::Null, _) | (_, Val::Null) => false,
        (Val::Bool(left), Val::Bool(right)) => left == right,
        (Val::Number(left), Val::Number(right)) => left.compare(right) == Ordering::Equal,
        (Val::Date(left), Val::Date(right)) => left == right,
        (Val::LocalTime(left), Val::LocalTime(right)) => left == right,
        (Val::Time(left), Val::Time(right)) => left == right,
        (Val::LocalDateTime(left), Val::LocalDateTime(right)) => left == right,
        (Val::DateTime(left), Val::DateTime(right)) => left == right,
        (Val::Months(left), Val::Months(right)) => left == right,
        (Val::DayTime(left), Val::DayTime(right)) => left == right,
        _ => {
            if let (Some(left), Some(right)) = (left.as_str(), right.as_str()) {
                meter.burn(left.len().min(right.len()) as u64 / 256)?;
                return Ok(Some(left == right));
            }
            if let (Some(left), Some(right)) = (left.as_list(), right.as_list()) {
                return lists_equal(meter, &left, &right, depth).map(Some);
            }
            match (left.as_context(), right.as_context()) {
                (Some(left), Some(right)) => contexts_equal(meter, &left, &right, depth)?,
                _ => return Ok(None),
            }
        }
    }))
}

fn lists_equal(meter: &Meter, left: &super::Seq<'_>, right: &super::Seq<'_>, depth: usize) -> Result<bool, Stop> {
    if left.len() != right.len() {
        return Ok(false);
    }
    for (left, right) in left.iter().zip(right.iter()) {
        if equal_at(meter, &left, &right, depth + 1)? != Some(true) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn contexts_equal(meter: &Meter, left: &super::Ctx<'_>, right: &super::Ctx<'_>, depth: usize) -> Result<bool, Stop> {
    if left.len() != right.len() {
        return Ok(false);
    }
    for (key, value) in left.entries() {
        let Some(other) = right.get(key.as_str()) else {
            return Ok(false);
        };
        if equal_at(meter, &value, &other, depth + 1)? != Some(true) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What `list contains` and the membership test of `in` go by: as [`equal`], but a context that was written as a literal
/// is found only where it is the very same one, and kinds that cannot be compared are just different.
pub(crate) fn identical<'a>(meter: &Meter, left: &Val<'a>, right: &Val<'a>) -> Result<bool, Stop> {
    identical_at(meter, left, right, 0)
}

fn identical_at<'a>(meter: &Meter, left: &Val<'a>, right: &Val<'a>, depth: usize) -> Result<bool, Stop> {
    meter.tick()?;
    if depth > super::MAX_DEPTH {
        return Err(LimitKind::ValueNesting.into());
    }
    if let (Some(left), Some(right)) = (left.as_context(), right.as_context()) {
        if left.is_same(&right) {
            return Ok(true);
        }
        if left.is_literal() || right.is_literal() || left.len() != right.len() {
            return Ok(false);
        }
        for (key, value) in left.entries() {
            let Some(other) = right.get(key.as_str()) else {
                return Ok(false);
            };
            if !identical_at(meter, &value, &other, depth + 1)? {
                return Ok(false);
            }
        }
        return Ok(true);
    }
    if let (Some(left), Some(right)) = (left.as_list(), right.as_list()) {
        if left.is_same(&right) {
            return Ok(true);
        }
        if left.len() != right.len() {
            return Ok(false);
        }
        for (left, right) in left.iter().zip(right.iter()) {
            if !identical_at(meter, &left, &right, depth + 1)? {
                return Ok(false);
            }
        }
        return Ok(true);
    }
    match (left, right) {
        (Val::Range(left), Val::Range(right)) => Ok(left.start.closed == right.start.closed
            && left.end.closed == right.end.closed
            && identical_at(meter, &left.start.value, &right.start.value, depth + 1)?
            && identical_at(meter, &left.end.value, &right.end.value, depth + 1)?),
        (Val::Function(left), Val::Function(right)) => Ok(std::rc::Rc::ptr_eq(left, right)),
        _ => Ok(equal(meter, left, right)? == Some(true)),
    }
}

/// The order of two values of the same comparable kind; `None` for any others.
pub(crate) fn order(left: &Val<'_>, right: &Val<'_>) -> Option<Ordering> {
    match (left, right) {
        (Val::Number(left), Val::Number(right)) => Some(left.compare(right)),
        (Val::Date(left), Val::Date(right)) => Some(left.cmp(right)),
        (Val::LocalTime(left), Val::LocalTime(right)) => Some(left.cmp(right)),
        (Val::Time(left), Val::Time(right)) => Some(left.instant().cmp(&right.instant())),
        (Val::LocalDateTime(left), Val::LocalDateTime(right)) => Some(left.cmp(right)),
        (Val::DateTime(left), Val::DateTime(right)) => Some(left.compare(right)),
        (Val::Months(left), Val::Months(right)) => Some(left.cmp(right)),
        (Val::DayTime(left), Val::DayTime(right)) => Some(left.cmp(right)),
        _ => Some(order_text(left.as_str()?, right.as_str()?)),
    }
}

/// By UTF-16 units, as Java compares strings. It differs from the order of bytes only where a character beyond the
/// basic plane meets one of the last 8,192 inside it.
fn order_text(left: &str, right: &str) -> Ordering {
    let first_difference = left.chars().zip(right.chars()).find(|(left, right)| left != right);
    match first_difference {
        Some((left, right)) if (left > '\u{ffff}') != (right > '\u{ffff}') => {
            let unit = |character: char| character.encode_utf16(&mut [0; 2])[0];
            unit(left).cmp(&unit(right))
        }
        Some((left, right)) => left.cmp(&right),
        None => left.len().cmp(&right.len()),
    }
}
