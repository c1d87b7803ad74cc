use std::collections::BTreeSet;
use std::sync::Arc;

use super::*;
use crate::fault::Fault;

const NEW: Mode = Mode {
    create: true,
    must_be_new: false,
    syncs_directory: false,
};

/// As SQLite opens a journal or a log.
const JOURNAL: Mode = Mode {
    syncs_directory: true,
    ..NEW
};

const COIN: Survive = Survive::Random { keep_percent: 50 };

/// A device with a synced file of a few sectors, all ones.
fn with_ones(seed: u64) -> (Device, Ticket) {
    let mut device = Device::new(seed);
    device.put("ones", &[1; 4 * SECTOR]);
    let ticket = device.open(0, "ones", NEW).unwrap();
    (device, ticket)
}

fn sectors(device: &Device, name: &str) -> Vec<u8> {
    let contents = device.contents(name).unwrap();
    contents
        .chunks(SECTOR)
        .map(|sector| {
            assert!(sector.iter().all(|byte| *byte == sector[0]), "a sector is torn");
            sector[0]
        })
        .collect()
}

fn after_reboot(mut device: Device, survive: Survive) -> Vec<u8> {
    device.reboot(survive);
    sectors(&device, "ones")
}

#[test]
fn only_what_was_synced_survives_or_everything() {
    for (survive, expected) in [
        (Survive::OnlySynced, vec![2, 1, 1, 1]),
        (Survive::Everything, vec![2, 3, 1, 1]),
    ] {
        let (mut device, file) = with_ones(1);
        device.write(&file, 0, &[2; SECTOR]).unwrap();
        device.sync(&file).unwrap();
        device.write(&file, SECTOR, &[3; SECTOR]).unwrap();
        assert_eq!(after_reboot(device, survive), expected);
    }
}

#[test]
fn a_random_reboot_gives_each_sector_one_of_its_versions_and_in_the_end_every_one() {
    let mut seen = [const { BTreeSet::new() }; 4];
    for seed in 0..200 {
        let (mut device, file) = with_ones(seed);
        device.write(&file, 0, &[2; 3 * SECTOR]).unwrap();
        device.write(&file, SECTOR, &[3; 2 * SECTOR]).unwrap();
        for (sector, version) in after_reboot(device, COIN).into_iter().enumerate() {
            seen[sector].insert(version);
        }
    }
    assert_eq!(
        seen.map(Vec::from_iter),
        [vec![1, 2], vec![1, 2, 3], vec![1, 2, 3], vec![1]]
    );
}

#[test]
fn whatever_the_probability_some_writes_arrive_whole_and_some_not_at_all() {
    for keep_percent in [0, 100] {
        let found: BTreeSet<Vec<u8>> = (0..50)
            .map(|seed| {
                let (mut device, file) = with_ones(seed);
                device.write(&file, 0, &[2; 4 * SECTOR]).unwrap();
                after_reboot(device, Survive::Random { keep_percent })
            })
            .collect();
        assert_eq!(Vec::from_iter(found), [[1; 4], [2; 4]]);
    }
}

#[test]
fn writes_of_less_than_a_sector_reach_the_medium_as_the_whole_sector_stood() {
    for seed in 0..100 {
        let (mut device, file) = with_ones(seed);
        device.write(&file, 0, &[2; 100]).unwrap();
        device.write(&file, 100, &[2; SECTOR - 100]).unwrap();
        device.reboot(COIN);
        let first = device.contents("ones").unwrap()[..SECTOR].to_vec();
        let versions = [(0, SECTOR), (100, SECTOR - 100), (SECTOR, 0)];
        let possible = versions.map(|(twos, ones)| [vec![2; twos], vec![1; ones]].concat());
        assert!(
            possible.contains(&first),
            "seed {seed}: the second write alone never stood in the sector"
        );
    }
}

#[test]
fn a_length_changes_or_does_not() {
    let lengths: BTreeSet<usize> = (0..50)
        .map(|seed| {
            let (mut device, file) = with_ones(seed);
            device.resize(&file, SECTOR).unwrap();
            after_reboot(device, COIN).len()
        })
        .collect();
    assert_eq!(Vec::from_iter(lengths), [1, 4]);
}

#[test]
fn the_same_seed_and_operations_give_the_same_bytes() {
    let run = |seed| {
        let (mut device, file) = with_ones(seed);
        let log = device.open(0, "log", JOURNAL).unwrap();
        for round in 0..20 {
            device.write(&file, usize::from(round) * 300, &[round; 700]).unwrap();
            device.write(&log, usize::from(round) * 100, &[round; 100]).unwrap();
        }
        device.reboot(COIN);
        (device.contents("ones"), device.contents("log"))
    };
    assert_eq!(run(5), run(5));
    assert!((0..20).any(|seed| run(seed) != run(5)));
}

