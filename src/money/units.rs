//! How a payment service counts money, where that is not as ISO 4217 does.

use std::collections::BTreeMap;

use super::{Amount, Currency};
use crate::error::{Error, Invalid};

/// How a payment service counts money, for a processor to convert by at its edge.
///
/// Everywhere inside, an [`Amount`] counts the minor units of ISO 4217. A service may count some
/// currencies otherwise, and whoever passes a number on as it is then takes a hundred times too much
/// or too little. A map of units says where the service differs; a currency that it does not name is
/// counted as by ISO 4217.
///
/// Nothing is ever rounded: an amount that the service cannot take, or a number of the service that
/// is no whole number of minor units, is refused. The map holds no minimum and no maximum of a
/// service, and does not say which currencies it takes.
///
/// ```
/// use tillite::{Amount, Currency, Units};
///
/// # fn main() -> tillite::Result<()> {
/// // A service that counts yen in hundredths, and Swiss francs in steps of five centimes.
/// let units = Units::iso().decimals(Currency::JPY, 2).multiple_of(Currency::CHF, 5);
/// assert_eq!(units.to_service(Amount::minor(500, Currency::JPY)?)?, 50_000);
/// assert_eq!(units.from_service(50_000, Currency::JPY)?, Amount::minor(500, Currency::JPY)?);
/// assert!(units.from_service(50_001, Currency::JPY).is_err());
///
/// let refused = units.to_service(Amount::parse("1.99", Currency::CHF)?).unwrap_err();
/// assert_eq!(
///     refused.to_string(),
///     r#"amount: found "1.99 CHF", allowed is a multiple of 0.05 CHF, as the service takes no other; change the amount"#
/// );
/// # Ok(())
/// # }
/// ```
///
/// # In a processor
/// What is refused before anything was sent is [`Outcome::NotSent`](crate::Outcome::NotSent): the
/// money certainly did not move. What is refused in an answer is
/// [`Outcome::Unknown`](crate::Outcome::Unknown), and in a look-up
/// [`Lookup::CannotTell`](crate::Lookup::CannotTell): money may have moved, and nobody can say how
/// much.
///
/// ```
/// # #[cfg(feature = "engine")]
/// # mod shown {
/// use tillite::{Capabilities, Currency, Lookup, LookupKey, Outcome, Processor, Request, Timestamp, Units};
///
/// struct Service {
///     units: Units,
/// }
///
/// /// What the service says: its name for the payment, and what it took in its own units.
/// struct Taken {
///     id: String,
///     units: i64,
///     currency: Currency,
/// }
///
/// impl Processor for Service {
///     fn execute(&self, request: &Request, deadline: Timestamp) -> Outcome {
///         // Nothing has been sent yet.
///         let units = match request.money().and_then(|amount| self.units.to_service(amount)) {
///             Ok(units) => units,
///             Err(refused) => return Outcome::NotSent { why: refused.to_string() },
///         };
///         // From here on money may have moved.
///         let Some(taken) = self.post(request, units, deadline) else {
///             return Outcome::Unknown { why: "no answer".to_owned() };
///         };
///         match self.units.from_service(taken.units, taken.currency) {
///             Ok(amount) => Outcome::succeeded(taken.id, amount),
///             Err(refused) => Outcome::Unknown { why: refused.to_string() },
///         }
///     }
///     # fn capabilities(&self) -> Capabilities {
///     #     Capabilities::new().lookup()
///     # }
///     # fn lookup(&self, _: &LookupKey<'_>) -> Lookup {
///     #     Lookup::CannotTell { why: "not shown".to_owned() }
///     # }
/// }
/// #
/// # impl Service {
/// #     fn post(&self, request: &Request, units: i64, _: Timestamp) -> Option<Taken> {
/// #         assert_eq!(units, 500, "5 ISK are 500 at Stripe");
/// #         let currency = request.money().ok()?.currency();
/// #         // What is paid with the other method is answered in units that are no whole krónur.
/// #         let units = if request.method.as_deref() == Some("odd") { units + 1 } else { units };
/// #         Some(Taken { id: "pi_1".to_owned(), units, currency })
/// #     }
/// # }
/// #
/// # pub fn main() -> tillite::Result<()> {
/// #     use tillite::{Amount, Engine, Mode, NewLine, NewSession, SessionState};
/// #     let folder = tempfile::tempdir().expect("a folder for the example");
/// #     let service = Service { units: Units::stripe() };
/// #     let engine = Engine::builder()
/// #         .test_processor("service", service)
/// #         .open(folder.path().join("shop.db"))?;
/// #     let shop = engine.app("shop", Mode::Test)?;
/// #     let pay = |minor, currency, method| {
/// #         let line = NewLine::inline("Ticket", Amount::minor(minor, currency)?);
/// #         let session = shop.sessions().create(NewSession::empty().line(line))?;
/// #         Ok::<_, tillite::Error>(shop.sessions().pay(&session.id, method)?.session.state)
/// #     };
/// #     assert_eq!(pay(5, Currency::ISK, "card")?, SessionState::Complete);
/// #     // Not sent: the buyer may pay again.
/// #     assert_eq!(pay(1_234, Currency::KWD, "card")?, SessionState::Open);
/// #     // Unknown: it waits for evidence.
/// #     assert_eq!(pay(5, Currency::ISK, "odd")?, SessionState::Processing);
/// #     Ok(())
/// # }
/// # }
/// # #[cfg(feature = "engine")]
/// # shown::main().expect("the example sells");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Units {
    exceptions: BTreeMap<Currency, Count>,
}

