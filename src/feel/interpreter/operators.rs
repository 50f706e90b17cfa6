//! Arithmetic, comparisons, and the three-valued `and` and `or`.

use super::{Env, Interpreter, Outcome, describe};
use crate::feel::error::{Stop, WarningKind};
use crate::feel::number::{ArithmeticError, Number};
use crate::feel::syntax::{Arithmetic, Comparison, NodeId};
use crate::feel::temporal::{DayTime, LocalDateTime, LocalTime, Months, ZonedDateTime, ZonedTime};
use crate::feel::value::{Val, equal, order};
use std::cmp::Ordering;
use std::rc::Rc;

/// What `java.time` refuses with an exception fails the evaluation.
fn in_range<T>(value: Option<T>) -> Result<T, Stop> {
    value.ok_or_else(|| Stop::failed("the result is outside the range of dates and durations"))
}

pub(crate) fn arithmetic(result: Result<Number, ArithmeticError>) -> Result<Number, Stop> {
    result.map_err(|error| match error {
        ArithmeticError::TooManyDigits => super::digits(),
        error => Stop::failed(error.to_string()),
    })
}

fn zoned_date_time<'a>(value: Option<ZonedDateTime>) -> Outcome<'a> {
    in_range(value).map(|value| Val::DateTime(Rc::new(value)))
}

fn local_date_time<'a>(value: Option<LocalDateTime>) -> Outcome<'a> {
    in_range(value).map(Val::LocalDateTime)
}

fn day_time<'a>(value: Option<DayTime>) -> Outcome<'a> {
    in_range(value).map(Val::DayTime)
}

fn months<'a>(value: Option<Months>) -> Outcome<'a> {
    in_range(value).map(Val::Months)
}

fn zoned_time<'a>(value: ZonedTime) -> Outcome<'a> {
    Ok(Val::Time(Rc::new(value)))
}

/// The date that is `duration` after midnight of another one.
fn date_plus<'a>(date: crate::feel::temporal::Date, duration: Option<DayTime>) -> Outcome<'a> {
    let midnight = LocalDateTime {
        date,
        time: LocalTime::MIDNIGHT,
    };
    in_range(duration.and_then(|duration| midnight.plus(duration))).map(|later| Val::Date(later.date))
}

impl<'a> Interpreter<'a> {
    pub(super) fn chain(&self, first: NodeId, rest: &'a [(Arithmetic, NodeId)], env: &Env<'_, 'a>) -> Outcome<'a> {
        let mut value = self.eval(first, env)?;
        for (operator, operand) in rest {
            let operand = self.eval(*operand, env)?;
            value = self.operate(*operator, value, operand)?;
        }
        Ok(value)
    }

    fn operate(&self, operator: Arithmetic, left: Val<'a>, right: Val<'a>) -> Outcome<'a> {
        if let (Val::Number(left), Val::Number(right)) = (&left, &right) {
            let result = match operator {
                Arithmetic::Add => left.add(right),
                Arithmetic::Subtract => left.subtract(right),
                Arithmetic::Multiply => left.multiply(right),
                Arithmetic::Divide if right.is_zero() => {
                    self.warn(WarningKind::WrongKind, || format!("cannot divide {left} by zero"));
                    return Ok(Val::Null);
                }
                Arithmetic::Divide => left.divide(right),
                Arithmetic::Power => left.power(right),
            };
            return arithmetic(result).map(Val::Number);
        }
        match (&left, &right) {
            (Val::NoInput, _) | (_, Val::NoInput) => return Ok(Val::NoInput),
            (Val::Error(_), _) | (_, Val::Error(_)) => return Ok(Val::Null),
            _ => {}
        }
        let result = match operator {
            Arithmetic::Add => self.add(&left, &right)?,
            Arithmetic::Subtract => subtract(&left, &right)?,
            Arithmetic::Multiply => multiply(&left, &right)?,
            Arithmetic::Divide => divide(&left, &right)?,
            Arithmetic::Power => None,
        };
        Ok(result.unwrap_or_else(|| {
            self.warn(WarningKind::WrongKind, || {
                let (verb, preposition) = match operator {
                    Arithmetic::Add => {
                        return format!("cannot add {} to {}", describe(&right), describe(&left));
                    }
                    Arithmetic::Subtract => {
                        return format!("cannot subtract {} from {}", describe(&right), describe(&left));
                    }
                    Arithmetic::Multiply => ("multiply", "by"),
                    Arithmetic::Divide => ("divide", "by"),
                    Arithmetic::Power => ("raise", "to"),
                };
                format!("cannot {verb} {} {preposition} {}", describe(&left), describe(&right))
            });
            Val::Null
        }))
    }

