//! Transports that are ready to use, and the rule for the addresses that any transport may dial.
//!
//! With the feature `ureq`, [`UreqTransport`](https://docs.rs/tillite/latest/tillite/transport/struct.UreqTransport.html)
//! carries webhooks over http and https. Whoever brings a [`Transport`](crate::Transport) of their own asks an
//! [`AddressPolicy`] between looking a name up and dialling, and holds it to the rest of the contract by
//! [`testing::transport_conformance`](https://docs.rs/tillite/latest/tillite/testing/fn.transport_conformance.html).

#[cfg(feature = "ureq")]
mod ureq;

#[cfg(feature = "ureq")]
pub use self::ureq::UreqTransport;
pub use crate::address::{AddressPolicy, Forbidden};
