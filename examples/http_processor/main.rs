//! A processor over HTTP, and a payment service that does its best to make it charge twice.
//!
//! `cargo run --example http_processor` starts the service on a port of its own (`provider.rs`), sells
//! through it with a real `Processor` (`processor.rs`, the file to copy), settles by look-ups and by the
//! service's own notifications whatever got lost between the two, and then compares the service's books
//! with the file, cent by cent.

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tillite::{
    Action, Amount, App, Budget, Charge, ChargeState, Clock, Currency, Engine, Error, Expect, Mode, NewLine, NewRefund,
    NewSession, RefundState, Secret, SessionId, SessionState, SystemClock, Timestamp,
};

#[path = "../support/http.rs"]
mod http;
mod processor;
mod provider;
#[cfg(test)]
mod tests;

use http::{Reply, Server};
use processor::Fickle;
use provider::{Entry, Provider, Trouble};

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

const BUYERS: u32 = 40;

/// The account's key, and the secret of what the service posts. A real host keeps both out of its code.
const KEY: &str = "fk_test_1";
const SIGNING: &str = "fs_test_1";

/// How long the host waits for an answer. A real one waits 10 seconds or more; this one knows that its
/// service is on the same machine.
const PATIENCE: Duration = Duration::from_millis(250);

/// Longer than it takes until a "not found" is final.
const A_WHILE: Duration = Duration::from_secs(120);

fn main() -> Fallible<()> {
    let directory = tempfile::tempdir()?;
    let clock = Turnable::default();
    let provider = Provider::start(KEY, Arc::new(clock.clone()))?;
    println!("Fickle, a payment service, listens on {}", provider.url());

    let secrets = (Secret::new(KEY), Secret::new(SIGNING));
    let fickle = Fickle::new(provider.url(), secrets, PATIENCE, Arc::new(clock.clone()));
    let engine = Engine::builder()
        .clock(clock.clone())
        // `processor` takes the one for live money.
        .test_processor("fickle", fickle)
        .open(directory.path().join("shop.db"))?;
    let shop = engine.app("shop", Mode::Test)?;
    let listener = listen(&shop)?;
    let postman = provider.notify(listener.url(), SIGNING);

    // Every third request meets with some trouble, and all of them take their turn.
    let in_turn: Vec<Trouble> = Trouble::ALL
        .iter()
        .flat_map(|trouble| [*trouble, Trouble::None, Trouble::None])
        .collect();
    provider.misbehave(&in_turn);
    let sessions = (0..BUYERS)
        .map(|buyer| open_session(&shop, buyer))
        .collect::<Fallible<Vec<_>>>()?;
    sell(&engine, &shop, &clock, &sessions)?;
    give_back(&engine, &shop, &clock, &sessions)?;
    provider.misbehave(&[]);
    let posted = postman.finish(&provider)?;
    listener.stop()?;
    // What came late finds everything as it says, and moves nothing.
    wait(&engine, &clock)?;

    println!(
        "Fickle posted {posted} notifications, out of order, late, some twice; {} were new",
        stored(&shop)?
    );
    compare(&shop, &sessions, &provider)?;
    let report = engine.verify(&Expect::nothing())?;
    ensure(report.is_clean(), "an invariant is broken")?;
    let rows: u64 = report.checked.values().sum();
    println!("verify: {} invariants hold over {rows} rows", report.checked.len());
    provider.stop()
}

fn open_session(shop: &App, buyer: u32) -> Fallible<SessionId> {
    let line = NewLine::inline("Ticket", Amount::minor(25_00, Currency::EUR)?).quantity(1 + buyer % 3);
    let mut session = NewSession::empty()
        .line(line)
        .return_to("https://shop.example/thanks")
        .idempotency_key(format!("order-{buyer}"));
    // Every fourth buyer's money is held first and taken when the ticket is printed.
    if buyer % 4 == 3 {
        session = session.capture_later();
    }
    Ok(shop.sessions().create(session)?.id)
}

/// The address that the host gives to the service for its notifications. A real one is a route of the host's
/// web server.
fn listen(shop: &App) -> Fallible<Server> {
    let shop = shop.clone();
    let server = Server::start(TcpListener::bind("127.0.0.1:0")?, move |received| {
        let taken = shop
            .notifications()
            .receive("fickle", &received.headers(), &received.body);
        match taken {
            // It is on disk. `run_due` applies it.
            Ok(reply) => Reply::Answer(reply.status, reply.body),
            Err(Error::NotificationRefused { .. }) => Reply::status(400),
            Err(Error::NoProcessor { .. }) => Reply::status(404),
            Err(Error::Invalid(_)) => Reply::status(413),
            // The service is to say it again.
            Err(_) => Reply::status(500),
        }
    });
    Ok(server?)
}

