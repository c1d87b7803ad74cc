//! The head row of each world. Every write moves it first; that orders writes and gives them their
//! engine time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::cache::Trail;
use super::codec::{self, digest, instant, mode_number};
use super::{Reading, Row, Sql, apply};
use crate::access::Actor;
use crate::alarm::Alarm;
use crate::change::{Change, Setting};

use crate::error::{Error, Result};
use crate::id::{Mint, World};
use crate::time::Timestamp;

/// The newest schema version that this program knows.
pub(crate) const SCHEMA: i64 = 4;

/// Refuses to go on if the file is not at the version that this program works with: another
/// process may have migrated it at any time.
pub(super) fn check_schema(sql: &mut dyn Sql) -> Result<()> {
    let mut found = None;
    sql.each("SELECT version FROM tillite_schema", &[], &mut |row| {
        found = Some(row.int(0)?);
        Ok(())
    })?;
    match found {
        Some(found) => check_version(found),
        None => Err(codec::corrupt("the schema's version is missing")),
    }
}

/// Refuses a version of the schema that this program does not know.
pub(super) fn check_version(found: i64) -> Result<()> {
    match found {
        SCHEMA => Ok(()),
        found => Err(Error::SchemaMoved { found, opened: SCHEMA }),
    }
}

/// What was read of a file and holds for as long as nobody commits.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Whether the schema was found to be the one that this program knows.
    schema: bool,
    /// The head of each world, with its app's slug.
    heads: BTreeMap<World, (Head, Arc<str>)>,
}

/// [`check_schema`] for a reader: it asks again only after a commit.
pub(super) fn check_known_schema(reading: &mut dyn Reading) -> Result<()> {
    if !reading.known()?.schema {
        check_schema(reading)?;
        reading.known()?.schema = true;
    }
    Ok(())
}

/// Where a world stands, as it is stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    now: Timestamp,
    clock_offset: i64,
    /// The position of the newest event.
    pub(super) seq: i64,
}

impl Head {
    /// From three columns: `now`, `clock_offset` and `seq`.
    pub(super) fn from_row(row: &dyn Row, first: usize) -> Result<Head> {
        Ok(Head {
            now: instant(row.int(first)?)?,
            clock_offset: row.int(first + 1)?,
            seq: row.int(first + 2)?,
        })
    }

    /// Engine time: what a write at this moment would get.
    pub(super) fn now(self, host_now: Timestamp) -> Timestamp {
        let shifted = host_now.as_millis().saturating_add(self.clock_offset);
        self.now.max(Timestamp::from_millis_clamped(shifted))
    }
}

