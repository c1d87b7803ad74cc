use proptest::prelude::*;

use super::*;
use crate::card::{masked, masked_body};

fn field_of<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    result.unwrap_err().field().unwrap_or_default().to_owned()
}

/// Published test numbers of the brands, as their processors document them.
const TEST_CARDS: &[&str] = &[
    "5123450000000008",
    "4000000000003220",
    "4242424242424242",
    "4000056655665556",
    "5555555555554444",
    "2223003122003222",
    "5200828282828210",
    "5105105105105100",
    "378282246310005",
    "371449635398431",
    "6011111111111117",
    "6011000990139424",
    "3056930009020004",
    "36227206271667",
    "6555900000604105",
    "3566002020360505",
    "6200000000000005",
    "4222222222222",
    "30569309025904",
    "4111111111111111",
    "5500000000000004",
    "340000000000009",
    "6304000000000000",
    "6759649826438453",
    "6205500000000000004",
    "675964982648",
];

/// In which groups a card of so many digits is printed, beside fours and what is left.
fn printed(digits: usize) -> &'static [&'static [usize]] {
    match digits {
        13 => &[&[4, 4, 5], &[4, 3, 3, 3]],
        14 => &[&[4, 6, 4]],
        15 => &[&[4, 6, 5]],
        19 => &[&[6, 13]],
        _ => &[],
    }
}

/// A card in every way in which it is printed: its groups.
fn groupings(card: &str) -> Vec<Vec<&str>> {
    let mut rest: Vec<Vec<&str>> = printed(card.len())
        .iter()
        .map(|lengths| {
            let ends = lengths.iter().scan(0, |end, length| {
                *end += length;
                Some(*end)
            });
            ends.zip(*lengths)
                .map(|(end, length)| &card[end - length..end])
                .collect()
        })
        .collect();
    let fours = (0..card.len()).step_by(4).map(|at| &card[at..card.len().min(at + 4)]);
    rest.push(fours.collect());
    rest.push(vec![card]);
    rest
}

/// What stands directly before and behind a card.
const AROUND: &[(&str, &str)] = &[
    ("", ""),
    ("card", ""),
    ("pan_", "_x"),
    ("card", "exp0139"),
    ("face", ""),
    ("deadbeefcafe", ""),
    ("", "c123"),
    ("", "e0139"),
    ("Bitte buchen Sie ", " ab, gültig bis 01/39."),
    ("12 34 ", " 12 34"),
    ("12-", "-99"),
    ("order-", "-1"),
    ("(", ")"),
    ("https://x.example/?n=%2F", "%2F1"),
    ("https://x.example/?n=%2F", "a1"),
    (
        "550e8400-e29b-41d4-a716-446655440000 ",
        " 550e8400-e29b-41d4-a716-446655440000",
    ),
    (
        "550e8400-e29b-41d4-a716-446655440000-",
        "-550e8400-e29b-41d4-a716-446655440000",
    ),
    (
        "da39a3ee5e6b4b0d3255bfef95601890afd80709:",
        ":da39a3ee5e6b4b0d3255bfef95601890afd80709",
    ),
];

