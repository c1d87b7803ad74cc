//! How fast and in which order deliveries leave: what an endpoint can take, and what it asks for.

use std::time::Duration;

use tillite::webhook::{DeliveryFilter, DeliveryOrder, DeliveryState, Endpoint, EndpointState, Format, NewEndpoint};
use tillite::{
    Alarm, Answered, Budget, ClaimedDelivery, Delivery, Error, Mode, NewCustomer, Result, SignedRequest,
    Transport as _, TransportOutcome, Work,
};

use crate::file::{Disk, sql};
use crate::kit::{ManualClock, Receiver, Shop, Till, builder, header};

const HOUR: Duration = Duration::from_secs(3_600);
const LEASE: Duration = Duration::from_secs(90);
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
fn attempts_are_never_closer_than_asked_also_where_that_is_less_than_a_millisecond() {
    let shop = Shop::open();
    for (at, (attempts, micros, gap)) in [
        (1_000, 500, 1),
        (1, 1, 1),
        (u32::MAX, 1, 1),
        (1, 1_000, 1),
        (1, 1_001, 2),
        (3, 5_999, 2),
        (3, 6_001, 3),
    ]
    .into_iter()
    .enumerate()
    {
        let new = NewEndpoint::new(format!("https://shop.example/{at}"), Format::Standard);
        let added = new.at_most(attempts, Duration::from_micros(micros));
        let kept = shop.app.endpoints().add(added).unwrap().endpoint;
        assert_eq!(kept.min_gap, Duration::from_millis(gap), "{attempts} in {micros} µs");
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

fn status(status: u16) -> TransportOutcome {
    TransportOutcome::Answered(Answered::status(status))
}

fn silence() -> TransportOutcome {
    TransportOutcome::Failed {
        why: "a timeout".to_owned(),
    }
}

/// An endpoint that hears of customers only, so that each change of one is a delivery.
fn of_customers(host: &str) -> NewEndpoint {
    NewEndpoint::new(format!("https://{host}/hook"), Format::Standard).events(["customer.created", "customer.updated"])
}

/// Changes a customer's name: an event about one object.
fn change(shop: &Shop, uid: &str, name: &str) {
    shop.app.customers().set(NewCustomer::uid(uid).name(name)).unwrap();
}

/// Whom a request is about, and the name that it tells.
fn told(request: &SignedRequest) -> String {
    let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
    let word = |key: &str| body["data"][key].as_str().unwrap().to_owned();
    format!("{}{}", word("uid"), word("name"))
}

fn claim(shop: &Shop, limit: usize) -> Vec<ClaimedDelivery> {
    shop.engine.claim_deliveries(limit).unwrap()
}

fn names(claimed: &[ClaimedDelivery]) -> Vec<String> {
    claimed.iter().map(|delivery| told(&delivery.request)).collect()
}

fn ack(shop: &Shop, delivery: &ClaimedDelivery, outcome: &TransportOutcome) {
    assert!(shop.engine.acknowledge(delivery, outcome).unwrap());
}

fn is_due(shop: &Shop) -> bool {
    shop.engine.wait_due_for(Work::DELIVERIES, Duration::ZERO).unwrap()
}

fn deliveries(shop: &Shop) -> Vec<Delivery> {
    shop.app
        .deliveries()
        .list(&DeliveryFilter::all(), 100, None)
        .unwrap()
        .data
}

fn run(shop: &Shop) -> (usize, usize) {
    let ran = shop.engine.run_due(Budget::items(100).work(Work::DELIVERIES)).unwrap();
    (ran.delivered, ran.undelivered)
}

/// A shop with one endpoint, and two customers of whom the first changes twice.
fn abc(order: DeliveryOrder) -> Shop {
    let shop = Shop::open();
    shop.app
        .endpoints()
        .add(of_customers("shop.example").ordering(order))
        .unwrap();
    for (uid, name) in [("a", "1"), ("a", "2"), ("b", "1"), ("a", "3")] {
        change(&shop, uid, name);
    }
    shop
}

#[test]
fn softly_ordered_one_object_has_one_delivery_on_its_way_and_a_retry_holds_up_nobody() {
    let shop = abc(DeliveryOrder::Soft);
    let first = claim(&shop, 10);
    assert_eq!(names(&first), ["a1"], "b1 leaves behind a2");
    assert_eq!(
        names(&claim(&shop, 10)),
        ["b1"],
        "whoever has time takes what need not wait"
    );
    assert!(!is_due(&shop), "what is due waits for what is on its way");
    assert!(claim(&shop, 10).is_empty());
    ack(&shop, &first[0], &status(404));
    assert_eq!(names(&claim(&shop, 10)), ["a2"], "a1 waits for its next attempt");
    // Whoever has it dies; when its lease is over it is a retry, and the next one need not wait.
    shop.clock.turn(LEASE);
    let third = claim(&shop, 10);
    assert_eq!(names(&third), ["a3"]);
    ack(&shop, &third[0], &status(204));
    assert_eq!(names(&claim(&shop, 10)), ["a1"]);
    assert_eq!(names(&claim(&shop, 10)), ["b1"], "and not a2");
    assert!(claim(&shop, 10).is_empty());
    shop.clean();
}

#[test]
fn without_an_order_deliveries_leave_as_they_come() {
    let shop = abc(DeliveryOrder::None);
    assert_eq!(names(&claim(&shop, 10)), ["a1", "a2", "b1", "a3"]);
}

#[test]
fn strictly_ordered_a_delivery_waits_until_the_one_before_it_is_done() {
    let shop = abc(DeliveryOrder::Strict);
    let blocked = || {
        let all = deliveries(&shop);
        all.iter().filter(|found| found.state == DeliveryState::Blocked).count()
    };
    assert_eq!(blocked(), 2);
    let first = claim(&shop, 10);
    assert_eq!(names(&first), ["a1", "b1"]);
    ack(&shop, &first[0], &status(404));
    assert!(!is_due(&shop) && claim(&shop, 10).is_empty());
    shop.clean();
    // A change that comes meanwhile waits as well, and not for another object.
    change(&shop, "a", "4");
    change(&shop, "c", "1");
    assert_eq!(blocked(), 3);
    assert_eq!(names(&claim(&shop, 10)), ["c1"]);
    for _ in 2..=5 {
        shop.clock.turn(3 * HOUR);
        let again = claim(&shop, 10);
        let of_a = again.iter().find(|delivery| told(&delivery.request) == "a1").unwrap();
        ack(&shop, of_a, &status(404));
    }
    shop.clean();
    // It is out of attempts: the next one may go, once.
    let next = claim(&shop, 10);
    let of_a: Vec<&ClaimedDelivery> = next
        .iter()
        .filter(|delivery| told(&delivery.request).starts_with('a'))
        .collect();
    assert_eq!(of_a.len(), 1);
    assert_eq!(told(&of_a[0].request), "a2");
    // That the first one was accepted after all lets nobody go.
    ack(&shop, &first[0], &status(204));
    assert!(!names(&claim(&shop, 10)).contains(&"a3".to_owned()));
    shop.clean();
    ack(&shop, of_a[0], &status(204));
    assert_eq!(names(&claim(&shop, 10)), ["a3"]);
    shop.clean();
}

#[test]
fn strictly_ordered_a_delivery_whose_senders_all_died_lets_the_next_one_go() {
    let shop = Shop::open();
    let new = of_customers("shop.example").ordering(DeliveryOrder::Strict);
    shop.app.endpoints().add(new).unwrap();
    change(&shop, "a", "1");
    change(&shop, "a", "2");
    for _ in 1..=5 {
        assert_eq!(names(&claim(&shop, 10)), ["a1"]);
        shop.clock.turn(LEASE);
    }
    assert!(claim(&shop, 10).is_empty(), "it is closed");
    shop.clean();
    assert_eq!(names(&claim(&shop, 10)), ["a2"]);
    // An event whose object has nothing in the queue any more waits for nobody.
    shop.clean();
}

#[test]
fn an_endpoint_that_does_not_answer_is_sent_one_at_a_time_until_it_accepts_again() {
    let disk = Disk::new();
    let shop = disk.shop();
    shop.app.endpoints().add(of_customers("shop.example")).unwrap();
    let rows = || sql(&disk.raw(), "SELECT count(*) FROM tillite_endpoint_flow").remove(0);
    for customer in 0..40 {
        change(&shop, &format!("u{customer}"), "1");
    }
    let held = claim(&shop, 10);
    assert_eq!(held.len(), 4);
    ack(&shop, &held[0], &status(204));
    assert_eq!(rows(), "0", "all is well");
    ack(&shop, &held[1], &silence());
    ack(&shop, &held[2], &status(503));
    assert_eq!(
        (rows().as_str(), shop.engine.health().unwrap().failing_endpoints),
        ("1", 1)
    );
    assert!(claim(&shop, 10).is_empty(), "one is still on its way");
    ack(&shop, &held[3], &silence());
    let mut sizes = Vec::new();
    loop {
        let held = claim(&shop, 10);
        if held.is_empty() {
            break;
        }
        sizes.push(held.len());
        for delivery in &held {
            ack(&shop, delivery, &status(204));
        }
    }
    assert_eq!(sizes[..4], [1, 2, 4, 4]);
    assert_eq!(
        (rows().as_str(), shop.engine.health().unwrap().failing_endpoints),
        ("0", 0)
    );
    shop.clean();
}

#[test]
fn an_endpoint_may_ask_to_be_left_alone_and_no_other_is() {
    let shop = Shop::open();
    for host in ["busy.example", "well.example"] {
        shop.app.endpoints().add(of_customers(host)).unwrap();
    }
    for uid in ["a", "b", "c", "d", "e"] {
        change(&shop, uid, "1");
    }
    let held = claim(&shop, 100);
    let to = |host: &str| {
        held.iter()
            .filter(|held| held.request.url.contains(host))
            .collect::<Vec<_>>()
    };
    let (busy, well) = (to("busy"), to("well"));
    let asks = |code, after: &str| TransportOutcome::Answered(Answered::status(code).retry_after(after));
    ack(&shop, well[0], &asks(500, "100"));
    ack(&shop, busy[0], &asks(429, "100"));
    for delivery in busy[1..].iter().chain(&well[1..]) {
        ack(&shop, delivery, &status(204));
    }
    let next = claim(&shop, 100);
    assert_eq!(next.len(), 1);
    assert!(next[0].request.url.contains("well"));
    shop.clock.turn(Duration::from_secs(99));
    assert!(claim(&shop, 100).iter().all(|held| held.request.url.contains("well")));
    shop.clock.turn(Duration::from_secs(1));
    let again = claim(&shop, 100);
    assert_eq!(again.iter().filter(|held| held.request.url.contains("busy")).count(), 2);
    shop.clean();
}

#[test]
fn no_more_leaves_than_the_rate_allows_and_a_clock_that_is_set_back_silences_nobody() {
    let shop = Shop::open();
    let new = of_customers("shop.example").at_most(2, Duration::from_secs(1));
    shop.app.endpoints().add(new).unwrap();
    for customer in 0..9 {
        change(&shop, &format!("u{customer}"), "1");
    }
    let gap = Duration::from_millis(500);
    for _ in 0..3 {
        assert_eq!(claim(&shop, 100).len(), 1);
        assert!(!is_due(&shop) && claim(&shop, 100).is_empty());
        assert_eq!(
            shop.engine.next_due().unwrap(),
            Some(tillite::Clock::now(&shop.clock).plus(gap))
        );
        shop.clock.turn(gap);
    }
    assert_eq!(claim(&shop, 100).len(), 1);
    shop.clock.turn_back(HOUR);
    // Leases, the gap and when it was due are all an hour ahead.
    assert!(is_due(&shop));
    assert_eq!(claim(&shop, 100).len(), 1);
    assert!(claim(&shop, 100).is_empty(), "the gap holds again");
    shop.clean();
}

#[test]
fn a_clock_that_is_set_back_an_hour_leaves_nothing_waiting_for_it() {
    let shop = Shop::open();
    shop.app
        .endpoints()
        .add(of_customers("shop.example").max_in_flight(64))
        .unwrap();
    for customer in 0..9 {
        change(&shop, &format!("u{customer}"), "1");
    }
    let held = claim(&shop, 3);
    ack(&shop, &held[0], &status(404));
    shop.clock.turn_back(HOUR);
    assert!(is_due(&shop));
    // What is on its way counts as lost, what waits for its minute as put off, and first tries are due.
    assert_eq!(claim(&shop, 100).len(), 9);
    // A little only makes it wait a little.
    let shop = Shop::open();
    shop.app.endpoints().add(of_customers("shop.example")).unwrap();
    change(&shop, "a", "1");
    assert_eq!(claim(&shop, 1).len(), 1);
    shop.clock.turn_back(Duration::from_secs(60));
    assert!(claim(&shop, 1).is_empty(), "somebody may be sending it");
    shop.clock.turn(Duration::from_secs(150));
    assert_eq!(claim(&shop, 1).len(), 1);
    // An hour ahead, everything is due.
    shop.clock.turn(HOUR);
    assert_eq!(claim(&shop, 1).len(), 1);
    shop.clean();
}

#[test]
fn who_waited_for_one_delivery_leaves_the_others_to_whoever_has_time() {
    let (clock, till, receiver) = (ManualClock::new(), Till::new(), Receiver::new());
    let (turning, taking) = (clock.clone(), receiver.clone());
    let engine = builder(&clock, &till, &receiver)
        .transport(move |request: &SignedRequest| {
            if told(request) == "a1" {
                turning.turn(Duration::from_secs(2));
            }
            taking.send(request)
        })
        .open_in_memory()
        .unwrap();
    let shop = Shop::with(engine, Mode::Test, clock, till, receiver);
    shop.app.endpoints().add(of_customers("shop.example")).unwrap();
    for uid in ["a", "b", "c", "d", "e"] {
        change(&shop, uid, "1");
    }
    assert_eq!(run(&shop), (5, 0));
    let numbers = shop.engine.numbers();
    assert_eq!((numbers.given_back, numbers.delivered, numbers.claimed), (3, 5, 8));
    let order: Vec<String> = shop.receiver.requests().iter().map(told).collect();
    assert_eq!(
        order,
        ["a1", "b1", "c1", "d1", "e1"],
        "what was given back is where it was"
    );
    assert!(deliveries(&shop).iter().all(|delivery| delivery.attempts == 1));
    shop.clean();
}

#[test]
fn many_outcomes_are_one_commit_and_all_or_none() {
    let shop = Shop::open();
    shop.app
        .endpoints()
        .add(of_customers("shop.example").max_in_flight(64))
        .unwrap();
    for customer in 0..40 {
        change(&shop, &format!("u{customer}"), "1");
    }
    let mut outcomes: Vec<_> = claim(&shop, 100).into_iter().map(|held| (held, status(204))).collect();
    outcomes[1].1 = status(404);
    outcomes.push(outcomes[0].clone());
    let before = shop.engine.numbers();
    // One of another file spoils them all.
    let disk = Disk::new();
    let other = disk.shop();
    other.app.endpoints().add(of_customers("shop.example")).unwrap();
    change(&other, "a", "1");
    let mut strange = outcomes.clone();
    strange.push((claim(&other, 1).remove(0), status(204)));
    let error = shop.engine.acknowledge_all(&strange).unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
    assert_eq!(shop.engine.numbers(), before);
    assert!(
        deliveries(&shop)
            .iter()
            .all(|delivery| delivery.state == DeliveryState::InFlight)
    );
    let counted = shop.engine.acknowledge_all(&outcomes).unwrap();
    assert_eq!(counted.iter().filter(|counted| **counted).count(), 40);
    assert_eq!(counted.last(), Some(&false), "the same once more");
    let after = shop.engine.numbers();
    assert_eq!(
        (after.commits - before.commits, after.delivered, after.failed),
        (1, 39, 1)
    );
    assert_eq!(shop.engine.acknowledge_all(&[]).unwrap(), Vec::<bool>::new());
    let many = vec![outcomes[0].clone(); 1_001];
    let error = shop.engine.acknowledge_all(&many).unwrap_err();
    assert!(matches!(error, Error::Invalid(_)), "{error}");
    shop.clean();
}

#[test]
fn an_endpoint_that_asked_for_it_is_suspended_when_all_has_failed_for_so_long_and_what_happens_then_waits() {
    let (clock, till, receiver) = (ManualClock::new(), Till::new(), Receiver::new());
    let told_of = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let telling = std::sync::Arc::clone(&told_of);
    let engine = builder(&clock, &till, &receiver)
        .on_alarm(move |alarm: &Alarm| {
            if let Alarm::EndpointSuspended { endpoint, .. } = alarm {
                crate::kit::locked(&telling).push(endpoint.clone());
            }
        })
        .open_in_memory()
        .unwrap();
    let shop = Shop::with(engine, Mode::Test, clock, till, receiver);
    let dead = shop
        .app
        .endpoints()
        .add(of_customers("dead.example").suspend_after(HOUR))
        .unwrap();
    let other = NewEndpoint::new("https://well.example/hook", Format::Standard).events(["endpoint.suspended"]);
    shop.app.endpoints().add(other).unwrap();
    let state = || shop.app.endpoints().list(10, None).unwrap().data[0].state;
    change(&shop, "a", "1");
    for _ in 1..=5 {
        assert_eq!(state(), EndpointState::Enabled);
        shop.receiver.answer(status(500));
        assert_eq!(run(&shop).1, 1);
        shop.clock.turn(3 * HOUR);
    }
    assert_eq!(state(), EndpointState::Suspended);
    assert_eq!(*crate::kit::locked(&told_of), std::slice::from_ref(&dead.endpoint.id));
    let kinds = shop.kinds(&dead.endpoint.id);
    assert_eq!(kinds, ["endpoint.created", "endpoint.suspended"]);
    // Another endpoint hears of it, and this one does not.
    let sent = shop.receiver.take_requests();
    assert_eq!((sent.len(), sent[5].url.as_str()), (6, "https://well.example/hook"));
    change(&shop, "b", "1");
    assert!(!is_due(&shop));
    assert_eq!(run(&shop), (0, 0));
    assert!(shop.receiver.requests().is_empty());
    let waiting = deliveries(&shop).remove(0);
    assert_eq!(
        (waiting.state, waiting.endpoint),
        (DeliveryState::Pending, dead.endpoint.id)
    );
    shop.clean();
}

#[test]
fn an_endpoint_that_accepted_something_meanwhile_is_not_suspended() {
    let shop = Shop::open();
    shop.app
        .endpoints()
        .add(of_customers("ill.example").suspend_after(HOUR))
        .unwrap();
    change(&shop, "a", "1");
    for attempt in 1..=5 {
        shop.receiver.answer(status(500));
        assert_eq!(run(&shop), (0, 1));
        if attempt == 4 {
            change(&shop, "b", "1");
            assert_eq!(run(&shop), (1, 0));
        }
        shop.clock.turn(3 * HOUR);
    }
    let endpoint = shop.app.endpoints().list(10, None).unwrap().data.remove(0);
    assert_eq!(endpoint.state, EndpointState::Enabled);
    let sent = shop.receiver.requests();
    assert_eq!(header(&sent[0], "webhook-id"), header(&sent[1], "webhook-id"));
    shop.clean();
}

#[test]
fn a_pile_of_deliveries_about_one_object_keeps_none_of_the_others_waiting() {
    for order in [DeliveryOrder::Soft, DeliveryOrder::Strict] {
        let shop = Shop::open();
        let endpoint = new().events(["customer.created", "customer.updated"]);
        shop.app
            .endpoints()
            .add(endpoint.ordering(order).max_in_flight(64))
            .unwrap();
        let change = |uid: &str, name: &str| shop.app.customers().set(NewCustomer::uid(uid).name(name)).unwrap();
        for name in 0..600 {
            change("u_1", &name.to_string());
        }
        for other in 2..10 {
            change(&format!("u_{other}"), "x");
        }
        // With the first one about it on its way, and without.
        let first = shop.engine.claim_deliveries(1).unwrap();
        assert_eq!(first.len(), 1);
        assert_eq!(shop.engine.claim_deliveries(100).unwrap().len(), 8, "{order:?}");
        shop.engine
            .acknowledge(&first[0], &TransportOutcome::Answered(Answered::status(204)))
            .unwrap();
        assert_eq!(shop.engine.claim_deliveries(usize::MAX).unwrap().len(), 1, "{order:?}");
    }
}
