//! What payment services say by themselves: stored when it is posted, applied when its turn has come.

use std::sync::Arc;

use super::alarms::shielded;
use super::asks::processor_hook;
use super::core::Core;
use super::settling::may_pass;
use super::unasked::{About, Telling, work_in};
use super::{App, Engine, Page, page, page_size};
use crate::access::Actor;
use crate::alarm::Alarm;
use crate::card::masked_body;
use crate::decide::notices::{self, Turn};
use crate::error::{Error, Invalid, Result, shortened};
use crate::hook::{NoticeKind, Post, Reception, Reply};
use crate::id::{AttemptId, NotificationId, World};
use crate::payment::{Arrived, Followup, Notification, NotificationState};
use crate::store::{self, Tx};

/// The most bytes of a post.
const MAX_BODY: usize = 1_048_576;

/// How many notices are chosen at once.
const CHOSEN: u32 = 32;

/// What payment services say by themselves, of an app in a mode.
#[derive(Clone, Copy, Debug)]
pub struct Notifications<'a>(pub(super) &'a App);

impl Notifications<'_> {
    /// Takes in what a payment service posted, for the processor of that name: names and values of the
    /// headers, and the exact bytes of the body, up to 1 MiB. Answers what the service expects to hear.
    ///
    /// The processor's code says first whether the service sent it. Then the body and what is new in it are
    /// stored, in one commit, and nothing else happens: `run_due` applies it, each notice once. Idempotent by
    /// state: a notice is known by the service's own name for it, and one that came before is not stored
    /// again, nor is a post that brings nothing new.
    ///
    /// # Errors
    /// [`Error::NotificationRefused`] for what does not come from the service, [`Error::Invalid`] for a
    /// body that is too long and [`Error::NoProcessor`]: answer the service with 400, 413 and 404.
    /// [`Error::NotificationUnread`] after a panic of the processor's code and where it gives a notice no id,
    /// or one that looks like a card number, [`Error::NoEntropy`] and
    /// [`Error::Storage`]: answer with 500, so that it sends it again.
    ///
    /// # Durability
    /// What was posted is on disk when this returns.
    ///
    /// # Events
    /// None; what follows from it comes with `run_due`.
    pub fn receive(&self, processor: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Reply> {
        let (core, world) = (&self.0.core, self.0.world);
        if body.len() > MAX_BODY {
            let found = format!("{} bytes", body.len());
            return Err(Invalid::new("body", found, format!("up to {MAX_BODY} bytes")).into());
        }
        let moment = self.0.moment("notifications.receive")?;
        let post = Post::new(headers, body, moment.host_now);
        let (notices, reply) = match read(core, world, processor, &post)? {
            Reception::Genuine { notices, reply } => (notices, reply),
            Reception::Refused { why } => {
                return Err(Error::NotificationRefused {
                    processor: processor.to_owned(),
                    why: shortened(&why),
                });
            }
        };
        let unread = |why: String| Error::NotificationUnread {
            processor: processor.to_owned(),
            why,
        };
        if notices.len() > Reception::MAX_NOTICES {
            let (found, most) = (notices.len(), Reception::MAX_NOTICES);
            return Err(unread(format!(
                "its code found {found} notices in one post, allowed are {most}"
            )));
        }
        let arrived: Result<Vec<Arrived>, _> = notices.iter().map(Arrived::of).collect();
        let arrived = arrived.map_err(|why| unread(why.to_owned()))?;
        if arrived.is_empty() {
            return Ok(reply);
        }
        // Searched before the write, as everybody else's waits for that.
        let (body, processor) = (masked_body(body), processor.to_owned());
        core.write(moment, move |tx| store::notice::put(tx, &processor, &body, &arrived))?;
        Ok(reply)
    }

    /// What was stored of one notice.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::WrongMode`]; [`Error::Storage`].
    pub fn get(&self, id: &NotificationId) -> Result<Notification> {
        self.0.own_mode(id.as_str(), id.mode())?;
        let core = &self.0.core;
        core.view(self.0.world, |view| store::notice::get(view.sql, view.world, id))
    }

    /// The body of the post that brought a notice first, as it came, with stars for the digits of card
    /// numbers: those that stand together or in groups, with blanks, dashes or dots between them, however a
    /// form, a URL, JSON or XML writes these and the digits. What is compressed, encrypted or in base64 is
    /// stored as it came.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::WrongMode`]; [`Error::Storage`].
    pub fn body(&self, id: &NotificationId) -> Result<Vec<u8>> {
        self.0.own_mode(id.as_str(), id.mode())?;
        let core = &self.0.core;
        core.view(self.0.world, |view| store::notice::body(view.sql, view.world, id))
    }

    /// Notices, the newest first, up to `limit` (1 to 100) after one.
    ///
    /// # Errors
    /// [`Error::Invalid`] for the limit; [`Error::WrongMode`]; [`Error::Storage`].
    pub fn list(&self, limit: u32, after: Option<&NotificationId>) -> Result<Page<Notification>> {
        let limit = page_size(limit)?;
        if let Some(id) = after {
            self.0.own_mode(id.as_str(), id.mode())?;
        }
        self.0.core.view(self.0.world, |view| {
            Ok(page(
                store::notice::list(view.sql, view.world, after, limit + 1)?,
                limit,
            ))
        })
    }
}

