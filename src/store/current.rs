//! What somebody may use now, read with as little as it takes: nothing but the question whether the
//! file has changed, if it is remembered; one statement, if time has changed nothing since it was
//! stored; everything behind it otherwise.

use super::cache::Kept;
use super::head::{self, Shown};
use super::{Reading, Store, entitlement};
use crate::entitlement::{Entitlement, next_instant};
use crate::error::Result;
use crate::id::World;
use crate::time::Timestamp;

/// Whose entitlement is asked for, and when.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) world: World,
    pub(crate) uid: &'a str,
    pub(crate) line: &'a str,
    pub(crate) host_now: Timestamp,
    /// Engine time that somebody has been shown.
    pub(crate) shown: &'a Shown,
}

impl Store {
    /// What a uid may use in a line now.
    pub(crate) fn entitled(&self, asked: Asked<'_>) -> Result<Entitlement> {
        let mut answer = None;
        self.backend().look(&mut |reading| {
            answer = self.at_a_glance(reading, asked)?;
            Ok(())
        })?;
        match answer {
            Some(answer) => Ok(answer),
            None => self.in_full(asked),
        }
    }

    /// The answer, if it is remembered or takes one statement.
    fn at_a_glance(&self, reading: &mut dyn Reading, asked: Asked<'_>) -> Result<Option<Entitlement>> {
        let Asked { world, uid, line, .. } = asked;
        let found = self.cache.find(world, uid, line);
        if let Some((kept, seq)) = found.entry {
            let (head, app) = head::head(reading, world)?;
            let now = asked.shown.show(world, head.now(asked.host_now));
            let kept = if head.seq == seq {
                Some(kept)
            } else {
                self.cache.at(world, head.seq, uid, line)
            };
            if let Some(kept) = kept.filter(|kept| kept.holds_at(now)) {
                return Ok(Some(kept.shown(&app, uid, line)));
            }
        }
        match found.app {
            Some(app) => self.stored(reading, asked, &app),
            None => Ok(None),
        }
    }

    /// The answer that is stored, unless time has changed something since.
    fn stored(&self, reading: &mut dyn Reading, asked: Asked<'_>, app: &str) -> Result<Option<Entitlement>> {
        let Asked { world, uid, line, .. } = asked;
        let Some(stored) = entitlement::stored(reading, world, uid, line)? else {
            return Ok(None);
        };
        let now = asked.shown.show(world, stored.head.now(asked.host_now));
        let kept = Kept {
            version: stored.newest,
            from: now,
            until: stored.next_at,
        };
        if !kept.holds_at(now) {
            return Ok(None);
        }
        let answer = kept.shown(app, uid, line);
        self.cache.keep(world, stored.head.seq, app, (uid, line), kept);
        Ok(Some(answer))
    }

    /// The answer that follows from the grants.
    fn in_full(&self, asked: Asked<'_>) -> Result<Entitlement> {
        let Asked { world, uid, line, .. } = asked;
        self.view(world, asked.host_now, asked.shown, |view| {
            let holding = entitlement::holding(view.sql, world, uid, line)?;
            let kept = Kept {
                version: holding.as_ref().and_then(|holding| holding.version_at(view.now)),
                from: view.now,
                until: holding.and_then(|holding| next_instant(&holding.grants, view.now)),
            };
            let answer = kept.shown(&view.app, uid, line);
            self.cache.keep(world, view.seq, &view.app, (uid, line), kept);
            Ok(answer)
        })
    }
}

#[cfg(test)]
mod tests;
