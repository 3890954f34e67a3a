ALTER TABLE routes DROP COLUMN max_body_bytes;
