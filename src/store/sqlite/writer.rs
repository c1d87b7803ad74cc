//! The writing connection, and the transaction that a batch of commands shares.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;

use super::group::{Answer, Leading, Reply, Taken, busy};
use super::guest::{Guard, Hosting, Uncommitted, commit};
use super::log::{Log, Trust};
use super::open::{self, wait_for_locks};
use super::statement::{Live, run};
use super::{Place, unknown};
use crate::error::{Error, Result, StorageError, StorageKind};
use crate::store::{Access, Command, Pace, head};

/// How often the file's lock is asked for while another process has it.
const POLL: Duration = Duration::from_micros(200);

/// After holding the lock for so long without a gap, one is left for other processes.
const LONGEST_HOLD: Duration = Duration::from_millis(20);

/// How long such a gap is: two polls of another process and more.
const GAP: Duration = Duration::from_micros(500);

/// The writing connection.
pub(super) struct Writer {
    place: Place,
    /// None after a failure that left it in doubt.
    connection: Option<Connection>,
    /// What keeps statements of the host's off the engine's tables.
    guard: Arc<Guard>,
    held: Held,
    pub(super) log: Log,
}

/// A run of transactions without a gap between them, by the pace's time.
#[derive(Default)]
struct Held {
    since: Duration,
    ended: Duration,
}

impl Writer {
    /// Takes over a connection that has just been opened.
    pub(super) fn new(place: Place, connection: Connection, trust: Arc<Trust>) -> Result<Writer> {
        let mut writer = Writer {
            log: Log::of(place.clone(), trust),
            place,
            connection: None,
            guard: Arc::default(),
            held: Held::default(),
        };
        writer.adopt(connection)?;
        Ok(writer)
    }

    fn adopt(&mut self, mut connection: Connection) -> Result<()> {
        self.guard.watch(&mut connection)?;
        // The lock is polled for here, so that how long and how often is decided in one place.
        wait_for_locks(&connection, Duration::ZERO)?;
        if planted!(CommitsDoNotWait) {
            run(&connection, "PRAGMA synchronous = NORMAL")?;
        }
        self.log.adopt(&connection)?;
        self.connection = Some(connection);
        Ok(())
    }

    /// The connection; a new one in place of one that was given up, if `check` finds that it is to
    /// the same file.
    pub(super) fn connection(&mut self, check: impl FnOnce() -> Result<()>) -> Result<&Connection> {
        if self.connection.is_none() {
            let connection = open::writer(&self.place)?;
            check()?;
            self.adopt(connection)?;
        }
        self.connection
            .as_ref()
            .ok_or_else(|| StorageError::new(StorageKind::Io, "the connection was given up").into())
    }

    /// Runs as many commands of the line as may share a transaction, commits them, and answers
    /// everybody only then: an answer drawn from a neighbour's uncommitted row would be lost with
    /// it.
    pub(super) fn run_batch(&mut self, leading: &Leading<'_>, pace: &dyn Pace, check: impl Fn() -> Result<()>) {
        let Some((access, until)) = leading.front() else {
            return;
        };
        let begun = check().and_then(|()| {
            let connection = self.connection(check)?;
            if planted!(ClaimsDoNotWait) {
                let waits = if access == Access::Shared { "FULL" } else { "NORMAL" };
                run(connection, &format!("PRAGMA synchronous = {waits}"))?;
            }
            self.leave_a_gap(pace);
            if self.log.is_behind() && self.begin(until, pace)? {
                // Nobody else writes now. What is written in this transaction would not begin the log
                // anew, but what is written in the next will, unless somebody is quicker.
                if let Some(connection) = &self.connection {
                    self.log.catch_up(connection);
                }
                self.roll_back();
            }
            self.begin(until, pace)
        });
        match begun {
            Ok(true) => {}
            // The others in the line came later and wait longer.
            Ok(false) => {
                if let Some(front) = leading.take_front() {
                    front.reply.send(Answer::Done(Err(busy())));
                }
                return;
            }
            Err(error) => {
                self.roll_back();
                return leading.refuse_all(&error);
            }
        }
        let Some(connection) = &self.connection else {
            return;
        };
        let guard = &*self.guard;
        let batch = Batch::run(Hosting { connection, guard }, access, leading, pace);
        #[cfg(tillite_planted)]
        let batch = batch.answered_early();
        let ended = batch.end(connection, self.place.on_disk().is_some(), guard.take_hosted());
        let commands = ended.steps.len();
        self.held.ended = pace.now();
        if let Some(error) = ended.in_doubt {
            self.give_up();
            for (_, reply, step) in ended.steps {
                reply.send(match step {
                    Step::Panicked(panic) => Answer::Panicked(panic),
                    _ => Answer::Done(Err(error.clone())),
                });
            }
            return;
        }
        let mut steps = ended.steps;
        // What follows from the commits is in place before the first caller goes on.
        for (command, _, step) in &mut steps {
            if matches!(step, Step::Written) {
                command.committed();
            }
        }
        for (_, reply, step) in steps {
            reply.send(step.into_answer());
        }
        if let Some(connection) = &self.connection {
            self.log.tend(connection, commands);
        }
        self.held.ended = pace.now();
    }

