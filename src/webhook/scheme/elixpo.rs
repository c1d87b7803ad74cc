//! Elixpo Pay: the event's name and the time in headers of their own, and
//! `X-Elixpo-Pay-Signature: sha256=<hex of time.body>`, a list with commas while a secret is replaced.
//! The name is not signed; receivers take the `type` of the body.

use super::{Code, HEXLOWER, Header, Presented, Reason, bounded, decoded_signatures, parsed_seconds};
#[cfg(any(test, feature = "engine"))]
use super::{Signing, of_time_and_body};

#[cfg(any(test, feature = "engine"))]
pub(super) fn headers(signing: &Signing<'_>) -> Vec<(&'static str, String)> {
    let time = signing.seconds.to_string();
    let codes = signing.new_then_old().into_iter();
    let codes = codes.map(|secret| format!("sha256={}", of_time_and_body(secret, &time, signing.body)));
    let list: Vec<String> = codes.collect();
    vec![
        ("X-Elixpo-Pay-Event", signing.event.to_owned()),
        ("X-Elixpo-Pay-Timestamp", time),
        ("X-Elixpo-Pay-Signature", list.join(",")),
    ]
}

pub(super) fn read<'h>(header: Header<'_, 'h>) -> Result<Presented<'h>, Reason> {
    let time = bounded(header, "x-elixpo-pay-timestamp")?;
    let list = bounded(header, "x-elixpo-pay-signature")?;
    Ok(Presented {
        prefix: vec![time, "."],
        seconds: Some(parsed_seconds(time)?),
        code: Code::Sha256,
        codes: decoded_signatures(list.split(','), "sha256=", &HEXLOWER, Code::Sha256.len())?,
        #[cfg(feature = "ed25519")]
        signatures: Vec::new(),
    })
}
