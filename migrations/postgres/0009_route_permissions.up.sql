-- A route of the navigation is shown to whoever holds one of these, beside the roles bound to it.
CREATE TABLE route_permissions (
    route_id BIGINT NOT NULL REFERENCES routes (id),
    permission_id BIGINT NOT NULL REFERENCES permissions (id),
    PRIMARY KEY (route_id, permission_id)
);
CREATE INDEX route_permissions_permission ON route_permissions (permission_id);

-- Whether a path is shown to somebody is asked by the path alone; the unique index begins with the module.
CREATE INDEX routes_route ON routes (route) WHERE deleted_at IS NULL;
