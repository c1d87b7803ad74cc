//! The file checks itself: whatever is changed behind the engine's back breaks a promise, and the
//! report names it.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use tillite::webhook::{Format, NewEndpoint};
use tillite::{
    Amount, Begun, Budget, Currency, DisputeState, Engine, Error, Expect, JournalHead, Mode, NewCustomer, NewGrant,
    NewLine, NewPayment, NewRefund, NewReplay, NewSession, NewSetup, Notice, NoticeKind, Outcome, RefundState,
    SetupState, Work,
};

use crate::file::{Disk, sell, sql};
use crate::kit::{Shop, euro};

/// A file in which every kind of row stands, and its newest position and hash.
fn story() -> (Vec<u8>, JournalHead) {
    let disk = Disk::new();
    let shop = disk.shop();
    shop.endpoint(Format::XPay);
    let more = NewEndpoint::new("https://shop.example/more", Format::Standard).events(["customer.updated"]);
    shop.app.endpoints().add(more).unwrap();
    sell(&shop, "u_paid").unwrap();
    let create = |new: NewSession| shop.app.sessions().create(new).unwrap();
    let pay = |id: &tillite::SessionId| shop.app.sessions().pay(id, "tok").unwrap();
    let free = NewLine::inline("Sticker", Amount::zero(Currency::EUR));
    assert!(pay(&create(NewSession::empty().line(free)).id).is_complete());
    shop.till.answer(Outcome::Declined {
        code: "card_declined".to_owned(),
        message: "No".to_owned(),
        advice: None,
    });
    assert!(!pay(&create(NewSession::tier("member", Currency::EUR)).id).is_complete());
    let pens = create(NewSession::empty().line(NewLine::inline("A pen", euro(1_00)).quantity(3))).id;
    assert!(pay(&pens).is_complete());
    let back = |units| {
        shop.app
            .refunds()
            .create(NewRefund::session(&pens).units(0, units))
            .unwrap()
    };
    assert_eq!(back(1).state, RefundState::Succeeded);
    shop.till.answer(Outcome::Unknown { why: String::new() });
    assert_eq!(back(1).state, RefundState::Unknown);
    shop.engine
        .run_due(Budget::items(100).work(Work::TIME | Work::DELIVERIES))
        .unwrap();
    let paid = shop.till.requests().remove(0);
    let again = shop.till.take_again(&tillite::SessionId::parse(&paid.session).unwrap());
    let again = Outcome::succeeded(again.unwrap().reference, paid.money().unwrap());
    for (id, kind) in [
        ("n_1", NoticeKind::Evidence(again)),
        (
            "n_2",
            NoticeKind::ExternalRefund {
                reference: "there_1".to_owned(),
                amount: euro(1_00),
                reason: None,
            },
        ),
        (
            "n_3",
            NoticeKind::Dispute {
                reference: "dp_1".to_owned(),
                state: DisputeState::Lost,
                amount: euro(1_00),
                reason: None,
            },
        ),
    ] {
        shop.hears(Notice::new(id, kind).attempt(&paid.attempt));
    }
    shop.app
        .entitlements()
        .grant(NewGrant::tier("u_twice", "member").days(1))
        .unwrap();
    shop.app.advance(Duration::from_secs(90 * 86_400)).unwrap();
    shop.engine.run_due(Budget::items(100)).unwrap();
    shop.app
        .entitlements()
        .grant(NewGrant::tier("u_twice", "member"))
        .unwrap();
    shop.app
        .entitlements()
        .grant(NewGrant::tier("u_days", "member").days(10))
        .unwrap();
    create(NewSession::empty().email("open@example.com"));
    let saving = create(NewSession::tier("member", Currency::EUR).customer("u_saved"));
    let payer = saving.customer.clone().unwrap().id;
    let setup = shop
        .app
        .setups()
        .create(NewSetup::new(&payer, Currency::EUR).method("tok"))
        .unwrap();
    assert_eq!(setup.state, SetupState::Succeeded);
    let payment = NewPayment::with("tok").save_method(true);
    assert!(shop.app.sessions().pay(&saving.id, payment).unwrap().is_complete());
    let flying = create(NewSession::tier("member", Currency::EUR).order_key("o_1"));
    let Begun::Ask(_) = shop.app.sessions().begin_payment(&flying.id, "tok").unwrap() else {
        panic!("nothing to ask");
    };
    leave(&shop);
    let retention = Budget::items(100).work(Work::RETENTION);
    shop.engine.run_due(retention).unwrap();
    shop.app
        .customers()
        .set(NewCustomer::uid("u_paid").name("Ada"))
        .unwrap();
    shop.clean();
    let head = shop.app.journal_head().unwrap();
    shop.engine.clone().close().unwrap();
    drop(shop);
    sql(
        &disk.raw(),
        "INSERT INTO tillite_consumer (app, mode, name, position) VALUES (1, 0, 'notes', 2)",
    );
    (fs::read(disk.path()).unwrap(), head)
}

