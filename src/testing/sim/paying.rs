//! What a host does about payments, and whether what it was answered can be.

use super::act::{Host, Seen, own};
use super::world::euro;
use super::{Invariant, violated};
use crate::engine::{Ask, Begun, NewPayment, Payment, Settled};
use crate::error::Result;
use crate::hook::{Answer, Clock as _, Outcome, Processor as _};
use crate::id::SessionId;
use crate::payment::{Charge, ChargeState, NewRefund};
use crate::testing::{Taken, locked};

impl Host<'_> {
    pub(super) fn pay(&self, session: u64, key: Option<u64>) -> Seen {
        self.with_session(session, |id| {
            let mut payment = NewPayment::with("tok_1");
            // The method belongs to the session, so that a key comes with the same request again.
            if let Some(key) = key {
                payment = payment.idempotency_key(own(format_args!("pay-{id}-{key}")));
            }
            let before = key.and_then(|key| self.world.beliefs().paid.get(&(id.clone(), key)).cloned());
            let (known, shown) = (self.believed(id), *locked(&self.memory.shown));
            self.or_refused(self.app.sessions().pay(id, payment), |payment| {
                if let (None, Some(charge)) = (key, &payment.charge) {
                    self.see_time(charge.created_at, shown)?;
                }
                let mut beliefs = self.world.beliefs();
                beliefs.see_session(&payment.session, known.as_ref())?;
                let charge = payment.charge.map(|charge| (charge.id.to_string(), charge.state));
                if let (Some(before), Some(now)) = (&before, &charge)
                    && before.0 != now.0
                {
                    return violated(
                        Invariant::OneAnswerPerKey,
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

    /// Pays in three beats, with the call between them made here.
    pub(super) fn pay_by_hand(&self, session: u64, asleep: u64, (answers, tells): (u64, bool)) -> Seen {
        self.with_session(session, |id| {
            let known = self.believed(id);
            self.or_refused(self.app.sessions().begin_payment(id, "tok_1"), |begun| match begun {
                Begun::Done(payment) => self.session(&payment.session, known.as_ref()),
                Begun::Ask(ask) if answers == 0 => {
                    locked(&self.memory.put_off).push_back(*ask);
                    Ok("the call is put off".to_owned())
                }
                Begun::Ask(ask) => {
                    if asleep > 0 {
                        self.sleep(asleep)?;
                    }
                    self.call(&ask, (answers, tells))
                }
            })
        })
    }

    /// A call that asks the processor about the payment of a session.
    pub(super) fn asking(&self, session: u64, call: impl FnOnce(&SessionId) -> Result<Payment>) -> Seen {
        self.with_session(session, |id| {
            let before = self.believed(id);
            self.or_refused(call(id), |payment| self.session(&payment.session, before.as_ref()))
        })
    }

    /// Takes what is held, in a session where something is, as far as the host knows.
    pub(super) fn capture(&self, session: u64, part: Option<i64>) -> Seen {
        let held = {
            let beliefs = self.world.beliefs();
            let held = beliefs.sessions.values().filter(|session| {
                let mut charges = session.payment_intent.iter().flat_map(|intent| &intent.charges);
                charges.any(|charge| charge.state == ChargeState::Authorized)
            });
            held.map(|session| session.id.clone()).next_back()
        };
        let capture = |id: &SessionId| {
            let before = self.believed(id);
            let part = part.map(euro).transpose()?;
            let captured = self.app.sessions().capture(id, part);
            let said = self.or_refused(captured, |payment| self.session(&payment.session, before.as_ref()))?;
            self.refused_is_not_taken(id)?;
            Ok(said)
        };
        match held {
            Some(held) if !session.is_multiple_of(4) => capture(&held),
            _ => self.with_session(session, capture),
        }
    }

    /// What the service has taken of what it held is not shown as refused and held on.
    fn refused_is_not_taken(&self, id: &SessionId) -> Seen {
        let of_session = |taken: &Taken| taken.session == id.as_str();
        // Asked first: what is taken later need not be known below.
        let is_taken = self.world.till.charges().iter().any(of_session);
        self.answered(self.app.sessions().get(id), |session| {
            let mut charges = session.payment_intent.iter().flat_map(|intent| &intent.charges);
            let is_refused = |charge: &&Charge| charge.state == ChargeState::Authorized && charge.asked.is_none();
            match charges.find(is_refused) {
                Some(charge) if is_taken => violated(Invariant::ServicesLedger, format!("{charge:?} was taken")),
                _ => Ok(String::new()),
            }
        })
    }

    pub(super) fn refund(&self, id: &SessionId, part: Option<i64>) -> Seen {
        let new = NewRefund::session(id);
        let new = match part.map(euro).transpose()? {
            Some(part) => new.amount(part),
            None => new,
        };
        let refunded = self.app.refunds().create(new);
        self.or_refused(refunded, |refund| {
            self.world.beliefs().see_refund(&refund)?;
            Ok(format!("{} {:?}", refund.amount, refund.state))
        })
    }

    /// Makes a call to the processor and brings the answer so many times, before or after the service tells of it.
    pub(super) fn call(&self, ask: &Ask, (answers, tells): (u64, bool)) -> Seen {
        // Where its time is over before it is made, it must not be made.
        let outcome = if self.world.clock.now() > ask.deadline {
            let why = "too late".to_owned();
            Outcome::NotSent { why }
        } else {
            self.world.till.execute(&ask.request, ask.deadline)
        };
        let mut said = format!("{outcome:?}");
        if tells {
            self.hear_at_once(2)?;
        }
        let answer = Answer::Executed(outcome);
        for _ in 0..answers {
            let known = SessionId::parse(&ask.request.session)
                .ok()
                .and_then(|id| self.believed(&id));
            said = self.answered(self.engine.settle(ask, &answer), |settled| match settled {
                Settled::Payment(payment) => self.session(&payment.session, known.as_ref()),
                Settled::Refund(refund) => Ok(refund.state.as_str().to_owned()),
                Settled::Setup(setup) => self.setup(&setup),
            })?;
        }
        Ok(said)
    }
}
