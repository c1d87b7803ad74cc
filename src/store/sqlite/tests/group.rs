//! What callers who share a transaction may rely on. A gate keeps the leader inside its command
//! until the others stand in line behind it, so that who shares with whom is certain.

use std::collections::HashSet;
use std::sync::Condvar;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::{JoinHandle, Thread, ThreadId, yield_now};

use proptest::prelude::*;

use super::*;
use crate::store::{Row, Sql};

type Work = Box<dyn FnMut(&mut dyn Sql) -> Result<()> + Send>;

/// A command that tells how often it was told of its commit.
struct Told(Work, Arc<AtomicUsize>);

impl Command for Told {
    fn run(&mut self, sql: &mut dyn Sql) -> Result<()> {
        (self.0)(sql)
    }

    fn committed(&mut self) {
        self.1.fetch_add(1, Ordering::SeqCst);
    }
}

/// A pace at which who parks stays parked until it is woken, or until its time is over by hand. So a
/// wake that never comes is seen: the operating system's clock would hide it behind a delay.
#[derive(Default)]
struct Strict {
    state: Mutex<Threads>,
    changed: Condvar,
}

#[derive(Default)]
struct Threads {
    now: Duration,
    woken: HashSet<ThreadId>,
    parked: usize,
}

impl Strict {
    fn turn(&self, by: Duration) {
        self.state.lock().unwrap().now += by;
        self.changed.notify_all();
    }

    /// How many threads are parked.
    fn parked(&self) -> usize {
        self.state.lock().unwrap().parked
    }
}

impl Pace for Strict {
    fn now(&self) -> Duration {
        self.state.lock().unwrap().now
    }

    fn sleep(&self, time: Duration) {
        self.turn(time);
    }

    fn park(&self, at_most: Duration) {
        // Past this a test fails instead of hanging.
        const PATIENCE: Duration = Duration::from_secs(60);
        let me = std::thread::current().id();
        let mut state = self.state.lock().unwrap();
        let until = state.now + at_most;
        state.parked += 1;
        let waits = |state: &mut Threads| state.now < until && !state.woken.contains(&me);
        let (mut state, late) = self.changed.wait_timeout_while(state, PATIENCE, waits).unwrap();
        state.parked -= 1;
        state.woken.remove(&me);
        drop(state);
        assert!(!late.timed_out(), "nobody woke it");
    }

    fn wake(&self, thread: &Thread) {
        self.state.lock().unwrap().woken.insert(thread.id());
        self.changed.notify_all();
    }
}

struct Desk {
    sqlite: Arc<Sqlite>,
    pace: Arc<Strict>,
    told: Arc<AtomicUsize>,
    folder: tempfile::TempDir,
}

/// A caller on its way to an answer.
type Caller = JoinHandle<Result<()>>;

impl Desk {
    fn open() -> Desk {
        let folder = tempfile::tempdir().unwrap();
        let pace = Arc::new(Strict::default());
        let place = Place::file(&folder.path().join("shop.db"));
        let sqlite = Arc::new(Sqlite::open(place, at(0), Arc::clone(&pace) as Arc<dyn Pace>).unwrap());
        Desk {
            sqlite,
            pace,
            told: Arc::default(),
            folder,
        }
    }

    /// A connection of somebody else's to the same file.
    fn foreign(&self) -> Connection {
        Connection::open(self.folder.path().join("shop.db")).unwrap()
    }

    fn call(&self, access: Access, work: impl FnMut(&mut dyn Sql) -> Result<()> + Send + 'static) -> Caller {
        let command = Told(Box::new(work), Arc::clone(&self.told));
        let sqlite = Arc::clone(&self.sqlite);
        std::thread::spawn(move || sqlite.write(access, Box::new(command)))
    }

    /// A caller at the head of the line, in the middle of its command until it is let go.
    fn busy_leader(&self, access: Access) -> (Sender<()>, Caller) {
        let (entered, is_in) = channel();
        let (let_go, gate) = channel();
        let leader = self.call(access, move |sql| {
            entered.send(()).unwrap();
            gate.recv().unwrap();
            let once = format!("{ADD} ON CONFLICT (slug) DO NOTHING");
            sql.exec(&once, &["leader".into()]).map(|_| ())
        });
        is_in.recv().unwrap();
        (let_go, leader)
    }

