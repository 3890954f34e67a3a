ALTER TABLE routes DROP COLUMN headers;
ALTER TABLE upstreams DROP COLUMN ejection;
ALTER TABLE upstreams DROP COLUMN retry_budget_percent;
ALTER TABLE upstreams DROP COLUMN hash_on;
