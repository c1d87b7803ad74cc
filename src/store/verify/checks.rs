//! The invariants that one statement can ask for.

/// Name, table whose rows are counted, and the statement that finds the ids of rows in breach.
pub(super) const CHECKS: &[(&str, &str, &str)] = &[
    (
        "charge_of_its_session",
        "tillite_charge",
        "SELECT c.id FROM tillite_charge c LEFT JOIN tillite_session s \
         ON s.app = c.app AND s.mode = c.mode AND s.id = c.session WHERE s.intent IS NULL OR s.intent <> c.intent",
    ),
    (
        "charge_within_intent",
        "tillite_charge",
        "SELECT c.id FROM tillite_charge c JOIN tillite_payment_intent i \
         ON i.app = c.app AND i.mode = c.mode AND i.id = c.intent \
         WHERE c.amount > i.amount OR c.currency <> i.currency OR c.authorized > c.amount \
         OR c.captured > c.amount AND coalesce(c.hold, '') <> 'mismatch'",
    ),
    (
        "refunds_within_capture",
        "tillite_charge",
        "SELECT id FROM tillite_charge WHERE refund_reserved + refunded > captured",
    ),
    (
        "refunds_are_booked_on_their_charge",
        "tillite_charge",
        "SELECT c.id FROM tillite_charge c WHERE c.refund_reserved <> (SELECT coalesce(sum(r.amount), 0) \
         FROM tillite_refund r WHERE r.app = c.app AND r.mode = c.mode AND r.charge = c.id \
         AND r.state IN ('pending', 'unknown')) OR c.refunded <> (SELECT coalesce(sum(r.amount), 0) \
         FROM tillite_refund r WHERE r.app = c.app AND r.mode = c.mode AND r.charge = c.id AND r.state = 'succeeded')",
    ),
    (
        "refund_of_its_charge",
        "tillite_refund",
        "SELECT r.id FROM tillite_refund r JOIN tillite_charge c \
         ON c.app = r.app AND c.mode = r.mode AND c.id = r.charge WHERE r.currency <> c.currency \
         OR r.session <> c.session OR r.intent <> c.intent OR r.processor <> c.processor",
    ),
    (
        "refunded_lines_within_their_refund",
        "tillite_refund",
        "SELECT r.id FROM tillite_refund r WHERE r.amount <> (SELECT coalesce(sum(l.amount), r.amount) \
         FROM tillite_refund_line l WHERE l.app = r.app AND l.mode = r.mode AND l.refund = r.id)",
    ),
    (
        "refunded_units_within_their_line",
        "tillite_session_line",
        // One that went through after all was booked although its units had gone back otherwise since.
        "SELECT l.session || ':' || l.position FROM tillite_session_line l WHERE EXISTS (SELECT 1 \
         FROM tillite_refund r JOIN tillite_refund_line p ON p.app = r.app AND p.mode = r.mode AND p.refund = r.id \
         WHERE r.app = l.app AND r.mode = l.mode AND r.session = l.session AND p.position = l.position \
         AND r.state NOT IN ('failed', 'canceled') \
         AND NOT EXISTS (SELECT 1 FROM tillite_event e WHERE e.app = r.app AND e.mode = r.mode \
         AND e.object_id = r.id AND e.type = 'refund.contradicted') \
         GROUP BY r.charge HAVING sum(p.quantity) > l.quantity)",
    ),
    (
        "refund_has_its_attempt",
        "tillite_refund",
        "SELECT r.id FROM tillite_refund r WHERE (r.source = 'processor') = EXISTS (SELECT 1 FROM tillite_attempt a \
         WHERE a.app = r.app AND a.mode = r.mode AND a.subject = r.id)",
    ),
    (
        "refund_final_only_by_more_than_time",
        "tillite_refund",
        "SELECT r.id FROM tillite_refund r WHERE r.state NOT IN ('pending', 'unknown') \
         AND r.source <> 'processor' AND NOT EXISTS (SELECT 1 \
         FROM tillite_evidence e WHERE e.app = r.app AND e.mode = r.mode AND e.moved = 1 AND e.source <> 'lease' \
         AND e.attempt IN (SELECT a.id FROM tillite_attempt a WHERE a.app = r.app AND a.mode = r.mode \
         AND a.subject = r.id))",
    ),
    (
        "refund_made_at_the_service_counts_once",
        "tillite_refund",
        "SELECT r.id FROM tillite_refund r WHERE r.source = 'processor' AND (r.reference IS NULL OR EXISTS (SELECT 1 \
         FROM tillite_refund o WHERE o.app = r.app AND o.mode = r.mode AND o.charge = r.charge AND o.id <> r.id \
         AND o.reference = r.reference))",
    ),
    (
        "lost_disputes_are_booked_on_their_charge",
        "tillite_charge",
        "SELECT c.id FROM tillite_charge c WHERE c.lost <> (SELECT CASE WHEN coalesce(sum(d.amount), 0) > c.captured \
         THEN c.captured ELSE coalesce(sum(d.amount), 0) END FROM tillite_dispute d \
         WHERE d.app = c.app AND d.mode = c.mode AND d.charge = c.id AND d.state = 'lost')",
    ),
    (
        "dispute_of_its_charge",
        "tillite_dispute",
        "SELECT d.id FROM tillite_dispute d JOIN tillite_charge c \
         ON c.app = d.app AND c.mode = d.mode AND c.id = d.charge WHERE d.currency <> c.currency \
         OR d.session <> c.session OR d.processor <> c.processor",
    ),
    (
        "dispute_state_is_its_newest_event",
        "tillite_dispute",
        "SELECT d.id FROM tillite_dispute d WHERE d.state <> (SELECT e.to_state FROM tillite_event e \
         WHERE e.app = d.app AND e.mode = d.mode AND e.object_id = d.id AND e.to_state IS NOT NULL \
         ORDER BY e.object_seq DESC LIMIT 1)",
    ),
    (
        "no_dispute_without_its_event",
        "tillite_dispute",
        "SELECT d.id FROM tillite_dispute d WHERE d.revision <> (SELECT count(*) FROM tillite_event e \
         WHERE e.app = d.app AND e.mode = d.mode AND e.object_id = d.id)",
    ),
    (
        "refund_state_is_its_newest_event",
        "tillite_refund",
        "SELECT r.id FROM tillite_refund r WHERE r.state <> (SELECT e.to_state FROM tillite_event e \
         WHERE e.app = r.app AND e.mode = r.mode AND e.object_id = r.id AND e.to_state IS NOT NULL \
         ORDER BY e.object_seq DESC LIMIT 1)",
    ),
    (
        "no_refund_without_its_event",
        "tillite_refund",
        "SELECT r.id FROM tillite_refund r WHERE r.revision <> (SELECT count(*) FROM tillite_event e \
         WHERE e.app = r.app AND e.mode = r.mode AND e.object_id = r.id)",
    ),
    (
        "payment_method_was_told_of",
        "tillite_payment_method",
        "SELECT m.id FROM tillite_payment_method m WHERE NOT EXISTS (SELECT 1 FROM tillite_attempt a \
         JOIN tillite_evidence e ON e.app = a.app AND e.mode = a.mode AND e.attempt = a.id \
         WHERE a.app = m.app AND a.mode = m.mode AND a.id = m.attempt AND a.processor = m.processor \
         AND e.outcome IN ('succeeded', 'authorized'))",
    ),
    (
        "customer_reference_was_told_of",
        "tillite_customer_reference",
        "SELECT r.customer || ':' || r.processor FROM tillite_customer_reference r WHERE NOT EXISTS (SELECT 1 \
         FROM tillite_attempt a JOIN tillite_evidence e ON e.app = a.app AND e.mode = a.mode AND e.attempt = a.id \
         WHERE a.app = r.app AND a.mode = r.mode AND a.id = r.attempt AND a.processor = r.processor \
         AND e.outcome IN ('succeeded', 'authorized'))",
    ),
    (
        "payment_method_state_is_its_newest_event",
        "tillite_payment_method",
        "SELECT m.id FROM tillite_payment_method m WHERE m.state <> (SELECT e.to_state FROM tillite_event e \
         WHERE e.app = m.app AND e.mode = m.mode AND e.object_id = m.id AND e.to_state IS NOT NULL \
         ORDER BY e.object_seq DESC LIMIT 1)",
    ),
    (
        "no_payment_method_without_its_event",
        "tillite_payment_method",
        "SELECT m.id FROM tillite_payment_method m WHERE m.revision <> (SELECT count(*) FROM tillite_event e \
         WHERE e.app = m.app AND e.mode = m.mode AND e.object_id = m.id)",
    ),
    (
        "nothing_attached_to_a_deleted_customer",
        "tillite_payment_method",
        "SELECT m.id FROM tillite_payment_method m JOIN tillite_customer c \
         ON c.app = m.app AND c.mode = m.mode AND c.id = m.customer \
         WHERE m.state = 'attached' AND c.deleted_at IS NOT NULL",
    ),
    (
        "setup_of_its_attempt",
        "tillite_setup",
        "SELECT s.id FROM tillite_setup s WHERE NOT EXISTS (SELECT 1 FROM tillite_attempt a WHERE a.app = s.app \
         AND a.mode = s.mode AND a.subject = s.id AND a.operation = 'setup' AND a.processor = s.processor)",
    ),
    (
        "setup_final_only_by_more_than_time",
        "tillite_setup",
        "SELECT s.id FROM tillite_setup s WHERE s.state NOT IN ('initiated', 'unknown') AND NOT EXISTS (SELECT 1 \
         FROM tillite_evidence e WHERE e.app = s.app AND e.mode = s.mode AND e.moved = 1 AND e.source <> 'lease' \
         AND e.attempt IN (SELECT a.id FROM tillite_attempt a WHERE a.app = s.app AND a.mode = s.mode \
         AND a.subject = s.id))",
    ),
    (
        "setup_that_succeeded_has_its_method",
        "tillite_setup",
        // Where its customer was deleted meanwhile, there is nobody to whom it could be attached.
        "SELECT s.id FROM tillite_setup s JOIN tillite_customer c \
         ON c.app = s.app AND c.mode = s.mode AND c.id = s.customer LEFT JOIN tillite_payment_method m \
         ON m.app = s.app AND m.mode = s.mode AND m.id = s.method AND m.customer = s.customer \
         AND m.processor = s.processor WHERE s.state = 'succeeded' AND m.id IS NULL \
         AND (s.method IS NOT NULL OR c.deleted_at IS NULL)",
    ),
    (
        "setup_state_is_its_newest_event",
        "tillite_setup",
        "SELECT s.id FROM tillite_setup s WHERE s.state <> (SELECT e.to_state FROM tillite_event e \
         WHERE e.app = s.app AND e.mode = s.mode AND e.object_id = s.id AND e.to_state IS NOT NULL \
         ORDER BY e.object_seq DESC LIMIT 1)",
    ),
    (
        "no_setup_without_its_event",
        "tillite_setup",
        "SELECT s.id FROM tillite_setup s WHERE s.revision <> (SELECT count(*) FROM tillite_event e \
         WHERE e.app = s.app AND e.mode = s.mode AND e.object_id = s.id)",
    ),
    (
        "line_sums",
        "tillite_session",
        "SELECT s.id FROM tillite_session s WHERE s.total <> (SELECT coalesce(sum(l.total), 0) \
         FROM tillite_session_line l WHERE l.app = s.app AND l.mode = s.mode AND l.session = s.id) \
         OR s.subtotal <> (SELECT coalesce(sum(l.subtotal), 0) \
         FROM tillite_session_line l WHERE l.app = s.app AND l.mode = s.mode AND l.session = s.id)",
    ),
    (
        "complete_means_paid_or_free",
        "tillite_session",
        "SELECT s.id FROM tillite_session s WHERE (s.state = 'complete') <> ( \
         (s.total = 0 AND s.completed_at IS NOT NULL AND NOT EXISTS (SELECT 1 FROM tillite_charge c \
          WHERE c.app = s.app AND c.mode = s.mode AND c.intent = s.intent)) \
         OR 1 = (SELECT count(*) FROM tillite_charge c WHERE c.app = s.app AND c.mode = s.mode \
          AND c.intent = s.intent AND c.settles = 1 AND c.state = 'succeeded' \
          AND (c.captured = s.total OR s.capture = 'manual' AND c.captured BETWEEN 1 AND s.total)))",
    ),
    (
        "money_that_settles_nothing_is_held",
        "tillite_charge",
        "SELECT id FROM tillite_charge WHERE state = 'succeeded' AND settles = 0 AND hold IS NULL",
    ),
    (
        "expired_means_nothing_in_flight",
        "tillite_session",
        "SELECT s.id FROM tillite_session s JOIN tillite_charge c \
         ON c.app = s.app AND c.mode = s.mode AND c.intent = s.intent WHERE s.state = 'expired' \
         AND c.state IN ('initiated', 'unknown', 'pending', 'requires_action', 'authorized')",
    ),
    (
        "processing_means_one_in_flight",
        "tillite_session",
        "SELECT s.id FROM tillite_session s WHERE (s.state = 'processing') <> (1 = (SELECT count(*) \
         FROM tillite_charge c WHERE c.app = s.app AND c.mode = s.mode AND c.intent = s.intent \
         AND c.state IN ('initiated', 'unknown', 'pending', 'requires_action', 'authorized')))",
    ),
    (
        "one_session_that_counts_per_order",
        "tillite_session",
        "SELECT s.id FROM tillite_session s WHERE s.order_key IS NOT NULL \
         AND s.state IN ('open', 'processing', 'complete') AND 1 < (SELECT count(*) FROM tillite_session o \
         WHERE o.app = s.app AND o.mode = s.mode AND o.order_key = s.order_key \
         AND o.state IN ('open', 'processing', 'complete'))",
    ),
    (
        "one_completion_event",
        "tillite_session",
        "SELECT s.id FROM tillite_session s WHERE (CASE WHEN s.state = 'complete' THEN 1 ELSE 0 END) <> \
         (SELECT count(*) FROM tillite_event e WHERE e.app = s.app AND e.mode = s.mode AND e.object_id = s.id \
         AND e.type = 'checkout.session.completed')",
    ),
    (
        "charge_has_its_attempt",
        "tillite_charge",
        "SELECT c.id FROM tillite_charge c WHERE NOT EXISTS (SELECT 1 FROM tillite_attempt a \
         WHERE a.app = c.app AND a.mode = c.mode AND a.subject = coalesce(c.comes_with, c.id))",
    ),
    (
        "surplus_comes_with_a_charge_and_has_a_name_of_its_own",
        "tillite_charge",
        "SELECT c.id FROM tillite_charge c WHERE c.comes_with IS NOT NULL AND (NOT EXISTS (SELECT 1 \
         FROM tillite_charge o WHERE o.app = c.app AND o.mode = c.mode AND o.id = c.comes_with \
         AND o.intent = c.intent AND o.processor = c.processor AND o.comes_with IS NULL) OR EXISTS (SELECT 1 \
         FROM tillite_charge o WHERE o.app = c.app AND o.mode = c.mode AND o.intent = c.intent AND o.id <> c.id \
         AND o.reference = c.reference))",
    ),
    (
        "outcome_has_its_evidence",
        "tillite_charge",
        "SELECT c.id FROM tillite_charge c WHERE c.state <> 'initiated' AND NOT EXISTS (SELECT 1 \
         FROM tillite_evidence e WHERE e.app = c.app AND e.mode = c.mode AND e.moved = 1 AND e.attempt IN ( \
         SELECT a.id FROM tillite_attempt a WHERE a.app = c.app AND a.mode = c.mode \
         AND a.subject = coalesce(c.comes_with, c.id)))",
    ),
    (
        "final_only_by_more_than_time",
        "tillite_charge",
        "SELECT c.id FROM tillite_charge c WHERE c.state NOT IN ('initiated', 'unknown') AND NOT EXISTS (SELECT 1 \
         FROM tillite_evidence e WHERE e.app = c.app AND e.mode = c.mode AND e.moved = 1 AND e.source <> 'lease' \
         AND e.attempt IN (SELECT a.id FROM tillite_attempt a WHERE a.app = c.app AND a.mode = c.mode \
         AND a.subject = coalesce(c.comes_with, c.id)))",
    ),
    (
        "entitlement_versions_without_gap",
        "tillite_entitlement",
        "SELECT e.id FROM tillite_entitlement e WHERE e.version <> (SELECT count(*) \
         FROM tillite_entitlement_version v WHERE v.app = e.app AND v.mode = e.mode AND v.entitlement = e.id) \
         OR e.version <> (SELECT max(v.version) FROM tillite_entitlement_version v \
         WHERE v.app = e.app AND v.mode = e.mode AND v.entitlement = e.id)",
    ),
    (
        "one_event_per_entitlement_version",
        "tillite_entitlement",
        "SELECT e.id FROM tillite_entitlement e WHERE e.version <> (SELECT count(*) FROM tillite_event v \
         WHERE v.app = e.app AND v.mode = e.mode AND v.object_id = e.id)",
    ),
    (
        "events_without_gap",
        "tillite_head",
        "SELECT h.app || ':' || h.mode FROM tillite_head h WHERE h.seq <> (SELECT count(*) FROM tillite_event e \
         WHERE e.app = h.app AND e.mode = h.mode) OR h.seq <> (SELECT coalesce(max(e.seq), 0) FROM tillite_event e \
         WHERE e.app = h.app AND e.mode = h.mode)",
    ),
    (
        "object_events_without_gap",
        "tillite_event",
        "SELECT object_id FROM tillite_event GROUP BY app, mode, object_id \
         HAVING count(*) <> max(object_seq) OR min(object_seq) <> 1",
    ),
    (
        "engine_time_never_back",
        "tillite_event",
        "SELECT b.id FROM tillite_event a JOIN tillite_event b \
         ON b.app = a.app AND b.mode = a.mode AND b.seq = a.seq + 1 WHERE b.created_at < a.created_at",
    ),
    (
        "session_state_is_its_newest_event",
        "tillite_session",
        "SELECT s.id FROM tillite_session s JOIN tillite_event e \
         ON e.app = s.app AND e.mode = s.mode AND e.object_id = s.id AND e.object_seq = s.revision \
         WHERE e.to_state IS NOT NULL AND e.to_state <> s.state",
    ),
    (
        "charge_state_is_its_newest_event",
        "tillite_charge",
        "SELECT c.id FROM tillite_charge c WHERE c.state <> (SELECT e.to_state FROM tillite_event e \
         WHERE e.app = c.app AND e.mode = c.mode AND e.object_id = c.id AND e.to_state IS NOT NULL \
         ORDER BY e.object_seq DESC LIMIT 1)",
    ),
    (
        "no_session_without_its_event",
        "tillite_session",
        "SELECT s.id FROM tillite_session s WHERE s.revision <> (SELECT count(*) FROM tillite_event e \
         WHERE e.app = s.app AND e.mode = s.mode AND e.object_id = s.id)",
    ),
    (
        "no_charge_without_its_event",
        "tillite_charge",
        "SELECT c.id FROM tillite_charge c WHERE c.revision <> (SELECT count(*) FROM tillite_event e \
         WHERE e.app = c.app AND e.mode = c.mode AND e.object_id = c.id)",
    ),
    (
        "secret_of_an_endpoint_that_is_not_deleted",
        "tillite_endpoint",
        "SELECT w.id FROM tillite_endpoint w WHERE (w.state = 'deleted') = EXISTS (SELECT 1 \
         FROM tillite_endpoint_secret s WHERE s.app = w.app AND s.mode = w.mode AND s.endpoint = w.number \
         AND s.expires_at IS NULL)",
    ),
    (
        "endpoint_state_is_its_newest_event",
        "tillite_endpoint",
        "SELECT w.id FROM tillite_endpoint w WHERE w.state <> (SELECT e.to_state FROM tillite_event e \
         WHERE e.app = w.app AND e.mode = w.mode AND e.object_id = w.id AND e.to_state IS NOT NULL \
         ORDER BY e.object_seq DESC LIMIT 1)",
    ),
    (
        "no_endpoint_without_its_event",
        "tillite_endpoint",
        "SELECT w.id FROM tillite_endpoint w WHERE w.revision <> (SELECT count(*) FROM tillite_event e \
         WHERE e.app = w.app AND e.mode = w.mode AND e.object_id = w.id)",
    ),
    (
        "delivery_canceled_with_its_endpoint",
        "tillite_delivery",
        // What waits for an endpoint that was deleted is canceled, perhaps not yet; nothing else is.
        "SELECT d.id FROM tillite_delivery d JOIN tillite_endpoint w \
         ON w.app = d.app AND w.mode = d.mode AND w.number = d.endpoint \
         WHERE (d.state = 'canceled' AND w.state <> 'deleted') \
         OR (d.state IN ('pending', 'blocked', 'in_flight') AND w.state = 'deleted' AND w.canceling = 0)",
    ),
    (
        "delivery_has_its_body",
        "tillite_delivery",
        // One that is sent again may be made of the event's own object, where the format is made so.
        "SELECT d.id FROM tillite_delivery d JOIN tillite_endpoint w \
         ON w.app = d.app AND w.mode = d.mode AND w.number = d.endpoint JOIN tillite_event e \
         ON e.app = d.app AND e.mode = d.mode AND e.seq = d.event \
         WHERE NOT EXISTS (SELECT 1 FROM tillite_event_body b WHERE b.app = d.app AND b.mode = d.mode \
         AND b.seq = d.event AND b.format = w.format) \
         AND (d.generation = 1 OR w.format <> 'standard' OR e.body IS NULL)",
    ),
    (
        "replay_within_its_range",
        "tillite_replay",
        "SELECT r.id FROM tillite_replay r JOIN tillite_endpoint w \
         ON w.app = r.app AND w.mode = r.mode AND w.number = r.endpoint \
         WHERE r.after_seq > r.seen_to OR r.seen_to > r.to_seq OR r.made + r.passed > r.seen_to - r.after_seq \
         OR (r.state = 'done' AND r.seen_to <> r.to_seq) OR (r.state = 'running' AND w.state = 'deleted')",
    ),
    (
        "attempts_within_schedule",
        "tillite_delivery",
        // A claim counts itself before anything is sent; what waits for another was never claimed.
        "SELECT id FROM tillite_delivery WHERE attempts > 5 OR (state = 'exhausted' AND attempts <> 5) \
         OR (state = 'in_flight' AND attempts = 0) OR (state = 'blocked' AND attempts > 0)",
    ),
    (
        "attempt_of_its_delivery",
        "tillite_delivery_attempt",
        // No delivery is forgotten before its attempts.
        "SELECT a.delivery FROM tillite_delivery_attempt a WHERE NOT EXISTS (SELECT 1 FROM tillite_delivery d \
         WHERE d.app = a.app AND d.mode = a.mode AND d.id = a.delivery)",
    ),
    (
        "blocked_waits_for_another_in_its_lane",
        "tillite_delivery",
        "SELECT b.id FROM tillite_delivery b WHERE b.state = 'blocked' AND NOT EXISTS (SELECT 1 \
         FROM tillite_delivery d WHERE d.app = b.app AND d.mode = b.mode AND d.endpoint = b.endpoint \
         AND d.lane = b.lane AND d.state IN ('pending', 'in_flight'))",
    ),
    (
        "one_at_a_time_in_a_lane",
        "tillite_delivery",
        "SELECT max(id) FROM tillite_delivery WHERE lane IS NOT NULL AND state IN ('pending', 'in_flight') \
         GROUP BY app, mode, endpoint, lane HAVING count(*) > 1",
    ),
    (
        "an_endpoint_fails_since_its_first_failure",
        "tillite_endpoint",
        "SELECT w.id FROM tillite_endpoint_flow f JOIN tillite_endpoint w ON w.app = f.app AND w.mode = f.mode \
         AND w.number = f.endpoint WHERE (f.failures = 0) <> (f.failing_since IS NULL) OR f.exhausted > f.failures",
    ),
    (
        "no_flow_of_an_endpoint_that_is_done_with",
        "tillite_endpoint",
        // One that was deleted may have some until what waited for it is canceled.
        "SELECT w.id FROM tillite_endpoint_flow f JOIN tillite_endpoint w ON w.app = f.app AND w.mode = f.mode \
         AND w.number = f.endpoint WHERE w.state = 'deleted' AND w.canceling = 0",
    ),
    (
        "delivered_has_its_acceptance",
        "tillite_delivery",
        // Attempts that were kept long enough are gone, and only those.
        "SELECT d.id FROM tillite_delivery d LEFT JOIN tillite_retention r ON r.app = d.app AND r.mode = d.mode \
         AND r.what = 'attempt' WHERE d.state = 'delivered' AND d.id > coalesce(r.gone_to, '') AND NOT EXISTS (SELECT 1 \
         FROM tillite_delivery_attempt a WHERE a.app = d.app AND a.mode = d.mode AND a.delivery = d.id \
         AND a.outcome = 'delivered')",
    ),
    (
        "consumers_within_events",
        "tillite_consumer",
        "SELECT c.name FROM tillite_consumer c LEFT JOIN tillite_head h ON h.app = c.app AND h.mode = c.mode \
         WHERE h.seq IS NULL OR c.position > h.seq",
    ),
    (
        "test_and_live_never_meet",
        "tillite_event",
        "SELECT id FROM tillite_event WHERE (mode = 0) <> (id LIKE 'evt\\_test\\_%' ESCAPE '\\') \
         UNION ALL SELECT id FROM tillite_session WHERE (mode = 0) <> (id LIKE 'cs\\_test\\_%' ESCAPE '\\') \
         UNION ALL SELECT id FROM tillite_charge WHERE (mode = 0) <> (id LIKE 'ch\\_test\\_%' ESCAPE '\\') \
         UNION ALL SELECT id FROM tillite_refund WHERE (mode = 0) <> (id LIKE 're\\_test\\_%' ESCAPE '\\') \
         UNION ALL SELECT id FROM tillite_payment_method WHERE (mode = 0) <> (id LIKE 'pm\\_test\\_%' ESCAPE '\\') \
         UNION ALL SELECT id FROM tillite_setup WHERE (mode = 0) <> (id LIKE 'seti\\_test\\_%' ESCAPE '\\') \
         UNION ALL SELECT id FROM tillite_dispute WHERE (mode = 0) <> (id LIKE 'dp\\_test\\_%' ESCAPE '\\') \
         UNION ALL SELECT id FROM tillite_notice WHERE (mode = 0) <> (id LIKE 'nt\\_test\\_%' ESCAPE '\\')",
    ),
];
