//! What follows from what was learned about an attempt.
//!
//! There is one way in for all evidence: the processor's answer, a look-up, what the service says by
//! itself, the end of a lease, a person's word. It is weighed against what is known; what is older or
//! weaker is written down and changes
//! nothing. What it is weighed for (a charge, what becomes of an amount that is held, a refund, a
//! setup) has a file of its own; when to ask next and what is written down is the same for all, and
//! stands here.

mod charge;
mod followup;
mod progress;
mod refund;
mod resolution;
mod setup;
mod surplus;
mod unasked;

pub(crate) use charge::{Unsettled, settle};
pub(crate) use followup::settle_followup;
pub(crate) use progress::grant_lines;
pub(crate) use refund::{UnsettledRefund, settle_refund};
pub(crate) use resolution::{About, close, finding, finding_of_keeping};
pub(crate) use setup::{UnsettledSetup, settle_setup};
pub(crate) use unasked::{Booked, Concerned, Heard, MadeThere, disputed, refund_made_there};

use std::time::Duration;

use crate::change::{Change, Setting};
use crate::error::{Error, StorageError, StorageKind};
use crate::event::Happening;
use crate::hook::{Cancel, Capabilities, Lookup, Outcome};
use crate::money::Amount;
use crate::payment::{Attempt, Await, Evidence, Failure, Finding, Known, Past, Resolution, Said, Source, Verdict};
use crate::text::kept;
use crate::time::Timestamp;

/// How long after a piece of evidence the next look-up is made: by the number of look-ups so far,
/// then every six hours.
const LOOKUP_GAPS: [Duration; 7] = [
    Duration::ZERO,
    Duration::from_secs(10),
    Duration::from_secs(60),
    Duration::from_secs(300),
    Duration::from_secs(1_800),
    Duration::from_secs(7_200),
    Duration::from_secs(21_600),
];

/// After so many look-ups in a row from which nothing was learned somebody is told. The look-ups go
/// on. A processor that says "pending" was heard, however often it says so.
const LOOKUPS_UNTIL_UNRESOLVED: u32 = 8;

/// An attempt with what was learned about it before.
pub(crate) struct Case {
    pub(crate) attempt: Attempt,
    /// What the call itself has answered before.
    pub(crate) answers: Vec<Said>,
    /// What was learned before, as far as more is weighed by it.
    pub(crate) past: Past,
    /// Whether the service is to be asked now, because what it said by itself is not taken at its word.
    pub(crate) to_ask: bool,
}

/// What was learned, by whom, when.
pub(crate) struct Learned<'a> {
    pub(crate) finding: &'a Finding,
    pub(crate) actor: String,
    /// The call's token; only the newest call's evidence says when to ask next.
    pub(crate) token: i64,
    /// Host time at which the processor was asked.
    pub(crate) asked_at: Timestamp,
    /// What the processor can do; none where this process does not have it.
    pub(crate) capabilities: Option<&'a Capabilities>,
}

/// How an attempt's subject stands after what was learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// More is to be learned.
    Open,
    /// Asking again would be answered the same; somebody has to decide.
    Held,
    /// Nothing is awaited.
    Settled,
}

/// What a decline could end that the service tells of by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stake {
    /// What is open: it would have failed.
    Outcome,
    /// One try of several: the buyer may be about to make another on the service's page.
    OneTry,
    /// Nothing, as what becomes of it is asked by another attempt.
    Elsewhere,
    /// That it succeeded: a bank may send back what a refund gave.
    Success,
    /// Nothing: it is over.
    Nothing,
}

impl Case {
    /// An attempt with what is known of it, the newest first.
    pub(crate) fn of(attempt: Attempt, known: Vec<Known>) -> Case {
        let past = Past::of(&known);
        let answers = known.into_iter().filter(|known| known.source == Source::Answer);
        Case {
            attempt,
            answers: answers.map(|known| known.said).collect(),
            past,
            to_ask: false,
        }
    }

