//! What somebody may use is remembered by each engine, and nobody can tell: a read shows every commit
//! that was acknowledged before it began, whoever made it, and the time as it is.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use tillite::{
    App, Budget, Currency, Engine, Entitlement, Interval, MAIN_LINE, Mode, NewGrant, NewPrice, NewProduct, NewSession,
    Status, Work,
};

use crate::kit::{ManualClock, Receiver, SeededEntropy, Shop, Till, builder, clean, euro};

const DAY: Duration = Duration::from_secs(86_400);

/// The membership of rank 1 that every shop has, and one above it.
fn stock(app: &App) {
    for (tier, rank) in [("member", 1), ("plus", 2)] {
        let price = NewPrice::new(tier, euro(199_00)).lasting(Interval::MONTH);
        app.catalog()
            .set(NewProduct::new(tier, tier).rank(rank).price(price))
            .unwrap();
    }
}

/// What is found without what is remembered.
fn unremembered(app: &App, uid: &str) -> Option<Entitlement> {
    let held = app.entitlements().list(uid).unwrap();
    held.into_iter().find(|held| held.line == MAIN_LINE)
}

fn check(app: &App, uid: &str) -> Entitlement {
    let found = app.entitlements().get(uid).unwrap();
    match unremembered(app, uid) {
        Some(held) => assert_eq!(found, held),
        None => assert_eq!((found.status, found.version), (Status::None, 0)),
    }
    found
}

#[test]
fn whatever_changes_an_entitlement_shows_in_the_next_read() {
    let shop = Shop::open();
    stock(&shop.app);
    let entitlements = shop.app.entitlements();
    let seen = || {
        let found = check(&shop.app, "u_1");
        assert_eq!(check(&shop.app, "u_1"), found, "asked again");
        (found.tier, found.status, found.version)
    };
    assert_eq!(seen(), ("free".to_owned(), Status::None, 0));
    let session = shop.session("u_1");
    assert!(shop.pay(&session).unwrap().is_complete());
    assert_eq!(seen(), ("member".to_owned(), Status::Active, 1));
    entitlements.grant(NewGrant::tier("u_1", "plus").days(1)).unwrap();
    assert_eq!(seen(), ("plus".to_owned(), Status::Active, 2));
    shop.clock.turn(DAY);
    assert_eq!(seen(), ("member".to_owned(), Status::Active, 3));
    shop.engine.run_due(Budget::items(10).work(Work::TIME)).unwrap();
    assert_eq!(seen(), ("member".to_owned(), Status::Active, 3));
    shop.app.advance(29 * DAY).unwrap();
    assert_eq!(seen(), ("member".to_owned(), Status::Expired, 4));
    entitlements.grant(NewGrant::tier("u_1", "member")).unwrap();
    assert_eq!(seen(), ("member".to_owned(), Status::Active, 5));
    entitlements.revoke("u_1", None, "a test").unwrap();
    assert_eq!(seen(), ("member".to_owned(), Status::Revoked, 6));
    shop.clean();
}

/// Two engines on one file, as two processes would have it.
struct Two {
    engines: [Engine; 2],
    apps: [App; 2],
    clock: ManualClock,
    _folder: tempfile::TempDir,
}

impl Two {
    fn open() -> Two {
        let folder = tempfile::tempdir().unwrap();
        let (clock, till, receiver) = (ManualClock::new(), Till::new(), Receiver::new());
        let path = folder.path().join("shop.db");
        let engines = [1, 2].map(|seed| {
            let setup = builder(&clock, &till, &receiver).entropy(SeededEntropy::new(seed));
            setup.open(&path).unwrap()
        });
        let apps = [0, 1].map(|number: usize| engines[number].app("lixblogs", Mode::Test).unwrap());
        stock(&apps[0]);
        Two {
            engines,
            apps,
            clock,
            _folder: folder,
        }
    }
}

/// What one of the engines does. A uid is a small number.
#[derive(Clone, Debug)]
enum Does {
    Reads(u8),
    Grants(u8, bool, u32),
    Revokes(u8),
    Sells(u8),
    /// Something that has nothing to do with entitlements.
    Opens,
    Fails,
    Sweeps,
    Advances(u32),
    TurnsTheClock(u32),
}

