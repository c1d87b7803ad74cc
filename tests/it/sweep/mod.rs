//! Every verb with every fault at every operation of the disk, one after the other: afterwards it was
//! done whole or not at all, what was answered is there, and asking again comes to what it would have
//! come to without the fault.
//!
//! No chance is in it. A run without a fault says how many operations a verb needs, what each is, and
//! after which states of the file it is at each commit; then each fault strikes each operation that
//! it means something at. In the middle of a long row of writes only some are struck, other ones by
//! each kind of fault, and the longer ways to begin are for some verbs only;
//! `TILLITE_SWEEP=full cargo test --release --all-features --test it sweep` leaves nothing out.

mod opening;
mod stage;
mod verbs;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tillite::testing::{Fault, Survive};
use tillite::{Budget, ChargeState, Error, Result, Session, SessionState, StorageKind, WhatNow, Work};

use self::stage::{Host, Start, Template, World, is_clean, shape};
use self::verbs::{Act, Effect, VERBS};
use crate::kit::{documented, locked};

/// Verbs that try again by themselves when the disk fails, with ids of their own each time.
const TRIES_AGAIN: &[&str] = &[
    "Engine::settle",
    "Sessions::pay",
    "Refunds::create",
    "Setups::create",
    "Sessions::capture",
    "Sessions::void",
];

/// Verbs that go from world to world, and may fail in the second when the first is done.
const PIECE_BY_PIECE: &[&str] = &[
    "Engine::claim_asks",
    "Engine::claim_deliveries",
    "Engine::reset_seal",
    "Engine::run_due",
];

/// What SQLite's own check says of a page that it could not read.
const UNREADABLE: &str = "unable to get the page";

/// Whether nothing is to be left out.
fn is_full() -> bool {
    std::env::var("TILLITE_SWEEP").is_ok_and(|how| how == "full")
}

/// In a long row, one in so many is struck.
const STRIDE: usize = 24;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// The power goes at an operation, in the middle of a write or before, and this is found.
    Cut { torn: bool, survive: Survive },
    /// An operation fails, and the process lives on.
    Fails(Fault),
    /// A read fails.
    BadRead,
}

const TROUBLES: &[Trouble] = &[
    Trouble::Cut {
        torn: false,
        survive: Survive::Everything,
    },
    Trouble::Cut {
        torn: true,
        survive: Survive::Everything,
    },
    Trouble::Cut {
        torn: false,
        survive: Survive::OnlySynced,
    },
    Trouble::Fails(Fault::IoError),
    Trouble::Fails(Fault::ShortWrite),
    Trouble::Fails(Fault::Full),
    Trouble::Fails(Fault::SyncError),
    Trouble::BadRead,
];

impl Trouble {
    /// Whether it means something else at an operation than at the next one that is like it.
    fn strikes(self, operation: &str) -> bool {
        let is = |word: &str| operation.starts_with(word);
        match self {
            Trouble::Cut {
                survive: Survive::OnlySynced,
                ..
            } => !is("write") && !is("truncate"),
            Trouble::Cut { torn, .. } => !torn || is("write"),
            Trouble::Fails(Fault::ShortWrite) => is("write"),
            Trouble::Fails(Fault::Full) => is("write") || is("create") || is("truncate"),
            Trouble::Fails(Fault::SyncError) => is("sync") || is("delete"),
            Trouble::Fails(_) | Trouble::BadRead => true,
        }
    }

    /// Where it strikes, of so many reads and these operations.
    fn places(self, operations: &[String], reads: usize) -> Vec<usize> {
        let lane = TROUBLES.iter().position(|other| *other == self).unwrap_or(0);
        let at: Vec<usize> = match self {
            Trouble::BadRead => (0..reads).collect(),
            _ => (0..operations.len())
                .filter(|at| self.strikes(&operations[*at]))
                .collect(),
        };
        let is_taken = |(index, at): &(usize, usize)| {
            // Before and after a sync every write counts, and so do the first and the last.
            let near = &operations[at.saturating_sub(1).min(operations.len())..operations.len().min(at + 2)];
            let in_a_row = near.len() == 3 && near.iter().all(|near| near.starts_with("write"));
            let one_in = match self {
                Trouble::BadRead if operations.is_empty() => STRIDE / 6,
                Trouble::BadRead => STRIDE,
                // Half a write is much like none.
                Trouble::Cut { torn: true, .. } | Trouble::Fails(Fault::ShortWrite | Fault::Full) => STRIDE / 2,
                _ if in_a_row => STRIDE,
                _ => 1,
            };
            is_full() || (index + lane).is_multiple_of(one_in)
        };
        at.into_iter().enumerate().filter(is_taken).map(|(_, at)| at).collect()
    }

