use super::App;
use crate::change::Change;
use crate::customer::{Customer, NewCustomer};
use crate::decide;
use crate::error::{Error, Invalid, Result, shortened};
use crate::id::CustomerId;
use crate::store;

/// Customers of an app in a mode.
#[derive(Clone, Copy, Debug)]
pub struct Customers<'a>(pub(super) &'a App);

impl Customers<'_> {
    /// Makes the customer of a uid, or changes what is given of one that is known. Idempotent by
    /// state; what changes nothing writes nothing.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the field, `uid` if there is none; [`Error::Storage`].
    ///
    /// # Durability
    /// On disk when this returns.
    ///
    /// # Events
    /// `customer.created` or `customer.updated`.
    pub fn set(&self, customer: NewCustomer) -> Result<Customer> {
        let new = customer.checked()?;
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

    /// The customer of an id.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::WrongMode`]; [`Error::Storage`].
    pub fn get(&self, id: &CustomerId) -> Result<Customer> {
        self.0.own_mode(id.as_str(), id.mode())?;
        let found = self.0.core.view(self.0.world, |view| {
            store::customer::by_id(view.sql, view.world, id.as_str())
        })?;
        found.ok_or_else(|| Error::NotFound {
            what: "customer",
            id: shortened(id.as_str()),
        })
    }

    /// The customer of a uid.
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
