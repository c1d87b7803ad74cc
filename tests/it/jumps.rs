//! The host's clock jumps by an hour, as a correction from the network or a summer time set by hand
//! makes it, while deliveries wait, are on their way or are held: none is lost, none is sent more often
//! than its attempts, and what is sent is signed with the clock as it then is. Nor does a consumer that
//! failed stand still for it.

use std::collections::BTreeMap;
use std::time::Duration;

use tillite::webhook::{DeliveryFilter, DeliveryState, Format, NewEndpoint};
use tillite::{
    Answered, Budget, ClaimedDelivery, Clock as _, ConsumerError, Delivery, Event, HostTx, Mode, NewCustomer, Secret,
    SignedRequest, Transport as _, TransportOutcome, Work,
};

use crate::file::sell;
use crate::kit::{ManualClock, Receiver, Shop, Till, builder, header, verified};

const HOUR: Duration = Duration::from_secs(3_600);
const MINUTE: Duration = Duration::from_secs(60);
const LEASE: Duration = Duration::from_secs(90);

fn status(status: u16) -> TransportOutcome {
    TransportOutcome::Answered(Answered::status(status))
}

/// An endpoint that hears of completed sessions only, so that a sale is one delivery.
fn endpoint(shop: &Shop) -> Secret {
    let new = NewEndpoint::new("https://shop.example/hook", Format::Standard);
    let new = new.events(["checkout.session.completed"]);
    shop.app.endpoints().add(new).unwrap().secret
}

fn deliver(shop: &Shop) -> (usize, usize) {
    let budget = Budget::items(1_000).work(Work::DELIVERIES);
    let ran = shop.engine.run_due(budget).unwrap();
    (ran.delivered, ran.undelivered)
}

fn deliveries(shop: &Shop) -> Vec<Delivery> {
    let page = shop.app.deliveries().list(&DeliveryFilter::all(), 100, None).unwrap();
    assert!(!page.has_more);
    page.data
}

fn only(shop: &Shop) -> Delivery {
    let [delivery] = <[Delivery; 1]>::try_from(deliveries(shop)).unwrap();
    delivery
}

fn claim(shop: &Shop) -> Vec<ClaimedDelivery> {
    shop.engine.claim_deliveries(100).unwrap()
}

/// Checks a request as its receiver does, whose clock is right.
fn is_fresh(shop: &Shop, secret: &Secret, request: &SignedRequest) -> bool {
    verified(Format::Standard, secret, request, shop.clock.now())
}

#[test]
fn set_back_an_hour_neither_a_retry_nor_what_is_new_waits_for_the_clock_to_catch_up() {
    let shop = Shop::open();
    let secret = endpoint(&shop);
    shop.receiver.answer(status(500));
    sell(&shop, "u_1").unwrap();
    assert_eq!(deliver(&shop), (0, 1));
    assert_eq!(deliver(&shop), (0, 0));
    shop.clock.turn_back(HOUR);
    sell(&shop, "u_2").unwrap();
    drop(shop.receiver.take_requests());
    assert_eq!(shop.engine.next_due().unwrap(), Some(shop.clock.now()));
    assert_eq!(deliver(&shop), (2, 0));
    let requests = shop.receiver.take_requests();
    assert_eq!(requests.len(), 2);
    assert!(requests.iter().all(|request| is_fresh(&shop, &secret, request)));
    let known = deliveries(&shop);
    assert!(known.iter().all(|delivery| delivery.state == DeliveryState::Delivered));
    shop.clean();
}

#[test]
fn set_forward_an_hour_a_retry_is_made_at_once_and_only_once() {
    let shop = Shop::open();
    let secret = endpoint(&shop);
    for _ in 0..2 {
        shop.receiver.answer(status(500));
    }
    sell(&shop, "u_1").unwrap();
    assert_eq!(deliver(&shop), (0, 1));
    shop.clock.turn(HOUR);
    drop(shop.receiver.take_requests());
    // The hour would have had room for three attempts; it has brought one, and the next waits its time.
    assert_eq!(deliver(&shop), (0, 1));
    assert_eq!(deliver(&shop), (0, 0));
    let [request] = <[SignedRequest; 1]>::try_from(shop.receiver.take_requests()).unwrap();
    assert!(is_fresh(&shop, &secret, &request));
    assert_eq!(only(&shop).attempts, 2);
    assert!(only(&shop).due_at > Some(shop.clock.now()));
    // And back again, so that what was put off is put off by an hour more.
    shop.clock.turn_back(HOUR);
    assert_eq!(deliver(&shop), (0, 0));
    shop.clock.turn(HOUR + 6 * MINUTE);
    assert_eq!(deliver(&shop), (1, 0));
    shop.clean();
}

