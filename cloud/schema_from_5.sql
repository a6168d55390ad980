-- What makes a file of schema 5 one of schema 6: receipts that are not kept for good. Those that are there already are.
ALTER TABLE receipts ADD COLUMN kept INTEGER NOT NULL DEFAULT 1;
UPDATE meta SET value = 6 WHERE name = 'schema';
