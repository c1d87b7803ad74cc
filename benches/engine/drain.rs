//! Draining the outbox into a transport that carries nothing, beside a hand-written program.
//!
//! Both have a file of the same schema with the same deliveries in it, and both wait for the disk with
//! every transaction. The program is what somebody writes who knows the file: it claims a batch in one
//! transaction, endpoint by endpoint as the index is laid out, with a lease and a token, reads the
//! bodies in it, signs each (HMAC-SHA256 and its base64 are in the time of both sides), and writes the
//! answers of a batch in a second transaction. It keeps the secrets in the clear and the endpoints in
//! memory, asks nothing about what others have in flight, keeps no order, makes no headers but the
//! signature, and works the log into the file whenever SQLite does.
//!
//! `run_due` sends one after the other and writes each answer down before the next is sent, so that a
//! process that dies repeats one request at the most. Beside it the program does so too.

use std::hint::black_box;
use std::time::{SystemTime, UNIX_EPOCH};

use data_encoding::BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use rusqlite::{Connection, params};
use sha2::Sha256;
use tempfile::TempDir;
use tillite::{Budget, Engine, SignedRequest, Work};

use crate::pile::{accepted, acknowledge, add_endpoint, in_turns, middle, outbox, per_second, sell, spread};
use crate::shop::{Shop, connect, run};

/// How many deliveries are claimed at once.
const BATCH: usize = 64;

pub(crate) fn measure(quick: bool) {
    let rounds = if quick { 1 } else { 5 };
    let (endpoints, each) = outbox(quick);
    let deliveries = endpoints * each;
    let place = TempDir::new().unwrap();
    let host = Host::open(&place, endpoints);
    let bare = Shop::open(&place, "bare.db");
    let mut program = Program::new(&bare);
    for endpoint in 0..endpoints {
        program.add(&add_endpoint(&bare, &format!("e{endpoint}")).secret);
    }
    println!(
        "\n{:<28} {:>14} {:>14}   engine/baseline",
        format!("outbox drain, {deliveries}"),
        "engine",
        "baseline"
    );
    for (alone, (name, batch)) in [false, true].into_iter().zip(WAYS) {
        program.alone = alone;
        let (mut engine, mut baseline, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            sell(&host.shop, each);
            sell(&bare, each);
            let took = in_turns(deliveries, [&mut || batch(&host), &mut || program.batch()]);
            let [by_engine, by_program] = took.map(|took| per_second(deliveries, took));
            engine.push(by_engine);
            baseline.push(by_program);
            ratios.push(by_engine / by_program);
        }
        println!(
            "{name:<28} {:>12.0}/s {:>12.0}/s   {}",
            middle(&mut engine),
            middle(&mut baseline),
            spread(ratios)
        );
    }
}

/// Drains a batch; answers how many were delivered.
type Way = fn(&Host) -> usize;

/// The ways to drain, by name.
pub(crate) const WAYS: [(&str, Way); 2] = [
    ("claimed and acknowledged", Host::by_hand),
    ("by run_due", Host::by_itself),
];

/// An engine with endpoints, and a transport that carries nothing.
pub(crate) struct Host {
    pub(crate) shop: Shop,
}

impl Host {
    pub(crate) fn open(place: &TempDir, endpoints: usize) -> Host {
        let carries_nothing = |request: &SignedRequest| {
            black_box(request);
            accepted()
        };
        let path = place.path().join("engine.db");
        let shop = Shop::with(Engine::builder().transport(carries_nothing), &path);
        for endpoint in 0..endpoints {
            add_endpoint(&shop, &format!("e{endpoint}"));
        }
        Host { shop }
    }

    /// As a host does that sends by itself.
    fn by_hand(&self) -> usize {
        let claimed = self.shop.engine.claim_deliveries(BATCH).unwrap();
        let sent = claimed.into_iter().map(|delivery| {
            black_box(&delivery.request);
            (delivery, accepted())
        });
        let sent: Vec<_> = sent.collect();
        acknowledge(&self.shop.engine, &sent);
        sent.len()
    }

    /// Through the transport.
    fn by_itself(&self) -> usize {
        let budget = Budget::items(BATCH).work(Work::DELIVERIES);
        self.shop.engine.run_due(budget).unwrap().delivered
    }
}

/// The hand-written program.
struct Program {
    connection: Connection,
    /// What each endpoint signs with; the first has the number 1.
    keys: Vec<Vec<u8>>,
    /// Which endpoint has its turn.
    next: usize,
    claims: i64,
    /// Whether each answer is written down in a transaction of its own.
    alone: bool,
}

