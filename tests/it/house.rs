//! The house rules that a reader would otherwise have to take on trust: which room may import which,
//! and what must stand nowhere.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Rooms by floor, the ground first. A room imports from floors below its own only.
const FLOORS: &[&[&str]] = &[
    &["address", "card", "digest", "planted", "secret"],
    &["error"],
    &["money", "text", "time"],
    &["id", "seal"],
    &["access", "catalog", "customer", "hook"],
    &["entitlement", "payment", "transport"],
    &["sandbox", "session", "webhook"],
    &["event"],
    &["alarm", "change", "consumer", "wire"],
    &["decide", "store"],
    &["engine"],
    &["testing"],
    &["lib"],
];

struct Source {
    path: PathBuf,
    room: String,
    code: String,
}

/// Every source file without its comments and tests.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ext| ext == "rs") && !is_for_tests(&path) {
                let inside = path.strip_prefix(&root).unwrap();
                let room = inside
                    .iter()
                    .next()
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .trim_end_matches(".rs")
                    .to_owned();
                let text = std::fs::read_to_string(&path).unwrap();
                let code: Vec<&str> = text
                    .lines()
                    .filter(|line| !line.trim_start().starts_with("//"))
                    .collect();
                found.push(Source {
                    path: inside.to_owned(),
                    room,
                    code: code.join("\n"),
                });
            }
        }
    }
    assert!(found.len() > 50, "the sources were found");
    found
}

/// Unit tests, and the values they share, stand beside the code and may reach anywhere.
fn is_for_tests(path: &Path) -> bool {
    let named = |name| path.components().any(|part| part.as_os_str() == name);
    named("tests") || named("tests.rs") || named("samples.rs")
}

#[test]
fn every_room_imports_from_below_only() {
    let floor_of: BTreeMap<&str, usize> = FLOORS
        .iter()
        .enumerate()
        .flat_map(|(floor, rooms)| rooms.iter().map(move |room| (*room, floor)))
        .collect();
    let mut arrows = 0;
    for source in sources() {
        let own = *floor_of
            .get(source.room.as_str())
            .unwrap_or_else(|| panic!("{} has no floor", source.room));
        for part in source.code.split("crate::").skip(1) {
            let named: String = part
                .chars()
                .take_while(|c| c.is_ascii_lowercase() || *c == '_')
                .collect();
            let Some(floor) = floor_of.get(named.as_str()) else {
                assert!(
                    source.room == "lib",
                    "{}: crate::{named} is no room",
                    source.path.display()
                );
                continue;
            };
            arrows += 1;
            assert!(
                named == source.room || *floor < own,
                "{} imports {named}, which is not below it",
                source.path.display()
            );
        }
    }
    assert!(arrows > 200, "only {arrows} arrows were seen");
}

#[test]
fn what_belongs_in_one_place_stands_nowhere_else() {
    // What must not appear, and the rooms or files in which it may.
    let rules: &[(&str, &[&str])] = &[
        ("rusqlite", &["store/sqlite"]),
        ("SystemTime::now", &["hook/clock.rs"]),
        ("Instant::now", &["engine/pace.rs"]),
        (".clock.now()", &["engine", "testing"]),
        (".entropy.fill(", &["engine"]),
        (".execute(&ask", &["engine/asks.rs", "testing/sim"]),
        (".lookup(&key", &["engine/asks.rs", "testing/sim"]),
        (
            "transport.send(",
            &["engine/outbox/mod.rs", "testing/conformance/trial.rs"],
        ),
        ("thread::Builder", &["engine/runner.rs", "testing/conformance"]),
        ("thread::spawn", &[]),
        (
            "thread::scope",
            &["testing/conformance/connection.rs", "testing/sim/baton.rs"],
        ),
        ("thread::sleep", &["engine/pace.rs"]),
        ("unsafe ", &[]),
        ("f32", &[]),
        ("f64", &[]),
        // How many minor units make a major one differs by currency and by service.
        ("* 100", &[]),
        ("/ 100", &[]),
        ("println!", &[]),
        ("INSERT INTO", &["store"]),
        ("UPDATE tillite_", &["store"]),
        ("DELETE FROM", &["store"]),
        ("chrono::", &["time.rs"]),
        ("use ureq::", &["transport/ureq.rs"]),
    ];
    for source in sources() {
        for (phrase, allowed) in rules {
            let here = allowed.iter().any(|place| source.path.starts_with(place));
            assert!(
                here || !source.code.contains(phrase),
                "{} has {phrase}, which belongs in {allowed:?}",
                source.path.display()
            );
        }
    }
}

/// Every text of the repository, without the blocks of code in it.
fn texts() -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                folders.push(path);
            } else if path.extension().is_some_and(|ext| ext == "md") {
                let text = std::fs::read_to_string(&path).unwrap();
                let prose: String = text.split("\n```").step_by(2).collect();
                found.insert(path, prose);
            }
        }
    }
    found
}

/// The anchors of a text's headings, as they are made from them where the repository is shown.
fn anchors(text: &str) -> Vec<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| {
        let words = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        words
            .chars()
            .filter(|c| c.is_alphanumeric() || "-_".contains(*c))
            .collect()
    };
    headings.map(anchor).collect()
}

#[test]
fn every_link_within_the_repository_leads_somewhere() {
    let texts = texts();
    let mut links = 0;
    for (path, text) in &texts {
        for part in text.split("](").skip(1) {
            let (link, _) = part.split_once(')').unwrap();
            if link.contains(':') {
                continue;
            }
            links += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => path.clone(),
                file => path.parent().unwrap().join(file),
            };
            let target = target
                .canonicalize()
                .unwrap_or_else(|_| panic!("{}: {link} leads nowhere", path.display()));
            let found = anchor.is_empty()
                || texts
                    .get(&target)
                    .is_some_and(|text| anchors(text).iter().any(|known| known == anchor));
            assert!(found, "{}: {link} has no such heading", path.display());
        }
    }
    assert!(links >= 5, "only {links} links were seen");
}
