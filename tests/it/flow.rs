//! How fast and in which order deliveries leave: what an endpoint can take, and what it asks for.

use std::time::Duration;

use tillite::webhook::{DeliveryOrder, Endpoint, Format, NewEndpoint};
use tillite::{Error, Result};

use crate::kit::Shop;

const MINUTE: Duration = Duration::from_secs(60);

fn new() -> NewEndpoint {
    NewEndpoint::new("https://shop.example/hook", Format::Standard)
}

#[test]
fn what_is_asked_of_an_endpoint_is_kept_and_what_cannot_be_is_refused() {
    fn added(new: NewEndpoint) -> Result<Endpoint> {
        Shop::open().app.endpoints().add(new).map(|added| added.endpoint)
    }
    let plain = added(new()).unwrap();
    assert_eq!((plain.ordering, plain.max_in_flight), (DeliveryOrder::Soft, 4));
    assert_eq!((plain.min_gap, plain.suspend_after), (Duration::ZERO, None));
    let shop = Shop::open();
    let asked = new()
        .ordering(DeliveryOrder::Strict)
        .max_in_flight(64)
        .at_most(7, Duration::from_secs(1))
        .suspend_after(MINUTE);
    shop.app.endpoints().add(asked).unwrap();
    let kept = shop.app.endpoints().list(1, None).unwrap().data.remove(0);
    assert_eq!((kept.ordering, kept.max_in_flight), (DeliveryOrder::Strict, 64));
    // Rather further apart than too close.
    assert_eq!(
        (kept.min_gap, kept.suspend_after),
        (Duration::from_millis(143), Some(MINUTE))
    );
    shop.clean();
    let refused = [
        ("max_in_flight", new().max_in_flight(0)),
        ("max_in_flight", new().max_in_flight(65)),
        ("at_most", new().at_most(0, MINUTE)),
        ("at_most", new().at_most(1, Duration::ZERO)),
        ("at_most", new().at_most(1, Duration::from_secs(3_601))),
        ("at_most", new().at_most(1, Duration::MAX)),
        ("suspend_after", new().suspend_after(Duration::ZERO)),
        ("suspend_after", new().suspend_after(Duration::MAX)),
    ];
    for (field, asked) in refused {
        match added(asked) {
            Err(Error::Invalid(invalid)) => assert_eq!(invalid.field, field),
            other => panic!("{field}: {other:?}"),
        }
    }
}

#[test]
fn a_key_stands_for_everything_that_was_asked_of_an_endpoint() {
    let keyed = || new().idempotency_key("k");
    let changed = [
        keyed().ordering(DeliveryOrder::Strict),
        keyed().ordering(DeliveryOrder::None),
        keyed().max_in_flight(5),
        keyed().at_most(5, MINUTE),
        keyed().suspend_after(MINUTE),
    ];
    for (at, first) in [keyed()].into_iter().chain(changed.clone()).enumerate() {
        let shop = Shop::open();
        let endpoint = shop.app.endpoints().add(first.clone()).unwrap().endpoint;
        assert_eq!(shop.app.endpoints().add(first).unwrap().endpoint, endpoint);
        for (other, second) in changed.iter().enumerate().filter(|(other, _)| other + 1 != at) {
            let answer = shop.app.endpoints().add(second.clone());
            assert!(
                matches!(answer, Err(Error::IdempotencyConflict { .. })),
                "{at}, {other}"
            );
        }
    }
}
