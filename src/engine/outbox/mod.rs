//! Delivering webhooks: claim, send, acknowledge.

mod answers;
mod claim;
mod sealed;

use std::time::Duration;

use self::answers::Sent;
pub(super) use self::claim::Piles;
use super::Engine;
use super::alarms::shielded;
use super::settling::SETTLE_PATIENCE;
use crate::alarm::{Alarm, Hook};
use crate::error::{Invalid, Result};
use crate::hook::{Answered, TransportOutcome};
use crate::id::{DeliveryId, EndpointId, World};
use crate::store::{self, Sql};
use crate::webhook::{AFTER_PANIC, ClaimedDelivery, MARGIN, SLOW, TIMEOUT};

/// How many outcomes are written down in one transaction at the most.
const MOST_AT_ONCE: usize = 1_000;

impl Engine {
    /// Takes up to `limit` deliveries that are due, over all apps, signed and ready to be sent, for
    /// a host that sends them itself. Each is held for 90 seconds; give what came of it to
    /// [`Engine::acknowledge`]. `run_due` is this with the transport. Idempotent by state: what is held is
    /// not taken again.
    ///
    /// # Errors
    /// [`crate::Error::NoEntropy`]; [`crate::Error::Storage`].
    ///
    /// # Durability
    /// The claims are on disk when this returns. One that is never acknowledged is made again when its
    /// lease has ended, with the same body and event id.
    ///
    /// # Events
    /// None.
    pub fn claim_deliveries(&self, limit: usize) -> Result<Vec<ClaimedDelivery>> {
        let mut worlds = self.core.store.read(store::app::worlds)?;
        let token = self.core.token()?;
        // Each round begins with another one, so that what piles up in one keeps none of the others waiting.
        let first = usize::try_from(token).unwrap_or(0) % worlds.len().max(1);
        worlds.rotate_left(first);
        let mut claimed = Vec::new();
        for world in worlds {
            let left = limit.saturating_sub(claimed.len());
            if left == 0 {
                break;
            }
            match self.core.claim(world, left, token, &mut claimed) {
                // What was claimed before is held by this caller only.
                Err(_) if !claimed.is_empty() => break,
                done => done?,
            }
        }
        Ok(claimed)
    }

    /// Writes down what came of a delivery. Answers whether it counted: a failure does not once
    /// somebody else has taken the delivery or it is done; an acceptance does, the first time.
    /// Idempotent by state.
    ///
    /// # Errors
    /// [`crate::Error::NotFound`] for a delivery of another file, or one that was forgotten;
    /// [`crate::Error::Storage`]: bring the same outcome again, do not send again.
    ///
    /// # Durability
    /// On disk when this returns.
    ///
    /// # Events
    /// `endpoint.suspended` once an endpoint has failed for as long as it may.
    pub fn acknowledge(&self, delivery: &ClaimedDelivery, outcome: &TransportOutcome) -> Result<bool> {
        let counted = self
            .core
            .acknowledge(&[Sent::by_host(delivery, outcome)], Duration::ZERO)?;
        Ok(counted.into_iter().all(|counted| counted))
    }

    /// [`Engine::acknowledge`] for up to 1,000 deliveries in one transaction, for a host that sends many at
    /// once. Answers for each whether it counted, in the same order. Idempotent by state.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] for more; [`crate::Error::NotFound`] if one is of another file, and
    /// [`crate::Error::Storage`]: then none of them is written down. Bring the same outcomes again, do not
    /// send again.
    ///
    /// # Durability
    /// All are on disk when this returns.
    ///
    /// # Events
    /// `endpoint.suspended` once an endpoint has failed for as long as it may.
    pub fn acknowledge_all(&self, outcomes: &[(ClaimedDelivery, TransportOutcome)]) -> Result<Vec<bool>> {
        if outcomes.len() > MOST_AT_ONCE {
            let allowed = format!("at most {MOST_AT_ONCE} at once");
            return Err(Invalid::new("outcomes", outcomes.len(), allowed).into());
        }
        let sent = outcomes
            .iter()
            .map(|(delivery, outcome)| Sent::by_host(delivery, outcome));
        self.core.acknowledge(&sent.collect::<Vec<_>>(), Duration::ZERO)
    }

    /// Delivers up to `limit` of what is due through the transport.
    pub(super) fn deliver(&self, limit: usize) -> Result<Delivered> {
        let core = &self.core;
        let mut done = Delivered::default();
        let Some(transport) = &core.transport else {
            return Ok(done);
        };
        let mut claimed = self.claim_deliveries(limit)?;
        // Those that fail may take their time to do so again.
        claimed.sort_by_key(|delivery| delivery.is_failing);
        let mut claimed = claimed.into_iter();
        while let Some(delivery) = claimed.next() {
            let started = core.clock.now();
            // A claim that could run out before the answer is not started: somebody else would
            // send the same a second time.
            if started.plus(TIMEOUT + MARGIN) > delivery.lease_until {
                core.give_back(std::iter::once(delivery).chain(claimed))?;
                break;
            }
            if planted!(DeliveredBeforeSent) {
                let outcome = TransportOutcome::Answered(Answered::status(204));
                core.acknowledge(&[Sent::by_host(&delivery, &outcome)], Duration::ZERO)?;
            }
            let written = match shielded(|| Hook::Transport, || transport.send(&delivery.request)) {
                Ok(outcome) => {
                    // What was answered is in memory only: it is worth waiting for the disk, and the POST
                    // must not be made again.
                    let left = delivery.lease_until.since(core.clock.now());
                    let sent = Sent {
                        delivery: &delivery,
                        outcome: &outcome,
                        started,
                    };
                    match &outcome {
                        TransportOutcome::Answered(answer) if (200..300).contains(&answer.status) => done.accepted += 1,
                        _ => done.failed += 1,
                    }
                    core.acknowledge(&[sent], left.min(SETTLE_PATIENCE)).map(|_| ())
                }
                // That is not the receiver's doing, so it costs the delivery no attempt.
                Err(panicked) => {
                    let again = core.clock.now().plus(AFTER_PANIC);
                    let given_back = core.give_back([ClaimedDelivery {
                        was_due: again,
                        ..delivery
                    }]);
                    core.alarms.tell([panicked]);
                    done.failed += 1;
                    given_back
                }
            };
            if let Err(error) = written {
                // Where the file fails this may fail as well: then their leases end.
                let _ = core.give_back(claimed);
                return Err(error);
            }
            // Who waited for one endpoint does not make the others wait as well.
            if core.clock.now().since(started) > SLOW {
                done.was_slow = true;
                core.give_back(claimed)?;
                break;
            }
        }
        Ok(done)
    }
}

/// What came of a round of deliveries.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Delivered {
    pub(super) accepted: usize,
    pub(super) failed: usize,
    /// Whether one took so long that the rest was left to others.
    pub(super) was_slow: bool,
}

/// What somebody has to look at once it is committed that a delivery has no attempt left.
fn exhausted(sql: &mut dyn Sql, world: World, endpoint: EndpointId, delivery: DeliveryId) -> Result<Alarm> {
    let app = store::app::slug_of(sql, world.app)?;
    Ok(Alarm::DeliveryExhausted {
        app,
        endpoint,
        delivery,
    })
}

#[cfg(test)]
mod tests;