/// Has the processor's code read what was posted. No transaction is open.
fn read(core: &Core, world: World, name: &str, post: &Post<'_>) -> Result<Reception> {
    let processor = core.processor(world.mode, name).map(Arc::clone);
    let processor = processor.ok_or_else(|| Error::NoProcessor {
        name: shortened(name),
        mode: world.mode.as_str(),
    })?;
    shielded(|| processor_hook(world.mode, name), || processor.receive(post)).map_err(|panicked| {
        core.alarms.tell([panicked]);
        Error::NotificationUnread {
            processor: name.to_owned(),
            why: "its code panicked".to_owned(),
        }
    })
}

impl Engine {
    /// Looks at up to `limit` notices that are due, and counts them. One that cannot be looked at is put off,
    /// so that it keeps no other from anything.
    pub(super) fn apply_notices(&self, limit: usize, looked_at: &mut usize) -> Result<()> {
        let core = &self.core;
        let mut all = Ok(());
        let mut left = limit;
        for world in core.store.read(store::app::worlds)? {
            while left > 0 {
                let host_now = core.clock.now();
                let some = u32::try_from(left).unwrap_or(u32::MAX).min(CHOSEN);
                let due = core.store.read(|sql| store::notice::due(sql, world, host_now, some))?;
                if due.is_empty() {
                    break;
                }
                for (number, processor) in due {
                    let applied = match apply(core, world, number, &processor) {
                        // What is wrong with the file at large is wrong for the others too.
                        Err(Error::Storage(error)) if may_pass(error.kind) => return Err(error.into()),
                        applied => applied,
                    };
                    if applied.is_err() {
                        put_off(core, world, number)?;
                    }
                    all = all.and(applied);
                    *looked_at += 1;
                    left -= 1;
                }
            }
        }
        all
    }
}

/// Has a notice that could not be looked at wait, so that those behind it have their turn.
fn put_off(core: &Core, world: World, number: i64) -> Result<()> {
    let moment = core.moment(world, Actor::Runner, "run_due.notices")?;
    core.write(moment, move |tx| {
        store::notice::put_off(tx.sql, tx.world, number, notices::put_off_until(tx.host_now))
    })
}

/// Looks now at those notices that are due and about an attempt.
pub(super) fn apply_about(core: &Core, world: World, attempt: &AttemptId) -> Result<()> {
    let host_now = core.clock.now();
    let due = core
        .store
        .read(|sql| store::notice::due_about(sql, world, attempt, host_now))?;
    for (number, processor) in due {
        apply(core, world, number, &processor)?;
    }
    Ok(())
}

