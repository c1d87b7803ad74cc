//! What outlives the engines of a run: the disk, the clock, the payment service, the receiver, and
//! what the host was told.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use tillite_simdisk::Disk;

use super::Outside;
use super::baton::Baton;
use super::belief::Beliefs;
use crate::catalog::{NewPrice, NewProduct};
use crate::engine::{App, Builder, Engine};
use crate::error::{Error, Result};
use crate::id::Mode;
use crate::money::{Amount, Currency};
use crate::secret::Secret;
use crate::testing::chance::Chance;
use crate::testing::{FakeProcessor, FakeReceiver, ManualClock, SeededEntropy, locked};
use crate::time::Interval;
use crate::webhook::{Format, NewEndpoint};

pub(super) const FILE: &str = "shop.db";
const SLUG: &str = "shop";
const SEAL_KEY: [u8; 32] = [42; 32];

/// A file with something to sell and somebody to tell, made once in a process and copied for each run.
struct Template {
    disk: Disk,
    /// The endpoints' secrets: in test mode, in live mode.
    secrets: [Secret; 2],
}

/// How far the clock is set back in all before it is set right.
pub(super) const FURTHEST_BACK: Duration = Duration::from_secs(25);

static TEMPLATE: OnceLock<Result<Template>> = OnceLock::new();

/// What a run is made in.
pub(super) struct World {
    pub(super) mode: Mode,
    pub(super) disk: Disk,
    pub(super) clock: ManualClock,
    pub(super) till: FakeProcessor,
    pub(super) receiver: FakeReceiver,
    pub(super) baton: Arc<Baton>,
    street: Arc<Street>,
    entropy: SeededEntropy,
    /// By how much the clock was set back since the engines were started.
    behind: Mutex<Duration>,
    /// The secret that deliveries are signed with.
    pub(super) secret: Secret,
    beliefs: Mutex<Beliefs>,
}

/// The way from an engine to the world outside its process.
struct Street {
    disk: Disk,
    baton: Arc<Baton>,
    /// Decides when the power goes in the middle of a call; none: it stays.
    fate: Mutex<Option<Chance>>,
}

impl Outside for Street {
    fn is_reached(&self) -> bool {
        self.baton.offer();
        let is_cut = locked(&self.fate).as_mut().is_some_and(|fate| fate.below(150) == 0);
        if is_cut {
            self.disk.power_off();
        }
        !self.disk.is_off()
    }
}

impl World {
    pub(super) fn new(mode: Mode, engines: usize, chance: &mut Chance) -> Result<World> {
        let template = TEMPLATE.get_or_init(Template::new).as_ref().map_err(Error::clone)?;
        let disk = template.disk.copy(chance.next());
        let baton = Arc::new(Baton::new(chance.branch()));
        let offered = Arc::clone(&baton);
        disk.on_point(move |point| match point {
            tillite_simdisk::Point::Sleep => offered.give_away(),
            _ => offered.offer(),
        });
        let street = Arc::new(Street {
            disk: disk.clone(),
            baton: Arc::clone(&baton),
            fate: Mutex::new(Some(chance.branch())),
        });
        let clock = ManualClock::new();
        // Made at the template's time, so that nothing of it lies ahead.
        clock.turn(Duration::from_secs(1));
        let till = FakeProcessor::moody(chance.next()).clock(clock.clone());
        let receiver = FakeReceiver::moody(chance.next()).within(Arc::clone(&street) as Arc<dyn Outside>);
        let [test, live] = &template.secrets;
        let secret = match mode {
            Mode::Test => test.clone(),
            Mode::Live => live.clone(),
        };
        receiver.check_signatures(Format::Standard, secret.clone());
        Ok(World {
            mode,
            till: till.within(Arc::clone(&street) as Arc<dyn Outside>),
            street,
            receiver,
            entropy: SeededEntropy::new(chance.next()),
            behind: Mutex::default(),
            secret,
            beliefs: Mutex::new(Beliefs::of_processes(engines)),
            disk,
            clock,
            baton,
        })
    }

    /// Another process that opens the file.
    pub(super) fn open(&self) -> Result<Engine> {
        let builder = Engine::builder()
            .clock(self.clock.clone())
            .entropy(self.entropy.clone())
            .transport(self.receiver.clone())
            .seal_key(SEAL_KEY)
            .pace(Arc::clone(&self.baton) as Arc<dyn crate::store::Pace>);
        with_till(builder, self.mode, &self.till).open_on(&self.disk, FILE)
    }

    /// Sets the clock back, by a little in all.
    pub(super) fn turn_back(&self, by: Duration) {
        let mut behind = locked(&self.behind);
        let by = by.min(FURTHEST_BACK.saturating_sub(*behind));
        self.clock.turn_back(by);
        *behind += by;
    }

    /// Sets the clock right before other processes look at it: what one has shown by a clock is
    /// written down nowhere.
    pub(super) fn set_clock(&self) {
        self.clock.turn(std::mem::take(&mut *locked(&self.behind)));
    }

    pub(super) fn app(&self, engine: &Engine) -> Result<App> {
        engine.find_app(SLUG, self.mode)
    }

    /// What the host was told so far.
    pub(super) fn beliefs(&self) -> MutexGuard<'_, Beliefs> {
        locked(&self.beliefs)
    }

    /// Nothing changes its mind any more: the service and the receiver do what they are asked, and
    /// the disk works.
    pub(super) fn calm(&self) {
        self.disk.clear_faults();
        *locked(&self.street.fate) = None;
        self.till.calm();
        self.receiver.calm();
        self.disk.clear_on_point();
    }
}

fn with_till(builder: Builder, mode: Mode, till: &FakeProcessor) -> Builder {
    match mode {
        Mode::Test => builder.test_processor("till", till.clone()),
        Mode::Live => builder.processor("till", till.clone()),
    }
}

impl Template {
    fn new() -> Result<Template> {
        let disk = Disk::new(0);
        let engine = Engine::builder()
            .clock(ManualClock::new())
            .entropy(SeededEntropy::new(0))
            .seal_key(SEAL_KEY)
            .open_on(&disk, FILE)?;
        let mut secrets = Vec::new();
        for mode in [Mode::Test, Mode::Live] {
            let app = engine.app(SLUG, mode)?;
            let member = NewPrice::new("member", euro(199_00)?).lasting(Interval::MONTH);
            let gold = NewPrice::new("gold", euro(9_00)?).access_days(10);
            app.catalog()
                .set(NewProduct::new("member", "Membership").rank(1).price(member))?;
            app.catalog().set(NewProduct::new("gold", "Gold").rank(2).price(gold))?;
            let endpoint = NewEndpoint::new("https://shop.example/hooks", Format::Standard);
            secrets.push(app.endpoints().add(endpoint)?.secret);
        }
        engine.close()?;
        let secrets = <[_; 2]>::try_from(secrets).map_err(|_| Error::NoEntropy)?;
        Ok(Template { disk, secrets })
    }
}

pub(super) fn euro(minor: i64) -> Result<Amount> {
    Amount::minor(minor, Currency::EUR)
}
