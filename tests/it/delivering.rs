//! Hosts that die while they deliver, and hosts that deliver side by side: every event reaches every
//! endpoint, and nothing is sent twice but what a death or a lease that was forced out left in doubt.
//!
//! What was sent stands in a file that several processes append to and that outlives them. The processes
//! end at once, without unwinding; a machine that loses power is another matter, and tested elsewhere.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Stdio};
use std::time::Duration;

use tillite::webhook::{DeliveryFilter, Format, NewEndpoint};
use tillite::{
    Answered, App, Budget, ClaimedDelivery, Clock, Currency, DeliveryState, Engine, Mode, NewPrice, NewProduct,
    NewSession, SessionId, SignedRequest, Timestamp, TransportOutcome, Work,
};

use crate::kit::{ManualClock, SEAL_KEY, another_process, clean, euro, header, is_another_process};

/// Past the end of every lease.
const PAST_THE_LEASE: u64 = 91;

/// What every session tells its endpoints.
const EVENT: &str = "checkout.session.created";

thread_local! {
    /// How many readings of the clock are left until the process ends; none: it goes on.
    static READINGS: Cell<Option<u32>> = const { Cell::new(None) };
    /// Which of a process's threads this is.
    static THREAD: Cell<usize> = const { Cell::new(0) };
}

/// A clock at one of whose readings the process ends.
struct Deadly(ManualClock);

impl Deadly {
    fn ahead(seconds: u64) -> Deadly {
        let clock = ManualClock::new();
        clock.turn(Duration::from_secs(seconds));
        Deadly(clock)
    }
}

impl Clock for Deadly {
    fn now(&self) -> Timestamp {
        if let Some(left) = READINGS.get() {
            if left == 1 {
                std::process::abort();
            }
            READINGS.set(Some(left - 1));
        }
        self.0.now()
    }
}

/// What was sent, by any process: event, URL, process and thread of each request.
#[derive(Clone)]
struct Log(PathBuf);

impl Log {
    fn of(dir: &Path) -> Log {
        Log(dir.join("sent"))
    }

    fn append(&self, request: &SignedRequest) {
        let mut file = std::fs::File::options()
            .append(true)
            .create(true)
            .open(&self.0)
            .unwrap();
        let (process, thread) = (std::process::id(), THREAD.get());
        let line = format!("{} {} {process} {thread}\n", event_of(request), request.url);
        // One write, so that lines of several processes do not mix.
        assert_eq!(file.write(line.as_bytes()).unwrap(), line.len());
    }

    /// The lines, as words.
    fn lines(&self) -> Vec<[String; 4]> {
        let text = std::fs::read_to_string(&self.0).unwrap_or_default();
        let words = |line: &str| -> Vec<String> { line.split(' ').map(str::to_owned).collect() };
        text.lines().map(|line| words(line).try_into().unwrap()).collect()
    }

    /// How often each event was sent to each URL.
    fn counts(&self) -> BTreeMap<(String, String), usize> {
        let mut counts = BTreeMap::new();
        for [event, url, ..] in self.lines() {
            *counts.entry((event, url)).or_default() += 1;
        }
        counts
    }
}

fn event_of(request: &SignedRequest) -> &str {
    header(request, "webhook-id").unwrap()
}

fn accepted() -> TransportOutcome {
    TransportOutcome::Answered(Answered::status(204))
}

fn open(dir: &Path, clock: Deadly, send: impl Fn(&SignedRequest) + Send + Sync + 'static) -> (Engine, App) {
    let engine = Engine::builder()
        .clock(clock)
        .transport(move |request: &SignedRequest| {
            send(request);
            accepted()
        })
        .seal_key(SEAL_KEY)
        .open(dir.join("shop.db"))
        .unwrap();
    let app = engine.app("lixblogs", Mode::Test).unwrap();
    (engine, app)
}

