//! Who writes: callers stand in line with their commands, and whoever finds no leader becomes it
//! and writes for those behind, so that many callers share one transaction and one wait for the
//! disk.
//!
//! What holds here:
//! * The line is first come, first served, and the leader is always its front.
//! * A deadline counts from arrival. Who gives up leaves under the line's lock, so that nobody is
//!   told that the file is busy while the command is being run.
//! * Whoever was taken out of the line is answered, whatever becomes of the leader.

use std::any::Any;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Thread;
use std::time::Duration;

use crate::error::{Error, Result, StorageError, StorageKind};
use crate::store::{Access, Command, Pace};

/// The most commands that share a transaction.
const MOST_COMMANDS: usize = 256;

/// How long a transaction takes up further commands.
const LONGEST_BATCH: Duration = Duration::from_millis(5);

/// How long a caller whose command is being run parks before it looks again.
const LOOK: Duration = Duration::from_secs(1);

/// The line of callers.
#[derive(Default)]
pub(super) struct Group {
    line: Mutex<Line>,
}

#[derive(Default)]
struct Line {
    waiting: VecDeque<Arc<Ticket>>,
    led: bool,
}

/// A caller's place in the line.
pub(super) struct Ticket {
    thread: Thread,
    access: Access,
    /// When the caller gives up, by the pace's time.
    pub(super) until: Duration,
    state: Mutex<State>,
}

enum State {
    /// In the line.
    Waiting(Box<dyn Command>),
    /// At the front of the line, and called to lead.
    Called(Box<dyn Command>),
    /// Out of the line: the leader has the command.
    Taken,
    Answered(Answer),
}

/// What a caller is told.
pub(super) enum Answer {
    Done(Result<()>),
    /// The command panicked; the panic belongs to the thread that gave it.
    Panicked(Box<dyn Any + Send>),
}

/// Whose turn it is, as a caller hears it.
pub(super) enum Turn {
    /// To write for the whole line.
    Lead,
    Answered(Answer),
}

impl Group {
    /// Joins the line.
    pub(super) fn join(&self, access: Access, until: Duration, command: Box<dyn Command>) -> Arc<Ticket> {
        let mut line = locked(&self.line);
        let first = !std::mem::replace(&mut line.led, true);
        let state = if first {
            State::Called(command)
        } else {
            State::Waiting(command)
        };
        let ticket = Arc::new(Ticket {
            thread: std::thread::current(),
            access,
            until,
            state: Mutex::new(state),
        });
        line.waiting.push_back(Arc::clone(&ticket));
        ticket
    }

    /// Waits until a caller is called to lead or has its answer.
    pub(super) fn turn(&self, ticket: &Arc<Ticket>, pace: &dyn Pace) -> Turn {
        loop {
            {
                let mut state = locked(&ticket.state);
                match std::mem::replace(&mut *state, State::Taken) {
                    State::Answered(answer) => return Turn::Answered(answer),
                    State::Called(command) => {
                        *state = State::Called(command);
                        return Turn::Lead;
                    }
                    before => *state = before,
                }
            }
            let left = ticket.until.saturating_sub(pace.now());
            if left.is_zero() && self.leave(ticket, pace) {
                return Turn::Answered(Answer::Done(Err(busy())));
            }
            pace.park(if left.is_zero() { LOOK } else { left });
        }
    }

    /// Takes a caller out of the line; false if its command is being run already.
    pub(super) fn leave(&self, ticket: &Arc<Ticket>, pace: &dyn Pace) -> bool {
        let mut line = locked(&self.line);
        let Some(place) = line.waiting.iter().position(|other| Arc::ptr_eq(other, ticket)) else {
            return false;
        };
        line.waiting.remove(place);
        // It may have been called between its last look and here.
        let was_called = matches!(*locked(&ticket.state), State::Called(_));
        if was_called {
            call_next(&mut line, pace);
        }
        true
    }

