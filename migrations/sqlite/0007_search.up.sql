-- Search: which rows have these three characters beside each other, in columns that the index does not copy. It may find
-- more than is meant; statements look at what it finds. What changes a row keeps its index.
CREATE VIRTUAL TABLE _users_search USING fts5 (
    username, email_lower, content = 'users', content_rowid = 'id', tokenize = 'trigram', detail = none, columnsize = 0
);
INSERT INTO _users_search (_users_search) VALUES ('rebuild');
CREATE TRIGGER _users_search_insert AFTER INSERT ON users BEGIN
    INSERT INTO _users_search (rowid, username, email_lower) VALUES (NEW.id, NEW.username, NEW.email_lower);
END;
CREATE TRIGGER _users_search_delete AFTER DELETE ON users BEGIN
    INSERT INTO _users_search (_users_search, rowid, username, email_lower) VALUES ('delete', OLD.id, OLD.username, OLD.email_lower);
END;
CREATE TRIGGER _users_search_update AFTER UPDATE OF username, email_lower ON users BEGIN
    INSERT INTO _users_search (_users_search, rowid, username, email_lower) VALUES ('delete', OLD.id, OLD.username, OLD.email_lower);
    INSERT INTO _users_search (rowid, username, email_lower) VALUES (NEW.id, NEW.username, NEW.email_lower);
END;

CREATE VIRTUAL TABLE _roles_search USING fts5 (
    name, description, content = 'roles', content_rowid = 'id', tokenize = 'trigram', detail = none, columnsize = 0
);
INSERT INTO _roles_search (_roles_search) VALUES ('rebuild');
CREATE TRIGGER _roles_search_insert AFTER INSERT ON roles BEGIN
    INSERT INTO _roles_search (rowid, name, description) VALUES (NEW.id, NEW.name, NEW.description);
END;
CREATE TRIGGER _roles_search_delete AFTER DELETE ON roles BEGIN
    INSERT INTO _roles_search (_roles_search, rowid, name, description) VALUES ('delete', OLD.id, OLD.name, OLD.description);
END;
CREATE TRIGGER _roles_search_update AFTER UPDATE OF name, description ON roles BEGIN
    INSERT INTO _roles_search (_roles_search, rowid, name, description) VALUES ('delete', OLD.id, OLD.name, OLD.description);
    INSERT INTO _roles_search (rowid, name, description) VALUES (NEW.id, NEW.name, NEW.description);
END;

CREATE VIRTUAL TABLE _permissions_search USING fts5 (
    name, description, content = 'permissions', content_rowid = 'id', tokenize = 'trigram', detail = none, columnsize = 0
);
INSERT INTO _permissions_search (_permissions_search) VALUES ('rebuild');
CREATE TRIGGER _permissions_search_insert AFTER INSERT ON permissions BEGIN
    INSERT INTO _permissions_search (rowid, name, description) VALUES (NEW.id, NEW.name, NEW.description);
END;
CREATE TRIGGER _permissions_search_delete AFTER DELETE ON permissions BEGIN
    INSERT INTO _permissions_search (_permissions_search, rowid, name, description) VALUES ('delete', OLD.id, OLD.name, OLD.description);
END;
CREATE TRIGGER _permissions_search_update AFTER UPDATE OF name, description ON permissions BEGIN
    INSERT INTO _permissions_search (_permissions_search, rowid, name, description) VALUES ('delete', OLD.id, OLD.name, OLD.description);
    INSERT INTO _permissions_search (rowid, name, description) VALUES (NEW.id, NEW.name, NEW.description);
END;

CREATE VIRTUAL TABLE _modules_search USING fts5 (
    name, label, route, content = 'modules', content_rowid = 'id', tokenize = 'trigram', detail = none, columnsize = 0
);
INSERT INTO _modules_search (_modules_search) VALUES ('rebuild');
CREATE TRIGGER _modules_search_insert AFTER INSERT ON modules BEGIN
    INSERT INTO _modules_search (rowid, name, label, route) VALUES (NEW.id, NEW.name, NEW.label, NEW.route);
