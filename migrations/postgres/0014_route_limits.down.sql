ALTER TABLE routes DROP COLUMN rate_limit;
