use std::fmt;

/// What holds in every run, whatever fails meanwhile. Printed, it is a few words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Invariant {
    /// An idempotency key stands for one request and gets one answer, however often it comes.
    OneAnswerPerKey,
    /// What somebody was told is not taken back, by nothing that happens later and by no crash.
    AnswersStayTrue,
    /// What was answered before a read began, the read shows.
    ReadsSeeAnswers,
    /// The payment service is made to take money for a session at most once.
    ChargedOnce,
    /// What the payment service told and was answered for is kept, once, and applied.
    NoticesAreApplied,
    /// What the payment service took is what the file says it took, session by session.
    ServicesLedger,
    /// What the payment service saved without taking money is a setup that succeeded, and the other way round.
    ServiceSaved,
    /// The money of the charges is the money of the events.
    MoneyIsConserved,
    /// No more is given back than was taken.
    RefundsWithinCaptures,
    /// A complete session is free, or paid by exactly one charge that began before its end.
    CompleteIsPaidOnce,
    /// When nothing is due any more, no payment is in flight.
    NothingStaysInFlight,
    /// What is complete, expired or succeeded stays so.
    FinalStatesStay,
    /// Every change of a state has its event, which begins where the one before it ended.
    OneEventPerMove,
    /// The positions of events have no gaps, and an event keeps its own.
    PositionsStay,
    /// A version of an entitlement has the same content whenever it is read.
    VersionsHaveOneContent,
    /// The versions of an entitlement are numbered without a gap.
    VersionsHaveNoGaps,
    /// What was sold was granted, once.
    SalesGrant,
    /// Every event has one delivery to each endpoint that wants it.
    OneDeliveryPerEvent,
    /// When nothing is due any more, every delivery has ended.
    DeliveriesEnd,
    /// What was delivered stays delivered.
    DeliveredStays,
    /// What was delivered has reached the receiver.
    DeliveredWasReceived,
    /// Every request that reaches the receiver is signed.
    SignaturesAreGood,
    /// Attempts of a delivery are as far apart, and as many, as the schedule has them.
    AttemptsFollowSchedule,
    /// Of the deliveries about one object to one endpoint, one is on its way at a time.
    OneAtATime,
    /// Each attempt of a delivery brings the same bytes.
    SameBytesAgain,
    /// A list, read page by page, is whole and in order.
    ListsAreWhole,
    /// Engine time never goes back.
    TimeNeverGoesBack,
    /// [`crate::Engine::verify`] finds nothing.
    FileIsClean,
    /// The file is used with a write-ahead log.
    FileHasItsLog,
    /// The secrets of endpoints stand in no file as they are.
    SecretsAreSealed,
    /// A call fails in the ways that are documented, and only where there is a reason.
    ErrorsAreDocumented,
    /// Nothing panics.
    NothingPanics,
    /// The host's own [`super::Program`] has nothing to say.
    Program,
    /// The host's own [`super::Program`] answers no error that it had to see to itself. The mistake is
    /// most likely in its call.
    ProgramsErrors,
}

impl Invariant {
    fn words(self) -> &'static str {
        match self {
            Invariant::OneAnswerPerKey => "a key has one answer",
            Invariant::AnswersStayTrue => "an answer stays true",
            Invariant::ReadsSeeAnswers => "a read sees what was answered before it",
            Invariant::ChargedOnce => "nobody is charged twice",
            Invariant::NoticesAreApplied => "what the service told is kept once and applied",
            Invariant::ServicesLedger => "the file says what the payment service took",
            Invariant::ServiceSaved => "the file says what the payment service saved",
            Invariant::MoneyIsConserved => "money is conserved",
            Invariant::RefundsWithinCaptures => "no more is refunded than was captured",
            Invariant::CompleteIsPaidOnce => "complete is paid once, in time",
            Invariant::NothingStaysInFlight => "nothing stays in flight",
            Invariant::FinalStatesStay => "final states never change",
            Invariant::OneEventPerMove => "one event per move",
            Invariant::PositionsStay => "positions have no gaps and stay",
            Invariant::VersionsHaveOneContent => "a version has one content",
            Invariant::VersionsHaveNoGaps => "versions have no gaps",
            Invariant::SalesGrant => "what was sold is granted",
            Invariant::OneDeliveryPerEvent => "every event has one delivery",
            Invariant::DeliveriesEnd => "every delivery ends",
            Invariant::DeliveredStays => "delivered stays delivered",
            Invariant::DeliveredWasReceived => "what was delivered was received",
            Invariant::SignaturesAreGood => "signatures are good",
            Invariant::AttemptsFollowSchedule => "attempts follow the schedule",
            Invariant::OneAtATime => "deliveries about one object leave one at a time",
            Invariant::SameBytesAgain => "a repetition has the same bytes",
            Invariant::ListsAreWhole => "lists are whole and in order",
            Invariant::TimeNeverGoesBack => "time never goes back",
            Invariant::FileIsClean => "the file passes its own checks",
            Invariant::FileHasItsLog => "the file is used with its log",
            Invariant::SecretsAreSealed => "secrets stand in no file",
            Invariant::ErrorsAreDocumented => "errors are of the documented kinds",
            Invariant::NothingPanics => "nothing panics",
            Invariant::Program => "the host's own",
            Invariant::ProgramsErrors => "the host's program answers errors of storage and state only",
        }
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}
