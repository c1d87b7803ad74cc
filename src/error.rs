//! What can go wrong, and what the caller does next.
//!
//! There is one error type. Every value of it says what was found, what is allowed, and through
//! [`Error::what_now`] which of four things the caller should do. Texts never repeat more than
//! [`ECHO_LIMIT`] characters of what was given, 200 of a path, and never a secret or a card number.

use std::fmt;

use crate::card::{LONGEST_WRITTEN, masked};

/// How many characters of a caller's text an error repeats at most.
pub const ECHO_LIMIT: usize = 64;

/// The same of a path.
#[cfg(feature = "engine")]
const PATH_LIMIT: usize = 200;

/// The result of every fallible call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call did not do what was asked.
///
/// A call that fails has written nothing, with one exception that has a kind of its own:
/// [`StorageKind::OutcomeUnknown`], after which the same call is made again with the same
/// idempotency key (or, for calls that are idempotent by state, simply again).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument is not acceptable.
    #[error("{0}")]
    Invalid(#[from] Invalid),

    /// No such object in this app and mode.
    #[error("no {what} {id:?} in this app and mode; check the id, the app and the mode")]
    NotFound {
        /// The kind of object that was looked for, such as `checkout session`.
        what: &'static str,
        /// The id or name that was given, shortened.
        id: String,
    },

    /// The object was deleted; it can be read, and that is all.
    #[error("{what} {id:?} was deleted; it can be read only, make another")]
    Deleted {
        /// The kind of object, such as `customer`.
        what: &'static str,
        /// The id that was given.
        id: String,
    },

    /// Another customer has the uid; nothing was written.
    #[error(
        "uid {uid:?} is that of customer {customer}; change that one, by its uid with `set` or by its id with \
         `update`"
    )]
    UidTaken {
        /// The uid, shortened.
        uid: String,
        /// The id of the customer who has it.
        customer: String,
    },

    /// An id of one mode was used with a handle of the other.
    #[error("{id:?} belongs to {found} mode, this handle works in {handle} mode")]
    WrongMode {
        /// The id that was given, shortened.
        id: String,
        /// The mode that the id carries.
        found: &'static str,
        /// The mode of the handle.
        handle: &'static str,
    },

    /// The object's state does not allow what was asked. Nothing changed.
    #[error(transparent)]
    Refused(#[from] Refused),

    /// Another payment of the same session is in flight; no second attempt was started.
    #[error("charge {attempt} of this session is in flight; its outcome decides, wait for it")]
    PaymentInProgress {
        /// The id of the charge whose outcome is awaited.
        attempt: String,
        /// Engine time at which it started, in milliseconds since the Unix epoch.
        since_ms: i64,
    },

    /// The call that an attempt was made for is on its way; nobody can say yet what comes of it.
    #[error("a call about {about} is in flight; what it answers decides, wait for it or until its time is over")]
    CallInFlight {
        /// The id of the charge or refund that it is about.
        about: String,
        /// Host time at which the call counts as lost, in milliseconds since the Unix epoch.
        until_ms: i64,
    },

    /// As many ranges of events are being sent to the endpoint again as may be at once; no other was begun.
    #[error(
        "{running} replays to webhook endpoint {endpoint} are running, which is the most; wait until one is done, or \
         call one off with `cancel_replay`"
    )]
    ReplaysRunning {
        /// The id of the endpoint.
        endpoint: String,
        /// How many are running.
        running: u32,
    },

    /// More was to be given back than is left of a charge; nothing was.
    #[error("{asked} is more than the {left} that are left of charge {charge}; refund up to that")]
    RefundTooLarge {
        /// The id of the charge.
        charge: String,
        /// What was to go back, such as `10.00 EUR`.
        asked: String,
        /// What is left of what was captured, less what went back or is about to.
        left: String,
    },

    /// A saved payment method cannot be charged; nothing was written.
    #[error("payment method {method} {why}")]
    MethodUnusable {
        /// The id of the payment method.
        method: String,
        /// Why it cannot be.
        why: Unusable,
    },

    /// The order has a session that is being paid or was; no other was made.
    #[error("order {order:?} has checkout session {session}, which is {state}; no second one was made")]
    OrderTaken {
        /// The order's key, shortened.
        order: String,
        /// The id of the session that the order has.
        session: String,
        /// How far that session has come.
        state: OrderState,
    },

    /// The idempotency key was used before with other parameters.
    #[error("idempotency key {key:?} was used before with other parameters; use a new key for a new request")]
    IdempotencyConflict {
        /// The key, shortened.
        key: String,
    },

    /// No processor of that name is configured here; nothing was written.
    #[error(
        "no processor {}is configured for {mode} mode in this process; give it to Engine::builder",
        named(name)
    )]
    NoProcessor {
        /// The name that was asked for; empty where none is configured at all.
        name: String,
        /// The mode in which it was asked for.
        mode: &'static str,
    },

    /// The processor cannot look an attempt up, so that a lost answer could be resolved by hand only.
    #[error(
        "processor {name:?} has no look-ups, so a lost answer could be resolved by hand only; \
         live payments through it need Builder::accept_manual_resolution"
    )]
    UnsafeProcessor {
        /// The processor's name.
        name: String,
    },

    /// What was posted does not come from the payment service, or nobody can tell that it does; nothing
    /// was stored. Over HTTP the answer is 400.
    #[error("processor {processor:?} refused a notification: {why}")]
    NotificationRefused {
        /// The processor's name.
        processor: String,
        /// Why, in the processor's words, shortened.
        why: String,
    },

    /// The host's own code did not read what was posted; nothing was stored. Over HTTP the answer is 500, so
    /// that the service sends it again.
    #[error("processor {processor:?} could not read a notification: {why}")]
    NotificationUnread {
        /// The processor's name.
        processor: String,
        /// Why.
        why: String,
    },

    /// The processor cannot do what was asked, by what it says of itself; nothing was written.
    #[error(
        "processor {processor:?} cannot do that: found {found}, allowed is {allowed}; ask for that, or choose another \
         processor with Builder::route"
    )]
    BeyondProcessor {
        /// The processor's name.
        processor: String,
        /// What was asked, such as `0.30 EUR`.
        found: String,
        /// What it can do, such as `0.50 EUR and more`.
        allowed: String,
    },

    /// Secrets cannot be stored or read because the engine was opened without the right key.
    #[error("webhook secrets need the sealing key: open the engine with Builder::seal_key ({0})")]
    NoSealKey(&'static str),

    /// The host's source of randomness failed; no id could be made.
    #[error("the source of randomness failed; nothing was written")]
    NoEntropy,

    /// A statement of a consumer's was refused or failed; nothing of it was written.
    #[error("a consumer's statement: {why}")]
    Statement {
        /// What is wrong with it, without the values that were bound to it; of its text there may be the beginning.
        why: String,
    },

    /// An engine was called from within a consumer, whose transaction keeps everybody else from writing;
    /// nothing was done.
    #[error(
        "an engine was called from within a consumer; use the consumer's own HostTx, or write down what is to be done \
         and do it after run_due"
    )]
    InConsumer,

    /// The file was migrated by another process since this one opened it; nothing was written.
    #[error(
        "the file is at schema version {found}, this process opened it at {opened}; restart with the newer program"
    )]
    SchemaMoved {
        /// The version in the file now.
        found: i64,
        /// The version at open.
        opened: i64,
    },

    /// The file was written by a newer version of this crate; it was not touched.
    #[error("the file is at schema version {found}, this program knows up to {known}; open it with a newer program")]
    NewerSchema {
        /// The version in the file.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },

    /// The file or its disk failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// What the caller does after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhatNow {
    /// Make the same call again at once, with the same idempotency key: it may have succeeded.
    RetrySameCall,
    /// Make the same call again later: something is busy.
    RetryLater,
    /// Change the arguments, the object's state or the program; the same call fails again.
    FixInput,
    /// Somebody has to look at the machine, the file or the configuration.
    AskOperator,
}