    /// Weighs what was learned about an attempt to move `asked`; none if it is not news.
    fn weigh(&self, learned: &Learned<'_>, asked: Amount, at: &Setting<'_>) -> Option<Verdict> {
        if *learned.finding == Finding::LeaseEnded && !self.lease_ended(at.host_now) {
            return None;
        }
        // What the processor has acknowledged has arrived: that it is not found later ends nothing.
        let verdict = learned.finding.weigh(
            asked,
            self.attempt.heard_at.map(|heard| learned.asked_at.since(heard)),
            learned
                .capabilities
                .filter(|_| !self.past.acknowledged)
                .and_then(|known| known.not_found_final_after),
        );
        // A call is answered once. The same answer from it is the same news, brought twice.
        let awaited = matches!(self.attempt.next, Some((Await::Answer, _))) && learned.token == self.attempt.token;
        let known = verdict.source == Source::Answer && !awaited && self.answers.contains(&verdict.said());
        (!known).then_some(verdict)
    }

    /// Puts a decline in doubt that the service tells of by itself: it may be older than what is known, or
    /// be that of one try of several on the service's page. What can be looked up is, if there is something at
    /// stake; where the buyer may be about to try again, nothing follows from it at all. A service of which
    /// neither can be is taken at its word.
    fn doubt(&mut self, mut verdict: Verdict, learned: &Learned<'_>, stake: Stake) -> Verdict {
        if verdict.source != Source::Notification {
            return verdict;
        }
        // Of what is settled, a look-up is due only because something was said to have changed.
        let is_settled = matches!(stake, Stake::Nothing | Stake::Success);
        self.to_ask = is_settled && matches!(self.attempt.next, Some((Await::Lookup, _)));
        let can_look_up = learned.capabilities.is_none_or(|known| known.lookup);
        let is_final = learned.capabilities.is_some_and(|known| known.declines_final);
        if verdict.is_declined() && !is_final && (can_look_up || stake == Stake::OneTry) {
            verdict.event = None;
            self.to_ask |= can_look_up && matches!(stake, Stake::Outcome | Stake::Success);
        }
        verdict
    }

    /// Whether it is an earlier call's word after which another call was made, since nothing had been
    /// sent: it does not say what came of the other.
    fn is_superseded(&self, learned: &Learned<'_>, verdict: &Verdict) -> bool {
        verdict.source == Source::Answer
            && learned.token != self.attempt.token
            && self.answers.iter().any(Said::is_not_sent)
    }

    /// Whether the call's lease has ended without an answer.
    fn lease_ended(&self, host_now: Timestamp) -> bool {
        matches!(self.attempt.next, Some((Await::Answer, until)) if until <= host_now)
    }

    /// Says what the attempt waits for next. True if it has just become a case for a human.
    fn schedule(&mut self, standing: Standing, learned: &Learned<'_>, verdict: &Verdict, host_now: Timestamp) -> bool {
        let attempt = &mut self.attempt;
        match standing {
            Standing::Held => {
                attempt.next = None;
                return !std::mem::replace(&mut attempt.unresolved, true);
            }
            Standing::Settled => {
                attempt.next = self.to_ask.then_some((Await::Lookup, host_now));
                attempt.unresolved = false;
                return false;
            }
            Standing::Open => {}
        }
        let heard = !verdict.is_silent();
        if heard {
            attempt.unresolved = false;
        }
        if self.to_ask && matches!(attempt.next, None | Some((Await::Lookup, _))) {
            attempt.next = Some((Await::Lookup, host_now));
        }
        // What the service says by itself moves no look-up that is due.
        if learned.token != attempt.token {
            return false;
        }
        attempt.asked = match learned.finding {
            Finding::LookedUp(_) | Finding::Canceled(_) => attempt.asked.saturating_add(1),
            // A call of its own begins the look-ups anew: they are about that one.
            _ => 0,
        };
        let due = host_now.plus(gap(attempt.asked));
        // What is to be called off is, until that is confirmed or turns out to be too late.
        let is_called_off = matches!(attempt.next, Some((Await::Cancel, _)));
        let can_look_up = is_called_off || learned.capabilities.is_none_or(|known| known.lookup);
        attempt.next = if is_called_off {
            Some((Await::Cancel, due))
        } else {
            can_look_up.then_some((Await::Lookup, due))
        };
        let silent = match verdict.source {
            Source::Lookup => self.past.silent.saturating_add(1),
            Source::Answer | Source::Notification | Source::Lease | Source::Operator => 0,
        };
        let stuck = !heard && (!can_look_up || silent >= LOOKUPS_UNTIL_UNRESOLVED);
        stuck && !std::mem::replace(&mut attempt.unresolved, true)
    }

