//! What the unit tests have in common: a shop that sells one tier in euros on the first day of
//! 2026, and the checks that more than one of them makes.

use std::fmt::Debug;

use crate::customer::Customer;
use crate::entitlement::{Grant, GrantSource};
use crate::error::{Error, Refused};
use crate::id::{Id, Mint, Mode};
use crate::money::{Amount, Currency};
use crate::payment::{
    CaptureMethod, Charge, ChargeState, Dispute, DisputeState, Failure, GrantEffect, MethodState, PaymentIntent,
    PaymentMethod, Refund, RefundSource, RefundState, RefundedLine, Setup, SetupState,
};
use crate::session::{Completion, Dialect, GrantTerms, Line, Session, SessionState, Totals};
use crate::text::Metadata;
use crate::time::Timestamp;

/// So many seconds after the start of 2026.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_767_225_600_000 + seconds * 1_000).unwrap()
}

pub(crate) fn mint(seed: u8) -> Mint {
    Mint::new([seed; 32], at(0))
}

/// The first id of a mint: equal for equal seeds.
pub(crate) fn id<T: Id>(seed: u8) -> T {
    mint(seed).id(Mode::Test)
}

pub(crate) fn eur(minor: i64) -> Amount {
    Amount::minor(minor, Currency::EUR).unwrap()
}

pub(crate) fn metadata() -> Metadata {
    Metadata::new([("order", "4711"), ("10", "ten"), ("9", "nine")]).unwrap()
}

pub(crate) fn customer() -> Customer {
    Customer {
        id: id(1),
        uid: Some("u_1".to_owned()),
        name: Some("Ada \"Countess\" Lovelace".to_owned()),
        email: Some("ada@example.com".to_owned()),
        phone: None,
        metadata: metadata(),
        created_at: at(0),
        updated_at: at(60),
        deleted_at: None,
        revision: 0,
    }
}

/// A payment method of [`customer`].
pub(crate) fn method() -> PaymentMethod {
    PaymentMethod {
        id: id(13),
        customer: id(1),
        processor: "main".to_owned(),
        token: "pm_tok_1".to_owned(),
        brand: Some("visa".to_owned()),
        last4: Some("4242".to_owned()),
        expiry: Some((2, 2027)),
        state: MethodState::Attached,
        attempt: id(14),
        created_at: at(60),
        updated_at: at(60),
        detached_at: None,
        revision: 1,
    }
}

/// The first setup of [`customer`], in a state.
pub(crate) fn setup(state: SetupState) -> Setup {
    Setup {
        id: id(16),
        customer: id(1),
        number: 1,
        processor: "main".to_owned(),
        currency: Currency::EUR,
        state,
        method: None,
        reference: None,
        failure: (state == SetupState::Failed).then(failed),
        action: None,
        action_deadline: None,
        mismatched: false,
        created_at: at(60),
        updated_at: at(60),
        revision: 1,
    }
}

/// A line that sells a tier for a month.
pub(crate) fn line(tier: &str, unit_amount: i64) -> Line {
    Line {
        price: Some(id(2)),
        product: Some(id(3)),
        name: "Member’s area".to_owned(),
        quantity: 1,
        unit_amount,
        totals: sums(unit_amount),
        grants: Some(GrantTerms {
            tier: tier.to_owned(),
            line: "main".to_owned(),
            rank: 1,
            days: Some(30),
        }),
    }
}

/// Totals without discount and tax.
pub(crate) fn sums(total: i64) -> Totals {
    Totals {
        subtotal: total,
        discount: 0,
        tax: 0,
        total,
    }
}

/// An open session for one month of `member` at 9.99 EUR, to be paid within a day.
pub(crate) fn session() -> Session {
    let mut session = Session {
        id: id(4),
        dialect: Dialect::Native,
        state: SessionState::Open,
        customer: Some(customer()),
        for_uid: Some("u_1".to_owned()),
        email: Some("receipts@example.com".to_owned()),
        currency: Some(Currency::EUR),
        exponent: 2,
        totals: sums(999),
        lines: vec![line("member", 999)],
        completion: Completion::Redirect("https://shop.example/thanks?s={CHECKOUT_SESSION_ID}".to_owned()),
        cancel_url: Some("https://shop.example/cart".to_owned()),
        capture: CaptureMethod::Automatic,
        url: Some("https://pay.shop.example/c/cs_test_1".to_owned()),
        order_key: None,
        metadata: metadata(),
        payment_intent: None,
        created_at: at(0),
        updated_at: at(0),
        expires_at: at(86_400),
        completed_at: None,
        public_url: Some("https://pay.shop.example".to_owned()),
        snapshot: [0; 32],
        revision: 1,
    };
    session.snapshot = session.snapshot_of();
    session
}