    /// Lets go of the file's lock for a moment if it was held for long: whoever polls for it in
    /// another process would otherwise hardly ever find it free.
    fn leave_a_gap(&mut self, pace: &dyn Pace) {
        if self.place.path().is_none() {
            return;
        }
        let now = pace.now();
        if now.saturating_sub(self.held.ended) >= GAP {
            self.held.since = now;
        } else if now.saturating_sub(self.held.since) >= LONGEST_HOLD {
            pace.sleep(GAP);
            self.held.since = pace.now();
        }
    }

    /// Begins a transaction at the schema that this program knows; false if the file's lock was not
    /// to be had in time.
    fn begin(&self, until: Duration, pace: &dyn Pace) -> Result<bool> {
        let Some(connection) = &self.connection else {
            return Ok(false);
        };
        loop {
            match run(connection, "BEGIN IMMEDIATE") {
                Ok(()) => break,
                Err(Error::Storage(error)) if error.kind == StorageKind::Busy => {}
                Err(error) => return Err(error),
            }
            let left = until.saturating_sub(pace.now());
            if left.is_zero() {
                return Ok(false);
            }
            pace.sleep(POLL.min(left));
        }
        head::check_schema(&mut Live(connection))?;
        Ok(true)
    }

    fn roll_back(&mut self) {
        let undone = match &self.connection {
            Some(connection) => connection.is_autocommit() || run(connection, "ROLLBACK").is_ok(),
            None => true,
        };
        if !undone {
            self.give_up();
        }
    }

    /// Drops a connection whose transaction is in doubt. One in memory is the database itself and
    /// stays.
    fn give_up(&mut self) {
        if self.place.path().is_some() {
            self.connection = None;
        } else if let Some(connection) = &self.connection
            && !connection.is_autocommit()
        {
            let _ = run(connection, "ROLLBACK");
        }
    }

    /// Works the whole write-ahead log into the file; false if somebody holds that up.
    pub(super) fn checkpoint(&mut self, check: impl FnOnce() -> Result<()>) -> Result<bool> {
        self.connection(check)?;
        let Some(connection) = &self.connection else {
            return Ok(false);
        };
        Ok(self.log.empty(connection, self.place.busy_wait())?.whole)
    }
}

/// What came of a command, before the commit.
enum Step {
    Written,
    Refused(Error),
    Panicked(Box<dyn Any + Send>),
}

impl Step {
    fn into_answer(self) -> Answer {
        match self {
            Step::Written => Answer::Done(Ok(())),
            Step::Refused(error) => Answer::Done(Err(error)),
            Step::Panicked(panic) => Answer::Panicked(panic),
        }
    }
}

type Steps<'g> = Vec<(Box<dyn Command>, Reply<'g>, Step)>;

/// The commands that share a transaction.
struct Batch<'g> {
    steps: Steps<'g>,
    /// Why the whole transaction is undone.
    undone: Option<Error>,
}

/// A batch behind its commit.
struct Ended<'g> {
    steps: Steps<'g>,
    /// Why nobody knows whether it is on disk.
    in_doubt: Option<Error>,
}

