-- Tillite, schema version 4: how fast and in which order webhooks leave, and who else follows the events.

-- What the host wants of an endpoint, beside where it is.
ALTER TABLE tillite_endpoint
    ADD COLUMN ordering TEXT NOT NULL DEFAULT 'soft' CHECK (ordering IN ('none', 'soft', 'strict')); -- of events about one object. none: as they come; soft: first tries in order, never two at once; strict: each only after the one before it is done
ALTER TABLE tillite_endpoint
    ADD COLUMN max_in_flight INTEGER NOT NULL DEFAULT 4 CHECK (max_in_flight BETWEEN 1 AND 64); -- deliveries on their way at once, at the most
ALTER TABLE tillite_endpoint
    ADD COLUMN min_gap INTEGER NOT NULL DEFAULT 0 CHECK (min_gap >= 0); -- ms between two attempts at the least; 0: no limit
ALTER TABLE tillite_endpoint
    ADD COLUMN suspend_after INTEGER CHECK (suspend_after > 0); -- ms for which every attempt may fail before the endpoint is suspended; null: it never is
ALTER TABLE tillite_endpoint
    ADD COLUMN canceling INTEGER NOT NULL DEFAULT 0 CHECK (canceling IN (0, 1)); -- 1: it was deleted, and what waits to be sent to it may have to be canceled yet
-- Those that are not deleted: every write asks who listens, and deleted ones are kept for ever.
CREATE INDEX tillite_endpoint_kept ON tillite_endpoint (app, mode, number) WHERE state <> 'deleted';
CREATE INDEX tillite_endpoint_canceling ON tillite_endpoint (app, mode, number) WHERE canceling = 1;

-- How an endpoint is doing. It is kept apart from the endpoint, because it is written with every
-- failure and changes nothing that anybody was told. No row: all is well.
CREATE TABLE tillite_endpoint_flow (
    app           INTEGER NOT NULL,
    mode          INTEGER NOT NULL CHECK (mode IN (0, 1)),
    endpoint      INTEGER NOT NULL,       -- the endpoint's number
    in_flight     INTEGER CHECK (in_flight >= 1), -- deliveries that may be on their way at once while it recovers; null: as many as the endpoint allows
    paused_until  INTEGER,                -- host time until which it asked to be left alone; null: it did not
    next_at       INTEGER,                -- host time of the next attempt that the gap allows; null: any
    failing_since INTEGER,                -- host time of the first failure since the last acceptance; null: it accepts
    failures      INTEGER NOT NULL DEFAULT 0 CHECK (failures >= 0), -- failed attempts since then
    exhausted     INTEGER NOT NULL DEFAULT 0 CHECK (exhausted >= 0), -- deliveries that ran out of attempts since then
    PRIMARY KEY (app, mode, endpoint),
    FOREIGN KEY (app, mode, endpoint) REFERENCES tillite_endpoint (app, mode, number)
) STRICT, WITHOUT ROWID;

-- A delivery may wait for the one before it, so the table is made anew.
CREATE TABLE tillite_delivery_made_anew (
    app         INTEGER NOT NULL,
    mode        INTEGER NOT NULL CHECK (mode IN (0, 1)),
    id          TEXT NOT NULL,
    endpoint    INTEGER NOT NULL,         -- the endpoint's number
    event       INTEGER NOT NULL,         -- the event's position
    generation  INTEGER NOT NULL CHECK (generation >= 1), -- 1, more for each replay
    state       TEXT NOT NULL CHECK (state IN ('pending', 'blocked', 'in_flight', 'delivered', 'exhausted', 'canceled')), -- blocked: it waits for the one before it in its lane; in_flight: somebody sends it, or died sending it
    attempts    INTEGER NOT NULL CHECK (attempts >= 0), -- claims that may have sent, counted by the claim itself
    due_at      INTEGER NOT NULL,         -- host time: next try while pending, end of the lease while in flight
    token       INTEGER NOT NULL,         -- the claim that holds it; a late answer of an older claim does not match
    last_status INTEGER,                  -- HTTP status of the newest attempt whose end is known; null: none came
    lane        INTEGER,                  -- where the order is strict: a hash of the object's id, in whose deliveries one waits for the other; null: the order is not strict
    PRIMARY KEY (app, mode, id),
    UNIQUE (app, mode, event, endpoint, generation),
    FOREIGN KEY (app, mode, endpoint) REFERENCES tillite_endpoint (app, mode, number),
    FOREIGN KEY (app, mode, event) REFERENCES tillite_event (app, mode, seq),
    CHECK (state <> 'blocked' OR lane IS NOT NULL)
) STRICT, WITHOUT ROWID;
INSERT INTO tillite_delivery_made_anew (app, mode, id, endpoint, event, generation, state, attempts, due_at, token,
    last_status, lane)
SELECT app, mode, id, endpoint, event, generation, state, attempts, due_at, token, last_status, NULL
    FROM tillite_delivery;
