-- The agent's store: one row of chain state, what the collector has of each epoch, the block that is open, and every
-- block that was sealed. ``sum`` is a CRC-32 of the row: a flipped bit must not become a signed one.
CREATE TABLE IF NOT EXISTS chain (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    schema INTEGER NOT NULL,
    gateway BLOB NOT NULL,
    epoch INTEGER NOT NULL,
    next_seq INTEGER NOT NULL,
    head BLOB NOT NULL,          -- SHA-256 of the newest envelope, or what stands for it before the first
    boot INTEGER NOT NULL,       -- starts of the agent so far
    configuration INTEGER NOT NULL,
    last_utc INTEGER NOT NULL,   -- end of the newest block, UTC ms
    blocks INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    lived INTEGER NOT NULL,      -- ms that all blocks ever sealed have lasted: an age that no clock can change
    total INTEGER NOT NULL,      -- bytes of all blocks ever sealed
    scrub_epoch INTEGER NOT NULL,
    scrub_seq INTEGER NOT NULL,  -- the block that is looked at next
    receipt BLOB,                -- the newest receipt envelope
    settled BLOB,                -- the newest of level 2
    sum INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS epoch (
    epoch INTEGER PRIMARY KEY,
    received INTEGER NOT NULL,   -- the collector's receipt covers the blocks below
    settled INTEGER NOT NULL,    -- a second copy covers the blocks below
    cut INTEGER,                 -- from here on nothing can be delivered: a fork, or a block that is damaged
    sum INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS began ( -- the receipts that later epochs begin with: what was signed of them proves them
    epoch INTEGER PRIMARY KEY,
    receipt BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS open_block (id INTEGER PRIMARY KEY, data BLOB NOT NULL, sum INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS open_exchange (
    id INTEGER PRIMARY KEY,
    block INTEGER NOT NULL,
    slot INTEGER NOT NULL,
    device INTEGER NOT NULL,
    query INTEGER NOT NULL,
    request BLOB NOT NULL,
    reply BLOB NOT NULL,
    fault INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    sum INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS block (
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    hash BLOB NOT NULL,
    utc_start INTEGER NOT NULL,
    utc_end INTEGER NOT NULL,
    state INTEGER NOT NULL,      -- 0 to be sent, 1 refused by the collector
    detail TEXT NOT NULL,
    lived INTEGER NOT NULL,      -- chain.lived and chain.total with this block
    total INTEGER NOT NULL,
    frame BLOB NOT NULL,
    PRIMARY KEY (epoch, seq)
);
CREATE INDEX IF NOT EXISTS refused ON block (epoch, seq) WHERE state > 0;
CREATE TABLE IF NOT EXISTS alarm (id INTEGER PRIMARY KEY, detail TEXT NOT NULL); -- to be told in the next block
CREATE TABLE IF NOT EXISTS damage (
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    utc_start INTEGER NOT NULL,
    utc_end INTEGER NOT NULL,
    detail TEXT NOT NULL,
    PRIMARY KEY (epoch, seq)
);
