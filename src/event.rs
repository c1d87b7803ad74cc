//! What happened: one kind per thing that can happen, and the object that it happened to.
//!
//! An event is written in the transaction that changes its object. It is at once the object's
//! history (what moved, why, on whose behalf) and the source of every webhook body.

use crate::access::ApiKey;
use crate::catalog::{Price, Product};
use crate::customer::Customer;
use crate::entitlement::{Grant, Version};
use crate::id::EntitlementId;
use crate::payment::{Charge, Dispute, PaymentIntent, PaymentMethod, Refund, Setup};
use crate::session::Session;
use crate::webhook::Endpoint;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// The engine's own names of what happens.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum EventKind {
            $($(#[$doc])* $name,)*
        }

        impl EventKind {
            /// Every kind.
            pub const ALL: &'static [EventKind] = &[$(EventKind::$name,)*];

            /// The kind's name, such as `checkout.session.completed`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(EventKind::$name => $text,)*
                }
            }
        }
    };
}

kinds! {
    /// A product was put on sale.
    ProductCreated = "product.created",
    /// A product's name, description, line or rank changed.
    ProductUpdated = "product.updated",
    /// A price was put on sale.
    PriceCreated = "price.created",
    /// A price is no longer on sale.
    PriceArchived = "price.archived",
    /// A customer was made.
    CustomerCreated = "customer.created",
    /// A customer's details changed.
    CustomerUpdated = "customer.updated",
    /// A customer was deleted; what was paid still names it.
    CustomerDeleted = "customer.deleted",
    /// A payment method was saved for a customer, or what is known of one that is changed.
    MethodAttached = "payment_method.attached",
    /// A payment method was detached from its customer; it is charged no more.
    MethodDetached = "payment_method.detached",
    /// A setup was committed; its processor is being asked.
    SetupCreated = "setup.created",
    /// Something was learned about a setup.
    SetupUpdated = "setup.updated",
    /// The buyer must do something before a setup goes on.
    SetupRequiresAction = "setup.requires_action",
    /// A payment method was saved without taking money.
    SetupSucceeded = "setup.succeeded",
    /// A setup failed for certain.
    SetupFailed = "setup.failed",
    /// A setup was called off.
    SetupCanceled = "setup.canceled",
    /// Nobody can tell what came of a setup, or it brought no method; somebody has to look.
    SetupUnresolved = "setup.unresolved",
    /// A checkout session was made.
    SessionCreated = "checkout.session.created",
    /// An open session's lines, metadata or URLs changed.
    SessionUpdated = "checkout.session.updated",
    /// A payment of the session is in flight.
    SessionProcessing = "checkout.session.processing",
    /// The session was paid, or there was nothing to pay.
    SessionCompleted = "checkout.session.completed",
    /// The session can no longer be paid.
    SessionExpired = "checkout.session.expired",
    /// Money arrived that the session could not take; it is held.
    SessionLatePayment = "checkout.session.late_payment",
    /// A payment of the session failed; it can be paid again.
    PaymentFailed = "checkout.payment.failed",
    /// A payment intent was made for the first attempt.
    IntentCreated = "payment_intent.created",
    /// A charge of the intent is in flight.
    IntentProcessing = "payment_intent.processing",
    /// The buyer must do something.
    IntentRequiresAction = "payment_intent.requires_action",
    /// An amount is held and can be captured.
    IntentCapturable = "payment_intent.amount_capturable_updated",
    /// The amount was collected.
    IntentSucceeded = "payment_intent.succeeded",
    /// The amount will not be collected: what was held was given free.
    IntentCanceled = "payment_intent.canceled",
    /// The newest charge failed.
    IntentPaymentFailed = "payment_intent.payment_failed",
    /// A charge was committed; its processor is being asked.
    ChargeInitiated = "charge.initiated",
    /// Nobody knows what came of a charge.
    ChargeUnknown = "charge.unknown",
    /// The processor accepted a charge and will know later.
    ChargePending = "charge.pending",
    /// The buyer must do something before a charge goes on.
    ChargeRequiresAction = "charge.requires_action",
    /// A charge's amount is held, not taken.
    ChargeAuthorized = "charge.authorized",
    /// A charge's amount was taken.
    ChargeSucceeded = "charge.succeeded",
    /// What was held was taken, or a part of it.
    ChargeCaptured = "charge.captured",
    /// A charge failed for certain.
    ChargeFailed = "charge.failed",
    /// A charge that had failed turned out to have taken the amount; or the service took money for one that is
    /// booked nowhere.
    ChargeContradicted = "charge.contradicted",
    /// A charge took another amount or currency than was asked; it is held.
    ChargeMismatch = "charge.mismatch",
    /// Look-ups cannot tell what came of a charge; somebody has to look.
    ChargeUnresolved = "charge.unresolved",
    /// A charge's authorisation was given free.
    ChargeVoided = "charge.voided",
    /// What of a charge is reserved for refunds changed, or what is asked about what it holds.
    ChargeUpdated = "charge.updated",
    /// Money of a charge went back.
    ChargeRefunded = "charge.refunded",
    /// A refund was committed; its processor is being asked, or will be.
    RefundCreated = "refund.created",
    /// Something was learned about a refund.
    RefundUpdated = "refund.updated",
    /// A refund failed for certain.
    RefundFailed = "refund.failed",
    /// A refund that had failed turned out to have gone through; or the service gave back for one what is not
    /// booked so.
    RefundContradicted = "refund.contradicted",
    /// Nobody can tell what came of a refund, or it does not get through; somebody has to look.
    RefundUnresolved = "refund.unresolved",
    /// A buyer disputes a charge with their bank.
    DisputeCreated = "dispute.created",
    /// A dispute was decided for the host, perhaps after it was lost: then what was taken back with it stays
    /// taken back until the host grants it again.
    DisputeWon = "dispute.won",
    /// A dispute was decided for the buyer: its amount is gone.
    DisputeLost = "dispute.lost",
    /// Something was granted.
    GrantCreated = "grant.created",
    /// A grant was taken back.
    GrantRevoked = "grant.revoked",
    /// An entitlement came into force.
    EntitlementGranted = "entitlement.granted",
    /// An entitlement in force changed.
    EntitlementUpdated = "entitlement.updated",
    /// An entitlement's time passed.
    EntitlementExpired = "entitlement.expired",
    /// An entitlement was taken back.
    EntitlementRevoked = "entitlement.revoked",
    /// A webhook endpoint was added.
    EndpointCreated = "endpoint.created",
    /// An endpoint's URL changed, or the events that it wants; like all of its own, not sent to the endpoint itself.
    EndpointUpdated = "endpoint.updated",
    /// An endpoint was switched off: it gets nothing of what happens meanwhile.
    EndpointDisabled = "endpoint.disabled",
    /// An endpoint was switched on again.
    EndpointEnabled = "endpoint.enabled",
    /// An endpoint was deleted, its secrets with it.
    EndpointDeleted = "endpoint.deleted",
    /// An endpoint got another signing secret; not sent to the endpoint itself.
    EndpointSecretRotated = "endpoint.secret_rotated",
    /// An endpoint had failed for as long as it may: its deliveries wait until it is enabled again. Not sent to
    /// the endpoint itself.
    EndpointSuspended = "endpoint.suspended",
    /// Somebody asked for a test event; it goes to that endpoint alone, whatever it wants.
    EndpointPing = "endpoint.ping",
    /// An API key was made.
    ApiKeyCreated = "api_key.created",
    /// An API key was revoked.
    ApiKeyRevoked = "api_key.revoked",
}

