//! How fast webhooks leave for endpoints that answer, beside one that does not and to which 100,000 are
//! due.
//!
//! What is measured is what the file and the claims cost, so nothing is waited for. That stands for a
//! host that sends many at once: its healthy deliveries do not wait for the dead one's answer, only for
//! their turn to be claimed. A host that sends one after the other waits thirty seconds for each
//! attempt at the dead one, whatever claims it.
//!
//! The dead one is dead in two ways. It *refuses*: each attempt has failed at once, through the
//! transport of `run_due`, and the clock stands still, so that as many attempts are made at it as the
//! engine ever lets through. Or it is *silent*: an attempt fails when thirty seconds of the clock have
//! passed, and takes one of its places until then. The clock is moved by thirty seconds whenever the
//! healthy ones have got about a thousand, which no real host needs as long for; so retries that fall
//! due, too, come more often than they do beside a healthy drain at full speed.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use tillite::{Budget, ClaimedDelivery, Clock, Engine, SignedRequest, SystemClock, Timestamp, TransportOutcome, Work};

use crate::pile::{accepted, acknowledge, add_endpoint, copy, in_turns, middle, per_second, pile, sell, spread};
use crate::shop::{Shop, connect, run};

const BATCH: usize = 64;

/// After how many batches the clock is moved.
const BATCHES: usize = 16;

/// The machine's clock, ahead by so many seconds.
#[derive(Clone, Default)]
struct Ahead(Arc<AtomicU64>);

impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        SystemClock
            .now()
            .plus(Duration::from_secs(self.0.load(Ordering::Relaxed)))
    }
}

fn is_dead(request: &SignedRequest) -> bool {
    request.url.contains("piled-up")
}

pub(crate) fn measure(quick: bool) {
    // An app has a hundred endpoints at the most.
    let (rounds, piled, healthy, each) = if quick { (1, 200, 9, 8) } else { (5, 100_000, 99, 40) };
    let place = TempDir::new().unwrap();
    let file = pile(&place, piled);
    let beside = Host::open(copy(&file, "beside.db"), healthy);
    let alone = copy(&file, "alone.db");
    // Switched off, with nothing due to it; everything else in the file is the same.
    let connection = connect(&alone);
    run(&connection, "DELETE FROM tillite_delivery");
    run(&connection, "UPDATE tillite_endpoint SET state = 'disabled'");
    drop(connection);
    let alone = Host::open(alone, healthy);
    println!(
        "\n{:<44} {:>14} {:>14}   beside/alone",
        format!("{healthy} healthy endpoints, and a dead endpoint"),
        "beside it",
        "alone"
    );
    let mut hosts = [beside, alone];
    for (name, batch) in [
        ("that refuses", Host::run as fn(&mut Host) -> usize),
        ("that is silent", Host::send),
    ] {
        let (mut rates, mut ratios) = ([const { Vec::new() }; 2], Vec::new());
        for _ in 0..rounds {
            for host in &hosts {
                sell(&host.shop, each);
            }
            let [beside, alone] = &mut hosts;
            let took = in_turns(healthy * each, [&mut || batch(beside), &mut || batch(alone)]);
            let [with, without] = took.map(|took| per_second(healthy * each, took));
            rates[0].push(with);
            rates[1].push(without);
            ratios.push(with / without);
            for host in &mut hosts {
                host.settle();
            }
        }
        let [with, without] = rates.map(|mut rates| middle(&mut rates));
        let attempts = hosts[0].attempts();
        println!(
            "{name:<44} {with:>12.0}/s {without:>12.0}/s   {}, {attempts} attempts at it",
            spread(ratios)
        );
    }
}

/// A host with an engine of its own, and what it has on its way to the endpoint that is silent.
struct Host {
    shop: Shop,
    clock: Ahead,
    silent: Vec<ClaimedDelivery>,
    batches: usize,
    told: Arc<AtomicU64>,
}

impl Host {
    fn open(path: impl AsRef<Path>, healthy: usize) -> Host {
        let clock = Ahead::default();
        let told = Arc::new(AtomicU64::new(0));
        let attempts = Arc::clone(&told);
        let refuses = move |request: &SignedRequest| {
            if is_dead(black_box(request)) {
                attempts.fetch_add(1, Ordering::Relaxed);
                return failed("connection refused");
            }
            accepted()
        };
        let builder = Engine::builder().clock(clock.clone()).transport(refuses);
        let shop = Shop::with(builder, path.as_ref());
        for endpoint in 0..healthy {
            add_endpoint(&shop, &format!("healthy-{endpoint}"));
        }
        Host {
            shop,
            clock,
            silent: Vec::new(),
            batches: 0,
            told,
        }
    }

    /// A batch through the transport; answers how many were accepted.
    fn run(&mut self) -> usize {
        let budget = Budget::items(BATCH).work(Work::DELIVERIES);
        self.shop.engine.run_due(budget).unwrap().delivered
    }

    /// A batch that the host sends itself.
    fn send(&mut self) -> usize {
        let now = self.clock.now();
        let given_up = |delivery: &ClaimedDelivery| delivery.request.signed_at.plus(delivery.request.timeout) <= now;
        let mut answers: Vec<(ClaimedDelivery, TransportOutcome)> = Vec::new();
        for delivery in std::mem::take(&mut self.silent) {
            if given_up(&delivery) {
                self.told.fetch_add(1, Ordering::Relaxed);
                answers.push((delivery, failed("no answer within thirty seconds")));
            } else {
                self.silent.push(delivery);
            }
        }
        let mut done = 0;
        for delivery in self.shop.engine.claim_deliveries(BATCH).unwrap() {
            if is_dead(black_box(&delivery.request)) {
                self.silent.push(delivery);
            } else {
                done += 1;
                answers.push((delivery, accepted()));
            }
        }
        acknowledge(&self.shop.engine, &answers);
        self.batches += 1;
        if self.batches.is_multiple_of(BATCHES) {
            self.clock.0.fetch_add(30, Ordering::Relaxed);
        }
        done
    }

    /// Gives up what is still on its way.
    fn settle(&mut self) {
        let given_up: Vec<_> = std::mem::take(&mut self.silent)
            .into_iter()
            .map(|delivery| (delivery, failed("no answer within thirty seconds")))
            .collect();
        acknowledge(&self.shop.engine, &given_up);
    }

    /// How many attempts at the dead one have failed since this was asked before.
    fn attempts(&self) -> u64 {
        self.told.swap(0, Ordering::Relaxed)
    }
}

fn failed(why: &str) -> TransportOutcome {
    TransportOutcome::Failed { why: why.to_owned() }
}
