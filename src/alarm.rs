//! What somebody has to look at. An alarm about money is read off what a change writes down
//! anyway, so that there is no second list of what happened.

use std::fmt;

use crate::error::{Error, StorageError};
use crate::event::{EventKind, Happening, Subject};
use crate::id::{
    ChargeId, CustomerId, DeliveryId, DisputeId, EndpointId, Mode, NotificationId, RefundId, SessionId, SetupId,
};
use crate::payment::{Charge, Hold, Refund, RefundState};

/// Something that has just come about and that somebody has to look at; told to the callback of
/// [`crate::Builder::on_alarm`]. Printed, it is a line for a log. It holds no secret and nothing of
/// a buyer.
///
/// # When it is told
/// After the commit of what it tells of, so that the callback reads it in the file; from the thread
/// whose call brought it about, before that call returns, with no lock held and no transaction open.
/// What [`crate::Builder::open`] finds is told before it returns. The work itself does not wait for
/// it: an answer of the processor is on disk before anybody is told what was wrong with it.
///
/// # How often
/// Once per thing that came about, by the process that brought it about. Several callers may be told of
/// one commit, each of its own call. A process that dies between the commit and the callback tells
/// nobody; nor is that told, but for the doubt itself, which a commit in doubt turns out to have
/// brought about. So ask [`crate::Engine::health`] after a start and after
/// [`Alarm::CommitUnknown`].
///
/// # What the callback may do
/// Anything, calls into the engine included; the caller waits meanwhile. What its own calls bring
/// about is told inside it, four deep at most. A panic in it is caught and goes no further.
///
/// # What it is not
/// A record. Without a callback nothing is lost: what still is so is in [`crate::Engine::health`],
/// and what happened is in the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Alarm {
    /// Look-ups cannot tell what came of a charge, whether the service had accepted it or not: ask
    /// the payment service. Told after eight look-ups in a row that said nothing, or at once where
    /// none are possible. Look-ups that are possible go on, and may still resolve it; if the service
    /// is heard of it and falls silent again, this is told again. What was found there is said with
    /// [`crate::App::resolve`].
    #[non_exhaustive]
    ChargeUnresolved {
        /// The app's slug.
        app: String,
        /// The session that is being paid.
        session: SessionId,
        /// The charge.
        charge: ChargeId,
    },
    /// Money arrived that settled nothing, and waits for a decision: a refund, or
    /// [`crate::App::keep_held`]; over another amount than was asked, [`crate::App::resolve`].
    #[non_exhaustive]
    ChargeHeld {
        /// The app's slug.
        app: String,
        /// The session that it was meant for.
        session: SessionId,
        /// The charge.
        charge: ChargeId,
        /// Why it settled nothing.
        why: Hold,
    },
    /// Look-ups cannot tell what came of a refund, another amount went back than was asked, or a
    /// refund of the engine's own does not get through to the service: look there. As with charges,
    /// told after eight times; what can be tried goes on being tried. [`crate::App::resolve`] is the way
    /// out.
    #[non_exhaustive]
    RefundUnresolved {
        /// The app's slug.
        app: String,
        /// The charge whose money goes back.
        charge: ChargeId,
        /// The refund.
        refund: RefundId,
    },
    /// Nobody can tell what came of a setup, or it succeeded without a payment method that could be kept,
    /// or moved money, be it after it was over: ask the payment service. What was moved is in the evidence
    /// ([`crate::App::attempts_about`]). Told as of charges.
    #[non_exhaustive]
    SetupUnresolved {
        /// The app's slug.
        app: String,
        /// The customer whose method was to be saved.
        customer: CustomerId,
        /// The setup.
        setup: SetupId,
    },
    /// A refund failed for certain, or was called off, that the engine made by itself or that had gone
    /// through before: the money is here, and is somebody else's.
    #[non_exhaustive]
    RefundFailed {
        /// The app's slug.
        app: String,
        /// The charge whose money was to go back.
        charge: ChargeId,
        /// The refund.
        refund: RefundId,
    },
    /// A refund went through that had failed before, or over another amount than somebody had said, or the
    /// service gave money back once more for it, for which nothing is left of the charge. What the service said
    /// is in the evidence ([`crate::App::attempts_about`]): compare with the service. Told once per name that the
    /// service gives.
    #[non_exhaustive]
    RefundContradicted {
        /// The app's slug.
        app: String,
        /// The charge whose money went back.
        charge: ChargeId,
        /// The refund.
        refund: RefundId,
    },
    /// A buyer disputes a charge with their bank: answer there in time.
    #[non_exhaustive]
    DisputeOpened {
        /// The app's slug.
        app: String,
        /// The charge.
        charge: ChargeId,
        /// The dispute.
        dispute: DisputeId,
    },
    /// A payment service told of something that cannot be written down: a refund of more than is left of
    /// the charge, or of one that took nothing here, or a dispute in another currency. Compare with the
    /// service.
    #[non_exhaustive]
    NotificationHeld {
        /// The app's slug.
        app: String,
        /// The processor's name.
        processor: String,
        /// The notice.
        notification: NotificationId,
        /// Why it cannot be.
        why: String,
    },
    /// A payment service spoke of something that nothing here is about, and for days nothing turned up: a
    /// payment that somebody made there by hand, another program with the same account, or a file that was
    /// restored from a backup. Compare with the service.
    #[non_exhaustive]
    NotificationUnmatched {
        /// The app's slug.
        app: String,
        /// The processor's name.
        processor: String,
        /// The notice.
        notification: NotificationId,
    },
    /// The service took money in another way than the charge has it: a capture that had failed took it after
    /// all, or an attempt that had taken its own took something else under another name, or over another amount
    /// than somebody had said. It is booked nowhere; name and amount are in the evidence
    /// ([`crate::App::attempts_about`]): compare with the service. Told once per name that the service gives.
    #[non_exhaustive]
    ChargeContradicted {
        /// The app's slug.
        app: String,
        /// The session that was paid.
        session: SessionId,
        /// The charge.
        charge: ChargeId,
    },
    /// The last attempt of a delivery failed; there will be no other.
    #[non_exhaustive]
    DeliveryExhausted {
        /// The app's slug.
        app: String,
        /// Where it was to go.
        endpoint: EndpointId,
        /// The delivery.
        delivery: DeliveryId,
    },
    /// This engine has not the key that opens an endpoint's secret; its deliveries wait. Told once
    /// per open engine and endpoint, when its deliveries are first looked for.
    #[non_exhaustive]
    EndpointSealed {
        /// The app's slug.
        app: String,
        /// The endpoint.
        endpoint: EndpointId,
    },
    /// Every attempt at an endpoint had failed for as long as the endpoint may, and a delivery had run out of
    /// attempts: its deliveries wait until somebody enables it again.
    #[non_exhaustive]
    EndpointSuspended {
        /// The app's slug.
        app: String,
        /// The endpoint.
        endpoint: EndpointId,
    },
    /// A call was told [`crate::StorageKind::OutcomeUnknown`], or was in the middle of retrying
    /// after it: look at the disk.
    #[non_exhaustive]
    CommitUnknown {
        /// What was being done, in the words of [`crate::Event::cause`].
        doing: &'static str,
        /// What the commit said.
        error: StorageError,
    },
    /// What is committed could not be worked into the file proper, because the disk failed. Nothing is
    /// lost: it stays in the write-ahead log, which is on disk, and everything goes on. But the log
    /// only grows from here on, and reads become slower with it. Look at the disk; then close every
    /// engine and every other program that has the file open, and open it again. Told once per open
    /// engine.
    #[non_exhaustive]
    LogKept {
        /// What failed.
        error: StorageError,
    },
    /// The host's own code panicked. The panic was caught and counted as the answer that promises
    /// least; of a transport, as if nothing had been sent.
    #[non_exhaustive]
    HookPanicked {
        /// Which code.
        hook: Hook,
    },
    /// A consumer did not take an event, and stays before it until it does: look at
    /// [`crate::Consumers::list`], which says why. Told of the first failure in a row.
    #[non_exhaustive]
    ConsumerFailing {
        /// The app's slug.
        app: String,
        /// The mode.
        mode: Mode,
        /// The consumer's name.
        consumer: String,
        /// The event's position.
        position: i64,
    },
    /// A thread of a runner failed, rests, and tries again. Told again only after it has worked in
    /// between.
    #[non_exhaustive]
    RunnerRests {
        /// Why; none after a panic, which only a clock or a source of randomness can bring about.
        error: Option<Error>,
    },
}

