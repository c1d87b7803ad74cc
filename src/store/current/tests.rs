use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;
use crate::access::Actor;
use crate::catalog::MAIN_LINE;
use crate::change::Change;
use crate::decide::access;
use crate::entitlement::{GrantSource, Holding, Status};
use crate::error::{Error, StorageError};
use crate::id::Mode;
use crate::samples::{at, mint};
use crate::store::{
    Access, Backend, ByHand, Command, EachRow, Known, MEMORY, Moment, Place, Sql, Sqlite, Tx, Value, app, head,
};
use crate::text::Metadata;

/// A database that writes down which statements its readers run.
struct Watched {
    backend: Sqlite,
    log: Arc<Mutex<Vec<String>>>,
    between: Between,
}

/// What is done once, when a write is committed and nobody has heard of it.
type Between = Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>;

struct Interrupted {
    command: Box<dyn Command>,
    between: Between,
}

impl Command for Interrupted {
    fn run(&mut self, sql: &mut dyn Sql) -> Result<()> {
        self.command.run(sql)
    }

    fn committed(&mut self) {
        let between = self.between.lock().unwrap().take();
        if let Some(between) = between {
            between();
        }
        self.command.committed();
    }
}

struct Watching<'a> {
    reading: &'a mut dyn Reading,
    log: &'a Mutex<Vec<String>>,
}

impl Sql for Watching<'_> {
    fn exec(&mut self, sql: &str, values: &[Value<'_>]) -> Result<u64> {
        self.reading.exec(sql, values)
    }

    fn each(&mut self, sql: &str, values: &[Value<'_>], row: EachRow<'_>) -> Result<()> {
        self.log.lock().unwrap().push(sql.to_owned());
        self.reading.each(sql, values, row)
    }

    fn columns(&mut self, table: &str) -> Result<Vec<String>> {
        self.reading.columns(table)
    }
}

impl Reading for Watching<'_> {
    fn known(&mut self) -> Result<&mut Known> {
        self.reading.known()
    }
}

impl Backend for Watched {
    fn read(&self, command: &mut dyn FnMut(&mut dyn Reading) -> Result<()>) -> Result<()> {
        let log = &self.log;
        self.backend
            .read(&mut |reading| command(&mut Watching { reading, log }))
    }

    fn look(&self, command: &mut dyn FnMut(&mut dyn Reading) -> Result<()>) -> Result<()> {
        let log = &self.log;
        self.backend
            .look(&mut |reading| command(&mut Watching { reading, log }))
    }

    fn write(&self, access: Access, command: Box<dyn Command>) -> Result<()> {
        let between = Arc::clone(&self.between);
        self.backend.write(access, Box::new(Interrupted { command, between }))
    }

    fn commits_seen(&self) -> Result<i64> {
        self.backend.commits_seen()
    }

    fn check(&self) -> Result<Vec<String>> {
        self.backend.check()
    }

    fn wal_bytes(&self) -> u64 {
        self.backend.wal_bytes()
    }

    fn log_failure(&self) -> Option<StorageError> {
        self.backend.log_failure()
    }

    fn backup(&self, to: &Path) -> Result<()> {
        self.backend.backup(to)
    }

    fn checkpoint(&self) -> Result<()> {
        self.backend.checkpoint()
    }
}

/// A store, with the clock of its host.
struct Shop {
    store: Store,
    log: Arc<Mutex<Vec<String>>>,
    between: Between,
    world: World,
    shown: Arc<Shown>,
    second: i64,
    made: u8,
}

impl Shop {
    fn open(place: Place) -> Shop {
        let backend = Sqlite::open(place, at(0), Arc::new(ByHand::default())).unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let between = Between::default();
        let store = Store::new(Watched {
            backend,
            log: Arc::clone(&log),
            between: Arc::clone(&between),
        });
        let app = store
            .write_raw(Access::Shared, |sql| app::ensure(sql, "shop", at(0)))
            .unwrap();
        Shop {
            store,
            log,
            between,
            world: World { app, mode: Mode::Test },
            shown: Arc::new(Shown::default()),
            second: 0,
            made: 0,
        }
    }

