use std::time::Duration;

use data_encoding::BASE64;
use hmac::Mac as _;
use proptest::prelude::*;

use crate::secret::Secret;
use crate::time::Timestamp;
use crate::webhook::key::mac;
use crate::webhook::samples::*;
use crate::webhook::scheme::{Signing, headers, timestamped};
use crate::webhook::*;

const TOO_OLD: fn(u64) -> Reason = |off| Reason::TooOld { off, allowed: 300 };
const TOO_NEW: fn(u64) -> Reason = |off| Reason::TooNew { off, allowed: 300 };

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