/// Which of the host's hooks.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hook {
    /// A processor.
    #[non_exhaustive]
    Processor {
        /// The name that it was given.
        name: String,
        /// The mode that it is of.
        mode: Mode,
    },
    /// The rule that chooses a processor.
    Route,
    /// The transport.
    Transport,
    /// A consumer.
    #[non_exhaustive]
    Consumer {
        /// The name that it was given.
        name: String,
    },
}

/// What somebody has to look at in what happened to an object.
pub(crate) fn raised_by(app: &str, subject: &Subject, happenings: &[Happening]) -> Option<Alarm> {
    match subject {
        Subject::Charge(charge) => of_charge(app, charge, happenings),
        Subject::Refund(refund) => of_refund(app, refund, happenings),
        Subject::Setup(setup) => {
            let unresolved = |happening: &Happening| happening.kind == EventKind::SetupUnresolved;
            happenings.iter().any(unresolved).then(|| Alarm::SetupUnresolved {
                app: app.to_owned(),
                customer: setup.customer.clone(),
                setup: setup.id.clone(),
            })
        }
        Subject::Dispute(dispute) => {
            let opened = |happening: &Happening| happening.kind == EventKind::DisputeCreated;
            happenings.iter().any(opened).then(|| Alarm::DisputeOpened {
                app: app.to_owned(),
                charge: dispute.charge.clone(),
                dispute: dispute.id.clone(),
            })
        }
        Subject::Endpoint(endpoint) => {
            let suspended = |happening: &Happening| happening.kind == EventKind::EndpointSuspended;
            happenings.iter().any(suspended).then(|| Alarm::EndpointSuspended {
                app: app.to_owned(),
                endpoint: endpoint.id.clone(),
            })
        }
        _ => None,
    }
}

