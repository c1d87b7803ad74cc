//! Delivering webhooks: claim, send, acknowledge.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Engine;
use super::alarms::shielded;
use super::core::Core;
use super::settling::{SETTLE_PATIENCE, patiently};
use super::trace;
use crate::access::Actor;
use crate::alarm::{Alarm, Hook};
use crate::change::Change;
use crate::digest::Fields;
use crate::error::{Invalid, Result};
use crate::event::{EventKind, Happening, Subject};
use crate::hook::{Answered, SignedRequest, TransportOutcome};
use crate::id::{DeliveryId, EndpointId, World};
use crate::secret::Secret;
use crate::store::outbox::{Claimed, Report, Standing};
use crate::store::{self, Access, Sql};
use crate::time::Timestamp;
use crate::webhook::{
    self, AFTER_PANIC, ClaimedDelivery, DeliveryEvent, Endpoint, EndpointState, MARGIN, SealedSecret, Signing, TIMEOUT,
    is_signing_key, weigh,
};
use crate::wire;

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

/// An endpoint of which something is to be claimed, with those of its secrets that open here.
struct Chosen {
    endpoint: Endpoint,
    secrets: Vec<Secret>,
}

impl Core {
    fn claim(&self, world: World, limit: usize, into: &mut Vec<ClaimedDelivery>) -> Result<()> {
        let host_now = self.clock.now();
        let mut ready = self.store.read(|sql| store::outbox::ready(sql, world, host_now))?;
        if ready.is_empty() {
            return Ok(());
        }
        let token = self.token()?;
        // Each round starts with another one, so that none is always the last.
        let start = usize::try_from(token.unsigned_abs()).unwrap_or(0) % ready.len();
        ready.rotate_left(start);
        let mut sealed = Vec::new();
        let chosen = self
            .store
            .read(|sql| self.choose(sql, world, host_now, limit, &ready, &mut sealed))?;
        self.tell_sealed(world, sealed)?;
        if chosen.is_empty() {
            return Ok(());
        }
        let endpoints: Vec<Endpoint> = chosen.iter().map(|chosen| chosen.endpoint.clone()).collect();
        let access = planted!(ClaimsDoNotWait, Access::Alone, Access::Shared);
        let (claimed, alarms) = self.write_raw(access, "claim_deliveries", move |sql| {
            let claims = store::outbox::claim(sql, world, host_now, limit, token, &endpoints)?;
            let mut alarms = Vec::new();
            for (endpoint, delivery) in claims.exhausted {
                alarms.push(exhausted(sql, world, endpoint, delivery)?);
            }
            Ok((claims.claimed, alarms))
        })?;
        self.counted.exhausted.add(alarms.len());
        self.alarms.tell(alarms);
        self.counted.claimed.add(claimed.len());
        for claimed in claimed {
            let Some(Chosen { endpoint, secrets }) = chosen.get(claimed.endpoint) else {
                continue;
            };
            into.push(ClaimedDelivery {
                request: signed(&claimed, endpoint, secrets, host_now),
                id: claimed.id,
                attempt: claimed.attempt,
                lease_until: claimed.lease_until,
                endpoint: endpoint.id.clone(),
                world,
                token,
                was_due: claimed.was_due,
            });
        }
        Ok(())
    }

    /// Endpoints enough to claim so many deliveries of, in the order in which they are given. Of those whose
    /// secrets do not open here, nothing is claimed.
    fn choose(
        &self,
        sql: &mut dyn Sql,
        world: World,
        host_now: Timestamp,
        limit: usize,
        ready: &[Standing],
        sealed: &mut Vec<EndpointId>,
    ) -> Result<Vec<Chosen>> {
        let mut chosen = Vec::new();
        let mut room = 0;
        for standing in ready {
            if room >= limit {
                break;
            }
            if !store::outbox::is_claimable(sql, world, host_now, standing)? {
                continue;
            }
            match self.opened(sql, world, host_now, standing.number)? {
                Some(open) => {
                    chosen.push(open);
                    room += standing.at_least() as usize;
                }
                None => sealed.push(standing.id.clone()),
            }
        }
        Ok(chosen)
    }

