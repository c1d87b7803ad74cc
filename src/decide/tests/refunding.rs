use std::cell::Cell;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::refund_settlement::{declined, gave};
use super::{HOST_AHEAD, assert_repeatable, known, setting, told};
use crate::change::Change;
use crate::decide::attempt::{Wanted, attempt};
use crate::decide::refunding::{Given, Wish, intend};
use crate::decide::settlement::{Case, Learned, UnsettledRefund, grant_lines, settle_refund};
use crate::entitlement::Holding;
use crate::error::Error;
use crate::event::Subject;
use crate::hook::{Capabilities, Initiator, Operation, Request};
use crate::id::Mint;
use crate::money::{Amount, Currency};
use crate::payment::{
    Attempt, Await, Charge, ChargeState, Evidence, Finding, GrantEffect, MAX_REFUNDS, Refund, RefundSource,
    RefundState, RefundedLine, Share,
};
use crate::samples::{at, charge, eur, intent, line, mint, session, sums};
use crate::session::{Line, Session, SessionState};
use crate::text::Metadata;

/// How long a call may run in these tests.
pub(super) const LEASE: i64 = 40;

/// A sale that was paid and what goes back of it, loaded again after each commit.
#[derive(Clone)]
pub(super) struct Paid {
    pub(super) session: Session,
    made_by: Attempt,
    /// By number, as the attempts that made them.
    pub(super) refunds: Vec<Refund>,
    /// Those that the service made beside them, which nobody here has asked for.
    theirs: Vec<Refund>,
    pub(super) attempts: Vec<Attempt>,
    /// What was learned about each, the oldest first.
    said: Vec<Vec<Evidence>>,
    pub(super) holdings: Vec<Holding>,
    pub(super) capabilities: Option<Capabilities>,
    mint: Mint,
    pub(super) seconds: i64,
}

impl Paid {
    /// A session with these lines, paid in full.
    pub(super) fn of(currency: Currency, lines: Vec<Line>) -> Paid {
        let total = lines.iter().map(|line| line.totals.total).sum();
        let amount = Amount::minor(total, currency).unwrap();
        let taken = Charge {
            amount,
            captured: total,
            settles: true,
            reference: Some("r_1".to_owned()),
            ..charge(ChargeState::Succeeded)
        };
        let mut mint = mint(8);
        let mut session = Session {
            state: SessionState::Complete,
            currency: Some(currency),
            exponent: currency.exponent(),
            totals: sums(total),
            lines,
            payment_intent: Some(intent(vec![taken.clone()])),
            completed_at: Some(at(50)),
            ..session()
        };
        session.payment_intent.as_mut().unwrap().amount = amount;
        let wanted = Wanted {
            operation: Operation::Charge,
            subject: taken.id.as_str(),
            numbered: (session.id.as_str(), 1),
            processor: "main",
            session: &session,
            amount,
            lines: Vec::new(),
            method: None,
            context: None,
            related: None,
            next: (Await::Answer, at(0)),
        };
        let mut change = Change::new();
        let made_by = attempt(wanted, &mut setting(&mut mint, 50)).unwrap();
        grant_lines(&session, Vec::new(), &mut setting(&mut mint, 50), &mut change);
        let settled = std::time::Duration::from_secs(60);
        let mut paid = Paid {
            session,
            made_by,
            refunds: Vec::new(),
            theirs: Vec::new(),
            attempts: Vec::new(),
            said: Vec::new(),
            holdings: Vec::new(),
            capabilities: Some(Capabilities::new().lookup().not_found_final_after(settled)),
            mint,
            seconds: 100,
        };
        paid.load(&change);
        paid
    }

    /// One line of this total, so many units.
    pub(super) fn one(total: i64, quantity: u32) -> Paid {
        Paid::of(Currency::EUR, vec![units(total, quantity)])
    }

    pub(super) fn charge(&self) -> &Charge {
        &self.session.payment_intent.as_ref().unwrap().charges[0]
    }

    pub(super) fn charge_mut(&mut self) -> &mut Charge {
        &mut self.session.payment_intent.as_mut().unwrap().charges[0]
    }

    /// All refunds of the charge.
    fn all(&self) -> Vec<Refund> {
        self.refunds.iter().chain(&self.theirs).cloned().collect()
    }

