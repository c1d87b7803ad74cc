use std::time::Duration;

use super::state::next;
use super::*;
use crate::money::Currency;
use crate::samples::{at, check_machine, check_refusal, eur, session};

const STATES: [SessionState; 7] = [
    SessionState::Open,
    SessionState::Processing,
    SessionState::Complete,
    SessionState::Expired(ExpiredReason::Timeout),
    SessionState::Expired(ExpiredReason::Merchant),
    SessionState::Expired(ExpiredReason::Buyer),
    SessionState::Expired(ExpiredReason::Superseded),
];

const EVENTS: [SessionEvent; 9] = [
    SessionEvent::Update,
    SessionEvent::StartPayment,
    SessionEvent::NothingDue,
    SessionEvent::Paid,
    SessionEvent::PaymentFailed,
    SessionEvent::Expire(ExpiredReason::Timeout),
    SessionEvent::Expire(ExpiredReason::Merchant),
    SessionEvent::Expire(ExpiredReason::Buyer),
    SessionEvent::Expire(ExpiredReason::Superseded),
];

#[test]
fn every_event_in_every_state_moves_as_listed_or_is_refused() {
    use ExpiredReason::{Buyer, Merchant, Superseded, Timeout};
    use SessionEvent as On;
    use SessionState::{Complete, Expired, Open, Processing};
    let listed = [
        (Open, On::Update, Open),
        (Open, On::StartPayment, Processing),
        (Open, On::NothingDue, Complete),
        (Open, On::Expire(Timeout), Expired(Timeout)),
        (Open, On::Expire(Merchant), Expired(Merchant)),
        (Open, On::Expire(Buyer), Expired(Buyer)),
        (Open, On::Expire(Superseded), Expired(Superseded)),
        (Processing, On::Paid, Complete),
        (Processing, On::PaymentFailed, Open),
        (Processing, On::Voided, Expired(Merchant)),
    ];
    check_machine(&STATES, &EVENTS, &listed, next, |state, event| Refused {
        object: "checkout session",
        state: state.as_str(),
        event: event.as_str(),
    });
}

#[test]
fn a_step_notes_when_it_was_taken_and_a_refused_one_leaves_no_trace() {
    for state in STATES {
        for event in EVENTS {
            let before = Session { state, ..session() };
            let mut after = before.clone();
            if after.step(event, at(5)).is_err() {
                assert_eq!(after, before, "{state:?} {event:?}");
                continue;
            }
            assert_eq!(after.updated_at, at(5), "{state:?} {event:?}");
            assert_eq!(after.completed_at, after.is_complete().then_some(at(5)), "{event:?}");
        }
    }
}

#[test]
fn time_closes_an_open_session_and_nothing_else() {
    for state in STATES {
        for (seconds, passed) in [(0, false), (86_399, false), (86_400, true), (1_000_000, true)] {
            let before = Session { state, ..session() };
            let after = before.clone().at(at(seconds));
            if state == SessionState::Open && passed {
                let expected = Session {
                    state: SessionState::Expired(ExpiredReason::Timeout),
                    updated_at: before.expires_at,
                    revision: before.revision + 1,
                    ..before
                };
                assert_eq!(after, expected);
            } else {
                assert_eq!(after, before, "{state:?} after {seconds} s");
            }
        }
    }
}

#[test]
fn the_return_url_carries_the_session_as_its_dialect_wants_it() {
    let check = |dialect: Dialect, given: &str, expected: &str| {
        let session = Session {
            dialect,
            completion: Completion::Redirect(given.to_owned()),
            ..session()
        };
        let expected = expected.replace("<id>", session.id.as_str());
        assert_eq!(session.return_url(), Some(expected), "{dialect:?} {given}");
    };
    for dialect in [Dialect::Native, Dialect::XPay] {
        check(dialect, "https://a.example/x", "https://a.example/x");
        for (given, expected) in [
            ("https://a.example/{CHECKOUT_SESSION_ID}/x", "https://a.example/<id>/x"),
            (
                "https://a.example/?s={CHECKOUT_SESSION_ID}&s2={CHECKOUT_SESSION_ID}",
                "https://a.example/?s=<id>&s2=<id>",
            ),
            ("https://a.example/#{CHECKOUT_SESSION_ID}", "https://a.example/#<id>"),
            (
                "https://a.example/{checkout_session_id}",
                "https://a.example/{checkout_session_id}",
            ),
        ] {
            check(dialect, given, expected);
        }
    }
    for url in ["https://a.example/?x=1#y", "https://a.example/{CHECKOUT_SESSION_ID}"] {
        check(Dialect::Elixpo, url, url);
    }
    for (given, expected) in [
        ("https://a.example", "https://a.example?session_id=<id>"),
        ("https://a.example/?x=1", "https://a.example/?x=1&session_id=<id>"),
        ("https://a.example/x#y", "https://a.example/x?session_id=<id>#y"),
        ("https://a.example/x#y?n=1", "https://a.example/x?session_id=<id>#y?n=1"),
        (
            "https://a.example/x?z=1#y?n=1",
            "https://a.example/x?z=1&session_id=<id>#y?n=1",
        ),
    ] {
        check(Dialect::JoPay, given, expected);
    }
    let hosted = Session {
        completion: Completion::HostedConfirmation,
        ..session()
    };
    assert_eq!(hosted.return_url(), None);
}

