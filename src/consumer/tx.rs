//! What a consumer writes and reads with: four types of values, and no type of the database library.

use std::fmt;

use crate::error::{Error, Result};
use crate::id::Mode;

/// The transaction in which an event is taken, with the host's own tables.
///
/// It writes tables of the host's and reads any, but not the columns that hold secrets of endpoints and
/// API keys. Everything else is refused, and nothing of it is done: writing what is named `tillite_…`, be it
/// through a trigger or a view; making something of such a name or on such a table, a table that refers to
/// one (`REFERENCES`), or a trigger in which such a name stands, since either would have a part in the
/// engine's own writes; temporary tables; `PRAGMA`, `ATTACH`, `DETACH`, `VACUUM`; and the words of
/// transactions, since the transaction is the engine's. One statement at a time; tables may be made and
/// changed.
///
/// A statement that fails undoes itself and nothing else; a consumer that goes on and answers `Ok` keeps the
/// rest. One that undoes the whole transaction (`OR ROLLBACK`, `RAISE(ROLLBACK)`) fails its event whatever
/// the consumer answers, and so does a deferred foreign key that is still open at the commit.
pub struct HostTx<'a> {
    statements: &'a mut dyn Statements,
    app: &'a str,
    mode: Mode,
    /// What the disk said, if it failed: that is nothing that a consumer can decide about.
    failed: Option<Error>,
}

/// Where statements of the host's run.
pub(crate) trait Statements {
    /// Runs one that answers no rows; answers how many rows it changed.
    fn execute(&mut self, sql: &str, values: &[HostValue<'_>]) -> Result<u64>;

    /// Runs one to its end, handing over each row.
    fn query(
        &mut self,
        sql: &str,
        values: &[HostValue<'_>],
        row: &mut dyn FnMut(&HostRow<'_>) -> Result<()>,
    ) -> Result<()>;
}

impl<'a> HostTx<'a> {
    pub(crate) fn new(statements: &'a mut dyn Statements, app: &'a str, mode: Mode) -> HostTx<'a> {
        HostTx {
            statements,
            app,
            mode,
            failed: None,
        }
    }

    /// What the disk said, if it failed.
    pub(crate) fn into_failure(self) -> Option<Error> {
        self.failed
    }

    /// The slug of the app that the event is of.
    #[must_use]
    pub fn app(&self) -> &str {
        self.app
    }

    /// The mode that the event is of.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Runs a statement that answers no rows; answers how many rows it changed, 0 for one that makes, changes
    /// or drops a table. Values stand as `$1` to `$n`, or as `?`.
    ///
    /// # Errors
    /// [`Error::Statement`] for one that is refused, does not read, is broken by a constraint, or answers
    /// rows; [`Error::Storage`] if the disk failed: then the whole batch is undone, and no failure of the
    /// consumer's.
    pub fn execute(&mut self, sql: &str, values: &[HostValue<'_>]) -> Result<u64> {
        let answer = self.statements.execute(sql, values);
        self.noted(answer)
    }

    /// Runs a statement and answers what `row` makes of each row.
    ///
    /// # Errors
    /// As [`HostTx::execute`], and those of `row`.
    pub fn query<T>(
        &mut self,
        sql: &str,
        values: &[HostValue<'_>],
        mut row: impl FnMut(&HostRow<'_>) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut found = Vec::new();
        let answer = self.statements.query(sql, values, &mut |cells| {
            found.push(row(cells)?);
            Ok(())
        });
        self.noted(answer)?;
        Ok(found)
    }

    fn noted<T>(&mut self, answer: Result<T>) -> Result<T> {
        if let Err(error @ Error::Storage(_)) = &answer {
            self.failed.get_or_insert_with(|| error.clone());
        }
        answer
    }
}

impl fmt::Debug for HostTx<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostTx")
            .field("app", &self.app)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

/// A value of a statement or of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostValue<'a> {
    /// No value.
    Null,
    /// A whole number; there are no others here, for amounts are whole numbers of minor units.
    Int(i64),
    /// A text.
    Text(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
}

impl From<i64> for HostValue<'_> {
    fn from(value: i64) -> Self {
        HostValue::Int(value)
    }
}

impl From<i32> for HostValue<'_> {
    fn from(value: i32) -> Self {
        HostValue::Int(i64::from(value))
    }
}

impl From<u32> for HostValue<'_> {
    fn from(value: u32) -> Self {
        HostValue::Int(i64::from(value))
    }
}

impl From<bool> for HostValue<'_> {
    fn from(value: bool) -> Self {
        HostValue::Int(i64::from(value))
    }
}

impl<'a> From<&'a str> for HostValue<'a> {
    fn from(value: &'a str) -> Self {
        HostValue::Text(value)
    }
}

impl<'a> From<&'a String> for HostValue<'a> {
    fn from(value: &'a String) -> Self {
        HostValue::Text(value)
    }
}