    fn plan(self, world: &World, at: usize) {
        let at = at as u64;
        match self {
            Trouble::Cut { torn: true, .. } => world.disk.fault_after(at, Fault::TornPowerCut),
            Trouble::Cut { .. } => world.disk.fault_after(at, Fault::PowerCut),
            Trouble::Fails(fault) => world.disk.fault_after(at, fault),
            Trouble::BadRead => world.disk.fail_read_after(at),
        }
    }
}

/// A verb in a place.
struct Sweep {
    verb: &'static str,
    effect: Effect,
    act: Act,
    start: Start,
    template: Arc<Template>,
    plain: Plain,
}

/// What a verb does when nothing goes wrong.
struct Plain {
    /// The shape of its answer.
    answer: String,
    /// The file before, and after each commit.
    states: Vec<String>,
    /// The shape of each.
    shapes: Vec<String>,
    operations: Vec<String>,
    reads: usize,
}

impl Sweep {
    fn new(verb: &'static str, effect: Effect, act: Act, start: Start) -> Sweep {
        let template = Template::of(start);
        let world = template.world();
        let host = template.host(open(&world, 1, verb).unwrap());
        let reads = world.disk.stats().reads;
        world.disk.start_trace();
        let answer = act(&host).unwrap_or_else(|error| panic!("{verb} without a fault: {error}"));
        let reads = usize::try_from(world.disk.stats().reads - reads).unwrap();
        let operations = world.disk.take_trace();
        let states = states(verb, act, &template);
        let is_read = matches!(effect, Effect::Reads(_));
        assert!(
            is_read || verb == "Engine::close" || states.len() > 1,
            "{verb} did nothing"
        );
        assert!(!is_read || states.len() == 1, "{verb} wrote");
        let answer = shape(&answer);
        let plain = Plain {
            answer,
            shapes: states.iter().map(|state| shape(state)).collect(),
            states,
            operations,
            reads,
        };
        Sweep {
            verb,
            effect,
            act,
            start,
            template,
            plain,
        }
    }

    /// Strikes everywhere; answers how often.
    fn run(&self) -> usize {
        let mut cases = 0;
        for trouble in TROUBLES {
            // What reads is struck like what writes, but a power cut leaves what was there.
            if matches!((self.effect, trouble), (Effect::Reads(_), Trouble::Cut { .. })) {
                continue;
            }
            for at in trouble.places(&self.plain.operations, self.plain.reads) {
                self.strike(*trouble, at);
                cases += 1;
            }
        }
        self.strike_after_the_end();
        cases
    }

    fn strike(&self, trouble: Trouble, at: usize) {
        let operation = match trouble {
            Trouble::BadRead => "",
            _ => &self.plain.operations[at],
        };
        let case = format!("{} {:?} {trouble:?} at {at} {operation}", self.verb, self.start);
        let world = self.template.world();
        let host = self.template.host(open(&world, 1, self.verb).unwrap());
        trouble.plan(&world, at);
        let answer = (self.act)(&host);
        let host = match trouble {
            Trouble::Cut { survive, .. } => {
                assert!(world.disk.is_off(), "{case}: it was not struck");
                drop(host);
                world.disk.reboot(survive);
                self.template
                    .host(open(&world, 2, self.verb).unwrap_or_else(|error| panic!("{case}: {error}")))
            }
            // What lasts goes on while it is looked at what can be read.
            Trouble::Fails(_) | Trouble::BadRead => host,
        };
        let index = self.state(&host, &case);
        self.check_answer(&answer, index, trouble, &case);
        let asked = world.till.requests().len() + world.receiver.requests().len();
        assert!(
            asked == 0 || index > 0,
            "{case}: the world was asked for what is not in the file"
        );
        world.disk.clear_faults();
        if let Effect::Reads(_) = self.effect {
            let again = (self.act)(&host).unwrap_or_else(|error| panic!("{case}, again: {error}"));
            return assert_eq!(shape(&again), self.plain.answer, "{case}, again");
        }
        let after = self.repeat(&world, &host, index, &case);
        drop(host);
        world.disk.reboot(Survive::OnlySynced);
        let engine = open(&world, 3, self.verb).unwrap_or_else(|error| panic!("{case}: {error}"));
        assert!(
            engine.dump().unwrap() == after,
            "{case}: something that was answered is lost"
        );
        is_clean(&engine, &case);
        world.charged_once(&case);
    }