fn inline(name: &str) -> NewLine {
    NewLine::inline(name, eur(1))
}

#[test]
fn a_lifetime_is_30_minutes_to_30_days_and_otherwise_what_the_dialect_says() {
    let minute = 60_000;
    for (millis, refused) in [
        (0, true),
        (30 * minute - 1, true),
        (30 * minute, false),
        (43_200 * minute, false),
        (43_200 * minute + 1_000, true),
        (u64::MAX, true),
    ] {
        let new = NewSession::empty().expires_after(Duration::from_millis(millis));
        let refused = refused.then_some("expires_after");
        check_refusal(&new.checked(Mode::Test), refused, &format!("{millis} ms"));
    }
    for (dialect, minutes) in [
        (Dialect::Native, 1_440),
        (Dialect::XPay, 1_440),
        (Dialect::Elixpo, 30),
        (Dialect::JoPay, 60),
    ] {
        let checked = NewSession::empty().dialect(dialect).checked(Mode::Test).unwrap();
        assert_eq!(checked.lifetime, Duration::from_secs(minutes * 60), "{dialect:?}");
    }
}

#[test]
fn what_is_asked_of_a_session_is_bounded_by_field() {
    let with = |line: NewLine| NewSession::empty().line(inline("first")).line(line);
    let many = |count| (0..count).fold(NewSession::empty(), |new, _| new.line(inline("x")));
    for (new, refused, what) in [
        (NewSession::empty(), None, "nothing"),
        (many(100), None, "100 lines"),
        (many(101), Some("lines"), "101 lines"),
        (with(inline("x").quantity(1)), None, "one"),
        (with(inline("x").quantity(1_000_000)), None, "a million"),
        (with(inline("x").quantity(0)), Some("lines[1].quantity"), "none"),
        (
            with(inline("x").quantity(1_000_001)),
            Some("lines[1].quantity"),
            "too many",
        ),
        (with(inline(&"é".repeat(250))), None, "a long name"),
        (with(inline(&"é".repeat(251))), Some("lines[1].name"), "too long a name"),
        (with(inline("")), Some("lines[1].name"), "no name"),
        (with(inline("4242424242424242")), Some("lines[1].name"), "a card number"),
        (with(NewLine::tier("pro-1_x", Currency::EUR)), None, "a tier"),
        (
            with(NewLine::tier("Pro", Currency::EUR)),
            Some("lines[1].tier"),
            "a capital",
        ),
        (
            with(NewLine::tier("t".repeat(65), Currency::EUR)),
            Some("lines[1].tier"),
            "a long tier",
        ),
        (NewSession::empty().for_uid("u".repeat(200)), None, "a long uid"),
        (
            NewSession::empty().for_uid("u".repeat(201)),
            Some("for_uid"),
            "too long a uid",
        ),
        (NewSession::empty().customer(""), Some("uid"), "no uid"),
        (NewSession::empty().email("ada@example.com"), None, "an address"),
        (NewSession::empty().email("ada"), Some("email"), "no address"),
        (NewSession::empty().return_to("https://a.example/x"), None, "a URL"),
        (NewSession::empty().return_to("/x"), Some("return_url"), "a path"),
        (
            NewSession::empty().return_to("ftp://a.example"),
            Some("return_url"),
            "another scheme",
        ),
        (
            NewSession::empty().return_to("https://{CHECKOUT_SESSION_ID}.example"),
            Some("return_url"),
            "a template host",
        ),
        (NewSession::empty().cancel_url("http://a.example"), None, "a cancel URL"),
        (
            NewSession::empty().cancel_url("javascript:x"),
            Some("cancel_url"),
            "a script",
        ),
        (NewSession::empty().idempotency_key("k".repeat(255)), None, "a long key"),
        (
            NewSession::empty().idempotency_key("k".repeat(256)),
            Some("idempotency_key"),
            "too long a key",
        ),
        (
            NewSession::empty().idempotency_key(""),
            Some("idempotency_key"),
            "no key",
        ),
    ] {
        check_refusal(&new.checked(Mode::Test), refused, what);
    }
}

