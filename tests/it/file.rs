//! The file: what is opened, what is refused and left as it was, and what a failing disk or a
//! meddling neighbour can and cannot do to it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::types::ValueRef;
use tempfile::TempDir;
use tillite::webhook::{Format, NewEndpoint};
use tillite::{
    Budget, Builder, Currency, Engine, Error, Mode, NewCustomer, NewSession, Outcome, SessionState, StorageKind,
    WhatNow,
};

use crate::kit::{
    ManualClock, Receiver, SEAL_KEY, SeededEntropy, Shop, Till, another_process, builder, clean, is_another_process,
};

/// A file in a directory of its own, and what is needed to open it again and again.
pub struct Disk {
    pub dir: TempDir,
    pub clock: ManualClock,
    pub till: Till,
    pub receiver: Receiver,
}

impl Disk {
    pub fn new() -> Disk {
        Disk {
            dir: TempDir::new().unwrap(),
            clock: ManualClock::new(),
            till: Till::new(),
            receiver: Receiver::new(),
        }
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("shop.db")
    }

    pub fn builder(&self) -> Builder {
        // Each opening draws from a seed of its own: two openings of one file at one instant must
        // not make the same ids.
        static SEED: AtomicU64 = AtomicU64::new(1_000);
        let seed = SEED.fetch_add(1, Ordering::Relaxed);
        builder(&self.clock, &self.till, &self.receiver).entropy(SeededEntropy::new(seed))
    }

    pub fn open(&self) -> Engine {
        self.builder().open(self.path()).unwrap()
    }

    pub fn shop(&self) -> Shop {
        self.shop_in(Mode::Test)
    }

    pub fn shop_in(&self, mode: Mode) -> Shop {
        self.shop_of(self.builder(), mode)
    }

    fn shop_of(&self, builder: Builder, mode: Mode) -> Shop {
        Shop::with(
            builder.open(self.path()).unwrap(),
            mode,
            self.clock.clone(),
            self.till.clone(),
            self.receiver.clone(),
        )
    }

    /// A connection past the engine, as a neighbour or a vandal has it.
    pub fn raw(&self) -> Connection {
        Connection::open(self.path()).unwrap()
    }

    /// Every file of the directory with its bytes.
    fn contents(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let files = fs::read_dir(self.dir.path()).unwrap();
        let paths = files.map(|file| file.unwrap().path());
        paths.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
    }
}