/// The head of a world and its app's slug, at the schema that this program knows.
pub(super) fn head(reading: &mut dyn Reading, world: World) -> Result<(Head, Arc<str>)> {
    if let Some(known) = reading.known()?.heads.get(&world) {
        return Ok(known.clone());
    }
    let mut found = None;
    reading.each(
        "SELECT version, tillite_head.now, clock_offset, seq, slug FROM tillite_schema CROSS JOIN tillite_head \
         JOIN tillite_app ON tillite_app.app = tillite_head.app WHERE tillite_head.app = $1 AND mode = $2",
        &[world.app.into(), mode_number(world.mode).into()],
        &mut |row| {
            check_version(row.int(0)?)?;
            found = Some((Head::from_row(row, 1)?, Arc::from(row.text(4)?)));
            Ok(())
        },
    )?;
    let Some((head, slug)) = found else {
        // One of the three rows is missing; which one decides what is said.
        check_schema(reading)?;
        super::app::slug_of(reading, world.app)?;
        return Err(codec::corrupt("an app without its head row"));
    };
    let known = reading.known()?;
    known.schema = true;
    known.heads.insert(world, (head, Arc::clone(&slug)));
    Ok((head, slug))
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

    /// Notes what is about to be shown, and answers it: this time, or a later one that was shown
    /// before.
    pub(super) fn show(&self, world: World, now: Timestamp) -> Timestamp {
        let mut shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let latest = shown.entry(world).or_insert(now);
        *latest = now.max(*latest);
        *latest
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
    /// How long an idempotency key is kept.
    pub(crate) keep_keys: std::time::Duration,
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
    /// Host time of this write for what keeps its place in the order of writes: as late as that of any before it.
    pub(super) queued_at: Timestamp,
    pub(crate) mint: Mint,
    pub(super) actor: String,
    pub(super) cause: &'static str,
    pub(super) keep_keys: std::time::Duration,
    pub(super) seq: i64,
    pub(super) hash: [u8; 32],
    /// What somebody has to look at once this is committed.
    pub(super) alarms: Vec<Alarm>,
    /// The uids and lines of the entitlements that it wrote to.
    pub(super) touched: Vec<(String, String)>,
    seq_at_begin: i64,
}

/// Moves the head's time and reads where the world stands.
pub(super) fn begin<'a>(sql: &'a mut dyn Sql, moment: &Moment) -> Result<Tx<'a>> {
    let World { app, mode } = moment.world;
    let host_now = moment.host_now;
    let shown = planted!(WritesGoBack, Timestamp::MIN, moment.shown.latest(moment.world));
    let mut head = None;
    // The time is computed from the row itself, so that nobody else's move can come in between. A
    // test clock that was put at the end of time stays there.
    sql.each(
        "UPDATE tillite_head SET now = CASE \
         WHEN now < $1 + clock_offset AND $2 <= $1 + clock_offset \
         THEN CASE WHEN $1 + clock_offset > $3 THEN $3 ELSE $1 + clock_offset END \
         WHEN now < $2 THEN $2 ELSE now END WHERE app = $4 AND mode = $5 RETURNING now, seq, hash, \
         (SELECT slug FROM tillite_app WHERE tillite_app.app = tillite_head.app), \
         (SELECT public_url FROM tillite_app WHERE tillite_app.app = tillite_head.app), now - clock_offset",
        &[
            host_now.as_millis().into(),
            shown.as_millis().into(),
            Timestamp::MAX.as_millis().into(),
            app.into(),
            mode_number(mode).into(),
        ],
        &mut |row| {
            let (seq, hash) = (row.int(1)?, digest(&row.bytes(2)?)?);
            let times = (instant(row.int(0)?)?, Timestamp::from_millis_clamped(row.int(5)?));
            head = Some((times, seq, hash, row.text(3)?, row.maybe_text(4)?));
            Ok(())
        },
    )?;
    let ((now, written), seq, hash, slug, public_url) =
        head.ok_or_else(|| codec::corrupt("an app without its head row"))?;
    Ok(Tx {
        sql,
        world: moment.world,
        app: slug,
        public_url,
        now,
        host_now,
        queued_at: written.max(host_now),
        mint: moment.mint.clone(),
        actor: moment.actor.to_string(),
        cause: moment.cause,
        keep_keys: moment.keep_keys,
        seq,
        hash,
        alarms: Vec::new(),
        touched: Vec::new(),
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

    /// How many events it has written so far.
    pub(crate) fn events(&self) -> usize {
        usize::try_from(self.seq - self.seq_at_begin).unwrap_or(0)
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

    /// Moves the head's position and hash behind the events that were written; answers what a commit
    /// does to the entitlements.
    pub(super) fn finish(self) -> Result<Trail> {
        let trail = Trail {
            from: self.seq_at_begin,
            to: self.seq,
            touched: self.touched,
        };
        if trail.to == trail.from {
            return Ok(trail);
        }
        let World { app, mode } = self.world;
        codec::one(self.sql.exec(
            "UPDATE tillite_head SET seq = $1, hash = $2 WHERE app = $3 AND mode = $4 AND seq = $5",
            &[
                trail.to.into(),
                (&self.hash).into(),
                app.into(),
                mode_number(mode).into(),
                trail.from.into(),
            ],
        )?)?;
        Ok(trail)
    }
}

/// A read of a world.
pub(crate) struct View<'a> {
    pub(crate) sql: &'a mut dyn Sql,
    pub(crate) world: World,
    pub(crate) app: String,
    /// Engine time: what a write at this moment would get, and never before what was shown.
    pub(crate) now: Timestamp,
    /// The position of the newest event.
    pub(super) seq: i64,
}

pub(super) fn view<'a>(
    reading: &'a mut dyn Reading,
    world: World,
    host_now: Timestamp,
    shown: &Shown,
) -> Result<View<'a>> {
    let (head, slug) = head(reading, world)?;
    Ok(View {
        sql: reading,
        world,
        app: slug.to_string(),
        now: planted!(ReadsGoBack, head.now(host_now), shown.show(world, head.now(host_now))),
        seq: head.seq,
    })
}
