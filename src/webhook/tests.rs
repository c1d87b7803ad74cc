use std::time::Duration;

use data_encoding::{BASE64, HEXLOWER};
use hmac::{Hmac, KeyInit as _, Mac as _};
use proptest::prelude::*;
use sha2::Sha256;

use super::key::{decoded_key, mac};
use super::scheme::{self, Signing, headers, timestamped};
use super::*;
use crate::secret::Secret;
use crate::time::Timestamp;

const XP: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const XP_OLD: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const AT: i64 = 1_730_000_000;
const XPAY_BODY: &str = r#"{"id":"evt_test_1","object":"event","type":"checkout.session.completed","created":1730000000,"livemode":false,"data":{"object":{"id":"cs_test_AbC123","object":"checkout.session","status":"complete","amountTotal":149900,"currency":"EGP"}}}"#;
const JOPAY_BODY: &str = r#"{"event":"checkout.session.completed","data":{"id":"cs_a1b2c3d4e5f6","status":"completed","amount_cents":2500,"currency":"eur","customer_email":"customer@example.com","metadata":{"order_id":"12345"},"completed_at":"2025-01-10T12:05:00Z"},"created_at":"2025-01-10T12:05:01Z"}"#;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1_000).unwrap()
}

fn hex(key: &[u8], message: &[u8]) -> String {
    HEXLOWER.encode(&mac(key, &[message]).finalize().into_bytes())
}

/// The value of `webhook-signature` for these secrets, the newest first.
fn standard(secrets: &[&Secret], id: &str, seconds: i64, body: &[u8]) -> Option<String> {
    let secrets: Vec<Secret> = secrets.iter().copied().cloned().collect();
    scheme::standard(&Signing {
        secrets: &secrets,
        id,
        event: "ping",
        seconds,
        body,
    })
}

const TOO_OLD: fn(u64) -> Reason = |off| Reason::TooOld { off, allowed: 300 };
const TOO_NEW: fn(u64) -> Reason = |off| Reason::TooNew { off, allowed: 300 };

/// What a receiver says to one header of the `t=,v1=` scheme.
fn xpay(secret: &str, header: &str, body: &[u8], now: Timestamp) -> Result<(), Reason> {
    let lookup = |name: &str| (name == "xpay-signature").then_some(header);
    verify(Format::XPay, &Secret::new(secret), lookup, body, now).map_err(|error| error.reason())
}

/// What a receiver says to the three headers of Standard Webhooks.
fn standard_webhook(secret: &str, [id, time, signature]: [&str; 3], body: &[u8], now: Timestamp) -> Result<(), Reason> {
    let lookup = |name: &str| match name {
        "webhook-id" => Some(id),
        "webhook-timestamp" => Some(time),
        "webhook-signature" => Some(signature),
        _ => None,
    };
    verify(Format::Standard, &Secret::new(secret), lookup, body, now).map_err(|error| error.reason())
}

#[test]
fn the_code_under_both_schemes_gives_published_and_computed_values() {
    let long_key = [0xaa; 131];
    for (key, message, expected) in [
        // The empty text and one emoji, as stripe-node's own tests print them.
        (
            "test_secret".as_bytes(),
            "",
            "f7f9bd47fb987337b5796fdc1fdb9ba221d0d5396814bfcaf9521f43fd8927fd",
        ),
        (
            b"test_secret",
            "\u{1F600}",
            "837da296d05c4fe31f61d5d7ead035099d9585a5bcde87de952012a78f0b0c43",
        ),
        // RFC 4231, case 6: a key longer than a block is hashed first.
        (
            &long_key,
            "Test Using Larger Than Block-Size Key - Hash Key First",
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
        ),
    ] {
        assert_eq!(hex(key, message.as_bytes()), expected, "{message}");
    }
    // The three lengths around one block, against the keying of the code's own crate.
    for len in [63, 64, 65] {
        let theirs = Hmac::<Sha256>::new_from_slice(&long_key[..len]).unwrap();
        assert_eq!(
            hex(&long_key[..len], b""),
            HEXLOWER.encode(&theirs.finalize().into_bytes())
        );
    }
}

#[test]
fn timestamped_signatures_agree_with_known_answers() {
    let stripe_body = "{\n  \"id\": \"evt_test_webhook\",\n  \"object\": \"event\"\n}";
    assert_eq!([stripe_body.len(), XPAY_BODY.len(), JOPAY_BODY.len()], [51, 238, 274]);
    for (secret, seconds, body, expected) in [
        (
            "whsec_test_secret",
            1_495_999_758,
            stripe_body,
            "6340073448544f68e8673f5d451fd66d10b9facf9c1c36f23c174994d49f2091",
        ),
        (
            XP,
            AT,
            XPAY_BODY,
            "c2eb67f4e6669bd0de647ac86b454efba569cf68010abd3471443ad33350c2a0",
        ),
        (
            XP_OLD,
            AT,
            XPAY_BODY,
            "f97e8ec5bb379f9247b446f529b90ca2facdf2720523dfe0471cb7463103da24",
        ),
        (
            XP,
            AT,
            "",
            "97b6705e8ccef44fcb03b4cdfe149f6335166c0bbb277f0aa4e6c8d5bf5c1f4f",
        ),
        (
            XP,
            AT,
            r#"{"name":"Café ☕ 😀","n":1}"#,
            "8ff0a5715acd61945d492aba018cf420a8e17a57b08e4a4206ac3a9729df50fc",
        ),
        (
            XP_OLD,
            1_736_510_701,
            JOPAY_BODY,
            "4c0189bb15acf20eabcd9c4a0036095b113af883ab5f3e2937c16924370822ca",
        ),
        (
            "whsec_test",
            AT,
            r#"{"id":"evt_test_1"}"#,
            "187fa68fb591cdee1668ab008795e53445eb0f7589433a23fd1910a021ceef15",
        ),
    ] {
        let header = timestamped(&[&Secret::new(secret)], seconds, body.as_bytes());
        assert_eq!(header, format!("t={seconds},v1={expected}"));
        assert_eq!(xpay(secret, &header, body.as_bytes(), at(seconds)), Ok(()), "{header}");
    }
}

