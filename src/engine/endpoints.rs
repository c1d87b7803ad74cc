use super::{App, Engine, Page, page, page_size};
use crate::change::{Change, Remember};
use crate::error::{Error, Invalid, Result, shortened};
use crate::event::{EventKind, Happening, Subject};
use crate::id::{DeliveryId, EndpointId};
use crate::secret::Secret;
use crate::store::{self, Tx};
use crate::webhook::{AddedEndpoint, Delivery, Endpoint, EndpointState, NewEndpoint, draw_secret};
use crate::wire;

/// Webhook endpoints and deliveries of an app in a mode.
#[derive(Clone, Copy, Debug)]
pub struct Endpoints<'a>(pub(super) &'a App);

/// The scope of keys given to [`Endpoints::add`].
const ADD: &str = "endpoints.add";

/// The most endpoints of an app in a mode: every event is matched against each.
const MAX_ENDPOINTS: i64 = 100;

impl Endpoints<'_> {
    /// Adds an endpoint. Its signing secret is in the answer and cannot be read otherwise. It gets the
    /// events that happen from now on.
    ///
    /// With an idempotency key the same request gives the same endpoint, with the secret that it has
    /// by then. Without one a repetition is refused, because the URL is in use: it never gives two,
    /// but a secret whose answer was lost stays unknown.
    ///
    /// # Errors
    /// [`Error::NoSealKey`] without a key to seal the secret, and if the secret of a repeated request
    /// was sealed with another; [`Error::Invalid`] for the URL, an event that the format does not
    /// have, a URL in use, and the hundred-and-first endpoint; [`Error::IdempotencyConflict`];
    /// [`Error::NoEntropy`]; [`Error::Storage`].
    ///
    /// # Durability
    /// On disk when this returns.
    ///
    /// # Events
    /// `endpoint.created`.
    pub fn add(&self, endpoint: NewEndpoint) -> Result<AddedEndpoint> {
        let core = &self.0.core;
        let seal = core.seal.as_ref().ok_or(Error::NoSealKey("none was given"))?;
        let format = endpoint.format;
        let (new, url) = endpoint.checked(|name| wire::knows(format, name))?;
        let mut moment = self.0.moment(ADD)?;
        let id: EndpointId = moment.mint.id(self.0.world.mode);
        let secret = draw_secret()?;
        let sealed = seal.seal(&secret, id.as_str())?;
        let url_key = url.key();
        let request_hash = new.fingerprint();
        let (endpoint, sealed) = core.write(moment, move |tx| {
            if let Some(key) = &new.idempotency_key
                && let Some(id) = store::remembered(tx, ADD, key, &request_hash)?
            {
                return added(tx, &id);
            }
            if let Some(other) = store::endpoint::by_url_key(tx.sql, tx.world, &url_key)? {
                let allowed = format!("a URL that no endpoint has; {} has this one", other.id);
                return Err(Invalid::new("url", &new.url, allowed).into());
            }
            let number = store::endpoint::next_number(tx.sql, tx.world)?;
            if number > MAX_ENDPOINTS {
                return Err(Invalid::new("endpoints", number, format!("at most {MAX_ENDPOINTS}")).into());
            }
            let mut endpoint = Endpoint {
                id: id.clone(),
                url: new.url.clone(),
                format: new.format,
                events: new.events.clone(),
                state: EndpointState::Enabled,
                created_at: tx.now,
                number,
                url_key: url_key.clone(),
                revision: 0,
                sealed_secret: Some(sealed.clone()),
            };
            let created = Happening::created(EventKind::EndpointCreated, endpoint.state.as_str());
            let mut change = Change::new();
            change.record(Subject::Endpoint(endpoint.clone()), [created]);
            change.remember(new.idempotency_key.clone().map(|key| Remember {
                scope: ADD,
                key,
                request_hash,
                result: endpoint.id.to_string(),
            }));
            tx.apply(&change)?;
            endpoint.revision += 1;
            endpoint.sealed_secret = None;
            Ok((endpoint, sealed.clone()))
        })?;
        let secret = core
            .open_secret(&endpoint, &sealed)
            .ok_or(Error::NoSealKey("another one sealed the endpoint's secret"))?;
        Ok(AddedEndpoint { endpoint, secret })
    }

    /// Endpoints, oldest first, up to `limit` (1 to 100) after one.
    ///
    /// # Errors
    /// [`Error::Invalid`] for the limit; [`Error::WrongMode`]; [`Error::Storage`].
    pub fn list(&self, limit: u32, after: Option<&EndpointId>) -> Result<Page<Endpoint>> {
        let limit = page_size(limit)?;
        if let Some(id) = after {
            self.0.own_mode(id.as_str(), id.mode())?;
        }
        let after = after.map_or("", EndpointId::as_str);
        self.0.core.view(self.0.world, |view| {
            Ok(page(
                store::endpoint::list(view.sql, view.world, after, limit + 1)?,
                limit,
            ))
        })
    }

    /// Deliveries, newest first, up to `limit` (1 to 100) before one.
    ///
    /// # Errors
    /// [`Error::Invalid`] for the limit; [`Error::WrongMode`]; [`Error::Storage`].
    pub fn deliveries(&self, limit: u32, before: Option<&DeliveryId>) -> Result<Page<Delivery>> {
        let limit = page_size(limit)?;
        if let Some(id) = before {
            self.0.own_mode(id.as_str(), id.mode())?;
        }
        self.0.core.view(self.0.world, |view| {
            Ok(page(
                store::queue::list(view.sql, view.world, before, limit + 1)?,
                limit,
            ))
        })
    }
}

/// An endpoint that was added before, and the sealed secret with which it signs.
fn added(tx: &mut Tx<'_>, id: &str) -> Result<(Endpoint, Vec<u8>)> {
    let stored = store::endpoint::all_sealed(tx.sql, tx.world)?;
    let found = stored.into_iter().find(|(endpoint, _)| endpoint.id.as_str() == id);
    found.ok_or_else(|| Error::NotFound {
        what: "webhook endpoint",
        id: shortened(id),
    })
}

impl Engine {
    /// Gives a new secret, under this engine's key, to every endpoint whose secret does not open
    /// with it: the way on after a sealing key was lost. Secrets that open are left alone. The
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
            let stored = core.store.read(|sql| store::endpoint::all_sealed(sql, world))?;
            for (endpoint, sealed) in stored {
                if seal.open(&sealed, endpoint.id.as_str()).is_ok() {
                    continue;
                }
                let secret = draw_secret()?;
                let fresh = seal.seal(&secret, endpoint.id.as_str())?;
                let id = endpoint.id.clone();
                let moment = core.moment(world, crate::access::Actor::Host, "reset_seal")?;
                let replaced = core.write(moment, move |tx| {
                    // Read again in the write: another process may have been quicker.
                    let stored = store::endpoint::all_sealed(tx.sql, tx.world)?;
                    let is_same = |(known, known_sealed): &(Endpoint, Vec<u8>)| {
                        known.number == endpoint.number && *known_sealed == sealed
                    };
                    let Some((mut known, _)) = stored.into_iter().find(is_same) else {
                        return Ok(false);
                    };
                    known.sealed_secret = Some(fresh.clone());
                    let mut change = Change::new();
                    let rotated = Happening::plain(EventKind::EndpointSecretRotated);
                    change.record(Subject::Endpoint(known), [rotated]);
                    tx.apply(&change)?;
                    Ok(true)
                })?;
                if replaced {
                    reset.push((id, secret));
                }
            }
        }
        Ok(reset)
    }
}
