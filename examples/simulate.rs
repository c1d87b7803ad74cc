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
//!
//! A simulation that finds nothing may be one that cannot: bugs that are planted on purpose show that
//! it can. The exit code is 1 if one is not found within 500 seeds.
//!
//! ```sh
//! RUSTFLAGS="--cfg tillite_planted" cargo run --release --features testing --example simulate \
//!     --target-dir target/planted -- --planted all
//! ```
//!
//! `--count 200` says for each how many of 200 seeds fail; without it the first that fails will do.

#![allow(clippy::print_stdout, reason = "what a command line says")]

use std::process::ExitCode;

use tillite::testing::sim::Simulation;

const USAGE: &str = "\
simulate [--engines 1|2] [--from SEED] [--seeds COUNT]   runs many seeds: 1000 from 0 by one engine, unless told
simulate [--engines 1|2] --seed SEED                     runs one, prints its trace, and makes it small if it fails
With --cfg tillite_planted also: --planted NAME|all, and --count SEEDS of them to say how many find it.";

/// What the command line asks for.
struct Asked {
    engines: usize,
    from: u64,
    seeds: u64,
    /// One seed, with its trace.
    seed: Option<u64>,
    /// A planted bug by its name, or all of them.
    #[cfg(tillite_planted)]
    planted: Option<String>,
    /// Of how many seeds to say how many find a planted bug.
    #[cfg(tillite_planted)]
    count: u64,
}

fn main() -> ExitCode {
    let asked = match asked(std::env::args().skip(1)) {
        Ok(Some(asked)) => asked,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(wrong) => {
            println!("{wrong}\n{USAGE}");
            return ExitCode::FAILURE;
        }
    };
    #[cfg(tillite_planted)]
    if let Some(name) = &asked.planted {
        return planted::all(&asked, name);
    }
    let simulation = Simulation::new().engines(asked.engines);
    match asked.seed {
        Some(seed) => one(&simulation, seed),
        None => many(&simulation, asked.from, asked.seeds),
    }
}

/// What the command line asks for; none: how to use it.
fn asked(arguments: impl Iterator<Item = String>) -> Result<Option<Asked>, String> {
    let mut asked = Asked {
        engines: 1,
        from: 0,
        seeds: 1_000,
        seed: None,
        #[cfg(tillite_planted)]
        planted: None,
        #[cfg(tillite_planted)]
        count: 0,
    };
    let mut arguments = arguments;
    while let Some(name) = arguments.next() {
        if matches!(name.as_str(), "--help" | "-h") {
            return Ok(None);
        }
        let value = arguments.next().ok_or_else(|| format!("{name} wants a value"))?;
        #[cfg(tillite_planted)]
        if name == "--planted" {
            asked.planted = Some(value);
            continue;
        }
        let number: u64 = value
            .parse()
            .map_err(|_| format!("{name} wants a number, not {value:?}"))?;
        match name.as_str() {
            "--engines" => {
                asked.engines = match number {
                    1 => 1,
                    2 => 2,
                    _ => return Err(format!("--engines wants 1 or 2, not {number}")),
                }
            }
            "--from" => asked.from = number,
            "--seeds" => asked.seeds = number,
            "--seed" => asked.seed = Some(number),
            #[cfg(tillite_planted)]
            "--count" => asked.count = number,
            _ => return Err(format!("{name} is not known")),
        }
    }
    Ok(Some(asked))
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

/// Bugs that are planted, and who finds them.
#[cfg(tillite_planted)]
mod planted {
    use std::process::ExitCode;

    use tillite::planted::{Fault, plant};
    use tillite::testing::sim::Simulation;

    /// Within so many seeds a planted bug has to be found, by one engine or by two.
    const WITHIN: u64 = 500;

    pub(super) fn all(asked: &super::Asked, name: &str) -> ExitCode {
        let chosen: Vec<Fault> = match (name, Fault::named(name)) {
            ("all", _) => Fault::ALL.to_vec(),
            (_, Some(fault)) => vec![fault],
            (_, None) => {
                let names: Vec<&str> = Fault::ALL.iter().map(|fault| fault.name()).collect();
                println!("{name:?} is not one of: all {}", names.join(" "));
                return ExitCode::FAILURE;
            }
        };
        if let Some(seed) = asked.seed {
            plant(chosen.first().copied());
            return super::one(&Simulation::new().engines(asked.engines), seed);
        }
        let missed = chosen.iter().filter(|fault| !is_found(asked, **fault)).count();
        println!("{} planted, {missed} not found", chosen.len());
        if missed == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }

    fn is_found(asked: &super::Asked, fault: Fault) -> bool {
        let mut found = false;
        for engines in [1, 2] {
            let simulation = Simulation::new().engines(engines);
            plant(Some(fault));
            let seeds = asked.from..asked.from + WITHIN;
            let first = seeds.clone().find_map(|seed| simulation.run(seed).err());
            let failed = seeds
                .take(usize::try_from(asked.count).unwrap_or(usize::MAX))
                .filter(|seed| simulation.run(*seed).is_err())
                .count();
            plant(None);
            let what = first.as_ref().map_or_else(
                || format!("not found in {WITHIN} seeds"),
                |violation| format!("seed {}: {}", violation.seed, violation.invariant),
            );
            let share = match asked.count {
                0 => String::new(),
                count => format!(", {failed} of {count}"),
            };
            println!("{:26} {engines} engine(s){share}, {what}", fault.name());
            found |= first.is_some();
            // One way of finding it is enough where nobody counts.
            if found && asked.count == 0 {
                break;
            }
        }
        found
    }
}