impl Error {
    /// What the caller should do now.
    #[must_use]
    pub fn what_now(&self) -> WhatNow {
        match self {
            Error::Invalid(_)
            | Error::NotFound { .. }
            | Error::Deleted { .. }
            | Error::UidTaken { .. }
            | Error::WrongMode { .. }
            | Error::Refused(_)
            | Error::RefundTooLarge { .. }
            | Error::NotificationRefused { .. }
            | Error::MethodUnusable { .. }
            | Error::BeyondProcessor { .. }
            | Error::Statement { .. }
            | Error::InConsumer
            | Error::IdempotencyConflict { .. } => WhatNow::FixInput,
            Error::PaymentInProgress { .. } | Error::CallInFlight { .. } | Error::ReplaysRunning { .. } => {
                WhatNow::RetryLater
            }
            // What is being paid may fail; what was paid stays paid.
            Error::OrderTaken { state, .. } => match state {
                OrderState::Processing => WhatNow::RetryLater,
                OrderState::Complete => WhatNow::FixInput,
            },
            Error::NoProcessor { .. }
            | Error::UnsafeProcessor { .. }
            | Error::NotificationUnread { .. }
            | Error::NoSealKey(_)
            | Error::NoEntropy
            | Error::SchemaMoved { .. }
            | Error::NewerSchema { .. } => WhatNow::AskOperator,
            Error::Storage(error) => match error.kind {
                StorageKind::OutcomeUnknown => WhatNow::RetrySameCall,
                StorageKind::Busy => WhatNow::RetryLater,
                _ => WhatNow::AskOperator,
            },
        }
    }

