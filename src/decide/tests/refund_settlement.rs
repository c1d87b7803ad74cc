use std::time::Duration;

use proptest::prelude::*;

use super::refunding::{LEASE, Paid, carts, each_of, units};
use super::{HOST_AHEAD, assert_repeatable, told};
use crate::change::Change;
use crate::error::Error;
use crate::event::Subject;
use crate::hook::{Action, Capabilities, Lookup, Outcome, Receipt};
use crate::money::{Amount, Currency};
use crate::payment::{Await, Finding, GrantEffect, Hold, RefundSource, RefundState, Resolution, Share};
use crate::samples::{at, eur, line};
use crate::session::Line;

fn answer(outcome: Outcome) -> Finding {
    Finding::Executed(outcome)
}

fn found(outcome: Outcome) -> Finding {
    Finding::LookedUp(Lookup::Found(outcome))
}

/// The answer that so much went back.
pub(super) fn gave(amount: Amount) -> Finding {
    answer(Outcome::succeeded("re_1", amount))
}

fn no() -> Outcome {
    Outcome::Declined {
        code: "expired_or_canceled_card".to_owned(),
        message: "The card is gone.".to_owned(),
        advice: None,
    }
}

pub(super) fn declined() -> Finding {
    answer(no())
}

fn lost() -> Outcome {
    Outcome::Unknown {
        why: "timeout".to_owned(),
    }
}

pub(super) fn unclear() -> Finding {
    answer(lost())
}

fn not_sent(why: &str) -> Finding {
    answer(Outcome::NotSent { why: why.to_owned() })
}

fn canceled() -> Outcome {
    Outcome::Canceled {
        why: "by the merchant".to_owned(),
    }
}

fn accepted() -> Outcome {
    Outcome::Pending {
        reference: "re_1".to_owned(),
    }
}

fn not_found() -> Finding {
    Finding::LookedUp(Lookup::NotFound)
}

fn cannot_tell() -> Finding {
    Finding::LookedUp(Lookup::CannotTell { why: "403".to_owned() })
}

const NOTHING: [&str; 0] = [];

/// 10.00 EUR for three units, of which 4.00 are on their way back.
fn on_its_way() -> Paid {
    let mut paid = Paid::one(1_000, 3);
    paid.back(Share::Amount(eur(400)), None).unwrap();
    paid
}

/// What is reserved and what went back.
fn booked(paid: &Paid) -> (i64, i64) {
    (paid.charge().refund_reserved, paid.charge().refunded)
}

/// What may be shown of the first refund.
fn state(paid: &Paid) -> RefundState {
    paid.refunds[0].state
}

/// Seconds of host time until the first refund's attempt is due, and for what.
fn next(paid: &Paid) -> Option<(Await, i64)> {
    let (awaited, due) = paid.attempts[0].next?;
    Some((awaited, due.as_secs() - at(paid.seconds + HOST_AHEAD).as_secs()))
}

#[test]
fn money_that_went_back_is_booked_once() {
    for finding in [gave(eur(400)), found(Outcome::succeeded("re_1", eur(400)))] {
        let mut paid = on_its_way();
        assert_eq!(booked(&paid), (400, 0));
        assert_eq!(
            told(&paid.learn(0, &finding)),
            ["refund.updated pending>succeeded", "charge.refunded"]
        );
        assert_eq!((state(&paid), booked(&paid)), (RefundState::Succeeded, (0, 400)));
        assert_eq!(paid.refunds[0].reference.as_deref(), Some("re_1"));
        assert_eq!(
            (next(&paid), paid.attempts[0].reference.as_deref()),
            (None, Some("re_1"))
        );
        let done = paid.clone();
        let later = [
            finding,
            gave(eur(400)),
            gave(eur(1)),
            unclear(),
            answer(accepted()),
            not_found(),
        ];
        for finding in later {
            assert_eq!(told(&paid.learn(0, &finding)), NOTHING, "{finding:?}");
            assert_eq!(paid.refunds, done.refunds, "{finding:?}");
            assert_eq!((booked(&paid), next(&paid)), ((0, 400), None), "{finding:?}");
        }
    }
}

#[test]
fn a_refund_that_is_over_gives_its_amount_free() {
    let over = [
        (
            declined(),
            RefundState::Failed,
            "refund.failed pending>failed",
            Some("expired_or_canceled_card"),
        ),
        (
            found(no()),
            RefundState::Failed,
            "refund.failed pending>failed",
            Some("expired_or_canceled_card"),
        ),
        (
            not_sent("dns"),
            RefundState::Failed,
            "refund.failed pending>failed",
            Some("not_sent"),
        ),
        (
            answer(canceled()),
            RefundState::Canceled,
            "refund.updated pending>canceled",
            None,
        ),
    ];
    for (finding, ends, told_first, code) in over {
        let mut paid = on_its_way();
        assert_eq!(told(&paid.learn(0, &finding)), [told_first, "charge.updated"]);
        assert_eq!((state(&paid), booked(&paid), next(&paid)), (ends, (0, 0), None));
        let failure = paid.refunds[0].failure.as_ref();
        assert_eq!(failure.map(|failure| failure.code.as_str()), code);
        paid.back(Share::Amount(eur(1_000)), None).unwrap();
    }
}

