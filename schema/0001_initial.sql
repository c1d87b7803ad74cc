-- Tillite, schema version 1.
--
-- What holds for every table:
--   * Names start with tillite_, so that a host can keep its own tables in the same file.
--     PRAGMA user_version and application_id belong to the host and are never touched.
--   * `app` is the small number of an app, `mode` is 0 for test and 1 for live. They lead every
--     key, so that one app's or mode's rows never meet another's.
--   * Times are milliseconds since 1970-01-01T00:00:00Z. "Engine time" is the app's own, kept in
--     tillite_head and never going back; "host time" is the host's clock as it was.
--   * Money is in minor units of the row's currency, 0 to 2^53 - 1.
--   * `id` is the public id (prefix_mode_body); its body starts with its time, so neighbours in
--     time are neighbours in the index.
--   * `revision` counts the events about the object, and is its newest event's object_seq. An
--     update names the revision that it read, so that no write can overtake another unseen.
--   * Words are stored in lower case; the CHECK beside each names them all.

-- One row: whose file this is.
CREATE TABLE tillite_schema (
    only_row   INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1), -- there is exactly one row
    version    INTEGER NOT NULL CHECK (version >= 1),             -- the newest migration that ran
    made_at    INTEGER NOT NULL,                                  -- host time of the file's creation
    instance   TEXT,                                              -- label of the installation that owns the file; null: none was given
    held       INTEGER NOT NULL DEFAULT 0 CHECK (held IN (0, 1))  -- 1: a copy that must not call processors in live mode until adopted
) STRICT;

-- An app: one shop or product, a world of its own.
CREATE TABLE tillite_app (
    app        INTEGER NOT NULL PRIMARY KEY,  -- the number that stands in every other table
    slug       TEXT NOT NULL UNIQUE,          -- the name that hosts use
    public_url TEXT,                          -- base of the links to the hosted pages; null: sessions have no URL
    created_at INTEGER NOT NULL               -- host time
) STRICT;

-- The head of each world: every write starts by moving it, so writes are ordered by it.
CREATE TABLE tillite_head (
    app          INTEGER NOT NULL REFERENCES tillite_app (app),
    mode         INTEGER NOT NULL CHECK (mode IN (0, 1)),
    now          INTEGER NOT NULL,                                   -- engine time of the newest write; never goes back
    clock_offset INTEGER NOT NULL DEFAULT 0 CHECK (clock_offset >= 0), -- how far the test clock is ahead of host time, ms
    seq          INTEGER NOT NULL DEFAULT 0,                         -- position of the newest event; positions have no gaps
    hash         BLOB NOT NULL CHECK (length(hash) = 32),            -- hash of the newest event; 32 zero bytes before the first
    PRIMARY KEY (app, mode),
    CHECK (mode = 0 OR clock_offset = 0)                             -- live time is never shifted
) STRICT;

-- An API key. The secret is shown once; only its hash is kept.
CREATE TABLE tillite_api_key (
    app         INTEGER NOT NULL,
    mode        INTEGER NOT NULL CHECK (mode IN (0, 1)),
    id          TEXT NOT NULL,
    lookup      TEXT NOT NULL UNIQUE,  -- the public part of the secret, by which it is found
    hash        BLOB NOT NULL CHECK (length(hash) = 32), -- SHA-256 of the whole secret
    created_at  INTEGER NOT NULL,      -- host time
    revoked_at  INTEGER,               -- host time from which it is refused; null: in force
    revision    INTEGER NOT NULL,
    PRIMARY KEY (app, mode, id)
) STRICT;

