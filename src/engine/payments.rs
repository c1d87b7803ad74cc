//! Collecting in three beats: *intend* (commit the attempt), *ask* (call the processor, with no
//! transaction open), *settle* (commit what came of it). A crash between two beats is resolved by
//! evidence: whatever was asked and never answered becomes unknown and is looked up.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::core::Core;
use super::{App, Engine, Sessions};
use crate::access::Actor;
use crate::change::{Change, Remember};
use crate::decide::checkout::{self, Means};
use crate::decide::settlement::{self, Learned, Unsettled};
use crate::digest::Fields;
use crate::entitlement::Holding;
use crate::error::{Error, Result, StorageKind};
use crate::hook::{Answer, Capabilities, Lookup, LookupKey, Outcome, Processor, Request, RouteInput};
use crate::id::{AttemptId, Mode, SessionId, World};
use crate::payment::{Attempt, Charge, Finding};
use crate::session::Session;
use crate::store::{self, Access, Tx};
use crate::text;
use crate::time::Timestamp;

/// The scope of keys given to [`Sessions::pay`].
const PAY: &str = "sessions.pay";

/// How long after a call's own timeout its answer is still waited for before it counts as lost.
const LEASE_MARGIN: Duration = Duration::from_secs(10);

/// How often settling is tried when the disk leaves it in doubt. The evidence is in memory only,
/// so it is worth more than one try; after the last the attempt is left to recovery.
const SETTLE_TRIES: usize = 3;

/// How a buyer pays; given to [`Sessions::pay`]. A method's token alone will do: it converts.
#[derive(Clone, Debug, Default)]
pub struct NewPayment {
    method: Option<String>,
    context: Option<String>,
    idempotency_key: Option<String>,
}

impl NewPayment {
    /// With the processor's opaque token for the method, up to 500 characters. Never a card number.
    #[must_use]
    pub fn with(method: impl Into<String>) -> NewPayment {
        NewPayment {
            method: Some(method.into()),
            ..NewPayment::default()
        }
    }

    /// With a processor that asks the buyer for the method itself.
    #[must_use]
    pub fn hosted() -> NewPayment {
        NewPayment::default()
    }

    /// Something for the processor's eyes, up to 4,096 characters. It is stored with the attempt.
    #[must_use]
    pub fn context(mut self, context: impl Into<String>) -> Self {
        self.context = Some(context.into());
        self
    }

    /// The same key pays once: a repetition gets the stored outcome, a decline included, and never
    /// starts another attempt. 1 to 255 visible ASCII characters.
    #[must_use]
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }

    fn checked(self) -> Result<NewPayment> {
        text::optional("method", self.method.as_deref(), 500)?;
        text::optional("context", self.context.as_deref(), 4_096)?;
        self.idempotency_key.as_deref().map(text::idempotency_key).transpose()?;
        Ok(self)
    }

    fn fingerprint(&self, session: &SessionId) -> [u8; 32] {
        Fields::new()
            .text(session.as_str())
            .maybe(self.method.as_deref())
            .maybe(self.context.as_deref())
            .finish()
    }
}

impl From<&str> for NewPayment {
    fn from(method: &str) -> Self {
        NewPayment::with(method)
    }
}

/// What a payment came to. A decline is an answer: the session is open again and the charge says
/// why.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Payment {
    /// The session as it is now.
    pub session: Session,
    /// The charge of this call; none if there was nothing to collect.
    pub charge: Option<Charge>,
}

impl Payment {
    /// Whether the session is complete.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.session.is_complete()
    }
}

/// What starting a payment came to.
#[derive(Debug)]
pub enum Begun {
    /// The processor is to be asked; give what it answers to [`Engine::settle`].
    Ask(Box<Ask>),
    /// Nobody is to be asked: there was nothing to collect, the session was complete before, or
    /// the idempotency key was used before.
    Done(Box<Payment>),
}

/// A call to a processor that is due, already committed. Make it and give the answer to
/// [`Engine::settle`]; one that is dropped becomes unknown when its lease has ended, and is looked
/// up.
#[derive(Clone, Debug)]
pub struct Ask {
    /// What to ask.
    pub kind: AskKind,
    /// The name of the processor to ask.
    pub processor: String,
    /// The frozen request.
    pub request: Request,
    /// The processor's own name for the payment, where it was learned.
    pub reference: Option<String>,
    /// Host time until which the call may run.
    pub deadline: Timestamp,
    world: World,
    attempt: AttemptId,
    token: i64,
    asked_at: Timestamp,
}