#[test]
fn what_nobody_knows_stays_reserved_until_there_is_evidence() {
    for doubt in [unclear(), Finding::LeaseEnded] {
        let mut paid = on_its_way();
        paid.seconds += LEASE;
        assert_eq!(told(&paid.learn(0, &doubt)), ["refund.updated pending>unknown"]);
        assert_eq!(next(&paid), Some((Await::Lookup, 0)));
        for gap in [10, 60, 300, 1_800, 7_200, 21_600, 21_600] {
            assert_eq!(told(&paid.learn(0, &cannot_tell())), NOTHING);
            assert_eq!(next(&paid), Some((Await::Lookup, gap)));
        }
        assert_eq!(told(&paid.learn(0, &cannot_tell())), ["refund.unresolved"]);
        assert_eq!((state(&paid), booked(&paid)), (RefundState::Unknown, (400, 0)));
        assert!(paid.back(Share::Amount(eur(601)), None).is_err());
        let mut gone = paid.clone();
        assert_eq!(
            told(&gone.learn(0, &gave(eur(400)))),
            ["refund.updated unknown>succeeded", "charge.refunded"]
        );
        assert!(!gone.attempts[0].unresolved);
        assert_eq!(
            told(&paid.learn(0, &found(no()))),
            ["refund.failed unknown>failed", "charge.updated"]
        );
        assert_eq!(booked(&paid), (0, 0));
    }
}

#[test]
fn a_lease_ends_not_before_its_time_and_not_once_something_was_heard() {
    let mut paid = on_its_way();
    paid.seconds += LEASE - 1;
    assert!(paid.learn(0, &Finding::LeaseEnded).is_empty());
    let mut heard = paid.clone();
    heard.hear(0, &answer(accepted()));
    heard.seconds += 1;
    assert!(heard.learn(0, &Finding::LeaseEnded).is_empty());
    paid.seconds += 1;
    assert!(!paid.learn(0, &Finding::LeaseEnded).is_empty());
}

#[test]
fn an_accepted_refund_keeps_the_name_by_which_it_is_looked_up_and_is_accepted_for_good() {
    let action = Outcome::RequiresAction {
        reference: "re_1".to_owned(),
        action: Action::Client("x".to_owned()),
        within: Duration::from_secs(60),
    };
    for outcome in [accepted(), action] {
        let mut paid = on_its_way();
        let change = paid.learn(0, &answer(outcome.clone()));
        assert_eq!(told(&change), ["refund.updated"], "{outcome:?}");
        assert!(change.ledger[0].evidence.as_ref().unwrap().moved);
        let named = Some("re_1");
        assert_eq!(
            (state(&paid), paid.refunds[0].reference.as_deref()),
            (RefundState::Pending, named)
        );
        assert_eq!(
            (next(&paid), paid.attempts[0].reference.as_deref()),
            (Some((Await::Lookup, 0)), named)
        );
        // Heard again, or for a while not at all, it is no news; nor is it ever taken for lost.
        paid.seconds += 1_000_000;
        let other = Outcome::Pending {
            reference: "re_2".to_owned(),
        };
        for finding in [
            found(outcome.clone()),
            found(lost()),
            unclear(),
            not_found(),
            found(other),
        ] {
            assert_eq!(told(&paid.learn(0, &finding)), NOTHING, "{finding:?}");
            assert_eq!(
                (state(&paid), paid.refunds[0].reference.as_deref()),
                (RefundState::Pending, named)
            );
        }
        assert_eq!(told(&paid.learn(0, &found(no())))[0], "refund.failed pending>failed");
    }
    // A refund that was unknown was accepted after all.
    let mut paid = on_its_way();
    paid.hear(0, &unclear());
    assert_eq!(
        told(&paid.learn(0, &found(accepted()))),
        ["refund.updated unknown>pending"]
    );
    assert_eq!(paid.attempts[0].reference.as_deref(), Some("re_1"));
}

