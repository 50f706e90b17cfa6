//! What diagrams declare: BPMN goes in, and for each element of each process the secrets come out that its input mappings
//! hold, with their fields.
//!
//! A FEEL input that reads what an earlier input wrote hands its secrets on: that is how the Power Automate template's
//! `url`, made of `organizationUri`, may hold `{{secrets.ORG}}`.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use roxmltree::{Document, Node};

use super::Place;
use crate::feel::{Program, Projection};
use crate::secrets::provider::SecretScope;
use crate::secrets::reference::references;

const BPMN: &str = "http://www.omg.org/spec/BPMN/20100524/MODEL";
const ZEEBE: &str = "http://camunda.org/schema/zeebe/1.0";
/// Elements that can be worked on by a connector.
const ELEMENTS: &[&str] = &[
    "serviceTask",
    "sendTask",
    "scriptTask",
    "businessRuleTask",
    "subProcess",
    "adHocSubProcess",
    "transaction",
    "intermediateThrowEvent",
    "endEvent",
];
/// Input mappings of one element that are followed; propagation looks at each pair.
const MOST_INPUTS: usize = 1_000;
/// Fields below each other that are told apart.
const DEEPEST: usize = 100;

/// Declarations of many diagrams; several versions of a process count together.
#[derive(Debug, Default)]
pub struct Declared {
    /// Process → element → (secret, field).
    processes: HashMap<String, HashMap<String, BTreeSet<(String, String)>>>,
}

/// A `zeebe:input`.
pub struct Input<'a> {
    /// What is written: a text, or FEEL after a `=`.
    pub source: &'a str,
    /// The field, dotted.
    pub target: &'a str,
}

impl Declared {
    /// Adds what a diagram declares; gives the ids of its processes that were known already.
    ///
    /// # Errors
    /// When the text is no XML.
    pub fn add(&mut self, bpmn: &str) -> Result<Vec<String>, roxmltree::Error> {
        let document = Document::parse(bpmn)?;
        let mut again = Vec::new();
        for process in document
            .descendants()
            .filter(|node| node.has_tag_name((BPMN, "process")))
        {
            let Some(id) = process.attribute("id") else { continue };
            if self.processes.contains_key(id) {
                again.push(id.to_owned());
            }
            let elements = self.processes.entry(id.to_owned()).or_default();
            for node in process.descendants().filter(is_eligible) {
                if let Some(element) = node.attribute("id") {
                    let inputs = inputs(node);
                    elements
                        .entry(element.to_owned())
                        .or_default()
                        .extend(secrets_of(&inputs));
                }
            }
        }
        Ok(again)
    }

    /// Is there a diagram of this process?
    pub fn knows_process(&self, bpmn_process_id: &str) -> bool {
        self.processes.contains_key(bpmn_process_id)
    }

    /// Does the element's diagram hold this reference at this field, or at one above it?
    pub fn allows(&self, scope: &SecretScope<'_>, place: &Place) -> bool {
        let path = place.path.trim_end_matches('?');
        self.of(scope).is_some_and(|declared| {
            declared.iter().any(|(name, field)| {
                *name == place.name
                    && path
                        .strip_prefix(field.as_str())
                        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            })
        })
    }

    /// The fields where the element's diagram holds this secret.
    pub fn paths_of(&self, scope: &SecretScope<'_>, name: &str) -> Vec<String> {
        let declared = self.of(scope).into_iter().flatten();
        declared
            .filter(|(known, _)| known == name)
            .map(|(_, field)| format!("`{field}`"))
            .collect()
    }

    /// How many processes there are.
    pub fn processes(&self) -> usize {
        self.processes.len()
    }

    fn of(&self, scope: &SecretScope<'_>) -> Option<&BTreeSet<(String, String)>> {
        self.processes.get(scope.bpmn_process_id)?.get(scope.element_id)
    }
}

/// Can a connector work on this element?
pub fn is_eligible(node: &Node<'_, '_>) -> bool {
    node.tag_name().namespace() == Some(BPMN) && ELEMENTS.contains(&node.tag_name().name())
}

/// The input mappings of an element, in their order.
pub fn inputs<'a>(element: Node<'a, '_>) -> Vec<Input<'a>> {
    let child = |node: Node<'a, '_>, namespace: &str, name: &str| {
        node.children().find(|child| child.has_tag_name((namespace, name)))
    };
    let Some(mapping) =
        child(element, BPMN, "extensionElements").and_then(|extensions| child(extensions, ZEEBE, "ioMapping"))
    else {
        return Vec::new();
    };
    mapping
        .children()
        .filter(|node| node.has_tag_name((ZEEBE, "input")))
        .filter_map(|node| {
            Some(Input {
                source: node.attribute("source")?,
                target: node.attribute("target")?,
            })
        })
        .take(MOST_INPUTS)
        .collect()
}

/// The secrets that these inputs hold, with their fields, those included that were handed on by FEEL.
pub fn secrets_of(inputs: &[Input<'_>]) -> BTreeSet<(String, String)> {
    let mut written = Written::default();
    let mut declared = BTreeSet::new();
    for input in inputs {
        let mut secrets: BTreeSet<String> = references(input.source).map(|found| found.name.to_owned()).collect();
        if input.source.starts_with('=')
            && let Ok(program) = Program::parse(input.source)
        {
            written.read(&program.projection(), &BTreeSet::new(), &mut secrets);
        }
        declared.extend(secrets.iter().map(|name| (name.clone(), input.target.to_owned())));
        written.write(input.target, secrets);
    }
    declared
}

/// What earlier inputs wrote, and with which secrets: a tree of field names.
#[derive(Default)]
struct Written<'a> {
    /// `None`: nothing was written here itself.
    secrets: Option<BTreeSet<String>>,
    below: BTreeMap<&'a str, Written<'a>>,
}

