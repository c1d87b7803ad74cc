//! Where evidence moves a charge, with its intent, its session and what a sale grants.

use super::{count, dangling};
use crate::change::{Change, Setting};
use crate::decide::access;
use crate::decide::refunding::{self, Given, Intended, Wish};
use crate::entitlement::{GrantSource, Holding, start_after_latest};
use crate::error::Error;
use crate::event::{EventKind, Happening, Subject};
use crate::payment::{
    Attempt, Await, Charge, ChargeState, GrantEffect, Hold, IntentStatus, LatePayments, PaymentIntent, RefundSource,
    Share,
};
use crate::session::{ExpiredReason, Session, SessionEvent, SessionState};
use crate::text::Metadata;
use crate::time::{Timestamp, days};

/// A charge on its way, and what happens to it and to its session there.
pub(super) struct Progress {
    /// Without its intent.
    pub(super) session: Session,
    pub(super) intent: PaymentIntent,
    /// The charge as it was.
    pub(super) before: Charge,
    pub(super) charge: Charge,
    pub(super) charge_moves: Vec<Happening>,
    pub(super) session_moves: Vec<Happening>,
}

/// What is moved beside the charge when its money arrives.
pub(super) struct Beside<'a> {
    /// The beneficiary's holdings in the lines that the session's products belong to.
    pub(super) holdings: Vec<Holding>,
    pub(super) late_payments: LatePayments,
    /// The attempt that the charge was made by.
    pub(super) made_by: &'a Attempt,
    /// Whether a completed session grants what it sells.
    pub(super) grants: bool,
}

impl Progress {
    /// The charge that an attempt is about.
    pub(super) fn of(session: Session, attempt: &Attempt) -> Result<Progress, Error> {
        Progress::on(session, attempt, &attempt.subject)
    }

    /// The charge of that id, which may be another that came with what an attempt is about.
    pub(super) fn on(mut session: Session, attempt: &Attempt, charge: &str) -> Result<Progress, Error> {
        let intent = session.payment_intent.take();
        let intent = intent.ok_or_else(|| dangling(attempt, "charge of its session"))?;
        let mut charges = intent.charges.iter();
        let before = charges.find(|known| known.id.as_str() == charge).cloned();
        let before = before.ok_or_else(|| dangling(attempt, "charge of its session"))?;
        Ok(Progress {
            session,
            intent,
            charge: before.clone(),
            before,
            charge_moves: Vec::new(),
            session_moves: Vec::new(),
        })
    }

    /// The session, of which nothing has moved.
    pub(super) fn unmoved(self) -> Session {
        Session {
            payment_intent: Some(self.intent),
            ..self.session
        }
    }

    /// Lets an amount that arrived settle the session, or holds it where it cannot.
    pub(super) fn place_money(&mut self, captured: i64, now: Timestamp) -> Result<(), Error> {
        self.charge.captured = captured;
        self.charge.authorized = 0;
        self.charge.authorized_until = None;
        if self.before.state.is_live() && self.session.state == SessionState::Processing {
            self.charge.settles = true;
            return self.move_session(SessionEvent::Paid, EventKind::SessionCompleted, now);
        }
        let settled = self.intent.charges.iter().any(|other| other.settles);
        self.charge.hold = Some(if settled { Hold::Surplus } else { Hold::Late });
        self.session_moves.push(Happening::plain(EventKind::SessionLatePayment));
        Ok(())
    }

    /// Lets the session be paid again, or closes it if its time passed while the payment was in flight.
    pub(super) fn reopen(&mut self, now: Timestamp) -> Result<(), Error> {
        self.move_session(SessionEvent::PaymentFailed, EventKind::PaymentFailed, now)?;
        if self.session.is_overdue(now) {
            let closed = SessionEvent::Expire(ExpiredReason::Timeout);
            self.move_session(closed, EventKind::SessionExpired, now)?;
        }
        Ok(())
    }

    /// Closes the session: the host has given up what was held for it.
    pub(super) fn close(&mut self, now: Timestamp) -> Result<(), Error> {
        self.intent.canceled_at = Some(now);
        self.move_session(SessionEvent::Voided, EventKind::SessionExpired, now)
    }

    fn move_session(&mut self, event: SessionEvent, kind: EventKind, now: Timestamp) -> Result<(), Error> {
        let from = self.session.state.as_str();
        self.session.step(event, now)?;
        self.session_moves
            .push(Happening::moved(kind, from, self.session.state.as_str()));
        Ok(())
    }

