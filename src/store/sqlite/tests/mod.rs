mod group;
#[cfg(feature = "testing")]
mod kept_log;

use std::path::PathBuf;

use super::statement::run_text;
use super::*;
use crate::samples::at;
use crate::store::head::SCHEMA;
use crate::store::{ByHand, Store, Value};

/// The statements that make a file's schema, as SQLite keeps them, by name and with single blanks.
fn schema(store: &Store) -> String {
    let query = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name";
    let mut text = String::new();
    store
        .read(|sql| {
            sql.each(query, &[], &mut |row| {
                for line in row.text(0)?.lines() {
                    let indent = if line.starts_with(' ') { "    " } else { "" };
                    let words: Vec<&str> = line.split_whitespace().collect();
                    text.extend([indent, &words.join(" "), "\n"]);
                }
                text.insert(text.len() - 1, ';');
                Ok(())
            })
        })
        .unwrap();
    text
}

fn open(place: Place, second: i64) -> Result<Sqlite> {
    Sqlite::open(place, at(second), Arc::new(ByHand::default()))
}

fn memory() -> Store {
    Store::new(open(MEMORY, 0).unwrap())
}

/// `TILLITE_BLESS=1` writes the file anew. What it holds is what the migrations of a published
/// version made; a change here without a new migration breaks files that are out there.
#[test]
fn the_migrations_end_in_the_schema_that_is_kept() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("schema/current.sql");
    let made = schema(&memory());
    if std::env::var_os("TILLITE_BLESS").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap_or_default(), made);
}

#[test]
fn a_file_has_the_same_schema_as_memory_and_opening_it_again_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.db");
    let place = || Place::file(&path);
    let first = Store::new(open(place(), 0).unwrap());
    let second = Store::new(open(place(), 99).unwrap());
    assert_eq!(schema(&first), schema(&memory()));
    let dumped = |store: &Store| store.read(crate::store::dump::dump).unwrap();
    assert_eq!(dumped(&first), dumped(&second));
    assert_eq!(dumped(&first), dumped(&memory()));
}

#[test]
fn tables_that_are_not_ours_are_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.db");
    let foreign = "CREATE TABLE tillite_session (x)";
    {
        let connection = Connection::open(&path).unwrap();
        run(&connection, foreign).unwrap();
    }
    let before = std::fs::read(&path).unwrap();
    let error = open(Place::file(&path), 0).err().unwrap();
    assert_eq!(error.code(), "storage_corrupt");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn a_hosts_own_table_stays_beside_ours() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("host.db");
    {
        let connection = Connection::open(&path).unwrap();
        run(&connection, "CREATE TABLE orders (id)").unwrap();
        run(&connection, "PRAGMA user_version = 7").unwrap();
    }
    drop(open(Place::file(&path), 0).unwrap());
    let connection = Connection::open(&path).unwrap();
    assert_eq!(
        run_text(&connection, "PRAGMA user_version").unwrap().as_deref(),
        Some("7")
    );
    assert_eq!(
        run_text(&connection, "SELECT count(*) FROM orders").unwrap().as_deref(),
        Some("0")
    );
}

#[test]
fn a_file_of_a_newer_version_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("newer.db");
    let raise = "UPDATE tillite_schema SET version = $1";
    let store = Store::new(open(Place::file(&path), 0).unwrap());
    store
        .write_raw(Access::Shared, move |sql| sql.exec(raise, &[Value::Int(SCHEMA + 1)]))
        .unwrap();
    let error = open(Place::file(&path), 0).err().unwrap();
    let (found, known) = (SCHEMA + 1, SCHEMA);
    assert_eq!(error, Error::NewerSchema { found, known });
    let moved = Error::SchemaMoved { found, opened: known };
    let again = store.write_raw(Access::Shared, move |sql| sql.exec(raise, &[Value::Int(SCHEMA)]));
    assert_eq!(again, Err(moved.clone()));
    assert_eq!(store.read(|_| Ok(())), Err(moved));
}

#[test]
fn columns_are_read_as_what_they_are_or_not_at_all() {
    let read = |column: &str| {
        let query = format!("SELECT {column}");
        let mut kinds = None;
        memory()
            .read(|sql| {
                sql.each(&query, &[], &mut |row| {
                    kinds = Some([
                        row.maybe_int(0).is_ok(),
                        row.maybe_text(0).is_ok(),
                        row.maybe_bytes(0).is_ok(),
                    ]);
                    Ok(())
                })
            })
            .unwrap();
        kinds.unwrap()
    };
    for (column, kinds) in [
        ("null", [true, true, true]),
        ("1", [true, false, false]),
        ("'a'", [false, true, false]),
        ("x'00'", [false, false, true]),
        ("1.5", [false, false, false]),
        ("cast(x'ff' AS TEXT)", [false, false, false]),
    ] {
        assert_eq!(read(column), kinds, "{column}");
    }
}

