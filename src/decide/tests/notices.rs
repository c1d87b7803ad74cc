use super::HOST_AHEAD;
use super::methods::attempt;
use crate::decide::notices::{Turn, after, is_of_followup, turn};
use crate::decide::settlement::Booked;
use crate::hook::{DisputeState, NoticeKind, Outcome};
use crate::payment::{Attempt, Await, Notification, NotificationKind, NotificationState};
use crate::samples::{at, eur, id};
use crate::time::Timestamp;

const DAY: i64 = 86_400;

/// A host time so many seconds after the notice came.
fn host(seconds: i64) -> Timestamp {
    at(HOST_AHEAD + seconds)
}

fn notice(tries: u32) -> Notification {
    Notification {
        id: id(17),
        processor: "main".to_owned(),
        key: "n_1".to_owned(),
        kind: NotificationKind::Evidence,
        attempt: None,
        reference: Some("pi_1".to_owned()),
        state: NotificationState::Waiting,
        why: None,
        matched: None,
        received_at: host(0),
        due_at: Some(host(0)),
        tries,
        in_doubt: false,
    }
}

fn waiting(next: Option<(Await, i64)>) -> Attempt {
    Attempt {
        next: next.map(|(awaited, seconds)| (awaited, host(seconds))),
        ..attempt()
    }
}

#[test]
fn a_notice_about_nothing_is_parked_ever_longer_and_given_up_after_three_days() {
    let parked = |tries, now| turn(&notice(tries), None, None, host(now));
    assert_eq!(parked(0, 5), Turn::Park(host(15)));
    assert_eq!(parked(1, 5), Turn::Park(host(65)));
    assert_eq!(parked(99, 5), Turn::Park(host(5 + 6 * 3_600)));
    assert_eq!(
        parked(99, 3 * DAY - 1),
        Turn::Park(host(3 * DAY - 1 + 6 * 3_600)),
        "whatever it waits for"
    );
    assert_eq!(parked(0, 3 * DAY), Turn::GiveUp);
}

#[test]
fn a_notice_waits_for_the_answer_of_a_call_in_flight_and_for_nothing_else() {
    let turn_of = |next| turn(&notice(0), Some(&waiting(next)), None, host(5));
    assert_eq!(turn_of(Some((Await::Answer, 40))), Turn::Wait(host(40)));
    for next in [
        None,
        Some((Await::Answer, 5)),
        Some((Await::Call, 40)),
        Some((Await::Lookup, 40)),
        Some((Await::Cancel, 40)),
    ] {
        assert_eq!(turn_of(next), Turn::Apply, "{next:?}");
    }
    // However long it has waited: what it is about is known.
    let late = turn(&notice(9), Some(&waiting(None)), None, host(9 * DAY));
    assert_eq!(late, Turn::Apply);
}

#[test]
fn a_notice_waits_for_the_one_before_it_and_never_for_a_time_that_is_over() {
    let turn_after = |after| turn(&notice(0), Some(&waiting(None)), Some(host(after)), host(100));
    assert_eq!(turn_after(400), Turn::Wait(host(400)));
    assert_eq!(turn_after(100), Turn::Wait(host(110)));
    assert_eq!(turn_after(-400), Turn::Wait(host(110)));
}

#[test]
fn what_cannot_be_told_yet_is_tried_for_three_days_and_then_held() {
    let (why, wrong) = ("a refund is in doubt", "too much");
    let after = |booked, now| after(&booked, &notice(1), host(now));
    assert_eq!(after(Booked::Done, 9 * DAY), (Turn::Apply, None));
    assert_eq!(after(Booked::Ours(id(9)), 5), (Turn::Apply, None));
    assert_eq!(after(Booked::Later(why), 5), (Turn::Wait(host(65)), Some(why)));
    assert_eq!(after(Booked::Later(why), 3 * DAY), (Turn::HoldInDoubt, Some(why)));
    assert_eq!(after(Booked::Held(wrong), 0), (Turn::Hold, Some(wrong)));
}

#[test]
fn what_can_be_the_outcome_of_a_capture_is_about_it() {
    let why = String::new;
    let about_it = [
        NoticeKind::Changed,
        NoticeKind::Evidence(Outcome::succeeded("pi_1", eur(999))),
        NoticeKind::Evidence(Outcome::Canceled { why: why() }),
    ];
    let others = [
        NoticeKind::Evidence(Outcome::Pending { reference: why() }),
        NoticeKind::Evidence(Outcome::Unknown { why: why() }),
        NoticeKind::ExternalRefund {
            reference: why(),
            amount: eur(1),
            reason: None,
        },
        NoticeKind::Dispute {
            reference: why(),
            state: DisputeState::Lost,
            amount: eur(1),
            reason: None,
        },
        NoticeKind::Ignored,
    ];
    assert!(about_it.iter().all(is_of_followup));
    assert!(!others.iter().any(is_of_followup));
}
