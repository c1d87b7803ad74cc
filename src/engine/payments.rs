//! Collecting in three beats: *intend* (commit the attempt), *ask* (call the processor, with no
//! transaction open), *settle* (commit what came of it). A crash between two beats is resolved by
//! evidence: whatever was asked and never answered becomes unknown and is looked up.

use std::time::Duration;

use super::Sessions;
use super::asks::{Ask, AskKind, LEASE_MARGIN, ask};
use super::routing::{able, routed};
use super::settling::{Settled, dangling, holdings, settled};
use crate::change::{Change, Remember};
use crate::decide;
use crate::decide::attempt::Payer;
use crate::decide::checkout::{self, Means};
use crate::digest::Fields;
use crate::error::{Error, Invalid, Result};
use crate::hook::{Ability, Capabilities, Initiator};
use crate::id::{PaymentMethodId, SessionId};
use crate::payment::{CaptureMethod, Charge, Failure};
use crate::session::Session;
use crate::store::{self, Tx};
use crate::text;
use crate::time::Timestamp;

/// The scope of keys given to [`Sessions::pay`].
const PAY: &str = "sessions.pay";

/// How a buyer pays; given to [`Sessions::pay`]. A method's token alone will do: it converts.
#[derive(Clone, Debug, Default)]
pub struct NewPayment {
    method: Option<String>,
    context: Option<String>,
    saved: Option<PaymentMethodId>,
    save_method: bool,
    off_session: bool,
    idempotency_key: Option<String>,
}

impl NewPayment {
    /// With the processor's opaque token for the method, up to 500 characters. Never a card number.
    #[must_use]
    pub fn with(method: impl Into<String>) -> NewPayment {
        NewPayment {
            method: Some(method.into()),
            ..NewPayment::default()
        }
    }

    /// With a processor that asks the buyer for the method itself.
    #[must_use]
    pub fn hosted() -> NewPayment {
        NewPayment::default()
    }

    /// With a payment method that a processor keeps for the session's customer. It goes to that
    /// processor, whatever [`crate::Builder::route`] says.
    #[must_use]
    pub fn saved(method: &PaymentMethodId) -> NewPayment {
        NewPayment {
            saved: Some(method.clone()),
            ..NewPayment::default()
        }
    }

    /// Whether the processor is asked to save the method for later charges of the session's customer. What
    /// it has saved is then among [`crate::Customers::payment_methods`].
    #[must_use]
    pub fn save_method(mut self, save: bool) -> Self {
        self.save_method = save;
        self
    }

    /// For a saved method: charges it without the buyer ([`Initiator::OffSession`]), who cannot answer a
    /// challenge.
    #[must_use]
    pub fn off_session(mut self) -> Self {
        self.off_session = true;
        self
    }

    /// Something for the processor's eyes, up to 4,096 characters. It is stored with the attempt.
    #[must_use]
    pub fn context(mut self, context: impl Into<String>) -> Self {
        self.context = Some(context.into());
        self
    }

    /// The same key pays once: a repetition gets the stored outcome, a decline included, and never
    /// starts another attempt. 1 to 255 visible ASCII characters.
    #[must_use]
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }

    fn checked(self) -> Result<NewPayment> {
        text::optional("method", self.method.as_deref(), 500)?;
        text::optional("context", self.context.as_deref(), 4_096)?;
        text::key("idempotency_key", self.idempotency_key.as_deref())?;
        if self.off_session && self.saved.is_none() {
            let allowed = "a saved payment method, given by NewPayment::saved";
            return Err(Invalid::new("off_session", "no saved payment method", allowed).into());
        }
        if self.save_method && self.saved.is_some() {
            let allowed = "false for a payment method that is saved already";
            return Err(Invalid::new("save_method", true, allowed).into());
        }
        Ok(self)
    }

    fn fingerprint(&self, session: &SessionId) -> [u8; 32] {
        let mut fields = Fields::new()
            .text(session.as_str())
            .maybe(self.method.as_deref())
            .maybe(self.context.as_deref());
        // Only what is given counts, so that a key of a payment without it stands for what it stood for.
        if let Some(method) = &self.saved {
            fields = fields.text("saved").text(method.as_str());
        }
        if self.save_method {
            fields = fields.text("save_method");
        }
        if self.off_session {
            fields = fields.text("off_session");
        }
        fields.finish()
    }
}

impl From<&str> for NewPayment {
    fn from(method: &str) -> Self {
        NewPayment::with(method)
    }
}

/// What a payment came to. A decline is an answer: the session is open again and the charge says
/// why.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Payment {
    /// The session as it is now.
    pub session: Session,
    /// The charge of this call; none if there was nothing to collect.
    pub charge: Option<Charge>,
    /// Why a capture or a void failed, which leaves the charge as it was.
    pub declined: Option<Failure>,
}

