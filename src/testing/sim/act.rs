//! What a host does with an engine, and whether what it was answered can be.

use super::belief::Asked;
use super::plan::{Goods, Op};
use super::world::{World, euro};
use super::{Broken, Program, violated};
use crate::catalog::NewPrice;
use crate::engine::{App, Budget, Engine, NewPayment};
use crate::entitlement::NewGrant;
use crate::error::{Error, Result, StorageKind};
use crate::hook::Clock as _;
use crate::id::SessionId;
use crate::money::Currency;
use crate::session::{NewLine, NewSession, Session};

/// A thread of a host's process.
pub(super) struct Host<'w> {
    pub(super) world: &'w World,
    pub(super) engine: &'w Engine,
    pub(super) app: App,
    /// Whether the disk may fail at the moment, so that errors of storage are to be expected.
    pub(super) is_shaky: bool,
    pub(super) program: Option<&'w dyn Program>,
}

/// What came of a call: what is written down of it, or that it cannot be.
type Seen = std::result::Result<String, Broken>;

pub(super) fn uid(buyer: u64) -> String {
    format!("buyer-{buyer}")
}

/// The session that is asked for.
pub(super) fn order(asked: Asked) -> Result<NewSession> {
    let new = match asked.goods {
        Goods::Member => NewSession::tier("member", Currency::EUR),
        Goods::Gold => NewSession::tier("gold", Currency::EUR),
        Goods::Pen => NewSession::empty().line(NewLine::inline("A pen", euro(1_20)?)),
        Goods::Gift => NewSession::empty().line(NewLine::inline("A gift", euro(0)?)),
    };
    let new = new.for_uid(uid(asked.buyer));
    Ok(match asked.order {
        Some(order) => new.order_key(format!("order-{order}")),
        None => new,
    })
}