/// How often SQLite waits a little on a disk while something is done.
fn sleeps(disk: &tillite_simdisk::Disk, something: impl FnOnce()) -> u64 {
    let count = std::sync::Arc::new(AtomicU64::new(0));
    let counted = std::sync::Arc::clone(&count);
    disk.on_point(move |point| {
        if point == tillite_simdisk::Point::Sleep {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    something();
    disk.clear_on_point();
    count.load(Ordering::Relaxed)
}

/// Runs a statement to its end; the first column of each row as text.
pub fn sql(connection: &Connection, statement: &str) -> Vec<String> {
    let mut statement = connection.prepare(statement).unwrap();
    let mut rows = statement.query([]).unwrap();
    let mut found = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        found.push(match row.get_ref(0).unwrap() {
            ValueRef::Null => "null".to_owned(),
            ValueRef::Integer(number) => number.to_string(),
            ValueRef::Real(number) => number.to_string(),
            ValueRef::Text(text) | ValueRef::Blob(text) => String::from_utf8_lossy(text).into_owned(),
        });
    }
    found
}

/// Sells one membership.
pub fn sell(shop: &Shop, uid: &str) -> tillite::Result<()> {
    let session = shop
        .app
        .sessions()
        .create(NewSession::tier("member", Currency::EUR).customer(uid))?;
    let paid = shop.app.sessions().pay(&session.id, "tok_1")?;
    assert!(paid.is_complete());
    Ok(())
}

pub fn kind(error: &Error) -> StorageKind {
    match error {
        Error::Storage(error) => error.kind,
        other => panic!("not an error of storage: {other}"),
    }
}

/// Says loudly that something could not be shown here, or fails where everything must be.
pub fn skipped(what: &str) {
    assert!(
        std::env::var_os("TILLITE_REQUIRE_ALL").is_none_or(|value| value != "1"),
        "cannot be shown here, and TILLITE_REQUIRE_ALL=1: {what}"
    );
    println!("SKIPPED: {what}");
}

/// A file system of its own, gone with this value.
pub struct Mounted(PathBuf);

impl Mounted {
    /// A file system in memory of so many KiB; none where this process may not mount.
    pub fn memory(at: &Path, kib: u32) -> Option<Mounted> {
        let options = format!("size={kib}k,mode=700");
        mount(&[
            "-t".as_ref(),
            "tmpfs".as_ref(),
            "-o".as_ref(),
            options.as_ref(),
            "none".as_ref(),
            at.as_os_str(),
        ])
        .then(|| Mounted(at.to_owned()))
    }

    /// The same file or directory again, read-only.
    pub fn read_only(at: &Path) -> Option<Mounted> {
        if !mount(&["--bind".as_ref(), at.as_os_str(), at.as_os_str()]) {
            return None;
        }
        let mounted = Mounted(at.to_owned());
        mount(&["-o".as_ref(), "remount,bind,ro".as_ref(), at.as_os_str()]).then_some(mounted)
    }
}

fn mount(arguments: &[&std::ffi::OsStr]) -> bool {
    let ran = Command::new("mount").args(arguments).output();
    ran.is_ok_and(|output| output.status.success())
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

/// What a table of refused files expects of the error.
type Fits = fn(&Error) -> bool;

#[test]
fn a_file_that_is_not_ours_to_write_is_refused_and_left_as_it_is() {
    type Make = fn(&Disk);
    let cases: &[(&str, Make, Fits)] = &[
        (
            "a text",
            |disk| fs::write(disk.path(), "Dear diary, ".repeat(1_000)).unwrap(),
            |error| kind(error) == StorageKind::NotADatabase,
        ),
        (
            "a short text",
            |disk| fs::write(disk.path(), "hello").unwrap(),
            |error| kind(error) == StorageKind::NotADatabase,
        ),
        (
            "half a file",
            |disk| cut(disk, |length| length / 2),
            |error| kind(error) == StorageKind::Corrupt,
        ),
        (
            "one page of a file",
            |disk| cut(disk, |_| 4_096),
            |error| kind(error) == StorageKind::Corrupt,
        ),
        (
            "the header of a file",
            |disk| cut(disk, |_| 100),
            |error| matches!(kind(error), StorageKind::Corrupt | StorageKind::NotADatabase),
        ),
        (
            "tables of our name that somebody else made",
            |disk| drop(sql(&disk.raw(), "CREATE TABLE tillite_notes (text TEXT)")),
            |error| kind(error) == StorageKind::NamesTaken && says(error, &["tillite_notes", "rename"]),
        ),
        (
            "tables of ours without the one that has the version",
            |disk| drop(changed(disk, "DROP TABLE tillite_schema")),
            |error| kind(error) == StorageKind::Corrupt && says(error, &["tillite_schema", "restore a backup"]),
        ),
        (
            "a newer schema",
            |disk| drop(changed(disk, "UPDATE tillite_schema SET version = 7")),
            |error| {
                matches!(error, Error::NewerSchema { found: 7, known: 1..7 })
                    && error.to_string().contains("at schema version 7")
            },
        ),
        (
            "no version",
            |disk| drop(changed(disk, "DELETE FROM tillite_schema")),
            |error| kind(error) == StorageKind::Corrupt,
        ),
        (
            "a version that never was",
            |disk| {
                let raw = changed(disk, "PRAGMA ignore_check_constraints = ON");
                sql(&raw, "UPDATE tillite_schema SET version = 0");
            },
            |error| kind(error) == StorageKind::Corrupt,
        ),
    ];
    for (name, make, fits) in cases {
        let disk = Disk::new();
        make(&disk);
        let before = disk.contents();
        let error = disk.builder().open(disk.path()).unwrap_err();
        assert!(fits(&error), "{name}: {error:?}");
        assert_eq!(error.what_now(), WhatNow::AskOperator, "{name}");
        assert!(disk.contents() == before, "{name}: something was written");
    }
}

/// Whether an error's text has all of these in it.
fn says(error: &Error, words: &[&str]) -> bool {
    let text = error.to_string();
    words.iter().all(|word| text.contains(word))
}

/// A file with a sale in it, cut to a length.
fn cut(disk: &Disk, length: fn(u64) -> u64) {
    let shop = disk.shop();
    sell(&shop, "u_1").unwrap();
    shop.engine.clone().close().unwrap();
    drop(shop);
    let file = fs::OpenOptions::new().write(true).open(disk.path()).unwrap();
    let whole = file.metadata().unwrap().len();
    file.set_len(length(whole)).unwrap();
}

/// A file with a sale in it, closed, and then changed by somebody else.
fn changed(disk: &Disk, statement: &str) -> Connection {
    let shop = disk.shop();
    sell(&shop, "u_1").unwrap();
    drop(shop);
    let raw = disk.raw();
    sql(&raw, statement);
    raw
}

#[test]
fn a_path_that_cannot_hold_a_file_is_refused_and_nothing_is_made() {
    let disk = Disk::new();
    let dir = disk.dir.path().to_owned();
    let with_nul = dir.join(std::ffi::OsStr::from_bytes(b"a\0b"));
    for path in [dir.clone(), dir.join("missing/shop.db"), with_nul, PathBuf::new()] {
        let error = disk.builder().open(&path).unwrap_err();
        assert_eq!(kind(&error), StorageKind::CantOpen, "{path:?}: {error}");
    }
    assert_eq!(disk.contents(), BTreeMap::new());
}

#[test]
fn an_error_of_a_path_names_it_and_says_what_to_do() {
    let disk = Disk::new();
    let dir = disk.dir.path().to_owned();
    fs::write(dir.join("a_file"), "").unwrap();
    for (path, advice) in [
        (dir.join("missing/shop.db"), "its directory is not there, make it first"),
        (dir.clone(), "it is a directory, name a file in it"),
        (dir.join("a_file/shop.db"), "what should be its directory is a file"),
    ] {
        let error = disk.builder().open(&path).unwrap_err();
        assert_eq!(kind(&error), StorageKind::CantOpen, "{error}");
        assert!(says(&error, &[&format!("{path:?}: "), advice]), "{error}");
    }
    let long = dir.join("x".repeat(1_000)).join("shop.db");
    let error = disk.builder().open(&long).unwrap_err();
    assert!(error.to_string().chars().count() < 350, "{error}");
}

#[test]
fn a_file_that_nobody_may_write_is_said_to_be_that() {
    for mode in [0o000, 0o444] {
        let disk = Disk::new();
        sell(&disk.shop(), "u_1").unwrap();
        fs::set_permissions(disk.path(), fs::Permissions::from_mode(mode)).unwrap();
        let error = disk.builder().open(disk.path()).unwrap_err();
        assert_eq!(kind(&error), StorageKind::ReadOnly, "{error}");
        let permissions = format!("its permissions are {mode:03o}");
        assert!(says(&error, &[&format!("{:?}", disk.path()), &permissions]), "{error}");
        assert!(!says(&error, &["read-only"]), "{error}");
    }
}

/// Opens files with no descriptor to spare, then with one more and one more, and prints what it is told.
fn open_with_few_descriptors() {
    let disk = Disk::new();
    disk.open();
    let mut held = Vec::new();
    while let Ok(file) = fs::File::open("/dev/null") {
        held.push(file);
    }
    for _ in 0..4 {
        for name in ["shop.db", "new.db"] {
            if let Err(error) = disk.builder().open(disk.dir.path().join(name)) {
                println!("\nTOLD {error}");
            }
        }
        held.pop();
    }
}

#[test]
fn a_process_with_too_many_files_open_is_told_so() {
    const TEST: &str = "file::a_process_with_too_many_files_open_is_told_so";
    if is_another_process(TEST) {
        return open_with_few_descriptors();
    }
    let child = another_process(TEST, &[]);
    let variables = child.get_envs().filter_map(|(name, value)| Some((name, value?)));
    let ran = Command::new("sh")
        .args(["-c", "ulimit -n 40; exec \"$@\"", "sh"])
        .arg(child.get_program())
        .args(child.get_args())
        .envs(variables)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(ran.status.success(), "{said}");
    println!("{said}");
    let told: Vec<&str> = said.lines().filter(|line| line.starts_with("TOLD ")).collect();
    assert!(told.len() >= 2, "{said}");
    for line in told {
        assert!(
            line.contains("ulimit -n") || line.contains("limit of open files"),
            "{line}"
        );
    }
}

#[test]
fn a_missing_and_an_empty_file_become_a_shop_for_its_owner_only() {
    let disk = Disk::new();
    let shop = disk.shop();
    sell(&shop, "u_1").unwrap();
    for suffix in ["", "-wal", "-shm"] {
        let path = format!("{}{suffix}", disk.path().display());
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{path}");
    }
    shop.clean();

    let empty = Disk::new();
    fs::write(empty.path(), "").unwrap();
    let shop = empty.shop();
    sell(&shop, "u_1").unwrap();
    shop.clean();

    let odd = Disk::new();
    let path = odd.dir.path().join(std::ffi::OsStr::from_bytes(b"caf\xe9 %?#.db"));
    let engine = odd.builder().open(&path).unwrap();
    engine.app("shop", Mode::Test).unwrap();
    engine.close().unwrap();
    assert!(path.is_file());
    let engine = odd.builder().open(&path).unwrap();
    assert_eq!(engine.apps(10, None).unwrap().data, ["shop"]);
}

#[test]
fn a_hosts_own_file_is_joined_and_its_own_things_stay_as_they_are() {
    let disk = Disk::new();
    let raw = disk.raw();
    for statement in [
        "PRAGMA user_version = 41",
        "PRAGMA application_id = 1234567",
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, note TEXT)",
        "CREATE TABLE tillites (id INTEGER PRIMARY KEY)",
        "CREATE INDEX orders_note ON orders (note)",
        "INSERT INTO orders (note) VALUES ('first'), ('second')",
    ] {
        sql(&raw, statement);
    }
    let theirs = |raw: &Connection| {
        [
            "PRAGMA user_version",
            "PRAGMA application_id",
            "SELECT note FROM orders ORDER BY id",
            "SELECT sql FROM sqlite_schema WHERE tbl_name NOT LIKE 'tillite\\_%' ESCAPE '\\' ORDER BY name",
        ]
        .map(|statement| sql(raw, statement))
    };
    let before = theirs(&raw);
    let shop = disk.shop();
    sell(&shop, "u_1").unwrap();
    shop.clean();
    assert_eq!(theirs(&raw), before);
    assert_eq!(before[0], ["41"]);
    assert_eq!(before[3].len(), 3);
    assert!(sql(&raw, "SELECT count(*) FROM tillite_session") == ["1"]);
    // The neighbour goes on writing, and so do we.
    sql(&raw, "INSERT INTO orders (note) VALUES ('third')");
    sell(&shop, "u_2").unwrap();
    drop(shop);
    let again = disk.open();
    clean(&again);
    assert_eq!(sql(&raw, "SELECT count(*) FROM orders"), ["3"]);
}

/// Whether permissions mean nothing to this process.
fn is_superuser() -> bool {
    let dir = TempDir::new().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o500)).unwrap();
    fs::write(dir.path().join("probe"), "").is_ok()
}

