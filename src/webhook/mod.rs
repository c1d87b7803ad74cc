//! Webhooks: what the engine tells other programs about a payment.
//!
//! A receiver does four things, in this order. It keeps the body's bytes exactly as they came,
//! before anything parses them. It checks the signature over those bytes with [`verify`], or with
//! a [`Verifier`] while a secret is being replaced, and answers 400 if that fails. It drops events
//! that it has seen before, by their id and in the transaction in which it acts on them, because a
//! delivery whose answer was lost is made again; in [`Format::XPay`] the id is the body's `id`, in
//! [`Format::Standard`] the header `webhook-id`, each covered by the signature of that format. It
//! answers with a 2xx status within 30 seconds; any other answer is a failure and is retried.

#[cfg(feature = "engine")]
mod delivery;
#[cfg(feature = "engine")]
mod endpoint;
mod signature;
mod verify;

#[cfg(feature = "engine")]
pub(crate) use delivery::{
    Attempted, DeliveryEvent, LEASE, MARGIN, MAX_ATTEMPTS, MAX_IN_FLIGHT, TIMEOUT, next as next_state, weigh,
};
#[cfg(feature = "engine")]
pub use delivery::{ClaimedDelivery, Delivery, DeliveryState};
#[cfg(feature = "engine")]
pub(crate) use endpoint::draw_secret;
#[cfg(feature = "engine")]
pub use endpoint::{AddedEndpoint, Endpoint, EndpointState, NewEndpoint};
pub use signature::Format;
#[cfg(feature = "engine")]
pub(crate) use signature::{standard, timestamped};
pub use verify::{BadSignature, Reason, Verifier, verify};

#[cfg(test)]
mod tests;
