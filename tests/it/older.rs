//! A file of an older version is brought up to date when it is opened, and the sale goes on in it.
//!
//! `tests/files` keeps one file per version of the schema, made by the program of that version. Before
//! a migration is added, the file of the version that it starts from is made, once:
//!
//! ```sh
//! TILLITE_KEEP=1 cargo test --test it older::a_file_of_this_version_is_kept -- --exact
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tillite::webhook::{Format, NewEndpoint};
use tillite::{
    Answered, App, Begun, Budget, ChargeState, Currency, Delivery, DeliveryFilter, Engine, ExpiredReason, Metadata,
    Mode, NewCustomer, NewGrant, NewPayment, NewPrice, NewSession, Outcome, Secret, Session, SessionState,
    TransportOutcome, Work,
};

use crate::file::{Disk, sql};
use crate::kit::{Shop, clean, declined, euro, verified};

const MODES: [Mode; 2] = [Mode::Test, Mode::Live];
const HOUR: Duration = Duration::from_secs(3_600);

/// The customer in whose metadata a kept file carries the secrets that were shown once. They stand
/// there without their prefixes, by which scanners would take them for somebody's.
const KEEPER: &str = "keeper";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files")
}

/// The newest version of the schema: there is a migration per version.
fn current() -> usize {
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema");
    let names = fs::read_dir(schema)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names
        .filter(|name| name.starts_with(|first: char| first.is_ascii_digit()))
        .count()
}

/// A session for a membership, with its part in the story.
fn part(name: &str) -> NewSession {
    NewSession::tier("member", Currency::EUR)
        .customer(format!("u_{name}"))
        .metadata(Metadata::new([("part", name)]).unwrap())
}

fn paid() -> NewSession {
    part("paid").idempotency_key("order-1").expires_after(HOUR * 48)
}

fn payment(key: &str) -> NewPayment {
    NewPayment::with("tok_1").idempotency_key(key)
}

fn grant() -> NewGrant {
    NewGrant::tier("u_granted", "member").days(30).idempotency_key("gift-1")
}

fn refused() -> TransportOutcome {
    TransportOutcome::Answered(Answered::status(500))
}

/// The first half of the story, in one world: what is over by the end of it.
fn live_through(shop: &Shop) {
    let (app, sessions) = (&shop.app, shop.app.sessions());
    let mode = app.mode().as_str();
    app.catalog().set_price(NewPrice::new("gold", euro(999_00))).unwrap();
    for (name, closed) in [("timeout", false), ("merchant", true)] {
        let new = part(name).expires_after(HOUR / 2);
        let session = sessions.create(new).unwrap();
        if closed {
            sessions.expire(&session.id).unwrap();
        }
    }
    // An endpoint that refused its only event until nobody tried any more.
    let url = format!("https://shop.example/{mode}/down");
    let down = NewEndpoint::new(url, Format::Standard).events(["customer.created"]);
    app.endpoints().add(down).unwrap();
    let key = app.keys().create().unwrap();
    let lost = app.keys().create().unwrap();
    app.keys().revoke(&lost.key.id).unwrap();
    app.customers().set(NewCustomer::uid("u_first")).unwrap();
    for minutes in [1, 5, 30, 120, 0] {
        shop.receiver.answer(refused());
        shop.run();
        shop.clock.turn(Duration::from_secs(60 * minutes));
    }
    let url = format!("https://shop.example/{mode}/up");
    let up = app.endpoints().add(NewEndpoint::new(url, Format::XPay)).unwrap();
    let kept = [
        ("endpoint", up.secret.expose().split_once('_').unwrap().1),
        ("api_key", key.secret.expose().rsplit_once('_').unwrap().1),
    ];
    let keeper = NewCustomer::uid(KEEPER)
        .name("Ada")
        .email("ada@example.com")
        .metadata(Metadata::new(kept).unwrap());
    app.customers().set(keeper).unwrap();

    let session = sessions.create(paid()).unwrap();
    assert!(sessions.pay(&session.id, payment("pay-1")).unwrap().is_complete());
    shop.run();
    let entitlements = app.entitlements();
    entitlements.grant(grant()).unwrap();
    entitlements.grant(NewGrant::tier("u_revoked", "gold")).unwrap();
    entitlements.revoke("u_revoked", None, "a mistake").unwrap();
    shop.run();
}