/// How a service counts one currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Count {
    decimals: u8,
    /// What a number that is sent must be a multiple of.
    step: u32,
}

impl Units {
    /// A service that counts every currency in the minor units of ISO 4217.
    #[must_use]
    pub fn iso() -> Units {
        Units::default()
    }

    /// How Stripe counts what it charges and refunds.
    ///
    /// | currencies | ISO 4217 | at Stripe |
    /// | --- | --- | --- |
    /// | MGA | 2 decimals | no decimals: 10.00 MGA is `10`, and 10.50 MGA is refused |
    /// | ISK, UGX | no decimals | 2 decimals, always `00`: 5 ISK is `500` |
    /// | BHD, JOD, KWD, OMR, TND | 3 decimals | 3 decimals, the last always `0`: 1.230 KWD is `1230`, and 1.234 KWD is refused |
    /// | the others | | as by ISO 4217: 500 JPY is `500`, 10.00 EUR is `1000` |
    ///
    /// UGX stands in Stripe's list of currencies without decimals too; it is the exception to that
    /// list that counts.
    ///
    /// HUF and TWD are charged with two decimals and paid out to the merchant's bank in whole units
    /// only. That concerns payouts, which are no business of a processor here, so 10.50 HUF passes.
    #[must_use]
    pub fn stripe() -> Units {
        let units = Units::iso()
            .decimals(Currency::MGA, 0)
            .decimals(Currency::ISK, 2)
            .decimals(Currency::UGX, 2);
        [
            Currency::BHD,
            Currency::JOD,
            Currency::KWD,
            Currency::OMR,
            Currency::TND,
        ]
        .into_iter()
        .fold(units, |units, dinar| units.multiple_of(dinar, 10))
    }

    /// With a currency that the service counts with this many decimals of the major unit.
    ///
    /// So many that nothing stays within 2^53 - 1 leave no amount but zero.
    #[must_use]
    pub fn decimals(mut self, currency: Currency, decimals: u8) -> Self {
        self.exception(currency).decimals = decimals;
        self
    }

    /// With a currency of which the service takes multiples of `step` only, in its own units.
    ///
    /// It binds what is sent. What the service says that it took is believed as it stands: a fee, or
    /// a payment from before it had the rule, need not be such a multiple. A step of 0 leaves no
    /// amount but zero.
    #[must_use]
    pub fn multiple_of(mut self, currency: Currency, step: u32) -> Self {
        self.exception(currency).step = step;
        self
    }

