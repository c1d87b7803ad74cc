//! What signs and what checks: secrets turned into keys, and the codes under them.
//!
//! Most formats key on the secret's *text*, prefix and all; Standard Webhooks keys on what the text
//! *decodes to*. Both spell secrets `whsec_…`, so the classic mistake is to key the one as the other.

use data_encoding::BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256, Sha512};
use zeroize::Zeroizing;

use super::{Format, Reason};
use crate::secret::Secret;

/// The prefix of a secret that both sides know.
pub(super) const SHARED: &str = "whsec_";
/// The prefix of an Ed25519 key that signs.
pub(super) const SIGNING: &str = "whsk_";
/// The prefix of an Ed25519 key that checks.
pub(super) const PUBLIC: &str = "whpk_";

/// What a receiver checks signatures by.
pub(super) enum Key {
    /// A code that both sides can compute.
    Shared(Zeroizing<Vec<u8>>),
    /// An Ed25519 key, which only checks.
    #[cfg(feature = "ed25519")]
    Public([u8; super::ed25519::PUBLIC_LEN]),
}

impl Key {
    /// The key that a receiver of a format was given as text. The prefix decides: a public key, which
    /// everybody may know, never passes for a secret.
    pub(super) fn of(format: Format, secret: &Secret) -> Result<Key, Reason> {
        match format {
            Format::Standard if secret.expose().starts_with(PUBLIC) => public_key(secret),
            Format::Standard => decoded_key(secret).map(Key::Shared),
            _ => text_key(secret).map(Key::Shared),
        }
    }
}

#[cfg(feature = "ed25519")]
fn public_key(secret: &Secret) -> Result<Key, Reason> {
    let bytes = decoded(secret, PUBLIC)?;
    let bytes = bytes.as_slice().try_into().map_err(|_| Reason::SecretTooShort)?;
    Ok(Key::Public(bytes))
}

#[cfg(not(feature = "ed25519"))]
fn public_key(_: &Secret) -> Result<Key, Reason> {
    Err(Reason::NoEd25519)
}

/// The key of formats that key on the whole text, `whsec_` included, never decoded.
pub(super) fn text_key(secret: &Secret) -> Result<Zeroizing<Vec<u8>>, Reason> {
    match shared_text(secret)? {
        "" => Err(Reason::SecretTooShort),
        _ => Ok(Zeroizing::new(secret.expose().as_bytes().to_vec())),
    }
}

/// The key of Standard Webhooks: what the text behind `whsec_` decodes to.
pub(super) fn decoded_key(secret: &Secret) -> Result<Zeroizing<Vec<u8>>, Reason> {
    shared_text(secret)?;
    let key = decoded(secret, SHARED)?;
    match key.len() {
        0..DECODED_MIN => Err(Reason::SecretTooShort),
        _ => Ok(key),
    }
}

fn shared_text(secret: &Secret) -> Result<&str, Reason> {
    let text = secret.expose();
    if text.contains(char::is_whitespace) {
        return Err(Reason::SecretHasWhiteSpace);
    }
    if text.starts_with(PUBLIC) || text.starts_with(SIGNING) {
        return Err(Reason::SecretOfAnotherKind);
    }
    Ok(text.strip_prefix(SHARED).unwrap_or(text))
}

/// What a text decodes to behind its prefix, which may be absent.
pub(super) fn decoded(secret: &Secret, prefix: &str) -> Result<Zeroizing<Vec<u8>>, Reason> {
    let text = secret.expose();
    if text.contains(char::is_whitespace) {
        return Err(Reason::SecretHasWhiteSpace);
    }
    BASE64
        .decode(text.strip_prefix(prefix).unwrap_or(text).as_bytes())
        .map(Zeroizing::new)
        .map_err(|_| Reason::SecretNotBase64)
}

/// HMAC-SHA256 over the parts one after the other.
pub(super) fn mac(key: &[u8], parts: &[&[u8]]) -> Hmac<Sha256> {
    let block = block::<SHA256_BLOCK>(key, |key| Sha256::digest(key).to_vec());
    let mut mac = Hmac::new((&*block).into());
    for part in parts {
        mac.update(part);
    }
    mac
}

/// HMAC-SHA512 over the bytes.
pub(super) fn mac_sha512(key: &[u8], bytes: &[u8]) -> Hmac<Sha512> {
    let block = block::<SHA512_BLOCK>(key, |key| Sha512::digest(key).to_vec());
    Hmac::new((&*block).into()).chain_update(bytes)
}

/// RFC 2104: a key is padded with zeros to one block of the hash, and hashed first if longer. A key
/// of exactly one block is the form that cannot be refused, so there is no error to hide.
fn block<const LEN: usize>(key: &[u8], hashed: impl Fn(&[u8]) -> Vec<u8>) -> Zeroizing<[u8; LEN]> {
    let mut block = Zeroizing::new([0; LEN]);
    if let Some(start) = block.get_mut(..key.len()) {
        start.copy_from_slice(key);
    } else {
        let hashed = Zeroizing::new(hashed(key));
        block[..hashed.len()].copy_from_slice(&hashed);
    }
    block
}

/// The fewest bytes that Standard Webhooks allows a secret to decode to.
const DECODED_MIN: usize = 24;
const SHA256_BLOCK: usize = 64;
const SHA512_BLOCK: usize = 128;
