use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use crate::error::Error;
use crate::money::{Amount, Currency, Units};

/// What a service can do. Build it with [`Capabilities::new`] and the setters.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// How long the service remembers idempotency keys; none if it has no such keys.
    pub idempotency_window: Option<Duration>,
    /// Whether attempts can be looked up.
    pub lookup: bool,
    /// How long after a call a "not found" is final: by then a call that arrived would be visible.
    /// None if it never is.
    pub not_found_final_after: Option<Duration>,
    /// How long one call may take.
    pub call_timeout: Duration,
    /// Whether a payment is over for good once the service has said by itself that it was declined.
    pub declines_final: bool,
    /// What the service can do beside taking an amount at once and giving all of it back.
    pub abilities: BTreeSet<Ability>,
    /// The currencies in which it takes money; none: in any.
    pub currencies: Option<BTreeSet<Currency>>,
    /// The least that it takes at once, by currency; a currency that is not here has no least amount.
    pub minimums: BTreeMap<Currency, Amount>,
    /// The most that it takes at once, by currency; a currency that is not here has no greatest amount.
    pub maximums: BTreeMap<Currency, Amount>,
    /// How it counts money, where that is not as ISO 4217 does: an amount that it cannot express is
    /// refused before anything is written. None: every amount is taken for one that it can, and the
    /// processor has to refuse what it cannot.
    pub units: Option<Units>,
}

impl Capabilities {
    /// No idempotency keys, no look-ups, calls of up to 30 seconds; any amount of any currency. It can
    /// hold amounts and take or give back parts of them; it saves no payment methods unless it says so.
    #[must_use]
    pub fn new() -> Capabilities {
        Capabilities {
            idempotency_window: None,
            lookup: false,
            not_found_final_after: None,
            call_timeout: Duration::from_secs(30),
            declines_final: false,
            abilities: [Ability::Authorize, Ability::PartialCapture, Ability::PartialRefund].into(),
            currencies: None,
            minimums: BTreeMap::new(),
            maximums: BTreeMap::new(),
            units: None,
        }
    }

    /// The service deduplicates by key, and remembers keys for this long.
    #[must_use]
    pub fn idempotency_window(mut self, window: Duration) -> Self {
        self.idempotency_window = Some(window);
        self
    }

    /// Attempts can be looked up.
    #[must_use]
    pub fn lookup(mut self) -> Self {
        self.lookup = true;
        self
    }

    /// A "not found" is final once this much time has passed since the call.
    #[must_use]
    pub fn not_found_final_after(mut self, settled: Duration) -> Self {
        self.not_found_final_after = Some(settled);
        self
    }

