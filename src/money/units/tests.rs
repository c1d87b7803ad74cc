use proptest::prelude::*;

use super::*;
use crate::money::table::CURRENCIES;
use crate::money::tests::{amount, any_currency, any_minor};

fn coded(code: &str) -> Currency {
    Currency::parse(code).unwrap()
}

fn sent(units: &Units, text: &str, code: &str) -> Result<i64, Error> {
    units.to_service(Amount::parse(text, coded(code)).unwrap())
}

/// 10 to the power of `decimals`, by counting.
fn power(decimals: u8) -> i128 {
    (0..decimals).fold(1, |power, _| power * 10)
}

#[test]
fn stripe_takes_what_its_documentation_gives_as_examples() {
    let stripe = Units::stripe();
    for (text, code, units) in [
        ("10.00", "USD", 1_000),
        ("500", "JPY", 500),
        ("10.00", "MGA", 10),
        ("5", "ISK", 500),
        ("5", "UGX", 500),
        ("1.230", "KWD", 1_230),
        ("5.120", "KWD", 5_120),
        ("10.50", "HUF", 1_050),
        ("800.45", "TWD", 80_045),
    ] {
        assert_eq!(sent(&stripe, text, code), Ok(units), "{text} {code}");
        let back = stripe.from_service(units, coded(code)).unwrap();
        assert_eq!(back, Amount::parse(text, coded(code)).unwrap());
    }
}

#[test]
fn stripe_counts_every_currency_of_its_list_with_the_decimals_given_there() {
    let stripe = Units::stripe();
    let none = "BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF";
    let three = "BHD JOD KWD OMR TND";
    for (code, exponent, _) in CURRENCIES {
        let decimals = match *code {
            code if none.split(' ').any(|known| known == code) => 0,
            code if three.split(' ').any(|known| known == code) => 3,
            // None of these can be charged there.
            "CLF" | "IQD" | "LYD" | "UYI" | "UYW" => *exponent,
            _ => 2,
        };
        let major = Amount::parse("1", coded(code)).unwrap();
        let units = stripe.to_service(major).map(i128::from);
        assert_eq!(units, Ok(power(decimals)), "{code}");
    }
}

#[test]
fn what_a_service_cannot_take_is_refused_with_what_it_can() {
    let stripe = Units::stripe();
    for (text, code, allowed) in [
        ("10.50", "MGA", "a multiple of 1.00 MGA"),
        ("0.01", "MGA", "a multiple of 1.00 MGA"),
        ("1.234", "KWD", "a multiple of 0.010 KWD"),
        ("90071992547410", "ISK", "up to 90071992547409 ISK"),
    ] {
        let Err(Error::Invalid(refused)) = sent(&stripe, text, code) else {
            panic!("{text} {code} was taken");
        };
        assert_eq!(refused.field, "amount");
        assert_eq!(refused.found, format!("{text} {code}"));
        assert!(refused.allowed.starts_with(allowed), "{}", refused.allowed);
    }
    assert_eq!(sent(&stripe, "90071992547409", "ISK"), Ok(9_007_199_254_740_900));
}

#[test]
fn what_an_answer_cannot_mean_is_refused() {
    let stripe = Units::stripe();
    for (units, code, allowed) in [
        (501, "ISK", "0 to 9007199254740991 in multiples of 100"),
        (-500, "ISK", "0 to 9007199254740991 in multiples of 100"),
        (-1, "EUR", "0 to 9007199254740991 in multiples of 1,"),
        (i64::MIN, "EUR", "0 to 9007199254740991 in multiples of 1,"),
        (Amount::MAX_MINOR + 1, "EUR", "0 to 9007199254740991 in multiples of 1,"),
        (i64::MAX, "UGX", "0 to 9007199254740991 in multiples of 100"),
        (90_071_992_547_410, "MGA", "0 to 90071992547409 in multiples of 1,"),
    ] {
        let Err(Error::Invalid(refused)) = stripe.from_service(units, coded(code)) else {
            panic!("{units} {code} was believed");
        };
        assert_eq!(refused.field, "amount");
        assert_eq!(refused.found, format!("{units} units of {code}"));
        assert!(refused.allowed.starts_with(allowed), "{}", refused.allowed);
    }
}

#[test]
fn a_step_binds_what_is_sent_and_not_what_is_answered() {
    let stripe = Units::stripe();
    assert_eq!(
        stripe.from_service(1_234, Currency::KWD),
        Ok(amount(1_234, Currency::KWD))
    );
    assert!(sent(&stripe, "1.234", "KWD").is_err());
}

