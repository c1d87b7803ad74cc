//! Which endpoints have something that can be sent, and from when on.
//!
//! Every question is a seek in the index of what is due, so that it costs the same whatever is done, blocked
//! or not due yet. The words of the states stand in the statements: only so is the index used.

use std::ops::ControlFlow;

use super::super::codec::{delivery_order, id, instant, maybe_instant, mode_number, small, span};
use super::super::{Sql, Value};
use super::flow;
use crate::error::Result;
use crate::id::{EndpointId, World};
use crate::time::Timestamp;
use crate::webhook::{DeliveryOrder, FURTHEST_DUE, FURTHEST_LEASE, Flow, MARGIN};

/// How many endpoints are looked at in one statement where not all may be needed.
const PAGE: u32 = 16;

/// How an enabled endpoint stands that has something to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) id: EndpointId,
    pub(crate) number: i64,
    pub(super) ordering: DeliveryOrder,
    pub(super) min_gap: std::time::Duration,
    pub(super) flow: Flow,
    /// Deliveries that may be on its way to it at once.
    cap: u32,
    /// Deliveries that are.
    pub(super) in_flight: u32,
    /// When the first of their leases ends.
    lease_ends: Option<Timestamp>,
    /// Whether a lease is over.
    pub(super) has_lapsed: bool,
    /// When the first one that waits is due.
    pub(super) pending: Option<Timestamp>,
    /// Whether one waits for longer than any ever does.
    pub(super) is_stranded: bool,
}

/// Where a look stands in time.
#[derive(Clone, Copy)]
pub(super) struct Look {
    pub(super) host_now: Timestamp,
    /// Whether the host's clock is behind what was written before.
    pub(super) is_behind: bool,
}

impl Look {
    pub(super) fn at(sql: &mut dyn Sql, world: World, host_now: Timestamp) -> Result<Look> {
        let mut written = host_now;
        sql.each(
            "SELECT now - clock_offset FROM tillite_head WHERE app = $1 AND mode = $2",
            &[world.app.into(), mode_number(world.mode).into()],
            &mut |row| {
                written = Timestamp::from_millis_clamped(row.int(0)?);
                Ok(())
            },
        )?;
        Ok(Look {
            host_now,
            // Threads that read the clock a moment before others are not meant.
            is_behind: written.since(host_now) > MARGIN,
        })
    }

    pub(super) fn furthest_lease(self) -> i64 {
        self.host_now.plus(FURTHEST_LEASE).as_millis()
    }

    pub(super) fn furthest_due(self) -> i64 {
        self.host_now.plus(FURTHEST_DUE).as_millis()
    }
}

/// Which endpoints are asked about.
#[derive(Clone, Copy)]
enum Which {
    All,
    /// Up to [`PAGE`] of those behind a number and up to another one.
    Between(i64, i64),
}

/// The enabled endpoints of which something is pending or in flight, by their numbers.
fn standings(sql: &mut dyn Sql, world: World, look: Look, which: Which) -> Result<Vec<Standing>> {
    const LIVE: &str = "FROM tillite_delivery d WHERE d.app = w.app AND d.mode = w.mode AND d.endpoint = w.number \
                        AND d.state IN ('pending', 'in_flight')";
    let mut values = vec![
        look.host_now.as_millis().into(),
        look.furthest_lease().into(),
        look.furthest_due().into(),
        world.app.into(),
        mode_number(world.mode).into(),
    ];
    let rest = match which {
        Which::All => "ORDER BY w.number",
        Which::Between(after, to) => {
            values.extend([Value::Int(after), to.into(), PAGE.into()]);
            "AND w.number > $6 AND w.number <= $7 ORDER BY w.number LIMIT $8"
        }
    };
    let statement = format!(
        "SELECT w.id, w.number, w.ordering, w.min_gap, w.max_in_flight, \
         (SELECT count(*) {LIVE} AND d.state = 'in_flight' AND d.due_at > $1 AND d.due_at <= $2), \
         (SELECT min(d.due_at) {LIVE} AND d.state = 'in_flight' AND d.due_at > $1 AND d.due_at <= $2), \
         EXISTS (SELECT 1 {LIVE} AND d.state = 'in_flight' AND d.due_at <= $1) \
         OR EXISTS (SELECT 1 {LIVE} AND d.state = 'in_flight' AND d.due_at > $2), \
         (SELECT min(d.due_at) {LIVE} AND d.state = 'pending'), \
         EXISTS (SELECT 1 {LIVE} AND d.state = 'pending' AND d.due_at > $3), {} \
         FROM tillite_endpoint w LEFT JOIN tillite_endpoint_flow f ON f.app = w.app AND f.mode = w.mode \
         AND f.endpoint = w.number WHERE w.app = $4 AND w.mode = $5 AND w.state <> 'deleted' AND w.state = 'enabled' \
         AND (EXISTS (SELECT 1 {LIVE} AND d.state = 'pending') OR EXISTS (SELECT 1 {LIVE} AND d.state = 'in_flight')) \
         {rest}",
        flow::COLUMNS
    );
    let mut found = Vec::new();
    sql.each(&statement, &values, &mut |row| {
        let flow = flow::from_row(row, 10)?;
        found.push(Standing {
            id: id(row.str(0)?)?,
            number: row.int(1)?,
            ordering: delivery_order(row.str(2)?)?,
            min_gap: span(row.int(3)?)?,
            cap: flow.cap(small(row.int(4)?)?),
            flow,
            in_flight: small(row.int(5)?)?,
            lease_ends: maybe_instant(row.maybe_int(6)?)?,
            has_lapsed: row.int(7)? != 0,
            pending: maybe_instant(row.maybe_int(8)?)?,
            is_stranded: row.int(9)? != 0,
        });
        Ok(())
    })?;
    Ok(found)
}