impl EventKind {
    /// The kind of a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<EventKind> {
        EventKind::ALL.iter().copied().find(|kind| kind.as_str() == name)
    }
}

/// One thing that happened to an object: its kind and the object's state before and after, where
/// it has states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Happening {
    pub(crate) kind: EventKind,
    pub(crate) from: Option<&'static str>,
    pub(crate) to: Option<&'static str>,
}

impl Happening {
    /// Something that moves no state machine.
    pub(crate) fn plain(kind: EventKind) -> Happening {
        Happening {
            kind,
            from: None,
            to: None,
        }
    }

    /// A move of a state machine.
    pub(crate) fn moved(kind: EventKind, from: &'static str, to: &'static str) -> Happening {
        Happening {
            kind,
            from: Some(from),
            to: Some(to),
        }
    }

    /// The creation of an object in a state.
    pub(crate) fn created(kind: EventKind, to: &'static str) -> Happening {
        Happening {
            kind,
            from: None,
            to: Some(to),
        }
    }
}

/// The object that something happened to, as it is afterwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Product(Product),
    Price(Price),
    Customer(Customer),
    PaymentMethod(PaymentMethod),
    Setup(Setup),
    Session(Box<Session>),
    PaymentIntent(PaymentIntent),
    Charge(Charge),
    Refund(Refund),
    Dispute(Dispute),
    Grant(Grant),
    Entitlement(Box<Step>),
    Endpoint(Endpoint),
    ApiKey(ApiKey),
}