impl Payment {
    /// Whether the session is complete.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.session.is_complete()
    }
}

/// What starting a payment came to.
#[derive(Debug)]
pub enum Begun {
    /// The processor is to be asked; give what it answers to [`crate::Engine::settle`].
    Ask(Box<Ask>),
    /// Nobody is to be asked: there was nothing to collect, the session was complete before, or
    /// the idempotency key was used before.
    Done(Box<Payment>),
}

impl Sessions<'_> {
    /// Collects a session's total.
    ///
    /// A complete session is answered as it is. While an attempt is in flight none other starts.
    /// After a definite failure each call is a new attempt, unless it repeats an idempotency key.
    /// Without a key the call is idempotent by state: it never collects twice.
    ///
    /// # Errors
    /// [`Error::PaymentInProgress`] while an attempt is in flight; [`Error::Refused`] for an
    /// expired session, one without lines, and after 50 attempts; [`Error::NoProcessor`] and
    /// [`Error::UnsafeProcessor`] before anything is written, [`Error::BeyondProcessor`] for an amount that
    /// the processor does not take, or what else it cannot do, and [`Error::MethodUnusable`] for a saved
    /// method that is another customer's, was detached or has expired; [`Error::Deleted`] where a method
    /// is to be saved for a customer who was deleted; [`Error::IdempotencyConflict`];
    /// [`Error::Invalid`]; [`Error::NotFound`]; [`Error::WrongMode`]; [`Error::Storage`]. After an
    /// error of storage the attempt, if it was committed, is resolved by `run_due`: call again and
    /// see.
    ///
    /// # Durability
    /// The attempt is on disk before the processor is called, the outcome when this returns.
    ///
    /// # Events
    /// First `charge.initiated`, `payment_intent.created` (once), `payment_intent.processing`,
    /// `checkout.session.processing`; then the charge's and intent's outcome and, for a success,
    /// `payment_method.attached` where a method was saved,
    /// `checkout.session.completed`, `grant.created` and `entitlement.…` of each tier sold; for a
    /// failure `checkout.payment.failed`, and `checkout.session.expired` if its time has passed.
    pub fn pay(&self, id: &SessionId, payment: impl Into<NewPayment>) -> Result<Payment> {
        match self.begin_payment(id, payment)? {
            Begun::Ask(ask) => match self.0.core.ask_and_settle(&ask)? {
                Settled::Payment(payment) => Ok(*payment),
                other => Err(dangling(other.id())),
            },
            Begun::Done(payment) => Ok(*payment),
        }
    }

    /// The first beat of [`Sessions::pay`] alone, for a host that calls the processor itself,
    /// awaiting the answer. As there, it takes an idempotency key, and is idempotent by state
    /// without one.
    ///
    /// # Errors
    /// As [`Sessions::pay`].
    ///
    /// # Durability
    /// The attempt is on disk when this returns.
    ///
    /// # Events
    /// The first ones of [`Sessions::pay`].
    pub fn begin_payment(&self, id: &SessionId, payment: impl Into<NewPayment>) -> Result<Begun> {
        let app = self.0;
        app.own_mode(id.as_str(), id.mode())?;
        let payment = payment.into().checked()?;
        // Hooks are asked before the transaction; whether their answer is needed shows inside. A
        // session with nothing to collect needs no processor.
        let chosen = match &payment.saved {
            Some(method) => self.keeper_of(method),
            None => self.processor_for(id),
        };
        let moment = app.moment(PAY)?;
        let timeout = chosen.as_ref().map_or(Duration::ZERO, |(_, known)| known.call_timeout);
        let lease_until = moment.host_now.plus(timeout + LEASE_MARGIN);
        let deadline = planted!(
            DeadlinePastLease,
            lease_until.plus(timeout * 20),
            moment.host_now.plus(timeout)
        );
        let (wanted, world, asked_at) = (id.clone(), app.world, moment.host_now);
        let request_hash = payment.fingerprint(id);
        #[cfg(tillite_planted)]
        let (core, stale) = (
            std::sync::Arc::clone(&app.core),
            app.core.view(world, |view| store::session::get(view.sql, world, id)),
        );
        let begun = app.core.write(moment, move |tx| {
            let session = store::session::get(tx.sql, tx.world, &wanted)?;
            #[cfg(tillite_planted)]
            let session = if planted!(SessionReadBeforeTheWrite) {
                stale.clone()?
            } else {
                session
            };
            if let Some(key) = &payment.idempotency_key
                && let Some(charge) = store::remembered(tx, PAY, key, &request_hash)?
            {
                return replay(session.at(tx.now), &charge).map(|payment| (payment, None));
            }
            let holdings = holdings(tx, &session)?;
            let means = match &chosen {
                Ok((processor, able)) => means(tx, &session, &payment, (processor, able), lease_until),
                Err(error) => Err(error.clone()),
            };
            let mut change = Change::new();
            let (session, begun) = checkout::begin(session, means, holdings, &mut tx.setting(), &mut change)?;
            let attempt = match begun {
                checkout::Begun::Attempt(attempt) => Some(*attempt),
                checkout::Begun::Already | checkout::Begun::NothingDue => None,
            };
            #[cfg(tillite_planted)]
            if let Some(attempt) = attempt.as_ref().filter(|_| planted!(AsksBeforeCommit)) {
                let asked = ask(AskKind::Execute, attempt, world, attempt.token, asked_at, deadline)?;
                core.ask(&asked, &mut None);
            }
            change.remember(payment.idempotency_key.clone().map(|key| {
                Remember {
                    scope: PAY,
                    key,
                    request_hash,
                    result: attempt
                        .as_ref()
                        .map_or_else(String::new, |attempt| attempt.subject.clone()),
                }
            }));
            tx.apply(&change)?;
            let payment = settled(session, attempt.as_ref().map(|attempt| attempt.subject.as_str()));
            Ok((payment, attempt))
        })?;
        Ok(match begun {
            (payment, None) => Begun::Done(Box::new(payment)),
            (_, Some(attempt)) => Begun::Ask(Box::new(ask(
                AskKind::Execute,
                &attempt,
                world,
                attempt.token,
                asked_at,
                deadline,
            )?)),
        })
    }

    /// The processor that a session's payment goes to, chosen before anything is written.
    fn processor_for(self, id: &SessionId) -> Result<(String, Capabilities)> {
        let app = self.0;
        let amount = match &app.core.route {
            Some(_) => app
                .core
                .view(app.world, |view| store::session::get(view.sql, view.world, id))?
                .total(),
            None => None,
        };
        able(app, routed(app, amount)?)
    }

    /// The processor that keeps a payment method.
    fn keeper_of(self, id: &PaymentMethodId) -> Result<(String, Capabilities)> {
        self.0.own_mode(id.as_str(), id.mode())?;
        let (core, world) = (&self.0.core, self.0.world);
        let method = core.view(world, |view| store::method::get(view.sql, view.world, id))?;
        able(self.0, method.processor)
    }
}

