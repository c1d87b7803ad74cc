//! What another process waits for a commit while 16 callers write without a pause: beside the engine,
//! and beside the hand-written leader, which leaves no gaps.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tillite::{Engine, Mode};

use crate::callers::Bare;
use crate::line::Line;
use crate::recording::Turn;
use crate::shop::{Shop, connect, run};

const CALLERS: usize = 16;

/// The variable that makes this program the other process: the file's path.
const FILE: &str = "TILLITE_BENCH_BESIDE";
/// Whether it commits through the engine or bare, and for how many milliseconds.
const KIND: &str = "TILLITE_BENCH_KIND";
const MILLIS: &str = "TILLITE_BENCH_MILLIS";

/// If this is the other process: commits again and again, and says how long each commit took.
pub(crate) fn is_another_process() -> bool {
    let Some(path) = std::env::var_os(FILE) else {
        return false;
    };
    let path = Path::new(&path);
    let millis = std::env::var(MILLIS).unwrap().parse().unwrap();
    let until = Instant::now() + Duration::from_millis(millis);
    let mut commit: Box<dyn FnMut()> = if std::env::var(KIND).unwrap() == "engine" {
        let engine = Engine::builder().seal_key([7; 32]).open(path).unwrap();
        let app = engine.app("shop", Mode::Test).unwrap();
        Box::new(move || drop(app.sessions().create(crate::shop::order(0)).unwrap()))
    } else {
        let connection = connect(path);
        Box::new(move || {
            // The library's own wait for a lock, as a hand-written program uses it.
            run(&connection, "BEGIN IMMEDIATE");
            run(&connection, "UPDATE tillite_head SET now = now + 1");
            run(&connection, "COMMIT");
        })
    };
    while Instant::now() < until {
        let started = Instant::now();
        commit();
        println!("{}", started.elapsed().as_micros());
    }
    true
}

pub(crate) fn measure(quick: bool) {
    let (millis, turns) = if quick { (50, 10) } else { (1_000, 1_000) };
    let place = TempDir::new().unwrap();
    let shop = Shop::open(&place, "engine.db");
    let fair = waits(&shop.path, "engine", millis, || {
        || {
            shop.app.sessions().create(shop.order().0).unwrap();
            true
        }
    });
    let mut bare = Bare::open(&place, "bare.db");
    let line = Line::new(bare.connection());
    let unfair = waits(&place.path().join("bare.db"), "bare", millis, || {
        // Made before, so that nothing but writing is done.
        let mut turns: Vec<Turn> = (0..turns).map(|_| bare.turns.next()).collect();
        let line = &line;
        move || turns.pop().map(|turn| line.write(turn)).is_some()
    });
    println!(
        "\nanother process, for {millis} ms beside {CALLERS} callers\n{:<22} {:>10} {:>12} {:>12} {:>12}",
        "", "commits", "median", "p99", "longest"
    );
    println!("{}", row("the engine", &fair));
    println!("{}", row("a leader without gaps", &unfair));
}

fn row(name: &str, waits: &[u64]) -> String {
    let at = |percent: usize| waits.get((waits.len() * percent / 100).min(waits.len().saturating_sub(1)));
    let shown = |percent| {
        at(percent).map_or_else(
            || "-".to_owned(),
            |micros| format!("{}.{:02} ms", micros / 1_000, micros % 1_000 / 10),
        )
    };
    format!(
        "{name:<22} {:>10} {:>12} {:>12} {:>12}",
        waits.len(),
        shown(50),
        shown(99),
        shown(100)
    )
}

/// Lets callers write until the other process is done or they have nothing more to write; answers
/// what its commits waited, sorted.
fn waits<W: FnMut() -> bool + Send>(path: &Path, kind: &str, millis: u64, mut caller: impl FnMut() -> W) -> Vec<u64> {
    let done = AtomicBool::new(false);
    let callers: Vec<W> = (0..CALLERS).map(|_| caller()).collect();
    let done = &done;
    std::thread::scope(|scope| {
        for mut write in callers {
            scope.spawn(move || while !done.load(Ordering::Acquire) && write() {});
        }
        let output = Command::new(std::env::current_exe().unwrap())
            .env(FILE, path)
            .env(KIND, kind)
            .env(MILLIS, millis.to_string())
            .stderr(Stdio::inherit())
            .output();
        done.store(true, Ordering::Release);
        let text = String::from_utf8(output.unwrap().stdout).unwrap();
        let mut waits: Vec<u64> = text.lines().filter_map(|line| line.parse().ok()).collect();
        waits.sort_unstable();
        waits
    })
}
