//! Sealing secrets before they are stored.
//!
//! A sealed value is `1 | key id (8 bytes) | nonce (12 bytes) | ciphertext and tag`, under
//! ChaCha20-Poly1305 with a random nonce from the operating system. What it belongs to is
//! authenticated with it, so that a sealed value moved to another row does not open.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::secret::Secret;

const VERSION: u8 = 1;
const KEY_ID: usize = 8;
const HEADER: usize = 1 + KEY_ID + NONCE_LEN;

/// A key that seals and opens.
pub(crate) struct SealKey {
    key: LessSafeKey,
    id: [u8; KEY_ID],
}

impl SealKey {
    pub(crate) fn new(bytes: &[u8; 32]) -> Result<SealKey> {
        let key = UnboundKey::new(&CHACHA20_POLY1305, bytes).map_err(|_| Error::NoSealKey("the key does not serve"))?;
        let hash = Sha256::new()
            .chain_update(b"tillite seal key id")
            .chain_update(bytes)
            .finalize();
        let mut id = [0; KEY_ID];
        id.copy_from_slice(&hash[..KEY_ID]);
        Ok(SealKey {
            key: LessSafeKey::new(key),
            id,
        })
    }

    /// Seals a secret for the thing that `belongs_to` names.
    pub(crate) fn seal(&self, secret: &Secret, belongs_to: &str) -> Result<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| Error::NoEntropy)?;
        let mut sealed = Zeroizing::new(secret.expose().as_bytes().to_vec());
        self.key
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(belongs_to.as_bytes()),
                &mut *sealed,
            )
            .map_err(|_| Error::NoSealKey("the secret could not be sealed"))?;
        let mut out = vec![VERSION];
        out.extend_from_slice(&self.id);
        out.extend_from_slice(&nonce);
        out.extend_from_slice(&sealed);
        Ok(out)
    }

    /// Opens a sealed secret.
    pub(crate) fn open(&self, sealed: &[u8], belongs_to: &str) -> Result<Secret> {
        if sealed.len() <= HEADER || sealed[0] != VERSION {
            return Err(Error::NoSealKey("a stored secret is not in a known form"));
        }
        if sealed[1..=KEY_ID] != self.id {
            return Err(Error::NoSealKey("a stored secret was sealed with another key"));
        }
        let wrong = || Error::NoSealKey("a stored secret does not open");
        let nonce = Nonce::try_assume_unique_for_key(&sealed[1 + KEY_ID..HEADER]).map_err(|_| wrong())?;
        let mut bytes = Zeroizing::new(sealed[HEADER..].to_vec());
        let opened = self
            .key
            .open_in_place(nonce, Aad::from(belongs_to.as_bytes()), &mut bytes)
            .map_err(|_| wrong())?;
        let text = std::str::from_utf8(opened).map_err(|_| wrong())?;
        Ok(Secret::new(text))
    }
}

#[cfg(test)]
mod tests;
