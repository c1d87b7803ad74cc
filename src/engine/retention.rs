//! Canceling and forgetting what nobody needs any more, a little at a time.

use super::Engine;
use super::budget::{Budget, Ran, Work};
use crate::error::Result;
use crate::id::World;
use crate::store::retention::Rounds;
use crate::store::{self, Access, Looked, Sql};
use crate::time::Timestamp;

/// How many rows are looked at in one transaction. Forgetting a key touches a page of its own, and
/// writers wait meanwhile.
const BATCH: usize = 100;

/// What is kept for a time.
#[derive(Clone, Copy)]
enum Kept {
    /// Idempotency keys.
    Keys,
    /// What is looked through in rounds.
    InRounds(Rounds),
}

impl Engine {
    /// Forgets what its time is over for, as far as the budget goes.
    pub(super) fn run_retention(&self, budget: Budget, ran: &mut Ran) -> Result<()> {
        if !budget.work.has(Work::RETENTION) {
            return Ok(());
        }
        // What was looked at and kept costs as much as what went.
        let mut kept = 0;
        for world in self.core.store.read(store::app::worlds)? {
            self.remove_overlong_secrets(world)?;
            while let Some(left) = self.left(budget, *ran) {
                let canceled = self.cancel_deliveries(world, left.min(BATCH))?;
                ran.canceled += canceled;
                if canceled == 0 {
                    break;
                }
            }
            for kept_rows in [Kept::Keys].into_iter().chain(Rounds::ALL.map(Kept::InRounds)) {
                while let Some(left) = self.left(budget, *ran) {
                    let left = left.saturating_sub(kept).min(BATCH);
                    let looked = match u32::try_from(left) {
                        Ok(limit @ 1..) => self.forget_some(kept_rows, world, limit)?,
                        _ => Looked::default(),
                    };
                    if looked.rows == 0 {
                        break;
                    }
                    ran.forgotten += looked.gone;
                    kept += looked.rows.saturating_sub(looked.gone);
                }
            }
        }
        Ok(())
    }

    /// Removes what was replaced by a clock that was ahead.
    fn remove_overlong_secrets(&self, world: World) -> Result<()> {
        let host_now = self.core.clock.now();
        let any = self
            .core
            .store
            .read(|sql| store::endpoint::has_overlong(sql, world, host_now))?;
        if !any {
            return Ok(());
        }
        self.core.write_raw(Access::Shared, "run_due.secrets", move |sql| {
            store::endpoint::remove_overlong(sql, world, host_now)
        })
    }

    /// Cancels some of what waits for endpoints that are deleted.
    fn cancel_deliveries(&self, world: World, limit: usize) -> Result<usize> {
        let waiting = self.core.store.read(|sql| store::delivery::canceling(sql, world))?;
        if waiting.is_none() {
            return Ok(0);
        }
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        self.core.write_raw(Access::Alone, "run_due.cancel", move |sql| {
            store::delivery::cancel(sql, world, limit)
        })
    }

    fn forget_some(&self, kept: Kept, world: World, limit: u32) -> Result<Looked> {
        match kept {
            Kept::Keys => self.forget_keys(world, limit),
            Kept::InRounds(rounds) => self.forget_in_rounds(rounds, world, limit),
        }
    }

    /// Forgets some idempotency keys.
    fn forget_keys(&self, world: World, limit: u32) -> Result<Looked> {
        let host_now = self.core.clock.now();
        let (due, now) = self.core.view(world, |view| {
            Ok((store::idempotency::next_end(view.sql, world)?, view.now))
        })?;
        self.forget(due, host_now, move |sql| {
            store::idempotency::forget(sql, world, host_now, now, limit)
        })
    }

    /// Looks through some rows of a table that is looked through in rounds.
    fn forget_in_rounds(&self, rounds: Rounds, world: World, limit: u32) -> Result<Looked> {
        let host_now = self.core.clock.now();
        let due = self
            .core
            .store
            .read(|sql| store::retention::next_look(sql, world, rounds, host_now))?;
        self.forget(due, host_now, move |sql| {
            store::retention::forget(sql, world, rounds, host_now, limit)
        })
    }

    fn forget(
        &self,
        due: Option<Timestamp>,
        host_now: Timestamp,
        mut some: impl FnMut(&mut dyn Sql) -> Result<Looked> + Send + 'static,
    ) -> Result<Looked> {
        if due.is_none_or(|due| due > host_now) {
            return Ok(Looked::default());
        }
        self.core
            .write_raw(Access::Alone, "run_due.retention", move |sql| some(sql))
    }
}
