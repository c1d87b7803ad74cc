//! What a store remembers of entitlements, so that whoever asks again is answered without reading
//! them again.
//!
//! An entry is what the file held for one uid and line at one position of the world's history, the
//! position at which the cache stands. It moves on in two ways:
//!
//! * A commit of this process says from which position to which it went and what it touched. What
//!   it touched is forgotten, the rest is carried along, before anybody hears of the commit.
//! * A reader that finds the file further on than the cache finds somebody else's commit, of which
//!   nothing is known but that it was there: everything of that world is forgotten. While a write
//!   of this process is under way the reader cannot tell whose commit it found, so it forgets
//!   nothing and reads the file.
//!
//! So an entry may be answered from if the file was asked for its position since the call began,
//! and it is the one at which the cache stands. The passing of time moves no position: an entry
//! knows until when it holds.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::entitlement::{Entitlement, Version};
use crate::id::World;
use crate::time::Timestamp;

/// How many entries are kept for sure. As many again, not asked for since, may be there besides.
const MOST: usize = 10_000;

/// The longest uid or line, in bytes, of which anything is kept.
const LONGEST_NAME: usize = 1_024;

/// What was read of one uid and line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kept {
    /// None: nothing was ever granted.
    pub(super) version: Option<Version>,
    /// Engine time at which it was read.
    pub(super) from: Timestamp,
    /// Engine time at which a grant starts or ends next.
    pub(super) until: Option<Timestamp>,
}

impl Kept {
    pub(super) fn holds_at(&self, now: Timestamp) -> bool {
        self.from <= now && self.until.is_none_or(|until| now < until)
    }

    pub(super) fn shown(&self, app: &str, uid: &str, line: &str) -> Entitlement {
        match &self.version {
            Some(version) => version.to_entitlement(app, uid, line),
            None => Entitlement::never(app, uid, line),
        }
    }
}

/// What a commit did to the entitlements of a world.
#[derive(Debug)]
pub(super) struct Trail {
    /// The position before it.
    pub(super) from: i64,
    /// The position behind it.
    pub(super) to: i64,
    /// The uids and lines of which it wrote anything.
    pub(super) touched: Vec<(String, String)>,
}

pub(super) struct Cache(Mutex<Inner>);

impl Default for Cache {
    fn default() -> Cache {
        Cache::of_at_most(MOST)
    }
}

struct Inner {
    worlds: BTreeMap<World, Standing>,
    /// What was asked for since the entries were last sorted out.
    young: Entries,
    /// What was asked for before that.
    old: Entries,
    most: usize,
}

/// Where the cache stands in a world.
#[derive(Default)]
struct Standing {
    /// The app's slug, which never changes.
    app: Option<Arc<str>>,
    /// The position of the newest event that the entries reflect.
    seq: Option<i64>,
    /// Writes of this process of which it is not known yet whether they are committed.
    under_way: usize,
}

/// What is known without asking the file.
pub(super) struct Found {
    /// The app's slug.
    pub(super) app: Option<Arc<str>>,
    /// An entry, and the position for which it is right.
    pub(super) entry: Option<(Arc<Kept>, i64)>,
}

impl Cache {
    fn of_at_most(most: usize) -> Cache {
        Cache(Mutex::new(Inner {
            worlds: BTreeMap::new(),
            young: Entries::default(),
            old: Entries::default(),
            most,
        }))
    }

    /// What there is of a uid and line. Whether it is still right, the file has to be asked.
    pub(super) fn find(&self, world: World, uid: &str, line: &str) -> Found {
        let mut inner = self.lock();
        let Some(standing) = inner.worlds.get(&world) else {
            return Found { app: None, entry: None };
        };
        let (app, seq) = (standing.app.clone(), standing.seq);
        let (entry, sorted_out) = inner.get(world, uid, line);
        drop(inner);
        drop(sorted_out);
        Found {
            app,
            entry: entry.zip(seq),
        }
    }

    /// The entry that is right for a file that was found at this position.
    pub(super) fn at(&self, world: World, seq: i64, uid: &str, line: &str) -> Option<Arc<Kept>> {
        let mut inner = self.lock();
        let (stands, forgotten) = inner.come_to(world, seq);
        let (entry, sorted_out) = if stands {
            inner.get(world, uid, line)
        } else {
            (None, None)
        };
        drop(inner);
        drop((forgotten, sorted_out));
        entry
    }

    /// Keeps what was read of a file at this position.
    pub(super) fn keep(&self, world: World, seq: i64, app: &str, (uid, line): (&str, &str), kept: Kept) {
        // Anything can be asked for, also what nobody can have been granted.
        if uid.len().max(line.len()) > LONGEST_NAME {
            return;
        }
        let mut inner = self.lock();
        let standing = inner.worlds.entry(world).or_default();
        if standing.app.is_none() {
            standing.app = Some(Arc::from(app));
        }
        let (stands, forgotten) = inner.come_to(world, seq);
        let sorted_out = if stands {
            inner.put(world, Box::from(uid), line, Arc::new(kept))
        } else {
            None
        };
        drop(inner);
        drop((forgotten, sorted_out));
    }

