use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

mod ledger;
mod news;

pub use ledger::Taken;
pub(in crate::testing) use news::is_unasked;

use ledger::{Ledger, declined};

use super::chance::Chance;
use super::locked;
use super::sim::Outside;
use crate::hook::{
    Ability, Cancel, Capabilities, Clock, DisputeState, Lookup, LookupKey, Notice, Operation, Outcome, Post, Processor,
    Reception, Request,
};
use crate::id::{SessionId, SetupId};
use crate::time::Timestamp;

/// A payment service in memory, with a ledger of its own that outlives every engine. It does as it
/// is told, one request after the other; untold, it takes the money, or gives it back. Clones are the same service.
///
/// It keeps the contract of [`Processor`]: it recognises a repetition by its idempotency key, moves
/// no money after the deadline of a call, gives back no more than it took, and what it does not find 60
/// seconds after a call it will never find.
///
/// It reads the time from [`FakeProcessor::clock`], which is best the engine's own. Without one it
/// takes no call for too late, and what is to happen later has happened when it is next asked about
/// that payment.
#[derive(Clone, Default)]
pub struct FakeProcessor {
    ledger: Arc<Mutex<Ledger>>,
    clock: Option<Arc<dyn Clock>>,
    outside: Option<Arc<dyn Outside>>,
}

/// What a [`FakeProcessor`] is told to do with a request.
#[non_exhaustive]
pub enum Told {
    /// Answer this and nothing else.
    Answer(Outcome),
    /// Take the money and say so.
    Take,
    /// Take the money, and lose the answer on its way.
    TakeAndLose,
    /// Lose the request on its way: nothing is taken, and nobody knows.
    LoseRequest,
    /// Lose sight of the request: the money is taken so much later, within the call's time. Without
    /// [`FakeProcessor::clock`] it is taken when the service is next asked about the payment.
    ArriveLate(Duration),
    /// Accept it and know only later whether the money is taken.
    Pend {
        /// After how long it is known. Without [`FakeProcessor::clock`] it is known when the service is
        /// next asked about the payment.
        after: Duration,
        /// Whether it will be taken.
        taken: bool,
    },
    /// Wait for the buyer to do something: [`FakeProcessor::act`] is that. It has a quarter of an hour
    /// for it.
    AskBuyer,
    /// Panic before anything happened.
    Panic,
    /// Run this in the middle of the call, then take the money.
    Meanwhile(Box<dyn FnOnce() + Send>),
}

impl FakeProcessor {
    /// A service that takes whatever it is asked to.
    #[must_use]
    pub fn new() -> FakeProcessor {
        FakeProcessor::default()
    }

    /// A service of varying temper, by a seed: it declines, loses requests and answers, is slow, and
    /// sometimes cannot be asked.
    #[must_use]
    pub fn moody(seed: u64) -> FakeProcessor {
        let processor = FakeProcessor::new();
        processor.ledger().mood = Some(Chance::new(seed));
        processor
    }

    /// The same service, by this clock: that of the engine which calls it, so that both mean the same
    /// by *later*.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock + 'static) -> FakeProcessor {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// The same service, reached through a world that may be gone.
    pub(in crate::testing) fn within(mut self, outside: Arc<dyn Outside>) -> FakeProcessor {
        self.outside = Some(outside);
        self
    }

    /// Ends its varying temper.
    pub(in crate::testing) fn calm(&self) {
        self.ledger().mood = None;
    }

    /// Says what to do with the next request that nothing was said about yet.
    pub fn tell(&self, told: Told) {
        self.ledger().told.push_back(told);
    }

    /// Says what to answer to the next request.
    pub fn answer(&self, outcome: Outcome) {
        self.tell(Told::Answer(outcome));
    }

    /// Says what to answer to the next look-up that nothing was said about yet.
    pub fn answer_lookup(&self, lookup: Lookup) {
        self.ledger().lookups.push_back(lookup);
    }

    /// Takes back what was said about requests and look-ups that have not come.
    pub fn untell(&self) {
        let mut ledger = self.ledger();
        ledger.told.clear();
        ledger.lookups.clear();
    }

