//! What is forgotten, when, and what never is: keys after their time, attempts of deliveries that are
//! done; not a key whose charge has no outcome, not a word of what processors said.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use tillite::webhook::{Format, NewEndpoint};
use tillite::{
    Answered, Budget, ChargeState, Clock as _, Currency, DeliveryFilter, Engine, Error, Expect, Lookup, Mode,
    NewCustomer, NewGrant, NewPayment, NewReplay, NewSession, Outcome, Ran, Secret, SessionId, Timestamp,
    TransportOutcome, Work,
};

use crate::file::{Disk, sell, sql};
use crate::kit::{Shop, clean, verified};

const MS: Duration = Duration::from_millis(1);
const DAY: Duration = Duration::from_secs(86_400);

fn member(key: &str) -> NewSession {
    NewSession::tier("member", Currency::EUR)
        .customer("u_1")
        .idempotency_key(key)
}

fn create(shop: &Shop, key: &str) -> SessionId {
    shop.app.sessions().create(member(key)).unwrap().id
}

/// Forgets what there is to forget, and does nothing else.
fn forget(engine: &Engine) -> usize {
    let ran = engine.run_due(Budget::items(100_000).work(Work::RETENTION)).unwrap();
    assert_eq!(ran.total(), ran.forgotten);
    ran.forgotten
}

/// Lets days go by, with a look at what there is to forget on each of them.
fn forget_for(shop: &Shop, days: u32) -> usize {
    let a_day = |_| {
        shop.clock.turn(DAY);
        forget(&shop.engine)
    };
    (0..days).map(a_day).sum()
}

fn count(disk: &Disk, table: &str) -> usize {
    let [count] = <[String; 1]>::try_from(sql(&disk.raw(), &format!("SELECT count(*) FROM {table}"))).unwrap();
    count.parse().unwrap()
}

/// Attempts of deliveries, in the order of their deliveries.
fn attempts(disk: &Disk) -> Vec<String> {
    let query =
        "SELECT mode || ' ' || delivery || ' ' || number FROM tillite_delivery_attempt ORDER BY mode, delivery, number";
    sql(&disk.raw(), query)
}

fn refused() -> TransportOutcome {
    TransportOutcome::Answered(Answered::status(500))
}

#[test]
fn a_key_is_kept_to_the_millisecond_and_is_as_good_as_new_after_it_was_forgotten() {
    for (keep, given) in [(DAY * 7, None), (DAY, Some(DAY)), (DAY * 366, Some(DAY * 366))] {
        let disk = Disk::new();
        let mut builder = disk.builder();
        if let Some(given) = given {
            builder = builder.keep_idempotency_keys(given);
        }
        let engine = builder.open(disk.path()).unwrap();
        let (clock, till, receiver) = (disk.clock.clone(), disk.till.clone(), disk.receiver.clone());
        let shop = Shop::with(engine, Mode::Test, clock, till, receiver);
        disk.clock.turn(MS * 12_345);
        let first = create(&shop, "k");
        shop.clock.turn(keep.saturating_sub(MS));
        assert_eq!(forget(&shop.engine), 0);
        assert_eq!(create(&shop, "k"), first);
        shop.engine.run_due(Budget::items(100).work(Work::TIME)).unwrap();
        assert_eq!(shop.engine.next_due().unwrap(), Some(shop.clock.now().plus(MS)));

        // Its time is over. It is known all the same until somebody has looked.
        shop.clock.turn(MS);
        assert!(shop.engine.wait_due_for(Work::RETENTION, Duration::ZERO).unwrap());
        assert_eq!(create(&shop, "k"), first);
        assert_eq!(forget(&shop.engine), 1);
        assert!(!shop.engine.wait_due_for(Work::RETENTION, Duration::ZERO).unwrap());
        // Whatever comes with it is a new request, another one too.
        let other = member("k").email("a@example.com");
        let second = shop.app.sessions().create(other).unwrap();
        assert_ne!(second.id, first);
        let conflict = shop.app.sessions().create(member("k")).unwrap_err();
        assert!(matches!(conflict, Error::IdempotencyConflict { .. }), "{conflict}");
        shop.clean();
    }
}