/// What a processor is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AskKind {
    /// To carry out the request; answer with [`Answer::Executed`].
    Execute,
    /// What became of it; answer with [`Answer::LookedUp`].
    LookUp,
}

impl Sessions<'_> {
    /// Collects a session's total.
    ///
    /// A complete session is answered as it is. While an attempt is in flight none other starts.
    /// After a definite failure each call is a new attempt, unless it repeats an idempotency key.
    /// Without a key the call is idempotent by state: it never collects twice.
    ///
    /// # Errors
    /// [`Error::PaymentInProgress`] while an attempt is in flight; [`Error::Refused`] for an
    /// expired session, one without lines, and after 50 attempts; [`Error::NoProcessor`] and
    /// [`Error::UnsafeProcessor`] before anything is written; [`Error::IdempotencyConflict`];
    /// [`Error::Invalid`]; [`Error::NotFound`]; [`Error::WrongMode`]; [`Error::Storage`]. After an
    /// error of storage the attempt, if it was committed, is resolved by `run_due`: call again and
    /// see.
    ///
    /// # Durability
    /// The attempt is on disk before the processor is called, the outcome when this returns.
    ///
    /// # Events
    /// First `charge.initiated`, `payment_intent.created` (once), `payment_intent.processing`,
    /// `checkout.session.processing`; then the charge's and intent's outcome and, for a success,
    /// `checkout.session.completed`, `grant.created` and `entitlement.…` of each tier sold; for a
    /// failure `checkout.payment.failed`, and `checkout.session.expired` if its time has passed.
    pub fn pay(&self, id: &SessionId, payment: impl Into<NewPayment>) -> Result<Payment> {
        match self.begin_payment(id, payment)? {
            Begun::Ask(ask) => {
                let answer = self.0.core.ask(&ask);
                settle(&self.0.core, &ask, &answer)
            }
            Begun::Done(payment) => Ok(*payment),
        }
    }

    /// The first beat of [`Sessions::pay`] alone, for a host that calls the processor itself,
    /// awaiting the answer.
    ///
    /// # Errors
    /// As [`Sessions::pay`].
    ///
    /// # Durability
    /// The attempt is on disk when this returns.
    ///
    /// # Events
    /// The first ones of [`Sessions::pay`].
    pub fn begin_payment(&self, id: &SessionId, payment: impl Into<NewPayment>) -> Result<Begun> {
        let app = self.0;
        app.own_mode(id.as_str(), id.mode())?;
        let payment = payment.into().checked()?;
        // Hooks are asked before the transaction; whether their answer is needed shows inside. A
        // session with nothing to collect needs no processor.
        let chosen = self.processor_for(id);
        let moment = app.moment(PAY)?;
        let timeout = chosen.as_ref().map_or(Duration::ZERO, |(_, known)| known.call_timeout);
        let lease_until = moment.host_now.plus(timeout + LEASE_MARGIN);
        let deadline = moment.host_now.plus(timeout);
        let (wanted, world, asked_at) = (id.clone(), app.world, moment.host_now);
        let request_hash = payment.fingerprint(id);
        let begun = app.core.write(moment, move |tx| {
            let session = store::session::get(tx.sql, tx.world, &wanted)?;
            if let Some(key) = &payment.idempotency_key
                && let Some(charge) = store::remembered(tx, PAY, key, &request_hash)?
            {
                return replay(session.at(tx.now), &charge).map(|payment| (payment, None));
            }
            let holdings = holdings(tx, &session)?;
            let means = chosen.clone().map(|(processor, _)| Means {
                processor,
                method: payment.method.clone(),
                context: payment.context.clone(),
                lease_until,
            });
            let mut change = Change::new();
            let (session, begun) = checkout::begin(session, means, holdings, &mut tx.setting(), &mut change)?;
            let attempt = match begun {
                checkout::Begun::Attempt(attempt) => Some(*attempt),
                checkout::Begun::Already | checkout::Begun::NothingDue => None,
            };
            change.remember(payment.idempotency_key.clone().map(|key| {
                Remember {
                    scope: PAY,
                    key,
                    request_hash,
                    result: attempt
                        .as_ref()
                        .map_or_else(String::new, |attempt| attempt.subject.clone()),
                }
            }));
            tx.apply(&change)?;
            let payment = settled(session, attempt.as_ref().map(|attempt| attempt.subject.as_str()));
            Ok((payment, attempt))
        })?;
        Ok(match begun {
            (payment, None) => Begun::Done(Box::new(payment)),
            (_, Some(attempt)) => Begun::Ask(Box::new(ask(
                AskKind::Execute,
                &attempt,
                world,
                attempt.token,
                asked_at,
                deadline,
            )?)),
        })
    }

    /// The processor that a session's payment goes to, chosen before anything is written.
    fn processor_for(self, id: &SessionId) -> Result<(String, Capabilities)> {
        let (core, mode) = (&self.0.core, self.0.world.mode);
        let missing = |name: &str| Error::NoProcessor {
            name: name.to_owned(),
            mode: mode.as_str(),
        };
        let name = match &core.route {
            Some(route) => {
                let (session, app) = core.view(self.0.world, |view| {
                    Ok((store::session::get(view.sql, view.world, id)?, view.app.clone()))
                })?;
                match session.total() {
                    // A panicking rule names no processor; nothing has been written yet.
                    Some(amount) => {
                        catch_unwind(AssertUnwindSafe(|| route(&RouteInput { app, mode, amount }))).unwrap_or_default()
                    }
                    None => core.processors(mode).first.clone().unwrap_or_default(),
                }
            }
            None => core.processors(mode).first.clone().unwrap_or_default(),
        };
        let processor = core.processor(mode, &name).ok_or_else(|| missing(&name))?;
        let capabilities = capabilities_of(&**processor).unwrap_or_default();
        let can_tell = capabilities.lookup || capabilities.idempotency_window.is_some();
        if mode == Mode::Live && !can_tell && !core.resolved_by_hand.contains(&name) {
            return Err(Error::UnsafeProcessor { name });
        }
        Ok((name, capabilities))
    }
}