/// Has an endpoint deleted for which something waits, and a range sent again in which there is nothing.
fn leave(shop: &Shop) {
    let gone = NewEndpoint::new("https://shop.example/gone", Format::Standard).events(["customer.created"]);
    let gone = shop.app.endpoints().add(gone).unwrap().endpoint.id;
    shop.app.customers().create(NewCustomer::uid("u_gone")).unwrap();
    shop.app.endpoints().delete(&gone).unwrap();
    let endpoint = shop.app.endpoints().list(1, None).unwrap().data.remove(0).id;
    let head = shop.app.journal_head().unwrap().position;
    let nothing = NewReplay::to(&endpoint).after(head);
    shop.app.deliveries().replay_range(nothing).unwrap();
}

/// The story's file after somebody ran these statements on it, with no constraint in their way.
fn damaged(file: &[u8], statements: &[&str]) -> (Disk, Engine) {
    let disk = Disk::new();
    fs::write(disk.path(), file).unwrap();
    let raw = disk.raw();
    for setting in ["PRAGMA foreign_keys = OFF", "PRAGMA ignore_check_constraints = ON"] {
        sql(&raw, setting);
    }
    for statement in statements {
        sql(&raw, statement);
        let changed = sql(&raw, "SELECT changes()");
        assert!(
            changed != ["0"] || statement.starts_with("DROP INDEX"),
            "changes nothing: {statement}"
        );
    }
    drop(raw);
    let engine = disk.open();
    (disk, engine)
}

fn failed(engine: &Engine, expect: &Expect) -> BTreeSet<&'static str> {
    let report = engine.verify(expect).unwrap();
    for broken in &report.failed {
        assert!(!broken.ids.is_empty() && broken.ids.len() <= 20);
    }
    assert_eq!(report.is_clean(), report.failed.is_empty());
    report.failed.into_iter().map(|broken| broken.invariant).collect()
}

/// Where in the story an event stands.
const SOLD: &str =
    "WHERE type = 'charge.succeeded' AND seq = (SELECT min(seq) FROM tillite_event WHERE type = 'charge.succeeded')";

