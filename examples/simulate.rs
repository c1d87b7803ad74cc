//! Runs the simulation over many seeds, or one seed again.
//!
//! ```sh
//! cargo run --release --features testing --example simulate -- --seeds 5000
//! cargo run --release --features testing --example simulate -- --engines 2 --from 5000 --seeds 5000
//! cargo run --release --features testing --example simulate -- --engines 2 --seed 2874
//! ```
//!
//! One seed prints its whole trace, and if it fails, the smallest part of it that still does. The exit
//! code is 1 if any seed fails.

#![allow(clippy::print_stdout, reason = "what a command line says")]

use std::process::ExitCode;

use tillite::testing::sim::Simulation;

/// What the command line asks for.
struct Asked {
    engines: usize,
    from: u64,
    seeds: u64,
    /// One seed, with its trace.
    seed: Option<u64>,
}

fn main() -> ExitCode {
    let asked = match asked(std::env::args().skip(1)) {
        Ok(asked) => asked,
        Err(wrong) => {
            println!("{wrong}\n--engines 1|2  --from SEED  --seeds COUNT  --seed SEED");
            return ExitCode::FAILURE;
        }
    };
    let simulation = Simulation::new().engines(asked.engines);
    match asked.seed {
        Some(seed) => one(&simulation, seed),
        None => many(&simulation, asked.from, asked.seeds),
    }
}

fn asked(arguments: impl Iterator<Item = String>) -> Result<Asked, String> {
    let mut asked = Asked {
        engines: 1,
        from: 0,
        seeds: 1_000,
        seed: None,
    };
    let mut arguments = arguments;
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{name} wants a number"))?;
        let number: u64 = value
            .parse()
            .map_err(|_| format!("{name} wants a number, not {value:?}"))?;
        match name.as_str() {
            "--engines" => asked.engines = usize::try_from(number).unwrap_or(usize::MAX),
            "--from" => asked.from = number,
            "--seeds" => asked.seeds = number,
            "--seed" => asked.seed = Some(number),
            _ => return Err(format!("{name} is not known")),
        }
    }
    Ok(asked)
}

fn one(simulation: &Simulation, seed: u64) -> ExitCode {
    match simulation.run(seed) {
        Ok(report) => {
            report.trace.iter().for_each(|line| println!("{line}"));
            println!("seed {seed} holds: {} calls, {} crashes", report.calls, report.crashes);
            ExitCode::SUCCESS
        }
        Err(violation) => {
            println!("{violation}");
            if let Some(smallest) = simulation.shrink(seed) {
                println!("the smallest that fails:\n{smallest}");
            }
            ExitCode::FAILURE
        }
    }
}

fn many(simulation: &Simulation, from: u64, seeds: u64) -> ExitCode {
    let (mut calls, mut crashes, mut operations, mut charges, mut failed) = (0, 0, 0, 0, 0);
    for seed in from..from + seeds {
        match simulation.run(seed) {
            Ok(report) => {
                calls += report.calls;
                crashes += report.crashes;
                operations += report.disk_operations;
                charges += report.charges;
            }
            Err(violation) => {
                failed += 1;
                println!(
                    "seed {seed}: {} does not hold: {}",
                    violation.invariant, violation.found
                );
            }
        }
    }
    println!(
        "{seeds} seeds from {from}: {failed} failed; {calls} calls, {crashes} crashes, {operations} disk operations, \
         {charges} charges"
    );
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
