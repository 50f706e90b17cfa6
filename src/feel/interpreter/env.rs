//! Scopes: a list of layers that lives on the stack, innermost first. Nothing is copied when a loop, a filter or a
//! context entry adds names.

use crate::feel::settings::Scope;
use crate::feel::syntax::Iterator;
use crate::feel::value::{Ctx, Draft, Function, Val};
use std::rc::Rc;

/// One layer of names and the layers around it.
pub(crate) struct Env<'s, 'a> {
    pub(super) outer: Option<&'s Env<'s, 'a>>,
    pub(super) names: Names<'s, 'a>,
}

pub(crate) enum Names<'s, 'a> {
    Root(&'s Scope<'a>),
    /// The entries before the current one of a context literal.
    Context(&'s Draft<'a>),
    /// The variables of a loop and its results so far. Of two variables with one name the first counts.
    Loop {
        iterators: &'a [Iterator],
        values: &'s [Val<'a>],
        partial: Option<&'s Val<'a>>,
    },
    /// The item that a filter looks at; its entries are names, too, and win over `item`.
    Item(&'s Val<'a>, Option<&'s Ctx<'a>>),
    /// The parameters of a call. Of two with one name the last counts.
    Parameters {
        names: &'a [Box<str>],
        values: &'s [Val<'a>],
    },
    /// What a function kept from where it was defined.
    Kept(&'s Function<'a>),
    One(&'static str, &'s Val<'a>),
}

/// The name of the value that a test is about.
pub(super) const INPUT: &str = "cellInput";
pub(super) const INPUT_SYMBOL: &str = "?";

impl<'a> Env<'_, 'a> {
    pub(crate) fn variable(&self, name: &str) -> Option<Val<'a>> {
        let mut env = Some(self);
        while let Some(Env { outer, names }) = env {
            if let Some(value) = names.variable(name) {
                return Some(value);
            }
            env = *outer;
        }
        None
    }

    /// The innermost function of this name that `fits`.
    pub(crate) fn function(&self, name: &str, fits: impl Fn(&Function<'a>) -> bool) -> Option<Rc<Function<'a>>> {
        let mut env = Some(self);
        while let Some(Env { outer, names }) = env {
            let found = match names {
                Names::Context(draft) => draft.functions(name).find(|function| fits(function)).cloned(),
                Names::Item(_, Some(context)) => context.functions(name).into_iter().find(|function| fits(function)),
                Names::Kept(kept) => {
                    let mut known = kept.functions.iter().filter(|(known, _)| *known == name);
                    known
                        .find(|(_, function)| fits(function))
                        .map(|(_, function)| Rc::clone(function))
                }
                _ => None,
            };
            if found.is_some() {
                return found;
            }
            env = *outer;
        }
        None
    }

    /// A variable that is not of the root, which every function can see anyway.
    pub(super) fn variable_above_root(&self, name: &str) -> Option<Val<'a>> {
        let mut env = self;
        while let Some(outer) = env.outer {
            if let Some(value) = env.names.variable(name) {
                return Some(value);
            }
            env = outer;
        }
        None
    }

    /// Every function of a name, innermost first.
    pub(super) fn functions(&self, name: &str) -> Vec<Rc<Function<'a>>> {
        let mut found = Vec::new();
        let mut env = Some(self);
        while let Some(Env { outer, names }) = env {
            match names {
                Names::Context(draft) => found.extend(draft.functions(name).cloned()),
                Names::Item(_, Some(context)) => found.extend(context.functions(name)),
                Names::Kept(kept) => {
                    let known = kept.functions.iter().filter(|(known, _)| *known == name);
                    found.extend(known.map(|(_, function)| Rc::clone(function)));
                }
                _ => {}
            }
            env = *outer;
        }
        found
    }

    /// Names that are visible here, for suggestions.
    pub(super) fn visible(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut env = Some(self);
        while let Some(Env { outer, names }) = env {
            match names {
                Names::Root(scope) => found.extend(scope.names().map(str::to_owned)),
                Names::Loop { iterators, .. } => {
                    found.extend(iterators.iter().map(|iterator| iterator.name.to_string()))
                }
                Names::Item(_, context) => {
                    found.push("item".to_owned());
                    found.extend(
                        context
                            .iter()
                            .flat_map(|context| context.keys())
                            .map(|key| key.as_str().to_owned()),
                    );
                }
                Names::Parameters { names, .. } => found.extend(names.iter().map(ToString::to_string)),
                Names::Context(draft) => found.extend(draft.keys().map(|key| key.as_str().to_owned())),
                Names::Kept(kept) => found.extend(kept.variables.iter().map(|(name, _)| (*name).to_owned())),
                Names::One(..) => {}
            }
            env = *outer;
        }
        found
    }
}

impl<'a> Names<'_, 'a> {
    fn variable(&self, name: &str) -> Option<Val<'a>> {
        match self {
            Names::Root(scope) => scope.get(name).map(Val::from_json),
            Names::Context(draft) => draft.get(name).cloned(),
            Names::Loop {
                iterators,
                values,
                partial,
            } => {
                if name == "partial"
                    && let Some(partial) = partial
                {
                    return Some((*partial).clone());
                }
                let position = iterators.iter().position(|iterator| &*iterator.name == name)?;
                values.get(position).cloned()
            }
            Names::Item(item, context) => context
                .and_then(|context| context.get(name))
                .or_else(|| (name == "item").then(|| (*item).clone())),
            Names::Parameters { names, values } => {
                let position = names.iter().rposition(|known| &**known == name)?;
                values.get(position).cloned()
            }
            Names::Kept(kept) => kept
                .variables
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| value.clone()),
            Names::One(known, value) => (*known == name).then(|| (*value).clone()),
        }
    }
}
