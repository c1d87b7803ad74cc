//! The middle beat: what is to be asked of a processor, and the asking.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Engine;
use super::alarms::shielded;
use super::core::Core;
use super::settling::{Settled, settle};
use super::trace;
use crate::alarm::{Alarm, Hook};
use crate::error::{Error, Result};
use crate::hook::{Answer, Cancel, Capabilities, Lookup, LookupKey, Outcome, Request};
use crate::id::{AttemptId, Mode, World};
use crate::payment::{Attempt, Await};
use crate::store::{self, Access, Tx};
use crate::time::Timestamp;

/// How long after a call's own timeout its answer is still waited for before it counts as lost.
pub(super) const LEASE_MARGIN: Duration = Duration::from_secs(10);

/// The most look-ups that are taken from one world at once, so that their leases last.
const MAX_CLAIM: u32 = 16;

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
    /// The processor's own name for the payment, exactly as it gave it; none where none was learned,
    /// or none that is kept (see [`crate::Receipt::reference`]).
    pub reference: Option<String>,
    /// Host time until which the call may run. A call that was not made by then must not be made at
    /// all: answer [`Outcome::NotSent`].
    pub deadline: Timestamp,
    pub(super) world: World,
    pub(super) attempt: AttemptId,
    pub(super) token: i64,
    pub(super) asked_at: Timestamp,
}

/// What a processor is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AskKind {
    /// To carry out the request; answer with [`Answer::Executed`].
    Execute,
    /// What became of it; answer with [`Answer::LookedUp`].
    LookUp,
    /// To call it off; answer with [`Answer::Canceled`].
    Cancel,
}

impl Engine {
    /// Takes up to `limit` calls that are due, over all apps, of the processors that this engine has:
    /// look-ups, what is to be called off, and what is committed and not asked for yet, such as refunds
    /// that the engine makes by itself. For a host that calls the processor itself; `run_due` is this with the hook. Idempotent by state: what is held is not taken
    /// again.
    ///
    /// # Errors
    /// [`crate::Error::Storage`].
    ///
    /// # Durability
    /// The claims are on disk when this returns.
    ///
    /// # Events
    /// None; `charge.unresolved` or `refund.unresolved` where a processor cannot be looked up.
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
            .read(|sql| store::attempt::asks_due(sql, world, host_now, &names, limit))?;
        for attempt in due {
            let capabilities = match self.core.capabilities(world.mode, &attempt.processor) {
                Ok(Some(capabilities)) => capabilities,
                Ok(None) => continue,
                Err(panicked) => {
                    self.core.alarms.tell([panicked]);
                    Capabilities::default()
                }
            };
            let lease = host_now.plus(capabilities.call_timeout + LEASE_MARGIN);
            let claimed = attempt.clone();
            let won = self.core.write_raw(Access::Shared, "claim_asks", move |sql| {
                store::attempt::claim(sql, world, &claimed, lease)
            })?;
            if !won {
                continue;
            }
            let deadline = host_now.plus(capabilities.call_timeout);
            let kind = match attempt.next {
                Some((Await::Call, _)) => AskKind::Execute,
                Some((Await::Cancel, _)) => AskKind::Cancel,
                _ => AskKind::LookUp,
            };
            let ask = ask(kind, &attempt, world, attempt.token + 1, host_now, deadline)?;
            if kind != AskKind::LookUp || capabilities.lookup {
                asks.push(ask);
            } else {
                let why = "the processor has no look-ups".to_owned();
                settle(&self.core, &ask, &Answer::LookedUp(Lookup::CannotTell { why }))?;
            }
        }
        Ok(())
    }
}

impl Core {
    /// Calls the processor and works what it answers into the file.
    pub(super) fn ask_and_settle(&self, ask: &Ask) -> Result<Settled> {
        let mut panicked = None;
        let answer = self.ask(ask, &mut panicked);
        let settled = settle(self, ask, &answer);
        self.alarms.tell(panicked);
        settled
    }

