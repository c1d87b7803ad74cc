use proptest::prelude::*;

use super::currency::Use;
use super::table::CURRENCIES;
use super::*;

pub(super) fn amount(minor: i64, currency: Currency) -> Amount {
    Amount::minor(minor, currency).unwrap()
}

pub(super) fn any_currency() -> impl Strategy<Value = Currency> {
    (0..CURRENCIES.len()).prop_map(|at| Currency::parse(CURRENCIES[at].0).unwrap())
}

pub(super) fn any_minor() -> impl Strategy<Value = i64> {
    prop_oneof![
        0..=1_000i64,
        0..=Amount::MAX_MINOR,
        Amount::MAX_MINOR - 10..=Amount::MAX_MINOR
    ]
}

#[test]
fn the_table_agrees_with_a_maintained_list_in_both_directions() {
    use iso_currency::{Currency as Iso, IntoEnumIterator as _};
    let mut compared = 0;
    for iso in Iso::iter() {
        let found = CURRENCIES.iter().find(|(code, ..)| *code == iso.code());
        let Some(exponent) = iso.exponent() else {
            assert!(found.is_none(), "{} has no minor unit", iso.code());
            continue;
        };
        let (_, ours, used) = found.unwrap_or_else(|| panic!("{} is missing", iso.code()));
        assert_eq!(u16::from(*ours), exponent, "{}", iso.code());
        let expected = match iso.is_superseded() {
            // ISO 4217 lists VES beside VED, both in use; the compared list calls it replaced.
            Some(_) if iso != Iso::VES => Use::Historic,
            _ if iso.is_fund() || iso.is_special() => Use::Fund,
            _ => Use::Money,
        };
        assert_eq!(*used, expected, "{}", iso.code());
        compared += 1;
    }
    assert_eq!(compared, CURRENCIES.len(), "no code of ours is unknown there");
    assert!(CURRENCIES.is_sorted_by_key(|(code, ..)| *code));
    for constant in Currency::CONSTANTS {
        assert_eq!(Currency::parse(constant.code()).unwrap(), *constant);
    }
}

#[test]
fn the_four_numbers_of_decimals_print_and_parse() {
    for (text, minor, currency) in [
        ("1500", 1_500, Currency::JPY),
        ("0", 0, Currency::JPY),
        ("12.34", 1_234, Currency::EUR),
        ("0.05", 5, Currency::EUR),
        ("1.234", 1_234, Currency::KWD),
        ("0.0001", 1, Currency::UYW),
    ] {
        assert_eq!(Amount::parse(text, currency).unwrap().as_minor(), minor);
        assert_eq!(amount(minor, currency).to_decimal(), text);
    }
    assert_eq!(amount(1_234, Currency::EUR).to_string(), "12.34 EUR");
    assert_eq!(Amount::parse("12.3", Currency::EUR).unwrap().as_minor(), 1_230);
}

#[test]
fn texts_that_are_not_an_amount_are_refused_by_name() {
    for (text, currency) in [
        ("", Currency::EUR),
        (".", Currency::EUR),
        (".5", Currency::EUR),
        ("1.", Currency::EUR),
        ("-1", Currency::EUR),
        ("+1", Currency::EUR),
        ("1e3", Currency::EUR),
        (" 1", Currency::EUR),
        ("1,00", Currency::EUR),
        ("1.234", Currency::EUR),
        ("1.0", Currency::JPY),
        ("1.2.3", Currency::EUR),
        ("٣", Currency::EUR),
        ("90071992547409.92", Currency::EUR),
        ("99999999999999999999999999", Currency::EUR),
    ] {
        let error = Amount::parse(text, currency).unwrap_err();
        assert_eq!(error.field(), Some("amount"), "{text}");
    }
    for code in ["eur", "EURO", "", "XAU", "ZZZ", "EU", "€"] {
        assert_eq!(Currency::parse(code).unwrap_err().field(), Some("currency"), "{code}");
    }
}

#[test]
fn withdrawn_codes_are_read_but_not_priced_in() {
    assert!(!Currency::parse("HRK").unwrap().is_chargeable());
    assert!(!Currency::CLF.is_chargeable());
    assert!(Currency::EUR.is_chargeable());
}

#[test]
fn currencies_never_mix() {
    let (euro, yen) = (amount(1, Currency::EUR), amount(1, Currency::JPY));
    assert_eq!(euro.plus(yen).unwrap_err().field(), Some("currency"));
    assert_eq!(euro.minus(yen).unwrap_err().field(), Some("currency"));
    assert!(Amount::sum(Currency::EUR, [euro, yen]).is_err());
}

#[test]
fn splitting_needs_a_weight() {
    let euro = amount(100, Currency::EUR);
    for weights in [vec![], vec![0, 0], vec![1; 10_001]] {
        assert_eq!(euro.split_by(&weights).unwrap_err().field(), Some("weights"));
    }
    assert!(euro.split(0).is_err());
    assert!(euro.split(u32::MAX).is_err());
    let parts: Vec<i64> = euro.split(3).unwrap().iter().map(|part| part.as_minor()).collect();
    assert_eq!(parts, [34, 33, 33]);
}

proptest! {
    #[test]
    fn printing_and_parsing_lose_nothing(minor in any_minor(), currency in any_currency()) {
        let amount = amount(minor, currency);
        prop_assert_eq!(Amount::parse(&amount.to_decimal(), currency).unwrap(), amount);
    }

    #[test]
    fn what_is_added_can_be_taken_away(a in any_minor(), b in any_minor()) {
        let (a, b) = (amount(a, Currency::EUR), amount(b, Currency::EUR));
        match a.plus(b) {
            Ok(sum) => prop_assert_eq!(sum.minus(b).unwrap(), a),
            Err(_) => prop_assert!(a.as_minor() + b.as_minor() > Amount::MAX_MINOR),
        }
        prop_assert_eq!(a.minus(b).is_ok(), a.as_minor() >= b.as_minor());
    }

    #[test]
    fn times_is_repeated_addition(minor in any_minor(), quantity in any::<u32>()) {
        let exact = i128::from(minor) * i128::from(quantity);
        match amount(minor, Currency::EUR).times(quantity) {
            Ok(product) => prop_assert_eq!(i128::from(product.as_minor()), exact),
            Err(_) => prop_assert!(exact > i128::from(Amount::MAX_MINOR)),
        }
    }

    #[test]
    fn a_split_loses_nothing_and_is_fair(
        minor in any_minor(),
        weights in proptest::collection::vec(0..1_000u32, 1..40),
    ) {
        prop_assume!(weights.iter().any(|weight| *weight > 0));
        let whole = amount(minor, Currency::EUR);
        let parts = whole.split_by(&weights).unwrap();
        prop_assert_eq!(Amount::sum(Currency::EUR, parts.iter().copied()).unwrap(), whole);
        let total: i128 = weights.iter().map(|weight| i128::from(*weight)).sum();
        for (part, weight) in parts.iter().zip(&weights) {
            // Each part is its exact share rounded down or up.
            let scaled = i128::from(minor) * i128::from(*weight);
            let floor = scaled / total;
            let found = i128::from(part.as_minor());
            prop_assert!(found == floor || (found == floor + 1 && scaled % total > 0));
        }
    }
}