#[test]
fn another_amount_than_asked_waits_for_a_person_whatever_is_said_afterwards() {
    let usd = Amount::minor(400, Currency::USD).unwrap();
    for amount in [eur(399), eur(401), eur(0), usd] {
        let mut paid = on_its_way();
        assert_eq!(
            told(&paid.learn(0, &gave(amount))),
            ["refund.updated pending>unknown", "refund.unresolved"]
        );
        assert!(paid.refunds[0].mismatched);
        assert_eq!((booked(&paid), next(&paid)), ((400, 0), None));
        assert!(paid.attempts[0].unresolved);
        let held = paid.clone();
        for finding in [
            gave(amount),
            gave(eur(1)),
            declined(),
            not_sent("dns"),
            answer(canceled()),
            found(no()),
        ] {
            assert_eq!(told(&paid.learn(0, &finding)), NOTHING, "{finding:?}");
            assert_eq!((&paid.refunds, booked(&paid)), (&held.refunds, (400, 0)), "{finding:?}");
        }
        assert_eq!(
            told(&paid.learn(0, &gave(eur(400)))),
            ["refund.updated unknown>succeeded", "charge.refunded"]
        );
        assert!(!paid.refunds[0].mismatched && !paid.attempts[0].unresolved);
    }
}

#[test]
fn only_a_look_up_tells_that_a_bank_has_sent_the_money_back() {
    let done = || {
        let mut paid = on_its_way();
        paid.hear(0, &unclear());
        paid.claim(0);
        paid.hear(0, &found(Outcome::succeeded("re_1", eur(400))));
        paid
    };
    let late = [
        (declined(), 0),
        (declined(), 1),
        (not_sent("dns"), 0),
        (not_sent("dns"), 1),
        (answer(canceled()), 0),
        (found(canceled()), 0),
        (found(Outcome::NotSent { why: "x".to_owned() }), 0),
        (not_found(), 0),
        // A look-up that an other one has overtaken may have seen what was before the success.
        (found(no()), 1),
    ];
    for (finding, older) in late {
        let mut paid = done();
        paid.seconds += 1_000_000;
        let change = paid.learn_of(0, &finding, older);
        assert_eq!(told(&change), NOTHING, "{finding:?}");
        assert!(!change.ledger[0].evidence.as_ref().unwrap().moved, "{finding:?}");
        assert_eq!(
            (state(&paid), booked(&paid)),
            (RefundState::Succeeded, (0, 400)),
            "{finding:?}"
        );
    }
    let mut paid = done();
    assert_eq!(
        told(&paid.learn(0, &found(no()))),
        ["refund.failed succeeded>failed", "charge.updated"]
    );
    assert_eq!(
        (state(&paid), booked(&paid), next(&paid)),
        (RefundState::Failed, (0, 0), None)
    );
    paid.back(Share::Amount(eur(1_000)), None).unwrap();
}

#[test]
fn what_was_taken_for_over_and_went_back_is_booked_where_it_fits_and_told_of_in_any_case() {
    for over in [declined(), answer(canceled())] {
        let failed = || {
            let mut paid = on_its_way();
            paid.hear(0, &over);
            paid
        };
        let went = found(Outcome::succeeded("re_1", eur(400)));
        let ended = failed().refunds[0].state.as_str();
        for fits in [0, 1, 600] {
            let mut paid = failed();
            if fits > 0 {
                paid.back(Share::Amount(eur(fits)), None).unwrap();
            }
            assert_eq!(
                told(&paid.learn(0, &went)),
                [
                    "refund.contradicted".to_owned(),
                    format!("refund.updated {ended}>succeeded"),
                    "charge.refunded".to_owned()
                ]
            );
            assert_eq!(booked(&paid), (fits, 400));
            assert_eq!(paid.refunds[0].failure, None);
            paid.check().unwrap();
        }
        for left in [0, 399] {
            let mut paid = failed();
            paid.back(Share::Amount(eur(1_000 - left)), None).unwrap();
            let before = (paid.refunds[0].clone(), booked(&paid));
            assert_eq!(told(&paid.learn(0, &went)), ["refund.contradicted"], "{left}");
            assert_eq!((paid.refunds[0].state, booked(&paid)), (before.0.state, before.1));
            paid.check().unwrap();
        }
        // Over another amount it cannot be booked at all, and is one case for one person.
        let mut paid = failed();
        let other = found(Outcome::succeeded("re_1", eur(399)));
        assert_eq!(
            told(&paid.learn(0, &other)),
            ["refund.contradicted", "refund.unresolved"]
        );
        assert_eq!((paid.refunds[0].mismatched, booked(&paid)), (true, (0, 0)));
        assert_eq!(told(&paid.learn(0, &other)), NOTHING);
        assert_eq!(told(&paid.learn(0, &went))[0], "refund.contradicted");
        assert_eq!((paid.refunds[0].mismatched, booked(&paid)), (false, (0, 400)));
    }
}

