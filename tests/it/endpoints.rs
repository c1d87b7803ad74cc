//! Endpoints, their secrets, and API keys: who hears what, who may act, and what is shown once.

use std::collections::BTreeSet;
use std::time::Duration;

use tillite::webhook::{EndpointState, Format, NewEndpoint};
use tillite::{
    Budget, Clock as _, Currency, DeliveryFilter, Engine, Error, Mode, NewCustomer, NewSession, SignedRequest, WhatNow,
};

use crate::file::{Disk, sell, sql};
use crate::kit::{ManualClock, Receiver, Shop, Till, builder, clean, header, verified};

fn deliver(engine: &Engine) -> usize {
    engine.run_due(Budget::items(1_000)).unwrap().delivered
}

/// The event names of the bodies that went to a host, in order.
fn heard(receiver: &Receiver, host: &str) -> Vec<String> {
    let received = receiver.requests();
    let to_host = |request: &&SignedRequest| request.url.contains(host);
    let kind = |request: &SignedRequest| {
        let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
        body["type"].as_str().unwrap().to_owned()
    };
    received.iter().filter(to_host).map(kind).collect()
}

#[test]
fn an_endpoint_hears_what_it_asked_for_in_its_formats_own_words() {
    fn check(format: Format, events: &[&str], expected: &[&str]) {
        let shop = Shop::open();
        let new = NewEndpoint::new("https://shop.example/hook", format).events(events.iter());
        let added = shop.app.endpoints().add(new).unwrap();
        assert_eq!(added.endpoint.state, EndpointState::Enabled);
        sell(&shop, "u_1").unwrap();
        deliver(&shop.engine);
        let heard = heard(&shop.receiver, "shop.example");
        assert_eq!(heard, expected, "{events:?}");
    }
    check(
        Format::XPay,
        &["*"],
        &["customer.created", "charge.succeeded", "checkout.session.completed"],
    );
    check(Format::XPay, &["charge.succeeded"], &["charge.succeeded"]);
    check(
        Format::XPay,
        &[" checkout.session.completed ", "charge.succeeded", "charge.succeeded"],
        &["charge.succeeded", "checkout.session.completed"],
    );
    check(Format::XPay, &["charge.failed"], &[]);
    check(
        Format::Standard,
        &["entitlement.granted", "charge.initiated"],
        &["charge.initiated", "entitlement.granted"],
    );
    check(
        Format::Standard,
        &["*"],
        &[
            "customer.created",
            "checkout.session.created",
            "charge.initiated",
            "payment_intent.created",
            "payment_intent.processing",
            "checkout.session.processing",
            "charge.succeeded",
            "payment_intent.succeeded",
            "checkout.session.completed",
            "entitlement.granted",
            "grant.created",
        ],
    );
}

#[test]
fn a_name_that_the_format_does_not_have_is_refused() {
    let shop = Shop::open();
    let before = shop.engine.dump().unwrap();
    let long = "x".repeat(1_000);
    let cases: &[(Format, &[&str])] = &[
        (Format::XPay, &[]),
        (Format::XPay, &[""]),
        (Format::XPay, &["checkout.session.created"]),
        (Format::XPay, &["charge.succeeded", "*"]),
        (Format::XPay, &["charge.*"]),
        (Format::XPay, &["Charge.Succeeded"]),
        (Format::XPay, &["ping"]),
        (Format::JoPay, &["charge.succeeded"]),
        (
            Format::JoPay,
            &["checkout.payment.failed", "payment_intent.payment_failed"],
        ),
        (Format::Elixpo, &["entitlement.granted"]),
        (Format::Elixpo, &["charge.succeeded"]),
        (Format::XPaySubscriptions, &["subscription.renewed"]),
        (Format::XPaySubscriptions, &["checkout.session.completed"]),
        (Format::Standard, &["payment_intent.payment_failed", "no.such.event"]),
        (Format::Standard, &["*", "*x"]),
        (Format::Standard, &[&long]),
    ];
    for (format, events) in cases {
        let new = NewEndpoint::new("https://shop.example/hook", *format).events(events.iter());
        let error = shop.app.endpoints().add(new).unwrap_err();
        assert_eq!(error.field(), Some("events"), "{events:?}");
        assert_eq!(error.what_now(), WhatNow::FixInput);
        assert!(error.to_string().len() < 300, "{error}");
    }
    assert_eq!(shop.engine.dump().unwrap(), before);
}