    fn add(&self, left: &Val<'a>, right: &Val<'a>) -> Result<Option<Val<'a>>, Stop> {
        if let (Some(left), Some(right)) = (left.as_str(), right.as_str()) {
            self.meter.allocate_text(left.len() + right.len())?;
            let mut text = String::with_capacity(left.len() + right.len());
            text.push_str(left);
            text.push_str(right);
            return Ok(Some(Val::text(text)));
        }
        Ok(Some(match (left, right) {
            (Val::LocalTime(time), Val::DayTime(by)) | (Val::DayTime(by), Val::LocalTime(time)) => {
                Val::LocalTime(time.plus(*by))
            }
            (Val::Time(time), Val::DayTime(by)) | (Val::DayTime(by), Val::Time(time)) => zoned_time(time.plus(*by))?,
            (Val::LocalDateTime(at), Val::Months(by)) | (Val::Months(by), Val::LocalDateTime(at)) => {
                local_date_time(at.plus_months(*by))?
            }
            (Val::LocalDateTime(at), Val::DayTime(by)) | (Val::DayTime(by), Val::LocalDateTime(at)) => {
                local_date_time(at.plus(*by))?
            }
            (Val::DateTime(at), Val::Months(by)) | (Val::Months(by), Val::DateTime(at)) => {
                zoned_date_time(at.plus_months(*by))?
            }
            (Val::DateTime(at), Val::DayTime(by)) | (Val::DayTime(by), Val::DateTime(at)) => {
                zoned_date_time(at.plus(*by))?
            }
            (Val::Months(left), Val::Months(right)) => months(left.plus(*right))?,
            (Val::DayTime(left), Val::DayTime(right)) => day_time(left.plus(*right))?,
            (Val::Date(date), Val::Months(by)) | (Val::Months(by), Val::Date(date)) => {
                Val::Date(in_range(date.plus_months(by.total()))?)
            }
            (Val::Date(date), Val::DayTime(by)) | (Val::DayTime(by), Val::Date(date)) => date_plus(*date, Some(*by))?,
            _ => return Ok(None),
        }))
    }

    pub(super) fn negate(&self, inner: NodeId, env: &Env<'_, 'a>) -> Outcome<'a> {
        match self.eval(inner, env)? {
            Val::Number(number) => Ok(Val::Number(number.negate())),
            Val::NoInput => Ok(Val::NoInput),
            other => {
                self.wrong_kind("number", &other);
                Ok(Val::Null)
            }
        }
    }

    pub(super) fn compare(&self, comparison: Comparison, left: &Val<'a>, right: &Val<'a>) -> Outcome<'a> {
        for operand in [left, right] {
            if matches!(operand, Val::Error(_) | Val::NoInput) {
                // The negation of an equality that failed is null, as of any other value that is no boolean.
                let is_null = comparison == Comparison::NotEqual && matches!(operand, Val::Error(_));
                return Ok(if is_null { Val::Null } else { operand.clone() });
            }
        }
        let result = match comparison {
            Comparison::Equal => equal(&self.meter, left, right)?,
            Comparison::NotEqual => equal(&self.meter, left, right)?.map(|equal| !equal),
            _ => self.ordered(left, right)?.map(|order| match comparison {
                Comparison::Less => order == Ordering::Less,
                Comparison::LessOrEqual => order != Ordering::Greater,
                Comparison::Greater => order == Ordering::Greater,
                _ => order != Ordering::Less,
            }),
        };
        Ok(result.map_or_else(
            || {
                self.not_comparable(left, right);
                Val::Null
            },
            Val::Bool,
        ))
    }

    pub(super) fn not_comparable(&self, left: &Val<'a>, right: &Val<'a>) {
        self.warn(WarningKind::NotComparable, || {
            format!("cannot compare {} with {}", describe(left), describe(right))
        });
    }

    /// The order of two values; lists that could be compared item by item fail, as in the real engine.
    pub(super) fn ordered(&self, left: &Val<'a>, right: &Val<'a>) -> Result<Option<Ordering>, Stop> {
        if let Some(order) = order(left, right) {
            return Ok(Some(order));
        }
        if self.is_comparable(left)? && self.is_comparable(right)? && left.same_kind(right) {
            return Err(Stop::failed(
                "lists have no order and cannot be compared with `<`, `>`, `min` or `max`",
            ));
        }
        Ok(None)
    }

    /// Whether the real engine would try to order a value.
    pub(crate) fn is_comparable(&self, value: &Val<'a>) -> Result<bool, Stop> {
        self.meter.tick()?;
        if let Some(list) = value.as_list() {
            let Some(first) = list.get(0) else {
                return Ok(false);
            };
            self.meter.burn(list.len() as u64)?;
            self.meter.enter()?;
            let comparable = self.is_comparable(&first);
            self.meter.leave();
            return Ok(comparable? && list.iter().all(|item| item.same_kind(&first)));
        }
        Ok(!matches!(
            value,
            Val::Null
                | Val::Bool(_)
                | Val::Context(_)
                | Val::JsonContext(_)
                | Val::Function(_)
                | Val::Range(_)
                | Val::Error(_)
                | Val::NoInput
        ))
    }

    pub(super) fn all(&self, operands: &'a [NodeId], env: &Env<'_, 'a>) -> Outcome<'a> {
        self.fold_booleans(false, operands.iter().map(|operand| self.eval(*operand, env)))
    }

    pub(super) fn any(&self, operands: &'a [NodeId], env: &Env<'_, 'a>) -> Outcome<'a> {
        self.fold_booleans(true, operands.iter().map(|operand| self.eval(*operand, env)))
    }

    /// `or` when `decisive` is true, `and` when it is false: the first decisive operand decides and later ones are not
    /// evaluated; otherwise anything that is no boolean makes the result null.
    pub(super) fn fold_booleans(
        &self,
        decisive: bool,
        values: impl std::iter::Iterator<Item = Outcome<'a>>,
    ) -> Outcome<'a> {
        let mut unknown = false;
        for value in values {
            match value? {
                Val::Bool(value) if value == decisive => return Ok(Val::Bool(decisive)),
                Val::Bool(_) => {}
                Val::NoInput => return Ok(Val::NoInput),
                other => {
                    self.wrong_kind("boolean", &other);
                    unknown = true;
                }
            }
        }
        Ok(if unknown { Val::Null } else { Val::Bool(!decisive) })
    }
}

