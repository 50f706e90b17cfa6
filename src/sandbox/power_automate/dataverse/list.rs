//! Lists of rows: a query goes in, one page and the link to the next come out.

use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde_json::{Map, Value, json};

use super::{Call, access, options, prefer, table};
use crate::sandbox::power_automate::answer::{Answer, bad_request, json_body, set};
use crate::sandbox::power_automate::core::State;
use crate::sandbox::power_automate::encoding::encoded;
use crate::sandbox::power_automate::ids::Guid;
use crate::sandbox::power_automate::odata::cell::{Cell, Column, Kind};
use crate::sandbox::power_automate::odata::filter::{Filter, Operator};
use crate::sandbox::power_automate::odata::{Query, Row, Table};
use crate::sandbox::power_automate::runs::Run;
use crate::sandbox::power_automate::status::Status;

/// Answers `GET {set}`.
pub(super) fn answered(state: &State, call: &Call<'_>, table: &'static Table) -> Result<Answer, Answer> {
    let mut query = Query::read(table, &options(call)?)?;
    let limit = state.world.limits.page_size;
    match table.entity {
        "workflow" => {
            let drafts = call
                .headers
                .get("mscrm.includeunpublished")
                .is_some_and(|value| value == "true");
            page(call, table, &query, table::workflows(state, drafts), limit)
        }
        "flowsession" => {
            access::may_see_runs(call)?;
            let visible = |run: &&Run| run.visible <= call.now;
            // Ids alone are looked up, and nothing is left to be filtered: this is how waiting clients ask.
            let runs = match query.filter.as_ref().and_then(wanted_ids) {
                Some(ids) => {
                    query.filter = None;
                    looked_up(state, ids)
                }
                None => candidates(state, query.filter.as_ref()),
            };
            page(call, table, &query, runs.into_iter().filter(visible), limit)
        }
        "connectionreference" => page(call, table, &query, table::references(state), limit),
        "flowmachinegroup" => page(call, table, &query, table::machine_groups(state), limit),
        _ => page(call, table, &query, table::machines(state, call.now), limit),
    }
}

/// The runs that a filter can admit: by id, by creation or by last change where it says so, else all.
fn candidates<'s>(state: &'s State, filter: Option<&Filter>) -> Vec<&'s Run> {
    let parts = match filter {
        Some(Filter::All(parts)) => parts.as_slice(),
        Some(one) => std::slice::from_ref(one),
        None => &[],
    };
    let mut since = None;
    for part in parts {
        if let Some(ids) = wanted_ids(part) {
            return looked_up(state, ids);
        }
        if let Filter::Compare {
            column,
            operator: Operator::Ge | Operator::Gt,
            literal: Cell::Time(time),
        } = part
        {
            match *column {
                "modifiedon" => return state.runs.changed_in(time.as_second()..=i64::MAX).collect(),
                "createdon" => since = Some(*time),
                _ => {}
            }
        }
    }
    match since {
        Some(time) => state.runs.created_since(time).iter().collect(),
        None => state.runs.all().iter().collect(),
    }
}

fn looked_up(state: &State, mut ids: Vec<Guid>) -> Vec<&Run> {
    ids.sort_unstable();
    ids.dedup();
    ids.into_iter().filter_map(|id| state.runs.get(id)).collect()
}

/// The ids of a filter that asks for nothing else.
fn wanted_ids(filter: &Filter) -> Option<Vec<Guid>> {
    match filter {
        Filter::Compare {
            column: "flowsessionid",
            operator: Operator::Eq,
            literal: Cell::Guid(id),
        } => Some(vec![*id]),
        Filter::Any(parts) => {
            let each: Option<Vec<_>> = parts.iter().map(wanted_ids).collect();
            each.map(|ids| ids.into_iter().flatten().collect())
        }
        _ => None,
    }
}

fn page<R: Row>(
    call: &Call<'_>,
    table: &'static Table,
    query: &Query,
    rows: impl Iterator<Item = R>,
    limit: usize,
) -> Result<Answer, Answer> {
    let (wanted, annotations) = prefer(call.headers);
    let after = query
        .skip_token
        .as_deref()
        .map(|text| Cookie::read(text, query))
        .transpose()?;
    let mut rows: Vec<R> = rows
        .filter(|row| query.filter.as_ref().is_none_or(|filter| filter.admits(row)))
        .filter(|row| after.as_ref().is_none_or(|cookie| query.compare(row, cookie).is_gt()))
        .collect();
    rows.sort_by(|left, right| query.compare(left, right));
    // A page size makes the service ignore `$top`.
    let (take, linked) = match (wanted, query.top) {
        (Some(size), _) => (size.min(limit), true),
        (None, Some(top)) => (top.min(limit), false),
        (None, None) => (limit, true),
    };
    let mut body = Map::new();
    body.insert("@odata.context".to_owned(), context(call, table, query).into());
    let value = rows.iter().take(take).map(|row| {
        let mut shown = Map::new();
        fill(&mut shown, table, query, row, annotations);
        Value::Object(shown)
    });
    body.insert("value".to_owned(), value.collect());
    if linked && rows.len() > take {
        let number = after.map_or(1, |cookie| cookie.page) + 1;
        body.insert(
            "@odata.nextLink".to_owned(),
            next_link(call, table, query, &rows[take - 1], number).into(),
        );
    }
    let mut answer = json_body(StatusCode::OK, &body.into());
    if let Some(size) = wanted {
        set(&mut answer, "preference-applied", &format!("odata.maxpagesize={size}"));
    }
    Ok(answer)
}

