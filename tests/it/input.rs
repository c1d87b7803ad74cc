//! Bad input: refused before anything is written, by the name of its field and with what is
//! allowed, without a panic, and without repeating more than a little of it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use tillite::webhook::{Format, NewEndpoint};
use tillite::{
    Actor, Amount, ApiKeyId, Begun, Budget, Currency, CustomerId, CustomerUpdate, DeliveryFilter, DeliveryId,
    EndpointId, Engine, Error, EventId, Interval, MAIN_LINE, Metadata, Mode, NewCustomer, NewGrant, NewLine,
    NewPayment, NewPrice, NewProduct, NewSession, PriceId, Result, SessionId, SessionUpdate, Timestamp, Unit, WhatNow,
    sandbox,
};

use crate::file::sell;
use crate::kit::{Shop, euro};

/// The longest that any error's text may be, in bytes: two echoes of 64 characters, each escaped,
/// and a sentence.
const LONGEST: usize = 900;

/// Digits that no text may repeat.
const CARD: &str = "4242424242424242";

/// Checks one refusal: field, limit, advice, length, and that nothing of a card is in it.
fn refused(name: &str, error: &Error, field: &str, allowed: &str) {
    let text = format!("{error}");
    assert_eq!(error.field(), Some(field), "{name}: {text}");
    assert!(text.contains(allowed), "{name}: {allowed:?} is not in {text:?}");
    says_little(name, error);
}

fn says_little(name: &str, error: &Error) {
    assert_eq!(error.what_now(), WhatNow::FixInput, "{name}: {error}");
    for text in [error.to_string(), format!("{error:?}")] {
        assert!(text.len() < LONGEST, "{name}: {} bytes: {text}", text.len());
        let digits: String = text.chars().filter(char::is_ascii_digit).collect();
        assert!(!digits.contains(&CARD[..10]), "{name}: {text}");
        assert!(!text.chars().any(char::is_control), "{name}: {text:?}");
        let run = longest_run(&text, 'x').max(longest_run(&text, 'é'));
        assert!(run <= 64, "{name}: {run} characters of what was given");
    }
}

fn longest_run(text: &str, of: char) -> usize {
    text.split(|c| c != of)
        .map(|run| run.chars().count())
        .max()
        .unwrap_or(0)
}

fn shop() -> Shop {
    let shop = Shop::open();
    let plan = NewPrice::new("plan", euro(9_00)).recurring(Interval::MONTH, None);
    shop.app
        .catalog()
        .set(NewProduct::new("plan", "Plan").price(plan))
        .unwrap();
    sell(&shop, "u_1").unwrap();
    shop.app.customers().create(NewCustomer::guest()).unwrap();
    shop
}

/// What a text field takes.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// Any text without control characters.
    Text,
    /// `a-z`, `0-9`, `_`, `-`.
    Name,
    Email,
    Url,
    /// Visible ASCII.
    Key,
}

/// A field of the public surface that takes a text: its name, what it takes, how much of it, and
/// how it is set.
struct Field {
    name: &'static str,
    verb: &'static str,
    kind: Kind,
    max: usize,
    set: fn(&Shop, &str) -> Result<()>,
}

const fn field(
    verb: &'static str,
    name: &'static str,
    kind: Kind,
    max: usize,
    set: fn(&Shop, &str) -> Result<()>,
) -> Field {
    Field {
        name,
        verb,
        kind,
        max,
        set,
    }
}

fn create(shop: &Shop, new: NewSession) -> Result<()> {
    shop.app.sessions().create(new).map(drop)
}

fn update(shop: &Shop, update: SessionUpdate) -> Result<()> {
    let page = shop.app.sessions().list(100, None)?;
    let open = page.data.iter().find(|session| !session.is_complete());
    let id = match open {
        Some(session) => session.id.clone(),
        None => shop.app.sessions().create(NewSession::empty())?.id,
    };
    shop.app.sessions().update(&id, update).map(drop)
}

fn pay(shop: &Shop, payment: NewPayment) -> Result<()> {
    let page = shop.app.sessions().list(1, None)?;
    match shop.app.sessions().begin_payment(&page.data[0].id, payment)? {
        Begun::Ask(_) | Begun::Done(_) => Ok(()),
    }
}

fn customer(shop: &Shop, new: NewCustomer) -> Result<()> {
    shop.app.customers().set(new).map(drop)
}

fn update_customer(shop: &Shop, update: CustomerUpdate) -> Result<()> {
    let customer = shop.app.customers().by_uid("u_1")?;
    shop.app.customers().update(&customer.id, update).map(drop)
}

fn product(shop: &Shop, new: NewProduct) -> Result<()> {
    shop.app.catalog().set(new).map(drop)
}

fn grant(shop: &Shop, new: NewGrant) -> Result<()> {
    shop.app.entitlements().grant(new).map(drop)
}