#[test]
fn a_url_has_one_endpoint_per_app_and_mode_however_it_is_written() {
    let shop = Shop::open();
    let add = |url: &str| {
        shop.app
            .endpoints()
            .add(NewEndpoint::new(url, Format::XPay).events(["charge.failed"]))
    };
    let first = add("https://Shop.Example/hook").unwrap().endpoint;
    assert_eq!(first.url, "https://Shop.Example/hook", "kept as it was given");
    let before = shop.engine.dump().unwrap();
    for url in [
        "https://Shop.Example/hook",
        "https://shop.example/hook",
        "HTTPS://shop.example:443/hook",
        "https://shop.example/hook#part",
    ] {
        let error = add(url).unwrap_err();
        assert_eq!(error.field(), Some("url"), "{url}");
        assert!(error.to_string().contains(first.id.as_str()), "{error}");
    }
    assert_eq!(shop.engine.dump().unwrap(), before);
    for url in [
        "https://shop.example/Hook",
        "https://shop.example/hook/",
        "https://shop.example/hook?a",
        "https://shop.example:8443/hook",
        "http://shop.example/hook",
    ] {
        add(url).unwrap();
    }
    let live = shop.engine.app("lixblogs", Mode::Live).unwrap();
    let other = shop.engine.app("another", Mode::Test).unwrap();
    for app in [&live, &other] {
        let new = NewEndpoint::new("https://shop.example/hook", Format::XPay);
        app.endpoints().add(new).unwrap();
    }
    clean(&shop.engine);
}

#[test]
fn an_app_has_a_hundred_endpoints_and_no_more() {
    let shop = Shop::open();
    let new =
        |at: usize| NewEndpoint::new(format!("https://shop.example/{at}"), Format::XPay).events(["charge.failed"]);
    for at in 0..100 {
        shop.app.endpoints().add(new(at)).unwrap();
    }
    let before = shop.engine.dump().unwrap();
    let error = shop.app.endpoints().add(new(100)).unwrap_err();
    assert_eq!(error.field(), Some("endpoints"));
    assert!(error.to_string().contains("100"));
    assert_eq!(shop.engine.dump().unwrap(), before);
    // Listed in pages, oldest first, each once.
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = shop.app.endpoints().list(33, after.as_ref()).unwrap();
        after = page.data.last().map(|endpoint| endpoint.id.clone());
        seen.extend(page.data.into_iter().map(|endpoint| endpoint.id));
        if !page.has_more {
            break;
        }
    }
    let distinct: BTreeSet<_> = seen.iter().collect();
    assert_eq!((seen.len(), distinct.len()), (100, 100));
}

#[test]
fn without_a_key_to_seal_secrets_there_is_no_endpoint_and_everything_else() {
    let disk = Disk::new();
    let keyless = || {
        Engine::builder()
            .clock(disk.clock.clone())
            .transport(disk.receiver.clone())
    };
    for engine in [
        keyless().open_in_memory().unwrap(),
        keyless().open(disk.path()).unwrap(),
    ] {
        let shop = Shop::with(
            engine,
            Mode::Test,
            disk.clock.clone(),
            disk.till.clone(),
            disk.receiver.clone(),
        );
        let before = shop.engine.dump().unwrap();
        let error = shop
            .app
            .endpoints()
            .add(NewEndpoint::new("https://shop.example/hook", Format::XPay))
            .unwrap_err();
        assert!(matches!(error, Error::NoSealKey(_)), "{error}");
        assert_eq!(error.what_now(), WhatNow::AskOperator);
        assert_eq!(shop.engine.dump().unwrap(), before);
        let error = shop.engine.reset_seal().unwrap_err();
        assert!(matches!(error, Error::NoSealKey(_)));
        let session = shop
            .app
            .sessions()
            .create(NewSession::tier("member", Currency::EUR).customer("u_1"))
            .unwrap();
        let paid = shop.app.sessions().pay(&session.id, tillite::sandbox::card::APPROVED);
        assert!(paid.unwrap().is_complete());
        shop.clean();
    }
}

#[test]
fn an_endpoint_is_sealed_if_none_of_its_secrets_opens_and_counts_once() {
    let disk = Disk::new();
    let shop = disk.shop();
    shop.endpoint(Format::XPay);
    let raw = disk.raw();
    sql(
        &raw,
        "INSERT INTO tillite_endpoint_secret SELECT app, mode, endpoint, 2, x'00', NULL FROM tillite_endpoint_secret",
    );
    assert_eq!(shop.engine.health().unwrap().sealed_endpoints, 0);
    sell(&shop, "u_1").unwrap();
    assert!(deliver(&shop.engine) > 0);
    let other = disk.builder().seal_key([7; 32]).open(disk.path()).unwrap();
    assert_eq!(other.health().unwrap().sealed_endpoints, 1);
}

