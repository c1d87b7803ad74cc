//! What a host may believe: what it was told, and what follows from it. This is what an engine is
//! held against, and it knows nothing of how an engine works.

use std::collections::{BTreeMap, BTreeSet};

use super::plan::Goods;
use super::{Broken, Invariant, violated};
use crate::engine::JournalHead;
use crate::entitlement::Entitlement;
use crate::event::Event;
use crate::id::{DeliveryId, EventId, PaymentMethodId, RefundId, SessionId, SetupId};
use crate::payment::{CaptureMethod, Charge, ChargeState, Refund, Setup};
use crate::session::{ExpiredReason, Session, SessionState};
use crate::time::Timestamp;
use crate::webhook::{Delivery, DeliveryState};

/// What somebody asked for under an idempotency key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Asked {
    pub(super) buyer: u64,
    pub(super) goods: Goods,
    pub(super) order: Option<u64>,
}

/// What the host was told.
#[derive(Default)]
pub(super) struct Beliefs {
    /// The session of each key, with what was asked for, as it was first answered.
    pub(super) created: BTreeMap<u64, (SessionId, Asked)>,
    /// Everything that was ever asked for under a key, answered or not.
    pub(super) asked: BTreeMap<u64, BTreeSet<Asked>>,
    /// What was answered to payments with a key: the charge, and whether it took the money.
    pub(super) paid: BTreeMap<(SessionId, u64), (String, ChargeState)>,
    /// Sessions by id, as they were last shown.
    pub(super) sessions: BTreeMap<SessionId, Session>,
    /// What each version of each buyer's entitlement was.
    versions: BTreeMap<(String, i64), Entitlement>,
    /// The newest version that was shown of each buyer's entitlement.
    pub(super) newest: BTreeMap<String, i64>,
    /// Grants by hand, by key.
    pub(super) granted: BTreeMap<u64, (u64, Option<u32>)>,
    /// Everything that was ever to be granted under a key, answered or not.
    pub(super) to_grant: BTreeMap<u64, BTreeSet<(u64, Option<u32>)>>,
    /// Refunds as they were last shown.
    pub(super) refunds: BTreeMap<RefundId, Refund>,
    /// Setups as they were last shown.
    pub(super) setups: BTreeMap<SetupId, Setup>,
    /// Payment methods that were saved by one of these.
    pub(super) methods: BTreeSet<PaymentMethodId>,
    /// Those that were detached, and that nobody was asked to save since.
    pub(super) detached: BTreeSet<PaymentMethodId>,
    /// How often one was to be saved.
    pub(super) saves: u64,
    /// What the service told and was answered for, by its own names.
    pub(super) told: BTreeSet<String>,
    /// Events in the order of their positions, as far as they were shown.
    pub(super) journal: Vec<EventId>,
    /// Where deliveries stood when they were last shown.
    pub(super) deliveries: BTreeMap<DeliveryId, DeliveryState>,
    /// The newest position of the journal that was shown.
    pub(super) head: Option<JournalHead>,
    /// The latest engine time that is stored.
    pub(super) now: Option<Timestamp>,
    /// Whether several processes have the file open.
    shared: bool,
}

impl Beliefs {
    /// Nothing yet, of so many processes on one file.
    pub(super) fn of_processes(count: usize) -> Beliefs {
        Beliefs {
            shared: count > 1,
            ..Beliefs::default()
        }
    }

    /// Takes in a session as it was shown, in an answer that began when it was believed to be as
    /// `before`.
    pub(super) fn see_session(&mut self, session: &Session, before: Option<&Session>) -> Result<(), Broken> {
        sound(session)?;
        if let Some(before) = before {
            follows(session, before, self.shared)?;
        }
        // An answer that began earlier may end later.
        let known = self
            .sessions
            .entry(session.id.clone())
            .or_insert_with(|| session.clone());
        if session.revision >= known.revision {
            known.clone_from(session);
        }
        Ok(())
    }

    /// Takes in a refund.
    pub(super) fn see_refund(&mut self, refund: &Refund) -> Result<(), Broken> {
        let known = self.refunds.entry(refund.id.clone()).or_insert_with(|| refund.clone());
        let was_over = !known.state.is_open();
        if known.amount != refund.amount || was_over && refund.revision >= known.revision && known.state != refund.state
        {
            let what = format!("{} was {known:?} and is {refund:?}", refund.id);
            return violated(Invariant::AnswersStayTrue, what);
        }
        // An answer that began earlier may end later.
        if refund.revision >= known.revision {
            known.clone_from(refund);
        }
        Ok(())
    }

    /// Takes in an entitlement as it was shown, in an answer that began when `newest` was believed.
    pub(super) fn see_entitlement(&mut self, seen: &Entitlement, newest: i64) -> Result<(), Broken> {
        if seen.version < newest {
            return violated(
                Invariant::ReadsSeeAnswers,
                format!("{} showed version {} after {newest}", seen.uid, seen.version),
            );
        }
        if seen.version == 0 {
            return Ok(());
        }
        self.see_version(seen)?;
        let newest = self.newest.entry(seen.uid.clone()).or_default();
        *newest = seen.version.max(*newest);
        Ok(())
    }