DROP TABLE tillite_delivery;
ALTER TABLE tillite_delivery_made_anew RENAME TO tillite_delivery;
-- What is due per endpoint, in the order of events, and apart from it what is on its way; rows that
-- are done and rows that wait for another leave the index, so that it stays as small as the work.
CREATE INDEX tillite_delivery_due ON tillite_delivery (app, mode, endpoint, state, due_at, event)
    WHERE state IN ('pending', 'in_flight');
-- Where the order is strict: what is not done yet, object by object.
CREATE INDEX tillite_delivery_lane ON tillite_delivery (app, mode, endpoint, lane, event)
    WHERE lane IS NOT NULL AND state IN ('pending', 'blocked', 'in_flight');
-- What somebody may want to send again.
CREATE INDEX tillite_delivery_exhausted ON tillite_delivery (app, mode, endpoint, event) WHERE state = 'exhausted';
-- For whoever lists them, by the endpoint and by what somebody may have to look at; and what is blocked, for
-- whoever ends it or counts it.
CREATE INDEX tillite_delivery_of ON tillite_delivery (app, mode, endpoint, id);
CREATE INDEX tillite_delivery_held_up ON tillite_delivery (app, mode, state, id) WHERE state IN ('blocked', 'exhausted', 'canceled');
CREATE INDEX tillite_delivery_held_up_of ON tillite_delivery (app, mode, endpoint, state, id)
    WHERE state IN ('blocked', 'exhausted', 'canceled');

-- Events that are sent again to an endpoint, a range of them, some at a time.
CREATE TABLE tillite_replay (
    app        INTEGER NOT NULL,
    mode       INTEGER NOT NULL CHECK (mode IN (0, 1)),
    id         TEXT NOT NULL,
    endpoint   INTEGER NOT NULL,          -- the endpoint's number
    after_seq  INTEGER NOT NULL,          -- the position before the first event
    to_seq     INTEGER NOT NULL,          -- the position of the last event
    which      TEXT NOT NULL CHECK (which IN ('exhausted', 'undelivered', 'all')), -- exhausted: those whose deliveries ran out of attempts; undelivered: those and the ones that were never sent; all: the delivered ones as well
    state      TEXT NOT NULL CHECK (state IN ('running', 'done', 'canceled')), -- running: run_due goes on with it
    seen_to    INTEGER NOT NULL,          -- the position up to which it has come
    made       INTEGER NOT NULL CHECK (made >= 0), -- deliveries that it made
    passed     INTEGER NOT NULL CHECK (passed >= 0), -- events that it passed over: not wanted, in the queue already, or without a body in the endpoint's format
    actor      TEXT NOT NULL,             -- on whose behalf
    created_at INTEGER NOT NULL,          -- engine time
    PRIMARY KEY (app, mode, id),
    FOREIGN KEY (app, mode, endpoint) REFERENCES tillite_endpoint (app, mode, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX tillite_replay_running ON tillite_replay (app, mode, state, id, endpoint) WHERE state = 'running';

-- How far has been forgotten, of each table that is looked through in rounds.
CREATE TABLE tillite_retention (
    app        INTEGER NOT NULL,
    mode       INTEGER NOT NULL CHECK (mode IN (0, 1)),
    what       TEXT NOT NULL CHECK (what IN ('attempt', 'delivery', 'replay')), -- attempt: attempts of deliveries, by the deliveries' ids
    gone_to    TEXT NOT NULL,             -- the greatest id of which a row was forgotten; empty: none was; never goes back
    seen_to    TEXT NOT NULL,             -- the id up to which the round under way has come; empty: none is under way
    round_at   INTEGER NOT NULL,          -- host time as the newest round takes it, a week after the one before at the most: a clock may be ahead
    next_at    INTEGER NOT NULL,          -- host time from which a round goes on, or the next one starts
    PRIMARY KEY (app, mode, what)
) STRICT, WITHOUT ROWID;
INSERT INTO tillite_retention (app, mode, what, gone_to, seen_to, round_at, next_at)
SELECT app, mode, 'attempt', gone_below, seen_to, next_at, next_at
    FROM tillite_delivery_retention;
DROP TABLE tillite_delivery_retention;

-- The host's own programs that follow the events, each with the place up to which it has come. The
-- place moves in the transaction in which the program writes its own tables.
CREATE TABLE tillite_consumer (
    app           INTEGER NOT NULL,
    mode          INTEGER NOT NULL CHECK (mode IN (0, 1)),
    name          TEXT NOT NULL,          -- as the host gave it
    position      INTEGER NOT NULL CHECK (position >= 0), -- of the last event that it has taken; 0: none
    failures      INTEGER NOT NULL DEFAULT 0 CHECK (failures >= 0), -- failures in a row at the event after it
    failing_since INTEGER,                -- host time of the first of them; null: none
    due_at        INTEGER NOT NULL DEFAULT 0, -- host time before which it is not tried again
    error         TEXT,                   -- what the newest failure said, shortened; null: none
    PRIMARY KEY (app, mode, name)
) STRICT, WITHOUT ROWID;