/// The second half, in one world: what is left open and under way.
fn leave_off(shop: &Shop) {
    let sessions = shop.app.sessions();
    let session = sessions.create(part("declined")).unwrap();
    shop.till.answer(declined("card_declined", "No"));
    assert!(!sessions.pay(&session.id, payment("pay-2")).unwrap().is_complete());
    sessions.create(part("open")).unwrap();
    let session = sessions.create(part("unknown")).unwrap();
    shop.till.answer(Outcome::Unknown { why: "gone".to_owned() });
    sessions.pay(&session.id, payment("pay-3")).unwrap();
    let session = sessions.create(part("processing")).unwrap();
    let begun = sessions.begin_payment(&session.id, "tok_1").unwrap();
    assert!(matches!(begun, Begun::Ask(_)));
}

/// Makes the file of the current version, where there is none yet.
#[test]
fn a_file_of_this_version_is_kept() {
    if std::env::var_os("TILLITE_KEEP").is_none() {
        return;
    }
    let path = folder().join(format!("v{}.db", current()));
    assert!(!path.exists(), "{} is kept already", path.display());
    let disk = Disk::new();
    for part in [live_through, leave_off] {
        for mode in MODES {
            part(&disk.shop_in(mode));
        }
    }
    // In each world deliveries failed and wait, others were taken by somebody who died.
    let engine = disk.open();
    let deliveries = Budget::items(1).work(Work::DELIVERIES);
    while MODES.iter().any(|mode| tried(&engine, *mode, "pending") == 0) {
        disk.receiver.answer(refused());
        assert_eq!(engine.run_due(deliveries).unwrap().undelivered, 1);
    }
    disk.clock.turn(Duration::from_secs(60));
    while MODES.iter().any(|mode| tried(&engine, *mode, "in_flight") == 0) {
        assert_eq!(engine.claim_deliveries(1).unwrap().len(), 1);
    }
    clean(&engine);
    engine.close().unwrap();
    fs::create_dir_all(folder()).unwrap();
    fs::copy(disk.path(), path).unwrap();
}

/// A copy of a kept file, to be opened half a day after it was made.
fn copy_of(version: usize) -> Disk {
    let disk = Disk::new();
    fs::copy(folder().join(format!("v{version}.db")), disk.path()).unwrap();
    disk.clock.turn(HOUR * 18);
    disk
}

fn kept_versions() -> impl Iterator<Item = usize> {
    let current = current();
    (1..=current).filter(move |version| *version < current || folder().join(format!("v{version}.db")).exists())
}

/// The sessions of the story by their parts.
fn parts(app: &App) -> BTreeMap<String, Session> {
    let sessions = app.sessions().list(100, None).unwrap().data;
    let named = |session: Session| (session.metadata.get("part").unwrap().to_owned(), session);
    sessions.into_iter().map(named).collect()
}

/// The deliveries of a world.
fn deliveries(engine: &Engine, mode: Mode) -> Vec<Delivery> {
    let app = engine.find_app("lixblogs", mode).unwrap();
    let page = app.deliveries().list(&DeliveryFilter::all(), 100, None).unwrap();
    assert!(!page.has_more);
    page.data
}

/// How many deliveries of a world are in each state.
fn states(engine: &Engine, mode: Mode) -> BTreeMap<&'static str, usize> {
    let mut found = BTreeMap::new();
    for delivery in deliveries(engine, mode) {
        *found.entry(delivery.state.as_str()).or_default() += 1;
    }
    found
}

/// How many deliveries of a world are in this state after at least one attempt.
fn tried(engine: &Engine, mode: Mode, state: &str) -> usize {
    let is = |delivery: &&Delivery| delivery.state.as_str() == state && delivery.attempts > 0;
    deliveries(engine, mode).iter().filter(is).count()
}

