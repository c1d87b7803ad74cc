//! Delivering webhooks: claim, send, acknowledge.

use super::Engine;
use super::alarms::shielded;
use super::core::Core;
use super::trace;
use crate::alarm::{Alarm, Hook};
use crate::error::Result;
use crate::hook::{Answered, SignedRequest, TransportOutcome};
use crate::id::{DeliveryId, EndpointId, World};
use crate::secret::Secret;
use crate::store::{self, Access, Claimed, Sql};
use crate::time::Timestamp;
use crate::webhook::{
    self, ClaimedDelivery, DeliveryEvent, Endpoint, MARGIN, SealedSecret, Signing, TIMEOUT, is_signing_key, weigh,
};
use crate::wire;

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
    /// None.
    pub fn acknowledge(&self, delivery: &ClaimedDelivery, outcome: &TransportOutcome) -> Result<bool> {
        self.core.acknowledge(delivery, outcome)
    }

    /// Delivers up to `limit` of what is due through the transport. Answers how many were accepted
    /// and how many were not.
    pub(super) fn deliver(&self, limit: usize) -> Result<(usize, usize)> {
        let Some(transport) = &self.core.transport else {
            return Ok((0, 0));
        };
        let (mut accepted, mut failed) = (0, 0);
        for delivery in self.claim_deliveries(limit)? {
            // A claim that could run out before the answer is not started: somebody else would
            // send the same a second time.
            if self.core.clock.now().plus(TIMEOUT + MARGIN) > delivery.lease_until {
                self.core.give_back(&delivery)?;
                continue;
            }
            if planted!(DeliveredBeforeSent) {
                let accepted = TransportOutcome::Answered(Answered::status(204));
                self.core.acknowledge(&delivery, &accepted)?;
            }
            let mut panicked = None;
            let sent = shielded(|| Hook::Transport, || transport.send(&delivery.request));
            let outcome = sent.unwrap_or_else(|alarm| {
                panicked = Some(alarm);
                TransportOutcome::Failed {
                    why: "the transport's code panicked".to_owned(),
                }
            });
            let acknowledged = self.core.acknowledge(&delivery, &outcome);
            self.core.alarms.tell(panicked);
            acknowledged?;
            match outcome {
                TransportOutcome::Answered(answer) if (200..300).contains(&answer.status) => accepted += 1,
                _ => failed += 1,
            }
        }
        Ok((accepted, failed))
    }
}

impl Core {
    fn claim(&self, world: World, limit: usize, into: &mut Vec<ClaimedDelivery>) -> Result<()> {
        let host_now = self.clock.now();
        let openable = self.openable(world, host_now)?;
        let due = self
            .store
            .read(|sql| store::queue::next_claimable(sql, world, host_now, &openable))?;
        if due.is_none_or(|due| due > host_now) {
            return Ok(());
        }
        let token = self.token()?;
        let access = planted!(ClaimsDoNotWait, Access::Alone, Access::Shared);
        let (claimed, alarms) = self.write_raw(access, "claim_deliveries", move |sql| {
            let claims = store::queue::claim(sql, world, host_now, limit, token, &openable)?;
            let mut alarms = Vec::new();
            for (endpoint, delivery) in claims.exhausted {
                alarms.push(exhausted(sql, world, endpoint, delivery)?);
            }
            Ok((claims.claimed, alarms))
        })?;
        self.alarms.tell(alarms);
        for claimed in claimed {
            let secrets = self.open_secrets(&claimed.endpoint, &claimed.sealed_secrets);
            into.push(ClaimedDelivery {
                request: signed(&claimed, &secrets, host_now),
                id: claimed.id,
                attempt: claimed.attempt,
                lease_until: claimed.lease_until,
                endpoint: claimed.endpoint.id,
                world,
                token,
            });
        }
        Ok(())
    }

    /// The numbers of the endpoints whose secrets this engine can open. The others' deliveries
    /// wait, of which the host is told once.
    pub(super) fn openable(&self, world: World, host_now: Timestamp) -> Result<Vec<i64>> {
        let (app, stored) = self.store.read(|sql| {
            let app = store::app::slug_of(sql, world.app)?;
            Ok((app, store::endpoint::all_sealed(sql, world, host_now)?))
        })?;
        let (open, sealed) = self.by_seal(stored);
        for endpoint in sealed {
            if self.alarms.is_newly_sealed(&endpoint.id) {
                let (app, endpoint) = (app.clone(), endpoint.id);
                self.alarms.tell([Alarm::EndpointSealed { app, endpoint }]);
            }
        }
        Ok(open.iter().map(|endpoint| endpoint.number).collect())
    }

    /// Endpoints of which a secret opens here, and those of which none does.
    pub(super) fn by_seal(&self, stored: Vec<(Endpoint, Vec<SealedSecret>)>) -> (Vec<Endpoint>, Vec<Endpoint>) {
        let (mut open, mut shut) = (Vec::new(), Vec::new());
        for (endpoint, sealed) in stored {
            let opened = self.open_secrets(&endpoint, &sealed);
            // A key for Ed25519 alone does not serve receivers that hold a secret.
            if opened.iter().any(|secret| !is_signing_key(secret)) {
                open.push(endpoint);
            } else {
                shut.push(endpoint);
            }
        }
        (open, shut)
    }

    /// Those of an endpoint's secrets that open here, the newest first.
    pub(super) fn open_secrets(&self, endpoint: &Endpoint, sealed: &[SealedSecret]) -> Vec<Secret> {
        let opened = |sealed: &SealedSecret| self.seal.as_ref()?.open(&sealed.bytes, endpoint.id.as_str()).ok();
        sealed.iter().filter_map(opened).collect()
    }

    fn acknowledge(&self, delivery: &ClaimedDelivery, outcome: &TransportOutcome) -> Result<bool> {
        let ended = self.clock.now();
        let attempted = weigh(delivery.attempt, outcome, ended);
        let (world, id, token, attempt) = (delivery.world, delivery.id.clone(), delivery.token, delivery.attempt);
        let started = delivery.request.signed_at;
        let endpoint = delivery.endpoint.clone();
        let (counted, alarm) = self.write_raw(Access::Shared, "acknowledge", move |sql| {
            let counted = store::queue::acknowledge(sql, world, &id, token, attempt, started, ended, &attempted)?;
            let last = counted && attempted.event == DeliveryEvent::FailedLast;
            let alarm = last.then(|| exhausted(sql, world, endpoint.clone(), id.clone()));
            Ok((counted, alarm.transpose()?))
        })?;
        trace::delivered(delivery, answered_status(outcome));
        self.bell.ring();
        self.alarms.tell(alarm);
        Ok(counted)
    }

    fn give_back(&self, delivery: &ClaimedDelivery) -> Result<()> {
        let (world, id, token, host_now) = (delivery.world, delivery.id.clone(), delivery.token, self.clock.now());
        self.write_raw(Access::Shared, "give_back", move |sql| {
            store::queue::give_back(sql, world, &id, token, host_now)
        })
    }
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
fn signed(claimed: &Claimed, secrets: &[Secret], host_now: Timestamp) -> SignedRequest {
    let format = claimed.endpoint.format;
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
        url: claimed.endpoint.url.clone(),
        headers,
        body: claimed.body.clone(),
        timeout: TIMEOUT,
        signed_at: host_now,
    }
}