    fn given<'a>(&'a self, refunds: &'a [Refund]) -> Given<'a> {
        Given {
            session: &self.session,
            charge: self.charge().clone(),
            made_by: &self.made_by,
            refunds,
        }
    }

    /// Decides on a refund and commits it; answers its place.
    pub(super) fn wish(&mut self, wish: Wish, next: Await) -> Result<usize, Error> {
        let mut mint = self.mint.clone();
        let due = match next {
            Await::Answer => self.seconds + LEASE,
            Await::Call | Await::Lookup | Await::Cancel => self.seconds,
        };
        let next = (next, at(due + HOST_AHEAD));
        let intended = intend(
            self.given(&self.all()),
            wish,
            next,
            &mut setting(&mut mint, self.seconds),
        )?;
        *self.charge_mut() = intended.charge.clone();
        let mut change = Change::new();
        let (refund, attempt) = intended.record(&mut change);
        assert_eq!(told(&change), ["refund.created >pending"]);
        assert_eq!(change.ledger[0].attempt, attempt);
        self.mint = mint;
        self.refunds.push(refund);
        self.attempts.push(attempt);
        self.said.push(Vec::new());
        Ok(self.refunds.len() - 1)
    }

    /// What the host asks for, the processor being asked at once.
    pub(super) fn back(&mut self, share: Share, effect: Option<GrantEffect>) -> Result<usize, Error> {
        self.wish(wanted(share, RefundSource::Requested, effect), Await::Answer)
    }

    /// What the engine sends back by itself.
    pub(super) fn by_itself(&mut self) -> usize {
        let wish = wanted(Share::Rest, RefundSource::Surplus, Some(GrantEffect::Keep));
        self.wish(wish, Await::Call).unwrap()
    }

    /// Takes a refund's attempt for a call, as the queue does.
    pub(super) fn claim(&mut self, refund: usize) {
        let lease = at(self.seconds + HOST_AHEAD + LEASE);
        let attempt = &mut self.attempts[refund];
        attempt.next = match attempt.next {
            Some((Await::Call, _)) => Some((Await::Answer, lease)),
            Some((Await::Lookup, _)) => Some((Await::Lookup, lease)),
            other => panic!("nothing to claim: {other:?}"),
        };
        attempt.token += 1;
    }

    /// Learns something about a refund, whatever that changes.
    pub(super) fn hear(&mut self, refund: usize, finding: &Finding) {
        let _ = self.learn(refund, finding);
    }

    /// Learns something about a refund from the newest call.
    pub(super) fn learn(&mut self, refund: usize, finding: &Finding) -> Change {
        self.learn_of(refund, finding, 0)
    }

    /// Learns something about a refund from a call whose token is so much older.
    pub(super) fn learn_of(&mut self, refund: usize, finding: &Finding, older: i64) -> Change {
        let mut change = Change::new();
        let (after, mint) = self.decided(refund, finding, older, &mut change).unwrap();
        self.mint = mint;
        self.load(&change);
        assert_eq!(self.refunds[refund], after);
        change
    }

    pub(super) fn decided(
        &self,
        refund: usize,
        finding: &Finding,
        older: i64,
        change: &mut Change,
    ) -> Result<(Refund, Mint), Error> {
        let newest_first = self.said[refund].iter().rev().map(known).collect();
        let found = UnsettledRefund {
            case: Case::of(self.attempts[refund].clone(), newest_first),
            refund: self.refunds[refund].clone(),
            session: self.session.clone(),
            unnamed: Vec::new(),
            refunds: self.all(),
            holdings: self.holdings.clone(),
        };
        let learned = Learned {
            finding,
            actor: "processor:main".to_owned(),
            token: found.case.attempt.token - older,
            asked_at: at(self.seconds + HOST_AHEAD),
            capabilities: self.capabilities.as_ref(),
        };
        let mut mint = self.mint.clone();
        let refund = settle_refund(found, &learned, &mut setting(&mut mint, self.seconds), change)?;
        Ok((refund, mint))
    }