END;
CREATE TRIGGER _modules_search_delete AFTER DELETE ON modules BEGIN
    INSERT INTO _modules_search (_modules_search, rowid, name, label, route) VALUES ('delete', OLD.id, OLD.name, OLD.label, OLD.route);
END;
CREATE TRIGGER _modules_search_update AFTER UPDATE OF name, label, route ON modules BEGIN
    INSERT INTO _modules_search (_modules_search, rowid, name, label, route) VALUES ('delete', OLD.id, OLD.name, OLD.label, OLD.route);
    INSERT INTO _modules_search (rowid, name, label, route) VALUES (NEW.id, NEW.name, NEW.label, NEW.route);
END;

CREATE VIRTUAL TABLE _routes_search USING fts5 (
    route, label, content = 'routes', content_rowid = 'id', tokenize = 'trigram', detail = none, columnsize = 0
);
INSERT INTO _routes_search (_routes_search) VALUES ('rebuild');
CREATE TRIGGER _routes_search_insert AFTER INSERT ON routes BEGIN
    INSERT INTO _routes_search (rowid, route, label) VALUES (NEW.id, NEW.route, NEW.label);
END;
CREATE TRIGGER _routes_search_delete AFTER DELETE ON routes BEGIN
    INSERT INTO _routes_search (_routes_search, rowid, route, label) VALUES ('delete', OLD.id, OLD.route, OLD.label);
END;
CREATE TRIGGER _routes_search_update AFTER UPDATE OF route, label ON routes BEGIN
    INSERT INTO _routes_search (_routes_search, rowid, route, label) VALUES ('delete', OLD.id, OLD.route, OLD.label);
    INSERT INTO _routes_search (rowid, route, label) VALUES (NEW.id, NEW.route, NEW.label);
END;

-- How many users there are, deleted ones left out: counting a million takes too long for a page of them.
CREATE TABLE user_totals (
    is_active INTEGER NOT NULL PRIMARY KEY,
    users INTEGER NOT NULL
) STRICT;
INSERT INTO user_totals (is_active, users)
SELECT TRUE, COUNT(*) FROM users WHERE deleted_at IS NULL AND is_active
UNION ALL
SELECT FALSE, COUNT(*) FROM users WHERE deleted_at IS NULL AND NOT is_active;
CREATE TRIGGER _user_totals_insert AFTER INSERT ON users WHEN NEW.deleted_at IS NULL BEGIN
    UPDATE user_totals SET users = users + 1 WHERE is_active = NEW.is_active;
END;
CREATE TRIGGER _user_totals_delete AFTER DELETE ON users WHEN OLD.deleted_at IS NULL BEGIN
    UPDATE user_totals SET users = users - 1 WHERE is_active = OLD.is_active;
END;
CREATE TRIGGER _user_totals_update AFTER UPDATE OF is_active, deleted_at ON users BEGIN
    UPDATE user_totals SET users = users - 1 WHERE is_active = OLD.is_active AND OLD.deleted_at IS NULL;
    UPDATE user_totals SET users = users + 1 WHERE is_active = NEW.is_active AND NEW.deleted_at IS NULL;
END;

-- In the orders that large lists have, and by what they are filtered by.
CREATE INDEX users_deleted ON users (id) WHERE deleted_at IS NOT NULL;
CREATE INDEX users_active ON users (is_active);
CREATE INDEX users_created ON users (created_at);
CREATE INDEX users_updated ON users (updated_at);
CREATE INDEX permissions_category ON permissions (category);
CREATE INDEX routes_order ON routes (priority);
CREATE INDEX routes_module ON routes (module_id, priority);
DROP INDEX routes_parent;
CREATE INDEX routes_parent ON routes (parent_id, priority);
CREATE INDEX audit_records_kind ON audit_records (resource, created_at);
-- The users of a role by id, and which assignments have ended, without a look at the table.
DROP INDEX user_roles_role;
CREATE INDEX user_roles_role ON user_roles (role_id, user_id, expires_at);