#[test]
fn each_engine_keeps_what_it_has_promised_on_a_file_that_others_use_too() {
    let disk = Disk::new();
    let short = disk.builder().keep_idempotency_keys(DAY).open(disk.path()).unwrap();
    let long = disk
        .builder()
        .keep_idempotency_keys(DAY * 30)
        .open(disk.path())
        .unwrap();
    let grant = |engine: &Engine, key: &str| {
        let app = engine.app("lixblogs", Mode::Test).unwrap();
        let grant = NewGrant::tier("u_1", "member").idempotency_key(key);
        app.entitlements().grant(grant).unwrap();
    };
    disk.shop();
    grant(&short, "short");
    grant(&long, "long");
    let keys = || sql(&disk.raw(), "SELECT key FROM tillite_idempotency ORDER BY key");
    for (days, engine, left) in [(1, &long, &["long"][..]), (28, &short, &["long"]), (1, &short, &[])] {
        disk.clock.turn(DAY * days);
        forget(engine);
        assert_eq!(keys(), left);
    }
    clean(&short);
}

#[test]
fn keys_cannot_be_kept_for_less_than_a_day_or_longer_than_a_leap_year() {
    let open = |keep: Duration| Engine::builder().keep_idempotency_keys(keep).open_in_memory();
    for keep in [DAY, DAY * 7, DAY * 366] {
        open(keep).unwrap();
    }
    for keep in [Duration::ZERO, DAY.saturating_sub(MS), DAY * 366 + MS, Duration::MAX] {
        let error = open(keep).unwrap_err();
        assert_eq!(error.field(), Some("keep_idempotency_keys"), "{keep:?}");
        assert!(error.to_string().contains("a day to 366 days"), "{error}");
    }
}

#[test]
fn a_key_is_not_forgotten_while_the_session_that_it_made_can_be_paid() {
    let shop = Shop::open();
    let order = |key: &str| {
        let new = NewSession::tier("member", Currency::EUR).customer("u_1");
        let new = new.expires_after(DAY * 20).idempotency_key(key);
        shop.app.sessions().create(new).unwrap()
    };
    let (open, paid) = (order("open"), order("paid"));
    shop.pay(&paid).unwrap();
    shop.clock.turn(DAY * 19);
    assert_eq!(forget(&shop.engine), 1, "the paid one's");
    assert_eq!(order("open").id, open.id, "the same session, and not a second to pay");
    shop.clock.turn(DAY * 2);
    assert_eq!(shop.run().forgotten, 1);
    assert_ne!(order("open").id, open.id);
}

#[test]
fn a_key_is_not_forgotten_while_its_charge_has_no_outcome() {
    let shop = Shop::open();
    let sessions = shop.app.sessions();
    let pay = |session: &tillite::Session, key: &str| {
        let payment = NewPayment::with("tok_1").idempotency_key(key);
        sessions.pay(&session.id, payment)
    };
    let in_progress = |session: &tillite::Session, key: &str| {
        let refused = pay(session, key).unwrap_err();
        assert!(matches!(refused, Error::PaymentInProgress { .. }), "{refused}");
    };
    let (unknown, pending, paid) = (shop.session("u_1"), shop.session("u_2"), shop.session("u_3"));
    shop.till.answer(Outcome::Unknown { why: String::new() });
    pay(&unknown, "unknown").unwrap();
    let reference = "till_1".to_owned();
    shop.till.answer(Outcome::Pending { reference });
    pay(&pending, "pending").unwrap();
    pay(&paid, "paid").unwrap();
    // For a month nobody can tell.
    for day in 0..30 {
        shop.clock.turn(DAY);
        assert_eq!(forget(&shop.engine), usize::from(day == 6), "the paid one, in time");
        in_progress(&unknown, "unknown");
        in_progress(&pending, "pending");
        // There is no haste about them either.
        assert!(!shop.engine.wait_due_for(Work::RETENTION, Duration::ZERO).unwrap());
    }
    for _ in 0..2 {
        let failed = Outcome::Declined {
            code: "insufficient_funds".to_owned(),
            message: String::new(),
            advice: None,
        };
        shop.till.answer_lookup(Lookup::Found(failed));
    }
    shop.run();
    // They are answered for a while yet, and then they are done with.
    for session in [&unknown, &pending] {
        let key = if session.id == unknown.id { "unknown" } else { "pending" };
        assert_eq!(pay(session, key).unwrap().charge.unwrap().state, ChargeState::Failed);
    }
    shop.clock.turn(DAY);
    assert_eq!(forget(&shop.engine), 2);
    let left = shop.engine.dump().unwrap();
    assert!(!left.contains("tillite_idempotency "), "{left}");
    shop.clean();
}

