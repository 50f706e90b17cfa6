//! What a task that lists flows or runs asks for: its fields go in, a typed listing comes out.

use serde_json::Value;

use super::super::fields::Fields;
use super::{FlowChoice, optional_flow};
use crate::microsoft::dataverse::is_closed_filter;
use crate::microsoft::dataverse::workflows::Listing;

/// Flows that are listed unless the task says how many.
const DEFAULT_FLOWS: usize = 1000;
/// Runs that are listed unless the task says how many.
const DEFAULT_RUNS: usize = 100;
const MOST_LISTED: u64 = 5000;

/// Which runs to list.
pub struct RunListing {
    /// Of this flow alone.
    pub flow: Option<FlowChoice>,
    /// An OData condition.
    pub filter: Option<String>,
    /// At most so many.
    pub limit: usize,
}

/// The flows to list.
pub(super) fn flows(fields: &mut Fields<'_>) -> Option<Listing> {
    let select = match fields.value("select") {
        Some(Value::Array(columns)) => {
            let columns: Option<Vec<&str>> = columns.iter().map(Value::as_str).collect();
            if columns.is_none() {
                fields.fault(
                    "select",
                    "is a list, but not of texts: write e.g. `= [\"name\", \"workflowid\"]`",
                );
            }
            columns?.join(",")
        }
        Some(_) => fields.text("select")?,
        None => "name,workflowid,description,modifiedon,statecode".into(),
    };
    let is_column = |column: &str| {
        let column = column.trim();
        !column.is_empty() && column.chars().all(|char| char.is_ascii_alphanumeric() || char == '_')
    };
    if !select.split(',').all(is_column) {
        let problem = format!(
            "is {}, but must be names of columns with commas between them, e.g. `name,workflowid`",
            fields.shown("select", &select)
        );
        fields.fault("select", problem);
    }
    let select: Vec<&str> = select.split(',').map(str::trim).collect();
    let filter = odata_filter(fields);
    Some(Listing {
        select: select.join(","),
        filter,
        order_by: fields.text("orderBy"),
        limit: fields
            .integer("top", 1..=MOST_LISTED, "flows")
            .and_then(|top| usize::try_from(top).ok())
            .unwrap_or(DEFAULT_FLOWS),
        include_drafts: fields.boolean("includeDrafts").unwrap_or(false),
    })
}

/// The runs to list.
pub(super) fn runs(fields: &mut Fields<'_>) -> RunListing {
    RunListing {
        flow: optional_flow(fields),
        filter: odata_filter(fields),
        limit: fields
            .integer("top", 1..=MOST_LISTED, "runs")
            .and_then(|top| usize::try_from(top).ok())
            .unwrap_or(DEFAULT_RUNS),
    }
}

fn odata_filter(fields: &mut Fields<'_>) -> Option<String> {
    let filter = fields.text("filter");
    if filter.as_deref().is_some_and(|filter| !is_closed_filter(filter)) {
        fields.fault(
            "filter",
            "has a quote or a parenthesis without its partner: write an OData condition such as \
             `contains(name,'Invoice')`, with quotes in texts doubled",
        );
    }
    filter
}
