use super::*;
use crate::samples::check_machine;

#[test]
fn every_event_in_every_state_moves_as_listed_or_is_refused() {
    use EndpointEvent as On;
    use EndpointState::{Deleted, Disabled, Enabled, Suspended};
    let listed = [
        (Enabled, On::Disable, Disabled),
        (Enabled, On::Enable, Enabled),
        (Enabled, On::Delete, Deleted),
        (Disabled, On::Disable, Disabled),
        (Disabled, On::Enable, Enabled),
        (Disabled, On::Delete, Deleted),
        (Suspended, On::Disable, Disabled),
        (Suspended, On::Enable, Enabled),
        (Suspended, On::Delete, Deleted),
        (Deleted, On::Delete, Deleted),
    ];
    let events = [On::Disable, On::Enable, On::Delete];
    check_machine(&EndpointState::ALL, &events, &listed, next, |state, event| Refused {
        object: "webhook endpoint",
        state: state.as_str(),
        event: event.as_str(),
    });
}
