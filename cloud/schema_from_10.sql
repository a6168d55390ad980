-- What makes a file of schema 10 one of schema 11: a chain may go on behind blocks that nobody has any more.
UPDATE meta SET value = 11 WHERE name = 'schema';
