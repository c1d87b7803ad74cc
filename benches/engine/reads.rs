//! Reading what somebody may use, beside one prepared statement that is held for as long as the
//! program runs and reads the same row.

use std::cell::{Cell, RefCell};
use std::hint::black_box;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use rusqlite::{Connection, Row, Statement};
use tempfile::TempDir;
use tillite::{App, Engine, Mode, NewGrant};

use crate::cases::{Case, Side};
use crate::shop::{Shop, connect};

/// How many reads one turn does.
const READS: u32 = 100;

/// Nobody has been asked for since the engine was opened. The pages of the file are in the memory of
/// both connections.
pub(crate) fn first(quick: bool) -> Case {
    let (place, shop, holders) = holders(quick);
    let baseline = held_statement(&shop.path, holders);
    let opened = Opened::at(shop.path.clone(), holders);
    Case {
        size: READS,
        engine: Box::new(move || {
            let (app, uids) = opened.next();
            Box::new(move || read(&app, &uids))
        }),
        baseline,
        _place: place,
    }
}

/// Everybody has been asked for, and nobody writes.
pub(crate) fn again(quick: bool) -> Case {
    let (place, shop, holders) = holders(quick);
    Case {
        size: READS,
        baseline: held_statement(&shop.path, holders),
        engine: read_again(shop, holders),
        _place: place,
    }
}

/// Everybody has been asked for, and another thread creates sessions all the time.
pub(crate) fn beside_a_writer(quick: bool) -> Case {
    let (place, shop, holders) = holders(quick);
    let baseline = held_statement(&shop.path, holders);
    let writer = Writer::start(&shop);
    let mut engine = read_again(shop, holders);
    Case {
        size: READS,
        engine: Box::new(move || {
            assert!(!writer.thread.as_ref().is_none_or(JoinHandle::is_finished));
            engine()
        }),
        baseline,
        _place: place,
    }
}

/// A shop, and how many hold a membership in it.
fn holders(quick: bool) -> (TempDir, Shop, usize) {
    let (holders, threads) = if quick { (200, 2) } else { (10_000, 16) };
    let place = TempDir::new().unwrap();
    let shop = Shop::open(&place, "engine.db");
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let app = &shop.app;
            scope.spawn(move || {
                for number in (thread..holders).step_by(threads) {
                    app.entitlements().grant(NewGrant::tier(uid(number), "member")).unwrap();
                }
            });
        }
    });
    (place, shop, holders)
}

fn uid(number: usize) -> String {
    format!("holder-{number}")
}

fn read(app: &App, uids: &[String]) {
    for uid in uids {
        assert!(black_box(app.entitlements().get(uid).unwrap()).active);
    }
}

/// The holders in an order that no cache expects, a turn's worth at a time, for ever.
fn rounds(holders: usize) -> impl Fn() -> Vec<String> {
    let at = Cell::new(0);
    move || {
        let uids = (0..READS).map(|_| {
            // A prime step visits all of them before it comes back.
            at.set((at.get() + 7_919) % holders);
            uid(at.get())
        });
        uids.collect()
    }
}

fn read_again(shop: Shop, holders: usize) -> Side {
    let app = shop.app.clone();
    for number in 0..holders {
        read(&app, &[uid(number)]);
    }
    let next = rounds(holders);
    Box::new(move || {
        let (app, uids) = (shop.app.clone(), next());
        Box::new(move || read(&app, &uids))
    })
}

fn held_statement(path: &Path, holders: usize) -> Side {
    type Found = (String, String, Option<i64>, i64, String, i64, i64);
    let connection: &'static Connection = Box::leak(Box::new(connect(path)));
    let held = "SELECT tier, status, expires_at, quantity, limits, version, changed_at FROM tillite_entitlement \
                WHERE app = 1 AND mode = 0 AND uid = ?1 AND line = 'main'";
    let held: Rc<RefCell<Statement<'_>>> = Rc::new(RefCell::new(connection.prepare(held).unwrap()));
    let next = rounds(holders);
    Box::new(move || {
        let (held, uids) = (Rc::clone(&held), next());
        Box::new(move || {
            let mut held = held.borrow_mut();
            for uid in &uids {
                let read = |row: &Row<'_>| -> rusqlite::Result<Found> {
                    Ok((
                        row.get(0)?,
                        row.get(1)?,
                        row.get(2)?,
                        row.get(3)?,
                        row.get(4)?,
                        row.get(5)?,
                        row.get(6)?,
                    ))
                };
                assert_eq!(black_box(held.query_row([uid], read).unwrap()).1, "active");
            }
        })
    })
}

/// An engine that has not been asked for anybody, opened anew when it has been asked for all.
struct Opened {
    path: std::path::PathBuf,
    holders: usize,
    next: Box<dyn Fn() -> Vec<String>>,
    app: RefCell<App>,
    left: Cell<usize>,
}

impl Opened {
    fn at(path: std::path::PathBuf, holders: usize) -> Opened {
        Opened {
            app: RefCell::new(open(&path, holders)),
            path,
            holders,
            next: Box::new(rounds(holders)),
            left: Cell::new(holders),
        }
    }

    fn next(&self) -> (App, Vec<String>) {
        let reads = READS as usize;
        if self.left.get() < reads {
            *self.app.borrow_mut() = open(&self.path, self.holders);
            self.left.set(self.holders);
        }
        self.left.set(self.left.get() - reads);
        (self.app.borrow().clone(), (self.next)())
    }
}

fn open(path: &Path, holders: usize) -> App {
    let app = Engine::builder().open(path).unwrap().app("shop", Mode::Test).unwrap();
    // Lists are not remembered, but what is listed brings its page into memory: a page has more than
    // ten of them.
    for number in (0..holders).step_by(10) {
        app.entitlements().list(&uid(number)).unwrap();
    }
    app.entitlements().get("nobody").unwrap();
    app
}

/// A thread that creates sessions until it is dropped.
struct Writer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    fn start(shop: &Shop) -> Writer {
        let stop = Arc::new(AtomicBool::new(false));
        let (app, order, stopped) = (shop.app.clone(), shop.order().0, Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                app.sessions().create(order.clone()).unwrap();
            }
        });
        Writer {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}
