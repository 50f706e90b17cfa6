//! What `$filter` and its neighbours admit, over a table of four columns.

use super::cell::{Cell, Column, Kind};
use super::{Query, Row, Table, preferences};

const TABLE: Table = Table {
    entity: "thing",
    set: "things",
    key: "thingid",
    columns: &[
        Column {
            name: "thingid",
            kind: Kind::Guid,
        },
        Column {
            name: "name",
            kind: Kind::Text,
        },
        Column {
            name: "size",
            kind: Kind::Number,
        },
        Column {
            name: "born",
            kind: Kind::Time,
        },
    ],
};

struct Thing;

impl Row for Thing {
    fn cell(&self, column: &'static str) -> Cell<'_> {
        match column {
            "thingid" => Cell::Guid("d9687093-d0c0-ec11-983e-0022480b428a".parse().unwrap()),
            "name" => Cell::text(Some("O'Hara's Invoice")),
            "size" => Cell::Number(7),
            _ => Cell::Null,
        }
    }

    fn place(&self) -> u64 {
        1
    }

    fn version(&self) -> u64 {
        1
    }
}

fn query(name: &str, value: &str) -> Result<Query, super::QueryError> {
    Query::read(&TABLE, &[(name.to_owned(), value.to_owned())])
}

fn admits(filter: &str) -> bool {
    query("$filter", filter)
        .unwrap_or_else(|error| panic!("{filter}: {error}"))
        .filter
        .unwrap()
        .admits(&Thing)
}

#[test]
fn comparisons_functions_and_connectives_are_evaluated() {
    for filter in [
        "size eq 7",
        "size ge 7 and size lt 8",
        "size ne 6",
        "size gt 100 or name eq 'o''hara''s invoice'",
        "contains(name,'INVOICE') and not (size eq 6 or size eq 8)",
        "startswith(name, 'O') and endswith(name,'voice')",
        "thingid eq d9687093-d0c0-ec11-983e-0022480b428a",
        "thingid eq 'D9687093-D0C0-EC11-983E-0022480B428A'",
        "born eq null and name ne null",
        "born ne 2026-01-01T00:00:00Z",
        "not not size eq 7",
        // `and` binds more tightly than `or`.
        "size eq 7 or size eq 1 and size eq 2",
    ] {
        assert!(admits(filter), "{filter}");
    }
    for filter in [
        "size le 6",
        "born ge 2026-01-01",
        "born lt 2026-01-01T00:00:00+01:00",
        "contains(name,'x')",
    ] {
        assert!(!admits(filter), "{filter}");
    }
}

#[test]
fn everything_else_is_refused_with_a_reason() {
    for (filter, reason) in [
        ("", "ends too early"),
        ("size", "ends too early"),
        ("size eq", "ends too early"),
        ("(size eq 7", "ends too early"),
        ("size eq 7 size", "not expected"),
        ("size is 7", "not expected"),
        ("size eq '7'", "incompatible types"),
        ("name eq 7", "incompatible types"),
        ("thingid eq 'no guid'", "incompatible types"),
        ("size eq seven", "literal"),
        ("weight eq 7", "'weight'"),
        ("tolower(name) eq 'x'", "tolower"),
        ("contains(size,'7')", "text column"),
        ("name eq 'open", "unterminated"),
        ("Microsoft.Dynamics.CRM.Today(PropertyName='born')", "not supported"),
    ] {
        let error = query("$filter", filter).unwrap_err().to_string();
        assert!(error.contains(reason), "{filter}: {error}");
    }
}

#[test]
fn depth_and_number_of_conditions_are_bounded() {
    let deep = format!("{}size eq 7{}", "(".repeat(40), ")".repeat(40));
    assert!(query("$filter", &deep).unwrap_err().to_string().contains("recursion"));
    let negated = format!("{}size eq 7", "not ".repeat(100_000));
    assert!(
        query("$filter", &negated)
            .unwrap_err()
            .to_string()
            .contains("recursion")
    );
    let long = vec!["size eq 7"; 501].join(" or ");
    assert_eq!(query("$filter", &long).unwrap_err().code, "0x8004430c");
    assert!(admits(&vec!["size eq 7"; 500].join(" or ")));
}

#[test]
fn other_options_are_read_or_refused_by_name() {
    let order = query("$orderby", "name desc,size").unwrap().order;
    assert_eq!(
        order
            .iter()
            .map(|(column, desc)| (column.name, *desc))
            .collect::<Vec<_>>(),
        [("name", true), ("size", false)]
    );
    for (name, value) in [
        ("$skip", "5"),
        ("$expand", "x"),
        ("$top", "0"),
        ("$select", "nope"),
        ("$orderby", "size up"),
        ("x", "1"),
    ] {
        assert!(query(name, value).is_err(), "{name}={value}");
    }
    let twice = vec![("$top".to_owned(), "1".to_owned()); 2];
    assert!(Query::read(&TABLE, &twice).is_err());
}

#[test]
fn preferences_are_read_from_any_of_the_headers() {
    let both = ["odata.include-annotations=\"*\",odata.maxpagesize=3"];
    assert_eq!(preferences(both.into_iter()), (Some(3), true));
    assert_eq!(
        preferences(["return=minimal", "odata.maxpagesize=2"].into_iter()),
        (Some(2), false)
    );
}