fn of_refund(app: &str, refund: &Refund, happenings: &[Happening]) -> Option<Alarm> {
    let (app, charge, id) = (app.to_owned(), refund.charge.clone(), refund.id.clone());
    let happened = |kind| happenings.iter().any(|happening| happening.kind == kind);
    let states = [RefundState::Failed, RefundState::Canceled].map(RefundState::as_str);
    let fell_back = |happening: &Happening| {
        happening.to.is_some_and(|to| states.contains(&to))
            && (refund.is_automatic() || happening.from == Some(RefundState::Succeeded.as_str()))
    };
    if happened(EventKind::RefundContradicted) {
        return Some(Alarm::RefundContradicted {
            app,
            charge,
            refund: id,
        });
    }
    if happenings.iter().any(fell_back) {
        return Some(Alarm::RefundFailed {
            app,
            charge,
            refund: id,
        });
    }
    happened(EventKind::RefundUnresolved).then_some(Alarm::RefundUnresolved {
        app,
        charge,
        refund: id,
    })
}

fn of_charge(app: &str, charge: &Charge, happenings: &[Happening]) -> Option<Alarm> {
    let happened = |kind| happenings.iter().any(|happening| happening.kind == kind);
    let (app, session, charge_id) = (app.to_owned(), charge.session.clone(), charge.id.clone());
    let arrived = happened(EventKind::ChargeSucceeded) || happened(EventKind::ChargeMismatch);
    // What is on its way back already waits for nobody.
    let waits = |_: &Hold| arrived && (charge.awaits_decision() || charge.refundable() > 0);
    match charge.hold.filter(waits) {
        // What arrived over another amount is unresolved as well; it is one case for one person.
        Some(why) => Some(Alarm::ChargeHeld {
            app,
            session,
            charge: charge_id,
            why,
        }),
        None if !arrived && happened(EventKind::ChargeContradicted) => Some(Alarm::ChargeContradicted {
            app,
            session,
            charge: charge_id,
        }),
        None if charge.hold.is_none() && happened(EventKind::ChargeUnresolved) => Some(Alarm::ChargeUnresolved {
            app,
            session,
            charge: charge_id,
        }),
        None => None,
    }
}

