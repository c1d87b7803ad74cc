//! The outbox as a queue: claiming deliveries, acknowledging them, and what is due.
//!
//! A claim counts the attempt before anything is sent, so that a delivery that kills its sender
//! cannot be tried for ever. Claims are fenced: a failure is believed only from the claim that
//! holds the delivery, an acceptance from anybody. Each endpoint has its own quota, so one that
//! does not answer holds up nobody else.

mod acknowledge;
mod candidate;
mod claim;
mod flow;
mod lane;
mod load;
mod standing;

pub(crate) use self::acknowledge::{Report, acknowledge, give_back};
pub(crate) use self::claim::{Claimed, Signer, claim, signer, would_claim};
pub(crate) use self::flow::{flow, put_flow};
pub(super) use self::lane::{New, enqueue};
pub(crate) use self::load::load;
pub(crate) use self::standing::{next_due, upcoming};