impl Engine {
    /// Brings a processor's answer back: the last beat of a payment, and the only way in for what
    /// was learned about one. Bringing the same answer again changes nothing, and so does an answer
    /// that says less than what is known.
    ///
    /// # Errors
    /// [`Error::Storage`]; the answer is then to be brought again. If it never is, the attempt is
    /// looked up.
    ///
    /// # Durability
    /// The outcome is on disk when this returns.
    ///
    /// # Events
    /// The last ones of [`Sessions::pay`]; `charge.unknown`, `charge.pending`,
    /// `charge.requires_action`, `charge.authorized`, `charge.mismatch`, `charge.unresolved` as the
    /// case may be; `checkout.session.late_payment` for money that arrives too late, which is held.
    pub fn settle(&self, ask: &Ask, answer: &Answer) -> Result<Payment> {
        settle(&self.core, ask, answer)
    }

    /// Takes up to `limit` look-ups that are due, over all apps, of the processors that this engine
    /// has: for a host that calls the processor itself. `run_due` is this with the hook.
    ///
    /// # Errors
    /// [`Error::Storage`].
    ///
    /// # Durability
    /// A claim may be lost in a power cut; then somebody looks up twice, which is harmless.
    ///
    /// # Events
    /// None; `charge.unresolved` where a processor cannot be looked up.
    pub fn claim_asks(&self, limit: usize) -> Result<Vec<Ask>> {
        let mut asks = Vec::new();
        for world in self.core.store.read(store::app::worlds)? {
            if asks.len() < limit {
                self.claim_in(world, limit - asks.len(), &mut asks)?;
            }
        }
        Ok(asks)
    }

