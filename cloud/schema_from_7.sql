-- What makes a file of schema 7 one of schema 8: receipts in the order of the chain, without an index beside them; the end
-- of the last dated block in the row of its gateway.
ALTER TABLE receipts RENAME TO receipts_by_hash;
CREATE TABLE receipts (
    gateway BLOB NOT NULL, level INTEGER NOT NULL, kept INTEGER NOT NULL,
    epoch INTEGER NOT NULL, next_seq INTEGER NOT NULL, at INTEGER NOT NULL, hash BLOB NOT NULL, envelope BLOB NOT NULL,
    posted INTEGER NOT NULL,
    PRIMARY KEY (gateway, level, kept, epoch, next_seq, at, hash)
) WITHOUT ROWID;
INSERT INTO receipts
SELECT gateway, level, kept, epoch, next_seq, at, hash, envelope, posted FROM receipts_by_hash ORDER BY 1, 2, 3, 4, 5, 6;
DROP TABLE receipts_by_hash;
ALTER TABLE gateways ADD COLUMN dated_epoch INTEGER;
ALTER TABLE gateways ADD COLUMN dated_boot INTEGER;
ALTER TABLE gateways ADD COLUMN dated_mono INTEGER;
ALTER TABLE gateways ADD COLUMN dated_utc INTEGER;
CREATE TABLE IF NOT EXISTS dated (gateway BLOB PRIMARY KEY, epoch INTEGER, boot INTEGER, mono INTEGER, utc INTEGER);
UPDATE gateways SET (dated_epoch, dated_boot, dated_mono, dated_utc) =
    (SELECT epoch, boot, mono, utc FROM dated WHERE dated.gateway = gateways.gateway);
DROP TABLE dated;
UPDATE meta SET value = 8 WHERE name = 'schema';
