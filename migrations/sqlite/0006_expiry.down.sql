DROP INDEX user_roles_expiry;
