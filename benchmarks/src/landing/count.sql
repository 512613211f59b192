-- Purpose: how many decisions have landed.
SELECT COUNT(*) FROM authorisations;