#[test]
fn a_read_only_file_or_directory_is_refused_as_such() {
    fn check(name: &str, locked: fn(&Disk) -> PathBuf, by_mount: bool) {
        let disk = Disk::new();
        sell(&disk.shop(), "u_1").unwrap();
        let locked = locked(&disk);
        let open = fs::metadata(&locked).unwrap().permissions();
        let mounted = if by_mount {
            let mounted = Mounted::read_only(&locked);
            if mounted.is_none() {
                return skipped("a read-only file system: this process may not mount");
            }
            mounted
        } else {
            fs::set_permissions(&locked, fs::Permissions::from_mode(open.mode() & 0o555)).unwrap();
            None
        };
        let before = disk.contents();
        let error = disk.builder().open(disk.path()).unwrap_err();
        assert_eq!(kind(&error), StorageKind::ReadOnly, "{name}: {error}");
        assert_eq!(error.what_now(), WhatNow::AskOperator);
        if locked.is_dir() {
            let error = disk.builder().open(disk.dir.path().join("new.db")).unwrap_err();
            assert_eq!(kind(&error), StorageKind::ReadOnly, "{name}, a new file: {error}");
        }
        drop(mounted);
        fs::set_permissions(&locked, open).unwrap();
        // Bytes of the file itself; SQLite may have begun a log beside one on a read-only mount.
        assert!(disk.contents()[&disk.path()] == before[&disk.path()], "{name}");
        sell(&disk.shop(), "u_2").unwrap();
    }
    check("a file marked so", Disk::path, false);
    // To a superuser permissions mean nothing, a mount does.
    let superuser = is_superuser();
    check("a directory", |disk| disk.dir.path().to_owned(), superuser);
    if superuser {
        check("a file mounted so", Disk::path, true);
    }
}

