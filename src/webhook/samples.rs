//! Secrets, bodies and signatures that the tests of schemes and of the verifier share.

use data_encoding::HEXLOWER;
use hmac::Mac as _;

use crate::secret::Secret;
use crate::time::Timestamp;
use crate::webhook::key::mac;
use crate::webhook::scheme::{self, Signing, headers};
use crate::webhook::*;

pub(super) const XP: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
pub(super) const XP_OLD: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
pub(super) const AT: i64 = 1_730_000_000;
pub(super) const XPAY_BODY: &str = r#"{"id":"evt_test_1","object":"event","type":"checkout.session.completed","created":1730000000,"livemode":false,"data":{"object":{"id":"cs_test_AbC123","object":"checkout.session","status":"complete","amountTotal":149900,"currency":"EGP"}}}"#;
pub(super) const JOPAY_BODY: &str = r#"{"event":"checkout.session.completed","data":{"id":"cs_a1b2c3d4e5f6","status":"completed","amount_cents":2500,"currency":"eur","customer_email":"customer@example.com","metadata":{"order_id":"12345"},"completed_at":"2025-01-10T12:05:00Z"},"created_at":"2025-01-10T12:05:01Z"}"#;

pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1_000).unwrap()
}

pub(super) fn hex(key: &[u8], message: &[u8]) -> String {
    HEXLOWER.encode(&mac(key, &[message]).finalize().into_bytes())
}

/// The value of `webhook-signature` for these secrets, the newest first.
pub(super) fn standard(secrets: &[&Secret], id: &str, seconds: i64, body: &[u8]) -> Option<String> {
    let secrets: Vec<Secret> = secrets.iter().copied().cloned().collect();
    scheme::standard(&Signing {
        secrets: &secrets,
        id,
        event: "ping",
        seconds,
        body,
    })
}

/// What a receiver says to one header of the `t=,v1=` scheme.
pub(super) fn xpay(secret: &str, header: &str, body: &[u8], now: Timestamp) -> Result<(), Reason> {
    let lookup = |name: &str| (name == "xpay-signature").then_some(header);
    verify(Format::XPay, &Secret::new(secret), lookup, body, now).map_err(|error| error.reason())
}

/// What a receiver says to the three headers of Standard Webhooks.
pub(super) fn standard_webhook(
    secret: &str,
    [id, time, signature]: [&str; 3],
    body: &[u8],
    now: Timestamp,
) -> Result<(), Reason> {
    let lookup = |name: &str| match name {
        "webhook-id" => Some(id),
        "webhook-timestamp" => Some(time),
        "webhook-signature" => Some(signature),
        _ => None,
    };
    verify(Format::Standard, &Secret::new(secret), lookup, body, now).map_err(|error| error.reason())
}

#[cfg(feature = "engine")]
pub(super) const PAIR: &str =
    "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";

pub(super) const PUBLIC: &str = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=";

#[cfg(feature = "engine")]
pub(super) const ED_ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";

#[cfg(feature = "engine")]
pub(super) const ED_AT: i64 = 1_614_265_330;

#[cfg(feature = "engine")]
pub(super) const ED_BODY: &[u8] = br#"{"test": 2432232314}"#;

#[cfg(feature = "engine")]
pub(super) const ED_CODE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

#[cfg(feature = "engine")]
pub(super) const ED_SIGNATURE: &str =
    "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==";

/// What a receiver with these keys says to a request.
pub(super) fn said(
    format: Format,
    keys: &[&str],
    headers: &[(&str, String)],
    body: &[u8],
    now: Timestamp,
) -> Result<(), Reason> {
    let lookup = |name: &str| {
        let found = headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    };
    let verifier = Verifier::new(format, Secret::new(keys[0]));
    let verifier = keys[1..]
        .iter()
        .fold(verifier, |verifier, key| verifier.also(Secret::new(*key)));
    verifier.verify(lookup, body, now).map_err(|bad| bad.reason())
}

/// The headers of one attempt, signed by these secrets, the newest first.
pub(super) fn signed(format: Format, secrets: &[&str], body: &[u8]) -> Vec<(&'static str, String)> {
    let secrets: Vec<Secret> = secrets.iter().copied().map(Secret::new).collect();
    headers(
        format,
        &Signing {
            secrets: &secrets,
            id: "evt_test_1",
            event: "checkout.session.completed",
            seconds: AT,
            body,
        },
    )
}