    /// One more caller, in line behind everybody and parked when this returns.
    fn behind(&self, access: Access, work: impl FnMut(&mut dyn Sql) -> Result<()> + Send + 'static) -> Caller {
        let before = (self.sqlite.group.waiting(), self.pace.parked());
        let caller = self.call(access, work);
        while self.sqlite.group.waiting() == before.0 || self.pace.parked() == before.1 {
            yield_now();
        }
        caller
    }

    /// A leader and others that come while it works. Answers what each was told, the leader first,
    /// and how many transactions that took.
    fn write(&self, leader: Access, others: Vec<(Access, Work)>) -> (Vec<Result<()>>, u64) {
        let before = self.batches();
        let (let_go, leader) = self.busy_leader(leader);
        let others: Vec<Caller> = others
            .into_iter()
            .map(|(access, work)| self.behind(access, work))
            .collect();
        let_go.send(()).unwrap();
        let answers = [leader]
            .into_iter()
            .chain(others)
            .map(|caller| caller.join().unwrap())
            .collect();
        (answers, self.batches() - before)
    }

    fn batches(&self) -> u64 {
        self.sqlite.writer().log.transactions
    }

    /// The names that were added and committed.
    fn names(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut each = |row: &dyn Row| -> Result<()> {
            found.push(row.text(0)?);
            Ok(())
        };
        self.sqlite
            .read(&mut |sql| sql.each("SELECT slug FROM tillite_app ORDER BY app", &[], &mut each))
            .unwrap();
        found
    }
}

const ADD: &str = "INSERT INTO tillite_app (slug, created_at) VALUES ($1, 0)";

fn add(name: &'static str) -> impl FnMut(&mut dyn Sql) -> Result<()> + Send + 'static {
    move |sql| sql.exec(ADD, &[name.into()]).map(|_| ())
}

fn refused() -> Error {
    crate::error::Invalid::new("slug", "x", "something else").into()
}

/// A violation that only the commit notices.
fn spoil_the_commit(sql: &mut dyn Sql) -> Result<()> {
    sql.each("PRAGMA defer_foreign_keys = ON", &[], &mut |_| Ok(()))?;
    let orphan = "INSERT INTO tillite_head (app, mode, now, hash) VALUES (999, 0, 0, zeroblob(32))";
    sql.exec(orphan, &[]).map(|_| ())
}

fn work(work: impl FnMut(&mut dyn Sql) -> Result<()> + Send + 'static) -> Work {
    Box::new(work)
}

fn shared(name: &'static str) -> (Access, Work) {
    (Access::Shared, work(add(name)))
}

fn kind(answer: &Result<()>) -> Option<StorageKind> {
    match answer {
        Err(Error::Storage(error)) => Some(error.kind),
        _ => None,
    }
}

#[test]
fn callers_in_line_share_one_transaction_in_the_order_in_which_they_came() {
    let desk = Desk::open();
    let (answers, batches) = desk.write(Access::Shared, vec![shared("a"), shared("b"), shared("c")]);
    assert_eq!(answers, vec![Ok(()); 4]);
    assert_eq!(batches, 1);
    assert_eq!(desk.names(), ["leader", "a", "b", "c"]);
    assert_eq!(desk.told.load(Ordering::SeqCst), 4);
}

#[test]
fn a_command_that_is_refused_takes_nothing_with_it_but_its_own() {
    let desk = Desk::open();
    let refuses = work(|sql| add("refused")(sql).and(Err(refused())));
    let (answers, batches) = desk.write(Access::Shared, vec![(Access::Shared, refuses), shared("b")]);
    assert_eq!(answers, [Ok(()), Err(refused()), Ok(())]);
    assert_eq!(batches, 1);
    assert_eq!(desk.names(), ["leader", "b"]);
    assert_eq!(desk.told.load(Ordering::SeqCst), 2);
}

#[test]
fn the_first_of_a_transaction_that_is_refused_leaves_the_others_to_the_next() {
    let desk = Desk::open();
    let (entered, is_in) = channel();
    let (let_go, gate) = channel();
    let leader = desk.call(Access::Shared, move |sql| {
        add("leader")(sql)?;
        entered.send(()).unwrap();
        gate.recv().unwrap();
        Err(refused())
    });
    is_in.recv().unwrap();
    let other = desk.behind(Access::Shared, add("b"));
    let_go.send(()).unwrap();
    assert_eq!(leader.join().unwrap(), Err(refused()));
    assert_eq!(other.join().unwrap(), Ok(()));
    assert_eq!(desk.names(), ["b"]);
}

#[test]
fn a_panic_reaches_the_thread_whose_command_it_was_and_nobody_else() {
    let desk = Desk::open();
    let (let_go, leader) = desk.busy_leader(Access::Shared);
    let panics = desk.behind(Access::Shared, |sql| {
        add("panicked")(sql)?;
        panic!("on purpose")
    });
    let other = desk.behind(Access::Shared, add("b"));
    let_go.send(()).unwrap();
    assert_eq!(leader.join().unwrap(), Ok(()));
    let panic = panics.join().unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"on purpose"));
    assert_eq!(other.join().unwrap(), Ok(()));
    assert_eq!(desk.names(), ["leader", "b"]);
}

