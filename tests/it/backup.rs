//! A copy of the whole file is made while others write: it has what was answered, it is whole, and
//! it gets its name only then.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use tillite::webhook::Format;
use tillite::{Begun, Engine, Error, Mode, SessionState, StorageKind, WhatNow};

use crate::file::{Disk, Mounted, kind, sell, skipped, sql};
use crate::kit::{Shop, clean, locked, verified};

/// The names of what is in a directory.
fn names(folder: &Path) -> BTreeSet<OsString> {
    let files = fs::read_dir(folder).unwrap();
    files.map(|file| file.unwrap().file_name()).collect()
}

fn folder() -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("copy.db");
    (folder, path)
}

/// A file with a bit of everything that waits: a delivery, a lost answer, an open session.
fn shop_with_things_pending(disk: &Disk) -> (Shop, tillite::Secret) {
    let shop = disk.shop();
    let secret = shop.endpoint(Format::Standard);
    sell(&shop, "u_1").unwrap();
    let lost = shop.session("u_2");
    let begun = shop.app.sessions().begin_payment(&lost.id, "tok_1").unwrap();
    assert!(matches!(begun, Begun::Ask(_)));
    shop.session("u_3");
    (shop, secret)
}

#[test]
fn a_copy_is_one_whole_file_with_everything_that_was_answered_and_goes_on_from_there() {
    let disk = Disk::new();
    let (shop, secret) = shop_with_things_pending(&disk);
    let (folder, path) = folder();
    let (dump, head) = (shop.engine.dump().unwrap(), shop.app.journal_head().unwrap());
    shop.engine.backup(&path).unwrap();
    assert_eq!(names(folder.path()), ["copy.db".into()].into());
    let meta = fs::metadata(&path).unwrap();
    assert_eq!(meta.permissions().mode() & 0o777, 0o600);
    // The shop itself is as it was, and goes on.
    assert_eq!(shop.engine.dump().unwrap(), dump);
    sell(&shop, "u_4").unwrap();
    shop.clean();

    let copy = disk.builder().open(&path).unwrap();
    assert_eq!(copy.dump().unwrap(), dump);
    let expect = tillite::Expect::nothing().journal_head(head);
    assert!(copy.verify(&expect).unwrap().is_clean());
    let (clock, till, receiver) = (disk.clock.clone(), disk.till.clone(), disk.receiver.clone());
    let copy = Shop::with(copy, Mode::Test, clock, till, receiver);
    assert!(!copy.app.entitlements().get("u_4").unwrap().active);
    // What waited in the file waits in the copy: the deliveries, signed with the secret that only the
    // sealing key opens, and the lost answer.
    assert!(copy.run().delivered > 5);
    let received = copy.receiver.requests();
    assert!(
        received
            .iter()
            .all(|request| verified(Format::Standard, &secret, request, request.signed_at))
    );
    // Its lease ends, and then it is found nowhere.
    for _ in 0..2 {
        copy.clock.turn(Duration::from_secs(3_600));
        copy.run();
    }
    let open = copy.app.sessions().list(10, None).unwrap().data;
    assert!(
        open.iter().all(|session| session.state != SessionState::Processing),
        "{open:?}"
    );
    sell(&copy, "u_5").unwrap();
    copy.clean();
}

#[test]
fn a_copy_has_no_secret_that_can_be_read_without_the_key() {
    let disk = Disk::new();
    let (shop, secret) = shop_with_things_pending(&disk);
    let key = shop.app.keys().create().unwrap().secret;
    let (_folder, path) = folder();
    shop.engine.backup(&path).unwrap();
    let bytes = fs::read(&path).unwrap();
    for secret in [secret.expose(), key.expose()] {
        assert!(!bytes.windows(secret.len()).any(|part| part == secret.as_bytes()));
    }
    let copy = disk.builder().seal_key([7; 32]).open(&path).unwrap();
    assert_eq!(copy.health().unwrap().sealed_endpoints, 1);
}

