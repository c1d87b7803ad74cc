use proptest::prelude::*;

use super::*;
use crate::change::{Change, Setting};
use crate::decide::access::{self, Terms};
use crate::event::Subject;
use crate::id::Mode;
use crate::samples::{at, grant, id, mint};

/// What grants amount to at one second: tier, status, end.
type Shown<'a> = Option<(&'a str, Status, Option<i64>)>;

fn check(grants: &[Grant], seconds: i64, expected: Shown<'_>) {
    let found = next_version(None, grants, at(seconds)).map(|version| version.content);
    let expected = expected.map(|(tier, status, end)| (tier.to_owned(), status, end.map(at)));
    assert_eq!(
        found.map(|content| (content.tier, content.status, content.expires_at)),
        expected,
        "at {seconds} of {grants:#?}"
    );
}

fn revoked(mut grant: Grant, seconds: i64) -> Grant {
    grant.revoked_at = Some(at(seconds));
    grant
}

use Status::{Active, Expired, Revoked};

#[test]
fn nothing_shows_before_the_first_grant_starts() {
    check(&[], 0, None);
    check(&[grant(1, "pro", 1, 10, None)], 9, None);
    check(&[grant(1, "pro", 1, 10, None)], 10, Some(("pro", Active, None)));
}

#[test]
fn the_highest_rank_shows_and_the_lower_tier_again_when_it_ends() {
    let grants = [
        grant(1, "basic", 0, 0, Some(100)),
        grant(2, "pro", 5, 10, Some(20)),
        grant(3, "lite", -1, 15, Some(200)),
    ];
    for (seconds, expected) in [
        (9, ("basic", Active, Some(100))),
        (10, ("pro", Active, Some(20))),
        (19, ("pro", Active, Some(20))),
        (20, ("basic", Active, Some(100))),
        (100, ("lite", Active, Some(200))),
        (200, ("lite", Expired, Some(200))),
    ] {
        check(&grants, seconds, Some(expected));
    }
}

#[test]
fn of_equal_ranks_the_newest_shows() {
    let grants = [grant(1, "old", 1, 0, None), grant(2, "new", 1, 10, None)];
    check(&grants, 9, Some(("old", Active, None)));
    check(&grants, 10, Some(("new", Active, None)));
    let same_instant = [grant(2, "b", 1, 0, None), grant(1, "a", 1, 0, None)];
    check(&same_instant, 0, Some(("b", Active, None)));
}

#[test]
fn grants_of_a_tier_that_follow_each_other_show_one_end() {
    let follow = [grant(1, "pro", 1, 0, Some(10)), grant(2, "pro", 1, 10, Some(30))];
    check(&follow, 0, Some(("pro", Active, Some(30))));
    let overlap = [grant(1, "pro", 1, 0, Some(20)), grant(2, "pro", 1, 10, Some(15))];
    check(&overlap, 12, Some(("pro", Active, Some(20))));
    let gap = [grant(1, "pro", 1, 0, Some(10)), grant(2, "pro", 1, 11, Some(30))];
    check(&gap, 0, Some(("pro", Active, Some(10))));
    check(&gap, 10, Some(("pro", Expired, Some(10))));
    let other_tier = [grant(1, "pro", 1, 0, Some(10)), grant(2, "basic", 0, 0, Some(30))];
    check(&other_tier, 0, Some(("pro", Active, Some(10))));
    let taken_back = [follow[0].clone(), revoked(follow[1].clone(), 5)];
    check(&taken_back, 5, Some(("pro", Active, Some(10))));
}

#[test]
fn for_ever_dominates_within_a_tier() {
    let beside = [grant(1, "pro", 1, 0, Some(10)), grant(2, "pro", 1, 5, None)];
    check(&beside, 0, Some(("pro", Active, None)));
    check(&beside, 5, Some(("pro", Active, None)));
    check(&beside, 1_000_000, Some(("pro", Active, None)));
}

#[test]
fn what_is_taken_back_keeps_its_tier_and_is_told_from_what_ran_out() {
    let sold = grant(1, "pro", 1, 0, Some(10));
    check(&[revoked(sold.clone(), 5)], 5, Some(("pro", Revoked, Some(5))));
    check(std::slice::from_ref(&sold), 10, Some(("pro", Expired, Some(10))));
    check(
        &[revoked(grant(1, "pro", 1, 0, None), 5)],
        9,
        Some(("pro", Revoked, Some(5))),
    );
    // What had run out before it was taken back has run out.
    check(&[revoked(sold.clone(), 15)], 15, Some(("pro", Expired, Some(10))));
    // What ended last says how it ended.
    let both = [revoked(sold.clone(), 5), grant(2, "basic", 0, 0, Some(7))];
    check(&both, 6, Some(("basic", Active, Some(7))));
    check(&both, 7, Some(("basic", Expired, Some(7))));
}