#[test]
fn where_the_library_undid_the_whole_transaction_nobody_is_told_that_anything_was_written() {
    let desk = Desk::open();
    let undone = work(|sql| {
        sql.exec("ROLLBACK", &[])?;
        Err(StorageError::new(StorageKind::DiskFull, "as SQLite does it").into())
    });
    let (answers, _) = desk.write(Access::Shared, vec![shared("a"), (Access::Shared, undone), shared("b")]);
    let kinds: Vec<_> = answers.iter().map(kind).collect();
    assert_eq!(kinds[..3], [Some(StorageKind::DiskFull); 3]);
    assert_eq!(answers[3], Ok(()));
    assert_eq!(desk.names(), ["b"]);
    assert_eq!(desk.told.load(Ordering::SeqCst), 1);
}

#[test]
fn a_commit_that_fails_leaves_everybody_in_doubt_also_who_only_looked_or_was_refused() {
    let desk = Desk::open();
    let looks = work(|sql| sql.each("SELECT slug FROM tillite_app", &[], &mut |_| Ok(())));
    let others = vec![
        (Access::Shared, looks),
        (Access::Shared, work(|_| Err(refused()))),
        (Access::Shared, work(spoil_the_commit)),
    ];
    let (answers, _) = desk.write(Access::Shared, others);
    let kinds: Vec<_> = answers.iter().map(kind).collect();
    assert_eq!(kinds, [Some(StorageKind::OutcomeUnknown); 4]);
    assert_eq!(desk.told.load(Ordering::SeqCst), 0);
    assert_eq!(desk.names(), Vec::<String>::new());
    // The connection in doubt was given up; the next one writes.
    let after = desk.call(Access::Shared, add("after"));
    assert_eq!(after.join().unwrap(), Ok(()));
    assert_eq!(desk.names(), ["after"]);
}

#[test]
fn who_waited_too_long_for_another_process_is_told_so_and_its_command_is_never_run() {
    let desk = Desk::open();
    let foreign = desk.foreign();
    run(&foreign, "BEGIN IMMEDIATE").unwrap();
    let began = desk.pace.now();
    let first = desk.call(Access::Shared, add("first"));
    assert_eq!(kind(&first.join().unwrap()), Some(StorageKind::Busy));
    // The pace passes only where it is slept, so this is how long the lock was asked for.
    let waited = desk.pace.now().saturating_sub(began);
    assert!(waited >= BUSY_WAIT && waited < BUSY_WAIT * 2, "{waited:?}");
    run(&foreign, "ROLLBACK").unwrap();
    let second = desk.call(Access::Shared, add("second"));
    assert_eq!(second.join().unwrap(), Ok(()));
    assert_eq!(desk.names(), ["second"]);
}