#[test]
fn standard_signatures_agree_with_known_answers() {
    for (secret, id, seconds, body, expected) in [
        (
            XP_OLD,
            "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
            1_649_367_553,
            r#"{"email":"test@example.com","username":"test_user"}"#,
            "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
        ),
        (
            XP,
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            r#"{"test": 2432232314}"#,
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        ),
        (
            XP,
            "evt_test_1",
            AT,
            XPAY_BODY,
            "v1,wuHw9IPC0fzYWsitF0vR/t+vdpybzZIkr8QdfnBzip4=",
        ),
    ] {
        let signed = standard(&[&Secret::new(secret)], id, seconds, body.as_bytes());
        assert_eq!(signed.as_deref(), Some(expected));
        let headers = [id, &seconds.to_string(), expected];
        assert_eq!(
            standard_webhook(secret, headers, body.as_bytes(), at(seconds)),
            Ok(()),
            "{id}"
        );
    }
}

#[test]
fn a_signature_keyed_as_the_other_scheme_does_not_match() {
    let decoded = decoded_key(&Secret::new(XP)).unwrap();
    let by_decoded = "8eed17e4cfdadc135ad9208c6bda9d98b82b3dfb250f9cd3ef5c3f5407502985";
    assert_eq!(hex(&decoded, format!("{AT}.{XPAY_BODY}").as_bytes()), by_decoded);
    assert_eq!(
        xpay(XP, &format!("t={AT},v1={by_decoded}"), XPAY_BODY.as_bytes(), at(AT)),
        Err(Reason::NoMatch)
    );

    let by_text = "0f9kQZoX8hTZeI8a0nlpZkWvk5qdBjWFyREAmpWRAo4=";
    let message = format!("evt_test_1.{AT}.{XPAY_BODY}");
    let computed = mac(XP.as_bytes(), &[message.as_bytes()]).finalize();
    assert_eq!(BASE64.encode(&computed.into_bytes()), by_text);
    let headers = ["evt_test_1", &AT.to_string(), &format!("v1,{by_text}")];
    assert_eq!(
        standard_webhook(XP, headers, XPAY_BODY.as_bytes(), at(AT)),
        Err(Reason::NoMatch)
    );
}

#[test]
fn a_bad_timestamped_header_is_refused_for_its_own_reason() {
    let good = "c2eb67f4e6669bd0de647ac86b454efba569cf68010abd3471443ad33350c2a0";
    let refused = |header: &str, reason: Reason| {
        assert_eq!(xpay(XP, header, XPAY_BODY.as_bytes(), at(AT)), Err(reason), "{header}");
    };
    for (header, reason) in [
        (String::new(), Reason::NoTimestamp("xpay-signature")),
        (format!("v1={good}"), Reason::NoTimestamp("xpay-signature")),
        (
            format!("t={AT},t={AT},v1={good}"),
            Reason::RepeatedTimestamp("xpay-signature"),
        ),
        (
            format!("t={AT},t=1,v1={good}"),
            Reason::RepeatedTimestamp("xpay-signature"),
        ),
        (format!("t=,v1={good}"), Reason::BadTimestamp),
        (format!("t=now,v1={good}"), Reason::BadTimestamp),
        (format!("t=+{AT},v1={good}"), Reason::BadTimestamp),
        (format!("t=-{AT},v1={good}"), Reason::BadTimestamp),
        (format!("t={AT}.0,v1={good}"), Reason::BadTimestamp),
        (format!("t= {AT},v1={good}"), Reason::BadTimestamp),
        (format!("t=9{AT}{AT},v1={good}"), Reason::BadTimestamp),
        (format!("t=0{AT},v1={good}"), Reason::NoMatch),
        (format!("t={}", i64::MAX) + ",v1=" + good, Reason::NoMatch),
        (format!("t={AT}"), Reason::NoSignature("v1=")),
        (format!("t={AT},v0={good},v1a={good}"), Reason::NoSignature("v1=")),
        (format!("t={AT}, v1={good}"), Reason::NoSignature("v1=")),
        (format!("t={AT},V1={good}"), Reason::NoSignature("v1=")),
        (
            format!("t={AT}{}", ",v1=00".repeat(16)),
            Reason::MalformedSignature("v1="),
        ),
        (
            format!("t={AT}{}", ",v1=00".repeat(17)),
            Reason::TooManySignatures("v1=", 17),
        ),
        (format!("t={AT},v1="), Reason::MalformedSignature("v1=")),
        (format!("t={AT},v1={}", &good[1..]), Reason::MalformedSignature("v1=")),
        (format!("t={AT},v1={}", &good[2..]), Reason::MalformedSignature("v1=")),
        (format!("t={AT},v1={good}0"), Reason::MalformedSignature("v1=")),
        (format!("t={AT},v1={good}00"), Reason::MalformedSignature("v1=")),
        (
            format!("t={AT},v1={}", good.to_uppercase()),
            Reason::MalformedSignature("v1="),
        ),
        (
            format!("t={AT},v1={}", good.replace('c', "g")),
            Reason::MalformedSignature("v1="),
        ),
        (format!("t={AT},v1={good},v1=oops"), Reason::MalformedSignature("v1=")),
        (format!("t={AT},v1={}", "0".repeat(64)), Reason::NoMatch),
        (format!("t={},v1={good}", AT + 1), Reason::NoMatch),
        (
            format!("t={AT},v1={good}{}", ",".repeat(945)),
            Reason::HeaderTooLong("xpay-signature", 1_025),
        ),
    ] {
        refused(&header, reason);
    }

    // The neighbours on the good side of those limits.
    for header in [
        format!("t={AT},v1={good}{}", ",".repeat(944)),
        format!("v1={good},t={AT}"),
        format!("v0=old,t={AT},,v1,v1={good},v1a=,x=y=z"),
        format!("t={AT},v1={good},v1={}", "0".repeat(64)),
    ] {
        assert_eq!(xpay(XP, &header, XPAY_BODY.as_bytes(), at(AT)), Ok(()), "{header}");
    }

    let missing = verify(Format::XPay, &Secret::new(XP), |_| None, b"", at(AT)).unwrap_err();
    assert_eq!(missing.reason(), Reason::MissingHeader("xpay-signature"));
}

