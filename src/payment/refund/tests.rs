use super::state::next;
use super::*;
use crate::samples::check_machine;

#[test]
fn every_event_in_every_state_moves_as_listed_or_is_refused() {
    use News as On;
    use RefundState::{Canceled, Failed, Pending, Succeeded, Unknown};
    let listed = [
        (Pending, On::LeaseEnded, Unknown),
        (Pending, On::Unclear, Unknown),
        (Pending, On::Mismatched, Unknown),
        (Pending, On::Succeeded, Succeeded),
        (Pending, On::Failed, Failed),
        (Pending, On::Canceled, Canceled),
        (Unknown, On::Pending, Pending),
        (Unknown, On::ActionRequired, Pending),
        (Unknown, On::Mismatched, Unknown),
        (Unknown, On::Succeeded, Succeeded),
        (Unknown, On::Failed, Failed),
        (Unknown, On::Canceled, Canceled),
        (Succeeded, On::Failed, Failed),
        (Failed, On::Succeeded, Succeeded),
        (Canceled, On::Succeeded, Succeeded),
    ];
    check_machine(&RefundState::ALL, &News::ALL, &listed, next, |state, news| Refused {
        object: "refund",
        state: state.as_str(),
        event: news.as_str(),
    });
}
