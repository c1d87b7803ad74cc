//! One binary for all promises that are kept from outside: a file per promise, one kit for all.

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