    fn in_memory() -> Shop {
        Shop::open(MEMORY)
    }

    /// Two processes' worth of stores on one file.
    fn two(folder: &Path) -> [Shop; 2] {
        [1, 2].map(|number| Shop {
            made: number * 100,
            ..Shop::open(Place::file(&folder.join("shop.db")))
        })
    }

    fn get(&self, uid: &str) -> Entitlement {
        self.store
            .entitled(Asked {
                world: self.world,
                uid,
                line: MAIN_LINE,
                host_now: at(self.second),
                shown: &self.shown,
            })
            .unwrap()
    }

    /// What a read finds, and which statements it took.
    fn watch(&self, uid: &str) -> (Entitlement, Vec<&'static str>) {
        self.log.lock().unwrap().clear();
        let found = self.get(uid);
        let log = self.log.lock().unwrap();
        let kinds = log.iter().map(|sql| match sql.as_str() {
            sql if sql.contains("FROM tillite_grant") => "grants",
            sql if sql.contains("tillite_schema") && sql.contains("tillite_entitlement") => "everything at once",
            sql if sql.contains("tillite_entitlement") => "entitlement",
            sql if sql.contains("tillite_head") => "head",
            other => panic!("{other}"),
        });
        (found, kinds.collect())
    }

    /// What reads of this uid take: the version found, and the statements.
    fn steps(&self, uid: &str) -> (i64, Vec<&'static str>) {
        let (found, steps) = self.watch(uid);
        (found.version, steps)
    }

    fn write<T: Send + 'static>(
        &mut self,
        command: impl FnMut(&mut Tx<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.made += 1;
        let moment = Moment {
            world: self.world,
            host_now: at(self.second),
            shown: Arc::clone(&self.shown),
            mint: mint(self.made),
            actor: Actor::Host,
            cause: "a test",
            keep_keys: crate::time::days(7),
        };
        self.store
            .write(Access::Shared, moment, command)
            .map(|(value, _)| value)
    }

    /// Grants a tier of this rank for so many seconds.
    fn grant(&mut self, uid: &'static str, rank: i32, seconds: i64) {
        let ends_at = at(self.second + seconds);
        self.write(move |tx| put_grant(tx, uid, rank, ends_at)).unwrap();
    }
}

fn put_grant(tx: &mut Tx<'_>, uid: &str, rank: i32, ends_at: Timestamp) -> Result<()> {
    let known = entitlement::holding(tx.sql, tx.world, uid, MAIN_LINE)?;
    let mut change = Change::new();
    let mut setting = tx.setting();
    let mut holding = known.unwrap_or_else(|| Holding::empty(setting.id(), uid, MAIN_LINE, setting.now));
    let terms = access::Terms {
        source: GrantSource::Manual,
        tier: format!("tier_{rank}"),
        rank,
        quantity: 1,
        limits: Metadata::default(),
        starts_at: setting.now,
        ends_at: Some(ends_at),
    };
    access::grant(&mut holding, terms, &mut setting, &mut change);
    tx.apply(&change)
}

#[test]
fn who_asks_again_is_answered_without_a_statement_and_who_asks_first_with_one() {
    let folder = tempfile::tempdir().unwrap();
    for place in [MEMORY, Place::file(&folder.path().join("shop.db"))] {
        let mut shop = Shop::open(place);
        shop.grant("u_1", 1, 60);
        // The first of all asks for the app's name too.
        let (first, steps) = shop.watch("u_1");
        assert_eq!((first.version, steps), (1, vec!["head", "entitlement", "grants"]));
        assert_eq!((first.app.as_str(), first.tier.as_str()), ("shop", "tier_1"));
        let (again, steps) = shop.watch("u_1");
        assert_eq!((again, steps), (first, vec![]));
        assert_eq!(shop.steps("nobody"), (0, vec!["everything at once"]));
        assert_eq!(shop.steps("nobody"), (0, vec![]));
        assert_eq!(shop.get("nobody").status, Status::None);
    }
}