/// The value of `@odata.context`.
pub(super) fn context(call: &Call<'_>, table: &Table, query: &Query) -> String {
    let columns = query.select.as_ref().map(|columns| {
        let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
        format!("({})", names.join(","))
    });
    format!("{}/$metadata#{}{}", call.base, table.set, columns.unwrap_or_default())
}

/// The row's etag, e.g. `W/"1069462"`.
pub(super) fn etag(row: &dyn Row) -> String {
    format!("W/\"{}\"", row.version())
}

/// Writes a row: its etag, the selected columns, and the key whether selected or not.
pub(super) fn fill(into: &mut Map<String, Value>, table: &Table, query: &Query, row: &dyn Row, annotations: bool) {
    into.insert("@odata.etag".to_owned(), etag(row).into());
    let all = || table.columns.iter().collect();
    for column in query.select.clone().unwrap_or_else(all) {
        let value = row.cell(column.name).json();
        if annotations && let Some(label) = formatted(table, column.name, &value) {
            into.insert(
                format!("{}@OData.Community.Display.V1.FormattedValue", column.name),
                label.into(),
            );
        }
        into.insert(column.name.to_owned(), value);
    }
    if !into.contains_key(table.key) {
        into.insert(table.key.to_owned(), row.cell(table.key).json());
    }
}

fn formatted(table: &Table, column: &str, value: &Value) -> Option<String> {
    const ALL: [Status; 15] = [
        Status::NotSpecified,
        Status::Paused,
        Status::Running,
        Status::Waiting,
        Status::Succeeded,
        Status::Skipped,
        Status::Suspended,
        Status::Cancelled,
        Status::Failed,
        Status::Faulted,
        Status::TimedOut,
        Status::Aborted,
        Status::Ignored,
        Status::Deleted,
        Status::Terminated,
    ];
    let number = value.as_u64()?;
    let label = match (table.entity, column, number) {
        ("flowsession", "statuscode", _) => ALL.get(usize::try_from(number).ok()?)?.label(),
        ("flowsession", "statecode", 0) => "Active",
        ("flowsession", "statecode", 1) => "Inactive",
        ("workflow", "category", 5) => "Modern Flow",
        ("workflow", "category", 6) => "Desktop Flow",
        ("workflow", "statecode", 0) => "Draft",
        ("workflow", "statecode", 1) => "Activated",
        _ => return None,
    };
    Some(label.to_owned())
}

/// Where the next page begins: after the row that had these values.
struct Cookie {
    values: Vec<(&'static str, Cell<'static>)>,
    place: u64,
    page: u64,
}

impl Row for Cookie {
    fn cell(&self, column: &'static str) -> Cell<'_> {
        let known = self.values.iter().find(|(name, _)| *name == column);
        known.map_or(Cell::Null, |(_, value)| value.clone())
    }

    fn place(&self) -> u64 {
        self.place
    }

    fn version(&self) -> u64 {
        0
    }
}

impl Cookie {
    fn read(text: &str, query: &Query) -> Result<Cookie, Answer> {
        let refuse = || {
            bad_request(
                "0x80060888",
                "The paging cookie of $skiptoken is not one of this query's.",
            )
        };
        let (_, rest) = text.split_once("pagingcookie=\"").ok_or_else(refuse)?;
        let (packed, _) = rest.split_once('"').ok_or_else(refuse)?;
        let bytes = BASE64URL.decode(packed).map_err(|_| refuse())?;
        let (values, place, page): (Vec<Value>, u64, u64) = serde_json::from_slice(&bytes).map_err(|_| refuse())?;
        if values.len() != query.order.len() {
            return Err(refuse());
        }
        let pairs = query.order.iter().zip(&values);
        let values: Option<Vec<_>> = pairs
            .map(|((column, _), value)| Some((column.name, unpacked(column, value)?)))
            .collect();
        Ok(Cookie {
            values: values.ok_or_else(refuse)?,
            place,
            page,
        })
    }
}

fn unpacked(column: &Column, value: &Value) -> Option<Cell<'static>> {
    if value.is_null() {
        return Some(Cell::Null);
    }
    match column.kind {
        Kind::Text => Some(Cell::Text(value.as_str()?.to_owned().into())),
        Kind::Number => value.as_i64().map(Cell::Number),
        Kind::Flag => value.as_bool().map(Cell::Flag),
        Kind::Guid => value.as_str()?.parse().ok().map(Cell::Guid),
        Kind::Time => value.as_str()?.parse().ok().map(Cell::Time),
    }
}

fn next_link(call: &Call<'_>, table: &Table, query: &Query, last: &dyn Row, number: u64) -> String {
    let values: Vec<Value> = query
        .order
        .iter()
        .map(|(column, _)| last.cell(column.name).json())
        .collect();
    let packed = BASE64URL.encode(json!([values, last.place(), number]).to_string());
    let cookie = format!("<cookie pagenumber=\"{number}\" pagingcookie=\"{packed}\" istracking=\"False\" />");
    let kept: String = call
        .query
        .split('&')
        .filter(|part| !part.is_empty() && !part.starts_with("$skiptoken=") && !part.starts_with("%24skiptoken="))
        .map(|part| format!("{part}&"))
        .collect();
    format!("{}/{}?{kept}$skiptoken={}", call.base, table.set, encoded(&cookie))
}
