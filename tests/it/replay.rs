//! Deliveries read, sent again and forgotten, and events pulled.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use tillite::webhook::{DeliveryState, Endpoint, EndpointState, EndpointUpdate, Format, NewEndpoint};
use tillite::{
    Actor, Answered, Budget, Clock as _, Delivery, DeliveryFilter, DeliveryId, DeliveryOutcome, EndpointId, Error,
    Event, EventFilter, EventId, EventKind, Mode, NewCustomer, NewReplay, Replay, ReplayId, ReplayOf, ReplayState,
    SignedRequest, TransportOutcome, WhatNow, Work,
};

use crate::file::{Disk, sell, sql};
use crate::kit::{Shop, header, verified};

const DAY: Duration = Duration::from_secs(86_400);

/// An endpoint that hears of customers only, so that each new one is one delivery.
fn endpoint(shop: &Shop, path: &str, format: Format) -> Endpoint {
    let url = format!("https://shop.example/{path}");
    let new = NewEndpoint::new(url, format).events(["customer.created"]);
    shop.app.endpoints().add(new).unwrap().endpoint
}

fn happen(shop: &Shop, uid: &str) {
    shop.app.customers().create(NewCustomer::uid(uid)).unwrap();
}

fn listed(shop: &Shop, filter: &DeliveryFilter) -> Vec<Delivery> {
    let (mut found, mut before): (Vec<Delivery>, Option<DeliveryId>) = (Vec::new(), None);
    loop {
        let page = shop.app.deliveries().list(filter, 7, before.as_ref()).unwrap();
        before = page.data.last().map(|delivery| delivery.id.clone());
        found.extend(page.data);
        if !page.has_more {
            return found;
        }
    }
}

fn all(shop: &Shop) -> Vec<Delivery> {
    listed(shop, &DeliveryFilter::all())
}

fn refused() -> TransportOutcome {
    TransportOutcome::Answered(Answered::status(500))
}

/// Refuses all that is due; answers what it was.
fn refuse(shop: &Shop) -> Vec<SignedRequest> {
    let mut sent = Vec::new();
    loop {
        let claimed = shop.engine.claim_deliveries(4).unwrap();
        if claimed.is_empty() {
            return sent;
        }
        for delivery in claimed {
            assert!(shop.engine.acknowledge(&delivery, &refused()).unwrap());
            sent.push(delivery.request);
        }
    }
}

/// The longest that each next attempt waits, in seconds.
const GAPS: [u64; 5] = [0, 66, 330, 1_980, 7_920];

/// Has what is due tried until nothing is left to try, each time refused; answers what was sent.
fn exhaust(shop: &Shop) -> Vec<SignedRequest> {
    let mut sent = Vec::new();
    for gap in GAPS {
        shop.clock.turn(Duration::from_secs(gap));
        sent.extend(refuse(shop));
    }
    sent
}

/// Does all there is to do, however long it takes.
fn run(shop: &Shop) {
    while shop.engine.run_due(Budget::items(10_000)).unwrap().total() > 0 {}
}

fn status(shop: &Shop, replay: &Replay) -> Replay {
    shop.app.deliveries().replay_status(&replay.id).unwrap()
}

/// The ids and bytes of what was sent to a path, in order.
fn sent(shop: &Shop, path: &str) -> Vec<(String, Vec<u8>)> {
    let requests = shop.receiver.requests();
    let to = requests.iter().filter(|request| request.url.ends_with(path));
    to.map(|request| (header(request, "webhook-id").unwrap().to_owned(), request.body.clone()))
        .collect()
}

fn events(shop: &Shop) -> Vec<Event> {
    let (mut found, mut after) = (Vec::new(), 0);
    loop {
        let pulled = shop.app.pull(&EventFilter::all(), 100, after).unwrap();
        after = pulled.position;
        found.extend(pulled.data);
        if !pulled.has_more {
            return found;
        }
    }
}

