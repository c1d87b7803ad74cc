//! Files with many deliveries, and what a host does with those it has claimed.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tillite::webhook::{AddedEndpoint, Format, NewEndpoint};
use tillite::{Answered, ClaimedDelivery, Engine, TransportOutcome};

use crate::callers::{share, timed};
use crate::shop::Shop;

/// Adds an endpoint that wants to hear of new sessions.
pub(crate) fn add_endpoint(shop: &Shop, host: &str) -> AddedEndpoint {
    let endpoint = NewEndpoint::new(format!("https://{host}.example/hooks"), Format::Standard);
    let endpoint = endpoint.events(["checkout.session.created"]);
    shop.app.endpoints().add(endpoint).unwrap()
}

/// Creates sessions, each of which is a delivery to every endpoint that there is.
pub(crate) fn sell(shop: &Shop, sessions: usize) {
    let callers = sessions.min(64);
    let mut left = sessions;
    let shares = share(callers, sessions.div_ceil(callers), || {
        let more = left > 0;
        left = left.saturating_sub(1);
        more
    });
    timed(shares, |more| {
        if more {
            shop.session();
        }
    });
}

/// The file of a shop with one endpoint, to which so many deliveries are due. Nobody has it open.
pub(crate) fn pile(place: &TempDir, deliveries: usize) -> PathBuf {
    let shop = Shop::open(place, "pile.db");
    add_endpoint(&shop, "piled-up");
    sell(&shop, deliveries);
    let path = shop.path.clone();
    drop(shop.into_connection());
    path
}

/// A copy of a file that nobody has open, on disk before this returns: what the system writes out later
/// would be in the way of what is measured.
pub(crate) fn copy(file: &Path, name: &str) -> PathBuf {
    let path = file.with_file_name(name);
    std::fs::copy(file, &path).unwrap();
    std::fs::File::open(&path).unwrap().sync_all().unwrap();
    path
}

/// What a transport says that carries nothing.
pub(crate) fn accepted() -> TransportOutcome {
    TransportOutcome::Answered(Answered::status(204))
}

/// Writes down what came of a batch.
pub(crate) fn acknowledge(engine: &Engine, batch: &[(ClaimedDelivery, TransportOutcome)]) {
    let counted = engine.acknowledge_all(batch).unwrap();
    assert!(counted.into_iter().all(|counted| counted));
}

/// Lets two sides work through as many deliveries each, a batch at a time in turns, so that what else the
/// machine does meets both. A batch answers how many it has done; the answer is what each side took for all.
pub(crate) fn in_turns(deliveries: usize, mut sides: [&mut dyn FnMut() -> usize; 2]) -> [Duration; 2] {
    let mut left = [deliveries; 2];
    let mut took = [Duration::ZERO; 2];
    let mut turns = 0;
    while left != [0; 2] {
        for ((side, left), took) in sides.iter_mut().zip(&mut left).zip(&mut took) {
            if *left == 0 {
                continue;
            }
            let started = Instant::now();
            let done = side();
            *took += started.elapsed();
            *left = left.checked_sub(done).unwrap();
        }
        turns += 1;
        assert!(turns <= 10 * deliveries, "it comes to no end: {left:?} are left");
    }
    took
}

/// How many endpoints there are, and how many deliveries are due to each: ten thousand altogether, or as many as
/// the variable asks for.
pub(crate) fn outbox(quick: bool) -> (usize, usize) {
    let asked = std::env::var("TILLITE_DELIVERIES")
        .ok()
        .and_then(|text| text.parse::<usize>().ok());
    match (quick, asked) {
        (true, _) => (10, 8),
        (false, Some(asked)) => (100, asked.div_ceil(100).max(1)),
        (false, None) => (100, 100),
    }
}

/// How many in a second.
pub(crate) fn per_second(count: usize, took: Duration) -> f64 {
    f64::from(u32::try_from(count).unwrap()) / took.as_secs_f64()
}

/// The middle of some figures.
pub(crate) fn middle(figures: &mut [f64]) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// The middle of some figures, and the least and the greatest of them.
pub(crate) fn spread(mut figures: Vec<f64>) -> String {
    let middle = middle(&mut figures);
    let (least, most) = (figures[0], figures[figures.len() - 1]);
    format!("{middle:.2} ({least:.2} to {most:.2})")
}
