//! One event on its way to one endpoint: states, schedule, and what follows from an attempt.

use std::time::Duration;

use crate::error::Refused;
use crate::hook::{Answered, SignedRequest, TransportOutcome};
use crate::id::{DeliveryId, EndpointId, EventId, World};
use crate::text::{kept, kept_start};
use crate::time::Timestamp;

/// How long after the end of a failed attempt the next one starts at the earliest: after the first
/// failure a minute, then 5 minutes, 30 minutes, 2 hours. After the fifth failure there is no other.
const GAPS: [Duration; 4] = [
    Duration::from_secs(60),
    Duration::from_secs(300),
    Duration::from_secs(1_800),
    Duration::from_secs(7_200),
];

/// The most attempts of one delivery.
pub(crate) const MAX_ATTEMPTS: u32 = 5;

/// How long one attempt may take.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

/// How long a claim holds a delivery. A process that dies while it sends leaves it due again when
/// this has passed, within the two minutes that receivers are promised.
pub(crate) const LEASE: Duration = Duration::from_secs(90);

/// What must be left of a lease beyond the timeout when an attempt starts.
pub(crate) const MARGIN: Duration = Duration::from_secs(5);

/// How long a delivery waits that could not be sent because the transport's own code failed.
pub(crate) const AFTER_PANIC: Duration = Duration::from_secs(300);

/// The longest that a receiver can have an endpoint left alone: twice the longest gap.
pub(crate) const LONGEST_PAUSE: Duration = GAPS[3].saturating_mul(2);

/// How far ahead a lease can end. One that ends later was given while the host's clock was ahead by
/// more than a lease, and counts as over; a clock that is set back by less only makes it longer.
pub(crate) const FURTHEST_LEASE: Duration = Duration::from_secs(2 * LEASE.as_secs());

/// How far ahead a delivery can be due at the most.
pub(crate) const FURTHEST_DUE: Duration = LONGEST_PAUSE;

/// How far ahead a delivery can be due that was claimed and waits for its attempt after so many: a receiver
/// can make a gap twice as long. What is due later was put off while the host's clock was ahead.
pub(crate) fn furthest_due(attempts: u32) -> Duration {
    let gap = attempts.checked_sub(1).and_then(|failed| GAPS.get(failed as usize));
    gap.map_or(AFTER_PANIC, |gap| AFTER_PANIC.max(*gap * 2))
}

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeliveryState {
    /// It waits for its next attempt.
    Pending,
    /// It waits until the one before it, about the same object, is done: the endpoint wants them in strict order.
    Blocked,
    /// Somebody sends it, or died sending it; its lease says until when.
    InFlight,
    /// The endpoint accepted it.
    Delivered,
    /// All attempts failed. It is kept.
    Exhausted,
    /// Its endpoint is gone.
    Canceled,
}

/// What can happen to a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeliveryEvent {
    /// Somebody takes it to send it.
    Claim,
    /// The claim was not used: nothing was sent.
    GiveBack,
    /// The endpoint answered 2xx.
    Accepted,
    /// The attempt failed and another one is left.
    Failed,
    /// The last attempt failed, or was never heard of again.
    FailedLast,
    /// The one before it in its lane is done.
    Promoted,
    /// Its endpoint was deleted.
    Cancel,
}

/// The whole machine. What is not listed is refused.
///
/// An acceptance counts whenever it arrives, also after the lease ended or the attempts ran out:
/// the endpoint has the event, and sending it again would serve nobody.
pub(crate) fn next(state: DeliveryState, event: DeliveryEvent) -> Result<DeliveryState, Refused> {
    use DeliveryEvent as On;
    use DeliveryState::{Blocked, Canceled, Delivered, Exhausted, InFlight, Pending};
    Ok(match (state, event) {
        (Blocked, On::Promoted) => Pending,
        (Pending | InFlight, On::Claim) => InFlight,
        (InFlight, On::GiveBack | On::Failed) => Pending,
        (InFlight | Pending | Exhausted, On::Accepted) => Delivered,
        (InFlight, On::FailedLast) => Exhausted,
        (Pending | Blocked | InFlight, On::Cancel) => Canceled,
        (state, event) => {
            return Err(Refused {
                object: "delivery",
                state: state.as_str(),
                event: event.as_str(),
            });
        }
    })
}

impl DeliveryState {
    pub(crate) const ALL: [DeliveryState; 6] = [
        DeliveryState::Pending,
        DeliveryState::Blocked,
        DeliveryState::InFlight,
        DeliveryState::Delivered,
        DeliveryState::Exhausted,
        DeliveryState::Canceled,
    ];

    /// The state as a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            DeliveryState::Pending => "pending",
            DeliveryState::Blocked => "blocked",
            DeliveryState::InFlight => "in_flight",
            DeliveryState::Delivered => "delivered",
            DeliveryState::Exhausted => "exhausted",
            DeliveryState::Canceled => "canceled",
        }
    }
}

impl DeliveryEvent {
    const fn as_str(self) -> &'static str {
        match self {
            DeliveryEvent::Claim => "a claim",
            DeliveryEvent::GiveBack => "a claim given back",
            DeliveryEvent::Accepted => "acceptance",
            DeliveryEvent::Failed => "a failed attempt",
            DeliveryEvent::FailedLast => "the last failed attempt",
            DeliveryEvent::Promoted => "the end of the one before it",
            DeliveryEvent::Cancel => "being canceled",
        }
    }
}

