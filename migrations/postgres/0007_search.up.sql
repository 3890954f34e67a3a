DO $$
BEGIN
    CREATE EXTENSION IF NOT EXISTS pg_trgm;
EXCEPTION
    WHEN insufficient_privilege THEN
        RAISE EXCEPTION 'search needs the extension pg_trgm, which this role may not create: let a role that may run CREATE EXTENSION pg_trgm in this database once';
    WHEN undefined_file OR feature_not_supported THEN
        RAISE EXCEPTION 'search needs the extension pg_trgm, which this server does not have: install the package of PostgreSQL''s contrib modules';
END
$$;

-- Search: which rows have these three characters beside each other. What is not yet sorted in is read by every search,
-- and much of it would make the planner avoid the index: so the list of that is kept short.
CREATE INDEX _users_search ON users USING gin (
    username gin_trgm_ops,
    email_lower gin_trgm_ops
) WITH (gin_pending_list_limit = 64);
CREATE INDEX _roles_search ON roles USING gin (
    lower(name) gin_trgm_ops,
    lower(description) gin_trgm_ops
) WITH (gin_pending_list_limit = 64);
CREATE INDEX _permissions_search ON permissions USING gin (
    lower(name) gin_trgm_ops,
    lower(description) gin_trgm_ops
) WITH (gin_pending_list_limit = 64);
CREATE INDEX _modules_search ON modules USING gin (
    lower(name) gin_trgm_ops,
    lower(label) gin_trgm_ops,
    lower(route) gin_trgm_ops
) WITH (gin_pending_list_limit = 64);
CREATE INDEX _routes_search ON routes USING gin (
    lower(route) gin_trgm_ops,
    lower(label) gin_trgm_ops
) WITH (gin_pending_list_limit = 64);

-- How many users there are, deleted ones left out: counting a million takes too long for a page of them.
CREATE TABLE user_totals (
    is_active BOOLEAN NOT NULL PRIMARY KEY,
    users BIGINT NOT NULL
);
INSERT INTO user_totals (is_active, users)
SELECT TRUE, COUNT(*) FROM users WHERE deleted_at IS NULL AND is_active
UNION ALL
SELECT FALSE, COUNT(*) FROM users WHERE deleted_at IS NULL AND NOT is_active;
CREATE FUNCTION _count_users() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        UPDATE user_totals SET users = user_totals.users + changed.users
        FROM (SELECT is_active, COUNT(*) AS users FROM made WHERE deleted_at IS NULL GROUP BY is_active) AS changed
        WHERE user_totals.is_active = changed.is_active;
    ELSIF TG_OP = 'DELETE' THEN
        UPDATE user_totals SET users = user_totals.users - changed.users
        FROM (SELECT is_active, COUNT(*) AS users FROM gone WHERE deleted_at IS NULL GROUP BY is_active) AS changed
        WHERE user_totals.is_active = changed.is_active;
    ELSE
        -- Most updates change neither number and must not wait for others that do.
        UPDATE user_totals SET users = user_totals.users + changed.users
        FROM (SELECT is_active, SUM(one) AS users
              FROM (SELECT is_active, 1 AS one FROM made WHERE deleted_at IS NULL
                    UNION ALL SELECT is_active, -1 FROM gone WHERE deleted_at IS NULL) AS rows
              GROUP BY is_active HAVING SUM(one) <> 0) AS changed
        WHERE user_totals.is_active = changed.is_active;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER _user_totals_insert AFTER INSERT ON users
    REFERENCING NEW TABLE AS made FOR EACH STATEMENT EXECUTE FUNCTION _count_users();
CREATE TRIGGER _user_totals_delete AFTER DELETE ON users
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION _count_users();
CREATE TRIGGER _user_totals_update AFTER UPDATE ON users
    REFERENCING OLD TABLE AS gone NEW TABLE AS made FOR EACH STATEMENT EXECUTE FUNCTION _count_users();

-- In the orders that large lists have, and by what they are filtered by.
CREATE INDEX users_deleted ON users (id) WHERE deleted_at IS NOT NULL;
CREATE INDEX users_active ON users (is_active, id);
CREATE INDEX users_created ON users (created_at, id);
CREATE INDEX users_updated ON users (updated_at NULLS FIRST, id);
CREATE INDEX permissions_category ON permissions (category, id);
CREATE INDEX routes_order ON routes (priority, id);
CREATE INDEX routes_module ON routes (module_id, priority, id);
DROP INDEX routes_parent;
CREATE INDEX routes_parent ON routes (parent_id, priority, id);
CREATE INDEX audit_records_kind ON audit_records (resource, created_at, id);
-- The users of a role by id, and which assignments have ended, without a look at the table.
DROP INDEX user_roles_role;
CREATE INDEX user_roles_role ON user_roles (role_id, user_id, expires_at);
