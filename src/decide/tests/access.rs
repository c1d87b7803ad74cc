use super::{assert_repeatable, setting, told};
use crate::change::Change;
use crate::decide::access::{self, Terms};
use crate::entitlement::{Grant, GrantSource, Holding, NewGrant};
use crate::event::{Happening, Subject};
use crate::samples::{at, check_refusal, grant, id, mint};
use crate::text::Metadata;

/// What somebody holds who was granted this much, none of it worked into a version yet.
fn holding(grants: Vec<Grant>) -> Holding {
    Holding {
        grants,
        ..Holding::empty(id(7), "u_1", "main", at(-1))
    }
}

fn terms(tier: &str, rank: i32, seconds: i64, ends: Option<i64>) -> Terms {
    Terms {
        source: GrantSource::Manual,
        tier: tier.to_owned(),
        rank,
        quantity: 1,
        limits: Metadata::default(),
        starts_at: at(seconds),
        ends_at: ends.map(at),
    }
}

fn granted(holding: &mut Holding, terms: Terms, seconds: i64) -> Change {
    let mut change = Change::new();
    let mut mint = mint(1);
    access::grant(holding, terms, &mut setting(&mut mint, seconds), &mut change);
    change
}

fn revoked(holding: &mut Holding, tier: Option<&str>, seconds: i64) -> Change {
    let mut change = Change::new();
    let mut mint = mint(1);
    let falls = |grant: &Grant| tier.is_none_or(|tier| tier == grant.tier);
    access::revoke(holding, falls, "chargeback", &setting(&mut mint, seconds), &mut change);
    change
}

#[test]
fn a_grant_writes_what_time_changed_first_then_the_version_then_itself() {
    let mut held = holding(vec![grant(1, "basic", 0, 0, Some(10))]);
    let change = granted(&mut held, terms("pro", 1, 20, None), 20);
    assert_eq!(
        told(&change),
        [
            "entitlement.granted none>active",
            "entitlement.expired active>expired",
            "entitlement.granted expired>active",
            "grant.created",
        ]
    );
    let times: Vec<_> = change
        .entries
        .iter()
        .filter_map(|entry| match &entry.subject {
            Subject::Entitlement(step) => Some((step.version.number, step.version.changed_at)),
            _ => None,
        })
        .collect();
    assert_eq!(times, [(1, at(0)), (2, at(10)), (3, at(20))]);
    assert_eq!(held.folded_at, at(20));
}

#[test]
fn a_grant_that_changes_nothing_visible_makes_no_version() {
    let mut held = holding(vec![grant(1, "pro", 5, 0, None)]);
    let change = granted(&mut held, terms("basic", 0, 10, None), 10);
    assert_eq!(told(&change), ["entitlement.granted none>active", "grant.created"]);
    assert_eq!(held.newest.as_ref().unwrap().number, 1);
    let change = granted(&mut held, terms("lite", -1, 11, Some(12)), 11);
    assert_eq!(told(&change), ["grant.created"]);
    let [folded] = &change.folded[..] else {
        panic!("{:?}", change.folded);
    };
    assert_eq!((folded.until, folded.next_at), (at(11), Some(at(12))));
}

#[test]
fn revoking_takes_back_what_is_in_force_or_to_come_and_says_so_once() {
    let grants = vec![
        grant(1, "pro", 1, 0, Some(30)),
        grant(2, "pro", 1, 30, Some(60)),
        grant(3, "basic", 0, 0, Some(90)),
        grant(4, "pro", 1, -9, Some(-5)),
    ];
    let mut held = holding(grants);
    let change = revoked(&mut held, Some("pro"), 10);
    assert_eq!(
        told(&change),
        [
            "entitlement.granted none>active",
            "entitlement.updated active>active",
            "grant.revoked",
            "grant.revoked",
        ]
    );
    let taken: Vec<_> = held.grants.iter().map(|grant| grant.revoked_at).collect();
    assert_eq!(taken, [Some(at(10)), Some(at(10)), None, None]);
    assert!(revoked(&mut held, Some("pro"), 11).entries.is_empty());
    let change = revoked(&mut held, None, 12);
    assert_eq!(told(&change), ["entitlement.revoked active>revoked", "grant.revoked"]);
    assert!(revoked(&mut held, None, 13).entries.is_empty());
}