/// A file with something to sell and so many endpoints.
fn begin(dir: &Path, endpoints: usize) -> BTreeSet<String> {
    let (_engine, app) = open(dir, Deadly::ahead(0), |_| ());
    let member = NewProduct::new("member", "Membership").price(NewPrice::new("member", euro(199_00)));
    app.catalog().set(member).unwrap();
    let urls = (0..endpoints).map(|number| format!("https://e{number}.example/hook"));
    let urls: BTreeSet<String> = urls.collect();
    for url in &urls {
        let endpoint = NewEndpoint::new(url, Format::Standard).events([EVENT]);
        app.endpoints().add(endpoint).unwrap();
    }
    urls
}

/// Makes something that the endpoints hear of.
fn make(app: &App) -> SessionId {
    let new = NewSession::tier("member", Currency::EUR);
    app.sessions().create(new).unwrap().id
}

/// Delivers until nothing is due.
fn drain(engine: &Engine) {
    let budget = Budget::items(1_000).work(Work::DELIVERIES);
    while engine.run_due(budget).unwrap().total() > 0 {}
}

/// The events that endpoints hear of, behind a position, and the position of the last of all.
fn events(app: &App, mut after: i64) -> (Vec<String>, i64) {
    let mut found = Vec::new();
    loop {
        let page = app.events(100, after).unwrap();
        for event in page.data {
            after = event.position;
            if event.kind == EVENT {
                found.push(event.id.to_string());
            }
        }
        if !page.has_more {
            return (found, after);
        }
    }
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap()
}

fn number(name: &str) -> usize {
    variable(name).parse().unwrap()
}

/// Where a host dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Edge {
    /// While it makes what is to be told, at the n-th reading of the clock, or right after.
    Emitting,
    /// With deliveries claimed, of which none was sent.
    Claimed,
    /// In the transport, before anything has left.
    Unsent,
    /// In the transport, when the endpoint has it.
    Sent,
    /// With the endpoint's answer, before it is written down.
    Answered,
    /// On the way into the file with it.
    Acknowledging,
    /// When it is written down.
    Acknowledged,
    /// Wherever it happens to be.
    Anywhere,
}

const EDGES: [Edge; 8] = [
    Edge::Emitting,
    Edge::Claimed,
    Edge::Unsent,
    Edge::Sent,
    Edge::Answered,
    Edge::Acknowledging,
    Edge::Acknowledged,
    Edge::Anywhere,
];

impl Edge {
    /// How often more than once the endpoints hear of something because of it; none if that depends.
    fn repeated(self) -> Option<usize> {
        match self {
            Edge::Emitting | Edge::Claimed | Edge::Unsent | Edge::Acknowledged => Some(0),
            Edge::Sent | Edge::Answered | Edge::Acknowledging => Some(1),
            Edge::Anywhere => None,
        }
    }
}

const DYING: &str = "delivering::a_host_that_dies";