#[test]
fn what_is_taken_back_before_it_starts_never_shows() {
    let scheduled = revoked(grant(1, "pro", 1, 10, Some(20)), 5);
    for seconds in [5, 10, 15, 20, 30] {
        check(std::slice::from_ref(&scheduled), seconds, None);
    }
    let beside = [scheduled, grant(2, "basic", 0, 0, Some(5))];
    check(&beside, 15, Some(("basic", Expired, Some(5))));
}

#[test]
fn what_is_taken_back_at_the_instant_at_which_it_starts_is_taken_back() {
    check(
        &[revoked(grant(1, "pro", 1, 5, None), 5)],
        5,
        Some(("pro", Revoked, Some(5))),
    );
}

#[test]
fn quantities_add_up_over_what_is_in_force_of_the_tier() {
    let of = |seed, starts, quantity| Grant {
        quantity,
        ..grant(seed, "seat", 1, starts, Some(starts + 10))
    };
    let grants = [of(1, 0, 3), of(2, 5, 4), of(3, 8, u32::MAX)];
    for (seconds, expected) in [(0, 3), (5, 7), (8, u32::MAX), (10, u32::MAX), (18, u32::MAX)] {
        let version = next_version(None, &grants, at(seconds)).unwrap();
        assert_eq!(version.content.quantity, expected, "at {seconds}");
    }
}

#[test]
fn a_further_purchase_of_a_tier_starts_where_the_latest_ends() {
    let held = [
        grant(1, "pro", 1, 0, Some(30)),
        grant(2, "pro", 1, 0, Some(20)),
        grant(3, "basic", 0, 0, Some(90)),
        revoked(grant(4, "pro", 1, 0, Some(80)), 5),
    ];
    assert_eq!(start_after_latest(&held, "pro", at(10)), at(30));
    assert_eq!(start_after_latest(&held, "pro", at(50)), at(50));
    assert_eq!(start_after_latest(&held, "max", at(10)), at(10));
    let for_ever = [grant(1, "pro", 1, 0, None)];
    assert_eq!(start_after_latest(&for_ever, "pro", at(10)), at(10));
}

#[test]
fn the_next_instant_is_the_next_start_or_end() {
    let grants = [
        grant(1, "pro", 1, 0, Some(30)),
        revoked(grant(2, "pro", 1, 10, Some(40)), 20),
    ];
    for (now, expected) in [(-1, Some(0)), (0, Some(10)), (10, Some(20)), (20, Some(30)), (30, None)] {
        assert_eq!(next_instant(&grants, at(now)), expected.map(at), "after {now}");
    }
}

/// A write: after a pause of some seconds, something is granted or taken back.
#[derive(Clone, Debug)]
struct Write {
    pause: i64,
    deed: Deed,
}

#[derive(Clone, Debug)]
enum Deed {
    /// A tier, for some seconds or for ever, from now on or after what is held of it.
    Grant {
        tier: usize,
        lasts: Option<i64>,
        after: bool,
    },
    Revoke {
        tier: Option<usize>,
    },
}

/// Two of them have one rank.
const TIERS: [(&str, i32); 3] = [("basic", 0), ("pro", 1), ("plus", 1)];

fn any_write() -> impl Strategy<Value = Write> {
    let tier = 0..TIERS.len();
    let granting = (tier.clone(), prop::option::weighted(0.9, 1..8i64), any::<bool>())
        .prop_map(|(tier, lasts, after)| Deed::Grant { tier, lasts, after });
    let revoking = prop::option::of(tier).prop_map(|tier| Deed::Revoke { tier });
    let deed = prop_oneof![3 => granting, 1 => revoking];
    (0..5i64, deed).prop_map(|(pause, deed)| Write { pause, deed })
}

fn any_writes() -> impl Strategy<Value = Vec<Write>> {
    prop::collection::vec(any_write(), 1..12)
}

/// The last second at which anything can happen in a story.
const END: i64 = 200;

/// A holding as a file would keep it, with every version that was written.
struct Story {
    holding: Holding,
    versions: Vec<Version>,
    mint: crate::id::Mint,
}

impl Story {
    fn new() -> Story {
        Story {
            holding: Holding::empty(id(7), "u_1", "main", at(0)),
            versions: Vec::new(),
            mint: mint(9),
        }
    }