#[test]
fn one_delivery_sent_again_is_another_of_the_same_event_and_bytes() {
    let shop = Shop::open();
    let secret = shop.endpoint(Format::Standard);
    let id = shop.app.endpoints().list(1, None).unwrap().data.remove(0).id;
    let only = EndpointUpdate::new().events(["customer.created"]);
    shop.app.endpoints().update(&id, only).unwrap();
    happen(&shop, "u_1");
    let mut requests = exhaust(&shop);
    let first = all(&shop).remove(0);
    assert_eq!((first.state, first.generation), (DeliveryState::Exhausted, 1));
    let eve = shop.app.acting_as(Actor::Operator("eve".to_owned())).unwrap();
    let again = eve.deliveries().replay(&first.id, None).unwrap();
    assert_eq!(
        (again.state, again.generation, again.attempts),
        (DeliveryState::Pending, 2, 0)
    );
    assert_eq!((&again.event, &again.endpoint), (&first.event, &first.endpoint));
    assert_eq!(again.due_at, Some(shop.clock.now()));
    // Five attempts, like any; and from what was sent again it can be sent again.
    requests.extend(exhaust(&shop));
    assert_eq!(
        shop.app.deliveries().get(&again.id).unwrap().state,
        DeliveryState::Exhausted
    );
    let third = shop.app.deliveries().replay(&again.id, None).unwrap();
    assert_eq!(third.generation, 3);
    run(&shop);
    assert_eq!(
        shop.app.deliveries().get(&third.id).unwrap().state,
        DeliveryState::Delivered
    );
    requests.extend(shop.receiver.requests());
    assert_eq!(requests.len(), 11);
    let same = |request: &SignedRequest| {
        (&request.body, header(request, "webhook-id")) == (&requests[0].body, header(&requests[0], "webhook-id"))
    };
    assert!(requests.iter().all(same));
    let last = &requests[10];
    assert!(verified(Format::Standard, &secret, last, last.signed_at));
    assert_eq!(all(&shop).len(), 3);
    // On whose behalf stands among the replays.
    let replays = shop.app.deliveries().replays(10, None).unwrap().data;
    let actors: BTreeSet<&str> = replays.iter().map(|replay| replay.actor.as_str()).collect();
    assert_eq!(actors, BTreeSet::from(["host", "operator:eve"]));
    assert!(
        replays
            .iter()
            .all(|replay| (replay.state, replay.made) == (ReplayState::Done, 1))
    );
    shop.clean();
}

#[test]
fn nothing_is_sent_again_to_a_deleted_endpoint() {
    let shop = Shop::open();
    let id = endpoint(&shop, "a", Format::Standard).id;
    happen(&shop, "u_1");
    let delivery = all(&shop).remove(0);
    let deliveries = shop.app.deliveries();
    shop.app.endpoints().disable(&id).unwrap();
    let running = deliveries.replay_range(NewReplay::to(&id)).unwrap();
    assert_eq!(deliveries.replay(&delivery.id, None).unwrap().generation, 2, "it waits");
    shop.app.endpoints().delete(&id).unwrap();
    let errors = [
        deliveries.replay(&delivery.id, None).unwrap_err(),
        deliveries.replay_range(NewReplay::to(&id)).unwrap_err(),
    ];
    assert!(
        errors.iter().all(|error| matches!(error, Error::Deleted { .. })),
        "{errors:?}"
    );
    assert_eq!(status(&shop, &running).state, ReplayState::Canceled);
    run(&shop);
    assert!(
        all(&shop)
            .iter()
            .all(|delivery| delivery.state == DeliveryState::Canceled)
    );
    assert!(shop.receiver.requests().is_empty());
    let nobody = DeliveryId::parse(&format!("dl_test_{}", "0".repeat(30))).unwrap();
    let live = DeliveryId::parse(&format!("dl_live_{}", "0".repeat(30))).unwrap();
    let no_replay = ReplayId::parse(&format!("rpl_test_{}", "0".repeat(30))).unwrap();
    for (error, code) in [
        (deliveries.replay(&nobody, None).unwrap_err(), "not_found"),
        (deliveries.get(&nobody).unwrap_err(), "not_found"),
        (deliveries.attempts(&nobody).unwrap_err(), "not_found"),
        (deliveries.replay(&live, None).unwrap_err(), "wrong_mode"),
        (deliveries.get(&live).unwrap_err(), "wrong_mode"),
        (deliveries.cancel_replay(&no_replay).unwrap_err(), "not_found"),
        (deliveries.replay_status(&no_replay).unwrap_err(), "not_found"),
        (
            deliveries.replay_range(NewReplay::to(&id).after(-1)).unwrap_err(),
            "invalid",
        ),
    ] {
        assert_eq!(error.code(), code, "{error}");
    }
    shop.clean();
}

#[test]
fn nothing_is_kept_of_how_a_deleted_endpoint_is_doing() {
    let disk = Disk::new();
    let shop = disk.shop();
    let id = endpoint(&shop, "a", Format::Standard).id;
    happen(&shop, "u_1");
    let held = shop.engine.claim_deliveries(1).unwrap();
    shop.app.endpoints().delete(&id).unwrap();
    shop.engine.acknowledge(&held[0], &refused()).unwrap();
    run(&shop);
    assert_eq!(all(&shop)[0].state, DeliveryState::Canceled);
    assert_eq!(sql(&disk.raw(), "SELECT endpoint FROM tillite_endpoint_flow"), [""; 0]);
    shop.clean();
}

