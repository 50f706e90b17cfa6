//! Follows every value of an expression back to the places of the document that it may come from.
//!
//! Every name may mean what any layer around it gives, so shadowing needs no thought: seeing too much is never wrong.

use super::Projection;
use crate::feel::syntax::{Arguments, Call, Iteration, Node, NodeId, Step, Tree};
use std::collections::{BTreeMap, BTreeSet};

/// More places than these are not told apart: the document is seen whole. It bounds the work, too.
const MAX_PLACES: usize = 256;

/// Places of the document that a value may be, or may be a list of.
type Places = BTreeSet<usize>;

#[derive(Default)]
struct Place {
    whole: bool,
    fields: BTreeMap<Box<str>, usize>,
}

struct Analysis<'a> {
    tree: &'a Tree,
    /// The first one is the document.
    places: Vec<Place>,
    /// Items of filters and variables of loops, from the outermost to the innermost.
    layers: Vec<Layer<'a>>,
}

enum Layer<'a> {
    Item(Places),
    Variable(&'a str, Places),
}

pub(super) fn analyse(tree: &Tree) -> Projection {
    // A function sees names of where it is defined when it is called; it is rare enough to be read whole.
    let functions = tree.nodes.iter().any(|node| matches!(node, Node::Function(_)));
    if functions {
        return Projection::whole();
    }
    let mut analysis = Analysis {
        tree,
        places: vec![Place::default()],
        layers: Vec::new(),
    };
    analysis.consume(tree.root);
    analysis.projection(0)
}

impl<'a> Analysis<'a> {
    fn projection(&self, place: usize) -> Projection {
        let place = &self.places[place];
        if place.whole {
            return Projection::whole();
        }
        let fields = place.fields.iter();
        Projection {
            whole: false,
            fields: fields
                .map(|(name, field)| (name.clone(), self.projection(*field)))
                .collect(),
        }
    }

    fn child(&mut self, place: usize, name: &str) -> Option<usize> {
        if self.places[place].whole {
            return None;
        }
        if let Some(known) = self.places[place].fields.get(name) {
            return Some(*known);
        }
        if self.places.len() >= MAX_PLACES {
            self.places[0].whole = true;
            return None;
        }
        let child = self.places.len();
        self.places.push(Place::default());
        self.places[place].fields.insert(name.into(), child);
        Some(child)
    }

    fn children(&mut self, places: &Places, name: &str) -> Places {
        places.iter().filter_map(|place| self.child(*place, name)).collect()
    }

    fn see_whole(&mut self, places: &Places) {
        for place in places {
            self.places[*place].whole = true;
        }
    }

    /// Everything that the name may mean here. Entries of contexts are not among it: they are seen whole already.
    fn named(&mut self, name: &str) -> Places {
        let mut found: Places = self.child(0, name).into_iter().collect();
        let layers = std::mem::take(&mut self.layers);
        for layer in &layers {
            match layer {
                Layer::Item(item) => {
                    found.extend(self.children(item, name));
                    if name == "item" {
                        found.extend(item);
                    }
                }
                Layer::Variable(known, places) if *known == name => found.extend(places),
                Layer::Variable(..) => {}
            }
        }
        self.layers = layers;
        found
    }

    fn path(&mut self, path: &[Box<str>]) -> Places {
        let mut places = self.named(&path[0]);
        for key in &path[1..] {
            places = self.children(&places, key);
        }
        places
    }

    /// The value of the node is seen whole.
    fn consume(&mut self, node: NodeId) {
        let places = self.follow(node);
        self.see_whole(&places);
    }

    /// The places that the value of the node comes from, when all else that is seen of them is known.
    fn follow(&mut self, id: NodeId) -> Places {
        match &self.tree.nodes[id as usize] {
            Node::Variable(path) => self.path(path),
            Node::Postfix(base, steps) => self.postfix(*base, steps),
            Node::If(condition, then, otherwise) => {
                // Whether it is true is a matter of its kind.
                self.follow(*condition);
                let mut places = self.follow(*then);
                places.extend(self.follow(*otherwise));
                places
            }
            Node::For(iteration) => self.iteration(iteration),
            Node::Quantified(_, iteration) => {
                self.iteration(iteration);
                Places::new()
            }
            Node::Call(call) => self.call(call),
            node => {
                let mut parts = Vec::new();
                node.children(|part| parts.push(part));
                parts.into_iter().for_each(|part| self.consume(part));
                Places::new()
            }
        }
    }

    fn postfix(&mut self, base: NodeId, steps: &'a [Step]) -> Places {
        let mut places = self.follow(base);
        for step in steps {
            match step {
                Step::Key(key) => places = self.children(&places, key),
                Step::Filter(filter) => {
                    self.layers.push(Layer::Item(places.clone()));
                    // Its value is a boolean, a position, or of no use whatever is in it.
                    self.follow(*filter);
                    self.layers.pop();
                }
            }
        }
        places
    }

    fn iteration(&mut self, iteration: &'a Iteration) -> Places {
        let outer = self.layers.len();
        for iterator in &iteration.iterators {
            let places = self.follow(iterator.over);
            self.layers.push(Layer::Variable(&iterator.name, places));
        }
        let body = self.follow(iteration.body);
        self.layers.truncate(outer);
        if iteration.uses_partial {
            self.see_whole(&body);
        }
        body
    }

    fn call(&mut self, call: &'a Call) -> Places {
        if !call.path.is_empty() {
            let places = self.named(&call.path[0]);
            self.see_whole(&places);
        }
        match &call.arguments {
            // How many there are is a matter of the list, not of what is in it.
            Arguments::Positional(list) if call.path.is_empty() && &*call.name == "count" && list.len() == 1 => {
                self.follow(list[0]);
            }
            Arguments::Positional(arguments) => arguments.iter().for_each(|argument| self.consume(*argument)),
            Arguments::Named(arguments) => arguments.iter().for_each(|(_, argument)| self.consume(*argument)),
        }
        Places::new()
    }
}
