use super::*;
use crate::hook::{Initiator, Operation};
use crate::samples::{at, eur};

#[test]
fn number_and_expiry_choose_the_method() {
    let check = |number: &str, expiry: &str, expected: &str| {
        assert_eq!(method(number, expiry).unwrap(), expected, "{number} {expiry}");
    };
    for number in ["5123450000000008", "5123 4500 0000 0008"] {
        check(number, "01/39", "sandbox_approved");
        check(number, "05/39", "sandbox_declined");
        check(number, "04/27", "sandbox_expired_card");
        check(number, "08/28", "sandbox_never_answers");
        check(number, "01/37", "sandbox_processor_error");
        check(number, "02/39", "sandbox_unknown_card");
    }
    check("4000 0000 0000 3220", "01/39", "sandbox_challenge");
    check("4000000000003220", "05/39", "sandbox_unknown_card");
    check("4242424242424242", "01/39", "sandbox_unknown_card");
}

#[test]
fn what_is_no_card_is_refused_without_being_repeated() {
    let check = |number: &str, expiry: &str, field: &str| {
        let error = method(number, expiry).unwrap_err();
        assert_eq!(error.field(), Some(field), "{number} {expiry}");
        for given in [number, expiry].iter().filter(|given| given.len() > 3) {
            assert!(!format!("{error} {error:?}").contains(given), "{error:?}");
        }
    };
    for number in [
        "",
        "51234500000",
        "51234500000000080000",
        "5123-4500-0000-0008",
        "512345000000000x",
        "５１２３４５",
    ] {
        check(number, "01/39", "card_number");
    }
    for expiry in [
        "", "01-39", "1/39", "13/39", "00/39", "01/2039", "+1/39", "0139", "01/39/",
    ] {
        check("5123450000000008", expiry, "exp");
    }
}

fn request(method: Option<&str>) -> Request {
    Request {
        attempt: "at_test_1".to_owned(),
        idempotency_key: "key".to_owned(),
        operation: Operation::Charge,
        amount: 999,
        currency: "EUR".to_owned(),
        exponent: 2,
        app: "shop".to_owned(),
        mode: "test".to_owned(),
        session: "cs_test_1".to_owned(),
        initiator: Initiator::BuyerPresent,
        save_method: false,
        method: method.map(str::to_owned),
        customer_ref: None,
        lines: Vec::new(),
        return_url: None,
        context: None,
        related: None,
    }
}

#[test]
fn what_the_sandbox_answers_follows_from_the_method_and_a_look_up_says_the_same() {
    let approved = Outcome::succeeded("sandbox_at_test_1", eur(999));
    let check = |method: Option<&str>, expected: Result<&Outcome, &str>| {
        let request = request(method);
        let answer = Sandbox.execute(&request, at(0));
        let key = LookupKey {
            request: &request,
            reference: None,
        };
        assert_eq!(Sandbox.lookup(&key), Lookup::Found(answer.clone()), "{method:?}");
        match (expected, &answer) {
            (Ok(expected), found) => assert_eq!(found, expected),
            (Err(expected), Outcome::Declined { code, .. }) => assert_eq!(code, expected),
            (Err(expected), found) => panic!("{found:?} in place of {expected}"),
        }
    };
    check(Some(card::APPROVED), Ok(&approved));
    check(Some(card::DECLINED), Err("card_declined"));
    check(Some(card::EXPIRED), Err("expired_card"));
    check(Some(card::PROCESSOR_ERROR), Err("processing_error"));
    check(Some(card::UNKNOWN), Err("unknown_test_card"));
    check(Some("tok_of_somebody_else"), Err("unknown_test_card"));
    check(None, Err("unknown_test_card"));
}

#[test]
fn the_card_that_never_answers_turns_out_to_have_charged_nothing() {
    let request = request(Some(card::NEVER_ANSWERS));
    assert!(matches!(Sandbox.execute(&request, at(0)), Outcome::Unknown { .. }));
    let key = LookupKey {
        request: &request,
        reference: None,
    };
    assert_eq!(Sandbox.lookup(&key), Lookup::NotFound);
    let capabilities = Sandbox.capabilities();
    assert!(capabilities.lookup);
    assert_eq!(capabilities.not_found_final_after, Some(Duration::ZERO));
}

#[test]
fn nothing_in_the_sandbox_looks_like_real_money() {
    let live = Request {
        mode: "live".to_owned(),
        ..request(Some(card::APPROVED))
    };
    let outcome = Sandbox.execute(&live, at(0));
    assert!(matches!(outcome, Outcome::NotSent { .. }), "{outcome:?}");
}