const DAMAGES: &[(&str, &[&str], &[&str])] = &[
    (
        "a charge in another currency than its intent",
        &["UPDATE tillite_charge SET currency = 'USD' WHERE settles = 1"],
        &["charge_within_intent", "refund_of_its_charge", "dispute_of_its_charge"],
    ),
    (
        "more given back than taken",
        &["UPDATE tillite_charge SET refunded = captured + 1 WHERE settles = 1"],
        &[
            "refunds_within_capture",
            "refunds_are_booked_on_their_charge",
            "file_structure",
        ],
    ),
    (
        "a refund in another currency",
        &["UPDATE tillite_refund SET currency = 'USD' WHERE number = 1"],
        &["refund_of_its_charge"],
    ),
    (
        "a refund of more than its charge knows of",
        &["UPDATE tillite_refund SET amount = amount + 1 WHERE number = 1"],
        &[
            "refunds_are_booked_on_their_charge",
            "refunded_lines_within_their_refund",
        ],
    ),
    (
        "a line of a refund that comes to a cent more",
        &["UPDATE tillite_refund_line SET amount = amount + 1"],
        &["refunded_lines_within_their_refund"],
    ),
    (
        "more units given back than bought",
        &["UPDATE tillite_refund_line SET quantity = 2"],
        &["refunded_units_within_their_line"],
    ),
    (
        "a refund that was never asked for",
        &[
            "DELETE FROM tillite_evidence WHERE attempt IN (SELECT id FROM tillite_attempt WHERE operation = 'refund')",
            "DELETE FROM tillite_attempt WHERE operation = 'refund'",
        ],
        &["refund_has_its_attempt", "refund_final_only_by_more_than_time"],
    ),
    (
        "a refund that time has ended",
        &[
            "UPDATE tillite_evidence SET source = 'lease' WHERE attempt IN (SELECT id FROM tillite_attempt WHERE \
           operation = 'refund')",
        ],
        &["refund_final_only_by_more_than_time"],
    ),
    (
        "a refund that came through and nobody said so",
        &["UPDATE tillite_refund SET state = 'succeeded' WHERE number = 2"],
        &["refunds_are_booked_on_their_charge", "refund_state_is_its_newest_event"],
    ),
    (
        "a refund that moved without an event",
        &["UPDATE tillite_refund SET revision = revision + 1 WHERE number = 1"],
        &["no_refund_without_its_event"],
    ),
    (
        "money taken twice under one name",
        &[
            "UPDATE tillite_charge SET reference = (SELECT o.reference FROM tillite_charge o \
           WHERE o.id = tillite_charge.comes_with) WHERE comes_with IS NOT NULL",
        ],
        &["surplus_comes_with_a_charge_and_has_a_name_of_its_own"],
    ),
    (
        "a refund of the service's without a name",
        &["UPDATE tillite_refund SET reference = NULL WHERE source = 'processor'"],
        &["refund_made_at_the_service_counts_once"],
    ),
    (
        "a lost dispute of a cent more",
        &["UPDATE tillite_dispute SET amount = amount + 1"],
        &["lost_disputes_are_booked_on_their_charge"],
    ),
    (
        "a dispute in another currency",
        &["UPDATE tillite_dispute SET currency = 'USD'"],
        &["dispute_of_its_charge"],
    ),
    (
        "a dispute that was won and nobody said so",
        &["UPDATE tillite_dispute SET state = 'won'"],
        &[
            "lost_disputes_are_booked_on_their_charge",
            "dispute_state_is_its_newest_event",
        ],
    ),
    (
        "a dispute that moved without an event",
        &["UPDATE tillite_dispute SET revision = revision + 1"],
        &["no_dispute_without_its_event"],
    ),
    (
        "a line that costs a cent more",
        &["UPDATE tillite_session_line SET subtotal = subtotal + 1, total = total + 1 WHERE tier IS NOT NULL"],
        &["line_sums", "frozen_prices"],
    ),
    (
        "a paid session whose money is held",
        &["UPDATE tillite_charge SET settles = 0, hold = 'late' WHERE settles = 1"],
        &["complete_means_paid_or_free"],
    ),
    (
        "money that settles nothing and that nobody holds",
        &["UPDATE tillite_charge SET settles = 0 WHERE settles = 1"],
        &["complete_means_paid_or_free", "money_that_settles_nothing_is_held"],
    ),
    (
        "a session closed over a payment in flight",
        &["UPDATE tillite_session SET state = 'expired', expired_reason = 'buyer' WHERE state = 'processing'"],
        &[
            "expired_means_nothing_in_flight",
            "processing_means_one_in_flight",
            "session_state_is_its_newest_event",
        ],
    ),
    (
        "a session opened under a payment in flight",
        &["UPDATE tillite_session SET state = 'open' WHERE state = 'processing'"],
        &["processing_means_one_in_flight", "session_state_is_its_newest_event"],
    ),
    (
        "a completion that was never told",
        &["UPDATE tillite_event SET type = 'checkout.session.updated' WHERE type = 'checkout.session.completed'"],
        &["one_completion_event", "event_chain"],
    ),
    (
        "a second session of an order that is being paid",
        &[
            "DROP INDEX tillite_session_order",
            "UPDATE tillite_session SET order_key = 'o_1' WHERE email IS NOT NULL",
        ],
        &["one_session_that_counts_per_order"],
    ),
    (
        "a charge that nobody asked for",
        &["UPDATE tillite_attempt SET subject = 'ch_gone' WHERE next = 'answer'"],
        &["charge_has_its_attempt"],
    ),
    (
        "a charge of another session's intent",
        &[
            "UPDATE tillite_charge SET session = (SELECT id FROM tillite_session WHERE state = 'open') WHERE settles = 1",
        ],
        &["charge_of_its_session", "refund_of_its_charge", "dispute_of_its_charge"],
    ),
    (
        "an outcome that nobody reported",
        &["UPDATE tillite_evidence SET moved = 0 WHERE outcome = 'succeeded'"],
        &[
            "outcome_has_its_evidence",
            "refund_final_only_by_more_than_time",
            "setup_final_only_by_more_than_time",
            "final_only_by_more_than_time",
        ],
    ),
    (
        "an outcome by the passing of time alone",
        &["UPDATE tillite_evidence SET source = 'lease' WHERE outcome = 'declined'"],
        &["final_only_by_more_than_time"],
    ),
    (
        "a version cut out of an entitlement's history",
        &["DELETE FROM tillite_entitlement_version WHERE version = 2"],
        &["entitlement_versions_without_gap"],
    ),
    (
        "an entitlement's event given to another object",
        &[
            "UPDATE tillite_event SET object_id = 'ent_other', object_seq = 1 WHERE type = 'entitlement.expired' AND seq = \
           (SELECT max(seq) FROM tillite_event WHERE type = 'entitlement.expired')",
        ],
        &["one_event_per_entitlement_version", "event_chain"],
    ),
    (
        "a head that is ahead of its events",
        &["UPDATE tillite_head SET seq = seq + 1 WHERE mode = 0"],
        &["events_without_gap"],
    ),
    (
        "an event of an object moved ahead",
        &[
            "UPDATE tillite_event SET object_seq = 9 WHERE type = 'customer.created' AND seq = \
           (SELECT max(seq) FROM tillite_event WHERE type = 'customer.created')",
        ],
        &["object_events_without_gap", "event_chain"],
    ),
    (
        "an event from the past",
        &["UPDATE tillite_event SET created_at = 1 WHERE type = 'customer.updated'"],
        &["engine_time_never_back", "event_chain"],
    ),
    (
        "a session closed without a trace",
        &[
            "UPDATE tillite_session SET state = 'expired', expired_reason = 'buyer' \
           WHERE state = 'open' AND email IS NOT NULL",
        ],
        &["session_state_is_its_newest_event"],
    ),
    (
        "a charge moved without a trace",
        &["UPDATE tillite_charge SET state = 'unknown' WHERE state = 'initiated'"],
        &["charge_state_is_its_newest_event", "outcome_has_its_evidence"],
    ),
    (
        "a session written once more than it was told",
        &["UPDATE tillite_session SET revision = revision + 1 WHERE email IS NOT NULL"],
        &["no_session_without_its_event"],
    ),
    (
        "a charge written once more than it was told",
        &["UPDATE tillite_charge SET revision = revision + 1 WHERE settles = 1"],
        &["no_charge_without_its_event"],
    ),
    (
        "a payment method that nobody told of",
        &["UPDATE tillite_payment_method SET attempt = 'at_gone'"],
        &["payment_method_was_told_of"],
    ),
    (
        "a payment method of another processor than the one that told of it",
        &["UPDATE tillite_payment_method SET processor = 'other'"],
        &["payment_method_was_told_of", "setup_that_succeeded_has_its_method"],
    ),
    (
        "a customer's name at a service that nobody told of",
        &["UPDATE tillite_customer_reference SET attempt = 'at_gone'"],
        &["customer_reference_was_told_of"],
    ),
    (
        "a payment method detached without a trace",
        &["UPDATE tillite_payment_method SET state = 'detached', detached_at = 1"],
        &["payment_method_state_is_its_newest_event"],
    ),
    (
        "a payment method written once more than it was told",
        &["UPDATE tillite_payment_method SET revision = revision + 1"],
        &["no_payment_method_without_its_event"],
    ),
    (
        "a customer deleted who can still be charged",
        &["UPDATE tillite_customer SET deleted_at = 1 WHERE uid = 'u_saved'"],
        &["nothing_attached_to_a_deleted_customer"],
    ),
    (
        "a setup that nobody asked for",
        &["UPDATE tillite_attempt SET subject = 'seti_gone' WHERE operation = 'setup'"],
        &["setup_of_its_attempt", "setup_final_only_by_more_than_time"],
    ),
    (
        "a setup that succeeded by the passing of time alone",
        &[
            "UPDATE tillite_evidence SET source = 'lease' WHERE attempt = (SELECT id FROM tillite_attempt WHERE operation = 'setup')",
        ],
        &["setup_final_only_by_more_than_time"],
    ),
    (
        "a setup without the method that it saved",
        &["UPDATE tillite_setup SET method = NULL"],
        &["setup_that_succeeded_has_its_method"],
    ),
    (
        "a setup moved without a trace",
        &["UPDATE tillite_setup SET state = 'unknown', method = NULL"],
        &["setup_state_is_its_newest_event"],
    ),
    (
        "a setup written once more than it was told",
        &["UPDATE tillite_setup SET revision = revision + 1"],
        &["no_setup_without_its_event"],
    ),
    (
        "a body that is gone",
        &["DELETE FROM tillite_event_body WHERE seq = (SELECT max(seq) FROM tillite_event_body)"],
        &["delivery_has_its_body", "event_chain"],
    ),
    (
        "a sixth attempt",
        &["UPDATE tillite_delivery SET attempts = 6 WHERE state = 'pending'"],
        &["attempts_within_schedule"],
    ),
    (
        "given up before the fifth attempt",
        &["UPDATE tillite_delivery SET state = 'exhausted' WHERE state = 'pending'"],
        &["attempts_within_schedule"],
    ),
    (
        "a delivery on its way that nobody claimed",
        &["UPDATE tillite_delivery SET state = 'in_flight' WHERE state = 'pending' AND attempts = 0"],
        &["attempts_within_schedule"],
    ),
    (
        "an attempt of a delivery that never was",
        &[
            "INSERT INTO tillite_delivery_attempt (app, mode, delivery, number, started_at, duration, outcome) \
           SELECT app, mode, 'dl_gone', 1, 0, 0, 'lost' FROM tillite_endpoint LIMIT 1",
        ],
        &["attempt_of_its_delivery"],
    ),
    (
        "a delivery that waits for nobody",
        &["UPDATE tillite_delivery SET state = 'blocked', lane = 7 WHERE state = 'pending'"],
        &["blocked_waits_for_another_in_its_lane"],
    ),
    (
        "two deliveries of a lane at once",
        &["UPDATE tillite_delivery SET state = 'pending', lane = 7 \
           WHERE (app, mode, endpoint) IN (SELECT app, mode, number FROM tillite_endpoint WHERE state = 'enabled')"],
        &["one_at_a_time_in_a_lane"],
    ),
    (
        "failures that began at no time",
        &["INSERT INTO tillite_endpoint_flow (app, mode, endpoint, failures) \
           SELECT app, mode, number, 3 FROM tillite_endpoint WHERE state = 'enabled'"],
        &["an_endpoint_fails_since_its_first_failure"],
    ),
    (
        "how an endpoint is doing that was deleted long ago",
        &["INSERT INTO tillite_endpoint_flow (app, mode, endpoint) \
           SELECT app, mode, number FROM tillite_endpoint WHERE state = 'deleted'"],
        &["no_flow_of_an_endpoint_that_is_done_with"],
    ),
    (
        "delivered without an answer",
        &["DELETE FROM tillite_delivery_attempt"],
        &["delivered_has_its_acceptance"],
    ),
    (
        "a consumer ahead of the events",
        &["UPDATE tillite_consumer SET position = 100000"],
        &["consumers_within_events"],
    ),
    (
        "a test session under a live id",
        &["UPDATE tillite_session SET id = replace(id, 'cs_test_', 'cs_live_') WHERE email IS NOT NULL"],
        &["test_and_live_never_meet", "no_session_without_its_event"],
    ),
    (
        "another request than the one that was sent",
        &["UPDATE tillite_attempt SET request = x'7b7d' WHERE next IS NULL"],
        &["frozen_requests"],
    ),
    (
        "a byte of a webhook's body",
        &["UPDATE tillite_event_body SET bytes = CAST(replace(CAST(bytes AS TEXT), 'event', 'Event') AS BLOB)"],
        &["webhook_bodies"],
    ),
    (
        "a webhook's body with its hash",
        &["UPDATE tillite_event_body SET bytes = x'', hash = \
           x'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'"],
        &["event_chain"],
    ),
    (
        "the name of what was sold",
        &["UPDATE tillite_session_line SET name = 'Something else'"],
        &["frozen_prices"],
    ),
    (
        "a grant of another tier",
        &["UPDATE tillite_grant SET tier = 'gold' WHERE ends_at IS NULL"],
        &["entitlement_is_its_grants"],
    ),
    (
        "a grant that lasts longer",
        &["UPDATE tillite_grant SET ends_at = ends_at + 315360000000 WHERE source = 'sale'"],
        &["entitlement_is_its_grants", "entitlement_knows_its_next_change"],
    ),
    (
        "an entitlement whose end nobody waits for",
        &["UPDATE tillite_entitlement SET next_at = NULL WHERE next_at IS NOT NULL"],
        &["entitlement_knows_its_next_change"],
    ),
    (
        "an entitlement whose end is waited for a moment too long",
        &["UPDATE tillite_entitlement SET next_at = next_at + 1 WHERE next_at IS NOT NULL"],
        &["entitlement_knows_its_next_change"],
    ),
    (
        "an entitlement that is to end and never does",
        &["UPDATE tillite_entitlement SET next_at = folded_at + 1 WHERE next_at IS NULL"],
        &["entitlement_knows_its_next_change"],
    ),
    (
        "a secret of an endpoint that was deleted",
        &["UPDATE tillite_endpoint_secret SET endpoint = 3 WHERE endpoint = 2"],
        &["secret_of_an_endpoint_that_is_not_deleted"],
    ),
    (
        "an endpoint that nobody switched off",
        &["UPDATE tillite_endpoint SET state = 'disabled' WHERE number = 1"],
        &["endpoint_state_is_its_newest_event"],
    ),
    (
        "an endpoint that changed unseen",
        &["UPDATE tillite_endpoint SET revision = revision + 1 WHERE number = 1"],
        &["no_endpoint_without_its_event"],
    ),
    (
        "a delivery that waits for an endpoint that was deleted",
        &["UPDATE tillite_delivery SET state = 'pending' WHERE state = 'canceled'"],
        &["delivery_canceled_with_its_endpoint"],
    ),
    (
        "a delivery that nobody canceled",
        &["UPDATE tillite_delivery SET state = 'canceled' WHERE endpoint = 1 AND state = 'pending'"],
        &["delivery_canceled_with_its_endpoint"],
    ),
    (
        "a replay that made more than it looked at",
        &["UPDATE tillite_replay SET made = 1"],
        &["replay_within_its_range"],
    ),
    (
        "a byte of an event's body",
        &["UPDATE tillite_event SET body = replace(body, 'Membership', 'membership') WHERE type = 'product.created'"],
        &["event_chain"],
    ),
    (
        "an event's actor",
        &["UPDATE tillite_event SET actor = 'operator:eve' WHERE seq = 3"],
        &["event_chain"],
    ),
    (
        "an event's cause",
        &["UPDATE tillite_event SET cause = 'nothing' WHERE seq = 3"],
        &["event_chain"],
    ),
    (
        "an event's type",
        &["UPDATE tillite_event SET type = 'charge.pending' WHERE type = 'charge.succeeded'"],
        &["event_chain"],
    ),
    (
        "an event's hash",
        &["UPDATE tillite_event SET hash = zeroblob(32) WHERE seq = 3"],
        &["event_chain"],
    ),
    (
        "two events in each other's place",
        &[
            "UPDATE tillite_event SET seq = 1000 WHERE seq = 1",
            "UPDATE tillite_event SET seq = 1 WHERE seq = 2",
            "UPDATE tillite_event SET seq = 2 WHERE seq = 1000",
        ],
        &["event_chain"],
    ),
    (
        "the newest event",
        &["DELETE FROM tillite_event WHERE seq = (SELECT seq FROM tillite_head WHERE mode = 0) AND mode = 0"],
        // Its delivery and its body are left without it.
        &["events_without_gap", "event_chain", "file_structure"],
    ),
    ("the products", &["DELETE FROM tillite_product"], &["file_structure"]),
];