    /// How many callers stand in the line.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        locked(&self.line).waiting.len()
    }

    /// The leader's hold on the line.
    pub(super) fn lead<'g>(&'g self, pace: &'g dyn Pace) -> Leading<'g> {
        Leading { group: self, pace }
    }
}

/// Calls the front of the line to lead.
fn call_next(line: &mut Line, pace: &dyn Pace) {
    let Some(front) = line.waiting.front() else {
        line.led = false;
        return;
    };
    let mut state = locked(&front.state);
    if let State::Waiting(command) = std::mem::replace(&mut *state, State::Taken) {
        *state = State::Called(command);
    }
    pace.wake(&front.thread);
}

/// Held by the one who writes; giving it up calls the next.
pub(super) struct Leading<'g> {
    group: &'g Group,
    pace: &'g dyn Pace,
}

impl<'g> Leading<'g> {
    /// Whom the front of the line shares with, and until when it waits.
    pub(super) fn front(&self) -> Option<(Access, Duration)> {
        let line = locked(&self.group.line);
        line.waiting.front().map(|front| (front.access, front.until))
    }

    /// Takes the front of the line, if there is one.
    pub(super) fn take_front(&self) -> Option<Taken<'g>> {
        self.take(|_| true)
    }

    /// Takes the front of the line into a transaction that holds `taken` commands already and has
    /// been open for so long, if it may share it.
    pub(super) fn next(&self, batch: Access, taken: usize, open: Duration) -> Option<Taken<'g>> {
        if taken >= MOST_COMMANDS || (taken > 0 && open >= LONGEST_BATCH) {
            return None;
        }
        self.take(|access| taken == 0 || (batch, access) == (Access::Shared, Access::Shared))
    }

    fn take(&self, fits: impl FnOnce(Access) -> bool) -> Option<Taken<'g>> {
        let mut line = locked(&self.group.line);
        if !fits(line.waiting.front()?.access) {
            return None;
        }
        let ticket = line.waiting.pop_front()?;
        let command = match std::mem::replace(&mut *locked(&ticket.state), State::Taken) {
            State::Waiting(command) | State::Called(command) => Some(command),
            State::Taken | State::Answered(_) => None,
        };
        Some(Taken {
            command: command?,
            reply: Reply {
                ticket: Some(ticket),
                pace: self.pace,
            },
        })
    }

    /// Tells everybody in the line that nothing can be written. Who joins it meanwhile is not told:
    /// callers that try again at once would keep the leader for ever.
    pub(super) fn refuse_all(&self, error: &Error) {
        let waiting = locked(&self.group.line).waiting.len();
        for taken in std::iter::from_fn(|| self.take_front()).take(waiting) {
            taken.reply.send(Answer::Done(Err(error.clone())));
        }
    }
}

impl Drop for Leading<'_> {
    fn drop(&mut self) {
        call_next(&mut locked(&self.group.line), self.pace);
    }
}

/// A command out of the line, and the way back to its caller.
pub(super) struct Taken<'g> {
    pub(super) command: Box<dyn Command>,
    pub(super) reply: Reply<'g>,
}

/// The way back to a caller. Dropped without an answer it says that the write failed.
pub(super) struct Reply<'g> {
    ticket: Option<Arc<Ticket>>,
    pace: &'g dyn Pace,
}

impl Reply<'_> {
    pub(super) fn send(mut self, answer: Answer) {
        self.answer(answer);
    }

    pub(super) fn answer(&mut self, answer: Answer) {
        if let Some(ticket) = self.ticket.take() {
            *locked(&ticket.state) = State::Answered(answer);
            self.pace.wake(&ticket.thread);
        }
    }
}

impl Drop for Reply<'_> {
    fn drop(&mut self) {
        let lost = StorageError::new(StorageKind::OutcomeUnknown, "whoever wrote for this call was stopped");
        self.answer(Answer::Done(Err(lost.into())));
    }
}

/// What a caller hears whose wait is over.
pub(super) fn busy() -> Error {
    StorageError::new(
        StorageKind::Busy,
        "neither a turn nor the file's lock was to be had in time",
    )
    .into()
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
