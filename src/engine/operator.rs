//! What an operator sees of what was asked and learned, and what they decide about it.

use std::time::Duration;

use super::settling::{Settled, dangling, settled};
use super::weighing::weigh_case;
use super::{App, Page, page, page_size};
use crate::decide::settlement::{About, Case, Learned, finding, finding_of_keeping};
use crate::error::{Error, Result, shortened};
use crate::hook::{Operation, Request};
use crate::id::{AttemptId, ChargeId};
use crate::payment::{self, Attempt, AttemptRecord, Charge, EvidenceRecord, Refund, Resolution, Setup};
use crate::store::{self, Sql, Tx, View};
use crate::time::Timestamp;

/// For how long something may have been due before it counts as nobody's.
const IDLE: Duration = Duration::from_secs(86_400);

/// How many pieces of evidence come with an attempt.
const SHOWN: u32 = 20;

/// What was due then, in host time, and was not done, nobody does.
pub(super) fn idle_since(host_now: Timestamp) -> Timestamp {
    let idle = i64::try_from(IDLE.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis_clamped(host_now.as_millis().saturating_sub(idle))
}

impl App {
    /// The attempts that somebody has to decide about, each with what was learned about it, oldest first,
    /// up to `limit` (1 to 100) after one. [`App::resolve`] takes them off the list, and so does whatever
    /// the engine learns of them.
    ///
    /// # Errors
    /// [`Error::Invalid`] for the limit; [`Error::WrongMode`]; [`Error::Storage`].
    pub fn unresolved(&self, limit: u32, after: Option<&AttemptId>) -> Result<Page<AttemptRecord>> {
        let limit = page_size(limit)?;
        if let Some(id) = after {
            self.own_mode(id.as_str(), id.mode())?;
        }
        let after = after.map_or("", AttemptId::as_str);
        let idle_since = idle_since(self.core.clock.now());
        self.core.view(self.world, |view| {
            let found = store::attempt::unresolved(view.sql, view.world, idle_since, after, limit + 1)?;
            let found = page(found, limit);
            let mut data = Vec::new();
            for id in &found.data {
                let attempt = existing(view.sql, view.world, id)?;
                data.push(record(view, &attempt, idle_since)?);
            }
            Ok(Page {
                data,
                has_more: found.has_more,
            })
        })
    }

    /// One attempt, whether somebody has to decide about it or not.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::WrongMode`]; [`Error::Storage`].
    pub fn attempt(&self, id: &AttemptId) -> Result<AttemptRecord> {
        self.own_mode(id.as_str(), id.mode())?;
        let idle_since = idle_since(self.core.clock.now());
        self.core.view(self.world, |view| {
            let attempt = existing(view.sql, view.world, id)?;
            record(view, &attempt, idle_since)
        })
    }

    /// Whatever was asked of a processor about a charge, a refund or a setup, by its id: the attempt that
    /// made it, and the captures and voids of a charge; oldest first, up to `limit` (1 to 100) after one.
    ///
    /// # Errors
    /// [`Error::Invalid`] for the limit; [`Error::WrongMode`]; [`Error::Storage`].
    pub fn attempts_about(&self, id: &str, limit: u32, after: Option<&AttemptId>) -> Result<Page<AttemptRecord>> {
        let limit = page_size(limit)?;
        if let Some(id) = after {
            self.own_mode(id.as_str(), id.mode())?;
        }
        let after = after.map_or("", AttemptId::as_str);
        let idle_since = idle_since(self.core.clock.now());
        self.core.view(self.world, |view| {
            let found = page(
                store::attempt::about(view.sql, view.world, id, after, limit + 1)?,
                limit,
            );
            let data = found.data.iter().map(|attempt| record(view, attempt, idle_since));
            Ok(Page {
                data: data.collect::<Result<_>>()?,
                has_more: found.has_more,
            })
        })
    }

    /// What was learned about an attempt, the newest first, up to `limit` (1 to 100) before the n-th
    /// piece of it.
    ///
    /// # Errors
    /// [`Error::Invalid`] for the limit; [`Error::NotFound`]; [`Error::WrongMode`]; [`Error::Storage`].
    pub fn evidence(&self, id: &AttemptId, limit: u32, before: Option<u32>) -> Result<Page<EvidenceRecord>> {
        let limit = page_size(limit)?;
        self.own_mode(id.as_str(), id.mode())?;
        self.core.view(self.world, |view| {
            existing(view.sql, view.world, id)?;
            let found = store::attempt::evidence(view.sql, view.world, id, before, limit + 1)?;
            Ok(page(found, limit))
        })
    }

    /// Says what came of an attempt, in place of a service that does not, or what is to become of another
    /// amount than was asked. It is evidence like any other, recorded on behalf of who the handle acts as
    /// ([`App::acting_as`]) with the note (1 to 500 characters: how this is known), and moves what it is
    /// about as the processor's word would: what succeeded pays, what failed frees its session. Evidence
    /// that comes later and says otherwise counts as it does after any: money that arrives for what had
    /// failed is late money. The processor is not asked, so it need not be in this process; what is to
    /// go back is asked for by the next `run_due` of one that has it.
    ///
    /// An attempt that went over another amount than asked ends by [`Resolution::SendBack`] or
    /// [`Resolution::SettledOutside`]; in another currency, or with the amount held and not taken, by the
    /// latter alone. A refund over another amount ends as succeeded, which counts what was asked for, or
    /// as settled outside, after which its amount can go back once more. Of a setup it can be said that it
    /// failed, but not that it succeeded: which method it saved only the service can tell.
    ///
    /// Idempotent by state: what is so already is answered as it is, and nothing is written.
    ///
    /// # Errors
    /// [`Error::CallInFlight`] while a call about the same charge, refund or setup may still answer;
    /// [`Error::Refused`] where what is known is stronger, such as a failure of what has succeeded, or
    /// where there is nothing of the kind to decide; [`Error::Invalid`] for the note and the reference;
    /// [`Error::NotFound`]; [`Error::WrongMode`]; [`Error::Storage`].
    ///
    /// # Durability
    /// On disk when this returns.
    ///
    /// # Events
    /// Those that the outcome has of [`crate::Sessions::pay`], [`crate::Sessions::capture`],
    /// [`crate::Sessions::void`] or [`crate::Refunds::create`]. For what is sent back `charge.succeeded`,
    /// `refund.created`, and for a session that was waiting `checkout.payment.failed`,
    /// `checkout.session.late_payment`; for what was settled outside `charge.failed`,
    /// `checkout.payment.failed`, or `charge.updated`, or `refund.failed` or `refund.updated`; for a setup
    /// `setup.failed`.
    pub fn resolve(&self, attempt: &AttemptId, resolution: Resolution, note: &str) -> Result<Settled> {
        self.own_mode(attempt.as_str(), attempt.mode())?;
        let (resolution, note) = (resolution.checked()?, payment::note(note)?);
        let id = attempt.clone();
        let actor = self.actor.to_string();
        self.core.write(self.moment("resolve")?, move |tx| {
            let attempt = existing(tx.sql, tx.world, &id)?;
            let subject = Subject::of(tx.sql, tx.world, &attempt)?;
            let known = store::attempt::known(tx.sql, tx.world, &attempt.id)?;
            let case = Case::of(attempt, known);
            let found = finding(resolution.clone(), note.clone(), &case, &subject.about())?;
            let Some(found) = found else {
                return subject.unchanged(tx);
            };
            said(tx, case, &found, actor.clone(), resolution.event(), &subject)
        })
    }

    /// Charges whose money settled nothing and waits for a decision, because it neither went back nor
    /// is on its way, oldest first, up to `limit` (1 to 100) after one.
    ///
    /// # Errors
    /// [`Error::Invalid`] for the limit; [`Error::WrongMode`]; [`Error::Storage`].
    pub fn held_charges(&self, limit: u32, after: Option<&ChargeId>) -> Result<Page<Charge>> {
        let limit = page_size(limit)?;
        if let Some(id) = after {
            self.own_mode(id.as_str(), id.mode())?;
        }
        let after = after.map_or("", ChargeId::as_str);
        self.core.view(self.world, |view| {
            Ok(page(
                store::payment::held(view.sql, view.world, after, limit + 1)?,
                limit,
            ))
        })
    }

    /// Decides that money which settled nothing is kept, with a note (1 to 500 characters) that says why:
    /// the charge is no longer among [`App::held_charges`]. It can be given back later all the same.
    /// Otherwise as [`App::resolve`]. Idempotent by state.
    ///
    /// # Errors
    /// [`Error::Refused`] for a charge whose money paid for its session, went back or is on its way
    /// back, or that went over another amount and was not decided on ([`App::resolve`]);
    /// [`Error::Invalid`] for the note; [`Error::NotFound`]; [`Error::WrongMode`]; [`Error::Storage`].
    ///
    /// # Durability
    /// On disk when this returns.
    ///
    /// # Events
    /// `charge.updated`.
    pub fn keep_held(&self, charge: &ChargeId, note: &str) -> Result<Charge> {
        self.own_mode(charge.as_str(), charge.mode())?;
        let note = payment::note(note)?;
        let id = charge.clone();
        let actor = self.actor.to_string();
        let kept = self.core.write(self.moment("keep_held")?, move |tx| {
            let charge = store::payment::charge(tx.sql, tx.world, id.as_str())?.ok_or_else(|| Error::NotFound {
                what: "charge",
                id: id.to_string(),
            })?;
            let attempt = store::attempt::that_made(tx.sql, tx.world, id.as_str())?;
            let Some(found) = finding_of_keeping(&charge, note.clone()) else {
                return Ok(Some(charge));
            };
            let subject = Subject::Charge(Box::new(charge));
            let known = store::attempt::known(tx.sql, tx.world, &attempt.id)?;
            let case = Case::of(attempt, known);
            let settled = said(
                tx,
                case,
                &found,
                actor.clone(),
                "to keep what settled nothing",
                &subject,
            )?;
            Ok(settled.payment().and_then(|payment| payment.charge))
        })?;
        kept.ok_or_else(|| dangling(charge.as_str()))
    }
}

/// What an attempt is about, as it is stored.
enum Subject {
    Charge(Box<Charge>),
    Refund(Box<Refund>),
    Setup(Box<Setup>),
}

impl Subject {
    fn of(sql: &mut dyn Sql, world: crate::id::World, attempt: &Attempt) -> Result<Subject> {
        let id = &attempt.subject;
        if attempt.operation == Operation::Setup {
            return Ok(Subject::Setup(Box::new(store::setup::get(sql, world, id)?)));
        }
        if let Some(charge) = store::payment::charge(sql, world, id)? {
            return Ok(Subject::Charge(Box::new(charge)));
        }
        Ok(Subject::Refund(Box::new(store::refund::get(sql, world, id)?)))
    }

    fn about(&self) -> About<'_> {
        match self {
            Subject::Charge(charge) => About::Charge(charge),
            Subject::Refund(refund) => About::Refund(refund),
            Subject::Setup(setup) => About::Setup(setup),
        }
    }

    fn unchanged(self, tx: &mut Tx<'_>) -> Result<Settled> {
        Ok(match self {
            Subject::Charge(charge) => {
                let session = store::session::get(tx.sql, tx.world, &charge.session)?.at(tx.now);
                Settled::Payment(Box::new(settled(session, Some(charge.id.as_str()))))
            }
            Subject::Refund(refund) => Settled::Refund(refund),
            Subject::Setup(setup) => Settled::Setup(setup),
        })
    }
}