    /// A fault that comes after the last operation does not strike, so every one was struck; and what
    /// was answered is there when the power goes at that moment.
    fn strike_after_the_end(&self) {
        let world = self.template.world();
        let host = self.template.host(open(&world, 1, self.verb).unwrap());
        let operations = self.plain.operations.len() as u64;
        world.disk.fault_after(operations, Fault::PowerCut);
        let answer = (self.act)(&host).unwrap_or_else(|error| panic!("{}: {error}", self.verb));
        assert!(
            !world.disk.is_off(),
            "{}: more operations than in a run without a fault",
            self.verb
        );
        assert_eq!(shape(&answer), self.plain.answer, "{}", self.verb);
        world.disk.power_off();
        drop(host);
        world.disk.reboot(Survive::OnlySynced);
        let host = self.template.host(open(&world, 2, self.verb).unwrap());
        assert_eq!(
            self.state(&host, self.verb),
            self.plain.states.len() - 1,
            "{}: it is lost",
            self.verb
        );
    }

    /// Which of the states without a fault the file is in.
    fn state(&self, host: &Host<'_>, case: &str) -> usize {
        let found = host
            .engine
            .dump()
            .unwrap_or_else(|error| panic!("{case}: reading stopped: {error}"));
        let session = host.app.sessions().get(&self.template.known.open);
        assert!(session.is_ok(), "{case}: reading stopped: {session:?}");
        let mut index = self.plain.states.iter().position(|state| *state == found);
        if index.is_none() && TRIES_AGAIN.contains(&self.verb) {
            let found = shape(&found);
            index = self.plain.shapes.iter().position(|state| *state == found);
        }
        index.unwrap_or_else(|| {
            let last = &self.plain.states[self.plain.states.len() - 1];
            let differs = last.lines().zip(found.lines()).find(|(left, right)| left != right);
            panic!("{case}: half of it is in the file: {differs:#?}")
        })
    }

    fn check_answer(&self, answer: &Result<String>, index: usize, trouble: Trouble, case: &str) {
        let last = self.plain.states.len() - 1;
        match answer {
            Ok(answer) => {
                assert_eq!(index, last, "{case}: it was answered and is not there");
                // What could not be read while the file was checked stands in the report.
                let is_reported = trouble == Trouble::BadRead && answer.contains(UNREADABLE);
                assert!(is_reported || shape(answer) == self.plain.answer, "{case}: {answer}");
            }
            Err(Error::Storage(error)) => {
                use StorageKind::{CantOpen, DiskFull, Io, OutcomeUnknown};
                let fits = match trouble {
                    Trouble::Fails(Fault::Full) => matches!(error.kind, DiskFull | CantOpen | OutcomeUnknown),
                    _ => matches!(error.kind, Io | CantOpen | OutcomeUnknown),
                };
                assert!(fits, "{case}: {error:?}");
                // Of one commit: only its own failure leaves it open whether it is there.
                let is_piece = last > 1 || PIECE_BY_PIECE.contains(&self.verb);
                assert!(
                    is_piece || index == 0 || error.kind == OutcomeUnknown,
                    "{case}: {error:?}, and it was done"
                );
            }
            Err(error) => panic!("{case}: {error:?}"),
        }
    }

