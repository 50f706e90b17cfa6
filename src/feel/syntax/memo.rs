//! What a rule gave at a position, remembered: the grammar tries alternatives in turn, and without memory nested
//! alternatives would be read again and again (`[[[[…` in an argument would cost 2ⁿ).

use super::tree::NodeId;
use std::collections::HashMap;

#[derive(Debug, Clone, Copy)]
pub(super) enum Rule {
    Expression,
    Math,
    Value,
}

const RULES: usize = 3;

/// Texts up to this many bytes have a slot for each position; longer ones (a large literal) a map.
const DENSE: usize = 16 * 1024;

/// What is shorter than this is read again: a slot would cost more than that.
const WORTH: usize = 5;

/// The result of a rule: nothing, or a node and the position after it.
pub(super) type Parsed = Option<(NodeId, usize)>;

#[derive(Debug)]
pub(super) enum Memo {
    Dense(Vec<u64>),
    Sparse(HashMap<(usize, u8), Parsed>),
}

const UNKNOWN: u64 = 0;
const FAILED: u64 = 1;

impl Memo {
    pub(super) fn new(length: usize) -> Memo {
        if length <= DENSE {
            Memo::Dense(vec![UNKNOWN; (length + 1) * RULES])
        } else {
            Memo::Sparse(HashMap::new())
        }
    }

    pub(super) fn get(&self, rule: Rule, at: usize) -> Option<Parsed> {
        match self {
            Memo::Dense(slots) => match slots[at * RULES + rule as usize] {
                UNKNOWN => None,
                FAILED => Some(None),
                slot => Some(Some(((slot >> 32) as NodeId, (slot & 0xffff_ffff) as usize - 2))),
            },
            Memo::Sparse(map) => map.get(&(at, rule as u8)).copied(),
        }
    }

    pub(super) fn set(&mut self, rule: Rule, at: usize, parsed: Parsed) {
        if parsed.is_some_and(|(_, end)| end - at < WORTH) {
            return;
        }
        match self {
            Memo::Dense(slots) => {
                slots[at * RULES + rule as usize] =
                    parsed.map_or(FAILED, |(node, end)| (u64::from(node) << 32) | (end as u64 + 2));
            }
            Memo::Sparse(map) => {
                map.insert((at, rule as u8), parsed);
            }
        }
    }
}
