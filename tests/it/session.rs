//! A session sells what it showed: its prices are frozen, its time is kept, and it is found by
//! those whose it is and by nobody else.

use std::time::Duration;

use tillite::{
    Amount, Budget, Completion, Currency, Error, ExpiredReason, Interval, Metadata, Mode, NewLine, NewPrice,
    NewProduct, NewSession, Outcome, Price, Session, SessionId, SessionState, SessionUpdate, Work,
};

use crate::kit::{Shop, euro};

const DAY: Duration = Duration::from_secs(86_400);

fn dollars(minor: i64) -> Amount {
    Amount::minor(minor, Currency::USD).unwrap()
}

/// The price of a tier that is on sale in euro.
fn price_of(shop: &Shop, tier: &str) -> Price {
    let page = shop.app.catalog().list(100, None).unwrap();
    let (_, prices) = page.data.into_iter().find(|(product, _)| product.tier == tier).unwrap();
    let in_euro = |price: &Price| price.unit_amount.currency() == Currency::EUR;
    prices.into_iter().find(in_euro).unwrap()
}

/// The membership costs 199 EUR for a month in the kit; here also 249 USD, and 1,999 EUR a year.
fn well_stocked() -> Shop {
    let shop = Shop::open();
    let member = NewProduct::new("member", "Membership")
        .rank(1)
        .price(NewPrice::new("member", euro(1_999_00)).lasting(Interval::YEAR))
        .price(NewPrice::new("member", euro(199_00)).lasting(Interval::MONTH))
        .price(NewPrice::new("member", dollars(249_00)).lasting(Interval::MONTH))
        .price(NewPrice::new("member", euro(19_00)).recurring(Interval::MONTH, None));
    shop.app.catalog().set(member).unwrap();
    shop
}

#[test]
fn a_session_is_priced_by_tier_by_price_or_by_its_caller() {
    let shop = well_stocked();
    let year = shop.app.catalog().list(1, None).unwrap().data.remove(0).1;
    let year = year.iter().find(|price| price.unit_amount == euro(1_999_00)).unwrap();
    let check = |new: NewSession, total: Amount, lines: &[(&str, u32, i64, Option<u32>)]| {
        let session = shop.app.sessions().create(new).unwrap();
        assert_eq!(session.total(), Some(total));
        let found: Vec<_> = session
            .lines
            .iter()
            .map(|line| {
                let days = line.grants.as_ref().and_then(|grants| grants.days);
                (line.name.as_str(), line.quantity, line.unit_amount, days)
            })
            .collect();
        assert_eq!(found, lines);
        let sums: i64 = session.lines.iter().map(|line| line.totals.total).sum();
        assert_eq!(sums, session.totals.total);
        assert_eq!(shop.read(&session), session);
    };
    let member = || NewLine::tier("member", Currency::EUR);
    // Of several prices the one-time one with the shorter interval is the tier's.
    let (pen, gift) = (
        NewLine::inline("A pen", euro(1_50)).quantity(4),
        NewLine::inline("A gift", euro(0)),
    );
    check(
        NewSession::tier("member", Currency::EUR),
        euro(199_00),
        &[("Membership", 1, 199_00, Some(30))],
    );
    check(
        NewSession::tier("member", Currency::USD),
        dollars(249_00),
        &[("Membership", 1, 249_00, Some(30))],
    );
    check(
        NewSession::price(&year.id),
        euro(1_999_00),
        &[("Membership", 1, 1_999_00, Some(365))],
    );
    check(
        NewSession::empty().line(pen.clone()),
        euro(6_00),
        &[("A pen", 4, 1_50, None)],
    );
    check(
        NewSession::empty().line(member().quantity(2)).line(pen).line(gift),
        euro(404_00),
        &[
            ("Membership", 2, 199_00, Some(30)),
            ("A pen", 4, 1_50, None),
            ("A gift", 1, 0, None),
        ],
    );
    shop.clean();
}

