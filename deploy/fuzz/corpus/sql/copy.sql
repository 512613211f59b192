COPY (SELECT a FROM b UNION ALL VALUES (1)) TO STDOUT (FORMAT csv, HEADER true); COPY benefit_lines (amount_cents) TO STDOUT
