use std::collections::VecDeque;
use std::time::Duration;

use proptest::prelude::*;

use super::{HOST_AHEAD, assert_repeatable, known, payer, setting, told};
use crate::change::{Change, LedgerEntry};
use crate::decide::checkout::{Begun, Means, begin};
use crate::decide::settlement::{Case, Learned, Unsettled, close, settle};
use crate::entitlement::{GrantSource, Holding};
use crate::error::Error;
use crate::event::Subject;
use crate::hook::{Action, Capabilities, Lookup, Outcome, Request};
use crate::id::Mint;
use crate::money::{Amount, Currency};
use crate::payment::{
    Attempt, Await, CaptureMethod, Charge, ChargeState, Finding, GrantEffect, Hold, Known, LatePayments, Past,
    RefundSource, RefundState,
};
use crate::samples::{at, eur, grant, id, line, mint, session};
use crate::session::{ExpiredReason, Session, SessionState};

/// How long a call may run in these tests.
const LEASE: i64 = 40;

/// A session on its way through payment, loaded again after each commit.
pub(super) struct Sale {
    session: Session,
    /// The attempts, oldest first.
    pub(super) attempts: Vec<Attempt>,
    holdings: Vec<Holding>,
    /// Source and outcome of every piece of evidence about the newest attempt, the newest first.
    said: VecDeque<Known>,
    capabilities: Option<Capabilities>,
    pub(super) late_payments: LatePayments,
    mint: Mint,
    seconds: i64,
}

impl Sale {
    fn of(session: Session) -> Sale {
        let settled = Duration::from_secs(60);
        let mut sale = Sale {
            session,
            attempts: Vec::new(),
            holdings: Vec::new(),
            said: VecDeque::new(),
            capabilities: Some(Capabilities::new().lookup().not_found_final_after(settled)),
            late_payments: LatePayments::Hold,
            mint: mint(8),
            seconds: 100,
        };
        sale.begin();
        sale
    }

    pub(super) fn begun() -> Sale {
        Sale::of(session())
    }

    /// Starts another attempt.
    fn begin(&mut self) {
        let mut at_now = setting(&mut self.mint, self.seconds);
        let means = Means {
            processor: "main".to_owned(),
            method: None,
            context: None,
            payer: payer(),
            lease_until: at(self.seconds + HOST_AHEAD + LEASE),
        };
        let (session, begun) = begin(
            self.session.clone(),
            Ok(means),
            Vec::new(),
            &mut at_now,
            &mut Change::new(),
        )
        .unwrap();
        self.session = session;
        match begun {
            Begun::Attempt(attempt) => {
                self.attempts.push(*attempt);
                self.said.clear();
            }
            Begun::NothingDue | Begun::Already => panic!("nothing to pay"),
        }
    }

    /// Learns something about the newest attempt, whatever that changes.
    pub(super) fn hear(&mut self, finding: &Finding) {
        let _ = self.learn(finding);
    }

    /// Learns something about the newest attempt.
    pub(super) fn learn(&mut self, finding: &Finding) -> Change {
        self.learn_of(self.attempts.len() - 1, finding, 0)
    }

    /// Learns something about an attempt from a call whose token is so much older.
    fn learn_of(&mut self, attempt: usize, finding: &Finding, older: i64) -> Change {
        let mut change = Change::new();
        let (session, mint) = self.decided(attempt, finding, older, &mut change).unwrap();
        self.session = session;
        self.mint = mint;
        if let Some(LedgerEntry {
            attempt: after,
            evidence,
        }) = change.ledger.first()
        {
            self.attempts[attempt] = after.clone();
            for evidence in evidence.iter().filter(|_| attempt + 1 == self.attempts.len()) {
                self.said.push_front(known(evidence));
            }
        }
        change
    }