-- Something that is sold. A tier is the name under which it is bought and granted.
CREATE TABLE tillite_product (
    app         INTEGER NOT NULL,
    mode        INTEGER NOT NULL CHECK (mode IN (0, 1)),
    id          TEXT NOT NULL,
    tier        TEXT NOT NULL,          -- the name under which it is bought and granted
    name        TEXT NOT NULL,          -- what the buyer reads
    description TEXT,                   -- more for the buyer to read; null: nothing
    line        TEXT NOT NULL,          -- entitlements are kept per customer and line
    rank        INTEGER NOT NULL,       -- within a line the highest-ranked live grant shows
    created_at  INTEGER NOT NULL,       -- engine time
    archived_at INTEGER,                -- engine time from which it is not sold; null: on sale
    revision    INTEGER NOT NULL,
    PRIMARY KEY (app, mode, id),
    UNIQUE (app, mode, tier)
) STRICT;

-- What a product costs, in one currency. Never changed and never deleted: a new amount is a new
-- row, the old one is archived, so whoever refers to a price sees what was agreed.
CREATE TABLE tillite_price (
    app            INTEGER NOT NULL,
    mode           INTEGER NOT NULL CHECK (mode IN (0, 1)),
    id             TEXT NOT NULL,
    product        TEXT NOT NULL,
    currency       TEXT NOT NULL,       -- ISO 4217, upper case
    exponent       INTEGER NOT NULL CHECK (exponent BETWEEN 0 AND 4), -- decimals of the currency when the price was made
    unit_amount    INTEGER NOT NULL CHECK (unit_amount BETWEEN 0 AND 9007199254740991), -- for one
    kind           TEXT NOT NULL CHECK (kind IN ('one_time', 'recurring')), -- paid once, or every interval
    unit           TEXT CHECK (unit IN ('day', 'week', 'month', 'year')), -- null: no interval, a one-time sale for ever
    unit_count     INTEGER CHECK (unit_count BETWEEN 1 AND 1000), -- how many units make the interval
    trial_days     INTEGER CHECK (trial_days BETWEEN 1 AND 3650),  -- recurring only
    access_days    INTEGER CHECK (access_days BETWEEN 1 AND 36500), -- one_time only: overrides what the interval gives
    created_at     INTEGER NOT NULL,    -- engine time
    archived_at    INTEGER,             -- engine time from which it is not sold; null: on sale
    revision       INTEGER NOT NULL,
    PRIMARY KEY (app, mode, id),
    FOREIGN KEY (app, mode, product) REFERENCES tillite_product (app, mode, id),
    CHECK ((unit IS NULL) = (unit_count IS NULL)),
    CHECK (kind = 'one_time' OR (unit IS NOT NULL AND access_days IS NULL)),
    CHECK (kind = 'recurring' OR trial_days IS NULL)
) STRICT;
-- One price on sale per product, currency, kind and interval.
CREATE UNIQUE INDEX tillite_price_on_sale ON tillite_price
    (app, mode, product, currency, kind, coalesce(unit, ''), coalesce(unit_count, 0)) WHERE archived_at IS NULL;

-- Somebody who pays or uses. Personal data stands here and in rows that name the customer.
CREATE TABLE tillite_customer (
    app         INTEGER NOT NULL,
    mode        INTEGER NOT NULL CHECK (mode IN (0, 1)),
    id          TEXT NOT NULL,
    uid         TEXT,                   -- the host's own name for the customer; null: none
    name        TEXT,                   -- as given; null: not given
    email       TEXT,                   -- as given; null: not given
    phone       TEXT,                   -- as given; null: not given
    metadata    TEXT NOT NULL,          -- JSON object of strings
    created_at  INTEGER NOT NULL,       -- engine time
    updated_at  INTEGER NOT NULL,       -- engine time
    deleted_at  INTEGER,                -- engine time; null: not deleted
    revision    INTEGER NOT NULL,
    PRIMARY KEY (app, mode, id)
) STRICT;
CREATE UNIQUE INDEX tillite_customer_uid ON tillite_customer (app, mode, uid)
    WHERE uid IS NOT NULL AND deleted_at IS NULL;