#[test]
fn copies_that_are_made_while_others_write_have_all_that_was_answered_before() {
    let disk = Disk::new();
    let shop = disk.shop();
    // Something to copy that takes longer than a sale.
    let raw = disk.raw();
    sql(&raw, "CREATE TABLE orders (text BLOB)");
    sql(
        &raw,
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000) \
         INSERT INTO orders SELECT randomblob(8000) FROM n",
    );
    let sold: Arc<Mutex<Vec<String>>> = Arc::default();
    let stop = Arc::new(AtomicBool::new(false));
    // One sells through the same engine, one through another on the same file.
    let sellers: Vec<_> = [("a", disk.open()), ("b", shop.engine.clone())]
        .into_iter()
        .map(|(seller, engine)| {
            let (sold, stop) = (Arc::clone(&sold), Arc::clone(&stop));
            let (clock, till, receiver) = (disk.clock.clone(), disk.till.clone(), disk.receiver.clone());
            let shop = Shop::with(engine, Mode::Test, clock, till, receiver);
            std::thread::spawn(move || {
                for sale in 0.. {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    let uid = format!("u_{seller}_{sale}");
                    sell(&shop, &uid).unwrap();
                    locked(&sold).push(uid);
                }
            })
        })
        .collect();
    let (folder, _) = folder();
    let mut overtaken = 0;
    for number in 0..200 {
        let path = folder.path().join(format!("{number}.db"));
        let before = locked(&sold).clone();
        shop.engine.backup(&path).unwrap();
        let sold_meanwhile = locked(&sold).len() - before.len();
        overtaken += usize::from(sold_meanwhile > 0);
        let copy = disk.builder().open(&path).unwrap();
        clean(&copy);
        let app = copy.find_app("lixblogs", Mode::Test).unwrap();
        for uid in &before {
            assert!(
                app.entitlements().get(uid).unwrap().active,
                "{uid} is not in copy {number}"
            );
        }
        drop((app, copy));
        fs::remove_file(&path).unwrap();
        if number >= 2 && overtaken >= 2 {
            break;
        }
    }
    stop.store(true, Ordering::SeqCst);
    for seller in sellers {
        seller.join().unwrap();
    }
    assert!(overtaken >= 2, "no sale was made while a copy was");
    shop.clean();
}

#[test]
fn a_path_at_which_something_is_is_refused_and_what_is_there_stays() {
    let disk = Disk::new();
    let shop = disk.shop();
    sell(&shop, "u_1").unwrap();
    let (folder, _) = folder();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("text"), "Dear diary").unwrap();
    fs::write(at("empty"), "").unwrap();
    fs::create_dir(at("directory")).unwrap();
    std::os::unix::fs::symlink(at("nowhere"), at("link")).unwrap();
    shop.engine.backup(at("copy.db")).unwrap();
    let before = names(folder.path());
    for path in [
        at("text"),
        at("empty"),
        at("directory"),
        at("link"),
        at("copy.db"),
        disk.path(),
    ] {
        let error = shop.engine.backup(&path).unwrap_err();
        assert_eq!(error.field(), Some("path"), "{error}");
        assert!(error.to_string().contains("nothing is"), "{error}");
        assert_eq!(error.what_now(), WhatNow::FixInput);
    }
    assert_eq!(names(folder.path()), before);
    assert_eq!(fs::read(at("text")).unwrap(), b"Dear diary");
    assert_eq!(fs::read(at("empty")).unwrap(), b"");
    clean(&disk.builder().open(at("copy.db")).unwrap());
    shop.clean();
}

#[test]
fn a_path_beside_which_another_file_has_left_its_log_is_refused() {
    let disk = Disk::new();
    let shop = disk.shop();
    sell(&shop, "u_1").unwrap();
    for part in ["-wal", "-shm", "-journal"] {
        let (folder, path) = folder();
        let mut left = path.clone().into_os_string();
        left.push(part);
        fs::write(&left, "of another file").unwrap();
        let error = shop.engine.backup(&path).unwrap_err();
        assert_eq!(error.field(), Some("path"), "{error}");
        assert!(error.to_string().contains(part), "{error}");
        assert_eq!(names(folder.path()).len(), 1);
        fs::remove_file(&left).unwrap();
        shop.engine.backup(&path).unwrap();
    }
}

