//! Starting to give money back.

use super::attempt::{Wanted, attempt, related};
use crate::change::{Change, Setting};
use crate::error::{Error, Invalid, Refused};
use crate::event::{EventKind, Happening, Subject};
use crate::hook::{Operation, RequestLine};
use crate::money::Amount;
use crate::payment::{
    Attempt, Await, Charge, ChargeState, GrantEffect, MAX_REFUNDS, Refund, RefundSource, RefundState, RefundedLine,
    Share,
};
use crate::session::{Line, Session};
use crate::text::Metadata;
use crate::time::Timestamp;

/// What is to go back, and why.
pub(crate) struct Wish {
    pub(crate) share: Share,
    pub(crate) source: RefundSource,
    pub(crate) effect: Option<GrantEffect>,
    pub(crate) reason: Option<String>,
    pub(crate) metadata: Metadata,
}

/// A charge with all that is known of how it was made and of what went back of it.
pub(crate) struct Given<'a> {
    pub(crate) session: &'a Session,
    pub(crate) charge: Charge,
    /// The attempt that made the charge.
    pub(crate) made_by: &'a Attempt,
    /// The charge's refunds so far.
    pub(crate) refunds: &'a [Refund],
}

/// A refund that is about to be committed.
pub(crate) struct Intended {
    /// The charge, with what is to go back reserved.
    pub(crate) charge: Charge,
    pub(crate) refund: Refund,
    attempt: Attempt,
}

impl Intended {
    /// Records the refund and its attempt, behind the charge.
    pub(crate) fn record(self, change: &mut Change) -> (Refund, Attempt) {
        let Intended {
            mut refund, attempt, ..
        } = self;
        let created = Happening::created(EventKind::RefundCreated, refund.state.as_str());
        change.record(Subject::Refund(refund.clone()), [created]);
        change.begin(attempt.clone());
        refund.revision += 1;
        (refund, attempt)
    }
}

/// Why nothing is left of a charge that could go back.
fn nothing_left(charge: &Charge) -> &'static str {
    if charge.captured == 0 {
        "one that took nothing"
    } else if charge.lost > 0 {
        "lost in a dispute, with what was refunded of it"
    } else {
        "refunded in full, or about to be"
    }
}

/// Reserves what is to go back, and asks for it.
///
/// # Errors
/// `Refused` for a charge that has not taken its amount, of which nothing is left, or of which too
/// many refunds were made; `RefundTooLarge`; `Invalid` for another currency and for lines or units
/// that the session does not have.
pub(crate) fn intend(
    given: Given<'_>,
    wish: Wish,
    next: (Await, Timestamp),
    at: &mut Setting<'_>,
) -> Result<Intended, Error> {
    let Given {
        session,
        mut charge,
        made_by,
        refunds,
    } = given;
    let refused = |state| Refused {
        object: "charge",
        state,
        event: "a refund",
    };
    let number = u32::try_from(refunds.len()).unwrap_or(u32::MAX).saturating_add(1);
    if charge.state != ChargeState::Succeeded {
        return Err(refused(charge.state.as_str()).into());
    }
    if charge.refundable() == 0 {
        return Err(refused(nothing_left(&charge)).into());
    }
    if number > MAX_REFUNDS {
        return Err(refused("refunded too many times").into());
    }
    let (amount, lines) = share(&wish.share, session, &charge, refunds)?;
    let left = charge.refundable();
    if amount.as_minor() > left && !planted!(RefundNotBounded) {
        return Err(Error::RefundTooLarge {
            charge: charge.id.to_string(),
            asked: amount.to_string(),
            left: Amount::minor(left, charge.amount.currency())?.to_string(),
        });
    }
    if !planted!(RefundNotReserved) {
        charge.refund_reserved += amount.as_minor();
    }
    charge.updated_at = at.now;
    let refund = Refund {
        id: at.id(),
        charge: charge.id.clone(),
        intent: charge.intent.clone(),
        session: session.id.clone(),
        number,
        processor: charge.processor.clone(),
        amount,
        state: RefundState::Pending,
        source: wish.source,
        effect: wish.effect,
        lines,
        reason: wish.reason,
        metadata: wish.metadata,
        reference: None,
        failure: None,
        mismatched: false,
        created_at: at.now,
        updated_at: at.now,
        revision: 0,
    };
    let attempt = attempt(
        Wanted {
            operation: Operation::Refund,
            subject: refund.id.as_str(),
            numbered: (charge.id.as_str(), number),
            processor: &charge.processor,
            session,
            amount,
            lines: refund.lines.iter().filter_map(|part| asked_of(session, part)).collect(),
            method: None,
            context: None,
            related: Some(related(made_by, &charge)),
            next,
        },
        at,
    )?;
    Ok(Intended {
        charge,
        refund,
        attempt,
    })
}

