//! Claiming: what is due and may be sent is counted, leased and fenced, endpoint by endpoint.

use std::ops::ControlFlow;

use super::super::Sql;
use super::super::codec::{self, mode_number};
use super::super::{endpoint, event};
use super::acknowledge::close;
use super::candidate::Candidate;
use super::flow::put_flow;
use super::standing::{Look, Standing, in_turn};
use crate::error::Result;
use crate::event::EventKind;
use crate::id::{DeliveryId, EndpointId, EventId, World};
use crate::secret::Secret;
use crate::time::Timestamp;
use crate::webhook::{
    Attempted, DeliveryEvent, DeliveryState, Endpoint, Flow, LEASE, MAX_ATTEMPTS, SealedSecret, next_state,
};

/// A claimed delivery.
#[derive(Clone, Debug)]
pub(crate) struct Claimed {
    pub(crate) id: DeliveryId,
    pub(crate) event: EventId,
    pub(crate) kind: EventKind,
    pub(crate) attempt: u32,
    pub(crate) was_due: Timestamp,
    pub(crate) lease_until: Timestamp,
    pub(crate) body: Vec<u8>,
}

/// An endpoint with those of its secrets that sign for it, the newest first.
#[derive(Clone, Debug)]
pub(crate) struct Signer {
    pub(crate) endpoint: Endpoint,
    pub(crate) secrets: Vec<Secret>,
}

/// Opens an endpoint's secrets; none if they are not enough to sign for it here.
pub(crate) type Opens<'a> = &'a dyn Fn(&Endpoint, &[SealedSecret]) -> Option<Vec<Secret>>;

/// What was claimed of an endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    pub(crate) signer: Signer,
    /// Whether it has accepted nothing since it last failed.
    pub(crate) is_failing: bool,
    pub(crate) claimed: Vec<Claimed>,
}

/// What a round of claiming came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Claims {
    pub(crate) batches: Vec<Batch>,
    /// Deliveries that were closed: their last attempt was never heard of again, or there is nothing to send.
    pub(crate) exhausted: Vec<(EndpointId, DeliveryId)>,
    /// Endpoints of which nothing was claimed because their secrets do not open here.
    pub(crate) sealed: Vec<EndpointId>,
}