fn does() -> impl Strategy<Value = Does> {
    prop_oneof![
        12 => (0..3_u8).prop_map(Does::Reads),
        3 => (0..3_u8, any::<bool>(), 1..4_u32).prop_map(|(uid, plus, days)| Does::Grants(uid, plus, days)),
        1 => (0..3_u8).prop_map(Does::Revokes),
        1 => (0..3_u8).prop_map(Does::Sells),
        2 => Just(Does::Opens),
        1 => Just(Does::Fails),
        1 => Just(Does::Sweeps),
        1 => (1..4_u32).prop_map(Does::Advances),
        1 => (1..40_u32).prop_map(Does::TurnsTheClock),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_two_engines_read_of_one_file_is_what_is_in_it(
        story in prop::collection::vec((0..2_usize, does()), 1..60)
    ) {
        let two = Two::open();
        for (who, step) in story {
            let (engine, app) = (&two.engines[who], &two.apps[who]);
            let uid = |number: u8| format!("u_{number}");
            match step {
                Does::Reads(number) => drop(check(app, &uid(number))),
                Does::Grants(number, plus, days) => {
                    let tier = if plus { "plus" } else { "member" };
                    let granted = app.entitlements().grant(NewGrant::tier(uid(number), tier).days(days)).unwrap();
                    prop_assert_eq!(app.entitlements().get(&uid(number)).unwrap(), granted);
                }
                Does::Revokes(number) => drop(app.entitlements().revoke(&uid(number), None, "a test").unwrap()),
                Does::Sells(number) => {
                    let session = NewSession::tier("member", Currency::EUR).customer(uid(number));
                    let session = app.sessions().create(session).unwrap();
                    prop_assert!(app.sessions().pay(&session.id, "tok").unwrap().is_complete());
                }
                Does::Opens => drop(app.sessions().create(NewSession::tier("member", Currency::EUR)).unwrap()),
                Does::Fails => prop_assert!(app.entitlements().grant(NewGrant::tier("u_0", "nothing")).is_err()),
                Does::Sweeps => drop(engine.run_due(Budget::items(100).work(Work::TIME)).unwrap()),
                Does::Advances(days) => drop(app.advance(days * DAY).unwrap()),
                Does::TurnsTheClock(hours) => two.clock.turn(hours * Duration::from_secs(3_600)),
            }
        }
        for app in &two.apps {
            for number in 0..3 {
                check(app, &format!("u_{number}"));
            }
        }
        clean(&two.engines[0]);
    }
}

/// A writer at work, also if it panics.
struct Writes<'a>(&'a AtomicUsize);

impl Drop for Writes<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Each writer says which version it has been told of; a read that begins afterwards, through
/// either engine, finds that one or a later one.
#[test]
fn a_read_shows_what_any_thread_of_any_engine_was_told_before_it_began() {
    const UIDS: usize = 3;
    const GRANTS: usize = 40;
    let two = Two::open();
    let told: [AtomicI64; UIDS] = Default::default();
    let writing = AtomicUsize::new(4);
    std::thread::scope(|scope| {
        for writer in 0..4_usize {
            let (app, told, writing) = (&two.apps[writer % 2], &told, &writing);
            scope.spawn(move || {
                let _writes = Writes(writing);
                for turn in 0..GRANTS {
                    let number = (turn + writer) % UIDS;
                    // Each adds to the quantity, so each makes a version.
                    let grant = NewGrant::tier(format!("u_{number}"), "plus");
                    let version = app.entitlements().grant(grant).unwrap().version;
                    told[number].fetch_max(version, Ordering::SeqCst);
                }
            });
        }
        for reader in 0..2_usize {
            let (app, told, writing) = (&two.apps[reader], &told, &writing);
            scope.spawn(move || {
                let mut seen = [0; UIDS];
                let mut last = false;
                while !last {
                    last = writing.load(Ordering::SeqCst) == 0;
                    for number in 0..UIDS {
                        let before = told[number].load(Ordering::SeqCst).max(seen[number]);
                        let found = app.entitlements().get(&format!("u_{number}")).unwrap();
                        assert!(found.version >= before, "version {} after {before}", found.version);
                        assert_eq!(i64::from(found.quantity), found.version, "one version, one content");
                        seen[number] = found.version;
                    }
                }
                let all: i64 = seen.iter().sum();
                assert_eq!(all, i64::try_from(4 * GRANTS).unwrap());
            });
        }
    });
    clean(&two.engines[1]);
}
