//! What somebody may use follows from what was granted and from time, whoever looks and whenever.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use tillite::{
    Budget, Currency, Entitlement, Error, Interval, MAIN_LINE, Metadata, NewGrant, NewPrice, NewProduct, NewSession,
    Status, Timestamp, Unit, WhatNow, Work,
};

use crate::kit::{Shop, euro};

const DAY: Duration = Duration::from_secs(86_400);

/// The membership of rank 1 that every shop has, one above it, and one of another line.
fn shop() -> Shop {
    let shop = Shop::open();
    for product in [
        NewProduct::new("plus", "Plus")
            .rank(2)
            .price(NewPrice::new("plus", euro(299_00)).lasting(Interval::WEEK)),
        NewProduct::new("seat", "Seat")
            .line("seats")
            .price(NewPrice::new("seat", euro(9_00)).lasting(Interval::MONTH)),
    ] {
        shop.app.catalog().set(product).unwrap();
    }
    shop
}

fn buy(shop: &Shop, new: NewSession) {
    let session = shop.app.sessions().create(new).unwrap();
    assert!(shop.app.sessions().pay(&session.id, "tok").unwrap().is_complete());
}

fn get(shop: &Shop, uid: &str) -> Entitlement {
    shop.app.entitlements().get(uid).unwrap()
}

fn sweep(shop: &Shop) {
    shop.engine.run_due(Budget::items(1_000).work(Work::TIME)).unwrap();
}

#[test]
fn a_sale_lasts_as_long_as_its_price_says() {
    fn check(name: &str, price: impl Fn(NewPrice) -> NewPrice, days: Option<u32>) {
        let shop = shop();
        let price = price(NewPrice::new("timed", euro(5_00)));
        shop.app
            .catalog()
            .set(NewProduct::new("timed", "Timed").price(price))
            .unwrap();
        buy(&shop, NewSession::tier("timed", Currency::EUR).customer("u_1"));
        let held = get(&shop, "u_1");
        let now = shop.app.now().unwrap();
        let end = days.map(|days| now.plus(days * DAY));
        assert_eq!(
            (
                held.tier.as_str(),
                held.status,
                held.active,
                held.version,
                held.expires_at
            ),
            ("timed", Status::Active, true, 1, end),
            "{name}"
        );
        assert_eq!((held.changed_at, held.quantity), (Some(now), 1), "{name}");
        if let Some(days) = days {
            // Until the end and not a millisecond longer.
            let millisecond = Duration::from_millis(1);
            shop.clock.turn((days * DAY).checked_sub(millisecond).unwrap());
            assert!(get(&shop, "u_1").active, "{name}");
            shop.clock.turn(millisecond);
            let ended = get(&shop, "u_1");
            assert_eq!((ended.status, ended.version), (Status::Expired, 2), "{name}");
            assert_eq!(ended.changed_at, end, "{name}");
        } else {
            shop.clock.turn(40_000 * DAY);
            assert!(get(&shop, "u_1").active, "{name}");
        }
        shop.clean();
    }
    check("a day", |price| price.lasting(Interval::DAY), Some(1));
    check("a week", |price| price.lasting(Interval::WEEK), Some(7));
    check("a month", |price| price.lasting(Interval::MONTH), Some(30));
    check("a year", |price| price.lasting(Interval::YEAR), Some(365));
    check(
        "three months",
        |price| price.lasting(Interval::new(Unit::Month, 3).unwrap()),
        Some(90),
    );
    check("days of its own", |price| price.access_days(10), Some(10));
    check(
        "days of its own over an interval",
        |price| price.lasting(Interval::MONTH).access_days(12),
        Some(12),
    );
    check("for ever", |price| price, None);
}