impl<'a> Written<'a> {
    /// A write replaces what was written there before and below.
    fn write(&mut self, target: &'a str, secrets: BTreeSet<String>) {
        let mut place = self;
        for name in target.splitn(DEEPEST, '.') {
            place = place.below.entry(name).or_default();
        }
        *place = Written {
            secrets: Some(secrets),
            below: BTreeMap::new(),
        };
    }

    /// Adds the secrets that an expression sees. Of a field that is read, the nearest write counts, its own or one above
    /// it; of an object that is read whole, all writes below count, too.
    fn read(&self, seen: &Projection, nearest: &BTreeSet<String>, found: &mut BTreeSet<String>) {
        let nearest = self.secrets.as_ref().unwrap_or(nearest);
        if seen.is_whole() {
            found.extend(nearest.iter().cloned());
            for below in self.below.values() {
                below.read(seen, &BTreeSet::new(), found);
            }
        }
        for (name, seen) in seen.fields() {
            match self.below.get(name) {
                Some(below) => below.read(seen, nearest, found),
                None => found.extend(nearest.iter().cloned()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::reference::Form;

    fn declared(inputs: &[(&str, &str)]) -> Vec<(String, String)> {
        let inputs: Vec<Input<'_>> = inputs
            .iter()
            .map(|&(source, target)| Input { source, target })
            .collect();
        secrets_of(&inputs).into_iter().collect()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(name, path)| (name.to_string(), path.to_string()))
            .collect()
    }

    #[test]
    fn references_are_declared_at_the_field_they_stand_in() {
        assert_eq!(
            declared(&[
                ("{{secrets.A}}", "authentication.token"),
                ("=\"Bearer {{secrets.B}}\"", "headers.X"),
                ("={a: \"secrets.C\"}", "body"),
                ("=other", "url"),
            ]),
            pairs(&[("A", "authentication.token"), ("B", "headers.X"), ("C", "body")])
        );
    }

    #[test]
    fn feel_hands_secrets_on_and_later_writes_replace_them() {
        assert_eq!(
            declared(&[
                ("{{secrets.ORG}}", "organizationUri"),
                ("=organizationUri + \"/api\"", "url"),
                ("=url", "copy"),
            ]),
            pairs(&[("ORG", "copy"), ("ORG", "organizationUri"), ("ORG", "url")])
        );
        assert_eq!(
            declared(&[
                ("{{secrets.A}}", "x.y"),
                ("{{secrets.B}}", "x.z"),
                ("=x.y", "one"),
                ("=x", "both"),
                ("=1", "x"),
                ("=x", "none"),
            ]),
            pairs(&[("A", "both"), ("A", "one"), ("A", "x.y"), ("B", "both"), ("B", "x.z")])
        );
    }

    #[test]
    fn of_writes_above_each_other_the_nearest_counts() {
        let inputs = [("{{secrets.A}}", "a"), ("{{secrets.B}}", "a.b")];
        let reading = |source| {
            let mut inputs = inputs.to_vec();
            inputs.push((source, "x"));
            declared(&inputs)
                .into_iter()
                .filter(|(_, target)| target == "x")
                .map(|(name, _)| name)
                .collect::<Vec<_>>()
        };
        // `a.b` was written by itself: what `a` was written with is not in it.
        assert_eq!(reading("=a.b"), ["B"]);
        assert_eq!(reading("=a.b.c"), ["B"]);
        assert_eq!(reading("=a.c"), ["A"]);
        assert_eq!(reading("=a"), ["A", "B"]);
        assert_eq!(reading("=a.b + a.c"), ["A", "B"]);
        assert_eq!(reading("=ab"), Vec::<String>::new());
        assert_eq!(reading("=1"), Vec::<String>::new());
        // A write without secrets is the nearest, too; one above replaces those below.
        assert_eq!(
            declared(&[("{{secrets.A}}", "a"), ("=1", "a.b"), ("=a.b", "x"), ("=a", "y")]),
            pairs(&[("A", "a"), ("A", "y")])
        );
        assert_eq!(
            declared(&[("{{secrets.B}}", "a.b"), ("{{secrets.A}}", "a"), ("=a.b", "x")]),
            pairs(&[("A", "a"), ("A", "x"), ("B", "a.b")])
        );
    }

    #[test]
    fn a_field_below_a_declared_one_is_allowed_and_none_beside_it() {
        let bpmn = format!(
            r#"<definitions xmlns="{BPMN}" xmlns:zeebe="{ZEEBE}"><process id="p"><subProcess id="s">
              <serviceTask id="t"><extensionElements><zeebe:ioMapping>
                <zeebe:input source="{{{{secrets.A}}}}" target="authentication" />
              </zeebe:ioMapping></extensionElements></serviceTask></subProcess></process></definitions>"#
        );
        let mut all = Declared::default();
        assert!(all.add(&bpmn).unwrap().is_empty());
        assert_eq!(all.add(&bpmn).unwrap(), ["p"]);
        let allows = |element_id, name: &str, path: &str| {
            let scope = SecretScope {
                tenant_id: "t",
                bpmn_process_id: "p",
                process_definition_key: 0,
                element_id,
            };
            let place = Place {
                name: name.into(),
                form: Form::Braced,
                path: path.into(),
            };
            all.allows(&scope, &place)
        };
        assert!(allows("t", "A", "authentication"));
        assert!(allows("t", "A", "authentication.token.deep"));
        assert!(!allows("t", "A", "authenticationX"));
        assert!(!allows("t", "A", "body"));
        assert!(!allows("t", "B", "authentication"));
        assert!(!allows("s", "A", "authentication"));
        assert!(!allows("other", "A", "authentication"));
    }
}
