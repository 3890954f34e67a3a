-- The largest body that the route takes; that of its upstream, or of the settings, when absent.
ALTER TABLE routes ADD COLUMN max_body_bytes BIGINT;