#[test]
fn bad_standard_headers_are_refused_for_their_own_reason() {
    let time = AT.to_string();
    let good = "v1,wuHw9IPC0fzYWsitF0vR/t+vdpybzZIkr8QdfnBzip4=";
    let id = "evt_test_1";
    let long = "x".repeat(1_025);
    for (headers, reason) in [
        (["", &time, good], Reason::BadId),
        (["evt.test", &time, good], Reason::BadId),
        ([id, "", good], Reason::BadTimestamp),
        ([id, "-1", good], Reason::BadTimestamp),
        ([id, "1730000000000000000000", good], Reason::BadTimestamp),
        ([id, "1730000001", good], Reason::NoMatch),
        (["evt_test_2", &time, good], Reason::NoMatch),
        ([id, &time, ""], Reason::NoSignature("v1,")),
        ([id, &time, &good[3..]], Reason::NoSignature("v1,")),
        ([id, &time, &good.replace("v1", "v1a")], Reason::NoSignature("v1,")),
        ([id, &time, "v1,"], Reason::MalformedSignature("v1,")),
        (
            [id, &time, &format!("{good}\t{good}")],
            Reason::MalformedSignature("v1,"),
        ),
        (
            [id, &time, good.trim_end_matches('=')],
            Reason::MalformedSignature("v1,"),
        ),
        ([id, &time, &good.replace('/', "_")], Reason::MalformedSignature("v1,")),
        // The last character carries two bits that must be zero: one spelling for one value.
        (
            [id, &time, &good.replace("4=", "5=")],
            Reason::MalformedSignature("v1,"),
        ),
        ([id, &time, &"v1,AAAA ".repeat(16)], Reason::MalformedSignature("v1,")),
        (
            [id, &time, &"v1,AAAA ".repeat(17)],
            Reason::TooManySignatures("v1,", 17),
        ),
        ([&long, &time, good], Reason::HeaderTooLong("webhook-id", 1_025)),
        ([id, &long, good], Reason::HeaderTooLong("webhook-timestamp", 1_025)),
        ([id, &time, &long], Reason::HeaderTooLong("webhook-signature", 1_025)),
    ] {
        assert_eq!(
            standard_webhook(XP, headers, XPAY_BODY.as_bytes(), at(AT)),
            Err(reason),
            "{headers:?}"
        );
    }

    for list in [
        good.to_owned(),
        format!("v1a,hnO3 v2,x nonsense  {good}"),
        format!("{good} v1,{}=", "A".repeat(43)),
    ] {
        assert_eq!(
            standard_webhook(XP, [id, &time, &list], XPAY_BODY.as_bytes(), at(AT)),
            Ok(()),
            "{list}"
        );
    }

    for gone in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        let lookup = |name: &str| (name != gone).then_some("1");
        let missing = verify(Format::Standard, &Secret::new(XP), lookup, b"", at(AT));
        assert_eq!(missing.unwrap_err().reason(), Reason::MissingHeader(gone));
    }
}

#[test]
fn the_time_may_be_off_by_the_tolerance_and_no_more() {
    let secret = Secret::new(XP);
    let header = timestamped(&[&secret], AT, b"{}");
    let list = standard(&[&secret], "evt_1", AT, b"{}").unwrap();
    let time = AT.to_string();
    for (now_ms, expected) in [
        (AT * 1_000, Ok(())),
        ((AT + 300) * 1_000, Ok(())),
        ((AT + 301) * 1_000 - 1, Ok(())),
        ((AT + 301) * 1_000, Err(TOO_OLD(301))),
        (
            Timestamp::MAX.as_millis(),
            Err(TOO_OLD(Timestamp::MAX.as_secs().abs_diff(AT))),
        ),
        ((AT - 300) * 1_000, Ok(())),
        ((AT - 300) * 1_000 - 1, Err(TOO_NEW(301))),
        ((AT - 301) * 1_000, Err(TOO_NEW(301))),
        (0, Err(TOO_NEW(AT.unsigned_abs()))),
    ] {
        let now = Timestamp::from_millis(now_ms).unwrap();
        assert_eq!(xpay(XP, &header, b"{}", now), expected, "{now}");
        let headers = ["evt_1", &time, &list];
        assert_eq!(standard_webhook(XP, headers, b"{}", now), expected, "{now}");
        // Whoever cannot sign does not learn what the receiver's clock says.
        assert_eq!(xpay(XP, &header, b"[]", now), Err(Reason::NoMatch), "{now}");
    }

    // The largest time that can be written does not overflow.
    let header = timestamped(&[&secret], i64::MAX, b"{}");
    assert_eq!(xpay(XP, &header, b"{}", at(0)), Err(TOO_NEW(i64::MAX.unsigned_abs())));

    let header = timestamped(&[&secret], AT, b"{}");
    let lookup = |_: &str| Some(header.as_str());
    let verifier = Verifier::new(Format::XPay, secret);
    for (tolerance, off, passes) in [
        (Duration::ZERO, 0, true),
        (Duration::ZERO, 1, false),
        (Duration::from_millis(1_999), 1, true),
        (Duration::from_millis(1_999), 2, false),
        (Duration::MAX, AT, true),
    ] {
        let verifier = verifier.clone().tolerance(tolerance);
        assert_eq!(
            verifier.verify(lookup, b"{}", at(AT + off)).is_ok(),
            passes,
            "{tolerance:?} {off}"
        );
    }
}

