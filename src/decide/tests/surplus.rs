use super::settlement::{Sale, took};
use super::told;
use crate::hook::{Lookup, Outcome};
use crate::money::{Amount, Currency};
use crate::payment::{ChargeState, Finding, Hold, LatePayments, RefundSource, Resolution};
use crate::samples::eur;

pub(super) fn heard(reference: &str, amount: Amount) -> Finding {
    Finding::Notified(Outcome::succeeded(reference, amount))
}

const KEPT: [&str; 2] = ["charge.succeeded >succeeded", "checkout.session.late_payment"];

#[test]
fn a_second_success_under_another_name_is_a_charge_of_its_own_once() {
    let again = Outcome::succeeded("r_2", eur(999));
    for finding in [
        Finding::Notified(again.clone()),
        Finding::LookedUp(Lookup::Found(again)),
    ] {
        let mut sale = Sale::begun();
        sale.hear(&took(eur(999)));
        let first = sale.charge().clone();
        assert_eq!(told(&sale.learn(&finding)), KEPT);
        assert_eq!(sale.charges()[0], first, "what paid stays as it was");
        let surplus = sale.charge();
        assert_eq!(
            (
                surplus.number,
                surplus.comes_with.as_ref(),
                surplus.reference.as_deref()
            ),
            (2, Some(&first.id), Some("r_2"))
        );
        assert_eq!(
            (surplus.state, surplus.hold, surplus.settles, surplus.captured),
            (ChargeState::Succeeded, Some(Hold::Surplus), false, 999)
        );
        assert_eq!(sale.attempt().reference.as_deref(), Some("r_1"));
        // Both names are known from now on.
        for known in ["r_1", "r_2"] {
            assert_eq!(told(&sale.learn(&heard(known, eur(999)))), [""; 0]);
        }
        assert_eq!(told(&sale.learn(&heard("r_3", eur(5)))), KEPT);
        assert_eq!((sale.charges().len(), sale.charge().captured), (3, 5));
    }
}

#[test]
fn what_was_taken_twice_goes_back_where_the_app_says_so() {
    let mut sale = Sale::begun();
    sale.late_payments = LatePayments::Refund;
    sale.hear(&took(eur(999)));
    let change = sale.learn(&heard("r_2", eur(400)));
    assert!(told(&change).contains(&"refund.created >pending".to_owned()));
    let refund = super::refund_of(&change).unwrap();
    assert_eq!(
        (&refund.charge, refund.source, refund.amount),
        (&sale.charge().id, RefundSource::Surplus, eur(400))
    );
    assert_eq!(
        (sale.charges()[0].refund_reserved, sale.charge().refund_reserved),
        (0, 400)
    );
}

#[test]
fn a_second_success_that_fits_no_row_is_told_of() {
    let dollars = Amount::minor(999, Currency::USD).unwrap();
    for amount in [eur(1_000), Amount::zero(Currency::EUR), dollars] {
        let mut sale = Sale::begun();
        sale.hear(&took(eur(999)));
        assert_eq!(told(&sale.learn(&heard("r_2", amount))), ["charge.unresolved"]);
        assert_eq!(sale.charges().len(), 1);
    }
}

#[test]
fn a_name_that_a_person_gave_is_no_second_payment_beside_the_services() {
    let word = Finding::Resolved {
        resolution: Resolution::succeeded_as("order 77"),
        outcome: Some(Outcome::succeeded("order 77", eur(999))),
        note: "seen".to_owned(),
    };
    let mut sale = Sale::begun();
    sale.late_payments = LatePayments::Refund;
    sale.hear(&word);
    assert_eq!(told(&sale.learn(&heard("r_1", eur(999)))), ["charge.updated"]);
    assert_eq!(sale.charge().reference.as_deref(), Some("r_1"));
    assert_eq!(told(&sale.learn(&heard("r_1", eur(999)))), [""; 0]);
    assert_eq!(sale.charges().len(), 1);
    sale.hear(&heard("r_2", eur(999)));
    assert_eq!(sale.charges().len(), 2, "the service calls both by names of its own");
    // Another amount than the person said is for somebody to see.
    let mut sale = Sale::begun();
    sale.hear(&word);
    assert_eq!(told(&sale.learn(&heard("r_1", eur(998)))), ["charge.unresolved"]);
}