    /// Takes over what a change writes.
    fn load(&mut self, change: &Change) {
        for entry in &change.entries {
            match &entry.subject {
                Subject::Charge(charge) => *self.charge_mut() = charge.clone(),
                Subject::Refund(refund) => match self.refunds.iter_mut().find(|known| known.id == refund.id) {
                    Some(known) => *known = refund.clone(),
                    None => self.theirs.push(refund.clone()),
                },
                Subject::Entitlement(step) => {
                    let known = self.holdings.iter_mut().position(|known| known.id == step.id);
                    let known = known.unwrap_or_else(|| {
                        let empty = Holding::empty(step.id.clone(), &step.uid, &step.line, at(0));
                        self.holdings.push(empty);
                        self.holdings.len() - 1
                    });
                    self.holdings[known].newest = Some(step.version.clone());
                }
                Subject::Grant(grant) => {
                    let holding = self.holdings.iter_mut().find(|known| known.id == grant.entitlement);
                    let grants = &mut holding.unwrap().grants;
                    match grants.iter_mut().find(|known| known.id == grant.id) {
                        Some(known) => *known = grant.clone(),
                        None => grants.push(grant.clone()),
                    }
                }
                other => panic!("{other:?}"),
            }
        }
        for entry in &change.ledger {
            let refund = self.attempts.iter().position(|known| known.id == entry.attempt.id);
            let refund = refund.unwrap();
            let Attempt { request, key, .. } = &self.attempts[refund];
            assert_eq!((&entry.attempt.request, &entry.attempt.key), (request, key));
            self.attempts[refund] = entry.attempt.clone();
            self.said[refund].extend(entry.evidence.clone());
        }
        for folded in &change.folded {
            let holding = self.holdings.iter_mut().find(|known| known.line == folded.line);
            holding.unwrap().folded_at = folded.until;
        }
    }

    /// What of a line is on its way back or there.
    fn parts(&self, position: usize) -> impl Iterator<Item = &RefundedLine> {
        let over = [RefundState::Failed, RefundState::Canceled];
        let refunds = self.refunds.iter().filter(move |refund| !over.contains(&refund.state));
        let parts = refunds.flat_map(|refund| &refund.lines);
        parts.filter(move |part| part.position == position)
    }

    fn units_left(&self, position: usize) -> u32 {
        let gone: u32 = self.parts(position).map(|part| part.quantity).sum();
        self.session.lines[position].quantity - gone
    }

    /// The lines whose grant still stands.
    pub(super) fn granted(&self) -> Vec<usize> {
        let grants = self.holdings.iter().flat_map(|holding| &holding.grants);
        let mut lines: Vec<usize> = grants
            .filter(|grant| grant.revoked_at.is_none())
            .map(|grant| {
                let source = format!("{:?}", grant.source);
                let place = source.trim_end_matches("\")").rsplit(':').next().unwrap();
                place.parse().unwrap()
            })
            .collect();
        lines.sort_unstable();
        lines
    }

    /// Whatever was asked for and learned: the charge's sums are those of its refunds, together never
    /// more than it took, and nothing or less than nothing is no refund.
    pub(super) fn check(&self) -> Result<(), TestCaseError> {
        let sum = |is: fn(RefundState) -> bool| -> i128 {
            let refunds = self.refunds.iter().chain(&self.theirs);
            let refunds = refunds.filter(|refund| is(refund.state));
            refunds.map(|refund| i128::from(refund.amount.as_minor())).sum()
        };
        let charge = self.charge();
        let (reserved, refunded) = (i128::from(charge.refund_reserved), i128::from(charge.refunded));
        prop_assert_eq!(reserved, sum(RefundState::is_open));
        prop_assert_eq!(refunded, sum(|state| state == RefundState::Succeeded));
        prop_assert!(reserved + refunded <= i128::from(charge.captured), "{:?}", charge);
        for (refund, attempt) in self.refunds.iter().zip(&self.attempts) {
            prop_assert!(refund.amount.as_minor() > 0, "{:?}", refund);
            let request = Request::from_bytes(&attempt.request).unwrap();
            prop_assert_eq!(request.amount, refund.amount.as_minor());
            let lines: i64 = refund.lines.iter().map(|line| line.amount).sum();
            prop_assert!(refund.lines.is_empty() || lines == refund.amount.as_minor());
            prop_assert!(refund.lines.iter().all(|line| line.quantity > 0 && line.amount >= 0));
            prop_assert_eq!(refund.failure.is_some(), refund.state == RefundState::Failed);
            // Nothing that is over is asked about again, and nothing that is open is forgotten.
            let waits = attempt.next.is_some() || attempt.unresolved;
            prop_assert_eq!(waits, refund.state.is_open() || refund.mismatched, "{:?}", refund);
        }
        Ok(())
    }
}

