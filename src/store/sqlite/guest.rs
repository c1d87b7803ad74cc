//! Statements of the host's on the connection that writes: kept off what is the engine's.
//!
//! SQLite asks an authorizer about everything that a statement would do, through whatever trigger or view,
//! when the statement is compiled. It is in place for as long as the connection is, since putting one in place
//! has every statement compiled anew, and lets everything pass but while a statement of the host's is
//! compiled and run. Such a statement is compiled each time: one that was kept would be the engine's as well.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, Row, Statement, ToSql, params_from_iter};

use super::statement::{Live, error, is_of_the_hosts};
use crate::consumer::{Cells, HostRow, HostValue, Statements};
use crate::error::{Error, Result};
use crate::store::dump::is_secret;
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

/// What a connection's authorizer and whoever runs statements on it share.
#[derive(Default)]
pub(super) struct Guard {
    /// Whether a statement of the host's is at work.
    on: AtomicBool,
    /// Whether the host's own code has run in the transaction that is open.
    has_hosted: AtomicBool,
    watched: Mutex<Watched>,
}

#[derive(Default)]
struct Watched {
    /// Whether the statement names something of the engine's.
    names_ours: bool,
    /// Tables that it makes, by its own word or by that of a module for full text.
    made: Vec<String>,
    /// Whether it makes, changes or drops a table or what belongs to one.
    defines: bool,
    /// Whether it writes rows.
    writes: bool,
    /// Why it was refused.
    refused: Option<String>,
}

impl Watched {
    fn notes(&mut self, action: &AuthAction<'_>) {
        if let AuthAction::CreateTable { table_name } = action {
            self.made.push((*table_name).to_owned());
        }
        match action {
            AuthAction::Insert { .. } | AuthAction::Update { .. } | AuthAction::Delete { .. } => self.writes = true,
            AuthAction::Select
            | AuthAction::Recursive
            | AuthAction::Read { .. }
            | AuthAction::Function { .. }
            | AuthAction::Pragma { .. } => {}
            _ => self.defines = true,
        }
    }
}

impl Guard {
    /// Puts the authorizer in place.
    pub(super) fn watch(self: &Arc<Self>, connection: &mut Connection) -> Result<()> {
        let guard = Arc::clone(self);
        let hook = move |context: AuthContext<'_>| guard.allows(&context);
        connection.authorizer(Some(hook)).placed()
    }

    /// Whether the host's own code has run since this was asked before.
    pub(super) fn take_hosted(&self) -> bool {
        self.has_hosted.swap(false, Ordering::AcqRel)
    }

    fn allows(&self, context: &AuthContext<'_>) -> Authorization {
        if !self.on.load(Ordering::Acquire) {
            return Authorization::Allow;
        }
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.notes(&context.action);
        let is_temporary = context.database_name == Some("temp");
        match refusal(&context.action, is_temporary, watched.names_ours) {
            None => Authorization::Allow,
            Some(why) => {
                watched.refused.get_or_insert(why);
                Authorization::Deny
            }
        }
    }

    /// Has the authorizer look, until what this answers is dropped.
    fn looking(&self, sql: &str) -> Looks<'_> {
        let names_ours = sql.to_ascii_lowercase().contains(OURS);
        *self.watched.lock().unwrap_or_else(PoisonError::into_inner) = Watched {
            names_ours,
            ..Watched::default()
        };
        self.on.store(true, Ordering::Release);
        Looks(self)
    }
}

struct Looks<'g>(&'g Guard);

impl Looks<'_> {
    fn refused(&self) -> Option<String> {
        self.seen(|watched| watched.refused.clone())
    }

    /// The tables that the statement makes, if one of them may refer to the engine's.
    fn may_refer(&self) -> Vec<String> {
        self.seen(|watched| match watched.names_ours {
            true => watched.made.clone(),
            false => Vec::new(),
        })
    }

    fn seen<T>(&self, of: impl FnOnce(&Watched) -> T) -> T {
        of(&self.0.watched.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks away while a statement of the engine's runs between the host's.
    fn away<T>(&self, work: impl FnOnce() -> T) -> T {
        self.0.on.store(false, Ordering::Release);
        let answer = work();
        self.0.on.store(true, Ordering::Release);
        answer
    }
}

impl Drop for Looks<'_> {
    fn drop(&mut self) {
        self.0.on.store(false, Ordering::Release);
    }
}

