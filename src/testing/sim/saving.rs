//! What a host does about saved payment methods, and whether what it was answered can be.

use super::act::{Host, Seen, uid};
use super::world::euro;
use super::{Broken, Invariant, violated};
use crate::customer::NewCustomer;
use crate::engine::NewPayment;
use crate::id::PaymentMethodId;
use crate::money::Currency;
use crate::payment::{NewSetup, Setup};
use crate::session::{NewLine, NewSession};

impl Host<'_> {
    pub(super) fn save(&self, buyer: u64) -> Seen {
        // From here on the method may be attached again.
        self.world.beliefs().saves += 1;
        self.world.beliefs().detached.clear();
        self.answered(self.app.customers().set(NewCustomer::uid(uid(buyer))), |customer| {
            let new = NewSetup::new(&customer.id, Currency::EUR).method("tok_1");
            self.answered(self.app.setups().create(new), |setup| self.setup(&setup))
        })
    }

    pub(super) fn setup(&self, setup: &Setup) -> Seen {
        self.world.beliefs().see_setup(setup)?;
        Ok(format!("{} {:?}", setup.id, setup.state))
    }

    /// The method that a buyer has saved, attached or not, as far as the host was told.
    fn saved_by(&self, buyer: u64) -> Option<PaymentMethodId> {
        let beliefs = self.world.beliefs();
        let count = beliefs.methods.len();
        let place = usize::try_from(buyer).unwrap_or(0) % count.max(1);
        beliefs.methods.iter().nth(place).cloned()
    }

    pub(super) fn pay_saved(&self, buyer: u64) -> Seen {
        let Some(method) = self.saved_by(buyer) else {
            return Ok("nothing was saved".to_owned());
        };
        self.answered(self.app.customers().payment_method(&method), |known| {
            let pen = NewLine::inline("A pen", euro(1_20)?);
            let new = NewSession::empty().payer(&known.customer).line(pen);
            self.or_refused(self.app.sessions().create(new), |session| {
                self.session(&session, None)?;
                let is_detached = self.world.beliefs().detached.contains(&method);
                let paid = self
                    .app
                    .sessions()
                    .pay(&session.id, NewPayment::saved(&method).off_session());
                let still = self.world.beliefs().detached.contains(&method);
                // Another thread may have paid the session before, and then nothing was charged.
                let is_charged = paid.as_ref().is_ok_and(|payment| payment.charge.is_some());
                if is_detached && still && is_charged {
                    return violated(Invariant::AnswersStayTrue, format!("{method} was detached and charged"));
                }
                self.or_refused(paid, |payment| self.session(&payment.session, Some(&session)))
            })
        })
    }

    pub(super) fn detach(&self, buyer: u64) -> Seen {
        let Some(method) = self.saved_by(buyer) else {
            return Ok("nothing was saved".to_owned());
        };
        let saves = self.world.beliefs().saves;
        self.answered(self.app.customers().detach(&method), |detached| {
            let mut beliefs = self.world.beliefs();
            if beliefs.saves == saves {
                beliefs.detached.insert(detached.id.clone());
            }
            Ok(format!("{} {:?}", detached.id, detached.state))
        })
    }
}

impl super::belief::Beliefs {
    /// Takes in a setup.
    pub(super) fn see_setup(&mut self, setup: &Setup) -> Result<(), Broken> {
        let known = self.setups.entry(setup.id.clone()).or_insert_with(|| setup.clone());
        let was_saved = known.method.is_some();
        if was_saved && setup.revision >= known.revision && (known.state, &known.method) != (setup.state, &setup.method)
        {
            let what = format!("{} was {known:?} and is {setup:?}", setup.id);
            return violated(Invariant::AnswersStayTrue, what);
        }
        // An answer that began earlier may end later.
        if setup.revision >= known.revision {
            known.clone_from(setup);
        }
        self.methods.extend(setup.method.clone());
        Ok(())
    }
}
