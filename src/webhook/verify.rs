//! How a receiver checks that a webhook came from who it says. Pure: the time is an argument.

use std::fmt;
use std::time::Duration;

use data_encoding::{BASE64, Encoding, HEXLOWER};
use hmac::Mac as _;

use super::signature::{Format, SIGNATURE_LEN, decoded_key, mac, text_key};
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
///    shows at the first delivery and never passes as a weak key.
/// 2. *The headers.* [`Format::XPay`] reads `xpay-signature`, a list of `key=value` with commas
///    between: one `t`, in decimal digits, and 1 to 16 `v1`, each 64 lower-case hexadecimal digits.
///    [`Format::Standard`] reads `webhook-id`, `webhook-timestamp` and `webhook-signature`, a list
///    of `version,value` with spaces between: 1 to 16 `v1` in padded base64. The id holds no dot,
///    since a dot could move bytes between id, time and body. Other keys and versions (`v0`,
///    `v1a`) are ignored; one malformed `v1` refuses the whole. No header exceeds 1,024 bytes.
/// 3. *The signature*, over the raw bytes of the body: any `v1` by any of the secrets will do.
///    Every candidate is compared, each in constant time.
/// 4. *The time*, in whole seconds and in both directions; a difference of exactly the tolerance
///    passes. It comes after the signature, so that only a sender who knows the secret learns
///    anything about the receiver's clock.
///
/// The rules are those of Standard Webhooks 1.0.0 and of the `t=,v1=` scheme as its senders
/// document it, made stricter where their libraries disagree.
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
    /// A secret of [`Format::Standard`] is not base64 behind its `whsec_`.
    SecretNotBase64,
    /// A secret is empty or, for [`Format::Standard`], decodes to fewer than 24 bytes.
    SecretTooShort,
    /// The request has no header of this name.
    MissingHeader(&'static str),
    /// The header of this name is longer than 1,024 bytes.
    HeaderTooLong(&'static str),
    /// The header `webhook-id` is empty or holds a dot.
    BadId,
    /// The header has no `t`.
    NoTimestamp,
    /// The header has more than one `t`.
    RepeatedTimestamp,
    /// The time is not a number of seconds in decimal digits.
    BadTimestamp,
    /// The header has no `v1`.
    NoSignature,
    /// The header has more than 16 `v1`.
    TooManySignatures,
    /// A `v1` is not spelled as a signature of this format is.
    MalformedSignature,
    /// No signature fits: another secret, or a body that was changed on its way.
    NoMatch,
    /// The signature fits, its time lies further back than the tolerance.
    TooOld,
    /// The signature fits, its time lies further ahead than the tolerance.
    TooNew,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::SecretHasWhiteSpace => "a secret has white space in it, check how it was pasted",
            Reason::SecretNotBase64 => "a secret is not base64 behind its whsec_",
            Reason::SecretTooShort => "a secret is empty or decodes to fewer than 24 bytes",
            Reason::MissingHeader(name) => return write!(f, "there is no header {name}"),
            Reason::HeaderTooLong(name) => {
                return write!(f, "the header {name} is longer than {HEADER_MAX} bytes");
            }
            Reason::BadId => "the header webhook-id is empty or holds a dot",
            Reason::NoTimestamp => "there is no time in the header",
            Reason::RepeatedTimestamp => "there is more than one time in the header",
            Reason::BadTimestamp => "the time is not a number of seconds",
            Reason::NoSignature => "there is no v1 signature in the header",
            Reason::TooManySignatures => "there are more than 16 v1 signatures in the header",
            Reason::MalformedSignature => "a v1 signature is not spelled as one",
            Reason::NoMatch => "no signature fits the secret and the body",
            Reason::TooOld => "the time lies too far back",
            Reason::TooNew => "the time lies too far ahead",
        })
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
        .map(|secret| match format {
            Format::XPay => text_key(secret),
            Format::Standard => decoded_key(secret),
        })
        .collect::<Result<Vec<_>, _>>()?;
    let claim = match format {
        Format::XPay => Claim::timestamped(header),
        Format::Standard => Claim::standard(header),
    }?;
    // Neither this fold nor the one inside stops at the first match.
    let matched = keys
        .iter()
        .fold(false, |matched, key| matched | claim.is_signed_by(key, body));
    if !matched {
        return Err(Reason::NoMatch);
    }
    let now = now.as_secs();
    if now.abs_diff(claim.seconds) <= tolerance.as_secs() {
        return Ok(());
    }
    Err(if claim.seconds < now {
        Reason::TooOld
    } else {
        Reason::TooNew
    })
}