/// What putting an authorizer in place answers: nothing in some versions of the library, whether it worked
/// in others.
trait Placed {
    fn placed(self) -> Result<()>;
}

impl Placed for () {
    fn placed(self) -> Result<()> {
        Ok(())
    }
}

impl Placed for rusqlite::Result<()> {
    fn placed(self) -> Result<()> {
        self.map_err(|found| error(&found))
    }
}

/// How the name of everything begins that is the engine's.
const OURS: &str = "tillite_";

const TEMPORARY: &str = "what is temporary is gone with the connection, at any time; make a table";

fn is_ours(name: &str) -> bool {
    name.get(..OURS.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(OURS))
}

/// Why a statement of the host's may not do this; none if it may. What is not known here is refused.
fn refusal(action: &AuthAction<'_>, is_temporary: bool, names_ours: bool) -> Option<String> {
    let unless_ours = |names: &[&str]| {
        let ours = names.iter().find(|name| is_ours(name))?;
        Some(format!("{ours} is the engine's; write what is named otherwise"))
    };
    match *action {
        AuthAction::Select | AuthAction::Recursive => None,
        AuthAction::Function { function_name } => {
            let loads = function_name.eq_ignore_ascii_case("load_extension");
            loads.then(|| "no code can be loaded here".to_owned())
        }
        AuthAction::Read {
            table_name,
            column_name,
        } => {
            let secret = is_secret(table_name, column_name);
            secret.then(|| format!("{table_name}.{column_name} holds a secret; name the columns that you want"))
        }
        AuthAction::CreateTable { .. }
        | AuthAction::CreateVtable { .. }
        | AuthAction::CreateView { .. }
        | AuthAction::CreateIndex { .. }
        | AuthAction::CreateTrigger { .. }
            if is_temporary =>
        {
            Some(TEMPORARY.to_owned())
        }
        AuthAction::Insert { table_name }
        | AuthAction::Update { table_name, .. }
        | AuthAction::Delete { table_name }
        | AuthAction::CreateTable { table_name }
        | AuthAction::DropTable { table_name }
        | AuthAction::CreateVtable { table_name, .. }
        | AuthAction::DropVtable { table_name, .. }
        | AuthAction::Analyze { table_name } => unless_ours(&[table_name]),
        // What a table is renamed to is not asked about, so the statement may not have such a word at all.
        AuthAction::AlterTable { table_name, .. } => unless_ours(&[table_name]).or_else(|| {
            let why = "a table of yours is not to be given a name that begins with tillite_, nor a reference to one";
            names_ours.then(|| why.to_owned())
        }),
        AuthAction::CreateView { view_name } | AuthAction::DropView { view_name } => unless_ours(&[view_name]),
        AuthAction::CreateIndex { index_name, table_name } | AuthAction::DropIndex { index_name, table_name } => {
            unless_ours(&[index_name, table_name])
        }
        // What a trigger does is asked about when something fires it, which may be a statement of the engine's.
        AuthAction::CreateTrigger {
            trigger_name,
            table_name,
        } => unless_ours(&[trigger_name, table_name]).or_else(|| {
            let why = "a trigger names nothing that begins with tillite_; run its statement where its event is";
            names_ours.then(|| why.to_owned())
        }),
        AuthAction::DropTrigger {
            trigger_name,
            table_name,
        } => unless_ours(&[trigger_name, table_name]),
        AuthAction::Reindex { index_name } => unless_ours(&[index_name]),
        // Full-text tables ask it by themselves; it changes nothing.
        AuthAction::Pragma {
            pragma_name: "data_version",
            ..
        } => None,
        AuthAction::Pragma { .. } => Some("PRAGMA is not for consumers".to_owned()),
        AuthAction::Attach { .. } | AuthAction::Detach { .. } => {
            Some("only the engine's own file belongs to its transaction".to_owned())
        }
        AuthAction::Transaction { .. } | AuthAction::Savepoint { .. } => {
            Some("the transaction is the engine's; answer an error to undo an event".to_owned())
        }
        AuthAction::CreateTempTable { .. }
        | AuthAction::CreateTempView { .. }
        | AuthAction::CreateTempIndex { .. }
        | AuthAction::CreateTempTrigger { .. } => Some(TEMPORARY.to_owned()),
        _ => Some("that is not for consumers".to_owned()),
    }
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
        self.guard.has_hosted.store(true, Ordering::Release);
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
                "a statement undid the whole transaction; use ABORT, not ROLLBACK, in conflict clauses and RAISE",
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
        if has_second_statement(sql) {
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
        // It may have undone the whole transaction.
        self.check_open()?;
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
        let done = done.and_then(|answer| match referring()? {
            false => Ok(answer),
            true => Err(statement_error(
                "a table of yours is not to refer to one of the engine's, whose writes it would hold up; keep the id",
            )),
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
            let (writes, defines) = looks.seen(|watched| (watched.writes, watched.defines));
            // The first step does all the writing, whatever it answers. What changes a table has columns and
            // answers no row.
            if statement.column_count() > 0 && !defines {
                return Err(statement_error("it answers rows; run it with query"));
            }
            let changed = statement
                .execute(params_from_iter(values))
                .map_err(|found| failure(&found))?;
            // Of another statement the library answers what the one before it changed.
            Ok(if writes && !defines { changed as u64 } else { 0 })
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

/// Whose failure it is: the disk's, or the statement's.
fn failure(found: &rusqlite::Error) -> Error {
    let of_the_disk = matches!(
        found.sqlite_error_code(),
        Some(
            ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::DiskFull
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
    /// A row that a consumer wrote refers to one that is not there, and was allowed to until now, or a table
    /// of full text of its own is damaged. Nothing was written; the transaction may still be open.
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
        // Both are found before anything is written for good.
        let is_broken = found.sqlite_error_code() == Some(ErrorCode::ConstraintViolation);
        if hosted && (is_broken || is_of_the_hosts(&found)) {
            Uncommitted::Refused(statement_error(&format!("at the commit: {found}")))
        } else {
            Uncommitted::InDoubt(error(&found))
        }
    })
}

/// Whether something stands behind the first statement of a text. Not every version of the library says so.
/// In the definition of a trigger, statements end before it does; there it says so or ignores the rest.
fn has_second_statement(sql: &str) -> bool {
    let mut rest = after_blanks(sql);
    let words: Vec<String> = rest
        .split_ascii_whitespace()
        .take(3)
        .map(str::to_ascii_lowercase)
        .collect();
    let is = |at: usize, known: &str| words.get(at).is_some_and(|word| word == known);
    if is(0, "create") && (is(1, "trigger") || is(2, "trigger")) {
        return false;
    }
    while let Some(next) = rest.chars().next() {
        let tail = &rest[next.len_utf8()..];
        rest = match next {
            ';' => return !after_blanks(tail).is_empty(),
            '\'' | '"' | '`' => behind(tail, next),
            '[' => behind(tail, ']'),
            _ => behind_comment(rest).unwrap_or(tail),
        };
    }
    false
}

/// What stands behind the next such character; nothing if there is none.
fn behind(text: &str, end: char) -> &str {
    text.split_once(end).map_or("", |(_, rest)| rest)
}

/// What is left of a text without blanks, comments and empty statements at its beginning.
fn after_blanks(text: &str) -> &str {
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == ';');
        match behind_comment(rest) {
            Some(next) => rest = next,
            None => return rest,
        }
    }
}

/// What stands behind the comment that a text begins with; none if it begins with something else.
fn behind_comment(text: &str) -> Option<&str> {
    match text.get(..2)? {
        "--" => Some(behind(text, '\n')),
        "/*" => Some(text[2..].split_once("*/").map_or("", |(_, rest)| rest)),
        _ => None,
    }
}