#[test]
fn a_path_that_cannot_hold_a_copy_is_refused_and_nothing_is_made() {
    let disk = Disk::new();
    let shop = disk.shop();
    let (folder, _) = folder();
    let with_nul = folder.path().join(OsStr::from_bytes(b"a\0b"));
    for path in [folder.path().join("missing/copy.db"), with_nul] {
        let error = shop.engine.backup(&path).unwrap_err();
        assert_eq!(kind(&error), StorageKind::CantOpen, "{error}");
    }
    for path in [PathBuf::new(), folder.path().join(".."), PathBuf::from("/")] {
        let error = shop.engine.backup(&path).unwrap_err();
        assert_eq!(error.field(), Some("path"), "{error}");
    }
    let closed = folder.path().join("closed");
    fs::create_dir(&closed).unwrap();
    match Mounted::read_only(&closed) {
        Some(_mounted) => {
            let error = shop.engine.backup(closed.join("copy.db")).unwrap_err();
            assert_eq!(kind(&error), StorageKind::ReadOnly, "{error}");
        }
        None => skipped("a directory that is read-only: this process may not mount"),
    }
    assert_eq!(names(&closed).len(), 0);
    assert_eq!(names(folder.path()), ["closed".into()].into());
}

#[test]
fn a_disk_that_is_full_leaves_no_copy_and_the_shop_open() {
    let disk = Disk::new();
    let shop = disk.shop();
    sell(&shop, "u_1").unwrap();
    let (folder, path) = folder();
    let Some(_mounted) = Mounted::memory(folder.path(), 128) else {
        return skipped("a full disk: this process may not mount a small file system");
    };
    let error = shop.engine.backup(&path).unwrap_err();
    assert_eq!(kind(&error), StorageKind::DiskFull, "{error}");
    assert_eq!(names(folder.path()).len(), 0);
    sell(&shop, "u_2").unwrap();
    shop.clean();
}

#[test]
fn an_engine_in_memory_is_copied_to_a_file_like_any_other() {
    let shop = Shop::open();
    sell(&shop, "u_1").unwrap();
    let (folder, path) = folder();
    shop.engine.backup(&path).unwrap();
    let dump = shop.engine.dump().unwrap();
    sell(&shop, "u_2").unwrap();
    shop.clean();
    let copy = Engine::builder().clock(shop.clock.clone()).open(&path).unwrap();
    assert_eq!(copy.dump().unwrap(), dump);
    clean(&copy);
    assert!(shop.engine.backup(&path).is_err());
    drop(copy);
    assert_eq!(names(folder.path()), ["copy.db".into()].into());
}

#[test]
fn a_copy_of_a_copy_is_the_same_again() {
    let disk = Disk::new();
    let (shop, _) = shop_with_things_pending(&disk);
    let dump = shop.engine.dump().unwrap();
    let (folder, mut path) = folder();
    shop.engine.backup(&path).unwrap();
    for number in 0..3 {
        let copy = disk.builder().open(&path).unwrap();
        assert_eq!(copy.dump().unwrap(), dump);
        path = folder.path().join(format!("{number}.db"));
        copy.backup(&path).unwrap();
    }
    let last = disk.builder().open(&path).unwrap();
    assert_eq!(last.dump().unwrap(), dump);
    clean(&last);
}

#[test]
fn a_hosts_own_tables_and_marks_come_along() {
    let disk = Disk::new();
    let raw = disk.raw();
    sql(&raw, "CREATE TABLE orders (id INTEGER PRIMARY KEY, text TEXT)");
    sql(&raw, "INSERT INTO orders VALUES (7, 'a book')");
    sql(&raw, "PRAGMA user_version = 42");
    sql(&raw, "PRAGMA application_id = 4711");
    let shop = disk.shop();
    let (_folder, path) = folder();
    shop.engine.backup(&path).unwrap();
    let copy = rusqlite::Connection::open(&path).unwrap();
    assert_eq!(sql(&copy, "SELECT id || text FROM orders"), ["7a book"]);
    assert_eq!(sql(&copy, "PRAGMA user_version"), ["42"]);
    assert_eq!(sql(&copy, "PRAGMA application_id"), ["4711"]);
}

