use super::{App, Page, page, page_size};
use crate::change::{Change, Remember};
use crate::customer::Customer;
use crate::decide::{self, pricing::Offer};
use crate::error::Result;
use crate::id::{SessionId, World};
use crate::session::{Choice, ExpiredReason, NewLine, NewSession, Payer, Session, SessionUpdate};
use crate::store::{self, Sql, Tx};

/// Checkout sessions of an app in a mode.
#[derive(Clone, Copy, Debug)]
pub struct Sessions<'a>(pub(super) &'a App);

/// The scope of keys given to [`Sessions::create`].
const CREATE: &str = "sessions.create";

impl Sessions<'_> {
    /// Makes a session and freezes its prices. A customer named by a uid that is not known yet is
    /// made with it; one named by id must be known.
    ///
    /// With an idempotency key the same request gives the same session, as it is by then; without
    /// one, each call makes another. Of an order's sessions ([`NewSession::order_key`]) at most one
    /// can be paid or was: an open one is closed in the same transaction.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] naming the field, `payer` if the payer is named by id and in another
    /// way too; [`crate::Error::NotFound`] for a tier or price that is not on sale, and for a payer that
    /// is not known; [`crate::Error::WrongMode`] and [`crate::Error::Deleted`] for a payer;
    /// [`crate::Error::OrderTaken`] if a session of the order is being paid or was;
    /// [`crate::Error::IdempotencyConflict`]; [`crate::Error::Storage`].
    ///
    /// # Durability
    /// On disk when this returns.
    ///
    /// # Events
    /// `checkout.session.expired` of an open session of the same order; `customer.created` or
    /// `customer.updated` where the customer is new or changed; `checkout.session.created`.
    pub fn create(&self, session: NewSession) -> Result<Session> {
        let new = session.checked(self.0.world.mode)?;
        if let Some(Payer::Known(id)) = &new.payer {
            self.0.own_mode(id.as_str(), id.mode())?;
        }
        let request_hash = new.fingerprint();
        let moment = self.0.moment(CREATE)?;
        self.0.core.write(moment, move |tx| {
            if let Some(key) = &new.idempotency_key
                && let Some(id) = store::remembered(tx, CREATE, key, &request_hash)?
            {
                return Ok(store::session::get(tx.sql, tx.world, &SessionId::parse(&id)?)?.at(tx.now));
            }
            let mut change = Change::new();
            if let Some(order) = &new.order_key
                && !planted!(OrderNotLookedFor)
                && let Some(sibling) = store::session::of_order(tx.sql, tx.world, order)?
            {
                decide::checkout::supersede(sibling, &tx.setting(), &mut change)?;
            }
            let offers = offers(tx.sql, tx.world, &new.lines)?;
            let priced = decide::pricing::price_lines(&new.lines, &offers)?;
            let customer = match &new.payer {
                Some(payer) => Some(customer(tx, payer, &mut change)?),
                None => None,
            };
            let public_url = tx.public_url.clone();
            let session = decide::checkout::create(
                new.clone(),
                priced,
                customer,
                public_url,
                &mut tx.setting(),
                &mut change,
            );
            change.remember(new.idempotency_key.clone().map(|key| Remember {
                scope: CREATE,
                key,
                request_hash,
                result: session.id.to_string(),
            }));
            tx.apply(&change)?;
            Ok(session)
        })
    }

    /// A session as it is now: an open one whose time has passed reads as expired. Where several
    /// processes share the file, a payment that another one began before that time may still come first.
    ///
    /// # Errors
    /// [`crate::Error::NotFound`]; [`crate::Error::WrongMode`]; [`crate::Error::Storage`].
    pub fn get(&self, id: &SessionId) -> Result<Session> {
        self.0.own_mode(id.as_str(), id.mode())?;
        self.0.core.view(self.0.world, |view| {
            Ok(store::session::get(view.sql, view.world, id)?.at(view.now))
        })
    }

    /// Sessions, newest first, up to `limit` (1 to 100) before one.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] for the limit; [`crate::Error::WrongMode`];
    /// [`crate::Error::Storage`].
    pub fn list(&self, limit: u32, before: Option<&SessionId>) -> Result<Page<Session>> {
        let limit = page_size(limit)?;
        if let Some(id) = before {
            self.0.own_mode(id.as_str(), id.mode())?;
        }
        self.0.core.view(self.0.world, |view| {
            let one_more = planted!(PageEndsEarly, limit, limit + 1);
            let found = store::session::list(view.sql, view.world, before, one_more)?;
            let now = view.now;
            Ok(page(found.into_iter().map(|session| session.at(now)).collect(), limit))
        })
    }

    /// Replaces lines, metadata or URLs of an open session; new lines are priced as they are on
    /// sale now. From the first attempt to pay on, lines cannot change any more. Idempotent by
    /// state: what changes nothing writes nothing.
    ///
    /// # Errors
    /// [`crate::Error::Refused`] unless it is open, and for lines after an attempt;
    /// [`crate::Error::Invalid`]; [`crate::Error::NotFound`]; [`crate::Error::WrongMode`];
    /// [`crate::Error::Storage`].
    ///
    /// # Durability
    /// On disk when this returns.
    ///
    /// # Events
    /// `checkout.session.updated`.
    pub fn update(&self, id: &SessionId, update: SessionUpdate) -> Result<Session> {
        self.0.own_mode(id.as_str(), id.mode())?;
        let wanted = id.clone();
        let moment = self.0.moment("sessions.update")?;
        self.0.core.write(moment, move |tx| {
            let session = store::session::get(tx.sql, tx.world, &wanted)?;
            let update = update.clone().checked(session.dialect, tx.world.mode)?;
            let priced = match &update.lines {
                Some(lines) => {
                    let offers = offers(tx.sql, tx.world, lines)?;
                    Some(decide::pricing::price_lines(lines, &offers)?)
                }
                None => None,
            };
            let mut change = Change::new();
            let session = decide::checkout::update(session, update, priced, &tx.setting(), &mut change)?;
            tx.apply(&change)?;
            Ok(session)
        })
    }

    /// Closes an open session: it can no longer be paid. Idempotent by state.
    ///
    /// # Errors
    /// [`crate::Error::Refused`] while a payment is in flight and once it is complete;
    /// [`crate::Error::NotFound`]; [`crate::Error::WrongMode`]; [`crate::Error::Storage`].
    ///
    /// # Durability
    /// On disk when this returns.
    ///
    /// # Events
    /// `checkout.session.expired`, once.
    pub fn expire(&self, id: &SessionId) -> Result<Session> {
        self.close(id, ExpiredReason::Merchant)
    }

    /// Closes an open session because the buyer gave up. Idempotent by state; otherwise as
    /// [`Sessions::expire`].
    ///
    /// # Errors
    /// As [`Sessions::expire`].
    ///
    /// # Durability
    /// As [`Sessions::expire`].
    ///
    /// # Events
    /// As [`Sessions::expire`].
    pub fn cancel(&self, id: &SessionId) -> Result<Session> {
        self.close(id, ExpiredReason::Buyer)
    }

    fn close(self, id: &SessionId, reason: ExpiredReason) -> Result<Session> {
        self.0.own_mode(id.as_str(), id.mode())?;
        let wanted = id.clone();
        let moment = self.0.moment("sessions.expire")?;
        self.0.core.write(moment, move |tx| expire(tx, &wanted, reason))
    }
}

