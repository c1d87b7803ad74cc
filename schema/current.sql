CREATE TABLE tillite_api_key (
    app INTEGER NOT NULL,
    mode INTEGER NOT NULL CHECK (mode IN (0, 1)),
    id TEXT NOT NULL,
    lookup TEXT NOT NULL UNIQUE,
    hash BLOB NOT NULL CHECK (length(hash) = 32),
    created_at INTEGER NOT NULL,
    revoked_at INTEGER,
    revision INTEGER NOT NULL,
    PRIMARY KEY (app, mode, id)
) STRICT;
CREATE TABLE tillite_app (
    app INTEGER NOT NULL PRIMARY KEY,
    slug TEXT NOT NULL UNIQUE,
    public_url TEXT,
    created_at INTEGER NOT NULL
, late_payments TEXT NOT NULL DEFAULT 'refund' CHECK (late_payments IN ('refund', 'hold'))) STRICT;
CREATE TABLE tillite_attempt (
    app INTEGER NOT NULL,
    mode INTEGER NOT NULL CHECK (mode IN (0, 1)),
    id TEXT NOT NULL,
    operation TEXT NOT NULL CHECK (operation IN ('charge', 'authorize', 'capture', 'void', 'refund', 'setup')),
    subject TEXT NOT NULL,
    processor TEXT NOT NULL,
    key TEXT NOT NULL,
    request BLOB NOT NULL,
    request_hash BLOB NOT NULL CHECK (length(request_hash) = 32),
    reference TEXT,
    token INTEGER NOT NULL,
    next TEXT CHECK (next IN ('answer', 'lookup')),
    due_at INTEGER,
    asked INTEGER NOT NULL DEFAULT 0 CHECK (asked >= 0),
    unresolved INTEGER NOT NULL DEFAULT 0 CHECK (unresolved IN (0, 1)),
    created_at INTEGER NOT NULL, ask TEXT NOT NULL DEFAULT 'lookup' CHECK (ask IN ('execute', 'lookup', 'cancel')),
    PRIMARY KEY (app, mode, id),
    UNIQUE (app, mode, key),
    CHECK ((next IS NULL) = (due_at IS NULL))
) STRICT;
CREATE INDEX tillite_attempt_due ON tillite_attempt (app, mode, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX tillite_attempt_reference ON tillite_attempt (app, mode, processor, reference) WHERE reference IS NOT NULL;
CREATE INDEX tillite_attempt_subject ON tillite_attempt (app, mode, subject);
CREATE INDEX tillite_attempt_unresolved ON tillite_attempt (app, mode, id) WHERE unresolved = 1;
CREATE TABLE "tillite_charge" (
    app INTEGER NOT NULL,
    mode INTEGER NOT NULL CHECK (mode IN (0, 1)),
    id TEXT NOT NULL,
    intent TEXT NOT NULL,
    session TEXT NOT NULL,
    number INTEGER NOT NULL CHECK (number >= 1),
    processor TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('initiated', 'unknown', 'pending', 'requires_action', 'authorized', 'succeeded', 'failed', 'voided')),
    capture TEXT NOT NULL CHECK (capture IN ('automatic', 'manual')),
    asked TEXT CHECK (asked IN ('capture', 'void')),
    amount INTEGER NOT NULL CHECK (amount BETWEEN 1 AND 9007199254740991),
    currency TEXT NOT NULL,
    authorized INTEGER NOT NULL DEFAULT 0 CHECK (authorized BETWEEN 0 AND amount),
    captured INTEGER NOT NULL DEFAULT 0 CHECK (captured BETWEEN 0 AND 9007199254740991),
    refund_reserved INTEGER NOT NULL DEFAULT 0 CHECK (refund_reserved >= 0),
    refunded INTEGER NOT NULL DEFAULT 0 CHECK (refunded >= 0),
    lost INTEGER NOT NULL DEFAULT 0 CHECK (lost BETWEEN 0 AND captured),
    comes_with TEXT,
    fee INTEGER CHECK (fee >= 0),
    reference TEXT,
    failure_code TEXT,
    failure_message TEXT,
    failure_advice TEXT CHECK (failure_advice IN ('never', 'later', 'other_method')),
    action TEXT,
    action_deadline INTEGER,
    authorized_until INTEGER,
    hold TEXT CHECK (hold IN ('late', 'surplus', 'mismatch')),
    hold_closed INTEGER NOT NULL DEFAULT 0 CHECK (hold_closed IN (0, 1)),
    settles INTEGER NOT NULL DEFAULT 0 CHECK (settles IN (0, 1)),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    PRIMARY KEY (app, mode, id),
    UNIQUE (app, mode, intent, number),
    CHECK (refund_reserved + refunded <= captured),
    CHECK (captured <= amount OR (hold = 'mismatch' AND settles = 0)),
    CHECK (hold_closed = 0 OR hold IS NOT NULL),
    CHECK (settles = 0 OR (state = 'succeeded' AND hold IS NULL AND captured > 0 AND (captured = amount OR capture = 'manual'))),
    CHECK (asked IS NULL OR state = 'authorized'),
    CHECK (comes_with IS NULL OR (state = 'succeeded' AND hold = 'surplus' AND reference IS NOT NULL)),
    CHECK ((state = 'failed') = (failure_code IS NOT NULL))
) STRICT;
CREATE INDEX tillite_charge_action ON tillite_charge (app, mode, action_deadline) WHERE action_deadline IS NOT NULL;
CREATE INDEX tillite_charge_authorized ON tillite_charge (app, mode, authorized_until)
    WHERE authorized_until IS NOT NULL;