-- A checkout session: what one buyer is asked to pay, once.
CREATE TABLE tillite_session (
    app            INTEGER NOT NULL,
    mode           INTEGER NOT NULL CHECK (mode IN (0, 1)),
    id             TEXT NOT NULL,
    dialect        TEXT NOT NULL,       -- the wire format that made it: native, xpay, elixpo, jopay
    state          TEXT NOT NULL CHECK (state IN ('open', 'processing', 'complete', 'expired')), -- processing: a payment is in flight
    expired_reason TEXT CHECK (expired_reason IN ('timeout', 'merchant', 'buyer', 'superseded')), -- who or what closed it
    customer       TEXT,                -- the payer; null: a guest
    for_uid        TEXT,                -- whose entitlement a sale raises; null: nobody's
    email          TEXT,                -- where the caller wants the receipt; stored and echoed
    currency       TEXT,                -- null until there is a line
    exponent       INTEGER CHECK (exponent BETWEEN 0 AND 4), -- decimals of the currency when the lines were priced
    subtotal       INTEGER NOT NULL CHECK (subtotal BETWEEN 0 AND 9007199254740991), -- sum over the lines
    discount       INTEGER NOT NULL CHECK (discount BETWEEN 0 AND subtotal), -- sum over the lines
    tax            INTEGER NOT NULL CHECK (tax BETWEEN 0 AND 9007199254740991), -- sum over the lines
    total          INTEGER NOT NULL CHECK (total = subtotal - discount + tax AND total <= 9007199254740991), -- what is paid
    snapshot       BLOB NOT NULL CHECK (length(snapshot) = 32), -- SHA-256 of lines and totals; fixed from the first attempt on
    completion     TEXT NOT NULL CHECK (completion IN ('redirect', 'hosted_confirmation')), -- what happens after payment
    return_url     TEXT,                -- as given, before the id is put in; only with redirect
    cancel_url     TEXT,                -- where a buyer goes to give up; null: nowhere
    public_url     TEXT,                -- base of the page's link, frozen at creation; null: no page
    order_key      TEXT,                -- the host's order that at most one live or paid session may serve
    metadata       TEXT NOT NULL,       -- JSON object of strings
    intent         TEXT,                -- the payment intent; null until the first attempt
    created_at     INTEGER NOT NULL,    -- engine time
    updated_at     INTEGER NOT NULL,    -- engine time
    expires_at     INTEGER NOT NULL,    -- engine time
    completed_at   INTEGER,             -- engine time
    revision       INTEGER NOT NULL,
    PRIMARY KEY (app, mode, id),
    CHECK ((state = 'expired') = (expired_reason IS NOT NULL)),
    CHECK ((state = 'complete') = (completed_at IS NOT NULL)),
    CHECK ((completion = 'redirect') = (return_url IS NOT NULL))
) STRICT;
-- The sessions that time can close.
CREATE INDEX tillite_session_expiry ON tillite_session (app, mode, expires_at) WHERE state = 'open';

-- The lines of a session, with the terms of the sale frozen into them.
CREATE TABLE tillite_session_line (
    app          INTEGER NOT NULL,
    mode         INTEGER NOT NULL CHECK (mode IN (0, 1)),
    session      TEXT NOT NULL,
    position     INTEGER NOT NULL CHECK (position >= 0), -- 0 for the first line
    price        TEXT,                  -- the catalogue's price; null: priced by the caller
    product      TEXT,                  -- the catalogue's product; null: named by the caller
    name         TEXT NOT NULL,         -- what the buyer reads
    quantity     INTEGER NOT NULL CHECK (quantity BETWEEN 1 AND 1000000), -- how many
    unit_amount  INTEGER NOT NULL CHECK (unit_amount BETWEEN 0 AND 9007199254740991), -- for one
    subtotal     INTEGER NOT NULL CHECK (subtotal >= 0), -- unit_amount times quantity; kept in range by the session's sum
    discount     INTEGER NOT NULL CHECK (discount BETWEEN 0 AND subtotal), -- what is taken off the line
    tax          INTEGER NOT NULL CHECK (tax >= 0), -- what is added to the line
    total        INTEGER NOT NULL CHECK (total = subtotal - discount + tax), -- what the line adds to the session
    tier         TEXT,                  -- what a sale grants; null: nothing
    line         TEXT,                  -- the line of entitlements that the tier belongs to
    rank         INTEGER,               -- the tier's rank when it was sold
    access_days  INTEGER CHECK (access_days BETWEEN 1 AND 36500000), -- how long the grant lasts; null: for ever
    PRIMARY KEY (app, mode, session, position),
    FOREIGN KEY (app, mode, session) REFERENCES tillite_session (app, mode, id),
    CHECK ((tier IS NULL) = (line IS NULL) AND (tier IS NULL) = (rank IS NULL))
) STRICT, WITHOUT ROWID;

