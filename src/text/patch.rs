use crate::error::Error;

/// What an update does to a value that may be absent.
#[derive(Clone, Debug, Default)]
pub(crate) enum Patch {
    #[default]
    Keep,
    Remove,
    Set(String),
}

impl Patch {
    /// The value as a caller gives it: none removes what is there.
    pub(crate) fn to(value: Option<String>) -> Patch {
        value.map_or(Patch::Remove, Patch::Set)
    }

    /// The same with a checked value.
    pub(crate) fn checked(self, check: impl FnOnce(&str) -> Result<String, Error>) -> Result<Patch, Error> {
        Ok(match self {
            Patch::Set(value) => Patch::Set(check(&value)?),
            other => other,
        })
    }

    /// The value after the update.
    pub(crate) fn apply(self, before: Option<String>) -> Option<String> {
        match self {
            Patch::Keep => before,
            Patch::Remove => None,
            Patch::Set(value) => Some(value),
        }
    }
}