const FIELDS: &[Field] = &[
    field("customers.set", "uid", Kind::Text, 200, |shop, text| {
        customer(shop, NewCustomer::uid(text))
    }),
    field("customers.set", "name", Kind::Text, 250, |shop, text| {
        customer(shop, NewCustomer::uid("u_1").name(text))
    }),
    field("customers.set", "email", Kind::Email, 254, |shop, text| {
        customer(shop, NewCustomer::uid("u_1").email(text))
    }),
    field("customers.set", "phone", Kind::Text, 40, |shop, text| {
        customer(shop, NewCustomer::uid("u_1").phone(text))
    }),
    field("customers.set", "metadata key", Kind::Text, 40, |shop, text| {
        customer(shop, NewCustomer::uid("u_1").metadata(Metadata::new([(text, "v")])?))
    }),
    field("customers.create", "uid", Kind::Text, 200, |shop, text| {
        shop.app.customers().create(NewCustomer::uid(text)).map(drop)
    }),
    field("customers.create", "idempotency_key", Kind::Key, 255, |shop, text| {
        let guest = NewCustomer::guest().idempotency_key(text);
        shop.app.customers().create(guest).map(drop)
    }),
    field("customers.update", "uid", Kind::Text, 200, |shop, text| {
        let page = shop.app.customers().list(100, None)?;
        let id = match page.data.into_iter().find(|known| known.uid.is_none()) {
            Some(guest) => guest.id,
            None => shop.app.customers().create(NewCustomer::guest())?.id,
        };
        let named = CustomerUpdate::new().uid(text);
        shop.app.customers().update(&id, named).map(drop)
    }),
    field("customers.update", "name", Kind::Text, 250, |shop, text| {
        update_customer(shop, CustomerUpdate::new().name(Some(text.to_owned())))
    }),
    field("customers.update", "email", Kind::Email, 254, |shop, text| {
        update_customer(shop, CustomerUpdate::new().email(Some(text.to_owned())))
    }),
    field("customers.update", "phone", Kind::Text, 40, |shop, text| {
        update_customer(shop, CustomerUpdate::new().phone(Some(text.to_owned())))
    }),
    field("sessions.create", "uid", Kind::Text, 200, |shop, text| {
        create(shop, NewSession::empty().customer(text))
    }),
    field("sessions.create", "name", Kind::Text, 250, |shop, text| {
        create(
            shop,
            NewSession::empty().customer_details(NewCustomer::guest().name(text)),
        )
    }),
    field("sessions.create", "for_uid", Kind::Text, 200, |shop, text| {
        create(shop, NewSession::empty().for_uid(text))
    }),
    field("sessions.create", "email", Kind::Email, 254, |shop, text| {
        create(shop, NewSession::empty().email(text))
    }),
    field("sessions.create", "return_url", Kind::Url, 2_048, |shop, text| {
        create(shop, NewSession::empty().return_to(text))
    }),
    field("sessions.create", "cancel_url", Kind::Url, 2_048, |shop, text| {
        create(shop, NewSession::empty().cancel_url(text))
    }),
    field("sessions.create", "idempotency_key", Kind::Key, 255, |shop, text| {
        create(shop, NewSession::empty().idempotency_key(text))
    }),
    field("sessions.create", "order_key", Kind::Key, 255, |shop, text| {
        create(shop, NewSession::empty().order_key(text))
    }),
    field("sessions.create", "lines[1].name", Kind::Text, 250, |shop, text| {
        let first = NewLine::inline("Mug", euro(1));
        create(
            shop,
            NewSession::empty().line(first).line(NewLine::inline(text, euro(1))),
        )
    }),
    field("sessions.create", "lines[0].tier", Kind::Name, 64, |shop, text| {
        create(shop, NewSession::tier(text, Currency::EUR))
    }),
    field("sessions.create", "metadata.note", Kind::Text, 500, |shop, text| {
        create(shop, NewSession::empty().metadata(Metadata::new([("note", text)])?))
    }),
    field("sessions.update", "return_url", Kind::Url, 2_048, |shop, text| {
        update(shop, SessionUpdate::new().return_to(text))
    }),
    field("sessions.update", "cancel_url", Kind::Url, 2_048, |shop, text| {
        update(shop, SessionUpdate::new().cancel_url(Some(text.to_owned())))
    }),
    field("sessions.update", "lines[0].name", Kind::Text, 250, |shop, text| {
        update(shop, SessionUpdate::new().lines([NewLine::inline(text, euro(1))]))
    }),
    field("sessions.pay", "method", Kind::Text, 500, |shop, text| {
        pay(shop, NewPayment::with(text))
    }),
    field("sessions.pay", "context", Kind::Text, 4_096, |shop, text| {
        pay(shop, NewPayment::hosted().context(text))
    }),
    field("sessions.pay", "idempotency_key", Kind::Key, 255, |shop, text| {
        pay(shop, NewPayment::with("tok").idempotency_key(text))
    }),
    field("catalog.set", "tier", Kind::Name, 64, |shop, text| {
        product(shop, NewProduct::new(text, "Name"))
    }),
    field("catalog.set", "name", Kind::Text, 250, |shop, text| {
        product(shop, NewProduct::new("tier", text))
    }),
    field("catalog.set", "description", Kind::Text, 1_000, |shop, text| {
        product(shop, NewProduct::new("tier", "Name").description(text))
    }),
    field("catalog.set", "line", Kind::Name, 64, |shop, text| {
        product(shop, NewProduct::new("tier", "Name").line(text))
    }),
    field("catalog.set_price", "tier", Kind::Name, 64, |shop, text| {
        shop.app.catalog().set_price(NewPrice::new(text, euro(1))).map(drop)
    }),
    field("entitlements.grant", "uid", Kind::Text, 200, |shop, text| {
        grant(shop, NewGrant::tier(text, "member"))
    }),
    field("entitlements.grant", "tier", Kind::Name, 64, |shop, text| {
        grant(shop, NewGrant::tier("u_1", text))
    }),
    field("entitlements.grant", "idempotency_key", Kind::Key, 255, |shop, text| {
        grant(shop, NewGrant::tier("u_1", "member").idempotency_key(text))
    }),
    field("entitlements.revoke", "uid", Kind::Text, 200, |shop, text| {
        shop.app.entitlements().revoke(text, None, "why").map(drop)
    }),
    field("entitlements.revoke", "tier", Kind::Name, 64, |shop, text| {
        shop.app.entitlements().revoke("u_1", Some(text), "why").map(drop)
    }),
    field("entitlements.revoke", "reason", Kind::Text, 500, |shop, text| {
        shop.app.entitlements().revoke("u_1", None, text).map(drop)
    }),
    field("endpoints.add", "url", Kind::Url, 2_048, |shop, text| {
        shop.app.endpoints().add(NewEndpoint::new(text, Format::XPay)).map(drop)
    }),
    field("endpoints.add", "idempotency_key", Kind::Key, 255, |shop, text| {
        // Each with a URL of its own: one that is in use is refused.
        static ADDED: AtomicUsize = AtomicUsize::new(0);
        let url = format!("https://shop.example/{}", ADDED.fetch_add(1, Ordering::Relaxed));
        let new = NewEndpoint::new(url, Format::XPay);
        shop.app.endpoints().add(new.idempotency_key(text)).map(drop)
    }),
    field("acting_as", "actor", Kind::Text, 64, |shop, text| {
        shop.app.acting_as(Actor::Operator(text.to_owned())).map(drop)
    }),
    field("acting_as", "actor", Kind::Text, 64, |shop, text| {
        shop.app.acting_as(Actor::Processor(text.to_owned())).map(drop)
    }),
    field("set_public_url", "public_url", Kind::Url, 2_048, |shop, text| {
        shop.app.set_public_url(Some(text))
    }),
    field("app", "app", Kind::Name, 64, |shop, text| {
        shop.engine.app(text, Mode::Test).map(drop)
    }),
    field("builder.processor", "processor", Kind::Name, 64, |_, text| {
        let sandbox = sandbox::Sandbox;
        Engine::builder().processor(text, sandbox).open_in_memory().map(drop)
    }),
];