/// Emits and delivers until it is at its edge, and says what it has made.
#[test]
fn a_host_that_dies() {
    if !is_another_process(DYING) {
        return;
    }
    let word = variable("TILLITE_EDGE");
    let edge = EDGES.into_iter().find(|edge| format!("{edge:?}") == word).unwrap();
    let at = number("TILLITE_AT");
    let dir = PathBuf::from(variable("TILLITE_DIR"));
    let log = Log::of(&dir);
    let sent = Cell::new(0);
    let clock = Deadly::ahead(variable("TILLITE_SECONDS").parse().unwrap());
    let send = {
        let (log, sent) = (log.clone(), std::sync::Mutex::new(sent));
        move |request: &SignedRequest| {
            let sent = sent.lock().unwrap();
            let here = sent.replace(sent.get() + 1) == at;
            if here && edge == Edge::Unsent {
                std::process::abort();
            }
            log.append(request);
            if here && edge == Edge::Sent {
                std::process::abort();
            }
        }
    };
    let (engine, app) = open(&dir, clock, send);
    // The harness has left its own line unfinished.
    println!();
    let made = || println!("@ {}", make(&app));
    if edge == Edge::Anywhere {
        loop {
            made();
            engine.run_due(Budget::items(3).work(Work::DELIVERIES)).unwrap();
        }
    }
    made();
    if edge == Edge::Emitting {
        READINGS.set(Some(u32::try_from(at).unwrap() + 1));
        made();
        std::process::abort();
    }
    made();
    if matches!(edge, Edge::Unsent | Edge::Sent) {
        drain(&engine);
        panic!("it has sent everything");
    }
    let claimed = engine.claim_deliveries(4).unwrap();
    assert_eq!(claimed.len(), 4);
    if edge == Edge::Claimed {
        std::process::abort();
    }
    for (number, delivery) in claimed.iter().enumerate() {
        log.append(&delivery.request);
        let here = number == at;
        if here && edge == Edge::Answered {
            std::process::abort();
        }
        if here && edge == Edge::Acknowledging {
            READINGS.set(Some(1));
        }
        assert!(engine.acknowledge(delivery, &accepted()).unwrap());
        if here && edge == Edge::Acknowledged {
            std::process::abort();
        }
    }
    panic!("it has acknowledged everything");
}

/// Runs a host until it is dead; answers what it said that it had made.
fn die(dir: &Path, edge: Edge, at: usize, seconds: u64, after: Duration) -> Vec<SessionId> {
    let variables = [
        ("TILLITE_DIR", dir.display().to_string()),
        ("TILLITE_EDGE", format!("{edge:?}")),
        ("TILLITE_AT", at.to_string()),
        ("TILLITE_SECONDS", seconds.to_string()),
    ];
    let mut command = another_process(DYING, &variables);
    let command = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut host = command.spawn().unwrap();
    let mut output = BufReader::new(host.stdout.take().unwrap());
    let mut made = Vec::new();
    let mut line = String::new();
    let mut hear = |line: &mut String| {
        line.clear();
        let more = output.read_line(line).unwrap() > 0;
        // What has no end was cut off.
        if let Some(id) = line.strip_prefix("@ ").and_then(|rest| rest.strip_suffix('\n')) {
            made.push(SessionId::parse(id).unwrap());
        }
        (more, made.len())
    };
    if edge == Edge::Anywhere {
        while hear(&mut line) == (true, 0) {}
        std::thread::sleep(after);
        host.kill().unwrap();
    }
    while hear(&mut line).0 {}
    let status = host.wait().unwrap();
    assert!(status.code().is_none(), "{edge:?} {at}: it ended by itself: {status}");
    made
}