#[test]
fn old_attempts_of_deliveries_that_are_done_go_and_the_file_stays_clean() {
    let disk = Disk::new();
    let shop = disk.shop();
    shop.endpoint(Format::XPay);
    sell(&shop, "u_1").unwrap();
    shop.receiver.answer(refused());
    shop.run();
    shop.clock.turn(DAY);
    shop.run();
    let done = attempts(&disk);
    assert!(done.len() > 3);
    // One of the next sale is refused and then nobody sends any more.
    sell(&shop, "u_2").unwrap();
    shop.receiver.answer(refused());
    let one = Budget::items(1).work(Work::DELIVERIES);
    shop.engine.run_due(one).unwrap();
    let waiting: Vec<String> = attempts(&disk).into_iter().filter(|row| !done.contains(row)).collect();
    assert_eq!(waiting.len(), 1);
    let said = |disk: &Disk| (count(disk, "tillite_attempt"), count(disk, "tillite_evidence"));
    let ledger = said(&disk);

    // The first tries are fourteen days old, the second is a day younger.
    shop.clock.turn((DAY * 13).saturating_sub(MS));
    forget(&shop.engine);
    assert_eq!(attempts(&disk).len(), done.len() + 1);
    shop.clock.turn(MS);
    forget(&shop.engine);
    assert!(attempts(&disk).len() > 1);
    shop.clean();
    // A round is made once a day, so that no waiter is woken for what has to stay.
    assert!(!shop.engine.wait_due_for(Work::RETENTION, Duration::ZERO).unwrap());
    shop.clock.turn(DAY);
    forget(&shop.engine);
    assert_eq!(attempts(&disk), waiting, "what is not delivered keeps its own");
    for _ in 0..12 {
        assert!(!shop.engine.wait_due_for(Work::RETENTION, Duration::ZERO).unwrap());
        shop.clock.turn(DAY);
        assert_eq!(forget(&shop.engine), 0);
        shop.clean();
    }
    assert_eq!(attempts(&disk), waiting);

    // Once it is delivered its old attempt goes, and then the new ones.
    while shop.run().total() > 0 {}
    shop.clock.turn(DAY);
    forget(&shop.engine);
    assert!(!attempts(&disk).contains(&waiting[0]));
    assert!(!attempts(&disk).is_empty());
    shop.clean();
    forget_for(&shop, 15);
    assert_eq!(attempts(&disk), [""; 0]);
    forget_for(&shop, 30);
    assert_eq!(count(&disk, "tillite_delivery"), 0);
    while shop.run().total() > 0 {}
    assert_eq!(shop.engine.next_due().unwrap(), None);
    assert_eq!(said(&disk), ledger);
    shop.clean();
}

