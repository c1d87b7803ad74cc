//! The schema: which version a file is at, and bringing it to the current one.

use rusqlite::Connection;

use super::statement::{Live, run, run_text};
use super::{Error, Result, StorageError, StorageKind};
use crate::error::shortened;
use crate::store::Sql as _;
use crate::time::Timestamp;

/// The migrations, in order: the n-th brings a file to version n. A migration that was published
/// is never edited; a change is a new one.
const MIGRATIONS: &[&str] = &[
    include_str!("../../../schema/0001_initial.sql"),
    include_str!("../../../schema/0002_orders_and_retention.sql"),
    include_str!("../../../schema/0003_money.sql"),
    include_str!("../../../schema/0004_outbox.sql"),
];

/// The schema's version in the file; 0 for a file without our tables.
pub(super) fn check_version(connection: &Connection) -> Result<usize> {
    let tables =
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE 'tillite\\_%' ESCAPE '\\' ORDER BY name";
    let mut names = Vec::new();
    Live(connection).each(tables, &[], &mut |row| {
        names.push(row.text(0)?);
        Ok(())
    })?;
    if names.is_empty() {
        return Ok(0);
    }
    if !names.iter().any(|name| name == "tillite_schema") {
        return Err(without_a_version(&names).into());
    }
    let found: i64 = run_text(connection, "SELECT version FROM tillite_schema")?
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| StorageError::new(StorageKind::Corrupt, "the schema's version is missing"))?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    match usize::try_from(found) {
        Ok(version) if (1..=MIGRATIONS.len()).contains(&version) => Ok(version),
        _ if found > known => Err(Error::NewerSchema { found, known }),
        _ => Err(StorageError::new(StorageKind::Corrupt, "the schema's version is out of range").into()),
    }
}

/// What is wrong with a file that has tables under our names and says no version.
fn without_a_version(names: &[String]) -> StorageError {
    let is_ours = |name: &str| {
        let made = format!("CREATE TABLE {name} ");
        MIGRATIONS.iter().any(|migration| migration.contains(&made))
    };
    match names.iter().find(|name| !is_ours(name)) {
        Some(theirs) => {
            let detail = format!(
                "table {:?} is not ours; names that begin with tillite_ are, so rename it",
                shortened(theirs)
            );
            StorageError::new(StorageKind::NamesTaken, detail)
        }
        None => StorageError::new(StorageKind::Corrupt, "the table tillite_schema is missing"),
    }
}

/// Brings the file to the current schema, in one transaction.
pub(super) fn migrate(connection: &Connection, host_now: Timestamp) -> Result<()> {
    if check_version(connection)? == MIGRATIONS.len() {
        return Ok(());
    }
    // A table that is made anew is gone for a moment before the new one is called as it was. A view of the host's
    // that reads it would not let that pass: renaming looks through every view otherwise.
    run(connection, "PRAGMA legacy_alter_table = ON")?;
    let migrated = migrate_alone(connection, host_now);
    migrated.and(run(connection, "PRAGMA legacy_alter_table = OFF"))
}

fn migrate_alone(connection: &Connection, host_now: Timestamp) -> Result<()> {
    run(connection, "BEGIN IMMEDIATE")?;
    match migrate_inside(connection, host_now) {
        Ok(()) => run(connection, "COMMIT"),
        Err(found) => {
            let _ = run(connection, "ROLLBACK");
            Err(found)
        }
    }
}

fn migrate_inside(connection: &Connection, host_now: Timestamp) -> Result<()> {
    // Asked again under the lock: another process may have been quicker.
    let found = check_version(connection)?;
    for migration in &MIGRATIONS[found..] {
        for statement in statements(migration) {
            run(connection, &statement)?;
        }
    }
    let version = MIGRATIONS.len();
    let made_at = host_now.as_millis();
    run(
        connection,
        &format!(
            "INSERT INTO tillite_schema (only_row, version, made_at) VALUES (1, {version}, {made_at}) \
             ON CONFLICT (only_row) DO UPDATE SET version = excluded.version"
        ),
    )
}

/// The statements of a migration. Migrations hold neither `--` nor `;` inside a text, so comments
/// end with their line and statements at a semicolon.
fn statements(migration: &str) -> Vec<String> {
    let code: Vec<&str> = migration
        .lines()
        .map(|line| line.split("--").next().unwrap_or("").trim_end())
        .filter(|line| !line.is_empty())
        .collect();
    code.join("\n")
        .split(';')
        .map(|statement| statement.trim().to_owned())
        .filter(|statement| !statement.is_empty())
        .collect()
}
