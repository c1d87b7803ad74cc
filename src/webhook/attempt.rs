//! Reading deliveries: which are listed, and what each attempt of one came to.

use std::time::Duration;

use super::DeliveryState;
use crate::id::{EndpointId, EventId};
use crate::time::Timestamp;

/// Which deliveries are listed; what is not named does not count.
#[derive(Clone, Debug, Default)]
pub struct DeliveryFilter {
    pub(crate) state: Option<DeliveryState>,
    pub(crate) endpoint: Option<EndpointId>,
    pub(crate) event: Option<EventId>,
}

impl DeliveryFilter {
    /// All of them.
    #[must_use]
    pub fn all() -> DeliveryFilter {
        DeliveryFilter::default()
    }

    /// Those in this state.
    #[must_use]
    pub fn state(mut self, state: DeliveryState) -> Self {
        self.state = Some(state);
        self
    }

    /// Those to this endpoint.
    #[must_use]
    pub fn endpoint(mut self, endpoint: &EndpointId) -> Self {
        self.endpoint = Some(endpoint.clone());
        self
    }

    /// Those of this event.
    #[must_use]
    pub fn event(mut self, event: &EventId) -> Self {
        self.event = Some(event.clone());
        self
    }
}

/// What one attempt of a delivery came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeliveryOutcome {
    /// The endpoint answered 2xx.
    Delivered,
    /// It answered something else.
    Refused,
    /// It did not answer.
    Failed,
    /// Nobody knows: whoever sent it was never heard of again.
    Lost,
}

impl DeliveryOutcome {
    pub(crate) const ALL: [DeliveryOutcome; 4] = [
        DeliveryOutcome::Delivered,
        DeliveryOutcome::Refused,
        DeliveryOutcome::Failed,
        DeliveryOutcome::Lost,
    ];

    /// The outcome as a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            DeliveryOutcome::Delivered => "delivered",
            DeliveryOutcome::Refused => "refused",
            DeliveryOutcome::Failed => "failed",
            DeliveryOutcome::Lost => "lost",
        }
    }
}

/// One attempt of a delivery, as it was written down.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeliveryAttempt {
    /// Which one it was, from 1.
    pub number: u32,
    /// Host time.
    pub started_at: Timestamp,
    /// How long it took, in whole milliseconds.
    pub duration: Duration,
    /// What it came to.
    pub outcome: DeliveryOutcome,
    /// HTTP status of the answer, if one came.
    pub status: Option<u16>,
    /// The beginning of what the endpoint answered, or why it did not.
    pub detail: Option<String>,
}