#[test]
fn what_the_engine_sends_back_by_itself_goes_out_again_while_it_is_certain_that_nothing_was_sent() {
    let mut paid = Paid::one(1_000, 1);
    let own = paid.by_itself();
    assert_eq!(next(&paid), Some((Await::Call, 0)));
    let gaps = [10, 60, 300, 1_800, 7_200, 21_600, 21_600, 21_600, 21_600];
    for (round, gap) in gaps.into_iter().enumerate() {
        paid.claim(own);
        // The same words are news each time: each is about another call.
        let change = paid.learn(own, &not_sent("dns"));
        let expected: &[&str] = if round + 1 == 8 { &["refund.unresolved"] } else { &[] };
        assert_eq!(told(&change), expected, "call {}", round + 1);
        assert_eq!(next(&paid), Some((Await::Call, gap)), "call {}", round + 1);
        assert_eq!((state(&paid), booked(&paid)), (RefundState::Pending, (1_000, 0)));
        assert_eq!(paid.attempts[own].unresolved, round + 1 >= 8);
        paid.seconds += gap;
    }
    paid.claim(own);
    assert_eq!(
        told(&paid.learn(own, &gave(eur(1_000)))),
        ["refund.updated pending>succeeded", "charge.refunded"]
    );
    assert!(!paid.attempts[own].unresolved);
    // What the service itself refuses is not asked for again.
    let mut paid = Paid::one(1_000, 1);
    let own = paid.by_itself();
    paid.claim(own);
    assert_eq!(told(&paid.learn(own, &declined()))[0], "refund.failed pending>failed");
    assert_eq!(next(&paid), None);
}

#[test]
fn tries_and_look_ups_each_have_gaps_of_their_own() {
    let mut paid = Paid::one(1_000, 1);
    let own = paid.by_itself();
    paid.claim(own);
    paid.hear(own, &unclear());
    for gap in [10, 60, 300, 1_800, 7_200] {
        paid.claim(own);
        paid.hear(own, &cannot_tell());
        assert_eq!(next(&paid), Some((Await::Lookup, gap)));
    }
    // It turns out that nothing was sent: the first such time, however often it was looked for.
    paid.claim(own);
    paid.hear(own, &found(Outcome::NotSent { why: "dns".to_owned() }));
    assert_eq!(next(&paid), Some((Await::Call, 10)));
    assert!(!paid.attempts[own].unresolved);
    paid.claim(own);
    paid.hear(own, &not_sent("dns"));
    assert_eq!(next(&paid), Some((Await::Call, 60)));
    // A call that is lost is looked up at once, however often it was tried before.
    paid.claim(own);
    paid.hear(own, &unclear());
    assert_eq!(next(&paid), Some((Await::Lookup, 0)));
}

#[test]
fn an_earlier_calls_word_says_nothing_of_the_call_that_followed_it() {
    let again = || {
        let mut paid = Paid::one(1_000, 1);
        let own = paid.by_itself();
        paid.claim(own);
        paid.hear(own, &not_sent("dns"));
        paid.seconds += 10;
        paid.claim(own);
        paid
    };
    for word in [not_sent("another why"), declined(), answer(canceled())] {
        let mut paid = again();
        let waits = next(&paid);
        assert_eq!(told(&paid.learn_of(0, &word, 1)), NOTHING, "{word:?}");
        assert_eq!((state(&paid), next(&paid)), (RefundState::Pending, waits), "{word:?}");
        paid.seconds += LEASE;
        assert_eq!(
            told(&paid.learn(0, &Finding::LeaseEnded)),
            ["refund.updated pending>unknown"]
        );
    }
    // That it went through is believed, whoever says so.
    assert_eq!(told(&again().learn_of(0, &gave(eur(1_000)), 1))[1], "charge.refunded");
    // One that was slow, and that no other followed, is heard although it was looked up meanwhile.
    let mut slow = Paid::one(1_000, 1);
    let own = slow.by_itself();
    slow.claim(own);
    slow.seconds += LEASE;
    slow.hear(own, &Finding::LeaseEnded);
    slow.claim(own);
    let mut refused = slow.clone();
    assert_eq!(
        told(&refused.learn_of(own, &declined(), 1))[0],
        "refund.failed unknown>failed"
    );
    let _ = slow.learn_of(own, &not_sent("dns"), 1);
    assert_eq!(next(&slow), Some((Await::Call, 10)));
}

#[test]
fn not_found_is_final_only_so_long_after_the_newest_call_was_over() {
    let mut paid = Paid::one(1_000, 1);
    let own = paid.by_itself();
    paid.claim(own);
    paid.hear(own, &not_sent("dns"));
    // A day later it is tried again, and the answer is lost.
    paid.seconds += 86_400;
    paid.claim(own);
    assert_eq!(told(&paid.learn(own, &not_found())), NOTHING, "the call is in flight");
    paid.hear(own, &unclear());
    let over = paid.seconds;
    for (after, ends) in [(0, false), (59, false), (60, true)] {
        paid.seconds = over + after;
        paid.claim(own);
        let change = paid.learn(own, &not_found());
        assert_eq!(!told(&change).is_empty(), ends, "{after}");
    }
    assert_eq!(paid.refunds[0].failure.as_ref().unwrap().code, "never_arrived");
}

