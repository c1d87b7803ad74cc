//! Whoever pays a session at the same moment as somebody else: one of them pays, the other hears
//! so. And whoever gives money back at the same moment as others: together they give back what was
//! taken, and no more. It holds between threads and between processes on one file.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use tillite::{
    App, Budget, Capabilities, Charge, ChargeId, ChargeState, Currency, Engine, Error, Lookup, LookupKey, Mode,
    NewLine, NewRefund, NewSession, Operation, Outcome, Processor, RefundState, Request, Session, SessionId,
    SessionState, Timestamp,
};

use crate::kit::{
    ManualClock, Receiver, Shop, Till, Told, another_process, builder, clean, euro, is_another_process, money_taken,
    take_money,
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

const REFUNDING: &str = "race::the_other_process_that_gives_back";

/// How many threads of each process give money back.
const CLERKS: u64 = 4;

/// Gives back into a file that the processes share, whatever it is asked for: it knows no bound. By its
/// key, a refund is declined, given with or without an answer, or neither given nor answered.
struct Generous {
    taken: PathBuf,
    given: PathBuf,
}

impl Processor for Generous {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new()
            .lookup()
            .not_found_final_after(Duration::from_secs(60))
    }

    fn execute(&self, request: &Request, _deadline: Timestamp) -> Outcome {
        if request.operation == Operation::Charge {
            return take_money(&self.taken, request);
        }
        let why = "the connection broke".to_owned();
        match request.idempotency_key.bytes().fold(0, |sum, byte| sum ^ byte) % 16 {
            0 | 1 => Outcome::Declined {
                code: "card_gone".to_owned(),
                message: String::new(),
                advice: None,
            },
            2 => Outcome::Unknown { why },
            3 | 4 => {
                take_money(&self.given, request);
                Outcome::Unknown { why }
            }
            _ => take_money(&self.given, request),
        }
    }

    fn lookup(&self, key: &LookupKey<'_>) -> Lookup {
        let wanted = &key.request.idempotency_key;
        if money_taken(&self.given).iter().any(|(_, given)| given == wanted) {
            Lookup::Found(Outcome::succeeded(wanted, key.request.money().unwrap()))
        } else {
            Lookup::NotFound
        }
    }
}

fn open_generous(dir: &Path, clock: &ManualClock) -> (Engine, App) {
    let till = Generous {
        taken: dir.join("taken"),
        given: dir.join("given"),
    };
    let setup = Engine::builder().clock(clock.clone()).test_processor("till", till);
    let engine = setup.open(dir.join("shop.db")).unwrap();
    let app = engine.app("lixblogs", Mode::Test).unwrap();
    (engine, app)
}

/// The charge as it is in the file, in which no more is on its way back or there than was taken.
fn within_bounds(app: &App, charge: &ChargeId, session: &SessionId) -> Charge {
    let session = app.sessions().get(session).unwrap();
    let mut charges = session.payment_intent.unwrap().charges.into_iter();
    let found = charges.find(|known| known.id == *charge).unwrap();
    assert!(found.refund_reserved >= 0 && found.refunded >= 0, "{found:?}");
    assert!(found.refund_reserved + found.refunded <= found.captured, "{found:?}");
    found
}

/// Gives back parts of a charge until nothing is left of it; answers how many, and how often too much
/// was asked for.
fn give_back(engine: &Engine, app: &App, charge: &Charge, mut lot: u64) -> (u32, u32) {
    let (mut made, mut too_large) = (0, 0);
    let mut scarce = false;
    loop {
        lot = lot
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let drawn = lot >> 33;
        let of_charge = NewRefund::charge(&charge.id);
        let new = match drawn % 16 {
            _ if scarce => of_charge,
            0 => of_charge.units(0, 1),
            1 | 2 => of_charge.amount(euro(charge.captured + 1)),
            _ => of_charge.amount(euro(i64::try_from(drawn / 16 % 20_00 + 1).unwrap())),
        };
        match app.refunds().create(new) {
            Ok(_) => made += 1,
            Err(Error::RefundTooLarge { .. }) => {
                too_large += 1;
                scarce = !matches!(drawn % 16, 1 | 2);
            }
            Err(Error::Refused(_)) => return (made, too_large),
            Err(error) => panic!("{error}"),
        }
        within_bounds(app, &charge.id, &charge.session);
        if drawn.is_multiple_of(5) {
            engine.run_due(Budget::items(1)).unwrap();
        }
    }
}