struct Claimed {
    id: String,
    event: String,
    body: Vec<u8>,
    endpoint: usize,
}

impl Program {
    fn new(shop: &Shop) -> Program {
        Program {
            connection: connect(&shop.path),
            keys: Vec::new(),
            next: 0,
            claims: 0,
            alone: false,
        }
    }

    fn add(&mut self, secret: &tillite::Secret) {
        let text = secret.expose().strip_prefix("whsec_").unwrap();
        self.keys.push(BASE64.decode(text.as_bytes()).unwrap());
    }

    fn batch(&mut self) -> usize {
        let now = now();
        let claimed = self.claim(now);
        for delivery in &claimed {
            black_box(self.signature(delivery, now));
        }
        let together = if self.alone { 1 } else { BATCH };
        for answered in claimed.chunks(together) {
            self.close(answered, now);
        }
        claimed.len()
    }

    fn claim(&mut self, now: i64) -> Vec<Claimed> {
        /// As many as the engine lets an endpoint have in flight, so that none takes all the places.
        const EACH: usize = 4;
        self.claims += 1;
        let connection = &self.connection;
        let mut claimed = Vec::new();
        run(connection, "BEGIN IMMEDIATE");
        let mut claim = connection
            .prepare_cached(
                "UPDATE tillite_delivery SET state = 'in_flight', attempts = attempts + 1, due_at = ?1, token = ?2 \
                 WHERE app = 1 AND mode = 0 AND id IN (SELECT id FROM tillite_delivery WHERE app = 1 AND mode = 0 \
                 AND endpoint = ?3 AND state IN ('pending', 'in_flight') AND state = 'pending' AND due_at <= ?4 ORDER BY due_at, event LIMIT ?5) \
                 RETURNING id, event",
            )
            .unwrap();
        let mut read = connection
            .prepare_cached(
                "SELECT e.id, b.bytes FROM tillite_event e JOIN tillite_event_body b \
                 ON b.app = e.app AND b.mode = e.mode AND b.seq = e.seq \
                 WHERE e.app = 1 AND e.mode = 0 AND e.seq = ?1 AND b.format = 'standard'",
            )
            .unwrap();
        for _ in 0..self.keys.len() {
            let room = BATCH - claimed.len();
            if room == 0 {
                break;
            }
            let endpoint = self.next;
            self.next = (self.next + 1) % self.keys.len();
            let number = i64::try_from(endpoint + 1).unwrap();
            let each = i64::try_from(EACH.min(room)).unwrap();
            let values = params![now + 90_000, self.claims, number, now, each];
            let rows = claim.query_map(values, |row| Ok((row.get(0)?, row.get(1)?)));
            let rows: Vec<(String, i64)> = rows.unwrap().collect::<rusqlite::Result<_>>().unwrap();
            for (id, seq) in rows {
                let read = read.query_row([seq], |row| Ok((row.get(0)?, row.get(1)?)));
                let (event, body) = read.unwrap();
                claimed.push(Claimed {
                    id,
                    event,
                    body,
                    endpoint,
                });
            }
        }
        run(connection, "COMMIT");
        claimed
    }

    fn signature(&self, delivery: &Claimed, now: i64) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.keys[delivery.endpoint]).unwrap();
        let seconds = (now / 1_000).to_string();
        for part in [
            delivery.event.as_bytes(),
            b".",
            seconds.as_bytes(),
            b".",
            &delivery.body,
        ] {
            mac.update(part);
        }
        format!("v1,{}", BASE64.encode(&mac.finalize().into_bytes()))
    }

    fn close(&self, claimed: &[Claimed], now: i64) {
        let connection = &self.connection;
        run(connection, "BEGIN IMMEDIATE");
        let mut close = connection
            .prepare_cached(
                "UPDATE tillite_delivery SET state = 'delivered', last_status = 204 \
                 WHERE app = 1 AND mode = 0 AND id = ?1 AND state = 'in_flight' AND token = ?2",
            )
            .unwrap();
        let mut log = connection
            .prepare_cached(
                "INSERT INTO tillite_delivery_attempt (app, mode, delivery, number, started_at, duration, outcome, \
                 status) VALUES (1, 0, ?1, 1, ?2, 0, 'delivered', 204)",
            )
            .unwrap();
        for delivery in claimed {
            let closed = close.execute(params![delivery.id, self.claims]).unwrap();
            assert_eq!(closed + log.execute(params![delivery.id, now]).unwrap(), 2);
        }
        run(connection, "COMMIT");
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}
