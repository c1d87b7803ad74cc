//! The last beat: what was learned about an attempt, from whomever, goes into the file here.

use std::time::Duration;

use super::Engine;
use super::alarms::note;
use super::asks::{Ask, AskKind, LEASE_MARGIN};
use super::core::Core;
use super::payments::Payment;
use super::weighing::weigh_in;
use crate::access::Actor;
use crate::alarm::Alarm;
use crate::entitlement::Holding;
use crate::error::{Error, Result, StorageError, StorageKind};
use crate::hook::Answer;
use crate::id::{AttemptId, World};
use crate::payment::{Finding, Refund, Setup};
use crate::session::Session;
use crate::store::{self, Access, Tx};
use crate::time::Timestamp;

/// For how long settling is tried again when the disk fails. What the processor answered is in
/// memory only, so it is worth waiting for; after that the attempt is left to recovery, which asks
/// once more. What a look-up found is found again by the next, and is not waited for.
pub(super) const SETTLE_PATIENCE: Duration = LEASE_MARGIN;

/// The first pause between two tries; each is twice the one before.
const SETTLE_PAUSE: Duration = Duration::from_millis(10);

/// What an answer was about, as it is afterwards.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Settled {
    /// A payment.
    Payment(Box<Payment>),
    /// A refund.
    Refund(Box<Refund>),
    /// A setup.
    Setup(Box<Setup>),
}

impl Settled {
    /// The payment, if it was about one.
    #[must_use]
    pub fn payment(self) -> Option<Payment> {
        match self {
            Settled::Payment(payment) => Some(*payment),
            Settled::Refund(_) | Settled::Setup(_) => None,
        }
    }

    /// The refund, if it was about one.
    #[must_use]
    pub fn refund(self) -> Option<Refund> {
        match self {
            Settled::Refund(refund) => Some(*refund),
            Settled::Payment(_) | Settled::Setup(_) => None,
        }
    }

    /// The setup, if it was about one.
    #[must_use]
    pub fn setup(self) -> Option<Setup> {
        match self {
            Settled::Setup(setup) => Some(*setup),
            Settled::Payment(_) | Settled::Refund(_) => None,
        }
    }

    /// The id of what it was about.
    pub(super) fn id(&self) -> &str {
        match self {
            Settled::Payment(payment) => payment.session.id.as_str(),
            Settled::Refund(refund) => refund.id.as_str(),
            Settled::Setup(setup) => setup.id.as_str(),
        }
    }
}

impl Engine {
    /// Brings a processor's answer back: the last beat of a payment, refund or setup, and the only way in for
    /// what was learned about one. Idempotent by state: bringing the same answer again moves nothing, and
    /// neither does an answer that says less than what is known; that a look-up was heard is written down
    /// each time. That a bank has sent back what a refund gave is taken from the newest look-up only: what
    /// a call answers late is older than the success. While the file fails, what a processor was made to
    /// do is tried again for up to ten seconds.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an attempt of another file; [`Error::NoEntropy`] and
    /// [`Error::Storage`], after which the answer is to be brought again. If it never is, the attempt
    /// is looked up.
    ///
    /// # Durability
    /// The outcome is on disk when this returns.
    ///
    /// # Events
    /// The last ones of [`crate::Sessions::pay`]; `charge.unknown`, `charge.pending`,
    /// `charge.requires_action`, `charge.authorized`, `charge.mismatch`, `charge.unresolved` as the
    /// case may be; `checkout.session.late_payment` for money that arrives too late, and
    /// `refund.created` where it goes back by itself. Of a refund, the last ones of
    /// [`crate::Refunds::create`]; `refund.contradicted`, `refund.unresolved`. Of a setup, the last ones of
    /// [`crate::Setups::create`]. `payment_method.attached` where a method was saved.
    pub fn settle(&self, ask: &Ask, answer: &Answer) -> Result<Settled> {
        settle(&self.core, ask, answer)
    }

    /// Marks up to `limit` attempts as unknown whose call has lost its lease. Answers how many.
    pub(super) fn recover(&self, limit: usize) -> Result<usize> {
        let mut recovered = 0;
        for world in self.core.store.read(store::app::worlds)? {
            let host_now = self.core.clock.now();
            let left = u32::try_from(limit - recovered).unwrap_or(u32::MAX);
            let ended = self
                .core
                .store
                .read(|sql| store::attempt::leases_ended(sql, world, host_now, left))?;
            for attempt in ended {
                let heard = Heard {
                    attempt: attempt.id,
                    processor: attempt.processor,
                    finding: Finding::LeaseEnded,
                    token: attempt.token,
                    asked_at: host_now,
                    actor: Actor::Runner,
                };
                let mut alarms = Vec::new();
                let worked = work_in(&self.core, world, heard, &mut alarms);
                self.core.alarms.tell(alarms);
                worked?;
                recovered += 1;
            }
            if recovered >= limit {
                break;
            }
        }
        Ok(recovered)
    }
}