fn subtract<'a>(left: &Val<'a>, right: &Val<'a>) -> Result<Option<Val<'a>>, Stop> {
    let minus = |by: &DayTime| in_range(by.negated());
    Ok(Some(match (left, right) {
        (Val::LocalTime(left), Val::LocalTime(right)) => {
            day_time(DayTime::new(0, left.nanos_of_day() - right.nanos_of_day()))?
        }
        (Val::LocalTime(time), Val::DayTime(by)) => Val::LocalTime(time.plus(minus(by)?)),
        (Val::Time(left), Val::Time(right)) => day_time(DayTime::new(0, (left.instant() - right.instant()).abs()))?,
        (Val::Time(time), Val::DayTime(by)) => zoned_time(time.plus(minus(by)?))?,
        (Val::LocalDateTime(left), Val::LocalDateTime(right)) => day_time(left.since(*right))?,
        (Val::LocalDateTime(at), Val::Months(by)) => local_date_time(at.plus_months(by.negated()))?,
        (Val::LocalDateTime(at), Val::DayTime(by)) => local_date_time(at.plus(minus(by)?))?,
        (Val::DateTime(left), Val::DateTime(right)) => day_time(left.since(right))?,
        (Val::DateTime(at), Val::Months(by)) => zoned_date_time(at.plus_months(by.negated()))?,
        (Val::DateTime(at), Val::DayTime(by)) => zoned_date_time(at.plus(minus(by)?))?,
        (Val::Date(left), Val::Date(right)) => {
            Val::DayTime(DayTime::from_seconds((left.epoch_day() - right.epoch_day()) * 86_400))
        }
        (Val::Date(date), Val::Months(by)) => Val::Date(in_range(date.plus_months(-by.total()))?),
        (Val::Date(date), Val::DayTime(by)) => date_plus(*date, by.negated())?,
        (Val::Months(left), Val::Months(right)) => months(left.plus(right.negated()))?,
        (Val::DayTime(left), Val::DayTime(right)) => day_time(left.plus(minus(right)?))?,
        _ => return Ok(None),
    }))
}

/// Factors are taken as whole numbers of 32 bits, as in the real engine.
fn multiply<'a>(left: &Val<'a>, right: &Val<'a>) -> Result<Option<Val<'a>>, Stop> {
    Ok(Some(match (left, right) {
        (Val::Number(factor), Val::Months(by)) | (Val::Months(by), Val::Number(factor)) => {
            months(by.times(factor.low_i32()))?
        }
        (Val::Number(factor), Val::DayTime(by)) | (Val::DayTime(by), Val::Number(factor)) => {
            day_time(by.times(factor.low_i32()))?
        }
        _ => return Ok(None),
    }))
}

/// Durations are divided as whole months or milliseconds; the quotient of two durations is a whole number.
fn divide<'a>(left: &Val<'a>, right: &Val<'a>) -> Result<Option<Val<'a>>, Stop> {
    let by_number = |total: i64, divisor: &Number| {
        arithmetic(Number::Int(total).divide(divisor)).map(|quotient| quotient.low_i32())
    };
    Ok(Some(match (left, right) {
        (Val::Months(total), Val::Number(divisor)) if !divisor.is_zero() => {
            months(Months::new(i64::from(by_number(total.total(), divisor)?)))?
        }
        (Val::Months(total), Val::Months(divisor)) if divisor.total() != 0 => Val::int(total.total() / divisor.total()),
        (Val::DayTime(total), Val::Number(divisor)) if !divisor.is_zero() => Val::DayTime(DayTime::from_millis(
            i64::from(by_number(in_range(total.millis())?, divisor)?),
        )),
        (Val::DayTime(total), Val::DayTime(divisor)) if !divisor.is_zero() => {
            let (total, divisor) = (in_range(total.millis())?, in_range(divisor.millis())?);
            let quotient = total.checked_div(divisor);
            Val::int(quotient.ok_or_else(|| Stop::failed("a duration is divided by less than a millisecond"))?)
        }
        _ => return Ok(None),
    }))
}