    /// Says what it says of itself. Unless it is told: keys hold for a day, there are look-ups, and what
    /// is not found 60 seconds after a call never will be; it saves payment methods, with a payment and
    /// without. What its capabilities rule out, it declines.
    pub fn set_capabilities(&self, capabilities: Capabilities) {
        self.ledger().capabilities = Some(capabilities);
    }

    /// Puts charges in its ledger, as those that another service had taken when its world was copied.
    pub fn add_charges(&self, charges: impl IntoIterator<Item = Taken>) {
        let charges = charges.into_iter().map(|taken| (taken.idempotency_key.clone(), taken));
        let charges: Vec<_> = charges.collect();
        self.ledger().booked.extend(charges);
    }

    /// What was taken so far, in the order of the idempotency keys.
    #[must_use]
    pub fn charges(&self) -> Vec<Taken> {
        self.booked(|operation| matches!(operation, Operation::Charge | Operation::Capture))
    }

    /// What was given back so far, in the order of the idempotency keys.
    #[must_use]
    pub fn refunds(&self) -> Vec<Taken> {
        self.booked(|operation| operation == Operation::Refund)
    }

    fn booked(&self, wanted: impl Fn(Operation) -> bool) -> Vec<Taken> {
        let now = self.now();
        let mut ledger = self.ledger();
        ledger.catch_up(now);
        let booked = ledger.booked.values().filter(|taken| wanted(taken.operation));
        booked.cloned().collect()
    }

    /// The payment methods that it saved without taking money, in the order of the idempotency keys.
    #[must_use]
    pub fn setups(&self) -> Vec<Taken> {
        self.booked(|operation| operation == Operation::Setup)
    }

    /// What it holds for now, to be taken or given free, in the order of the idempotency keys.
    #[must_use]
    pub fn holds(&self) -> Vec<Taken> {
        let ledger = self.ledger();
        let held = ledger.booked.keys().filter(|key| ledger.held_under(Some(key)) > 0);
        held.filter_map(|key| ledger.booked.get(key)).cloned().collect()
    }

    /// It takes what was asked for once more, as a service does that loses count: a second payment of the
    /// same request, under another name, which is answered. None if nothing was taken in the session.
    #[must_use]
    pub fn take_again(&self, session: &SessionId) -> Option<Taken> {
        self.ledger().take_again(session.as_str())
    }

    /// The same for a session that nothing else happened in; true if it did.
    pub(in crate::testing) fn lose_count(&self, session: &str) -> bool {
        self.ledger().lose_count(session)
    }

    /// Somebody gives back at the service what was taken in a session, or a part; true if there was anything.
    pub(in crate::testing) fn refund_by_hand(&self, session: &str, part: i64) -> bool {
        self.ledger().refund_by_hand(session, part)
    }

    /// The buyer disputes what was taken in a session, or a part; where that is so, the bank decides.
    pub(in crate::testing) fn dispute(&self, session: &str, part: i64, decided: DisputeState) -> bool {
        self.ledger().dispute(session, part, decided)
    }

    /// How much was lost in disputes about each session.
    pub(in crate::testing) fn lost(&self) -> Vec<(String, i64)> {
        let ledger = self.ledger();
        let lost = ledger.disputes.values();
        let lost = lost.filter(|disputed| disputed.state == DisputeState::Lost);
        lost.map(|disputed| (disputed.session.clone(), disputed.amount))
            .collect()
    }

    /// What it has to tell by itself, in the order in which it happened.
    pub(in crate::testing) fn news(&self) -> Vec<Notice> {
        let now = self.now();
        let mut ledger = self.ledger();
        ledger.catch_up(now);
        ledger.news.clone()
    }

    /// The buyer acts on what waits for them in a session: approves it, or not. True if something did.
    #[must_use]
    pub fn act(&self, session: &SessionId, approves: bool) -> bool {
        let now = self.now();
        self.ledger().act(session.as_str(), approves, now) > 0
    }

