use std::collections::BTreeSet;

use super::head::SCHEMA;
use super::*;
use crate::hook::{DisputeState, Operation};
use crate::id::Mode;
use crate::payment::{Attempt, Await, ChargeState, MethodState, NotificationState, RefundState, SetupState};
use crate::samples::{at, id};
use crate::session::{ExpiredReason, SessionState};
use crate::webhook::{DeliveryEvent, DeliveryState, EndpointState, ReplayState, next_state};

/// The text of every file of this room, tests apart, and of the schema as it stands.
fn texts() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut texts = vec![std::fs::read_to_string(root.join("schema/current.sql")).unwrap()];
    let mut folders = vec![root.join("src/store")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("tests") {
                folders.push(path);
            } else if path.extension().is_some_and(|ext| ext == "rs") && !path.ends_with("tests.rs") {
                texts.push(std::fs::read_to_string(path).unwrap());
            }
        }
    }
    texts
}

/// The states that a statement lists, each time that one lists some, and whether it is a constraint
/// that says which there are.
fn listed_states() -> Vec<(bool, BTreeSet<String>)> {
    let mut found = Vec::new();
    for text in texts() {
        let mut before = "";
        for part in text.split("state IN (") {
            if !before.is_empty() {
                let (list, _) = part.split_once(')').unwrap();
                let words = list.split(',').map(|word| word.trim().trim_matches('\'').to_owned());
                found.push((before.ends_with("CHECK ("), words.collect()));
            }
            before = part;
        }
    }
    found
}

#[test]
fn the_states_that_statements_list_are_those_that_the_state_machines_say() {
    fn words<T: Copy>(states: &[T], word: fn(T) -> &'static str, counts: impl Fn(T) -> bool) -> BTreeSet<String> {
        let counting = states.iter().filter(|state| counts(**state));
        counting.map(|state| word(*state).to_owned()).collect()
    }
    let charges = |counts: fn(ChargeState) -> bool| words(&ChargeState::ALL, ChargeState::as_str, counts);
    let deliveries = |counts: fn(DeliveryState) -> bool| words(&DeliveryState::ALL, DeliveryState::as_str, counts);
    let refunds = |counts: fn(RefundState) -> bool| words(&RefundState::ALL, RefundState::as_str, counts);
    let setups = |counts: fn(SetupState) -> bool| words(&SetupState::ALL, SetupState::as_str, counts);
    let sessions = |counts: fn(SessionState) -> bool| {
        use SessionState::{Complete, Expired, Open, Processing};
        let all = [Open, Processing, Complete, Expired(ExpiredReason::Timeout)];
        words(&all, SessionState::as_str, counts)
    };
    let notices =
        |counts: fn(NotificationState) -> bool| words(&NotificationState::ALL, NotificationState::as_str, counts);
    let replays = words(&ReplayState::ALL, ReplayState::as_str, |_| true);
    let endpoints = words(&EndpointState::ALL, EndpointState::as_str, |_| true);
    let methods = words(&MethodState::ALL, MethodState::as_str, |_| true);
    let constraints = [
        charges(|_| true),
        methods,
        setups(|_| true),
        refunds(|_| true),
        deliveries(|_| true),
        replays,
        sessions(|_| true),
        endpoints,
        notices(|_| true),
        words(&DisputeState::ALL, DisputeState::as_str, |_| true),
    ];
    let queries = [
        charges(ChargeState::is_live),
        refunds(RefundState::is_open),
        setups(SetupState::is_live),
        deliveries(|state| next_state(state, DeliveryEvent::Claim).is_ok()),
        deliveries(|state| {
            matches!(
                state,
                DeliveryState::Blocked | DeliveryState::Exhausted | DeliveryState::Canceled
            )
        }),
        deliveries(|state| state == DeliveryState::Blocked || next_state(state, DeliveryEvent::Claim).is_ok()),
        words(&EndpointState::ALL, EndpointState::as_str, |state| {
            matches!(state, EndpointState::Enabled | EndpointState::Suspended)
        }),
        // One that expired leaves its order to another.
        sessions(|state| !matches!(state, SessionState::Expired(_))),
        notices(|state| matches!(state, NotificationState::Waiting | NotificationState::Parked)),
    ];
    let listed = listed_states();
    for (is_constraint, list) in &listed {
        let known = if *is_constraint { &constraints[..] } else { &queries[..] };
        assert!(known.contains(list), "{list:?} is none of {known:?}");
    }
    for known in constraints.iter().chain(&queries) {
        assert!(listed.iter().any(|(_, list)| list == known), "{known:?} was not seen");
    }
}

/// The words that a column may hold, as its constraint lists them.
fn words_of(table: &str, column: &str) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let schema = std::fs::read_to_string(root.join("schema/current.sql")).unwrap();
    let tables = schema.split("CREATE TABLE ").map(|text| text.trim_start_matches('"'));
    let named = |text: &&str| text.starts_with(table) && !text[table.len()..].starts_with('_');
    let text = tables.filter(named).last().unwrap();
    let (_, list) = text.split_once(&format!("CHECK ({column} IN (")).unwrap();
    let (list, _) = list.split_once(')').unwrap();
    list.split(", ")
        .map(|word| word.trim_matches('\'').to_owned())
        .collect()
}

