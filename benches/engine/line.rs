//! The hand-written leader: whoever finds nobody writing writes for all who wait. It leaves no gaps
//! for other processes, times nobody out and undoes nothing.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::Thread;

use rusqlite::Connection;

use crate::recording::Turn;
use crate::shop::run;

/// The most that goes into one transaction.
const BATCH: usize = 256;

pub(crate) struct Line {
    waiting: Mutex<(VecDeque<Waiting>, bool)>,
    connection: Mutex<Connection>,
}

struct Waiting {
    turn: Turn,
    thread: Thread,
    done: Arc<AtomicBool>,
}

impl Line {
    pub(crate) fn new(connection: Connection) -> Line {
        Line {
            waiting: Mutex::default(),
            connection: Mutex::new(connection),
        }
    }

    pub(crate) fn write(&self, turn: Turn) {
        let done = Arc::new(AtomicBool::new(false));
        let waiting = Waiting {
            turn,
            thread: std::thread::current(),
            done: Arc::clone(&done),
        };
        self.waiting.lock().unwrap().0.push_back(waiting);
        while !done.load(Ordering::Acquire) {
            let leads = !std::mem::replace(&mut self.waiting.lock().unwrap().1, true);
            if leads {
                self.lead();
            } else {
                std::thread::park();
            }
        }
    }

    fn lead(&self) {
        let connection = self.connection.lock().unwrap();
        let mut written = Vec::new();
        run(&connection, "BEGIN IMMEDIATE");
        while written.len() < BATCH {
            let Some(next) = self.waiting.lock().unwrap().0.pop_front() else {
                break;
            };
            run(&connection, "SAVEPOINT step");
            next.turn.write_open(&connection);
            run(&connection, "RELEASE step");
            written.push(next);
        }
        run(&connection, "COMMIT");
        let next = {
            let mut waiting = self.waiting.lock().unwrap();
            waiting.1 = false;
            waiting.0.front().map(|front| front.thread.clone())
        };
        for waiting in written {
            waiting.done.store(true, Ordering::Release);
            waiting.thread.unpark();
        }
        if let Some(next) = next {
            next.unpark();
        }
    }
}