/// Works somebody's word into the file.
fn said(
    tx: &mut Tx<'_>,
    case: Case,
    finding: &payment::Finding,
    actor: String,
    event: &'static str,
    subject: &Subject,
) -> Result<Settled> {
    if let Some(flying) = store::attempt::in_flight(tx.sql, tx.world, &case.attempt.subject, tx.host_now)? {
        return Err(Error::CallInFlight {
            about: flying.subject,
            until_ms: flying.next.map_or(0, |(_, until)| until.as_millis()),
        });
    }
    let learned = Learned {
        finding,
        actor,
        token: case.attempt.token,
        asked_at: tx.host_now,
        capabilities: None,
    };
    let (settled, moved) = weigh_case(tx, case, &learned)?;
    if moved {
        return Ok(match settled {
            // It was not the processor that refused.
            Settled::Payment(mut payment) => {
                payment.declined = None;
                Settled::Payment(payment)
            }
            other => other,
        });
    }
    let (object, state) = match subject {
        Subject::Charge(charge) => ("charge", charge.state.as_str()),
        Subject::Refund(refund) => ("refund", refund.state.as_str()),
        Subject::Setup(setup) => ("setup", setup.state.as_str()),
    };
    Err(crate::error::Refused { object, state, event }.into())
}

fn existing(sql: &mut dyn Sql, world: crate::id::World, id: &AttemptId) -> Result<Attempt> {
    store::attempt::attempt(sql, world, id)?.ok_or_else(|| Error::NotFound {
        what: "attempt",
        id: shortened(id.as_str()),
    })
}

fn record(view: &mut View<'_>, attempt: &Attempt, idle_since: Timestamp) -> Result<AttemptRecord> {
    let request = Request::from_bytes(&attempt.request)?;
    let subject = Subject::of(view.sql, view.world, attempt)?;
    let session = match &subject {
        Subject::Charge(charge) => Some(charge.session.clone()),
        Subject::Refund(refund) => Some(refund.session.clone()),
        Subject::Setup(_) => None,
    };
    Ok(AttemptRecord {
        id: attempt.id.clone(),
        operation: attempt.operation,
        about: attempt.subject.clone(),
        session,
        processor: attempt.processor.clone(),
        amount: request.money()?,
        idempotency_key: attempt.key.clone(),
        reference: attempt.reference.clone(),
        since: attempt.created_at,
        unresolved: subject.about().unresolved(attempt, idle_since),
        next_at: attempt.next.map(|(_, at)| at),
        evidence: store::attempt::evidence(view.sql, view.world, &attempt.id, None, SHOWN)?,
        evidence_count: attempt.evidence,
    })
}