    /// Has somebody decide about money of the newest attempt.
    pub(super) fn close(&mut self, finding: &Finding) -> Change {
        let (mut change, made_by) = (Change::new(), self.attempt().clone());
        let learned = Learned {
            finding,
            actor: "operator:ada".to_owned(),
            token: made_by.token,
            asked_at: at(self.seconds + HOST_AHEAD),
            capabilities: None,
        };
        let (found, mut mint) = (self.found(self.attempts.len() - 1), self.mint.clone());
        let at_now = &mut setting(&mut mint, self.seconds);
        self.session = close(found, &made_by, &learned, at_now, &mut change).unwrap();
        self.mint = mint;
        if let Some(entry) = change.ledger.first() {
            let last = self.attempts.len() - 1;
            self.attempts[last] = entry.attempt.clone();
        }
        change
    }

    fn found(&self, attempt: usize) -> Unsettled {
        Unsettled {
            case: Case {
                answers: Vec::new(),
                past: Past::of(&self.said.iter().cloned().collect::<Vec<_>>()),
                attempt: self.attempts[attempt].clone(),
                to_ask: false,
            },
            session: self.session.clone(),
            holdings: self.holdings.clone(),
            late_payments: self.late_payments,
            known_method: None,
        }
    }

    fn decided(
        &self,
        attempt: usize,
        finding: &Finding,
        older: i64,
        change: &mut Change,
    ) -> Result<(Session, Mint), Error> {
        let found = self.found(attempt);
        let learned = Learned {
            finding,
            actor: "processor:main".to_owned(),
            token: found.case.attempt.token - older,
            asked_at: at(self.seconds + HOST_AHEAD),
            capabilities: self.capabilities.as_ref(),
        };
        let mut mint = self.mint.clone();
        let session = settle(found, &learned, &mut setting(&mut mint, self.seconds), change)?;
        Ok((session, mint))
    }

    pub(super) fn charges(&self) -> &[Charge] {
        &self.session.payment_intent.as_ref().unwrap().charges
    }

    pub(super) fn charge(&self) -> &Charge {
        self.charges().last().unwrap()
    }

    pub(super) fn attempt(&self) -> &Attempt {
        self.attempts.last().unwrap()
    }

    /// Seconds of host time until the newest attempt is looked up; none if it is not.
    fn next_lookup(&self) -> Option<i64> {
        match self.attempt().next {
            Some((Await::Lookup, due)) => Some(due.as_secs() - at(self.seconds + HOST_AHEAD).as_secs()),
            _ => None,
        }
    }
}

fn answer(outcome: Outcome) -> Finding {
    Finding::Executed(outcome)
}

pub(super) fn took(amount: Amount) -> Finding {
    answer(Outcome::succeeded("r_1", amount))
}

fn declined() -> Finding {
    answer(Outcome::Declined {
        code: "card_declined".to_owned(),
        message: "The card was declined.".to_owned(),
        advice: None,
    })
}

fn unclear() -> Finding {
    answer(Outcome::Unknown {
        why: "timeout".to_owned(),
    })
}

fn pending() -> Finding {
    answer(Outcome::Pending {
        reference: "r_1".to_owned(),
    })
}

fn cannot_tell() -> Finding {
    Finding::LookedUp(Lookup::CannotTell { why: "403".to_owned() })
}

const COMPLETED: [&str; 5] = [
    "charge.succeeded initiated>succeeded",
    "payment_intent.succeeded processing>succeeded",
    "checkout.session.completed processing>complete",
    "entitlement.granted none>active",
    "grant.created",
];

#[test]
fn success_settles_the_session_grants_what_it_sold_and_does_so_once() {
    let mut sale = Sale::begun();
    assert_eq!(told(&sale.learn(&took(eur(999)))), COMPLETED);
    assert_eq!(sale.session.state, SessionState::Complete);
    assert_eq!(sale.session.completed_at, Some(at(100)));
    let charge = sale.charge();
    assert_eq!((charge.captured, charge.settles, charge.hold), (999, true, None));
    assert_eq!(charge.reference.as_deref(), Some("r_1"));
    assert_eq!(
        (sale.attempt().next, sale.attempt().reference.as_deref()),
        (None, Some("r_1"))
    );
    let settled = sale.session.clone();
    for finding in [took(eur(999)), took(eur(1)), declined(), unclear(), cannot_tell()] {
        assert_eq!(told(&sale.learn(&finding)), Vec::<String>::new(), "{finding:?}");
        assert_eq!(sale.session, settled, "{finding:?}");
    }
}

