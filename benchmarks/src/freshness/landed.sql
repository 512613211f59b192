-- Purpose: how many rows of the load are visible.
SELECT COUNT(*) FROM transaction_lines;
