-- Tillite, schema version 3: money is held before it is taken, and goes back.

ALTER TABLE tillite_app
    ADD COLUMN late_payments TEXT NOT NULL DEFAULT 'refund' CHECK (late_payments IN ('refund', 'hold')); -- what becomes of money that arrives when there is nothing left to pay with it: it goes back by itself, or is held for somebody to decide

-- An attempt is committed before anybody is asked, and may be asked for by another process than the
-- one that committed it.
ALTER TABLE tillite_attempt
    ADD COLUMN ask TEXT NOT NULL DEFAULT 'lookup' CHECK (ask IN ('execute', 'lookup', 'cancel')); -- what the processor is asked at due_at, where next is lookup: to carry it out, what became of it, or to call it off
-- The attempts that somebody has to decide about.
CREATE INDEX tillite_attempt_unresolved ON tillite_attempt (app, mode, id) WHERE unresolved = 1;

ALTER TABLE tillite_session
    ADD COLUMN capture TEXT NOT NULL DEFAULT 'automatic' CHECK (capture IN ('automatic', 'manual')); -- manual: the amount is held until the host says how much of it to take

-- A charge whose amount was held settles its session with what the host took of it, so the table is
-- made anew: of one that takes at once, everything is taken.
CREATE TABLE tillite_charge_made_anew (
    app             INTEGER NOT NULL,
    mode            INTEGER NOT NULL CHECK (mode IN (0, 1)),
    id              TEXT NOT NULL,
    intent          TEXT NOT NULL,      -- the payment intent that it collects for
    session         TEXT NOT NULL,
    number          INTEGER NOT NULL CHECK (number >= 1), -- 1 for the intent's first charge
    processor       TEXT NOT NULL,      -- the name of the processor that was asked
    state           TEXT NOT NULL CHECK (state IN ('initiated', 'unknown', 'pending', 'requires_action', 'authorized', 'succeeded', 'failed', 'voided')), -- what is known of it; unknown ends by evidence only
    capture         TEXT NOT NULL CHECK (capture IN ('automatic', 'manual')), -- the session's
    asked           TEXT CHECK (asked IN ('capture', 'void')), -- what the processor is being asked about what it holds; null: nothing
    amount          INTEGER NOT NULL CHECK (amount BETWEEN 1 AND 9007199254740991), -- what is collected: the intent's amount
    currency        TEXT NOT NULL,      -- the intent's
    authorized      INTEGER NOT NULL DEFAULT 0 CHECK (authorized BETWEEN 0 AND amount), -- held at the processor, not taken
    captured        INTEGER NOT NULL DEFAULT 0 CHECK (captured BETWEEN 0 AND 9007199254740991), -- taken
    refund_reserved INTEGER NOT NULL DEFAULT 0 CHECK (refund_reserved >= 0), -- refunds whose outcome is not known yet
    refunded        INTEGER NOT NULL DEFAULT 0 CHECK (refunded >= 0), -- given back
    lost            INTEGER NOT NULL DEFAULT 0 CHECK (lost BETWEEN 0 AND captured), -- taken by disputes that were lost; what they asked back beyond what was captured is not in it
    comes_with      TEXT,               -- the charge whose attempt took the money twice, this being the second time; null: it has an attempt of its own
    fee             INTEGER CHECK (fee >= 0), -- what the processor says it kept; null: it did not say
    reference       TEXT,               -- the processor's own name for the charge
    failure_code    TEXT,               -- the reason as a word; null: it did not fail
    failure_message TEXT,               -- the reason for people
    failure_advice  TEXT CHECK (failure_advice IN ('never', 'later', 'other_method')), -- what the processor advises; null: nothing
    action          TEXT,               -- what the buyer must do, as JSON; null: nothing
    action_deadline INTEGER,            -- engine time until which the action is awaited; then it is called off
    authorized_until INTEGER,           -- engine time at which an authorisation lapses; then it is called off
    hold            TEXT CHECK (hold IN ('late', 'surplus', 'mismatch')), -- why its money settled nothing
    hold_closed     INTEGER NOT NULL DEFAULT 0 CHECK (hold_closed IN (0, 1)), -- 1: somebody has decided that nothing more becomes of that money here
    settles         INTEGER NOT NULL DEFAULT 0 CHECK (settles IN (0, 1)), -- 1: this charge completed its session
    created_at      INTEGER NOT NULL,   -- engine time
    updated_at      INTEGER NOT NULL,   -- engine time
    revision        INTEGER NOT NULL,
    PRIMARY KEY (app, mode, id),
    UNIQUE (app, mode, intent, number),
    CHECK (refund_reserved + refunded <= captured),
    CHECK (captured <= amount OR (hold = 'mismatch' AND settles = 0)), -- more than asked is taken by a service's mistake only
    CHECK (hold_closed = 0 OR hold IS NOT NULL),
    CHECK (settles = 0 OR (state = 'succeeded' AND hold IS NULL AND captured > 0 AND (captured = amount OR capture = 'manual'))),
    CHECK (asked IS NULL OR state = 'authorized'),
    CHECK (comes_with IS NULL OR (state = 'succeeded' AND hold = 'surplus' AND reference IS NOT NULL)),
    CHECK ((state = 'failed') = (failure_code IS NOT NULL))
) STRICT;
INSERT INTO tillite_charge_made_anew (app, mode, id, intent, session, number, processor, state, capture, asked, amount,
    currency, authorized, captured, refund_reserved, refunded, fee, reference, failure_code, failure_message,
    failure_advice, action, action_deadline, authorized_until, hold, settles, created_at, updated_at, revision)