-- The wish to collect one amount. Its status is not stored: it follows from its charges.
CREATE TABLE tillite_payment_intent (
    app         INTEGER NOT NULL,
    mode        INTEGER NOT NULL CHECK (mode IN (0, 1)),
    id          TEXT NOT NULL,
    session     TEXT NOT NULL,
    amount      INTEGER NOT NULL CHECK (amount BETWEEN 1 AND 9007199254740991), -- what is collected: the session's total
    currency    TEXT NOT NULL,          -- the session's
    created_at  INTEGER NOT NULL,       -- engine time
    canceled_at INTEGER,                -- engine time; null: not canceled
    revision    INTEGER NOT NULL,
    PRIMARY KEY (app, mode, id)
) STRICT;

-- One attempt to collect an intent's amount.
CREATE TABLE tillite_charge (
    app             INTEGER NOT NULL,
    mode            INTEGER NOT NULL CHECK (mode IN (0, 1)),
    id              TEXT NOT NULL,
    intent          TEXT NOT NULL,      -- the payment intent that it collects for
    session         TEXT NOT NULL,
    number          INTEGER NOT NULL CHECK (number >= 1), -- 1 for the intent's first charge
    processor       TEXT NOT NULL,      -- the name of the processor that was asked
    state           TEXT NOT NULL CHECK (state IN ('initiated', 'unknown', 'pending', 'requires_action', 'authorized', 'succeeded', 'failed', 'voided')), -- what is known of it; unknown ends by evidence only
    amount          INTEGER NOT NULL CHECK (amount BETWEEN 1 AND 9007199254740991), -- what is collected: the intent's amount
    currency        TEXT NOT NULL,      -- the intent's
    authorized      INTEGER NOT NULL DEFAULT 0 CHECK (authorized BETWEEN 0 AND amount), -- held at the processor, not taken
    captured        INTEGER NOT NULL DEFAULT 0 CHECK (captured BETWEEN 0 AND amount),   -- taken
    refund_reserved INTEGER NOT NULL DEFAULT 0 CHECK (refund_reserved >= 0), -- refunds whose outcome is not known yet
    refunded        INTEGER NOT NULL DEFAULT 0 CHECK (refunded >= 0), -- given back
    fee             INTEGER CHECK (fee >= 0), -- what the processor says it kept; null: it did not say
    reference       TEXT,               -- the processor's own name for the charge
    failure_code    TEXT,               -- the reason as a word; null: it did not fail
    failure_message TEXT,               -- the reason for people
    failure_advice  TEXT CHECK (failure_advice IN ('never', 'later', 'other_method')), -- what the processor advises; null: nothing
    action          TEXT,               -- what the buyer must do, as JSON; null: nothing
    action_deadline INTEGER,            -- engine time until which the action is awaited
    authorized_until INTEGER,           -- engine time at which an authorisation lapses
    hold            TEXT CHECK (hold IN ('late', 'surplus', 'mismatch')), -- money that settled nothing, awaiting a decision
    settles         INTEGER NOT NULL DEFAULT 0 CHECK (settles IN (0, 1)), -- 1: this charge completed its session
    created_at      INTEGER NOT NULL,   -- engine time
    updated_at      INTEGER NOT NULL,   -- engine time
    revision        INTEGER NOT NULL,
    PRIMARY KEY (app, mode, id),
    UNIQUE (app, mode, intent, number),
    CHECK (refund_reserved + refunded <= captured),
    CHECK (settles = 0 OR (state = 'succeeded' AND hold IS NULL AND captured = amount)),
    CHECK ((state = 'failed') = (failure_code IS NOT NULL))
) STRICT;
-- At most one live charge per intent, and at most one that settles it.
CREATE UNIQUE INDEX tillite_charge_live ON tillite_charge (app, mode, intent)
    WHERE state IN ('initiated', 'unknown', 'pending', 'requires_action', 'authorized');