/// One version of an entitlement on its way into the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) id: EntitlementId,
    pub(crate) app: String,
    pub(crate) uid: String,
    pub(crate) line: String,
    pub(crate) version: Version,
}

impl Subject {
    /// The object's id.
    pub(crate) fn id(&self) -> &str {
        match self {
            Subject::Product(product) => product.id.as_str(),
            Subject::Price(price) => price.id.as_str(),
            Subject::Customer(customer) => customer.id.as_str(),
            Subject::PaymentMethod(method) => method.id.as_str(),
            Subject::Setup(setup) => setup.id.as_str(),
            Subject::Session(session) => session.id.as_str(),
            Subject::PaymentIntent(intent) => intent.id.as_str(),
            Subject::Charge(charge) => charge.id.as_str(),
            Subject::Refund(refund) => refund.id.as_str(),
            Subject::Dispute(dispute) => dispute.id.as_str(),
            Subject::Grant(grant) => grant.id.as_str(),
            Subject::Entitlement(step) => step.id.as_str(),
            Subject::Endpoint(endpoint) => endpoint.id.as_str(),
            Subject::ApiKey(key) => key.id.as_str(),
        }
    }

    /// Events about the object so far, these included.
    pub(crate) fn revision(&self) -> i64 {
        match self {
            Subject::Product(product) => product.revision,
            Subject::Price(price) => price.revision,
            Subject::Customer(customer) => customer.revision,
            Subject::PaymentMethod(method) => method.revision,
            Subject::Setup(setup) => setup.revision,
            Subject::Session(session) => session.revision,
            Subject::PaymentIntent(intent) => intent.revision,
            Subject::Charge(charge) => charge.revision,
            Subject::Refund(refund) => refund.revision,
            Subject::Dispute(dispute) => dispute.revision,
            Subject::Grant(grant) => grant.revision,
            Subject::Entitlement(step) => step.version.number,
            Subject::Endpoint(endpoint) => endpoint.revision,
            Subject::ApiKey(key) => key.revision,
        }
    }

    /// Counts events in. An entitlement's version counts them already: each has exactly one.
    pub(crate) fn count(&mut self, events: i64) {
        match self {
            Subject::Product(product) => product.revision += events,
            Subject::Price(price) => price.revision += events,
            Subject::Customer(customer) => customer.revision += events,
            Subject::PaymentMethod(method) => method.revision += events,
            Subject::Setup(setup) => setup.revision += events,
            Subject::Session(session) => session.revision += events,
            Subject::PaymentIntent(intent) => intent.revision += events,
            Subject::Charge(charge) => charge.revision += events,
            Subject::Refund(refund) => refund.revision += events,
            Subject::Dispute(dispute) => dispute.revision += events,
            Subject::Grant(grant) => grant.revision += events,
            Subject::Entitlement(_) => {}
            Subject::Endpoint(endpoint) => endpoint.revision += events,
            Subject::ApiKey(key) => key.revision += events,
        }
    }

    /// The customer whose personal data the object may hold.
    pub(crate) fn customer(&self) -> Option<&str> {
        match self {
            Subject::Customer(customer) => Some(customer.id.as_str()),
            Subject::PaymentMethod(method) => Some(method.customer.as_str()),
            Subject::Setup(setup) => Some(setup.customer.as_str()),
            Subject::Session(session) => session.customer.as_ref().map(|payer| payer.id.as_str()),
            _ => None,
        }
    }
}

/// An event as hosts read it: one line of an object's history.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// Its position among all events of its app and mode: 1, 2, 3 … in commit order.
    pub position: i64,
    /// The event's id.
    pub id: crate::id::EventId,
    /// What happened, in the engine's own words; see [`EventKind`].
    pub kind: String,
    /// The object that it happened to.
    pub object_id: String,
    /// Its place among the events about that object: 1, 2, 3 …
    pub sequence: i64,
    /// The object's state before, if it has states and existed.
    pub from: Option<String>,
    /// The object's state after, if it has states.
    pub to: Option<String>,
    /// What was being done.
    pub cause: String,
    /// On whose behalf.
    pub actor: String,
    /// Engine time.
    pub created_at: crate::time::Timestamp,
    /// The object after the event, as JSON; none if it was erased.
    pub body: Option<String>,
}