#[test]
fn the_log_of_attempts_says_what_came_of_each() {
    let shop = Shop::open();
    endpoint(&shop, "a", Format::Standard);
    happen(&shop, "u_1");
    let answers = [
        TransportOutcome::Answered(Answered::status(503)),
        TransportOutcome::Failed {
            why: "no route".to_owned(),
        },
        TransportOutcome::Answered(Answered::status(204)),
    ];
    let start = shop.clock.now();
    for (answer, gap) in answers.into_iter().zip(GAPS) {
        shop.clock.turn(Duration::from_secs(gap));
        shop.receiver.answer(answer);
        shop.run();
    }
    let delivery = all(&shop).remove(0);
    let attempts = shop.app.deliveries().attempts(&delivery.id).unwrap();
    let said: Vec<_> = attempts
        .iter()
        .map(|attempt| {
            (
                attempt.number,
                attempt.outcome,
                attempt.status,
                attempt.detail.as_deref(),
            )
        })
        .collect();
    assert_eq!(
        said,
        [
            (1, DeliveryOutcome::Refused, Some(503), None),
            (2, DeliveryOutcome::Failed, None, Some("no route")),
            (3, DeliveryOutcome::Delivered, Some(204), None),
        ]
    );
    assert_eq!(attempts[0].started_at, start);
    assert_eq!(
        attempts[2].started_at,
        start.plus(Duration::from_secs(GAPS[1] + GAPS[2]))
    );
    assert_eq!((delivery.attempts, delivery.last_status), (3, Some(204)));
}

#[test]
fn deliveries_are_listed_by_state_endpoint_and_event() {
    use DeliveryState::{Blocked, Canceled, Delivered, Exhausted, InFlight, Pending};
    let shop = Shop::open();
    let (a, b) = (
        endpoint(&shop, "a", Format::Standard).id,
        endpoint(&shop, "b", Format::XPay).id,
    );
    for uid in ["u_1", "u_2"] {
        happen(&shop, uid);
    }
    exhaust(&shop);
    for uid in ["u_3", "u_4", "u_5"] {
        happen(&shop, uid);
    }
    run(&shop);
    happen(&shop, "u_6");
    drop(shop.engine.claim_deliveries(1).unwrap());
    let gone = endpoint(&shop, "gone", Format::Standard).id;
    happen(&shop, "u_7");
    shop.app.endpoints().delete(&gone).unwrap();
    shop.engine.run_due(Budget::items(10).work(Work::RETENTION)).unwrap();
    let everything = all(&shop);
    assert_eq!(everything.len(), 15);
    let ids: Vec<&DeliveryId> = everything.iter().map(|delivery| &delivery.id).collect();
    assert!(ids.windows(2).all(|pair| pair[0] > pair[1]), "newest first");
    let events: BTreeSet<&EventId> = everything.iter().map(|delivery| &delivery.event).collect();
    let states = [Pending, Blocked, InFlight, Delivered, Exhausted, Canceled].map(Some);
    for state in states.into_iter().chain([None]) {
        for endpoint in [Some(&a), Some(&b), Some(&gone), None] {
            for event in events.iter().copied().map(Some).chain([None]) {
                let mut filter = DeliveryFilter::all();
                if let Some(state) = state {
                    filter = filter.state(state);
                }
                if let Some(endpoint) = endpoint {
                    filter = filter.endpoint(endpoint);
                }
                if let Some(event) = event {
                    filter = filter.event(event);
                }
                let fits = |delivery: &&Delivery| {
                    state.is_none_or(|state| delivery.state == state)
                        && endpoint.is_none_or(|endpoint| delivery.endpoint == *endpoint)
                        && event.is_none_or(|event| delivery.event == *event)
                };
                let expected: Vec<Delivery> = everything.iter().filter(fits).cloned().collect();
                assert_eq!(listed(&shop, &filter), expected, "{filter:?}");
                // From every place on, and never more than was asked for.
                for (at, last) in expected.iter().enumerate() {
                    let page = shop.app.deliveries().list(&filter, 1, Some(&last.id)).unwrap();
                    assert_eq!(page.data.first(), expected.get(at + 1), "{filter:?}");
                    assert!(page.data.len() <= 1);
                }
            }
        }
    }
    for delivery in &everything {
        assert_eq!(shop.app.deliveries().get(&delivery.id).unwrap(), *delivery);
    }
}

