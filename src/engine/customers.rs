use super::{App, Page, page, page_size};
use crate::change::{Change, Remember};
use crate::customer::{Customer, CustomerUpdate, NewCustomer};
use crate::decide;
use crate::error::{Error, Invalid, Result, shortened};
use crate::id::CustomerId;
use crate::store;

/// Customers of an app in a mode.
///
/// A customer is found by its id and, if it has one, by its uid, which is the host's own name for
/// somebody. What somebody may use is kept by uid alone, and outlives the customer.
#[derive(Clone, Copy, Debug)]
pub struct Customers<'a>(pub(super) &'a App);

/// The scope of keys given to [`Customers::create`].
const CREATE: &str = "customers.create";

impl Customers<'_> {
    /// Makes a customer, with a uid or without.
    ///
    /// With an idempotency key the same request gives the same customer, as it is by then. Without one,
    /// a uid that somebody has is refused, and without a uid each call makes another customer.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the field; [`Error::UidTaken`] with the id of the customer who has the
    /// uid; [`Error::IdempotencyConflict`]; [`Error::Storage`].
    ///
    /// # Durability
    /// On disk when this returns.
    ///
    /// # Events
    /// `customer.created`.
    pub fn create(&self, customer: NewCustomer) -> Result<Customer> {
        let new = customer.checked()?;
        let request_hash = new.fingerprint();
        let moment = self.0.moment(CREATE)?;
        self.0.core.write(moment, move |tx| {
            if let Some(key) = &new.idempotency_key
                && let Some(id) = store::remembered(tx, CREATE, key, &request_hash)?
            {
                return store::customer::get(tx.sql, tx.world, &CustomerId::parse(&id)?);
            }
            let namesake = store::customer::namesake(tx.sql, tx.world, new.uid.as_deref())?;
            let mut change = Change::new();
            let customer = decide::customer::create(new.clone(), namesake.as_ref(), &mut tx.setting(), &mut change)?;
            change.remember(new.idempotency_key.clone().map(|key| Remember {
                scope: CREATE,
                key,
                request_hash,
                result: customer.id.to_string(),
            }));
            tx.apply(&change)?;
            Ok(customer)
        })
    }

    /// Makes the customer of a uid, or changes what is given of one that is known. Idempotent by
    /// state; what changes nothing writes nothing.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the field, `uid` if there is none, `idempotency_key` if there is one;
    /// [`Error::Storage`].
    ///
    /// # Durability
    /// On disk when this returns.
    ///
    /// # Events
    /// `customer.created` or `customer.updated`.
    pub fn set(&self, customer: NewCustomer) -> Result<Customer> {
        let new = customer
            .checked()?
            .keyless("idempotency_key", "who is set twice is made once")?;
        let Some(uid) = new.uid.clone() else {
            return Err(Invalid::new("uid", "none", "the host's own name for the customer").into());
        };
        let moment = self.0.moment("customers.set")?;
        self.0.core.write(moment, move |tx| {
            let known = store::customer::by_uid(tx.sql, tx.world, &uid)?;
            let mut change = Change::new();
            let customer = decide::customer::set(known, new.clone(), &mut tx.setting(), &mut change);
            tx.apply(&change)?;
            Ok(customer)
        })
    }

    /// Changes what is given of a customer, by its id. Idempotent by state: what changes nothing writes
    /// nothing.
    ///
    /// A customer that has no uid can be given one. Sessions made for it before then stay as they are:
    /// whom a sale entitles is settled when its session is made.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the field, `uid` for another than the customer has;
    /// [`Error::UidTaken`] with the id of the customer who has the uid; [`Error::Deleted`];
    /// [`Error::NotFound`]; [`Error::WrongMode`]; [`Error::Storage`].
    ///
    /// # Durability
    /// On disk when this returns.
    ///
    /// # Events
    /// `customer.updated`.
    pub fn update(&self, id: &CustomerId, update: CustomerUpdate) -> Result<Customer> {
        self.0.own_mode(id.as_str(), id.mode())?;
        let update = update.checked()?;
        let wanted = id.clone();
        let moment = self.0.moment("customers.update")?;
        self.0.core.write(moment, move |tx| {
            let known = store::customer::get(tx.sql, tx.world, &wanted)?;
            let namesake = store::customer::namesake(tx.sql, tx.world, update.uid.as_deref())?;
            let mut change = Change::new();
            let customer =
                decide::customer::update(known, update.clone(), namesake.as_ref(), &tx.setting(), &mut change)?;
            tx.apply(&change)?;
            Ok(customer)
        })
    }

    /// Deletes a customer: it is not found by its uid and not listed any more, cannot be changed, and
    /// no session is made for it. Its uid is free for another customer. Idempotent by state.
    ///
    /// Its payment methods are detached.
    ///
    /// What was sold stays. Sessions and charges go on naming the customer, [`Customers::get`] answers
    /// it, and a session that is open can still be paid. What its uid may use belongs to the uid and stays
    /// too; [`crate::Entitlements::revoke`] takes it back. Name, e-mail address, phone number and
    /// metadata stay in the file: remove them with [`Customers::update`] first if the row is to hold
    /// none. The history of the customer and of its sessions keeps what it was.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::WrongMode`]; [`Error::Storage`].
    ///
    /// # Durability
    /// On disk when this returns.
    ///
    /// # Events
    /// `payment_method.detached` of each, `customer.deleted`, once.
    pub fn delete(&self, id: &CustomerId) -> Result<Customer> {
        self.0.own_mode(id.as_str(), id.mode())?;
        let wanted = id.clone();
        let moment = self.0.moment("customers.delete")?;
        self.0.core.write(moment, move |tx| {
            let known = store::customer::get(tx.sql, tx.world, &wanted)?;
            let mut change = Change::new();
            let methods = store::method::attached(tx.sql, tx.world, &wanted)?;
            let customer = decide::customer::delete(known, methods, &tx.setting(), &mut change);
            tx.apply(&change)?;
            Ok(customer)
        })
    }

    /// The customer of an id, also one that was deleted: [`Customer::deleted_at`] says so.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::WrongMode`]; [`Error::Storage`].
    pub fn get(&self, id: &CustomerId) -> Result<Customer> {
        self.0.own_mode(id.as_str(), id.mode())?;
        self.0
            .core
            .view(self.0.world, |view| store::customer::get(view.sql, view.world, id))
    }

    /// Customers, newest first, up to `limit` (1 to 100) before one. Those that were deleted are not
    /// among them.
    ///
    /// # Errors
    /// [`Error::Invalid`] for the limit; [`Error::WrongMode`]; [`Error::Storage`].
    pub fn list(&self, limit: u32, before: Option<&CustomerId>) -> Result<Page<Customer>> {
        let limit = page_size(limit)?;
        if let Some(id) = before {
            self.0.own_mode(id.as_str(), id.mode())?;
        }
        self.0.core.view(self.0.world, |view| {
            Ok(page(
                store::customer::list(view.sql, view.world, before, limit + 1)?,
                limit,
            ))
        })
    }

    /// The customer of a uid; one that was deleted has none.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Storage`].
    pub fn by_uid(&self, uid: &str) -> Result<Customer> {
        let found = self
            .0
            .core
            .view(self.0.world, |view| store::customer::by_uid(view.sql, view.world, uid))?;
        found.ok_or_else(|| Error::NotFound {
            what: "customer",
            id: shortened(uid),
        })
    }
}
