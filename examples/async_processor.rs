//! A host that awaits its payment service, with an executor of its own and no runtime to depend on.
//!
//! A payment has three beats: `begin_payment` commits what will be asked, the host asks and awaits,
//! `settle` commits what came of it. Nothing is held between the beats, so one thread can have many
//! payments on their way, and everybody else can write meanwhile. An answer that got lost is asked
//! for again through `claim_asks`; nobody is charged twice.

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use std::collections::BTreeMap;
use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use tillite::{
    Amount, Answer, App, Ask, AskKind, Begun, Budget, Capabilities, Currency, Engine, Expect, Lookup, LookupKey, Mode,
    NewLine, NewSession, Outcome, Processor, Request, SessionId, SessionState, Timestamp, Work,
};

type Fallible<T> = Result<T, Box<dyn Error>>;

const BUYERS: usize = 8;

/// The buyer whose answer the service loses.
const UNLUCKY: &str = "card-5";

fn main() -> Fallible<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("shop.db");
    let engine = Engine::builder().test_processor("service", Awaited).open(&path)?;
    let app = engine.app("shop", Mode::Test)?;
    let service = Service::default();
    let started = Instant::now();

    let sessions = (0..BUYERS).map(|_| open_session(&app)).collect::<Fallible<Vec<_>>>()?;
    println!("{} sessions are open", sessions.len());

    let mut tasks: Vec<Task<'_>> = Vec::new();
    for (number, session) in sessions.iter().enumerate() {
        tasks.push(Box::pin(pay(
            &engine,
            &app,
            &service,
            session,
            format!("card-{number}"),
        )));
    }
    // It is polled after the payments, so all of them are awaiting their answers by then.
    tasks.push(Box::pin(async {
        println!("{} calls are in flight on one thread", service.calls_in_flight());
        ensure(
            service.calls_in_flight() == BUYERS,
            "the payments waited for each other",
        )?;
        // Another engine on the same file stands for another process. Were a transaction open, it
        // would have to wait for it.
        let other = Engine::builder().open(&path)?;
        open_session(&other.app("shop", Mode::Test)?)?;
        println!("meanwhile another engine wrote to the file");
        Ok(())
    }));
    for finished in run_all(tasks) {
        finished?;
    }
    println!("all came back after {} ms", started.elapsed().as_millis());

    // Whose answer was lost, nobody knows yet: not paid, not failed, and not to be charged again.
    let lost = app.sessions().get(&sessions[5])?;
    ensure(
        lost.state == SessionState::Processing,
        "a lost answer was taken for an outcome",
    )?;
    let again = app.sessions().begin_payment(&lost.id, UNLUCKY);
    println!("{UNLUCKY} tries again: {}", again.err().ok_or("a second charge began")?);

    let resolved = run_all(vec![resolve(&engine, &service)]);
    resolved.into_iter().collect::<Result<(), _>>()?;

    for session in &sessions {
        let session = app.sessions().get(session)?;
        ensure(session.is_complete(), "a session is not paid")?;
        ensure(
            service.charges_of(&session.id) == 1,
            "a session was not charged exactly once",
        )?;
    }
    println!("{BUYERS} sessions are paid, each charged once at the service");

    // What is due besides look-ups calls no processor, so a host like this one leaves it to the
    // engine.
    engine.run_due(Budget::items(100).work(Work::TIME | Work::DELIVERIES))?;
    ensure(engine.verify(&Expect::nothing())?.is_clean(), "an invariant is broken")
}

fn open_session(app: &App) -> Fallible<SessionId> {
    let line = NewLine::inline("Ticket", Amount::minor(25_00, Currency::EUR)?);
    Ok(app.sessions().create(NewSession::empty().line(line))?.id)
}

/// One payment, beat by beat.
async fn pay(engine: &Engine, app: &App, service: &Service, session: &SessionId, card: String) -> Fallible<()> {
    let ask = match app.sessions().begin_payment(session, card.as_str())? {
        Begun::Ask(ask) => ask,
        // It was paid before, or there was nothing to pay.
        Begun::Done(_) => return Ok(()),
    };
    let answer = Answer::Executed(service.charge(&ask.request).await);
    if let Some(payment) = engine.settle(&ask, &answer)?.payment() {
        println!("{card}: the session is {}", payment.session.state.as_str());
    }
    Ok(())
}

