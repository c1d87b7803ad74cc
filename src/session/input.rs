use std::time::Duration;

use super::Dialect;
use crate::customer::{self, NewCustomer};
use crate::digest::Fields;
use crate::error::{Error, Invalid};
use crate::id::{CustomerId, Mode, PriceId};
use crate::money::{Amount, Currency};
use crate::payment::CaptureMethod;
use crate::text::{self, Metadata, Url};

/// The most lines of a session.
const MAX_LINES: usize = 100;
const MAX_QUANTITY: u32 = 1_000_000;
const SHORTEST_LIFE: Duration = Duration::from_secs(30 * 60);
const LONGEST_LIFE: Duration = Duration::from_secs(30 * 86_400);

/// What happens after payment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Completion {
    /// The buyer is sent to this URL.
    Redirect(String),
    /// The hosted page says thanks.
    HostedConfirmation,
}

/// A checkout session to be made; given to `sessions().create`.
///
/// The price comes from the catalogue ([`NewSession::tier`], [`NewSession::price`], or lines of
/// those kinds) or from the caller ([`NewLine::inline`]). All lines share one currency.
#[derive(Clone, Debug)]
pub struct NewSession {
    pub(crate) dialect: Dialect,
    pub(crate) lines: Vec<NewLine>,
    pub(crate) customer: Option<NewCustomer>,
    pub(crate) payer: Option<CustomerId>,
    pub(crate) for_uid: Option<String>,
    pub(crate) email: Option<String>,
    pub(crate) completion: Completion,
    pub(crate) cancel_url: Option<String>,
    pub(crate) capture: CaptureMethod,
    pub(crate) metadata: Metadata,
    pub(crate) lifetime: Option<Duration>,
    pub(crate) order_key: Option<String>,
    pub(crate) idempotency_key: Option<String>,
}

/// One line of a session to be made.
#[derive(Clone, Debug)]
pub struct NewLine {
    pub(crate) choice: Choice,
    pub(crate) quantity: u32,
}

/// Where a line's price comes from.
#[derive(Clone, Debug)]
pub(crate) enum Choice {
    Tier { tier: String, currency: Currency },
    Price(PriceId),
    Inline { name: String, unit_amount: Amount },
}

impl NewLine {
    /// The tier's price in a currency. Among several on sale: one-time before recurring, then the
    /// shorter interval, no interval last.
    #[must_use]
    pub fn tier(tier: impl Into<String>, currency: Currency) -> NewLine {
        NewLine {
            choice: Choice::Tier {
                tier: tier.into(),
                currency,
            },
            quantity: 1,
        }
    }

    /// A price of the catalogue.
    #[must_use]
    pub fn price(price: &PriceId) -> NewLine {
        NewLine {
            choice: Choice::Price(price.clone()),
            quantity: 1,
        }
    }

    /// Something that is not in the catalogue, 1 to 250 characters, at the caller's price. It
    /// grants nothing.
    #[must_use]
    pub fn inline(name: impl Into<String>, unit_amount: Amount) -> NewLine {
        NewLine {
            choice: Choice::Inline {
                name: name.into(),
                unit_amount,
            },
            quantity: 1,
        }
    }

    /// How many, 1 to 1,000,000.
    #[must_use]
    pub fn quantity(mut self, quantity: u32) -> Self {
        self.quantity = quantity;
        self
    }
}

impl NewSession {
    /// A session without lines. It can be made and read, and paid once lines were put in.
    #[must_use]
    pub fn empty() -> NewSession {
        NewSession {
            dialect: Dialect::Native,
            lines: Vec::new(),
            customer: None,
            payer: None,
            for_uid: None,
            email: None,
            completion: Completion::HostedConfirmation,
            cancel_url: None,
            capture: CaptureMethod::Automatic,
            metadata: Metadata::default(),
            lifetime: None,
            order_key: None,
            idempotency_key: None,
        }
    }

    /// A session for one of a tier, at its price in a currency.
    #[must_use]
    pub fn tier(tier: impl Into<String>, currency: Currency) -> NewSession {
        NewSession::empty().line(NewLine::tier(tier, currency))
    }

    /// A session for one of a price of the catalogue.
    #[must_use]
    pub fn price(price: &PriceId) -> NewSession {
        NewSession::empty().line(NewLine::price(price))
    }

    /// One more line; at most 100.
    #[must_use]
    pub fn line(mut self, line: NewLine) -> Self {
        self.lines.push(line);
        self
    }

    /// The wire format whose lifetime and return URL the session has.
    #[must_use]
    pub fn dialect(mut self, dialect: Dialect) -> Self {
        self.dialect = dialect;
        self
    }

    /// The payer by the host's own name for them. A customer unknown so far is made.
    #[must_use]
    pub fn customer(self, uid: impl Into<String>) -> Self {
        self.customer_details(NewCustomer::uid(uid))
    }