#[test]
fn a_mismatched_refund_of_the_engines_own_is_never_sent_again() {
    let mut paid = Paid::one(1_000, 1);
    let own = paid.by_itself();
    paid.claim(own);
    paid.hear(own, &gave(eur(999)));
    for finding in [not_sent("dns"), found(Outcome::NotSent { why: "x".to_owned() })] {
        assert_eq!(told(&paid.learn(own, &finding)), NOTHING);
        assert_eq!((next(&paid), paid.attempts[own].unresolved), (None, true));
    }
}

#[test]
fn a_refund_that_cannot_be_looked_up_is_a_case_for_a_person_once_it_is_lost() {
    let mut paid = on_its_way();
    paid.capabilities = Some(Capabilities::new());
    assert_eq!(
        told(&paid.learn(0, &unclear())),
        ["refund.updated pending>unknown", "refund.unresolved"]
    );
    assert_eq!(booked(&paid), (400, 0));
}

/// Three lines that each sell a tier of a line of products of its own, the third one for ever.
fn tiers(quantities: [u32; 3]) -> Paid {
    let sold = |place: usize, days: Option<u32>| -> Line {
        let mut sold = line(&format!("tier_{place}"), 1_000);
        let grants = sold.grants.as_mut().unwrap();
        grants.line = format!("line_{place}");
        grants.days = days;
        Line {
            quantity: quantities[place],
            ..sold
        }
    };
    Paid::of(Currency::EUR, vec![sold(0, Some(30)), sold(1, Some(30)), sold(2, None)])
}

fn goes_back(paid: &mut Paid, share: Share, effect: Option<GrantEffect>) -> Change {
    let refund = paid.back(share, effect).unwrap();
    let amount = paid.refunds[refund].amount;
    paid.learn(refund, &gave(amount))
}

#[test]
fn what_was_sold_falls_with_the_refund_as_it_says() {
    use GrantEffect::{AtPeriodEnd, Keep, Revoke};
    let part = || Share::Amount(eur(1));
    for (share, effect, stands) in [
        (Share::Rest, None, vec![]),
        (Share::Rest, Some(Keep), vec![0, 1, 2]),
        (Share::Rest, Some(AtPeriodEnd), vec![0, 1]),
        (part(), None, vec![0, 1, 2]),
        (part(), Some(Revoke), vec![]),
        (part(), Some(AtPeriodEnd), vec![0, 1]),
    ] {
        let mut paid = tiers([1, 1, 1]);
        let asked = paid.back(share.clone(), effect).unwrap();
        // Not while it is on its way, and not if it fails.
        let mut fails = paid.clone();
        fails.hear(asked, &unclear());
        assert_eq!(fails.granted(), [0, 1, 2]);
        fails.hear(asked, &found(no()));
        assert_eq!(fails.granted(), [0, 1, 2]);
        let amount = paid.refunds[asked].amount;
        paid.hear(asked, &gave(amount));
        assert_eq!(paid.granted(), stands, "{share:?} {effect:?}");
    }
}

#[test]
fn unless_it_is_said_a_refund_takes_back_what_was_sold_if_nothing_is_left_when_the_money_is_back() {
    // It was to leave nothing, and another failed beside it.
    let mut paid = tiers([1, 1, 1]);
    let part = paid.back(Share::Amount(eur(400)), None).unwrap();
    let rest = paid.back(Share::Rest, None).unwrap();
    let amount = paid.refunds[rest].amount;
    paid.hear(part, &unclear());
    paid.hear(rest, &gave(amount));
    assert_eq!(paid.granted(), [0, 1, 2]);
    paid.hear(part, &found(no()));
    assert_eq!(paid.granted(), [0, 1, 2]);
    let _ = goes_back(&mut paid, Share::Rest, None);
    assert!(paid.granted().is_empty());

    // Whichever of two is heard of last.
    for order in [[0, 1], [1, 0]] {
        let mut paid = tiers([1, 1, 1]);
        for share in [Share::Amount(eur(400)), Share::Rest] {
            paid.back(share, None).unwrap();
        }
        let amounts = [0, 1].map(|refund: usize| paid.refunds[refund].amount);
        paid.hear(order[0], &gave(amounts[order[0]]));
        assert_eq!(paid.granted(), [0, 1, 2]);
        paid.hear(order[1], &gave(amounts[order[1]]));
        assert!(paid.granted().is_empty());
    }
}

#[test]
fn what_is_to_be_kept_is_kept_though_nothing_is_left() {
    let mut paid = tiers([1, 1, 1]);
    for share in [Share::Amount(eur(400)), Share::Units(vec![(0, 1)]), Share::Rest] {
        let _ = goes_back(&mut paid, share, Some(GrantEffect::Keep));
    }
    assert_eq!((paid.charge().refundable(), paid.granted()), (0, vec![0, 1, 2]));
    // What settled nothing has sold nothing; somebody else's money did.
    let mut paid = tiers([1, 1, 1]);
    let held = paid.charge_mut();
    (held.settles, held.hold) = (false, Some(Hold::Surplus));
    let _ = goes_back(&mut paid, Share::Rest, None);
    assert_eq!(paid.granted(), [0, 1, 2]);
}

