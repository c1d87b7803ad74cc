//! A shop on a file, and the bare database beside it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rusqlite::Connection;
use tempfile::TempDir;
use tillite::{Amount, App, Builder, Currency, Engine, Mode, NewPrice, NewProduct, NewSession, SessionId};

/// An engine on a file, with something to sell.
pub(crate) struct Shop {
    pub(crate) engine: Engine,
    pub(crate) app: App,
    pub(crate) path: PathBuf,
    sold: AtomicU32,
}

/// A session and who it is for.
pub(crate) struct Ordered {
    pub(crate) id: SessionId,
    pub(crate) uid: String,
}

impl Shop {
    pub(crate) fn open(place: &TempDir, name: &str) -> Shop {
        Shop::with(Engine::builder(), &place.path().join(name))
    }

    /// With hooks of one's own, on a file that may be there already.
    pub(crate) fn with(builder: Builder, path: &Path) -> Shop {
        let path = path.to_owned();
        let engine = builder.seal_key([7; 32]).open(&path).unwrap();
        let app = engine.app("shop", Mode::Test).unwrap();
        let price = NewPrice::new("member", Amount::minor(12_00, Currency::EUR).unwrap());
        let product = NewProduct::new("member", "Membership").price(price);
        app.catalog().set(product).unwrap();
        Shop {
            engine,
            app,
            path,
            sold: AtomicU32::new(0),
        }
    }

    /// An order by somebody new, and who it is.
    pub(crate) fn order(&self) -> (NewSession, String) {
        let buyer = self.sold.fetch_add(1, Ordering::Relaxed) + 1;
        (order(buyer), uid(buyer))
    }

    pub(crate) fn session(&self) -> Ordered {
        let (order, uid) = self.order();
        let id = self.app.sessions().create(order).unwrap().id;
        Ordered { id, uid }
    }

    /// Closes the engine and opens its file bare.
    pub(crate) fn into_connection(self) -> Connection {
        let Shop { engine, app, path, .. } = self;
        drop(app);
        engine.close().unwrap();
        connect(&path)
    }
}

/// An order by the buyer of that number.
pub(crate) fn order(buyer: u32) -> NewSession {
    NewSession::tier("member", Currency::EUR)
        .for_uid(uid(buyer))
        .return_to("https://shop.example/thanks?session={CHECKOUT_SESSION_ID}")
}

fn uid(buyer: u32) -> String {
    format!("buyer-{buyer:08}")
}

/// A connection set up as the engine sets its own up.
pub(crate) fn connect(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.busy_timeout(Duration::from_secs(5)).unwrap();
    connection.set_prepared_statement_cache_capacity(192);
    for pragma in [
        "PRAGMA journal_mode = WAL",
        "PRAGMA synchronous = FULL",
        "PRAGMA fullfsync = ON",
        "PRAGMA foreign_keys = ON",
        "PRAGMA temp_store = MEMORY",
        "PRAGMA trusted_schema = OFF",
        "PRAGMA cell_size_check = ON",
        "PRAGMA mmap_size = 0",
        "PRAGMA cache_size = -16384",
        "PRAGMA journal_size_limit = 67108864",
    ] {
        run(&connection, pragma);
    }
    connection
}

/// Runs a statement without parameters to its end.
pub(crate) fn run(connection: &Connection, sql: &str) {
    let mut statement = connection.prepare_cached(sql).unwrap();
    let mut rows = statement.query([]).unwrap();
    while rows.next().unwrap().is_some() {}
}