#[test]
fn what_is_missing_is_told_from_what_was_forgotten() {
    let disk = Disk::new();
    let shop = disk.shop();
    shop.endpoint(Format::XPay);
    sell(&shop, "u_1").unwrap();
    shop.run();
    assert!(forget_for(&shop, 15) > 2);
    sell(&shop, "u_2").unwrap();
    shop.run();
    shop.clean();
    let [newest] =
        <[String; 1]>::try_from(sql(&disk.raw(), "SELECT max(delivery) FROM tillite_delivery_attempt")).unwrap();
    sql(
        &disk.raw(),
        &format!("DELETE FROM tillite_delivery_attempt WHERE delivery = '{newest}'"),
    );
    let failed = shop.engine.verify(&Expect::nothing()).unwrap().failed;
    assert_eq!(failed.len(), 1);
    assert_eq!(
        (failed[0].invariant, &failed[0].ids),
        ("delivered_has_its_acceptance", &vec![newest])
    );
}

#[test]
fn a_run_forgets_no_more_than_it_was_told_and_the_next_goes_on_where_it_stopped() {
    let disk = Disk::new();
    let (shop, other) = (disk.shop(), disk.shop_in(Mode::Live));
    for shop in [&shop, &other] {
        shop.endpoint(Format::XPay);
        for sale in 0..5 {
            sell(shop, &format!("u_{sale}")).unwrap();
        }
        // These are never delivered, and lie before what can be forgotten.
        for _ in 0..4 {
            shop.receiver.answer(refused());
        }
    }
    shop.engine.run_due(Budget::items(8).work(Work::DELIVERIES)).unwrap();
    shop.clock.turn(DAY);
    sql(
        &disk.raw(),
        "UPDATE tillite_delivery SET due_at = due_at + 90000000 WHERE attempts = 1",
    );
    shop.run();
    let all = attempts(&disk).len();
    let kept = 8;
    shop.clock.turn(DAY * 13);
    assert_eq!(forget(&shop.engine), 0, "the first look at all");
    for sale in 0..130 {
        create(&shop, &format!("k_{sale}"));
    }
    shop.clock.turn(DAY * 8);
    let mut runs = Vec::new();
    loop {
        let ran: Ran = shop.engine.run_due(Budget::items(7).work(Work::RETENTION)).unwrap();
        runs.push(ran.forgotten);
        shop.clean();
        if !shop.engine.wait_due_for(Work::RETENTION, Duration::ZERO).unwrap() {
            break;
        }
        assert!(runs.len() < 100, "{runs:?}");
    }
    assert_eq!(runs.iter().sum::<usize>(), 130 + all - kept);
    assert!(runs.iter().all(|forgotten| *forgotten <= 7 + 4), "{runs:?}");
    assert_eq!(attempts(&disk).len(), kept);
    assert_eq!(count(&disk, "tillite_idempotency"), 0);
}

