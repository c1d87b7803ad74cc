//! One binary for all promises that are kept from outside: a file per promise, one kit for all.

#![allow(
    unreachable_pub,
    reason = "the kit is a module of a binary; `pub` says what its users may use"
)]

mod crash;
mod endpoints;
mod entitlement;
mod file;
mod house;
mod idempotency;
mod input;
mod kit;
mod money;
mod outbox;
mod race;
mod sale;
mod session;
mod size;
mod time;
mod verify;