/// Gives back what a charge took, with several threads.
#[test]
fn the_other_process_that_gives_back() {
    if !is_another_process(REFUNDING) {
        return;
    }
    let variable = |name: &str| std::env::var(name).unwrap();
    let (engine, app) = open_generous(Path::new(&variable("TILLITE_DIR")), &ManualClock::new());
    let seed: u64 = variable("TILLITE_SEED").parse().unwrap();
    // The harness has left its own line unfinished.
    println!("\n@ ready");
    let session = SessionId::parse(&next_line().unwrap()).unwrap();
    let charge = app.sessions().get(&session).unwrap().payment_intent.unwrap().charges[0].clone();
    let start = Barrier::new(usize::try_from(CLERKS).unwrap());
    std::thread::scope(|scope| {
        for clerk in 0..CLERKS {
            let (engine, app, charge, start) = (&engine, &app, &charge, &start);
            scope.spawn(move || {
                start.wait();
                let (made, too_large) = give_back(engine, app, charge, seed * CLERKS + clerk);
                println!("\n@ {made} {too_large}");
            });
        }
    });
}

#[test]
fn clerks_in_two_processes_never_give_back_more_than_was_taken() {
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::new();
    let (engine, app) = open_generous(dir.path(), &clock);
    let things = NewSession::empty().line(NewLine::inline("A thing", euro(50_00)).quantity(60));
    let session = app.sessions().create(things).unwrap();
    let charge = app.sessions().pay(&session.id, "tok_1").unwrap().charge.unwrap();
    let children = [1_u64, 2].map(|seed| {
        let variables = [
            ("TILLITE_DIR", dir.path().display().to_string()),
            ("TILLITE_SEED", seed.to_string()),
        ];
        let mut command = another_process(REFUNDING, &variables);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut said = said.map_while(Result::ok).filter(|line| line.starts_with("@ "));
        assert_eq!(said.next().unwrap(), "@ ready");
        (child.stdin.take().unwrap(), said, child)
    });
    let begun = children.map(|(mut input, said, child)| {
        writeln!(input, "{}", session.id).unwrap();
        (said, child)
    });
    let (mut made, mut too_large) = (0, 0);
    for (said, mut child) in begun {
        let each: Vec<Vec<usize>> = said
            .map(|line| line.split(' ').skip(1).map(|word| word.parse().unwrap()).collect())
            .collect();
        assert!(child.wait().unwrap().success());
        assert_eq!(each.len() as u64, CLERKS);
        made += each.iter().map(|counts| counts[0]).sum::<usize>();
        too_large += each.iter().map(|counts| counts[1]).sum::<usize>();
    }
    // While nobody knows what came of some of them, their amounts are reserved.
    let left = within_bounds(&app, &charge.id, &session.id);
    assert_eq!(left.refundable(), 0);
    clean(&engine);
    for _ in 0..20 {
        clock.turn(Duration::from_secs(21_600));
        while engine.run_due(Budget::items(1_000)).unwrap().total() > 0 {}
    }
    let after = within_bounds(&app, &charge.id, &session.id);
    let refunds = app.refunds().of(&charge.id).unwrap();
    assert_eq!((refunds.len(), after.refund_reserved), (made, 0));

    // Line by line, what went out is what the file says went back.
    let given = std::fs::read_to_string(dir.path().join("given")).unwrap();
    let given: Vec<(&str, i64)> = given
        .lines()
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            (words[1], words[2].parse().unwrap())
        })
        .collect();
    let once: BTreeMap<_, _> = given.iter().copied().collect();
    assert_eq!(given.len(), once.len(), "a refund went out twice");
    let booked: BTreeMap<_, _> = refunds
        .iter()
        .filter(|refund| refund.state == RefundState::Succeeded)
        .map(|refund| (refund.reference.as_deref().unwrap(), refund.amount.as_minor()))
        .collect();
    assert_eq!(once, booked);
    assert_eq!(once.values().sum::<i64>(), after.refunded);
    assert!(after.refunded <= after.captured);
    // No part is more than 50.00 of the 3,000.00.
    assert!(
        too_large > 0 && made >= 20,
        "{made} refunds, {too_large} too large: nobody met"
    );
    let open = refunds.iter().filter(|refund| refund.state.is_open());
    assert_eq!(open.count(), 0);
    clean(&engine);
}