#[test]
fn two_engines_that_forget_at_once_forget_everything_once() {
    let disk = Disk::new();
    let (one, two) = (disk.shop(), disk.shop());
    one.endpoint(Format::Standard);
    for sale in 0..40 {
        sell(&one, &format!("u_{sale}")).unwrap();
    }
    while one.run().total() > 0 {}
    one.clock.turn(DAY * 14);
    forget(&one.engine);
    for sale in 0..40 {
        create(&one, &format!("k_{sale}"));
    }
    let all = attempts(&disk).len() + count(&disk, "tillite_idempotency");
    one.clock.turn(DAY * 7);
    let forgotten: usize = std::thread::scope(|scope| {
        let threads = [&one.engine, &two.engine, &one.engine, &two.engine];
        let threads = threads.map(|engine| scope.spawn(|| forget(engine)));
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(forgotten, all);
    assert_eq!(attempts(&disk), [""; 0]);
    clean(&two.engine);
}

/// Has one delivery made and accepted each day, with a look at what there is to forget.
fn busy(shop: &Shop, days: u32) {
    let new = NewEndpoint::new("https://shop.example/busy", Format::Standard).events(["customer.created"]);
    shop.app.endpoints().add(new).unwrap();
    for day in 0..days {
        let new = NewCustomer::uid(format!("busy_{day}"));
        shop.app.customers().create(new).unwrap();
        shop.run();
        shop.clock.turn(DAY);
    }
    shop.run();
}

/// How many days old the oldest delivery is, and the oldest attempt of one.
fn oldest(disk: &Disk, shop: &Shop) -> (u64, u64) {
    let mut all = Vec::new();
    let mut before = None;
    loop {
        let page = shop
            .app
            .deliveries()
            .list(&DeliveryFilter::all(), 100, before.as_ref())
            .unwrap();
        before = page.data.last().map(|delivery| delivery.id.clone());
        all.extend(page.data);
        if !page.has_more {
            break;
        }
    }
    let days = |at: Timestamp| shop.clock.now().since(at).as_secs() / 86_400;
    let event = shop.app.event(&all.last().unwrap().event).unwrap();
    let [attempt] =
        <[String; 1]>::try_from(sql(&disk.raw(), "SELECT min(started_at) FROM tillite_delivery_attempt")).unwrap();
    let attempt = Timestamp::from_millis(attempt.parse().unwrap()).unwrap();
    (days(event.created_at), days(attempt))
}

#[test]
fn a_look_at_a_clock_that_is_ahead_forgets_what_is_a_week_too_young_at_the_most() {
    let disk = Disk::new();
    let shop = disk.shop();
    busy(&shop, 45);
    assert_eq!(oldest(&disk, &shop), (30, 14));
    let endpoint = shop.app.endpoints().list(1, None).unwrap().data.remove(0).id;
    shop.app.endpoints().disable(&endpoint).unwrap();
    shop.app.customers().create(NewCustomer::uid("unsent")).unwrap();
    shop.app.endpoints().enable(&endpoint).unwrap();
    let other = disk.shop();
    for ahead in [365, 3_650, 30] {
        shop.clock.turn(DAY * ahead);
        std::thread::scope(|scope| {
            for engine in [&shop.engine, &other.engine, &shop.engine, &other.engine] {
                scope.spawn(|| forget(engine));
            }
        });
        shop.clock.turn_back(DAY * ahead);
        assert_eq!(oldest(&disk, &shop), (23, 7), "however often");
        forget(&shop.engine);
        shop.clean();
    }
    // What was never sent is still told from what was forgotten, and what is missing from both.
    let range = shop.app.deliveries().replay_range(NewReplay::to(&endpoint)).unwrap();
    shop.engine.run_due(Budget::items(1_000).work(Work::REPLAYS)).unwrap();
    assert_eq!(shop.app.deliveries().replay_status(&range.id).unwrap().made, 1);
    let lost = "DELETE FROM tillite_delivery_attempt WHERE delivery = (SELECT delivery FROM tillite_delivery_attempt \
                ORDER BY delivery LIMIT 1 OFFSET 1)";
    sql(&disk.raw(), lost);
    let failed = shop.engine.verify(&Expect::nothing()).unwrap().failed;
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].invariant, "delivered_has_its_acceptance");
}

#[test]
fn after_a_clock_that_was_ahead_for_long_what_was_never_sent_is_not_taken_for_forgotten() {
    let shop = Shop::open();
    busy(&shop, 3);
    let endpoint = shop.app.endpoints().list(1, None).unwrap().data.remove(0).id;
    shop.app.customers().create(NewCustomer::uid("waits")).unwrap();
    shop.app.endpoints().disable(&endpoint).unwrap();
    shop.app.customers().create(NewCustomer::uid("unsent")).unwrap();
    assert_eq!(forget_for(&shop, 100), 6, "three deliveries and their attempts");
    shop.clock.turn_back(DAY * 100);
    shop.app.endpoints().enable(&endpoint).unwrap();
    let range = shop.app.deliveries().replay_range(NewReplay::to(&endpoint)).unwrap();
    shop.engine.run_due(Budget::items(1_000).work(Work::REPLAYS)).unwrap();
    assert_eq!(shop.app.deliveries().replay_status(&range.id).unwrap().made, 1);
    shop.clean();
}

