use super::GrantEffect;
use crate::digest::Fields;
use crate::error::{Error, Invalid};
use crate::id::{ChargeId, Mode, SessionId};
use crate::money::Amount;
use crate::text::{self, Metadata};

/// The most characters of a reason.
const MAX_REASON: usize = 500;

/// The most lines that one refund may name.
const MAX_LINES: usize = 100;

/// Money to be given back; given to `refunds().create`. Unless it is told how much, everything that
/// is left of the charge.
#[derive(Clone, Debug)]
pub struct NewRefund {
    target: Target,
    share: Share,
    effect: Option<GrantEffect>,
    reason: Option<String>,
    metadata: Metadata,
    idempotency_key: Option<String>,
}

/// What was paid with the money.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Charge(ChargeId),
    /// The charge that settled the session.
    Session(SessionId),
}

/// How much goes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Share {
    /// Everything that is left.
    Rest,
    Amount(Amount),
    /// So many units of lines, by their places.
    Units(Vec<(usize, u32)>),
}

impl NewRefund {
    fn of(target: Target) -> NewRefund {
        NewRefund {
            target,
            share: Share::Rest,
            effect: None,
            reason: None,
            metadata: Metadata::default(),
            idempotency_key: None,
        }
    }

    /// Of what one charge took, whether it paid for anything or not.
    #[must_use]
    pub fn charge(charge: &ChargeId) -> NewRefund {
        NewRefund::of(Target::Charge(charge.clone()))
    }

    /// Of what a complete session was paid with.
    #[must_use]
    pub fn session(session: &SessionId) -> NewRefund {
        NewRefund::of(Target::Session(session.clone()))
    }

    /// This much, in the currency of the charge. In place of units that were named.
    #[must_use]
    pub fn amount(mut self, amount: Amount) -> Self {
        self.share = Share::Amount(amount);
        self
    }

    /// So many units of the session's line at a place, 0 for the first, each line once. What a unit
    /// comes to is such that all units together come to the line's total exactly, in whichever order
    /// they go back. In place of an amount that was named.
    #[must_use]
    pub fn units(mut self, position: usize, quantity: u32) -> Self {
        match &mut self.share {
            Share::Units(units) => units.push((position, quantity)),
            Share::Rest | Share::Amount(_) => self.share = Share::Units(vec![(position, quantity)]),
        }
        self
    }

    /// What becomes of what the sale granted, once the money is back. A refund by units has an effect
    /// on a line's grant when no unit of the line is left; a refund of everything that is left of the
    /// charge, and one that names no units, on all of them. Where several refunds use a line or the
    /// charge up, the newest of them decides. Unless it is said, that is decided when the money is back:
    /// a refund that leaves nothing of a charge which paid for its session takes everything back, any
    /// other leaves it.
    #[must_use]
    pub fn effect(mut self, effect: GrantEffect) -> Self {
        self.effect = Some(effect);
        self
    }

    /// The reason, up to 500 characters.
    #[must_use]
    pub fn reason(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// What to attach.
    #[must_use]
    pub fn metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = metadata;
        self
    }

    /// The same key refunds once: a repetition gets the refund that it made. 1 to 255 visible ASCII
    /// characters.
    #[must_use]
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }

    pub(crate) fn checked(self) -> Result<Checked, Error> {
        match &self.share {
            Share::Amount(amount) if amount.is_zero() => {
                return Err(Invalid::new("amount", 0, "an amount above zero").into());
            }
            Share::Units(units) => check_units(units)?,
            Share::Rest | Share::Amount(_) => {}
        }
        Ok(Checked {
            target: self.target,
            share: self.share,
            effect: self.effect,
            reason: text::optional("reason", self.reason.as_deref(), MAX_REASON)?,
            metadata: self.metadata,
            idempotency_key: text::key("idempotency_key", self.idempotency_key.as_deref())?,
        })
    }
}

fn check_units(units: &[(usize, u32)]) -> Result<(), Error> {
    if units.len() > MAX_LINES {
        return Err(Invalid::new("units", units.len(), format!("up to {MAX_LINES} lines")).into());
    }
    for (at, (position, quantity)) in units.iter().enumerate() {
        if *quantity == 0 {
            return Err(Invalid::new(format!("units[{at}].quantity"), 0, "1 or more").into());
        }
        if units[..at].iter().any(|(other, _)| other == position) {
            let field = format!("units[{at}].position");
            return Err(Invalid::new(field, position, "each line once, with all its units").into());
        }
    }
    Ok(())
}

/// A [`NewRefund`] whose every part has been checked.
#[derive(Clone, Debug)]
pub(crate) struct Checked {
    pub(crate) target: Target,
    pub(crate) share: Share,
    pub(crate) effect: Option<GrantEffect>,
    pub(crate) reason: Option<String>,
    pub(crate) metadata: Metadata,
    pub(crate) idempotency_key: Option<String>,
}

impl Target {
    /// The id that was given, and the mode that it carries.
    pub(crate) fn id(&self) -> (&str, Mode) {
        match self {
            Target::Charge(charge) => (charge.as_str(), charge.mode()),
            Target::Session(session) => (session.as_str(), session.mode()),
        }
    }
}

impl Checked {
    /// The hash of everything that was asked for, but the key: who repeats a key must repeat it.
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        let fields = Fields::new()
            .text(self.target.id().0)
            .maybe(self.effect.map(GrantEffect::as_str))
            .maybe(self.reason.as_deref());
        let count = i64::try_from(self.metadata.iter().count()).unwrap_or(i64::MAX);
        let fields = self
            .metadata
            .iter()
            .fold(fields.int(count), |fields, (key, value)| fields.text(key).text(value));
        match &self.share {
            Share::Rest => fields.text("rest"),
            Share::Amount(amount) => fields
                .text("amount")
                .int(amount.as_minor())
                .text(amount.currency().code()),
            Share::Units(units) => units.iter().fold(fields.text("units"), |fields, (position, quantity)| {
                fields
                    .int(i64::try_from(*position).unwrap_or(i64::MAX))
                    .int(i64::from(*quantity))
            }),
        }
        .finish()
    }
}
