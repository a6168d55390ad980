-- What makes a file of schema 9 one of schema 10: everything in it is booked; from now on blocks may wait for that.
UPDATE meta SET value = 10 WHERE name = 'schema';
