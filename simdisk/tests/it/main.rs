//! What the disk does to SQLite, and what SQLite does on it: a file per promise, one kit for all.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "what the tests share asserts as the tests do"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "bare SQLite is under test here, with what its callers get wrong"
)]
#![allow(
    unreachable_pub,
    reason = "one binary has no outside; pub marks what its files share"
)]

mod kit;
mod power;