/// A session of which nothing is sold yet.
pub(crate) fn session_without_lines() -> Session {
    Session {
        currency: None,
        totals: Totals::default(),
        lines: Vec::new(),
        ..session()
    }
}

/// The first charge of [`session`], in a state.
pub(crate) fn charge(state: ChargeState) -> Charge {
    Charge {
        id: id(5),
        intent: id(6),
        session: id(4),
        number: 1,
        processor: "main".to_owned(),
        state,
        capture: CaptureMethod::Automatic,
        asked: None,
        amount: eur(999),
        authorized: 0,
        captured: 0,
        refunded: 0,
        refund_reserved: 0,
        lost: 0,
        comes_with: None,
        fee: None,
        reference: None,
        failure: (state == ChargeState::Failed).then(failed),
        action: None,
        action_deadline: None,
        authorized_until: None,
        hold: None,
        hold_closed: false,
        settles: false,
        created_at: at(60),
        updated_at: at(60),
        revision: 1,
    }
}

/// A dispute about [`charge`], over more than that took, in a state.
pub(crate) fn dispute(state: DisputeState) -> Dispute {
    Dispute {
        id: id(10),
        charge: id(5),
        number: 1,
        session: id(4),
        processor: "main".to_owned(),
        reference: "dp_1".to_owned(),
        state,
        amount: eur(1_100),
        reason: Some("fraudulent".to_owned()),
        created_at: at(60),
        updated_at: at(90),
        revision: 1,
    }
}

/// The first refund of [`charge`], of 3.33 for one unit of the only line, in a state.
pub(crate) fn refund(state: RefundState) -> Refund {
    Refund {
        id: id(9),
        charge: id(5),
        intent: id(6),
        session: id(4),
        number: 1,
        processor: "main".to_owned(),
        amount: eur(333),
        state,
        source: RefundSource::Requested,
        effect: Some(GrantEffect::Revoke),
        lines: vec![RefundedLine {
            position: 0,
            quantity: 1,
            amount: 333,
        }],
        reason: Some("the <wrong> \"size\"".to_owned()),
        metadata: metadata(),
        reference: None,
        failure: (state == RefundState::Failed).then(failed),
        mismatched: false,
        created_at: at(60),
        updated_at: at(90),
        revision: 1,
    }
}

fn failed() -> Failure {
    Failure {
        code: "card_declined".to_owned(),
        message: "The card was declined.".to_owned(),
        advice: Some(crate::hook::Advice::OtherMethod),
    }
}

/// The payment intent of [`session`] with these charges.
pub(crate) fn intent(charges: Vec<Charge>) -> PaymentIntent {
    PaymentIntent {
        id: id(6),
        session: id(4),
        amount: eur(999),
        charges,
        created_at: at(60),
        canceled_at: None,
        revision: 1,
    }
}

/// A grant from one second on, up to another one or for ever.
pub(crate) fn grant(seed: u8, tier: &str, rank: i32, starts: i64, ends: Option<i64>) -> Grant {
    Grant {
        number: u32::from(seed),
        id: id(seed),
        source: GrantSource::Manual,
        tier: tier.to_owned(),
        rank,
        quantity: 1,
        limits: Metadata::default(),
        starts_at: at(starts),
        ends_at: ends.map(at),
        revoked_at: None,
        revoke_reason: None,
        created_at: at(starts),
        entitlement: id(7),
        revision: 1,
    }
}

/// Checks a state machine over every state and event: what is listed moves so, all else is refused
/// in the given words.
pub(crate) fn check_machine<S, E>(
    states: &[S],
    events: &[E],
    listed: &[(S, E, S)],
    next: impl Fn(S, E) -> Result<S, Refused>,
    refused: impl Fn(S, E) -> Refused,
) where
    S: Copy + Debug + PartialEq,
    E: Copy + Debug + PartialEq,
{
    for state in states.iter().copied() {
        for event in events.iter().copied() {
            let expected = listed.iter().find(|(from, on, _)| (*from, *on) == (state, event));
            let expected = expected.map(|(_, _, to)| *to).ok_or_else(|| refused(state, event));
            assert_eq!(next(state, event), expected, "{state:?} {event:?}");
        }
    }
}

/// Checks that what is asked for is accepted, or refused naming the field.
pub(crate) fn check_refusal<T: Debug>(asked: &Result<T, Error>, refused: Option<&str>, what: &str) {
    match (asked, refused) {
        (Ok(_), None) => {}
        (Err(error), Some(field)) => assert_eq!(error.field(), Some(field), "{what}: {error}"),
        (found, expected) => panic!("{what}: {found:?}, expected a refusal of {expected:?}"),
    }
}
