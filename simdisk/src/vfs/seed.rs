//! SQLite's own randomness.

use std::ffi::c_int;
use std::ptr;

use rusqlite::ffi;

/// `SQLITE_TESTCTRL_PRNG_SEED`, which the bindings for old versions of SQLite do not have.
const PRNG_SEED: c_int = 28;

/// Starts SQLite's generator of random numbers anew from a seed. What it writes into logs and
/// journals, and what `random()` gives, is then the same each time.
///
/// The generator is one for all connections of the process: seed it when a simulation begins, and run
/// one at a time.
pub fn seed_sqlite(seed: u64) {
    let folded = (seed ^ (seed >> 32)) & u64::from(u32::MAX);
    // Zero would ask for the operating system's randomness.
    let word = u32::try_from(folded).unwrap_or(0).max(1).cast_signed();
    // SAFETY: this operation takes an `int` and a connection that may be null, and with null it
    // changes only the generator, under SQLite's own lock.
    unsafe { ffi::sqlite3_test_control(PRNG_SEED, word, ptr::null_mut::<ffi::sqlite3>()) };
}
