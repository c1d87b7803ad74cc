//! What a receiver needs beyond a good signature: each event once, and nothing old over something new.

/// What a receiver remembers. It is implemented over the receiver's own database, on the transaction in
/// which the receiver acts on the event: then either both are on disk or neither, and a delivery whose
/// answer was lost is recognised when it is made again.
///
/// Two tables do: the ids of events, unique, with the time at which they came; and the newest sequence
/// per object. In SQLite's and PostgreSQL's words:
///
/// ```sql
/// INSERT INTO seen_event (source, id, at) VALUES ($1, $2, $3) ON CONFLICT (source, id) DO NOTHING;
/// INSERT INTO newest (source, object, sequence) VALUES ($1, $2, $3)
///     ON CONFLICT (source, object) DO UPDATE SET sequence = excluded.sequence
///     WHERE newest.sequence < excluded.sequence;
/// ```
///
/// The source is the app and mode whose webhook it is, for which an endpoint has a URL and a secret of its own: the
/// store knows it by that, not by the body. An object's name need not tell one from another (in `elixpo` it is a
/// buyer's, the same in test mode and in live mode), and who signs for one source says nothing of another's.
///
/// Each counts as *new* if it changed a row.
///
/// # For how long ids are kept
/// For as long as a delivery may be made again: **90 days at least**, and forgotten in batches, outside this
/// transaction, or the table grows for ever. The schedule ends within three hours, but old attempts go on whenever
/// an endpoint is switched on again that was off or suspended, a sender's program was down, or its sealing key comes
/// back; and one that ran out of attempts can be sent again for 90 days. Two things reach further back: a switch that
/// stays off for longer, and `replay_range`, which sends from the first event on whatever it is told to. Whoever does
/// either keeps ids for as long as that reaches, or for good. Ids of `xpay-subscriptions` are kept for good: its
/// signature covers no time, so whoever once saw a webhook can send it for ever.
///
/// An id that was forgotten makes an old event new. So what must not happen twice is written down once more by what it
/// is done *for*, such as the charge that is shipped, in a table of its own that nobody clears and in the same
/// transaction:
///
/// ```sql
/// INSERT INTO shipped (source, charge) VALUES ($1, $2) ON CONFLICT (source, charge) DO NOTHING;
/// ```
pub trait InboxStore {
    /// What can go wrong with the receiver's database.
    type Error;

    /// Notes that an event came. Answers whether it had come before.
    ///
    /// # Errors
    /// The receiver's own; the transaction is to be undone, and the webhook answered with a 5xx status.
    fn seen(&mut self, event_id: &str) -> Result<bool, Self::Error>;

    /// Notes an object's sequence if it is greater than the one that is kept, or none is. Answers whether it
    /// was.
    ///
    /// # Errors
    /// The receiver's own; the transaction is to be undone, and the webhook answered with a 5xx status.
    fn newest(&mut self, object_id: &str, sequence: i64) -> Result<bool, Self::Error>;
}

impl<S: InboxStore + ?Sized> InboxStore for &mut S {
    type Error = S::Error;

    fn seen(&mut self, event_id: &str) -> Result<bool, Self::Error> {
        (**self).seen(event_id)
    }

    fn newest(&mut self, object_id: &str, sequence: i64) -> Result<bool, Self::Error> {
        (**self).newest(object_id, sequence)
    }
}