/// How a session is to be paid.
///
/// # Errors
/// `BeyondProcessor` for what the processor cannot do; `MethodUnusable` for a saved method that cannot be
/// charged; `Invalid` and `Deleted` where there is no customer for whom a method could be saved.
fn means(
    tx: &mut Tx<'_>,
    session: &Session,
    payment: &NewPayment,
    (processor, able): (&str, &Capabilities),
    lease_until: Timestamp,
) -> Result<Means> {
    if let Some(total) = session.total() {
        able.takes(processor, total)?;
    }
    if session.capture == CaptureMethod::Manual {
        able.has(processor, Ability::Authorize, "an amount to be held")?;
    }
    if payment.save_method {
        able.has(processor, Ability::SaveMethods, "a payment method to be saved")?;
    }
    let customer = session.customer.as_ref();
    let method = match &payment.saved {
        Some(saved) => {
            let saved = store::method::get(tx.sql, tx.world, saved)?;
            let saved = saved.chargeable(customer.map(|customer| &customer.id), tx.now)?;
            Some(saved.token.clone())
        }
        None => payment.method.clone(),
    };
    if payment.save_method {
        let customer = customer.cloned().ok_or_else(|| {
            let allowed = "a session of a customer: make it with NewSession::customer";
            Invalid::new("save_method", "a session without a customer", allowed)
        })?;
        decide::customer::not_deleted(customer)?;
    }
    let customer_ref = match customer {
        Some(customer) => store::method::reference(tx.sql, tx.world, &customer.id, processor)?,
        None => None,
    };
    Ok(Means {
        processor: processor.to_owned(),
        method,
        context: payment.context.clone(),
        payer: Payer {
            initiator: if payment.off_session {
                Initiator::OffSession
            } else {
                Initiator::BuyerPresent
            },
            save_method: payment.save_method,
            customer_ref,
        },
        lease_until,
    })
}

/// What a used idempotency key answers: the outcome of its own charge.
fn replay(session: Session, charge: &str) -> Result<Payment> {
    let payment = settled(session, Some(charge));
    match &payment.charge {
        Some(charge) if charge.state.is_live() => Err(Error::PaymentInProgress {
            attempt: charge.id.to_string(),
            since_ms: charge.created_at.as_millis(),
        }),
        _ => Ok(payment),
    }
}
