//! What is due: which endpoints have something that can be sent, from when on, and what it is.
//!
//! Every question is a seek in the index of what is due, so that it costs the same whatever is done,
//! blocked or not due yet. The words of the states stand in the statements: only so is the index used.

use std::ops::ControlFlow;

use super::super::codec::{delivery_order, id, instant, maybe_instant, mode_number, small, span};
use super::super::{Sql, Value};
use super::flow;
use crate::error::Result;
use crate::id::{DeliveryId, EndpointId, World};
use crate::time::Timestamp;
use crate::webhook::{DeliveryOrder, FURTHEST_DUE, FURTHEST_LEASE, Flow, MARGIN};

/// How many deliveries are looked at beyond those that fit, where some are about objects that have one on
/// their way.
const LOOKAHEAD: u32 = 64;

/// How many endpoints are looked at in one statement where not all may be needed.
const PAGE: u32 = 16;

/// How an enabled endpoint stands that has something to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) id: EndpointId,
    pub(crate) number: i64,
    ordering: DeliveryOrder,
    pub(super) min_gap: std::time::Duration,
    pub(super) flow: Flow,
    /// Deliveries that may be on its way to it at once.
    cap: u32,
    /// Deliveries that are.
    in_flight: u32,
    /// When the first of their leases ends.
    lease_ends: Option<Timestamp>,
    /// Whether a lease is over.
    has_lapsed: bool,
    /// When the first one that waits is due.
    pending: Option<Timestamp>,
}

/// A delivery that can be claimed.
pub(super) struct Candidate {
    pub(super) id: DeliveryId,
    /// The event's position.
    pub(super) event: i64,
    pub(super) attempts: u32,
    pub(super) due_at: Timestamp,
    object: String,
    /// It was put off while the host's clock was ahead.
    is_stranded: bool,
}

/// Where a look stands in time.
#[derive(Clone, Copy)]
pub(super) struct Look {
    pub(super) host_now: Timestamp,
    /// Whether the host's clock is behind what was written before.
    is_behind: bool,
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

