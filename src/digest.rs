//! Hashing several fields as one, so that no two lists of fields hash the same bytes.

use sha2::{Digest as _, Sha256};

/// SHA-256 over fields, each with its length in front.
#[derive(Default)]
pub(crate) struct Fields(Sha256);

impl Fields {
    pub(crate) fn new() -> Fields {
        Fields::default()
    }

    pub(crate) fn text(self, text: &str) -> Fields {
        self.bytes(text.as_bytes())
    }

    /// A field that may be absent; absent is not the same as empty.
    pub(crate) fn maybe(self, text: Option<&str>) -> Fields {
        match text {
            Some(text) => self.bytes(&[1]).text(text),
            None => self.bytes(&[0]),
        }
    }

    pub(crate) fn int(self, number: i64) -> Fields {
        self.bytes(&number.to_be_bytes())
    }

    pub(crate) fn bytes(mut self, bytes: &[u8]) -> Fields {
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
        self
    }

    /// The first 64 bits of the hash.
    pub(crate) fn short(self) -> u64 {
        let hash = self.finish();
        hash.iter().take(8).fold(0, |bits, byte| bits << 8 | u64::from(*byte))
    }

    pub(crate) fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}