#[test]
fn a_write_of_this_process_shows_at_once_and_what_it_did_not_touch_stays_remembered() {
    let folder = tempfile::tempdir().unwrap();
    for place in [MEMORY, Place::file(&folder.path().join("shop.db"))] {
        let mut shop = Shop::open(place);
        shop.grant("u_1", 1, 60);
        shop.grant("u_2", 1, 60);
        for uid in ["u_1", "u_2"] {
            shop.get(uid);
        }
        shop.grant("u_1", 2, 60);
        let (raised, steps) = shop.watch("u_1");
        assert_eq!((raised.version, steps), (2, vec!["everything at once"]));
        assert_eq!(raised.tier, "tier_2");
        // The file has changed, so its position is asked for, once.
        assert_eq!(shop.steps("u_2"), (1, vec!["head"]));
        assert_eq!(shop.steps("u_2"), (1, vec![]));
    }
}

#[test]
fn a_grant_that_shows_only_later_is_not_missed_when_its_time_comes() {
    let mut shop = Shop::in_memory();
    shop.grant("u_1", 2, 60);
    assert_eq!(shop.get("u_1").version, 1);
    // A lower rank changes nothing visible, but what shows after the minute.
    shop.grant("u_1", 1, 120);
    assert_eq!(shop.get("u_1").tier, "tier_2");
    shop.second = 60;
    assert_eq!((shop.get("u_1").tier.as_str(), shop.get("u_1").version), ("tier_1", 2));
}

#[test]
fn a_write_of_another_process_shows_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let [mut ours, mut theirs] = Shop::two(folder.path());
    ours.grant("u_1", 1, 60);
    ours.grant("u_2", 1, 60);
    for shop in [&ours, &theirs] {
        assert_eq!((shop.get("u_1").version, shop.get("u_2").version), (1, 1));
    }
    theirs.grant("u_1", 2, 60);
    assert_eq!((ours.get("u_1").version, theirs.get("u_1").version), (2, 2));
    // A write of ours does not hide that there was one of theirs before it.
    assert_eq!(ours.get("u_2").version, 1);
    theirs.grant("u_2", 2, 60);
    ours.grant("u_1", 3, 60);
    assert_eq!((ours.get("u_1").version, ours.get("u_2").version), (3, 2));
    // What others did not write is forgotten too, and remembered again.
    theirs.grant("u_1", 4, 60);
    assert_eq!(ours.steps("u_2"), (2, vec!["head", "everything at once"]));
    assert_eq!(ours.steps("u_2"), (2, vec![]));
}

#[test]
fn what_is_remembered_ends_when_its_time_does() {
    let mut shop = Shop::in_memory();
    shop.grant("u_1", 1, 60);
    assert_eq!((shop.get("u_1").status, shop.get("u_1").version), (Status::Active, 1));
    shop.second = 59;
    assert_eq!(shop.steps("u_1"), (1, vec![]));
    shop.second = 60;
    // Nobody has stored the end, so it follows from the grants, and is remembered as well.
    let (ended, steps) = shop.watch("u_1");
    assert_eq!((ended.status, ended.version, ended.active), (Status::Expired, 2, false));
    assert_eq!(steps, ["everything at once", "entitlement", "grants"]);
    assert_eq!(shop.watch("u_1"), (ended, vec![]));
    // The host's clock goes back; what was shown stays.
    shop.second = 30;
    assert_eq!(shop.get("u_1").status, Status::Expired);
}

#[test]
fn an_advance_of_the_test_clock_shows_in_what_is_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let [mut ours, mut theirs] = Shop::two(folder.path());
    ours.grant("u_1", 1, 60);
    ours.grant("u_2", 1, 600);
    for uid in ["u_1", "u_2"] {
        ours.get(uid);
    }
    let advance = |tx: &mut Tx<'_>| tx.advance(Duration::from_secs(60));
    theirs.write(advance).unwrap();
    assert_eq!(ours.get("u_1").status, Status::Expired);
    // It makes no event, so nobody's entitlement was written.
    assert_eq!(ours.steps("u_2"), (1, vec![]));
    ours.write(advance).unwrap();
    assert_eq!(ours.steps("u_2"), (1, vec!["head"]));
}