#[test]
fn each_line_grants_to_the_beneficiary_and_a_tier_bought_twice_lasts_twice_as_long() {
    let mut addon = line("addon", 1);
    addon.grants.as_mut().unwrap().line = "addons".to_owned();
    let mut nothing = line("x", 1);
    nothing.grants = None;
    let sold = Session {
        for_uid: Some("u_2".to_owned()),
        lines: vec![line("member", 499), nothing, addon, line("member", 499)],
        ..session()
    };
    let mut sale = Sale::of(sold);
    let held = grant(1, "member", 1, 0, Some(1_000));
    let mut holding = Holding::empty(id(7), "u_2", "main", at(0));
    holding.grants.push(held);
    sale.holdings.push(holding);
    let change = sale.learn(&took(eur(999)));
    let month = 30 * 86_400;
    let granted: Vec<_> = change
        .entries
        .iter()
        .filter_map(|entry| match &entry.subject {
            Subject::Grant(grant) => Some((grant.source.clone(), grant.starts_at, grant.ends_at)),
            _ => None,
        })
        .collect();
    let source = |position| GrantSource::Sale(format!("{}:{position}", sale.session.id));
    assert_eq!(
        granted,
        [
            (source(0), at(1_000), Some(at(1_000 + month))),
            (source(2), at(100), Some(at(100 + month))),
            (source(3), at(1_000 + month), Some(at(1_000 + 2 * month))),
        ]
    );
    for entry in &change.entries {
        if let Subject::Entitlement(step) = &entry.subject {
            assert_eq!(step.uid, "u_2");
        }
    }
}

#[test]
fn a_sale_to_nobody_grants_nothing() {
    let mut sale = Sale::of(Session {
        for_uid: None,
        ..session()
    });
    assert_eq!(told(&sale.learn(&took(eur(999)))), COMPLETED[..3]);
}

#[test]
fn success_after_failure_is_believed_held_as_late_and_grants_nothing() {
    let mut sale = Sale::begun();
    sale.hear(&declined());
    assert_eq!(
        told(&sale.learn(&took(eur(999)))),
        [
            "charge.contradicted",
            "charge.succeeded failed>succeeded",
            "checkout.session.late_payment",
        ]
    );
    let charge = sale.charge();
    assert_eq!(
        (charge.captured, charge.settles, charge.hold),
        (999, false, Some(Hold::Late))
    );
    assert_eq!((charge.state, &charge.failure), (ChargeState::Succeeded, &None));
    assert_eq!(sale.session.state, SessionState::Open);
}

#[test]
fn a_second_success_is_surplus_and_changes_nothing_that_was_settled() {
    let mut sale = Sale::begun();
    sale.hear(&declined());
    sale.begin();
    sale.hear(&took(eur(999)));
    let change = sale.learn_of(0, &took(eur(999)), 0);
    assert_eq!(
        told(&change),
        [
            "charge.contradicted",
            "charge.succeeded failed>succeeded",
            "checkout.session.late_payment",
        ]
    );
    let holds: Vec<_> = sale
        .charges()
        .iter()
        .map(|charge| (charge.hold, charge.settles))
        .collect();
    assert_eq!(holds, [(Some(Hold::Surplus), false), (None, true)]);
    assert_eq!(sale.session.state, SessionState::Complete);
}