#[test]
fn the_refund_is_told_first_then_the_charge_then_what_falls() {
    let mut paid = Paid::of(Currency::EUR, vec![line("member", 999)]);
    assert_eq!(
        told(&goes_back(&mut paid, Share::Rest, None)),
        [
            "refund.updated pending>succeeded",
            "charge.refunded",
            "entitlement.revoked active>revoked",
            "grant.revoked",
        ]
    );
    let reasons = paid.holdings[0]
        .grants
        .iter()
        .map(|grant| grant.revoke_reason.as_deref());
    assert_eq!(reasons.collect::<Vec<_>>(), [Some("refunded")]);
}

#[test]
fn a_lines_grant_falls_with_its_last_unit_and_no_other_line() {
    use GrantEffect::{AtPeriodEnd, Keep, Revoke};
    let mut paid = tiers([2, 1, 3]);
    let one_of = |position: usize| Share::Units(vec![(position, 1)]);
    let _ = goes_back(&mut paid, one_of(0), Some(Revoke));
    assert_eq!(paid.granted(), [0, 1, 2], "a unit is left");
    let _ = goes_back(&mut paid, one_of(0), Some(Revoke));
    assert_eq!(paid.granted(), [1, 2]);
    let _ = goes_back(&mut paid, one_of(1), Some(AtPeriodEnd));
    assert_eq!(paid.granted(), [1, 2], "it has an end");
    let _ = goes_back(&mut paid, Share::Units(vec![(2, 2)]), Some(Keep));
    let _ = goes_back(&mut paid, one_of(2), Some(AtPeriodEnd));
    assert_eq!(paid.granted(), [1], "it had none");
}

#[test]
fn all_that_was_sold_falls_with_the_last_of_several_refunds_by_units() {
    let mut paid = tiers([1, 1, 1]);
    let _ = goes_back(&mut paid, Share::Units(vec![(0, 1)]), None);
    let _ = goes_back(&mut paid, Share::Units(vec![(1, 1)]), None);
    assert_eq!(paid.granted(), [0, 1, 2]);
    let _ = goes_back(&mut paid, Share::Units(vec![(2, 1)]), None);
    assert_eq!(paid.granted(), Vec::<usize>::new());
}

#[test]
fn a_line_that_was_used_up_falls_with_the_rest_whichever_refund_is_heard_of_last() {
    for order in [[0, 1], [1, 0]] {
        let mut paid = tiers([1, 1, 1]);
        paid.back(Share::Units(vec![(0, 1)]), None).unwrap();
        paid.back(Share::Rest, Some(GrantEffect::Keep)).unwrap();
        let amounts = [0, 1].map(|refund: usize| paid.refunds[refund].amount);
        for refund in order {
            assert_eq!(paid.granted(), [0, 1, 2]);
            paid.hear(refund, &gave(amounts[refund]));
        }
        assert_eq!(paid.granted(), [1, 2], "{order:?}");
    }
}

#[test]
fn a_refund_that_failed_after_it_had_gone_through_gives_nothing_back_to_use() {
    let mut paid = tiers([1, 1, 1]);
    let _ = goes_back(&mut paid, Share::Rest, None);
    assert_eq!(
        told(&paid.learn(0, &found(no()))),
        ["refund.failed succeeded>failed", "charge.updated"]
    );
    assert_eq!(paid.granted(), Vec::<usize>::new());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_falls_does_not_depend_on_which_outcome_is_learned_first(
        parts in prop::collection::vec((0..3_usize, prop::option::of(0..3_usize)), 1..=6),
        order in Just((0..6_usize).collect::<Vec<_>>()).prop_shuffle(),
        fails in any::<[bool; 6]>(),
    ) {
        let mut paid = tiers([2, 2, 2]);
        for (position, effect) in parts {
            let effect = effect.map(|effect| GrantEffect::ALL[effect]);
            // The third of three units of a line is refused.
            let _ = paid.back(Share::Units(vec![(position, 1)]), effect);
        }
        let mut other = paid.clone();
        let learn = |paid: &mut Paid, refund: usize| {
            let finding = if fails[refund] { declined() } else { gave(paid.refunds[refund].amount) };
            paid.hear(refund, &finding);
        };
        for refund in 0..paid.refunds.len() {
            learn(&mut paid, refund);
        }
        for refund in order.into_iter().filter(|refund| *refund < paid.refunds.len()) {
            learn(&mut other, refund);
        }
        prop_assert_eq!(paid.granted(), other.granted());
    }
}