#[test]
fn a_body_that_changed_on_its_way_is_refused() {
    let header = timestamped(&[&Secret::new(XP)], AT, XPAY_BODY.as_bytes());
    for body in [
        XPAY_BODY.replace("149900", "149901"),
        format!("{XPAY_BODY}\r\n"),
        format!("{XPAY_BODY}\n"),
        format!("\u{FEFF}{XPAY_BODY}"),
        XPAY_BODY.replace(',', ", "),
        String::new(),
    ] {
        assert_eq!(
            xpay(XP, &header, body.as_bytes(), at(AT)),
            Err(Reason::NoMatch),
            "{body}"
        );
    }
}

#[test]
fn a_secret_that_cannot_be_right_verifies_nothing() {
    let check = |format: Format, text: &str, expected: Reason| {
        // A header that this very text signed, so that only the secret is at fault.
        let secret = Secret::new(text);
        let header = timestamped(&[&secret], AT, b"{}");
        let key = BASE64.decode(text.trim_start_matches("whsec_").as_bytes());
        let signature = mac(&key.unwrap_or_default(), &[b"evt_1.1730000000.{}"]).finalize();
        let list = format!("v1,{}", BASE64.encode(&signature.into_bytes()));
        let lookup = |name: &str| match name {
            "xpay-signature" => Some(header.as_str()),
            "webhook-id" => Some("evt_1"),
            "webhook-timestamp" => Some("1730000000"),
            _ => Some(list.as_str()),
        };
        let alone = verify(format, &secret, lookup, b"{}", at(AT)).unwrap_err();
        assert_eq!(alone.reason(), expected, "{text:?}");
        let beside = Verifier::new(format, Secret::new(XP)).also(secret);
        assert_eq!(beside.verify(lookup, b"{}", at(AT)), Err(alone), "{text:?}");
    };
    for text in ["whsec_test\n", " whsec_test", "whsec_te st", "\u{a0}", " "] {
        check(Format::XPay, text, Reason::SecretHasWhiteSpace);
        check(Format::Standard, text, Reason::SecretHasWhiteSpace);
    }
    for text in ["", "whsec_"] {
        check(Format::XPay, text, Reason::SecretTooShort);
        check(Format::Standard, text, Reason::SecretTooShort);
    }
    for text in ["whsec_test", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaQ=", "AA=="] {
        check(Format::Standard, text, Reason::SecretTooShort);
    }
    for text in [
        "whsec_test_secret",
        "v1,whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwA",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa-_",
    ] {
        check(Format::Standard, text, Reason::SecretNotBase64);
    }
}

#[test]
fn the_sender_leaves_out_secrets_that_are_no_standard_key() {
    let (good, text_only) = (Secret::new(XP), Secret::new("whsec_test_secret"));
    let alone = standard(&[&good], "evt_1", AT, b"{}");
    assert!(alone.is_some());
    assert_eq!(standard(&[&text_only, &good], "evt_1", AT, b"{}"), alone);
    assert_eq!(standard(&[&text_only], "evt_1", AT, b"{}"), None);
    assert_eq!(standard(&[], "evt_1", AT, b"{}"), None);
    // The prefix is not part of the key, so a secret written without it signs the same.
    let bare = Secret::new(XP.trim_start_matches("whsec_"));
    assert_eq!(standard(&[&bare], "evt_1", AT, b"{}"), alone);
}

#[test]
fn formats_are_known_by_their_names() {
    for format in Format::ALL.iter().copied() {
        assert_eq!(Format::parse(format.as_str()), Some(format));
    }
    for name in ["", "XPay", "xpay ", "xpay_subscriptions", "stripe"] {
        assert_eq!(Format::parse(name), None, "{name}");
    }
}

#[test]
fn nothing_that_prints_shows_the_secret_the_header_or_the_body() {
    let verifier = Verifier::new(Format::XPay, Secret::new("whsec_canary"));
    let error = verifier
        .verify(|_| Some("t=1,v1=canary"), b"canary", at(AT))
        .unwrap_err();
    let printed = format!("{verifier:?} {error:?} {error}");
    assert!(!printed.contains("canary"), "{printed}");
    assert_eq!(
        error.to_string(),
        "webhook signature refused: what stands behind \"v1=\" is not spelled as a signature of this format"
    );
    for (reason, text) in [
        (Reason::MissingHeader("webhook-id"), "there is no header webhook-id"),
        (
            Reason::HeaderTooLong("xpay-signature", 2_000),
            "the header xpay-signature has 2000 bytes, at most 1024 are read",
        ),
        (TOO_OLD(301), "the time lies 301 s back, 300 s are allowed"),
        (
            Reason::TooManySignatures("v1,", 17),
            "there are 17 signatures behind \"v1,\", at most 16 are read",
        ),
    ] {
        assert_eq!(reason.to_string(), text);
    }
}

#[cfg(feature = "engine")]
const PAIR: &str = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";
const PUBLIC: &str = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=";
#[cfg(feature = "engine")]
const ED_ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
#[cfg(feature = "engine")]
const ED_AT: i64 = 1_614_265_330;
#[cfg(feature = "engine")]
const ED_BODY: &[u8] = br#"{"test": 2432232314}"#;
#[cfg(feature = "engine")]
const ED_CODE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
#[cfg(feature = "engine")]
const ED_SIGNATURE: &str =
    "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==";

