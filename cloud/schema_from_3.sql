-- What makes a file of schema 3 one of schema 4: schema.sql adds the journal of accounts and the proofs, which are new.
UPDATE meta SET value = 4 WHERE name = 'schema';
