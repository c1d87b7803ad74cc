//! Statements stepped to their end, so that no error of theirs is dropped.

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, ToSql, ffi, params_from_iter};

use crate::error::{Error, Result, StorageError, StorageKind};
use crate::store::{EachRow, Row, Sql, Value};

/// A connection with a transaction open.
pub(super) struct Live<'c>(pub(super) &'c Connection);

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Value::Null => ValueRef::Null,
            Value::Int(number) => ValueRef::Integer(*number),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

impl Sql for Live<'_> {
    fn exec(&mut self, sql: &str, values: &[Value<'_>]) -> Result<u64> {
        debug_assert!(numbered_in_order(sql, values.len()), "{sql}");
        let mut statement = self.0.prepare_cached(sql).map_err(|found| error(&found))?;
        let changed = statement
            .execute(params_from_iter(values))
            .map_err(|found| error(&found))?;
        Ok(changed as u64)
    }

    fn each(&mut self, sql: &str, values: &[Value<'_>], row: EachRow<'_>) -> Result<()> {
        debug_assert!(numbered_in_order(sql, values.len()), "{sql}");
        let mut statement = self.0.prepare_cached(sql).map_err(|found| error(&found))?;
        let mut rows = statement
            .query(params_from_iter(values))
            .map_err(|found| error(&found))?;
        while let Some(found) = rows.next().map_err(|found| error(&found))? {
            row(found)?;
        }
        Ok(())
    }

    /// A statement's own names of its columns are no use: where a damaged file has one that is not
    /// UTF-8, asking for it panics.
    fn columns(&mut self, table: &str) -> Result<Vec<String>> {
        let mut names = Vec::new();
        let query = "SELECT name FROM pragma_table_info($1) ORDER BY cid";
        self.each(query, &[table.into()], &mut |row| {
            names.push(row.text(0)?);
            Ok(())
        })?;
        Ok(names)
    }
}

impl Row for rusqlite::Row<'_> {
    fn maybe_int(&self, column: usize) -> Result<Option<i64>> {
        match self.get_ref(column).map_err(|found| error(&found))? {
            ValueRef::Null => Ok(None),
            ValueRef::Integer(number) => Ok(Some(number)),
            other => Err(mistyped("a number", other)),
        }
    }

    fn maybe_str(&self, column: usize) -> Result<Option<&str>> {
        match self.get_ref(column).map_err(|found| error(&found))? {
            ValueRef::Null => Ok(None),
            ValueRef::Text(text) => match std::str::from_utf8(text) {
                Ok(text) => Ok(Some(text)),
                Err(_) => Err(mistyped("UTF-8 text", ValueRef::Text(&[]))),
            },
            other => Err(mistyped("a text", other)),
        }
    }

    fn maybe_bytes(&self, column: usize) -> Result<Option<Vec<u8>>> {
        match self.get_ref(column).map_err(|found| error(&found))? {
            ValueRef::Null => Ok(None),
            ValueRef::Blob(bytes) => Ok(Some(bytes.to_vec())),
            other => Err(mistyped("bytes", other)),
        }
    }

    fn shown(&self, column: usize) -> Result<String> {
        Ok(match self.get_ref(column).map_err(|found| error(&found))? {
            ValueRef::Null => "null".to_owned(),
            ValueRef::Integer(number) => number.to_string(),
            ValueRef::Real(number) => number.to_string(),
            ValueRef::Text(text) => format!("{:?}", String::from_utf8_lossy(text)),
            ValueRef::Blob(bytes) => data_encoding::HEXLOWER.encode(bytes),
        })
    }
}

fn mistyped(wanted: &str, found: ValueRef<'_>) -> Error {
    let detail = format!("a column holds {} where {wanted} belongs", found.data_type());
    StorageError::new(StorageKind::Corrupt, detail).into()
}

/// Runs a statement without parameters to its end.
pub(super) fn run(connection: &Connection, sql: &str) -> Result<()> {
    run_text(connection, sql).map(|_| ())
}

/// Runs a statement without parameters to its end; answers the first column of its first row as
/// text, if there is one.
pub(super) fn run_text(connection: &Connection, sql: &str) -> Result<Option<String>> {
    let mut statement = connection.prepare_cached(sql).map_err(|found| error(&found))?;
    let mut rows = statement.query([]).map_err(|found| error(&found))?;
    let mut first = None;
    while let Some(row) = rows.next().map_err(|found| error(&found))? {
        if first.is_none() {
            first = Some(match row.get_ref(0).map_err(|found| error(&found))? {
                ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
                ValueRef::Integer(number) => number.to_string(),
                _ => String::new(),
            });
        }
    }
    Ok(first)
}

/// Runs a statement without parameters to its end; answers the number in the first column of its
/// first row, if there is one.
pub(super) fn run_int(connection: &Connection, sql: &str) -> Result<Option<i64>> {
    let mut first = None;
    Live(connection).each(sql, &[], &mut |row| {
        if first.is_none() {
            first = Some(row.int(0)?);
        }
        Ok(())
    })?;
    Ok(first)
}

/// The kind of a library error, without the statement or any value of the file.
pub(super) fn error(found: &rusqlite::Error) -> Error {
    let kind = match found.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StorageKind::Busy,
        Some(ErrorCode::DiskFull) => StorageKind::DiskFull,
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => StorageKind::ReadOnly,
        Some(ErrorCode::CannotOpen) => StorageKind::CantOpen,
        Some(ErrorCode::NotADatabase) => StorageKind::NotADatabase,
        Some(ErrorCode::DatabaseCorrupt) => StorageKind::Corrupt,
        _ => StorageKind::Io,
    };
    let detail = match kind {
        // The library says no more, whatever it was, and adds the path to it where it opens one.
        StorageKind::CantOpen => CANT_OPEN.to_owned(),
        _ => found.to_string(),
    };
    StorageError::new(kind, detail).into()
}

/// Whether it was a sync that failed, of a file or its directory.
pub(super) fn is_failed_sync(found: &rusqlite::Error) -> bool {
    let code = found.sqlite_error().map(|error| error.extended_code);
    code == Some(ffi::SQLITE_IOERR_FSYNC) || code == Some(ffi::SQLITE_IOERR_DIR_FSYNC)
}

/// Whether it speaks of what the schema has none of, so that it is the host's: a virtual table's content, such
/// as that of full text, or the counter of a key that counts itself. Where one of these is damaged, the file
/// is not.
pub(super) fn is_of_the_hosts(found: &rusqlite::Error) -> bool {
    // The library has no name for the second in all versions.
    const SEQUENCE: i32 = ffi::SQLITE_CORRUPT | (2 << 8);
    let code = found.sqlite_error().map(|error| error.extended_code);
    code == Some(ffi::SQLITE_CORRUPT_VTAB) || code == Some(SEQUENCE)
}

/// What may be behind a file that the library cannot open.
const CANT_OPEN: &str = "unable to open the database, its log or the log's index; this user may not read and write \
                         them, something else is at the path, or the process has too many files open (ulimit -n)";

/// Whether the placeholders of a statement are `$1` to `$n`, first appearing in order: SQLite
/// numbers them by first appearance, PostgreSQL by their digits, and both must agree.
fn numbered_in_order(sql: &str, count: usize) -> bool {
    let mut highest = 0;
    for part in sql.split('$').skip(1) {
        let digits: String = part.chars().take_while(char::is_ascii_digit).collect();
        match digits.parse::<usize>() {
            Ok(number) if number <= highest => {}
            Ok(number) if number == highest + 1 => highest = number,
            _ => return false,
        }
    }
    highest == count
}
