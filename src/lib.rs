//! A payment engine that a program links in.
//!
//! Checkout sessions, prices in minor units, payments, versioned entitlements and a durable webhook
//! outbox, synchronous, in **one SQLite file**. The host supplies what a library must not own: how
//! money moves ([`Processor`]), how a webhook travels ([`Transport`]), what time it is ([`Clock`]),
//! where randomness comes from ([`Entropy`]).
//!
//! ```
//! use tillite::{sandbox, Amount, Budget, Currency, Engine, Interval, Mode, NewPrice, NewSession};
//!
//! # fn main() -> tillite::Result<()> {
//! # let folder = tempfile::tempdir().expect("a folder for the example");
//! # let path = folder.path().join("shop.db");
//! // Test mode needs nothing else: the built-in sandbox stands in for the payment service.
//! let engine = Engine::builder().open(path)?;
//! let shop = engine.app("lixblogs", Mode::Test)?;
//!
//! // 199.00 INR for a month of membership. Amounts are minor units.
//! let price = NewPrice::new("member", Amount::minor(199_00, Currency::INR)?).lasting(Interval::MONTH);
//! shop.catalog().set_price(price)?;
//!
//! // The same key returns the same session, after a retry and after a crash.
//! let order = NewSession::tier("member", Currency::INR).customer("u_1").idempotency_key("order-1001");
//! let session = shop.sessions().create(order)?;
//!
//! // A declined card is an answer, not an error; the session can be paid again.
//! let declined = shop.sessions().pay(&session.id, sandbox::card::DECLINED)?;
//! assert!(!declined.is_complete());
//! let paid = shop.sessions().pay(&session.id, sandbox::card::APPROVED)?;
//! assert!(paid.is_complete());
//!
//! // What the buyer may use, and until when. The version grows with each visible change.
//! let held = shop.entitlements().get("u_1")?;
//! assert!(held.active && held.tier == "member" && held.version == 1);
//!
//! // Look-ups, expiry, deliveries: call it from your own loop, or spawn a runner.
//! engine.run_due(Budget::items(100))?;
//! # Ok(())
//! # }
//! ```
//!
//! # How the types relate
//! An [`Engine`] is one file. An [`App`] is a world in it, in one [`Mode`]; test and live never
//! meet. Its verbs are grouped by noun: [`App::catalog`], [`App::sessions`], [`App::refunds`],
//! [`App::customers`], [`App::entitlements`], [`App::endpoints`], [`App::deliveries`], [`App::keys`]. Every verb says what
//! errors it has, what is on disk when it returns, and which events it makes. [`Error::what_now`] says what to do
//! after an error.
//!
//! # What it promises
//! With SQLite's write-ahead log, `synchronous=FULL` and a disk that keeps what it was told to
//! keep:
//! * Every answer that the host was given survives the death of the process and the loss of power.
//! * A payment is collected once. Money moves in three beats: *intend* (commit the attempt and its
//!   frozen request), *ask* (call the processor, with no transaction open), *settle* (commit what
//!   came of it). An attempt that nobody answered is *unknown* until there is evidence; it never
//!   fails by time.
//! * No more goes back than was taken. A refund moves in the same beats, and its amount is reserved from
//!   the first one until its outcome is known. Money that paid for nothing goes back by itself
//!   ([`App::set_late_payments`]).
//! * What look-ups cannot tell, and what went over another amount, is listed with all that is known of it
//!   ([`App::unresolved`]) and ends by a person's word, which is evidence like any other ([`App::resolve`]).
//! * A row changes together with its event, the event's webhook bodies and their deliveries, or
//!   not at all. Events form a chain of hashes that [`Engine::verify`] checks.
//! * A webhook arrives at least once, with the same id and bytes each time, and first tries about one object in
//!   the order of its events; all of them, where an endpoint asks for it ([`webhook::DeliveryOrder`]).
//! * The host's own tables can follow the events exactly once ([`Consumer`]).
//!
//! # Two times
//! *Engine time* rules what sales are about: expiry, grants, history. It is kept per app and mode,
//! never goes back, and in test mode can be moved forward ([`App::advance`]). *Host time* is the
//! host's clock as it is, and rules what the outside world sees: signatures, leases, retries.
//!
//! # Threads and async
//! Every call is synchronous and safe from any thread. No thread is started but by
//! [`Engine::spawn_runner`]. In an async host, call it from a thread that may block, or take the
//! beats apart: [`Sessions::begin_payment`], [`Engine::claim_asks`], [`Engine::settle`],
//! [`Engine::claim_deliveries`], [`Engine::acknowledge_all`] are short, and the waiting between them is
//! the host's.
//!
//! # A payment service
//! Test mode has the [`sandbox`], whose test cards are approved, declined, unknown, or ask for 3-D Secure.
//! Live money needs a [`Processor`]; its documentation shows the least of one, and
//! `examples/http_processor` in the repository is one over HTTP, to be copied, against a service that
//! misbehaves. [`stripe_mapping`] goes through all that one service says.
//!
//! # What it is not
//! It does not talk to a payment service by itself, holds no card numbers (texts that look like
//! one are refused), sends no e-mail, and is not a server. Several processes of one machine may
//! share a file; a network or cloud-synced folder may not hold one.
//!
//! # Features
//! * `engine` (default): everything. Without it: ids, money, and [`webhook::verify`] for programs
//!   that only receive, with no database in the tree.
//! * `ed25519` (part of `engine`): checking webhooks by a public key.
//! * `ureq`: [`transport`], a [`Transport`] over http and https that dials only what it should.
//! * `tracing`: what the engine does, told through the crate of that name: writes with their outcome, calls of
//!   processors, deliveries, turns of consumers. Names and ids of its own, never a body, a secret or a buyer.
//! * `testing`: the kit for a host's tests, [`testing`](https://docs.rs/tillite/latest/tillite/testing/):
//!   a clock, a payment service, a receiver, a disk that loses power, and a simulation of all of them; and a
//!   trial for transports.
//! * `bundled` (default): compiles SQLite in. Without it the system's is linked; how new it
//!   must be depends on the rusqlite that cargo picks (0.32 takes 3.37, 0.41 needs 3.44).
//!
//! # Inside
//! Floors, each importing from below only: values (`money`, `time`, `id`), the nouns, `event`,
//! `change` and `wire`, then `decide` (pure decisions) beside `store` (rows), and `engine` on top,
//! the only floor that reads the clock, draws randomness or calls a hook. `ARCHITECTURE.md` in the
//! repository walks through them.

