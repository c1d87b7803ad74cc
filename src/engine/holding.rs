//! Payments between their beginning and their end: what is held is taken or given free, what nobody
//! waits for is called off, what became of it is asked at once.

use super::asks::{AskKind, LEASE_MARGIN, ask, take_now};
use super::payments::{Begun, Payment};
use super::settling::{Settled, dangling, settled};
use super::{Engine, Sessions};
use crate::access::Actor;
use crate::change::Change;
use crate::decide::capturing::{self, Of};
use crate::error::{Error, Refused, Result};
use crate::hook::Ability;
use crate::id::{SessionId, World};
use crate::money::Amount;
use crate::payment::{Await, ChargeState, Followup, PaymentIntent};
use crate::store::{self, Sql};
use crate::time::Timestamp;

impl Sessions<'_> {
    /// Takes what is held for a session ([`crate::NewSession::capture_later`]): all of it, or a part,
    /// and then the rest is free. The session is complete with what was taken.
    ///
    /// Idempotent by state: a session that was completed so is answered as it is. A processor that
    /// declines leaves the amount held, and [`Payment::declined`] says why. In a process without the
    /// processor that holds it, the capture is committed all the same, and the next `run_due` of one
    /// that has it asks for it.
    ///
    /// # Errors
    /// [`Error::PaymentInProgress`] while a payment, another capture or a void is in flight;
    /// [`Error::Refused`] where nothing is held, or another amount was taken; [`Error::BeyondProcessor`]
    /// for a part that the processor cannot take; [`Error::Invalid`] for an
    /// amount of nothing, of more than is held, or of another currency; [`Error::NotFound`];
    /// [`Error::WrongMode`]; [`Error::Storage`].
    ///
    /// # Durability
    /// The attempt is on disk before the processor is called, the outcome when this returns.
    ///
    /// # Events
    /// First `charge.updated`; then `charge.succeeded`, `charge.captured` and what
    /// [`Sessions::pay`] has for a success, or `charge.updated` once more.
    pub fn capture(&self, id: &SessionId, amount: Option<Amount>) -> Result<Payment> {
        self.carry_on(self.begin_capture(id, amount)?)
    }

    /// The first beat of [`Sessions::capture`] alone, for a host that calls the processor itself. As
    /// there, it is idempotent by state.
    ///
    /// # Errors
    /// As [`Sessions::capture`].
    ///
    /// # Durability
    /// The attempt is on disk when this returns.
    ///
    /// # Events
    /// The first ones of [`Sessions::capture`].
    pub fn begin_capture(&self, id: &SessionId, amount: Option<Amount>) -> Result<Begun> {
        self.begin_followup(id, Followup::Capture, amount)
    }

    /// Gives free what is held for a session, and closes the session. Idempotent by state. Otherwise as
    /// [`Sessions::capture`].
    ///
    /// # Errors
    /// As [`Sessions::capture`].
    ///
    /// # Durability
    /// The attempt is on disk before the processor is called, the outcome when this returns.
    ///
    /// # Events
    /// First `charge.updated`; then `charge.voided`, `payment_intent.canceled`,
    /// `checkout.session.expired`, or `charge.updated` once more.
    pub fn void(&self, id: &SessionId) -> Result<Payment> {
        self.carry_on(self.begin_void(id)?)
    }

    /// The first beat of [`Sessions::void`] alone, for a host that calls the processor itself. As there,
    /// it is idempotent by state.
    ///
    /// # Errors
    /// As [`Sessions::void`].
    ///
    /// # Durability
    /// The attempt is on disk when this returns.
    ///
    /// # Events
    /// The first ones of [`Sessions::void`].
    pub fn begin_void(&self, id: &SessionId) -> Result<Begun> {
        self.begin_followup(id, Followup::Void, None)
    }

    /// Calls a payment off that is in flight: the processor is asked to, and when it has confirmed that
    /// nothing will come of it, the session can be paid anew. If it is too late, this answers what came
    /// of it. What cannot be told goes on being asked by `run_due`. Idempotent by state: where no
    /// payment is in flight, the session is answered as it is. What is held is given free with
    /// [`Sessions::void`].
    ///
    /// # Errors
    /// [`Error::PaymentInProgress`] while the call itself is in flight, which nothing can overtake;
    /// [`Error::Refused`] where the amount is held; [`Error::NoProcessor`] in a process without the
    /// processor, with nothing written; [`Error::NotFound`]; [`Error::WrongMode`]; [`Error::Storage`].
    ///
    /// # Durability
    /// That it is to be called off is on disk before the processor is called, the outcome when this
    /// returns.
    ///
    /// # Events
    /// Those that the outcome of [`Sessions::pay`] has.
    pub fn cancel_payment(&self, id: &SessionId) -> Result<Payment> {
        self.ask_now(id, AskKind::Cancel, "sessions.cancel_payment")
    }

    /// Asks the processor what became of a payment in flight, without waiting until that is due: for
    /// the page to which a buyer comes back. Idempotent by state: where nothing is in flight, or its own
    /// call is, the session is answered as it is; that a look-up was heard is written down each time.
    ///
    /// # Errors
    /// [`Error::NoProcessor`] in a process without the processor; [`Error::NotFound`];
    /// [`Error::WrongMode`]; [`Error::Storage`].
    ///
    /// # Durability
    /// What was found is on disk when this returns.
    ///
    /// # Events
    /// Those that the outcome of [`Sessions::pay`] has.
    pub fn refresh(&self, id: &SessionId) -> Result<Payment> {
        self.ask_now(id, AskKind::LookUp, "sessions.refresh")
    }

    fn carry_on(self, begun: Begun) -> Result<Payment> {
        match begun {
            Begun::Ask(ask) => match self.0.core.ask_and_settle(&ask)? {
                Settled::Payment(payment) => Ok(*payment),
                other => Err(dangling(other.id())),
            },
            Begun::Done(payment) => Ok(*payment),
        }
    }

    fn begin_followup(self, id: &SessionId, followup: Followup, amount: Option<Amount>) -> Result<Begun> {
        let app = self.0;
        app.own_mode(id.as_str(), id.mode())?;
        let (core, world, wanted) = (&app.core, app.world, id.clone());
        let moment = app.moment(match followup {
            Followup::Capture => "sessions.capture",
            Followup::Void => "sessions.void",
        })?;
        let asked_at = moment.host_now;
        let known = core.all_capabilities(world.mode);
        let (payment, attempt) = core.write(moment, move |tx| {
            let session = store::session::get(tx.sql, tx.world, &wanted)?.at(tx.now);
            let Some(charge) = capturing::held(&session, followup, amount)?.cloned() else {
                return Ok((settled(session, None), None));
            };
            let of = Of {
                session: &session,
                charge: &charge,
                made_by: &store::attempt::that_made(tx.sql, tx.world, charge.id.as_str())?,
                number: store::attempt::count_of(tx.sql, tx.world, charge.id.as_str(), followup.operation())? + 1,
            };
            let known = known.get(&charge.processor);
            if let (Some(known), Some(amount)) = (known, amount)
                && amount.as_minor() < charge.authorized
            {
                known.has(&charge.processor, Ability::PartialCapture, amount)?;
                known.expresses(&charge.processor, amount)?;
            }
            let timeout = known.map(|known| known.call_timeout);
            let next = match timeout {
                Some(timeout) => (Await::Answer, tx.host_now.plus(timeout + LEASE_MARGIN)),
                None => (Await::Call, tx.host_now),
            };
            let mut change = Change::new();
            let mut at = tx.setting();
            let (session, attempt) =
                capturing::begin(session.clone(), &of, followup, amount, next, &mut at, &mut change)?;
            tx.apply(&change)?;
            let payment = settled(session, Some(charge.id.as_str()));
            Ok((payment, timeout.map(|timeout| (attempt, timeout))))
        })?;
        Ok(match attempt {
            None => Begun::Done(Box::new(payment)),
            Some((attempt, timeout)) => Begun::Ask(Box::new(ask(
                AskKind::Execute,
                &attempt,
                world,
                attempt.token,
                asked_at,
                asked_at.plus(timeout),
            )?)),
        })
    }

    /// Asks about the payment that is in flight, if there is one.
    fn ask_now(self, id: &SessionId, kind: AskKind, cause: &'static str) -> Result<Payment> {
        let app = self.0;
        app.own_mode(id.as_str(), id.mode())?;
        let (core, world, wanted) = (&app.core, app.world, id.clone());
        let moment = app.moment(cause)?;
        let asked_at = moment.host_now;
        let known = core.all_capabilities(world.mode);
        let (payment, attempt) = core.write(moment, move |tx| {
            let session = store::session::get(tx.sql, tx.world, &wanted)?.at(tx.now);
            let live = session
                .payment_intent
                .as_ref()
                .and_then(PaymentIntent::live_charge)
                .cloned();
            if kind == AskKind::Cancel
                && let Some(held) = live.as_ref().filter(|charge| charge.state == ChargeState::Authorized)
            {
                return Err(Refused {
                    object: "charge",
                    state: held.state.as_str(),
                    event: "a cancellation (void it)",
                }
                .into());
            }
            let charge = live.as_ref().map(|charge| charge.id.to_string());
            let awaited = match &charge {
                // What is called off is the payment itself, also where nothing is awaited of it.
                Some(charge) if kind == AskKind::Cancel => Some(store::attempt::that_made(tx.sql, tx.world, charge)?),
                Some(charge) => store::attempt::awaited_of(tx.sql, tx.world, charge)?,
                None => None,
            };
            let (Some(charge), Some(attempt)) = (live, awaited) else {
                return Ok((settled(session, charge.as_deref()), None));
            };
            let timeout = take_now(tx, &attempt, kind, &known)?;
            if kind == AskKind::Cancel && timeout.is_none() {
                return Err(Error::PaymentInProgress {
                    attempt: charge.id.to_string(),
                    since_ms: charge.created_at.as_millis(),
                });
            }
            let payment = settled(session, Some(charge.id.as_str()));
            Ok((payment, timeout.map(|timeout| (attempt, timeout))))
        })?;
        let Some((attempt, timeout)) = attempt else {
            return Ok(payment);
        };
        let deadline = asked_at.plus(timeout);
        let ask = ask(kind, &attempt, world, attempt.token + 1, asked_at, deadline)?;
        self.carry_on(Begun::Ask(Box::new(ask)))
    }
}

