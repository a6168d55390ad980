-- What makes a file of schema 6 one of schema 7: certificates come as ranges too. A file of schema 3 has none yet.
DROP TRIGGER IF EXISTS proofs_once;
CREATE TABLE IF NOT EXISTS proofs (proof TEXT, account TEXT, subject TEXT, use TEXT);
ALTER TABLE proofs RENAME TO proofs_by_name;
CREATE TABLE proofs (
    proof TEXT NOT NULL, last TEXT NOT NULL, account TEXT NOT NULL, subject TEXT NOT NULL, use TEXT NOT NULL,
    PRIMARY KEY (proof, last, account)
) WITHOUT ROWID;
INSERT INTO proofs SELECT proof, proof, account, subject, use FROM proofs_by_name;
DROP TABLE proofs_by_name;
UPDATE meta SET value = 7 WHERE name = 'schema';