    /// Records what has moved.
    pub(super) fn record(
        self,
        beside: Beside<'_>,
        at: &mut Setting<'_>,
        change: &mut Change,
    ) -> Result<Session, Error> {
        let arrived = self.charge.state == ChargeState::Succeeded && self.before.state != ChargeState::Succeeded;
        let refund = match beside.late_payments {
            LatePayments::Refund if arrived => send_back(&self.charge, &self.session, beside.made_by, at)?,
            LatePayments::Refund | LatePayments::Hold => None,
        };
        let Progress {
            mut session,
            mut intent,
            mut charge,
            charge_moves,
            session_moves,
            ..
        } = self;
        if let Some(refund) = &refund {
            charge = refund.charge.clone();
        }
        let counted = count(&charge_moves);
        change.record_all(Subject::Charge(charge.clone()), charge_moves);
        charge.revision += counted;
        if let Some(refund) = refund {
            refund.record(change);
        }
        let status_before = PaymentIntent {
            canceled_at: None,
            ..intent.clone()
        }
        .status();
        intent.put(charge);
        let intent_moves: Vec<Happening> = intent_move(status_before, intent.status()).into_iter().collect();
        let counted = count(&intent_moves);
        change.record_all(Subject::PaymentIntent(intent.clone()), intent_moves);
        intent.revision += counted;
        session.payment_intent = Some(intent);
        let completed = session_moves
            .iter()
            .any(|moved| moved.kind == EventKind::SessionCompleted);
        let counted = count(&session_moves);
        change.record_all(Subject::Session(Box::new(session.clone())), session_moves);
        session.revision += counted;
        if completed && beside.grants {
            grant_lines(&session, beside.holdings, at, change);
        }
        Ok(session)
    }
}

/// The refund of what settled nothing.
fn send_back(
    charge: &Charge,
    session: &Session,
    made_by: &Attempt,
    at: &mut Setting<'_>,
) -> Result<Option<Intended>, Error> {
    let source = match charge.hold {
        Some(Hold::Late) => RefundSource::Late,
        Some(Hold::Surplus) => RefundSource::Surplus,
        // It counts as taken once somebody has decided that it goes back.
        Some(Hold::Mismatch) => RefundSource::Mismatch,
        None => return Ok(None),
    };
    let given = Given {
        session,
        charge: charge.clone(),
        made_by,
        refunds: &[],
    };
    let wish = Wish {
        share: Share::Rest,
        source,
        // What was granted was paid for by something else, if at all.
        effect: Some(GrantEffect::Keep),
        reason: None,
        metadata: Metadata::default(),
    };
    refunding::intend(given, wish, (Await::Call, at.host_now), at).map(Some)
}

/// Grants what a completed session's lines sell, to its beneficiary.
pub(crate) fn grant_lines(session: &Session, mut holdings: Vec<Holding>, at: &mut Setting<'_>, change: &mut Change) {
    let Some(uid) = &session.for_uid else {
        return;
    };
    for (position, line) in session.lines.iter().enumerate() {
        let Some(sold) = &line.grants else {
            continue;
        };
        let known = holdings.iter().position(|holding| holding.line == sold.line);
        let holding = if let Some(known) = known {
            &mut holdings[known]
        } else {
            holdings.push(Holding::empty(at.id(), uid, &sold.line, at.now));
            let last = holdings.len() - 1;
            &mut holdings[last]
        };
        let starts_at = start_after_latest(&holding.grants, &sold.tier, at.now);
        let terms = access::Terms {
            source: GrantSource::of_line(&session.id, position),
            tier: sold.tier.clone(),
            rank: sold.rank,
            quantity: line.quantity,
            limits: Metadata::default(),
            starts_at,
            ends_at: sold.days.map(|count| starts_at.plus(days(count))),
        };
        access::grant(holding, terms, at, change);
    }
}

fn intent_move(before: IntentStatus, after: IntentStatus) -> Option<Happening> {
    if before == after {
        return None;
    }
    let kind = match after {
        IntentStatus::Succeeded => EventKind::IntentSucceeded,
        IntentStatus::RequiresAction => EventKind::IntentRequiresAction,
        IntentStatus::RequiresCapture => EventKind::IntentCapturable,
        IntentStatus::RequiresPaymentMethod => EventKind::IntentPaymentFailed,
        IntentStatus::Processing => EventKind::IntentProcessing,
        IntentStatus::Canceled => EventKind::IntentCanceled,
    };
    Some(Happening::moved(kind, before.as_str(), after.as_str()))
}
