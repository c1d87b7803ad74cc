//! What is done in a run, made from its seed before anything is done.

use std::time::Duration;

use super::super::chance::Chance;
use crate::id::Mode;
use tillite_simdisk::{Fault, Survive};

/// How many idempotency keys the host of a simulation uses, so that it uses them again and again.
pub(super) const KEYS: u64 = 6;
/// How many buyers it has.
pub(super) const BUYERS: u64 = 3;
/// How many of its own orders it knows.
pub(super) const ORDERS: u64 = 3;

/// What is bought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Goods {
    /// A month of membership.
    Member,
    /// Ten days of a higher tier.
    Gold,
    /// A pen, which grants nothing.
    Pen,
    /// Something that costs nothing.
    Gift,
}

/// One call of the host.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Create {
        key: Option<u64>,
        buyer: u64,
        goods: Goods,
        order: Option<u64>,
    },
    /// Pays the session that was made under a key.
    Pay {
        session: u64,
        key: Option<u64>,
    },
    Expire {
        session: u64,
    },
    Look {
        session: u64,
    },
    Page,
    Grant {
        key: u64,
        buyer: u64,
        days: Option<u32>,
    },
    Revoke {
        buyer: u64,
    },
    Hold {
        buyer: u64,
    },
    Price {
        amount: i64,
    },
    RunDue {
        items: usize,
    },
    Turn(Duration),
    /// Moves the test clock.
    Advance(Duration),
    /// A call of the program that is simulated beside the engine.
    Host(u64),
    /// The disk is repaired.
    Heal,
}

/// What happens between two starts of the engines.
#[derive(Clone, Debug)]
pub(super) struct Round {
    /// What each thread does.
    pub(super) shares: Vec<Vec<Op>>,
    /// What goes wrong with the disk, after how many operations.
    pub(super) faults: Vec<(u64, Fault)>,
    /// After how many reads one fails.
    pub(super) bad_read: Option<u64>,
    /// How the round ends.
    pub(super) end: Survive,
    /// How often a thread hands over where it could, in percent.
    pub(super) eager: u64,
}

/// A whole run.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) mode: Mode,
    pub(super) engines: usize,
    /// Threads that call each engine.
    pub(super) callers: usize,
    pub(super) rounds: Vec<Round>,
}

impl Plan {
    /// What a seed does with so many engines.
    pub(super) fn new(chance: &mut Chance, engines: usize, with_host: bool) -> Plan {
        let mode = if chance.percent(70) { Mode::Test } else { Mode::Live };
        let callers = if chance.percent(30) { 2 } else { 1 };
        let rounds = 2 + chance.below(3);
        let rounds = (0..rounds).map(|_| Round::new(chance, mode, engines * callers, with_host));
        Plan {
            mode,
            engines,
            callers,
            rounds: rounds.collect(),
        }
    }

    /// How many things could be left out of it.
    pub(super) fn len(&self) -> usize {
        self.rounds.iter().map(Round::len).sum()
    }

    /// The same without what is not kept.
    pub(super) fn keeping(&self, kept: &[bool]) -> Plan {
        let mut kept = kept.iter().copied();
        let mut plan = self.clone();
        for round in &mut plan.rounds {
            for share in &mut round.shares {
                share.retain(|_| kept.next().unwrap_or(true));
            }
            round.faults.retain(|_| kept.next().unwrap_or(true));
        }
        plan
    }
}

impl Round {
    fn new(chance: &mut Chance, mode: Mode, threads: usize, with_host: bool) -> Round {
        let share = |chance: &mut Chance| {
            let calls = 4 + chance.below(10);
            (0..calls).map(|_| Op::new(chance, mode, with_host)).collect()
        };
        let shares = (0..threads).map(|_| share(chance)).collect();
        let faults = match chance.below(4) {
            0 => 0,
            1 | 2 => 1,
            _ => 2,
        };
        let faults = (0..faults).map(|_| (chance.below(900), fault(chance))).collect();
        Round {
            shares,
            faults,
            bad_read: chance.percent(10).then(|| chance.below(400)),
            end: match chance.below(3) {
                0 => Survive::OnlySynced,
                1 => Survive::Everything,
                _ => Survive::Random { keep_percent: 50 },
            },
            eager: chance.one_of(1, &[5, 20, 60]),
        }
    }

    fn len(&self) -> usize {
        self.shares.iter().map(Vec::len).sum::<usize>() + self.faults.len()
    }
}

fn fault(chance: &mut Chance) -> Fault {
    match chance.below(10) {
        0..=3 => Fault::PowerCut,
        4 | 5 => Fault::TornPowerCut,
        6 => Fault::IoError,
        7 => Fault::ShortWrite,
        8 => Fault::SyncError,
        _ => Fault::Full,
    }
}

impl Op {
    fn new(chance: &mut Chance, mode: Mode, with_host: bool) -> Op {
        let (key, buyer) = (chance.below(KEYS), chance.below(BUYERS));
        match chance.below(100) {
            0..=21 => Op::Create {
                key: chance.percent(85).then_some(key),
                buyer,
                goods: chance.one_of(Goods::Member, &[Goods::Gold, Goods::Pen, Goods::Gift]),
                order: chance.percent(30).then(|| chance.below(ORDERS)),
            },
            22..=47 => Op::Pay {
                session: key,
                key: chance.percent(40).then(|| chance.below(KEYS)),
            },
            48..=50 => Op::Expire { session: key },
            51..=56 => Op::Look { session: key },
            57..=58 => Op::Page,
            59..=62 => Op::Grant {
                key,
                buyer,
                days: chance
                    .percent(70)
                    .then(|| 1 + u32::try_from(chance.below(20)).unwrap_or(0)),
            },
            63..=64 => Op::Revoke { buyer },
            65..=72 => Op::Hold { buyer },
            73..=74 => Op::Price {
                amount: 100 + i64::try_from(chance.below(3)).unwrap_or(0),
            },
            75..=88 => Op::RunDue {
                items: 1 + usize::try_from(chance.below(20)).unwrap_or(0),
            },
            89..=94 => Op::Turn(Duration::from_secs(chance.one_of(1, &[15, 50, 130, 1_000]))),
            95..=96 if mode == Mode::Test => Op::Advance(Duration::from_secs(3_600 * (1 + chance.below(300)))),
            95..=97 if with_host => Op::Host(chance.next()),
            98 => Op::Heal,
            _ => Op::Hold { buyer },
        }
    }
}
