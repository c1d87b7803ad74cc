//! What a payment service tells of that nobody here asked for, on its way into the file.

use super::settling::{Heard, dangling, holdings};
use super::weighing::weigh_in;
use crate::access::Actor;
use crate::change::Change;
use crate::decide::settlement::{Booked, Concerned, Heard as HeardOf, MadeThere, disputed, refund_made_there};
use crate::error::Result;
use crate::hook::{Capabilities, NoticeKind, Operation, Outcome, Receipt};
use crate::id::ChargeId;
use crate::money::Amount;
use crate::payment::{Attempt, Finding, Notification, RefundState};
use crate::store::{self, Tx};

/// A token that no call has.
const NO_CALL: i64 = -1;

/// What comes of a refund or a dispute of what took no money.
const NO_MONEY: Booked = Booked::Held("it is about a setup, which takes no money");

/// What comes of a dispute that the service has told of about something else.
const ANOTHERS: Booked = Booked::Held("the service has told of this dispute about another charge");

/// What a notice is about.
pub(super) struct About {
    pub(super) attempt: Attempt,
    /// The charge, where that is not the attempt's own.
    pub(super) surplus: Option<ChargeId>,
}

/// Who tells of it, and what their service can do.
pub(super) struct Telling<'a> {
    pub(super) notice: &'a Notification,
    pub(super) actor: Actor,
    pub(super) capabilities: Option<&'a Capabilities>,
}

/// Works what a notice says into the file.
pub(super) fn work_in(tx: &mut Tx<'_>, about: About, said: NoticeKind, by: &Telling<'_>) -> Result<Booked> {
    match said {
        NoticeKind::Evidence(outcome) => {
            weigh(tx, about.attempt, outcome, by)?;
            Ok(Booked::Done)
        }
        NoticeKind::Changed => {
            store::attempt::look_up(tx.sql, tx.world, &about.attempt, tx.host_now)?;
            Ok(Booked::Done)
        }
        NoticeKind::ExternalRefund {
            reference,
            amount,
            reason,
        } => refunded(
            tx,
            about,
            MadeThere {
                reference,
                amount,
                reason,
                unnamed: Vec::new(),
            },
            by,
        ),
        NoticeKind::Dispute {
            reference,
            state,
            amount,
            reason,
        } => {
            let Some(charge) = charge_of(tx, &about)? else {
                return Ok(NO_MONEY);
            };
            let known = store::dispute::known_as(tx.sql, tx.world, &by.notice.processor, &reference)?;
            if known.is_some_and(|known| known.charge != charge) {
                return Ok(ANOTHERS);
            }
            let on = concerned(tx, &charge)?;
            let disputes = store::dispute::of_charge(tx.sql, tx.world, &charge)?;
            let heard = HeardOf {
                reference,
                state,
                amount,
                reason,
            };
            let mut change = Change::new();
            let booked = disputed(on, heard, disputes, &mut tx.setting(), &mut change);
            tx.apply(&change)?;
            Ok(booked)
        }
        NoticeKind::Ignored => Ok(Booked::Done),
    }
}

fn weigh(tx: &mut Tx<'_>, attempt: Attempt, outcome: Outcome, by: &Telling<'_>) -> Result<()> {
    let heard = Heard {
        attempt: attempt.id.clone(),
        processor: by.notice.processor.clone(),
        finding: Finding::Notified(outcome),
        token: NO_CALL,
        asked_at: by.notice.received_at,
        actor: by.actor.clone(),
    };
    weigh_in(tx, attempt, &heard, by.capabilities).map(drop)
}

fn refunded(tx: &mut Tx<'_>, about: About, made: MadeThere, by: &Telling<'_>) -> Result<Booked> {
    let succeeded = |reference: &str, amount: Amount| Outcome::Succeeded(Receipt::new(reference, amount));
    let outcome = succeeded(&made.reference, made.amount);
    // Of a refund that has not gone through it is what came of that one; beside one that has, it is another.
    if about.attempt.operation == Operation::Refund {
        let refund = store::refund::get(tx.sql, tx.world, &about.attempt.subject)?;
        if refund.state != RefundState::Succeeded {
            weigh(tx, about.attempt, outcome, by)?;
            return Ok(Booked::Done);
        }
    }
    let Some(charge) = charge_of(tx, &about)? else {
        return Ok(NO_MONEY);
    };
    let on = concerned(tx, &charge)?;
    let refunds = store::refund::of_charge(tx.sql, tx.world, &on.charge.id)?;
    let made = MadeThere {
        unnamed: store::refund::unnamed(tx.sql, tx.world, &on.charge.id)?,
        ..made
    };
    let mut change = Change::new();
    let booked = refund_made_there(on, made, &refunds, &mut tx.setting(), &mut change);
    tx.apply(&change)?;
    if let Booked::Ours(refund) = &booked {
        let attempt = store::attempt::that_made(tx.sql, tx.world, refund.as_str())?;
        weigh(tx, attempt, outcome, by)?;
    }
    Ok(booked)
}

/// The charge that a notice about an attempt speaks of; none of a setup, which has none.
fn charge_of(tx: &mut Tx<'_>, about: &About) -> Result<Option<ChargeId>> {
    if let Some(surplus) = &about.surplus {
        return Ok(Some(surplus.clone()));
    }
    let subject = &about.attempt.subject;
    match about.attempt.operation {
        Operation::Setup => Ok(None),
        Operation::Refund => Ok(Some(store::refund::get(tx.sql, tx.world, subject)?.charge)),
        Operation::Charge | Operation::Authorize | Operation::Capture | Operation::Void => {
            ChargeId::parse(subject).map(Some).map_err(|_| dangling(subject))
        }
    }
}

fn concerned(tx: &mut Tx<'_>, charge: &ChargeId) -> Result<Concerned> {
    let session = store::payment::session_of_charge(tx.sql, tx.world, charge.as_str())?;
    let session = session.ok_or_else(|| dangling(charge.as_str()))?;
    let session = store::session::get(tx.sql, tx.world, &session)?;
    let mut charges = session.payment_intent.iter().flat_map(|intent| &intent.charges);
    let charge = charges.find(|known| known.id == *charge).cloned();
    let charge = charge.ok_or_else(|| dangling(session.id.as_str()))?;
    Ok(Concerned {
        holdings: holdings(tx, &session)?,
        charge,
        session,
    })
}