/// A line of this total that sells nothing which lasts.
pub(super) fn units(total: i64, quantity: u32) -> Line {
    Line {
        quantity,
        grants: None,
        ..line("member", total)
    }
}

fn wanted(share: Share, source: RefundSource, effect: Option<GrantEffect>) -> Wish {
    Wish {
        share,
        source,
        effect,
        reason: None,
        metadata: Metadata::default(),
    }
}

fn refused(paid: &mut Paid, share: Share) -> Error {
    let before = paid.charge().clone();
    let refused = paid.back(share, None).unwrap_err();
    assert_eq!(*paid.charge(), before);
    refused
}

/// What units of the only line come to, one refund after the other.
fn amounts(total: i64, quantity: u32, taken: &[u32]) -> Vec<i64> {
    let mut paid = Paid::one(total, quantity);
    taken
        .iter()
        .map(|units| {
            let refund = paid.back(Share::Units(vec![(0, *units)]), None).unwrap();
            paid.refunds[refund].amount.as_minor()
        })
        .collect()
}

#[test]
fn of_a_charge_of_which_nothing_is_left_is_said_where_it_went() {
    let mut paid = Paid::one(1_000, 3);
    for (captured, lost, expected) in [
        (
            1_000,
            1_000,
            "charge is lost in a dispute, with what was refunded of it: a refund is not possible",
        ),
        (0, 0, "charge is one that took nothing: a refund is not possible"),
    ] {
        paid.charge_mut().captured = captured;
        paid.charge_mut().lost = lost;
        assert_eq!(refused(&mut paid, Share::Rest).to_string(), expected);
    }
}

#[test]
fn what_is_to_go_back_is_reserved_and_the_request_says_of_which_payment_it_is() {
    let mut paid = Paid::of(Currency::EUR, vec![units(1_000, 3), units(499, 1)]);
    let whole = (paid.charge().captured, paid.charge().refundable());
    assert_eq!(whole, (1_499, 1_499));
    let refund = paid.back(Share::Units(vec![(1, 1), (0, 2)]), None).unwrap();
    let refund = paid.refunds[refund].clone();
    assert_eq!((refund.state, refund.number), (RefundState::Pending, 1));
    assert_eq!((refund.amount, refund.source), (eur(1_165), RefundSource::Requested));
    let lines: Vec<_> = refund
        .lines
        .iter()
        .map(|l| (l.position, l.quantity, l.amount))
        .collect();
    assert_eq!(lines, [(0, 2, 666), (1, 1, 499)]);
    let charge = paid.charge();
    assert_eq!((charge.refund_reserved, charge.refunded), (1_165, 0));
    assert_eq!(charge.refundable(), 334);

    let attempt = &paid.attempts[0];
    let request = Request::from_bytes(&attempt.request).unwrap();
    assert_eq!(request.operation, Operation::Refund);
    assert_eq!(attempt.subject, refund.id.as_str());
    assert_eq!(
        (request.amount, request.currency.as_str(), request.exponent),
        (1_165, "EUR", 2)
    );
    let lines: Vec<_> = request.lines.iter().map(|line| (line.quantity, line.total)).collect();
    assert_eq!(lines, [(2, 666), (1, 499)]);
    let related = request.related.unwrap();
    assert_eq!(
        (related.attempt.as_str(), &related.idempotency_key),
        (paid.made_by.id.as_str(), &paid.made_by.key)
    );
    assert_eq!(related.reference.as_deref(), Some("r_1"));
    // The buyer is not there, and has nothing to say or to see.
    assert_eq!(request.initiator, Initiator::OffSession);
    assert_eq!((request.method, request.return_url), (None, None));
}

