//! What the host supplies: how money moves, how a webhook travels, what time it is, where
//! randomness comes from.
//!
//! Every hook but a [`crate::Consumer`] is called without a lock held and with no transaction open, so it may be slow, may
//! block, and may call back into the engine. Hooks are shared between threads. A processor, transport
//! or routing rule that panics does not take the host down: the panic is caught and counts as the
//! answer that promises least; [`crate::Alarm::HookPanicked`] tells of it. A panic of the clock or the
//! source of randomness reaches the caller.
//!
//! In a program that is built with `panic = "abort"` no panic can be caught: one in a hook ends the
//! process there and then. What it was in the middle of is in the file, and the next process takes it
//! up: a payment as unknown, to be looked up, a delivery when its claim has ended.

mod capabilities;
mod clock;
mod notice;
mod outcome;
mod processor;
mod request;
mod transport;

#[doc = include_str!("stripe.md")]
pub mod stripe_mapping {}

pub use capabilities::{Ability, Capabilities};
pub use clock::{Clock, Entropy, EntropyFailed, SystemClock, SystemEntropy};
pub use notice::{DisputeState, Notice, NoticeKind, Post, Reception, Reply};
pub use outcome::{Action, Advice, Cancel, Lookup, Outcome, Receipt, SavedMethod};
pub use processor::{Answer, LookupKey, Processor, RouteInput};
pub use request::{Initiator, Operation, Related, Request, RequestLine};
pub use transport::{Answered, SignedRequest, Transport, TransportOutcome};
