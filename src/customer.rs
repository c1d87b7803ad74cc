//! Who pays and who uses.

use crate::digest::Fields;
use crate::error::{Error, Invalid};
use crate::id::CustomerId;
use crate::text::{self, Metadata, Patch};
use crate::time::Timestamp;

/// Somebody who pays or uses.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Customer {
    /// The customer's id.
    pub id: CustomerId,
    /// The host's own name for the customer; unique per app and mode among those that were not
    /// deleted. None for a guest.
    pub uid: Option<String>,
    /// The customer's name.
    pub name: Option<String>,
    /// The customer's e-mail address, as given.
    pub email: Option<String>,
    /// The customer's phone number, as given.
    pub phone: Option<String>,
    /// What the host attached.
    pub metadata: Metadata,
    /// Engine time.
    pub created_at: Timestamp,
    /// Engine time.
    pub updated_at: Timestamp,
    /// Engine time at which the customer was deleted; none: not deleted.
    pub deleted_at: Option<Timestamp>,
    pub(crate) revision: i64,
}

/// A customer to be made, given to `customers().create`; or one to be made or changed, by uid, given
/// to `customers().set`, where what is not given stays as it is.
#[derive(Clone, Debug, Default)]
pub struct NewCustomer {
    pub(crate) uid: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) email: Option<String>,
    pub(crate) phone: Option<String>,
    pub(crate) metadata: Option<Metadata>,
    pub(crate) idempotency_key: Option<String>,
}

impl NewCustomer {
    /// The customer with the host's own name for them, 1 to 200 characters.
    ///
    /// What looks like a card number is refused, here as in every key. A UUID never does, by itself or
    /// behind a dash or an underscore; but one in 31 of the random numbers of 16 digits does, with
    /// letters before them or not. An id of 12 to 19 digits is never refused with a zero before them
    /// (`user_01234567890123456`), or with underscores that leave fewer than 12 in a row.
    #[must_use]
    pub fn uid(uid: impl Into<String>) -> NewCustomer {
        NewCustomer {
            uid: Some(uid.into()),
            ..NewCustomer::default()
        }
    }

    /// A customer without a uid: a guest.
    #[must_use]
    pub fn guest() -> NewCustomer {
        NewCustomer::default()
    }

    /// The name, up to 250 characters.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The e-mail address, up to 254 characters with an `@`.
    #[must_use]
    pub fn email(mut self, email: impl Into<String>) -> Self {
        self.email = Some(email.into());
        self
    }

    /// The phone number, up to 40 characters.
    #[must_use]
    pub fn phone(mut self, phone: impl Into<String>) -> Self {
        self.phone = Some(phone.into());
        self
    }

    /// The metadata, in place of what was attached before.
    #[must_use]
    pub fn metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = Some(metadata);
        self
    }

    /// For `customers().create`: the same key makes one customer, after a retry and after a crash. 1 to
    /// 255 visible ASCII characters; known for seven days, or as long as
    /// [`crate::Builder::keep_idempotency_keys`] says. What looks like a card number is refused: see
    /// [`NewCustomer::uid`] for how ids of digits keep clear of that.
    #[must_use]
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }

    pub(crate) fn checked(self) -> Result<NewCustomer, Error> {
        Ok(NewCustomer {
            uid: self.uid.as_deref().map(uid).transpose()?,
            name: self.name.as_deref().map(name).transpose()?,
            email: self.email.as_deref().map(|given| email("email", given)).transpose()?,
            phone: self.phone.as_deref().map(phone).transpose()?,
            metadata: self.metadata,
            idempotency_key: text::key("idempotency_key", self.idempotency_key.as_deref())?,
        })
    }

    /// The same where a key would stand for nothing: one is refused, by the name of its field and with
    /// what does without it.
    pub(crate) fn keyless(self, field: &str, instead: &str) -> Result<NewCustomer, Error> {
        match self.idempotency_key {
            None => Ok(self),
            Some(_) => Err(Invalid::new(field, "a key", format!("none: {instead}")).into()),
        }
    }

    /// The hash of everything that was asked for, but the key: who repeats a key must repeat it.
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        let fields = Fields::new()
            .maybe(self.uid.as_deref())
            .maybe(self.name.as_deref())
            .maybe(self.email.as_deref())
            .maybe(self.phone.as_deref());
        Metadata::hashed(self.metadata.as_ref(), fields).finish()
    }
}

/// What changes in a customer; given to `customers().update`. What is not given stays.
#[derive(Clone, Debug, Default)]
pub struct CustomerUpdate {
    pub(crate) uid: Option<String>,
    pub(crate) name: Patch,
    pub(crate) email: Patch,
    pub(crate) phone: Patch,
    pub(crate) metadata: Option<Metadata>,
}

impl CustomerUpdate {
    /// Changes nothing.
    #[must_use]
    pub fn new() -> CustomerUpdate {
        CustomerUpdate::default()
    }

    /// Gives the host's own name to a customer that has none; see [`NewCustomer::uid`]. A uid is given
    /// once: what somebody may use is kept by uid, so another one would be somebody else's.
    #[must_use]
    pub fn uid(mut self, uid: impl Into<String>) -> Self {
        self.uid = Some(uid.into());
        self
    }

    /// Replaces the name, up to 250 characters; none removes it.
    #[must_use]
    pub fn name(mut self, name: Option<String>) -> Self {
        self.name = Patch::to(name);
        self
    }

    /// Replaces the e-mail address, up to 254 characters with an `@`; none removes it.
    #[must_use]
    pub fn email(mut self, email: Option<String>) -> Self {
        self.email = Patch::to(email);
        self
    }

    /// Replaces the phone number, up to 40 characters; none removes it.
    #[must_use]
    pub fn phone(mut self, phone: Option<String>) -> Self {
        self.phone = Patch::to(phone);
        self
    }

    /// Replaces the metadata.
    #[must_use]
    pub fn metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = Some(metadata);
        self
    }

    pub(crate) fn checked(self) -> Result<CustomerUpdate, Error> {
        Ok(CustomerUpdate {
            uid: self.uid.as_deref().map(uid).transpose()?,
            name: self.name.checked(name)?,
            email: self.email.checked(|given| email("email", given))?,
            phone: self.phone.checked(phone)?,
            metadata: self.metadata,
        })
    }
}

/// The most characters of a uid.
pub(crate) const MAX_UID: usize = 200;

fn uid(given: &str) -> Result<String, Error> {
    text::text("uid", given, MAX_UID)
}

fn name(given: &str) -> Result<String, Error> {
    text::text("name", given, 250)
}

fn phone(given: &str) -> Result<String, Error> {
    text::text("phone", given, 40)
}

/// An e-mail address: up to 254 characters (RFC 5321), an `@` with something on both sides, no
/// white space. Whether it receives mail only sending tells.
pub(crate) fn email(field: &str, given: &str) -> Result<String, Error> {
    let address = text::text(field, given, 254)?;
    let sides = address
        .rsplit_once('@')
        .is_some_and(|(local, host)| !local.is_empty() && !host.is_empty());
    if !sides || address.chars().any(char::is_whitespace) {
        return Err(Invalid::new(field, given, "an address such as ada@example.com").into());
    }
    Ok(address)
}