    /// How long one call may take, 1 second to 10 minutes; values outside are moved inside.
    #[must_use]
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.call_timeout = timeout.clamp(Duration::from_secs(1), Duration::from_secs(600));
        self
    }

    /// What the service tells of by itself as declined ends at that: no buyer can try the same payment with
    /// another card on the service's page, and no decline arrives that is older than a success. Without
    /// this, [`NoticeKind::Evidence`](crate::NoticeKind::Evidence) of a decline is looked up before it ends
    /// anything, and moves nothing while the buyer may be about to try again.
    #[must_use]
    pub fn declines_are_final(mut self) -> Self {
        self.declines_final = true;
        self
    }

    /// It can do this.
    #[must_use]
    pub fn can(mut self, ability: Ability) -> Self {
        self.abilities.insert(ability);
        self
    }

    /// It cannot do this.
    #[must_use]
    pub fn cannot(mut self, ability: Ability) -> Self {
        self.abilities.remove(&ability);
        self
    }

    /// It takes money in these currencies and no others.
    #[must_use]
    pub fn currencies(mut self, currencies: impl IntoIterator<Item = Currency>) -> Self {
        self.currencies = Some(currencies.into_iter().collect());
        self
    }

    /// The least that it takes at once in the amount's currency.
    #[must_use]
    pub fn minimum(mut self, amount: Amount) -> Self {
        self.minimums.insert(amount.currency(), amount);
        self
    }

    /// The most that it takes at once in the amount's currency.
    #[must_use]
    pub fn maximum(mut self, amount: Amount) -> Self {
        self.maximums.insert(amount.currency(), amount);
        self
    }

    /// How it counts money, such as [`Units::stripe`].
    #[must_use]
    pub fn units(mut self, units: Units) -> Self {
        self.units = Some(units);
        self
    }

    /// Whether it takes an amount at once.
    ///
    /// # Errors
    /// `BeyondProcessor`.
    pub(crate) fn takes(&self, processor: &str, amount: Amount) -> Result<(), Error> {
        let currency = amount.currency();
        let beyond = |allowed: String| Err(beyond(processor, amount.to_string(), allowed));
        self.deals_in(processor, currency, amount)?;
        match (self.minimums.get(&currency), self.maximums.get(&currency)) {
            (Some(least), _) if amount.as_minor() < least.as_minor() => beyond(format!("{least} and more")),
            (_, Some(most)) if amount.as_minor() > most.as_minor() => beyond(format!("up to {most}")),
            _ => self.expresses(processor, amount),
        }
    }

    /// Whether it has to do with a currency.
    ///
    /// # Errors
    /// `BeyondProcessor`, with what was asked.
    pub(crate) fn deals_in(&self, processor: &str, currency: Currency, asked: impl fmt::Display) -> Result<(), Error> {
        match self.currencies.as_ref().filter(|known| !known.contains(&currency)) {
            Some(known) => {
                let known: Vec<String> = known.iter().map(Currency::to_string).collect();
                let allowed = if known.is_empty() {
                    "no money, as it has no currencies".to_owned()
                } else {
                    format!("money in {}", known.join(", "))
                };
                Err(beyond(processor, asked.to_string(), allowed))
            }
            None => Ok(()),
        }
    }

    /// Whether it can count an amount.
    ///
    /// # Errors
    /// `BeyondProcessor`.
    pub(crate) fn expresses(&self, processor: &str, amount: Amount) -> Result<(), Error> {
        match self.units.as_ref().map(|units| units.to_service(amount)) {
            Some(Err(Error::Invalid(refused))) => {
                // What to do about it is said of whatever is beyond a processor.
                let allowed = refused.allowed.split("; ").next().unwrap_or_default();
                Err(beyond(processor, amount.to_string(), allowed.to_owned()))
            }
            Some(Err(error)) => Err(error),
            Some(Ok(_)) | None => Ok(()),
        }
    }

    /// Whether it can do something.
    ///
    /// # Errors
    /// `BeyondProcessor`, with what was asked and what it can do instead.
    pub(crate) fn has(&self, processor: &str, ability: Ability, asked: impl fmt::Display) -> Result<(), Error> {
        if self.abilities.contains(&ability) {
            return Ok(());
        }
        let instead = match ability {
            Ability::Authorize => "a payment that is taken at once",
            Ability::PartialCapture => "all that is held",
            Ability::PartialRefund => "all that was taken",
            Ability::SaveMethods => "a payment that saves no method",
            Ability::Setup => "payments only",
        };
        Err(beyond(processor, asked.to_string(), instead.to_owned()))
    }
}

/// What a service can do or not, beside taking an amount at once and giving all of it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Ability {
    /// It holds an amount that is taken later. Unless it says otherwise, it can.
    Authorize,
    /// It takes a part of what it holds. Unless it says otherwise, it can.
    PartialCapture,
    /// It gives back a part of what it took. Unless it says otherwise, it can.
    PartialRefund,
    /// It saves the method of a payment if it is asked to. It must say that it can.
    SaveMethods,
    /// It saves a method without taking money ([`crate::Operation::Setup`]). It must say that it can.
    Setup,
}

fn beyond(processor: &str, found: String, allowed: String) -> Error {
    Error::BeyondProcessor {
        processor: processor.to_owned(),
        found,
        allowed,
    }
}

impl Default for Capabilities {
    fn default() -> Self {
        Capabilities::new()
    }
}

#[cfg(test)]
mod tests;