#[test]
fn every_word_that_a_column_may_hold_is_read_back() {
    type Reads = fn(&str) -> bool;
    let columns: [(&str, &str, Reads); 21] = [
        ("tillite_app", "late_payments", |word| {
            codec::late_payments(word).is_ok()
        }),
        ("tillite_attempt", "operation", |word| codec::operation(word).is_ok()),
        ("tillite_charge", "asked", |word| codec::followup(word).is_ok()),
        ("tillite_charge", "capture", |word| codec::capture(word).is_ok()),
        ("tillite_charge", "failure_advice", |word| codec::advice(word).is_ok()),
        ("tillite_charge", "hold", |word| codec::hold(word).is_ok()),
        ("tillite_charge", "state", |word| codec::charge_state(word).is_ok()),
        ("tillite_delivery", "state", |word| codec::delivery_state(word).is_ok()),
        ("tillite_delivery_attempt", "outcome", |word| {
            codec::delivery_outcome(word).is_ok()
        }),
        ("tillite_dispute", "state", |word| codec::dispute_state(word).is_ok()),
        ("tillite_endpoint", "ordering", |word| {
            codec::delivery_order(word).is_ok()
        }),
        ("tillite_endpoint", "state", |word| codec::endpoint_state(word).is_ok()),
        ("tillite_entitlement", "status", |word| codec::status(word).is_ok()),
        ("tillite_evidence", "source", |word| {
            codec::evidence_source(word).is_ok()
        }),
        ("tillite_notice", "kind", |word| codec::notification_kind(word).is_ok()),
        ("tillite_notice", "state", |word| {
            codec::notification_state(word).is_ok()
        }),
        ("tillite_refund", "effect", |word| codec::grant_effect(word).is_ok()),
        ("tillite_refund", "source", |word| codec::refund_source(word).is_ok()),
        ("tillite_replay", "state", |word| codec::replay_state(word).is_ok()),
        ("tillite_replay", "which", |word| codec::replay_of(word).is_ok()),
        ("tillite_setup", "state", |word| codec::setup_state(word).is_ok()),
    ];
    for (table, column, reads) in columns {
        for word in words_of(table, column) {
            assert!(reads(&word), "{table}.{column} may hold {word:?}");
        }
    }
}

#[test]
fn the_schema_version_is_the_number_of_the_newest_migration_and_that_of_a_new_file() {
    assert_eq!(i64::try_from(migrations().len()), Ok(SCHEMA));
    let store = in_memory(at(0));
    assert!(store.read(head::check_schema).is_ok());
}

/// The migrations with their comments, in order, as they stand in the repository.
fn migrations() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let numbered = |path: &std::path::PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with(|first: char| first.is_ascii_digit())
    };
    let mut files: Vec<_> = files.filter(numbered).collect();
    files.sort_unstable();
    files
        .iter()
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect()
}

pub(super) fn in_memory(host_now: crate::time::Timestamp) -> Store {
    Store::new(Sqlite::open(MEMORY, host_now, Arc::new(ByHand::default())).unwrap())
}

fn tables_of_the_schema() -> Vec<String> {
    let store = in_memory(at(0));
    let query = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE 'tillite%' ORDER BY name";
    let mut names = Vec::new();
    let mut keep = |row: &dyn Row| -> Result<()> {
        names.push(row.text(0)?);
        Ok(())
    };
    store.read(|sql| sql.each(query, &[], &mut keep)).unwrap();
    names
}

#[test]
fn a_dump_lists_every_table_once() {
    let mut dumped = dump::tables();
    dumped.sort_unstable();
    assert_eq!(dumped, tables_of_the_schema());
}

#[test]
fn a_dump_of_a_new_file_is_its_schema_row() {
    let store = in_memory(at(7));
    let text = store.read(dump::dump).unwrap();
    let made_at = at(7).as_millis();
    let expected = format!("tillite_schema only_row=1 version={SCHEMA} made_at={made_at} instance=null held=0\n");
    assert_eq!(text, expected);
}

