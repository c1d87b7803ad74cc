use proptest::prelude::*;

use super::*;

/// A receiver's memory, and what it was asked.
#[derive(Default)]
struct Memory {
    seen: std::collections::BTreeSet<String>,
    newest: std::collections::BTreeMap<String, i64>,
    broken: bool,
}

impl InboxStore for Memory {
    type Error = &'static str;

    fn seen(&mut self, event_id: &str) -> Result<bool, Self::Error> {
        Ok(!self.seen.insert(event_id.to_owned()))
    }

    fn newest(&mut self, object_id: &str, sequence: i64) -> Result<bool, Self::Error> {
        if self.broken {
            return Err("the disk is full");
        }
        let newer = self.newest.get(object_id).is_none_or(|kept| *kept < sequence);
        if newer {
            self.newest.insert(object_id.to_owned(), sequence);
        }
        Ok(newer)
    }
}

#[test]
fn an_inbox_tells_what_is_new_from_what_is_late_and_what_was_there() {
    use Arrived::{Late, Newest, Repeated};
    let mut memory = Memory::default();
    let mut inbox = Inbox::new(&mut memory);
    for (arrival, expected) in [
        (Arrival::new("evt_3").about("cs_1", 3), Newest),
        (Arrival::new("evt_3").about("cs_1", 3), Repeated),
        (Arrival::new("evt_1").about("cs_1", 1), Late),
        (Arrival::new("evt_1").about("cs_1", 1), Repeated),
        (Arrival::new("evt_4").about("cs_2", 1), Newest),
        (Arrival::new("evt_5").about("cs_1", 4), Newest),
        // Of two events that claim the same place, the first one stands.
        (Arrival::new("evt_6").about("cs_1", 4), Late),
        (Arrival::new("evt_7"), Newest),
        (Arrival::new("evt_7"), Repeated),
        // A repetition is one whatever it says.
        (Arrival::new("evt_7").about("cs_1", 9), Repeated),
    ] {
        assert_eq!(inbox.take(arrival), Ok(expected), "{arrival:?}");
    }
    assert_eq!(memory.newest["cs_1"], 4);
    let mut inbox = Inbox::new(Memory {
        broken: true,
        ..Memory::default()
    });
    assert_eq!(
        inbox.take(Arrival::new("evt_1").about("cs_1", 1)),
        Err("the disk is full")
    );
    assert!(inbox.into_store().newest.is_empty());
}

proptest! {
    #[test]
    fn in_any_order_and_however_often_each_event_is_taken_once_and_the_newest_state_stays(
        arrivals in proptest::collection::vec((0..3_usize, 1..6_i64), 0..40),
    ) {
        let mut inbox = Inbox::new(Memory::default());
        let mut acted = std::collections::BTreeSet::new();
        let mut state = [0; 3];
        for (object, sequence) in &arrivals {
            let (id, name) = (format!("evt_{object}_{sequence}"), format!("cs_{object}"));
            let arrived = inbox.take(Arrival::new(&id).about(&name, *sequence)).unwrap();
            if arrived != Arrived::Repeated {
                prop_assert!(acted.insert((*object, *sequence)));
            }
            if arrived == Arrived::Newest {
                state[*object] = *sequence;
            }
        }
        prop_assert_eq!(acted, arrivals.iter().copied().collect());
        for (object, state) in state.into_iter().enumerate() {
            let newest = arrivals.iter().filter(|(of, _)| *of == object).map(|(_, sequence)| *sequence).max();
            prop_assert_eq!(state, newest.unwrap_or(0));
        }
    }
}
