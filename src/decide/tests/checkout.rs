use std::time::Duration;

use super::{HOST_AHEAD, assert_repeatable, payer, setting, told};
use crate::change::Change;
use crate::decide::checkout::{Begun, Means, begin, create, expire, supersede, update};
use crate::decide::pricing::{Priced, price_lines};
use crate::error::{Error, OrderState};
use crate::event::Subject;
use crate::hook::Request;
use crate::id::Mode;
use crate::payment::{Attempt, Await, ChargeState, MAX_CHARGES};
use crate::samples::{at, charge, customer, eur, intent, metadata, mint, session, session_without_lines, sums};
use crate::session::{Completion, Dialect, ExpiredReason, NewLine, NewSession, Session, SessionState, SessionUpdate};

fn means() -> Means {
    Means {
        processor: "main".to_owned(),
        method: Some("tok_1".to_owned()),
        context: Some("host's own".to_owned()),
        payer: payer(),
        lease_until: at(HOST_AHEAD + 40),
    }
}

/// Starts to collect at a second, with ids of a seed.
fn begun(session: Session, seconds: i64, seed: u8) -> (Result<(Session, Begun), Error>, Change) {
    let mut change = Change::new();
    let mut mint = mint(seed);
    let begun = begin(
        session,
        Ok(means()),
        Vec::new(),
        &mut setting(&mut mint, seconds),
        &mut change,
    );
    (begun, change)
}

fn attempt_of(session: Session, seed: u8) -> Attempt {
    match begun(session, 10, seed).0 {
        Ok((_, Begun::Attempt(attempt))) => *attempt,
        _ => panic!("no attempt"),
    }
}

fn inline(name: &str, amount: i64) -> Priced {
    price_lines(&[NewLine::inline(name, eur(amount))], &[Vec::new()]).unwrap()
}

/// A session that was tried so many times, each time without success.
fn tried(times: usize) -> Session {
    let charges = (1..=times).map(|number| {
        let mut failed = charge(ChargeState::Failed);
        failed.number = u32::try_from(number).unwrap();
        failed.id = crate::samples::id(100 + u8::try_from(number).unwrap());
        failed
    });
    Session {
        payment_intent: Some(intent(charges.collect())),
        ..session()
    }
}

#[test]
fn a_new_session_freezes_what_it_sells_and_lives_from_now_on() {
    let new = NewSession::empty()
        .dialect(Dialect::JoPay)
        .metadata(metadata())
        .return_to("https://shop.example/thanks")
        .expires_after(Duration::from_secs(3_600))
        .checked(Mode::Test)
        .unwrap();
    let mut change = Change::new();
    let mut mint = mint(1);
    let base = Some("https://pay.example/".to_owned());
    let at_now = &mut setting(&mut mint, 10);
    let made = create(new, inline("x", 5), Some(customer()), base, at_now, &mut change);
    assert_eq!(told(&change), ["checkout.session.created >open"]);
    assert_eq!((made.created_at, made.expires_at), (at(10), at(3_610)));
    assert_eq!((made.totals, made.snapshot), (sums(5), made.snapshot_of()));
    assert_eq!(made.url, Some(format!("https://pay.example/c/{}", made.id)));
    assert_eq!(made.revision, 1);
}