CREATE UNIQUE INDEX tillite_charge_settles ON tillite_charge (app, mode, intent) WHERE settles = 1;
-- The charges that wait for an operator.
CREATE INDEX tillite_charge_held ON tillite_charge (app, mode, id) WHERE hold IS NOT NULL;

-- The ledger of what was asked of processors: written before the processor is called.
CREATE TABLE tillite_attempt (
    app          INTEGER NOT NULL,
    mode         INTEGER NOT NULL CHECK (mode IN (0, 1)),
    id           TEXT NOT NULL,
    operation    TEXT NOT NULL CHECK (operation IN ('charge', 'authorize', 'capture', 'void', 'refund', 'setup')), -- what is asked
    subject      TEXT NOT NULL,         -- the object that the operation moves, such as a charge
    processor    TEXT NOT NULL,         -- the name of the processor that is asked
    key          TEXT NOT NULL,         -- the idempotency key at the processor
    request      BLOB NOT NULL,         -- the frozen request, JSON; sent the same every time
    request_hash BLOB NOT NULL CHECK (length(request_hash) = 32), -- SHA-256 of request
    reference    TEXT,                  -- the processor's own name, once known
    token        INTEGER NOT NULL,      -- fences the call in flight: an older caller's token no longer matches
    next         TEXT CHECK (next IN ('answer', 'lookup')), -- what is awaited at due_at; null: nothing
    due_at       INTEGER,               -- host time: end of the call's lease, or when to look up
    asked        INTEGER NOT NULL DEFAULT 0 CHECK (asked >= 0), -- look-ups made so far
    unresolved   INTEGER NOT NULL DEFAULT 0 CHECK (unresolved IN (0, 1)), -- 1: look-ups cannot tell, a human must
    created_at   INTEGER NOT NULL,      -- host time
    PRIMARY KEY (app, mode, id),
    UNIQUE (app, mode, key),
    CHECK ((next IS NULL) = (due_at IS NULL))
) STRICT;
CREATE INDEX tillite_attempt_subject ON tillite_attempt (app, mode, subject);
CREATE INDEX tillite_attempt_due ON tillite_attempt (app, mode, due_at) WHERE due_at IS NOT NULL;

-- What was learned about an attempt, from whom, in the order in which it was learned. Append-only.
CREATE TABLE tillite_evidence (
    app         INTEGER NOT NULL,
    mode        INTEGER NOT NULL CHECK (mode IN (0, 1)),
    attempt     TEXT NOT NULL,
    number      INTEGER NOT NULL CHECK (number >= 1), -- 1 for what was learned first
    source      TEXT NOT NULL CHECK (source IN ('answer', 'lookup', 'lease', 'notification', 'operator')), -- from whom it was learned
    outcome     TEXT NOT NULL,          -- the outcome's name
    reference   TEXT,                   -- the processor's own name for what happened
    amount      INTEGER,                -- what the processor says it moved; null: it did not say
    currency    TEXT,                   -- of amount
    detail      TEXT,                   -- code or reason, card numbers masked
    moved       INTEGER NOT NULL CHECK (moved IN (0, 1)), -- 0: stored, but older or weaker than what was known
    actor       TEXT NOT NULL,          -- on whose behalf it was recorded
    host_time   INTEGER NOT NULL,       -- when it was recorded
    engine_time INTEGER NOT NULL,       -- when it was recorded
    PRIMARY KEY (app, mode, attempt, number),
    FOREIGN KEY (app, mode, attempt) REFERENCES tillite_attempt (app, mode, id)
) STRICT, WITHOUT ROWID;