#[test]
fn what_cannot_be_sold_makes_no_session() {
    let shop = well_stocked();
    let prices = shop.app.catalog().list(1, None).unwrap().data.remove(0).1;
    let monthly = prices.iter().find(|price| price.terms.kind() == "recurring").unwrap();
    let archived = prices.iter().find(|price| price.unit_amount == euro(199_00)).unwrap();
    let product = NewProduct::new("member", "Membership").price(NewPrice::new("member", euro(5_00)));
    shop.app.catalog().archive_price(&archived.id).unwrap();
    let before = shop.engine.dump().unwrap();
    let check = |new: NewSession, expected: fn(&Error) -> bool| {
        let refused = shop.app.sessions().create(new).unwrap_err();
        assert!(expected(&refused), "{refused:?}");
        assert_eq!(shop.engine.dump().unwrap(), before, "{refused:?}");
    };
    let line = |name: &str, amount| NewLine::inline(name, amount);
    let not_found: fn(&Error) -> bool = |error| matches!(error, Error::NotFound { .. });
    check(NewSession::tier("nothing", Currency::EUR), not_found);
    check(NewSession::tier("member", Currency::GBP), not_found);
    check(NewSession::price(&archived.id), not_found);
    check(NewSession::price(&monthly.id), |error| {
        error.field() == Some("lines[0]")
    });
    check(
        NewSession::empty().line(line("a", euro(1))).line(line("b", dollars(1))),
        |error| error.field() == Some("lines[1].currency"),
    );
    check(
        NewSession::tier("member", Currency::USD).line(line("b", euro(1))),
        |error| error.field() == Some("lines[1].currency"),
    );
    check(
        NewSession::empty()
            .line(line("a", euro(Amount::MAX_MINOR)))
            .line(line("b", euro(1))),
        |error| error.field() == Some("lines[1]"),
    );
    check(
        NewSession::empty().line(line("a", euro(Amount::MAX_MINOR)).quantity(2)),
        |error| error.field() == Some("lines[0]"),
    );
    check(
        NewSession::empty().line(line("a", euro(1))).expires_after(DAY * 31),
        |error| error.field() == Some("expires_after"),
    );
    shop.app.catalog().set(product).unwrap();
    shop.clean();
}

#[test]
fn the_price_that_was_shown_is_the_price_that_is_paid() {
    let shop = Shop::open();
    let session = shop.session("u_1");
    let old = price_of(&shop, "member");
    // The catalogue moves on in every respect.
    let dearer = NewProduct::new("member", "Fellowship")
        .rank(9)
        .line("club")
        .price(NewPrice::new("member", euro(299_00)).access_days(7));
    shop.app.catalog().set(dearer).unwrap();
    assert!(shop.app.catalog().price(&old.id).unwrap().archived_at.is_some());
    assert_eq!(shop.read(&session), session);
    let paid = shop.pay(&session).unwrap().session;
    assert_eq!((paid.total(), &paid.lines), (Some(euro(199_00)), &session.lines));
    assert_eq!(shop.till.requests()[0].amount, 199_00);
    let held = shop.app.entitlements().get("u_1").unwrap();
    let thirty_days = paid.completed_at.unwrap().plus(DAY * 30);
    assert_eq!((held.tier.as_str(), held.expires_at), ("member", Some(thirty_days)));
    assert_eq!(shop.session("u_2").total(), Some(euro(299_00)));
    shop.clean();
}

