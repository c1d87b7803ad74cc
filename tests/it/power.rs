//! A host that sells, and whose power goes at any moment: what it was answered is in the file when the
//! power is back, nobody is charged twice, and every invariant of the file holds. On a disk that lies
//! about its syncs the same campaign loses something, so it would notice.
//!
//! `TILLITE_CUTS=10000 cargo test --release --all-features --test it power -- --nocapture` is the long
//! one.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tillite::testing::{Disk, FakeProcessor, FakeReceiver, Fault, ManualClock, SeededEntropy, Survive, Told};
use tillite::webhook::{Format, NewEndpoint};
use tillite::{
    App, Budget, Charge, ChargeState, Currency, Engine, Entropy as _, Error, Expect, Interval, JournalHead, Mode,
    NewGrant, NewPayment, NewPrice, NewProduct, NewSession, Outcome, Result, Session, SessionId, SessionState,
};

use crate::kit::{SEAL_KEY, euro};

const FILE: &str = "shop.db";
const SLUG: &str = "lixblogs";
const RANDOM: Survive = Survive::Random { keep_percent: 50 };

/// Power cuts on one disk, before another one begins.
const CUTS_PER_DISK: u64 = 4;

/// How many operations of the disk the power lasts at most: some six calls.
const LONGEST: u64 = 300;

/// So many cuts, or as many as the environment asks for.
fn cuts(default: u64) -> u64 {
    std::env::var("TILLITE_CUTS").map_or(default, |cuts| cuts.parse().expect("TILLITE_CUTS is a number"))
}

/// How the power goes and comes back.
struct Campaign {
    survive: Survive,
    /// A fault from the beginning of each day on.
    lasting: Option<Fault>,
}

/// What a campaign came to.
#[derive(Debug, Default)]
struct Report {
    disks: u64,
    cuts: u64,
    /// Calls that were answered.
    answers: u64,
    charges: usize,
    /// Charges of which the host was not told at once, because the power went.
    in_flight: usize,
    /// What was lost or damaged, at most one thing a disk. The rest of its cuts did not take place.
    lost: Vec<String>,
}

impl Campaign {
    fn run(&self, default: u64) -> Report {
        let begun = Instant::now();
        let mut report = Report::default();
        while report.cuts < cuts(default) {
            report.disks += 1;
            let mut shop = Shop::new(report.disks);
            if let Err(lost) = self.days(&mut shop, &mut report) {
                report.lost.push(format!("disk {}: {lost}", report.disks));
            }
            report.charges += shop.till.charges().len();
        }
        let (disks, cuts, answers, charges) = (report.disks, report.cuts, report.answers, report.charges);
        let (survive, lasting, lost, in_flight) = (self.survive, self.lasting, report.lost.len(), report.in_flight);
        let took = begun.elapsed();
        println!(
            "{survive:?} {lasting:?}: {cuts} cuts on {disks} disks, {answers} answers, {charges} charges, \
             {in_flight} of them in flight, {lost} disks that lost something, {took:.1?}"
        );
        report
    }

    /// One disk: the host sells until the power goes, again and again, and at last all comes to rest.
    fn days(&self, shop: &mut Shop, report: &mut Report) -> Result<(), String> {
        for _ in 0..CUTS_PER_DISK {
            let engine = shop.open()?;
            shop.check(&engine)?;
            if let Some(fault) = self.lasting {
                shop.disk.fault_after(0, fault);
            }
            let cut = [Fault::PowerCut, Fault::TornPowerCut][usize::from(shop.is_true_of(2))];
            shop.disk.fault_after(shop.below(LONGEST), cut);
            let before = shop.heard.answers;
            while !shop.disk.is_off() {
                match shop.call(&engine) {
                    Err(error) if !shop.disk.is_off() => return Err(format!("{error:?}")),
                    _ => {}
                }
            }
            report.answers += shop.heard.answers - before;
            report.cuts += 1;
            let paid = |taken: &String| shop.heard.is_complete(taken);
            let charges = shop.till.charges();
            report.in_flight += charges.iter().filter(|taken| !paid(&taken.session)).count();
            drop(engine);
            shop.disk.reboot(self.survive);
        }
        let engine = shop.open()?;
        shop.check(&engine)?;
        shop.come_to_rest(&engine)
    }
}

/// What the host was answered.
#[derive(Default)]
struct Heard {
    answers: u64,
    /// Sessions by the key that they were made with.
    sessions: BTreeMap<u64, Session>,
    /// The newest version of each buyer's entitlement.
    versions: BTreeMap<String, i64>,
    head: Option<JournalHead>,
}

impl Heard {
    fn session(&mut self, key: u64, session: Session) -> Result<(), String> {
        self.answers += 1;
        if let Some(known) = self.sessions.get(&key) {
            follows(&session, known)?;
        }
        self.sessions.insert(key, session);
        Ok(())
    }

    fn version(&mut self, uid: String, version: i64) -> Result<(), String> {
        self.answers += 1;
        match self.versions.insert(uid, version) {
            Some(known) if known > version => Err(format!("version {version} after {known}")),
            _ => Ok(()),
        }
    }

