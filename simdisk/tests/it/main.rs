//! What the disk does to SQLite, and what SQLite does on it: a file per promise, one kit for all.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "what the tests share asserts as the tests do"
)]
#![allow(
    unreachable_pub,
    reason = "one binary has no outside; pub marks what its files share"
)]

mod generation;
mod kit;
mod lock;
mod place;
mod power;
mod readme;
mod rot;
mod sweep;
mod traps;
mod turn;