#[test]
fn a_lock_held_by_somebody_else_is_waited_for_within_a_bound() {
    let disk = Disk::new();
    let shop = disk.shop();
    let session = shop
        .app
        .sessions()
        .create(NewSession::tier("member", Currency::EUR).customer("u_1"))
        .unwrap();
    drop(shop);
    let quick = || disk.builder().busy_wait(Duration::from_millis(20));
    let engine = quick().open(disk.path()).unwrap();
    let app = engine.find_app("lixblogs", Mode::Test).unwrap();
    let raw = disk.raw();
    sql(&raw, "BEGIN IMMEDIATE");
    let before = engine.dump().unwrap();
    let error = app.sessions().pay(&session.id, "tok_1").unwrap_err();
    assert_eq!(kind(&error), StorageKind::Busy, "{error}");
    assert_eq!(error.what_now(), WhatNow::RetryLater);
    assert!(says(&error, &["by this process or another"]), "{error}");
    assert_eq!(disk.till.requests().len(), 0, "the processor was called");
    // Reading and opening need no lock.
    assert_eq!(app.sessions().get(&session.id).unwrap().state, SessionState::Open);
    assert_eq!(
        quick().open(disk.path()).unwrap().apps(10, None).unwrap().data,
        ["lixblogs"]
    );
    assert_eq!(engine.dump().unwrap(), before);
    // A file that is to be joined has to be written, and says the same.
    let other = Disk::new();
    let neighbour = other.raw();
    sql(&neighbour, "CREATE TABLE orders (id INTEGER PRIMARY KEY)");
    sql(&neighbour, "BEGIN EXCLUSIVE");
    let error = other
        .builder()
        .busy_wait(Duration::from_millis(20))
        .open(other.path())
        .unwrap_err();
    assert_eq!(kind(&error), StorageKind::Busy, "{error}");
    sql(&neighbour, "ROLLBACK");
    assert_eq!(
        sql(
            &neighbour,
            "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'tillite%'"
        ),
        ["0"]
    );
    sql(&raw, "ROLLBACK");
    assert!(app.sessions().pay(&session.id, "tok_1").unwrap().is_complete());
    clean(&engine);
}

/// An engine that does not spend ten seconds on trying to settle on a disk that stays full.
#[cfg(feature = "testing")]
fn impatient(builder: Builder) -> Builder {
    builder.virtual_waiting()
}

#[cfg(not(feature = "testing"))]
fn impatient(builder: Builder) -> Builder {
    builder
}

#[test]
fn a_full_disk_stops_writes_keeps_reads_and_loses_nothing() {
    let disk = Disk::new();
    let Some(_mounted) = Mounted::memory(disk.dir.path(), 2_048) else {
        return skipped("a full disk: this process may not mount a small file system");
    };
    let shop = disk.shop_of(impatient(disk.builder()), Mode::Test);
    let ballast = disk.dir.path().join("ballast");
    fs::write(&ballast, vec![0; 512 * 1_024]).unwrap();
    let mut sold = Vec::new();
    let error = loop {
        let uid = format!("u_{}", sold.len());
        match sell(&shop, &uid) {
            Ok(()) => sold.push(uid),
            Err(error) => break error,
        }
        assert!(sold.len() < 1_000, "the disk was never full");
    };
    assert!(!sold.is_empty());
    // The commit ran out of room before it wrote what would have made it one.
    assert_eq!(kind(&error), StorageKind::DiskFull, "{error}");
    assert_eq!(error.what_now(), WhatNow::AskOperator);
    let all_there = || {
        for uid in &sold {
            assert!(shop.app.entitlements().get(uid).unwrap().active, "{uid}");
        }
    };
    all_there();
    shop.clean();
    assert!(sell(&shop, "u_later").is_err());
    all_there();
    fs::remove_file(&ballast).unwrap();
    // What hangs in the air of the sale that failed is settled by its lease and a look-up.
    shop.clock.turn(Duration::from_secs(3_600));
    shop.engine.run_due(Budget::items(100)).unwrap();
    sell(&shop, "u_later").unwrap();
    all_there();
    shop.clean();
    drop(shop);
    let engine = disk.open();
    let app = engine.find_app("lixblogs", Mode::Test).unwrap();
    for uid in &sold {
        assert!(app.entitlements().get(uid).unwrap().active, "{uid} after reopening");
    }
    clean(&engine);
}

/// What is found of a file and what stood beside it when its process was killed.
struct Wreck(Disk);