pub(super) fn settle(core: &Core, ask: &Ask, answer: &Answer) -> Result<Settled> {
    let finding = match answer {
        Answer::Executed(outcome) => Finding::Executed(outcome.clone()),
        Answer::LookedUp(lookup) => Finding::LookedUp(lookup.clone()),
        Answer::Canceled(cancel) => Finding::Canceled(cancel.clone()),
    };
    let heard = Heard {
        attempt: ask.attempt.clone(),
        processor: ask.processor.clone(),
        finding,
        token: ask.token,
        asked_at: ask.asked_at,
        actor: Actor::Processor(ask.processor.clone()),
    };
    let patience = match ask.kind {
        AskKind::Execute => SETTLE_PATIENCE,
        AskKind::LookUp | AskKind::Cancel => Duration::ZERO,
    };
    let mut alarms = Vec::new();
    let settled = patiently(core, patience, || work_in(core, ask.world, heard.clone(), &mut alarms));
    core.alarms.tell(alarms);
    settled
}

/// Writes, and tries again for so long while the disk fails, for who has in memory only what is to be
/// written.
pub(super) fn patiently<T>(core: &Core, patience: Duration, mut write: impl FnMut() -> Result<T>) -> Result<T> {
    let until = core.pace.now().saturating_add(patience);
    let mut pause = SETTLE_PAUSE;
    let mut in_doubt = None;
    loop {
        match write() {
            Err(Error::Storage(error)) => {
                if error.kind == StorageKind::OutcomeUnknown {
                    in_doubt.get_or_insert_with(|| error.clone());
                }
                if !may_pass(error.kind) || core.pace.now() >= until {
                    // That the last try wrote nothing says nothing of those before it.
                    return Err(in_doubt.unwrap_or(error).into());
                }
                core.pace.sleep(pause);
                pause *= 2;
            }
            written => return written,
        }
    }
}

/// Whether a failure of the file may be over in a moment.
pub(super) fn may_pass(kind: StorageKind) -> bool {
    use StorageKind::{Busy, CantOpen, DiskFull, Io, OutcomeUnknown};
    matches!(kind, OutcomeUnknown | Busy | DiskFull | Io | CantOpen)
}

/// What was learned about an attempt, on its way into the file.
#[derive(Clone)]
pub(super) struct Heard {
    pub(super) attempt: AttemptId,
    /// The name of the processor that the attempt was made at.
    pub(super) processor: String,
    pub(super) finding: Finding,
    pub(super) token: i64,
    /// Host time at which the processor was asked.
    pub(super) asked_at: Timestamp,
    pub(super) actor: Actor,
}

/// Works what was learned about an attempt into the file, and notes what of it somebody has to look
/// at: the host is told when no answer is on its way to the disk any more.
fn work_in(core: &Core, world: World, heard: Heard, alarms: &mut Vec<Alarm>) -> Result<Settled> {
    let cause = match heard.finding {
        Finding::Executed(_) => "settle.answer",
        Finding::LookedUp(_) => "settle.lookup",
        Finding::Canceled(_) => "settle.cancel",
        Finding::Notified(_) => "settle.notification",
        Finding::LeaseEnded => "settle.lease",
        Finding::Resolved { .. } | Finding::Kept { .. } => "settle.operator",
    };
    let moment = core.moment(world, heard.actor.clone(), cause)?;
    let capabilities = core
        .capabilities(world.mode, &heard.processor)
        .unwrap_or_else(|panicked| {
            note(alarms, panicked);
            None
        });
    core.write_noting(Access::Shared, moment, alarms, move |tx| {
        let attempt = store::attempt::attempt(tx.sql, tx.world, &heard.attempt)?.ok_or_else(|| Error::NotFound {
            what: "attempt",
            id: heard.attempt.to_string(),
        })?;
        let (settled, _) = weigh_in(tx, attempt, &heard, capabilities.as_ref())?;
        Ok(settled)
    })
}

pub(super) fn dangling(subject: &str) -> Error {
    StorageError::new(
        StorageKind::Corrupt,
        format!("an attempt about {subject}, which is missing or something else"),
    )
    .into()
}

/// What the beneficiary holds in the lines that a session's products belong to.
pub(super) fn holdings(tx: &mut Tx<'_>, session: &Session) -> Result<Vec<Holding>> {
    let Some(uid) = &session.for_uid else {
        return Ok(Vec::new());
    };
    let mut lines: Vec<&str> = session
        .lines
        .iter()
        .filter_map(|line| line.grants.as_ref())
        .map(|grants| grants.line.as_str())
        .collect();
    lines.sort_unstable();
    lines.dedup();
    let mut found = Vec::new();
    for line in lines {
        found.extend(store::entitlement::holding(tx.sql, tx.world, uid, line)?);
    }
    Ok(found)
}

/// The session and the charge of that id, if it has one.
pub(super) fn settled(session: Session, charge: Option<&str>) -> Payment {
    let mut charges = session.payment_intent.iter().flat_map(|intent| &intent.charges);
    let charge = charges.find(|known| Some(known.id.as_str()) == charge).cloned();
    Payment {
        session,
        charge,
        declined: None,
    }
}