SELECT app, mode, id, intent, session, number, processor, state, 'automatic', NULL, amount, currency, authorized,
    captured, refund_reserved, refunded, fee, reference, failure_code, failure_message, failure_advice, action,
    action_deadline, authorized_until, hold, settles, created_at, updated_at, revision FROM tillite_charge;
DROP TABLE tillite_charge;
ALTER TABLE tillite_charge_made_anew RENAME TO tillite_charge;
-- At most one live charge per intent, and at most one that settles it.
CREATE UNIQUE INDEX tillite_charge_live ON tillite_charge (app, mode, intent)
    WHERE state IN ('initiated', 'unknown', 'pending', 'requires_action', 'authorized');
CREATE UNIQUE INDEX tillite_charge_settles ON tillite_charge (app, mode, intent) WHERE settles = 1;
-- The charges whose money settled nothing.
CREATE INDEX tillite_charge_held ON tillite_charge (app, mode, id) WHERE hold IS NOT NULL;
-- The charges that are called off when their time has come.
CREATE INDEX tillite_charge_action ON tillite_charge (app, mode, action_deadline) WHERE action_deadline IS NOT NULL;
CREATE INDEX tillite_charge_authorized ON tillite_charge (app, mode, authorized_until)
    WHERE authorized_until IS NOT NULL;

-- Money on its way back to a buyer. What is open is in the charge's refund_reserved, what succeeded in
-- its refunded; both move in the transaction that moves the refund.
CREATE TABLE tillite_refund (
    app             INTEGER NOT NULL,
    mode            INTEGER NOT NULL CHECK (mode IN (0, 1)),
    id              TEXT NOT NULL,
    charge          TEXT NOT NULL,      -- the charge whose money goes back
    intent          TEXT NOT NULL,      -- the charge's
    session         TEXT NOT NULL,      -- the charge's
    number          INTEGER NOT NULL CHECK (number >= 1), -- 1 for the charge's first refund
    processor       TEXT NOT NULL,      -- the charge's
    state           TEXT NOT NULL CHECK (state IN ('pending', 'unknown', 'succeeded', 'failed', 'canceled')), -- what is known of it; unknown ends by evidence only
    amount          INTEGER NOT NULL CHECK (amount BETWEEN 1 AND 9007199254740991), -- how much goes back
    currency        TEXT NOT NULL,      -- the charge's
    source          TEXT NOT NULL CHECK (source IN ('requested', 'late', 'surplus', 'mismatch', 'processor')), -- who wanted it: the host, the engine for money that settled nothing or went over another amount, or somebody at the service
    effect          TEXT CHECK (effect IN ('keep', 'revoke', 'at_period_end')), -- what it does to what the sale granted; null: nothing, unless the charge is given back in full
    reason          TEXT,               -- in the host's words; null: none
    metadata        TEXT NOT NULL,      -- JSON object of strings
    reference       TEXT,               -- the processor's own name for the refund
    failure_code    TEXT,               -- the reason as a word; null: it did not fail
    failure_message TEXT,               -- the reason for people
    failure_advice  TEXT CHECK (failure_advice IN ('never', 'later', 'other_method')), -- what the processor advises; null: nothing
    mismatched      INTEGER NOT NULL DEFAULT 0 CHECK (mismatched IN (0, 1)), -- 1: another amount went back than was asked, somebody has to decide
    created_at      INTEGER NOT NULL,   -- engine time
    updated_at      INTEGER NOT NULL,   -- engine time
    revision        INTEGER NOT NULL,
    PRIMARY KEY (app, mode, id),
    UNIQUE (app, mode, charge, number),
    FOREIGN KEY (app, mode, charge) REFERENCES tillite_charge (app, mode, id),
    CHECK ((state = 'failed') = (failure_code IS NOT NULL))
) STRICT;
-- The refunds whose outcome is awaited.
CREATE INDEX tillite_refund_open ON tillite_refund (app, mode, id) WHERE state IN ('pending', 'unknown');

