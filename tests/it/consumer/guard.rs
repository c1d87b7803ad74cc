//! What a consumer's statements may do, and what is refused.

use std::sync::{Arc, Mutex};

use tillite::{
    Budget, Consumer, ConsumerError, Engine, Error, Event, HostTx, HostValue, Mode, NewCustomer, StorageKind, Work,
};

use crate::file::sql;
use crate::kit::{ManualClock, SEAL_KEY, SeededEntropy, clean, locked};

const OUR_TABLES: &str = "CREATE TABLE mine (id INTEGER PRIMARY KEY, what TEXT);
    CREATE TABLE watched (id INTEGER);
    CREATE VIRTUAL TABLE texts USING fts5 (word);
    CREATE TRIGGER reaches_over AFTER INSERT ON watched BEGIN UPDATE tillite_head SET seq = 0; END;
    CREATE VIEW peek AS SELECT sealed FROM tillite_endpoint_secret;
    CREATE VIEW over_heads AS SELECT app, seq FROM tillite_head;
    CREATE TRIGGER through AFTER DELETE ON mine BEGIN INSERT INTO tillite_app VALUES (9, 'x', NULL, 0, 'x'); END;
    INSERT INTO mine VALUES (1, 'kept');";

/// Opens a file with tables of the host's, an endpoint and a key, has a consumer run once, and answers the
/// engine.
fn with_consumer(path: &std::path::Path, tables: &str, consumer: impl Consumer + 'static) -> Engine {
    let open = |seed| {
        Engine::builder()
            .clock(ManualClock::new())
            .entropy(SeededEntropy::new(seed))
            .seal_key(SEAL_KEY)
    };
    let engine = open(7).open(path).unwrap();
    let app = engine.app("a", Mode::Test).unwrap();
    let endpoint = tillite::webhook::NewEndpoint::new("https://shop.example/hooks", tillite::webhook::Format::Standard);
    app.endpoints().add(endpoint).unwrap();
    app.keys().create().unwrap();
    app.customers().set(NewCustomer::uid("u_1")).unwrap();
    drop((app, engine));
    let file = rusqlite::Connection::open(path).unwrap();
    for statement in tables.lines() {
        sql(&file, statement);
    }
    drop(file);
    open(8)
        .consumer_of(
            "c",
            tillite::Follow::only([tillite::EventKind::CustomerCreated]),
            consumer,
        )
        .open(path)
        .unwrap()
}

fn run(engine: &Engine) -> tillite::Result<usize> {
    Ok(engine.run_due(Budget::items(100).work(Work::CONSUMERS))?.consumed)
}

/// What each statement was answered; the consumer itself succeeds.
fn answers(tables: &str, statements: &'static [&'static str]) -> (Vec<Result<u64, Error>>, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.db");
    let heard: Arc<Mutex<Vec<Result<u64, Error>>>> = Arc::default();
    let told = Arc::clone(&heard);
    let engine = with_consumer(
        &path,
        tables,
        move |tx: &mut HostTx<'_>, _: &Event| -> Result<(), ConsumerError> {
            for sql in statements {
                let answer = tx.execute(sql, &[]);
                // A question is answered by `query`, which meets the same guard.
                let answer = match answer {
                    Err(Error::Statement { why }) if why.contains("run it with query") => {
                        tx.query(sql, &[], |_| Ok(())).map(|rows| rows.len() as u64)
                    }
                    answer => answer,
                };
                locked(&told).push(answer);
            }
            Ok(())
        },
    );
    let before = tables_of(&path);
    let events = engine.dump().unwrap();
    assert_eq!(run(&engine).unwrap(), 1);
    clean(&engine);
    let [a, b] = [&events, &engine.dump().unwrap()].map(|dump| {
        let others = dump.lines().filter(|line| !line.starts_with("tillite_consumer"));
        others.collect::<Vec<_>>().join("\n")
    });
    assert_eq!(a, b, "nothing of the engine's was touched");
    let heard = locked(&heard).clone();
    (heard, before, tables_of(&path))
}