    fn is_complete(&self, session: &str) -> bool {
        let known = self.sessions.values().find(|known| known.id.as_str() == session);
        known.is_some_and(Session::is_complete)
    }
}

/// Whether a session can be as it is after it was as it was.
fn follows(now: &Session, known: &Session) -> Result<(), String> {
    let ended = matches!(known.state, SessionState::Complete | SessionState::Expired(_));
    let charges = |session: &Session| {
        session
            .payment_intent
            .clone()
            .map_or(Vec::new(), |intent| intent.charges)
    };
    let after = charges(now);
    let is_kept = |charge: &Charge| {
        let mut after = after.iter();
        after.any(|now| now.id == charge.id && (now.state == charge.state || charge.state != ChargeState::Succeeded))
    };
    if now.id != known.id || ended && now.state != known.state || !charges(known).iter().all(is_kept) {
        return Err(format!("{known:?} is {now:?}"));
    }
    Ok(())
}

/// A file to begin from, with something to sell and somebody to tell.
fn template() -> &'static Disk {
    static TEMPLATE: OnceLock<Disk> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let disk = Disk::new(0);
        let engine = Engine::builder()
            .clock(ManualClock::new())
            .entropy(SeededEntropy::new(0));
        let engine = engine.seal_key(SEAL_KEY).open_on(&disk, FILE).unwrap();
        let app = engine.app(SLUG, Mode::Live).unwrap();
        let member = NewPrice::new("member", euro(199_00)).lasting(Interval::MONTH);
        app.catalog()
            .set(NewProduct::new("member", "Membership").price(member))
            .unwrap();
        let endpoint = NewEndpoint::new("https://shop.example/hooks", Format::Standard);
        let endpoint = endpoint.events(["checkout.session.completed", "grant.created"]);
        app.endpoints().add(endpoint).unwrap();
        drop(app);
        engine.close().unwrap();
        disk
    })
}

/// A shop whose processes come and go.
struct Shop {
    disk: Disk,
    clock: ManualClock,
    till: FakeProcessor,
    receiver: FakeReceiver,
    chance: SeededEntropy,
    heard: Heard,
    /// The newest key that was used.
    newest: u64,
}

impl Shop {
    fn new(seed: u64) -> Shop {
        let clock = ManualClock::new();
        clock.turn(Duration::from_secs(1));
        Shop {
            disk: template().copy(seed),
            till: FakeProcessor::new().clock(clock.clone()),
            receiver: FakeReceiver::new(),
            chance: SeededEntropy::new(seed),
            heard: Heard::default(),
            newest: 0,
            clock,
        }
    }

    /// A number below `end`.
    fn below(&self, end: u64) -> u64 {
        let mut drawn = [0; 8];
        self.chance.fill(&mut drawn).expect("it always has some");
        u64::from_le_bytes(drawn) % end
    }

    /// True once in so many times.
    fn is_true_of(&self, times: u64) -> bool {
        self.below(times) == 0
    }

    fn open(&self) -> Result<Engine, String> {
        let builder = Engine::builder()
            .clock(self.clock.clone())
            .entropy(self.chance.clone())
            .processor("till", self.till.clone())
            .transport(self.receiver.clone())
            .seal_key(SEAL_KEY)
            .virtual_waiting();
        builder.open_on(&self.disk, FILE).map_err(shown)
    }

    /// One of the things that a host does. An error of the disk may be; what cannot be is the inner
    /// error.
    fn call(&mut self, engine: &Engine) -> Result<(), String> {
        let app = engine.find_app(SLUG, Mode::Live).map_err(shown)?;
        match self.below(12) {
            0..=6 => self.sell(&app)?,
            7 => {
                let uid = format!("g_{}", self.key());
                let grant = NewGrant::tier(&uid, "member").days(30).idempotency_key(&uid);
                let granted = app.entitlements().grant(grant).map_err(shown)?;
                self.heard.version(uid, granted.version)?;
            }
            8 => {
                let key = self.key();
                let session = self.create(&app, key)?;
                match app.sessions().expire(&session.id) {
                    Err(Error::Refused(_)) => {}
                    expired => self.heard.session(key, expired.map_err(shown)?)?,
                }
            }
            _ => {
                self.clock.turn(Duration::from_secs(self.below(120)));
                let ran = engine.run_due(Budget::items(8)).map_err(shown)?;
                self.heard.answers += ran.total() as u64;
            }
        }
        self.heard.head = Some(app.journal_head().map_err(shown)?);
        Ok(())
    }

    /// A key that was not used yet, or the newest once more, as a host does that was not answered.
    fn key(&mut self) -> u64 {
        if self.newest == 0 || !self.is_true_of(3) {
            self.newest += 1;
        }
        self.newest
    }

    fn create(&mut self, app: &App, key: u64) -> Result<Session, String> {
        let new = NewSession::tier("member", Currency::EUR).customer(format!("u_{key}"));
        let new = new.idempotency_key(format!("order-{key}"));
        let session = app.sessions().create(new).map_err(shown)?;
        self.heard.session(key, session.clone())?;
        Ok(session)
    }