#[test]
fn the_key_at_the_processor_follows_from_the_charge_and_the_refunds_number_alone() {
    let mut paid = Paid::one(1_000, 10);
    let mut other = paid.clone();
    other.seconds += 1_000;
    other.mint = mint(77);
    for number in 1..=3 {
        paid.back(Share::Amount(eur(number)), None).unwrap();
        other.back(Share::Units(vec![(0, 2)]), None).unwrap();
    }
    let keys = |paid: &Paid| -> Vec<String> { paid.attempts.iter().map(|attempt| attempt.key.clone()).collect() };
    assert_eq!(keys(&paid), keys(&other));
    let mut all = keys(&paid);
    all.push(paid.made_by.key.clone());
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 4);
    assert_ne!(paid.refunds[0].id, other.refunds[0].id);
}

#[test]
fn only_a_charge_that_took_its_amount_is_given_back() {
    for state in ChargeState::ALL {
        let mut paid = Paid::one(1_000, 1);
        paid.charge_mut().state = state;
        if state == ChargeState::Succeeded {
            paid.back(Share::Rest, None).unwrap();
            continue;
        }
        paid.charge_mut().captured = 0;
        for share in [Share::Rest, Share::Amount(eur(1)), Share::Units(vec![(0, 1)])] {
            let Error::Refused(refused) = refused(&mut paid, share) else {
                panic!("{state:?}");
            };
            assert_eq!((refused.object, refused.state), ("charge", state.as_str()));
        }
    }
}

#[test]
fn no_more_goes_back_than_is_left_and_the_refusal_says_how_much_that_is() {
    let mut paid = Paid::one(1_000, 10);
    paid.back(Share::Amount(eur(400)), None).unwrap();
    let too_large = |paid: &mut Paid, share, asked: &str| {
        let expected = Error::RefundTooLarge {
            charge: paid.charge().id.to_string(),
            asked: asked.to_owned(),
            left: "6.00 EUR".to_owned(),
        };
        assert_eq!(refused(paid, share), expected);
    };
    too_large(&mut paid, Share::Amount(eur(601)), "6.01 EUR");
    too_large(
        &mut paid,
        Share::Amount(eur(Amount::MAX_MINOR)),
        "90071992547409.91 EUR",
    );
    too_large(&mut paid, Share::Units(vec![(0, 7)]), "7.00 EUR");
    paid.back(Share::Amount(eur(600)), None).unwrap();
    for share in [Share::Rest, Share::Amount(eur(1)), Share::Units(vec![(0, 1)])] {
        assert!(matches!(refused(&mut paid, share), Error::Refused(_)));
    }
}

#[test]
fn what_the_session_does_not_have_is_refused_by_its_place() {
    let mut paid = Paid::of(Currency::EUR, vec![units(1_000, 3), units(0, 5), units(1, 3)]);
    let mut check = |share: Share, field: &str, found: &str, allowed: &str| {
        let Error::Invalid(invalid) = refused(&mut paid, share) else {
            panic!("{field}");
        };
        assert_eq!((invalid.field.as_str(), invalid.found.as_str()), (field, found));
        assert!(invalid.allowed.contains(allowed), "{invalid}");
    };
    let dollars = Amount::minor(1, Currency::USD).unwrap();
    check(Share::Amount(dollars), "amount.currency", "USD", "EUR");
    check(Share::Units(vec![(0, 1), (3, 1)]), "units[1].position", "3", "0 to 2");
    check(Share::Units(vec![(0, 4)]), "units[0].quantity", "4", "up to 3");
    check(
        Share::Units(vec![(2, 1), (0, u32::MAX)]),
        "units[1].quantity",
        "4294967295",
        "up to 3",
    );
    // Two thirds of a cent are nothing, and what was given away gives nothing back.
    check(
        Share::Units(vec![(2, 2)]),
        "units",
        "units that come to 0",
        "more of them",
    );
    check(
        Share::Units(vec![(1, 5), (2, 1)]),
        "units",
        "units that come to 0",
        "other lines",
    );
}

#[test]
fn a_charge_is_given_back_in_a_thousand_parts_at_most() {
    let mut paid = Paid::one(1_000_000, 1);
    for _ in 0..MAX_REFUNDS {
        paid.back(Share::Amount(eur(1)), None).unwrap();
    }
    let Error::Refused(refused) = refused(&mut paid, Share::Rest) else {
        panic!("a refund too many");
    };
    assert_eq!(refused.state, "refunded too many times");
}

