//! How fast and in which order deliveries of one endpoint leave.

use std::time::Duration;

use super::delivery::{Attempted, DeliveryEvent, LONGEST_PAUSE};
use crate::time::Timestamp;

/// In which order an endpoint gets events about one object. Events about different objects never wait
/// for each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeliveryOrder {
    /// As they come: several events about one object may be on their way at once.
    None,
    /// First tries leave in the order of their events, and two events about one object are never on
    /// their way at once. One that failed and waits for its next attempt holds up nobody, so it comes
    /// after those that followed it.
    #[default]
    Soft,
    /// An event about an object is sent only when the one before it is done: accepted, or out of attempts.
    /// A receiver that is down for longer than the schedule lasts gets each of an object's events that
    /// much later.
    Strict,
}

impl DeliveryOrder {
    pub(crate) const ALL: [DeliveryOrder; 3] = [DeliveryOrder::None, DeliveryOrder::Soft, DeliveryOrder::Strict];

    /// The order as a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            DeliveryOrder::None => "none",
            DeliveryOrder::Soft => "soft",
            DeliveryOrder::Strict => "strict",
        }
    }
}

/// How long an attempt may take before the others that were claimed with it are left to others.
pub(crate) const SLOW: Duration = Duration::from_secs(1);

/// The longest that an endpoint is left alone because it kept a sender waiting for nothing.
const LONGEST_REST: Duration = Duration::from_secs(300);

/// How an endpoint is doing. By default all is well with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flow {
    /// Deliveries that may be on their way at once while it recovers; none: as many as it allows.
    pub(crate) in_flight: Option<u32>,
    /// Host time until which it asked to be left alone.
    pub(crate) paused_until: Option<Timestamp>,
    /// Host time of the next attempt that its gap allows.
    pub(crate) next_at: Option<Timestamp>,
    /// Host time of the first failure since the last acceptance.
    pub(crate) failing_since: Option<Timestamp>,
    /// Failed attempts since then.
    pub(crate) failures: i64,
    /// Deliveries that ran out of attempts since then.
    pub(crate) exhausted: i64,
}

impl Flow {
    /// How many deliveries may be on their way to an endpoint at once that allows so many.
    pub(crate) fn cap(&self, allowed: u32) -> u32 {
        self.in_flight.unwrap_or(allowed).min(allowed).max(1)
    }

    /// Host time from which something may be sent. A time that is further ahead than one is ever set was
    /// set while the host's clock was ahead, and holds nothing up.
    pub(crate) fn opens_at(&self, min_gap: Duration, now: Timestamp) -> Timestamp {
        let within = |at: Option<Timestamp>, ahead| at.filter(|at| *at <= now.plus(ahead));
        let paused = within(self.paused_until, LONGEST_PAUSE);
        let spaced = within(self.next_at, min_gap).filter(|_| !min_gap.is_zero());
        paused.into_iter().chain(spaced).max().unwrap_or(Timestamp::MIN)
    }

    /// Whether it has failed since it last accepted something.
    pub(crate) fn is_failing(&self) -> bool {
        self.failing_since.is_some()
    }

    /// How it is doing after an attempt that took so long and ended at a host time.
    pub(crate) fn after(self, attempted: &Attempted, allowed: u32, took: Duration, ended: Timestamp) -> Flow {
        if !attempted.is_its_doing {
            return self;
        }
        let below = |cap: u32| Some(cap).filter(|cap| *cap < allowed);
        if attempted.event == DeliveryEvent::Accepted {
            return Flow {
                in_flight: self.in_flight.and_then(|cap| below(cap + 1)),
                paused_until: self.paused_until.filter(|until| *until > ended),
                next_at: self.next_at,
                ..Flow::default()
            };
        }
        let in_time = |until: Option<Timestamp>| until.filter(|until| *until <= ended.plus(LONGEST_PAUSE));
        let in_flight = if attempted.is_overloaded {
            below((self.cap(allowed) / 2).max(1))
        } else {
            self.in_flight
        };
        let failures = self.failures + 1;
        // One that never answers would have its sender's whole time: the longer it does, the less it gets.
        let times = u32::try_from(failures).unwrap_or(u32::MAX);
        let is_silent = attempted.status.is_none() && took > SLOW;
        let rest = is_silent.then(|| ended.plus(took.saturating_mul(times).min(LONGEST_REST)));
        Flow {
            in_flight,
            paused_until: in_time(self.paused_until)
                .into_iter()
                .chain(attempted.pause_until)
                .chain(rest)
                .max(),
            next_at: self.next_at,
            failing_since: self.failing_since.or(Some(ended)),
            failures,
            exhausted: self.exhausted + i64::from(attempted.event == DeliveryEvent::FailedLast),
        }
    }

    /// Whether every attempt has failed for so long, and a delivery has run out of attempts meanwhile.
    pub(crate) fn has_failed_for(&self, long: Duration, now: Timestamp) -> bool {
        self.exhausted > 0 && self.failing_since.is_some_and(|since| now.since(since) >= long)
    }

    /// How it is doing once that has been acted upon: what it failed at before counts no more.
    pub(crate) fn forgiven(self) -> Flow {
        Flow {
            failing_since: None,
            failures: 0,
            exhausted: 0,
            ..self
        }
    }
}

#[cfg(test)]
mod tests;