/// The whole schema and every row of the host's.
fn tables_of(path: &std::path::Path) -> String {
    let schema = "SELECT coalesce(sql, name) FROM sqlite_schema ORDER BY name";
    [texts(path, schema), rows_of(path)].concat().join("\n")
}

/// Every row of the host's.
fn rows_of(path: &std::path::Path) -> Vec<String> {
    texts(path, "SELECT id || what FROM mine")
}

fn texts(path: &std::path::Path, sql: &str) -> Vec<String> {
    let file = rusqlite::Connection::open(path).unwrap();
    let mut rows = file.prepare(sql).unwrap();
    let found = rows.query_map((), |row| row.get(0)).unwrap();
    found.collect::<Result<_, _>>().unwrap()
}

const FORBIDDEN: &[&str] = &[
    "INSERT INTO tillite_app VALUES (9, 'x', NULL, 0, 'x')",
    "INSERT INTO main.\"tillite_app\" VALUES (9, 'x', NULL, 0, 'x')",
    "insert into TILLITE_APP values (9, 'x', NULL, 0, 'x')",
    "REPLACE INTO tillite_app (app) VALUES (1)",
    "UPDATE tillite_head SET seq = 0",
    "UPDATE Tillite_Consumer SET position = 0",
    "DELETE FROM tillite_event",
    "WITH x AS (SELECT 1) DELETE FROM tillite_event",
    "INSERT INTO mine (id) SELECT 1 WHERE 1 ON CONFLICT DO UPDATE SET what = (SELECT hash FROM tillite_api_key)",
    "INSERT INTO tillite_schema VALUES (1, 1) ON CONFLICT DO UPDATE SET version = 9",
    "DELETE FROM tillite_event RETURNING seq",
    // Through something of the host's own.
    "INSERT INTO watched VALUES (1)",
    "DELETE FROM mine",
    "SELECT * FROM peek",
    // Making, changing and dropping.
    "CREATE TABLE tillite_mine (id INTEGER)",
    "CREATE TABLE Tillite_Mine AS SELECT 1",
    "DROP TABLE tillite_event",
    "ALTER TABLE tillite_event ADD COLUMN mine TEXT",
    "ALTER TABLE tillite_event RENAME TO mine2",
    "ALTER TABLE tillite_event RENAME COLUMN id TO other",
    "ALTER TABLE mine RENAME TO tillite_mine",
    "ALTER TABLE mine RENAME TO \"Tillite_mine\"",
    // The tables that are behind one for full text are called as it is and a word more.
    "ALTER TABLE texts RENAME TO tillite",
    "ALTER TABLE texts RENAME TO [Tillite]",
    "ALTER TABLE texts RENAME TO tillite/**/",
    "CREATE INDEX mine_too ON tillite_event (created_at)",
    "CREATE INDEX tillite_index ON mine (what)",
    "DROP INDEX tillite_delivery_due",
    "CREATE VIEW tillite_view AS SELECT 1",
    "CREATE TRIGGER mine_too AFTER INSERT ON tillite_event BEGIN SELECT 1; END",
    "CREATE TRIGGER tillite_trigger AFTER INSERT ON mine BEGIN SELECT 1; END",
    "CREATE VIRTUAL TABLE tillite_text USING fts5 (words)",
    "CREATE VIRTUAL TABLE tillite USING fts5 (words)",
    "CREATE VIRTUAL TABLE IF NOT EXISTS \"Tillite\" USING fts5 (words)",
    "REINDEX tillite_event",
    "REINDEX",
    "ANALYZE tillite_event",
    "ANALYZE",
    // What would hold up the engine's own writes, or run within them.
    "CREATE TABLE mails (event TEXT REFERENCES tillite_event(id) DEFERRABLE INITIALLY DEFERRED)",
    "CREATE TABLE main.mails (event TEXT references\n/* the engine's */ \"Tillite_Event\" (id))",
    "CREATE TABLE IF NOT EXISTS mails (event TEXT REFERENCES -- the log\n [TILLITE_event])",
    "CREATE TABLE mails (event TEXT REFERENCES`tillite_event`)",
    "CREATE TABLE mails (event TEXT CONSTRAINT why REFERENCES 'tillite_event')",
    "CREATE TABLE mails (event TEXT \u{feff}REFERENCES tillite_event)",
    "CREATE TABLE invoices (app, mode, charge, \
     FOREIGN KEY (app, mode, charge) REFERENCES tillite_charge (app, mode, id) ON DELETE CASCADE)",
    "CREATE TABLE mails (id INTEGER PRIMARY KEY REFERENCES mine (id), delivery TEXT REFERENCES tillite_delivery) WITHOUT ROWID",
    "CREATE TABLE mails (event TEXT REFERENCES tillite_later)",
    "CREATE TABLE mails (id INTEGER PRIMARY KEY, event TEXT REFERENCES tillite_event) STRICT",
    "ALTER TABLE mine ADD COLUMN event TEXT REFERENCES tillite_event (id)",
    "ALTER TABLE mine ADD COLUMN event TEXT REFERENCES/**/[Tillite_event]",
    "CREATE TRIGGER late AFTER DELETE ON mine BEGIN UPDATE tillite_head SET seq = 0; END",
    "CREATE TRIGGER late AFTER DELETE ON mine BEGIN SELECT 1; DELETE FROM/**/\"Tillite_event\"; END",
    "CREATE TRIGGER IF NOT EXISTS late INSTEAD OF DELETE ON over_heads BEGIN REPLACE INTO [tillite_head] VALUES (1); END",
    // The schema's own table.
    "DELETE FROM sqlite_schema",
    "UPDATE sqlite_master SET sql = ''",
    "INSERT INTO sqlite_schema VALUES ('table', 'x', 'x', 2, '')",
    // What is temporary shadows what is not.
    "CREATE TEMP TABLE tillite_event (seq INTEGER)",
    "CREATE TEMP TABLE anything (seq INTEGER)",
    "CREATE TEMP VIEW tillite_head AS SELECT 1",
    "CREATE TEMP TRIGGER t AFTER INSERT ON tillite_event BEGIN SELECT 1; END",
    "CREATE TABLE temp.tillite_event (seq INTEGER)",
    "CREATE TABLE temp.anything (seq INTEGER)",
    "CREATE VIEW temp.anything AS SELECT 1",
    // Secrets.
    "SELECT sealed FROM tillite_endpoint_secret",
    "SELECT * FROM tillite_endpoint_secret",
    "SELECT hash FROM tillite_api_key",
    "SELECT id FROM tillite_api_key WHERE lookup = x'00'",
    "CREATE TABLE copied AS SELECT * FROM tillite_endpoint_secret",
    // The connection and its transaction.
    "PRAGMA synchronous = OFF",
    "PRAGMA writable_schema = ON",
    "PRAGMA user_version",
    "SELECT * FROM pragma_table_info('tillite_event')",
    "ATTACH ':memory:' AS other",
    "DETACH main",
    "VACUUM",
    "VACUUM INTO '/tmp/tillite-never'",
    "BEGIN",
    "COMMIT",
    "END",
    "ROLLBACK",
    "SAVEPOINT mine",
    "RELEASE tillite_event",
    "ROLLBACK TO tillite_event",
    "SELECT load_extension('x')",
    // More than one, and none.
    "INSERT INTO mine VALUES (2, 'a'); INSERT INTO mine VALUES (3, 'b')",
    "SELECT 1; DELETE FROM mine",
    "SELECT ';' /* ; */ -- ;\n; SELECT 2",
    "SELECT [;], \";\", `;` FROM mine; SELECT 2",
];

