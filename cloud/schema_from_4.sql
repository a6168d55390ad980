-- What makes a file of schema 4 one of schema 5: open intervals move into the one row of their gateway.
ALTER TABLE intervals RENAME TO closed_intervals;
CREATE TABLE open_intervals (
    gateway BLOB PRIMARY KEY, oldest INTEGER NOT NULL, newest INTEGER NOT NULL, rows TEXT NOT NULL
) WITHOUT ROWID;
INSERT INTO open_intervals
SELECT gateway, min(ingest_seq), max(ingest_seq), json_group_array(json_array(
    device, point, start, end, unit, meter, closed, start_value, start_at, start_epoch, start_seq, end_value, end_at,
    end_epoch, end_seq, rolled, multiplier, consumption, readings, expected, quality, position, period_ms, state,
    ignored, since, kind, covered_ms, integral, ingest_seq
)) FROM closed_intervals WHERE closed = 0 GROUP BY gateway;
DROP INDEX intervals_open;
DELETE FROM closed_intervals WHERE closed = 0;
UPDATE meta SET value = 5 WHERE name = 'schema';