#[test]
fn first_tries_leave_in_the_order_of_their_events_however_far_the_clock_goes_back_between_them() {
    for back in [Duration::from_secs(3), MINUTE, HOUR, 365 * 24 * HOUR] {
        let shop = Shop::open();
        let new = NewEndpoint::new("https://shop.example/hook", Format::Standard);
        let new = new.events(["customer.created", "customer.updated"]);
        shop.app.endpoints().add(new).unwrap();
        shop.clock.turn(2 * 365 * 24 * HOUR);
        let change = |name: &str| shop.app.customers().set(NewCustomer::uid("u_1").name(name)).unwrap();
        change("before");
        shop.clock.turn_back(back);
        change("after");
        let mut told = Vec::new();
        for _ in 0..2 {
            let [claimed] = <[ClaimedDelivery; 1]>::try_from(claim(&shop)).unwrap_or_else(|claimed| {
                // A little is waited for, and what is new waits behind what is not.
                assert!(claimed.is_empty() && back < MINUTE, "{back:?}: {}", claimed.len());
                shop.clock.turn(back);
                <[ClaimedDelivery; 1]>::try_from(claim(&shop)).unwrap()
            });
            told.push(String::from_utf8(claimed.request.body.clone()).unwrap());
            assert!(shop.engine.acknowledge(&claimed, &status(204)).unwrap());
        }
        assert!(
            told[0].contains("\"before\"") && told[1].contains("\"after\""),
            "{back:?}: {told:?}"
        );
        shop.clean();
    }
}

#[test]
fn what_was_written_while_the_clock_was_ahead_leaves_after_what_was_written_before() {
    for ahead in [MINUTE, HOUR, 365 * 24 * HOUR] {
        let shop = Shop::open();
        let new = NewEndpoint::new("https://shop.example/hook", Format::Standard);
        let new = new.events(["customer.created"]).max_in_flight(1);
        shop.app.endpoints().add(new).unwrap();
        let uids = ["u_1", "u_2", "u_3"];
        for (uid, ahead) in uids.into_iter().zip([Duration::ZERO, ahead, Duration::ZERO]) {
            shop.clock.turn(ahead);
            shop.app.customers().set(NewCustomer::uid(uid)).unwrap();
            shop.clock.turn_back(ahead);
        }
        assert_eq!(deliver(&shop), (3, 0));
        let told = shop.receiver.take_requests();
        for (request, uid) in told.iter().zip(uids) {
            assert!(String::from_utf8_lossy(&request.body).contains(uid), "{ahead:?}");
        }
        shop.clean();
    }
}

#[test]
fn what_was_put_off_while_the_clock_was_a_year_ahead_waits_for_nothing_though_nothing_else_was_written() {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3_600);
    let shop = Shop::open();
    endpoint(&shop);
    shop.receiver.answer(status(500));
    sell(&shop, "u_1").unwrap();
    shop.clock.turn(YEAR);
    assert_eq!(deliver(&shop), (0, 1));
    shop.clock.turn_back(YEAR);
    assert_eq!(shop.engine.next_due().unwrap(), Some(shop.clock.now()));
    assert_eq!(deliver(&shop), (1, 0));
    shop.clean();
}