fn stored(shop: &App) -> Fallible<usize> {
    let (mut count, mut last) = (0, None);
    loop {
        let page = shop.notifications().list(100, last.as_ref())?;
        count += page.data.len();
        last = page.data.last().map(|notification| notification.id.clone());
        if !page.has_more {
            return Ok(count);
        }
    }
}

/// Sells until every session has come to its end: one step with each, then what has fallen due meanwhile.
fn sell(engine: &Engine, shop: &App, clock: &Turnable, sessions: &[SessionId]) -> Fallible<()> {
    for round in 1..=60 {
        for (buyer, session) in (0..).zip(sessions) {
            step(shop, buyer, session)?;
        }
        let stand = count_by(shop, sessions, |state, charge| match (state, charge) {
            (SessionState::Processing, Some(charge)) => charge.state.as_str(),
            (SessionState::Expired(_), _) => "closed",
            (state, _) => state.as_str(),
        })?;
        println!("round {round:>2}: {}", listed(&stand));
        if stand.keys().all(|state| ["complete", "closed"].contains(state)) {
            return Ok(());
        }
        // Nobody is asked to pay again before it is known what became of the last time.
        wait(engine, clock)?;
    }
    Err("some sessions have not come to their end".into())
}

/// Lets time pass until something is due, and does it: look-ups above all. A host calls `run_due` from
/// its own loop, or has `spawn_runner` do it.
fn wait(engine: &Engine, clock: &Turnable) -> Fallible<()> {
    let now = clock.now();
    let next = engine.next_due()?.unwrap_or(now);
    clock.turn(next.since(now).max(A_WHILE));
    engine.run_due(Budget::items(1_000))?;
    Ok(())
}

/// What the buyer and the host do next about one session.
fn step(shop: &App, buyer: u32, id: &SessionId) -> Fallible<()> {
    let session = shop.sessions().get(id)?;
    let intent = session.payment_intent.as_ref();
    let tries = intent.map_or(0, |intent| intent.charges.len());
    let live = intent.and_then(|intent| intent.live_charge());
    match (session.state, live) {
        (SessionState::Open, _) => {
            // The first card of every buyer is a different kind of trouble; the second is a good one.
            let first = match buyer / 4 % 4 {
                0 => "card_good",
                1 => "card_empty",
                2 => "card_challenge",
                _ => "card_bank",
            };
            shop.sessions().pay(id, if tries == 0 { first } else { "card_good" })?;
        }
        (SessionState::Processing, Some(charge)) => match (&charge.action, charge.state) {
            // Some buyers never come back: when their time is over, `run_due` has the service call the
            // payment off, and then they may pay anew.
            (Some(_), ChargeState::RequiresAction) if buyer % 3 == 2 => {}
            (Some(Action::Redirect(url)), ChargeState::RequiresAction) => {
                visit(url, buyer.is_multiple_of(3))?;
                // The buyer is back: ask at once what came of it.
                shop.sessions().refresh(id)?;
            }
            (_, ChargeState::Authorized) if charge.asked.is_some() => {}
            // One of the tickets is not printed after all: the money is free, and the session closed.
            (_, ChargeState::Authorized) if buyer == 3 => drop(shop.sessions().void(id)?),
            (_, ChargeState::Authorized) => drop(shop.sessions().capture(id, None)?),
            // Nobody knows yet: look-ups find out, in `run_due`.
            _ => {}
        },
        _ => {}
    }
    Ok(())
}

/// The buyer's browser, on the service's page.
fn visit(url: &str, approves: bool) -> Fallible<()> {
    let answer = if approves {
        "challenge=approve"
    } else {
        "challenge=fail"
    };
    ureq::post(url).send(answer)?;
    Ok(())
}

