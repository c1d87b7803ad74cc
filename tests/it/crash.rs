//! What was answered stays answered: a process in which several threads sell is killed again and
//! again, and whatever it said before each death is in the file afterwards. No charge is lost and none is made twice.
//!
//! A killed process shows what the engine does, not what a disk does: what was written but not
//! synced survives it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tillite::webhook::{Format, NewEndpoint};
use tillite::{
    Answered, App, Budget, Capabilities, ChargeState, Clock, Currency, Engine, Error, Interval, Lookup, LookupKey,
    Mode, NewGrant, NewPayment, NewPrice, NewProduct, NewSession, Outcome, Processor, Request, SessionId, SessionState,
    SignedRequest, SystemClock, Timestamp, TransportOutcome,
};

use crate::kit::{SEAL_KEY, another_process, clean, euro, is_another_process, money_taken, take_money};

const CHILD: &str = "crash::a_process_that_sells";

/// The real clock, moved: what is due in a minute is due in the next process.
#[derive(Clone)]
struct Moved(Arc<AtomicI64>);

impl Moved {
    fn by(seconds: i64) -> Moved {
        Moved(Arc::new(AtomicI64::new(seconds)))
    }
}

impl Clock for Moved {
    fn now(&self) -> Timestamp {
        let seconds = u64::try_from(self.0.load(Ordering::SeqCst)).unwrap();
        SystemClock.now().plus(Duration::from_secs(seconds))
    }
}

/// How far the clock of each process is ahead of the one before: longer than a lease, shorter than
/// the time after which a payment that is not found never arrived.
const STEP: i64 = 45;

/// Charges into a file. By its key, a payment is declined, charged with or without an answer, or
/// not charged and not answered.
struct Ledger(PathBuf);

impl Processor for Ledger {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new()
            .lookup()
            .not_found_final_after(Duration::from_secs(60))
    }

    fn execute(&self, request: &Request, _deadline: Timestamp) -> Outcome {
        let why = "the connection broke".to_owned();
        let lot = request.idempotency_key.bytes().fold(0, |sum, byte| sum ^ byte) % 16;
        match lot {
            0 | 1 => Outcome::Declined {
                code: "insufficient_funds".to_owned(),
                message: String::new(),
                advice: None,
            },
            2 => Outcome::Unknown { why },
            3 | 4 => {
                take_money(&self.0, request);
                Outcome::Unknown { why }
            }
            _ => take_money(&self.0, request),
        }
    }

    fn lookup(&self, key: &LookupKey<'_>) -> Lookup {
        let wanted = &key.request.idempotency_key;
        if money_taken(&self.0).iter().any(|(_, taken)| taken == wanted) {
            return Lookup::Found(Outcome::succeeded(wanted, key.request.money().unwrap()));
        }
        Lookup::NotFound
    }
}

fn open(dir: &Path, clock: &Moved) -> Engine {
    let accept = |_: &SignedRequest| TransportOutcome::Answered(Answered::status(204));
    Engine::builder()
        .clock(clock.clone())
        .test_processor("ledger", Ledger(dir.join("ledger")))
        .transport(accept)
        .seal_key(SEAL_KEY)
        .open(dir.join("shop.db"))
        .unwrap()
}

/// How many threads of a process sell at once, so that they share transactions.
const SELLERS: i64 = 3;

/// Sells until it is killed, and says what it was answered, each time on a line of its own.
#[test]
fn a_process_that_sells() {
    if !is_another_process(CHILD) {
        return;
    }
    let variable = |name: &str| std::env::var(name).unwrap();
    let round: i64 = variable("TILLITE_ROUND").parse().unwrap();
    let engine = open(Path::new(&variable("TILLITE_DIR")), &Moved::by(round * STEP));
    let app = engine.app("lixblogs", Mode::Test).unwrap();
    // The harness has left its own line unfinished.
    println!();
    std::thread::scope(|scope| {
        for seller in 0..SELLERS {
            let (engine, app) = (&engine, &app);
            scope.spawn(move || {
                let sells = AssertUnwindSafe(|| sell_on(engine, app, round, seller));
                if catch_unwind(sells).is_err() {
                    // Not waiting for the others, which would sell until they are killed.
                    std::process::exit(1);
                }
            });
        }
    });
}