#[test]
fn who_did_not_look_for_long_catches_up() {
    let disk = Disk::new();
    let shop = disk.shop();
    busy(&shop, 20);
    shop.clock.turn(DAY * 100);
    shop.app.customers().create(NewCustomer::uid("after")).unwrap();
    shop.run();
    assert_eq!(oldest(&disk, &shop), (120, 107));
    forget_for(&shop, 14);
    assert_eq!(oldest(&disk, &shop), (14, 14));
    shop.clean();
}

#[test]
fn a_clock_that_was_ahead_does_not_put_the_next_round_off() {
    let shop = Shop::open();
    shop.endpoint(Format::XPay);
    sell(&shop, "u_1").unwrap();
    shop.run();
    shop.clock.turn(DAY * 10_000);
    assert_eq!(forget(&shop.engine), 0, "it was never looked before");
    shop.clock.turn_back(DAY * 10_000);
    sell(&shop, "u_2").unwrap();
    shop.run();
    let due = shop.engine.next_due().unwrap().unwrap();
    assert!(due <= shop.clock.now().plus(DAY * 14), "{due}");
    assert!(forget_for(&shop, 16) > 0);
    shop.clean();
}

#[test]
fn a_secret_that_was_replaced_by_a_clock_that_was_ahead_stops_signing_once_the_clock_is_right() {
    let shop = Shop::open();
    let endpoints = shop.app.endpoints();
    let old = endpoints
        .add(NewEndpoint::new("https://shop.example/hook", Format::XPaySubscriptions))
        .unwrap();
    let signs = |secret: &Secret| {
        endpoints.ping(&old.endpoint.id).unwrap();
        shop.run();
        let request = shop.receiver.take_requests().pop().unwrap();
        verified(Format::XPaySubscriptions, secret, &request, shop.clock.now())
    };
    let rotate = || endpoints.rotate(&old.endpoint.id, None).unwrap().secret;
    // Set back by less than a day it only lasts longer.
    let second = rotate();
    shop.clock.turn_back(DAY.saturating_sub(MS));
    assert!(signs(&old.secret));
    shop.clock.turn(DAY * 2);
    assert!(signs(&second));
    shop.clock.turn(DAY * 365);
    let third = rotate();
    assert!(signs(&second));
    shop.clock.turn_back(DAY * 365);
    assert!(signs(&third));
    // And does not sign again when that day comes.
    shop.clock.turn(DAY * 365);
    assert!(signs(&third));
}

/// What a host does in a shop over time.
#[derive(Clone, Debug)]
enum Act {
    Create(u8),
    Wait(u32),
    Forget(usize),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        3 => (0u8..4).prop_map(Act::Create),
        2 => (1u32..200).prop_map(Act::Wait),
        2 => (1usize..4).prop_map(Act::Forget),
    ];
    prop::collection::vec(act, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_key_answers_the_same_for_as_long_as_it_is_promised(acts in acts()) {
        let shop = Shop::open();
        let mut first: BTreeMap<u8, (SessionId, Timestamp)> = BTreeMap::new();
        for act in acts {
            match act {
                Act::Create(key) => {
                    let id = create(&shop, &format!("k_{key}"));
                    let now = shop.clock.now();
                    match first.get(&key) {
                        Some((known, since)) if now.since(*since) < DAY * 7 => prop_assert_eq!(known, &id),
                        // Forgotten or not yet: it is the first answer, or a new one that counts from now on.
                        Some((known, _)) if *known == id => {}
                        _ => drop(first.insert(key, (id, now))),
                    }
                }
                Act::Wait(hours) => shop.clock.turn(Duration::from_secs(3_600) * hours),
                Act::Forget(items) => {
                    shop.engine.run_due(Budget::items(items).work(Work::RETENTION)).unwrap();
                }
            }
        }
        shop.clean();
    }
}
