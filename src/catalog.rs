//! What is sold and what it costs.
//!
//! A *product* has a *tier*, the name under which it is bought and granted. Products of one *line*
//! replace each other (the tier with the highest *rank* among what somebody holds is what shows);
//! different lines are held side by side. A *price* is what a product costs in one currency; it is
//! never changed and never deleted, only archived, so that whoever refers to it sees what was
//! agreed.

use crate::error::{Error, Invalid};
use crate::id::{PriceId, ProductId};
use crate::money::Amount;
use crate::text;
use crate::time::{Interval, Timestamp};

/// The line that products belong to unless they name another.
pub const MAIN_LINE: &str = "main";

/// Something that is sold.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Product {
    /// The product's id.
    pub id: ProductId,
    /// The name under which it is bought and granted; unique per app and mode.
    pub tier: String,
    /// What the buyer reads.
    pub name: String,
    /// More for the buyer to read.
    pub description: Option<String>,
    /// The line of entitlements that it belongs to.
    pub line: String,
    /// Within a line, what somebody holds with the highest rank shows.
    pub rank: i32,
    /// Engine time.
    pub created_at: Timestamp,
    /// Engine time from which it is not sold; none while it is on sale.
    pub archived_at: Option<Timestamp>,
    pub(crate) revision: i64,
}

/// What a product costs in one currency.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Price {
    /// The price's id.
    pub id: PriceId,
    /// The product that it is for.
    pub product: ProductId,
    /// The amount for one.
    pub unit_amount: Amount,
    /// Decimals of the currency when the price was made.
    pub exponent: u8,
    /// Whether it sells once or again and again.
    pub terms: Terms,
    /// Engine time.
    pub created_at: Timestamp,
    /// Engine time from which it is not sold; none while it is on sale.
    pub archived_at: Option<Timestamp>,
    pub(crate) revision: i64,
}

/// How a price sells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Terms {
    /// Paid once.
    OneTime {
        /// How long one purchase lasts; none: for ever, unless `access_days` says otherwise.
        lasting: Option<Interval>,
        /// How many days one purchase lasts, in place of what the interval gives; 1 to 36,500.
        access_days: Option<u32>,
    },
    /// Paid every interval.
    Recurring {
        /// How often.
        every: Interval,
        /// Days before the first payment; 1 to 3,650.
        trial_days: Option<u32>,
    },
}

impl Terms {
    /// `one_time` or `recurring`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Terms::OneTime { .. } => "one_time",
            Terms::Recurring { .. } => "recurring",
        }
    }

    /// The interval, if there is one.
    #[must_use]
    pub const fn interval(&self) -> Option<Interval> {
        match self {
            Terms::OneTime { lasting, .. } => *lasting,
            Terms::Recurring { every, .. } => Some(*every),
        }
    }

    /// Days that one purchase lasts; none: for ever. A recurring price lasts as long as it is paid.
    pub(crate) fn access_days(&self) -> Option<u32> {
        match self {
            Terms::OneTime { lasting, access_days } => access_days.or(lasting.map(Interval::sale_days)),
            Terms::Recurring { .. } => None,
        }
    }

    /// Order in which a tier's prices are chosen: one-time before recurring, then the shorter
    /// interval, no interval last.
    pub(crate) fn choice(&self) -> (bool, bool, u32) {
        let interval = self.interval();
        (
            matches!(self, Terms::Recurring { .. }),
            interval.is_none(),
            interval.map_or(0, Interval::sale_days),
        )
    }
}

/// A product to be put on sale or changed; given to `catalog().set`.
#[derive(Clone, Debug)]
pub struct NewProduct {
    pub(crate) tier: String,
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    pub(crate) line: String,
    pub(crate) rank: i32,
    pub(crate) prices: Vec<NewPrice>,
}

impl NewProduct {
    /// A product of the main line with rank 0 and no price. The tier is 1 to 64 of `a-z`, `0-9`,
    /// `_` and `-`, the name 1 to 250 characters.
    #[must_use]
    pub fn new(tier: impl Into<String>, name: impl Into<String>) -> NewProduct {
        NewProduct {
            tier: tier.into(),
            name: name.into(),
            description: None,
            line: MAIN_LINE.to_owned(),
            rank: 0,
            prices: Vec::new(),
        }
    }

    /// More for the buyer to read, up to 1,000 characters.
    #[must_use]
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// The line of entitlements that it belongs to.
    #[must_use]
    pub fn line(mut self, line: impl Into<String>) -> Self {
        self.line = line.into();
        self
    }

    /// Its rank within the line.
    #[must_use]
    pub fn rank(mut self, rank: i32) -> Self {
        self.rank = rank;
        self
    }