    fn furthest_lease(self) -> i64 {
        self.host_now.plus(FURTHEST_LEASE).as_millis()
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
        world.app.into(),
        mode_number(world.mode).into(),
    ];
    let rest = match which {
        Which::All => "ORDER BY w.number",
        Which::Between(after, to) => {
            values.extend([Value::Int(after), to.into(), PAGE.into()]);
            "AND w.number > $5 AND w.number <= $6 ORDER BY w.number LIMIT $7"
        }
    };
    let statement = format!(
        "SELECT w.id, w.number, w.ordering, w.min_gap, w.max_in_flight, \
         (SELECT count(*) {LIVE} AND d.state = 'in_flight' AND d.due_at > $1 AND d.due_at <= $2), \
         (SELECT min(d.due_at) {LIVE} AND d.state = 'in_flight' AND d.due_at > $1 AND d.due_at <= $2), \
         EXISTS (SELECT 1 {LIVE} AND d.state = 'in_flight' AND d.due_at <= $1) \
         OR EXISTS (SELECT 1 {LIVE} AND d.state = 'in_flight' AND d.due_at > $2), \
         (SELECT min(d.due_at) {LIVE} AND d.state = 'pending'), {} \
         FROM tillite_endpoint w LEFT JOIN tillite_endpoint_flow f ON f.app = w.app AND f.mode = w.mode \
         AND f.endpoint = w.number WHERE w.app = $3 AND w.mode = $4 AND w.state = 'enabled' \
         AND (EXISTS (SELECT 1 {LIVE} AND d.state = 'pending') OR EXISTS (SELECT 1 {LIVE} AND d.state = 'in_flight')) \
         {rest}",
        flow::COLUMNS
    );
    let mut found = Vec::new();
    sql.each(&statement, &values, &mut |row| {
        let flow = flow::from_row(row, 9)?;
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
    /// How many deliveries can be claimed at most.
    fn room(&self) -> u32 {
        let free = self.cap.saturating_sub(self.in_flight);
        // Two that are claimed at once would leave at once.
        if self.min_gap.is_zero() { free } else { free.min(1) }
    }

    /// Up to so many deliveries that can be claimed now, the first due first.
    pub(super) fn on_offer(&self, sql: &mut dyn Sql, world: World, look: Look, limit: u32) -> Result<Vec<Candidate>> {
        let is_due = self.has_lapsed || self.pending.is_some_and(|due| due <= look.host_now || look.is_behind);
        let is_open = self.flow.opens_at(self.min_gap, look.host_now) <= look.host_now;
        match self.room().min(limit) {
            room if room > 0 && is_due && is_open => self.takable(sql, world, look, room),
            _ => Ok(Vec::new()),
        }
    }

    /// Host time from which a delivery can be claimed; none if there is none to wait for. One whose places
    /// are all taken, or whose object has one on its way, waits for the first lease to end: whoever
    /// answers ends it sooner, and that is a commit, which every waiter notices.
    pub(super) fn claimable_at(&self, sql: &mut dyn Sql, world: World, look: Look) -> Result<Option<Timestamp>> {
        let is_due = self.has_lapsed || self.pending.is_some_and(|due| due <= look.host_now);
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

    /// Up to so many deliveries that can be claimed, the first due first. Unless the order is of no account,
    /// those are passed over whose object has one on its way, and a second one about an object ends the list:
    /// what comes behind it leaves behind it too.
    fn takable(&self, sql: &mut dyn Sql, world: World, look: Look, limit: u32) -> Result<Vec<Candidate>> {
        let mut busy = Vec::new();
        let is_ordered = planted!(OrderIgnored, false, self.ordering != DeliveryOrder::None);
        if is_ordered && self.in_flight > 0 {
            self.objects_in_flight(sql, world, look, &mut busy)?;
        }
        let look_at = if busy.is_empty() { limit } else { limit + LOOKAHEAD };
        let mut taken: Vec<Candidate> = Vec::new();
        for candidate in self.due(sql, world, look, look_at)? {
            let is_taken = |taken: &Candidate| taken.object == candidate.object;
            if taken.len() == limit as usize || is_ordered && taken.iter().any(is_taken) {
                break;
            }
            if !busy.contains(&candidate.object) {
                taken.push(candidate);
            }
        }
        Ok(taken)
    }

    /// The objects that deliveries are about that are on their way.
    fn objects_in_flight(&self, sql: &mut dyn Sql, world: World, look: Look, into: &mut Vec<String>) -> Result<()> {
        sql.each(
            "SELECT e.object_id FROM tillite_delivery d JOIN tillite_event e ON e.app = d.app AND e.mode = d.mode \
             AND e.seq = d.event WHERE d.app = $1 AND d.mode = $2 AND d.endpoint = $3 \
             AND d.state IN ('pending', 'in_flight') AND d.state = 'in_flight' AND d.due_at > $4 AND d.due_at <= $5",
            &[
                world.app.into(),
                mode_number(world.mode).into(),
                self.number.into(),
                look.host_now.as_millis().into(),
                look.furthest_lease().into(),
            ],
            &mut |row| {
                into.push(row.text(0)?);
                Ok(())
            },
        )
    }

    /// Up to so many deliveries that are due, the first due first, those before all that were put off while
    /// the clock was ahead: they are older than what came since.
    fn due(&self, sql: &mut dyn Sql, world: World, look: Look, limit: u32) -> Result<Vec<Candidate>> {
        let now = look.host_now.as_millis();
        let mut found = Vec::new();
        if self.pending.is_some_and(|due| due <= look.host_now) {
            self.page(
                sql,
                world,
                "d.state = 'pending' AND d.due_at <= $4",
                now,
                limit,
                &mut found,
            )?;
        }
        if self.has_lapsed {
            self.page(
                sql,
                world,
                "d.state = 'in_flight' AND d.due_at <= $4",
                now,
                limit,
                &mut found,
            )?;
        }
        let known = found.len();
        if self.has_lapsed {
            let beyond = look.furthest_lease();
            self.page(
                sql,
                world,
                "d.state = 'in_flight' AND d.due_at > $4",
                beyond,
                limit,
                &mut found,
            )?;
        }
        if look.is_behind && self.pending.is_some() {
            let [first, second, third, fourth, fifth] = FURTHEST_DUE;
            let stranded = format!(
                "d.state = 'pending' AND d.due_at > $4 AND d.due_at - $4 > CASE d.attempts WHEN 0 THEN {first} \
                 WHEN 1 THEN {second} WHEN 2 THEN {third} WHEN 3 THEN {fourth} ELSE {fifth} END"
            );
            self.page(sql, world, &stranded, now, limit, &mut found)?;
        }
        for candidate in found.iter_mut().skip(known) {
            candidate.is_stranded = true;
        }
        found.sort_by_key(|found| (!found.is_stranded, found.due_at, found.event));
        found.truncate(limit as usize);
        Ok(found)
    }

    /// Up to so many deliveries of a condition that ends in a range of due times.
    fn page(
        &self,
        sql: &mut dyn Sql,
        world: World,
        condition: &str,
        at: i64,
        limit: u32,
        into: &mut Vec<Candidate>,
    ) -> Result<()> {
        sql.each(
            &format!(
                "SELECT d.id, d.event, d.attempts, d.due_at, e.object_id FROM tillite_delivery d JOIN tillite_event e \
                 ON e.app = d.app AND e.mode = d.mode AND e.seq = d.event WHERE d.app = $1 AND d.mode = $2 \
                 AND d.endpoint = $3 AND d.state IN ('pending', 'in_flight') AND {condition} \
                 ORDER BY d.due_at, d.event LIMIT $5"
            ),
            &[
                world.app.into(),
                mode_number(world.mode).into(),
                self.number.into(),
                at.into(),
                limit.into(),
            ],
            &mut |row| {
                into.push(Candidate {
                    id: id(row.str(0)?)?,
                    event: row.int(1)?,
                    attempts: small(row.int(2)?)?,
                    due_at: instant(row.int(3)?)?,
                    object: row.text(4)?,
                    is_stranded: false,
                });
                Ok(())
            },
        )
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
    let lapsed = |standing: &Standing| standing.has_lapsed.then_some(host_now);
    let soonest = |standing: &Standing| standing.pending.into_iter().chain(lapsed(standing)).min();
    Ok(standings.iter().filter_map(soonest).min())
}

/// How many deliveries there are to a world's endpoints, counted up to a number.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Load {
    pub(crate) pending: u64,
    pub(crate) in_flight: u64,
    /// Endpoints that have accepted nothing since a failure.
    pub(crate) failing: u64,
}

/// How much is waiting and under way, and how many endpoints fail.
pub(crate) fn load(sql: &mut dyn Sql, world: World, up_to: u32) -> Result<Load> {
    let (app, mode) = (world.app, mode_number(world.mode));
    let mut count = |of: &str| {
        let mut counted = 0;
        let statement = format!(
            "SELECT count(*) FROM (SELECT 1 FROM tillite_endpoint w CROSS JOIN tillite_delivery d WHERE w.app = $1 \
             AND w.mode = $2 AND w.state IN ('enabled', 'suspended') AND d.app = w.app AND d.mode = w.mode \
             AND d.endpoint = w.number AND d.state IN ('pending', 'in_flight') AND {of} LIMIT $3) AS counted"
        );
        sql.each(&statement, &[app.into(), mode.into(), up_to.into()], &mut |row| {
            counted = small(row.int(0)?)?;
            Ok(())
        })?;
        Ok::<u64, crate::error::Error>(counted)
    };
    let (pending, in_flight) = (count("d.state = 'pending'")?, count("d.state = 'in_flight'")?);
    let mut failing = 0;
    sql.each(
        "SELECT count(*) FROM tillite_endpoint_flow f JOIN tillite_endpoint w ON w.app = f.app AND w.mode = f.mode \
         AND w.number = f.endpoint WHERE f.app = $1 AND f.mode = $2 AND f.failing_since IS NOT NULL \
         AND w.state = 'enabled'",
        &[app.into(), mode.into()],
        &mut |row| {
            failing = small(row.int(0)?)?;
            Ok(())
        },
    )?;
    Ok(Load {
        pending,
        in_flight,
        failing,
    })
}
