-- How much one client may ask of the route, as JSON.
ALTER TABLE routes ADD COLUMN rate_limit TEXT;
