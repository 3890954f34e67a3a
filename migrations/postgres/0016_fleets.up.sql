-- What a fleet of targets needs: who gets which request, when a target is left out, how often a request is tried again.
ALTER TABLE upstreams ADD COLUMN hash_on JSONB NOT NULL DEFAULT '"client"';
ALTER TABLE upstreams ADD COLUMN retry_budget_percent BIGINT NOT NULL DEFAULT 20;
ALTER TABLE upstreams ADD COLUMN ejection JSONB NOT NULL DEFAULT '{"failures": 5, "ms": 10000}';
-- Which fields of heads a route sets and removes.
ALTER TABLE routes ADD COLUMN headers JSONB NOT NULL DEFAULT '{}';