fn asked_of(session: &Session, part: &RefundedLine) -> Option<RequestLine> {
    session.lines.get(part.position).map(|line| RequestLine {
        name: line.name.clone(),
        quantity: part.quantity,
        total: part.amount,
    })
}

/// How much a share comes to, and on which lines.
fn share(
    share: &Share,
    session: &Session,
    charge: &Charge,
    refunds: &[Refund],
) -> Result<(Amount, Vec<RefundedLine>), Error> {
    let currency = charge.amount.currency();
    match share {
        Share::Rest => Ok((Amount::minor(charge.refundable(), currency)?, Vec::new())),
        Share::Amount(amount) if amount.currency() == currency => Ok((*amount, Vec::new())),
        Share::Amount(amount) => {
            let allowed = format!("{}, the currency of the charge", currency.code());
            Err(Invalid::new("amount.currency", amount.currency().code(), allowed).into())
        }
        Share::Units(units) => {
            let mut lines = units
                .iter()
                .enumerate()
                .map(|(at, (position, quantity))| {
                    let found = session.lines.get(*position).ok_or_else(|| {
                        let allowed = format!("the place of a line, 0 to {}", session.lines.len().saturating_sub(1));
                        Invalid::new(format!("units[{at}].position"), position, allowed)
                    })?;
                    units_of(found, *position, *quantity, refunds).map_err(|left| {
                        let allowed = format!("up to {left}, what is left of the line");
                        Error::from(Invalid::new(format!("units[{at}].quantity"), quantity, allowed))
                    })
                })
                .collect::<Result<Vec<RefundedLine>, Error>>()?;
            lines.sort_unstable_by_key(|line| line.position);
            let total: i64 = lines.iter().map(|line| line.amount).sum();
            if total == 0 {
                let allowed = "units that together come to more than that; name more of them, or of other lines";
                return Err(Invalid::new("units", "units that come to 0", allowed).into());
            }
            Ok((Amount::minor(total, currency)?, lines))
        }
    }
}

/// What so many more units of a line come to: the difference between what the line comes to with and
/// without them, so that the cents that do not divide fall where they are due and all units together
/// come to the line's total. The error is how many units are left.
fn units_of(line: &Line, position: usize, quantity: u32, refunds: &[Refund]) -> Result<RefundedLine, u32> {
    let before = refunds
        .iter()
        .filter(|refund| refund.state.is_open() || refund.state == RefundState::Succeeded)
        .flat_map(|refund| &refund.lines)
        .filter(|part| part.position == position);
    let (units, amount) = before.fold((0_u32, 0_i64), |(units, amount), part| {
        (units.saturating_add(part.quantity), amount + part.amount)
    });
    let left = line.quantity.saturating_sub(units);
    if quantity > left {
        return Err(left);
    }
    let upto = i128::from(line.totals.total) * i128::from(units + quantity) / i128::from(line.quantity);
    let upto = i64::try_from(upto).unwrap_or(line.totals.total);
    Ok(RefundedLine {
        position,
        quantity,
        // After a refund that failed, what went back may be ahead of the units by a few cents.
        amount: (upto - amount).max(0),
    })
}
