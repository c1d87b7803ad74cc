//! A host's own table that follows the events exactly once, although the process that follows them is
//! killed in the middle, twice.
//!
//! `cargo run --example consume_exactly_once` sells on three days, starts itself as a second process that
//! adds up the revenue of each day, and sees that process abort with half of an event written. The next one
//! goes on from there. In the end the table has every sale once.

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use std::error::Error;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tillite::{
    Amount, Budget, ConsumerError, Currency, Engine, Event, EventKind, Expect, Follow, HostTx, Mode, NewLine,
    NewSession, Work, sandbox,
};

type Fallible<T> = Result<T, Box<dyn Error>>;

/// How many events each process takes before it dies in the middle of the next; the last one lives.
const LIVES: [Option<u32>; 3] = [Some(4), Some(3), None];

const SALES: [i64; 9] = [9_00, 19_00, 4_50, 12_00, 7_25, 30_00, 1_99, 15_00, 8_00];

fn main() -> Fallible<ExitCode> {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, follow, file, dies_after] = &arguments[..]
        && follow == "follow"
    {
        return follow_events(Path::new(file), dies_after.parse().ok()).map(|()| ExitCode::SUCCESS);
    }
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("shop.db");
    sell(&file)?;

    for (number, life) in (1..).zip(LIVES) {
        println!("\nprocess {number} starts");
        let dies_after = life.map_or("never".to_owned(), |events| events.to_string());
        let mut process = Command::new(std::env::current_exe()?);
        let ended = process.arg("follow").arg(&file).arg(dies_after).status()?;
        println!(
            "process {number} {}",
            if ended.success() { "ended" } else { "was killed" }
        );
        if ended.success() != life.is_none() {
            return Err(format!("process {number} should not have ended with {ended}").into());
        }
        show(&file)?;
    }

    let total: i64 = revenue(&file)?.iter().map(|(_, _, minor)| minor).sum();
    let sold: i64 = SALES.iter().sum();
    println!("\nsold for {}, in the table {}", euro(sold)?, euro(total)?);
    Ok(if total == sold {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Sells on three days; nobody follows yet.
fn sell(file: &Path) -> Fallible<()> {
    let engine = Engine::builder().open(file)?;
    let app = engine.app("shop", Mode::Test)?;
    for (number, minor) in SALES.into_iter().enumerate() {
        if number > 0 && number % 3 == 0 {
            app.advance(Duration::from_secs(24 * 3_600))?;
        }
        let session = app
            .sessions()
            .create(NewSession::empty().line(NewLine::inline("A thing", euro(minor)?)))?;
        app.sessions().pay(&session.id, sandbox::card::APPROVED)?;
    }
    println!("{} sales on three days", SALES.len());
    Ok(())
}

/// What the second process is: it has the consumer, and takes what is behind its place.
fn follow_events(file: &Path, dies_after: Option<u32>) -> Fallible<()> {
    let taken = AtomicU32::new(0);
    let daily_revenue = move |tx: &mut HostTx<'_>, event: &Event| -> Result<(), ConsumerError> {
        tx.execute(
            "CREATE TABLE IF NOT EXISTS revenue (day TEXT PRIMARY KEY, sales INTEGER NOT NULL, minor INTEGER NOT NULL)",
            &[],
        )?;
        let day = event.created_at.to_string()[..10].to_owned();
        // The body is the object after the event, as JSON; a charge has its amount in minor units.
        tx.execute(
            "INSERT INTO revenue VALUES ($1, 1, json_extract($2, '$.captured')) ON CONFLICT (day) DO UPDATE \
             SET sales = sales + 1, minor = minor + excluded.minor",
            &[(&day).into(), event.body.as_deref().into()],
        )?;
        if Some(taken.fetch_add(1, Ordering::Relaxed)) == dies_after {
            println!("  event {:>3}  written, and dies before the commit", event.position);
            std::process::abort();
        }
        println!("  event {:>3}  {} of {day}", event.position, event.kind);
        Ok(())
    };
    let engine = Engine::builder()
        .consumer_of(
            "daily-revenue",
            Follow::only([EventKind::ChargeSucceeded]),
            daily_revenue,
        )
        .open(file)?;
    // A real host calls this from its loop, or spawns a runner. Two events share a transaction here, so that
    // some are committed before the process dies.
    while engine.run_due(Budget::items(2).work(Work::CONSUMERS))?.consumed > 0 {}
    let app = engine.app("shop", Mode::Test)?;
    for consumer in app.consumers().list(100, None)?.data {
        println!(
            "  {:?} has come to event {}, {} behind",
            consumer.name, consumer.position, consumer.lag
        );
    }
    let report = engine.verify(&Expect::nothing())?;
    if !report.is_clean() {
        return Err(format!("{:?}", report.failed).into());
    }
    Ok(())
}

/// The host's table, read as the host reads its own tables.
fn revenue(file: &Path) -> Fallible<Vec<(String, i64, i64)>> {
    let connection = rusqlite::Connection::open(file)?;
    let mut rows = connection.prepare("SELECT day, sales, minor FROM revenue ORDER BY day")?;
    let found = rows.query_map((), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    Ok(found.collect::<Result<_, _>>()?)
}

fn show(file: &Path) -> Fallible<()> {
    for (day, sales, minor) in revenue(file)? {
        println!("  {day}  {sales} sales  {}", euro(minor)?);
    }
    Ok(())
}

fn euro(minor: i64) -> Fallible<Amount> {
    Ok(Amount::minor(minor, Currency::EUR)?)
}