#[test]
fn taking_back_from_nobody_writes_nothing() {
    assert!(revoked(&mut holding(Vec::new()), None, 10).is_empty());
}

#[test]
fn a_lapse_writes_only_what_time_changed() {
    let mut held = holding(vec![grant(1, "pro", 1, 0, Some(10))]);
    for (seconds, expected) in [
        (5, &["entitlement.granted none>active"][..]),
        (9, &[]),
        (10, &["entitlement.expired active>expired"]),
        (99, &[]),
    ] {
        let mut change = Change::new();
        let mut mint = mint(1);
        access::lapse(&mut held, &setting(&mut mint, seconds), &mut change);
        assert_eq!(told(&change), expected, "at {seconds}");
    }
    let last = held.newest.as_ref().unwrap();
    assert_eq!((last.number, last.changed_at), (2, at(10)));
}

#[test]
fn a_grant_by_hand_ends_when_it_says_and_not_in_the_past() {
    let new = || NewGrant::tier("u_1", "pro");
    for (new, expected) in [
        (new(), Ok(None)),
        (new().days(2), Ok(Some(at(2 * 86_400)))),
        (new().until(at(1)), Ok(Some(at(1)))),
        (new().until(at(0)), Err(Some("until"))),
        (new().until(at(-1)), Err(Some("until"))),
    ] {
        let end = access::manual_end(&new, at(0));
        assert_eq!(
            end.as_ref().map_err(crate::Error::field),
            expected.as_ref().map_err(|field| *field)
        );
    }
}

#[test]
fn what_is_granted_by_hand_is_bounded_by_field() {
    let new = || NewGrant::tier("u_1", "pro");
    for (new, refused) in [
        (new(), None),
        (new().days(36_500).quantity(1_000_000), None),
        (new().days(0), Some("days")),
        (new().days(36_501), Some("days")),
        (new().quantity(0), Some("quantity")),
        (new().quantity(1_000_001), Some("quantity")),
        (NewGrant::tier("", "pro"), Some("uid")),
        (NewGrant::tier("u".repeat(201), "pro"), Some("uid")),
        (NewGrant::tier("u_1", "Pro"), Some("tier")),
        (new().idempotency_key(" "), Some("idempotency_key")),
    ] {
        let what = format!("{new:?}");
        check_refusal(&new.checked(), refused, &what);
    }
}

#[test]
fn the_same_grant_on_the_same_rows_gives_the_same_change() {
    assert_repeatable(|change| {
        let mut held = holding(vec![grant(1, "basic", 0, 0, Some(10))]);
        let mut mint = mint(1);
        access::grant(
            &mut held,
            terms("pro", 1, 20, None),
            &mut setting(&mut mint, 20),
            change,
        )
    });
}

#[test]
fn every_move_of_an_entitlement_has_its_own_name() {
    let mut held = holding(Vec::new());
    let mut names = Vec::new();
    let mut keep = |change: Change| {
        let of_entitlement = |happening: &Happening| happening.kind.as_str().starts_with("entitlement.");
        let happenings = change.entries.iter().flat_map(|entry| &entry.happenings);
        names.extend(
            happenings
                .filter(|happening| of_entitlement(happening))
                .map(|happening| happening.kind.as_str()),
        );
    };
    keep(granted(&mut held, terms("pro", 1, 0, Some(10)), 0));
    keep(granted(&mut held, terms("pro", 1, 10, Some(20)), 1));
    keep(granted(&mut held, terms("max", 2, 30, None), 30));
    keep(revoked(&mut held, None, 40));
    keep(granted(&mut held, terms("pro", 1, 50, None), 50));
    assert_eq!(
        names,
        [
            "entitlement.granted",
            "entitlement.updated",
            "entitlement.expired",
            "entitlement.granted",
            "entitlement.revoked",
            "entitlement.granted",
        ]
    );
}