#[test]
fn with_another_sealing_key_it_sells_while_deliveries_wait_until_the_seal_is_reset() {
    let disk = Disk::new();
    let shop = disk.shop();
    let old = [
        (Format::XPay, shop.endpoint(Format::XPay)),
        (Format::Standard, shop.endpoint(Format::Standard)),
    ];
    deliver(&shop.engine);
    drop(shop);
    drop(disk.receiver.take_requests());

    for key in [None, Some([7; 32])] {
        let builder = Engine::builder()
            .clock(disk.clock.clone())
            .test_processor("till", disk.till.clone())
            .transport(disk.receiver.clone());
        let engine = match key {
            None => builder,
            Some(key) => builder.seal_key(key),
        }
        .open(disk.path())
        .unwrap();
        let health = engine.health().unwrap();
        assert_eq!((health.sealed_endpoints, health.has_transport), (2, true));
        let shop = Shop::with(
            engine,
            Mode::Test,
            disk.clock.clone(),
            disk.till.clone(),
            disk.receiver.clone(),
        );
        sell(&shop, "u_1").unwrap();
        assert_eq!(deliver(&shop.engine), 0);
        assert!(shop.engine.claim_deliveries(100).unwrap().is_empty());
        assert!(disk.receiver.requests().is_empty());
        disk.clock.turn(Duration::from_secs(1));
        let overdue = shop.engine.health().unwrap().oldest_overdue_delivery;
        assert!(overdue.is_some());
        shop.clean();
        if key.is_none() {
            continue;
        }
        // The wait has cost no attempt; new secrets let everything go.
        let waiting = shop
            .app
            .deliveries()
            .list(&DeliveryFilter::all(), 100, None)
            .unwrap()
            .data;
        assert!(waiting.iter().any(|delivery| delivery.attempts == 0));
        let reset = shop.engine.reset_seal().unwrap();
        assert_eq!(reset.len(), 2);
        assert_eq!(shop.engine.reset_seal().unwrap().len(), 0, "what opens is left alone");
        assert_eq!(shop.engine.health().unwrap().sealed_endpoints, 0);
        assert!(deliver(&shop.engine) > 4);
        assert_eq!(shop.engine.health().unwrap().oldest_overdue_delivery, None);
        // Each hears of the other's new secret, if its format can say so, and not of its own.
        let rotated = |url: &str| {
            let heard = heard(&disk.receiver, url);
            heard.iter().filter(|kind| *kind == "endpoint.secret_rotated").count()
        };
        assert_eq!((rotated("/standard"), rotated("/xpay")), (1, 0));
        let endpoints = shop.app.endpoints().list(10, None).unwrap().data;
        let received = disk.receiver.requests();
        for request in &received {
            let endpoint = endpoints.iter().find(|endpoint| endpoint.url == request.url).unwrap();
            let (_, secret) = reset.iter().find(|(id, _)| *id == endpoint.id).unwrap();
            assert!(verified(endpoint.format, secret, request, request.signed_at));
            for (_, old) in old.iter().filter(|(format, _)| *format == endpoint.format) {
                assert!(!verified(endpoint.format, old, request, request.signed_at));
            }
        }
        shop.clean();
    }
}

#[test]
fn an_endpoint_added_later_hears_nothing_of_before() {
    let shop = Shop::open();
    sell(&shop, "u_1").unwrap();
    shop.endpoint(Format::Standard);
    deliver(&shop.engine);
    // Not even of its own making.
    assert!(heard(&shop.receiver, "shop.example").is_empty());
    sell(&shop, "u_2").unwrap();
    assert!(deliver(&shop.engine) > 5);
}

/// The value of the header under which a format keeps its own signature.
fn signature(request: &SignedRequest, format: Format) -> String {
    let name = match format {
        Format::XPay | Format::XPaySubscriptions => "xpay-signature",
        Format::JoPay => "x-jopay-signature",
        Format::Elixpo => "x-elixpo-pay-signature",
        _ => "webhook-signature",
    };
    header(request, name).unwrap().to_owned()
}