/// Something that may be learned of a refund, by a number.
fn drawn(lot: u8, amount: Amount) -> Finding {
    let other = Amount::minor(amount.as_minor() - 1, amount.currency()).unwrap();
    let receipt = Receipt::new("re_1", amount);
    let outcomes = [
        Outcome::succeeded("re_1", amount),
        Outcome::succeeded("re_1", amount),
        Outcome::succeeded("re_2", other),
        no(),
        no(),
        canceled(),
        accepted(),
        lost(),
        Outcome::NotSent { why: "dns".to_owned() },
        Outcome::NotSent { why: "tls".to_owned() },
        Outcome::Authorized {
            receipt,
            expires_at: None,
        },
    ];
    let lot = usize::from(lot);
    let outcome = outcomes[lot % outcomes.len()].clone();
    match lot / outcomes.len() % 6 {
        0..=2 => answer(outcome),
        3 | 4 => found(outcome),
        _ => [Finding::LeaseEnded, not_found(), cannot_tell()][lot % 3].clone(),
    }
}

#[derive(Clone, Debug)]
enum Step {
    Rest,
    Amount(u64),
    Units(Vec<(u32, u32)>),
    ByItself,
    Hear { refund: usize, lot: u8, older: bool },
    Claim(usize),
    Wait(u16),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let units = prop::collection::vec((0..6_u32, prop_oneof![1..4_u32, any::<u32>()]), 1..4);
    let step = prop_oneof![
        1 => Just(Step::Rest),
        3 => any::<u64>().prop_map(Step::Amount),
        5 => units.prop_map(Step::Units),
        1 => Just(Step::ByItself),
        16 => (0..12_usize, any::<u8>(), prop::bool::weighted(0.2))
            .prop_map(|(refund, lot, older)| Step::Hear { refund, lot, older }),
        3 => (0..12_usize).prop_map(Step::Claim),
        3 => any::<u16>().prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..40)
}

/// Does one thing; whatever is refused is refused for a reason that can be told.
fn go(paid: &mut Paid, step: Step) -> Result<(), TestCaseError> {
    let count = paid.refunds.len();
    let left = paid.charge().refundable();
    let asked = match step {
        Step::Rest => paid.back(Share::Rest, None),
        Step::Amount(drawn) => {
            let upto = u64::try_from(left).unwrap() + 2;
            let minor = i64::try_from(drawn % upto + 1).unwrap();
            let amount = Amount::minor(minor, paid.charge().amount.currency()).unwrap();
            paid.back(Share::Amount(amount), None)
        }
        Step::Units(drawn) => {
            let lines = &paid.session.lines;
            let mut units: Vec<(usize, u32)> = Vec::new();
            for (position, drawn) in drawn {
                let position = usize::try_from(position).unwrap() % lines.len();
                let upto = u64::from(lines[position].quantity) + 1;
                let quantity = u32::try_from(u64::from(drawn) % upto).unwrap_or(1).max(1);
                if units.iter().all(|(known, _)| *known != position) {
                    units.push((position, quantity));
                }
            }
            paid.back(Share::Units(units), None)
        }
        Step::ByItself if left > 0 => Ok(paid.by_itself()),
        Step::Hear { refund, lot, older } if count > 0 => {
            let refund = refund % count;
            let finding = drawn(lot, paid.refunds[refund].amount);
            let _ = paid.learn_of(refund, &finding, i64::from(older));
            return Ok(());
        }
        Step::Claim(refund) if count > 0 => {
            let refund = refund % count;
            if matches!(paid.attempts[refund].next, Some((Await::Call | Await::Lookup, _))) {
                paid.claim(refund);
            }
            return Ok(());
        }
        Step::Wait(seconds) => {
            paid.seconds += i64::from(seconds);
            return Ok(());
        }
        Step::ByItself | Step::Hear { .. } | Step::Claim(_) => return Ok(()),
    };
    match asked {
        Ok(_) => {}
        Err(Error::Refused(_)) => prop_assert_eq!(left, 0),
        Err(Error::RefundTooLarge { .. }) => prop_assert!(left > 0),
        Err(error) => prop_assert!(error.field().is_some_and(|field| field.starts_with("units"))),
    }
    Ok(())
}

#[test]
fn carts_whose_refunds_end_in_any_way_never_give_back_more_than_was_taken() {
    each_of("in any way", (carts(), steps()), |((currency, lines), steps)| {
        let mut paid = Paid::of(currency, lines);
        for step in steps {
            go(&mut paid, step)?;
            paid.check()?;
        }
        // Whatever was in flight goes through, and all of it was reserved.
        for refund in 0..paid.refunds.len() {
            if paid.refunds[refund].state.is_open() {
                let amount = paid.refunds[refund].amount;
                paid.hear(refund, &gave(amount));
            }
            paid.check()?;
        }
        Ok(paid.refunds.len())
    });
}