#[test]
fn everything_that_is_forbidden_is_refused_and_touches_nothing() {
    let (heard, before, after) = answers(OUR_TABLES, FORBIDDEN);
    for (sql, answer) in FORBIDDEN.iter().zip(&heard) {
        let Err(Error::Statement { why }) = answer else {
            panic!("{sql}: {answer:?}");
        };
        // It reads, and is refused for what it is.
        let refers = sql.to_ascii_lowercase().contains("references");
        assert!(!refers || why.contains("to refer to"), "{sql}: {why}");
    }
    assert_eq!(heard.len(), FORBIDDEN.len());
    assert_eq!(before, after);
    // Two statements are seen by the guard itself: some versions of the library ignore the second.
    let two = |answer: &&Result<u64, Error>| {
        answer
            .as_ref()
            .is_err_and(|error| error.to_string().contains("one by one"))
    };
    assert_eq!(heard.iter().filter(two).count(), 4);
}

#[test]
fn what_a_host_needs_is_allowed() {
    const ALLOWED: &[&str] = &[
        "CREATE TABLE IF NOT EXISTS revenue (day TEXT PRIMARY KEY, minor INTEGER NOT NULL)",
        "CREATE INDEX IF NOT EXISTS by_minor ON revenue (minor)",
        "INSERT INTO revenue VALUES ('2026-01-01', 5) ON CONFLICT (day) DO UPDATE SET minor = minor + excluded.minor",
        "UPDATE revenue SET minor = minor + 1 WHERE day = '2026-01-01';",
        "SELECT sum(minor) FROM revenue -- with a remark; and another",
        "SELECT ';' ; /* nothing more */ ;",
        "SELECT count(*) FROM tillite_event JOIN over_heads ON true",
        "SELECT id FROM tillite_api_key",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3) SELECT i FROM n",
        "CREATE TRIGGER bumps AFTER INSERT ON revenue BEGIN UPDATE mine SET what = 'a'; UPDATE mine SET what = 'kept'; END",
        "INSERT INTO revenue VALUES ('2026-01-02', 5)",
        "ALTER TABLE revenue ADD COLUMN note TEXT",
        "ALTER TABLE revenue RENAME TO my_tillite_takings",
        "ALTER TABLE my_tillite_takings RENAME TO takings",
        "ALTER TABLE texts RENAME TO tillites",
        "DELETE FROM takings WHERE day = '2026-01-01' RETURNING minor",
        "CREATE VIRTUAL TABLE words USING fts5 (word)",
        "INSERT INTO words VALUES ('paid')",
        "SELECT word FROM words WHERE words MATCH 'paid'",
        "DROP TABLE words",
        "DROP TABLE takings",
        "CREATE TABLE copied AS SELECT seq, id FROM tillite_event",
        "CREATE TABLE lines (of_mine INTEGER REFERENCES mine (id), what TEXT DEFAULT 'tillite_event')",
        "INSERT INTO lines VALUES (1, (SELECT id FROM tillite_event ORDER BY seq LIMIT 1))",
        "CREATE TABLE numbered (id INTEGER PRIMARY KEY AUTOINCREMENT)",
        "INSERT INTO numbered DEFAULT VALUES",
    ];
    let (heard, _, after) = answers(OUR_TABLES, ALLOWED);
    for (sql, answer) in ALLOWED.iter().zip(&heard) {
        assert!(answer.is_ok(), "{sql}: {answer:?}");
    }
    assert!(after.contains("1kept"));
}

