use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::chance::Chance;
use super::locked;
use super::sim::Outside;
use crate::hook::{Capabilities, Clock, Lookup, LookupKey, Operation, Outcome, Processor, Request};
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

/// What the service knows.
#[derive(Default)]
struct Ledger {
    capabilities: Option<Capabilities>,
    /// What it is told to do with the next requests.
    told: VecDeque<Told>,
    /// What it is told to say to the next look-ups.
    lookups: VecDeque<Lookup>,
    /// What it took and gave back, by idempotency key.
    booked: BTreeMap<String, Taken>,
    requests: Vec<Request>,
    looked_up: usize,
    /// What it refused, by idempotency key.
    declined: BTreeSet<String>,
    /// What becomes of requests later, by idempotency key.
    later: BTreeMap<String, Later>,
    /// What it draws from when it is not told.
    mood: Option<Chance>,
}

/// Money that was taken, or given back.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Taken {
    /// The idempotency key that it was asked for under.
    pub idempotency_key: String,
    /// Whether it was taken or given back.
    pub operation: Operation,
    /// The key of what was taken, where this was given back.
    pub of: Option<String>,
    /// The checkout session that was paid.
    pub session: String,
    /// The service's own name for the payment.
    pub reference: String,
    /// In minor units.
    pub amount: i64,
    /// The upper-case ISO 4217 code.
    pub currency: String,
}

/// What becomes of a request at a time that has yet to come.
#[derive(Clone)]
struct Later {
    /// None: when it is asked about next.
    at: Option<Timestamp>,
    taken: Taken,
    /// Whether the service knows of the request until then.
    known: bool,
    /// Whether the money is taken then.
    succeeds: bool,
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
    pub(super) fn within(mut self, outside: Arc<dyn Outside>) -> FakeProcessor {
        self.outside = Some(outside);
        self
    }

    /// Ends its varying temper.
    pub(super) fn calm(&self) {
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
    /// is not found 60 seconds after a call never will be.
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
        self.booked(|operation| operation != Operation::Refund)
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
        self.ledger().take(request)
    }

    fn do_as_told(&self, told: Told, request: &Request, deadline: Timestamp) -> Outcome {
        match told {
            Told::Answer(outcome) => {
                if matches!(outcome, Outcome::Declined { .. }) {
                    self.ledger().declined.insert(request.idempotency_key.clone());
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
            told.unwrap_or_else(|| ledger.mood.as_mut().map_or(Told::Take, Told::drawn))
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
}

impl Ledger {
    fn take(&mut self, request: &Request) -> Outcome {
        let taken = taken(request);
        let outcome = succeeded(&taken);
        if self.book(request.idempotency_key.clone(), taken) {
            outcome
        } else {
            declined()
        }
    }

    /// Moves the money. It does not give back more than it took; then it declines, and this is false.
    fn book(&mut self, key: String, taken: Taken) -> bool {
        if taken.operation == Operation::Refund && taken.amount > self.left_of(taken.of.as_deref()) {
            self.declined.insert(key);
            return false;
        }
        self.booked.insert(key, taken);
        true
    }

    /// How much of what it took under a key it has not given back.
    fn left_of(&self, key: Option<&str>) -> i64 {
        let Some(paid) = key.and_then(|key| self.booked.get(key)) else {
            return 0;
        };
        let back = self.booked.values().filter(|taken| taken.of.as_deref() == key);
        paid.amount - back.map(|taken| taken.amount).sum::<i64>()
    }

    fn expect(&mut self, request: &Request, at: Option<Timestamp>, known: bool, succeeds: bool) -> String {
        let taken = taken(request);
        let reference = taken.reference.clone();
        let later = Later {
            at,
            taken,
            known,
            succeeds,
        };
        self.later.insert(request.idempotency_key.clone(), later);
        reference
    }

    /// Carries out what has become due.
    fn catch_up(&mut self, now: Option<Timestamp>) {
        let is_due = |later: &Later| matches!((later.at, now), (Some(at), Some(now)) if at <= now);
        let due = self.later.iter().filter(|(_, later)| is_due(later));
        let due: Vec<String> = due.map(|(key, _)| key.clone()).collect();
        for key in due {
            self.carry_out(key);
        }
    }

    fn carry_out(&mut self, key: String) {
        match self.later.remove(&key) {
            Some(later) if later.succeeds => drop(self.book(key, later.taken)),
            Some(_) => drop(self.declined.insert(key)),
            None => {}
        }
    }

    /// What is known of a request.
    fn known(&mut self, key: &str, now: Option<Timestamp>) -> Option<Outcome> {
        self.catch_up(now);
        if self.later.get(key).is_some_and(|later| later.at.is_none()) {
            self.carry_out(key.to_owned());
        }
        if let Some(taken) = self.booked.get(key) {
            return Some(succeeded(taken));
        }
        if self.declined.contains(key) {
            return Some(declined());
        }
        let later = self.later.get(key).filter(|later| later.known)?;
        let reference = later.taken.reference.clone();
        Some(Outcome::Pending { reference })
    }
}

impl Told {
    /// What a service of varying temper does.
    fn drawn(mood: &mut Chance) -> Told {
        match mood.below(100) {
            0..=47 => Told::Take,
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

fn taken(request: &Request) -> Taken {
    Taken {
        idempotency_key: request.idempotency_key.clone(),
        operation: request.operation,
        of: request.related.as_ref().map(|paid| paid.idempotency_key.clone()),
        session: request.session.clone(),
        reference: format!("till_{}", request.attempt),
        amount: request.amount,
        currency: request.currency.clone(),
    }
}

fn succeeded(taken: &Taken) -> Outcome {
    let currency = crate::money::Currency::parse(&taken.currency);
    let amount = currency.and_then(|currency| crate::money::Amount::minor(taken.amount, currency));
    match amount {
        Ok(amount) => Outcome::succeeded(&taken.reference, amount),
        Err(_) => lost("an amount that cannot be"),
    }
}

fn declined() -> Outcome {
    Outcome::Declined {
        code: "insufficient_funds".to_owned(),
        message: String::new(),
        advice: None,
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
            Told::Panic => "Panic",
            Told::Meanwhile(_) => "Meanwhile",
        })
    }
}
