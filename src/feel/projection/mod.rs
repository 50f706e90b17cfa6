//! What of its variables an expression can see, so that reading JSON can skip the rest.
//!
//! A [`Program`](super::Program) enters; what leaves is a [`Projection`]: a tree of field names. Lists are transparent in
//! it, as paths are in FEEL: what is seen of a list is seen of each of its items. When in doubt, a value is seen whole, so
//! that an expression gives the same result for what was projected and for the document.

mod analysis;
mod read;

use super::syntax::Tree;
use serde_json::Value;
use std::collections::BTreeMap;

/// The part of a document that an expression can see.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Projection {
    /// Everything; `fields` says nothing then.
    whole: bool,
    /// Of objects these fields. Without any, only the kind of the value and the length of a list are seen.
    fields: BTreeMap<Box<str>, Projection>,
}

impl Projection {
    /// All of a document.
    pub fn whole() -> Projection {
        Projection {
            whole: true,
            fields: BTreeMap::new(),
        }
    }

    pub(super) fn of(tree: &Tree) -> Projection {
        analysis::analyse(tree)
    }

    /// Whether nothing can be skipped.
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// What is seen of a document whose fields are variables and which is itself the variable `name`.
    ///
    /// ```
    /// use deskhand::feel::Program;
    ///
    /// let projection = Program::parse("response.body.id + status").unwrap().projection().spread_as("response");
    /// let seen = projection.read(r#"{"status": 200, "headers": {}, "body": {"id": 1, "rest": [1, 2]}}"#).unwrap();
    /// assert_eq!(seen, serde_json::json!({"status": 200, "body": {"id": 1}}));
    /// ```
    #[must_use]
    pub fn spread_as(mut self, name: &str) -> Projection {
        // The variable wins over a field of its name, which is then only seen as a field of the variable.
        match self.fields.remove(name) {
            Some(named) => self.and(named),
            None => self,
        }
    }

    /// What is seen of one field or variable; `None`: nothing.
    pub fn field(&self, name: &str) -> Option<Projection> {
        if self.whole {
            return Some(Projection::whole());
        }
        self.fields.get(name).cloned()
    }

    /// What is seen of each field; nothing is said where everything is seen.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &Projection)> {
        self.fields.iter().map(|(name, seen)| (&**name, seen))
    }

    /// What either of two expressions sees.
    #[must_use]
    pub fn and(mut self, other: Projection) -> Projection {
        if self.whole || other.whole {
            return Projection::whole();
        }
        for (name, seen) in other.fields {
            let known = self.fields.remove(&name).unwrap_or_default();
            self.fields.insert(name, known.and(seen));
        }
        self
    }

    /// Reads JSON text and keeps what is seen. What is skipped is checked all the same.
    ///
    /// # Errors
    ///
    /// The error of `serde_json` for a text that is no JSON, no number of a double, or more than 127 levels deep:
    /// exactly where reading all of it fails.
    pub fn read(&self, text: &str) -> Result<Value, serde_json::Error> {
        read::read(self, text)
    }
}
