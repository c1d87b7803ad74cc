use super::state::next;
use super::*;
use crate::money::Currency;
use crate::samples::{check_machine, check_refusal, eur, id, metadata};

#[test]
fn every_event_in_every_state_moves_as_listed_or_is_refused() {
    use News as On;
    use RefundState::{Canceled, Failed, Pending, Succeeded, Unknown};
    let listed = [
        (Pending, On::LeaseEnded, Unknown),
        (Pending, On::Unclear, Unknown),
        (Pending, On::Mismatched, Unknown),
        (Pending, On::Succeeded, Succeeded),
        (Pending, On::Failed, Failed),
        (Pending, On::Canceled, Canceled),
        (Unknown, On::Pending, Pending),
        (Unknown, On::ActionRequired, Pending),
        (Unknown, On::Mismatched, Unknown),
        (Unknown, On::Succeeded, Succeeded),
        (Unknown, On::Failed, Failed),
        (Unknown, On::Canceled, Canceled),
        (Succeeded, On::Failed, Failed),
        (Failed, On::Succeeded, Succeeded),
        (Canceled, On::Succeeded, Succeeded),
    ];
    check_machine(&RefundState::ALL, &News::ALL, &listed, next, |state, news| Refused {
        object: "refund",
        state: state.as_str(),
        event: news.as_str(),
    });
}

fn of_charge() -> NewRefund {
    NewRefund::charge(&id(5))
}

#[test]
fn a_refund_asks_for_everything_that_is_left_unless_it_says_how_much() {
    let share = |new: NewRefund| new.checked().unwrap().share;
    assert_eq!(share(of_charge()), Share::Rest);
    assert_eq!(share(of_charge().amount(eur(5))), Share::Amount(eur(5)));
    assert_eq!(
        share(of_charge().units(1, 2).units(0, 1)),
        Share::Units(vec![(1, 2), (0, 1)])
    );
    // What was said last counts.
    assert_eq!(share(of_charge().units(1, 2).amount(eur(5))), Share::Amount(eur(5)));
    assert_eq!(
        share(of_charge().amount(eur(5)).units(1, 2)),
        Share::Units(vec![(1, 2)])
    );
}

#[test]
fn what_cannot_be_asked_for_is_refused_by_its_field() {
    let check = |new: NewRefund, refused: Option<&str>| {
        let what = format!("{new:?}");
        check_refusal(&new.checked(), refused, &what);
    };
    let lines = |count: usize| (0..count).fold(of_charge(), |new, position| new.units(position, 1));
    check(of_charge().amount(eur(0)), Some("amount"));
    check(of_charge().amount(eur(1)), None);
    check(of_charge().units(0, 1).units(1, 0), Some("units[1].quantity"));
    check(
        of_charge().units(0, 1).units(1, 1).units(0, 2),
        Some("units[2].position"),
    );
    check(lines(100), None);
    check(lines(101), Some("units"));
    check(of_charge().reason("x".repeat(500)), None);
    check(of_charge().reason("x".repeat(501)), Some("reason"));
    check(of_charge().reason("4242 4242 4242 4242"), Some("reason"));
    check(of_charge().idempotency_key("k".repeat(255)), None);
    check(of_charge().idempotency_key(""), Some("idempotency_key"));
    check(of_charge().idempotency_key("a key"), Some("idempotency_key"));
}

#[test]
fn whoever_repeats_a_key_has_to_repeat_everything_else() {
    let fingerprint = |new: NewRefund| new.checked().unwrap().fingerprint();
    let one = || of_charge().units(0, 1);
    let dollars = Amount::minor(5, Currency::USD).unwrap();
    let all = [
        of_charge(),
        NewRefund::charge(&id(6)),
        NewRefund::session(&id(5)),
        of_charge().amount(eur(5)),
        of_charge().amount(eur(6)),
        of_charge().amount(dollars),
        one(),
        one().units(1, 1),
        of_charge().units(1, 1),
        of_charge().units(0, 2),
        one().effect(GrantEffect::Keep),
        one().effect(GrantEffect::Revoke),
        one().effect(GrantEffect::AtPeriodEnd),
        one().reason("keep"),
        one().reason("broken"),
        one().metadata(metadata()),
    ];
    for (at, new) in all.iter().enumerate() {
        let with_key = new.clone().idempotency_key("k_1");
        assert_eq!(fingerprint(new.clone()), fingerprint(with_key), "{new:?}");
        for other in &all[..at] {
            assert_ne!(
                fingerprint(new.clone()),
                fingerprint(other.clone()),
                "{new:?} {other:?}"
            );
        }
    }
}
