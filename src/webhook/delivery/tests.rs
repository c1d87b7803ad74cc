use proptest::prelude::*;

use super::*;
use crate::samples::{at, check_machine};

const EVENTS: [DeliveryEvent; 7] = [
    DeliveryEvent::Claim,
    DeliveryEvent::GiveBack,
    DeliveryEvent::Accepted,
    DeliveryEvent::Failed,
    DeliveryEvent::FailedLast,
    DeliveryEvent::Cancel,
    DeliveryEvent::Promoted,
];

#[test]
fn every_event_in_every_state_moves_as_listed_or_is_refused() {
    use DeliveryEvent as On;
    use DeliveryState::{Blocked, Canceled, Delivered, Exhausted, InFlight, Pending};
    let listed = [
        (Blocked, On::Promoted, Pending),
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
                is_its_doing: true,
                event: DeliveryEvent::Accepted,
                next: None,
                outcome: "delivered",
                status: Some(status),
                detail: None,
                is_overloaded: false,
                pause_until: None,
            };
            assert_eq!(weigh(attempt, &answered(status, b""), at(0), 7), expected, "{status}");
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
            let found = weigh(attempt, &outcome, at(1_000), 0);
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
            let is_overloaded = matches!(status, None | Some(500));
            assert_eq!((found.is_overloaded, found.pause_until), (is_overloaded, None));
        }
    }
}

#[test]
fn the_start_of_a_reply_is_kept_without_card_numbers() {
    let card = "4242424242424242";
    let check = |body: &str, expected: Option<String>| {
        let found = weigh(1, &answered(500, body.as_bytes()), at(0), 0);
        assert_eq!(found.detail, expected, "{body:?}");
    };
    check("", None);
    check("oops\n", Some("oops ".to_owned()));
    check(&"x".repeat(5_000), Some("x".repeat(1_024)));
    check(&format!("no {card}!"), Some(format!("no {}!", "*".repeat(16))));
    let cut = "x".repeat(1_014);
    check(&format!("{cut}{card}"), Some(format!("{cut}{}", "*".repeat(10))));
    // The transport has cut it, so that what the card ends with is nowhere.
    for digits in 1..16 {
        let body = "x".repeat(Answered::MAX_BODY - digits);
        check(
            &format!("{body}{}", &card[..digits]),
            Some(format!("{body}{}", "*".repeat(digits))),
        );
    }
    let found = weigh(1, &answered(500, &[0xff, b'a', 0]), at(0), 0);
    assert_eq!(found.detail.as_deref(), Some("\u{fffd}a "));
    let failed = TransportOutcome::Failed {
        why: format!("{card} {}", "x".repeat(1_000)),
    };
    let detail = weigh(1, &failed, at(0), 0).detail.unwrap();
    assert_eq!(detail, format!("{} {}", "*".repeat(16), "x".repeat(483)));
}

/// How long after its end an attempt that was answered so is followed by the next, and for how long the
/// endpoint is left alone, in milliseconds.
fn waits(attempt: u32, status: u16, retry_after: &str, chance: u64) -> (Option<u128>, Option<u128>) {
    let now = Timestamp::from_millis(784_111_777_000).unwrap();
    let outcome = TransportOutcome::Answered(Answered::status(status).retry_after(retry_after));
    let found = weigh(attempt, &outcome, now, chance);
    let wait = |at: Timestamp| at.since(now).as_millis();
    (found.next.map(wait), found.pause_until.map(wait))
}

proptest! {
    #[test]
    fn the_next_attempt_is_never_sooner_than_its_gap_and_at_most_a_tenth_later_unless_more_is_asked_for(
        attempt in 1..=4_u32,
        status in prop::sample::select(vec![404, 429, 500, 503]),
        asked in prop::option::of(0..40_000_u64),
        chance in any::<u64>(),
    ) {
        let gap = GAPS[attempt as usize - 1].as_millis();
        let text = asked.map_or_else(|| "soon".to_owned(), |asked| asked.to_string());
        let (next, pause) = waits(attempt, status, &text, chance);
        let asked = u128::from(asked.unwrap_or(0)) * 1_000;
        let next = next.unwrap();
        prop_assert!(next >= gap.max(asked.min(2 * gap)));
        prop_assert!(next <= (gap + gap / 10).max(asked.min(2 * gap)));
        let pauses = asked > 0 && (status == 429 || status == 503);
        prop_assert_eq!(pause, pauses.then_some(asked.min(2 * gap)));
    }
}

#[test]
fn what_failed_together_is_spread_over_a_tenth_of_the_gap() {
    let of = |chance| waits(1, 500, "", chance).0.unwrap();
    assert_eq!([of(0), of(500), of(1_000), of(1_001)], [60_000, 63_000, 66_000, 60_000]);
}

#[test]
fn a_receiver_may_ask_for_up_to_twice_the_gap_in_seconds_or_by_a_date_of_any_form() {
    // A hundred seconds after the moment of the attempt.
    let dates = [
        "100",
        "Sun, 06 Nov 1994 08:51:17 GMT",
        "Sunday, 06-Nov-94 08:51:17 GMT",
        "Sun Nov  6 08:51:17 1994",
        " 100\t",
    ];
    for asked in dates {
        assert_eq!(waits(1, 429, asked, 0), (Some(100_000), Some(100_000)), "{asked:?}");
        assert_eq!(waits(1, 500, asked, 0), (Some(100_000), None), "{asked:?}");
    }
    for too_long in ["121", "99999999999999999999999999", "Fri, 31 Dec 9999 23:59:59 GMT"] {
        assert_eq!(
            waits(1, 503, too_long, 0),
            (Some(120_000), Some(120_000)),
            "{too_long:?}"
        );
    }
    let nothing = [
        "",
        "-1",
        "1.5",
        "soon",
        "0",
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "Sun, 06 Nov 1994 08:51:17 CET",
        "1994-11-06T08:51:17Z",
        "\u{663}0",
        "Mon, 31 Feb 2000 00:00:00 GMT",
    ];
    for asked in nothing {
        assert_eq!(waits(1, 429, asked, 0), (Some(60_000), None), "{asked:?}");
    }
    // The last attempt is followed by none, and the endpoint is left alone all the same.
    assert_eq!(waits(5, 429, "999999", 0), (None, Some(14_400_000)));
}

#[test]
fn a_claim_that_dies_is_due_again_within_two_minutes_and_one_that_lives_keeps_its_lease() {
    assert!(LEASE <= Duration::from_secs(120));
    assert!(TIMEOUT + MARGIN < LEASE);
    assert_eq!(GAPS.len() + 1, MAX_ATTEMPTS as usize);
}

#[test]
fn what_counts_as_put_off_by_a_clock_that_was_ahead_is_further_ahead_than_any_delivery_is_put_off() {
    let ended = at(1_000_000);
    for attempt in 1..=MAX_ATTEMPTS {
        for chance in [0, 1_000] {
            let asks = TransportOutcome::Answered(Answered::status(503).retry_after("9999999"));
            let attempted = weigh(attempt, &asks, ended, chance);
            let furthest = ended.plus(furthest_due(attempt));
            assert!(attempted.next.is_none_or(|next| next <= furthest));
            assert!(attempted.pause_until.unwrap() <= ended.plus(LONGEST_PAUSE));
            assert!(furthest <= ended.plus(FURTHEST_DUE));
        }
    }
    assert!((0..MAX_ATTEMPTS).all(|attempts| AFTER_PANIC <= furthest_due(attempts)));
}
