//! How each format signs and how its headers are read: a file per format. Pure; the time is an
//! argument.
//!
//! While one secret replaces another, both sign, in an order that suits receivers who hold one of them
//! and look at one signature only, as the services' own samples do: they go on with the old secret
//! until the overlap ends. Which one they look at differs by format.

mod elixpo;
mod jopay;
mod standard;
mod subscriptions;
mod xpay;

use data_encoding::HEXLOWER;
#[cfg(any(test, feature = "engine"))]
use hmac::Mac as _;

use super::key::Key;
#[cfg(any(test, feature = "engine"))]
use super::key::mac;
use super::presented::{Code, Header, Presented, bounded, decoded_signatures, parsed_seconds};
use super::{Format, Reason};
#[cfg(any(test, feature = "engine"))]
use crate::secret::Secret;

#[cfg(test)]
pub(super) use self::standard::signatures as standard;

/// What the headers of one attempt are made from.
#[cfg(any(test, feature = "engine"))]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signing<'a> {
    /// Secrets and Ed25519 keys in force, the newest first.
    pub(crate) secrets: &'a [Secret],
    /// The event's id. It is one of this crate's own, so it holds no dot.
    pub(crate) id: &'a str,
    /// What the format calls the event.
    pub(crate) event: &'a str,
    /// The host's time.
    pub(crate) seconds: i64,
    pub(crate) body: &'a [u8],
}

/// The headers by which a receiver believes a webhook. Those of Standard Webhooks go with every format
/// but the one that has no id and time of its own, so that a receiver always has an id to recognise a
/// repetition by.
#[cfg(any(test, feature = "engine"))]
pub(crate) fn headers(format: Format, signing: &Signing<'_>) -> Vec<(&'static str, String)> {
    let mut headers = match format {
        Format::XPay => xpay::headers(signing),
        Format::JoPay => jopay::headers(signing),
        Format::Elixpo => elixpo::headers(signing),
        Format::XPaySubscriptions => return subscriptions::headers(signing),
        Format::Standard => Vec::new(),
    };
    headers.extend(standard::headers(signing));
    headers
}

/// Reads the headers of a format.
pub(super) fn read<'h>(format: Format, keys: &[Key], header: Header<'_, 'h>) -> Result<Presented<'h>, Reason> {
    match format {
        Format::XPay => xpay::read(header),
        Format::JoPay => jopay::read(header),
        Format::Elixpo => elixpo::read(header),
        Format::XPaySubscriptions => subscriptions::read(header),
        Format::Standard => standard::read(keys, header),
    }
}

#[cfg(any(test, feature = "engine"))]
impl<'a> Signing<'a> {
    /// The secrets that both sides know, the newest first.
    fn shared(&self) -> impl DoubleEndedIterator<Item = &'a Secret> + use<'a> {
        let secrets = self.secrets.iter();
        secrets.filter(|secret| !secret.expose().starts_with(super::key::SIGNING))
    }

    /// The newest first, which leaves the old one to receivers that keep the last signature they read.
    fn new_then_old(&self) -> Vec<&'a Secret> {
        self.shared().collect()
    }

    /// The old one first, for receivers that take the first signature they read.
    fn old_then_new(&self) -> Vec<&'a Secret> {
        self.shared().rev().collect()
    }
}

/// HMAC-SHA256 of `<time>.<body>` in hexadecimal digits, keyed on the secret's text.
#[cfg(any(test, feature = "engine"))]
fn of_time_and_body(secret: &Secret, time: &str, body: &[u8]) -> String {
    let code = mac(secret.expose().as_bytes(), &[time.as_bytes(), b".", body]);
    HEXLOWER.encode(&code.finalize().into_bytes())
}

/// `t=<seconds>,v1=<hex>`, with one `v1` per secret in this order.
///
/// The order and the absence of blanks are part of the format: simple receivers read the header by
/// position, or keep only the last `v1`.
#[cfg(any(test, feature = "engine"))]
pub(super) fn timestamped(secrets: &[&Secret], seconds: i64, body: &[u8]) -> String {
    let time = seconds.to_string();
    let codes = secrets.iter().map(|secret| of_time_and_body(secret, &time, body));
    codes.fold(format!("t={time}"), |header, code| header + ",v1=" + &code)
}

/// Reads what [`timestamped`] writes.
fn read_timestamped<'h>(header: Header<'_, 'h>, name: &'static str) -> Result<Presented<'h>, Reason> {
    let value = bounded(header, name)?;
    let times: Vec<&str> = value
        .split(',')
        .filter_map(|element| element.strip_prefix("t="))
        .collect();
    let time = match times[..] {
        [time] => time,
        [] => return Err(Reason::NoTimestamp(name)),
        _ => return Err(Reason::RepeatedTimestamp(name)),
    };
    Ok(Presented {
        prefix: vec![time, "."],
        seconds: Some(parsed_seconds(time)?),
        code: Code::Sha256,
        codes: decoded_signatures(value.split(','), "v1=", &HEXLOWER, Code::Sha256.len())?,
        #[cfg(feature = "ed25519")]
        signatures: Vec::new(),
    })
}

#[cfg(test)]
mod tests;
