DROP TABLE mail_tokens;
DROP TABLE outbox;
ALTER TABLE users DROP COLUMN must_change_password;
