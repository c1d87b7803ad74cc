use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use super::Engine;
use super::alarms::{Alarms, OnAlarm};
use super::consumers::Followers;
use super::core::{Core, Processors, Route};
use super::numbers::Counters;
use super::outbox::Piles;
use super::pace::{Bell, RealPace};
use crate::alarm::Alarm;
use crate::consumer::{Consumer, Follow, Following};
use crate::error::{Invalid, Result};
use crate::hook::{Clock, Entropy, Processor, RouteInput, SystemClock, SystemEntropy, Transport};
use crate::sandbox;
use crate::seal::SealKey;
#[cfg(feature = "testing")]
use crate::store::ByHand;
use crate::store::{BUSY_WAIT, MEMORY, Pace, Place, Shown, Sqlite, Store};
use crate::text;
use crate::time::days;

/// An engine being set up. Nothing is required: without a processor only test mode can pay (through
/// the built-in sandbox), without a transport webhooks wait, without a sealing key no endpoint can
/// be added.
#[must_use]
pub struct Builder {
    live: Vec<(String, Arc<dyn Processor>)>,
    test: Vec<(String, Arc<dyn Processor>)>,
    route: Option<Box<Route>>,
    resolved_by_hand: BTreeSet<String>,
    transport: Option<Arc<dyn Transport>>,
    consumers: Vec<Following>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    seal_key: Option<[u8; 32]>,
    on_alarm: Option<Box<OnAlarm>>,
    busy_wait: Duration,
    pace: Arc<dyn Pace>,
    keep_keys: Duration,
}

