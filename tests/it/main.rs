//! One binary for all promises that are kept from outside: a file per promise, one kit for all.

mod kit;
mod sale;
