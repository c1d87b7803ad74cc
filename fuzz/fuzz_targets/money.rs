//! Arbitrary texts and currencies against `Amount::parse`, and splits of what it accepts.

#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use tillite::{Amount, Currency};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    text: Text<'a>,
    code: Code<'a>,
    parts: u16,
    weights: Vec<u32>,
}

/// Text as it comes, or two runs of digits, which chance alone seldom writes.
#[derive(Arbitrary, Debug)]
enum Text<'a> {
    Raw(&'a str),
    Digits(u64, Option<u16>),
}

/// A code as it comes, or one for each number of decimals that there is.
#[derive(Arbitrary, Debug)]
enum Code<'a> {
    Raw(&'a str),
    Yen,
    Euro,
    Dinar,
    Uyw,
}

fuzz_target!(|input: Input| {
    let currency = match input.code {
        Code::Raw(code) => match Currency::parse(code) {
            Ok(currency) => {
                assert_eq!(currency.code(), code);
                currency
            }
            Err(_) => Currency::EUR,
        },
        Code::Yen => Currency::JPY,
        Code::Euro => Currency::EUR,
        Code::Dinar => Currency::KWD,
        Code::Uyw => Currency::UYW,
    };
    let text = match input.text {
        Text::Raw(text) => text.to_owned(),
        Text::Digits(whole, None) => whole.to_string(),
        Text::Digits(whole, Some(decimals)) => format!("{whole}.{decimals}"),
    };
    let Ok(amount) = Amount::parse(&text, currency) else {
        return;
    };
    assert!((0..=Amount::MAX_MINOR).contains(&amount.as_minor()));

    // What is printed parses to the same amount and is the canonical spelling of what was given:
    // no zeros in front, all decimals behind.
    let canonical = amount.to_decimal();
    assert_eq!(Amount::parse(&canonical, currency), Ok(amount));
    let exponent = usize::from(currency.exponent());
    let (whole, decimals) = text.split_once('.').unwrap_or((&text, ""));
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        digits => digits,
    };
    let expected = match exponent {
        0 => whole.to_owned(),
        _ => format!("{whole}.{decimals:0<exponent$}"),
    };
    assert_eq!(canonical, expected);

    if let Ok(parts) = amount.split(u32::from(input.parts)) {
        assert_eq!(parts.len(), usize::from(input.parts));
        assert_eq!(Amount::sum(currency, parts.iter().copied()), Ok(amount));
        let minor = || parts.iter().map(|part| part.as_minor());
        assert!(minor().max().unwrap_or(0) - minor().min().unwrap_or(0) <= 1);
    }
    if let Ok(parts) = amount.split_by(&input.weights) {
        assert_eq!(parts.len(), input.weights.len());
        assert_eq!(Amount::sum(currency, parts), Ok(amount));
    }
});
