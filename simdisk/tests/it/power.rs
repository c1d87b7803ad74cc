//! Power cuts in the middle of commits, again and again: with the right settings nothing that was
//! acknowledged is lost, and with wrong ones the campaign notices.
//!
//! `TILLITE_CUTS=10000` makes every campaign as long.

use rusqlite::Connection;
use tillite_simdisk::{Disk, Fault, Survive};

use crate::kit::{Numbers, SAFE, Settings, TABLE, insert, notes, run};

const RANDOM: Survive = Survive::Random { keep_percent: 50 };

/// Power cuts on one disk, before another one begins.
const CUTS_PER_DISK: u64 = 3;

struct Campaign {
    settings: Settings,
    survive: Survive,
    /// A fault from the beginning of each generation on.
    lasting: Option<Fault>,
}

#[derive(Debug, Default)]
struct Report {
    disks: u64,
    cuts: u64,
    acknowledged: u64,
    /// Disks that lost a row which was acknowledged. The rest of their cuts did not take place.
    lost: u64,
    /// Disks with a database that is damaged, or that does not open.
    damaged: u64,
}

/// How many cuts are enough to trust what loses nothing.
const TRUSTED: u64 = 1_000;

/// How many cuts are enough to see that something else loses.
const SUSPECTED: u64 = 200;

fn cuts(default: u64) -> u64 {
    match std::env::var("TILLITE_CUTS") {
        Ok(number) => number.parse().expect("TILLITE_CUTS is a number"),
        Err(_) => default,
    }
}

#[derive(Debug, PartialEq)]
enum Found {
    Everything,
    Lost,
    Damaged,
}

impl Campaign {
    fn run(&self, default: u64) -> Report {
        let cuts = cuts(default);
        let template = self.template();
        let mut report = Report::default();
        let begun = std::time::Instant::now();
        while report.cuts < cuts {
            report.disks += 1;
            match self.disk(&template, report.disks, &mut report) {
                Found::Everything => {}
                Found::Lost => report.lost += 1,
                Found::Damaged => report.damaged += 1,
            }
        }
        let Settings { journal, synchronous } = self.settings;
        let (survive, lasting) = (self.survive, self.lasting);
        let took = begun.elapsed().as_millis();
        println!("{journal} {synchronous} {lasting:?} {survive:?}: {report:?} in {took} ms");
        report
    }

    /// A disk with the table, closed. Setting up is no part of what is promised.
    fn template(&self) -> Disk {
        let disk = Disk::new(0);
        let connection = self.settings.open(&disk, "notes.db").unwrap();
        run(&connection, TABLE).unwrap();
        disk
    }

    fn open(&self, disk: &Disk) -> rusqlite::Result<Connection> {
        let connection = self.settings.open(disk, "notes.db")?;
        // Checkpoints, so that power goes during them too.
        run(&connection, "PRAGMA wal_autocheckpoint=20")?;
        Ok(connection)
    }

    /// One disk: rows are written until the power goes, and what is found is compared.
    fn disk(&self, template: &Disk, seed: u64, report: &mut Report) -> Found {
        let mut numbers = Numbers::new(seed);
        let disk = template.copy(seed);
        let mut connection = self.open(&disk).unwrap();
        let mut rows: Vec<(u64, String)> = Vec::new();
        for _ in 0..CUTS_PER_DISK {
            if let Some(fault) = self.lasting {
                disk.fault_after(0, fault);
            }
            let cut = if numbers.below(2) == 0 {
                Fault::PowerCut
            } else {
                Fault::TornPowerCut
            };
            disk.fault_after(numbers.below(120), cut);
            let in_flight = loop {
                let id = rows.len() as u64 + 1;
                let len = usize::try_from(numbers.below(1500)).unwrap();
                let text = format!("{seed}-{id}-").repeat(len / 8 + 1);
                match insert(&mut connection, id, &text) {
                    Ok(()) => {
                        rows.push((id, text));
                        report.acknowledged += 1;
                    }
                    Err(_) if disk.is_off() => break (id, text),
                    Err(error) => panic!("seed {seed}, row {id}: {error}"),
                }
            };
            report.cuts += 1;
            drop(connection);
            disk.reboot(self.survive);
            let again = self.open(&disk);
            let found = again.and_then(|again| Ok((notes(&again)?, run(&again, "PRAGMA integrity_check")?, again)));
            let Ok((found, integrity, again)) = found else {
                return Found::Damaged;
            };
            if integrity.as_deref() != Some("ok") {
                return Found::Damaged;
            }
            let committed_after_all = found.len() == rows.len() + 1;
            if committed_after_all {
                rows.push(in_flight);
            }
            if found != rows {
                return Found::Lost;
            }
            connection = again;
        }
        Found::Everything
    }
}

#[test]
fn a_full_sync_of_the_log_loses_nothing_that_was_acknowledged() {
    for survive in [RANDOM, Survive::OnlySynced, Survive::Everything] {
        let report = Campaign {
            settings: SAFE,
            survive,
            lasting: None,
        }
        .run(TRUSTED);
        assert!(report.acknowledged > report.cuts, "{report:?}");
        assert_eq!((report.lost, report.damaged), (0, 0), "{survive:?} {report:?}");
    }
}

#[test]
fn a_normal_sync_of_the_log_loses_commits_and_damages_nothing() {
    let settings = Settings {
        synchronous: "NORMAL",
        ..SAFE
    };
    let report = Campaign {
        settings,
        survive: RANDOM,
        lasting: None,
    }
    .run(SUSPECTED);
    assert!(report.lost > 0, "{report:?}");
    assert_eq!(report.damaged, 0, "{report:?}");
}

#[test]
fn a_disk_that_lies_about_syncs_loses_commits() {
    let report = Campaign {
        settings: SAFE,
        survive: RANDOM,
        lasting: Some(Fault::SyncLies),
    }
    .run(SUSPECTED);
    assert!(report.lost > 0, "{report:?}");
}

#[test]
fn a_journal_that_is_deleted_without_a_sync_of_the_directory_loses_the_last_commit() {
    let lazy = Campaign {
        settings: Settings {
            journal: "DELETE",
            synchronous: "FULL",
        },
        survive: RANDOM,
        lasting: None,
    }
    .run(SUSPECTED);
    assert!(lazy.lost > 0, "{lazy:?}");
    assert_eq!(lazy.damaged, 0, "{lazy:?}");
    for (journal, synchronous) in [("DELETE", "EXTRA"), ("TRUNCATE", "FULL")] {
        let careful = Campaign {
            settings: Settings { journal, synchronous },
            survive: RANDOM,
            lasting: None,
        }
        .run(TRUSTED);
        assert_eq!(
            (careful.lost, careful.damaged),
            (0, 0),
            "{journal} {synchronous} {careful:?}"
        );
    }
}

#[test]
fn no_sync_at_all_damages_databases() {
    let settings = Settings {
        synchronous: "OFF",
        ..SAFE
    };
    let report = Campaign {
        settings,
        survive: RANDOM,
        lasting: None,
    }
    .run(SUSPECTED);
    assert!(report.lost > 0 && report.damaged > 0, "{report:?}");
}
