//! What a claim costs beside 100,000 deliveries of the same endpoint that it has nothing to do with.
//!
//! Each pile has a file of its own, all copies of one in which an endpoint has so many deliveries;
//! what they wait for is then written into the rows. Four more are due to the same endpoint, and are
//! claimed and acknowledged again and again. A look that finds nothing due commits nothing, so it shows
//! best what is read.

use std::time::{Duration, Instant};

use rusqlite::Connection;
use tempfile::TempDir;
use tillite::Engine;

use crate::pile::{accepted, acknowledge, copy, pile, sell};
use crate::shop::{Shop, connect, run};

/// As many as may be on their way to an endpoint at once.
const DUE: usize = 4;

/// What the deliveries wait for, and how that is written down. `HOUR` is in an hour.
const PILES: [(&str, &str); 5] = [
    ("nothing", "DELETE FROM tillite_delivery"),
    (
        "exhausted",
        "UPDATE tillite_delivery SET state = 'exhausted', attempts = 5, last_status = 500",
    ),
    // A hundred of each object, of which the first has failed and is tried again later.
    (
        "blocked in strict order",
        "UPDATE tillite_delivery SET lane = event / 100, due_at = HOUR, \
         state = CASE event % 100 WHEN 0 THEN 'pending' ELSE 'blocked' END",
    ),
    (
        "tried again in an hour",
        "UPDATE tillite_delivery SET attempts = 1, due_at = HOUR, last_status = 500",
    ),
    ("due as well", "UPDATE tillite_delivery SET attempts = 0"),
];

pub(crate) fn measure(quick: bool) {
    let (rounds, deliveries) = if quick { (1, 200) } else { (200, 100_000) };
    let place = TempDir::new().unwrap();
    let file = pile(&place, deliveries);
    let mut sides: Vec<Side> = PILES
        .iter()
        .enumerate()
        .map(|(at, (name, how))| {
            let path = copy(&file, &format!("pile-{at}.db"));
            let connection = connect(&path);
            run(&connection, &how.replace("HOUR", "(unixepoch() + 3600) * 1000"));
            run(&connection, "PRAGMA wal_checkpoint(TRUNCATE)");
            let strict = name.contains("strict");
            if strict {
                run(&connection, "UPDATE tillite_endpoint SET ordering = 'strict'");
            }
            let shop = Shop::with(Engine::builder(), &path);
            sell(&shop, DUE);
            Side {
                name,
                engine: shop.engine,
                connection,
                times: Default::default(),
            }
        })
        .collect();
    for _ in 0..rounds {
        sides.iter_mut().for_each(Side::turn);
    }
    println!(
        "\n{:<28} {:>12} {:>12} {:>12}   claim   acknowledge   look, beside none",
        format!("claim cost, {deliveries} that are"),
        "claim four",
        "acknowledge",
        "find none"
    );
    let mut first = None;
    for side in sides {
        let medians = side.times.map(median);
        let first = *first.get_or_insert(medians);
        let [claim, acknowledge, look] = medians.map(|time| format!("{:.1} us", time * 1e6));
        let [claims, acknowledges, looks] = [0, 1, 2].map(|at| format!("{:.2}", medians[at] / first[at]));
        println!(
            "{:<28} {claim:>12} {acknowledge:>12} {look:>12}   {claims:>5}   {acknowledges:>11}   {looks:>4}",
            side.name
        );
    }
}

/// A file, and what was measured on it: claims, acknowledgements and looks.
struct Side {
    name: &'static str,
    engine: Engine,
    connection: Connection,
    times: [Vec<Duration>; 3],
}

impl Side {
    fn turn(&mut self) {
        let started = Instant::now();
        let claimed = self.engine.claim_deliveries(DUE).unwrap();
        self.times[0].push(started.elapsed());
        assert_eq!(claimed.len(), DUE);
        let sent: Vec<_> = claimed.into_iter().map(|delivery| (delivery, accepted())).collect();
        let started = Instant::now();
        acknowledge(&self.engine, &sent);
        self.times[1].push(started.elapsed());
        if self.name != "due as well" {
            let started = Instant::now();
            assert!(self.engine.claim_deliveries(DUE).unwrap().is_empty());
            self.times[2].push(started.elapsed());
        }
        for (delivery, _) in sent {
            for reset in [
                "DELETE FROM tillite_delivery_attempt WHERE app = 1 AND mode = 0 AND delivery = ?1",
                "UPDATE tillite_delivery SET state = 'pending', attempts = 0, due_at = 1 WHERE app = 1 AND mode = 0 AND id = ?1",
            ] {
                let mut reset = self.connection.prepare_cached(reset).unwrap();
                assert_eq!(reset.execute([delivery.id.as_str()]).unwrap(), 1);
            }
        }
    }
}

/// In seconds; not a number where there is none.
fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times.get(times.len() / 2).map_or(f64::NAN, Duration::as_secs_f64)
}
