//! Webhooks: what the engine tells other programs about a payment.
//!
//! # Receiving
//! Nothing here needs the engine or a database: `tillite` without its default features is enough. A
//! receiver does five things, in this order.
//!
//! 1. It keeps the body's bytes exactly as they came, before anything parses them. Frameworks that
//!    parse JSON by themselves have to be told not to.
//! 2. It checks the signature over those bytes with [`verify`], or with a [`Verifier`] while a secret
//!    is being replaced, and answers 400 if that fails. [`BadSignature::reason`] says what was found and
//!    what is allowed; it is for the receiver's log.
//! 3. It begins a transaction and asks an [`Inbox`] whether the event is new. A delivery whose answer was
//!    lost is made again with the same id and bytes, and one that failed comes after those that followed it.
//! 4. It acts on the event in that transaction, and commits.
//! 5. It answers with a 2xx status within 30 seconds; any other answer is a failure and is tried again after
//!    1 minute, 5 minutes, 30 minutes and 2 hours, or up to a tenth later. `Retry-After` makes that up to twice
//!    as long, and with 429 or 503 it holds for everything else that is due, too.
//!
//! An endpoint speaks one [`Format`]. To all but `xpay-subscriptions` the headers of Standard Webhooks go too,
//! under the same secret; a receiver that is free to choose verifies [`Format::Standard`], where the id is
//! signed and an Ed25519 key can stand in for the secret ([`Verifier`]).
//!
//! # While a secret is replaced
//! For 24 hours the old secret and the new one sign. A receiver that looks at every signature, as [`verify`] and
//! the libraries of Stripe and Standard Webhooks do, passes with either secret and changes over when it
//! likes. The short samples of the services look at one signature only; the order is such that they go on with
//! the old secret until the overlap ends, and change over then. Or they try both secrets.
//!
//! | format | in an overlap | samples look at |
//! | --- | --- | --- |
//! | `xpay` | `t=…,v1=<new>,v1=<old>` | the last `v1` |
//! | `jopay` | `t=…,v1=<old>,v1=<new>` | the first |
//! | `elixpo` | `sha256=<new>,sha256=<old>` | the whole value: they need the list split |
//! | `xpay-subscriptions` | `<old>` | there is one |
//! | `standard` | `v1,<new> v1,<old>`, then `v1a,…` likewise | all |
//!
//! `examples/verify_webhook.rs` is a receiver to copy.

#[cfg(feature = "engine")]
mod attempt;
#[cfg(feature = "engine")]
mod delivery;
#[cfg(feature = "ed25519")]
mod ed25519;
#[cfg(feature = "engine")]
mod endpoint;
#[cfg(feature = "engine")]
mod flow;
mod format;
mod inbox;
mod key;
mod presented;
#[cfg(feature = "engine")]
mod replay;
#[cfg(test)]
mod samples;
mod scheme;
mod verify;

#[cfg(feature = "engine")]
pub use attempt::{DeliveryAttempt, DeliveryFilter, DeliveryOutcome};
#[cfg(feature = "engine")]
pub(crate) use delivery::{
    AFTER_PANIC, Attempted, DeliveryEvent, FURTHEST_DUE, FURTHEST_LEASE, LEASE, MARGIN, MAX_ATTEMPTS, TIMEOUT,
    furthest_due, next as next_state, weigh,
};
#[cfg(feature = "engine")]
pub use delivery::{ClaimedDelivery, Delivery, DeliveryState};
#[cfg(feature = "engine")]
pub(crate) use ed25519::{draw_pair, is_signing_key, public_half};
#[cfg(feature = "engine")]
pub use endpoint::{AddedEndpoint, Endpoint, EndpointState, EndpointUpdate, NewEndpoint};
#[cfg(feature = "engine")]
pub(crate) use endpoint::{
    EndpointEvent, FreshSecrets, OVERLAP, SealedSecret, draw_secret, next as next_endpoint_state,
};
#[cfg(feature = "engine")]
pub use flow::DeliveryOrder;
#[cfg(feature = "engine")]
pub(crate) use flow::{Flow, SLOW};
pub use format::Format;
pub use inbox::{Arrival, Arrived, Inbox, InboxStore};
#[cfg(feature = "engine")]
pub(crate) use replay::ReplayFrom;
#[cfg(feature = "engine")]
pub use replay::{NewReplay, Replay, ReplayOf, ReplayState};
#[cfg(feature = "engine")]
pub(crate) use scheme::{Signing, headers};
pub use verify::{BadSignature, Reason, Verifier, verify};