/// What a receiver with these keys says to a request.
fn said(format: Format, keys: &[&str], headers: &[(&str, String)], body: &[u8], now: Timestamp) -> Result<(), Reason> {
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
fn signed(format: Format, secrets: &[&str], body: &[u8]) -> Vec<(&'static str, String)> {
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

#[test]
fn every_format_has_its_headers_and_the_check_values_that_others_computed() {
    const HEX: &str = "187fa68fb591cdee1668ab008795e53445eb0f7589433a23fd1910a021ceef15";
    let body = br#"{"id":"evt_test_1"}"#;
    let time = AT.to_string();
    for (format, secret, expected) in [
        (
            Format::XPay,
            "whsec_test",
            vec![("XPay-Signature", format!("t={time},v1={HEX}"))],
        ),
        (
            Format::JoPay,
            "whsec_test",
            vec![("X-JoPay-Signature", format!("t={time},v1={HEX}"))],
        ),
        (
            Format::Elixpo,
            "whsec_test",
            vec![
                ("X-Elixpo-Pay-Event", "checkout.session.completed".to_owned()),
                ("X-Elixpo-Pay-Timestamp", time.clone()),
                ("X-Elixpo-Pay-Signature", format!("sha256={HEX}")),
            ],
        ),
        (
            Format::XPaySubscriptions,
            "signing_key",
            vec![(
                "xpay-signature",
                "g1aJGnhdPRHpzPfr29fpViA2ME0ieX6YzvZIoH3Uay/m8b/i6DGlhC7jG/RXtRFEju1Pp+jYF3XwybvxRoUcWA==".to_owned(),
            )],
        ),
    ] {
        let mut headers = signed(format, &[secret], body);
        assert_eq!(said(format, &[secret], &headers, body, at(AT)), Ok(()), "{format:?}");
        // The secret is no key of Standard Webhooks, so there is no signature of that kind.
        let rest = headers.split_off(expected.len());
        assert_eq!(headers, expected);
        let standard = [
            ("webhook-id", "evt_test_1".to_owned()),
            ("webhook-timestamp", time.clone()),
        ];
        let beside: &[_] = if format == Format::XPaySubscriptions {
            &[]
        } else {
            &standard
        };
        assert_eq!(rest, beside, "{format:?}");
    }
}

#[test]
fn in_an_overlap_each_format_orders_two_signatures_so_that_its_samples_keep_to_the_old_secret() {
    let new = "c2eb67f4e6669bd0de647ac86b454efba569cf68010abd3471443ad33350c2a0";
    let old = "f97e8ec5bb379f9247b446f529b90ca2facdf2720523dfe0471cb7463103da24";
    let body = XPAY_BODY.as_bytes();
    let of = |format: Format, secrets: &[&str], name: &str| {
        let headers = signed(format, secrets, body);
        let found = headers.into_iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value).unwrap()
    };
    let overlap = [XP, XP_OLD];
    for (format, name, expected) in [
        (Format::XPay, "XPay-Signature", format!("t={AT},v1={new},v1={old}")),
        (Format::JoPay, "X-JoPay-Signature", format!("t={AT},v1={old},v1={new}")),
        (
            Format::Elixpo,
            "X-Elixpo-Pay-Signature",
            format!("sha256={new},sha256={old}"),
        ),
    ] {
        assert_eq!(of(format, &overlap, name), expected);
    }
    let alone = |secret: &str| of(Format::XPaySubscriptions, &[secret], "xpay-signature");
    assert_eq!(of(Format::XPaySubscriptions, &overlap, "xpay-signature"), alone(XP_OLD));
    let standard = |secrets: &[&str]| of(Format::Standard, secrets, "webhook-signature");
    let both = format!("{} {}", standard(&[XP]), standard(&[XP_OLD]));
    assert_eq!(standard(&overlap), both);
    assert_eq!(
        standard(&[XP]),
        "v1,wuHw9IPC0fzYWsitF0vR/t+vdpybzZIkr8QdfnBzip4=",
        "exactly one outside an overlap"
    );
}

#[test]
fn in_an_overlap_either_secret_verifies_in_every_format_that_has_room_for_two() {
    let body = XPAY_BODY.as_bytes();
    let other = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oE";
    for format in Format::ALL.iter().copied() {
        let headers = signed(format, &[XP, XP_OLD], body);
        let says = |keys: &[&str]| said(format, keys, &headers, body, at(AT));
        let room = format != Format::XPaySubscriptions;
        assert_eq!(says(&[XP]).is_ok(), room, "{format:?}");
        for keys in [&[XP_OLD][..], &[XP, XP_OLD], &[XP_OLD, XP], &[other, XP_OLD]] {
            assert_eq!(says(keys), Ok(()), "{format:?} {keys:?}");
        }
        assert_eq!(says(&[other]), Err(Reason::NoMatch), "{format:?}");
    }
}

#[cfg(feature = "engine")]
#[test]
fn an_ed25519_signature_agrees_with_the_published_one_and_stands_behind_the_codes() {
    let secrets = [XP, PAIR].map(Secret::new);
    let signing = Signing {
        secrets: &secrets,
        id: ED_ID,
        event: "ping",
        seconds: ED_AT,
        body: ED_BODY,
    };
    assert_eq!(scheme::standard(&signing), Some(format!("{ED_CODE} {ED_SIGNATURE}")));
    let alone = Signing {
        secrets: &secrets[1..],
        ..signing
    };
    assert_eq!(scheme::standard(&alone).as_deref(), Some(ED_SIGNATURE));
    assert_eq!(public_half(&secrets[1]).as_deref(), Some(PUBLIC));
    // No other format has anything of it.
    for format in [Format::XPay, Format::JoPay, Format::Elixpo, Format::XPaySubscriptions] {
        let count = usize::from(format == Format::Elixpo) * 2 + 1;
        let own = |secrets: &[&str]| signed(format, secrets, ED_BODY)[..count].to_vec();
        assert_eq!(own(&[XP, PAIR]), own(&[XP]));
    }
}

#[cfg(feature = "engine")]
#[test]
fn a_public_key_checks_its_own_signatures_and_is_never_taken_for_a_secret() {
    let headers = |list: &str| {
        [
            ("webhook-id", ED_ID.to_owned()),
            ("webhook-timestamp", ED_AT.to_string()),
            ("webhook-signature", list.to_owned()),
        ]
    };
    let both = format!("{ED_CODE} {ED_SIGNATURE}");
    let other = draw_pair().unwrap().1;
    let stranger = other.as_str();
    // By whoever takes the public key for a secret.
    let forged = mac(
        &BASE64.decode(&PUBLIC.as_bytes()[5..]).unwrap(),
        &[ED_ID.as_bytes(), b".", ED_AT.to_string().as_bytes(), b".", ED_BODY],
    );
    let forged = format!("v1,{}", BASE64.encode(&forged.finalize().into_bytes()));
    let bad = format!("v1a,{}", &ED_SIGNATURE[8..]);
    for (keys, list, expected) in [
        (&[PUBLIC][..], both.as_str(), Ok(())),
        (&[PUBLIC], ED_SIGNATURE, Ok(())),
        (&[PUBLIC, XP_OLD], &both, Ok(())),
        (&[XP_OLD, PUBLIC], ED_SIGNATURE, Ok(())),
        (&[XP, stranger], &both, Ok(())),
        (&[XP, PUBLIC], ED_CODE, Ok(())),
        (&[stranger, PUBLIC], ED_SIGNATURE, Ok(())),
        (&[XP], &both, Ok(())),
        (&[XP], ED_SIGNATURE, Err(Reason::NoSignature("v1,"))),
        (&[PUBLIC], ED_CODE, Err(Reason::NoSignature("v1a,"))),
        (&[PUBLIC], &forged, Err(Reason::NoSignature("v1a,"))),
        (&[PUBLIC, XP_OLD], &forged, Err(Reason::NoMatch)),
        (&[stranger], &both, Err(Reason::NoMatch)),
        (&[PUBLIC], &bad, Err(Reason::MalformedSignature("v1a,"))),
        (&[PUBLIC], "v1a,AAAA", Err(Reason::MalformedSignature("v1a,"))),
        (&[&PUBLIC[..46]], &both, Err(Reason::SecretNotBase64)),
        (&["whpk_AAAA"], &both, Err(Reason::SecretTooShort)),
        (&["whpk_AAAA "], &both, Err(Reason::SecretHasWhiteSpace)),
        (&[PAIR], &both, Err(Reason::SecretOfAnotherKind)),
    ] {
        let found = said(Format::Standard, keys, &headers(list), ED_BODY, at(ED_AT));
        assert_eq!(found, expected, "{keys:?} {list}");
    }
    let changed = said(Format::Standard, &[PUBLIC], &headers(&both), b"{}", at(ED_AT));
    assert_eq!(changed, Err(Reason::NoMatch));
    let late = said(Format::Standard, &[PUBLIC], &headers(&both), ED_BODY, at(ED_AT + 301));
    assert_eq!(late, Err(TOO_OLD(301)));
    // In the formats that key on the text, every text would do as one.
    for format in [Format::XPay, Format::JoPay, Format::Elixpo, Format::XPaySubscriptions] {
        for key in [PUBLIC, PAIR] {
            let headers = signed(format, &[key], ED_BODY);
            let found = said(format, &[key], &headers, ED_BODY, at(AT));
            assert_eq!(found, Err(Reason::SecretOfAnotherKind), "{format:?}");
        }
    }
}

#[cfg(feature = "engine")]
#[test]
fn a_drawn_pair_is_two_halves_of_one_key_and_a_damaged_one_signs_nothing() {
    let (signing, public) = draw_pair().unwrap();
    assert_eq!(public_half(&signing), Some(public.clone()));
    assert_eq!((signing.expose().len(), public.len()), (5 + 88, 5 + 44));
    assert_ne!(draw_pair().unwrap().1, public);
    let secrets = [Secret::new(XP), signing.clone()];
    let texts: Vec<&str> = secrets.iter().map(Secret::expose).collect();
    let headers = signed(Format::Standard, &texts, b"{}");
    assert_eq!(said(Format::Standard, &[&public], &headers, b"{}", at(AT)), Ok(()));
    // A public half of another pair would let two signatures of one seed give the seed away.
    let mixed = format!("{}{}", &signing.expose()[..50], &PAIR[50..]);
    for damaged in ["whsk_", "whsk_AAAA", "whsk_%", &mixed] {
        let one = signed(Format::Standard, &[XP, damaged], b"{}");
        assert_eq!(one, signed(Format::Standard, &[XP], b"{}"), "{damaged}");
        assert_eq!(public_half(&Secret::new(damaged)), None);
    }
}

#[cfg(not(feature = "ed25519"))]
#[test]
fn without_the_feature_a_public_key_is_refused_and_not_passed_over() {
    let headers = signed(Format::Standard, &[XP], b"{}");
    for keys in [&[PUBLIC][..], &[XP, PUBLIC]] {
        let found = said(Format::Standard, keys, &headers, b"{}", at(AT));
        assert_eq!(found, Err(Reason::NoEd25519));
    }
}

#[test]
fn the_headers_of_elixpo_and_of_subscriptions_are_refused_for_their_own_reason() {
    const HEX: &str = "c2eb67f4e6669bd0de647ac86b454efba569cf68010abd3471443ad33350c2a0";
    let body = XPAY_BODY.as_bytes();
    let elixpo = |time: &str, list: &str| {
        let headers = [
            ("X-Elixpo-Pay-Timestamp", time.to_owned()),
            ("X-Elixpo-Pay-Signature", list.to_owned()),
        ];
        said(Format::Elixpo, &[XP], &headers, body, at(AT))
    };
    let time = AT.to_string();
    let good = format!("sha256={HEX}");
    for (time, list, expected) in [
        (time.as_str(), good.clone(), Ok(())),
        (&time, format!("sha512=x,{good}"), Ok(())),
        (&time, format!("sha256={},{good}", "0".repeat(64)), Ok(())),
        (&time, HEX.to_owned(), Err(Reason::NoSignature("sha256="))),
        (&time, format!(" {good}"), Err(Reason::NoSignature("sha256="))),
        (&time, format!("{good}0"), Err(Reason::MalformedSignature("sha256="))),
        (
            &time,
            format!("sha256={}", HEX.to_uppercase()),
            Err(Reason::MalformedSignature("sha256=")),
        ),
        (
            &time,
            format!("{good},sha256="),
            Err(Reason::MalformedSignature("sha256=")),
        ),
        (
            &time,
            "sha256=,".repeat(17),
            Err(Reason::TooManySignatures("sha256=", 17)),
        ),
        (&time, format!("sha256={}", "0".repeat(64)), Err(Reason::NoMatch)),
        ("", good.clone(), Err(Reason::BadTimestamp)),
        ("-1", good.clone(), Err(Reason::BadTimestamp)),
        ("1730000001", good.clone(), Err(Reason::NoMatch)),
        (
            &"1".repeat(1_025),
            good.clone(),
            Err(Reason::HeaderTooLong("x-elixpo-pay-timestamp", 1_025)),
        ),
        (
            &time,
            "x".repeat(1_025),
            Err(Reason::HeaderTooLong("x-elixpo-pay-signature", 1_025)),
        ),
    ] {
        assert_eq!(elixpo(time, &list), expected, "{list}");
    }
    let good = &signed(Format::XPaySubscriptions, &[XP], body)[0].1;
    for (value, expected) in [
        (good.clone(), Ok(())),
        (String::new(), Err(Reason::MalformedSignature(""))),
        (format!("{good} "), Err(Reason::MalformedSignature(""))),
        (format!("{good},{good}"), Err(Reason::MalformedSignature(""))),
        (
            good.trim_end_matches('=').to_owned(),
            Err(Reason::MalformedSignature("")),
        ),
        // What the other format under this header's name says.
        (format!("t={AT},v1={HEX}"), Err(Reason::MalformedSignature(""))),
        (BASE64.encode(&[7; 64]), Err(Reason::NoMatch)),
        (BASE64.encode(&[7; 32]), Err(Reason::MalformedSignature(""))),
    ] {
        let headers = [("xpay-signature", value)];
        assert_eq!(
            said(Format::XPaySubscriptions, &[XP], &headers, body, at(AT)),
            expected,
            "{headers:?}"
        );
        // Without a time there is nothing that the clock could say.
        assert_eq!(said(Format::XPaySubscriptions, &[XP], &headers, body, at(0)), expected);
    }
    for (format, name) in [
        (Format::JoPay, "x-jopay-signature"),
        (Format::Elixpo, "x-elixpo-pay-timestamp"),
        (Format::XPaySubscriptions, "xpay-signature"),
    ] {
        assert_eq!(said(format, &[XP], &[], body, at(AT)), Err(Reason::MissingHeader(name)));
    }
    // A format's headers say nothing to another one.
    let jopay = signed(Format::JoPay, &[XP], body);
    assert!(said(Format::XPay, &[XP], &jopay, body, at(AT)).is_err());
}

/// A webhook that was signed properly in a format, with one secret or two, the newest first.
#[derive(Debug)]
struct Signed {
    format: Format,
    secrets: Vec<String>,
    seconds: i64,
    body: Vec<u8>,
}

impl Signed {
    fn headers(&self) -> Vec<(&'static str, String)> {
        let secrets: Vec<Secret> = self.secrets.iter().map(Secret::new).collect();
        let signing = Signing {
            secrets: &secrets,
            id: "evt_1",
            event: "ping",
            seconds: self.seconds,
            body: &self.body,
        };
        headers(self.format, &signing)
    }

    /// What the receiver says to these headers and this body, with each secret in turn for which there is
    /// a signature.
    fn verdicts(&self, headers: &[(&str, String)], body: &[u8]) -> Vec<Result<(), Reason>> {
        let unsigned = usize::from(self.format == Format::XPaySubscriptions) * (self.secrets.len() - 1);
        let secrets = self.secrets.iter().skip(unsigned);
        secrets
            .map(|secret| said(self.format, &[secret], headers, body, at(self.seconds)))
            .collect()
    }
}

fn any_format() -> impl Strategy<Value = Format> {
    prop::sample::select(Format::ALL)
}

fn any_signed() -> impl Strategy<Value = Signed> {
    let secret =
        proptest::collection::vec(any::<u8>(), 24..=64).prop_map(|key| format!("whsec_{}", BASE64.encode(&key)));
    (
        any_format(),
        proptest::collection::vec(secret, 1..=2),
        0..=Timestamp::MAX.as_secs(),
        proptest::collection::vec(any::<u8>(), 0..200),
    )
        .prop_map(|(format, secrets, seconds, body)| Signed {
            format,
            secrets,
            seconds,
            body,
        })
}

/// Headers that look right at a glance, and others that do not.
fn any_header() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[tv01=, ]{0,60}",
        "(t=[0-9]{0,20},)?(v1=[0-9a-f]{62,66},?){0,4}",
        "(sha256=[0-9a-f]{62,66},?){0,4}",
        "(v1a?,[A-Za-z0-9+/]{42,44}=? ?){0,4}",
        "[A-Za-z0-9+/]{84,86}={0,2}",
        "[0-9]{0,20}",
    ]
}

