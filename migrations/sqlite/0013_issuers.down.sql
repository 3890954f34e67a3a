ALTER TABLE users DROP COLUMN tokens_valid_from;
DROP TABLE user_identities;
DROP TABLE issuers;