#[test]
fn a_replaced_secret_signs_beside_the_new_one_for_a_day_of_the_hosts_time() {
    for format in Format::ALL.iter().copied() {
        let shop = Shop::open();
        let endpoints = shop.app.endpoints();
        let old = endpoints
            .add(NewEndpoint::new("https://shop.example/hook", format))
            .unwrap();
        let id = &old.endpoint.id;
        let sent = || {
            endpoints.ping(id).unwrap();
            deliver(&shop.engine);
            let requests = shop.receiver.take_requests();
            let [request] = <[SignedRequest; 1]>::try_from(requests).unwrap();
            request
        };
        // How many signatures there are, and whether the secrets, the newest first, verify.
        let found = |secrets: [&tillite::Secret; 2]| {
            let request = sent();
            let signatures = match format {
                Format::Standard => signature(&request, format).split(' ').count(),
                Format::XPaySubscriptions => 1,
                Format::Elixpo => signature(&request, format).split(',').count(),
                _ => signature(&request, format).split(',').count() - 1,
            };
            let verify = |secret| verified(format, secret, &request, shop.clock.now());
            (signatures, secrets.map(verify))
        };
        let new = endpoints.rotate(id, None).unwrap();
        assert_eq!(new.endpoint.id, *id);
        let room = format != Format::XPaySubscriptions;
        let both = if room { (2, [true, true]) } else { (1, [false, true]) };
        assert_eq!(found([&new.secret, &old.secret]), both, "{format:?}");
        // The test clock does not end it; the host's does.
        shop.app.advance(Duration::from_secs(48 * 3_600)).unwrap();
        shop.clock.turn(Duration::from_millis(86_399_999));
        assert_eq!(found([&new.secret, &old.secret]), both, "{format:?}");
        shop.clock.turn(Duration::from_millis(1));
        assert_eq!(found([&new.secret, &old.secret]), (1, [true, false]), "{format:?}");
        // A rotation in the middle of another: the last two sign, and no third.
        let second = endpoints.rotate(id, None).unwrap();
        let third = endpoints.rotate(id, None).unwrap();
        assert_eq!(found([&third.secret, &second.secret]), both, "{format:?}");
        assert!(!found([&third.secret, &new.secret]).1[1], "{format:?}");
        shop.clean();
    }
}

#[test]
fn a_repeated_rotation_answers_the_secret_that_signs() {
    let shop = Shop::open();
    let endpoints = shop.app.endpoints();
    let added = endpoints
        .add(NewEndpoint::new("https://shop.example/hook", Format::Standard).ed25519())
        .unwrap();
    let id = &added.endpoint.id;
    let first = endpoints.rotate(id, Some("k")).unwrap();
    let again = endpoints.rotate(id, Some("k")).unwrap();
    assert_eq!(again.secret.expose(), first.secret.expose());
    assert_eq!(again.public_key, first.public_key);
    assert_ne!(first.secret.expose(), added.secret.expose());
    assert_ne!(first.public_key, added.public_key);
    let missing = tillite::EndpointId::parse(&format!("we_test_{}", "0".repeat(30))).unwrap();
    let live = tillite::EndpointId::parse(&format!("we_live_{}", "0".repeat(30))).unwrap();
    let conflict = endpoints.rotate(&missing, Some("k")).unwrap_err();
    assert!(matches!(conflict, Error::IdempotencyConflict { .. }), "{conflict}");
    let before = shop.engine.dump().unwrap();
    for error in [
        endpoints.rotate(&missing, None).map(drop).unwrap_err(),
        endpoints.ping(&missing).map(drop).unwrap_err(),
        endpoints.public_key(&missing).map(drop).unwrap_err(),
    ] {
        assert!(matches!(error, Error::NotFound { .. }), "{error}");
    }
    for error in [
        endpoints.rotate(&live, None).map(drop).unwrap_err(),
        endpoints.ping(&live).map(drop).unwrap_err(),
        endpoints.public_key(&live).map(drop).unwrap_err(),
    ] {
        assert!(matches!(error, Error::WrongMode { .. }), "{error}");
    }
    assert_eq!(
        endpoints.rotate(id, Some("")).unwrap_err().field(),
        Some("idempotency_key")
    );
    assert_eq!(shop.engine.dump().unwrap(), before);
    shop.clean();
}

