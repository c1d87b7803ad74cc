//! What was learned about a refund, its charge, and what the sale granted.

use super::naming::{self, Told};
use super::unasked::{Booked, Concerned, MadeThere, is_gone, refund_made_there};
use super::{Case, Learned, Stake, Standing, count, dangling, failure};
use crate::change::{Change, Setting};
use crate::decide::access;
use crate::entitlement::{Grant, GrantSource, Holding};
use crate::error::Error;
use crate::event::{EventKind, Happening, Subject};
use crate::id::RefundId;
use crate::payment::{Charge, Finding, GrantEffect, News, Refund, RefundState, Resolution, Source, Verdict};
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
    /// Those of them to which the service gave no name.
    pub(crate) unnamed: Vec<RefundId>,
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
        unnamed,
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
    let told = match before.state {
        RefundState::Succeeded => naming::told(&case, before.reference.as_deref(), &verdict),
        _ => Told::Known,
    };
    if told == Told::Another {
        let other = MadeThere {
            reference: verdict.reference.clone().unwrap_or_default(),
            amount: verdict.amount.unwrap_or(before.amount),
            reason: None,
            unnamed,
        };
        let on = Concerned {
            charge,
            session,
            holdings,
        };
        return Ok(gave_again(
            (case, on, before),
            other,
            &refunds,
            (verdict, learned),
            at,
            change,
        ));
    }
    let stake = match before.state {
        RefundState::Pending | RefundState::Unknown => Stake::Outcome,
        RefundState::Succeeded => Stake::Success,
        RefundState::Failed | RefundState::Canceled => Stake::Nothing,
    };
    let verdict = case.doubt(verdict, learned, stake);
    let news = case.news_of(&before, learned, &verdict);
    let retried = news.is_some() && verdict.is_not_sent() && before.is_automatic() && before.state.is_open();
    let news = news.filter(|_| !retried);
    let mut refund = before.clone();
    let (mut moves, moved) = move_on(&mut refund, (news, told), &charge, &verdict, learned, at);
    let unresolved = if retried {
        let stuck = case.try_again(at.host_now) >= TRIES_UNTIL_UNRESOLVED;
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
        moves.push(Happening::plain(EventKind::RefundUnresolved));
    }
    case.note(verdict, moved, learned, at, change);
    let counted = count(&moves);
    change.record_all(Subject::Refund(refund.clone()), moves);
    refund.revision += counted;
    if book(&before, &refund, &mut charge) {
        charge.updated_at = at.now;
        let kind = match refund.state {
            RefundState::Succeeded => EventKind::ChargeRefunded,
            _ => EventKind::ChargeUpdated,
        };
        change.record(Subject::Charge(charge.clone()), [Happening::plain(kind)]);
    }
    if refund.state == RefundState::Succeeded && before.state != RefundState::Succeeded {
        take_back(&refund, &charge, &session, &refunds, holdings, at, change);
    }
    Ok(refund)
}

impl Case {
    /// What a verdict says of a refund, as far as it counts.
    fn news_of(&self, before: &Refund, learned: &Learned<'_>, verdict: &Verdict) -> Option<News> {
        let counts = |news: &News| match (news, before.state) {
            // Another amount than asked waits for a decision; only that it went through as asked after
            // all ends that.
            _ if is_settled_outside(learned) => before.mismatched,
            _ if before.mismatched => *news == News::Succeeded,
            // The word of a call that was followed by another one.
            (News::Failed | News::Canceled, _) if self.is_superseded(learned, verdict) => false,
            // What was accepted and is not answered for just now is accepted all the same.
            (News::Unclear, RefundState::Pending) => self.attempt.heard_at.is_none(),
            // That a bank has sent the money back shows when somebody looks. What a call says late, or
            // for the second time, is older than the success, and would give the same money free twice.
            (News::Failed, RefundState::Succeeded) => match verdict.source {
                Source::Lookup => verdict.is_declined() && learned.token == self.attempt.token,
                Source::Operator => true,
                Source::Answer | Source::Notification | Source::Lease => false,
            },
            _ => true,
        };
        verdict.event.filter(counts)
    }
}

