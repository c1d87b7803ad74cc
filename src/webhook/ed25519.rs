//! Ed25519 signatures of Standard Webhooks (`v1a`): whoever has the public key can check and cannot
//! sign.

#[cfg(feature = "engine")]
use data_encoding::BASE64;
#[cfg(feature = "engine")]
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{ED25519, UnparsedPublicKey};
#[cfg(feature = "engine")]
use ring::signature::{Ed25519KeyPair, KeyPair as _};

#[cfg(feature = "engine")]
use super::key::{PUBLIC, SIGNING, decoded};
#[cfg(feature = "engine")]
use crate::error::Error;
#[cfg(feature = "engine")]
use crate::secret::Secret;

pub(super) const PUBLIC_LEN: usize = 32;
pub(super) const SIGNATURE_LEN: usize = 64;

/// Whether the holder of the key's other half signed the message.
pub(super) fn is_signed(public: &[u8; PUBLIC_LEN], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, public)
        .verify(message, signature)
        .is_ok()
}

/// Draws a pair from the operating system: `whsk_` and base64 of the seed and the public key, and
/// `whpk_` and base64 of the public key alone.
#[cfg(feature = "engine")]
pub(crate) fn draw_pair() -> Result<(Secret, String), Error> {
    let mut seed = zeroize::Zeroizing::new([0; SEED_LEN]);
    SystemRandom::new().fill(&mut *seed).map_err(|_| Error::NoEntropy)?;
    let pair = Ed25519KeyPair::from_seed_unchecked(&*seed).map_err(|_| Error::NoEntropy)?;
    let public = pair.public_key().as_ref();
    let mut both = zeroize::Zeroizing::new(seed.to_vec());
    both.extend_from_slice(public);
    let signing = Secret::new(format!("{SIGNING}{}", BASE64.encode(&both)));
    Ok((signing, written(public)))
}

/// Whether a text is a key that signs.
#[cfg(feature = "engine")]
pub(crate) fn is_signing_key(secret: &Secret) -> bool {
    secret.expose().starts_with(SIGNING)
}

/// The public half of a key that signs, `whpk_…`.
#[cfg(feature = "engine")]
pub(crate) fn public_half(signing: &Secret) -> Option<String> {
    pair(signing).map(|pair| written(pair.public_key().as_ref()))
}

/// The signature of a message in base64; none if the key is damaged.
#[cfg(feature = "engine")]
pub(super) fn sign(signing: &Secret, message: &[u8]) -> Option<String> {
    pair(signing).map(|pair| BASE64.encode(pair.sign(message).as_ref()))
}

/// The pair of a key, of which the public half is compared with what follows from the seed.
#[cfg(feature = "engine")]
fn pair(signing: &Secret) -> Option<Ed25519KeyPair> {
    let bytes = decoded(signing, SIGNING).ok()?;
    let (seed, public) = bytes.split_at_checked(SEED_LEN)?;
    Ed25519KeyPair::from_seed_and_public_key(seed, public).ok()
}

#[cfg(feature = "engine")]
fn written(public: &[u8]) -> String {
    format!("{PUBLIC}{}", BASE64.encode(public))
}

#[cfg(feature = "engine")]
const SEED_LEN: usize = 32;