impl Host<'_> {
    /// Makes one call and takes in what it answers.
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
            Op::Expire { session } => self.with_session(*session, |id| {
                let before = self.believed(id);
                self.session(self.app.sessions().expire(id), before.as_ref())
            }),
            Op::Look { session } => self.with_session(*session, |id| {
                let before = self.believed(id);
                let found = self.app.sessions().get(id);
                if matches!(found, Err(Error::NotFound { .. })) {
                    return violated(
                        "I12 a read sees what was answered before it",
                        format!("{id} is not found"),
                    );
                }
                self.session(found, before.as_ref())
            }),
            Op::Page => self.page(),
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
            Op::Turn(by) => {
                self.world.clock.turn(*by);
                Ok(self.world.clock.now().to_string())
            }
            Op::Advance(by) => {
                let before = self.world.beliefs().now;
                self.answered(self.app.advance(*by), |now| {
                    self.world.beliefs().see_time(now, before)?;
                    Ok(now.to_string())
                })
            }
            Op::Host(draw) => match self.program {
                Some(program) => self.answered(program.act(&self.app, *draw), Ok),
                None => Ok(String::new()),
            },
            Op::Heal => {
                self.world.disk.clear_faults();
                Ok(String::new())
            }
        }
    }

    /// Takes in an answer, or an error that may be.
    fn answered<T>(&self, answer: Result<T>, take_in: impl FnOnce(T) -> Seen) -> Seen {
        match answer {
            Ok(value) => take_in(value),
            Err(error) if self.may_be(&error) => Ok(format!("error {}", error.code())),
            Err(error) => violated("I13 errors are of the documented kinds", format!("{error:?}")),
        }
    }

    /// Whether a call may fail like this, whatever it is.
    fn may_be(&self, error: &Error) -> bool {
        use StorageKind::{Busy, CantOpen, DiskFull, Io, OutcomeUnknown};
        match error {
            Error::Storage(error) => match error.kind {
                Busy => true,
                OutcomeUnknown | Io | DiskFull | CantOpen => self.is_shaky || self.world.disk.is_off(),
                _ => false,
            },
            // The object's state, which every call that asks for a change may meet.
            Error::Refused(_) | Error::PaymentInProgress { .. } | Error::OrderTaken { .. } => true,
            _ => false,
        }
    }

    fn newest(&self, buyer: u64) -> i64 {
        self.world.beliefs().newest.get(&uid(buyer)).copied().unwrap_or(0)
    }

    /// What was last shown of a session.
    fn believed(&self, id: &SessionId) -> Option<Session> {
        self.world.beliefs().sessions.get(id).cloned()
    }

    fn session(&self, session: Result<Session>, before: Option<&Session>) -> Seen {
        self.answered(session, |session| {
            self.world.beliefs().see_session(&session, before)?;
            Ok(format!("{} {:?}", session.id, session.state))
        })
    }

    fn with_session(&self, key: u64, call: impl FnOnce(&SessionId) -> Seen) -> Seen {
        let known = self.world.beliefs().created.get(&key).map(|(id, _)| id.clone());
        known.map_or_else(|| Ok("nothing was made".to_owned()), |id| call(&id))
    }

    fn create(&self, key: Option<u64>, asked: Asked) -> Seen {
        let new = order(asked)?;
        let Some(key) = key else {
            return self.session(self.app.sessions().create(new), None);
        };
        self.world.beliefs().asked.entry(key).or_default().insert(asked);
        let before = self.world.beliefs().created.get(&key).cloned();
        let known = before.as_ref().and_then(|(id, _)| self.believed(id));
        match self.app.sessions().create(new.idempotency_key(format!("create-{key}"))) {
            Ok(session) => {
                let mut beliefs = self.world.beliefs();
                if let Some((id, first)) = before
                    && (id != session.id || first != asked)
                {
                    let what = format!("key {key} made {id} for {first:?}, then {} for {asked:?}", session.id);
                    return violated("I1 a key has one answer", what);
                }
                // Somebody else may have been answered meanwhile.
                let first = beliefs
                    .created
                    .entry(key)
                    .or_insert_with(|| (session.id.clone(), asked));
                if first.0 != session.id {
                    let what = format!("key {key} made {} and {}", first.0, session.id);
                    return violated("I1 a key has one answer", what);
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
                    return violated("I1 a key has one answer", format!("key {key} conflicts with itself"));
                }
                Ok("conflict".to_owned())
            }
            Err(error) => self.answered(Err::<(), _>(error), |()| Ok(String::new())),
        }
    }

    fn pay(&self, session: u64, key: Option<u64>) -> Seen {
        self.with_session(session, |id| {
            let mut payment = NewPayment::with("tok_1");
            // The method belongs to the session, so that a key comes with the same request again.
            if let Some(key) = key {
                payment = payment.idempotency_key(format!("pay-{id}-{key}"));
            }
            let before = key.and_then(|key| self.world.beliefs().paid.get(&(id.clone(), key)).cloned());
            let known = self.believed(id);
            self.answered(self.app.sessions().pay(id, payment), |payment| {
                let mut beliefs = self.world.beliefs();
                beliefs.see_session(&payment.session, known.as_ref())?;
                let charge = payment.charge.map(|charge| (charge.id.to_string(), charge.state));
                if let (Some(before), Some(now)) = (&before, &charge)
                    && before.0 != now.0
                {
                    return violated(
                        "I1 a key has one answer",
                        format!("{id} was paid by {before:?}, then {now:?}"),
                    );
                }
                if let (Some(key), Some(charge)) = (key, &charge) {
                    beliefs.paid.insert((id.clone(), key), charge.clone());
                }
                Ok(format!("{:?} {charge:?}", payment.session.state))
            })
        })
    }

    fn grant(&self, key: u64, buyer: u64, days: Option<u32>) -> Seen {
        let mut new = NewGrant::tier(uid(buyer), "member").idempotency_key(format!("grant-{key}"));
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
                    return violated("I1 a key has one answer", format!("key {key} granted twice"));
                }
                beliefs.granted.insert(key, (buyer, days));
                beliefs.see_entitlement(&after, newest)?;
                Ok(format!("{} {} v{}", after.tier, after.active, after.version))
            }
            Err(Error::IdempotencyConflict { .. }) => {
                let tried = self
                    .world
                    .beliefs()
                    .to_grant
                    .get(&key)
                    .map_or(0, std::collections::BTreeSet::len);
                if before == Some((buyer, days)) || tried < 2 {
                    return violated("I1 a key has one answer", format!("key {key} conflicts with itself"));
                }
                Ok("conflict".to_owned())
            }
            Err(error) => self.answered(Err::<(), _>(error), |()| Ok(String::new())),
        }
    }

    /// Pages through all sessions: each is there once, in order, and none is missing that was
    /// answered before.
    fn page(&self) -> Seen {
        let believed = self.world.beliefs().sessions.clone();
        let mut found: Vec<Session> = Vec::new();
        loop {
            let before = found.last().map(|last| last.id.clone());
            match self.app.sessions().list(4, before.as_ref()) {
                Ok(page) => {
                    found.extend(page.data);
                    if !page.has_more {
                        break;
                    }
                }
                Err(error) => return self.answered(Err::<(), _>(error), |()| Ok(String::new())),
            }
        }
        let in_order = found.windows(2).all(|pair| pair[0].id > pair[1].id);
        let missing = believed
            .keys()
            .find(|id| !found.iter().any(|session| session.id == **id));
        if !in_order || missing.is_some() {
            return violated(
                "I10 pages are the whole list",
                format!("missing {missing:?}, in order: {in_order}"),
            );
        }
        let mut beliefs = self.world.beliefs();
        for session in &found {
            beliefs.see_session(session, believed.get(&session.id))?;
        }
        Ok(format!("{} sessions", found.len()))
    }
}