#[test]
fn the_guard_is_off_again_whatever_the_consumer_did() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.db");
    let engine = with_consumer(
        &path,
        OUR_TABLES,
        |tx: &mut HostTx<'_>, _: &Event| -> Result<(), ConsumerError> {
            let _ = tx.query("SELECT 1", &[], |_| -> tillite::Result<()> {
                panic!("in the middle of a row")
            });
            Ok(())
        },
    );
    run(&engine).unwrap();
    let app = engine.app("a", Mode::Test).unwrap();
    // The same connection writes the engine's tables, with statements that it knows and with new ones.
    app.customers().set(NewCustomer::uid("u_2")).unwrap();
    app.customers().set(NewCustomer::uid("u_2").name("Ada")).unwrap();
    app.keys().create().unwrap();
    assert_eq!(app.consumers().list(1, None).unwrap().data[0].failures, 1);
    clean(&engine);
}

/// A statement that the engine has compiled already, in its own words, is refused all the same.
#[test]
fn a_statement_of_the_engines_own_is_no_way_around() {
    let moves = "UPDATE tillite_consumer SET position = 0";
    let (heard, ..) = answers(
        OUR_TABLES,
        &["SAVEPOINT tillite_event", "RELEASE tillite_event", "COMMIT"],
    );
    assert!(heard.iter().all(Result::is_err), "{heard:?}");
    let (heard, ..) = answers(
        &format!("{OUR_TABLES}\nCREATE TRIGGER late AFTER UPDATE ON mine BEGIN {moves}; END;"),
        &["UPDATE mine SET what = 'x'"],
    );
    assert!(heard[0].is_err());
}