    /// The payer with name, e-mail and phone; what is given replaces what was known. Without a uid each
    /// session makes another customer. A key of the customer's own is refused: the session's covers it.
    #[must_use]
    pub fn customer_details(mut self, customer: NewCustomer) -> Self {
        self.customer = Some(customer);
        self
    }

    /// The payer by id: a customer that is known and was not deleted. In place of
    /// [`NewSession::customer`] and [`NewSession::customer_details`], not beside them.
    #[must_use]
    pub fn payer(mut self, customer: &CustomerId) -> Self {
        self.payer = Some(customer.clone());
        self
    }

    /// Whose entitlement the sale raises: 1 to 200 characters. Without it, the uid that the payer has
    /// when the session is made; if it has none, nobody's.
    #[must_use]
    pub fn for_uid(mut self, uid: impl Into<String>) -> Self {
        self.for_uid = Some(uid.into());
        self
    }

    /// Where the receipt should go. It is stored and echoed; nothing here sends e-mail.
    #[must_use]
    pub fn email(mut self, email: impl Into<String>) -> Self {
        self.email = Some(email.into());
        self
    }

    /// Sends the buyer to this URL after payment; see [`Dialect`] for what is put into it. Without
    /// it the hosted page says thanks.
    #[must_use]
    pub fn return_to(mut self, url: impl Into<String>) -> Self {
        self.completion = Completion::Redirect(url.into());
        self
    }

    /// Where a buyer goes who gives up.
    #[must_use]
    pub fn cancel_url(mut self, url: impl Into<String>) -> Self {
        self.cancel_url = Some(url.into());
        self
    }

    /// What is paid is held, and taken when the host says so ([`crate::Sessions::capture`]). Until then
    /// the session is processing.
    #[must_use]
    pub fn capture_later(mut self) -> Self {
        self.capture = CaptureMethod::Manual;
        self
    }

    /// What comes back with the session and its events.
    #[must_use]
    pub fn metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = metadata;
        self
    }

    /// How long it can be paid: 30 minutes to 30 days. Without it, as the dialect says.
    #[must_use]
    pub fn expires_after(mut self, lifetime: Duration) -> Self {
        self.lifetime = Some(lifetime);
        self
    }

    /// The host's order that the session serves: 1 to 255 visible ASCII characters. Of an order's
    /// sessions at most one can be paid or was. A new one takes the place of one that is open, which
    /// expires as superseded; while one is being paid, and once one was, a new one is refused with
    /// [`Error::OrderTaken`]. What looks like a card number is refused: see [`NewCustomer::uid`] for
    /// how ids of digits keep clear of that.
    #[must_use]
    pub fn order_key(mut self, order: impl Into<String>) -> Self {
        self.order_key = Some(order.into());
        self
    }

    /// The same key returns the same session, after a retry and after a crash: 1 to 255 visible
    /// ASCII characters. It is known for seven days, or as long as
    /// [`crate::Builder::keep_idempotency_keys`] says. What looks like a card number is refused: see
    /// [`NewCustomer::uid`] for how ids of digits keep clear of that.
    #[must_use]
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }

    pub(crate) fn checked(self, mode: Mode) -> Result<Checked, Error> {
        let lifetime = match self.lifetime {
            None => Duration::from_secs(60 * u64::from(self.dialect.lifetime_minutes())),
            Some(given) if (SHORTEST_LIFE..=LONGEST_LIFE).contains(&given) => given,
            Some(given) => {
                let found = format!("{} seconds", given.as_secs());
                return Err(Invalid::new("expires_after", found, "30 minutes to 30 days").into());
            }
        };
        let payer = match (self.payer, self.customer) {
            (None, None) => None,
            (Some(id), None) => Some(Payer::Known(id)),
            (None, Some(given)) => Some(Payer::Given(
                given
                    .checked()?
                    .keyless("customer.idempotency_key", "the session's own covers its payer")?,
            )),
            (Some(id), Some(_)) => {
                return Err(Invalid::new("payer", id, "one payer: by id, by uid, or with details").into());
            }
        };
        let payers_uid = payer
            .as_ref()
            .and_then(Payer::given)
            .and_then(|given| given.uid.clone());
        Ok(Checked {
            dialect: self.dialect,
            lines: checked_lines(self.lines)?,
            for_uid: text::optional("for_uid", self.for_uid.as_deref(), customer::MAX_UID)?.or(payers_uid),
            payer,
            email: self
                .email
                .as_deref()
                .map(|given| customer::email("email", given))
                .transpose()?,
            completion: checked_completion(self.dialect, mode, self.completion)?,
            cancel_url: self
                .cancel_url
                .as_deref()
                .map(|given| checked_url("cancel_url", given))
                .transpose()?,
            capture: self.capture,
            metadata: self.metadata,
            lifetime,
            order_key: text::key("order_key", self.order_key.as_deref())?,
            idempotency_key: text::key("idempotency_key", self.idempotency_key.as_deref())?,
        })
    }
}

