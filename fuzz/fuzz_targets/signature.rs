//! Arbitrary headers and bodies against `webhook::verify`, in every format.
//!
//! The target knows the true signature, worked out from the hash alone. What is accepted must carry
//! it, at a time within the tolerance; a properly signed webhook must be accepted exactly there.

#![no_main]

use data_encoding::{BASE64, HEXLOWER};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha256, Sha512};
use tillite::webhook::{Format, Reason, verify};
use tillite::{Secret, Timestamp};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const TOLERANCE_SECS: u64 = 300;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    /// The pieces of the header that holds the signatures.
    header: Vec<Piece<'a>>,
    id: &'a str,
    /// What the header with the time says; none for the time that was signed.
    time: Option<&'a str>,
    seconds: u32,
    /// The receiver's clock, as seconds after the time that was signed.
    off: i16,
    body: &'a [u8],
    secret: Option<&'a str>,
}

/// A piece of a header. Chance alone never finds a signature, so the true ones can be placed.
#[derive(Arbitrary, Debug)]
enum Piece<'a> {
    Text(&'a str),
    Time,
    Hex,
    Base64,
    /// The signature over the body alone.
    Long,
    Space,
    Comma,
    TimeKey,
    SignatureKey,
    ElixpoKey,
}

fuzz_target!(|input: Input| {
    let time = input.seconds.to_string();
    let now_secs = i64::from(input.seconds) + i64::from(input.off);
    let now = Timestamp::from_millis_clamped(now_secs * 1_000);
    let within = now.as_secs().abs_diff(i64::from(input.seconds)) <= TOLERANCE_SECS;

    let text_key = SECRET.as_bytes();
    let decoded_key = BASE64
        .decode(&text_key["whsec_".len()..])
        .expect("the constant is base64");
    let hex = HEXLOWER.encode(&hmac(text_key, &[time.as_bytes(), b".", input.body]));
    let base64 = BASE64.encode(&hmac(
        &decoded_key,
        &[input.id.as_bytes(), b".", time.as_bytes(), b".", input.body],
    ));
    let long = BASE64.encode(&hmac_sha512(text_key, input.body));
    let header: String = input
        .header
        .iter()
        .map(|piece| match piece {
            Piece::Text(text) => text,
            Piece::Time => &*time,
            Piece::Hex => &hex,
            Piece::Base64 => &base64,
            Piece::Long => &long,
            Piece::Space => " ",
            Piece::Comma => ",",
            Piece::TimeKey => "t=",
            Piece::SignatureKey => "v1",
            Piece::ElixpoKey => "sha256=",
        })
        .collect();

    // An arbitrary secret may be refused or not match, and must not panic.
    if let Some(text) = input.secret {
        let secret = Secret::new(text);
        for format in Format::ALL.iter().copied() {
            let _ = verify(format, &secret, |_| Some(&*header), input.body, now);
        }
    }

    let secret = Secret::new(SECRET);
    // One header, under the name of each of these formats.
    let alone = |format: Format, header: &str| {
        let wanted = match format {
            Format::JoPay => "x-jopay-signature",
            _ => "xpay-signature",
        };
        let lookup = |name: &str| (name == wanted).then_some(header);
        verify(format, &secret, lookup, input.body, now).map_err(|bad| bad.reason())
    };
    let xpay = |header: &str| alone(Format::XPay, header);
    let elixpo = |time: &str, list: &str| {
        let lookup = |name: &str| match name {
            "x-elixpo-pay-timestamp" => Some(time),
            "x-elixpo-pay-signature" => Some(list),
            _ => None,
        };
        verify(Format::Elixpo, &secret, lookup, input.body, now).map_err(|bad| bad.reason())
    };
    let standard = |time: &str, list: &str| {
        let lookup = |name: &str| match name {
            "webhook-id" => Some(input.id),
            "webhook-timestamp" => Some(time),
            "webhook-signature" => Some(list),
            _ => None,
        };
        verify(Format::Standard, &secret, lookup, input.body, now).map_err(|bad| bad.reason())
    };

    assert_eq!(xpay(&header).is_ok(), alone(Format::JoPay, &header).is_ok());
    if alone(Format::XPaySubscriptions, &header).is_ok() {
        assert_eq!(header, long);
    }
    if xpay(&header).is_ok() {
        let written: Vec<&str> = header
            .split(',')
            .filter_map(|element| element.strip_prefix("t="))
            .collect();
        let [written] = written[..] else {
            panic!("accepted with {} times: {header}", written.len());
        };
        let expected = HEXLOWER.encode(&hmac(text_key, &[written.as_bytes(), b".", input.body]));
        assert!(header.split(',').any(|element| element == format!("v1={expected}")));
        let seconds: i64 = written.parse().expect("an accepted time is a number");
        assert!(now.as_secs().abs_diff(seconds) <= TOLERANCE_SECS);
    }
    let written = input.time.unwrap_or(&time);
    if elixpo(written, &header).is_ok() {
        let expected = HEXLOWER.encode(&hmac(text_key, &[written.as_bytes(), b".", input.body]));
        assert!(header.split(',').any(|element| element == format!("sha256={expected}")));
        let seconds: i64 = written.parse().expect("an accepted time is a number");
        assert!(now.as_secs().abs_diff(seconds) <= TOLERANCE_SECS);
    }
    if standard(written, &header).is_ok() {
        let expected = BASE64.encode(&hmac(
            &decoded_key,
            &[input.id.as_bytes(), b".", written.as_bytes(), b".", input.body],
        ));
        assert!(header.split(' ').any(|element| element == format!("v1,{expected}")));
        let seconds: i64 = written.parse().expect("an accepted time is a number");
        assert!(now.as_secs().abs_diff(seconds) <= TOLERANCE_SECS);
        assert!(!input.id.contains('.'));
    }

    let signed = |accepted: Result<(), Reason>| match accepted {
        Ok(()) => assert!(within),
        Err(reason) => {
            assert!(!within);
            assert!(matches!(reason, Reason::TooOld { .. } | Reason::TooNew { .. }));
        }
    };
    signed(xpay(&format!("t={time},v1={hex}")));
    signed(alone(Format::JoPay, &format!("t={time},v1={hex}")));
    signed(elixpo(&time, &format!("sha256={hex}")));
    assert!(alone(Format::XPaySubscriptions, &long).is_ok());
    if !input.id.is_empty() && !input.id.contains('.') && input.id.len() <= 1_024 {
        signed(standard(&time, &format!("v1,{base64}")));
    }
});

/// HMAC-SHA512 as RFC 2104 writes it, for keys of at most one block.
fn hmac_sha512(key: &[u8], bytes: &[u8]) -> [u8; 64] {
    let pad = |with: u8| {
        let mut block = [with; 128];
        for (byte, key) in block.iter_mut().zip(key) {
            *byte ^= key;
        }
        block
    };
    let inner = Sha512::new_with_prefix(pad(0x36)).chain_update(bytes);
    Sha512::new_with_prefix(pad(0x5c))
        .chain_update(inner.finalize())
        .finalize()
        .into()
}

/// HMAC-SHA256 as RFC 2104 writes it, for keys of at most one block.
fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let pad = |with: u8| {
        let mut block = [with; 64];
        for (byte, key) in block.iter_mut().zip(key) {
            *byte ^= key;
        }
        block
    };
    let mut inner = Sha256::new_with_prefix(pad(0x36));
    for part in parts {
        inner.update(part);
    }
    Sha256::new_with_prefix(pad(0x5c))
        .chain_update(inner.finalize())
        .finalize()
        .into()
}
