use proptest::prelude::*;

use super::*;
use crate::entitlement::{Content, Status};
use crate::id::Mode;
use crate::samples::at;
use crate::text::Metadata;

const HERE: World = World {
    app: 1,
    mode: Mode::Test,
};
const ELSEWHERE: World = World {
    app: 1,
    mode: Mode::Live,
};

fn cache() -> Arc<Cache> {
    Arc::default()
}

/// What was read at the start of the year and holds for a minute. The number tells one from
/// another.
fn kept(number: i64) -> Kept {
    let content = Content {
        tier: "member".to_owned(),
        status: Status::Active,
        expires_at: Some(at(60)),
        quantity: 1,
        limits: Metadata::default(),
    };
    Kept {
        version: Some(Version {
            number,
            content,
            changed_at: at(0),
        }),
        from: at(0),
        until: Some(at(60)),
    }
}

fn keep(cache: &Cache, world: World, seq: i64, uid: &str, number: i64) {
    cache.keep(world, seq, "shop", (uid, "main"), kept(number));
}

/// The number of what is remembered for a file at this position.
fn number(cache: &Cache, world: World, seq: i64, uid: &str) -> Option<i64> {
    let kept = cache.at(world, seq, uid, "main")?;
    kept.version.as_ref().map(|version| version.number)
}

fn trail(from: i64, to: i64, uids: &[&str]) -> Trail {
    let touched = uids.iter().map(|uid| ((*uid).to_owned(), "main".to_owned())).collect();
    Trail { from, to, touched }
}

#[test]
fn what_a_commit_touched_is_forgotten_and_the_rest_is_carried_along() {
    let cache = cache();
    keep(&cache, HERE, 7, "u_1", 1);
    keep(&cache, HERE, 7, "u_2", 2);
    cache.under_way(HERE).committed(&trail(7, 9, &["u_1"]));
    assert_eq!(number(&cache, HERE, 9, "u_1"), None);
    assert_eq!(number(&cache, HERE, 9, "u_2"), Some(2));
    // Another line of the same uid is something else.
    cache.keep(HERE, 9, "shop", ("u_1", "seats"), kept(3));
    cache.under_way(HERE).committed(&trail(9, 10, &["u_1"]));
    assert!(cache.at(HERE, 10, "u_1", "seats").is_some());
}

#[test]
fn a_commit_of_somebody_else_empties_its_world_and_no_other() {
    let cache = cache();
    for world in [HERE, ELSEWHERE] {
        keep(&cache, world, 7, "u_1", 1);
    }
    // A reader comes upon it.
    assert_eq!(number(&cache, HERE, 8, "u_1"), None);
    assert_eq!(number(&cache, HERE, 8, "u_1"), None);
    assert_eq!(number(&cache, ELSEWHERE, 7, "u_1"), Some(1));
    // A write of ours comes upon it.
    cache.under_way(ELSEWHERE).committed(&trail(8, 9, &[]));
    assert_eq!(number(&cache, ELSEWHERE, 9, "u_1"), None);
    keep(&cache, ELSEWHERE, 9, "u_1", 2);
    assert_eq!(number(&cache, ELSEWHERE, 9, "u_1"), Some(2));
}

#[test]
fn a_reader_that_is_ahead_of_a_write_under_way_forgets_nothing() {
    let cache = cache();
    keep(&cache, HERE, 7, "u_1", 1);
    let under_way = cache.under_way(HERE);
    assert_eq!(number(&cache, HERE, 7, "u_1"), Some(1));
    assert_eq!(number(&cache, HERE, 8, "u_1"), None);
    // Nor does it bring in what it read: it may be of a commit that the cache has not heard of.
    keep(&cache, HERE, 8, "u_3", 3);
    under_way.committed(&trail(7, 8, &["u_2"]));
    assert_eq!(number(&cache, HERE, 8, "u_1"), Some(1));
    assert_eq!(number(&cache, HERE, 8, "u_3"), None);
}

#[test]
fn a_write_that_came_to_nothing_leaves_everything_and_is_under_way_no_more() {
    let cache = cache();
    keep(&cache, HERE, 7, "u_1", 1);
    drop((cache.under_way(HERE), cache.under_way(HERE)));
    assert_eq!(number(&cache, HERE, 7, "u_1"), Some(1));
    assert_eq!(number(&cache, HERE, 8, "u_1"), None);
    keep(&cache, HERE, 8, "u_1", 2);
    assert_eq!(number(&cache, HERE, 8, "u_1"), Some(2), "the reader followed the file");
}

#[test]
fn what_was_read_before_a_commit_is_not_kept_behind_it() {
    let cache = cache();
    cache.under_way(HERE).committed(&trail(7, 8, &["u_1"]));
    keep(&cache, HERE, 7, "u_1", 1);
    assert_eq!(number(&cache, HERE, 7, "u_1"), None);
    assert_eq!(number(&cache, HERE, 8, "u_1"), None);
}

#[test]
fn an_entry_holds_from_when_it_was_read_until_time_changes_something() {
    let kept = kept(1);
    let held: Vec<bool> = [-1, 0, 59, 60].map(|second| kept.holds_at(at(second))).to_vec();
    assert_eq!(held, [false, true, true, false]);
    let for_ever = Kept { until: None, ..kept };
    assert!(for_ever.holds_at(Timestamp::MAX));
}