#[test]
fn money_that_settles_nothing_goes_back_by_itself_in_the_same_change() {
    let late = || {
        let mut sale = Sale::begun();
        sale.hear(&declined());
        sale
    };
    let surplus = || {
        let mut sale = late();
        sale.begin();
        sale.hear(&took(eur(999)));
        sale
    };
    for (mut sale, source, hold) in [
        (late(), RefundSource::Late, Hold::Late),
        (surplus(), RefundSource::Surplus, Hold::Surplus),
    ] {
        sale.late_payments = LatePayments::Refund;
        let change = sale.learn_of(0, &took(eur(999)), 0);
        assert_eq!(
            told(&change),
            [
                "charge.contradicted",
                "charge.succeeded failed>succeeded",
                "refund.created >pending",
                "checkout.session.late_payment",
            ]
        );
        let charge = &sale.charges()[0];
        assert_eq!(
            (charge.captured, charge.refund_reserved, charge.hold),
            (999, 999, Some(hold))
        );
        let refunds = change.entries.iter().filter_map(|entry| match &entry.subject {
            Subject::Refund(refund) => Some(refund),
            _ => None,
        });
        let [refund] = refunds.collect::<Vec<_>>()[..] else {
            panic!("one refund");
        };
        assert_eq!((refund.amount, refund.source, refund.number), (eur(999), source, 1));
        assert_eq!(
            (refund.state, refund.effect),
            (RefundState::Pending, Some(GrantEffect::Keep))
        );
        let attempt = &change.ledger[1].attempt;
        assert_eq!(attempt.subject, refund.id.as_str());
        assert_eq!(attempt.next, Some((Await::Call, at(sale.seconds + HOST_AHEAD))));
        let related = Request::from_bytes(&attempt.request).unwrap().related.unwrap();
        assert_eq!(related.attempt, sale.attempts[0].id.to_string());
        assert_eq!(related.reference.as_deref(), Some("r_1"));
    }
    // What settles its session stays, and so does what came over another amount.
    for (finding, hold) in [(took(eur(999)), None), (took(eur(998)), Some(Hold::Mismatch))] {
        let mut sale = Sale::begun();
        sale.late_payments = LatePayments::Refund;
        let change = sale.learn(&finding);
        assert!(!told(&change).contains(&"refund.created >pending".to_owned()));
        assert_eq!((sale.charge().refund_reserved, sale.charge().hold), (0, hold));
    }
}

#[test]
fn another_amount_or_currency_is_held_for_a_human_and_grants_nothing() {
    let usd = Amount::minor(999, Currency::USD).unwrap();
    for amount in [eur(998), eur(1_000), usd] {
        let mut sale = Sale::begun();
        let change = sale.learn(&took(amount));
        assert_eq!(
            told(&change),
            ["charge.mismatch initiated>unknown", "charge.unresolved"]
        );
        let charge = sale.charge();
        assert_eq!(
            (charge.state, charge.hold),
            (ChargeState::Unknown, Some(Hold::Mismatch))
        );
        assert_eq!((charge.captured, charge.settles), (0, false));
        assert_eq!(sale.session.state, SessionState::Processing);
        assert_eq!((sale.attempt().next, sale.attempt().unresolved), (None, true));
        assert_eq!(change.ledger[0].evidence.as_ref().unwrap().verdict.amount, Some(amount));
    }
}

#[test]
fn a_held_mismatch_stays_as_it_is_unless_the_right_amount_was_taken_after_all() {
    let mut sale = Sale::begun();
    sale.hear(&took(eur(1)));
    sale.hear(&took(eur(999)));
    assert_eq!((sale.session.state, sale.charge().hold), (SessionState::Complete, None));
    for later in [took(eur(1)), declined(), unclear(), pending(), cannot_tell()] {
        let mut sale = Sale::begun();
        sale.hear(&took(eur(1)));
        let held = sale.session.clone();
        let change = sale.learn(&later);
        assert_eq!(told(&change), Vec::<String>::new(), "{later:?}");
        assert!(!change.ledger[0].evidence.as_ref().unwrap().moved, "{later:?}");
        assert_eq!(sale.session, held, "{later:?}");
        assert_eq!(
            (sale.attempt().next, sale.attempt().unresolved),
            (None, true),
            "{later:?}"
        );
    }
}

