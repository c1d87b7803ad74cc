//! The verbs. This is the only floor that reads the clock, draws randomness or calls a hook.

mod alarms;
mod app;
mod asks;
mod backup;
mod budget;
mod builder;
mod catalog;
mod challenge;
mod consumers;
mod core;
mod customers;
mod deliveries;
mod disputes;
mod due;
mod endpoints;
mod entitlements;
mod events;
mod health;
mod holding;
mod keys;
mod methods;
mod notifications;
mod numbers;
mod operator;
mod outbox;
mod pace;
mod payments;
mod refunds;
mod replays;
mod retention;
mod routing;
mod runner;
mod sessions;
mod settling;
mod setups;
mod trace;
mod unasked;
mod weighing;

pub use app::App;
pub use asks::{Ask, AskKind};
pub use budget::{Budget, Ran, Work};
pub use builder::Builder;
pub use catalog::Catalog;
pub use consumers::{ConsumerProgress, Consumers};
pub use customers::Customers;
pub use deliveries::Deliveries;
pub use disputes::Disputes;
pub use endpoints::Endpoints;
pub use entitlements::Entitlements;
pub use events::{EventFilter, Expect, JournalHead, Pulled};
pub use health::Health;
pub use keys::Keys;
pub use notifications::Notifications;
pub use numbers::Numbers;
pub use payments::{Begun, NewPayment, Payment};
pub use refunds::{BegunRefund, Refunds};
pub use runner::Runner;
pub use sessions::Sessions;
pub use settling::Settled;
pub use setups::{BegunSetup, Setups};

pub use crate::store::{Broken, Report};

use std::sync::Arc;

use crate::error::{Error, Invalid, Result, shortened};
use crate::id::{Mode, World};
use crate::store::{self, Access};
use crate::text;

use self::core::Core;

/// A payment engine on one file.
///
/// Cheap to clone, shared between threads; every clone is the same engine. It starts no thread and
/// does nothing until it is called, but for what [`Engine::spawn_runner`] is asked to do.
#[derive(Clone)]
pub struct Engine {
    core: Arc<Core>,
}

/// One page of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Page<T> {
    /// What is on the page.
    pub data: Vec<T>,
    /// Whether there is more: pass the last item's id to get it.
    pub has_more: bool,
}

impl Engine {
    /// Sets an engine up; [`Builder::open`] opens the file.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// A handle on an app in a mode. An app that the file does not have yet is made.
    ///
    /// The slug is 1 to 64 of `a-z`, `0-9`, `_` and `-`. Idempotent by state.
    ///
    /// # Errors
    /// [`Error::Invalid`] for another slug; [`Error::Storage`].
    ///
    /// # Durability
    /// A new app is on disk when this returns.
    ///
    /// # Events
    /// None: an app is the world in which events happen.
    pub fn app(&self, slug: &str, mode: Mode) -> Result<App> {
        let slug = text::name("app", slug, 64)?;
        let wanted = slug.clone();
        if let Some(app) = self.core.store.read(|sql| store::app::by_slug(sql, &wanted))? {
            return Ok(self.handle(World { app, mode }));
        }
        let host_now = self.core.clock.now();
        let followers = self.core.followers.names();
        let app = self.core.write_raw(Access::Shared, "app", move |sql| {
            let app = store::app::ensure(sql, &slug, host_now)?;
            for mode in [Mode::Test, Mode::Live] {
                consumers::place(sql, World { app, mode }, &followers, |_| 0)?;
            }
            Ok(app)
        })?;
        Ok(self.handle(World { app, mode }))
    }

    /// A handle on an app that the file has.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it does not; [`Error::Storage`].
    pub fn find_app(&self, slug: &str, mode: Mode) -> Result<App> {
        let app = self.core.store.read(|sql| store::app::by_slug(sql, slug))?;
        let app = app.ok_or_else(|| Error::NotFound {
            what: "app",
            id: shortened(slug),
        })?;
        Ok(self.handle(World { app, mode }))
    }

    /// The slugs of the apps, in order, up to `limit` (1 to 100) after one.
    ///
    /// # Errors
    /// [`Error::Invalid`] for the limit; [`Error::Storage`].
    pub fn apps(&self, limit: u32, after: Option<&str>) -> Result<Page<String>> {
        let limit = page_size(limit)?;
        let after = after.unwrap_or("");
        let slugs = self.core.store.read(|sql| store::app::slugs(sql, after, limit + 1))?;
        Ok(page(slugs, limit))
    }

    /// The handle that an API key opens, acting as the key; none if the secret is not a key's that
    /// is in force. The key alone decides app and mode.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn authenticate(&self, secret: &str) -> Result<Option<App>> {
        keys::authenticate(self, secret)
    }

    /// Works everything that was committed into the file proper, and gives the connections back
    /// once the last clone is gone. Not calling it loses nothing. It waits as long as
    /// [`Builder::busy_wait`] says for those who read, and whoever writes waits with it.
    ///
    /// # Errors
    /// [`Error::Storage`], of the kind [`crate::StorageKind::Busy`] while somebody still reads an
    /// older state, and of the kind [`crate::StorageKind::Io`] after [`crate::Alarm::LogKept`]: part of
    /// what was committed is then in the write-ahead log alone, and stays there.
    pub fn close(self) -> Result<()> {
        self.core.store.backend().checkpoint()
    }

    fn handle(&self, world: World) -> App {
        App::new(Arc::clone(&self.core), world)
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

/// Checks a page size: 1 to 100.
fn page_size(limit: u32) -> Result<u32> {
    if (1..=100).contains(&limit) {
        return Ok(limit);
    }
    Err(Invalid::new("limit", limit, "1 to 100").into())
}

/// A page from one row more than it holds.
fn page<T>(mut found: Vec<T>, limit: u32) -> Page<T> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let has_more = found.len() > limit;
    found.truncate(limit);
    Page { data: found, has_more }
}