#[test]
fn an_attempt_is_committed_with_all_that_moves_before_anybody_is_asked() {
    let (begun, change) = begun(session(), 10, 1);
    let Ok((after, Begun::Attempt(attempt))) = begun else {
        panic!("no attempt");
    };
    assert_eq!(
        told(&change),
        [
            "charge.initiated >initiated",
            "payment_intent.created >processing",
            "payment_intent.processing requires_payment_method>processing",
            "checkout.session.processing open>processing",
        ]
    );
    assert_eq!(change.ledger.len(), 1);
    assert!(change.ledger[0].evidence.is_none());
    assert_eq!(change.ledger[0].attempt, *attempt);
    assert_eq!(attempt.next, Some((Await::Answer, at(HOST_AHEAD + 40))));
    assert_eq!(attempt.created_at, at(10 + HOST_AHEAD));
    let request = Request::from_bytes(&attempt.request).unwrap();
    assert_eq!(
        (request.amount, request.currency.as_str(), request.exponent),
        (999, "EUR", 2)
    );
    assert_eq!(
        (request.idempotency_key, request.attempt),
        (attempt.key.clone(), attempt.id.to_string())
    );
    assert_eq!(request.session, after.id.to_string());
    assert_eq!(
        (request.method.as_deref(), request.context.as_deref()),
        (Some("tok_1"), Some("host's own"))
    );
    assert_eq!(request.return_url, after.return_url());
    let intent = after.payment_intent.as_ref().unwrap();
    assert_eq!((intent.revision, intent.charges[0].revision, after.revision), (2, 1, 2));
    assert_eq!(intent.charges[0].id.as_str(), attempt.subject);
}

#[test]
fn a_further_attempt_is_the_same_intents_next_charge() {
    let (begun, change) = begun(tried(2), 10, 1);
    let (after, _) = begun.unwrap();
    assert_eq!(
        told(&change),
        [
            "charge.initiated >initiated",
            "payment_intent.processing requires_payment_method>processing",
            "checkout.session.processing open>processing",
        ]
    );
    let charges = &after.payment_intent.as_ref().unwrap().charges;
    assert_eq!(
        charges.iter().map(|charge| charge.number).collect::<Vec<_>>(),
        [1, 2, 3]
    );
}

#[test]
fn the_key_at_the_processor_follows_from_session_and_number_alone() {
    let key = attempt_of(session(), 1).key;
    let (other_ids, other_lines) = (attempt_of(session(), 2), {
        let mut changed = session();
        changed.lines[0].name = "another name".to_owned();
        attempt_of(changed, 3)
    });
    assert_eq!((&other_ids.key, &other_lines.key), (&key, &key));
    let other_session = Session {
        id: crate::samples::id(99),
        ..session()
    };
    let mut keys = vec![key, attempt_of(other_session, 1).key];
    keys.extend((1..5).map(|times| attempt_of(tried(times), 1).key));
    let distinct: std::collections::HashSet<_> = keys.iter().collect();
    assert_eq!(distinct.len(), keys.len());
}

#[test]
fn nothing_to_collect_completes_the_session_with_its_grants_and_no_charge() {
    let mut free = session();
    free.totals = sums(0);
    free.lines[0].totals = sums(0);
    let (begun, change) = begun(free, 10, 1);
    let (after, begun) = begun.unwrap();
    assert!(matches!(begun, Begun::NothingDue));
    assert_eq!(
        told(&change),
        [
            "checkout.session.completed open>complete",
            "entitlement.granted none>active",
            "grant.created",
        ]
    );
    assert!(change.ledger.is_empty() && after.payment_intent.is_none());
    assert_eq!(
        (after.payment_status(), after.completed_at),
        ("no_payment_required", Some(at(10)))
    );
}

#[test]
fn what_cannot_be_paid_is_refused_and_nothing_is_written() {
    let expired = |reason| Session {
        state: SessionState::Expired(reason),
        ..session()
    };
    let check = |session: Session, seconds: i64, state: &str| {
        let (begun, change) = begun(session, seconds, 1);
        match begun {
            Err(Error::Refused(refused)) => assert_eq!((refused.state, refused.event), (state, "a payment")),
            Err(other) => panic!("{state}: {other}"),
            Ok(_) => panic!("{state}: not refused"),
        }
        assert!(change.is_empty(), "{state}");
    };
    for reason in ExpiredReason::ALL {
        check(expired(reason), 10, "expired");
    }
    check(session(), 86_400, "expired");
    check(session_without_lines(), 10, "open without lines");
    check(tried(MAX_CHARGES), 10, "open after too many attempts");
    assert!(begun(tried(MAX_CHARGES - 1), 10, 1).0.is_ok());
    assert!(begun(session(), 86_399, 1).0.is_ok());
}

