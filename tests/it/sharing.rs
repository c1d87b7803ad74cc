//! One sender for many endpoints, apps and modes: what is wrong with one of them is nobody else's trouble.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tillite::webhook::{DeliveryFilter, DeliveryState, Format, NewEndpoint};
use tillite::{
    Alarm, Answered, App, Budget, Clock as _, Engine, Event, HostTx, Mode, NewCustomer, Ran, SignedRequest,
    Transport as _, TransportOutcome, Work,
};

use crate::file::{Disk, sql};
use crate::kit::{ManualClock, Receiver, Shop, Till, builder, clean, locked};

const MINUTE: Duration = Duration::from_secs(60);

/// How long an endpoint that never answers keeps its sender waiting.
const TIMEOUT: Duration = Duration::from_secs(30);

fn add(app: &App, host: &str) {
    let new = NewEndpoint::new(format!("https://{host}/hook"), Format::Standard);
    app.endpoints().add(new.events(["customer.created"])).unwrap();
}

fn happen(app: &App, times: usize) {
    for time in 0..times {
        app.customers().set(NewCustomer::uid(format!("u_{time}"))).unwrap();
    }
}

fn run(engine: &Engine, items: usize) -> Ran {
    engine.run_due(Budget::items(items).work(Work::DELIVERIES)).unwrap()
}

/// The states of an app's deliveries, those of its first hundred.
fn states(app: &App) -> Vec<DeliveryState> {
    let page = app.deliveries().list(&DeliveryFilter::all(), 100, None).unwrap();
    page.data.iter().map(|delivery| delivery.state).collect()
}

/// A shop whose endpoints at `dead.example` never answer, and the others at once.
fn with_dead_ones() -> Shop {
    let (clock, till, receiver) = (ManualClock::new(), Till::new(), Receiver::new());
    let (waits, taking) = (clock.clone(), receiver.clone());
    let engine = builder(&clock, &till, &receiver)
        .transport(move |request: &SignedRequest| {
            if !request.url.contains("dead") {
                return taking.send(request);
            }
            waits.turn(TIMEOUT);
            TransportOutcome::Failed {
                why: "a timeout".to_owned(),
            }
        })
        .open_in_memory()
        .unwrap();
    Shop::with(engine, Mode::Test, clock, till, receiver)
}

#[test]
fn a_backlog_in_one_mode_does_not_keep_the_other_waiting() {
    for busy in [Mode::Test, Mode::Live] {
        let disk = Disk::new();
        let (one, other) = (
            disk.shop_in(busy),
            disk.shop_in(match busy {
                Mode::Test => Mode::Live,
                Mode::Live => Mode::Test,
            }),
        );
        let (piled, waiting) = (&one.app, &other.app);
        add(piled, "shop.example");
        add(waiting, "shop.example");
        happen(piled, 100);
        happen(waiting, 1);
        // A dozen rounds of four each would not come to the end of the pile.
        for _ in 0..12 {
            run(&one.engine, 4);
        }
        assert_eq!(states(waiting), [DeliveryState::Delivered], "{busy:?}");
        assert!(states(piled).contains(&DeliveryState::Pending));
        clean(&one.engine);
    }
}

#[test]
fn an_endpoint_that_never_answers_leaves_its_sender_most_of_its_time() {
    let shop = with_dead_ones();
    add(&shop.app, "dead.example");
    happen(&shop.app, 60);
    add(&shop.app, "shop.example");
    run(&shop.engine, 1_000);
    let start = shop.clock.now();
    let (mut rounds, mut accepted) = (0, 0);
    while shop.clock.now().since(start) < 30 * MINUTE {
        shop.app
            .customers()
            .set(NewCustomer::uid(format!("n_{rounds}")))
            .unwrap();
        // Something happens each second, and at the end of the second it is sent.
        shop.clock.turn(Duration::from_secs(1));
        accepted += run(&shop.engine, 1_000).delivered;
        rounds += 1;
    }
    assert!(accepted + 1 >= rounds, "{accepted} of {rounds}");
    // Half an hour has room for sixty attempts of thirty seconds.
    assert!(rounds > 30 * 60 * 3 / 4, "{rounds} rounds of a second");
    shop.clean();
}

#[test]
fn who_fails_is_served_after_the_others_and_is_served() {
    let shop = with_dead_ones();
    for dead in 0..5 {
        add(&shop.app, &format!("dead.example:{}", 8_000 + dead));
    }
    happen(&shop.app, 3);
    // Each has failed once by now.
    while run(&shop.engine, 1_000).undelivered > 0 {}
    add(&shop.app, "shop.example");
    let known = shop.app.customers().list(100, None).unwrap().data.len();
    shop.clock.turn(Duration::from_secs(3_600));
    for time in 0..40 {
        shop.app.customers().set(NewCustomer::uid(format!("n_{time}"))).unwrap();
    }
    assert_eq!(known, 3);
    let mut failed = 0;
    for _ in 0..20 {
        let ran = run(&shop.engine, 4);
        failed += ran.undelivered;
        assert!(
            ran.delivered >= 3 || ran.undelivered == 0,
            "the healthy one has its share first: {ran:?}"
        );
        if shop.receiver.requests().len() == 40 {
            break;
        }
    }
    assert_eq!(shop.receiver.requests().len(), 40);
    assert!(failed > 0, "those that fail are tried all the same");
    shop.clean();
}

