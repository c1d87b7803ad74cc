use super::{App, Page, page, page_size};
use crate::error::Result;
use crate::id::{ChargeId, DisputeId};
use crate::payment::Dispute;
use crate::store;

/// Charges that buyers dispute with their banks, of an app in a mode. They come and end by what the
/// payment service says of them: see [`crate::NoticeKind::Dispute`].
#[derive(Clone, Copy, Debug)]
pub struct Disputes<'a>(pub(super) &'a App);

impl Disputes<'_> {
    /// The dispute of an id.
    ///
    /// # Errors
    /// [`crate::Error::NotFound`]; [`crate::Error::WrongMode`]; [`crate::Error::Storage`].
    pub fn get(&self, id: &DisputeId) -> Result<Dispute> {
        self.0.own_mode(id.as_str(), id.mode())?;
        let core = &self.0.core;
        core.view(self.0.world, |view| store::dispute::get(view.sql, view.world, id))
    }

    /// Disputes, newest first, up to `limit` (1 to 100) after one.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] for the limit; [`crate::Error::WrongMode`]; [`crate::Error::Storage`].
    pub fn list(&self, limit: u32, after: Option<&DisputeId>) -> Result<Page<Dispute>> {
        let limit = page_size(limit)?;
        if let Some(id) = after {
            self.0.own_mode(id.as_str(), id.mode())?;
        }
        self.0.core.view(self.0.world, |view| {
            Ok(page(
                store::dispute::list(view.sql, view.world, after, limit + 1)?,
                limit,
            ))
        })
    }

    /// The disputes of a charge, the first one first, up to 100.
    ///
    /// # Errors
    /// [`crate::Error::WrongMode`]; [`crate::Error::Storage`].
    pub fn of(&self, charge: &ChargeId) -> Result<Vec<Dispute>> {
        self.0.own_mode(charge.as_str(), charge.mode())?;
        let core = &self.0.core;
        core.view(self.0.world, |view| {
            store::dispute::of_charge(view.sql, view.world, charge)
        })
    }
}