#[test]
fn set_back_an_hour_a_claim_is_over_and_the_acceptance_of_either_sender_counts() {
    let shop = Shop::open();
    endpoint(&shop);
    sell(&shop, "u_1").unwrap();
    sell(&shop, "u_2").unwrap();
    let claimed = claim(&shop);
    assert_eq!(claimed.len(), 2);
    // A little only prolongs it: its sender is likely to be at it still.
    shop.clock.turn_back(MINUTE);
    assert!(claim(&shop).is_empty());
    // Of an hour, its lease would hold for as long though its sender is dead.
    shop.clock.turn_back(HOUR);
    let again = claim(&shop);
    assert_eq!(again.len(), 2);
    let other = |first: &ClaimedDelivery| again.iter().find(|second| second.id == first.id).unwrap();
    let acknowledge = |claim: &ClaimedDelivery, code| shop.engine.acknowledge(claim, &status(code)).unwrap();
    assert!(acknowledge(&claimed[0], 204));
    assert!(!acknowledge(other(&claimed[0]), 500), "it is delivered");
    assert!(!acknowledge(&claimed[1], 500), "somebody else has it");
    assert!(acknowledge(other(&claimed[1]), 204));
    shop.clock.turn(2 * HOUR);
    assert_eq!(deliver(&shop), (0, 0));
    shop.clean();
}

#[test]
fn set_forward_an_hour_a_claim_has_ended_and_the_delivery_is_made_again_once() {
    let shop = Shop::open();
    endpoint(&shop);
    for uid in ["u_1", "u_2", "u_3"] {
        sell(&shop, uid).unwrap();
    }
    let claimed = claim(&shop);
    assert_eq!(claimed.len(), 3);
    shop.clock.turn(HOUR);
    // One is accepted before anybody else takes it: nobody sends it again.
    assert!(shop.engine.acknowledge(&claimed[0], &status(204)).unwrap());
    let again = claim(&shop);
    let of = |first: &ClaimedDelivery| again.iter().find(|second| second.id == first.id);
    assert!(again.len() == 2 && of(&claimed[0]).is_none());
    // What the first claimer hears later is believed if it is good news.
    assert!(!shop.engine.acknowledge(&claimed[1], &status(500)).unwrap());
    assert!(shop.engine.acknowledge(&claimed[2], &status(204)).unwrap());
    assert!(shop.engine.acknowledge(of(&claimed[1]).unwrap(), &status(204)).unwrap());
    assert!(!shop.engine.acknowledge(of(&claimed[2]).unwrap(), &status(500)).unwrap());
    shop.clock.turn(HOUR);
    assert_eq!(deliver(&shop), (0, 0));
    assert!(
        deliveries(&shop)
            .iter()
            .all(|delivery| delivery.state == DeliveryState::Delivered)
    );
    shop.clean();
}

/// A shop in whose transport the clock jumps, at the first request only.
fn jumping(jump: fn(&ManualClock)) -> Shop {
    let (clock, till, receiver) = (ManualClock::new(), Till::new(), Receiver::new());
    let (turned, taking) = (clock.clone(), receiver.clone());
    let engine = builder(&clock, &till, &receiver)
        .transport(move |request: &SignedRequest| {
            let first = taking.requests().is_empty();
            let answer = taking.send(request);
            if first {
                jump(&turned);
            }
            answer
        })
        .open_in_memory()
        .unwrap();
    Shop::with(engine, Mode::Test, clock, till, receiver)
}

#[test]
fn a_jump_while_one_of_several_is_sent_sends_each_once_with_the_time_that_is_then() {
    let back: fn(&ManualClock) = |clock| clock.turn_back(HOUR);
    let forward: fn(&ManualClock) = |clock| clock.turn(HOUR);
    for (name, jump) in [("back", back), ("forward", forward)] {
        let shop = jumping(jump);
        endpoint(&shop);
        let start = shop.clock.now();
        for sale in 0..6 {
            sell(&shop, &format!("u_{sale}")).unwrap();
        }
        let mut done = deliver(&shop);
        if done.0 < 6 {
            // What was not sent yet was due at the old time, and is again when the clock has come to it.
            assert_eq!((name, done.1), ("back", 0));
            shop.clock.turn(HOUR + LEASE);
            done.0 += deliver(&shop).0;
        }
        assert_eq!(done, (6, 0), "{name}");
        let mut sent: BTreeMap<String, usize> = BTreeMap::new();
        for request in shop.receiver.requests() {
            *sent
                .entry(header(&request, "webhook-id").unwrap().to_owned())
                .or_default() += 1;
        }
        assert!(
            sent.len() == 6 && sent.values().all(|times| *times == 1),
            "{name}: {sent:?}"
        );
        if name == "forward" {
            // Five minutes is what receivers allow for; nothing of before the jump leaves after it.
            let stale = |request: &&SignedRequest| request.signed_at < start.plus(HOUR);
            assert_eq!(shop.receiver.requests().iter().filter(stale).count(), 1);
        }
        for delivery in deliveries(&shop) {
            assert_eq!(
                (delivery.state, delivery.attempts),
                (DeliveryState::Delivered, 1),
                "{name}"
            );
        }
        shop.clean();
    }
}

