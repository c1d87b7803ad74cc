use std::time::Duration;

use data_encoding::{BASE64, HEXLOWER};
use hmac::{Hmac, KeyInit as _, Mac as _};
use proptest::prelude::*;
use sha2::Sha256;

use super::signature::*;
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
        (String::new(), Reason::NoTimestamp),
        (format!("v1={good}"), Reason::NoTimestamp),
        (format!("t={AT},t={AT},v1={good}"), Reason::RepeatedTimestamp),
        (format!("t={AT},t=1,v1={good}"), Reason::RepeatedTimestamp),
        (format!("t=,v1={good}"), Reason::BadTimestamp),
        (format!("t=now,v1={good}"), Reason::BadTimestamp),
        (format!("t=+{AT},v1={good}"), Reason::BadTimestamp),
        (format!("t=-{AT},v1={good}"), Reason::BadTimestamp),
        (format!("t={AT}.0,v1={good}"), Reason::BadTimestamp),
        (format!("t= {AT},v1={good}"), Reason::BadTimestamp),
        (format!("t=9{AT}{AT},v1={good}"), Reason::BadTimestamp),
        (format!("t=0{AT},v1={good}"), Reason::NoMatch),
        (format!("t={}", i64::MAX) + ",v1=" + good, Reason::NoMatch),
        (format!("t={AT}"), Reason::NoSignature),
        (format!("t={AT},v0={good},v1a={good}"), Reason::NoSignature),
        (format!("t={AT}, v1={good}"), Reason::NoSignature),
        (format!("t={AT},V1={good}"), Reason::NoSignature),
        (format!("t={AT}{}", ",v1=00".repeat(16)), Reason::MalformedSignature),
        (format!("t={AT}{}", ",v1=00".repeat(17)), Reason::TooManySignatures),
        (format!("t={AT},v1="), Reason::MalformedSignature),
        (format!("t={AT},v1={}", &good[1..]), Reason::MalformedSignature),
        (format!("t={AT},v1={}", &good[2..]), Reason::MalformedSignature),
        (format!("t={AT},v1={good}0"), Reason::MalformedSignature),
        (format!("t={AT},v1={good}00"), Reason::MalformedSignature),
        (format!("t={AT},v1={}", good.to_uppercase()), Reason::MalformedSignature),
        (
            format!("t={AT},v1={}", good.replace('c', "g")),
            Reason::MalformedSignature,
        ),
        (format!("t={AT},v1={good},v1=oops"), Reason::MalformedSignature),
        (format!("t={AT},v1={}", "0".repeat(64)), Reason::NoMatch),
        (format!("t={},v1={good}", AT + 1), Reason::NoMatch),
        (
            format!("t={AT},v1={good}{}", ",".repeat(945)),
            Reason::HeaderTooLong("xpay-signature"),
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
        ([id, &time, ""], Reason::NoSignature),
        ([id, &time, &good[3..]], Reason::NoSignature),
        ([id, &time, &good.replace("v1", "v1a")], Reason::NoSignature),
        ([id, &time, "v1,"], Reason::MalformedSignature),
        ([id, &time, &format!("{good}\t{good}")], Reason::MalformedSignature),
        ([id, &time, good.trim_end_matches('=')], Reason::MalformedSignature),
        ([id, &time, &good.replace('/', "_")], Reason::MalformedSignature),
        // The last character carries two bits that must be zero: one spelling for one value.
        ([id, &time, &good.replace("4=", "5=")], Reason::MalformedSignature),
        ([id, &time, &"v1,AAAA ".repeat(16)], Reason::MalformedSignature),
        ([id, &time, &"v1,AAAA ".repeat(17)], Reason::TooManySignatures),
        ([&long, &time, good], Reason::HeaderTooLong("webhook-id")),
        ([id, &long, good], Reason::HeaderTooLong("webhook-timestamp")),
        ([id, &time, &long], Reason::HeaderTooLong("webhook-signature")),
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
        ((AT + 301) * 1_000, Err(Reason::TooOld)),
        (Timestamp::MAX.as_millis(), Err(Reason::TooOld)),
        ((AT - 300) * 1_000, Ok(())),
        ((AT - 300) * 1_000 - 1, Err(Reason::TooNew)),
        ((AT - 301) * 1_000, Err(Reason::TooNew)),
        (0, Err(Reason::TooNew)),
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
    assert_eq!(xpay(XP, &header, b"{}", at(0)), Err(Reason::TooNew));

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
fn while_a_secret_is_replaced_either_one_verifies() {
    let (new, old, other) = (
        Secret::new(XP),
        Secret::new(XP_OLD),
        Secret::new("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oE"),
    );
    let header = timestamped(&[&new, &old], AT, XPAY_BODY.as_bytes());
    assert_eq!(
        header,
        "t=1730000000,\
         v1=c2eb67f4e6669bd0de647ac86b454efba569cf68010abd3471443ad33350c2a0,\
         v1=f97e8ec5bb379f9247b446f529b90ca2facdf2720523dfe0471cb7463103da24"
    );
    let list = standard(&[&new, &old], "evt_1", AT, XPAY_BODY.as_bytes()).unwrap();
    assert_eq!(list.split(' ').count(), 2);
    let lookup = |name: &str| match name {
        "xpay-signature" => Some(header.as_str()),
        "webhook-id" => Some("evt_1"),
        "webhook-timestamp" => Some("1730000000"),
        "webhook-signature" => Some(list.as_str()),
        _ => None,
    };
    for format in [Format::XPay, Format::Standard] {
        let check = |verifier: Verifier| verifier.verify(lookup, XPAY_BODY.as_bytes(), at(AT));
        let only = |secret: &Secret| Verifier::new(format, secret.clone());
        assert_eq!(check(only(&new)), Ok(()), "{format:?}");
        assert_eq!(check(only(&old)), Ok(()), "{format:?}");
        assert_eq!(check(only(&other).also(old.clone())), Ok(()), "{format:?}");
        assert_eq!(check(only(&other)).unwrap_err().reason(), Reason::NoMatch, "{format:?}");
    }
}

#[test]
fn formats_are_known_by_their_names() {
    for format in [Format::XPay, Format::Standard] {
        assert_eq!(Format::parse(format.as_str()), Some(format));
    }
    for name in ["", "XPay", "xpay ", "stripe"] {
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
        "webhook signature refused: a v1 signature is not spelled as one"
    );
    for (reason, text) in [
        (Reason::MissingHeader("webhook-id"), "there is no header webhook-id"),
        (
            Reason::HeaderTooLong("xpay-signature"),
            "the header xpay-signature is longer than 1024 bytes",
        ),
    ] {
        assert_eq!(reason.to_string(), text);
    }
}

/// A webhook that was signed properly in both schemes, with one secret or two.
#[derive(Debug)]
struct Signed {
    secrets: Vec<String>,
    seconds: i64,
    body: Vec<u8>,
}

impl Signed {
    fn header(&self) -> String {
        let secrets: Vec<Secret> = self.secrets.iter().map(Secret::new).collect();
        timestamped(&secrets.iter().collect::<Vec<_>>(), self.seconds, &self.body)
    }

    fn list(&self) -> String {
        let secrets: Vec<Secret> = self.secrets.iter().map(Secret::new).collect();
        let secrets: Vec<&Secret> = secrets.iter().collect();
        standard(&secrets, "evt_1", self.seconds, &self.body).unwrap()
    }

    /// What the receiver says to these headers and this body, with each secret in turn.
    fn verdicts<'a>(
        &'a self,
        format: Format,
        signature: &'a str,
        body: &'a [u8],
    ) -> impl Iterator<Item = Result<(), Reason>> + 'a {
        let now = at(self.seconds);
        self.secrets.iter().map(move |secret| match format {
            Format::XPay => xpay(secret, signature, body, now),
            Format::Standard => {
                let headers = ["evt_1", &self.seconds.to_string(), signature];
                standard_webhook(secret, headers, body, now)
            }
        })
    }
}

