//! What a payment service knows, and what it says of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::news::Disputed;
use super::{Told, lost};
use crate::hook::{Action, Cancel, Capabilities, Lookup, Notice, Operation, Outcome, Receipt, Request, SavedMethod};
use crate::money::{Amount, Currency};
use crate::testing::chance::Chance;
use crate::time::Timestamp;

/// How long a buyer may take to act.
const TO_ACT: Duration = Duration::from_secs(900);

/// How long an amount is held.
const HELD_FOR: Duration = Duration::from_secs(86_400);

/// What the service knows.
#[derive(Default)]
pub(super) struct Ledger {
    pub(super) capabilities: Option<Capabilities>,
    /// What it is told to do with the next requests.
    pub(super) told: VecDeque<Told>,
    /// What it is told to say to the next look-ups.
    pub(super) lookups: VecDeque<Lookup>,
    /// What it did with money, by idempotency key.
    pub(super) booked: BTreeMap<String, Taken>,
    pub(super) requests: Vec<Request>,
    /// What it posted, by number from 1 on.
    pub(super) posted: Vec<Vec<Notice>>,
    pub(super) looked_up: usize,
    /// What it has to tell by itself, in the order in which it happened.
    pub(super) news: Vec<Notice>,
    /// Disputes, by its own names for them.
    pub(super) disputes: BTreeMap<String, Disputed>,
    /// What it refused, by idempotency key.
    pub(super) declined: BTreeSet<String>,
    /// What it was asked to call off, by idempotency key: nothing comes of it any more.
    called_off: BTreeSet<String>,
    /// What becomes of requests later, by idempotency key.
    later: BTreeMap<String, Later>,
    /// What waits for the buyer, by idempotency key.
    acting: BTreeMap<String, Request>,
    /// What it draws from when it is not told.
    pub(super) mood: Option<Chance>,
}

/// Something that was done with money: taken, held, given free, or given back.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Taken {
    /// The idempotency key that it was asked for under.
    pub idempotency_key: String,
    /// What was done.
    pub operation: Operation,
    /// The key of the payment that it was done with, where that is another one.
    pub of: Option<String>,
    /// The checkout session that was paid.
    pub session: String,
    /// The service's own name for it.
    pub reference: String,
    /// In minor units.
    pub amount: i64,
    /// The upper-case ISO 4217 code.
    pub currency: String,
    /// The token under which it keeps the buyer's method, where it was asked to save it.
    pub saved: Option<String>,
    /// Its own name for the customer, where there is a method that it keeps.
    pub customer_ref: Option<String>,
    /// Until when it is held, where it is and the service has a clock.
    pub held_until: Option<Timestamp>,
}

/// What becomes of a request at a time that has yet to come.
#[derive(Clone)]
struct Later {
    /// None: when it is asked about next.
    at: Option<Timestamp>,
    taken: Taken,
    /// Whether the service knows of the request until then.
    known: bool,
    /// Whether it is done then.
    succeeds: bool,
}

impl Ledger {
    /// Does as a request asks, if that can be done.
    pub(super) fn take(&mut self, request: &Request, now: Option<Timestamp>) -> Outcome {
        let key = &request.idempotency_key;
        if self.called_off.contains(key) {
            return called_off();
        }
        let taken = Taken::by(request, now);
        let outcome = taken.outcome();
        if self.book(key.clone(), taken) {
            outcome
        } else {
            declined()
        }
    }

    /// Moves the money. It gives back no more than it took, and takes or gives free only what it
    /// holds; else it declines, and this is false.
    fn book(&mut self, key: String, taken: Taken) -> bool {
        let of = taken.of.as_deref();
        let can_be = match taken.operation {
            Operation::Refund => taken.amount <= self.left_of(of),
            Operation::Capture => taken.amount <= self.held_under(of),
            Operation::Void => self.held_under(of) > 0,
            _ => true,
        };
        if can_be {
            self.booked(&taken);
            self.booked.insert(key, taken);
        } else {
            self.decline(key, &taken.reference);
        }
        can_be
    }

    /// Refuses the request under a key for good.
    fn decline(&mut self, key: String, reference: &str) {
        self.declined.insert(key);
        self.came(reference, declined());
    }

    /// Refuses a request for good.
    pub(super) fn refuse(&mut self, request: &Request) -> Outcome {
        self.decline(request.idempotency_key.clone(), &reference(request));
        declined()
    }

    /// How much of what it took for the payment under a key it has not given back.
    pub(super) fn left_of(&self, key: Option<&str>) -> i64 {
        let is_about = |taken: &&Taken| taken.of.as_deref() == key || Some(taken.idempotency_key.as_str()) == key;
        let about = self.booked.values().filter(is_about);
        about
            .map(|taken| match taken.operation {
                Operation::Charge | Operation::Capture => taken.amount,
                Operation::Refund => -taken.amount,
                _ => 0,
            })
            .sum::<i64>()
            - self.lost_of(key)
    }

    /// How much it holds of the payment under a key: nothing once it was taken or given free.
    pub(super) fn held_under(&self, key: Option<&str>) -> i64 {
        let held = key.and_then(|key| self.booked.get(key));
        let held = held.filter(|taken| taken.operation == Operation::Authorize);
        let is_over = |taken: &Taken| {
            taken.of.as_deref() == key && matches!(taken.operation, Operation::Capture | Operation::Void)
        };
        match held {
            Some(held) if !self.booked.values().any(is_over) => held.amount,
            _ => 0,
        }
    }