#[test]
fn a_sale_raises_its_beneficiary_and_nobody_else() {
    let shop = shop();
    let gift = NewSession::tier("member", Currency::EUR)
        .customer("u_payer")
        .for_uid("u_friend");
    buy(&shop, gift);
    assert!(get(&shop, "u_friend").active);
    assert_eq!(get(&shop, "u_payer").status, Status::None);
    buy(&shop, NewSession::tier("member", Currency::EUR).customer("u_payer"));
    assert!(get(&shop, "u_payer").active);
    // A guest's sale is nobody's entitlement; an inline line grants nothing.
    buy(&shop, NewSession::tier("member", Currency::EUR));
    let inline = tillite::NewLine::inline("Mug", euro(12_00));
    buy(&shop, NewSession::empty().line(inline).customer("u_mug"));
    assert_eq!(get(&shop, "u_mug").status, Status::None);
    assert!(shop.app.entitlements().list("u_mug").unwrap().is_empty());
    shop.clean();
}

#[test]
fn who_was_never_granted_anything_is_free() {
    let shop = shop();
    let held = get(&shop, "nobody");
    assert_eq!(
        (held.tier.as_str(), held.status, held.version),
        ("free", Status::None, 0)
    );
    assert!(!held.active);
    assert_eq!((held.expires_at, held.changed_at, held.quantity), (None, None, 0));
    assert_eq!(
        (held.app.as_str(), held.uid.as_str(), held.line.as_str()),
        ("lixblogs", "nobody", MAIN_LINE)
    );
    assert!(shop.app.entitlements().list("nobody").unwrap().is_empty());
    let history = shop.app.entitlements().history("nobody", MAIN_LINE, 10, None).unwrap();
    assert!(history.data.is_empty());
    let error = shop.app.entitlements().version("nobody", MAIN_LINE, 1).unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }));
    assert!(
        shop.app
            .entitlements()
            .revoke("nobody", None, "nothing")
            .unwrap()
            .is_empty()
    );
    assert_eq!(get(&shop, "nobody"), held);
}

#[test]
fn a_second_purchase_of_a_tier_follows_the_first() {
    let shop = shop();
    let start = shop.app.now().unwrap();
    buy(&shop, NewSession::tier("member", Currency::EUR).customer("u_1"));
    shop.clock.turn(10 * DAY);
    buy(&shop, NewSession::tier("member", Currency::EUR).customer("u_1"));
    let held = get(&shop, "u_1");
    assert_eq!((held.version, held.expires_at), (2, Some(start.plus(60 * DAY))));
    // Where one purchase ends and the next begins nothing shows.
    shop.clock.turn(25 * DAY);
    sweep(&shop);
    assert_eq!(get(&shop, "u_1"), held);
    shop.clock.turn(25 * DAY);
    let ended = get(&shop, "u_1");
    assert_eq!((ended.version, ended.status), (3, Status::Expired));
    // One more after a pause starts when it is bought.
    shop.clock.turn(5 * DAY);
    buy(&shop, NewSession::tier("member", Currency::EUR).customer("u_1"));
    let again = get(&shop, "u_1");
    assert_eq!((again.version, again.expires_at), (4, Some(start.plus(95 * DAY))));
    shop.clean();
}

#[test]
fn the_higher_rank_shows_and_then_the_next_that_is_in_force() {
    let shop = shop();
    let start = shop.app.now().unwrap();
    buy(&shop, NewSession::tier("member", Currency::EUR).customer("u_1"));
    buy(&shop, NewSession::tier("plus", Currency::EUR).customer("u_1"));
    let plus = get(&shop, "u_1");
    assert_eq!((plus.tier.as_str(), plus.version), ("plus", 2));
    assert_eq!(plus.expires_at, Some(start.plus(7 * DAY)));
    shop.clock.turn(7 * DAY);
    let member = get(&shop, "u_1");
    assert_eq!(
        (member.tier.as_str(), member.status, member.version),
        ("member", Status::Active, 3)
    );
    assert_eq!(
        (member.expires_at, member.changed_at),
        (Some(start.plus(30 * DAY)), Some(start.plus(7 * DAY)))
    );
    // The lower tier bought again while the higher shows changes nothing that shows.
    buy(&shop, NewSession::tier("plus", Currency::EUR).customer("u_1"));
    let version = get(&shop, "u_1").version;
    buy(&shop, NewSession::tier("member", Currency::EUR).customer("u_1"));
    assert_eq!(get(&shop, "u_1").version, version);
    shop.clock.turn(7 * DAY);
    assert_eq!(get(&shop, "u_1").expires_at, Some(start.plus(60 * DAY)));
    // The last to end is what is remembered.
    shop.clock.turn(60 * DAY);
    let ended = get(&shop, "u_1");
    assert_eq!((ended.tier.as_str(), ended.status), ("member", Status::Expired));
    shop.clean();
}