    fn sell(&mut self, app: &App) -> Result<(), String> {
        let key = self.key();
        let session = self.create(app, key)?;
        match self.below(10) {
            0 => self.till.tell(Told::TakeAndLose),
            1 => self.till.tell(Told::LoseRequest),
            2 => self.till.answer(Outcome::Declined {
                code: "insufficient_funds".to_owned(),
                message: String::new(),
                advice: None,
            }),
            _ => {}
        }
        let payment = NewPayment::with("tok_1").idempotency_key(format!("pay-{key}"));
        match app.sessions().pay(&session.id, payment) {
            Err(Error::PaymentInProgress { .. } | Error::Refused(_)) => {}
            paid => self.heard.session(key, paid.map_err(shown)?.session)?,
        }
        let uid = format!("u_{key}");
        let held = app.entitlements().get(&uid).map_err(shown)?;
        self.heard.version(uid, held.version)
    }

    /// Everything that was answered is in the file.
    fn check(&self, engine: &Engine) -> Result<(), String> {
        let app = engine.find_app(SLUG, Mode::Live).map_err(shown)?;
        let heads = self.heard.head.iter().cloned();
        let expect = heads.fold(Expect::nothing(), Expect::journal_head);
        let report = engine.verify(&expect).map_err(shown)?;
        if !report.is_clean() {
            return Err(format!("{:?}", report.failed));
        }
        for known in self.heard.sessions.values() {
            follows(&app.sessions().get(&known.id).map_err(shown)?, known)?;
        }
        for (uid, version) in &self.heard.versions {
            let held = app.entitlements().get(uid).map_err(shown)?;
            if held.version < *version {
                return Err(format!("{uid} is at version {} after {version}", held.version));
            }
        }
        self.charged(|count| count <= 1)
    }

    /// Every payer was charged so often.
    fn charged(&self, fits: impl Fn(usize) -> bool) -> Result<(), String> {
        let mut payers: BTreeMap<String, usize> = BTreeMap::new();
        for taken in self.till.charges() {
            *payers.entry(taken.session).or_default() += 1;
        }
        match payers.iter().find(|(_, count)| !fits(**count)) {
            Some((session, count)) => Err(format!("{session} was charged {count} times")),
            None => Ok(()),
        }
    }

    /// Time passes until nothing is in flight; then every session that is still open is paid, once.
    fn come_to_rest(&mut self, engine: &Engine) -> Result<(), String> {
        let app = engine.find_app(SLUG, Mode::Live).map_err(shown)?;
        self.till.untell();
        for _ in 0..40 {
            self.clock.turn(Duration::from_secs(600));
            while engine.run_due(Budget::items(100)).map_err(shown)?.total() > 0 {}
        }
        let health = engine.health().map_err(shown)?;
        if health.open_charges > 0 || health.oldest_overdue_delivery.is_some() {
            return Err(format!("it does not come to rest: {health:?}"));
        }
        let keys: Vec<u64> = self.heard.sessions.keys().copied().collect();
        for key in keys {
            let id = self.heard.sessions[&key].id.clone();
            let session = app.sessions().get(&id).map_err(shown)?;
            self.heard.session(key, session.clone())?;
            if session.state == SessionState::Open {
                let paid = app.sessions().pay(&id, "tok_2").map_err(shown)?;
                self.heard.session(key, paid.session)?;
            }
        }
        self.check(engine)?;
        let charges = self.till.charges();
        for taken in &charges {
            let session = SessionId::parse(&taken.session).map_err(shown)?;
            let session = app.sessions().get(&session).map_err(shown)?;
            if !session.is_complete() || session.totals.total != taken.amount {
                return Err(format!("{taken:?} is {session:?}"));
            }
        }
        let complete = self.heard.sessions.values().filter(|session| session.is_complete());
        if complete.count() > charges.len() {
            return Err("something was sold for nothing".to_owned());
        }
        Ok(())
    }
}

#[allow(clippy::needless_pass_by_value, reason = "so that an error maps to it")]
fn shown(error: Error) -> String {
    format!("{error:?}")
}

fn loses_nothing(survive: Survive, default: u64) {
    let report = Campaign { survive, lasting: None }.run(default);
    assert_eq!(report.lost, [""; 0]);
    assert!(report.answers > 3 * report.cuts && report.charges > 0, "{report:?}");
    assert!(report.in_flight > 0, "nothing was in flight at any cut: {report:?}");
}

#[test]
fn a_power_cut_that_tears_and_reorders_loses_nothing_that_was_answered() {
    loses_nothing(RANDOM, 200);
}

#[test]
fn a_power_cut_that_spares_only_what_was_synced_loses_nothing_that_was_answered() {
    loses_nothing(Survive::OnlySynced, 100);
}

#[test]
fn a_disk_that_lies_about_its_syncs_loses_something_and_the_campaign_sees_it() {
    let lasting = Some(Fault::SyncLies);
    let report = Campaign {
        survive: RANDOM,
        lasting,
    }
    .run(40);
    assert!(!report.lost.is_empty(), "{report:?}");
}