proptest! {
    #[test]
    fn what_we_sign_verifies(signed in any_signed()) {
        for verdict in signed.verdicts(&signed.headers(), &signed.body) {
            prop_assert_eq!(verdict, Ok(()));
        }
    }

    #[test]
    fn a_body_with_one_changed_byte_is_refused(
        signed in any_signed(),
        at in any::<prop::sample::Index>(),
        flip in 1..=u8::MAX,
    ) {
        prop_assume!(!signed.body.is_empty());
        let mut body = signed.body.clone();
        let at = at.index(body.len());
        body[at] ^= flip;
        for verdict in signed.verdicts(&signed.headers(), &body) {
            prop_assert_eq!(verdict, Err(Reason::NoMatch));
        }
    }

    #[test]
    fn a_signature_with_one_changed_digit_is_refused(
        signed in any_signed(),
        at in any::<prop::sample::Index>(),
        hex_digit in prop::sample::select(b"0123456789abcdef".to_vec()),
        base64_digit in prop::sample::select(b"ABCXYZabcxyz0189+/=".to_vec()),
    ) {
        // The signature by one secret alone, so that no other one verifies in its place.
        let signed = Signed { secrets: signed.secrets[..1].to_vec(), ..signed };
        let (name, digits, digit) = match signed.format {
            Format::XPay => ("XPay-Signature", 64, hex_digit),
            Format::JoPay => ("X-JoPay-Signature", 64, hex_digit),
            Format::Elixpo => ("X-Elixpo-Pay-Signature", 64, hex_digit),
            Format::XPaySubscriptions => ("xpay-signature", 88, base64_digit),
            Format::Standard => ("webhook-signature", 44, base64_digit),
        };
        let mut headers = signed.headers();
        let value = &mut headers.iter_mut().find(|(known, _)| *known == name).unwrap().1;
        let before = value.clone();
        let mut changed = std::mem::take(value).into_bytes();
        let at = changed.len() - 1 - at.index(digits);
        changed[at] = digit;
        *value = String::from_utf8(changed).unwrap();
        let same = *value == before;
        for verdict in signed.verdicts(&headers, &signed.body) {
            prop_assert_eq!(verdict.is_ok(), same, "{:?}", headers);
        }
    }

    #[test]
    fn no_header_panics_and_none_is_believed(
        format in any_format(),
        header in any_header(),
        time in any_header(),
        id in any::<String>(),
        body in proptest::collection::vec(any::<u8>(), 0..50),
    ) {
        for (id, time) in [(id.as_str(), time.as_str()), ("evt_1", &AT.to_string())] {
            let lookup = |name: &str| match name {
                "webhook-id" => Some(id),
                "webhook-timestamp" | "x-elixpo-pay-timestamp" => Some(time),
                _ => Some(header.as_str()),
            };
            for key in [XP, PUBLIC] {
                prop_assert!(verify(format, &Secret::new(key), lookup, &body, at(AT)).is_err());
            }
        }
    }
}