    /// Lets the same bytes go out under the same key once more, as nothing was sent. Answers how many
    /// times in a row that was.
    fn try_again(&mut self, host_now: Timestamp) -> u32 {
        let tries = self.past.not_sent.saturating_add(1);
        self.attempt.asked = tries;
        self.attempt.next = Some((Await::Call, host_now.plus(gap(tries))));
        tries
    }

    /// Writes down what was learned.
    fn note(mut self, verdict: Verdict, moved: bool, learned: &Learned<'_>, at: &Setting<'_>, change: &mut Change) {
        let attempt = &mut self.attempt;
        attempt.evidence = attempt.evidence.saturating_add(1);
        attempt.heard_at = if verdict.is_not_sent() {
            None
        } else {
            attempt.heard_at.or(Some(at.host_now))
        };
        // Evidence that moved nothing must not rename the payment that is looked up.
        if moved && verdict.reference.is_some() {
            attempt.reference.clone_from(&verdict.reference);
        }
        let evidence = Evidence {
            number: attempt.evidence,
            verdict,
            moved,
            actor: learned.actor.clone(),
            host_time: at.host_now,
            engine_time: at.now,
        };
        change.note(self.attempt, evidence);
    }
}

/// How long to wait before asking for the so manieth time.
pub(in crate::decide) fn gap(asked: u32) -> Duration {
    let last = LOOKUP_GAPS.len() - 1;
    LOOKUP_GAPS[usize::try_from(asked).unwrap_or(last).min(last)]
}

/// Why something failed, in what was learned.
fn failure(finding: &Finding) -> Failure {
    let (code, message, advice) = match (finding, finding.outcome()) {
        (Finding::Resolved { resolution, .. }, _) => (
            match resolution {
                Resolution::SettledOutside => "settled_outside".to_owned(),
                _ => "resolved_as_failed".to_owned(),
            },
            "Somebody found out what came of it, or decided.".to_owned(),
            None,
        ),
        (_, Some(Outcome::Declined { code, message, advice })) => (kept(code, 64), kept(message, 500), *advice),
        (_, Some(Outcome::Canceled { why })) => ("canceled".to_owned(), kept(why, 500), None),
        (Finding::Canceled(Cancel::Canceled), _) => ("canceled".to_owned(), "It was called off.".to_owned(), None),
        (Finding::LookedUp(Lookup::NotFound) | Finding::Canceled(Cancel::NotFound), _) => (
            "never_arrived".to_owned(),
            "The processor never saw the request.".to_owned(),
            None,
        ),
        _ => (
            "not_sent".to_owned(),
            "The request was not sent to the processor.".to_owned(),
            None,
        ),
    };
    let code = if code.is_empty() { "declined".to_owned() } else { code };
    Failure { code, message, advice }
}

fn count(moves: &[Happening]) -> i64 {
    i64::try_from(moves.len()).unwrap_or(i64::MAX)
}

fn dangling(attempt: &Attempt, what: &str) -> Error {
    let detail = format!("attempt {} belongs to no {what}", attempt.id);
    StorageError::new(StorageKind::Corrupt, detail).into()
}
