/// The format that an endpoint speaks: the shape of the body, and how it is signed.
///
/// An endpoint of any format but [`Format::XPaySubscriptions`] is also sent the headers of Standard
/// Webhooks, signed with the same secret, so its receiver may check either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Format {
    /// `XPay-Signature: t=<seconds>,v1=<hex>`: HMAC-SHA256 of `t.body`, keyed on the secret's text.
    XPay,
    /// `X-JoPay-Signature: t=<seconds>,v1=<hex>`: the same scheme under another header.
    JoPay,
    /// `X-Elixpo-Pay-Signature: sha256=<hex>`: HMAC-SHA256 of `timestamp.body`, the time in
    /// `X-Elixpo-Pay-Timestamp`, keyed on the secret's text.
    Elixpo,
    /// `xpay-signature: <base64>`: HMAC-SHA512 of the body alone, keyed on the secret's text. There is
    /// no time in it, so nothing but the event's id tells a repetition.
    XPaySubscriptions,
    /// Standard Webhooks 1.0.0: `webhook-id`, `webhook-timestamp`, `webhook-signature`. HMAC-SHA256 keyed
    /// on what the secret decodes to (`v1`), and Ed25519 (`v1a`).
    Standard,
}

impl Format {
    /// Every format.
    pub const ALL: &'static [Format] = &[
        Format::XPay,
        Format::JoPay,
        Format::Elixpo,
        Format::XPaySubscriptions,
        Format::Standard,
    ];

    /// `xpay`, `jopay`, `elixpo`, `xpay-subscriptions` or `standard`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Format::XPay => "xpay",
            Format::JoPay => "jopay",
            Format::Elixpo => "elixpo",
            Format::XPaySubscriptions => "xpay-subscriptions",
            Format::Standard => "standard",
        }
    }

    /// The format of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Format> {
        Format::ALL.iter().copied().find(|format| format.as_str() == name)
    }
}