#[test]
fn the_cents_that_do_not_divide_fall_where_they_are_due() {
    assert_eq!(amounts(1_000, 3, &[1, 1, 1]), [333, 333, 334]);
    assert_eq!(amounts(1_000, 3, &[2, 1]), [666, 334]);
    assert_eq!(amounts(1_000, 3, &[1, 2]), [333, 667]);
    assert_eq!(amounts(5, 7, &[2, 2, 3]), [1, 1, 3]);
    let huge = Amount::MAX_MINOR;
    assert_eq!(
        amounts(huge, u32::MAX, &[u32::MAX - 1, 1]),
        [huge - 2_097_153, 2_097_153]
    );
}

#[test]
fn after_refunds_that_failed_the_cents_come_out_even_in_the_end() {
    let mut paid = Paid::of(Currency::EUR, vec![units(17, 10), units(100, 1)]);
    for _ in 0..9 {
        paid.back(Share::Units(vec![(0, 1)]), None).unwrap();
    }
    // The cheaper ones fail, so that what went back is ahead of its units.
    for refund in 0..9 {
        let amount = paid.refunds[refund].amount;
        paid.hear(refund, &if amount == eur(1) { declined() } else { gave(amount) });
    }
    assert_eq!((paid.units_left(0), paid.charge().refunded), (4, 12));
    let next = paid.back(Share::Units(vec![(0, 1), (1, 1)]), None).unwrap();
    let parts = |paid: &Paid, refund: usize| -> Vec<i64> {
        let lines = paid.refunds[refund].lines.iter();
        lines.map(|line| line.amount).collect()
    };
    assert_eq!(parts(&paid, next), [0, 100], "not less than nothing");
    let last = paid.back(Share::Units(vec![(0, 3)]), None).unwrap();
    assert_eq!(parts(&paid, last), [5]);
    assert_eq!(paid.charge().refundable(), 0);
}

#[test]
fn units_are_taken_while_their_refund_is_open_or_done_and_free_once_it_is_over() {
    let takes = |state: RefundState| {
        let mut paid = Paid::one(1_000, 3);
        let first = paid.back(Share::Units(vec![(0, 2)]), None).unwrap();
        paid.refunds[first].state = state;
        paid.charge_mut().refund_reserved = 0;
        paid.back(Share::Units(vec![(0, 2)]), None).is_err()
    };
    for state in RefundState::ALL {
        let over = matches!(state, RefundState::Failed | RefundState::Canceled);
        assert_eq!(takes(state), !over, "{state:?}");
    }
}

#[test]
fn what_a_refund_does_to_what_was_sold_is_kept_as_it_is_said_and_left_open_where_it_is_not() {
    let mut paid = Paid::one(1_000, 2);
    for effect in GrantEffect::ALL.map(Some).into_iter().chain([None]) {
        for share in [Share::Amount(eur(400)), Share::Units(vec![(0, 1)]), Share::Rest] {
            let mut paid = paid.clone();
            let made = paid.back(share, effect).unwrap();
            assert_eq!(paid.refunds[made].effect, effect);
        }
    }
    // Nor is it said by what is on its way beside it.
    paid.back(Share::Amount(eur(400)), None).unwrap();
    let rest = paid.back(Share::Rest, None).unwrap();
    assert_eq!(paid.refunds[rest].effect, None);
}

#[test]
fn the_same_wish_on_the_same_rows_gives_the_same_change() {
    let paid = Paid::one(1_000, 3);
    assert_repeatable(|change| {
        let mut mint = paid.mint.clone();
        let wish = wanted(Share::Units(vec![(0, 2)]), RefundSource::Requested, None);
        let next = (Await::Answer, at(0));
        let intended = intend(paid.given(&[]), wish, next, &mut setting(&mut mint, 7)).unwrap();
        intended.record(change)
    });
}

