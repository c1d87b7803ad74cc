use super::asks::{Ask, AskKind, LEASE_MARGIN, ask};
use super::settling::{Settled, dangling};
use super::{App, Page, page, page_size};
use crate::change::{Change, Remember};
use crate::decide::refunding::{self, Given, Intended, Wish};
use crate::error::{Error, Refused, Result};
use crate::event::{EventKind, Happening, Subject};
use crate::hook::{Ability, Capabilities};
use crate::id::{ChargeId, RefundId};
use crate::payment::{Await, CheckedRefund, NewRefund, Refund, RefundSource, Target};
use crate::session::Session;
use crate::store::{self, Tx};

/// The scope of keys given to [`Refunds::create`].
const CREATE: &str = "refunds.create";

/// Refunds of an app in a mode.
#[derive(Clone, Copy, Debug)]
pub struct Refunds<'a>(pub(super) &'a App);

/// What starting a refund came to.
#[derive(Debug)]
pub enum BegunRefund {
    /// The processor is to be asked; give what it answers to [`crate::Engine::settle`].
    Ask(Box<Ask>, Box<Refund>),
    /// Nobody is to be asked here: the idempotency key was used before, or this process has not the
    /// processor that made the charge, and one that has it will ask.
    Done(Box<Refund>),
}

impl Refunds<'_> {
    /// Gives back what a charge took, or a part of it.
    ///
    /// What is to go back is reserved in the commit that precedes the call, and stays reserved for as
    /// long as nobody knows what came of it: refunds in flight and done never exceed what was captured.
    /// In a process without the processor that made the charge the refund is committed all the same, and
    /// the next `run_due` of one that has it asks for it.
    ///
    /// It takes an idempotency key: without one, each call is another refund.
    ///
    /// # Errors
    /// [`Error::RefundTooLarge`]; [`Error::BeyondProcessor`] for a part that the processor cannot give
    /// back; [`Error::Refused`] for a charge that took nothing, of which too many refunds were made or of
    /// which nothing is left, and for a session that was not paid; [`Error::Invalid`] for another currency
    /// and for units that the session's lines do not have; [`Error::IdempotencyConflict`];
    /// [`Error::NotFound`]; [`Error::WrongMode`]; [`Error::Storage`]. A refund that the processor
    /// declines is an answer, not an error. After an error of storage the refund, if it was committed,
    /// is resolved by `run_due`: call again with the same key and see.
    ///
    /// # Durability
    /// The refund and what it reserves are on disk before the processor is called, the outcome when
    /// this returns.
    ///
    /// # Events
    /// First `charge.updated`, `refund.created`; then `refund.updated` or `refund.failed`, and for one
    /// that succeeded `charge.refunded` and, as its effect says, `grant.revoked` and `entitlement.…`;
    /// for one that failed `charge.updated`.
    pub fn create(&self, refund: NewRefund) -> Result<Refund> {
        match self.begin(refund)? {
            BegunRefund::Ask(ask, _) => match self.0.core.ask_and_settle(&ask)? {
                Settled::Refund(refund) => Ok(*refund),
                other => Err(dangling(other.id())),
            },
            BegunRefund::Done(refund) => Ok(*refund),
        }
    }

    /// The first beat of [`Refunds::create`] alone, for a host that calls the processor itself. As
    /// there, it takes an idempotency key.
    ///
    /// # Errors
    /// As [`Refunds::create`].
    ///
    /// # Durability
    /// The refund and what it reserves are on disk when this returns.
    ///
    /// # Events
    /// The first ones of [`Refunds::create`].
    pub fn begin(&self, refund: NewRefund) -> Result<BegunRefund> {
        let app = self.0;
        let refund = refund.checked()?;
        let (id, mode) = refund.target.id();
        app.own_mode(id, mode)?;
        let (core, world) = (&app.core, app.world);
        let moment = app.moment(CREATE)?;
        let asked_at = moment.host_now;
        // Capabilities are asked of every processor before the transaction: which one made the charge
        // shows inside it.
        let known = core.all_capabilities(world.mode);
        let request_hash = refund.fingerprint();
        let (refund, attempt) = core.write(moment, move |tx| {
            if let Some(key) = &refund.idempotency_key
                && let Some(known) = store::remembered(tx, CREATE, key, &request_hash)?
            {
                return Ok((store::refund::get(tx.sql, tx.world, &known)?, None));
            }
            let (session, charge) = target(tx, &refund.target)?;
            let given = Given {
                made_by: &store::attempt::that_made(tx.sql, tx.world, charge.as_str())?,
                refunds: &store::refund::of_charge(tx.sql, tx.world, &charge)?,
                charge: session
                    .payment_intent
                    .iter()
                    .flat_map(|intent| &intent.charges)
                    .find(|known| known.id == charge)
                    .cloned()
                    .ok_or_else(|| dangling(charge.as_str()))?,
                session: &session,
            };
            let next = match known.get(&given.charge.processor) {
                Some(known) => (Await::Answer, tx.host_now.plus(known.call_timeout + LEASE_MARGIN)),
                None => (Await::Call, tx.host_now),
            };
            let able = known.get(&given.charge.processor);
            let intended = refunding::intend(given, wish(&refund), next, &mut tx.setting())?;
            if let Some(able) = able {
                can_give_back(able, &intended)?;
            }
            let mut change = Change::new();
            let updated = Happening::plain(EventKind::ChargeUpdated);
            change.record(Subject::Charge(intended.charge.clone()), [updated]);
            let (made, attempt) = intended.record(&mut change);
            change.remember(refund.idempotency_key.clone().map(|key| Remember {
                scope: CREATE,
                key,
                request_hash,
                result: made.id.to_string(),
            }));
            tx.apply(&change)?;
            let timeout = known.get(&made.processor).map(|known| known.call_timeout);
            Ok((made, timeout.map(|timeout| (attempt, timeout))))
        })?;
        let refund = Box::new(refund);
        Ok(match attempt {
            None => BegunRefund::Done(refund),
            Some((attempt, timeout)) => {
                let deadline = asked_at.plus(timeout);
                let ask = ask(AskKind::Execute, &attempt, world, attempt.token, asked_at, deadline)?;
                BegunRefund::Ask(Box::new(ask), refund)
            }
        })
    }

    /// The refund of an id.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::WrongMode`]; [`Error::Storage`].
    pub fn get(&self, id: &RefundId) -> Result<Refund> {
        self.0.own_mode(id.as_str(), id.mode())?;
        self.0.core.view(self.0.world, |view| {
            store::refund::get(view.sql, view.world, id.as_str())
        })
    }

    /// Refunds, newest first, up to `limit` (1 to 100) after one.
    ///
    /// # Errors
    /// [`Error::Invalid`] for the limit; [`Error::WrongMode`]; [`Error::Storage`].
    pub fn list(&self, limit: u32, after: Option<&RefundId>) -> Result<Page<Refund>> {
        let limit = page_size(limit)?;
        if let Some(id) = after {
            self.0.own_mode(id.as_str(), id.mode())?;
        }
        self.0.core.view(self.0.world, |view| {
            Ok(page(
                store::refund::list(view.sql, view.world, after, limit + 1)?,
                limit,
            ))
        })
    }

    /// The refunds of a charge, the first one first; there are at most 1,000.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a charge that is not there; [`Error::WrongMode`]; [`Error::Storage`].
    pub fn of(&self, charge: &ChargeId) -> Result<Vec<Refund>> {
        self.0.own_mode(charge.as_str(), charge.mode())?;
        self.0.core.view(self.0.world, |view| {
            if store::payment::session_of_charge(view.sql, view.world, charge.as_str())?.is_none() {
                return Err(no_charge(charge));
            }
            store::refund::of_charge(view.sql, view.world, charge)
        })
    }
}