#[test]
fn when_the_power_is_cut_the_operation_is_not_done_and_nothing_works_until_the_reboot() {
    let (mut device, file) = with_ones(1);
    device.faults().plan(1, Fault::PowerCut);
    device.write(&file, 0, &[2; SECTOR]).unwrap();
    assert_eq!(device.write(&file, SECTOR, &[2; SECTOR]), Err(Failure::Io));
    assert!(device.is_off());
    assert_eq!(device.read(&file, 0, &mut [0]), Err(Failure::Io));
    assert_eq!(device.sync(&file), Err(Failure::Io));
    assert_eq!(device.lock(&file, Level::Shared), Err(Failure::Io));
    assert_eq!(device.exists(0, "ones", true), Err(Failure::Io));
    assert_eq!(device.delete(0, "ones", false), Err(Failure::Io));
    assert!(matches!(device.open(0, "ones", NEW), Err(Failure::Io)));
    assert_eq!(after_reboot(device, Survive::Everything), [2, 1, 1, 1]);
}

#[test]
fn a_torn_write_is_done_by_half() {
    for (fault, off) in [(Fault::TornPowerCut, true), (Fault::ShortWrite, false)] {
        let (mut device, file) = with_ones(1);
        device.faults().plan(0, fault);
        assert_eq!(device.write(&file, 0, &[2; 4 * SECTOR]), Err(Failure::Io));
        assert_eq!(device.is_off(), off);
        assert_eq!(sectors(&device, "ones"), [2, 2, 1, 1]);
        assert_eq!(after_reboot(device, Survive::OnlySynced), [1, 1, 1, 1]);
    }
}

#[test]
fn an_error_strikes_one_operation_of_any_kind_and_leaves_no_trace_of_it() {
    for fault in [Fault::IoError, Fault::ShortWrite] {
        let (mut device, file) = with_ones(1);
        for (operation, name) in (0..).zip(["create", "delete", "truncate"]) {
            device.faults().plan(operation * 2, fault);
            let mut act = || match name {
                "create" => device.open(0, "new", NEW).map(|_| ()),
                "delete" => device.delete(0, "new", false),
                _ => device.resize(&file, SECTOR),
            };
            assert_eq!(act(), Err(Failure::Io), "{name}");
            assert_eq!(act(), Ok(()), "{name} again");
        }
    }
    let (mut device, file) = with_ones(1);
    device.faults().plan(0, Fault::IoError);
    assert_eq!(device.write(&file, 0, &[2; SECTOR]), Err(Failure::Io));
    assert_eq!(sectors(&device, "ones"), [1, 1, 1, 1]);
    device.write(&file, 0, &[2; SECTOR]).unwrap();
}

#[test]
fn a_full_disk_refuses_growth_until_it_is_cleared() {
    let (mut device, file) = with_ones(1);
    device.faults().plan(0, Fault::Full);
    device.write(&file, 0, &[2; SECTOR]).unwrap();
    assert_eq!(device.write(&file, 3 * SECTOR, &[2; 2 * SECTOR]), Err(Failure::Full));
    assert_eq!(sectors(&device, "ones"), [2, 1, 1, 2], "what lies within is written");
    assert_eq!(device.resize(&file, 5 * SECTOR), Err(Failure::Full));
    assert!(matches!(device.open(0, "new", NEW), Err(Failure::Full)));
    device.resize(&file, 3 * SECTOR).unwrap();
    device.sync(&file).unwrap();
    *device.faults() = Faults::default();
    device.write(&file, 3 * SECTOR, &[2; SECTOR]).unwrap();
    device.open(0, "new", NEW).unwrap();
}

#[test]
fn a_file_never_grows_beyond_what_a_damaged_database_may_ask_for() {
    let (mut device, file) = with_ones(1);
    assert_eq!(device.write(&file, usize::MAX / 2, &[2]), Err(Failure::Full));
    assert_eq!(device.resize(&file, LARGEST + 1), Err(Failure::Full));
    assert_eq!(sectors(&device, "ones"), [1, 1, 1, 1]);
}

