//! The life of an endpoint: changed, switched off and on, deleted, and what becomes of what waits for it.

use std::collections::BTreeSet;
use std::time::Duration;

use tillite::webhook::{DeliveryState, Endpoint, EndpointState, EndpointUpdate, Format, NewEndpoint};
use tillite::{
    Answered, Budget, Delivery, DeliveryFilter, EndpointId, Engine, Error, Mode, NewCustomer, Ran, TransportOutcome,
    WhatNow, Work,
};

use crate::file::{Disk, sell, sql};
use crate::kit::Shop;

/// An endpoint that hears of customers only, so that each new one is one delivery.
fn endpoint(shop: &Shop, path: &str) -> Endpoint {
    let url = format!("https://shop.example/{path}");
    let new = NewEndpoint::new(url, Format::Standard).events(["customer.created"]);
    shop.app.endpoints().add(new).unwrap().endpoint
}

fn happen(shop: &Shop, uid: &str) {
    shop.app.customers().create(NewCustomer::uid(uid)).unwrap();
}

fn deliveries(shop: &Shop) -> Vec<Delivery> {
    shop.app
        .deliveries()
        .list(&DeliveryFilter::all(), 100, None)
        .unwrap()
        .data
}

fn states(shop: &Shop) -> Vec<DeliveryState> {
    deliveries(shop).into_iter().map(|delivery| delivery.state).collect()
}

fn state(shop: &Shop, id: &EndpointId) -> EndpointState {
    shop.app.endpoints().get(id).unwrap().state
}

fn clear(engine: &Engine) -> Ran {
    engine.run_due(Budget::items(10_000).work(Work::RETENTION)).unwrap()
}

fn refused() -> TransportOutcome {
    TransportOutcome::Answered(Answered::status(500))
}

fn accepted() -> TransportOutcome {
    TransportOutcome::Answered(Answered::status(204))
}

#[test]
fn what_is_switched_off_gets_nothing_and_hears_of_what_waited_when_it_is_on_again() {
    let shop = Shop::open();
    let id = endpoint(&shop, "a").id;
    happen(&shop, "u_1");
    shop.receiver.answer(refused());
    assert_eq!(shop.run().undelivered, 1);
    happen(&shop, "u_2");
    assert_eq!(
        shop.app.endpoints().disable(&id).unwrap().state,
        EndpointState::Disabled
    );
    // A retry is due and a first attempt, and somebody claims for himself.
    shop.clock.turn(Duration::from_secs(600));
    happen(&shop, "u_3");
    assert_eq!(shop.run().delivered, 0);
    assert!(shop.engine.claim_deliveries(10).unwrap().is_empty());
    assert!(!shop.engine.wait_due_for(Work::DELIVERIES, Duration::ZERO).unwrap());
    assert_eq!(deliveries(&shop).len(), 2, "what happens meanwhile makes no delivery");
    assert_eq!(shop.receiver.requests().len(), 1);
    let refusal = shop.app.endpoints().ping(&id).unwrap_err();
    assert_eq!(refusal.code(), "refused");

    assert_eq!(shop.app.endpoints().enable(&id).unwrap().state, EndpointState::Enabled);
    assert!(shop.engine.wait_due_for(Work::DELIVERIES, Duration::ZERO).unwrap());
    assert_eq!(shop.run().delivered, 2);
    let requests = shop.receiver.requests();
    assert_eq!(requests.len(), 3);
    assert!(requests[1..].iter().any(|request| request.body == requests[0].body));
    happen(&shop, "u_4");
    assert_eq!(shop.run().delivered, 1);
    assert!(
        !requests
            .iter()
            .any(|request| request.body.windows(3).any(|text| text == b"u_3"))
    );
    shop.clean();
}