    /// An endpoint with its secrets; none if they do not open here.
    fn opened(&self, sql: &mut dyn Sql, world: World, host_now: Timestamp, number: i64) -> Result<Option<Chosen>> {
        let Some((endpoint, stored)) = store::endpoint::with_sealed(sql, world, number, host_now)? else {
            return Ok(None);
        };
        let secrets = self.open_secrets(&endpoint, &stored);
        Ok(serves(&secrets).then_some(Chosen { endpoint, secrets }))
    }

    /// Host time from which a delivery of a world can be claimed here, and the endpoints on the way to it
    /// whose secrets do not open.
    pub(super) fn next_claimable(
        &self,
        sql: &mut dyn Sql,
        world: World,
        host_now: Timestamp,
    ) -> Result<(Option<Timestamp>, Vec<EndpointId>)> {
        let mut sealed = Vec::new();
        for (at, standing) in store::outbox::upcoming(sql, world, host_now)? {
            if self.opened(sql, world, host_now, standing.number)?.is_some() {
                return Ok((Some(at), sealed));
            }
            sealed.push(standing.id);
        }
        Ok((None, sealed))
    }

    /// Tells the host, once of each, of endpoints whose secrets this engine cannot open. Their deliveries wait.
    pub(super) fn tell_sealed(&self, world: World, sealed: Vec<EndpointId>) -> Result<()> {
        for endpoint in sealed {
            if self.alarms.is_newly_sealed(&endpoint) {
                let app = self.store.read(|sql| store::app::slug_of(sql, world.app))?;
                self.alarms.tell([Alarm::EndpointSealed { app, endpoint }]);
            }
        }
        Ok(())
    }

    /// How many of these endpoints have no secret that opens here.
    pub(super) fn count_sealed(&self, stored: &[(Endpoint, Vec<SealedSecret>)]) -> usize {
        let is_sealed =
            |(endpoint, sealed): &&(Endpoint, Vec<SealedSecret>)| !serves(&self.open_secrets(endpoint, sealed));
        stored.iter().filter(is_sealed).count()
    }

    /// Those of an endpoint's secrets that open here, the newest first.
    pub(super) fn open_secrets(&self, endpoint: &Endpoint, sealed: &[SealedSecret]) -> Vec<Secret> {
        let opened = |sealed: &SealedSecret| self.seal.as_ref()?.open(&sealed.bytes, endpoint.id.as_str()).ok();
        sealed.iter().filter_map(opened).collect()
    }

    /// Writes down what came of deliveries, in one transaction, and tries for so long while the disk fails.
    fn acknowledge(&self, outcomes: &[(&ClaimedDelivery, &TransportOutcome)], patience: Duration) -> Result<Vec<bool>> {
        let ended = self.clock.now();
        let reports: Vec<Report> = outcomes
            .iter()
            .map(|(delivery, outcome)| Report {
                world: delivery.world,
                delivery: delivery.id.clone(),
                token: delivery.token,
                attempt: delivery.attempt,
                started: delivery.request.signed_at,
                ended,
                attempted: weigh(delivery.attempt, outcome, ended, chance(delivery)),
            })
            .collect();
        let access = match reports.len() {
            0..=16 => Access::Shared,
            _ => Access::Alone,
        };
        let mut alarms = Vec::new();
        let written = patiently(self, patience, || {
            let reports = reports.clone();
            self.write_raw_noting(access, "acknowledge", &mut alarms, move |sql| {
                let mut acked = Vec::new();
                for report in &reports {
                    let found = store::outbox::acknowledge(sql, report)?;
                    let last = found.counted && report.attempted.event == DeliveryEvent::FailedLast;
                    let alarm =
                        last.then(|| exhausted(sql, report.world, found.endpoint.clone(), report.delivery.clone()));
                    acked.push((found, alarm.transpose()?));
                }
                Ok(acked)
            })
        });
        let acked = match written {
            Ok(acked) => acked,
            Err(error) => {
                self.alarms.tell(alarms);
                return Err(error);
            }
        };
        for (delivery, outcome) in outcomes {
            trace::delivered(delivery, answered_status(outcome));
        }
        self.bell.ring();
        let mut counted = Vec::new();
        let mut to_suspend = BTreeSet::new();
        for (report, (found, alarm)) in reports.iter().zip(acked) {
            match report.attempted.event {
                _ if !found.counted => {}
                DeliveryEvent::Accepted => self.counted.delivered.add(1),
                _ => self.counted.failed.add(1),
            }
            self.counted.exhausted.add(usize::from(alarm.is_some()));
            alarms.extend(alarm);
            to_suspend.extend(found.to_suspend.map(|number| (report.world, number)));
            counted.push(found.counted);
        }
        self.alarms.tell(alarms);
        for (world, number) in to_suspend {
            // What came of the deliveries is written down whatever becomes of this; the endpoint's next
            // failure brings it about as well.
            let _ = self.suspend(world, number);
        }
        Ok(counted)
    }

