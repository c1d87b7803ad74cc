use data_encoding::{BASE64, HEXLOWER};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::secret::Secret;
use crate::webhook::key::{decoded_key, mac};
use crate::webhook::samples::*;
use crate::webhook::scheme::timestamped;
use crate::webhook::*;

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
    assert_eq!(super::standard(&signing), Some(format!("{ED_CODE} {ED_SIGNATURE}")));
    let alone = Signing {
        secrets: &secrets[1..],
        ..signing
    };
    assert_eq!(super::standard(&alone).as_deref(), Some(ED_SIGNATURE));
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