/// What the headers of a webhook say, before any of it is believed.
struct Claim<'h> {
    /// What is signed in front of the body. The time stands here as it was written, since that is
    /// what was signed.
    prefix: Vec<&'h str>,
    seconds: i64,
    signatures: Vec<[u8; SIGNATURE_LEN]>,
}

impl<'h> Claim<'h> {
    fn timestamped(header: impl Fn(&str) -> Option<&'h str>) -> Result<Claim<'h>, Reason> {
        let mut times = Vec::new();
        let mut candidates = Vec::new();
        for element in bounded(header, "xpay-signature")?.split(',') {
            match element.split_once('=') {
                Some(("t", time)) => times.push(time),
                Some(("v1", candidate)) => candidates.push(candidate),
                _ => {}
            }
        }
        let time = match times[..] {
            [time] => time,
            [] => return Err(Reason::NoTimestamp),
            _ => return Err(Reason::RepeatedTimestamp),
        };
        Ok(Claim {
            prefix: vec![time, "."],
            seconds: parsed_seconds(time)?,
            signatures: decoded_signatures(&candidates, &HEXLOWER)?,
        })
    }

    fn standard(header: impl Fn(&str) -> Option<&'h str>) -> Result<Claim<'h>, Reason> {
        let id = bounded(&header, "webhook-id")?;
        let time = bounded(&header, "webhook-timestamp")?;
        let candidates: Vec<&str> = bounded(&header, "webhook-signature")?
            .split(' ')
            .filter_map(|element| element.strip_prefix("v1,"))
            .collect();
        if id.is_empty() || id.contains('.') {
            return Err(Reason::BadId);
        }
        Ok(Claim {
            prefix: vec![id, ".", time, "."],
            seconds: parsed_seconds(time)?,
            signatures: decoded_signatures(&candidates, &BASE64)?,
        })
    }

    fn is_signed_by(&self, key: &[u8], body: &[u8]) -> bool {
        let parts: Vec<&[u8]> = self.prefix.iter().map(|part| part.as_bytes()).chain([body]).collect();
        let expected = mac(key, &parts);
        self.signatures.iter().fold(false, |matched, signature| {
            matched | expected.clone().verify_slice(signature).is_ok()
        })
    }
}

fn bounded<'h>(header: impl Fn(&str) -> Option<&'h str>, name: &'static str) -> Result<&'h str, Reason> {
    match header(name) {
        None => Err(Reason::MissingHeader(name)),
        Some(value) if value.len() > HEADER_MAX => Err(Reason::HeaderTooLong(name)),
        Some(value) => Ok(value),
    }
}

fn parsed_seconds(text: &str) -> Result<i64, Reason> {
    // A sign would be parsed too, and no sender writes one.
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Reason::BadTimestamp);
    }
    text.parse().map_err(|_| Reason::BadTimestamp)
}

fn decoded_signatures(candidates: &[&str], spelling: &Encoding) -> Result<Vec<[u8; SIGNATURE_LEN]>, Reason> {
    match candidates.len() {
        0 => return Err(Reason::NoSignature),
        1..=CANDIDATES_MAX => {}
        _ => return Err(Reason::TooManySignatures),
    }
    candidates
        .iter()
        .map(|candidate| {
            let bytes = spelling.decode(candidate.as_bytes()).ok();
            bytes
                .and_then(|bytes| bytes.try_into().ok())
                .ok_or(Reason::MalformedSignature)
        })
        .collect()
}

const HEADER_MAX: usize = 1_024;
const CANDIDATES_MAX: usize = 16;