fn sell_on(engine: &Engine, app: &App, round: i64, seller: i64) {
    // What the process before may have been in the middle of is asked for again, as a host does
    // that heard no answer.
    for sale in 0..3 {
        sell(app, &format!("{}-{seller}-{sale}", round - 1), sale);
    }
    for sale in 0.. {
        sell(app, &format!("{round}-{seller}-{sale}"), sale);
        let ran = engine.run_due(Budget::items(3)).unwrap();
        println!("@ ran {}", ran.total());
    }
}

fn sell(app: &App, key: &str, sale: i64) {
    let new = NewSession::tier("member", Currency::EUR).customer(format!("u_{key}"));
    let session = app.sessions().create(new.idempotency_key(key)).unwrap();
    println!("@ session {key} {} {}", session.id, session.state.as_str());
    let payment = NewPayment::with("tok_1").idempotency_key(key);
    match app.sessions().pay(&session.id, payment) {
        Ok(paid) => {
            let charge = paid.charge.unwrap();
            let (state, of_charge) = (paid.session.state.as_str(), charge.state.as_str());
            println!("@ payment {} {state} {} {of_charge}", session.id, charge.id);
        }
        Err(Error::PaymentInProgress { .. }) => println!("@ waits {}", session.id),
        Err(error) => panic!("{error:?}"),
    }
    // A buyer who was declined tries once more.
    if app.sessions().get(&session.id).unwrap().state == SessionState::Open {
        match app.sessions().pay(&session.id, "tok_2") {
            Ok(_) | Err(Error::PaymentInProgress { .. } | Error::Refused(_)) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    if sale % 2 == 0 {
        let uid = format!("g_{key}");
        let grant = NewGrant::tier(&uid, "member").idempotency_key(key);
        let granted = app.entitlements().grant(grant).unwrap();
        println!("@ grant {uid} {}", granted.version);
    }
}

/// What the killed processes had been answered.
#[derive(Default)]
struct Said {
    lines: usize,
    /// Session by idempotency key.
    sessions: BTreeMap<String, String>,
    complete: BTreeSet<String>,
    /// Session and state by charge.
    charges: BTreeMap<String, (String, String)>,
    granted: BTreeSet<String>,
}

impl Said {
    fn hear(&mut self, line: &str) {
        self.lines += 1;
        let words: Vec<&str> = line.split(' ').collect();
        let mut complete = |id: &str, state: &str| {
            if state == "complete" {
                self.complete.insert(id.to_owned());
            }
        };
        match words[1..] {
            ["session", key, id, state] => {
                complete(id, state);
                let known = self.sessions.entry(key.to_owned()).or_insert_with(|| id.to_owned());
                assert_eq!(known, id, "key {key} made two sessions");
            }
            ["payment", id, state, charge, of_charge] => {
                complete(id, state);
                let of_charge = (id.to_owned(), of_charge.to_owned());
                self.charges.insert(charge.to_owned(), of_charge);
            }
            ["grant", uid, version] => {
                assert_eq!(version, "1", "{uid} was granted twice");
                self.granted.insert(uid.to_owned());
            }
            ["waits" | "ran", _] => {}
            _ => panic!("{line}"),
        }
    }

    /// Everything that was said is in the file.
    fn check(&self, app: &App) {
        let get = |id: &str| app.sessions().get(&SessionId::parse(id).unwrap()).unwrap();
        for id in self.sessions.values() {
            assert_eq!(get(id).id.as_str(), id);
        }
        for id in &self.complete {
            assert_eq!(get(id).state, SessionState::Complete, "{id}");
        }
        for (charge, (session, said)) in &self.charges {
            let charges = get(session).payment_intent.unwrap().charges;
            let found = charges.iter().find(|known| known.id.as_str() == charge).unwrap();
            let is_final = ["succeeded", "failed"].contains(&said.as_str());
            assert!(!is_final || found.state.as_str() == said, "{found:?} was {said}");
        }
        for uid in &self.granted {
            assert!(app.entitlements().get(uid).unwrap().active, "{uid}");
        }
    }
}

/// Lets a process sell, kills it, and answers what it said.
fn kill_one(dir: &Path, round: i64, after: Duration, wait_for_it: bool) -> Vec<String> {
    let variables = [
        ("TILLITE_DIR", dir.display().to_string()),
        ("TILLITE_ROUND", round.to_string()),
    ];
    let mut child = another_process(CHILD, &variables)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let (started, begun) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut said = Vec::new();
        let mut line = String::new();
        while output.read_line(&mut line).unwrap() > 0 {
            // What has no end was cut off by the kill.
            if line.starts_with("@ ") && line.ends_with('\n') {
                let _ = started.send(());
                said.push(line.trim_end().to_owned());
            }
            line.clear();
        }
        said
    });
    if wait_for_it {
        // A process that dies by itself before it says anything fails below.
        let _ = begun.recv();
    }
    std::thread::sleep(after);
    child.kill().unwrap();
    let status = child.wait().unwrap();
    assert!(
        !status.success() && status.code().is_none(),
        "it ended by itself: {status}"
    );
    reader.join().unwrap()
}

