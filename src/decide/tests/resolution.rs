use super::methods::attempt;
use super::settlement::{Sale, took};
use super::surplus::heard;
use super::told;
use crate::decide::settlement::{About, Case, finding, finding_of_keeping};
use crate::error::Error;
use crate::hook::Operation;
use crate::payment::{Attempt, Await, Finding, Resolution, Setup, SetupState, Unresolved};
use crate::samples::{at, eur, setup};

#[test]
fn what_is_kept_of_a_second_payment_concerns_that_one_and_not_what_it_came_with() {
    let mut sale = Sale::begun();
    sale.hear(&took(eur(999)));
    sale.hear(&heard("r_2", eur(999)));
    let (first, surplus) = (sale.charges()[0].clone(), sale.charge().clone());
    let keep = |charge| finding_of_keeping(charge, "the buyer takes two".to_owned());
    let found = keep(&surplus).unwrap();
    let change = sale.close(&found);
    assert_eq!(told(&change), ["charge.updated"]);
    assert_eq!(sale.charges()[0], first);
    assert!(sale.charge().hold_closed);
    assert!(keep(sale.charge()).is_none(), "it is so already");
    // Of what paid there is nothing to keep.
    let found = keep(&first).unwrap();
    let change = sale.close(&found);
    assert_eq!(told(&change), [""; 0]);
    assert!(!sale.charges()[0].hold_closed);
}

#[test]
fn keeping_money_leaves_a_look_up_that_is_due_of_its_attempt() {
    let mut sale = Sale::begun();
    sale.hear(&took(eur(999)));
    sale.hear(&heard("r_2", eur(999)));
    let due = Some((Await::Lookup, at(5)));
    sale.attempts[0].next = due;
    let found = finding_of_keeping(sale.charge(), "two".to_owned()).unwrap();
    let _ = sale.close(&found);
    assert_eq!(sale.attempt().next, due);
}

fn asked(next: Option<(Await, i64)>, unresolved: bool) -> Attempt {
    Attempt {
        operation: Operation::Setup,
        next: next.map(|(awaited, seconds)| (awaited, at(seconds))),
        unresolved,
        ..attempt()
    }
}

fn said(setup: &Setup, resolution: Resolution) -> Result<Option<Finding>, Error> {
    let case = Case::of(asked(None, true), Vec::new());
    finding(resolution, "seen".to_owned(), &case, &About::Setup(setup))
}

#[test]
fn a_setup_is_a_case_for_somebody_as_a_payment_is() {
    let why = |setup: &Setup, attempt: &Attempt| About::Setup(setup).unresolved(attempt, at(100));
    let open = setup(SetupState::Unknown);
    let mismatched = Setup {
        mismatched: true,
        ..open.clone()
    };
    assert_eq!(why(&open, &asked(Some((Await::Lookup, 200)), false)), None);
    assert_eq!(why(&mismatched, &asked(None, true)), Some(Unresolved::Mismatch));
    assert_eq!(why(&open, &asked(None, true)), Some(Unresolved::NoLookups));
    assert_eq!(
        why(&open, &asked(Some((Await::Lookup, 200)), true)),
        Some(Unresolved::Silent)
    );
    assert_eq!(
        why(&open, &asked(Some((Await::Lookup, 99)), false)),
        Some(Unresolved::NobodyAsks)
    );
    for over in [SetupState::Succeeded, SetupState::Failed, SetupState::Canceled] {
        assert_eq!(why(&setup(over), &asked(Some((Await::Lookup, 99)), true)), None);
    }
}

#[test]
fn of_a_setup_somebody_can_say_that_it_failed_and_only_that() {
    let open = setup(SetupState::Unknown);
    for word in [Resolution::Failed, Resolution::SettledOutside] {
        assert!(said(&open, word.clone()).unwrap().is_some());
        for over in [SetupState::Failed, SetupState::Canceled] {
            assert!(said(&setup(over), word.clone()).unwrap().is_none(), "{over:?}");
        }
    }
    let refused = said(&open, Resolution::succeeded()).unwrap_err();
    assert!(
        matches!(&refused, Error::Refused(why) if why.object == "setup"),
        "{refused}"
    );
    let known = said(&setup(SetupState::Succeeded), Resolution::succeeded());
    assert!(known.unwrap().is_none(), "it is so already");
}
