DROP TABLE user_activity;
ALTER TABLE users DROP COLUMN avatar;
ALTER TABLE users DROP COLUMN last_name;
ALTER TABLE users DROP COLUMN first_name;