#[test]
fn a_range_is_sent_as_was_chosen_and_what_is_in_the_queue_is_not_sent_twice() {
    // Two that were refused for good, two that were accepted, one that waits; and one from before.
    let expected = [
        (ReplayOf::Exhausted, &["u_1", "u_2"][..]),
        (ReplayOf::Undelivered, &["u_0", "u_1", "u_2"]),
        (ReplayOf::All, &["u_0", "u_1", "u_2", "u_3", "u_4"]),
    ];
    for (of, uids) in expected {
        let shop = Shop::open();
        happen(&shop, "u_0");
        let id = endpoint(&shop, "a", Format::Standard).id;
        for uid in ["u_1", "u_2"] {
            happen(&shop, uid);
        }
        exhaust(&shop);
        for uid in ["u_3", "u_4"] {
            happen(&shop, uid);
        }
        run(&shop);
        happen(&shop, "u_5");
        let before = all(&shop).len();
        let replay = shop.app.deliveries().replay_range(NewReplay::to(&id).of(of)).unwrap();
        assert_eq!(
            (replay.state, replay.position, replay.made),
            (ReplayState::Running, 0, 0)
        );
        happen(&shop, "u_6");
        drop(shop.receiver.take_requests());
        // Nothing by the deliveries alone, and all by what replays are.
        shop.engine.run_due(Budget::items(1_000).work(Work::REPLAYS)).unwrap();
        let done = status(&shop, &replay);
        assert_eq!((done.state, done.position), (ReplayState::Done, done.up_to));
        assert_eq!(usize::try_from(done.made).unwrap(), uids.len(), "{of:?}");
        assert_eq!(all(&shop).len(), before + uids.len() + 1);
        if of != ReplayOf::Exhausted {
            assert_eq!(i64::try_from(done.made + done.passed).unwrap(), done.up_to);
        }
        run(&shop);
        let bodies = sent(&shop, "/a");
        let says = |uid: &str| {
            bodies
                .iter()
                .any(|(_, body)| String::from_utf8_lossy(body).contains(&format!("\"{uid}\"")))
        };
        for uid in ["u_0", "u_1", "u_2", "u_3", "u_4"] {
            assert_eq!(says(uid), uids.contains(&uid), "{of:?} {uid}");
        }
        assert!(says("u_5") && says("u_6"));
        let distinct: BTreeSet<_> = bodies.iter().collect();
        assert_eq!(distinct.len(), bodies.len());
        shop.clean();
    }
}

#[test]
fn a_range_begins_where_it_was_said_and_ends_with_the_newest_event() {
    let shop = Shop::open();
    let mut heads = Vec::new();
    shop.clock.turn(Duration::from_secs(10));
    for at in 0..6 {
        happen(&shop, &format!("u_{at}"));
        heads.push((shop.app.journal_head().unwrap().position, shop.app.now().unwrap()));
        shop.clock.turn(Duration::from_secs(10));
    }
    let id = endpoint(&shop, "a", Format::Standard).id;
    let begin = |new: NewReplay| {
        let replay = shop.app.deliveries().replay_range(new.of(ReplayOf::All)).unwrap();
        shop.app.deliveries().cancel_replay(&replay.id).ok();
        replay
    };
    let head = shop.app.journal_head().unwrap().position;
    for (position, at) in heads {
        assert_eq!(begin(NewReplay::to(&id).after(position)).after, position);
        assert_eq!(begin(NewReplay::to(&id).since(at)).after, position - 1);
        let later = at.plus(Duration::from_millis(1));
        assert_eq!(begin(NewReplay::to(&id).since(later)).after, position);
    }
    let nothing = begin(NewReplay::to(&id).after(head + 100));
    assert_eq!(
        (nothing.state, nothing.after, nothing.up_to),
        (ReplayState::Done, head, head)
    );
    assert_eq!(begin(NewReplay::to(&id)).up_to, head);
    let refusal = shop.app.deliveries().cancel_replay(&nothing.id).unwrap_err();
    assert_eq!(refusal.code(), "refused");
    shop.clean();
}

#[test]
fn a_new_endpoint_gets_what_was_before_it_in_its_own_format_where_that_is_known() {
    let shop = Shop::open();
    let old = shop.endpoint(Format::XPay);
    sell(&shop, "u_1").unwrap();
    run(&shop);
    let heard = sent(&shop, "/xpay");
    // Nobody had the other format; what the log keeps is enough for the standard one.
    for (format, expected) in [(Format::XPay, heard.len()), (Format::JoPay, 0), (Format::Standard, 16)] {
        let path = format!("new_{}", format.as_str());
        let new = NewEndpoint::new(format!("https://shop.example/{path}"), format);
        let added = shop.app.endpoints().add(new).unwrap();
        run(&shop);
        drop(shop.receiver.take_requests());
        let head = events(&shop);
        let range = NewReplay::to(&added.endpoint.id);
        let replay = shop.app.deliveries().replay_range(range).unwrap();
        run(&shop);
        let done = status(&shop, &replay);
        let requests = shop.receiver.requests();
        let got: Vec<_> = requests.iter().filter(|request| request.url.ends_with(&path)).collect();
        assert_eq!(usize::try_from(done.made).unwrap(), got.len());
        assert_eq!(done.made + done.passed, u64::try_from(head.len()).unwrap());
        match format {
            Format::XPay => {
                let bodies: BTreeSet<_> = sent(&shop, &path).into_iter().collect();
                assert_eq!(bodies, heard.iter().cloned().collect());
                assert_eq!(got.len(), expected);
            }
            Format::JoPay => assert_eq!(got.len(), expected),
            _ => assert!(got.len() >= expected, "{}", got.len()),
        }
        for request in got {
            assert!(verified(format, &added.secret, request, request.signed_at));
        }
        drop(shop.receiver.take_requests());
    }
    drop(old);
    shop.clean();
}

