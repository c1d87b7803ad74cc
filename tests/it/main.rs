//! One binary for all promises that are kept from outside: a file per promise, one kit for all.

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

mod abort;
mod alarm;
mod backup;
mod canary;
mod challenge;
mod consumer;
mod crash;
mod customer;
mod delivering;
mod dispute;
mod endpoints;
mod entitlement;
mod fakes;
mod file;
mod flow;
mod flow_model;
mod holding;
mod house;
mod idempotency;
mod input;
mod jumps;
mod kit;
mod lifecycle;
mod limits;
mod money;
mod notification;
mod older;
mod operator;
mod order;
mod outbox;
#[cfg(feature = "testing")]
mod power;
mod race;
mod refund;
mod remembered;
mod repeat;
mod replay;
mod retention;
mod sale;
mod saved;
mod session;
mod setup;
mod sharing;
mod simulation;
mod size;
mod sweep;
mod time;
#[cfg(feature = "tracing")]
mod tracing;
mod transport;
mod verifiers;
mod verify;
