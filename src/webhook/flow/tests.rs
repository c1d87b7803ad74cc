use super::*;
use crate::hook::{Answered, TransportOutcome};
use crate::samples::at;
use crate::webhook::weigh;

const QUICK: Duration = Duration::ZERO;

fn answered(attempt: u32, status: u16, ended: i64) -> Attempted {
    let outcome = TransportOutcome::Answered(Answered::status(status));
    weigh(attempt, &outcome, at(ended), 0)
}

#[test]
fn an_endpoint_that_has_too_much_to_do_gets_half_and_one_more_for_each_acceptance() {
    let mut flow = Flow::default();
    let mut caps = Vec::new();
    // What it refuses for another reason says nothing about how much it can do.
    for status in [
        500, 404, 503, 500, 599, 500, 204, 200, 204, 502, 200, 200, 200, 200, 200, 200,
    ] {
        flow = flow.after(&answered(1, status, 10), 6, QUICK, at(10));
        caps.push(flow.cap(6));
    }
    assert_eq!(caps, [3, 3, 1, 1, 1, 1, 2, 3, 4, 2, 3, 4, 5, 6, 6, 6]);
    assert_eq!(flow, Flow::default(), "nothing is left of it");
    let silent = TransportOutcome::Failed {
        why: "a timeout".to_owned(),
    };
    let flow = Flow::default().after(&weigh(1, &silent, at(10), 0), 64, QUICK, at(10));
    assert_eq!(flow.cap(64), 32);
    // Where it allows fewer since, that holds.
    assert_eq!(flow.cap(8), 8);
    let one = Flow::default().after(&answered(1, 500, 10), 1, QUICK, at(10));
    assert_eq!((one.in_flight, one.cap(1)), (Some(1).filter(|cap| *cap < 1), 1));
}

#[test]
fn what_failed_is_counted_from_the_first_failure_until_an_acceptance() {
    let flow = Flow::default()
        .after(&answered(1, 404, 100), 4, QUICK, at(100))
        .after(&answered(5, 404, 200), 4, QUICK, at(200))
        .after(&answered(2, 404, 300), 4, QUICK, at(300));
    assert_eq!(
        (flow.failing_since, flow.failures, flow.exhausted),
        (Some(at(100)), 3, 1)
    );
    let hour = Duration::from_secs(3_600);
    assert!(!flow.has_failed_for(hour, at(100 + 3_599)));
    assert!(flow.has_failed_for(hour, at(100 + 3_600)));
    assert!(
        !flow.has_failed_for(hour, at(0)),
        "a clock that was set back makes nothing longer"
    );
    let none_exhausted = Flow { exhausted: 0, ..flow };
    assert!(!none_exhausted.has_failed_for(hour, at(9_999_999)));
    assert!(!flow.forgiven().has_failed_for(hour, at(9_999_999)));
    assert_eq!(flow.after(&answered(1, 204, 400), 4, QUICK, at(400)), Flow::default());
}

#[test]
fn a_pause_and_a_gap_hold_until_their_time_and_a_clock_that_was_ahead_holds_nothing_up() {
    let gap = Duration::from_secs(10);
    let flow = |paused, next| Flow {
        paused_until: paused,
        next_at: next,
        ..Flow::default()
    };
    let now = at(100_000);
    let opens = |flow: Flow| flow.opens_at(gap, now);
    assert_eq!(opens(flow(None, None)), Timestamp::MIN);
    assert_eq!(opens(flow(Some(at(100_060)), Some(at(100_005)))), at(100_060));
    assert_eq!(opens(flow(Some(at(90_000)), Some(at(100_010)))), at(100_010));
    assert_eq!(opens(flow(None, Some(at(100_011)))), Timestamp::MIN);
    assert_eq!(opens(flow(Some(at(114_400)), None)), at(114_400));
    assert_eq!(opens(flow(Some(at(114_401)), None)), Timestamp::MIN);
    assert_eq!(
        flow(None, Some(at(100_005))).opens_at(Duration::ZERO, now),
        Timestamp::MIN
    );
    // A pause lasts although something else is accepted meanwhile.
    let paused = flow(Some(at(100_060)), None);
    assert_eq!(paused.after(&answered(1, 204, 100_000), 4, QUICK, now), paused);
    assert_eq!(
        paused.after(&answered(1, 204, 100_060), 4, QUICK, at(100_060)),
        Flow::default()
    );
    // One that was asked for while the clock was ahead does not hide the one that is asked for now.
    let asks = TransportOutcome::Answered(Answered::status(429).retry_after("30"));
    let after = flow(Some(at(900_000)), None).after(&weigh(1, &asks, now, 0), 4, QUICK, now);
    assert_eq!(after.paused_until, Some(at(100_030)));
}

#[test]
fn an_endpoint_that_keeps_its_senders_waiting_for_nothing_is_left_alone_for_longer_each_time() {
    let (timeout, ended) = (Duration::from_secs(30), at(100_000));
    let silent = TransportOutcome::Failed {
        why: "a timeout".to_owned(),
    };
    let silence = weigh(1, &silent, ended, 0);
    let mut flow = Flow::default();
    let mut rests = Vec::new();
    for _ in 0..12 {
        flow = flow.after(&silence, 4, timeout, ended);
        rests.push(flow.paused_until.unwrap().since(ended).as_secs());
    }
    assert_eq!(rests, [30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 300, 300]);
    // Who fails at once, or says no, costs nobody any time.
    assert_eq!(Flow::default().after(&silence, 4, SLOW, ended).paused_until, None);
    let refusal = answered(1, 500, 100_000);
    assert_eq!(Flow::default().after(&refusal, 4, timeout, ended).paused_until, None);
    // What was never heard of says nothing of an endpoint.
    assert_eq!(
        Flow::default().after(&Attempted::lost(), 4, timeout, ended),
        Flow::default()
    );
}
