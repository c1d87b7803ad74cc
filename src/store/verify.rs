//! Checking a file: every invariant that the engine promises, as a question to the rows.
//!
//! Each check is a statement that returns the ids of the rows that break it; none is what is
//! wanted. What needs more than one statement (hashes, snapshots, the view over grants) is
//! recomputed here and compared.

mod checks;

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use self::checks::CHECKS;
use super::apply::Link;
use super::codec::{self, digest};
use super::{Sql, entitlement, session};
use crate::entitlement::{fold, next_instant, next_version};
use crate::error::Result;
use crate::id::World;

/// What a caller knows of a file from elsewhere.
#[derive(Clone, Debug, Default)]
pub(crate) struct Expect {
    /// Positions and hashes of events that must be in the chains.
    pub(crate) heads: Vec<(World, i64, [u8; 32])>,
}

/// What was checked and what was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// How many rows each check looked at.
    pub checked: BTreeMap<&'static str, u64>,
    /// The checks that failed, with the rows that break them.
    pub failed: Vec<Broken>,
}

/// An invariant that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Broken {
    /// The invariant's name.
    pub invariant: &'static str,
    /// Ids of rows that break it, at most 20.
    pub ids: Vec<String>,
}

impl Report {
    /// Whether every invariant holds.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.failed.is_empty()
    }

    /// Adds what the database engine says of the file's structure.
    pub(crate) fn structure(&mut self, found: Vec<String>) {
        self.add("file_structure", 1, found);
    }

    fn add(&mut self, invariant: &'static str, rows: u64, mut ids: Vec<String>) {
        *self.checked.entry(invariant).or_default() += rows;
        ids.truncate(LISTED);
        if !ids.is_empty() {
            self.failed.push(Broken { invariant, ids });
        }
    }
}

const LISTED: usize = 20;

/// Runs every check.
pub(crate) fn verify(sql: &mut dyn Sql, expect: &Expect) -> Result<Report> {
    let mut report = Report::default();
    for (name, table, breach) in CHECKS {
        let rows = count(sql, table)?;
        let mut ids = Vec::new();
        sql.each(breach, &[], &mut |row| {
            if ids.len() < LISTED {
                ids.push(row.text(0)?);
            }
            Ok(())
        })?;
        report.add(name, rows, ids);
    }
    frozen_requests(sql, &mut report)?;
    for world in super::app::worlds(sql)? {
        chain(sql, world, expect, &mut report)?;
        snapshots(sql, world, &mut report)?;
        entitlements(sql, world, &mut report)?;
    }
    Ok(report)
}

fn count(sql: &mut dyn Sql, table: &str) -> Result<u64> {
    let mut rows = 0;
    sql.each(&format!("SELECT count(*) FROM {table}"), &[], &mut |row| {
        rows = u64::try_from(row.int(0)?).unwrap_or(0);
        Ok(())
    })?;
    Ok(rows)
}

/// A frozen request is what was hashed when it was made.
fn frozen_requests(sql: &mut dyn Sql, report: &mut Report) -> Result<()> {
    let (mut rows, mut ids) = (0, Vec::new());
    sql.each(
        "SELECT id, request, request_hash FROM tillite_attempt",
        &[],
        &mut |row| {
            rows += 1;
            let hash: [u8; 32] = Sha256::digest(row.bytes(1)?).into();
            if hash.as_slice() != row.bytes(2)? {
                ids.push(row.text(0)?);
            }
            Ok(())
        },
    )?;
    report.add("frozen_requests", rows, ids);
    Ok(())
}

