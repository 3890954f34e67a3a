DROP TABLE user_identities;
DROP TABLE issuers;