#[test]
fn an_endpoint_hears_nothing_of_its_own_life_and_others_do() {
    let shop = Shop::open();
    let endpoints = shop.app.endpoints();
    let all = |path: &str| {
        let new = NewEndpoint::new(format!("https://{path}.example/"), Format::Standard);
        endpoints.add(new).unwrap().endpoint.id
    };
    let (own, _other) = (all("own"), all("other"));
    endpoints
        .update(&own, EndpointUpdate::new().url("https://own.example/moved"))
        .unwrap();
    endpoints.disable(&own).unwrap();
    endpoints.enable(&own).unwrap();
    endpoints.delete(&own).unwrap();
    shop.run();
    let heard = |host: &str| -> Vec<String> {
        let requests = shop.receiver.requests();
        let of_host = requests.iter().filter(|request| request.url.contains(host));
        let kind = |body: &[u8]| serde_json::from_slice::<serde_json::Value>(body).unwrap()["type"].to_string();
        of_host.map(|request| kind(&request.body)).collect()
    };
    assert_eq!(
        shop.kinds(&own),
        ["created", "updated", "disabled", "enabled", "deleted"].map(|what| format!("endpoint.{what}"))
    );
    let told = ["updated", "disabled", "enabled", "deleted"].map(|what| format!("\"endpoint.{what}\""));
    assert_eq!(heard("other.example"), told);
    assert!(!heard("own.example").iter().any(|kind| told.contains(kind)));
    shop.clean();
}

#[test]
fn a_deleted_endpoint_takes_its_secrets_along_and_leaves_its_url_to_another() {
    let disk = Disk::new();
    let shop = disk.shop();
    let endpoints = shop.app.endpoints();
    let keyed = NewEndpoint::new("https://shop.example/a", Format::Standard)
        .ed25519()
        .idempotency_key("k");
    let first = endpoints.add(keyed.clone()).unwrap().endpoint.id;
    endpoints.rotate(&first, None).unwrap();
    let secrets = || sql(&disk.raw(), "SELECT count(*) FROM tillite_endpoint_secret");
    assert_eq!(secrets(), ["4"]);
    endpoints.delete(&first).unwrap();
    assert_eq!(secrets(), ["0"]);
    assert!(endpoints.list(10, None).unwrap().data.is_empty());
    assert_eq!(state(&shop, &first), EndpointState::Deleted, "it can be read on");
    let second = endpoints
        .add(NewEndpoint::new("https://shop.example/a", Format::XPay))
        .unwrap();
    assert_ne!(second.endpoint.id, first);

    let before = shop.engine.dump().unwrap();
    let gone: Vec<Error> = vec![
        endpoints.disable(&first).unwrap_err(),
        endpoints.enable(&first).unwrap_err(),
        endpoints.ping(&first).unwrap_err(),
        endpoints.rotate(&first, None).unwrap_err(),
        endpoints.public_key(&first).unwrap_err(),
        endpoints.update(&first, EndpointUpdate::new()).unwrap_err(),
        endpoints.add(keyed).unwrap_err(),
    ];
    for error in gone {
        assert!(
            matches!(
                &error,
                Error::Deleted {
                    what: "webhook endpoint",
                    ..
                }
            ),
            "{error}"
        );
        assert_eq!(error.what_now(), WhatNow::FixInput);
    }
    let other = EndpointId::parse(&format!("we_test_{}", "0".repeat(30))).unwrap();
    let live = EndpointId::parse(&format!("we_live_{}", "0".repeat(30))).unwrap();
    for (id, code) in [(other, "not_found"), (live, "wrong_mode")] {
        let errors = [
            endpoints.get(&id).unwrap_err(),
            endpoints.delete(&id).unwrap_err(),
            endpoints.disable(&id).unwrap_err(),
            endpoints.enable(&id).unwrap_err(),
            endpoints.update(&id, EndpointUpdate::new()).unwrap_err(),
        ];
        assert!(errors.iter().all(|error| error.code() == code), "{errors:?}");
    }
    assert_eq!(shop.engine.dump().unwrap(), before);
    shop.clean();
}

#[test]
fn a_hundred_endpoints_may_stand_beside_any_number_that_were_deleted() {
    let shop = Shop::open();
    for at in 0..10 {
        let gone = endpoint(&shop, &format!("gone_{at}")).id;
        shop.app.endpoints().delete(&gone).unwrap();
    }
    for at in 0..100 {
        endpoint(&shop, &at.to_string());
    }
    let more = NewEndpoint::new("https://shop.example/more", Format::XPay);
    assert_eq!(shop.app.endpoints().add(more).unwrap_err().field(), Some("endpoints"));
}