#[test]
fn lines_stand_side_by_side() {
    let shop = shop();
    let seats = tillite::NewLine::tier("seat", Currency::EUR).quantity(5);
    buy(
        &shop,
        NewSession::tier("member", Currency::EUR).line(seats).customer("u_1"),
    );
    let list = shop.app.entitlements().list("u_1").unwrap();
    let shown: Vec<_> = list
        .iter()
        .map(|held| (held.line.as_str(), held.tier.as_str(), held.quantity, held.version))
        .collect();
    assert_eq!(shown, [("main", "member", 1, 1), ("seats", "seat", 5, 1)]);
    assert_eq!(shop.app.entitlements().get_in("u_1", "seats").unwrap(), list[1]);
    assert_eq!(get(&shop, "u_1"), list[0]);
    assert_eq!(
        shop.app.entitlements().get_in("u_1", "other").unwrap().status,
        Status::None
    );
    shop.app
        .entitlements()
        .revoke("u_1", Some("seat"), "no longer needed")
        .unwrap();
    assert!(get(&shop, "u_1").active);
    assert_eq!(
        shop.app.entitlements().get_in("u_1", "seats").unwrap().status,
        Status::Revoked
    );
    shop.clean();
}

#[test]
fn a_grant_by_hand_ends_when_it_is_told_and_counts_once_per_key() {
    let shop = shop();
    let now = shop.app.now().unwrap();
    let grant = |new: NewGrant| shop.app.entitlements().grant(new).unwrap();
    let limits = Metadata::new([("projects", "3")]).unwrap();
    let days = NewGrant::tier("u_days", "member")
        .days(3)
        .quantity(2)
        .limits(limits.clone())
        .idempotency_key("k_1");
    let held = grant(days.clone());
    assert_eq!((held.expires_at, held.quantity), (Some(now.plus(3 * DAY)), 2));
    assert_eq!(held.limits, limits);
    assert_eq!(grant(NewGrant::tier("u_ever", "member")).expires_at, None);
    let until = now.plus(Duration::from_millis(1));
    assert_eq!(
        grant(NewGrant::tier("u_until", "member").until(until)).expires_at,
        Some(until)
    );

    // The same key and request grant once, later too; another request under it is refused.
    assert_eq!(grant(days.clone()), held);
    shop.clock.turn(DAY);
    assert_eq!(grant(days.clone()), held);
    assert_eq!(get(&shop, "u_days"), held);
    let before = shop.engine.dump().unwrap();
    let error = shop.app.entitlements().grant(days.clone().days(4)).unwrap_err();
    assert!(matches!(error, Error::IdempotencyConflict { .. }));
    let error = shop
        .app
        .entitlements()
        .grant(NewGrant::tier("u_9", "unheard_of"))
        .unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }));
    assert_eq!(error.what_now(), WhatNow::FixInput);
    assert_eq!(shop.engine.dump().unwrap(), before);
    // Without a key each call adds one.
    grant(NewGrant::tier("u_ever", "member"));
    assert_eq!(get(&shop, "u_ever").quantity, 2);
    shop.clean();
}