#[test]
fn an_update_is_bounded_like_a_new_session() {
    for (update, refused, what) in [
        (SessionUpdate::new(), None, "nothing"),
        (SessionUpdate::new().lines([inline("x")]), None, "a line"),
        (
            SessionUpdate::new().lines((0..101).map(|_| inline("x"))),
            Some("lines"),
            "101 lines",
        ),
        (
            SessionUpdate::new().lines([inline("x").quantity(0)]),
            Some("lines[0].quantity"),
            "none",
        ),
        (SessionUpdate::new().return_to("x"), Some("return_url"), "no URL"),
        (SessionUpdate::new().hosted_confirmation(), None, "no redirect"),
        (
            SessionUpdate::new().cancel_url(Some("x".to_owned())),
            Some("cancel_url"),
            "no cancel URL",
        ),
        (SessionUpdate::new().cancel_url(None), None, "its removal"),
    ] {
        check_refusal(&update.checked(Dialect::Native, Mode::Test), refused, what);
    }
}

#[test]
fn only_xpay_in_live_mode_insists_on_https_away_from_this_machine() {
    let open_to_all = ["https://shop.example/x"];
    let guarded = [
        "http://shop.example/x",
        "https://localhost/x",
        "https://127.0.0.1/",
        "https://[::1]/",
    ];
    for dialect in Dialect::ALL {
        for mode in [Mode::Test, Mode::Live] {
            for (urls, safe) in [(&open_to_all[..], true), (&guarded[..], false)] {
                for url in urls {
                    let strict = dialect == Dialect::XPay && mode == Mode::Live;
                    let refused = (strict && !safe).then_some("return_url");
                    let what = format!("{dialect:?} {mode} {url}");
                    let new = NewSession::empty().dialect(dialect).return_to(*url);
                    check_refusal(&new.checked(mode), refused, &what);
                    let update = SessionUpdate::new().return_to(*url).checked(dialect, mode);
                    check_refusal(&update, refused, &what);
                }
            }
        }
    }
}

#[test]
fn the_payer_is_who_gets_it_unless_somebody_else_is_named() {
    for (new, expected) in [
        (NewSession::empty(), None),
        (NewSession::empty().customer("payer"), Some("payer")),
        (NewSession::empty().customer("payer").for_uid("child"), Some("child")),
        (NewSession::empty().for_uid("child"), Some("child")),
    ] {
        assert_eq!(new.checked(Mode::Test).unwrap().for_uid.as_deref(), expected);
    }
}

#[test]
fn the_snapshot_tells_any_two_sales_apart() {
    let sold = session();
    let changed = |change: fn(&mut Session)| {
        let mut other = session();
        change(&mut other);
        other.snapshot_of() != sold.snapshot_of()
    };
    assert!(!changed(|_| ()));
    for (what, change) in [
        ("currency", (|s| s.currency = Some(Currency::USD)) as fn(&mut Session)),
        ("exponent", |s| s.exponent = 3),
        ("total", |s| s.totals.total = 1),
        ("tax", |s| s.totals.tax = 1),
        ("name", |s| s.lines[0].name = "x".to_owned()),
        ("quantity", |s| s.lines[0].quantity = 2),
        ("unit amount", |s| s.lines[0].unit_amount = 1),
        ("price", |s| s.lines[0].price = None),
        ("product", |s| s.lines[0].product = None),
        ("grants", |s| s.lines[0].grants = None),
        ("line", |s| s.lines.push(s.lines[0].clone())),
        ("days", |s| s.lines[0].grants.as_mut().unwrap().days = None),
        ("rank", |s| s.lines[0].grants.as_mut().unwrap().rank = 9),
    ] {
        assert!(changed(change), "{what}");
    }
}