/// Tells a receiver what to do with an event that has been verified.
///
/// Deliveries are made at least once and in no promised order: an event that failed for an hour arrives
/// after the ones that followed it. So an event is taken once by its id, and of two that say how an object
/// *is*, the one with the greater sequence counts.
///
/// ```
/// use std::collections::{HashMap, HashSet};
/// use std::convert::Infallible;
/// use tillite::webhook::{Arrival, Arrived, Inbox, InboxStore};
///
/// #[derive(Default)]
/// struct Memory(HashSet<String>, HashMap<String, i64>);
///
/// impl InboxStore for Memory {
///     type Error = Infallible;
///     fn seen(&mut self, event_id: &str) -> Result<bool, Infallible> {
///         Ok(!self.0.insert(event_id.to_owned()))
///     }
///     fn newest(&mut self, object_id: &str, sequence: i64) -> Result<bool, Infallible> {
///         let kept = self.1.entry(object_id.to_owned()).or_insert(i64::MIN);
///         let newer = sequence > *kept;
///         *kept = sequence.max(*kept);
///         Ok(newer)
///     }
/// }
///
/// let mut inbox = Inbox::new(Memory::default());
/// let second = Arrival::new("evt_2").about("cs_1", 2);
/// assert_eq!(inbox.take(second)?, Arrived::Newest);
/// // Its answer was lost, so it comes again.
/// assert_eq!(inbox.take(second)?, Arrived::Repeated);
/// // The first one had failed, and comes now.
/// assert_eq!(inbox.take(Arrival::new("evt_1").about("cs_1", 1))?, Arrived::Late);
/// # Ok::<(), Infallible>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Inbox<S> {
    store: S,
}

impl<S: InboxStore> Inbox<S> {
    /// An inbox over what the receiver remembers; made anew for each transaction, it costs nothing.
    pub const fn new(store: S) -> Inbox<S> {
        Inbox { store }
    }

    /// Takes in an event whose signature was found good. Whatever comes of it, the webhook is answered with a
    /// 2xx status once the transaction is committed.
    ///
    /// # Errors
    /// The store's own. Nothing counts as taken then, if the transaction is undone.
    pub fn take(&mut self, arrival: Arrival<'_>) -> Result<Arrived, S::Error> {
        if self.store.seen(arrival.event_id)? {
            return Ok(Arrived::Repeated);
        }
        match arrival.object {
            Some((object_id, sequence)) if !self.store.newest(object_id, sequence)? => Ok(Arrived::Late),
            _ => Ok(Arrived::Newest),
        }
    }

    /// What it was made over.
    pub fn into_store(self) -> S {
        self.store
    }
}

/// An event as an [`Inbox`] takes it: by what its body says, or a header that the signature covers. An id
/// that nobody signed could be given another value by whoever sends an old webhook once more.
///
/// | format | id | object and sequence |
/// | --- | --- | --- |
/// | `standard` | the header `webhook-id` | `data.id`, `data.sequence` |
/// | `xpay` | `id` | none |
/// | `elixpo` | `id` | app, mode and `data.uid`, `data.version` of `entitlement.updated` |
/// | `xpay-subscriptions` | `eventId` | none |
/// | `jopay` | none; see below | none |
///
/// A body of `elixpo` names no mode, so that of its object is the one whose endpoint the webhook came to. An inbox over
/// a store that knows its source ([`InboxStore`]) takes `data.uid` as it is.
///
/// A body of `jopay` names no event, and its signature does not cover `webhook-id`. Every webhook of this
/// engine in that format is signed by Standard Webhooks too, with the same secret: verify it as
/// [`Format::Standard`](super::Format::Standard), and the header `webhook-id` serves. Where that cannot be, `event`, `data.id` and
/// `created_at` together stand for an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival<'a> {
    event_id: &'a str,
    object: Option<(&'a str, i64)>,
}

impl<'a> Arrival<'a> {
    /// An event by its id.
    #[must_use]
    pub const fn new(event_id: &'a str) -> Arrival<'a> {
        Arrival { event_id, object: None }
    }

    /// The object that it is about, and its place among the events about that object.
    #[must_use]
    pub const fn about(mut self, object_id: &'a str, sequence: i64) -> Arrival<'a> {
        self.object = Some((object_id, sequence));
        self
    }
}

/// What to do with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Arrived {
    /// It is new, and nothing newer is known of its object: act on it, and take over what it says.
    Newest,
    /// It is new, but its object has moved on since: act on *that it happened* (send the receipt), and
    /// leave what is kept of the object's state as it is.
    Late,
    /// It was taken before: do nothing.
    Repeated,
}

#[cfg(test)]
mod tests;