/// A text of so many characters that the kind takes.
fn good(kind: Kind, length: usize) -> String {
    match kind {
        Kind::Text => "é".repeat(length),
        Kind::Name | Kind::Key => "x".repeat(length),
        Kind::Email => format!("a@{}", "x".repeat(length - 2)),
        Kind::Url => format!("https://shop.example/{}", "x".repeat(length - 21)),
    }
}

/// Texts that the kind does not take, whatever their length.
fn bad(kind: Kind) -> Vec<String> {
    let card = |around: &str| around.replace('#', CARD);
    let mut texts = vec![
        String::new(),
        "a\0b".to_owned(),
        "a\nb".to_owned(),
        "\u{1b}[2Jx".to_owned(),
        "\u{7f}".to_owned(),
        "a\u{85}b".to_owned(),
        "\u{1}".repeat(30),
    ];
    match kind {
        Kind::Text => texts.extend([
            card("#"),
            card("my card is #, thanks"),
            "4242 4242 4242 4242".to_owned(),
            "x 4242-4242-4242-4242 12/34".to_owned(),
        ]),
        Kind::Name => texts.extend([
            card("#"),
            card("card-#"),
            "4242 4242 4242 4242".to_owned(),
            "Gold".to_owned(),
            "gold plan".to_owned(),
            "gold%".to_owned(),
            "gold'--".to_owned(),
            "göld".to_owned(),
        ]),
        Kind::Email => texts.extend([
            card("#@example.com"),
            card("#"),
            "ada".to_owned(),
            "@example.com".to_owned(),
            "ada@".to_owned(),
            "ada lovelace@example.com".to_owned(),
        ]),
        Kind::Url => {
            texts.extend([
                card("https://shop.example/#"),
                card("ftp://shop.example/#"),
                card("https://shop.example:#/"),
                "https://shop.example/4242-4242-4242-4242".to_owned(),
            ]);
            texts.extend(BAD_URLS.iter().map(|&url| url.to_owned()));
        }
        Kind::Key => texts.extend([
            card("#"),
            card("order-#"),
            "two words".to_owned(),
            "schlüssel".to_owned(),
        ]),
    }
    texts
}

