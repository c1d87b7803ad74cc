//! How a webhook is signed. Pure: the time is an argument.
//!
//! Two schemes live here. In `t=,v1=`, which Stripe began, the key is the secret's *text*, prefix
//! and all, and the signed bytes are `<t>.<body>`. In Standard Webhooks 1.0.0 the key is what the
//! secret *decodes to* and the signed bytes are `<id>.<timestamp>.<body>`. Both use HMAC-SHA256
//! and both spell secrets `whsec_…`, so the classic mistake is to key the one as the other.

use data_encoding::BASE64;
#[cfg(any(test, feature = "engine"))]
use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::Reason;
use crate::secret::Secret;

/// The format that an endpoint speaks: the shape of the body, and how it is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Format {
    /// `XPay-Signature: t=<seconds>,v1=<hex>`, keyed on the secret's text.
    XPay,
    /// Standard Webhooks 1.0.0: three `webhook-` headers, keyed on the decoded secret.
    Standard,
}

impl Format {
    /// `xpay` or `standard`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Format::XPay => "xpay",
            Format::Standard => "standard",
        }
    }

    /// The format of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Format> {
        [Format::XPay, Format::Standard]
            .into_iter()
            .find(|format| format.as_str() == name)
    }
}

/// The value of `XPay-Signature`: `t=<seconds>,v1=<hex>`, with one `v1` per secret in this order.
///
/// The order and the absence of blanks are part of the format: simple receivers read the header by
/// position, or keep only the last `v1`.
#[cfg(any(test, feature = "engine"))]
pub(crate) fn timestamped(secrets: &[&Secret], seconds: i64, body: &[u8]) -> String {
    let time = seconds.to_string();
    let mut header = format!("t={time}");
    for secret in secrets {
        let signature = mac(secret.expose().as_bytes(), &[time.as_bytes(), b".", body]);
        header.push_str(",v1=");
        HEXLOWER.encode_append(&signature.finalize().into_bytes(), &mut header);
    }
    header
}

/// The value of `webhook-signature`: `v1,<base64>` per secret, in this order, spaces between.
///
/// Secrets that are no key of Standard Webhooks are left out; `None` if that leaves no signature.
/// The id is one of this crate's own, so it holds no dot.
#[cfg(any(test, feature = "engine"))]
pub(crate) fn standard(secrets: &[&Secret], id: &str, seconds: i64, body: &[u8]) -> Option<String> {
    let time = seconds.to_string();
    let signatures: Vec<String> = secrets
        .iter()
        .filter_map(|secret| decoded_key(secret).ok())
        .map(|key| {
            let signature = mac(&key, &[id.as_bytes(), b".", time.as_bytes(), b".", body]);
            format!("v1,{}", BASE64.encode(&signature.finalize().into_bytes()))
        })
        .collect();
    (!signatures.is_empty()).then(|| signatures.join(" "))
}

/// The key of the `t=,v1=` scheme: the whole text, `whsec_` included, never decoded.
pub(super) fn text_key(secret: &Secret) -> Result<Zeroizing<Vec<u8>>, Reason> {
    match unprefixed(secret)? {
        "" => Err(Reason::SecretTooShort),
        _ => Ok(Zeroizing::new(secret.expose().as_bytes().to_vec())),
    }
}

/// The key of Standard Webhooks: what the text behind `whsec_` decodes to.
pub(super) fn decoded_key(secret: &Secret) -> Result<Zeroizing<Vec<u8>>, Reason> {
    let key = BASE64
        .decode(unprefixed(secret)?.as_bytes())
        .map(Zeroizing::new)
        .map_err(|_| Reason::SecretNotBase64)?;
    match key.len() {
        0..DECODED_MIN => Err(Reason::SecretTooShort),
        _ => Ok(key),
    }
}

fn unprefixed(secret: &Secret) -> Result<&str, Reason> {
    let text = secret.expose();
    if text.contains(char::is_whitespace) {
        return Err(Reason::SecretHasWhiteSpace);
    }
    Ok(text.strip_prefix("whsec_").unwrap_or(text))
}

/// HMAC-SHA256 over the parts one after the other.
pub(super) fn mac(key: &[u8], parts: &[&[u8]]) -> Hmac<Sha256> {
    // RFC 2104: a key is padded with zeros to one block of the hash, and hashed first if longer.
    // A key of exactly one block is the form that cannot be refused, so there is no error to hide.
    let mut block = Zeroizing::new([0; BLOCK_LEN]);
    match block.get_mut(..key.len()) {
        Some(start) => start.copy_from_slice(key),
        None => block[..SIGNATURE_LEN].copy_from_slice(&Sha256::digest(key)),
    }
    let mut mac = Hmac::new((&*block).into());
    for part in parts {
        mac.update(part);
    }
    mac
}

/// The fewest bytes that Standard Webhooks allows a secret to decode to.
const DECODED_MIN: usize = 24;
pub(super) const SIGNATURE_LEN: usize = 32;
const BLOCK_LEN: usize = 64;
