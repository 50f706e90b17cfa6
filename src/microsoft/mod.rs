//! Microsoft's services, one typed client each: what enters is typed, what leaves is typed, and what went wrong says
//! whose turn it is.
//!
//! [`entra`] knows the sign-in service: token endpoints, scopes, and what its AADSTS numbers mean. [`dataverse`] is the
//! Web API of one organisation, as far as desktop flows need it. Nothing here knows jobs or processes.

pub mod dataverse;
pub mod entra;

/// Whose turn it is after a refusal. One word for the sign-in service, for Dataverse and for the way to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Surely not executed, and the same request may work later.
    TryAgain,
    /// The same request may work later, but this one may have been executed: harmless after a read, not after a start.
    Ambiguous,
    /// It will go on failing until somebody changes something.
    SomeoneMustFixIt,
}

/// What a refusal means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meaning {
    /// Whose turn it is.
    pub class: Class,
    /// What to do next.
    pub hint: &'static str,
}