impl<'a> From<&'a [u8]> for HostValue<'a> {
    fn from(value: &'a [u8]) -> Self {
        HostValue::Bytes(value)
    }
}

impl<'a, T: Into<HostValue<'a>>> From<Option<T>> for HostValue<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(HostValue::Null, Into::into)
    }
}

/// The columns of one row, counted from 0.
pub struct HostRow<'r>(&'r dyn Cells);

/// Where the columns of a row come from.
pub(crate) trait Cells {
    fn cell(&self, column: usize) -> Result<HostValue<'_>>;
}

impl<'r> HostRow<'r> {
    pub(crate) fn new(cells: &'r dyn Cells) -> HostRow<'r> {
        HostRow(cells)
    }

    /// The value in a column.
    ///
    /// # Errors
    /// [`Error::Statement`] for a column that the row does not have, and for what is none of the four types:
    /// a number with a fraction, or a text that is not UTF-8. `CAST` it in the statement.
    pub fn get(&self, column: usize) -> Result<HostValue<'_>> {
        self.0.cell(column)
    }

    /// The whole number in a column; none for a null.
    ///
    /// # Errors
    /// [`Error::Statement`] if it is something else.
    pub fn maybe_int(&self, column: usize) -> Result<Option<i64>> {
        match self.get(column)? {
            HostValue::Null => Ok(None),
            HostValue::Int(number) => Ok(Some(number)),
            other => Err(mistyped(column, "a number", other)),
        }
    }

    /// The whole number in a column.
    ///
    /// # Errors
    /// [`Error::Statement`] if it is something else.
    pub fn int(&self, column: usize) -> Result<i64> {
        self.maybe_int(column)?
            .ok_or_else(|| mistyped(column, "a number", HostValue::Null))
    }

    /// The text in a column; none for a null.
    ///
    /// # Errors
    /// [`Error::Statement`] if it is something else.
    pub fn maybe_text(&self, column: usize) -> Result<Option<String>> {
        match self.get(column)? {
            HostValue::Null => Ok(None),
            HostValue::Text(text) => Ok(Some(text.to_owned())),
            other => Err(mistyped(column, "a text", other)),
        }
    }

    /// The text in a column.
    ///
    /// # Errors
    /// [`Error::Statement`] if it is something else.
    pub fn text(&self, column: usize) -> Result<String> {
        self.maybe_text(column)?
            .ok_or_else(|| mistyped(column, "a text", HostValue::Null))
    }
}

impl fmt::Debug for HostRow<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostRow").finish_non_exhaustive()
    }
}

/// The error of a column that holds something else; it does not repeat what.
fn mistyped(column: usize, wanted: &str, found: HostValue<'_>) -> Error {
    let found = match found {
        HostValue::Null => "a null",
        HostValue::Int(_) => "a number",
        HostValue::Text(_) => "a text",
        HostValue::Bytes(_) => "bytes",
    };
    Error::Statement {
        why: format!("column {column} holds {found} where {wanted} was asked for"),
    }
}