/// A receiver's memory, and what it was asked.
#[derive(Default)]
struct Memory {
    seen: std::collections::BTreeSet<String>,
    newest: std::collections::BTreeMap<String, i64>,
    broken: bool,
}

impl InboxStore for Memory {
    type Error = &'static str;

    fn seen(&mut self, event_id: &str) -> Result<bool, Self::Error> {
        Ok(!self.seen.insert(event_id.to_owned()))
    }

    fn newest(&mut self, object_id: &str, sequence: i64) -> Result<bool, Self::Error> {
        if self.broken {
            return Err("the disk is full");
        }
        let newer = self.newest.get(object_id).is_none_or(|kept| *kept < sequence);
        if newer {
            self.newest.insert(object_id.to_owned(), sequence);
        }
        Ok(newer)
    }
}

#[test]
fn an_inbox_tells_what_is_new_from_what_is_late_and_what_was_there() {
    use Arrived::{Late, Newest, Repeated};
    let mut memory = Memory::default();
    let mut inbox = Inbox::new(&mut memory);
    for (arrival, expected) in [
        (Arrival::new("evt_3").about("cs_1", 3), Newest),
        (Arrival::new("evt_3").about("cs_1", 3), Repeated),
        (Arrival::new("evt_1").about("cs_1", 1), Late),
        (Arrival::new("evt_1").about("cs_1", 1), Repeated),
        (Arrival::new("evt_4").about("cs_2", 1), Newest),
        (Arrival::new("evt_5").about("cs_1", 4), Newest),
        // Of two events that claim the same place, the first one stands.
        (Arrival::new("evt_6").about("cs_1", 4), Late),
        (Arrival::new("evt_7"), Newest),
        (Arrival::new("evt_7"), Repeated),
        // A repetition is one whatever it says.
        (Arrival::new("evt_7").about("cs_1", 9), Repeated),
    ] {
        assert_eq!(inbox.take(arrival), Ok(expected), "{arrival:?}");
    }
    assert_eq!(memory.newest["cs_1"], 4);
    let mut inbox = Inbox::new(Memory {
        broken: true,
        ..Memory::default()
    });
    assert_eq!(
        inbox.take(Arrival::new("evt_1").about("cs_1", 1)),
        Err("the disk is full")
    );
    assert!(inbox.into_store().newest.is_empty());
}

proptest! {
    #[test]
    fn in_any_order_and_however_often_each_event_is_taken_once_and_the_newest_state_stays(
        arrivals in proptest::collection::vec((0..3_usize, 1..6_i64), 0..40),
    ) {
        let mut inbox = Inbox::new(Memory::default());
        let mut acted = std::collections::BTreeSet::new();
        let mut state = [0; 3];
        for (object, sequence) in &arrivals {
            let (id, name) = (format!("evt_{object}_{sequence}"), format!("cs_{object}"));
            let arrived = inbox.take(Arrival::new(&id).about(&name, *sequence)).unwrap();
            if arrived != Arrived::Repeated {
                prop_assert!(acted.insert((*object, *sequence)));
            }
            if arrived == Arrived::Newest {
                state[*object] = *sequence;
            }
        }
        prop_assert_eq!(acted, arrivals.iter().copied().collect());
        for (object, state) in state.into_iter().enumerate() {
            let newest = arrivals.iter().filter(|(of, _)| *of == object).map(|(_, sequence)| *sequence).max();
            prop_assert_eq!(state, newest.unwrap_or(0));
        }
    }
}
