//! The head row of each world. Every write moves it first; that orders writes and gives them their
//! engine time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::codec::{self, digest, instant, mode_number};
use super::{Sql, apply};
use crate::access::Actor;
use crate::alarm::Alarm;
use crate::change::{Change, Setting};

use crate::error::{Error, Result};
use crate::id::{Mint, World};
use crate::time::Timestamp;

/// The newest schema version that this program knows.
pub(crate) const SCHEMA: i64 = 2;

/// Refuses to go on if the file is not at the version that this program works with: another
/// process may have migrated it at any time.
pub(super) fn check_schema(sql: &mut dyn Sql) -> Result<()> {
    let mut found = None;
    sql.each("SELECT version FROM tillite_schema", &[], &mut |row| {
        found = Some(row.int(0)?);
        Ok(())
    })?;
    match found {
        Some(SCHEMA) => Ok(()),
        Some(found) => Err(Error::SchemaMoved { found, opened: SCHEMA }),
        None => Err(codec::corrupt("the schema's version is missing")),
    }
}

/// Engine time by world that this process has shown to readers. Writes store theirs; a read stores
/// nothing, and neither a clock that goes back nor a write that was kept waiting may undo what it said.
#[derive(Debug, Default)]
pub(crate) struct Shown(Mutex<BTreeMap<World, Timestamp>>);

impl Shown {
    /// The latest engine time that was shown of a world.
    pub(crate) fn latest(&self, world: World) -> Timestamp {
        let shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shown.get(&world).copied().unwrap_or(Timestamp::MIN)
    }

    /// Notes what is about to be shown.
    pub(crate) fn note(&self, world: World, now: Timestamp) {
        let mut shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let latest = shown.entry(world).or_insert(now);
        *latest = now.max(*latest);
    }
}

/// Everything that a command needs and may not fetch itself.
#[derive(Clone)]
pub(crate) struct Moment {
    pub(crate) world: World,
    /// Host time.
    pub(crate) host_now: Timestamp,
    /// Engine time that somebody has been shown; the write's own is not before it. It is asked inside
    /// the transaction: others may have read on while this write waited for its turn.
    pub(crate) shown: Arc<Shown>,
    pub(crate) mint: Mint,
    pub(crate) actor: Actor,
    /// What is being done, for the history.
    pub(crate) cause: &'static str,
}

/// A write in a world.
pub(crate) struct Tx<'a> {
    pub(crate) sql: &'a mut dyn Sql,
    pub(crate) world: World,
    /// The app's slug.
    pub(crate) app: String,
    pub(crate) public_url: Option<String>,
    /// Engine time of this write.
    pub(crate) now: Timestamp,
    pub(crate) host_now: Timestamp,
    pub(crate) mint: Mint,
    pub(super) actor: String,
    pub(super) cause: &'static str,
    pub(super) seq: i64,
    pub(super) hash: [u8; 32],
    /// What somebody has to look at once this is committed.
    pub(super) alarms: Vec<Alarm>,
    seq_at_begin: i64,
}

/// Moves the head's time and reads where the world stands.
pub(super) fn begin<'a>(sql: &'a mut dyn Sql, moment: &Moment) -> Result<Tx<'a>> {
    let World { app, mode } = moment.world;
    let host_now = moment.host_now;
    let mut head = None;
    // The time is computed from the row itself, so that nobody else's move can come in between. A
    // test clock that was put at the end of time stays there.
    sql.each(
        "UPDATE tillite_head SET now = CASE \
         WHEN now < $1 + clock_offset AND $2 <= $1 + clock_offset \
         THEN CASE WHEN $1 + clock_offset > $3 THEN $3 ELSE $1 + clock_offset END \
         WHEN now < $2 THEN $2 ELSE now END WHERE app = $4 AND mode = $5 RETURNING now, seq, hash",
        &[
            host_now.as_millis().into(),
            moment.shown.latest(moment.world).as_millis().into(),
            Timestamp::MAX.as_millis().into(),
            app.into(),
            mode_number(mode).into(),
        ],
        &mut |row| {
            head = Some((instant(row.int(0)?)?, row.int(1)?, digest(&row.bytes(2)?)?));
            Ok(())
        },
    )?;
    let (now, seq, hash) = head.ok_or_else(|| codec::corrupt("an app without its head row"))?;
    let app = super::app::by_number(sql, app)?;
    Ok(Tx {
        sql,
        world: moment.world,
        app: app.slug,
        public_url: app.public_url,
        now,
        host_now,
        mint: moment.mint.clone(),
        actor: moment.actor.to_string(),
        cause: moment.cause,
        seq,
        hash,
        alarms: Vec::new(),
        seq_at_begin: seq,
    })
}

impl Tx<'_> {
    /// Where and when decisions in this write are taken.
    pub(crate) fn setting(&mut self) -> Setting<'_> {
        Setting {
            app: &self.app,
            mode: self.world.mode,
            now: self.now,
            host_now: self.host_now,
            mint: &mut self.mint,
        }
    }

    /// Writes a change.
    pub(crate) fn apply(&mut self, change: &Change) -> Result<()> {
        apply::apply(self, change)
    }

    /// Moves the world's test clock forward; answers the engine time afterwards.
    pub(crate) fn advance(&mut self, by: std::time::Duration) -> Result<Timestamp> {
        let World { app, mode } = self.world;
        let target = self.now.plus(by);
        let offset = target.as_millis().saturating_sub(self.host_now.as_millis()).max(0);
        codec::one(self.sql.exec(
            "UPDATE tillite_head SET clock_offset = $1, now = $2 WHERE app = $3 AND mode = $4",
            &[
                offset.into(),
                target.as_millis().into(),
                app.into(),
                mode_number(mode).into(),
            ],
        )?)?;
        self.now = target;
        Ok(target)
    }

    /// Moves the head's position and hash behind the events that were written.
    pub(super) fn finish(&mut self) -> Result<()> {
        if self.seq == self.seq_at_begin {
            return Ok(());
        }
        let World { app, mode } = self.world;
        codec::one(self.sql.exec(
            "UPDATE tillite_head SET seq = $1, hash = $2 WHERE app = $3 AND mode = $4 AND seq = $5",
            &[
                self.seq.into(),
                (&self.hash).into(),
                app.into(),
                mode_number(mode).into(),
                self.seq_at_begin.into(),
            ],
        )?)
    }
}

/// A read of a world.
pub(crate) struct View<'a> {
    pub(crate) sql: &'a mut dyn Sql,
    pub(crate) world: World,
    pub(crate) app: String,
    /// Engine time: what a write at this moment would get, and never before what was shown.
    pub(crate) now: Timestamp,
}

pub(super) fn view(sql: &mut dyn Sql, world: World, host_now: Timestamp, shown: Timestamp) -> Result<View<'_>> {
    let app = super::app::by_number(sql, world.app)?;
    let mut now = None;
    sql.each(
        "SELECT now, clock_offset FROM tillite_head WHERE app = $1 AND mode = $2",
        &[world.app.into(), mode_number(world.mode).into()],
        &mut |row| {
            let shifted = host_now.as_millis().saturating_add(row.int(1)?);
            let stored = instant(row.int(0)?)?;
            now = Some(stored.max(Timestamp::from_millis_clamped(shifted)).max(shown));
            Ok(())
        },
    )?;
    let now = now.ok_or_else(|| codec::corrupt("an app without its head row"))?;
    Ok(View {
        sql,
        world,
        app: app.slug,
        now,
    })
}