#[test]
fn an_open_session_can_be_changed_and_is_priced_anew() {
    let shop = Shop::open();
    let session = shop.session("u_1");
    shop.app
        .catalog()
        .set_price(NewPrice::new("member", euro(149_00)).lasting(Interval::MONTH))
        .unwrap();
    let metadata = Metadata::new([("order", "7")]).unwrap();
    let update = SessionUpdate::new()
        .lines([
            NewLine::tier("member", Currency::EUR),
            NewLine::inline("A pen", euro(1_00)),
        ])
        .metadata(metadata.clone())
        .return_to("https://shop.example/thanks/{CHECKOUT_SESSION_ID}")
        .cancel_url(Some("https://shop.example/cart".to_owned()));
    let updated = shop.app.sessions().update(&session.id, update.clone()).unwrap();
    assert_eq!(updated, shop.read(&session));
    assert_eq!((updated.total(), updated.lines.len()), (Some(euro(150_00)), 2));
    assert_eq!(updated.metadata, metadata);
    let url = format!("https://shop.example/thanks/{}", session.id);
    assert_eq!(updated.return_url(), Some(url));
    assert_eq!(updated.cancel_url.as_deref(), Some("https://shop.example/cart"));
    // What is not given stays; what changes nothing writes nothing.
    assert_eq!(
        (&updated.customer, updated.expires_at),
        (&session.customer, session.expires_at)
    );
    shop.clock.turn(Duration::from_secs(1));
    let head = shop.app.journal_head().unwrap();
    assert_eq!(shop.app.sessions().update(&session.id, update).unwrap(), updated);
    assert_eq!(
        shop.app.sessions().update(&session.id, SessionUpdate::new()).unwrap(),
        updated
    );
    assert_eq!(shop.app.journal_head().unwrap(), head);
    // Another currency may take the place of the first, all lines together.
    let in_dollars = SessionUpdate::new().lines([NewLine::inline("A pen", dollars(1_00))]);
    let in_dollars = shop.app.sessions().update(&session.id, in_dollars).unwrap();
    assert_eq!((in_dollars.total(), in_dollars.lines.len()), (Some(dollars(1_00)), 1));
    let back = SessionUpdate::new().hosted_confirmation().cancel_url(None);
    let back = shop.app.sessions().update(&session.id, back).unwrap();
    assert_eq!(
        (&back.completion, &back.cancel_url),
        (&Completion::HostedConfirmation, &None)
    );
    assert_eq!(back, shop.read(&session));
    assert_eq!(shop.pay(&session).unwrap().charge.unwrap().amount, dollars(1_00));
    shop.clean();
}

#[test]
fn from_the_first_attempt_on_the_lines_are_fixed() {
    let shop = Shop::open();
    let session = shop.session("u_1");
    shop.till.answer(Outcome::Declined {
        code: "no".to_owned(),
        message: String::new(),
        advice: None,
    });
    shop.pay(&session).unwrap();
    let before = shop.engine.dump().unwrap();
    let lines = SessionUpdate::new().lines([NewLine::inline("A pen", euro(1_00))]);
    let same_lines = SessionUpdate::new().lines([NewLine::tier("member", Currency::EUR)]);
    for update in [lines.clone(), same_lines] {
        let refused = shop.app.sessions().update(&session.id, update).unwrap_err();
        assert!(matches!(refused, Error::Refused(_)), "{refused:?}");
        assert_eq!(shop.engine.dump().unwrap(), before);
    }
    let allowed = SessionUpdate::new()
        .metadata(Metadata::new([("order", "7")]).unwrap())
        .return_to("https://shop.example/thanks")
        .cancel_url(Some("https://shop.example/cart".to_owned()));
    let updated = shop.app.sessions().update(&session.id, allowed).unwrap();
    assert_eq!(updated.metadata.get("order"), Some("7"));
    assert_eq!((updated.total(), &updated.lines), (session.total(), &session.lines));
    // Once it is over nothing is changed any more.
    assert!(shop.pay(&session).unwrap().is_complete());
    let closed = shop.session("u_2");
    shop.app.sessions().expire(&closed.id).unwrap();
    for over in [&session, &closed] {
        for update in [lines.clone(), SessionUpdate::new().metadata(Metadata::default())] {
            let refused = shop.app.sessions().update(&over.id, update).unwrap_err();
            assert!(matches!(refused, Error::Refused(_)), "{refused:?}");
        }
    }
    shop.clean();
}

