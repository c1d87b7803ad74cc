//! Rows and values: everything that is written and read.
//!
//! The seam below is crate-private and sealed. SQL is written once, in the words that SQLite and
//! PostgreSQL share: placeholders `$1` to `$n` in order of first appearance, four value types, time
//! always a parameter. A backend runs it; [`sqlite`] is the one there is, and the only place that
//! names its library.
//!
//! A write is a command that owns its data, may be run more than once, and may be run on another
//! thread. Its value reaches the caller only after the commit, which it shares with whoever else
//! writes at that moment.

pub(crate) mod app;
mod apply;
pub(crate) mod attempt;
mod cache;
pub(crate) mod catalog;
mod codec;
pub(crate) mod consumer;
mod current;
pub(crate) mod customer;
pub(crate) mod delivery;
pub(crate) mod dispute;
pub(crate) mod dump;
pub(crate) mod endpoint;
pub(crate) mod entitlement;
pub(crate) mod event;
mod head;
pub(crate) mod idempotency;
pub(crate) mod method;
pub(crate) mod notice;
pub(crate) mod outbox;
mod pace;
pub(crate) mod payment;
pub(crate) mod refund;
pub(crate) mod replay;
pub(crate) mod retention;
pub(crate) mod session;
pub(crate) mod setup;
mod sqlite;
pub(crate) mod verify;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

pub(crate) use current::Asked;
pub(crate) use head::{Known, Moment, Shown, Tx, View};
pub(crate) use idempotency::remembered;
#[cfg(any(test, feature = "testing"))]
pub(crate) use pace::ByHand;
pub(crate) use pace::Pace;
pub(crate) use sqlite::{BUSY_WAIT, MEMORY, Place, Sqlite};
pub(crate) use verify::Expect as ExpectHead;
pub use verify::{Broken, Report};

use self::cache::{Cache, Trail, UnderWay};
use crate::alarm::Alarm;
use crate::consumer::Statements;
use crate::error::{Result, StorageError, StorageKind};
use crate::id::World;

/// A parameter of a statement: the whole type system of the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Null,
    Int(i64),
    Text(&'a str),
    Bytes(&'a [u8]),
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Value::Int(value)
    }
}

impl From<u32> for Value<'_> {
    fn from(value: u32) -> Self {
        Value::Int(i64::from(value))
    }
}

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Value::Int(i64::from(value))
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(value: &'a str) -> Self {
        Value::Text(value)
    }
}

impl<'a> From<&'a String> for Value<'a> {
    fn from(value: &'a String) -> Self {
        Value::Text(value)
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(value: &'a [u8]) -> Self {
        Value::Bytes(value)
    }
}

impl<'a> From<&'a [u8; 32]> for Value<'a> {
    fn from(value: &'a [u8; 32]) -> Self {
        Value::Bytes(value)
    }
}

impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
}

/// The columns of one row of a result. Reading a column as what it is not is a damaged file.
pub(crate) trait Row {
    fn maybe_int(&self, column: usize) -> Result<Option<i64>>;
    fn maybe_str(&self, column: usize) -> Result<Option<&str>>;
    fn maybe_bytes(&self, column: usize) -> Result<Option<Vec<u8>>>;

    /// A column of any type as text: numbers in decimal, texts quoted, bytes in hex.
    fn shown(&self, column: usize) -> Result<String>;

    fn int(&self, column: usize) -> Result<i64> {
        self.maybe_int(column)?
            .ok_or_else(|| codec::corrupt("a null where a number belongs"))
    }

    fn str(&self, column: usize) -> Result<&str> {
        self.maybe_str(column)?
            .ok_or_else(|| codec::corrupt("a null where a text belongs"))
    }

    fn maybe_text(&self, column: usize) -> Result<Option<String>> {
        Ok(self.maybe_str(column)?.map(str::to_owned))
    }

    fn text(&self, column: usize) -> Result<String> {
        self.str(column).map(str::to_owned)
    }

    fn bytes(&self, column: usize) -> Result<Vec<u8>> {
        self.maybe_bytes(column)?
            .ok_or_else(|| codec::corrupt("a null where bytes belong"))
    }
}

/// What is done with each row of a result.
pub(crate) type EachRow<'a> = &'a mut dyn FnMut(&dyn Row) -> Result<()>;

