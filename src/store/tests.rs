use std::collections::BTreeSet;

use super::head::SCHEMA;
use super::*;
use crate::samples::at;

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

fn in_memory(host_now: crate::time::Timestamp) -> Store {
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
    let mut columns = Vec::new();
    let mut table = None;
    let migrations = migrations();
    for line in migrations.iter().flat_map(|migration| migration.lines()) {
        let opens = ["CREATE TABLE ", "ALTER TABLE "];
        if let Some(rest) = opens.iter().find_map(|opens| line.strip_prefix(opens)) {
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