#[test]
fn what_a_failed_sync_left_out_is_not_written_by_the_next() {
    let mut seen = BTreeSet::new();
    for seed in 0..60 {
        let (mut device, file) = with_ones(seed);
        device.faults().plan(1, Fault::SyncError);
        device.write(&file, 0, &[2; 2 * SECTOR]).unwrap();
        assert_eq!(device.sync(&file), Err(Failure::Io));
        assert_eq!(device.sync(&file), Ok(()), "once");
        assert_eq!(
            sectors(&device, "ones"),
            [2, 2, 1, 1],
            "the cache shows it all the same"
        );
        seen.insert(after_reboot(device, Survive::OnlySynced));
    }
    let all = [[1, 1, 1, 1], [1, 2, 1, 1], [2, 1, 1, 1], [2, 2, 1, 1]];
    assert_eq!(Vec::from_iter(seen), all.map(Vec::from));
}

#[test]
fn each_handle_is_told_once_that_a_sync_failed() {
    let (mut device, file) = with_ones(1);
    let other = device.open(0, "ones", NEW).unwrap();
    device.faults().plan(0, Fault::SyncError);
    assert_eq!(device.sync(&file), Err(Failure::Io));
    let later = device.open(0, "ones", NEW).unwrap();
    assert_eq!(device.sync(&file), Ok(()));
    assert_eq!(device.sync(&later), Ok(()), "opened after it");
    device.write(&other, 0, &[2; SECTOR]).unwrap();
    assert_eq!(device.sync(&other), Err(Failure::Io));
    assert_eq!(device.sync(&other), Ok(()));
    assert_eq!(
        after_reboot(device, Survive::OnlySynced)[0],
        2,
        "what it wrote is there"
    );
}

#[test]
fn what_a_failed_sync_left_out_is_written_once_its_sector_changes_again() {
    for seed in 0..20 {
        let (mut device, file) = with_ones(seed);
        device.faults().plan(1, Fault::SyncError);
        device.write(&file, 0, &[2; 2 * SECTOR]).unwrap();
        device.sync(&file).unwrap_err();
        device.write(&file, 10, &[2]).unwrap();
        device.sync(&file).unwrap();
        assert_eq!(after_reboot(device, Survive::OnlySynced)[0], 2);
    }
}

#[test]
fn a_sync_that_lies_syncs_nothing_until_it_is_cleared() {
    for (cleared, survives) in [(false, 1), (true, 2)] {
        let (mut device, file) = with_ones(1);
        device.faults().plan(0, Fault::SyncLies);
        device.write(&file, 0, &[2; SECTOR]).unwrap();
        device.sync(&file).unwrap();
        if cleared {
            *device.faults() = Faults::default();
            device.sync(&file).unwrap();
        }
        assert_eq!(after_reboot(device, Survive::OnlySynced)[0], survives);
    }
}

#[test]
fn a_directory_lies_about_its_sync_too() {
    let (mut device, _) = with_ones(1);
    device.faults().plan(0, Fault::SyncLies);
    device.delete(0, "ones", true).unwrap();
    device.reboot(Survive::OnlySynced);
    assert!(device.contents("ones").is_some());
}

#[test]
fn one_read_fails_when_it_was_planned() {
    let (mut device, file) = with_ones(1);
    device.faults().plan_read(1);
    let mut byte = [0];
    assert_eq!(device.read(&file, 0, &mut byte), Ok(1));
    assert_eq!(device.read(&file, 0, &mut byte), Err(Failure::Io));
    assert_eq!(device.read(&file, 0, &mut byte), Ok(1));
}

#[test]
fn two_faults_at_one_operation_strike_two() {
    let (mut device, file) = with_ones(1);
    device.faults().plan(0, Fault::IoError);
    device.faults().plan(0, Fault::PowerCut);
    device.write(&file, 0, &[2]).unwrap_err();
    assert!(!device.is_off());
    device.write(&file, 0, &[2]).unwrap_err();
    assert!(device.is_off());
}

#[test]
fn a_name_is_durable_by_a_sync_of_the_directory_and_not_by_one_of_the_file() {
    for (mode, names) in [(NEW, Vec::new()), (JOURNAL, vec!["a", "b"])] {
        let mut device = Device::new(1);
        device.open(0, "a", NEW).unwrap();
        let file = device.open(0, "b", mode).unwrap();
        device.write(&file, 0, &[1]).unwrap();
        device.sync(&file).unwrap();
        device.reboot(Survive::OnlySynced);
        assert_eq!(device.names(), names);
    }
}

#[test]
fn each_handle_of_a_journal_syncs_the_directory_once() {
    let mut device = Device::new(1);
    let first = device.open(0, "log", JOURNAL).unwrap();
    let second = device.open(0, "log", JOURNAL).unwrap();
    device.sync(&first).unwrap();
    device.open(0, "late", NEW).unwrap();
    device.sync(&first).unwrap();
    assert!(!device.names_on_medium.contains_key("late"));
    device.sync(&second).unwrap();
    assert!(device.names_on_medium.contains_key("late"));
}

