//! tillite
mod error;
mod id;
mod money;
mod time;