impl Wreck {
    /// The file as it is under a running process, with the log, copied.
    fn of(path: &Path) -> Wreck {
        let wreck = Wreck(Disk::new());
        for suffix in ["", "-wal", "-journal"] {
            let from = beside(path, suffix);
            if from.exists() {
                fs::copy(from, beside(&wreck.0.path(), suffix)).unwrap();
            }
        }
        wreck
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        beside(&self.0.path(), suffix)
    }

    /// Opens it and answers whose sales are in it. Every invariant holds, and it sells on.
    fn sold(self) -> Vec<&'static str> {
        let shop = self.0.shop();
        shop.clean();
        let active = |uid: &&str| shop.app.entitlements().get(uid).unwrap().active;
        let sold = ["u_1", "u_2", "u_3"].into_iter().filter(active).collect();
        sell(&shop, "u_4").unwrap();
        shop.clean();
        sold
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    PathBuf::from(path)
}

#[test]
fn whatever_becomes_of_the_log_beside_a_file_no_half_of_a_sale_is_found() {
    let disk = Disk::new();
    let shop = disk.shop();
    sell(&shop, "u_1").unwrap();
    shop.engine.clone().close().unwrap();
    sell(&shop, "u_2").unwrap();
    let second = fs::metadata(beside(&disk.path(), "-wal")).unwrap().len();
    sell(&shop, "u_3").unwrap();
    let wreck = || Wreck::of(&disk.path());
    assert_eq!(wreck().sold(), ["u_1", "u_2", "u_3"]);

    // Without its log it is as it was when that was last worked into it.
    let gone = wreck();
    fs::remove_file(gone.beside("-wal")).unwrap();
    assert_eq!(gone.sold(), ["u_1"]);
    let garbage = wreck();
    fs::write(garbage.beside("-wal"), "Dear diary, ".repeat(10_000)).unwrap();
    assert_eq!(garbage.sold(), ["u_1"]);
    let cut = wreck();
    let log = fs::OpenOptions::new().write(true).open(cut.beside("-wal")).unwrap();
    log.set_len(second).unwrap();
    assert_eq!(cut.sold(), ["u_1", "u_2"]);
    let damaged = wreck();
    let mut log = fs::read(damaged.beside("-wal")).unwrap();
    log[usize::try_from(second).unwrap() + 100] ^= 1;
    fs::write(damaged.beside("-wal"), log).unwrap();
    assert_eq!(damaged.sold(), ["u_1", "u_2"]);

    // What else is left beside a file is not believed.
    let stale = wreck();
    fs::write(stale.beside("-shm"), vec![0xA5; 65_536]).unwrap();
    assert_eq!(stale.sold(), ["u_1", "u_2", "u_3"]);
    let journal = wreck();
    fs::write(journal.beside("-journal"), vec![0xA5; 8_192]).unwrap();
    assert_eq!(journal.sold(), ["u_1", "u_2", "u_3"]);
    drop(shop);
}

#[test]
fn a_hosts_transaction_that_its_death_cut_short_is_undone_before_its_file_is_joined() {
    let disk = Disk::new();
    let host = disk.raw();
    sql(&host, "CREATE TABLE orders (id INTEGER PRIMARY KEY, note BLOB)");
    sql(&host, "INSERT INTO orders (note) VALUES (zeroblob(200000))");
    // So little room that it writes into the file before it commits.
    sql(&host, "PRAGMA cache_size = 1");
    sql(&host, "BEGIN IMMEDIATE");
    sql(&host, "UPDATE orders SET note = zeroblob(300000)");
    sql(&host, "INSERT INTO orders (note) VALUES (zeroblob(200000))");
    let wreck = Wreck::of(&disk.path());
    assert!(wreck.beside("-journal").exists(), "there is nothing to undo");
    let before = fs::read(wreck.0.path()).unwrap();
    let shop = wreck.0.shop();
    sell(&shop, "u_1").unwrap();
    shop.clean();
    assert_eq!(sql(&wreck.0.raw(), "SELECT length(note) FROM orders"), ["200000"]);
    assert!(before.len() > 200_000 && !wreck.beside("-journal").exists());
}

#[test]
fn a_file_that_was_taken_away_is_noticed_before_anything_is_written() {
    type Take = fn(&Disk);
    let cases: &[(&str, Take)] = &[
        ("deleted", |disk| fs::remove_file(disk.path()).unwrap()),
        ("renamed", |disk| {
            fs::rename(disk.path(), disk.dir.path().join("elsewhere.db")).unwrap();
        }),
        ("replaced", |disk| {
            let other = disk.dir.path().join("other");
            fs::write(&other, "another file").unwrap();
            fs::rename(&other, disk.path()).unwrap();
        }),
    ];
    for (name, take) in cases {
        let disk = Disk::new();
        let shop = disk.shop();
        sell(&shop, "u_1").unwrap();
        let requests = disk.till.requests().len();
        take(&disk);
        let before = disk.contents();
        let error = sell(&shop, "u_2").unwrap_err();
        assert_eq!(kind(&error), StorageKind::Moved, "{name}: {error}");
        assert_eq!(error.what_now(), WhatNow::AskOperator);
        assert_eq!(disk.till.requests().len(), requests, "{name}");
        assert!(disk.contents() == before, "{name}: something was written");
    }
}

