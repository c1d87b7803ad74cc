//! What the engine costs beside the bare database.
//!
//! Each verb runs beside a baseline that writes the same rows with the same bytes into a file of
//! the same schema, with the same pragmas and as many transactions, and does nothing else: no ids
//! are drawn, no JSON is made, nothing is hashed or read back. The baseline is recorded from the
//! engine's own file, so it stays the same work when the engine's rows change.
//!
//! Criterion measures each side for comparing one commit with another. Machines and disks differ
//! far more than code does, so the figures to quote are the ratios at the end, for which the sides
//! take turns.

#![allow(missing_docs, reason = "a benchmark is no library")]
#![allow(clippy::print_stdout, reason = "a benchmark's output is what it prints")]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on stops")]
#![allow(clippy::disallowed_methods, reason = "the baseline is what the bare library does")]
#![allow(clippy::float_arithmetic, reason = "ratios are for reading, no money is in them")]

use std::time::Duration;

use criterion::Criterion;

mod beside;
mod callers;
mod cases;
mod claims;
mod dead;
mod drain;
mod growth;
mod line;
mod peer;
mod pile;
mod reads;
mod recording;
mod shop;

fn main() {
    if beside::is_another_process() {
        return;
    }
    let quick = std::env::args().any(|argument| argument == "--test");
    let rounds = if quick { 1 } else { 300 };
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();

    // A word among the arguments chooses what has it in its name, as criterion has it.
    let asked = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let wanted = |name: &str| asked.as_deref().is_none_or(|asked| name.contains(asked));

    let mut rows = Vec::new();
    for (name, case) in cases::CASES {
        if !wanted(name) {
            continue;
        }
        let mut case = case(quick);
        case.under(&mut criterion, name);
        rows.push(case.compare(rounds, name));
    }
    let crowds: Vec<String> = [1, 16, 64]
        .into_iter()
        .filter(|_| wanted("callers"))
        .map(|callers| callers::create(&mut criterion, callers, quick))
        .collect();
    criterion.final_summary();

    println!("\n{:<28} {:>12} {:>12}   engine/baseline", "", "engine", "baseline");
    for row in rows {
        println!("{row}");
    }
    println!("Medians of {rounds} turns each. The ratio is of speeds: 1.00 is as fast as the bare database.");
    println!("\n{}", callers::head());
    for row in crowds {
        println!("{row}");
    }
    if wanted("another process") {
        beside::measure(quick);
    }
    if wanted("growing") {
        growth::measure(quick);
    }
    if wanted("outbox drain") {
        drain::measure(quick);
    }
    if wanted("peer") {
        peer::measure(quick);
    }
    if wanted("claim cost") {
        claims::measure(quick);
    }
    if wanted("dead endpoint") {
        dead::measure(quick);
    }
}