    /// What it would post to the host to say this: give it to [`crate::Notifications::receive`], once, twice,
    /// late or never.
    pub fn post(&self, notices: impl IntoIterator<Item = Notice>) -> Posted {
        let mut ledger = self.ledger();
        ledger.posted.push(notices.into_iter().collect());
        Posted {
            headers: vec![(SIGNATURE.to_owned(), SIGNED.to_owned())],
            body: ledger.posted.len().to_string().into_bytes(),
        }
    }

    /// The same for a setup that waits for the buyer.
    #[must_use]
    pub fn act_on_setup(&self, setup: &SetupId, approves: bool) -> bool {
        let now = self.now();
        self.ledger().act(setup.as_str(), approves, now) > 0
    }

    /// Every request that reached it, in order.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.ledger().requests.clone()
    }

    /// How often it was asked to look something up.
    #[must_use]
    pub fn looked_up(&self) -> usize {
        self.ledger().looked_up
    }

    /// Nobody outside gets it: who held it over a call into an engine would wait for itself.
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        locked(&self.ledger)
    }

    fn is_reached(&self) -> bool {
        self.outside.as_ref().is_none_or(|outside| outside.is_reached())
    }

    /// The time; none without a clock.
    fn now(&self) -> Option<Timestamp> {
        self.clock.as_ref().map(Clock::now)
    }

    fn take(&self, request: &Request, deadline: Timestamp) -> Outcome {
        // A call that hangs past its time is given up, as its contract asks for.
        if !self.is_reached() || self.now().is_some_and(|now| now > deadline) {
            return lost("the call came to nothing");
        }
        let now = self.now();
        let known = self.capabilities();
        let is_first = matches!(request.operation, Operation::Charge | Operation::Authorize);
        if is_first && request.money().is_ok_and(|money| known.takes("", money).is_err()) {
            return self.ledger().refuse(request);
        }
        self.ledger().take(request, now)
    }

    fn do_as_told(&self, told: Told, request: &Request, deadline: Timestamp) -> Outcome {
        match told {
            Told::Answer(outcome) => {
                if matches!(outcome, Outcome::Declined { .. }) {
                    self.ledger().refuse(request);
                }
                outcome
            }
            Told::Take => self.take(request, deadline),
            Told::TakeAndLose => {
                self.take(request, deadline);
                lost("the connection broke")
            }
            Told::LoseRequest => lost("the connection broke"),
            Told::ArriveLate(after) => {
                let at = self.now().map(|now| now.plus(after).min(deadline));
                self.ledger().expect(request, at, false, true);
                lost("the call timed out")
            }
            Told::Pend { after, taken } => {
                let at = self.now().map(|now| now.plus(after));
                let reference = self.ledger().expect(request, at, true, taken);
                Outcome::Pending { reference }
            }
            Told::AskBuyer => self.ledger().await_buyer(request),
            #[allow(clippy::panic, reason = "a processor of a test panics where it is told to")]
            Told::Panic => panic!("told to panic"),
            Told::Meanwhile(action) => {
                action();
                self.take(request, deadline)
            }
        }
    }
}

impl Processor for FakeProcessor {
    fn capabilities(&self) -> Capabilities {
        self.ledger().capabilities.clone().unwrap_or_else(|| {
            Capabilities::new()
                .idempotency_window(Duration::from_secs(86_400))
                .lookup()
                .not_found_final_after(Duration::from_secs(60))
                .can(Ability::SaveMethods)
                .can(Ability::Setup)
        })
    }

    fn execute(&self, request: &Request, deadline: Timestamp) -> Outcome {
        if !self.is_reached() {
            return lost("the world is gone");
        }
        let now = self.now();
        let told = {
            let mut ledger = self.ledger();
            ledger.requests.push(request.clone());
            if let Some(known) = ledger.known(&request.idempotency_key, now) {
                return known;
            }
            let told = ledger.told.pop_front();
            let is_first = request.related.is_none();
            told.unwrap_or_else(|| {
                ledger
                    .mood
                    .as_mut()
                    .map_or(Told::Take, |mood| Told::drawn(mood, is_first))
            })
        };
        let answer = self.do_as_told(told, request, deadline);
        // What happens on the way back is nothing to the service.
        if !self.is_reached() {
            return lost("the world is gone");
        }
        answer
    }