    fn claim_in(&self, world: World, limit: usize, asks: &mut Vec<Ask>) -> Result<()> {
        let host_now = self.core.clock.now();
        let limit = u32::try_from(limit).unwrap_or(u32::MAX).min(MAX_CLAIM);
        let names: Vec<String> = self.core.processors(world.mode).by_name.keys().cloned().collect();
        let due = self
            .core
            .store
            .read(|sql| store::payment::lookups_due(sql, world, host_now, &names, limit))?;
        for attempt in due {
            let Some(processor) = self.core.processor(world.mode, &attempt.processor) else {
                continue;
            };
            let capabilities = capabilities_of(&**processor).unwrap_or_default();
            let lease = host_now.plus(capabilities.call_timeout + LEASE_MARGIN);
            let claimed = attempt.clone();
            let won = self.core.store.write_raw(Access::Queue, move |sql| {
                store::payment::claim_lookup(sql, world, &claimed, lease)
            })?;
            if !won {
                continue;
            }
            let deadline = host_now.plus(capabilities.call_timeout);
            let ask = ask(AskKind::LookUp, &attempt, world, attempt.token + 1, host_now, deadline)?;
            if capabilities.lookup {
                asks.push(ask);
            } else {
                let why = "the processor has no look-ups".to_owned();
                settle(&self.core, &ask, &Answer::LookedUp(Lookup::CannotTell { why }))?;
            }
        }
        Ok(())
    }

    /// Marks up to `limit` attempts as unknown whose call has lost its lease. Answers how many.
    pub(super) fn recover(&self, limit: usize) -> Result<usize> {
        let mut recovered = 0;
        for world in self.core.store.read(store::app::worlds)? {
            let host_now = self.core.clock.now();
            let left = u32::try_from(limit - recovered).unwrap_or(u32::MAX);
            let ended = self
                .core
                .store
                .read(|sql| store::payment::leases_ended(sql, world, host_now, left))?;
            for attempt in ended {
                let learned = Finding::LeaseEnded;
                work_in(
                    &self.core,
                    world,
                    attempt.id,
                    learned,
                    attempt.token,
                    host_now,
                    Actor::Runner,
                )?;
                recovered += 1;
            }
            if recovered >= limit {
                break;
            }
        }
        Ok(recovered)
    }
}

/// The most look-ups that are taken from one world at once, so that their leases last.
const MAX_CLAIM: u32 = 16;

impl Core {
    /// Calls the processor. Whatever goes wrong in there, an answer comes out.
    pub(super) fn ask(&self, ask: &Ask) -> Answer {
        let processor = self.processor(ask.world.mode, &ask.processor).map(Arc::clone);
        let nobody = || format!("no processor {:?} in this process", ask.processor);
        let panicked = || "the processor's code panicked".to_owned();
        match ask.kind {
            AskKind::Execute => Answer::Executed(match processor {
                Some(processor) => catch_unwind(AssertUnwindSafe(|| processor.execute(&ask.request, ask.deadline)))
                    .unwrap_or_else(|_| Outcome::Unknown { why: panicked() }),
                // Nothing was called, and nothing will be: this is certain.
                None => Outcome::NotSent { why: nobody() },
            }),
            AskKind::LookUp => Answer::LookedUp(match processor {
                Some(processor) => {
                    let key = LookupKey {
                        request: &ask.request,
                        reference: ask.reference.as_deref(),
                    };
                    catch_unwind(AssertUnwindSafe(|| processor.lookup(&key)))
                        .unwrap_or_else(|_| Lookup::CannotTell { why: panicked() })
                }
                None => Lookup::CannotTell { why: nobody() },
            }),
        }
    }
}

/// What a processor can do; none if its code panics, which may pass.
fn capabilities_of(processor: &dyn Processor) -> Option<Capabilities> {
    catch_unwind(AssertUnwindSafe(|| processor.capabilities())).ok()
}

fn settle(core: &Core, ask: &Ask, answer: &Answer) -> Result<Payment> {
    let finding = match answer {
        Answer::Executed(outcome) => Finding::Executed(outcome.clone()),
        Answer::LookedUp(lookup) => Finding::LookedUp(lookup.clone()),
    };
    let actor = Actor::Processor(ask.processor.clone());
    let mut tries = 1;
    loop {
        let (id, actor) = (ask.attempt.clone(), actor.clone());
        let worked = work_in(core, ask.world, id, finding.clone(), ask.token, ask.asked_at, actor);
        match worked {
            Err(Error::Storage(error))
                if tries < SETTLE_TRIES && matches!(error.kind, StorageKind::OutcomeUnknown | StorageKind::Busy) =>
            {
                tries += 1;
            }
            worked => return worked,
        }
    }
}