/// Works in that the service gave back more than a refund, under another name: it is a refund of the charge like
/// any that is made at the service, or somebody has to see it, once.
fn gave_again(
    (case, on, before): (Case, Concerned, Refund),
    other: MadeThere,
    refunds: &[Refund],
    (verdict, learned): (Verdict, &Learned<'_>),
    at: &mut Setting<'_>,
    change: &mut Change,
) -> Refund {
    let is_known = refunds
        .iter()
        .any(|known| known.reference.as_ref() == Some(&other.reference));
    let is_booked = !is_known && refund_made_there(on, other, refunds, at, change) == Booked::Done;
    let mut refund = before;
    if !is_known && !is_booked {
        refund.updated_at = at.now;
        let contradicted = Happening::plain(EventKind::RefundContradicted);
        change.record(Subject::Refund(refund.clone()), [contradicted]);
        refund.revision += 1;
    }
    let mut case = case;
    case.schedule(Standing::Settled, learned, &verdict, at.host_now);
    case.note_another(verdict, is_booked, learned, at, change);
    refund
}

/// Moves a refund by what was learned. What happened to it, and whether the evidence moved anything.
fn move_on(
    refund: &mut Refund,
    (news, told): (Option<News>, Told),
    charge: &Charge,
    verdict: &Verdict,
    learned: &Learned<'_>,
    at: &Setting<'_>,
) -> (Vec<Happening>, bool) {
    let mut moves = Vec::new();
    let Some(news) = news else {
        return (moves, false);
    };
    let from = refund.state;
    if is_settled_outside(learned) && !from.is_open() {
        refund.mismatched = false;
        refund.updated_at = at.now;
        moves.push(Happening::plain(EventKind::RefundUpdated));
        return (moves, true);
    }
    let is_over = matches!(from, RefundState::Failed | RefundState::Canceled);
    if is_over && matches!(news, News::Succeeded | News::Mismatched) {
        moves.push(Happening::plain(EventKind::RefundContradicted));
        // What was taken for over freed its amount. If that has gone back otherwise since, there is
        // nothing left of the charge that this could be booked on; and another amount than the one
        // that was asked cannot be.
        if news == News::Mismatched || charge.refundable() < refund.amount.as_minor() {
            refund.mismatched |= news == News::Mismatched;
            refund.updated_at = at.now;
            return (moves, false);
        }
    }
    let names = verdict.reference.is_some();
    if refund.step(news, at.now).is_err() {
        // A refund begins as pending, so that it was accepted moves it no further; but the name by which it is
        // known may come with that.
        let accepted = matches!(news, News::Pending | News::ActionRequired) && from.is_open();
        let again = accepted && names && refund.reference.is_none();
        let is_named = again || told == Told::Name;
        if !is_named {
            return (moves, false);
        }
        refund.updated_at = at.now;
        moves.push(Happening::plain(EventKind::RefundUpdated));
        if news == News::Mismatched {
            // What a person said went back is not what the service says.
            moves.push(Happening::plain(EventKind::RefundContradicted));
        }
    } else {
        refund.mismatched = news == News::Mismatched;
        refund.failure = (refund.state == RefundState::Failed).then(|| failure(learned.finding));
        let kind = match refund.state {
            RefundState::Failed => EventKind::RefundFailed,
            RefundState::Pending | RefundState::Unknown | RefundState::Succeeded | RefundState::Canceled => {
                EventKind::RefundUpdated
            }
        };
        moves.push(Happening::moved(kind, from.as_str(), refund.state.as_str()));
    }
    if names {
        refund.reference.clone_from(&verdict.reference);
    }
    (moves, true)
}

/// Whether somebody said that it was settled elsewhere.
fn is_settled_outside(learned: &Learned<'_>) -> bool {
    matches!(
        learned.finding,
        Finding::Resolved {
            resolution: Resolution::SettledOutside,
            ..
        }
    )
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

/// Takes back what the sale granted: of a line of which no unit is left, or of all lines once nothing is
/// left of the charge, as the newest refund says that had to do with it, so that it does not matter in
/// which order their outcomes are learned; and of all lines at once if the refund is for none in
/// particular and says so.
pub(super) fn take_back(
    refund: &Refund,
    charge: &Charge,
    session: &Session,
    refunds: &[Refund],
    holdings: Vec<Holding>,
    at: &Setting<'_>,
    change: &mut Change,
) {
    let others = refunds.iter().filter(|other| other.id != refund.id);
    let done: Vec<&Refund> = others
        .filter(|other| other.state == RefundState::Succeeded)
        .chain([refund])
        .collect();
    let nothing_left = is_gone(charge);
    // Whether a refund is of everything shows when nothing is left, not when it is asked for: another may
    // have failed since. What settled nothing has granted nothing: what the session sold was paid for
    // otherwise.
    let unless_said = if nothing_left && charge.settles {
        GrantEffect::Revoke
    } else {
        GrantEffect::Keep
    };
    let newest = |concerned: &dyn Fn(&Refund) -> bool| {
        let concerned = done.iter().filter(|refund| concerned(refund));
        let newest = concerned.max_by_key(|refund| refund.number);
        newest.map(|refund| refund.effect.unwrap_or(unless_said))
    };
    let effects = |position: usize| {
        let own = refund.effect.filter(|_| refund.lines.is_empty());
        let last = nothing_left.then(|| newest(&|_| true)).flatten();
        // What was used up while something was left falls with the rest of it, whichever refund was last.
        let concerns = nothing_left || names(refund, position);
        let used_up = concerns && is_used_up(position, session, &done);
        let of_line = used_up.then(|| newest(&|done| names(done, position))).flatten();
        [own, last, of_line]
    };
    let falls: Vec<(GrantSource, [Option<GrantEffect>; 3])> = (0..session.lines.len())
        .map(|position| (GrantSource::of_line(&session.id, position), effects(position)))
        .collect();
    let falls = |grant: &Grant| {
        let of_its_line = falls.iter().find(|(source, _)| *source == grant.source);
        of_its_line.is_some_and(|(_, effects)| {
            effects.iter().flatten().any(|effect| match effect {
                GrantEffect::Keep => false,
                GrantEffect::Revoke => true,
                GrantEffect::AtPeriodEnd => grant.ends_at.is_none(),
            })
        })
    };
    for mut holding in holdings {
        if holding.grants.iter().any(falls) {
            access::revoke(&mut holding, falls, "refunded", at, change);
        }
    }
}

fn names(refund: &Refund, position: usize) -> bool {
    refund.lines.iter().any(|part| part.position == position)
}

/// Whether every unit of a line has gone back.
fn is_used_up(position: usize, session: &Session, done: &[&Refund]) -> bool {
    let parts = done.iter().flat_map(|refund| &refund.lines);
    let gone: u64 = parts
        .filter(|part| part.position == position)
        .map(|part| u64::from(part.quantity))
        .sum();
    let line = session.lines.get(position);
    line.is_some_and(|line| gone >= u64::from(line.quantity))
}
