//! Functions about points and ranges: numbers, dates, times and durations on a line.

use super::{BuiltIn, Overload, Run, illegal, takes};
use crate::feel::error::Stop;
use crate::feel::interpreter::Outcome;
use crate::feel::value::{End, Range, Val, equal, order};
use crate::feel::{interpreter::Interpreter, limits::Meter};
use std::cmp::Ordering;

const POINT_RANGE: &[&str] = &["point", "range"];
const RANGE_POINT: &[&str] = &["range", "point"];
const RANGES: &[&str] = &["range1", "range2"];
const POINTS: &[&str] = &["point1", "point2"];

const fn entry(
    name: &'static str,
    doc: &'static str,
    example: (&'static str, &'static str),
    overloads: &'static [Overload],
) -> BuiltIn {
    BuiltIn {
        name,
        doc,
        example,
        overloads,
    }
}

pub(super) const FUNCTIONS: &[BuiltIn] = &[
    entry(
        "before",
        "whether the first ends before the second begins",
        ("before([1..5), 5)", "true"),
        &[
            takes(POINTS, BEFORE),
            takes(POINT_RANGE, BEFORE),
            takes(RANGE_POINT, BEFORE),
            takes(RANGES, BEFORE),
        ],
    ),
    entry(
        "after",
        "whether the first begins after the second ends",
        ("after(10, [1..5])", "true"),
        &[
            takes(POINTS, AFTER),
            takes(POINT_RANGE, AFTER),
            takes(RANGE_POINT, AFTER),
            takes(RANGES, AFTER),
        ],
    ),
    entry(
        "meets",
        "whether the first ends where the second begins",
        ("meets([1..5], [5..10])", "true"),
        &[takes(RANGES, MEETS)],
    ),
    entry(
        "met by",
        "whether the first begins where the second ends",
        ("met by([5..10], [1..5])", "true"),
        &[takes(RANGES, MET_BY)],
    ),
    entry(
        "overlaps",
        "whether the two have a point in common",
        ("overlaps([5..10], [1..6])", "true"),
        &[takes(RANGES, OVERLAPS)],
    ),
    entry(
        "overlaps before",
        "whether the first begins before the second and ends in it",
        ("overlaps before([1..5], [4..10])", "true"),
        &[takes(RANGES, OVERLAPS_BEFORE)],
    ),
    entry(
        "overlaps after",
        "whether the first begins in the second and ends after it",
        ("overlaps after([4..10], [1..5])", "true"),
        &[takes(RANGES, OVERLAPS_AFTER)],
    ),
    entry(
        "finishes",
        "whether the first ends with the second",
        ("finishes(5, [1..5])", "true"),
        &[takes(POINT_RANGE, FINISHES), takes(RANGES, FINISHES)],
    ),
    // The real engine names the parameters of this one in the wrong order.
    entry(
        "finished by",
        "whether the second ends with the first",
        ("finished by([5..10], 10)", "true"),
        &[takes(POINT_RANGE, FINISHED_BY), takes(RANGES, FINISHED_BY)],
    ),
    entry(
        "includes",
        "whether the second is within the first",
        ("includes([5..10], 6)", "true"),
        &[takes(RANGE_POINT, INCLUDES), takes(RANGES, INCLUDES)],
    ),
    entry(
        "during",
        "whether the first is within the second",
        ("during(5, [1..10])", "true"),
        &[takes(POINT_RANGE, DURING), takes(RANGES, DURING)],
    ),
    entry(
        "starts",
        "whether the first begins with the second",
        ("starts(1, [1..5])", "true"),
        &[takes(POINT_RANGE, STARTS), takes(RANGES, STARTS)],
    ),
    entry(
        "started by",
        "whether the second begins with the first",
        ("started by([1..10], 1)", "true"),
        &[takes(RANGE_POINT, STARTED_BY), takes(RANGES, STARTED_BY)],
    ),
    entry(
        "coincides",
        "whether the two are the same",
        ("coincides([1..5], [1..5])", "true"),
        &[takes(POINTS, COINCIDES), takes(RANGES, COINCIDES)],
    ),
];

/// Two arguments that lie on one line.
enum Pair<'v, 'a> {
    Points(&'v Val<'a>, &'v Val<'a>),
    PointRange(&'v Val<'a>, &'v Range<'a>),
    RangePoint(&'v Range<'a>, &'v Val<'a>),
    Ranges(&'v Range<'a>, &'v Range<'a>),
}

fn is_point(value: &Val<'_>) -> bool {
    matches!(
        value,
        Val::Number(_)
            | Val::Date(_)
            | Val::Time(_)
            | Val::LocalTime(_)
            | Val::DateTime(_)
            | Val::LocalDateTime(_)
            | Val::Months(_)
            | Val::DayTime(_)
    )
}