/// Asks the service what became of the calls whose answers were lost. A host does this whenever
/// `wait_due` or a timer of its own says so.
fn resolve<'a>(engine: &'a Engine, service: &'a Service) -> Task<'a> {
    Box::pin(async move {
        for ask in engine.claim_asks(10)? {
            let settled = engine.settle(&ask, &answer(service, &ask).await)?;
            if let Some(payment) = settled.payment() {
                println!("looked up: the session is {}", payment.session.state.as_str());
            }
        }
        Ok(())
    })
}

async fn answer(service: &Service, ask: &Ask) -> Answer {
    match ask.kind {
        AskKind::Execute => Answer::Executed(service.charge(&ask.request).await),
        _ => Answer::LookedUp(service.find(&ask.request).await),
    }
}

/// What the engine has to know of a processor that the host asks itself: what it can do, and that
/// it cannot be called in between.
struct Awaited;

impl Processor for Awaited {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new()
            .idempotency_window(Duration::from_secs(86_400))
            .lookup()
            .not_found_final_after(Duration::from_secs(60))
    }

    fn execute(&self, _request: &Request, _deadline: Timestamp) -> Outcome {
        Outcome::NotSent {
            why: "this host pays with begin_payment".to_owned(),
        }
    }

    fn lookup(&self, _key: &LookupKey<'_>) -> Lookup {
        Lookup::CannotTell {
            why: "this host looks up with claim_asks".to_owned(),
        }
    }
}

/// A payment service somewhere else, with latency and a ledger of its own.
#[derive(Default)]
struct Service(Mutex<Books>);

#[derive(Default)]
struct Books {
    /// What was charged, by idempotency key: the session and the amount.
    charged: BTreeMap<String, (String, Amount)>,
    in_flight: usize,
}

impl Service {
    const LATENCY: Duration = Duration::from_millis(50);

    async fn charge(&self, request: &Request) -> Outcome {
        self.books().in_flight += 1;
        let outcome = self.book(request);
        Sleep::of(Service::LATENCY).await;
        self.books().in_flight -= 1;
        match request.method.as_deref() {
            Some(UNLUCKY) => Outcome::Unknown {
                why: "the connection broke".to_owned(),
            },
            _ => outcome,
        }
    }

    async fn find(&self, request: &Request) -> Lookup {
        Sleep::of(Service::LATENCY).await;
        let known = self.books().charged.get(&request.idempotency_key).cloned();
        known.map_or(Lookup::NotFound, |(_, amount)| {
            Lookup::Found(succeeded(request, amount))
        })
    }

    /// Charges once per idempotency key, as every good service does.
    fn book(&self, request: &Request) -> Outcome {
        let amount = match request.money() {
            Ok(amount) => amount,
            Err(error) => return Outcome::NotSent { why: error.to_string() },
        };
        let entry = (request.session.clone(), amount);
        let key = request.idempotency_key.clone();
        self.books().charged.entry(key).or_insert(entry);
        succeeded(request, amount)
    }

    fn calls_in_flight(&self) -> usize {
        self.books().in_flight
    }

    fn charges_of(&self, session: &SessionId) -> usize {
        let books = self.books();
        books.charged.values().filter(|(of, _)| of == session.as_str()).count()
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn succeeded(request: &Request, amount: Amount) -> Outcome {
    Outcome::succeeded(format!("ch_{}", request.idempotency_key), amount)
}

type Task<'a> = Pin<Box<dyn Future<Output = Fallible<()>> + 'a>>;

/// Runs tasks on this thread until all have finished: the whole executor.
fn run_all(tasks: Vec<Task<'_>>) -> Vec<Fallible<()>> {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut waiting = tasks;
    let mut finished = Vec::new();
    while !waiting.is_empty() {
        waiting.retain_mut(|task| match task.as_mut().poll(&mut context) {
            Poll::Ready(result) => {
                finished.push(result);
                false
            }
            Poll::Pending => true,
        });
        if !waiting.is_empty() {
            // A wake-up that came while the tasks were polled is not lost: this returns at once.
            thread::park();
        }
    }
    finished
}

/// Ready after a while. A thread per timer will do here; a runtime has something better.
struct Sleep {
    until: Instant,
    is_set: bool,
}

impl Sleep {
    fn of(span: Duration) -> Sleep {
        Sleep {
            until: Instant::now() + span,
            is_set: false,
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Poll::Ready(());
        }
        if !self.is_set {
            self.is_set = true;
            let waker = context.waker().clone();
            thread::spawn(move || {
                thread::sleep(left);
                waker.wake();
            });
        }
        Poll::Pending
    }
}

fn ensure(holds: bool, otherwise: &str) -> Fallible<()> {
    if holds { Ok(()) } else { Err(otherwise.into()) }
}