/// Gives half of every fifth sale back.
fn give_back(engine: &Engine, shop: &App, clock: &Turnable, sessions: &[SessionId]) -> Fallible<()> {
    let mut states: BTreeMap<&str, usize> = BTreeMap::new();
    for session in sessions.iter().step_by(5) {
        let session = shop.sessions().get(session)?;
        let Some(total) = session.total().filter(|_| session.is_complete()) else {
            continue;
        };
        let half = total.split(2)?[0];
        // A key of its own for each try: the same key would repeat the answer that was stored.
        for number in 1.. {
            let key = format!("{}-{number}", session.id);
            let refund = NewRefund::session(&session.id).amount(half).idempotency_key(key);
            let mut refund = shop.refunds().create(refund)?;
            while !matches!(refund.state, RefundState::Succeeded | RefundState::Failed) {
                wait(engine, clock)?;
                refund = shop.refunds().get(&refund.id)?;
            }
            *states.entry(refund.state.as_str()).or_default() += 1;
            if refund.state == RefundState::Succeeded {
                break;
            }
        }
    }
    println!(
        "refunds:  {} (what the service turned away was asked for again)",
        listed(&states)
    );
    Ok(())
}

/// Holds the service's books against the file.
fn compare(shop: &App, sessions: &[SessionId], provider: &Provider) -> Fallible<()> {
    println!(
        "what Fickle did with {} requests:",
        provider.met().values().sum::<usize>()
    );
    for (trouble, times) in provider.met() {
        println!("  {times:>4} {}", trouble.as_str());
    }
    let entries = provider.entries();
    let (mut sales, mut taken, mut given_back) = (0, 0, 0);
    for id in sessions {
        let session = shop.sessions().get(id)?;
        let charges = session.payment_intent.iter().flat_map(|intent| &intent.charges);
        let here = charges.fold((0, 0, 0), |sum, charge| {
            (
                sum.0 + charge.captured,
                sum.1 + charge.refunded,
                sum.2 + charge.authorized,
            )
        });
        let is_taken = |entry: &&Entry| ["charge", "capture"].contains(&entry.kind.as_str());
        let done: Vec<&Entry> = entries
            .iter()
            .filter(|entry| entry.session == id.as_str() && entry.status == "succeeded")
            .collect();
        let there = (
            done.iter()
                .copied()
                .filter(|entry| is_taken(entry))
                .map(|entry| entry.amount)
                .sum(),
            done.iter()
                .filter(|entry| entry.kind == "refund")
                .map(|entry| entry.amount)
                .sum(),
            entries
                .iter()
                .filter(|entry| entry.session == id.as_str() && entry.status == "authorized")
                .map(|entry| entry.amount)
                .sum(),
        );
        if here != there {
            return Err(format!("{id}: {here:?} in the file, {there:?} in Fickle's books").into());
        }
        let times = done.iter().copied().filter(|entry| is_taken(entry)).count();
        ensure(
            times == usize::from(session.is_complete()),
            "a buyer was not charged exactly once",
        )?;
        sales += times;
        taken += here.0;
        given_back += here.1;
    }
    let euro = |minor| Amount::minor(minor, Currency::EUR);
    println!(
        "both books say: {sales} sales, nobody charged twice, {} taken, {} given back",
        euro(taken)?,
        euro(given_back)?
    );
    Ok(())
}

fn count_by(
    shop: &App,
    sessions: &[SessionId],
    word: impl Fn(SessionState, Option<&Charge>) -> &'static str,
) -> Fallible<BTreeMap<&'static str, usize>> {
    let mut counts = BTreeMap::new();
    for id in sessions {
        let session = shop.sessions().get(id)?;
        let live = session.payment_intent.as_ref().and_then(|intent| intent.live_charge());
        *counts.entry(word(session.state, live)).or_default() += 1;
    }
    Ok(counts)
}

fn listed(counts: &BTreeMap<&str, usize>) -> String {
    let words: Vec<String> = counts.iter().map(|(word, count)| format!("{count} {word}")).collect();
    words.join(", ")
}

fn ensure(holds: bool, otherwise: &str) -> Fallible<()> {
    if holds { Ok(()) } else { Err(otherwise.into()) }
}

/// The host's clock, which this host can turn, so that nobody has to wait for anything to fall due. A
/// real host gives none and gets the operating system's.
#[derive(Clone, Default)]
struct Turnable(Arc<AtomicU64>);

impl Turnable {
    fn turn(&self, by: Duration) {
        self.0.fetch_add(by.as_secs() + 1, Ordering::Relaxed);
    }
}

impl Clock for Turnable {
    fn now(&self) -> Timestamp {
        SystemClock
            .now()
            .plus(Duration::from_secs(self.0.load(Ordering::Relaxed)))
    }
}
