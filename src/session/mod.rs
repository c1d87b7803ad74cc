//! Checkout sessions: what one buyer is asked to pay, once.
//!
//! A session freezes what it sells when it is made: prices, names, and what a purchase grants are
//! copied into its lines, so that no later change of the catalogue reaches it. While it is open
//! its lines may be replaced; from the first attempt to pay on, they may not.

mod input;
mod state;
mod update;

pub(crate) use input::{Checked, Choice, Payer};
pub use input::{Completion, NewLine, NewSession};
pub(crate) use state::SessionEvent;
pub use state::{ExpiredReason, SessionState};
pub use update::SessionUpdate;

use crate::customer::Customer;
use crate::digest::Fields;
use crate::error::Refused;
use crate::hook::RequestLine;
use crate::id::{Mode, PriceId, ProductId, SessionId};
use crate::money::{Amount, Currency};
use crate::payment::{CaptureMethod, PaymentIntent};
use crate::text::Metadata;
use crate::time::Timestamp;

/// The wire format in which a session was made. It decides the session's lifetime and what its
/// return URL looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dialect {
    /// Made through this crate: 24 hours, `{CHECKOUT_SESSION_ID}` in the return URL is replaced.
    #[default]
    Native,
    /// As XPay: 24 hours, `{CHECKOUT_SESSION_ID}` replaced, in live mode the return URL is https.
    XPay,
    /// As Elixpo Pay: 30 minutes, the return URL as it is.
    Elixpo,
    /// As JoPay: one hour, `session_id` appended to the return URL.
    JoPay,
}

impl Dialect {
    pub(crate) const ALL: [Dialect; 4] = [Dialect::Native, Dialect::XPay, Dialect::Elixpo, Dialect::JoPay];

    /// The dialect's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Dialect::Native => "native",
            Dialect::XPay => "xpay",
            Dialect::Elixpo => "elixpo",
            Dialect::JoPay => "jopay",
        }
    }

    /// Minutes that a session lives unless it asks for another time.
    #[must_use]
    pub const fn lifetime_minutes(self) -> u32 {
        match self {
            Dialect::Native | Dialect::XPay => 24 * 60,
            Dialect::Elixpo => 30,
            Dialect::JoPay => 60,
        }
    }
}

/// A checkout session.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Session {
    /// The session's id. Who has it can open the page and pay.
    pub id: SessionId,
    /// The wire format in which it was made.
    pub dialect: Dialect,
    /// Where it stands.
    pub state: SessionState,
    /// The payer; none for a guest.
    pub customer: Option<Customer>,
    /// Whose entitlement a sale raises; none: nobody's.
    pub for_uid: Option<String>,
    /// Where the caller wants the receipt sent. Nothing here sends e-mail.
    pub email: Option<String>,
    /// The currency of all lines; none while there is no line.
    pub currency: Option<Currency>,
    /// Decimals of the currency when the lines were priced.
    pub exponent: u8,
    /// Sums over the lines, in minor units.
    pub totals: Totals,
    /// What is bought.
    pub lines: Vec<Line>,
    /// Where the buyer goes after paying.
    pub completion: Completion,
    /// Where the buyer goes to give up.
    pub cancel_url: Option<String>,
    /// Whether what is paid is taken at once or held first.
    pub capture: CaptureMethod,
    /// The URL of the hosted page; none while the app has no public URL.
    pub url: Option<String>,
    /// The host's order that at most one live or paid session may serve.
    pub order_key: Option<String>,
    /// What the host attached.
    pub metadata: Metadata,
    /// The payment; none until the first attempt.
    pub payment_intent: Option<PaymentIntent>,
    /// Engine time.
    pub created_at: Timestamp,
    /// Engine time.
    pub updated_at: Timestamp,
    /// Engine time from which it cannot be paid.
    pub expires_at: Timestamp,
    /// Engine time at which it was paid, or completed with nothing to pay.
    pub completed_at: Option<Timestamp>,
    pub(crate) public_url: Option<String>,
    pub(crate) snapshot: [u8; 32],
    pub(crate) revision: i64,
}

/// Sums over a session's lines, in minor units: `total = subtotal - discount + tax`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Totals {
    /// Unit amounts times quantities.
    pub subtotal: i64,
    /// What is taken off.
    pub discount: i64,
    /// What is added as tax.
    pub tax: i64,
    /// What is paid.
    pub total: i64,
}

/// One line of a session, frozen.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Line {
    /// The catalogue's price; none for a line priced by the caller.
    pub price: Option<PriceId>,
    /// The catalogue's product; none for a line priced by the caller.
    pub product: Option<ProductId>,
    /// What the buyer reads.
    pub name: String,
    /// How many.
    pub quantity: u32,
    /// The amount for one, in minor units.
    pub unit_amount: i64,
    /// The line's sums.
    pub totals: Totals,
    /// What a sale of this line grants; none: nothing.
    pub grants: Option<GrantTerms>,
}