    /// Writes something at a second and keeps the versions that this adds.
    fn write(&mut self, seconds: i64, deed: impl FnOnce(&mut Holding, &mut Setting<'_>, &mut Change)) {
        let mut change = Change::new();
        let mut setting = Setting {
            app: "shop",
            mode: Mode::Test,
            now: at(seconds),
            host_now: at(0),
            mint: &mut self.mint,
        };
        deed(&mut self.holding, &mut setting, &mut change);
        for entry in change.entries {
            if let Subject::Entitlement(step) = entry.subject {
                self.versions.push(step.version);
            }
        }
    }

    fn lapse(&mut self, seconds: i64) {
        self.write(seconds, |holding, at, change| access::lapse(holding, at, change));
    }

    fn act(&mut self, seconds: i64, deed: &Deed) {
        self.write(seconds, |holding, setting, change| match deed {
            Deed::Grant { tier, lasts, after } => {
                let (tier, rank) = TIERS[*tier];
                let starts_at = match after {
                    true => start_after_latest(&holding.grants, tier, setting.now),
                    false => setting.now,
                };
                let lasts = lasts.map(|seconds| std::time::Duration::from_secs(seconds.unsigned_abs()));
                let terms = Terms {
                    source: GrantSource::Manual,
                    tier: tier.to_owned(),
                    rank,
                    quantity: 1,
                    limits: Metadata::default(),
                    starts_at,
                    ends_at: lasts.map(|lasts| starts_at.plus(lasts)),
                };
                access::grant(holding, terms, setting, change);
            }
            Deed::Revoke { tier } => {
                let tier = tier.map(|tier| TIERS[tier].0);
                let falls = |grant: &Grant| tier.is_none_or(|tier| tier == grant.tier);
                access::revoke(holding, falls, "test", setting, change);
            }
        });
    }

    /// What a reader at a second sees: every version so far, the last one being current.
    fn seen(&self, seconds: i64) -> Vec<Version> {
        let mut seen = self.versions.clone();
        seen.extend(fold(&self.holding, at(seconds)));
        seen
    }

    /// Plays the writes and works time in up to the end.
    fn played(writes: &[Write]) -> Story {
        Story::played_with(writes, &[])
    }

    /// Plays the writes, working time in at these seconds besides.
    fn played_with(writes: &[Write], lapses: &[i64]) -> Story {
        let mut story = Story::new();
        let mut now = 0;
        for write in writes {
            let until = now + write.pause;
            for seconds in lapses.iter().filter(|seconds| (now..until).contains(*seconds)) {
                story.lapse(*seconds);
            }
            now = until;
            story.act(now, &write.deed);
        }
        for seconds in lapses.iter().filter(|seconds| **seconds >= now) {
            story.lapse(*seconds);
        }
        story.lapse(END);
        story
    }
}

proptest! {
    #[test]
    fn however_often_time_is_worked_in_the_versions_are_the_same(
        writes in any_writes(),
        mut lapses in prop::collection::vec(0..END, 0..20),
    ) {
        lapses.sort_unstable();
        prop_assert_eq!(Story::played(&writes).versions, Story::played_with(&writes, &lapses).versions);
    }

    #[test]
    fn versions_have_no_gap_and_each_differs_from_the_one_before(writes in any_writes()) {
        let versions = Story::played(&writes).versions;
        for (at, version) in versions.iter().enumerate() {
            prop_assert_eq!(version.number, i64::try_from(at).unwrap() + 1);
        }
        for pair in versions.windows(2) {
            prop_assert_ne!(&pair[0].content, &pair[1].content);
            prop_assert!(pair[0].changed_at <= pair[1].changed_at);
        }
    }

    #[test]
    fn active_is_what_some_grant_makes_it_at_any_time(writes in any_writes()) {
        let story = Story::played(&writes);
        for seconds in 0..END {
            let now = at(seconds);
            let live = story.holding.grants.iter().any(|grant| grant.is_live(now));
            let version = story.versions.iter().rfind(|version| version.changed_at <= now);
            let active = version.is_some_and(|version| version.content.status.is_active());
            prop_assert_eq!(active, live, "at {}: {:?}", seconds, version);
        }
    }

    #[test]
    fn a_write_changes_no_version_that_anybody_could_have_seen(writes in any_writes()) {
        let mut story = Story::new();
        let mut now = 0;
        for write in &writes {
            let earlier = now;
            now += write.pause;
            let seen: Vec<Vec<Version>> = (earlier..=now).map(|seconds| story.seen(seconds)).collect();
            story.act(now, &write.deed);
            for seen in seen {
                prop_assert!(story.versions.starts_with(&seen), "{:?} not before {:?}", seen, story.versions);
            }
        }
    }

    #[test]
    fn an_end_that_is_shown_comes_true_if_nobody_intervenes(writes in any_writes()) {
        let mut story = Story::new();
        let mut now = 0;
        for write in &writes {
            now += write.pause;
            story.act(now, &write.deed);
        }
        let standing = story.versions.len().saturating_sub(1);
        story.lapse(END);
        for version in story.versions.iter().skip(standing) {
            let content = &version.content;
            let lives = |seconds| {
                let mut grants = story.holding.grants.iter();
                grants.any(|grant| grant.tier == content.tier && grant.is_live(seconds))
            };
            match content.expires_at {
                _ if content.status != Active => {}
                Some(end) => prop_assert!(!lives(end), "{:?}", version),
                None => prop_assert!(lives(at(END)), "{:?}", version),
            }
        }
    }
}