#[test]
fn the_time_in_the_line_counts_and_who_gives_up_in_it_is_gone_from_it() {
    let desk = Desk::open();
    let (let_go, leader) = desk.busy_leader(Access::Shared);
    let late = desk.behind(Access::Shared, add("late"));
    desk.pace.turn(BUSY_WAIT);
    assert_eq!(kind(&late.join().unwrap()), Some(StorageKind::Busy));
    assert_eq!(desk.sqlite.group.waiting(), 0);
    let in_time = desk.behind(Access::Shared, add("in time"));
    let_go.send(()).unwrap();
    // The leader's command was being run all the time, so its answer is the truth about it.
    assert_eq!(leader.join().unwrap(), Ok(()));
    assert_eq!(in_time.join().unwrap(), Ok(()));
    assert_eq!(desk.names(), ["leader", "in time"]);
}

#[test]
fn who_is_called_to_lead_at_the_moment_of_giving_up_leaves_the_lead_to_the_next() {
    let (group, pace) = (Group::default(), Strict::default());
    let join = || {
        let command = Told(work(|_| Ok(())), Arc::default());
        group.join(Access::Shared, BUSY_WAIT, Box::new(command))
    };
    let (first, second) = (join(), join());
    assert!(matches!(group.turn(&first, &pace), Turn::Lead));
    std::thread::scope(|scope| {
        let third = scope.spawn(|| matches!(group.turn(&join(), &pace), Turn::Lead));
        while pace.parked() == 0 {
            yield_now();
        }
        let leading = group.lead(&pace);
        drop(leading.take_front());
        drop(leading);
        assert!(group.leave(&second, &pace));
        assert!(third.join().unwrap());
    });
}

#[test]
fn who_is_called_or_answered_is_woken_and_waits_for_no_clock() {
    let desk = Desk::open();
    let alone = |name| (Access::Alone, work(add(name)));
    let refuses = (Access::Shared, work(|_| Err(refused())));
    let (answers, _) = desk.write(Access::Shared, vec![shared("a"), alone("b"), refuses, alone("c")]);
    assert_eq!(answers, [Ok(()), Ok(()), Ok(()), Err(refused()), Ok(())]);
    assert_eq!(desk.pace.parked(), 0);
    assert_eq!(desk.pace.now(), Duration::ZERO);
}

#[test]
fn a_transaction_that_cannot_begin_fails_everybody_in_line() {
    let desk = Desk::open();
    let (let_go, leader) = desk.busy_leader(Access::Alone);
    let others = ["a", "b"].map(|name| desk.behind(Access::Shared, add(name)));
    let path = desk.folder.path().join("shop.db");
    std::fs::rename(&path, desk.folder.path().join("away.db")).unwrap();
    let_go.send(()).unwrap();
    assert_eq!(leader.join().unwrap(), Ok(()));
    for other in others {
        assert_eq!(kind(&other.join().unwrap()), Some(StorageKind::Moved));
    }
    assert_eq!(desk.sqlite.group.waiting(), 0);
}

#[test]
fn a_transaction_takes_up_256_commands_at_most() {
    let desk = Desk::open();
    let others = (0..299).map(|_| (Access::Shared, work(|_| Ok(())))).collect();
    let (answers, batches) = desk.write(Access::Shared, others);
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(batches, 2);
}

#[test]
fn a_transaction_that_has_been_open_for_5_ms_takes_up_nothing_more() {
    let desk = Desk::open();
    let pace = Arc::clone(&desk.pace);
    let slow = work(move |_| {
        pace.turn(Duration::from_millis(5));
        Ok(())
    });
    let (_, batches) = desk.write(
        Access::Shared,
        vec![shared("a"), (Access::Shared, slow), shared("b"), shared("c")],
    );
    assert_eq!(batches, 2);
    assert_eq!(desk.names(), ["leader", "a", "b", "c"]);
}

#[test]
fn long_work_has_a_transaction_of_its_own() {
    let desk = Desk::open();
    let alone = (Access::Alone, work(add("alone")));
    let (_, batches) = desk.write(Access::Shared, vec![shared("a"), alone, shared("b"), shared("c")]);
    assert_eq!(batches, 3);
    assert_eq!(desk.names(), ["leader", "a", "alone", "b", "c"]);
    let (_, batches) = desk.write(Access::Alone, vec![(Access::Shared, work(|_| Ok(())))]);
    assert_eq!(batches, 2);
}

