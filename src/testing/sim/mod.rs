//! A simulation: a host, its payment service, its receiver, its disk and one or two engines on one
//! file, all decided by one number.
//!
//! A *seed* decides what is called, by which thread of which process, when the turn goes from one to
//! another, what the payment service does, and tells by itself, early, late, twice or never, when the
//! disk fails, when the power goes, and what the disk then holds. After every call its answer is held against what the host was told before; after
//! every start the file is held against it too; and when all has come to rest, against the payment
//! service's ledger and the receiver's list. Nothing in the engine knows of the simulation.
//!
//! ```
//! use tillite::testing::sim::Simulation;
//!
//! let simulation = Simulation::new().engines(2);
//! for seed in 0..20 {
//!     simulation.run(seed).expect("every invariant holds");
//! }
//! ```
//!
//! A seed that fails, fails again: [`Simulation::shrink`] makes it small, and its report has the
//! trace. SQLite draws the salts of its log from a source of its own, one per process, which a run
//! seeds; so two runs at the same time in one process are two runs all the same, but not repeatable
//! to the byte.

mod act;
mod baton;
mod belief;
mod check;
mod invariant;
mod lists;
mod paying;
mod plan;
mod rest;
mod saving;
mod shrink;
mod telling;
mod world;

use std::fmt;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use self::act::{Host, Memory};
use self::baton::Share;
pub use self::invariant::Invariant;
use self::plan::{Op, Plan, Round};
use self::shrink::Shrinking;
use self::world::World;
use super::chance::Chance;
use super::locked;
use crate::engine::{App, Engine};
use crate::error::{Error, Result};

/// The world outside a process, for what stands in it.
pub(super) trait Outside: Send + Sync {
    /// Whether it can be reached at this moment; the power may just have gone.
    fn is_reached(&self) -> bool;
}

/// A program of the host's own that runs beside the simulation's calls. Each run makes one, which
/// outlives its processes: what it keeps is what somebody was told.
///
/// # What it shares with the simulation
/// It gets the same app, in test or live mode as the seed decides. The simulation buys and grants there
/// for uids, under order keys and under idempotency keys that all begin with `tillite-sim-`: a program
/// that uses none of those has its own.
///
/// The rest is common to both: the products and prices of the tiers `member` and `gold`, where the
/// simulation changes the price of `gold` and counts on both being for sale in euros, one endpoint at
/// `https://shop.example/hooks`, the payment service `till`, and time, which the simulation moves. The
/// simulation finds in the lists every session that the program makes and treats it as any other: it is
/// looked at, paid and expired at any moment, so a program must not count on a session of its own
/// staying as it left it. A program that sets those prices, adds endpoints or disables the one there
/// breaks what the simulation holds the engine to.
///
/// ```
/// use std::sync::Mutex;
/// use tillite::testing::sim::{Program, Simulation};
/// use tillite::{App, NewCustomer, Result};
///
/// /// Readers of a paper, and that each that was made is there.
/// #[derive(Default)]
/// struct Readers(Mutex<Vec<String>>);
///
/// impl Program for Readers {
///     fn act(&self, app: &App, draw: u64) -> Result<String> {
///         let uid = format!("reader-{}", draw % 100_000);
///         app.customers().set(NewCustomer::uid(&uid))?;
///         self.0.lock().unwrap().push(uid.clone());
///         Ok(uid)
///     }
///
///     fn check(&self, app: &App) -> std::result::Result<(), String> {
///         for uid in self.0.lock().unwrap().iter() {
///             app.customers().by_uid(uid).map_err(|error| format!("{uid}: {error}"))?;
///         }
///         Ok(())
///     }
/// }
///
/// let simulation = Simulation::new().program(Readers::default);
/// for seed in 0..5 {
///     simulation.run(seed).expect("every invariant holds");
/// }
/// ```
pub trait Program: Send + Sync {
    /// Does something with the engine, which a number decides. It is called from one thread at a time,
    /// at any moment, and its process may die in it.
    ///
    /// What it answers is written down: a line of the trace is `thread 0: Host(17) -> reader-17`, with
    /// the number and then the answer. The number says little to who reads it, so the answer should say
    /// what was done, and with what.
    ///
    /// # Errors
    /// It passes on what the engine answers, if that is
    /// * [`Error::Storage`]: to be expected wherever the disk fails or the power goes. Where neither is
    ///   the case, it is the engine's fault, as it is in every other call
    ///   ([`Invariant::ErrorsAreDocumented`]);
    /// * [`Error::Refused`], [`Error::PaymentInProgress`], [`Error::OrderTaken`], [`Error::UidTaken`] or
    ///   [`Error::Deleted`]: somebody else was quicker. The trace then has the error's code.
    ///
    /// Any other error is a violation of [`Invariant::ProgramsErrors`], for it is most likely a mistake
    /// in the program's call, such as [`Error::Invalid`]. One that the program counts on, such as
    /// [`Error::NotFound`], it turns into an answer itself.
    fn act(&self, app: &App, draw: u64) -> Result<String>;

