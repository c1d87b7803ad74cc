//! Draining the outbox beside effectum, a job queue on SQLite, that drains as many jobs.
//!
//! It brings another SQLite, so it is a program of its own (`benches/peers/effectum`), built before and
//! named by a variable; without it nothing is measured. What it does is in its sources: its jobs do
//! nothing, and nothing is signed. Of several numbers of jobs at once the one counts in each round with
//! which it was fastest. The engine claims as `drain` does, 64 at a time over a hundred endpoints.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use tempfile::TempDir;

use crate::drain::{Host, WAYS};
use crate::pile::{middle, outbox, per_second, sell, spread};

/// The variable with the path of the program.
const PROGRAM: &str = "TILLITE_PEER";

/// How many jobs it may have in hand at once.
const AT_ONCE: [usize; 3] = [250, 1_000, 4_000];

/// About what an event's body has.
const BYTES: usize = 600;

/// How its file is kept, and what it is told for that.
const KEPT: [(&str, Option<&str>); 2] = [
    ("effectum, as it opens its file", None),
    ("effectum, in WAL mode", Some("wal")),
];

pub(crate) fn measure(quick: bool) {
    let Some(program) = std::env::var_os(PROGRAM).map(PathBuf::from) else {
        return;
    };
    let rounds = if quick { 1 } else { 5 };
    let (endpoints, each) = outbox(quick);
    let deliveries = endpoints * each;
    let place = TempDir::new().unwrap();
    let host = Host::open(&place, endpoints);
    let mut ours = WAYS.map(|_| Vec::new());
    let mut theirs = KEPT.map(|_| Vec::new());
    for _ in 0..rounds {
        for ((_, batch), rates) in WAYS.iter().zip(&mut ours) {
            sell(&host.shop, each);
            let started = Instant::now();
            let mut left = deliveries;
            while left > 0 {
                let done = batch(&host);
                assert!(done > 0, "nothing is due, and {left} are left");
                left -= done;
            }
            rates.push(per_second(deliveries, started.elapsed()));
        }
        for ((_, how), rates) in KEPT.iter().zip(&mut theirs) {
            let rate = |at_once| run(&program, place.path(), deliveries, at_once, *how);
            rates.push(AT_ONCE.into_iter().map(rate).fold(0.0, f64::max));
        }
    }
    println!("\n{:<44} {:>14}", format!("drained beside a peer, {deliveries}"), "");
    for ((name, _), rates) in KEPT.iter().zip(&theirs) {
        println!("{name:<44} {:>12.0}/s", middle(&mut rates.clone()));
    }
    for ((name, _), ours) in WAYS.iter().zip(ours) {
        println!("{name:<44} {:>12.0}/s", middle(&mut ours.clone()));
        for ((peer, _), theirs) in KEPT.iter().zip(&theirs) {
            let ratios = ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs);
            println!("    {:<40} {}", format!("/ {peer}"), spread(ratios.collect()));
        }
    }
}

/// Lets the peer drain so many jobs; how many it does in a second.
fn run(program: &Path, folder: &Path, jobs: usize, at_once: usize, how: Option<&str>) -> f64 {
    let output = Command::new(program)
        .arg(folder)
        .args([jobs, at_once, BYTES].map(|number| number.to_string()))
        .args(how)
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "the peer failed");
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    said["jobs_per_second"].as_f64().unwrap()
}