const BAD_URLS: &[&str] = &[
    "shop.example",
    "/hook",
    "//shop.example/hook",
    "ftp://shop.example/hook",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "java\nscript:alert(1)",
    "javascript://shop.example/%0aalert(1)",
    "data:text/html,hello",
    "https:shop.example",
    "https:/shop.example",
    "https://",
    "https:///hook",
    "https://?x",
    "https://:443/",
    "https://shop.example:/",
    "https://shop.example:99999/",
    "https://user:pw@evil.example/",
    "https://shop.example@evil.example/",
    "https://ok\\@evil.example/",
    "https:\\\\evil.example\\",
    "https://shop.example/a b",
    "https://shop.example/a\tb",
    "https://shop.example/\r\nX-Header: 1",
    "https://shop .example/",
    " https://shop.example/",
    "https://shop.example/ ",
    "https://shop\u{a0}.example/",
    "https://[fe80::1%25eth0]/",
    "https://[::1/",
    "https://{CHECKOUT_SESSION_ID}.evil.example/",
    "https://{checkout_session_id}/",
];

#[test]
fn every_text_field_names_itself_and_its_limit() {
    let shop = shop();
    create(&shop, NewSession::empty()).unwrap();
    let before = shop.engine.dump().unwrap();
    let mebibyte = "x".repeat(1 << 20);
    for field in FIELDS {
        let limit = field.max.to_string();
        let mut cases: Vec<(String, &str)> = bad(field.kind).into_iter().map(|text| (text, "")).collect();
        cases.push((good(field.kind, field.max + 1), &limit));
        cases.push((mebibyte.clone(), ""));
        cases.push(("é".repeat(1 << 19), ""));
        for (text, allowed) in cases {
            // An empty metadata value is a value.
            if text.is_empty() && field.name == "metadata.note" {
                continue;
            }
            let start: String = text.chars().take(40).collect();
            let name = format!("{} {} {start:?}", field.verb, field.name);
            let answer = (field.set)(&shop, &text);
            let error = answer.expect_err(&name);
            refused(&name, &error, field.name, allowed);
        }
    }
    assert!(shop.engine.dump().unwrap() == before, "something was written");
    shop.clean();
    // A text of just the length is none that is too long.
    for field in FIELDS {
        let shop = Shop::open();
        create(&shop, NewSession::tier("member", Currency::EUR)).unwrap();
        for length in [field.max, 22.min(field.max)] {
            let answer = (field.set)(&shop, &good(field.kind, length));
            let invalid = matches!(answer, Err(Error::Invalid(_)));
            assert!(!invalid, "{} {}: {answer:?}", field.verb, field.name);
        }
        shop.clean();
    }
}

#[test]
fn urls_that_are_odd_but_sound_are_taken_as_they_are() {
    let shop = shop();
    for url in [
        "http://localhost:8080/hook",
        "http://2130706433/",
        "https://shop.example.",
        "https://shop.example/%0d%0aX",
        "https://shop.example/?next=https://user:pw@other.example/",
        "https://shop.example/#at@",
        "https://[::1]:8443/hook",
        "HTTPS://SHOP.EXAMPLE/Hook",
    ] {
        let session = shop.app.sessions().create(NewSession::empty().return_to(url)).unwrap();
        assert_eq!(session.return_url().as_deref(), Some(url));
    }
    let template = "https://shop.example/{CHECKOUT_SESSION_ID}?a={CHECKOUT_SESSION_ID}#{other}";
    let session = shop
        .app
        .sessions()
        .create(NewSession::empty().return_to(template))
        .unwrap();
    let id = session.id.as_str();
    assert_eq!(
        session.return_url().unwrap(),
        format!("https://shop.example/{id}?a={id}#{{other}}")
    );
    // The base of the pages' links is stricter.
    for url in [
        "https://shop.example/?a",
        "https://shop.example/#a",
        "https://shop.example/{a}",
    ] {
        let error = shop.app.set_public_url(Some(url)).unwrap_err();
        refused(url, &error, "public_url", "query");
    }
}

