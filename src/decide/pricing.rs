//! From what a caller asks for to lines with frozen terms.

use crate::catalog::{Price, Product, Terms};
use crate::error::{Error, Invalid, shortened};
use crate::money::{Amount, Currency};
use crate::session::{Choice, GrantTerms, Line, NewLine, Totals};

/// A price on sale and the product that it is for.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    pub(crate) product: Product,
    pub(crate) price: Price,
}

/// The lines of a session with their sums.
#[derive(Clone, Debug)]
pub(crate) struct Priced {
    pub(crate) currency: Option<Currency>,
    pub(crate) exponent: u8,
    pub(crate) totals: Totals,
    pub(crate) lines: Vec<Line>,
}

/// Prices the lines. `offers` holds, for each line, what the catalogue offers for its choice.
///
/// # Errors
/// `NotFound` where the catalogue offers nothing; `Invalid` naming the line for a second currency,
/// a recurring price (those sell by subscription), or a sum out of range.
pub(crate) fn price_lines(lines: &[NewLine], offers: &[Vec<Offer>]) -> Result<Priced, Error> {
    let mut priced = Priced {
        currency: None,
        exponent: 0,
        totals: Totals::default(),
        lines: Vec::new(),
    };
    for (at, (line, offers)) in lines.iter().zip(offers).enumerate() {
        let (line, unit_amount, exponent) = match &line.choice {
            Choice::Inline { name, unit_amount } => {
                let frozen = Line {
                    price: None,
                    product: None,
                    name: name.clone(),
                    quantity: line.quantity,
                    unit_amount: unit_amount.as_minor(),
                    totals: totals(at, *unit_amount, line.quantity)?,
                    grants: None,
                };
                (frozen, *unit_amount, unit_amount.currency().exponent())
            }
            choice => from_catalog(at, choice, line.quantity, offers)?,
        };
        let currency = unit_amount.currency();
        if priced.currency.is_some_and(|first| first != currency) {
            let allowed = format!(
                "the currency of the first line, {}",
                priced.currency.unwrap_or(currency)
            );
            return Err(Invalid::new(format!("lines[{at}].currency"), currency, allowed).into());
        }
        priced.currency = Some(currency);
        priced.exponent = exponent;
        priced.totals = add(at, priced.totals, line.totals, currency)?;
        priced.lines.push(line);
    }
    Ok(priced)
}

fn from_catalog(at: usize, choice: &Choice, quantity: u32, offers: &[Offer]) -> Result<(Line, Amount, u8), Error> {
    let Some(Offer { product, price }) = offers
        .iter()
        .min_by_key(|offer| (offer.price.terms.choice(), &offer.price.id))
    else {
        return Err(match choice {
            Choice::Tier { tier, currency } => Error::NotFound {
                what: "price on sale for the tier and currency",
                id: shortened(&format!("{tier} in {currency}")),
            },
            Choice::Price(id) => Error::NotFound {
                what: "price on sale",
                id: id.to_string(),
            },
            // An inline line does not look at the catalogue.
            Choice::Inline { name, .. } => Error::NotFound {
                what: "price",
                id: shortened(name),
            },
        });
    };
    if let Terms::Recurring { .. } = price.terms {
        let allowed = "a one-time price: recurring prices sell by subscription, not by checkout session";
        return Err(Invalid::new(format!("lines[{at}]"), "a recurring price", allowed).into());
    }
    let line = Line {
        price: Some(price.id.clone()),
        product: Some(product.id.clone()),
        name: product.name.clone(),
        quantity,
        unit_amount: price.unit_amount.as_minor(),
        totals: totals(at, price.unit_amount, quantity)?,
        grants: Some(GrantTerms {
            tier: product.tier.clone(),
            line: product.line.clone(),
            rank: product.rank,
            days: price.terms.access_days(),
        }),
    };
    Ok((line, price.unit_amount, price.exponent))
}

fn totals(at: usize, unit_amount: Amount, quantity: u32) -> Result<Totals, Error> {
    let subtotal = unit_amount.times(quantity).map_err(|_| too_much(at))?.as_minor();
    Ok(Totals {
        subtotal,
        discount: 0,
        tax: 0,
        total: subtotal,
    })
}

fn add(at: usize, sum: Totals, line: Totals, currency: Currency) -> Result<Totals, Error> {
    let plus = |a: i64, b: i64| -> Result<i64, Error> {
        let sum = Amount::minor(a, currency)?.plus(Amount::minor(b, currency)?);
        Ok(sum.map_err(|_| too_much(at))?.as_minor())
    };
    Ok(Totals {
        subtotal: plus(sum.subtotal, line.subtotal)?,
        discount: plus(sum.discount, line.discount)?,
        tax: plus(sum.tax, line.tax)?,
        total: plus(sum.total, line.total)?,
    })
}

fn too_much(at: usize) -> Invalid {
    Invalid::new(
        format!("lines[{at}]"),
        "a sum above the largest amount",
        "sums up to 9007199254740991 minor units",
    )
}