#[test]
fn the_lock_is_polled_for_often_and_let_go_of_for_a_moment_after_20_ms() {
    let desk = Desk::open();
    // Each command takes 6 ms of the pace's time; nothing else passes any.
    let ran = |count: u32| {
        let before = desk.pace.now();
        for _ in 0..count {
            let pace = Arc::clone(&desk.pace);
            let caller = desk.call(Access::Shared, move |_| {
                pace.turn(Duration::from_millis(6));
                Ok(())
            });
            caller.join().unwrap().unwrap();
        }
        desk.pace
            .now()
            .saturating_sub(before + Duration::from_millis(6) * count)
    };
    assert_eq!(ran(4), Duration::ZERO);
    assert_eq!(ran(1), Duration::from_micros(500));
    assert_eq!(ran(3), Duration::ZERO);
    assert_eq!(ran(1), Duration::from_micros(500));
    // A moment in which nobody wrote was a gap already.
    desk.pace.turn(Duration::from_millis(1));
    assert_eq!(ran(4), Duration::ZERO);
}

#[test]
fn nothing_is_written_once_the_schema_has_moved() {
    let desk = Desk::open();
    let (entered, is_in) = channel();
    let (let_go, gate) = channel();
    let migration = desk.call(Access::Alone, move |sql| {
        entered.send(()).unwrap();
        gate.recv().unwrap();
        sql.exec("UPDATE tillite_schema SET version = version + 1", &[])
            .map(|_| ())
    });
    is_in.recv().unwrap();
    let others = ["a", "b"].map(|name| desk.behind(Access::Shared, add(name)));
    let_go.send(()).unwrap();
    assert_eq!(migration.join().unwrap(), Ok(()));
    for other in others {
        assert!(matches!(other.join().unwrap(), Err(Error::SchemaMoved { .. })));
    }
    assert_eq!(desk.names(), Vec::<String>::new());
}

/// A command of a random plan: what it does, and whether it shares.
#[derive(Clone, Copy, Debug)]
enum Plan {
    Add,
    Refuse,
    Undo,
    Panic,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the neighbours do: who was told that it was done finds it in the file, once, in the
    /// order of the line; who was not finds nothing; and everybody is answered.
    #[test]
    fn what_was_answered_is_what_is_in_the_file(
        plans in proptest::collection::vec(
            (prop_oneof![4 => Just(Plan::Add), 2 => Just(Plan::Refuse), 1 => Just(Plan::Undo), 1 => Just(Plan::Panic)],
             prop_oneof![3 => Just(Access::Shared), 1 => Just(Access::Alone)]),
            1..12,
        )
    ) {
        let desk = Desk::open();
        let (let_go, leader) = desk.busy_leader(Access::Shared);
        let mut callers = Vec::new();
        for (number, (plan, access)) in plans.iter().enumerate() {
            let (plan, name) = (*plan, format!("n{number}"));
            let caller = desk.behind(*access, move |sql| {
                sql.exec(ADD, &[name.as_str().into()])?;
                match plan {
                    Plan::Add => Ok(()),
                    Plan::Refuse => Err(refused()),
                    Plan::Undo => sql.exec("ROLLBACK", &[]).map(|_| ()),
                    Plan::Panic => panic!("on purpose"),
                }
            });
            callers.push(caller);
        }
        let_go.send(()).unwrap();
        let mut expected = Vec::new();
        if leader.join().unwrap().is_ok() {
            expected.push("leader".to_owned());
        }
        for (number, caller) in callers.into_iter().enumerate() {
            match (plans[number].0, caller.join()) {
                (Plan::Panic, Err(_)) => {}
                (Plan::Add, Ok(Ok(()))) => expected.push(format!("n{number}")),
                (_, Ok(Err(_))) => {}
                (plan, answer) => prop_assert!(false, "{plan:?} {answer:?}"),
            }
        }
        prop_assert_eq!(desk.names(), expected);
    }
}
