//! Whatever happens in whatever order, the queue keeps its promises: random claims, answers, deaths and
//! clocks that jump, held against the rows before and after.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use tillite::webhook::{DeliveryFilter, DeliveryOrder, DeliveryState, Format, NewEndpoint};
use tillite::{Answered, ClaimedDelivery, Clock as _, Delivery, DeliveryId, NewCustomer, TransportOutcome, Work};

use crate::kit::Shop;

#[derive(Clone, Debug)]
enum Step {
    /// Something happens to one of three objects.
    Happens(u8),
    /// Up to so many are claimed.
    Claim(usize),
    /// One of those that are held is answered so.
    Answer(usize, u16, Option<u32>),
    /// One of those that are held is answered, and held on: what is said once more is late.
    Late(usize, u16),
    /// Who holds one dies.
    Die(usize),
    Wait(u32),
    JumpAhead,
    JumpBack,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let code = prop::sample::select(vec![204, 204, 204, 404, 429, 500, 503]);
    let step = prop_oneof![
        6 => (0..3_u8).prop_map(Step::Happens),
        6 => (1..6_usize).prop_map(Step::Claim),
        8 => (any::<usize>(), code.clone(), prop::option::of(0..20_000_u32))
            .prop_map(|(which, code, after)| Step::Answer(which, code, after)),
        2 => (any::<usize>(), code).prop_map(|(which, code)| Step::Late(which, code)),
        2 => any::<usize>().prop_map(Step::Die),
        4 => prop::sample::select(vec![0, 1, 59, 60, 66, 90, 300, 330, 1_800, 1_980, 7_200, 7_920]).prop_map(Step::Wait),
        1 => Just(Step::JumpAhead),
        1 => Just(Step::JumpBack),
    ];
    prop::collection::vec(step, 1..60)
}

struct Model {
    shop: Shop,
    order: DeliveryOrder,
    cap: usize,
    held: Vec<ClaimedDelivery>,
    /// The position of the newest event that was accepted in time, by object.
    accepted: BTreeMap<String, i64>,
}

const GAPS: [u64; 4] = [60, 300, 1_800, 7_200];

impl Model {
    fn new(order: DeliveryOrder, cap: usize) -> Model {
        let shop = Shop::open();
        let new = NewEndpoint::new("https://shop.example/hook", Format::Standard)
            .events(["customer.created", "customer.updated"])
            .ordering(order)
            .max_in_flight(u32::try_from(cap).unwrap());
        shop.app.endpoints().add(new).unwrap();
        Model {
            shop,
            order,
            cap,
            held: Vec::new(),
            accepted: BTreeMap::new(),
        }
    }

    fn rows(&self) -> BTreeMap<DeliveryId, Delivery> {
        let page = self
            .shop
            .app
            .deliveries()
            .list(&DeliveryFilter::all(), 100, None)
            .unwrap();
        page.data.into_iter().map(|row| (row.id.clone(), row)).collect()
    }

    /// Position and object of a delivery's event.
    fn event(&self, delivery: &Delivery) -> (i64, String) {
        let events = self.shop.app.events(100, 0).unwrap().data;
        let event = events.into_iter().find(|event| event.id == delivery.event).unwrap();
        (event.position, event.object_id)
    }