    /// Calls the verb once more with the same arguments, as a host does that was not answered. Gives
    /// the file afterwards.
    fn repeat(&self, world: &World, host: &Host<'_>, index: usize, case: &str) -> String {
        let last = self.plain.states.len() - 1;
        let answer = (self.act)(host);
        let dump = || {
            host.engine
                .dump()
                .unwrap_or_else(|error| panic!("{case}, again: {error}"))
        };
        let after = match self.effect {
            Effect::Works(_) => {
                assert!(answer.is_ok(), "{case}, again: {answer:?}");
                come_to_rest(world, host, case);
                let lost = host.app.sessions().get(&host.known.lost).unwrap();
                assert!(lost.is_complete(), "{case}: {:?}", lost.state);
                return dump();
            }
            Effect::Asks(_) => {
                let waits = matches!(answer, Err(Error::PaymentInProgress { .. })) && index > 0;
                assert!(answer.is_ok() || waits, "{case}, again: {answer:?}");
                come_to_rest(world, host, case);
                return dump();
            }
            Effect::Pays(_) => {
                self.repeat_payment(world, host, &answer, index, case);
                return dump();
            }
            _ => dump(),
        };
        let is_as_without = shape(&after) == self.plain.shapes[last];
        let is_same = answer.as_ref().is_ok_and(|answer| shape(answer) == self.plain.answer);
        // What a failed sync has lost cannot be told, so the log stays as it is until the file is opened anew.
        let log_is_kept = host.engine.health().is_ok_and(|health| health.log_failure.is_some());
        let is_right = match self.effect {
            _ if log_is_kept && self.verb == "Engine::close" => answer.is_err() && is_as_without,
            Effect::Spent(_) => answer.is_ok() && is_as_without,
            Effect::Again(_) if index == last => answer.is_ok() && !is_as_without,
            Effect::Refused(_) if index == last => {
                let refused = answer.as_ref().err().map(Error::what_now);
                refused == Some(WhatNow::FixInput) && is_as_without
            }
            _ => is_same && is_as_without,
        };
        assert!(is_right, "{case}, again: {answer:?}");
        after
    }
}

/// A payment once more: it is answered, or told that it is under way; and when all has come to rest
/// it was collected once.
impl Sweep {
    fn repeat_payment(&self, world: &World, host: &Host<'_>, answer: &Result<String>, index: usize, case: &str) {
        let open = &host.known.open;
        let last = self.plain.states.len() - 1;
        match answer {
            Ok(answer) => assert_eq!(shape(answer), self.plain.answer, "{case}, again"),
            Err(Error::PaymentInProgress { .. }) => assert!(index > 0, "{case}, again: nothing is in flight"),
            Err(error) => panic!("{case}, again: {error:?}"),
        }
        let is_paid = index == last && self.verb == "Sessions::pay";
        assert_eq!(answer.is_ok(), index == 0 || is_paid, "{case}, again: {answer:?}");
        come_to_rest(world, host, case);
        let paid = host.app.sessions().pay(open, "tok_1");
        assert!(paid.is_ok_and(|paid| paid.is_complete()), "{case}: it cannot be paid");
        let charges = world.till.charges();
        let charges = charges.iter().filter(|taken| taken.session == open.as_str());
        assert_eq!(charges.count(), 1, "{case}: it was charged otherwise than once");
    }
}

/// Lets time pass until no payment is in flight.
fn come_to_rest(world: &World, host: &Host<'_>, case: &str) {
    for _ in 0..30 {
        world.clock.turn(Duration::from_secs(600));
        let payments = Budget::items(100).work(Work::PAYMENTS | Work::TIME);
        while host
            .engine
            .run_due(payments)
            .unwrap_or_else(|error| panic!("{case}: {error}"))
            .total()
            > 0
        {}
        let sessions = host.app.sessions().list(100, None).unwrap().data;
        if sessions.iter().all(is_at_rest) {
            return;
        }
    }
    panic!("{case}: a payment stays in flight");
}

/// Whether nothing is in flight for a session. What is held may be held for ever.
fn is_at_rest(session: &Session) -> bool {
    let mut charges = session.payment_intent.iter().flat_map(|intent| &intent.charges);
    let is_held = charges.any(|charge| charge.state == ChargeState::Authorized && charge.asked.is_none());
    session.state != SessionState::Processing || is_held
}

fn open(world: &World, seed: u64, verb: &str) -> Result<tillite::Engine> {
    // A secret that opens is not reset.
    world.open_with(seed, verb == "Engine::reset_seal")
}