    /// Holds a file that has just been opened against what the program was told. An error is a
    /// violation.
    ///
    /// # Errors
    /// What does not hold, in words.
    fn check(&self, app: &App) -> std::result::Result<(), String>;
}

/// A simulation, set up. Every run of it is one seed.
#[derive(Clone)]
#[must_use]
pub struct Simulation {
    engines: usize,
    program: Option<Arc<MakeProgram>>,
}

type MakeProgram = dyn Fn() -> Box<dyn Program> + Send + Sync;

/// What a run came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Calls of the host that were made.
    pub calls: usize,
    /// How often the file was opened after a crash.
    pub crashes: usize,
    /// Operations of the disk.
    pub disk_operations: u64,
    /// What was taken by the payment service.
    pub charges: usize,
    /// A line for each call, with what it answered.
    pub trace: Vec<String>,
}

/// Something that must never be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Violation {
    /// The seed.
    pub seed: u64,
    /// The invariant that does not hold.
    pub invariant: Invariant,
    /// What was found.
    pub found: String,
    /// How many calls and faults the run has.
    pub steps: usize,
    /// A line for each call until then, with what it answered.
    pub trace: Vec<String>,
}

/// A violation, before it is known where.
#[derive(Debug)]
pub(super) struct Broken {
    invariant: Invariant,
    found: String,
}

fn violated<T>(invariant: Invariant, found: String) -> std::result::Result<T, Broken> {
    Err(Broken { invariant, found })
}

/// An error where nothing is wrong with the disk or the arguments.
impl From<Error> for Broken {
    fn from(error: Error) -> Broken {
        Broken {
            invariant: Invariant::ErrorsAreDocumented,
            found: format!("{error:?}"),
        }
    }
}

impl Simulation {
    /// One engine, called by one or two threads.
    pub fn new() -> Simulation {
        Simulation {
            engines: 1,
            program: None,
        }
    }

    /// So many engines on one file, 1 or 2, as in two processes.
    pub fn engines(mut self, engines: usize) -> Simulation {
        self.engines = engines.clamp(1, 2);
        self
    }

    /// A program of the host's own beside them, made anew for each run.
    pub fn program<P: Program + 'static>(mut self, make: impl Fn() -> P + Send + Sync + 'static) -> Simulation {
        self.program = Some(Arc::new(move || Box::new(make())));
        self
    }

    /// Runs a seed.
    ///
    /// # Errors
    /// The first violation.
    pub fn run(&self, seed: u64) -> std::result::Result<Report, Box<Violation>> {
        let plan = self.plan(seed);
        self.run_plan(seed, &plan)
    }

    /// Runs a seed that fails with less and less in it, and with what goes wrong sooner and sooner, and
    /// answers the smallest violation that is left; none if the seed holds.
    #[must_use]
    pub fn shrink(&self, seed: u64) -> Option<Box<Violation>> {
        let plan = self.plan(seed);
        let violation = self.run_plan(seed, &plan).err()?;
        let fails = |plan: &Plan| self.run_plan(seed, plan).err();
        Some(Shrinking { plan, violation }.shrunk(fails).violation)
    }

    fn plan(&self, seed: u64) -> Plan {
        Plan::new(&mut Chance::new(seed), self.engines, self.program.is_some())
    }

    fn run_plan(&self, seed: u64, plan: &Plan) -> std::result::Result<Report, Box<Violation>> {
        tillite_simdisk::seed_sqlite(seed);
        let trace = Trace::default();
        let ran = self.run_in(seed, plan, &trace);
        let trace = trace.take();
        match ran {
            Ok(report) => Ok(Report { trace, ..report }),
            Err(broken) => Err(Box::new(Violation {
                seed,
                invariant: broken.invariant,
                found: broken.found,
                steps: plan.len(),
                trace,
            })),
        }
    }

    /// Runs what the bytes of a fuzzer decide. The same bytes, the same run.
    ///
    /// # Errors
    /// The first violation.
    pub fn run_bytes(&self, bytes: &[u8]) -> std::result::Result<Report, Box<Violation>> {
        let (seed, plan) = bytes.split_first_chunk::<8>().unwrap_or((&[0; 8], bytes));
        let plan = Plan::new(&mut Chance::taped(plan), self.engines, self.program.is_some());
        self.run_plan(u64::from_le_bytes(*seed), &plan)
    }

    fn run_in(&self, seed: u64, plan: &Plan, trace: &Trace) -> std::result::Result<Report, Broken> {
        // What the plan drew is not drawn again.
        let mut chance = Chance::new(seed ^ 0x5EED_0F7E_4E57);
        let world = World::new(plan.mode, plan.engines, &mut chance)?;
        let program = self.program.as_ref().map(|make| make());
        let program = program.as_deref();
        let mut report = Report::default();
        let mut looked = None;
        for (number, round) in plan.rounds.iter().enumerate() {
            let close = if round.is_cut { "the power goes" } else { "closed" };
            trace.line(format!(
                "round {number}: faults {:?}, {close}, then {:?}",
                round.faults, round.end
            ));
            let goes_on = looked.take().filter(|_| round.goes_on);
            report.calls += run_round(&world, plan, round, goes_on, program, trace)?;
            world.disk.reboot(round.end);
            world.set_clock();
            report.crashes += 1;
            let engine = world.open()?;
            let app = world.app(&engine)?;
            check::after_a_start(&world, &engine, &app)?;
            check_program(program, &app)?;
            looked = Some(engine);
        }
        world.calm();
        let engine = match looked {
            Some(engine) => engine,
            None => world.open()?,
        };
        let app = world.app(&engine)?;
        rest::at_rest(&world, &engine, &app)?;
        check_program(program, &app)?;
        report.disk_operations = world.disk.operations();
        report.charges = world.till.charges().len();
        Ok(report)
    }
}

