//! Deliveries: what arrives, how often it is tried, and who believes whom about it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

use tillite::webhook::{DeliveryState, Format, NewEndpoint};
use tillite::{
    Answered, Budget, ClaimedDelivery, Clock as _, Currency, Delivery, DeliveryFilter, Engine, Mode, NewSession,
    Secret, SignedRequest, Transport as _, TransportOutcome, Work,
};

use crate::file::{Disk, sell};
use crate::kit::{ManualClock, Receiver, SEAL_KEY, Shop, Till, builder, header, locked, verified};

const LEASE: Duration = Duration::from_secs(90);

fn status(status: u16) -> TransportOutcome {
    TransportOutcome::Answered(Answered::status(status))
}

fn failed() -> TransportOutcome {
    TransportOutcome::Failed {
        why: "the connection broke".to_owned(),
    }
}

/// An endpoint that hears of completed sessions only, so that a sale is one delivery.
fn endpoint(shop: &Shop, host: &str, format: Format) -> Secret {
    let new = NewEndpoint::new(format!("https://{host}/hook"), format).events(["checkout.session.completed"]);
    shop.app.endpoints().add(new).unwrap().secret
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

fn deliver(shop: &Shop) -> (usize, usize) {
    let ran = shop
        .engine
        .run_due(Budget::items(1_000).work(Work::DELIVERIES))
        .unwrap();
    (ran.delivered, ran.undelivered)
}

#[test]
fn every_attempt_is_signed_anew_over_the_same_bytes_under_the_same_id() {
    let shop = Shop::open();
    let formats = [Format::XPay, Format::Standard];
    let secrets = formats.map(|format| endpoint(&shop, &format!("{}.example", format.as_str()), format));
    for _ in 0..8 {
        shop.receiver.answer(status(500));
    }
    sell(&shop, "u_1").unwrap();
    for gap in [0, 60, 300, 1_800, 7_200] {
        shop.clock.turn(Duration::from_secs(gap + gap / 10));
        deliver(&shop);
    }
    let received = shop.receiver.requests();
    assert_eq!(received.len(), 10);
    for (format, secret) in formats.into_iter().zip(&secrets) {
        let requests: Vec<&SignedRequest> = received
            .iter()
            .filter(|request| request.url.contains(format.as_str()))
            .collect();
        let distinct = |of: fn(&SignedRequest) -> String| -> BTreeSet<String> {
            requests.iter().map(|request| of(request)).collect()
        };
        assert_eq!(requests.len(), 5);
        assert_eq!(
            distinct(|request| header(request, "webhook-id").unwrap().to_owned()).len(),
            1
        );
        assert_eq!(
            distinct(|request| String::from_utf8(request.body.clone()).unwrap()).len(),
            1
        );
        assert_eq!(
            distinct(|request| header(request, "webhook-timestamp").unwrap().to_owned()).len(),
            5
        );
        for request in &requests {
            assert_eq!(request.timeout, Duration::from_secs(30));
            assert_eq!(header(request, "content-type"), Some("application/json"));
            assert!(header(request, "user-agent").unwrap().starts_with("Tillite/"));
            let seconds = request.signed_at.as_secs().to_string();
            assert_eq!(header(request, "webhook-timestamp"), Some(seconds.as_str()));
            let xpay = header(request, "xpay-signature");
            assert_eq!(xpay.is_some(), format == Format::XPay);
            if let Some(xpay) = xpay {
                let (t, v1) = xpay.split_once(',').unwrap();
                assert_eq!(t, format!("t={seconds}"));
                assert!(v1.strip_prefix("v1=").is_some_and(|hex| hex.len() == 64));
                assert!(verified(Format::XPay, secret, request, request.signed_at));
            }
            // The standard headers go with every format.
            assert!(verified(Format::Standard, secret, request, request.signed_at));
            let others = secrets.iter().filter(|other| other.expose() != secret.expose());
            for other in others {
                assert!(!verified(format, other, request, request.signed_at));
            }
            let late = request.signed_at.plus(Duration::from_secs(301));
            assert!(!verified(format, secret, request, late));
            let mut changed = (*request).clone();
            changed.body[0] ^= 1;
            assert!(!verified(format, secret, &changed, request.signed_at));
        }
        let body: serde_json::Value = serde_json::from_slice(&requests[0].body).unwrap();
        assert_eq!(body["type"], "checkout.session.completed");
        match format {
            Format::XPay => {
                assert_eq!(body["id"], header(requests[0], "webhook-id").unwrap());
                assert_eq!(body["livemode"], false);
                assert_eq!(body["data"]["object"]["status"], "complete");
            }
            _ => assert_eq!(body["data"]["status"], "complete"),
        }
    }
    shop.clean();
}

#[test]
fn a_failure_is_tried_again_after_its_gap_from_the_end_of_the_attempt_and_then_kept() {
    // Sending takes seven seconds, so that start and end of an attempt can be told apart.
    let (clock, till, receiver) = (ManualClock::new(), Till::new(), Receiver::new());
    let (turning, taking) = (clock.clone(), receiver.clone());
    let engine = builder(&clock, &till, &receiver)
        .transport(move |request: &SignedRequest| {
            turning.turn(Duration::from_secs(7));
            taking.answer(failed());
            taking.send(request)
        })
        .open_in_memory()
        .unwrap();
    let shop = Shop::with(engine, Mode::Test, clock, till, receiver);
    endpoint(&shop, "dead.example", Format::XPay);
    sell(&shop, "u_1").unwrap();
    let millisecond = Duration::from_millis(1);
    for (made, gap) in [(1, 60), (2, 300), (3, 1_800), (4, 7_200)] {
        assert_eq!(deliver(&shop), (0, 1), "attempt {made}");
        let delivery = only(&shop);
        let gap = Duration::from_secs(gap);
        assert_eq!((delivery.state, delivery.attempts), (DeliveryState::Pending, made));
        // Never sooner, and up to a tenth later.
        let wait = delivery.due_at.unwrap().since(shop.clock.now());
        assert!((gap..=gap + gap / 10).contains(&wait), "attempt {made}: {wait:?}");
        assert_eq!(shop.engine.next_due().unwrap(), delivery.due_at);
        shop.clock.turn(wait.checked_sub(millisecond).unwrap());
        assert_eq!(deliver(&shop), (0, 0), "too early");
        shop.clock.turn(millisecond);
    }
    assert_eq!(deliver(&shop), (0, 1));
    let exhausted = only(&shop);
    assert_eq!((exhausted.state, exhausted.attempts), (DeliveryState::Exhausted, 5));
    assert!(
        shop.engine.next_due().unwrap() > Some(shop.clock.now()),
        "nothing of it"
    );
    shop.clock.turn(Duration::from_secs(10 * 365 * 86_400));
    assert_eq!(deliver(&shop), (0, 0));
    assert_eq!(only(&shop), exhausted, "it is kept");
    assert_eq!(shop.receiver.requests().len(), 5);
    shop.clean();
}

#[test]
fn any_2xx_is_final_and_everything_else_is_a_failure() {
    fn check(outcome: TransportOutcome, accepted: bool) {
        let shop = Shop::open();
        endpoint(&shop, "shop.example", Format::Standard);
        sell(&shop, "u_1").unwrap();
        let answered = match &outcome {
            TransportOutcome::Answered(answer) => Some(answer.status),
            _ => None,
        };
        shop.receiver.answer(outcome);
        let expected = if accepted {
            ((1, 0), DeliveryState::Delivered)
        } else {
            ((0, 1), DeliveryState::Pending)
        };
        assert_eq!((deliver(&shop), only(&shop).state), expected, "{answered:?}");
        assert_eq!(only(&shop).last_status, answered);
        shop.clock.turn(Duration::from_secs(86_400));
        deliver(&shop);
        let sent = shop.receiver.requests().len();
        assert_eq!(sent, if accepted { 1 } else { 2 }, "{answered:?}");
        assert_eq!(only(&shop).state, DeliveryState::Delivered);
        shop.clean();
    }
    for code in [200, 201, 202, 204, 299] {
        check(status(code), true);
    }
    for code in [
        0, 100, 199, 300, 301, 302, 304, 307, 400, 401, 404, 410, 429, 500, 503, 599, 65_535,
    ] {
        check(status(code), false);
    }
    check(failed(), false);
    check(
        TransportOutcome::Answered(Answered::status(500).body(vec![0xff; 1_000_000])),
        false,
    );
}

#[test]
fn a_transport_that_panics_costs_a_delivery_five_minutes_and_no_attempt() {
    let (clock, till) = (ManualClock::new(), Till::new());
    let engine = builder(&clock, &till, &Receiver::new())
        .transport(|_: &SignedRequest| -> TransportOutcome { panic!("told to panic") })
        .open_in_memory()
        .unwrap();
    let shop = Shop::with(engine, Mode::Test, clock, till, Receiver::new());
    endpoint(&shop, "shop.example", Format::XPay);
    sell(&shop, "u_1").unwrap();
    let five_minutes = Duration::from_secs(300);
    // More often than there are attempts.
    for _ in 0..7 {
        assert_eq!(deliver(&shop), (0, 1));
        let delivery = only(&shop);
        assert_eq!((delivery.state, delivery.attempts), (DeliveryState::Pending, 0));
        assert_eq!(delivery.due_at, Some(shop.clock.now().plus(five_minutes)));
        shop.clock.turn(five_minutes);
    }
    assert_eq!(shop.engine.health().unwrap().failing_endpoints, 0, "it was never asked");
    let numbers = shop.engine.numbers();
    assert_eq!((numbers.claimed, numbers.given_back, numbers.failed), (7, 7, 0));
    sell(&shop, "u_2").unwrap();
    shop.clean();
}

/// Claims everything that is due.
fn claim(shop: &Shop) -> Vec<ClaimedDelivery> {
    shop.engine.claim_deliveries(100).unwrap()
}

fn one_claim(shop: &Shop) -> ClaimedDelivery {
    let [claimed] = <[ClaimedDelivery; 1]>::try_from(claim(shop)).unwrap();
    claimed
}

#[test]
fn a_late_failure_is_not_believed_and_a_late_acceptance_is() {
    use DeliveryState::{Delivered, InFlight, Pending};
    /// Who reports what, whether it counts, and what the delivery is then. The first claimer's
    /// lease has ended, and a second one holds the delivery.
    type Report = (usize, u16, bool, DeliveryState);
    fn check(name: &str, reports: &[Report]) {
        let shop = Shop::open();
        endpoint(&shop, "shop.example", Format::XPay);
        sell(&shop, "u_1").unwrap();
        let first = one_claim(&shop);
        assert_eq!(first.lease_until, shop.clock.now().plus(LEASE));
        shop.clock.turn(LEASE.checked_sub(Duration::from_millis(1)).unwrap());
        assert!(claim(&shop).is_empty(), "{name}: the lease holds");
        shop.clock.turn(Duration::from_millis(1));
        let second = one_claim(&shop);
        assert_eq!((first.attempt, second.attempt), (1, 2));
        assert_eq!(first.id, second.id);
        assert_eq!(first.request.body, second.request.body);
        let claims = [first, second];
        for (at, (who, code, counts, state)) in reports.iter().enumerate() {
            let counted = shop.engine.acknowledge(&claims[*who], &status(*code)).unwrap();
            assert_eq!((counted, only(&shop).state), (*counts, *state), "{name}, report {at}");
        }
        shop.clean();
    }
    check(
        "a late failure leaves the second claim alone",
        &[
            (0, 500, false, InFlight),
            (1, 204, true, Delivered),
            (0, 500, false, Delivered),
        ],
    );
    check(
        "a late acceptance ends it",
        &[(0, 204, true, Delivered), (1, 500, false, Delivered)],
    );
    check(
        "a second failure cannot be undone by a first",
        &[
            (1, 500, true, Pending),
            (0, 500, false, Pending),
            (1, 500, false, Pending),
        ],
    );
    check(
        "an acceptance after the other's failure",
        &[(1, 500, true, Pending), (0, 204, true, Delivered)],
    );
    check(
        "an acceptance after one's own failure",
        &[(1, 500, true, Pending), (1, 204, true, Delivered)],
    );
    check(
        "two acceptances",
        &[(0, 204, true, Delivered), (1, 204, false, Delivered)],
    );
}

#[test]
fn a_claim_counts_before_anything_is_sent_and_five_that_are_never_heard_of_are_all() {
    let shop = Shop::open();
    endpoint(&shop, "shop.example", Format::Standard);
    sell(&shop, "u_1").unwrap();
    let mut last = None;
    for attempt in 1..=5 {
        let claimed = one_claim(&shop);
        assert_eq!(claimed.attempt, attempt);
        let delivery = only(&shop);
        assert_eq!((delivery.state, delivery.attempts), (DeliveryState::InFlight, attempt));
        shop.clock.turn(LEASE);
        last = Some(claimed);
    }
    assert!(claim(&shop).is_empty());
    let delivery = only(&shop);
    assert_eq!((delivery.state, delivery.attempts), (DeliveryState::Exhausted, 5));
    assert_eq!(delivery.last_status, None);
    assert!(
        shop.engine.next_due().unwrap() > Some(shop.clock.now()),
        "nothing of it"
    );
    shop.clean();
    // The endpoint did get it after all.
    assert!(shop.engine.acknowledge(&last.unwrap(), &status(200)).unwrap());
    assert_eq!(only(&shop).state, DeliveryState::Delivered);
    shop.clean();
}

#[test]
fn a_claim_that_could_run_out_is_given_back_uncounted() {
    // Each delivery takes 40 seconds of the 90 that a claim of four holds.
    let (clock, till, receiver) = (ManualClock::new(), Till::new(), Receiver::new());
    let (turning, taking) = (clock.clone(), receiver.clone());
    let engine = builder(&clock, &till, &receiver)
        .transport(move |request: &SignedRequest| {
            turning.turn(Duration::from_secs(40));
            taking.send(request)
        })
        .open_in_memory()
        .unwrap();
    let shop = Shop::with(engine, Mode::Test, clock, till, receiver);
    endpoint(&shop, "slow.example", Format::XPay);
    for uid in ["u_1", "u_2", "u_3", "u_4", "u_5", "u_6"] {
        sell(&shop, uid).unwrap();
    }
    assert_eq!(deliver(&shop), (6, 0));
    for delivery in deliveries(&shop) {
        assert_eq!((delivery.state, delivery.attempts), (DeliveryState::Delivered, 1));
    }
    let received = shop.receiver.requests();
    let ids: BTreeSet<&str> = received
        .iter()
        .map(|request| header(request, "webhook-id").unwrap())
        .collect();
    assert_eq!((received.len(), ids.len()), (6, 6));
    // Nothing was sent with a timestamp from before another's forty seconds.
    let starts: BTreeSet<_> = received.iter().map(|request| request.signed_at).collect();
    assert!(starts.len() >= 2);
    shop.clean();
}

#[test]
fn an_endpoint_that_does_not_answer_holds_up_no_other() {
    let shop = Shop::open();
    endpoint(&shop, "dead.example", Format::XPay);
    endpoint(&shop, "well.example", Format::XPay);
    for sale in 0..9 {
        sell(&shop, &format!("u_{sale}")).unwrap();
    }
    let mut held: BTreeMap<String, usize> = BTreeMap::new();
    let mut accepted = 0;
    let mut rounds = 0;
    loop {
        let claimed = claim(&shop);
        if claimed.is_empty() {
            break;
        }
        rounds += 1;
        for delivery in claimed {
            if delivery.request.url.contains("well") {
                assert!(shop.engine.acknowledge(&delivery, &status(204)).unwrap());
                accepted += 1;
            } else {
                *held.entry(delivery.request.url.clone()).or_default() += 1;
            }
        }
    }
    assert_eq!(accepted, 9);
    assert_eq!(held, BTreeMap::from([("https://dead.example/hook".to_owned(), 4)]));
    assert_eq!(rounds, 3, "four, four and one");
    // Through the hook the same: the dead one fails, the other one gets everything.
    let shop = Shop::open();
    endpoint(&shop, "dead.example", Format::XPay);
    endpoint(&shop, "well.example", Format::XPay);
    for sale in 0..9 {
        sell(&shop, &format!("u_{sale}")).unwrap();
    }
    // Whichever comes first, every second sending fails; what failed waits for its minute, and
    // nothing else waits with it.
    for _ in 0..9 {
        shop.receiver.answer(failed());
    }
    assert_eq!(deliver(&shop), (9, 9));
    shop.clean();
}

#[test]
fn first_tries_of_an_endpoint_leave_in_the_order_of_their_events() {
    let shop = Shop::open();
    shop.endpoint(Format::Standard);
    for uid in ["u_1", "u_2", "u_3"] {
        sell(&shop, uid).unwrap();
        shop.clock.turn(Duration::from_secs(1));
    }
    deliver(&shop);
    let events = shop.app.events(100, 0).unwrap().data;
    let position = |id: &str| events.iter().find(|event| event.id.as_str() == id).unwrap().position;
    let received = shop.receiver.requests();
    let order: Vec<i64> = received
        .iter()
        .map(|request| position(header(request, "webhook-id").unwrap()))
        .collect();
    assert!(order.len() > 12);
    assert!(order.windows(2).all(|pair| pair[0] < pair[1]), "{order:?}");
}

#[test]
fn no_two_claimers_get_the_same_delivery() {
    const CLAIMERS: usize = 4;
    const SALES: usize = 12;
    let disk = Disk::new();
    let shop = disk.shop();
    for host in ["a.example", "b.example", "c.example"] {
        endpoint(&shop, host, Format::Standard);
    }
    for sale in 0..SALES {
        sell(&shop, &format!("u_{sale}")).unwrap();
    }
    let got: Arc<Mutex<Vec<String>>> = Arc::default();
    let start = Arc::new(Barrier::new(CLAIMERS));
    let threads: Vec<_> = (0..CLAIMERS)
        .map(|_| {
            // Each has a connection of its own, as another process would.
            let (engine, got, start) = (disk.open(), Arc::clone(&got), Arc::clone(&start));
            std::thread::spawn(move || {
                start.wait();
                loop {
                    let claimed = engine.claim_deliveries(3).unwrap();
                    if claimed.is_empty() {
                        break;
                    }
                    for delivery in claimed {
                        assert_eq!(delivery.attempt, 1);
                        locked(&got).push(delivery.id.to_string());
                        assert!(engine.acknowledge(&delivery, &status(204)).unwrap());
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    // One may have left while another still held the last ones of an endpoint.
    deliver(&shop);
    let got = locked(&got);
    let distinct: BTreeSet<&String> = got.iter().collect();
    assert_eq!(distinct.len(), got.len());
    let sent = shop.receiver.requests().len();
    assert_eq!(got.len() + sent, 3 * SALES);
    assert!(
        deliveries(&shop)
            .iter()
            .all(|delivery| delivery.state == DeliveryState::Delivered)
    );
    shop.clean();
}

#[test]
fn a_delivery_survives_the_process_that_claimed_it() {
    let disk = Disk::new();
    let shop = disk.shop();
    let secret = endpoint(&shop, "shop.example", Format::XPay);
    sell(&shop, "u_1").unwrap();
    let lost = one_claim(&shop);
    drop(shop);
    let shop = disk.shop();
    assert_eq!(deliver(&shop), (0, 0));
    disk.clock.turn(LEASE);
    assert_eq!(deliver(&shop), (1, 0));
    let received = shop.receiver.requests();
    let [request] = received.as_slice() else {
        panic!("sent once");
    };
    assert_eq!(request.body, lost.request.body);
    assert_eq!(header(request, "webhook-id"), header(&lost.request, "webhook-id"));
    assert!(verified(Format::XPay, &secret, request, disk.clock.now()));
}

#[test]
fn what_happens_in_one_world_is_told_to_nobody_in_another() {
    let shop = Shop::open();
    let live = shop.engine.app("lixblogs", Mode::Live).unwrap();
    let other = shop.engine.app("another", Mode::Test).unwrap();
    for (app, name) in [(&shop.app, "test"), (&live, "live"), (&other, "other")] {
        let url = format!("https://{name}.example/hook");
        app.endpoints().add(NewEndpoint::new(url, Format::XPay)).unwrap();
    }
    deliver(&shop);
    drop(shop.receiver.take_requests());
    sell(&shop, "u_1").unwrap();
    live.sessions().create(NewSession::empty().customer("u_live")).unwrap();
    deliver(&shop);
    let received = shop.receiver.requests();
    let to = |host: &str| received.iter().filter(|request| request.url.contains(host)).count();
    assert_eq!((to("test."), to("live."), to("other.")), (3, 1, 0));
    let livemode = |host: &str| {
        let request = received.iter().find(|request| request.url.contains(host));
        let body: serde_json::Value = serde_json::from_slice(&request.unwrap().body).unwrap();
        body["livemode"].as_bool()
    };
    assert_eq!((livemode("test."), livemode("live.")), (Some(false), Some(true)));
}

#[test]
fn a_waiter_is_not_told_of_deliveries_that_nobody_can_make() {
    let (clock, till, receiver) = (ManualClock::new(), Till::new(), Receiver::new());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.db");
    let engine = builder(&clock, &till, &receiver).open(&path).unwrap();
    let shop = Shop::with(engine, Mode::Test, clock.clone(), till.clone(), receiver.clone());
    shop.endpoint(Format::XPay);
    let session = NewSession::tier("member", Currency::EUR).customer("u_1");
    let session = shop.app.sessions().create(session).unwrap();
    shop.app.sessions().pay(&session.id, "tok").unwrap();
    let due = |engine: &Engine, work| engine.wait_due_for(work, Duration::ZERO).unwrap();
    assert!(due(&shop.engine, Work::DELIVERIES));
    assert!(!due(&shop.engine, Work::PAYMENTS | Work::TIME));
    // With another key nobody here can sign them; without a transport only a host that asks for
    // deliveries is told.
    let keyless = builder(&clock, &till, &receiver).seal_key([9; 32]).open(&path).unwrap();
    assert!(!due(&keyless, Work::ALL));
    let sends_itself = Engine::builder()
        .clock(clock.clone())
        .seal_key(SEAL_KEY)
        .open(&path)
        .unwrap();
    assert!(!sends_itself.wait_due(Duration::ZERO).unwrap());
    assert!(due(&sends_itself, Work::DELIVERIES));
    // Four are on their way to the endpoint; what else is due for it waits for them.
    let held = shop.engine.claim_deliveries(4).unwrap();
    let session = NewSession::tier("member", Currency::EUR).customer("u_2");
    let session = shop.app.sessions().create(session).unwrap();
    shop.app.sessions().pay(&session.id, "tok").unwrap();
    let held = held.len() + shop.engine.claim_deliveries(4).unwrap().len();
    assert_eq!(held, 4);
    assert!(!due(&shop.engine, Work::DELIVERIES));
}

#[test]
fn a_damaged_attempt_does_not_keep_deliveries_from_being_made() {
    let (clock, till, receiver) = (ManualClock::new(), Till::new(), Receiver::new());
    let disk = Disk::new();
    let engine = builder(&clock, &till, &receiver).open(disk.path()).unwrap();
    let shop = Shop::with(engine, Mode::Test, clock, till, receiver);
    endpoint(&shop, "shop.example", Format::XPay);
    sell(&shop, "u_1").unwrap();
    shop.till.answer(tillite::Outcome::Unknown {
        why: "the line is dead".to_owned(),
    });
    let session = NewSession::tier("member", Currency::EUR).customer("u_2");
    let session = shop.app.sessions().create(session).unwrap();
    assert!(!shop.app.sessions().pay(&session.id, "tok").unwrap().is_complete());
    let damage = "UPDATE tillite_attempt SET request = x'00' WHERE next = 'lookup'";
    assert_eq!(disk.raw().execute(damage, []).unwrap(), 1);
    shop.engine.run_due(Budget::items(100)).unwrap_err();
    assert_eq!(shop.receiver.requests().len(), 1);
}
