use super::*;
use crate::card::masked;

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
        "https://[fe80::1%25eth0]/",
        &format!("https://shop.example/{}", "x".repeat(2_048)),
    ] {
        assert_eq!(field_of(Url::parse("success_url", bad)), "success_url", "{bad:?}");
    }
}

#[test]
fn urls_of_one_place_have_one_key() {
    let key = |url: &str| Url::parse("url", url).unwrap().key();
    assert_eq!(key("HTTPS://Shop.Example:443"), key("https://shop.example/"));
    assert_eq!(key("http://shop.example:80/a#b"), key("http://shop.example/a"));
    assert_ne!(key("https://shop.example/A"), key("https://shop.example/a"));
    assert_ne!(key("https://shop.example/?a"), key("https://shop.example/"));
    assert!(Url::parse("url", "http://127.0.0.1/").unwrap().is_localhost());
}