#[test]
fn a_write_that_fails_or_panics_changes_nothing_that_is_remembered() {
    let folder = tempfile::tempdir().unwrap();
    for place in [MEMORY, Place::file(&folder.path().join("shop.db"))] {
        let mut shop = Shop::open(place);
        shop.grant("u_1", 1, 60);
        shop.get("u_1");
        let failed: Result<()> = shop.write(|tx| {
            put_grant(tx, "u_1", 2, at(60))?;
            Err(Error::NoEntropy)
        });
        assert_eq!(failed, Err(Error::NoEntropy));
        assert_eq!(shop.get("u_1").version, 1);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            shop.write(|tx| {
                put_grant(tx, "u_1", 2, at(60)).unwrap();
                assert!(tx.seq < 0, "on purpose");
                Ok(())
            })
        }));
        assert!(panicked.is_err());
        assert_eq!(shop.steps("u_1").0, 1);
        assert_eq!(shop.steps("u_1"), (1, vec![]));
        // Neither counts as under way any longer: what others write is followed.
        shop.grant("u_1", 2, 60);
        assert_eq!(shop.get("u_1").version, 2);
        assert_eq!(shop.steps("u_1"), (2, vec!["head"]));
        assert_eq!(shop.steps("u_1"), (2, vec![]));
    }
}

#[test]
fn a_file_that_another_process_has_migrated_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let [mut ours, theirs] = Shop::two(folder.path());
    ours.grant("u_1", 1, 60);
    ours.get("u_1");
    let raise = "UPDATE tillite_schema SET version = version + 1";
    theirs
        .store
        .write_raw(Access::Shared, move |sql| sql.exec(raise, &[]))
        .unwrap();
    let asked = |uid| Asked {
        world: ours.world,
        uid,
        line: MAIN_LINE,
        host_now: at(0),
        shown: &ours.shown,
    };
    let moved = Error::SchemaMoved {
        found: head::SCHEMA + 1,
        opened: head::SCHEMA,
    };
    assert_eq!(ours.store.entitled(asked("u_1")), Err(moved.clone()), "remembered");
    assert_eq!(ours.store.entitled(asked("u_2")), Err(moved.clone()), "not remembered");
    assert_eq!(ours.store.read(|_| Ok(())), Err(moved));
}

/// Reads two uids when a write has come this far, and answers the versions that it found.
fn reader(shop: &Shop, seen: &Arc<Mutex<Vec<i64>>>) -> impl Fn() + Send + Sync + 'static {
    let (store, world, shown) = (shop.store.clone(), shop.world, Arc::clone(&shop.shown));
    let seen = Arc::clone(seen);
    move || {
        for uid in ["u_1", "u_2"] {
            let asked = Asked {
                world,
                uid,
                line: MAIN_LINE,
                host_now: at(0),
                shown: &shown,
            };
            seen.lock().unwrap().push(store.entitled(asked).unwrap().version);
        }
    }
}

#[test]
fn a_read_in_the_middle_of_a_write_shows_what_is_committed_and_forgets_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut shop = Shop::open(Place::file(&folder.path().join("shop.db")));
    shop.grant("u_1", 1, 60);
    shop.grant("u_2", 1, 60);
    for uid in ["u_1", "u_2"] {
        shop.get(uid);
    }
    let seen = Arc::new(Mutex::new(Vec::new()));
    let inside = reader(&shop, &seen);
    // Between the commit and the moment at which its caller hears of it.
    *shop.between.lock().unwrap() = Some(Box::new(reader(&shop, &seen)));
    shop.write(move |tx| {
        put_grant(tx, "u_1", 2, at(60))?;
        inside();
        Ok(())
    })
    .unwrap();
    assert_eq!(*seen.lock().unwrap(), [1, 1, 2, 1]);
    assert_eq!(shop.steps("u_1"), (2, vec!["everything at once"]));
    let (version, steps) = shop.steps("u_2");
    assert!(version == 1 && !steps.contains(&"everything at once"), "{steps:?}");
}
