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
/// Among how many numbers one is drawn that names a session.
const SESSIONS: u64 = 60;

/// What is bought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Goods {
    /// A month of membership.
    Member,
    /// Ten days of a higher tier.
    Gold,
    /// A room, for which an amount is held, and which grants nothing.
    Room,
    /// A pen, which grants nothing.
    Pen,
    /// Something that costs nothing.
    Gift,
}

/// What happens at the payment service that nobody asked for.
#[derive(Clone, Copy, Debug)]
pub(super) enum There {
    /// It takes the money once more.
    TakenAgain,
    /// Somebody gives it back there.
    GivenBack,
    /// The buyer disputes it; where that is so, the bank decides.
    Disputed { is_lost: bool },
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
    Pay {
        session: u64,
        key: Option<u64>,
    },
    /// Pays with the host's own call to the processor.
    PayByHand {
        session: u64,
        /// Minutes between the commit and the call, in which all that falls due is done: a process that
        /// is put to sleep there.
        asleep: u64,
        /// How often the answer is brought; 0: the call is put off.
        answers: u64,
        /// Whether the service tells of it sooner than it answers.
        tells: bool,
    },
    /// Makes the call that was put off first.
    Call {
        answers: u64,
        tells: bool,
    },
    /// The service posts what it has to tell, the newest first but for some, and may have posted before.
    Tell {
        but: u64,
        count: usize,
    },
    /// Something happens at the service that nobody asked for.
    Happen {
        /// Among the payments that it took.
        payment: u64,
        part: i64,
        what: There,
    },
    /// Takes what is held, or a part.
    Capture {
        session: u64,
        part: Option<i64>,
    },
    /// Gives free what is held.
    Void {
        session: u64,
    },
    /// Calls a payment off.
    GiveUp {
        session: u64,
    },
    /// Asks what became of a payment.
    Refresh {
        session: u64,
    },
    /// The buyer does what a payment waits for.
    Act {
        session: u64,
        approves: bool,
    },
    /// Gives back what was paid, or a part.
    Refund {
        session: u64,
        part: Option<i64>,
        /// Whether the service tells of it at once.
        tells: bool,
    },
    /// Has a buyer's payment method saved without taking money.
    Save {
        buyer: u64,
    },
    /// Sells a pen to a buyer whose saved method is charged.
    PaySaved {
        buyer: u64,
    },
    /// Detaches a buyer's saved method.
    Detach {
        buyer: u64,
    },
    Expire {
        session: u64,
    },
    Look {
        session: u64,
    },
    /// Pages through all sessions, so many at a time.
    Page {
        size: u32,
    },
    /// Pages through all events.
    Journal {
        size: u32,
    },
    /// Pages through all deliveries.
    Deliveries {
        size: u32,
    },
    /// Pages through all versions of a buyer's entitlement.
    History {
        buyer: u64,
        size: u32,
    },
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
    /// Does what falls due for some minutes.
    Idle {
        minutes: u64,
    },
    /// Sends what is due with the host's own hands.
    Send {
        items: usize,
        /// Whether the process forgets what it took instead.
        forgets: bool,
    },
    Now,
    Turn(Duration),
    /// Sets the host's clock back, which is looked at before and behind, and sells something.
    TurnBack(Duration),
    /// Moves the test clock.
    Advance(Duration),
    /// A call of the program that is simulated beside the engine.
    Host(u64),
    /// Something goes wrong with the disk, so many operations later.
    Fault {
        after: u64,
        fault: Fault,
    },
    /// The disk is repaired.
    Heal,
}

