//! Functions of dates, and of the clock.

use super::{BuiltIn, illegal, takes};
use crate::feel::interpreter::Outcome;
use crate::feel::temporal::Date;
use crate::feel::value::Val;
use std::rc::Rc;

pub(super) const FUNCTIONS: &[BuiltIn] = &[
    BuiltIn {
        name: "now",
        doc: "the current date and time, the same one throughout an evaluation",
        example: ("now()", ""),
        overloads: &[takes(&[], |interpreter, _| {
            Ok(Val::DateTime(Rc::new(interpreter.now().clone())))
        })],
    },
    BuiltIn {
        name: "today",
        doc: "the current date",
        example: ("today()", ""),
        overloads: &[takes(&[], |interpreter, _| {
            Ok(Val::Date(interpreter.now().local().date))
        })],
    },
    BuiltIn {
        name: "day of year",
        doc: "the number of the day in its year",
        example: ("day of year(date(\"2019-09-17\"))", "260"),
        overloads: &[takes(&["date"], |_, arguments| {
            of_date(arguments, |date| Val::int(i64::from(date.day_of_year())))
        })],
    },
    BuiltIn {
        name: "day of week",
        doc: "the English name of the day of the week",
        example: ("day of week(date(\"2019-09-17\"))", "\"Tuesday\""),
        overloads: &[takes(&["date"], |_, arguments| {
            of_date(arguments, |date| Val::Str(date.weekday_name()))
        })],
    },
    BuiltIn {
        name: "month of year",
        doc: "the English name of the month",
        example: ("month of year(date(\"2019-09-17\"))", "\"September\""),
        overloads: &[takes(&["date"], |_, arguments| {
            of_date(arguments, |date| Val::Str(date.month_name()))
        })],
    },
    BuiltIn {
        name: "week of year",
        doc: "the number of the ISO week",
        example: ("week of year(date(\"2019-09-17\"))", "38"),
        overloads: &[takes(&["date"], |_, arguments| {
            of_date(arguments, |date| Val::int(i64::from(date.week_of_year())))
        })],
    },
    BuiltIn {
        name: "last day of month",
        doc: "the last date of the month",
        example: ("last day of month(date(\"2024-02-01\"))", "\"2024-02-29\""),
        overloads: &[takes(&["date"], |_, arguments| {
            of_date(arguments, |date| Val::Date(date.last_day_of_month()))
        })],
    },
];

fn of_date<'a>(arguments: &[Val<'a>], make: impl Fn(Date) -> Val<'a>) -> Outcome<'a> {
    match arguments {
        [Val::Date(date)] => Ok(make(*date)),
        [Val::LocalDateTime(at)] => Ok(make(at.date)),
        [Val::DateTime(at)] => Ok(make(at.local().date)),
        _ => illegal(arguments),
    }
}