/// Looks at one notice, in a transaction of its own.
fn apply(core: &Core, world: World, number: i64, processor: &str) -> Result<()> {
    let moment = core.moment(world, Actor::Processor(processor.to_owned()), "settle.notification")?;
    let capabilities = core.capabilities(world.mode, processor).unwrap_or_else(|panicked| {
        core.alarms.tell([panicked]);
        None
    });
    let actor = moment.actor.clone();
    let alarm = core.write(moment, move |tx| {
        // Chosen before the write: somebody else may have applied it since.
        let Some(stored) = store::notice::if_due(tx.sql, tx.world, number, tx.host_now)? else {
            return Ok(None);
        };
        let mut notice = stored.notice;
        let about = about(tx, &notice, &stored.said)?;
        notice.matched = about.as_ref().map(|about| about.attempt.id.clone());
        let after = match &notice.matched {
            Some(attempt) => store::notice::before(tx.sql, tx.world, attempt, number)?,
            None => None,
        };
        let attempt = about.as_ref().map(|about| &about.attempt);
        let turn = notices::turn(&notice, attempt, after, tx.host_now);
        let (turn, why) = match (turn, about) {
            (Turn::Apply, Some(about)) => {
                let by = Telling {
                    notice: &notice,
                    actor: actor.clone(),
                    capabilities: capabilities.as_ref(),
                };
                notices::after(&work_in(tx, about, stored.said, &by)?, &notice, tx.host_now)
            }
            (turn, _) => (turn, None),
        };
        (notice.state, notice.due_at) = match turn {
            Turn::Apply => (NotificationState::Applied, None),
            Turn::Wait(until) => (NotificationState::Waiting, Some(until)),
            Turn::Park(until) => (NotificationState::Parked, Some(until)),
            Turn::Hold | Turn::HoldInDoubt => (NotificationState::Held, None),
            Turn::GiveUp => (NotificationState::Unmatched, None),
        };
        // The same doubt is told of once.
        let is_news = !notice.in_doubt || notice.why.as_deref() != why;
        notice.in_doubt = match turn {
            Turn::HoldInDoubt => true,
            Turn::Wait(_) => notice.in_doubt,
            Turn::Apply | Turn::Park(_) | Turn::Hold | Turn::GiveUp => false,
        };
        notice.why = why.map(str::to_owned);
        if notice.due_at.is_some() {
            notice.tries = notice.tries.saturating_add(1);
        }
        store::notice::put_progress(tx.sql, tx.world, number, &notice)?;
        let (app, processor, notification) = (tx.app.clone(), notice.processor, notice.id);
        Ok(match turn {
            Turn::GiveUp => Some(Alarm::NotificationUnmatched {
                app,
                processor,
                notification,
            }),
            Turn::Hold | Turn::HoldInDoubt if is_news => Some(Alarm::NotificationHeld {
                app,
                processor,
                notification,
                why: notice.why.unwrap_or_default(),
            }),
            Turn::Apply | Turn::Wait(_) | Turn::Park(_) | Turn::Hold | Turn::HoldInDoubt => None,
        })
    })?;
    core.alarms.tell(alarm);
    Ok(())
}

/// What a notice is about: the attempt that it names, else the newest that the service knows by the name
/// that it gives; and the charge, where the name is that of money that was taken a second time.
fn about(tx: &mut Tx<'_>, notice: &Notification, said: &NoticeKind) -> Result<Option<About>> {
    let (processor, reference) = (&notice.processor, notice.reference.as_deref());
    let named = match &notice.attempt {
        Some(id) => store::attempt::attempt(tx.sql, tx.world, id)?,
        None => None,
    };
    let mut found = named.filter(|attempt| attempt.processor == *processor);
    let mut surplus = None;
    if let Some(reference) = reference {
        surplus = store::payment::surplus_known_as(tx.sql, tx.world, processor, reference)?;
        if found.is_none() {
            found = store::attempt::known_as(tx.sql, tx.world, processor, reference)?;
        }
    }
    if let (None, Some(surplus)) = (&found, &surplus) {
        found = Some(store::attempt::that_made(tx.sql, tx.world, surplus.as_str())?);
    }
    let Some(mut attempt) = found else {
        return Ok(None);
    };
    if notices::is_of_followup(said)
        && let Some(awaited) = store::attempt::awaited_of(tx.sql, tx.world, &attempt.subject)?
        && Followup::of(awaited.operation).is_some()
    {
        attempt = awaited;
    }
    Ok(Some(About { attempt, surplus }))
}