#[test]
fn an_empty_file_exists_for_whoever_asks_so() {
    let (mut device, _) = with_ones(1);
    device.open(0, "empty", NEW).unwrap();
    let exists = |name, even_empty| device.exists(0, name, even_empty).unwrap();
    assert!(exists("ones", false) && exists("ones", true));
    assert!(!exists("empty", false) && exists("empty", true));
    assert!(!exists("none", false) && !exists("none", true));
}

#[test]
fn a_deleted_file_comes_back_unless_the_directory_was_synced() {
    for (sync, back) in [(false, true), (true, false)] {
        let (mut device, _) = with_ones(1);
        device.delete(0, "ones", sync).unwrap();
        device.reboot(Survive::OnlySynced);
        assert_eq!(device.contents("ones").is_some(), back);
    }
    let found: BTreeSet<bool> = (0..20)
        .map(|seed| {
            let (mut device, _) = with_ones(seed);
            device.delete(0, "ones", false).unwrap();
            device.reboot(COIN);
            device.contents("ones").is_some()
        })
        .collect();
    assert_eq!(found.len(), 2);
}

#[test]
fn a_directory_that_fails_to_sync_is_not_on_the_medium() {
    let (mut device, _) = with_ones(1);
    device.faults().plan(0, Fault::SyncError);
    assert_eq!(device.delete(0, "ones", true), Err(Failure::Io));
    assert_eq!(device.exists(0, "ones", true), Ok(false));
    device.reboot(Survive::OnlySynced);
    assert!(device.contents("ones").is_some());
}

#[test]
fn a_deleted_file_stays_with_its_handles_and_goes_with_the_last() {
    let (mut device, file) = with_ones(1);
    device.delete(0, "ones", true).unwrap();
    let mut byte = [0];
    assert_eq!(device.read(&file, 0, &mut byte), Ok(1));
    assert_eq!(device.files.len(), 1);
    device.close(&file);
    assert_eq!(device.files.len(), 0);
    device.put("closed", &[1]);
    device.delete(0, "closed", true).unwrap();
    assert_eq!(device.files.len(), 0);
}

#[test]
fn journals_that_come_and_go_are_not_kept() {
    let mut device = Device::new(1);
    for _ in 0..100 {
        let journal = device.open(0, "journal", JOURNAL).unwrap();
        device.sync(&journal).unwrap();
        device.close(&journal);
        device.delete(0, "journal", false).unwrap();
    }
    assert!(device.files.len() <= 2, "{}", device.files.len());
}

#[test]
fn a_handle_from_before_a_reboot_does_nothing() {
    let (mut device, old) = with_ones(1);
    device.lock(&old, Level::Shared).unwrap();
    device.reboot(Survive::Everything);
    let new = device.open(1, "ones", NEW).unwrap();
    device.lock(&new, Level::Shared).unwrap();
    assert_eq!(device.write(&old, 0, &[9]), Err(Failure::Io));
    assert_eq!(device.resize(&old, 0), Err(Failure::Io));
    assert_eq!(device.sync(&old), Err(Failure::Io));
    assert_eq!(device.len(&old), Err(Failure::Io));
    assert_eq!(device.lock(&old, Level::Shared), Err(Failure::Io));
    assert_eq!(device.lock_shared(&old, SharedAsk::Shared(1)), Err(Failure::Io));
    assert_eq!(device.delete(0, "ones", false), Err(Failure::Io));
    assert!(matches!(device.open(0, "ones", NEW), Err(Failure::Io)));
    device.unlock(&old, Level::None);
    device.leave_shared(&old);
    device.close(&old);
    device.lock(&new, Level::Reserved).unwrap();
    assert_eq!(sectors(&device, "ones"), [1, 1, 1, 1]);
}

#[test]
fn a_turned_bit_is_read_and_survives_whatever_is_synced() {
    let (mut device, file) = with_ones(1);
    device.write(&file, 0, &[2; SECTOR]).unwrap();
    assert!(device.flip("ones", 7, 7));
    assert!(device.flip("ones", SECTOR, 7), "where nothing waits to be written");
    assert!(!device.flip("ones", 4 * SECTOR, 0), "beyond the end");
    assert!(!device.flip("none", 0, 0));
    device.sync(&file).unwrap();
    device.reboot(Survive::OnlySynced);
    let contents = device.contents("ones").unwrap();
    assert_eq!((contents[6], contents[7], contents[8]), (2, 130, 2));
    assert_eq!(contents[SECTOR], 129);
}

