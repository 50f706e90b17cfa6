//! The part of OData that Dataverse answers to: query text goes in, typed options over a table's columns come out.
//!
//! `$select`, `$filter` (see [`filter`]), `$orderby`, `$top` and `$skiptoken`; anything else is an error that names it,
//! as the real service refuses what it does not know.

pub(super) mod cell;
pub(super) mod filter;

use std::cmp::Ordering;

use cell::{Cell, Column};
use filter::Filter;

/// The query cannot be answered: HTTP 400 with this code and message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(super) struct QueryError {
    pub(super) code: &'static str,
    pub(super) message: String,
}

/// Code of syntax errors and unknown properties.
const SYNTAX: &str = "0x80060888";
/// Code of a query with too many conditions.
const TOO_MANY: &str = "0x8004430c";

pub(super) fn refused<T>(message: impl Into<String>) -> Result<T, QueryError> {
    Err(QueryError {
        code: SYNTAX,
        message: message.into(),
    })
}

/// What can be queried: a table's name for messages, and its columns.
#[derive(Debug)]
pub(super) struct Table {
    /// The logical name, e.g. `flowsession`.
    pub(super) entity: &'static str,
    /// The entity set, e.g. `flowsessions`.
    pub(super) set: &'static str,
    /// The key's column; it is in every answer, selected or not.
    pub(super) key: &'static str,
    pub(super) columns: &'static [Column],
}

impl Table {
    pub(super) fn column(&self, name: &str) -> Result<&'static Column, QueryError> {
        self.columns
            .iter()
            .find(|column| column.name == name)
            .ok_or_else(|| QueryError {
                code: SYNTAX,
                message: format!(
                    "Could not find a property named '{name}' on type 'Microsoft.Dynamics.CRM.{}'.",
                    self.entity
                ),
            })
    }
}

/// A row of a table.
pub(super) trait Row {
    /// The value of one of the table's columns.
    fn cell(&self, column: &'static str) -> Cell<'_>;
    /// The row's place in the order of creation: the order of an answer without `$orderby`, and the last word of one
    /// with it.
    fn place(&self) -> u64;
    /// The version of the row, for its etag.
    fn version(&self) -> u64;
}

/// The options of one query.
#[derive(Debug, Default)]
pub(super) struct Query {
    /// The selected columns; `None` is all of them.
    pub(super) select: Option<Vec<&'static Column>>,
    pub(super) filter: Option<Filter>,
    /// Column and whether it is descending.
    pub(super) order: Vec<(&'static Column, bool)>,
    pub(super) top: Option<usize>,
    /// The raw value of `$skiptoken`.
    pub(super) skip_token: Option<String>,
}

impl Query {
    /// Reads decoded query options against a table.
    pub(super) fn read(table: &Table, options: &[(String, String)]) -> Result<Query, QueryError> {
        let mut query = Query::default();
        for (index, (name, value)) in options.iter().enumerate() {
            if options[..index].iter().any(|(earlier, _)| earlier == name) {
                return refused(format!(
                    "Query option '{name}' was specified more than once, but it must be unique."
                ));
            }
            match name.as_str() {
                "$select" => query.select = Some(selected(table, value)?),
                "$filter" => query.filter = Some(filter::read(table, value)?),
                "$orderby" => query.order = ordered(table, value)?,
                "$top" => query.top = Some(top(value)?),
                "$skiptoken" => query.skip_token = Some(value.clone()),
                "$skip" => return refused("Skip Clause is not supported in CRM"),
                other => return refused(format!("The query parameter {other} is not supported.")),
            }
        }
        Ok(query)
    }

    /// The order of two rows under `$orderby`, then by place.
    pub(super) fn compare(&self, left: &dyn Row, right: &dyn Row) -> Ordering {
        for (column, descending) in &self.order {
            let order = left.cell(column.name).order(&right.cell(column.name));
            if order != Ordering::Equal {
                return if *descending { order.reverse() } else { order };
            }
        }
        left.place().cmp(&right.place())
    }
}

fn selected(table: &Table, text: &str) -> Result<Vec<&'static Column>, QueryError> {
    let mut columns: Vec<&'static Column> = Vec::new();
    for name in text.split(',').map(str::trim) {
        let column = table.column(name)?;
        if !columns.iter().any(|known| known.name == column.name) {
            columns.push(column);
        }
    }
    Ok(columns)
}

fn ordered(table: &Table, text: &str) -> Result<Vec<(&'static Column, bool)>, QueryError> {
    text.split(',')
        .map(|part| {
            let mut words = part.split_whitespace();
            let column = table.column(words.next().unwrap_or_default())?;
            match (words.next(), words.next()) {
                (None | Some("asc"), None) => Ok((column, false)),
                (Some("desc"), None) => Ok((column, true)),
                _ => refused(format!("Syntax error in $orderby at '{}'.", part.trim())),
            }
        })
        .collect()
}

fn top(text: &str) -> Result<usize, QueryError> {
    match text.parse::<usize>() {
        Ok(rows) if rows > 0 => Ok(rows),
        _ => refused(format!(
            "Invalid value '{text}' for $top query option found. It must be a positive integer."
        )),
    }
}

/// Reads `Prefer`: the page size that was asked for, and whether annotations were.
pub(super) fn preferences<'a>(headers: impl Iterator<Item = &'a str>) -> (Option<usize>, bool) {
    let mut page = None;
    let mut annotations = false;
    for part in headers.flat_map(|header| header.split([',', ';'])) {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let value = value.trim().trim_matches('"');
        match name.trim().to_ascii_lowercase().as_str() {
            "odata.maxpagesize" => page = value.parse().ok().filter(|rows| *rows > 0),
            "odata.include-annotations" => annotations = value == "*" || value.contains("FormattedValue"),
            _ => {}
        }
    }
    (page, annotations)
}

#[cfg(test)]
mod tests;