/// Closes one session in a write that is open.
pub(super) fn expire(tx: &mut Tx<'_>, id: &SessionId, reason: ExpiredReason) -> Result<Session> {
    let session = store::session::get(tx.sql, tx.world, id)?;
    let mut change = Change::new();
    let session = decide::checkout::expire(session, reason, &tx.setting(), &mut change)?;
    tx.apply(&change)?;
    Ok(session)
}

/// The payer of a session that is made.
fn customer(tx: &mut Tx<'_>, payer: &Payer, change: &mut Change) -> Result<Customer> {
    match payer {
        Payer::Known(id) => decide::customer::not_deleted(store::customer::get(tx.sql, tx.world, id)?),
        Payer::Given(new) => {
            let known = store::customer::namesake(tx.sql, tx.world, new.uid.as_deref())?;
            Ok(decide::customer::set(known, new.clone(), &mut tx.setting(), change))
        }
    }
}

/// What the catalogue offers for each line.
fn offers(sql: &mut dyn Sql, world: World, lines: &[NewLine]) -> Result<Vec<Vec<Offer>>> {
    lines
        .iter()
        .map(|line| {
            let found = match &line.choice {
                Choice::Tier { tier, currency } => store::catalog::offers_of_tier(sql, world, tier, *currency)?,
                Choice::Price(price) => store::catalog::offer_of_price(sql, world, price.as_str())?,
                Choice::Inline { .. } => Vec::new(),
            };
            Ok(found
                .into_iter()
                .map(|(product, price)| Offer { product, price })
                .collect())
        })
        .collect()
}
