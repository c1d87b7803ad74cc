//! What a session costs in a file that grows: one caller and 64, each session with an idempotency key.

use std::hint::black_box;
use std::time::Duration;

use tempfile::TempDir;

use crate::callers::{share, timed};
use crate::shop::Shop;

/// Sessions in the small file.
const FEW: u32 = 10_000;

/// How many sessions the large file has; the variable asks for more, as for a million.
fn many(quick: bool) -> u32 {
    let asked = std::env::var("TILLITE_SESSIONS")
        .ok()
        .and_then(|text| text.parse().ok());
    asked.unwrap_or(if quick { 200 } else { 50_000 })
}

pub(crate) fn measure(quick: bool) {
    let (few, many) = (if quick { 100 } else { FEW }, many(quick));
    let place = TempDir::new().unwrap();
    let shop = Shop::open(&place, "growing.db");
    fill(&shop, few);
    let small = [1, 64].map(|callers| cost(&shop, callers, quick));
    fill(&shop, many.saturating_sub(few));
    let large = [1, 64].map(|callers| cost(&shop, callers, quick));
    println!(
        "\n{:<22} {:>14} {:>14}   large/small",
        "a session more",
        format!("{few} there"),
        format!("{many} there")
    );
    for (callers, (small, large)) in [1, 64].into_iter().zip(small.into_iter().zip(large)) {
        println!(
            "{:<22} {:>11.1} us {:>11.1} us   {:.2}",
            format!("create, {callers} callers"),
            small * 1e6,
            large * 1e6,
            large / small
        );
    }
}

fn fill(shop: &Shop, sessions: u32) {
    let each = usize::try_from(sessions).unwrap().div_ceil(64);
    create(shop, 64, each);
}

/// Seconds that a session takes.
fn cost(shop: &Shop, callers: usize, quick: bool) -> f64 {
    let each = if quick { 2 } else { 6_400 / callers };
    let mut times: Vec<f64> = (0..5)
        .map(|_| create(shop, callers, each).as_secs_f64() / f64::from(u32::try_from(callers * each).unwrap()))
        .collect();
    times.sort_unstable_by(f64::total_cmp);
    times[times.len() / 2]
}

fn create(shop: &Shop, callers: usize, each: usize) -> Duration {
    timed(share(callers, each, || ()), |()| {
        let (order, uid) = shop.order();
        drop(black_box(
            shop.app
                .sessions()
                .create(order.idempotency_key(scattered(&uid)))
                .unwrap(),
        ));
    })
}

/// A key that sorts anywhere, as keys that hosts draw do; of letters, as digits could be taken for a
/// card number.
fn scattered(uid: &str) -> String {
    let hash = uid.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    });
    (0..16)
        .map(|place| char::from(b'a' + u8::try_from(hash >> (4 * place) & 15).unwrap()))
        .collect()
}
