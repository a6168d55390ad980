-- What makes a file of schema 8 one of schema 9: a block that is put back is a fact, so that the second copy holds it, too.
UPDATE meta SET value = 9 WHERE name = 'schema';
