use crate::customer::MAX_UID;
use crate::digest::Fields;
use crate::error::{Error, Invalid};
use crate::text::{self, Metadata};
use crate::time::Timestamp;

/// Something granted by hand; given to `entitlements().grant`. It starts at once.
#[derive(Clone, Debug)]
pub struct NewGrant {
    pub(crate) uid: String,
    pub(crate) tier: String,
    pub(crate) ends: Ends,
    pub(crate) quantity: u32,
    pub(crate) limits: Metadata,
    pub(crate) idempotency_key: Option<String>,
}

/// When a grant ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ends {
    Never,
    At(Timestamp),
    AfterDays(u32),
}

impl NewGrant {
    /// One of a tier of the catalogue to a uid (1 to 200 characters), for ever.
    #[must_use]
    pub fn tier(uid: impl Into<String>, tier: impl Into<String>) -> NewGrant {
        NewGrant {
            uid: uid.into(),
            tier: tier.into(),
            ends: Ends::Never,
            quantity: 1,
            limits: Metadata::default(),
            idempotency_key: None,
        }
    }

    /// Ends it at this engine time, which must lie in the future.
    #[must_use]
    pub fn until(mut self, end: Timestamp) -> Self {
        self.ends = Ends::At(end);
        self
    }

    /// Ends it after so many days, 1 to 36,500.
    #[must_use]
    pub fn days(mut self, days: u32) -> Self {
        self.ends = Ends::AfterDays(days);
        self
    }

    /// How many, 1 to 1,000,000.
    #[must_use]
    pub fn quantity(mut self, quantity: u32) -> Self {
        self.quantity = quantity;
        self
    }

    /// What it allows, for the host to read back.
    #[must_use]
    pub fn limits(mut self, limits: Metadata) -> Self {
        self.limits = limits;
        self
    }

    /// The same key grants once, after a retry and after a crash: 1 to 255 visible ASCII
    /// characters. What looks like a card number is refused: see [`crate::NewCustomer::uid`] for how
    /// ids of digits keep clear of that.
    #[must_use]
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }

    pub(crate) fn checked(self) -> Result<NewGrant, Error> {
        text::text("uid", &self.uid, MAX_UID)?;
        text::name("tier", &self.tier, 64)?;
        if !(1..=1_000_000).contains(&self.quantity) {
            return Err(Invalid::new("quantity", self.quantity, "1 to 1000000").into());
        }
        if let Ends::AfterDays(days) = self.ends
            && !(1..=36_500).contains(&days)
        {
            return Err(Invalid::new("days", days, "1 to 36500").into());
        }
        text::key("idempotency_key", self.idempotency_key.as_deref())?;
        Ok(self)
    }

    /// The hash of everything that was asked for, but the key: who repeats a key must repeat it.
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        let (kind, end) = match self.ends {
            Ends::Never => ("never", 0),
            Ends::At(end) => ("at", end.as_millis()),
            Ends::AfterDays(days) => ("days", i64::from(days)),
        };
        let fields = Fields::new()
            .text(&self.uid)
            .text(&self.tier)
            .text(kind)
            .int(end)
            .int(i64::from(self.quantity));
        self.limits
            .iter()
            .fold(fields, |fields, (key, value)| fields.text(key).text(value))
            .finish()
    }
}