#[test]
fn failure_lets_the_session_be_paid_again_and_closes_it_if_its_time_passed_meanwhile() {
    let failed = [
        "charge.failed initiated>failed",
        "payment_intent.payment_failed processing>requires_payment_method",
        "checkout.payment.failed processing>open",
    ];
    let not_sent = answer(Outcome::NotSent { why: "dns".to_owned() });
    for finding in [declined(), not_sent] {
        for (seconds, overdue) in [(100, false), (86_399, false), (86_400, true), (100_000, true)] {
            let mut sale = Sale::begun();
            sale.seconds = seconds;
            let mut expected = failed.to_vec();
            let mut state = SessionState::Open;
            if overdue {
                expected.push("checkout.session.expired open>expired");
                state = SessionState::Expired(ExpiredReason::Timeout);
            }
            assert_eq!(told(&sale.learn(&finding)), expected, "{seconds}");
            assert_eq!(sale.session.state, state, "{seconds}");
            assert!(sale.charge().failure.is_some());
            assert_eq!(sale.attempt().next, None);
        }
    }
}

#[test]
fn a_lease_ends_not_before_its_time_and_not_once_something_was_heard() {
    let mut sale = Sale::begun();
    sale.seconds = 100 + LEASE - 1;
    let before = sale.session.clone();
    assert!(sale.learn(&Finding::LeaseEnded).is_empty());
    assert_eq!(sale.session, before);
    sale.seconds = 100 + LEASE;
    let change = sale.learn(&Finding::LeaseEnded);
    assert_eq!(told(&change), ["charge.unknown initiated>unknown"]);
    assert_eq!(sale.next_lookup(), Some(0));
    assert!(sale.learn(&Finding::LeaseEnded).is_empty());
    let mut heard = Sale::begun();
    heard.hear(&pending());
    heard.seconds = 100 + LEASE;
    assert!(heard.learn(&Finding::LeaseEnded).is_empty());
}

#[test]
fn an_unknown_outcome_is_looked_up_ever_more_rarely_and_told_once_after_eight_times() {
    let mut sale = Sale::begun();
    assert_eq!(told(&sale.learn(&unclear())), ["charge.unknown initiated>unknown"]);
    assert_eq!(sale.next_lookup(), Some(0));
    let gaps = [10, 60, 300, 1_800, 7_200, 21_600, 21_600, 21_600, 21_600, 21_600];
    for (round, gap) in gaps.into_iter().enumerate() {
        let change = sale.learn(&cannot_tell());
        let told = told(&change);
        let expected: &[&str] = if round + 1 == 8 { &["charge.unresolved"] } else { &[] };
        assert_eq!(told, expected, "look-up {}", round + 1);
        assert_eq!(sale.next_lookup(), Some(gap), "look-up {}", round + 1);
        assert_eq!(sale.attempt().unresolved, round + 1 >= 8);
    }
    // A result that comes after all ends the case.
    sale.hear(&took(eur(999)));
    assert_eq!(sale.session.state, SessionState::Complete);
    assert_eq!((sale.attempt().next, sale.attempt().unresolved), (None, false));
}

#[test]
fn a_payment_that_the_processor_says_is_pending_is_looked_up_for_as_long_as_it_takes() {
    let still = Finding::LookedUp(Lookup::Found(Outcome::Pending {
        reference: "r_1".to_owned(),
    }));
    let mut sale = Sale::begun();
    sale.hear(&pending());
    for _ in 0..20 {
        assert!(told(&sale.learn(&still)).is_empty());
    }
    assert_eq!((sale.next_lookup(), sale.attempt().unresolved), (Some(21_600), false));
}

