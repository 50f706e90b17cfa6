//! Reads the table of probes in `docs/differences.md`: the situations in which deskhand is meant to differ.

use std::collections::BTreeSet;

const DOCUMENT: &str = include_str!("../../docs/differences.md");
const BEGIN: &str = "<!-- probes: begin -->";
const END: &str = "<!-- probes: end -->";

/// Names of the probes that are listed.
pub fn names() -> BTreeSet<String> {
    let table = DOCUMENT
        .split_once(BEGIN)
        .and_then(|(_, rest)| rest.split_once(END))
        .expect("docs/differences.md marks its table of probes")
        .0;
    table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(name, rest)| {
            let cells: Vec<&str> = rest.split('|').map(str::trim).collect();
            assert!(
                cells.len() == 5 && cells[1..4].iter().all(|cell| !cell.is_empty()),
                "{name}: what Camunda does, what deskhand does, and why"
            );
            name.to_owned()
        })
        .collect()
}
