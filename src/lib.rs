//! tillite

#[cfg(feature = "engine")]
mod access;
mod card;
#[cfg(feature = "engine")]
mod catalog;
#[cfg(feature = "engine")]
mod change;
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
pub mod sandbox;
#[cfg(feature = "engine")]
mod seal;
mod secret;
#[cfg(feature = "engine")]
mod session;
#[cfg(feature = "engine")]
mod store;
#[cfg(feature = "engine")]
mod text;
mod time;
pub mod webhook;
#[cfg(feature = "engine")]
mod wire;

pub use crate::error::{ECHO_LIMIT, Error, Invalid, Refused, Result, StorageError, StorageKind, WhatNow};
pub use crate::id::{
    ApiKeyId, AttemptId, ChargeId, CustomerId, DeliveryId, EndpointId, EntitlementId, EventId, GrantId, Mode,
    PaymentIntentId, PriceId, ProductId, SessionId,
};
pub use crate::money::{Amount, Currency};
pub use crate::secret::Secret;
pub use crate::time::{Interval, Timestamp, Unit};

#[cfg(feature = "engine")]
pub use crate::{
    access::{Actor, ApiKey, NewApiKey},
    catalog::{MAIN_LINE, NewPrice, NewProduct, Price, Product, Terms},
    customer::{Customer, NewCustomer},
    engine::{
        App, Ask, AskKind, Begun, Broken, Budget, Builder, Catalog, Customers, Endpoints, Engine, Entitlements, Expect,
        Health, JournalHead, Keys, NewPayment, Page, Payment, Ran, Report, Runner, Sessions, Work,
    },
    entitlement::{Entitlement, Grant, GrantSource, NewGrant, Status},
    event::{Event, EventKind},
    hook::{
        Action, Advice, Answer, Answered, Capabilities, Clock, Entropy, EntropyFailed, Initiator, Lookup, LookupKey,
        Operation, Outcome, Processor, Request, RequestLine, RouteInput, SignedRequest, SystemClock, SystemEntropy,
        Transport, TransportOutcome,
    },
    payment::{Charge, ChargeState, Failure, Hold, IntentStatus, PaymentIntent},
    session::{
        Completion, Dialect, ExpiredReason, GrantTerms, Line, NewLine, NewSession, Session, SessionState,
        SessionUpdate, Totals,
    },
    text::Metadata,
    webhook::{ClaimedDelivery, Delivery, DeliveryState},
};
