//! Bugs that are planted on purpose, to see whether the simulation finds them.
//!
//! Each is one that a good engineer could make, and stands as one line where the promise is kept. They
//! exist in builds with `--cfg tillite_planted` only, and there nothing is wrong until one is planted.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Whether the bug of that name is planted, or what is wrong then and what is right.
macro_rules! planted {
    ($fault:ident) => {
        crate::planted::is(crate::planted::Fault::$fault)
    };
    ($fault:ident, $wrong:expr, $right:expr) => {
        if planted!($fault) { $wrong } else { $right }
    };
}

/// Which one is planted: its place in [`Fault::ALL`] from 1 on; 0: none.
static PLANTED: AtomicUsize = AtomicUsize::new(0);

macro_rules! faults {
    ($($(#[$what:meta])* $name:ident,)*) => {
        /// A bug that can be planted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Fault {
            $($(#[$what])* $name,)*
        }

        impl Fault {
            /// All of them.
            pub const ALL: &[Fault] = &[$(Fault::$name,)*];

            /// Its name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Fault::$name => stringify!($name),)*
                }
            }
        }
    };
}

faults! {
    /// A commit does not wait until it is on disk.
    CommitsDoNotWait,
    /// The commits of work that would only be done again do not wait: claims, expiry, lapses.
    ClaimsDoNotWait,
    /// A commit that failed is answered as if it had not.
    FailedCommitIsSuccess,
    /// Callers are answered before the commit.
    AnswersBeforeCommit,
    /// The processor is asked before the attempt is committed.
    AsksBeforeCommit,
    /// A call whose lease has ended counts as failed.
    LostCallIsFailed,
    /// A call whose answer says nothing counts as failed.
    NoAnswerIsFailed,
    /// A look-up that finds nothing is believed at once.
    NotFoundIsFinal,
    /// A second report of the same success counts as further money.
    SecondSuccessCounts,
    /// What a look-up brings to completion grants nothing.
    LookupGrantsNothing,
    /// A refund may be larger than what is left of the charge.
    RefundNotBounded,
    /// What a refund in flight is about to give back is not reserved.
    RefundNotReserved,
    /// A refund of which nobody knows what came frees what it had reserved.
    UnknownRefundFrees,
    /// A second success of the same call under another name counts as the first.
    SurplusOverlooked,
    /// A second success that was written down counts once more when it is told again.
    SurplusCountsAgain,
    /// A refund that the service tells of is one that was made there, though one is in doubt here.
    RefundCountedTwice,
    /// What a service tells under a name that it used before is taken for new.
    NoticeNotDeduplicated,
    /// Something that the service tells of before it is known here is given up.
    UnknownIsGivenUp,
    /// A capture of which nobody knows what came counts as failed.
    CaptureInDoubtIsFailed,
    /// A setup whose call lost its lease counts as failed.
    LostSetupIsFailed,
    /// A payment method that was detached can be charged.
    DetachedIsCharged,
    /// That a processor cannot tell whether it has called something off counts as if it had.
    CancelNotConfirmed,
    /// A session whose time has passed, and that nobody has closed yet, can be paid.
    OverdueIsPaid,
    /// A call may be made for longer than its answer is waited for.
    DeadlinePastLease,
    /// The session to be paid is read before the write, and not again in it.
    SessionReadBeforeTheWrite,
    /// Another session of an order is not looked for.
    OrderNotLookedFor,
    /// What was answered under an idempotency key is not written down.
    KeyForgotten,
    /// A key that comes with another request is answered as the first.
    KeyNotCompared,
    /// A read shows an earlier time than another before it, when the host's clock was set back.
    ReadsGoBack,
    /// A write does not know what time was shown.
    WritesGoBack,
    /// What time has changed in an entitlement is not written down before a grant changes it.
    TimeNotFolded,
    /// A delivery is marked as delivered before it is sent.
    DeliveredBeforeSent,
    /// A claimed delivery stays due for others.
    ClaimWithoutLease,
    /// Two deliveries about one object are on their way at once.
    OrderIgnored,
    /// The last of several events of one move is delivered to nobody.
    EventWithoutDelivery,
    /// A page that is full is taken for the last one.
    PageEndsEarly,
}

impl Fault {
    /// The one of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Fault> {
        Fault::ALL.iter().copied().find(|fault| fault.name() == name)
    }
}

/// Plants one in the whole process, in place of another.
pub fn plant(fault: Option<Fault>) {
    let place = Fault::ALL.iter().position(|known| Some(*known) == fault);
    PLANTED.store(place.map_or(0, |place| place + 1), Ordering::SeqCst);
}

/// Whether this one is planted.
pub(crate) fn is(fault: Fault) -> bool {
    let planted = PLANTED.load(Ordering::SeqCst).checked_sub(1);
    planted.and_then(|place| Fault::ALL.get(place)) == Some(&fault)
}