#[test]
fn a_body_that_is_made_again_is_that_which_was_committed() {
    let shop = Shop::open();
    shop.endpoint(Format::Standard);
    sell(&shop, "u_1").unwrap();
    let id = shop.app.endpoints().list(1, None).unwrap().data.remove(0).id;
    shop.app.endpoints().ping(&id).unwrap();
    run(&shop);
    let committed: BTreeMap<String, Vec<u8>> = sent(&shop, "/standard").into_iter().collect();
    assert!(committed.len() > 10);
    for event in events(&shop) {
        let body = shop.app.event_body(&event.id, Format::Standard).unwrap().unwrap();
        if let Some(known) = committed.get(event.id.as_str()) {
            assert_eq!(&body, known);
        }
        assert_eq!(shop.app.event(&event.id).unwrap(), event);
        assert_eq!(shop.app.event_body(&event.id, Format::JoPay).unwrap(), None);
        let read: serde_json::Value = serde_json::from_slice(&body).unwrap();
        if event.kind != "endpoint.ping" {
            let native: serde_json::Value = serde_json::from_str(event.body.as_ref().unwrap()).unwrap();
            assert_eq!((&read["type"], &read["data"]), (&event.kind.as_str().into(), &native));
        }
    }
    let nobody = EventId::parse(&format!("evt_test_{}", "0".repeat(30))).unwrap();
    assert_eq!(shop.app.event(&nobody).unwrap_err().code(), "not_found");
    assert_eq!(
        shop.app.event_body(&nobody, Format::XPay).unwrap_err().code(),
        "not_found"
    );
}

#[test]
fn without_the_committed_bytes_the_same_are_made() {
    let disk = Disk::new();
    let shop = disk.shop();
    shop.endpoint(Format::Standard);
    sell(&shop, "u_1").unwrap();
    let all = events(&shop);
    let bodies = |shop: &Shop| -> Vec<Option<Vec<u8>>> {
        let body = |event: &Event| shop.app.event_body(&event.id, Format::Standard).unwrap();
        all.iter().map(body).collect()
    };
    let before = bodies(&shop);
    let raw = disk.raw();
    sql(&raw, "PRAGMA foreign_keys = OFF");
    let had = sql(&raw, "SELECT count(*) FROM tillite_event_body");
    assert_ne!(had, ["0"]);
    sql(&raw, "DELETE FROM tillite_event_body");
    assert_eq!(bodies(&shop), before);
    assert!(before.iter().all(Option::is_some));
}

#[test]
fn a_long_range_goes_on_page_by_page_and_where_it_stopped() {
    let disk = Disk::new();
    let shop = disk.shop();
    for at in 0..60 {
        happen(&shop, &format!("u_{at}"));
    }
    let id = endpoint(&shop, "a", Format::Standard).id;
    let replay = shop.app.deliveries().replay_range(NewReplay::to(&id)).unwrap();
    drop(shop);
    let mut seen = 0;
    let mut rounds = 0;
    // Another process each time: nothing of it is in anybody's memory.
    loop {
        let shop = disk.shop();
        let budget = Budget::items(7).work(Work::REPLAYS);
        let ran = shop.engine.run_due(budget).unwrap();
        let now = status(&shop, &replay);
        assert!(ran.replayed <= 7 && now.position >= seen);
        assert_eq!(i64::try_from(now.made + now.passed).unwrap(), now.position);
        assert_eq!(u64::try_from(all(&shop).len()).unwrap(), now.made);
        seen = now.position;
        rounds += 1;
        shop.clean();
        if now.state == ReplayState::Done {
            break;
        }
        assert!(shop.engine.wait_due_for(Work::REPLAYS, Duration::ZERO).unwrap());
        assert!(rounds < 50);
    }
    let shop = disk.shop();
    run(&shop);
    let ids: BTreeSet<String> = sent(&shop, "/a").into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids.len(), 60);
    assert_eq!(shop.receiver.requests().len(), 60);
    assert!(!shop.engine.wait_due_for(Work::REPLAYS, Duration::ZERO).unwrap());
}