#[test]
fn taking_back_ends_one_tier_or_all_at_once() {
    let shop = shop();
    for tier in ["member", "plus"] {
        shop.app.entitlements().grant(NewGrant::tier("u_1", tier)).unwrap();
    }
    shop.app.entitlements().grant(NewGrant::tier("u_1", "seat")).unwrap();
    assert_eq!(get(&shop, "u_1").tier, "plus");
    shop.clock.turn(DAY);
    let revoke = |tier, reason| shop.app.entitlements().revoke("u_1", tier, reason).unwrap();
    let after = revoke(Some("plus"), "asked for");
    assert_eq!(get(&shop, "u_1"), after[0]);
    assert_eq!((after[0].tier.as_str(), after[0].active), ("member", true));
    shop.clock.turn(DAY);
    let now = shop.app.now().unwrap();
    let all = revoke(None, "closed the account");
    for held in &all {
        assert_eq!((held.status, held.active), (Status::Revoked, false));
        assert_eq!((held.expires_at, held.changed_at), (Some(now), Some(now)));
    }
    assert_eq!(all.len(), 2);
    assert_eq!(get(&shop, "u_1").tier, "member", "the tier that there was last");
    // Taking back what is gone already writes nothing.
    let events = shop.app.journal_head().unwrap();
    assert_eq!(revoke(None, "again"), all);
    assert_eq!(shop.app.journal_head().unwrap(), events);
    // What is bought afterwards counts.
    buy(&shop, NewSession::tier("member", Currency::EUR).customer("u_1"));
    assert_eq!(get(&shop, "u_1").status, Status::Active);
    shop.clean();
}

#[test]
fn what_is_granted_and_taken_back_while_engine_time_stands_still_is_gone() {
    let shop = shop();
    shop.engine.run_due(Budget::items(1)).unwrap();
    sweep(&shop);
    // The host's clock was set back: until it catches up, every write has the same engine time.
    for uid in ["u_ever", "u_days", "u_sale"] {
        match uid {
            "u_ever" => drop(shop.app.entitlements().grant(NewGrant::tier(uid, "member")).unwrap()),
            "u_days" => drop(
                shop.app
                    .entitlements()
                    .grant(NewGrant::tier(uid, "member").days(9))
                    .unwrap(),
            ),
            _ => buy(&shop, NewSession::tier("member", Currency::EUR).customer(uid)),
        }
        shop.clock.turn_back(Duration::from_secs(60));
        let after = shop.app.entitlements().revoke(uid, None, "a mistake").unwrap();
        assert_eq!(
            (after[0].status, after[0].active, after[0].version),
            (Status::Revoked, false, 2),
            "{uid}"
        );
        assert_eq!(get(&shop, uid), after[0]);
        let versions = shop.app.entitlements().history(uid, MAIN_LINE, 10, None).unwrap().data;
        assert_eq!(versions.len(), 2, "{uid}");
    }
    shop.clock.turn(100 * DAY);
    sweep(&shop);
    assert!(!get(&shop, "u_ever").active);
    shop.clean();
}

