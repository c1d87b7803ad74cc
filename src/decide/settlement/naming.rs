//! By which name the service calls what it did, and what it did once more.
//!
//! The name of a success is the first that the service itself gave with one. A person's word gives a name only
//! while the service has given none; and whatever the service calls by another name is something else, which it
//! did beside it.

use super::Case;
use crate::payment::Verdict;

/// What the word of a success says of what has succeeded before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// Nothing that is not known.
    Known,
    /// The name of it.
    Name,
    /// That something else succeeded as well, and its name.
    Another,
}

/// What a verdict says of something that has succeeded, and is known by that name so far. Where it was not the
/// attempt itself by which it did, whatever the attempt tells of under a name of its own came beside it.
pub(super) fn told(case: &Case, known_as: Option<&str>, verdict: &Verdict) -> Told {
    match verdict.reference.as_deref().filter(|_| verdict.is_told_success()) {
        Some(name) if known_as == Some(name) || case.attempt.reference.as_deref() == Some(name) => Told::Known,
        Some(name) if case.past.successes.names.contains(name) && !planted!(SurplusCountsAgain) => Told::Known,
        Some(_) if case.past.successes.counted && case.past.successes.names.is_empty() => Told::Name,
        Some(_) => Told::Another,
        None => Told::Known,
    }
}