#[test]
fn a_statement_that_fails_undoes_itself_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.db");
    let engine = with_consumer(
        &path,
        OUR_TABLES,
        |tx: &mut HostTx<'_>, _: &Event| -> Result<(), ConsumerError> {
            tx.execute("INSERT INTO mine VALUES (2, 'first')", &[])?;
            // Its first row is new, its second is not.
            let broken = tx.execute("INSERT INTO mine SELECT 3, 'a' UNION ALL SELECT 1, 'b'", &[]);
            assert!(matches!(broken, Err(Error::Statement { .. })), "{broken:?}");
            tx.execute("INSERT INTO mine VALUES ($1, $2)", &[4.into(), "last".into()])?;
            Ok(())
        },
    );
    run(&engine).unwrap();
    assert_eq!(rows_of(&path), ["1kept", "2first", "4last"]);
}

#[test]
fn a_statement_that_answers_rows_does_nothing_in_execute() {
    const ANSWERING: &[&str] = &[
        "INSERT INTO mine VALUES (2, 'new') RETURNING id",
        "UPDATE mine SET what = 'other' RETURNING id",
        "DELETE FROM mine WHERE id = 1 RETURNING id",
        // None of these would come to a row.
        "DELETE FROM mine WHERE id = 99 RETURNING id",
        "SELECT id FROM mine WHERE id = 99",
        "EXPLAIN ALTER TABLE mine ADD COLUMN more TEXT",
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.db");
    let engine = with_consumer(
        &path,
        "CREATE TABLE mine (id INTEGER PRIMARY KEY, what TEXT);\nINSERT INTO mine VALUES (1, 'kept');",
        |tx: &mut HostTx<'_>, _: &Event| -> Result<(), ConsumerError> {
            for sql in ANSWERING {
                let answer = tx.execute(sql, &[]);
                assert!(matches!(answer, Err(Error::Statement { .. })), "{sql}: {answer:?}");
            }
            Ok(())
        },
    );
    run(&engine).unwrap();
    assert_eq!(rows_of(&path), ["1kept"]);
    let app = engine.app("a", Mode::Test).unwrap();
    assert_eq!(app.consumers().list(1, None).unwrap().data[0].failures, 0);
}

#[test]
fn the_rows_that_a_statement_changed_are_its_own() {
    const STATEMENTS: &[(&str, u64)] = &[
        ("INSERT INTO mine VALUES (2, 'b'), (3, 'c'), (4, 'd')", 3),
        ("CREATE TABLE other (id INTEGER)", 0),
        ("UPDATE mine SET what = 'x' WHERE id > 2", 2),
        ("CREATE TABLE IF NOT EXISTS other (id INTEGER)", 0),
        ("CREATE TABLE copied AS SELECT * FROM mine", 0),
        ("INSERT INTO other SELECT id FROM mine", 4),
        ("DROP TABLE IF EXISTS nowhere", 0),
        ("CREATE INDEX by_what ON mine (what)", 0),
        ("CREATE INDEX IF NOT EXISTS by_what ON mine (what)", 0),
        ("REINDEX mine", 0),
        ("ALTER TABLE other ADD COLUMN more TEXT", 0),
        ("CREATE VIRTUAL TABLE words USING fts5 (word)", 0),
        ("INSERT INTO words VALUES ('one'), ('two')", 2),
        ("ALTER TABLE words RENAME TO texts", 0),
        ("DROP TABLE texts", 0),
        ("DELETE FROM mine WHERE id = 99", 0),
        ("DELETE FROM other", 4),
        ("DROP TABLE other", 0),
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.db");
    let engine = with_consumer(
        &path,
        "CREATE TABLE mine (id INTEGER PRIMARY KEY, what TEXT);\nINSERT INTO mine VALUES (1, 'kept');",
        |tx: &mut HostTx<'_>, _: &Event| -> Result<(), ConsumerError> {
            for (sql, rows) in STATEMENTS {
                assert_eq!(tx.execute(sql, &[]), Ok(*rows), "{sql}");
            }
            Ok(())
        },
    );
    run(&engine).unwrap();
    let app = engine.app("a", Mode::Test).unwrap();
    assert_eq!(app.consumers().list(1, None).unwrap().data[0].failures, 0);
}

