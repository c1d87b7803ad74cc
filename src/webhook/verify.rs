//! How a receiver checks that a webhook came from who it says. Pure: the time is an argument.

use std::fmt;
use std::time::Duration;

use super::key::Key;
use super::presented::{CANDIDATES_MAX, HEADER_MAX};
use super::{Format, scheme};
use crate::secret::Secret;
use crate::time::Timestamp;

/// Checks that a webhook was sent by the holder of `secret` and is at most 300 seconds off `now`.
///
/// This is [`Verifier`] for one secret and the usual tolerance; all that is said there holds here.
///
/// # Errors
/// [`BadSignature`], whose [`reason`](BadSignature::reason) says what is wrong.
///
/// # Examples
/// ```
/// use std::collections::HashMap;
/// use tillite::webhook::{Format, verify};
/// use tillite::{Secret, Timestamp};
///
/// let secret = Secret::new("whsec_test");
/// let headers = HashMap::from([(
///     "xpay-signature",
///     "t=1730000000,v1=187fa68fb591cdee1668ab008795e53445eb0f7589433a23fd1910a021ceef15",
/// )]);
/// let header = |name: &str| headers.get(name).copied();
/// // In a program this is the clock's time.
/// let now = Timestamp::from_millis(1_730_000_002_500)?;
///
/// assert!(verify(Format::XPay, &secret, header, br#"{"id":"evt_test_1"}"#, now).is_ok());
/// assert!(verify(Format::XPay, &secret, header, br#"{"id":"evt_test_2"}"#, now).is_err());
/// # Ok::<(), tillite::Error>(())
/// ```
pub fn verify<'h>(
    format: Format,
    secret: &Secret,
    header: impl Fn(&str) -> Option<&'h str>,
    body: &[u8],
    now: Timestamp,
) -> Result<(), BadSignature> {
    let secrets = std::slice::from_ref(secret);
    check(format, secrets, Verifier::TOLERANCE, header, body, now).map_err(|reason| BadSignature { reason })
}

/// The receiver's check, for several accepted secrets or another tolerance.
///
/// While a sender replaces its secret, a receiver accepts the new one and the old one:
///
/// ```
/// use tillite::Secret;
/// use tillite::webhook::{Format, Verifier};
///
/// let new = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
/// let old = Secret::new("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD");
/// let verifier = Verifier::new(Format::Standard, new).also(old);
/// # let _ = verifier;
/// ```
///
/// What is checked, in this order:
///
/// 1. *The secrets.* One with white space in it, an empty one, and for [`Format::Standard`] one
///    that does not decode to at least 24 bytes refuses every webhook, so that a wrong setting
///    shows at the first delivery and never passes as a weak key. For [`Format::Standard`] a public
///    key, `whpk_…`, is given in a secret's place where the endpoint has one (feature `ed25519`):
///    it checks `v1a` signatures, a `whsec_…` checks `v1`.
/// 2. *The headers.* [`Format::XPay`] and [`Format::JoPay`] read `xpay-signature` and
///    `x-jopay-signature`, a list of `key=value` with commas between: one `t`, in decimal digits, and 1
///    to 16 `v1`, each 64 lower-case hexadecimal digits. [`Format::Elixpo`] reads
///    `x-elixpo-pay-timestamp` and `x-elixpo-pay-signature`, 1 to 16 `sha256=` in such digits with
///    commas between. [`Format::XPaySubscriptions`] reads `xpay-signature`, one value in padded base64.
///    [`Format::Standard`] reads `webhook-id`, `webhook-timestamp` and `webhook-signature`, a list
///    of `version,value` with spaces between: 1 to 16 `v1` or `v1a` in padded base64. The id holds no
///    dot, since a dot could move bytes between id, time and body. Other keys and versions are ignored;
///    one malformed signature refuses the whole. No header exceeds 1,024 bytes.
/// 3. *The signature*, over the raw bytes of the body: any of them by any of the secrets will do.
///    Every candidate is compared, each in constant time.
/// 4. *The time*, in whole seconds and in both directions; a difference of exactly the tolerance
///    passes. It comes after the signature, so that only a sender who knows the secret learns
///    anything about the receiver's clock. [`Format::XPaySubscriptions`] signs no time: whoever
///    once saw a webhook can send it again for ever, and only the event's id shows that: ids of this format
///    are kept for good ([`InboxStore`](super::InboxStore)).
///
/// The rules are those of Standard Webhooks 1.0.0 and of the other schemes as their senders document
/// them, made stricter where their libraries disagree.
#[derive(Clone, Debug)]
#[must_use]
pub struct Verifier {
    format: Format,
    secrets: Vec<Secret>,
    tolerance: Duration,
}

