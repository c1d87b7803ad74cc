use std::collections::BTreeMap;

use super::{no_card, text};
use crate::digest::Fields;
use crate::error::{Error, Invalid};

/// Key-value pairs that a host attaches to an object and gets back with it.
///
/// At most 50 pairs, keys of 1 to 40 characters, values of up to 500, no control characters, no
/// card numbers. A value may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata(BTreeMap<String, String>);

impl Metadata {
    /// The most pairs.
    pub const MAX_PAIRS: usize = 50;
    /// The most characters of a key.
    pub const MAX_KEY: usize = 40;
    /// The most characters of a value.
    pub const MAX_VALUE: usize = 500;

    /// Checks the pairs and builds the metadata.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming `metadata` or `metadata.<key>` if a limit is passed, a key is
    /// given twice, or a text holds a control character or a card number.
    pub fn new<K, V>(pairs: impl IntoIterator<Item = (K, V)>) -> Result<Metadata, Error>
    where
        K: AsRef<str>,
        V: AsRef<str>,
    {
        let mut checked = BTreeMap::new();
        for (key, value) in pairs {
            let key = text("metadata key", key.as_ref(), Self::MAX_KEY)?;
            let field = format!("metadata.{key}");
            let value = value.as_ref();
            if !value.is_empty() {
                text(&field, value, Self::MAX_VALUE)?;
            }
            if checked.insert(key, value.to_owned()).is_some() {
                return Err(Invalid::new(field, "a key given twice", "each key once").into());
            }
            if checked.len() > Self::MAX_PAIRS {
                let allowed = format!("at most {} pairs", Self::MAX_PAIRS);
                return Err(Invalid::new("metadata", "more pairs", allowed).into());
            }
        }
        // A number can also be spread over a key and its value.
        for (key, value) in &checked {
            no_card("metadata", &format!("{key} {value}"))?;
        }
        Ok(Metadata(checked))
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// Whether there is no pair.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The pairs, in the order in which JavaScript keeps an object's keys: keys that look like an
    /// array index first, by number, then the others. Bodies written in this order survive being
    /// parsed and printed again by a JavaScript receiver.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut pairs: Vec<(&str, &str)> = self
            .0
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        pairs.sort_by_key(|(key, _)| array_index(key).map_or(u64::MAX, u64::from));
        pairs.into_iter()
    }

    /// Hashes metadata that may be absent, with its length in front so that no pair passes from one
    /// list to the next; absent is not the same as empty.
    pub(crate) fn hashed(metadata: Option<&Metadata>, fields: Fields) -> Fields {
        let pairs: Vec<_> = metadata.into_iter().flat_map(Metadata::iter).collect();
        let count = metadata.map_or(-1, |_| i64::try_from(pairs.len()).unwrap_or(i64::MAX));
        pairs
            .into_iter()
            .fold(fields.int(count), |fields, (key, value)| fields.text(key).text(value))
    }

    /// Metadata that was checked when it was stored.
    pub(crate) fn from_stored(pairs: BTreeMap<String, String>) -> Metadata {
        Metadata(pairs)
    }
}

impl serde::Serialize for Metadata {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

/// The number of a key that JavaScript treats as an array index: canonical decimal below 2^32 - 1.
fn array_index(key: &str) -> Option<u32> {
    let number: u32 = key.parse().ok()?;
    (number < u32::MAX && number.to_string() == key).then_some(number)
}
