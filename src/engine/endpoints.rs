mod secrets;

use self::secrets::{drawn, stored};
use super::{App, Page, page, page_size};
use crate::change::{Change, Remember};
use crate::error::{Error, Invalid, Refused, Result, shortened};
use crate::event::{Event, EventKind, Happening, Subject};
use crate::id::EndpointId;
use crate::store::{self, Tx};
use crate::webhook::{
    AddedEndpoint, Endpoint, EndpointEvent, EndpointState, EndpointUpdate, FreshSecrets, NewEndpoint,
    next_endpoint_state,
};
use crate::wire;

/// Webhook endpoints of an app in a mode.
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
    /// have, a number out of range, a URL in use, and the hundred-and-first endpoint that is not deleted;
    /// [`Error::Deleted`] if what a key stands for was deleted; [`Error::IdempotencyConflict`];
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
        let drawn = drawn(seal, &id, new.ed25519)?;
        let url_key = url.key();
        let request_hash = new.fingerprint();
        let (endpoint, sealed) = core.write(moment, move |tx| {
            if let Some(key) = &new.idempotency_key
                && let Some(id) = store::remembered(tx, ADD, key, &request_hash)?
            {
                return stored(tx, &id);
            }
            is_free(tx, &new.url, &url_key)?;
            let count = store::endpoint::count(tx.sql, tx.world)?;
            if count >= MAX_ENDPOINTS {
                return Err(Invalid::new("endpoints", count + 1, format!("at most {MAX_ENDPOINTS}")).into());
            }
            let number = store::endpoint::next_number(tx.sql, tx.world)?;
            let endpoint = Endpoint {
                id: id.clone(),
                url: new.url.clone(),
                format: new.format,
                events: new.events.clone(),
                state: EndpointState::Enabled,
                ordering: new.ordering,
                max_in_flight: new.max_in_flight,
                min_gap: new.min_gap(),
                suspend_after: new.suspend_after,
                created_at: tx.now,
                number,
                url_key: url_key.clone(),
                revision: 0,
                fresh: Some(FreshSecrets {
                    sealed: drawn.clone(),
                    overlap_until: None,
                }),
            };
            let created = Happening::created(EventKind::EndpointCreated, endpoint.state.as_str());
            let mut change = Change::new();
            change.record(Subject::Endpoint(endpoint), [created]);
            change.remember(new.idempotency_key.clone().map(|key| Remember {
                scope: ADD,
                key,
                request_hash,
                result: id.to_string(),
            }));
            tx.apply(&change)?;
            stored(tx, id.as_str())
        })?;
        self.shown(endpoint, &sealed)
    }

    /// One endpoint, a deleted one too.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::WrongMode`]; [`Error::Storage`].
    pub fn get(&self, id: &EndpointId) -> Result<Endpoint> {
        self.0.own_mode(id.as_str(), id.mode())?;
        self.0.core.view(self.0.world, |view| {
            store::endpoint::get(view.sql, view.world, id.as_str())
        })
    }

    /// Changes where an endpoint is, which events it wants and how fast it gets them; its format, its order and its
    /// secret stay. What happens from now on goes by it; what waits to be sent goes to the new URL, at the new
    /// pace. Idempotent by state: what is so already writes nothing.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Deleted`]; [`Error::WrongMode`]; [`Error::Invalid`] for the URL, a URL that
    /// another endpoint has, an event that the format does not have, and a number out of range;
    /// [`Error::Storage`].
    ///
    /// # Durability
    /// On disk when this returns.
    ///
    /// # Events
    /// `endpoint.updated`, which the endpoint itself is not sent.
    pub fn update(&self, id: &EndpointId, update: EndpointUpdate) -> Result<Endpoint> {
        let url = update.checked()?;
        self.change(id, "endpoints.update", move |tx, endpoint| {
            store::endpoint::is_live(endpoint)?;
            let format = endpoint.format;
            let after = update.applied(endpoint, url.as_ref(), |name| wire::knows(format, name))?;
            if after.url_key != endpoint.url_key {
                is_free(tx, &after.url, &after.url_key)?;
            }
            Ok((after, EventKind::EndpointUpdated))
        })
    }

    /// Switches an endpoint off. Nothing is sent to it any more, but for an attempt that is on its way; what
    /// waits is kept, and of what happens while it is off it is told nothing, not later either
    /// ([`Deliveries::replay_range`](crate::Deliveries::replay_range) makes up for it). It takes as long whatever
    /// waits. Idempotent by state.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Deleted`]; [`Error::WrongMode`]; [`Error::Storage`].
    ///
    /// # Durability
    /// On disk when this returns.
    ///
    /// # Events
    /// `endpoint.disabled`, which the endpoint itself is not sent.
    pub fn disable(&self, id: &EndpointId) -> Result<Endpoint> {
        self.switch(id, "endpoints.disable", EndpointEvent::Disable)
    }

    /// Switches an endpoint on, also one that was suspended because it kept failing. What waited for it goes
    /// on: it is due when it would have been, at the pace that the endpoint is sent to. Idempotent by state.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Deleted`]; [`Error::WrongMode`]; [`Error::Storage`].
    ///
    /// # Durability
    /// On disk when this returns.
    ///
    /// # Events
    /// `endpoint.enabled`, which the endpoint itself is not sent.
    pub fn enable(&self, id: &EndpointId) -> Result<Endpoint> {
        self.switch(id, "endpoints.enable", EndpointEvent::Enable)
    }

    /// Deletes an endpoint and its secrets. Nothing is sent to it any more, but for an attempt that is on its
    /// way, and its URL can be given to another one. It takes as long whatever waits for it: `run_due` marks
    /// that as canceled, some at a time. If an attempt on its way is accepted, its delivery counts as delivered
    /// unless it was canceled before; then the acceptance stands among its attempts only. The endpoint can be
    /// read on ([`Endpoints::get`]). Idempotent by state.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::WrongMode`]; [`Error::Storage`].
    ///
    /// # Durability
    /// On disk when this returns.
    ///
    /// # Events
    /// `endpoint.deleted`, which the endpoint itself is not sent.
    pub fn delete(&self, id: &EndpointId) -> Result<Endpoint> {
        self.switch(id, "endpoints.delete", EndpointEvent::Delete)
    }

    /// Moves an endpoint's state.
    fn switch(self, id: &EndpointId, cause: &'static str, event: EndpointEvent) -> Result<Endpoint> {
        self.change(id, cause, move |_, endpoint| {
            if event != EndpointEvent::Delete {
                store::endpoint::is_live(endpoint)?;
            }
            let state = next_endpoint_state(endpoint.state, event)?;
            let kind = match event {
                EndpointEvent::Disable => EventKind::EndpointDisabled,
                EndpointEvent::Enable => EventKind::EndpointEnabled,
                EndpointEvent::Delete => EventKind::EndpointDeleted,
            };
            let after = Endpoint {
                state,
                ..endpoint.clone()
            };
            Ok((after, kind))
        })
    }

    /// Writes what `alter` makes of an endpoint, with its event, unless it is the same.
    fn change(
        self,
        id: &EndpointId,
        cause: &'static str,
        mut alter: impl FnMut(&mut Tx<'_>, &Endpoint) -> Result<(Endpoint, EventKind)> + Send + 'static,
    ) -> Result<Endpoint> {
        self.0.own_mode(id.as_str(), id.mode())?;
        let wanted = id.clone();
        let moment = self.0.moment(cause)?;
        self.0.core.write(moment, move |tx| {
            let endpoint = store::endpoint::get(tx.sql, tx.world, wanted.as_str())?;
            let (after, kind) = alter(tx, &endpoint)?;
            if after != endpoint {
                let happening = match (endpoint.state.as_str(), after.state.as_str()) {
                    (from, to) if from == to => Happening::plain(kind),
                    (from, to) => Happening::moved(kind, from, to),
                };
                let mut change = Change::new();
                change.record(Subject::Endpoint(after), [happening]);
                tx.apply(&change)?;
            }
            store::endpoint::get(tx.sql, tx.world, wanted.as_str())
        })
    }

    /// Sends an endpoint a test event, `ping` in every format, whatever events it wants, and answers the event
    /// as it stands in the journal. The delivery is made
    /// like any other. Not idempotent: each call sends another one.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Deleted`]; [`Error::WrongMode`]; [`Error::Refused`] unless the endpoint is
    /// enabled;
    /// [`Error::Storage`].
    ///
    /// # Durability
    /// On disk when this returns: the delivery is due, not made.
    ///
    /// # Events
    /// `endpoint.ping`.
    pub fn ping(&self, id: &EndpointId) -> Result<Event> {
        self.0.own_mode(id.as_str(), id.mode())?;
        let wanted = id.clone();
        let moment = self.0.moment("endpoints.ping")?;
        self.0.core.write(moment, move |tx| {
            let endpoint = store::endpoint::live(tx.sql, tx.world, wanted.as_str())?;
            if endpoint.state != EndpointState::Enabled {
                return Err(Refused {
                    object: "webhook endpoint",
                    state: endpoint.state.as_str(),
                    event: "a ping",
                }
                .into());
            }
            let before = endpoint.revision;
            let mut change = Change::new();
            let ping = Happening::plain(EventKind::EndpointPing);
            change.record(Subject::Endpoint(endpoint), [ping]);
            tx.apply(&change)?;
            let written = store::event::of_object(tx.sql, tx.world, wanted.as_str(), before, 1)?.pop();
            written.ok_or_else(|| Error::NotFound {
                what: "event of webhook endpoint",
                id: shortened(wanted.as_str()),
            })
        })
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
}

/// Refuses a URL that another endpoint has.
fn is_free(tx: &mut Tx<'_>, url: &str, url_key: &str) -> Result<()> {
    if let Some(other) = store::endpoint::by_url_key(tx.sql, tx.world, url_key)? {
        let allowed = format!("a URL that no endpoint has; {} has this one", other.id);
        return Err(Invalid::new("url", url, allowed).into());
    }
    Ok(())
}
