//! Statements of the host's on the connection that writes: run in the transaction that is open, and kept or
//! undone with the event that they are for.

mod guard;
mod scan;

use std::cell::Cell;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, Row, Statement, ToSql, ffi, params_from_iter};

pub(super) use self::guard::Guard;
use self::guard::{Does, Looks, is_ours};
use super::statement::{Live, error, is_of_the_hosts};
use crate::consumer::{Cells, HostRow, HostValue, Statements};
use crate::error::{Error, Result};
use crate::store::{EachRow, Sql, Value};
use crate::text;

thread_local! {
    /// Whether the host's own code runs in a transaction of this thread.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Refuses a call that comes out of a transaction of the host's own code: it would wait for itself.
pub(super) fn not_inside() -> Result<()> {
    if INSIDE.get() {
        return Err(Error::InConsumer);
    }
    Ok(())
}

/// A writing connection with a transaction open, which also runs statements of the host's.
#[derive(Clone, Copy)]
pub(super) struct Hosting<'c> {
    pub(super) connection: &'c Connection,
    pub(super) guard: &'c Guard,
}

impl Sql for Hosting<'_> {
    fn exec(&mut self, sql: &str, values: &[Value<'_>]) -> Result<u64> {
        Live(self.connection).exec(sql, values)
    }

    fn each(&mut self, sql: &str, values: &[Value<'_>], row: EachRow<'_>) -> Result<()> {
        Live(self.connection).each(sql, values, row)
    }

    fn columns(&mut self, table: &str) -> Result<Vec<String>> {
        Live(self.connection).columns(table)
    }

    fn host(&mut self, work: &mut dyn FnMut(&mut dyn Statements) -> bool) -> Result<()> {
        self.guard.note_hosted();
        self.between("SAVEPOINT tillite_event")?;
        let is_kept = {
            let _inside = Inside::enter();
            work(self)
        };
        self.check_open()?;
        if !is_kept {
            self.between("ROLLBACK TO tillite_event")?;
        }
        self.between("RELEASE tillite_event")
    }
}

/// While it lives, no engine can be called from this thread.
struct Inside;

impl Inside {
    fn enter() -> Inside {
        INSIDE.set(true);
        Inside
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        INSIDE.set(false);
    }
}

impl Hosting<'_> {
    /// Refuses to go on where a statement has undone the transaction: what follows would be committed by
    /// itself.
    fn check_open(&self) -> Result<()> {
        if self.connection.is_autocommit() {
            return Err(statement_error(
                "a statement undid the whole transaction; use ABORT, not ROLLBACK, in conflict clauses and RAISE, \
                 and no AUTOINCREMENT key that is at its end",
            ));
        }
        Ok(())
    }

    /// Runs a statement of the engine's between those of the host's: what full text has kept back it writes
    /// then, and whose failure it is it says as well.
    fn between(&self, sql: &str) -> Result<()> {
        let done = self.connection.prepare_cached(sql);
        let done = done.and_then(|mut statement| statement.execute([]));
        done.map(|_| ()).map_err(|found| failure(&found))
    }

    /// Compiles a statement and runs it.
    fn run<T>(&self, sql: &str, work: impl FnOnce(&mut Statement<'_>, &Looks<'_>) -> Result<T>) -> Result<T> {
        self.check_open()?;
        if scan::has_none(sql) {
            return Err(statement_error("there is no statement in it; give one"));
        }
        if scan::has_second_statement(sql) {
            return Err(statement_error("it is more than one statement; run them one by one"));
        }
        let looks = self.guard.looking(sql);
        let done = self
            .connection
            .prepare(sql)
            .map_err(|found| failure(&found))
            .and_then(|mut statement| {
                let made = looks.may_refer();
                if made.is_empty() {
                    return work(&mut statement, &looks);
                }
                looks.away(|| self.between("SAVEPOINT tillite_table"))?;
                let done = work(&mut statement, &looks);
                drop(statement);
                looks.away(|| self.keep_unless_referring(&made, done))
            });
        match (done, looks.refused()) {
            (Err(_), Some(why)) => Err(Error::Statement { why }),
            (done, _) => done,
        }
    }

    /// Undoes the making of tables one of which refers to the engine's: each of the engine's writes would
    /// look for rows there, or fail. Nobody is asked about it before, so it shows when the table is there.
    fn keep_unless_referring<T>(&self, made: &[String], done: Result<T>) -> Result<T> {
        if let Err(undone) = self.check_open() {
            return done.and(Err(undone));
        }
        let referring = || -> Result<bool> {
            let mut refers = false;
            for table in made {
                let parents = "SELECT \"table\" FROM pragma_foreign_key_list($1)";
                Live(self.connection).each(parents, &[table.into()], &mut |row| {
                    refers |= is_ours(row.str(0)?);
                    Ok(())
                })?;
            }
            Ok(refers)
        };
        let done = done.and_then(|answer| {
            if referring()? {
                return Err(statement_error(
                    "a table of yours is not to refer to one of the engine's, whose writes it would hold up; keep the id",
                ));
            }
            Ok(answer)
        });
        if done.is_err() {
            self.between("ROLLBACK TO tillite_table")?;
        }
        self.between("RELEASE tillite_table")?;
        done
    }
}