fn pair<'v, 'a>(arguments: &'v [Val<'a>]) -> Option<Pair<'v, 'a>> {
    let [first, second] = arguments else {
        return None;
    };
    let on_line = |left: &Val<'a>, right: &Val<'a>| is_point(left) && left.same_kind(right);
    match (first, second) {
        (Val::Range(first), Val::Range(second)) if on_line(&first.start.value, &second.start.value) => {
            Some(Pair::Ranges(first, second))
        }
        (Val::Range(range), point) if on_line(point, &range.start.value) => Some(Pair::RangePoint(range, point)),
        (point, Val::Range(range)) if on_line(point, &range.start.value) => Some(Pair::PointRange(point, range)),
        (first, second) if on_line(first, second) => Some(Pair::Points(first, second)),
        _ => None,
    }
}

/// Answers. Arguments that do not lie on one line give null; those that do but in a combination that the function has no
/// answer for fail the evaluation, as in the real engine.
fn answer<'a>(arguments: &[Val<'a>], holds: impl Fn(Pair<'_, 'a>) -> Option<bool>) -> Outcome<'a> {
    let Some(pair) = pair(arguments) else {
        return illegal(arguments);
    };
    holds(pair).map(Val::Bool).ok_or_else(|| {
        let kinds: Vec<&str> = arguments.iter().map(Val::kind).collect();
        Stop::failed(format!(
            "this function about ranges does not take a {}",
            kinds.join(" and a ")
        ))
    })
}

fn less(left: &Val<'_>, right: &Val<'_>) -> bool {
    order(left, right) == Some(Ordering::Less)
}

/// Equality, which for dates and times with a zone is stricter than being neither before nor after.
fn same(meter: &Meter, left: &Val<'_>, right: &Val<'_>) -> bool {
    matches!(equal(meter, left, right), Ok(Some(true)))
}

const BEFORE: Run = |interpreter, arguments| {
    let same = |left: &Val<'_>, right: &Val<'_>| equals(interpreter, left, right);
    answer(arguments, |pair| {
        Some(match pair {
            Pair::Points(first, second) => less(first, second),
            Pair::PointRange(point, range) => {
                less(point, &range.start.value) || (same(point, &range.start.value) && !range.start.closed)
            }
            Pair::RangePoint(range, point) => {
                less(&range.end.value, point) || (same(&range.end.value, point) && !range.end.closed)
            }
            Pair::Ranges(first, second) => ends_before(interpreter, &first.end, &second.start),
        })
    })
};

const AFTER: Run = |interpreter, arguments| {
    let same = |left: &Val<'_>, right: &Val<'_>| equals(interpreter, left, right);
    answer(arguments, |pair| {
        Some(match pair {
            Pair::Points(first, second) => less(second, first),
            Pair::PointRange(point, range) => {
                less(&range.end.value, point) || (same(point, &range.end.value) && !range.end.closed)
            }
            Pair::RangePoint(range, point) => {
                less(point, &range.start.value) || (same(&range.start.value, point) && !range.start.closed)
            }
            Pair::Ranges(first, second) => ends_before(interpreter, &second.end, &first.start),
        })
    })
};

fn equals(interpreter: &Interpreter<'_>, left: &Val<'_>, right: &Val<'_>) -> bool {
    order(left, right) == Some(Ordering::Equal) && same(&interpreter.meter, left, right)
}

fn ends_before(interpreter: &Interpreter<'_>, end: &End<'_>, start: &End<'_>) -> bool {
    less(&end.value, &start.value) || (!(end.closed && start.closed) && equals(interpreter, &end.value, &start.value))
}

/// Whether two ends that face each other share their point.
fn touch(interpreter: &Interpreter<'_>, end: &End<'_>, start: &End<'_>) -> bool {
    end.closed && start.closed && equals(interpreter, &end.value, &start.value)
}

const MEETS: Run = |interpreter, arguments| {
    answer(arguments, |pair| match pair {
        Pair::Ranges(first, second) => Some(touch(interpreter, &first.end, &second.start)),
        _ => None,
    })
};

const MET_BY: Run = |interpreter, arguments| {
    answer(arguments, |pair| match pair {
        Pair::Ranges(first, second) => Some(touch(interpreter, &second.end, &first.start)),
        _ => None,
    })
};

fn reaches(interpreter: &Interpreter<'_>, end: &End<'_>, start: &End<'_>) -> bool {
    less(&start.value, &end.value) || touch(interpreter, end, start)
}

const OVERLAPS: Run = |interpreter, arguments| {
    answer(arguments, |pair| match pair {
        Pair::Ranges(first, second) => {
            Some(reaches(interpreter, &first.end, &second.start) && reaches(interpreter, &second.end, &first.start))
        }
        _ => None,
    })
};

