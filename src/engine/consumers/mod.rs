//! The consumers that an engine was given: who they are, where each stands, and from when on it is tried.

mod give;
mod progress;

use std::sync::atomic::AtomicUsize;
use std::time::Duration;

pub use self::progress::{ConsumerProgress, Consumers};
use super::Engine;
use crate::consumer::Following;
use crate::error::{Invalid, Result};
use crate::id::World;
use crate::store::consumer::Place;
use crate::store::{self, Access, Sql};
use crate::text;
use crate::time::Timestamp;

/// How long a consumer that failed is left alone at last.
const LONGEST_REST: Duration = Duration::from_secs(300);

/// The most consumers of one engine.
const MOST: usize = 64;

/// The consumers that an engine was given.
#[derive(Default)]
pub(in crate::engine) struct Followers {
    all: Vec<Following>,
    /// Whose turn it is.
    turn: AtomicUsize,
}

impl Followers {
    pub(in crate::engine) fn of(all: Vec<Following>) -> Result<Followers> {
        if all.len() > MOST {
            return Err(Invalid::new("consumer", format!("{} consumers", all.len()), format!("up to {MOST}")).into());
        }
        for (at, following) in all.iter().enumerate() {
            checked_name(&following.name)?;
            if all[..at].iter().any(|other| other.name == following.name) {
                return Err(Invalid::new("consumer", &following.name, "a name once per engine").into());
            }
        }
        Ok(Followers {
            all,
            turn: AtomicUsize::new(0),
        })
    }

    /// The name of each, and whether it begins behind what there is.
    pub(in crate::engine) fn names(&self) -> Vec<(String, bool)> {
        let named = |following: &Following| (following.name.clone(), following.follow.is_from_now());
        self.all.iter().map(named).collect()
    }

    /// The consumers of a world that have events before them, and from when on each may try.
    fn waiting(&self, sql: &mut dyn Sql, world: World, host_now: Timestamp) -> Result<Vec<(&Following, Timestamp)>> {
        let (head, places) = store::consumer::standing(sql, world)?;
        let of = |following: &Following| places.iter().find(|place| place.name == following.name);
        let standing = self.all.iter().map(|following| match of(following) {
            Some(place) => (following, place.position, due_at(place, host_now)),
            None => (following, 0, Timestamp::MIN),
        });
        let behind = standing.filter(|(_, position, _)| *position < head);
        Ok(behind.map(|(following, _, due)| (following, due)).collect())
    }

    /// Host time at which the first of them is due in a world.
    pub(in crate::engine) fn next_due(
        &self,
        sql: &mut dyn Sql,
        world: World,
        host_now: Timestamp,
    ) -> Result<Option<Timestamp>> {
        let waiting = self.waiting(sql, world, host_now)?;
        Ok(waiting.into_iter().map(|(_, due)| due).min())
    }
}

/// A consumer's name: 1 to 64 visible ASCII characters.
fn checked_name(name: &str) -> Result<()> {
    if (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return text::no_card("consumer", name);
    }
    Err(Invalid::new("consumer", name, "1 to 64 visible ASCII characters").into())
}

/// Where a consumer stands: before everything, unless it has a place.
fn place_of(sql: &mut dyn Sql, world: World, name: &str) -> Result<Place> {
    let found = store::consumer::place(sql, world, name)?;
    Ok(found.unwrap_or_else(|| Place::at(name, 0)))
}

/// From when on a consumer is tried, by the host's clock. One that would rest for longer than any rest is failed
/// while the clock was ahead, and is due: it would stand still until the clock has caught up.
fn due_at(place: &Place, host_now: Timestamp) -> Timestamp {
    if place.due_at > host_now.plus(LONGEST_REST) {
        return host_now;
    }
    place.due_at
}

impl Engine {
    /// Gives each consumer a place in every world that there is: from then on it misses nothing.
    pub(in crate::engine) fn place_consumers(&self) -> Result<()> {
        let followers = &self.core.followers;
        if followers.all.is_empty() {
            return Ok(());
        }
        let worlds = self.core.store.read(|sql| {
            let mut without = Vec::new();
            for world in store::app::worlds(sql)? {
                let (_, places) = store::consumer::standing(sql, world)?;
                let has_place = |following: &Following| places.iter().any(|place| place.name == following.name);
                if !followers.all.iter().all(has_place) {
                    without.push(world);
                }
            }
            Ok(without)
        })?;
        if worlds.is_empty() {
            return Ok(());
        }
        let names = followers.names();
        self.core.write_raw(Access::Alone, "open", move |sql| {
            for world in &worlds {
                let (head, _) = store::event::head(sql, *world)?;
                place(sql, *world, &names, |from_now| if from_now { head } else { 0 })?;
            }
            Ok(())
        })
    }
}

/// Gives consumers their places in a world, those that have none yet.
pub(in crate::engine) fn place(
    sql: &mut dyn Sql,
    world: World,
    names: &[(String, bool)],
    at: impl Fn(bool) -> i64,
) -> Result<()> {
    for (name, from_now) in names {
        if store::consumer::place(sql, world, name)?.is_none() {
            store::consumer::put(sql, world, &Place::at(name, at(*from_now)))?;
        }
    }
    Ok(())
}