/// The chain of events: each event's hash follows from the one before, its fields and its bodies.
fn chain(sql: &mut dyn Sql, world: World, expect: &Expect, report: &mut Report) -> Result<()> {
    let bodies = body_hashes(sql, world, report)?;
    let mut ids = Vec::new();
    let mut rows = 0;
    let mut previous = [0; 32];
    let mut expected: BTreeMap<i64, [u8; 32]> = expect
        .heads
        .iter()
        .filter(|(of, ..)| *of == world)
        .map(|(_, position, hash)| (*position, *hash))
        .collect();
    expected.remove(&0);
    sql.each(
        "SELECT seq, id, type, object_id, object_seq, from_state, to_state, cause, actor, created_at, body, \
         body_hash, hash FROM tillite_event WHERE app = $1 AND mode = $2 ORDER BY seq",
        &[world.app.into(), codec::mode_number(world.mode).into()],
        &mut |row| {
            rows += 1;
            let stored = digest(&row.bytes(12)?)?;
            let seq = row.int(0)?;
            let empty = Vec::new();
            let of_event = bodies.get(&seq).unwrap_or(&empty);
            let body_hash = digest(&row.bytes(11)?)?;
            let texts = [row.text(1)?, row.text(2)?, row.text(3)?, row.text(7)?, row.text(8)?];
            let [id, kind, object_id, cause, actor] = &texts;
            let (from, to) = (row.maybe_text(5)?, row.maybe_text(6)?);
            let computed = Link {
                previous: &previous,
                seq,
                id,
                kind,
                object_id,
                object_seq: row.int(4)?,
                from: from.as_deref(),
                to: to.as_deref(),
                cause,
                actor,
                created_at: row.int(9)?,
                body_hash: &body_hash,
            }
            .hash(of_event.iter().map(|(format, hash)| (format.as_str(), *hash)));
            let intact = row
                .maybe_text(10)?
                .is_none_or(|body| hashes_to(body.as_bytes(), &body_hash));
            let foreseen = expected.remove(&seq).is_none_or(|hash| hash == stored);
            if computed != stored || !intact || !foreseen {
                ids.push(id.clone());
            }
            previous = stored;
            Ok(())
        },
    )?;
    if super::event::head(sql, world)?.1 != previous {
        ids.push(format!("head of {}:{}", world.app, world.mode));
    }
    ids.extend(expected.keys().map(|position| format!("missing event {position}")));
    report.add("event_chain", rows, ids);
    Ok(())
}

type BodyHashes = BTreeMap<i64, Vec<(String, [u8; 32])>>;

/// The bodies' hashes by event, after checking each against its bytes.
fn body_hashes(sql: &mut dyn Sql, world: World, report: &mut Report) -> Result<BodyHashes> {
    let mut found = BodyHashes::new();
    let (mut rows, mut ids) = (0, Vec::new());
    sql.each(
        "SELECT seq, format, bytes, hash FROM tillite_event_body WHERE app = $1 AND mode = $2 ORDER BY seq, format",
        &[world.app.into(), codec::mode_number(world.mode).into()],
        &mut |row| {
            rows += 1;
            let (seq, format, hash) = (row.int(0)?, row.text(1)?, digest(&row.bytes(3)?)?);
            if row.maybe_bytes(2)?.is_some_and(|bytes| !hashes_to(&bytes, &hash)) {
                ids.push(format!("{format} body of event {seq}"));
            }
            found.entry(seq).or_default().push((format, hash));
            Ok(())
        },
    )?;
    report.add("webhook_bodies", rows, ids);
    Ok(found)
}

fn hashes_to(bytes: &[u8], hash: &[u8; 32]) -> bool {
    <[u8; 32]>::from(Sha256::digest(bytes)) == *hash
}

/// A session's snapshot is the hash of its lines and totals.
fn snapshots(sql: &mut dyn Sql, world: World, report: &mut Report) -> Result<()> {
    let (mut rows, mut ids) = (0, Vec::new());
    let mut before = None;
    loop {
        let page = session::list(sql, world, before.as_ref(), 100)?;
        let Some(last) = page.last() else {
            break;
        };
        before = Some(last.id.clone());
        for session in &page {
            rows += 1;
            if session.snapshot_of() != session.snapshot {
                ids.push(session.id.to_string());
            }
        }
    }
    report.add("frozen_prices", rows, ids);
    Ok(())
}

/// The newest version of each entitlement is what its grants amount to at the time up to which
/// they were folded, and folding them again up to there adds nothing. When time changes it next is
/// stored beside it, and readers who do not look at the grants count on that.
fn entitlements(sql: &mut dyn Sql, world: World, report: &mut Report) -> Result<()> {
    let (mut rows, mut ids, mut untimely) = (0, Vec::new(), Vec::new());
    let mut uids = Vec::new();
    sql.each(
        "SELECT uid, line, next_at FROM tillite_entitlement WHERE app = $1 AND mode = $2 ORDER BY uid, line",
        &[world.app.into(), codec::mode_number(world.mode).into()],
        &mut |row| {
            uids.push((row.text(0)?, row.text(1)?, codec::maybe_instant(row.maybe_int(2)?)?));
            Ok(())
        },
    )?;
    for (uid, line, next_at) in uids {
        let Some(holding) = entitlement::holding(sql, world, &uid, &line)? else {
            continue;
        };
        rows += 1;
        let at = holding.folded_at;
        let stale = next_version(holding.newest.as_ref(), &holding.grants, at).is_some();
        let early = holding.newest.as_ref().is_some_and(|newest| newest.changed_at > at);
        if stale || early || !fold(&holding, at).is_empty() {
            ids.push(holding.id.to_string());
        }
        if next_instant(&holding.grants, at) != next_at {
            untimely.push(holding.id.to_string());
        }
    }
    report.add("entitlement_is_its_grants", rows, ids);
    report.add("entitlement_knows_its_next_change", rows, untimely);
    Ok(())
}