#[test]
fn history_is_read_by_number_and_by_time_with_lapses_that_nobody_stored_yet() {
    let shop = shop();
    let start = shop.app.now().unwrap();
    shop.clock.turn(DAY);
    buy(&shop, NewSession::tier("plus", Currency::EUR).customer("u_1"));
    buy(&shop, NewSession::tier("member", Currency::EUR).customer("u_1"));
    shop.clock.turn(40 * DAY);
    let entitlements = shop.app.entitlements();
    let reads = || {
        let at = |days: u32| entitlements.as_of("u_1", MAIN_LINE, start.plus(days * DAY)).unwrap();
        let shown = |held: Entitlement| (held.version, held.tier, held.status);
        let by_time = [0, 1, 7, 8, 30, 31, 41].map(|days| shown(at(days)));
        let by_number = [1, 2, 3].map(|number| entitlements.version("u_1", MAIN_LINE, number).unwrap());
        let page = entitlements.history("u_1", MAIN_LINE, 2, None).unwrap();
        assert!(page.has_more);
        let rest = entitlements
            .history("u_1", MAIN_LINE, 2, page.data.last().map(|held| held.version))
            .unwrap();
        assert!(!rest.has_more);
        let pages: Vec<Entitlement> = page.data.into_iter().chain(rest.data).collect();
        (by_time, by_number, pages)
    };
    let (by_time, by_number, pages) = reads();
    let free = || (0, "free".to_owned(), Status::None);
    let plus = || (1, "plus".to_owned(), Status::Active);
    let member = || (2, "member".to_owned(), Status::Active);
    let ended = || (3, "member".to_owned(), Status::Expired);
    assert_eq!(by_time, [free(), plus(), plus(), member(), member(), ended(), ended()]);
    let mut newest_first = by_number.to_vec();
    newest_first.reverse();
    assert_eq!(pages, newest_first);
    let error = entitlements.as_of("u_1", MAIN_LINE, start.plus(42 * DAY)).unwrap_err();
    assert_eq!(error.field(), Some("at"));
    let error = entitlements.version("u_1", MAIN_LINE, 4).unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }));
    let before = (by_time, by_number, pages);
    sweep(&shop);
    assert_eq!(reads(), before);
    shop.clean();
}

#[test]
fn each_version_has_one_event_and_expiry_needs_no_daemon() {
    let shop = shop();
    buy(&shop, NewSession::tier("plus", Currency::EUR).customer("u_1"));
    buy(&shop, NewSession::tier("member", Currency::EUR).customer("u_1"));
    shop.clock.turn(40 * DAY);
    // A write to the same holding stores what time did before it, in order.
    shop.app
        .entitlements()
        .grant(NewGrant::tier("u_1", "plus").days(1))
        .unwrap();
    shop.app.entitlements().revoke("u_1", None, "over").unwrap();
    let events = shop.app.events(100, 0).unwrap().data;
    let of_entitlement: Vec<_> = events
        .iter()
        .filter(|event| event.kind.starts_with("entitlement."))
        .map(|event| (event.kind.as_str(), event.sequence))
        .collect();
    assert_eq!(
        of_entitlement,
        [
            ("entitlement.granted", 1),
            ("entitlement.updated", 2),
            ("entitlement.expired", 3),
            ("entitlement.granted", 4),
            ("entitlement.revoked", 5),
        ]
    );
    let versions = shop.app.entitlements().history("u_1", MAIN_LINE, 100, None).unwrap();
    assert_eq!(versions.data.len(), 5);
    shop.clean();
}

/// One step of a random life.
#[derive(Clone, Debug)]
enum Step {
    Grant { tier: usize, days: Option<u32> },
    Buy { tier: usize },
    Revoke { tier: Option<usize> },
    Wait { hours: u32 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..4_usize, proptest::option::weighted(0.9, 1..15_u32)).prop_map(|(tier, days)| Step::Grant { tier, days }),
        2 => (0..4_usize).prop_map(|tier| Step::Buy { tier }),
        1 => proptest::option::of(0..4_usize).prop_map(|tier| Step::Revoke { tier }),
        4 => (1..24 * 12_u32).prop_map(|hours| Step::Wait { hours }),
    ]
}

/// Two memberships of one rank, one above and one below; every one lasts days of its own.
const TIERS: [(&str, i32, u32); 4] = [("low", 0, 9), ("left", 1, 5), ("right", 1, 4), ("high", 2, 2)];

fn ranked() -> Shop {
    let shop = Shop::open();
    for (tier, rank, days) in TIERS {
        let price = NewPrice::new(tier, euro(1_00)).access_days(days);
        shop.app
            .catalog()
            .set(NewProduct::new(tier, tier).rank(rank).price(price))
            .unwrap();
    }
    shop
}