fn overlaps_before(interpreter: &Interpreter<'_>, first: &Range<'_>, second: &Range<'_>) -> bool {
    let starts_earlier = less(&first.start.value, &second.start.value)
        || (first.start.closed && !second.start.closed && equals(interpreter, &first.start.value, &second.start.value));
    starts_earlier
        && reaches(interpreter, &first.end, &second.start)
        && ends_within(interpreter, &first.end, &second.end)
}

/// Whether the first end is not beyond the second.
fn ends_within(interpreter: &Interpreter<'_>, first: &End<'_>, second: &End<'_>) -> bool {
    less(&first.value, &second.value)
        || ((!first.closed || second.closed) && equals(interpreter, &first.value, &second.value))
}

/// Whether the second start is not before the first.
fn starts_within(interpreter: &Interpreter<'_>, first: &End<'_>, second: &End<'_>) -> bool {
    less(&first.value, &second.value)
        || ((first.closed || !second.closed) && equals(interpreter, &first.value, &second.value))
}

const OVERLAPS_BEFORE: Run = |interpreter, arguments| {
    answer(arguments, |pair| match pair {
        Pair::Ranges(first, second) => Some(overlaps_before(interpreter, first, second)),
        _ => None,
    })
};

const OVERLAPS_AFTER: Run = |interpreter, arguments| {
    answer(arguments, |pair| match pair {
        Pair::Ranges(first, second) => Some(overlaps_before(interpreter, second, first)),
        _ => None,
    })
};

fn same_end(interpreter: &Interpreter<'_>, first: &End<'_>, second: &End<'_>) -> bool {
    first.closed == second.closed && equals(interpreter, &first.value, &second.value)
}

fn at_end(interpreter: &Interpreter<'_>, end: &End<'_>, point: &Val<'_>) -> bool {
    end.closed && equals(interpreter, &end.value, point)
}

const FINISHES: Run = |interpreter, arguments| {
    answer(arguments, |pair| match pair {
        Pair::PointRange(point, range) => Some(at_end(interpreter, &range.end, point)),
        Pair::Ranges(first, second) => Some(
            same_end(interpreter, &first.end, &second.end) && starts_within(interpreter, &second.start, &first.start),
        ),
        _ => None,
    })
};

const FINISHED_BY: Run = |interpreter, arguments| {
    answer(arguments, |pair| match pair {
        Pair::RangePoint(range, point) => Some(at_end(interpreter, &range.end, point)),
        Pair::Ranges(first, second) => Some(
            same_end(interpreter, &first.end, &second.end) && starts_within(interpreter, &first.start, &second.start),
        ),
        _ => None,
    })
};

fn point_within(interpreter: &Interpreter<'_>, range: &Range<'_>, point: &Val<'_>) -> bool {
    (less(&range.start.value, point) && less(point, &range.end.value))
        || at_end(interpreter, &range.start, point)
        || at_end(interpreter, &range.end, point)
}

fn range_within(interpreter: &Interpreter<'_>, outer: &Range<'_>, inner: &Range<'_>) -> bool {
    starts_within(interpreter, &outer.start, &inner.start) && ends_within(interpreter, &inner.end, &outer.end)
}

const INCLUDES: Run = |interpreter, arguments| {
    answer(arguments, |pair| match pair {
        Pair::RangePoint(range, point) => Some(point_within(interpreter, range, point)),
        Pair::Ranges(first, second) => Some(range_within(interpreter, first, second)),
        _ => None,
    })
};

const DURING: Run = |interpreter, arguments| {
    answer(arguments, |pair| match pair {
        Pair::PointRange(point, range) => Some(point_within(interpreter, range, point)),
        Pair::Ranges(first, second) => Some(range_within(interpreter, second, first)),
        _ => None,
    })
};

const STARTS: Run = |interpreter, arguments| {
    answer(arguments, |pair| match pair {
        Pair::PointRange(point, range) => Some(at_end(interpreter, &range.start, point)),
        Pair::Ranges(first, second) => Some(
            same_end(interpreter, &first.start, &second.start) && ends_within(interpreter, &first.end, &second.end),
        ),
        _ => None,
    })
};

const STARTED_BY: Run = |interpreter, arguments| {
    answer(arguments, |pair| match pair {
        Pair::RangePoint(range, point) => Some(at_end(interpreter, &range.start, point)),
        Pair::Ranges(first, second) => Some(
            same_end(interpreter, &first.start, &second.start) && ends_within(interpreter, &second.end, &first.end),
        ),
        _ => None,
    })
};

const COINCIDES: Run = |interpreter, arguments| {
    answer(arguments, |pair| match pair {
        Pair::Points(first, second) => Some(equals(interpreter, first, second)),
        Pair::Ranges(first, second) => {
            Some(same_end(interpreter, &first.start, &second.start) && same_end(interpreter, &first.end, &second.end))
        }
        Pair::PointRange(..) | Pair::RangePoint(..) => Some(false),
    })
};