    /// Does as a request asks at a later time; answers its own name for that.
    pub(super) fn expect(&mut self, request: &Request, at: Option<Timestamp>, known: bool, succeeds: bool) -> String {
        let taken = Taken::by(request, at);
        let reference = taken.reference.clone();
        let later = Later {
            at,
            taken,
            known,
            succeeds,
        };
        self.later.insert(request.idempotency_key.clone(), later);
        if known {
            let pending = Outcome::Pending {
                reference: reference.clone(),
            };
            self.came(&reference, pending);
        }
        reference
    }

    /// Lets a request wait for the buyer.
    pub(super) fn await_buyer(&mut self, request: &Request) -> Outcome {
        self.acting.insert(request.idempotency_key.clone(), request.clone());
        self.came(&reference(request), requires_action(request));
        requires_action(request)
    }

    /// The buyer acts on everything that waits for them in a session: approves it, or not.
    pub(super) fn act(&mut self, session: &str, approves: bool, now: Option<Timestamp>) -> usize {
        let of_session = self.acting.iter().filter(|(_, request)| request.session == session);
        let keys: Vec<String> = of_session.map(|(key, _)| key.clone()).collect();
        for key in &keys {
            match self.acting.remove(key) {
                Some(request) if approves => drop(self.take(&request, now)),
                Some(request) => drop(self.refuse(&request)),
                None => {}
            }
        }
        keys.len()
    }

    /// Sees to it that nothing comes of a request any more, if it is not too late for that.
    pub(super) fn call_off(&mut self, key: &str, now: Option<Timestamp>) -> Cancel {
        let is_capture = |taken: &&Taken| taken.of.as_deref() == Some(key) && taken.operation == Operation::Capture;
        if let Some(captured) = self.booked.values().find(is_capture) {
            return Cancel::TooLate(captured.outcome());
        }
        if self.held_under(Some(key)) == 0
            && let Some(outcome) = self.known(key, now)
            && matches!(outcome, Outcome::Succeeded(_) | Outcome::Declined { .. })
        {
            return Cancel::TooLate(outcome);
        }
        let held = self.booked.remove(key).map(|taken| taken.reference);
        let later = self.later.remove(key).map(|later| later.taken.reference);
        let acting = self.acting.remove(key).map(|request| reference(&request));
        if let Some(name) = held.or(later).or(acting) {
            self.came(&name, called_off());
        }
        self.called_off.insert(key.to_owned());
        Cancel::Canceled
    }

    /// Carries out what has become due.
    pub(super) fn catch_up(&mut self, now: Option<Timestamp>) {
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
            Some(later) => self.decline(key, &later.taken.reference),
            None => {}
        }
    }

    /// What is known of a request.
    pub(super) fn known(&mut self, key: &str, now: Option<Timestamp>) -> Option<Outcome> {
        self.catch_up(now);
        if self.later.get(key).is_some_and(|later| later.at.is_none()) {
            self.carry_out(key.to_owned());
        }
        if let Some(taken) = self.booked.get(key) {
            return Some(taken.outcome());
        }
        if self.called_off.contains(key) {
            return Some(called_off());
        }
        if self.declined.contains(key) {
            return Some(declined());
        }
        if let Some(request) = self.acting.get(key) {
            return Some(requires_action(request));
        }
        let later = self.later.get(key).filter(|later| later.known)?;
        let reference = later.taken.reference.clone();
        Some(Outcome::Pending { reference })
    }
}

impl Taken {
    fn by(request: &Request, now: Option<Timestamp>) -> Taken {
        let saves = request.save_method || request.operation == Operation::Setup;
        Taken {
            idempotency_key: request.idempotency_key.clone(),
            operation: request.operation,
            of: request.related.as_ref().map(|paid| paid.idempotency_key.clone()),
            session: request.session.clone(),
            reference: reference(request),
            amount: request.amount,
            currency: request.currency.clone(),
            saved: saves.then(|| format!("saved_{}", request.method.as_deref().unwrap_or("hosted"))),
            customer_ref: request
                .customer_ref
                .clone()
                .or_else(|| saves.then(|| format!("till_cus_{}", request.attempt))),
            held_until: now
                .filter(|_| request.operation == Operation::Authorize)
                .map(|now| now.plus(HELD_FOR)),
        }
    }

    pub(super) fn outcome(&self) -> Outcome {
        let currency = Currency::parse(&self.currency);
        let Ok(amount) = currency.and_then(|currency| Amount::minor(self.amount, currency)) else {
            return lost("an amount that cannot be");
        };
        let mut receipt = Receipt::new(&self.reference, amount);
        if let Some(token) = &self.saved {
            let method = SavedMethod::new(token).brand("visa").last4("4242").expiry(12, 2099);
            receipt = receipt.saved_method(method);
        }
        if let Some(reference) = &self.customer_ref {
            receipt = receipt.customer_ref(reference);
        }
        match self.operation {
            Operation::Authorize => Outcome::Authorized {
                receipt,
                expires_at: self.held_until,
            },
            _ => Outcome::Succeeded(receipt),
        }
    }
}

fn reference(request: &Request) -> String {
    format!("till_{}", request.attempt)
}

fn requires_action(request: &Request) -> Outcome {
    Outcome::RequiresAction {
        reference: reference(request),
        action: Action::Redirect(format!("https://till.example/act/{}", request.attempt)),
        within: TO_ACT,
    }
}

fn called_off() -> Outcome {
    Outcome::Canceled {
        why: "it was called off".to_owned(),
    }
}

pub(super) fn declined() -> Outcome {
    Outcome::Declined {
        code: "insufficient_funds".to_owned(),
        message: String::new(),
        advice: None,
    }
}