#[test]
fn what_waits_for_a_deleted_endpoint_is_canceled_and_never_sent() {
    let shop = Shop::open();
    let (gone, kept) = (endpoint(&shop, "gone").id, endpoint(&shop, "kept").id);
    for uid in ["u_1", "u_2", "u_3"] {
        happen(&shop, uid);
    }
    shop.app.endpoints().delete(&gone).unwrap();
    assert!(shop.engine.wait_due_for(Work::RETENTION, Duration::ZERO).unwrap());
    assert_eq!(shop.run().delivered, 3);
    let sent: BTreeSet<String> = shop
        .receiver
        .requests()
        .into_iter()
        .map(|request| request.url)
        .collect();
    assert_eq!(sent, BTreeSet::from(["https://shop.example/kept".to_owned()]));
    assert!(!shop.engine.wait_due_for(Work::RETENTION, Duration::ZERO).unwrap());
    for delivery in deliveries(&shop) {
        let expected = if delivery.endpoint == kept {
            DeliveryState::Delivered
        } else {
            DeliveryState::Canceled
        };
        assert_eq!((delivery.state, delivery.due_at), (expected, None));
    }
    shop.clean();
}

#[test]
fn an_acceptance_counts_until_its_delivery_is_canceled_and_is_written_down_after() {
    for canceled_first in [false, true] {
        let disk = Disk::new();
        let shop = disk.shop();
        let id = endpoint(&shop, "a").id;
        happen(&shop, "u_1");
        let claimed = shop.engine.claim_deliveries(1).unwrap().remove(0);
        shop.app.endpoints().delete(&id).unwrap();
        if canceled_first {
            assert_eq!(clear(&shop.engine).canceled, 1);
        }
        assert_eq!(shop.engine.acknowledge(&claimed, &accepted()).unwrap(), !canceled_first);
        let expected = if canceled_first {
            DeliveryState::Canceled
        } else {
            DeliveryState::Delivered
        };
        clear(&shop.engine);
        assert_eq!(states(&shop), [expected]);
        assert_eq!(
            sql(&disk.raw(), "SELECT outcome FROM tillite_delivery_attempt"),
            ["delivered"]
        );
        shop.clean();
    }
    // A failure leaves it to be canceled like the rest.
    let shop = Shop::open();
    let id = endpoint(&shop, "a").id;
    happen(&shop, "u_1");
    let claimed = shop.engine.claim_deliveries(1).unwrap().remove(0);
    shop.app.endpoints().delete(&id).unwrap();
    assert!(shop.engine.acknowledge(&claimed, &refused()).unwrap());
    assert_eq!(states(&shop), [DeliveryState::Pending]);
    clear(&shop.engine);
    assert_eq!(states(&shop), [DeliveryState::Canceled]);
    shop.clean();
}

/// Lines of the second text that are not in the first.
fn changed(before: &str, after: &str) -> usize {
    let before: BTreeSet<&str> = before.lines().collect();
    after.lines().filter(|line| !before.contains(line)).count()
}

#[test]
fn switching_and_deleting_change_the_same_three_rows_whatever_waits() {
    type Act = fn(&Shop, &EndpointId);
    let acts: [Act; 3] = [
        |shop, id| drop(shop.app.endpoints().disable(id).unwrap()),
        |shop, id| drop(shop.app.endpoints().enable(id).unwrap()),
        |shop, id| drop(shop.app.endpoints().delete(id).unwrap()),
    ];
    let rows = |backlog: usize| -> Vec<usize> {
        let shop = Shop::open();
        let id = endpoint(&shop, "a").id;
        for at in 0..backlog {
            happen(&shop, &format!("u_{at}"));
        }
        let count = |act: &Act| {
            let before = shop.engine.dump().unwrap();
            act(&shop, &id);
            changed(&before, &shop.engine.dump().unwrap())
        };
        acts.iter().map(count).collect()
    };
    let few = rows(0);
    // The head, the endpoint and the event.
    assert_eq!(few, [3, 3, 3]);
    assert_eq!(rows(250), few);
}