#[test]
fn a_killed_process_has_lost_nothing_that_it_was_answered() {
    let kills: i64 = std::env::var("TILLITE_KILLS").map_or(100, |kills| kills.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let clock = Moved::by(0);
    let member =
        NewProduct::new("member", "Membership").price(NewPrice::new("member", euro(199_00)).lasting(Interval::MONTH));
    let engine = open(dir.path(), &clock);
    let app = engine.app("lixblogs", Mode::Test).unwrap();
    app.catalog().set(member).unwrap();
    let endpoint = NewEndpoint::new("https://shop.example/hooks", Format::XPay);
    app.endpoints()
        .add(endpoint.events(["checkout.session.completed"]))
        .unwrap();
    drop((app, engine));

    let mut said = Said::default();
    let mut lot: u64 = 1;
    for round in 1..=kills {
        lot = lot
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        // Most die while they sell, some while they open the file and recover.
        let after = Duration::from_micros((lot >> 33) % 70_000);
        let lines = kill_one(dir.path(), round, after, round % 5 != 0);
        clock.0.store(round * STEP, Ordering::SeqCst);
        let engine = open(dir.path(), &clock);
        let app = engine.app("lixblogs", Mode::Test).unwrap();
        let mut of_this_one = Said::default();
        for line in &lines {
            of_this_one.hear(line);
            said.hear(line);
        }
        of_this_one.check(&app);
        clean(&engine);
    }

    // Time passes until every outcome is known.
    let engine = open(dir.path(), &clock);
    let app = engine.app("lixblogs", Mode::Test).unwrap();
    for _ in 0..20 {
        clock.0.fetch_add(21_600, Ordering::SeqCst);
        while engine.run_due(Budget::items(1_000)).unwrap().total() > 0 {}
    }
    let health = engine.health().unwrap();
    assert_eq!((health.open_charges, health.held_charges), (0, 0));
    assert_eq!(health.oldest_overdue_delivery, None);
    said.check(&app);
    clean(&engine);

    let mut collected = BTreeSet::new();
    let (mut sessions, mut before) = (0, None);
    loop {
        let page = app.sessions().list(100, before.as_ref()).unwrap();
        before = page.data.last().map(|session| session.id.clone());
        for session in page.data {
            sessions += 1;
            let charges = session.payment_intent.map_or_else(Vec::new, |intent| intent.charges);
            let paid: Vec<_> = charges
                .into_iter()
                .filter(|charge| charge.state == ChargeState::Succeeded)
                .collect();
            assert!(paid.len() <= 1, "{paid:?}");
            assert_eq!(paid.len() == 1, session.state == SessionState::Complete);
            collected.extend(
                paid.into_iter()
                    .map(|charge| (session.id.to_string(), charge.reference.unwrap())),
            );
        }
        if !page.has_more {
            break;
        }
    }
    let taken = money_taken(&dir.path().join("ledger"));
    let once: BTreeSet<_> = taken.iter().cloned().collect();
    assert_eq!(taken.len(), once.len(), "a key was charged twice");
    assert_eq!(once, collected, "the ledger and the file differ");
    let payers: BTreeSet<_> = taken.iter().map(|(session, _)| session).collect();
    assert_eq!(payers.len(), taken.len(), "a session was charged twice");
    for uid in &said.granted {
        let history = app.entitlements().history(uid, "main", 100, None).unwrap();
        assert_eq!(history.data.len(), 1, "{uid}");
    }

    let lost = engine.dump().unwrap().matches(" source=\"lease\"").count();
    println!(
        "{kills} kills, {} answers, {sessions} sessions, {} charges, {lost} answers lost in flight",
        said.lines,
        taken.len()
    );
    assert!(
        kills < 50 || lost > 0,
        "nothing was in flight at any kill: the test shows nothing"
    );
}