/// The file before a call and after each of its commits, as another process sees it.
fn states(verb: &str, act: Act, template: &Template) -> Vec<String> {
    let world = template.world();
    let host = template.host(open(&world, 1, verb).unwrap());
    let peek = world.open(9).unwrap();
    let seen = Arc::new(Mutex::new(vec![peek.dump().unwrap()]));
    let (into, peeking) = (Arc::clone(&seen), AtomicBool::new(false));
    world.disk.on_point(move |_| {
        // Looking comes to such points too.
        if peeking.swap(true, Ordering::SeqCst) {
            return;
        }
        let now = peek.dump();
        peeking.store(false, Ordering::SeqCst);
        let mut seen = locked(&into);
        if let Ok(now) = now
            && seen.last() != Some(&now)
        {
            seen.push(now);
        }
    });
    act(&host).unwrap_or_else(|error| panic!("{verb} while somebody looks: {error}"));
    world.disk.clear_on_point();
    let mut seen = locked(&seen).clone();
    let last = host.engine.dump().unwrap();
    if seen.last() != Some(&last) {
        seen.push(last);
    }
    seen
}

/// The verbs of these nouns, each struck everywhere.
fn sweep(nouns: &[&str], start: Start, verbs: fn(&str, Effect) -> bool) {
    let begun = std::time::Instant::now();
    let (mut swept, mut cases) = (0, 0);
    for (verb, effect) in VERBS {
        let noun = verb.split("::").next().unwrap_or_default();
        let Some(act) = effect.act().filter(|_| nouns.contains(&noun) && verbs(verb, *effect)) else {
            continue;
        };
        swept += 1;
        cases += Sweep::new(verb, *effect, act, start).run();
    }
    assert!(swept > 0);
    println!(
        "{nouns:?} {start:?}: {swept} verbs, {cases} faults, {:.1?}",
        begun.elapsed()
    );
}

fn writes(_: &str, effect: Effect) -> bool {
    !matches!(effect, Effect::Reads(_))
}

/// Those in which most happens: all of them where nothing is to be left out.
fn sells(verb: &str, effect: Effect) -> bool {
    let chosen = matches!(
        (verb, effect),
        ("Sessions::create", Effect::Once(_)) | ("Sessions::pay", _)
    );
    writes(verb, effect) && (is_full() || chosen)
}

const NOUNS: &[&str] = &[
    "App",
    "Catalog",
    "Consumers",
    "Customers",
    "Deliveries",
    "Disputes",
    "Endpoints",
    "Engine",
    "Entitlements",
    "Keys",
    "Notifications",
    "Refunds",
    "Sessions",
    "Setups",
];

#[test]
fn no_verb_is_missing_here() {
    let listed: BTreeSet<&str> = VERBS.iter().map(|(verb, _)| *verb).collect();
    let documented = documented();
    assert_eq!(listed, documented.keys().map(String::as_str).collect());
    let swept = VERBS.iter().filter(|(_, effect)| effect.act().is_some());
    assert!(swept.clone().count() > 50);
    for (verb, _) in swept {
        assert!(
            NOUNS.iter().any(|noun| verb.starts_with(noun)),
            "{verb} is of no noun that is swept"
        );
    }
}

#[test]
fn a_fault_while_something_is_read_is_an_error_and_then_over() {
    sweep(NOUNS, Start::AtRest, |verb, effect| !writes(verb, effect));
}

#[test]
fn a_fault_leaves_all_or_nothing_of_what_is_set_up() {
    sweep(
        &[
            "App",
            "Catalog",
            "Consumers",
            "Customers",
            "Deliveries",
            "Endpoints",
            "Keys",
            "Notifications",
        ],
        Start::AtRest,
        writes,
    );
}

#[test]
fn a_fault_leaves_all_or_nothing_of_what_an_engine_does() {
    sweep(&["Engine"], Start::AtRest, writes);
}

#[test]
fn a_fault_leaves_all_or_nothing_of_what_is_sold_and_granted() {
    sweep(
        &["Entitlements", "Refunds", "Sessions", "Setups"],
        Start::AtRest,
        writes,
    );
}

#[test]
fn a_fault_after_a_crash_leaves_all_or_nothing() {
    sweep(NOUNS, Start::AfterACrash, sells);
}

#[test]
fn a_fault_while_the_log_is_worked_into_the_file_leaves_all_or_nothing() {
    sweep(NOUNS, Start::LongLog, |verb, effect| {
        sells(verb, effect) && (is_full() || verb != "Sessions::pay")
    });
}
