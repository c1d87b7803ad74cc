//! Delivering webhooks: claim, send, acknowledge.

mod answers;
mod claim;
mod sealed;

use std::time::Duration;

use super::Engine;
use super::alarms::shielded;
use super::settling::SETTLE_PATIENCE;
use crate::alarm::{Alarm, Hook};
use crate::error::{Invalid, Result};
use crate::hook::{Answered, TransportOutcome};
use crate::id::{DeliveryId, EndpointId, World};
use crate::store::{self, Sql};
use crate::webhook::{AFTER_PANIC, ClaimedDelivery, MARGIN, TIMEOUT};

/// How many outcomes are written down in one transaction at the most.
const MOST_AT_ONCE: usize = 1_000;

/// How long one sending may take, by the host's clock, before the rest of what was claimed with it is left
/// to others.
const SLOW: Duration = Duration::from_secs(1);

impl Engine {
    /// Takes up to `limit` deliveries that are due, over all apps, signed and ready to be sent, for
    /// a host that sends them itself. Each is held for 90 seconds; give what came of it to
    /// [`Engine::acknowledge`]. `run_due` is this with the transport. Idempotent by state: what is held is
    /// not taken again.
    ///
    /// # Errors
    /// [`crate::Error::Storage`].
    ///
    /// # Durability
    /// The claims are on disk when this returns. One that is never acknowledged is made again when its
    /// lease has ended, with the same body and event id.
    ///
    /// # Events
    /// None.
    pub fn claim_deliveries(&self, limit: usize) -> Result<Vec<ClaimedDelivery>> {
        let mut claimed = Vec::new();
        for world in self.core.store.read(store::app::worlds)? {
            let left = limit.saturating_sub(claimed.len());
            if left == 0 {
                break;
            }
            self.core.claim(world, left, &mut claimed)?;
        }
        Ok(claimed)
    }

    /// Writes down what came of a delivery. Answers whether it counted: a failure does not once
    /// somebody else has taken the delivery or it is done; an acceptance does, the first time.
    /// Idempotent by state.
    ///
    /// # Errors
    /// [`crate::Error::NotFound`] for a delivery of another file; [`crate::Error::Storage`]; bring the same outcome again, do not send again.
    ///
    /// # Durability
    /// On disk when this returns.
    ///
    /// # Events
    /// `endpoint.suspended` once an endpoint has failed for as long as it may.
    pub fn acknowledge(&self, delivery: &ClaimedDelivery, outcome: &TransportOutcome) -> Result<bool> {
        let counted = self.core.acknowledge(&[(delivery, outcome)], Duration::ZERO)?;
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
        let outcomes: Vec<_> = outcomes.iter().map(|(delivery, outcome)| (delivery, outcome)).collect();
        self.core.acknowledge(&outcomes, Duration::ZERO)
    }

    /// Delivers up to `limit` of what is due through the transport. Answers how many were accepted
    /// and how many were not.
    pub(super) fn deliver(&self, limit: usize) -> Result<(usize, usize)> {
        let core = &self.core;
        let Some(transport) = &core.transport else {
            return Ok((0, 0));
        };
        let (mut accepted, mut failed) = (0, 0);
        let mut claimed = self.claim_deliveries(limit)?.into_iter();
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
                core.acknowledge(&[(&delivery, &outcome)], Duration::ZERO)?;
            }
            match shielded(|| Hook::Transport, || transport.send(&delivery.request)) {
                Ok(outcome) => {
                    // What was answered is in memory only: it is worth waiting for the disk, and the POST
                    // must not be made again.
                    let left = delivery.lease_until.since(core.clock.now());
                    core.acknowledge(&[(&delivery, &outcome)], left.min(SETTLE_PATIENCE))?;
                    match outcome {
                        TransportOutcome::Answered(answer) if (200..300).contains(&answer.status) => accepted += 1,
                        _ => failed += 1,
                    }
                }
                // That is not the receiver's doing, so it costs the delivery no attempt.
                Err(panicked) => {
                    let again = core.clock.now().plus(AFTER_PANIC);
                    let given_back = core.give_back([ClaimedDelivery {
                        was_due: again,
                        ..delivery
                    }]);
                    core.alarms.tell([panicked]);
                    given_back?;
                    failed += 1;
                }
            }
            // Who waited for one endpoint does not make the others wait as well.
            if core.clock.now().since(started) > SLOW {
                core.give_back(claimed)?;
                break;
            }
        }
        Ok((accepted, failed))
    }
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