/// Whether the processor gives back a part, where it is to. What goes back by itself is all of it.
fn can_give_back(able: &Capabilities, intended: &Intended) -> Result<()> {
    let (refund, taken) = (&intended.refund, intended.charge.captured);
    if refund.amount.as_minor() < taken {
        able.has(&refund.processor, Ability::PartialRefund, refund.amount)?;
    }
    able.expresses(&refund.processor, refund.amount)
}

fn wish(refund: &CheckedRefund) -> Wish {
    Wish {
        share: refund.share.clone(),
        source: RefundSource::Requested,
        effect: refund.effect,
        reason: refund.reason.clone(),
        metadata: refund.metadata.clone(),
    }
}

/// The session, and the charge of it whose money is to go back.
fn target(tx: &mut Tx<'_>, target: &Target) -> Result<(Session, ChargeId)> {
    match target {
        Target::Charge(charge) => {
            let session = store::payment::session_of_charge(tx.sql, tx.world, charge.as_str())?;
            let session = session.ok_or_else(|| no_charge(charge))?;
            Ok((store::session::get(tx.sql, tx.world, &session)?, charge.clone()))
        }
        Target::Session(session) => {
            let session = store::session::get(tx.sql, tx.world, session)?;
            let mut charges = session.payment_intent.iter().flat_map(|intent| &intent.charges);
            let paid = charges.find(|charge| charge.settles).map(|charge| charge.id.clone());
            let refused = || Refused {
                object: "checkout session",
                state: if session.is_complete() {
                    "complete with nothing paid"
                } else {
                    session.state.as_str()
                },
                event: "a refund",
            };
            let paid = paid.ok_or_else(refused)?;
            Ok((session, paid))
        }
    }
}

fn no_charge(charge: &ChargeId) -> Error {
    Error::NotFound {
        what: "charge",
        id: charge.to_string(),
    }
}