    /// Takes in a version of an entitlement, whether or not it is the newest.
    pub(super) fn see_version(&mut self, seen: &Entitlement) -> Result<(), Broken> {
        let known = self.versions.entry((seen.uid.clone(), seen.version));
        let known = known.or_insert_with(|| seen.clone());
        if known != seen {
            return violated(
                Invariant::VersionsHaveOneContent,
                format!("{} version {}: {known:?}, then {seen:?}", seen.uid, seen.version),
            );
        }
        Ok(())
    }

    /// Takes in events from the first on.
    pub(super) fn see_journal(&mut self, events: &[Event]) -> Result<(), Broken> {
        for (at, event) in events.iter().enumerate() {
            let is_next = i64::try_from(at).is_ok_and(|at| at + 1 == event.position);
            if !is_next || self.journal.get(at).is_some_and(|known| *known != event.id) {
                let what = format!("{} is at {} after {at} others", event.id, event.position);
                return violated(Invariant::PositionsStay, what);
            }
            if at == self.journal.len() {
                self.journal.push(event.id.clone());
            }
        }
        Ok(())
    }

    /// Takes in a delivery.
    pub(super) fn see_delivery(&mut self, delivery: &Delivery) {
        let known = self.deliveries.entry(delivery.id.clone()).or_insert(delivery.state);
        // An answer that began earlier may end later.
        if *known != DeliveryState::Delivered {
            *known = delivery.state;
        }
    }

    /// Takes in the engine time as it is stored.
    pub(super) fn see_time(&mut self, now: Timestamp, before: Option<Timestamp>) -> Result<(), Broken> {
        if before.is_some_and(|before| now < before) {
            return violated(Invariant::TimeNeverGoesBack, format!("{now} after {before:?}"));
        }
        self.now = self.now.max(Some(now));
        Ok(())
    }

    /// What is known of the versions of entitlements.
    pub(super) fn versions(&self) -> impl Iterator<Item = &Entitlement> {
        self.versions.values()
    }
}

/// Whether a session can be as it is shown.
fn sound(session: &Session) -> Result<(), Broken> {
    let charges = session.payment_intent.iter().flat_map(|intent| &intent.charges);
    let settling: Vec<_> = charges.filter(|charge| charge.settles).collect();
    let total = session.totals.total;
    let paid = |charge: &&Charge| {
        let is_whole = match charge.capture {
            CaptureMethod::Automatic => charge.captured == total,
            CaptureMethod::Manual => (1..=total).contains(&charge.captured),
        };
        let whole = charge.state == ChargeState::Succeeded && is_whole && charge.hold.is_none();
        // It may end later than the session's time, but not begin.
        whole && charge.created_at < session.expires_at
    };
    let sound = match session.state {
        SessionState::Complete if total == 0 => settling.is_empty(),
        SessionState::Complete => settling.len() == 1 && settling.iter().all(paid),
        _ => settling.is_empty(),
    };
    if !sound {
        return violated(
            Invariant::CompleteIsPaidOnce,
            format!("{} is {:?}", session.id, session.state),
        );
    }
    let kept = |charge: &Charge| {
        let back = charge.refunded + charge.refund_reserved;
        charge.refunded.min(charge.refund_reserved) >= 0 && back <= charge.captured
    };
    if !session
        .payment_intent
        .iter()
        .flat_map(|intent| &intent.charges)
        .all(kept)
    {
        return violated(Invariant::RefundsWithinCaptures, format!("{}", session.id));
    }
    Ok(())
}

/// Whether what moved a session did so before the session's time had passed.
fn was_moved_in_time(session: &Session) -> bool {
    let mut charges = session.payment_intent.iter().flat_map(|intent| &intent.charges);
    let begun = charges.any(|charge| charge.created_at < session.expires_at);
    begun || session.updated_at < session.expires_at
}

/// Whether a session can be as it is shown after it was as it was.
fn follows(session: &Session, before: &Session, shared: bool) -> Result<(), Broken> {
    let fixed = |session: &Session| (session.totals, session.for_uid.clone(), session.order_key.clone());
    if session.revision < before.revision || fixed(before) != fixed(session) {
        let what = format!("{} was {before:?} and is {session:?}", session.id);
        return violated(Invariant::AnswersStayTrue, what);
    }
    let ended = matches!(before.state, SessionState::Complete | SessionState::Expired(_));
    // What one process shows because of its clock is written down nowhere. Another one's call that took
    // its time before does not know of it.
    let by_clock = shared && before.state == SessionState::Expired(ExpiredReason::Timeout);
    let overtook = by_clock && was_moved_in_time(session);
    if ended && before.state != session.state && !overtook {
        let what = format!("{} was {:?} and is {:?}", session.id, before.state, session.state);
        return violated(Invariant::FinalStatesStay, what);
    }
    for charge in before.payment_intent.iter().flat_map(|intent| &intent.charges) {
        let mut charges = session.payment_intent.iter().flat_map(|intent| &intent.charges);
        let now = charges.find(|now| now.id == charge.id).map(|now| now.state);
        if now.is_none() || charge.state == ChargeState::Succeeded && now != Some(ChargeState::Succeeded) {
            return violated(Invariant::FinalStatesStay, format!("charge {} is {now:?}", charge.id));
        }
    }
    Ok(())
}