    /// Suspends an endpoint that has failed for as long as it may.
    fn suspend(&self, world: World, number: i64) -> Result<()> {
        let moment = self.moment(world, Actor::Runner, "acknowledge.suspend")?;
        self.write(moment, move |tx| {
            let known = store::endpoint::with_sealed(tx.sql, tx.world, number, tx.host_now)?;
            let flow = store::outbox::flow(tx.sql, tx.world, number)?;
            let Some((mut endpoint, _)) = known.filter(|(endpoint, _)| endpoint.state == EndpointState::Enabled) else {
                return Ok(());
            };
            let failed_for = |long| flow.has_failed_for(long, tx.host_now);
            if !endpoint.suspend_after.is_some_and(failed_for) {
                return Ok(());
            }
            let (from, to) = (endpoint.state.as_str(), EndpointState::Suspended);
            endpoint.state = to;
            let mut change = Change::new();
            let suspended = Happening::moved(EventKind::EndpointSuspended, from, to.as_str());
            change.record(Subject::Endpoint(endpoint), [suspended]);
            tx.apply(&change)?;
            store::outbox::put_flow(tx.sql, tx.world, number, flow, flow.forgiven())
        })
    }

    /// Gives claims back that were not used, each due when it was due before.
    fn give_back(&self, deliveries: impl IntoIterator<Item = ClaimedDelivery>) -> Result<()> {
        let deliveries: Vec<ClaimedDelivery> = deliveries.into_iter().collect();
        if deliveries.is_empty() {
            return Ok(());
        }
        let unused = deliveries.len();
        self.write_raw(Access::Shared, "give_back", move |sql| {
            for delivery in &deliveries {
                store::outbox::give_back(sql, delivery.world, &delivery.id, delivery.token, delivery.was_due)?;
            }
            Ok(())
        })?;
        self.counted.given_back.add(unused);
        self.bell.ring();
        Ok(())
    }
}

/// Whether an endpoint can be signed for with these. A key for Ed25519 alone does not serve receivers that
/// hold a secret.
fn serves(secrets: &[Secret]) -> bool {
    secrets.iter().any(|secret| !is_signing_key(secret))
}

/// What spreads a delivery's next attempt: of the random number that fenced its claim, and its own.
fn chance(delivery: &ClaimedDelivery) -> u64 {
    let hash = Fields::new().int(delivery.token).text(delivery.id.as_str()).finish();
    hash.iter().take(8).fold(0, |bits, byte| bits << 8 | u64::from(*byte))
}

/// The status that an endpoint answered; none if it did not.
fn answered_status(outcome: &TransportOutcome) -> Option<u16> {
    match outcome {
        TransportOutcome::Answered(answer) => Some(answer.status),
        TransportOutcome::Failed { .. } => None,
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

/// The request of one attempt. Timestamp and signatures are of this attempt; the body is as it was
/// committed.
fn signed(claimed: &Claimed, endpoint: &Endpoint, secrets: &[Secret], host_now: Timestamp) -> SignedRequest {
    let format = endpoint.format;
    let mut headers = vec![
        ("Content-Type", "application/json".to_owned()),
        ("User-Agent", concat!("Tillite/", env!("CARGO_PKG_VERSION")).to_owned()),
    ];
    headers.extend(webhook::headers(
        format,
        &Signing {
            secrets,
            id: claimed.event.as_str(),
            event: wire::name(format, claimed.kind).unwrap_or_default(),
            seconds: host_now.as_secs(),
            body: &claimed.body,
        },
    ));
    SignedRequest {
        url: endpoint.url.clone(),
        headers,
        body: claimed.body.clone(),
        mode: endpoint.id.mode(),
        timeout: TIMEOUT,
        signed_at: host_now,
    }
}

#[cfg(test)]
mod tests;
