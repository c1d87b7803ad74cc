use super::*;
use crate::error::WhatNow;

fn eur(minor: i64) -> Amount {
    Amount::minor(minor, Currency::EUR).unwrap()
}

/// Found and allowed of a refusal; none if it is taken.
fn refused(asked: Result<(), Error>) -> Option<(String, String)> {
    let error = asked.err()?;
    assert_eq!(
        (error.what_now(), error.code()),
        (WhatNow::FixInput, "beyond_processor")
    );
    match error {
        Error::BeyondProcessor {
            processor,
            found,
            allowed,
        } => {
            assert_eq!(processor, "main");
            Some((found, allowed))
        }
        other => panic!("{other}"),
    }
}

fn words(found: &str, allowed: &str) -> (String, String) {
    (found.to_owned(), allowed.to_owned())
}

#[test]
fn what_a_service_does_not_take_is_refused_with_what_it_takes() {
    let usd = Amount::minor(10, Currency::USD).unwrap();
    let isk = Amount::minor(5, Currency::ISK).unwrap();
    let kwd = Amount::minor(1_234, Currency::KWD).unwrap();
    let any = Capabilities::new();
    for amount in [eur(1), eur(1_000_000), usd, kwd] {
        assert_eq!(refused(any.takes("main", amount)), None);
    }
    let limited = Capabilities::new()
        .currencies([Currency::EUR, Currency::ISK, Currency::KWD])
        .minimum(eur(50))
        .maximum(eur(1_000_00))
        .units(Units::stripe());
    for (amount, expected) in [
        (eur(50), None),
        (eur(1_000_00), None),
        (eur(49), Some(words("0.49 EUR", "0.50 EUR and more"))),
        (eur(1_000_01), Some(words("1000.01 EUR", "up to 1000.00 EUR"))),
        (usd, Some(words("0.10 USD", "money in EUR, ISK, KWD"))),
        (isk, None),
    ] {
        assert_eq!(refused(limited.takes("main", amount)), expected, "{amount}");
    }
    let (found, allowed) = refused(limited.takes("main", kwd)).unwrap();
    assert_eq!(found, "1.234 KWD");
    assert!(allowed.contains("0.010 KWD"), "{allowed}");
}

#[test]
fn what_it_can_do_unasked_is_what_every_service_could_before_it_said_anything() {
    let new = Capabilities::new();
    for (ability, expected) in [
        (Ability::Authorize, true),
        (Ability::PartialCapture, true),
        (Ability::PartialRefund, true),
        (Ability::SaveMethods, false),
        (Ability::Setup, false),
    ] {
        assert_eq!(new.has("main", ability, "x").is_ok(), expected, "{ability:?}");
        assert!(new.clone().can(ability).has("main", ability, "x").is_ok());
        assert!(refused(new.clone().cannot(ability).has("main", ability, "x")).is_some());
    }
    let full = refused(
        new.cannot(Ability::PartialRefund)
            .has("main", Ability::PartialRefund, eur(1)),
    );
    assert_eq!(full, Some(words("0.01 EUR", "all that was taken")));
}