impl Default for Simulation {
    fn default() -> Simulation {
        Simulation::new()
    }
}

fn check_program(program: Option<&dyn Program>, app: &App) -> std::result::Result<(), Broken> {
    match program.map(|program| program.check(app)) {
        Some(Err(found)) => violated(Invariant::Program, found),
        _ => Ok(()),
    }
}

/// Runs the engines until everybody has done its share or the power goes. Answers how many calls
/// were made.
fn run_round(
    world: &World,
    plan: &Plan,
    round: &Round,
    goes_on: Option<Engine>,
    program: Option<&dyn Program>,
    trace: &Trace,
) -> std::result::Result<usize, Broken> {
    for (after, fault) in &round.faults {
        world.disk.fault_after(*after, *fault);
    }
    if let Some(after) = round.bad_read {
        world.disk.fail_read_after(after);
    }
    let is_shaky = round.is_shaky();
    let mut engines: Vec<Engine> = goes_on.into_iter().collect();
    while engines.len() < plan.engines {
        match world.open() {
            Ok(engine) => engines.push(engine),
            // A file that cannot be opened on a disk that fails is opened after the next start.
            Err(Error::Storage(error)) if is_shaky || world.disk.is_off() => {
                trace.line(format!("not opened: {:?}", error.kind));
                return Ok(0);
            }
            Err(error) => return Err(error.into()),
        }
    }
    let memories: Vec<Memory> = engines.iter().map(|_| Memory::default()).collect();
    let broken = Mutex::new(None);
    let calls = Mutex::new(0);
    let shares = round.shares.iter().enumerate().filter_map(|(number, ops)| {
        let engine = engines.get(number / plan.callers)?;
        let memory = memories.get(number / plan.callers)?;
        let (broken, calls) = (&broken, &calls);
        let share: Share<'_> = Box::new(move || {
            let Ok(app) = world.app(engine) else {
                return;
            };
            let host = Host {
                world,
                engine,
                app,
                memory,
                is_shaky,
                program,
            };
            for op in ops {
                if world.disk.is_off() || locked(broken).is_some() {
                    return;
                }
                *locked(calls) += 1;
                if let Err(found) = do_one(&host, number, op, trace) {
                    locked(broken).get_or_insert(found);
                }
            }
        });
        Some(share)
    });
    let panics = world.baton.run(round.eager, shares.collect());
    if round.is_cut {
        world.disk.power_off();
    }
    if let Some(panic) = panics.first() {
        let words = panic.downcast_ref::<String>().map(String::as_str);
        let words = words.or_else(|| panic.downcast_ref::<&str>().copied());
        return violated(Invariant::NothingPanics, words.unwrap_or("a panic").to_owned());
    }
    match broken.into_inner().unwrap_or_default() {
        Some(found) => Err(found),
        None => Ok(calls.into_inner().unwrap_or_default()),
    }
}

fn do_one(host: &Host<'_>, number: usize, op: &Op, trace: &Trace) -> std::result::Result<(), Broken> {
    let seen = host.act(op);
    let said = match &seen {
        Ok(said) => said.clone(),
        Err(broken) => format!("{broken:?}"),
    };
    trace.line(format!("thread {number}: {op:?} -> {said}"));
    seen.map(|_| ())
}

/// What happened, line by line.
#[derive(Default)]
struct Trace(Mutex<Vec<String>>);

impl Trace {
    fn line(&self, line: String) {
        locked(&self.0).push(line);
    }

    fn take(self) -> Vec<String> {
        self.0.into_inner().unwrap_or_default()
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        for line in &self.trace {
            writeln!(text, "  {line}")?;
        }
        write!(
            f,
            "seed {}, {} steps: {} does not hold: {}\n{text}",
            self.seed, self.steps, self.invariant, self.found
        )
    }
}

impl std::error::Error for Violation {}

impl fmt::Debug for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulation")
            .field("engines", &self.engines)
            .finish_non_exhaustive()
    }
}
