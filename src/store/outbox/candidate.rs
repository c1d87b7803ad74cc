//! Which of an endpoint's deliveries can be claimed, in which order.

use super::super::Sql;
use super::super::codec::{id, instant, mode_number, small};
use super::standing::{Look, Standing};
use crate::error::Result;
use crate::id::{DeliveryId, World};
use crate::time::Timestamp;
use crate::webhook::{DeliveryOrder, furthest_due};

/// How many deliveries are looked at beyond those that fit, where some are about objects that have one on
/// their way, at first and at last: behind so many of these others wait too.
const LOOKAHEAD: u32 = 64;
const FURTHEST_LOOK: u32 = 4_096;

/// A delivery that can be claimed.
pub(super) struct Candidate {
    pub(super) id: DeliveryId,
    /// The event's position.
    pub(super) event: i64,
    pub(super) attempts: u32,
    pub(super) due_at: Timestamp,
    object: String,
    /// Whether anybody ever took it.
    was_claimed: bool,
    /// It waits, or is held, for longer than anything ever is: the host's clock was ahead when that was written.
    is_stranded: bool,
}

impl Standing {
    /// Up to so many deliveries that can be claimed now, the first due first.
    pub(super) fn on_offer(&self, sql: &mut dyn Sql, world: World, look: Look, limit: u32) -> Result<Vec<Candidate>> {
        let is_due = self.is_due(look) || look.is_behind && self.pending.is_some();
        let is_open = self.flow.opens_at(self.min_gap, look.host_now) <= look.host_now;
        match self.room().min(limit) {
            room if room > 0 && is_due && is_open => self.takable(sql, world, look, room),
            _ => Ok(Vec::new()),
        }
    }

    /// Up to so many deliveries that can be claimed, the first due first. Unless the order is of no account,
    /// those are passed over whose object has one on its way, and a second one about an object ends the list:
    /// what comes behind it leaves behind it too.
    pub(super) fn takable(&self, sql: &mut dyn Sql, world: World, look: Look, limit: u32) -> Result<Vec<Candidate>> {
        let mut busy = Vec::new();
        let is_ordered = planted!(OrderIgnored, false, self.ordering != DeliveryOrder::None);
        if is_ordered && self.in_flight > 0 {
            self.objects_in_flight(sql, world, look, &mut busy)?;
        }
        let mut look_at = limit;
        loop {
            let due = self.due(sql, world, look, look_at)?;
            let is_all = due.len() < look_at as usize;
            let mut taken: Vec<Candidate> = Vec::new();
            let mut is_done = false;
            for candidate in due {
                let is_taken = |taken: &Candidate| taken.object == candidate.object;
                is_done = taken.len() == limit as usize || is_ordered && taken.iter().any(is_taken);
                if is_done {
                    break;
                }
                if !busy.contains(&candidate.object) {
                    taken.push(candidate);
                }
            }
            if is_done || is_all || taken.len() == limit as usize || look_at >= FURTHEST_LOOK {
                return Ok(taken);
            }
            look_at = look_at.saturating_mul(8).clamp(limit + LOOKAHEAD, FURTHEST_LOOK);
        }
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

    /// Up to so many deliveries that are due, the first due first. First tries have their places by when they were
    /// written; what had been tried and was put off while the clock was ahead comes before all.
    fn due(&self, sql: &mut dyn Sql, world: World, look: Look, limit: u32) -> Result<Vec<Candidate>> {
        const PENDING: &str = "d.state = 'pending' AND d.due_at";
        const IN_FLIGHT: &str = "d.state = 'in_flight' AND d.due_at";
        let now = look.host_now.as_millis();
        let mut found = Vec::new();
        let mut page = |condition: String, at, limit| self.page(sql, world, &condition, at, limit, &mut found);
        if self.pending.is_some_and(|due| due <= look.host_now) {
            page(format!("{PENDING} <= $4"), now, limit)?;
        }
        if self.has_lapsed {
            page(format!("{IN_FLIGHT} <= $4"), now, limit)?;
        }
        let known = found.len();
        let mut page = |condition: String, at, limit| self.page(sql, world, &condition, at, limit, &mut found);
        if self.has_lapsed {
            page(format!("{IN_FLIGHT} > $4"), look.furthest_lease(), limit)?;
        }
        if self.is_stranded {
            page(format!("{PENDING} > $4"), look.furthest_due(), limit)?;
        }
        if look.is_behind && self.pending.is_some() {
            let mut ahead = Vec::new();
            self.page(
                sql,
                world,
                &format!("{PENDING} > $4"),
                now,
                limit + LOOKAHEAD,
                &mut ahead,
            )?;
            ahead.retain(|candidate| {
                // What nobody has taken yet was due when it was written.
                let ahead = candidate.due_at.since(look.host_now);
                let is_put_off = !candidate.was_claimed || ahead > furthest_due(candidate.attempts);
                is_put_off && candidate.due_at.as_millis() <= look.furthest_due()
            });
            found.extend(ahead);
        }
        for candidate in found.iter_mut().skip(known) {
            candidate.is_stranded = candidate.was_claimed;
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
                "SELECT d.id, d.event, d.attempts, d.due_at, e.object_id, d.token FROM tillite_delivery d JOIN tillite_event e \
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
                    was_claimed: row.int(5)? != 0,
                    is_stranded: false,
                });
                Ok(())
            },
        )
    }
}