#[test]
fn a_step_counts_in_the_units_of_the_service() {
    // In tenths there, in steps of 4 of them: 0.40 here.
    let tenths = Units::iso().multiple_of(Currency::EUR, 4).decimals(Currency::EUR, 1);
    assert_eq!(sent(&tenths, "0.40", "EUR"), Ok(4));
    assert!(sent(&tenths, "0.10", "EUR").is_err());
    // In thousandths there, in steps of 4 of them: a cent is 10, which is none; two cents are 20.
    let thousandths = Units::iso().decimals(Currency::EUR, 3).multiple_of(Currency::EUR, 4);
    assert_eq!(sent(&thousandths, "0.02", "EUR"), Ok(20));
    let refused = sent(&thousandths, "0.01", "EUR").unwrap_err().to_string();
    assert!(refused.contains("a multiple of 0.02 EUR"), "{refused}");
}

#[test]
fn units_that_make_no_sense_leave_zero_only() {
    for decimals in [20, 39, u8::MAX] {
        let units = Units::iso().decimals(Currency::EUR, decimals);
        assert_eq!(sent(&units, "0", "EUR"), Ok(0));
        assert!(sent(&units, "0.01", "EUR").is_err());
        assert_eq!(units.from_service(0, Currency::EUR), Ok(Amount::zero(Currency::EUR)));
        assert!(units.from_service(1, Currency::EUR).is_err());
    }
    let units = Units::iso().multiple_of(Currency::EUR, 0);
    assert_eq!(sent(&units, "0", "EUR"), Ok(0));
    assert!(sent(&units, "0.01", "EUR").is_err());
}

/// Units that differ from ISO 4217 in one currency, as a service's might, or as nobody's would.
#[derive(Clone, Debug)]
struct Case {
    currency: Currency,
    decimals: u8,
    step: u32,
}

impl Case {
    fn units(&self) -> Units {
        Units::stripe()
            .decimals(self.currency, self.decimals)
            .multiple_of(self.currency, self.step)
    }

    /// `number`, of so many decimals, counted with `to` decimals. Beyond 22 nothing changes: all but
    /// zero is out of bounds by then.
    fn rescaled(number: i64, from: u8, to: u8) -> Option<i64> {
        let scaled = i128::from(number) * power(to.min(22));
        let divisor = power(from.min(22));
        i64::try_from(scaled / divisor)
            .ok()
            .filter(|found| scaled % divisor == 0 && (0..=Amount::MAX_MINOR).contains(found))
    }

    fn is_taken(&self, number: i64) -> bool {
        number == 0 || number.checked_rem(i64::from(self.step)) == Some(0)
    }
}

fn any_case() -> impl Strategy<Value = Case> {
    let decimals = prop_oneof![0..=4u8, 5..=18u8, any::<u8>()];
    let step = prop_oneof![Just(1u32), 1..=20u32, Just(100), Just(0), any::<u32>()];
    (any_currency(), decimals, step).prop_map(|(currency, decimals, step)| Case {
        currency,
        decimals,
        step,
    })
}

/// Numbers that end in zeros often enough to be whole in larger units.
fn any_number() -> impl Strategy<Value = i64> {
    let round = (0..=100_000i64, 0..=10u8).prop_map(|(number, zeros)| {
        let number = i128::from(number) * power(zeros);
        i64::try_from(number).unwrap().min(Amount::MAX_MINOR)
    });
    prop_oneof![round, any_minor()]
}

proptest! {
    #[test]
    fn an_amount_goes_as_the_same_number_of_major_units_or_not_at_all(case in any_case(), minor in any_number()) {
        let exponent = case.currency.exponent();
        let expected = Case::rescaled(minor, exponent, case.decimals).filter(|number| case.is_taken(*number));
        let asked = amount(minor, case.currency);
        let sent = case.units().to_service(asked);
        prop_assert_eq!(sent.as_ref().ok(), expected.as_ref());
        match sent {
            Ok(number) => prop_assert_eq!(case.units().from_service(number, case.currency), Ok(asked)),
            Err(refused) => prop_assert_eq!(refused.field(), Some("amount")),
        }
    }

    #[test]
    fn a_number_is_believed_as_the_same_number_of_major_units_or_not_at_all(
        case in any_case(),
        number in prop_oneof![any_number(), any::<i64>()],
    ) {
        let expected = Case::rescaled(number, case.decimals, case.currency.exponent())
            .filter(|_| number <= Amount::MAX_MINOR)
            .map(|minor| amount(minor, case.currency));
        let meant = case.units().from_service(number, case.currency);
        prop_assert_eq!(meant.as_ref().ok(), expected.as_ref());
        match meant {
            Ok(meant) if case.is_taken(number) => prop_assert_eq!(case.units().to_service(meant), Ok(number)),
            Ok(meant) => prop_assert!(case.units().to_service(meant).is_err()),
            Err(refused) => prop_assert_eq!(refused.field(), Some("amount")),
        }
    }

    #[test]
    fn without_exceptions_a_service_counts_as_iso_4217_does(minor in any_number(), currency in any_currency()) {
        prop_assert_eq!(Units::iso().to_service(amount(minor, currency)), Ok(minor));
        prop_assert_eq!(Units::iso().from_service(minor, currency), Ok(amount(minor, currency)));
    }
}
