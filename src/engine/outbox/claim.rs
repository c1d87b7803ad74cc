//! Claiming: what is due is taken in one transaction and signed after it.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::exhausted;
use super::sealed::opening;
use crate::engine::core::Core;
use crate::error::Result;
use crate::hook::SignedRequest;
use crate::id::{EndpointId, World};
use crate::store::outbox::{Claimed, Signer};
use crate::store::{self, Access, Sql};
use crate::time::Timestamp;
use crate::webhook::{self, ClaimedDelivery, Signing, TIMEOUT};
use crate::wire;

/// Where there is more to claim, as far as an engine knows.
#[derive(Default)]
pub(in crate::engine) struct Piles {
    /// The worlds of which the last claim found as much as it wanted.
    full: Mutex<BTreeSet<World>>,
}

impl Piles {
    fn is_more(&self, world: World) -> bool {
        self.full().contains(&world)
    }

    fn note(&self, world: World, is_full: bool) {
        let mut full = self.full();
        if is_full {
            full.insert(world);
        } else {
            full.remove(&world);
        }
    }

    fn full(&self) -> MutexGuard<'_, BTreeSet<World>> {
        self.full.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Core {
    /// Claims up to so many deliveries of a world.
    pub(super) fn claim(&self, world: World, limit: usize, token: i64, into: &mut Vec<ClaimedDelivery>) -> Result<()> {
        let host_now = self.clock.now();
        // Where the last claim found as much as it wanted, there is more.
        if !self.piles.is_more(world) && !self.would_claim(world, host_now, token)? {
            return Ok(());
        }
        let seal = self.seal.clone();
        let access = planted!(ClaimsDoNotWait, Access::Alone, Access::Shared);
        let (claims, alarms) = self.write_raw(access, "claim_deliveries", move |sql| {
            let mut claims = store::outbox::claim(sql, world, host_now, limit, token, &opening(seal.as_deref()))?;
            let mut alarms = Vec::new();
            for (endpoint, delivery) in std::mem::take(&mut claims.exhausted) {
                alarms.push(exhausted(sql, world, endpoint, delivery)?);
            }
            Ok((claims, alarms))
        })?;
        self.counted.exhausted.add(alarms.len());
        self.alarms.tell(alarms);
        let before = into.len();
        for batch in claims.batches {
            let signer = &batch.signer;
            into.extend(batch.claimed.into_iter().map(|claimed| ClaimedDelivery {
                request: signed(&claimed, signer, host_now),
                id: claimed.id,
                attempt: claimed.attempt,
                lease_until: claimed.lease_until,
                endpoint: signer.endpoint.id.clone(),
                world,
                token,
                was_due: claimed.was_due,
                is_failing: batch.is_failing,
            }));
        }
        let found = into.len() - before;
        self.piles.note(world, found == limit);
        self.counted.claimed.add(found);
        // Last, because it can fail: what is claimed is the caller's by now.
        self.tell_sealed(world, claims.sealed)
    }

    /// Whether a claim would find something: where nothing is due nobody has to wait for it.
    fn would_claim(&self, world: World, host_now: Timestamp, token: i64) -> Result<bool> {
        let (would, sealed) = self
            .store
            .read(|sql| store::outbox::would_claim(sql, world, host_now, token, &opening(self.seal.as_deref())))?;
        self.tell_sealed(world, sealed)?;
        Ok(would)
    }

    /// Host time from which a delivery of a world can be claimed here, and the endpoints on the way to it
    /// whose secrets do not open.
    pub(in crate::engine) fn next_claimable(
        &self,
        sql: &mut dyn Sql,
        world: World,
        host_now: Timestamp,
    ) -> Result<(Option<Timestamp>, Vec<EndpointId>)> {
        let open = opening(self.seal.as_deref());
        let mut sealed = Vec::new();
        for (at, standing) in store::outbox::upcoming(sql, world, host_now)? {
            if store::outbox::signer(sql, world, host_now, standing.number, &open)?.is_some() {
                return Ok((Some(at), sealed));
            }
            sealed.push(standing.id);
        }
        Ok((None, sealed))
    }
}

/// The request of one attempt. Timestamp and signatures are of this attempt; the body is as it was
/// committed.
fn signed(claimed: &Claimed, signer: &Signer, host_now: Timestamp) -> SignedRequest {
    let Signer { endpoint, secrets } = signer;
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