fn live(shop: &Shop, step: &Step) {
    let tier = |at: usize| TIERS[at].0;
    match step {
        Step::Grant { tier: at, days } => {
            let grant = NewGrant::tier("u", tier(*at));
            let grant = match days {
                Some(days) => grant.days(*days),
                None => grant,
            };
            shop.app.entitlements().grant(grant).unwrap();
        }
        Step::Buy { tier: at } => buy(shop, NewSession::tier(tier(*at), Currency::EUR).customer("u")),
        Step::Revoke { tier: at } => {
            shop.app.entitlements().revoke("u", at.map(tier), "a whim").unwrap();
        }
        Step::Wait { hours } => shop.clock.turn(*hours * Duration::from_secs(3_600)),
    }
}

/// Everything that can be read: now, every version, and the state at each hour of some days.
fn everything(shop: &Shop, from: Timestamp) -> (Entitlement, Vec<Entitlement>, Vec<Entitlement>) {
    let entitlements = shop.app.entitlements();
    let now = shop.app.now().unwrap();
    let mut versions = entitlements.history("u", MAIN_LINE, 100, None).unwrap().data;
    versions.reverse();
    let hours = now.since(from).as_secs() / 3_600;
    let times = (0..=hours).step_by(7).chain([hours]);
    let by_time = times
        .map(|hour| {
            let at = from.plus(Duration::from_secs(3_600 * hour));
            entitlements.as_of("u", MAIN_LINE, at).unwrap()
        })
        .collect();
    (get(shop, "u"), versions, by_time)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_read_before_the_sweep_is_the_read_after_it(steps in proptest::collection::vec(step(), 1..14)) {
        let (eager, lazy) = (ranked(), ranked());
        let from = lazy.app.now().unwrap();
        let mut seen: BTreeMap<i64, Entitlement> = BTreeMap::new();
        for step in &steps {
            live(&eager, step);
            live(&lazy, step);
            // The one stores what time did at every step, the other only where a write must.
            sweep(&eager);
            let read = everything(&lazy, from);
            prop_assert_eq!(&everything(&eager, from), &read);
            for version in &read.1 {
                let known = seen.entry(version.version).or_insert_with(|| version.clone());
                prop_assert_eq!(&*known, version, "one version, one content");
            }
            let numbers: Vec<i64> = read.1.iter().map(|version| version.version).collect();
            prop_assert_eq!(numbers, (1..=i64::try_from(read.1.len()).unwrap()).collect::<Vec<_>>());
        }
        let read = everything(&lazy, from);
        sweep(&lazy);
        prop_assert_eq!(&everything(&lazy, from), &read);
        let mut of_entitlement = 0;
        let mut position = 0;
        loop {
            let page = lazy.app.events(100, position).unwrap();
            of_entitlement += page.data.iter().filter(|event| event.kind.starts_with("entitlement.")).count();
            position = page.data.last().map_or(position, |event| event.position);
            if !page.has_more {
                break;
            }
        }
        prop_assert_eq!(of_entitlement, read.1.len(), "one event per version");
        for shop in [&eager, &lazy] {
            shop.clean();
        }
    }
}

#[test]
fn purchases_that_reach_the_end_of_time_are_granted_for_ever() {
    let shop = Shop::open_in(tillite::Mode::Live);
    let thousand_years = Interval::new(Unit::Year, 1_000).unwrap();
    let price = NewPrice::new("member", euro(10_00)).lasting(thousand_years);
    let price = shop.app.catalog().set_price(price).unwrap();
    for bought in 1..=10 {
        let new = NewSession::price(&price.id).customer("u_1");
        let session = shop.app.sessions().create(new).unwrap();
        assert!(shop.pay(&session).unwrap().is_complete());
        let held = shop.app.entitlements().get("u_1").unwrap();
        assert!(held.active);
        assert_eq!(held.expires_at.is_none(), bought >= 9, "{bought}");
    }
    shop.clean();
}