/// A refusal that is no text field's: what is tried, the field, and what the text must say.
type Case = (&'static str, fn(&Shop) -> Result<()>, &'static str, &'static str);

const CASES: &[Case] = &[
    (
        "quantity 0",
        |shop| {
            create(
                shop,
                NewSession::empty().line(NewLine::inline("Mug", euro(1)).quantity(0)),
            )
        },
        "lines[0].quantity",
        "1 to 1000000",
    ),
    (
        "quantity 10^9",
        |shop| {
            let line = NewLine::tier("member", Currency::EUR).quantity(1_000_000_000);
            create(
                shop,
                NewSession::empty().line(NewLine::inline("Mug", euro(1))).line(line),
            )
        },
        "lines[1].quantity",
        "1 to 1000000",
    ),
    (
        "price times quantity above the largest amount",
        |shop| {
            let line = NewLine::inline("Island", euro(Amount::MAX_MINOR)).quantity(2);
            create(shop, NewSession::empty().line(line))
        },
        "lines[0]",
        "9007199254740991",
    ),
    (
        "a sum above the largest amount",
        |shop| {
            let island = NewLine::inline("Island", euro(Amount::MAX_MINOR));
            let mug = NewLine::inline("Mug", euro(1));
            create(shop, NewSession::empty().line(island).line(mug))
        },
        "lines[1]",
        "9007199254740991",
    ),
    (
        "a sum above the largest amount, in an update",
        |shop| {
            let line = NewLine::inline("Island", euro(Amount::MAX_MINOR)).quantity(1_000_000);
            update(shop, SessionUpdate::new().lines([line]))
        },
        "lines[0]",
        "9007199254740991",
    ),
    (
        "101 lines",
        |shop| {
            let line = |new: NewSession, _| new.line(NewLine::inline("Mug", euro(1)));
            create(shop, (0..101).fold(NewSession::empty(), line))
        },
        "lines",
        "at most 100",
    ),
    (
        "two currencies",
        |shop| {
            let dollars = Amount::minor(1, Currency::USD).unwrap();
            let lines = [NewLine::inline("Mug", euro(1)), NewLine::inline("Mug", dollars)];
            update(shop, SessionUpdate::new().lines(lines))
        },
        "lines[1].currency",
        "EUR",
    ),
    (
        "a recurring price in a session",
        |shop| create(shop, NewSession::tier("plan", Currency::EUR)),
        "lines[0]",
        "one-time",
    ),
    (
        "a withdrawn currency, in a line",
        |shop| {
            let kuna = Amount::minor(1, Currency::parse("HRK")?)?;
            create(shop, NewSession::empty().line(NewLine::inline("Mug", kuna)))
        },
        "lines[0].currency",
        "in use",
    ),
    (
        "a withdrawn currency, in a price",
        |shop| {
            let kuna = Amount::minor(1, Currency::parse("HRK")?)?;
            shop.app.catalog().set_price(NewPrice::new("member", kuna)).map(drop)
        },
        "currency",
        "in use",
    ),
    ("gold", |_| Currency::parse("XAU").map(drop), "currency", "ISO 4217"),
    (
        "lower case",
        |_| Currency::parse("eur").map(drop),
        "currency",
        "upper-case",
    ),
    ("no currency", |_| Currency::parse("").map(drop), "currency", "ISO 4217"),
    (
        "a card as currency",
        |_| Currency::parse(CARD).map(drop),
        "currency",
        "ISO 4217",
    ),
    (
        "below zero",
        |_| Amount::minor(-1, Currency::EUR).map(drop),
        "amount",
        "9007199254740991",
    ),
    (
        "above 2^53 - 1",
        |_| Amount::minor(Amount::MAX_MINOR + 1, Currency::EUR).map(drop),
        "amount",
        "9007199254740991",
    ),
    (
        "the least number",
        |_| Amount::minor(i64::MIN, Currency::EUR).map(drop),
        "amount",
        "0",
    ),
    (
        "a minus",
        |_| Amount::parse("-1", Currency::EUR).map(drop),
        "amount",
        "2 decimals",
    ),
    (
        "an exponent",
        |_| Amount::parse("1e3", Currency::EUR).map(drop),
        "amount",
        "2 decimals",
    ),
    (
        "a third decimal",
        |_| Amount::parse("1.999", Currency::EUR).map(drop),
        "amount",
        "2 decimals",
    ),
    (
        "yen with decimals",
        |_| Amount::parse("1.0", Currency::JPY).map(drop),
        "amount",
        "0 decimals",
    ),
    (
        "a card as amount",
        |_| Amount::parse(CARD, Currency::EUR).map(drop),
        "amount",
        "decimals",
    ),
    (
        "access days 0",
        |shop| {
            shop.app
                .catalog()
                .set_price(NewPrice::new("member", euro(1)).access_days(0))
                .map(drop)
        },
        "access_days",
        "1 to 36500",
    ),
    (
        "access days 36,501",
        |shop| {
            let price = NewPrice::new("member", euro(1)).access_days(36_501);
            product(shop, NewProduct::new("member", "Membership").price(price))
        },
        "access_days",
        "1 to 36500",
    ),
    (
        "a trial of no day",
        |shop| {
            let price = NewPrice::new("member", euro(1)).recurring(Interval::MONTH, Some(0));
            shop.app.catalog().set_price(price).map(drop)
        },
        "trial_days",
        "1 to 3650",
    ),
    (
        "51 prices",
        |shop| {
            let priced = |new: NewProduct, count| {
                let every = Interval::new(Unit::Day, count).unwrap();
                new.price(NewPrice::new("member", euro(1)).lasting(every))
            };
            product(shop, (1..=51).fold(NewProduct::new("member", "Membership"), priced))
        },
        "prices",
        "at most 50",
    ),
    (
        "two prices of one kind",
        |shop| {
            let price = |minor| NewPrice::new("member", euro(minor));
            product(
                shop,
                NewProduct::new("member", "Membership").price(price(1)).price(price(2)),
            )
        },
        "prices[1]",
        "one price per currency",
    ),
    (
        "an interval of none",
        |_| Interval::new(Unit::Day, 0).map(drop),
        "interval_count",
        "1 to 1000",
    ),
    (
        "an interval of 1,001",
        |_| Interval::new(Unit::Day, 1_001).map(drop),
        "interval_count",
        "1 to 1000",
    ),
    (
        "29 minutes to pay",
        |shop| {
            create(
                shop,
                NewSession::empty().expires_after(Duration::from_secs(30 * 60 - 1)),
            )
        },
        "expires_after",
        "30 minutes to 30 days",
    ),
    (
        "30 days and a second to pay",
        |shop| {
            create(
                shop,
                NewSession::empty().expires_after(Duration::from_secs(30 * 86_400 + 1)),
            )
        },
        "expires_after",
        "30 minutes to 30 days",
    ),
    (
        "for ever to pay",
        |shop| create(shop, NewSession::empty().expires_after(Duration::MAX)),
        "expires_after",
        "30 minutes to 30 days",
    ),
    (
        "a grant of no day",
        |shop| grant(shop, NewGrant::tier("u_1", "member").days(0)),
        "days",
        "1 to 36500",
    ),
    (
        "a grant of 36,501 days",
        |shop| grant(shop, NewGrant::tier("u_1", "member").days(36_501)),
        "days",
        "1 to 36500",
    ),
    (
        "a grant of none",
        |shop| grant(shop, NewGrant::tier("u_1", "member").quantity(0)),
        "quantity",
        "1 to 1000000",
    ),
    (
        "a grant of a million and one",
        |shop| grant(shop, NewGrant::tier("u_1", "member").quantity(1_000_001)),
        "quantity",
        "1 to 1000000",
    ),
    (
        "a grant that has ended",
        |shop| grant(shop, NewGrant::tier("u_1", "member").until(Timestamp::MIN)),
        "until",
        "after",
    ),
    (
        "a grant that ends now",
        |shop| {
            let now = shop.app.now()?;
            grant(shop, NewGrant::tier("u_1", "member").until(now))
        },
        "until",
        "after",
    ),
    (
        "the future",
        |shop| {
            shop.app
                .entitlements()
                .as_of("u_1", MAIN_LINE, Timestamp::MAX)
                .map(drop)
        },
        "at",
        "up to now",
    ),
    (
        "a customer without a uid",
        |shop| customer(shop, NewCustomer::guest()),
        "uid",
        "name",
    ),
    (
        "a customer with a key where it is set",
        |shop| customer(shop, NewCustomer::uid("u_1").idempotency_key("k")),
        "idempotency_key",
        "none",
    ),
    (
        "a payer with a key of its own",
        |shop| {
            let payer = NewCustomer::uid("u_1").idempotency_key("k");
            create(shop, NewSession::empty().customer_details(payer))
        },
        "customer.idempotency_key",
        "none",
    ),
    (
        "two payers",
        |shop| {
            let payer = shop.app.customers().by_uid("u_1")?.id;
            create(shop, NewSession::empty().customer("u_1").payer(&payer))
        },
        "payer",
        "one payer",
    ),
    (
        "another uid",
        |shop| update_customer(shop, CustomerUpdate::new().uid("u_2")),
        "uid",
        "u_1",
    ),
    (
        "customers",
        |shop| shop.app.customers().list(0, None).map(drop),
        "limit",
        "1 to 100",
    ),
    (
        "customers",
        |shop| shop.app.customers().list(101, None).map(drop),
        "limit",
        "1 to 100",
    ),
    (
        "51 pairs",
        |_| Metadata::new((0..51).map(|at| (format!("k{at}"), "v"))).map(drop),
        "metadata",
        "at most 50",
    ),
    (
        "a key twice",
        |_| Metadata::new([("k", "1"), ("k", "2")]).map(drop),
        "metadata.k",
        "once",
    ),
    (
        "a card over key and value",
        |_| Metadata::new([("42424242", "42424242")]).map(drop),
        "metadata",
        "card numbers",
    ),
    ("before 1970", |_| Timestamp::from_millis(-1).map(drop), "time", "1970"),
    (
        "after 9999",
        |_| Timestamp::from_millis(i64::MAX).map(drop),
        "time",
        "9999",
    ),
    (
        "no time",
        |_| Timestamp::parse_rfc3339("yesterday").map(drop),
        "time",
        "RFC 3339",
    ),
    (
        "a card as time",
        |_| Timestamp::parse_rfc3339(CARD).map(drop),
        "time",
        "RFC 3339",
    ),
    (
        "a card typed wrong",
        |_| sandbox::method("4242x", "01/39").map(drop),
        "card_number",
        "12 to 19",
    ),
    (
        "a card without expiry",
        |_| sandbox::method(CARD, CARD).map(drop),
        "exp",
        "MM/YY",
    ),
    ("events", |shop| shop.app.events(0, 0).map(drop), "limit", "1 to 100"),
    ("events", |shop| shop.app.events(101, 0).map(drop), "limit", "1 to 100"),
    (
        "history",
        |shop| shop.app.history("x", 0, 0).map(drop),
        "limit",
        "1 to 100",
    ),
    (
        "history",
        |shop| shop.app.history("x", 101, 0).map(drop),
        "limit",
        "1 to 100",
    ),
    (
        "products",
        |shop| shop.app.catalog().list(0, None).map(drop),
        "limit",
        "1 to 100",
    ),
    (
        "products",
        |shop| shop.app.catalog().list(u32::MAX, None).map(drop),
        "limit",
        "1 to 100",
    ),
    (
        "sessions",
        |shop| shop.app.sessions().list(0, None).map(drop),
        "limit",
        "1 to 100",
    ),
    (
        "sessions",
        |shop| shop.app.sessions().list(101, None).map(drop),
        "limit",
        "1 to 100",
    ),
    (
        "endpoints",
        |shop| shop.app.endpoints().list(0, None).map(drop),
        "limit",
        "1 to 100",
    ),
    (
        "endpoints",
        |shop| shop.app.endpoints().list(101, None).map(drop),
        "limit",
        "1 to 100",
    ),
    (
        "deliveries",
        |shop| shop.app.deliveries().list(&DeliveryFilter::all(), 0, None).map(drop),
        "limit",
        "1 to 100",
    ),
    (
        "deliveries",
        |shop| shop.app.deliveries().list(&DeliveryFilter::all(), 101, None).map(drop),
        "limit",
        "1 to 100",
    ),
    (
        "keys",
        |shop| shop.app.keys().list(0, None).map(drop),
        "limit",
        "1 to 100",
    ),
    (
        "keys",
        |shop| shop.app.keys().list(101, None).map(drop),
        "limit",
        "1 to 100",
    ),
    (
        "held charges",
        |shop| shop.app.held_charges(0, None).map(drop),
        "limit",
        "1 to 100",
    ),
    (
        "held charges",
        |shop| shop.app.held_charges(101, None).map(drop),
        "limit",
        "1 to 100",
    ),
    (
        "versions",
        |shop| shop.app.entitlements().history("u_1", MAIN_LINE, 0, None).map(drop),
        "limit",
        "1 to 100",
    ),
    (
        "versions",
        |shop| shop.app.entitlements().history("u_1", MAIN_LINE, 101, None).map(drop),
        "limit",
        "1 to 100",
    ),
];

#[test]
fn every_other_limit_names_its_field_and_what_is_allowed() {
    let shop = shop();
    create(&shop, NewSession::empty()).unwrap();
    let before = shop.engine.dump().unwrap();
    for (name, call, field, allowed) in CASES {
        let error = call(&shop).expect_err(name);
        refused(name, &error, field, allowed);
        assert!(shop.engine.dump().unwrap() == before, "{name}: something was written");
    }
    shop.clean();
}

#[test]
fn an_id_is_of_its_kind_or_nobodys() {
    type Parse = fn(&str) -> Option<Error>;
    let kinds: [(&str, Parse); 7] = [
        ("cs", |text| SessionId::parse(text).err()),
        ("cus", |text| CustomerId::parse(text).err()),
        ("price", |text| PriceId::parse(text).err()),
        ("evt", |text| EventId::parse(text).err()),
        ("we", |text| EndpointId::parse(text).err()),
        ("dl", |text| DeliveryId::parse(text).err()),
        ("key", |text| ApiKeyId::parse(text).err()),
    ];
    let body = "0".repeat(30);
    for (prefix, parse) in kinds {
        for mode in ["test", "live"] {
            assert_eq!(parse(&format!("{prefix}_{mode}_{body}")), None);
        }
        let mut wrong = vec![
            String::new(),
            "%".to_owned(),
            "_".to_owned(),
            "' OR '1'='1".to_owned(),
            CARD.to_owned(),
            "x".repeat(1 << 20),
            format!("{prefix}_prod_{body}"),
            format!("{prefix}_test_{}", &body[1..]),
            format!("{prefix}_test_{body}0"),
            format!("{prefix}_test_{}%", &body[1..]),
            format!("{prefix}_test_{}_", &body[1..]),
            format!("{prefix}_test_{}'", &body[1..]),
            format!("{prefix}_test_{}\0", &body[1..]),
            format!("{prefix}_test_{}é", &body[2..]),
            format!(" {prefix}_test_{body}"),
            format!("{prefix}_TEST_{body}"),
        ];
        wrong.extend(
            kinds
                .iter()
                .filter(|(other, _)| *other != prefix)
                .map(|(other, _)| format!("{other}_test_{body}")),
        );
        for text in wrong {
            let start: String = text.chars().take(50).collect();
            let error = parse(&text).unwrap_or_else(|| panic!("{prefix} took {start:?}"));
            refused(&start, &error, "id", prefix);
        }
    }
    // Ids that nobody has, and ids of the other mode.
    let shop = shop();
    let before = shop.engine.dump().unwrap();
    let (here, there) = (format!("_test_{body}"), format!("_live_{body}"));
    for (tail, wrong_mode) in [(&here, false), (&there, true)] {
        let session = SessionId::parse(&format!("cs{tail}")).unwrap();
        let price = PriceId::parse(&format!("price{tail}")).unwrap();
        let customer = CustomerId::parse(&format!("cus{tail}")).unwrap();
        let key = ApiKeyId::parse(&format!("key{tail}")).unwrap();
        let errors = [
            shop.app.sessions().get(&session).err(),
            shop.app.sessions().pay(&session, "tok").err(),
            shop.app.sessions().expire(&session).err(),
            shop.app.sessions().cancel(&session).err(),
            shop.app.sessions().update(&session, SessionUpdate::new()).err(),
            create(&shop, NewSession::price(&price)).err(),
            shop.app.catalog().price(&price).err(),
            shop.app.catalog().archive_price(&price).err(),
            shop.app.customers().get(&customer).err(),
            shop.app.customers().update(&customer, CustomerUpdate::new()).err(),
            shop.app.customers().delete(&customer).err(),
            create(&shop, NewSession::empty().payer(&customer)).err(),
            shop.app.keys().revoke(&key).err(),
        ];
        for (at, error) in errors.into_iter().enumerate() {
            let error = error.unwrap();
            // A price of the other mode in a line is one that is not on sale here.
            let fits = match &error {
                Error::WrongMode { .. } => wrong_mode,
                Error::NotFound { .. } => !wrong_mode || at == 5,
                _ => false,
            };
            assert!(fits, "{at}: {error:?}");
            says_little("an id that nobody has", &error);
        }
    }
    assert_eq!(shop.engine.dump().unwrap(), before);
}

#[test]
fn what_is_looked_up_is_taken_by_the_letter() {
    let shop = shop();
    let before = shop.engine.dump().unwrap();
    for odd in [
        "%",
        "_",
        "u__",
        "u_1' OR '1'='1",
        "u_1\0",
        "'; DROP TABLE tillite_session; --",
        "",
        CARD,
    ] {
        let error = shop.app.customers().by_uid(odd).unwrap_err();
        assert!(matches!(error, Error::NotFound { .. }), "{odd:?}");
        says_little(odd, &error);
        assert_eq!(shop.app.entitlements().get(odd).unwrap().version, 0, "{odd:?}");
        assert!(shop.app.entitlements().list(odd).unwrap().is_empty());
        assert_eq!(shop.app.entitlements().get_in("u_1", odd).unwrap().version, 0);
        assert!(shop.app.history(odd, 10, 0).unwrap().data.is_empty());
        let error = shop.app.entitlements().version(odd, MAIN_LINE, 1).unwrap_err();
        says_little(odd, &error);
        let error = shop.engine.find_app(odd, Mode::Test).unwrap_err();
        assert!(matches!(error, Error::NotFound { .. }), "{odd:?}");
        says_little(odd, &error);
        assert!(shop.engine.authenticate(odd).unwrap().is_none());
    }
    let tiers = |after| -> Vec<String> {
        let page = shop.app.catalog().list(100, Some(after)).unwrap();
        page.data.into_iter().map(|(product, _)| product.tier).collect()
    };
    assert_eq!(tiers("%"), ["member", "plan"]);
    assert_eq!(tiers("member' OR '1'='1"), ["plan"]);
    for position in [i64::MIN, -1, i64::MAX] {
        shop.app.events(10, position).unwrap();
        shop.app.history("x", 10, position).unwrap();
        shop.app
            .entitlements()
            .history("u_1", MAIN_LINE, 10, Some(position))
            .unwrap();
        let _ = shop.app.entitlements().version("u_1", MAIN_LINE, position);
    }
    assert_eq!(shop.engine.dump().unwrap(), before);
    shop.clean();
}

/// Texts of every odd sort.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => any::<String>(),
        2 => "[ -~]{0,80}",
        1 => "[a-z0-9_-]{1,70}",
        1 => "(https?|ftp)://[ -~]{0,40}",
        1 => "[a-z]{1,5}@[a-z.]{1,9}",
        1 => "[0-9 -]{10,24}",
        1 => "\\PC{200,600}",
        1 => "(cs|cus|price|evt)_(test|live)_[0-9A-Za-z]{28,32}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_the_engine_panic_or_lie(texts in proptest::collection::vec(any_text(), FIELDS.len())) {
        let shop = shop();
        for (field, text) in FIELDS.iter().zip(&texts) {
            // A processor's name needs an engine of its own.
            if let Err(error) = (field.set)(&shop, text) {
                let text = error.to_string();
                prop_assert!(text.len() < LONGEST, "{} {}: {text}", field.verb, field.name);
                prop_assert!(error.what_now() != WhatNow::AskOperator, "{} {}: {text}", field.verb, field.name);
            }
        }
        let text = &texts[0];
        let _ = shop.app.customers().by_uid(text);
        let _ = shop.app.history(text, 10, 0);
        let _ = shop.engine.authenticate(text);
        let _ = shop.engine.find_app(text, Mode::Test);
        let _ = Amount::parse(text, Currency::EUR);
        let _ = Timestamp::parse_rfc3339(text);
        let _ = sandbox::method(text, text);
        let names = NewEndpoint::new("https://shop.example/any", Format::Standard).events(&texts);
        let _ = shop.app.endpoints().add(names);
        shop.engine.run_due(Budget::items(1_000)).unwrap();
        shop.clean();
    }
}