#[test]
fn set_back_an_hour_a_consumer_that_failed_does_not_wait_for_the_clock_to_catch_up() {
    let (clock, till, receiver) = (ManualClock::new(), Till::new(), Receiver::new());
    let engine = builder(&clock, &till, &receiver)
        .consumer("fails", |_: &mut HostTx<'_>, _: &Event| -> Result<(), ConsumerError> {
            Err("as told".into())
        })
        .open_in_memory()
        .unwrap();
    let shop = Shop::with(engine, Mode::Test, clock, till, receiver);
    shop.app.customers().set(NewCustomer::uid("u_1")).unwrap();
    let consume = || {
        let budget = Budget::items(10).work(Work::CONSUMERS);
        shop.engine.run_due(budget).unwrap().consumed
    };
    let retry_at = || shop.app.consumers().list(1, None).unwrap().data[0].retry_at.unwrap();
    for failures in 1..=12 {
        assert_eq!(consume(), 1, "failure {failures}");
        let due = retry_at();
        if failures < 8 {
            // A little only prolongs the rest.
            shop.clock.turn_back(MINUTE);
            assert_eq!((consume(), retry_at()), (0, due));
        }
        shop.clock.turn_back(HOUR);
        let now = shop.clock.now();
        assert_eq!((retry_at(), shop.engine.next_due().unwrap()), (now, Some(now)));
    }
    shop.clean();
}

#[test]
fn whatever_the_clock_does_every_delivery_comes_to_an_end_within_its_attempts() {
    for seed in 1_u64..=20 {
        let shop = Shop::open();
        endpoint(&shop);
        let mut lot = seed;
        let mut draw = |of: u64| {
            lot = lot
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (lot >> 33) % of
        };
        let mut held: Vec<ClaimedDelivery> = Vec::new();
        let mut sales = 0;
        for _ in 0..60 {
            match draw(12) {
                0 => shop.clock.turn_back(HOUR),
                1 | 11 => shop.clock.turn(HOUR),
                2 | 3 => shop.clock.turn(Duration::from_secs(draw(200))),
                4 if sales < 10 => {
                    sales += 1;
                    sell(&shop, &format!("u_{sales}")).unwrap();
                }
                // Most of what is claimed is never heard of again.
                5 | 8 | 9 | 10 => {
                    let limit = usize::try_from(draw(4)).unwrap();
                    held.extend(shop.engine.claim_deliveries(limit).unwrap());
                }
                6 if !held.is_empty() => {
                    let at = usize::try_from(draw(held.len() as u64)).unwrap();
                    let code = if draw(2) == 0 { 204 } else { 503 };
                    shop.engine.acknowledge(&held.swap_remove(at), &status(code)).unwrap();
                }
                7 => {
                    shop.receiver.answer(status(500));
                    deliver(&shop);
                }
                _ => {
                    deliver(&shop);
                }
            }
        }
        shop.clean();
        for _ in 0..12 {
            shop.clock.turn(2 * HOUR);
            deliver(&shop);
        }
        let all = deliveries(&shop);
        assert_eq!(all.len(), sales, "seed {seed}");
        for delivery in &all {
            let ended = matches!(delivery.state, DeliveryState::Delivered | DeliveryState::Exhausted);
            assert!(ended && delivery.attempts <= 5, "seed {seed}: {delivery:?}");
        }
        let mut sent: BTreeMap<String, usize> = BTreeMap::new();
        for request in shop.receiver.requests() {
            *sent
                .entry(header(&request, "webhook-id").unwrap().to_owned())
                .or_default() += 1;
        }
        for delivery in &all {
            let times = sent.get(delivery.event.as_str()).copied().unwrap_or_default();
            assert!(
                times <= delivery.attempts as usize,
                "seed {seed}: sent {times} times, {delivery:?}"
            );
        }
        shop.clean();
    }
}