/// What one of several hands does with a payment that is held, all at once.
fn handle(shop: &Shop, session: &SessionId, hand: u64) -> bool {
    let sessions = shop.app.sessions();
    let done = match hand {
        0 => sessions.capture(session, None).map(drop),
        1 => sessions.capture(session, Some(euro(50_00))).map(drop),
        2 => sessions.void(session).map(drop),
        3 => sessions.cancel_payment(session).map(drop),
        4 => shop.app.refunds().create(NewRefund::session(session)).map(drop),
        5 => {
            let part = NewRefund::session(session).amount(euro(30_00));
            shop.app.refunds().create(part).map(drop)
        }
        _ => sessions.refresh(session).map(drop),
    };
    match done {
        Ok(()) => true,
        Err(Error::PaymentInProgress { .. } | Error::Refused(_) | Error::RefundTooLarge { .. }) => false,
        Err(error) => panic!("{hand}: {error}"),
    }
}

#[test]
fn whoever_captures_voids_cancels_and_refunds_one_payment_at_once_leaves_it_as_the_service_has_it() {
    const HANDS: u64 = 7;
    let (mut captured, mut voided, mut refused) = (0, 0, 0);
    for round in 0..24_u64 {
        let shop = Shop::open();
        let new = NewSession::tier("member", Currency::EUR)
            .customer("u_1")
            .capture_later();
        let session = shop.app.sessions().create(new).unwrap();
        shop.pay(&session).unwrap();
        // In some rounds an answer is lost, so that hands meet something in doubt.
        if round.is_multiple_of(3) {
            shop.till.tell(Told::TakeAndLose);
        }
        let start = Barrier::new(usize::try_from(HANDS).unwrap());
        std::thread::scope(|scope| {
            let hands: Vec<_> = (0..HANDS)
                .map(|hand| {
                    let (shop, session, start) = (&shop, &session.id, &start);
                    scope.spawn(move || {
                        start.wait();
                        (0..3)
                            .map(|turn| handle(shop, session, (hand + round + turn) % HANDS))
                            .collect::<Vec<_>>()
                    })
                })
                .collect();
            for hand in hands {
                let done = hand.join().unwrap();
                refused += done.iter().filter(|done| !**done).count();
            }
        });
        shop.clean();
        for _ in 0..20 {
            shop.clock.turn(Duration::from_secs(21_600));
            shop.run();
        }
        shop.clean();
        let charges = shop.read(&session).payment_intent.unwrap().charges;
        let [charge] = &charges[..] else {
            panic!("{charges:?}");
        };
        let sum = |taken: Vec<tillite::testing::Taken>| taken.iter().map(|taken| taken.amount).sum::<i64>();
        assert!(shop.till.charges().len() <= 1, "taken twice");
        assert_eq!(charge.captured, sum(shop.till.charges()));
        assert_eq!((charge.refunded, charge.refund_reserved), (sum(shop.till.refunds()), 0));
        assert!(charge.refunded <= charge.captured);
        let holds = usize::from(charge.state == ChargeState::Authorized);
        assert_eq!(shop.till.holds().len(), holds, "{charge:?}");
        captured += usize::from(charge.captured > 0);
        voided += usize::from(charge.state == ChargeState::Voided);
    }
    assert!(
        captured > 0 && voided > 0 && refused > 60,
        "{captured} {voided} {refused}: nobody met"
    );
}