/// Works what was learned about an attempt into the file.
fn work_in(
    core: &Core,
    world: World,
    id: AttemptId,
    finding: Finding,
    token: i64,
    asked_at: Timestamp,
    actor: Actor,
) -> Result<Payment> {
    let cause = match finding {
        Finding::Executed(_) => "settle.answer",
        Finding::LookedUp(_) => "settle.lookup",
        Finding::LeaseEnded => "settle.lease",
    };
    let moment = core.moment(world, actor.clone(), cause)?;
    let known: std::collections::BTreeMap<String, Capabilities> = core
        .processors(world.mode)
        .by_name
        .iter()
        .filter_map(|(name, processor)| Some((name.clone(), capabilities_of(&**processor)?)))
        .collect();
    core.write(moment, move |tx| {
        let attempt = store::payment::attempt(tx.sql, tx.world, &id)?.ok_or_else(|| Error::NotFound {
            what: "attempt",
            id: id.to_string(),
        })?;
        let (subject, name) = (attempt.subject.clone(), attempt.processor.clone());
        let of_charge = store::payment::session_of_charge(tx.sql, tx.world, &subject)?;
        let session = store::session::get(tx.sql, tx.world, &of_charge)?;
        let holdings = holdings(tx, &session)?;
        let learned = Learned {
            finding: &finding,
            actor: actor.to_string(),
            token,
            asked_at,
            capabilities: known.get(&name),
        };
        let mut change = Change::new();
        let found = Unsettled {
            attempt,
            session,
            holdings,
        };
        let session = settlement::settle(found, &learned, &mut tx.setting(), &mut change)?;
        tx.apply(&change)?;
        Ok(settled(session.at(tx.now), Some(&subject)))
    })
}

/// What the beneficiary holds in the lines that a session's products belong to.
fn holdings(tx: &mut Tx<'_>, session: &Session) -> Result<Vec<Holding>> {
    let Some(uid) = &session.for_uid else {
        return Ok(Vec::new());
    };
    let mut lines: Vec<&str> = session
        .lines
        .iter()
        .filter_map(|line| line.grants.as_ref())
        .map(|grants| grants.line.as_str())
        .collect();
    lines.sort_unstable();
    lines.dedup();
    let mut found = Vec::new();
    for line in lines {
        found.extend(store::entitlement::holding(tx.sql, tx.world, uid, line)?);
    }
    Ok(found)
}

/// What a used idempotency key answers: the outcome of its own charge.
fn replay(session: Session, charge: &str) -> Result<Payment> {
    let payment = settled(session, Some(charge));
    match &payment.charge {
        Some(charge) if charge.state.is_live() => Err(Error::PaymentInProgress {
            attempt: charge.id.to_string(),
            since_ms: charge.created_at.as_millis(),
        }),
        _ => Ok(payment),
    }
}

fn settled(session: Session, charge: Option<&str>) -> Payment {
    let mut charges = session.payment_intent.iter().flat_map(|intent| &intent.charges);
    let charge = charges.find(|known| Some(known.id.as_str()) == charge).cloned();
    Payment { session, charge }
}

fn ask(
    kind: AskKind,
    attempt: &Attempt,
    world: World,
    token: i64,
    asked_at: Timestamp,
    deadline: Timestamp,
) -> Result<Ask> {
    Ok(Ask {
        kind,
        processor: attempt.processor.clone(),
        request: Request::from_bytes(&attempt.request)?,
        reference: attempt.reference.clone(),
        deadline,
        world,
        attempt: attempt.id.clone(),
        token,
        asked_at,
    })
}

impl App {
    /// Charges whose money settled nothing and waits for a decision, oldest first, up to `limit`
    /// (1 to 100).
    ///
    /// # Errors
    /// [`Error::Invalid`] for the limit; [`Error::Storage`].
    pub fn held_charges(&self, limit: u32) -> Result<Vec<Charge>> {
        let limit = super::page_size(limit)?;
        self.core
            .view(self.world, |view| store::payment::held(view.sql, view.world, limit))
    }
}
