//! Sending events again.

use super::budget::{Budget, Ran, Work};
use super::{Deliveries, Engine, Page, page, page_size};
use crate::access::Actor;
use crate::change::{Change, Remember};
use crate::digest::Fields;
#[cfg(doc)]
use crate::error::Error;
use crate::error::{Refused, Result};
use crate::id::{DeliveryId, ReplayId, World};
use crate::store::{self, Tx};
use crate::text;
use crate::webhook::{Delivery, NewReplay, Replay, ReplayFrom, ReplayState};
#[cfg(doc)]
use crate::webhook::{Format, ReplayOf};

/// The scope of keys given to [`Deliveries::replay`].
const REPLAY: &str = "deliveries.replay";

/// The scope of keys given to [`Deliveries::replay_range`].
const RANGE: &str = "deliveries.replay_range";

impl Deliveries<'_> {
    /// Sends the event of a delivery to its endpoint once more, whatever came of it and whatever the endpoint
    /// wants by now: another delivery, of the same event id and the same bytes, due at once, with five attempts
    /// like any. While the endpoint is off it waits. It stands among the replays as well, as one that is done.
    ///
    /// With an idempotency key the same request gives the same delivery, after a retry and after a crash;
    /// without one each call sends it again.
    ///
    /// # Errors
    /// [`Error::NotFound`], also once the delivery is forgotten; [`Error::Deleted`] if its endpoint was deleted;
    /// [`Error::WrongMode`]; [`Error::Invalid`] for the key; [`Error::IdempotencyConflict`]; [`Error::Storage`].
    ///
    /// # Durability
    /// On disk when this returns: the delivery is due, not made.
    ///
    /// # Events
    /// None: what is sent is an event that happened before.
    pub fn replay(&self, id: &DeliveryId, idempotency_key: Option<&str>) -> Result<Delivery> {
        self.0.own_mode(id.as_str(), id.mode())?;
        let key = text::key("idempotency_key", idempotency_key)?;
        let request_hash = Fields::new().text(id.as_str()).finish();
        let wanted = id.clone();
        let moment = self.0.moment(REPLAY)?;
        self.0.core.write(moment, move |tx| {
            let made = once(tx, REPLAY, key.as_ref(), request_hash, |tx| {
                Ok(store::replay::again(tx, &wanted)?.to_string())
            })?;
            store::delivery::get(tx.sql, tx.world, &made)
        })
    }

    /// Begins to send a range of events to an endpoint again, or for the first time: up to the newest one that
    /// there is by now, and of them what the endpoint wants by now and what [`ReplayOf`] says, but nothing that is
    /// in the queue for it. `run_due` goes on with it after the deliveries that are due, up to 500 events at a
    /// time, and not while as many wait to be sent to the endpoint or while it is off.
    ///
    /// The bytes are those that were committed with the event. They are there in the formats that an enabled
    /// endpoint wanted then; in [`Format::Standard`] they can be made of what the event log keeps, to the byte.
    /// In another format, events without them are passed over and counted ([`Replay::passed`]).
    ///
    /// With an idempotency key the same request gives the same replay, after a retry and after a crash; without
    /// one each call begins another. Up to four run to one endpoint at once, those included that wait because it
    /// is off.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Deleted`] if the endpoint was deleted; [`Error::ReplaysRunning`];
    /// [`Error::WrongMode`]; [`Error::Invalid`] for the position and the key; [`Error::IdempotencyConflict`];
    /// [`Error::Storage`].
    ///
    /// # Durability
    /// On disk when this returns: a replay that was begun is done, after a crash too.
    ///
    /// # Events
    /// None: what is sent are events that happened before.
    pub fn replay_range(&self, replay: NewReplay) -> Result<Replay> {
        self.0.own_mode(replay.endpoint.as_str(), replay.endpoint.mode())?;
        let new = replay.checked()?;
        let request_hash = new.fingerprint();
        let moment = self.0.moment(RANGE)?;
        self.0.core.write(moment, move |tx| {
            let begun = once(tx, RANGE, new.idempotency_key.as_ref(), request_hash, |tx| {
                let endpoint = store::endpoint::live(tx.sql, tx.world, new.endpoint.as_str())?;
                let (head, _) = store::event::head(tx.sql, tx.world)?;
                let after = match new.from {
                    ReplayFrom::After(position) => position.min(head),
                    ReplayFrom::Since(at) => store::event::last_before(tx.sql, tx.world, at)?,
                };
                Ok(store::replay::begin(tx, &endpoint, new.of, after, head)?.to_string())
            })?;
            store::replay::get(tx.sql, tx.world, &begun)
        })
    }

    /// Replays, newest first, up to `limit` (1 to 100) before one. One that is not running any more is kept for
    /// 30 days.
    ///
    /// # Errors
    /// [`Error::Invalid`] for the limit; [`Error::WrongMode`]; [`Error::Storage`].
    pub fn replays(&self, limit: u32, before: Option<&ReplayId>) -> Result<Page<Replay>> {
        let limit = page_size(limit)?;
        if let Some(id) = before {
            self.0.own_mode(id.as_str(), id.mode())?;
        }
        self.0.core.view(self.0.world, |view| {
            let found = store::replay::list(view.sql, view.world, before, limit + 1)?;
            Ok(page(found, limit))
        })
    }

    /// How far a replay is.
    ///
    /// # Errors
    /// [`Error::NotFound`], also once it is forgotten; [`Error::WrongMode`]; [`Error::Storage`].
    pub fn replay_status(&self, id: &ReplayId) -> Result<Replay> {
        self.0.own_mode(id.as_str(), id.mode())?;
        self.0.core.view(self.0.world, |view| {
            store::replay::get(view.sql, view.world, id.as_str())
        })
    }

    /// Calls a replay off. The deliveries that it made are sent all the same. Idempotent by state.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::WrongMode`]; [`Error::Refused`] if it is done; [`Error::Storage`].
    ///
    /// # Durability
    /// On disk when this returns.
    ///
    /// # Events
    /// None.
    pub fn cancel_replay(&self, id: &ReplayId) -> Result<Replay> {
        self.0.own_mode(id.as_str(), id.mode())?;
        let wanted = id.clone();
        let moment = self.0.moment("deliveries.cancel_replay")?;
        self.0.core.write(moment, move |tx| {
            match store::replay::get(tx.sql, tx.world, wanted.as_str())?.state {
                ReplayState::Running => store::replay::cancel(tx.sql, tx.world, &wanted)?,
                ReplayState::Canceled => {}
                state @ ReplayState::Done => {
                    return Err(Refused {
                        object: "replay",
                        state: state.as_str(),
                        event: "being canceled",
                    }
                    .into());
                }
            }
            store::replay::get(tx.sql, tx.world, wanted.as_str())
        })
    }
}

