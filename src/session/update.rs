use super::input::{checked_completion, checked_lines, checked_url};
use super::{Completion, Dialect, NewLine};
use crate::error::Error;
use crate::id::Mode;
use crate::text::{Metadata, Patch};

/// What changes in an open session; given to `sessions().update`. What is not given stays.
#[derive(Clone, Debug, Default)]
pub struct SessionUpdate {
    pub(crate) lines: Option<Vec<NewLine>>,
    pub(crate) metadata: Option<Metadata>,
    pub(crate) completion: Option<Completion>,
    pub(crate) cancel_url: Patch,
}

impl SessionUpdate {
    /// Changes nothing.
    #[must_use]
    pub fn new() -> SessionUpdate {
        SessionUpdate::default()
    }

    /// Replaces the lines. Refused from the first attempt to pay on.
    #[must_use]
    pub fn lines(mut self, lines: impl IntoIterator<Item = NewLine>) -> Self {
        self.lines = Some(lines.into_iter().collect());
        self
    }

    /// Replaces the metadata.
    #[must_use]
    pub fn metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = Some(metadata);
        self
    }

    /// Sends the buyer to this URL after payment.
    #[must_use]
    pub fn return_to(mut self, url: impl Into<String>) -> Self {
        self.completion = Some(Completion::Redirect(url.into()));
        self
    }

    /// Lets the hosted page say thanks.
    #[must_use]
    pub fn hosted_confirmation(mut self) -> Self {
        self.completion = Some(Completion::HostedConfirmation);
        self
    }

    /// Replaces the URL for buyers who give up; none removes it.
    #[must_use]
    pub fn cancel_url(mut self, url: Option<String>) -> Self {
        self.cancel_url = Patch::to(url);
        self
    }

    pub(crate) fn checked(self, dialect: Dialect, mode: Mode) -> Result<SessionUpdate, Error> {
        Ok(SessionUpdate {
            lines: self.lines.map(checked_lines).transpose()?,
            metadata: self.metadata,
            completion: self
                .completion
                .map(|completion| checked_completion(dialect, mode, completion))
                .transpose()?,
            cancel_url: self.cancel_url.checked(|url| checked_url("cancel_url", url))?,
        })
    }
}