/// Looks at an endpoint; says whether there is enough.
type Visit<'a> = &'a mut dyn FnMut(&mut dyn Sql, Standing) -> Result<ControlFlow<()>>;

/// Hands over the same endpoints in turns, those behind a number first, until there is enough.
pub(super) fn in_turn(sql: &mut dyn Sql, world: World, look: Look, start: i64, each: Visit<'_>) -> Result<()> {
    for (mut after, to) in [(start, i64::MAX), (0, start)] {
        loop {
            let page = standings(sql, world, look, Which::Between(after, to))?;
            let is_last = page.len() < PAGE as usize;
            for standing in page {
                after = standing.number;
                if each(sql, standing)?.is_break() {
                    return Ok(());
                }
            }
            if is_last {
                break;
            }
        }
    }
    Ok(())
}

impl Standing {
    /// Whether something is due, whether or not it may be sent.
    pub(super) fn is_due(&self, look: Look) -> bool {
        self.has_lapsed || self.is_stranded || self.pending.is_some_and(|due| due <= look.host_now)
    }

    /// How many deliveries can be claimed at most.
    pub(super) fn room(&self) -> u32 {
        let free = self.cap.saturating_sub(self.in_flight);
        // Two that are claimed at once would leave at once.
        if self.min_gap.is_zero() { free } else { free.min(1) }
    }

    /// Host time from which a delivery can be claimed; none if there is none to wait for. One whose places
    /// are all taken, or whose object has one on its way, waits for the first lease to end: whoever
    /// answers ends it sooner, and that is a commit, which every waiter notices.
    fn claimable_at(&self, sql: &mut dyn Sql, world: World, look: Look) -> Result<Option<Timestamp>> {
        let is_due = self.is_due(look);
        let is_free = self.in_flight == 0 || self.ordering == DeliveryOrder::None;
        let at = if is_due && self.room() == 0 {
            self.lease_ends
        } else if is_due && is_free {
            Some(self.pending.unwrap_or(look.host_now).min(look.host_now))
        } else if self.room() > 0 && (is_due || look.is_behind) && !self.takable(sql, world, look, 1)?.is_empty() {
            Some(look.host_now)
        } else if is_due {
            let later = self.next_pending(sql, world, look.host_now)?;
            self.lease_ends.into_iter().chain(later).min()
        } else {
            self.lease_ends.into_iter().chain(self.pending).min()
        };
        Ok(at.map(|at| at.max(self.flow.opens_at(self.min_gap, look.host_now))))
    }

    /// When the first delivery is due that is not yet.
    fn next_pending(&self, sql: &mut dyn Sql, world: World, host_now: Timestamp) -> Result<Option<Timestamp>> {
        let mut next = None;
        sql.each(
            "SELECT d.due_at FROM tillite_delivery d WHERE d.app = $1 AND d.mode = $2 AND d.endpoint = $3 \
             AND d.state IN ('pending', 'in_flight') AND d.state = 'pending' AND d.due_at > $4 \
             ORDER BY d.due_at, d.event LIMIT 1",
            &[
                world.app.into(),
                mode_number(world.mode).into(),
                self.number.into(),
                host_now.as_millis().into(),
            ],
            &mut |row| {
                next = Some(instant(row.int(0)?)?);
                Ok(())
            },
        )?;
        Ok(next)
    }
}

/// The enabled endpoints of which something can be claimed, now or later, with when: the soonest first.
pub(crate) fn upcoming(sql: &mut dyn Sql, world: World, host_now: Timestamp) -> Result<Vec<(Timestamp, Standing)>> {
    let look = Look::at(sql, world, host_now)?;
    let mut found = Vec::new();
    for standing in standings(sql, world, look, Which::All)? {
        if let Some(at) = standing.claimable_at(sql, world, look)? {
            found.push((at, standing));
        }
    }
    found.sort_by_key(|(at, standing)| (*at, standing.number));
    Ok(found)
}

/// Host time at which the next delivery of an enabled endpoint is due, whether or not it can be
/// claimed.
pub(crate) fn next_due(sql: &mut dyn Sql, world: World, host_now: Timestamp) -> Result<Option<Timestamp>> {
    let look = Look::at(sql, world, host_now)?;
    let standings = standings(sql, world, look, Which::All)?;
    let overdue = |standing: &Standing| (standing.has_lapsed || standing.is_stranded).then_some(host_now);
    let soonest = |standing: &Standing| standing.pending.into_iter().chain(overdue(standing)).min();
    Ok(standings.iter().filter_map(soonest).min())
}