-- What of a session's lines a refund is for. A refund without rows here is for no line in particular.
CREATE TABLE tillite_refund_line (
    app      INTEGER NOT NULL,
    mode     INTEGER NOT NULL CHECK (mode IN (0, 1)),
    refund   TEXT NOT NULL,             -- whose part it is
    position INTEGER NOT NULL CHECK (position >= 0), -- the line's place in the session
    quantity INTEGER NOT NULL CHECK (quantity >= 1), -- how many units
    amount   INTEGER NOT NULL CHECK (amount >= 0),   -- what goes back for them
    PRIMARY KEY (app, mode, refund, position),
    FOREIGN KEY (app, mode, refund) REFERENCES tillite_refund (app, mode, id)
) STRICT, WITHOUT ROWID;

-- What a payment service is known by is how it says what it speaks of.
CREATE INDEX tillite_attempt_reference ON tillite_attempt (app, mode, processor, reference) WHERE reference IS NOT NULL;

-- What payment services posted to us. One that brought nothing new is not kept.
CREATE TABLE tillite_post (
    app         INTEGER NOT NULL,
    mode        INTEGER NOT NULL CHECK (mode IN (0, 1)),
    number      INTEGER NOT NULL CHECK (number >= 1), -- that of its first new notice
    processor   TEXT NOT NULL,      -- the name of the processor that vouched for it
    body        BLOB NOT NULL,      -- as it came, for people to read; digits of card numbers are stars
    received_at INTEGER NOT NULL,   -- host time
    PRIMARY KEY (app, mode, number)
) STRICT;

