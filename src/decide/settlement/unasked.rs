//! What happened at the service that nobody here asked for: a refund that was made there, a dispute.

use super::refund::take_back;
use crate::change::{Change, Setting};
use crate::decide::access;
use crate::entitlement::{Grant, GrantSource, Holding};
use crate::event::{EventKind, Happening, Subject};
use crate::hook::DisputeState;
use crate::id::RefundId;
use crate::money::Amount;
use crate::payment::{
    Charge, ChargeState, Dispute, MAX_DISPUTES, MAX_REFUNDS, Refund, RefundSource, RefundState, lost_to,
};
use crate::session::Session;
use crate::text::Metadata;

/// A charge with everything that may move with it.
pub(crate) struct Concerned {
    pub(crate) charge: Charge,
    pub(crate) session: Session,
    /// The beneficiary's holdings in the lines that the session's products belong to.
    pub(crate) holdings: Vec<Holding>,
}

/// A refund that somebody made at the service.
pub(crate) struct MadeThere {
    /// The service's own name for it; empty where it gave none that is kept.
    pub(crate) reference: String,
    pub(crate) amount: Amount,
    pub(crate) reason: Option<String>,
    /// The refunds of the charge to which the service gave no name.
    pub(crate) unnamed: Vec<RefundId>,
}