impl Verifier {
    /// How far a signature's time may be off unless [`Verifier::tolerance`] says otherwise.
    pub const TOLERANCE: Duration = Duration::from_secs(300);

    /// Accepts webhooks of one format, signed with this secret.
    pub fn new(format: Format, secret: Secret) -> Verifier {
        Verifier {
            format,
            secrets: vec![secret],
            tolerance: Self::TOLERANCE,
        }
    }

    /// Accepts another secret as well.
    pub fn also(mut self, secret: Secret) -> Verifier {
        self.secrets.push(secret);
        self
    }

    /// How far the signature's time may lie before or after `now`, in whole seconds, rounded down.
    pub fn tolerance(mut self, tolerance: Duration) -> Verifier {
        self.tolerance = tolerance;
        self
    }

    /// Checks one webhook.
    ///
    /// `header` looks a header up by its lower-case name, `body` is what came over the wire before
    /// anything parsed it, and `now` is the host's clock.
    ///
    /// A request can have a header twice, of which this check sees the one that `header` answers. So `header` answers
    /// none for a name that stands there twice (no sender of these formats does that), and whoever reads `webhook-id`
    /// afterwards reads it by the same look-up: otherwise the id that was checked and the id that is taken in can be
    /// two.
    ///
    /// # Errors
    /// [`BadSignature`], whose [`reason`](BadSignature::reason) says what is wrong.
    pub fn verify<'h>(
        &self,
        header: impl Fn(&str) -> Option<&'h str>,
        body: &[u8],
        now: Timestamp,
    ) -> Result<(), BadSignature> {
        check(self.format, &self.secrets, self.tolerance, header, body, now).map_err(|reason| BadSignature { reason })
    }
}

/// A webhook that must not be believed.
///
/// It never holds any of the secret, the headers or the body. For the sender one answer is enough;
/// the reason is for the receiver's own log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("webhook signature refused: {reason}")]
pub struct BadSignature {
    reason: Reason,
}

impl BadSignature {
    /// What is wrong with it.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        self.reason
    }
}