/// What was made under a key before, or is made now and tied to it.
fn once(
    tx: &mut Tx<'_>,
    scope: &'static str,
    key: Option<&String>,
    request_hash: [u8; 32],
    make: impl FnOnce(&mut Tx<'_>) -> Result<String>,
) -> Result<String> {
    if let Some(key) = key
        && let Some(id) = store::remembered(tx, scope, key, &request_hash)?
    {
        return Ok(id);
    }
    let result = make(tx)?;
    let mut change = Change::new();
    change.remember(key.cloned().map(|key| Remember {
        scope,
        key,
        request_hash,
        result: result.clone(),
    }));
    tx.apply(&change)?;
    Ok(result)
}

impl Engine {
    /// Goes on with what is to be sent again, as far as the budget goes.
    pub(super) fn run_replays(&self, budget: Budget, ran: &mut Ran) -> Result<()> {
        if !budget.work.has(Work::REPLAYS) {
            return Ok(());
        }
        for world in self.core.store.read(store::app::worlds)? {
            while let Some(left) = self.left(budget, *ran) {
                let looked = self.replay_some(world, left)?;
                ran.replayed += looked;
                if looked == 0 {
                    break;
                }
            }
        }
        Ok(())
    }

    fn replay_some(&self, world: World, limit: usize) -> Result<usize> {
        let next = self.core.store.read(|sql| store::replay::next(sql, world))?;
        if next.is_none() {
            return Ok(0);
        }
        let limit = u32::try_from(limit).unwrap_or(u32::MAX).min(store::replay::PAGE);
        let moment = self.core.moment(world, Actor::Runner, "run_due.replay")?;
        self.core.write_alone(moment, move |tx| store::replay::step(tx, limit))
    }
}