#[test]
fn a_live_charge_that_look_ups_say_nothing_about_is_a_case_for_a_human_until_it_is_heard_of() {
    let acted = Outcome::RequiresAction {
        reference: "r_1".to_owned(),
        action: Action::Client("x".to_owned()),
        within: Duration::from_secs(1),
    };
    let accepted = Outcome::Pending {
        reference: "r_1".to_owned(),
    };
    let lost = Outcome::Unknown { why: "cut".to_owned() };
    let nowhere = Finding::LookedUp(Lookup::NotFound);
    let nothing = [cannot_tell(), Finding::LookedUp(Lookup::Found(lost)), nowhere];
    for live in [accepted, acted] {
        let still = Finding::LookedUp(Lookup::Found(live.clone()));
        let mut sale = Sale::begun();
        sale.hear(&answer(live));
        for _ in 0..2 {
            for round in 1..=20 {
                let change = sale.learn(&nothing[round % nothing.len()]);
                let expected: &[&str] = if round == 8 { &["charge.unresolved"] } else { &[] };
                assert_eq!(told(&change), expected, "{still:?}, look-up {round}");
                assert_eq!(sale.attempt().unresolved, round >= 8, "{still:?}, look-up {round}");
            }
            assert!(told(&sale.learn(&still)).is_empty());
            assert!(!sale.attempt().unresolved);
        }
        // An older call's word is heard as well.
        for _ in 0..8 {
            sale.hear(&cannot_tell());
        }
        assert!(sale.attempt().unresolved);
        assert!(told(&sale.learn_of(0, &still, 1)).is_empty());
        assert!(!sale.attempt().unresolved);
    }
}

proptest! {
    #[test]
    fn a_case_for_a_human_is_a_live_charge_of_which_the_last_eight_look_ups_say_nothing(
        said in prop::collection::vec((0_usize..12).prop_map(|drawn| drawn == 0), 0..60),
    ) {
        let mut sale = Sale::begun();
        sale.hear(&unclear());
        let mut silent = 0;
        for heard in said {
            let outcome = Outcome::Pending { reference: "r_1".to_owned() };
            let finding = if heard { Finding::LookedUp(Lookup::Found(outcome)) } else { cannot_tell() };
            silent = if heard { 0 } else { silent + 1 };
            let change = sale.learn(&finding);
            let told = told(&change).contains(&"charge.unresolved".to_owned());
            prop_assert_eq!(told, silent == 8);
            prop_assert_eq!(sale.attempt().unresolved, silent >= 8);
            prop_assert!(sale.next_lookup().is_some());
        }
    }
}

#[test]
fn a_charge_that_was_acknowledged_is_a_case_for_a_human_once_it_can_no_longer_be_looked_up() {
    let mut sale = Sale::begun();
    sale.capabilities = Some(Capabilities::new());
    assert_eq!(told(&sale.learn(&pending())), ["charge.pending initiated>pending"]);
    assert!(!sale.attempt().unresolved);
    assert_eq!(told(&sale.learn(&cannot_tell())), ["charge.unresolved"]);
    assert_eq!((sale.attempt().next, sale.attempt().unresolved), (None, true));
}

#[test]
fn without_look_ups_an_unknown_outcome_is_a_case_for_a_human_at_once() {
    let mut sale = Sale::begun();
    sale.capabilities = Some(Capabilities::new());
    let change = sale.learn(&unclear());
    assert_eq!(told(&change), ["charge.unknown initiated>unknown", "charge.unresolved"]);
    assert_eq!((sale.attempt().next, sale.attempt().unresolved), (None, true));
    // A process without the processor does not know better: others may be able to look it up.
    let mut elsewhere = Sale::begun();
    elsewhere.capabilities = None;
    elsewhere.hear(&unclear());
    assert_eq!(
        (elsewhere.next_lookup(), elsewhere.attempt().unresolved),
        (Some(0), false)
    );
}

#[test]
fn not_found_fails_the_charge_only_when_it_is_final_counted_from_when_the_call_was_over() {
    let not_found = Finding::LookedUp(Lookup::NotFound);
    let mut sale = Sale::begun();
    sale.seconds = 150;
    sale.hear(&unclear());
    sale.seconds = 209;
    assert!(told(&sale.learn(&not_found)).is_empty());
    assert_eq!(sale.charge().state, ChargeState::Unknown);
    sale.seconds = 210;
    assert_eq!(told(&sale.learn(&not_found))[0], "charge.failed unknown>failed");
    assert_eq!(sale.charge().failure.as_ref().unwrap().code, "never_arrived");
    assert_eq!(sale.session.state, SessionState::Open);
}