/// The columns of the migrations' tables, each with the comment beside it.
fn columns() -> Vec<(String, String, Option<String>)> {
    let mut columns: Vec<(String, String, Option<String>)> = Vec::new();
    let mut table = None;
    let migrations = migrations();
    for line in migrations.iter().flat_map(|migration| migration.lines()) {
        let opens = ["CREATE TABLE ", "ALTER TABLE "];
        if let Some(gone) = line.strip_prefix("DROP TABLE ") {
            let gone = gone.trim_end_matches(';');
            columns.retain(|(table, ..)| table != gone);
        } else if let Some((old, new)) = line.split_once(" RENAME TO ") {
            let (old, new) = (old.trim_start_matches("ALTER TABLE "), new.trim_end_matches(';'));
            let renamed = columns.iter_mut().filter(|(table, ..)| table == old);
            renamed.for_each(|(table, ..)| new.clone_into(table));
        } else if let Some(rest) = opens.iter().find_map(|opens| line.strip_prefix(opens)) {
            table = rest.split(' ').next().map(str::to_owned);
        } else if !line.starts_with(' ') {
            table = None;
        } else if let Some(table) = &table {
            let line = line.trim_start();
            let word = line.strip_prefix("ADD COLUMN ").unwrap_or(line);
            let word = word.split_whitespace().next().unwrap_or_default();
            // What starts in capitals is a constraint over several columns.
            if word.starts_with(|c: char| c.is_ascii_lowercase()) {
                let comment = line.split_once("--").map(|(_, comment)| comment.trim().to_owned());
                columns.push((table.clone(), word.to_owned(), comment));
            }
        }
    }
    columns
}

#[test]
fn every_column_is_explained_beside_it_or_at_the_head_of_the_schema() {
    // The head of the schema says what these are in every table.
    let by_the_head = ["app", "mode", "id", "revision"];
    // The id in the table of that name, to which a foreign key or the row's own key ties it.
    let by_the_name = ["product", "session", "entitlement", "attempt", "delivery"];
    for (table, column, comment) in columns() {
        let exempt = by_the_head.contains(&column.as_str()) || by_the_name.contains(&column.as_str());
        let explained = comment.is_some_and(|comment| !comment.is_empty());
        assert!(explained || exempt, "{table}.{column} says nothing of itself");
    }
}

#[test]
fn the_migrations_hold_the_columns_that_the_file_has() {
    let store = in_memory(at(0));
    let mut found = BTreeSet::new();
    for table in tables_of_the_schema() {
        let query = format!("SELECT name FROM pragma_table_info('{table}')");
        let mut keep = |row: &dyn Row| -> Result<()> {
            found.insert((table.clone(), row.text(0)?));
            Ok(())
        };
        store.read(|sql| sql.each(&query, &[], &mut keep)).unwrap();
    }
    let parsed: BTreeSet<_> = columns()
        .into_iter()
        .map(|(table, column, _)| (table, column))
        .collect();
    assert_eq!(parsed, found);
}

#[test]
fn what_a_command_answers_is_seen_only_after_its_commit_and_what_failed_left_nothing() {
    let store = in_memory(at(0));
    let insert = "INSERT INTO tillite_app (slug, created_at) VALUES ($1, $2)";
    let apps = |store: &Store| store.read(dump::dump).unwrap().matches("tillite_app ").count();
    let failed: Result<()> = store.write_raw(Access::Shared, move |sql| {
        sql.exec(insert, &["a".into(), 0i64.into()])?;
        Err(codec::corrupt("on purpose"))
    });
    assert_eq!((failed.unwrap_err().code(), apps(&store)), ("storage_corrupt", 0));
    let wrote = store.write_raw(Access::Shared, move |sql| sql.exec(insert, &["a".into(), 0i64.into()]));
    assert_eq!((wrote, apps(&store)), (Ok(1), 1));
}

#[test]
fn an_attempt_is_taken_by_one_and_only_for_what_is_still_to_be_asked() {
    let world = World {
        app: 1,
        mode: Mode::Test,
    };
    let waiting = |next: Await| Attempt {
        id: id(1),
        operation: Operation::Refund,
        subject: "re_test_1".to_owned(),
        processor: "main".to_owned(),
        key: "k_1".to_owned(),
        request: b"{}".to_vec(),
        request_hash: [0; 32],
        reference: None,
        token: 1,
        next: Some((next, at(0))),
        asked: 0,
        unresolved: false,
        created_at: at(0),
        heard_at: None,
        evidence: 0,
    };
    let store = in_memory(at(0));
    let put = |next: Await, fresh: bool| {
        let put = move |sql: &mut dyn Sql| attempt::put_attempt(sql, world, &waiting(next), fresh);
        store.write_raw(Access::Shared, put).unwrap();
    };
    let claim = |next: Await| {
        let claim = move |sql: &mut dyn Sql| attempt::claim(sql, world, &waiting(next), at(40));
        store.write_raw(Access::Shared, claim).unwrap()
    };
    put(Await::Call, true);
    assert!(!claim(Await::Lookup), "it is to be carried out by now");
    put(Await::Lookup, false);
    assert!(!claim(Await::Call), "it is to be looked up by now");
    assert!(!claim(Await::Answer));
    put(Await::Call, false);
    assert!(claim(Await::Call));
    assert!(!claim(Await::Call), "it is taken");
    let taken = store.read(|sql| attempt::attempt(sql, world, &id(1))).unwrap().unwrap();
    assert_eq!((taken.next, taken.token), (Some((Await::Answer, at(40))), 2));
}