#[test]
fn who_fails_in_one_mode_is_sent_to_after_the_others_of_the_other_mode() {
    let shop = with_dead_ones();
    let live = shop.engine.app("lixblogs", Mode::Live).unwrap();
    add(&shop.app, "dead.example");
    add(&live, "shop.example");
    for round in 0..20 {
        shop.app
            .customers()
            .set(NewCustomer::uid(format!("n_{round}")))
            .unwrap();
        run(&shop.engine, 1);
        shop.clock.turn(Duration::from_secs(600));
        live.customers().set(NewCustomer::uid(format!("n_{round}"))).unwrap();
        let before = shop.clock.now();
        let ran = run(&shop.engine, 4);
        assert!(ran.delivered == 1, "round {round}: {ran:?}");
        // It did not wait until the other one had kept the sender for its time.
        assert_eq!(shop.receiver.take_requests()[0].signed_at, before);
    }
}

#[test]
fn who_was_kept_waiting_by_a_receiver_lets_other_work_have_its_turn() {
    let (clock, till, receiver) = (ManualClock::new(), Till::new(), Receiver::new());
    let taken = Arc::new(AtomicUsize::new(0));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (waits, at_the_time, takes, sees) = (clock.clone(), Arc::clone(&taken), Arc::clone(&taken), Arc::clone(&seen));
    let engine = builder(&clock, &till, &receiver)
        .transport(move |_: &SignedRequest| {
            waits.turn(TIMEOUT);
            locked(&sees).push(at_the_time.load(Ordering::SeqCst));
            TransportOutcome::Answered(Answered::status(204))
        })
        .consumer("counts", move |_: &mut HostTx<'_>, _: &Event| {
            takes.fetch_add(1, Ordering::SeqCst);
            Ok(())
        })
        .open_in_memory()
        .unwrap();
    let shop = Shop::with(engine, Mode::Test, clock, till, receiver);
    for slow in 0..3 {
        add(&shop.app, &format!("slow.example:{}", 8_000 + slow));
    }
    happen(&shop.app, 3);
    let both = Work::DELIVERIES | Work::CONSUMERS;
    shop.engine.run_due(Budget::items(1_000).work(both)).unwrap();
    let seen = locked(&seen);
    assert_eq!(seen.len(), 9);
    assert!(seen[0] == 0 && seen[1..].iter().all(|taken| *taken > 0), "{seen:?}");
}

#[test]
fn what_was_claimed_in_one_app_is_not_lost_because_another_one_is_damaged() {
    let disk = Disk::new();
    let shop = disk.shop();
    let damaged = shop.engine.app("damaged", Mode::Test).unwrap();
    for app in [&shop.app, &damaged] {
        add(app, "shop.example");
        happen(app, 1);
    }
    sql(
        &disk.raw(),
        "UPDATE tillite_endpoint SET id = 'damaged' WHERE app = (SELECT app FROM tillite_app WHERE slug = 'damaged')",
    );
    let (mut claimed, mut failed) = (0, 0);
    for _ in 0..20 {
        match shop.engine.claim_deliveries(10) {
            Ok(deliveries) => claimed += deliveries.len(),
            Err(_) => failed += 1,
        }
    }
    assert_eq!(claimed, 1, "whoever is first");
    assert!(failed > 0, "and that it is damaged is told");
}

#[test]
fn an_event_that_has_lost_its_body_ends_its_delivery_and_none_other() {
    let (disk, told) = (Disk::new(), Arc::new(Mutex::new(Vec::new())));
    let heard = Arc::clone(&told);
    let engine = disk
        .builder()
        .on_alarm(move |alarm: &Alarm| locked(&heard).push(alarm.clone()))
        .open(disk.path())
        .unwrap();
    let app = engine.app("lixblogs", Mode::Test).unwrap();
    let new = NewEndpoint::new("https://shop.example/hook", Format::Elixpo);
    app.endpoints().add(new.events(["*"])).unwrap();
    let grant = |uid: &str| {
        let grant = tillite::NewGrant::tier(uid, "member").days(30);
        app.entitlements().grant(grant).unwrap();
    };
    app.catalog()
        .set(tillite::NewProduct::new("member", "Membership").rank(1))
        .unwrap();
    for uid in ["u_1", "u_2", "u_3"] {
        grant(uid);
    }
    let before = states(&app).len();
    assert!(before >= 3);
    sql(
        &disk.raw(),
        "DELETE FROM tillite_event_body WHERE seq = (SELECT min(event) FROM tillite_delivery)",
    );
    let ran = run(&engine, 100);
    assert_eq!((ran.delivered, ran.undelivered), (before - 1, 0));
    let exhausted = DeliveryFilter::all().state(DeliveryState::Exhausted);
    let ended = app.deliveries().list(&exhausted, 10, None).unwrap().data;
    assert_eq!(ended.len(), 1);
    let attempts = app.deliveries().attempts(&ended[0].id).unwrap();
    assert!(attempts[0].detail.as_deref().unwrap().contains("no body"));
    let alarms = locked(&told);
    assert!(
        alarms
            .iter()
            .any(|alarm| matches!(alarm, Alarm::DeliveryExhausted { .. }))
    );
}

#[test]
fn how_an_endpoint_does_is_not_written_down_once_it_is_gone() {
    let disk = Disk::new();
    let shop = disk.shop();
    add(&shop.app, "shop.example");
    happen(&shop.app, 1);
    let claimed = shop.engine.claim_deliveries(1).unwrap().remove(0);
    shop.app.endpoints().delete(&claimed.endpoint).unwrap();
    let refused = TransportOutcome::Answered(Answered::status(500));
    shop.engine.acknowledge(&claimed, &refused).unwrap();
    let mut rows = 0;
    let raw = disk.raw();
    let mut statement = raw.prepare("SELECT count(*) FROM tillite_endpoint_flow").unwrap();
    let mut found = statement.query([]).unwrap();
    if let Some(row) = found.next().unwrap() {
        rows = row.get::<_, i64>(0).unwrap();
    }
    assert_eq!(rows, 0);
}
