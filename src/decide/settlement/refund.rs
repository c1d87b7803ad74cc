//! What was learned about a refund, its charge, and what the sale granted.

use super::{Case, Learned, Standing, count, dangling, failure, gap};
use crate::change::{Change, Setting};
use crate::decide::access;
use crate::entitlement::{Grant, GrantSource, Holding};
use crate::error::Error;
use crate::event::{EventKind, Happening, Subject};
use crate::payment::{Await, Charge, GrantEffect, News, Refund, RefundState};
use crate::session::Session;

/// After a refund of the engine's own was not sent for so many times in a row, somebody is told. It
/// goes on trying.
const TRIES_UNTIL_UNRESOLVED: u32 = 8;

/// An attempt to give money back, with everything that its outcome may move.
pub(crate) struct UnsettledRefund {
    pub(crate) case: Case,
    pub(crate) refund: Refund,
    pub(crate) session: Session,
    /// All refunds of the charge, this one included.
    pub(crate) refunds: Vec<Refund>,
    /// The beneficiary's holdings in the lines that the session's products belong to.
    pub(crate) holdings: Vec<Holding>,
}

/// Works a finding into a refund, its charge, and what the sale granted.
///
/// # Errors
/// Corrupt storage, if the attempt's refund is of no charge of its session.
pub(crate) fn settle_refund(
    found: UnsettledRefund,
    learned: &Learned<'_>,
    at: &mut Setting<'_>,
    change: &mut Change,
) -> Result<Refund, Error> {
    let UnsettledRefund {
        mut case,
        refund: before,
        session,
        refunds,
        holdings,
    } = found;
    let mut charges = session.payment_intent.iter().flat_map(|intent| &intent.charges);
    let mut charge = charges
        .find(|charge| charge.id == before.charge)
        .cloned()
        .ok_or_else(|| dangling(&case.attempt, "charge of its refund's session"))?;
    let Some(verdict) = case.weigh(learned, before.amount, at) else {
        return Ok(before);
    };

    let mut refund = before.clone();
    let mut refund_moves = Vec::new();
    let retried = verdict.is_not_sent() && before.is_automatic() && before.state.is_open();
    let news = verdict.event.filter(|_| !retried);
    let weighs = |news| !before.mismatched || news == News::Succeeded;
    // What was taken for over freed its amount. If that has gone back otherwise since, there is nothing
    // left of the charge that this could be booked on.
    let fits = before.state.is_open() || charge.refundable() >= before.amount.as_minor();
    let contradicts =
        news == Some(News::Succeeded) && matches!(before.state, RefundState::Failed | RefundState::Canceled);
    let moved = news.is_some_and(|news| weighs(news) && (!contradicts || fits) && refund.step(news, at.now).is_ok());
    if contradicts {
        refund_moves.push(Happening::plain(EventKind::RefundContradicted));
    }
    if let Some(news) = news.filter(|_| moved) {
        refund.mismatched = news == News::Mismatched;
        refund.failure = (refund.state == RefundState::Failed).then(|| failure(learned.finding));
        if verdict.reference.is_some() {
            refund.reference.clone_from(&verdict.reference);
        }
        let kind = match refund.state {
            RefundState::Failed => EventKind::RefundFailed,
            RefundState::Pending | RefundState::Unknown | RefundState::Succeeded | RefundState::Canceled => {
                EventKind::RefundUpdated
            }
        };
        refund_moves.push(Happening::moved(kind, before.state.as_str(), refund.state.as_str()));
    }
    let unresolved = if retried {
        // Nothing was sent, so the same bytes go out under the same key.
        case.attempt.asked = case.attempt.asked.saturating_add(1);
        case.attempt.next = Some((Await::Call, at.host_now.plus(gap(case.attempt.asked))));
        let stuck = case.attempt.asked >= TRIES_UNTIL_UNRESOLVED;
        stuck && !std::mem::replace(&mut case.attempt.unresolved, true)
    } else {
        let standing = match (refund.mismatched, refund.state.is_open()) {
            (true, _) => Standing::Held,
            (false, true) => Standing::Open,
            (false, false) => Standing::Settled,
        };
        case.schedule(standing, learned, &verdict, at.host_now)
    };
    if unresolved {
        refund_moves.push(Happening::plain(EventKind::RefundUnresolved));
    }
    case.note(verdict, moved, learned, at, change);
    let counted = count(&refund_moves);
    change.record_all(Subject::Refund(refund.clone()), refund_moves);
    refund.revision += counted;
    if book(&before, &refund, &mut charge) {
        charge.updated_at = at.now;
        let kind = match refund.state {
            RefundState::Succeeded => EventKind::ChargeRefunded,
            _ => EventKind::ChargeUpdated,
        };
        change.record(Subject::Charge(charge), [Happening::plain(kind)]);
    }
    if refund.state == RefundState::Succeeded && before.state != RefundState::Succeeded {
        take_back(&refund, &session, &refunds, holdings, at, change);
    }
    Ok(refund)
}

/// Moves the amount between what is reserved and what was given back. False if it stays where it is.
fn book(before: &Refund, after: &Refund, charge: &mut Charge) -> bool {
    let amount = after.amount.as_minor();
    let reserved = |refund: &Refund| match refund.state.is_open() {
        // A refund of which nobody knows what came holds on to its amount all the same.
        true if planted!(UnknownRefundFrees) && refund.state == RefundState::Unknown => 0,
        true => amount,
        false => 0,
    };
    let given_back = |refund: &Refund| match refund.state {
        RefundState::Succeeded => amount,
        _ => 0,
    };
    let (reserve, refunded) = (
        reserved(after) - reserved(before),
        given_back(after) - given_back(before),
    );
    charge.refund_reserved += reserve;
    charge.refunded += refunded;
    (reserve, refunded) != (0, 0)
}

/// Takes back what the sale granted, as the refund says: of the lines that it names those of which no
/// unit is left, or of all.
fn take_back(
    refund: &Refund,
    session: &Session,
    refunds: &[Refund],
    holdings: Vec<Holding>,
    at: &Setting<'_>,
    change: &mut Change,
) {
    if refund.effect == GrantEffect::Keep {
        return;
    }
    let gone: Vec<GrantSource> = (0..session.lines.len())
        .filter(|position| refund.lines.is_empty() || is_used_up(*position, refund, session, refunds))
        .map(|position| GrantSource::of_line(&session.id, position))
        .collect();
    let falls = |grant: &Grant| {
        gone.contains(&grant.source) && (refund.effect == GrantEffect::Revoke || grant.ends_at.is_none())
    };
    for mut holding in holdings {
        if holding.grants.iter().any(falls) {
            access::revoke(&mut holding, falls, "refunded", at, change);
        }
    }
}

/// Whether every unit of a line has gone back, and this refund has to do with it.
fn is_used_up(position: usize, refund: &Refund, session: &Session, refunds: &[Refund]) -> bool {
    let others = refunds
        .iter()
        .filter(|other| other.id != refund.id && other.state == RefundState::Succeeded);
    let units = |refund: &Refund| -> u64 {
        let parts = refund.lines.iter().filter(|part| part.position == position);
        parts.map(|part| u64::from(part.quantity)).sum()
    };
    let own = units(refund);
    let gone = own + others.map(units).sum::<u64>();
    own > 0
        && session
            .lines
            .get(position)
            .is_some_and(|line| gone >= u64::from(line.quantity))
}