impl From<&Line> for RequestLine {
    fn from(line: &Line) -> RequestLine {
        RequestLine {
            name: line.name.clone(),
            quantity: line.quantity,
            total: line.totals.total,
        }
    }
}

/// What a sale grants.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GrantTerms {
    /// The tier.
    pub tier: String,
    /// The line of entitlements that the tier belongs to.
    pub line: String,
    /// The tier's rank within the line.
    pub rank: i32,
    /// How many days the grant lasts; none: for ever.
    pub days: Option<u32>,
}

impl Session {
    /// The sum to pay; none while there is no line.
    #[must_use]
    pub fn total(&self) -> Option<Amount> {
        Amount::minor(self.totals.total, self.currency?).ok()
    }

    /// Whether money arrived or none was due.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.state == SessionState::Complete
    }

    /// `paid`, `no_payment_required` or `unpaid`.
    #[must_use]
    pub fn payment_status(&self) -> &'static str {
        match (self.state, self.totals.total) {
            (SessionState::Complete, 0) => "no_payment_required",
            (SessionState::Complete, _) => "paid",
            _ => "unpaid",
        }
    }

    /// Where the buyer goes after paying, with the session's id put in as the dialect wants it;
    /// none if the hosted page itself says thanks.
    #[must_use]
    pub fn return_url(&self) -> Option<String> {
        let Completion::Redirect(url) = &self.completion else {
            return None;
        };
        Some(match self.dialect {
            Dialect::Native | Dialect::XPay => url.replace("{CHECKOUT_SESSION_ID}", self.id.as_str()),
            Dialect::Elixpo => url.clone(),
            Dialect::JoPay => with_parameter(url, "session_id", self.id.as_str()),
        })
    }

    /// The session as of an engine time: an open one whose time has passed reads as expired, with
    /// the revision and the time that storing it will give it.
    pub(crate) fn at(mut self, now: Timestamp) -> Session {
        if self.is_overdue(now) {
            let at = self.expires_at;
            // An open session always accepts expiry, so the refusal cannot happen.
            let _ = self.step(SessionEvent::Expire(ExpiredReason::Timeout), at);
            self.revision += 1;
        }
        self
    }

    /// Whether time has closed it and nobody has stored that yet.
    pub(crate) fn is_overdue(&self, now: Timestamp) -> bool {
        self.state == SessionState::Open && now >= self.expires_at
    }

    /// Moves the state machine.
    pub(crate) fn step(&mut self, event: SessionEvent, at: Timestamp) -> Result<(), Refused> {
        self.state = state::next(self.state, event)?;
        self.updated_at = at;
        if self.state == SessionState::Complete {
            self.completed_at = Some(at);
        }
        Ok(())
    }

    pub(crate) fn mode(&self) -> Mode {
        self.id.mode()
    }

    /// The hash of what is sold and for how much.
    pub(crate) fn snapshot_of(&self) -> [u8; 32] {
        snapshot(self.currency, self.exponent, self.totals, &self.lines)
    }
}

/// The hash of what is sold and for how much.
fn snapshot(currency: Option<Currency>, exponent: u8, totals: Totals, lines: &[Line]) -> [u8; 32] {
    let sums = |fields: Fields, totals: Totals| {
        fields
            .int(totals.subtotal)
            .int(totals.discount)
            .int(totals.tax)
            .int(totals.total)
    };
    let head = Fields::new()
        .maybe(currency.as_ref().map(Currency::code))
        .int(i64::from(exponent));
    let line = |fields: Fields, line: &Line| {
        let fields = fields
            .maybe(line.price.as_ref().map(PriceId::as_str))
            .maybe(line.product.as_ref().map(ProductId::as_str))
            .text(&line.name)
            .int(i64::from(line.quantity))
            .int(line.unit_amount);
        let grants = line.grants.as_ref();
        sums(fields, line.totals)
            .maybe(grants.map(|grants| grants.tier.as_str()))
            .maybe(grants.map(|grants| grants.line.as_str()))
            .int(grants.map_or(0, |grants| i64::from(grants.rank)))
            .int(grants.and_then(|grants| grants.days).map_or(-1, i64::from))
    };
    lines.iter().fold(sums(head, totals), line).finish()
}

/// The URL of a session's hosted page.
pub(crate) fn page_url(base: &str, id: &SessionId) -> String {
    format!("{}/c/{id}", base.trim_end_matches('/'))
}

/// A URL with a query parameter appended before the fragment.
fn with_parameter(url: &str, name: &str, value: &str) -> String {
    let (rest, fragment) = match url.split_once('#') {
        Some((rest, fragment)) => (rest, format!("#{fragment}")),
        None => (url, String::new()),
    };
    let joint = match rest.split_once('?') {
        None => "?",
        Some((_, "")) => "",
        Some(_) => "&",
    };
    format!("{rest}{joint}{name}={value}{fragment}")
}

#[cfg(test)]
mod tests;
