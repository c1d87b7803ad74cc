use super::*;
use crate::store::delivery::tests::{Counting, WORLD, numbered};

/// So many deliveries of a state to the first two endpoints, as many replays that are done, and running ones:
/// of the first endpoint, which may be full, and of another one to which nothing was sent.
fn with_replays(count: u32, state: &str) -> Counting {
    let of = Counting::with_deliveries(count, state);
    of.write(
        "INSERT INTO tillite_replay (app, mode, id, endpoint, after_seq, to_seq, which, state, seen_to, made, passed, \
         actor, created_at) SELECT 1, 0, printf('rpl_test_%030d', seq), 1, 0, 2, 'all', 'done', 2, 0, 0, 'host', 0 \
         FROM tillite_event",
    );
    for (number, endpoint) in [(1, 1), (2, 3)] {
        of.write(&format!(
            "UPDATE tillite_replay SET state = 'running', seen_to = 0, endpoint = {endpoint} \
             WHERE id = '{}'",
            numbered::<ReplayId>(number)
        ));
    }
    of
}

#[test]
fn the_next_replay_is_found_at_the_same_cost_however_much_was_sent_and_waits() {
    for (state, is_full) in [
        ("'pending'", true),
        ("'blocked'", true),
        ("'in_flight'", true),
        ("CASE WHEN n % 4 < 2 THEN 'blocked' ELSE 'pending' END", true),
        ("'delivered'", false),
        ("'exhausted'", false),
        ("'canceled'", false),
    ] {
        let [cheap, dear] = [1_500, 9_000].map(|count| {
            let mut of = with_replays(count, state);
            let (steps, next) = of.steps(|sql| next(sql, WORLD));
            assert_eq!(next.unwrap().id, numbered(if is_full { 2 } else { 1 }), "{state}");
            of.write("UPDATE tillite_endpoint SET state = 'suspended'");
            assert_eq!(of.steps(|sql| super::next(sql, WORLD)).1, None);
            steps
        });
        assert!(
            dear <= cheap + cheap / 4,
            "{state}: {cheap} steps, {dear} where there are many"
        );
    }
}

#[test]
fn what_a_replay_looks_at_costs_the_same_however_much_was_sent() {
    let mixed = "CASE n / 2 % 3 WHEN 0 THEN 'pending' WHEN 1 THEN 'delivered' ELSE 'exhausted' END";
    let [cheap, dear] = [600, 6_000].map(|count| {
        let mut of = with_replays(count, mixed);
        let endpoint = endpoint::get(&mut of, WORLD, "we_test_000000000000000000000000000001").unwrap();
        let mut replay = get(&mut of, WORLD, numbered::<ReplayId>(1).as_str()).unwrap();
        (replay.of, replay.position, replay.up_to) = (ReplayOf::Exhausted, 300, i64::from(count));
        let (found, events) = of.steps(|sql| candidates(sql, WORLD, &replay, &endpoint, 10));
        assert_eq!(events.0.len(), 10);
        let (looked, past) = of.steps(|sql| past(sql, WORLD, 300, &endpoint));
        assert_eq!(past.states.len(), 1);
        found + looked
    });
    assert!(dear <= cheap + cheap / 4, "{cheap} steps, {dear} where there are many");
}