#[test]
fn a_file_that_somebody_migrated_meanwhile_is_neither_written_nor_read() {
    let disk = Disk::new();
    let shop = disk.shop();
    sell(&shop, "u_1").unwrap();
    let session = shop
        .app
        .sessions()
        .create(NewSession::tier("member", Currency::EUR))
        .unwrap();
    let raw = disk.raw();
    let [opened] = <[String; 1]>::try_from(sql(&raw, "SELECT version FROM tillite_schema")).unwrap();
    let opened: i64 = opened.parse().unwrap();
    sql(&raw, "UPDATE tillite_schema SET version = version + 1");
    let rows = || sql(&raw, "SELECT count(*) || ':' || max(rowid) FROM tillite_event");
    let before = rows();
    let found = opened + 1;
    let moved = Error::SchemaMoved { found, opened };
    let (app, engine) = (&shop.app, &shop.engine);
    let refusals = [
        app.sessions().create(NewSession::empty()).err(),
        app.sessions().pay(&session.id, "tok").err(),
        app.sessions().expire(&session.id).err(),
        app.customers().set(NewCustomer::uid("u_9")).err(),
        app.advance(Duration::from_secs(1)).err(),
        app.set_public_url(None).err(),
        engine.app("another", Mode::Test).err(),
        app.sessions().get(&session.id).err(),
        app.entitlements().get("u_1").err(),
        app.events(10, 0).err(),
        engine.apps(10, None).err(),
        engine.run_due(Budget::items(1)).err(),
        engine.claim_deliveries(1).err(),
        engine.next_due().err(),
        engine.health().err(),
        engine.dump().err(),
        engine.backup(disk.dir.path().join("copy.db")).err(),
    ];
    for (at, refusal) in refusals.into_iter().enumerate() {
        assert_eq!(refusal, Some(moved.clone()), "{at}");
    }
    assert_eq!(moved.what_now(), WhatNow::AskOperator);
    assert_eq!(rows(), before);
    sql(&raw, "UPDATE tillite_schema SET version = version - 1");
    sell(&shop, "u_2").unwrap();
    shop.clean();
}

#[test]
fn a_file_is_opened_twice_in_one_process_and_again_later() {
    let disk = Disk::new();
    let one = disk.shop();
    let two = disk.shop();
    sell(&one, "u_1").unwrap();
    // Each sees what the other committed, as soon as it is committed.
    assert_eq!(two.app.entitlements().get("u_1").unwrap().version, 1);
    sell(&two, "u_1").unwrap();
    assert_eq!(one.app.entitlements().get("u_1").unwrap().version, 2);
    assert_eq!(one.engine.dump().unwrap(), two.engine.dump().unwrap());
    drop(one);
    sell(&two, "u_2").unwrap();
    two.clean();
    let before = two.engine.dump().unwrap();
    drop(two);
    for _ in 0..3 {
        let again = disk.open();
        assert_eq!(again.dump().unwrap(), before);
        assert_eq!(again.apps(10, None).unwrap().data, ["lixblogs"]);
        clean(&again);
    }
    assert_eq!(sql(&disk.raw(), "PRAGMA journal_mode"), ["wal"]);
}

#[test]
fn close_leaves_one_whole_file_behind() {
    let disk = Disk::new();
    let shop = disk.shop();
    sell(&shop, "u_1").unwrap();
    assert!(shop.engine.health().unwrap().wal_bytes > 0);
    let dump = shop.engine.dump().unwrap();
    shop.engine.clone().close().unwrap();
    // The file alone is the shop, already before the last clone is gone.
    assert_eq!(shop.engine.health().unwrap().wal_bytes, 0);
    let copy = disk.dir.path().join("copy.db");
    fs::copy(disk.path(), &copy).unwrap();
    assert_eq!(disk.builder().open(&copy).unwrap().dump().unwrap(), dump);
    sell(&shop, "u_2").unwrap();
    drop(shop);
    let left: Vec<PathBuf> = disk.contents().into_keys().collect();
    assert_eq!(left, [copy, disk.path()]);
}

#[test]
fn close_says_when_the_file_alone_is_not_whole() {
    let disk = Disk::new();
    let setup = disk.builder().busy_wait(Duration::from_millis(20));
    let engine = setup.open(disk.path()).unwrap();
    engine.app("one", Mode::Test).unwrap();
    let reader = disk.raw();
    sql(&reader, "BEGIN");
    sql(&reader, "SELECT slug FROM tillite_app");
    engine.app("two", Mode::Test).unwrap();
    let error = engine.clone().close().unwrap_err();
    assert_eq!(kind(&error), StorageKind::Busy, "{error}");
    assert!(engine.health().unwrap().wal_bytes > 0);
    sql(&reader, "ROLLBACK");
    engine.clone().close().unwrap();
    assert_eq!(engine.health().unwrap().wal_bytes, 0);
}

#[test]
fn a_reader_of_a_file_that_is_to_be_joined_is_waited_for_once() {
    // Its waits take no time, so they are counted: in a row, as SQLite makes them for one lock.
    let disk = tillite_simdisk::Disk::new(1);
    let (reader, writer) = (disk.open("shop.db").unwrap(), disk.open("shop.db").unwrap());
    sql(&reader, "CREATE TABLE orders (id INTEGER PRIMARY KEY)");
    sql(&reader, "BEGIN");
    sql(&reader, "SELECT * FROM orders");
    writer.busy_timeout(Duration::from_secs(5)).unwrap();
    let once = sleeps(&disk, || {
        writer.execute("BEGIN EXCLUSIVE", []).unwrap_err();
    });
    let waited = sleeps(&disk, || {
        let error = Engine::builder().open_on(&disk, "shop.db").unwrap_err();
        assert_eq!(kind(&error), StorageKind::Busy, "{error}");
    });
    assert!(once > 10 && waited == once, "{waited} for {once}");
    sql(&reader, "ROLLBACK");
    clean(&Engine::builder().open_on(&disk, "shop.db").unwrap());
}