impl<'g> Batch<'g> {
    fn run(hosting: Hosting<'_>, access: Access, leading: &Leading<'g>, pace: &dyn Pace) -> Batch<'g> {
        let began = pace.now();
        let mut batch = Batch {
            steps: Vec::new(),
            undone: None,
        };
        while let Some(Taken { mut command, reply }) =
            leading.next(access, batch.steps.len(), pace.now().saturating_sub(began))
        {
            let (step, undoing_failed) = if batch.steps.is_empty() {
                (first_step(hosting, &mut *command), false)
            } else {
                later_step(hosting, &mut *command)
            };
            let failed = !matches!(step, Step::Written);
            batch.steps.push((command, reply, step));
            // The first has the transaction to itself until it has succeeded, and takes it along.
            if failed && batch.steps.len() == 1 {
                break;
            }
            // Some failures undo the whole transaction behind the library's back; and where a step
            // cannot be undone alone, everything is.
            if undoing_failed || hosting.connection.is_autocommit() {
                batch.undone = Some(batch.cause());
                break;
            }
        }
        batch
    }

    /// Why the transaction is gone: the failure of the command that ran last.
    fn cause(&self) -> Error {
        match self.steps.last() {
            Some((_, _, Step::Refused(error @ Error::Storage(_)))) => error.clone(),
            _ => StorageError::new(StorageKind::Io, "the transaction was undone by a failure").into(),
        }
    }

    #[cfg(tillite_planted)]
    fn answered_early(mut self) -> Batch<'g> {
        for (command, reply, step) in &mut self.steps {
            if planted!(AnswersBeforeCommit) && matches!(step, Step::Written) {
                command.committed();
                reply.answer(Answer::Done(Ok(())));
                *step = Step::Refused(busy());
            }
        }
        self
    }

    /// Commits. On a file of the operating system a commit for which there was no room is undone for
    /// certain: what it writes last is what would make it one, and nothing behind that.
    fn end(mut self, connection: &Connection, is_undone_when_full: bool, hosted: bool) -> Ended<'g> {
        let mut in_doubt = None;
        if !connection.is_autocommit() {
            if self.undone.is_none() && self.steps.iter().any(|(_, _, step)| matches!(step, Step::Written)) {
                match commit(connection, hosted) {
                    Ok(()) => {}
                    Err(Uncommitted::InDoubt(error)) => in_doubt = Some(error),
                    Err(Uncommitted::Refused(error)) => {
                        self.undone = Some(error);
                        // Where even this fails, the next transaction cannot begin, and the connection goes.
                        let _ = run(connection, "ROLLBACK");
                    }
                }
                if planted!(FailedCommitIsSuccess) {
                    in_doubt = None;
                }
                let is_full =
                    |error: &Error| matches!(error, Error::Storage(found) if found.kind == StorageKind::DiskFull);
                if is_undone_when_full && in_doubt.as_ref().is_some_and(is_full) {
                    self.undone = in_doubt.take();
                    if !connection.is_autocommit() {
                        let _ = run(connection, "ROLLBACK");
                    }
                }
            } else {
                // Where even this fails, the next transaction cannot begin, and the connection goes.
                let _ = run(connection, "ROLLBACK");
            }
        }
        if let Some(error) = &self.undone {
            for (_, _, step) in &mut self.steps {
                if !matches!(step, Step::Panicked(_)) {
                    *step = Step::Refused(error.clone());
                }
            }
        }
        Ended {
            steps: self.steps,
            in_doubt: in_doubt.as_ref().map(unknown),
        }
    }
}

/// Runs the first command of a transaction. What it did is undone with the transaction.
fn first_step(hosting: Hosting<'_>, command: &mut dyn Command) -> Step {
    let connection = hosting.connection;
    let step = call(hosting, command);
    if !matches!(step, Step::Written) && !connection.is_autocommit() {
        // Should this fail, nothing is committed all the same.
        let _ = run(connection, "ROLLBACK");
    }
    step
}

/// Runs a further command of a transaction, so that it can be undone alone. Answers also whether that
/// failed, so that nothing of the transaction can be kept.
fn later_step(hosting: Hosting<'_>, command: &mut dyn Command) -> (Step, bool) {
    let connection = hosting.connection;
    if let Err(error) = run(connection, "SAVEPOINT tillite_step") {
        return (Step::Refused(error), false);
    }
    let step = call(hosting, command);
    if connection.is_autocommit() {
        return (step, false);
    }
    let closed = match &step {
        Step::Written => run(connection, "RELEASE tillite_step"),
        _ => run(connection, "ROLLBACK TO tillite_step").and_then(|()| run(connection, "RELEASE tillite_step")),
    };
    match closed {
        Ok(()) => (step, false),
        Err(error) => (Step::Refused(error), true),
    }
}

fn call(mut hosting: Hosting<'_>, command: &mut dyn Command) -> Step {
    match catch_unwind(AssertUnwindSafe(|| command.run(&mut hosting))) {
        Ok(Ok(())) => Step::Written,
        Ok(Err(error)) => Step::Refused(error),
        Err(panic) => Step::Panicked(panic),
    }
}
