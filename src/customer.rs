//! Who pays and who uses.

use crate::error::{Error, Invalid};
use crate::id::CustomerId;
use crate::text::{self, Metadata};
use crate::time::Timestamp;

/// Somebody who pays or uses.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Customer {
    /// The customer's id.
    pub id: CustomerId,
    /// The host's own name for the customer; unique per app and mode. None for a guest.
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
    pub(crate) revision: i64,
}

/// A customer to be made, or changed if the uid is known; given to `customers().set`.
///
/// What is not given stays as it is.
#[derive(Clone, Debug, Default)]
pub struct NewCustomer {
    pub(crate) uid: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) email: Option<String>,
    pub(crate) phone: Option<String>,
    pub(crate) metadata: Option<Metadata>,
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

    /// A customer without a uid: a guest of one sale.
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

    pub(crate) fn checked(self) -> Result<NewCustomer, Error> {
        Ok(NewCustomer {
            uid: text::optional("uid", self.uid.as_deref(), MAX_UID)?,
            name: text::optional("name", self.name.as_deref(), 250)?,
            email: self.email.as_deref().map(|given| email("email", given)).transpose()?,
            phone: text::optional("phone", self.phone.as_deref(), 40)?,
            metadata: self.metadata,
        })
    }
}

/// The most characters of a uid.
pub(crate) const MAX_UID: usize = 200;

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
