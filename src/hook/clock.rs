use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use ring::rand::{SecureRandom as _, SystemRandom};

use crate::time::Timestamp;

/// Tells the host's time.
///
/// # When it is called
/// Once or a few times per verb, from the calling thread. It should be cheap.
///
/// # What it may answer
/// Anything: it need not be monotonic. The engine's own time never goes backwards whatever the
/// clock says; leases and due times follow the clock.
pub trait Clock: Send + Sync {
    /// The time now, UTC, in milliseconds since the Unix epoch.
    fn now(&self) -> Timestamp;
}

/// The operating system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::MIN.plus(since_epoch)
    }
}

impl<T: Clock + ?Sized> Clock for std::sync::Arc<T> {
    fn now(&self) -> Timestamp {
        (**self).now()
    }
}

/// Supplies the randomness of ids.
///
/// Nonces, API keys and webhook secrets do not come from here but always from the operating
/// system, so that a seeded source in a test can never weaken a secret.
///
/// # When it is called
/// Once per verb, before the transaction.
///
/// # What an error means
/// The verb fails with [`crate::Error::NoEntropy`] and writes nothing.
pub trait Entropy: Send + Sync {
    /// Fills the bytes with randomness that nobody can guess.
    ///
    /// # Errors
    /// [`EntropyFailed`] if there is none to be had.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyFailed>;
}

/// The source of randomness failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntropyFailed;

impl fmt::Display for EntropyFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the source of randomness failed")
    }
}

impl std::error::Error for EntropyFailed {}

/// The operating system's source of randomness.
#[derive(Clone, Debug)]
pub struct SystemEntropy(SystemRandom);

impl SystemEntropy {
    /// The operating system's source.
    #[must_use]
    pub fn new() -> SystemEntropy {
        SystemEntropy(SystemRandom::new())
    }
}

impl Default for SystemEntropy {
    fn default() -> Self {
        SystemEntropy::new()
    }
}

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyFailed> {
        self.0.fill(bytes).map_err(|_| EntropyFailed)
    }
}

impl<T: Entropy + ?Sized> Entropy for std::sync::Arc<T> {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyFailed> {
        (**self).fill(bytes)
    }
}
