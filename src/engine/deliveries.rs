use super::{App, Page, page, page_size};
use crate::error::Result;
use crate::id::DeliveryId;
use crate::store;
use crate::webhook::{Delivery, DeliveryAttempt, DeliveryFilter};

/// Events of an app in a mode on their way to webhook endpoints.
///
/// A delivery is kept for 30 days from when it was made if it was accepted or canceled, for 90 days if it ran
/// out of attempts, and longer if it is not done; an attempt is kept for 14 days.
#[derive(Clone, Copy, Debug)]
pub struct Deliveries<'a>(pub(super) &'a App);

impl Deliveries<'_> {
    /// Deliveries, newest first, up to `limit` (1 to 100) before one.
    ///
    /// A page costs the same however many there are, but for three: those in state `Pending` and those in state
    /// `InFlight` read all that are in it, or all of the endpoint's if one is named, and those in state
    /// `Delivered` pass what is newer and in another. Where the event is named they are found by that.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) for the limit; [`Error::WrongMode`](crate::Error::WrongMode);
    /// [`Error::Storage`](crate::Error::Storage).
    pub fn list(&self, filter: &DeliveryFilter, limit: u32, before: Option<&DeliveryId>) -> Result<Page<Delivery>> {
        let limit = page_size(limit)?;
        let endpoint = filter.endpoint.as_ref().map(|id| (id.as_str(), id.mode()));
        let event = filter.event.as_ref().map(|id| (id.as_str(), id.mode()));
        let before_id = before.map(|id| (id.as_str(), id.mode()));
        for (id, mode) in endpoint.into_iter().chain(event).chain(before_id) {
            self.0.own_mode(id, mode)?;
        }
        self.0.core.view(self.0.world, |view| {
            let found = store::delivery::list(view.sql, view.world, filter, before, limit + 1)?;
            Ok(page(found, limit))
        })
    }

    /// One delivery.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound), also once it is forgotten;
    /// [`Error::WrongMode`](crate::Error::WrongMode); [`Error::Storage`](crate::Error::Storage).
    pub fn get(&self, id: &DeliveryId) -> Result<Delivery> {
        self.0.own_mode(id.as_str(), id.mode())?;
        self.0.core.view(self.0.world, |view| {
            store::delivery::get(view.sql, view.world, id.as_str())
        })
    }

    /// What came of each attempt of a delivery, in order: at most five, and those that are older than 14 days
    /// may be gone. An attempt that is on its way is not among them yet.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound); [`Error::WrongMode`](crate::Error::WrongMode);
    /// [`Error::Storage`](crate::Error::Storage).
    pub fn attempts(&self, id: &DeliveryId) -> Result<Vec<DeliveryAttempt>> {
        self.0.own_mode(id.as_str(), id.mode())?;
        self.0.core.view(self.0.world, |view| {
            store::delivery::get(view.sql, view.world, id.as_str())?;
            store::delivery::attempts(view.sql, view.world, id)
        })
    }
}