#[test]
fn locks_exclude_as_sqlite_counts_them() {
    use Level::{Exclusive, None, Pending, Reserved, Shared};
    let table = [
        // mine, wanted, highest of the others, what I have then
        (None, Shared, None, Shared),
        (None, Shared, Shared, Shared),
        (None, Shared, Reserved, Shared),
        (None, Shared, Pending, None),
        (None, Shared, Exclusive, None),
        (Shared, Reserved, None, Reserved),
        (Shared, Reserved, Shared, Reserved),
        (Shared, Reserved, Reserved, Shared),
        (Shared, Reserved, Pending, Shared),
        (Reserved, Exclusive, None, Exclusive),
        (Reserved, Exclusive, Shared, Pending),
        (Pending, Exclusive, Shared, Pending),
        (Pending, Exclusive, None, Exclusive),
        (Shared, Exclusive, None, Exclusive),
        (Shared, Exclusive, Shared, Shared),
        (Exclusive, Shared, None, Exclusive),
    ];
    for (mine, wanted, others, then) in table {
        assert_eq!(
            mine.ask(wanted, others),
            then,
            "{mine:?} wants {wanted:?} beside {others:?}"
        );
    }
}

#[test]
fn everybody_sees_that_somebody_will_write() {
    let (mut device, a) = with_ones(1);
    let b = device.open(0, "ones", NEW).unwrap();
    for (level, reserved) in [
        (Level::Shared, false),
        (Level::Reserved, true),
        (Level::Exclusive, true),
    ] {
        device.lock(&a, level).unwrap();
        assert_eq!(device.is_reserved(&b), Ok(reserved), "{level:?}");
    }
}

#[test]
fn locks_in_shared_memory_exclude_by_the_bit() {
    let (mut device, a) = with_ones(1);
    let b = device.open(0, "ones", NEW).unwrap();
    device.lock_shared(&a, SharedAsk::Shared(0b0100)).unwrap();
    device.lock_shared(&b, SharedAsk::Shared(0b0100)).unwrap();
    assert_eq!(device.lock_shared(&b, SharedAsk::Exclusive(0b0110)), Err(Failure::Busy));
    device.lock_shared(&b, SharedAsk::Exclusive(0b0010)).unwrap();
    assert_eq!(device.lock_shared(&a, SharedAsk::Shared(0b0010)), Err(Failure::Busy));
    device.unlock_shared(&b, SharedAsk::Exclusive(0b0010));
    device.lock_shared(&a, SharedAsk::Shared(0b0010)).unwrap();
    device.close(&a);
    device.unlock_shared(&b, SharedAsk::Shared(0b0100));
    device.lock_shared(&b, SharedAsk::Exclusive(0b1111)).unwrap();
}

#[test]
fn shared_memory_is_the_same_for_all_and_gone_with_the_last() {
    let (mut device, a) = with_ones(1);
    let b = device.open(0, "ones", NEW).unwrap();
    assert!(device.region(&a, 0, false).unwrap().is_none());
    let mine = device.region(&a, 1, true).unwrap().unwrap();
    let yours = device.region(&b, 1, false).unwrap().unwrap();
    assert!(Arc::ptr_eq(&mine, &yours));
    device.leave_shared(&a);
    assert!(device.region(&b, 1, false).unwrap().is_some());
    device.close(&b);
    assert!(device.region(&a, 1, false).unwrap().is_none());
}

#[test]
fn bytes_are_as_a_plain_vector_would_have_them() {
    let mut chance = Chance::seeded(3);
    let mut number = |end: usize| usize::try_from(chance.below(end as u64)).unwrap();
    for _ in 0..50 {
        let (mut bytes, mut plain) = (Bytes::default(), Vec::new());
        let mut copies = Vec::new();
        for round in 0..40 {
            let (at, len) = (number(20_000), number(9_000));
            match number(4) {
                0 => {
                    bytes.resize(at);
                    plain.resize(at, 0);
                }
                1 => copies.push((bytes.clone(), plain.clone())),
                _ => {
                    bytes.write(at, &vec![round; len]);
                    if len > 0 {
                        plain.resize(plain.len().max(at + len), 0);
                        plain[at..at + len].fill(round);
                    }
                }
            }
            let mut part = vec![0; len];
            let count = bytes.read(at, &mut part);
            assert_eq!(part[..count], plain[at.min(plain.len())..(at + len).min(plain.len())]);
        }
        copies.push((bytes, plain));
        for (bytes, plain) in copies {
            assert_eq!(bytes.to_vec(), plain);
        }
    }
}