#[test]
fn a_run_cancels_no_more_than_it_was_told_and_the_next_goes_on() {
    let shop = Shop::open();
    for path in ["a", "b"] {
        let id = endpoint(&shop, path).id;
        for at in 0..130 {
            happen(&shop, &format!("{path}_{at}"));
        }
        shop.app.endpoints().delete(&id).unwrap();
    }
    let mut runs = Vec::new();
    while shop.engine.wait_due_for(Work::RETENTION, Duration::ZERO).unwrap() {
        let ran = shop.engine.run_due(Budget::items(99).work(Work::RETENTION)).unwrap();
        runs.push(ran.canceled);
        shop.clean();
        assert!(runs.len() < 10, "{runs:?}");
    }
    assert_eq!(runs.iter().sum::<usize>(), 260);
    assert!(runs.iter().all(|canceled| *canceled <= 99), "{runs:?}");
    assert_eq!(shop.run().delivered, 0);
}

#[test]
fn an_endpoint_is_moved_nowhere_where_none_could_be_added() {
    let shop = Shop::open();
    let endpoints = shop.app.endpoints();
    let added = NewEndpoint::new("https://shop.example/a", Format::XPay);
    let id = endpoints.add(added).unwrap().endpoint.id;
    let before = shop.engine.dump().unwrap();
    let long = format!("https://shop.example/{}", "x".repeat(2_048));
    for url in [
        "",
        "shop.example",
        "ftp://shop.example/",
        "https://",
        "https://shop.example/a b",
        "https://ada:hush@shop.example/",
        "https://shop.example:0/",
        "https://shop.example/4242424242424242",
        &long,
        "http://169.254.169.254/latest/meta-data",
        "http://[fd00:ec2::254]/",
        "http://[fe80::1]/",
        "http://0.0.0.0/",
        "http://[::]/",
        "http://224.0.0.1/",
        "http://[::ffff:169.254.169.254]/",
    ] {
        let new = NewEndpoint::new(url, Format::Standard);
        let error = endpoints.add(new).unwrap_err();
        assert_eq!(error.field(), Some("url"), "{url}: {error}");
        let moved = endpoints.update(&id, EndpointUpdate::new().url(url)).unwrap_err();
        assert_eq!(moved.to_string(), error.to_string());
    }
    assert_eq!(shop.engine.dump().unwrap(), before);
}

#[test]
fn an_update_is_checked_as_an_addition_is_and_keeps_what_it_does_not_name() {
    let shop = Shop::open();
    let endpoints = shop.app.endpoints();
    let added = endpoints
        .add(NewEndpoint::new("https://shop.example/a", Format::XPay))
        .unwrap();
    let id = added.endpoint.id.clone();
    let other = endpoints
        .add(NewEndpoint::new("https://shop.example/b", Format::XPay))
        .unwrap()
        .endpoint
        .id;
    let before = shop.engine.dump().unwrap();
    let nothing: &[&str] = &[];
    for (update, field) in [
        (EndpointUpdate::new().url("shop.example"), "url"),
        (EndpointUpdate::new().url("https://SHOP.example:443/b#part"), "url"),
        (EndpointUpdate::new().events(nothing), "events"),
        (EndpointUpdate::new().events(["charge.succeeded", "*"]), "events"),
        (EndpointUpdate::new().events(["entitlement.granted"]), "events"),
        (
            EndpointUpdate::new().url("https://shop.example/c").events([""]),
            "events",
        ),
    ] {
        let error = endpoints.update(&id, update).unwrap_err();
        assert_eq!(error.field(), Some(field), "{error}");
        assert!(!error.to_string().contains("/b") || error.to_string().contains(other.as_str()));
    }
    // What is so already is no change, however it is written.
    for update in [
        EndpointUpdate::new(),
        EndpointUpdate::new().url("https://shop.example/a").events([" * "]),
    ] {
        assert_eq!(endpoints.update(&id, update).unwrap(), added.endpoint);
    }
    assert_eq!(shop.engine.dump().unwrap(), before);

    // The same place in other words is its own, and no other's.
    let own = EndpointUpdate::new().url("https://SHOP.example/a");
    assert_eq!(endpoints.update(&id, own).unwrap().url, "https://SHOP.example/a");
    let names = ["charge.succeeded", " charge.failed", "charge.failed"];
    let update = EndpointUpdate::new().events(names);
    let updated = endpoints.update(&id, update).unwrap();
    assert_eq!(updated.events, ["charge.failed", "charge.succeeded"]);
    assert_eq!(updated.url, "https://SHOP.example/a");
    shop.run();
    drop(shop.receiver.take_requests());

    sell(&shop, "u_1").unwrap();
    endpoints
        .update(&id, EndpointUpdate::new().url("https://shop.example/new"))
        .unwrap();
    shop.run();
    let requests = shop.receiver.requests();
    let moved: Vec<_> = requests
        .iter()
        .filter(|request| request.url.ends_with("/new"))
        .collect();
    assert_eq!(
        moved.len(),
        1,
        "what waited goes to the new place, and only what is wanted"
    );
    assert!(crate::kit::verified(
        Format::XPay,
        &added.secret,
        moved[0],
        moved[0].signed_at
    ));
    shop.clean();
}