#[test]
fn time_closes_a_session_at_once_and_the_sweep_only_writes_it_down() {
    // By the host's clock, or by the test clock.
    let turns: [fn(&Shop, Duration); 2] = [
        |shop, by| shop.clock.turn(by),
        |shop, by| assert!(shop.app.advance(by).is_ok()),
    ];
    for turn in turns {
        let shop = Shop::open();
        let session = shop.session("u_1");
        assert_eq!(session.expires_at, session.created_at.plus(DAY));
        turn(&shop, Duration::from_millis(86_399_999));
        assert_eq!(shop.read(&session), session);
        turn(&shop, Duration::from_millis(1));
        let read = shop.read(&session);
        assert_eq!(read.state, SessionState::Expired(ExpiredReason::Timeout));
        assert_eq!(
            shop.app.sessions().list(1, None).unwrap().data,
            std::slice::from_ref(&read)
        );
        // It is as closed as it will ever be, though nobody has stored it.
        let stored = shop.engine.dump().unwrap();
        assert!(matches!(shop.pay(&session), Err(Error::Refused(_))));
        let update = SessionUpdate::new().metadata(Metadata::new([("a", "b")]).unwrap());
        let update = shop.app.sessions().update(&session.id, update);
        assert!(matches!(update, Err(Error::Refused(_))));
        assert_eq!(shop.engine.dump().unwrap(), stored);
        turn(&shop, DAY * 400);
        assert_eq!(shop.read(&session), read);
        let sweep = Budget::items(10).work(Work::TIME);
        assert_eq!(shop.engine.run_due(sweep).unwrap().expired, 1);
        assert_eq!(shop.read(&session), read);
        assert_eq!(shop.engine.run_due(sweep).unwrap().expired, 0);
        assert_eq!(
            shop.kinds(&session.id),
            ["checkout.session.created", "checkout.session.expired"]
        );
        assert_eq!(shop.till.requests(), []);
        shop.clean();
    }
}

#[test]
fn closing_a_session_twice_closes_it_once() {
    type Close = fn(&Shop, &Session) -> tillite::Result<Session>;
    let expire: Close = |shop, session| shop.app.sessions().expire(&session.id);
    let cancel: Close = |shop, session| shop.app.sessions().cancel(&session.id);
    let check = |wait: Duration, close: Close, reason: ExpiredReason| {
        let shop = Shop::open();
        let session = shop.session("u_1");
        shop.clock.turn(wait);
        let closed = close(&shop, &session).unwrap();
        assert_eq!(closed.state, SessionState::Expired(reason));
        assert_eq!(shop.read(&session), closed);
        let head = shop.app.journal_head().unwrap();
        shop.clock.turn(DAY * 2);
        for close in [expire, cancel] {
            assert_eq!(close(&shop, &session).unwrap(), closed);
        }
        shop.run();
        assert_eq!(shop.read(&session), closed);
        assert_eq!(shop.app.journal_head().unwrap(), head);
        assert!(matches!(shop.pay(&session), Err(Error::Refused(_))));
        shop.clean();
    };
    check(Duration::ZERO, expire, ExpiredReason::Merchant);
    check(Duration::ZERO, cancel, ExpiredReason::Buyer);
    // Time was first.
    check(DAY, expire, ExpiredReason::Timeout);
    check(DAY, cancel, ExpiredReason::Timeout);
    // What is paid is not closed.
    let shop = Shop::open();
    let session = shop.session("u_1");
    shop.pay(&session).unwrap();
    for close in [expire, cancel] {
        assert!(matches!(close(&shop, &session), Err(Error::Refused(_))));
    }
    shop.clean();
}

#[test]
fn a_listing_by_pages_misses_nothing_while_sessions_are_made() {
    let check = |limit: u32, turn: Duration| {
        let shop = Shop::open();
        for buyer in 0..13 {
            shop.session(&format!("u_{buyer}"));
            shop.clock.turn(turn);
        }
        let full = shop.app.sessions().list(100, None).unwrap();
        assert_eq!((full.data.len(), full.has_more), (13, false));
        let mut paged: Vec<Session> = Vec::new();
        let mut before: Option<SessionId> = None;
        loop {
            let page = shop.app.sessions().list(limit, before.as_ref()).unwrap();
            assert!(page.data.len() <= limit as usize);
            before = page.data.last().map(|session| session.id.clone());
            paged.extend(page.data);
            assert!(paged.len() < 100, "the pages never end");
            if !page.has_more {
                break;
            }
            shop.session("late");
            shop.clock.turn(turn);
        }
        // Within one millisecond ids have no order, so a new one may turn up; never an old one
        // twice, out of order, or not at all.
        let late = |session: &Session| session.for_uid.as_deref() == Some("late");
        assert!(turn.is_zero() || !paged.iter().any(late));
        paged.retain(|session| !late(session));
        assert_eq!(paged, full.data, "pages of {limit}");
        if !turn.is_zero() {
            assert!(
                full.data
                    .is_sorted_by_key(|session| std::cmp::Reverse(session.created_at))
            );
        }
    };
    for limit in [1, 2, 5, 12, 13, 14, 100] {
        check(limit, Duration::from_millis(1));
        check(limit, Duration::ZERO);
    }
    let shop = Shop::open();
    for limit in [0, 101] {
        let refused = shop.app.sessions().list(limit, None).unwrap_err();
        assert_eq!(refused.field(), Some("limit"));
    }
}