#[test]
fn every_public_test_card_is_refused_however_it_is_written() {
    for card in TEST_CARDS {
        let dashed: Vec<&str> = card
            .as_bytes()
            .chunks(4)
            .map(|c| std::str::from_utf8(c).unwrap())
            .collect();
        for text in [
            (*card).to_owned(),
            dashed.join(" "),
            dashed.join("-"),
            format!("card {card} 12/34"),
            format!("{card} 12 34"),
            format!("no:{card}."),
        ] {
            let error = no_card("note", &text).unwrap_err();
            assert_eq!(error.field(), Some("note"), "{text}");
            assert!(!error.to_string().contains(&card[4..]), "{error}");
            let masked = masked(&text);
            assert!(!contains_digits_of(&masked, card), "{masked}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_card_is_found_in_every_printed_form_wherever_it_stands(
        dashes in prop::collection::vec(any::<bool>(), 5),
        uniform in any::<bool>(),
    ) {
        for card in TEST_CARDS {
            for groups in groupings(card) {
                for (before, behind) in AROUND {
                    let mut written = groups[0].to_owned();
                    for (at, group) in groups[1..].iter().enumerate() {
                        written.push(if dashes[if uniform { 0 } else { at }] { '-' } else { ' ' });
                        written.push_str(group);
                    }
                    let text = format!("{before}{written}{behind}");
                    prop_assert!(no_card("note", &text).is_err(), "{text}");
                    let masked = masked(&text);
                    prop_assert!(no_card("note", &masked).is_ok(), "{masked}");
                    prop_assert!(!contains_digits_of(&masked, card), "{masked}");
                }
            }
        }
    }

    #[test]
    fn no_uuid_is_refused_whatever_is_in_it(
        // Mostly digits: those of a UUID out of nothing else are the nearest to a card's.
        digits in prop::collection::vec(prop_oneof![9 => 0_u32..10, 1 => 0_u32..16], 32),
        card in prop::sample::select(TEST_CARDS),
    ) {
        let drawn: String = digits.iter().filter_map(|digit| char::from_digit(*digit, 16)).collect();
        let planted = (1..=20).map(|at| {
            let mut hex = drawn.clone();
            let end = (at + card.len()).min(32);
            hex.replace_range(at..end, &card[..end - at]);
            // Apart from what is before, so that a group of its length can be a card's.
            hex.replace_range(at - 1..at, "a");
            hex
        });
        for hex in planted.chain([drawn.clone()]) {
            let uuid = dashed(&hex);
            for text in [
                uuid.clone(),
                uuid.to_uppercase(),
                format!("order-{uuid}"),
                format!("order_{uuid}"),
                format!("{{{uuid}}}"),
                format!("urn:uuid:{uuid}"),
                format!("{uuid}-{uuid}"),
                format!("https://shop.example/{uuid}/12?x={uuid}"),
            ] {
                prop_assert!(no_card("uid", &text).is_ok(), "{text}");
                prop_assert_eq!(&masked(&text), &text);
            }
        }
    }
}

/// The 32 hexadecimal digits of a UUID in its groups.
fn dashed(hex: &str) -> String {
    let groups = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
    groups.join("-")
}

#[test]
fn ten_thousand_hashes_are_accepted() {
    for number in 0..10_000_i64 {
        let hash = crate::digest::Fields::new().int(number).finish();
        let hex = data_encoding::HEXLOWER.encode(&hash);
        for id in [&hex[..], &hex[..40], &hex[..32], &dashed(&hex[..32])] {
            assert!(no_card("id", id).is_ok(), "{id}");
        }
    }
}

/// What stands between the groups of a number in what services post.
const GAPS: &[&str] = &[
    " ",
    "  ",
    "-",
    "--",
    ".",
    " - ",
    "+",
    "++",
    "+-+",
    "\t",
    "%20",
    "%2520",
    "%2D",
    "%2d",
    "%2E",
    "%09",
    "%C2%A0",
    "%c2%a0",
    "%E2%80%91",
    "\u{a0}",
    "\u{2009}",
    "\u{2011}",
    "\u{200b}",
    "\u{3000}",
    "\\t",
    "\\u0020",
    "\\u002d",
    "\\u002D",
    "\\u00a0",
    "\\x2d",
    "\\\\u002d",
    "&nbsp;",
    "&#45;",
    "&#x2D;",
    "&#160;",
    "&amp;#45;",
    "&thinsp;",
];

/// How services write one digit.
fn written_digit(digit: char, way: u8) -> String {
    let code = u32::from(digit);
    match way {
        0..=4 => digit.to_string(),
        5 => format!("%{code:02X}"),
        6 => format!("\\u{code:04x}"),
        7 => format!("&#{code};"),
        8 => format!("&#x{code:x};"),
        _ => char::from_u32(code - 0x30 + 0xff10).unwrap().to_string(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_digit_of_a_card_is_left_of_a_post_whatever_it_writes_between_and_for_them(
        card in prop::sample::select(TEST_CARDS),
        way_of_printing in any::<prop::sample::Index>(),
        gaps in prop::collection::vec(prop::sample::select(GAPS), 4),
        ways in prop::collection::vec(0..10_u8, 19),
        (before, behind) in prop::sample::select(vec![
            ("pan=", "&exp=0139"), ("{\"pan\":\"", "\"}"), ("a=1&pan=%22", "%22&b=2"), ("<pan>", "</pan>"), ("x%3D", ""), ("", ""),
        ]),
    ) {
        let groups = groupings(card);
        let groups = way_of_printing.get(&groups);
        let mut ways = ways.into_iter();
        let (mut body, mut expected) = (before.to_owned(), before.to_owned());
        for (number, group) in groups.iter().enumerate() {
            if number > 0 {
                let gap = gaps[(number - 1) % gaps.len()];
                body.push_str(gap);
                expected.push_str(gap);
            }
            for digit in group.chars() {
                let written = written_digit(digit, ways.next().unwrap());
                expected.push_str(&"*".repeat(written.len()));
                body.push_str(&written);
            }
        }
        let masked = masked_body(format!("{body}{behind}").as_bytes());
        prop_assert_eq!(String::from_utf8(masked).unwrap(), format!("{expected}{behind}"));
    }
}

#[test]
fn what_a_post_says_beside_cards_stays_as_it_is() {
    for body in [
        "created=1700000000000&updated=1700000000001",
        "{\"at\":1700000000000,\"ids\":[4242,4242,4242,4242]}",
        "id=550e8400-e29b-41d4-a716-446655440000",
        "id=550e8400%2De29b%2D41d4%2Da716%2D446655440000",
        "sha=da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "ip=10.0.0.1&version=4.2.4.2&amount=4242.42",
        "\\u00e9t\\u00e9 100% \\\\ & &amp; %zz %",
        "4242\\n4242\\n4242\\n4242",
    ] {
        assert_eq!(masked_body(body.as_bytes()), body.as_bytes(), "{body}");
    }
    let bytes: Vec<u8> = (0..=255).collect();
    assert_eq!(masked_body(&bytes), bytes);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_digit_of_a_card_is_kept_wherever_a_text_is_cut(
        card in prop::sample::select(TEST_CARDS),
        way_of_printing in any::<prop::sample::Index>(),
        gap in prop::sample::select(vec![" ", "-"]),
        secrets in 0..5_usize,
        before in 0..400_usize,
        given in prop::option::of(0..400_usize),
        max in prop::sample::select(vec![40, 64, 100]),
    ) {
        let groups = groupings(card);
        let written = way_of_printing.get(&groups).join(gap);
        let secrets = format!("whsec_{} ", "a".repeat(40)).repeat(secrets);
        let text = format!("{secrets}{} {written} {}", "x".repeat(before), "y".repeat(200));
        let start = given.map_or(&text[..], |given| &text[..given.min(text.len())]);
        let shown = kept_start(start, max, given.is_some());
        prop_assert!(shown.chars().count() <= max);
        prop_assert!(!shown.contains(|c: char| c.is_ascii_digit()), "{shown}");
        if start == text {
            prop_assert_eq!(kept(start, max), shown);
        }
    }
}

#[test]
fn a_text_that_is_kept_whole_keeps_its_digits_and_one_that_is_cut_those_that_are_no_cards_beginning() {
    assert_eq!(kept("error 500", 64), "error 500");
    assert_eq!(kept_start("error 500", 64, true), "error ***");
    assert_eq!(kept_start("error 500: 4242 42", 64, true), "error 500: **** **");
    assert_eq!(kept_start("error 500: no", 64, true), "error 500: no");
    assert_eq!(kept(&"7".repeat(65), 64), "7".repeat(64));
}

#[test]
fn groups_joined_by_dashes_are_a_card_only_as_cards_are_printed() {
    for text in [
        "42424242-42424242",
        "42-42-42-42-42-42-42-42",
        "424242-4242424242",
        "4242-4242-42424242",
        "42424242-4242-4242",
        "4242 4242-42424242",
        // A group that is a card by itself, but of a UUID written in full.
        "550e8400-e29b-41d4-a716-675964982648",
    ] {
        assert!(no_card("id", text).is_ok(), "{text}");
    }
    for text in [
        "4242-4242-4242-4242",
        "42424242 42424242",
        "42 42 42 42 42 42 42 42",
        "1234-4242424242424242-1",
        "12345678-1234-1234-4242424242424242",
        "550e8400-e29b-41d4-675964982648",
        "x550e8400-e29b-41d4-a716-675964982648",
        "550e8400-e29b-41d4-a716-675964982648x",
        "da39a3ee5e6b-4242424242424242",
        "a4242424242424242a",
    ] {
        assert!(no_card("id", text).is_err(), "{text}");
    }
}

#[test]
fn an_id_of_digits_keeps_clear_of_cards_as_documented() {
    for card in TEST_CARDS {
        let (start, end) = card.split_at(8);
        for digits in [
            format!("0{card}"),
            format!("1{card}"),
            format!("7{card}"),
            format!("{start}_{end}"),
        ] {
            for prefix in ["", "user_", "user"] {
                assert!(no_card("uid", &format!("{prefix}{digits}")).is_ok(), "{prefix}{digits}");
            }
        }
        assert!(no_card("uid", &format!("user_{card}")).is_err());
    }
}

fn contains_digits_of(text: &str, card: &str) -> bool {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    digits.contains(card)
}

#[test]
fn a_hundred_thousand_epoch_millisecond_ids_are_accepted() {
    for step in 0..100_000i64 {
        let id = (1_700_000_000_000 + step * 997).to_string();
        assert!(no_card("id", &id).is_ok(), "{id}");
    }
    for text in [
        "2026-11-22 10:15:30",
        "550e8400-e29b-41d4-a716-446655440000",
        "+49 30 1234567",
        "4242",
    ] {
        assert!(no_card("id", text).is_ok(), "{text}");
    }
}

#[test]
fn texts_are_bounded_in_characters_and_free_of_controls() {
    assert!(text("name", &"é".repeat(10), 10).is_ok());
    for bad in ["", "a\0b", "a\nb", "\u{1b}[2J", "\u{85}", &"é".repeat(11)] {
        assert_eq!(field_of(text("name", bad, 10)), "name", "{bad:?}");
    }
    for bad in ["", "Shop", "a b", "a%", "é", &"a".repeat(65)] {
        assert_eq!(field_of(name("slug", bad, 64)), "slug", "{bad:?}");
    }
    for bad in ["", " ", "a b", "é", &"k".repeat(256), "4242424242424242"] {
        assert_eq!(field_of(key("order_key", Some(bad))), "order_key", "{bad:?}");
    }
    assert!(key("order_key", Some(&"k".repeat(255))).is_ok());
    assert_eq!(key("order_key", None), Ok(None));
}

#[test]
fn metadata_limits() {
    let many = |count: usize| {
        (0..count)
            .map(|n| (format!("k{n}"), "v".to_owned()))
            .collect::<Vec<_>>()
    };
    assert!(Metadata::new(many(50)).is_ok());
    assert_eq!(field_of(Metadata::new(many(51))), "metadata");
    assert!(Metadata::new([("k".repeat(40), "v".repeat(500))]).is_ok());
    assert_eq!(field_of(Metadata::new([("k".repeat(41), "v")])), "metadata key");
    assert_eq!(field_of(Metadata::new([("", "v")])), "metadata key");
    assert_eq!(field_of(Metadata::new([("k", "v".repeat(501))])), "metadata.k");
    assert_eq!(field_of(Metadata::new([("k", "1"), ("k", "2")])), "metadata.k");
    assert_eq!(field_of(Metadata::new([("k", "a\0")])), "metadata.k");
    assert_eq!(
        field_of(Metadata::new([("card", "4242 4242 4242 4242")])),
        "metadata.card"
    );
    assert_eq!(field_of(Metadata::new([("42424242", "42424242")])), "metadata");
    assert_eq!(Metadata::new([("empty", "")]).unwrap().get("empty"), Some(""));
}

#[test]
fn metadata_is_written_in_the_order_that_javascript_keeps() {
    let metadata = Metadata::new(["b", "10", "2", "01", "a", "4294967295"].map(|key| (key, ""))).unwrap();
    let keys: Vec<&str> = metadata.iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["2", "10", "01", "4294967295", "a", "b"]);
}

#[test]
fn urls_are_checked_on_the_raw_text() {
    for good in [
        "https://shop.example/thanks?x=1#y",
        "http://localhost:8080/hook",
        "https://shop.example/order/{CHECKOUT_SESSION_ID}",
        "https://[::1]:80/x",
        "HTTPS://Shop.Example",
    ] {
        assert_eq!(Url::parse("url", good).unwrap().as_str(), good);
    }
    for bad in [
        "",
        "shop.example",
        "/path",
        "ftp://shop.example",
        "javascript:alert(1)",
        "data:text/html,x",
        "java\nscript://x",
        "https://",
        "https:///x",
        "https:ok",
        "https://user:pw@evil.example/",
        "https://ok@evil.example",
        "https://ok\\@evil.example",
        "https://evil.example/a b",
        "https://evil.example/a\tb",
        "https://a\u{a0}b.example",
        "https://{CHECKOUT_SESSION_ID}.evil.example/",
        "https://shop.example:/x",
        "https://shop.example:99999/",
        "https://shop.example:0/",
        "https://[fe80::1%25eth0]/",
        &format!("https://shop.example/{}", "x".repeat(2_048)),
    ] {
        assert_eq!(field_of(Url::parse("success_url", bad)), "success_url", "{bad:?}");
    }
}

#[test]
fn an_endpoint_is_where_a_webhook_can_go() {
    for good in [
        "https://shop.example/hook?token=1",
        "http://localhost:8080/",
        "http://192.168.1.9/hook",
        "http://[::1]/",
        "http://printer/",
        "https://1.1.1.1/",
    ] {
        assert_eq!(Url::parse_endpoint("url", good).unwrap().as_str(), good);
    }
    for bad in [
        "http://169.254.169.254/latest/meta-data",
        "http://[::ffff:169.254.169.254]/",
        "http://[fd00:ec2::254]/",
        "http://0.0.0.0/",
        "http://[::]:80/",
        "http://[fe80::1]/",
        "http://224.0.0.1/",
        "http://[2002:7f00:1::]/",
        "no URL",
    ] {
        assert_eq!(field_of(Url::parse_endpoint("url", bad)), "url", "{bad:?}");
    }
}

#[test]
fn urls_of_one_place_have_one_key() {
    let key = |url: &str| Url::parse("url", url).unwrap().key();
    assert_eq!(key("HTTPS://Shop.Example:443"), key("https://shop.example/"));
    assert_eq!(key("http://shop.example:80/a#b"), key("http://shop.example/a"));
    assert_eq!(key("http://shop.example:080/"), key("http://shop.example"));
    assert_eq!(key("https://shop.example:08443/"), key("https://Shop.Example:8443"));
    assert_eq!(key("http://[::1]:80/"), key("http://[::1]"));
    assert_ne!(key("https://shop.example:80/"), key("https://shop.example/"));
    assert!(Url::parse("url", "http://shop.example:+80/").is_err());
    assert_ne!(key("https://shop.example/A"), key("https://shop.example/a"));
    assert_ne!(key("https://shop.example/?a"), key("https://shop.example/"));
    assert!(Url::parse("url", "http://127.0.0.1/").unwrap().is_localhost());
}