-- One reason why somebody may use something: a purchase, a subscription, a decision by hand.
CREATE TABLE tillite_grant (
    app           INTEGER NOT NULL,
    mode          INTEGER NOT NULL CHECK (mode IN (0, 1)),
    id            TEXT NOT NULL,
    entitlement   TEXT NOT NULL,
    number        INTEGER NOT NULL CHECK (number >= 1), -- 1 for the entitlement's first grant; of equal ranks the highest shows
    source        TEXT NOT NULL CHECK (source IN ('sale', 'manual', 'subscription')), -- what kind of reason
    source_id     TEXT NOT NULL,        -- the session's line (id:position), or the grant's own id
    tier          TEXT NOT NULL,        -- what is granted
    rank          INTEGER NOT NULL,     -- the tier's rank when it was granted
    quantity      INTEGER NOT NULL CHECK (quantity >= 1), -- how many
    limits        TEXT NOT NULL,        -- JSON object of strings: what the tier allowed when it was granted
    starts_at     INTEGER NOT NULL,     -- engine time
    ends_at       INTEGER,              -- engine time, exclusive; null: for ever
    revoked_at    INTEGER,              -- engine time from which it no longer counts; null: not revoked
    revoke_reason TEXT,                 -- why it was taken back; null: not revoked
    created_at    INTEGER NOT NULL,     -- engine time
    revision      INTEGER NOT NULL,
    PRIMARY KEY (app, mode, id),
    UNIQUE (app, mode, source, source_id),
    UNIQUE (app, mode, entitlement, number),
    FOREIGN KEY (app, mode, entitlement) REFERENCES tillite_entitlement (app, mode, id),
    CHECK (ends_at IS NULL OR ends_at > starts_at)
) STRICT;

-- What somebody may use in one line, as the newest version says.
CREATE TABLE tillite_entitlement (
    app         INTEGER NOT NULL,
    mode        INTEGER NOT NULL CHECK (mode IN (0, 1)),
    id          TEXT NOT NULL,
    uid         TEXT NOT NULL,          -- the host's own name for whom it is
    line        TEXT NOT NULL,          -- the line that the tiers belong to
    tier        TEXT NOT NULL,          -- what may be used; the last one after it ended
    status      TEXT NOT NULL CHECK (status IN ('active', 'cancelled', 'grace', 'expired', 'revoked')), -- whether it may be used, or how it ended
    expires_at  INTEGER,                -- engine time at which it ends or ended; null: never
    quantity    INTEGER NOT NULL CHECK (quantity >= 1), -- summed over the grants that show
    limits      TEXT NOT NULL,          -- JSON object of strings
    version     INTEGER NOT NULL CHECK (version >= 1), -- grows by one with each visible change
    changed_at  INTEGER NOT NULL,       -- engine time from which this version holds
    folded_at   INTEGER NOT NULL,       -- engine time up to which the grants' starts and ends are in the version
    next_at     INTEGER,                -- engine time of the next start or end of a grant; null: none
    PRIMARY KEY (app, mode, id),
    UNIQUE (app, mode, uid, line)
) STRICT;
CREATE INDEX tillite_entitlement_next ON tillite_entitlement (app, mode, next_at) WHERE next_at IS NOT NULL;

-- Every version of every entitlement. Append-only.
CREATE TABLE tillite_entitlement_version (
    app         INTEGER NOT NULL,
    mode        INTEGER NOT NULL CHECK (mode IN (0, 1)),
    entitlement TEXT NOT NULL,
    version     INTEGER NOT NULL CHECK (version >= 1), -- 1, 2, 3 … per entitlement, without a gap
    tier        TEXT NOT NULL,          -- as in the entitlement
    status      TEXT NOT NULL CHECK (status IN ('active', 'cancelled', 'grace', 'expired', 'revoked')), -- as in the entitlement
    expires_at  INTEGER,                -- engine time; as in the entitlement
    quantity    INTEGER NOT NULL,       -- as in the entitlement
    limits      TEXT NOT NULL,          -- as in the entitlement
    changed_at  INTEGER NOT NULL,       -- engine time from which it holds
    PRIMARY KEY (app, mode, entitlement, version),
    FOREIGN KEY (app, mode, entitlement) REFERENCES tillite_entitlement (app, mode, id)
) STRICT, WITHOUT ROWID;