#[test]
fn an_endpoint_with_a_key_pair_signs_twice_and_shows_the_public_half_to_whoever_asks() {
    let disk = Disk::new();
    let shop = disk.shop();
    let endpoints = shop.app.endpoints();
    let new = |format: Format| NewEndpoint::new(format!("https://{}.example/", format.as_str()), format);
    let error = endpoints.add(new(Format::XPaySubscriptions).ed25519()).unwrap_err();
    assert_eq!(error.field(), Some("ed25519"));
    let plain = endpoints.add(new(Format::XPay)).unwrap();
    assert_eq!(plain.public_key, None);
    assert_eq!(endpoints.public_key(&plain.endpoint.id).unwrap(), None);
    let added = endpoints
        .add(new(Format::Standard).ed25519().idempotency_key("k"))
        .unwrap();
    let id = &added.endpoint.id;
    let public = added.public_key.clone().unwrap();
    assert_eq!(endpoints.public_key(id).unwrap(), Some(public.clone()));
    // The key covers whether there is a pair.
    let without = endpoints.add(new(Format::Standard).idempotency_key("k")).unwrap_err();
    assert!(matches!(without, Error::IdempotencyConflict { .. }), "{without}");
    let accepted = |key: &str| {
        endpoints.ping(id).unwrap();
        deliver(&shop.engine);
        let request = shop.receiver.take_requests().remove(0);
        verified(Format::Standard, &tillite::Secret::new(key), &request, shop.clock.now())
    };
    assert!(accepted(&public) && accepted(added.secret.expose()));
    let rotated = endpoints.rotate(id, None).unwrap();
    let second = rotated.public_key.unwrap();
    assert!(accepted(&public) && accepted(&second));
    shop.clock.turn(Duration::from_secs(24 * 3_600));
    assert!(!accepted(&public) && accepted(&second));

    // After the sealing key was lost both are drawn anew; the private half is nowhere to be seen.
    let other = disk.builder().seal_key([7; 32]).open(disk.path()).unwrap();
    let app = other.app("lixblogs", Mode::Test).unwrap();
    let error = app.endpoints().public_key(id).unwrap_err();
    assert!(matches!(error, Error::NoSealKey(_)), "{error}");
    assert_eq!(other.reset_seal().unwrap().len(), 2);
    let third = app.endpoints().public_key(id).unwrap().unwrap();
    assert!(third != second && third != public);
    assert_eq!(app.endpoints().public_key(&plain.endpoint.id).unwrap(), None);
    let shown = format!("{added:?} {}", other.dump().unwrap());
    assert!(!shown.contains("whsk_"));
    clean(&other);
}

#[test]
fn a_ping_goes_to_its_endpoint_alone_whatever_that_wants() {
    let shop = Shop::open();
    let endpoints = shop.app.endpoints();
    for format in Format::ALL.iter().copied() {
        let wanted = match format {
            Format::XPaySubscriptions => "subscription.active",
            Format::Elixpo => "payment.captured",
            _ => "checkout.session.expired",
        };
        let new = NewEndpoint::new(format!("https://{}.example/", format.as_str()), format).events([wanted]);
        let added = endpoints.add(new).unwrap();
        let event = endpoints.ping(&added.endpoint.id).unwrap();
        assert_eq!(
            (event.kind.as_str(), event.object_id.as_str()),
            ("endpoint.ping", added.endpoint.id.as_str())
        );
        assert_ne!(endpoints.ping(&added.endpoint.id).unwrap().id, event.id);
        assert_eq!(deliver(&shop.engine), 2);
        let request = shop.receiver.take_requests().remove(0);
        assert_eq!(request.url, added.endpoint.url);
        assert!(verified(format, &added.secret, &request, shop.clock.now()));
        let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
        let member = |name: &str| body[name].as_str().map(str::to_owned);
        let named = member("type").or(member("event")).or(member("eventType"));
        assert_eq!(named.as_deref(), Some("ping"));
        if format == Format::XPaySubscriptions {
            let headers: Vec<&str> = request.headers.iter().map(|(name, _)| *name).collect();
            assert_eq!(headers, ["Content-Type", "User-Agent", "xpay-signature"]);
            assert_eq!(member("eventId").as_deref(), Some(event.id.as_str()));
        } else {
            assert_eq!(body["data"], serde_json::json!({}));
            assert_eq!(header(&request, "webhook-id"), Some(event.id.as_str()));
        }
        if format == Format::Elixpo {
            assert_eq!(header(&request, "x-elixpo-pay-event"), Some("ping"));
        }
    }
    shop.clean();
}

