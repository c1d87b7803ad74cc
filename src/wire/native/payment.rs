use serde::Serialize;

use super::{maybe, time};
use crate::hook::Action;
use crate::id::ChargeId;
use crate::money::Amount;
use crate::payment::{Charge, Dispute, Failure, Followup, GrantEffect, Hold, PaymentIntent, Refund, RefundedLine};
use crate::text::Metadata;

#[derive(Serialize)]
pub(super) struct IntentBody<'a> {
    id: &'a str,
    session: &'a str,
    status: &'static str,
    amount: i64,
    currency: String,
    charges: usize,
    last_failure: Option<FailureBody<'a>>,
    created_at: String,
}

impl<'a> From<&'a PaymentIntent> for IntentBody<'a> {
    fn from(intent: &'a PaymentIntent) -> Self {
        IntentBody {
            id: intent.id.as_str(),
            session: intent.session.as_str(),
            status: intent.status().as_str(),
            amount: intent.amount.as_minor(),
            currency: intent.amount.currency().to_string(),
            charges: intent.charges.len(),
            last_failure: intent.last_failure().map(FailureBody::from),
            created_at: time(intent.created_at),
        }
    }
}

#[derive(Serialize)]
pub(super) struct FailureBody<'a> {
    code: &'a str,
    message: &'a str,
    advice: Option<&'static str>,
}

impl<'a> From<&'a Failure> for FailureBody<'a> {
    fn from(failure: &'a Failure) -> Self {
        FailureBody {
            code: &failure.code,
            message: &failure.message,
            advice: failure.advice.map(crate::hook::Advice::as_str),
        }
    }
}

#[derive(Serialize)]
pub(super) struct ChargeBody<'a> {
    id: &'a str,
    payment_intent: &'a str,
    session: &'a str,
    number: u32,
    processor: &'a str,
    status: &'static str,
    capture: &'static str,
    asked: Option<&'static str>,
    amount: i64,
    currency: String,
    authorized: i64,
    captured: i64,
    refunded: i64,
    refund_reserved: i64,
    lost: i64,
    comes_with: Option<&'a str>,
    fee: Option<i64>,
    reference: Option<&'a str>,
    failure: Option<FailureBody<'a>>,
    action: Option<&'a Action>,
    action_deadline: Option<String>,
    authorized_until: Option<String>,
    hold: Option<&'static str>,
    settles: bool,
    created_at: String,
    updated_at: String,
}

impl<'a> From<&'a Charge> for ChargeBody<'a> {
    fn from(charge: &'a Charge) -> Self {
        ChargeBody {
            id: charge.id.as_str(),
            payment_intent: charge.intent.as_str(),
            session: charge.session.as_str(),
            number: charge.number,
            processor: &charge.processor,
            status: charge.state.as_str(),
            capture: charge.capture.as_str(),
            asked: charge.asked.map(Followup::as_str),
            amount: charge.amount.as_minor(),
            currency: charge.amount.currency().to_string(),
            authorized: charge.authorized,
            captured: charge.captured,
            refunded: charge.refunded,
            refund_reserved: charge.refund_reserved,
            lost: charge.lost,
            comes_with: charge.comes_with.as_ref().map(ChargeId::as_str),
            fee: charge.fee.map(Amount::as_minor),
            reference: charge.reference.as_deref(),
            failure: charge.failure.as_ref().map(FailureBody::from),
            action: charge.action.as_ref(),
            action_deadline: maybe(charge.action_deadline),
            authorized_until: maybe(charge.authorized_until),
            hold: charge.hold.map(Hold::as_str),
            settles: charge.settles,
            created_at: time(charge.created_at),
            updated_at: time(charge.updated_at),
        }
    }
}

#[derive(Serialize)]
pub(super) struct RefundBody<'a> {
    id: &'a str,
    charge: &'a str,
    payment_intent: &'a str,
    session: &'a str,
    number: u32,
    processor: &'a str,
    status: &'static str,
    amount: i64,
    currency: String,
    source: &'static str,
    effect: Option<&'static str>,
    lines: Vec<RefundedLineBody>,
    reason: Option<&'a str>,
    reference: Option<&'a str>,
    failure: Option<FailureBody<'a>>,
    mismatched: bool,
    metadata: &'a Metadata,
    created_at: String,
    updated_at: String,
}

#[derive(Serialize)]
struct RefundedLineBody {
    position: usize,
    quantity: u32,
    amount: i64,
}

impl From<&RefundedLine> for RefundedLineBody {
    fn from(line: &RefundedLine) -> Self {
        RefundedLineBody {
            position: line.position,
            quantity: line.quantity,
            amount: line.amount,
        }
    }
}

impl<'a> From<&'a Refund> for RefundBody<'a> {
    fn from(refund: &'a Refund) -> Self {
        RefundBody {
            id: refund.id.as_str(),
            charge: refund.charge.as_str(),
            payment_intent: refund.intent.as_str(),
            session: refund.session.as_str(),
            number: refund.number,
            processor: &refund.processor,
            status: refund.state.as_str(),
            amount: refund.amount.as_minor(),
            currency: refund.amount.currency().to_string(),
            source: refund.source.as_str(),
            effect: refund.effect.map(GrantEffect::as_str),
            lines: refund.lines.iter().map(RefundedLineBody::from).collect(),
            reason: refund.reason.as_deref(),
            reference: refund.reference.as_deref(),
            failure: refund.failure.as_ref().map(FailureBody::from),
            mismatched: refund.mismatched,
            metadata: &refund.metadata,
            created_at: time(refund.created_at),
            updated_at: time(refund.updated_at),
        }
    }
}

#[derive(Serialize)]
pub(super) struct DisputeBody<'a> {
    id: &'a str,
    charge: &'a str,
    session: &'a str,
    processor: &'a str,
    reference: &'a str,
    status: &'static str,
    amount: i64,
    currency: String,
    reason: Option<&'a str>,
    created_at: String,
    updated_at: String,
}

impl<'a> From<&'a Dispute> for DisputeBody<'a> {
    fn from(dispute: &'a Dispute) -> Self {
        DisputeBody {
            id: dispute.id.as_str(),
            charge: dispute.charge.as_str(),
            session: dispute.session.as_str(),
            processor: &dispute.processor,
            reference: &dispute.reference,
            status: dispute.state.as_str(),
            amount: dispute.amount.as_minor(),
            currency: dispute.amount.currency().to_string(),
            reason: dispute.reason.as_deref(),
            created_at: time(dispute.created_at),
            updated_at: time(dispute.updated_at),
        }
    }
}
