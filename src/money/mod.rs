//! Amounts of money: whole minor units and a currency, checked at every step.
//!
//! There is no floating point here and no way to bring one in. An amount is never negative; what
//! would be, is a typed error. The upper bound, 2^53 - 1 minor units, is the largest integer that
//! every JSON reader keeps exact.

mod currency;
mod table;
mod units;

use std::fmt;

pub use currency::Currency;
pub use units::Units;

use crate::error::{Error, Invalid};

/// A non-negative number of minor units of one currency: 12.34 EUR is 1234.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Amount {
    minor: i64,
    currency: Currency,
}

impl Amount {
    /// The largest number of minor units: 2^53 - 1.
    pub const MAX_MINOR: i64 = 9_007_199_254_740_991;

    /// An amount from minor units.
    ///
    /// # Errors
    /// [`Error::Invalid`] below zero or above [`Amount::MAX_MINOR`].
    pub fn minor(minor: i64, currency: Currency) -> Result<Amount, Error> {
        if (0..=Self::MAX_MINOR).contains(&minor) {
            return Ok(Amount { minor, currency });
        }
        Err(out_of_range(minor))
    }

    /// Nothing, in a currency.
    #[must_use]
    pub const fn zero(currency: Currency) -> Amount {
        Amount { minor: 0, currency }
    }

    /// An amount from a decimal text in major units, such as `12.34`, by the currency's decimals.
    ///
    /// Accepted is `digits` or `digits.digits` with at most as many decimals as the currency has:
    /// no sign, no blank, no exponent, no grouping, no digit dropped.
    ///
    /// # Errors
    /// [`Error::Invalid`] for any other text and for values above [`Amount::MAX_MINOR`].
    pub fn parse(text: &str, currency: Currency) -> Result<Amount, Error> {
        let exponent = usize::from(currency.exponent());
        let refused = || {
            Invalid::new(
                "amount",
                text,
                format!(
                    "digits with at most {exponent} decimals, up to {} minor units",
                    Self::MAX_MINOR
                ),
            )
        };
        let (whole, decimals) = match text.split_once('.') {
            Some((whole, decimals)) if !decimals.is_empty() => (whole, decimals),
            Some(_) => return Err(refused().into()),
            None => (text, ""),
        };
        let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !is_digits(whole) || !is_digits(decimals) || decimals.len() > exponent {
            return Err(refused().into());
        }
        let digits = format!("{whole}{decimals:0<exponent$}");
        let minor = digits.parse::<i64>().map_err(|_| refused())?;
        Amount::minor(minor, currency).map_err(|_| refused().into())
    }

    /// The number of minor units.
    #[must_use]
    pub const fn as_minor(self) -> i64 {
        self.minor
    }

    /// The currency.
    #[must_use]
    pub const fn currency(self) -> Currency {
        self.currency
    }

    /// Whether there is nothing to pay.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.minor == 0
    }

    /// The amount in major units, without the currency's code: `12.34`, `1500` for JPY.
    #[must_use]
    pub fn to_decimal(self) -> String {
        decimal(self.minor, self.currency.exponent())
    }

    /// The sum of two amounts of one currency.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the currencies differ or the sum is above [`Amount::MAX_MINOR`].
    pub fn plus(self, other: Amount) -> Result<Amount, Error> {
        self.same_currency(other)?;
        // Both are at most 2^53 - 1, so the sum fits.
        Amount::minor(self.minor + other.minor, self.currency)
    }

    /// What is left after taking `other` away.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the currencies differ or `other` is larger.
    pub fn minus(self, other: Amount) -> Result<Amount, Error> {
        self.same_currency(other)?;
        Amount::minor(self.minor - other.minor, self.currency)
    }

    /// This amount, `quantity` times.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the product is above [`Amount::MAX_MINOR`].
    pub fn times(self, quantity: u32) -> Result<Amount, Error> {
        let product = i128::from(self.minor) * i128::from(quantity);
        let minor = i64::try_from(product).map_err(|_| out_of_range(product))?;
        Amount::minor(minor, self.currency)
    }

    /// The sum of amounts of one currency; zero of that currency for none.
    ///
    /// # Errors
    /// [`Error::Invalid`] if a currency differs or the sum is above [`Amount::MAX_MINOR`].
    pub fn sum(currency: Currency, amounts: impl IntoIterator<Item = Amount>) -> Result<Amount, Error> {
        amounts.into_iter().try_fold(Amount::zero(currency), Amount::plus)
    }

    /// Splits into `parts` that differ by at most one minor unit and sum to this amount; the
    /// larger parts come first.
    ///
    /// # Errors
    /// [`Error::Invalid`] for no part or more than 10,000.
    pub fn split(self, parts: u32) -> Result<Vec<Amount>, Error> {
        self.split_by(&vec![
            1;
            usize::try_from(parts)
                .unwrap_or(usize::MAX)
                .min(Self::MAX_PARTS + 1)
        ])
    }

    /// Splits in proportion to `weights`; the parts sum to this amount. What rounding leaves over
    /// goes to the largest remainders, one minor unit each, ties to the earlier part.
    ///
    /// # Errors
    /// [`Error::Invalid`] for no weight, more than 10,000, or weights that are all zero.
    pub fn split_by(self, weights: &[u32]) -> Result<Vec<Amount>, Error> {
        let total: i128 = weights.iter().copied().map(i128::from).sum();
        if total == 0 || weights.len() > Self::MAX_PARTS {
            return Err(Invalid::new(
                "weights",
                format!("{} weights, sum {total}", weights.len()),
                "1 to 10000 weights, not all zero",
            )
            .into());
        }
        let share = |weight: u32| {
            let scaled = i128::from(self.minor) * i128::from(weight);
            (scaled / total, scaled % total)
        };
        let mut parts: Vec<i128> = weights.iter().map(|weight| share(*weight).0).collect();
        let left_over = i128::from(self.minor) - parts.iter().sum::<i128>();
        let mut by_remainder: Vec<usize> = (0..parts.len()).collect();
        by_remainder.sort_by_key(|at| std::cmp::Reverse(share(weights[*at]).1));
        // Fewer units are left over than there are parts, so each part gets one at most.
        for at in by_remainder.into_iter().take(usize::try_from(left_over).unwrap_or(0)) {
            parts[at] += 1;
        }
        parts
            .into_iter()
            .map(|part| Amount::minor(i64::try_from(part).unwrap_or(i64::MAX), self.currency))
            .collect()
    }

    const MAX_PARTS: usize = 10_000;

    fn same_currency(self, other: Amount) -> Result<(), Error> {
        if self.currency == other.currency {
            return Ok(());
        }
        Err(Invalid::new("currency", other.currency, format!("{} as before", self.currency)).into())
    }
}

/// `12.34 EUR`.
impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{} {}", self.to_decimal(), self.currency))
    }
}

impl fmt::Debug for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.to_decimal(), self.currency)
    }
}

fn decimal(minor: i64, exponent: u8) -> String {
    let exponent = usize::from(exponent);
    let digits = format!("{minor:0>width$}", width = exponent + 1);
    let (whole, decimals) = digits.split_at(digits.len() - exponent);
    if decimals.is_empty() {
        whole.to_owned()
    } else {
        format!("{whole}.{decimals}")
    }
}

fn out_of_range(found: impl fmt::Display) -> Error {
    Invalid::new("amount", found, "0 to 9007199254740991 minor units").into()
}

#[cfg(test)]
mod tests;