#[test]
fn a_path_that_sqlite_would_read_otherwise_is_a_path() {
    // Names are relative to the directory of the test program, which all tests share.
    let unique = format!("tillite-{}", std::process::id());
    for name in [format!("file:{unique}.db"), format!("file:{unique}?mode=memory")] {
        let engine = Engine::builder().open(&name).unwrap();
        engine.app("shop", Mode::Test).unwrap();
        assert_eq!(
            Engine::builder().open(&name).unwrap().apps(10, None).unwrap().data,
            ["shop"]
        );
        engine.close().unwrap();
        let plain = Path::new(".").join(&name);
        let length = fs::metadata(&plain).unwrap().len();
        fs::remove_file(plain).unwrap();
        assert!(length > 0, "{name}");
        assert!(!Path::new(&format!("{unique}.db")).exists() && !Path::new(&unique).exists());
    }
}

#[test]
fn a_file_that_others_write_while_it_is_joined_is_waited_for() {
    let disk = Disk::new();
    sql(&disk.raw(), "CREATE TABLE orders (id INTEGER PRIMARY KEY)");
    let neighbour = disk.raw();
    let (writes, written) = std::sync::mpsc::channel();
    let (_joined, joins) = std::sync::mpsc::channel::<()>();
    let writer = std::thread::spawn(move || {
        sql(&neighbour, "BEGIN IMMEDIATE");
        sql(&neighbour, "INSERT INTO orders DEFAULT VALUES");
        writes.send(()).unwrap();
        let _ = joins.recv_timeout(Duration::from_millis(100));
        sql(&neighbour, "COMMIT");
    });
    written.recv().unwrap();
    let engine = disk.open();
    writer.join().unwrap();
    clean(&engine);
}

#[test]
fn an_engine_in_memory_is_a_world_of_its_own() {
    let (one, two) = (Shop::open(), Shop::open());
    sell(&one, "u_1").unwrap();
    assert!(one.app.entitlements().get("u_1").unwrap().active);
    assert!(!two.app.entitlements().get("u_1").unwrap().active);
    let clone = one.engine.clone();
    let other = clone.find_app("lixblogs", Mode::Test).unwrap();
    assert!(other.entitlements().get("u_1").unwrap().active);
    assert_eq!(one.engine.health().unwrap().wal_bytes, 0);
    clone.close().unwrap();
    one.clean();
}

/// The same story on every engine; answers every secret that it was shown.
fn story(shop: &Shop) -> Vec<String> {
    let endpoint = shop
        .app
        .endpoints()
        .add(NewEndpoint::new("https://shop.example/hook", Format::XPay))
        .unwrap();
    let standard = shop
        .app
        .endpoints()
        .add(NewEndpoint::new("https://shop.example/standard", Format::Standard))
        .unwrap();
    let key = shop.app.keys().create().unwrap();
    shop.app.keys().create().unwrap();
    shop.app.keys().revoke(&key.key.id).unwrap();
    for uid in ["u_1", "u_2"] {
        sell(shop, uid).unwrap();
        shop.clock.turn(Duration::from_secs(60));
    }
    shop.receiver
        .answer(tillite::TransportOutcome::Failed { why: "no".to_owned() });
    shop.till.answer(Outcome::Declined {
        code: "card_declined".to_owned(),
        message: "Card 4242 4242 4242 4242 was declined".to_owned(),
        advice: None,
    });
    let session = shop
        .app
        .sessions()
        .create(NewSession::tier("member", Currency::EUR).customer("u_3"))
        .unwrap();
    assert!(!shop.app.sessions().pay(&session.id, "tok").unwrap().is_complete());
    shop.engine.run_due(Budget::items(100)).unwrap();
    shop.app.advance(Duration::from_secs(40 * 86_400)).unwrap();
    shop.engine.run_due(Budget::items(100)).unwrap();
    shop.clean();
    let secrets = [&endpoint.secret, &standard.secret, &key.secret];
    secrets.map(|secret| secret.expose().to_owned()).to_vec()
}

#[test]
fn equal_stories_give_equal_dumps_and_no_secret_is_in_one() {
    let told = |seed| {
        let (clock, till, receiver) = (ManualClock::new(), Till::new(), Receiver::new());
        let engine = builder(&clock, &till, &receiver)
            .entropy(SeededEntropy::new(seed))
            .open_in_memory()
            .unwrap();
        let shop = Shop::with(engine, Mode::Test, clock, till, receiver);
        let secrets = story(&shop);
        (shop.engine.dump().unwrap(), secrets)
    };
    let (one, two, other) = (told(7), told(7), told(8));
    assert_ne!(one.1, two.1, "secrets never come from the seed");
    if let Some((left, right)) = one.0.lines().zip(two.0.lines()).find(|(left, right)| left != right) {
        panic!("the dumps differ:\n{left}\n{right}");
    }
    assert_eq!(one.0, two.0);
    assert_ne!(one.0, other.0);
    for secret in &one.1 {
        // Not even the part by which an API key is found.
        assert!(!one.0.contains(&secret[..16]), "{}", &secret[..16]);
    }
    assert!(one.0.contains("tillite_delivery_attempt"), "the story was told");
}

