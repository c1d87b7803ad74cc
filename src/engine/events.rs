use super::{App, Engine, Page, page, page_size};
use crate::error::Result;
use crate::event::{Event, EventKind};
use crate::id::{EventId, Mode, World};
use crate::store::{self, ExpectHead, Report};
use crate::webhook::Format;

impl App {
    /// Events after a position (0 for the first), in commit order, up to `limit` (1 to 100).
    /// Positions have no gaps, so a reader that remembers the last one misses nothing.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] for the limit; [`crate::Error::Storage`].
    pub fn events(&self, limit: u32, after: i64) -> Result<Page<Event>> {
        let limit = page_size(limit)?;
        self.core.view(self.world, |view| {
            Ok(page(
                store::event::after(view.sql, view.world, after, limit + 1)?,
                limit,
            ))
        })
    }

    /// One event.
    ///
    /// # Errors
    /// [`crate::Error::NotFound`]; [`crate::Error::WrongMode`]; [`crate::Error::Storage`].
    pub fn event(&self, id: &EventId) -> Result<Event> {
        self.own_mode(id.as_str(), id.mode())?;
        self.core
            .view(self.world, |view| store::event::get(view.sql, view.world, id))
    }

    /// The bytes that a webhook of the event carries in a format; none if no enabled endpoint wanted it in that
    /// format when it happened. In [`Format::Standard`] there are always some, unless the event's object was
    /// erased.
    ///
    /// # Errors
    /// [`crate::Error::NotFound`]; [`crate::Error::WrongMode`]; [`crate::Error::Storage`].
    pub fn event_body(&self, id: &EventId, format: Format) -> Result<Option<Vec<u8>>> {
        self.own_mode(id.as_str(), id.mode())?;
        self.core.view(self.world, |view| {
            let event = store::event::get(view.sql, view.world, id)?;
            let rendered = store::event::rendered(view.sql, view.world, event.position, format)?;
            Ok(rendered.map(|(_, _, bytes)| bytes))
        })
    }

    /// Events of some kinds after a position (0 for the first), in commit order, up to `limit` (1 to 100): the way
    /// to the events for a program that cannot be sent webhooks, or has missed some. Ask again after
    /// [`Pulled::position`], which moves on also where nothing was found: a call looks at a thousand events at
    /// the most. Positions are given in commit order and have no gaps, so nothing is passed over that was
    /// committed meanwhile; and what was seen is known by its id, as with a webhook.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] for the limit; [`crate::Error::Storage`].
    pub fn pull(&self, filter: &EventFilter, limit: u32, after: i64) -> Result<Pulled> {
        let limit = page_size(limit)?;
        self.core.view(self.world, |view| {
            let (head, _) = store::event::head(view.sql, view.world)?;
            let end = after.max(0).saturating_add(store::event::STRETCH).min(head);
            let data = store::event::between(view.sql, view.world, filter.kinds.as_deref(), (after, end), limit)?;
            let is_full = u32::try_from(data.len()).is_ok_and(|found| found >= limit);
            let last = data.last().map(|event| event.position).filter(|_| is_full);
            let position = last.unwrap_or(end).max(after);
            Ok(Pulled {
                data,
                position,
                has_more: position < head,
            })
        })
    }

    /// What happened to one object after its n-th event (0 for the first): every move with its
    /// cause and on whose behalf, up to `limit` (1 to 100).
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] for the limit; [`crate::Error::Storage`].
    pub fn history(&self, object_id: &str, limit: u32, after: i64) -> Result<Page<Event>> {
        let limit = page_size(limit)?;
        self.core.view(self.world, |view| {
            let found = store::event::of_object(view.sql, view.world, object_id, after, limit + 1)?;
            Ok(page(found, limit))
        })
    }

    /// Position and hash of the newest event. Kept elsewhere and given to [`Engine::verify`] later,
    /// it shows that nothing before it was changed or taken away.
    ///
    /// # Errors
    /// [`crate::Error::Storage`].
    pub fn journal_head(&self) -> Result<JournalHead> {
        self.core.view(self.world, |view| {
            let (position, hash) = store::event::head(view.sql, view.world)?;
            Ok(JournalHead {
                app: view.app.clone(),
                mode: view.world.mode,
                position,
                hash,
            })
        })
    }
}

/// Which events are pulled.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// None: every kind.
    kinds: Option<Vec<EventKind>>,
}

impl EventFilter {
    /// All of them.
    #[must_use]
    pub fn all() -> EventFilter {
        EventFilter::default()
    }

    /// Those of these kinds only, none if there are none; [`EventKind::parse`] knows them by their names.
    #[must_use]
    pub fn kinds(mut self, kinds: impl IntoIterator<Item = EventKind>) -> Self {
        self.kinds = Some(kinds.into_iter().collect());
        self
    }
}

/// Events that were pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pulled {
    /// The events, in commit order.
    pub data: Vec<Event>,
    /// The position after which to ask next.
    pub position: i64,
    /// Whether there is more after it by now, of any kind.
    pub has_more: bool,
}

/// Position and hash of an app's newest event in a mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalHead {
    /// The app's slug.
    pub app: String,
    /// The mode.
    pub mode: Mode,
    /// The event's position; 0 before the first.
    pub position: i64,
    /// The event's hash, which covers every event before it.
    pub hash: [u8; 32],
}

/// What a caller of [`Engine::verify`] knows of the file from elsewhere.
#[derive(Clone, Debug, Default)]
pub struct Expect {
    heads: Vec<JournalHead>,
}

impl Expect {
    /// Nothing.
    #[must_use]
    pub fn nothing() -> Expect {
        Expect::default()
    }

    /// This event must be in the chain, with this hash.
    #[must_use]
    pub fn journal_head(mut self, head: JournalHead) -> Self {
        self.heads.push(head);
        self
    }
}

impl Engine {
    /// Checks the whole file: its structure, every invariant over its rows, and the chain of
    /// events. It reads everything, so it takes time in proportion to the file; writers go on.
    ///
    /// # Errors
    /// [`crate::Error::NotFound`] if an expected head is of an app that the file does not have;
    /// [`crate::Error::Storage`]. What is wrong with the rows is in the report, not an error.
    pub fn verify(&self, expect: &Expect) -> Result<Report> {
        let mut heads = Vec::new();
        for head in &expect.heads {
            let World { app, mode } = self.find_app(&head.app, head.mode)?.world;
            heads.push((World { app, mode }, head.position, head.hash));
        }
        let mut report = self
            .core
            .store
            .read(|sql| store::verify::verify(sql, &ExpectHead { heads }))?;
        report.structure(self.core.store.backend().check()?);
        Ok(report)
    }

    /// The whole file as text, a line per row in key order, for comparing two files. Secrets and
    /// what follows from them are left out.
    ///
    /// # Errors
    /// [`crate::Error::Storage`].
    pub fn dump(&self) -> Result<String> {
        self.core.store.read(store::dump::dump)
    }
}