#[test]
fn as_many_entries_are_kept_as_are_promised_and_at_most_twice_as_many() {
    let cache = Arc::new(Cache::of_at_most(10));
    let uid = |n: i64| format!("u_{n}");
    let count = |cache: &Cache| {
        let inner = cache.lock();
        inner.young.count + inner.old.count
    };
    for n in 0..1_000 {
        keep(&cache, HERE, 1, &uid(n), n);
        // What is asked for again and again stays.
        if n > 0 {
            assert_eq!(number(&cache, HERE, 1, &uid(0)), Some(0), "after {n}");
        }
        assert!(count(&cache) <= 20, "{}", count(&cache));
    }
    for n in 991..1_000 {
        assert_eq!(number(&cache, HERE, 1, &uid(n)), Some(n));
    }
    assert_eq!(number(&cache, HERE, 1, &uid(500)), None);
    // Lines and worlds that nothing is kept of leave nothing behind.
    cache.under_way(HERE).committed(&trail(2, 3, &[]));
    assert_eq!(count(&cache), 0);
    let inner = cache.lock();
    assert!(inner.young.worlds.is_empty() && inner.old.worlds.is_empty());
}

/// What may happen to a file and its cache. A key is a small number.
#[derive(Clone, Debug)]
enum Happens {
    /// This process runs commands in one transaction, each of which writes to these keys.
    OursRun(Vec<Vec<u8>>),
    /// The transaction is committed, or fails, or nobody knows.
    OursEnd(End),
    /// The cache hears of the oldest command that is committed.
    OursHeard,
    /// Another process commits.
    Theirs(Vec<u8>),
    /// A reader asks for the file's position.
    Asks,
    /// A reader looks up a key at the position that it has, and keeps what it read if it had to.
    LooksUp(u8),
}

#[derive(Clone, Copy, Debug)]
enum End {
    Committed,
    Failed,
    /// On disk, but this process was told of an error.
    Unknown,
}

fn happens() -> impl Strategy<Value = Happens> {
    let keys = || prop::collection::vec(0..4_u8, 0..3);
    prop_oneof![
        2 => prop::collection::vec(keys(), 1..3).prop_map(Happens::OursRun),
        2 => prop_oneof![3 => Just(End::Committed), 1 => Just(End::Failed), 1 => Just(End::Unknown)].prop_map(Happens::OursEnd),
        3 => Just(Happens::OursHeard),
        1 => keys().prop_map(Happens::Theirs),
        3 => Just(Happens::Asks),
        6 => (0..4_u8).prop_map(Happens::LooksUp),
    ]
}

/// A file as it was at each of its positions: a number by key, which grows with each write to it.
struct File(Vec<[i64; 4]>);

impl File {
    fn seq(&self) -> i64 {
        i64::try_from(self.0.len()).unwrap() - 1
    }

    fn at(&self, seq: i64) -> [i64; 4] {
        self.0[usize::try_from(seq).unwrap()]
    }

    /// Each commit makes one event, and one more per key.
    fn write(&mut self, keys: &[u8]) {
        let mut state = self.at(self.seq());
        self.0.push(state);
        for key in keys {
            state[usize::from(*key)] += 1;
            self.0.push(state);
        }
    }
}

proptest! {
    /// Whatever comes in between: what is answered from memory at a position is what the file held
    /// there.
    #[test]
    fn what_is_remembered_for_a_position_is_what_the_file_held_there(
        story in prop::collection::vec(happens(), 1..60)
    ) {
        let cache = cache();
        let mut file = File(vec![[0; 4]]);
        let mut running: Vec<(UnderWay, Vec<u8>)> = Vec::new();
        let mut unheard: std::collections::VecDeque<(UnderWay, Trail)> = std::collections::VecDeque::new();
        let mut position = 0;
        for step in story {
            match step {
                // The next transaction begins when the cache has heard of all of the last.
                Happens::OursRun(commands) if running.is_empty() && unheard.is_empty() => {
                    running = commands.into_iter().map(|keys| (cache.under_way(HERE), keys)).collect();
                }
                Happens::OursEnd(end) => {
                    for (under_way, keys) in running.drain(..) {
                        if matches!(end, End::Failed) {
                            continue;
                        }
                        let from = file.seq();
                        file.write(&keys);
                        if matches!(end, End::Committed) {
                            let uids: Vec<String> = keys.iter().map(u8::to_string).collect();
                            let uids: Vec<&str> = uids.iter().map(String::as_str).collect();
                            unheard.push_back((under_way, trail(from, file.seq(), &uids)));
                        }
                    }
                }
                Happens::OursHeard => {
                    if let Some((under_way, trail)) = unheard.pop_front() {
                        under_way.committed(&trail);
                    }
                }
                // The file's lock is ours while a transaction of ours runs.
                Happens::Theirs(keys) if running.is_empty() => file.write(&keys),
                Happens::Asks => position = file.seq(),
                Happens::LooksUp(key) => {
                    let uid = key.to_string();
                    let held = |seq| file.at(seq)[usize::from(key)];
                    if let Some((kept, seq)) = cache.find(HERE, &uid, "main").entry {
                        prop_assert_eq!(kept.version.as_ref().unwrap().number, held(seq));
                    }
                    match number(&cache, HERE, position, &uid) {
                        Some(found) => prop_assert_eq!(found, held(position)),
                        None => keep(&cache, HERE, position, &uid, held(position)),
                    }
                }
                Happens::OursRun(_) | Happens::Theirs(_) => {}
            }
        }
    }
}
