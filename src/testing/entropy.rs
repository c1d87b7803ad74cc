use std::sync::{Arc, Mutex};

use super::chance::Chance;
use super::locked;
use crate::hook::{Entropy, EntropyFailed};

/// Randomness that is the same in every run: the same ids in the same order. Clones go on where the
/// others are. Never for a shop: a session's id lets whoever guesses it open the page.
#[derive(Clone, Debug)]
pub struct SeededEntropy(Arc<Mutex<Chance>>);

impl SeededEntropy {
    /// The randomness of this seed.
    #[must_use]
    pub fn new(seed: u64) -> SeededEntropy {
        SeededEntropy(Arc::new(Mutex::new(Chance::new(seed))))
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyFailed> {
        let mut chance = locked(&self.0);
        for chunk in bytes.chunks_mut(8) {
            let drawn = chance.next().to_le_bytes();
            chunk.copy_from_slice(&drawn[..chunk.len()]);
        }
        Ok(())
    }
}