/// Who pays.
#[derive(Clone, Debug)]
pub(crate) enum Payer {
    /// A customer that must be there.
    Known(CustomerId),
    /// One to be made, or changed if the uid is known.
    Given(NewCustomer),
}

impl Payer {
    fn given(&self) -> Option<&NewCustomer> {
        match self {
            Payer::Known(_) => None,
            Payer::Given(customer) => Some(customer),
        }
    }
}

/// A [`NewSession`] whose every part has been checked.
#[derive(Clone, Debug)]
pub(crate) struct Checked {
    pub(crate) dialect: Dialect,
    pub(crate) lines: Vec<NewLine>,
    pub(crate) payer: Option<Payer>,
    pub(crate) for_uid: Option<String>,
    pub(crate) email: Option<String>,
    pub(crate) completion: Completion,
    pub(crate) cancel_url: Option<String>,
    pub(crate) capture: CaptureMethod,
    pub(crate) metadata: Metadata,
    pub(crate) lifetime: Duration,
    pub(crate) order_key: Option<String>,
    pub(crate) idempotency_key: Option<String>,
}

impl Checked {
    /// The hash of everything that was asked for, but the key: who repeats a key must repeat it.
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        let (completion, return_url) = match &self.completion {
            Completion::Redirect(url) => ("redirect", Some(url.as_str())),
            Completion::HostedConfirmation => ("hosted_confirmation", None),
        };
        let customer = self.payer.as_ref().and_then(Payer::given);
        let of_customer = |part: fn(&NewCustomer) -> &Option<String>| customer.and_then(|c| part(c).as_deref());
        let mut fields = Fields::new()
            .text(self.dialect.as_str())
            .maybe(of_customer(|customer| &customer.uid))
            .maybe(of_customer(|customer| &customer.name))
            .maybe(of_customer(|customer| &customer.email))
            .maybe(of_customer(|customer| &customer.phone))
            .int(i64::from(customer.is_some()))
            .maybe(self.for_uid.as_deref())
            .maybe(self.email.as_deref())
            .text(completion)
            .maybe(return_url)
            .maybe(self.cancel_url.as_deref())
            .int(i64::try_from(self.lifetime.as_millis()).unwrap_or(i64::MAX));
        // A payer without metadata is another than one of whom it is not said.
        fields = Metadata::hashed(Some(&self.metadata), fields);
        fields = Metadata::hashed(customer.and_then(|customer| customer.metadata.as_ref()), fields);
        for line in &self.lines {
            fields = fields.int(i64::from(line.quantity));
            fields = match &line.choice {
                Choice::Tier { tier, currency } => fields.text("tier").text(tier).text(currency.code()),
                Choice::Price(price) => fields.text("price").text(price.as_str()),
                Choice::Inline { name, unit_amount } => fields
                    .text("inline")
                    .text(name)
                    .int(unit_amount.as_minor())
                    .text(unit_amount.currency().code()),
            };
        }
        // Only where there is one: the hashes of requests without are stored in files that know of
        // no orders and no payers by id.
        if let Some(order) = &self.order_key {
            fields = fields.text("order_key").text(order);
        }
        if self.capture == CaptureMethod::Manual {
            fields = fields.text("capture").text(self.capture.as_str());
        }
        if let Some(Payer::Known(id)) = &self.payer {
            fields = fields.text("payer").text(id.as_str());
        }
        fields.finish()
    }
}

pub(super) fn checked_lines(lines: Vec<NewLine>) -> Result<Vec<NewLine>, Error> {
    if lines.len() > MAX_LINES {
        return Err(Invalid::new("lines", lines.len(), format!("at most {MAX_LINES} lines")).into());
    }
    for (at, line) in lines.iter().enumerate() {
        if !(1..=MAX_QUANTITY).contains(&line.quantity) {
            let field = format!("lines[{at}].quantity");
            return Err(Invalid::new(field, line.quantity, format!("1 to {MAX_QUANTITY}")).into());
        }
        match &line.choice {
            Choice::Tier { tier, .. } => drop(text::name(&format!("lines[{at}].tier"), tier, 64)?),
            Choice::Price(_) => {}
            Choice::Inline { name, unit_amount } => {
                text::text(&format!("lines[{at}].name"), name, 250)?;
                crate::catalog::chargeable(&format!("lines[{at}].currency"), *unit_amount)?;
            }
        }
    }
    Ok(lines)
}

pub(super) fn checked_url(field: &str, url: &str) -> Result<String, Error> {
    Url::parse(field, url).map(|_| url.to_owned())
}

pub(super) fn checked_completion(dialect: Dialect, mode: Mode, completion: Completion) -> Result<Completion, Error> {
    if let Completion::Redirect(raw) = &completion {
        let url = Url::parse("return_url", raw)?;
        let guarded = dialect == Dialect::XPay && mode == Mode::Live;
        if guarded && (!url.is_https() || url.is_localhost()) {
            return Err(Invalid::new("return_url", raw, "https and not localhost in live mode").into());
        }
    }
    Ok(completion)
}