    /// A price at which it is on sale; at most 50. The price's own tier is replaced by this one's.
    #[must_use]
    pub fn price(mut self, price: NewPrice) -> Self {
        self.prices.push(price);
        self
    }

    pub(crate) fn checked(mut self) -> Result<NewProduct, Error> {
        self.tier = text::name("tier", &self.tier, 64)?;
        self.name = text::text("name", &self.name, 250)?;
        self.description = text::optional("description", self.description.as_deref(), 1_000)?;
        self.line = text::name("line", &self.line, 64)?;
        if self.prices.len() > 50 {
            return Err(Invalid::new("prices", self.prices.len(), "at most 50").into());
        }
        let tier = &self.tier;
        self.prices = self
            .prices
            .into_iter()
            .map(|price| {
                NewPrice {
                    tier: tier.clone(),
                    ..price
                }
                .checked()
            })
            .collect::<Result<_, _>>()?;
        for (at, price) in self.prices.iter().enumerate() {
            if self.prices[..at].iter().any(|other| other.slot() == price.slot()) {
                let found = format!("two {} prices in {}", price.terms.kind(), price.amount.currency());
                let allowed = "one price per currency, type and interval";
                return Err(Invalid::new(format!("prices[{at}]"), found, allowed).into());
            }
        }
        Ok(self)
    }
}

/// A price to be put on sale; given to `catalog().set_price`.
#[derive(Clone, Debug)]
pub struct NewPrice {
    pub(crate) tier: String,
    pub(crate) amount: Amount,
    pub(crate) terms: Terms,
}

impl NewPrice {
    /// A one-time price of a tier, for ever.
    #[must_use]
    pub fn new(tier: impl Into<String>, amount: Amount) -> NewPrice {
        NewPrice {
            tier: tier.into(),
            amount,
            terms: Terms::OneTime {
                lasting: None,
                access_days: None,
            },
        }
    }

    /// One purchase lasts this long: a day is 1 day, a week 7, a month 30, a year 365.
    #[must_use]
    pub fn lasting(mut self, interval: Interval) -> Self {
        let access_days = match self.terms {
            Terms::OneTime { access_days, .. } => access_days,
            Terms::Recurring { .. } => None,
        };
        self.terms = Terms::OneTime {
            lasting: Some(interval),
            access_days,
        };
        self
    }

    /// One purchase lasts this many days, 1 to 36,500.
    #[must_use]
    pub fn access_days(mut self, days: u32) -> Self {
        let lasting = match self.terms {
            Terms::OneTime { lasting, .. } => lasting,
            Terms::Recurring { .. } => None,
        };
        self.terms = Terms::OneTime {
            lasting,
            access_days: Some(days),
        };
        self
    }

    /// Paid again every interval, after a trial of so many days if any (1 to 3,650).
    #[must_use]
    pub fn recurring(mut self, every: Interval, trial_days: Option<u32>) -> Self {
        self.terms = Terms::Recurring { every, trial_days };
        self
    }

    pub(crate) fn checked(mut self) -> Result<NewPrice, Error> {
        self.tier = text::name("tier", &self.tier, 64)?;
        chargeable("currency", self.amount)?;
        let bounded = |field: &str, days: Option<u32>, max: u32| match days {
            Some(days) if !(1..=max).contains(&days) => {
                Err(Error::from(Invalid::new(field, days, format!("1 to {max}"))))
            }
            _ => Ok(()),
        };
        match self.terms {
            Terms::OneTime { access_days, .. } => bounded("access_days", access_days, 36_500)?,
            Terms::Recurring { trial_days, .. } => bounded("trial_days", trial_days, 3_650)?,
        }
        Ok(self)
    }

    /// What makes a price take the place of another of the same product.
    pub(crate) fn slot(&self) -> Slot {
        slot(self.amount, &self.terms)
    }
}

impl Price {
    pub(crate) fn slot(&self) -> Slot {
        slot(self.unit_amount, &self.terms)
    }

    /// Whether putting `new` on sale would change nothing.
    pub(crate) fn is_same_offer(&self, new: &NewPrice) -> bool {
        self.archived_at.is_none() && self.unit_amount == new.amount && self.terms == new.terms
    }
}

/// Currency, kind and interval: a product has one price on sale for each.
pub(crate) type Slot = (crate::money::Currency, &'static str, Option<Interval>);

fn slot(amount: Amount, terms: &Terms) -> Slot {
    (amount.currency(), terms.kind(), terms.interval())
}

/// Refuses an amount in a currency that nothing new may be priced in.
pub(crate) fn chargeable(field: &str, amount: Amount) -> Result<(), Error> {
    if amount.currency().is_chargeable() {
        return Ok(());
    }
    let allowed = "a currency in use (not withdrawn, not a unit of account)";
    Err(Invalid::new(field, amount.currency(), allowed).into())
}