#[test]
fn no_secret_is_in_any_byte_of_the_file_or_of_what_is_printed() {
    let disk = Disk::new();
    let shop = disk.shop();
    let mut secrets: Vec<Vec<u8>> = story(&shop).into_iter().map(String::into_bytes).collect();
    let endpoint_text = |secret: &[u8]| secret.starts_with(b"whsec_");
    let decoded: Vec<Vec<u8>> = secrets
        .iter()
        .filter(|secret| endpoint_text(secret))
        .map(|secret| data_encoding::BASE64.decode(&secret[6..]).unwrap())
        .collect();
    assert_eq!(decoded.len(), 2);
    secrets.extend(decoded);
    secrets.push(SEAL_KEY.to_vec());
    // The processor put a card number into its words; the buyer's hand put one into a name.
    secrets.push(b"4242 4242 4242 4242".to_vec());
    secrets.push(b"4242424242424242".to_vec());
    let mut printed = Vec::new();
    let errors = [
        shop.app.customers().set(NewCustomer::uid("4242424242424242")).err(),
        shop.app.customers().by_uid("4242424242424242").err(),
        shop.app
            .sessions()
            .create(NewSession::empty().email("4242 4242 4242 4242@x.example"))
            .err(),
    ];
    for error in errors {
        let error = error.unwrap();
        printed.push(format!("{error} {error:?}"));
    }
    let added = shop
        .app
        .endpoints()
        .add(NewEndpoint::new("https://shop.example/more", Format::Standard));
    let key = shop.app.keys().create();
    printed.push(format!("{added:?} {key:?}"));
    secrets.push(added.unwrap().secret.expose().as_bytes().to_vec());
    secrets.push(key.unwrap().secret.expose().as_bytes().to_vec());
    sell(&shop, "u_9").unwrap();
    printed.push(format!("{:?} {:?} {:?}", shop.engine, shop.app, disk.builder()));
    printed.push(format!("{:?}", shop.engine.claim_deliveries(100).unwrap()));
    printed.push(format!("{:?}", shop.app.endpoints().list(100, None).unwrap()));
    printed.push(format!("{:?}", shop.app.keys().list(100, None).unwrap().data));
    printed.push(format!("{:?}", shop.app.events(100, 0).unwrap()));
    printed.push(format!("{:?}", shop.engine.health().unwrap()));
    for request in &shop.receiver.requests() {
        printed.push(String::from_utf8(request.body.clone()).unwrap());
    }
    printed.push(shop.engine.dump().unwrap());
    let mut haystacks: Vec<(String, Vec<u8>)> = printed
        .into_iter()
        .enumerate()
        .map(|(at, text)| (format!("print {at}"), text.into_bytes()))
        .collect();
    let files = disk.contents();
    assert_eq!(files.len(), 3, "the file, its log and its index");
    haystacks.extend(
        files
            .into_iter()
            .map(|(path, bytes)| (path.display().to_string(), bytes)),
    );
    drop(shop);
    haystacks.push(("the file at rest".to_owned(), fs::read(disk.path()).unwrap()));
    for (place, haystack) in &haystacks {
        for secret in &secrets {
            let found = haystack.windows(secret.len()).any(|window| window == secret);
            assert!(!found, "{place} holds {}", String::from_utf8_lossy(secret));
        }
    }
    // What should be there is there: the search does find things.
    let file = &haystacks[haystacks.len() - 1].1;
    assert!(file.windows(3).any(|window| window == b"u_9"));
}

#[test]
fn a_damaged_row_is_an_error_that_says_so() {
    let disk = Disk::new();
    let shop = disk.shop();
    sell(&shop, "u_1").unwrap();
    let customer = shop.app.customers().by_uid("u_1").unwrap();
    let raw = disk.raw();
    for damage in [
        "UPDATE tillite_customer SET name = CAST(x'ff' AS TEXT)",
        "UPDATE tillite_customer SET metadata = '{'",
        "UPDATE tillite_customer SET metadata = '[1]'",
        "UPDATE tillite_customer SET created_at = -1",
        "UPDATE tillite_customer SET created_at = 9223372036854775807",
    ] {
        sql(&raw, "BEGIN");
        sql(&raw, damage);
        sql(&raw, "COMMIT");
        let error = shop.app.customers().get(&customer.id).unwrap_err();
        assert_eq!(kind(&error), StorageKind::Corrupt, "{damage}: {error}");
        let error = shop
            .app
            .customers()
            .set(NewCustomer::uid("u_1").name("Ada"))
            .unwrap_err();
        assert_eq!(kind(&error), StorageKind::Corrupt, "{damage}: {error}");
        sql(
            &raw,
            &format!(
                "UPDATE tillite_customer SET name = NULL, metadata = '{{}}', created_at = {}",
                customer.created_at.as_millis()
            ),
        );
        assert_eq!(shop.app.customers().get(&customer.id).unwrap(), customer);
    }
}

#[test]
fn a_damaged_name_of_a_column_is_an_error_that_says_so() {
    let disk = Disk::new();
    let shop = disk.shop();
    sell(&shop, "u_1").unwrap();
    shop.engine.clone().close().unwrap();
    drop(shop);
    // A byte of the schema's text, in the name of a column that only a dump reads, is one that no text has.
    let mut file = fs::read(disk.path()).unwrap();
    let name = b"instance";
    let places = (0..file.len() - name.len()).filter(|at| file[*at..].starts_with(name));
    for at in places.collect::<Vec<_>>() {
        file[at + 4] = 0xff;
    }
    fs::write(disk.path(), file).unwrap();
    let dumped = disk.open().dump();
    assert_eq!(kind(&dumped.unwrap_err()), StorageKind::Corrupt);
}