/// A transaction, as the code above the seam sees it.
pub(crate) trait Sql {
    /// Runs a statement that returns no rows; answers how many rows it changed.
    fn exec(&mut self, sql: &str, values: &[Value<'_>]) -> Result<u64>;

    /// Runs a statement to its end, handing over each row.
    fn each(&mut self, sql: &str, values: &[Value<'_>], row: EachRow<'_>) -> Result<()>;

    /// The names of a table's columns, in the order in which they stand in a row.
    fn columns(&mut self, table: &str) -> Result<Vec<String>>;

    /// Has the host's own code run statements in this transaction, kept off what is the engine's, and undoes
    /// what they did unless it answers that it is to be kept. While it runs, a call of an engine on its thread
    /// is refused. Fails if a statement undid the transaction, or left what cannot be kept.
    fn host(&mut self, _work: &mut dyn FnMut(&mut dyn Statements) -> bool) -> Result<()> {
        let detail = "the host's code was to write where one can only read";
        Err(StorageError::new(StorageKind::Unsupported, detail).into())
    }
}

/// A connection that reads committed rows.
pub(crate) trait Reading: Sql {
    /// What was noted of the file, as far as nobody has committed since. The file is asked when this
    /// is first called; what is noted then must have been read since.
    fn known(&mut self) -> Result<&mut Known>;
}

/// Rows of a world. The statement's own text ends in its condition on app and mode, `$1` and `$2`;
/// `rest` goes on from `$3`.
fn rows<T>(
    sql: &mut dyn Sql,
    world: World,
    statement: &str,
    rest: &str,
    values: &[Value<'_>],
    from_row: impl Fn(&dyn Row) -> Result<T>,
) -> Result<Vec<T>> {
    let mut all = vec![world.app.into(), codec::mode_number(world.mode).into()];
    all.extend_from_slice(values);
    let mut found = Vec::new();
    sql.each(&format!("{statement} {rest}"), &all, &mut |row| {
        found.push(from_row(row)?);
        Ok(())
    })?;
    Ok(found)
}

/// How far one look at rows whose time may be over has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Looked {
    /// Rows that were looked at.
    pub(crate) rows: usize,
    /// Rows that are gone.
    pub(crate) gone: usize,
}

/// Whom a command shares its transaction with.
///
/// Every transaction waits for the disk, that of a claim too, which could be lost without harm: what
/// was committed without waiting stands in the log before what is committed after it. If the next sync
/// fails, the former may be gone from the medium for good, and then a power cut loses everything
/// behind it, acknowledged or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// With whoever writes at the same moment.
    Shared,
    /// With nobody: it does so much that others would wait for it.
    Alone,
}

/// A command on its way to a backend. It owns its data, may be run more than once, and may be run
/// on another thread.
pub(crate) trait Command: Send {
    fn run(&mut self, sql: &mut dyn Sql) -> Result<()>;

    /// Called when what it wrote is committed, before anybody hears of it.
    fn committed(&mut self);
}

/// A database. Sealed: the implementations are in this crate.
pub(crate) trait Backend: Send + Sync {
    /// Runs a command on committed data, in one consistent view.
    fn read(&self, command: &mut dyn FnMut(&mut dyn Reading) -> Result<()>) -> Result<()>;

    /// Runs a command on committed data, of which each statement sees the newest.
    fn look(&self, command: &mut dyn FnMut(&mut dyn Reading) -> Result<()>) -> Result<()>;

    /// Runs a command and commits what it wrote, at the schema that this program knows; on an error
    /// nothing is written, but for an unknown commit, which is an error of its own kind.
    fn write(&self, access: Access, command: Box<dyn Command>) -> Result<()>;

    /// A number that changes when anybody has committed, in this process or another.
    fn commits_seen(&self) -> Result<i64>;

    /// What `integrity_check` and `foreign_key_check` found.
    fn check(&self) -> Result<Vec<String>>;

    /// Bytes in the write-ahead log.
    fn wal_bytes(&self) -> u64;

    /// Why the write-ahead log is not worked into the file any more, until all have closed it.
    fn log_failure(&self) -> Option<StorageError>;

    /// Copies everything that is committed to a file at a path where nothing is, on disk when this
    /// returns.
    fn backup(&self, to: &Path) -> Result<()>;

    /// Works the write-ahead log into the file.
    fn checkpoint(&self) -> Result<()>;
}

/// The store: typed reads and writes over a backend.
#[derive(Clone)]
pub(crate) struct Store {
    backend: Arc<dyn Backend>,
    cache: Arc<Cache>,
}

impl Store {
    pub(crate) fn new(backend: impl Backend + 'static) -> Store {
        Store {
            backend: Arc::new(backend),
            cache: Arc::default(),
        }
    }

    pub(crate) fn backend(&self) -> &dyn Backend {
        &*self.backend
    }

    /// Reads committed rows.
    pub(crate) fn read<T>(&self, query: impl FnOnce(&mut dyn Sql) -> Result<T>) -> Result<T> {
        self.read_at_once(|reading| {
            head::check_known_schema(reading)?;
            query(reading)
        })
    }

    /// Reads a world at its engine time, which is not before what was shown already.
    pub(crate) fn view<T>(
        &self,
        world: World,
        host_now: crate::time::Timestamp,
        shown: &Shown,
        query: impl FnOnce(&mut View<'_>) -> Result<T>,
    ) -> Result<T> {
        self.read_at_once(|reading| query(&mut head::view(reading, world, host_now, shown)?))
    }

    fn read_at_once<T>(&self, query: impl FnOnce(&mut dyn Reading) -> Result<T>) -> Result<T> {
        let mut query = Some(query);
        let mut found = None;
        self.backend.read(&mut |reading| {
            if let Some(query) = query.take() {
                found = Some(query(reading)?);
            }
            Ok(())
        })?;
        found.ok_or_else(|| codec::corrupt("a read that was never run"))
    }

    /// Runs a command outside any world, such as making an app.
    pub(crate) fn write_raw<T: Send + 'static>(
        &self,
        access: Access,
        mut command: impl FnMut(&mut dyn Sql) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.send(access, None, move |sql| Ok((command(sql)?, None)))
    }

    fn send<T: Send + 'static>(
        &self,
        access: Access,
        world: Option<World>,
        command: impl FnMut(&mut dyn Sql) -> Result<(T, Option<Trail>)> + Send + 'static,
    ) -> Result<T> {
        let answer = Arc::new(Mutex::new(None));
        let errand = Errand {
            command,
            done: None,
            answer: Arc::clone(&answer),
            cache: Arc::clone(&self.cache),
            world,
            under_way: None,
        };
        self.backend.write(access, Box::new(errand))?;
        let value = answer.lock().unwrap_or_else(PoisonError::into_inner).take();
        value.ok_or_else(|| codec::corrupt("a command that was never run"))
    }

    /// Runs a command in a world: its head moves first, so that writes are ordered by it. Answers
    /// also what of it somebody has to look at.
    pub(crate) fn write<T: Send + 'static>(
        &self,
        access: Access,
        moment: Moment,
        mut command: impl FnMut(&mut Tx<'_>) -> Result<T> + Send + 'static,
    ) -> Result<(T, Vec<Alarm>)> {
        self.send(access, Some(moment.world), move |sql| {
            let mut tx = head::begin(sql, &moment)?;
            let value = command(&mut tx)?;
            let alarms = std::mem::take(&mut tx.alarms);
            Ok(((value, alarms), Some(tx.finish()?)))
        })
    }
}

/// A command with the value that it answers, which the caller sees only after the commit.
struct Errand<F, T> {
    command: F,
    done: Option<(T, Option<Trail>)>,
    answer: Arc<Mutex<Option<T>>>,
    cache: Arc<Cache>,
    /// The world in which it writes.
    world: Option<World>,
    under_way: Option<UnderWay>,
}

impl<F, T> Command for Errand<F, T>
where
    F: FnMut(&mut dyn Sql) -> Result<(T, Option<Trail>)> + Send,
    T: Send,
{
    fn run(&mut self, sql: &mut dyn Sql) -> Result<()> {
        if let Some(world) = self.world {
            self.under_way.get_or_insert_with(|| self.cache.under_way(world));
        }
        self.done = None;
        self.done = Some((self.command)(sql)?);
        Ok(())
    }

    fn committed(&mut self) {
        let Some((value, trail)) = self.done.take() else {
            return;
        };
        if let (Some(under_way), Some(trail)) = (self.under_way.take(), trail) {
            under_way.committed(&trail);
        }
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
    }
}

#[cfg(test)]
mod tests;