#[test]
fn four_replays_run_to_an_endpoint_and_the_fifth_is_refused_until_one_is_done_or_called_off() {
    let shop = Shop::open();
    happen(&shop, "u_1");
    let (full, other) = (
        endpoint(&shop, "full", Format::Standard).id,
        endpoint(&shop, "other", Format::Standard).id,
    );
    shop.app.endpoints().disable(&full).unwrap();
    let deliveries = shop.app.deliveries();
    let begin = |key: &str| deliveries.replay_range(NewReplay::to(&full).idempotency_key(key));
    let running: Vec<Replay> = ["1", "2", "3", "4"].map(|key| begin(key).unwrap()).into();
    let refused = begin("5").unwrap_err();
    let expected = Error::ReplaysRunning {
        endpoint: full.to_string(),
        running: 4,
    };
    assert_eq!(refused, expected);
    assert_eq!(
        (refused.code(), refused.what_now()),
        ("replays_running", WhatNow::RetryLater)
    );
    // Who repeats a request, who asks for nothing and who means another endpoint is answered.
    assert_eq!(begin("4").unwrap().id, running[3].id);
    let head = shop.app.journal_head().unwrap().position;
    let nothing = deliveries.replay_range(NewReplay::to(&full).after(head)).unwrap();
    assert_eq!(nothing.state, ReplayState::Done);
    deliveries.replay_range(NewReplay::to(&other)).unwrap();
    deliveries.cancel_replay(&running[0].id).unwrap();
    begin("5").unwrap();
    assert_eq!(begin("6").unwrap_err(), expected);
    shop.app.endpoints().enable(&full).unwrap();
    run(&shop);
    begin("6").unwrap();
    shop.clean();
}

#[test]
fn a_replay_waits_while_its_endpoint_is_off_and_while_enough_waits_for_it() {
    let shop = Shop::open();
    let before = shop.app.journal_head().unwrap().position;
    for at in 0..700 {
        happen(&shop, &format!("u_{at}"));
    }
    let id = endpoint(&shop, "a", Format::Standard).id;
    shop.app.endpoints().disable(&id).unwrap();
    let replay = shop
        .app
        .deliveries()
        .replay_range(NewReplay::to(&id).after(before))
        .unwrap();
    let go_on = || {
        shop.engine
            .run_due(Budget::items(100_000).work(Work::REPLAYS))
            .unwrap()
            .replayed
    };
    assert_eq!(go_on(), 0);
    assert!(!shop.engine.wait_due_for(Work::REPLAYS, Duration::ZERO).unwrap());
    shop.app.endpoints().enable(&id).unwrap();
    assert!(shop.engine.wait_due_for(Work::REPLAYS, Duration::ZERO).unwrap());
    assert_eq!(go_on(), 500);
    assert_eq!(status(&shop, &replay).made, 500);
    assert_eq!(go_on(), 0, "as much waits");
    assert!(!shop.engine.wait_due_for(Work::REPLAYS, Duration::ZERO).unwrap());
    // What happens now is not behind all of it.
    happen(&shop, "u_new");
    run(&shop);
    assert_eq!(status(&shop, &replay).state, ReplayState::Done);
    assert_eq!(sent(&shop, "/a").len(), 701);
    shop.clean();
}

