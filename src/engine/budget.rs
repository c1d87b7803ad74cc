//! How much one call of [`Engine::run_due`](super::Engine::run_due) may do, and what it did.

use std::ops::BitOr;

use crate::time::Timestamp;

/// How much one call of [`Engine::run_due`](super::Engine::run_due) may do.
///
/// Lost calls, notices, what is asked of processors, what time changes, deliveries and consumers share it: each
/// gets its part in turn, up to 32 items at a time, until nothing is due or the budget is spent, so that a
/// pile of one keeps none of the others waiting. With fewer than six items it is only the first of them, in
/// this order, that are sure of one. What is to be sent again, canceling and forgetting take what is left in
/// the end.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Budget {
    items: usize,
    until: Option<Timestamp>,
    pub(super) work: Work,
}

impl Budget {
    /// Up to this many items of all kinds of work together. An item is a call, a notice, a session,
    /// an entitlement, a delivery, an event that a consumer is given or that is to be sent again, or something
    /// to forget.
    pub const fn items(items: usize) -> Budget {
        Budget {
            items,
            until: None,
            work: Work::ALL,
        }
    }

    /// Starts nothing after this host time.
    pub const fn until(mut self, until: Timestamp) -> Budget {
        self.until = Some(until);
        self
    }

    /// Up to so many more items of it than were done.
    pub(super) fn part(self, ran: Ran, share: usize) -> Budget {
        let items = ran.total().saturating_add(share).min(self.items);
        Budget { items, ..self }
    }

    /// How many items are left of it at a host time; none if it is used up or its time has passed.
    pub(super) fn left(self, ran: Ran, host_now: Timestamp) -> Option<usize> {
        let in_time = self.until.is_none_or(|until| host_now <= until);
        let left = self.items.saturating_sub(ran.total());
        (in_time && left > 0).then_some(left)
    }

    /// Only this kind of work.
    pub const fn work(mut self, work: Work) -> Budget {
        self.work = work;
        self
    }
}

/// Kinds of due work; combined with `|`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work(u8);

impl Work {
    /// Marking lost calls as unknown, applying what payment services said by themselves, looking up,
    /// calling off what is to be, and asking for what is committed: calls the processor.
    pub const PAYMENTS: Work = Work(1);
    /// Closing sessions whose time has passed, writing down lapsed entitlements, and saying which
    /// payments are to be called off: calls nobody.
    pub const TIME: Work = Work(2);
    /// Sending webhooks: calls the transport.
    pub const DELIVERIES: Work = Work(4);
    /// Canceling what waits for endpoints that are deleted, and forgetting what was kept long enough: idempotency
    /// keys, deliveries (30 days; 90 if they ran out of attempts), their attempts (14 days) and replays (30 days).
    /// Calls nobody.
    pub const RETENTION: Work = Work(8);
    /// Giving events to consumers: calls them.
    pub const CONSUMERS: Work = Work(16);
    /// Making the deliveries of what is to be sent again: calls nobody.
    pub const REPLAYS: Work = Work(32);
    /// Nothing.
    pub(super) const NONE: Work = Work(0);
    /// Everything.
    pub const ALL: Work = Work(63);

    pub(super) fn has(self, kind: Work) -> bool {
        self.0 & kind.0 != 0
    }
}

impl BitOr for Work {
    type Output = Work;
    fn bitor(self, other: Work) -> Work {
        Work(self.0 | other.0)
    }
}

/// What one call of [`Engine::run_due`](super::Engine::run_due) did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ran {
    /// Attempts whose call was lost and that are unknown now.
    pub recovered: usize,
    /// Notices of payment services that were looked at: applied, or left for later.
    pub notified: usize,
    /// Look-ups made, and refunds asked for.
    pub looked_up: usize,
    /// Sessions closed because their time had passed.
    pub expired: usize,
    /// Entitlements in which the passing of time was written down.
    pub lapsed: usize,
    /// Payments that are to be called off, because the buyer has not acted in time or the amount was
    /// held for too long.
    pub called_off: usize,
    /// Deliveries that were accepted.
    pub delivered: usize,
    /// Deliveries that were not, and wait for their next attempt or are exhausted.
    pub undelivered: usize,
    /// Events that consumers were given, taken or not; a stretch of events that one does not want counts as
    /// one.
    pub consumed: usize,
    /// Events that were looked at because they are to be sent again.
    pub replayed: usize,
    /// Deliveries that were canceled because their endpoint is deleted.
    pub canceled: usize,
    /// Idempotency keys, deliveries, attempts of deliveries and replays that were forgotten.
    pub forgotten: usize,
}

impl Ran {
    /// How many items that was.
    #[must_use]
    pub const fn total(&self) -> usize {
        self.recovered
            + self.notified
            + self.looked_up
            + self.expired
            + self.lapsed
            + self.called_off
            + self.delivered
            + self.undelivered
            + self.consumed
            + self.replayed
            + self.canceled
            + self.forgotten
    }
}
