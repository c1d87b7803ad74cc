use super::*;
use crate::id::Mode;
use crate::samples::{at, id};
use crate::store::tests::in_memory;

/// How a statement finds its rows.
pub(in crate::store) fn plan(statement: &str, values: &[Value<'_>]) -> Vec<String> {
    let store = in_memory(at(0));
    let mut all = vec![Value::Int(1), Value::Int(mode_number(Mode::Test))];
    all.extend_from_slice(values);
    let mut steps = Vec::new();
    let mut keep = |row: &dyn Row| -> Result<()> {
        steps.push(row.text(3)?);
        Ok(())
    };
    let explained = format!("EXPLAIN QUERY PLAN {statement}");
    store.read(|sql| sql.each(&explained, &all, &mut keep)).unwrap();
    steps
}

#[test]
fn every_listing_of_deliveries_is_found_by_an_index() {
    let (endpoint, event) = (id(1), id(2));
    let before: DeliveryId = id(3);
    let filters = [
        DeliveryFilter::all(),
        DeliveryFilter::all().endpoint(&endpoint),
        DeliveryFilter::all().event(&event),
        DeliveryFilter::all().event(&event).endpoint(&endpoint),
    ];
    let states = DeliveryState::ALL.map(Some).into_iter().chain([None]);
    for state in states {
        for filter in &filters {
            let mut filter = filter.clone();
            filter.state = state;
            for before in [None, Some(before.as_str())] {
                let (rest, values) = listing(&filter, before, 10);
                let steps = plan(&format!("{COLUMNS} {rest}"), &values);
                assert!(
                    !steps.iter().any(|step| step.starts_with("SCAN")),
                    "{filter:?}: {steps:?}"
                );
                let index = match (&filter.event, &filter.endpoint, filter.state) {
                    (Some(_), ..) => "b USING INDEX sqlite_autoindex_tillite_delivery_2 (app=? AND mode=? AND event=?",
                    (_, Some(_), Some(DeliveryState::Pending | DeliveryState::InFlight)) => {
                        "b USING COVERING INDEX tillite_delivery_due (app=? AND mode=? AND endpoint=? AND state=?"
                    }
                    (.., Some(DeliveryState::Pending | DeliveryState::InFlight)) => {
                        "b USING COVERING INDEX tillite_delivery_due (app=? AND mode=?"
                    }
                    (.., Some(DeliveryState::Blocked | DeliveryState::Exhausted | DeliveryState::Canceled)) => {
                        "b USING COVERING INDEX tillite_delivery_held_up (app=? AND mode=? AND state=?"
                    }
                    (_, Some(_), _) => "a USING COVERING INDEX tillite_delivery_of (app=? AND mode=? AND endpoint=?",
                    _ => "a USING PRIMARY KEY (app=? AND mode=?",
                };
                assert!(steps.iter().any(|step| step.contains(index)), "{filter:?}: {steps:?}");
                let is_among = index.starts_with('b');
                let by_id = steps
                    .iter()
                    .any(|step| step.contains("a USING PRIMARY KEY (app=? AND mode=? AND id=?)"));
                assert_eq!(by_id, is_among, "{filter:?}: {steps:?}");
            }
        }
    }
}

#[test]
fn what_waits_for_an_endpoint_is_found_by_an_index() {
    let select = "SELECT id FROM tillite_delivery WHERE app = $1 AND mode = $2 AND";
    let due = plan(&format!("{select} {DUE}"), &[1i64.into(), 1i64.into()]);
    assert!(
        due[0].contains("tillite_delivery_due (app=? AND mode=? AND endpoint=? AND state=?"),
        "{due:?}"
    );
    let in_lanes = plan(
        &format!("{select} {IN_LANES}"),
        &[1i64.into(), i64::MIN.into(), 1i64.into()],
    );
    assert!(
        in_lanes[0].contains("tillite_delivery_lane (app=? AND mode=? AND endpoint=?"),
        "{in_lanes:?}"
    );
}