/// Lines that add up to something, in a currency of 0, 2 or 3 decimals.
pub(super) fn carts() -> impl Strategy<Value = (Currency, Vec<Line>)> {
    let quantity = prop_oneof![
        8 => 1..=12_u32,
        1 => Just(1),
        1 => 1..=u32::MAX,
    ];
    let total = prop_oneof![
        2 => 0..=9_i64,
        8 => 0..=20_000_i64,
        1 => 0..=Amount::MAX_MINOR / 8,
    ];
    let line = (total, quantity).prop_map(|(total, quantity)| units(total, quantity));
    let currency = ["JPY", "EUR", "KWD"].map(|code| Currency::parse(code).unwrap());
    (
        prop::sample::select(currency.to_vec()),
        prop::collection::vec(line, 1..=6),
    )
        .prop_map(|(currency, mut lines)| {
            if lines.iter().all(|line| line.totals.total == 0) {
                lines[0].totals = sums(1);
            }
            (currency, lines)
        })
}

/// Checks a few thousand cases, or as many as `TILLITE_CARTS` says, and says how many refunds that were:
/// `TILLITE_CARTS=100000 cargo test --release --all-features --lib carts -- --nocapture`.
pub(super) fn each_of<S: Strategy>(what: &str, cases: S, check: impl Fn(S::Value) -> Result<usize, TestCaseError>) {
    let count = std::env::var("TILLITE_CARTS").map_or(2_000, |count| count.parse().unwrap());
    let mut runner = TestRunner::new(Config {
        cases: count,
        failure_persistence: None,
        ..Config::default()
    });
    let refunds = Cell::new(0);
    let checked = runner.run(&cases, |case| {
        refunds.set(refunds.get() + check(case)?);
        Ok(())
    });
    if let Err(failed) = checked {
        panic!("{failed}");
    }
    println!("{what}: {count} carts, {} refunds", refunds.get());
}

#[test]
fn carts_that_go_back_unit_by_unit_in_any_order_and_grouping_come_to_their_total_exactly() {
    let steps = prop::collection::vec((any::<[u32; 6]>(), any::<u8>()), 1..30);
    each_of("unit by unit", (carts(), steps), |((currency, lines), steps)| {
        let mut paid = Paid::of(currency, lines);
        for (drawn, lot) in steps {
            let lines = drawn.into_iter().zip(0..paid.session.lines.len());
            let share = lines.map(|(drawn, position)| {
                let left = u64::from(paid.units_left(position));
                // None of a line, all that is left of it, or some.
                let taken = match drawn % 4 {
                    0 => 0,
                    1 => left,
                    _ => u64::from(drawn / 4) % (left + 1),
                };
                (position, u32::try_from(taken).unwrap())
            });
            let share: Vec<(usize, u32)> = share.filter(|(_, taken)| *taken > 0).collect();
            if let Err(error) = paid.back(Share::Units(share), None) {
                // Nothing was drawn, what was drawn is worth nothing, or nothing is left.
                prop_assert!(error.field() == Some("units") || paid.charge().refundable() == 0);
            }
            // Meanwhile one of those that are open ends, some of them in failure, so that their units go
            // back once more.
            let open = paid.refunds.iter().position(|refund| refund.state.is_open());
            if let Some(open) = open.filter(|_| lot % 3 > 0) {
                let amount = paid.refunds[open].amount;
                let fails = lot.is_multiple_of(7);
                paid.hear(open, &if fails { declined() } else { gave(amount) });
            }
            paid.check()?;
        }
        // What has not gone back goes now; if it is worth nothing, it may stay.
        if paid.charge().refundable() > 0 {
            let rest = (0..paid.session.lines.len()).map(|position| (position, paid.units_left(position)));
            let rest = rest.filter(|(_, left)| *left > 0).collect();
            paid.back(Share::Units(rest), None).unwrap();
        }
        for refund in 0..paid.refunds.len() {
            let amount = paid.refunds[refund].amount;
            if paid.refunds[refund].state.is_open() {
                paid.hear(refund, &gave(amount));
            }
        }
        paid.check()?;
        prop_assert_eq!(paid.charge().refunded, paid.charge().captured);
        for (position, line) in paid.session.lines.iter().enumerate() {
            let back: i64 = paid.parts(position).map(|part| part.amount).sum();
            prop_assert_eq!(back, line.totals.total);
        }
        Ok(paid.refunds.len())
    });
}