#[test]
fn while_an_attempt_is_in_flight_none_starts_and_a_complete_session_stays_paid() {
    let paying = Session {
        state: SessionState::Processing,
        payment_intent: Some(intent(vec![charge(ChargeState::Unknown)])),
        ..session()
    };
    // An attempt in flight outlives the session's own time.
    for seconds in [10, 86_400, 1_000_000] {
        let (found, change) = begun(paying.clone(), seconds, 1);
        let in_flight = Error::PaymentInProgress {
            attempt: charge(ChargeState::Unknown).id.to_string(),
            since_ms: at(60).as_millis(),
        };
        assert_eq!(found.err(), Some(in_flight));
        assert!(change.is_empty());
    }
    let complete = Session {
        state: SessionState::Complete,
        completed_at: Some(at(5)),
        ..session()
    };
    let (found, change) = begun(complete.clone(), 10, 1);
    let (after, begun) = found.unwrap();
    assert!(matches!(begun, Begun::Already) && change.is_empty());
    assert_eq!(after, complete);
}

#[test]
fn the_same_session_and_ids_give_the_same_attempt() {
    assert_repeatable(|change| {
        let mut mint = mint(1);
        let begun = begin(session(), Ok(means()), Vec::new(), &mut setting(&mut mint, 10), change);
        begun.map(|(session, _)| session)
    });
}

/// Updates a session at a second.
fn updated(
    session: Session,
    asked: SessionUpdate,
    priced: Option<Priced>,
    seconds: i64,
) -> (Result<Session, Error>, Change) {
    let mut change = Change::new();
    let mut mint = mint(1);
    let after = update(session, asked, priced, &setting(&mut mint, seconds), &mut change);
    (after, change)
}

#[test]
fn an_update_replaces_what_it_names_and_keeps_the_rest() {
    let asked = SessionUpdate::new().hosted_confirmation().cancel_url(None);
    let (after, change) = updated(session(), asked, Some(inline("x", 5)), 10);
    let after = after.unwrap();
    assert_eq!(told(&change), ["checkout.session.updated open>open"]);
    let expected = Session {
        completion: Completion::HostedConfirmation,
        cancel_url: None,
        totals: sums(5),
        lines: after.lines.clone(),
        snapshot: after.snapshot_of(),
        updated_at: at(10),
        revision: 2,
        ..session()
    };
    assert_eq!(after, expected);
    assert_eq!(after.lines[0].name, "x");
}

#[test]
fn an_update_that_changes_nothing_writes_nothing() {
    let same = SessionUpdate::new().metadata(metadata());
    for asked in [SessionUpdate::new(), same] {
        let (after, change) = updated(session(), asked, None, 10);
        assert_eq!(after.unwrap(), session());
        assert!(change.is_empty());
    }
}

#[test]
fn lines_are_fixed_from_the_first_attempt_on_while_the_rest_may_change() {
    let (after, change) = updated(tried(1), SessionUpdate::new(), Some(inline("x", 5)), 10);
    assert!(matches!(after, Err(Error::Refused(_))), "{after:?}");
    assert!(change.is_empty());
    let (after, _) = updated(tried(1), SessionUpdate::new().hosted_confirmation(), None, 10);
    let after = after.unwrap();
    assert_eq!((after.snapshot, after.lines), (tried(1).snapshot, tried(1).lines));
}

#[test]
fn only_an_open_session_is_updated() {
    for (state, seconds) in [
        (SessionState::Open, 86_400),
        (SessionState::Processing, 10),
        (SessionState::Complete, 10),
        (SessionState::Expired(ExpiredReason::Buyer), 10),
    ] {
        let session = Session { state, ..session() };
        let (after, change) = updated(session, SessionUpdate::new().hosted_confirmation(), None, seconds);
        assert!(matches!(after, Err(Error::Refused(_))), "{state:?}: {after:?}");
        assert!(change.is_empty());
    }
}