#[test]
fn how_fast_an_endpoint_is_sent_to_can_be_changed_and_is_checked_as_it_is_where_it_is_added() {
    const MINUTE: Duration = Duration::from_secs(60);
    type Ask<T> = fn(T, u32, Duration) -> T;
    let shop = Shop::open();
    let endpoints = shop.app.endpoints();
    let before = endpoint(&shop, "a");
    let asked: [(Ask<NewEndpoint>, Ask<EndpointUpdate>); 3] = [
        (
            |new, count, _| new.max_in_flight(count),
            |update, count, _| update.max_in_flight(count),
        ),
        (NewEndpoint::at_most, EndpointUpdate::at_most),
        (
            |new, _, long| new.suspend_after(long),
            |update, _, long| update.suspend_after(long),
        ),
    ];
    for (at, (add, update)) in asked.into_iter().enumerate() {
        for (count, long) in [
            (0, Duration::ZERO),
            (65, Duration::MAX),
            (0, MINUTE),
            (1, Duration::MAX),
        ] {
            let url = format!("https://shop.example/{at}/{count}/{}", long.as_secs());
            let added = endpoints.add(add(NewEndpoint::new(url, Format::Standard), count, long));
            let updated = endpoints.update(&before.id, update(EndpointUpdate::new(), count, long));
            match (added, updated) {
                (Err(added), Err(updated)) => assert_eq!(added.to_string(), updated.to_string()),
                (Ok(added), Ok(_)) => drop(endpoints.delete(&added.endpoint.id).unwrap()),
                other => panic!("{at}: {count} in {long:?}: {other:?}"),
            }
        }
    }

    let id = endpoint(&shop, "b").id;
    let limits = |update: EndpointUpdate| {
        let updated = endpoints.update(&id, update).unwrap();
        assert_eq!(endpoints.get(&id).unwrap(), updated);
        (updated.max_in_flight, updated.min_gap, updated.suspend_after)
    };
    let (update, second) = (EndpointUpdate::new, Duration::from_secs(1));
    assert_eq!(limits(update().max_in_flight(64)), (64, Duration::ZERO, None));
    assert_eq!(limits(update().at_most(60, MINUTE)), (64, second, None));
    assert_eq!(limits(update().suspend_after(MINUTE)), (64, second, Some(MINUTE)));
    assert_eq!(
        limits(update().url("https://shop.example/c")),
        (64, second, Some(MINUTE))
    );
    let written = shop.engine.dump().unwrap();
    assert_eq!(limits(update().at_most(1, second)), (64, second, Some(MINUTE)));
    assert_eq!(shop.engine.dump().unwrap(), written, "it is so already");
    assert_eq!(limits(update().as_they_come()), (64, Duration::ZERO, Some(MINUTE)));
    assert_eq!(limits(update().never_suspend()), (64, Duration::ZERO, None));
    shop.clean();
}