    /// A stable word for this kind of error, for programs that cannot match on the enum.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Error::Invalid(_) => "invalid",
            Error::NotFound { .. } => "not_found",
            Error::Deleted { .. } => "deleted",
            Error::UidTaken { .. } => "uid_taken",
            Error::WrongMode { .. } => "wrong_mode",
            Error::Refused(_) => "refused",
            Error::PaymentInProgress { .. } => "payment_in_progress",
            Error::CallInFlight { .. } => "call_in_flight",
            Error::ReplaysRunning { .. } => "replays_running",
            Error::RefundTooLarge { .. } => "refund_too_large",
            Error::MethodUnusable { .. } => "method_unusable",
            Error::OrderTaken { .. } => "order_taken",
            Error::IdempotencyConflict { .. } => "idempotency_conflict",
            Error::NoProcessor { .. } => "no_processor",
            Error::UnsafeProcessor { .. } => "unsafe_processor",
            Error::NotificationRefused { .. } => "notification_refused",
            Error::NotificationUnread { .. } => "notification_unread",
            Error::BeyondProcessor { .. } => "beyond_processor",
            Error::Statement { .. } => "statement",
            Error::InConsumer => "in_consumer",
            Error::NoSealKey(_) => "no_seal_key",
            Error::NoEntropy => "no_entropy",
            Error::SchemaMoved { .. } => "schema_moved",
            Error::NewerSchema { .. } => "newer_schema",
            Error::Storage(error) => error.kind.code(),
        }
    }

    /// The field that an [`Error::Invalid`] names.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        match self {
            Error::Invalid(invalid) => Some(&invalid.field),
            _ => None,
        }
    }
}

/// An argument that is not acceptable: where it stands, what was found, what is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Invalid {
    /// The path of the field, such as `lines[2].quantity`.
    pub field: String,
    /// What was found, shortened; a description where repeating it would leak something.
    pub found: String,
    /// What is allowed instead, with the limit in numbers where there is one.
    pub allowed: String,
}

impl Invalid {
    /// Builds the error; `found` is shortened here so that no caller has to think of it.
    pub(crate) fn new(field: impl Into<String>, found: impl fmt::Display, allowed: impl Into<String>) -> Self {
        Invalid {
            field: field.into(),
            found: shortened(&found.to_string()),
            allowed: allowed.into(),
        }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: found {:?}, allowed is {}", self.field, self.found, self.allowed)
    }
}

impl std::error::Error for Invalid {}

/// A move that an object's state machine does not list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{object} is {state}: {event} is not possible")]
#[non_exhaustive]
pub struct Refused {
    /// The kind of object, such as `checkout session`.
    pub object: &'static str,
    /// The state that it is in.
    pub state: &'static str,
    /// What was asked of it.
    pub event: &'static str,
}

/// Why a saved payment method cannot be charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Unusable {
    /// It was detached from its customer.
    Detached,
    /// Its last month is over.
    Expired,
    /// It is not of the session's customer.
    NotOfThisCustomer,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unusable::Detached => "was detached and is charged no more; charge another, or have the buyer save it anew",
            Unusable::Expired => "has expired; charge another, or have the buyer save a new one",
            Unusable::NotOfThisCustomer => {
                "is not of this session's customer; charge one that is, or make the session for its customer"
            }
        })
    }
}

/// How far the session has come that takes an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OrderState {
    /// It is being paid. That may fail, and the session with it expire.
    Processing,
    /// It was paid, or nothing was due for it.
    Complete,
}

impl OrderState {
    /// `processing` or `complete`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            OrderState::Processing => "processing",
            OrderState::Complete => "complete",
        }
    }
}