#[test]
fn the_link_of_a_session_stays_what_it_was() {
    let shop = Shop::open();
    let plain = shop.session("u_1");
    assert_eq!(plain.url, None);
    shop.app.set_public_url(Some("https://pay.example/billing/")).unwrap();
    let linked = shop.session("u_2");
    let url = format!("https://pay.example/billing/c/{}", linked.id);
    assert_eq!(linked.url.as_deref(), Some(url.as_str()));
    shop.app.set_public_url(Some("https://elsewhere.example")).unwrap();
    let update = SessionUpdate::new().metadata(Metadata::new([("a", "b")]).unwrap());
    shop.app.sessions().update(&linked.id, update).unwrap();
    shop.pay(&linked).unwrap();
    for (session, url) in [(&plain, None), (&linked, Some(url.as_str()))] {
        assert_eq!(shop.read(session).url.as_deref(), url);
    }
    shop.app.set_public_url(None).unwrap();
    assert_eq!(shop.read(&linked).url.as_deref(), Some(url.as_str()));
    assert_eq!(shop.session("u_3").url, None);
    shop.clean();
}

#[test]
fn a_session_is_found_by_its_own_app_and_mode_only() {
    type Call = fn(&tillite::App, &SessionId) -> Error;
    let calls: [Call; 7] = [
        |app, id| app.sessions().get(id).unwrap_err(),
        |app, id| app.sessions().pay(id, "tok_1").unwrap_err(),
        |app, id| app.sessions().begin_payment(id, "tok_1").unwrap_err(),
        |app, id| app.sessions().expire(id).unwrap_err(),
        |app, id| app.sessions().cancel(id).unwrap_err(),
        |app, id| app.sessions().update(id, SessionUpdate::new()).unwrap_err(),
        |app, id| match app.sessions().list(10, Some(id)) {
            // A cursor of another app is a place in the order and shows nothing of it.
            Ok(page) => {
                assert_eq!(page.data, []);
                app.sessions().get(id).unwrap_err()
            }
            Err(refused) => refused,
        },
    ];
    let shop = Shop::open();
    let session = shop.session("u_1");
    let other = shop.engine.app("otherblogs", Mode::Test).unwrap();
    let live = shop.engine.app("lixblogs", Mode::Live).unwrap();
    let before = shop.engine.dump().unwrap();
    for (at, call) in calls.iter().enumerate() {
        let missing = call(&other, &session.id);
        assert!(matches!(missing, Error::NotFound { .. }), "{at}: {missing:?}");
        let wrong = Error::WrongMode {
            id: session.id.to_string(),
            found: "test",
            handle: "live",
        };
        assert_eq!(call(&live, &session.id), wrong, "{at}");
    }
    assert_eq!(shop.engine.dump().unwrap(), before);
    assert_eq!(other.sessions().list(100, None).unwrap().data, []);
    assert_eq!(live.sessions().list(100, None).unwrap().data, []);
    // Nor is a price of one for sale in the other.
    let price = price_of(&shop, "member").id;
    for app in [&other, &live] {
        let refused = app.sessions().create(NewSession::price(&price)).unwrap_err();
        assert!(
            matches!(refused, Error::NotFound { .. } | Error::WrongMode { .. }),
            "{refused:?}"
        );
    }
    shop.clean();
}
