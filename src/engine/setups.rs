use super::asks::{Ask, AskKind, LEASE_MARGIN, ask, take_now};
use super::routing::{able, routed};
use super::settling::{Settled, dangling};
use super::{App, Page, page, page_size};
use crate::change::{Change, Remember};
use crate::decide::customer::not_deleted;
use crate::decide::setups::{self, Means};
use crate::error::{Error, Result};
use crate::hook::Ability;
use crate::id::SetupId;
use crate::money::Amount;
use crate::payment::{NewSetup, Setup};
use crate::store;

/// The scope of keys given to [`Setups::create`].
const CREATE: &str = "setups.create";

/// Setups of an app in a mode: payment methods that are saved without taking money.
#[derive(Clone, Copy, Debug)]
pub struct Setups<'a>(pub(super) &'a App);

/// What starting a setup came to.
#[derive(Debug)]
pub enum BegunSetup {
    /// The processor is to be asked; give what it answers to [`crate::Engine::settle`].
    Ask(Box<Ask>, Box<Setup>),
    /// Nobody is to be asked: the idempotency key was used before.
    Done(Box<Setup>),
}

impl Setups<'_> {
    /// Saves a payment method of a customer without taking money. What comes of it is told as of a
    /// payment: what nobody knows is looked up by `run_due`, an action has a deadline, and only evidence
    /// ends what is unknown. The saved method is then [`Setup::method`].
    ///
    /// It takes an idempotency key: without one, each call is another setup. Nothing is taken twice by
    /// that, and the service that gives the same token again saves no second method.
    ///
    /// # Errors
    /// [`Error::BeyondProcessor`] for a processor that saves no methods or has nothing to do with the
    /// currency; [`Error::NoProcessor`] and [`Error::UnsafeProcessor`]; [`Error::Deleted`] for a customer
    /// who was deleted; [`Error::IdempotencyConflict`]; [`Error::Invalid`]; [`Error::NotFound`];
    /// [`Error::WrongMode`]; [`Error::Storage`]. A setup that the processor declines is an answer, not an
    /// error. After an error of storage the setup, if it was committed, is resolved by `run_due`: call
    /// again with the same key and see.
    ///
    /// # Durability
    /// The attempt is on disk before the processor is called, the outcome when this returns.
    ///
    /// # Events
    /// First `setup.created`; then `payment_method.attached` and `setup.succeeded`, or `setup.updated`,
    /// `setup.requires_action`, `setup.failed`, `setup.canceled`, `setup.unresolved` as the case may be.
    pub fn create(&self, setup: NewSetup) -> Result<Setup> {
        match self.begin(setup)? {
            BegunSetup::Ask(ask, _) => self.carried_out(&ask),
            BegunSetup::Done(setup) => Ok(*setup),
        }
    }

    /// The first beat of [`Setups::create`] alone, for a host that calls the processor itself. As there,
    /// it takes an idempotency key.
    ///
    /// # Errors
    /// As [`Setups::create`].
    ///
    /// # Durability
    /// The attempt is on disk when this returns.
    ///
    /// # Events
    /// The first one of [`Setups::create`].
    pub fn begin(&self, setup: NewSetup) -> Result<BegunSetup> {
        let app = self.0;
        let new = setup.checked()?;
        app.own_mode(new.customer.as_str(), new.customer.mode())?;
        let (core, world) = (&app.core, app.world);
        // What a key stands for is answered also where no processor could be asked.
        let chosen = routed(app, Some(Amount::zero(new.currency))).and_then(|name| able(app, name));
        let chosen = chosen.and_then(|(name, known)| {
            known.has(&name, Ability::Setup, "a payment method to be saved")?;
            known.deals_in(&name, new.currency, "a payment method to be saved")?;
            Ok((name, known.call_timeout))
        });
        let moment = app.moment(CREATE)?;
        let asked_at = moment.host_now;
        let request_hash = new.fingerprint();
        let (setup, attempt) = core.write(moment, move |tx| {
            if let Some(key) = &new.idempotency_key
                && let Some(known) = store::remembered(tx, CREATE, key, &request_hash)?
            {
                return Ok((store::setup::get(tx.sql, tx.world, &known)?, None));
            }
            let customer = not_deleted(store::customer::get(tx.sql, tx.world, &new.customer)?)?;
            let (processor, timeout) = chosen.clone()?;
            let means = Means {
                processor: &processor,
                customer_ref: store::method::reference(tx.sql, tx.world, &customer.id, &processor)?,
                number: store::setup::next_number(tx.sql, tx.world, &customer.id)?,
                lease_until: tx.host_now.plus(timeout + LEASE_MARGIN),
            };
            let mut change = Change::new();
            let (setup, attempt) = setups::begin(&new, &customer, means, &mut tx.setting(), &mut change)?;
            change.remember(new.idempotency_key.clone().map(|key| Remember {
                scope: CREATE,
                key,
                request_hash,
                result: setup.id.to_string(),
            }));
            tx.apply(&change)?;
            Ok((setup, Some((attempt, timeout))))
        })?;
        let setup = Box::new(setup);
        Ok(match attempt {
            None => BegunSetup::Done(setup),
            Some((attempt, timeout)) => {
                let deadline = asked_at.plus(timeout);
                let ask = ask(AskKind::Execute, &attempt, world, attempt.token, asked_at, deadline)?;
                BegunSetup::Ask(Box::new(ask), setup)
            }
        })
    }

    /// Calls a setup off that is in flight. Idempotent by state: one that is over is answered as it is.
    /// Otherwise as [`crate::Sessions::cancel_payment`].
    ///
    /// # Errors
    /// [`Error::PaymentInProgress`] while the call itself is in flight, which nothing can overtake;
    /// [`Error::NoProcessor`] in a process without the processor, with nothing written;
    /// [`Error::NotFound`]; [`Error::WrongMode`]; [`Error::Storage`].
    ///
    /// # Durability
    /// That it is to be called off is on disk before the processor is called, the outcome when this
    /// returns.
    ///
    /// # Events
    /// Those that the outcome of [`Setups::create`] has.
    pub fn cancel(&self, id: &SetupId) -> Result<Setup> {
        self.ask_now(id, AskKind::Cancel, "setups.cancel")
    }

    /// Asks the processor what became of a setup in flight, without waiting until that is due: for the page
    /// to which a buyer comes back. Idempotent by state: where nothing is in flight, or its own call is,
    /// the setup is answered as it is; that a look-up was heard is written down each time.
    ///
    /// # Errors
    /// [`Error::NoProcessor`] in a process without the processor; [`Error::NotFound`];
    /// [`Error::WrongMode`]; [`Error::Storage`].
    ///
    /// # Durability
    /// What was found is on disk when this returns.
    ///
    /// # Events
    /// Those that the outcome of [`Setups::create`] has.
    pub fn refresh(&self, id: &SetupId) -> Result<Setup> {
        self.ask_now(id, AskKind::LookUp, "setups.refresh")
    }

    /// The setup of an id.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::WrongMode`]; [`Error::Storage`].
    pub fn get(&self, id: &SetupId) -> Result<Setup> {
        self.0.own_mode(id.as_str(), id.mode())?;
        self.0.core.view(self.0.world, |view| {
            store::setup::get(view.sql, view.world, id.as_str())
        })
    }

    /// Setups, newest first, up to `limit` (1 to 100) after one.
    ///
    /// # Errors
    /// [`Error::Invalid`] for the limit; [`Error::WrongMode`]; [`Error::Storage`].
    pub fn list(&self, limit: u32, after: Option<&SetupId>) -> Result<Page<Setup>> {
        let limit = page_size(limit)?;
        if let Some(id) = after {
            self.0.own_mode(id.as_str(), id.mode())?;
        }
        self.0.core.view(self.0.world, |view| {
            Ok(page(store::setup::list(view.sql, view.world, after, limit + 1)?, limit))
        })
    }

    fn carried_out(self, ask: &Ask) -> Result<Setup> {
        match self.0.core.ask_and_settle(ask)? {
            Settled::Setup(setup) => Ok(*setup),
            other => Err(dangling(other.id())),
        }
    }

    /// Asks about a setup, if it is in flight.
    fn ask_now(self, id: &SetupId, kind: AskKind, cause: &'static str) -> Result<Setup> {
        let app = self.0;
        app.own_mode(id.as_str(), id.mode())?;
        let (core, world, wanted) = (&app.core, app.world, id.clone());
        let moment = app.moment(cause)?;
        let asked_at = moment.host_now;
        let known = core.all_capabilities(world.mode);
        let (setup, attempt) = core.write(moment, move |tx| {
            let setup = store::setup::get(tx.sql, tx.world, wanted.as_str())?;
            let attempt = store::attempt::that_made(tx.sql, tx.world, wanted.as_str())?;
            let is_awaited = kind == AskKind::Cancel || attempt.next.is_some();
            if !setup.state.is_live() || !is_awaited {
                return Ok((setup, None));
            }
            let timeout = take_now(tx, &attempt, kind, &known)?;
            if kind == AskKind::Cancel && timeout.is_none() {
                return Err(Error::PaymentInProgress {
                    attempt: setup.id.to_string(),
                    since_ms: setup.created_at.as_millis(),
                });
            }
            Ok((setup, timeout.map(|timeout| (attempt, timeout))))
        })?;
        let Some((attempt, timeout)) = attempt else {
            return Ok(setup);
        };
        let deadline = asked_at.plus(timeout);
        // The claim has made the token one higher.
        self.carried_out(&ask(kind, &attempt, world, attempt.token + 1, asked_at, deadline)?)
    }
}
