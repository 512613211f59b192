EXPLAIN ANALYZE SELECT 'x'::regclass, a = ANY(ARRAY[1, 2]) FROM b; SHOW TABLES; SET timezone = 'UTC'