    fn lookup(&self, key: &LookupKey<'_>) -> Lookup {
        let why = || "the service does not answer".to_owned();
        if !self.is_reached() {
            return Lookup::CannotTell { why: why() };
        }
        let now = self.now();
        let mut ledger = self.ledger();
        ledger.looked_up += 1;
        if let Some(told) = ledger.lookups.pop_front() {
            return told;
        }
        if ledger.mood.as_mut().is_some_and(|mood| mood.percent(10)) {
            return Lookup::CannotTell { why: why() };
        }
        match ledger.known(&key.request.idempotency_key, now) {
            Some(outcome) => Lookup::Found(outcome),
            None => Lookup::NotFound,
        }
    }

    fn cancel(&self, key: &LookupKey<'_>) -> Cancel {
        let why = || "the service does not answer".to_owned();
        if !self.is_reached() {
            return Cancel::CannotTell { why: why() };
        }
        let now = self.now();
        let mut ledger = self.ledger();
        if ledger.mood.as_mut().is_some_and(|mood| mood.percent(10)) {
            return Cancel::CannotTell { why: why() };
        }
        ledger.call_off(&key.request.idempotency_key, now)
    }

    fn receive(&self, post: &Post<'_>) -> Reception {
        if post.header(SIGNATURE) != Some(SIGNED) {
            return Reception::refused("the signature is wrong");
        }
        let number = std::str::from_utf8(post.body)
            .ok()
            .and_then(|text| text.parse::<usize>().ok());
        let ledger = self.ledger();
        let posted = number.and_then(|number| ledger.posted.get(number.checked_sub(1)?));
        match posted {
            Some(notices) => Reception::genuine(notices.clone()),
            None => Reception::refused("nothing was posted under that number"),
        }
    }
}

/// The header of a [`FakeProcessor`] that says that a post is its own, and what stands there.
const SIGNATURE: &str = "till-signature";
const SIGNED: &str = "genuine";

/// What a [`FakeProcessor`] posts to the host.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Posted {
    /// Names and values of the headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Posted {
    /// The headers as [`crate::Notifications::receive`] takes them.
    #[must_use]
    pub fn headers(&self) -> Vec<(&str, &str)> {
        let headers = self.headers.iter();
        headers.map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }
}

impl Told {
    /// What a service of varying temper does; only what starts a payment is put before the buyer.
    fn drawn(mood: &mut Chance, is_first: bool) -> Told {
        match mood.below(100) {
            0..=43 => Told::Take,
            44..=47 if is_first => Told::AskBuyer,
            44..=47 => Told::Take,
            48..=61 => Told::Answer(declined()),
            62..=67 => Told::Answer(Outcome::NotSent {
                why: "no connection".to_owned(),
            }),
            68..=77 => Told::TakeAndLose,
            78..=87 => Told::LoseRequest,
            88..=93 => Told::ArriveLate(Duration::from_secs(mood.below(25))),
            _ => Told::Pend {
                after: Duration::from_secs(mood.below(600)),
                taken: mood.percent(60),
            },
        }
    }
}

fn lost(why: &str) -> Outcome {
    Outcome::Unknown { why: why.to_owned() }
}

impl fmt::Debug for FakeProcessor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let booked = self.ledger().booked.len();
        f.debug_struct("FakeProcessor")
            .field("booked", &booked)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Told::Answer(_) => "Answer",
            Told::Take => "Take",
            Told::TakeAndLose => "TakeAndLose",
            Told::LoseRequest => "LoseRequest",
            Told::ArriveLate(_) => "ArriveLate",
            Told::Pend { .. } => "Pend",
            Told::AskBuyer => "AskBuyer",
            Told::Panic => "Panic",
            Told::Meanwhile(_) => "Meanwhile",
        })
    }
}
