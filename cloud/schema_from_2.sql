-- What makes a file of schema 2 one of schema 3, before schema.sql adds the tables that are new.
ALTER TABLE receipts ADD COLUMN level INTEGER NOT NULL DEFAULT 1;
ALTER TABLE receipts ADD COLUMN posted INTEGER NOT NULL DEFAULT 0;
ALTER TABLE latest ADD COLUMN ahead INTEGER NOT NULL DEFAULT 0;
UPDATE meta SET value = 3 WHERE name = 'schema';
