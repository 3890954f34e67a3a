-- What the version before does not know goes: it would not read such a row.
UPDATE upstreams
SET protocol = '"http1"', balance = '"round_robin"', health_check = 'null',
    timeouts = json_remove(timeouts, '$.idle_ms'), tls = json_remove(tls, '$.ca', '$.client_certificate');
ALTER TABLE routes DROP COLUMN headers;
ALTER TABLE upstreams DROP COLUMN ejection;
ALTER TABLE upstreams DROP COLUMN retry_budget_percent;
ALTER TABLE upstreams DROP COLUMN hash_on;