impl Statements for Hosting<'_> {
    fn execute(&mut self, sql: &str, values: &[HostValue<'_>]) -> Result<u64> {
        self.run(sql, |statement, looks| {
            let does = looks.does();
            // The first step does all the writing, whatever it answers. What changes a table has columns and
            // answers no row.
            if statement.column_count() > 0 && does != Does::Defines {
                return Err(statement_error("it answers rows; run it with query"));
            }
            let changed = statement
                .execute(params_from_iter(values))
                .map_err(|found| failure(&found))?;
            // Of another statement the library answers what the one before it changed.
            Ok(if does == Does::Writes { changed as u64 } else { 0 })
        })
    }

    fn query(
        &mut self,
        sql: &str,
        values: &[HostValue<'_>],
        row: &mut dyn FnMut(&HostRow<'_>) -> Result<()>,
    ) -> Result<()> {
        self.run(sql, |statement, _| {
            let mut rows = statement
                .query(params_from_iter(values))
                .map_err(|found| failure(&found))?;
            while let Some(found) = rows.next().map_err(|found| failure(&found))? {
                row(&HostRow::new(found))?;
            }
            Ok(())
        })
    }
}

impl ToSql for HostValue<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            HostValue::Null => ValueRef::Null,
            HostValue::Int(number) => ValueRef::Integer(*number),
            HostValue::Text(text) => ValueRef::Text(text.as_bytes()),
            HostValue::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

impl Cells for Row<'_> {
    fn cell(&self, column: usize) -> Result<HostValue<'_>> {
        match self.get_ref(column).map_err(|found| failure(&found))? {
            ValueRef::Null => Ok(HostValue::Null),
            ValueRef::Integer(number) => Ok(HostValue::Int(number)),
            ValueRef::Blob(bytes) => Ok(HostValue::Bytes(bytes)),
            ValueRef::Text(text) => std::str::from_utf8(text)
                .map(HostValue::Text)
                .map_err(|_| statement_error(&format!("column {column} holds a text that is not UTF-8"))),
            ValueRef::Real(_) => Err(statement_error(&format!(
                "column {column} holds a number with a fraction; CAST it"
            ))),
        }
    }
}

/// How much of what the library says of a statement is repeated.
const REPEATED: usize = 300;

fn statement_error(why: &str) -> Error {
    Error::Statement {
        why: text::kept(why, REPEATED),
    }
}

/// Whose failure it is: the disk's, or the statement's. A key that has come to its end is called a full disk by the
/// library; where the disk is full, that is said by what the engine writes next.
fn failure(found: &rusqlite::Error) -> Error {
    let of_the_disk = matches!(
        found.sqlite_error_code(),
        Some(
            ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::ReadOnly
                | ErrorCode::PermissionDenied
                | ErrorCode::CannotOpen
                | ErrorCode::NotADatabase
                | ErrorCode::DatabaseCorrupt
                | ErrorCode::SystemIoFailure
                | ErrorCode::OutOfMemory
                | ErrorCode::FileLockingProtocolFailed
                | ErrorCode::NoLargeFileSupport
                | ErrorCode::OperationInterrupted
        )
    );
    if of_the_disk && !is_of_the_hosts(found) {
        return error(found);
    }
    statement_error(&found.to_string())
}

/// Why a commit did not take place.
pub(super) enum Uncommitted {
    /// What a consumer wrote cannot be kept: a row refers to one that is not there, and was allowed to until now,
    /// or a virtual table of its own says no. Nothing was written; the transaction may still be open.
    Refused(Error),
    /// What became of it nobody knows.
    InDoubt(Error),
}

/// Commits a transaction in which the host's own code has run, or has not.
pub(super) fn commit(connection: &Connection, hosted: bool) -> std::result::Result<(), Uncommitted> {
    let committed = connection
        .prepare_cached("COMMIT")
        .and_then(|mut statement| statement.execute([]));
    committed.map(|_| ()).map_err(|found| {
        // All are found before anything is written for good. An error of no kind of its own is a virtual table's,
        // each of which is asked first: writing has its own.
        let is_broken = found.sqlite_error_code() == Some(ErrorCode::ConstraintViolation);
        let says_no = found.sqlite_error().map(|error| error.extended_code) == Some(ffi::SQLITE_ERROR);
        if hosted && (is_broken || says_no || is_of_the_hosts(&found)) {
            Uncommitted::Refused(statement_error(&format!("at the commit: {found}")))
        } else {
            Uncommitted::InDoubt(error(&found))
        }
    })
}