/// What comes of something that happened at the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Booked {
    /// It is written down, or was before.
    Done,
    /// It is a refund that was asked for here: evidence for that one.
    Ours(RefundId),
    /// It cannot be told yet; why.
    Later(&'static str),
    /// It cannot be written down, so somebody has to look; why.
    Held(&'static str),
}

/// What there is to say of a charge that has not taken its amount.
fn not_taken(charge: &Charge) -> Option<Booked> {
    match charge.state {
        ChargeState::Succeeded => None,
        state if state.is_live() => Some(Booked::Later("the charge's own outcome is not known yet")),
        _ => Some(Booked::Held("the charge took nothing, as far as is known here")),
    }
}

/// Books a refund that was made at the service.
pub(crate) fn refund_made_there(
    on: Concerned,
    made: MadeThere,
    refunds: &[Refund],
    at: &mut Setting<'_>,
    change: &mut Change,
) -> Booked {
    let Concerned {
        mut charge,
        session,
        holdings,
    } = on;
    let MadeThere {
        reference,
        amount,
        reason,
        unnamed,
    } = made;
    if reference.is_empty() {
        return Booked::Held("the service's name for the refund cannot be kept");
    }
    let known = refunds
        .iter()
        .find(|refund| refund.reference.as_ref() == Some(&reference));
    // One of ours that came through without a name, or under one that only a person gave, is told from it by its
    // amount only.
    let nameless = |refund: &&Refund| {
        unnamed.contains(&refund.id) && refund.state == RefundState::Succeeded && refund.amount == amount
    };
    match known.or_else(|| refunds.iter().find(nameless)) {
        Some(known) if known.source == RefundSource::Processor => return Booked::Done,
        Some(known) => return Booked::Ours(known.id.clone()),
        None => {}
    }
    // One of ours of which nobody knows what came may be this one.
    let in_doubt = |refund: &Refund| refund.reference.is_none() && refund.state.is_open();
    if refunds.iter().any(in_doubt) && !planted!(RefundCountedTwice) {
        return Booked::Later("a refund of the same charge is in doubt, and may be this one");
    }
    if let Some(booked) = not_taken(&charge) {
        return booked;
    }
    let open = refunds.iter().any(|refund| refund.state.is_open());
    let left = charge.captured - charge.refunded - charge.refund_reserved;
    if open && amount.as_minor() > left && amount.as_minor() <= charge.captured - charge.refunded {
        return Booked::Later("a refund in flight may yet leave room for it");
    }
    let number = u32::try_from(refunds.len()).unwrap_or(u32::MAX).saturating_add(1);
    if amount.currency() != charge.amount.currency() {
        return Booked::Held("it is of another currency than the charge");
    }
    if amount.is_zero() {
        return Booked::Held("it is over nothing");
    }
    if !(1..=left).contains(&amount.as_minor()) {
        return Booked::Held("it is more than is left of the charge");
    }
    if number > MAX_REFUNDS {
        return Booked::Held("the charge has too many refunds");
    }
    charge.refunded += amount.as_minor();
    charge.updated_at = at.now;
    let refund = Refund {
        id: at.id(),
        charge: charge.id.clone(),
        intent: charge.intent.clone(),
        session: session.id.clone(),
        number,
        processor: charge.processor.clone(),
        amount,
        state: RefundState::Succeeded,
        source: RefundSource::Processor,
        effect: None,
        lines: Vec::new(),
        reason,
        metadata: Metadata::default(),
        reference: Some(reference),
        failure: None,
        mismatched: false,
        created_at: at.now,
        updated_at: at.now,
        revision: 0,
    };
    let created = Happening::created(EventKind::RefundCreated, refund.state.as_str());
    change.record(Subject::Refund(refund.clone()), [created]);
    let refunded = Happening::plain(EventKind::ChargeRefunded);
    change.record(Subject::Charge(charge.clone()), [refunded]);
    take_back(&refund, &charge, &session, refunds, holdings, at, change);
    Booked::Done
}

/// What the service says of a dispute.
pub(crate) struct Heard {
    pub(crate) reference: String,
    pub(crate) state: DisputeState,
    pub(crate) amount: Amount,
    pub(crate) reason: Option<String>,
}

/// Writes down what the service says of a dispute. One that was lost takes its amount off the charge, and
/// with the last of it what the sale granted. `disputes` are those of the charge.
pub(crate) fn disputed(
    on: Concerned,
    heard: Heard,
    mut disputes: Vec<Dispute>,
    at: &mut Setting<'_>,
    change: &mut Change,
) -> Booked {
    let Concerned {
        mut charge,
        session,
        holdings,
    } = on;
    let Heard {
        reference,
        state,
        amount,
        reason,
    } = heard;
    if reference.is_empty() {
        return Booked::Held("the service's name for the dispute cannot be kept");
    }
    if let Some(booked) = not_taken(&charge) {
        return booked;
    }
    if amount.currency() != charge.amount.currency() {
        return Booked::Held("the dispute is about another currency than the charge");
    }
    let number = u32::try_from(disputes.len()).unwrap_or(u32::MAX).saturating_add(1);
    let known = disputes.iter().position(|known| known.reference == reference);
    if known.is_none() && number > MAX_DISPUTES {
        return Booked::Held("the charge has too many disputes");
    }
    let mut moves = Vec::new();
    let known = known.map(|position| disputes.remove(position));
    let mut dispute = known.unwrap_or_else(|| {
        moves.push(Happening::created(
            EventKind::DisputeCreated,
            DisputeState::Open.as_str(),
        ));
        Dispute {
            id: at.id(),
            charge: charge.id.clone(),
            number,
            session: session.id.clone(),
            processor: charge.processor.clone(),
            reference,
            state: DisputeState::Open,
            amount,
            reason,
            created_at: at.now,
            updated_at: at.now,
            revision: 0,
        }
    });
    let from = dispute.state.as_str();
    if dispute.step(state, at.now).is_ok() {
        dispute.amount = amount;
        let kind = match state {
            DisputeState::Won => EventKind::DisputeWon,
            DisputeState::Open | DisputeState::Lost => EventKind::DisputeLost,
        };
        moves.push(Happening::moved(kind, from, dispute.state.as_str()));
    }
    let lost = lost_to(disputes.iter().chain([&dispute]), charge.captured);
    let took = lost - charge.lost;
    change.record_all(Subject::Dispute(dispute), moves);
    if took == 0 {
        return Booked::Done;
    }
    charge.lost = lost;
    charge.updated_at = at.now;
    let updated = Happening::plain(EventKind::ChargeUpdated);
    change.record(Subject::Charge(charge.clone()), [updated]);
    if took > 0 && charge.settles && is_gone(&charge) {
        let sources: Vec<GrantSource> = (0..session.lines.len())
            .map(|position| GrantSource::of_line(&session.id, position))
            .collect();
        let falls = |grant: &Grant| sources.contains(&grant.source);
        for mut holding in holdings {
            if holding.grants.iter().any(falls) {
                access::revoke(&mut holding, falls, "disputed", at, change);
            }
        }
    }
    Booked::Done
}

/// Whether nothing is left of what a charge took.
pub(super) fn is_gone(charge: &Charge) -> bool {
    charge.refunded.saturating_add(charge.lost) >= charge.captured
}