#![forbid(unsafe_code)]

#[cfg(all(tillite_planted, feature = "engine"))]
#[macro_use]
pub mod planted;

/// Whether a bug of that name is planted, or what is wrong then and what is right: a normal build has
/// none and compiles what is right.
#[cfg(all(not(tillite_planted), feature = "engine"))]
macro_rules! planted {
    ($fault:ident) => {
        false
    };
    ($fault:ident, $wrong:expr, $right:expr) => {
        $right
    };
}

#[cfg(feature = "engine")]
mod access;
#[cfg(feature = "engine")]
mod address;
#[cfg(feature = "engine")]
mod alarm;
mod card;
#[cfg(feature = "engine")]
mod catalog;
#[cfg(feature = "engine")]
mod change;
#[cfg(feature = "engine")]
mod consumer;
#[cfg(feature = "engine")]
mod customer;
#[cfg(feature = "engine")]
mod decide;
#[cfg(feature = "engine")]
mod digest;
#[cfg(feature = "engine")]
mod engine;
#[cfg(feature = "engine")]
mod entitlement;
mod error;
#[cfg(feature = "engine")]
mod event;
#[cfg(feature = "engine")]
mod hook;
mod id;
mod money;
#[cfg(feature = "engine")]
mod payment;
#[cfg(feature = "engine")]
#[cfg(test)]
mod samples;
#[cfg(feature = "engine")]
pub mod sandbox;
#[cfg(feature = "engine")]
mod seal;
mod secret;
#[cfg(feature = "engine")]
mod session;
#[cfg(feature = "engine")]
mod store;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(feature = "engine")]
mod text;
mod time;
#[cfg(feature = "engine")]
pub mod transport;
pub mod webhook;
#[cfg(feature = "engine")]
mod wire;

pub use crate::error::{
    ECHO_LIMIT, Error, Invalid, OrderState, Refused, Result, StorageError, StorageKind, Unusable, WhatNow,
};
pub use crate::id::{
    ApiKeyId, AttemptId, ChargeId, CustomerId, DeliveryId, DisputeId, EndpointId, EntitlementId, EventId, GrantId,
    Mode, NotificationId, PaymentIntentId, PaymentMethodId, PriceId, ProductId, RefundId, ReplayId, SessionId, SetupId,
};
pub use crate::money::{Amount, Currency, Units};
pub use crate::secret::Secret;
pub use crate::time::{Interval, Timestamp, Unit};

#[cfg(feature = "engine")]
pub use crate::{
    access::{Actor, ApiKey, NewApiKey},
    alarm::{Alarm, Hook},
    catalog::{MAIN_LINE, NewPrice, NewProduct, Price, Product, Terms},
    consumer::{Consumer, ConsumerError, Follow, HostRow, HostTx, HostValue},
    customer::{Customer, CustomerUpdate, NewCustomer},
    engine::{
        App, Ask, AskKind, Begun, BegunRefund, BegunSetup, Broken, Budget, Builder, Catalog, ConsumerProgress,
        Consumers, Customers, Deliveries, Disputes, Endpoints, Engine, Entitlements, EventFilter, Expect, Health,
        JournalHead, Keys, NewPayment, Notifications, Numbers, Page, Payment, Pulled, Ran, Refunds, Report, Runner,
        Sessions, Settled, Setups, Work,
    },
    entitlement::{Entitlement, Grant, GrantSource, NewGrant, Status},
    event::{Event, EventKind},
    hook::{
        Ability, Action, Advice, Answer, Answered, Cancel, Capabilities, Clock, Entropy, EntropyFailed, Initiator,
        Lookup, LookupKey, Notice, NoticeKind, Operation, Outcome, Post, Processor, Receipt, Reception, Related, Reply,
        Request, RequestLine, RouteInput, SavedMethod, SignedRequest, SystemClock, SystemEntropy, Transport,
        TransportOutcome, stripe_mapping,
    },
    payment::{
        AttemptRecord, CaptureMethod, Charge, ChargeState, Dispute, DisputeState, EvidenceRecord, EvidenceSource,
        Failure, Followup, GrantEffect, Hold, IntentStatus, LatePayments, MethodState, NewRefund, NewSetup,
        Notification, NotificationKind, NotificationState, PaymentIntent, PaymentMethod, Refund, RefundSource,
        RefundState, RefundedLine, Resolution, Setup, SetupState, Unresolved,
    },
    session::{
        Completion, Dialect, ExpiredReason, GrantTerms, Line, NewLine, NewSession, Session, SessionState,
        SessionUpdate, Totals,
    },
    text::Metadata,
    webhook::{
        ClaimedDelivery, Delivery, DeliveryAttempt, DeliveryFilter, DeliveryOutcome, DeliveryState, NewReplay, Replay,
        ReplayOf, ReplayState,
    },
};

/// The README's example, compiled with the documentation's.
#[cfg(all(doctest, feature = "engine"))]
#[doc = include_str!("../README.md")]
mod readme {}
