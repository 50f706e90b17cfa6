//! Variables, paths, properties.

use super::suggest::nearest;
use super::{Env, Interpreter, Outcome};
use crate::feel::error::{Stop, WarningKind};
use crate::feel::syntax::{NodeId, RangeNode, Step};
use crate::feel::temporal::{Date, DayTime, LocalTime};
use crate::feel::value::{End, List, Range, Val};
use std::rc::Rc;

impl<'a> Interpreter<'a> {
    pub(super) fn variable(&self, path: &'a [Box<str>], env: &Env<'_, 'a>) -> Outcome<'a> {
        let (name, keys) = (&path[0], &path[1..]);
        let Some(mut value) = env.variable(name) else {
            self.warn(WarningKind::NoVariable, || {
                let mut names = env.visible();
                names.retain(|known| known != &**name);
                format!("there is no variable `{name}`{}", nearest(name, &names))
            });
            return Ok(Val::Null);
        };
        if matches!(value, Val::Error(_)) {
            return Ok(Val::Null);
        }
        for key in keys {
            value = self.property(&value, key)?;
        }
        Ok(value)
    }

    pub(super) fn postfix(&self, base: NodeId, steps: &'a [Step], env: &Env<'_, 'a>) -> Outcome<'a> {
        let mut value = self.eval(base, env)?;
        for step in steps {
            value = match step {
                // A filter after it turns an error into null, so it goes on.
                Step::Key(_) if matches!(value, Val::Error(_) | Val::NoInput) => value,
                Step::Key(key) => self.property(&value, key)?,
                Step::Filter(filter) => self.filter(&value, *filter, env)?,
            };
        }
        Ok(value)
    }

    /// The entry of a context, the entries of all contexts of a list, or a property of a temporal value.
    fn property(&self, value: &Val<'a>, key: &str) -> Outcome<'a> {
        self.meter.tick()?;
        if let Some(context) = value.as_context() {
            return Ok(context.get(key).unwrap_or_else(|| {
                self.warn(WarningKind::NoField, || {
                    let keys: Vec<String> = context.keys().iter().map(|key| key.as_str().to_owned()).collect();
                    format!("there is no field `{key}`{}", nearest(key, &keys))
                });
                Val::Null
            }));
        }
        if let Some(list) = value.as_list() {
            self.meter.enter()?;
            let items = list
                .iter()
                .map(|item| self.property(&item, key))
                .collect::<Result<Vec<_>, Stop>>();
            self.meter.leave();
            return List::charged(&self.meter, items?);
        }
        Ok(property_of_temporal(value, key).unwrap_or_else(|| {
            self.warn(WarningKind::NoProperty, || match value {
                Val::Null => format!("there is no field `{key}` in null"),
                other => format!("a {} has no property `{key}`", other.kind()),
            });
            Val::Null
        }))
    }

    #[inline(never)]
    pub(super) fn range(&self, range: &'a RangeNode, env: &Env<'_, 'a>) -> Outcome<'a> {
        let (start, end) = (self.eval(range.start.value, env)?, self.eval(range.end.value, env)?);
        for bound in [&start, &end] {
            if matches!(bound, Val::Error(_) | Val::NoInput) {
                return Ok(bound.clone());
            }
        }
        let bounded = matches!(
            start,
            Val::Number(_)
                | Val::Date(_)
                | Val::Time(_)
                | Val::LocalTime(_)
                | Val::DateTime(_)
                | Val::LocalDateTime(_)
                | Val::Months(_)
                | Val::DayTime(_)
        );
        if !bounded || !start.same_kind(&end) {
            let message = format!(
                "a range cannot go from {} to {}",
                super::describe(&start),
                super::describe(&end)
            );
            self.warn(WarningKind::WrongKind, || message.clone());
            return Ok(Val::error(message));
        }
        let start = End {
            value: start,
            closed: range.start.closed,
        };
        Ok(Val::Range(Rc::new(Range {
            start,
            end: End {
                value: end,
                closed: range.end.closed,
            },
        })))
    }
}

fn property_of_temporal<'a>(value: &Val<'a>, key: &str) -> Option<Val<'a>> {
    let date = |date: Date| {
        Some(Val::int(match key {
            "year" => i64::from(date.year()),
            "month" => i64::from(date.month()),
            "day" => i64::from(date.day()),
            "weekday" => i64::from(date.weekday()),
            _ => return None,
        }))
    };
    let time = |time: LocalTime| {
        Some(Val::int(match key {
            "hour" => time.hour(),
            "minute" => time.minute(),
            "second" => time.second(),
            _ => return None,
        }))
    };
    let unzoned = || matches!(key, "time offset" | "timezone").then_some(Val::Null);
    let zoned = |offset: i32, region: Option<String>| match key {
        "time offset" => Some(Val::DayTime(DayTime::from_seconds(i64::from(offset)))),
        "timezone" => Some(region.map_or(Val::Null, Val::text)),
        _ => None,
    };
    match value {
        Val::Date(value) => date(*value),
        Val::LocalTime(value) => time(*value).or_else(unzoned),
        Val::Time(value) => {
            time(value.time).or_else(|| zoned(value.offset, value.region.as_ref().map(|region| region.id())))
        }
        Val::LocalDateTime(value) => date(value.date).or_else(|| time(value.time)).or_else(unzoned),
        Val::DateTime(value) => {
            let local = value.local();
            let region = value.zone().is_region().then(|| value.zone().id());
            date(local.date)
                .or_else(|| time(local.time))
                .or_else(|| zoned(value.offset(), region))
        }
        Val::Months(value) => Some(Val::int(match key {
            "years" => value.years(),
            "months" => value.months(),
            _ => return None,
        })),
        Val::DayTime(value) => {
            let (days, hours, minutes, seconds) = value.parts();
            Some(Val::int(match key {
                "days" => days,
                "hours" => hours,
                "minutes" => minutes,
                "seconds" => seconds,
                _ => return None,
            }))
        }
        _ => None,
    }
}