#[test]
fn what_was_acknowledged_never_ends_by_not_being_found_with_or_without_a_reference() {
    let long_ago = Finding::LookedUp(Lookup::NotFound);
    for reference in ["r_1", "pi_4242424242424242", ""] {
        let receipt = crate::hook::Receipt::new(reference, eur(999));
        let acknowledgements = [
            (
                Outcome::Pending {
                    reference: reference.to_owned(),
                },
                ChargeState::Pending,
            ),
            (
                Outcome::RequiresAction {
                    reference: reference.to_owned(),
                    action: Action::Client("x".to_owned()),
                    within: Duration::from_secs(1),
                },
                ChargeState::RequiresAction,
            ),
            (
                Outcome::Authorized {
                    receipt,
                    expires_at: None,
                },
                ChargeState::Authorized,
            ),
            (Outcome::succeeded(reference, eur(1)), ChargeState::Unknown),
        ];
        for (outcome, state) in acknowledgements {
            for finding in [
                answer(outcome.clone()),
                Finding::LookedUp(Lookup::Found(outcome.clone())),
            ] {
                let mut sale = Sale::begun();
                sale.hear(&unclear());
                sale.hear(&finding);
                let kept = (reference == "r_1").then_some(reference);
                assert_eq!(sale.attempt().reference.as_deref(), kept);
                sale.seconds += 1_000_000;
                let change = sale.learn(&long_ago);
                assert_eq!(sale.charge().state, state, "{finding:?}");
                let said = change.ledger[0].evidence.as_ref().unwrap().verdict.outcome;
                assert_eq!(said, "not_found", "{finding:?}");
            }
        }
    }
}

#[test]
fn an_older_calls_evidence_counts_but_leaves_the_schedule_to_the_newest() {
    let mut sale = Sale::begun();
    sale.hear(&unclear());
    sale.seconds = 200;
    let scheduled = (sale.attempt().next, sale.attempt().asked);
    for finding in [cannot_tell(), pending()] {
        let change = sale.learn_of(0, &finding, 1);
        assert!(change.ledger[0].evidence.is_some());
        assert_eq!((sale.attempt().next, sale.attempt().asked), scheduled, "{finding:?}");
    }
    assert_eq!(sale.charge().state, ChargeState::Pending);
    assert_eq!(told(&sale.learn_of(0, &took(eur(999)), 1)).len(), 5);
    assert_eq!(sale.session.state, SessionState::Complete);
    assert_eq!(sale.attempt().next, None);
}

#[test]
fn what_the_buyer_must_do_is_kept_until_something_else_is_learned() {
    let mut sale = Sale::begun();
    let action = Action::Redirect("https://bank.example/3ds".to_owned());
    let required = answer(Outcome::RequiresAction {
        reference: "r_1".to_owned(),
        action: action.clone(),
        within: Duration::from_secs(600),
    });
    assert_eq!(
        told(&sale.learn(&required)),
        [
            "charge.requires_action initiated>requires_action",
            "payment_intent.requires_action processing>requires_action",
        ]
    );
    assert_eq!(
        (&sale.charge().action, sale.charge().action_deadline),
        (&Some(action), Some(at(700)))
    );
    assert_eq!(
        told(&sale.learn(&pending())),
        [
            "charge.pending requires_action>pending",
            "payment_intent.processing requires_action>processing",
        ]
    );
    assert_eq!((&sale.charge().action, sale.charge().action_deadline), (&None, None));
}