-- What services said in them, each thing once. It is applied by run_due, in the order of the numbers
-- where it is about the same attempt.
CREATE TABLE tillite_notice (
    app         INTEGER NOT NULL,
    mode        INTEGER NOT NULL CHECK (mode IN (0, 1)),
    number      INTEGER NOT NULL CHECK (number >= 1), -- 1 for the world's first: the order in which they came
    id          TEXT NOT NULL,
    post        INTEGER NOT NULL,   -- the number of the post that brought it first
    processor   TEXT NOT NULL,      -- the post's
    key         TEXT NOT NULL,      -- the service's own name for it: by this it is known when it comes again
    kind        TEXT NOT NULL CHECK (kind IN ('evidence', 'changed', 'external_refund', 'dispute', 'ignored')), -- what kind of thing it says
    said        TEXT NOT NULL,      -- what it says, as JSON
    attempt     TEXT,               -- the attempt that it is about, as the service says; null: it does not say
    reference   TEXT,               -- the service's own name for what it is about; null: it gave none that is kept
    state       TEXT NOT NULL CHECK (state IN ('waiting', 'parked', 'applied', 'held', 'ignored', 'unmatched')), -- held: it cannot be written down, somebody has to look; parked: nothing here is what it is about, and it is looked at again; unmatched: for good
    why         TEXT,               -- why it stands there, for people; null: that is plain
    matched     TEXT,               -- the attempt that it was found to be about; null: none yet
    due_at      INTEGER,            -- host time at which it is looked at next; null: it is done
    tries       INTEGER NOT NULL DEFAULT 0 CHECK (tries >= 0), -- how often it was looked at in vain
    in_doubt    INTEGER NOT NULL DEFAULT 0 CHECK (in_doubt IN (0, 1)), -- 1: it was held because something else was in doubt, and is looked at again when more is known of that
    received_at INTEGER NOT NULL,   -- host time
    PRIMARY KEY (app, mode, number),
    UNIQUE (app, mode, id),
    UNIQUE (app, mode, processor, key),
    FOREIGN KEY (app, mode, post) REFERENCES tillite_post (app, mode, number),
    CHECK ((state IN ('waiting', 'parked')) = (due_at IS NOT NULL)),
    CHECK (in_doubt = 0 OR matched IS NOT NULL)
) STRICT;
CREATE INDEX tillite_notice_due ON tillite_notice (app, mode, due_at) WHERE due_at IS NOT NULL;
-- Those that wait for something to be heard of an attempt, or of a name.
CREATE INDEX tillite_notice_matched ON tillite_notice (app, mode, matched) WHERE due_at IS NOT NULL AND matched IS NOT NULL;
CREATE INDEX tillite_notice_doubted ON tillite_notice (app, mode, matched) WHERE in_doubt = 1;
CREATE INDEX tillite_notice_parked ON tillite_notice (app, mode, reference) WHERE state = 'parked' AND reference IS NOT NULL;
-- A payment method that a payment service keeps for a customer. Never a card number.
CREATE TABLE tillite_payment_method (
    app          INTEGER NOT NULL,
    mode         INTEGER NOT NULL CHECK (mode IN (0, 1)),
    id           TEXT NOT NULL,
    customer     TEXT NOT NULL,         -- whose it is
    processor    TEXT NOT NULL,         -- the name of the processor that keeps it, the only one that can charge it
    token        TEXT,                  -- the service's own opaque name, by which it is charged; null: it was erased
    brand        TEXT,                  -- as a word; null: the service did not say
    last4        TEXT CHECK (last4 IS NULL OR length(last4) = 4), -- the last four digits; null: the service did not say
    expiry_month INTEGER CHECK (expiry_month BETWEEN 1 AND 12),   -- the last month in which it is good; null: it has none, or the service did not say
    expiry_year  INTEGER CHECK (expiry_year BETWEEN 2000 AND 2199), -- of that month
    state        TEXT NOT NULL CHECK (state IN ('attached', 'detached')), -- whether it can be charged
    attempt      TEXT NOT NULL,         -- the attempt whose success told of it last
    created_at   INTEGER NOT NULL,      -- engine time
    updated_at   INTEGER NOT NULL,      -- engine time
    detached_at  INTEGER,               -- engine time; what was asked for before then attaches it no more
    revision     INTEGER NOT NULL,
    PRIMARY KEY (app, mode, id),
    UNIQUE (app, mode, customer, processor, token),
    FOREIGN KEY (app, mode, customer) REFERENCES tillite_customer (app, mode, id),
    CHECK ((expiry_month IS NULL) = (expiry_year IS NULL)),
    CHECK (state = 'attached' OR detached_at IS NOT NULL),
    CHECK (state = 'detached' OR token IS NOT NULL)
) STRICT;

-- What a payment service calls a customer: what the newest evidence says.
CREATE TABLE tillite_customer_reference (
    app        INTEGER NOT NULL,
    mode       INTEGER NOT NULL CHECK (mode IN (0, 1)),
    customer   TEXT NOT NULL,           -- whom it calls so
    processor  TEXT NOT NULL,           -- the name of the processor whose word it is
    reference  TEXT,                    -- the service's own name for the customer; null: it was erased
    attempt    TEXT NOT NULL,           -- the attempt whose success told of it
    updated_at INTEGER NOT NULL,        -- engine time
    PRIMARY KEY (app, mode, customer, processor),
    FOREIGN KEY (app, mode, customer) REFERENCES tillite_customer (app, mode, id)
) STRICT, WITHOUT ROWID;

