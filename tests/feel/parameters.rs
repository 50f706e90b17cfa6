//! What the parameters of built-in functions take.

use super::Kind;

/// What a parameter takes, by its name.
pub fn parameter_kind(function: &str, parameter: &str) -> Kind {
    match (function, parameter) {
        ("all" | "and" | "or" | "any", "item") | (_, "condition" | "negand") => Kind::Bool,
        ("context merge" | "put all", _) | (_, "context" | "m" | "variables") => Kind::Context,
        ("context", _) | ("all" | "and" | "or" | "any", _) => Kind::List,
        ("string join", "list") => Kind::Texts,
        ("sum" | "product" | "mean" | "median" | "stddev" | "mode" | "min" | "max", "list") => Kind::Numbers,
        ("concatenate" | "union", _) => Kind::List,
        (_, "item") => Kind::Number,
        (_, "list" | "lists" | "keys" | "items") => Kind::List,
        ("string" | "to json" | "is defined" | "get or else" | "assert", _) => Kind::Any,
        ("day of year" | "day of week" | "month of year" | "week of year" | "last day of month", _) => Kind::Date,
        (_, "offset" | "retryBackoff") => Kind::DayTime,
        (
            _,
            "n" | "number" | "scale" | "scala" | "dividend" | "divisor" | "position" | "start" | "length" | "size"
            | "start position",
        ) => Kind::Number,
        (_, "year" | "month" | "day" | "hour" | "minute" | "second" | "retries") => Kind::Number,
        (_, "element" | "match" | "newItem" | "value" | "default")
            if function != "contains" && !function.starts_with("substring") =>
        {
            Kind::Any
        }
        _ => Kind::Text,
    }
}
