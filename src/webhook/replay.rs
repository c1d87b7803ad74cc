//! Sending again: what is asked for, what is answered, and what is sent.

use super::DeliveryState;
use crate::digest::Fields;
use crate::error::{Error, Invalid};
use crate::id::{EndpointId, ReplayId};
use crate::text;
use crate::time::Timestamp;

/// Which events of a range are sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReplayOf {
    /// Those whose newest delivery to the endpoint ran out of attempts.
    Exhausted,
    /// Those, and the ones that were never sent to the endpoint: it was off, wanted other events, or did not
    /// exist. Not an event whose delivery may have been forgotten, while the endpoint existed.
    Undelivered,
    /// The delivered ones as well.
    All,
}

impl ReplayOf {
    pub(crate) const ALL: [ReplayOf; 3] = [ReplayOf::Exhausted, ReplayOf::Undelivered, ReplayOf::All];

    /// The choice as a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            ReplayOf::Exhausted => "exhausted",
            ReplayOf::Undelivered => "undelivered",
            ReplayOf::All => "all",
        }
    }

    /// Whether an event is sent again whose deliveries to the endpoint so far are in these states, the newest
    /// last. One that is in the queue is not, whatever was asked for. `forgotten` says whether there may have
    /// been one that nobody knows of any more.
    pub(crate) fn takes(self, past: &[DeliveryState], forgotten: bool) -> bool {
        use DeliveryState::{Blocked, Delivered, Exhausted, InFlight, Pending};
        let any = |wanted: DeliveryState| past.contains(&wanted);
        if any(Pending) || any(Blocked) || any(InFlight) {
            return false;
        }
        match self {
            ReplayOf::Exhausted => past.last() == Some(&Exhausted) && !any(Delivered),
            ReplayOf::Undelivered => !(any(Delivered) || past.is_empty() && forgotten),
            ReplayOf::All => true,
        }
    }
}

/// How far a replay is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReplayState {
    /// `run_due` goes on with it.
    Running,
    /// Every event of its range was looked at.
    Done,
    /// It was called off, or its endpoint was deleted.
    Canceled,
}

impl ReplayState {
    pub(crate) const ALL: [ReplayState; 3] = [ReplayState::Running, ReplayState::Done, ReplayState::Canceled];

    /// The state as a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            ReplayState::Running => "running",
            ReplayState::Done => "done",
            ReplayState::Canceled => "canceled",
        }
    }
}

/// Events that are sent again to an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Replay {
    /// The replay's id.
    pub id: ReplayId,
    /// Where they go.
    pub endpoint: EndpointId,
    /// The position before the first event of the range.
    pub after: i64,
    /// The position of the last one.
    pub up_to: i64,
    /// Which of them are sent.
    pub of: ReplayOf,
    /// Whether it goes on.
    pub state: ReplayState,
    /// The position up to which it has come.
    pub position: i64,
    /// Deliveries that it made.
    pub made: u64,
    /// Events that it passed over: the endpoint does not want them, they are in the queue already or need not be
    /// sent again, or there is no body in the endpoint's format.
    pub passed: u64,
    /// On whose behalf.
    pub actor: String,
    /// Engine time.
    pub created_at: Timestamp,
}

/// Where a range of events begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReplayFrom {
    /// Behind a position.
    After(i64),
    /// With the first event at or after an engine time.
    Since(Timestamp),
}

/// A range of events to be sent again; given to `deliveries().replay_range`.
#[derive(Clone, Debug)]
pub struct NewReplay {
    pub(crate) endpoint: EndpointId,
    pub(crate) from: ReplayFrom,
    pub(crate) of: ReplayOf,
    pub(crate) idempotency_key: Option<String>,
}

impl NewReplay {
    /// Every event that was not delivered to this endpoint, from the first one on.
    #[must_use]
    pub fn to(endpoint: &EndpointId) -> NewReplay {
        NewReplay {
            endpoint: endpoint.clone(),
            from: ReplayFrom::After(0),
            of: ReplayOf::Undelivered,
            idempotency_key: None,
        }
    }

    /// Only events behind this position.
    #[must_use]
    pub fn after(mut self, position: i64) -> Self {
        self.from = ReplayFrom::After(position);
        self
    }

    /// Only events that happened at this engine time or later.
    #[must_use]
    pub fn since(mut self, at: Timestamp) -> Self {
        self.from = ReplayFrom::Since(at);
        self
    }

    /// Which of them.
    #[must_use]
    pub fn of(mut self, of: ReplayOf) -> Self {
        self.of = of;
        self
    }

    /// The same key gives the same replay, after a retry and after a crash: 1 to 255 visible ASCII characters.
    #[must_use]
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }

    pub(crate) fn checked(self) -> Result<NewReplay, Error> {
        text::key("idempotency_key", self.idempotency_key.as_deref())?;
        match self.from {
            ReplayFrom::After(position) if position < 0 => {
                Err(Invalid::new("after", position, "a position, 0 for the first event on").into())
            }
            _ => Ok(self),
        }
    }

    /// The hash of everything that was asked for, but the key: who repeats a key must repeat it.
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        let (word, number) = match self.from {
            ReplayFrom::After(position) => ("after", position),
            ReplayFrom::Since(at) => ("since", at.as_millis()),
        };
        Fields::new()
            .text(self.endpoint.as_str())
            .text(word)
            .int(number)
            .text(self.of.as_str())
            .finish()
    }
}

#[cfg(test)]
mod tests;