    /// The number that stands for an amount at the service.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the service has no such amount, because it counts the currency in larger
    /// units or takes multiples only, or if the number would be above 2^53 - 1.
    pub fn to_service(&self, amount: Amount) -> Result<i64, Error> {
        let currency = amount.currency();
        let minor = i128::from(amount.as_minor());
        let count = self.count(currency);
        let Scale { larger, smaller } = count.beside(currency);
        // What is a multiple of the service's step there is a multiple of this here.
        let step = i128::from(count.step);
        let step = larger.saturating_mul(step / common_divisor(step, smaller));
        let refused = |allowed: String| Invalid::new("amount", amount, allowed).into();
        if minor != 0 && minor.checked_rem(step) != Some(0) {
            let smallest = within_bounds(step).filter(|step| *step > 0);
            return Err(refused(match smallest {
                Some(minor) => format!(
                    "a multiple of {}, as the service takes no other; change the amount",
                    Amount { minor, currency }
                ),
                None => "zero, by the units given for the service; correct those".to_owned(),
            }));
        }
        within_bounds((minor / larger).saturating_mul(smaller)).ok_or_else(|| {
            let minor = within_bounds(BOUND / smaller).unwrap_or(0);
            refused(format!(
                "up to {}, as the service counts in smaller units; sell in parts",
                Amount { minor, currency }
            ))
        })
    }

    /// The amount that a number of the service stands for.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the number is negative, is no whole number of minor units of ISO 4217, or
    /// if it or the amount would be above 2^53 - 1.
    pub fn from_service(&self, units: i64, currency: Currency) -> Result<Amount, Error> {
        let Scale { larger, smaller } = self.count(currency).beside(currency);
        let found = i128::from(units);
        let is_whole = (0..=BOUND).contains(&found) && found % smaller == 0;
        within_bounds((found / smaller).saturating_mul(larger))
            .filter(|_| is_whole)
            .map(|minor| Amount { minor, currency })
            .ok_or_else(|| {
                Invalid::new(
                    "amount",
                    format!("{units} units of {currency}"),
                    format!(
                        "0 to {} in multiples of {smaller}, for {currency} has {} decimals; look it up at the service",
                        BOUND / larger,
                        currency.exponent()
                    ),
                )
                .into()
            })
    }

    fn exception(&mut self, currency: Currency) -> &mut Count {
        self.exceptions.entry(currency).or_insert(Count::iso(currency))
    }

    fn count(&self, currency: Currency) -> Count {
        let exception = self.exceptions.get(&currency).copied();
        exception.unwrap_or_else(|| Count::iso(currency))
    }
}

/// How the units of a service lie to the minor units of ISO 4217; one of the two is 1.
struct Scale {
    /// How many minor units a unit of the service is.
    larger: i128,
    /// How many units of the service a minor unit is.
    smaller: i128,
}

impl Count {
    fn iso(currency: Currency) -> Count {
        Count {
            decimals: currency.exponent(),
            step: 1,
        }
    }

    fn beside(self, currency: Currency) -> Scale {
        let exponent = currency.exponent();
        // What saturates here is far above every bound, and refused by it.
        let power = |decimals: u8| 10_i128.saturating_pow(u32::from(decimals));
        Scale {
            larger: power(exponent.saturating_sub(self.decimals)),
            smaller: power(self.decimals.saturating_sub(exponent)),
        }
    }
}

const BOUND: i128 = Amount::MAX_MINOR as i128;

fn within_bounds(number: i128) -> Option<i64> {
    i64::try_from(number)
        .ok()
        .filter(|number| (0..=Amount::MAX_MINOR).contains(number))
}

/// The greatest number that divides both; the other one where one is zero.
fn common_divisor(mut a: i128, mut b: i128) -> i128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests;
