//! Who is acting, and the API keys by which they show it.

use std::fmt;

use ring::rand::{SecureRandom as _, SystemRandom};
use sha2::{Digest as _, Sha256};

use crate::error::Error;
use crate::id::{ApiKeyId, Mode, write_base62};
use crate::secret::Secret;
use crate::text;
use crate::time::Timestamp;

/// On whose behalf something is done. It stands on every row of history.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Actor {
    /// The program that links the engine.
    Host,
    /// The holder of an API key.
    Key(ApiKeyId),
    /// The buyer, on the hosted page.
    Page,
    /// Work that fell due.
    Runner,
    /// A processor, by what it answered or reported.
    Processor(String),
    /// A person, by a name that the host gives: 1 to 64 characters.
    Operator(String),
}

impl Actor {
    pub(crate) fn checked(self) -> Result<Actor, Error> {
        if let Actor::Processor(name) | Actor::Operator(name) = &self {
            text::text("actor", name, 64)?;
        }
        Ok(self)
    }
}

/// `host`, `key:key_test_…`, `page`, `runner`, `processor:main`, `operator:ada`.
impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Actor::Host => f.write_str("host"),
            Actor::Key(id) => write!(f, "key:{id}"),
            Actor::Page => f.write_str("page"),
            Actor::Runner => f.write_str("runner"),
            Actor::Processor(name) => write!(f, "processor:{name}"),
            Actor::Operator(name) => write!(f, "operator:{name}"),
        }
    }
}

/// An API key as it is stored: everything but the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ApiKey {
    /// The key's id.
    pub id: ApiKeyId,
    /// The start of the secret, by which people recognise a key: `sk_test_` and ten characters.
    pub prefix: String,
    /// Host time of its creation.
    pub created_at: Timestamp,
    /// Host time from which it is refused; none while it is in force.
    pub revoked_at: Option<Timestamp>,
    pub(crate) hash: [u8; 32],
    pub(crate) revision: i64,
}

/// A new API key with its secret, which is shown this once: the file keeps a hash only.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NewApiKey {
    /// The key as it is stored.
    pub key: ApiKey,
    /// `sk_test_…` or `sk_live_…`.
    pub secret: Secret,
}

const LOOKUP: usize = 10;
const RANDOM: usize = 40;

/// Draws a secret from the operating system: a mode, a public part to find it by, and more than
/// 230 random bits in all.
pub(crate) fn draw_key(id: ApiKeyId, mode: Mode, at: Timestamp) -> Result<NewApiKey, Error> {
    let mut body = [0; RANDOM];
    for part in body.chunks_mut(RANDOM / 2) {
        let mut bits = [0; 16];
        SystemRandom::new().fill(&mut bits).map_err(|_| Error::NoEntropy)?;
        write_base62(u128::from_be_bytes(bits), part);
    }
    let body: String = body.iter().map(|byte| char::from(*byte)).collect();
    let prefix = format!("sk_{mode}_{}", &body[..LOOKUP]);
    let secret = Secret::new(format!("sk_{mode}_{body}"));
    let key = ApiKey {
        id,
        prefix,
        created_at: at,
        revoked_at: None,
        hash: hash_of(secret.expose()),
        revision: 0,
    };
    Ok(NewApiKey { key, secret })
}

/// The part of a presented secret by which its row is found; none if it is not shaped like one.
pub(crate) fn lookup_part(presented: &str) -> Option<(Mode, &str)> {
    let (mode, body) = presented
        .strip_prefix("sk_test_")
        .map(|body| (Mode::Test, body))
        .or_else(|| presented.strip_prefix("sk_live_").map(|body| (Mode::Live, body)))?;
    let shaped = body.len() == RANDOM && body.bytes().all(|byte| byte.is_ascii_alphanumeric());
    shaped.then(|| (mode, &presented[..presented.len() - RANDOM + LOOKUP]))
}

impl ApiKey {
    /// Whether the presented secret is this key's, and the key in force at this host time.
    pub(crate) fn accepts(&self, presented: &str, at: Timestamp) -> bool {
        self.is_of(presented) && self.revoked_at.is_none_or(|revoked_at| at < revoked_at)
    }

    /// Whether the presented secret is this key's.
    pub(crate) fn is_of(&self, presented: &str) -> bool {
        // Hashes of 256-bit secrets are compared, so the comparison's timing tells nothing that
        // helps to guess a secret; it is constant all the same.
        hash_of(presented)
            .iter()
            .zip(&self.hash)
            .fold(0, |difference, (a, b)| difference | (a ^ b))
            == 0
    }
}

fn hash_of(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

#[cfg(test)]
mod tests;