#[test]
fn whatever_is_changed_behind_the_engines_back_is_reported_by_name() {
    let (file, _) = story();
    let mut told = BTreeSet::new();
    for (name, statements, broken) in DAMAGES {
        let (_disk, engine) = damaged(&file, statements);
        let expected: BTreeSet<&str> = broken.iter().copied().collect();
        assert_eq!(failed(&engine, &Expect::nothing()), expected, "{name}");
        told.extend(expected);
    }
    // Every check that there is has been seen to fail.
    let (_disk, engine) = damaged(&file, &[]);
    let report = engine.verify(&Expect::nothing()).unwrap();
    assert!(report.is_clean(), "{:?}", report.failed);
    let known: BTreeSet<&str> = report.checked.keys().copied().collect();
    assert_eq!(told, known);
    for (invariant, rows) in &report.checked {
        assert!(*rows > 0, "{invariant} looked at nothing");
    }
}

#[test]
fn a_broken_link_names_the_event() {
    let (file, _) = story();
    let (disk, engine) = damaged(&file, &[&format!("UPDATE tillite_event SET actor = 'nobody' {SOLD}")]);
    let [sold] = <[String; 1]>::try_from(sql(&disk.raw(), &format!("SELECT id FROM tillite_event {SOLD}"))).unwrap();
    let report = engine.verify(&Expect::nothing()).unwrap();
    assert_eq!(report.failed.len(), 1);
    assert_eq!(report.failed[0].invariant, "event_chain");
    assert_eq!(report.failed[0].ids, [sold]);
}

