//! What came of deliveries: written down, and what follows for their endpoints.

use std::collections::BTreeSet;
use std::time::Duration;

use super::exhausted;
use crate::access::Actor;
use crate::change::Change;
use crate::digest::Fields;
use crate::engine::core::Core;
use crate::engine::settling::patiently;
use crate::engine::trace;
use crate::error::Result;
use crate::event::{EventKind, Happening, Subject};
use crate::hook::TransportOutcome;
use crate::id::World;
use crate::store::outbox::Report;
use crate::store::{self, Access};
use crate::time::Timestamp;
use crate::webhook::{ClaimedDelivery, DeliveryEvent, EndpointState, weigh};

/// What came of a delivery.
#[derive(Clone, Copy)]
pub(super) struct Sent<'a> {
    pub(super) delivery: &'a ClaimedDelivery,
    pub(super) outcome: &'a TransportOutcome,
    /// Host time at which it was sent.
    pub(super) started: Timestamp,
}

impl<'a> Sent<'a> {
    /// By a host that sends by itself. When it did so it does not say.
    pub(super) fn by_host(delivery: &'a ClaimedDelivery, outcome: &'a TransportOutcome) -> Sent<'a> {
        Sent {
            delivery,
            outcome,
            started: delivery.request.signed_at,
        }
    }

    fn report(self, ended: Timestamp) -> Report {
        let Sent {
            delivery,
            outcome,
            started,
        } = self;
        Report {
            world: delivery.world,
            delivery: delivery.id.clone(),
            token: delivery.token,
            attempt: delivery.attempt,
            started,
            ended,
            attempted: weigh(delivery.attempt, outcome, ended, chance(delivery)),
            is_repeated: false,
        }
    }
}

impl Core {
    /// Writes down what came of deliveries, in one transaction, and tries for so long while the disk fails.
    pub(super) fn acknowledge(&self, sent: &[Sent<'_>], patience: Duration) -> Result<Vec<bool>> {
        let ended = self.clock.now();
        let mut reports: Vec<Report> = sent.iter().map(|sent| sent.report(ended)).collect();
        let access = match reports.len() {
            0..=16 => Access::Shared,
            _ => Access::Alone,
        };
        let mut alarms = Vec::new();
        let written = patiently(self, patience, || {
            let tried = reports.clone();
            for report in &mut reports {
                report.is_repeated = true;
            }
            self.write_raw_noting(access, "acknowledge", &mut alarms, move |sql| {
                let mut acked = Vec::new();
                for (report, found) in tried.iter().zip(store::outbox::acknowledge(sql, &tried)?) {
                    let last = found.counted && report.attempted.event == DeliveryEvent::FailedLast;
                    let alarm =
                        last.then(|| exhausted(sql, report.world, found.endpoint.clone(), report.delivery.clone()));
                    acked.push((found, alarm.transpose()?));
                }
                Ok(acked)
            })
        });
        let acked = match written {
            Ok(acked) => acked,
            Err(error) => {
                self.alarms.tell(alarms);
                return Err(error);
            }
        };
        for sent in sent {
            trace::delivered(sent.delivery, answered_status(sent.outcome));
        }
        self.bell.ring();
        let mut counted = Vec::new();
        let mut to_suspend = BTreeSet::new();
        for (report, (found, alarm)) in reports.iter().zip(acked) {
            match report.attempted.event {
                _ if !found.counted => {}
                DeliveryEvent::Accepted => self.counted.delivered.add(1),
                _ => self.counted.failed.add(1),
            }
            self.counted.exhausted.add(usize::from(alarm.is_some()));
            alarms.extend(alarm);
            to_suspend.extend(found.to_suspend.map(|number| (report.world, number)));
            counted.push(found.counted);
        }
        self.alarms.tell(alarms);
        for (world, number) in to_suspend {
            // What came of the deliveries is written down whatever becomes of this; the endpoint's next
            // failure brings it about as well.
            let _ = self.suspend(world, number);
        }
        Ok(counted)
    }

    /// Suspends an endpoint that has failed for as long as it may.
    fn suspend(&self, world: World, number: i64) -> Result<()> {
        let moment = self.moment(world, Actor::Runner, "acknowledge.suspend")?;
        self.write(moment, move |tx| {
            let known = store::endpoint::with_sealed(tx.sql, tx.world, number, tx.host_now)?;
            let flow = store::outbox::flow(tx.sql, tx.world, number)?;
            let Some((mut endpoint, _)) = known.filter(|(endpoint, _)| endpoint.state == EndpointState::Enabled) else {
                return Ok(());
            };
            let failed_for = |long| flow.has_failed_for(long, tx.host_now);
            if !endpoint.suspend_after.is_some_and(failed_for) {
                return Ok(());
            }
            let (from, to) = (endpoint.state.as_str(), EndpointState::Suspended);
            endpoint.state = to;
            let mut change = Change::new();
            let suspended = Happening::moved(EventKind::EndpointSuspended, from, to.as_str());
            change.record(Subject::Endpoint(endpoint), [suspended]);
            tx.apply(&change)?;
            store::outbox::put_flow(tx.sql, tx.world, number, flow, flow.forgiven())
        })
    }

    /// Gives claims back that were not used, each due when it was due before.
    pub(super) fn give_back(&self, deliveries: impl IntoIterator<Item = ClaimedDelivery>) -> Result<()> {
        let deliveries: Vec<ClaimedDelivery> = deliveries.into_iter().collect();
        if deliveries.is_empty() {
            return Ok(());
        }
        let unused = deliveries.len();
        self.write_raw(Access::Shared, "give_back", move |sql| {
            for delivery in &deliveries {
                store::outbox::give_back(sql, delivery.world, &delivery.id, delivery.token, delivery.was_due)?;
            }
            Ok(())
        })?;
        self.counted.given_back.add(unused);
        self.bell.ring();
        Ok(())
    }
}

/// What spreads a delivery's next attempt: of the random number that fenced its claim, and its own.
fn chance(delivery: &ClaimedDelivery) -> u64 {
    Fields::new().int(delivery.token).text(delivery.id.as_str()).short()
}

/// The status that an endpoint answered; none if it did not.
fn answered_status(outcome: &TransportOutcome) -> Option<u16> {
    match outcome {
        TransportOutcome::Answered(answer) => Some(answer.status),
        TransportOutcome::Failed { .. } => None,
    }
}