#[test]
fn a_host_that_dies_at_any_edge_loses_no_event_and_repeats_one_request_at_the_most() {
    let deaths: usize = std::env::var("TILLITE_DELIVERY_KILLS").map_or(40, |deaths| deaths.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let urls = begin(dir.path(), 2);
    let log = Log::of(dir.path());
    let (mut position, mut repeated, mut seconds) = (0, 0, 0);
    let mut lot: u64 = 1;
    let mut known: BTreeMap<Edge, usize> = BTreeMap::new();
    for death in 0..deaths {
        lot = lot
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let (edge, at) = (EDGES[death % EDGES.len()], death / EDGES.len() % 4);
        let after = Duration::from_micros((lot >> 33) % 40_000);
        let made = die(dir.path(), edge, at, seconds, after);

        seconds += PAST_THE_LEASE;
        let all = log.clone();
        let (engine, app) = open(dir.path(), Deadly::ahead(seconds), move |request| all.append(request));
        drain(&engine);
        let counts = log.counts();
        let (told, last) = events(&app, position);
        for event in &told {
            for url in &urls {
                let sent = counts.get(&(event.clone(), url.clone()));
                assert!(sent.is_some(), "{edge:?} {at}: {url} never heard of {event}");
            }
        }
        // Whatever it said that it had made is there and was told.
        for session in &made {
            let history = app.history(session.as_str(), 10, 0).unwrap().data;
            let event = history.iter().find(|event| event.kind == EVENT).unwrap();
            assert!(told.contains(&event.id.to_string()), "{edge:?} {at}: {session}");
        }
        position = last;
        let before = std::mem::replace(&mut repeated, counts.values().map(|sent| sent - 1).sum());
        let more = repeated - before;
        assert!(more <= 1, "{edge:?} {at}: {more} requests more than once");
        if let Some(expected) = edge.repeated() {
            assert_eq!(more, expected, "{edge:?} {at}");
        }
        *known.entry(edge).or_default() += more;
        if death % 50 == 0 || death + 1 == deaths {
            clean(&engine);
        }
    }
    let requests = log.lines().len();
    println!("{deaths} deaths, {requests} requests, {repeated} of them more than once, by edge {known:?}");
}

const DELIVERING: &str = "delivering::one_of_two_hosts";

/// How many threads of each host deliver.
const THREADS: usize = 4;

/// The next line of the standard input; none at its end.
fn next_line() -> Option<String> {
    let mut line = String::new();
    let read = std::io::stdin().read_line(&mut line).unwrap();
    (read > 0).then(|| line.trim_end().to_owned())
}

/// Delivers with four threads until nothing is due. If it is told to, it first claims some and sends
/// them only when it is told to go on.
#[test]
fn one_of_two_hosts() {
    if !is_another_process(DELIVERING) {
        return;
    }
    let dir = PathBuf::from(variable("TILLITE_DIR"));
    let log = Log::of(&dir);
    let clock = Deadly::ahead(variable("TILLITE_SECONDS").parse().unwrap());
    let all = log.clone();
    let (engine, _) = open(&dir, clock, move |request| all.append(request));
    // The harness has left its own line unfinished.
    println!("\n@ ready");
    assert_eq!(next_line().as_deref(), Some("go"));
    let held = engine.claim_deliveries(number("TILLITE_HELD")).unwrap();
    if !held.is_empty() {
        let name = |delivery: &ClaimedDelivery| format!("{} {}", event_of(&delivery.request), delivery.request.url);
        for delivery in &held {
            println!("@ held {}", name(delivery));
        }
        println!("@ holding");
        assert_eq!(next_line().as_deref(), Some("go on"));
        for delivery in &held {
            log.append(&delivery.request);
            // Somebody else has delivered it meanwhile.
            assert!(!engine.acknowledge(delivery, &accepted()).unwrap());
        }
    }
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let engine = &engine;
            scope.spawn(move || {
                THREAD.set(thread);
                let budget = Budget::items(64).work(Work::DELIVERIES);
                // What is due may be held by others just then.
                let mut idle = 0;
                while idle < 20 {
                    idle = if engine.run_due(budget).unwrap().total() > 0 {
                        0
                    } else {
                        idle + 1
                    };
                    std::thread::yield_now();
                }
            });
        }
    });
    println!("\n@ done");
}

/// A host in a process of its own.
struct Host {
    input: ChildStdin,
    said: Box<dyn Iterator<Item = String>>,
    child: std::process::Child,
}

impl Host {
    fn start(dir: &Path, seconds: u64, held: usize) -> Host {
        let variables = [
            ("TILLITE_DIR", dir.display().to_string()),
            ("TILLITE_SECONDS", seconds.to_string()),
            ("TILLITE_HELD", held.to_string()),
        ];
        let mut command = another_process(DELIVERING, &variables);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap()).lines();
        let said = said.map_while(Result::ok).filter(|line| line.starts_with("@ "));
        let input = child.stdin.take().unwrap();
        let mut host = Host {
            input,
            said: Box::new(said),
            child,
        };
        assert_eq!(host.hear(), "@ ready");
        host
    }

    fn hear(&mut self) -> String {
        self.said.next().unwrap()
    }

    fn tell(&mut self, what: &str) {
        writeln!(self.input, "{what}").unwrap();
    }

    fn ends(mut self) -> u32 {
        assert_eq!(self.hear(), "@ done");
        drop(self.input);
        assert!(self.child.wait().unwrap().success());
        self.child.id()
    }
}