fn any_signed() -> impl Strategy<Value = Signed> {
    let secret =
        proptest::collection::vec(any::<u8>(), 24..=64).prop_map(|key| format!("whsec_{}", BASE64.encode(&key)));
    (
        proptest::collection::vec(secret, 1..=2),
        0..=Timestamp::MAX.as_secs(),
        proptest::collection::vec(any::<u8>(), 0..200),
    )
        .prop_map(|(secrets, seconds, body)| Signed { secrets, seconds, body })
}

/// Headers that look right at a glance, and others that do not.
fn any_header() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[tv01=, ]{0,60}",
        "(t=[0-9]{0,20},)?(v1=[0-9a-f]{62,66},?){0,4}",
        "(v1a?,[A-Za-z0-9+/]{42,44}=? ?){0,4}",
    ]
}

proptest! {
    #[test]
    fn what_we_sign_verifies(signed in any_signed()) {
        for verdict in signed.verdicts(Format::XPay, &signed.header(), &signed.body) {
            prop_assert_eq!(verdict, Ok(()));
        }
        for verdict in signed.verdicts(Format::Standard, &signed.list(), &signed.body) {
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
        for (format, signature) in [
            (Format::XPay, signed.header()),
            (Format::Standard, signed.list()),
        ] {
            for verdict in signed.verdicts(format, &signature, &body) {
                prop_assert_eq!(verdict, Err(Reason::NoMatch));
            }
        }
    }

    #[test]
    fn a_signature_with_one_changed_digit_is_refused(
        signed in any_signed(),
        at in any::<prop::sample::Index>(),
        hex_digit in prop::sample::select(b"0123456789abcdef".to_vec()),
        base64_digit in prop::sample::select(b"ABCXYZabcxyz0189+/=".to_vec()),
    ) {
        // The signature by the first secret alone, so that no other one verifies in its place.
        let signed = Signed { secrets: signed.secrets[..1].to_vec(), ..signed };
        for (format, signature, digit) in [
            (Format::XPay, signed.header(), hex_digit),
            (Format::Standard, signed.list(), base64_digit),
        ] {
            let start = match format {
                Format::XPay => signature.len() - 64,
                Format::Standard => "v1,".len(),
            };
            let mut changed = signature.clone().into_bytes();
            let at = start + at.index(changed.len() - start);
            changed[at] = digit;
            let changed = String::from_utf8(changed).unwrap();
            for verdict in signed.verdicts(format, &changed, &signed.body) {
                prop_assert_eq!(verdict.is_ok(), changed == signature, "{}", changed);
            }
        }
    }

    #[test]
    fn no_header_panics_and_none_is_believed(
        header in any_header(),
        time in any_header(),
        id in any::<String>(),
        body in proptest::collection::vec(any::<u8>(), 0..50),
    ) {
        prop_assert!(xpay(XP, &header, &body, at(AT)).is_err());
        prop_assert!(standard_webhook(XP, [&id, &time, &header], &body, at(AT)).is_err());
        let headers = ["evt_1", &AT.to_string(), &header];
        prop_assert!(standard_webhook(XP, headers, &body, at(AT)).is_err());
    }
}
