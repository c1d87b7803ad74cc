//! What a host does with an engine, and whether what it was answered can be.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use super::belief::Asked;
use super::plan::{Goods, Op};
use super::world::{World, euro};
use super::{Broken, Invariant, Program, violated};
use crate::catalog::NewPrice;
use crate::engine::{App, Ask, Budget, Engine};
use crate::entitlement::NewGrant;
use crate::error::{Error, Result, StorageKind};
use crate::hook::{Clock as _, SignedRequest, Transport as _};
use crate::id::SessionId;
use crate::money::Currency;
use crate::session::{NewLine, NewSession, Session};
use crate::testing::locked;
use crate::time::Timestamp;

/// A thread of a host's process.
pub(super) struct Host<'w> {
    pub(super) world: &'w World,
    pub(super) engine: &'w Engine,
    pub(super) app: App,
    pub(super) memory: &'w Memory,
    /// Whether the disk may fail at the moment, so that errors of storage are to be expected.
    pub(super) is_shaky: bool,
    pub(super) program: Option<&'w dyn Program>,
}

/// What a process knows for as long as it lives.
#[derive(Default)]
pub(super) struct Memory {
    /// The latest engine time that it was shown.
    pub(super) shown: Mutex<Option<Timestamp>>,
    /// Calls to the processor that it has put off.
    pub(super) put_off: Mutex<VecDeque<Ask>>,
}

/// What came of a call: what is written down of it, or that it cannot be.
pub(super) type Seen = std::result::Result<String, Broken>;

/// A name of the simulation's own: with a prefix that is promised in the documentation of [`Program`],
/// so that no program beside it has the same.
pub(super) fn own(name: impl fmt::Display) -> String {
    format!("tillite-sim-{name}")
}

pub(super) fn uid(buyer: u64) -> String {
    own(format_args!("buyer-{buyer}"))
}

/// The idempotency key that a session is made under.
pub(super) fn key_to_create(key: u64) -> String {
    own(format_args!("create-{key}"))
}

/// How long a pen can be bought: short, so that its time passes.
const SHORT: Duration = Duration::from_secs(30 * 60);

/// What is left of a lease when the host still sends.
const ENOUGH: Duration = Duration::from_secs(35);

/// The session that is asked for.
pub(super) fn order(asked: Asked) -> Result<NewSession> {
    let new = match asked.goods {
        Goods::Member => NewSession::tier("member", Currency::EUR),
        Goods::Gold => NewSession::tier("gold", Currency::EUR),
        Goods::Room => NewSession::empty()
            .line(NewLine::inline("A room", euro(2_40)?))
            .capture_later(),
        Goods::Pen => NewSession::empty()
            .line(NewLine::inline("A pen", euro(1_20)?))
            .expires_after(SHORT),
        Goods::Gift => NewSession::empty().line(NewLine::inline("A gift", euro(0)?)),
    };
    let new = new.for_uid(uid(asked.buyer));
    Ok(match asked.order {
        Some(order) => new.order_key(own(format_args!("order-{order}"))),
        None => new,
    })
}

/// Whether it is the state of an object that a call met.
fn stands_in_the_way(error: &Error) -> bool {
    // How much is held or left of a payment is a state too.
    error.field() == Some("amount")
        || matches!(
            error,
            Error::Refused(_)
                | Error::PaymentInProgress { .. }
                | Error::OrderTaken { .. }
                | Error::RefundTooLarge { .. }
                | Error::MethodUnusable { .. }
                | Error::UidTaken { .. }
                | Error::Deleted { .. }
        )
}