/// What happens between two starts of the engines.
#[derive(Clone, Debug)]
pub(super) struct Round {
    /// What each thread does.
    pub(super) shares: Vec<Vec<Op>>,
    /// What goes wrong with the disk while the file is opened and soon after, after how many operations.
    pub(super) faults: Vec<(u64, Fault)>,
    /// After how many reads one fails.
    pub(super) bad_read: Option<u64>,
    /// Whether the power goes at its end, in place of a proper close.
    pub(super) is_cut: bool,
    /// What the disk then holds.
    pub(super) end: Survive,
    /// Whether the engine that looked at the file after the last start goes on in this round.
    pub(super) goes_on: bool,
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

/// What the calls of a plan are drawn for.
#[derive(Clone, Copy)]
struct Scene {
    mode: Mode,
    threads: usize,
    /// Whether the host's clock may be set back: what one process showed by a clock, another need not
    /// know of.
    one_process: bool,
    with_host: bool,
}

impl Plan {
    /// What a source of chance does with so many engines.
    pub(super) fn new(chance: &mut Chance, engines: usize, with_host: bool) -> Plan {
        let mode = if chance.percent(70) { Mode::Test } else { Mode::Live };
        let callers = if chance.percent(35) { 2 } else { 1 };
        let scene = Scene {
            mode,
            threads: engines * callers,
            one_process: engines == 1,
            with_host,
        };
        let count = 2 + chance.below(3);
        let mut rounds = Vec::new();
        for _ in 0..count {
            if !chance.is_spent() {
                rounds.push(Round::new(chance, scene));
            }
        }
        Plan {
            mode,
            engines,
            callers,
            rounds,
        }
    }

    /// How many things could be left out of it.
    pub(super) fn len(&self) -> usize {
        self.rounds.iter().map(Round::len).sum()
    }

    /// What shrinking makes less.
    pub(super) fn weight(&self) -> u64 {
        let mut plan = self.clone();
        let after: u64 = plan.faults().into_iter().map(|after| *after).sum();
        after + self.len() as u64 + self.rounds.len() as u64
    }

    /// After how many operations each fault comes.
    pub(super) fn faults(&mut self) -> Vec<&mut u64> {
        let mut found = Vec::new();
        for round in &mut self.rounds {
            found.extend(round.faults.iter_mut().map(|(after, _)| after));
            found.extend(round.shares.iter_mut().flatten().filter_map(|op| match op {
                Op::Fault { after, .. } => Some(after),
                _ => None,
            }));
        }
        found
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
    fn new(chance: &mut Chance, scene: Scene) -> Round {
        let share = |chance: &mut Chance| {
            let calls = 6 + chance.below(14);
            let mut ops = vec![Op::create(chance)];
            for _ in 0..calls {
                if !chance.is_spent() {
                    ops.push(Op::new(chance, scene));
                }
            }
            ops
        };
        let mut shares: Vec<Vec<Op>> = (0..scene.threads).map(|_| share(chance)).collect();
        let mut faults = Vec::new();
        for _ in 0..chance.one_of(0, &[1, 1, 2]) {
            let (after, fault) = (chance.below(60), fault(chance));
            if chance.percent(20) {
                faults.push((after, fault));
                continue;
            }
            let thread = chance.below(shares.len() as u64);
            if let Some(share) = usize::try_from(thread).ok().and_then(|at| shares.get_mut(at)) {
                let at = usize::try_from(chance.below(share.len() as u64)).unwrap_or(0);
                share.insert(at, Op::Fault { after, fault });
            }
        }
        Round {
            shares,
            faults,
            bad_read: chance.percent(10).then(|| chance.below(400)),
            is_cut: chance.percent(60),
            end: match chance.below(3) {
                0 => Survive::OnlySynced,
                1 => Survive::Everything,
                _ => Survive::Random { keep_percent: 50 },
            },
            goes_on: chance.percent(70),
            eager: chance.one_of(1, &[5, 20, 60]),
        }
    }

    /// Whether the disk may fail other than by losing its power.
    pub(super) fn is_shaky(&self) -> bool {
        let armed = self.shares.iter().flatten().filter_map(|op| match op {
            Op::Fault { fault, .. } => Some(*fault),
            _ => None,
        });
        let mut faults = self.faults.iter().map(|(_, fault)| *fault).chain(armed);
        self.bad_read.is_some() || faults.any(|fault| fault != Fault::PowerCut)
    }

    fn len(&self) -> usize {
        self.shares.iter().map(Vec::len).sum::<usize>() + self.faults.len()
    }
}

/// A part of what something costs.
fn part(chance: &mut Chance) -> i64 {
    1 + i64::try_from(chance.below(150)).unwrap_or(0)
}

fn fault(chance: &mut Chance) -> Fault {
    match chance.below(12) {
        0..=3 => Fault::PowerCut,
        4 | 5 => Fault::TornPowerCut,
        6 => Fault::IoError,
        7 => Fault::ShortWrite,
        8..=10 => Fault::SyncError,
        _ => Fault::Full,
    }
}

impl Op {
    fn create(chance: &mut Chance) -> Op {
        Op::Create {
            buyer: chance.below(BUYERS),
            goods: match chance.below(10) {
                0 => Goods::Gift,
                7..=9 => Goods::Room,
                1..=3 => Goods::Member,
                4 | 5 => Goods::Gold,
                _ => Goods::Pen,
            },
            key: chance.percent(75).then(|| chance.below(KEYS)),
            order: chance.percent(30).then(|| chance.below(ORDERS)),
        }
    }