impl fmt::Display for OrderState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A failure of the file, its disk, or the database engine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}: {detail}")]
#[non_exhaustive]
pub struct StorageError {
    /// What kind of failure it is.
    pub kind: StorageKind,
    /// What the layer below said, without any data of the file. Where it is about a path, that path,
    /// shortened.
    pub detail: String,
}

#[cfg(feature = "engine")]
impl StorageError {
    pub(crate) fn new(kind: StorageKind, detail: impl Into<String>) -> Self {
        StorageError {
            kind,
            detail: detail.into(),
        }
    }
}

/// The kinds of storage failure that a caller can tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StorageKind {
    /// Others used the file for longer than the bounded wait: another process or connection held its
    /// lock, or calls of this process stood before this one.
    Busy,
    /// The commit failed: what it wrote is either all there or all gone, and only the file knows.
    OutcomeUnknown,
    /// The disk is full. Reads go on. Deleting rows frees nothing: that too is written first, so the
    /// way on is room from elsewhere.
    DiskFull,
    /// The file or its directory cannot be written.
    ReadOnly,
    /// The file cannot be opened or made at this path.
    CantOpen,
    /// The file is not a database.
    NotADatabase,
    /// The file has tables of somebody else under names that begin with `tillite_`, which are this
    /// crate's.
    NamesTaken,
    /// The file is damaged, or holds something that this crate never writes.
    Corrupt,
    /// The file was moved, deleted or replaced while it was open.
    Moved,
    /// The database library linked into this program is too old or lacks what is needed.
    Unsupported,
    /// Anything else that the disk or the database engine reported.
    Io,
}

impl StorageKind {
    fn code(self) -> &'static str {
        match self {
            StorageKind::Busy => "storage_busy",
            StorageKind::OutcomeUnknown => "storage_outcome_unknown",
            StorageKind::DiskFull => "storage_disk_full",
            StorageKind::ReadOnly => "storage_read_only",
            StorageKind::CantOpen => "storage_cant_open",
            StorageKind::NotADatabase => "storage_not_a_database",
            StorageKind::NamesTaken => "storage_names_taken",
            StorageKind::Corrupt => "storage_corrupt",
            StorageKind::Moved => "storage_moved",
            StorageKind::Unsupported => "storage_unsupported",
            StorageKind::Io => "storage_io",
        }
    }
}

impl fmt::Display for StorageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StorageKind::Busy => {
                "the file is in use, by this process or another, for longer than the wait; try again later"
            }
            StorageKind::OutcomeUnknown => "the commit failed and its outcome is unknown, make the same call again",
            StorageKind::DiskFull => "the disk is full, nothing was written",
            StorageKind::ReadOnly => "the file or its directory cannot be written",
            StorageKind::CantOpen => "the file cannot be opened",
            StorageKind::NotADatabase => "the file is not a database, it was not touched",
            StorageKind::NamesTaken => {
                "the file has somebody else's tables under this crate's names, it was not touched"
            }
            StorageKind::Corrupt => "the file is damaged, restore a backup",
            StorageKind::Moved => "the file was moved, deleted or replaced while open, nothing was written",
            StorageKind::Unsupported => "the linked database library does not serve",
            StorageKind::Io => "the disk or the database engine failed, nothing was written",
        })
    }
}

/// A name in quotes with a blank after it; nothing where there is no name.
fn named(name: &str) -> String {
    if name.is_empty() {
        return String::new();
    }
    format!("{name:?} ")
}

/// The first [`ECHO_LIMIT`] characters of a text, with a mark where it was cut. Card numbers are
/// masked before anything is cut, so that no part of one gets through.
pub(crate) fn shortened(text: &str) -> String {
    shortened_to(ECHO_LIMIT, text)
}

fn shortened_to(limit: usize, text: &str) -> String {
    let start: String = text.chars().take(limit + LONGEST_WRITTEN).collect();
    let safe = masked(&start);
    if text.chars().nth(limit).is_none() {
        return safe;
    }
    safe.chars().take(limit - 1).chain(['…']).collect()
}

/// A path as an error repeats it: longer than other texts, as its end is what tells it from others.
#[cfg(feature = "engine")]
pub(crate) fn shown_path(path: &std::path::Path) -> String {
    format!("{:?}", shortened_to(PATH_LIMIT, &path.to_string_lossy()))
}

#[cfg(test)]
mod tests;