#[test]
fn whatever_is_learned_of_a_refund_is_written_down_and_each_object_counts_its_events() {
    let findings = [
        (unclear(), true),
        (found(accepted()), true),
        (found(lost()), false),
        (cannot_tell(), false),
        (declined(), true),
        (answer(accepted()), false),
        (gave(eur(400)), true),
        (answer(canceled()), false),
    ];
    let mut paid = on_its_way();
    for (round, (finding, moved)) in findings.into_iter().enumerate() {
        let before = paid.clone();
        paid.seconds += 1;
        let change = paid.learn(0, &finding);
        let evidence = change.ledger[0].evidence.as_ref().unwrap();
        assert_eq!(evidence.number, u32::try_from(round).unwrap() + 1);
        assert_eq!(evidence.moved, moved, "{finding:?}");
        assert_eq!(change.entries.is_empty(), !moved, "{finding:?}");
        for entry in &change.entries {
            let known = match &entry.subject {
                Subject::Refund(_) => before.refunds[0].revision,
                Subject::Charge(_) => before.charge().revision,
                other => panic!("{other:?}"),
            };
            let events = i64::try_from(entry.happenings.len()).unwrap();
            assert_eq!(entry.subject.revision(), known + events);
        }
    }
}

#[test]
fn the_same_evidence_on_the_same_rows_gives_the_same_change() {
    for finding in [gave(eur(400)), gave(eur(1)), declined(), unclear(), answer(accepted())] {
        let paid = on_its_way();
        assert_repeatable(|change| paid.decided(0, &finding, 0, change).map(|(refund, _)| refund));
    }
}

#[test]
fn a_refund_without_its_charge_is_a_damaged_file() {
    let mut paid = on_its_way();
    paid.session.payment_intent.as_mut().unwrap().charges.clear();
    let mut change = Change::new();
    let error = paid
        .decided(0, &gave(eur(400)), 0, &mut change)
        .map(|(refund, _)| refund);
    assert_eq!(error.unwrap_err().code(), "storage_corrupt");
    assert!(change.is_empty());
}

#[test]
fn units_of_a_line_that_sells_nothing_that_lasts_take_nothing_back() {
    let mut paid = Paid::of(Currency::EUR, vec![units(1_000, 2)]);
    assert_eq!(
        told(&goes_back(&mut paid, Share::Units(vec![(0, 2)]), None)),
        ["refund.updated pending>succeeded", "charge.refunded"]
    );
}

fn heard(name: &str, amount: Amount) -> Finding {
    Finding::Notified(Outcome::succeeded(name, amount))
}

#[test]
fn a_refund_takes_the_services_first_name_and_another_is_a_refund_beside_it() {
    let word = |name: &str| Finding::Resolved {
        resolution: Resolution::succeeded_as(name),
        outcome: Some(Outcome::succeeded(name, eur(400))),
        note: "seen".to_owned(),
    };
    for first in [word("R-1"), word(""), answer(Outcome::succeeded("", eur(400)))] {
        let mut paid = on_its_way();
        paid.hear(0, &first);
        assert_eq!(booked(&paid), (0, 400));
        assert_eq!(told(&paid.learn(0, &heard("re_1", eur(400)))), ["refund.updated"]);
        assert_eq!(paid.refunds[0].reference.as_deref(), Some("re_1"));
        assert_eq!(paid.attempts[0].reference.as_deref(), Some("re_1"));
        assert_eq!(told(&paid.learn(0, &heard("re_1", eur(400)))), NOTHING);
        assert_eq!(booked(&paid), (0, 400));
        let change = paid.learn(0, &heard("re_2", eur(400)));
        assert_eq!(told(&change), ["refund.created >succeeded", "charge.refunded"]);
        let other = super::refund_of(&change).unwrap();
        assert_eq!(
            (other.source, other.amount, other.reference.as_deref()),
            (RefundSource::Processor, eur(400), Some("re_2"))
        );
        assert_eq!(booked(&paid), (0, 800));
        assert_eq!(told(&paid.learn(0, &heard("re_2", eur(400)))), NOTHING);
        assert_eq!(paid.refunds[0].reference.as_deref(), Some("re_1"));
        assert_eq!(paid.attempts[0].reference.as_deref(), Some("re_1"));
        // For a third there is nothing left of the charge.
        let third = heard("re_3", eur(400));
        assert_eq!(told(&paid.learn(0, &third)), ["refund.contradicted"]);
        assert_eq!(told(&paid.learn(0, &third)), NOTHING);
    }
    // Another amount than the person said is for somebody to see.
    let mut paid = on_its_way();
    paid.hear(0, &word("R-1"));
    let told_of = told(&paid.learn(0, &heard("re_1", eur(399))));
    assert_eq!(told_of, ["refund.updated", "refund.contradicted"]);
    assert_eq!(told(&paid.learn(0, &heard("re_1", eur(399)))), NOTHING);
}