    fn new(chance: &mut Chance, scene: Scene) -> Op {
        if scene.with_host && chance.percent(15) {
            return Op::Host(chance.next());
        }
        let (kind, key, buyer) = (chance.below(157), chance.below(KEYS), chance.below(BUYERS));
        let session = chance.below(SESSIONS);
        let items = 1 + chance.below(20);
        let size = 1 + u32::try_from(chance.below(30)).unwrap_or(0);
        match kind {
            0..=15 => Op::create(chance),
            16..=35 => Op::Pay {
                session,
                key: chance.percent(40).then_some(key),
            },
            36..=40 => Op::PayByHand {
                session,
                asleep: chance.one_of(0, &[0, 0, 1, 4]),
                answers: chance.one_of(1, &[0, 0, 2]),
                tells: chance.percent(30),
            },
            41..=43 => Op::Call {
                answers: 1 + chance.below(2),
                tells: chance.percent(30),
            },
            44..=46 => Op::Expire { session },
            47..=51 => Op::Look { session },
            52..=53 => Op::Page { size },
            54 => Op::Journal { size },
            55 => Op::Deliveries { size },
            56 => Op::History { buyer, size },
            57..=60 => Op::Grant {
                key,
                buyer,
                days: chance
                    .percent(70)
                    .then(|| 1 + u32::try_from(chance.below(20)).unwrap_or(0)),
            },
            61..=62 => Op::Revoke { buyer },
            63..=68 => Op::Hold { buyer },
            69 => Op::Price {
                amount: 100 + i64::try_from(chance.below(3)).unwrap_or(0),
            },
            70..=78 => Op::RunDue {
                items: usize::try_from(items).unwrap_or(1),
            },
            79..=82 => Op::Idle {
                minutes: 1 + chance.below(6),
            },
            83..=84 => Op::Send {
                items: usize::try_from(items).unwrap_or(1),
                forgets: chance.percent(30),
            },
            85..=89 => Op::Turn(Duration::from_secs(chance.one_of(1, &[15, 50, 130, 1_000, 1_900]))),
            90..=91 if scene.one_process => Op::TurnBack(Duration::from_secs(1 + chance.below(20))),
            92..=94 => Op::Now,
            95..=97 if scene.mode == Mode::Test => Op::Advance(Duration::from_secs(3_600 * (1 + chance.below(300)))),
            98 => Op::Heal,
            99..=104 | 153..=156 => Op::Refund {
                session,
                part: chance.percent(70).then(|| part(chance)),
                tells: chance.percent(80),
            },
            105..=108 | 150..=152 => Op::Capture {
                session,
                part: chance.percent(60).then(|| part(chance)),
            },
            109 => Op::Void { session },
            110..=111 => Op::GiveUp { session },
            112..=113 => Op::Refresh { session },
            114..=118 => Op::Act {
                session,
                approves: chance.percent(70),
            },
            119..=123 => Op::Save { buyer },
            124..=127 => Op::PaySaved { buyer },
            128 => Op::Detach { buyer },
            130..=139 => Op::Tell {
                but: chance.one_of(0, &[0, 0, 1, 2, 5, 12]),
                count: chance.one_of(1, &[1, 2, 4]),
            },
            140..=149 => Op::Happen {
                payment: session,
                part: if chance.percent(40) { i64::MAX } else { part(chance) },
                what: match chance.below(9) {
                    0..=3 => There::TakenAgain,
                    4..=5 => There::GivenBack,
                    _ => There::Disputed {
                        is_lost: chance.percent(60),
                    },
                },
            },
            _ => Op::Hold { buyer },
        }
    }
}