#[test]
fn a_cut_off_end_is_noticed_by_who_kept_the_head_elsewhere() {
    let (file, head) = story();
    // The newest event, its body and its delivery are cut off without a trace, and the head is set
    // back to the event before.
    let (_disk, engine) = damaged(
        &file,
        &[
            "DELETE FROM tillite_delivery_attempt WHERE delivery IN (SELECT id FROM tillite_delivery WHERE event = \
             (SELECT max(seq) FROM tillite_event WHERE mode = 0)) OR delivery = (SELECT min(delivery) FROM \
             tillite_delivery_attempt)",
            "DELETE FROM tillite_delivery WHERE event = (SELECT max(seq) FROM tillite_event) OR id NOT IN \
             (SELECT delivery FROM tillite_delivery_attempt)",
            "DELETE FROM tillite_event_body WHERE seq = (SELECT max(seq) FROM tillite_event)",
            "DELETE FROM tillite_event WHERE mode = 0 AND seq = (SELECT max(seq) FROM tillite_event WHERE mode = 0)",
            "UPDATE tillite_head SET seq = seq - 1, hash = (SELECT hash FROM tillite_event ORDER BY seq DESC LIMIT 1) \
             WHERE mode = 0",
        ],
    );
    assert_eq!(failed(&engine, &Expect::nothing()), BTreeSet::new());
    let report = engine.verify(&Expect::nothing().journal_head(head.clone())).unwrap();
    assert_eq!(report.failed.len(), 1);
    assert_eq!(report.failed[0].invariant, "event_chain");
    assert_eq!(report.failed[0].ids, [format!("missing event {}", head.position)]);

    // The whole file knows its head, an older one too; another hash at the place it does not.
    let (_disk, engine) = damaged(&file, &[]);
    assert_eq!(
        failed(&engine, &Expect::nothing().journal_head(head.clone())),
        BTreeSet::new()
    );
    let app = engine.find_app("lixblogs", Mode::Test).unwrap();
    assert_eq!(app.journal_head().unwrap(), head);
    app.customers().set(NewCustomer::uid("u_paid").name("Grace")).unwrap();
    assert_ne!(app.journal_head().unwrap(), head);
    assert_eq!(
        failed(&engine, &Expect::nothing().journal_head(head.clone())),
        BTreeSet::new()
    );
    let mut wrong = head.clone();
    wrong.hash[31] ^= 1;
    assert_eq!(
        failed(&engine, &Expect::nothing().journal_head(wrong)),
        BTreeSet::from(["event_chain"])
    );
    let unknown = JournalHead {
        app: "unheard_of".to_owned(),
        ..head
    };
    let error = engine.verify(&Expect::nothing().journal_head(unknown)).unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
}
