//! Whose turn it is: several threads, of which one runs at a time. The turn changes only where a
//! thread offers it, and by a seed, so that a run can be repeated.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Thread;
use std::time::Duration;

use crate::store::Pace;
use crate::testing::chance::Chance;
use crate::testing::locked;

/// The turn, and the time that waiting takes.
pub(super) struct Baton {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    turn: usize,
    running: Vec<bool>,
    chance: Chance,
    /// How often an offered turn is taken, in percent.
    eager: u64,
    /// Time that was waited. Nothing else takes any.
    now: Duration,
}

thread_local! {
    /// Which of the threads this is; none outside a run.
    static ME: Cell<Option<usize>> = const { Cell::new(None) };
}

/// What one thread of a run does.
pub(super) type Share<'s> = Box<dyn FnOnce() + Send + 's>;

impl Baton {
    pub(super) fn new(chance: Chance) -> Baton {
        Baton {
            state: Mutex::new(State {
                turn: 0,
                running: Vec::new(),
                chance,
                eager: 0,
                now: Duration::ZERO,
            }),
            changed: Condvar::new(),
        }
    }

    /// Runs the shares, each in a thread of its own, one at a time. Answers the panics that were
    /// not caught inside.
    pub(super) fn run(&self, eager: u64, shares: Vec<Share<'_>>) -> Vec<Box<dyn Any + Send>> {
        {
            let mut state = locked(&self.state);
            state.running = vec![true; shares.len()];
            state.eager = eager;
            state.turn = state.pick(usize::MAX).unwrap_or(0);
        }
        std::thread::scope(|scope| {
            let threads: Vec<_> = shares
                .into_iter()
                .enumerate()
                .map(|(me, share)| {
                    scope.spawn(move || {
                        ME.set(Some(me));
                        drop(self.wait_for(me, locked(&self.state)));
                        let panic = catch_unwind(AssertUnwindSafe(share)).err();
                        self.end(me);
                        panic
                    })
                })
                .collect();
            let ended = threads.into_iter().map(|thread| thread.join().unwrap_or_else(Some));
            ended.flatten().collect()
        })
    }

    /// Offers the turn.
    pub(super) fn offer(&self) {
        self.switch(|state| {
            let eager = state.eager;
            state.chance.percent(eager)
        });
    }

    /// Gives the turn away, if anybody is there to take it.
    pub(super) fn give_away(&self) {
        self.switch(|_| true);
    }

    fn switch(&self, decide: impl FnOnce(&mut State) -> bool) {
        let Some(me) = ME.get() else {
            return;
        };
        let mut state = locked(&self.state);
        if !decide(&mut state) {
            return;
        }
        let Some(other) = state.pick(me) else {
            return;
        };
        state.turn = other;
        self.changed.notify_all();
        drop(self.wait_for(me, state));
    }

    fn end(&self, me: usize) {
        ME.set(None);
        let mut state = locked(&self.state);
        if let Some(running) = state.running.get_mut(me) {
            *running = false;
        }
        if let Some(other) = state.pick(me) {
            state.turn = other;
        }
        self.changed.notify_all();
    }

    fn wait_for<'s>(&self, me: usize, state: MutexGuard<'s, State>) -> MutexGuard<'s, State> {
        let mine = self.changed.wait_while(state, |state| state.turn != me);
        mine.unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// One of those that run, but for one.
    fn pick(&mut self, but: usize) -> Option<usize> {
        let others = || (0..self.running.len()).filter(|who| *who != but && self.running[*who]);
        let count = others().count();
        if count == 0 {
            return None;
        }
        let at = usize::try_from(self.chance.clone().below(count as u64)).unwrap_or(0);
        let picked = others().nth(at);
        self.chance.next();
        picked
    }
}

impl Pace for Baton {
    fn now(&self) -> Duration {
        locked(&self.state).now
    }

    fn sleep(&self, time: Duration) {
        locked(&self.state).now += time;
        self.give_away();
    }

    fn park(&self, at_most: Duration) {
        // A moment later it looks again: that nobody runs twice at once is all that waking is for.
        self.sleep(at_most.min(Duration::from_micros(100)));
    }

    fn wake(&self, _thread: &Thread) {}
}