#[test]
fn an_authorisation_is_held_for_the_same_span_of_engine_time() {
    let mut sale = Sale::of(Session {
        capture: CaptureMethod::Manual,
        ..session()
    });
    let authorized = answer(Outcome::Authorized {
        receipt: crate::hook::Receipt::new("r_1", eur(999)),
        expires_at: Some(at(100 + HOST_AHEAD + 3_600)),
    });
    assert_eq!(
        told(&sale.learn(&authorized)),
        [
            "charge.authorized initiated>authorized",
            "payment_intent.amount_capturable_updated processing>requires_capture",
        ]
    );
    let charge = sale.charge();
    assert_eq!((charge.authorized, charge.captured), (999, 0));
    assert_eq!(charge.authorized_until, Some(at(100 + 3_600)));
    // It waits for what the host says, or for its time to be over.
    assert_eq!(sale.attempt().next, None);
    sale.hear(&declined());
    let charge = sale.charge();
    assert_eq!(
        (charge.state, charge.authorized, charge.authorized_until),
        (ChargeState::Failed, 0, None)
    );
    assert_eq!(sale.session.state, SessionState::Open);
}

#[test]
fn whatever_is_learned_is_written_down_whether_it_moves_anything_or_not() {
    let findings = [
        (unclear(), true),
        (pending(), true),
        (unclear(), false),
        (cannot_tell(), false),
        (declined(), true),
        (pending(), false),
        (took(eur(999)), true),
        (declined(), false),
    ];
    let mut sale = Sale::begun();
    for (round, (finding, moved)) in findings.into_iter().enumerate() {
        sale.seconds += 1;
        let change = sale.learn(&finding);
        let [LedgerEntry { attempt, evidence }] = &change.ledger[..] else {
            panic!("{:?}", change.ledger);
        };
        let evidence = evidence.as_ref().unwrap();
        let number = u32::try_from(round).unwrap() + 1;
        assert_eq!((evidence.number, attempt.evidence), (number, number));
        assert_eq!(evidence.moved, moved, "{finding:?}");
        assert_eq!(evidence.actor, "processor:main");
        assert_eq!(evidence.engine_time, at(sale.seconds));
        assert_eq!(evidence.host_time, at(sale.seconds + HOST_AHEAD));
        assert_eq!(attempt.heard_at, Some(at(101 + HOST_AHEAD)));
    }
}

#[test]
fn an_object_counts_its_events() {
    let mut sale = Sale::begun();
    for finding in [unclear(), declined(), took(eur(999))] {
        let before = sale.session.clone();
        let change = sale.learn(&finding);
        for entry in &change.entries {
            let known = match &entry.subject {
                Subject::Session(_) => before.revision,
                Subject::PaymentIntent(_) => before.payment_intent.as_ref().unwrap().revision,
                Subject::Charge(_) => before.payment_intent.as_ref().unwrap().charges[0].revision,
                other => panic!("{other:?}"),
            };
            let events = i64::try_from(entry.happenings.len()).unwrap();
            assert_eq!(entry.subject.revision(), known + events);
        }
        assert!(!change.entries.is_empty(), "{finding:?}");
    }
}

#[test]
fn the_same_evidence_on_the_same_rows_gives_the_same_change() {
    for finding in [took(eur(999)), took(eur(1)), declined(), unclear(), pending()] {
        let sale = Sale::begun();
        assert_repeatable(|change| sale.decided(0, &finding, 0, change).map(|(session, _)| session));
    }
}

#[test]
fn an_attempt_without_its_charge_is_a_damaged_file() {
    let sale = Sale::begun();
    let mut without_intent = Sale::begun();
    without_intent.session.payment_intent = None;
    let mut without_charge = Sale::begun();
    without_charge.session.payment_intent.as_mut().unwrap().charges.clear();
    for damaged in [without_intent, without_charge] {
        let mut change = Change::new();
        let error = damaged
            .decided(0, &declined(), 0, &mut change)
            .map(|(session, _)| session)
            .unwrap_err();
        assert_eq!(error.code(), "storage_corrupt");
        assert!(change.is_empty());
    }
    assert!(sale.decided(0, &declined(), 0, &mut Change::new()).is_ok());
}