/// A delivery as hosts read it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivery {
    /// The delivery's id.
    pub id: DeliveryId,
    /// The event that is delivered.
    pub event: EventId,
    /// The endpoint that it goes to.
    pub endpoint: EndpointId,
    /// 1 if it was made with the event, 2 or more if the event is sent again.
    pub generation: u32,
    /// Where it stands.
    pub state: DeliveryState,
    /// Attempts that may have been sent.
    pub attempts: u32,
    /// Host time of the next attempt while it is pending, or at which its lease ends while it is in
    /// flight; none while it is blocked and once it is done.
    pub due_at: Option<Timestamp>,
    /// HTTP status that the newest attempt whose end is known was answered with; none if it was not answered.
    pub last_status: Option<u16>,
}

/// A delivery that this caller holds, signed and ready to be sent. It is given back with what came
/// of it; one that is not given back by the end of its lease is sent again by somebody else.
#[derive(Clone, Debug)]
pub struct ClaimedDelivery {
    /// The delivery's id.
    pub id: DeliveryId,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// What to send.
    pub request: SignedRequest,
    /// Host time until which this caller holds it.
    pub lease_until: Timestamp,
    /// The endpoint that it goes to.
    pub endpoint: EndpointId,
    pub(crate) world: World,
    pub(crate) token: i64,
    /// Host time at which it was due when it was claimed.
    pub(crate) was_due: Timestamp,
    /// Whether the endpoint has accepted nothing since it last failed.
    pub(crate) is_failing: bool,
}

/// What one attempt came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attempted {
    pub(crate) event: DeliveryEvent,
    /// Host time of the next attempt, if there is one.
    pub(crate) next: Option<Timestamp>,
    pub(crate) outcome: &'static str,
    pub(crate) status: Option<u16>,
    pub(crate) detail: Option<String>,
    /// Whether the endpoint seems to have more to do than it can: it did not answer, or with 5xx.
    pub(crate) is_overloaded: bool,
    /// Host time until which the endpoint asked to be left alone.
    pub(crate) pause_until: Option<Timestamp>,
    /// Whether it says something about the endpoint.
    pub(crate) is_its_doing: bool,
}

impl Attempted {
    /// The last attempt was never heard of again.
    pub(crate) fn lost() -> Attempted {
        Attempted {
            event: DeliveryEvent::FailedLast,
            next: None,
            outcome: "lost",
            status: None,
            detail: None,
            is_overloaded: false,
            pause_until: None,
            is_its_doing: false,
        }
    }

    /// There is nothing that could be sent, nor will there be.
    pub(crate) fn unsendable() -> Attempted {
        Attempted {
            outcome: "failed",
            detail: Some("nothing was sent: the event has no body in the endpoint's format".to_owned()),
            ..Attempted::lost()
        }
    }
}

/// Weighs what came of an attempt that ended at a host time: any 2xx is final, everything else is
/// tried again while attempts are left. `chance` is random: it spreads what failed together.
pub(crate) fn weigh(attempt: u32, outcome: &TransportOutcome, ended: Timestamp, chance: u64) -> Attempted {
    let (word, status, detail, asked) = match outcome {
        TransportOutcome::Answered(Answered {
            status,
            body,
            retry_after,
        }) => {
            // A body as long as a transport keeps of one goes on, most likely.
            let is_cut = body.len() >= Answered::MAX_BODY;
            let body = &body[..body.len().min(2 * Answered::MAX_BODY)];
            let snippet = kept_start(&String::from_utf8_lossy(body), Answered::MAX_BODY, is_cut);
            let word = if (200..300).contains(status) {
                "delivered"
            } else {
                "refused"
            };
            let asked = retry_after.as_deref().and_then(|asked| put_off(asked, ended));
            let snippet = Some(snippet).filter(|snippet| !snippet.is_empty());
            (word, Some(*status), snippet, asked)
        }
        TransportOutcome::Failed { why } => ("failed", None, Some(kept(why, 500)), None),
    };
    let accepted = word == "delivered";
    let gap = attempt.checked_sub(1).and_then(|failed| GAPS.get(failed as usize));
    let (event, next) = match gap {
        _ if accepted => (DeliveryEvent::Accepted, None),
        Some(gap) => {
            let asked = asked.unwrap_or_default().min(*gap * 2);
            (DeliveryEvent::Failed, Some(ended.plus(later(*gap, chance).max(asked))))
        }
        None => (DeliveryEvent::FailedLast, None),
    };
    let pauses = matches!(status, Some(429 | 503));
    let longest = gap.map_or(LONGEST_PAUSE, |gap| *gap * 2);
    Attempted {
        event,
        next,
        outcome: word,
        status,
        detail,
        is_overloaded: status.is_none_or(|status| (500..600).contains(&status)),
        pause_until: asked
            .filter(|asked| pauses && !asked.is_zero())
            .map(|asked| ended.plus(asked.min(longest))),
        is_its_doing: true,
    }
}

/// A gap, made longer by up to a tenth of it: what failed at one moment does not come back at one.
fn later(gap: Duration, chance: u64) -> Duration {
    let share = u32::try_from(chance % 1_001).unwrap_or(0);
    gap + gap * share / 10_000
}

/// How long after a moment a reply wants to be asked again, by its header `Retry-After`: seconds, or a
/// date of HTTP. None if it is neither.
fn put_off(asked: &str, now: Timestamp) -> Option<Duration> {
    let asked = asked.trim_matches([' ', '\t']);
    if !asked.is_empty() && asked.bytes().all(|byte| byte.is_ascii_digit()) {
        // A number that no integer holds is a very long time.
        return Some(Duration::from_secs(asked.parse().unwrap_or(u64::MAX)));
    }
    Timestamp::parse_http_date(asked).map(|at| at.since(now))
}

#[cfg(test)]
mod tests;
