//! Typed identifiers.
//!
//! An id is `prefix_mode_body`: `cs_test_0Vx…`. The body is 30 characters of `[0-9A-Za-z]`: eight
//! that grow with the time at which the id was made, so that neighbours in time are neighbours in
//! the file's indexes, and 22 that carry 128 random bits, so that nobody guesses one (the id of a
//! checkout session is a capability: it stands in the URL of the page on which the buyer pays).

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Invalid};

#[cfg(feature = "engine")]
const HEAD: usize = 8;
const BODY: usize = 30;
#[cfg(feature = "engine")]
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Whether money is real. Test and live objects never meet: each id, key and row carries its mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// Nothing here moves money; the built-in sandbox stands in for the processor.
    Test,
    /// Real money.
    Live,
}

impl Mode {
    /// `test` or `live`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Mode::Test => "test",
            Mode::Live => "live",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// An app and a mode: a world whose rows no other world sees.
#[cfg(feature = "engine")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct World {
    /// The app's small number in the file.
    pub(crate) app: i64,
    pub(crate) mode: Mode,
}

/// What all typed ids have in common, for the code that mints, stores and loads them.
pub(crate) trait Id: Sized {
    const PREFIX: &'static str;
    const WHAT: &'static str;
    fn from_checked(text: String) -> Self;

    fn parse_text(text: &str) -> Result<Self, Error> {
        let body = text
            .strip_prefix(Self::PREFIX)
            .and_then(|rest| rest.strip_prefix("_test_").or_else(|| rest.strip_prefix("_live_")));
        match body {
            Some(body) if body.len() == BODY && body.bytes().all(|b| b.is_ascii_alphanumeric()) => {
                Ok(Self::from_checked(text.to_owned()))
            }
            _ => Err(Invalid::new(
                "id",
                text,
                format!(
                    "the id of a {}, {}_test_… or {}_live_…",
                    Self::WHAT,
                    Self::PREFIX,
                    Self::PREFIX
                ),
            )
            .into()),
        }
    }
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal, $what:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Box<str>);

        impl $name {
            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The mode that the id carries.
            #[must_use]
            pub fn mode(&self) -> Mode {
                match self.0[$prefix.len()..].starts_with("_live_") {
                    true => Mode::Live,
                    false => Mode::Test,
                }
            }

            /// An id from its text.
            ///
            /// # Errors
            /// [`Error::Invalid`] for anything but an id of this kind.
            pub fn parse(text: &str) -> Result<Self, Error> {
                Self::parse_text(text)
            }
        }

        impl Id for $name {
            const PREFIX: &'static str = $prefix;
            const WHAT: &'static str = $what;
            fn from_checked(text: String) -> Self {
                $name(text.into_boxed_str())
            }
        }

        impl FromStr for $name {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self, Error> {
                Self::parse(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

ids! {
    /// A checkout session. It is a capability: who has it can open the page and pay.
    SessionId = "cs", "checkout session";
    /// A payment intent: the wish to collect one amount, over as many charges as it takes.
    PaymentIntentId = "pi", "payment intent";
    /// A charge: one attempt to collect.
    ChargeId = "ch", "charge";
    /// An attempt: one operation asked of a processor, with its frozen request.
    AttemptId = "at", "attempt";
    /// A refund.
    RefundId = "re", "refund";
    /// A payment method that a payment service keeps for a customer.
    PaymentMethodId = "pm", "payment method";
    /// A setup: saving a payment method without taking money.
    SetupId = "seti", "setup";
    /// A dispute.
    DisputeId = "dp", "dispute";
    /// A customer.
    CustomerId = "cus", "customer";
    /// A product.
    ProductId = "prod", "product";
    /// A price.
    PriceId = "price", "price";
    /// A grant: one reason why somebody may use something.
    GrantId = "gr", "grant";
    /// An entitlement: what somebody may use, over all grants.
    EntitlementId = "ent", "entitlement";
    /// An event.
    EventId = "evt", "event";
    /// A webhook endpoint.
    EndpointId = "we", "webhook endpoint";
    /// A notice that a payment service gave.
    NotificationId = "nt", "notification";
    /// A delivery of one event to one endpoint.
    DeliveryId = "dl", "delivery";
    /// Events that are sent again to an endpoint.
    ReplayId = "rpl", "replay";
    /// An API key (not its secret).
    ApiKeyId = "key", "API key";
}

/// Makes the ids that one command needs.
///
/// A command may run more than once before it commits, and how many ids it needs depends on what
/// it finds. So randomness is drawn once, before it runs, and expanded here: each run of the
/// command starts from a clone and gets the same ids.
#[cfg(feature = "engine")]
#[derive(Clone)]
pub(crate) struct Mint {
    head: [u8; HEAD],
    seed: [u8; 32],
    made: u64,
}

#[cfg(feature = "engine")]
impl Mint {
    /// A mint from 32 random bytes and the time that orders its ids.
    pub(crate) fn new(seed: [u8; 32], at: crate::time::Timestamp) -> Mint {
        Mint {
            head: head(at),
            seed,
            made: 0,
        }
    }

    /// The next id.
    pub(crate) fn id<T: Id>(&mut self, mode: Mode) -> T {
        let mut tail = [0; BODY - HEAD];
        write_base62(self.bits(), &mut tail);
        let mut text = format!("{}_{}_", T::PREFIX, mode);
        text.extend(self.head.iter().chain(&tail).map(|digit| char::from(*digit)));
        T::from_checked(text)
    }

    fn bits(&mut self) -> u128 {
        use sha2::{Digest as _, Sha256};
        self.made += 1;
        let hash = Sha256::new()
            .chain_update(self.seed)
            .chain_update(self.made.to_be_bytes())
            .finalize();
        hash.iter().take(16).fold(0, |bits, byte| bits << 8 | u128::from(*byte))
    }
}

/// What the ids of a kind begin with that are made at a time: it sorts after every id that was made
/// before, and before every other.
#[cfg(feature = "engine")]
pub(crate) fn first_made<T: Id>(mode: Mode, at: crate::time::Timestamp) -> String {
    let head = head(at).map(char::from);
    format!("{}_{}_{}", T::PREFIX, mode, String::from_iter(head))
}

/// The part of an id that grows with time.
#[cfg(feature = "engine")]
fn head(at: crate::time::Timestamp) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    write_base62(u128::from(at.as_millis().unsigned_abs()), &mut head);
    head
}

/// Host time at which an id was made, by the part of it that grows with time; none for another text.
#[cfg(feature = "engine")]
pub(crate) fn made_at(id: &str) -> Option<crate::time::Timestamp> {
    let head = id.rsplit('_').next()?.get(..HEAD)?;
    let mut millis = 0;
    for digit in head.bytes() {
        let value = DIGITS.iter().position(|known| *known == digit)?;
        millis = millis * 62 + i64::try_from(value).ok()?;
    }
    crate::time::Timestamp::from_millis(millis).ok()
}

/// Writes the last `out.len()` base-62 digits of a number, most significant first. The digits are
/// in ASCII order, so that texts of one length sort as their numbers do.
#[cfg(feature = "engine")]
pub(crate) fn write_base62(mut number: u128, out: &mut [u8]) {
    for place in out.iter_mut().rev() {
        *place = DIGITS[usize::try_from(number % 62).unwrap_or(0)];
        number /= 62;
    }
}

#[cfg(test)]
mod tests;