impl Builder {
    pub(super) fn new() -> Builder {
        Builder {
            live: Vec::new(),
            test: Vec::new(),
            route: None,
            resolved_by_hand: BTreeSet::new(),
            transport: None,
            consumers: Vec::new(),
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy::new()),
            seal_key: None,
            on_alarm: None,
            busy_wait: BUSY_WAIT,
            pace: Arc::new(RealPace::new()),
            keep_keys: days(7),
        }
    }

    /// A processor of live mode. The first one takes payments unless [`Builder::route`] says
    /// otherwise. What it cannot take by its [`crate::Capabilities`] is refused
    /// ([`crate::Error::BeyondProcessor`]) and goes to no other by itself. The name (1 to 64 of `a-z`,
    /// `0-9`, `_`, `-`) is stored with each charge; later operations on a charge go to the processor of that
    /// name.
    pub fn processor(mut self, name: impl Into<String>, processor: impl Processor + 'static) -> Self {
        self.live.push((name.into(), Arc::new(processor)));
        self
    }

    /// A processor of test mode, in place of the sandbox: a service's own test keys, or a script.
    pub fn test_processor(mut self, name: impl Into<String>, processor: impl Processor + 'static) -> Self {
        self.test.push((name.into(), Arc::new(processor)));
        self
    }

    /// Chooses among several processors. It is called before the payment is committed, with no
    /// transaction open, and must answer the name of one that is configured for the mode.
    pub fn route(mut self, route: impl Fn(&RouteInput) -> String + Send + Sync + 'static) -> Self {
        self.route = Some(Box::new(route));
        self
    }

    /// Accepts a live processor that has no look-ups. An answer that it
    /// loses can then be resolved by hand only.
    pub fn accept_manual_resolution(mut self, name: impl Into<String>) -> Self {
        self.resolved_by_hand.insert(name.into());
        self
    }

    /// Carries webhooks.
    pub fn transport(mut self, transport: impl Transport + 'static) -> Self {
        self.transport = Some(Arc::new(transport));
        self
    }

    /// Has code of the host follow every event of the file, in every app and both modes, from the first one
    /// on, and write tables of its own in the same transaction; [`Consumer`] says how. The name (1 to 64
    /// visible ASCII characters) is what its place is stored under: another name begins anew.
    pub fn consumer(self, name: impl Into<String>, consumer: impl Consumer + 'static) -> Self {
        self.consumer_of(name, Follow::all(), consumer)
    }

    /// The same for some kinds of events only, or from now on only.
    pub fn consumer_of(mut self, name: impl Into<String>, follow: Follow, consumer: impl Consumer + 'static) -> Self {
        self.consumers.push(Following {
            name: name.into(),
            follow,
            consumer: Arc::new(consumer),
        });
        self
    }

    /// Tells the time; the operating system's clock unless given.
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Supplies the randomness of ids; the operating system's unless given. Secrets never come
    /// from here.
    pub fn entropy(mut self, entropy: impl Entropy + 'static) -> Self {
        self.entropy = Arc::new(entropy);
        self
    }

    /// Seals webhook secrets. Keep it apart from the file and its backups. With another key than
    /// the one that sealed them the engine opens and sells, but the deliveries that need them wait.
    pub fn seal_key(mut self, key: [u8; 32]) -> Self {
        self.seal_key = Some(key);
        self
    }

    /// Is told what somebody has to look at; [`Alarm`] says when, how often, and what the callback may
    /// do. Of several the last one counts.
    pub fn on_alarm(mut self, callback: impl Fn(&Alarm) + Send + Sync + 'static) -> Self {
        self.on_alarm = Some(Box::new(callback));
        self
    }

    /// How long a call waits for its turn in this process, and for a lock that another process holds on
    /// the file, before it answers [`crate::StorageKind::Busy`]; five seconds unless given.
    pub fn busy_wait(mut self, busy_wait: Duration) -> Self {
        self.busy_wait = busy_wait;
        self
    }

    /// How long at least an idempotency key that is given to this engine is kept, by the host's clock:
    /// a day to 366 days, seven days unless given. `run_due` forgets it after that, but not while the
    /// session that it names can be paid or its charge has no outcome; a request that comes with it then is a new one.
    pub fn keep_idempotency_keys(mut self, at_least: Duration) -> Self {
        self.keep_keys = at_least;
        self
    }

    /// Opens a file, makes it if it is not there, and brings an older one up to date. A path is a
    /// path, also where SQLite would read a URI or `:memory:`. It calls no
    /// processor and no transport. Attempts whose call never came back become *unknown*; what
    /// became of them is looked up by `run_due`.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] for a bad name of a processor or consumer or one that is given twice, and for keys kept
    /// too short or too long; [`crate::Error::NewerSchema`] for a file of a newer program, which is
    /// not touched; [`crate::Error::Storage`] for a path that cannot be opened, a file that is no
    /// database, damage, or a lock held for too long.
    ///
    /// # Durability
    /// A new file is on disk when this returns.
    pub fn open(self, path: impl AsRef<Path>) -> Result<Engine> {
        let place = Place::file(path.as_ref()).waiting(self.busy_wait);
        self.build(&place)
    }

    /// Opens a file on a disk in memory that can fail and lose power. Otherwise as [`Builder::open`].
    ///
    /// # Errors
    /// As [`Builder::open`], and what the disk is made to do.
    #[cfg(feature = "testing")]
    pub fn open_on(self, disk: &tillite_simdisk::Disk, name: &str) -> Result<Engine> {
        let place = Place::on(tillite_simdisk::Disk::vfs(), &disk.path(name)).waiting(self.busy_wait);
        self.build(&place)
    }

    /// Has no call take real time where it would wait: for the file's lock, before it tries again to
    /// settle what a processor did while the disk fails. Such a wait is over at once, as if its time
    /// had passed; so a lock that another thread holds at that moment counts as held throughout, and
    /// the call answers [`crate::StorageKind::Busy`]. [`Engine::wait_due`] and runners wait as ever.
    ///
    /// For tests that make a disk fail, where ten seconds of patience would be ten seconds of test.
    #[cfg(feature = "testing")]
    pub fn virtual_waiting(self) -> Self {
        self.pace(Arc::new(ByHand::default()))
    }

    /// Waits otherwise than the operating system does.
    #[cfg(feature = "testing")]
    pub(crate) fn pace(mut self, pace: Arc<dyn Pace>) -> Self {
        self.pace = pace;
        self
    }

    /// Opens an engine without a file: for tests and for trying things out. Everything is gone with
    /// its last clone.
    ///
    /// # Errors
    /// As [`Builder::open`].
    pub fn open_in_memory(self) -> Result<Engine> {
        self.build(&MEMORY)
    }

    fn build(self, place: &Place) -> Result<Engine> {
        let mut test = named(self.test)?;
        if test.first.is_none() {
            test = named(vec![(sandbox::NAME.to_owned(), Arc::new(sandbox::Sandbox))])?;
        }
        if !(SHORTEST_KEPT..=LONGEST_KEPT).contains(&self.keep_keys) {
            let found = format!("{} seconds", self.keep_keys.as_secs());
            return Err(Invalid::new("keep_idempotency_keys", found, "a day to 366 days").into());
        }
        let live = named(self.live)?;
        let followers = Followers::of(self.consumers)?;
        let seal = self.seal_key.map(|key| SealKey::new(&key).map(Arc::new)).transpose()?;
        let sqlite = Sqlite::open(place.clone(), self.clock.now(), Arc::clone(&self.pace))?;
        let engine = Engine {
            core: Arc::new(Core {
                store: Store::new(sqlite),
                pace: self.pace,
                clock: self.clock,
                entropy: self.entropy,
                live,
                test,
                route: self.route,
                resolved_by_hand: self.resolved_by_hand,
                transport: self.transport,
                followers,
                seal,
                piles: Piles::default(),
                keep_keys: self.keep_keys,
                bell: Bell::default(),
                alarms: Alarms::to(self.on_alarm),
                shown: Arc::new(Shown::default()),
                last_run: AtomicI64::new(-1),
                counted: Counters::default(),
            }),
        };
        engine.place_consumers()?;
        engine.recover(RECOVERED_AT_OPEN)?;
        Ok(engine)
    }
}

/// The shortest and the longest time that idempotency keys can be kept.
const SHORTEST_KEPT: Duration = days(1);
const LONGEST_KEPT: Duration = days(366);

/// How many attempts are looked at when a file is opened; the rest follow with `run_due`.
const RECOVERED_AT_OPEN: usize = 1_000;

fn named(list: Vec<(String, Arc<dyn Processor>)>) -> Result<Processors> {
    let mut processors = Processors::default();
    for (name, processor) in list {
        let name = text::name("processor", &name, 64)?;
        processors.first.get_or_insert_with(|| name.clone());
        if processors.by_name.contains_key(&name) {
            return Err(Invalid::new("processor", name, "a name once per mode").into());
        }
        processors.by_name.insert(name, processor);
    }
    Ok(processors)
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").finish_non_exhaustive()
    }
}
