//! What a host tests with: a clock that is turned by hand, randomness that repeats itself, a
//! processor with a ledger of its own, a receiver that keeps what it was sent, a disk that loses
//! power, and a simulation that throws all of them at an engine; and what holds a host's transport to its
//! contract, [`transport_conformance`].
//!
//! ```
//! use std::time::Duration;
//! use tillite::testing::{Disk, FakeProcessor, ManualClock, SeededEntropy, Survive};
//! use tillite::{Amount, Currency, Engine, Mode, NewLine, NewSession};
//!
//! # fn main() -> tillite::Result<()> {
//! let (clock, till, disk) = (ManualClock::new(), FakeProcessor::new(), Disk::new(7));
//! let open = || {
//!     Engine::builder()
//!         .clock(clock.clone())
//!         .entropy(SeededEntropy::new(1))
//!         .processor("till", till.clone())
//!         .open_on(&disk, "shop.db")
//! };
//! let engine = open()?;
//! let shop = engine.app("shop", Mode::Live)?;
//! let pen = NewLine::inline("A pen", Amount::minor(1_20, Currency::EUR)?);
//! let session = shop.sessions().create(NewSession::empty().line(pen))?;
//! assert!(shop.sessions().pay(&session.id, "tok_1")?.is_complete());
//!
//! // The power goes. What was answered is in the file.
//! disk.reboot(Survive::OnlySynced);
//! drop((shop, engine));
//! let shop = open()?.app("shop", Mode::Live)?;
//! assert!(shop.sessions().get(&session.id)?.is_complete());
//! assert_eq!(till.charges().len(), 1);
//! # Ok(())
//! # }
//! ```
//!
//! [`sim`] does that with every operation, at every moment, with two engines on the file, by a seed.

mod chance;
mod clock;
mod conformance;
mod entropy;
mod processor;
mod receiver;
pub mod sim;

pub use clock::ManualClock;
pub use conformance::{TransportReport, TransportRule, TransportViolation, transport_conformance};
pub use entropy::SeededEntropy;
pub use processor::{FakeProcessor, Posted, Taken, Told};
pub use receiver::FakeReceiver;
pub use tillite_simdisk::{Disk, Fault, Survive};

use std::sync::{Mutex, MutexGuard, PoisonError};

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