-- One try to save a payment method of a customer without taking money.
CREATE TABLE tillite_setup (
    app             INTEGER NOT NULL,
    mode            INTEGER NOT NULL CHECK (mode IN (0, 1)),
    id              TEXT NOT NULL,
    customer        TEXT NOT NULL,      -- whose method is saved
    number          INTEGER NOT NULL CHECK (number >= 1), -- 1 for the customer's first setup
    processor       TEXT NOT NULL,      -- the name of the processor that was asked
    currency        TEXT NOT NULL,      -- in which the method is to be charged later
    state           TEXT NOT NULL CHECK (state IN ('initiated', 'unknown', 'pending', 'requires_action', 'succeeded', 'failed', 'canceled')), -- what is known of it; unknown ends by evidence only
    method          TEXT,               -- the payment method that was saved; null: none, or its customer was deleted meanwhile
    reference       TEXT,               -- the processor's own name for the setup
    failure_code    TEXT,               -- the reason as a word; null: it did not fail
    failure_message TEXT,               -- the reason for people
    failure_advice  TEXT CHECK (failure_advice IN ('never', 'later', 'other_method')), -- what the processor advises; null: nothing
    action          TEXT,               -- what the buyer must do, as JSON; null: nothing
    action_deadline INTEGER,            -- engine time until which the action is awaited; then it is called off
    mismatched      INTEGER NOT NULL DEFAULT 0 CHECK (mismatched IN (0, 1)), -- 1: a success without a method that could be kept, or that moved money; somebody has to decide
    created_at      INTEGER NOT NULL,   -- engine time
    updated_at      INTEGER NOT NULL,   -- engine time
    revision        INTEGER NOT NULL,
    PRIMARY KEY (app, mode, id),
    UNIQUE (app, mode, customer, number),
    FOREIGN KEY (app, mode, customer) REFERENCES tillite_customer (app, mode, id),
    FOREIGN KEY (app, mode, method) REFERENCES tillite_payment_method (app, mode, id),
    CHECK (method IS NULL OR state = 'succeeded'),
    CHECK ((state = 'failed') = (failure_code IS NOT NULL))
) STRICT;
-- The setups whose outcome is awaited.
CREATE INDEX tillite_setup_live ON tillite_setup (app, mode, id)
    WHERE state IN ('initiated', 'unknown', 'pending', 'requires_action');
-- The setups that are called off when their time has come.
CREATE INDEX tillite_setup_action ON tillite_setup (app, mode, action_deadline) WHERE action_deadline IS NOT NULL;

-- What a service calls money that it took a second time.
CREATE INDEX tillite_charge_surplus ON tillite_charge (app, mode, processor, reference) WHERE comes_with IS NOT NULL;

-- Charges that buyers dispute with their banks, as the service tells of them.
CREATE TABLE tillite_dispute (
    app        INTEGER NOT NULL,
    mode       INTEGER NOT NULL CHECK (mode IN (0, 1)),
    id         TEXT NOT NULL,
    charge     TEXT NOT NULL,           -- the charge whose money is asked back
    number     INTEGER NOT NULL CHECK (number >= 1), -- 1 for the charge's first dispute
    session    TEXT NOT NULL,           -- the charge's
    processor  TEXT NOT NULL,           -- the charge's
    reference  TEXT NOT NULL,           -- the service's own name for it
    state      TEXT NOT NULL CHECK (state IN ('open', 'won', 'lost')), -- lost: its amount stands in the charge's lost, as far as that much was captured
    amount     INTEGER NOT NULL CHECK (amount BETWEEN 0 AND 9007199254740991), -- how much is asked back; may be more than was captured
    currency   TEXT NOT NULL,           -- the charge's
    reason     TEXT,                    -- in the service's words; null: none
    created_at INTEGER NOT NULL,        -- engine time
    updated_at INTEGER NOT NULL,        -- engine time
    revision   INTEGER NOT NULL,
    PRIMARY KEY (app, mode, id),
    UNIQUE (app, mode, charge, number),
    UNIQUE (app, mode, processor, reference),
    FOREIGN KEY (app, mode, charge) REFERENCES tillite_charge (app, mode, id)
) STRICT;