-- What happened, in order: the history of every object and the source of every webhook. Append-only.
CREATE TABLE tillite_event (
    app        INTEGER NOT NULL,
    mode       INTEGER NOT NULL CHECK (mode IN (0, 1)),
    seq        INTEGER NOT NULL CHECK (seq >= 1), -- position: 1, 2, 3 … per app and mode, in commit order
    id         TEXT NOT NULL,
    type       TEXT NOT NULL,          -- the engine's own name of the event
    object_id  TEXT NOT NULL,          -- what it happened to
    object_seq INTEGER NOT NULL CHECK (object_seq >= 1), -- 1, 2, 3 … per object
    from_state TEXT,                   -- the object's state before; null: it has none, or was made by this event
    to_state   TEXT,                   -- the object's state after; null: it has none
    cause      TEXT NOT NULL,          -- what was being done
    actor      TEXT NOT NULL,          -- on whose behalf
    created_at INTEGER NOT NULL,       -- engine time
    customer   TEXT,                   -- whose personal data the body may hold
    body       TEXT,                   -- the object after the event, JSON; null: erased
    body_hash  BLOB NOT NULL CHECK (length(body_hash) = 32), -- SHA-256 of body, kept when the body is erased
    hash       BLOB NOT NULL CHECK (length(hash) = 32), -- chains this event to the one before
    PRIMARY KEY (app, mode, seq),
    UNIQUE (app, mode, object_id, object_seq)
) STRICT;
CREATE UNIQUE INDEX tillite_event_id ON tillite_event (app, mode, id);

-- The exact bytes of a webhook body, one per format that an endpoint wanted at commit. Append-only.
CREATE TABLE tillite_event_body (
    app      INTEGER NOT NULL,
    mode     INTEGER NOT NULL CHECK (mode IN (0, 1)),
    seq      INTEGER NOT NULL,         -- the event's position
    format   TEXT NOT NULL,            -- the format that the bytes are in
    bytes    BLOB,                     -- null: erased
    hash     BLOB NOT NULL CHECK (length(hash) = 32), -- SHA-256 of bytes
    PRIMARY KEY (app, mode, seq, format),
    FOREIGN KEY (app, mode, seq) REFERENCES tillite_event (app, mode, seq)
) STRICT;

-- Where webhooks go. One endpoint speaks one format.
CREATE TABLE tillite_endpoint (
    app          INTEGER NOT NULL,
    mode         INTEGER NOT NULL CHECK (mode IN (0, 1)),
    number       INTEGER NOT NULL,     -- small, per app and mode: what deliveries refer to
    id           TEXT NOT NULL,
    url          TEXT NOT NULL,        -- as given
    url_key      TEXT NOT NULL,        -- normalised, for the rule of one endpoint per URL
    format       TEXT NOT NULL,        -- what it speaks
    types        TEXT NOT NULL,        -- JSON array of event names in the format's own words, or ["*"]
    state        TEXT NOT NULL CHECK (state IN ('enabled', 'disabled', 'suspended', 'deleted')), -- only enabled ones get deliveries
    created_at   INTEGER NOT NULL,     -- engine time
    revision     INTEGER NOT NULL,
    PRIMARY KEY (app, mode, number),
    UNIQUE (app, mode, id)
) STRICT;
CREATE UNIQUE INDEX tillite_endpoint_url ON tillite_endpoint (app, mode, url_key) WHERE state <> 'deleted';

