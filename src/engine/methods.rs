use super::{Customers, Page, page, page_size};
use crate::change::Change;
use crate::decide::methods;
use crate::error::Result;
use crate::id::{CustomerId, PaymentMethodId};
use crate::payment::PaymentMethod;
use crate::store;

impl Customers<'_> {
    /// The payment methods of a customer that can be charged, newest first, up to `limit` (1 to 100)
    /// after one. Those that were detached are not among them; those whose last month is over are.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] for the limit; [`crate::Error::NotFound`] for a customer that is not
    /// there; [`crate::Error::WrongMode`]; [`crate::Error::Storage`].
    pub fn payment_methods(
        &self,
        id: &CustomerId,
        limit: u32,
        after: Option<&PaymentMethodId>,
    ) -> Result<Page<PaymentMethod>> {
        let limit = page_size(limit)?;
        self.0.own_mode(id.as_str(), id.mode())?;
        if let Some(after) = after {
            self.0.own_mode(after.as_str(), after.mode())?;
        }
        self.0.core.view(self.0.world, |view| {
            let customer = store::customer::get(view.sql, view.world, id)?;
            let found = store::method::list(view.sql, view.world, &customer.id, after, limit + 1)?;
            Ok(page(found, limit))
        })
    }

    /// The payment method of an id, also one that was detached: [`PaymentMethod::state`] says so.
    ///
    /// # Errors
    /// [`crate::Error::NotFound`]; [`crate::Error::WrongMode`]; [`crate::Error::Storage`].
    pub fn payment_method(&self, id: &PaymentMethodId) -> Result<PaymentMethod> {
        self.0.own_mode(id.as_str(), id.mode())?;
        self.0
            .core
            .view(self.0.world, |view| store::method::get(view.sql, view.world, id))
    }

    /// Detaches a payment method from its customer: it is charged no more. Idempotent by state. A payment
    /// that was begun with it goes on. The service is not told; what it keeps, it keeps. If the buyer
    /// saves the same method again later, it is attached again under the same id.
    ///
    /// # Errors
    /// [`crate::Error::NotFound`]; [`crate::Error::WrongMode`]; [`crate::Error::Storage`].
    ///
    /// # Durability
    /// On disk when this returns.
    ///
    /// # Events
    /// `payment_method.detached`, once; and once more where it is detached already, but a setup or payment
    /// of the customer was begun since whose outcome could attach it again.
    pub fn detach(&self, id: &PaymentMethodId) -> Result<PaymentMethod> {
        self.0.own_mode(id.as_str(), id.mode())?;
        let wanted = id.clone();
        let moment = self.0.moment("customers.detach")?;
        self.0.core.write(moment, move |tx| {
            let known = store::method::get(tx.sql, tx.world, &wanted)?;
            let mut change = Change::new();
            let asked_since = store::method::asked_since(tx.sql, tx.world, &known)?;
            let method = methods::detach(known, asked_since, &tx.setting(), &mut change);
            tx.apply(&change)?;
            Ok(method)
        })
    }
}