#[test]
fn elixpo_hears_who_paid_and_jopay_in_lower_case_and_whole_seconds() {
    let shop = Shop::open();
    let elixpo = shop.endpoint(Format::Elixpo);
    shop.endpoint(Format::JoPay);
    shop.endpoint(Format::XPaySubscriptions);
    sell(&shop, "u_1").unwrap();
    // Nobody is entitled by this one, so there is nothing to tell.
    let pen = tillite::NewLine::inline("A pen", crate::kit::euro(1_20));
    let anonymous = shop.app.sessions().create(NewSession::empty().line(pen)).unwrap();
    shop.app.sessions().pay(&anonymous.id, "tok_1").unwrap();
    deliver(&shop.engine);
    let requests = shop.receiver.requests();
    let bodies = |of: &str| -> Vec<serde_json::Value> {
        let to_it = requests.iter().filter(|request| request.url.ends_with(of));
        to_it
            .map(|request| serde_json::from_slice(&request.body).unwrap())
            .collect()
    };
    assert!(bodies("xpay-subscriptions").is_empty());
    let [captured, updated] = &bodies("elixpo")[..] else {
        panic!("{requests:?}");
    };
    assert_eq!(captured["type"], "payment.captured");
    let data = &captured["data"];
    let sessions = shop.app.sessions().list(2, None).unwrap().data;
    let sold = sessions.iter().find(|session| session.for_uid.is_some()).unwrap();
    let charge = &sold.payment_intent.as_ref().unwrap().charges[0];
    assert_eq!(
        (
            &data["app"],
            &data["uid"],
            &data["tier"],
            &data["amount"],
            &data["currency"]
        ),
        (
            &serde_json::json!("lixblogs"),
            &serde_json::json!("u_1"),
            &serde_json::json!("member"),
            &serde_json::json!(199_00),
            &serde_json::json!("EUR")
        )
    );
    assert_eq!(data["provider_payment_id"].as_str(), charge.reference.as_deref());
    assert_eq!(data.as_object().unwrap().len(), 8);
    assert_eq!(updated["data"].as_object().unwrap().len(), 7);
    for (body, request) in [captured, updated]
        .into_iter()
        .zip(requests.iter().filter(|request| request.url.ends_with("elixpo")))
    {
        assert_eq!(header(request, "x-elixpo-pay-event"), body["type"].as_str());
        let id = header(request, "webhook-id").unwrap();
        assert_eq!(body["id"].as_str(), Some(id.replace("evt_", "whd_").as_str()));
        assert!(verified(Format::Elixpo, &elixpo, request, shop.clock.now()));
    }
    let jopay = bodies("jopay");
    let data = &jopay[0]["data"];
    assert_eq!(
        (&data["currency"], &data["status"]),
        (&serde_json::json!("eur"), &serde_json::json!("completed"))
    );
    assert_eq!(jopay[0]["created_at"], "2026-01-01T00:00:00Z");
}