    /// Those whose lease is neither over nor of a clock that was ahead.
    fn on_their_way(&self) -> Vec<Delivery> {
        let now = self.shop.clock.now();
        let holds = |row: &Delivery| {
            let holds = |lease| lease > now && lease <= now.plus(Duration::from_secs(180));
            row.state == DeliveryState::InFlight && row.due_at.is_some_and(holds)
        };
        self.rows().into_values().filter(holds).collect()
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Happens(object) => {
                let count = self.shop.app.events(100, 0).unwrap().data.len();
                let customer = NewCustomer::uid(format!("u{object}")).name(format!("{count}"));
                self.shop.app.customers().set(customer).unwrap();
            }
            Step::Claim(limit) => self.claim(*limit),
            Step::Answer(which, code, after) => {
                if !self.held.is_empty() {
                    let held = self.held.remove(which % self.held.len());
                    self.answer(&held, *code, *after);
                }
            }
            Step::Late(which, code) => {
                if !self.held.is_empty() {
                    let held = self.held[which % self.held.len()].clone();
                    self.answer(&held, *code, None);
                }
            }
            Step::Die(which) => {
                if !self.held.is_empty() {
                    self.held.remove(which % self.held.len());
                }
            }
            Step::Wait(seconds) => self.shop.clock.turn(Duration::from_secs(u64::from(*seconds))),
            Step::JumpAhead => self.shop.clock.turn(Duration::from_secs(3_600)),
            Step::JumpBack => self.shop.clock.turn_back(Duration::from_secs(3_600)),
        }
        for row in self.rows().values() {
            assert!(row.attempts <= 5, "{row:?}");
        }
    }

    fn claim(&mut self, limit: usize) {
        let before = self.rows();
        let is_due = self.shop.engine.wait_due_for(Work::DELIVERIES, Duration::ZERO).unwrap();
        let claimed = self.shop.engine.claim_deliveries(limit).unwrap();
        assert!(claimed.len() <= limit);
        let after = self.rows();
        // What a waiter is told of can be taken, or closed; and the other way round.
        let moved = before != after;
        assert_eq!(is_due, moved, "{before:#?}");
        let on_their_way = self.on_their_way();
        assert!(on_their_way.len() <= self.cap);
        if self.order != DeliveryOrder::None {
            let mut objects: Vec<String> = on_their_way.iter().map(|row| self.event(row).1).collect();
            objects.sort_unstable();
            objects.dedup();
            assert_eq!(objects.len(), on_their_way.len(), "two about one object");
        }
        for (id, row) in &before {
            let is_claimed = claimed.iter().any(|claimed| claimed.id == *id);
            let now = &after[id];
            match (row.state, now.state) {
                _ if is_claimed => assert_eq!((now.state, now.attempts), (DeliveryState::InFlight, row.attempts + 1)),
                (DeliveryState::InFlight, DeliveryState::Exhausted) => assert_eq!(now.attempts, 5),
                (DeliveryState::Blocked, DeliveryState::Pending) => {}
                _ => assert_eq!(row, now),
            }
        }
        self.held.extend(claimed);
    }

    fn answer(&mut self, held: &ClaimedDelivery, code: u16, after: Option<u32>) {
        let before = self.rows();
        let mut answer = Answered::status(code);
        if let Some(seconds) = after {
            answer = answer.retry_after(seconds.to_string());
        }
        let counted = self
            .shop
            .engine
            .acknowledge(held, &TransportOutcome::Answered(answer))
            .unwrap();
        let now = self.shop.clock.now();
        let after_it = self.rows();
        let (was, is) = (&before[&held.id], &after_it[&held.id]);
        if !counted {
            assert_eq!(before, after_it, "what comes too late moves nothing");
            return;
        }
        if code == 204 {
            assert_eq!(is.state, DeliveryState::Delivered);
        } else if is.state == DeliveryState::Pending {
            let gap = Duration::from_secs(GAPS[held.attempt as usize - 1]);
            let wait = is.due_at.unwrap().since(now);
            let asked = Duration::from_secs(u64::from(after.unwrap_or(0))).min(gap * 2);
            assert!(
                wait >= gap.max(asked) && wait <= (gap + gap / 10).max(asked),
                "{wait:?} of {gap:?}"
            );
        } else {
            assert_eq!((is.state, held.attempt), (DeliveryState::Exhausted, 5));
        }
        // No other row has changed, but for the next of its lane.
        let object = self.event(was).1;
        let mut promoted = 0;
        for (id, row) in before.iter().filter(|(id, _)| **id != held.id) {
            let now = &after_it[id];
            if row != now {
                assert_eq!((row.state, now.state), (DeliveryState::Blocked, DeliveryState::Pending));
                assert_eq!(self.event(row).1, object);
                promoted += 1;
            }
        }
        assert!(promoted <= 1);
        if code == 204 && was.state != DeliveryState::Exhausted && self.order == DeliveryOrder::Strict {
            let position = self.event(was).0;
            let newest = self.accepted.insert(object, position);
            assert!(newest < Some(position), "accepted behind {newest:?}: {position}");
        }
    }

    /// Everything that is left is delivered, or was given up.
    fn end(mut self) {
        for held in std::mem::take(&mut self.held) {
            self.answer(&held, 204, None);
        }
        for _ in 0..200 {
            for held in self.shop.engine.claim_deliveries(100).unwrap() {
                self.answer(&held, 204, None);
            }
            self.shop.clock.turn(Duration::from_secs(600));
        }
        for row in self.rows().values() {
            assert!(
                matches!(row.state, DeliveryState::Delivered | DeliveryState::Exhausted),
                "{row:?}"
            );
        }
        self.shop.clean();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_happens_the_queue_keeps_order_caps_and_schedule_and_everything_ends(
        order in prop::sample::select(vec![DeliveryOrder::None, DeliveryOrder::Soft, DeliveryOrder::Strict]),
        cap in 1..5_usize,
        steps in steps(),
    ) {
        let mut model = Model::new(order, cap);
        for step in &steps {
            model.step(step);
        }
        model.shop.clean();
        model.end();
    }
}