/// A file with this many deliveries due; answers how many there are.
fn due(dir: &Path) -> usize {
    let wanted: usize = std::env::var("TILLITE_DELIVERIES").map_or(600, |wanted| wanted.parse().unwrap());
    let urls = begin(dir, (wanted / 60).clamp(10, 100));
    let (_engine, app) = open(dir, Deadly::ahead(0), |_| ());
    let sessions = wanted.div_ceil(urls.len());
    for _ in 0..sessions {
        make(&app);
    }
    sessions * urls.len()
}

/// Everything was accepted, and nothing is left to be done.
fn is_done(dir: &Path, deliveries: usize) {
    let (engine, app) = open(dir, Deadly::ahead(0), |_| ());
    assert!(engine.claim_deliveries(10).unwrap().is_empty());
    let (mut count, mut before) = (0, None);
    loop {
        let page = app
            .deliveries()
            .list(&DeliveryFilter::all(), 100, before.as_ref())
            .unwrap();
        before = page.data.last().map(|delivery| delivery.id.clone());
        count += page.data.len();
        let delivered = |delivery: &tillite::Delivery| delivery.state == DeliveryState::Delivered;
        assert!(page.data.iter().all(delivered));
        if !page.has_more {
            break;
        }
    }
    assert_eq!(count, deliveries);
    clean(&engine);
}

#[test]
fn two_hosts_of_four_threads_deliver_everything_once() {
    let dir = tempfile::tempdir().unwrap();
    let deliveries = due(dir.path());
    let mut hosts = [0, 0].map(|seconds| Host::start(dir.path(), seconds, 0));
    for host in &mut hosts {
        host.tell("go");
    }
    let processes = hosts.map(Host::ends);
    let log = Log::of(dir.path());
    let counts = log.counts();
    assert!(
        counts.values().all(|sent| *sent == 1),
        "no lease ended, and something was sent twice"
    );
    assert_eq!(counts.len(), deliveries);
    let mut by_thread: BTreeMap<(String, String), usize> = BTreeMap::new();
    for [.., process, thread] in log.lines() {
        *by_thread.entry((process, thread)).or_default() += 1;
    }
    for process in processes {
        let took_part = by_thread.keys().any(|(known, _)| *known == process.to_string());
        assert!(took_part, "one host did everything: the test shows nothing");
    }
    println!("{deliveries} deliveries, each sent once, by thread {by_thread:?}");
    is_done(dir.path(), deliveries);
}

#[test]
fn what_two_hosts_send_twice_is_what_was_taken_from_one_whose_lease_had_ended() {
    let dir = tempfile::tempdir().unwrap();
    let deliveries = due(dir.path());
    let mut stalls = Host::start(dir.path(), 0, 20);
    stalls.tell("go");
    let mut held = BTreeSet::new();
    loop {
        let said = stalls.hear();
        match said.split(' ').collect::<Vec<_>>()[..] {
            ["@", "held", event, url] => held.insert((event.to_owned(), url.to_owned())),
            _ => break,
        };
    }
    assert_eq!(held.len(), 20);
    // The other one's clock is past the end of what the first one holds.
    let mut other = Host::start(dir.path(), PAST_THE_LEASE, 0);
    other.tell("go");
    other.ends();
    stalls.tell("go on");
    stalls.ends();
    let counts = Log::of(dir.path()).counts();
    assert_eq!(counts.len(), deliveries);
    let twice = counts.iter().filter(|(_, sent)| **sent > 1);
    let twice: BTreeSet<_> = twice.map(|(what, _)| what.clone()).collect();
    assert_eq!(twice, held);
    assert!(counts.values().all(|sent| *sent <= 2));
    println!("{deliveries} deliveries, {} of them sent twice", twice.len());
    is_done(dir.path(), deliveries);
}