#[test]
fn what_was_deleted_is_not_in_a_copy() {
    let disk = Disk::new();
    let raw = disk.raw();
    sql(&raw, "PRAGMA secure_delete = OFF");
    sql(&raw, "CREATE TABLE notes (text TEXT)");
    sql(&raw, "INSERT INTO notes VALUES ('canary' || hex(zeroblob(4000)))");
    let shop = disk.shop();
    sql(&raw, "DELETE FROM notes");
    shop.engine.clone().close().unwrap();
    let has_canary = |path: &Path| fs::read(path).unwrap().windows(6).any(|part| part == b"canary");
    assert!(has_canary(&disk.path()), "the test shows nothing");
    let (_folder, path) = folder();
    shop.engine.backup(&path).unwrap();
    assert!(!has_canary(&path));
}

#[test]
fn any_name_that_the_system_allows_can_be_a_copys() {
    let disk = Disk::new();
    let shop = disk.shop();
    let dump = shop.engine.dump().unwrap();
    let (folder, _) = folder();
    let strange = [
        &b"a 'quoted' name; -- "[..],
        b"caf\xc3\xa9.db",
        b"\xff\xfe.db",
        b"?mode=memory",
    ];
    for name in strange {
        let path = folder.path().join(OsStr::from_bytes(name));
        shop.engine.backup(&path).unwrap();
        assert_eq!(disk.builder().open(&path).unwrap().dump().unwrap(), dump);
    }
    let wanted: BTreeSet<OsString> = strange.iter().map(|name| OsStr::from_bytes(name).to_owned()).collect();
    assert_eq!(names(folder.path()), wanted);
    // Names that SQLite reads otherwise, relative to the directory of the test program.
    let relative = format!("file:tillite-copy-{}?mode=memory", std::process::id());
    shop.engine.backup(&relative).unwrap();
    let plain = Path::new(".").join(&relative);
    let length = fs::metadata(&plain).map_or(0, |meta| meta.len());
    fs::remove_file(plain).unwrap();
    assert!(length > 0);
}

#[test]
fn a_file_that_was_taken_away_is_not_copied_and_nor_is_what_took_its_place() {
    let disk = Disk::new();
    let shop = disk.shop();
    let other = Disk::new();
    drop(other.shop());
    let away = disk.path().with_extension("away");
    fs::rename(disk.path(), &away).unwrap();
    let (folder, path) = folder();
    let is_refused = || {
        let error = shop.engine.backup(&path).unwrap_err();
        assert_eq!(kind(&error), StorageKind::Moved, "{error}");
        assert_eq!(names(folder.path()).len(), 0);
    };
    is_refused();
    fs::rename(other.path(), disk.path()).unwrap();
    is_refused();
}

#[test]
fn a_file_that_somebody_migrated_meanwhile_is_not_copied() {
    let disk = Disk::new();
    let shop = disk.shop();
    sql(&disk.raw(), "UPDATE tillite_schema SET version = 99");
    let (folder, path) = folder();
    let error = shop.engine.backup(&path).unwrap_err();
    assert!(matches!(error, Error::SchemaMoved { found: 99, .. }), "{error}");
    assert_eq!(names(folder.path()).len(), 0);
}

#[test]
fn a_restored_copy_asks_for_the_same_attempt_under_the_same_key() {
    let disk = Disk::new();
    let shop = disk.shop();
    let session = shop.session("u_1");
    let (_folder, path) = folder();
    shop.engine.backup(&path).unwrap();
    // Paid after the copy was made, and paid again in the copy: a payment service that recognises
    // keys takes the money once.
    assert!(shop.pay(&session).unwrap().is_complete());
    drop(shop);
    let copy = disk.builder().open(&path).unwrap();
    let app = copy.find_app("lixblogs", Mode::Test).unwrap();
    assert_eq!(app.sessions().get(&session.id).unwrap().state, SessionState::Open);
    assert!(app.sessions().pay(&session.id, "tok_1").unwrap().is_complete());
    assert_eq!((disk.till.charges().len(), disk.till.requests().len()), (1, 2));
    clean(&copy);
}