#[test]
fn what_waits_for_an_endpoint_leaves_at_the_pace_that_it_was_changed_to() {
    let shop = Shop::open();
    let endpoints = shop.app.endpoints();
    let id = endpoint(&shop, "a").id;
    for at in 0..9 {
        happen(&shop, &format!("u_{at}"));
    }
    let change = |update: EndpointUpdate| drop(endpoints.update(&id, update).unwrap());
    let claimed = || shop.engine.claim_deliveries(100).unwrap().len();
    change(EndpointUpdate::new().max_in_flight(1));
    assert_eq!((claimed(), claimed()), (1, 0));
    change(EndpointUpdate::new().max_in_flight(3));
    assert_eq!((claimed(), claimed()), (2, 0));
    change(
        EndpointUpdate::new()
            .max_in_flight(64)
            .at_most(1, Duration::from_secs(3_600)),
    );
    assert_eq!((claimed(), claimed()), (1, 0));
    change(EndpointUpdate::new().at_most(1, Duration::from_secs(1)));
    shop.clock.turn(Duration::from_secs(1));
    assert_eq!((claimed(), claimed()), (1, 0));
    change(EndpointUpdate::new().as_they_come());
    assert_eq!((claimed(), claimed()), (4, 0));
    shop.clean();
}

#[test]
fn for_how_long_an_endpoint_failed_before_counts_once_it_may_be_suspended() {
    let shop = Shop::open();
    let id = endpoint(&shop, "a").id;
    let change = |update: EndpointUpdate| drop(shop.app.endpoints().update(&id, update).unwrap());
    let give_up = |uid: &str| {
        happen(&shop, uid);
        for _ in 0..5 {
            shop.clock.turn(Duration::from_secs(3 * 3_600));
            shop.receiver.answer(refused());
            shop.run();
        }
    };
    give_up("u_1");
    assert_eq!(state(&shop, &id), EndpointState::Enabled);
    change(EndpointUpdate::new().suspend_after(Duration::from_secs(3_600)));
    change(EndpointUpdate::new().never_suspend());
    give_up("u_2");
    assert_eq!(state(&shop, &id), EndpointState::Enabled);
    change(EndpointUpdate::new().suspend_after(Duration::from_secs(24 * 3_600)));
    happen(&shop, "u_3");
    shop.receiver.answer(refused());
    shop.run();
    assert_eq!(state(&shop, &id), EndpointState::Suspended);
}

#[test]
fn a_suspended_endpoint_is_switched_on_like_one_that_is_off() {
    let disk = Disk::new();
    let shop = disk.shop();
    let id = endpoint(&shop, "a").id;
    happen(&shop, "u_1");
    shop.app.endpoints().disable(&id).unwrap();
    // As whoever suspends it writes it.
    sql(&disk.raw(), "UPDATE tillite_endpoint SET state = 'suspended'");
    sql(
        &disk.raw(),
        "INSERT INTO tillite_endpoint_flow (app, mode, endpoint, failing_since, failures) VALUES (1, 0, 1, 5, 7)",
    );
    assert_eq!(state(&shop, &id), EndpointState::Suspended);
    assert_eq!(shop.run().delivered, 0);
    assert_eq!(shop.app.endpoints().enable(&id).unwrap().state, EndpointState::Enabled);
    let flow = sql(&disk.raw(), "SELECT count(*) FROM tillite_endpoint_flow");
    assert_eq!(flow, ["0"], "that it failed before is not held against it");
    assert_eq!(shop.run().delivered, 1);
}

#[test]
fn endpoints_of_another_world_are_left_alone() {
    let shop = Shop::open();
    let live = shop.engine.app("lixblogs", Mode::Live).unwrap();
    let new = NewEndpoint::new("https://shop.example/a", Format::Standard);
    let other = live.endpoints().add(new).unwrap().endpoint.id;
    let id = endpoint(&shop, "a").id;
    live.customers().create(NewCustomer::uid("u_1")).unwrap();
    happen(&shop, "u_1");
    shop.app.endpoints().delete(&id).unwrap();
    clear(&shop.engine);
    assert_eq!(live.endpoints().get(&other).unwrap().state, EndpointState::Enabled);
    assert_eq!(shop.run().delivered, 1);
    shop.clean();
}