#[test]
fn old_deliveries_and_replays_are_forgotten_in_their_time_and_not_before_their_attempts() {
    let disk = Disk::new();
    let shop = disk.shop();
    let (kept, gone) = (
        endpoint(&shop, "a", Format::Standard).id,
        endpoint(&shop, "b", Format::Standard).id,
    );
    happen(&shop, "u_1");
    exhaust(&shop);
    let off = endpoint(&shop, "off", Format::Standard).id;
    happen(&shop, "u_2");
    shop.app.endpoints().disable(&off).unwrap();
    shop.app.endpoints().delete(&gone).unwrap();
    run(&shop);
    shop.app
        .deliveries()
        .replay_range(NewReplay::to(&kept).of(ReplayOf::Exhausted))
        .unwrap();
    let stuck = shop.app.deliveries().replay_range(NewReplay::to(&off)).unwrap();
    run(&shop);
    let states = || -> BTreeMap<&str, usize> {
        let mut found = BTreeMap::new();
        for delivery in all(&shop) {
            *found.entry(delivery.state.as_str()).or_default() += 1;
        }
        found
    };
    assert_eq!(
        states(),
        BTreeMap::from([("canceled", 1), ("delivered", 2), ("exhausted", 2), ("pending", 1)])
    );
    let replays = || shop.app.deliveries().replays(10, None).unwrap().data;
    assert_eq!(replays().len(), 2);
    for days in 1..=31 {
        shop.clock.turn(DAY);
        run(&shop);
        shop.clean();
        if days < 30 {
            assert_eq!(all(&shop).len(), 6, "{days}");
        }
    }
    assert_eq!(
        states(),
        BTreeMap::from([("delivered", 1), ("exhausted", 2), ("pending", 1)])
    );
    let left: Vec<ReplayId> = replays().into_iter().map(|replay| replay.id).collect();
    assert!(left.iter().eq([&stuck.id]), "it is not done: {left:?}");
    // What was delivered and forgotten is not taken for undelivered.
    let range = shop.app.deliveries().replay_range(NewReplay::to(&kept)).unwrap();
    run(&shop);
    assert_eq!(
        status(&shop, &range).made,
        0,
        "u_1 was delivered in the end, as was u_2"
    );
    for _ in 0..62 {
        shop.clock.turn(DAY);
        run(&shop);
    }
    assert_eq!(states(), BTreeMap::from([("pending", 1)]));
    shop.clean();
    shop.app.deliveries().cancel_replay(&stuck.id).unwrap();
    // What waited longer than anything is kept is sent all the same, and then its attempt is kept its time.
    shop.app.endpoints().enable(&off).unwrap();
    run(&shop);
    assert_eq!(states(), BTreeMap::from([("delivered", 1)]));
    for days in 1..=16 {
        shop.clock.turn(DAY);
        run(&shop);
        shop.clean();
        assert_eq!(all(&shop).len(), usize::from(days < 14), "{days}");
    }
    assert_eq!(shop.engine.next_due().unwrap(), None);
}

#[test]
fn pulled_events_are_those_of_the_kinds_and_none_is_passed_over() {
    let shop = Shop::open();
    for at in 0..3 {
        sell(&shop, &format!("u_{at}")).unwrap();
    }
    for at in 0..1_100 {
        happen(&shop, &format!("many_{at}"));
    }
    sell(&shop, "u_last").unwrap();
    let everything = events(&shop);
    assert!(
        everything
            .windows(2)
            .all(|pair| pair[1].position == pair[0].position + 1)
    );
    assert_eq!(
        everything.last().unwrap().position,
        shop.app.journal_head().unwrap().position
    );
    let kinds = [EventKind::ChargeSucceeded, EventKind::SessionCompleted];
    for limit in [1, 3, 100] {
        let (mut found, mut after, mut calls) = (Vec::new(), 0, 0);
        loop {
            let pulled = shop.app.pull(&EventFilter::all().kinds(kinds), limit, after).unwrap();
            assert!(pulled.position > after && pulled.data.len() <= usize::try_from(limit).unwrap());
            after = pulled.position;
            found.extend(pulled.data);
            calls += 1;
            if !pulled.has_more {
                break;
            }
        }
        let wanted = |event: &&Event| kinds.iter().any(|kind| kind.as_str() == event.kind);
        assert_eq!(found, everything.iter().filter(wanted).cloned().collect::<Vec<_>>());
        assert!(calls >= 2, "a call looks at a thousand");
        // At the end there is nothing, until something happens.
        let nothing = shop.app.pull(&EventFilter::all(), 1, after).unwrap();
        assert_eq!(
            (nothing.data.len(), nothing.position, nothing.has_more),
            (0, after, false)
        );
    }
    // Of no kinds there are no events, and the position moves all the same.
    let none = shop.app.pull(&EventFilter::all().kinds([]), 100, 0).unwrap();
    assert_eq!((none.data.len(), none.position, none.has_more), (0, 1_000, true));
    assert_eq!(
        shop.app.pull(&EventFilter::all(), 0, 0).unwrap_err().field(),
        Some("limit")
    );
}

/// What somebody does with an endpoint.
#[derive(Clone, Debug)]
enum Act {
    Happen,
    Disable,
    Enable,
    Deliver(bool),
    Replay(usize),
    Range(ReplayOf),
    Delete,
    GoOn,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        6 => Just(Act::Happen),
        2 => Just(Act::Disable),
        3 => Just(Act::Enable),
        4 => any::<bool>().prop_map(Act::Deliver),
        2 => (0usize..8).prop_map(Act::Replay),
        2 => prop::sample::select(vec![ReplayOf::Exhausted, ReplayOf::Undelivered, ReplayOf::All]).prop_map(Act::Range),
        1 => Just(Act::Delete),
        3 => Just(Act::GoOn),
    ];
    prop::collection::vec(act, 1..40)
}