impl Host<'_> {
    /// Makes one call and takes in what it answers.
    #[allow(clippy::too_many_lines, reason = "an arm for each call that a host makes")]
    pub(super) fn act(&self, op: &Op) -> Seen {
        match op {
            Op::Create {
                key,
                buyer,
                goods,
                order,
            } => {
                let asked = Asked {
                    buyer: *buyer,
                    goods: *goods,
                    order: *order,
                };
                self.create(*key, asked)
            }
            Op::Pay { session, key } => self.pay(*session, *key),
            Op::PayByHand {
                session,
                asleep,
                answers,
                tells,
            } => self.pay_by_hand(*session, *asleep, (*answers, *tells)),
            Op::Call { answers, tells } => {
                let ask = locked(&self.memory.put_off).pop_front();
                ask.map_or_else(
                    || Ok("none was put off".to_owned()),
                    |ask| self.call(&ask, (*answers, *tells)),
                )
            }
            Op::Capture { session, part } => self.capture(*session, *part),
            Op::Void { session } => self.asking(*session, |id| self.app.sessions().void(id)),
            Op::GiveUp { session } => self.asking(*session, |id| self.app.sessions().cancel_payment(id)),
            Op::Refresh { session } => self.asking(*session, |id| self.app.sessions().refresh(id)),
            Op::Act { session, approves } => self.with_session(*session, |id| {
                let acted = self.world.till.act(id, *approves);
                Ok(format!("acted: {acted}"))
            }),
            Op::Refund { session, part, tells } => {
                let said = self.with_session(*session, |id| self.refund(id, *part))?;
                if *tells {
                    self.hear_at_once(1)?;
                }
                Ok(said)
            }
            Op::Tell { but, count } => self.hear(*but, *count),
            Op::Happen { payment, part, what } => Ok(self.happen(*payment, *part, *what)),
            Op::Save { buyer } => self.save(*buyer),
            Op::PaySaved { buyer } => self.pay_saved(*buyer),
            Op::Detach { buyer } => self.detach(*buyer),
            Op::Expire { session } => self.with_session(*session, |id| {
                let before = self.believed(id);
                self.or_refused(self.app.sessions().expire(id), |session| {
                    self.session(&session, before.as_ref())
                })
            }),
            Op::Look { session } => self.with_session(*session, |id| {
                let before = self.believed(id);
                let found = self.app.sessions().get(id);
                if matches!(found, Err(Error::NotFound { .. })) {
                    return violated(Invariant::ReadsSeeAnswers, format!("{id} is not found"));
                }
                self.answered(found, |session| self.session(&session, before.as_ref()))
            }),
            Op::Page { size } => self.page(*size),
            Op::Journal { size } => self.journal(*size),
            Op::Deliveries { size } => self.deliveries(*size),
            Op::History { buyer, size } => self.history(*buyer, *size),
            Op::Grant { key, buyer, days } => self.grant(*key, *buyer, *days),
            Op::Revoke { buyer } => {
                let newest = self.newest(*buyer);
                self.answered(
                    self.app.entitlements().revoke(&uid(*buyer), None, "it was asked for"),
                    |after| {
                        for entitlement in &after {
                            self.world.beliefs().see_entitlement(entitlement, newest)?;
                        }
                        Ok(format!("{} lines", after.len()))
                    },
                )
            }
            Op::Hold { buyer } => {
                let newest = self.newest(*buyer);
                self.answered(self.app.entitlements().get(&uid(*buyer)), |held| {
                    self.world.beliefs().see_entitlement(&held, newest)?;
                    Ok(format!("{} {} v{}", held.tier, held.active, held.version))
                })
            }
            Op::Price { amount } => {
                let price = euro(*amount).map(|amount| NewPrice::new("gold", amount).access_days(10));
                let set = price.and_then(|price| self.app.catalog().set_price(price));
                self.answered(set, |price| Ok(price.id.to_string()))
            }
            Op::RunDue { items } => {
                let ran = self.engine.run_due(Budget::items(*items));
                self.answered(ran, |ran| Ok(format!("{ran:?}")))
            }
            Op::Idle { minutes } => self.sleep(*minutes),
            Op::Send { items, forgets } => self.send(*items, *forgets),
            Op::Now => self.now(),
            Op::Turn(by) => {
                self.world.clock.turn(*by);
                Ok(self.world.clock.now().to_string())
            }
            Op::TurnBack(by) => {
                self.now()?;
                self.world.turn_back(*by);
                self.now()?;
                let gift = Asked {
                    buyer: 0,
                    goods: Goods::Gift,
                    order: None,
                };
                self.create(None, gift)
            }
            Op::Advance(by) => {
                let (before, shown) = (self.world.beliefs().now, *locked(&self.memory.shown));
                self.answered(self.app.advance(*by), |now| {
                    self.see_time(now, shown)?;
                    self.world.beliefs().see_time(now, before)?;
                    Ok(now.to_string())
                })
            }
            Op::Host(draw) => match self.program {
                Some(program) => self.programs_answer(program.act(&self.app, *draw)),
                None => Ok(String::new()),
            },
            Op::Fault { after, fault } => {
                self.world.disk.fault_after(*after, *fault);
                Ok(String::new())
            }
            Op::Heal => {
                self.world.disk.clear_faults();
                Ok(String::new())
            }
        }
    }

    /// Takes in an answer, or an error that may be.
    pub(super) fn answered<T>(&self, answer: Result<T>, take_in: impl FnOnce(T) -> Seen) -> Seen {
        match answer {
            Ok(value) => take_in(value),
            Err(error) if self.may_be(&error) => Ok(format!("error {}", error.code())),
            Err(error) => violated(Invariant::ErrorsAreDocumented, format!("{error:?}")),
        }
    }

    /// The same for a call that the state of an object may stand in the way of.
    pub(super) fn or_refused<T>(&self, answer: Result<T>, take_in: impl FnOnce(T) -> Seen) -> Seen {
        match answer {
            Err(error) if stands_in_the_way(&error) => Ok(error.code().to_owned()),
            answer => self.answered(answer, take_in),
        }
    }

    /// The same for what a host's program answers, which may be that of any call.
    fn programs_answer(&self, answer: Result<String>) -> Seen {
        let is_known = |error: &Error| matches!(error, Error::Storage(_)) || stands_in_the_way(error);
        match answer {
            Err(error) if !is_known(&error) => {
                violated(Invariant::ProgramsErrors, format!("act answered {error:?}: {error}"))
            }
            answer => self.or_refused(answer, Ok),
        }
    }

    /// Whether a call may fail like this, whatever it is.
    fn may_be(&self, error: &Error) -> bool {
        use StorageKind::{Busy, CantOpen, DiskFull, Io, OutcomeUnknown};
        match error {
            Error::Storage(error) => match error.kind {
                Busy => true,
                // That is no disk's doing.
                _ if error.detail.contains("constraint failed") => false,
                OutcomeUnknown | Io | DiskFull | CantOpen => self.is_shaky || self.world.disk.is_off(),
                _ => false,
            },
            _ => false,
        }
    }

    /// Takes in an engine time that was shown to this process, or given to something that a call has
    /// made, which began when `before` had been shown.
    pub(super) fn see_time(&self, at: Timestamp, before: Option<Timestamp>) -> std::result::Result<(), Broken> {
        if before.is_some_and(|before| at < before) {
            return violated(Invariant::TimeNeverGoesBack, format!("{at} after {before:?}"));
        }
        let mut shown = locked(&self.memory.shown);
        *shown = Some(at).max(*shown);
        Ok(())
    }

    fn now(&self) -> Seen {
        let before = *locked(&self.memory.shown);
        self.answered(self.app.now(), |now| {
            self.see_time(now, before)?;
            Ok(now.to_string())
        })
    }

    fn newest(&self, buyer: u64) -> i64 {
        self.world.beliefs().newest.get(&uid(buyer)).copied().unwrap_or(0)
    }

    /// What was last shown of a session.
    pub(super) fn believed(&self, id: &SessionId) -> Option<Session> {
        self.world.beliefs().sessions.get(id).cloned()
    }

    pub(super) fn session(&self, session: &Session, before: Option<&Session>) -> Seen {
        self.world.beliefs().see_session(session, before)?;
        Ok(format!("{} {:?}", session.id, session.state))
    }

    /// Calls for a session: for the newest every second time, which can most likely be paid.
    pub(super) fn with_session(&self, number: u64, call: impl FnOnce(&SessionId) -> Seen) -> Seen {
        let known = {
            let beliefs = self.world.beliefs();
            let count = beliefs.sessions.len().max(1) as u64;
            let back = if number.is_multiple_of(2) { 0 } else { number % count };
            let back = usize::try_from(back).unwrap_or(0);
            beliefs.sessions.keys().rev().nth(back).cloned()
        };
        known.map_or_else(|| Ok("nothing was made".to_owned()), |id| call(&id))
    }

    fn create(&self, key: Option<u64>, asked: Asked) -> Seen {
        let new = order(asked)?;
        let Some(key) = key else {
            let shown = *locked(&self.memory.shown);
            return self.or_refused(self.app.sessions().create(new), |session| {
                self.see_time(session.created_at, shown)?;
                self.session(&session, None)
            });
        };
        self.world.beliefs().asked.entry(key).or_default().insert(asked);
        let before = self.world.beliefs().created.get(&key).cloned();
        let known = before.as_ref().and_then(|(id, _)| self.believed(id));
        match self.app.sessions().create(new.idempotency_key(key_to_create(key))) {
            Ok(session) => {
                let mut beliefs = self.world.beliefs();
                if let Some((id, first)) = before
                    && (id != session.id || first != asked)
                {
                    let what = format!("key {key} made {id} for {first:?}, then {} for {asked:?}", session.id);
                    return violated(Invariant::OneAnswerPerKey, what);
                }
                // Somebody else may have been answered meanwhile.
                let first = beliefs
                    .created
                    .entry(key)
                    .or_insert_with(|| (session.id.clone(), asked));
                if first.0 != session.id {
                    let what = format!("key {key} made {} and {}", first.0, session.id);
                    return violated(Invariant::OneAnswerPerKey, what);
                }
                beliefs.see_session(&session, known.as_ref())?;
                Ok(format!("{} {:?}", session.id, session.state))
            }
            Err(Error::IdempotencyConflict { .. }) => {
                let same = before.is_some_and(|(_, first)| first == asked);
                let others = self
                    .world
                    .beliefs()
                    .asked
                    .get(&key)
                    .is_some_and(|asked| asked.len() > 1);
                if same || !others {
                    return violated(Invariant::OneAnswerPerKey, format!("key {key} conflicts with itself"));
                }
                Ok("conflict".to_owned())
            }
            Err(error) => self.or_refused(Err::<(), _>(error), |()| Ok(String::new())),
        }
    }

    /// Lets so much time pass, in which what falls due is done.
    pub(super) fn sleep(&self, minutes: u64) -> Seen {
        let until = self.world.clock.now().plus(Duration::from_secs(60 * minutes));
        self.answered(self.idle(until), |steps| Ok(format!("{steps} steps")))
    }

    /// Does what falls due until a time, and turns the clock to it. Answers in how many steps.
    fn idle(&self, until: Timestamp) -> Result<usize> {
        let mut steps = 0;
        loop {
            steps += 1;
            if self.engine.run_due(Budget::items(20))?.total() > 0 && steps < 50 {
                continue;
            }
            let now = self.world.clock.now();
            let due = self.engine.next_due()?.filter(|due| *due <= until && steps < 50);
            let to = due.map_or(until, |due| due.max(now.plus(Duration::from_millis(1))));
            self.world.clock.turn(to.since(now));
            if due.is_none() {
                return Ok(steps);
            }
        }
    }

    /// Delivers with the host's own hands, or takes what is due and forgets it.
    fn send(&self, items: usize, forgets: bool) -> Seen {
        self.answered(self.engine.claim_deliveries(items), |claimed| {
            let mut objects = BTreeSet::new();
            for delivery in &claimed {
                let object = object_of(&delivery.request);
                if object.is_some() && !objects.insert((&delivery.endpoint, object)) {
                    return violated(Invariant::OneAtATime, format!("{} is the second", delivery.id));
                }
            }
            let mut counted = 0;
            for delivery in claimed.iter().filter(|_| !forgets) {
                if self.world.clock.now().plus(ENOUGH) > delivery.lease_until {
                    continue;
                }
                let outcome = self.world.receiver.send(&delivery.request);
                match self.engine.acknowledge(delivery, &outcome) {
                    Ok(counts) => counted += usize::from(counts),
                    failed => return self.answered(failed, |_| Ok(String::new())),
                }
            }
            Ok(format!("{} taken, {counted} counted", claimed.len()))
        })
    }

    fn grant(&self, key: u64, buyer: u64, days: Option<u32>) -> Seen {
        let mut new = NewGrant::tier(uid(buyer), "member").idempotency_key(own(format_args!("grant-{key}")));
        if let Some(days) = days {
            new = new.days(days);
        }
        let newest = self.newest(buyer);
        self.world
            .beliefs()
            .to_grant
            .entry(key)
            .or_default()
            .insert((buyer, days));
        let before = self.world.beliefs().granted.get(&key).copied();
        match self.app.entitlements().grant(new) {
            Ok(after) => {
                let mut beliefs = self.world.beliefs();
                if before.is_some_and(|before| before != (buyer, days)) {
                    return violated(Invariant::OneAnswerPerKey, format!("key {key} granted twice"));
                }
                beliefs.granted.insert(key, (buyer, days));
                beliefs.see_entitlement(&after, newest)?;
                Ok(format!("{} {} v{}", after.tier, after.active, after.version))
            }
            Err(Error::IdempotencyConflict { .. }) => {
                let tried = self.world.beliefs().to_grant.get(&key).map_or(0, BTreeSet::len);
                if before == Some((buyer, days)) || tried < 2 {
                    return violated(Invariant::OneAnswerPerKey, format!("key {key} conflicts with itself"));
                }
                Ok("conflict".to_owned())
            }
            Err(error) => self.answered(Err::<(), _>(error), |()| Ok(String::new())),
        }
    }
}

/// The object that a webhook is about.
fn object_of(request: &SignedRequest) -> Option<String> {
    let body: serde_json::Value = serde_json::from_slice(&request.body).ok()?;
    body["data"]["id"].as_str().map(str::to_owned)
}