#[test]
fn a_damaged_table_for_full_text_is_the_consumers_failure_and_not_the_disks() {
    // How the table was damaged by a program of the host's, and what then meets that.
    const WAYS: &[(&str, &str)] = &[
        // Taking out what was never put in, where the table keeps only the index: found by the statement.
        (
            "CREATE VIRTUAL TABLE words USING fts5 (word, content = 'mine', content_rowid = 'id');",
            "INSERT INTO words (words, rowid, word) VALUES ('delete', 1, 'never')",
        ),
        // The index written over: found when the table is opened, or when what it has kept back is written,
        // behind the consumer's answer.
        (
            "CREATE VIRTUAL TABLE words USING fts5 (word);\nUPDATE words_data SET block = NULL;",
            "INSERT INTO words VALUES ('two')",
        ),
        (
            "CREATE VIRTUAL TABLE words USING fts5 (word);
            INSERT INTO words VALUES ('one');
            UPDATE words_data SET block = x'';",
            "INSERT INTO words VALUES ('two')",
        ),
    ];
    for (damage, sql) in WAYS {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shop.db");
        let engine = with_consumer(
            &path,
            &format!("CREATE TABLE mine (id INTEGER, what TEXT);\n{damage}"),
            move |tx: &mut HostTx<'_>, event: &Event| -> Result<(), ConsumerError> {
                tx.execute("INSERT INTO mine VALUES ($1, 'taken')", &[event.position.into()])?;
                if tx.query("SELECT count(*) FROM mine", &[], |row| row.int(0))?[0] == 3 {
                    tx.execute(sql, &[])?;
                }
                Ok(())
            },
        );
        let app = engine.app("a", Mode::Test).unwrap();
        for uid in ["u_2", "u_3", "u_4"] {
            app.customers().set(NewCustomer::uid(uid)).unwrap();
        }
        run(&engine).unwrap_or_else(|error| panic!("{sql}: {error}"));
        let progress = &app.consumers().list(1, None).unwrap().data[0];
        assert_eq!((progress.failures, progress.lag), (1, 2), "{sql}");
        assert_eq!(rows_of(&path).join(" ").matches("taken").count(), 2, "{sql}");
        // The connection goes on as ever.
        app.customers().set(NewCustomer::uid("u_5")).unwrap();
    }
}