#[test]
fn a_secret_is_shown_when_it_is_made_and_never_again() {
    let shop = Shop::open();
    let mut secrets = BTreeSet::new();
    for format in [Format::XPay, Format::Standard] {
        let url = format!("https://shop.example/{}", format.as_str());
        let added = shop.app.endpoints().add(NewEndpoint::new(url, format)).unwrap();
        let text = added.secret.expose().to_owned();
        let body = text.strip_prefix("whsec_").unwrap();
        assert_eq!(body.len(), 40);
        assert!(body.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        assert!(data_encoding::BASE64.decode(body.as_bytes()).is_ok());
        assert!(!format!("{added:?}").contains(body));
        secrets.insert(body.to_owned());
    }
    assert_eq!(secrets.len(), 2);
    sell(&shop, "u_1").unwrap();
    deliver(&shop.engine);
    let shown = format!(
        "{:?} {:?} {}",
        shop.app.endpoints().list(10, None).unwrap(),
        shop.app.events(100, 0).unwrap(),
        shop.engine.dump().unwrap()
    );
    for secret in &secrets {
        assert!(!shown.contains(secret.as_str()));
    }
    for request in &shop.receiver.requests() {
        let body = String::from_utf8(request.body.clone()).unwrap();
        assert!(secrets.iter().all(|secret| !body.contains(secret.as_str())));
    }
}

#[test]
fn a_key_opens_its_own_app_and_mode_until_it_is_revoked() {
    let shop = Shop::open();
    let live = shop.engine.app("lixblogs", Mode::Live).unwrap();
    let other = shop.engine.app("another", Mode::Test).unwrap();
    for (app, prefix) in [(&shop.app, "sk_test_"), (&live, "sk_live_"), (&other, "sk_test_")] {
        let new = app.keys().create().unwrap();
        let secret = new.secret.expose().to_owned();
        assert!(secret.starts_with(prefix));
        assert!(secret.starts_with(&new.key.prefix) && new.key.prefix.len() == 18);
        let opened = shop.engine.authenticate(&secret).unwrap().unwrap();
        assert_eq!(opened.mode(), app.mode());
        assert_eq!(opened.slug().unwrap(), app.slug().unwrap());
        // What the key does stands in the history under its name.
        opened.customers().set(NewCustomer::uid("u_key")).unwrap();
        let events = app.events(100, 0).unwrap().data;
        let actor = &events.last().unwrap().actor;
        assert_eq!(*actor, format!("key:{}", new.key.id));
        assert!(app.customers().by_uid("u_key").is_ok());
        assert_eq!(app.keys().list(10, None).unwrap().data, std::slice::from_ref(&new.key));
        assert!(!format!("{new:?}").contains(&secret[18..]));

        shop.clock.turn(Duration::from_secs(1));
        let revoked = app.keys().revoke(&new.key.id).unwrap();
        assert!(revoked.revoked_at.is_some());
        assert!(shop.engine.authenticate(&secret).unwrap().is_none());
        shop.clock.turn(Duration::from_secs(1));
        let head = app.journal_head().unwrap();
        assert_eq!(app.keys().revoke(&new.key.id).unwrap(), revoked, "once");
        assert_eq!(app.journal_head().unwrap(), head);
    }
    shop.clean();
}

#[test]
fn a_drawn_key_opens_nothing_until_it_is_added_and_can_be_added_again() {
    let shop = Shop::open();
    let live = shop.engine.app("lixblogs", Mode::Live).unwrap();
    let other = shop.engine.app("another", Mode::Test).unwrap();
    let keys = shop.app.keys();
    let drawn = keys.draw().unwrap();
    let opens = || shop.engine.authenticate(drawn.secret.expose()).unwrap().is_some();
    assert!(!opens());
    shop.clock.turn(Duration::from_secs(60));
    let added = keys.add(&drawn).unwrap();
    assert_eq!((added.created_at, added.revoked_at), (shop.clock.now(), None));
    assert!(opens());
    shop.clock.turn(Duration::from_secs(60));
    assert_eq!(keys.add(&drawn).unwrap(), added);

    let before = shop.engine.dump().unwrap();
    let second = keys.draw().unwrap();
    let mut mixed = second.clone();
    mixed.secret = drawn.secret.clone();
    let mut renamed = second.clone();
    renamed.key.prefix.clone_from(&drawn.key.prefix);
    for (refused, field) in [
        (keys.add(&mixed), Some("key")),
        (keys.add(&renamed), Some("key")),
        (other.keys().add(&drawn), Some("key")),
        (live.keys().add(&second), None),
    ] {
        let error = refused.unwrap_err();
        assert_eq!(error.field(), field, "{error}");
        assert!(!error.to_string().contains(drawn.secret.expose()));
    }
    assert_eq!(shop.engine.dump().unwrap(), before);
    // Adding what was revoked does not bring it back, and a revocation is not taken over from outside.
    let revoked = keys.revoke(&added.id).unwrap();
    assert_eq!(keys.add(&drawn).unwrap(), revoked);
    assert!(!opens());
    let mut second = second;
    second.key.revoked_at = Some(shop.clock.now().plus(Duration::from_secs(1)));
    assert_eq!(keys.add(&second).unwrap().revoked_at, None);
    shop.clean();
}

#[test]
fn a_repeated_endpoint_comes_with_the_secret_with_which_it_signs() {
    let disk = Disk::new();
    let shop = disk.shop();
    let new = || NewEndpoint::new("https://shop.example/hook", Format::XPay).idempotency_key("k");
    let first = shop.app.endpoints().add(new()).unwrap();
    let signs = |secret: &tillite::Secret| {
        sell(&shop, "u_1").unwrap();
        deliver(&shop.engine);
        let received = shop.receiver.take_requests();
        assert!(!received.is_empty());
        received
            .iter()
            .all(|request| verified(Format::XPay, secret, request, shop.clock.now()))
    };
    let elsewhere = disk.open().app("lixblogs", Mode::Test).unwrap();
    let again = elsewhere.endpoints().add(new()).unwrap();
    assert_eq!(again.endpoint, first.endpoint);
    assert_eq!(again.secret.expose(), first.secret.expose());
    assert!(signs(&again.secret));
    for other in [
        NewEndpoint::new("https://shop.example/other", Format::XPay),
        NewEndpoint::new("https://shop.example/hook", Format::Standard),
        NewEndpoint::new("https://shop.example/hook", Format::XPay).events(["charge.failed"]),
    ] {
        let error = elsewhere.endpoints().add(other.idempotency_key("k")).unwrap_err();
        assert!(matches!(error, Error::IdempotencyConflict { .. }), "{error}");
    }

    // A key that does not open the secret cannot answer it; with a new secret the new one is answered.
    let other_key = disk.builder().seal_key([7; 32]).open(disk.path()).unwrap();
    let app = other_key.app("lixblogs", Mode::Test).unwrap();
    let error = app.endpoints().add(new()).unwrap_err();
    assert!(matches!(error, Error::NoSealKey(_)), "{error}");
    let (_, replaced) = other_key.reset_seal().unwrap().remove(0);
    let again = app.endpoints().add(new()).unwrap();
    assert_eq!(again.secret.expose(), replaced.expose());
    shop.clean();
}

#[test]
fn only_a_keys_whole_secret_opens_anything() {
    let shop = Shop::open();
    let new = shop.app.keys().create().unwrap();
    let secret = new.secret.expose();
    let last = if secret.ends_with('0') { "1" } else { "0" };
    let body = &secret["sk_test_".len()..];
    for wrong in [
        String::new(),
        "sk_test_".to_owned(),
        new.key.prefix.clone(),
        new.key.id.to_string(),
        secret[..secret.len() - 1].to_owned(),
        format!("{}{last}", &secret[..secret.len() - 1]),
        format!("{secret}0"),
        format!("{secret} "),
        format!("sk_live_{body}"),
        body.to_owned(),
        secret.to_uppercase(),
        format!("sk_test_{}", "%".repeat(40)),
        format!("sk_test_{}", "_".repeat(40)),
        format!("sk_test_{}", "é".repeat(20)),
        "x".repeat(1_000_000),
    ] {
        assert!(
            shop.engine.authenticate(&wrong).unwrap().is_none(),
            "{}",
            &wrong[..wrong.len().min(60)]
        );
    }
    assert!(shop.engine.authenticate(secret).unwrap().is_some());
    // A key's id of the other mode is refused before the file is asked.
    let live = shop.engine.app("lixblogs", Mode::Live).unwrap();
    let error = live.keys().revoke(&new.key.id).unwrap_err();
    assert!(matches!(error, Error::WrongMode { .. }), "{error}");
    let other = shop.engine.app("another", Mode::Test).unwrap();
    let error = other.keys().revoke(&new.key.id).unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
    assert!(shop.engine.authenticate(secret).unwrap().is_some());
}

#[test]
fn events_have_positions_without_gaps_and_are_read_in_pages() {
    let (clock, till, receiver) = (ManualClock::new(), Till::new(), Receiver::new());
    let engine = builder(&clock, &till, &receiver).open_in_memory().unwrap();
    let shop = Shop::with(engine, Mode::Test, clock, till, receiver);
    let live = shop.engine.app("lixblogs", Mode::Live).unwrap();
    for sale in 0..5 {
        sell(&shop, &format!("u_{sale}")).unwrap();
        live.customers().set(NewCustomer::uid(format!("u_{sale}"))).unwrap();
        // A call that is refused leaves no hole.
        shop.app
            .sessions()
            .create(NewSession::tier("none", Currency::EUR))
            .unwrap_err();
    }
    let mut read = Vec::new();
    loop {
        let after = read.last().copied().unwrap_or(0);
        let page = shop.app.events(7, after).unwrap();
        assert!(page.data.len() == 7 || !page.has_more);
        read.extend(page.data.iter().map(|event| event.position));
        if !page.has_more {
            break;
        }
    }
    let head = shop.app.journal_head().unwrap();
    assert_eq!(read, (1..=head.position).collect::<Vec<_>>());
    assert!(head.position > 50);
    let of_live: Vec<i64> = live
        .events(100, 0)
        .unwrap()
        .data
        .iter()
        .map(|event| event.position)
        .collect();
    assert_eq!(of_live, [1, 2, 3, 4, 5]);
    assert!(shop.app.events(10, head.position).unwrap().data.is_empty());
    // One object's own events are without gaps too.
    let session = &shop.app.sessions().list(1, None).unwrap().data[0];
    let history = shop.app.history(session.id.as_str(), 100, 0).unwrap().data;
    let moves: Vec<_> = history
        .iter()
        .map(|event| {
            (
                event.sequence,
                event.from.as_deref(),
                event.to.as_deref(),
                event.actor.as_str(),
            )
        })
        .collect();
    assert_eq!(
        moves,
        [
            (1, None, Some("open"), "host"),
            (2, Some("open"), Some("processing"), "host"),
            (3, Some("processing"), Some("complete"), "processor:till"),
        ]
    );
}

#[test]
fn keys_are_listed_by_pages_newest_first() {
    let shop = Shop::open();
    for _ in 0..3 {
        shop.app.keys().create().unwrap();
        shop.clock.turn(Duration::from_secs(1));
    }
    let all = shop.app.keys().list(100, None).unwrap();
    assert!(all.data.is_sorted_by_key(|key| std::cmp::Reverse(key.created_at)));
    let first = shop.app.keys().list(2, None).unwrap();
    assert!(first.has_more);
    let second = shop.app.keys().list(2, Some(&first.data[1].id)).unwrap();
    assert!(!second.has_more);
    assert_eq!([first.data, second.data].concat(), all.data);
}