/// Why a webhook's signature was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// A secret has white space in it: most likely a line break came along when it was pasted.
    SecretHasWhiteSpace,
    /// A secret of [`Format::Standard`] is not base64 behind its `whsec_` or `whpk_`.
    SecretNotBase64,
    /// A secret is empty or, for [`Format::Standard`], decodes to fewer than 24 bytes, a public key to
    /// other than 32.
    SecretTooShort,
    /// A `whpk_` for a format that knows secrets only, or a `whsk_`, which belongs to the sender alone.
    SecretOfAnotherKind,
    /// A `whpk_` in a program built without the feature `ed25519`.
    NoEd25519,
    /// The request has no header of this name.
    MissingHeader(&'static str),
    /// The header of this name has so many bytes, more than 1,024.
    HeaderTooLong(&'static str, usize),
    /// The header `webhook-id` is empty or holds a dot.
    BadId,
    /// The header of this name has no `t=`.
    NoTimestamp(&'static str),
    /// The header of this name has more than one `t=`.
    RepeatedTimestamp(&'static str),
    /// The time is not a number of seconds in decimal digits.
    BadTimestamp,
    /// There is no signature behind this mark, by which the format knows them.
    NoSignature(&'static str),
    /// There are so many signatures behind this mark, more than 16.
    TooManySignatures(&'static str, usize),
    /// What stands behind this mark is not spelled as a signature of the format is.
    MalformedSignature(&'static str),
    /// No signature fits: another secret, or a body that was changed on its way.
    NoMatch,
    /// The signature fits, its time lies further back than the tolerance.
    TooOld {
        /// How many seconds it lies back.
        off: u64,
        /// How many it may.
        allowed: u64,
    },
    /// The signature fits, its time lies further ahead than the tolerance.
    TooNew {
        /// How many seconds it lies ahead.
        off: u64,
        /// How many it may.
        allowed: u64,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::SecretHasWhiteSpace => f.write_str("a secret has white space in it, check how it was pasted"),
            Reason::SecretNotBase64 => f.write_str("a secret is not base64 behind its whsec_ or whpk_"),
            Reason::SecretTooShort => {
                f.write_str("a secret is empty or decodes to fewer than 24 bytes, or a public key to other than 32")
            }
            Reason::SecretOfAnotherKind => {
                f.write_str("a key of another kind was given: whsec_ is wanted, or whpk_ for the format standard")
            }
            Reason::NoEd25519 => f.write_str("a whpk_ key needs this crate's feature ed25519"),
            Reason::MissingHeader(name) => write!(f, "there is no header {name}"),
            Reason::HeaderTooLong(name, found) => {
                write!(f, "the header {name} has {found} bytes, at most {HEADER_MAX} are read")
            }
            Reason::BadId => f.write_str("the header webhook-id is empty or holds a dot"),
            Reason::NoTimestamp(name) => write!(f, "there is no t= in the header {name}"),
            Reason::RepeatedTimestamp(name) => write!(f, "there is more than one t= in the header {name}"),
            Reason::BadTimestamp => f.write_str("the time is not a number of seconds in decimal digits"),
            Reason::NoSignature(mark) => write!(f, "there is no signature behind {mark:?}"),
            Reason::TooManySignatures(mark, found) => {
                write!(
                    f,
                    "there are {found} signatures behind {mark:?}, at most {CANDIDATES_MAX} are read"
                )
            }
            Reason::MalformedSignature(mark) => {
                write!(
                    f,
                    "what stands behind {mark:?} is not spelled as a signature of this format"
                )
            }
            Reason::NoMatch => f.write_str("no signature fits: another secret, or a body that was changed on its way"),
            Reason::TooOld { off, allowed } => write!(f, "the time lies {off} s back, {allowed} s are allowed"),
            Reason::TooNew { off, allowed } => write!(f, "the time lies {off} s ahead, {allowed} s are allowed"),
        }
    }
}

fn check<'h>(
    format: Format,
    secrets: &[Secret],
    tolerance: Duration,
    header: impl Fn(&str) -> Option<&'h str>,
    body: &[u8],
    now: Timestamp,
) -> Result<(), Reason> {
    let keys = secrets
        .iter()
        .map(|secret| Key::of(format, secret))
        .collect::<Result<Vec<_>, _>>()?;
    let presented = scheme::read(format, &keys, &header)?;
    // Neither this fold nor the one inside stops at the first match.
    let matched = keys
        .iter()
        .fold(false, |matched, key| matched | presented.is_signed_by(key, body));
    if !matched {
        return Err(Reason::NoMatch);
    }
    let (now, allowed) = (now.as_secs(), tolerance.as_secs());
    match presented.seconds {
        Some(seconds) if now.abs_diff(seconds) > allowed => {
            let off = now.abs_diff(seconds);
            Err(if seconds < now {
                Reason::TooOld { off, allowed }
            } else {
                Reason::TooNew { off, allowed }
            })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