    /// Notes that a write of this process is under way, until the answer is dropped.
    pub(super) fn under_way(self: &Arc<Cache>, world: World) -> UnderWay {
        self.lock().worlds.entry(world).or_default().under_way += 1;
        UnderWay {
            cache: Arc::clone(self),
            world,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A write that is under way.
pub(super) struct UnderWay {
    cache: Arc<Cache>,
    world: World,
}

impl UnderWay {
    /// Notes that it is committed, and what it did.
    pub(super) fn committed(self, trail: &Trail) {
        let mut inner = self.cache.lock();
        let standing = inner.worlds.entry(self.world).or_default();
        // What came in between was not ours.
        let ours = standing.seq.replace(trail.to) == Some(trail.from);
        let mut forgotten = None;
        if ours {
            for (uid, line) in &trail.touched {
                inner.forget(self.world, uid, line);
            }
        } else {
            forgotten = Some(inner.forget_all(self.world));
        }
        drop(inner);
        drop(forgotten);
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(standing) = self.cache.lock().worlds.get_mut(&self.world) {
            standing.under_way = standing.under_way.saturating_sub(1);
        }
    }
}

/// Entries that are no longer kept. To free them takes its time, so it is done outside the lock.
type Forgotten = Entries;

impl Inner {
    /// Whether the cache stands at a position at which the file was found; it follows the file if
    /// it may.
    fn come_to(&mut self, world: World, seq: i64) -> (bool, Option<[Forgotten; 2]>) {
        let standing = self.worlds.entry(world).or_default();
        match standing.seq {
            Some(at) if at == seq => (true, None),
            // The file was asked before a commit that is already in the cache.
            Some(at) if at > seq => (false, None),
            _ if standing.under_way > 0 => (false, None),
            _ => {
                standing.seq = Some(seq);
                (true, Some(self.forget_all(world)))
            }
        }
    }

    fn get(&mut self, world: World, uid: &str, line: &str) -> (Option<Arc<Kept>>, Option<Forgotten>) {
        if let Some(kept) = self.young.get(world, uid, line) {
            return (Some(Arc::clone(kept)), None);
        }
        let Some((uid, kept)) = self.old.remove(world, uid, line) else {
            return (None, None);
        };
        let sorted_out = self.put(world, uid, line, Arc::clone(&kept));
        (Some(kept), sorted_out)
    }

    fn put(&mut self, world: World, uid: Box<str>, line: &str, kept: Arc<Kept>) -> Option<Forgotten> {
        let mut sorted_out = None;
        if self.young.count >= self.most {
            let young = std::mem::take(&mut self.young);
            sorted_out = Some(std::mem::replace(&mut self.old, young));
        }
        // Two readers of one key may both have found it missing.
        self.old.remove(world, &uid, line);
        self.young.insert(world, uid, line, kept);
        sorted_out
    }

    fn forget(&mut self, world: World, uid: &str, line: &str) {
        self.young.remove(world, uid, line);
        self.old.remove(world, uid, line);
    }

    fn forget_all(&mut self, world: World) -> [Forgotten; 2] {
        [self.young.take(world), self.old.take(world)]
    }
}

type ByUid = HashMap<Box<str>, Arc<Kept>>;

/// Entries by world, line and uid, in this order because a uid can then be looked up as it comes.
#[derive(Default)]
struct Entries {
    worlds: BTreeMap<World, BTreeMap<Box<str>, ByUid>>,
    count: usize,
}

impl Entries {
    fn get(&self, world: World, uid: &str, line: &str) -> Option<&Arc<Kept>> {
        self.worlds.get(&world)?.get(line)?.get(uid)
    }

    fn insert(&mut self, world: World, uid: Box<str>, line: &str, kept: Arc<Kept>) {
        let lines = self.worlds.entry(world).or_default();
        let uids = match lines.get_mut(line) {
            Some(uids) => uids,
            None => lines.entry(Box::from(line)).or_default(),
        };
        if uids.insert(uid, kept).is_none() {
            self.count += 1;
        }
    }

    fn remove(&mut self, world: World, uid: &str, line: &str) -> Option<(Box<str>, Arc<Kept>)> {
        let lines = self.worlds.get_mut(&world)?;
        let uids = lines.get_mut(line)?;
        let removed = uids.remove_entry(uid)?;
        self.count -= 1;
        if uids.is_empty() {
            lines.remove(line);
        }
        Some(removed)
    }

    /// Takes out everything of a world.
    fn take(&mut self, world: World) -> Entries {
        let lines = self.worlds.remove(&world).unwrap_or_default();
        let count = lines.values().map(HashMap::len).sum();
        self.count -= count;
        Entries {
            worlds: BTreeMap::from([(world, lines)]),
            count,
        }
    }
}

#[cfg(test)]
mod tests;