impl fmt::Display for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Alarm::ChargeUnresolved { app, session, charge } => write!(
                f,
                "{app}: look-ups cannot tell what came of charge {charge} of session {session}; ask the payment service"
            ),
            Alarm::ChargeHeld {
                app,
                session,
                charge,
                why,
            } => write!(
                f,
                "{app}: charge {charge} of session {session} took money that settles nothing ({}); decide about it",
                why.as_str()
            ),
            Alarm::RefundUnresolved { app, charge, refund } => write!(
                f,
                "{app}: nobody can tell what came of refund {refund} of charge {charge}; ask the payment service"
            ),
            Alarm::SetupUnresolved { app, customer, setup } => write!(
                f,
                "{app}: setup {setup} of customer {customer} moved money, or nobody can tell whether it saved a payment \
                 method; ask the payment service"
            ),
            Alarm::RefundFailed { app, charge, refund } => write!(
                f,
                "{app}: refund {refund} of charge {charge} failed; the money is here, decide about it"
            ),
            Alarm::RefundContradicted { app, charge, refund } => write!(
                f,
                "{app}: the payment service gave back for refund {refund} of charge {charge} what is not booked so; \
                 its evidence says how much, compare with the service"
            ),
            Alarm::DisputeOpened { app, charge, dispute } => write!(
                f,
                "{app}: the buyer disputes charge {charge} (dispute {dispute}); answer the payment service in time"
            ),
            Alarm::NotificationHeld {
                app,
                processor,
                notification,
                why,
            } => write!(
                f,
                "{app}: notification {notification} of processor {processor:?} cannot be written down ({why}); compare \
                 with the payment service"
            ),
            Alarm::NotificationUnmatched {
                app,
                processor,
                notification,
            } => write!(
                f,
                "{app}: notification {notification} of processor {processor:?} is about nothing that is known here; \
                 compare with the payment service"
            ),
            Alarm::ChargeContradicted { app, session, charge } => write!(
                f,
                "{app}: the payment service took money for charge {charge} of session {session} that is booked \
                 nowhere; its evidence says how much, compare with the service"
            ),
            Alarm::DeliveryExhausted {
                app,
                endpoint,
                delivery,
            } => write!(
                f,
                "{app}: delivery {delivery} to endpoint {endpoint} failed for the last time"
            ),
            Alarm::EndpointSealed { app, endpoint } => write!(
                f,
                "{app}: the secret of endpoint {endpoint} does not open with this engine's sealing key; its deliveries wait"
            ),
            Alarm::EndpointSuspended { app, endpoint } => write!(
                f,
                "{app}: endpoint {endpoint} has accepted nothing for too long and is suspended; its deliveries wait"
            ),
            Alarm::CommitUnknown { doing, error } => write!(f, "{doing}: {error}"),
            // Its kind says that nothing was written, which is of the call that failed and not of this.
            Alarm::LogKept { error } => f.write_str(&error.detail),
            Alarm::HookPanicked { hook } => write!(f, "{hook} panicked"),
            Alarm::ConsumerFailing {
                app,
                mode,
                consumer,
                position,
            } => write!(
                f,
                "{app}: consumer {consumer:?} does not take event {position} of {mode} mode and stays before it; \
                 App::consumers says why"
            ),
            Alarm::RunnerRests { error: Some(error) } => write!(f, "a thread of the runner rests: {error}"),
            Alarm::RunnerRests { error: None } => f.write_str("a thread of the runner rests: it panicked"),
        }
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Hook::Processor { name, mode } => write!(f, "the processor {name:?} of {mode} mode"),
            Hook::Route => f.write_str("the rule that chooses a processor"),
            Hook::Transport => f.write_str("the transport"),
            Hook::Consumer { name } => write!(f, "the consumer {name:?}"),
        }
    }
}

#[cfg(test)]
mod tests;
