-- The agent's store: one row of chain state, the block that is open, and every block that was sealed.
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
    receipt BLOB                 -- the newest receipt envelope
);
CREATE TABLE IF NOT EXISTS open_block (id INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS open_exchange (
    id INTEGER PRIMARY KEY,
    block INTEGER NOT NULL,
    slot INTEGER NOT NULL,
    device INTEGER NOT NULL,
    query INTEGER NOT NULL,
    request BLOB NOT NULL,
    reply BLOB NOT NULL,
    fault INTEGER NOT NULL,
    at_ms INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS block (
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    hash BLOB NOT NULL,
    utc_start INTEGER NOT NULL,
    utc_end INTEGER NOT NULL,
    level INTEGER NOT NULL,      -- 0 on this box only, 1 received, 2 settled
    state INTEGER NOT NULL,      -- 0 to be sent, 1 refused by the collector, 2 left behind in an epoch that was given up
    detail TEXT NOT NULL,
    frame BLOB NOT NULL,
    PRIMARY KEY (epoch, seq)
);
CREATE INDEX IF NOT EXISTS unsent ON block (epoch, seq) WHERE level = 0 AND state = 0;
CREATE INDEX IF NOT EXISTS set_aside ON block (state) WHERE state > 0;