-- The signing secrets of an endpoint, sealed. Two are in force while one replaces the other.
CREATE TABLE tillite_endpoint_secret (
    app        INTEGER NOT NULL,
    mode       INTEGER NOT NULL CHECK (mode IN (0, 1)),
    endpoint   INTEGER NOT NULL,       -- the endpoint's number
    number     INTEGER NOT NULL CHECK (number >= 1), -- 1 for the first secret, more for each that replaces one
    sealed     BLOB NOT NULL,          -- version, key id, nonce, ciphertext and tag
    expires_at INTEGER,                -- host time until which it signs; null: the current one
    PRIMARY KEY (app, mode, endpoint, number),
    FOREIGN KEY (app, mode, endpoint) REFERENCES tillite_endpoint (app, mode, number)
) STRICT, WITHOUT ROWID;

-- One event on its way to one endpoint. This table is the queue; there is no second one.
CREATE TABLE tillite_delivery (
    app         INTEGER NOT NULL,
    mode        INTEGER NOT NULL CHECK (mode IN (0, 1)),
    id          TEXT NOT NULL,
    endpoint    INTEGER NOT NULL,      -- the endpoint's number
    event       INTEGER NOT NULL,      -- the event's position
    generation  INTEGER NOT NULL CHECK (generation >= 1), -- 1, more for each replay
    state       TEXT NOT NULL CHECK (state IN ('pending', 'in_flight', 'delivered', 'exhausted', 'canceled')), -- in_flight: somebody sends it, or died sending it
    attempts    INTEGER NOT NULL CHECK (attempts >= 0), -- claims that may have sent, counted by the claim itself
    due_at      INTEGER NOT NULL,      -- host time: next try while pending, end of the lease while in flight
    token       INTEGER NOT NULL,      -- the claim that holds it; a late answer of an older claim does not match
    last_status INTEGER,               -- HTTP status of the newest answer; null: none came
    PRIMARY KEY (app, mode, id),
    UNIQUE (app, mode, event, endpoint, generation),
    FOREIGN KEY (app, mode, endpoint) REFERENCES tillite_endpoint (app, mode, number),
    FOREIGN KEY (app, mode, event) REFERENCES tillite_event (app, mode, seq)
) STRICT, WITHOUT ROWID;
-- What is due per endpoint, in the order of events; rows that are done leave the index.
CREATE INDEX tillite_delivery_due ON tillite_delivery (app, mode, endpoint, due_at, event)
    WHERE state IN ('pending', 'in_flight');

-- What became of each try of a delivery. Pure history: nothing is decided from it.
CREATE TABLE tillite_delivery_attempt (
    app         INTEGER NOT NULL,
    mode        INTEGER NOT NULL CHECK (mode IN (0, 1)),
    delivery    TEXT NOT NULL,
    number      INTEGER NOT NULL CHECK (number >= 1), -- 1 for the first try
    started_at  INTEGER NOT NULL,      -- host time
    duration    INTEGER NOT NULL CHECK (duration >= 0), -- ms
    outcome     TEXT NOT NULL CHECK (outcome IN ('delivered', 'refused', 'failed', 'lost')), -- lost: its sender was never heard of again
    status      INTEGER,               -- HTTP status; null: no answer
    detail      TEXT,                  -- why it failed, or the start of the reply
    PRIMARY KEY (app, mode, delivery, number)
) STRICT, WITHOUT ROWID;

-- What was answered under an idempotency key.
CREATE TABLE tillite_idempotency (
    app          INTEGER NOT NULL,
    mode         INTEGER NOT NULL CHECK (mode IN (0, 1)),
    scope        TEXT NOT NULL,        -- the verb that the key was given to
    key          TEXT NOT NULL,        -- as the caller gave it
    request_hash BLOB NOT NULL CHECK (length(request_hash) = 32), -- SHA-256 of the parameters
    result       TEXT NOT NULL,        -- the id of what was made
    created_at   INTEGER NOT NULL,     -- host time
    PRIMARY KEY (app, mode, scope, key)
) STRICT, WITHOUT ROWID;
