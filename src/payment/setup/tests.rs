use super::state::next;
use super::*;
use crate::samples::check_machine;

#[test]
fn every_event_in_every_state_moves_as_listed_or_is_refused() {
    use News as On;
    use SetupState::{Canceled, Failed, Initiated, Pending, RequiresAction, Succeeded, Unknown};
    let mut listed = vec![
        (Initiated, On::LeaseEnded, Unknown),
        (Initiated, On::Unclear, Unknown),
        (Initiated, On::Pending, Pending),
        (Unknown, On::Pending, Pending),
        (RequiresAction, On::Pending, Pending),
        (Initiated, On::ActionRequired, RequiresAction),
        (Unknown, On::ActionRequired, RequiresAction),
        (Failed, On::Succeeded, Succeeded),
        (Canceled, On::Succeeded, Succeeded),
    ];
    for live in [Initiated, Unknown, Pending, RequiresAction] {
        listed.extend([
            (live, On::Mismatched, Unknown),
            (live, On::Succeeded, Succeeded),
            (live, On::Failed, Failed),
            (live, On::Canceled, Canceled),
        ]);
    }
    check_machine(&SetupState::ALL, &News::ALL, &listed, next, |state, news| Refused {
        object: "setup",
        state: state.as_str(),
        event: news.as_str(),
    });
}