#[test]
fn what_undoes_the_whole_transaction_moves_nothing_and_loses_nothing() {
    const TABLES: &str = "CREATE TABLE mine (id INTEGER PRIMARY KEY, what TEXT);
        CREATE TABLE child (id INTEGER REFERENCES mine (id) DEFERRABLE INITIALLY DEFERRED);
        CREATE TABLE strict_one (id INTEGER);
        CREATE TRIGGER refuses AFTER INSERT ON strict_one BEGIN SELECT RAISE(ROLLBACK, 'no'); END;";
    const STATEMENTS: &[&str] = &[
        "INSERT OR ROLLBACK INTO mine VALUES (1, 'twice')",
        "INSERT INTO strict_one VALUES (1)",
        "INSERT INTO child VALUES (77)",
    ];
    for sql in STATEMENTS {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shop.db");
        let engine = with_consumer(
            &path,
            TABLES,
            move |tx: &mut HostTx<'_>, event: &Event| -> Result<(), ConsumerError> {
                tx.execute("INSERT INTO mine VALUES ($1, 'taken')", &[event.position.into()])?;
                if tx.query("SELECT count(*) FROM mine", &[], |row| row.int(0))?[0] == 3 {
                    tx.execute("INSERT INTO mine VALUES (1, 'once')", &[])?;
                    let _ = tx.execute(sql, &[]);
                    // Where there is no transaction any more, this would be committed by itself.
                    let _ = tx.execute("INSERT INTO mine VALUES (99, 'on its own')", &[]);
                }
                Ok(())
            },
        );
        let app = engine.app("a", Mode::Test).unwrap();
        for uid in ["u_2", "u_3", "u_4"] {
            app.customers().set(NewCustomer::uid(uid)).unwrap();
        }
        run(&engine).unwrap();
        let rows = rows_of(&path).join(" ");
        // Two were taken, the third was not, and none behind it.
        assert_eq!(rows.matches("taken").count(), 2, "{sql}: {rows}");
        assert!(!rows.contains("own") && !rows.contains("once"), "{sql}: {rows}");
        let progress = &app.consumers().list(1, None).unwrap().data[0];
        assert_eq!((progress.failures, progress.lag), (1, 2), "{sql}");
        // The connection goes on as ever.
        app.customers().set(NewCustomer::uid("u_5")).unwrap();
        clean(&engine);
    }
}

#[test]
fn values_of_all_four_types_come_back_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.db");
    let engine = with_consumer(
        &path,
        "CREATE TABLE mine (id, what, more, less)",
        |tx: &mut HostTx<'_>, _: &Event| -> Result<(), ConsumerError> {
            let values = [
                HostValue::Int(i64::MIN),
                HostValue::Text("grün; 'x'"),
                HostValue::Bytes(&[0, 255]),
                HostValue::Null,
            ];
            assert_eq!(tx.execute("INSERT INTO mine VALUES ($1, $2, $3, $4)", &values)?, 1);
            tx.query("SELECT * FROM mine", &[], |row| {
                for (column, value) in values.iter().enumerate() {
                    assert_eq!(row.get(column)?, *value);
                }
                assert_eq!(
                    (row.int(0)?, row.text(1)?.as_str(), row.maybe_int(3)?),
                    (i64::MIN, "grün; 'x'", None)
                );
                for refused in [row.int(1).err(), row.text(0).err(), row.int(3).err(), row.get(4).err()] {
                    assert!(matches!(refused, Some(Error::Statement { .. })), "{refused:?}");
                }
                Ok(())
            })?;
            let fraction = tx.query("SELECT 0.5", &[], |row| row.get(0).map(|_| ()));
            assert!(matches!(fraction, Err(Error::Statement { .. })), "{fraction:?}");
            let few = tx.execute("INSERT INTO mine VALUES ($1, $2, $3, $4)", &values[..2]);
            assert!(matches!(few, Err(Error::Statement { .. })), "{few:?}");
            tx.execute("UPDATE mine SET what = 'x', id = 1", &[])?;
            Ok(())
        },
    );
    run(&engine).unwrap();
    let app = engine.app("a", Mode::Test).unwrap();
    let progress = &app.consumers().list(1, None).unwrap().data[0];
    assert_eq!((progress.failures, progress.error.as_deref()), (0, None));
}

#[test]
fn a_disk_that_fails_is_not_the_consumers_failure() {
    use tillite::testing::{Disk, Fault};
    let disk = Disk::new(3);
    let open = || {
        let builder = Engine::builder()
            .clock(ManualClock::new())
            .entropy(SeededEntropy::new(7))
            .virtual_waiting();
        builder
            .consumer("notes", super::note)
            .open_on(&disk, "shop.db")
            .unwrap()
    };
    let engine = open();
    let app = engine.app("a", Mode::Test).unwrap();
    for number in 0..5 {
        app.customers().set(NewCustomer::uid(format!("u_{number}"))).unwrap();
    }
    disk.fault_after(0, Fault::Full);
    let full = run(&engine).unwrap_err();
    let kinds = [StorageKind::DiskFull, StorageKind::OutcomeUnknown];
    assert!(
        matches!(&full, Error::Storage(error) if kinds.contains(&error.kind)),
        "{full}"
    );
    disk.clear_faults();
    run(&engine).unwrap();
    let progress = &app.consumers().list(1, None).unwrap().data[0];
    assert_eq!((progress.lag, progress.failures), (0, 0));
}

