//! What the host supplies: how money moves, how a webhook travels, what time it is, where
//! randomness comes from.
//!
//! Every hook is called without a lock held and with no transaction open, so it may be slow, may
//! block, and may call back into the engine. Hooks are shared between threads. A processor, transport
//! or routing rule that panics does not take the host down: the panic is caught and counts as the
//! answer that promises least. A panic of the clock or the source of randomness reaches the caller.

mod clock;
mod processor;
mod transport;

pub use clock::{Clock, Entropy, EntropyFailed, SystemClock, SystemEntropy};
pub use processor::{
    Action, Advice, Answer, Capabilities, Initiator, Lookup, LookupKey, Operation, Outcome, Processor, Receipt,
    Request, RequestLine, RouteInput,
};
pub use transport::{Answered, SignedRequest, Transport, TransportOutcome};
