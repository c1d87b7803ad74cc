use crate::error::Error;

/// What an update does to a value that may be absent.
#[derive(Clone, Debug, Default)]
pub(crate) enum Patch<T = String> {
    #[default]
    Keep,
    Remove,
    Set(T),
}

impl<T> Patch<T> {
    /// The value as a caller gives it: none removes what is there.
    pub(crate) fn to(value: Option<T>) -> Patch<T> {
        value.map_or(Patch::Remove, Patch::Set)
    }

    /// The value after the update.
    pub(crate) fn apply(self, before: Option<T>) -> Option<T> {
        match self {
            Patch::Keep => before,
            Patch::Remove => None,
            Patch::Set(value) => Some(value),
        }
    }
}

impl Patch {
    /// The same with a checked value.
    pub(crate) fn checked(self, check: impl FnOnce(&str) -> Result<String, Error>) -> Result<Patch, Error> {
        Ok(match self {
            Patch::Set(value) => Patch::Set(check(&value)?),
            other => other,
        })
    }
}
