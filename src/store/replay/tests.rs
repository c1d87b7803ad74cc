use super::*;
use crate::store::delivery::tests::plan;

#[test]
fn what_a_replay_looks_at_is_found_by_an_index() {
    let running = plan(
        &format!("SELECT id FROM tillite_replay WHERE app = $1 AND mode = $2 {RUNNING}"),
        &[],
    );
    assert!(running[0].contains("tillite_replay_running"), "{running:?}");
    let exhausted = plan(
        &format!("{EXHAUSTED} {IN_RANGE}"),
        &[1i64.into(), 1i64.into(), 9i64.into(), 5i64.into()],
    );
    assert!(
        exhausted[0].contains("tillite_delivery_exhausted (app=? AND mode=? AND endpoint=? AND event>?"),
        "{exhausted:?}"
    );
    let past = plan(&format!("{PAST} {OF_ONE}"), &[1i64.into(), 1i64.into()]);
    assert!(
        past[0].contains("(app=? AND mode=? AND event=? AND endpoint=?"),
        "{past:?}"
    );
}
