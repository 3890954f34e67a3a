DROP TABLE user_roles;
DROP TABLE role_permissions;
DROP TABLE permissions;
DROP TABLE role_parents;
DROP TABLE roles;
DROP TABLE users;
