//! Claiming: what is due and may be sent is counted, leased and fenced, endpoint by endpoint.

use super::super::Sql;
use super::super::codec::{self, corrupt, mode_number};
use super::super::event;
use super::acknowledge::close_lost;
use super::due::{Candidate, Look, Standing, standings};
use super::flow::put_flow;
use crate::error::Result;
use crate::event::EventKind;
use crate::id::{DeliveryId, EndpointId, EventId, World};
use crate::time::Timestamp;
use crate::webhook::{DeliveryEvent, DeliveryState, Endpoint, Flow, LEASE, MAX_ATTEMPTS, next_state};

/// A claimed delivery.
#[derive(Clone, Debug)]
pub(crate) struct Claimed {
    pub(crate) id: DeliveryId,
    /// The place of its endpoint among those that were given.
    pub(crate) endpoint: usize,
    pub(crate) event: EventId,
    pub(crate) kind: EventKind,
    pub(crate) attempt: u32,
    pub(crate) was_due: Timestamp,
    pub(crate) lease_until: Timestamp,
    pub(crate) body: Vec<u8>,
}

/// What a round of claiming came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Claims {
    pub(crate) claimed: Vec<Claimed>,
    /// Deliveries that were closed because their last attempt was never heard of again.
    pub(crate) exhausted: Vec<(EndpointId, DeliveryId)>,
}

/// Claims up to `limit` due deliveries of these endpoints, in this order; of one that has changed since it was
/// read, or gets nothing any more, none. `token` is random and fences the claim.
pub(crate) fn claim(
    sql: &mut dyn Sql,
    world: World,
    host_now: Timestamp,
    limit: usize,
    token: i64,
    endpoints: &[Endpoint],
) -> Result<Claims> {
    let look = Look::at(sql, world, host_now)?;
    let mut claims = Claims::default();
    for (place, endpoint) in endpoints.iter().enumerate() {
        let left = u32::try_from(limit.saturating_sub(claims.claimed.len())).unwrap_or(u32::MAX);
        if left == 0 {
            break;
        }
        let Some(standing) = standings(sql, world, look, Some(endpoint.number))?.pop() else {
            continue;
        };
        let is_open = standing.flow.opens_at(standing.min_gap, host_now) <= host_now;
        let room = standing.room().min(left);
        if standing.revision != endpoint.revision || !is_open || room == 0 {
            continue;
        }
        let mut taken = standing.takable(sql, world, look, room)?;
        // First tries leave in the order of their events.
        taken.sort_unstable_by_key(|candidate| candidate.event);
        let before = claims.claimed.len();
        for candidate in taken {
            if candidate.attempts >= MAX_ATTEMPTS {
                close_lost(sql, world, endpoint.number, &candidate.id, host_now)?;
                claims.exhausted.push((endpoint.id.clone(), candidate.id));
                continue;
            }
            let claimed = take(sql, world, host_now, token, endpoint, candidate)?;
            claims.claimed.push(Claimed {
                endpoint: place,
                ..claimed
            });
        }
        if claims.claimed.len() > before {
            note_gap(sql, world, &standing, host_now)?;
        }
    }
    Ok(claims)
}

/// Takes one delivery.
fn take(
    sql: &mut dyn Sql,
    world: World,
    host_now: Timestamp,
    token: i64,
    endpoint: &Endpoint,
    candidate: Candidate,
) -> Result<Claimed> {
    let lease_until = host_now.plus(LEASE);
    let held_until = planted!(ClaimWithoutLease, host_now, lease_until);
    let state = next_state(DeliveryState::Pending, DeliveryEvent::Claim)?;
    codec::one(sql.exec(
        "UPDATE tillite_delivery SET state = $1, attempts = attempts + 1, due_at = $2, token = $3 \
         WHERE app = $4 AND mode = $5 AND id = $6",
        &[
            state.as_str().into(),
            held_until.as_millis().into(),
            token.into(),
            world.app.into(),
            mode_number(world.mode).into(),
            candidate.id.as_str().into(),
        ],
    )?)?;
    let rendered = event::rendered(sql, world, candidate.event, endpoint.format)?;
    let (event, kind, body) = rendered.ok_or_else(|| corrupt("a delivery without its body"))?;
    Ok(Claimed {
        id: candidate.id,
        endpoint: 0,
        event,
        kind,
        attempt: candidate.attempts + 1,
        was_due: candidate.due_at,
        lease_until,
        body,
    })
}

/// Where attempts have to be apart, writes down when the next one may start.
fn note_gap(sql: &mut dyn Sql, world: World, standing: &Standing, host_now: Timestamp) -> Result<()> {
    let after = Flow {
        next_at: (!standing.min_gap.is_zero()).then(|| host_now.plus(standing.min_gap)),
        ..standing.flow
    };
    put_flow(sql, world, standing.number, standing.flow, after)
}