impl Engine {
    /// Has called off what nobody waits for any more: actions that were not taken in time, and amounts
    /// that were held for too long. Answers how many.
    pub(super) fn call_off_lapsed(&self, world: World, limit: usize) -> Result<usize> {
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        let core = &self.core;
        let any = core.view(world, |view| lapsed(view.sql, view.world, view.now, 1))?;
        if any.is_empty() {
            return Ok(0);
        }
        let moment = core.moment(world, Actor::Runner, "run_due.call_off")?;
        core.write_alone(moment, move |tx| {
            let mut called_off = 0;
            for subject in lapsed(tx.sql, tx.world, tx.now, limit)? {
                let made_by = store::attempt::that_made(tx.sql, tx.world, &subject)?;
                called_off += usize::from(store::attempt::call_off(tx.sql, tx.world, &made_by, tx.host_now)?);
            }
            Ok(called_off)
        })
    }
}

/// The ids of charges and setups that are to be called off.
fn lapsed(sql: &mut dyn Sql, world: World, now: Timestamp, limit: u32) -> Result<Vec<String>> {
    let charges = store::payment::lapsed(sql, world, now, limit)?;
    let setups = store::setup::lapsed(sql, world, now, limit)?;
    let ids = charges.iter().map(ToString::to_string);
    let mut ids: Vec<String> = ids.chain(setups.iter().map(ToString::to_string)).collect();
    ids.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(ids)
}
