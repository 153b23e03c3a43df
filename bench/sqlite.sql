-- The row `sqlite`: a table is filled, indexed, joined, changed and emptied.
CREATE TABLE item(id INTEGER PRIMARY KEY, a INTEGER, name TEXT);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000)
  INSERT INTO item SELECT i, i * 7919 % 10007, 'name' || i * 31 % 1000 FROM n;
CREATE INDEX item_a ON item(a);
SELECT name, count(*), sum(a) FROM item GROUP BY name ORDER BY 3 DESC LIMIT 5;
SELECT count(*) FROM item x JOIN item y ON x.a = y.id WHERE y.name LIKE 'name5%';
UPDATE item SET a = a + 1 WHERE id % 3 = 0;
DELETE FROM item WHERE a % 5 = 0;
SELECT count(*), total(a) FROM item;
