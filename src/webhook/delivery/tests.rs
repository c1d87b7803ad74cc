use super::*;
use crate::samples::{at, check_machine};

const EVENTS: [DeliveryEvent; 6] = [
    DeliveryEvent::Claim,
    DeliveryEvent::GiveBack,
    DeliveryEvent::Accepted,
    DeliveryEvent::Failed,
    DeliveryEvent::FailedLast,
    DeliveryEvent::Cancel,
];

#[test]
fn every_event_in_every_state_moves_as_listed_or_is_refused() {
    use DeliveryEvent as On;
    use DeliveryState::{Blocked, Canceled, Delivered, Exhausted, InFlight, Pending};
    let listed = [
        (Pending, On::Claim, InFlight),
        (Pending, On::Accepted, Delivered),
        (InFlight, On::Claim, InFlight),
        (InFlight, On::GiveBack, Pending),
        (InFlight, On::Accepted, Delivered),
        (InFlight, On::Failed, Pending),
        (InFlight, On::FailedLast, Exhausted),
        (Exhausted, On::Accepted, Delivered),
        (Pending, On::Cancel, Canceled),
        (Blocked, On::Cancel, Canceled),
        (InFlight, On::Cancel, Canceled),
    ];
    check_machine(&DeliveryState::ALL, &EVENTS, &listed, next, |state, event| Refused {
        object: "delivery",
        state: state.as_str(),
        event: event.as_str(),
    });
}

fn answered(status: u16, body: &[u8]) -> TransportOutcome {
    TransportOutcome::Answered(Answered {
        status,
        body: body.to_vec(),
        retry_after: None,
    })
}

#[test]
fn only_a_2xx_is_acceptance_and_it_ends_the_delivery() {
    for status in [200, 202, 204, 299] {
        for attempt in 1..=MAX_ATTEMPTS {
            let expected = Attempted {
                event: DeliveryEvent::Accepted,
                next: None,
                outcome: "delivered",
                status: Some(status),
                detail: None,
            };
            assert_eq!(weigh(attempt, &answered(status, b""), at(0)), expected, "{status}");
        }
    }
}

#[test]
fn everything_else_is_tried_again_on_the_schedule_and_after_the_fifth_time_never() {
    let failed = TransportOutcome::Failed {
        why: "connection refused".to_owned(),
    };
    let mut outcomes: Vec<(TransportOutcome, &str, Option<u16>)> = vec![(failed, "failed", None)];
    for status in [199, 300, 301, 404, 410, 429, 500] {
        outcomes.push((answered(status, b""), "refused", Some(status)));
    }
    for (outcome, word, status) in outcomes {
        for (attempt, gap) in [
            (1, Some(60)),
            (2, Some(300)),
            (3, Some(1_800)),
            (4, Some(7_200)),
            (5, None),
            (6, None),
        ] {
            let found = weigh(attempt, &outcome, at(1_000));
            let event = match gap {
                Some(_) => DeliveryEvent::Failed,
                None => DeliveryEvent::FailedLast,
            };
            let next = gap.map(|gap| at(1_000 + gap));
            assert_eq!(
                (found.event, found.next),
                (event, next),
                "attempt {attempt}: {outcome:?}"
            );
            assert_eq!((found.outcome, found.status), (word, status));
        }
    }
}

#[test]
fn the_start_of_a_reply_is_kept_without_card_numbers() {
    let card = "4242424242424242";
    let check = |body: &str, expected: Option<String>| {
        let found = weigh(1, &answered(500, body.as_bytes()), at(0));
        assert_eq!(found.detail, expected, "{body:?}");
    };
    check("", None);
    check("oops\n", Some("oops ".to_owned()));
    check(&"x".repeat(5_000), Some("x".repeat(1_024)));
    check(&format!("no {card}!"), Some(format!("no {}!", "*".repeat(16))));
    let cut = "x".repeat(1_014);
    check(&format!("{cut}{card}"), Some(format!("{cut}{}", "*".repeat(10))));
    let found = weigh(1, &answered(500, &[0xff, b'a', 0]), at(0));
    assert_eq!(found.detail.as_deref(), Some("\u{fffd}a "));
    let failed = TransportOutcome::Failed {
        why: format!("{card} {}", "x".repeat(1_000)),
    };
    let detail = weigh(1, &failed, at(0)).detail.unwrap();
    assert_eq!(detail, format!("{} {}", "*".repeat(16), "x".repeat(483)));
}

#[test]
fn a_claim_that_dies_is_due_again_within_two_minutes_and_one_that_lives_keeps_its_lease() {
    assert!(LEASE <= Duration::from_secs(120));
    assert!(TIMEOUT + MARGIN < LEASE);
    assert_eq!(GAPS.len() + 1, MAX_ATTEMPTS as usize);
}