    /// Calls the processor. Whatever goes wrong in there, an answer comes out.
    pub(super) fn ask(&self, ask: &Ask, panicked: &mut Option<Alarm>) -> Answer {
        let processor = self.processor(ask.world.mode, &ask.processor).map(Arc::clone);
        let nobody = || format!("no processor {:?} in this process", ask.processor);
        let hook = || processor_hook(ask.world.mode, &ask.processor);
        let mut noted = |alarm| {
            *panicked = Some(alarm);
            "the processor's code panicked".to_owned()
        };
        let counted = &self.counted.processor_calls;
        let answer = match ask.kind {
            // A process that slept has lost its lease: the attempt may have been looked up, found
            // nowhere and closed by now, and the buyer may have paid again.
            AskKind::Execute if self.clock.now() > ask.deadline => Answer::Executed(Outcome::NotSent {
                why: "the call's time was over before it was made".to_owned(),
            }),
            AskKind::Execute => Answer::Executed(match processor {
                Some(processor) => {
                    counted.add(1);
                    shielded(hook, || processor.execute(&ask.request, ask.deadline))
                        .unwrap_or_else(|alarm| Outcome::Unknown { why: noted(alarm) })
                }
                // Nothing was called, and nothing will be: this is certain.
                None => Outcome::NotSent { why: nobody() },
            }),
            AskKind::Cancel => Answer::Canceled(match processor {
                Some(processor) => {
                    let key = LookupKey {
                        request: &ask.request,
                        reference: ask.reference.as_deref(),
                    };
                    counted.add(1);
                    shielded(hook, || processor.cancel(&key))
                        .unwrap_or_else(|alarm| Cancel::CannotTell { why: noted(alarm) })
                }
                None => Cancel::CannotTell { why: nobody() },
            }),
            AskKind::LookUp => Answer::LookedUp(match processor {
                Some(processor) => {
                    let key = LookupKey {
                        request: &ask.request,
                        reference: ask.reference.as_deref(),
                    };
                    counted.add(1);
                    shielded(hook, || processor.lookup(&key))
                        .unwrap_or_else(|alarm| Lookup::CannotTell { why: noted(alarm) })
                }
                None => Lookup::CannotTell { why: nobody() },
            }),
        };
        trace::asked(ask, &answer);
        answer
    }

    /// What each processor of a mode can do. One whose code panics says the least.
    pub(super) fn all_capabilities(&self, mode: Mode) -> BTreeMap<String, Capabilities> {
        let names = self.processors(mode).by_name.keys();
        names
            .map(|name| {
                let known = self.capabilities(mode, name).unwrap_or_else(|panicked| {
                    self.alarms.tell([panicked]);
                    None
                });
                (name.clone(), known.unwrap_or_default())
            })
            .collect()
    }

    /// What a processor can do; none where this process does not have it. An error is the alarm of a
    /// panic in its code, which may pass.
    pub(super) fn capabilities(&self, mode: Mode, name: &str) -> Result<Option<Capabilities>, Alarm> {
        let Some(processor) = self.processor(mode, name) else {
            return Ok(None);
        };
        let known = shielded(|| processor_hook(mode, name), || processor.capabilities())?;
        // The field can be written past the setter and its bounds.
        let call_timeout = known.call_timeout;
        Ok(Some(known.call_timeout(call_timeout)))
    }
}

pub(super) fn processor_hook(mode: Mode, name: &str) -> Hook {
    let name = name.to_owned();
    Hook::Processor { name, mode }
}

/// Takes an attempt to be asked about at once: what became of it, or to call it off. How long the call may
/// take; none where its own call is in flight or yet to be made, or somebody else was first.
///
/// # Errors
/// `NoProcessor` where this process has not the processor.
pub(super) fn take_now(
    tx: &mut Tx<'_>,
    attempt: &Attempt,
    kind: AskKind,
    known: &BTreeMap<String, Capabilities>,
) -> Result<Option<Duration>> {
    let timeout = known.get(&attempt.processor).map(|known| known.call_timeout);
    let timeout = timeout.ok_or_else(|| Error::NoProcessor {
        name: attempt.processor.clone(),
        mode: tx.world.mode.as_str(),
    })?;
    let lease = tx.host_now.plus(timeout + LEASE_MARGIN);
    let is_ours = if kind == AskKind::Cancel {
        store::attempt::call_off(tx.sql, tx.world, attempt, lease)?
    } else {
        let is_due = !matches!(attempt.next, Some((Await::Answer | Await::Call, _)));
        is_due && store::attempt::claim(tx.sql, tx.world, attempt, lease)?
    };
    Ok(is_ours.then_some(timeout))
}

pub(super) fn ask(
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