/// Whether a claim would find something; where it would not, the endpoints whose secrets do not open here.
pub(crate) fn would_claim(
    sql: &mut dyn Sql,
    world: World,
    host_now: Timestamp,
    token: i64,
    open: Opens<'_>,
) -> Result<(bool, Vec<EndpointId>)> {
    let look = Look::at(sql, world, host_now)?;
    let start = start(sql, world, token)?;
    let (mut found, mut sealed) = (false, Vec::new());
    in_turn(sql, world, look, start, &mut |sql, standing| {
        if standing.on_offer(sql, world, look, 1)?.is_empty() {
            return Ok(ControlFlow::Continue(()));
        }
        found = signer(sql, world, host_now, standing.number, open)?.is_some();
        if found {
            return Ok(ControlFlow::Break(()));
        }
        sealed.push(standing.id);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok((found, sealed))
}

/// Claims up to `limit` deliveries that are due. `token` is random: it fences the claim, and says with which
/// endpoint it begins, so that none is always the last.
pub(crate) fn claim(
    sql: &mut dyn Sql,
    world: World,
    host_now: Timestamp,
    limit: usize,
    token: i64,
    open: Opens<'_>,
) -> Result<Claims> {
    let look = Look::at(sql, world, host_now)?;
    let start = start(sql, world, token)?;
    let claim = Claim {
        world,
        look,
        token,
        open,
    };
    let mut claims = Claims::default();
    let (mut left, mut failing) = (limit, Vec::new());
    // Endpoints that fail get what is left, and a quarter of it if they are met on the way: who waits for them
    // does not have the others wait too.
    let set_aside = limit.saturating_add(usize::try_from(token % 4).unwrap_or(0)) / 4;
    in_turn(sql, world, look, start, &mut |sql, standing| {
        let at_most = left - if failing.is_empty() { 0 } else { set_aside.min(left) };
        if at_most == 0 {
            return Ok(ControlFlow::Break(()));
        }
        let taken = standing.on_offer(sql, world, look, u32::try_from(at_most).unwrap_or(u32::MAX))?;
        if !standing.flow.is_failing() {
            left -= claim.take(sql, &standing, taken, &mut claims)?;
        } else if !taken.is_empty() {
            failing.push((standing, taken));
        }
        Ok(ControlFlow::Continue(()))
    })?;
    for (standing, mut taken) in failing {
        taken.truncate(left);
        left -= claim.take(sql, &standing, taken, &mut claims)?;
    }
    Ok(claims)
}

/// One round of claiming.
struct Claim<'a> {
    world: World,
    look: Look,
    token: i64,
    open: Opens<'a>,
}

impl Claim<'_> {
    /// Takes deliveries of an endpoint; answers how many can be sent.
    fn take(
        &self,
        sql: &mut dyn Sql,
        standing: &Standing,
        mut taken: Vec<Candidate>,
        claims: &mut Claims,
    ) -> Result<usize> {
        let (world, host_now) = (self.world, self.look.host_now);
        if taken.is_empty() {
            return Ok(0);
        }
        let Some(signer) = signer(sql, world, host_now, standing.number, self.open)? else {
            claims.sealed.push(standing.id.clone());
            return Ok(0);
        };
        // First tries leave in the order of their events.
        taken.sort_unstable_by_key(|candidate| candidate.event);
        let mut claimed = Vec::new();
        for candidate in taken {
            let (attempt, attempted) = if candidate.attempts >= MAX_ATTEMPTS {
                (candidate.attempts, Attempted::lost())
            } else if let Some(rendered) = event::rendered(sql, world, candidate.event, signer.endpoint.format)? {
                claimed.push(self.lease(sql, candidate, rendered)?);
                continue;
            } else {
                (candidate.attempts + 1, Attempted::unsendable())
            };
            close(
                sql,
                world,
                standing.number,
                (&candidate.id, attempt),
                attempted,
                host_now,
            )?;
            claims.exhausted.push((standing.id.clone(), candidate.id));
        }
        let count = claimed.len();
        if count > 0 {
            note_gap(sql, world, standing, host_now)?;
            claims.batches.push(Batch {
                signer,
                is_failing: standing.flow.is_failing(),
                claimed,
            });
        }
        Ok(count)
    }

    /// Counts the attempt, and holds the delivery for whoever makes it.
    fn lease(
        &self,
        sql: &mut dyn Sql,
        candidate: Candidate,
        (event, kind, body): (EventId, EventKind, Vec<u8>),
    ) -> Result<Claimed> {
        let (world, host_now) = (self.world, self.look.host_now);
        let lease_until = host_now.plus(LEASE);
        let held_until = planted!(ClaimWithoutLease, host_now, lease_until);
        let state = next_state(DeliveryState::Pending, DeliveryEvent::Claim)?;
        codec::one(sql.exec(
            "UPDATE tillite_delivery SET state = $1, attempts = attempts + 1, due_at = $2, token = $3 \
             WHERE app = $4 AND mode = $5 AND id = $6",
            &[
                state.as_str().into(),
                held_until.as_millis().into(),
                self.token.into(),
                world.app.into(),
                mode_number(world.mode).into(),
                candidate.id.as_str().into(),
            ],
        )?)?;
        Ok(Claimed {
            id: candidate.id,
            event,
            kind,
            attempt: candidate.attempts + 1,
            was_due: candidate.due_at,
            lease_until,
            body,
        })
    }
}

/// The number of the endpoint behind which a round begins.
fn start(sql: &mut dyn Sql, world: World, token: i64) -> Result<i64> {
    Ok(token.rem_euclid(endpoint::next_number(sql, world)?))
}

/// An endpoint with its secrets; none if they do not open here.
pub(crate) fn signer(
    sql: &mut dyn Sql,
    world: World,
    host_now: Timestamp,
    number: i64,
    open: Opens<'_>,
) -> Result<Option<Signer>> {
    let found = endpoint::with_sealed(sql, world, number, host_now)?;
    Ok(found.and_then(|(endpoint, sealed)| {
        let secrets = open(&endpoint, &sealed)?;
        Some(Signer { endpoint, secrets })
    }))
}

/// Where attempts have to be apart, writes down when the next one may start.
fn note_gap(sql: &mut dyn Sql, world: World, standing: &Standing, host_now: Timestamp) -> Result<()> {
    let after = Flow {
        next_at: (!standing.min_gap.is_zero()).then(|| host_now.plus(standing.min_gap)),
        ..standing.flow
    };
    put_flow(sql, world, standing.number, standing.flow, after)
}
