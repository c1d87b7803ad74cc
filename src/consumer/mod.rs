//! How the host's own tables follow the events: in the engine's file, in the transaction that moves the
//! place up to which they have come.

mod tx;

pub(crate) use tx::{Cells, Statements};
pub use tx::{HostRow, HostTx, HostValue};

use std::sync::Arc;

use crate::event::{Event, EventKind};

/// The host's code that takes events, one after the other, and writes tables of its own in the same file.
///
/// What it writes and the place up to which it has come are committed together. So each event is in the
/// host's tables exactly once, whatever dies in between: a daily revenue, a read model, a queue of mails.
/// Closures are consumers:
///
/// ```
/// use tillite::{Budget, Engine, Event, HostTx, Mode};
///
/// # fn main() -> tillite::Result<()> {
/// let engine = Engine::builder()
///     .consumer("log", |tx: &mut HostTx<'_>, event: &Event| {
///         tx.execute("CREATE TABLE IF NOT EXISTS my_log (position INTEGER, what TEXT)", &[])?;
///         tx.execute("INSERT INTO my_log VALUES ($1, $2)", &[event.position.into(), (&event.kind).into()])?;
///         Ok(())
///     })
///     .open_in_memory()?;
/// # engine.app("lixblogs", Mode::Test)?;
/// engine.run_due(Budget::items(100))?;
/// # Ok(())
/// # }
/// ```
///
/// # When it is called
/// By [`crate::Engine::run_due`], from the calling thread, for each event behind its place in its app and
/// mode, in the order of their positions. Two consumers, and the same one in two apps or modes, know
/// nothing of each other. A process that was not given a consumer leaves it where it is.
///
/// # It runs in a transaction
/// As the only hook. Nobody else writes to the file meanwhile, in this process or another, so it must be
/// quick: no network, no waiting. Its transaction holds events of this consumer only, up to 32 of them; no
/// sale is in it, so no sale fails with it.
///
/// # What it may not do
/// Call an engine, this one or another: that is refused with [`crate::Error::InConsumer`]. Have another
/// thread call this engine and wait for it: that thread waits for this transaction. What it does outside
/// the file (a mail, a request) is not undone and may be done again; write down in a table that it is to be
/// done, and do it from there.
///
/// # What an answer means
/// After `Ok` the event is taken, and what was written for it is kept. After an error or a panic
/// everything that was written for this event is undone, the place stays before it, and it comes again:
/// after a second, then after two, four, up to five minutes, by the host's clock. Nothing is ever passed over
/// by itself; [`crate::Consumers::skip`] is a person's word. The error's text is kept for
/// [`crate::Consumers::list`], at most 500 characters with card numbers masked: put no personal data there.
/// [`crate::Alarm::ConsumerFailing`] tells of the first failure in a row. Other consumers go on.
///
/// # How often
/// Counted in the host's tables once, called at least once: what is undone, by an error or because the
/// process died before the commit, is called again. So it keeps nothing in memory that matters.
pub trait Consumer: Send + Sync {
    /// Takes one event.
    ///
    /// # Errors
    /// Whatever keeps it from taking the event.
    fn consume(&self, tx: &mut HostTx<'_>, event: &Event) -> Result<(), ConsumerError>;
}

/// Why a consumer did not take an event.
pub type ConsumerError = Box<dyn std::error::Error + Send + Sync>;

impl<F> Consumer for F
where
    F: Fn(&mut HostTx<'_>, &Event) -> Result<(), ConsumerError> + Send + Sync,
{
    fn consume(&self, tx: &mut HostTx<'_>, event: &Event) -> Result<(), ConsumerError> {
        self(tx, event)
    }
}

/// Which events a consumer follows, and from where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Follow {
    kinds: Option<Vec<EventKind>>,
    from_now: bool,
}

impl Follow {
    /// Every event, from the first one of the file on.
    pub fn all() -> Follow {
        Follow::default()
    }

    /// Only events of these kinds; its place moves over the others. Which they are is asked when an event
    /// is reached: another list later changes nothing for what is behind the place.
    pub fn only(kinds: impl IntoIterator<Item = EventKind>) -> Follow {
        Follow {
            kinds: Some(kinds.into_iter().collect()),
            from_now: false,
        }
    }

    /// In an app and mode in which it has no place yet, begins behind the newest event that there is when
    /// the file is opened, in place of before the first. An app that is made later is followed from its
    /// first event.
    pub fn from_now(mut self) -> Self {
        self.from_now = true;
        self
    }

    /// The kinds that are wanted; none: every one.
    pub(crate) fn kinds(&self) -> Option<&[EventKind]> {
        self.kinds.as_deref()
    }

    pub(crate) fn is_from_now(&self) -> bool {
        self.from_now
    }
}

/// A consumer as an engine was given it.
#[derive(Clone)]
pub(crate) struct Following {
    pub(crate) name: String,
    pub(crate) follow: Follow,
    pub(crate) consumer: Arc<dyn Consumer>,
}
