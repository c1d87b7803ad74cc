//! 3-D Secure in the sandbox: the buyer's answer.

use super::notifications::apply_about;
use super::payments::Payment;
use super::settling::settled;
use super::{App, Sessions, Setups};
use crate::error::{Error, Refused, Result};
use crate::hook::Request;
use crate::id::{Mode, SessionId, SetupId};
use crate::payment::{Attempt, ChargeState, PaymentIntent, Setup, SetupState};
use crate::sandbox::{self, Challenge};
use crate::store;

impl Sessions<'_> {
    /// Answers the 3-D Secure challenge of the sandbox ([`sandbox::card::CHALLENGE`]) as a buyer would: the
    /// payment goes on, or fails with `authentication_failed` and the session can be paid anew. Test mode
    /// only.
    ///
    /// The sandbox hears of it and notifies the engine, as any service does after the buyer has acted on
    /// its page ([`crate::Notifications::receive`]); what it says is applied at once. The first answer to a
    /// challenge stands. Idempotent by state: where no challenge waits for an answer, the session is answered as it is, with its newest charge.
    ///
    /// # Errors
    /// [`crate::Error::Refused`] in live mode, and where the buyer has to act at another processor than the
    /// sandbox; [`crate::Error::NoProcessor`] in a process that has another processor in the sandbox's place;
    /// [`crate::Error::NotFound`]; [`crate::Error::WrongMode`]; [`crate::Error::NoEntropy`];
    /// [`crate::Error::Storage`], after which the answer, if it was committed, is applied by `run_due`: call
    /// again and see.
    ///
    /// # Durability
    /// The answer is on disk before it is applied, and what came of it when this returns.
    ///
    /// # Events
    /// Those that the outcome of [`Sessions::pay`] has.
    pub fn answer_challenge(&self, id: &SessionId, answer: Challenge) -> Result<Payment> {
        let (core, world) = (&self.0.core, self.0.world);
        in_test_mode(self.0)?;
        self.0.own_mode(id.as_str(), id.mode())?;
        let asked = core.view(world, |view| {
            let session = store::session::get(view.sql, world, id)?;
            let live = session.payment_intent.as_ref().and_then(PaymentIntent::live_charge);
            let Some(charge) = live.filter(|charge| charge.state == ChargeState::RequiresAction) else {
                return Ok(None);
            };
            of_the_sandbox(&charge.processor)?;
            store::attempt::that_made(view.sql, world, charge.id.as_str()).map(Some)
        })?;
        tell(self.0, asked, answer)?;
        let session = self.get(id)?;
        let intent = session.payment_intent.as_ref();
        let newest = intent
            .and_then(|intent| intent.charges.last())
            .map(|charge| charge.id.to_string());
        Ok(settled(session, newest.as_deref()))
    }
}

impl Setups<'_> {
    /// Answers the 3-D Secure challenge of the sandbox about a setup: the method is saved, or the setup fails
    /// with `authentication_failed`. Otherwise as [`Sessions::answer_challenge`]. Idempotent by state: where no
    /// challenge waits for an answer, the setup is answered as it is.
    ///
    /// # Errors
    /// As [`Sessions::answer_challenge`].
    ///
    /// # Durability
    /// The answer is on disk before it is applied, and what came of it when this returns.
    ///
    /// # Events
    /// Those that the outcome of [`Setups::create`] has.
    pub fn answer_challenge(&self, id: &SetupId, answer: Challenge) -> Result<Setup> {
        let (core, world) = (&self.0.core, self.0.world);
        in_test_mode(self.0)?;
        self.0.own_mode(id.as_str(), id.mode())?;
        let asked = core.view(world, |view| {
            let setup = store::setup::get(view.sql, world, id.as_str())?;
            if setup.state != SetupState::RequiresAction {
                return Ok(None);
            }
            of_the_sandbox(&setup.processor)?;
            store::attempt::that_made(view.sql, world, setup.id.as_str()).map(Some)
        })?;
        tell(self.0, asked, answer)?;
        self.get(id)
    }
}

fn refused(state: &'static str) -> Error {
    Refused {
        object: "challenge",
        state,
        event: "an answer",
    }
    .into()
}

fn in_test_mode(app: &App) -> Result<()> {
    match app.world.mode {
        Mode::Live => Err(refused("live")),
        Mode::Test => Ok(()),
    }
}

fn of_the_sandbox(processor: &str) -> Result<()> {
    match processor {
        sandbox::NAME => Ok(()),
        _ => Err(refused("another processor's")),
    }
}

/// Has the sandbox tell of the answer, if one is awaited, and applies what it says.
fn tell(app: &App, asked: Option<Attempt>, answer: Challenge) -> Result<()> {
    let Some(attempt) = asked else {
        return Ok(());
    };
    let body = sandbox::post(answer, Request::from_bytes(&attempt.request)?);
    app.notifications().receive(sandbox::NAME, &[], &body)?;
    apply_about(&app.core, app.world, &attempt.id)
}