#[test]
fn closing_is_for_the_given_reason_unless_time_was_quicker_and_twice_is_once() {
    use ExpiredReason::{Buyer, Merchant, Timeout};
    use SessionState::{Complete, Expired, Open, Processing};
    let check = |state: SessionState, seconds: i64, expected: Result<SessionState, &str>| {
        let mut change = Change::new();
        let mut mint = mint(1);
        let at_now = setting(&mut mint, seconds);
        let before = Session { state, ..session() };
        match (expire(before.clone(), Merchant, &at_now, &mut change), expected) {
            (Ok(after), Ok(expected)) => {
                assert_eq!(after.state, expected);
                let moved = state != expected;
                assert_eq!(told(&change).len(), usize::from(moved));
                assert_eq!(after.revision - before.revision, i64::from(moved));
            }
            (Err(Error::Refused(refused)), Err(state)) => {
                assert_eq!(refused.state, state);
                assert!(change.is_empty());
            }
            (found, expected) => panic!("{found:?} in place of {expected:?}"),
        }
    };
    check(Open, 10, Ok(Expired(Merchant)));
    check(Open, 86_400, Ok(Expired(Timeout)));
    check(Expired(Buyer), 10, Ok(Expired(Buyer)));
    check(Processing, 10, Err("processing"));
    check(Processing, 86_400, Err("processing"));
    check(Complete, 86_400, Err("complete"));
}

#[test]
fn an_overdue_session_is_closed_as_of_its_own_end() {
    let mut change = Change::new();
    let mut mint = mint(1);
    let at_now = setting(&mut mint, 1_000_000);
    let after = expire(session(), ExpiredReason::Timeout, &at_now, &mut change).unwrap();
    assert_eq!(after, session().at(at(1_000_000)));
    let [entry] = &change.entries[..] else {
        panic!("{change:?}");
    };
    assert_eq!(entry.subject, Subject::Session(Box::new(after)));
}

#[test]
fn a_session_makes_room_for_another_of_its_order_only_while_no_money_can_come_of_it() {
    use SessionState::{Complete, Expired, Open, Processing};
    // Its expiry is at a day's end; it is asked before and after.
    let day = 86_400;
    let check = |state: SessionState, seconds: i64, left: Result<SessionState, OrderState>| {
        let sibling = Session {
            state,
            order_key: Some("o_1".to_owned()),
            ..session()
        };
        let mut change = Change::new();
        let mut mint = mint(1);
        let room = supersede(sibling.clone(), &setting(&mut mint, seconds), &mut change);
        let after = match change.entries.last().map(|entry| &entry.subject) {
            Some(Subject::Session(after)) => after.state,
            Some(other) => panic!("{other:?}"),
            None => sibling.state,
        };
        match left {
            Ok(left) => {
                room.unwrap();
                assert_eq!(after, left);
                assert_eq!(change.is_empty(), state == left);
            }
            Err(state) => {
                let (order, session) = ("o_1".to_owned(), sibling.id.to_string());
                let taken = Error::OrderTaken { order, session, state };
                assert_eq!(room, Err(taken));
                assert!(change.is_empty());
            }
        }
    };
    for seconds in [10, day - 1, day, 2 * day] {
        let reason = if seconds < day {
            ExpiredReason::Superseded
        } else {
            ExpiredReason::Timeout
        };
        check(Open, seconds, Ok(Expired(reason)));
        check(Processing, seconds, Err(OrderState::Processing));
        check(Complete, seconds, Err(OrderState::Complete));
        for reason in ExpiredReason::ALL {
            check(Expired(reason), seconds, Ok(Expired(reason)));
        }
    }
}
