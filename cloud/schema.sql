-- The collector's tables. `gateway` (16 bytes) is the first column of every key that belongs to one; amounts are decimal text; instants UTC ms.

CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT OR IGNORE INTO meta VALUES ('schema', 11), ('ingest_seq', 0);

CREATE TABLE IF NOT EXISTS gateways (
    gateway BLOB PRIMARY KEY,
    algorithm INTEGER NOT NULL, spki BLOB NOT NULL,
    technician_algorithm INTEGER NOT NULL, technician_spki BLOB NOT NULL,
    site TEXT NOT NULL, custody INTEGER NOT NULL,
    enrolment BLOB NOT NULL, enrolled_at INTEGER NOT NULL,
    revoked_at INTEGER, reason TEXT NOT NULL DEFAULT '',
    -- where its chain stands
    epoch INTEGER NOT NULL, next_seq INTEGER NOT NULL, head BLOB NOT NULL,
    boot INTEGER, mono INTEGER, config_number INTEGER NOT NULL DEFAULT 0,
    -- the end of its last dated block by both clocks: from here the next one's UTC is judged
    dated_epoch INTEGER, dated_boot INTEGER, dated_mono INTEGER, dated_utc INTEGER,
    -- its health
    block_start INTEGER, block_end INTEGER, received_at INTEGER,
    blocks INTEGER NOT NULL DEFAULT 0, refused_blocks INTEGER NOT NULL DEFAULT 0, readings INTEGER NOT NULL DEFAULT 0,
    due INTEGER NOT NULL DEFAULT 0, asked INTEGER NOT NULL DEFAULT 0, answered INTEGER NOT NULL DEFAULT 0,
    silent INTEGER NOT NULL DEFAULT 0, damaged INTEGER NOT NULL DEFAULT 0, refused INTEGER NOT NULL DEFAULT 0,
    gaps INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS gateways_site ON gateways (site);

-- A chain that begins in its middle: its gateway held nothing before this block when it was enrolled here.
CREATE TABLE IF NOT EXISTS starts (
    gateway BLOB PRIMARY KEY, epoch INTEGER NOT NULL, seq INTEGER NOT NULL, previous BLOB NOT NULL, at INTEGER NOT NULL
) WITHOUT ROWID;

-- A chain that goes on behind blocks that nobody has any more: this block comes next here, whatever should have come before.
CREATE TABLE IF NOT EXISTS resumed (
    id INTEGER PRIMARY KEY,
    gateway BLOB NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL, previous BLOB NOT NULL, at INTEGER NOT NULL,
    UNIQUE (gateway, epoch, seq, previous)
);

-- Gateways that are revoked before they are enrolled: a store that was lost has forgotten whom it had revoked.
CREATE TABLE IF NOT EXISTS barred (gateway BLOB PRIMARY KEY, at INTEGER NOT NULL, reason TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS invites (
    invite TEXT PRIMARY KEY, secret_hash BLOB NOT NULL, salt BLOB NOT NULL, site TEXT,
    created_at INTEGER NOT NULL, expires_at INTEGER NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0, used_by BLOB, used_at INTEGER
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS configs (
    gateway BLOB NOT NULL, number INTEGER NOT NULL, digest BLOB NOT NULL, envelope BLOB NOT NULL,
    valid_from INTEGER NOT NULL, received_at INTEGER NOT NULL,
    PRIMARY KEY (gateway, number)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS profiles (digest BLOB PRIMARY KEY, source BLOB NOT NULL) WITHOUT ROWID;

-- One block, one row. `fault` is NULL for a booked block, else why its content was refused: it keeps its place in the chain.
CREATE TABLE IF NOT EXISTS blocks (
    ingest_seq INTEGER PRIMARY KEY,
    gateway BLOB NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL, hash BLOB NOT NULL,
    utc_start INTEGER NOT NULL, utc_end INTEGER NOT NULL, received_at INTEGER NOT NULL,
    config_number INTEGER NOT NULL, readings INTEGER NOT NULL, fault TEXT, frame BLOB NOT NULL,
    UNIQUE (gateway, epoch, seq)
);
CREATE INDEX IF NOT EXISTS blocks_time ON blocks (gateway, utc_start);

-- Blocks whose clock did not know the time. `by_seq`: the block that has dated it, whose UTC its row in `blocks` then has.
CREATE TABLE IF NOT EXISTS undated (
    gateway BLOB NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL, boot INTEGER NOT NULL, by_seq INTEGER,
    PRIMARY KEY (gateway, epoch, seq)
) WITHOUT ROWID;

-- From which block of its chain on a gateway is not booked yet. What is booked behind the answer waits here for moments.
CREATE TABLE IF NOT EXISTS unbooked (
    gateway BLOB PRIMARY KEY, epoch INTEGER NOT NULL, seq INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS quarantine (
    id INTEGER PRIMARY KEY, gateway BLOB, at INTEGER NOT NULL, code TEXT NOT NULL, reason TEXT NOT NULL,
    signed INTEGER NOT NULL, epoch INTEGER, seq INTEGER, hash BLOB NOT NULL UNIQUE, frame BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS quarantine_unsigned ON quarantine (id) WHERE signed = 0;
CREATE INDEX IF NOT EXISTS quarantine_signed ON quarantine (gateway, id) WHERE signed = 1;

CREATE TABLE IF NOT EXISTS incidents (
    id INTEGER PRIMARY KEY, gateway BLOB NOT NULL, at INTEGER NOT NULL, kind TEXT NOT NULL,
    epoch INTEGER, seq INTEGER, detail TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS incidents_gateway ON incidents (gateway, id);

-- In the order of the chain, each kind by itself: a receipt that is issued goes to one place, and is found by its hash among
-- its gateway's, which is seldom asked for.
CREATE TABLE IF NOT EXISTS receipts (
    gateway BLOB NOT NULL,
    -- 2: a second copy held it
    level INTEGER NOT NULL,
    -- for good: the first of a day, one that an epoch began with, one that was brought back; of the others the newest stay
    kept INTEGER NOT NULL,
    epoch INTEGER NOT NULL, next_seq INTEGER NOT NULL, at INTEGER NOT NULL, hash BLOB NOT NULL, envelope BLOB NOT NULL,
    -- brought back by its gateway, of what this file has not, or not yet again
    posted INTEGER NOT NULL,
    PRIMARY KEY (gateway, level, kept, epoch, next_seq, at, hash)
) WITHOUT ROWID;

-- Signed blocks ahead of their chain, kept until it has come to them. Nothing is booked from here, no receipt covers them.
CREATE TABLE IF NOT EXISTS ahead (
    gateway BLOB NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL, hash BLOB NOT NULL,
    received_at INTEGER NOT NULL, frame BLOB NOT NULL,
    PRIMARY KEY (gateway, epoch, seq, hash)
);

-- Blocks whose row is not what was signed, until they are put back. `hash`: what the chain says they have. `asked`: answers
-- in which their gateway was asked for them.
CREATE TABLE IF NOT EXISTS damaged (
    gateway BLOB NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL, hash BLOB NOT NULL, asked INTEGER NOT NULL,
    PRIMARY KEY (gateway, epoch, seq)
) WITHOUT ROWID;

-- How far a chain was when we signed a receipt for it: a row while it stands behind that, because this file is an older one.
CREATE TABLE IF NOT EXISTS watermarks (
    gateway BLOB PRIMARY KEY, epoch INTEGER NOT NULL, next_seq INTEGER NOT NULL, head BLOB NOT NULL,
    found_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS events (
    gateway BLOB NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL, number INTEGER NOT NULL,
    kind INTEGER NOT NULL, start INTEGER NOT NULL, end INTEGER NOT NULL, detail TEXT NOT NULL,
    PRIMARY KEY (gateway, epoch, seq, number)
) WITHOUT ROWID;

-- One counter or rate over 15 minutes or less, from when it is closed. Of a rate the registers are samples.
CREATE TABLE IF NOT EXISTS closed_intervals (
    gateway BLOB NOT NULL, device TEXT NOT NULL, point TEXT NOT NULL, start INTEGER NOT NULL, end INTEGER NOT NULL,
    unit TEXT NOT NULL, meter TEXT NOT NULL, closed INTEGER NOT NULL,
    start_value TEXT NOT NULL, start_at INTEGER NOT NULL, start_epoch INTEGER NOT NULL, start_seq INTEGER NOT NULL,
    end_value TEXT NOT NULL, end_at INTEGER NOT NULL, end_epoch INTEGER NOT NULL, end_seq INTEGER NOT NULL,
    rolled TEXT NOT NULL, multiplier TEXT NOT NULL, consumption TEXT,
    readings INTEGER NOT NULL, expected INTEGER NOT NULL, quality TEXT NOT NULL, position INTEGER NOT NULL,
    period_ms INTEGER NOT NULL,
    -- the gravest thing that happened to the count, readings left out, and when the count was last broken
    state TEXT NOT NULL, ignored INTEGER NOT NULL, since INTEGER NOT NULL,
    kind TEXT NOT NULL, covered_ms INTEGER NOT NULL, integral TEXT NOT NULL,
    ingest_seq INTEGER NOT NULL,
    PRIMARY KEY (gateway, device, point, start)
) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS intervals_cursor ON closed_intervals (ingest_seq);

-- What a gateway's newest block has left open, all of it in one row, because every block changes all of it: `rows` is a
-- JSON array of arrays, each the columns of `closed_intervals` after `gateway`. `oldest` and `newest`: of their ingest_seq.
CREATE TABLE IF NOT EXISTS open_intervals (
    gateway BLOB PRIMARY KEY, oldest INTEGER NOT NULL, newest INTEGER NOT NULL, rows TEXT NOT NULL
) WITHOUT ROWID;
CREATE VIEW IF NOT EXISTS intervals AS
SELECT
    gateway, device, point, start, end, unit, meter, closed, start_value, start_at, start_epoch, start_seq,
    end_value, end_at, end_epoch, end_seq, rolled, multiplier, consumption, readings, expected, quality, position,
    period_ms, state, ignored, since, kind, covered_ms, integral, ingest_seq
FROM closed_intervals
UNION ALL
SELECT
    o.gateway, json_extract(one.value, '$[0]'), json_extract(one.value, '$[1]'), json_extract(one.value, '$[2]'),
    json_extract(one.value, '$[3]'), json_extract(one.value, '$[4]'), json_extract(one.value, '$[5]'),
    json_extract(one.value, '$[6]'), json_extract(one.value, '$[7]'), json_extract(one.value, '$[8]'),
    json_extract(one.value, '$[9]'), json_extract(one.value, '$[10]'), json_extract(one.value, '$[11]'),
    json_extract(one.value, '$[12]'), json_extract(one.value, '$[13]'), json_extract(one.value, '$[14]'),
    json_extract(one.value, '$[15]'), json_extract(one.value, '$[16]'), json_extract(one.value, '$[17]'),
    json_extract(one.value, '$[18]'), json_extract(one.value, '$[19]'), json_extract(one.value, '$[20]'),
    json_extract(one.value, '$[21]'), json_extract(one.value, '$[22]'), json_extract(one.value, '$[23]'),
    json_extract(one.value, '$[24]'), json_extract(one.value, '$[25]'), json_extract(one.value, '$[26]'),
    json_extract(one.value, '$[27]'), json_extract(one.value, '$[28]'), json_extract(one.value, '$[29]')
FROM open_intervals AS o, json_each(o.rows) AS one;

-- Readings that could not follow their counter's register, and may yet prove to be a new stretch of it.
CREATE TABLE IF NOT EXISTS doubts (
    gateway BLOB NOT NULL, device TEXT NOT NULL, point TEXT NOT NULL, number INTEGER NOT NULL, position INTEGER NOT NULL,
    value TEXT NOT NULL, at INTEGER NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL,
    PRIMARY KEY (gateway, device, point, number)
) WITHOUT ROWID;

-- What a meter says of its own setting, the last of each hour; `meter` tells which instrument said so.
CREATE TABLE IF NOT EXISTS settings (
    gateway BLOB NOT NULL, device TEXT NOT NULL, point TEXT NOT NULL, hour INTEGER NOT NULL, meter TEXT NOT NULL,
    value TEXT NOT NULL, at INTEGER NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL,
    PRIMARY KEY (gateway, device, point, hour)
) WITHOUT ROWID;

-- The newest answer to each request, or of what is said unasked the newest with these points: a live value is replayed from it.
-- `ahead` 1: of a block that its chain has not come to.
CREATE TABLE IF NOT EXISTS latest (
    gateway BLOB NOT NULL, device TEXT NOT NULL, request BLOB NOT NULL, points TEXT NOT NULL,
    config_number INTEGER NOT NULL, at INTEGER NOT NULL, reply BLOB NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL,
    ahead INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (gateway, device, request, points)
) WITHOUT ROWID;

-- What a chart of power needs; for the eye, never for an account.
CREATE TABLE IF NOT EXISTS power (
    gateway BLOB NOT NULL, device TEXT NOT NULL, point TEXT NOT NULL, start INTEGER NOT NULL,
    total REAL NOT NULL, peak REAL NOT NULL, samples INTEGER NOT NULL,
    PRIMARY KEY (gateway, device, point, start)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS statements (
    id TEXT NOT NULL, version INTEGER NOT NULL, digest TEXT NOT NULL, site TEXT NOT NULL, period TEXT NOT NULL,
    created INTEGER NOT NULL, content BLOB NOT NULL,
    PRIMARY KEY (id, version)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS statements_site ON statements (site, period);

-- What the closers remember of sites and of subjects (cloud/settled.py), one row each. No part of the record: it may be missing.
CREATE TABLE IF NOT EXISTS settled (one INTEGER PRIMARY KEY CHECK (one = 1), sha256 BLOB NOT NULL, memory BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS settled_accounts (
    one INTEGER PRIMARY KEY CHECK (one = 1), sha256 BLOB NOT NULL, memory BLOB NOT NULL
);

-- What accounts are made of beside the record, in the order in which it came, and never changed: subject files and the
-- subjects in them, keys of who signs activity, activity files, versions of accounts, and what was decided on them.
CREATE TABLE IF NOT EXISTS journal (
    number INTEGER PRIMARY KEY, kind TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL,
    subject TEXT NOT NULL, period TEXT NOT NULL, digest TEXT NOT NULL, at INTEGER NOT NULL, by TEXT NOT NULL,
    detail TEXT NOT NULL, body BLOB NOT NULL,
    UNIQUE (kind, id, version)
);
CREATE INDEX IF NOT EXISTS journal_subject ON journal (kind, subject, period);

-- Which certificates of green power, hydrogen or a reduction are used where: each in the whole city once. `proof` to
-- `last`: a range, whose ends differ in the digits at their end; one certificate is both.
CREATE TABLE IF NOT EXISTS proofs (
    proof TEXT NOT NULL, last TEXT NOT NULL, account TEXT NOT NULL, subject TEXT NOT NULL, use TEXT NOT NULL,
    PRIMARY KEY (proof, last, account)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS proofs_ranges ON proofs (proof, last) WHERE last > proof;
CREATE TRIGGER IF NOT EXISTS proofs_once BEFORE INSERT ON proofs WHEN EXISTS (
    SELECT 1 FROM proofs WHERE (proof BETWEEN new.proof AND new.last
        OR (last > proof AND proof < new.proof AND last >= new.proof))
    AND length(proof) = length(new.proof) AND rtrim(proof, '0123456789') = rtrim(new.proof, '0123456789')
    AND (subject, use) <> (new.subject, new.use)
) BEGIN
    SELECT RAISE(ABORT, 'a proof is used once');
END;

-- What a second copy must hold besides the blocks, in the order in which it came to be: a name, never the thing itself.
-- `after`: the newest ingest number when it did. Filled by triggers, so that nothing can be forgotten.
CREATE TABLE IF NOT EXISTS facts (
    id INTEGER PRIMARY KEY, after INTEGER NOT NULL, kind TEXT NOT NULL, gateway BLOB, number INTEGER, name
);
INSERT INTO facts (after, kind, gateway, number, name)
    SELECT * FROM (
        SELECT 0, 'profile', NULL, NULL, digest FROM profiles
        UNION ALL SELECT 0, 'enrolment', gateway, NULL, NULL FROM gateways
        UNION ALL SELECT 0, 'configuration', gateway, number, NULL FROM configs
        UNION ALL SELECT value, 'revocation', gateway, NULL, NULL FROM gateways, meta
            WHERE revoked_at IS NOT NULL AND name = 'ingest_seq'
        UNION ALL SELECT value, 'statement', NULL, version, id FROM statements, meta WHERE name = 'ingest_seq'
        UNION ALL SELECT value, 'incident', gateway, id, NULL FROM incidents, meta WHERE name = 'ingest_seq'
        UNION ALL SELECT value, 'quarantine', gateway, id, NULL FROM quarantine, meta WHERE name = 'ingest_seq' AND signed
    ) WHERE NOT EXISTS (SELECT 1 FROM facts);

CREATE TRIGGER IF NOT EXISTS facts_enrolment AFTER INSERT ON gateways BEGIN
    INSERT INTO facts (after, kind, gateway) SELECT value, 'enrolment', new.gateway FROM meta WHERE name = 'ingest_seq';
END;
CREATE TRIGGER IF NOT EXISTS facts_resumed AFTER INSERT ON resumed BEGIN
    INSERT INTO facts (after, kind, gateway, number)
        SELECT value, 'resumed', new.gateway, new.id FROM meta WHERE name = 'ingest_seq';
END;
CREATE TRIGGER IF NOT EXISTS facts_revocation AFTER UPDATE OF revoked_at ON gateways WHEN old.revoked_at IS NULL BEGIN
    INSERT INTO facts (after, kind, gateway) SELECT value, 'revocation', new.gateway FROM meta WHERE name = 'ingest_seq';
END;
CREATE TRIGGER IF NOT EXISTS facts_bar AFTER INSERT ON barred BEGIN
    INSERT INTO facts (after, kind, gateway) SELECT value, 'bar', new.gateway FROM meta WHERE name = 'ingest_seq';
END;
CREATE TRIGGER IF NOT EXISTS facts_configuration AFTER INSERT ON configs BEGIN
    INSERT INTO facts (after, kind, gateway, number)
        SELECT value, 'configuration', new.gateway, new.number FROM meta WHERE name = 'ingest_seq';
END;
CREATE TRIGGER IF NOT EXISTS facts_profile AFTER INSERT ON profiles BEGIN
    INSERT INTO facts (after, kind, name) SELECT value, 'profile', new.digest FROM meta WHERE name = 'ingest_seq';
END;
CREATE TRIGGER IF NOT EXISTS facts_statement AFTER INSERT ON statements BEGIN
    INSERT INTO facts (after, kind, number, name)
        SELECT value, 'statement', new.version, new.id FROM meta WHERE name = 'ingest_seq';
END;
CREATE TRIGGER IF NOT EXISTS facts_journal AFTER INSERT ON journal BEGIN
    INSERT INTO facts (after, kind, number) SELECT value, 'journal', new.number FROM meta WHERE name = 'ingest_seq';
END;
CREATE TRIGGER IF NOT EXISTS facts_incident AFTER INSERT ON incidents BEGIN
    INSERT INTO facts (after, kind, gateway, number)
        SELECT value, 'incident', new.gateway, new.id FROM meta WHERE name = 'ingest_seq';
END;
CREATE TRIGGER IF NOT EXISTS facts_quarantine AFTER INSERT ON quarantine WHEN new.signed BEGIN
    INSERT INTO facts (after, kind, gateway, number)
        SELECT value, 'quarantine', new.gateway, new.id FROM meta WHERE name = 'ingest_seq';
END;
CREATE TRIGGER IF NOT EXISTS facts_mended AFTER UPDATE OF frame ON blocks BEGIN
    INSERT INTO facts (after, kind, gateway, number)
        SELECT value, 'mended', new.gateway, new.ingest_seq FROM meta WHERE name = 'ingest_seq';
END;
