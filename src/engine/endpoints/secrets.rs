//! The secrets by which an endpoint's webhooks are signed: drawn, shown once, replaced.

use super::Endpoints;
use crate::change::{Change, Remember};
use crate::digest::Fields;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::event::{EventKind, Happening, Subject};
use crate::id::EndpointId;
use crate::seal::SealKey;
use crate::secret::Secret;
use crate::store::{self, Tx};
use crate::text;
use crate::webhook::{
    AddedEndpoint, Endpoint, EndpointState, FreshSecrets, OVERLAP, SealedSecret, draw_pair, draw_secret,
    is_signing_key, public_half,
};
#[cfg(doc)]
use crate::webhook::{Format, NewEndpoint};

/// The scope of keys given to [`Endpoints::rotate`].
const ROTATE: &str = "endpoints.rotate";

impl Endpoints<'_> {
    /// Gives an endpoint a new signing secret, and a new Ed25519 key if it has one. For 24 hours of the
    /// host's time the old ones sign too, so that its receiver has that long to change over: each format
    /// has both signatures in the order that suits receivers who look at one only, but
    /// [`Format::XPaySubscriptions`], which has room for one and goes on with the old secret until then. Where
    /// the host's clock was ahead by more than a day and is set right, the old ones stop then.
    ///
    /// With an idempotency key the same request gives the secret that the endpoint has by then, after
    /// a retry and after a crash. Without one each call gives another; the secret before the last one
    /// stops signing at once then, since never more than two do.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Deleted`]; [`Error::WrongMode`]; [`Error::NoSealKey`] without a key to seal
    /// the secret, and if the secret of a repeated request was sealed with another; [`Error::Invalid`] for the key;
    /// [`Error::IdempotencyConflict`]; [`Error::NoEntropy`]; [`Error::Storage`].
    ///
    /// # Durability
    /// On disk when this returns.
    ///
    /// # Events
    /// `endpoint.secret_rotated`, which the endpoint itself is not sent.
    pub fn rotate(&self, id: &EndpointId, idempotency_key: Option<&str>) -> Result<AddedEndpoint> {
        self.0.own_mode(id.as_str(), id.mode())?;
        let core = &self.0.core;
        let seal = core.seal.as_ref().ok_or(Error::NoSealKey("none was given"))?;
        let key = text::key("idempotency_key", idempotency_key)?;
        let moment = self.0.moment(ROTATE)?;
        let request_hash = Fields::new().text(id.as_str()).finish();
        // Drawn either way, so that nothing has to be read before the write.
        let (plain, paired) = (drawn(seal, id, false)?, drawn(seal, id, true)?);
        let wanted = id.clone();
        let (endpoint, sealed) = core.write(moment, move |tx| {
            if let Some(key) = &key
                && let Some(id) = store::remembered(tx, ROTATE, key, &request_hash)?
            {
                return stored(tx, &id);
            }
            let (mut endpoint, sealed) = stored(tx, wanted.as_str())?;
            endpoint.fresh = Some(FreshSecrets {
                sealed: if has_pair(&sealed) { &paired } else { &plain }.clone(),
                overlap_until: Some(tx.host_now.plus(OVERLAP)),
            });
            let mut change = Change::new();
            let rotated = Happening::plain(EventKind::EndpointSecretRotated);
            change.record(Subject::Endpoint(endpoint), [rotated]);
            change.remember(key.clone().map(|key| Remember {
                scope: ROTATE,
                key,
                request_hash,
                result: wanted.to_string(),
            }));
            tx.apply(&change)?;
            stored(tx, wanted.as_str())
        })?;
        self.shown(endpoint, &sealed)
    }

    /// The public half of an endpoint's newest Ed25519 key, `whpk_…`, for receivers that check `v1a`
    /// signatures; none if it has no such key ([`NewEndpoint::ed25519`]).
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Deleted`]; [`Error::WrongMode`]; [`Error::NoSealKey`] if the secrets do not
    /// open with this engine's key; [`Error::Storage`].
    pub fn public_key(&self, id: &EndpointId) -> Result<Option<String>> {
        self.0.own_mode(id.as_str(), id.mode())?;
        let host_now = self.0.core.clock.now();
        let (endpoint, sealed) = self.0.core.view(self.0.world, |view| {
            let endpoint = store::endpoint::live(view.sql, view.world, id.as_str())?;
            let sealed = store::endpoint::sealed_secrets(view.sql, view.world, endpoint.number, host_now)?;
            Ok((endpoint, sealed))
        })?;
        Ok(self.shown(endpoint, &sealed)?.public_key)
    }

    /// An endpoint with the newest of its secrets, in the clear.
    pub(super) fn shown(self, endpoint: Endpoint, sealed: &[SealedSecret]) -> Result<AddedEndpoint> {
        let core = &self.0.core;
        let newest = sealed.get(..1).unwrap_or_default();
        let secret = core.open_secrets(&endpoint, newest).pop();
        let secret = secret.ok_or(Error::NoSealKey("another one sealed the endpoint's secret"))?;
        let current = sealed.iter().filter(|secret| secret.current).cloned();
        let opened = core.open_secrets(&endpoint, &current.collect::<Vec<_>>());
        let public_key = opened
            .iter()
            .find(|secret| is_signing_key(secret))
            .and_then(public_half);
        Ok(AddedEndpoint {
            endpoint,
            secret,
            public_key,
        })
    }
}

impl Engine {
    /// Gives a new secret, under this engine's key, to every endpoint whose newest secret does not open
    /// with it: the way on after a sealing key was lost. Secrets that open are left alone. An
    /// endpoint with an Ed25519 key gets a new one as well; see [`Endpoints::public_key`]. The
    /// answer holds each new secret, this once; receivers need them before they can verify again.
    /// Idempotent by state.
    ///
    /// # Errors
    /// [`Error::NoSealKey`] if this engine has no key; [`Error::NoEntropy`]; [`Error::Storage`].
    ///
    /// # Durability
    /// Each endpoint's change is on disk when this returns.
    ///
    /// # Events
    /// `endpoint.secret_rotated` per endpoint.
    pub fn reset_seal(&self) -> Result<Vec<(EndpointId, Secret)>> {
        let core = &self.core;
        let seal = core.seal.as_ref().ok_or(Error::NoSealKey("none was given"))?;
        let mut reset = Vec::new();
        for world in core.store.read(store::app::worlds)? {
            let host_now = core.clock.now();
            let all = core
                .store
                .read(|sql| store::endpoint::all_sealed(sql, world, host_now))?;
            for (endpoint, sealed) in all {
                let opens = |newest: &SealedSecret| seal.open(&newest.bytes, endpoint.id.as_str()).is_ok();
                if sealed.first().is_some_and(opens) {
                    continue;
                }
                let id = endpoint.id.clone();
                let fresh = FreshSecrets {
                    sealed: drawn(seal, &id, has_pair(&sealed))?,
                    overlap_until: None,
                };
                let moment = core.moment(world, crate::access::Actor::Host, "reset_seal")?;
                let replaced = core.write(moment, move |tx| {
                    // Read again in the write: another process may have been quicker.
                    let mut known = store::endpoint::get(tx.sql, tx.world, endpoint.id.as_str())?;
                    let now = store::endpoint::sealed_secrets(tx.sql, tx.world, known.number, tx.host_now)?;
                    if known.state == EndpointState::Deleted || now != sealed {
                        return Ok(None);
                    }
                    known.fresh = Some(fresh.clone());
                    let mut change = Change::new();
                    let rotated = Happening::plain(EventKind::EndpointSecretRotated);
                    change.record(Subject::Endpoint(known), [rotated]);
                    tx.apply(&change)?;
                    stored(tx, endpoint.id.as_str()).map(Some)
                })?;
                if let Some((endpoint, sealed)) = replaced {
                    let secret = core.open_secrets(&endpoint, &sealed).into_iter().next();
                    reset.push((id, secret.ok_or(Error::NoSealKey("the new secret does not open"))?));
                }
            }
        }
        Ok(reset)
    }
}

/// New secrets for an endpoint, sealed, in the order in which they are stored.
pub(super) fn drawn(seal: &SealKey, endpoint: &EndpointId, ed25519: bool) -> Result<Vec<Vec<u8>>> {
    let mut sealed = Vec::new();
    if ed25519 {
        let (signing, _) = draw_pair()?;
        sealed.push(seal.seal(&signing, endpoint.as_str())?);
    }
    sealed.push(seal.seal(&draw_secret()?, endpoint.as_str())?);
    Ok(sealed)
}

/// Whether an endpoint has an Ed25519 key. It shows without opening anything: a current row beside
/// that of the secret.
fn has_pair(sealed: &[SealedSecret]) -> bool {
    sealed.iter().filter(|secret| secret.current).count() > 1
}

/// An endpoint that is not deleted, and the sealed secrets with which it signs.
pub(super) fn stored(tx: &mut Tx<'_>, id: &str) -> Result<(Endpoint, Vec<SealedSecret>)> {
    let endpoint = store::endpoint::live(tx.sql, tx.world, id)?;
    let sealed = store::endpoint::sealed_secrets(tx.sql, tx.world, endpoint.number, tx.host_now)?;
    Ok((endpoint, sealed))
}
