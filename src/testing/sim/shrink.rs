//! Making a plan that fails small.

use super::Violation;
use super::plan::Plan;

/// A plan that fails, and how.
pub(super) struct Shrinking {
    pub(super) plan: Plan,
    pub(super) violation: Box<Violation>,
}

impl Shrinking {
    /// Takes out whatever can be taken out while the same invariant does not hold, until nothing can.
    pub(super) fn shrunk(mut self, fails: impl Fn(&Plan) -> Option<Box<Violation>>) -> Shrinking {
        loop {
            let before = self.plan.weight();
            self.without_rounds(&fails);
            self.without_steps(&fails);
            self.with_sooner_faults(&fails);
            if self.plan.weight() == before {
                return self;
            }
        }
    }

    /// Goes on with another plan if it fails as this one does.
    fn is_as_good(&mut self, plan: Plan, fails: impl Fn(&Plan) -> Option<Box<Violation>>) -> bool {
        let found = fails(&plan).filter(|found| found.invariant == self.violation.invariant);
        let Some(violation) = found else {
            return false;
        };
        *self = Shrinking { plan, violation };
        true
    }

    fn without_rounds(&mut self, fails: impl Fn(&Plan) -> Option<Box<Violation>>) {
        for at in (0..self.plan.rounds.len()).rev() {
            let mut plan = self.plan.clone();
            plan.rounds.remove(at);
            self.is_as_good(plan, &fails);
        }
    }

    /// Takes out halves, then quarters, down to single calls and faults.
    fn without_steps(&mut self, fails: impl Fn(&Plan) -> Option<Box<Violation>>) {
        let mut size = self.plan.len().div_ceil(2);
        while size > 0 {
            let mut from = 0;
            while from < self.plan.len() {
                let kept: Vec<bool> = (0..self.plan.len()).map(|at| at < from || at >= from + size).collect();
                // What is taken out moves the rest up.
                if !self.is_as_good(self.plan.keeping(&kept), &fails) {
                    from += size;
                }
            }
            size /= 2;
        }
    }

    fn with_sooner_faults(&mut self, fails: impl Fn(&Plan) -> Option<Box<Violation>>) {
        let now: Vec<u64> = self.plan.faults().into_iter().map(|after| *after).collect();
        for (at, latest) in now.into_iter().enumerate() {
            let (mut low, mut high) = (0, latest);
            while low < high {
                let middle = low.midpoint(high);
                let mut plan = self.plan.clone();
                if let Some(after) = plan.faults().into_iter().nth(at) {
                    *after = middle;
                }
                if self.is_as_good(plan, &fails) {
                    high = middle;
                } else {
                    low = middle + 1;
                }
            }
        }
    }
}
