-- Whether a path is shown to somebody is asked by the path alone; the unique index begins with the module.
CREATE INDEX routes_route ON routes (route) WHERE deleted_at IS NULL;
