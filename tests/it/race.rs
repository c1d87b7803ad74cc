//! Whoever pays a session at the same moment as somebody else: one of them pays, the other hears
//! so. It holds between threads and between processes on one file.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};

use tillite::{
    Budget, Capabilities, Engine, Error, Lookup, LookupKey, Mode, Outcome, Processor, Request, Session, SessionId,
    SessionState, Timestamp,
};

use crate::kit::{
    ManualClock, Receiver, Shop, Till, another_process, builder, is_another_process, money_taken, take_money,
};

const CHILD: &str = "race::the_other_process";

/// Charges into a file that two processes share. Where it is told to, it says so first and waits for a
/// line, so that the other process comes in the middle of it.
struct SharedLedger {
    path: PathBuf,
    holds: Arc<AtomicBool>,
}

impl Processor for SharedLedger {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new().lookup()
    }

    fn execute(&self, request: &Request, _deadline: Timestamp) -> Outcome {
        if self.holds.load(Ordering::SeqCst) {
            println!("@ charging");
            assert_eq!(next_line().as_deref(), Some("go"));
        }
        take_money(&self.path, request)
    }

    fn lookup(&self, _key: &LookupKey<'_>) -> Lookup {
        Lookup::NotFound
    }
}

/// The next line of the standard input; none at its end.
fn next_line() -> Option<String> {
    let mut line = String::new();
    let read = std::io::stdin().read_line(&mut line).unwrap();
    (read > 0).then(|| line.trim_end().to_owned())
}

fn open(dir: &Path, holds: &Arc<AtomicBool>) -> Engine {
    let till = SharedLedger {
        path: dir.join("ledger"),
        holds: Arc::clone(holds),
    };
    let setup = Engine::builder().clock(ManualClock::new()).test_processor("till", till);
    setup.open(dir.join("shop.db")).unwrap()
}

/// Pays every session whose id comes in, and says what came of it.
#[test]
fn the_other_process() {
    if !is_another_process(CHILD) {
        return;
    }
    let dir = PathBuf::from(std::env::var("TILLITE_DIR").unwrap());
    let holds = Arc::default();
    let engine = open(&dir, &holds);
    let app = engine.app("lixblogs", Mode::Test).unwrap();
    // The harness has left its own line unfinished.
    println!("\n@ ready");
    while let Some(line) = next_line() {
        let (how, id) = line.split_once(' ').unwrap();
        holds.store(how == "hold", Ordering::SeqCst);
        let id = SessionId::parse(id).unwrap();
        match app.sessions().pay(&id, "tok_1") {
            Ok(payment) => println!("@ {} {}", payment.session.state.as_str(), payment.charge.is_some()),
            Err(Error::PaymentInProgress { .. }) => println!("@ in_progress false"),
            Err(error) => println!("@ {error} false"),
        }
    }
}

#[test]
fn two_processes_that_pay_one_session_charge_once() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path(), &Arc::default());
    let clock = ManualClock::new();
    let shop = Shop::with(engine, Mode::Test, clock, Till::new(), Receiver::new());
    let sessions: Vec<Session> = (0..20).map(|buyer| shop.session(&format!("u_{buyer}"))).collect();

    let variables = [("TILLITE_DIR", dir.path().display().to_string())];
    let mut children: Vec<_> = (0..2)
        .map(|_| {
            let mut command = another_process(CHILD, &variables);
            let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
            let answers = BufReader::new(child.stdout.take().unwrap()).lines();
            let answers = answers.map_while(Result::ok).filter(|line| line.starts_with("@ "));
            (child.stdin.take().unwrap(), answers, child)
        })
        .collect();
    for (_, answers, _) in &mut children {
        assert_eq!(answers.next().unwrap(), "@ ready");
    }
    // Half of them are charged while the other process is sure to come; the rest as it happens.
    for (session, how) in sessions.iter().zip(["hold", "pay"].into_iter().cycle()) {
        for (input, ..) in &mut children {
            writeln!(input, "{how} {}", session.id).unwrap();
        }
        let mut answers: Vec<String> = children
            .iter_mut()
            .map(|(_, answers, _)| answers.next().unwrap())
            .collect();
        if how == "hold" {
            let winner = usize::from(answers[1] == "@ charging");
            assert_eq!(answers[1 - winner], "@ in_progress false", "{answers:?}");
            let (input, said, _) = &mut children[winner];
            writeln!(input, "go").unwrap();
            answers[winner] = said.next().unwrap();
        }
        answers.sort_unstable();
        // The winner has the charge; the loser finds it in flight, or the session complete.
        match [answers[0].as_str(), answers[1].as_str()] {
            ["@ complete true", "@ in_progress false"] => {}
            ["@ complete false", "@ complete true"] if how == "pay" => {}
            other => panic!("{other:?}"),
        }
    }
    for (input, _, mut child) in children {
        drop(input);
        assert!(child.wait().unwrap().success());
    }
    let taken = money_taken(&dir.path().join("ledger"));
    let charged: BTreeMap<_, _> = taken.iter().cloned().collect();
    assert_eq!((taken.len(), charged.len()), (20, 20), "{taken:?}");
    for session in &sessions {
        let paid = shop.read(session);
        assert_eq!(paid.state, SessionState::Complete);
        assert_eq!(paid.payment_intent.unwrap().charges.len(), 1);
        assert!(charged.contains_key(session.id.as_str()));
    }
    shop.clean();
}

#[test]
fn eight_threads_that_pay_the_same_sessions_charge_each_once() {
    let dir = tempfile::tempdir().unwrap();
    let (clock, till, receiver) = (ManualClock::new(), Till::new(), Receiver::new());
    let path = dir.path().join("shop.db");
    let engine = builder(&clock, &till, &receiver).open(path).unwrap();
    let shop = Shop::with(engine, Mode::Test, clock, till, receiver);
    let sessions: Vec<Session> = (0..40).map(|buyer| shop.session(&format!("u_{buyer}"))).collect();
    let start = Barrier::new(8);
    let paid: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|thread| {
                let (start, shop, sessions) = (&start, &shop, &sessions);
                scope.spawn(move || {
                    start.wait();
                    let mut paid = 0;
                    // Half of them go the other way round, so that they meet everywhere.
                    for at in 0..sessions.len() {
                        let at = if thread % 2 == 0 { at } else { sessions.len() - 1 - at };
                        match shop.pay(&sessions[at]) {
                            Ok(payment) => {
                                assert!(payment.is_complete());
                                paid += usize::from(payment.charge.is_some());
                            }
                            Err(refused) => {
                                assert!(matches!(refused, Error::PaymentInProgress { .. }), "{refused:?}");
                            }
                        }
                        shop.engine.run_due(Budget::items(1)).unwrap();
                    }
                    paid
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!((paid, shop.till.charges().len()), (40, 40));
    assert_eq!(shop.till.requests().len(), 40);
    for session in &sessions {
        let read = shop.read(session);
        assert_eq!(read.state, SessionState::Complete);
        assert_eq!(read.payment_intent.unwrap().charges.len(), 1);
    }
    shop.clean();
}