CREATE INDEX tillite_charge_held ON tillite_charge (app, mode, id) WHERE hold IS NOT NULL;
CREATE UNIQUE INDEX tillite_charge_live ON tillite_charge (app, mode, intent)
    WHERE state IN ('initiated', 'unknown', 'pending', 'requires_action', 'authorized');
CREATE UNIQUE INDEX tillite_charge_settles ON tillite_charge (app, mode, intent) WHERE settles = 1;
CREATE INDEX tillite_charge_surplus ON tillite_charge (app, mode, processor, reference) WHERE comes_with IS NOT NULL;
CREATE TABLE tillite_consumer (
    app INTEGER NOT NULL,
    mode INTEGER NOT NULL CHECK (mode IN (0, 1)),
    name TEXT NOT NULL,
    position INTEGER NOT NULL CHECK (position >= 0),
    failures INTEGER NOT NULL DEFAULT 0 CHECK (failures >= 0),
    failing_since INTEGER,
    due_at INTEGER NOT NULL DEFAULT 0,
    error TEXT,
    PRIMARY KEY (app, mode, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE tillite_customer (
    app INTEGER NOT NULL,
    mode INTEGER NOT NULL CHECK (mode IN (0, 1)),
    id TEXT NOT NULL,
    uid TEXT,
    name TEXT,
    email TEXT,
    phone TEXT,
    metadata TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    deleted_at INTEGER,
    revision INTEGER NOT NULL,
    PRIMARY KEY (app, mode, id)
) STRICT;
CREATE TABLE tillite_customer_reference (
    app INTEGER NOT NULL,
    mode INTEGER NOT NULL CHECK (mode IN (0, 1)),
    customer TEXT NOT NULL,
    processor TEXT NOT NULL,
    reference TEXT,
    attempt TEXT NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (app, mode, customer, processor),
    FOREIGN KEY (app, mode, customer) REFERENCES tillite_customer (app, mode, id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX tillite_customer_uid ON tillite_customer (app, mode, uid)
    WHERE uid IS NOT NULL AND deleted_at IS NULL;
CREATE TABLE "tillite_delivery" (
    app INTEGER NOT NULL,
    mode INTEGER NOT NULL CHECK (mode IN (0, 1)),
    id TEXT NOT NULL,
    endpoint INTEGER NOT NULL,
    event INTEGER NOT NULL,
    generation INTEGER NOT NULL CHECK (generation >= 1),
    state TEXT NOT NULL CHECK (state IN ('pending', 'blocked', 'in_flight', 'delivered', 'exhausted', 'canceled')),
    attempts INTEGER NOT NULL CHECK (attempts >= 0),
    due_at INTEGER NOT NULL,
    token INTEGER NOT NULL,
    last_status INTEGER,
    lane INTEGER,
    PRIMARY KEY (app, mode, id),
    UNIQUE (app, mode, event, endpoint, generation),
    FOREIGN KEY (app, mode, endpoint) REFERENCES tillite_endpoint (app, mode, number),
    FOREIGN KEY (app, mode, event) REFERENCES tillite_event (app, mode, seq),
    CHECK (state <> 'blocked' OR lane IS NOT NULL)
) STRICT, WITHOUT ROWID;
CREATE TABLE tillite_delivery_attempt (
    app INTEGER NOT NULL,
    mode INTEGER NOT NULL CHECK (mode IN (0, 1)),
    delivery TEXT NOT NULL,
    number INTEGER NOT NULL CHECK (number >= 1),
    started_at INTEGER NOT NULL,
    duration INTEGER NOT NULL CHECK (duration >= 0),
    outcome TEXT NOT NULL CHECK (outcome IN ('delivered', 'refused', 'failed', 'lost')),
    status INTEGER,
    detail TEXT,
    PRIMARY KEY (app, mode, delivery, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX tillite_delivery_due ON tillite_delivery (app, mode, endpoint, state, due_at, event)
    WHERE state IN ('pending', 'in_flight');
CREATE INDEX tillite_delivery_exhausted ON tillite_delivery (app, mode, endpoint, event) WHERE state = 'exhausted';
CREATE INDEX tillite_delivery_held_up ON tillite_delivery (app, mode, state, id) WHERE state IN ('blocked', 'exhausted', 'canceled');
CREATE INDEX tillite_delivery_held_up_of ON tillite_delivery (app, mode, endpoint, state, id)
    WHERE state IN ('blocked', 'exhausted', 'canceled');
CREATE INDEX tillite_delivery_lane ON tillite_delivery (app, mode, endpoint, lane, event)
    WHERE lane IS NOT NULL AND state IN ('pending', 'blocked', 'in_flight');
CREATE INDEX tillite_delivery_of ON tillite_delivery (app, mode, endpoint, id);
CREATE TABLE tillite_dispute (
    app INTEGER NOT NULL,
    mode INTEGER NOT NULL CHECK (mode IN (0, 1)),
    id TEXT NOT NULL,
    charge TEXT NOT NULL,
    number INTEGER NOT NULL CHECK (number >= 1),
    session TEXT NOT NULL,
    processor TEXT NOT NULL,
    reference TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('open', 'won', 'lost')),
    amount INTEGER NOT NULL CHECK (amount BETWEEN 0 AND 9007199254740991),
    currency TEXT NOT NULL,
    reason TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    PRIMARY KEY (app, mode, id),
    UNIQUE (app, mode, charge, number),
    UNIQUE (app, mode, processor, reference),
    FOREIGN KEY (app, mode, charge) REFERENCES tillite_charge (app, mode, id)
) STRICT;
CREATE TABLE tillite_endpoint (
    app INTEGER NOT NULL,
    mode INTEGER NOT NULL CHECK (mode IN (0, 1)),
    number INTEGER NOT NULL,
    id TEXT NOT NULL,
    url TEXT NOT NULL,
    url_key TEXT NOT NULL,
    format TEXT NOT NULL,
    types TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('enabled', 'disabled', 'suspended', 'deleted')),
    created_at INTEGER NOT NULL,
    revision INTEGER NOT NULL, ordering TEXT NOT NULL DEFAULT 'soft' CHECK (ordering IN ('none', 'soft', 'strict')), max_in_flight INTEGER NOT NULL DEFAULT 4 CHECK (max_in_flight BETWEEN 1 AND 64), min_gap INTEGER NOT NULL DEFAULT 0 CHECK (min_gap >= 0), suspend_after INTEGER CHECK (suspend_after > 0), canceling INTEGER NOT NULL DEFAULT 0 CHECK (canceling IN (0, 1)),
    PRIMARY KEY (app, mode, number),
    UNIQUE (app, mode, id)
) STRICT;
CREATE INDEX tillite_endpoint_canceling ON tillite_endpoint (app, mode, number) WHERE canceling = 1;
CREATE TABLE tillite_endpoint_flow (
    app INTEGER NOT NULL,
    mode INTEGER NOT NULL CHECK (mode IN (0, 1)),
    endpoint INTEGER NOT NULL,
    in_flight INTEGER CHECK (in_flight >= 1),
    paused_until INTEGER,
    next_at INTEGER,
    failing_since INTEGER,
    failures INTEGER NOT NULL DEFAULT 0 CHECK (failures >= 0),
    exhausted INTEGER NOT NULL DEFAULT 0 CHECK (exhausted >= 0),
    PRIMARY KEY (app, mode, endpoint),
    FOREIGN KEY (app, mode, endpoint) REFERENCES tillite_endpoint (app, mode, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX tillite_endpoint_kept ON tillite_endpoint (app, mode, number) WHERE state <> 'deleted';
CREATE TABLE tillite_endpoint_secret (
    app INTEGER NOT NULL,
    mode INTEGER NOT NULL CHECK (mode IN (0, 1)),
    endpoint INTEGER NOT NULL,
    number INTEGER NOT NULL CHECK (number >= 1),
    sealed BLOB NOT NULL,
    expires_at INTEGER,
    PRIMARY KEY (app, mode, endpoint, number),
    FOREIGN KEY (app, mode, endpoint) REFERENCES tillite_endpoint (app, mode, number)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX tillite_endpoint_url ON tillite_endpoint (app, mode, url_key) WHERE state <> 'deleted';
CREATE TABLE tillite_entitlement (
    app INTEGER NOT NULL,
    mode INTEGER NOT NULL CHECK (mode IN (0, 1)),
    id TEXT NOT NULL,
    uid TEXT NOT NULL,
    line TEXT NOT NULL,
    tier TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('active', 'cancelled', 'grace', 'expired', 'revoked')),
    expires_at INTEGER,
    quantity INTEGER NOT NULL CHECK (quantity >= 1),
    limits TEXT NOT NULL,
    version INTEGER NOT NULL CHECK (version >= 1),
    changed_at INTEGER NOT NULL,
    folded_at INTEGER NOT NULL,
    next_at INTEGER,
    PRIMARY KEY (app, mode, id),
    UNIQUE (app, mode, uid, line)
) STRICT;
CREATE INDEX tillite_entitlement_next ON tillite_entitlement (app, mode, next_at) WHERE next_at IS NOT NULL;
CREATE TABLE tillite_entitlement_version (
    app INTEGER NOT NULL,
    mode INTEGER NOT NULL CHECK (mode IN (0, 1)),
    entitlement TEXT NOT NULL,
    version INTEGER NOT NULL CHECK (version >= 1),
    tier TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('active', 'cancelled', 'grace', 'expired', 'revoked')),
    expires_at INTEGER,
    quantity INTEGER NOT NULL,
    limits TEXT NOT NULL,
    changed_at INTEGER NOT NULL,
    PRIMARY KEY (app, mode, entitlement, version),
    FOREIGN KEY (app, mode, entitlement) REFERENCES tillite_entitlement (app, mode, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE tillite_event (
    app INTEGER NOT NULL,
    mode INTEGER NOT NULL CHECK (mode IN (0, 1)),
    seq INTEGER NOT NULL CHECK (seq >= 1),
    id TEXT NOT NULL,
    type TEXT NOT NULL,
    object_id TEXT NOT NULL,
    object_seq INTEGER NOT NULL CHECK (object_seq >= 1),
    from_state TEXT,
    to_state TEXT,
    cause TEXT NOT NULL,
    actor TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    customer TEXT,
    body TEXT,
    body_hash BLOB NOT NULL CHECK (length(body_hash) = 32),
    hash BLOB NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (app, mode, seq),
    UNIQUE (app, mode, object_id, object_seq)
) STRICT;
CREATE TABLE tillite_event_body (
    app INTEGER NOT NULL,
    mode INTEGER NOT NULL CHECK (mode IN (0, 1)),
    seq INTEGER NOT NULL,
    format TEXT NOT NULL,
    bytes BLOB,
    hash BLOB NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (app, mode, seq, format),
    FOREIGN KEY (app, mode, seq) REFERENCES tillite_event (app, mode, seq)
) STRICT;
CREATE UNIQUE INDEX tillite_event_id ON tillite_event (app, mode, id);
CREATE TABLE tillite_evidence (
    app INTEGER NOT NULL,
    mode INTEGER NOT NULL CHECK (mode IN (0, 1)),
    attempt TEXT NOT NULL,
    number INTEGER NOT NULL CHECK (number >= 1),
    source TEXT NOT NULL CHECK (source IN ('answer', 'lookup', 'lease', 'notification', 'operator')),
    outcome TEXT NOT NULL,
    reference TEXT,
    amount INTEGER,
    currency TEXT,
    detail TEXT,
    moved INTEGER NOT NULL CHECK (moved IN (0, 1)),
    actor TEXT NOT NULL,
    host_time INTEGER NOT NULL,
    engine_time INTEGER NOT NULL,
    PRIMARY KEY (app, mode, attempt, number),
    FOREIGN KEY (app, mode, attempt) REFERENCES tillite_attempt (app, mode, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE tillite_grant (
    app INTEGER NOT NULL,
    mode INTEGER NOT NULL CHECK (mode IN (0, 1)),
    id TEXT NOT NULL,
    entitlement TEXT NOT NULL,
    number INTEGER NOT NULL CHECK (number >= 1),
    source TEXT NOT NULL CHECK (source IN ('sale', 'manual', 'subscription')),
    source_id TEXT NOT NULL,
    tier TEXT NOT NULL,
    rank INTEGER NOT NULL,
    quantity INTEGER NOT NULL CHECK (quantity >= 1),
    limits TEXT NOT NULL,
    starts_at INTEGER NOT NULL,
    ends_at INTEGER,
    revoked_at INTEGER,
    revoke_reason TEXT,
    created_at INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    PRIMARY KEY (app, mode, id),
    UNIQUE (app, mode, source, source_id),
    UNIQUE (app, mode, entitlement, number),
    FOREIGN KEY (app, mode, entitlement) REFERENCES tillite_entitlement (app, mode, id),
    CHECK (ends_at IS NULL OR ends_at > starts_at)
) STRICT;
CREATE TABLE tillite_head (
    app INTEGER NOT NULL REFERENCES tillite_app (app),
    mode INTEGER NOT NULL CHECK (mode IN (0, 1)),
    now INTEGER NOT NULL,
    clock_offset INTEGER NOT NULL DEFAULT 0 CHECK (clock_offset >= 0),
    seq INTEGER NOT NULL DEFAULT 0,
    hash BLOB NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (app, mode),
    CHECK (mode = 0 OR clock_offset = 0)
) STRICT;
CREATE TABLE tillite_idempotency (
    app INTEGER NOT NULL,
    mode INTEGER NOT NULL CHECK (mode IN (0, 1)),
    scope TEXT NOT NULL,
    key TEXT NOT NULL,
    request_hash BLOB NOT NULL CHECK (length(request_hash) = 32),
    result TEXT NOT NULL,
    created_at INTEGER NOT NULL, keep_until INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (app, mode, scope, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX tillite_idempotency_end ON tillite_idempotency (app, mode, keep_until);
CREATE TABLE tillite_notice (
    app INTEGER NOT NULL,
    mode INTEGER NOT NULL CHECK (mode IN (0, 1)),
    number INTEGER NOT NULL CHECK (number >= 1),
    id TEXT NOT NULL,
    post INTEGER NOT NULL,
    processor TEXT NOT NULL,
    key TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('evidence', 'changed', 'external_refund', 'dispute', 'ignored')),
    said TEXT NOT NULL,
    attempt TEXT,
    reference TEXT,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'parked', 'applied', 'held', 'ignored', 'unmatched')),
    why TEXT,
    matched TEXT,
    due_at INTEGER,
    tries INTEGER NOT NULL DEFAULT 0 CHECK (tries >= 0),
    in_doubt INTEGER NOT NULL DEFAULT 0 CHECK (in_doubt IN (0, 1)),
    received_at INTEGER NOT NULL,
    PRIMARY KEY (app, mode, number),
    UNIQUE (app, mode, id),
    UNIQUE (app, mode, processor, key),
    FOREIGN KEY (app, mode, post) REFERENCES tillite_post (app, mode, number),
    CHECK ((state IN ('waiting', 'parked')) = (due_at IS NOT NULL)),
    CHECK (in_doubt = 0 OR matched IS NOT NULL)
) STRICT;
CREATE INDEX tillite_notice_doubted ON tillite_notice (app, mode, matched) WHERE in_doubt = 1;
CREATE INDEX tillite_notice_due ON tillite_notice (app, mode, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX tillite_notice_matched ON tillite_notice (app, mode, matched) WHERE due_at IS NOT NULL AND matched IS NOT NULL;
CREATE INDEX tillite_notice_parked ON tillite_notice (app, mode, reference) WHERE state = 'parked' AND reference IS NOT NULL;
CREATE TABLE tillite_payment_intent (
    app INTEGER NOT NULL,
    mode INTEGER NOT NULL CHECK (mode IN (0, 1)),
    id TEXT NOT NULL,
    session TEXT NOT NULL,
    amount INTEGER NOT NULL CHECK (amount BETWEEN 1 AND 9007199254740991),
    currency TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    canceled_at INTEGER,
    revision INTEGER NOT NULL,
    PRIMARY KEY (app, mode, id)
) STRICT;
CREATE TABLE tillite_payment_method (
    app INTEGER NOT NULL,
    mode INTEGER NOT NULL CHECK (mode IN (0, 1)),
    id TEXT NOT NULL,
    customer TEXT NOT NULL,
    processor TEXT NOT NULL,
    token TEXT,
    brand TEXT,
    last4 TEXT CHECK (last4 IS NULL OR length(last4) = 4),
    expiry_month INTEGER CHECK (expiry_month BETWEEN 1 AND 12),
    expiry_year INTEGER CHECK (expiry_year BETWEEN 2000 AND 2199),
    state TEXT NOT NULL CHECK (state IN ('attached', 'detached')),
    attempt TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    detached_at INTEGER,
    revision INTEGER NOT NULL,
    PRIMARY KEY (app, mode, id),
    UNIQUE (app, mode, customer, processor, token),
    FOREIGN KEY (app, mode, customer) REFERENCES tillite_customer (app, mode, id),
    CHECK ((expiry_month IS NULL) = (expiry_year IS NULL)),
    CHECK (state = 'attached' OR detached_at IS NOT NULL),
    CHECK (state = 'detached' OR token IS NOT NULL)
) STRICT;
CREATE TABLE tillite_post (
    app INTEGER NOT NULL,
    mode INTEGER NOT NULL CHECK (mode IN (0, 1)),
    number INTEGER NOT NULL CHECK (number >= 1),
    processor TEXT NOT NULL,
    body BLOB NOT NULL,
    received_at INTEGER NOT NULL,
    PRIMARY KEY (app, mode, number)
) STRICT;
CREATE TABLE tillite_price (
    app INTEGER NOT NULL,
    mode INTEGER NOT NULL CHECK (mode IN (0, 1)),
    id TEXT NOT NULL,
    product TEXT NOT NULL,
    currency TEXT NOT NULL,
    exponent INTEGER NOT NULL CHECK (exponent BETWEEN 0 AND 4),
    unit_amount INTEGER NOT NULL CHECK (unit_amount BETWEEN 0 AND 9007199254740991),
    kind TEXT NOT NULL CHECK (kind IN ('one_time', 'recurring')),
    unit TEXT CHECK (unit IN ('day', 'week', 'month', 'year')),
    unit_count INTEGER CHECK (unit_count BETWEEN 1 AND 1000),
    trial_days INTEGER CHECK (trial_days BETWEEN 1 AND 3650),
    access_days INTEGER CHECK (access_days BETWEEN 1 AND 36500),
    created_at INTEGER NOT NULL,
    archived_at INTEGER,
    revision INTEGER NOT NULL,
    PRIMARY KEY (app, mode, id),
    FOREIGN KEY (app, mode, product) REFERENCES tillite_product (app, mode, id),
    CHECK ((unit IS NULL) = (unit_count IS NULL)),
    CHECK (kind = 'one_time' OR (unit IS NOT NULL AND access_days IS NULL)),
    CHECK (kind = 'recurring' OR trial_days IS NULL)
) STRICT;
CREATE UNIQUE INDEX tillite_price_on_sale ON tillite_price
    (app, mode, product, currency, kind, coalesce(unit, ''), coalesce(unit_count, 0)) WHERE archived_at IS NULL;
CREATE TABLE tillite_product (
    app INTEGER NOT NULL,
    mode INTEGER NOT NULL CHECK (mode IN (0, 1)),
    id TEXT NOT NULL,
    tier TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT,
    line TEXT NOT NULL,
    rank INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    archived_at INTEGER,
    revision INTEGER NOT NULL,
    PRIMARY KEY (app, mode, id),
    UNIQUE (app, mode, tier)
) STRICT;
CREATE TABLE tillite_refund (
    app INTEGER NOT NULL,
    mode INTEGER NOT NULL CHECK (mode IN (0, 1)),
    id TEXT NOT NULL,
    charge TEXT NOT NULL,
    intent TEXT NOT NULL,
    session TEXT NOT NULL,
    number INTEGER NOT NULL CHECK (number >= 1),
    processor TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'unknown', 'succeeded', 'failed', 'canceled')),
    amount INTEGER NOT NULL CHECK (amount BETWEEN 1 AND 9007199254740991),
    currency TEXT NOT NULL,
    source TEXT NOT NULL CHECK (source IN ('requested', 'late', 'surplus', 'mismatch', 'processor')),
    effect TEXT CHECK (effect IN ('keep', 'revoke', 'at_period_end')),
    reason TEXT,
    metadata TEXT NOT NULL,
    reference TEXT,
    failure_code TEXT,
    failure_message TEXT,
    failure_advice TEXT CHECK (failure_advice IN ('never', 'later', 'other_method')),
    mismatched INTEGER NOT NULL DEFAULT 0 CHECK (mismatched IN (0, 1)),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    PRIMARY KEY (app, mode, id),
    UNIQUE (app, mode, charge, number),
    FOREIGN KEY (app, mode, charge) REFERENCES tillite_charge (app, mode, id),
    CHECK ((state = 'failed') = (failure_code IS NOT NULL))
) STRICT;
CREATE TABLE tillite_refund_line (
    app INTEGER NOT NULL,
    mode INTEGER NOT NULL CHECK (mode IN (0, 1)),
    refund TEXT NOT NULL,
    position INTEGER NOT NULL CHECK (position >= 0),
    quantity INTEGER NOT NULL CHECK (quantity >= 1),
    amount INTEGER NOT NULL CHECK (amount >= 0),
    PRIMARY KEY (app, mode, refund, position),
    FOREIGN KEY (app, mode, refund) REFERENCES tillite_refund (app, mode, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX tillite_refund_open ON tillite_refund (app, mode, id) WHERE state IN ('pending', 'unknown');
CREATE TABLE tillite_replay (
    app INTEGER NOT NULL,
    mode INTEGER NOT NULL CHECK (mode IN (0, 1)),
    id TEXT NOT NULL,
    endpoint INTEGER NOT NULL,
    after_seq INTEGER NOT NULL,
    to_seq INTEGER NOT NULL,
    which TEXT NOT NULL CHECK (which IN ('exhausted', 'undelivered', 'all')),
    state TEXT NOT NULL CHECK (state IN ('running', 'done', 'canceled')),
    seen_to INTEGER NOT NULL,
    made INTEGER NOT NULL CHECK (made >= 0),
    passed INTEGER NOT NULL CHECK (passed >= 0),
    actor TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (app, mode, id),
    FOREIGN KEY (app, mode, endpoint) REFERENCES tillite_endpoint (app, mode, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX tillite_replay_running ON tillite_replay (app, mode, state, id, endpoint) WHERE state = 'running';
CREATE TABLE tillite_retention (
    app INTEGER NOT NULL,
    mode INTEGER NOT NULL CHECK (mode IN (0, 1)),
    what TEXT NOT NULL CHECK (what IN ('attempt', 'delivery', 'replay')),
    gone_to TEXT NOT NULL,
    seen_to TEXT NOT NULL,
    round_at INTEGER NOT NULL,
    next_at INTEGER NOT NULL,
    PRIMARY KEY (app, mode, what)
) STRICT, WITHOUT ROWID;
CREATE TABLE tillite_schema (
    only_row INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1),
    version INTEGER NOT NULL CHECK (version >= 1),
    made_at INTEGER NOT NULL,
    instance TEXT,
    held INTEGER NOT NULL DEFAULT 0 CHECK (held IN (0, 1))
) STRICT;
CREATE TABLE tillite_session (
    app INTEGER NOT NULL,
    mode INTEGER NOT NULL CHECK (mode IN (0, 1)),
    id TEXT NOT NULL,
    dialect TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('open', 'processing', 'complete', 'expired')),
    expired_reason TEXT CHECK (expired_reason IN ('timeout', 'merchant', 'buyer', 'superseded')),
    customer TEXT,
    for_uid TEXT,
    email TEXT,
    currency TEXT,
    exponent INTEGER CHECK (exponent BETWEEN 0 AND 4),
    subtotal INTEGER NOT NULL CHECK (subtotal BETWEEN 0 AND 9007199254740991),
    discount INTEGER NOT NULL CHECK (discount BETWEEN 0 AND subtotal),
    tax INTEGER NOT NULL CHECK (tax BETWEEN 0 AND 9007199254740991),
    total INTEGER NOT NULL CHECK (total = subtotal - discount + tax AND total <= 9007199254740991),
    snapshot BLOB NOT NULL CHECK (length(snapshot) = 32),
    completion TEXT NOT NULL CHECK (completion IN ('redirect', 'hosted_confirmation')),
    return_url TEXT,
    cancel_url TEXT,
    public_url TEXT,
    order_key TEXT,
    metadata TEXT NOT NULL,
    intent TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    completed_at INTEGER,
    revision INTEGER NOT NULL, capture TEXT NOT NULL DEFAULT 'automatic' CHECK (capture IN ('automatic', 'manual')),
    PRIMARY KEY (app, mode, id),
    CHECK ((state = 'expired') = (expired_reason IS NOT NULL)),
    CHECK ((state = 'complete') = (completed_at IS NOT NULL)),
    CHECK ((completion = 'redirect') = (return_url IS NOT NULL))
) STRICT;
CREATE INDEX tillite_session_expiry ON tillite_session (app, mode, expires_at) WHERE state = 'open';
CREATE TABLE tillite_session_line (
    app INTEGER NOT NULL,
    mode INTEGER NOT NULL CHECK (mode IN (0, 1)),
    session TEXT NOT NULL,
    position INTEGER NOT NULL CHECK (position >= 0),
    price TEXT,
    product TEXT,
    name TEXT NOT NULL,
    quantity INTEGER NOT NULL CHECK (quantity BETWEEN 1 AND 1000000),
    unit_amount INTEGER NOT NULL CHECK (unit_amount BETWEEN 0 AND 9007199254740991),
    subtotal INTEGER NOT NULL CHECK (subtotal >= 0),
    discount INTEGER NOT NULL CHECK (discount BETWEEN 0 AND subtotal),
    tax INTEGER NOT NULL CHECK (tax >= 0),
    total INTEGER NOT NULL CHECK (total = subtotal - discount + tax),
    tier TEXT,
    line TEXT,
    rank INTEGER,
    access_days INTEGER CHECK (access_days BETWEEN 1 AND 36500000),
    PRIMARY KEY (app, mode, session, position),
    FOREIGN KEY (app, mode, session) REFERENCES tillite_session (app, mode, id),
    CHECK ((tier IS NULL) = (line IS NULL) AND (tier IS NULL) = (rank IS NULL))
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX tillite_session_order ON tillite_session (app, mode, order_key)
    WHERE order_key IS NOT NULL AND state IN ('open', 'processing', 'complete');
CREATE TABLE tillite_setup (
    app INTEGER NOT NULL,
    mode INTEGER NOT NULL CHECK (mode IN (0, 1)),
    id TEXT NOT NULL,
    customer TEXT NOT NULL,
    number INTEGER NOT NULL CHECK (number >= 1),
    processor TEXT NOT NULL,
    currency TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('initiated', 'unknown', 'pending', 'requires_action', 'succeeded', 'failed', 'canceled')),
    method TEXT,
    reference TEXT,
    failure_code TEXT,
    failure_message TEXT,
    failure_advice TEXT CHECK (failure_advice IN ('never', 'later', 'other_method')),
    action TEXT,
    action_deadline INTEGER,
    mismatched INTEGER NOT NULL DEFAULT 0 CHECK (mismatched IN (0, 1)),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    PRIMARY KEY (app, mode, id),
    UNIQUE (app, mode, customer, number),
    FOREIGN KEY (app, mode, customer) REFERENCES tillite_customer (app, mode, id),
    FOREIGN KEY (app, mode, method) REFERENCES tillite_payment_method (app, mode, id),
    CHECK (method IS NULL OR state = 'succeeded'),
    CHECK ((state = 'failed') = (failure_code IS NOT NULL))
) STRICT;
CREATE INDEX tillite_setup_action ON tillite_setup (app, mode, action_deadline) WHERE action_deadline IS NOT NULL;
CREATE INDEX tillite_setup_live ON tillite_setup (app, mode, id)
    WHERE state IN ('initiated', 'unknown', 'pending', 'requires_action');