#[test]
fn a_file_of_an_older_version_is_clean_after_it_was_opened_and_holds_what_it_held() {
    for version in kept_versions() {
        let disk = copy_of(version);
        let engine = disk.open();
        clean(&engine);
        assert_eq!(
            sql(&disk.raw(), "SELECT version FROM tillite_schema"),
            [current().to_string()]
        );
        for mode in MODES {
            let app = engine.find_app("lixblogs", mode).unwrap();
            let found: BTreeMap<String, SessionState> = parts(&app)
                .into_iter()
                .map(|(part, session)| (part, session.state))
                .collect();
            let expected = [
                ("timeout", SessionState::Expired(ExpiredReason::Timeout)),
                ("merchant", SessionState::Expired(ExpiredReason::Merchant)),
                ("paid", SessionState::Complete),
                ("declined", SessionState::Open),
                ("open", SessionState::Open),
                ("unknown", SessionState::Processing),
                ("processing", SessionState::Processing),
            ];
            let expected = expected.map(|(part, state)| (part.to_owned(), state));
            assert_eq!(found, BTreeMap::from(expected), "version {version}");
            let held = |uid: &str| app.entitlements().get(uid).unwrap().active;
            assert!(held("u_paid") && held("u_granted") && !held("u_revoked") && !held("u_open"));
            let states = states(&engine, mode);
            let expected = ["delivered", "exhausted", "in_flight", "pending"];
            assert_eq!(states.into_keys().collect::<Vec<_>>(), expected);
        }
    }
}

#[test]
fn views_of_the_hosts_are_no_reason_not_to_bring_a_file_up_to_date() {
    for version in kept_versions() {
        let disk = copy_of(version);
        let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE 'tillite%'";
        let tables = sql(&disk.raw(), tables);
        for table in &tables {
            sql(&disk.raw(), &format!("CREATE VIEW my_{table} AS SELECT * FROM {table}"));
        }
        clean(&disk.open());
        let rows = |name: &str| sql(&disk.raw(), &format!("SELECT count(*) FROM {name}"));
        for table in ["tillite_charge", "tillite_delivery", "tillite_event"] {
            assert_eq!(rows(&format!("my_{table}")), rows(table), "version {version}");
        }
    }
}

#[test]
fn a_file_of_an_older_version_goes_on_selling_paying_and_delivering() {
    for version in kept_versions() {
        let disk = copy_of(version);
        for mode in MODES {
            let shop = disk.shop_in(mode);
            let (app, sessions) = (&shop.app, shop.app.sessions());
            let keeper = app.customers().by_uid(KEEPER).unwrap();
            let secret = |name: &str| keeper.metadata.get(name).unwrap().to_owned();
            let api_key = format!("sk_{}_{}", mode.as_str(), secret("api_key"));
            let by_key = shop.engine.authenticate(&api_key).unwrap().unwrap();
            assert_eq!(by_key.mode(), mode);

            // The keys that were used are still known.
            let story = parts(app);
            let before = app.journal_head().unwrap();
            assert_eq!(sessions.create(paid()).unwrap(), story["paid"]);
            let again = sessions.pay(&story["paid"].id, payment("pay-1")).unwrap();
            assert_eq!(again.charge.unwrap().state, ChargeState::Succeeded);
            let again = sessions.pay(&story["declined"].id, payment("pay-2")).unwrap();
            assert_eq!(again.charge.unwrap().state, ChargeState::Failed);
            app.entitlements().grant(grant()).unwrap();
            assert_eq!(app.journal_head().unwrap(), before);

            // What was in flight is looked up, turns out never to have happened, and is paid.
            while parts(app)
                .values()
                .any(|session| session.state == SessionState::Processing)
            {
                shop.clock.turn(Duration::from_secs(60));
                shop.run();
            }
            for part in ["declined", "open", "unknown", "processing"] {
                assert!(sessions.pay(&story[part].id, "tok_2").unwrap().is_complete(), "{part}");
                assert!(app.entitlements().get(&format!("u_{part}")).unwrap().active);
            }
            crate::file::sell(&shop, "u_new").unwrap();

            // What was not delivered is, signed as before, but for what was given up.
            let exhausted = states(&shop.engine, mode)["exhausted"];
            while shop.run().total() > 0 {}
            let states = states(&shop.engine, mode);
            assert_eq!(states.keys().copied().collect::<Vec<_>>(), ["delivered", "exhausted"]);
            assert_eq!(states["exhausted"], exhausted);
            let up = format!("https://shop.example/{}/up", mode.as_str());
            let signing = Secret::new(format!("whsec_{}", secret("endpoint")));
            let received = shop.receiver.requests();
            let mut ours = received.iter().filter(|request| request.url == up);
            assert!(ours.clone().count() > 10);
            assert!(ours.all(|request| verified(Format::XPay, &signing, request, request.signed_at)));
        }
        clean(&disk.open());
    }
}