#[test]
fn a_checkpoint_that_a_reader_holds_up_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.db");
    let place = Place::file(&path).waiting(Duration::from_millis(20));
    let store = Store::new(open(place, 0).unwrap());
    let write = |slug: &'static str| {
        store
            .write_raw(Access::Shared, move |sql| crate::store::app::ensure(sql, slug, at(0)))
            .unwrap()
    };
    let held_up = store.read(|_| {
        write("shop");
        store.backend().checkpoint()
    });
    assert!(
        matches!(&held_up, Err(Error::Storage(error)) if error.kind == StorageKind::Busy),
        "{held_up:?}"
    );
    store.backend().checkpoint().unwrap();
    assert_eq!(store.backend().wal_bytes(), 0);
    // A reader of the newest state keeps the log from being cut, but nothing is in it alone.
    write("other");
    store.read(|_| store.backend().checkpoint()).unwrap();
    assert_ne!(store.backend().wal_bytes(), 0);
}

#[test]
fn no_wait_is_too_long_to_be_counted() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::file(&folder.path().join("shop.db")).waiting(Duration::MAX);
    open(place, 0).unwrap();
}

#[test]
fn a_file_that_took_the_place_of_the_opened_one_is_not_read_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.db");
    let opened = Store::new(open(Place::file(&path), 0).unwrap());
    let other = folder.path().join("other.db");
    open(Place::file(&other), 0).unwrap();
    std::fs::rename(&other, &path).unwrap();
    let read = opened.read(crate::store::app::worlds);
    assert!(
        matches!(&read, Err(Error::Storage(error)) if error.kind == StorageKind::Moved),
        "{read:?}"
    );
}

#[test]
fn whoever_reads_on_hears_within_a_second_that_the_file_was_taken_away() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.db");
    let pace = Arc::new(ByHand::default());
    let sqlite = Sqlite::open(Place::file(&path), at(0), Arc::clone(&pace) as Arc<dyn Pace>).unwrap();
    let store = Store::new(sqlite);
    store.read(crate::store::app::worlds).unwrap();
    std::fs::rename(&path, folder.path().join("away.db")).unwrap();
    for _ in 0..3 {
        pace.turn(Duration::from_secs(1));
        let read = store.read(crate::store::app::worlds);
        assert!(
            matches!(&read, Err(Error::Storage(error)) if error.kind == StorageKind::Moved),
            "{read:?}"
        );
    }
    std::fs::rename(folder.path().join("away.db"), &path).unwrap();
    store.read(crate::store::app::worlds).unwrap();
}

#[test]
fn a_log_that_readers_never_leave_is_emptied_when_it_is_too_long() {
    const BOUND: u64 = 512 << 10;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.db");
    let sqlite = open(Place::file(&path), 0).unwrap();
    sqlite.writer().log.longest = BOUND;
    let store = Store::new(sqlite);
    let fill = "INSERT INTO tillite_app (slug, created_at) VALUES (hex(randomblob(8192)), 0)";
    let (started, wait) = std::sync::mpsc::channel();
    let done = std::sync::atomic::AtomicBool::new(false);
    let longest = std::thread::scope(|scope| {
        let (done, path) = (&done, &path);
        scope.spawn(move || {
            // Two readers take turns so that at each moment one of them has the log open.
            let connections = [(); 2].map(|()| Connection::open(path).unwrap());
            for reader in connections.iter().cycle() {
                run(reader, "BEGIN").unwrap();
                run(reader, "SELECT count(*) FROM tillite_app").unwrap();
                let other = connections.iter().find(|other| !std::ptr::eq(*other, reader)).unwrap();
                if !other.is_autocommit() {
                    run(other, "ROLLBACK").unwrap();
                }
                let _ = started.send(());
                if done.load(std::sync::atomic::Ordering::Relaxed) {
                    return;
                }
            }
        });
        wait.recv().unwrap();
        let mut longest = 0;
        for _ in 0..400 {
            store.write_raw(Access::Shared, move |sql| sql.exec(fill, &[])).unwrap();
            longest = store.backend().wal_bytes().max(longest);
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        longest
    });
    // Without the bound it is twenty million bytes.
    assert!(longest < 8 * BOUND, "{longest}");
}

#[test]
fn a_commit_of_another_process_is_noticed_also_if_a_reader_was_quicker() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.db");
    let [ours, theirs] = [(); 2].map(|()| Store::new(open(Place::file(&path), 0).unwrap()));
    let noticed = || ours.backend().commits_seen().unwrap();
    let write = |slug: &'static str| {
        theirs
            .write_raw(Access::Shared, move |sql| crate::store::app::ensure(sql, slug, at(0)))
            .unwrap()
    };
    let first = noticed();
    assert_eq!(noticed(), first, "nothing happened");
    write("shop");
    let second = noticed();
    assert_ne!(second, first);
    write("other");
    ours.read(|_| Ok(())).unwrap();
    assert_ne!(noticed(), second);
}
