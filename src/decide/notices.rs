//! When a notice of a payment service is applied, and to what.

use std::time::Duration;

use super::settlement::{Booked, gap};
use crate::hook::{NoticeKind, Outcome};
use crate::payment::{Attempt, Await, Notification};
use crate::time::{Timestamp, days};

/// For how long something is looked for that a notice is about.
const PATIENCE: Duration = days(3);

/// For how long a notice is put off that cannot be looked at, because the file or the engine is at fault.
const PUT_OFF: Duration = Duration::from_secs(1_800);

/// What is to be done with a notice that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It is applied.
    Apply,
    /// It is looked at again at this host time: something comes before it.
    Wait(Timestamp),
    /// Nothing is what it is about; it is looked at again at this host time.
    Park(Timestamp),
    /// It cannot be written down: somebody has to look.
    Hold,
    /// It cannot be told for too long what it is: somebody has to look, and it is looked at again when more is
    /// known of what it waits for.
    HoldInDoubt,
    /// Nothing was what it is about for long enough.
    GiveUp,
}

/// Whether it is a notice's turn. `after` is the host time at which an earlier one is looked at that is
/// about the same attempt.
pub(crate) fn turn(
    notice: &Notification,
    about: Option<&Attempt>,
    after: Option<Timestamp>,
    host_now: Timestamp,
) -> Turn {
    let soon = host_now.plus(gap(1));
    match about {
        None if host_now.since(notice.received_at) >= PATIENCE || planted!(UnknownIsGivenUp) => Turn::GiveUp,
        None => Turn::Park(host_now.plus(gap(notice.tries.saturating_add(1)))),
        // Who made the call knows best, as long as the answer may come.
        Some(Attempt {
            next: Some((Await::Answer, until)),
            ..
        }) if *until > host_now => Turn::Wait(*until),
        Some(_) => after.map_or(Turn::Apply, |after| Turn::Wait(after.max(soon))),
    }
}

/// Until when a notice is put off that cannot be looked at.
pub(crate) fn put_off_until(host_now: Timestamp) -> Timestamp {
    host_now.plus(PUT_OFF)
}

/// What becomes of a notice that was applied, and why, where that is not plain.
pub(crate) fn after(booked: &Booked, notice: &Notification, host_now: Timestamp) -> (Turn, Option<&'static str>) {
    match *booked {
        Booked::Done | Booked::Ours(_) => (Turn::Apply, None),
        Booked::Later(why) if host_now.since(notice.received_at) >= PATIENCE => (Turn::HoldInDoubt, Some(why)),
        Booked::Later(why) => {
            let again = host_now.plus(gap(notice.tries.saturating_add(1)));
            (Turn::Wait(again), Some(why))
        }
        Booked::Held(why) => (Turn::Hold, Some(why)),
    }
}

/// Whether what is said about the attempt that made a charge is about the one that is to take what it
/// holds, or to give it free, where there is such a one: services know both by one name, and that the
/// amount was taken is the outcome of the capture.
pub(crate) fn is_of_followup(said: &NoticeKind) -> bool {
    matches!(
        said,
        NoticeKind::Changed | NoticeKind::Evidence(Outcome::Succeeded(_) | Outcome::Canceled { .. })
    )
}
