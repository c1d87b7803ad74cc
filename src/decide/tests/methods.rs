use super::{setting, told};
use crate::change::Change;
use crate::customer::Customer;
use crate::decide::methods::{detach, learn};
use crate::error::{Error, Unusable};
use crate::hook::{Operation, Outcome, Receipt, SavedMethod};
use crate::id::CustomerId;
use crate::payment::{Attempt, Finding, MethodState, PaymentMethod, Verdict};
use crate::samples::{at, customer, eur, id, method, mint};
use crate::time::Timestamp;

pub(super) fn attempt() -> Attempt {
    Attempt {
        id: id(15),
        operation: Operation::Charge,
        subject: "ch".to_owned(),
        processor: "main".to_owned(),
        key: "key".to_owned(),
        request: Vec::new(),
        request_hash: [0; 32],
        reference: None,
        token: 1,
        next: None,
        asked: 0,
        unresolved: false,
        created_at: at(0),
        heard_at: None,
        evidence: 0,
    }
}

fn visa() -> SavedMethod {
    SavedMethod::new("pm_tok_1").brand("visa").last4("4242").expiry(2, 2027)
}

fn weighed(receipt: Receipt) -> Verdict {
    Finding::Executed(Outcome::Succeeded(receipt)).weigh(eur(999), None, None)
}

fn receipt(method: SavedMethod) -> Receipt {
    Receipt::new("r_1", eur(999)).saved_method(method)
}

/// What follows from a success of what was asked for at a second.
fn learned(
    receipt: Receipt,
    asked: i64,
    payer: Option<&Customer>,
    known: Option<PaymentMethod>,
) -> (Verdict, Option<PaymentMethod>, Change) {
    let (mut verdict, mut change) = (weighed(receipt), Change::new());
    let mut mint = mint(3);
    let method = learn(
        &mut verdict,
        (&attempt(), at(asked)),
        payer,
        known,
        &mut setting(&mut mint, 100),
        &mut change,
    );
    (verdict, method, change)
}

#[test]
fn a_success_that_tells_of_a_saved_method_attaches_it_to_the_customer() {
    let (_, saved, change) = learned(receipt(visa()).customer_ref("c_1"), 0, Some(&customer()), None);
    assert_eq!(told(&change), ["payment_method.attached >attached"]);
    let saved = saved.unwrap();
    assert_eq!(
        (saved.token.as_str(), saved.brand.as_deref()),
        ("pm_tok_1", Some("visa"))
    );
    assert_eq!((saved.last4.as_deref(), saved.expiry), (Some("4242"), Some((2, 2027))));
    assert_eq!((saved.customer, saved.attempt), (customer().id, attempt().id));
    let known: Vec<_> = change.references.iter().map(|known| known.reference.as_str()).collect();
    assert_eq!(known, ["c_1"]);
}

#[test]
fn what_is_known_of_a_method_is_written_once_and_brought_up_to_date() {
    let payer = customer();
    let (_, _, change) = learned(receipt(visa()), 0, Some(&payer), Some(method()));
    assert_eq!(told(&change), [""; 0], "nothing is new");
    let renewed = receipt(SavedMethod::new("pm_tok_1").expiry(3, 2031));
    let (_, saved, change) = learned(renewed, 0, Some(&payer), Some(method()));
    assert_eq!(told(&change), ["payment_method.attached attached>attached"]);
    let saved = saved.unwrap();
    assert_eq!(
        (saved.id, saved.brand, saved.expiry),
        (method().id, method().brand, Some((3, 2031)))
    );
}

#[test]
fn a_detached_method_comes_back_only_by_what_was_asked_for_since() {
    let mut change = Change::new();
    let mut mint = mint(4);
    let gone = detach(method(), false, &setting(&mut mint, 50), &mut change);
    assert_eq!(told(&change), ["payment_method.detached attached>detached"]);
    assert_eq!(gone.detached_at, Some(at(50)));
    let mut again = Change::new();
    detach(gone.clone(), false, &setting(&mut mint, 60), &mut again);
    assert_eq!(told(&again), [""; 0], "it is detached once");
    let gone_anew = detach(gone.clone(), true, &setting(&mut mint, 60), &mut again);
    assert_eq!(told(&again), ["payment_method.detached detached>detached"]);
    assert_eq!(gone_anew.detached_at, Some(at(60)));

    let payer = customer();
    let (verdict, saved, change) = learned(receipt(visa()), 50, Some(&payer), Some(gone.clone()));
    assert_eq!((saved, told(&change)), (None, Vec::new()));
    assert_eq!(
        verdict.detail.as_deref(),
        Some("not kept: a payment method that was detached")
    );
    let (_, saved, change) = learned(receipt(visa()), 51, Some(&payer), Some(gone));
    assert_eq!(told(&change), ["payment_method.attached detached>attached"]);
    assert_eq!(saved.map(|method| method.state), Some(MethodState::Attached));
}

#[test]
fn without_a_customer_nothing_is_kept_of_one_and_the_evidence_says_so() {
    let deleted = Customer {
        deleted_at: Some(at(1)),
        ..customer()
    };
    for payer in [None, Some(&deleted)] {
        let (verdict, saved, change) = learned(receipt(visa()).customer_ref("c_1"), 0, payer, None);
        assert_eq!((saved, change.is_empty()), (None, true));
        let detail = verdict.detail.unwrap();
        assert!(detail.contains("not kept: what is told of a customer"), "{detail}");
    }
}

#[test]
fn only_a_success_as_it_was_asked_for_saves_a_method() {
    let other = Receipt::new("r_1", eur(1)).saved_method(visa()).customer_ref("c_1");
    let (_, saved, change) = learned(other, 0, Some(&customer()), None);
    assert_eq!((saved, change.is_empty()), (None, true));
}

#[test]
fn a_method_is_charged_until_its_month_is_over_everywhere_and_for_its_customer_only() {
    let noon = Timestamp::parse_rfc3339("2027-03-01T12:00:00Z").unwrap();
    let last = Timestamp::from_millis(noon.as_millis() - 1).unwrap();
    let gone = PaymentMethod {
        state: MethodState::Detached,
        ..method()
    };
    let endless = PaymentMethod {
        expiry: None,
        ..method()
    };
    let (own, other) = (customer().id, id::<CustomerId>(99));
    for (method, customer, at, expected) in [
        (&method(), Some(&own), last, None),
        (&method(), Some(&own), noon, Some(Unusable::Expired)),
        (&endless, Some(&own), Timestamp::MAX, None),
        (&gone, Some(&own), last, Some(Unusable::Detached)),
        (&gone, Some(&other), last, Some(Unusable::NotOfThisCustomer)),
        (&method(), None, last, Some(Unusable::NotOfThisCustomer)),
    ] {
        let found = match method.chargeable(customer, at) {
            Ok(_) => None,
            Err(Error::MethodUnusable { why, .. }) => Some(why),
            Err(error) => panic!("{error}"),
        };
        assert_eq!(found, expected, "{method:?} {at}");
    }
}