#[test]
fn a_mistake_with_a_table_of_ones_own_is_the_consumers_and_stops_it_alone() {
    type Mistake = fn(&mut HostTx<'_>) -> Result<(), ConsumerError>;
    let mistakes: [(&str, &str, Mistake); 3] = [
        // What full text keeps back is undone with the event, and it says so at the commit.
        ("made and undone", "later on it fails", |tx| {
            tx.execute("CREATE VIRTUAL TABLE IF NOT EXISTS s USING fts5 (x)", &[])?;
            tx.execute("INSERT INTO s VALUES ('a')", &[])?;
            Err("later on it fails".into())
        }),
        ("made and panicked", "panicked", |tx| {
            tx.execute("CREATE VIRTUAL TABLE IF NOT EXISTS s USING fts5 (x)", &[])?;
            tx.execute("INSERT INTO s VALUES ('a')", &[])?;
            panic!("later on it fails")
        }),
        // The library says of it that the disk is full.
        ("a key at its end", "at its end", |tx| {
            let table = "CREATE TABLE IF NOT EXISTS ended (id INTEGER PRIMARY KEY AUTOINCREMENT, x)";
            tx.execute(table, &[])?;
            tx.execute("INSERT OR IGNORE INTO ended VALUES (9223372036854775807, 1)", &[])?;
            tx.execute("INSERT INTO ended (x) VALUES (2)", &[])?;
            Ok(())
        }),
    ];
    for (what, says, mistake) in mistakes {
        let folder = tempfile::tempdir().unwrap();
        let engine = Engine::builder()
            .clock(ManualClock::new())
            .entropy(SeededEntropy::new(7))
            .consumer("wrong", move |tx: &mut HostTx<'_>, event: &Event| {
                match event.position {
                    3 => mistake(tx),
                    _ => Ok(()),
                }
            })
            .consumer("right", |_: &mut HostTx<'_>, _: &Event| Ok(()))
            .open(folder.path().join("shop.db"))
            .unwrap();
        let app = engine.app("a", Mode::Test).unwrap();
        for uid in ["u_1", "u_2", "u_3", "u_4"] {
            app.customers().set(NewCustomer::uid(uid)).unwrap();
        }
        run(&engine).unwrap_or_else(|error| panic!("{what}: {error}"));
        let [right, wrong] = <[_; 2]>::try_from(app.consumers().list(10, None).unwrap().data).unwrap();
        assert_eq!((right.lag, right.failures), (0, 0), "{what}");
        assert_eq!((wrong.position, wrong.failures), (2, 1), "{what}: {:?}", wrong.error);
        assert!(wrong.error.unwrap().contains(says), "{what}");
        assert_eq!(app.consumers().skip("wrong", 3).unwrap().position, 3);
        run(&engine).unwrap();
        assert_eq!(
            app.consumers().list(10, Some("right")).unwrap().data[0].lag,
            0,
            "{what}"
        );
        clean(&engine);
    }
}

#[test]
fn a_tree_of_boxes_can_be_made_and_a_text_without_a_statement_is_told_as_such() {
    let (heard, ..) = answers(
        OUR_TABLES,
        &[
            "CREATE VIRTUAL TABLE boxes USING rtree (id, a, b)",
            "",
            " -- nothing\n;",
            "PRAGMA page_size = 512",
        ],
    );
    assert!(heard[0].is_ok(), "{:?}", heard[0]);
    for nothing in &heard[1..3] {
        assert!(
            matches!(nothing, Err(Error::Statement { why }) if why.contains("no statement")),
            "{nothing:?}"
        );
    }
    assert!(heard[3].is_err());
}
