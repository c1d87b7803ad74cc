use proptest::prelude::*;

use super::*;

fn states() -> impl Strategy<Value = Vec<DeliveryState>> {
    prop::collection::vec(prop::sample::select(DeliveryState::ALL.to_vec()), 0..5)
}

#[test]
fn what_is_sent_again_is_as_the_choice_says() {
    use DeliveryState::{Blocked, Delivered, Exhausted, InFlight, Pending};
    use ReplayOf::{All, Undelivered};
    // The deliveries so far, and the choices that send the event again.
    let cases: &[(&[DeliveryState], &[ReplayOf])] = &[
        (&[], &[Undelivered, All]),
        (&[Exhausted], &[ReplayOf::Exhausted, Undelivered, All]),
        (&[Exhausted, Exhausted], &[ReplayOf::Exhausted, Undelivered, All]),
        (&[Delivered], &[All]),
        (&[Delivered, Exhausted], &[All]),
        (&[Exhausted, Delivered], &[All]),
        (&[Pending], &[]),
        (&[Blocked], &[]),
        (&[InFlight], &[]),
        (&[Exhausted, Pending], &[]),
        (&[Pending, Exhausted], &[]),
    ];
    for (past, takes) in cases {
        for of in ReplayOf::ALL {
            assert_eq!(of.takes(past, false), takes.contains(&of), "{of:?} {past:?}");
        }
    }
    assert!(
        !Undelivered.takes(&[], true),
        "it may have been delivered and forgotten"
    );
    assert!(Undelivered.takes(&[Exhausted], true));
    assert!(All.takes(&[], true));
}

proptest! {
    #[test]
    fn each_choice_sends_what_the_narrower_one_sends_and_nothing_twice_at_once(past in states(), forgotten: bool) {
        let [exhausted, undelivered, all] = ReplayOf::ALL.map(|of| of.takes(&past, forgotten));
        prop_assert!(exhausted <= undelivered && undelivered <= all);
        let waits = |state: &DeliveryState| {
            matches!(state, DeliveryState::Pending | DeliveryState::Blocked | DeliveryState::InFlight)
        };
        prop_assert!(!all || !past.iter().any(waits));
    }
}