/// What is known of an endpoint without asking.
#[derive(Default)]
struct Model {
    state: Option<EndpointState>,
    events: usize,
    /// Generations per event, in the order in which the events happened.
    generations: BTreeMap<EventId, BTreeSet<u32>>,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_done_with_an_endpoint_it_gets_what_it_is_to_get_and_no_more(acts in acts()) {
        let shop = Shop::open();
        let id: EndpointId = endpoint(&shop, "a", Format::Standard).id;
        let mut model = Model { state: Some(EndpointState::Enabled), ..Model::default() };
        for act in acts {
            let state = model.state.unwrap();
            let (sent_before, rows_before) = (shop.receiver.requests().len(), all(&shop).len());
            let (deliveries, endpoints) = (shop.app.deliveries(), shop.app.endpoints());
            match act {
                Act::Happen => {
                    happen(&shop, &format!("u_{}", model.events));
                    model.events += 1;
                    let more = usize::from(state == EndpointState::Enabled);
                    prop_assert_eq!(all(&shop).len(), rows_before + more, "what happens while it is off makes no row");
                }
                Act::Disable | Act::Enable => {
                    let (done, to) = match act {
                        Act::Disable => (endpoints.disable(&id), EndpointState::Disabled),
                        _ => (endpoints.enable(&id), EndpointState::Enabled),
                    };
                    prop_assert_eq!(done.is_ok(), state != EndpointState::Deleted);
                    model.state = Some(if done.is_ok() { to } else { state });
                }
                Act::Deliver(accepts) => {
                    let sent = if accepts { 0 } else { refuse(&shop).len() };
                    prop_assert!(sent == 0 || state == EndpointState::Enabled, "nothing is sent to what is off");
                    shop.engine.run_due(Budget::items(4).work(Work::DELIVERIES)).unwrap();
                    shop.clock.turn(Duration::from_secs(3_600));
                }
                Act::Replay(at) => {
                    if let Some(delivery) = all(&shop).get(at) {
                        let again = deliveries.replay(&delivery.id, None);
                        prop_assert_eq!(again.is_ok(), state != EndpointState::Deleted);
                        if let Ok(again) = again {
                            let known = &model.generations[&again.event];
                            prop_assert_eq!(again.generation, known.last().unwrap() + 1);
                        }
                    }
                }
                Act::Range(of) => {
                    let running = deliveries.replays(100, None).unwrap().data;
                    let running = running.iter().filter(|replay| replay.state == ReplayState::Running).count();
                    let begun = deliveries.replay_range(NewReplay::to(&id).of(of));
                    prop_assert_eq!(begun.is_ok(), state != EndpointState::Deleted && running < 4);
                }
                Act::Delete => {
                    endpoints.delete(&id).unwrap();
                    model.state = Some(EndpointState::Deleted);
                }
                Act::GoOn => {
                    let work = Work::REPLAYS | Work::RETENTION;
                    shop.engine.run_due(Budget::items(1_000).work(work)).unwrap();
                }
            }
            if state != EndpointState::Enabled {
                prop_assert_eq!(shop.receiver.requests().len(), sent_before, "nothing is sent to what is off");
            }
            // Each event's deliveries are numbered without a gap but for a first one that it never had.
            model.generations.clear();
            for delivery in all(&shop) {
                let is_new = model.generations.entry(delivery.event).or_default().insert(delivery.generation);
                prop_assert!(is_new);
            }
            for generations in model.generations.values() {
                let (first, last) = (*generations.first().unwrap(), *generations.last().unwrap());
                prop_assert!(first <= 2 && generations.len() == usize::try_from(last - first + 1).unwrap());
            }
            shop.clean();
        }
        // In the end: an endpoint that is on has got everything that was meant for it, once it accepts.
        run(&shop);
        for _ in 0..4 {
            shop.clock.turn(Duration::from_secs(7_200));
            run(&shop);
        }
        for delivery in all(&shop) {
            let waits = matches!(delivery.state, DeliveryState::Pending | DeliveryState::InFlight);
            prop_assert_eq!(waits, model.state == Some(EndpointState::Disabled) && waits);
        }
        shop.clean();
    }
}

#[test]
fn another_world_is_not_replayed() {
    let shop = Shop::open();
    let live = shop.engine.app("lixblogs", Mode::Live).unwrap();
    live.customers().create(NewCustomer::uid("u_live")).unwrap();
    happen(&shop, "u_1");
    let id = endpoint(&shop, "a", Format::Standard).id;
    let error = live.deliveries().replay_range(NewReplay::to(&id)).unwrap_err();
    assert_eq!(error.code(), "wrong_mode");
    shop.app.deliveries().replay_range(NewReplay::to(&id)).unwrap();
    run(&shop);
    assert_eq!(sent(&shop, "/a").len(), 1);
}
